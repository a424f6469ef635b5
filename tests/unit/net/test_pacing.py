"""Back-off, token buckets, half-open handshakes: pure, so no clock and no network here."""

from __future__ import annotations

from mpcd.net.pacing import Backoff, HalfOpen, TokenBuckets


def test_pauses_double_up_to_the_bound() -> None:
    backoff = Backoff(lambda: 1.0, 0.1, 1.0)
    assert [round(backoff.next_seconds(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_is_between_half_and_all() -> None:
    assert Backoff(lambda: 0.0, 0.2, 1.0).next_seconds() == 0.1
    assert Backoff(lambda: 0.5, 0.2, 1.0).next_seconds() == 0.2 * 0.75


def test_success_starts_again() -> None:
    backoff = Backoff(lambda: 1.0, 0.1, 10.0)
    for _ in range(5):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 0.1


def test_a_burst_then_a_trickle() -> None:
    buckets = TokenBuckets(burst=3, per_second=2.0)
    assert [buckets.admit("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert not buckets.admit("a", 0.4)
    assert buckets.admit("a", 0.9)


def test_addresses_do_not_share_a_bucket() -> None:
    buckets = TokenBuckets(burst=1, per_second=0.1)
    assert buckets.admit("a", 0.0)
    assert buckets.admit("b", 0.0)
    assert not buckets.admit("a", 0.0)


def test_the_table_of_addresses_is_bounded() -> None:
    buckets = TokenBuckets(addresses_max=10)
    for number in range(100):
        buckets.admit(str(number), 0.0)
    assert len(buckets) == 10


def test_refused_attempts_do_not_dig_deeper() -> None:
    buckets = TokenBuckets(burst=1, per_second=1.0)
    assert buckets.admit("a", 0.0)
    for _ in range(50):
        buckets.admit("a", 0.1)
    assert buckets.admit("a", 1.1)


def test_half_open_places() -> None:
    places = HalfOpen(2)
    assert places.enter()
    assert places.enter()
    assert not places.enter()
    places.leave()
    assert places.enter()
