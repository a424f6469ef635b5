"""How a public key is written in a file, on a screen and on the telephone (layer 1, no I/O).

The text form of a key is `mpcd-KIND1BODY`: the kind (`sign`, `channel`, `result`), the digit 1, and the lower-case
base32 (RFC 4648 alphabet, no padding) of the raw key followed by 8 bytes of checksum.  The checksum is the start of a
SHA-256 over kind and key, so a mistyped letter, a cut line or a key pasted into the field of another kind is found: a
damaged text passes with probability 2^-64.  The alphabet has no 0, 1, 8, 9, so nothing in the body looks like the
separator.  One key has one text: upper case, spaces and padding are refused.  Bech32 was not taken because what its
checksum guarantees ends at 90 characters, and a hybrid key needs 1,959.

The fingerprint is what two people read to each other at enrolment: 30 digits in six groups (about 99 bits), digits
because the people may not share an alphabet's names.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final, Literal

from mpcd import canonical

KeyKind = Literal["sign", "channel", "result"]

PREFIX: Final = "mpcd-"
CHECKSUM_BYTES: Final = 8
FINGERPRINT_GROUPS: Final = 6
_GROUP_BYTES: Final = 5
_GROUP_MODULUS: Final = 100_000


class IdentityError(ValueError):
    """Undecodable key, text, request or envelope; the boundary decides whose fault that is."""


def _checksum(kind: KeyKind, raw: bytes) -> bytes:
    return canonical.digest_bytes("key-text-" + kind, raw)[:CHECKSUM_BYTES]


def to_text(kind: KeyKind, raw: bytes) -> str:
    """The one text form of the raw public key `raw`."""
    body = base64.b32encode(raw + _checksum(kind, raw)).decode("ascii").rstrip("=").lower()
    return f"{PREFIX}{kind}1{body}"


def from_text(kind: KeyKind, text: str, raw_bytes: int) -> bytes:
    """The raw key that `text` spells.

    Args:
        kind: what the caller needs; another kind's text is refused by name.
        text: exactly as `to_text` wrote it.
        raw_bytes: length of a key of this kind.

    Raises:
        IdentityError: not a key text, of another kind, damaged, or not the one spelling.
    """
    start = f"{PREFIX}{kind}1"
    if not text.startswith(start):
        found, separator, _ = text.removeprefix(PREFIX).partition("1")
        if text.startswith(PREFIX) and separator and found.isalpha() and len(found) <= 8:
            raise IdentityError(f"this is a key of kind `{found}`, a key of kind `{kind}` (`{start}...`) is needed")
        raise IdentityError(f"not a key text: it must start with `{start}`")
    body = text[len(start) :]
    characters = -(-(raw_bytes + CHECKSUM_BYTES) * 8 // 5)
    if len(body) != characters:
        raise IdentityError(f"a key of kind `{kind}` has {characters} characters after `{start}`, not {len(body)}")
    if not body.isascii() or body != body.lower():
        raise IdentityError("a key text is written in lower-case letters and the digits 2 to 7")
    try:
        decoded = base64.b32decode(body.upper() + "=" * (-characters % 8))
    except ValueError as error:
        raise IdentityError("a key text is written in lower-case letters and the digits 2 to 7") from error
    raw, check = decoded[:raw_bytes], decoded[raw_bytes:]
    if not hmac.compare_digest(check, _checksum(kind, raw)):
        raise IdentityError("the checksum of this key does not fit: it was mistyped or cut; copy it again")
    if to_text(kind, raw) != text:
        raise IdentityError("not the one spelling of this key; copy it again")
    return raw


def fingerprint(kind: KeyKind, raw: bytes) -> str:
    """Six groups of five digits to compare by voice, e.g. `04816 23342 ...`."""
    digest = canonical.digest_bytes("key-fingerprint-" + kind, raw)
    starts = range(0, FINGERPRINT_GROUPS * _GROUP_BYTES, _GROUP_BYTES)
    groups = (int.from_bytes(digest[start : start + _GROUP_BYTES], "big") for start in starts)
    return " ".join(f"{group % _GROUP_MODULUS:05d}" for group in groups)
