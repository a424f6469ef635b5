"""Each honest stream has its tampered twins; all of these fail in one way, `WireFailed`, and the reader is dead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import limits, noise
from mpcd.testing.channels import cipher_pair
from mpcd.wire import PAYLOAD_BYTES_MAX, RecordReader, RecordType, RecordWriter, WireFailed, WireMisuse
from mpcd.wire.records import OVERHEAD_BYTES

Record = tuple[RecordType, bytes]
SMALL_READ_BUFFER_BYTES = 2 * limits.RECORD_BYTES_MAX


def ends(
    rekey_records: int = limits.REKEY_RECORDS_MAX, *, reader_rekey: int | None = None
) -> tuple[RecordWriter, RecordReader]:
    sender, receiver = cipher_pair("records")
    return (
        RecordWriter(sender, rekey_records=rekey_records),
        RecordReader(
            receiver,
            rekey_records=rekey_records if reader_rekey is None else reader_rekey,
            buffer_bytes=SMALL_READ_BUFFER_BYTES,
        ),
    )


def written(writer: RecordWriter, records: list[Record]) -> bytes:
    """The records' bytes, flushed whenever the buffer is full."""
    out = b""
    for kind, payload in records:
        if writer.room < len(payload):
            out += writer.take()
            writer.sent()
        writer.append(kind, payload)
    out += writer.take()
    writer.sent()
    return out


def received(reader: RecordReader, data: bytes) -> list[Record]:
    """All records in the data, however small the pieces in which the reader takes it."""
    found = []
    view = memoryview(data)
    while view:
        space = reader.writable()
        count = min(len(space), len(view))
        space[:count] = view[:count]
        reader.received(count)
        view = view[count:]
        found += [(kind, bytes(payload)) for kind, payload in reader.records()]
    return found


THREE: list[Record] = [
    (RecordType.CONTROL, b"first"),
    (RecordType.DATA, bytes(range(256))),
    (RecordType.PING, b"12345678"),
]


def test_records_arrive_as_they_were_sent() -> None:
    writer, reader = ends()
    data = written(writer, THREE)
    assert len(data) == sum(len(payload) + 20 for _, payload in THREE)
    assert received(reader, data) == THREE
    assert reader.records_read == 3
    assert not reader.closed


def test_the_header_is_type_and_length_and_nothing_else_is_readable() -> None:
    writer, _ = ends()
    data = written(writer, [(RecordType.DATA, b"the payload")])
    assert data[:4] == bytes([3, 0, 0, 11 + 16])
    assert b"payload" not in data


def test_a_record_on_the_wire_never_exceeds_the_limit() -> None:
    writer, reader = ends()
    assert writer.room == PAYLOAD_BYTES_MAX == 65_515
    data = written(writer, [(RecordType.DATA, bytes(PAYLOAD_BYTES_MAX))])
    assert len(data) == limits.RECORD_BYTES_MAX == 65_535
    assert received(reader, data) == [(RecordType.DATA, bytes(PAYLOAD_BYTES_MAX))]


