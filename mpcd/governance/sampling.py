"""Thresholds that turn uniform 64-bit numbers into discrete Laplace and discrete Gaussian samples (pure).

The compute parties hold sharings of uniform 64-bit numbers U that nobody knows, and learn on shares whether U >= t for
public thresholds t.  This file computes the t: all parties the same, from exact fractions and correctly rounded
exponentials (`governance.privacy.EXACT`); a digest of them is part of the plan.

*Discrete Laplace* of scale s, P(x) proportional to e^(-|x|/s), is the difference of two geometric numbers of ratio
q = e^(-1/s).  The bits of a geometric number below 2^kappa are independent, bit i is 1 with probability
1 / (1 + e^(2^i/s)): bit i is [U < t_i], each with a U of its own.  kappa is the least with e^(-2^kappa/s) <= 2^-64.
Distance from the exact distribution: 2 (kappa 2^-64 + 2^-64) < 2^-56.

*Discrete Gaussian* of variance v, P(x) proportional to e^(-x^2/(2v)).  Its bits are not independent, so a *leaf*
inverts the distribution function of |x|: |x| = how many k have U >= t_k = 2^64 P(|x| < k), and a sign of its own (zero
has none).  With N thresholds the distance is at most (N + 2) 2^-65.  N is about 9.4 sqrt(v), so a variance above 172
is put together as x = 4 x1 + x2 of independent x1 of variance v1 = (v - 64)/16 and x2 of variance w = 64.  Given x,
the sum over all x1 of e^(-x1^2/(2 v1) - (x - 4 x1)^2/(2w)) is e^(-x^2/(2v)) times the sum of a Gaussian function of
width tau^2 = 1/(1/v1 + 16/w) over the integers moved by some offset.  By Poisson's summation that sum depends on the
offset by a factor within 1 +- 2.01 e^(-2 pi^2 tau^2); v1 >= 6.75 gives tau^2 > 5/2 and 2^-69.  Up to noise of 118
bits there are 59 leaves of 74 thresholds and one of at most 121: 60 (76 * 2^-65 + 2^-69) + 2^-58 < 2^-52.

Sources: Dwork, Kenthapadi, McSherry, Mironov, Naor 2006 (independent bits); Micciancio and Walter 2017 (ia.cr/2017/259,
leaves); the thresholds and the bounds above are our own derivation, held against the exact probabilities by the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mpcd import canonical
from mpcd.governance.privacy import EXACT, AskInvalidError, Noise, exact, exp_minus

BITS: Final = 64
"""Of each uniform number."""
RANGE: Final = 1 << BITS
NOISE_BITS_MAX: Final = 118
"""Bits of the largest noise: its sum with a pooled value must fit the wider field."""
LEAF_VARIANCE: Final = Fraction(64)
"""w: of every leaf but the last."""
LEAF_VARIANCE_MAX: Final = Fraction(172)
FACTOR: Final = 4
_TAIL: Final = Fraction(BITS * 6931471805599453095, 10**19)
"""A little above 64 ln 2."""
_SUMMED_EXPONENT_MAX: Final = 190
"""Weights below e^-190 are beyond the 80 digits."""


@dataclass(frozen=True, slots=True)
class LaplaceTable:
    """One threshold for each bit of the two geometric numbers: bit i is [U < thresholds[i]]."""

    thresholds: tuple[int, ...]

    @property
    def magnitude_max(self) -> int:
        """The largest noise in size."""
        return (1 << len(self.thresholds)) - 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """|x| = how many thresholds U reaches; x counts `weight` times."""

    weight: int
    thresholds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GaussianTable:
    """The noise is the sum of its leaves, each with a sign of its own."""

    leaves: tuple[Leaf, ...]

    @property
    def magnitude_max(self) -> int:
        """The largest noise in size."""
        return sum(leaf.weight * len(leaf.thresholds) for leaf in self.leaves)


Table = LaplaceTable | GaussianTable


@lru_cache(maxsize=1024)
def table(noise: Noise) -> Table:
    """The thresholds of one distribution.

    Raises:
        AskInvalidError: the noise is too large for any field.
    """
    if noise.mechanism == "laplace":
        return _laplace(noise.size)
    found = GaussianTable(tuple(_leaves(noise.size))) if noise.size else GaussianTable(())
    if found.magnitude_max >> NOISE_BITS_MAX:
        raise _too_large()
    return found


def digest(tables: Sequence[Table]) -> bytes:
    """Of all thresholds: parties whose arithmetic differed would not agree on the plan."""
    return canonical.digest("noise", [_value(one) for one in tables])


def _value(found: Table) -> object:
    if isinstance(found, LaplaceTable):
        return list(found.thresholds)
    return [[str(leaf.weight), list(leaf.thresholds)] for leaf in found.leaves]


def _too_large() -> AskInvalidError:
    return AskInvalidError(
        "the noise would be larger than any answer; ask for a larger epsilon, fewer columns, fewer rows per person, or "
        "columns with tighter bounds"
    )


def _laplace(scale: Fraction) -> LaplaceTable:
    if not scale:
        return LaplaceTable(())
    kappa = 0
    while (1 << kappa) < scale * _TAIL:
        kappa += 1
    if kappa > NOISE_BITS_MAX:
        raise _too_large()
    return LaplaceTable(tuple(_bit(Fraction(1 << weight) / scale) for weight in range(kappa)))


def _bit(exponent: Fraction) -> int:
    """2^64 / (1 + e^exponent), rounded down."""
    odds = exp_minus(exponent)
    return math.floor(EXACT.divide(EXACT.multiply(Decimal(RANGE), odds), EXACT.add(Decimal(1), odds)))


def _leaves(variance: Fraction) -> list[Leaf]:
    leaves: list[Leaf] = []
    weight = 1
    while variance > LEAF_VARIANCE_MAX:
        leaves.append(Leaf(weight, _inversion(LEAF_VARIANCE)))
        variance = (variance - LEAF_VARIANCE) / FACTOR**2
        weight *= FACTOR
        if weight >> NOISE_BITS_MAX:
            raise _too_large()
    return [*leaves, Leaf(weight, _inversion(variance))]


@lru_cache(maxsize=1024)
def _inversion(variance: Fraction) -> tuple[int, ...]:
    """2^64 P(|x| < k) for k = 1, 2, ..., to the nearest, as long as that is below 2^64."""
    last = math.isqrt(math.ceil(2 * variance * _SUMMED_EXPONENT_MAX)) + 1
    step, ratio = exp_minus(1 / variance), exp_minus(1 / (2 * variance))
    weights = [Decimal(1)]
    for _ in range(last):
        # e^(-(k+1)^2/2v) = e^(-k^2/2v) e^(-(2k+1)/2v)
        weights.append(EXACT.multiply(weights[-1], ratio))
        ratio = EXACT.multiply(ratio, step)
    cumulated = [weights[0]]
    for weight in weights[1:]:
        cumulated.append(EXACT.add(cumulated[-1], EXACT.multiply(Decimal(2), weight)))
    half = exact(Fraction(1, 2))
    scaled = (EXACT.divide(EXACT.multiply(Decimal(RANGE), part), cumulated[-1]) for part in cumulated)
    rounded = (math.floor(EXACT.add(part, half)) for part in scaled)
    return tuple(threshold for threshold in rounded if threshold < RANGE)
