"""The largest contributions and totals as DuckDB finds them equal a plain evaluation; what a child may not answer."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence

import duckdb
import numpy as np
import pytest

from mpcd.plan.ir import LogicalPlan
from mpcd.plan.monomials import Magnitude
from mpcd.plan.nodes import ColumnRef, IsNotTrue
from mpcd.plan.planner import plan_sql
from mpcd.roster import Roster, Table
from mpcd.sources import engine_child, tops
from mpcd.sources.generate_duckdb import HALF, TableRows, quoted
from mpcd.sources.snapshot import PERSON_INDEX, column_type

Row = Mapping[str, int | None]
Test = Callable[[Row], bool]
AS_OF = dt.date(2026, 11, 22)
OWNERS = (0, 1, 2)


@pytest.fixture(scope="module")
def roster() -> Roster:
    from pathlib import Path  # noqa: PLC0415  one line of this fixture

    from mpcd.roster.parse import parse  # noqa: PLC0415

    return parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())


def some_rows(table: Table, count: int, rng: random.Random) -> list[dict[str, int | None]]:
    rows = []
    for _ in range(count):
        row: dict[str, int | None] = {}
        for one in table.columns:
            low, high = one.low, min(one.high, one.low + 40) if rng.random() < 0.7 else one.high
            row[one.name] = None if one.may_be_null and rng.random() < 0.2 else rng.randint(low, high)
            if one.type == "person_id":
                row[one.name] = rng.randint(0, 9)
        rows.append(row)
    return rows


def answer(plan: LogicalPlan, roster: Roster, rows: Sequence[Row], count: int) -> list[list[int]]:
    """What the statement finds over these rows of the plan's first table."""
    table = roster.table(plan.sources[0].table)
    connection = duckdb.connect(":memory:")
    names = [quoted(one.name) for one in table.columns]
    types = [column_type(one) for one in table.columns]
    if table.person_id is not None:
        names.append(quoted(PERSON_INDEX))
        types.append("INTEGER")
    connection.execute("ATTACH ':memory:' AS t0")
    connection.execute(f"CREATE TABLE t0.main.rows ({', '.join(map(' '.join, zip(names, types, strict=True)))})")
    people = sorted({row[table.person_id] for row in rows}) if table.person_id else []  # type: ignore[type-var]
    for row in rows:
        values = [row[one.name] for one in table.columns]
        if table.person_id is not None:
            values.append(people.index(row[table.person_id]))
        connection.execute(f"INSERT INTO t0.main.rows VALUES ({', '.join('?' * len(values))})", values)
    statement = tops.generate(plan, roster, {table.name: TableRows("t0", len(people))}, count)
    found = list(connection.execute(statement.sql).fetchnumpy().values())
    read = tops.read(engine_child.packed(found, statement.columns), plan, statement, count)
    assert read is not None
    return [list(map(int, one)) for one in read]


def plain(
    plan: LogicalPlan,
    roster: Roster,
    rows: Sequence[Row],
    count: int,
    passes: Mapping[int, Test],
    cell_of: Callable[[Row], int],
) -> list[list[int]]:
    person_id = roster.table(plan.sources[0].table).person_id
    found: list[list[int]] = []
    for one in plan.magnitudes:
        cells: list[dict[object, int]] = [{} for _ in range(plan.cells)]
        for number, row in enumerate(rows):
            factors = [row[ref.name] for ref in one.factors]
            if None in factors or not passes[one.cohort](row):
                continue
            who = number if person_id is None else row[person_id]
            cell = cells[cell_of(row)]
            cell[who] = cell.get(who, 0) + int(np.prod([int(factor or 0) for factor in factors], dtype=object))
        sizes = [sorted((abs(value) for value in cell.values()), reverse=True) for cell in cells]
        found += [[(each + [0] * count)[place] for each in sizes] for place in range(count)]
        found.append([sum(each) for each in sizes])
    return found


