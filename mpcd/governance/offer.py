"""What an owner, or all owners of a pool, offer to license, and their signatures under it (pure).

Nothing is left unsaid: no quota, no budget, every function and every column are written as such.  Times are
milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from mpcd import canonical, limits
from mpcd.governance import VERBS, money, purposes
from mpcd.governance.money import MoneyError
from mpcd.governance.price import PricePlan
from mpcd.governance.privacy import RHO_UNITS
from mpcd.governance.signed import (
    DAYS,
    DIGEST,
    KEY,
    NAME,
    NONCE,
    NONCE_BYTES,
    PARTY,
    SIGNATURES,
    TIME,
    TIME_MAX,
    check_signature,
    decode,
    encode,
    is_plain,
    octets,
    read_fields,
    read_signatures,
    require,
)
from mpcd.identity import SigningKey, VerifyKey
from mpcd.ids import PartyId
from mpcd.results.schema import Form, FormError, boolean, integer, optional, pair, record, sequence, text, word

OFFER_DOMAIN: Final = "licence-offer"

DutyCode = Literal["PUB", "MOR", "RTN", "IRB", "COL"]
DUTY_CODES: Final[tuple[DutyCode, ...]] = get_args(DutyCode)
"""Publish; not publish before; return results; ethics approval; proof of collaboration."""
DutyStart = Literal["acceptance", "end"]
DUTY_STARTS: Final[tuple[DutyStart, ...]] = get_args(DutyStart)
Split = Literal["equal", "fixed", "declared_rows"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
TAX_FIELDS: Final = ("note", "rate_percent", "treatment")
TRACKED: Final = frozenset({"PUB", "MOR", "RTN"})
"""Conditions on data that are duties: nobody decides them, so a licence must track them."""
NON_COMMERCIAL: Final = frozenset({"NCU", "NPU", "NPUNCU"})
"""Conditions on data over which nobody may license commercial use."""

_SHOWN_HEX: Final = 16
_RHO_MAX: Final = 10**6 * RHO_UNITS

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
        require(is_plain(self.table), "a table's name is a short printable text")
        if self.uses is None:
            return
        columns = [column for column, _ in self.uses]
        require(columns == sorted(set(columns)), "columns stand in ascending order, each once")
        for column, verbs in self.uses:
            require(is_plain(column), "a column's name is a short printable text")
            known = [verb for verb in VERBS if verb in verbs]
            require(list(verbs) == known, f"uses are some of {', '.join(VERBS)}, in that order")

    def allows(self, column: str, verb: str) -> bool:
        """Whether the licence has nothing against this use."""
        return self.uses is None or any(name == column and verb in verbs for name, verbs in self.uses)


@dataclass(frozen=True, slots=True)
class Quota:
    """At most so many queries in any window of so many days."""

    queries: int
    days: int

    def __post_init__(self) -> None:
        require(0 < self.queries <= limits.FREE_QUERIES_MAX, "a quota allows at least one query")
        require(0 < self.days <= limits.LICENCE_DAYS_MAX, "a quota's window has at least one day")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that the licensee owes besides money; tracked, never decided."""

    code: DutyCode
    days: int
    """After its start: when it is due, or, for MOR, when the moratorium ends."""
    start: DutyStart

    def __post_init__(self) -> None:
        require(0 <= self.days <= limits.LICENCE_DAYS_MAX, f"a duty is due within {limits.LICENCE_DAYS_MAX} days")


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
    tax: tuple[tuple[str, str], ...]
    """(name, text) of `TAX_FIELDS`, ascending: recorded as agreed, never computed with; prices are net."""
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
            require(is_plain(name), "titles and names are short printable texts")
        require(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        require(len(self.legal_digest) == canonical.DIGEST_BYTES, "the digest of the legal text is a SHA-256")
        require(0 < self.term_days <= limits.LICENCE_DAYS_MAX, f"a term has 1 to {limits.LICENCE_DAYS_MAX} days")
        require(0 <= self.made_at < self.open_until <= TIME_MAX, "an offer ends after it was made")
        self._check_controllers()
        self._check_scope()
        self._check_versions()
        names = [name for name, _ in self.tax]
        require(names == sorted(set(names) & set(TAX_FIELDS)), f"tax fields are some of {', '.join(TAX_FIELDS)}")
        require(all(is_plain(said) for _, said in self.tax), "tax fields are short printable texts")
        codes = [duty.code for duty in self.duties]
        require(len(set(codes)) == len(codes), "each duty stands once")
        require(self.budget_rho is None or 0 < self.budget_rho <= _RHO_MAX, "a privacy budget is above nothing")

    def _check_controllers(self) -> None:
        owners = self.owners
        require(bool(owners) and list(owners) == sorted(set(owners)), "controllers stand by party, each once")
        for controller in self.controllers:
            require(is_plain(controller.name) and is_plain(controller.contact), "a controller has a name and a contact")
            require(controller.tax_id == "" or is_plain(controller.tax_id), "a tax id is a short printable text")
        require((self.split is None) == (len(owners) == 1), "a pool offer says how it is split; one owner's does not")
        require(len(self.weights) == len(owners), "each controller has a weight")
        require(all(weight >= 0 for weight in self.weights) and sum(self.weights) > 0, "weights are not all zero")
        equal = self.split in {None, "equal"}
        require(not equal or set(self.weights) == {1}, "an equal split has weights of 1")

    def _check_scope(self) -> None:
        require(bool(self.grants) and list(self.tables) == sorted(set(self.tables)), "tables stand by name, each once")
        require(bool(self.purposes) and len(set(self.purposes)) == len(self.purposes), "an offer names its purposes")
        for code in self.purposes:
            problem = purposes.permission_problem(code)
            require(problem is None, problem or "")
        if self.functions is not None:
            known = all(name.isascii() and name.isidentifier() and name == name.lower() for name in self.functions)
            ordered = list(self.functions) == sorted(set(self.functions))
            require(bool(self.functions) and known and ordered, "functions stand by name in lower case, each once")
        if self.analysts is not None:
            ordered = list(self.analysts) == sorted(set(self.analysts))
            require(bool(self.analysts) and ordered, "analysts stand by key, each once")

    def _check_versions(self) -> None:
        require(self.newer_versions == (not self.versions), "an offer that covers no newer versions names its own")
        require(list(self.versions) == sorted(set(self.versions)), "versions stand in order, each once")
        named = {(party, table) for party, table, _ in self.versions}
        require(len(named) == len(self.versions), "one version of each owner's table")

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
        owed = {duty.code for duty in self.duties}
        for table in self.tables:
            under = conditions.get(table, frozenset())
            barred = sorted(under & NON_COMMERCIAL)
            if self.commercial and barred:
                paid = "for money " if self.price.paid else ""
                return (
                    f"table `{table}` is under {', '.join(barred)}: commercial use of it cannot be offered {paid}to "
                    "anybody; write commercial = false, or change the table's conditions if they are wrong"
                )
            missing = sorted((under & TRACKED) - owed)
            if missing:
                return f"table `{table}` is under {missing[0]}: write a [[duty]] that says when it is due"
        return None

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(_OFFER, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`."""
        offer = decode(_OFFER, data, "an offer")
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
        require(parties == sorted(set(parties)), "signatures stand by party, each once")
        require(set(parties) <= set(self.offer.owners), "an offer is signed by its owners alone")

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
            check_signature(keys, party, OFFER_DOMAIN, data, signature)

    def to_bytes(self) -> bytes:
        """As it travels and is stored."""
        return canonical.encode({"offer": self.offer.to_bytes(), "signatures": SIGNATURES.encode(self.signatures)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `LicenceInvalid`; verifies nothing."""
        said = read_fields(data, "a signed offer", "offer", "signatures")
        return cls(Offer.from_bytes(octets(said, "offer")), read_signatures(said["signatures"]))


# ------------------------------------------------------------------------------------------------ forms


def _price_form() -> Form[PricePlan]:
    def decode(value: object) -> PricePlan:
        try:
            return PricePlan.from_value(value)  # type: ignore[arg-type]  # checked there
        except MoneyError as error:
            raise FormError(f": {error}") from error

    return Form(lambda value: value.to_value(), decode)


def _triple(value: object) -> tuple[int, str, str]:
    if not isinstance(value, list) or len(value) != 3:
        raise FormError(": expected [party, table, data version]")
    return PARTY.decode(value[0]), NAME.decode(value[1]), text(64).decode(value[2])


_VERSION_FORM: Final[Form[tuple[int, str, str]]] = Form(list, _triple)
_USES: Final = sequence(pair(NAME, sequence(word(*VERBS), len(VERBS))), limits.POLICY_COLUMNS_MAX)
_OFFER: Final[Form[Offer]] = record(
    Offer,
    consortium=NAME,
    nonce=NONCE,
    title=NAME,
    controllers=sequence(
        record(Controller, party=PARTY, name=NAME, contact=NAME, tax_id=NAME), limits.INPUT_OWNERS_MAX
    ),
    grants=sequence(record(Grant, table=NAME, uses=optional(_USES)), limits.POLICY_TABLES_MAX),
    purposes=sequence(text(64), 64),
    commercial=boolean,
    functions=optional(sequence(text(64), 256)),
    budget_rho=optional(integer(1, _RHO_MAX)),
    price=_price_form(),
    tax=sequence(pair(text(32), NAME), len(TAX_FIELDS)),
    split=optional(word(*SPLITS)),
    weights=sequence(integer(0, limits.ROWS_PER_OWNER_MAX), limits.INPUT_OWNERS_MAX),
    term_days=DAYS,
    quota=optional(record(Quota, queries=integer(1, limits.FREE_QUERIES_MAX), days=DAYS)),
    newer_versions=boolean,
    versions=sequence(_VERSION_FORM, limits.POLICY_TABLES_MAX),
    duties=sequence(record(Duty, code=word(*DUTY_CODES), days=DAYS, start=word(*DUTY_STARTS)), len(DUTY_CODES)),
    legal_title=NAME,
    legal_digest=DIGEST,
    analysts=optional(sequence(KEY, limits.OFFER_ANALYSTS_MAX)),
    made_at=TIME,
    open_until=TIME,
)
