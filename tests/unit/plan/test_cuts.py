"""Where a request cuts a column: never too few places, and for the usual spellings exactly the right ones."""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
import itertools
import pathlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from mpcd import limits
from mpcd.plan import LogicalPlan, plan_sql
from mpcd.plan.cuts import ColumnCuts, column_cuts
from mpcd.roster import Column, Roster

HERE = pathlib.Path(__file__).parent
QUERIES = [
    line.removeprefix("@wards ")
    for line in (HERE / "queries.sql").read_text().splitlines()
    if line.strip() and not line.startswith("--")
]
EPOCH = dt.date(1970, 1, 1)
Plan = Callable[[str], LogicalPlan]


def cuts_of(plan: LogicalPlan, roster: Roster, path: str, verb: str) -> tuple[int, ...] | None:
    (found,) = [each for each in column_cuts(plan, roster) if (each.path, each.verb) == (path, verb)]
    return found.cuts


# ------------------------------------------------------------------------------------------------ never too few


def another(rng: random.Random, column: Column, cuts: tuple[int, ...], stored: int) -> int:
    """A stored form with no cut between it and `stored`."""
    place = bisect.bisect_right(cuts, stored)
    low = cuts[place - 1] if place else column.low
    high = cuts[place] - 1 if place < len(cuts) else column.high
    return rng.choice((low, high, rng.randint(low, high)))


@pytest.mark.parametrize("sql", QUERIES)
def test_between_two_cuts_nothing_changes(sql: str, plan: Plan, roster: Roster, oracle: Any) -> None:
    planned = plan(sql)
    tables = [roster.table(source.table) for source in planned.sources]
    rng = random.Random(sql)
    finite = [each for each in column_cuts(planned, roster) if each.cuts is not None]
    grouped = [key.expr for key in planned.keys]
    filtered = [planned.where, *(c.condition for c in planned.cohorts), *(v.condition for v in planned.values)]

    def outcome(row: Any, verb: str) -> list[object]:
        if verb == "group":
            return [oracle.value_of(expr, row) for expr in grouped]
        return [oracle.truth_of(condition, row) for condition in filtered if condition is not None]

    for each, _ in itertools.product(finite, range(20)):
        table_name, _, name = each.path.partition(".")
        row = [
            {
                column.name: rng.randint(column.low, column.high)
                if not column.may_be_null or rng.random() < 0.9
                else None
                for column in table.columns
            }
            for table in tables
        ]
        moved = [dict(part) for part in row]
        for index, table in enumerate(tables):
            stored = row[index].get(name)
            if table.name == table_name and stored is not None:
                assert each.cuts is not None
                moved[index][name] = another(rng, table.column(name), each.cuts, stored)
        assert outcome(tuple(row), each.verb) == outcome(tuple(moved), each.verb), (each, row, moved)


def test_the_queries_do_have_columns_that_are_not_cut_everywhere(plan: Plan, roster: Roster) -> None:
    found: list[ColumnCuts] = [each for sql in QUERIES for each in column_cuts(plan(sql), roster)]
    assert len([each for each in found if each.cuts]) > 60
    assert {each.verb for each in found} == {"filter", "group", "join"}


# ------------------------------------------------------------------------------------------------ nor too many


def days(*texts: str) -> tuple[int, ...]:
    return tuple((dt.date.fromisoformat(text) - EPOCH).days for text in texts)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("age >= 40", (40,)),
        ("40 <= age", (40,)),
        ("age > 39", (40,)),
        ("age = 42", (42, 43)),
        ("NOT age = 42", (42, 43)),
        ("age <> 42", (42, 43)),
        ("age BETWEEN 40 AND 49", (40, 50)),
        ("age IN (40, 41, 42, 60)", (40, 43, 60, 61)),
        ("age // 10 = 4", (20, 30, 40, 50, 60, 70, 80, 90, 100)),
        ("age / 10 >= 4", (40,)),
        ("2 * age + 3 > 90", (44,)),
        ("-age < -50", (51,)),
        ("age >= 40 OR age < 25", (25, 40)),
        ("age < 18", ()),
        ("age > 1000", ()),
        ("age % 10 = 3", None),
        ("age > tsize", None),
        ("CASE WHEN age < 50 THEN 1 ELSE 2 END = 1", (50,)),
    ],
)
def test_a_filters_cuts(condition: str, expected: tuple[int, ...] | None, plan: Plan, roster: Roster) -> None:
    planned = plan(f"SELECT COUNT(*) FROM gbsg2 WHERE {condition}")
    filtered = [each for each in column_cuts(planned, roster) if each.path == "gbsg2.age"]
    assert [each.cuts for each in filtered] in ([expected], [] if expected == () else [expected])


