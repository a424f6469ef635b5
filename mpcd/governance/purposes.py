"""Purposes and conditions of use in the words of the GA4GH Data Use Ontology (pure).

An owner lists *permissions*, what a table may be used for, and *conditions* on them (the ontology's modifiers); a
request declares one *purpose*, what the answer is for.  The ontology's ids are kept beside the codes because data-
access agreements quote them.  A disease is named by its MONDO term and compared exactly: this program carries no
disease hierarchy, so a narrower disease must be listed by its own term.

Each condition is decided against what the owner has found proven about the analyst (`people.AnalystFacts`), against
the declared purpose, or against the session's time; or it is a duty that stands in the agreement and in the ledger.
What is not known counts against the analyst.

    NCU NPU NPUNCU   the use is not commercial; the institution is not-for-profit; both
    US PS IS GS      `US:<user>` and so on: the user, project, institution or country is one of those listed
    GSO              the project is a genetic study
    TS               `TS:<date>`: not after that day (UTC)
    NMDS NPOA        no methods development, no ancestry research; a purpose that includes them does not do
    CC               clinical care may be declared as a purpose, besides what the permissions allow
    IRB COL RS       evidence was shown and accepted: ethics approval, collaboration, the restriction's own terms
    PUB RTN MOR      duties: publish, return results, `MOR:<date>` do not publish before that day
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from mpcd.governance.people import AnalystFacts

PERMISSIONS: Final = {
    "NRES": "DUO:0000004",
    "GRU": "DUO:0000042",
    "HMB": "DUO:0000006",
    "DS": "DUO:0000007",
    "POA": "DUO:0000011",
}
"""No restriction; general research; health, medical and biomedical; one disease; population origins or ancestry."""

MODIFIERS: Final = {
    "RS": "DUO:0000012",
    "NMDS": "DUO:0000015",
    "GSO": "DUO:0000016",
    "NPUNCU": "DUO:0000018",
    "PUB": "DUO:0000019",
    "COL": "DUO:0000020",
    "IRB": "DUO:0000021",
    "GS": "DUO:0000022",
    "MOR": "DUO:0000024",
    "TS": "DUO:0000025",
    "US": "DUO:0000026",
    "PS": "DUO:0000027",
    "IS": "DUO:0000028",
    "RTN": "DUO:0000029",
    "CC": "DUO:0000043",
    "NPOA": "DUO:0000044",
    "NPU": "DUO:0000045",
    "NCU": "DUO:0000046",
}
"""Conditions on a permission."""

DUTIES: Final = frozenset({"PUB", "MOR", "RTN"})
ABOUT_ANALYSTS: Final = frozenset({"NCU", "NPU", "NPUNCU", "US", "PS", "IS", "GS", "GSO", "IRB", "COL", "RS"})
"""Decided by what is on record about who asks."""
ANY_DAY: Final = dt.date.min
_DATED: Final = frozenset({"TS", "MOR"})
_NAMED: Final = {"US": "user", "PS": "project", "IS": "institution", "GS": "country"}
_DISEASE: Final = re.compile(r"DS:MONDO_[0-9]{7}")
_DECLARABLE: Final = ("GRU", "HMB", "POA", "CC")
_VALUE_CHARACTERS_MAX: Final = 128


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One modifier, with its value where it has one."""

    code: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The condition that `text` writes; raises `ValueError` that says what to write."""
        code, _, value = text.partition(":")
        if code not in MODIFIERS:
            known = "it is a permission, list it in `purposes`" if code in PERMISSIONS else ", ".join(MODIFIERS)
            raise ValueError(f"`{text}` is no DUO condition; {known}")
        if code in _NAMED and not (value and value.isprintable() and len(value) <= _VALUE_CHARACTERS_MAX):
            raise ValueError(f"`{code}` names its {_NAMED[code]}, e.g. `{code}:{'SE' if code == 'GS' else 'name'}`")
        if code in _DATED and _day(value) is None:
            raise ValueError(f"`{code}` names its day, e.g. `{code}:2027-12-31`")
        if value and code not in _NAMED and code not in _DATED:
            raise ValueError(f"`{code}` takes no value")
        return cls(code, value)

    def __str__(self) -> str:
        return f"{self.code}:{self.value}" if self.value else self.code


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if len(text) == len("2027-12-31") else None
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------------ permissions


def permission_problem(code: str) -> str | None:
    """What is wrong with `code` as a permission in a policy; nothing if it is one."""
    if code == "DS" or (code.startswith("DS:") and not _DISEASE.fullmatch(code)):
        return "a disease-specific permission names its disease, e.g. `DS:MONDO_0007254`"
    if code in PERMISSIONS or _DISEASE.fullmatch(code):
        return None
    if code.partition(":")[0] in MODIFIERS:
        name = code.partition(":")[0]
        return f"`{code}` ({MODIFIERS[name]}) is a condition and permits nothing; list it in `conditions`"
    return f"`{code}` is no DUO permission; known: NRES, GRU, HMB, DS:MONDO_nnnnnnn, POA"


def purpose_problem(code: str) -> str | None:
    """What is wrong with `code` as the declared purpose of a request; nothing if it is one."""
    if code in _DECLARABLE or _DISEASE.fullmatch(code):
        return None
    return f"`{code}` is no purpose; declare GRU, HMB, DS:MONDO_nnnnnnn, POA or CC"


def permits(permission: str, purpose: str) -> bool:
    """Whether data under `permission` may be used for `purpose`.

    General research covers every kind of research; health and biomedical research covers a disease but not ancestry; a
    disease covers itself; ancestry covers itself.  Clinical care is no research: the condition CC alone allows it.
    """
    assert permission_problem(permission) is None
    if purpose_problem(purpose) is not None or purpose == "CC":
        return False
    if permission in {"NRES", "GRU"}:
        return True
    if permission == "HMB":
        return purpose == "HMB" or purpose.startswith("DS:")
    return permission == purpose


def covers(permission: str, other: str) -> bool:
    """Whether every purpose that `other` permits is permitted by `permission` too."""
    assert permission_problem(permission) is None
    if permission in {other, "NRES"}:
        return True
    if permission == "GRU":
        return other != "NRES"
    return permission == "HMB" and other.startswith("DS:")


def permits_any(permissions: Sequence[str], conditions: Sequence[Condition], purpose: str) -> bool:
    """Whether data under all of these together may be used for `purpose`."""
    if purpose == "CC":
        return "NRES" in permissions or Condition("CC") in conditions
    return any(permits(permission, purpose) for permission in permissions)


# ------------------------------------------------------------------------------------------------ conditions


def unmet(
    conditions: Sequence[Condition], purpose: str, facts: AnalystFacts, day: dt.date
) -> tuple[tuple[str, str], ...]:
    """Every condition that this request does not meet: its code, and what is needed.

    Args:
        conditions: of one table; several values of one code are alternatives.
        purpose: as declared.
        facts: what the owner has found proven.
        day: of the session, UTC.
    """
    found: list[tuple[str, str]] = []
    for code in dict.fromkeys(condition.code for condition in conditions):
        values = [condition.value for condition in conditions if condition.code == code]
        needed = _needed(code, values, purpose, facts, day)
        if needed is not None:
            found.append((code, needed))
    return tuple(found)


def duties(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """What the analyst owes after the answer, in order."""
    return tuple(sorted(str(condition) for condition in conditions if condition.code in DUTIES))


def _needed(code: str, values: Sequence[str], purpose: str, facts: AnalystFacts, day: dt.date) -> str | None:
    """What would meet the condition; None if it is met."""
    simple = {
        "NCU": (facts.commercial is False, "that the use is not commercial"),
        "NPU": (facts.non_profit is True, "that your institution is not-for-profit"),
        "NPUNCU": (
            facts.commercial is False and facts.non_profit is True,
            "that your institution is not-for-profit and the use is not commercial",
        ),
        "GSO": (facts.genetic is True, "that the project is a genetic study"),
        "NMDS": (purpose != "GRU", "a purpose that excludes methods development: HMB or a disease"),
        "NPOA": (purpose not in {"GRU", "POA"}, "a purpose that excludes ancestry research: HMB or a disease"),
        "IRB": ("IRB" in facts.evidence, "evidence of ethics approval"),
        "COL": ("COL" in facts.evidence, "evidence of a collaboration with this owner"),
        "RS": ("RS" in facts.evidence, "evidence that this owner's own restriction is met"),
    }
    if code in simple:
        met, needed = simple[code]
        return None if met else needed
    if code in _NAMED:
        return None if getattr(facts, _NAMED[code]) in values else f"a {_NAMED[code]} that this owner has listed"
    if code == "TS":
        last = max(day_ for value in values if (day_ := _day(value)) is not None)
        return None if day <= last else f"to have been asked by {last}, when the time of use ended"
    return None
