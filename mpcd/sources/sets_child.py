"""Sets of rows inside the engine child: loaded once per data version, compared with numpy.

    hold         {families: [key...]}                             -> places of those that are not here
    sets         {relation, sql, ids, families: [[key, cells]...]} loads them: one statement, one column each
    differences  {threshold, families, sides, pairs, by_rows}     -> int64 per pair: min(persons who differ, threshold)

A *relation* is the joined rows of some tables, in the order of their row ids, with the person of each row.  A *family*
is a set of its rows split into cells: bits where there is one cell, else each row's cell, -1 for rows outside.  A
*side* is some cells of a family.  Families stay as long as they fit in `HISTORY_CACHE_BYTES_MAX`; those that the next
comparison needs are never let go.

*Pruning.*  |A xor B| is at least the difference of the sizes, and what is at least the threshold need not be known
exactly.  Sizes are counted once per side, so that most pairs cost two look-ups.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from mpcd import limits

Integers = npt.NDArray[np.int64]
OUTSIDE: Final = -1


@dataclass(frozen=True, slots=True)
class _Rows:
    """One relation."""

    persons: Integers
    """Per row who it is about; distinct numbers for distinct persons."""
    unique: bool
    """No person has two rows."""


@dataclass(frozen=True, slots=True)
class _Family:
    """One set, split into cells."""

    relation: bytes
    cells: int
    data: npt.NDArray[np.generic]
    """Packed bits where `cells` is 1, else each row's cell in the narrowest type."""


class SetsTooLarge(MemoryError):
    """The sets of one comparison do not fit; the parent hears of a failed child, as for anything else."""


class Sets:
    """What one engine child knows of sets."""

    def __init__(self, bytes_max: int = limits.HISTORY_CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._relations: dict[bytes, _Rows] = {}
        self._families: OrderedDict[bytes, _Family] = OrderedDict()
        self._needed: frozenset[bytes] = frozenset()

    def hold(self, keys: Sequence[bytes]) -> list[int]:
        """Keep these until the next call; returns the places of those that are not here."""
        self._needed = frozenset(keys)
        for key in keys:
            if key in self._families:
                self._families.move_to_end(key)
        return [place for place, key in enumerate(keys) if key not in self._families]

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        relation: bytes,
        sql: str,
        ids: int,
        families: Sequence[tuple[bytes, int]],
    ) -> None:
        """Run one statement: the first `ids` columns are row ids, then the person, then one column per family."""
        columns = [np.ma.filled(column, OUTSIDE) for column in connection.execute(sql).fetchnumpy().values()]
        if len(columns) != ids + 1 + len(families) or any(column.dtype != np.int64 for column in columns):
            raise TypeError("columns")
        order = _order(columns[:ids])
        if relation not in self._relations:
            persons = _sorted(columns[ids], order)
            self._relations[relation] = _Rows(persons, len(np.unique(persons)) == len(persons))
        if len(columns[0]) != len(self._relations[relation].persons):
            raise ValueError("rows")
        for (key, cells), column in zip(families, columns[ids + 1 :], strict=True):
            self._keep(key, _Family(relation, cells, _packed(_sorted(column, order), cells)))

    def _keep(self, key: bytes, family: _Family) -> None:
        self._bytes += family.data.nbytes
        self._families[key] = family
        while self._bytes > self._bytes_max:
            oldest = next((one for one in self._families if one not in self._needed), None)
            if oldest is None:
                raise SetsTooLarge
            self._bytes -= self._families.pop(oldest).data.nbytes

    def differences(
        self,
        threshold: int,
        families: Sequence[bytes | None],
        sides: Sequence[tuple[int, Integers | None]],
        pairs: Integers,
        by_rows: npt.NDArray[np.bool_],
    ) -> Integers:
        """Per pair min(persons who differ, threshold); a family that is None has no rows."""
        comparison = _Comparison(self._relations, [self._found(key) for key in families], sides, threshold)
        found = np.empty(len(pairs), dtype=np.int64)
        for place, ((left, right), rows) in enumerate(zip(pairs.tolist(), by_rows.tolist(), strict=True)):
            found[place] = comparison.rows(left, right) if rows else comparison.persons(left, right)
        return found

    def _found(self, key: bytes | None) -> _Family | None:
        return None if key is None else self._families[key]


