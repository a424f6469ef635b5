"""On whom a combination of sums can stand: the smallest sets of atoms (layer 3, no I/O).

Let some sets of rows be given, and one number (a count, a sum) over the whole cell and over each set.  The sets cut the
cell into atoms: rows that are in the same ones of them.  Whoever adds and subtracts the numbers gets sums over the
atoms, each with its coefficient; he has isolated people if the atoms with a coefficient other than zero hold few of
them.  The smallest such collections of atoms ("supports") follow from the pattern of atoms alone, and every combination
is a sum of combinations with a smallest support inside its own: if everybody's smallest supports hold enough people,
every combination does.

Source: elementary vectors of a subspace (R. T. Rockafellar, "The elementary vectors of a subspace of R^N", 1969).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

SUBSETS_MAX: Final = 1_000
"""Most selections of atoms that are tried: three independent sets need 56, four 1820; disjoint or nested ones a few."""

Atom = tuple[int, ...]
"""Per set 1 if the rows are in it, else 0."""
Support = frozenset[int]
"""Places in the list of atoms."""


@dataclass(frozen=True, slots=True)
class _Combination:
    support: Support
    coefficients: tuple[Fraction, ...]
    """Per basis column."""


@lru_cache(maxsize=64)
def supports(atoms: tuple[Atom, ...]) -> tuple[tuple[Support, ...], ...] | None:
    """Per set, the supports that must hold enough people before a sum over it may be shown.

    These are the smallest supports of the combinations in which the set takes part, and for every other set that
    overlaps it what either has alone; of those that contain one another only the smaller.  None if the
    sets cut the cell in too many ways to list.
    """
    sets = range(len(atoms[0]) if atoms else 0)
    basis, expansions = _basis(atoms)
    if math.comb(len(atoms), len(basis) - 1) > SUBSETS_MAX:
        return None
    combinations = _smallest(atoms, basis)
    answer: list[tuple[Support, ...]] = []
    for own in sets:
        taking_part = {
            found.support
            for found in combinations
            if any(found.coefficients[place] for place in expansions[own + 1] if basis[place] != 0)
        }
        for other in sets:
            if any(atom[own] and atom[other] for atom in atoms):
                taking_part |= {_without(atoms, own, other), _without(atoms, other, own)}
        answer.append(minimal(taking_part - {frozenset()}))
    return tuple(answer)


def minimal(found: Sequence[Support] | set[Support]) -> tuple[Support, ...]:
    """Those that contain no other, in a fixed order."""
    ordered = sorted(set(found), key=lambda support: (len(support), sorted(support)))
    kept: list[Support] = []
    for support in ordered:
        if not any(smaller <= support for smaller in kept):
            kept.append(support)
    return tuple(kept)


def _without(atoms: tuple[Atom, ...], own: int, other: int) -> Support:
    return frozenset(place for place, atom in enumerate(atoms) if atom[own] and not atom[other])


def _basis(atoms: tuple[Atom, ...]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Columns (0: the whole cell, i + 1: set i) of which all others are combinations; per column which it needs."""
    columns = [[Fraction(1)] * len(atoms), *([Fraction(a[i]) for a in atoms] for i in range(len(atoms[0])))]
    basis: list[int] = []
    reduced: list[tuple[list[Fraction], int, dict[int, Fraction]]] = []
    expansions: list[tuple[int, ...]] = []
    for index, column in enumerate(columns):
        rest, needed = list(column), dict[int, Fraction]()
        for vector, pivot, made_of in reduced:
            factor = rest[pivot] / vector[pivot]
            if factor:
                rest = [a - factor * b for a, b in zip(rest, vector, strict=True)]
                for place, coefficient in made_of.items():
                    needed[place] = needed.get(place, Fraction(0)) + factor * coefficient
        leading = next((place for place, value in enumerate(rest) if value), None)
        if leading is None:
            expansions.append(tuple(sorted(place for place, coefficient in needed.items() if coefficient)))
            continue
        place = len(basis)
        basis.append(index)
        reduced.append((rest, leading, {place: Fraction(1), **{p: -c for p, c in needed.items()}}))
        expansions.append((place,))
    return basis, expansions


def _smallest(atoms: tuple[Atom, ...], basis: list[int]) -> list[_Combination]:
    """Every combination that is zero on as many atoms as one can be, up to a factor."""
    rows = [[1 if column == 0 else atom[column - 1] for column in basis] for atom in atoms]
    width = len(basis)
    found: dict[Support, _Combination] = {}
    for chosen in itertools.combinations(range(len(rows)), width - 1):
        if any(not support.intersection(chosen) for support in found):
            continue  # these atoms span the same combination
        normal = _normal([rows[place] for place in chosen], width)
        if normal is None:
            continue
        support = frozenset(
            place for place, row in enumerate(rows) if sum(a * b for a, b in zip(row, normal, strict=True))
        )
        found[support] = _Combination(support, tuple(normal))
    return list(found.values())


def _normal(rows: list[list[int]], width: int) -> list[Fraction] | None:
    """The one vector, up to a factor, that is orthogonal to all rows; None if they leave more than one."""
    echelon: list[tuple[int, list[Fraction]]] = []
    for row in rows:
        rest = [Fraction(value) for value in row]
        for pivot, vector in echelon:
            factor = rest[pivot]
            if factor:
                rest = [a - factor * b for a, b in zip(rest, vector, strict=True)]
        leading = next((place for place, value in enumerate(rest) if value), None)
        if leading is None:
            return None
        scale = rest[leading]
        rest = [value / scale for value in rest]
        echelon = [
            (pivot, [a - vector[leading] * b for a, b in zip(vector, rest, strict=True)]) for pivot, vector in echelon
        ]
        echelon.append((leading, rest))
    free = next(iter(set(range(width)) - {pivot for pivot, _ in echelon}))
    normal = [Fraction(0)] * width
    normal[free] = Fraction(1)
    for pivot, vector in echelon:
        normal[pivot] = -vector[free]
    return normal
