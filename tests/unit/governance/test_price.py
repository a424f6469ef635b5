from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.governance.money import MoneyError
from mpcd.governance.price import (
    Counters,
    Fee,
    Month,
    PricePlan,
    QueryPrice,
    Rate,
    days_in_force,
    month_fees,
    price_query,
)

DAY = 86_400_000


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(dt.datetime(year, month, day, hour, tzinfo=dt.UTC).timestamp()) * 1000


# ------------------------------------------------------------------------------------------------ months


def test_a_month_ends_where_the_next_begins() -> None:
    assert Month.of(at(2026, 11, 30, 23) + 3_599_999) == Month(2026, 11)
    assert Month.of(at(2026, 12, 1)) == Month(2026, 12)
    assert Month(2026, 12).following == Month(2027, 1)
    assert Month(2026, 11).end_ms == at(2026, 12, 1)
    assert (Month(2024, 2).days, Month(2026, 2).days, Month(2026, 12).days) == (29, 28, 31)
    assert str(Month.parse("2026-01")) == "2026-01"


@pytest.mark.parametrize("written", ["2026-13", "2026-00", "26-01", "2026-1", "0000-01", "2026-11 ", "2026-11-01"])
def test_what_is_no_month(written: str) -> None:
    with pytest.raises(ValueError, match="no month"):
        Month.parse(written)


def test_each_begun_day_counts() -> None:
    november = Month(2026, 11)
    assert days_in_force(november, at(2026, 1, 1), at(2027, 1, 1)) == 30
    assert days_in_force(november, at(2026, 11, 10, 23), at(2027, 1, 1)) == 21
    assert days_in_force(november, at(2026, 1, 1), at(2026, 11, 10)) == 9
    assert days_in_force(november, at(2026, 1, 1), at(2026, 11, 10) + 1) == 10
    assert days_in_force(november, at(2026, 11, 10, 3), at(2026, 11, 10, 4)) == 1
    assert days_in_force(november, at(2026, 11, 10), at(2026, 11, 10)) == 0
    assert days_in_force(november, at(2026, 12, 1), at(2027, 1, 1)) == 0
    assert days_in_force(november, at(2025, 12, 1), at(2026, 11, 1)) == 0


# ------------------------------------------------------------------------------------------------ one query


def test_the_free_ones_come_first() -> None:
    rate = Rate(per_query=500, free_queries=2)
    assert price_query(rate, Counters(1, 0)) == QueryPrice(0, free=True)
    assert price_query(rate, Counters(2, 0)) == QueryPrice(500)


def test_the_monthly_maximum_includes_the_monthly_fee() -> None:
    rate = Rate(per_query=500, per_month=1000, max_per_month=2200)
    charged, prices = 0, []
    for _ in range(5):
        price = price_query(rate, Counters(0, charged))
        prices.append(price)
        charged += price.minor
    assert [price.minor for price in prices] == [500, 500, 200, 0, 0]
    assert [price.capped for price in prices] == [False, False, True, True, True]
    assert rate.per_month + charged == rate.max_per_month
    assert charged == rate.queries_max


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 20))
def test_a_month_never_costs_more_than_its_maximum(
    per_query: int, per_month: int, more: int, free: int, queries: int
) -> None:
    rate = Rate(per_query=per_query, per_month=per_month, max_per_month=per_month + more, free_queries=free)
    charged = 0
    for query in range(queries):
        charged += price_query(rate, Counters(query, charged)).minor
    assert charged == min(max(queries - free, 0) * per_query, more)


# ------------------------------------------------------------------------------------------------ fees of a month


def test_a_monthly_fee_ends_pro_rata() -> None:
    rate = Rate(flat_fee=3000, flat_period="monthly")
    year = {"accepted_ms": at(2026, 10, 17, 12), "until_ms": at(2026, 12, 11)}
    assert month_fees(rate, Month(2026, 9), used=False, **year) == []
    assert month_fees(rate, Month(2026, 10), used=False, **year) == [Fee("flat_fee", 1452, 15)]
    assert month_fees(rate, Month(2026, 11), used=False, **year) == [Fee("flat_fee", 3000, 30)]
    assert month_fees(rate, Month(2026, 12), used=False, **year) == [Fee("flat_fee", 968, 10)]
    assert month_fees(rate, Month(2027, 1), used=False, **year) == []


