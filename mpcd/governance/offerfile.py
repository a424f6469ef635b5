"""The file in which a steward writes an offer of licences (pure).

    title = "Breast cancer outcomes, academic research"
    purposes = ["HMB"]                      # DUO permissions, as in the policy
    commercial = false                      # is commercial use licensed?
    functions = ["count", "avg"]            # or "any"
    term_days = 365                         # from acceptance
    open_days = 90                          # how long the offer can be accepted
    quota = { queries = 200, days = 30 }    # in any window of so many days; "none" must be written
    newer_versions = true                   # are data versions published later covered?
    budget_rho = "0.5"                      # optional: privacy loss (zCDP) of the whole term; answers are then noisy
    analysts = ["mpcd-sign1..."]            # optional: to whom; without it, to everybody who is accepted
    split = "equal"                         # of a pool alone: equal, fixed or declared_rows (see weight)

    [[table]]
    name = "gbsg2"
    uses = { age = ["filter", "group"] }    # optional: without it, whatever the policy allows

    [price]                                 # amounts are texts; net of tax
    currency = "EUR"
    per_query = "12.50"
    per_month = "0"
    flat_fee = "100.00"
    flat_period = "annual"                  # one-off, monthly or annual
    max_per_month = "500.00"
    free_queries = 5
    free_period = "month"                   # month or term
    reduced = { per_query = "2.50" }        # optional, instead of all above: for analysts of the rate class `reduced`

    [tax]                                   # optional: recorded beside prices, never computed with
    treatment = "reverse charge"            # texts, as agreed; also rate_percent and note

    [legal]
    title = "Data use agreement 2026/3"
    sha256 = "..."                          # of the text that people sign; or name the file when making the offer

    [[controller]]                          # one for each owner that offers; ours alone where there is no pool
    party = 1
    name = "University Hospital A"
    contact = "research-data@a.example"
    tax_id = "DE123456789"                  # optional
    weight = 1                              # of a pool split by `fixed` or `declared_rows`

    [[duty]]
    code = "PUB"                            # PUB, MOR, RTN, IRB or COL
    days = 365
    after = "end"                           # acceptance or end

Nothing has a default that would give something away: quota, commercial, functions, newer_versions, term and currency
must be written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

from mpcd import limits
from mpcd.errors import LicenceInvalid
from mpcd.governance import VERBS, money
from mpcd.governance.document import Section
from mpcd.governance.money import MoneyError
from mpcd.governance.offer import (
    DUTY_CODES,
    DUTY_STARTS,
    SPLITS,
    TAX_FIELDS,
    Controller,
    Duty,
    DutyStart,
    Grant,
    Offer,
    Quota,
    Split,
)
from mpcd.governance.price import FLAT_PERIODS, FREE_PERIODS, FlatPeriod, FreePeriod, PricePlan, Rate
from mpcd.governance.privacy import RHO_UNITS
from mpcd.identity import IdentityError, VerifyKey
from mpcd.ids import PartyId

_TOP: Final = (
    "title",
    "purposes",
    "commercial",
    "functions",
    "term_days",
    "open_days",
    "quota",
    "newer_versions",
    "budget_rho",
    "analysts",
    "split",
    "table",
    "price",
    "tax",
    "legal",
    "controller",
    "duty",
)
_RATE: Final = (
    "per_query",
    "per_month",
    "flat_fee",
    "flat_period",
    "max_per_month",
    "free_queries",
    "free_period",
)
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?")
_PERCENT: Final = re.compile(r"(100|[0-9]{1,2})(\.[0-9]{1,4})?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DAY_MS: Final = 86_400_000
_OF_NOTHING: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Frame:
    """What an offer holds that no file says."""

    consortium: str
    me: PartyId
    """The owner whose file it is."""
    nonce: bytes
    now_ms: int
    legal_digest: bytes | None = None
    """SHA-256 of the legal text, if the steward named its file."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A parsed file; the versions of the data come from the owners."""

    fields: Mapping[str, object]
    section: Section

    @property
    def owners(self) -> tuple[PartyId, ...]:
        """Who is to offer."""
        controllers = cast("tuple[Controller, ...]", self.fields["controllers"])
        return tuple(controller.party for controller in controllers)

    @property
    def tables(self) -> tuple[str, ...]:
        """What is to be offered."""
        return tuple(grant.table for grant in cast("tuple[Grant, ...]", self.fields["grants"]))

    @property
    def newer_versions(self) -> bool:
        """Whether versions need not be named."""
        return bool(self.fields["newer_versions"])

    def offer(self, versions: Mapping[PartyId, Mapping[str, str]]) -> Offer:
        """The offer, unsigned.

        Args:
            versions: by owner and table, what is published now; of no use where newer ones are covered.

        Raises:
            ConfigurationInvalid: it makes no sense as a whole.
        """
        named = sorted((int(party), table, version) for party in versions for table, version in versions[party].items())
        fields = {**self.fields, "versions": () if self.newer_versions else tuple(named)}
        try:
            return Offer(**fields)  # type: ignore[arg-type]  # the parts below made each of its type
        except LicenceInvalid as error:
            raise self.section.error(str(error)) from error


