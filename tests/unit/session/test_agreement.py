from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from mpcd import errors
from mpcd.errors import AwaitingApproval, ClockSkew, PeerMalformed, PlanMismatch, Refusal, Refused, SessionFault
from mpcd.governance.asked import Wait
from mpcd.ids import PartyId, RequestDigest, RosterHash, SessionId
from mpcd.limits import ANSWER_TERMS_BYTES_MAX, CLOCK_SKEW_SECONDS_MAX, REFUSALS_PER_ANSWER_MAX
from mpcd.session import agreement
from mpcd.session.agreement import Answer

ATTEMPT = bytes(range(16))
DIGEST = RequestDigest(bytes([1]) * 32)
PLAN = bytes([9]) * 32


def answer(party: int = 0, **changes: object) -> Answer:
    made = Answer(
        party=PartyId(party),
        attempt=ATTEMPT,
        request_digest=DIGEST,
        roster_hash=RosterHash(bytes([2]) * 32),
        proposer=PartyId(0),
        dry_run=False,
        verdict="agree",
        nonce=bytes([party]) * 32,
        clock_seconds=1_700_000_000.0 + party,
        plan_sections={"where": bytes([3]) * 32, "values": bytes([4]) * 32},
        rules={"safe_threshold": 11},
        data_versions={"t": "00" * 32},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def refusal(party: int, subject: str = "t.age: group") -> Refusal:
    return Refusal(PartyId(party), "column-use", subject, f"party {party} does not allow it")


def wait(party: int, until: int | None = 1_700_000_000_000) -> Wait:
    return Wait(PartyId(party), "approval", "request", f"an approval at party {party} still missing", until)


# ------------------------------------------------------------------------------------------------ as it travels


@pytest.mark.parametrize(
    "made",
    [
        answer(),
        answer(2, verdict="refuse", refusals=(refusal(2), refusal(2, "t.size: filter"))),
        answer(1, verdict="fail", failure_code="mpc.PlanInvalid", failure_message="no such column"),
        answer(1, verdict="await", waits=(wait(1), wait(1, None))),
        answer(1, verdict="refuse", refusals=(refusal(1),), waits=(wait(1),)),
        answer(1, dry_run=True, plan_sections={}, rules={}, data_versions={}),
        answer(1, terms={"history": [b"n" * 32], "line": b"price"}),
    ],
)
def test_an_answer_arrives_as_it_was_sent(made: Answer) -> None:
    assert Answer.from_value(made.party, made.to_value()) == made


BYTES_FIELDS = {"attempt": 16, "request_digest": 32, "roster_hash": 32, "nonce": 32}
WRONG: list[tuple[str, object]] = [
    ("party", 1),
    ("party", "0"),
    ("party", None),
    ("verdict", "maybe"),
    ("verdict", ["agree"]),
    ("verdict", None),
    ("proposer", "0"),
    ("proposer", None),
    ("dry_run", 0),
    ("dry_run", "no"),
    ("clock_seconds", 1_700_000_000),
    ("clock_seconds", "now"),
    ("clock_seconds", math.nan),
    ("clock_seconds", math.inf),
    ("refusals", None),
    ("refusals", {}),
    ("refusals", [[0, "rule", "subject"]]),
    ("refusals", [[0, "rule", "subject", "message"]]),
    ("refusals", [7]),
    ("waits", None),
    ("waits", [7]),
    ("waits", [[0, "approval", "request", "an agreement that waits", None]]),
    ("failure", ["mpc.PlanInvalid", "an agreement that failed"]),
    ("failure", ["", 7]),
    ("failure", ["", "x" * 2001]),
    ("failure", []),
    ("failure", None),
    ("plan_sections", None),
    ("plan_sections", {"where": bytes(31)}),
    ("plan_sections", {"where": "x" * 32}),
    ("plan_sections", {3: bytes(32)}),
    ("plan_sections", {str(index): bytes(32) for index in range(65)}),
    ("rules", None),
    ("rules", []),
    ("data_versions", None),
    ("data_versions", {"t": 7}),
    ("data_versions", {7: "t"}),
    ("data_versions", {"t" * 2001: "00"}),
    ("terms", None),
    ("terms", {"history": [b"0" * 32] * (ANSWER_TERMS_BYTES_MAX // 32)}),
    *((name, bytes(size + step)) for name, size in BYTES_FIELDS.items() for step in (-1, 1)),
    *((name, "x" * size) for name, size in BYTES_FIELDS.items()),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_a_malformed_field_names_its_sender(name: str, value: object) -> None:
    with pytest.raises(PeerMalformed, match="party 0 sent a malformed answer") as malformed:
        Answer.from_value(PartyId(0), {**answer().to_value(), name: value})
    assert malformed.value.party == 0


@pytest.mark.parametrize("name", sorted(answer().to_value()))
def test_a_missing_field_names_its_sender(name: str) -> None:
    value = answer().to_value()
    del value[name]
    with pytest.raises(PeerMalformed):
        Answer.from_value(PartyId(0), value)


@pytest.mark.parametrize("value", [None, [], b"", 7, "answer"])
def test_what_is_no_map_is_malformed(value: object) -> None:
    with pytest.raises(PeerMalformed):
        Answer.from_value(PartyId(0), value)


def test_every_field_has_a_wrong_value_above() -> None:
    assert {name for name, _ in WRONG} == set(answer().to_value())


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "refuse"},
        {"verdict": "agree", "refusals": (refusal(0),)},
        {"verdict": "agree", "waits": (wait(0),)},
        {"verdict": "await"},
        {"verdict": "await", "waits": (wait(1),)},
        {"verdict": "await", "waits": (wait(0, -1),)},
        {"verdict": "await", "waits": (wait(0),), "refusals": (refusal(0),)},
        {"verdict": "fail"},
        {"verdict": "fail", "failure_code": "mpc.PlanInvalid", "refusals": (refusal(0),)},
        {"verdict": "refuse", "refusals": (refusal(1),)},
        {"verdict": "refuse", "refusals": (refusal(0),) * (REFUSALS_PER_ANSWER_MAX + 1)},
    ],
    ids=[
        "without a reason",
        "with one",
        "with a wait",
        "waits for nothing",
        "waits in another's name",
        "waits for ever",
        "waits and refuses",
        "without a failure",
        "with both",
        "in another's name",
        "too many",
    ],
)
def test_a_verdict_and_its_reasons_go_together(changes: dict[str, object]) -> None:
    with pytest.raises(PeerMalformed):
        Answer.from_value(PartyId(0), replace(answer(), **changes).to_value())  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ conclusions


def test_all_waits_are_told_together_and_no_earlier_than_refusals() -> None:
    waiting = [answer(party, verdict="await", waits=(wait(party),)) for party in (1, 2)]
    agreement.check_verdicts([answer(), *waiting])
    with pytest.raises(AwaitingApproval, match=r"at party 1 .* at party 2"):
        agreement.check_waits([answer(), *waiting])
    with pytest.raises(Refused):
        agreement.check_verdicts([answer(verdict="refuse", refusals=(refusal(0),)), *waiting])
    agreement.check_waits([answer(party) for party in range(3)])


def test_answers_that_are_alike_pass() -> None:
    answers = [answer(party) for party in range(4)]
    agreement.check_alike(answers)
    agreement.check_verdicts(answers)
    agreement.check_bound(answers, ATTEMPT, DIGEST, PartyId(0), dry_run=False)


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ({"where": bytes(32), "values": bytes([4]) * 32}, "where"),
        ({"where": bytes([3]) * 32, "values": bytes(32)}, "values"),
        ({"where": bytes(32), "values": bytes(32)}, "values, where"),
        ({"where": bytes([3]) * 32}, "values"),
        ({"where": bytes([3]) * 32, "values": bytes([4]) * 32, "keys": bytes(32)}, "keys"),
        ({}, "values, where"),
    ],
)
def test_sections_that_differ_are_named(theirs: dict[str, bytes], named: str) -> None:
    with pytest.raises(PlanMismatch, match=rf"parties 0 and 2 planned the request differently in: {named};"):
        agreement.check_alike([answer(), answer(1), answer(2, plan_sections=theirs)])


