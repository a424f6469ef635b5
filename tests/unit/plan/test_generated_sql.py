"""The engine's SQL against the meaning of the IR: every query of `queries.sql`, cohorts and values alike."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from mpcd.plan import LogicalPlan
from mpcd.roster import Roster
from mpcd.sources.generate_duckdb import Statement, TableRows, generate
from mpcd.sources.snapshot import PERSON_INDEX, ROWS, column_type

LINES = (pathlib.Path(__file__).parent / "queries.sql").read_text().splitlines()
QUERIES = [line.removeprefix("@wards ") for line in LINES if line.strip() and not line.startswith("--")]
SIZES = {"visits": 60, "patients": 28, "wards": 3, "gbsg2": 40}


@pytest.fixture(scope="module")
def snapshot(roster: Roster, oracle: Any) -> Any:
    hospital = oracle.random_hospital(random.Random(11), roster, SIZES)
    connection = duckdb.connect(config={"threads": "1"})
    tables: dict[str, TableRows] = {}
    for table in roster.tables:
        connection.execute(f"ATTACH ':memory:' AS snapshot_{table.name}")
        columns = [f'"{column.name}" {column_type(column)}' for column in table.columns]
        rows = [[row[column.name] for column in table.columns] for row in hospital[table.name]]
        persons: list[object] = []
        if table.person_id is not None:
            columns.append(f'"{PERSON_INDEX}" BIGINT')
            persons = sorted({row[table.person_id] for row in hospital[table.name]})
            rows = [
                [*row, persons.index(r[table.person_id])] for row, r in zip(rows, hospital[table.name], strict=True)
            ]
        connection.execute(f'CREATE TABLE snapshot_{table.name}.main."{ROWS}" ({", ".join(columns)})')
        if rows:
            marks = ", ".join("?" for _ in columns)
            connection.executemany(f'INSERT INTO snapshot_{table.name}.main."{ROWS}" VALUES ({marks})', rows)
        tables[table.name] = TableRows(f"snapshot_{table.name}", len(persons))
    return hospital, connection, tables


def read(
    plan: LogicalPlan, statement: Statement, rows: list[tuple[Any, ...]]
) -> tuple[list[list[int]], list[list[int]]]:
    dense = [[0] * plan.cells for _ in range(statement.columns)]
    for row in rows:
        for column, number in zip(dense, row, strict=True):
            column[row[0]] = number or 0

    def one(how: str, column: int, base: int) -> list[int]:
        if how == "complement":
            return [a - b for a, b in zip(dense[base], dense[column], strict=True)]
        if how == "wide":
            return [high * 2**63 + low for high, low in zip(dense[base], dense[column], strict=True)]
        return dense[column]

    cohorts = [one(output.how, output.column, output.base) for output in statement.cohorts]
    return cohorts, [one(output.how, output.column, output.base) for output in statement.values]


@pytest.mark.parametrize("query", QUERIES)
def test_generated_sql_computes_the_plan(
    snapshot: Any, roster: Roster, oracle: Any, plan: Callable[[str], LogicalPlan], query: str
) -> None:
    hospital, connection, tables = snapshot
    planned = plan(query)
    statement = generate(planned, roster, tables)
    rows = connection.execute(statement.sql).fetchall()
    assert read(planned, statement, rows) == oracle.local_answer(planned, hospital)
