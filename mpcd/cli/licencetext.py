"""Offers and licences in words that a steward and an analyst read alike (layer 15)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import click

from mpcd.cli.shared import plural, printable
from mpcd.errors import LicenceInvalid
from mpcd.governance import money
from mpcd.governance.licence import Deed
from mpcd.governance.offer import Duty, Offer, SignedOffer, offer_name
from mpcd.governance.price import Rate
from mpcd.governance.privacy import RHO_UNITS
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId

_DUTIES = {
    "PUB": "publish the results",
    "MOR": "publish nothing before",
    "RTN": "return results to the owner",
    "IRB": "show the ethics approval",
    "COL": "show the collaboration",
}


def day(at_ms: int | None) -> str:
    """A moment as its UTC date."""
    return "-" if at_ms is None else dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%d")


def moment(at_ms: int) -> str:
    """A moment, UTC."""
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def rate_text(rate: Rate, currency: str) -> str:
    """A rate in one line."""

    def amount(minor: int) -> str:
        return money.amount(minor, currency)

    parts = []
    if rate.per_query:
        parts.append(f"{amount(rate.per_query)} a query")
    if rate.free_queries:
        parts.append(f"the first {rate.free_queries} of the {rate.free_period} free")
    if rate.per_month:
        parts.append(f"{amount(rate.per_month)} for a month with queries")
    if rate.max_per_month is not None and rate.queries_max is not None:
        both = f" ({amount(rate.per_month)} for the month, {amount(rate.queries_max)} for queries)"
        parts.append(f"use at most {amount(rate.max_per_month)} a month{both if rate.per_month else ''}")
    if rate.flat_fee:
        parts.append(f"{amount(rate.flat_fee)} {rate.flat_period}")
    return ", ".join(parts) if rate.paid else "free of charge"


def _duty_text(duty: Duty) -> str:
    start = "acceptance" if duty.start == "acceptance" else "the licence's end"
    verb = "until" if duty.code == "MOR" else "within"
    return f"{duty.code}: {_DUTIES[duty.code]}, {verb} {plural(duty.days, 'day')} after {start}"


def offer_lines(offer: Offer) -> list[tuple[str, str]]:
    """Everything that an offer says, as label and text; what it does not limit is said too."""
    lines = [("offer", offer_name(offer.digest)), ("title", offer.title)]
    for controller, weight in zip(offer.controllers, offer.weights, strict=True):
        tax = f", tax id {controller.tax_id}" if controller.tax_id else ""
        share = f"; weight {weight}" if offer.split not in {None, "equal"} else ""
        lines.append(("offered by", f"party {controller.party}, {controller.name}, {controller.contact}{tax}{share}"))
    for grant in offer.grants:
        uses = "every use that the policy allows"
        if grant.uses is not None:
            uses = "; ".join(f"{column}: {', '.join(verbs) or 'nothing'}" for column, verbs in grant.uses)
        lines.append(("table", f"{grant.table} ({uses})"))
    versions = "newer ones are covered" if offer.newer_versions else "those of the offer alone"
    privacy = "none" if offer.budget_rho is None else f"rho {offer.budget_rho / RHO_UNITS:g}; noisy answers alone"
    quota = "none" if offer.quota is None else f"{offer.quota.queries} queries in any {offer.quota.days} days"
    currency = offer.price.currency
    lines += [
        ("purposes", ", ".join(offer.purposes)),
        ("commercial", "allowed" if offer.commercial else "not allowed"),
        ("functions", "any" if offer.functions is None else ", ".join(offer.functions)),
        ("data versions", versions),
        ("price", rate_text(offer.price.standard, currency)),
    ]
    if offer.price.reduced is not None:
        lines.append(("reduced price", rate_text(offer.price.reduced, currency)))
    if offer.split is not None:
        lines.append(("split", offer.split.replace("_", " ")))
    lines += [("tax", f"{name.replace('_', ' ')}: {said}") for name, said in offer.tax]
    lines += [
        ("term", f"{plural(offer.term_days, 'day')} from acceptance"),
        ("quota", quota),
        ("privacy budget", privacy),
        *(("duty", _duty_text(duty)) for duty in offer.duties),
        ("legal text", f"{offer.legal_title}, SHA-256 {offer.legal_digest.hex()}"),
        (
            "offered to",
            "everybody accepted" if offer.analysts is None else plural(len(offer.analysts), "named analyst"),
        ),
        ("open until", moment(offer.open_until)),
    ]
    return lines


def deed_lines(deed: Deed) -> list[tuple[str, str]]:
    """What a licence is, before what its offer says."""
    agreement = deed.agreement
    lines = [
        ("licence", offer_name(agreement.digest)),
        ("licensee", agreement.acceptance.licensee),
        ("analyst", str(VerifyKey(agreement.analyst))),
        ("rate", agreement.acceptance.rate_class),
        ("in force from", moment(agreement.begins_at)),
        ("until", moment(deed.until)),
    ]
    if agreement.acceptance.tax_id:
        lines.append(("tax id", agreement.acceptance.tax_id))
    held = ", ".join(str(party) for party, _ in deed.countersignatures) or "nobody yet"
    lines.append(("held by party", held))
    if deed.revocation is not None:
        who = "the analyst" if deed.revocation.party is None else f"party {deed.revocation.party}"
        if deed.revocation.key is not None:
            who += f" with a later key ({VerifyKey(deed.revocation.key).fingerprint()})"
        lines.append(
            ("ended by", f"{who}, {moment(deed.revocation.at)}: {deed.revocation.reason or 'no reason given'}")
        )
    return lines


def print_lines(lines: list[tuple[str, str]]) -> None:
    """Labels and texts, aligned; nothing in them steers the terminal."""
    width = max(len(label) for label, _ in lines)
    for label, said in lines:
        click.echo(f"{label.ljust(width)}  {printable(said)}")


def signature_problem(signed: SignedOffer, keys: Mapping[PartyId, VerifyKey]) -> str | None:
    """What is wrong with an offer's signatures."""
    try:
        signed.verify(keys)
    except LicenceInvalid as error:
        return str(error)
    return None if signed.complete else "not every owner of the pool has signed it"
