"""Records: what a channel's bytes consist of after the handshake (layer 1, no I/O).

Theory of operation.  A record is a 4-byte header and a Noise transport message:

    byte 0      type
    bytes 1-3   length of what follows, big-endian: ciphertext and its 16-byte tag
    then        ENCRYPT(k, n, ad = the 4 header bytes, payload)

The whole record has at most 65,535 bytes.  The header is the associated data, so a changed type or length does not
authenticate; the length is checked against the limit before anything else is done.  Nonces count records, so a record
that is dropped, repeated or moved does not authenticate either.  After every 2^20 records (at most 64 GiB) each side
rekeys that direction by itself.

A stream ends with a CLOSE record.  The end of the bytes without one is a failure: nobody on the path can pretend that a
peer had nothing more to say.  Whatever fails, fails once and the same way, and the reader is dead.

Both ends work in buffers that are allocated once.  The writer encrypts many records into one buffer, which goes out
in one write; the reader receives into one buffer and decrypts from there into the destination that the caller names,
or into a scratch page.  A record's payload is copied by nobody but the cipher, except small ones with a separate
head, which are joined first.

Rejected: exact reads of header and body per record (half the speed at 16 KiB), records above Noise's limit (some 10 %
of speed for leaving the reviewed specification), decryption in place (the library does not promise that buffers may
overlap).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, Never, Protocol, final

from mpcd import limits
from mpcd.wire.errors import WireFailed, WireMisuse

Buffer = bytes | bytearray | memoryview

HEADER_BYTES: Final = 4
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = HEADER_BYTES + TAG_BYTES
"""What a record has beside its payload."""
PAYLOAD_BYTES_MAX: Final = limits.RECORD_BYTES_MAX - OVERHEAD_BYTES


class RecordType(IntEnum):
    """What a record's payload is; the numbers are the wire's."""

    CONTROL = 1
    """A part of a control message."""
    MESSAGE = 2
    """A session message's route, and all of its bytes if they fit."""
    DATA = 3
    """The next bytes of the session message under way."""
    RESUME = 4
    """Another, unfinished session message is the one under way from here on."""
    WINDOW = 5
    """Leave to send up to a limit on one link."""
    PING = 6
    PONG = 7
    CLOSE = 8
    """The last record; its payload is a reason code."""


class RecordCipher(Protocol):
    """One direction of a finished handshake: what `noise.CipherState` is (the two packages are independent)."""

    def encrypt_into(self, ad: Buffer, plaintext: Buffer, out: memoryview) -> int:
        """Ciphertext and 16-byte tag into `out`, under the next nonce."""

    def decrypt_into(self, ad: Buffer, ciphertext: Buffer, out: memoryview) -> int:
        """The plaintext into `out`; raises `ValueError` and zeroes `out` if it does not authenticate."""

    def rekey(self) -> None:
        """Replaces the key by one that is derived from it."""

    def forget(self) -> None:
        """Drops the key."""


_TYPES: Final = {int(kind): kind for kind in RecordType}


