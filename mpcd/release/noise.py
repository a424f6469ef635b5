"""Noise that nobody knows: discrete Laplace and discrete Gaussian samples drawn on shares, added before anything opens.

Theory of operation.  The compute parties have sharings of uniform 64-bit numbers U for nothing (PRSS), of which no
party knows one.  Comparing them with public thresholds (`governance.sampling`) gives bits of exactly known
probability; a Laplace sample is the difference of two numbers made of such bits, a Gaussian one counts how many
thresholds U reaches and takes a random sign.  The bits become field elements, and sums of them are added to the pooled
values.  A corrupt party neither learns a sample nor moves one: all products are verified before the release.

*Comparison of one U with many thresholds.*  U is cut into blocks of 2 or 4 bits.  All products of the bits of a block
are computed once, for all thresholds; "the block exceeds the threshold's block" and "equals it" are XORs of them, so
local.  A carry tree over the blocks joins them, (G, E) of high and low giving (G_high + E_high G_low, E_high E_low); at
the lowest block G is "reaches", so that the root says U >= t.  Blocks of 4 where a U meets many thresholds (Gaussian),
of 2 where it meets one (Laplace).  Where there is much to do, Gaussian flags go through the blocks one after another
instead, lowest first: 15 ANDs instead of 26, for 15 rounds instead of 4.

*Counting.*  Thresholds ascend, so the flags [U >= t_k] are a row of ones, then zeros.  Bit j of how many ones is the
XOR of the flags at k = 2^j, 2 2^j, 3 2^j, ...: it changes exactly there.  Local.

*One session never draws twice.*  Session keys are fresh, a step draws once (`protocols.prss`), and a session that has
ended is never run again: the same question later is another session, other noise and another charge.

Rejected: a sum of the parties' own noises (a cheater adds any bias it likes, and the honest parts alone must suffice);
binomial noise of fair coins (thousands of bits a sample); inversion of Laplace (its bits are independent, inversion
needs as many comparisons as there are outcomes).

Sources: Dwork, Kenthapadi, McSherry, Mironov, Naor 2006; Fu and Wang 2024 (arXiv 2409.10667) for why in the MPC.
Security: the semi-honest protocols' (each AND and product is recorded for `verify`).
Cost: `cost(...)`; a batch of samples takes 8 rounds (Laplace), or 9 (a little Gaussian) or 20 (much of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from mpcd import limits
from mpcd.field import Field, Vector
from mpcd.governance.sampling import BITS, GaussianTable, LaplaceTable, Table
from mpcd.protocols import adders, convert
from mpcd.protocols.binary import and_, cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost, words_for
from mpcd.sharing import Planes, Replicated
from mpcd.sharing.planes import ones

_BLOCK_LAPLACE: Final = 2
_BLOCK_GAUSSIAN: Final = 4
_CHAINED_MIN: Final = 2**18
"""Comparisons side by side from which fewer ANDs are worth more rounds."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Samples that are drawn together for one value: a Laplace value, or a leaf of a Gaussian one."""

    value: int
    """Which value they are for."""
    weight: int
    thresholds: tuple[int, ...]
    laplace: bool

    @property
    def drawn(self) -> int:
        """Uniform numbers for each cell."""
        return 2 * len(self.thresholds) if self.laplace else 1

    @property
    def compared(self) -> int:
        """Comparisons for each cell."""
        return 2 * len(self.thresholds) if self.laplace else len(self.thresholds)

    @property
    def bits(self) -> int:
        """Bits for each cell that become field elements: of both numbers, or of size and of size where negative."""
        return 2 * len(self.thresholds) if self.laplace else 2 * len(self.thresholds).bit_length()


def _units(tables: Sequence[Table]) -> list[_Unit]:
    """In the order of the values; distributions that are zero with certainty need none."""
    units = []
    for value, table in enumerate(tables):
        if isinstance(table, LaplaceTable):
            units.append(_Unit(value, 1, table.thresholds, laplace=True))
        else:
            units += [_Unit(value, leaf.weight, leaf.thresholds, laplace=False) for leaf in table.leaves]
    return [unit for unit in units if unit.thresholds]


def _batches(tables: Sequence[Table], cells: int) -> list[list[_Unit]]:
    """As many units side by side as memory allows; one kind in a batch."""
    batches: list[list[_Unit]] = []
    room = 0
    for unit in _units(tables):
        needed = unit.compared * words_for(cells) * WORD_BITS
        if not batches or needed > room or batches[-1][0].laplace != unit.laplace:
            batches.append([])
            room = limits.NOISE_COMPARISONS_MAX
        batches[-1].append(unit)
        room -= needed
    return batches


async def draw(ctx: Context, tables: Sequence[Table], field: Field, cells: int) -> list[Replicated]:
    """One sample for each value and cell.

    Args:
        ctx: narrowed to this call.
        tables: the distribution of each value.
        field: that the values are shared in.
        cells: how many each value has.

    Returns:
        Per value the sharing of `cells` samples.
    """
    totals = [Replicated.public(field, field.zeros(cells), ctx.index) for _ in tables]
    for number, batch in enumerate(_batches(tables, cells)):
        below = ctx.narrow(f"batch{number}")
        planes, weights = await (_laplace if batch[0].laplace else _gaussian)(below, batch, cells)
        elements = await convert.planes_to_elements(below.narrow("elements"), planes, field)
        pieces = elements.split([cells] * planes.width)
        for piece, (value, weight) in zip(pieces, weights, strict=True):
            totals[value] += piece.scale(weight)
    return totals


