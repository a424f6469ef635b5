"""Dominance: no sum is released that few persons make up, for whoever has the sum would nearly have their values.

Of a sum over one cell let the persons' contributions be sorted by size, x_1 >= x_2 >= ..., and T their total.

    (n,k)   x_1 + ... + x_n <= k T            `safe_nk_n`, `safe_nk_k`
    p%      T - x_1 - x_2 >= p x_1            `safe_pratio_p`: the second-largest person, who knows its own part, learns
                                              x_1 no closer than this part of it

A contribution is the size of what one person adds, at one owner, to one *monomial* of a value (`mpcd.plan.monomials`):
`SUM(x + y)` asks it of x and of y, a moment about a centre of x and of x².  A gate fails where one of its sums does.

*No owner may learn it either.*  Every owner knows its own part and subtracts it; and a lying owner could add a large
total of its own, so that nobody else's contribution seems to dominate.  So, as for the floor, both must hold for what
is left without owner g, for every g.  They then hold for all together: the largest contributions are spread over
owners, and adding up the inequalities of all g counts each owner as often as the total does.

*Without sorting on shares.*  Each owner sorts its own.  The sum of the n largest of several sorted lists is the
greatest of all sums that take the i_h first of each list h, with the i_h together n.  So (n,k) holds exactly if for
*every* such choice the sum over h of u(h, i_h) = k T_h - (x_1 + ... + x_i of list h) is not negative.  Likewise p%: for
every choice of a first and a second person.  Each owner gives its numbers u as bits in two's complement, in units that
make k and p whole, and what is evaluated is the sign of sums of one number per owner: no comparison of secrets, no
product, and an owner that gives numbers of no person lies about its own part alone, which the inequality without it
does not contain.  The others contain it beside the honest owners': what fails there by its choice, or does not, tells
it about them, bit by bit, if one question may be repeated (THREATS, "Arguments that are our own").

*Persons not disjoint*: a person may be in several lists.  Its contributions together are at most the sums of each
list's; so the one choice that takes the n first of every list bounds the n largest from above.  (A person whose
contributions at two owners have different signs counts with both sizes, in the total as well.)

(n,k) implies p% where n >= 2 and k (1 + p) <= 1, as with the defaults: x_1 + x_2 + p x_1 <= (1 + p)(x_1 + ... + x_n)
<= (1 + p) k T.  Then p% is not evaluated.

Numbers beyond three decimals are read as the stricter thousandth.

Source: Hundepool et al. 2012 (the rules); own (their evaluation).
Security: the semi-honest protocols' (each AND is recorded for `verify`); nothing opens.
Cost: `Dominance.cost`: carry-save layers of (owners - 1) numbers, 1 + ceil(log2(width - 1)), and the trees over choices
    and sums; no carry for two owners.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from mpcd import limits
from mpcd.errors import PlanUnsupported
from mpcd.field import Vector, bits
from mpcd.governance.disclosure import DisclosureRules
from mpcd.plan.monomials import Magnitude
from mpcd.plan.nodes import Gate
from mpcd.protocols import adders, binary
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.protocols.inputs import BitsInput
from mpcd.protocols.spec import BitsSpec
from mpcd.release import gate, sums
from mpcd.release.rule import Evidence, Integers, Share, Sizes
from mpcd.sharing import Planes

NAME: Final = "dominance"
_THOUSANDTHS: Final = 1000


@dataclass(frozen=True, slots=True)
class Numbers:
    """The strictest numbers of all owners, as exact fractions of at most three decimals."""

    n: int
    k: Fraction
    p: Fraction

    @classmethod
    def of(cls, n: int, k: float, p: float) -> Numbers:
        """From a policy's numbers, as they are written in decimals; never weaker.

        Raises:
            PlanUnsupported: more persons than this version compares.
        """
        if n > limits.DOMINANCE_PERSONS_MAX:
            raise PlanUnsupported(
                f"an owner's policy asks for dominance of {n} persons (`safe_nk_n`); at most "
                f"{limits.DOMINANCE_PERSONS_MAX} are compared in this version, and nothing is released without it"
            )
        part = Fraction(math.floor(Fraction(repr(k)) * _THOUSANDTHS), _THOUSANDTHS)
        return cls(n, part, Fraction(math.ceil(Fraction(repr(p)) * _THOUSANDTHS), _THOUSANDTHS))

    @property
    def tops(self) -> int:
        """How many of the largest contributions each owner must know."""
        return max(self.n, 2)

    @property
    def p_implied(self) -> bool:
        """Whether (n,k) implies p%."""
        return self.n >= 2 and self.k * (1 + self.p) <= 1


def numbers_of(rules: DisclosureRules) -> Numbers:
    """The numbers of a session's rules."""
    return Numbers.of(rules.safe_nk_n, rules.safe_nk_k, rules.safe_pratio_p)


