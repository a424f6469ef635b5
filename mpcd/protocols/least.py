"""The place of the least number in each of many public segments, as a shared flag for every element.

A tournament: a segment is cut into blocks of at most `BLOCK` neighbours, and of no more than its levels need.  In a
block every element is compared with every other at once; the winner is the one that beats all, and of equals the first.
The winners play the next level.  From the last level back a flag is kept only where its block has won.  All segments
and blocks stand side by side, so the rounds depend on the longest segment alone: comparing all pairs of a block costs
more ANDs than a binary tournament (up to 7.5 comparisons for each element instead of 1) and a quarter of its levels.

Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from mpcd.field import bits
from mpcd.protocols.binary import all_of, and_, cost_all_of, cost_and
from mpcd.protocols.compare import cost_less_than, less_than
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.sharing import Planes
from mpcd.sharing.planes import ones

BLOCK: Final = 16
Places = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Level:
    """One level's public wiring."""

    left: Places
    """The pairs of one block, each once: the earlier element ..."""
    right: Places
    """... and the later one."""
    beaten: tuple[Places, ...]
    """Per other place in the widest block: for each element the flag "beats that one", see `_flags`."""
    block_of: Places
    """The block of each element."""
    members: tuple[Places, ...]
    """Per place in a block: for each block its element there, or the number of elements where it has none."""
    blocks: tuple[int, ...]
    """How many blocks each segment has: the next level's segments."""


@lru_cache(maxsize=64)
def _levels(segments: tuple[int, ...]) -> tuple[_Level, ...]:
    levels = [_level(segments)]
    while max(levels[-1].blocks) > 1:
        levels.append(_level(levels[-1].blocks))
    return tuple(levels)


def _level(segments: tuple[int, ...]) -> _Level:
    sizes = np.array([size for segment in segments for size in _cut(segment)], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    count, widest = int(sizes.sum()), int(sizes.max())
    left: list[npt.NDArray[np.int64]] = []
    right: list[npt.NDArray[np.int64]] = []
    pairs = 0
    beaten = np.full((max(widest - 1, 1), count), -1, dtype=np.int64)
    members = np.full((widest, len(sizes)), count, dtype=np.int64)
    for size in range(1, widest + 1):
        which = np.flatnonzero(sizes == size)
        for place in range(size):
            members[place, which] = starts[which] + place
        for i in range(size):
            for j in range(i + 1, size):
                left.append(starts[which] + i)
                right.append(starts[which] + j)
                numbers = pairs + np.arange(len(which))
                beaten[j - 1, starts[which] + i] = 2 * numbers  # the earlier wins unless the later is less
                beaten[i, starts[which] + j] = 2 * numbers + 1
                pairs += len(which)
    empty = np.zeros(0, dtype=np.int64)
    # Flag 2p: the earlier of pair p wins.  2p + 1: the later does.  The last one is always set, for blocks that are
    # smaller than the widest.
    sources = np.where(beaten < 0, 2 * pairs, beaten // 2 + (beaten % 2) * pairs)
    return _Level(
        np.concatenate([empty, *left]).astype(np.uint64),
        np.concatenate([empty, *right]).astype(np.uint64),
        tuple(sources.astype(np.uint64)),
        np.repeat(np.arange(len(sizes)), sizes).astype(np.uint64),
        tuple(members.astype(np.uint64)),
        tuple(len(_cut(segment)) for segment in segments),
    )


def _cut(segment: int) -> list[int]:
    """Sizes of a segment's blocks: with as few levels as blocks of `BLOCK` give, and as equal as can be."""
    levels = 1
    while BLOCK**levels < segment:
        levels += 1
    widest = 1
    while widest**levels < segment:
        widest += 1
    blocks = -(-segment // widest)
    return [segment // blocks + (place < segment % blocks) for place in range(blocks)]


async def least(ctx: Context, x: Planes, segments: Sequence[int]) -> Planes:
    """Which element of each segment is the least, the first of several.

    Security: as `and_`.
    Cost: `cost_least`: a level takes 1 + ceil(log2(width)) + ceil(log2(block - 1)) rounds, and 2 more if it is not the
        last.

    Args:
        ctx: narrowed to this call.
        x: unsigned numbers, all segments after one another.
        segments: how many elements each segment has, at least 1; public.

    Returns:
        A flag (width 1) for each element, exactly one set in each segment.
    """
    flags, _ = await _tournament(ctx, x, segments, last=False)
    return flags


async def least_and_number(ctx: Context, x: Planes, segments: Sequence[int]) -> tuple[Planes, Planes]:
    """As `least`, and for each segment its least number.

    Cost: `cost_least(..., number=True)`: 1 round more.
    """
    return await _tournament(ctx, x, segments, last=True)


async def _tournament(ctx: Context, x: Planes, segments: Sequence[int], *, last: bool) -> tuple[Planes, Planes]:
    levels = _levels(tuple(segments))
    wins: list[Planes] = []
    for number, level in enumerate(levels):
        step = ctx.narrow(f"level{number}")
        win = await _winners(step, x, level)
        wins.append(win)
        if last or number + 1 < len(levels):
            chosen = await and_(step.narrow("value"), win, x)
            x = _gather(chosen, level)
    hot = wins[-1]
    for number in range(len(levels) - 2, -1, -1):
        spread = hot.take(levels[number].block_of)
        hot = await and_(ctx.narrow(f"back{number}"), wins[number], spread)
    return hot, x


async def _winners(ctx: Context, x: Planes, level: _Level) -> Planes:
    """Per element: does it beat all others of its block?"""
    if not len(level.left):
        return Planes.public(ones(1, x.count), x.count, ctx.index)
    later = await less_than(ctx.narrow("less"), x.take(level.right), x.take(level.left))
    always = Planes.public(ones(1, 1), 1, ctx.index)
    flags = Planes.concatenate([later.invert(ctx.index), later, always])
    return await all_of(ctx.narrow("all"), Planes.join([flags.take(places) for places in level.beaten]))


def _gather(chosen: Planes, level: _Level) -> Planes:
    """Per block the one number that was kept; the others of the block are zero."""
    nothing = Planes.public(np.zeros((chosen.width, 1), dtype=np.uint64), 1, 0)
    padded = Planes.concatenate([chosen, nothing])
    total = padded.take(level.members[0])
    for places in level.members[1:]:
        total ^= padded.take(places)
    return total


def cost_least(width: int, segments: Sequence[int], *, number: bool = False) -> Cost:
    """All levels, and the way back."""
    total = Cost()
    levels = _levels(tuple(segments))
    for level in levels:
        count = len(level.block_of)
        if len(level.left):
            total += cost_less_than(width, len(level.left)) + cost_all_of(len(level.beaten), count)
        if number or level is not levels[-1]:
            total += cost_and(width, count)
    for level in reversed(levels[:-1]):
        total += cost_and(1, len(level.block_of))
    return total


def elements_max(segments: Sequence[int]) -> int:
    """Most elements of one vector: the pairs of the first level."""
    first = _levels(tuple(segments))[0]
    return max(len(first.left) * 2 + 1, len(first.block_of) + 1)


def words_max(width: int, segments: Sequence[int]) -> int:
    """64-bit words of the longest message: all bits of all pairs of the first level."""
    first = _levels(tuple(segments))[0]
    return max(width * bits.words_for(len(first.left)), len(first.beaten) * bits.words_for(len(first.block_of)))
