"""The hook through which tests see what a daemon sends before it is encrypted.

Off unless a test puts a recorder into the `Mesh`; no configuration, environment variable or message can.  A test
holds the list of importers of this module: `net` itself and `testing`.
"""

from __future__ import annotations

from typing import Protocol

from mpcd.ids import PartyId


class Recorder(Protocol):
    """Sees every record of every channel of one daemon."""

    def sent(self, party: PartyId, kind: str, plaintext: bytes) -> None:
        """`plaintext` is about to be encrypted for `party`; `kind` is the record's type."""
