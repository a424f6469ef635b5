"""The one encoding that is hashed or signed (layer 0, no I/O).

Canonical msgpack: shortest integer form, UTF-8 strings, binary as `bin`, arrays, maps with string keys in ascending
order of their UTF-8 bytes, `None`, booleans, and 64-bit floats (never 32-bit, never NaN).  Two values are equal
exactly if their bytes are equal, so hashes of values are hashes of bytes.  `decode` accepts the canonical form alone:
it re-encodes and compares, so that no second spelling of a signed value exists.

Every digest and signature names its *domain*, so that bytes made for one purpose never serve another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

import msgpack

Value = None | bool | int | float | str | bytes | list["Value"] | dict[str, "Value"]
"""What canonical bytes decode to.  Tuples encode as lists."""

DIGEST_BYTES: Final = 32
NESTING_MAX: Final = 64
ENCODED_BYTES_MAX: Final = 16 * 2**20


class CanonicalError(ValueError):
    """Not a canonical value, or not the canonical spelling of one."""


def _normal(value: object, depth: int) -> object:
    if depth > NESTING_MAX:
        raise CanonicalError(f"nested deeper than {NESTING_MAX}")
    if value is None or isinstance(value, (bool, str, bytes)):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise CanonicalError("integer outside 64 bits; encode it as a decimal string")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise CanonicalError("NaN has no canonical form")
        return value
    if isinstance(value, (list, tuple)):
        return [_normal(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise CanonicalError("map keys must be strings")
        ordered = sorted(value.items(), key=lambda pair: pair[0].encode())
        return {key: _normal(item, depth + 1) for key, item in ordered}
    raise CanonicalError(f"no canonical form for {type(value).__name__}")


def encode(value: object) -> bytes:
    """Canonical bytes of `value`; raises `CanonicalError` for anything without one form."""
    packed = msgpack.packb(_normal(value, 0), use_bin_type=True, use_single_float=False)
    assert isinstance(packed, bytes)
    return packed


def decode(data: bytes) -> Value:
    """The value of canonical `data`; raises `CanonicalError` for any other bytes."""
    if len(data) > ENCODED_BYTES_MAX:
        raise CanonicalError(f"longer than {ENCODED_BYTES_MAX} bytes")
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.StackError) as error:
        raise CanonicalError("not msgpack") from error
    if encode(value) != data:
        raise CanonicalError("not in canonical form")
    return value


def digest_bytes(domain: str, data: bytes) -> bytes:
    """SHA-256 over the domain's name and `data`, 32 bytes."""
    name = domain.encode()
    assert 0 < len(name) < 256
    return hashlib.sha256(b"mpcd:" + bytes([len(name)]) + name + data).digest()


def digest(domain: str, value: object) -> bytes:
    """SHA-256 of the canonical bytes of `value` in `domain`, 32 bytes."""
    return digest_bytes(domain, encode(value))
