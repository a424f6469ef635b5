"""The Noise Protocol Framework, revision 34, as the specification names its parts (layer 1, no I/O).

    patterns.py    handshakes as data, protocol names      primitives.py  X25519, ML-KEM, AEADs, hashes, HKDF
    cipher.py      CipherState                             symmetric.py   SymmetricState
    handshake.py   HandshakeState                          opaque.py      secrets that cannot be shown or compared

Nothing here opens a socket, reads a clock or draws entropy by itself, except ML-KEM encapsulation inside its library.
The production suite binds the strength of a channel to X25519 *or* ML-KEM-1024 *or* the pair's pre-shared key:

    Noise_XKhfs+psk3_25519+MLKEM1024_AESGCM_SHA512
        <- s
        ...
        -> e, es, e1
        <- e, ee, ekem1
        -> s, se, psk
"""

from typing import Final

from mpcd.noise.cipher import CipherState
from mpcd.noise.errors import NoiseFailed, NoiseMisuse, SuiteUnsupported
from mpcd.noise.handshake import NO_PSK, HandshakeState, PskLookup
from mpcd.noise.patterns import Pattern, Suite, Token, parse_pattern, parse_suite
from mpcd.noise.primitives import (
    DH_BYTES,
    KEY_BYTES,
    MLKEM768,
    MLKEM1024,
    PSK_BYTES,
    TAG_BYTES,
    Entropy,
    Kem,
    KeyPair,
)
from mpcd.noise.symmetric import SymmetricState

SUITE: Final = "Noise_XKhfs+psk3_25519+MLKEM1024_AESGCM_SHA512"
"""What two daemons speak."""

__all__ = [
    "DH_BYTES",
    "KEY_BYTES",
    "MLKEM768",
    "MLKEM1024",
    "NO_PSK",
    "PSK_BYTES",
    "SUITE",
    "TAG_BYTES",
    "CipherState",
    "Entropy",
    "HandshakeState",
    "Kem",
    "KeyPair",
    "NoiseFailed",
    "NoiseMisuse",
    "Pattern",
    "PskLookup",
    "Suite",
    "SuiteUnsupported",
    "SymmetricState",
    "Token",
    "parse_pattern",
    "parse_suite",
]
