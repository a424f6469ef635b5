"""Session messages cut into records and put together again (layer 1, no I/O).

Theory of operation.  A message that fits into one record is one record: route, total length, bytes.  A larger one is
a MESSAGE record with the route alone and then DATA records with nothing but its bytes, encrypted straight from the
sender's memory and decrypted straight into the place where the receiver wants them.  Offsets are implicit: records
come in order.

    sender    `write(Outgoing(route, data))` until it is True; another one may go in between
    receiver  MESSAGE: `place(route, total)` says where it goes;  DATA: goes on;  RESUME: another one goes on

Messages are numbered by both ends as they begin; a RESUME record precedes DATA where the message under way changes.  A
message of 8,000,000 bytes takes 124 records and 8,002,524 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from mpcd import limits
from mpcd.wire import messages
from mpcd.wire.errors import WireFailed, WireMisuse
from mpcd.wire.messages import ROUTE_BYTES, Route
from mpcd.wire.records import OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, Buffer, RecordReader, RecordType, RecordWriter

STREAM_NUMBER_MAX = 2**32 - 1

Place = Callable[[Route, int], memoryview]
"""Where a message of that route and length goes: writable and exactly that long.  `WireFailed` if it may not come."""


def wire_bytes(total_bytes: int) -> int:
    """How many bytes a message of `total_bytes` takes if nothing comes in between and no buffer ends inside it."""
    if total_bytes <= PAYLOAD_BYTES_MAX - ROUTE_BYTES:
        return total_bytes + ROUTE_BYTES + OVERHEAD_BYTES
    records = 1 + -(-total_bytes // PAYLOAD_BYTES_MAX)
    return total_bytes + ROUTE_BYTES + records * OVERHEAD_BYTES


@final
class Outgoing:
    """A session message on its way out, and how far it has come; only `StreamWriter` moves it."""

    __slots__ = ("data", "number", "position", "route")

    def __init__(self, route: Route, data: Buffer) -> None:
        self.route = route
        view = memoryview(data)
        if not view.c_contiguous:
            raise WireMisuse("a message must lie in one piece of memory")
        self.data = view.cast("B") if view.nbytes else memoryview(b"")
        self.number: int | None = None
        self.position = 0

    @property
    def total_bytes(self) -> int:
        """The message's length."""
        return len(self.data)

    @property
    def finished(self) -> bool:
        """Whether all of it is in records."""
        return self.number is not None and self.position == len(self.data)


@final
class StreamWriter:
    """Cuts messages into records.

    Args:
        writer: where the records go; other code may append other records between calls.
    """

    __slots__ = ("_current", "_next_number", "_writer")

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._next_number = 0
        self._current: int | None = None

    def write(self, outgoing: Outgoing) -> bool:
        """Puts as much of a message into records as the writer's buffer takes.

        Args:
            outgoing: begun or not; its memory must not change until it is finished.

        Returns:
            Whether the message is finished; if not, send what the writer holds and call again (or write another first).
        """
        if outgoing.number is None and not self._begin(outgoing):
            return False
        if outgoing.finished:
            return True
        if self._current != outgoing.number:
            if self._writer.room < PAYLOAD_BYTES_MAX:
                return False
            assert outgoing.number is not None
            self._writer.append(RecordType.RESUME, messages.encode_number(outgoing.number))
            self._current = outgoing.number
        outgoing.position += self._writer.append_data(outgoing.data[outgoing.position :])
        return outgoing.finished

    def _begin(self, outgoing: Outgoing) -> bool:
        """Writes the first record if there is room for it."""
        total = outgoing.total_bytes
        inline = total if total <= PAYLOAD_BYTES_MAX - ROUTE_BYTES else 0
        if self._writer.room < ROUTE_BYTES + inline:
            return False
        if self._next_number > STREAM_NUMBER_MAX:
            raise WireMisuse("all message numbers of this channel are used")
        head = messages.encode_route(outgoing.route, total)
        self._writer.append(RecordType.MESSAGE, outgoing.data[:inline], head=head)
        outgoing.number = self._current = self._next_number
        outgoing.position = inline
        self._next_number += 1
        return True


@final
class _Incoming:
    """A message that is not complete yet."""

    __slots__ = ("position", "route", "view")

    def __init__(self, route: Route, view: memoryview) -> None:
        self.route = route
        self.view = view
        self.position = 0


@final
class StreamReader:
    """Puts messages together in the places that the caller names.

    Args:
        place: asked once per message, when it begins.
        unfinished_max: how many messages may be under way at a time.
    """

    __slots__ = ("_current", "_next_number", "_place", "_unfinished", "_unfinished_max")

    def __init__(self, place: Place, *, unfinished_max: int = limits.STREAMS_UNFINISHED_MAX) -> None:
        self._place = place
        self._unfinished: dict[int, _Incoming] = {}
        self._unfinished_max = unfinished_max
        self._next_number = 0
        self._current: _Incoming | None = None

    @property
    def unfinished(self) -> int:
        """How many messages have begun and not ended."""
        return len(self._unfinished)

    def feed(self, reader: RecordReader) -> tuple[Route, memoryview] | None:
        """Takes the next record of `reader`, which is a MESSAGE, DATA or RESUME.

        Returns:
            A message that this record completes, in the memory that `place` gave; None otherwise.

        Raises:
            WireFailed: the record is out of turn, too long, or does not authenticate.  The channel is of no more use.
        """
        following = reader.peek()
        if following is None:
            raise WireMisuse("no complete record")
        kind, length = following
        if kind is RecordType.DATA:
            return self._data(reader, length)
        record = reader.read()
        assert record is not None
        payload = record[1]
        if kind is RecordType.MESSAGE:
            return self._message(payload)
        if kind is not RecordType.RESUME:
            raise WireMisuse("not a record of a session message")
        self._current = self._unfinished.get(messages.decode_number(payload))
        if self._current is None:
            raise WireFailed("a resume record for a message that is not under way")
        return None

    def _message(self, payload: memoryview) -> tuple[Route, memoryview] | None:
        """A message begins, and ends if all of it came along."""
        route, total, rest = messages.decode_route(payload)
        if total > limits.LINK_MESSAGE_BYTES_MAX:
            raise WireFailed("a session message longer than messages can be")
        if len(rest) not in (0, total):
            raise WireFailed("a first record holds all of its message or nothing of it")
        if len(rest) < total and len(self._unfinished) >= self._unfinished_max:
            raise WireFailed("too many session messages under way")
        number = self._next_number
        self._next_number += 1
        if number > STREAM_NUMBER_MAX:
            raise WireFailed("more session messages than a channel can have")
        view = self._place(route, total)
        if len(view) != total:
            raise WireMisuse("the place for a message must have its length")
        self._current = None
        if len(rest) == total:
            view[:] = rest
            return route, view
        self._current = self._unfinished[number] = _Incoming(route, view)
        return None

    def _data(self, reader: RecordReader, length: int) -> tuple[Route, memoryview] | None:
        """The message under way goes on, straight into its place."""
        current = self._current
        if current is None:
            raise WireFailed("a data record while no session message is under way")
        end = current.position + length
        if end > len(current.view):
            raise WireFailed("a session message longer than it said")
        reader.read_into(current.view[current.position : end])
        current.position = end
        if end < len(current.view):
            return None
        self._unfinished = {number: item for number, item in self._unfinished.items() if item is not current}
        self._current = None
        return current.route, current.view
