from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.ids import Role, RoleKind, SessionId, Step
from mpcd.wire import CloseReason, Link, Route, WireFailed, WireMisuse, messages, session_prefix, step_hash

kinds: st.SearchStrategy[RoleKind] = st.sampled_from(["input", "compute", "analyst"])
roles = st.builds(Role, kinds, st.integers(0, 255))
prefixes = st.binary(min_size=16, max_size=16)
ROUTE = Route(bytes(16), Role("input", 3), Role("compute", 2), bytes(16))


@given(st.builds(Route, prefixes, roles, roles, prefixes), st.integers(0, 2**40), st.binary(max_size=50))
def test_a_route_is_read_as_it_was_written(route: Route, total: int, rest: bytes) -> None:
    head = messages.encode_route(route, total + len(rest))
    assert len(head) == messages.ROUTE_BYTES == 44
    decoded, found, inline = messages.decode_route(memoryview(head + rest))
    assert (decoded, found, bytes(inline)) == (route, total + len(rest), rest)
    assert route.link == Link(*route[:3])


@given(st.builds(Link, prefixes, roles, roles), st.integers(0, 2**64 - 1))
def test_a_window_is_read_as_it_was_written(link: Link, limit: int) -> None:
    assert messages.decode_window(memoryview(messages.encode_window(link, limit))) == (link, limit)


@given(st.integers(0, 2**32 - 1))
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    assert messages.decode_number(memoryview(messages.encode_number(number))) == number


@pytest.mark.parametrize("reason", list(CloseReason))
def test_a_close_is_read_as_it_was_written(reason: CloseReason) -> None:
    assert messages.decode_close(memoryview(messages.encode_close(reason))) is reason


def test_a_ping_is_read_as_it_was_written() -> None:
    assert messages.decode_ping(memoryview(b"12345678")) == b"12345678"


@pytest.mark.parametrize("size", [0, 1, 3, 5, 7, 9, 27, 29, 43])
def test_payloads_of_another_length_fail(size: int) -> None:
    payload = memoryview(bytes([255]) * size)
    for decode in (
        messages.decode_route,
        messages.decode_window,
        messages.decode_number,
        messages.decode_ping,
        messages.decode_close,
    ):
        with pytest.raises(WireFailed):
            decode(payload)


def test_unknown_kinds_of_role_fail() -> None:
    for position in (16, 18):
        head = bytearray(messages.encode_route(ROUTE, 0))
        head[position] = 3
        with pytest.raises(WireFailed):
            messages.decode_route(memoryview(head))
        window = bytearray(messages.encode_window(ROUTE.link, 0))
        window[position] = 200
        with pytest.raises(WireFailed):
            messages.decode_window(memoryview(window))


def test_an_unknown_reason_fails() -> None:
    with pytest.raises(WireFailed):
        messages.decode_close(memoryview(bytes([len(CloseReason)])))


@pytest.mark.parametrize(
    ("route", "total"),
    [
        (ROUTE._replace(session=bytes(15)), 0),
        (ROUTE._replace(step=bytes(17)), 0),
        (ROUTE._replace(sender=Role("input", 256)), 0),
        (ROUTE._replace(sender=Role("input", -1)), 0),
        (ROUTE, -1),
        (ROUTE, 2**63),
    ],
)
def test_a_route_that_cannot_be_written_is_our_mistake(route: Route, total: int) -> None:
    with pytest.raises(WireMisuse):
        messages.encode_route(route, total)


def test_steps_and_sessions_are_named_by_sixteen_bytes() -> None:
    assert len(step_hash(Step("mul/1"))) == 16
    assert step_hash(Step("mul/1")) != step_hash(Step("mul/2"))
    assert session_prefix(SessionId(bytes(range(32)))) == bytes(range(16))
