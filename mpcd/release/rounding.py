"""Rounding: released counts and sums are multiples of a public base, exactly, and rounded before anything opens.

The base counts the columns' own units: a sum of a decimal column of two places is rounded to a multiple of 100 times
the base in its smallest unit.  The nearest multiple is taken, the upper one of two.  It is the last step before a value
is hidden or released, so that margins and dominance are about the true numbers.

    v' = v + K M + floor(M / 2)           public: M the base in the value's unit, K M above the size of any v
    x  = sum over bits j of v'_j (2^j mod M)        the same residue, at most (bits) (M - 1)
    q  = how many of M, 2M, 3M, ... x reaches       a thermometer, of which every bit is an XOR
    v' - (x - q M) - K M                            the multiple of M below v', moved back

What is made of released values (an average is a rounded sum over a rounded count) is as exact as these are, and
`explain` says so.  Variances, correlations and regressions are differences of large sums, of which rounding leaves
nothing to rely on: with a base above 1 they are refused.

Source: own.
Security: the semi-honest protocols' (every product and AND is recorded for `verify`); nothing opens.
Cost: `cost(...)`: conversion to bits, carry-save layers over the bits of v', an adder, ceil(log2(bits of x)), and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpcd.errors import PlanUnsupported
from mpcd.field import Field, Vector, bits
from mpcd.plan.nodes import LocalValue
from mpcd.plan.ranges import pooled_size
from mpcd.protocols import adders, compare, convert
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.release.rule import Sizes
from mpcd.sharing import Planes, Replicated


@dataclass(frozen=True, slots=True)
class Multiple:
    """How one value is rounded; public."""

    modulus: int
    """M: the base in the value's unit."""
    offset: int
    """What makes it positive: a multiple of M, and half of M."""
    width: int
    """Bits of the value with the offset."""

    @property
    def back(self) -> int:
        """K M."""
        return self.offset - self.modulus // 2


