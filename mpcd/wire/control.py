"""Control messages: schema, encoding, and how they travel in records (layer 1, no I/O).

A control message is a canonical msgpack map with the key `type`.  A registry knows, for each type, every other key
with its kind of value and its limits; a key too many or too few, another kind or an exceeded limit is refused at both
ends, at the sender as our own mistake.  Higher layers register their types when they are imported; two of one name
are a bug.

On the wire a message is a 4-byte length and its canonical bytes, cut into CONTROL records one after the other; other
types of record may stand between, another control message may not.  Each record is padded with zeros to one of a few
sizes, so that the length of a control message shows its size class and nothing finer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, final

from mpcd import canonical, limits
from mpcd.wire.errors import WireFailed, WireMisuse
from mpcd.wire.records import PAYLOAD_BYTES_MAX

TYPE_KEY: Final = "type"
_LENGTH_BYTES: Final = 4
_BUCKETS: Final = (256, 1024, 4096, 16_384, PAYLOAD_BYTES_MAX)

Message = dict[str, canonical.Value]


# ------------------------------------------------------------------------------------------------ kinds of values


class Kind(Protocol):
    """A kind of value with its limits."""

    def accepts(self, value: object) -> bool:
        """Whether `value` is of this kind and inside its limits."""


@final
@dataclass(frozen=True, slots=True)
class Integer:
    """An integer in `low..high`, both included."""

    low: int
    high: int

    def accepts(self, value: object) -> bool:
        """Whether it is an integer (a truth value is none) inside the bounds."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@final
@dataclass(frozen=True, slots=True)
class Truth:
    """True or false."""

    def accepts(self, value: object) -> bool:
        """Whether it is a truth value."""
        return isinstance(value, bool)


@final
@dataclass(frozen=True, slots=True)
class Octets:
    """Bytes; of exactly `bytes_max` unless a smaller `bytes_min` is given."""

    bytes_max: int
    bytes_min: int | None = None

    def accepts(self, value: object) -> bool:
        """Whether it is bytes of an allowed length."""
        least = self.bytes_max if self.bytes_min is None else self.bytes_min
        return isinstance(value, bytes) and least <= len(value) <= self.bytes_max


