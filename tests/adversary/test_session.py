"""A whole small session (owners, compute parties, analyst) under every single change of every message by every role.

Failure condition under malicious security: the analyst returns another value than the honest one, whatever was changed;
a change goes unnoticed at all; an honest party sends the analyst anything after a wrong product.

Failure condition under semi-honest security: the analyst returns another value than the honest one although no recorded
product was touched; a change goes unnoticed that is not one of those below.

Non-failure: an abort; under semi-honest security also a product that is wrong and recorded.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest

from mpcd.errors import PeerFault
from mpcd.field import FP, Vector
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols import compare, convert, inputs, opening, select
from mpcd.protocols.context import Context, InputContext, OuterContext
from mpcd.protocols.inputs import BitsInput, FieldInput, InputItem
from mpcd.protocols.spec import FieldSpec
from mpcd.protocols.verify import Counting, Security, SemiHonest
from mpcd.protocols.verify_batch import Malicious
from mpcd.sharing import Planes, Replicated
from mpcd.testing.adversary import CHANGES, Tamper
from mpcd.testing.cheater import STRATEGIES, CheatingVerifier, Lie, Nobody, Strategy, lying
from mpcd.testing.world import ANALYST, World, planes_of

OWNERS = [Role("input", 0), Role("input", 1)]
FLAGS = [[1, 1, 0], [1, 0, 0]]
VALUES = [[10, 20, 30], [1, 2, 3]]
EXPECTED = [11, 0, 0]
PRODUCTS: Final = ("both/level1", "bit/first", "bit/second", "choose")
"""Steps whose messages are products, which only the batch verification can judge."""
VERIFIERS: Final[dict[Security, type[Counting]]] = {"semi-honest": SemiHonest, "malicious": Malicious}


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


def messages(security: Security) -> list[tuple[str, Role, Role]]:
    world = World(3, verifier=VERIFIERS[security])
    assert session(world) == EXPECTED
    return [(m.step, m.sender, m.receiver) for m in world.lockstep.transcript]


def outputs(world: World, corrupt: Role) -> list[Role]:
    """Honest parties that have sent the analyst their shares."""
    return [m.sender for m in world.lockstep.transcript if m.receiver == ANALYST and m.sender != corrupt]


def middle(payload: bytes) -> bytes:
    """A bit in the middle, where a vector and not a seed or a hash stands."""
    place = len(payload) // 2
    return payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]


def last(payload: bytes) -> bytes:
    """The last bit, of a hash or of a seed."""
    return payload[:-1] + bytes([payload[-1] ^ 128])


every_change = pytest.mark.parametrize(
    "change", [*CHANGES, middle, last], ids=lambda c: c if isinstance(c, str) else c.__name__
)


@every_change
@pytest.mark.parametrize(("step", "sender", "receiver"), messages("semi-honest"), ids=str)
def test_every_message(step: str, sender: Role, receiver: Role, change: str) -> None:
    tamper = Tamper(sender, step, change, receiver)  # type: ignore[arg-type]
    world = World(3).corrupt(tamper)
    try:
        value = session(world)
    except PeerFault:
        assert tamper.hits == 1
        return
    assert tamper.hits == 1
    assert step in PRODUCTS, f"{change} at {step} from {sender} to {receiver} went unnoticed"
    honest = [v for index, v in enumerate(world.deferred) if COMPUTE_ROLES[index] != sender]
    assert value == EXPECTED or all(verifier.verified == 1 for verifier in honest)


@every_change
@pytest.mark.parametrize(("step", "sender", "receiver"), messages("malicious"), ids=str)
def test_every_message_under_malicious_security(step: str, sender: Role, receiver: Role, change: str) -> None:
    tamper = Tamper(sender, step, change, receiver)  # type: ignore[arg-type]
    world = World(3, verifier=Malicious).corrupt(tamper)
    try:
        value = session(world)
    except PeerFault:
        assert tamper.hits == 1
        assert step not in PRODUCTS or not outputs(world, sender), "an output left after a wrong product"
        return
    assert tamper.hits == 1
    assert value == EXPECTED, f"{change} at {step} from {sender} to {receiver}: a wrong answer"
    pytest.fail(f"{change} at {step} from {sender} to {receiver} went unnoticed")


def lied(step: str, party: int, strategy: Strategy, security: Security) -> tuple[World, Lie]:
    """A world in which one party lies about one product, keeps to its lie, and goes on by a strategy."""
    lie = Lie(step, 0, 1, strategy)

    def verifier() -> Counting:
        return CheatingVerifier(lie) if security == "malicious" else SemiHonest()

    world = World(3, verifier=VERIFIERS[security]).corrupt(Nobody(COMPUTE_ROLES[party]))
    world.lie(party, partial(lying, lie=lie, over=FP), verifier)
    return world, lie


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("step", PRODUCTS)
def test_a_consistent_liar(step: str, party: int, strategy: Strategy) -> None:
    world, lie = lied(step, party, strategy, "malicious")
    with pytest.raises(PeerFault, match="/verify"):
        session(world)
    assert lie.told == 1
    assert not outputs(world, COMPUTE_ROLES[party])


@pytest.mark.parametrize("step", PRODUCTS)
def test_without_the_verification_the_same_liar_gets_a_wrong_answer_out(step: str) -> None:
    """Negative control: no comparison of holders sees these lies."""
    wrong = 0
    for party in range(3):
        world, lie = lied(step, party, "still", "semi-honest")
        value = session(world)
        assert lie.told == 1
        assert value is not None
        wrong += value != EXPECTED
    assert wrong