def cost(tables: Sequence[Table], field: Field, cells: int) -> Cost:
    """Exact cost of `draw`."""
    total = Cost()
    words = words_for(cells)
    for batch in _batches(tables, cells):
        laplace = batch[0].laplace
        drawn = sum(unit.drawn for unit in batch) * words * WORD_BITS
        total += _cost_products(_BLOCK_LAPLACE if laplace else _BLOCK_GAUSSIAN, drawn)
        compared = sum(unit.compared for unit in batch) * words * WORD_BITS
        total += _cost_joined(_BLOCK_LAPLACE if laplace else _BLOCK_GAUSSIAN, compared)
        wide = sum(unit.bits for unit in batch)
        if not laplace:
            total += cost_and(wide // 2, cells)
        total += convert.cost_bit_to_field(field, wide * cells)
    return total


def elements_max(tables: Sequence[Table], cells: int) -> int:
    """Most elements that one vector of `draw` has."""
    padded = words_for(cells) * WORD_BITS
    sizes = [
        max(sum(unit.compared for unit in batch) * padded, sum(unit.bits for unit in batch) * cells)
        for batch in _batches(tables, cells)
    ]
    return max(sizes, default=0)


# ------------------------------------------------------------------------------------------------ the two kinds


async def _laplace(ctx: Context, batch: Sequence[_Unit], cells: int) -> tuple[Planes, list[tuple[int, int]]]:
    """Bits whose weighted sums are the samples, and (value, weight) of each: two numbers, the second subtracted."""
    groups = [(threshold,) for unit in batch for threshold in unit.thresholds for _ in range(2)]
    drawn = await _drawn(ctx, len(groups), cells)
    flags = await _reached(ctx, drawn, groups, cells, _BLOCK_LAPLACE)
    planes = Planes.join([flag.invert(ctx.index) for flag in flags])
    weights = [
        (unit.value, sign * unit.weight << place)
        for unit in batch
        for place in range(len(unit.thresholds))
        for sign in (1, -1)
    ]
    return planes, weights


async def _gaussian(ctx: Context, batch: Sequence[_Unit], cells: int) -> tuple[Planes, list[tuple[int, int]]]:
    """Bits as `_laplace`: those of the size, then those of the size where the sign is negative, counted -2 times."""
    drawn = await _drawn(ctx, len(batch), cells)
    flags = await _reached(ctx, drawn, [unit.thresholds for unit in batch], cells, _BLOCK_GAUSSIAN)
    signs = await ctx.narrow("signs").random_planes(len(batch), cells)
    sizes: list[Planes] = []
    beside: list[int] = []
    weights: list[tuple[int, int]] = []
    start = 0
    for place, unit in enumerate(batch):
        found = _counted(flags[start : start + len(unit.thresholds)])
        start += len(unit.thresholds)
        sizes += found
        beside += [place] * len(found)
        weights += [(unit.value, unit.weight << weight) for weight in range(len(found))]
    size = Planes.join(sizes)
    negative = await and_(ctx.narrow("negative"), size, signs.planes(beside))
    return Planes.join([size, negative]), [*weights, *((value, -2 * weight) for value, weight in weights)]


def _counted(flags: Sequence[Planes]) -> list[Planes]:
    """The bits of how many flags are set, where set ones come first: bit j is the XOR of every 2^j-th."""
    counted = []
    for weight in range(len(flags).bit_length()):
        step = 1 << weight
        total = flags[step - 1]
        for flag in flags[2 * step - 1 :: step]:
            total ^= flag
        counted.append(total)
    return counted


# ------------------------------------------------------------------------------------------------ comparisons


async def _drawn(ctx: Context, groups: int, cells: int) -> Planes:
    """Uniform 64-bit numbers that nobody knows: one for each group and cell, each group from a word of its own."""
    return await ctx.narrow("drawn").random_planes(BITS, groups * words_for(cells) * WORD_BITS)


async def _reached(
    ctx: Context, drawn: Planes, groups: Sequence[tuple[int, ...]], cells: int, block: int
) -> list[Planes]:
    """Per group with its number U of each cell, per threshold of the group: the flag [U >= threshold]."""
    words = words_for(cells)
    products = await _products(ctx.narrow("products"), drawn, block)
    exceeds, equals = await ctx.compute(_compare_blocks, products.a, products.b, groups, words, block, ctx.index)
    count = sum(len(group) for group in groups) * words * WORD_BITS
    flags = await _joined(ctx.narrow("tree"), block, Planes(*exceeds, count), Planes(*equals, count))
    return flags.unstack([cells] * sum(len(group) for group in groups))


def _chained(block: int, count: int) -> bool:
    return block == _BLOCK_GAUSSIAN and count >= _CHAINED_MIN


async def _joined(ctx: Context, block: int, exceeds: Planes, equals: Planes) -> Planes:
    """From the blocks' relations to the whole numbers': [U >= threshold]."""
    if not _chained(block, exceeds.count):
        return await adders.last_carry(ctx, exceeds, equals)
    reached = exceeds.plane(0)
    for place in range(1, exceeds.width):
        reached = exceeds.plane(place) ^ await and_(ctx.narrow(f"block{place}"), equals.plane(place), reached)
    return reached


def _cost_joined(block: int, count: int) -> Cost:
    blocks = BITS // block
    return (blocks - 1) * cost_and(1, count) if _chained(block, count) else adders.cost_last_carry(blocks, count)


async def _products(ctx: Context, x: Planes, block: int) -> Planes:
    """All products of the bits of each block: per set of bits (as a mask, 1 upwards) the planes of all blocks."""
    single = [x.planes(range(place, BITS, block)) for place in range(block)]
    if block == 2:
        both = await and_(ctx.narrow("pairs"), single[0], single[1])
        return Planes.join([single[0], single[1], both])
    places = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    pairs = await _each_and(ctx.narrow("pairs"), [(single[i], single[j]) for i, j in places])
    ab, ac, bc, ad, bd, cd = pairs
    rest = [(ab, single[2]), (ab, single[3]), (cd, single[0]), (cd, single[1]), (ab, cd)]
    abc, abd, acd, bcd, abcd = await _each_and(ctx.narrow("rest"), rest)
    a, b, c, d = single
    return Planes.join([a, b, ab, c, ac, bc, abc, d, ad, bd, abd, cd, acd, bcd, abcd])


async def _each_and(ctx: Context, pairs: Sequence[tuple[Planes, Planes]]) -> list[Planes]:
    product = await and_(ctx, Planes.join([x for x, _ in pairs]), Planes.join([y for _, y in pairs]))
    width = pairs[0][0].width
    return [product.planes(slice(place * width, (place + 1) * width)) for place in range(len(pairs))]


def _cost_products(block: int, count: int) -> Cost:
    blocks = BITS // block
    if block == 2:
        return cost_and(blocks, count)
    return cost_and(6 * blocks, count) + cost_and(5 * blocks, count)


@lru_cache(maxsize=256)
def _masks(constant: int, block: int, relation: str) -> tuple[int, ...]:
    """The products whose XOR is "the block's value exceeds / reaches / equals the constant" (algebraic normal form)."""
    holds = {"exceeds": int.__gt__, "reaches": int.__ge__, "equals": int.__eq__}[relation]
    form = [int(holds(value, constant)) for value in range(1 << block)]
    for place in range(block):
        for value in range(1 << block):
            if value >> place & 1:
                form[value] ^= form[value ^ (1 << place)]
    return tuple(mask for mask, needed in enumerate(form) if needed)


def _compare_blocks(
    a: Vector, b: Vector, groups: Sequence[tuple[int, ...]], words: int, block: int, index: int
) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
    """Both components of "exceeds" ("reaches" at the lowest block) and "equals", planes by block, all thresholds."""
    one: Vector = ones(1, words * WORD_BITS)[0]
    zero = np.zeros_like(one)
    exceeds = _compare_component(a, groups, words, block, one if index == 0 else zero)
    return tuple(zip(exceeds, _compare_component(b, groups, words, block, one if index == 2 else zero), strict=True))  # type: ignore[return-value]  # two and two


def _compare_component(
    products: Vector, groups: Sequence[tuple[int, ...]], words: int, block: int, constant: Vector
) -> tuple[Vector, Vector]:
    blocks = BITS // block
    known = products.reshape((1 << block) - 1, blocks, len(groups), words)
    total = sum(len(group) for group in groups)
    exceeds = np.empty((blocks, total, words), dtype=np.uint64)
    equals = np.empty((blocks, total, words), dtype=np.uint64)
    lowest = (1 << block) - 1
    start = 0
    for group, thresholds in enumerate(groups):
        for place in range(blocks):
            wanted = np.array([threshold >> place * block & lowest for threshold in thresholds])
            here = known[:, place, group]
            for value in set(wanted.tolist()):
                at = start + np.flatnonzero(wanted == value)
                relation = "exceeds" if place else "reaches"
                exceeds[place, at] = _sum(here, _masks(value, block, relation), constant)
                equals[place, at] = _sum(here, _masks(value, block, "equals"), constant)
        start += len(thresholds)
    return exceeds.reshape(blocks, -1), equals.reshape(blocks, -1)


def _sum(products: Vector, masks: Sequence[int], constant: Vector) -> Vector:
    """XOR of the products of these masks; mask 0 is the constant 1."""
    rows = [mask - 1 for mask in masks if mask]
    total: Vector = np.bitwise_xor.reduce(products[rows], axis=0) if rows else np.zeros_like(constant)
    return total ^ constant if masks and masks[0] == 0 else total


__all__ = ["GaussianTable", "LaplaceTable", "Table", "cost", "draw", "elements_max"]
