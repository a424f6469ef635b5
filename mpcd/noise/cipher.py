"""CipherState: one direction's key and nonce (layer 1, no I/O).

Source: Noise revision 34, sections 5.1 and 11.3.

The nonce counts up from zero and never wraps: 2^64-1 is reserved for `rekey`, and the call that would use it raises
before it does anything.  A message that does not authenticate leaves the state as it was (5.1), so the caller decides;
the records layer treats it as the end of the channel.  `encrypt_into` and `decrypt_into` are the same two operations on
buffers that the caller owns: no allocation, no copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from mpcd import limits
from mpcd.noise.errors import NoiseFailed, NoiseMisuse
from mpcd.noise.opaque import Opaque
from mpcd.noise.primitives import KEY_BYTES, NONCE_REKEY, TAG_BYTES, Buffer, Cipher


@final
class CipherState(Opaque):
    """A key `k` (or none yet) and a nonce `n`."""

    __slots__ = ("_cipher", "_make", "_n")

    def __init__(self, make: Callable[[bytes], Cipher]) -> None:
        self._make: Final = make
        self._cipher: Cipher | None = None
        self._n = 0

    def initialize_key(self, key: bytes) -> None:
        """Takes a 32-byte key and starts at nonce zero."""
        assert len(key) == KEY_BYTES
        self._cipher = self._make(key)
        self._n = 0

    def has_key(self) -> bool:
        """Whether a key is set; without one, data passes in the clear."""
        return self._cipher is not None

    @property
    def nonce(self) -> int:
        """The nonce of the next message: how many messages have passed since the key was first set."""
        return self._n

    def set_nonce(self, nonce: int) -> None:
        """Continues at `nonce`; for tests of the last nonces and for transports that may lose messages."""
        if not 0 <= nonce <= NONCE_REKEY:
            raise NoiseMisuse("a nonce has 64 bits")
        self._n = nonce

    def encrypt_with_ad(self, ad: Buffer, plaintext: Buffer) -> bytes:
        """ENCRYPT under the next nonce, or `plaintext` itself while there is no key."""
        if self._cipher is None:
            return bytes(plaintext)
        if len(plaintext) + TAG_BYTES > limits.NOISE_MESSAGE_BYTES_MAX:
            raise NoiseMisuse(f"a Noise message has at most {limits.NOISE_MESSAGE_BYTES_MAX} bytes")
        ciphertext = self._cipher.encrypt(self._usable_nonce(), ad, plaintext)
        self._n += 1
        return ciphertext

    def decrypt_with_ad(self, ad: Buffer, ciphertext: Buffer) -> bytes:
        """DECRYPT under the next nonce, or `ciphertext` itself while there is no key.

        Raises:
            NoiseFailed: it does not authenticate; the nonce has not moved.
        """
        if self._cipher is None:
            return bytes(ciphertext)
        _check_ciphertext(len(ciphertext))
        plaintext = self._cipher.decrypt(self._usable_nonce(), ad, ciphertext)
        self._n += 1
        return plaintext

    def encrypt_into(self, ad: Buffer, plaintext: Buffer, out: memoryview) -> int:
        """ENCRYPT into a buffer of the caller.

        Args:
            ad: associated data.
            plaintext: at most 65,519 bytes; must not overlap `out`.
            out: exactly 16 bytes longer than `plaintext`.

        Returns:
            How many bytes were written: `len(out)`.
        """
        if self._cipher is None:
            raise NoiseMisuse("no key yet")
        if len(out) != len(plaintext) + TAG_BYTES or len(out) > limits.NOISE_MESSAGE_BYTES_MAX:
            raise NoiseMisuse(f"out must have {TAG_BYTES} bytes more than plaintext and fit a Noise message")
        self._cipher.encrypt_into(self._usable_nonce(), ad, plaintext, out)
        self._n += 1
        return len(out)

    def decrypt_into(self, ad: Buffer, ciphertext: Buffer, out: memoryview) -> int:
        """DECRYPT into a buffer of the caller.

        Args:
            ad: associated data.
            ciphertext: with its tag; must not overlap `out`.
            out: exactly 16 bytes shorter than `ciphertext`.

        Returns:
            How many bytes were written: `len(out)`.

        Raises:
            NoiseFailed: it does not authenticate; the nonce has not moved, `out` is zeroed.
        """
        if self._cipher is None:
            raise NoiseMisuse("no key yet")
        _check_ciphertext(len(ciphertext))
        if len(out) != len(ciphertext) - TAG_BYTES:
            raise NoiseMisuse(f"out must have {TAG_BYTES} bytes less than ciphertext")
        self._cipher.decrypt_into(self._usable_nonce(), ad, ciphertext, out)
        self._n += 1
        return len(out)

    def rekey(self) -> None:
        """Replaces the key by REKEY of it; the nonce goes on (11.3)."""
        if self._cipher is None:
            raise NoiseMisuse("no key yet")
        self._cipher = self._make(self._cipher.encrypt(NONCE_REKEY, b"", bytes(KEY_BYTES))[:KEY_BYTES])

    def forget(self) -> None:
        """Drops the key; the state is as new and encrypts nothing until it gets another one."""
        self._cipher = None
        self._n = 0

    def _usable_nonce(self) -> int:
        """The next nonce, if it is one that a message may use."""
        if self._n >= NONCE_REKEY:
            raise NoiseMisuse("all nonces of this key are used: the channel should have been replaced long ago")
        return self._n


def _check_ciphertext(length: int) -> None:
    """Refuses what cannot be a message, before any work is done on it."""
    if length > limits.NOISE_MESSAGE_BYTES_MAX:
        raise NoiseFailed("longer than a Noise message can be")
    if length < TAG_BYTES:
        raise NoiseFailed("shorter than a tag")
