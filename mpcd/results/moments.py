"""Statistics from exact pooled moments (layer 1, no I/O).

Sums of squares and products are exact, so the textbook formulas lose nothing: n sum x² - (sum x)² is an exact integer
however close to zero it comes, and the only rounding is that of the last step.  Square roots are rounded correctly.

Where SQL leaves room we do as DuckDB 2.0: over no rows all but counts are NULL; sample statistics of one row are
NULL; CORR and REGR_SLOPE of a constant are NaN, REGR_INTERCEPT is NULL then; REGR_R2 is NULL where x is constant and
1 where y alone is.  Noise can make a spread negative, which no data can: its root, and a CORR of it, are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from mpcd.results.shape import MomentName

Result = Fraction | float | None
_ROOT_BITS: Final = 64
"""Bits of a square root's integer part before it is rounded to the 53 of a double."""


def square_root(value: Fraction) -> float:
    """The square root of a number that is not negative, rounded correctly to a double."""
    assert value >= 0
    if value == 0:
        return 0.0
    numerator, denominator = value.numerator, value.denominator
    shift = max(0, 2 * _ROOT_BITS - (numerator.bit_length() - denominator.bit_length()))
    shift += shift % 2
    scaled, remainder = divmod(numerator << shift, denominator)
    root = math.isqrt(scaled)
    # A sticky bit below the root keeps ties from looking exact.
    sticky = int(remainder != 0 or root * root != scaled)
    return float(Fraction(2 * root + sticky, 1 << (shift // 2 + 1)))


def _spread(n: Fraction, s: Fraction, ss: Fraction) -> Fraction:
    """The sum of squared distances from the mean."""
    return ss - s * s / n


def _total(n: Fraction, s: Fraction) -> Result:
    return s if n else None


def _mean(n: Fraction, s: Fraction) -> Result:
    return s / n if n else None


def _var_samp(n: Fraction, s: Fraction, ss: Fraction) -> Result:
    return _spread(n, s, ss) / (n - 1) if n > 1 else None


def _var_pop(n: Fraction, s: Fraction, ss: Fraction) -> Result:
    return _spread(n, s, ss) / n if n else None


def _root(variance: Result) -> Result:
    if not isinstance(variance, Fraction):
        return None
    return square_root(variance) if variance >= 0 else math.nan


def _covar_samp(n: Fraction, sx: Fraction, sy: Fraction, sxy: Fraction) -> Result:
    return (sxy - sx * sy / n) / (n - 1) if n > 1 else None


def _covar_pop(n: Fraction, sx: Fraction, sy: Fraction, sxy: Fraction) -> Result:
    return (sxy - sx * sy / n) / n if n else None


def _spreads(
    n: Fraction, sx: Fraction, sy: Fraction, sxx: Fraction, syy: Fraction, sxy: Fraction
) -> tuple[Fraction, Fraction, Fraction]:
    return _spread(n, sx, sxx), _spread(n, sy, syy), sxy - sx * sy / n


def _corr(n: Fraction, *sums: Fraction) -> Result:
    if not n:
        return None
    x, y, xy = _spreads(n, *sums)
    if x <= 0 or y <= 0:
        return math.nan
    return math.copysign(square_root(xy * xy / (x * y)), xy) if xy else Fraction(0)


def _regr_slope(n: Fraction, *sums: Fraction) -> Result:
    if not n:
        return None
    x, _, xy = _spreads(n, *sums)
    return xy / x if x else math.nan


def _regr_intercept(n: Fraction, *sums: Fraction) -> Result:
    if not n:
        return None
    x, _, xy = _spreads(n, *sums)
    return (sums[1] - xy / x * sums[0]) / n if x else None


def _regr_r2(n: Fraction, *sums: Fraction) -> Result:
    if not n:
        return None
    x, y, xy = _spreads(n, *sums)
    if x == 0:
        return None
    return xy * xy / (x * y) if y else Fraction(1)


_MOMENTS: Final[dict[MomentName, Callable[..., Result]]] = {
    "sum": _total,
    "avg": _mean,
    "var_samp": _var_samp,
    "var_pop": _var_pop,
    "stddev_samp": lambda *sums: _root(_var_samp(*sums)),
    "stddev_pop": lambda *sums: _root(_var_pop(*sums)),
    "covar_samp": _covar_samp,
    "covar_pop": _covar_pop,
    "corr": _corr,
    "regr_slope": _regr_slope,
    "regr_intercept": _regr_intercept,
    "regr_r2": _regr_r2,
}


def statistic(name: MomentName, sums: Sequence[Fraction]) -> Result:
    """The statistic of these moments, in the order of `shape.MOMENT_ARGUMENTS`; None is NULL."""
    return _MOMENTS[name](*sums)
