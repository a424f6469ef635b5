"""Expressions and conditions of a shape, over one cell (layer 1, no I/O).

A number is an exact `Fraction` until something makes it a float: a square root, a division by zero, a rounding that
SQL does in floating point.  A suppressed value makes everything suppressed that needs it; nothing is guessed from it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from mpcd.results.moments import Result, square_root, statistic
from mpcd.results.shape import (
    Arithmetic,
    ArithmeticOperator,
    Coalesce,
    Comparison,
    ComparisonOperator,
    Condition,
    Conjunction,
    Disjunction,
    Expression,
    Function,
    FunctionName,
    Key,
    Known,
    Linear,
    Missing,
    Moment,
    Negation,
    Null,
    NullIf,
    Rational,
    Round,
    Text,
    Value,
)
from mpcd.results.table import STATUS_EMPTY, STATUS_RELEASED, STATUS_RULES, Rule, Suppressed

Number = Fraction | float
Evaluated = Number | str | bool | dt.date | None
"""None is NULL."""
_SEVERITY: Final[tuple[Rule, ...]] = ("floor", "min_owners", "dominance", "complement")


class SuppressedValueError(Exception):
    """A value that the expression needs was not opened."""

    def __init__(self, suppressed: Suppressed) -> None:
        super().__init__(suppressed.rule)
        self.suppressed = suppressed


class Group:
    """The opened values and the labels of one cell."""

    __slots__ = ("_labels", "_statuses", "_value_gates", "_values")

    def __init__(
        self,
        labels: Sequence[Evaluated],
        statuses: Sequence[int],
        values: Sequence[int],
        value_gates: Sequence[int],
    ) -> None:
        self._labels = labels
        self._statuses = statuses
        self._values = values
        self._value_gates = value_gates

    def value(self, index: int) -> Fraction:
        """A pooled value; zero where no row is behind it; raises `SuppressedValueError`."""
        status = self._statuses[self._value_gates[index]]
        if status == STATUS_RELEASED:
            return Fraction(self._values[index])
        if status == STATUS_EMPTY:
            return Fraction(0)
        raise SuppressedValueError(Suppressed(STATUS_RULES[status]))

    # -------------------------------------------------------------------------------------------- expressions

    def evaluate(self, expression: Expression) -> Evaluated:
        """The value of an expression; raises `SuppressedValueError`."""
        match expression:
            case Value(index):
                return self.value(index)
            case Key(index):
                return self._labels[index]
            case Rational(numerator, denominator):
                return Fraction(numerator, denominator)
            case Linear(terms):
                total = Fraction(0)
                for term in terms:
                    total += self.value(term.value) * Fraction(term.numerator, term.denominator)
                return total
            case Text(text):
                return text
            case Null():
                return None
            case Moment(name, arguments):
                return self._moment(name, arguments)
            case _:
                return self._compound(expression)

    def _compound(self, expression: Arithmetic | Function | Round | Coalesce | NullIf) -> Evaluated:
        match expression:
            case Arithmetic(operator, left, right):
                a, b = self._all(left, right)
                return None if a is None or b is None else arithmetic(operator, _number(a), _number(b))
            case Function(name, operand):
                value = self.evaluate(operand)
                return None if value is None else function(name, _number(value))
            case Round(operand, digits, double):
                value = self.evaluate(operand)
                return None if value is None else rounded(_number(value), digits, double=double)
            case Coalesce(parts):
                return next((value for value in self._all(*parts) if value is not None), None)
            case NullIf(left, right):
                a, b = self._all(left, right)
                return None if a is not None and b is not None and a == b else a

    def _all(self, *expressions: Expression) -> list[Evaluated]:
        """All values; where several are suppressed, the first rule in a fixed order is named."""
        found: list[Evaluated] = []
        rules: set[Rule] = set()
        for expression in expressions:
            try:
                found.append(self.evaluate(expression))
            except SuppressedValueError as error:
                rules.add(error.suppressed.rule)
        if rules:
            raise SuppressedValueError(Suppressed(next(rule for rule in _SEVERITY if rule in rules)))
        return found

    def _moment(self, name: str, arguments: Sequence[Expression]) -> Result:
        sums = [value for value in self._all(*arguments) if isinstance(value, Fraction)]
        assert len(sums) == len(arguments)
        return statistic(name, sums)  # type: ignore[arg-type]

    # -------------------------------------------------------------------------------------------- conditions

    def holds(self, condition: Condition) -> bool | None:
        """TRUE, FALSE or None for unknown; raises `SuppressedValueError` where the answer hangs on what is not open."""
        match condition:
            case Known(truth):
                return truth
            case Missing(operand):
                return self.evaluate(operand) is None
            case Comparison(operator, left, right):
                a, b = self._all(left, right)
                return None if a is None or b is None else compare(operator, a, b)
            case Negation(part):
                inner = self.holds(part)
                return None if inner is None else not inner
            case Conjunction(parts):
                return self._connected(parts, deciding=False)
            case Disjunction(parts):
                return self._connected(parts, deciding=True)

    def _connected(self, parts: Sequence[Condition], *, deciding: bool) -> bool | None:
        """AND (deciding FALSE) or OR (deciding TRUE): one deciding part settles it, suppressed parts or not."""
        unknown = False
        suppressed: SuppressedValueError | None = None
        for part in parts:
            try:
                truth = self.holds(part)
            except SuppressedValueError as error:
                suppressed = suppressed or error
                continue
            if truth is deciding:
                return deciding
            unknown = unknown or truth is None
        if suppressed is not None:
            raise suppressed
        return None if unknown else not deciding


def _number(value: Evaluated) -> Number:
    assert isinstance(value, (Fraction, float)), "the planner types its expressions"
    return value


def arithmetic(operator: ArithmeticOperator, left: Number, right: Number) -> Result:
    """Left operator right; `/` by zero is infinite or NaN as for doubles, `//` and `%` by zero are NULL."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return _divided(left, right)
        case "//":
            return Fraction(math.trunc(left / right)) if right else None
        case "%":
            return _remainder(left, right)


