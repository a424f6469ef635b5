"""A whole small session (owners, compute parties, analyst) under every single change of every message by every role.

Failure condition: an honest analyst returns another value than the honest one although no recorded product was touched;
an honest party goes on after a broken message; a change goes unnoticed that is not one of those below.

Non-failure: an abort; a product that is wrong and recorded (semi-honest until batch verification).
"""

from __future__ import annotations

import pytest

from mpcd.errors import PeerFault
from mpcd.field import FP, Vector
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols import compare, convert, inputs, opening, select
from mpcd.protocols.context import Context, InputContext, OuterContext
from mpcd.protocols.inputs import BitsInput, FieldInput, InputItem
from mpcd.protocols.spec import FieldSpec
from mpcd.sharing import Planes, Replicated
from mpcd.testing.adversary import CHANGES, Tamper
from mpcd.testing.world import ANALYST, World, planes_of

OWNERS = [Role("input", 0), Role("input", 1)]
FLAGS = [[1, 1, 0], [1, 0, 0]]
VALUES = [[10, 20, 30], [1, 2, 3]]
EXPECTED = [11, 0, 0]


def items(owner: int) -> list[InputItem]:
    return [BitsInput(planes_of(FLAGS[owner], 1), 3), FieldInput(FP, FP.from_ints(VALUES[owner]))]


async def compute(ctx: Context) -> None:
    """The sum of the owners' values where both flags are set, to the analyst."""
    given = await inputs.receive(ctx.narrow("in"), OWNERS, [item.spec for item in items(0)])
    flags: list[Planes] = []
    values: list[Replicated] = []
    for owner in OWNERS:
        flag, value = given[owner]
        assert isinstance(flag, Planes)
        assert isinstance(value, Replicated)
        flags.append(flag)
        values.append(value)
    keep = await compare.threshold_count(ctx.narrow("both"), flags, 2)
    bit = await convert.bit_to_field(ctx.narrow("bit"), keep, FP)
    chosen = await select.select(ctx.narrow("choose"), bit, values[0] + values[1])
    await opening.open_to(ctx.narrow("out"), chosen, ANALYST)


def session(world: World) -> list[int] | None:
    async def give(ctx: InputContext) -> None:
        await inputs.provide(ctx.narrow("in"), items(ctx.role.index))

    async def analyst(ctx: OuterContext) -> Vector:
        return await opening.receive(ctx.narrow("out"), FieldSpec(FP, 3))

    value = world.session(compute, {0: give, 1: give}, analyst).get(ANALYST)
    return None if value is None else FP.to_ints(value)  # type: ignore[arg-type]


def messages() -> list[tuple[str, Role, Role]]:
    world = World(3)
    assert session(world) == EXPECTED
    return [(m.step, m.sender, m.receiver) for m in world.lockstep.transcript]


def middle(payload: bytes) -> bytes:
    """A bit in the middle, where a vector and not a seed or a hash stands."""
    place = len(payload) // 2
    return payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]


def last(payload: bytes) -> bytes:
    """The last bit, of a hash or of a seed."""
    return payload[:-1] + bytes([payload[-1] ^ 128])


@pytest.mark.parametrize("change", [*CHANGES, middle, last], ids=lambda c: c if isinstance(c, str) else c.__name__)
@pytest.mark.parametrize(("step", "sender", "receiver"), messages(), ids=str)
def test_every_message(step: str, sender: Role, receiver: Role, change: str) -> None:
    tamper = Tamper(sender, step, change, receiver)  # type: ignore[arg-type]
    world = World(3).corrupt(tamper)
    products = {"both/level1", "bit/first", "bit/second", "choose"}
    try:
        value = session(world)
    except PeerFault:
        assert tamper.hits == 1
        return
    assert tamper.hits == 1
    assert step in products, f"{change} at {step} from {sender} to {receiver} went unnoticed"
    honest = [v for index, v in enumerate(world.deferred) if COMPUTE_ROLES[index] != sender]
    assert value == EXPECTED or all(verifier.verified == 1 for verifier in honest)
