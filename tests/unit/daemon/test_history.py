"""The desk for differencing: what an owner lists, in which order, and where it gets what it lacks."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from mpcd import canonical, limits
from mpcd.compile.beside import Beside
from mpcd.daemon.history import DEFINITIONS, RULE, History, Map
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import Busy, MpcdError, PeerGone, PeerMalformed, PeerUnvouched
from mpcd.governance.history import DAY_MILLISECONDS, DIGEST_BYTES, Definition, question
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


# ------------------------------------------------------------------------------------------------ hostile definitions

SEEDS = (
    "SELECT COUNT(*) FROM gbsg2 WHERE age > 60",
    "SELECT menostat, age // 10, AVG(pnodes) FROM gbsg2 WHERE progrec < estrec AND horTh = 'yes' GROUP BY 1, 2",
    "SELECT progrec + estrec, COUNT(*) FROM gbsg2 WHERE tsize < 9 AND progrec + estrec < 9 GROUP BY 1",
    "SELECT ward, SUM(los) FROM visits JOIN patients ON visits.pid = patients.pid WHERE crp > 3 GROUP BY ward",
)
NASTY: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 120, 2**31, 2**62, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, float("inf")),
    *("", "0", "-1", "age", "pid", "gbsg2", "visits", "column", "constant", "/", "//", "and", "not", "in", "left"),
    *(str(2**63 - 1), str(-(2**63)), str(2**64), "9" * 400, "9" * 5000, "\u0661", "+1", " 1"),
    *(b"", bytes(32), b"x" * 33, [], [[]], [0, 0], {}, {"source": 0, "name": "age"}),
)
Place = tuple[str | int, ...]


def places(value: canonical.Value, here: Place = ()) -> Iterator[Place]:
    """All places in a value."""
    yield here
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from places(inner, (*here, name))


def put(value: Any, where: Place, what: Callable[[Any], Any]) -> Any:
    """The value with another one at a place."""
    if not where:
        return what(value)
    copy = value.copy()
    copy[where[0]] = put(value[where[0]], where[1:], what)
    return copy


def mutated(value: canonical.Value, rng: random.Random) -> canonical.Value:
    """One or a few places changed: to something nasty, by a little, deeper, twice, or gone."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        where = rng.choice(list(places(value)))

        def other(old: Any) -> Any:
            match rng.randrange(6):
                case 0 if type(old) is int:
                    return old + rng.choice((-1, 1, 2**40, -(2**40)))
                case 0 if isinstance(old, str) and old.lstrip("-").isdigit():
                    return str(int(old[:400]) + rng.choice((-1, 1, 2**61, -(2**61))))
                case 1 if isinstance(old, list):
                    return [*old, *old]
                case 2 if isinstance(old, list):
                    return old[:-1]
                case 3:
                    return ["not", old]
                case 4:
                    return functools.reduce(lambda inner, _: ["negate", inner], range(40), old)
                case _:
                    return rng.choice(NASTY)

        value = put(value, where, other)
    return value


@pytest.mark.parametrize("seed", range(4))
async def test_no_value_in_a_peers_definition_is_more_than_a_typed_error(desk: Desk, seed: int) -> None:
    rng = random.Random(seed)
    mine = plan_sql(SEEDS[seed], ROSTER, dt.date(2026, 1, 1))
    without = replace(mine, owners=tuple(owner for owner in mine.owners if owner != ME))
    genuine = question(mine, ROSTER).definition.to_value()
    outcomes = {"taken": 0, "refused": 0}
    for _ in range(700):
        try:
            body = canonical.encode(mutated(cast("canonical.Value", genuine), rng))
        except (canonical.CanonicalError, UnicodeEncodeError):
            continue
        desk.peers[OTHER] = {"bodies": [body], "requests": [SIGNED]}
        try:
            await desk.history.beside(without, {OTHER: canonical.digest_bytes("history", body)})
        except MpcdError:
            outcomes["refused"] += 1
        else:
            outcomes["taken"] += 1
    assert outcomes["refused"] > 400
    assert outcomes["taken"] > 5, "what passes is planned with"


async def test_any_bytes_from_a_peer_are_a_typed_error(desk: Desk) -> None:
    rng = random.Random(9)
    whole = question(OLD, ROSTER).definition.body
    for _ in range(500):
        body = bytearray(whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 5)):
            if body:
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        desk.peers[OTHER] = {"bodies": [bytes(body)], "requests": [SIGNED]}
        with contextlib.suppress(MpcdError):
            await desk.history.beside(YOUNG, {OTHER: canonical.digest_bytes("history", bytes(body))})
    assert desk.asked, "they were asked for"


