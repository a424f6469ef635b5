"""A plan evaluated the slow, obvious way: the meaning of the IR that SQL generators are held to.

Rows are dicts of stored forms per table and hospital; each hospital evaluates the local part, sums are pooled, gates
are open unless empty, and the client's `finish` makes the table.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import operator
import pathlib
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from mpcd.plan import LogicalPlan, plan_sql
from mpcd.plan import nodes as ir
from mpcd.plan.ranges import date_part, truncate_divide
from mpcd.results import Table, finish
from mpcd.results.table import NULL
from mpcd.roster import Column, Roster, parse

HERE = pathlib.Path(__file__).parent
EPOCH = dt.date(1970, 1, 1)
AS_OF = dt.date(2026, 11, 22)

Row = tuple[Mapping[str, int | None], ...]
Hospital = Mapping[str, Sequence[Mapping[str, int | None]]]


# ------------------------------------------------------------------------------------------------ the IR's meaning


OPERATIONS: Mapping[type[ir.Expr], Callable[[int, int], int]] = {
    ir.Add: operator.add,
    ir.Subtract: operator.sub,
    ir.Multiply: operator.mul,
    ir.FloorDivide: operator.floordiv,
    ir.TruncateDivide: truncate_divide,
}


def value_of(expr: ir.Expr, row: Row) -> int | None:
    match expr:
        case ir.ColumnRef(source, name):
            return row[source][name]
        case ir.Constant(value):
            return value
        case ir.Negate(operand):
            inner = value_of(operand, row)
            return None if inner is None else -inner
        case ir.DatePart(part, operand):
            inner = value_of(operand, row)
            return None if inner is None else date_part(part, inner)
        case ir.Case(whens, otherwise):
            for condition, result in whens:
                if truth_of(condition, row) is True:
                    return value_of(result, row)
            return None if otherwise is None else value_of(otherwise, row)
        case _:
            left, right = value_of(expr.left, row), value_of(expr.right, row)
            if left is None or right is None:
                return None
            return OPERATIONS[type(expr)](left, right)


def truth_of(condition: ir.Pred, row: Row) -> bool | None:  # noqa: PLR0911
    match condition:
        case ir.Truth(value):
            return value
        case ir.IsNull(expr):
            return value_of(expr, row) is None
        case ir.IsNotTrue(part):
            return truth_of(part, row) is not True
        case ir.Not(part):
            inner = truth_of(part, row)
            return None if inner is None else not inner
        case ir.InSet(expr, values):
            found = value_of(expr, row)
            return None if found is None else found in values
        case ir.Compare(op, left, right):
            a, b = value_of(left, row), value_of(right, row)
            if a is None or b is None:
                return None
            return {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]
        case ir.And(parts) | ir.Or(parts):
            deciding = isinstance(condition, ir.Or)
            truths = [truth_of(part, row) for part in parts]
            if deciding in truths:
                return deciding
            return None if None in truths else not deciding


def joined(plan: LogicalPlan, hospital: Hospital) -> list[Row]:
    rows: list[Row] = [(row,) for row in hospital.get(plan.sources[0].table, ())]
    for source, join in zip(plan.sources[1:], plan.joins, strict=True):
        found: list[Row] = []
        for row in rows:
            lefts = [value_of(column, row) for column in join.left]
            matches = [
                other
                for other in hospital.get(source.table, ())
                if all(a is not None and a == other[c.name] for a, c in zip(lefts, join.right, strict=True))
            ]
            if not matches and join.kind == "left":
                matches = [NothingJoined()]
            found.extend((*row, other) for other in matches)
        rows = found
    return rows


class NothingJoined(dict[str, None]):
    """The right side of a LEFT JOIN that matched nothing."""

    def __missing__(self, key: str) -> None:
        return None


def local_answer(plan: LogicalPlan, hospital: Hospital) -> tuple[list[list[int]], list[list[int]]]:
    cells = plan.cells
    persons: list[list[set[object]]] = [[set() for _ in range(cells)] for _ in plan.cohorts]
    values = [[0] * cells for _ in plan.values]
    for number, row in enumerate(joined(plan, hospital)):
        if plan.where is not None and truth_of(plan.where, row) is not True:
            continue
        cell = 0
        for key in plan.keys:
            code = value_of(key.expr, row)
            assert code is not None or key.nullable
            index = key.count if code is None else code - key.low
            assert 0 <= index < key.places
            cell = cell * key.places + index
        person = number if plan.persons is None else value_of(plan.persons, row)
        for index, cohort in enumerate(plan.cohorts):
            if cohort.condition is None or truth_of(cohort.condition, row) is True:
                persons[index][cell].add(person)
        for index, value in enumerate(plan.values):
            if value.condition is None or truth_of(value.condition, row) is True:
                factors = [value_of(factor, row) for factor in value.factors]
                product = math.prod(factor for factor in factors if factor is not None)
                assert None not in factors
                assert value.low <= product <= value.high
                values[index][cell] += product
    counts = [[len(found) for found in cohort] for cohort in persons]
    assert all(count < 2**plan.cohort_width for cohort in counts for count in cohort)
    return counts, values


def answer(plan: LogicalPlan, hospitals: Sequence[Hospital]) -> Table:
    local = [local_answer(plan, hospital) for hospital in hospitals]
    cells = range(plan.cells)
    counts = [[sum(part[0][c][cell] for part in local) for cell in cells] for c in range(len(plan.cohorts))]
    values = [[sum(part[1][v][cell] for part in local) for cell in cells] for v in range(len(plan.values))]
    for planned, pooled in zip(plan.values, values, strict=True):
        assert all(abs(value) < {"p": 2**60, "q": 2**126}[planned.field] for value in pooled)
    statuses = [[0 if counts[gate.inside][cell] else 4 for cell in cells] for gate in plan.gates]
    return finish(plan.shape, statuses, values)


# ------------------------------------------------------------------------------------------------ pooled DuckDB

SQL_TYPES = {"integer": "BIGINT", "dictionary": "VARCHAR", "date": "DATE", "boolean": "BOOLEAN", "person_id": "BIGINT"}


def spoken(column: Column, stored: int | None, hospital: int) -> object:
    if stored is None:
        return None
    match column.type:
        case "decimal":
            return Decimal(stored).scaleb(-column.decimals)
        case "dictionary":
            return column.levels[stored]
        case "date":
            return EPOCH + dt.timedelta(days=stored)
        case "boolean":
            return bool(stored)
        case "person_id":
            return hospital * 10**6 + stored
        case _:
            return stored


def pool(roster: Roster, hospitals: Sequence[Hospital]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": "1"})
    for table in roster.tables:
        types = [
            f'"{c.name}" {f"DECIMAL(18, {c.decimals})" if c.type == "decimal" else SQL_TYPES[c.type]}'
            for c in table.columns
        ]
        connection.execute(f"CREATE TABLE {table.name} ({', '.join(types)})")
        rows = [
            [spoken(column, row[column.name], number) for column in table.columns]
            for number, hospital in enumerate(hospitals)
            for row in hospital.get(table.name, ())
        ]
        if rows:
            marks = ", ".join("?" for _ in table.columns)
            connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)
    return connection


def random_hospital(rng: random.Random, roster: Roster, rows: Mapping[str, int]) -> Hospital:
    hospital: dict[str, list[dict[str, int | None]]] = {}
    for table in roster.tables:
        count = rows.get(table.name, 0)
        patients = list(range(1, 31))
        rng.shuffle(patients)
        made: list[dict[str, int | None]] = []
        levels = {c.name: rng.sample(range(len(c.levels)), len(c.levels)) for c in table.columns if c.levels}
        for number in range(count):
            row: dict[str, int | None] = {}
            for column in table.columns:
                if column.type == "person_id":
                    row[column.name] = patients[number] if column.unique else rng.choice(patients)
                elif column.unique:
                    row[column.name] = levels[column.name][number]
                elif column.may_be_null and rng.random() < 0.2:
                    row[column.name] = None
                else:
                    row[column.name] = rng.choice(
                        [
                            rng.randint(column.low, column.high),
                            column.low,
                            column.high,
                            min(column.low + 1, column.high),
                        ]
                    )
            made.append(row)
        hospital[table.name] = made
    return hospital


# ------------------------------------------------------------------------------------------------ comparison


def same(ours: object, theirs: object) -> bool:
    if ours is NULL or theirs is None:
        return ours is NULL and theirs is None
    if isinstance(ours, bool) or isinstance(theirs, (bool, str, dt.date)):
        return type(ours) is type(theirs) and ours == theirs
    if isinstance(ours, float):
        other = float(theirs)  # type: ignore[arg-type]
        if math.isnan(ours) or math.isnan(other):
            return math.isnan(ours) and math.isnan(other)
        return math.isclose(ours, other, rel_tol=1e-9, abs_tol=1e-9)
    return type(ours) is type(theirs) and ours == theirs


def sort_key(row: Sequence[object]) -> list[tuple[int, str, float]]:
    def key(cell: object) -> tuple[int, str, float]:
        if cell is NULL or cell is None:
            return (2, "", 0.0)
        if isinstance(cell, str):
            return (0, cell, 0.0)
        if isinstance(cell, dt.date):
            return (0, cell.isoformat(), 0.0)
        number = float(cell)  # type: ignore[arg-type]
        return (1, "", 0.0) if math.isnan(number) else (0, "", round(number, 6))

    return [key(cell) for cell in row]


def differences(ours: Table, theirs: Sequence[Sequence[object]], *, ordered: bool) -> list[str]:
    a: Sequence[Sequence[object]] = ours.rows
    b = theirs
    if not ordered:
        a, b = sorted(a, key=sort_key), sorted(b, key=sort_key)
    return [
        f"row {number}: {mine} is not {other}"
        for number, (mine, other) in enumerate(itertools.zip_longest(a, b))
        if mine is None or other is None or not all(same(x, y) for x, y in zip(mine, other, strict=True))
    ]


# ------------------------------------------------------------------------------------------------ fixtures


@pytest.fixture(scope="session")
def roster() -> Roster:
    return parse((HERE / "hospitals.toml").read_text())


@pytest.fixture(scope="session")
def plan(roster: Roster) -> Callable[[str], LogicalPlan]:
    return lambda sql: plan_sql(sql, roster, AS_OF)


@pytest.fixture(scope="session")
def oracle() -> Any:
    """The functions above, for tests that are their own modules."""
    return type(
        "Oracle",
        (),
        {
            "answer": staticmethod(answer),
            "local_answer": staticmethod(local_answer),
            "pool": staticmethod(pool),
            "random_hospital": staticmethod(random_hospital),
            "differences": staticmethod(differences),
            "value_of": staticmethod(value_of),
            "truth_of": staticmethod(truth_of),
        },
    )
