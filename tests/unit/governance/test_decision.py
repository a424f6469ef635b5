"""One owner's whole decision: parts are joined, hear only of what exists, and are never taken for granted."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from mpcd.errors import Refusal
from mpcd.governance.asked import Asked, Decision, Wait
from mpcd.governance.decision import decide_all, with_balances
from mpcd.governance.entries import Debit
from mpcd.governance.policy import Policy
from mpcd.governance.published import Requirement
from mpcd.governance.quote import Line
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, RequestDigest

SEEDED = random.Random(12)
ANNA, BERT = (SigningKey.generate(SEEDED.randbytes).public for _ in range(2))
PARTY = PartyId(1)

POLICY = Policy.parse(f"""\
purposes = ["HMB"]
[[analyst]]
name = "Anna"
key = "{ANNA}"
tables = ["free", "licensed", "approved"]
[[table]]
name = "free"
budget = {{ queries = 3, rho = 1 }}
[[table]]
name = "licensed"
licence = "required"
budget = {{ rho = 1 }}
[[table]]
name = "approved"
approvals = {{ min = 2 }}
[[table]]
name = "hidden"
licence = "required"
approvals = {{ min = 5 }}
""")


LINE = Line(PARTY, bytes(32), bytes(32), "EUR", 500, "standard", False, False, None, {}, 1_795_348_900_000)


def asked(*tables: str, **more: Any) -> Asked:
    return Asked(
        party=PARTY,
        analyst=ANNA,
        kind="sql",
        tables=tables,
        uses={},
        functions=frozenset({"count"}),
        purpose="HMB",
        security="malicious",
        request_digest=RequestDigest(bytes(32)),
        question_digest=bytes(32),
        data_versions=dict.fromkeys(tables, "1" * 64),
        at=1_795_348_800_000,
        **{"accepted": POLICY.accepted(ANNA), **more},
    )


def refusal(rule: str) -> Refusal:
    return Refusal(PARTY, rule, "x", "party 1 says so")


class Parts:
    """Parts that remember what they were told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def licences(self, about: Asked) -> Decision:
        self.told["licences"] = about.tables
        return Decision(debits=(Debit("licence:1", 1, None),), line=LINE)

    def approvals(self, about: Asked, requirement: Requirement) -> Decision:
        self.told["approvals"] = about.tables, requirement
        return Decision(waits=(Wait(PARTY, "approval", "request", "party 1 waits"),))

    def privacy(self, about: Asked) -> Decision:
        self.told["privacy"] = about.tables
        return Decision(debits=(Debit("rho/free/period", 5, None),))

    def decide(self, about: Asked) -> Decision:
        return decide_all(POLICY, about, licences=self.licences, approvals=self.approvals, privacy=self.privacy)


def test_each_part_is_asked_about_its_own_tables() -> None:
    parts = Parts()
    found = parts.decide(asked("approved", "free", "licensed"))
    assert parts.told == {"licences": ("licensed",), "approvals": (("approved",), Requirement(2))}
    assert found.refusals == ()
    assert found.verdict == "await"
    assert found.line == LINE
    assert [debit.account for debit in found.debits if not debit.account.startswith("queries/")] == ["licence:1"]
    assert len(found.debits) == 7


def test_a_part_that_is_not_needed_is_not_asked() -> None:
    parts = Parts()
    assert parts.decide(asked("free")).verdict == "agree"
    assert parts.told == {}


def test_no_part_hears_of_what_does_not_exist_for_the_analyst() -> None:
    parts = Parts()
    found = parts.decide(asked("free", "hidden", "licensed"))
    assert [one.rule for one in found.refusals] == ["table"]
    assert parts.told == {"licences": ("licensed",)}
    stranger = parts.decide(dataclasses.replace(asked("free", "hidden"), analyst=BERT, accepted=None))
    assert [one.rule for one in stranger.refusals] == ["analyst"]
    assert (stranger.debits, stranger.waits, stranger.line) == ((), (), None)
    assert parts.told == {"licences": ("licensed",)}


def test_a_part_that_is_needed_and_not_there_refuses() -> None:
    found = decide_all(POLICY, asked("approved", "free", "licensed", privacy=b"noise"))
    assert {one.rule for one in found.refusals} == {"licence", "approval", "privacy"}
    noise = decide_all(POLICY, asked("free", privacy=b"noise"))
    assert [(one.rule, one.subject) for one in noise.refusals] == [("privacy", "free")]


def test_noise_is_charged_only_where_every_table_grants_it() -> None:
    parts = Parts()
    assert parts.decide(asked("free", "licensed", privacy=b"noise")).refusals == ()
    assert parts.told["privacy"] == ("free", "licensed")
    other = Parts()
    refused = other.decide(asked("approved", "free", privacy=b"noise"))
    assert [(one.rule, one.subject) for one in refused.refusals] == [("privacy", "approved")]
    assert "privacy" not in other.told


def test_a_refusal_beats_a_wait_and_a_wait_a_yes() -> None:
    wait = Wait(PARTY, "approval", "request", "party 1 waits", 5)
    assert Decision().verdict == "agree"
    assert Decision(waits=(wait,)).verdict == "await"
    assert Decision(waits=(wait,), refusals=(refusal("x"),)).verdict == "refuse"
    assert wait.refusal() == Refusal(PARTY, "approval", "request", "party 1 waits")


def test_what_is_overdrawn_now_is_said_at_once() -> None:
    found = decide_all(POLICY, asked("free"))
    assert with_balances(found, lambda _: 2) == found
    refused = with_balances(found, lambda debit: 3 if debit.account == "queries/free/period" else 0)
    assert [one.subject for one in refused.refusals] == ["free: queries in 30 days"]
    assert refused.debits == found.debits


def test_narrowing_leaves_nothing_of_other_tables() -> None:
    whole = dataclasses.replace(
        asked("free", "hidden"), uses={"free.x": frozenset({"filter"}), "hidden.y": frozenset()}
    )
    narrow = whole.narrowed(("free",))
    assert "hidden" not in repr(narrow)
    assert narrow.request_digest == whole.request_digest
