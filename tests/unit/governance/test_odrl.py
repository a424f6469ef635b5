from __future__ import annotations

import json
from typing import Any

from mpcd.governance.odrl import agreement_document, offer_document
from mpcd.governance.offer import Duty, Grant, Quota
from mpcd.governance.price import PricePlan, Rate
from mpcd.identity import VerifyKey
from mpcd.testing.licensing import accepted, key, offer, pool

FULL = pool(
    1,
    2,
    grants=(Grant("aids", None), Grant("gbsg2", None)),
    purposes=("HMB", "DS:MONDO_0007254"),
    functions=("avg", "count"),
    budget_rho=5,
    quota=Quota(100, 30),
    duties=(Duty("PUB", 365, "end"),),
    price=PricePlan(
        "EUR",
        Rate(per_query=1250, flat_fee=10_000, flat_period="annual", max_per_month=50_000, free_queries=5),
        Rate(per_query=250),
    ),
)


def permission(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = document["permission"]
    assert isinstance(found, dict)
    return found


def limits(document: dict[str, Any]) -> dict[str, Any]:
    return {one["leftOperand"]: one for one in permission(document)["constraint"]}


def test_an_offer_is_an_odrl_offer() -> None:
    document = offer_document(FULL)
    assert json.loads(json.dumps(document)) == document
    assert document["@type"] == "Offer"
    assert document["uid"] == f"urn:mpcd:offer:{FULL.digest.hex()}"
    found = permission(document)
    assert found["action"] == "aggregate"
    assert found["target"] == ["urn:mpcd:test:table:aids", "urn:mpcd:test:table:gbsg2"]
    assert [one["uid"] for one in found["assigner"]] == ["urn:mpcd:test:party:1", "urn:mpcd:test:party:2"]
    assert "assignee" not in found


def test_limits_are_constraints() -> None:
    found = limits(offer_document(FULL))
    assert found["purpose"]["rightOperand"] == [
        {"@id": "obo:DUO_0000006"},
        {"@id": "obo:DUO_0000007", "mpcd:disease": "obo:MONDO_0007254"},
    ]
    assert (found["count"]["operator"], found["count"]["rightOperand"], found["count"]["mpcd:window"]) == (
        "lteq",
        100,
        "P30D",
    )
    assert found["mpcd:function"]["rightOperand"] == ["avg", "count"]
    assert found["mpcd:commercialUse"]["rightOperand"] is False
    assert found["mpcd:privacyLossRho"]["rightOperand"] == "5"


def test_a_price_is_the_duty_to_compensate() -> None:
    compensate, publish = permission(offer_document(FULL))["duty"]
    (action,) = compensate["action"]
    assert action["rdf:value"] == {"@id": "odrl:compensate"}
    assert [(one["rightOperand"], one["mpcd:per"]) for one in action["refinement"]] == [
        ("12.50", "query"),
        ("100.00", "annual"),
    ]
    assert {one["unit"] for one in action["refinement"]} == {"urn:iso:std:iso:4217:EUR"}
    assert compensate["mpcd:freeQueries"] == {"mpcd:count": 5, "mpcd:per": "month"}
    assert compensate["mpcd:maxPerMonth"] == "500.00"
    assert publish == {"action": "mpcd:PUB", "mpcd:days": 365, "mpcd:after": "end"}


def test_what_is_free_and_unlimited_says_neither_price_nor_limit() -> None:
    document = offer_document(offer(price=PricePlan("EUR", Rate()), commercial=True))
    assert permission(document)["duty"] == []
    assert set(limits(document)) == {"purpose"}


def test_a_licence_is_an_odrl_agreement_at_the_licensee_s_rate() -> None:
    licence = accepted(FULL, rate_class="reduced")
    document = agreement_document(licence)
    assert document["@type"] == "Agreement"
    found = permission(document)
    assert found["assignee"] == f"urn:mpcd:key:{VerifyKey(key('anna').public.raw)}"
    assert found["duty"][0]["action"][0]["refinement"][0]["rightOperand"] == "2.50"
    times = [one["rightOperand"]["@value"] for one in found["constraint"] if one["leftOperand"] == "dateTime"]
    assert times == ["2026-11-01T00:00:00Z", "2027-11-01T00:00:00Z"]
