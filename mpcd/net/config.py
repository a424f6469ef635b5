"""What a mesh is made from: our identity, our peers, and how patient it is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mpcd import limits
from mpcd.errors import Bug
from mpcd.ids import PartyId, RosterHash

KEY_BYTES = 32


@dataclass(frozen=True, slots=True, eq=False)
class LocalIdentity:
    """Who we are on the network: our party and the X25519 static key that is used for channels and for nothing else."""

    party_id: PartyId
    channel_private_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.channel_private_key) != KEY_BYTES:
            raise Bug("a channel key has 32 bytes")


@dataclass(frozen=True, slots=True, eq=False)
class PeerConfig:
    """One peer: its X25519 static key from the roster; from local configuration an optional PSK and address.

    A peer without an address is never dialled; it dials us.
    """

    name: str
    public_key: bytes
    psk: bytes | None = field(default=None, repr=False)
    address: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if len(self.public_key) != KEY_BYTES:
            raise Bug("a channel key has 32 bytes")
        if self.psk is not None and (len(self.psk) != KEY_BYTES or not any(self.psk)):
            raise Bug("a pre-shared key has 32 bytes, not all zero")


@dataclass(frozen=True, slots=True)
class RosterView:
    """Which roster we hold; told to each peer inside message 3, where a difference is reported and not fatal."""

    consortium_id: str
    version: int
    hash: RosterHash


def _random_unit() -> float:
    return random.SystemRandom().random()


@dataclass(frozen=True, slots=True)
class Pace:
    """Every time-out of the mesh, in seconds, and its source of jitter; tests shorten them."""

    handshake_seconds: float = limits.HANDSHAKE_SECONDS_MAX
    channel_seconds: float = limits.CHANNEL_SECONDS_MAX
    drain_seconds: float = limits.CHANNEL_DRAIN_SECONDS_MAX
    ping_seconds: float = limits.CHANNEL_PING_SECONDS_MAX
    silence_seconds: float = limits.CHANNEL_SILENCE_SECONDS_MAX
    reconnect_first_seconds: float = 0.1
    reconnect_seconds_max: float = limits.RECONNECT_SECONDS_MAX
    second_dialler_seconds: float = 0.25
    """How long the party with the larger id leaves the first dial to the other."""
    tick_seconds: float = 0.25
    """How often deadlines are looked at."""
    random_unit: Callable[[], float] = _random_unit
