"""Differential privacy: what an analyst asks for, what it costs a budget, and how much noise that means (pure).

The unit is the *person*: an answer hardly changes when all rows of one person are taken away, at every owner.  An
`Ask` promises (epsilon, delta) for the whole answer, all its cells and values together.

*Sensitivity.*  A person's rows that may count are cut to `rows_per_person` before anything is added up, and one row
adds to a value what the roster's bounds allow, at most B in size.  One person therefore moves a value by at most
rows * B, over all its cells together, whether all in one cell or not; by as much at each owner, where a person may be
known to several.  That bounds both the L1 and the L2 distance of the vector of cells.

*Accounting* is in zero-concentrated differential privacy (zCDP): rho adds up over answers, whatever the mechanism.

    mechanism   noise of value v, with V values that a person can move     rho of the answer
    laplace     discrete Laplace, scale s = D_v V / epsilon                epsilon^2 / 2
    gaussian    discrete Gaussian, variance D_v^2 V / (2 rho)              the largest that gives (epsilon, delta)

The noise is drawn on shares by comparisons with thresholds of 64 bits (`governance.sampling`), which are close to the
exact distributions but not equal: each sample is within `SAMPLE_DISTANCE` of the exact one.  A statistical distance of
eta in all costs (1 + e^epsilon) eta of delta, for which a sixteenth of delta is put aside (`check_samples`): an exact
epsilon with delta 0 does not exist here.  A budget of rho adds up the exact distributions; beside its own delta stand
the sixteenths of the answers that were taken from it.

*Numbers.*  Fractions, and logarithms and exponentials by `decimal`, whose `exp` and `ln` are correctly rounded to the
80 digits used: every party, on any machine, gets the same bits.  Roundings are towards more noise and more cost by far
more than the 1e-79 that such a step may be off.

Sources: Bun and Steinke 2016 (ia.cr/2016/816), composition, pure to concentrated; Canonne, Kamath and Steinke 2020
(arXiv 2004.00010), the discrete Gaussian and the conversion to (epsilon, delta), Corollary 13.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal, Self, cast, get_args

from mpcd import canonical, limits
from mpcd.canonical import Value

Mechanism = Literal["laplace", "gaussian"]
MECHANISMS: Final[tuple[Mechanism, ...]] = get_args(Mechanism)
RHO_UNITS: Final = 10**12
"""Budgets are kept in whole units of 10^-12 rho."""
SAMPLE_DISTANCE: Final = Fraction(1, 2**52)
"""Upper bound of the statistical distance between one drawn sample and the exact distribution."""
ASIDE: Final = Fraction(1, 16)
"""The part of delta that is put aside for such distances."""
INTERVAL_LEVEL: Final = Fraction(95, 100)

EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN, Emin=-(10**9), Emax=10**9)
"""Where all is computed; operators (`-x`, `x * y`) would take the thread's own context, so they are not used."""
_UNITS: Final = Decimal(RHO_UNITS)
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{0,29}[1-9])?")
_EPSILON_MAX: Final = Fraction(limits.PRIVACY_EPSILON_MAX)
_DELTA_MAX: Final = Fraction(1, limits.PRIVACY_DELTA_INVERSE_MIN)
_STEPS: Final = 1024
"""Orders alpha that are tried: 1 + e^(j / 1024), within 10^-7 of the best."""


class AskInvalidError(ValueError):
    """Not a promise that can be given; the message is for the analyst."""


def _number(text: object, name: str) -> Fraction:
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or text == "0":
        raise AskInvalidError(f"{name} must be a decimal number above 0 without needless zeros, e.g. 0.5 or 0.000001")
    return Fraction(text)


