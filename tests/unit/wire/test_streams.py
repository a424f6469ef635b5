from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import limits
from mpcd.ids import Role
from mpcd.testing.channels import cipher_pair
from mpcd.wire import (
    Outgoing,
    RecordReader,
    RecordType,
    RecordWriter,
    Route,
    StreamReader,
    StreamWriter,
    WireFailed,
    WireMisuse,
    messages,
)
from mpcd.wire.records import PAYLOAD_BYTES_MAX
from mpcd.wire.streams import wire_bytes


def route(index: int) -> Route:
    name = hashlib.sha256(str(index).encode()).digest()
    return Route(name[:16], Role("input", index % 64), Role("compute", index % 3), name[16:])


class Line:
    """A writer, a reader and the bytes between them."""

    def __init__(self, *, buffer_bytes: int = limits.WRITE_BUFFER_BYTES_MAX, unfinished_max: int = 8) -> None:
        sender, receiver = cipher_pair("streams")
        self.writer = RecordWriter(sender, buffer_bytes=buffer_bytes)
        self.reader = RecordReader(receiver)
        self.streams = StreamWriter(self.writer)
        self.placed: list[tuple[Route, int]] = []
        self.incoming = StreamReader(self.place, unfinished_max=unfinished_max)
        self.bytes = 0
        self.arrived: list[tuple[Route, bytes]] = []

    def place(self, where: Route, total: int) -> memoryview:
        self.placed.append((where, total))
        return memoryview(bytearray(total))

    def flush(self) -> None:
        data = self.writer.take()
        self.bytes += len(data)
        while data:
            space = self.reader.writable()
            count = min(len(space), len(data))
            space[:count] = data[:count]
            self.reader.received(count)
            data = data[count:]
            while self.reader.peek() is not None:
                done = self.incoming.feed(self.reader)
                if done is not None:
                    self.arrived.append((done[0], bytes(done[1])))
        self.writer.sent()

    def send(self, where: Route, data: bytes) -> None:
        outgoing = Outgoing(where, data)
        while not self.streams.write(outgoing):
            self.flush()
        self.flush()


def test_eight_million_bytes_cost_less_than_a_thousandth() -> None:
    data = hashlib.shake_128(b"").digest(8_000_000)
    line = Line()
    line.send(route(0), data)
    assert line.arrived == [(route(0), data)]
    assert line.bytes == wire_bytes(8_000_000) == 8_002_524
    assert line.bytes <= 8_008_000


@pytest.mark.parametrize("size", [0, 1, 1000, PAYLOAD_BYTES_MAX - 44])
def test_a_small_message_is_one_record(size: int) -> None:
    line = Line()
    line.send(route(1), bytes(size))
    assert line.arrived == [(route(1), bytes(size))]
    assert line.reader.records_read == 1
    assert line.bytes == wire_bytes(size) == size + 44 + 20


@pytest.mark.parametrize(
    "size", [PAYLOAD_BYTES_MAX - 43, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 3 * PAYLOAD_BYTES_MAX]
)
def test_a_larger_one_has_its_route_in_a_record_of_its_own(size: int) -> None:
    line = Line()
    line.send(route(1), bytes(size))
    assert line.arrived == [(route(1), bytes(size))]
    assert line.bytes == wire_bytes(size)


@given(
    st.lists(st.integers(0, 400_000), min_size=1, max_size=6),
    st.integers(limits.RECORD_BYTES_MAX, 300_000),
    st.randoms(use_true_random=False),
)
def test_messages_in_any_interleaving_arrive_whole(sizes: list[int], buffer_bytes: int, random: object) -> None:
    line = Line(buffer_bytes=buffer_bytes)
    data = [hashlib.shake_128(bytes([index])).digest(size) for index, size in enumerate(sizes)]
    waiting = [Outgoing(route(index), item) for index, item in enumerate(data)]
    while waiting:
        outgoing = random.choice(waiting)  # type: ignore[attr-defined]
        if line.streams.write(outgoing):
            waiting.remove(outgoing)
        else:
            line.flush()
    line.flush()
    assert sorted(line.arrived) == sorted((route(index), item) for index, item in enumerate(data))
    assert line.incoming.unfinished == 0


