"""Typed numbers over integers: what a SQL expression is while it is planned (layer 3, no I/O).

A `Scalar` stands for `factor * expr + offset` with an integer expression and two rational constants.  Decimals, true
division by constants and unit changes live in the constants, so that rows are only ever asked for small integers, and
so that `x`, `x + 5` and `2 * x` are sums over the same column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.plan import ranges
from mpcd.plan.nodes import (
    Add,
    Case,
    Compare,
    CompareOperator,
    Constant,
    Expr,
    FloorDivide,
    InSet,
    Multiply,
    Pred,
    Subtract,
    TruncateDivide,
    Truth,
)

ScalarType = Literal["integer", "decimal", "double", "text", "date", "boolean", "null"]
NUMERIC: Final = frozenset({"integer", "decimal", "double"})
ONE: Final = Fraction(1)
ZERO: Final = Fraction(0)
FLIPPED: Final[dict[CompareOperator, CompareOperator]] = {
    "=": "=",
    "<>": "<>",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """The number `factor * expr + offset`, or the text `levels[expr]`, or a date or boolean in stored form.

    A constant has `expr` None: the number `offset`, the text `text`, or NULL.
    """

    type: ScalarType
    expr: Expr | None
    factor: Fraction = ONE
    offset: Fraction = ZERO
    scale: int = 0
    """Decimals, of type decimal."""
    levels: tuple[str, ...] = ()
    text: str = ""


NULL: Final = Scalar("null", None)


def number(value: Fraction, kind: ScalarType = "integer", scale: int = 0) -> Scalar:
    """A numeric constant."""
    return Scalar(kind, None, offset=value, scale=scale)


def integer(expr: Expr) -> Scalar:
    """An integer expression as it is."""
    return Scalar("integer", expr)


def spoken(scalar: Scalar) -> str:
    """What to call it in a message."""
    return {"null": "NULL", "text": "text", "date": "a date", "boolean": "a truth value"}.get(scalar.type, "a number")


def numeric(scalar: Scalar, where: str) -> Scalar:
    """The scalar, which must be a number; booleans are not, as in DuckDB."""
    if scalar.type not in NUMERIC:
        raise PlanInvalid(f"{where} needs a number, not {spoken(scalar)}")
    return scalar


def times(expr: Expr, factor: int) -> Expr:
    """expr * factor, without a multiplication by 1."""
    return expr if factor == 1 else Multiply(expr, Constant(factor))


def plus(expr: Expr, offset: int) -> Expr:
    """expr + offset, without an addition of 0."""
    return expr if offset == 0 else Add(expr, Constant(offset))


def unit(*parts: Fraction) -> Fraction:
    """The largest number of which all parts are integer multiples; 1 if all are zero."""
    denominator = math.lcm(*(part.denominator for part in parts))
    numerator = math.gcd(*(int(part * denominator) for part in parts))
    return Fraction(numerator, denominator) if numerator else ONE


def whole(scalar: Scalar) -> tuple[Expr, Fraction]:
    """An integer expression and the unit it counts: the scalar is their product."""
    if scalar.expr is None:
        return Constant(scalar.offset.numerator), Fraction(1, scalar.offset.denominator)
    step = unit(scalar.factor, scalar.offset)
    return plus(times(scalar.expr, int(scalar.factor / step)), int(scalar.offset / step)), step


def whole_in(scalar: Scalar, step: Fraction) -> Expr:
    """An integer expression that counts `step`, which must divide the scalar."""
    if scalar.expr is None:
        return Constant(_exact(scalar.offset / step))
    expr, own = whole(scalar)
    return times(expr, _exact(own / step))


def _exact(value: Fraction) -> int:
    assert value.denominator == 1
    return value.numerator


def integer_of(scalar: Scalar, where: str) -> Expr:
    """The integer expression of an integer scalar."""
    if scalar.type != "integer":
        raise PlanUnsupported(f"{where} is answered for integers only")
    return whole_in(scalar, ONE)


# ------------------------------------------------------------------------------------------------ arithmetic


def _result(left: Scalar, right: Scalar, scale: int) -> tuple[ScalarType, int]:
    if "double" in (left.type, right.type):
        return "double", 0
    return ("decimal", scale) if "decimal" in (left.type, right.type) else ("integer", 0)


def add(left: Scalar, right: Scalar) -> Scalar:
    """left + right of two numbers, or a date and a number of days."""
    if "date" in (left.type, right.type):
        return _shift(left, right) if left.type == "date" else _shift(right, left)
    numeric(left, "+")
    numeric(right, "+")
    kind, scale = _result(left, right, max(left.scale, right.scale))
    offset = left.offset + right.offset
    if left.expr is None or right.expr is None:
        kept = left if right.expr is None else right
        return Scalar(kind, kept.expr, kept.factor, offset, scale)
    step = unit(left.factor, right.factor)
    a, b = int(left.factor / step), int(right.factor / step)
    if a < 0 <= b:
        return Scalar(kind, Subtract(times(right.expr, b), times(left.expr, -a)), step, offset, scale)
    if b < 0:
        return Scalar(kind, Subtract(times(left.expr, a), times(right.expr, -b)), step, offset, scale)
    return Scalar(kind, Add(times(left.expr, a), times(right.expr, b)), step, offset, scale)


def _shift(date: Scalar, days: Scalar) -> Scalar:
    if days.type != "integer":
        raise PlanInvalid("a date moves by a whole number of days")
    moved = add(replace(date, type="integer"), days)
    return replace(moved, type="date")


def negate(operand: Scalar) -> Scalar:
    """-operand."""
    numeric(operand, "-")
    return replace(operand, factor=-operand.factor, offset=-operand.offset)


def subtract(left: Scalar, right: Scalar) -> Scalar:
    """left - right; of two dates, the days between them."""
    if left.type == right.type == "date":
        return subtract(replace(left, type="integer"), replace(right, type="integer"))
    if right.type == "date":
        raise PlanInvalid("a date can be subtracted from a date alone")
    return add(left, negate(right))


def multiply(left: Scalar, right: Scalar) -> Scalar:
    """left * right."""
    numeric(left, "*")
    numeric(right, "*")
    kind, scale = _result(left, right, left.scale + right.scale)
    if left.expr is None or right.expr is None:
        other, constant = (right, left.offset) if left.expr is None else (left, right.offset)
        if constant == 0 and other.expr is not None:
            return Scalar(kind, Multiply(other.expr, Constant(0)), scale=scale)
        return Scalar(
            kind,
            other.expr,
            other.factor * constant,
            other.offset * constant,
            scale,
        )
    (a, a_step), (b, b_step) = whole(left), whole(right)
    return Scalar(kind, Multiply(a, b), a_step * b_step, ZERO, scale)


def divide(left: Scalar, right: Scalar) -> Scalar:
    """left / right, exact; right must be a constant other than zero."""
    numeric(left, "/")
    numeric(right, "/")
    if right.expr is not None:
        raise PlanUnsupported(
            "within a row only a constant may divide; divide aggregates instead, such as SUM(x) / SUM(y)"
        )
    if right.offset == 0:
        raise PlanInvalid("division by zero")
    return Scalar("double", left.expr, left.factor / right.offset, left.offset / right.offset)


def truncate_divide(left: Scalar, right: Scalar) -> Scalar:
    """left // right of integers, towards zero as in DuckDB."""
    return integer(TruncateDivide(*_dividable(left, right, "//")))