@final
class RecordWriter:
    """Encrypts records into one buffer.

    Use: `append` (or `append_data`) while there is `room`, then `take`, send it, `sent`.

    Args:
        cipher: the sending cipher of a finished handshake; the writer's alone from now on.
        buffer_bytes: size of the buffer; at least one whole record.
        rekey_records: how many records a key encrypts; the same at both ends.
    """

    __slots__ = ("_buffer", "_cipher", "_closed", "_count", "_filled", "_in_flight", "_rekey_records", "_scratch")

    def __init__(
        self,
        cipher: RecordCipher,
        *,
        buffer_bytes: int = limits.WRITE_BUFFER_BYTES_MAX,
        rekey_records: int = limits.REKEY_RECORDS_MAX,
    ) -> None:
        if not limits.RECORD_BYTES_MAX <= buffer_bytes <= limits.WRITE_BUFFER_BYTES_MAX or rekey_records < 1:
            raise WireMisuse("a writer's buffer holds at least one record and at most WRITE_BUFFER_BYTES_MAX")
        self._cipher = cipher
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._scratch = memoryview(bytearray(PAYLOAD_BYTES_MAX))
        self._filled = 0
        self._count = 0
        self._rekey_records = rekey_records
        self._in_flight = False
        self._closed = False

    @property
    def room(self) -> int:
        """The largest payload that one more record can take; 0 when the buffer is full, in flight, or closed."""
        if self._closed or self._in_flight:
            return 0
        return max(0, min(len(self._buffer) - self._filled - OVERHEAD_BYTES, PAYLOAD_BYTES_MAX))

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait to be taken."""
        return self._filled

    @property
    def closed(self) -> bool:
        """Whether the CLOSE record has been written; nothing may follow it."""
        return self._closed

    def append(self, kind: RecordType, payload: Buffer, *, head: Buffer = b"") -> None:
        """Adds one record.

        Args:
            kind: its type; CLOSE ends the writer.
            payload: contiguous bytes, not empty together with `head`.
            head: bytes that stand before the payload; the two are joined in a scratch page.

        Raises:
            WireMisuse: it does not fit into `room`, or the buffer is in flight, or closed.
        """
        size = len(head) + len(payload)
        if not 0 < size <= self.room:
            raise WireMisuse(f"a record of {size} bytes does not fit now")
        if head:
            joined = self._scratch[:size]
            joined[: len(head)] = head
            joined[len(head) :] = payload
            payload = joined
        start = self._filled
        end = start + OVERHEAD_BYTES + size
        header = (kind << 24 | size + TAG_BYTES).to_bytes(HEADER_BYTES, "big")
        self._buffer[start : start + HEADER_BYTES] = header
        self._cipher.encrypt_into(header, payload, self._buffer[start + HEADER_BYTES : end])
        self._filled = end
        self._count += 1
        if self._count % self._rekey_records == 0:
            self._cipher.rekey()
        if kind is RecordType.CLOSE:
            self._closed = True

    def append_data(self, data: memoryview) -> int:
        """Adds DATA records for the beginning of `data`, as many as the buffer takes.

        A record is as large as it can be; the last one may be short, and none is shorter than it need be just because
        the buffer ends.

        Args:
            data: bytes of the session message under way, one-dimensional, format "B".

        Returns:
            How many bytes were taken.
        """
        position = 0
        while position < len(data):
            chunk = data[position : position + PAYLOAD_BYTES_MAX]
            room = self.room
            if room < len(chunk):
                if room < PAYLOAD_BYTES_MAX // 2:
                    break
                chunk = chunk[:room]
            self.append(RecordType.DATA, chunk)
            position += len(chunk)
        return position

    def take(self) -> memoryview:
        """The bytes to send now; the buffer is untouched until `sent` is called."""
        if self._in_flight:
            raise WireMisuse("what was taken before is not sent yet")
        self._in_flight = True
        return self._buffer[: self._filled]

    def sent(self) -> None:
        """What was taken is sent: the buffer is free again."""
        if not self._in_flight:
            raise WireMisuse("nothing was taken")
        self._in_flight = False
        self._filled = 0


@final
class RecordReader:
    """Decrypts records out of one buffer.

    Use: receive into `writable()`, say `received(count)`, then take every complete record with `read`, or `peek` and
    `read_into`.  Views of payloads are valid until the next call.

    Args:
        cipher: the receiving cipher of a finished handshake; the reader's alone from now on.
        buffer_bytes: size of the buffer; at least two whole records, so that there is always space to receive into.
        rekey_records: how many records a key decrypts; the same at both ends.
    """

    __slots__ = (
        "_buffer",
        "_cipher",
        "_closed",
        "_count",
        "_end",
        "_failed",
        "_following",
        "_rekey_records",
        "_scratch",
        "_start",
    )

    def __init__(
        self,
        cipher: RecordCipher,
        *,
        buffer_bytes: int = limits.READ_BUFFER_BYTES_MAX,
        rekey_records: int = limits.REKEY_RECORDS_MAX,
    ) -> None:
        if not 2 * limits.RECORD_BYTES_MAX <= buffer_bytes <= limits.READ_BUFFER_BYTES_MAX or rekey_records < 1:
            raise WireMisuse("a reader's buffer holds at least two records and at most READ_BUFFER_BYTES_MAX")
        self._cipher = cipher
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._scratch = memoryview(bytearray(PAYLOAD_BYTES_MAX))
        self._start = 0
        self._end = 0
        self._following: tuple[RecordType, int] | None = None
        self._count = 0
        self._rekey_records = rekey_records
        self._closed = False
        self._failed = False

    @property
    def closed(self) -> bool:
        """Whether the peer's CLOSE has been read: the end of its bytes is no failure any more."""
        return self._closed

    @property
    def records_read(self) -> int:
        """How many records have been accepted."""
        return self._count

    def writable(self) -> memoryview:
        """Free space to receive into, at least one byte and normally most of the buffer.

        Raises:
            WireMisuse: the buffer is full of complete records that nobody has read.
            WireFailed: the reader is dead.
        """
        self._require_alive()
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start and len(self._buffer) - self._end < len(self._buffer) // 2:
            left = self._end - self._start
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left
        if self._end == len(self._buffer):
            raise WireMisuse("read the complete records before receiving more")
        return self._buffer[self._end :]

    def received(self, count: int) -> None:
        """Says how many bytes were received into `writable()`; 0 is the end of the peer's bytes.

        Raises:
            WireFailed: the end comes before a CLOSE record, or bytes come after it.
        """
        self._require_alive()
        if not 0 <= count <= len(self._buffer) - self._end:
            raise WireMisuse("more bytes than there was space for")
        if count == 0:
            if not self._closed:
                self._fail("the connection ended without a close record")
            return
        if self._closed:
            self._fail("bytes after the close record")
        self._end += count

    def peek(self) -> tuple[RecordType, int] | None:
        """Type and payload length of the next complete record, *before* it is authenticated.

        Good for choosing where to decrypt to, and for nothing else until `read` or `read_into` has returned.

        Returns:
            None while the next record is not complete.

        Raises:
            WireFailed: no record can look like this.
        """
        if self._following is not None:
            return self._following
        self._require_alive()
        if self._end - self._start < HEADER_BYTES:
            return None
        header = int.from_bytes(self._buffer[self._start : self._start + HEADER_BYTES], "big")
        kind, length = header >> 24, header & 0xFFFFFF
        if length > limits.RECORD_BYTES_MAX - HEADER_BYTES:
            self._fail("a record longer than records can be")
        if length <= TAG_BYTES:
            self._fail("a record without a payload")
        if kind not in _TYPES:
            self._fail("a record of an unknown type")
        if self._end - self._start < HEADER_BYTES + length:
            return None
        self._following = _TYPES[kind], length - TAG_BYTES
        return self._following

    def read(self) -> tuple[RecordType, memoryview] | None:
        """The next complete record, authenticated.

        Returns:
            Its type and payload, the latter valid until the next call; None while no record is complete.

        Raises:
            WireFailed: it does not authenticate, or cannot be a record.
        """
        following = self.peek()
        if following is None:
            return None
        kind, length = following
        payload = self._scratch[:length]
        self._decrypt(kind, length, payload)
        return kind, payload

    def read_into(self, out: memoryview) -> None:
        """Decrypts the next record, which `peek` has shown, straight into `out`.

        Args:
            out: exactly as long as the payload; zeroed if the record does not authenticate.

        Raises:
            WireFailed: it does not authenticate.
        """
        following = self.peek()
        if following is None or following[1] != len(out):
            raise WireMisuse("peek first: the place must have the length of the payload")
        self._decrypt(*following, out)

    def records(self) -> Iterator[tuple[RecordType, memoryview]]:
        """All complete records, one after the other; each payload is valid until the next one is asked for."""
        while (record := self.read()) is not None:
            yield record

    def _decrypt(self, kind: RecordType, length: int, out: memoryview) -> None:
        """Authenticates and consumes the next record."""
        body = self._start + HEADER_BYTES
        end = body + length + TAG_BYTES
        self._following = None
        try:
            self._cipher.decrypt_into(self._buffer[self._start : body], self._buffer[body:end], out)
        except ValueError:
            self._fail("a record does not authenticate")
        self._start = end
        self._count += 1
        if self._count % self._rekey_records == 0:
            self._cipher.rekey()
        if kind is RecordType.CLOSE:
            self._closed = True
            if self._start != self._end:
                self._fail("bytes after the close record")

    def _require_alive(self) -> None:
        if self._failed:
            raise WireFailed("this channel has failed already")

    def _fail(self, reason: str) -> Never:
        """Ends the reader and drops its key."""
        self._failed = True
        self._following = None
        self._cipher.forget()
        raise WireFailed(reason) from None
