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


def group_passes(
    rules: PlainRules,
    counts: Counts,
    cohort: int,
    group: Sequence[int],
    counted: Sequence[int],
    statuses: Sequence[int],
    *,
    persons_add_up: bool,
) -> bool:
    """Whether the suppressed cells of a group protect one another, for one cohort of a gate."""
    hidden = [cell for cell in group if statuses[cell] not in SHOWN]
    hollow = [cell for cell in hidden if counted[cell] in SHOWN]
    real = [cell for cell in hidden if counted[cell] not in SHOWN]
    by_owner = [[owner[cohort][cell] for owner in counts] for cell in real]
    somebody = bool(hollow) or any(map(any, by_owner))
    if not somebody:
        return True
    if persons_add_up:
        return rules.passes([sum(cell[owner] for cell in by_owner) for owner in range(len(counts))])
    return any(map(rules.passes, by_owner))


def secondary(
    rules: PlainRules,
    gate: Gate,
    counts: Counts,
    places: Sequence[int],
    counted: Sequence[int],
    statuses: Sequence[int],
    *,
    persons_add_up: bool = True,
) -> list[int]:
    """One gate's statuses after secondary suppression, from those by counting rules and those by all rules."""
    result = list(statuses)

    def solid(cell: int) -> bool:
        return all(rules.passes([owner[cohort][cell] for owner in counts]) for cohort in gate.outside)

    for group in groups_of(places):
        fine = all(
            group_passes(rules, counts, cohort, group, counted, statuses, persons_add_up=persons_add_up)
            for cohort in (gate.inside, *gate.outside)
        )
        if fine:
            continue
        released = [cell for cell in group if statuses[cell] == RELEASED]
        candidates = [cell for cell in released if solid(cell)]
        chosen = released if not candidates else [min(candidates, key=lambda c: sum(o[gate.inside][c] for o in counts))]
        for cell in chosen:
            result[cell] = COMPLEMENT
    return result


def joined(gates: Sequence[Gate], statuses: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[list[int]]:
    """All gates' statuses after secondary suppression, from those before it and those after each gate's own."""
    chosen = {
        cell for old, new in zip(statuses, after, strict=True) for cell in range(len(old)) if old[cell] != new[cell]
    }
    return [
        [
            COMPLEMENT if gate.outside and cell in chosen and status == RELEASED else status
            for cell, status in enumerate(new)
        ]
        for gate, new in zip(gates, after, strict=True)
    ]


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
