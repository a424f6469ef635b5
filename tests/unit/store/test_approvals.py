"""What approvals keep, on a real state file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mpcd import canonical, limits
from mpcd.errors import Busy, NotFound, Refusal, Refused
from mpcd.governance import DisclosureRules, approval, entries
from mpcd.governance.approval import Ruling, SignedRuling, Verdict
from mpcd.governance.entries import Debit
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import NonceUse, Store
from mpcd.store import approvals as rows
from mpcd.store.approvals import Pending

ENTROPY = random.Random(4).randbytes
IDA, OTTO = SigningKey.generate(ENTROPY), SigningKey.generate(ENTROPY)
NOW = 1_800_000_000_000
DAY = 86_400_000
QUESTION = b"q" * 32
PARTY = PartyId(1)
T = TypeVar("T")


def digest(number: int) -> RequestDigest:
    return RequestDigest(number.to_bytes(32, "big"))


def pending(number: int = 1, analyst: bytes = b"a" * 32, **changes: Any) -> Pending:
    made = Pending(
        digest(number), QUESTION, b"request", analyst, PartyId(0), ("t",), ("count",), NOW, NOW + DAY, NOW + 2 * DAY
    )
    return replace(made, **changes)


def ruling(
    verdict: Verdict = "approve",
    *,
    who: SigningKey = IDA,
    at: int = NOW,
    subject: bytes = digest(1),
    executions: int = 1,
) -> SignedRuling:
    made = Ruling(
        verdict=verdict,
        binds="question" if subject == QUESTION else "request",
        subject=subject,
        party=PARTY,
        consortium="three",
        data_versions={"t": "v"},
        executions=executions if verdict == "approve" else 0,
        run_before=NOW + DAY,
        reason="" if verdict == "approve" else "no",
        approver=who.public,
        decided_at=at,
    )
    return made.sign(who)


class State:
    """The store and its transactions."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def write(self, work: Callable[[Any], T]) -> T:
        return self.store.write(lambda connection, _append: work(connection), now=NOW / 1000)

    def read(self, work: Callable[[Any], T]) -> T:
        return self.store.read(work)

    def pend(self, made: Pending) -> bool:
        return self.write(lambda c: rows.add_pending(c, made))

    def take(self, signed: SignedRuling) -> bool:
        return self.write(lambda c: rows.add_ruling(c, signed, digest(1), NOW))

    def agree(self, number: int, *signed: SignedRuling, limit: int = 1) -> SessionId:
        """Agree the session of request `number` on these rulings, as the daemon does."""
        session = SessionId(random.Random(number).randbytes(32))
        refusal = Refusal(PARTY, "approval", "request", "used up")
        entry = entries.agreed(
            b"request",
            digest(number),
            PlanHash(b"p" * 32),
            parties=[PARTY],
            policy_digest=bytes(32),
            rules=DisclosureRules(),
            data_versions={},
        )
        self.store.commit_agreed(
            session,
            entry,
            now=NOW / 1000,
            burn=NonceUse(b"a" * 32, number.to_bytes(32, "big"), NOW // 1000 + 900),
            request_digest=digest(number),
            plan_hash=PlanHash(b"p" * 32),
            debits=[Debit(approval.account(one), 1, limit, refusal) for one in signed],
            also=[
                lambda c: rows.still_stands(c, session, PARTY),
                lambda c: rows.note_agreed(c, digest(number), session, b"plan"),
            ],
        )
        return session


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    store = Store.open(tmp_path / "state", entropy=random.Random(5).randbytes)
    yield State(store)
    store.close()


# ------------------------------------------------------------------------------------------------ requests


def test_a_request_is_kept_once(state: State) -> None:
    assert state.pend(pending())
    assert not state.pend(pending(closes_at=NOW))
    assert state.read(lambda c: rows.get_pending(c, digest(1))) == pending()
    assert state.read(rows.list_pending) == [pending()]
    assert state.read(lambda c: rows.get_pending(c, digest(2))) is None


def test_so_many_and_no_more(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPROVALS_OPEN_PER_ANALYST_MAX", 2)
    monkeypatch.setattr(limits, "APPROVALS_OPEN_MAX", 3)
    for number in (1, 2):
        state.pend(pending(number))
    with pytest.raises(Busy):
        state.pend(pending(3))
    assert state.pend(pending(3, b"b" * 32))
    with pytest.raises(Busy):
        state.pend(pending(4, b"c" * 32))


def test_what_is_over_takes_no_place(state: State) -> None:
    state.pend(pending(1))
    state.pend(pending(2))
    state.pend(pending(3, closes_at=NOW - 1))
    state.agree(1)
    assert state.write(lambda c: rows.mark_withdrawn(c, digest(2)))
    assert not state.write(lambda c: rows.mark_withdrawn(c, digest(2)))
    known = state.read(lambda c: rows.known(c, digest(9), QUESTION, b"a" * 32, NOW))
    assert (known.pending, known.open_of_analyst, known.open_of_all) == (None, 0, 0)


def test_a_request_is_named_by_the_beginning_of_its_digest(state: State) -> None:
    names = [RequestDigest(bytes.fromhex(text) + bytes(28)) for text in ("aabbccdd", "aabbccee")]
    for name in names:
        state.pend(pending(request_digest=name))
    assert state.read(lambda c: rows.find_pending(c, "AABBCCDD")).request_digest == names[0]
    for beginning in ("aabbcc", "aabb", "", "ffffffff"):
        with pytest.raises(NotFound):
            state.read(partial(rows.find_pending, beginning=beginning))


def test_a_beginning_that_is_too_short_names_nothing_even_if_it_is_the_only_one(state: State) -> None:
    """Or `approvals sign a` would mean another request tomorrow."""
    state.pend(pending(request_digest=RequestDigest(bytes.fromhex("aabbccdd") + bytes(28))))
    for beginning in ("", "a", "aabbc"):
        with pytest.raises(NotFound, match="no request"):
            state.read(partial(rows.find_pending, beginning=beginning))
    found = state.read(partial(rows.find_pending, beginning="aabbcc"))
    assert found.request_digest.hex().startswith("aabbccdd")


# ------------------------------------------------------------------------------------------------ rulings


def test_a_ruling_is_kept_once_with_what_it_was_used_for(state: State) -> None:
    signed = ruling()
    assert state.take(signed)
    assert not state.take(signed)
    (held,) = state.read(lambda c: rows.rulings(c, digest(1)))
    assert (held.signed, held.spent) == (signed, 0)
    state.agree(1, signed)
    (held,) = state.read(lambda c: rows.rulings(c, digest(1)))
    assert held.spent == 1


def test_an_approval_that_stands_lets_a_session_be_agreed_so_often(state: State) -> None:
    signed = ruling(subject=QUESTION, executions=2)
    state.take(signed)
    state.agree(1, signed, limit=2)
    state.agree(2, signed, limit=2)
    with pytest.raises(Refused, match="used up"):
        state.agree(3, signed, limit=2)


@pytest.mark.parametrize("verdict", ["withdraw", "deny"])
@pytest.mark.parametrize("who", [IDA, OTTO])
def test_what_was_taken_back_agrees_nothing(state: State, verdict: Verdict, who: SigningKey) -> None:
    """A withdrawal takes back one's own approval; a denial ends it whoever approved."""
    signed, taken = ruling(), ruling(verdict, who=who, at=NOW + 1)
    for one in (signed, taken):
        state.take(one)
    if verdict == "withdraw" and who is OTTO:
        state.agree(1, signed)
        return
    with pytest.raises(Refused, match="taken back"):
        state.agree(1, signed)
    assert state.read(lambda c: rows.session_of(c, digest(1))) is None


def test_a_ruling_that_is_not_kept_agrees_nothing(state: State) -> None:
    with pytest.raises(Refused, match="taken back"):
        state.agree(1, ruling())
    forged = SignedRuling(ruling().ruling, ruling(who=OTTO).signature)
    state.take(forged)
    with pytest.raises(Refused, match="taken back"):
        state.agree(1, forged)


def test_rulings_on_one_subject_have_a_limit(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RULINGS_PER_SUBJECT_MAX", 1)
    state.take(ruling())
    with pytest.raises(Busy):
        state.take(ruling(at=NOW + 1))


# ------------------------------------------------------------------------------------------------ waiting


def wait(state: State, number: int = 1, analyst: bytes = b"a" * 32) -> bool:
    return state.write(
        lambda c: rows.add_waiting(
            c, digest(number), b"request", analyst, canonical.encode({}), message="m", now=NOW, expires_at=NOW + DAY
        )
    )


def test_a_request_waits_until_it_is_over(state: State) -> None:
    assert wait(state)
    assert not wait(state)
    assert [row.request_digest for row in state.read(rows.list_waiting)] == [digest(1)]
    assert not state.write(lambda c: rows.forget_waiting(c, digest(1)))
    session = state.agree(1)
    assert state.write(lambda c: rows.change_waiting(c, digest(1), "released", "done", now=NOW + 1, result=b"r"))
    row = state.read(lambda c: rows.get_waiting(c, digest(1)))
    assert row is not None
    assert (row.state, row.session, row.plan, row.result, row.revision) == ("released", session, b"plan", b"r", 1)
    assert not state.write(lambda c: rows.change_waiting(c, digest(1), "failed", "late", now=NOW + 2))
    assert state.read(rows.list_waiting) == []
    assert state.write(lambda c: rows.forget_waiting(c, digest(1)))
    assert state.read(lambda c: rows.get_waiting(c, digest(1))) is None


def test_the_same_news_is_no_news(state: State) -> None:
    wait(state)
    assert not state.write(lambda c: rows.change_waiting(c, digest(1), "waiting", "m", now=NOW))
    assert state.write(lambda c: rows.change_waiting(c, digest(1), "waiting", "other", now=NOW))


def test_a_keeper_keeps_so_many(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPROVALS_OPEN_PER_ANALYST_MAX", 1)
    wait(state)
    with pytest.raises(Busy):
        wait(state, 2)
    wait(state, 2, b"b" * 32)
    monkeypatch.setattr(limits, "WAITING_RESULTS_BYTES_MAX", 3)
    state.write(lambda c: rows.change_waiting(c, digest(1), "released", "done", now=NOW, result=b"long"))
    with pytest.raises(Busy):
        wait(state, 3, b"c" * 32)


def test_a_keeper_keeps_so_many_of_all_analysts(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPROVALS_OPEN_MAX", 2)
    wait(state, 1, b"a" * 32)
    wait(state, 2, b"b" * 32)
    with pytest.raises(Busy):
        wait(state, 3, b"c" * 32)
    assert not wait(state, 2, b"b" * 32)


def test_what_nobody_can_use_any_more_goes(state: State) -> None:
    wait(state, 1)
    wait(state, 2, b"b" * 32)
    state.write(lambda c: rows.change_waiting(c, digest(1), "refused", "no", now=NOW))
    state.pend(pending())
    state.take(ruling())
    state.take(ruling("deny", at=NOW + 1))
    state.write(lambda c: rows.prune(c, NOW + DAY))
    assert state.read(lambda c: rows.get_waiting(c, digest(1))) is not None
    late = NOW + 4 * DAY + limits.APPROVAL_KEPT_SECONDS * 1000
    state.write(lambda c: rows.prune(c, late))
    assert state.read(lambda c: rows.get_waiting(c, digest(1))) is None
    assert state.read(lambda c: rows.get_waiting(c, digest(2))) is not None, "it still waits"
    assert state.read(rows.list_pending) == []
    left = state.read(lambda c: rows.rulings(c, digest(1)))
    assert [held.signed.ruling.verdict for held in left] == ["deny"], "what takes back outlives what it takes back"
