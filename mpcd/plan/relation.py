"""The joined relation: its columns, how many rows it may have, and whom its rows are about (layer 3, no I/O).

Joins run inside one owner, between tables that the same parties own.  Two questions decide what is allowed:

*How many rows?*  A table whose join column is `unique` adds no rows; otherwise the row bound grows, to the product at
worst.

*Whose rows?*  A cohort counts persons, so every joined row must be about one person.  Where tables have person ids,
all of them must be joined on the person id; a table without one is then a reference table (wards, drugs) and must be
unique on its join column.  Where no table has a person id, each row of the first table is a person, so every further
table must be unique on its join column.  Self-joins follow from this: only on the person id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mpcd import limits
from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.ids import PartyId
from mpcd.plan.nodes import ColumnRef, Join, Source
from mpcd.plan.ranges import Bounds
from mpcd.roster.model import Column, Roster, Table


@dataclass(frozen=True, slots=True)
class Relation:
    """What is known about the joined rows before any is read."""

    tables: tuple[Table, ...]
    nullable_sources: frozenset[int]
    """Sources on the right of a LEFT JOIN: all their columns may be NULL."""
    rows_per_owner_max: int
    persons: ColumnRef | None
    persons_unique: bool
    persons_disjoint: bool
    owners: tuple[PartyId, ...]
    _bounds: dict[ColumnRef, Bounds] = field(default_factory=dict, compare=False)

    @property
    def rows_max(self) -> int:
        """Most joined rows over all owners."""
        return self.rows_per_owner_max * len(self.owners)

    @property
    def cohort_width(self) -> int:
        """Bits that hold any one owner's cohort count."""
        return self.rows_per_owner_max.bit_length()

    def column(self, ref: ColumnRef) -> Column:
        """The column; raises KeyError."""
        if not 0 <= ref.source < len(self.tables):
            raise KeyError(ref.source)
        return self.tables[ref.source].column(ref.name)

    def bounds(self, ref: ColumnRef) -> Bounds:
        """Bounds of a column's stored form; raises KeyError."""
        found = self._bounds.get(ref)
        if found is None:
            column = self.column(ref)
            nullable = column.may_be_null or ref.source in self.nullable_sources
            found = self._bounds[ref] = Bounds(column.low, column.high, nullable)
        return found

    def name(self, ref: ColumnRef) -> str:
        """`table.column`, as policies name it."""
        return f"{self.tables[ref.source].name}.{ref.name}"


def build(roster: Roster, sources: Sequence[Source], joins: Sequence[Join]) -> Relation:
    """The relation of these sources and joins.

    Raises:
        PlanInvalid: a table or column that the roster does not have, or columns that cannot be compared.
        PlanUnsupported: a join that would multiply rows or mix persons; the message says what to write.
    """
    if len(joins) != len(sources) - 1:
        raise PlanInvalid("every table after the first needs one join")
    if len({source.alias.casefold() for source in sources}) != len(sources):
        raise PlanInvalid("two tables have the same name; give each its own alias")
    tables = tuple(_table(roster, source.table) for source in sources)
    for table in tables[1:]:
        if set(table.owners) != set(tables[0].owners):
            raise PlanUnsupported(
                f"tables {tables[0].name} and {table.name} have different owners; only tables of the same owners join"
            )
    rows, unique = tables[0].rows_max, _unique(0, tables[0])
    for index, join in enumerate(joins, start=1):
        _check_pairs(tables, index, join)
        rows, unique = _joined(rows, unique, join, index, tables[index])
    if rows > limits.ROWS_PER_OWNER_MAX:
        raise PlanUnsupported(
            f"the join could make {rows} rows at one owner from the declared rows_max; at most "
            f"{limits.ROWS_PER_OWNER_MAX} are allowed. Join on a column that the roster declares unique"
        )
    if not _rows_disjoint(tables, joins):
        raise PlanUnsupported(
            f"table {tables[0].name} is declared rows_disjoint = false: rows held by two owners would count twice"
        )
    persons = _persons(tables, joins)
    return Relation(
        tables=tables,
        nullable_sources=frozenset(i for i, join in enumerate(joins, start=1) if join.kind == "left"),
        rows_per_owner_max=rows,
        persons=persons,
        persons_unique=persons is None or persons in unique,
        persons_disjoint=_persons_disjoint(tables),
        owners=tuple(sorted(tables[0].owners)),
    )


