"""The driver itself: it matches every message, finds deadlocks, counts, and lets an adversary rush."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mpcd.errors import CheatDetected, PeerGone, PeerMalformed
from mpcd.ids import COMPUTE_ROLES, Role, Step
from mpcd.testing.lockstep import Adversary, Lockstep, LockstepTransport, Message, Unmatched

P0, P1, P2 = COMPUTE_ROLES
Program = Callable[[LockstepTransport], Coroutine[Any, Any, object]]


def run(programs: dict[Role, Program], adversary: Adversary | None = None) -> Lockstep:
    driver = Lockstep(adversary)
    for role, program in programs.items():
        transport = driver.transport(role)
        driver.add(transport, program(transport))
    driver.run()
    return driver


def ring(rounds: int) -> dict[Role, Program]:
    """Each party passes a counter on and adds what it gets."""

    def program(transport: LockstepTransport) -> Coroutine[Any, Any, object]:
        after, before = COMPUTE_ROLES[(transport.role.index + 1) % 3], COMPUTE_ROLES[(transport.role.index + 2) % 3]

        async def go() -> int:
            total = transport.role.index
            for number in range(rounds):
                got = await transport.exchange(Step(f"r{number}"), {after: bytes([total % 256])}, {before: 1})
                total += got[before][0]
            return total

        return go()

    return dict.fromkeys(COMPUTE_ROLES, program)


def speaker(*exchanges: tuple[str, dict[Role, bytes], dict[Role, int]]) -> Program:
    """A role that goes through the given exchanges and returns what it received."""

    def program(transport: LockstepTransport) -> Coroutine[Any, Any, object]:
        async def go() -> list[bytes]:
            got = []
            for step, send, expect in exchanges:
                received = await transport.exchange(Step(step), send, expect)
                got += [bytes(payload) for payload in received.values()]
            return got

        return go()

    return program


class Scripted:
    """An adversary that records what it sees and sends what a function makes of its messages."""

    def __init__(self, role: Role, change: Callable[[list[Message], list[Message]], list[Message]]) -> None:
        self.role = role
        self.change = change
        self.seen: list[tuple[int, Role, bytes]] = []

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        self.seen += [(sweep, message.sender, message.payload) for message in seen]
        return self.change(ours, seen)


def test_rounds_and_bytes() -> None:
    driver = run(ring(5))
    assert driver.rounds == 5
    assert [driver.bytes_sent(role) for role in COMPUTE_ROLES] == [5, 5, 5]
    assert len({driver.results()[role] for role in COMPUTE_ROLES}) == 3


def test_rounds_are_message_depth() -> None:
    # P1 answers P0 in one exchange after another, P2 is idle: depth 2 although three roles and two steps.
    driver = run(
        {
            P0: speaker(("a", {P1: b"x"}, {}), ("b", {}, {P1: 1})),
            P1: speaker(("a", {}, {P0: 1}), ("b", {P0: b"y"}, {})),
        }
    )
    assert driver.rounds == 2
    assert driver.results()[P0] == [b"y"]


def test_a_message_may_come_before_it_is_awaited() -> None:
    driver = run(
        {
            P0: speaker(("b", {P1: b"early"}, {})),
            P1: speaker(("a", {}, {P2: 1}), ("b", {}, {P0: 5})),
            P2: speaker(("a", {P1: b"x"}, {})),
        }
    )
    assert driver.results()[P1] == [b"x", b"early"]


def test_deadlock_is_named() -> None:
    with pytest.raises(Unmatched, match=r"deadlock: compute0 waits at a.*never awaited: compute1 -> compute0 at b"):
        run({P0: speaker(("a", {}, {P1: 1})), P1: speaker(("b", {P0: b"x"}, {}))})


def test_leftovers_are_named() -> None:
    with pytest.raises(Unmatched, match="left over; never awaited: compute1 -> compute0 at b"):
        run({P0: speaker(), P1: speaker(("b", {P0: b"x"}, {}))})


@pytest.mark.parametrize("payload", [b"", b"xy"])
def test_sizes_must_match(payload: bytes) -> None:
    with pytest.raises(Unmatched, match=f"{len(payload)} bytes where 1 were due"):
        run({P0: speaker(("a", {}, {P1: 1})), P1: speaker(("a", {P0: payload}, {}))})


def test_a_step_used_twice_is_not_due() -> None:
    with pytest.raises(Unmatched, match=r"not due|left over"):
        run(
            {
                P0: speaker(("a", {}, {P1: 1}), ("c", {}, {P2: 1})),
                P1: speaker(("a", {P0: b"x"}, {}), ("a", {P0: b"x"}, {})),
                P2: speaker(("d", {}, {P1: 1})),
            }
        )


def test_a_message_to_nobody() -> None:
    with pytest.raises(Unmatched, match="who is not there"):
        run({P0: speaker(("a", {P1: b"x"}, {}))})


def test_an_error_of_a_protocol_comes_out() -> None:
    def program(_: LockstepTransport) -> Coroutine[Any, Any, object]:
        async def go() -> None:
            raise CheatDetected(None, "found")

        return go()

    with pytest.raises(CheatDetected, match="found"):
        run({P0: program})


def test_an_adversary_sees_this_rounds_messages_to_it_before_it_sends_and_no_others() -> None:
    def rush(ours: list[Message], seen: list[Message]) -> list[Message]:
        for message in ours:
            (copied,) = [m.payload for m in seen]
            message.payload = copied
        return ours

    adversary = Scripted(P1, rush)
    driver = run(ring(1), adversary)
    # P1 receives P0's 0 in the very round in which it sends, and passes that on instead of its own 1.
    assert adversary.seen == [(0, P0, b"\0")]
    assert driver.results()[P2] == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda ours, _: [], PeerGone),
        (lambda ours, _: ours + ours, PeerMalformed),
        (
            lambda ours, _: [Message(m.step, m.sender, m.receiver, m.payload + b"x", m.clock) for m in ours],
            PeerMalformed,
        ),
        (lambda ours, _: [Message("other", m.sender, m.receiver, m.payload, m.clock) for m in ours], PeerGone),
    ],
    ids=["drop", "double", "lengthen", "elsewhere"],
)
def test_misbehaviour_ends_the_receiver(
    change: Callable[[list[Message], list[Message]], list[Message]], error: type[Exception]
) -> None:
    driver = run(ring(2), Scripted(P1, change))
    assert isinstance(driver.errors()[P2], error)


def test_a_replay_after_its_step_ends_the_receiver() -> None:
    old: list[Message] = []

    def replay(ours: list[Message], _: list[Message]) -> list[Message]:
        sent = ours + old
        old[:] = ours
        return sent

    driver = run(ring(3), Scripted(P1, replay))
    assert isinstance(driver.errors()[P2], PeerMalformed)


def test_endless_protocols_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpcd.testing.lockstep.SWEEPS_MAX", 3)
    with pytest.raises(Unmatched, match="not ended"):
        run(ring(10))
