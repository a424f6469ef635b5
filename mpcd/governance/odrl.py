"""A licence in the words of ODRL 2.2, for catalogues and lawyers' tools (pure).

The signed bytes decide; this is a translation of them.  Permission, constraint and duty are ODRL's, purposes are the
ids of the Data Use Ontology, and what ODRL has no word for stands under this program's own namespace, `mpcd:`.

Source: Iannella and Villata, ODRL Information Model 2.2, W3C Recommendation, 15 February 2018.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from mpcd.canonical import Value
from mpcd.governance import money
from mpcd.governance.licence import Agreement
from mpcd.governance.offer import Offer
from mpcd.governance.price import PricePlan, Rate
from mpcd.governance.purposes import PERMISSIONS
from mpcd.identity import VerifyKey

CONTEXT: Final[list[Value]] = [
    "http://www.w3.org/ns/odrl.jsonld",
    {"mpcd": "urn:mpcd:", "obo": "http://purl.obolibrary.org/obo/"},
]
Map = dict[str, Value]


def offer_document(offer: Offer) -> Map:
    """The offer as an ODRL `Offer`."""
    return {
        "@context": list(CONTEXT),
        "@type": "Offer",
        "uid": f"urn:mpcd:offer:{offer.digest.hex()}",
        "permission": [_permission(offer, offer.price.standard)],
    }


def agreement_document(agreement: Agreement) -> Map:
    """The licence as an ODRL `Agreement`, at the licensee's own rate."""
    permission = _permission(agreement.offer, agreement.rate)
    permission["assignee"] = f"urn:mpcd:key:{VerifyKey(agreement.analyst)}"
    limits = permission["constraint"]
    assert isinstance(limits, list)
    limits.append(_constraint("dateTime", "gteq", _time(agreement.begins_at)))
    limits.append(_constraint("dateTime", "lt", _time(agreement.ends_at)))
    return {
        "@context": list(CONTEXT),
        "@type": "Agreement",
        "uid": f"urn:mpcd:licence:{agreement.digest.hex()}",
        "permission": [permission],
    }


def _permission(offer: Offer, rate: Rate) -> Map:
    purposes: list[Value] = [_purpose(code) for code in offer.purposes]
    limits: list[Value] = [_constraint("purpose", "isAnyOf", purposes)]
    if not offer.commercial:
        limits.append(_constraint("mpcd:commercialUse", "eq", value=False))
    if offer.functions is not None:
        limits.append(_constraint("mpcd:function", "isAnyOf", list(offer.functions)))
    if offer.quota is not None:
        rolling: Map = {**_constraint("count", "lteq", offer.quota.queries), "mpcd:window": f"P{offer.quota.days}D"}
        limits.append(rolling)
    if offer.budget_rho is not None:
        limits.append(_constraint("mpcd:privacyLossRho", "lteq", str(offer.budget_rho), unit="mpcd:rhoE-12"))
    duties: list[Value] = []
    if rate.paid:
        duties.append(_compensate(offer.price, rate))
    duties += [
        {"action": f"mpcd:{duty.code}", "mpcd:days": duty.days, "mpcd:after": duty.start} for duty in offer.duties
    ]
    return {
        "action": "aggregate",
        "target": [f"urn:mpcd:{offer.consortium}:table:{table}" for table in offer.tables],
        "assigner": [
            {"uid": f"urn:mpcd:{offer.consortium}:party:{one.party}", "mpcd:controller": one.name}
            for one in offer.controllers
        ],
        "constraint": limits,
        "duty": duties,
        "mpcd:legalText": {"mpcd:title": offer.legal_title, "mpcd:sha256": offer.legal_digest.hex()},
    }


def _compensate(plan: PricePlan, rate: Rate) -> Map:
    def amount(minor: int) -> Value:
        return money.number(minor, plan.currency)

    refined: list[Value] = [
        {**_constraint("payAmount", "eq", amount(minor), unit=f"urn:iso:std:iso:4217:{plan.currency}"), "mpcd:per": per}
        for per, minor in (
            ("query", rate.per_query),
            ("month of use", rate.per_month),
            (rate.flat_period, rate.flat_fee),
        )
        if minor
    ]
    duty: Map = {"action": [{"rdf:value": {"@id": "odrl:compensate"}, "refinement": refined}]}
    if rate.free_queries:
        duty["mpcd:freeQueries"] = {"mpcd:count": rate.free_queries, "mpcd:per": rate.free_period}
    if rate.max_per_month is not None:
        duty["mpcd:maxPerMonth"] = amount(rate.max_per_month)
    return duty


def _purpose(code: str) -> Value:
    permission, _, disease = code.partition(":")
    duo = "obo:" + PERMISSIONS[permission].replace(":", "_")
    return {"@id": duo, "mpcd:disease": f"obo:{disease}"} if disease else {"@id": duo}


def _constraint(left: str, operator: str, value: Value, unit: str | None = None) -> Map:
    made: Map = {"leftOperand": left, "operator": operator, "rightOperand": value}
    return made if unit is None else {**made, "unit": unit}


def _time(at_ms: int) -> Value:
    moment = dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"@value": moment, "@type": "xsd:dateTime"}
