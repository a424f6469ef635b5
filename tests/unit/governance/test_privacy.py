"""Accounting is exact, agrees with OpenDP, and does not depend on the thread's decimal context."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import pytest
from opendp import combinators, measurements, mod
from opendp.domains import atom_domain
from opendp.metrics import absolute_distance

from mpcd import canonical
from mpcd.governance import privacy
from mpcd.governance.privacy import Ask, AskInvalidError, Noise

DELTA = Fraction(1, 10**6)


def test_an_ask_has_one_spelling_and_survives_its_bytes() -> None:
    ask = Ask("laplace", "0.5", "0.000001", 3)
    assert Ask.decode(ask.encode()) == ask
    assert canonical.decode(ask.encode()) == ask.to_value()


@pytest.mark.parametrize("number", ["0", "0.50", "00.5", "1e-6", "-1", ".5", "1.", "nan", "", " 1", "0.0", "1_0"])
def test_a_second_spelling_of_a_number_is_refused(number: str) -> None:
    with pytest.raises(AskInvalidError):
        Ask("laplace", number, "0.000001")
    with pytest.raises(AskInvalidError):
        Ask("laplace", "1", number)


@pytest.mark.parametrize(
    "change",
    [
        {"mechanism": "none"},
        {"epsilon": "20.5"},
        {"delta": "0.5"},
        {"rows_per_person": 0},
        {"rows_per_person": True},
        {"rows_per_person": 10**7},
        {"epsilon": 1},
        {"more": 1},
    ],
)
def test_what_is_no_ask_is_refused(change: dict[str, object]) -> None:
    value = {**Ask("gaussian", "1", "0.000001").to_value(), **change}
    with pytest.raises(AskInvalidError):
        Ask.from_value(value)
    with pytest.raises(AskInvalidError):
        Ask.decode(canonical.encode(value))


def test_bytes_that_are_not_canonical_are_refused() -> None:
    with pytest.raises(AskInvalidError):
        Ask.decode(b"\xc1")


@pytest.mark.parametrize(
    ("written", "spelled"), [("1e-6", "0.000001"), ("0.50", "0.5"), ("10", "10"), ("1E1", "10"), ("2.0", "2")]
)
def test_numbers_as_people_write_them(written: str, spelled: str) -> None:
    assert privacy.decimal_text(written) == spelled
    Ask("laplace", spelled, "0.000001")


@pytest.mark.parametrize("written", ["", "x", "nan", "inf", "0", "-1", "1e-99", "1e9"])
def test_what_is_no_number_is_refused(written: str) -> None:
    with pytest.raises(AskInvalidError):
        privacy.decimal_text(written)


def test_laplace_costs_half_its_epsilon_squared() -> None:
    assert privacy.charge(Ask("laplace", "0.5", "0.000001")).rho == Fraction(1, 8)


def test_gaussian_costs_the_rho_that_gives_epsilon_beside_what_is_put_aside() -> None:
    cost = privacy.charge(Ask("gaussian", "1", "0.000001"))
    back = privacy.epsilon_for(cost.rho, DELTA * 15 / 16)
    assert Fraction(999999, 10**6) < back <= 1
    assert cost.rho_units == math.ceil(cost.rho * 10**12)


def test_known_figures_of_opendp() -> None:
    # Five answers of scale 10 and sensitivity 1; and scale 4.5309 for epsilon 1.
    assert float(privacy.epsilon_for(Fraction(1, 40), DELTA)) == pytest.approx(1.014074, abs=1e-6)
    assert (1 / (2 * privacy.rho_for(Fraction(1), DELTA))) ** 0.5 == pytest.approx(4.5309, abs=1e-3)


@pytest.mark.parametrize("rho", [Fraction(1, 1000), Fraction(1, 10), Fraction(2)])
@pytest.mark.parametrize("delta", [Fraction(1, 10**4), Fraction(1, 10**9)])
def test_opendp_converts_alike_and_never_to_less(rho: Fraction, delta: Fraction) -> None:
    mod.enable_features("contrib")
    gaussian = measurements.make_gaussian(
        atom_domain(T="i64"), absolute_distance(T="i64"), scale=math.sqrt(1 / (2 * rho))
    )
    curve = combinators.make_zCDP_to_approxDP(gaussian).map(1)  # type: ignore[no-untyped-call]  # OpenDP's own
    assert float(privacy.epsilon_for(rho, delta)) == pytest.approx(curve.epsilon(float(delta)), rel=1e-5)


def test_conversions_do_not_depend_on_the_threads_context() -> None:
    expected = privacy.rho_for(Fraction(3, 7), Fraction(1, 10**5)), privacy.epsilon_for(Fraction(1, 7), DELTA)
    privacy.rho_for.cache_clear()
    privacy.epsilon_for.cache_clear()
    with decimal.localcontext() as context:
        context.prec = 3
        context.rounding = decimal.ROUND_UP
        found = privacy.rho_for(Fraction(3, 7), Fraction(1, 10**5)), privacy.epsilon_for(Fraction(1, 7), DELTA)
        spelled = Noise("laplace", Fraction(1234567, 3)).half_width()
    assert found == expected
    assert spelled == Noise("laplace", Fraction(1234567, 3)).half_width()


def test_rounding_never_gives_more_privacy_loss_than_promised() -> None:
    for numerator in range(1, 40, 3):
        epsilon = Fraction(numerator, 4)
        assert privacy.epsilon_for(privacy.rho_for(epsilon, DELTA), DELTA) <= epsilon + Fraction(1, 10**11)
    assert privacy.rho_units(Fraction(1, 3)) == 333333333334
    assert privacy.epsilon_for(Fraction(0), DELTA) == 0


def test_more_samples_than_delta_allows_are_refused() -> None:
    ask = Ask("laplace", "1", "0.000001")
    privacy.check_samples(ask, 20_000 * 512)
    most = int(DELTA / 16 / 4 / privacy.SAMPLE_DISTANCE)
    privacy.check_samples(ask, most)
    with pytest.raises(AskInvalidError):
        privacy.check_samples(ask, most + 1)


def test_epsilon_too_small_for_gaussian_noise_is_refused() -> None:
    with pytest.raises(AskInvalidError):
        privacy.charge(Ask("gaussian", "0.000000000000000000001", "0.000000001"))


def test_one_person_moves_a_value_by_rows_times_bound_times_owners() -> None:
    ask = Ask("laplace", "1", "0.000001", 5)
    assert privacy.sensitivity(ask, -7, 3, 4, persons_disjoint=True) == 35
    assert privacy.sensitivity(ask, -7, 3, 4, persons_disjoint=False) == 140
    single = Ask("laplace", "1", "0.000001")
    assert privacy.sensitivity(single, 0, 1, 3, persons_disjoint=True) == 1


def test_the_budget_is_split_over_the_values_that_move() -> None:
    laplace = Ask("laplace", "0.5", "0.000001")
    assert privacy.noises(laplace, privacy.charge(laplace), [1, 10, 0]) == (
        Noise("laplace", Fraction(4)),
        Noise("laplace", Fraction(40)),
        Noise("laplace", Fraction(0)),
    )
    gaussian = Ask("gaussian", "0.5", "0.000001")
    cost = privacy.charge(gaussian)
    sizes = [noise.size for noise in privacy.noises(gaussian, cost, [1, 10, 0])]
    assert sum(Fraction(d * d) / (2 * size) for d, size in zip([1, 10], sizes[:2], strict=True)) == cost.rho


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1), Fraction(7, 2), Fraction(50)])
def test_half_widths_of_laplace_are_the_smallest(scale: Fraction) -> None:
    q = math.exp(-1 / scale)
    width = Noise("laplace", scale).half_width()

    def outside(t: int) -> float:
        return 2 * q ** (t + 1) / (1 + q)

    assert outside(width) <= 0.05
    assert width == 0 or outside(width - 1) > 0.05


@pytest.mark.parametrize("variance", [Fraction(1, 9), Fraction(4), Fraction(399), Fraction(401), Fraction(10**6)])
def test_half_widths_of_gaussian_are_the_smallest(variance: Fraction) -> None:
    noise = Noise("gaussian", variance)
    reach = 12 * (math.isqrt(int(variance)) + 2)
    weights = {k: math.exp(-k * k / (2 * variance)) for k in range(-reach, reach + 1)}
    total = math.fsum(weights.values())

    def inside(t: int) -> float:
        return math.fsum(weight for k, weight in weights.items() if abs(k) <= t) / total

    width = noise.half_width()
    assert inside(width) >= 0.95
    assert width == 0 or inside(width - (1 if variance < 400 else 2)) < 0.95
    assert noise.deviation == pytest.approx(math.sqrt(variance))


def test_the_deviation_of_laplace() -> None:
    q = math.exp(-1 / 3)
    second = 2 * math.fsum(k * k * q**k for k in range(1, 400)) * (1 - q) / (1 + q)
    assert Noise("laplace", Fraction(3)).deviation == pytest.approx(math.sqrt(second))
    assert Noise("laplace", Fraction(0)).deviation == 0
    assert Noise("laplace", Fraction(0)).half_width() == 0


def test_noise_survives_its_canonical_form() -> None:
    noise = Noise("gaussian", Fraction(22, 7))
    assert Noise.from_value(noise.to_value()) == noise
    for value in (["gaussian", "1"], ["uniform", "1", "2"], ["laplace", "-1", "2"], ["laplace", "1", "0"], "laplace"):
        with pytest.raises(AskInvalidError):
            Noise.from_value(value)
