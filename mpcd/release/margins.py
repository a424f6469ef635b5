"""Secondary suppression: no margin of a GROUP BY may give back, by subtraction, what its cells withhold.

A *margin* is what remains of the keys when some are summed away: the grand total, the totals by one key, by two.  Its
totals, of every set of persons that the outputs are about, are answers to other requests over the same WHERE.  Whoever
has those of one margin subtracts what the cells of a group released, *of all gates together*: SUM(y) over all, less
SUM(y) over men, is SUM(y) over women.  Margins are computed from what the gates release (rule 23).

*What is evaluated*, for every gate k on which values hang, and every group of every margin:

    hidden     cells where k is withheld and something could come out: hidden by another rule than counting ("hollow"),
               or a cohort of k has somebody and does not pass
    guarded    among the cells in which counting withholds k and all gates bound to k are withheld: for each owner the
               least of k's cohorts in each cell, added over the cells, passes the floor and `min_owners`
    candidates cells released, in which every cohort of k passes
    available  every cohort of k, over the whole group, passes (or is empty, where zeros are shown)

If a group has hidden cells and is not guarded, the candidate with the fewest persons (the first of several) is hidden
in all gates *bound* to k.  If there is no candidate and k's own total is available, the group is hidden whole: in all
gates of k's family, the whole cell's too.  What is hidden has the status `complement`.

*Bound* to k, with it and for its sake hidden, are all gates, with two exemptions.  (1) Gates of the *whole* cell (no
cohort outside) are bound only to one another: the cohorts of every gate were found with the cell's total known
(`mpcd.plan.spans`).  (2) Gates of counts are not bound to gates of sums, which form a *family* of their own: what the
sums add per person is a polynomial without the counts' constant, and no number of ones cancels it.

*Proof that nobody is isolated.*  Fix one group, and let V be the span of the sets' indicators, W that of the whole
cell.  A combination of the group's totals and of released values is, in cell c, u(c) = w + v(c): w in V the same for
all cells, v(c) in the span V(c) of what c released and W.  Cohorts outside a gate hold every elementary vector of V in
which one of its sets takes part (has a coefficient modulo W): (L) a u(c) in which only sets of gates that passed in c
take part stands on cohorts that pass.  If no set takes part in w, let k be W's own gate; otherwise let b be a set
that does, and k a gate of b whose total is available: without one, w cannot be formed.

- The group was hidden whole: u is w in all cells, a total, about which its own request's gate decides.
- A candidate c of k was chosen: V(c) is W at most (for k = W: nothing), so b takes part in u(c), which stands on a
  cohort of k that passes.  Persons of other cells only add: both rules are monotone.
- The group is guarded: the same holds for each cell that counts there, so u stands in each on a cohort of k, which
  need not be the same in all (women here, men there); the least is in any.  The sum of the least passes.
- No cell is hidden, for any such b: where k is shown, (L); where k was a candidate and another gate chose the cell, as
  above; else each cohort passes or is nobody.  So each u(c) stands on nobody or on cohorts that pass.

*One pass suffices*: every case is about the cells before the pass, and stays true when further cells are hidden: a
candidate of k that others hid makes u stand on more, never less; a cell counts for `guarded` only while hidden.

*What counts as persons of a hollow cell.*  Nobody: it is its own values (dominance) or its nearness to an earlier
question (differencing) that must not come back, so another cell must be hidden besides, whose persons pass alone.

*Persons with several rows* may be in several cells, so that their counts do not add up.  Then no group is guarded, and
`available` errs on the side of hiding.

*What is not covered*: totals of two different margins at once (rows' and columns'), three requests; see THREATS.

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
from typing import Any

import numpy as np
import numpy.typing as npt

from mpcd.field import bits
from mpcd.plan.nodes import Gate
from mpcd.protocols import adders, binary, compare
from mpcd.protocols.abreast import Branch, abreast, cost_abreast
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.protocols.least import cost_least, elements_max, least_and_number, words_max
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


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides for whose sake a gate's cells are hidden."""

    whole: bool
    """Its values are about the whole cell: it has no cohort outside."""
    counts: bool
    """Its values are counts: no sums hang on it."""

    def bound_to(self, chooser: Kind) -> bool:
        """Whether gates of this kind are hidden where one of the chooser's kind chose a cell."""
        return self.hidden_with(chooser) and (chooser.whole or not self.whole)

    def hidden_with(self, chooser: Kind) -> bool:
        """Whether gates of this kind are hidden where a group is hidden whole for one of the chooser's kind."""
        return chooser.counts or not self.counts