def test_filters_of_aggregates_and_having_are_found(plan: Plan, roster: Roster) -> None:
    sql = "SELECT horTh, AVG(tsize) FILTER (WHERE age >= 42), SUM(CASE WHEN pnodes > 3 THEN 1 ELSE 0 END) FROM gbsg2 "
    planned = plan(sql + "WHERE estrec < 100 GROUP BY horTh")
    assert cuts_of(planned, roster, "gbsg2.age", "filter") == (42,)
    assert cuts_of(planned, roster, "gbsg2.pnodes", "filter") == (4,)
    assert cuts_of(planned, roster, "gbsg2.estrec", "filter") == (100,)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("age", None),
        ("age // 20", (20, 40, 60, 80, 100)),
        ("CASE WHEN age < 40 THEN 'young' WHEN age < 65 THEN 'middle' ELSE 'old' END", (40, 65)),
        ("age >= 65", (65,)),
    ],
)
def test_a_keys_cuts(key: str, expected: tuple[int, ...] | None, plan: Plan, roster: Roster) -> None:
    planned = plan(f"SELECT {key} AS k, COUNT(*) FROM gbsg2 GROUP BY k")
    assert cuts_of(planned, roster, "gbsg2.age", "group") == expected


def test_parts_of_dates(plan: Plan, roster: Roster) -> None:
    column = roster.table("visits").column("day")
    first, last = (EPOCH + dt.timedelta(days=stored) for stored in column.bounds)
    years = plan("SELECT year(day), COUNT(*) FROM visits GROUP BY 1")
    expected = days(*(f"{year}-01-01" for year in range(first.year + 1, last.year + 1)))
    assert cuts_of(years, roster, "visits.day", "group") == expected
    months = plan("SELECT year(day), month(day), COUNT(*) FROM visits GROUP BY 1, 2")
    found = cuts_of(months, roster, "visits.day", "group")
    assert found is not None
    assert {(EPOCH + dt.timedelta(days=cut)).day for cut in found} == {1}
    assert len(found) > len(expected)
    weekdays = plan("SELECT isodow(day), COUNT(*) FROM visits GROUP BY 1")
    assert cuts_of(weekdays, roster, "visits.day", "group") is None
    since = plan("SELECT COUNT(*) FROM visits WHERE day >= DATE '2020-03-01'")
    assert cuts_of(since, roster, "visits.day", "filter") == days("2020-03-01")


def test_a_table_that_is_joined_to_itself_is_cut_where_either_is(plan: Plan, roster: Roster) -> None:
    joined = "FROM visits a JOIN visits b ON a.pid = b.pid"
    planned = plan(f"SELECT COUNT(*) {joined} WHERE a.los > 3 AND b.los > 7")
    assert cuts_of(planned, roster, "visits.los", "filter") == (4, 8)
    assert [each for each in column_cuts(planned, roster) if "pid" in each.path] == []


def test_a_join_cuts_everywhere(plan: Plan, roster: Roster) -> None:
    planned = plan("SELECT COUNT(*) FROM visits JOIN wards USING (ward)")
    joined = {each.path: (each.cuts, each.identifies) for each in column_cuts(planned, roster)}
    assert joined == {"visits.ward": (None, False), "wards.ward": (None, False)}


@pytest.mark.parametrize(
    ("condition", "identifies"),
    [
        ("number = 50", True),
        ("number BETWEEN 50 AND 51", False),
        ("number > 49 AND number <= 50", True),
        ("number < 60", False),
        ("number < 1", True),  # the lowest of all
        ("number >= 99", True),  # the highest
        ("number <> 50", True),
        ("number IN (50, 51)", False),
        ("number // 10 = 5", False),
        ("number - 50 = 0", True),
        ("abs(number - 50) < 1", True),
        ("number < 100 OR code = 50", False),
        ("code = 50", False),
        ("number IS NULL", False),
    ],
)
def test_what_tells_rows_apart_is_not_compared_for_equality(condition: str, identifies: bool, roster: Roster) -> None:
    columns = (Column("number", "integer", 0, 99, unique=True, nullable=True), Column("code", "integer", 0, 99))
    table = dataclasses.replace(roster.tables[0], name="numbered", columns=columns, person_id=None)
    planned = plan_sql(
        f"SELECT COUNT(*) FROM numbered WHERE {condition}",
        with_table := dataclasses.replace(roster, tables=(table,)),
        dt.date(2026, 11, 22),
    )
    assert any(each.identifies for each in column_cuts(planned, with_table)) == identifies


def test_grouping_by_what_tells_rows_apart_is_found(roster: Roster) -> None:
    columns = (Column("number", "integer", 0, 99, unique=True),)
    numbered = dataclasses.replace(
        roster, tables=(dataclasses.replace(roster.tables[0], name="n", columns=columns, person_id=None),)
    )
    for key, expected in (("number", True), ("number // 10", False), ("number // 99", True)):
        planned = plan_sql(f"SELECT {key} AS k, COUNT(*) FROM n GROUP BY k", numbered, dt.date(2026, 11, 22))
        assert [each.identifies for each in column_cuts(planned, numbered)] == [expected]


def test_more_cuts_than_the_limit_are_everywhere(plan: Plan, roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan("SELECT age // 10 AS k, COUNT(*) FROM gbsg2 GROUP BY k")
    assert cuts_of(planned, roster, "gbsg2.age", "group") is not None
    monkeypatch.setattr(limits, "COLUMN_CUTS_MAX", 3)
    assert cuts_of(planned, roster, "gbsg2.age", "group") is None
