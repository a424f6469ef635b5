"""Ledger entries for other systems: CSV rows and FHIR AuditEvent resources (pure).

An entry comes as the API gives it (`seq`, `at`, `kind`, `session`, `content`, `asked`, ...).  Entries of a session
after the first do not repeat who asked what: an exporter takes entries in their order and remembers it.

FHIR is release 4 with the codes that IHE's Basic Audit Log Patterns (BALP) take from DICOM.  `released` follows the
pattern *Privacy Disclosure at Source* and names its profile; it discloses a statistic over pooled persons, so its
patient is a reference that says so and points to nobody.  Every other kind is a plain AuditEvent: BALP's further
patterns are for RESTful access to one patient's record, which never happens here.  Each event carries the entry's
number and hash, so that it can be checked against the ledger, and its kind as a subtype.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mpcd.canonical import Value

Json = dict[str, object]

COLUMNS: Final = (
    "entry",
    "time_utc",
    "kind",
    "outcome",
    "session",
    "who",
    "key",
    "purpose",
    "about",
    "asked",
    "reason",
    "content",
    "hash",
)

_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE_TYPE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_KIND: Final = "urn:mpcd:ledger-kind"
_DISCLOSURE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"

_QUERY: Final = ("110112", "Query", None, "E")
_CONFIGURED: Final = ("110113", "Security Alert", ("110129", "Security Configuration"), "U")
_ROLES: Final = ("110113", "Security Alert", ("110136", "Security Roles Changed"), "U")
_RESTRICTED: Final = ("110113", "Security Alert", ("110132", "Use of Restricted Function"), "E")
_DATA: Final = ("110107", "Import", None, "C")
_LOG_USED: Final = ("110101", "Audit Log Used", None, "U")

_EVENTS: Final[Mapping[str, tuple[str, str, tuple[str, str] | None, str]]] = {
    "asked": _QUERY,
    "refused": _QUERY,
    "failed": _QUERY,
    "agreed": _QUERY,
    "recorded": _QUERY,
    "aborted": _QUERY,
    "withheld": _QUERY,
    "released": ("110106", "Export", None, "R"),
    "approved": _RESTRICTED,
    "denied": _RESTRICTED,
    "offered": _ROLES,
    "licensed": _ROLES,
    "revoked": _ROLES,
    "access": _ROLES,
    "key_changed": ("110113", "Security Alert", ("110137", "User Security Attributes Changed"), "U"),
    "policy": _CONFIGURED,
    "roster": _CONFIGURED,
    "started": ("110100", "Application Activity", ("110120", "Application Start"), "E"),
    "receipt_corrected": ("110100", "Application Activity", None, "U"),
    "published": _DATA,
    "data_checked": _DATA,
    "data_retired": ("110107", "Import", None, "D"),
    "opted_out": ("110113", "Security Alert", ("110135", "Object Security Attributes Changed"), "U"),
    "overlap_checked": _QUERY,
    "vouched": _QUERY,
    "erased": ("110101", "Audit Log Used", None, "D"),
    "archived": _LOG_USED,
    "heads": _LOG_USED,
}
"""DICOM code and name of the event, of its subtype where there is one, and FHIR's action."""

_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "refused": ("4", "refused"),
    "denied": ("4", "denied"),
    "withheld": ("4", "withheld"),
    "failed": ("8", "failed"),
    "aborted": ("8", "aborted"),
}
"""FHIR's outcome code and our word, where it is not success."""