def kind_of(gate: Gate) -> Kind:
    """The kind of a gate of the plan."""
    return Kind(whole=not gate.outside, counts=not gate.sums)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Gates of the same cohorts and of one kind are guarded by the same cells."""

    cohorts: tuple[int, ...]
    kind: Kind


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
            gates: from the logical plan; cohorts by index, the first is the whole cell.
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
        self._kinds = {place: kind_of(gates[place]) for place in self.gates}
        self._cohorts = {place: (gates[place].inside, *gates[place].outside) for place in self.gates}
        self._guard_of = {place: _Guard(self._cohorts[place], self._kinds[place]) for place in self.gates}
        self._guards = tuple(dict.fromkeys(self._guard_of.values())) if persons_add_up else ()
        self._tuples = tuple(dict.fromkeys(self._cohorts.values()))
        self._counted = sorted({cohort for cohorts in self._tuples for cohort in cohorts})
        self._strict = [place for place in self.gates if rules.zeros_shown and gates[place].outside]
        self._pooled = sorted({cohorts[0] for cohorts in self._tuples})
        self._groups = sum(margin.groups for margin in self._margins)
        one = tuple(margin.size for margin in self._margins for _ in range(margin.groups))
        self._segments = one * len(self.gates)
        cells = 1 if persons_add_up else max((margin.size for margin in self._margins), default=1)
        self._width = sums.sum_width(width, cells)
        """Bits of a group's sum: an owner's counts stay within theirs if its persons add up."""

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
        real = {place: (counted[place].keep ^ counted[place].empty).invert(ctx.index) for place in self.gates}
        hidden = {place: (decisions[place].keep ^ decisions[place].empty).invert(ctx.index) for place in self.gates}
        branches: list[Branch[Any]] = [
            lambda at: self._contest(at, counts, facts, decisions),
            lambda at: self._hidden(at, facts, real, hidden),
            lambda at: self._available(at, counts),
        ]
        if self._guards:
            branches.append(lambda at: self._guarded(at, counts, real, hidden))
        (flags, none_left), there, available, *guarded = await abreast(ctx.narrow("abreast"), *branches)
        least_of, all_of = await self._wanted(ctx, there, guarded, available, none_left)
        return await self._chosen(ctx, flags, least_of, all_of)

    async def _hidden(self, ctx: Context, facts: Facts, real: dict[int, Planes], hidden: dict[int, Planes]) -> Planes:
        """Per gate and group: is there a hidden cell of which something could come out?"""
        lists = {
            order: [facts.passing[cohort] ^ facts.nobody[cohort] for cohort in cohorts]
            for order, cohorts in enumerate(self._tuples)
        }
        harmless = await gate.all_of_lists(ctx.narrow("harmless"), lists)
        left = Planes.stack([real[place] for place in self.gates])
        right = Planes.stack([harmless[self._tuples.index(self._cohorts[place])] for place in self.gates])
        idle = await binary.and_(ctx.narrow("idle"), left, right)
        pieces = idle.unstack([self._cells] * len(self.gates))
        quiet = [(hidden[place] ^ piece).invert(ctx.index) for place, piece in zip(self.gates, pieces, strict=True)]
        rows = self._rows(quiet)
        lengths, left_ = self._lengths(len(self.gates)), [margin.size for margin in self._margins]
        layer = 0
        while any(count > 1 for count in left_):
            active = [p for p, count in enumerate(left_) if count > 1]
            halves = [
                Planes.stack(
                    [
                        rows[p].take(
                            slice(half * (left_[p] // 2) * lengths[p], (half + 1) * (left_[p] // 2) * lengths[p])
                        )
                        for p in active
                    ]
                )
                for half in range(2)
            ]
            product = await binary.and_(ctx.narrow(f"any{layer}"), halves[0], halves[1])
            for p, piece in zip(active, product.unstack([left_[p] // 2 * lengths[p] for p in active]), strict=True):
                rest = rows[p].take(slice(left_[p] // 2 * 2 * lengths[p], left_[p] * lengths[p]))
                rows[p] = Planes.concatenate([piece, rest]) if rest.count else piece
                left_[p] -= left_[p] // 2
            layer += 1
        return Planes.concatenate(
            [
                row.take(self._places(margin, order))
                for order in range(len(self.gates))
                for row, margin in zip(rows, self._margins, strict=True)
            ]
        ).invert(ctx.index)

    # ------------------------------------------------------------------------------------------ groups' sums

    async def _guarded(
        self,
        ctx: Context,
        counts: Sequence[Sequence[Planes]],
        real: dict[int, Planes],
        hidden: dict[int, Planes],
    ) -> Planes:
        """Per gate and group: do its hidden cells protect one another?"""
        fewest, masks = await abreast(
            ctx.narrow("terms"),
            lambda at: self._fewest(at, counts),
            lambda at: self._masks(at, real, hidden),
        )
        flags = Planes.stack([mask for mask in masks for _ in counts])
        each = Planes.stack([owner for guard in self._guards for owner in fewest[guard.cohorts]])
        masked = (await binary.and_(ctx.narrow("mask"), flags, each)).extend(self._width)
        holds, _ = await self._pass(ctx, masked.unstack([self._cells] * (len(self._guards) * len(counts))), zeros=False)
        return Planes.concatenate([holds[self._guards.index(self._guard_of[place])] for place in self.gates])

    async def _masks(self, ctx: Context, real: dict[int, Planes], hidden: dict[int, Planes]) -> list[Planes]:
        """Per guard the cells that count: withheld by counting, and in all gates bound to it."""
        lists = {}
        for order, guard in enumerate(self._guards):
            own = next(place for place in self.gates if self._guard_of[place] == guard)
            lists[order] = [real[own], *(hidden[place] for place in self._beside(guard))]
        masks = await gate.all_of_lists(ctx.narrow("withheld"), lists)
        return [masks[order] for order in range(len(self._guards))]

    def _beside(self, guard: _Guard) -> list[int]:
        """The gates that must be withheld where this guard counts persons, those left out that surely are.

        Where counting withholds the whole cell it withholds everything; what has the guard's cohorts is withheld with
        it.
        """
        if guard.kind.whole:
            return []
        return [
            place
            for place in self.gates
            if self._kinds[place].bound_to(guard.kind) and self._cohorts[place] != guard.cohorts
        ]

    async def _fewest(self, ctx: Context, counts: Sequence[Sequence[Planes]]) -> dict[tuple[int, ...], list[Planes]]:
        """Per gate's cohorts, per owner: the least of them in each cell."""
        left = {
            cohorts: [[owner[cohort] for cohort in _least_of(cohorts)] for owner in counts]
            for cohorts in self._guarding
        }
        layer = 0
        while any(len(owner) > 1 for lists in left.values() for owner in lists):
            pairs = [owner[place : place + 2] for lists in left.values() for owner in lists
                     for place in range(0, len(owner) - 1, 2)]  # fmt: skip
            one, other = (Planes.stack([pair[side] for pair in pairs]) for side in range(2))
            less = await compare.less_than(ctx.narrow(f"less{layer}"), one, other)
            taken = other ^ await binary.and_(ctx.narrow(f"take{layer}"), less, one ^ other)
            pieces = iter(taken.unstack([self._cells] * len(pairs)))
            for lists in left.values():
                for place, owner in enumerate(lists):
                    odd = owner[-1:] if len(owner) % 2 else []
                    lists[place] = [*(next(pieces) for _ in range(len(owner) // 2)), *odd]
            layer += 1
        return {cohorts: [owner[0] for owner in lists] for cohorts, lists in left.items()}

    @property
    def _guarding(self) -> tuple[tuple[int, ...], ...]:
        return tuple(dict.fromkeys(guard.cohorts for guard in self._guards))

    async def _available(self, ctx: Context, counts: Sequence[Sequence[Planes]]) -> Planes:
        """Per gate and group: could the gate's own total over the group be released?"""
        numbers = [owner[cohort].extend(self._width) for cohort in self._counted for owner in counts]
        holds, nobody = await self._pass(ctx, numbers, zeros=self._rules.zeros_shown)
        fine = [one ^ none for one, none in zip(holds, nobody, strict=True)] if nobody else holds
        lists = {
            order: [fine[self._counted.index(cohort)] for cohort in cohorts]
            for order, cohorts in enumerate(self._tuples)
        }
        every = await gate.all_of_lists(ctx.narrow("cohorts"), lists)
        return Planes.concatenate([every[self._tuples.index(self._cohorts[place])] for place in self.gates])

    async def _pass(self, ctx: Context, numbers: Sequence[Planes], *, zeros: bool) -> tuple[list[Planes], list[Planes]]:
        """Per entry (so many numbers as owners), over all groups: do the sums pass; with `zeros`, is nobody there?"""
        entries = len(numbers) // self._owners
        rows = await self._added(ctx.narrow("add"), self._rows(numbers), len(numbers))
        owners = [self._of_number(rows, number, entries) for number in range(self._owners)]
        terms = [Term(sides, self._rules.threshold) for sides in self._floor_numbers(owners)]
        terms += [Term(sides, 1) for sides in owners]
        flags = await sums.at_least(ctx.narrow("groups"), terms)
        enough, there = flags[: self._owners], flags[self._owners :]
        asked = [enough, there, *([[flag.invert(ctx.index) for flag in there]] if zeros else [])]
        floor_holds, owners_hold, *nobody = await gate.tally(ctx.narrow("tally"), asked, self._tallied(zeros=zeros))
        holds = await binary.and_(ctx.narrow("holds"), floor_holds, owners_hold)
        each = [self._groups] * entries
        return holds.unstack(each), nobody[0].unstack(each) if nobody else []

    def _rows(self, numbers: Sequence[Planes]) -> list[Planes]:
        """Per margin all numbers' cells, row after row: a row has the next cell of each group, for every number."""
        stacked = Planes.stack(numbers)
        starts = np.arange(len(numbers), dtype=np.uint64) * np.uint64(self._words * WORD_BITS)
        return [
            stacked.take((margin.order[:, None, :] + starts[None, :, None]).reshape(-1)) for margin in self._margins
        ]

    async def _added(self, ctx: Context, rows: list[Planes], numbers: int) -> list[Planes]:
        """Carry-save layers until two rows are left in each margin."""
        lengths = self._lengths(numbers)
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

    def _lengths(self, numbers: int) -> list[int]:
        """Elements of one row, by margin."""
        return [numbers * margin.groups for margin in self._margins]

    def _of_number(self, rows: Sequence[Planes], number: int, entries: int) -> tuple[Planes, ...]:
        """One owner's sums in both rows: entries, each over the groups of all margins."""
        lengths = self._lengths(entries * self._owners)
        found = []
        for row in range(2):
            pieces = [
                planes.take(self._places(margin, entry * self._owners + number) + np.uint64(row * length))
                for entry in range(entries)
                for planes, margin, length in zip(rows, self._margins, lengths, strict=True)
            ]
            found.append(_aligned(pieces, len(self._margins)))
        return tuple(found)

    @staticmethod
    def _places(margin: Margin, number: int) -> Places:
        """Where in a row one number's groups stand."""
        return np.uint64(number * margin.groups) + np.arange(margin.groups, dtype=np.uint64)

    def _floor_numbers(self, owners: Sequence[tuple[Planes, ...]]) -> list[tuple[Planes, ...]]:
        """The numbers of each term of the floor, as `floor.terms` has them."""
        if not self._rules.persons_disjoint:
            return list(owners)
        return [
            tuple(number for place, numbers in enumerate(owners) if place != owner for number in numbers)
            for owner in range(len(owners))
        ]

    def _tallied(self, *, zeros: bool) -> list[int]:
        needed = floor.needed(self._owners, persons_disjoint=self._rules.persons_disjoint)
        return [needed, self._rules.min_owners, *([self._owners] if zeros else [])]

    # ------------------------------------------------------------------------------------------ which cells

    async def _contest(
        self, ctx: Context, counts: Sequence[Sequence[Planes]], facts: Facts, decisions: Sequence[Decision]
    ) -> tuple[Planes, Planes]:
        """In every group the candidate with the fewest persons; and whether there is none."""
        width = sums.sum_width(self._count_width, self._owners)
        terms = [Planes.stack([owner[cohort] for cohort in self._pooled]) for owner in counts]
        pooled = (await adders.total(ctx.narrow("pool"), terms, width)).unstack([self._cells] * len(self._pooled))
        candidates = {place: decisions[place].keep for place in self.gates}
        if self._strict:
            lists = {
                place: [decisions[place].keep, *(facts.passing[cohort] for cohort in self._cohorts[place][1:])]
                for place in self._strict
            }
            candidates |= await gate.all_of_lists(ctx.narrow("solid"), lists)
        values = []
        for place in self.gates:
            persons = pooled[self._pooled.index(self._cohorts[place][0])]
            value = Planes.join([persons, candidates[place].invert(ctx.index)])
            values += [value.take(margin.by_group) for margin in self._margins]
        flags, number = await least_and_number(ctx.narrow("least"), Planes.concatenate(values), self._segments)
        return flags, number.plane(width)

    async def _wanted(
        self, ctx: Context, there: Planes, guarded: Sequence[Planes], available: Planes, none_left: Planes
    ) -> tuple[Planes, Planes]:
        """Per gate and group: must the least candidate be hidden; must all be?"""
        pairs = [(none_left, available), *((there, one.invert(ctx.index)) for one in guarded)]
        unguarded, *needs = await binary.and_many(ctx.narrow("needs"), pairs)
        need = needs[0] if needs else there
        empty, whole = await binary.and_many(ctx.narrow("left"), [(need, none_left), (need, unguarded)])
        return need ^ empty, whole

    async def _chosen(self, ctx: Context, flags: Planes, least_of: Planes, all_of: Planes) -> dict[int, Planes]:
        """Per gate the cells to hide, for all that chose them and over all margins."""
        group_of = np.repeat(np.arange(len(self._segments), dtype=np.uint64), self._segments)
        chosen = await binary.and_(ctx.narrow("chosen"), flags, least_of.take(group_of))
        every = all_of.take(group_of)
        lists = {
            order: [
                self._piece(planes, source, margin).invert(ctx.index)
                for planes, sources in zip((chosen, every), self._sources(kind), strict=True)
                for source in sources
                for margin in range(len(self._margins))
            ]
            for order, kind in enumerate(self._targets)
        }
        kept = await gate.all_of_lists(ctx.narrow("any"), lists)
        return {place: kept[self._targets.index(self._kinds[place])].invert(ctx.index) for place in self.gates}

    @property
    def _targets(self) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys(self._kinds.values()))

    def _sources(self, kind: Kind) -> tuple[list[int], list[int]]:
        """The gates, by place in `gates`, whose choices are hidden in gates of this kind, and whose whole groups."""
        kinds = [self._kinds[place] for place in self.gates]
        return (
            [order for order, one in enumerate(kinds) if kind.bound_to(one)],
            [order for order, one in enumerate(kinds) if kind.hidden_with(one)],
        )

    def _piece(self, chosen: Planes, order: int, margin: int) -> Planes:
        """One gate's cells of one margin, in the order of the plan's cells."""
        start = (order * len(self._margins) + margin) * self._cells
        return chosen.take(self._margins[margin].back + np.uint64(start))

    # ------------------------------------------------------------------------------------------ what it costs

    def cost(self) -> Cost:
        """Exact cost of `hide`."""
        gates, words = len(self.gates), self._words
        width = sums.sum_width(self._count_width, self._owners)
        contest = adders.cost_total(self._owners, width, len(self._pooled) * words * WORD_BITS)
        if self._strict:
            contest += gate.cost_all_of_lists([len(self._cohorts[place]) for place in self._strict], words)
        contest += cost_least(width + 1, self._segments, number=True)
        available = self._cost_pass(len(self._counted), zeros=self._rules.zeros_shown)
        available += gate.cost_all_of_lists(self._tuple_sizes, bits.words_for(self._groups))
        branches = [contest, self._cost_hidden(), available, *([self._cost_guarded()] if self._guards else [])]
        total = cost_abreast(*branches)
        segments = len(self._segments)
        total += cost_and(2 if self._guards else 1, segments) + cost_and(2, segments)
        total += cost_and(1, len(self._margins) * gates * self._cells)
        lists = [len(self._margins) * sum(map(len, self._sources(kind))) for kind in self._targets]
        return total + gate.cost_all_of_lists(lists, words)

    @property
    def _tuple_sizes(self) -> list[int]:
        return [len(cohorts) for cohorts in self._tuples]

    def _cost_hidden(self) -> Cost:
        gates = len(self.gates)
        total = gate.cost_all_of_lists(self._tuple_sizes, self._words) + cost_and(1, gates * self._words * WORD_BITS)
        left, lengths = [margin.size for margin in self._margins], self._lengths(gates)
        while any(count > 1 for count in left):
            elements = [count // 2 * length for count, length in zip(left, lengths, strict=True) if count > 1]
            total += cost_and(1, sum(map(bits.words_for, elements)) * WORD_BITS)
            left = [count - count // 2 for count in left]
        return total

    def _cost_guarded(self) -> Cost:
        total = Cost()
        left = [len(_least_of(cohorts)) for cohorts in self._guarding]
        while any(count > 1 for count in left):
            elements = sum(count // 2 for count in left) * self._owners * self._words * WORD_BITS
            total += compare.cost_less_than(self._count_width, elements) + cost_and(self._count_width, elements)
            left = [count - count // 2 for count in left]
        masks = gate.cost_all_of_lists([1 + len(self._beside(guard)) for guard in self._guards], self._words)
        total = cost_abreast(total, masks)
        total += cost_and(self._count_width, len(self._guards) * self._owners * self._words * WORD_BITS)
        return total + self._cost_pass(len(self._guards), zeros=False)

    def _cost_pass(self, entries: int, *, zeros: bool) -> Cost:
        total = Cost()
        left, lengths = [margin.size for margin in self._margins], self._lengths(entries * self._owners)
        while any(count > 2 for count in left):
            elements = [count // 3 * length for count, length in zip(left, lengths, strict=True) if count > 2]
            total += cost_and(self._width, sum(map(bits.words_for, elements)) * WORD_BITS)
            left = [count - count // 3 if count > 2 else count for count in left]
        words = entries * bits.words_for(self._groups)
        total += sums.cost(self._term_sizes(), self._width, self._rules.threshold, words)
        total += gate.cost_tally(self._owners, self._tallied(zeros=zeros), words)
        return total + cost_and(1, words * WORD_BITS)

    def _term_sizes(self) -> list[int]:
        sizes = floor.term_sizes(self._owners, persons_disjoint=self._rules.persons_disjoint)
        return [*(2 * size for size in sizes), *[2] * self._owners]

    @property
    def sizes(self) -> Sizes:
        """The longest vector and message, or a little more."""
        cells, owners = self._words * WORD_BITS, self._owners
        margins, gates = len(self._margins), len(self.gates)
        entries = len(self._counted) + len(self._guards)
        stacked = entries * owners * cells * margins
        contest = margins * gates * cells
        groups = entries * bits.words_for(self._groups) * WORD_BITS
        summed = sums.triples_max(self._term_sizes()) * groups
        fewest = sum(len(_least_of(cohorts)) // 2 for cohorts in self._guarding) * owners * cells
        withheld = sum(1 + len(self._beside(guard)) for guard in self._guards) * cells
        joined = sum(sum(map(len, self._sources(kind))) for kind in self._targets) * margins * cells
        width = sums.sum_width(self._count_width, owners) + 1
        term = sums.term_width(self._width, 2 * owners, self._rules.threshold) + 1
        # What stands abreast adds up in one message.
        tournament = words_max(width, self._segments) * 8
        messages = (
            self._width * stacked // 8 + tournament,
            term * summed // 8 + tournament,
            2 * self._count_width * fewest // 8 + tournament,
            (width * contest + withheld) // 8 + tournament,
            joined // 8,
        )
        elements = (stacked, 2 * contest, summed, 2 * fewest, withheld, joined, elements_max(self._segments))
        return Sizes(max(elements), max(messages))


def _least_of(cohorts: tuple[int, ...]) -> tuple[int, ...]:
    """The cohorts among which the least is: the whole cell is never less than another."""
    return tuple(cohort for cohort in cohorts if cohort) or cohorts


def _aligned(pieces: Sequence[Planes], margins: int) -> Planes:
    """Each entry's margins after one another without gaps, entries from whole words on, as `unstack` has them."""
    return Planes.stack([Planes.concatenate(pieces[at : at + margins]) for at in range(0, len(pieces), margins)])
