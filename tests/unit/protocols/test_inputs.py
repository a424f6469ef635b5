"""Inputs from outside: one message to each compute party, compared by the holders before use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from mpcd.errors import Bug, CheatDetected, PeerFault, PeerGone, PeerMalformed
from mpcd.field import FP, FQ, Vector
from mpcd.ids import COMPUTE_ROLES, Role, SessionId
from mpcd.protocols import inputs
from mpcd.protocols.context import Context, InputContext, input_context
from mpcd.protocols.inputs import SEED_BYTES, BitsInput, FieldInput, InputItem, cost, expand, provide, receive
from mpcd.protocols.prss import Stream
from mpcd.protocols.spec import BitsSpec, FieldSpec
from mpcd.sharing import Planes, Replicated
from mpcd.testing.lockstep import Message
from mpcd.testing.world import World, ints_of, planes_of, reconstruct

OWNERS = [Role("input", index) for index in range(3)]


def items_of(owner: int) -> list[InputItem]:
    return [
        FieldInput(FP, FP.from_ints([owner, -1, 2**60])),
        BitsInput(planes_of([owner, 15] * 35, 4), 70),
        FieldInput(FQ, FQ.from_ints([owner << 100])),
    ]


SPECS = [item.spec for item in items_of(0)]


def session(world: World, items: Callable[[int], list[InputItem]] = items_of, owners: int = 3) -> dict[int, object]:
    """One session of owners and compute parties; what each honest compute party received, by index."""
    roles = OWNERS[:owners]

    async def compute(ctx: Context) -> dict[Role, list[Replicated | Planes]]:
        return await receive(ctx.narrow("inputs"), roles, [item.spec for item in items(0)])

    def program(owner: int) -> Callable[[InputContext], object]:
        return lambda ctx: provide(ctx.narrow("inputs"), items(owner))

    programs = {owner: program(owner) for owner in range(owners)}
    results = world.session(compute, programs)  # type: ignore[arg-type]
    return {role.index: value for role, value in results.items() if role.kind == "compute"}


@pytest.mark.parametrize("owners", [1, 2, 3])
def test_inputs_are_shared_in_two_rounds(owners: int) -> None:
    world = World(owners)
    received = session(world, owners=owners)
    for owner in range(owners):
        shares = [received[i][OWNERS[owner]] for i in range(3)]  # type: ignore[index]
        values = [reconstruct([shares[i][k] for i in range(3)]) for k in range(3)]
        assert FP.to_signed(values[0]) == [owner, -1, 2**60 - FP.modulus]
        assert ints_of(values[1], 70) == [owner, 15] * 35
        assert FQ.to_ints(values[2]) == [owner << 100]
    assert world.counted() == cost(owners, SPECS)


def test_an_owner_sends_two_vectors_not_six() -> None:
    spent = cost(1, [FieldSpec(FP, 10**6)])
    assert spent.input == 2 * 8 * 10**6 + 4 * SEED_BYTES
    assert spent.compute == (64, 64, 64)
    assert spent.rounds == 2


def test_fresh_sessions_share_afresh() -> None:
    world = World(1)
    session(world)
    first = {m.payload for m in world.lockstep.transcript}
    session(world)
    assert not first & {m.payload for m in world.lockstep.transcript}


def test_components_are_uniform_over_their_field_and_masked() -> None:
    elements = expand(bytes(32), 0, FieldSpec(FP, 100))
    assert FP.is_canonical(elements)
    assert len(set(FP.to_ints(elements))) == 100
    assert FP.to_ints(expand(bytes(32), 1, FieldSpec(FP, 100))) != FP.to_ints(elements)
    planes = expand(bytes(32), 0, BitsSpec(3, 70))
    assert planes.shape == (3, 2)
    assert not (planes[:, 1] >> np.uint64(6)).any()


def test_excluded_words_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    class Spoilt(Stream):
        def fill(self, out: Vector) -> None:
            super().fill(out)
            attempts.append(1)
            if len(attempts) == 1:
                out[0] = 2**64 - 1

    monkeypatch.setattr(inputs, "Stream", Spoilt)
    elements = expand(bytes(32), 0, FieldSpec(FP, 4))
    assert len(attempts) == 2
    assert all(FP.to_ints(elements))


@pytest.mark.parametrize(
    "item",
    [
        FieldInput(FP, np.array([FP.modulus], dtype=np.uint64)),
        BitsInput(np.array([[2]], dtype=np.uint64), 1),
        BitsInput(np.array([[1, 0]], dtype=np.uint64), 1),
    ],
    ids=["non-canonical", "bit beyond", "shape"],
)
def test_an_owner_does_not_send_what_would_be_refused(item: InputItem) -> None:
    with pytest.raises(Bug):
        session(World(1), lambda _: [item], owners=1)


def test_items_do_not_show_their_content() -> None:
    assert "12345" not in repr(FieldInput(FP, FP.from_ints([12345])))
    assert "12345" not in repr(BitsInput(np.array([[12345]], dtype=np.uint64), 64))


# ------------------------------------------------------------------------------------------------ tampered twins


@pytest.mark.parametrize("receiver", range(3))
@pytest.mark.parametrize("place", ["first component", "second component"])
def test_twin_an_owner_who_sends_two_versions_of_a_component(receiver: int, place: str) -> None:
    at = 0 if place == "first component" else -1
    world = World(1).tamper(
        "inputs/share",
        OWNERS[1],
        lambda p: bytes(v ^ (i == at % len(p)) for i, v in enumerate(p)),
        receiver=COMPUTE_ROLES[receiver],
    )
    with pytest.raises(CheatDetected, match="input1's input"):
        session(world)
    assert all(role.kind == "compute" for role in world.errors)
    assert COMPUTE_ROLES[receiver] in world.errors


@pytest.mark.parametrize("change", ["drop", "double", "shorten", "lengthen"])
@pytest.mark.parametrize("receiver", range(3))
def test_twin_an_owner_who_breaks_the_exchange(change: str, receiver: int) -> None:
    world = World(1).tamper("inputs/share", OWNERS[0], change, receiver=COMPUTE_ROLES[receiver])  # type: ignore[arg-type]
    with pytest.raises(PeerGone if change == "drop" else PeerMalformed):
        session(world)
    assert COMPUTE_ROLES[receiver] in world.errors


class Consistent:
    """An owner who puts the same forbidden bytes into both copies of the third component."""

    role = OWNERS[0]

    def __init__(self, place: int, value: bytes) -> None:
        self.place, self.value = place, value

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        del sweep, seen
        for message in ours:
            start = {0: None, 1: SEED_BYTES, 2: 0}[message.receiver.index]
            if start is not None:
                at = start + self.place
                message.payload = message.payload[:at] + self.value + message.payload[at + len(self.value) :]
        return ours


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (8, b"\xff" * 8, "an element outside the field"),
        (8, FP.modulus.to_bytes(8, "little"), "an element outside the field"),
        (24 + 15, b"\x80", "bits beyond the last element"),
        (24 + 64, b"\xff" * 16, "an element outside the field"),
    ],
)
def test_twin_an_owner_who_sends_what_is_no_element(place: int, value: bytes, text: str) -> None:
    world = World(1).corrupt(Consistent(place, value))
    with pytest.raises(PeerMalformed, match=f"input0 sent {text}"):
        session(world)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("change", ["flip", "add", "drop", "double", "shorten", "lengthen"])
def test_twin_a_holder_who_lies_about_what_it_received(party: int, change: str) -> None:
    world = World(1).tamper("inputs/compare", party, change)  # type: ignore[arg-type]
    with pytest.raises(PeerFault):
        session(world)
    assert len([role for role in world.errors if role != COMPUTE_ROLES[party]]) == 2


def test_a_consistent_owner_who_chooses_another_value_is_not_a_cheater() -> None:
    world = World(1).corrupt(Consistent(0, b"\x01" + bytes(7)))
    received = session(world)
    assert len(received) == 3


def test_the_same_entropy_in_two_sessions_gives_different_shares() -> None:
    """A restored host draws the same bytes again: old and new inputs must not share a component."""

    def last_components(session: bytes) -> list[bytes]:
        seen: list[bytes] = []

        class Recording:
            async def exchange(
                self, _step: object, send: Mapping[Role, bytes], _expect: object
            ) -> Mapping[Role, bytes]:
                seen.extend(bytes(send[role]) for role in COMPUTE_ROLES)
                return {}

            async def compute(self, kernel: Callable[..., object], *args: object) -> object:
                return kernel(*args)

        ctx = input_context(0, Recording(), bytes, session=SessionId(session))  # type: ignore[arg-type]
        coroutine = provide(ctx.narrow("input"), [FieldInput(FP, FP.from_ints([5, 6]))])
        with pytest.raises(StopIteration):
            coroutine.send(None)
        return seen

    assert last_components(bytes(32)) == last_components(bytes(32))
    one, other = last_components(bytes(32)), last_components(b"\1" * 32)
    assert all(mine != yours for mine, yours in zip(one, other, strict=True))
