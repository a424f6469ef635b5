"""What stands below every answer (layer 15): how far it can be trusted, what is missing and why, what was opened,
what it cost.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from mpcd.api.flow import Info
from mpcd.api.types import Map, NodeInfo
from mpcd.canonical import Value
from mpcd.cli.shared import kilobytes, plural
from mpcd.results.table import Suppressed, Table

SECURITY: Final = {
    "semi-honest": "semi-honest: a compute party that deviates from the protocol could learn more or change the result",
    "malicious": "malicious: a compute party that deviates is caught before anything is opened",
}
RULES: Final = {
    "floor": "too few persons besides those of the largest owner",
    "min_owners": "too few owners have any such person",
    "complement": "the rest of the cell would be too small",
}


def suppressed_by_rule(table: Table) -> dict[str, int]:
    """How many cells of the shown table each rule suppressed."""
    return dict(Counter(cell.rule for row in table.rows for cell in row if isinstance(cell, Suppressed)))


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
        "suppressed": dict(suppressed_by_rule(table)),
        "opened_values": info.opened_values,
        "opened": info.facts.get("opened"),
        "spent": info.facts.get("spent"),
        "predicted": info.facts.get("predicted"),
        "seconds": info.facts.get("seconds"),
        "notes": list(table.notes),
    }


def lines(table: Table, info: Info, node: NodeInfo) -> list[str]:
    """For people, below the table."""
    found = [f"security    {SECURITY.get(info.security, info.security)}"]
    by_rule = suppressed_by_rule(table)
    if by_rule:
        total = plural(sum(by_rule.values()), "cell")
        found.append(f"suppressed  {total}")
        found += [
            f"            {count} by {rule}: {_reason(rule, info.plan.get('rules'))}{_whose(rule, info.facts)}"
            for rule, count in sorted(by_rule.items())
        ]
    else:
        found.append("suppressed  nothing")
    found += [f"note        {note}" for note in table.notes]
    found.append(f"opened      {plural(info.opened_values, 'pooled value')} in {plural(info.cells, 'cell')}")
    found.append(f"cost        {cost(info.facts)}")
    found.append(f"session     {info.session.hex()[:16]} of {node.consortium}, through {node.party_name}")
    return found


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


def _reason(rule: str, rules: Value) -> str:
    text = RULES.get(rule, "a disclosure rule")
    if not isinstance(rules, dict):
        return text
    number = {"floor": rules.get("safe_threshold"), "min_owners": rules.get("min_owners")}.get(rule)
    return f"{text} (at least {number} needed)" if isinstance(number, int) else text


def _whose(rule: str, facts: Map) -> str:
    owners = facts.get("rules_of")
    name = {"floor": "safe_threshold"}.get(rule, rule)
    party = owners.get(name) if isinstance(owners, dict) else None
    return "" if not isinstance(party, int) else f"; the strictest is party {party}'s"
