"""What can be wrong with a channel's bytes (layer 1, no I/O).

One type for all of it, `WireFailed`: oversize, truncated, flipped, replayed, reordered, of an unknown type, padded with
something, out of its schema.  The text is for our own log; the boundary (`net`) makes it a peer's fault, closes and
sends no reason.
"""

from __future__ import annotations

from mpcd.errors import Bug


class WireFailed(Exception):
    """The peer's bytes are not what this channel allows; nothing more may be read from it."""


class WireMisuse(Bug):
    """Our own calling code broke a limit or a schema, or used a writer or reader out of turn."""
