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
from typing import Final, Literal, Self, TypeVar, get_args

from mpcd import canonical, limits
from mpcd.errors import LicenceInvalid
from mpcd.governance import money, purposes
from mpcd.governance.money import MoneyError
from mpcd.governance.policy import VERBS
from mpcd.governance.price import RATE_CLASSES, PricePlan, Rate, RateClass
from mpcd.governance.privacy import RHO_UNITS
from mpcd.identity import Entropy, IdentityError, SigningKey, VerifyKey
from mpcd.identity.keys import SIGNATURE_BYTES
from mpcd.ids import PartyId
from mpcd.results.schema import Form, FormError, boolean, integer, optional, pair, record, sequence, text, word

VERSION: Final = 1
OFFER_DOMAIN: Final = "licence-offer"
ACCEPTANCE_DOMAIN: Final = "licence-acceptance"
AGREEMENT_DOMAIN: Final = "licence"
COUNTERSIGN_DOMAIN: Final = "licence-countersignature"
REVOCATION_DOMAIN: Final = "licence-revocation"
LOOKUP_DOMAIN: Final = "licence-lookup"
NONCE_BYTES: Final = 16

DutyCode = Literal["PUB", "MOR", "RTN", "IRB", "COL"]
DUTY_CODES: Final[tuple[DutyCode, ...]] = get_args(DutyCode)
"""Publish; not publish before; return results; ethics approval; proof of collaboration."""
DutyStart = Literal["acceptance", "end"]
DUTY_STARTS: Final[tuple[DutyStart, ...]] = get_args(DutyStart)
Split = Literal["equal", "fixed", "declared_rows"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
NON_COMMERCIAL: Final = frozenset({"NCU", "NPU", "NPUNCU"})
"""Conditions on data over which nobody may license commercial use."""

_DAY_MS: Final = 86_400_000
_SHOWN_HEX: Final = 16
T = TypeVar("T")


# ------------------------------------------------------------------------------------------------ offers


@dataclass(frozen=True, slots=True)
class Controller:
    """One owner, as the people who signed the legal text know it."""

    party: PartyId
    name: str
    """Of the controller in the sense of data protection."""
    contact: str
    tax_id: str = ""
    """Recorded for invoices, never computed with."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One table and what its columns may be used for under the licence; never more than the owner's policy allows."""

    table: str
    uses: tuple[tuple[str, tuple[str, ...]], ...] | None
    """By column, ascending; None: whatever the policy allows."""

    def __post_init__(self) -> None:
        _require(_plain(self.table), "a table's name is a short printable text")
        if self.uses is None:
            return
        columns = [column for column, _ in self.uses]
        _require(columns == sorted(set(columns)), "columns stand in ascending order, each once")
        for column, verbs in self.uses:
            _require(_plain(column), "a column's name is a short printable text")
            known = [verb for verb in VERBS if verb in verbs]
            _require(list(verbs) == known, f"uses are some of {', '.join(VERBS)}, in that order")

    def allows(self, column: str, verb: str) -> bool:
        """Whether the licence has nothing against this use."""
        return self.uses is None or any(name == column and verb in verbs for name, verbs in self.uses)


@dataclass(frozen=True, slots=True)
class Quota:
    """At most so many queries in any window of so many days."""

    queries: int
    days: int

    def __post_init__(self) -> None:
        _require(0 < self.queries <= limits.FREE_QUERIES_MAX, "a quota allows at least one query")
        _require(0 < self.days <= limits.LICENCE_DAYS_MAX, "a quota's window has at least one day")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that the licensee owes besides money; tracked, never decided."""

    code: DutyCode
    days: int
    """After its start: when it is due, or, for MOR, when the moratorium ends."""
    start: DutyStart

    def __post_init__(self) -> None:
        _require(0 <= self.days <= limits.LICENCE_DAYS_MAX, f"a duty is due within {limits.LICENCE_DAYS_MAX} days")


@dataclass(frozen=True, slots=True)
class Offer:
    """What an owner, or all owners of a pool, offer; checked when made."""

    consortium: str
    nonce: bytes
    title: str
    controllers: tuple[Controller, ...]
    """The owners who offer, by party ascending; more than one is a pool offer."""
    grants: tuple[Grant, ...]
    """By table ascending."""
    purposes: tuple[str, ...]
    """DUO permissions, as a policy writes them."""
    commercial: bool
    """Whether commercial use is licensed."""
    functions: tuple[str, ...] | None
    """Names of aggregates, ascending; None: every one that mpcd answers."""
    budget_rho: int | None
    """Privacy loss (zCDP) of the whole term, in units of 10^-12 rho: answers are then noisy ones; None: no budget."""
    price: PricePlan
    split: Split | None
    """How a pool divides its price; None for one owner."""
    weights: tuple[int, ...]
    """Of the controllers, in their order; all 1 for `equal`."""
    term_days: int
    """From acceptance."""
    quota: Quota | None
    """None is the explicit `no quota`."""
    newer_versions: bool
    """Whether data versions published after the offer are covered."""
    versions: tuple[tuple[int, str, str], ...]
    """(party, table, data version) at the time of the offer, ascending; empty where newer ones are covered."""
    duties: tuple[Duty, ...]
    legal_title: str
    legal_digest: bytes
    """SHA-256 of the text that people signed."""
    analysts: tuple[bytes, ...] | None
    """Raw keys of those to whom it is made, ascending; None: everybody whom the owners accept."""
    made_at: int
    open_until: int
    """No acceptance from this moment on."""

    def __post_init__(self) -> None:
        for name in (self.consortium, self.title, self.legal_title):
            _require(_plain(name), "titles and names are short printable texts")
        _require(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        _require(len(self.legal_digest) == canonical.DIGEST_BYTES, "the digest of the legal text is a SHA-256")
        _require(0 < self.term_days <= limits.LICENCE_DAYS_MAX, f"a term has 1 to {limits.LICENCE_DAYS_MAX} days")
        _require(0 <= self.made_at < self.open_until <= _TIME_MAX, "an offer ends after it was made")
        self._check_controllers()
        self._check_scope()
        self._check_versions()
        codes = [duty.code for duty in self.duties]
        _require(len(set(codes)) == len(codes), "each duty stands once")
        _require(self.budget_rho is None or 0 < self.budget_rho <= _RHO_MAX, "a privacy budget is above nothing")

    def _check_controllers(self) -> None:
        owners = self.owners
        _require(bool(owners) and list(owners) == sorted(set(owners)), "controllers stand by party, each once")
        for controller in self.controllers:
            _require(_plain(controller.name) and _plain(controller.contact), "a controller has a name and a contact")
            _require(controller.tax_id == "" or _plain(controller.tax_id), "a tax id is a short printable text")
        _require((self.split is None) == (len(owners) == 1), "a pool offer says how it is split; one owner's does not")
        _require(len(self.weights) == len(owners), "each controller has a weight")
        _require(all(weight >= 0 for weight in self.weights) and sum(self.weights) > 0, "weights are not all zero")
        equal = self.split in {None, "equal"}
        _require(not equal or set(self.weights) == {1}, "an equal split has weights of 1")

    def _check_scope(self) -> None:
        _require(bool(self.grants) and list(self.tables) == sorted(set(self.tables)), "tables stand by name, each once")
        _require(bool(self.purposes) and len(set(self.purposes)) == len(self.purposes), "an offer names its purposes")
        for code in self.purposes:
            problem = purposes.permission_problem(code)
            _require(problem is None, problem or "")
        if self.functions is not None:
            known = all(name.isascii() and name.isidentifier() and name == name.lower() for name in self.functions)
            ordered = list(self.functions) == sorted(set(self.functions))
            _require(bool(self.functions) and known and ordered, "functions stand by name in lower case, each once")
        if self.analysts is not None:
            ordered = list(self.analysts) == sorted(set(self.analysts))
            _require(bool(self.analysts) and ordered, "analysts stand by key, each once")

    def _check_versions(self) -> None:
        _require(self.newer_versions == (not self.versions), "an offer that covers no newer versions names its own")
        _require(list(self.versions) == sorted(set(self.versions)), "versions stand in order, each once")
        named = {(party, table) for party, table, _ in self.versions}
        _require(len(named) == len(self.versions), "one version of each owner's table")

    @property
    def owners(self) -> tuple[PartyId, ...]:
        """Who offers, ascending."""
        return tuple(controller.party for controller in self.controllers)

    @property
    def pool(self) -> bool:
        """Whether several owners offer together."""
        return len(self.controllers) > 1

    @property
    def tables(self) -> tuple[str, ...]:
        """What it is about."""
        return tuple(grant.table for grant in self.grants)

    @property
    def digest(self) -> bytes:
        """The offer's name."""
        return canonical.digest_bytes(OFFER_DOMAIN, self.to_bytes())

    def grant(self, table: str) -> Grant | None:
        """What it grants of `table`, if anything."""
        return next((grant for grant in self.grants if grant.table == table), None)

    def open_to(self, analyst: bytes) -> bool:
        """Whether it is made to this analyst (a raw key)."""
        return self.analysts is None or analyst in self.analysts

    def share(self, total: int) -> dict[PartyId, int]:
        """`total` minor units, divided among the owners."""
        return money.split(total, dict(zip(self.owners, self.weights, strict=True)))

    def condition_problem(self, conditions: Mapping[str, frozenset[str]]) -> str | None:
        """Why data under these DUO modifiers, by table, cannot be offered so; nothing if it can."""
        for table in self.tables:
            barred = sorted(conditions.get(table, frozenset()) & NON_COMMERCIAL)
            if self.commercial and barred:
                paid = "for money " if self.price.paid else ""
                return (
                    f"table `{table}` is under {', '.join(barred)}: commercial use of it cannot be offered {paid}to "
                    "anybody; write commercial = false, or change the table's conditions if they are wrong"
                )
        return None

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return _encode(_OFFER, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`."""
        offer = _decode(_OFFER, data, "an offer")
        assert isinstance(offer, cls)
        return offer

    def sign(self, party: PartyId, key: SigningKey) -> tuple[PartyId, bytes]:
        """One owner's signature."""
        assert party in self.owners
        return party, key.sign(OFFER_DOMAIN, self.to_bytes())


def offer_name(digest: bytes) -> str:
    """What people call an offer or a licence: the start of its digest."""
    return digest.hex()[:_SHOWN_HEX]


@dataclass(frozen=True, slots=True)
class SignedOffer:
    """An offer's bytes with signatures of its owners; a pool's is open once all have signed."""

    offer: Offer
    signatures: tuple[tuple[PartyId, bytes], ...]
    """By party ascending."""

    def __post_init__(self) -> None:
        parties = [party for party, _ in self.signatures]
        _require(parties == sorted(set(parties)), "signatures stand by party, each once")
        _require(set(parties) <= set(self.offer.owners), "an offer is signed by its owners alone")

    @property
    def complete(self) -> bool:
        """Whether every owner has signed."""
        return len(self.signatures) == len(self.offer.owners)

    def with_signatures(self, more: tuple[tuple[PartyId, bytes], ...]) -> SignedOffer:
        """The same offer with further signatures; one that is there already stays."""
        return SignedOffer(self.offer, tuple(sorted((dict(more) | dict(self.signatures)).items())))

    def verify(self, keys: Mapping[PartyId, VerifyKey]) -> None:
        """Check the signatures that are there; whether all are is `complete`'s to say.

        Raises:
            LicenceInvalid: one does not fit, or is of a party without a key.
        """
        data = self.offer.to_bytes()
        for party, signature in self.signatures:
            _verify(keys, party, OFFER_DOMAIN, data, signature)

    def to_bytes(self) -> bytes:
        """As it travels and is stored."""
        return canonical.encode({"offer": self.offer.to_bytes(), "signatures": _SIGNATURES.encode(self.signatures)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        fields = _fields(data, "a signed offer", "offer", "signatures")
        return cls(Offer.from_bytes(_octets(fields, "offer")), _signatures(fields["signatures"]))


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
        _require(len(self.offer) == canonical.DIGEST_BYTES, "an offer's digest has 32 bytes")
        _require(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        _require(_plain(self.licensee), "the licensee's name is a short printable text")
        _require(self.tax_id == "" or _plain(self.tax_id), "a tax id is a short printable text")

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return _encode(_ACCEPTANCE, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`."""
        acceptance = _decode(_ACCEPTANCE, data, "an acceptance")
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
        _require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

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
        return self.acceptance.accepted_at + self.offer.term_days * _DAY_MS

    def check(self) -> None:
        """What can be said without any key.

        Raises:
            LicenceInvalid: offer and acceptance do not belong together.
        """
        offer, acceptance = self.offer, self.acceptance
        _require(acceptance.offer == offer.digest, "this is the acceptance of another offer")
        _require(offer.open_to(acceptance.analyst), "the offer was made to others")
        _require(
            offer.made_at <= acceptance.accepted_at < offer.open_until,
            "the offer is no longer open, or this host's clock is wrong",
        )
        _require(self.offered.complete, "not every owner of the pool has signed the offer yet")
        if acceptance.rate_class == "reduced":
            _require(offer.price.reduced is not None, "the offer has no reduced rate")

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
        fields = _fields(data, "a licence", "offered", "acceptance", "signature")
        return cls(
            SignedOffer.from_bytes(_octets(fields, "offered")),
            Acceptance.from_bytes(_octets(fields, "acceptance")),
            _octets(fields, "signature"),
        )


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

    def __post_init__(self) -> None:
        _require(len(self.licence) == canonical.DIGEST_BYTES, "a licence's digest has 32 bytes")
        _require(self.reason == "" or _plain(self.reason, limits.REVOCATION_REASON_CHARACTERS_MAX), _REASON)
        _require(len(self.signature) == SIGNATURE_BYTES, f"a signature has {SIGNATURE_BYTES} bytes")

    @classmethod
    def make(cls, licence: bytes, party: PartyId | None, key: SigningKey, *, now_ms: int, reason: str = "") -> Self:
        """Signed by the owner `party`, or by the analyst for None."""
        said = _revocation_bytes(licence, party, now_ms, reason)
        return cls(licence, party, now_ms, reason, key.sign(REVOCATION_DOMAIN, said))

    def verify(self, agreement: Agreement, keys: Mapping[PartyId, VerifyKey]) -> None:
        """Check that somebody who may has ended exactly this agreement.

        Raises:
            LicenceInvalid: the message says what does not fit.
        """
        _require(self.licence == agreement.digest, "this revocation is of another licence")
        _require(self.at >= agreement.begins_at, "a licence cannot end before it begins")
        said = _revocation_bytes(self.licence, self.party, self.at, self.reason)
        if self.party is None:
            _verify({}, None, REVOCATION_DOMAIN, said, self.signature, VerifyKey(agreement.analyst))
            return
        _require(self.party in agreement.offer.owners, "only an owner of the licence, or the analyst, can end it")
        _verify(keys, self.party, REVOCATION_DOMAIN, said, self.signature)

    def to_bytes(self) -> bytes:
        """As it travels and is stored."""
        return _encode(_REVOCATION, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        revocation = _decode(_REVOCATION, data, "a revocation")
        assert isinstance(revocation, cls)
        return revocation


def _revocation_bytes(licence: bytes, party: PartyId | None, at: int, reason: str) -> bytes:
    who = None if party is None else int(party)
    return canonical.encode({"version": VERSION, "licence": licence, "party": who, "at": at, "reason": reason})


# ------------------------------------------------------------------------------------------------ what people keep


@dataclass(frozen=True, slots=True)
class Deed:
    """A licence as a file: the agreement, who has countersigned it, and its end if it was ended."""

    agreement: Agreement
    countersignatures: tuple[tuple[PartyId, bytes], ...] = ()
    revocation: Revocation | None = None

    @property
    def complete(self) -> bool:
        """Whether every owner has said that it holds the agreement."""
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
            _require(party in self.agreement.offer.owners, "a countersignature is of no owner of the licence")
            _verify(keys, party, COUNTERSIGN_DOMAIN, name, signature)
        if self.revocation is not None:
            self.revocation.verify(self.agreement, keys)

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical.encode(
            {
                "agreement": self.agreement.to_bytes(),
                "countersignatures": _SIGNATURES.encode(self.countersignatures),
                "revocation": None if self.revocation is None else self.revocation.to_bytes(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        fields = _fields(data, "a licence file", "agreement", "countersignatures", "revocation")
        ended = fields["revocation"]
        return cls(
            Agreement.from_bytes(_octets(fields, "agreement")),
            _signatures(fields["countersignatures"]),
            None if ended is None else Revocation.from_bytes(_octets(fields, "revocation")),
        )


# ------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True, slots=True)
class Lookup:
    """An analyst's signed question for offers and own licences: nobody else learns what is offered to whom."""

    consortium: str
    analyst: bytes
    at: int
    signature: bytes

    @classmethod
    def make(cls, consortium: str, key: SigningKey, *, now_ms: int) -> Self:
        """Signed by the analyst, now."""
        said = _lookup_bytes(consortium, key.public.raw, now_ms)
        return cls(consortium, key.public.raw, now_ms, key.sign(LOOKUP_DOMAIN, said))

    def verify(self, consortium: str, now_ms: int) -> VerifyKey:
        """Whose question it is.

        Raises:
            LicenceInvalid: not signed by that analyst, for another consortium, or not of now.
        """
        try:
            key = VerifyKey(self.analyst)
            key.verify(LOOKUP_DOMAIN, _lookup_bytes(self.consortium, self.analyst, self.at), self.signature)
        except IdentityError as error:
            raise LicenceInvalid("the analyst's signature does not fit this question") from error
        _require(self.consortium == consortium, f"this party belongs to the consortium `{consortium}`")
        skew = int(limits.CLOCK_SKEW_SECONDS_MAX * 1000)
        fresh = now_ms - limits.LOOKUP_SECONDS_MAX * 1000 - skew <= self.at <= now_ms + skew
        _require(fresh, "the question is too old, or this host's clock differs from ours; ask again")
        return key

    def to_bytes(self) -> bytes:
        """As it travels."""
        return _encode(_LOOKUP, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        lookup = _decode(_LOOKUP, data, "a question for licences")
        assert isinstance(lookup, cls)
        return lookup


def _lookup_bytes(consortium: str, analyst: bytes, at: int) -> bytes:
    return canonical.encode({"version": VERSION, "consortium": consortium, "analyst": analyst, "at": at})


# ------------------------------------------------------------------------------------------------ checks and forms

_TIME_MAX: Final = 2**53
_RHO_MAX: Final = 10**6 * RHO_UNITS
_REASON: Final = f"a reason is a printable text of at most {limits.REVOCATION_REASON_CHARACTERS_MAX} characters"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise LicenceInvalid(message)


def _plain(name: str, characters_max: int = limits.NAME_CHARACTERS_MAX) -> bool:
    return 0 < len(name) <= characters_max and name.isprintable() and name == name.strip()


def _verify(
    keys: Mapping[PartyId, VerifyKey],
    party: PartyId | None,
    domain: str,
    data: bytes,
    signature: bytes,
    key: VerifyKey | None = None,
) -> None:
    found = key if key is not None else keys.get(PartyId(-1) if party is None else party)
    who = "the analyst" if party is None else f"party {party}"
    if found is None:
        raise LicenceInvalid(f"{who} is not in the roster")
    try:
        found.verify(domain, data, signature)
    except IdentityError as error:
        raise LicenceInvalid(f"the signature of {who} does not fit") from error


def _encode(form: Form[T], value: T) -> bytes:
    fields = form.encode(value)
    assert isinstance(fields, dict)
    return canonical.encode({"version": VERSION, **fields})


def _decode(form: Form[T], data: bytes, what: str) -> T:
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


def _fields(data: bytes, what: str, *names: str) -> dict[str, canonical.Value]:
    value = _map(data, what)
    if value.keys() != set(names):
        raise LicenceInvalid(f"this is not {what}: expected {', '.join(names)}")
    return value


def _octets(fields: Mapping[str, canonical.Value], name: str) -> bytes:
    value = fields[name]
    if not isinstance(value, bytes):
        raise LicenceInvalid(f"`{name}` must be bytes")
    return value


def _signatures(value: canonical.Value) -> tuple[tuple[PartyId, bytes], ...]:
    try:
        return _SIGNATURES.decode(value)
    except FormError as error:
        raise LicenceInvalid(f"the signatures cannot be read{error}") from error


def _octet_form(size: int) -> Form[bytes]:
    def decode(value: object) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise FormError(f": expected {size} bytes")
        return value

    return Form(lambda value: value, decode)


def _price_form() -> Form[PricePlan]:
    def decode(value: object) -> PricePlan:
        try:
            return PricePlan.from_value(value)  # type: ignore[arg-type]  # checked there
        except MoneyError as error:
            raise FormError(f": {error}") from error

    return Form(lambda value: value.to_value(), decode)


_NAME: Final = text(4 * limits.NAME_CHARACTERS_MAX)
_PARTY: Final = integer(0, 2**31)
_TIME: Final = integer(0, _TIME_MAX)
_DAYS: Final = integer(0, limits.LICENCE_DAYS_MAX)
_KEY: Final = _octet_form(32)
_DIGEST: Final = _octet_form(canonical.DIGEST_BYTES)
_NONCE: Final = _octet_form(NONCE_BYTES)
_SIGNATURE: Final = _octet_form(SIGNATURE_BYTES)
_SIGNATURES: Final = sequence(pair(_PARTY, _SIGNATURE), limits.INPUT_OWNERS_MAX)


def _triple(value: object) -> tuple[int, str, str]:
    if not isinstance(value, list) or len(value) != 3:
        raise FormError(": expected [party, table, data version]")
    return _PARTY.decode(value[0]), _NAME.decode(value[1]), text(64).decode(value[2])


_VERSION_FORM: Final[Form[tuple[int, str, str]]] = Form(list, _triple)
_USES: Final = sequence(pair(_NAME, sequence(word(*VERBS), len(VERBS))), limits.POLICY_COLUMNS_MAX)
_OFFER: Final[Form[Offer]] = record(
    Offer,
    consortium=_NAME,
    nonce=_NONCE,
    title=_NAME,
    controllers=sequence(
        record(Controller, party=_PARTY, name=_NAME, contact=_NAME, tax_id=_NAME), limits.INPUT_OWNERS_MAX
    ),
    grants=sequence(record(Grant, table=_NAME, uses=optional(_USES)), limits.POLICY_TABLES_MAX),
    purposes=sequence(text(64), 64),
    commercial=boolean,
    functions=optional(sequence(text(64), 256)),
    budget_rho=optional(integer(1, _RHO_MAX)),
    price=_price_form(),
    split=optional(word(*SPLITS)),
    weights=sequence(integer(0, limits.ROWS_PER_OWNER_MAX), limits.INPUT_OWNERS_MAX),
    term_days=_DAYS,
    quota=optional(record(Quota, queries=integer(1, limits.FREE_QUERIES_MAX), days=_DAYS)),
    newer_versions=boolean,
    versions=sequence(_VERSION_FORM, limits.POLICY_TABLES_MAX),
    duties=sequence(record(Duty, code=word(*DUTY_CODES), days=_DAYS, start=word(*DUTY_STARTS)), len(DUTY_CODES)),
    legal_title=_NAME,
    legal_digest=_DIGEST,
    analysts=optional(sequence(_KEY, limits.OFFER_ANALYSTS_MAX)),
    made_at=_TIME,
    open_until=_TIME,
)
_ACCEPTANCE: Final[Form[Acceptance]] = record(
    Acceptance,
    offer=_DIGEST,
    analyst=_KEY,
    rate_class=word(*RATE_CLASSES),
    licensee=_NAME,
    tax_id=_NAME,
    accepted_at=_TIME,
    nonce=_NONCE,
)
_REVOCATION: Final[Form[Revocation]] = record(
    Revocation,
    licence=_DIGEST,
    party=optional(_PARTY),
    at=_TIME,
    reason=text(4 * limits.REVOCATION_REASON_CHARACTERS_MAX),
    signature=_SIGNATURE,
)
_LOOKUP: Final[Form[Lookup]] = record(Lookup, consortium=_NAME, analyst=_KEY, at=_TIME, signature=_SIGNATURE)