def multiple_of(value: LocalValue, base: int, rows_max: int, field: Field) -> Multiple:
    """How a value of a plan is rounded.

    Raises:
        PlanUnsupported: a moment of the second order, or a value too large for the field with its offset.
    """
    if len(value.factors) > 1:
        raise PlanUnsupported(
            f"an owner's policy rounds what is released to multiples of {base} (`safe_round_base`): variances, "
            "correlations and regressions cannot be made of rounded sums; ask for counts, sums and averages"
        )
    modulus = base * value.unit
    below = pooled_size(min(value.low, 0), 0, rows_max)
    above = pooled_size(0, max(value.high, 0), rows_max)
    offset = -(-below // modulus) * modulus + modulus // 2
    if above + offset >= field.modulus:
        raise PlanUnsupported(
            f"a sum could reach {max(above, below)}, which is too large to be rounded (`safe_round_base`); tighter "
            "bounds or a smaller rows_max in the roster would help"
        )
    return Multiple(modulus, offset, max((above + offset).bit_length(), 1))


@dataclass(frozen=True, slots=True)
class Rounding:
    """All values of one field, each over the plan's cells, one after another."""

    field: Field
    multiples: tuple[Multiple, ...]
    cells: int

    @property
    def _count(self) -> int:
        return len(self.multiples) * self.cells

    @property
    def _width(self) -> int:
        """Bits of any value with its offset."""
        return max(one.width for one in self.multiples)

    def _residues(self, one: Multiple) -> list[int]:
        return [pow(2, weight, one.modulus) if weight < one.width else 0 for weight in range(self._width)]

    @property
    def _sum_width(self) -> int:
        """Bits of any x."""
        return max(max(sum(self._residues(one)), 1).bit_length() for one in self.multiples)

    @property
    def _quotient(self) -> int:
        """The largest q."""
        return max(sum(self._residues(one)) // one.modulus for one in self.multiples)

    async def round(self, ctx: Context, pooled: Replicated) -> Replicated:
        """The values rounded.

        Args:
            ctx: narrowed to this call.
            pooled: all values' cells.
        """
        ints = [one.offset for one in self.multiples for _ in range(self.cells)]
        moved = pooled + Replicated.public(self.field, self.field.from_ints(ints), ctx.index)
        planes = await convert.to_bits(ctx.narrow("bits"), moved, self._width)
        terms = [self._term(planes, weight) for weight in range(self._width)]
        x = await adders.total(ctx.narrow("residue"), terms, self._sum_width)
        digits = [x]
        if self._quotient:
            flags = await self._thermometer(ctx.narrow("quotient"), x)
            digits.append(_binary(flags))
        number = Planes.join(digits)
        elements = await convert.planes_to_elements(ctx.narrow("elements"), number, self.field)
        pieces = elements.split([self._count] * number.width)
        rest = _weighted(pieces[: x.width])
        if self._quotient:
            quotient = _weighted(pieces[x.width :]).split([self.cells] * len(self.multiples))
            scaled = [piece.scale(one.modulus) for piece, one in zip(quotient, self.multiples, strict=True)]
            rest -= Replicated.concatenate(scaled)
        back = self.field.from_ints([one.back for one in self.multiples for _ in range(self.cells)])
        return moved - rest - Replicated.public(self.field, back, ctx.index)

    def _term(self, planes: Planes, weight: int) -> Planes:
        """Bit `weight` of every value, times what it is worth there."""
        worth = [self._residues(one)[weight] for one in self.multiples]
        return planes.plane(weight).repeat(self._sum_width).and_public(_constants(worth, self.cells, self._sum_width))

    async def _thermometer(self, ctx: Context, x: Planes) -> list[Planes]:
        """Per i from 1: does x reach i M?"""
        stride = bits.words_for(x.count) * WORD_BITS
        thresholds: list[int] = []
        for i in range(1, self._quotient + 1):
            thresholds += [i * one.modulus for one in self.multiples for _ in range(self.cells)]
            thresholds += [0] * (stride - self._count) if i < self._quotient else []
        flags = await compare.at_least_public(ctx, Planes.stack([x] * self._quotient), thresholds)
        return flags.unstack([x.count] * self._quotient)

    def cost(self) -> Cost:
        """Exact cost of `round`."""
        total = convert.cost_to_bits(self.field, self._count, self._width)
        total += adders.cost_total(self._width, self._sum_width, self._count)
        if self._quotient:
            stacked = (self._quotient - 1) * bits.words_for(self._count) * WORD_BITS + self._count
            total += compare.cost_at_least_public(self._sum_width, stacked)
        width = self._sum_width + self._quotient.bit_length()
        return total + convert.cost_bit_to_field(self.field, width * self._count)

    @property
    def sizes(self) -> Sizes:
        """The longest vector and message, or a little more."""
        stride = bits.words_for(self._count) * WORD_BITS
        width = self._sum_width + self._quotient.bit_length()
        elements = max(width * self._count, max(self._quotient, self._width) * stride)
        bits_bytes = self._sum_width * max(self._quotient, self._width) * stride // 8
        return Sizes(elements, max(self.field.element_bytes * width * self._count, bits_bytes))


def _constants(values: Sequence[int], cells: int, width: int) -> Vector:
    """Public planes: each value for so many elements."""
    found = np.zeros((width, bits.words_for(len(values) * cells)), dtype=np.uint64)
    for weight in range(width):
        flags = np.repeat(np.array([value >> weight & 1 for value in values], dtype=np.uint64), cells)
        found[weight] = bits.to_planes(flags, 1)[0]
    return found


def _binary(flags: Sequence[Planes]) -> Planes:
    """The number of flags set, where only a first few are: bit k is the XOR of each 2^k-th flag."""
    planes = []
    for weight in range(len(flags).bit_length()):
        total = flags[(1 << weight) - 1]
        for flag in flags[(2 << weight) - 1 :: 1 << weight]:
            total ^= flag
        planes.append(total)
    return Planes.join(planes)


def _weighted(pieces: Sequence[Replicated]) -> Replicated:
    """The number whose bits the pieces are, low bit first."""
    total = pieces[0]
    for weight, piece in enumerate(pieces[1:], start=1):
        total += piece.scale(1 << weight)
    return total
