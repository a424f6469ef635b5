"""Intervals hold the exact output: for single values exactly, through expressions always, on random cells."""

from __future__ import annotations

import csv
import io
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from mpcd.results import render
from mpcd.results.evaluate import Group
from mpcd.results.finish import finish
from mpcd.results.interval import interval_of
from mpcd.results.shape import (
    DOUBLE,
    INTEGER,
    TEXT,
    Arithmetic,
    Coalesce,
    Expression,
    Function,
    Key,
    KeyShape,
    Linear,
    Moment,
    MomentName,
    Null,
    NullIf,
    Output,
    Rational,
    Round,
    Shape,
    Term,
    Text,
    Type,
    Value,
    ValueShape,
)

WIDTHS = [4, 40, 400, 50, 500, 450]


def width(index: int, level: Fraction) -> int:
    assert Fraction(95, 100) <= level < 1
    return WIDTHS[index]


def group(values: list[int]) -> Group:
    return Group(["x"], [0], values, [0] * len(values))


def test_a_single_value_has_the_interval_of_its_noise() -> None:
    assert interval_of(group([10]), Value(0), INTEGER, width) == (6, 14)
    asked: list[Fraction] = []

    def noting(index: int, level: Fraction) -> int:
        asked.append(level)
        return WIDTHS[index]

    interval_of(group([10]), Value(0), INTEGER, noting)
    interval_of(group([10, 20]), Arithmetic("+", Value(0), Value(1)), INTEGER, noting)
    assert asked == [Fraction(95, 100), Fraction(975, 1000), Fraction(975, 1000)]


@pytest.mark.parametrize(
    ("expression", "kind", "expected"),
    [
        (Arithmetic("-", Value(1), Value(0)), INTEGER, (10 - 44, 10 + 44)),
        (Arithmetic("*", Value(0), Rational(-2)), INTEGER, (-28, -12)),
        (Arithmetic("/", Rational(100), Value(0)), DOUBLE, (100 / 14, 100 / 6)),
        (Arithmetic("//", Rational(100), Value(0)), INTEGER, (7, 16)),
        (Arithmetic("%", Value(0), Rational(3)), INTEGER, None),
        (Arithmetic("/", Value(0), Value(1)), DOUBLE, None),
        (Linear((Term(0, 1, 2),)), Type("decimal", 1), (Decimal("3.0"), Decimal("7.0"))),
        (Linear((Term(0, 1, 3),)), Type("decimal", 1), (Decimal("2.0"), Decimal("4.7"))),
        (Function("negate", Value(0)), INTEGER, (-14, -6)),
        (Function("abs", Value(1)), INTEGER, (0, 60)),
        (Function("sqrt", Value(1)), DOUBLE, (0.0, math.sqrt(60))),
        (Function("floor", Linear((Term(0, 1, 4),))), Type("decimal"), (Decimal(1), Decimal(3))),
        (Function("ceil", Linear((Term(0, 1, 4),))), Type("decimal"), (Decimal(2), Decimal(4))),
        (Function("double", Value(0)), DOUBLE, (6.0, 14.0)),
        (Round(Linear((Term(0, 1, 4),)), 0, double=False), INTEGER, (2, 4)),
        (Coalesce((Null(), Value(0))), INTEGER, (6, 14)),
        (NullIf(Value(0), Rational(3)), INTEGER, (6, 14)),
        (Key(0), TEXT, None),
        (Rational(3), INTEGER, None),
        (Text("x"), TEXT, None),
    ],
)
def test_expressions(expression: Expression, kind: Type, expected: tuple[object, object] | None) -> None:
    assert interval_of(group([10, 20]), expression, kind, width) == expected


MOMENTS: dict[MomentName, list[int]] = {
    "sum": [0, 1],
    "avg": [0, 1],
    "var_samp": [0, 1, 2],
    "var_pop": [0, 1, 2],
    "stddev_samp": [0, 1, 2],
    "stddev_pop": [0, 1, 2],
    "covar_samp": [0, 1, 3, 5],
    "covar_pop": [0, 1, 3, 5],
    "corr": [0, 1, 3, 2, 4, 5],
    "regr_slope": [0, 1, 3, 2, 4, 5],
    "regr_intercept": [0, 1, 3, 2, 4, 5],
    "regr_r2": [0, 1, 3, 2, 4, 5],
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_statistic_lies_within_whatever_the_noise_is_within_its_widths(name: MomentName) -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(60):
        x = rng.integers(0, 50, int(rng.integers(100, 400)))
        y = x + rng.integers(0, 20, len(x))
        exact = [len(x), x.sum(), (x * x).sum(), y.sum(), (y * y).sum(), (x * y).sum()]
        noisy = [int(value + rng.integers(-w, w + 1)) for value, w in zip(exact, WIDTHS, strict=True)]
        expression = Moment(name, tuple(Value(index) for index in MOMENTS[name]))
        span = interval_of(group(noisy), expression, DOUBLE, width)
        if span is None:
            continue
        found += 1
        truth = group([int(value) for value in exact]).evaluate(expression)
        assert isinstance(truth, (Fraction, float))
        assert float(span.low) - 1e-9 <= truth <= float(span.high) + 1e-9
        assert span.low < span.high
    assert found > 30


@pytest.mark.parametrize("name", MOMENTS)
def test_noise_that_makes_a_spread_negative_is_no_error(name: MomentName) -> None:
    for values in ([3, 30, 100, 30, 100, 200], [-3, 30, 100, 30, 100, 200], [0, 5, -8, 4, -9, 1]):
        expression = Moment(name, tuple(Value(index) for index in MOMENTS[name]))
        group(values).evaluate(expression)
        interval_of(group(values), expression, DOUBLE, width)


def shape() -> Shape:
    return Shape(
        keys=(KeyShape("k", TEXT, 3, nullable=False, levels=("a", "b", "c")),),
        gates=1,
        values=(ValueShape("p", 0), ValueShape("p", 0)),
        outputs=(
            Output("k", TEXT, Key(0)),
            Output("n", INTEGER, Value(0)),
            Output("mean", DOUBLE, Moment("avg", (Value(0), Value(1)))),
        ),
        having=None,
        order=(),
        limit=None,
        offset=0,
    )


def test_a_table_has_an_interval_beside_each_number_in_every_form() -> None:
    table = finish(shape(), [[0, 0, 0]], [[100, -2, 0], [500, 3, 1]], width)
    assert table.intervals == (
        (None, (96, 104), (460 / 104, 540 / 96)),
        (None, (-6, 2), None),
        (None, (-4, 4), None),
    )
    text = render.text_table(table)
    assert "100 [96, 104]" in text
    assert "-2 [-6, 2]" in text
    value = render.json_value(table)
    assert value["intervals"][1] == [None, [-6, 2], None]  # type: ignore[index]  # a list
    rows = list(csv.reader(io.StringIO(render.csv_text(table))))
    assert rows[0] == ["k", "n", "mean", "n low", "n high", "mean low", "mean high"]
    assert rows[2] == ["b", "-2", "-1.5", "-6", "2", "", ""]


def test_exact_numbers_have_no_intervals() -> None:
    table = finish(shape(), [[0, 0, 0]], [[100, 2, 0], [500, 3, 1]])
    assert table.intervals == ()
    assert "intervals" not in render.json_value(table)
    assert render.csv_text(table).splitlines()[0] == '"k","n","mean"'
