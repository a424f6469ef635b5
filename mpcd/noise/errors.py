"""What can go wrong in a handshake or on its ciphers, by who must act (layer 1, no I/O).

Everything that a peer can cause is one type, `NoiseFailed`: a wrong key, a wrong PSK, another prologue, a flipped bit,
a truncated message and a low-order point look alike to whoever catches it, so nothing can leak by treating them apart.
Its text is for our own log; the boundary (`net`) maps it to a peer's fault and sends nothing.  Wrong calls are
`NoiseMisuse`.
"""

from __future__ import annotations

from mpcd.errors import Bug


class NoiseFailed(ValueError):
    """The peer's bytes do not continue this handshake or this cipher's stream; `str()` is for our own log only."""


class NoiseMisuse(Bug):
    """A call out of turn, a key of the wrong length, a payload that does not fit: a mistake in the calling code."""


class SuiteUnsupported(ValueError):
    """A protocol name that is not a Noise name, or that names a pattern or primitive which is not provided here."""
