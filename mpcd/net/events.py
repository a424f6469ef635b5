"""What the network reports to the daemon's log, one `Event` per fact.

An event is for the operator of this host.  Nothing of it crosses the wire: a peer, a stranger and an attacker see
the same silence whatever went wrong, while the event says what did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mpcd.ids import PartyId

EventName = Literal[
    "listening",
    "dial-failed",
    "handshake-failed",
    "handshake-turned-away",
    "channel-open",
    "channel-draining",
    "channel-closed",
    "channel-lost",
    "roster-differs",
    "early-messages-dropped",
    "control-handler-failed",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: what happened, with whom, and one sentence that says who must do what."""

    name: EventName
    message: str
    party: PartyId | None = None
    details: Mapping[str, str | int | float] = field(default_factory=dict)


EventSink = Callable[[Event], None]
