"""Products over a field: by elements, inner products, matrices; one element per result and party, one exchange.

P_i computes its summand of the product from the four components it holds, blinds it with its share of zero, keeps it as
z_i and sends it to P_{i-1}, whose second component it is.  The corrupt party can only add an error of its choice to z,
before it knows anything that depends on it; `defer_check` records the relation.

Source: Araki et al. 2016 (ia.cr/2016/768).  There P_i holds (x_i, x_{i-1}); here (x_i, x_{i+1}).
"""

from __future__ import annotations

from mpcd import limits
from mpcd.field import Field, Vector
from mpcd.protocols.context import Context, MaskedKernel
from mpcd.protocols.cost import Cost, each_product, field_bytes
from mpcd.protocols.verify import PRODUCTS, InnerProducts, MatrixProduct
from mpcd.sharing import Replicated

_Operands = tuple[Vector, ...]


async def mul(ctx: Context, x: Replicated, y: Replicated) -> Replicated:
    """Multiply two sharings element-wise.

    Security: a cheater can add a chosen error, caught by `verify` before anything opens.
    Cost: `cost_mul`: 1 round; one element sent per party and product.

    Args:
        ctx: narrowed to this call.
        x: n >= 1 elements of the same field.
        y: as `x`.

    Returns:
        n elements, freshly re-randomised.

    Raises:
        PeerGone: no message from the next party in time.
        PeerMalformed: wrong length, or an element that is not canonical.
    """
    field = x.field
    count = len(x)
    assert y.field is field
    assert len(y) == count
    assert count >= 1
    out = field.empty(count)

    def kernel(operands: _Operands, k0: Vector, k1: Vector, part: slice) -> tuple[Vector, int]:
        x0, x1, y0, y1 = operands
        return out, field.mul_masked(x0[part], x1[part], y0[part], y1[part], k0, k1, out[part])[1]

    z = await _product(ctx, field, count, kernel, (x.a, x.b, y.a, y.b), blocks=True)
    return await ctx.defer_check(PRODUCTS, x, y, z)


def cost_mul(field: Field, count: int) -> Cost:
    """One round; every party sends its summand to one other."""
    return each_product(1, field_bytes(field, count), field, count)


async def inner_product(ctx: Context, x: Replicated, y: Replicated, length: int) -> Replicated:
    """Inner products of consecutive groups of `length` elements.

    Security: as `mul`.
    Cost: `cost_inner_product`: 1 round; one element sent per party and *group*, whatever the length.

    Args:
        ctx: narrowed to this call.
        x: groups * length elements of the same field.
        y: as `x`.
        length: public, the same for all groups.

    Returns:
        One element per group.

    Raises:
        PeerGone, PeerMalformed: as `mul`.
    """
    field = x.field
    groups, rest = divmod(len(x), length)
    assert y.field is field
    assert len(y) == len(x)
    assert groups >= 1
    assert rest == 0

    def kernel(operands: _Operands, k0: Vector, k1: Vector, _: slice) -> tuple[Vector, int]:
        x0, x1, y0, y1 = operands
        return field.dot_masked(x0, x1, y0, y1, k0, k1, length)

    z = await _product(ctx, field, groups, kernel, (x.a, x.b, y.a, y.b), blocks=False)
    return await ctx.defer_check(InnerProducts(length), x, y, z)


def cost_inner_product(field: Field, groups: int, length: int) -> Cost:
    """One round; one element per group, but `length` products each for the verifier."""
    return each_product(1, field_bytes(field, groups), field, groups * length, InnerProducts(length))


async def matrix_product(ctx: Context, x: Replicated, y: Replicated, shape: tuple[int, int, int]) -> Replicated:
    """Product of two shared matrices, row-major.

    Security: as `mul`.
    Cost: `cost_matrix_product`: 1 round; rows * columns elements sent per party.

    Args:
        ctx: narrowed to this call.
        x: rows * inner elements.
        y: inner * columns elements of the same field.
        shape: (rows, inner, columns), public.

    Returns:
        rows * columns elements.

    Raises:
        PeerGone, PeerMalformed: as `mul`.
    """
    field = x.field
    rows, inner, columns = shape
    assert y.field is field
    assert len(x) == rows * inner
    assert len(y) == inner * columns
    assert 1 <= rows * columns <= limits.VECTOR_ELEMENTS_MAX
    limbs = x.a.shape[1:]
    left = (x.a.reshape(rows, inner, *limbs), x.b.reshape(rows, inner, *limbs))
    right = (y.a.reshape(inner, columns, *limbs), y.b.reshape(inner, columns, *limbs))

    def kernel(operands: _Operands, k0: Vector, k1: Vector, _: slice) -> tuple[Vector, int]:
        x0, x1, y0, y1 = operands
        product, replaced = field.matmul_masked(x0, x1, y0, y1, k0, k1)
        return product.reshape(rows * columns, *limbs), replaced

    z = await _product(ctx, field, rows * columns, kernel, left + right, blocks=False)
    return await ctx.defer_check(MatrixProduct(rows, inner, columns), x, y, z)


def cost_matrix_product(field: Field, shape: tuple[int, int, int]) -> Cost:
    """One round; one element per element of the product."""
    rows, inner, columns = shape
    return each_product(
        1, field_bytes(field, rows * columns), field, rows * inner * columns, MatrixProduct(*shape), rows * inner
    )


async def _product(
    ctx: Context, field: Field, count: int, kernel: MaskedKernel, operands: _Operands, *, blocks: bool
) -> Replicated:
    """The one exchange that all products share: our blinded summand to the previous party, the next party's to us."""
    z = await ctx.masked(field, count, kernel, operands, blocks=blocks)
    message = field.encode(z)
    received = await ctx.exchange({ctx.previous: message}, {ctx.next: len(message)})
    return Replicated(field, z, ctx.decode_field(field, ctx.next, received[ctx.next], count))
