"""Between field elements and bits, without preprocessing: two parties know each component, so its bits are shared.

To bits: x = x_0 + x_1 + x_2 modulo 2^w - 1.  The bits of x_j, known to P_j and P_{j-1}, are a replicated sharing with
zeros elsewhere.  One carry-save layer with end-around carry makes two numbers of three, one adder with end-around carry
(with carry-in 1) one of two.  Both summands can never be all-ones, since components are canonical, so the result is
canonical too.

To the field: b = b_0 + b_1 + b_2 over GF(2), each bit known to two parties and so shared over the field for nothing;
u + v over GF(2) is u + v - 2uv over the field, twice.

Rejected: masks of random bits (daBits, edaBits): with three parties the local sharing needs neither preprocessing nor
statistical slack.

Source: the share conversion of Mohassel and Rindal 2018 (ABY3, ia.cr/2018/403), here over a Mersenne prime.
"""

from __future__ import annotations

import numpy as np

from mpcd import limits
from mpcd.field import Field, Vector, bits
from mpcd.protocols.adders import add_end_around, carry_save, cost_add_end_around
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.protocols.multiply import cost_mul, mul
from mpcd.sharing import Planes, Replicated


def field_bits(field: Field) -> int:
    """w of a field of 2^w - 1 elements."""
    width = field.modulus.bit_length()
    assert field.modulus == (1 << width) - 1, "bit decomposition needs a Mersenne prime"
    return width


def _component_planes(field: Field, component: Vector) -> Vector:
    """Bit planes of one component, low limb first."""
    width = field_bits(field)
    if field.words_per_element == 1:
        return bits.to_planes(component, width)
    low = bits.to_planes(np.ascontiguousarray(component[:, 0]), 64)
    return np.concatenate([low, bits.to_planes(np.ascontiguousarray(component[:, 1]), width - 64)])


async def to_bits(ctx: Context, x: Replicated, width: int | None = None) -> Planes:
    """The bits of the canonical representatives of field elements.

    Security: as `and_`; the components' own bits need no check, both holders compute them.
    Cost: `cost_to_bits`: 3 + ceil(log2(w)) rounds (9 over F_p, 10 over F_q).

    Args:
        ctx: narrowed to this call.
        x: elements of F_p or F_q (or a toy Mersenne field).
        width: when all elements are known to be below 2^width, by a declared bound, the upper bits are not computed.

    Returns:
        w planes, or `width` planes.
    """
    field = x.field
    total = field_bits(field)
    wanted = total if width is None else width
    assert 1 <= wanted <= total
    planes_a, planes_b = await ctx.compute(_both_planes, field, x.a, x.b)
    x0, x1, x2 = Planes.of_components(planes_a, planes_b, len(x), ctx.index)
    partial, carries = await carry_save(ctx.narrow("save"), x0, x1, x2, end_around=True)
    return await add_end_around(ctx.narrow("add"), partial, carries, wanted)


def _both_planes(field: Field, a: Vector, b: Vector) -> tuple[Vector, Vector]:
    return _component_planes(field, a), _component_planes(field, b)


def cost_to_bits(field: Field, count: int, width: int | None = None) -> Cost:
    """A carry-save layer and an adder with end-around carry."""
    total = field_bits(field)
    return cost_and(total, count) + cost_add_end_around(total, total if width is None else width, count)


async def bit_to_field(ctx: Context, bit: Planes, field: Field) -> Replicated:
    """One bit per element, as 0 or 1 in the field.

    Security: as `mul`.
    Cost: `cost_bit_to_field`: 2 rounds; two elements sent per party and bit.

    Args:
        ctx: narrowed to this call.
        bit: width 1.
        field: where to.

    Returns:
        `bit.count` elements.
    """
    assert bit.width == 1
    return await planes_to_elements(ctx, bit, field)


def cost_bit_to_field(field: Field, count: int) -> Cost:
    """Two products, one after the other."""
    return 2 * cost_mul(field, count)


async def planes_to_elements(ctx: Context, x: Planes, field: Field) -> Replicated:
    """Every bit of every plane as 0 or 1 in the field: all elements of plane 0, then of plane 1, and so on.

    Cost: `cost_bit_to_field(field, width * count)`.
    """
    assert x.width * x.count <= limits.VECTOR_ELEMENTS_MAX
    a, b = _bit_vector(field, x.a, x.count), _bit_vector(field, x.b, x.count)
    b0, b1, b2 = Replicated.of_components(field, a, b, ctx.index)
    low = await _exclusive_or(ctx.narrow("first"), b0, b1)
    return await _exclusive_or(ctx.narrow("second"), low, b2)


def _bit_vector(field: Field, planes: Vector, count: int) -> Vector:
    """Own component's bits as field elements."""
    parts = [bits.from_planes(planes[row : row + 1], count) for row in range(len(planes))]
    return field.from_int64(np.concatenate(parts).astype(np.int64))


async def _exclusive_or(ctx: Context, u: Replicated, v: Replicated) -> Replicated:
    """u + v - 2uv, which is XOR for bits."""
    return u + v - (await mul(ctx, u, v)).scale(2)


async def number_to_field(ctx: Context, x: Planes, field: Field) -> Replicated:
    """Unsigned numbers of `width` bits as field elements.

    Cost: `cost_number_to_field`: 2 rounds; two elements sent per party and bit.

    Args:
        ctx: narrowed to this call.
        x: a width with 2^width <= modulus, so that nothing wraps.
        field: where to.

    Returns:
        `x.count` elements.
    """
    assert (1 << x.width) - 1 < field.modulus
    elements = await planes_to_elements(ctx, x, field)
    pieces = elements.split([x.count] * x.width)
    result = pieces[0]
    for weight, piece in enumerate(pieces[1:], start=1):
        result += piece.scale(1 << weight)
    return result


def cost_number_to_field(field: Field, width: int, count: int) -> Cost:
    """As `bit_to_field` for all bits side by side."""
    return cost_bit_to_field(field, width * count)
