"""Contexts: steps are used once, sizes are checked, a failure is final, and faults name who sent what."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar, TypeVarTuple

import pytest

from mpcd import limits
from mpcd.errors import Bug, PeerGone, PeerMalformed, SessionFault
from mpcd.field import FP, FQ, Buffer
from mpcd.ids import COMPUTE_ROLES, PartyId, Role, SessionId, Step
from mpcd.protocols.context import Context, compute_context, input_context, outer_context
from mpcd.protocols.multiply import mul
from mpcd.protocols.prss import Prss
from mpcd.protocols.verify import SemiHonest
from mpcd.sharing import Replicated

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SESSION = SessionId(bytes(range(32)))
P1, P2 = COMPUTE_ROLES[1], COMPUTE_ROLES[2]


class Scripted:
    """A transport that answers each exchange with the next of some messages, or an error."""

    def __init__(self, *answers: Mapping[Role, Buffer] | BaseException) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[Step, dict[Role, bytes]]] = []

    async def exchange(
        self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]
    ) -> Mapping[Role, Buffer]:
        del expect
        self.sent.append((step, {role: bytes(payload) for role, payload in send.items()}))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        return kernel(*args)


def context(transport: Scripted) -> Context:
    parties = {role: PartyId(10 + role.index) for role in COMPUTE_ROLES}
    return compute_context(0, transport, Prss(bytes(32), bytes(32)), session=SESSION, parties=parties)


def finish(coroutine: Coroutine[Any, Any, object]) -> object:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("suspended")


def x(*values: int) -> Replicated:
    vector = FP.from_ints(values)
    return Replicated(FP, vector, vector)


def test_neighbours() -> None:
    for index in range(3):
        ctx = compute_context(index, Scripted(), Prss(bytes(32), bytes(32)), session=SESSION)
        assert (ctx.role, ctx.next, ctx.previous) == (
            COMPUTE_ROLES[index],
            COMPUTE_ROLES[(index + 1) % 3],
            COMPUTE_ROLES[(index - 1) % 3],
        )


def test_a_step_is_entered_once_and_has_a_plain_name() -> None:
    ctx = context(Scripted())
    ctx.narrow("a").narrow("b")
    ctx.narrow("b")
    with pytest.raises(Bug, match="not a new one"):
        ctx.narrow("a")
    for name in ("", "c/d"):
        with pytest.raises(Bug, match="not a new one"):
            ctx.narrow(name)
    with pytest.raises(Bug, match="limits"):
        ctx.narrow("x" * (limits.STEP_BYTES_MAX + 1))


def test_a_step_exchanges_once_and_the_root_never() -> None:
    transport = Scripted({}, {})
    ctx = context(transport)
    step = ctx.narrow("a")
    finish(step.exchange({}, {}))
    with pytest.raises(Bug, match="exchanges twice"):
        finish(step.exchange({}, {}))
    with pytest.raises(Bug, match="no name"):
        finish(ctx.exchange({}, {}))


def test_a_step_draws_once() -> None:
    ctx = context(Scripted()).narrow("a")
    finish(ctx.random(FP, 1))
    with pytest.raises(Bug, match="twice"):
        finish(ctx.random(FP, 1))
    with pytest.raises(Bug, match="twice"):
        finish(mul(ctx, x(1), x(2)))


def test_rounds_and_bytes_are_counted() -> None:
    transport = Scripted({P1: FP.encode(FP.from_ints([5, 6]))})
    ctx = context(transport)
    finish(mul(ctx.narrow("m"), x(1, 2), x(3, 4)))
    assert (ctx.rounds, ctx.bytes_sent) == (1, 16)
    assert [(step, {role: len(p) for role, p in sent.items()}) for step, sent in transport.sent] == [("m", {P2: 16})]


@pytest.mark.parametrize("answer", [b"", bytes(7), bytes(9), bytes(16)])
def test_a_wrong_length_is_the_senders_fault(answer: bytes) -> None:
    ctx = context(Scripted({P1: answer}))
    with pytest.raises(PeerMalformed, match=f"compute1 sent {len(answer)} bytes where 8 were due at step m") as caught:
        finish(mul(ctx.narrow("m"), x(1), x(3)))
    assert caught.value.party == 11


@pytest.mark.parametrize("value", [FP.modulus, FP.modulus + 1, 2**61, 2**64 - 1])
def test_an_element_outside_the_field_is_the_senders_fault(value: int) -> None:
    ctx = context(Scripted({P1: value.to_bytes(8, "little")}))
    with pytest.raises(PeerMalformed, match="compute1 sent an element outside the field"):
        finish(mul(ctx.narrow("m"), x(1), x(3)))


def test_a_failure_is_final() -> None:
    transport = Scripted(PeerGone(None, "gone"), {P1: bytes(8)})
    ctx = context(transport)
    with pytest.raises(PeerGone):
        finish(mul(ctx.narrow("a"), x(1), x(3)))
    with pytest.raises(PeerGone):
        finish(mul(ctx.narrow("b"), x(1), x(3)))
    with pytest.raises(PeerGone):
        finish(ctx.verify())
    assert len(transport.sent) == 1


def test_a_failure_burns_the_shared_randomness() -> None:
    prss = Prss(bytes(32), bytes(32))
    ctx = compute_context(0, Scripted({P1: b"short"}), prss, session=SESSION)
    with pytest.raises(PeerMalformed):
        finish(mul(ctx.narrow("a"), x(1), x(3)))
    with pytest.raises(PeerMalformed):
        finish(ctx.narrow("b").random(FP, 1))
    with pytest.raises(Bug, match="has ended"):
        prss.claim("c")


def test_received_elements_are_not_copied_when_aligned() -> None:
    ctx = context(Scripted())
    buffer = bytearray(FP.encode(FP.from_ints([5, 6])))
    vector = ctx.decode_field(FP, P1, memoryview(buffer), 2)
    buffer[0] = 9
    assert FP.to_ints(vector) == [9, 6]
    shifted = memoryview(b"\0" + bytes(FQ.encode(FQ.from_ints([5, 6]))))[1:]
    assert FQ.to_ints(ctx.decode_field(FQ, P1, shifted, 2)) == [5, 6]


def test_hashes_bind_session_step_component_and_lengths() -> None:
    ctx = context(Scripted())
    other = compute_context(0, Scripted(), Prss(bytes(32), bytes(32)), session=SessionId(bytes(32)))
    a, b = ctx.narrow("a"), ctx.narrow("b")
    hashes = {
        a.hash_of(0, b"xy", b"z"),
        a.hash_of(1, b"xy", b"z"),
        b.hash_of(0, b"xy", b"z"),
        a.hash_of(0, b"x", b"yz"),
        a.hash_of(0, b"xyz"),
        other.narrow("a").hash_of(0, b"xy", b"z"),
    }
    assert len(hashes) == 6


def test_only_known_security_and_whole_session_ids() -> None:
    prss = Prss(bytes(32), bytes(32))
    with pytest.raises(Bug, match="cannot stand for"):
        compute_context(0, Scripted(), prss, session=SESSION, verifier=SemiHonest())
    assert compute_context(0, Scripted(), prss, session=SESSION).security == "malicious"
    assert compute_context(0, Scripted(), prss, "semi-honest", session=SESSION).security == "semi-honest"
    with pytest.raises(Bug, match="32 bytes"):
        compute_context(0, Scripted(), Prss(bytes(32), bytes(32)), session=SessionId(b"short"))
    assert context(Scripted()).security == "malicious"


def test_outer_roles_have_steps_too() -> None:
    entropy = input_context(2, Scripted({}), bytes, session=SESSION)
    assert entropy.narrow("a").role == Role("input", 2)
    analyst = outer_context(Role("analyst", 0), Scripted({}), session=SESSION)
    finish(analyst.narrow("a").exchange({}, {}))
    with pytest.raises(Bug):
        analyst.narrow("a")
    assert "analyst0" in repr(analyst)


def test_empty_vectors_are_programmer_errors() -> None:
    empty = Replicated(FP, FP.zeros(0), FP.zeros(0))
    with pytest.raises(AssertionError):
        finish(mul(context(Scripted()).narrow("m"), empty, empty))


class Cancelled(BaseException):
    """What an event loop throws into a task that is to end."""


def test_a_round_that_is_cancelled_ends_the_session_and_burns_its_randomness() -> None:
    transport = Scripted(Cancelled(), {})
    prss = Prss(bytes(32), bytes(32))
    ctx = compute_context(0, transport, prss, session=SESSION)
    with pytest.raises(Cancelled):
        finish(ctx.narrow("a").exchange({P1: b"1"}, {}))
    with pytest.raises(SessionFault, match="broken off"):
        finish(ctx.narrow("b").exchange({P1: b"2"}, {}))
    with pytest.raises(Bug, match="has ended"):
        prss.claim("c")
    assert len(transport.sent) == 1


def test_a_session_that_is_finished_draws_and_sends_no_more() -> None:
    prss = Prss(bytes(32), bytes(32))
    ctx = compute_context(0, Scripted({}, {}), prss, session=SESSION)
    finish(ctx.narrow("a").exchange({P1: b"1"}, {}))
    ctx.finish()
    assert (ctx.rounds, ctx.bytes_sent) == (1, 1)
    with pytest.raises(Bug, match="finished"):
        finish(ctx.narrow("b").exchange({P1: b"2"}, {}))
    with pytest.raises(Bug, match="has ended"):
        prss.open(0, "a")
