"""Where the exact number lies, when what was opened carries noise: intervals through expressions (layer 1, no I/O).

An output of m opened values: each lies within its noise's half width at the level 1 - (1 - level)/m, so all of them
together do with at least the chance `level`, whatever their dependence (Bonferroni).  Interval arithmetic carries that
box through the expression, so the interval holds the exact output with at least that chance; often with more, since
interval arithmetic forgets that one value stands in two places.  Of a single value it is the noise's own interval.

There is no interval (None) where the expression has no bound: a division by what may be zero, a remainder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from mpcd.results.evaluate import Group, Number, rounded, to_double
from mpcd.results.shape import (
    Arithmetic,
    ArithmeticOperator,
    Coalesce,
    Expression,
    Function,
    Key,
    Linear,
    Moment,
    MomentName,
    Null,
    NullIf,
    Rational,
    Round,
    Text,
    Type,
    Value,
    value_indices,
    walk,
)
from mpcd.results.table import Interval

HalfWidth = Callable[[int, Fraction], int]
"""How far a value, by its index, is from the exact one with at least the chance given."""
LEVEL: Final = Fraction(95, 100)


class UnboundedError(Exception):
    """The expression may be anything."""


class _Span(NamedTuple):
    low: Number
    high: Number


def interval_of(
    group: Group, expression: Expression, kind: Type, half_width: HalfWidth, level: Fraction = LEVEL
) -> Interval | None:
    """The interval of one output in one cell; None if it has none, or needs none since no noise is in it.

    Args:
        group: the opened values of the cell, none suppressed.
        expression: the output's.
        kind: its type, to which the ends are rounded outwards.
        half_width: of the noise.
        level: the chance to hold the exact number.
    """
    used = {index for node in walk(expression) for index in value_indices(node)}
    if not used or kind.name not in {"integer", "decimal", "double"}:
        return None
    each = 1 - (1 - level) / len(used)
    try:
        span = _Spans(group, {index: half_width(index, each) for index in used}).of(expression)
    except UnboundedError:
        return None
    if not (math.isfinite(span.low) and math.isfinite(span.high)):
        return None
    return _outwards(span, kind)


def _outwards(span: _Span, kind: Type) -> Interval:
    if kind.name == "double":
        return Interval(to_double(span.low), to_double(span.high))
    if kind.name == "integer":
        return Interval(math.floor(span.low), math.ceil(span.high))
    unit = 10**kind.scale
    low, high = math.floor(Fraction(span.low) * unit), math.ceil(Fraction(span.high) * unit)
    return Interval(Decimal(low).scaleb(-kind.scale), Decimal(high).scaleb(-kind.scale))


class _Spans:
    """Interval arithmetic over one cell."""

    def __init__(self, group: Group, widths: dict[int, int]) -> None:
        self._group = group
        self._widths = widths

    def of(self, expression: Expression) -> _Span:
        match expression:
            case Value(index):
                return self._value(index)
            case Rational(numerator, denominator):
                return _point(Fraction(numerator, denominator))
            case Linear(terms):
                total = _point(Fraction(0))
                for term in terms:
                    factor = Fraction(term.numerator, term.denominator)
                    total = _add(total, _times(self._value(term.value), _point(factor)))
                return total
            case Moment(name, arguments):
                return _moment(name, [self.of(argument) for argument in arguments])
            case Key() | Text() | Null():
                return self._fixed(expression)
            case _:
                return self._compound(expression)

    def _value(self, index: int) -> _Span:
        found, width = self._group.value(index), self._widths[index]
        return _Span(found - width, found + width)

    def _fixed(self, expression: Expression) -> _Span:
        found = self._group.evaluate(expression)
        if not isinstance(found, (Fraction, float)):
            raise UnboundedError
        return _point(found)

    def _compound(self, expression: Arithmetic | Function | Round | Coalesce | NullIf) -> _Span:
        match expression:
            case Arithmetic(operator, left, right):
                return _arithmetic(operator, self.of(left), self.of(right))
            case Function(name, operand):
                return _function(name, self.of(operand))
            case Round(operand, digits, double):
                span = self.of(operand)
                return _Span(rounded(span.low, digits, double=double), rounded(span.high, digits, double=double))
            case Coalesce(parts):
                return self.of(next((part for part in parts if self._group.evaluate(part) is not None), parts[0]))
            case NullIf(left, _):
                return self.of(left)


def _arithmetic(operator: ArithmeticOperator, a: _Span, b: _Span) -> _Span:
    match operator:
        case "+":
            return _add(a, b)
        case "-":
            return _add(a, _negated(b))
        case "*":
            return _times(a, b)
        case "/":
            return _over(a, b)
        case "//":
            quotient = _over(a, b)
            return _Span(Fraction(math.trunc(quotient.low)), Fraction(math.trunc(quotient.high)))
        case "%":
            raise UnboundedError


def _point(value: Number) -> _Span:
    return _Span(value, value)


def _add(a: _Span, b: _Span) -> _Span:
    return _Span(a.low + b.low, a.high + b.high)


def _negated(a: _Span) -> _Span:
    return _Span(-a.high, -a.low)


def _times(a: _Span, b: _Span) -> _Span:
    products: list[Number] = [x * y for x in a for y in b]
    return _Span(min(products), max(products))


def _over(a: _Span, b: _Span) -> _Span:
    if b.low <= 0 <= b.high:
        raise UnboundedError
    quotients: list[Number] = [x / y for x in a for y in b]
    return _Span(min(quotients), max(quotients))


def _square(a: _Span) -> _Span:
    squares: list[Number] = [x * x for x in a]
    return _Span(Fraction(0) if a.low <= 0 <= a.high else min(squares), max(squares))


def _within(a: _Span, low: int, high: int | None = None) -> _Span:
    """What of the interval a statistic can be at all; where noise has left nothing of it, the nearest end."""
    top = math.inf if high is None else high
    return _Span(min(max(a.low, low), top), min(max(a.high, low), top))


def _root(a: _Span) -> _Span:
    a = _within(a, 0)
    return _Span(math.sqrt(a.low), math.sqrt(a.high))


def _function(name: str, a: _Span) -> _Span:
    match name:
        case "negate":
            return _negated(a)
        case "abs":
            sizes: list[Number] = [-x if x < 0 else x for x in a]
            return _Span(Fraction(0) if a.low <= 0 <= a.high else min(sizes), max(sizes))
        case "sqrt":
            return _root(a)
        case "floor":
            return _Span(Fraction(math.floor(a.low)), Fraction(math.floor(a.high)))
        case "ceil":
            return _Span(Fraction(math.ceil(a.low)), Fraction(math.ceil(a.high)))
        case _:
            return a


# ------------------------------------------------------------------------------------------------ moments


def _spread(n: _Span, x: _Span, y: _Span, xy: _Span) -> _Span:
    """Sum of (x - mean x)(y - mean y); of a square where x and y are the same interval."""
    product = _square(x) if x is y else _times(x, y)
    return _add(xy, _negated(_over(product, n)))


def _moment(name: MomentName, arguments: Sequence[_Span]) -> _Span:
    n, x = arguments[0], arguments[1]
    match name:
        case "sum":
            return x
        case "avg":
            return _over(x, n)
        case "var_samp" | "stddev_samp" | "var_pop" | "stddev_pop":
            spread = _within(_spread(n, x, x, arguments[2]), 0)
            variance = _over(spread, n if name.endswith("pop") else _add(n, _point(Fraction(-1))))
            return _root(variance) if name.startswith("stddev") else _within(variance, 0)
        case "covar_samp" | "covar_pop":
            spread = _spread(n, x, arguments[2], arguments[3])
            return _over(spread, n if name == "covar_pop" else _add(n, _point(Fraction(-1))))
        case _:
            return _regression(name, arguments)


def _regression(name: MomentName, arguments: Sequence[_Span]) -> _Span:
    n, x, y, xx, yy, xy = arguments
    across, along, up = _spread(n, x, y, xy), _spread(n, x, x, xx), _spread(n, y, y, yy)
    match name:
        case "regr_slope":
            return _over(across, along)
        case "regr_intercept":
            return _over(_add(y, _negated(_times(_over(across, along), x))), n)
        case "regr_r2":
            return _within(_over(_square(across), _times(along, up)), 0, 1)
        case _:
            return _within(_over(across, _root(_times(_within(along, 0), _within(up, 0)))), -1, 1)


__all__ = ["LEVEL", "HalfWidth", "Interval", "interval_of"]
