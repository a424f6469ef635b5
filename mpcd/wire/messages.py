"""Payloads of the small records, and the route of a session message (layer 1, no I/O).

    MESSAGE  route (36 bytes), total length (8), then the whole message if it fits into this record
    RESUME   number of the session message that goes on (4)
    WINDOW   link (20 bytes), limit (8)
    PING     8 bytes of the sender's choice; PONG repeats them
    CLOSE    one reason code

A *link* is the path from one role to another in one session: 16 bytes of the session id (128 bits of a hash that no
party chooses alone), then sender and receiver as one byte of kind and one of index each.  A *route* adds the step:
the first 16 bytes of a hash of its path.  Two steps of one session that collide would have to be found by whoever
wrote the protocols; the receiver still checks the length, and the sessions' transcript has the paths.

Session messages are numbered by counting from zero in the order of their MESSAGE records; the number is on the wire
only where another than the last one goes on.  Everything is big-endian.  Control messages are in `control.py`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from mpcd import canonical
from mpcd.ids import Role, RoleKind, SessionId, Step
from mpcd.wire.errors import WireFailed, WireMisuse

SESSION_PREFIX_BYTES: Final = 16
STEP_HASH_BYTES: Final = 16
PING_BYTES: Final = 8

_KINDS: Final[tuple[RoleKind, ...]] = ("input", "compute", "analyst")
_ROUTE: Final = struct.Struct(">16s4B16sQ")
_NUMBER: Final = struct.Struct(">I")
_WINDOW: Final = struct.Struct(">16s4BQ")
ROUTE_BYTES: Final = _ROUTE.size
"""What a session message's first record holds before the message itself."""


class Link(NamedTuple):
    """The path from one role of one party to one role of another in one session."""

    session: bytes
    """The first 16 bytes of the session id."""
    sender: Role
    receiver: Role


class Route(NamedTuple):
    """Where a session message belongs."""

    session: bytes
    """The first 16 bytes of the session id."""
    sender: Role
    receiver: Role
    step: bytes
    """The first 16 bytes of a hash of the step path."""

    @property
    def link(self) -> Link:
        """The route without its step."""
        return Link(self.session, self.sender, self.receiver)


class CloseReason(IntEnum):
    """Why a peer closes; nothing else about it is ever sent."""

    DONE = 0
    """Nothing more to say."""
    SHUTDOWN = 1
    """The daemon stops."""
    SUPERSEDED = 2
    """Another channel between the two stays."""
    ROTATED = 3
    """The channel has reached its age and its last session has ended."""
    ROSTER = 4
    """The peer is not in our roster any more, or has another key."""
    FAILED = 5
    """What was received was not acceptable."""


_REASONS: Final = frozenset(int(reason) for reason in CloseReason)


def session_prefix(session: SessionId) -> bytes:
    """The part of a session id that routes messages."""
    return session[:SESSION_PREFIX_BYTES]


def step_hash(step: Step) -> bytes:
    """The part of a route that names a step."""
    return canonical.digest_bytes("wire-step", step.encode())[:STEP_HASH_BYTES]


def encode_route(route: Route, total_bytes: int) -> bytes:
    """The head of a session message's first record."""
    _check_prefix(route.session)
    if len(route.step) != STEP_HASH_BYTES or not 0 <= total_bytes < 2**63:
        raise WireMisuse("a step's hash has 16 bytes, a length is not negative")
    return _ROUTE.pack(route.session, *_role(route.sender), *_role(route.receiver), route.step, total_bytes)


def decode_route(payload: memoryview) -> tuple[Route, int, memoryview]:
    """The parts of a MESSAGE payload: route, total length, and the bytes that came along.

    Raises:
        WireFailed: too short, an unknown kind of role, or more bytes than the total.
    """
    if len(payload) < _ROUTE.size:
        raise WireFailed("the head of a session message is too short")
    session, *roles, step, total = _ROUTE.unpack_from(payload)
    rest = payload[_ROUTE.size :]
    if len(rest) > total:
        raise WireFailed("a session message longer than it says")
    return Route(session, _role_of(roles[0], roles[1]), _role_of(roles[2], roles[3]), step), total, rest


def encode_number(number: int) -> bytes:
    """The payload of RESUME."""
    return _NUMBER.pack(number)


def decode_number(payload: memoryview) -> int:
    """The number in a RESUME payload; raises `WireFailed`."""
    if len(payload) != _NUMBER.size:
        raise WireFailed("a resume record of the wrong length")
    (number,) = _NUMBER.unpack(payload)
    assert isinstance(number, int)
    return number


def encode_window(link: Link, limit_bytes: int) -> bytes:
    """The payload of WINDOW: messages may start up to `limit_bytes`, counted from the link's beginning.

    A limit is absolute and only grows, so that announcements may be lost in a merge or repeated.
    """
    _check_prefix(link.session)
    return _WINDOW.pack(link.session, *_role(link.sender), *_role(link.receiver), limit_bytes)


def decode_window(payload: memoryview) -> tuple[Link, int]:
    """The parts of a WINDOW payload; raises `WireFailed`."""
    if len(payload) != _WINDOW.size:
        raise WireFailed("a window record of the wrong length")
    session, *roles, limit = _WINDOW.unpack(payload)
    return Link(session, _role_of(roles[0], roles[1]), _role_of(roles[2], roles[3])), limit


def decode_ping(payload: memoryview) -> bytes:
    """The 8 bytes of a PING or PONG; raises `WireFailed`."""
    if len(payload) != PING_BYTES:
        raise WireFailed("a ping of the wrong length")
    return bytes(payload)


def encode_close(reason: CloseReason) -> bytes:
    """The payload of CLOSE."""
    return bytes([reason])


def decode_close(payload: memoryview) -> CloseReason:
    """The reason in a CLOSE payload; raises `WireFailed`."""
    if len(payload) != 1 or payload[0] not in _REASONS:
        raise WireFailed("a close record without a known reason")
    return CloseReason(payload[0])


def _check_prefix(session: bytes) -> None:
    if len(session) != SESSION_PREFIX_BYTES:
        raise WireMisuse("a link is named by 16 bytes of the session id")


def _role(role: Role) -> tuple[int, int]:
    """A role as kind and index."""
    if not 0 <= role.index < 256:
        raise WireMisuse("a role's index has one byte")
    return _KINDS.index(role.kind), role.index


def _role_of(kind: int, index: int) -> Role:
    """The role of two bytes; raises `WireFailed`."""
    if kind >= len(_KINDS):
        raise WireFailed("an unknown kind of role")
    return Role(_KINDS[kind], index)
