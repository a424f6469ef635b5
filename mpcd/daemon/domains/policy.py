"""The domain `policy` of the local API, answered (layer 13)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.daemon import policynews
from mpcd.daemon.check import check_names
from mpcd.governance.budget import Budget, privacy_debits, query_debits
from mpcd.governance.entries import Debit
from mpcd.governance.people import AnalystFacts
from mpcd.governance.policy import VERBS, Policy, PublishedTable
from mpcd.store import accounts

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class PolicyDomain:
    """Does what `api/domains/policy.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def show(self, _caller: Caller, _params: Map) -> Map:
        """The policy in force."""
        live = self._node.policy
        warnings = _texts(policynews.located(live.everybody(), time.time()))
        return _policy_map(live.policy) | {"digest": live.digest(), "warnings": warnings}

    async def check(self, _caller: Caller, params: Map) -> Map:
        """What a text would mean here; raises `ConfigurationInvalid` with its path and line."""
        policy = Policy.parse(cast("str", params["text"]), cast("str", params["path"]))
        check_names(policy, self._node.roster)
        return {
            "changes": _texts(policynews.changes(self._node.policy.policy, policy)),
            "warnings": _texts(policynews.located(self._node.policy.everybody(policy), time.time())),
        }

    async def budgets(self, _caller: Caller, _params: Map) -> Map:
        """What has been taken of each account of each published table, now."""
        tables = {name: table.budget for name, table in self._node.policy.policy.tables.items()}
        at = int(time.time() * 1000)
        party = self._node.config.party
        debits = (*query_debits(party, tables, at), *privacy_debits(party, tables, 0, at))
        spent = await self._node.journal.read(lambda c: _spent(c, debits))
        return {"accounts": [_account_map(debit, spent[debit.account], tables) for debit in debits]}


def _spent(connection: sqlite3.Connection, debits: Iterable[Debit]) -> dict[str, int]:
    return {debit.account: accounts.spent(connection, debit) for debit in debits}


def _account_map(debit: Debit, spent: int, budgets: Mapping[str, Budget]) -> Map:
    kind, _, rest = debit.account.partition("/")
    table, _, span = rest.rpartition("/")
    return {
        "table": table,
        "kind": kind,
        "days": budgets[table].period_days if span == "period" else None,
        "spent": spent,
        "limit": debit.limit,
    }


# ------------------------------------------------------------------------------------------------ as maps


def _texts(items: Iterable[str]) -> list[Value]:
    return list(items)


def _policy_map(policy: Policy) -> Map:
    return {
        "path": policy.path,
        "security": policy.security,
        "profile": policy.profile,
        "rules": policy.disclosure.to_value(),
        "rate": {"requests_per_hour": policy.rate.requests_per_hour, "requests_per_day": policy.rate.requests_per_day},
        "analysts": [
            {
                "name": entry.name,
                "key": str(entry.key),
                "tables": None if entry.tables is None else _texts(sorted(entry.tables)),
                "facts": _texts(_facts(entry.facts)),
            }
            for entry in policy.analysts
        ],
        "approvers": [{"name": one.name, "key": str(one.key)} for one in policy.approvers],
        "stewards": [{"name": one.name, "contact": one.contact} for one in policy.stewards],
        "tables": [_table_map(table) for table in policy.tables.values()],
    }


def _table_map(table: PublishedTable) -> Map:
    return {
        "name": table.name,
        "purposes": _texts(table.purposes),
        "conditions": _texts(str(condition) for condition in table.conditions),
        "licence": table.licence,
        "approvals": policynews.approvals_text(table.approvals),
        "budget": policynews.budget_text(table.budget),
        "privacy": "required" if table.noise_only else "optional" if table.budget.allows_noise else "none",
        "columns": [
            {
                "name": column,
                "uses": _texts(verb for verb in VERBS if verb in verbs),
                "granularity": str(table.granularity.get(column, "")),
            }
            for column, verbs in table.uses.items()
        ],
    }


def _facts(facts: AnalystFacts) -> Iterable[str]:
    """What is on record, a phrase each; what is not known is not said."""
    for name in ("institution", "country", "user", "project"):
        if getattr(facts, name):
            yield f"{name} {getattr(facts, name)}"
    for name, true, false in (
        ("commercial", "commercial use", "no commercial use"),
        ("non_profit", "not-for-profit institution", "institution for profit"),
        ("genetic", "genetic study", "no genetic study"),
    ):
        known = getattr(facts, name)
        if known is not None:
            yield true if known else false
    if facts.rate_class != "standard":
        yield f"{facts.rate_class} rate"
    yield from (f"evidence {code}" for code in sorted(facts.evidence))
