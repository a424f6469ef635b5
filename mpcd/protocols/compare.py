"""Comparison of unsigned bit strings, and thresholds on numbers of flags; results stay shared.

a >= b exactly if a + NOT b + 1 carries out.  Against a public threshold the generate and propagate bits are local, so
that only the tree of the carry remains; equality is a tree of ANDs.

`threshold_count` keeps, for a group of flags, T_c = "at least c of them" and joins two groups A and B by exclusive
cases, over GF(2),

    T_c(A + B) = T_c(A) + sum over i < c of [exactly i in A] T_{c-i}(B),      [exactly i] = T_i + T_{i+1}

one round per level of a binary tree, computing only what the root's k needs.  (A counter followed by a comparison takes
two to three times the rounds.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpcd import limits
from mpcd.field import Vector, bits
from mpcd.protocols.adders import carry_out, cost_carry_out, cost_last_carry, last_carry
from mpcd.protocols.binary import all_of, and_many, cost_all_of, cost_and, not_
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.sharing import Planes
from mpcd.sharing.planes import ones

_COMPARED_WIDTH_MAX = 64


async def at_least_public(ctx: Context, x: Planes, thresholds: Sequence[int] | int) -> Planes:
    """Whether x >= threshold, for a public threshold per element.

    Security: as `and_`.
    Cost: `cost_at_least_public`: ceil(log2(width)) rounds.

    Args:
        ctx: narrowed to this call.
        x: unsigned numbers of at most 64 bits.
        thresholds: any integers, one for all elements or one each; 0 or less is always reached, 2^width or more never.

    Returns:
        Width 1.
    """
    width, count = x.width, x.count
    assert width <= _COMPARED_WIDTH_MAX
    each = [thresholds] * count if isinstance(thresholds, int) else list(thresholds)
    assert len(each) == count
    top = 1 << width
    # x >= t exactly if x + NOT t + 1 carries out, NOT t = top - 1 - t; what cannot be reached is masked out at the end.
    complement = bits.to_planes(np.array([top - 1 - min(max(t, 0), top - 1) for t in each], dtype=np.uint64), width)
    reachable = bits.to_planes(np.array([int(t < top) for t in each], dtype=np.uint64), 1)
    g = x.and_public(complement)
    p = x.xor_public(complement, ctx.index)
    g = g.put((0,), g.plane(0) ^ p.plane(0))
    return (await last_carry(ctx, g, p)).and_public(reachable)


def cost_at_least_public(width: int, count: int) -> Cost:
    """The carry's tree alone."""
    return cost_last_carry(width, count)


async def less_than(ctx: Context, x: Planes, y: Planes) -> Planes:
    """Whether x < y, unsigned.

    Security: as `and_`.
    Cost: `cost_less_than`: 1 + ceil(log2(width)) rounds.

    Args:
        ctx: narrowed to this call.
        x: the same width and count.
        y: as `x`.

    Returns:
        Width 1.
    """
    return not_(ctx, await carry_out(ctx, x, not_(ctx, y), 1))


def cost_less_than(width: int, count: int) -> Cost:
    """Generate bits and the carry's tree."""
    return cost_carry_out(width, count)


async def equal(ctx: Context, x: Planes, y: Planes) -> Planes:
    """Whether x = y, bit by bit.

    Cost: `cost_equal`: ceil(log2(width)) rounds.

    Returns:
        Width 1.
    """
    return await is_zero(ctx, x ^ y)


async def is_zero(ctx: Context, x: Planes) -> Planes:
    """Whether all bits are zero.

    Cost: `cost_is_zero`: ceil(log2(width)) rounds, width - 1 ANDs per element.

    Returns:
        Width 1.
    """
    return await all_of(ctx, not_(ctx, x))


cost_equal = cost_all_of
cost_is_zero = cost_all_of


# ------------------------------------------------------------------------------------------------ thresholds on flags

_Group = dict[int, Planes]
"""T_c of one group of flags, for the c in 1..size that are needed; T_0 is true and T_c is false beyond the size."""


def _groups(flags: int) -> list[list[int]]:
    """Sizes of the groups at each level, flags first, the whole last: neighbours join in pairs."""
    levels = [[1] * flags]
    while len(levels[-1]) > 1:
        sizes = levels[-1]
        pairs = [sum(sizes[i : i + 2]) for i in range(0, len(sizes), 2)]
        levels.append(pairs)
    return levels


