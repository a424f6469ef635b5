"""Thresholds against the exact probabilities, computed another way: with fractions and Taylor series alone."""

from __future__ import annotations

import decimal
import itertools
import math
from fractions import Fraction

import pytest

from mpcd.governance import sampling
from mpcd.governance.privacy import SAMPLE_DISTANCE, AskInvalidError, Noise
from mpcd.governance.sampling import RANGE, GaussianTable, LaplaceTable

BITS = 400


def exp_minus(value: Fraction) -> Fraction:
    """e^-value within 2^-380, by its series after halving, over fractions of 400 bits."""
    halvings = max(0, math.ceil(value).bit_length() + 8)
    small = value / 2**halvings
    total, term = Fraction(0), Fraction(1)
    for step in range(1, 60):
        total += term
        term = Fraction(math.floor(-term * small / step * 2**BITS), 2**BITS)
    for _ in range(halvings):
        total = Fraction(math.floor(total * total * 2**BITS), 2**BITS)
    return total


def laplace(table: LaplaceTable) -> dict[int, Fraction]:
    """The distribution that the thresholds really give."""
    number = {0: Fraction(1)}
    for weight, threshold in enumerate(table.thresholds):
        chance = Fraction(threshold, RANGE)
        number = {
            value + (bit << weight): part * (chance if bit else 1 - chance)
            for value, part in number.items()
            for bit in (0, 1)
        }
    found: dict[int, Fraction] = {}
    for x, p in number.items():
        for y, q in number.items():
            found[x - y] = found.get(x - y, Fraction(0)) + p * q
    return found


def leaf(thresholds: tuple[int, ...]) -> dict[int, Fraction]:
    """The distribution that one leaf really gives, sign included."""
    edges = [0, *thresholds, RANGE]
    sizes = [Fraction(high - low, RANGE) for low, high in itertools.pairwise(edges)]
    return {k: sizes[abs(k)] / (2 if k else 1) for k in range(1 - len(sizes), len(sizes))}


def gaussian(table: GaussianTable) -> dict[int, Fraction]:
    """The distribution of the sum of all leaves."""
    total = {0: Fraction(1)}
    for part in table.leaves:
        joined: dict[int, Fraction] = {}
        for x, p in total.items():
            for y, q in leaf(part.thresholds).items():
                value = x + part.weight * y
                joined[value] = joined.get(value, Fraction(0)) + p * q
        total = joined
    return total


def distance(found: dict[int, Fraction], weight: dict[int, Fraction]) -> Fraction:
    """Statistical distance from the distribution in proportion to `weight`, whose support is the wider one."""
    total = sum(weight.values())
    return sum((abs(found.get(k, Fraction(0)) - w / total) for k, w in weight.items()), Fraction(0)) / 2


@pytest.mark.parametrize("scale", [Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(7, 3), Fraction(5, 4)])
def test_laplace_is_as_close_as_it_says(scale: Fraction) -> None:
    found = laplace(sampling.table(Noise("laplace", scale)))  # type: ignore[arg-type]  # of that kind
    assert sum(found.values()) == 1
    q = exp_minus(1 / scale)
    powers = [Fraction(1)]
    for _ in range(max(found) + 60):
        powers.append(Fraction(math.floor(powers[-1] * q * 2**BITS), 2**BITS))
    weight = {k: powers[abs(k)] for k in range(1 - len(powers), len(powers))}
    assert distance(found, weight) < Fraction(1, 2**56) < SAMPLE_DISTANCE


@pytest.mark.parametrize("variance", [Fraction(1, 7), Fraction(1), Fraction(41, 3), Fraction(172)])
def test_one_leaf_is_as_close_as_it_says(variance: Fraction) -> None:
    table = sampling.table(Noise("gaussian", variance))
    assert isinstance(table, GaussianTable)
    assert len(table.leaves) == 1
    found = gaussian(table)
    assert sum(found.values()) == 1
    reach = 4 * len(table.leaves[0].thresholds) + 10
    weight = {k: exp_minus(Fraction(k * k) / (2 * variance)) for k in range(-reach, reach + 1)}
    assert distance(found, weight) < Fraction(len(table.leaves[0].thresholds) + 2, 2**65)


