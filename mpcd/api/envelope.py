"""Bytes to messages and back, with limits (layer 12, no I/O).

The envelope is msgpack-rpc: `[0, msgid, method, [map]]`, `[1, msgid, error, result]`, `[2, method, [map]]`.  Values
delimit themselves, so there is no length prefix; a receiver therefore counts the bytes of the unfinished message,
the entries of one array or map, and the depth, each against its limit.  Whatever is not exactly this form ends the
connection: there is no resynchronising.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgpack

from mpcd import limits
from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.errors import LimitExceeded, RequestInvalid

_REQUEST: Final = 0
_RESPONSE: Final = 1
_NOTIFICATION: Final = 2
_MSGID_MAX: Final = 2**32 - 1
_METHOD_CHARACTERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Request:
    """A call that wants an answer."""

    msgid: int
    method: str
    params: Map


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to the call `msgid`: an error map or a result map, never both."""

    msgid: int
    error: Map | None
    result: Map | None


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that nobody answers."""

    method: str
    params: Map


Message = Request | Response | Notification


def encode(message: Message) -> bytes:
    """The bytes of `message`."""
    parts: list[object]
    match message:
        case Request(msgid, method, params):
            parts = [_REQUEST, msgid, method, [params]]
        case Response(msgid, error, result):
            parts = [_RESPONSE, msgid, error, result]
        case Notification(method, params):
            parts = [_NOTIFICATION, method, [params]]
    packed = msgpack.packb(parts, use_bin_type=True)
    assert isinstance(packed, bytes)
    return packed


class Decoder:
    """Messages out of a stream of bytes.

    Args:
        bytes_max: of one message.
        items_max: entries of one array or map.
    """

    def __init__(self, bytes_max: int, items_max: int) -> None:
        self._bytes_max = bytes_max
        self._fed = 0
        self._boundary = 0
        """Where in the stream the last whole message ended; `tell` alone also counts what is half read."""
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=bytes_max,
            max_array_len=items_max,
            max_map_len=items_max,
            max_ext_len=0,
            raw=False,
            strict_map_key=True,
        )

    @classmethod
    def for_daemon(cls) -> Decoder:
        """Reads what clients send."""
        return cls(limits.API_REQUEST_BYTES_MAX, limits.API_REQUEST_ITEMS_MAX)

    @classmethod
    def for_client(cls) -> Decoder:
        """Reads what the daemon sends."""
        return cls(limits.API_RESPONSE_BYTES_MAX, limits.CELLS_MAX)

    @property
    def in_message(self) -> bool:
        """Whether the stream has ended inside a message, were it to end now."""
        return self._fed != self._boundary

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes.

        Raises:
            LimitExceeded: longer, wider or deeper than allowed.
            RequestInvalid: not msgpack, or not this envelope.
        """
        view = memoryview(data)
        while view:
            pending = self._fed - self._boundary
            part = view[: max(self._bytes_max - pending, 0)]
            if not part:
                raise LimitExceeded(f"A message may have {self._bytes_max} bytes at most.")
            self._unpacker.feed(part)
            self._fed += len(part)
            view = view[len(part) :]
            yield from self._drain()

    def _drain(self) -> Iterator[Message]:
        while True:
            try:
                value: Value = self._unpacker.unpack()
            except msgpack.OutOfData:
                return
            except msgpack.StackError as error:
                raise LimitExceeded(f"A message may nest {limits.API_NESTING_LEVELS_MAX} levels at most.") from error
            except (ValueError, TypeError, msgpack.UnpackException) as error:
                raise RequestInvalid("Not a msgpack message within the limits of this API.") from error
            self._boundary = self._unpacker.tell()
            _check_depth(value)
            yield _message(value)


def _check_depth(value: Value) -> None:
    level: list[Value] = [value]
    for _ in range(limits.API_NESTING_LEVELS_MAX):
        following: list[Value] = []
        for item in level:
            if isinstance(item, list):
                following.extend(item)
            elif isinstance(item, dict):
                following.extend(item.values())
        if not following:
            return
        level = following
    raise LimitExceeded(f"A message may nest {limits.API_NESTING_LEVELS_MAX} levels at most.")


def _message(value: Value) -> Message:
    match value:
        case [0, int(msgid), str(method), [dict(params)]] if _is_msgid(msgid) and len(method) <= _METHOD_CHARACTERS_MAX:
            return Request(msgid, method, _keyed(params))
        case [1, int(msgid), None, dict(result)] if _is_msgid(msgid):
            return Response(msgid, None, _keyed(result))
        case [1, int(msgid), dict(error), None] if _is_msgid(msgid):
            return Response(msgid, _keyed(error), None)
        case [2, str(method), [dict(params)]] if len(method) <= _METHOD_CHARACTERS_MAX:
            return Notification(method, _keyed(params))
        case _:
            raise RequestInvalid("Not a message of this API: it wants [0, msgid, method, [map]].")


def _is_msgid(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= _MSGID_MAX


def _keyed(value: Map) -> Map:
    if not all(isinstance(key, str) for key in value):
        raise RequestInvalid("The keys of a map must be strings.")
    return value