@dataclass(frozen=True, slots=True)
class Ask:
    """What an analyst asks for; checked when made.  Its canonical map is the request's `privacy`."""

    mechanism: Mechanism
    epsilon: str
    """Decimal text: the one spelling without needless zeros, so that equal asks have equal bytes."""
    delta: str
    """As `epsilon`; the chance that the promise may fail by, to be far below one in the number of persons."""
    rows_per_person: int | None = None
    """How many rows of one person may count; None where the tables have one row each."""

    def __post_init__(self) -> None:
        if self.mechanism not in MECHANISMS:
            raise AskInvalidError(f"the mechanism must be one of {', '.join(MECHANISMS)}")
        if _number(self.epsilon, "epsilon") > _EPSILON_MAX:
            raise AskInvalidError(f"epsilon may be at most {_EPSILON_MAX}; more than that protects nobody")
        if _number(self.delta, "delta") > _DELTA_MAX:
            raise AskInvalidError(f"delta may be at most 1 in {limits.PRIVACY_DELTA_INVERSE_MIN}")
        rows = self.rows_per_person
        if rows is not None and (type(rows) is not int or not 1 <= rows <= limits.PRIVACY_ROWS_PER_PERSON_MAX):
            raise AskInvalidError(f"rows per person must be 1 to {limits.PRIVACY_ROWS_PER_PERSON_MAX}")

    def to_value(self) -> dict[str, Value]:
        """The canonical map."""
        return {
            "mechanism": self.mechanism,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "rows_per_person": self.rows_per_person,
        }

    @classmethod
    def from_value(cls, value: object) -> Self:
        """The inverse of `to_value`; raises `AskInvalidError` for anything else."""
        if not isinstance(value, dict) or value.keys() != {"mechanism", "epsilon", "delta", "rows_per_person"}:
            raise AskInvalidError("the privacy that is asked for lacks a number or has one too many")
        return cls(**cast("dict[str, Value]", value))  # type: ignore[arg-type]  # checked when made

    def encode(self) -> bytes:
        """Canonical bytes, as a request carries them."""
        return canonical.encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`; raises `AskInvalidError` for anything else."""
        try:
            value = canonical.decode(data)
        except canonical.CanonicalError as error:
            raise AskInvalidError("the privacy that is asked for is not canonical") from error
        return cls.from_value(value)


def decimal_text(text: str) -> str:
    """The spelling that an `Ask` takes of a number as people write it ("1e-6", "0.50"); raises `AskInvalidError`."""
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise AskInvalidError(f"{text[:40]!r} is not a number") from None
    if not value.is_finite() or value <= 0 or not -30 <= value.adjusted() <= 6:
        raise AskInvalidError(f"{text[:40]!r} is not a number above 0 of a size that makes sense")
    spelled = f"{value:f}"
    return spelled.rstrip("0").rstrip(".") if "." in spelled else spelled


# ------------------------------------------------------------------------------------------------ exact numbers


def exact(value: Fraction | int) -> Decimal:
    """To 80 digits."""
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def exp_minus(value: Fraction) -> Decimal:
    """e^-value, to 80 digits."""
    return EXACT.exp(exact(-value))


# ------------------------------------------------------------------------------------------------ accounting


@dataclass(frozen=True, slots=True)
class Charge:
    """What one answer costs."""

    epsilon: Fraction
    delta: Fraction
    rho: Fraction
    """zCDP: what budgets add up."""

    @property
    def rho_units(self) -> int:
        """What a budget is charged, in units of 10^-12 rho, rounded up."""
        return rho_units(self.rho)


def rho_units(rho: Fraction) -> int:
    """Whole units of 10^-12 rho, rounded up."""
    return math.ceil(rho * RHO_UNITS)


def charge(ask: Ask) -> Charge:
    """What an answer under `ask` costs, whatever its size.

    Raises:
        AskInvalidError: epsilon and delta are too small for Gaussian noise.
    """
    epsilon, delta = Fraction(ask.epsilon), Fraction(ask.delta)
    if ask.mechanism == "laplace":
        return Charge(epsilon, delta, epsilon * epsilon / 2)
    rho = rho_for(epsilon, delta - delta * ASIDE)
    if rho <= 0:
        raise AskInvalidError("epsilon and delta are too small for Gaussian noise; ask for Laplace noise")
    return Charge(epsilon, delta, rho)


def check_samples(ask: Ask, samples: int) -> None:
    """Raise `AskInvalidError` if so many samples of 64 bits together are further from exact than what is put aside."""
    distance = samples * SAMPLE_DISTANCE
    if (1 + _exp_above(Fraction(ask.epsilon))) * distance > Fraction(ask.delta) * ASIDE:
        raise AskInvalidError(
            f"delta is too small for an answer of {samples} numbers at this epsilon; ask for delta 0.000001, say, "
            "a smaller epsilon, or fewer cells and columns"
        )


def _exp_above(value: Fraction) -> int:
    """A whole number above e^value."""
    return math.ceil(EXACT.exp(exact(value)))


def _excess(log_inverse_delta: Decimal, alpha: Decimal) -> Decimal:
    """(ln(1/delta) + (alpha - 1) ln(1 - 1/alpha) - ln alpha) / (alpha - 1)."""
    c = EXACT
    above = c.subtract(alpha, Decimal(1))
    log_ratio = c.ln(c.divide(above, alpha))
    return c.add(c.divide(c.subtract(log_inverse_delta, c.ln(alpha)), above), log_ratio)


def _alpha(step: int) -> Decimal:
    return EXACT.add(Decimal(1), EXACT.exp(EXACT.divide(Decimal(step), Decimal(_STEPS))))


def _log_inverse(delta: Fraction) -> Decimal:
    return EXACT.ln(exact(1 / delta))


@lru_cache(maxsize=1024)
def rho_for(epsilon: Fraction, delta: Fraction) -> Fraction:
    """The largest rho whose zCDP gives (epsilon, delta), in whole units of 10^-12, rounded down; 0 or less if none.

    Any order alpha > 1 gives a true statement; the best one is searched among 1 + e^(j/1024).
    """
    log, wanted = _log_inverse(delta), exact(epsilon)

    def rho(step: int) -> Decimal:
        alpha = _alpha(step)
        return EXACT.divide(EXACT.subtract(wanted, _excess(log, alpha)), alpha)

    return Fraction(math.floor(EXACT.multiply(rho(_best(rho)), _UNITS)), RHO_UNITS)


@lru_cache(maxsize=1024)
def epsilon_for(rho: Fraction, delta: Fraction) -> Fraction:
    """The smallest epsilon that rho-zCDP gives beside delta, rounded up to 10^-12: what a budget has come to."""
    if rho == 0:
        return Fraction(0)
    log, spent = _log_inverse(delta), exact(rho)

    def negated(step: int) -> Decimal:
        alpha = _alpha(step)
        return EXACT.add(EXACT.multiply(alpha, spent), _excess(log, alpha)).copy_negate()

    least = negated(_best(negated)).copy_negate()
    return Fraction(math.ceil(EXACT.multiply(least, _UNITS)), RHO_UNITS)


def _best(function: Callable[[int], Decimal]) -> int:
    """Where a function of one peak is highest, for steps of alpha from 1 + e^-10 to 1 + e^30."""
    low, high = -10 * _STEPS, 30 * _STEPS
    while high - low > 2:
        third = (high - low) // 3
        left, right = low + third, high - third
        if function(left) < function(right):
            low = left
        else:
            high = right
    return max(range(low, high + 1), key=function)


# ------------------------------------------------------------------------------------------------ noise


@dataclass(frozen=True, slots=True)
class Noise:
    """The distribution that is added to one value: discrete Laplace of scale, or discrete Gaussian of variance, `size`.

    A size of 0 is no noise: of a value that no person can move.
    """

    mechanism: Mechanism
    size: Fraction

    def to_value(self) -> list[str]:
        """Mechanism, numerator and denominator, for plans and results."""
        return [self.mechanism, str(self.size.numerator), str(self.size.denominator)]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """The inverse of `to_value`; raises `AskInvalidError` for anything else."""
        match value:
            case ["laplace" | "gaussian" as mechanism, str(over), str(under)] if re.fullmatch(
                r"[0-9]{1,200}", over
            ) and re.fullmatch(r"[1-9][0-9]{0,199}", under):
                return cls(mechanism, Fraction(int(over), int(under)))
            case _:
                raise AskInvalidError("not a distribution of noise")

    @property
    def deviation(self) -> float:
        """Standard deviation, to be shown."""
        if self.mechanism == "gaussian":
            return math.sqrt(self.size)
        if not self.size:
            return 0.0
        q = float(exp_minus(1 / self.size))
        return math.sqrt(2 * q) / (1 - q) if q < 1 else math.sqrt(2) * float(self.size)

    def half_width(self, level: Fraction = INTERVAL_LEVEL) -> int:
        """The smallest t such that the noise is within [-t, t] with at least the chance `level`, to be shown."""
        if not self.size:
            return 0
        return _laplace_width(self.size, level) if self.mechanism == "laplace" else _gaussian_width(self.size, level)


def sensitivity(ask: Ask, low: int, high: int, owners: int, *, persons_disjoint: bool) -> int:
    """How far one person can move a value, over all cells, when one row adds `low` to `high`."""
    rows = 1 if ask.rows_per_person is None else ask.rows_per_person
    return rows * max(abs(low), abs(high)) * (1 if persons_disjoint else owners)


def noises(ask: Ask, cost: Charge, sensitivities: Sequence[int]) -> tuple[Noise, ...]:
    """The noise of each value: the budget is split evenly over the values that a person can move."""
    moved = sum(1 for distance in sensitivities if distance)
    if ask.mechanism == "laplace":
        return tuple(Noise("laplace", distance * moved / cost.epsilon) for distance in sensitivities)
    return tuple(Noise("gaussian", distance * distance * moved / (2 * cost.rho)) for distance in sensitivities)


def _laplace_width(scale: Fraction, level: Fraction) -> int:
    """P(|X| > t) = 2 q^(t+1) / (1 + q) with q = e^(-1/scale)."""
    outside = exact((1 - level) / 2)
    q = exp_minus(1 / scale)
    bound = EXACT.ln(EXACT.multiply(outside, EXACT.add(Decimal(1), q)))
    return max(math.ceil(EXACT.multiply(bound, exact(-scale))) - 1, 0)


_SUMMED_VARIANCE_MAX: Final = 400


def _gaussian_width(variance: Fraction, level: Fraction) -> int:
    """By adding up the probabilities where the variance is small, else by the normal distribution, rounded up."""
    if variance > _SUMMED_VARIANCE_MAX:
        return math.ceil(NormalDist().inv_cdf(float((1 + level) / 2)) * math.sqrt(variance))
    weights = [math.exp(-k * k / (2 * float(variance))) for k in range(12 * (math.isqrt(int(variance)) + 1))]
    total = weights[0] + 2 * math.fsum(weights[1:])
    inside = weights[0]
    for width, weight in enumerate(weights):
        inside += 2 * weight if width else 0.0
        if inside >= float(level) * total:
            return width
    return len(weights)
