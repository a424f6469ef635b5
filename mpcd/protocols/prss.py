"""Pseudo-random secret sharing: randomness that two of three parties share without a message.

P_i holds two session keys: k_i, which P_{i-1} holds too, and k_{i+1}, which P_{i+1} holds too.  Per step and key one
stream is derived,

    step key = BLAKE2b-256(key = k, person = "mpcd-prss", salt = attempt, data = step path)
    stream   = AES-256-CTR(step key, counter 0)

A pair of streams (F(k_i), F(k_{i+1})) is a replicated sharing of a random value; F(k_i) - F(k_{i+1}) is an additive
sharing of zero.

Each step draws once: a second draw at one step would give two messages the same mask, so it is refused even under
    `python -O`. Field elements are exactly uniform: kernels count the words that fell on the one excluded value and,
    with probability 2^-61 per element, the affected stream is drawn again with the next attempt number, by both of its
    holders alike.

Usage limit: a step key encrypts at most 2^25 blocks, far below the 2^43 at which a distinguisher for AES-256 in counter
    mode has advantage 2^-40; the session keys themselves key only BLAKE2b.

Source: Cramer, Damgård, Ishai 2005; usage limits as in draft-thomson-ppm-prss.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mpcd import limits
from mpcd.errors import Bug
from mpcd.field import Vector

KEY_BYTES: Final = 32
_PERSON: Final = b"mpcd-prss"
_COUNTER_ZERO: Final = CTR(bytes(16))
_ZEROS_BYTES: Final = 2**16
_ZEROS: Final = memoryview(bytes(_ZEROS_BYTES))
"""What the cipher encrypts, again and again: small enough to stay in the first cache."""
_SCRATCH_WORDS_MIN: Final = 2**10
_SCRATCH_WORDS_MAX: Final = 2**21
"""Up to here the buffers are kept between steps, which saves their page faults; larger ones are freed at once."""


class Stream:
    """The words of one step key, in order."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes that encrypt nothing else."""
        self._encryptor = Cipher(AES256(key), _COUNTER_ZERO).encryptor()

    def fill(self, out: Vector) -> None:
        """The next words, into a contiguous one-dimensional array."""
        target = out.data.cast("B")
        size = len(target)
        update_into = self._encryptor.update_into
        if size <= _ZEROS_BYTES:
            update_into(_ZEROS[:size], target)
            return
        whole = size - size % _ZEROS_BYTES
        for start in range(0, whole, _ZEROS_BYTES):
            update_into(_ZEROS, target[start : start + _ZEROS_BYTES])
        if whole < size:
            update_into(_ZEROS[: size - whole], target[whole:])


def derive(key: bytes, data: bytes, attempt: int = 0) -> bytes:
    """A 32-byte key for one stream."""
    salt = attempt.to_bytes(16, "little")
    return hashlib.blake2b(data, key=key, digest_size=KEY_BYTES, person=_PERSON, salt=salt).digest()


class Prss:
    """The two session keys of one compute party, and the record of the steps that have drawn from them."""

    __slots__ = ("_buffer_next", "_buffer_own", "_keys", "_steps")

    def __init__(self, key_own: bytes, key_next: bytes) -> None:
        """Fresh keys of this session: k_i, shared with P_{i-1}, and k_{i+1}, shared with P_{i+1}."""
        if len(key_own) != KEY_BYTES or len(key_next) != KEY_BYTES:
            raise Bug(f"PRSS keys have {KEY_BYTES} bytes")
        self._keys: tuple[bytes, bytes] | None = (key_own, key_next)
        self._steps: set[str] = set()
        self._buffer_own = np.empty(_SCRATCH_WORDS_MIN, dtype=np.uint64)
        self._buffer_next = np.empty(_SCRATCH_WORDS_MIN, dtype=np.uint64)

    def __repr__(self) -> str:
        return f"<PRSS keys, {len(self._steps)} steps drawn>"

    def claim(self, step: str) -> None:
        """Mark `step` as drawn; a second time is a bug that ends the session."""
        if self._keys is None:
            raise Bug(f"step {step!r} draws randomness of a session that has ended")
        if step in self._steps:
            raise Bug(f"step {step!r} draws its randomness twice")
        if len(self._steps) >= limits.STEPS_PER_SESSION_MAX:
            raise Bug("more steps than a session may have")
        self._steps.add(step)

    def burn(self) -> None:
        """Forget the keys: the session has ended, well or badly, and its randomness is never used again."""
        self._keys = None
        self._buffer_own.fill(0)
        self._buffer_next.fill(0)

    def scratch(self, count: int) -> tuple[Vector, Vector]:
        """Two buffers of `count` words, valid until the next call: masks live no longer than a kernel call."""
        if count > len(self._buffer_own):
            if count > _SCRATCH_WORDS_MAX:
                return np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint64)
            size = 1 << (count - 1).bit_length()
            self._buffer_own = np.empty(size, dtype=np.uint64)
            self._buffer_next = np.empty(size, dtype=np.uint64)
        return self._buffer_own[:count], self._buffer_next[:count]

    def open(self, which: int, step: str, attempt: int = 0) -> Stream:
        """Stream 0 (of k_i) or 1 (of k_{i+1}) of a claimed step."""
        if self._keys is None:
            raise Bug(f"step {step!r} draws randomness of a session that has ended")
        return Stream(derive(self._keys[which], step.encode(), attempt))
