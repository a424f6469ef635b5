"""AND, OR, NOT and XOR on bit planes: one bit per AND and party, one exchange for all that stands side by side.

The same protocol as `multiply`, over GF(2): z_i = x_i (y_i + y_{i+1}) + x_{i+1} y_i + F(k_i) + F(k_{i+1}), sent to
P_{i-1}.

Source: Araki et al. 2016 (ia.cr/2016/768).  There P_i holds (x_i, x_{i-1}); here (x_i, x_{i+1}).
"""

from __future__ import annotations

from collections.abc import Sequence

from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BYTES, Cost, each_and, words_for
from mpcd.sharing import Planes
from mpcd.sharing.planes import mask_in_place


async def and_(ctx: Context, x: Planes, y: Planes) -> Planes:
    """AND of two sharings, bit by bit.

    Security: a cheater can flip chosen bits, caught by `verify` before anything opens.
    Cost: `cost_and`: 1 round; width * words * 8 bytes sent per party.

    Args:
        ctx: narrowed to this call.
        x: the same count; the same width, or one of them of width 1, which then stands beside every plane.
        y: as `x`.

    Returns:
        The wider width, freshly re-randomised.

    Raises:
        PeerGone: no message from the next party in time.
        PeerMalformed: wrong length, or a bit beyond the last element.
    """
    assert x.count == y.count
    assert x.count >= 1
    if x.width != y.width:
        x, y = (x.repeat(y.width), y) if x.width == 1 else (x, y.repeat(x.width))
    if ctx.hand_in is not None:
        return await ctx.hand_in(x, y)
    shape = (x.width, x.words)
    z = mask_in_place(await ctx.and_masked(x.a, x.b, y.a, y.b), x.count)
    message = z.reshape(-1).data.cast("B")
    received = await ctx.exchange({ctx.previous: message}, {ctx.next: len(message)})
    z_next = ctx.decode_planes(ctx.next, received[ctx.next], shape, x.count)
    return await ctx.defer_check_and(x, y, Planes(z, z_next, x.count))


def cost_and(width: int, count: int) -> Cost:
    """One round; every plane's words to one other party."""
    words = width * words_for(count)
    return each_and(1, words * WORD_BYTES, words)


async def and_many(ctx: Context, pairs: Sequence[tuple[Planes, Planes]]) -> list[Planes]:
    """ANDs of pairs of any widths but one common count, in one exchange.

    Cost: `cost_and` of the sum of the widths.
    """
    x = Planes.join([pair[0] for pair in pairs])
    y = Planes.join([pair[1] for pair in pairs])
    z = await and_(ctx, x, y)
    results = []
    start = 0
    for left, _ in pairs:
        results.append(z.planes(slice(start, start + left.width)))
        start += left.width
    return results


async def or_(ctx: Context, x: Planes, y: Planes) -> Planes:
    """OR of two sharings of the same width, bit by bit: x + y + xy.

    Cost: as `and_`.
    """
    return x ^ y ^ await and_(ctx, x, y)


cost_or = cost_and


def xor(x: Planes, y: Planes) -> Planes:
    """XOR, bit by bit: local."""
    return x ^ y


def not_(ctx: Context, x: Planes) -> Planes:
    """NOT, bit by bit: local."""
    return x.invert(ctx.index)


async def all_of(ctx: Context, x: Planes) -> Planes:
    """AND of all planes of each element: a balanced tree.

    Cost: `cost_all_of`: ceil(log2(width)) rounds, width - 1 ANDs per element.

    Returns:
        Width 1.
    """
    level = 0
    while x.width > 1:
        half, odd = divmod(x.width, 2)
        product = await and_(ctx.narrow(f"level{level}"), x.planes(slice(0, half)), x.planes(slice(half, 2 * half)))
        x = Planes.join([product, x.planes(slice(2 * half, None))]) if odd else product
        level += 1
    return x


def cost_all_of(width: int, count: int) -> Cost:
    """The levels of the tree, one after the other."""
    total = Cost()
    while width > 1:
        total += cost_and(width // 2, count)
        width -= width // 2
    return total


async def any_of(ctx: Context, x: Planes) -> Planes:
    """OR of all planes of each element: NOT of the AND of NOTs.

    Cost: `cost_any_of`, as `all_of`.

    Returns:
        Width 1.
    """
    return not_(ctx, await all_of(ctx, not_(ctx, x)))


cost_any_of = cost_all_of