@dataclass(slots=True)
class Exporter:
    """Turns entries into rows or resources, one after the other in the order of the ledger."""

    consortium: str
    party: int
    party_name: str
    _asked: dict[bytes, Mapping[str, Value]] = field(default_factory=dict)

    def row(self, entry: Mapping[str, Value]) -> list[str]:
        """The values of `COLUMNS`."""
        facts = self._facts(entry)
        return [
            plain_cell(text)
            for text in (
                str(entry.get("seq", "")),
                facts.time,
                facts.kind,
                facts.outcome,
                facts.session,
                facts.who,
                facts.key,
                facts.purpose,
                facts.about,
                facts.sql,
                facts.reason,
                _state(entry),
                _hex(entry.get("hash")),
            )
        ]

    def resource(self, entry: Mapping[str, Value]) -> Json:
        """A FHIR AuditEvent."""
        facts = self._facts(entry)
        code, name, detail, action = _EVENTS.get(facts.kind, ("110100", "Application Activity", None, "E"))
        subtypes: list[Json] = [] if detail is None else [_coding(_DCM, *detail)]
        if facts.kind == "released":
            subtypes.append(_coding(_LIFECYCLE, "disclose", "Disclose Record Lifecycle Event"))
        event: Json = {
            "resourceType": "AuditEvent",
            "id": f"mpcd-{self.party}-{_text(entry.get('seq'))}",
            "type": _coding(_DCM, code, name),
            "subtype": [*subtypes, _coding(_KIND, facts.kind, facts.kind)],
            "action": action,
            "recorded": facts.time,
            "outcome": facts.outcome_code,
            "outcomeDesc": facts.reason or facts.outcome,
            "agent": self._agents(facts),
            "source": {
                "site": self.consortium,
                "observer": self._me(),
                "type": [_coding(_SOURCE_TYPE, "4", "Application Server")],
            },
            "entity": self._entities(entry, facts),
        }
        if facts.kind == "released":
            event["meta"] = {"profile": [_DISCLOSURE]}
        if facts.purpose:
            event["purposeOfEvent"] = [
                {"coding": [_coding(_REASON, "HRESCH", "healthcare research")], "text": facts.purpose}
            ]
        return event

    def _facts(self, entry: Mapping[str, Value]) -> _Facts:
        session, asked = entry.get("session"), entry.get("asked")
        if isinstance(asked, dict) and isinstance(session, bytes):
            self._asked[session] = asked
        if not isinstance(asked, dict):
            asked = dict(self._asked.get(session, {})) if isinstance(session, bytes) else {}
        content = entry.get("content")
        return _Facts(entry, content if isinstance(content, dict) else {}, asked)

    def _me(self) -> Json:
        return {"type": "Device", "display": f"mpcd of party {self.party} ({self.party_name})"}

    def _agents(self, facts: _Facts) -> list[Json]:
        source: Json = {
            "type": {"coding": [_coding(_DCM, "110153", "Source Role ID")]},
            "who": self._me(),
            "requestor": not facts.who,
            "network": {"address": f"urn:mpcd:{self.consortium}:party:{self.party}", "type": "5"},
        }
        if not facts.who and facts.kind != "released":
            return [source]
        who: Json = {"display": facts.who or "an analyst whose request was erased or archived"}
        if facts.key:
            who["identifier"] = {"system": "urn:mpcd:key", "value": facts.key}
        asker: Json = {
            "type": {"coding": [_coding(_DCM, "110152", "Destination Role ID")]},
            "who": who,
            "requestor": True,
            "network": {"address": f"urn:mpcd:key:{facts.key or 'unknown'}", "type": "5"},
        }
        return [{**source, "requestor": False}, asker]

    def _entities(self, entry: Mapping[str, Value], facts: _Facts) -> list[Json]:
        number = _text(entry.get("seq"))
        found: list[Json] = [
            {
                "what": {"identifier": {"system": "urn:mpcd:ledger-entry", "value": _hex(entry.get("hash"))}},
                "type": _coding(_ENTITY_TYPE, "2", "System Object"),
                "role": _coding(_ENTITY_ROLE, "13", "Security Resource"),
                "name": f"ledger entry {number}",
                "description": facts.about or facts.kind,
                "detail": facts.details(),
            }
        ]
        if facts.sql:
            found.append(
                {
                    "type": _coding(_ENTITY_TYPE, "2", "System Object"),
                    "role": _coding(_ENTITY_ROLE, "24", "Query"),
                    "query": base64.b64encode(facts.sql.encode()).decode(),
                }
            )
        if facts.kind == "released":
            found.append(
                {
                    "what": {"type": "Patient", "display": "pooled persons; a statistic that names none of them"},
                    "type": _coding(_ENTITY_TYPE, "1", "Person"),
                    "role": _coding(_ENTITY_ROLE, "1", "Patient"),
                }
            )
            found.append(
                {
                    "what": {"identifier": {"system": "urn:mpcd:session", "value": facts.session}},
                    "type": _coding(_ENTITY_TYPE, "2", "System Object"),
                    "role": _coding(_ENTITY_ROLE, "3", "Report"),
                }
            )
        return found


class _Facts:
    """What one entry says, in the words that both forms need."""

    def __init__(self, entry: Mapping[str, Value], content: Mapping[str, Value], asked: Mapping[str, Value]) -> None:
        self._content = content
        self.kind = str(entry.get("kind", ""))
        self.time = _time(entry.get("at"))
        self.session = _hex(entry.get("session"))
        self.outcome_code, self.outcome = _OUTCOMES.get(self.kind, ("0", "success"))
        by = content.get("by")
        self.who = str(asked.get("analyst") or asked.get("fingerprint") or (by if isinstance(by, str) else ""))
        self.key = str(asked.get("analyst_key") or "")
        self.purpose = str(asked.get("purpose") or "")
        self.sql = str(asked.get("sql") or "")
        about = content.get("about", content.get("table"))
        self.about = str(about) if isinstance(about, str) else ""
        self.reason = _reason(content)

    def details(self) -> list[Json]:
        """What is neither a document nor said elsewhere, as text."""
        plain: dict[str, Value] = {
            name: value
            for name, value in self._content.items()
            if name not in {"request", "reasons", "reason", "by", "about", "details"} and value not in (None, "", [])
        }
        more = self._content.get("details")
        if isinstance(more, dict):
            plain.update(more)
        texts = [(name, _text(value)) for name, value in sorted(plain.items())]
        if self.session:
            texts.append(("session", self.session))
        return [{"type": name, "valueString": text} for name, text in texts if text]


def _reason(content: Mapping[str, Value]) -> str:
    reasons = content.get("reasons")
    if isinstance(reasons, list):
        parts = [item for item in reasons if isinstance(item, list) and len(item) == 4]
        return "; ".join(_text(item[1]) + ": " + _text(item[3]) for item in parts)
    for name in ("reason", "step", "code"):
        text = content.get(name)
        if isinstance(text, str) and text:
            return text
    return ""


def _state(entry: Mapping[str, Value]) -> str:
    return _text(entry.get("content_state") or "")


def _time(at: Value) -> str:
    """A FHIR instant; empty for what is no time."""
    if not isinstance(at, (int, float)) or isinstance(at, bool):
        return ""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hex(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else ""


def _text(value: Value) -> str:
    match value:
        case bytes():
            return value.hex()
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
        case bool() | int() | float() | str():
            return str(value)
        case None:
            return ""


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}


def plain_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: what an analyst wrote must not run at the auditor's."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
