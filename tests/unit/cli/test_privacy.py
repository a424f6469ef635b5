"""The options of differential privacy, as they reach a request."""

from __future__ import annotations

import click
import pytest

from mpcd.cli.privacy import privacy_of
from mpcd.governance.privacy import Ask


def test_without_epsilon_numbers_are_exact() -> None:
    assert privacy_of({}) is None
    assert privacy_of({"epsilon": None, "delta": None, "noise": None, "rows_per_person": None}) is None


def test_defaults_are_gaussian_noise_and_one_in_a_million() -> None:
    assert privacy_of({"epsilon": "1.0"}) == Ask("gaussian", "1", "0.000001").encode()


def test_everything_can_be_said() -> None:
    asked = {"epsilon": "0.50", "delta": "1e-9", "noise": "laplace", "rows_per_person": 4}
    assert privacy_of(asked) == Ask("laplace", "0.5", "0.000000001", 4).encode()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"delta": "1e-6"}, "--delta belongs to --epsilon"),
        ({"noise": "laplace"}, "--noise belongs to --epsilon"),
        ({"rows_per_person": 1}, "--rows-per-person belongs to --epsilon"),
        ({"epsilon": "much"}, "not a number"),
        ({"epsilon": "-1"}, "above 0"),
        ({"epsilon": "1000"}, "protects nobody"),
        ({"epsilon": "1", "delta": "0.5"}, "delta"),
        ({"epsilon": "1", "rows_per_person": 0}, "rows per person"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(asked: dict[str, object], message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        privacy_of(asked)
