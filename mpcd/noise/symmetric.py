"""SymmetricState: the running hash and the chaining key of a handshake (layer 1, no I/O).

Source: Noise revision 34, section 5.2; each method has the specification's name.

`h` has seen everything that both sides have seen, so the smallest difference between their views, the prologue
included, makes the next tag fail.  `ck` has absorbed every secret so far; it never leaves this object.
"""

from __future__ import annotations

from typing import Final, final

from mpcd.noise.cipher import CipherState
from mpcd.noise.opaque import Opaque
from mpcd.noise.primitives import KEY_BYTES, Buffer, cipher_named, hash_named


@final
class SymmetricState(Opaque):
    """`ck`, `h` and the CipherState of the handshake."""

    __slots__ = ("_ck", "_h", "_hash", "_make", "cipher")

    def __init__(self, protocol_name: str, *, cipher: str, hash_name: str) -> None:
        self._make: Final = cipher_named(cipher)
        self._hash: Final = hash_named(hash_name)
        self.cipher: Final = CipherState(self._make)
        name = protocol_name.encode()
        fits = len(name) <= self._hash.bytes
        self._h = name.ljust(self._hash.bytes, b"\0") if fits else self._hash.digest(name)
        self._ck = self._h

    def mix_key(self, material: bytes) -> None:
        """MixKey: a new chaining key and a new cipher key from `material`."""
        self._ck, key = self._hash.hkdf(self._ck, material, 2)
        self.cipher.initialize_key(key[:KEY_BYTES])

    def mix_hash(self, data: Buffer) -> None:
        """MixHash."""
        self._h = self._hash.digest(self._h, data)

    def mix_key_and_hash(self, material: bytes) -> None:
        """MixKeyAndHash, for pre-shared keys."""
        self._ck, hashed, key = self._hash.hkdf(self._ck, material, 3)
        self.mix_hash(hashed)
        self.cipher.initialize_key(key[:KEY_BYTES])

    def encrypt_and_hash(self, plaintext: Buffer) -> bytes:
        """EncryptAndHash: in the clear while there is no key, hashed either way."""
        ciphertext = self.cipher.encrypt_with_ad(self._h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: Buffer) -> bytes:
        """DecryptAndHash; raises `NoiseFailed`."""
        plaintext = self.cipher.decrypt_with_ad(self._h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def get_handshake_hash(self) -> bytes:
        """`h`, which both sides share and which names this run of the handshake; not a secret."""
        return self._h

    def split(self) -> tuple[CipherState, CipherState]:
        """Split: the ciphers of initiator to responder and of responder to initiator."""
        first, second = CipherState(self._make), CipherState(self._make)
        key_first, key_second = self._hash.hkdf(self._ck, b"", 2)
        first.initialize_key(key_first[:KEY_BYTES])
        second.initialize_key(key_second[:KEY_BYTES])
        return first, second

    def forget(self) -> None:
        """Drops the chaining key and the cipher key; `h` stays readable."""
        self._ck = b""
        self.cipher.forget()
