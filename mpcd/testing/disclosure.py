"""The disclosure rules in the clear, cell by cell: what tests compare the oblivious gate with.

Written from the rules' sentences, not from the circuits: slow, with no sharing and no vectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mpcd.plan.nodes import Gate

RELEASED: Final = 0
FLOOR: Final = 1
MIN_OWNERS: Final = 2
COMPLEMENT: Final = 3
EMPTY: Final = 4
DOMINANCE: Final = 5
SHOWN: Final = frozenset({RELEASED, EMPTY})

Counts = Sequence[Sequence[Sequence[int]]]
"""Persons by owner, cohort and cell."""


@dataclass(frozen=True)
class PlainRules:
    """The numbers of the counting rules."""

    threshold: int = 11
    min_owners: int = 3
    zeros_shown: bool = False
    persons_disjoint: bool = True

    def enough(self, counts: Sequence[int]) -> bool:
        """The floor, from one count per owner."""
        if self.persons_disjoint:
            return sum(counts) - max(counts) >= self.threshold
        return sorted(counts)[-2] >= self.threshold

    def passes(self, counts: Sequence[int]) -> bool:
        """Floor and `min_owners`."""
        return self.enough(counts) and sum(count > 0 for count in counts) >= self.min_owners


def primary(rules: PlainRules, gate: Gate, cell: Sequence[Sequence[int]]) -> int:
    """The status of one cell by counting rules; `cell`: persons by owner and cohort."""

    def of(cohort: int) -> list[int]:
        return [owner[cohort] for owner in cell]

    def fine(cohort: int) -> bool:
        return rules.passes(of(cohort)) or (rules.zeros_shown and not any(of(cohort)))

    inside = of(gate.inside)
    if not fine(gate.inside):
        return MIN_OWNERS if rules.enough(inside) else FLOOR
    if not all(map(fine, gate.outside)):
        return COMPLEMENT
    return RELEASED if any(inside) else EMPTY


def groups_of(places: Sequence[int]) -> list[list[int]]:
    """Every group of every margin, as lists of cells (row-major)."""
    keys = [key for key, count in enumerate(places) if count > 1]
    cells = list(itertools.product(*map(range, places)))
    found: list[list[int]] = []
    for size in range(len(keys)):
        for kept in itertools.combinations(keys, size):
            groups: dict[tuple[int, ...], list[int]] = {}
            for number, codes in enumerate(cells):
                groups.setdefault(tuple(codes[key] for key in kept), []).append(number)
            found.extend(groups.values())
    return found


Statuses = Sequence[Sequence[int]]
"""By gate and cell."""


def bound(chooser: Gate, other: Gate) -> bool:
    """Whether what is hidden for the chooser's sake is hidden in the other gate's cell too."""
    return family(chooser, other) and bool(other.outside or not chooser.outside)


def family(chooser: Gate, other: Gate) -> bool:
    """Counts are not hidden for the sake of sums."""
    return bool(other.sums or not chooser.sums)


@dataclass(frozen=True)
class Table:
    """One answer: persons, and what its gates withheld before secondary suppression."""

    rules: PlainRules
    gates: Sequence[Gate]
    released: Sequence[int]
    """The gates on which values hang."""
    counts: Counts
    counted: Statuses
    """By counting rules alone."""
    statuses: Statuses
    """By all rules."""
    persons_add_up: bool = True

    def persons(self, cohort: int, cells: Sequence[int]) -> list[int]:
        """By owner: the persons of some cells."""
        return [sum(owner[cohort][cell] for cell in cells) for owner in self.counts]

    def cohorts(self, k: int) -> tuple[int, ...]:
        """All cohorts of a gate."""
        return (self.gates[k].inside, *self.gates[k].outside)

    def endangered(self, k: int, group: Sequence[int]) -> bool:
        """Whether a cell of the group is hidden of which something could come out."""
        for cell in group:
            if self.statuses[k][cell] in SHOWN:
                continue
            each = [self.persons(cohort, [cell]) for cohort in self.cohorts(k)]
            if self.counted[k][cell] in SHOWN or any(any(one) and not self.rules.passes(one) for one in each):
                return True
        return False

    def guarded(self, k: int, group: Sequence[int]) -> bool:
        """Whether the group's hidden cells protect one another."""
        if not self.persons_add_up:
            return False
        beside = [j for j in self.released if bound(self.gates[k], self.gates[j])] if self.gates[k].outside else []
        cells = [
            cell
            for cell in group
            if self.counted[k][cell] not in SHOWN and all(self.statuses[j][cell] not in SHOWN for j in beside)
        ]
        return self.rules.passes(
            [sum(min(owner[cohort][cell] for cohort in self.cohorts(k)) for cell in cells) for owner in self.counts]
        )

    def candidates(self, k: int, group: Sequence[int]) -> list[int]:
        """Cells that may be hidden for the sake of others."""
        return [
            cell
            for cell in group
            if self.statuses[k][cell] == RELEASED
            and all(self.rules.passes(self.persons(cohort, [cell])) for cohort in self.cohorts(k))
        ]

    def available(self, k: int, group: Sequence[int]) -> bool:
        """Whether the gate's own total over the group could be had."""
        totals = [self.persons(cohort, group) for cohort in self.cohorts(k)]
        return all(self.rules.passes(one) or (self.rules.zeros_shown and not any(one)) for one in totals)


def secondary(table: Table, places: Sequence[int]) -> list[list[int]]:
    """All gates' statuses after secondary suppression, for every margin of so many places of each key."""
    return completed(table, groups_of(places))


def completed(table: Table, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """All gates' statuses after secondary suppression in these groups of cells."""
    result = [list(statuses) for statuses in table.statuses]

    def hide(cells: Sequence[int], gates: Sequence[int]) -> None:
        for j in gates:
            for cell in cells:
                if result[j][cell] == RELEASED:
                    result[j][cell] = COMPLEMENT

    for group, k in itertools.product(groups, table.released):
        if not table.endangered(k, group) or table.guarded(k, group):
            continue
        chooser = table.gates[k]
        candidates = table.candidates(k, group)
        if candidates:
            chosen = min(candidates, key=lambda cell: sum(table.persons(chooser.inside, [cell])))
            hide([chosen], [j for j in table.released if bound(chooser, table.gates[j])])
        elif table.available(k, group):
            hide(group, [j for j in table.released if family(chooser, table.gates[j])])
    return result


# ------------------------------------------------------------------------------------------------ dominance

Contributions = Sequence[Mapping[int, int]]
"""By owner: each person's contribution."""


def dominated(contributions: Contributions, n: int, k: Fraction, p: Fraction, *, persons_disjoint: bool) -> bool:
    """Whether one sum is dominated by few persons, seen by an outsider or by any one owner that knows its own part."""
    if len(contributions) < 2:
        raise ValueError("two owners at least")
    for excluded in range(len(contributions)):
        others = [owner for place, owner in enumerate(contributions) if place != excluded]
        sizes = [sorted((abs(value) for value in owner.values()), reverse=True) for owner in others]
        total = sum(map(sum, sizes))
        if persons_disjoint:
            every = sorted((value for owner in sizes for value in owner), reverse=True)
            largest, first, second = sum(every[:n]), sum(every[:1]), sum(every[1:2])
        else:
            largest = sum(sum(owner[:n]) for owner in sizes)
            first, second = sum(sum(owner[:1]) for owner in sizes), sum(sum(owner[1:2]) for owner in sizes)
        if largest > k * total or total - first - second < p * first:
            return True
    return False
