"""Columns published in steps: where a band may begin, and what to write instead."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import pytest

from mpcd.governance.granularity import UNITS, Calendar, Fineness, Steps, Unit, too_fine

EPOCH = dt.date(1970, 1, 1)


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - EPOCH).days


@pytest.mark.parametrize(
    ("size", "scale", "stored", "edges"),
    [
        ("5", 1, 40, None),
        ("5", 1, 0, None),
        ("5", 1, -10, None),
        ("5", 1, 42, ("40", "45")),
        ("5", 1, -2, ("-5", "0")),
        ("2.5", 10, 75, None),
        ("2.5", 10, 76, ("7.5", "10")),
        ("0.1", 100, 30, None),
        ("0.1", 100, 31, ("0.3", "0.4")),
        ("1000", 1, 2_500, ("2000", "3000")),
    ],
)
def test_numbers_step_at_multiples(size: str, scale: int, stored: int, edges: tuple[str, str] | None) -> None:
    assert Steps(Fraction(size)).edges(stored, scale) == edges


@pytest.mark.parametrize(
    ("unit", "stored", "edges"),
    [
        ("month", "2020-02-01", None),
        ("month", "2020-02-29", ("DATE '2020-02-01'", "DATE '2020-03-01'")),
        ("month", "2020-12-31", ("DATE '2020-12-01'", "DATE '2021-01-01'")),
        ("quarter", "2020-04-01", None),
        ("quarter", "2020-05-01", ("DATE '2020-04-01'", "DATE '2020-07-01'")),
        ("year", "1899-01-01", None),
        ("year", "1899-12-01", ("DATE '1899-01-01'", "DATE '1900-01-01'")),
    ],
)
def test_dates_step_with_the_calendar(unit: Unit, stored: str, edges: tuple[str, str] | None) -> None:
    assert Calendar(unit).edges(day(stored), 1) == edges


def test_the_last_year_of_all_has_an_end() -> None:
    assert Calendar("year").edges(day("9999-06-01"), 1) == ("DATE '9999-01-01'", "DATE '9999-01-01'")


@pytest.mark.parametrize("unit", UNITS)
def test_every_first_day_is_an_edge_and_no_other(unit: Unit) -> None:
    months = {"month": 1, "quarter": 3, "year": 12}[unit]
    for number in range(day("2019-12-01"), day("2021-02-01")):
        date = EPOCH + dt.timedelta(days=number)
        is_first = date.day == 1 and (date.month - 1) % months == 0
        assert (Calendar(unit).edges(number, 1) is None) == is_first


def test_what_is_cut_everywhere_is_told_how_to_band() -> None:
    grouped = Fineness("t.age", "group", "integer", 1, None)
    assert too_fine(Steps(Fraction(5)), grouped) == (
        "the request groups by single values; write bands such as x // 5 instead"
    )
    filtered = Fineness("t.day", "filter", "date", 1, None)
    assert too_fine(Calendar("quarter"), filtered) == (
        "the request filters by single values; write year(x), quarter(x) instead"
    )
    joined = Fineness("t.day", "join", "date", 1, None)
    assert "join" in str(too_fine(Calendar("year"), joined))


def test_the_first_place_that_is_too_fine_is_named() -> None:
    weights = Fineness("t.weight", "filter", "decimal", 10, (750, 761, 763))
    assert too_fine(Steps(Fraction("2.5")), weights) == ("the request begins a band at 76.1; begin it at 75 or 77.5")
    assert too_fine(Steps(Fraction("0.1")), weights) is None
    assert too_fine(Steps(Fraction(5)), Fineness("t.age", "filter", "integer", 1, ())) is None


def test_types_that_have_steps() -> None:
    assert {kind for kind in ("integer", "decimal", "date", "dictionary") if Steps(Fraction(1)).fits(kind)} == {
        "integer",
        "decimal",
    }
    assert [kind for kind in ("integer", "date", "person_id") if Calendar("year").fits(kind)] == ["date"]
