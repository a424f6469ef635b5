"""Arbitrary bytes into everything that reads a peer's bytes: one type of failure, nothing else, ever."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from mpcd import limits, noise
from mpcd.ids import Role
from mpcd.noise import NoiseFailed
from mpcd.testing import vectors
from mpcd.testing.channels import HandshakePair
from mpcd.wire import (
    Assembler,
    RecordReader,
    RecordType,
    Registry,
    Route,
    StreamReader,
    WireFailed,
    messages,
)
from mpcd.wire.control import Anything, Octets
from mpcd.wire.records import TAG_BYTES, Buffer


class NullCipher:
    """Authenticates everything, so that what stands behind the cipher is reached."""

    def encrypt_into(self, ad: Buffer, plaintext: Buffer, out: memoryview) -> int:
        raise AssertionError("readers do not encrypt")

    def decrypt_into(self, ad: Buffer, ciphertext: Buffer, out: memoryview) -> int:
        out[:] = ciphertext[: len(ciphertext) - TAG_BYTES]
        return len(out)

    def rekey(self) -> None:
        pass

    def forget(self) -> None:
        pass


ROUTE = Route(bytes(16), Role("input", 0), Role("input", 0), bytes(16))
payloads = st.one_of(
    st.binary(min_size=1, max_size=80),
    st.builds(
        lambda total, rest: messages.encode_route(ROUTE, total) + rest,
        st.integers(0, 200),
        st.binary(max_size=200),
    ),
    st.builds(messages.encode_number, st.integers(0, 3)),
)
records = st.lists(st.tuples(st.sampled_from(list(RecordType)), payloads), max_size=10)


def place(_route: Route, total: int) -> memoryview:
    if total > 1000:
        raise WireFailed("no leave")
    return memoryview(bytearray(total))


def read_everything(reader: RecordReader) -> None:
    """What a channel does with what it has received."""
    streams, assembler, registry = StreamReader(place, unfinished_max=2), Assembler(), Registry()
    registry.register("a", {"b": Octets(3, 0), "c": Anything(100)})
    while (following := reader.peek()) is not None:
        if following[0] in (RecordType.MESSAGE, RecordType.DATA, RecordType.RESUME):
            streams.feed(reader)
            continue
        record = reader.read()
        assert record is not None
        kind, payload = record
        if kind is RecordType.CONTROL:
            encoded = assembler.feed(payload)
            if encoded is not None:
                registry.decode(encoded)
        elif kind is RecordType.WINDOW:
            messages.decode_window(payload)
        elif kind is RecordType.CLOSE:
            messages.decode_close(payload)
        else:
            messages.decode_ping(payload)


def feed(reader: RecordReader, data: bytes) -> None:
    if data:
        reader.writable()[: len(data)] = data
        reader.received(len(data))
    read_everything(reader)
    reader.received(0)


@given(st.binary(max_size=300))
def test_records_of_arbitrary_bytes(data: bytes) -> None:
    with contextlib.suppress(WireFailed):
        feed(RecordReader(NullCipher(), buffer_bytes=2 * limits.RECORD_BYTES_MAX), data)


@given(records, st.binary(max_size=5))
def test_arbitrary_records(found: list[tuple[RecordType, bytes]], rest: bytes) -> None:
    data = b"".join((kind << 24 | len(p) + TAG_BYTES).to_bytes(4, "big") + p + bytes(TAG_BYTES) for kind, p in found)
    with contextlib.suppress(WireFailed):
        feed(RecordReader(NullCipher(), buffer_bytes=2 * limits.RECORD_BYTES_MAX), data + rest)


@given(st.binary(max_size=300))
def test_control_messages_of_arbitrary_bytes(data: bytes) -> None:
    registry = Registry()
    registry.register("a", {"b": Octets(3, 0), "c": Anything(100)})
    with contextlib.suppress(WireFailed):
        registry.decode(data)


@given(st.integers(0, 2), st.binary(max_size=200), st.booleans())
def test_handshake_messages_of_arbitrary_bytes(index: int, data: bytes, same_length: bool) -> None:
    pair = HandshakePair("fuzz", suite="Noise_XKhfs+psk3_25519+MLKEM768_AESGCM_SHA512")
    ends = [(pair.initiator, pair.responder), (pair.responder, pair.initiator), (pair.initiator, pair.responder)]
    for writer, reader in ends[:index]:
        reader.read_message(writer.write_message())
    writer, reader = ends[index]
    right = writer.write_message()
    wrong = (data + right[len(data) :])[: len(right)] if same_length else data
    if wrong == right:
        return
    try:
        reader.read_message(wrong)
    except NoiseFailed:
        return
    raise AssertionError("a message that nobody wrote was accepted")


@given(st.text(max_size=60))
def test_arbitrary_protocol_names(name: str) -> None:
    for text in (name, f"Noise_{name}_25519_AESGCM_SHA256", f"Noise_XK{name}_25519_AESGCM_SHA256"):
        with contextlib.suppress(noise.SuiteUnsupported):
            assert noise.parse_suite(text).name == text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["00" * 32, "Noise_NN_25519_AESGCM_SHA256"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["protocol_name", "messages", "payload", "ciphertext", "init_ephemeral", "init_psks", "fail"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_arbitrary_vectors(raw: object) -> None:
    with contextlib.suppress(vectors.VectorFailed, vectors.VectorSkipped):
        vectors.run_noise_vector(raw)
