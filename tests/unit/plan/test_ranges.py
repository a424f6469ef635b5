from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.errors import RangeTooWide
from mpcd.plan.nodes import (
    Add,
    Case,
    ColumnRef,
    Compare,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    Multiply,
    Negate,
    Subtract,
    TruncateDivide,
)
from mpcd.plan.ranges import Bounds, bounds, date_part, field_for, square, truncate_divide

X, Y = ColumnRef(0, "x"), ColumnRef(0, "y")


def evaluate(expr: Expr, x: int, y: int) -> int:  # noqa: PLR0911
    match expr:
        case ColumnRef(_, name):
            return x if name == "x" else y
        case Constant(value):
            return value
        case Negate(operand):
            return -evaluate(operand, x, y)
        case Add(left, right):
            return evaluate(left, x, y) + evaluate(right, x, y)
        case Subtract(left, right):
            return evaluate(left, x, y) - evaluate(right, x, y)
        case Multiply(left, right):
            return evaluate(left, x, y) * evaluate(right, x, y)
        case FloorDivide(left, right):
            return evaluate(left, x, y) // evaluate(right, x, y)
        case TruncateDivide(left, right):
            return truncate_divide(evaluate(left, x, y), evaluate(right, x, y))
        case Case(whens, otherwise):
            (condition, result) = whens[0]
            assert isinstance(condition, Compare)
            assert otherwise is not None
            chosen = evaluate(condition.left, x, y) < evaluate(condition.right, x, y)
            return evaluate(result if chosen else otherwise, x, y)
        case DatePart(part, operand):
            return date_part(part, evaluate(operand, x, y))


LEAVES = st.one_of(st.just(X), st.just(Y), st.builds(Constant, st.integers(-9, 9)))
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Add, inner, inner),
        st.builds(Subtract, inner, inner),
        st.builds(Multiply, inner, inner),
        st.builds(Negate, inner),
        st.builds(FloorDivide, inner, inner),
        st.builds(TruncateDivide, inner, inner),
        st.builds(lambda a, b, c, d: Case(((Compare("<", a, b), c),), d), inner, inner, inner, inner),
        st.builds(lambda a: DatePart("month", a), inner),
        st.builds(lambda a: DatePart("isodow", a), inner),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.integers(-5, 5), st.integers(0, 5), st.integers(-5, 5), st.integers(0, 5))
def test_every_value_lies_within_the_bounds(expr: Expr, x: int, width: int, y: int, height: int) -> None:
    columns = {X: Bounds(x, x + width), Y: Bounds(y, y + height)}
    try:
        found = bounds(expr, columns.__getitem__)
    except RangeTooWide:
        return
    for a, b in itertools.product(range(x, x + width + 1), range(y, y + height + 1)):
        assert found.low <= evaluate(expr, a, b) <= found.high


def test_divisors_that_may_be_zero_are_refused() -> None:
    with pytest.raises(RangeTooWide, match="may be zero"):
        bounds(TruncateDivide(X, Y), {X: Bounds(1, 2), Y: Bounds(-1, 1)}.__getitem__)


def test_fields() -> None:
    assert field_for(0, 1, 2**60 - 1) == "p"
    assert field_for(0, 1, 2**60) == "q"
    assert field_for(-(2**63), 0, 2**63 - 1) == "q"
    assert field_for(-(2**63), 0, 2**63) is None
    assert field_for(5, 5, 0) == "p"


def test_square_is_never_negative() -> None:
    assert square(Bounds(-3, 2)) == Bounds(0, 9)
    assert square(Bounds(2, 3)) == Bounds(4, 9)
    assert square(Bounds(-3, -2)) == Bounds(4, 9)


def test_dates() -> None:
    assert date_part("year", -1) == 1969
    assert date_part("dayofweek", 3) == 0
    assert date_part("isodow", 3) == 7
    assert bounds(DatePart("month", X), {X: Bounds(0, 40)}.__getitem__) == Bounds(1, 2)
    assert bounds(DatePart("month", X), {X: Bounds(300, 400)}.__getitem__) == Bounds(1, 12)
    with pytest.raises(RangeTooWide, match="years"):
        bounds(DatePart("year", X), {X: Bounds(0, 2**40)}.__getitem__)
