"""Secondary suppression: no margin of a GROUP BY may give back, by subtraction, what its cells withhold.

A *margin* is what remains of the keys when some are summed away: the grand total, the totals by one key, by two.  Its
totals are answers to other requests over the same WHERE, so whoever has them subtracts the released cells of a group
and is left with the suppressed ones together.  They must be none, or releasable as one cell: in every group of every
margin, the persons in suppressed cells must be nobody, or pass the floor and `min_owners`, for the inside of a gate and
for each cohort outside it (a gate's suppressed cells could be shown by the totals of its remainder as well).  Margins
are computed from what the gate releases, never from what the table holds (rule 23).

If a group fails, one released cell of it is suppressed too: the one with the fewest persons, the first of several.
Its status is `complement`.

*One pass suffices.*  Let S be the suppressed cells of a group before, and S' after.  (1) A group that failed has in S'
a cell which was released: its inside passes the floor and `min_owners`, and so does each cohort outside it (where zeros
are shown a remainder may be empty instead; then a cell of which all remainders pass is chosen, or, if there is none,
every cell of the group is suppressed).  Both rules are monotone: adding persons or owners to a set that passes leaves
one that passes.  So S' passes.  Where no cell is left released nothing is subtracted: what S' holds is the group's own
total, about which its own request's gate decides.  (2) A group that passed may gain cells that other margins chose:
then S' is S, which passes or is nobody, together with cells that pass; by monotony it passes.  So no group fails after
the pass, and the choice of further cells cannot start another.

*Several gates.*  Of two FILTERs that share a cell out, one released beside the whole cell gives the other back.  So a
cell that is chosen for one gate is suppressed for every gate with anything outside it; those over the whole cell keep
what they chose themselves.  Then none of them is known there but together with the others, as the whole; and a
combination of outputs and totals in which a gate takes part stands, in the cell that was chosen for it, on one of its
own cohorts, which pass there.  (2) holds as it is: what a gate gains are released cells.

*One margin at a time.*  Whoever has the totals by two keys, from two more requests, may learn a chosen cell from the
one and what it protects from the other: that is three requests, which differencing does not stop either (THREATS).

*What counts as persons of a suppressed cell.*  A cell that passes floor and `min_owners` but was suppressed by a rule
of another kind (dominance, differencing) is *hollow*: its persons protect nobody, for it is its own values that must
not come back.  It counts as somebody who is there and as no persons, so that every group with a hollow cell has another
suppressed one besides, whose persons pass by themselves.

*Persons with several rows* may be in several cells, so that their counts do not add up to persons.  Then a group passes
only if nobody is in its suppressed cells, or if one of them passes by itself, which bounds the persons from below.

Source: complementary cell suppression as in statistical disclosure control (Hundepool et al. 2012), evaluated on
    shares; the choice is by persons alone and not optimal.
Security: the semi-honest protocols' (each AND is recorded for `verify`); nothing opens.  Owners can only lie about
    their own counts: the floor of a group leaves each owner's own part out, as the floor of a cell does.
Cost: `cost(...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mpcd.field import bits
from mpcd.plan.nodes import Gate
from mpcd.protocols import adders, binary
from mpcd.protocols.abreast import abreast, cost_abreast
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.protocols.least import cost_least, elements_max, least, least_and_number, words_max
from mpcd.release import floor, gate, sums
from mpcd.release.gate import Decision, Facts, GateRules
from mpcd.release.rule import Sizes
from mpcd.release.sums import Term
from mpcd.sharing import Planes

Places = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Margin:
    """One margin: which cells fall into which group."""

    order: Places
    """Shape (size, groups): column g holds the cells of group g."""

    @property
    def size(self) -> int:
        """Cells of each group."""
        return int(self.order.shape[0])

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.order.shape[1])

    @property
    def by_group(self) -> Places:
        """All cells, group after group."""
        return np.ascontiguousarray(self.order.T).reshape(-1)

    @property
    def back(self) -> Places:
        """Where in `by_group` each cell stands."""
        return np.argsort(self.by_group).astype(np.uint64)


def margins_of(places: Sequence[int]) -> tuple[Margin, ...]:
    """All margins of a GROUP BY, the grand total first; keys of one place make none.

    Args:
        places: how many codes each key has, in order; cells are row-major.
    """
    keys = [key for key, count in enumerate(places) if count > 1]
    cells = np.arange(int(np.prod(places, dtype=np.int64)), dtype=np.uint64).reshape(tuple(places))
    found = []
    for size in range(len(keys)):
        for kept in combinations(keys, size):
            groups = int(np.prod([places[key] for key in kept], dtype=np.int64))
            summed = [key for key in range(len(places)) if key not in kept]
            found.append(Margin(cells.transpose([*summed, *kept]).reshape(-1, groups)))
    return tuple(found)


class Margins:
    """Secondary suppression of one plan; public, the same at every party."""

    def __init__(
        self,
        rules: GateRules,
        gates: Sequence[Gate],
        released: Sequence[int],
        places: Sequence[int],
        owners: int,
        width: int,
        *,
        persons_add_up: bool,
        hollow: bool,
    ) -> None:
        """One per plan.

        Args:
            rules: see `GateRules`.
            gates: from the logical plan.
            released: the gates on which values hang; of the others nothing can be subtracted.
            places: codes of each key.
            owners: how many give data.
            width: bits of each count.
            persons_add_up: no person is in two cells, so that counts of cells add up.
            hollow: rules besides the counting ones may suppress a cell.
        """
        self._rules = rules
        self.gates = tuple(released)
        """The gates of which cells may be hidden."""
        self._margins = margins_of(places)
        self._owners = owners
        self._count_width = width
        self._add_up = persons_add_up
        self._hollow = hollow
        self._cells = int(np.prod(places, dtype=np.int64))
        self._words = bits.words_for(self._cells)
        cohorts = {place: (gates[place].inside, *gates[place].outside) for place in self.gates}
        self._pairs = [(place, cohort) for place in self.gates for cohort in cohorts[place]]
        self._outside = {place: gates[place].outside for place in self.gates}
        self._insides = {place: gates[place].inside for place in self.gates}
        self._strict = [place for place in self.gates if rules.zeros_shown and self._outside[place]]
        self._joined = [place for place in self.gates if self._outside[place]] if len(self.gates) > 1 else []
        """What is chosen for any gate is hidden in these."""
        self._pooled = sorted(set(self._insides.values()))
        self._groups = sum(margin.groups for margin in self._margins)
        one = tuple(margin.size for margin in self._margins for _ in range(margin.groups))
        self._segments = one * len(self.gates)
        self._numbers = owners + hollow if persons_add_up else 2
        self._width = max(width, self._cells.bit_length()) if hollow else width
        """Bits of a group's sum: an owner's counts stay within theirs, for its persons add up; so do cells."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._margins and self.gates)

    # ------------------------------------------------------------------------------------------ on shares

    async def hide(
        self,
        ctx: Context,
        counts: Sequence[Sequence[Planes]],
        facts: Facts,
        counted: Sequence[Decision],
        decisions: Sequence[Decision],
    ) -> dict[int, Planes]:
        """Which released cells must be suppressed as well.

        Args:
            ctx: narrowed to this call.
            counts: per owner, per cohort: the persons in each cell.
            facts: what the gate found out of the cohorts.
            counted: the gates' decisions by counting rules alone.
            decisions: the decisions by all rules.

        Returns:
            Fail bits for each gate on which values hang; to be taken in with `gate.refuse(..., zeros=False)`.
        """
        real: dict[int, Planes] = {}
        hollow: dict[int, Planes] = {}
        for place in self.gates:
            shown, was = decisions[place], counted[place]
            hollow[place] = was.keep ^ was.empty ^ shown.keep ^ shown.empty
            real[place] = (was.keep ^ was.empty).invert(ctx.index)
        needs, contest = await abreast(
            ctx.narrow("abreast"),
            lambda at: self._needs(at, counts, facts, real, hollow),
            lambda at: self._contest(at, counts, facts, decisions),
        )
        return await self._joint(ctx, await self._chosen(ctx, needs, *contest), decisions)

    async def _joint(self, ctx: Context, chosen: dict[int, Planes], decisions: Sequence[Decision]) -> dict[int, Planes]:
        """What is hidden of any gate is hidden of all that have something outside."""
        if not self._joined:
            return chosen
        shown = Planes.stack([decisions[place].keep for place in self.gates])
        taken = await binary.and_(ctx.narrow("taken"), Planes.stack([chosen[place] for place in self.gates]), shown)
        pieces = taken.unstack([self._cells] * len(self.gates))
        everywhere = await binary.any_of(ctx.narrow("joint"), Planes.join(pieces))
        return chosen | dict.fromkeys(self._joined, everywhere)

    async def _needs(
        self,
        ctx: Context,
        counts: Sequence[Sequence[Planes]],
        facts: Facts,
        real: dict[int, Planes],
        hollow: dict[int, Planes],
    ) -> Planes:
        """Per gate, margin and group: do its suppressed cells need another beside them?"""
        fine = await (self._sums if self._add_up else self._any)(ctx, counts, facts, real, hollow)
        by_gate = await gate.all_of_lists(ctx.narrow("cohorts"), fine)
        return Planes.concatenate([by_gate[place].invert(ctx.index) for place in self.gates])

    async def _sums(
        self,
        ctx: Context,
        counts: Sequence[Sequence[Planes]],
        facts: Facts,  # noqa: ARG002  the other way needs them
        real: dict[int, Planes],
        hollow: dict[int, Planes],
    ) -> dict[int, list[Planes]]:
        """Per gate and cohort: does every group pass, where persons of cells add up?  All groups after one another."""
        flags = Planes.stack([real[place] for place, _ in self._pairs for _ in counts])
        each = Planes.stack([owner[cohort] for _, cohort in self._pairs for owner in counts])
        masked = (await binary.and_(ctx.narrow("mask"), flags, each)).extend(self._width)
        pieces = masked.unstack([self._cells] * (len(self._pairs) * len(counts)))
        numbers: list[Planes] = []
        for order, (place, _) in enumerate(self._pairs):
            numbers += pieces[order * len(counts) : (order + 1) * len(counts)]
            numbers += [hollow[place].extend(self._width)] if self._hollow else []
        rows = await self._added(ctx.narrow("add"), self._rows(numbers))
        parties = [self._of_number(rows, number) for number in range(self._numbers)]
        holds, nobody = await self._group_facts(ctx, parties)
        return self._by_gate(holds ^ nobody)

    def _rows(self, numbers: Sequence[Planes]) -> list[Planes]:
        """Per margin all numbers' cells, row after row: a row has the next cell of each group, for every number."""
        stacked = Planes.stack(numbers)
        starts = np.arange(len(numbers), dtype=np.uint64) * np.uint64(self._words * WORD_BITS)
        return [
            stacked.take((margin.order[:, None, :] + starts[None, :, None]).reshape(-1)) for margin in self._margins
        ]

    async def _added(self, ctx: Context, rows: list[Planes]) -> list[Planes]:
        """Carry-save layers until two rows are left in each margin."""
        lengths = self._lengths()
        left = [margin.size for margin in self._margins]
        layer = 0
        while any(count > 2 for count in left):
            active = [place for place, count in enumerate(left) if count > 2]
            columns = [
                Planes.stack(
                    [
                        rows[p].take(
                            slice(column * (left[p] // 3) * lengths[p], (column + 1) * (left[p] // 3) * lengths[p])
                        )
                        for p in active
                    ]
                )
                for column in range(3)
            ]
            total, carry = await adders.carry_save(ctx.narrow(f"layer{layer}"), columns[0], columns[1], columns[2])
            sizes = [left[p] // 3 * lengths[p] for p in active]
            for p, one, other in zip(active, total.unstack(sizes), carry.unstack(sizes), strict=True):
                rest = rows[p].take(slice(left[p] // 3 * 3 * lengths[p], left[p] * lengths[p]))
                rows[p] = Planes.concatenate([one, other, rest] if rest.count else [one, other])
                left[p] -= left[p] // 3
            layer += 1
        return rows

    def _lengths(self) -> list[int]:
        """Elements of one row, by margin."""
        return [len(self._pairs) * self._numbers * margin.groups for margin in self._margins]

    def _of_number(self, rows: Sequence[Planes], number: int) -> tuple[Planes, ...]:
        """One number's sums in both rows: margins, pairs and groups after one another."""
        found = []
        for row in range(2):
            pieces = [
                planes.take(self._places(margin, number) + np.uint64(row * length))
                for planes, margin, length in zip(rows, self._margins, self._lengths(), strict=True)
            ]
            found.append(Planes.concatenate(pieces))
        return tuple(found)

    def _places(self, margin: Margin, number: int) -> Places:
        """Where in a row one number of all pairs stands."""
        pairs = np.arange(len(self._pairs), dtype=np.uint64) * np.uint64(self._numbers) + np.uint64(number)
        within = np.arange(margin.groups, dtype=np.uint64)
        return (pairs[:, None] * np.uint64(margin.groups) + within[None, :]).reshape(-1)

    async def _group_facts(self, ctx: Context, parties: Sequence[tuple[Planes, ...]]) -> tuple[Planes, Planes]:
        """Floor and `min_owners` hold; nobody is there, hollow cells included."""
        owners = parties[: self._owners]
        terms = [Term(numbers, self._rules.threshold) for numbers in self._floor_numbers(owners)]
        terms += [Term(numbers, 1) for numbers in parties]
        flags = await sums.at_least(ctx.narrow("groups"), terms)
        enough, there = flags[: self._owners], flags[self._owners :]
        both = [enough, there[: self._owners]]
        floor_holds, owners_hold = await gate.tally(ctx.narrow("tally"), both, self._tallied())
        holds = await binary.and_(ctx.narrow("holds"), floor_holds, owners_hold)
        absent = Planes.join([flag.invert(ctx.index) for flag in there])
        return holds, await binary.all_of(ctx.narrow("nobody"), absent)

    def _floor_numbers(self, owners: Sequence[tuple[Planes, ...]]) -> list[tuple[Planes, ...]]:
        """The numbers of each term of the floor, as `floor.terms` has them."""
        if not self._rules.persons_disjoint:
            return list(owners)
        return [
            tuple(number for place, numbers in enumerate(owners) if place != owner for number in numbers)
            for owner in range(len(owners))
        ]

    def _tallied(self) -> list[int]:
        return [floor.needed(self._owners, persons_disjoint=self._rules.persons_disjoint), self._rules.min_owners]

    async def _any(
        self,
        ctx: Context,
        counts: Sequence[Sequence[Planes]],  # noqa: ARG002  the other way needs them
        facts: Facts,
        real: dict[int, Planes],
        hollow: dict[int, Planes],
    ) -> dict[int, list[Planes]]:
        """As `_sums`, where a person may be in several cells: nobody is there, or one suppressed cell passes alone."""
        flags = Planes.stack([real[place] for place, _ in self._pairs for _ in range(2)])
        known = [
            piece
            for _, cohort in self._pairs
            for piece in (facts.nobody[cohort].invert(ctx.index), facts.passing[cohort])
        ]
        both = await binary.and_(ctx.narrow("mask"), flags, Planes.stack(known))
        pieces = both.unstack([self._cells] * (2 * len(self._pairs)))
        for order, (place, _) in enumerate(self._pairs):
            pieces[2 * order] ^= hollow[place]
        rows = self._rows([piece.invert(ctx.index) for piece in pieces])
        lengths, left = self._lengths(), [margin.size for margin in self._margins]
        layer = 0
        while any(count > 1 for count in left):
            active = [p for p, count in enumerate(left) if count > 1]
            halves = [
                Planes.stack(
                    [
                        rows[p].take(
                            slice(half * (left[p] // 2) * lengths[p], (half + 1) * (left[p] // 2) * lengths[p])
                        )
                        for p in active
                    ]
                )
                for half in range(2)
            ]
            product = await binary.and_(ctx.narrow(f"any{layer}"), halves[0], halves[1])
            for p, piece in zip(active, product.unstack([left[p] // 2 * lengths[p] for p in active]), strict=True):
                rest = rows[p].take(slice(left[p] // 2 * 2 * lengths[p], left[p] * lengths[p]))
                rows[p] = Planes.concatenate([piece, rest]) if rest.count else piece
                left[p] -= left[p] // 2
            layer += 1
        absent, none_alone = (
            Planes.concatenate(
                [row.take(self._places(margin, number)) for row, margin in zip(rows, self._margins, strict=True)]
            )
            for number in range(2)
        )
        return self._by_gate(absent ^ none_alone.invert(ctx.index))

    def _by_gate(self, passed: Planes) -> dict[int, list[Planes]]:
        """From margins, pairs, groups to one plane per gate and cohort, over the groups of all margins."""
        found: dict[int, list[Planes]] = {place: [] for place in self.gates}
        for order, (place, _) in enumerate(self._pairs):
            start, wanted = 0, []
            for margin in self._margins:
                wanted.append(np.arange(margin.groups, dtype=np.uint64) + np.uint64(start + order * margin.groups))
                start += len(self._pairs) * margin.groups
            found[place].append(passed.take(np.concatenate(wanted)))
        return found

    # ------------------------------------------------------------------------------------------ which cell

    async def _contest(
        self, ctx: Context, counts: Sequence[Sequence[Planes]], facts: Facts, decisions: Sequence[Decision]
    ) -> tuple[Planes, Planes | None]:
        """In every group the released cell with the fewest persons; and where it matters, whether there is none."""
        width = sums.sum_width(self._count_width, self._owners)
        terms = [Planes.stack([owner[cohort] for cohort in self._pooled]) for owner in counts]
        pooled = (await adders.total(ctx.narrow("pool"), terms, width)).unstack([self._cells] * len(self._pooled))
        candidates = {place: decisions[place].keep for place in self.gates}
        if self._strict:
            lists = {
                place: [decisions[place].keep, *(facts.passing[cohort] for cohort in self._outside[place])]
                for place in self._strict
            }
            candidates |= await gate.all_of_lists(ctx.narrow("solid"), lists)
        values = []
        for place in self.gates:
            persons = pooled[self._pooled.index(self._insides[place])]
            value = Planes.join([persons, candidates[place].invert(ctx.index)])
            values += [value.take(margin.by_group) for margin in self._margins]
        contest = Planes.concatenate(values)
        if not self._strict:
            return await least(ctx.narrow("least"), contest, self._segments), None
        flags, number = await least_and_number(ctx.narrow("least"), contest, self._segments)
        return flags, number.plane(width)

    async def _chosen(self, ctx: Context, needs: Planes, flags: Planes, none_left: Planes | None) -> dict[int, Planes]:
        """Per gate the cells to hide, over all margins: where a group needs it its least, or, if none is left, all."""
        group_of = np.repeat(np.arange(len(self._segments), dtype=np.uint64), self._segments)
        kinds = [flags] if none_left is None else [flags, none_left.take(group_of)]
        spread = Planes.stack([needs.take(group_of)] * len(kinds))
        chosen = (await binary.and_(ctx.narrow("chosen"), Planes.stack(kinds), spread)).unstack(
            [flags.count] * len(kinds)
        )
        planes = [
            Planes.stack([self._piece(kind, g, m) for g in range(len(self.gates))])
            for kind in chosen
            for m in range(len(self._margins))
        ]
        hidden = await binary.any_of(ctx.narrow("any"), Planes.join(planes))
        return dict(zip(self.gates, hidden.unstack([self._cells] * len(self.gates)), strict=True))

    def _piece(self, chosen: Planes, order: int, margin: int) -> Planes:
        """One gate's cells of one margin, in the order of the plan's cells."""
        start = (order * len(self._margins) + margin) * self._cells
        return chosen.take(self._margins[margin].back + np.uint64(start))

    # ------------------------------------------------------------------------------------------ what it costs

    def cost(self) -> Cost:
        """Exact cost of `hide`."""
        words = self._words
        needs = self._cost_sums() if self._add_up else self._cost_any()
        lengths = [1 + len(self._outside[place]) for place in self.gates]
        needs += gate.cost_all_of_lists(lengths, bits.words_for(self._groups))
        width = sums.sum_width(self._count_width, self._owners)
        contest = adders.cost_total(self._owners, width, len(self._pooled) * words * WORD_BITS)
        if self._strict:
            contest += gate.cost_all_of_lists([1 + len(self._outside[place]) for place in self._strict], words)
        contest += cost_least(width + 1, self._segments, number=bool(self._strict))
        total = cost_abreast(needs, contest)
        kinds = 2 if self._strict else 1
        elements = bits.words_for(len(self._margins) * len(self.gates) * self._cells)
        total += cost_and(1, kinds * elements * WORD_BITS)
        total += binary.cost_any_of(kinds * len(self._margins), len(self.gates) * words * WORD_BITS)
        if self._joined:
            total += cost_and(1, len(self.gates) * words * WORD_BITS)
            total += binary.cost_any_of(len(self.gates), words * WORD_BITS)
        return total

    def _cost_sums(self) -> Cost:
        total = cost_and(self._count_width, len(self._pairs) * self._owners * self._words * WORD_BITS)
        left, lengths = [margin.size for margin in self._margins], self._lengths()
        while any(count > 2 for count in left):
            elements = [count // 3 * length for count, length in zip(left, lengths, strict=True) if count > 2]
            total += cost_and(self._width, sum(map(bits.words_for, elements)) * WORD_BITS)
            left = [count - count // 3 if count > 2 else count for count in left]
        words = bits.words_for(len(self._pairs) * self._groups)
        total += sums.cost(self._term_sizes(), self._width, self._rules.threshold, words)
        total += gate.cost_tally(self._owners, self._tallied(), words) + cost_and(1, words * WORD_BITS)
        return total + binary.cost_all_of(self._numbers, words * WORD_BITS)

    def _term_sizes(self) -> list[int]:
        sizes = floor.term_sizes(self._owners, persons_disjoint=self._rules.persons_disjoint)
        return [*(2 * size for size in sizes), *[2] * self._numbers]

    def _cost_any(self) -> Cost:
        total = cost_and(1, 2 * len(self._pairs) * self._words * WORD_BITS)
        left, lengths = [margin.size for margin in self._margins], self._lengths()
        while any(count > 1 for count in left):
            elements = [count // 2 * length for count, length in zip(left, lengths, strict=True) if count > 1]
            total += cost_and(1, sum(map(bits.words_for, elements)) * WORD_BITS)
            left = [count - count // 2 for count in left]
        return total

    @property
    def sizes(self) -> Sizes:
        """The longest vector and message, or a little more."""
        cells = self._words * WORD_BITS
        stacked = len(self._pairs) * self._numbers * cells * len(self._margins)
        contest = len(self._margins) * len(self.gates) * cells
        groups = bits.words_for(len(self._pairs) * self._groups) * WORD_BITS
        summed = sums.triples_max(self._term_sizes()) * groups if self._add_up else groups
        width = sums.sum_width(self._count_width, self._owners) + 1
        term = sums.term_width(self._width, 2 * self._owners, self._rules.threshold) + 1
        # What stands abreast adds up in one message.
        messages = (
            self._width * stacked // 8 + words_max(width, self._segments) * 8,
            term * summed // 8,
            words_max(width, self._segments) * 8,
            width * contest // 8,
        )
        return Sizes(max(stacked, 2 * contest, summed, elements_max(self._segments)), max(messages))