@given(
    st.lists(st.tuples(st.sampled_from(list(RecordType)[:-1]), st.binary(min_size=1, max_size=300)), max_size=12),
    st.lists(st.integers(1, 700), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_any_chunking_gives_the_same_records(records: list[Record], chunks: list[int], rekey_records: int) -> None:
    writer, reader = ends(rekey_records)
    data = memoryview(written(writer, [*records, (RecordType.CLOSE, b"\0")]))
    found: list[Record] = []
    turn = 0
    while data:
        count = min(chunks[turn % len(chunks)], len(data))
        turn += 1
        reader.writable()[:count] = data[:count]
        reader.received(count)
        found += [(kind, bytes(payload)) for kind, payload in reader.records()]
        data = data[count:]
    assert found == [*records, (RecordType.CLOSE, b"\0")]
    assert reader.closed
    reader.received(0)


def test_large_records_pass_through_a_small_buffer() -> None:
    writer, reader = ends()
    records = [(RecordType.DATA, bytes([index]) * (PAYLOAD_BYTES_MAX - 700 * index)) for index in range(40)]
    assert received(reader, written(writer, records)) == records


def test_data_is_decrypted_straight_into_its_place() -> None:
    writer, reader = ends()
    data = written(writer, [(RecordType.DATA, b"abcdef"), (RecordType.DATA, b"ghi")])
    reader.writable()[: len(data)] = data
    reader.received(len(data))
    place = memoryview(bytearray(9))
    assert reader.peek() == (RecordType.DATA, 6)
    with pytest.raises(WireMisuse):
        reader.read_into(place)
    reader.read_into(place[:6])
    assert reader.peek() == (RecordType.DATA, 3)
    reader.read_into(place[6:])
    assert bytes(place) == b"abcdefghi"
    assert reader.peek() is None
    with pytest.raises(WireMisuse):
        reader.read_into(place)


def test_a_place_gets_no_byte_of_a_record_that_does_not_authenticate() -> None:
    writer, reader = ends()
    data = bytearray(written(writer, [(RecordType.DATA, b"abcdef")]))
    data[-1] ^= 1
    reader.writable()[: len(data)] = data
    reader.received(len(data))
    place = memoryview(bytearray(b"......"))
    with pytest.raises(WireFailed):
        reader.read_into(place)
    assert bytes(place) == bytes(6)


# ------------------------------------------------------------------------------------------------ rekey


def test_both_ends_rekey_by_counting() -> None:
    writer, reader = ends(4)
    keys = set()
    for index in range(41):
        assert writer._cipher._cipher is not None  # type: ignore[attr-defined]
        keys.add(id(writer._cipher._cipher))  # type: ignore[attr-defined]
        assert received(reader, written(writer, [(RecordType.DATA, bytes([index]))])) == [
            (RecordType.DATA, bytes([index]))
        ]
    assert writer._cipher.nonce == 41  # type: ignore[attr-defined]
    assert len(keys) > 1


@pytest.mark.parametrize(("ours", "theirs"), [(4, 5), (5, 4), (4, limits.REKEY_RECORDS_MAX)])
def test_ends_that_count_differently_part_at_the_first_rekey(ours: int, theirs: int) -> None:
    writer, reader = ends(ours, reader_rekey=theirs)
    first = min(ours, theirs)
    assert len(received(reader, written(writer, [(RecordType.DATA, b"x")] * first))) == first
    with pytest.raises(WireFailed):
        received(reader, written(writer, [(RecordType.DATA, b"x")]))


def test_the_interval_is_the_designs() -> None:
    assert limits.REKEY_RECORDS_MAX == 2**20


# ------------------------------------------------------------------------------------------------ tampering


def assert_dead(reader: RecordReader) -> None:
    for use in (reader.writable, reader.peek, reader.read, lambda: reader.received(1), lambda: reader.received(0)):
        with pytest.raises(WireFailed):
            use()
    assert not reader._cipher.has_key()  # type: ignore[attr-defined]


def until_the_end(reader: RecordReader, data: bytes) -> None:
    """The data and then the end of the connection."""
    received(reader, data)
    reader.received(0)


def test_one_bit_changed_anywhere_fails() -> None:
    sender, _ = cipher_pair("records")
    data = written(RecordWriter(sender), THREE)
    for position in range(len(data)):
        _, reader = ends()
        tampered = bytearray(data)
        tampered[position] ^= 1 << position % 8
        with pytest.raises(WireFailed):
            until_the_end(reader, bytes(tampered))  # a length that became larger shows at the end
        assert_dead(reader)


def pieces(records: list[Record]) -> list[bytes]:
    writer, _ = ends()
    return [written(writer, [record]) for record in records]


@pytest.mark.parametrize(
    "order",
    [[0, 0], [1], [0, 2], [1, 0, 2], [0, 2, 1], [0, 1, 1], [0, 1, 2, 0]],
    ids=["replayed", "first dropped", "dropped", "swapped", "swapped later", "repeated", "replayed later"],
)
def test_records_dropped_repeated_or_moved_fail(order: list[int]) -> None:
    parts = pieces(THREE)
    _, reader = ends()
    with pytest.raises(WireFailed):
        received(reader, b"".join(parts[index] for index in order))
    assert_dead(reader)


def test_a_record_of_the_other_direction_fails() -> None:
    sender, receiver = cipher_pair("one channel")
    _, other = cipher_pair("another channel")
    data = written(RecordWriter(sender), THREE)
    with pytest.raises(WireFailed):
        received(RecordReader(other), data)
    assert received(RecordReader(receiver), data) == THREE


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 24, 25, 30])
def test_the_end_of_the_bytes_without_a_close_fails(cut: int) -> None:
    writer, reader = ends()
    received(reader, written(writer, THREE)[:cut])
    with pytest.raises(WireFailed):
        reader.received(0)
    assert_dead(reader)


