"""The hello: one size, one spelling, and a difference that names who must act."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import canonical
from mpcd.ids import RosterHash
from mpcd.net.config import RosterView
from mpcd.net.hello import HELLO_BYTES, Hello, HelloInvalid

HASH = RosterHash(bytes(range(32)))
OTHER = RosterHash(bytes(32))
INSTANCE = b"i" * 16


@given(
    st.integers(0, 2**32),
    st.binary(min_size=32, max_size=32),
    st.one_of(st.just(b""), st.binary(min_size=64, max_size=64)),
)
def test_round_trip_in_one_size(version: int, roster_hash: bytes, replaces: bytes) -> None:
    hello = Hello(version, RosterHash(roster_hash), INSTANCE, replaces)
    encoded = hello.encode()
    assert len(encoded) == HELLO_BYTES
    assert Hello.decode(encoded) == hello


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(HelloInvalid):
        Hello.decode(data)


@given(st.integers(0, HELLO_BYTES * 8 - 1))
def test_a_flipped_bit_is_refused_or_means_something_else(bit: int) -> None:
    hello = Hello(3, HASH, INSTANCE, b"r" * 64)
    data = bytearray(hello.encode())
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(HelloInvalid):
        assert Hello.decode(bytes(data)) != hello


@pytest.mark.parametrize(
    "value",
    [
        {"i": INSTANCE, "r": b"", "rh": HASH},
        {"i": INSTANCE, "r": b"", "rh": HASH, "rv": -1},
        {"i": INSTANCE, "r": b"", "rh": HASH, "rv": True},
        {"i": INSTANCE, "r": b"x", "rh": HASH, "rv": 1},
        {"i": b"short", "r": b"", "rh": HASH, "rv": 1},
        {"i": INSTANCE, "r": b"", "rh": b"short", "rv": 1},
        {"i": INSTANCE, "r": b"", "rh": HASH, "rv": 1, "x": 0},
        [1, 2, 3],
    ],
)
def test_each_field_is_checked(value: object) -> None:
    body = canonical.encode(value)
    with pytest.raises(HelloInvalid):
        Hello.decode(len(body).to_bytes(2, "big") + body + bytes(HELLO_BYTES - 2 - len(body)))


def test_who_must_act_on_a_difference() -> None:
    ours = RosterView("c", 5, HASH)
    assert Hello(5, HASH, INSTANCE).roster_difference(ours) == ""
    assert "the peer's operator must update" in Hello(4, OTHER, INSTANCE).roster_difference(ours)
    assert "the operator here must update" in Hello(6, OTHER, INSTANCE).roster_difference(ours)
    assert "another roster under the same version" in Hello(5, OTHER, INSTANCE).roster_difference(ours)