async def test_a_definition_by_person_ids_or_beyond_its_bounds_is_the_peers_fault(desk: Desk) -> None:
    """Columns that no request may use, values that a column cannot have, codes that an expression has not."""
    join = plan_sql(SEEDS[3], ROSTER, dt.date(2026, 1, 1))
    value = question(join, ROSTER).definition.to_value()
    (columns, rest), *_ = cast("list[Any]", value["sets"])
    keys = cast("list[Any]", value["keys"])
    forged = [
        {**value, "sets": [[[[0, "pid", [["7", "7"]], False]], rest]]},
        {**value, "sets": [[[[0, "nothing", [["7", "7"]], False]], rest]]},
        {**value, "sets": [[[[0, "ward", [["7", str(2**62)]], False]], rest]]},
        {**value, "sets": [[columns, [["compare", "=", ["column", 0, "pid"], ["constant", 7]]]]]},
        {**value, "keys": [[keys[0][0], str(-(2**62)), *keys[0][2:]]]},
        {**value, "keys": [[keys[0][0], str(1 - 2**63), *keys[0][2:]]]},
        {**value, "keys": [[*keys[0][:2], 1, keys[0][3]]]},
    ]
    for one in forged:
        body = canonical.encode(one)
        desk.peers[OTHER] = {"bodies": [body], "requests": [SIGNED]}
        with pytest.raises(PeerMalformed):
            await desk.history.beside(join, {OTHER: canonical.digest_bytes("history", body)})
    assert desk.vouched == []


async def test_a_definition_of_a_table_that_the_roster_describes_otherwise_needs_no_request(desk: Desk) -> None:
    tables: canonical.Value = [["gbsg2", bytes(32)]]
    body = canonical.encode({**question(OLD, ROSTER).definition.to_value(), "tables": tables})
    desk.peers[OTHER] = {"bodies": [body], "requests": [SIGNED]}
    desk.is_honest = False
    found = await desk.history.beside(YOUNG, {OTHER: canonical.digest_bytes("history", body)})
    assert {family.definition for family in found.families} == {question(YOUNG, ROSTER).definition}
    assert len(found.pairs) == 0


# ------------------------------------------------------------------------------------------------ joins and floods


@pytest.mark.parametrize("share", [1, 2])
async def test_floods_about_the_tables_of_a_join_push_nothing_young_out_of_its_list(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """Each table holds fewer than may be kept, all together more than a list holds: refused, not cut."""
    monkeypatch.setattr(limits, "HISTORY_DEFINITIONS_MAX", 8)
    monkeypatch.setattr(limits, "HISTORY_LISTED_MAX", 6)
    join = plan_sql(SEEDS[3], ROSTER, dt.date(2026, 1, 1))
    matters = plan_sql("SELECT COUNT(*) FROM visits WHERE crp > 5", ROSTER, dt.date(2026, 1, 1))
    desk.answer("matters", matters, analyst=b"victim".ljust(32))
    for number in range(3):
        for place, (table, column) in enumerate((("visits", "los"), ("patients", "born"))):
            of = plan_sql(
                f"SELECT COUNT(*) FROM {table} WHERE {column} > {number + 1 if place == 0 else 1950 + number}",
                ROSTER,
                dt.date(2026, 1, 1),
            )
            who = (b"%d" % (place % share)).ljust(32)
            if number < 2 or place == 0:
                desk.answer(f"{table}{number}", of, analyst=who)
    listed = desk.answer("first", join, dry_run=True, analyst=b"asks".ljust(32))
    assert len(listed) == 6
    assert digest(matters) in listed
    desk.answer(
        "one more",
        plan_sql("SELECT COUNT(*) FROM patients WHERE born > 1999", ROSTER, dt.date(2026, 1, 1)),
    )
    packed, refusals = desk.history.answer(b"x", request("x", b"asks".ljust(32)), join, NOW, dry_run=True)
    assert packed == b""
    assert [(reason.rule, reason.subject) for reason in refusals] == [(RULE, "patients, visits")]
    assert "or later" in refusals[0].message
    later = NOW + limits.HISTORY_DAYS_MIN * DAY_MILLISECONDS
    packed, refusals = desk.history.answer(b"x", request("x", b"asks".ljust(32)), join, later, dry_run=True)
    assert len(packed) == 6 * DIGEST_BYTES, "what is old makes room"
    assert not refusals