def modulo(left: Scalar, right: Scalar) -> Scalar:
    """left % right of integers, with the sign of left as in DuckDB."""
    a, b = _dividable(left, right, "%")
    return integer(Subtract(a, Multiply(TruncateDivide(a, b), b)))


def _dividable(left: Scalar, right: Scalar, sign: str) -> tuple[Expr, Expr]:
    if right.expr is not None:
        raise PlanUnsupported(f"within a row {sign} is answered for constant divisors only")
    if right.type == "integer" and right.offset == 0:
        raise PlanInvalid(f"{sign} by zero")
    return integer_of(left, sign), integer_of(right, sign)


def floor(operand: Scalar) -> Scalar:
    """FLOOR: of a decimal a decimal without decimals, else a double, as in DuckDB."""
    numeric(operand, "FLOOR")
    kind: ScalarType = "decimal" if operand.type == "decimal" else "double"
    if operand.expr is None:
        return number(Fraction(math.floor(operand.offset)), kind)
    expr, step = whole(operand)
    if step.denominator == 1:
        return replace(operand, type=kind, scale=0)
    return Scalar(kind, FloorDivide(times(expr, step.numerator), Constant(step.denominator)))


def ceil(operand: Scalar) -> Scalar:
    """CEIL: -FLOOR(-x)."""
    return negate(floor(negate(operand)))


