"""The prologue: what both ends must have in common before a handshake can succeed (layer 1, no I/O).

It is hashed into the handshake, never sent.  It binds the version of the wire format, the consortium, the suite and who
is called.  The initiator is bound by its static key; the roster's version and hash travel encrypted in the last
message, so that a roster update does not split a consortium in two and the difference can be named.
"""

from __future__ import annotations

from typing import Final

from mpcd import canonical
from mpcd.ids import PartyId

WIRE_VERSION: Final = 1
"""Of the records and messages in this package; another number never shares a channel with this one."""


def prologue(*, consortium: str, suite: str, responder: PartyId, version: int = WIRE_VERSION) -> bytes:
    """The prologue of a handshake.

    Args:
        consortium: the roster's consortium id.
        suite: the complete Noise protocol name.
        responder: the party that is called.
        version: of the wire format.

    Returns:
        Canonical bytes: two prologues are equal exactly if all four parts are.
    """
    return canonical.encode(
        {
            "protocol": "mpcd",
            "version": version,
            "consortium": consortium,
            "suite": suite,
            "responder": int(responder),
        }
    )
