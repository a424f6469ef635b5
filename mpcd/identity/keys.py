"""The three kinds of key, each for one purpose (layer 1, no I/O).

- `sign`, Ed25519: `SigningKey` signs requests (analyst), releases and rosters (party); `VerifyKey` checks.
- `channel`, X25519: `ChannelKey` is the static key of the Noise channel and is used for nothing else (rule 25).
- `result`, ML-KEM-768 with X25519: what is released is sealed with HPKE to the analyst's `ResultPublicKey` (rule 11)
  and unsealed with the `ResultKey`.

Public keys are values: equal by their bytes, printable, with one text form (`text.py`) and a fingerprint.  Private
keys are not values: no content in `repr`, no `==`, no truth value, no hash, no pickle, no copy.  The key material lives
only inside the library's object (`cryptography`, which clears it when the object dies); seeds pass through a
`bytearray` that is wiped at once.  Python cannot promise more: what the entropy source returns, or
`expose_private_bytes` hands out, is an immutable `bytes`.

Signing uses `cryptography`, verifying uses libsodium (PyNaCl).  Both are deterministic RFC 8032, but libsodium refuses
small-order and non-canonical points, which OpenSSL lets pass, while PyNaCl can hold a private key only as a `bytes`
that is never wiped and that `str()` shows.

Entropy is an argument.  One stated exception: HPKE draws the encapsulation's randomness itself, inside `cryptography`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NoReturn, Self

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from mpcd import limits
from mpcd.identity import text
from mpcd.identity.text import IdentityError, KeyKind

Entropy = Callable[[int], bytes]
"""Returns that many fresh random bytes; the shell passes `os.urandom`."""

ED25519_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
X25519_BYTES: Final = 32
MLKEM768_PUBLIC_BYTES: Final = 1184
MLKEM768_SEED_BYTES: Final = 64
SEAL_OVERHEAD_BYTES: Final = 1120 + 16
"""Encapsulated key and tag; a sealed text is this much longer than its plaintext."""

_CURVE25519_PRIME: Final = 2**255 - 19
_SIGNATURE_PREFIX: Final = b"mpcd-signature-1:"
_PROBE_SCALAR: Final = bytes([8]) + bytes(30) + bytes([64])
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA512, AEAD.AES_256_GCM)


# ------------------------------------------------------------------------------------------------ public keys


@dataclass(frozen=True, slots=True, repr=False)
class PublicKey:
    """What the three kinds of public key have in common: raw bytes, checked when made."""

    raw: bytes

    kind: ClassVar[KeyKind]
    raw_bytes: ClassVar[int]

    def __post_init__(self) -> None:
        if len(self.raw) != self.raw_bytes:
            raise IdentityError(f"a public key of kind `{self.kind}` has {self.raw_bytes} bytes")
        self._check()

    def _check(self) -> None:
        raise NotImplementedError

    @classmethod
    def from_text(cls, written: str) -> Self:
        """The key that `written` spells; raises `IdentityError`."""
        return cls(text.from_text(cls.kind, written, cls.raw_bytes))

    def fingerprint(self) -> str:
        """Six groups of five digits to compare by voice."""
        return text.fingerprint(self.kind, self.raw)

    def __str__(self) -> str:
        return text.to_text(self.kind, self.raw)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fingerprint()})"


class VerifyKey(PublicKey):
    """Ed25519 public key: a canonical point of the prime-order subgroup."""

    __slots__ = ()
    kind = "sign"
    raw_bytes = ED25519_BYTES

    def _check(self) -> None:
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(self.raw):
            raise IdentityError("not an Ed25519 public key: no point of the prime-order group")

    def verify(self, domain: str, data: bytes, signature: bytes) -> None:
        """Check a signature that `SigningKey.sign` made over `data` in `domain`.

        Raises:
            IdentityError: wrong length, other key, other domain, other data.
        """
        if len(signature) != SIGNATURE_BYTES:
            raise IdentityError(f"a signature has {SIGNATURE_BYTES} bytes")
        try:
            nacl.bindings.crypto_sign_open(signature + _signed_bytes(domain, data), self.raw)
        except nacl.exceptions.BadSignatureError as error:
            raise IdentityError(f"the signature does not fit (domain `{domain}`)") from error


class ChannelPublicKey(PublicKey):
    """X25519 public key of a party's channel: canonical and not of low order."""

    __slots__ = ()
    kind = "channel"
    raw_bytes = X25519_BYTES

    def _check(self) -> None:
        _check_x25519(self.raw)


