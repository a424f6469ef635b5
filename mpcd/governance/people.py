"""The people that a policy names: analysts whom the owner answers, its approvers and its stewards (pure).

[[analyst]]
name = "Anna Analyst"
key = "mpcd-sign1..."
tables = ["gbsg2"]                      # optional: without it, every table of the policy
institution = "University of Uppsala"   # these and the following are facts for conditions of use; what is not
country = "SE"                          # written counts against the analyst
commercial = false
non_profit = true
evidence = { IRB = "9f86d0..." }        # SHA-256 of the document that the owner was shown

[[approver]]
name = "Doris Director"
key = "mpcd-sign1..."

[[steward]]
name = "Data office"
contact = "data@hospital.example"       # whom analysts are told to ask
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from mpcd import limits
from mpcd.governance.document import Section
from mpcd.identity import IdentityError, VerifyKey

RATE_CLASSES: Final = ("standard", "reduced")
EVIDENCE_CODES: Final = ("IRB", "COL", "RS")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ANALYST_KEYS: Final = (
    "name",
    "key",
    "tables",
    "institution",
    "country",
    "user",
    "project",
    "commercial",
    "non_profit",
    "genetic",
    "rate_class",
    "evidence",
)


@dataclass(frozen=True, slots=True)
class AnalystFacts:
    """Who an analyst is, as far as this owner has found it proven; what is not known counts against the analyst."""

    name: str
    institution: str = ""
    country: str = ""
    """ISO 3166-1, two letters."""
    user: str = ""
    project: str = ""
    commercial: bool | None = None
    """Whether the use is commercial."""
    non_profit: bool | None = None
    """Whether the institution is a not-for-profit organisation."""
    genetic: bool | None = None
    """Whether the project is a genetic study."""
    rate_class: str = "standard"
    """Of prices: `standard`, or `reduced` for individual researchers and small institutions."""
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    """SHA-256 of what the owner was shown and accepted, by DUO code: `IRB`, `COL`, `RS`."""


@dataclass(frozen=True, slots=True)
class AcceptedAnalyst:
    """An analyst whom this owner answers."""

    name: str
    key: VerifyKey
    tables: frozenset[str] | None
    """The tables that exist for this analyst; None for all."""
    facts: AnalystFacts = AnalystFacts("")


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who may approve for this owner."""

    name: str
    key: VerifyKey


@dataclass(frozen=True, slots=True)
class Steward:
    """Whom analysts may ask about this owner's data."""

    name: str
    contact: str


# ------------------------------------------------------------------------------------------------ parsing


def read_analysts(document: Section, tables: Collection[str]) -> tuple[AcceptedAnalyst, ...]:
    """Every `[[analyst]]`; raises `ConfigurationInvalid`."""
    analysts: dict[VerifyKey, AcceptedAnalyst] = {}
    for section in document.sections("analyst", limits.POLICY_ANALYSTS_MAX):
        section.only(_ANALYST_KEYS, "[[analyst]]")
        name = section.text("name")
        key = _key(section, f"analyst `{name}`")
        if key in analysts:
            raise section.error(f"this key is already that of analyst `{analysts[key].name}`", "key")
        visible = [table for _, table in section.texts("tables")] if section.has("tables") else None
        for index, table in enumerate(visible or ()):
            if table not in tables:
                raise section.error(f"the table `{table}` has no [[table]] in this policy", "tables", index)
        seen = None if visible is None else frozenset(visible)
        analysts[key] = AcceptedAnalyst(name, key, seen, _facts(section, name))
    return tuple(analysts.values())


def read_approvers(document: Section) -> tuple[Approver, ...]:
    """Every `[[approver]]`; each person once, by name and by key, since `min` counts persons."""
    approvers: list[Approver] = []
    for section in document.sections("approver", limits.POLICY_APPROVERS_MAX):
        section.only(("name", "key"), "[[approver]]")
        name = section.text("name")
        key = _key(section, f"approver `{name}`")
        for other in approvers:
            if other.name == name:
                raise section.error(f"the approver `{name}` is listed twice", "name")
            if other.key == key:
                raise section.error(f"this key is already that of approver `{other.name}`", "key")
        approvers.append(Approver(name, key))
    return tuple(approvers)


def read_stewards(document: Section) -> tuple[Steward, ...]:
    """Every `[[steward]]`."""
    stewards: list[Steward] = []
    for section in document.sections("steward", limits.POLICY_STEWARDS_MAX):
        section.only(("name", "contact"), "[[steward]]")
        stewards.append(Steward(section.text("name"), section.text("contact")))
    return tuple(stewards)


def _key(section: Section, whose: str) -> VerifyKey:
    try:
        return VerifyKey.from_text(section.text("key"))
    except IdentityError as error:
        raise section.error(f"the key of {whose}: {error}", "key") from error


def _facts(section: Section, name: str) -> AnalystFacts:
    texts = {key: section.text(key) for key in ("institution", "country", "user", "project") if section.has(key)}
    if "country" in texts and not _COUNTRY.fullmatch(texts["country"]):
        raise section.error('`country` is two capital letters (ISO 3166-1), e.g. "SE"', "country")
    flags = {key: section.flag(key) for key in ("commercial", "non_profit", "genetic") if section.has(key)}
    return AnalystFacts(
        name,
        institution=texts.get("institution", ""),
        country=texts.get("country", ""),
        user=texts.get("user", ""),
        project=texts.get("project", ""),
        commercial=flags.get("commercial"),
        non_profit=flags.get("non_profit"),
        genetic=flags.get("genetic"),
        rate_class=section.choice("rate_class", RATE_CLASSES, "standard"),
        evidence=_evidence(section.section("evidence", '{ IRB = "<SHA-256>" }')),
    )


def _evidence(section: Section) -> dict[str, bytes]:
    section.only(EVIDENCE_CODES, "evidence")
    found: dict[str, bytes] = {}
    for code in section.value:
        text = section.text(code)
        if not _SHA256.fullmatch(text):
            raise section.error(f"`{code}` is the SHA-256 of the document, 64 hexadecimal digits", code)
        found[code] = bytes.fromhex(text)
    return found