def test_the_place_is_asked_once_and_before_the_bytes() -> None:
    line = Line()
    line.send(route(4), bytes(200_000))
    assert line.placed == [(route(4), 200_000)]


def test_a_place_may_refuse() -> None:
    line = Line()

    def refuse(_route: Route, _total: int) -> memoryview:
        raise WireFailed("no leave to send this")

    line.incoming = StreamReader(refuse)
    with pytest.raises(WireFailed):
        line.send(route(4), bytes(10))


def test_a_place_of_another_length_is_our_mistake() -> None:
    line = Line()
    line.incoming = StreamReader(lambda _route, total: memoryview(bytearray(total + 1)))
    with pytest.raises(WireMisuse):
        line.send(route(4), bytes(10))


def test_memory_in_pieces_is_our_mistake() -> None:
    with pytest.raises(WireMisuse):
        Outgoing(route(0), memoryview(bytes(10))[::2])


def test_any_element_type_is_sent_as_its_bytes() -> None:
    line = Line()
    words = memoryview(bytes(range(80))).cast("Q")
    outgoing = Outgoing(route(0), words)
    assert outgoing.total_bytes == 80
    assert line.streams.write(outgoing)
    assert outgoing.finished
    assert line.streams.write(outgoing)  # and nothing more happens
    line.flush()
    assert line.arrived == [(route(0), bytes(range(80)))]


HEAD = messages.encode_route(route(0), 100)


@pytest.mark.parametrize(
    "records",
    [
        [(RecordType.DATA, b"x")],
        [(RecordType.RESUME, messages.encode_number(0))],
        [(RecordType.MESSAGE, HEAD), (RecordType.RESUME, messages.encode_number(1))],
        [(RecordType.MESSAGE, HEAD), (RecordType.DATA, bytes(101))],
        [(RecordType.MESSAGE, HEAD), (RecordType.DATA, bytes(60)), (RecordType.DATA, bytes(41))],
        [(RecordType.MESSAGE, HEAD), (RecordType.DATA, bytes(100)), (RecordType.DATA, b"x")],
        [(RecordType.MESSAGE, HEAD), (RecordType.DATA, bytes(100)), (RecordType.RESUME, messages.encode_number(0))],
        [(RecordType.MESSAGE, HEAD + bytes(99))],
        [(RecordType.MESSAGE, HEAD + bytes(101))],
        [(RecordType.MESSAGE, HEAD[:-1])],
        [(RecordType.MESSAGE, messages.encode_route(route(0), limits.LINK_MESSAGE_BYTES_MAX + 1))],
        [(RecordType.MESSAGE, HEAD)] * 9,
    ],
    ids=[
        "data of nothing",
        "resume of nothing",
        "resume of another",
        "too long",
        "too long later",
        "data after the end",
        "resume after the end",
        "half of it inline",
        "more than all inline",
        "short head",
        "too large",
        "too many",
    ],
)
def test_records_out_of_turn_fail(records: list[tuple[RecordType, bytes]]) -> None:
    line = Line()
    for kind, payload in records:
        line.writer.append(kind, payload)
    with pytest.raises(WireFailed):
        line.flush()


def test_a_message_announced_too_large_is_never_placed() -> None:
    line = Line()
    line.writer.append(RecordType.MESSAGE, messages.encode_route(route(0), 2**62))
    with pytest.raises(WireFailed):
        line.flush()
    assert line.placed == []


def test_feeding_something_else_is_our_mistake() -> None:
    line = Line()
    with pytest.raises(WireMisuse):
        line.incoming.feed(line.reader)
    line.writer.append(RecordType.PING, bytes(8))
    with pytest.raises(WireMisuse):
        line.flush()


def test_message_numbers_never_wrap() -> None:
    line = Line()
    line.streams._next_number = 2**32 - 1
    line.incoming._next_number = 2**32 - 1
    line.send(route(0), b"the last one")
    with pytest.raises(WireMisuse):
        line.send(route(1), b"one more")
    line.streams._next_number = 0
    with pytest.raises(WireFailed):
        line.send(route(1), b"one more")