class _Comparison:
    """One request's sides; what is found out about a side is kept until the request ends."""

    def __init__(
        self,
        relations: dict[bytes, _Rows],
        families: Sequence[_Family | None],
        sides: Sequence[tuple[int, Integers | None]],
        threshold: int,
    ) -> None:
        self._relations = relations
        self._families = families
        self._sides = sides
        self._threshold = threshold
        self._by_cell: dict[int, tuple[Integers, Integers]] = {}
        self._rows: dict[int, Integers] = {}
        self._people: dict[int, Integers] = {}

    def rows(self, left: int, right: int) -> int:
        """Persons who have a row in one side and not in the other; both are of one relation."""
        a, b = self._of(left), self._of(right)
        if a is None or b is None:
            return min(len(self._persons_of(left if b is None else right)), self._threshold)
        relation = self._relations[a.relation]
        if relation.unique and self._whole(left) and self._whole(right) and a.cells == b.cells == 1:
            apart = np.bitwise_xor(a.data.view(np.uint8), b.data.view(np.uint8))
            return min(int(np.bitwise_count(apart).sum()), self._threshold)
        sizes = (self._rows_of, self._persons_of)[not relation.unique]
        if abs(len(sizes(left)) - len(sizes(right))) >= self._threshold:
            return self._threshold
        differing = np.setxor1d(self._rows_of(left), self._rows_of(right), assume_unique=True)
        if relation.unique or not len(differing):
            return min(len(differing), self._threshold)
        return min(len(np.unique(relation.persons[differing])), self._threshold)

    def persons(self, left: int, right: int) -> int:
        """Persons who have a row in one side and none in the other."""
        a, b = self._persons_of(left), self._persons_of(right)
        if abs(len(a) - len(b)) >= self._threshold:
            return self._threshold
        return min(len(np.setxor1d(a, b, assume_unique=True)), self._threshold)

    def _of(self, side: int) -> _Family | None:
        return self._families[self._sides[side][0]]

    def _whole(self, side: int) -> bool:
        return self._sides[side][1] is None

    def _rows_of(self, side: int) -> Integers:
        """Ascending."""
        if side not in self._rows:
            self._rows[side] = self._find_rows(side)
        return self._rows[side]

    def _find_rows(self, side: int) -> Integers:
        place, cells = self._sides[side]
        family = self._families[place]
        if family is None:
            return np.zeros(0, dtype=np.int64)
        if family.cells == 1:
            count = len(self._relations[family.relation].persons)
            return np.flatnonzero(np.unpackbits(family.data.view(np.uint8), count=count))
        if cells is None:
            return np.flatnonzero(family.data != OUTSIDE)
        order, starts = self._cells_of(place, family)
        return np.sort(np.concatenate([order[:0], *(order[starts[c] : starts[c + 1]] for c in cells.tolist())]))

    def _cells_of(self, place: int, family: _Family) -> tuple[Integers, Integers]:
        """Rows by cell, and where each cell's begin."""
        if place not in self._by_cell:
            order = np.argsort(family.data, kind="stable")
            starts = np.searchsorted(family.data[order], np.arange(family.cells + 1))
            self._by_cell[place] = (order, starts)
        return self._by_cell[place]

    def _persons_of(self, side: int) -> Integers:
        """Ascending, each once."""
        if side not in self._people:
            family = self._of(side)
            rows = self._rows_of(side)
            self._people[side] = rows if family is None else np.unique(self._relations[family.relation].persons[rows])
        return self._people[side]


def _order(ids: Sequence[Integers]) -> Integers | None:
    """The order by row ids, the first table's first; None where it is that already."""
    if len(ids) == 1 and bool((np.diff(ids[0]) > 0).all()):
        return None
    return np.lexsort(tuple(reversed(ids)))


def _sorted(column: Integers, order: Integers | None) -> Integers:
    return column if order is None else column[order]


def _packed(column: Integers, cells: int) -> npt.NDArray[np.generic]:
    if cells == 1:
        return np.packbits(column != OUTSIDE)
    narrow = next(kind for kind in (np.int8, np.int16, np.int32) if cells <= np.iinfo(kind).max)
    return column.astype(narrow)