def _terms(size_a: int, size_b: int, c: int) -> list[tuple[int, int]]:
    """The (i, c - i) that need a product: i < c of group A and at least c - i >= 1 of group B, both possible."""
    return [(i, c - i) for i in range(c) if i <= size_a and c - i <= size_b]


def _needs(levels: list[list[int]], k: int) -> list[list[list[int]]]:
    """For each level and group, the c whose T_c the root's T_k depends on."""
    wanted = [[[k]]]
    for sizes in reversed(levels[:-1]):
        below: list[list[int]] = []
        for place, cs in enumerate(wanted[0]):
            pair = sizes[2 * place : 2 * place + 2]
            if len(pair) == 1:
                below.append(cs)
                continue
            left: set[int] = set(cs)
            right: set[int] = set()
            for c in cs:
                for i, rest in _terms(pair[0], pair[1], c):
                    left.update((i, i + 1))
                    right.add(rest)
            below.extend(
                sorted(c for c in found if 1 <= c <= size) for found, size in zip((left, right), pair, strict=True)
            )
        wanted.insert(0, below)
    return wanted


def _exactly(ctx: Context, group: _Group, size: int, i: int) -> Planes:
    """[exactly i of the group] = T_i + T_{i+1}; local."""
    if i == size:
        return group[size]
    above = group[i + 1]
    return not_(ctx, above) if i == 0 else group[i] ^ above


async def threshold_count(ctx: Context, flags: Sequence[Planes], k: int) -> Planes:
    """Whether at least k of the flags are set, element by element.

    Security: as `and_`.
    Cost: `cost_threshold_count`: ceil(log2(number of flags)) rounds; all (k = number) and any (k = 1) take one AND per
        flag but one.

    Args:
        ctx: narrowed to this call.
        flags: at least one, each of width 1 and of the same count.
        k: public; 0 or less is always reached, more than there are flags never.

    Returns:
        Width 1.
    """
    assert 1 <= len(flags) <= limits.INPUT_OWNERS_MAX
    assert all(flag.width == 1 for flag in flags)
    count = flags[0].count
    if k <= 0 or k > len(flags):
        return Planes.public(ones(1, count) if k <= 0 else _none(count), count, ctx.index)
    levels = _groups(len(flags))
    needs = _needs(levels, k)
    groups: list[_Group] = [{1: flag} for flag in flags]
    for level in range(1, len(levels)):
        groups = await _join_groups(ctx.narrow(f"level{level}"), groups, levels[level - 1], needs[level])
    return groups[0][k]


def _none(count: int) -> Vector:
    return np.zeros((1, bits.words_for(count)), dtype=np.uint64)


async def _join_groups(ctx: Context, groups: list[_Group], sizes: list[int], needs: list[list[int]]) -> list[_Group]:
    """Neighbouring groups joined, all products of the level in one exchange."""
    pairs: list[tuple[Planes, Planes]] = []
    joined: list[_Group] = []
    places: list[tuple[_Group, int, int]] = []
    for place, cs in enumerate(needs):
        left = groups[2 * place]
        if 2 * place + 1 == len(groups):
            joined.append(left)
            continue
        right = groups[2 * place + 1]
        size_a, size_b = sizes[2 * place : 2 * place + 2]
        result: _Group = {c: left[c] for c in cs if c <= size_a}
        for c in cs:
            for i, rest in _terms(size_a, size_b, c):
                pairs.append((_exactly(ctx, left, size_a, i), right[rest]))
                places.append((result, c, len(pairs) - 1))
        joined.append(result)
    products = await and_many(ctx, pairs)
    for result, c, index in places:
        result[c] = result[c] ^ products[index] if c in result else products[index]
    return joined


def cost_threshold_count(flags: int, k: int, count: int) -> Cost:
    """One round per level; one AND per exclusive case that k needs."""
    if k <= 0 or k > flags:
        return Cost()
    levels = _groups(flags)
    needs = _needs(levels, k)
    total = Cost()
    for level in range(1, len(levels)):
        sizes = levels[level - 1]
        products = sum(
            len(_terms(sizes[2 * place], sizes[2 * place + 1], c))
            for place, cs in enumerate(needs[level])
            if 2 * place + 1 < len(sizes)
            for c in cs
        )
        total += cost_and(products, count)
    return total
