"""Length-capped msgpack frames on a pipe between a daemon and its own child (pure).

    frame = 4-byte big-endian length, then that many bytes of msgpack

This is no wire format: both ends are one build on one host.  The cap is what matters: whatever a child writes, its
parent never holds more than the limit that it asked for, and stops reading at the header that exceeds it.
"""

from __future__ import annotations

import struct
from typing import Final

import msgpack

HEADER_BYTES: Final = 4
_HEADER: Final = struct.Struct(">I")


class FrameError(ValueError):
    """A frame that is too long or not msgpack; the child that sent it is killed."""


def pack(value: object, bytes_max: int) -> bytes:
    """One frame for `value`; raises `FrameError` if its body is longer than `bytes_max`."""
    body = msgpack.packb(value, use_bin_type=True)
    assert isinstance(body, bytes)
    if len(body) > bytes_max:
        raise FrameError(f"a frame of {len(body)} bytes; the limit is {bytes_max}")
    return _HEADER.pack(len(body)) + body


def body_bytes(header: bytes | bytearray | memoryview, bytes_max: int) -> int:
    """The length that `header` announces; raises `FrameError` above `bytes_max`."""
    (length,) = _HEADER.unpack(header)
    assert isinstance(length, int)
    if length > bytes_max:
        raise FrameError(f"a frame of {length} bytes; the limit is {bytes_max}")
    return length


def unpack(body: bytes | bytearray | memoryview) -> dict[str, object]:
    """The map that `body` holds; raises `FrameError` for anything else."""
    try:
        value = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.StackError) as error:
        raise FrameError("not msgpack") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FrameError("not a map with string keys")
    return value
