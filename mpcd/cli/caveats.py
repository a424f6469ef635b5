"""What stands below every answer: how far to trust it, what is missing and why, what it opened and cost (layer 15)."""

from __future__ import annotations

from typing import Final

from mpcd.api import noisy
from mpcd.api.flow import Info
from mpcd.api.types import Map, NodeInfo
from mpcd.canonical import Value
from mpcd.cli.shared import kilobytes, plural, printable
from mpcd.results.table import Table

SECURITY: Final = {
    "semi-honest": "semi-honest: a compute party that deviates from the protocol could learn more or change the result",
    "malicious": "malicious: a compute party that deviates is caught before anything is opened",
}


def as_map(table: Table, info: Info, node: NodeInfo) -> Map:
    """For `--json`."""
    return {
        "consortium": node.consortium,
        "asked_through": node.party_name,
        "security": info.security,
        "session": info.session,
        "plan_hash": info.plan_hash,
        "rules": info.plan.get("rules"),
        "rules_of": info.facts.get("rules_of"),
        "cells": info.cells,
        "suppressed": {str(rule): count for rule, count in table.suppressed.items()},
        "opened_values": info.opened_values,
        "opened": info.facts.get("opened"),
        "spent": info.facts.get("spent"),
        "predicted": info.facts.get("predicted"),
        "seconds": info.facts.get("seconds"),
        "privacy": None if (ask := noisy.asked(info.plan)) is None else ask.to_value(),
        "notes": list(table.notes),
        "duties": list(duties(_terms(info).get("duties"))),
    }


def lines(table: Table, info: Info, node: NodeInfo) -> list[str]:
    """For people, below the table and its notes on suppression."""
    found = [f"security  {SECURITY.get(info.security, info.security)}"]
    if table.suppressed:
        found.append(f"rules     {_rules(info)}")
    found.extend(f"duty      {duty}" for duty in duties(_terms(info).get("duties")))
    found.append(f"opened    {plural(info.opened_values, 'pooled value')} in {plural(info.cells, 'cell')}")
    found.append(f"cost      {cost(info.facts)}")
    found.append(f"session   {info.session.hex()[:16]} of {node.consortium}, through {node.party_name}")
    return found


def _terms(info: Info) -> Map:
    """What the signed plan says was agreed on besides."""
    terms = info.plan.get("terms")
    return terms if isinstance(terms, dict) else {}


def duties(listed: Value) -> list[str]:
    """What is owed for an answer, a sentence each; duties are [party, code] pairs of the plan's terms."""
    found: dict[str, list[int]] = {}
    for item in listed if isinstance(listed, list) else []:
        match item:
            case [int(party), str(duty)]:
                found.setdefault(duty, []).append(party)
            case _:
                pass
    return [f"{_duty(duty)} (party {', '.join(map(str, parties))})" for duty, parties in found.items()]


def _duty(duty: str) -> str:
    code, _, value = duty.partition(":")
    match code:
        case "PUB":
            return "PUB: make the results public"
        case "RTN":
            return "RTN: return what you derive to the owner"
        case "MOR":
            return f"MOR: publish nothing before {printable(value)}"
        case _:
            return printable(duty)


def _rules(info: Info) -> str:
    """The numbers behind the suppression, from the signed plan; whose rule each is, from the daemon."""
    rules, owners = info.plan.get("rules"), info.facts.get("rules_of")
    parts = []
    for name, what in (("safe_threshold", "floor"), ("min_owners", "min_owners")):
        number = rules.get(name) if isinstance(rules, dict) else None
        party = owners.get(name) if isinstance(owners, dict) else None
        if isinstance(number, int):
            parts.append(f"{what} {number}" + (f" (party {party}'s)" if isinstance(party, int) else ""))
    return ", ".join(parts) or "not known"


def cost(facts: Map) -> str:
    """Rounds and bytes of the busiest compute party that the daemon knows of."""
    spent = facts.get("spent")
    compute: list[Value] = (
        [item for role, item in spent.items() if role.startswith("compute")] if isinstance(spent, dict) else []
    )
    pairs = [(rounds, sent) for item in compute for rounds, sent in _pair(item)]
    if not pairs:
        return "not known to this daemon"
    rounds, sent = max(pairs)
    return f"{plural(rounds, 'round')}, {kilobytes(sent)} sent by a compute party"


def _pair(item: Value) -> list[tuple[int, int]]:
    match item:
        case [int(rounds), int(sent)]:
            return [(rounds, sent)]
        case _:
            return []
