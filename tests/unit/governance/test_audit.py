from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mpcd.canonical import Value
from mpcd.governance import audit, entries

SESSION = b"\7" * 32
ASKED: dict[str, Value] = {
    "sql": "SELECT COUNT(*) FROM t",
    "purpose": "GRU",
    "analyst": "Ada",
    "analyst_key": "mpcd-sign-1-x",
    "fingerprint": "1 2 3",
}


def entry(kind: str, content: dict[str, Value] | None, **more: Value) -> dict[str, Value]:
    plain: dict[str, Value] = {
        "seq": 5,
        "at": 1_800_000_000.25,
        "kind": kind,
        "hash": b"\1" * 32,
        "session": None,
        "content": content,
        "content_state": "kept" if content is not None else "erased",
        "asked": None,
    }
    return plain | more


@pytest.fixture
def exporter() -> audit.Exporter:
    return audit.Exporter("hearts", 1, "Hospital B")


def cells(exporter: audit.Exporter, one: dict[str, Value]) -> dict[str, str]:
    return dict(zip(audit.COLUMNS, exporter.row(one), strict=True))


def test_every_kind_has_an_event() -> None:
    assert set(entries.ENTRY_KINDS) <= audit._EVENTS.keys()


@pytest.mark.parametrize("kind", entries.ENTRY_KINDS)
def test_every_kind_makes_a_resource_with_what_fhir_requires(exporter: audit.Exporter, kind: str) -> None:
    made: dict[str, Any] = json.loads(json.dumps(exporter.resource(entry(kind, {}, session=SESSION))))
    assert made["resourceType"] == "AuditEvent"
    assert made["recorded"] == "2027-01-15T08:00:00.250Z"
    assert made["type"]["system"]
    assert made["type"]["code"]
    assert made["source"]["observer"]["display"] == "mpcd of party 1 (Hospital B)"
    assert made["agent"]
    assert all(isinstance(agent["requestor"], bool) for agent in made["agent"])
    assert made["action"] in {"C", "R", "U", "D", "E"}
    assert made["outcome"] in {"0", "4", "8"}
    assert all(not ("name" in item and "query" in item) for item in made["entity"]), "FHIR's invariant sev-1"
    assert made["subtype"][-1]["code"] == kind


def test_a_release_is_a_disclosure_at_the_source(exporter: audit.Exporter) -> None:
    exporter.resource(entry("agreed", {}, session=SESSION, asked=ASKED))
    made: Any = exporter.resource(entry("released", {"acknowledged": [0, 1]}, session=SESSION))
    assert made["meta"]["profile"] == [audit._DISCLOSURE]
    assert (made["type"]["code"], made["action"]) == ("110106", "R")
    assert "disclose" in [item["code"] for item in made["subtype"]]
    source, recipient = made["agent"]
    assert source["type"]["coding"][0]["code"] == "110153"
    assert source["who"] == made["source"]["observer"]
    assert recipient["type"]["coding"][0]["code"] == "110152"
    assert recipient["who"]["display"] == "Ada"
    assert all("network" in agent for agent in made["agent"])
    assert [item["role"]["code"] for item in made["entity"]] == ["13", "24", "1", "3"]
    query = next(item["query"] for item in made["entity"] if "query" in item)
    assert base64.b64decode(query).decode() == ASKED["sql"]
    assert made["purposeOfEvent"][0]["text"] == "GRU"


def test_a_session_remembers_who_asked(exporter: audit.Exporter) -> None:
    exporter.row(entry("agreed", {}, session=SESSION, asked=ASKED))
    found = cells(exporter, entry("aborted", {"code": "mpc.PeerGone", "step": "mul"}, session=SESSION))
    assert (found["who"], found["purpose"], found["outcome"]) == ("Ada", "GRU", "aborted")
    assert found["reason"] == "mul"
    other = cells(exporter, entry("aborted", {"code": "mpc.PeerGone"}, session=b"\10" * 32))
    assert (other["who"], other["reason"]) == ("", "mpc.PeerGone")


def test_a_refusal_says_why(exporter: audit.Exporter) -> None:
    content: dict[str, Value] = {"request": b"x", "reasons": [[1, "purpose", "t", "party 1 allows no NCU"]]}
    found = cells(exporter, entry("refused", content, asked=ASKED))
    assert found["reason"] == "purpose: party 1 allows no NCU"
    assert found["outcome"] == "refused"
    assert found["asked"] == ASKED["sql"]


def test_a_noted_decision(exporter: audit.Exporter) -> None:
    content = entries.noted("revoked", by="steward", about="licence 7", digest=b"\2" * 32, reason="misuse").content
    found = cells(exporter, entry("revoked", content))
    assert (found["who"], found["about"], found["reason"]) == ("steward", "licence 7", "misuse")
    made: Any = exporter.resource(entry("revoked", content))
    assert {"type": "digest", "valueString": "02" * 32} in made["entity"][0]["detail"]


def test_erased_content_is_said_to_be(exporter: audit.Exporter) -> None:
    found = cells(exporter, entry("agreed", None))
    assert (found["content"], found["who"], found["asked"]) == ("erased", "", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(exporter: audit.Exporter, text: str) -> None:
    found = cells(exporter, entry("refused", {}, asked={**ASKED, "sql": text}))
    assert found["asked"] == f"'{text}"