class ResultPublicKey(PublicKey):
    """ML-KEM-768 public key (1,184 bytes) followed by an X25519 public key."""

    __slots__ = ()
    kind = "result"
    raw_bytes = MLKEM768_PUBLIC_BYTES + X25519_BYTES

    def _check(self) -> None:
        _check_x25519(self.raw[MLKEM768_PUBLIC_BYTES:])
        self._hybrid()

    def _hybrid(self) -> MLKEM768X25519PublicKey:
        try:
            lattice = MLKEM768PublicKey.from_public_bytes(self.raw[:MLKEM768_PUBLIC_BYTES])
        except ValueError as error:
            raise IdentityError("not an ML-KEM-768 public key") from error
        return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(self.raw[MLKEM768_PUBLIC_BYTES:]))


def _check_x25519(raw: bytes) -> None:
    if int.from_bytes(raw, "little") >= _CURVE25519_PRIME:
        raise IdentityError("not a canonical X25519 public key")
    probe = X25519PrivateKey.from_private_bytes(_PROBE_SCALAR)
    try:
        probe.exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError as error:
        raise IdentityError("an X25519 public key of low order is no key") from error


def _signed_bytes(domain: str, data: bytes) -> bytes:
    name = domain.encode("ascii")
    if not 0 < len(name) < 256:
        raise IdentityError("a signature domain has 1 to 255 characters")
    return _SIGNATURE_PREFIX + bytes([len(name)]) + name + data


# ------------------------------------------------------------------------------------------------ private keys