@final
@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `bytes_max` bytes of UTF-8."""

    bytes_max: int

    def accepts(self, value: object) -> bool:
        """Whether it is a string that is short enough."""
        return isinstance(value, str) and len(value.encode()) <= self.bytes_max


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few strings."""

    values: tuple[str, ...]

    def accepts(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and value in self.values


@final
@dataclass(frozen=True, slots=True)
class Optional:
    """Nothing, or a value of `kind`; the key is there either way."""

    kind: Kind

    def accepts(self, value: object) -> bool:
        """Whether it is None or of the kind."""
        return value is None or self.kind.accepts(value)


@final
@dataclass(frozen=True, slots=True)
class ListOf:
    """At most `count_max` values of one kind."""

    kind: Kind
    count_max: int

    def accepts(self, value: object) -> bool:
        """Whether it is a list of them, short enough."""
        return (
            isinstance(value, (list, tuple))
            and len(value) <= self.count_max
            and all(self.kind.accepts(item) for item in value)
        )


@final
@dataclass(frozen=True, slots=True)
class MapOf:
    """A map with exactly these keys."""

    keys: Mapping[str, Kind]

    def accepts(self, value: object) -> bool:
        """Whether it has these keys and no other, each with its kind of value."""
        return (
            isinstance(value, dict)
            and value.keys() == self.keys.keys()
            and all(kind.accepts(value[key]) for key, kind in self.keys.items())
        )


@final
@dataclass(frozen=True, slots=True)
class Anything:
    """Any canonical value of at most `bytes_max` bytes; its reader validates it again."""

    bytes_max: int

    def accepts(self, value: object) -> bool:
        """Whether it has a canonical form that is short enough."""
        try:
            return len(canonical.encode(value)) <= self.bytes_max
        except canonical.CanonicalError:
            return False


# ------------------------------------------------------------------------------------------------ registry


@final
@dataclass(frozen=True, slots=True)
class Schema:
    """What a type of message holds beside `type`, and how long its encoding may be."""

    keys: MapOf
    bytes_max: int


@final
class Registry:
    """The types of control messages that a channel understands."""

    __slots__ = ("_schemas",)

    def __init__(self) -> None:
        self._schemas: dict[str, Schema] = {}

    def register(self, name: str, keys: Mapping[str, Kind], *, bytes_max: int = 64 * 2**10) -> None:
        """Adds a type of message.

        Args:
            name: the value of its `type`, for example `session.propose`.
            keys: every other key and the kind of its value; all are required (`Optional` values may be None).
            bytes_max: limit of the whole encoding.

        Raises:
            WireMisuse: the name is taken, or the limit is above that of all control messages.
        """
        if name in self._schemas or TYPE_KEY in keys or bytes_max > limits.CONTROL_MESSAGE_BYTES_MAX:
            raise WireMisuse(f"the control message {name} cannot be registered like this")
        self._schemas[name] = Schema(MapOf(dict(keys)), bytes_max)

    def types(self) -> frozenset[str]:
        """The names of all registered types."""
        return frozenset(self._schemas)

    def encode(self, message: Mapping[str, object]) -> bytes:
        """Canonical bytes of a message.

        Raises:
            WireMisuse: its type is not registered or it does not fit its schema: our mistake.
        """
        reason = self._refusal(message)
        if reason is not None:
            raise WireMisuse(reason)
        encoded = canonical.encode(message)
        if len(encoded) > self._schemas[str(message[TYPE_KEY])].bytes_max:
            raise WireMisuse(f"a control message {message[TYPE_KEY]} longer than its type allows")
        return encoded

    def decode(self, encoded: bytes) -> Message:
        """The message in canonical bytes.

        Raises:
            WireFailed: not canonical, of an unknown type, or against its schema.
        """
        if len(encoded) > limits.CONTROL_MESSAGE_BYTES_MAX:
            raise WireFailed("a control message longer than they can be")
        try:
            value = canonical.decode(encoded)
        except canonical.CanonicalError as error:
            raise WireFailed("a control message that is not canonical") from error
        if not isinstance(value, dict):
            raise WireFailed("a control message that is not a map")
        reason = self._refusal(value)
        if reason is not None:
            raise WireFailed(reason)
        if len(encoded) > self._schemas[str(value[TYPE_KEY])].bytes_max:
            raise WireFailed("a control message longer than its type allows")
        return value

    def _refusal(self, message: Mapping[str, object]) -> str | None:
        """Why a message does not fit its schema, without anything that the message says."""
        name = message.get(TYPE_KEY)
        if not isinstance(name, str) or name not in self._schemas:
            return "a control message of an unknown type"
        expected = self._schemas[name].keys.keys
        if message.keys() - {TYPE_KEY} != expected.keys():
            return f"a control message {name} with other keys than its type has"
        for key, kind in expected.items():
            if not kind.accepts(message[key]):
                return f"a control message {name} whose {key} is not acceptable"
        return None


CONTROL: Final = Registry()
"""The daemon's control messages; each layer registers its own when it is imported."""


# ------------------------------------------------------------------------------------------------ records


def fragments(encoded: bytes) -> Iterator[bytes]:
    """The padded payloads of the CONTROL records that carry an encoded message, in order.

    Raises:
        WireMisuse: it is longer than a control message can be.
    """
    if len(encoded) > limits.CONTROL_MESSAGE_BYTES_MAX:
        raise WireMisuse("a control message longer than they can be")
    data = memoryview(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
    while data:
        chunk = data[:PAYLOAD_BYTES_MAX]
        size = next(bucket for bucket in _BUCKETS if bucket >= len(chunk))
        yield bytes(chunk).ljust(size, b"\0")
        data = data[len(chunk) :]


@final
class Assembler:
    """Puts the payloads of CONTROL records together."""

    __slots__ = ("_left", "_parts")

    def __init__(self) -> None:
        self._left = 0
        self._parts = bytearray()

    @property
    def idle(self) -> bool:
        """Whether no control message is half received."""
        return self._left == 0

    def feed(self, payload: memoryview) -> bytes | None:
        """Takes the payload of the next CONTROL record.

        Returns:
            The encoded message that it completes, or None.

        Raises:
            WireFailed: too long, of a size that is no size class, or padded with something else than zeros.
        """
        if len(payload) not in _BUCKETS:
            raise WireFailed("a control record that is not padded to a size class")
        if self._left == 0:
            self._left = int.from_bytes(payload[:_LENGTH_BYTES], "big")
            payload = payload[_LENGTH_BYTES:]
            if not 0 < self._left <= limits.CONTROL_MESSAGE_BYTES_MAX:
                raise WireFailed("a control message longer than they can be, or empty")
        part = payload[: self._left]
        padding = payload[self._left :]
        if any(padding):
            raise WireFailed("a control record with something in its padding")
        self._parts += part
        self._left -= len(part)
        if self._left:
            return None
        encoded = bytes(self._parts)
        self._parts.clear()
        return encoded
