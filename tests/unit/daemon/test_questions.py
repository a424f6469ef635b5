"""Parties that ask each other, over messages in memory that pass the real codec."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from mpcd import limits
from mpcd.daemon.questions import Questions, Send
from mpcd.errors import Bug, Busy, MethodUnknown, NotFound, PeerFault, PeerGone
from mpcd.ids import PartyId
from mpcd.session import questions
from mpcd.session.questions import Map
from mpcd.testing.channels import seeded_entropy
from mpcd.wire import CONTROL

A, B, C = PartyId(0), PartyId(1), PartyId(2)


@dataclass
class Talk:
    """Three parties; `away` ones cannot be reached, `mute` ones never hear."""

    away: set[PartyId] = field(default_factory=set)
    mute: set[PartyId] = field(default_factory=set)
    parties: dict[PartyId, Questions] = field(default_factory=dict)
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for me in (A, B, C):
            self.parties[me] = Questions(
                {A, B, C} - {me},
                self._sender(me),
                seeded_entropy(f"{me}"),
                lambda event, **_: self.logged.append(event),
            )

    def _sender(self, me: PartyId) -> Send:
        async def send(party: PartyId, message: Map) -> None:
            encoded = CONTROL.encode(message)
            await trio.lowlevel.checkpoint()
            if party in self.away:
                raise PeerGone(party, "not connected")
            if party not in self.mute:
                assert self.parties[party].receive(me, dict(CONTROL.decode(encoded)))

        return send


@pytest.fixture
async def talk(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> Talk:
    talk = Talk()
    for party in talk.parties.values():
        await nursery.start(party.run)
    return talk


async def echo(party: PartyId, payload: Map) -> Map:
    await trio.lowlevel.checkpoint()
    return {"from": int(party), **payload}


async def test_all_others_are_asked_and_each_knows_who_asks(talk: Talk) -> None:
    for party in (B, C):
        talk.parties[party].handle("echo", echo)
    assert await talk.parties[A].ask("echo", {"x": 1}) == {B: {"from": 0, "x": 1}, C: {"from": 0, "x": 1}}


async def test_what_stands_in_the_way_is_a_value_per_party(talk: Talk) -> None:
    async def no(_party: PartyId, _payload: Map) -> Map:
        await trio.lowlevel.checkpoint()
        raise NotFound("nothing here")

    talk.parties[B].handle("echo", no)
    talk.away.add(C)
    replies = await talk.parties[A].ask("echo", {})
    assert isinstance(replies[B], NotFound)
    assert isinstance(replies[C], PeerGone)


async def test_an_unknown_kind_is_said_to_be_unknown(talk: Talk) -> None:
    assert isinstance((await talk.parties[A].ask("what", {}, [B]))[B], MethodUnknown)


async def test_the_deadline_names_the_silent_party(talk: Talk) -> None:
    talk.mute.add(B)
    reply = (await talk.parties[A].ask("echo", {}, [B], seconds=3.0))[B]
    assert isinstance(reply, PeerGone)
    assert reply.party == B


async def test_a_lost_channel_ends_the_wait_at_once(talk: Talk, nursery: trio.Nursery) -> None:
    talk.mute.add(B)
    nursery.start_soon(_lose, talk.parties[A])
    before = trio.current_time()
    reply = (await talk.parties[A].ask("echo", {}, [B], seconds=1000.0))[B]
    assert isinstance(reply, PeerGone)
    assert trio.current_time() - before < 1000.0


async def _lose(party: Questions) -> None:
    await trio.sleep(1.0)
    party.lost(B)


async def test_a_bug_in_a_handler_tells_the_peer_nothing_and_is_logged(talk: Talk) -> None:
    async def broken(_party: PartyId, _payload: Map) -> Map:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a secret")

    talk.parties[B].handle("echo", broken)
    reply = (await talk.parties[A].ask("echo", {}, [B]))[B]
    assert isinstance(reply, PeerFault)
    assert "secret" not in str(reply)
    assert talk.logged == ["peer_question_failed"]


async def test_an_answer_that_is_too_long_is_an_error_at_the_asker(talk: Talk) -> None:
    async def huge(_party: PartyId, _payload: Map) -> Map:
        await trio.lowlevel.checkpoint()
        return {"x": bytes(limits.PEER_REPLY_BYTES_MAX)}

    talk.parties[B].handle("echo", huge)
    assert isinstance((await talk.parties[A].ask("echo", {}, [B]))[B], PeerFault)


async def test_a_third_party_cannot_answer_for_the_one_that_was_asked(talk: Talk, nursery: trio.Nursery) -> None:
    asked: list[Map] = []

    async def remember(_party: PartyId, message: Map) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(message)

    asker = Questions([B, C], remember, seeded_entropy("asker"), lambda *_, **__: None)
    replies: dict[PartyId, object] = {}

    async def ask() -> None:
        replies.update(await asker.ask("echo", {}, [B]))

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    question = asked[0]["id"]
    assert isinstance(question, bytes)
    assert asker.receive(C, questions.reply(question, {"lie": True}))
    await trio.testing.wait_all_tasks_blocked()
    assert not replies
    assert asker.receive(B, questions.reply(question, {"truth": True}))
    await trio.testing.wait_all_tasks_blocked()
    assert replies == {B: {"truth": True}}


async def test_a_flood_is_refused_and_then_dropped_and_others_are_served(talk: Talk, nursery: trio.Nursery) -> None:
    gate = trio.Event()

    async def slow(_party: PartyId, _payload: Map) -> Map:
        await gate.wait()
        return {}

    talk.parties[B].handle("slow", slow)
    talk.parties[B].handle("echo", echo)
    kinds: list[object] = []

    async def one() -> None:
        reply = (await talk.parties[A].ask("slow", {}, [B]))[B]
        kinds.append(type(reply))

    for _ in range(limits.PEER_QUESTIONS_AT_ONCE_MAX + 3):
        nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    assert kinds == [Busy, Busy, Busy]
    assert await talk.parties[C].ask("echo", {}, [B]) == {B: {"from": 2}}
    gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert kinds.count(dict) == limits.PEER_QUESTIONS_AT_ONCE_MAX


async def test_one_handler_per_kind_and_only_others_are_asked(talk: Talk) -> None:
    talk.parties[A].handle("echo", echo)
    with pytest.raises(Bug):
        talk.parties[A].handle("echo", echo)
    with pytest.raises(Bug):
        await talk.parties[A].ask("echo", {}, [A])
