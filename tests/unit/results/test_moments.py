from __future__ import annotations

import math
import statistics
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.results.moments import square_root, statistic

FRACTIONS = st.builds(Fraction, st.integers(0, 2**200), st.integers(1, 2**200))


@given(FRACTIONS)
def test_square_root_is_rounded_correctly(value: Fraction) -> None:
    with localcontext() as context:
        context.prec = 200
        exact = (Decimal(value.numerator) / Decimal(value.denominator)).sqrt()
    assert square_root(value) == float(exact)


@pytest.mark.parametrize(
    "root", [Fraction(1), Fraction(3, 2), Fraction(2**60 + 1), Fraction(1, 3), Fraction(10**30, 7)]
)
def test_square_root_of_squares(root: Fraction) -> None:
    assert square_root(root * root) == float(root)


def sums(x: list[int], y: list[int]) -> list[Fraction]:
    products = (x, y, [a * a for a in x], [b * b for b in y], [a * b for a, b in zip(x, y, strict=True)])
    return [Fraction(len(x)), *(Fraction(sum(p)) for p in products)]


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)), min_size=3, max_size=30))
def test_against_the_standard_library(pairs: list[tuple[int, int]]) -> None:
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    n, sx, sy, sxx, syy, sxy = sums(x, y)
    assert statistic("var_samp", [n, sx, sxx]) == statistics.variance(map(Fraction, x))
    assert statistic("var_pop", [n, sy, syy]) == statistics.pvariance(map(Fraction, y))
    covariance = statistic("covar_samp", [n, sx, sy, sxy])
    assert covariance is not None
    assert math.isclose(covariance, statistics.covariance(x, y), rel_tol=1e-9, abs_tol=1e-3)
    if len(set(x)) > 1 and len(set(y)) > 1:
        corr = statistic("corr", [n, sx, sy, sxx, syy, sxy])
        assert corr is not None
        assert math.isclose(corr, statistics.correlation(x, y), rel_tol=1e-9, abs_tol=1e-9)
        assert -1 <= corr <= 1


def test_nothing_is_lost_far_from_zero() -> None:
    x = [10**15, 10**15 + 1, 10**15 + 2]
    n, sx, _, sxx, _, _ = sums(x, x)
    assert statistic("stddev_samp", [n, sx, sxx]) == 1.0
    assert statistic("corr", sums(x, [2 * a for a in x])) == 1.0
    assert statistic("corr", sums(x, [-a for a in x])) == -1.0


@pytest.mark.parametrize(
    ("name", "nothing", "one", "constant"),
    [
        ("sum", None, 3, 6),
        ("avg", None, 3, 3),
        ("var_samp", None, None, 0),
        ("var_pop", None, 0, 0),
        ("stddev_samp", None, None, 0),
        ("stddev_pop", None, 0, 0),
    ],
)
def test_conventions_of_one_argument(name: str, nothing: object, one: object, constant: object) -> None:
    for values, expected in (([], nothing), ([3], one), ([3, 3], constant)):
        n, s, _, ss, _, _ = sums(values, values)
        arguments = [n, s, ss][: 2 if name in {"sum", "avg"} else 3]
        assert statistic(name, arguments) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "nothing", "one", "x_constant", "y_constant"),
    [
        ("covar_samp", None, None, 0, 0),
        ("covar_pop", None, 0, 0, 0),
        ("corr", None, math.nan, math.nan, math.nan),
        ("regr_slope", None, math.nan, math.nan, 0),
        ("regr_intercept", None, None, None, 2),
        ("regr_r2", None, None, None, 1),
    ],
)
def test_conventions_of_two_arguments(
    name: str, nothing: object, one: object, x_constant: object, y_constant: object
) -> None:
    cases = [(([], []), nothing), (([3], [5]), one), (([3, 3], [5, 6]), x_constant), (([1, 2], [2, 2]), y_constant)]
    for (x, y), expected in cases:
        n, sx, sy, sxx, syy, sxy = sums(x, y)
        arguments = [n, sx, sy, sxy] if name.startswith("covar") else [n, sx, sy, sxx, syy, sxy]
        actual = statistic(name, arguments)  # type: ignore[arg-type]
        both_nan = (
            isinstance(actual, float) and isinstance(expected, float) and math.isnan(actual) and math.isnan(expected)
        )
        assert both_nan or actual == expected
