"""The desk for differencing: what an owner lists, in which order, and where it gets what it lacks."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from mpcd import limits
from mpcd.compile.beside import Beside
from mpcd.daemon.history import DEFINITIONS, RULE, History, Map
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import Busy, MpcdError, PeerGone, PeerMalformed, PeerUnvouched
from mpcd.governance.history import DIGEST_BYTES, Definition, question
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.roster.parse import parse
from mpcd.store import Store

T = TypeVar("T")
ROSTER = parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())
ME, OTHER = PartyId(0), PartyId(1)
NOW = 10**12
SIGNED = b"as the analyst signed it"


def plan(condition: str) -> LogicalPlan:
    return plan_sql(f"SELECT COUNT(*) FROM gbsg2 WHERE {condition}", ROSTER, dt.date(2026, 1, 1))


OLD, YOUNG = plan("age > 60"), plan("age < 40")


def digest(of: LogicalPlan) -> bytes:
    return question(of, ROSTER).definition.digest


def request(name: str, analyst: bytes = b"a" * 32, privacy: bytes | None = None) -> SignedRequest:
    inner = SimpleNamespace(analyst=SimpleNamespace(raw=analyst), privacy=privacy)
    made = SimpleNamespace(request=inner, digest=lambda: name.encode().ljust(32), to_bytes=lambda: SIGNED)
    return cast("SignedRequest", made)


class Journal(StoreJournal):
    """At once."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()


class Desk:
    """A history on a store of its own, and peers that it can ask."""

    def __init__(self, directory: Path, me: PartyId = ME) -> None:
        directory.mkdir(mode=0o700)
        self.store = Store.open(directory, entropy=random.Random(1).randbytes)
        self.peers: dict[PartyId, History | MpcdError | Map] = {}
        self.asked: list[int] = []
        journal = Journal(self.store, me, lambda: NOW / 1000, lambda: bytes(32))
        self.history = History(me, ROSTER, journal, self._ask, self._at_once)
        self.history.vouch = self._vouch
        self.vouched: list[tuple[PartyId, bytes, bytes]] = []
        """By whom, for what, with what."""
        self.is_honest = True

    async def _ask(self, kind: str, payload: Map, parties: Sequence[PartyId]) -> Mapping[PartyId, Map | MpcdError]:
        assert kind == DEFINITIONS
        self.asked.append(len(cast("bytes", payload["digests"])) // DIGEST_BYTES)
        (party,) = parties
        peer = self.peers[party]
        return {party: await peer.asked(ME, payload) if isinstance(peer, History) else peer}

    async def _vouch(self, party: PartyId, definition: Definition, shown: bytes) -> SignedRequest:
        self.vouched.append((party, definition.digest, shown))
        if not self.is_honest:
            raise PeerUnvouched(party, "not so")
        return request("another's")

    def notes(self) -> list[dict[str, object]]:
        """What the ledger says of definitions that we had not answered."""
        rows = self.store.ledger_entries(0, 100)
        return [cast("dict[str, object]", row.content) for row in rows if row.kind == "vouched"]

    def forget(self) -> None:
        """As after a restart that found nothing agreed."""
        self.history._pending.clear()
        self.history._asked_now.clear()
        self.history._book.clear()

    @staticmethod
    async def _at_once(work: Callable[[], Beside]) -> Beside:
        return work()

    def answer(self, attempt: str, of: LogicalPlan, *, dry_run: bool = False, **changes: Any) -> list[bytes]:
        asked = request(attempt, **changes)
        packed, refusals = self.history.answer(attempt.encode(), asked, of, NOW, dry_run=dry_run)
        assert not refusals
        return [packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "mine")


@pytest.fixture
def other(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "other", OTHER)


async def test_of_two_at_once_the_later_one_sees_the_earlier(desk: Desk) -> None:
    assert desk.answer("one", OLD) == []
    assert desk.answer("two", YOUNG) == [digest(OLD)]
    assert desk.answer("three", OLD) == [], "it stands before the other, whoever asks again"


async def test_what_ended_without_agreement_is_forgotten(desk: Desk) -> None:
    desk.answer("one", OLD)
    await desk.history.over(b"one")
    assert desk.answer("two", YOUNG) == []


async def test_explaining_registers_nothing(desk: Desk) -> None:
    assert desk.answer("one", OLD, dry_run=True) == []
    assert desk.answer("two", YOUNG) == []
    assert desk.answer("three", OLD, dry_run=True) == [digest(YOUNG)]


async def test_noisy_questions_neither_list_nor_stand(desk: Desk) -> None:
    desk.answer("one", OLD)
    assert desk.answer("two", YOUNG, privacy=b"ask") == []
    assert desk.answer("three", plan("age = 50")) == [digest(OLD)]


async def test_a_flood_is_refused_with_a_name_and_no_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_DEFINITIONS_MAX", 4)
    desk.answer("one", OLD)
    desk.answer("two", YOUNG)
    packed, refusals = desk.history.answer(b"three", request("three"), plan("age = 50"), NOW, dry_run=False)
    assert packed == b""
    assert [(reason.rule, reason.subject) for reason in refusals] == [(RULE, "gbsg2")]
    assert desk.answer("four", plan("age = 50"), analyst=b"b" * 32) == sorted([digest(OLD), digest(YOUNG)])


async def test_what_does_not_fit_the_list_is_refused_and_not_left_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HISTORY_LISTED_MAX", 1)
    desk.answer("one", OLD)
    desk.answer("two", YOUNG)
    packed, refusals = desk.history.answer(b"three", request("three"), plan("age = 50"), NOW, dry_run=False)
    assert packed == b""
    assert [reason.rule for reason in refusals] == [RULE]


async def test_a_definition_that_only_another_knows_is_fetched_from_it(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.peers[OTHER] = other.history
    found = await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    assert len(found.families) == 2
    await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    assert desk.asked == [1], "what came once is remembered"
    assert desk.vouched == [(OTHER, digest(OLD), SIGNED)]
    assert [(note["by"], note["about"], note["reason"]) for note in desk.notes()] == [("party 1", "gbsg2", "")]


async def test_what_no_request_vouches_for_ends_the_session_and_names_who_listed_it(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.peers[OTHER] = other.history
    desk.is_honest = False
    for tries in (1, 2):
        with pytest.raises(PeerUnvouched) as caught:
            await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
        assert caught.value.party == OTHER
        assert len(desk.notes()) == tries, "nothing was remembered from the last time"
    assert str(desk.notes()[0]["reason"]).startswith("not taken")


async def test_without_anybody_who_checks_requests_nothing_is_taken(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.peers[OTHER] = other.history
    desk.history.vouch = None
    with pytest.raises(Busy):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})


async def test_what_we_answer_ourselves_needs_no_request(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.answer("mine", OLD)
    desk.history._book.clear()
    desk.peers[OTHER] = other.history
    desk.is_honest = False
    assert len((await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})).families) == 2
    await desk.history.over(b"mine")
    with pytest.raises(PeerUnvouched):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    desk.store.write(
        lambda c, _: c.execute("INSERT INTO definition_answered VALUES (?)", (digest(OLD),)), now=NOW / 1000
    )
    await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    desk.forget()
    await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    assert not any(note["reason"] == "" for note in desk.notes())


async def test_what_was_heard_of_while_we_gave_no_data_is_checked_once_we_do(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.peers[OTHER] = other.history
    desk.is_honest = False
    without = replace(YOUNG, owners=tuple(owner for owner in YOUNG.owners if owner != ME))
    await desk.history.beside(without, {OTHER: digest(OLD)})
    assert desk.vouched == []
    with pytest.raises(PeerUnvouched):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})