def everybody(_row: Row) -> bool:
    return True


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("rows", [0, 1, 60])
def test_persons_with_several_rows_are_added_up_first(roster: Roster, rows: int, count: int) -> None:
    plan = plan_sql("SELECT icu, SUM(los), AVG(temp) FROM visits GROUP BY icu", roster, AS_OF)
    assert plan.persons is not None
    assert not plan.persons_unique
    data = some_rows(roster.table("visits"), rows, random.Random(rows))
    passes: dict[int, Test] = dict.fromkeys(range(len(plan.cohorts)), everybody)
    conditions = [cohort.condition for cohort in plan.cohorts]
    given = plan.values[-1].condition
    assert given is not None
    passes[conditions.index(given)] = lambda row: row["temp"] is not None
    passes[conditions.index(IsNotTrue(given))] = lambda row: row["temp"] is None

    def cell_of(row: Row) -> int:
        return plan.keys[0].count if row["icu"] is None else int(row["icu"])

    assert answer(plan, roster, data, count) == plain(plan, roster, data, count, passes, cell_of)


def test_where_each_row_is_a_person_rows_are_compared(roster: Roster) -> None:
    plan = plan_sql("SELECT horTh, SUM(age), CORR(progrec, estrec) FROM gbsg2 GROUP BY horTh", roster, AS_OF)
    data = some_rows(roster.table("gbsg2"), 80, random.Random(5))
    passes: dict[int, Test] = dict.fromkeys(range(len(plan.cohorts)), everybody)
    found = answer(plan, roster, data, 2)
    assert found == plain(plan, roster, data, 2, passes, lambda row: row["horTh"] or 0)
    assert len(found) == 3 * len(plan.magnitudes) == 18


def test_sums_wider_than_a_word(roster: Roster) -> None:
    plan = plan_sql("SELECT VAR_SAMP(huge) FROM wide WHERE huge > 5", roster, AS_OF)
    top = roster.table("wide").column("huge").high
    names = [one.name for one in roster.table("wide").columns]
    data = [{**{name: roster.table("wide").column(name).high for name in names}, "huge": top - k} for k in range(5)]
    passes: dict[int, Test] = dict.fromkeys(range(len(plan.cohorts)), everybody)
    found = answer(plan, roster, data, 2)
    assert found == plain(plan, roster, data, 2, passes, lambda _row: 0)
    assert found[-1][0] > HALF


def test_without_keys_and_rows_all_is_zero(roster: Roster) -> None:
    plan = plan_sql("SELECT SUM(age) FROM gbsg2 WHERE age > 99", roster, AS_OF)
    assert answer(plan, roster, [], 3) == [[0]] * 4


def test_answers_that_make_no_sense_are_not_believed(roster: Roster) -> None:
    plan = plan_sql("SELECT horTh, SUM(age) FROM gbsg2 GROUP BY horTh", roster, AS_OF)
    assert plan.magnitudes == (Magnitude(0, (ColumnRef(0, "age"),), 100),)
    statement = tops.generate(plan, roster, {"gbsg2": TableRows("t0", 0)}, 2)

    def read(*rows: tuple[int, ...], **changes: object) -> object:
        table = np.array(rows, dtype="<i8").T
        return tops.read({"rows": len(rows), "data": table.tobytes(), **changes}, plan, statement, 2)

    bound = 100 * plan.rows_per_owner_max
    honest = read((0, 5, 4, 9), (1, 7, 0, 7))
    assert honest is not None
    assert [list(one) for one in honest] == [[5, 7], [4, 0], [9, 7]]  # type: ignore[attr-defined]
    assert read((0, 5, 4, bound)) is not None
    for row in ((2, 5, 4, 9), (-1, 5, 4, 9), (0, -5, 4, 9), (0, 5, 4, bound + 1), (0, bound + 1, 4, 9)):
        assert read(row) is None
    assert read((0, 5, 4, 9), (0, 5, 4, 9)) is None
    assert read((0, 5, 4, 9), rows=2) is None
    assert tops.read([], plan, statement, 2) is None


def test_no_text_but_names_and_integers(roster: Roster) -> None:
    plan = plan_sql(
        "SELECT SUM(los) FILTER (WHERE ward LIKE '%i%') FROM visits WHERE day > DATE '2020-01-01'", roster, AS_OF
    )
    sql = tops.generate(plan, roster, {"visits": TableRows("t0", 9)}, 2).sql
    assert "%i%" not in sql
    assert "'" not in sql.replace("DATE '1970-01-01'", "")
