"""The world: one line per honest test, reproducible from its seed."""

from __future__ import annotations

import pytest

from mpcd.errors import CheatDetected
from mpcd.field import FP, FQ
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols.binary import and_
from mpcd.protocols.context import Context
from mpcd.protocols.multiply import mul
from mpcd.protocols.opening import open_all
from mpcd.sharing import Planes, Replicated
from mpcd.testing.adversary import Observer, Tamper
from mpcd.testing.world import Bits, World, ints_of, opened, planes_of


def test_one_line() -> None:
    assert World(1).run(mul, [6], [5]) == [30]
    with pytest.raises(CheatDetected):
        World(1).tamper(step="open", party=1).run(opened(mul), [6], [5])


def test_the_seed_decides_everything() -> None:
    def transcript(seed: int) -> list[bytes]:
        world = World(seed)
        world.run(opened(mul), [6, 7], [5, 5])
        return [message.payload for message in world.lockstep.transcript]

    assert transcript(3) == transcript(3)
    assert transcript(3) != transcript(4)


def test_structures_are_joined() -> None:
    async def program(ctx: Context, x: Replicated, flags: list[Planes], k: int) -> tuple[Replicated, list[Planes], int]:
        del ctx
        return x.scale(k), flags, k

    world = World(1, FQ)
    assert world.run(program, [1, 2], [Bits.of([1], 1), Bits.of([0], 1)], 3) == ([3, 6], [[1], [0]], 3)


def test_inconsistent_shares_are_no_result() -> None:
    async def wrong(ctx: Context, x: Replicated) -> Replicated:
        return Replicated(x.field, FP.from_ints([ctx.index]), x.b)

    with pytest.raises(AssertionError, match="disagree"):
        World(1).run(wrong, [5])


def test_honest_parties_must_learn_the_same() -> None:
    async def wrong(ctx: Context, x: Replicated) -> object:
        return FP.add(await open_all(ctx, x), FP.from_ints([ctx.index]))

    with pytest.raises(AssertionError, match="different values"):
        World(1).run(wrong, [5])


@pytest.mark.parametrize("width", [1, 63, 64, 65, 127])
def test_planes_of_any_width(width: int) -> None:
    values = [0, 1, (1 << width) - 1, 1 << (width - 1)]
    assert ints_of(planes_of(values, width), 4) == values


def test_a_tamper_hits_what_it_names() -> None:
    tamper = Tamper(COMPUTE_ROLES[2], "and", "flip")
    world = World(1).corrupt(tamper)
    assert world.run(and_, Bits.of([3], 2), Bits.of([3], 2)) != [3]
    assert tamper.hits == 1
    missing = Tamper(COMPUTE_ROLES[2], "elsewhere", "flip")
    assert World(1).corrupt(missing).run(mul, [3], [3]) == [9]
    assert missing.hits == 0


def test_an_observer_changes_nothing() -> None:
    observer = Observer(COMPUTE_ROLES[0])
    assert World(1).corrupt(observer).run(opened(mul), [3], [3]) == [9]
    assert [message.sender for message in observer.view] == [COMPUTE_ROLES[1], COMPUTE_ROLES[1], COMPUTE_ROLES[2]]
