"""Openings: values, exact cost, waiting for the verification, and comparing before use."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from mpcd.errors import CheatDetected, PeerFault, PeerGone, PeerMalformed
from mpcd.field import FP, FQ, Field, Vector
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols.context import Context, OuterContext
from mpcd.protocols.cost import Cost
from mpcd.protocols.multiply import mul
from mpcd.protocols.opening import cost_open_all, cost_open_to, open_all, open_to, output_shares, receive
from mpcd.protocols.spec import BitsSpec, FieldSpec, Spec
from mpcd.protocols.verify import SemiHonest
from mpcd.sharing import Planes, Replicated
from mpcd.testing.world import ANALYST, Bits, World, ints_of

FIELDS = [FP, FQ]
COUNTS = [1, 2, 63, 64, 65, 1000]


@pytest.mark.parametrize("field", FIELDS, ids=["p", "q"])
@pytest.mark.parametrize("count", COUNTS)
def test_open_all(field: Field, count: int) -> None:
    world = World(count, field)
    assert world.run(open_all, list(range(count))) == list(range(count))
    assert world.counted() == cost_open_all(FieldSpec(field, count))


@pytest.mark.parametrize("count", COUNTS)
def test_open_all_planes(count: int) -> None:
    world = World(count)
    values = [e % 32 for e in range(count)]
    assert ints_of(world.run(open_all, Bits.of(values, 5)), count) == values
    assert world.counted() == cost_open_all(BitsSpec(5, count))


@pytest.mark.parametrize("target", range(3))
def test_open_to_one_compute_party(target: int) -> None:
    world = World(1)
    role = COMPUTE_ROLES[target]
    learnt: dict[int, Vector | None] = {}

    async def program(ctx: Context, x: Replicated) -> None:
        learnt[ctx.index] = await open_to(ctx, x, role)

    world.run(program, [7, 8])
    assert [index for index, value in learnt.items() if value is not None] == [target]
    value = learnt[target]
    assert value is not None
    assert FP.to_ints(value) == [7, 8]
    assert world.counted() == cost_open_to(FieldSpec(FP, 2), role)


def analyst_session(world: World, spec: Spec, shares: list[Replicated] | list[Planes]) -> Vector:
    async def compute(ctx: Context) -> None:
        await open_to(ctx.narrow("result"), shares[ctx.index], ANALYST)

    async def analyst(ctx: OuterContext) -> Vector:
        return await receive(ctx.narrow("result"), spec)

    value = world.session(compute, analyst=analyst)[ANALYST]
    assert isinstance(value, np.ndarray)
    return value


def test_open_to_the_analyst() -> None:
    world = World(1)
    assert FP.to_ints(analyst_session(world, FieldSpec(FP, 3), world.share(FP.from_ints([4, 5, 6])))) == [4, 5, 6]
    assert world.counted() == cost_open_to(FieldSpec(FP, 3), ANALYST)
    planes = Bits.of([9, 1], 4).planes()
    assert ints_of(analyst_session(world, BitsSpec(4, 2), world.share_planes(planes, 2)), 2) == [9, 1]
    assert world.counted() == cost_open_to(BitsSpec(4, 2), ANALYST)


def test_output_shares_are_the_components_and_send_nothing() -> None:
    world = World(1)
    pairs = world.run(output_shares, [7, 8])
    a, b = pairs
    for i in range(3):
        assert b[i] == a[(i + 1) % 3]
    total = FP.zeros(2)
    for component in a:
        total = FP.add(total, FP.decode(component, 2))
    assert FP.to_ints(total) == [7, 8]
    assert world.counted() == Cost()


class Doubtful(SemiHonest):
    """A verifier that finds the batch wrong."""

    async def verify(self, ctx: Context) -> None:
        raise CheatDetected(None, f"a product is wrong, found before {ctx.step} opened")


@pytest.mark.parametrize("opening", ["open_all", "open_to", "output_shares"])
def test_every_way_out_waits_for_verify(opening: str) -> None:
    world = World(1, verifier=Doubtful)

    async def program(ctx: Context, x: Replicated) -> object:
        product = await mul(ctx.narrow("mul"), x, x)
        out = ctx.narrow("out")
        if opening == "open_all":
            return await open_all(out, product)
        if opening == "open_to":
            return await open_to(out, product, COMPUTE_ROLES[0])
        return await output_shares(out, product)

    with pytest.raises(CheatDetected, match="before program/out opened"):
        world.run(program, [1])
    assert not world.messages("out")


# ------------------------------------------------------------------------------------------------ tampered twins


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("receiver", range(2))
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("flip", PeerFault),
        ("add", PeerFault),
        ("drop", PeerGone),
        ("double", PeerMalformed),
        ("shorten", PeerMalformed),
        ("lengthen", PeerMalformed),
        ("overflow", PeerFault),
    ],
)
def test_twin_value_or_hash(party: int, receiver: int, change: str, error: type[Exception]) -> None:
    to = COMPUTE_ROLES[(party + 1 + receiver) % 3]
    world = World(1).tamper("open_all", party, change, receiver=to)  # type: ignore[arg-type]
    with pytest.raises(error):
        world.run(open_all, [7, 8])
    assert to in world.errors


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("change", ["flip", "add"])
def test_twin_opening_to_one(party: int, change: str) -> None:
    target = COMPUTE_ROLES[(party + 1) % 3]
    world = World(1).tamper("open_to", party, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected):
        world.run(open_to, [7, 8], target)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("change", ["flip", "shorten", "drop", "double"])
@pytest.mark.parametrize("kind", ["value", "hash"])
def test_twin_opening_to_the_analyst(party: int, change: str, kind: str) -> None:
    world = World(1)
    if change == "flip":
        place = 0 if kind == "value" else -1
        world.tamper("result", party, lambda p: bytes(v ^ (i == place % len(p)) for i, v in enumerate(p)))
    else:
        world.tamper("result", party, change)  # type: ignore[arg-type]
    with pytest.raises(PeerFault):
        analyst_session(world, FieldSpec(FP, 3), world.share(FP.from_ints([4, 5, 6])))
    assert set(world.errors) == {ANALYST}


def test_a_replayed_opening_of_another_step_is_refused() -> None:
    """The hash binds the step: a party that sends the same components again at another step does not match."""
    first = World(1)
    first.run(open_all, [7])
    second = World(1)

    async def other(ctx: Context, x: Replicated) -> Vector:
        return await open_all(ctx, x)

    second.run(other, [7])

    def hashes(world: World) -> set[bytes]:
        return {m.payload for m in world.lockstep.transcript if len(m.payload) == 32}

    assert not hashes(first) & hashes(second)


def test_nothing_more_is_sent_after_an_abort() -> None:
    world = World(1).tamper("first", 1)

    async def program(ctx: Context, x: Replicated) -> None:
        with contextlib.suppress(CheatDetected):
            await open_all(ctx.narrow("first"), x)
        await open_all(ctx.narrow("second"), x)

    with pytest.raises(CheatDetected):
        world.run(program, [7])
    assert {m.sender for m in world.messages("second")} <= {COMPUTE_ROLES[1]}


def test_a_fault_names_step_and_party() -> None:
    world = World(1).tamper("open_all", Role("compute", 2), "overflow", receiver=COMPUTE_ROLES[0])
    with pytest.raises(PeerMalformed, match="compute2 sent an element outside the field at step open_all") as caught:
        world.run(open_all, [7])
    assert caught.value.party == 2