def test_sections_are_the_digests_of_the_plans_own() -> None:
    plan = {"where": ["=", 1], "values": [], "keys": [1]}
    sections = agreement.sections(plan)
    assert sections.keys() == plan.keys()
    assert len(set(sections.values())) == 3
    changed = agreement.sections({**plan, "where": ["=", 2]})
    assert {name for name in plan if sections[name] != changed[name]} == {"where"}


def test_rosters_that_differ_are_named() -> None:
    with pytest.raises(PlanMismatch, match="parties 0 and 1 hold different rosters"):
        agreement.check_alike([answer(), answer(1, roster_hash=RosterHash(bytes(32)))])


@pytest.mark.parametrize("late", [0, 1, 2])
def test_clocks_may_differ_so_much_and_no_more(late: int) -> None:
    def at(seconds: float) -> list[Answer]:
        return [answer(p, clock_seconds=1000.0 + seconds * (p == late)) for p in range(3)]

    agreement.check_alike(at(CLOCK_SKEW_SECONDS_MAX))
    agreement.check_alike(at(-CLOCK_SKEW_SECONDS_MAX))
    for seconds in (CLOCK_SKEW_SECONDS_MAX + 1, -CLOCK_SKEW_SECONDS_MAX - 1):
        with pytest.raises(ClockSkew, match=rf"parties .*\b{late}\b.* differ by 61 s"):
            agreement.check_alike(at(seconds))


