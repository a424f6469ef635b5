from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import limits
from mpcd.governance import money
from mpcd.governance.money import MoneyError
from mpcd.ids import PartyId


@pytest.mark.parametrize(
    ("written", "currency", "minor"),
    [
        ("12.50", "EUR", 1250),
        ("12.5", "EUR", 1250),
        ("12", "EUR", 1200),
        ("0", "EUR", 0),
        ("12", "JPY", 12),
        ("12.000", "JPY", 12),
        ("1.234", "KWD", 1234),
        ("0.0001", "CLF", 1),
    ],
)
def test_what_people_write_is_exact(written: str, currency: str, minor: int) -> None:
    assert money.parse(written, currency) == minor


@pytest.mark.parametrize(
    ("written", "currency"),
    [
        ("12.505", "EUR"),
        ("0.5", "JPY"),
        ("1.2345", "BHD"),
        ("-1", "EUR"),
        ("+1", "EUR"),
        ("1e3", "EUR"),
        ("1,50", "EUR"),
        ("01", "EUR"),
        (".5", "EUR"),
        ("1.", "EUR"),
        ("", "EUR"),
        ("NaN", "EUR"),
        ("١", "EUR"),
        ("1", "EURO"),
        ("1", "eur"),
        ("1", "XXX"),
        ("1", "HRK"),
        ("9" * 17, "EUR"),
        ("1" + "0" * 5000, "EUR"),
    ],
)
def test_what_is_no_amount(written: str, currency: str) -> None:
    with pytest.raises(MoneyError):
        money.parse(written, currency)


@pytest.mark.parametrize("amount", [Decimal("Infinity"), Decimal("NaN"), Decimal("1e999999"), Decimal("1e-999999")])
def test_a_decimal_out_of_the_world_is_refused_without_being_expanded(amount: Decimal) -> None:
    with pytest.raises(MoneyError):
        money.to_minor(amount, "EUR")


def test_amounts_are_written_with_the_places_of_their_currency() -> None:
    assert money.amount(1250, "EUR") == "12.50 EUR"
    assert money.amount(-5, "EUR") == "-0.05 EUR"
    assert money.amount(0, "EUR") == "0.00 EUR"
    assert money.amount(7, "JPY") == "7 JPY"
    assert money.amount(1, "CLF") == "0.0001 CLF"
    assert money.number(limits.AMOUNT_MINOR_UNITS_MAX, "KWD") == "1000000000000.000"


@given(
    st.integers(-limits.AMOUNT_MINOR_UNITS_MAX, limits.AMOUNT_MINOR_UNITS_MAX), st.sampled_from(["EUR", "JPY", "KWD"])
)
def test_written_and_read_again(minor: int, currency: str) -> None:
    assert money.to_minor(money.to_decimal(minor, currency), currency) == minor
    assert money.to_minor(Decimal(money.number(minor, currency)), currency) == minor


def test_iso_4217_is_complete_as_far_as_it_is_known() -> None:
    assert len(money.EXPONENTS) == sum(len(codes.split()) for codes in money._CODES.values())
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in money.EXPONENTS)
    assert {code for code, places in money.EXPONENTS.items() if places == 3} == {
        "BHD",
        "IQD",
        "JOD",
        "KWD",
        "LYD",
        "OMR",
        "TND",
    }


def test_the_unit_that_is_left_goes_to_the_largest_remainder_and_then_the_lowest_party() -> None:
    equal = {PartyId(3): 1, PartyId(1): 1, PartyId(2): 1}
    assert money.split(100, equal) == {1: 34, 2: 33, 3: 33}
    assert money.split(101, equal) == {1: 34, 2: 34, 3: 33}
    assert money.split(10, {PartyId(1): 686, PartyId(2): 1000, PartyId(3): 314}) == {1: 3, 2: 5, 3: 2}
    assert money.split(1, {PartyId(1): 1, PartyId(2): 2}) == {1: 0, 2: 1}
    assert money.split(5, {PartyId(1): 0, PartyId(2): 1}) == {1: 0, 2: 5}
    assert money.split(0, equal) == {1: 0, 2: 0, 3: 0}


def test_a_credit_takes_back_what_was_given() -> None:
    weights = {PartyId(1): 686, PartyId(2): 1000, PartyId(3): 315}
    given_out = money.split(997, weights)
    assert money.split(-997, weights) == {party: -minor for party, minor in given_out.items()}


@pytest.mark.parametrize("weights", [{}, {PartyId(1): 0}, {PartyId(1): 2, PartyId(2): -1}])
def test_what_is_no_split(weights: dict[PartyId, int]) -> None:
    with pytest.raises(MoneyError):
        money.split(100, weights)


@given(
    st.integers(0, 10**15),
    st.dictionaries(st.integers(0, 63).map(PartyId), st.integers(0, 2**32), min_size=1).filter(
        lambda weights: sum(weights.values()) > 0
    ),
)
def test_parts_add_up_and_none_is_a_unit_off(total: int, weights: dict[PartyId, int]) -> None:
    parts = money.split(total, weights)
    whole = sum(weights.values())
    assert sum(parts.values()) == total
    for party, minor in parts.items():
        assert total * weights[party] // whole <= minor <= -(-total * weights[party] // whole)


def test_part_of_a_month() -> None:
    assert money.pro_rata(3000, 15, 30) == 1500
    assert money.pro_rata(1000, 1, 3) == 333
    assert money.pro_rata(1000, 2, 3) == 667
    assert money.pro_rata(1, 1, 2) == 0  # a tie is the payer's
    assert money.pro_rata(1000, 0, 30) == 0
    assert money.pro_rata(1000, 30, 30) == 1000
    with pytest.raises(MoneyError):
        money.pro_rata(1000, 31, 30)
