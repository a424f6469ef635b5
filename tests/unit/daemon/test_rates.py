from __future__ import annotations

import random

import pytest

from mpcd import limits
from mpcd.daemon.rates import Rates
from mpcd.errors import Busy
from mpcd.identity import SigningKey, VerifyKey

SEEDED = random.Random(61)


def key() -> VerifyKey:
    return SigningKey.generate(SEEDED.randbytes).public


def admitted(rates: Rates, one: VerifyKey, tries: int, now: float) -> int:
    count = 0
    for _ in range(tries):
        try:
            rates.admit(one, now)
        except Busy:
            continue
        count += 1
    return count


def test_strangers_share_one_allowance_however_many_keys_they_make() -> None:
    rates = Rates(lambda _key: False)
    count = sum(admitted(rates, key(), 1, 100.0) for _ in range(limits.STRANGERS_BURST_MAX * 2))
    assert count == limits.STRANGERS_BURST_MAX
    assert len(rates._buckets) == 1
    hour = sum(admitted(rates, key(), 1, 100.0 + second * 10) for second in range(361))
    assert hour == pytest.approx(limits.STRANGERS_PER_HOUR_MAX, abs=1)


def test_a_stranger_does_not_use_up_an_analysts_allowance() -> None:
    analyst = key()
    rates = Rates(lambda one: one == analyst)
    assert admitted(rates, key(), 1000, 0.0) == limits.STRANGERS_BURST_MAX
    tries = limits.REQUESTS_PER_KEY_BURST_MAX + 10
    assert admitted(rates, analyst, tries, 0.0) == limits.REQUESTS_PER_KEY_BURST_MAX
    second = admitted(rates, analyst, 100, 1.0)
    assert second == limits.REQUESTS_PER_KEY_PER_HOUR_MAX // 3600


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    rates = Rates(lambda _key: False)
    stranger = key()
    admitted(rates, stranger, 1000, 50.0)
    assert admitted(rates, stranger, 10, 50.0) == 0
    assert admitted(rates, stranger, 10, 0.0) == 0
    assert admitted(rates, stranger, 10, 50.0) == 0


def test_full_allowances_are_forgotten() -> None:
    rates = Rates(lambda _key: True)
    for number in range(50):
        rates.admit(key(), float(number) * 10_000)
    assert len(rates._buckets) <= 2