async def test_an_earlier_question_without_our_data_needs_no_request(desk: Desk, other: Desk) -> None:
    theirs = replace(OLD, owners=(OTHER,))
    other.answer("one", theirs)
    desk.peers[OTHER] = other.history
    desk.is_honest = False
    await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(theirs)})
    assert desk.vouched == []


async def test_nobody_lists_a_question_to_which_it_gave_no_data(desk: Desk) -> None:
    mine = replace(OLD, owners=(ME, PartyId(2)))
    desk.peers[OTHER] = {"bodies": [question(mine, ROSTER).definition.body], "requests": [SIGNED]}
    with pytest.raises(PeerMalformed):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(mine)})


@pytest.mark.parametrize("reply", [PeerGone(OTHER, "away"), {"bodies": [], "requests": []}])
async def test_a_definition_that_does_not_come_is_busy(desk: Desk, reply: Map | MpcdError) -> None:
    desk.peers[OTHER] = reply
    with pytest.raises(Busy):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})


@pytest.mark.parametrize("bodies", ["text", [b"x"], [3], None])
async def test_a_reply_of_another_form_names_the_peer(desk: Desk, bodies: object) -> None:
    desk.peers[OTHER] = {"bodies": bodies, "requests": [SIGNED]}
    with pytest.raises(PeerMalformed):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})


async def test_another_definition_than_the_one_listed_is_no_answer(desk: Desk) -> None:
    desk.peers[OTHER] = {"bodies": [question(YOUNG, ROSTER).definition.body], "requests": [SIGNED]}
    desk.answer("young", YOUNG)
    with pytest.raises(Busy):
        await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})


async def test_peers_are_given_what_we_listed_and_nothing_else(desk: Desk, other: Desk) -> None:
    other.answer("one", OLD)
    desk.peers[OTHER] = other.history
    await desk.history.beside(YOUNG, {ME: b"", OTHER: digest(OLD)})
    nothing: Map = {"bodies": [], "requests": []}
    assert await desk.history.asked(OTHER, {"digests": digest(OLD)}) == nothing, "that is another's to give"
    assert await desk.history.asked(OTHER, {"digests": 3}) == nothing
    reply = await other.history.asked(ME, {"digests": digest(OLD) + digest(YOUNG)})
    assert reply == {"bodies": [question(OLD, ROSTER).definition.body], "requests": [SIGNED]}