def parse(text: str, path: str, frame: Frame) -> Draft:
    """The offer that `text` says.

    Raises:
        ConfigurationInvalid: with file, line, and what to write instead.
    """
    document = Section.parse(text, path)
    document.only(_TOP, "an offer")
    split, weights, controllers = _controllers(document, frame.me)
    legal_title, legal_digest = _legal(document.section("legal", 'title = "..."'), frame.legal_digest)
    fields: dict[str, object] = {
        "consortium": frame.consortium,
        "nonce": frame.nonce,
        "title": document.text("title"),
        "controllers": controllers,
        "grants": _grants(document),
        "purposes": tuple(code for _, code in document.texts("purposes")),
        "commercial": document.flag("commercial"),
        "functions": _functions(document),
        "budget_rho": _budget(document),
        "price": _price(document.section("price", 'currency = "EUR"')),
        "tax": _tax(document.section("tax", 'treatment = "reverse charge"')),
        "split": split,
        "weights": weights,
        "term_days": document.whole("term_days", 1, limits.LICENCE_DAYS_MAX),
        "quota": _quota(document),
        "newer_versions": document.flag("newer_versions"),
        "duties": _duties(document),
        "legal_title": legal_title,
        "legal_digest": legal_digest,
        "analysts": _addressed(document),
        "made_at": frame.now_ms,
        "open_until": frame.now_ms + document.whole("open_days", 1, limits.LICENCE_DAYS_MAX) * _DAY_MS,
    }
    return Draft(fields, document)


def _controllers(document: Section, me: PartyId) -> tuple[Split | None, tuple[int, ...], tuple[Controller, ...]]:
    sections = document.sections("controller", limits.INPUT_OWNERS_MAX)
    found: dict[PartyId, tuple[Controller, int]] = {}
    for section in sections:
        section.only(("party", "name", "contact", "tax_id", "weight"), "[[controller]]")
        party = PartyId(section.whole("party", 0, 2**31)) if section.has("party") or len(sections) > 1 else me
        if party in found:
            raise section.error(f"party {party} stands twice", "party")
        tax_id = section.text("tax_id") if section.has("tax_id") else ""
        weight = section.whole("weight", 0, limits.ROWS_PER_OWNER_MAX) if section.has("weight") else 1
        found[party] = (Controller(party, section.text("name"), section.text("contact"), tax_id), weight)
    if me not in found:
        raise document.error(f"an offer of ours names us: write [[controller]] with party = {me}", "controller")
    pool = len(found) > 1
    if pool != document.has("split"):
        raise document.error("a pool (several [[controller]]) needs `split`, and nothing else has one", "split")
    split = cast("Split", document.choice("split", SPLITS, "equal")) if pool else None
    if split in {None, "equal"} and any(section.has("weight") for section in sections):
        raise document.error('`weight` is for split = "fixed" or "declared_rows"', "split")
    for section in sections:
        if split in {"fixed", "declared_rows"} and not section.has("weight"):
            raise section.error(f'split = "{split}" needs a `weight` of each controller')
    ordered = [found[party] for party in sorted(found)]
    return split, tuple(weight for _, weight in ordered), tuple(controller for controller, _ in ordered)


def _grants(document: Section) -> tuple[Grant, ...]:
    grants: dict[str, Grant] = {}
    for section in document.sections("table", limits.POLICY_TABLES_MAX):
        section.only(("name", "uses"), "[[table]]")
        name = section.text("name")
        if name in grants:
            raise section.error(f"the table `{name}` stands twice", "name")
        uses = None
        if section.has("uses"):
            written = section.section("uses", '{ age = ["filter"] }')
            uses = tuple(sorted((column, _verbs(written, column)) for column in written.value))
        try:
            grants[name] = Grant(name, uses)
        except LicenceInvalid as error:
            raise section.error(str(error), "name") from error
    if not grants:
        raise document.error("an offer is about tables: write [[table]]")
    return tuple(grants[name] for name in sorted(grants))


def _verbs(section: Section, column: str) -> tuple[str, ...]:
    written = set()
    for index, verb in section.texts(column):
        if verb not in VERBS:
            raise section.error(f"`{verb}` is no column use; known: {', '.join(VERBS)}", column, index)
        written.add(verb)
    return tuple(verb for verb in VERBS if verb in written)


def _functions(document: Section) -> tuple[str, ...] | None:
    if document.value.get("functions") == "any":
        return None
    names = sorted({name for _, name in document.texts("functions")})
    if not names:
        raise document.error('`functions` must name aggregates, or be "any"', "functions")
    return tuple(names)


