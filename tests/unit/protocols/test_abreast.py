"""Branches side by side give what they give one after the other, in the rounds of the longest."""

from __future__ import annotations

from typing import Any

import pytest

from mpcd import limits
from mpcd.errors import Bug, CheatDetected, MpcdError
from mpcd.field import FP
from mpcd.protocols import adders, binary, compare, convert
from mpcd.protocols.abreast import abreast, cost_abreast
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World

X, Y = [3, 70, 9, 127, 0] * 20, [5, 60, 9, 1, 0] * 20
FEW = [1, 0, 1]


async def three(ctx: Context, x: Planes, y: Planes, few: Planes) -> list[Any]:
    return await abreast(
        ctx,
        lambda at: compare.less_than(at, x, y),
        lambda at: adders.add(at, x, y),
        lambda at: binary.and_(at, few, few.invert(ctx.index)),
        lambda at: nothing(at, few),
    )


async def nothing(_ctx: Context, x: Planes) -> Planes:
    return x


def test_results_rounds_and_bytes() -> None:
    world = World(1)
    less, (total, carry), neither, same = world.run(three, Bits.of(X, 7), Bits.of(Y, 7), Bits.of(FEW, 1))
    assert less == [int(a < b) for a, b in zip(X, Y, strict=True)]
    assert total == [(a + b) % 128 for a, b in zip(X, Y, strict=True)]
    assert carry == [int(a + b >= 128) for a, b in zip(X, Y, strict=True)]
    assert neither == [0, 0, 0]
    assert same == FEW
    costs = [compare.cost_less_than(7, 100), adders.cost_add(7, 100), binary.cost_and(1, 3)]
    assert world.counted() == cost_abreast(*costs)
    assert cost_abreast(*costs).rounds == max(cost.rounds for cost in costs)
    assert cost_abreast(*costs).ands == sum(cost.ands for cost in costs)


def test_what_is_longer_than_a_vector_lies_in_several_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = World(1)
    plain.run(three, Bits.of(X, 7), Bits.of(Y, 7), Bits.of(FEW, 1))
    monkeypatch.setattr(limits, "VECTOR_ELEMENTS_MAX", 10 * 64)
    world = World(1)
    less, (total, _), *_ = world.run(three, Bits.of(X, 7), Bits.of(Y, 7), Bits.of(FEW, 1))
    assert less == [int(a < b) for a, b in zip(X, Y, strict=True)]
    assert total == [(a + b) % 128 for a, b in zip(X, Y, strict=True)]
    costs = [compare.cost_less_than(7, 100), adders.cost_add(7, 100), binary.cost_and(1, 3)]
    assert world.counted() == cost_abreast(*costs)
    assert world.counted().ands > plain.counted().ands, "nothing was padded: this test shows nothing"


async def inside(ctx: Context, x: Planes, y: Planes) -> list[Any]:
    async def more(at: Context) -> list[Any]:
        return await abreast(at, lambda one: binary.and_(one, x, y), lambda one: binary.or_(one, x, y))

    return await abreast(ctx, more, lambda at: compare.equal(at, x, y))


def test_branches_may_branch() -> None:
    (conjunction, disjunction), equal = World(2).run(inside, Bits.of(X, 7), Bits.of(Y, 7))
    assert conjunction == [a & b for a, b in zip(X, Y, strict=True)]
    assert disjunction == [a | b for a, b in zip(X, Y, strict=True)]
    assert equal == [int(a == b) for a, b in zip(X, Y, strict=True)]


async def opened(ctx: Context, x: Planes, y: Planes, few: Planes) -> object:
    less, *_ = await three(ctx.narrow("three"), x, y, few)
    return await open_all(ctx.narrow("open"), less)


@pytest.mark.parametrize(("step", "change"), [("round0", "flip"), ("round2", "flip"), ("round1", "shorten")])
def test_a_tampered_round_opens_nothing(step: str, change: str) -> None:
    shared = Bits.of(X, 7), Bits.of(Y, 7), Bits.of(FEW, 1)
    world = World(3, verifier=Malicious).tamper(step, 1, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change == "flip" else MpcdError):
        world.run(opened, *shared)
    assert World(3, verifier=Malicious).run(opened, *shared) is not None


async def mixed(ctx: Context, few: Planes) -> list[Any]:
    return await abreast(ctx, lambda at: convert.bit_to_field(at, few, FP))


def test_a_branch_that_does_anything_else_is_a_bug() -> None:
    with pytest.raises(Bug, match="may only AND"):
        World(4).run(mixed, Bits.of(FEW, 1))