def test_the_fee_for_use_is_owed_only_in_months_of_use() -> None:
    rate = Rate(per_month=3000)
    term = {"accepted_ms": at(2026, 10, 1), "until_ms": at(2026, 11, 11)}
    assert month_fees(rate, Month(2026, 10), used=False, **term) == []
    assert month_fees(rate, Month(2026, 10), used=True, **term) == [Fee("per_month", 3000, 31)]
    assert month_fees(rate, Month(2026, 11), used=True, **term) == [Fee("per_month", 1000, 10)]


def test_a_query_that_completed_just_after_the_end_is_a_day_of_use() -> None:
    rate = Rate(per_month=3000)
    fees = month_fees(rate, Month(2026, 11), accepted_ms=at(2026, 10, 1), until_ms=at(2026, 11, 1), used=True)
    assert fees == [Fee("per_month", 100, 1)]


def test_a_one_off_fee_falls_due_once_and_whole() -> None:
    rate = Rate(flat_fee=9000)
    term = {"accepted_ms": at(2026, 10, 31, 23), "until_ms": at(2028, 10, 31)}
    due = [
        month
        for month in (Month(2026, 9), Month(2026, 10), Month(2027, 10))
        if month_fees(rate, month, used=True, **term)
    ]
    assert due == [Month(2026, 10)]
    assert month_fees(rate, Month(2026, 10), used=False, **term) == [Fee("flat_fee", 9000, 0)]


def test_an_annual_fee_falls_due_on_anniversaries_in_force() -> None:
    rate = Rate(flat_fee=9000, flat_period="annual")
    term = {"accepted_ms": at(2024, 2, 29, 8), "until_ms": at(2026, 2, 28)}
    due, month = [], Month(2023, 12)
    while month < (2027, 1):
        if month_fees(rate, month, used=False, **term):
            due.append(str(month))
        month = month.following
    assert due == ["2024-02", "2025-02"]
    longer = {**term, "until_ms": at(2026, 2, 28) + 1}
    assert month_fees(rate, Month(2026, 2), used=False, **longer) == [Fee("flat_fee", 9000, 0)]


# ------------------------------------------------------------------------------------------------ plans


@pytest.mark.parametrize(
    ("rate", "paid"),
    [
        (Rate(), False),
        (Rate(free_queries=5), False),
        (Rate(per_query=1), True),
        (Rate(per_month=1), True),
        (Rate(flat_fee=1), True),
        (Rate(per_query=1, max_per_month=0), False),
        (Rate(flat_fee=1, max_per_month=0), True),
    ],
)
def test_what_is_paid(rate: Rate, *, paid: bool) -> None:
    assert rate.paid is paid
    assert PricePlan("EUR", rate).paid is paid
    assert PricePlan("EUR", Rate(), rate).paid is paid


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_query": -1},
        {"flat_fee": 10**15 + 1},
        {"free_queries": -1},
        {"free_queries": 10**9 + 1},
        {"flat_period": "weekly"},
        {"free_period": "day"},
        {"max_per_month": -1},
        {"per_month": 2, "max_per_month": 1},
        {"per_query": 1.5},
        {"per_query": True},
        {"unknown": 1},
    ],
)
def test_what_is_no_rate(wrong: dict[str, int | str]) -> None:
    with pytest.raises(MoneyError):
        Rate.from_value({**Rate().to_value(), **wrong})


def test_plans_are_written_and_read_again() -> None:
    plan = PricePlan("JPY", Rate(per_query=5, max_per_month=50), Rate(flat_fee=7, flat_period="annual"))
    assert PricePlan.from_value(plan.to_value()) == plan
    assert PricePlan.from_value(PricePlan("EUR", Rate()).to_value()) == PricePlan("EUR", Rate())
    for wrong in ({"currency": "ABC"}, {"currency": None}, {"standard": None}, {"reduced": 1}, {"more": 1}):
        with pytest.raises(MoneyError):
            PricePlan.from_value({**plan.to_value(), **wrong})


def test_an_offer_without_a_reduced_rate_gives_none() -> None:
    with pytest.raises(MoneyError, match="no reduced rate"):
        PricePlan("EUR", Rate()).rate("reduced")
    assert PricePlan("EUR", Rate(), Rate(per_query=1)).rate("reduced").per_query == 1
