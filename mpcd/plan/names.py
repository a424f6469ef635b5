"""Which column a name means (layer 3, no I/O).

As in DuckDB: identifiers match without regard to case, quoted or not; `t.x` looks in the table with that alias alone;
a bare `x` must be in one table, except that columns merged by USING count once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from sqlglot import exp

from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.plan.nodes import ColumnRef
from mpcd.plan.relation import Relation
from mpcd.roster.model import Column, Table


def near(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean ...?` for the candidates that are close to `name`, or nothing."""
    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold()[:64], by_fold, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(by_fold[match]) for match in close)}?" if close else ""


def find_column(table: Table, name: str) -> Column | None:
    """The column of that name, without regard to case."""
    folded = name.casefold()
    return next((column for column in table.columns if column.name.casefold() == folded), None)


class Names:
    """Resolves the column names of one request."""

    def __init__(self, aliases: tuple[str, ...], relation: Relation, merged: frozenset[ColumnRef]) -> None:
        self.relation = relation
        self._aliases = aliases
        self._merged = merged

    def find(self, node: exp.Column) -> ColumnRef | None:
        """The column that the node names; None if a bare name is no column of any table.

        Raises:
            PlanInvalid: an unknown table, an unknown column of a named table, or an ambiguous name.
        """
        name = node.name
        qualifier = node.args.get("table")
        if qualifier is not None:
            source = self._source(qualifier.name)
            table = self.relation.tables[source]
            column = find_column(table, name)
            if column is None:
                raise PlanInvalid(
                    f"table {table.name} has no column {name!r}{near(name, (c.name for c in table.columns))}"
                )
            return ColumnRef(source, column.name)
        found: list[ColumnRef] = []
        for source, table in enumerate(self.relation.tables):
            column = find_column(table, name)
            if column is not None and ColumnRef(source, column.name) not in self._merged:
                found.append(ColumnRef(source, column.name))
        if len(found) > 1:
            tables = " or ".join(f"{self._aliases[ref.source]}.{ref.name}" for ref in found)
            raise PlanInvalid(f"column {name!r} is in several tables; write {tables}")
        return found[0] if found else None

    def resolve(self, node: exp.Column, aliases: Iterable[str] = ()) -> ColumnRef:
        """The column that the node names, fit for an expression: it exists and is no person id.

        Raises:
            PlanInvalid: no such column.
            PlanUnsupported: a select alias where no alias may stand, or a person id.
        """
        ref = self.find(node)
        if ref is None:
            if node.name.casefold() in {alias.casefold() for alias in aliases}:
                raise PlanUnsupported(f"{node.name!r} is another item of the select list; repeat its expression here")
            columns = [c.name for table in self.relation.tables for c in table.columns]
            raise PlanInvalid(f"there is no column {node.name!r}{near(node.name, columns)}")
        if self.relation.column(ref).type == "person_id":
            raise PlanUnsupported(
                f"{self.relation.name(ref)} tells persons apart; it may be joined on and appear nowhere else"
            )
        return ref

    def _source(self, alias: str) -> int:
        for source, candidate in enumerate(self._aliases):
            if candidate.casefold() == alias.casefold():
                return source
        raise PlanInvalid(f"there is no table {alias!r} in FROM{near(alias, self._aliases)}")
