"""One total DuckDB statement for the largest contributions to each sum of a plan, and what it answers (pure).

For every cell and magnitude (`mpcd.plan.monomials`): the size of what each person adds, the largest few of them, and
the total.  Where a person may have several rows these are added up first, by cell and person.  Everything else is as in
`generate_duckdb`: quoted identifiers from the roster and integers alone, checked casts, NULL for what cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mpcd.plan.ir import LogicalPlan
from mpcd.plan.monomials import Magnitude
from mpcd.plan.nodes import LocalValue
from mpcd.plan.relation import build
from mpcd.roster import Roster
from mpcd.sources.generate_duckdb import HALF, Output, Statement, TableRows, Text, joined, quoted
from mpcd.sources.snapshot import PERSON_INDEX

Integers = npt.NDArray[np.int64]
_BIGINT_MAX = 2**63 - 1


def generate(plan: LogicalPlan, roster: Roster, tables: Mapping[str, TableRows], tops: int) -> Statement:
    """The statement; its `values` are, for each magnitude, the largest contribution, the second, ..., and the total.

    Args:
        plan: from `LogicalPlan.from_value`.
        roster: the one against which it was checked.
        tables: the snapshots, by the roster's table name.
        tops: how many of the largest are wanted.
    """
    text = Text(build(roster, plan.sources, plan.joins).bounds)
    rows = joined(plan.sources, plan.joins, tables)
    if plan.where is not None:
        rows += f" WHERE {text.predicate(plan.where)}"
    cell = text.cell(plan.keys)
    contributions = [_contribution(plan, text, one) for one in plan.magnitudes]
    if plan.persons is None or plan.persons_unique:
        sizes = [f"TRY(abs({product}))" for product, _ in contributions]
        filters = [condition for _, condition in contributions]
        source = rows
    else:
        person = f"s{plan.persons.source}.{quoted(PERSON_INDEX)}"
        inner = ", ".join(
            f"abs(SUM({product}){condition}) AS v{place}" for place, (product, condition) in enumerate(contributions)
        )
        source = f"FROM (SELECT {cell} AS cell, {inner} {rows} GROUP BY {cell}, {person})"
        sizes = [f"v{place}" for place in range(len(contributions))]
        filters, cell = [""] * len(contributions), "cell"
    columns: list[str] = []
    outputs: list[Output] = []
    for one, size, condition in zip(plan.magnitudes, sizes, filters, strict=True):
        wide = one.size * plan.rows_per_owner_max > _BIGINT_MAX
        largest = [f"list_extract(max({size}, {tops}){condition}, {place + 1})" for place in range(tops)]
        outputs += [_column(columns, value, wide=wide) for value in (*largest, f"SUM({size}){condition}")]
    fields = ", ".join(f"{column} AS c{index}" for index, column in enumerate(columns, start=1))
    sql = f"SELECT {cell} AS c0, {fields} {source}" + (" GROUP BY 1" if plan.keys else " GROUP BY ALL")
    return Statement(sql, 1 + len(columns), (), tuple(outputs))


def _contribution(plan: LogicalPlan, text: Text, one: Magnitude) -> tuple[str, str]:
    """One row's contribution, and the FILTER that keeps it to its cohort."""
    product = "1"
    if one.factors:
        product = text.product(LocalValue("sum", one.factors, None, -one.size, one.size, "q", 0))
    return product, text.filter(plan.cohorts[one.cohort].condition)


def _column(columns: list[str], value: str, *, wide: bool) -> Output:
    if not wide:
        columns.append(f"TRY_CAST({value} AS BIGINT)")
        return Output("narrow", len(columns))
    columns.append(f"TRY_CAST({value} % {HALF}::HUGEINT AS BIGINT)")
    columns.append(f"TRY_CAST({value} // {HALF}::HUGEINT AS BIGINT)")
    return Output("wide", len(columns) - 1, len(columns))


def dense(reply: object, columns: int, cells: int) -> Integers | None:
    """A child's rows, each with its cell first, as one array (columns, cells), zero where no row is.

    None if it is no such table: of another size, with a cell twice or one that is none.
    """
    match reply:
        case {"rows": int(rows), "data": bytes(data)} if len(data) == rows * columns * 8:
            table = np.frombuffer(data, dtype="<i8").reshape(columns, rows)
        case _:
            return None
    places = table[0]
    if rows and (places.min() < 0 or places.max() >= cells or len(np.unique(places)) != rows):
        return None
    made = np.zeros((columns, cells), dtype=np.int64)
    made[:, places] = table
    return made


def read(reply: object, plan: LogicalPlan, statement: Statement, tops: int) -> tuple[Integers | list[int], ...] | None:
    """The dense columns of an answer; None if it is not one that this plan can have."""
    table = dense(reply, statement.columns, plan.cells)
    if table is None or (table.size and table.min() < 0):
        return None
    found: list[Integers | list[int]] = []
    for place, output in enumerate(statement.values):
        bound = plan.magnitudes[place // (tops + 1)].size * plan.rows_per_owner_max
        column: Integers | list[int] = table[output.column]
        if output.how == "wide":
            low, high = table[output.column].tolist(), table[output.base].tolist()
            column = [h * HALF + l for h, l in zip(high, low, strict=True)]
        if max(column) > bound:
            return None
        found.append(column)
    return tuple(found)
