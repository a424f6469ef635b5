"""Choice by a shared condition: one product, whatever is chosen."""

from __future__ import annotations

from mpcd.field import Field
from mpcd.protocols.binary import and_, cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.protocols.multiply import cost_mul, mul
from mpcd.sharing import Planes, Replicated


async def select(ctx: Context, bit: Replicated, x: Replicated, y: Replicated | None = None) -> Replicated:
    """x where the bit is 1, else y (zero when not given): y + bit (x - y).

    Security: as `mul`.  The bit must be one: it comes from `bit_to_field` of a binary sharing, never from an input over
        the field.
    Cost: `cost_select`: 1 round.

    Args:
        ctx: narrowed to this call.
        bit: 0 or 1 per element.
        x: the same field and length.
        y: as `x`.

    Returns:
        The chosen elements, freshly re-randomised.
    """
    if y is None:
        return await mul(ctx, bit, x)
    return y + await mul(ctx, bit, x - y)


def cost_select(field: Field, count: int) -> Cost:
    """One product."""
    return cost_mul(field, count)


async def select_planes(ctx: Context, bit: Planes, x: Planes, y: Planes | None = None) -> Planes:
    """x where the bit is 1, else y (zero when not given), for bit strings.

    Security: as `and_`.
    Cost: `cost_select_planes`: 1 round.

    Args:
        ctx: narrowed to this call.
        bit: width 1.
        x: the same width and count.
        y: as `x`.

    Returns:
        The chosen bit strings, freshly re-randomised.
    """
    assert bit.width == 1
    if y is None:
        return await and_(ctx, bit, x)
    return y ^ await and_(ctx, bit, x ^ y)


def cost_select_planes(width: int, count: int) -> Cost:
    """One AND per bit."""
    return cost_and(width, count)
