"""The primitives that a suite names (layer 1, no I/O): X25519, ML-KEM, two ciphers, four hashes, HKDF.

Source: Noise revision 34, sections 4 and 12; FIPS 203 for ML-KEM.
Security: nothing here is written by hand that a reviewed library has.  X25519 comes from libsodium through PyNaCl,
    which refuses an all-zero result (low-order points); ML-KEM, AES-GCM and ChaCha20-Poly1305 come from OpenSSL through
    `cryptography`, which has `encrypt_into` and `decrypt_into`; hashes come from `hashlib`.

Entropy is an argument wherever the library lets it be one: X25519 and ML-KEM key pairs are made from bytes that the
caller drew.  Only ML-KEM encapsulation draws its own; it is therefore behind the `Kem` protocol and a handshake takes
another `Kem` as an argument (known-answer vectors do).

ML-KEM rejects a wrong ciphertext implicitly: it gives an unrelated shared secret, and the next tag fails.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from typing import Final, Protocol, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from mpcd.noise.errors import NoiseFailed, NoiseMisuse, SuiteUnsupported
from mpcd.noise.opaque import Opaque

Buffer = bytes | bytearray | memoryview
Entropy = Callable[[int], bytes]
"""Gives that many fresh, uniformly random bytes; the shell passes the operating system's source."""

DH_BYTES: Final = 32
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
PSK_BYTES: Final = 32
NONCE_REKEY: Final = 2**64 - 1
"""The nonce that only `rekey` may use; a message never does."""


def draw(entropy: Entropy, count: int) -> bytes:
    """Exactly `count` bytes of `entropy`; a source that gives less must not be noticed later, as a short key."""
    drawn = entropy(count)
    if len(drawn) != count:
        raise NoiseMisuse(f"the entropy source did not give {count} bytes")
    return drawn


# ------------------------------------------------------------------------------------------------ X25519


@final
class KeyPair(Opaque):
    """An X25519 key pair; the private half can be used, not seen."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Buffer) -> None:
        if len(private) != DH_BYTES:
            raise NoiseMisuse(f"an X25519 private key has {DH_BYTES} bytes")
        self._private = bytes(private)
        self.public: Final[bytes] = crypto_scalarmult_base(self._private)

    def exchange(self, public: bytes) -> bytes:
        """X25519 with `public`, 32 bytes.

        Raises:
            NoiseFailed: the result is all zero: the peer sent a point of low order.
        """
        try:
            shared = crypto_scalarmult(self._private, public)
        except CryptoError as error:
            raise NoiseFailed("a public key is a point of low order") from error
        assert isinstance(shared, bytes)
        return shared


# ------------------------------------------------------------------------------------------------ KEM


class KemPrivate(Protocol):
    """A KEM private key as its library holds it."""

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        """The shared secret, 32 bytes; an unrelated one for a wrong ciphertext."""


class Kem(Protocol):
    """A key encapsulation mechanism, as the handshake uses it."""

    seed_bytes: int
    public_bytes: int
    ciphertext_bytes: int

    def generate(self, seed: bytes) -> tuple[KemPrivate, bytes]:
        """The private key and the public key of a fresh seed."""

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Ciphertext and shared secret for a public key; draws its own entropy.

        Raises:
            NoiseFailed: `public` is not a valid public key.
        """


@final
class MlKem768:
    """ML-KEM-768 of FIPS 203."""

    seed_bytes = 64
    public_bytes = 1184
    ciphertext_bytes = 1088

    def generate(self, seed: bytes) -> tuple[KemPrivate, bytes]:
        """The key pair of a 64-byte seed d, z."""
        private = MLKEM768PrivateKey.from_seed_bytes(seed)
        return private, private.public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Ciphertext and shared secret for `public`."""
        try:
            shared, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError as error:
            raise NoiseFailed("not an ML-KEM public key") from error
        return ciphertext, shared


@final
class MlKem1024:
    """ML-KEM-1024 of FIPS 203."""

    seed_bytes = 64
    public_bytes = 1568
    ciphertext_bytes = 1568

    def generate(self, seed: bytes) -> tuple[KemPrivate, bytes]:
        """The key pair of a 64-byte seed d, z."""
        private = MLKEM1024PrivateKey.from_seed_bytes(seed)
        return private, private.public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """Ciphertext and shared secret for `public`."""
        try:
            shared, ciphertext = MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
        except ValueError as error:
            raise NoiseFailed("not an ML-KEM public key") from error
        return ciphertext, shared


# ------------------------------------------------------------------------------------------------ ciphers


@final
class Cipher(Opaque):
    """One AEAD under one key: the specification's ENCRYPT, DECRYPT and REKEY, and the same without allocation."""

    __slots__ = ("_aead", "_nonce")

    def __init__(self, aead: AESGCM | ChaCha20Poly1305, nonce: struct.Struct) -> None:
        self._aead = aead
        self._nonce = nonce

    def encrypt(self, n: int, ad: Buffer, plaintext: Buffer) -> bytes:
        """Ciphertext and tag."""
        return self._aead.encrypt(self._nonce.pack(n), plaintext, ad)

    def decrypt(self, n: int, ad: Buffer, ciphertext: Buffer) -> bytes:
        """The plaintext; raises `NoiseFailed` if the tag does not fit."""
        try:
            return self._aead.decrypt(self._nonce.pack(n), ciphertext, ad)
        except InvalidTag as error:
            raise NoiseFailed("does not authenticate") from error

    def encrypt_into(self, n: int, ad: Buffer, plaintext: Buffer, out: memoryview) -> None:
        """Ciphertext and tag into `out`, which has exactly their length and does not overlap `plaintext`."""
        self._aead.encrypt_into(self._nonce.pack(n), plaintext, ad, out)

    def decrypt_into(self, n: int, ad: Buffer, ciphertext: Buffer, out: memoryview) -> None:
        """The plaintext into `out`, exactly its length; on a wrong tag `out` is zeroed and `NoiseFailed` raised."""
        try:
            self._aead.decrypt_into(self._nonce.pack(n), ciphertext, ad, out)
        except InvalidTag as error:
            out[:] = bytes(len(out))
            raise NoiseFailed("does not authenticate") from error


