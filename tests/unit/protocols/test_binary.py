"""ANDs and trees of them: values, exact cost, and twins."""

from __future__ import annotations

import numpy as np
import pytest

from mpcd.errors import PeerMalformed
from mpcd.protocols.binary import (
    all_of,
    and_,
    and_many,
    any_of,
    cost_all_of,
    cost_and,
    cost_any_of,
    cost_or,
    not_,
    or_,
    xor,
)
from mpcd.protocols.context import Context
from mpcd.sharing import Planes
from mpcd.sharing.planes import mask_in_place
from mpcd.testing.world import Bits, World, reconstruct

COUNTS = [1, 64, 65, 200]


def numbers(count: int, width: int, seed: int) -> list[int]:
    return [(seed * 77 + 41 * e * e + 13 * e) % (1 << width) for e in range(count)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("width", [1, 7, 64, 70])
def test_and_or(count: int, width: int) -> None:
    world = World(count)
    u, v = numbers(count, width, 1), numbers(count, width, 2)
    assert world.run(and_, Bits.of(u, width), Bits.of(v, width)) == [a & b for a, b in zip(u, v, strict=True)]
    assert world.counted() == cost_and(width, count)
    assert world.run(or_, Bits.of(u, width), Bits.of(v, width)) == [a | b for a, b in zip(u, v, strict=True)]
    assert world.counted() == cost_or(width, count)


def test_and_over_many_mask_blocks() -> None:
    world = World(3)
    width, count = 5, 64 * 30_000 + 7
    planes = [mask_in_place(world.random_words(width * 30_001).reshape(width, -1), count) for _ in range(2)]
    shares = [world.share_planes(p, count) for p in planes]

    async def program(ctx: Context) -> None:
        results[ctx.index] = await and_(ctx.narrow("and"), shares[0][ctx.index], shares[1][ctx.index])

    results: dict[int, Planes] = {}
    world.session(program)
    assert np.array_equal(reconstruct(results), planes[0] & planes[1])
    assert world.counted() == cost_and(width, count)


def test_a_flag_stands_beside_every_plane() -> None:
    world = World(1)
    assert world.run(and_, Bits.of([5, 6], 3), Bits.of([0, 1], 1)) == [0, 6]
    assert world.run(and_, Bits.of([0, 1], 1), Bits.of([5, 6], 3)) == [0, 6]
    assert world.counted() == cost_and(3, 2)


def test_local_operations() -> None:
    async def both(ctx: Context, x: Planes, y: Planes) -> tuple[Planes, Planes]:
        return xor(x, y), not_(ctx, x)

    world = World(1)
    assert world.run(both, Bits.of([5, 6], 3), Bits.of([3, 6], 3)) == ([6, 0], [2, 1])
    assert not world.lockstep.transcript


def test_many_pairs_share_one_round() -> None:
    async def program(ctx: Context, x: Planes, y: Planes) -> list[Planes]:
        return await and_many(ctx, [(x, y), (x.plane(0), y.plane(1)), (y, y)])

    world = World(1)
    assert world.run(program, Bits.of([5, 6], 3), Bits.of([3, 6], 3)) == [[1, 6], [1, 0], [3, 6]]
    assert world.counted() == cost_and(7, 2)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13, 64])
def test_trees(width: int) -> None:
    full = (1 << width) - 1
    values = [0, full, full >> 1, 1 << (width - 1)]
    world = World(width)
    assert world.run(all_of, Bits.of(values, width)) == [int(v == full) for v in values]
    assert world.counted() == cost_all_of(width, 4)
    assert cost_all_of(width, 4).rounds == (width - 1).bit_length()
    assert cost_all_of(width, 64).ands == width - 1
    assert world.run(any_of, Bits.of(values, width)) == [int(v != 0) for v in values]
    assert world.counted() == cost_any_of(width, 4)


@pytest.mark.parametrize("party", range(3))
def test_twin_a_tampered_and_is_wrong_and_recorded(party: int) -> None:
    world = World(1).tamper("and", party)
    assert world.run(and_, Bits.of([5, 6], 3), Bits.of([3, 6], 3)) != [1, 6]
    honest = [verifier for index, verifier in enumerate(world.deferred) if index != party]
    assert all(verifier.records == ["and"] for verifier in honest)


@pytest.mark.parametrize("party", range(3))
def test_twin_a_bit_beyond_the_last_element_aborts(party: int) -> None:
    world = World(1).tamper("and", party, lambda payload: payload[:-1] + b"\x80")
    with pytest.raises(PeerMalformed, match="bits beyond the last element"):
        world.run(and_, Bits.of([5, 6], 3), Bits.of([3, 6], 3))
