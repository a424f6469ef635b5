"""What a client reads of noise from a signed plan, and what it does not believe."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mpcd.api import noisy
from mpcd.api.types import Map
from mpcd.errors import ResultInvalid
from mpcd.governance.privacy import Ask, Noise

ASK = Ask("laplace", "0.5", "0.000001", 3)
PLAN: Map = {"terms": {"privacy": ASK.encode()}, "privacy": {"noise": [["laplace", "2", "1"], ["laplace", "0", "1"]]}}


def test_widths_are_those_of_the_plans_noise() -> None:
    width = noisy.half_width(PLAN)
    assert width is not None
    assert width(0, Fraction(95, 100)) == Noise("laplace", Fraction(2)).half_width()
    assert width(0, Fraction(99, 100)) > width(0, Fraction(95, 100))
    assert width(1, Fraction(95, 100)) == 0


def test_notes_say_what_was_asked_for() -> None:
    first, second = noisy.notes(PLAN)
    assert "discrete Laplace" in first
    assert "epsilon 0.5, delta 0.000001" in first
    assert "at most 3 rows" in first
    assert "95 %" in second


def test_exact_plans_have_neither() -> None:
    exact: Map = {"terms": {"privacy": None}, "privacy": None}
    assert noisy.half_width(exact) is None
    assert noisy.notes(exact) == ()


@pytest.mark.parametrize(
    "told", [3, {}, {"noise": 3}, {"noise": [["laplace", "2"]]}, {"noise": [["laplace", "-2", "1"]]}]
)
def test_a_malformed_noise_is_not_believed(told: Map) -> None:
    with pytest.raises(ResultInvalid, match="noise"):
        noisy.half_width({**PLAN, "privacy": told})


@pytest.mark.parametrize("encoded", [3, b"", b"\xc0"])
def test_a_malformed_ask_is_not_believed(encoded: object) -> None:
    with pytest.raises(ResultInvalid, match="noise"):
        noisy.notes({"terms": {"privacy": encoded}})  # type: ignore[dict-item]  # the point
