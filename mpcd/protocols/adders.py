"""Addition of binary sharings: carry-save layers and one parallel-prefix adder.

All adders work on generate and propagate bits, g = a b and p = a + b over GF(2).  Of adjacent groups, high and low, the
joint ones are G = G_high + P_high G_low and P = P_high P_low (exclusive, so that OR is XOR); the carry out of bits 0..i
is G_{i:0} + P_{i:0} carry_in.

The prefix network is Sklansky's: ceil(log2 w) levels as Kogge and Stone's, with half its nodes; its fan-out, which
costs a chip, costs a protocol nothing.  Only nodes that a wanted output depends on are computed: for the last carry
alone the network is a binary tree of w - 1 nodes.  A *public* carry-in is free: it is folded into g_0.

Source: Sklansky 1960; Kogge and Stone 1973.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mpcd.protocols.binary import and_, and_many, cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.sharing import Planes


class _Level(NamedTuple):
    """Nodes of one level: G of `targets` takes in G of `sources`; P of `p_targets` takes in P of `p_sources`."""

    targets: tuple[int, ...]
    sources: tuple[int, ...]
    p_targets: tuple[int, ...]
    p_sources: tuple[int, ...]


@lru_cache(maxsize=256)
def _network(width: int, outputs: tuple[int, ...], propagate: bool) -> tuple[_Level, ...]:
    """Levels that compute G_{i:0} (with `propagate` also P_{i:0}) for the wanted i, and nothing else."""
    depth = (width - 1).bit_length()
    g_wanted = set(outputs)
    p_wanted = set(outputs) if propagate else set()
    levels = []
    for level in reversed(range(depth)):
        targets = sorted(i for i in g_wanted if i >> level & 1)
        p_targets = sorted(i for i in p_wanted if i >> level & 1)
        sources = [(i >> level << level) - 1 for i in targets]
        p_sources = [(i >> level << level) - 1 for i in p_targets]
        levels.append(_Level(tuple(targets), tuple(sources), tuple(p_targets), tuple(p_sources)))
        g_wanted.update(sources)
        p_wanted.update(targets, p_sources)
    return tuple(reversed(levels))


def _all(width: int) -> tuple[int, ...]:
    return tuple(range(width))


async def prefix(
    ctx: Context, g: Planes, p: Planes, outputs: tuple[int, ...], *, propagate: bool = False
) -> tuple[Planes, Planes]:
    """Group generate (and propagate) bits of the bits 0..i, for each i in `outputs`.

    Cost: `cost_prefix`: ceil(log2(width)) rounds.

    Args:
        ctx: narrowed to this call.
        g: generate and propagate bits, exclusive, of the same width and count.
        p: as `g`.
        outputs: the wanted i; other planes of the result mean nothing.
        propagate: whether P_{i:0} is wanted too.

    Returns:
        (G, P), of the same width.
    """
    for number, level in enumerate(_network(g.width, outputs, propagate)):
        if not level.targets and not level.p_targets:
            continue
        high = p.planes(level.targets + level.p_targets)
        low = (
            Planes.join([g.planes(level.sources), p.planes(level.p_sources)])
            if level.p_sources
            else g.planes(level.sources)
        )
        product = await and_(ctx.narrow(f"level{number}"), high, low)
        split = len(level.targets)
        g = g.put(level.targets, g.planes(level.targets) ^ product.planes(slice(0, split)))
        if level.p_targets:
            p = p.put(level.p_targets, product.planes(slice(split, None)))
    return g, p


def cost_prefix(width: int, count: int, outputs: tuple[int, ...], *, propagate: bool = False) -> Cost:
    """One round per level; one AND per node and output bit."""
    total = Cost()
    for level in _network(width, outputs, propagate):
        if level.targets or level.p_targets:
            total += cost_and(len(level.targets) + len(level.p_targets), count)
    return total


# ------------------------------------------------------------------------------------------------ carry-save


async def carry_save(
    ctx: Context, a: Planes, b: Planes, c: Planes, *, end_around: bool = False
) -> tuple[Planes, Planes]:
    """Three numbers to two with the same sum: bit sums, and bit majorities one place up.

    Cost: `cost_and(width, count)`: 1 round.

    Args:
        ctx: narrowed to this call.
        a: the same width and count.
        b: as `a`.
        c: as `a`.
        end_around: sums modulo 2^width - 1, where the highest carry comes back at the bottom; else modulo 2^width.

    Returns:
        (sum, carry << 1), of the same width.
    """
    return (await _carry_save_many(ctx, [(a, b, c)], end_around=end_around))[0]


async def _carry_save_many(
    ctx: Context, triples: Sequence[tuple[Planes, Planes, Planes]], *, end_around: bool
) -> list[tuple[Planes, Planes]]:
    """`carry_save` of many triples in one round: majority = (a + c)(b + c) + c."""
    products = await and_many(ctx, [(a ^ c, b ^ c) for a, b, c in triples])
    results = []
    for (a, b, c), product in zip(triples, products, strict=True):
        majority = product ^ c
        results.append((a ^ b ^ c, majority.rotate_up(1) if end_around else majority.shift_up(1)))
    return results


# ------------------------------------------------------------------------------------------------ two numbers


def _with_carry_in(g: Planes, p: Planes, carry_in: int) -> Planes:
    """Generate bits with a public carry into bit 0 folded in."""
    assert carry_in in {0, 1}
    return g.put((0,), g.plane(0) ^ p.plane(0)) if carry_in else g


async def add(ctx: Context, a: Planes, b: Planes, carry_in: int = 0) -> tuple[Planes, Planes]:
    """Sum modulo 2^width of two unsigned numbers and a public carry-in, and the carry out.

    Cost: `cost_add`: 1 + ceil(log2(width)) rounds.

    Args:
        ctx: narrowed to this call.
        a: the same width and count.
        b: as `a`.
        carry_in: 0 or 1.

    Returns:
        (sum of the same width, carry out of width 1).
    """
    width = a.width
    p = a ^ b
    g = _with_carry_in(await and_(ctx.narrow("generate"), a, b), p, carry_in)
    carries, _ = await prefix(ctx.narrow("prefix"), g, p, _all(width))
    total = p ^ carries.shift_up(1)
    if carry_in:
        total = total.put((0,), total.plane(0).invert(ctx.index))
    return total, carries.plane(width - 1)


def cost_add(width: int, count: int) -> Cost:
    """Generate bits, then the whole network."""
    return cost_and(width, count) + cost_prefix(width, count, _all(width))


async def carry_out(ctx: Context, a: Planes, b: Planes, carry_in: int = 0) -> Planes:
    """Only the carry out of `add`.

    Cost: `cost_carry_out`: 1 + ceil(log2(width)) rounds, fewer than 3 * width ANDs per element.

    Returns:
        Width 1.
    """
    p = a ^ b
    g = _with_carry_in(await and_(ctx.narrow("generate"), a, b), p, carry_in)
    return await last_carry(ctx.narrow("prefix"), g, p)


def cost_carry_out(width: int, count: int) -> Cost:
    """Generate bits, then a tree."""
    return cost_and(width, count) + cost_last_carry(width, count)


async def last_carry(ctx: Context, g: Planes, p: Planes) -> Planes:
    """The carry out of all bits, from generate and propagate bits.

    Cost: `cost_last_carry`: ceil(log2(width)) rounds.

    Returns:
        Width 1.
    """
    last = g.width - 1
    carries, _ = await prefix(ctx, g, p, (last,))
    return carries.plane(last)


def cost_last_carry(width: int, count: int) -> Cost:
    """A tree over the bits."""
    return cost_prefix(width, count, (width - 1,))


async def add_end_around(ctx: Context, a: Planes, b: Planes, width: int) -> Planes:
    """The low `width` bits of a + b modulo 2^w - 1, canonical: the one zero is all-zeros.

    The carry that comes back at the bottom is computed with carry-in 1: it is 1 exactly if a + b >= 2^w - 1, so a + b =
    2^w - 1 gives zero and not all-ones (SECURITY, Verification).

    Security: as `and_`.
    Cost: `cost_add_end_around`: 2 + ceil(log2(w)) rounds.

    Args:
        ctx: narrowed to this call.
        a: w bits each, not both all-ones.
        b: as `a`.
        width: how many low bits of the result are wanted.

    Returns:
        `width` planes.
    """
    last = a.width - 1
    p = a ^ b
    g = await and_(ctx.narrow("generate"), a, b)
    group_g, group_p = await prefix(ctx.narrow("prefix"), g, p, _end_around_outputs(a.width, width), propagate=True)
    around = group_g.plane(last) ^ group_p.plane(last)
    if width == 1:
        return p.plane(0) ^ around
    low = slice(0, width - 1)
    carried = await and_(ctx.narrow("around"), group_p.planes(low), around)
    carries = Planes.join([around, group_g.planes(low) ^ carried])
    return p.planes(slice(0, width)) ^ carries


def _end_around_outputs(total: int, width: int) -> tuple[int, ...]:
    return (*range(width - 1), total - 1)


def cost_add_end_around(total: int, width: int, count: int) -> Cost:
    """Generate bits, the network for the wanted bits and the last, and the carry once around."""
    network = cost_prefix(total, count, _end_around_outputs(total, width), propagate=True)
    around = cost_and(width - 1, count) if width > 1 else Cost()
    return cost_and(total, count) + network + around


# ------------------------------------------------------------------------------------------------ many numbers


async def total(ctx: Context, terms: Sequence[Planes], width: int) -> Planes:
    """Sum modulo 2^width of any number of unsigned numbers.

    Cost: `cost_total`: a round per carry-save layer (3 numbers become 2), then one adder.

    Args:
        ctx: narrowed to this call.
        terms: of equal count, each of at most `width` bits.
        width: of the result; wide enough, or the sum wraps.

    Returns:
        `width` planes.
    """
    numbers = [term.extend(width) for term in terms]
    layer = 0
    while len(numbers) > 2:
        whole = len(numbers) - len(numbers) % 3
        triples = [(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, whole, 3)]
        pairs = await _carry_save_many(ctx.narrow(f"layer{layer}"), triples, end_around=False)
        numbers = [number for pair in pairs for number in pair] + numbers[whole:]
        layer += 1
    if len(numbers) == 1:
        return numbers[0]
    return (await add(ctx.narrow("add"), numbers[0], numbers[1]))[0]


def cost_total(terms: int, width: int, count: int) -> Cost:
    """Carry-save layers, then one adder."""
    spent = Cost()
    while terms > 2:
        spent += cost_and(terms // 3 * width, count)
        terms -= terms // 3
    return spent if terms == 1 else spent + cost_add(width, count)
