from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import canonical, limits
from mpcd.wire import Assembler, Registry, WireFailed, WireMisuse, fragments
from mpcd.wire.control import (
    CONTROL,
    Anything,
    Choice,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Message,
    Octets,
    Optional,
    Text,
    Truth,
)
from mpcd.wire.records import PAYLOAD_BYTES_MAX


def registry() -> Registry:
    found = Registry()
    found.register(
        "test.propose",
        {"session": Octets(32), "rows": Integer(0, 10), "note": Text(8), "reasons": ListOf(Text(4), 2)},
        bytes_max=100,
    )
    found.register("test.empty", {})
    return found


GOOD: Message = {"type": "test.propose", "session": bytes(32), "rows": 3, "note": "grün", "reasons": ["a"]}


def test_a_message_is_read_as_it_was_written() -> None:
    assert registry().decode(registry().encode(GOOD)) == GOOD
    assert registry().decode(registry().encode({"type": "test.empty"})) == {"type": "test.empty"}
    assert registry().types() == {"test.propose", "test.empty"}


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "test.unknown"},
        {"type": 3},
        {"type": None},
        {"session": bytes(31)},
        {"session": bytes(33)},
        {"session": "0" * 32},
        {"rows": -1},
        {"rows": 11},
        {"rows": True},
        {"rows": 3.0},
        {"rows": None},
        {"note": "gründlich"},
        {"note": b"note"},
        {"reasons": ["a", "b", "c"]},
        {"reasons": ["abcde"]},
        {"reasons": "ab"},
        {"extra": 1},
    ],
)
def test_a_message_against_its_schema_is_refused_at_both_ends(changes: dict[str, canonical.Value]) -> None:
    message = GOOD | changes
    with pytest.raises(WireMisuse):
        registry().encode(message)
    with pytest.raises(WireFailed):
        registry().decode(canonical.encode(message))


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_refused(key: str) -> None:
    message = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(WireMisuse):
        registry().encode(message)
    with pytest.raises(WireFailed):
        registry().decode(canonical.encode(message))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc1",
        b"\xff",
        canonical.encode(["test.empty"]),
        b"\x81\xa4type\xd9\x0atest.empty",  # a longer spelling of a short string
        b"\x82\xa4type\xaatest.empty\xa4type\xaatest.empty",
        canonical.encode({"type": "test.empty"}) + b"\0",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
)
def test_what_is_not_a_canonical_map_is_refused(encoded: bytes) -> None:
    with pytest.raises(WireFailed):
        registry().decode(encoded)


def test_the_whole_message_has_a_limit_too() -> None:
    small = Registry()
    small.register("test.large", {"data": Octets(1000, 0)}, bytes_max=100)
    with pytest.raises(WireMisuse):
        small.encode({"type": "test.large", "data": bytes(100)})
    with pytest.raises(WireFailed):
        small.decode(canonical.encode({"type": "test.large", "data": bytes(100)}))
    with pytest.raises(WireFailed):
        small.decode(bytes(limits.CONTROL_MESSAGE_BYTES_MAX + 1))


def test_a_refusal_says_nothing_that_the_message_says() -> None:
    with pytest.raises(WireFailed) as failure:
        registry().decode(canonical.encode(GOOD | {"note": "secret note"}))
    assert "secret" not in str(failure.value)


def test_two_types_of_one_name_are_a_bug() -> None:
    found = registry()
    for name, keys, size in (
        ("test.empty", {}, 10),
        ("test.type", {"type": Truth()}, 10),
        ("test.huge", {}, limits.CONTROL_MESSAGE_BYTES_MAX + 1),
    ):
        with pytest.raises(WireMisuse):
            found.register(name, keys, bytes_max=size)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Truth(), [True, False], [0, 1, None, "true"]),
        (Octets(4, 2), [b"ab", b"abcd"], [b"a", b"abcde", "ab", None]),
        (Choice(("yes", "no")), ["yes"], ["maybe", None, 1]),
        (Optional(Integer(1, 2)), [None, 1, 2], [0, 3, "1", False]),
        (MapOf({"a": Truth()}), [{"a": True}], [{}, {"a": 1}, {"a": True, "b": True}, [], None]),
        (ListOf(MapOf({"a": Truth()}), 1), [[], [{"a": True}]], [[{}], [{"a": True}] * 2]),
        (Anything(5), [None, [1, 2], "abcd", {"a": 1}], ["abcde", [1] * 5, 2**64, {1: 2}]),
    ],
)
def test_kinds_accept_what_they_say(kind: Kind, good: list[object], bad: list[object]) -> None:
    assert all(kind.accepts(value) for value in good)
    assert not any(kind.accepts(value) for value in bad)


def test_the_daemons_registry_is_one() -> None:
    assert isinstance(CONTROL, Registry)


# ------------------------------------------------------------------------------------------------ records


def assembled(payloads: list[bytes]) -> list[bytes]:
    assembler = Assembler()
    found = [assembler.feed(memoryview(payload)) for payload in payloads]
    assert assembler.idle
    return [item for item in found if item is not None]


@given(st.lists(st.integers(1, 200_000).map(lambda size: bytes([size % 256]) * size), max_size=4))
def test_messages_are_put_together_again(encoded: list[bytes]) -> None:
    assert assembled([payload for item in encoded for payload in fragments(item)]) == encoded


@pytest.mark.parametrize(
    ("size", "records"),
    [
        (1, [256]),
        (252, [256]),
        (253, [1024]),
        (5000, [16_384]),
        (16_381, [PAYLOAD_BYTES_MAX]),
        (PAYLOAD_BYTES_MAX, [PAYLOAD_BYTES_MAX, 256]),
    ],
)
def test_lengths_show_their_class_only(size: int, records: list[int]) -> None:
    assert [len(payload) for payload in fragments(b"x" * size)] == records


def test_control_records_that_cannot_be_fail() -> None:
    good = next(iter(fragments(b"abc")))
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        good[:-1] + b"\1",
        bytes(256),
        (limits.CONTROL_MESSAGE_BYTES_MAX + 1).to_bytes(4, "big") + bytes(252),
        b"\xff" * 256,
    ):
        with pytest.raises(WireFailed):
            Assembler().feed(memoryview(bad))
    with pytest.raises(WireMisuse):
        list(fragments(bytes(limits.CONTROL_MESSAGE_BYTES_MAX + 1)))


def test_an_announced_length_is_not_allocated() -> None:
    assembler = Assembler()
    first = limits.CONTROL_MESSAGE_BYTES_MAX.to_bytes(4, "big") + bytes(252)
    assert assembler.feed(memoryview(first)) is None
    assert not assembler.idle
    assert len(assembler._parts) == 252
