from __future__ import annotations

import random

import pytest

from mpcd import limits
from mpcd.daemon.rates import Rates
from mpcd.errors import Busy
from mpcd.governance.budget import RateLimit
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


def test_a_policy_gives_its_analysts_less_and_strangers_no_more() -> None:
    analyst = key()
    limit = [RateLimit(requests_per_hour=6, requests_per_day=10)]
    rates = Rates(lambda one: one == analyst, lambda: limit[0])
    assert admitted(rates, analyst, 100, 0.0) == 6
    assert admitted(rates, analyst, 100, 1800.0) == 3
    assert admitted(rates, analyst, 100, 7200.0) == 1  # the day's are used up, but for what filled again meanwhile
    assert admitted(rates, key(), 1000, 7200.0) == limits.STRANGERS_BURST_MAX
    limit[0] = RateLimit(requests_per_hour=2)
    assert admitted(rates, analyst, 100, 7200.0) == 2
    limit[0] = RateLimit()
    assert admitted(rates, analyst, 100, 7200.0) == 100


def test_what_is_not_admitted_takes_nothing_of_any_allowance() -> None:
    analyst = key()
    rates = Rates(lambda _one: True, lambda: RateLimit(requests_per_hour=1, requests_per_day=3))
    assert [admitted(rates, analyst, 50, hour * 3600.0) for hour in range(4)] == [1, 1, 1, 0]