def _remainder(left: Number, right: Number) -> Result:
    if not right:
        return None
    if not (math.isfinite(left) and math.isfinite(right)):
        return math.nan
    dividend, divisor = Fraction(left), Fraction(right)
    quotient = abs(dividend) // abs(divisor) * abs(divisor)
    return dividend - quotient if dividend >= 0 else dividend + quotient


def _divided(left: Number, right: Number) -> Number:
    if right == 0:
        if left == 0 or math.isnan(left):
            return math.nan
        negative = (left < 0) != (isinstance(right, float) and math.copysign(1.0, right) < 0)
        return -math.inf if negative else math.inf
    return left / right


def function(name: FunctionName, operand: Number) -> Result:
    """A function of one number."""
    if name == "negate":
        return -operand
    if name == "abs":
        return -operand if operand < 0 else operand
    if name == "double":
        return to_double(operand)
    if name == "sqrt":
        if isinstance(operand, Fraction):
            return square_root(operand) if operand >= 0 else math.nan
        return math.sqrt(operand) if operand >= 0 else math.nan
    if not math.isfinite(operand):
        return operand
    return Fraction(math.floor(operand) if name == "floor" else math.ceil(operand))


def rounded(value: Number, digits: int, *, double: bool) -> Number:
    """Half away from zero; a double is multiplied, rounded and divided in floating point, as engines do."""
    if isinstance(value, Fraction) and not double:
        unit = Fraction(10) ** -digits
        magnitude = math.floor(abs(value) / unit + Fraction(1, 2)) * unit
        return magnitude if value >= 0 else -magnitude
    number = to_double(value)
    factor = 10.0 ** abs(digits)
    scaled = number * factor if digits >= 0 else number / factor
    if not math.isfinite(scaled):
        return number
    whole = float(math.floor(abs(scaled)))
    whole += 1.0 if abs(scaled) - whole >= 0.5 else 0.0
    return math.copysign(whole / factor if digits >= 0 else whole * factor, number)


def to_double(value: Number) -> float:
    """The nearest double; infinite beyond their range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def compare(operator: ComparisonOperator, left: Evaluated, right: Evaluated) -> bool:
    """Left operator right, neither NULL; text by its bytes, NaN as the greatest number, as in DuckDB."""
    a, b = order_key(left), order_key(right)
    match operator:
        case "=":
            return a == b
        case "<>":
            return a != b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b


def order_key(value: Evaluated) -> tuple[int, Number | bytes | int]:
    """A sort key for values of one type, none NULL."""
    match value:
        case bool():
            return (0, int(value))
        case str():
            return (0, value.encode())
        case dt.date():
            return (0, value.toordinal())
        case None:
            raise AssertionError("NULLs are ordered by the caller")
        case _:
            return (1, 0) if isinstance(value, float) and math.isnan(value) else (0, value)
