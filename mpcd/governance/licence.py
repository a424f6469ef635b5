"""Licences: what is signed, by whom, and what two people can later prove to a third (pure).

    Offer        one owner's, or, signed by all its owners, a pool's: what may be used, how, at which price, how long
    Acceptance   the analyst's word to one offer; offer and acceptance together are the Agreement
    Countersign  each owner's word that it holds this agreement since then
    Revocation   an owner's, or the analyst's own: the agreement ends now

The shape is ODRL's (Offer, Agreement; `odrl.py` writes it in those words).  Owner and analyst keep the agreement's
same bytes: the offer's bytes with the owners' signatures and the acceptance's bytes with the analyst's.  Its name is a
digest over offer and acceptance alone, so that it has one name whatever the signatures look like.  A `Deed` is what a
person files away: the agreement, the countersignatures, and whether it was revoked; `Deed.verify` needs the keys of
the roster and nothing else.

Nothing here says whether a request is covered (`cover.py`) or what it costs (`price.py`).  Times are milliseconds
since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from mpcd import canonical, limits
from mpcd.errors import LicenceInvalid
from mpcd.governance.offer import Offer, SignedOffer
from mpcd.governance.price import RATE_CLASSES, Rate, RateClass
from mpcd.governance.signed import (
    DAY_MS,
    DIGEST,
    KEY,
    NAME,
    NONCE,
    NONCE_BYTES,
    PARTY,
    SIGNATURE,
    SIGNATURES,
    TIME,
    VERSION,
    check_signature,
    decode,
    encode,
    is_plain,
    octets,
    read_fields,
    read_signatures,
    require,
)
from mpcd.identity import Entropy, IdentityError, SigningKey, VerifyKey
from mpcd.identity.keys import SIGNATURE_BYTES
from mpcd.ids import PartyId
from mpcd.results.schema import Form, optional, record, text, word

ACCEPTANCE_DOMAIN: Final = "licence-acceptance"
AGREEMENT_DOMAIN: Final = "licence"
COUNTERSIGN_DOMAIN: Final = "licence-countersignature"
REVOCATION_DOMAIN: Final = "licence-revocation"
_REASON: Final = f"a reason is a printable text of at most {limits.REVOCATION_REASON_CHARACTERS_MAX} characters"


# ------------------------------------------------------------------------------------------------ agreements


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What the analyst signs: this offer, at this rate, from now on."""

    offer: bytes
    """The offer's digest."""
    analyst: bytes
    """Raw public key."""
    rate_class: RateClass
    licensee: str
    """Name of the person or institution that pays."""
    tax_id: str
    accepted_at: int
    nonce: bytes

    def __post_init__(self) -> None:
        require(len(self.offer) == canonical.DIGEST_BYTES, "an offer's digest has 32 bytes")
        require(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        require(is_plain(self.licensee), "the licensee's name is a short printable text")
        require(self.tax_id == "" or is_plain(self.tax_id), "a tax id is a short printable text")

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(_ACCEPTANCE, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`."""
        acceptance = decode(_ACCEPTANCE, data, "an acceptance")
        assert isinstance(acceptance, cls)
        return acceptance


@dataclass(frozen=True, slots=True)
class Agreement:
    """A licence: a complete offer and one analyst's acceptance of it."""

    offered: SignedOffer
    acceptance: Acceptance
    signature: bytes
    """The analyst's, over the acceptance."""

    def __post_init__(self) -> None:
        require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

    @classmethod
    def make(
        cls,
        offered: SignedOffer,
        key: SigningKey,
        *,
        licensee: str,
        now_ms: int,
        entropy: Entropy,
        rate_class: RateClass = "standard",
        tax_id: str = "",
    ) -> Self:
        """The analyst accepts; raises `LicenceInvalid` if that cannot be."""
        acceptance = Acceptance(
            offered.offer.digest, key.public.raw, rate_class, licensee, tax_id, now_ms, entropy(NONCE_BYTES)
        )
        made = cls(offered, acceptance, key.sign(ACCEPTANCE_DOMAIN, acceptance.to_bytes()))
        made.check()
        return made

    @property
    def offer(self) -> Offer:
        """What was accepted."""
        return self.offered.offer

    @property
    def analyst(self) -> bytes:
        """The licensee's raw key."""
        return self.acceptance.analyst

    @property
    def digest(self) -> bytes:
        """The licence's name."""
        return canonical.digest(AGREEMENT_DOMAIN, [self.offer.to_bytes(), self.acceptance.to_bytes()])

    @property
    def rate(self) -> Rate:
        """The prices that hold for this licensee."""
        return self.offer.price.rate(self.acceptance.rate_class)

    @property
    def begins_at(self) -> int:
        """Its first moment."""
        return self.acceptance.accepted_at

    @property
    def ends_at(self) -> int:
        """The first moment after its term."""
        return self.acceptance.accepted_at + self.offer.term_days * DAY_MS

    def check(self) -> None:
        """What can be said without any key.

        Raises:
            LicenceInvalid: offer and acceptance do not belong together.
        """
        offer, acceptance = self.offer, self.acceptance
        require(acceptance.offer == offer.digest, "this is the acceptance of another offer")
        require(offer.open_to(acceptance.analyst), "the offer was made to others")
        require(
            offer.made_at <= acceptance.accepted_at < offer.open_until,
            "the offer is no longer open, or this host's clock is wrong",
        )
        require(self.offered.complete, "not every owner of the pool has signed the offer yet")
        if acceptance.rate_class == "reduced":
            require(offer.price.reduced is not None, "the offer has no reduced rate")

    def verify(self, keys: Mapping[PartyId, VerifyKey]) -> None:
        """Check everything: contents, the owners' signatures, the analyst's.

        Raises:
            LicenceInvalid: the message says what does not fit.
        """
        self.check()
        self.offered.verify(keys)
        try:
            VerifyKey(self.analyst).verify(ACCEPTANCE_DOMAIN, self.acceptance.to_bytes(), self.signature)
        except IdentityError as error:
            raise LicenceInvalid("the analyst's signature does not fit this acceptance") from error

    def countersign(self, party: PartyId, key: SigningKey) -> tuple[PartyId, bytes]:
        """One owner's word that it holds this agreement."""
        assert party in self.offer.owners
        return party, key.sign(COUNTERSIGN_DOMAIN, self.digest)

    def to_bytes(self) -> bytes:
        """The bytes that owner and analyst both keep."""
        return canonical.encode(
            {
                "offered": self.offered.to_bytes(),
                "acceptance": self.acceptance.to_bytes(),
                "signature": self.signature,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        said = read_fields(data, "a licence", "offered", "acceptance", "signature")
        return cls(
            _offered(octets(said, "offered")),
            Acceptance.from_bytes(octets(said, "acceptance")),
            octets(said, "signature"),
        )


@lru_cache(maxsize=256)
def _offered(data: bytes) -> SignedOffer:
    """The signed offer in `data`; many licences are of one offer, and reading it is most of reading one of them."""
    return SignedOffer.from_bytes(data)


# ------------------------------------------------------------------------------------------------ revocations


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of a licence before its term, by one of its owners or by the analyst."""

    licence: bytes
    """The agreement's digest."""
    party: PartyId | None
    """The owner that ends it; None: the analyst."""
    at: int
    reason: str
    signature: bytes
    key: bytes | None = None
    """The analyst's, where it has taken the place of the one that accepted: the owners' books say whether it has."""

    def __post_init__(self) -> None:
        require(self.key is None or self.party is None, "an owner signs with its own key")
        require(len(self.licence) == canonical.DIGEST_BYTES, "a licence's digest has 32 bytes")
        require(self.reason == "" or is_plain(self.reason, limits.REVOCATION_REASON_CHARACTERS_MAX), _REASON)
        require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

    @classmethod
    def make(
        cls,
        licence: bytes,
        party: PartyId | None,
        key: SigningKey,
        *,
        now_ms: int,
        reason: str = "",
        replaces: bool = False,
    ) -> Self:
        """Signed by the owner `party`, or by the analyst for None; `replaces`: with a key that came after."""
        named = key.public.raw if replaces else None
        said = _revocation_bytes(licence, party, now_ms, reason, named)
        return cls(licence, party, now_ms, reason, key.sign(REVOCATION_DOMAIN, said), named)

    def verify(self, agreement: Agreement, keys: Mapping[PartyId, VerifyKey]) -> None:
        """Check that somebody who may has ended exactly this agreement.

        That `key` is the analyst's now, the owners' books say, and no signature.

        Raises:
            LicenceInvalid: the message says what does not fit.
        """
        require(self.licence == agreement.digest, "this revocation is of another licence")
        require(self.at >= agreement.begins_at, "a licence cannot end before it begins")
        said = _revocation_bytes(self.licence, self.party, self.at, self.reason, self.key)
        if self.party is None:
            check_signature({}, None, REVOCATION_DOMAIN, said, self.signature, VerifyKey(self.signer(agreement)))
            return
        require(self.party in agreement.offer.owners, "only an owner of the licence, or the analyst, can end it")
        check_signature(keys, self.party, REVOCATION_DOMAIN, said, self.signature)

    def signer(self, agreement: Agreement) -> bytes:
        """The key of the analyst who ends it."""
        return self.key or agreement.analyst

    def to_bytes(self) -> bytes:
        """As it travels and is stored."""
        return encode(_REVOCATION, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        revocation = decode(_REVOCATION, data, "a revocation")
        assert isinstance(revocation, cls)
        return revocation


def _revocation_bytes(licence: bytes, party: PartyId | None, at: int, reason: str, key: bytes | None) -> bytes:
    who = None if party is None else int(party)
    said = {"version": VERSION, "licence": licence, "party": who, "at": at, "reason": reason, "key": key}
    return canonical.encode(said)


# ------------------------------------------------------------------------------------------------ what people keep


@dataclass(frozen=True, slots=True)
class Deed:
    """A licence as a file: the agreement, who has countersigned it, and its end if it was ended."""

    agreement: Agreement
    countersignatures: tuple[tuple[PartyId, bytes], ...] = ()
    revocation: Revocation | None = None

    @property
    def complete(self) -> bool:
        """Whether every owner has said that it holds the agreement: before that it is in force for nobody."""
        return {party for party, _ in self.countersignatures} == set(self.agreement.offer.owners)

    @property
    def until(self) -> int:
        """The first moment at which it is no longer in force."""
        end = self.agreement.ends_at
        return end if self.revocation is None else min(end, self.revocation.at)

    def verify(self, keys: Mapping[PartyId, VerifyKey]) -> None:
        """Check every signature that is there.

        Raises:
            LicenceInvalid: the message says what does not fit.
        """
        self.agreement.verify(keys)
        name = self.agreement.digest
        for party, signature in self.countersignatures:
            require(party in self.agreement.offer.owners, "a countersignature is of no owner of the licence")
            check_signature(keys, party, COUNTERSIGN_DOMAIN, name, signature)
        if self.revocation is not None:
            self.revocation.verify(self.agreement, keys)

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical.encode(
            {
                "agreement": self.agreement.to_bytes(),
                "countersignatures": SIGNATURES.encode(self.countersignatures),
                "revocation": None if self.revocation is None else self.revocation.to_bytes(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        said = read_fields(data, "a licence file", "agreement", "countersignatures", "revocation")
        ended = said["revocation"]
        return cls(
            Agreement.from_bytes(octets(said, "agreement")),
            read_signatures(said["countersignatures"]),
            None if ended is None else Revocation.from_bytes(octets(said, "revocation")),
        )


# ------------------------------------------------------------------------------------------------ forms

_ACCEPTANCE: Final[Form[Acceptance]] = record(
    Acceptance,
    offer=DIGEST,
    analyst=KEY,
    rate_class=word(*RATE_CLASSES),
    licensee=NAME,
    tax_id=NAME,
    accepted_at=TIME,
    nonce=NONCE,
)
_REVOCATION: Final[Form[Revocation]] = record(
    Revocation,
    licence=DIGEST,
    party=optional(PARTY),
    at=TIME,
    reason=text(4 * limits.REVOCATION_REASON_CHARACTERS_MAX),
    signature=SIGNATURE,
    key=optional(KEY),
)
