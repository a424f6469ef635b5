"""Whether sums of a few shared numbers reach public thresholds: the one circuit behind the counting rules.

A *term* is a list of numbers of the same width, shared bit by bit; the question is whether their sum is at least a
public threshold t >= 1. Working modulo 2^(W+1), with 2^W above every possible sum, the answer is bit W of (sum + 2^W -
t).  All terms of a gate stand side by side, so that the rounds are those of the longest term: carry-save layers until
two numbers are left, then one carry-out.

Source: carry-save and prefix adders as in `protocols.adders`.
Cost: `cost(...)`; rounds = carry-save layers of (numbers in the longest term + 1) + carry-out at width W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpcd.errors import Bug
from mpcd.field import Vector
from mpcd.protocols import adders
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.sharing import Planes
from mpcd.sharing.planes import ones


@dataclass(frozen=True, slots=True)
class Term:
    """Is the sum of `numbers` at least `threshold`?  Element by element; all numbers have one width and count."""

    numbers: tuple[Planes, ...]
    threshold: int


def sum_width(number_width: int, numbers_max: int) -> int:
    """Bits W with 2^W above any sum of so many numbers."""
    largest: int = numbers_max * ((1 << number_width) - 1)
    return largest.bit_length()


def term_width(number_width: int, numbers_max: int, threshold_max: int) -> int:
    """Bits W with 2^W above any sum and any threshold: a threshold that no sum can reach is then reached by none."""
    return max(sum_width(number_width, numbers_max), threshold_max.bit_length())


def _constant(value: int, width: int, count: int, index: int) -> Planes:
    """A public number in every element, as trivial shares."""
    planes = np.zeros((width, ones(1, count).shape[1]), dtype=np.uint64)
    every: Vector = ones(1, count)[0]
    for weight in range(width):
        if value >> weight & 1:
            planes[weight] = every
    return Planes.public(planes, count, index)


async def at_least(ctx: Context, terms: Sequence[Term]) -> list[Planes]:
    """One flag per term and element.

    Args:
        ctx: narrowed to this call.
        terms: at least one; all numbers of all terms have the same width and count.

    Returns:
        Per term a plane (width 1) whose bit is 1 where the sum reaches the threshold.
    """
    first = terms[0].numbers[0]
    width = term_width(first.width, max(len(term.numbers) for term in terms), max(term.threshold for term in terms))
    rows = []
    for term in terms:
        if term.threshold < 1:
            raise Bug("a threshold below 1 asks nothing")
        numbers = [number.extend(width + 1) for number in term.numbers]
        rows.append([*numbers, _constant(2**width - term.threshold, width + 1, first.count, ctx.index)])
    layer = 0
    while any(len(row) > 2 for row in rows):
        await carry_save_layer(ctx.narrow(f"save{layer}"), rows)
        layer += 1
    left = Planes.stack([row[0] for row in rows])
    right = Planes.stack([row[1] for row in rows])
    carry = await adders.carry_out(ctx.narrow("carry"), left.planes(slice(0, width)), right.planes(slice(0, width)))
    flags = carry ^ left.plane(width) ^ right.plane(width)
    return flags.unstack([first.count] * len(terms))


async def carry_save_layer(ctx: Context, rows: list[list[Planes]]) -> None:
    """Turn every three numbers of every row into two, all in one round."""
    triples = [(row, start) for row in rows for start in range(0, len(row) - 2, 3)]
    columns = [Planes.stack([row[start + place] for row, start in triples]) for place in range(3)]
    total, carry = await adders.carry_save(ctx, *columns)
    counts = [row[start].count for row, start in triples]
    sums, carries = total.unstack(counts), carry.unstack(counts)
    # A row of m numbers becomes one of m - m // 3: two for each whole triple, and what is left over.
    replaced: dict[int, list[Planes]] = {}
    for (row, _), one, other in zip(triples, sums, carries, strict=True):
        replaced.setdefault(id(row), []).extend((one, other))
    for row in rows:
        if id(row) in replaced:
            rest = row[len(row) - len(row) % 3 :] if len(row) % 3 else []
            row[:] = [*replaced[id(row)], *rest]


def triples_max(terms: Sequence[int]) -> int:
    """Most triples of numbers that stand side by side in one layer, or terms at the end, whichever is more."""
    rows = [numbers + 1 for numbers in terms]
    return max(len(rows), sum(row // 3 for row in rows if row > 2))


def cost(terms: Sequence[int], number_width: int, threshold_max: int, words: int) -> Cost:
    """Cost of `at_least`.

    Args:
        terms: how many numbers each term adds.
        threshold_max: the highest threshold.
        number_width: bits of each number.
        words: 64-bit words of one plane of one number.
    """
    width = term_width(number_width, max(terms), threshold_max)
    rows = [numbers + 1 for numbers in terms]
    total = Cost()
    while any(row > 2 for row in rows):
        triples = sum(row // 3 for row in rows if row > 2)
        total += cost_and(width + 1, triples * words * WORD_BITS)
        rows = [row - row // 3 if row > 2 else row for row in rows]
    return total + adders.cost_carry_out(width, len(rows) * words * WORD_BITS)
