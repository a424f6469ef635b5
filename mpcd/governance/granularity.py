"""Columns that an owner publishes in steps: ages by five years, dates by month (pure).

    granularity = { age = 5, dx_date = "month", weight = 2.5 }

A number is published in steps of so many units, at multiples of the step; a date by `month`, `quarter` or `year`.
Filters and group keys may tell steps apart, never two values of one step; a join on such a column compares whole
values, so there is none.  Where a request cuts a column the planner says (`mpcd.plan.cuts`); this module says whether
those places are edges of steps, and if not, which are the nearest ones.

Steps do not make an answer safe by themselves: they take away the handle, a date or an age that is rare, by which a
cohort of one would be looked for.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, get_args

CutVerb = Literal["filter", "group", "join"]
Unit = Literal["month", "quarter", "year"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
_MONTHS: Final[dict[Unit, int]] = {"month": 1, "quarter": 3, "year": 12}
_EPOCH: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Fineness:
    """How finely a request tells apart the values of one column, by one verb.

    `cuts` are the stored forms c such that a row with c may be treated differently from one with c - 1; None means
    every value may be.  A declared granularity allows cuts at its own edges alone.
    """

    path: str
    """`table.column`."""
    verb: CutVerb
    type: str
    """The column's type in the roster: `integer`, `decimal`, `date`, `dictionary`, `boolean`."""
    scale: int
    """What a stored form is multiplied by; 1 except for decimals."""
    cuts: tuple[int, ...] | None
    """Ascending."""
    identifies: bool = False
    """Whether one value is told apart from all others, of a column in which no value occurs twice at one owner."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Multiples of a number."""

    size: Fraction
    """In the column's unit, above 0."""

    def fits(self, column_type: str) -> bool:
        """Whether a column of this type can be published so."""
        return column_type in {"integer", "decimal"}

    def edges(self, stored: int, scale: int) -> tuple[str, str] | None:
        """None if a step begins at `stored`; else the last edge before and the first after, as SQL writes them."""
        place = Fraction(stored, scale) / self.size
        if place.denominator == 1:
            return None
        below = place.numerator // place.denominator
        return _decimal(below * self.size), _decimal((below + 1) * self.size)

    def __str__(self) -> str:
        return f"in steps of {_decimal(self.size)}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Months, quarters or years."""

    unit: Unit

    def fits(self, column_type: str) -> bool:
        """Whether a column of this type can be published so."""
        return column_type == "date"

    def edges(self, stored: int, scale: int) -> tuple[str, str] | None:
        """None if a unit begins on the day `stored`; else the first days of its unit and of the next."""
        del scale
        day = _EPOCH + dt.timedelta(days=stored)
        months = _MONTHS[self.unit]
        first = (day.year * 12 + day.month - 1) // months * months
        if day == _first(first):
            return None
        return f"DATE '{_first(first)}'", f"DATE '{_first(first + months)}'"

    def __str__(self) -> str:
        return f"by {self.unit}"


Granularity = Steps | Calendar


def _first(month: int) -> dt.date:
    """The first day of the month that is `month` months after January of the year 0."""
    return min(dt.date.max, dt.date(min(month // 12, dt.MAXYEAR), month % 12 + 1, 1))


def _decimal(value: Fraction) -> str:
    """As SQL writes it; steps are decimals, and so are their multiples."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def too_fine(granularity: Granularity, fine: Fineness) -> str | None:
    """What is finer in the request than this owner publishes the column, and what to write; None if nothing is."""
    if fine.verb == "join":
        return "a join compares its whole values; join on another column"
    if fine.cuts is None:
        does = "groups" if fine.verb == "group" else "filters"
        return f"the request {does} by single values; write {_advice(granularity)} instead"
    for cut in fine.cuts:
        edges = granularity.edges(cut, fine.scale)
        if edges is not None:
            return f"the request begins a band at {_spoken(cut, fine)}; begin it at {edges[0]} or {edges[1]}"
    return None


def _advice(granularity: Granularity) -> str:
    if isinstance(granularity, Steps):
        return f"bands such as x // {_decimal(granularity.size)}"
    return {"month": "year(x), month(x)", "quarter": "year(x), quarter(x)", "year": "year(x)"}[granularity.unit]


def _spoken(cut: int, fine: Fineness) -> str:
    if fine.type == "date":
        return f"DATE '{_EPOCH + dt.timedelta(days=cut)}'"
    return _decimal(Fraction(cut, fine.scale))