def truncate(operand: Scalar) -> Scalar:
    """TRUNC: towards zero."""
    numeric(operand, "TRUNC")
    if operand.expr is None:
        return number(Fraction(math.trunc(operand.offset)), operand.type)
    expr, step = whole(operand)
    if step.denominator == 1:
        return operand
    return Scalar(operand.type, TruncateDivide(times(expr, step.numerator), Constant(step.denominator)))


def round_half_away(operand: Scalar, digits: int) -> Scalar:
    """ROUND to `digits` decimals, half away from zero."""
    numeric(operand, "ROUND")
    goal = Fraction(10) ** -digits
    if operand.expr is None:
        scaled = abs(operand.offset / goal) + Fraction(1, 2)
        rounded = Fraction(math.floor(scaled)) * goal
        return replace(operand, offset=rounded if operand.offset >= 0 else -rounded)
    expr, step = whole(operand)
    ratio = step / goal
    if ratio.denominator == 1:
        return operand
    half = ratio.denominator
    twice = times(expr, 2 * ratio.numerator)
    up = TruncateDivide(Add(twice, Constant(half)), Constant(2 * half))
    down = TruncateDivide(Subtract(twice, Constant(half)), Constant(2 * half))
    rounded_expr = Case(((Compare("<", expr, Constant(0)), down),), up)
    kind = operand.type
    return Scalar(kind, rounded_expr, goal, ZERO, min(operand.scale, max(digits, 0)))


def absolute(operand: Scalar) -> Scalar:
    """ABS."""
    numeric(operand, "ABS")
    if operand.expr is None:
        return replace(operand, offset=abs(operand.offset))
    expr, step = whole(operand)
    negative = Multiply(expr, Constant(-1))
    return Scalar(operand.type, Case(((Compare("<", expr, Constant(0)), negative),), expr), step, ZERO, operand.scale)


# ------------------------------------------------------------------------------------------------ comparison


def compare(op: CompareOperator, left: Scalar, right: Scalar, columns: ranges.Columns) -> Pred:
    """left op right of two numbers, dates or truth values, exactly; NULL where either is NULL."""
    if "null" in (left.type, right.type):
        return Truth(None)
    if left.expr is None and right.expr is None:
        return Truth(_holds(op, left.offset, right.offset))
    if left.expr is None:
        return compare(FLIPPED[op], right, left, columns)
    if right.expr is None:
        bound = (right.offset - left.offset) / left.factor if left.factor else None
        if bound is None:
            return _constant(left.expr, holds=_holds(op, left.offset, right.offset))
        return compare_constant(op if left.factor > 0 else FLIPPED[op], left.expr, bound, columns)
    step = unit(left.factor, left.offset, right.factor, right.offset)
    return Compare(op, whole_in(left, step), whole_in(right, step))


def compare_constant(op: CompareOperator, expr: Expr, bound: Fraction, columns: ranges.Columns) -> Pred:
    """Expr op bound, where the bound need not be an integer and may lie far outside what the expression can be."""
    found = ranges.bounds(expr, columns)
    if op in {"=", "<>"}:
        if bound.denominator != 1 or not found.low <= bound <= found.high:
            return _constant(expr, holds=op == "<>")
        return Compare(op, expr, Constant(int(bound)))
    nearest = math.ceil(bound) if op in {"<", ">="} else math.floor(bound)
    return Compare(op, expr, Constant(min(max(nearest, found.low - 1), found.high + 1)))


def _constant(expr: Expr, *, holds: bool) -> Pred:
    """TRUE or FALSE unless the expression is NULL, then NULL."""
    return Compare("=" if holds else "<>", expr, expr)


def _holds(op: CompareOperator, left: Fraction, right: Fraction) -> bool:
    return {
        "=": left == right,
        "<>": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[op]


def one_of(expr: Expr, indices: set[int], count: int) -> Pred:
    """Whether a code is one of `indices` out of `count`."""
    if not indices or len(indices) == count:
        return _constant(expr, holds=bool(indices))
    if len(indices) == 1:
        return Compare("=", expr, Constant(*indices))
    return InSet(expr, tuple(sorted(indices)))