@pytest.mark.parametrize("variance", [Fraction(173), Fraction(1000, 3), Fraction(2816)])
def test_leaves_together_are_as_close_as_they_say(variance: Fraction) -> None:
    # At 173 the first leaf has its smallest variance, where the sum is furthest from exact.
    table = sampling.table(Noise("gaussian", variance))
    assert isinstance(table, GaussianTable)
    assert len(table.leaves) == 2
    found = gaussian(table)
    weight = {k: exp_minus(Fraction(k * k) / (2 * variance)) for k in range(min(found) - 50, max(found) + 51)}
    bound = Fraction(2 * 127, 2**65) + Fraction(1, 2**69)
    assert distance(found, weight) < bound < SAMPLE_DISTANCE


def test_a_sum_of_leaves_without_their_condition_is_not_that_close() -> None:
    # The bound on the first leaf's variance is what makes the sum smooth: with 1/4 instead of 6.75 it is not.
    variance = 16 * Fraction(1, 4) + 64
    first, second = (leaf(sampling._inversion(v)) for v in (Fraction(1, 4), Fraction(64)))
    found: dict[int, Fraction] = {}
    for x, p in first.items():
        for y, q in second.items():
            found[4 * x + y] = found.get(4 * x + y, Fraction(0)) + p * q
    weight = {k: exp_minus(Fraction(k * k) / (2 * variance)) for k in range(-120, 121)}
    assert distance(found, weight) > SAMPLE_DISTANCE


def test_kappa_is_at_least_what_the_tail_asks_for() -> None:
    for scale in (Fraction(1, 3), Fraction(1), Fraction(1000), Fraction(10**9)):
        kappa = len(sampling.table(Noise("laplace", scale)).thresholds)  # type: ignore[union-attr]  # of that kind
        assert kappa >= math.log2(scale * 64 * math.log(2))
        assert kappa - 1 < math.log2(scale * 64 * math.log(2)) + 1e-9


def test_no_noise_has_no_thresholds() -> None:
    assert sampling.table(Noise("laplace", Fraction(0))) == LaplaceTable(())
    assert sampling.table(Noise("gaussian", Fraction(0))) == GaussianTable(())


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_noise_that_no_field_holds_is_refused(mechanism: str) -> None:
    with pytest.raises(AskInvalidError, match="larger than any answer"):
        sampling.table(Noise(mechanism, Fraction(2**240)))  # type: ignore[arg-type]  # one of the two


def test_the_distance_holds_for_the_largest_noise() -> None:
    large = Noise("gaussian", Fraction(2**226))
    table = sampling.table(large)
    assert isinstance(table, GaussianTable)
    bound = sum((Fraction(len(part.thresholds) + 2, 2**65) + Fraction(1, 2**69) for part in table.leaves), Fraction(0))
    assert bound < SAMPLE_DISTANCE
    assert 2**116 < table.magnitude_max < 2**118


def test_thresholds_ascend_and_do_not_depend_on_the_threads_context() -> None:
    noises = [Noise("gaussian", Fraction(355, 113)), Noise("laplace", Fraction(355, 113))]
    expected = sampling.digest([sampling.table(noise) for noise in noises])
    sampling.table.cache_clear()
    sampling._inversion.cache_clear()
    with decimal.localcontext() as context:
        context.prec = 5
        context.rounding = decimal.ROUND_UP
        tables = [sampling.table(noise) for noise in noises]
    assert sampling.digest(tables) == expected
    gaussians = tables[0]
    assert isinstance(gaussians, GaussianTable)
    thresholds = gaussians.leaves[0].thresholds
    assert list(thresholds) == sorted(set(thresholds))


def test_known_thresholds() -> None:
    # Scale 1: 2^64 / (1 + e), and so on; variance 1: 2^64 times 0.398942..., 0.882883..., 0.990866...
    table = sampling.table(Noise("laplace", Fraction(1)))
    assert isinstance(table, LaplaceTable)
    assert table.thresholds[0] / RANGE == pytest.approx(1 / (1 + math.e), abs=1e-15)
    assert table.thresholds[3] / RANGE == pytest.approx(1 / (1 + math.exp(8)), abs=1e-15)
    normal = sampling.table(Noise("gaussian", Fraction(1)))
    assert isinstance(normal, GaussianTable)
    assert normal.leaves[0].thresholds[0] / RANGE == pytest.approx(0.3989422784, abs=1e-9)
