"""Sessions of several parties under crashes, losses, lies and repetition.

Must hold, whatever happens (`World.check`, and at every message that is sent):
    - sealed bytes leave a party only after everybody who takes part has recorded the session;
    - every session ends exactly once on the record of every honest party that lives: aborted before it was recorded,
      released or withheld after; nowhere aborted where it is released elsewhere;
    - every ledger verifies, no daemon has met a bug, none still runs a session, and the next question is answered.

Need not hold:
    - that all end alike: one may withhold what another has released, if a word was lost between them;
    - that an answer comes although somebody crashed, lies or is silent: it must not be wrong, and must not take longer
      than the deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from mpcd.daemon.attempt import Nobody
from mpcd.errors import (
    AwaitingApproval,
    CallerFault,
    Cancelled,
    ClockSkew,
    DeadlineExceeded,
    MpcdError,
    PeerGone,
    PlanMismatch,
    Refusal,
    Refused,
    ResultWithheld,
    SessionFault,
)
from mpcd.governance.decision import Wait
from mpcd.ids import PartyId
from mpcd.session import messages

if TYPE_CHECKING:
    from tests.simulation.conftest import Message, World

Consortium = Callable[..., AbstractAsyncContextManager["World"]]

RELEASED = ["agreed", "recorded", "released"]
WITHHELD = ["agreed", "recorded", "withheld"]
ABORTED = ["agreed", "aborted"]


def lives(world: World) -> list[list[list[str]]]:
    """Per living party, the lives of its sessions."""
    return [list(hospital.lives().values()) for hospital in world.hospitals if hospital.alive]


async def next_question(world: World, party: int = 0) -> None:
    """The consortium goes on."""
    assert await world.ask(party) == world.truth
    await world.settle(10)
    world.check()


# ------------------------------------------------------------------------------------------------ all is well


@pytest.mark.parametrize(("parties", "seed"), [(3, 1), (3, 2), (5, 3), (5, 4)])
async def test_an_honest_run_is_answered_and_on_every_record(
    autojump_clock: MockClock, consortium: Consortium, parties: int, seed: int
) -> None:
    async with consortium(parties=parties, seed=seed) as world:
        for party in range(parties):
            assert await world.ask(party) == world.truth
        await world.settle(10)
        assert lives(world) == [[RELEASED] * parties] * parties
        world.check()


async def test_who_takes_no_part_has_nothing_on_record(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium(parties=5, owners=4) as world:
        assert await world.ask() == world.truth
        await world.settle(10)
        assert lives(world) == [[RELEASED]] * 4 + [[]]
        world.check()
        assert await world.ask(4) == world.truth, "as proposer it does take part"
        await world.settle(10)
        assert lives(world)[4] == [RELEASED]
        world.check()


async def test_an_explanation_leaves_nothing_behind(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[1].reasons = [Refusal(PartyId(1), "column-use", "t.age", "no")]
        request, _ = world.request(kind="explain")
        for _ in range(3):
            explanation = await world.hospitals[0].sessions.explain(request)
            assert explanation.refusals == tuple(world.hospitals[1].reasons)
        world.hospitals[1].reasons = []
        await world.settle(10)
        assert lives(world) == [[], [], []]
        assert [hospital.refused_count() for hospital in world.hospitals] == [0, 0, 0]
        await next_question(world)


async def test_an_explanation_is_signed_as_one(autojump_clock: MockClock, consortium: Consortium) -> None:
    """Nobody's request to explain can be run, and a request to run is no leave to ask around for nothing."""
    async with consortium() as world:
        with pytest.raises(CallerFault, match="another kind"):
            await world.submit(0, world.request(kind="explain")[0])
        with pytest.raises(CallerFault, match="another kind"):
            await world.hospitals[0].sessions.explain(world.request()[0])
        await world.settle(10)
        assert lives(world) == [[], [], []]
        await next_question(world)


