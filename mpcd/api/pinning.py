"""How a new analyst comes to trust a consortium: the card that all its parties sign, checked and pinned (layer 12).

A card says who takes part, with which keys, under which roster; it names no table, because what a stranger may not see
does not exist for them.  It counts only with the signature of every party in it, each by the key that it lists.  So a
relaying host cannot change a card; but it could show one that it made up altogether.  Against that stands the
fingerprint: two people read it to each other, the analyst and a steward of *another* party than the one that relays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

from mpcd import canonical
from mpcd.api.opening import pinned_party
from mpcd.api.profile import DEFAULT_PURPOSE, render
from mpcd.errors import RequestInvalid
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.ids import PartyId, RosterHash
from mpcd.results.schema import Form, FormError, integer, record, sequence, text, word
from mpcd.roster.model import NAME_BYTES_MAX, Roster
from mpcd.roster.versions import DOMAIN

CARD_DOMAIN = "consortium-card"
_GROUPS = 6
_GROUP_BYTES = 5
_GROUP_MODULUS = 100_000


@dataclass(frozen=True, slots=True)
class Member:
    """One party, as far as an analyst needs to know it."""

    id: int
    name: str
    signing_key: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Who the consortium is."""

    consortium: str
    roster_version: int
    roster_hash: bytes
    parties: tuple[Member, ...]

    @classmethod
    def of(cls, roster: Roster) -> Self:
        """The card of a roster."""
        parties = tuple(Member(int(p.id), p.name, p.signing_key, p.roles) for p in roster.parties)
        return cls(roster.consortium, roster.version, roster.hash(), parties)

    def to_bytes(self) -> bytes:
        """The canonical bytes that every party signs."""
        return canonical.encode(_CARD.encode(self))

    def sign(self, key: SigningKey) -> bytes:
        """One party's signature."""
        return key.sign(CARD_DOMAIN, self.to_bytes())

    @classmethod
    def verified(cls, encoded: bytes, signatures: Mapping[int, bytes]) -> Self:
        """The card in canonical bytes, with valid signatures of all its parties.

        Raises:
            RequestInvalid: not a card, or a signature is missing or wrong; it must not be pinned.
        """
        try:
            card = cast("Self", _CARD.decode(canonical.decode(encoded)))
        except (FormError, canonical.CanonicalError) as error:
            raise RequestInvalid("what the daemon sent does not describe a consortium; do not trust it") from error
        if not card.parties or len({member.signing_key for member in card.parties}) != len(card.parties):
            raise RequestInvalid("the consortium shown has no parties, or one key twice; do not trust it")
        missing = [m.name for m in card.parties if not _signed(m.signing_key, encoded, signatures.get(m.id, b""))]
        if missing:
            raise RequestInvalid(
                f"{', '.join(missing)} did not sign what is shown; if they are away, try again later; "
                "if they are not, do not trust this daemon"
            )
        return card

    def fingerprint(self) -> str:
        """Six groups of five digits to compare by voice (about 99 bits)."""
        digest = canonical.digest_bytes("card-fingerprint", self.to_bytes())
        starts = range(0, _GROUPS * _GROUP_BYTES, _GROUP_BYTES)
        groups = (int.from_bytes(digest[start : start + _GROUP_BYTES], "big") for start in starts)
        return " ".join(f"{group % _GROUP_MODULUS:05d}" for group in groups)

    def profile_text(self, address: str, purpose: str = DEFAULT_PURPOSE) -> str:
        """The text of a profile that pins this consortium."""
        return render(
            consortium=self.consortium,
            roster_version=self.roster_version,
            roster_hash=RosterHash(self.roster_hash),
            socket=address,
            parties=[
                pinned_party(PartyId(m.id), m.name, m.signing_key, computes="compute" in m.roles) for m in self.parties
            ],
            purpose=purpose,
        )


def _signed(key: str, data: bytes, signature: bytes) -> bool:
    try:
        VerifyKey.from_text(key).verify(CARD_DOMAIN, data, signature)
    except IdentityError:
        return False
    return True


def signed_by(key: str, digest: RosterHash, signature: bytes) -> bool:
    """Whether `signature` is that key's signature of the roster's hash."""
    try:
        VerifyKey.from_text(key).verify(DOMAIN, digest, signature)
    except IdentityError:
        return False
    return True


def _decode_hash(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != canonical.DIGEST_BYTES:
        raise FormError(": expected a digest")
    return value


_HASH: Form[bytes] = Form(lambda value: value, _decode_hash)
_CARD: Form[Card] = record(
    Card,
    consortium=text(NAME_BYTES_MAX),
    roster_version=integer(1, 2**31),
    roster_hash=_HASH,
    parties=sequence(
        record(
            Member,
            id=integer(0, 2**31),
            name=text(NAME_BYTES_MAX),
            signing_key=text(256),
            roles=sequence(word("input", "compute"), 2),
        ),
        1024,
    ),
)