@pytest.mark.parametrize(
    "changes",
    [
        {"attempt": bytes(16)},
        {"request_digest": RequestDigest(bytes(32))},
        {"proposer": PartyId(1)},
        {"dry_run": True},
    ],
)
def test_an_answer_to_something_else_is_its_authors_fault(changes: dict[str, object]) -> None:
    with pytest.raises(PeerMalformed, match="another request") as malformed:
        agreement.check_bound([answer(), answer(1, **changes), answer(2)], ATTEMPT, DIGEST, PartyId(0), dry_run=False)
    assert malformed.value.party == 1


def test_the_refusals_of_all_parties_come_together_before_any_failure() -> None:
    answers = [
        answer(0, verdict="fail", failure_code="mpc.PlanInvalid", failure_message="what?"),
        answer(1, verdict="refuse", refusals=(refusal(1), refusal(1, "t.size: filter"))),
        answer(2),
        answer(3, verdict="refuse", refusals=(refusal(3),)),
    ]
    with pytest.raises(Refused) as refused:
        agreement.check_verdicts(answers)
    assert refused.value.reasons == (refusal(1), refusal(1, "t.size: filter"), refusal(3))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("mpc.PlanInvalid", errors.PlanInvalid),
        ("mpc.PlanUnsupported", errors.PlanUnsupported),
        ("mpc.Busy", errors.Busy),
        ("mpc.EngineFailed", SessionFault),
        ("mpc.CheatDetected", SessionFault),
        ("mpc.Refused", SessionFault),
        ("no such code", SessionFault),
    ],
)
def test_a_failure_keeps_its_class_where_the_caller_can_act_on_it(code: str, kind: type[errors.MpcdError]) -> None:
    failed = answer(1, verdict="fail", failure_code=code, failure_message="because of this")
    with pytest.raises(kind, match="party 1: because of this") as raised:
        agreement.check_verdicts([answer(), failed, answer(2)])
    assert type(raised.value) is kind


BAD = "there is no column `foo`"


