"""What offers, licences and the like have in common: canonical bytes, signatures, small forms (pure).

Every mistake is `LicenceInvalid`, whoever made it: whether that is a file, a caller or a peer, the boundary knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from mpcd import canonical, limits
from mpcd.errors import LicenceInvalid
from mpcd.identity import IdentityError, VerifyKey
from mpcd.identity.keys import SIGNATURE_BYTES
from mpcd.ids import PartyId
from mpcd.results.schema import Form, FormError, integer, pair, sequence, text

T = TypeVar("T")
VERSION: Final = 1
NONCE_BYTES: Final = 16
DAY_MS: Final = 86_400_000
TIME_MAX: Final = 2**53


def require(condition: bool, message: str) -> None:
    """Raise `LicenceInvalid` unless `condition`."""
    if not condition:
        raise LicenceInvalid(message)


def is_plain(name: str, characters_max: int = limits.NAME_CHARACTERS_MAX) -> bool:
    """Whether `name` is a printable text without outer spaces, not empty and not too long."""
    return 0 < len(name) <= characters_max and name.isprintable() and name == name.strip()


def check_signature(
    keys: Mapping[PartyId, VerifyKey],
    party: PartyId | None,
    domain: str,
    data: bytes,
    signature: bytes,
    key: VerifyKey | None = None,
) -> None:
    """Check one signature.

    Args:
        keys: of the parties.
        party: who signed; None for somebody with the key `key`.
        domain: what it was signed as.
        data: what was signed.
        signature: to be checked.
        key: of a signer who is no party.

    Raises:
        LicenceInvalid: no such party, or the signature does not fit.
    """
    found = key if key is not None else keys.get(PartyId(-1) if party is None else party)
    who = "the analyst" if party is None else f"party {party}"
    if found is None:
        raise LicenceInvalid(f"{who} is not in the roster")
    try:
        found.verify(domain, data, signature)
    except IdentityError as error:
        raise LicenceInvalid(f"the signature of {who} does not fit") from error


def encode(form: Form[T], value: T) -> bytes:
    """Canonical bytes of `value` with the version; `form` is of a record."""
    fields = form.encode(value)
    assert isinstance(fields, dict)
    return canonical.encode({"version": VERSION, **fields})


def decode(form: Form[T], data: bytes, what: str) -> T:
    """The inverse of `encode`; raises `LicenceInvalid`, which calls it `what`."""
    value = _map(data, what)
    version = value.pop("version", None)
    if version != VERSION or type(version) is not int:
        raise LicenceInvalid(f"this version understands {what} of version {VERSION} alone")
    try:
        return form.decode(value)
    except FormError as error:
        raise LicenceInvalid(f"this is not {what}: {str(error).lstrip(': ')}") from error


def _map(data: bytes, what: str) -> dict[str, canonical.Value]:
    if len(data) > limits.LICENCE_BYTES_MAX:
        raise LicenceInvalid(f"{what} has at most {limits.LICENCE_BYTES_MAX} bytes")
    try:
        value = canonical.decode(data)
    except canonical.CanonicalError as error:
        raise LicenceInvalid(f"this is not {what}: not in canonical form") from error
    if not isinstance(value, dict):
        raise LicenceInvalid(f"this is not {what}: no map")
    return value


def read_fields(data: bytes, what: str, *names: str) -> dict[str, canonical.Value]:
    """The canonical map in `data` with exactly these fields; raises `LicenceInvalid`."""
    value = _map(data, what)
    if value.keys() != set(names):
        raise LicenceInvalid(f"this is not {what}: expected {', '.join(names)}")
    return value


def octets(fields: Mapping[str, canonical.Value], name: str) -> bytes:
    """The bytes at `name`; raises `LicenceInvalid`."""
    value = fields[name]
    if not isinstance(value, bytes):
        raise LicenceInvalid(f"`{name}` must be bytes")
    return value


def read_signatures(value: canonical.Value) -> tuple[tuple[PartyId, bytes], ...]:
    """The list of [party, signature]; raises `LicenceInvalid`."""
    try:
        return SIGNATURES.decode(value)
    except FormError as error:
        raise LicenceInvalid(f"the signatures cannot be read{error}") from error


def _octet_form(size: int) -> Form[bytes]:
    def decode(value: object) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise FormError(f": expected {size} bytes")
        return value

    return Form(lambda value: value, decode)


NAME: Final = text(4 * limits.NAME_CHARACTERS_MAX)
PARTY: Final = integer(0, 2**31)
TIME: Final = integer(0, TIME_MAX)
DAYS: Final = integer(0, limits.LICENCE_DAYS_MAX)
KEY: Final = _octet_form(32)
DIGEST: Final = _octet_form(canonical.DIGEST_BYTES)
NONCE: Final = _octet_form(NONCE_BYTES)
SIGNATURE: Final = _octet_form(SIGNATURE_BYTES)
SIGNATURES: Final = sequence(pair(PARTY, SIGNATURE), limits.INPUT_OWNERS_MAX)