_AESGCM_NONCE: Final = struct.Struct(">4xQ")
_CHACHAPOLY_NONCE: Final = struct.Struct("<4xQ")


def _aesgcm(key: bytes) -> Cipher:
    """AES-256-GCM; the nonce is four zero bytes and n in big-endian order (12.4)."""
    return Cipher(AESGCM(key), _AESGCM_NONCE)


def _chachapoly(key: bytes) -> Cipher:
    """ChaCha20-Poly1305; the nonce is four zero bytes and n in little-endian order (12.3)."""
    return Cipher(ChaCha20Poly1305(key), _CHACHAPOLY_NONCE)


# ------------------------------------------------------------------------------------------------ hashes


@final
class Hash:
    """A hash function with HMAC and HKDF over it."""

    __slots__ = ("_name", "bytes")

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self.bytes: Final[int] = size

    def digest(self, *parts: Buffer) -> bytes:
        """HASH of the parts, one after the other."""
        state = hashlib.new(self._name)
        for part in parts:
            state.update(part)
        return state.digest()

    def hkdf(self, chaining_key: bytes, material: bytes, count: int) -> tuple[bytes, ...]:
        """HKDF of section 4.3: `count` (2 or 3) outputs of the hash's length."""
        temporary = hmac.new(chaining_key, material, self._name).digest()
        outputs: list[bytes] = []
        previous = b""
        for index in range(1, count + 1):
            previous = hmac.new(temporary, previous + bytes([index]), self._name).digest()
            outputs.append(previous)
        return tuple(outputs)


# ------------------------------------------------------------------------------------------------ names

MLKEM1024: Final[Kem] = MlKem1024()
MLKEM768: Final[Kem] = MlKem768()

_CIPHERS: Final[Mapping[str, Callable[[bytes], Cipher]]] = {"AESGCM": _aesgcm, "ChaChaPoly": _chachapoly}
_HASHES: Final[Mapping[str, Hash]] = {
    "SHA256": Hash("sha256", 32),
    "SHA512": Hash("sha512", 64),
    "BLAKE2s": Hash("blake2s", 32),
    "BLAKE2b": Hash("blake2b", 64),
}
_KEMS: Final[Mapping[str, Kem]] = {"MLKEM768": MLKEM768, "MLKEM1024": MLKEM1024}


def dh_named(name: str) -> type[KeyPair]:
    """The Diffie-Hellman function of that name; raises `SuiteUnsupported`."""
    if name != "25519":
        raise SuiteUnsupported(f"the Diffie-Hellman function {name} is not provided")
    return KeyPair


def cipher_named(name: str) -> Callable[[bytes], Cipher]:
    """What makes the named cipher of a 32-byte key; raises `SuiteUnsupported`."""
    if name not in _CIPHERS:
        raise SuiteUnsupported(f"the cipher {name} is not provided")
    return _CIPHERS[name]


def hash_named(name: str) -> Hash:
    """The hash function of that name; raises `SuiteUnsupported`."""
    if name not in _HASHES:
        raise SuiteUnsupported(f"the hash function {name} is not provided")
    return _HASHES[name]


def kem_named(name: str) -> Kem:
    """The KEM of that name; raises `SuiteUnsupported`."""
    if name not in _KEMS:
        raise SuiteUnsupported(f"the KEM {name} is not provided")
    return _KEMS[name]