def failed(party: int, code: str = "mpc.PlanInvalid", message: str = BAD) -> Answer:
    return answer(party, verdict="fail", failure_code=code, failure_message=message)


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ([failed(0)], errors.PlanInvalid, BAD),
        ([failed(party) for party in range(3)], errors.PlanInvalid, BAD),
        ([answer(0), failed(1)], errors.PlanInvalid, f"party 1: {BAD}"),
        ([failed(0), failed(1, "mpc.DataInvalid", "not published")], errors.PlanInvalid, f"party 0: {BAD}"),
        ([answer(0), failed(1, "mpc.DataInvalid", "none")], SessionFault, "party 1: none (mpc.DataInvalid)"),
    ],
    ids=["our own", "everybody's", "one peer's", "different ones", "a peer's own fault"],
)
def test_a_party_is_named_only_where_it_stands_alone(
    answers: list[Answer], kind: type[errors.MpcdError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        agreement.check_verdicts(answers)
    assert str(caught.value) == text


def test_a_failure_of_ours_is_told_by_code_and_sentence() -> None:
    assert agreement.failure_of(errors.PlanInvalid("no such column")) == ("mpc.PlanInvalid", "no such column")
    assert len(agreement.failure_of(errors.Bug("x" * 10_000))[1]) == 2000


# ------------------------------------------------------------------------------------------------ names and keys

OTHER: dict[str, object] = {
    "party": PartyId(7),
    "attempt": bytes(16),
    "request_digest": RequestDigest(bytes(32)),
    "roster_hash": RosterHash(bytes(32)),
    "proposer": PartyId(1),
    "dry_run": True,
    "verdict": "refuse",
    "nonce": bytes([77]) * 32,
    "clock_seconds": 5.0,
    "refusals": (refusal(1),),
    "waits": (wait(1),),
    "failure_code": "mpc.Busy",
    "failure_message": "full",
    "plan_sections": {"where": bytes(32)},
    "rules": {"safe_threshold": 12},
    "data_versions": {"t": "01" * 32},
    "terms": {"line": b"price"},
}


@pytest.mark.parametrize("name", OTHER)
def test_the_session_id_depends_on_every_field_of_every_answer(name: str) -> None:
    answers = [answer(party) for party in range(3)]
    changed = [answer(0), replace(answer(1), **{name: OTHER[name]}), answer(2)]  # type: ignore[arg-type]
    assert agreement.session_id(answers, PLAN) != agreement.session_id(changed, PLAN)


def test_no_field_is_left_out_of_the_session_id() -> None:
    # How busy an author is decides nothing and is not sent.
    assert {field.name for field in fields(Answer)} - {"load"} == OTHER.keys()


def test_the_session_id_is_that_of_the_set_of_answers_and_the_plan() -> None:
    answers = [answer(party) for party in range(3)]
    session = agreement.session_id(answers, PLAN)
    assert len(session) == 32
    assert agreement.session_id(reversed(answers), PLAN) == session
    assert agreement.session_id(answers, bytes(32)) != session
    assert agreement.session_id(answers[:2], PLAN) != session


SESSION = SessionId(bytes([5]) * 32)
KEY_PARTS: tuple[object, ...] = (SESSION, bytes([6]) * 64, (0, bytes([7]) * 32), (2, bytes([8]) * 32))


def test_a_pair_key_depends_on_everything() -> None:
    changes: list[tuple[int, object]] = [
        (0, SessionId(bytes(32))),
        (1, bytes(64)),
        (2, (1, bytes([7]) * 32)),
        (2, (0, bytes(32))),
        (3, (1, bytes([8]) * 32)),
        (3, (2, bytes(32))),
    ]
    variants = [KEY_PARTS] + [(*KEY_PARTS[:place], value, *KEY_PARTS[place + 1 :]) for place, value in changes]
    swapped = (*KEY_PARTS[:2], (0, bytes([8]) * 32), (2, bytes([7]) * 32))
    keys = {agreement.pair_key(*variant) for variant in [*variants, swapped]}  # type: ignore[arg-type]
    assert len(keys) == len(variants) + 1
    assert {len(key) for key in keys} == {32}
    assert agreement.pair_key(*KEY_PARTS) == agreement.pair_key(*KEY_PARTS)  # type: ignore[arg-type]


def test_a_confirmation_says_who_shows_it_for_which_session() -> None:
    tags = {
        agreement.key_confirmation(key, session, sender)
        for key in (bytes(32), bytes([1]) * 32)
        for session in (SESSION, SessionId(bytes(32)))
        for sender in range(3)
    }
    assert len(tags) == 12
    assert bytes(32) not in tags
