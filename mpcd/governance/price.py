"""What a licence costs: price plans, the price of one query, and the fees of one month (pure).

    per_query       for each completed query beyond the free ones
    free_queries    so many completed queries cost nothing, in each month or in the whole term (`free_period`)
    per_month       for each month in which the licence was used, that is, in which at least one query completed
    max_per_month   ceiling of what use costs in one month: `per_month` in full, and `per_query` charges up to the rest;
                    the rest is the same in a month of which the licence was in force for a part only (`queries_max`)
    flat_fee        whether used or not: once when the licence is accepted (`one-off`), for every month in force
                    (`monthly`), or on the day of acceptance and every anniversary in force (`annual`)

Months are those of the UTC calendar.  A month of which the licence was in force for a part only is charged by its days,
each begun day counting whole (`money.pro_rata`): that is how monthly fees end when a licence expires or is revoked.
One-off and annual fees are owed in full when they fall due; giving one back is a correction, a signed credit entry.

The price of a query is decided when it is asked, from counters that the same transaction moves; what the analyst signs
is that price, and the receipt states it.  Fees of a month follow from the agreement, its end and the receipts.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.governance import money
from mpcd.governance.money import MoneyError

RateClass = Literal["standard", "reduced"]
RATE_CLASSES: Final[tuple[RateClass, ...]] = get_args(RateClass)
FlatPeriod = Literal["one-off", "monthly", "annual"]
FLAT_PERIODS: Final[tuple[FlatPeriod, ...]] = get_args(FlatPeriod)
FreePeriod = Literal["month", "term"]
FREE_PERIODS: Final[tuple[FreePeriod, ...]] = get_args(FreePeriod)
FeeKind = Literal["per_month", "flat_fee"]

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_DAY_MS: Final = 86_400_000


# ------------------------------------------------------------------------------------------------ months


class Month(NamedTuple):
    """A month of the UTC calendar."""

    year: int
    month: int

    @classmethod
    def of(cls, at_ms: int) -> Self:
        """The month of a moment, milliseconds since 1970, UTC."""
        day = day_of(at_ms)
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, written: str) -> Self:
        """The month that `2026-11` names; raises `ValueError`."""
        found = _MONTH.fullmatch(written)
        if found is None or found[1] == "0000":
            raise ValueError(f"`{written[:20]}` is no month; write it as 2026-11")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def following(self) -> Month:
        """The month after this one."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def start_ms(self) -> int:
        """Its first moment."""
        return start_of(dt.date(self.year, self.month, 1))

    @property
    def end_ms(self) -> int:
        """The first moment of the next."""
        return self.following.start_ms

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end_ms - self.start_ms) // _DAY_MS


def day_of(at_ms: int) -> dt.date:
    """The UTC date of a moment, milliseconds since 1970."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=at_ms // _DAY_MS)


def start_of(day: dt.date) -> int:
    """The first moment of a UTC date, milliseconds since 1970."""
    return (day - dt.date(1970, 1, 1)).days * _DAY_MS


def days_in_force(month: Month, since_ms: int, until_ms: int) -> int:
    """Days of `month` of which some moment lies in `since_ms <= t < until_ms`."""
    first, end = max(since_ms, month.start_ms), min(until_ms, month.end_ms)
    return (end - 1) // _DAY_MS - first // _DAY_MS + 1 if first < end else 0


# ------------------------------------------------------------------------------------------------ plans


@dataclass(frozen=True, slots=True)
class Rate:
    """Prices for one class of licensee, in minor units of the plan's currency."""

    per_query: int = 0
    per_month: int = 0
    flat_fee: int = 0
    flat_period: FlatPeriod = "one-off"
    max_per_month: int | None = None
    free_queries: int = 0
    free_period: FreePeriod = "month"

    def __post_init__(self) -> None:
        for minor in (self.per_query, self.per_month, self.flat_fee, self.max_per_month or 0):
            if money.checked(minor) < 0:
                raise MoneyError("a price is not negative")
        if not 0 <= self.free_queries <= limits.FREE_QUERIES_MAX:
            raise MoneyError(f"free_queries is between 0 and {limits.FREE_QUERIES_MAX}")
        if self.flat_period not in FLAT_PERIODS:
            raise MoneyError(f"a flat fee is due {', '.join(FLAT_PERIODS)}; not `{self.flat_period}`")
        if self.free_period not in FREE_PERIODS:
            raise MoneyError(f"free queries are granted per {' or per '.join(FREE_PERIODS)}; not `{self.free_period}`")
        if self.max_per_month is not None and self.max_per_month < self.per_month:
            raise MoneyError("max_per_month is below per_month, which alone would pass it")

    @property
    def queries_max(self) -> int | None:
        """What queries of one month cost at most together."""
        return None if self.max_per_month is None else self.max_per_month - self.per_month

    @property
    def paid(self) -> bool:
        """Whether anything is ever owed."""
        return self.flat_fee > 0 or (self.max_per_month != 0 and max(self.per_query, self.per_month) > 0)

    def to_value(self) -> dict[str, canonical.Value]:
        """As it stands in signed objects."""
        return {name: getattr(self, name) for name in _RATE_FIELDS}

    @classmethod
    def from_value(cls, value: canonical.Value) -> Self:
        """The inverse of `to_value`; raises `MoneyError`."""
        if not isinstance(value, dict) or value.keys() != _RATE_FIELDS.keys():
            raise MoneyError(f"a rate has the fields {', '.join(_RATE_FIELDS)}")
        for name, kinds in _RATE_FIELDS.items():
            if type(value[name]) not in kinds:
                raise MoneyError(f"the rate's `{name}` has the wrong type")
        return cls(
            per_query=cast("int", value["per_query"]),
            per_month=cast("int", value["per_month"]),
            flat_fee=cast("int", value["flat_fee"]),
            flat_period=cast("FlatPeriod", value["flat_period"]),
            max_per_month=cast("int | None", value["max_per_month"]),
            free_queries=cast("int", value["free_queries"]),
            free_period=cast("FreePeriod", value["free_period"]),
        )