def _table(roster: Roster, name: str) -> Table:
    try:
        return roster.table(name)
    except KeyError:
        raise PlanInvalid(f"there is no table {name!r}") from None


def _unique(source: int, table: Table) -> frozenset[ColumnRef]:
    return frozenset(ColumnRef(source, column.name) for column in table.columns if column.unique)


def _joined(
    rows: int, unique: frozenset[ColumnRef], join: Join, index: int, table: Table
) -> tuple[int, frozenset[ColumnRef]]:
    """Row bound and unique columns after `join` has brought in `table`."""
    right_unique = _unique(index, table)
    from_left, from_right = unique.intersection(join.left), right_unique.intersection(join.right)
    if from_right:
        return rows, unique | right_unique if from_left else unique
    if from_left:
        return (table.rows_max if join.kind == "inner" else rows + table.rows_max), right_unique
    return rows * max(table.rows_max, 1), frozenset()


def _check_pairs(tables: Sequence[Table], index: int, join: Join) -> None:
    for left, right in zip(join.left, join.right, strict=True):
        if not 0 <= left.source < index or right.source != index:
            raise PlanInvalid("a join compares a column of the new table with one of the tables before it")
        try:
            a, b = tables[left.source].column(left.name), tables[index].column(right.name)
        except KeyError as error:
            raise PlanInvalid(f"there is no column {error} to join on") from None
        if (a.type, a.decimals, a.levels) != (b.type, b.decimals, b.levels):
            raise PlanInvalid(
                f"columns {tables[left.source].name}.{a.name} and {tables[index].name}.{b.name} cannot be joined: the "
                "roster declares different types, decimals or levels"
            )


def _rows_disjoint(tables: Sequence[Table], joins: Sequence[Join]) -> bool:
    inner = [table.rows_disjoint for table, join in zip(tables[1:], joins, strict=True) if join.kind == "inner"]
    return tables[0].rows_disjoint or any(inner)


def _persons(tables: Sequence[Table], joins: Sequence[Join]) -> ColumnRef | None:
    """The person id that all rows hang on; refuses joins after which a row would be about two persons."""
    first: ColumnRef | None = None if tables[0].person_id is None else ColumnRef(0, tables[0].person_id)
    left_unique = _unique(0, tables[0])
    for index, join in enumerate(joins, start=1):
        table = tables[index]
        own = None if table.person_id is None else ColumnRef(index, table.person_id)
        is_reference = bool(_unique(index, table).intersection(join.right))
        if own is None:
            if not is_reference:
                raise PlanUnsupported(
                    f"table {table.name} has no person id, so it joins only on a column that the roster declares unique"
                )
            continue
        if first is None:
            if join.kind == "left" or not left_unique.intersection(join.left):
                raise PlanUnsupported(
                    f"name table {table.name}, which has the person id, first, and join {tables[0].name} to it on a "
                    "column that the roster declares unique"
                )
            first = own
            continue
        if (first, own) not in _person_pairs(tables, join, first):
            raise PlanUnsupported(
                f"tables {tables[first.source].name} and {table.name} both have a person id; join them ON "
                f"{tables[first.source].name}.{first.name} = {table.name}.{own.name}, so that each row "
                "is about one person"
            )
    return first


def _person_pairs(tables: Sequence[Table], join: Join, first: ColumnRef) -> set[tuple[ColumnRef, ColumnRef]]:
    """Pairs of the join, with any earlier table's person id read as the first one's, to which it is joined."""
    return {
        (first if left.name == tables[left.source].person_id else left, right)
        for left, right in zip(join.left, join.right, strict=True)
    }


def _persons_disjoint(tables: Sequence[Table]) -> bool:
    about_persons = [table for table in tables if table.person_id is not None]
    return all(table.persons_disjoint for table in about_persons or tables[:1])