def _budget(document: Section) -> int | None:
    if not document.has("budget_rho"):
        return None
    written = document.text("budget_rho")
    if not _DECIMAL.fullmatch(written) or (units := Fraction(written) * RHO_UNITS) == 0:
        raise document.error("`budget_rho` must be a decimal text above 0 with at most 12 places", "budget_rho")
    return int(units)


def _price(section: Section) -> PricePlan:
    section.only(("currency", "reduced", *_RATE), "[price]")
    currency = section.text("currency")
    try:
        money.exponent(currency)
    except MoneyError as error:
        raise section.error(str(error), "currency") from error
    reduced = section.section("reduced", '{ per_query = "2.50" }') if section.has("reduced") else None
    if reduced is not None:
        reduced.only(_RATE, "reduced")
    return PricePlan(currency, _rate(section, currency), None if reduced is None else _rate(reduced, currency))


def _rate(section: Section, currency: str) -> Rate:
    ceiling = _amount(section, "max_per_month", currency) if section.has("max_per_month") else None
    free = section.whole("free_queries", 0, limits.FREE_QUERIES_MAX) if section.has("free_queries") else 0
    if section.has("flat_fee") != section.has("flat_period"):
        raise section.error("`flat_fee` and `flat_period` go together", "flat_fee")
    try:
        return Rate(
            per_query=_amount(section, "per_query", currency),
            per_month=_amount(section, "per_month", currency),
            flat_fee=_amount(section, "flat_fee", currency),
            flat_period=cast("FlatPeriod", section.choice("flat_period", FLAT_PERIODS, "one-off")),
            max_per_month=ceiling,
            free_queries=free,
            free_period=cast("FreePeriod", section.choice("free_period", FREE_PERIODS, "month")),
        )
    except MoneyError as error:
        raise section.error(str(error)) from error


def _tax(section: Section) -> tuple[tuple[str, str], ...]:
    section.only(TAX_FIELDS, "[tax]")
    if section.has("rate_percent") and not _PERCENT.fullmatch(section.text("rate_percent")):
        raise section.error(
            '`rate_percent` must be a number in quotes from 0 to 100, e.g. "19" or "7.5"', "rate_percent"
        )
    return tuple((name, section.text(name)) for name in sorted(section.value))


def _amount(section: Section, key: str, currency: str) -> int:
    if not section.has(key):
        return 0
    if not isinstance(section.value[key], str):
        raise section.error(f'`{key}` must be an amount in quotes, e.g. "12.50"', key)
    try:
        return money.parse(section.text(key), currency)
    except MoneyError as error:
        raise section.error(str(error), key) from error


def _quota(document: Section) -> Quota | None:
    if not document.has("quota"):
        raise document.error('write quota = { queries = 200, days = 30 }, or quota = "none"')
    if document.value["quota"] == "none":
        return None
    section = document.section("quota", '{ queries = 200, days = 30 }, or "none"')
    section.only(("queries", "days"), "quota")
    queries = section.whole("queries", 1, limits.FREE_QUERIES_MAX)
    return Quota(queries, section.whole("days", 1, limits.LICENCE_DAYS_MAX))


def _duties(document: Section) -> tuple[Duty, ...]:
    duties = []
    for section in document.sections("duty", len(DUTY_CODES)):
        section.only(("code", "days", "after"), "[[duty]]")
        code = section.text("code")
        if code not in DUTY_CODES:
            raise section.error(f"`{code}` is no duty; known: {', '.join(DUTY_CODES)}", "code")
        start = section.choice("after", DUTY_STARTS, "acceptance")
        days = section.whole("days", 0, limits.LICENCE_DAYS_MAX)
        duties.append(Duty(code, days, cast("DutyStart", start)))
    return tuple(duties)


def _legal(section: Section, given: bytes | None) -> tuple[str, bytes]:
    section.only(("title", "sha256"), "[legal]")
    title = section.text("title")
    if given == _OF_NOTHING or section.value.get("sha256") == _OF_NOTHING.hex():
        raise section.error("the legal text is empty: this is the digest of nothing", "sha256")
    if not section.has("sha256"):
        if given is None:
            raise section.error("write the `sha256` of the legal text, or name its file with --legal")
        return title, given
    written = section.text("sha256")
    if not _SHA256.fullmatch(written):
        raise section.error("`sha256` has 64 digits, 0 to 9 and a to f", "sha256")
    if given is not None and given.hex() != written:
        raise section.error("the legal text that was named has another digest than the one written here", "sha256")
    return title, bytes.fromhex(written)


def _addressed(document: Section) -> tuple[bytes, ...] | None:
    if not document.has("analysts"):
        return None
    keys = set()
    for index, written in document.texts("analysts"):
        try:
            keys.add(VerifyKey.from_text(written).raw)
        except IdentityError as error:
            raise document.error(f"no analyst's key: {error}", "analysts", index) from error
    return tuple(sorted(keys))
