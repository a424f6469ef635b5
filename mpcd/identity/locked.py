r"""A signing key under a passphrase, for people who sign offline (layer 1, no I/O).

A data steward or approver signs with a key of their own, not with the daemon's.  It lies in a file that may be copied
to a memory stick, so its seed is encrypted: Argon2id (RFC 9106) makes a key of the passphrase, XSalsa20-Poly1305
(libsodium's secretbox) seals the seed with it.

    mpcd-locked-key 1 sign\n    canonical map: ops, memory_bytes, salt, nonce, public, box

Public key and cost are readable without the passphrase.  They are not authenticated by the box and need not be: another
salt or cost gives another key, which does not open it, and the public key is derived again from the seed and compared.
A file may not ask for more work than `MEMORY_BYTES_MAX`, nor for so little that guessing becomes cheap.

Salt and nonce are arguments' randomness.  The passphrase is hashed as UTF-8 in normal form C, so that the same words
typed on two systems open the same file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self, cast

import nacl.bindings
import nacl.exceptions

from mpcd import canonical, limits
from mpcd.errors import KeyInvalid
from mpcd.identity.keys import ED25519_BYTES, Entropy, SigningKey, VerifyKey, equal_secrets
from mpcd.identity.text import IdentityError

MAGIC: Final = b"mpcd-locked-key 1 sign\n"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 24
_KEY_BYTES: Final = 32
_BOX_BYTES: Final = ED25519_BYTES + 16
_FIELDS: Final[Mapping[str, type]] = {
    "box": bytes,
    "memory_bytes": int,
    "nonce": bytes,
    "ops": int,
    "public": bytes,
    "salt": bytes,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """How hard a guess is made; the default takes about half a second and 256 MiB."""

    ops: int = 3
    memory_bytes: int = 256 * 2**20


OPS_MAX: Final = 20
MEMORY_BYTES_MIN: Final = 64 * 2**20
MEMORY_BYTES_MAX: Final = 2**30
STANDARD: Final = Cost()


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A signing key that only its passphrase opens."""

    public: VerifyKey
    cost: Cost
    salt: bytes
    nonce: bytes
    box: bytes

    @classmethod
    def lock(cls, key: SigningKey, passphrase: str, entropy: Entropy, cost: Cost = STANDARD) -> Self:
        """Lock `key` under `passphrase`.

        Raises:
            KeyInvalid: the passphrase is too short or too long.
        """
        check_passphrase(passphrase)
        salt, nonce = entropy(_SALT_BYTES), entropy(_NONCE_BYTES)
        wrapping = _derive(passphrase, salt, cost)
        box = nacl.bindings.crypto_secretbox_easy(key.expose_private_bytes(), nonce, wrapping)
        return cls(key.public, cost, salt, nonce, bytes(box))

    def unlock(self, passphrase: str) -> SigningKey:
        """The key.

        Raises:
            KeyInvalid: another passphrase, or the file was changed; one message for both.
        """
        wrong = KeyInvalid("the passphrase does not open this key (or its file was changed)")
        if not 0 < len(passphrase.encode(errors="replace")) <= limits.PASSPHRASE_BYTES_MAX:
            raise wrong
        wrapping = _derive(passphrase, self.salt, self.cost)
        try:
            seed = bytearray(nacl.bindings.crypto_secretbox_open_easy(self.box, self.nonce, wrapping))
        except nacl.exceptions.CryptoError:
            raise wrong from None
        key = SigningKey.from_seed(seed)
        if not equal_secrets(key.public.raw, self.public.raw):
            raise wrong
        return key

    def to_bytes(self) -> bytes:
        """The content of a key file."""
        return MAGIC + canonical.encode(
            {
                "box": self.box,
                "memory_bytes": self.cost.memory_bytes,
                "nonce": self.nonce,
                "ops": self.cost.ops,
                "public": self.public.raw,
                "salt": self.salt,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `KeyInvalid` for anything else."""
        _require(data.startswith(MAGIC), "make one with `mpcctl key new`")
        _require(len(data) <= limits.KEY_FILE_BYTES_MAX, "it is too long")
        try:
            fields = canonical.decode(data[len(MAGIC) :])
            _require(isinstance(fields, dict), _DAMAGED)
            values = cast("dict[str, canonical.Value]", fields)
            _require(values.keys() == _FIELDS.keys(), _DAMAGED)
            for name, kind in _FIELDS.items():
                _require(type(values[name]) is kind, _DAMAGED)
            public = VerifyKey(cast("bytes", values["public"]))
        except (canonical.CanonicalError, IdentityError) as error:
            raise KeyInvalid(f"this is no locked key: {_DAMAGED}") from error
        cost = Cost(cast("int", values["ops"]), cast("int", values["memory_bytes"]))
        _require(1 <= cost.ops <= OPS_MAX, "its cost is out of bounds")
        _require(MEMORY_BYTES_MIN <= cost.memory_bytes <= MEMORY_BYTES_MAX, "its cost is out of bounds")
        salt, nonce, box = (cast("bytes", values[name]) for name in ("salt", "nonce", "box"))
        _require((len(salt), len(nonce), len(box)) == (_SALT_BYTES, _NONCE_BYTES, _BOX_BYTES), _DAMAGED)
        return cls(public, cost, salt, nonce, box)


_DAMAGED: Final = "it is damaged; restore the file from its backup"


def check_passphrase(passphrase: str) -> None:
    """Raise `KeyInvalid` unless `passphrase` may lock a new key."""
    if len(passphrase) < limits.PASSPHRASE_CHARACTERS_MIN:
        raise KeyInvalid(f"a passphrase has at least {limits.PASSPHRASE_CHARACTERS_MIN} characters; take several words")
    if len(passphrase.encode(errors="replace")) > limits.PASSPHRASE_BYTES_MAX:
        raise KeyInvalid(f"a passphrase has at most {limits.PASSPHRASE_BYTES_MAX} bytes")


def _derive(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    words = unicodedata.normalize("NFC", passphrase).encode(errors="replace")
    derived = nacl.bindings.crypto_pwhash_alg(
        _KEY_BYTES, words, salt, cost.ops, cost.memory_bytes, nacl.bindings.crypto_pwhash_ALG_ARGON2ID13
    )
    return bytes(derived)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise KeyInvalid(f"this is no locked key: {what}")
