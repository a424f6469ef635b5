"""What an owner is told of its own policy and budgets."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mpcd.api.types import Caller, Map
from mpcd.daemon.domains.policy import PolicyDomain
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.budget import query_debits
from mpcd.governance.policy import Policy
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, SessionId
from mpcd.roster import Column, Table
from mpcd.store import accounts, schema

SEEDED = random.Random(5)
ANNA, DORIS = (SigningKey.generate(SEEDED.randbytes).public for _ in range(2))
CALLER = Caller(uid=0, gid=0, pid=1, role="admin")
TEXT = f"""\
purposes = ["HMB"]
[[analyst]]
name = "Anna"
key = "{ANNA}"
commercial = false
non_profit = true
evidence = {{ IRB = "{"0" * 64}" }}
[[approver]]
name = "Doris"
key = "{DORIS}"
[[table]]
name = "t"
conditions = ["NCU"]
approvals = {{}}
budget = {{ queries = 5, lifetime_rho = 0.5 }}
granularity = {{ x = 5 }}
uses = {{ x = ["filter"] }}
"""


class Journal:
    """Reads a store in memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(self.connection)

    async def read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return work(self.connection)


@pytest.fixture
def node() -> Any:
    policy = Policy.parse(TEXT, "policy.toml")
    live = SimpleNamespace(policy=policy, digest=lambda: b"\7" * 32, everybody=lambda other=None: other or policy)
    owners = (PartyId(0), PartyId(1), PartyId(2))
    roster = SimpleNamespace(tables=(Table("t", 100, True, True, None, owners, (Column("x", "integer", 0, 9),)),))
    made = SimpleNamespace(policy=live, roster=roster, config=SimpleNamespace(party=PartyId(2)), journal=Journal())
    yield made
    made.journal.connection.close()


def answer(coroutine: Any) -> Map:
    """What a method that never really waits returns."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    result: Map = stopped.value.value
    return result


def test_the_policy_is_shown_as_it_was_understood(node: Any) -> None:
    shown = answer(PolicyDomain(node).show(CALLER, {}))
    assert (shown["digest"], shown["security"], shown["profile"]) == (b"\7" * 32, "malicious", "cms-11")
    assert shown["analysts"] == [
        {
            "name": "Anna",
            "key": str(ANNA),
            "tables": None,
            "facts": ["no commercial use", "not-for-profit institution", "evidence IRB"],
        }
    ]
    assert shown["approvers"] == [{"name": "Doris", "key": str(DORIS)}]
    assert shown["tables"] == [
        {
            "name": "t",
            "purposes": ["HMB"],
            "conditions": ["NCU"],
            "licence": "none",
            "approvals": "1 needed, good for running once, within 14 days",
            "budget": "5 queries in 30 days, rho 0.5 in all",
            "privacy": "optional",
            "columns": [{"name": "x", "uses": ["filter"], "granularity": "in steps of 5"}],
        }
    ]
    assert shown["warnings"] == []


def test_a_text_is_checked_against_policy_and_roster(node: Any) -> None:
    domain = PolicyDomain(node)
    stricter = TEXT.replace("queries = 5", "queries = 0")
    assert answer(domain.check(CALLER, {"text": stricter, "path": "new.toml"})) == {
        "changes": ["table t: budget: 0 queries in 30 days, rho 0.5 in all (was 5 queries in 30 days, rho 0.5 in all)"],
        "warnings": ["new.toml:11: the budget of table `t` grants no query, so every request about it is refused"],
    }
    for text, says in (
        (TEXT.replace('name = "t"', 'name = "u"'), "new.toml:11: the roster has no table `u`"),
        (TEXT.replace("x = 5", 'x = "month"'), "cannot be published by month"),
    ):
        with pytest.raises(ConfigurationInvalid) as caught:
            domain.check(CALLER, {"text": text, "path": "new.toml"}).send(None)
        assert says in str(caught.value)
    assert node.policy.policy == Policy.parse(TEXT, "policy.toml")


def test_budgets_say_what_is_taken(node: Any) -> None:
    tables = {"t": node.policy.policy.tables["t"].budget}
    row = (bytes(32), bytes(32), bytes(32), b"a", 1, 1)
    node.journal.connection.execute("INSERT INTO session VALUES (?, 'agreed', ?, ?, ?, ?, ?)", row)
    accounts.debit(node.journal.connection, SessionId(bytes(32)), query_debits(PartyId(2), tables, 1), 1)
    assert answer(PolicyDomain(node).budgets(CALLER, {}))["accounts"] == [
        {"table": "t", "kind": "queries", "days": 30, "spent": 0, "limit": 5},
        {"table": "t", "kind": "queries", "days": None, "spent": 1, "limit": None},
        {"table": "t", "kind": "rho", "days": 30, "spent": 0, "limit": None},
        {"table": "t", "kind": "rho", "days": None, "spent": 0, "limit": 5 * 10**11},
    ]
