"""Approvals as pure values: what is signed, what is taken in, what counts.  Each honest test has a tampered twin."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mpcd import canonical, limits
from mpcd.errors import ApprovalInvalid
from mpcd.governance import approval
from mpcd.governance.approval import Form, Held, Ruling, SignedRuling
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.people import Approver
from mpcd.governance.published import Requirement
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.ids import PartyId, RosterHash

ENTROPY = random.Random(4).randbytes
ANNA, IDA, OTTO, EVE = (SigningKey.generate(ENTROPY) for _ in range(4))
RESULT = ResultKey.generate(ENTROPY)
DAY = 86_400
ISSUED = 1_800_000_000
NOW = ISSUED * 1000 + 5000
PARTY = PartyId(1)
VERSIONS = {"t": "a" * 64}
APPROVERS = (Approver("Ida", IDA.public), Approver("Otto", OTTO.public))
ONE, TWO = Requirement(), Requirement(approvers_min=2)
MANY = Requirement(executions_max=3)


def request(sql: str = "SELECT COUNT(*) FROM t", wait_seconds: int = 7 * DAY) -> SignedRequest:
    made = Request.make(
        sql,
        purpose="HMB",
        analyst=ANNA.public,
        result_key=RESULT.public,
        roster_hash=RosterHash(b"r" * 32),
        consortium="three",
        now=ISSUED,
        entropy=ENTROPY,
        wait_seconds=wait_seconds,
    )
    return made.sign(ANNA)


ASKED_FOR = request()
CLOSES = approval.closes_at(ONE, NOW, ISSUED, 7 * DAY)


def asked(signed: SignedRequest = ASKED_FOR, **changes: Any) -> Asked:
    inner = signed.request
    fields: dict[str, Any] = {
        "party": PARTY,
        "analyst": inner.analyst,
        "kind": "sql",
        "tables": ("t",),
        "uses": {},
        "functions": frozenset({"count"}),
        "purpose": inner.purpose,
        "security": "malicious",
        "request_digest": inner.digest(),
        "question_digest": inner.question_digest(),
        "data_versions": VERSIONS,
        "at": NOW,
        "wait_seconds": inner.wait_seconds,
    }
    return Asked(**{**fields, **changes})


def form(signed: SignedRequest = ASKED_FOR, versions: Mapping[str, str] = VERSIONS, executions: int = 3) -> Form:
    return Form(signed, PARTY, "hospital-1", versions, executions, CLOSES, ("count of rows",))


def ruling(key: SigningKey, verdict: Any = "approve", *, of: Form | None = None, **more: Any) -> SignedRuling:
    reason = more.pop("reason", "" if verdict == "approve" else "not this year")
    return (of or form()).rule(verdict, key.public, now=more.pop("now", NOW), reason=reason, **more).sign(key)


def decide(*rulings: SignedRuling, requirement: Requirement = ONE, spent: int = 0, **more: Any) -> Decision:
    held = [Held(one, spent) for one in rulings]
    approvers = more.pop("approvers", APPROVERS)
    analyst = more.pop("analyst_name", "Anna")
    return approval.judge(asked(**more), requirement, approvers, analyst, held, CLOSES)


def admit(signed: SignedRuling, **more: Any) -> Approver:
    fields: dict[str, Any] = {
        "party": PARTY,
        "approvers": APPROVERS,
        "analyst_name": "Anna",
        "requirement": ONE,
        "data_versions": VERSIONS,
        "closes_at": CLOSES,
        "now": NOW,
    }
    return approval.admit(signed, ASKED_FOR.request, **{**fields, **more})


# ------------------------------------------------------------------------------------------------ nothing before


def test_without_approvals_a_request_waits() -> None:
    decision = decide()
    assert decision.verdict == "await"
    assert decision.waits[0].until == CLOSES
    assert "1 of 1 approval at party 1 still missing" in decision.waits[0].message


def test_one_that_does_not_wait_is_refused_and_told_how_to_wait() -> None:
    decision = decide(wait_seconds=0)
    assert decision.verdict == "refuse"
    assert "--wait" in decision.refusals[0].message


@pytest.mark.parametrize("kind", ["explain", "quote"])
def test_who_only_asks_what_would_be_said_is_told(kind: str) -> None:
    assert decide(kind=kind, wait_seconds=0).verdict == "await"


def test_nobody_is_named_to_the_analyst() -> None:
    for decision in (decide(), decide(ruling(IDA), requirement=TWO), decide(ruling(IDA, "deny", reason="no"))):
        text = repr([*decision.waits, *decision.refusals])
        assert "Ida" not in text
        assert "Otto" not in text
        assert str(IDA.public) not in text


# ------------------------------------------------------------------------------------------------ honest and tampered


def test_an_approval_lets_the_request_run_once() -> None:
    signed = ruling(IDA)
    decision = decide(signed)
    assert decision.verdict == "agree"
    assert [(debit.account, debit.amount, debit.limit) for debit in decision.debits] == [
        (approval.account(signed), 1, 1)
    ]


def test_it_is_not_used_beyond_that() -> None:
    assert decide(ruling(IDA), spent=1).verdict == "await"


def test_it_counts_for_its_very_request_alone() -> None:
    other = request("SELECT COUNT(*) FROM t WHERE age > 60")
    again = request()
    for signed in (other, again):
        decision = approval.judge(asked(signed), ONE, APPROVERS, "Anna", [Held(ruling(IDA))], CLOSES)
        assert decision.verdict == "await"


def test_it_counts_for_its_data_version_alone() -> None:
    decision = decide(ruling(IDA), data_versions={"t": "b" * 64})
    assert decision.verdict == "await"
    assert "its data changed" in decision.waits[0].message
    assert decide(ruling(IDA), data_versions={**VERSIONS, "u": "c" * 64}).verdict == "await"


def test_it_counts_for_its_party_alone() -> None:
    assert decide(ruling(IDA, of=replace(form(), party=PartyId(2)))).verdict == "await"


def test_it_counts_until_it_expires() -> None:
    soon = ruling(IDA, run_before=NOW + 10)
    assert decide(soon, at=NOW + 9).verdict == "agree"
    assert decide(soon, at=NOW + 10).verdict == "await"


def test_a_forged_signature_counts_for_nothing() -> None:
    good = ruling(IDA)
    forged = replace(good, signature=ruling(EVE).signature)
    borrowed = SignedRuling(replace(good.ruling, reason="changed afterwards"), good.signature)
    for bad in (forged, borrowed):
        assert decide(bad).verdict == "await"
        with pytest.raises(ApprovalInvalid, match="does not fit the approver's key"):
            admit(bad)


def test_a_stranger_approves_nothing() -> None:
    assert decide(ruling(EVE)).verdict == "await"
    with pytest.raises(ApprovalInvalid, match="names no approver"):
        admit(ruling(EVE))


def test_an_approver_who_left_no_longer_counts() -> None:
    assert decide(ruling(IDA), approvers=APPROVERS[1:]).verdict == "await"


def test_who_asks_does_not_approve() -> None:
    by_key = (*APPROVERS, Approver("Professor Analyst", ANNA.public))
    assert decide(ruling(ANNA), approvers=by_key).verdict == "await"
    assert decide(ruling(IDA), analyst_name="Ida").verdict == "await"
    with pytest.raises(ApprovalInvalid, match="whoever asks"):
        admit(ruling(ANNA), approvers=by_key)
    with pytest.raises(ApprovalInvalid, match="whoever asks"):
        admit(ruling(IDA), analyst_name="Ida")


def test_two_approvers_are_two_people() -> None:
    assert decide(ruling(IDA), ruling(OTTO), requirement=TWO).verdict == "agree"
    assert len(decide(ruling(IDA), ruling(OTTO), requirement=TWO).debits) == 2
    twice = decide(ruling(IDA), ruling(IDA, now=NOW + 1), requirement=TWO)
    assert twice.verdict == "await"
    assert "1 of 2 approvals" in twice.waits[0].message
    one_person = (Approver("Ida", IDA.public), Approver("Ida", OTTO.public))
    assert decide(ruling(IDA), ruling(OTTO), requirement=TWO, approvers=one_person).verdict == "await"


def test_more_approvals_than_needed_debit_no_more_than_needed() -> None:
    assert len(decide(ruling(IDA), ruling(OTTO)).debits) == 1


def test_a_denial_ends_it_whatever_others_said() -> None:
    decision = decide(ruling(IDA), ruling(OTTO, "deny", reason="sample too small"))
    assert decision.verdict == "refuse"
    assert decision.refusals[0].rule == approval.DENIED
    assert "sample too small" in decision.refusals[0].message


def test_a_stranger_denies_nothing() -> None:
    assert decide(ruling(IDA), ruling(EVE, "deny")).verdict == "agree"
    assert decide(ruling(IDA), ruling(OTTO, "deny", of=form(request()))).verdict == "agree"


def test_an_approval_is_withdrawn_by_its_approver_alone() -> None:
    given = ruling(IDA)
    assert decide(given, ruling(IDA, "withdraw", now=NOW + 1)).verdict == "await"
    assert decide(given, ruling(OTTO, "withdraw", now=NOW + 1)).verdict == "agree"


@pytest.mark.parametrize("verdict", ["deny", "withdraw"])
def test_what_was_taken_back_does_not_come_back(verdict: str) -> None:
    """The old approval handed in again, or one of the same moment, brings nothing back; a later one does."""
    given, taken = ruling(IDA), ruling(IDA, verdict, now=NOW + 1)
    assert decide(given, taken, given).verdict != "agree"
    assert decide(ruling(IDA, now=NOW + 1), taken).verdict != "agree"
    assert decide(given, taken, ruling(IDA, now=NOW + 2)).verdict == "agree"
    with pytest.raises(ApprovalInvalid, match="decided again later"):
        admit(given, held=[taken])
    assert admit(taken, held=[given]).name == "Ida"


def test_too_late() -> None:
    decision = decide(at=CLOSES)
    assert decision.verdict == "refuse"
    assert "in time" in decision.refusals[0].message
    assert decide(ruling(IDA), at=CLOSES).verdict == "agree", "approved in time, run a little later"


# ------------------------------------------------------------------------------------------------ several executions


def test_an_approval_of_a_question_serves_so_many_times() -> None:
    signed = ruling(IDA, executions=3)
    again = request(wait_seconds=0)
    for spent, verdict in ((0, "agree"), (2, "agree"), (3, "refuse")):
        decision = approval.judge(asked(again), MANY, APPROVERS, "Anna", [Held(signed, spent)], CLOSES)
        assert decision.verdict == verdict
    assert decide(signed, requirement=MANY).debits[0].limit == 3


def test_not_for_another_question_analyst_or_purpose() -> None:
    signed = ruling(IDA, executions=3)
    assert decide(signed, requirement=MANY, question_digest=b"q" * 32).verdict == "await"
    other = replace(ASKED_FOR.request, analyst=EVE.public)
    assert other.question_digest() != ASKED_FOR.request.question_digest()
    assert replace(ASKED_FOR.request, purpose="GRU").question_digest() != ASKED_FOR.request.question_digest()


def test_not_where_the_policy_says_once_now() -> None:
    assert decide(ruling(IDA, executions=3), requirement=ONE).verdict == "await"


def test_a_policy_that_allows_fewer_runs_counts_those_that_were() -> None:
    stricter = Requirement(executions_max=2)
    signed = ruling(IDA, executions=3)
    assert decide(signed, requirement=stricter, spent=1).debits[0].limit == 2
    assert decide(signed, requirement=stricter, spent=2).verdict == "await"


def test_the_approval_of_the_very_request_is_used_first() -> None:
    general, special = ruling(IDA, executions=3), ruling(IDA, now=NOW - 1)
    assert decide(general, special, requirement=MANY).debits[0].account == approval.account(special)


def test_a_form_grants_no_more_than_it_says() -> None:
    with pytest.raises(ApprovalInvalid, match="3 executions at most"):
        ruling(IDA, executions=4)
    with pytest.raises(ApprovalInvalid, match="serve 1 times at most"):
        admit(ruling(IDA, executions=3))
    assert admit(ruling(IDA, executions=3), requirement=MANY).name == "Ida"


# ------------------------------------------------------------------------------------------------ handing in


def test_a_good_ruling_is_taken_in() -> None:
    assert admit(ruling(IDA)) == APPROVERS[0]
    assert admit(ruling(OTTO, "deny")) == APPROVERS[1]


@pytest.mark.parametrize(
    ("signed", "changes", "message"),
    [
        (ruling(IDA, of=form(request())), {}, "about another request"),
        (ruling(IDA, of=replace(form(), party=PartyId(2))), {}, "for another party"),
        (ruling(IDA, of=form(versions={"t": "b" * 64})), {}, "another data version"),
        (ruling(IDA), {"data_versions": {"t": "b" * 64}}, "another data version"),
        (ruling(IDA), {"now": CLOSES}, "is over"),
        (ruling(IDA, run_before=NOW), {}, "has expired"),
        (ruling(IDA, now=NOW + 61_000), {}, "in the future"),
    ],
)
def test_a_ruling_that_does_not_fit_is_sent_back(signed: SignedRuling, changes: Any, message: str) -> None:
    with pytest.raises(ApprovalInvalid, match=message):
        admit(signed, **changes)


def test_a_denial_needs_no_data_version_and_no_time() -> None:
    assert admit(ruling(IDA, "deny"), data_versions={}, now=CLOSES + 1).name == "Ida"


# ------------------------------------------------------------------------------------------------ bytes


@pytest.mark.parametrize("verdict", approval.VERDICTS)
def test_one_spelling(verdict: Any) -> None:
    signed = ruling(IDA, verdict)
    assert SignedRuling.from_bytes(signed.to_bytes()) == signed
    assert Form.from_bytes(form().to_bytes()) == form()


FIELDS: dict[str, Any] = {
    "version": 2,
    "approver": bytes(32),
    "binds": "both",
    "subject": b"short",
    "party": -1,
    "consortium": "",
    "data_versions": {"t": 1},
    "executions": 2,
    "run_before": -1,
    "reason": "two\nlines",
    "decided_at": 2**50,
    "verdict": "maybe",
    "more": 1,
}


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_no_ruling(field: str) -> None:
    value = canonical.decode(ruling(IDA).ruling.to_bytes())
    assert isinstance(value, dict)
    with pytest.raises(ApprovalInvalid):
        Ruling.from_bytes(canonical.encode({**value, field: FIELDS[field]}))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x80", bytes(limits.APPROVAL_FORM_BYTES_MAX + 1)])
def test_noise(data: bytes) -> None:
    for read in (Ruling.from_bytes, SignedRuling.from_bytes, Form.from_bytes):
        with pytest.raises(ApprovalInvalid):
            read(data)


def test_a_form_with_another_request_than_the_analyst_signed() -> None:
    inner = replace(ASKED_FOR.request, text="SELECT SUM(age) FROM t")
    with pytest.raises(ApprovalInvalid, match="not what an analyst signed"):
        Form.from_bytes(form(SignedRequest(inner, ASKED_FOR.signature)).to_bytes())


def test_who_denies_says_why() -> None:
    with pytest.raises(ApprovalInvalid, match="say why"):
        ruling(IDA, "deny", reason="")


def test_one_signs_as_oneself() -> None:
    with pytest.raises(ApprovalInvalid, match="names another approver"):
        form().rule("approve", IDA.public, now=NOW).sign(OTTO)


# ------------------------------------------------------------------------------------------------ requirements


def test_the_strictest_of_several_tables() -> None:
    assert Requirement.strictest([]) is None
    joined = Requirement.strictest([Requirement(1, 5, 100), Requirement(2, 1, 200)])
    assert joined == Requirement(2, 1, 100)


def test_approvals_close_with_the_owners_deadline_or_the_analysts_patience() -> None:
    requirement = Requirement(deadline_seconds=3 * DAY)
    assert approval.closes_at(requirement, NOW, ISSUED, 7 * DAY) == NOW + 3 * DAY * 1000
    assert approval.closes_at(requirement, NOW, ISSUED, DAY) == (ISSUED + DAY) * 1000


# ------------------------------------------------------------------------------------------------ what must not slip in


def test_a_ruling_of_another_consortium_is_sent_back() -> None:
    elsewhere = replace(ruling(IDA).ruling, consortium="four").sign(IDA)
    with pytest.raises(ApprovalInvalid, match="another party"):
        admit(elsewhere)


def test_nothing_is_approved_where_nothing_is_published() -> None:
    """An approval of no data version would hold for whatever is published later."""
    empty = form(versions={})
    with pytest.raises(ApprovalInvalid, match="no data is published"):
        admit(ruling(IDA, of=empty), data_versions={})
    assert admit(ruling(IDA, "deny", of=empty), data_versions={}).name == "Ida"


def test_an_approval_that_holds_for_ever_is_sent_back() -> None:
    longest = NOW + (limits.APPROVAL_WAIT_SECONDS_MAX + DAY) * 1000
    good = ruling(IDA).ruling
    assert admit(replace(good, run_before=longest).sign(IDA)).name == "Ida"
    with pytest.raises(ApprovalInvalid, match="too long"):
        admit(replace(good, run_before=longest + 1).sign(IDA))


def test_an_approval_of_a_question_outlives_the_request_and_a_denial_is_of_the_request() -> None:
    many = ruling(IDA, executions=3).ruling
    assert (many.binds, many.run_before) == ("question", NOW + limits.APPROVAL_WAIT_SECONDS_MAX * 1000)
    once = ruling(IDA).ruling
    assert (once.binds, once.run_before) == ("request", ASKED_FOR.request.expires_at * 1000)
    no = ruling(IDA, "deny", executions=3).ruling
    assert (no.binds, no.executions) == ("request", 0)


def test_what_another_approver_said_later_keeps_nobody_from_ruling() -> None:
    later = ruling(OTTO, "deny", now=NOW + 1000)
    assert admit(ruling(IDA), held=[later]).name == "Ida"
    with pytest.raises(ApprovalInvalid, match="decided again later"):
        admit(ruling(OTTO), held=[later])


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "perhaps"},
        {"data_versions": {f"t{number}": "a" * 64 for number in range(limits.PLAN_SOURCES_MAX + 1)}},
        {"data_versions": {"": "a" * 64}},
        {"data_versions": {"t": "a\n"}},
        {"executions": 0},
        {"executions": limits.APPROVAL_EXECUTIONS_MAX + 1},
        {"verdict": "deny", "reason": "no", "executions": 1},
        {"verdict": "deny", "reason": "no", "executions": 0, "binds": "question"},
        {"reason": "r" * (limits.APPROVAL_REASON_CHARACTERS_MAX + 1)},
        {"reason": "two\x1b[2J"},
        {"decided_at": -1},
        {"run_before": 2**60},
        {"party": PartyId(-1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_ruling_that_makes_no_sense_is_not_made(change: dict[str, Any]) -> None:
    with pytest.raises(ApprovalInvalid):
        replace(ruling(IDA).ruling, **change)