_RATE_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "per_query": (int,),
    "per_month": (int,),
    "flat_fee": (int,),
    "flat_period": (str,),
    "max_per_month": (int, type(None)),
    "free_queries": (int,),
    "free_period": (str,),
}


@dataclass(frozen=True, slots=True)
class PricePlan:
    """One currency, the standard rate, and perhaps a reduced one."""

    currency: str
    standard: Rate
    reduced: Rate | None = None
    """For individual researchers and small institutions, where the owner grants the class."""

    def __post_init__(self) -> None:
        money.exponent(self.currency)

    @property
    def paid(self) -> bool:
        """Whether any class ever owes anything."""
        return self.standard.paid or (self.reduced is not None and self.reduced.paid)

    def rate(self, rate_class: RateClass) -> Rate:
        """The rate of a class; raises `MoneyError` if the plan has none for it."""
        if rate_class == "standard":
            return self.standard
        if self.reduced is None:
            raise MoneyError("this offer has no reduced rate")
        return self.reduced

    def to_value(self) -> dict[str, canonical.Value]:
        """As it stands in signed objects."""
        return {
            "currency": self.currency,
            "standard": self.standard.to_value(),
            "reduced": None if self.reduced is None else self.reduced.to_value(),
        }

    @classmethod
    def from_value(cls, value: canonical.Value) -> Self:
        """The inverse of `to_value`; raises `MoneyError`."""
        if not isinstance(value, dict) or value.keys() != {"currency", "standard", "reduced"}:
            raise MoneyError("a price plan has the fields currency, standard and reduced")
        currency, reduced = value["currency"], value["reduced"]
        if not isinstance(currency, str):
            raise MoneyError("a currency is written as its three capital letters")
        return cls(currency, Rate.from_value(value["standard"]), None if reduced is None else Rate.from_value(reduced))


# ------------------------------------------------------------------------------------------------ prices


@dataclass(frozen=True, slots=True)
class Counters:
    """What one licence has used so far; the query that is being priced is in neither."""

    free_used: int
    """Queries in the rate's free period: in this month, or in the whole term."""
    charged: int
    """Minor units charged for single queries in this month."""


@dataclass(frozen=True, slots=True)
class QueryPrice:
    """The price of one query, in minor units, and why it is that."""

    minor: int
    free: bool = False
    """One of the free queries."""
    capped: bool = False
    """Less than `per_query`, because of the monthly maximum."""


def price_query(rate: Rate, counters: Counters) -> QueryPrice:
    """What one more query costs at `rate`."""
    assert counters.free_used >= 0
    assert counters.charged >= 0
    if counters.free_used < rate.free_queries:
        return QueryPrice(0, free=True)
    if rate.queries_max is None:
        return QueryPrice(rate.per_query)
    room = max(rate.queries_max - counters.charged, 0)
    return QueryPrice(min(rate.per_query, room), capped=room < rate.per_query)


@dataclass(frozen=True, slots=True)
class Fee:
    """One fee that falls due in a month without a query of its own."""

    kind: FeeKind
    minor: int
    days: int
    """Of the month, for which it is owed; 0 for a fee that does not go by days."""


def month_fees(rate: Rate, month: Month, *, accepted_ms: int, until_ms: int, used: bool) -> list[Fee]:
    """The fees of one licence for one month, besides its queries; those of nothing are left out.

    Args:
        rate: the licensee's.
        month: whose fees.
        accepted_ms: when the licence came into force.
        until_ms: when it ends: its term, or its revocation if that came first.
        used: whether a query under the licence completed in the month.
    """
    days = days_in_force(month, accepted_ms, until_ms)
    fees: list[Fee] = []
    if used:
        # A query completes in force or, released as owed, just after: a month of none is still a day of use.
        fees.append(Fee("per_month", money.pro_rata(rate.per_month, max(days, 1), month.days), max(days, 1)))
    if rate.flat_period == "monthly":
        fees.append(Fee("flat_fee", money.pro_rata(rate.flat_fee, days, month.days), days))
    else:
        due = _dues(rate.flat_period, month, accepted_ms, until_ms)
        fees.append(Fee("flat_fee", rate.flat_fee * due, 0))
    return [fee for fee in fees if fee.minor]


def _dues(period: FlatPeriod, month: Month, accepted_ms: int, until_ms: int) -> int:
    """How often a one-off or annual fee falls due in `month`: once, or not at all."""
    accepted = day_of(accepted_ms)
    if until_ms <= accepted_ms or month.month != accepted.month or month.year < accepted.year:
        return 0
    if month.year == accepted.year:
        return 1
    anniversary = dt.date(month.year, month.month, min(accepted.day, month.days))
    return int(period == "annual" and start_of(anniversary) < until_ms)
