"""Interval arithmetic on declared bounds, and the choice of a field (layer 3, no I/O).

What a plan may compute is decided before any row is read: from the bounds of the columns follow the bounds of every
expression, from the rows' bound those of every pooled sum, and from these the field.  A value that could leave the
widest field refuses the plan with the numbers in the message; silent wrong numbers cannot occur.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mpcd.errors import RangeTooWide
from mpcd.plan.nodes import (
    Add,
    Case,
    ColumnRef,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    LocalValue,
    Multiply,
    Negate,
    Part,
    Subtract,
    TruncateDivide,
)
from mpcd.results.shape import FieldName
from mpcd.roster.model import EPOCH

EXPRESSION_MAX: Final = 2**63 - 1
"""Every expression of a row stays within this in size."""
FIELD_LIMITS: Final[dict[FieldName, int]] = {"p": 2**60, "q": 2**126}
"""A pooled sum shared in a field stays below this in size, so that it is read back with its sign."""
_DAY_LOW: Final = (dt.date.min - EPOCH).days
_DAY_HIGH: Final = (dt.date.max - EPOCH).days


@dataclass(frozen=True, slots=True)
class Bounds:
    """All that an expression may be: an integer in [low, high], or NULL if nullable."""

    low: int
    high: int
    nullable: bool = False

    @property
    def count(self) -> int:
        """How many integers lie within."""
        return self.high - self.low + 1

    @property
    def size(self) -> int:
        """The largest absolute value."""
        return max(-self.low, self.high)


Columns = Callable[[ColumnRef], Bounds]
"""Bounds of a column; raises KeyError for one that does not exist."""


def bounds(expr: Expr, columns: Columns) -> Bounds:
    """What `expr` may be.

    Raises:
        RangeTooWide: some part of it could exceed 63 bits, divide by zero, or leave the calendar.
    """
    found = _bounds(expr, columns)
    if found.size > EXPRESSION_MAX:
        raise RangeTooWide(
            f"an expression could reach {found.size} from the declared bounds; at most {EXPRESSION_MAX} is computed"
        )
    return found


def _bounds(expr: Expr, columns: Columns) -> Bounds:
    match expr:
        case ColumnRef():
            return columns(expr)
        case Constant(value):
            return Bounds(value, value)
        case Negate(operand):
            inner = bounds(operand, columns)
            return Bounds(-inner.high, -inner.low, inner.nullable)
        case DatePart(part, operand):
            return _part(part, bounds(operand, columns))
        case Case(whens, otherwise):
            branches = [bounds(branch, columns) for _, branch in whens]
            if otherwise is not None:
                branches.append(bounds(otherwise, columns))
            nullable = otherwise is None or any(branch.nullable for branch in branches)
            return Bounds(min(b.low for b in branches), max(b.high for b in branches), nullable)
        case _:
            return _binary(expr, bounds(expr.left, columns), bounds(expr.right, columns))


def _binary(expr: Add | Subtract | Multiply | FloorDivide | TruncateDivide, left: Bounds, right: Bounds) -> Bounds:
    nullable = left.nullable or right.nullable
    match expr:
        case Add():
            return Bounds(left.low + right.low, left.high + right.high, nullable)
        case Subtract():
            return Bounds(left.low - right.high, left.high - right.low, nullable)
        case Multiply():
            product = multiply(left, right)
            return Bounds(product.low, product.high, nullable)
        case FloorDivide() | TruncateDivide():
            if right.low <= 0 <= right.high:
                raise RangeTooWide(
                    f"a division by an expression that may be zero (it lies in [{right.low}, {right.high}])"
                )
            divide = floor_divide if isinstance(expr, FloorDivide) else truncate_divide
            corners = [divide(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
            return Bounds(min(corners), max(corners), nullable)


def multiply(left: Bounds, right: Bounds) -> Bounds:
    """Bounds of a product of two expressions that are both not NULL."""
    corners = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    return Bounds(min(corners), max(corners))


def square(inner: Bounds) -> Bounds:
    """Bounds of a square, which is never negative."""
    low = 0 if inner.low <= 0 <= inner.high else min(inner.low**2, inner.high**2)
    return Bounds(low, inner.size**2)


def floor_divide(left: int, right: int) -> int:
    """Rounded towards minus infinity."""
    return left // right


def truncate_divide(left: int, right: int) -> int:
    """Rounded towards zero."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _part(part: Part, days: Bounds) -> Bounds:
    if not _DAY_LOW <= days.low <= days.high <= _DAY_HIGH:
        raise RangeTooWide("a date could leave the years 1 to 9999 from the declared bounds")
    low, high = EPOCH + dt.timedelta(days=days.low), EPOCH + dt.timedelta(days=days.high)
    if part == "year":
        return Bounds(low.year, high.year, days.nullable)
    if part in {"quarter", "month"} and low.year == high.year:
        return Bounds(date_part(part, days.low), date_part(part, days.high), days.nullable)
    full = {
        "quarter": (1, 4),
        "month": (1, 12),
        "day": (1, 31),
        "dayofweek": (0, 6),
        "isodow": (1, 7),
        "dayofyear": (1, 366),
    }
    return Bounds(*full[part], days.nullable)


def date_part(part: Part, days: int) -> int:
    """A part of the date `days` after 1970-01-01, as SQL counts it."""
    day = EPOCH + dt.timedelta(days=days)
    return {
        "year": day.year,
        "quarter": (day.month + 2) // 3,
        "month": day.month,
        "day": day.day,
        "dayofweek": day.isoweekday() % 7,
        "isodow": day.isoweekday(),
        "dayofyear": day.timetuple().tm_yday,
    }[part]


def contribution(value: LocalValue, columns: Columns) -> Bounds:
    """What one row that counts may add to `value`."""
    if value.kind == "count":
        return Bounds(0, 1)
    factors = [bounds(factor, columns) for factor in value.factors]
    if len(factors) == 1:
        return Bounds(factors[0].low, factors[0].high)
    return square(factors[0]) if value.factors[0] == value.factors[1] else multiply(*factors)


def pooled_size(low: int, high: int, rows_max: int) -> int:
    """The largest size of a sum of at most `rows_max` contributions in [low, high]."""
    return max(-low, high, 0) * rows_max


def field_for(low: int, high: int, rows_max: int) -> FieldName | None:
    """The narrowest field that holds every such sum; None if none does."""
    size = pooled_size(low, high, rows_max)
    for name, limit in FIELD_LIMITS.items():
        if size < limit:
            return name
    return None