class PrivateKey:
    """What the three kinds of private key refuse: to be printed, compared, hashed, tested, copied or pickled."""

    __slots__ = ("_public",)
    _public: PublicKey

    kind: ClassVar[KeyKind]
    seed_bytes: ClassVar[int]

    __hash__ = None  # type: ignore[assignment]  # Python's own way to say "not hashable"

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """A fresh key from `entropy`, which the shell supplies."""
        seed = bytearray(entropy(cls.seed_bytes))
        return cls.from_seed(seed)

    @classmethod
    def from_seed(cls, seed: bytearray) -> Self:
        """The key of `seed` (`seed_bytes` bytes), which is wiped whether or not this succeeds.

        Raises:
            IdentityError: wrong length.
        """
        try:
            if len(seed) != cls.seed_bytes:
                raise IdentityError(f"the seed of a key of kind `{cls.kind}` has {cls.seed_bytes} bytes")
            return cls._load(seed)
        finally:
            wipe(seed)

    @classmethod
    def _load(cls, seed: bytearray) -> Self:
        raise NotImplementedError

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    def expose_private_bytes(self) -> bytes:
        """The seed, in the clear: for the key file, and for the Noise handshake that owns the channel key."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._public!r}>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("private keys are not compared; compare their public keys")

    def __bool__(self) -> NoReturn:
        raise TypeError("a private key has no truth value")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a private key is neither pickled nor copied")


class SigningKey(PrivateKey):
    """Ed25519 private key."""

    __slots__ = ("_key",)
    kind = "sign"
    seed_bytes = ED25519_BYTES
    _key: Ed25519PrivateKey
    _public: VerifyKey

    @classmethod
    def _load(cls, seed: bytearray) -> Self:
        made = cls()
        made._key = Ed25519PrivateKey.from_private_bytes(seed)
        made._public = VerifyKey(made._key.public_key().public_bytes_raw())
        return made

    @property
    def public(self) -> VerifyKey:
        """What others verify with."""
        return self._public

    def sign(self, domain: str, data: bytes) -> bytes:
        """64 bytes over `data`; a signature of one domain never serves another."""
        return self._key.sign(_signed_bytes(domain, data))

    def expose_private_bytes(self) -> bytes:
        """The seed, in the clear; see `PrivateKey`."""
        return self._key.private_bytes_raw()


class ChannelKey(PrivateKey):
    """X25519 static key of the Noise channel: neither signs nor unseals (rule 25)."""

    __slots__ = ("_key",)
    kind = "channel"
    seed_bytes = X25519_BYTES
    _key: X25519PrivateKey
    _public: ChannelPublicKey

    @classmethod
    def _load(cls, seed: bytearray) -> Self:
        made = cls()
        made._key = X25519PrivateKey.from_private_bytes(seed)
        made._public = ChannelPublicKey(made._key.public_key().public_bytes_raw())
        return made

    @property
    def public(self) -> ChannelPublicKey:
        """What the roster lists for this party."""
        return self._public

    def expose_private_bytes(self) -> bytes:
        """The seed, in the clear; see `PrivateKey`."""
        return self._key.private_bytes_raw()


class ResultKey(PrivateKey):
    """Hybrid private key of one analyst; the seed is ML-KEM's 64 bytes, then X25519's 32."""

    __slots__ = ("_classical", "_lattice")
    kind = "result"
    seed_bytes = MLKEM768_SEED_BYTES + X25519_BYTES
    _lattice: MLKEM768PrivateKey
    _classical: X25519PrivateKey
    _public: ResultPublicKey

    @classmethod
    def _load(cls, seed: bytearray) -> Self:
        made = cls()
        with memoryview(seed) as view:
            made._lattice = MLKEM768PrivateKey.from_seed_bytes(view[:MLKEM768_SEED_BYTES])
            made._classical = X25519PrivateKey.from_private_bytes(view[MLKEM768_SEED_BYTES:])
        lattice = made._lattice.public_key().public_bytes_raw()
        made._public = ResultPublicKey(lattice + made._classical.public_key().public_bytes_raw())
        return made

    @property
    def public(self) -> ResultPublicKey:
        """What the analyst puts into a request."""
        return self._public

    def expose_private_bytes(self) -> bytes:
        """The seed, in the clear; see `PrivateKey`."""
        return self._lattice.private_bytes_raw() + self._classical.private_bytes_raw()


# ------------------------------------------------------------------------------------------------ sealing


def seal(public: ResultPublicKey, info: bytes, plaintext: bytes) -> bytes:
    """Seal `plaintext` to `public` with HPKE (RFC 9180, base mode, one message).

    Security: secret as long as X25519 or ML-KEM-768 holds.  Base mode does not say who sealed: senders sign.

    Args:
        public: the analyst's key from the signed request.
        info: what the sealed text belongs to; unsealing needs the same bytes.
        plaintext: padded by the caller to a public size.

    Returns:
        Encapsulated key and ciphertext, `SEAL_OVERHEAD_BYTES` longer than `plaintext`.
    """
    assert len(plaintext) <= limits.RELEASE_BYTES_MAX
    return _SUITE.encrypt(plaintext, public._hybrid(), info)  # noqa: SLF001  # same module


def unseal(key: ResultKey, info: bytes, sealed: bytes) -> bytes:
    """The plaintext of `sealed`.

    Raises:
        IdentityError: another key, another `info`, or changed bytes; one message for all.
    """
    if len(sealed) > limits.RELEASE_BYTES_MAX + SEAL_OVERHEAD_BYTES:
        raise IdentityError(f"a sealed text has at most {limits.RELEASE_BYTES_MAX} bytes")
    private = MLKEM768X25519PrivateKey(key._lattice, key._classical)  # noqa: SLF001  # same module
    try:
        return _SUITE.decrypt(sealed, private, info)
    except (InvalidTag, ValueError) as error:
        raise IdentityError("cannot be unsealed with this key and for this session") from error


# ------------------------------------------------------------------------------------------------ helpers


def wipe(*buffers: bytearray) -> None:
    """Overwrite `buffers` with zeros, in place."""
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))


def equal_secrets(left: bytes, right: bytes) -> bool:
    """Compare in time that depends on the lengths alone."""
    return hmac.compare_digest(left, right)


def distinct(keys: Iterable[PublicKey]) -> bool:
    """Whether no raw key occurs twice."""
    raws = [key.raw for key in keys]
    return len(set(raws)) == len(raws)