class Dominance:
    """The rule for one plan; see the module and `release.rule.Rule`."""

    name: Final = NAME
    status: Final = gate.STATUS_DOMINANCE

    def __init__(
        self,
        numbers: Numbers,
        gates: Sequence[Gate],
        magnitudes: Sequence[Magnitude],
        cells: int,
        owners: int,
        rows_per_owner_max: int,
        *,
        persons_disjoint: bool,
    ) -> None:
        """One per plan.

        Args:
            numbers: see `Numbers`.
            gates: from the logical plan.
            magnitudes: the sums; at least one.
            cells: of the plan.
            owners: how many give data, at least two.
            rows_per_owner_max: bounds a total.
            persons_disjoint: from the roster.
        """
        self._numbers = numbers
        self._sums = {place: one.sums for place, one in enumerate(gates) if one.sums}
        self.gates: tuple[int, ...] = tuple(self._sums)
        self._count = len(magnitudes)
        self._cells = cells
        self._words = bits.words_for(cells)
        self._owners = owners
        self._menu = _menu(numbers)
        factor = max(max(abs(weight) for weight in item) for item in self._menu)
        total = rows_per_owner_max * max(one.size for one in magnitudes)
        self._width = (2 * factor * total).bit_length() + 1
        """Bits of one number, its sign included: none is larger than the factors of its total and of its tops."""
        self._choices = list(_choices(numbers, owners, persons_disjoint=persons_disjoint))
        self._sum_width = self._width + (owners - 1).bit_length()

    # ------------------------------------------------------------------------------------------ at the owner

    def specs(self) -> list[BitsSpec]:
        """All numbers of the menu, for every sum and cell."""
        return [BitsSpec(self._width, len(self._menu) * self._count * self._words * WORD_BITS)]

    def provide(self, evidence: Evidence) -> list[BitsInput]:
        """From the largest contributions and totals.

        Args:
            evidence: for each magnitude the largest contribution of each cell, the second, and so on, then the totals.
        """
        stride = self._numbers.tops + 1
        assert len(evidence) == self._count * stride
        pieces = [
            _planes(_combined(item, evidence[place * stride : (place + 1) * stride], self._width), self._width)
            for item in self._menu
            for place in range(self._count)
        ]
        return [BitsInput(np.concatenate(pieces, axis=1), len(pieces) * self._words * WORD_BITS)]

    # ------------------------------------------------------------------------------------------ on shares

    async def evaluate(self, ctx: Context, given: Sequence[Sequence[Share]]) -> Mapping[int, Planes]:
        """See `release.rule.Rule`."""
        menus = [self._numbers_of(piece) for (piece,) in given]
        rows = [[menus[owner][item] for owner, item in choice] for choice in self._choices]
        layer = 0
        while any(len(row) > 2 for row in rows):
            await sums.carry_save_layer(ctx.narrow(f"save{layer}"), rows)
            layer += 1
        signs = await self._signs(ctx, rows)
        fine = await binary.all_of(ctx.narrow("choices"), Planes.join(signs).invert(ctx.index))
        each = fine.unstack([self._cells] * self._count)
        lists = {place: [each[one] for one in which] for place, which in self._sums.items()}
        passed = await gate.all_of_lists(ctx.narrow("sums"), lists)
        return {place: flags.invert(ctx.index) for place, flags in passed.items()}

    def _numbers_of(self, piece: Share) -> list[Planes]:
        """One owner's menu, each number over all sums and cells, with its sign extended."""
        assert isinstance(piece, Planes)
        count = self._count * self._words * WORD_BITS
        sign = self._width - 1
        found = []
        for number in piece.unstack([count] * len(self._menu)):
            planes = number.planes([*range(self._width), *[sign] * (self._sum_width - self._width)])
            found.append(planes)
        return found

    async def _signs(self, ctx: Context, rows: Sequence[Sequence[Planes]]) -> list[Planes]:
        """Per choice: is its sum negative?"""
        top = self._sum_width - 1
        if len(rows[0]) == 1:
            return [row[0].plane(top) for row in rows]
        left, right = (Planes.stack([row[place] for row in rows]) for place in range(2))
        low = slice(0, top)
        carry = await adders.carry_out(ctx.narrow("carry"), left.planes(low), right.planes(low))
        signs = carry ^ left.plane(top) ^ right.plane(top)
        return signs.unstack([rows[0][0].count] * len(rows))

    # ------------------------------------------------------------------------------------------ what it costs

    def cost(self) -> Cost:
        """See `release.rule.Rule`."""
        words = self._count * self._words
        total = Cost()
        row = self._owners - 1
        while row > 2:
            total += cost_and(self._sum_width, len(self._choices) * (row // 3) * words * WORD_BITS)
            row -= row // 3
        if row == 2:
            total += adders.cost_carry_out(self._sum_width - 1, len(self._choices) * words * WORD_BITS)
        total += binary.cost_all_of(len(self._choices), words * WORD_BITS)
        return total + gate.cost_all_of_lists([len(one) for one in self._sums.values()], self._words)

    @property
    def sizes(self) -> Sizes:
        """See `release.rule.Rule`."""
        count = self._count * self._words * WORD_BITS
        abreast = len(self._choices) * max(1, (self._owners - 1) // 3) * count
        given = len(self._menu) * count
        return Sizes(max(abreast, given), max(self._sum_width * abreast, self._width * given) // 8)


# ------------------------------------------------------------------------------------------------ public wiring

_Item = tuple[int, ...]
"""Weights of the contributions, the largest first, and of the total, last."""


def _menu(numbers: Numbers) -> list[_Item]:
    """The numbers that each owner gives for each sum: those of (n,k), then those of p%, each once."""
    k, p, tops = numbers.k, numbers.p, numbers.tops
    items = [(*[-k.denominator] * taken, *[0] * (tops - taken), k.numerator) for taken in range(numbers.n + 1)]
    if not numbers.p_implied:
        one, first = p.denominator, p.denominator + p.numerator
        rest = [0] * (tops - 2)
        items += [(0, 0, *rest, one), (-first, 0, *rest, one), (-one, 0, *rest, one), (-first, -one, *rest, one)]
    return list(dict.fromkeys(items))


def _choices(numbers: Numbers, owners: int, *, persons_disjoint: bool) -> Iterator[tuple[tuple[int, int], ...]]:
    """For each owner left out, every sum that must not be negative: per other owner the menu's item.

    Raises:
        PlanUnsupported: too many.
    """
    menu = {item: place for place, item in enumerate(_menu(numbers))}
    k, p, n = numbers.k, numbers.p, numbers.n
    rest = [0] * (numbers.tops - 2)
    one, first = p.denominator, p.denominator + p.numerator

    def taken(count: int) -> int:
        return menu[(*[-k.denominator] * count, *[0] * (numbers.tops - count), k.numerator)]

    roles = (
        {}
        if numbers.p_implied
        else {
            "none": menu[(0, 0, *rest, one)],
            "first": menu[(-first, 0, *rest, one)],
            "second": menu[(-one, 0, *rest, one)],
            "both": menu[(-first, -one, *rest, one)],
        }
    )
    each = math.comb(n + owners - 2, n) + (owners - 1) ** 2 if persons_disjoint else 2
    if each * owners > limits.DOMINANCE_CHOICES_MAX:
        raise PlanUnsupported(
            f"dominance of {n} persons over {owners} owners takes {each * owners} comparisons for each sum and "
            f"cell; at most {limits.DOMINANCE_CHOICES_MAX} are made: a smaller `safe_nk_n` or fewer owners would help"
        )
    for excluded in range(owners):
        others = [owner for owner in range(owners) if owner != excluded]
        if not persons_disjoint:
            yield tuple((owner, taken(n)) for owner in others)
            if roles:
                yield tuple((owner, roles["both"]) for owner in others)
            continue
        for spread in _spread(n, len(others)):
            yield tuple((owner, taken(count)) for owner, count in zip(others, spread, strict=True))
        if roles:
            for a, b in itertools.product(others, repeat=2):
                named = {a: "both"} if a == b else {a: "first", b: "second"}
                yield tuple((owner, roles[named.get(owner, "none")]) for owner in others)


def _spread(total: int, places: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as a sum of so many numbers that are not negative."""
    if places == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for others in _spread(total - first, places - 1):
            yield (first, *others)


def _combined(weights: _Item, columns: Sequence[Integers | list[int]], width: int) -> Integers | list[int]:
    """A weighted sum of columns, exactly; in words where `width` bits, the sign included, hold it."""
    if width < WORD_BITS:
        words = np.zeros(len(columns[0]), dtype=np.int64)
        for weight, column in zip(weights, columns, strict=True):
            words += weight * np.asarray(column, dtype=np.int64)
        return words
    found = [0] * len(columns[0])
    for weight, column in zip(weights, columns, strict=True):
        found = [value + weight * int(more) for value, more in zip(found, column, strict=True)]
    return found


def _planes(values: Integers | list[int], width: int) -> Vector:
    """Two's complement of `width` bits, whatever the width."""
    if isinstance(values, np.ndarray):
        return bits.to_planes(np.ascontiguousarray(values).view(np.uint64), width)
    mask = (1 << width) - 1
    parts = []
    for start in range(0, width, WORD_BITS):
        some = min(WORD_BITS, width - start)
        words = np.array([(value & mask) >> start & ((1 << some) - 1) for value in values], dtype=np.uint64)
        parts.append(bits.to_planes(words, some))
    return np.concatenate(parts)