async def test_several_sessions_at_once(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium(parties=4, seed=9) as world:
        async with trio.open_nursery() as nursery:
            for party in (0, 1, 2, 3, 0, 1):
                nursery.start_soon(next_answer, world, party)
        await world.settle(10)
        assert lives(world) == [[RELEASED] * 6] * 4
        world.check()


async def next_answer(world: World, party: int) -> None:
    assert await world.ask(party) == world.truth


# ------------------------------------------------------------------------------------------------ people decide


def waits(party: int) -> Wait:
    return Wait(PartyId(party), "approval", "request", f"1 of 1 approval at party {party} still missing")


async def test_what_people_must_allow_waits_and_is_used_up_nowhere(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    """Only who waits for its people keeps the request; once they have decided, the same request runs, once."""
    async with consortium() as world:
        for party in (1, 2):
            world.hospitals[party].waits = [waits(party)]
        request, key = world.request(wait_seconds=3600)
        for _ in range(2):
            with pytest.raises(AwaitingApproval, match=r"at party 1 .* at party 2"):
                await world.submit(0, request)
        await world.settle(10)
        assert lives(world) == [[], [], []]
        assert [hospital.refused_count() for hospital in world.hospitals] == [0, 0, 0]
        assert [set(hospital.kept) for hospital in world.hospitals] == [set()] + [{(request.digest(), PartyId(0))}] * 2
        for hospital in world.hospitals:
            hospital.waits = []
        assert world.row(await world.submit(0, request), request, key) == world.truth
        await world.settle(10)
        assert lives(world) == [[RELEASED]] * 3
        with pytest.raises(MpcdError):
            await world.submit(0, request)
        await world.settle()
        assert lives(world) == [[RELEASED]] * 3
        world.check()


async def test_a_refusal_beside_a_wait_is_final(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[1].waits = [waits(1)]
        world.hospitals[2].reasons = [Refusal(PartyId(2), "approval-denied", "request", "not this year")]
        request, _ = world.request(wait_seconds=3600)
        with pytest.raises(Refused, match="not this year"):
            await world.submit(0, request)
        await world.settle(10)
        assert [hospital.refused_count() for hospital in world.hospitals] == [1, 1, 1]
        assert not any(hospital.kept for hospital in world.hospitals)
        await next_question_without_waits(world)


async def test_what_does_not_wait_is_refused(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[1].waits = [waits(1)]
        with pytest.raises(Refused, match="still missing"):
            await world.submit(0, world.request()[0])
        await world.settle(10)
        assert [hospital.refused_count() for hospital in world.hospitals] == [1, 1, 1]
        assert not any(hospital.kept for hospital in world.hospitals)


async def test_an_absent_party_uses_up_no_request_that_may_wait(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        request, key = world.request(wait_seconds=3600)
        world.hospitals[2].crash()
        with pytest.raises(PeerGone):
            await world.submit(0, request)
        await world.settle(10)
        await world.hospitals[2].start()
        assert world.row(await world.submit(0, request), request, key) == world.truth
        await world.settle(10)
        world.check()


async def next_question_without_waits(world: World) -> None:
    for hospital in world.hospitals:
        hospital.waits, hospital.reasons = [], []
    await next_question(world)


# ------------------------------------------------------------------------------------------------ no agreement


async def test_two_refusals_come_with_every_reason_and_stand_on_every_record(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium(parties=5) as world:
        reasons = {
            1: [Refusal(PartyId(1), "column-use", "t.age: aggregate", "not that")],
            4: [Refusal(PartyId(4), "purpose", "t", "not for that"), Refusal(PartyId(4), "analyst", "x", "who?")],
        }
        for party, own in reasons.items():
            world.hospitals[party].reasons = own
        request, _ = world.request()
        with pytest.raises(Refused) as refused:
            await world.submit(0, request)
        assert refused.value.reasons == (*reasons[1], *reasons[4])
        await world.settle(10)
        assert [hospital.refused_count() for hospital in world.hospitals] == [1] * 5
        assert lives(world) == [[]] * 5
        for party in reasons:
            world.hospitals[party].reasons = []
        with pytest.raises(CallerFault, match="used before"):
            await world.submit(0, request)
        await next_question(world)


async def test_a_plan_that_differs_is_named(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[2].sql = lambda sql: sql.replace("SUM(age)", "SUM(size)")
        started = trio.current_time()
        with pytest.raises(PlanMismatch, match=r"parties 0 and 2 planned .* differently in: .*values"):
            await world.ask()
        assert trio.current_time() - started < 5
        world.hospitals[2].sql = lambda sql: sql
        await world.settle(10)
        await next_question(world)


async def test_clocks_that_differ_are_named(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[1].skew_seconds = 61.0
        with pytest.raises(ClockSkew, match=r"party 1: the clock of party 0, .* differs from ours by 61 s"):
            await world.ask()
        world.hospitals[1].skew_seconds = 59.0
        await next_question(world)


async def test_an_expired_request_and_one_for_another_consortium(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        old, _ = world.request(age_seconds=1000)
        with pytest.raises(CallerFault, match="expired"):
            await world.submit(0, old)
        await world.settle(10)
        assert lives(world) == [[], [], []]
        await next_question(world)


# ------------------------------------------------------------------------------------------------ lies


@pytest.mark.parametrize(("liar", "victim"), [(2, 1), (2, 0), (4, 1), (4, 3), (0, 1)])
async def test_different_answers_to_two_parties_never_give_a_result(
    autojump_clock: MockClock, consortium: Consortium, liar: int, victim: int
) -> None:
    async with consortium(parties=5, seed=liar * 10 + victim) as world:

        def meddle(sender: int, receiver: int, message: Message) -> list[Message] | None:
            if (sender, receiver, message["type"]) != (liar, victim, messages.ANSWER):
                return None
            answer = dict(message["answer"])  # type: ignore[call-overload]
            return [{**message, "answer": {**answer, "nonce": bytes(32)}}]

        world.wire.meddle = meddle
        with pytest.raises(MpcdError) as ended:
            await world.ask(1)
        assert isinstance(ended.value, (SessionFault, PeerGone)), ended.value
        await world.settle()
        assert not any(message["type"] == messages.RELEASE for _, _, message in world.wire.sent)
        world.check(honest=[party for party in range(5) if party != liar])
        world.wire.meddle = lambda _sender, _receiver, _message: None
        await next_question(world)


async def test_a_malformed_answer_is_rejected_and_its_sender_named(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:

        def meddle(sender: int, _receiver: int, message: Message) -> list[Message] | None:
            if sender == 2 and message["type"] == messages.ANSWER:
                return [{**message, "answer": {**dict(message["answer"]), "party": 1}}]  # type: ignore[call-overload]
            return None

        world.wire.meddle = meddle
        with pytest.raises(PeerGone) as ended:
            await world.ask()
        assert ended.value.party in {2, None}
        assert {error.party for error in world.rejected} == {2}
        world.wire.meddle = lambda _sender, _receiver, _message: None
        await world.settle()
        await next_question(world)


async def test_an_acknowledgement_of_another_session_is_none(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:

        def meddle(sender: int, _receiver: int, message: Message) -> list[Message] | None:
            if sender == 1 and message["type"] == messages.RECORDED:
                return [{**message, "session": bytes(32)}]
            return None

        world.wire.meddle = meddle
        with pytest.raises(ResultWithheld, match="not acknowledged by parties: 1"):
            await world.ask()
        await world.settle()
        # Party 1 has everybody's word and releases; the others have not its word and withhold.
        assert not any(sender != 1 and message["type"] == messages.RELEASE for sender, _, message in world.wire.sent)
        world.check()


async def test_a_stranger_to_the_session_cannot_end_it(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium(parties=5, owners=4) as world:

        def meddle(sender: int, _receiver: int, message: Message) -> list[Message] | None:
            if sender == 4 and message["type"] == messages.ANSWER:
                abort: Message = {"type": messages.ABORT, "attempt": message["attempt"], "code": "x", "message": "y"}
                return [abort, message]
            return None

        world.wire.meddle = meddle
        await next_question(world)


# ------------------------------------------------------------------------------------------------ crashes

STEPS = {
    "planned": 1,
    f"sent {messages.ANSWER}": 1,
    "agreed": 1,
    "exchange": 4,
    "before recorded": 1,
    "recorded": 1,
    f"sent {messages.RECORDED}": 1,
}
BEFORE_RECORDED = ("planned", f"sent {messages.ANSWER}", "agreed", "exchange")
NEVER_RECORDED = (*BEFORE_RECORDED, "before recorded")


@pytest.mark.parametrize("victim", [0, 1, 4], ids=["proposes", "computes", "gives data"])
@pytest.mark.parametrize("step", STEPS, ids=[step.replace(" ", "-") for step in STEPS])
@pytest.mark.parametrize("back", [True, False], ids=["comes back", "stays away"])
async def test_a_crash_at_every_step(
    autojump_clock: MockClock, consortium: Consortium, step: str, victim: int, back: bool
) -> None:
    async with consortium(parties=5, seed=victim) as world:
        asker = 0
        crashing = world.hospitals[victim]
        count = 1 if victim == 4 else STEPS[step]
        crashing.crash_at = (step, count)
        ended: list[object] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.attempt, asker, ended)
            with trio.fail_after(100):
                await world.crashed.wait()
            if back:
                await trio.sleep(3)
                await crashing.start()
            await world.settle()
            nursery.cancel_scope.cancel()
        if victim != asker:
            (end,) = ended
            if step in BEFORE_RECORDED:
                assert isinstance(end, PeerGone), end
                assert end.party in {victim, None}
                assert f"party {victim} " in str(end)
                assert all(life[-1] == "aborted" for party in lives(world) for life in party)
            elif step in NEVER_RECORDED:
                # The others may have recorded by then, and ask until the deadline.
                assert isinstance(end, (PeerGone, ResultWithheld, SessionFault)), end
            else:
                assert end == world.truth or isinstance(end, (PeerGone, ResultWithheld)), end
        if not back:
            await crashing.start()
            await world.settle()
        world.check()
        assert step in NEVER_RECORDED or [life[:2] for life in crashing.lives().values()] == [["agreed", "recorded"]]
        await next_question(world, 1)
        await next_question(world, victim)


@pytest.mark.parametrize("victim", [1, 4])
async def test_a_party_that_recorded_and_comes_back_lets_the_answer_out(
    autojump_clock: MockClock, consortium: Consortium, victim: int
) -> None:
    """Everybody has recorded; its word to one other alone was sent.  After the restart it asks, and all release."""
    async with consortium(parties=5, seed=7) as world:
        crashing = world.hospitals[victim]

        def meddle(sender: int, _receiver: int, message: Message) -> list[Message] | None:
            # Its words are lost until it has crashed, so that the crash falls after everybody's second commit.
            return [] if sender == victim and message["type"] == messages.RECORDED and crashing.starts == 1 else None

        if victim == 4:
            world.wire.meddle = meddle
        ended: list[object] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.attempt, 0, ended)
            if victim == 4:
                with trio.fail_after(60):
                    while not world.recorded or len(next(iter(world.recorded.values()))) < 5:  # noqa: ASYNC110
                        await trio.sleep(0.001)
                crashing.crash()
            else:
                # The owners that only give data need its word: it is sent to all of them, then it crashes.
                crashing.crash_at = (f"sent {messages.RECORDED} to 4", 1)
                with trio.fail_after(60):
                    await world.crashed.wait()
            await trio.sleep(5)
            await crashing.start()
        assert ended == [world.truth]
        await world.settle(20)
        assert lives(world) == [[RELEASED]] * 5
        world.check()


async def test_what_was_released_before_a_crash_is_never_called_withheld(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    """The proposer has handed the answer out and stops before it could write so; when it is back, another one is away
    for longer than a session may take."""
    async with consortium(seed=3) as world:
        world.hospitals[0].crash_at = ("before commit_released", 1)
        assert await world.ask(0) == world.truth
        with trio.fail_after(60):
            await world.crashed.wait()
        world.hospitals[2].crash()
        await trio.sleep(3)
        await world.hospitals[0].start()
        await world.settle(700)
        assert lives(world)[0] == [["agreed", "recorded"]], "nobody can say yet"
        await world.hospitals[2].start()
        await world.settle(60)
        assert lives(world) == [[RELEASED]] * 3
        world.check()


async def test_a_lost_party_is_noticed_at_once_whenever_it_goes(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        world.hospitals[2].crash()
        for _ in range(3):
            started = trio.current_time()
            with pytest.raises(PeerGone) as gone:
                await world.ask()
            assert gone.value.party == 2
            assert trio.current_time() - started < 5
        await world.hospitals[2].start()
        await world.settle(10)
        await next_question(world)


# ------------------------------------------------------------------------------------------------ time and order


@pytest.mark.parametrize("silent", [1, 4])
async def test_the_deadline_names_who_is_silent(autojump_clock: MockClock, consortium: Consortium, silent: int) -> None:
    async with consortium(parties=5) as world:
        world.wire.meddle = lambda _sender, receiver, message: (
            [] if receiver == silent and message["type"] == messages.PROPOSE else None
        )
        started = trio.current_time()
        with pytest.raises(DeadlineExceeded, match=f"waiting for the parties' answers; silent parties: {silent}"):
            await world.ask()
        assert trio.current_time() - started < 301
        await world.settle()
        assert lives(world) == [[]] * 5
        world.wire.meddle = lambda _sender, _receiver, _message: None
        await next_question(world)


async def test_an_acknowledgement_that_is_lost_is_asked_for_again(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium(parties=4) as world:
        dropped: list[int] = []

        def meddle(sender: int, receiver: int, message: Message) -> list[Message] | None:
            said = message["type"] == messages.RECORDED and not message["ask"]
            if not said or (sender, receiver) != (3, 0) or dropped:
                return None
            dropped.append(receiver)
            return []

        world.wire.meddle = meddle
        await next_question(world)
        assert dropped == [0]
        assert lives(world) == [[RELEASED]] * 4


@pytest.mark.parametrize("seed", range(3))
async def test_answers_that_overtake_the_proposal_and_repeated_messages(
    autojump_clock: MockClock, consortium: Consortium, seed: int
) -> None:
    async with consortium(parties=4, seed=seed) as world:
        held: list[Message] = []

        def meddle(sender: int, receiver: int, message: Message) -> list[Message] | None:
            if message["type"] == messages.PROPOSE and receiver == 3:
                held.append(message)
                world.nursery.start_soon(late, message)
                return []
            return [message, message]

        async def late(message: Message) -> None:
            await trio.sleep(2)
            for _ in range(2):
                await world.hospitals[3].sessions.receive(PartyId(0), dict(message))

        world.wire.meddle = meddle
        assert await world.ask() == world.truth
        await world.settle(10)
        assert len(held) == 1
        assert lives(world) == [[RELEASED]] * 4
        world.check()


async def test_a_replayed_request_is_refused_wherever_it_is_submitted(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium(parties=4) as world:
        request, key = world.request()
        assert world.row(await world.submit(0, request), request, key) == world.truth
        for party in (0, 2, 3):
            with pytest.raises(CallerFault, match="used"):
                await world.submit(party, request)
        await world.settle(10)
        assert lives(world) == [[RELEASED]] * 4
        world.check()


@pytest.mark.parametrize("seed", range(4))
async def test_one_request_at_two_hospitals_at_once_is_answered_at_most_once(
    autojump_clock: MockClock, consortium: Consortium, seed: int
) -> None:
    async with consortium(parties=3, seed=seed) as world:
        request, key = world.request()
        ended: list[object] = []

        async def one(party: int) -> None:
            try:
                ended.append(world.row(await world.submit(party, request), request, key))
            except MpcdError as error:
                ended.append(error)

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, 0)
            nursery.start_soon(one, 1)
        assert trio.current_time() - started < 30, "nobody waits for somebody who will not answer"
        assert len([end for end in ended if end == world.truth]) <= 1
        assert all(end == world.truth or isinstance(end, MpcdError) for end in ended)
        await world.settle()
        world.check()
        await next_question(world)


# ------------------------------------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("state", ["proposed", "agreed", "preparing", "running", "verified", "recorded", "released"])
@pytest.mark.parametrize("seed", range(2))
async def test_cancelling_in_every_state(
    autojump_clock: MockClock, consortium: Consortium, state: str, seed: int
) -> None:
    async with consortium(parties=4, seed=seed) as world:
        request, key = world.request()

        def watch(entered: str, attempt: object) -> None:
            if entered == state:
                world.hospitals[0].sessions.cancel(attempt)  # type: ignore[arg-type]

        if state == "released":
            assert world.row(await world.submit(0, request, watch), request, key) == world.truth
        else:
            with pytest.raises((Cancelled, ResultWithheld)) as ended:
                await world.submit(0, request, watch)
            assert isinstance(ended.value, ResultWithheld) == (state == "recorded")
        await world.settle()
        world.check()
        own = list(world.hospitals[0].lives().values())
        expected = {"proposed": [], "recorded": [WITHHELD], "released": [RELEASED]}
        assert own == expected.get(state, [ABORTED])
        await next_question(world)


async def test_a_draining_party_says_so(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        world.hospitals[1].sessions.draining = True
        with pytest.raises(SessionFault, match="draining"):
            await world.ask()
        with pytest.raises(SessionFault, match="draining"):
            await world.hospitals[1].sessions.submit(world.request()[0], Nobody(), lambda _attempt: None)
        world.hospitals[1].sessions.draining = False
        await world.settle(10)
        await next_question(world)


async def test_what_is_over_is_forgotten(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        request, _ = world.request(kind="explain")
        for _ in range(100):
            await world.hospitals[0].sessions.explain(request)
        await world.settle(10)
        assert all(len(hospital.sessions._attempts) <= 3 * 64 for hospital in world.hospitals)
        world.check()
