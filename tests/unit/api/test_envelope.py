from __future__ import annotations

import random

import msgpack
import pytest

from mpcd import limits
from mpcd.api.envelope import Decoder, Message, Notification, Request, Response, encode
from mpcd.errors import LimitExceeded, RequestInvalid

MESSAGES: list[Message] = [
    Request(0, "mpc.v1.Hello", {"client": "x", "versions": [1]}),
    Request(2**32 - 1, "m", {}),
    Response(7, None, {"a": b"\x00\xff", "b": [1, None, True, 1.5]}),
    Response(7, {"code": "mpc.Busy"}, None),
    Notification("mpc.v1.Event", {"seq": 1}),
]


@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_messages_survive_any_cutting_of_the_stream(chunk: int) -> None:
    data = b"".join(map(encode, MESSAGES))
    decoder = Decoder.for_client()
    found = [message for i in range(0, len(data), chunk) for message in decoder.feed(data[i : i + chunk])]
    assert found == MESSAGES
    assert not decoder.in_message


@pytest.mark.parametrize(
    "value",
    [
        [0, 1, "m", []],
        [0, 1, "m", [{}, {}]],
        [0, 1, "m", [[]]],
        [0, 1, "m"],
        [0, -1, "m", [{}]],
        [0, 2**32, "m", [{}]],
        [0, True, "m", [{}]],
        [0, "1", "m", [{}]],
        [0, 1, b"m", [{}]],
        [0, 1, "m" * 65, [{}]],
        [1, 1, None, None],
        [1, 1, {}, {}],
        [1, 1, None, []],
        [2, 1, [{}]],
        [3, 1, "m", [{}]],
        {},
        "m",
        0,
        None,
        [],
    ],
)
def test_what_is_not_the_envelope_is_refused(value: object) -> None:
    with pytest.raises(RequestInvalid):
        list(Decoder.for_daemon().feed(msgpack.packb(value)))


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",  # never used in msgpack
        b"\x94\x00\x01\xa1m\x91\x81\x01\x01",  # integer key
        b"\x94\x00\x01\xa1\xff\x91\x80",  # not UTF-8
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1 entries
        b"\xdf\xff\xff\xff\xff",
        b"\xc7\x01\x05a",  # extension type
        b"\xd6\xff\x00\x00\x00\x00",  # time stamp
    ],
)
def test_malformed_or_enormous_headers_are_refused_at_once(data: bytes) -> None:
    with pytest.raises((RequestInvalid, LimitExceeded)):
        list(Decoder.for_daemon().feed(data))


def test_an_oversize_message_is_refused_before_it_is_complete() -> None:
    head = b"\x94\x00\x01\xa1m\x91\x81\xa1k\xc6" + (2**31).to_bytes(4, "big")
    with pytest.raises((LimitExceeded, RequestInvalid)):
        list(Decoder.for_daemon().feed(head + bytes(limits.API_REQUEST_BYTES_MAX)))


def test_many_small_entries_do_not_slip_past_the_byte_limit() -> None:
    # Consumed entries leave the unpacker's buffer: the limit must count the message, not the buffer.
    data = b"\x94\x00\x01\xa1m\x91\x81\xa1k" + b"\xdc\x03\xe8" + (b"\xc4\x80" + bytes(128)) * 1000
    with pytest.raises(LimitExceeded):
        list(Decoder.for_daemon().feed(data))


@pytest.mark.parametrize(("levels", "good"), [(limits.API_NESTING_LEVELS_MAX - 4, True), (40, False), (5000, False)])
def test_nesting_is_limited(levels: int, good: bool) -> None:
    data = b"\x94\x00\x01\xa1m\x91\x81\xa1k" + b"\x91" * levels + b"\x00"
    if good:
        assert len(list(Decoder.for_daemon().feed(data))) == 1
    else:
        with pytest.raises((LimitExceeded, RequestInvalid)):
            list(Decoder.for_daemon().feed(data))


def test_many_messages_in_one_piece_are_not_an_oversize_message() -> None:
    one = encode(Request(1, "m", {"k": bytes(1000)}))
    count = 3 * limits.API_REQUEST_BYTES_MAX // len(one)
    assert len(list(Decoder.for_daemon().feed(one * count))) == count


def test_random_bytes_never_raise_anything_else() -> None:
    rng = random.Random(11)
    for _ in range(2000):
        data = rng.randbytes(rng.randrange(1, 40))
        try:
            list(Decoder.for_daemon().feed(data))
        except (RequestInvalid, LimitExceeded):
            continue