@pytest.mark.parametrize(
    "header",
    [
        (RecordType.DATA << 24 | 65_532).to_bytes(4, "big"),
        (RecordType.DATA << 24 | 0xFFFFFF).to_bytes(4, "big"),
        (RecordType.DATA << 24 | 16).to_bytes(4, "big"),
        (RecordType.DATA << 24).to_bytes(4, "big"),
        (0 << 24 | 100).to_bytes(4, "big"),
        (9 << 24 | 100).to_bytes(4, "big"),
        (255 << 24 | 100).to_bytes(4, "big"),
    ],
    ids=["oversize", "huge", "empty", "nothing", "type 0", "type 9", "type 255"],
)
def test_a_header_that_cannot_be_fails_before_its_record_arrives(header: bytes) -> None:
    _, reader = ends()
    with pytest.raises(WireFailed):
        received(reader, header)
    assert_dead(reader)


# ------------------------------------------------------------------------------------------------ the end


def test_a_close_record_ends_the_bytes() -> None:
    writer, reader = ends()
    data = written(writer, [*THREE, (RecordType.CLOSE, b"\0")])
    assert received(reader, data)[-1] == (RecordType.CLOSE, b"\0")
    assert reader.closed
    reader.received(0)
    assert writer.closed
    assert writer.room == 0
    with pytest.raises(WireMisuse):
        writer.append(RecordType.DATA, b"more")


@pytest.mark.parametrize("split", [False, True])
def test_anything_after_a_close_record_fails(*, split: bool) -> None:
    writer, reader = ends()
    data = written(writer, [(RecordType.CLOSE, b"\0")])
    if split:
        received(reader, data)
    with pytest.raises(WireFailed):
        received(reader, b"x" if split else data + b"x")
    assert_dead(reader)


# ------------------------------------------------------------------------------------------------ our own mistakes


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    writer, reader = ends()
    with pytest.raises(WireMisuse):
        writer.append(RecordType.DATA, bytes(PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(WireMisuse):
        writer.append(RecordType.DATA, bytes(PAYLOAD_BYTES_MAX), head=b"x")
    with pytest.raises(WireMisuse):
        writer.append(RecordType.DATA, b"")
    assert writer.pending_bytes == 0
    assert received(reader, written(writer, THREE)) == THREE


def test_a_buffer_in_flight_is_not_touched() -> None:
    writer, reader = ends()
    with pytest.raises(WireMisuse):
        writer.sent()
    writer.append(RecordType.DATA, b"first")
    taken = writer.take()
    before = bytes(taken)
    assert writer.room == 0
    with pytest.raises(WireMisuse):
        writer.append(RecordType.DATA, b"second")
    with pytest.raises(WireMisuse):
        writer.take()
    assert bytes(taken) == before
    writer.sent()
    assert received(reader, before + written(writer, [(RecordType.DATA, b"second")])) == [
        (RecordType.DATA, b"first"),
        (RecordType.DATA, b"second"),
    ]


def test_a_megabyte_goes_out_in_one_write() -> None:
    writer, _ = ends()
    taken = writer.append_data(memoryview(bytes(2**20)))
    assert writer.pending_bytes <= limits.WRITE_BUFFER_BYTES_MAX == 2**20
    assert taken == 16 * PAYLOAD_BYTES_MAX
    assert writer.append_data(memoryview(bytes(100))) == 0


def test_records_are_not_cut_small_because_the_buffer_ends() -> None:
    writer, _ = ends()
    writer.append(RecordType.CONTROL, bytes(40_000))
    taken = writer.append_data(memoryview(bytes(2**20)))
    assert taken == 15 * PAYLOAD_BYTES_MAX
    assert limits.WRITE_BUFFER_BYTES_MAX - writer.pending_bytes < PAYLOAD_BYTES_MAX // 2 + OVERHEAD_BYTES


def test_a_reader_whose_records_nobody_takes_says_so() -> None:
    writer, reader = ends()
    data = written(writer, [(RecordType.DATA, bytes(PAYLOAD_BYTES_MAX))] * 2)
    reader.writable()[: len(data)] = data
    reader.received(len(data))
    with pytest.raises(WireMisuse):
        reader.writable()
    with pytest.raises(WireMisuse):
        reader.received(1)
    assert len(list(reader.records())) == 2


@pytest.mark.parametrize("size", [0, limits.RECORD_BYTES_MAX - 1, 2**20 + 1])
def test_buffers_have_bounds(size: int) -> None:
    sender, receiver = cipher_pair()
    with pytest.raises(WireMisuse):
        RecordWriter(sender, buffer_bytes=size)
    with pytest.raises(WireMisuse):
        RecordReader(receiver, buffer_bytes=size)


@pytest.mark.parametrize("suite", ["Noise_XKpsk3_25519_ChaChaPoly_BLAKE2b", noise.SUITE])
def test_any_suites_ciphers_carry_records(suite: str) -> None:
    sender, receiver = cipher_pair(suite=suite)
    assert received(RecordReader(receiver), written(RecordWriter(sender), THREE)) == THREE
