"""The least number of every segment: equal to a plain search, at the stated cost, aborted when tampered with."""

from __future__ import annotations

import pytest

from mpcd.errors import CheatDetected, MpcdError
from mpcd.protocols import least
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World

SEGMENTS = [[1], [2], [5, 1, 3], [16, 17], [40, 300, 2], [16 * 16 + 1], [3] * 50]
WIDTH = 5


def plain(values: list[int], segments: list[int]) -> tuple[list[int], list[int]]:
    flags: list[int] = []
    found: list[int] = []
    start = 0
    for size in segments:
        part = values[start : start + size]
        first = part.index(min(part))
        flags += [int(place == first) for place in range(size)]
        found.append(min(part))
        start += size
    return flags, found


@pytest.mark.parametrize("segments", SEGMENTS)
def test_equals_a_plain_search_and_costs_what_it_says(segments: list[int]) -> None:
    world = World(sum(segments))
    for _ in range(3):
        values = [int(word) % 2**WIDTH for word in world.random_words(sum(segments))]
        flags, found = plain(values, segments)
        assert world.run(least.least_and_number, Bits.of(values, WIDTH), tuple(segments)) == (flags, found)
        assert world.counted() == least.cost_least(WIDTH, segments, number=True)
        assert world.run(least.least, Bits.of(values, WIDTH), tuple(segments)) == flags
        assert world.counted() == least.cost_least(WIDTH, segments)


def test_equal_numbers_give_the_first() -> None:
    flags, found = World(1).run(least.least_and_number, Bits.of([7] * 40, WIDTH), (40,))
    assert flags == [1] + [0] * 39
    assert found == [7]


def test_rounds_grow_with_the_levels_alone() -> None:
    rounds = {size: least.cost_least(8, [size] * 3).rounds for size in (2, 16, 17, 256, 4096)}
    assert rounds[2] < rounds[16] < rounds[17] <= rounds[256] < rounds[4096] < 4 * rounds[16]


async def opened(ctx: Context, x: Planes, segments: tuple[int, ...]) -> object:
    flags = await least.least(ctx.narrow("least"), x, segments)
    return await open_all(ctx.narrow("open"), flags)


@pytest.mark.parametrize("step", ["less/generate", "all/level0", "value", "back0"])
@pytest.mark.parametrize("change", ["flip", "shorten"])
def test_a_tampered_message_opens_nothing(step: str, change: str) -> None:
    world = World(5, verifier=Malicious).tamper(step, 1, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change == "flip" else MpcdError):
        world.run(opened, Bits.of([3, 1, 2] * 10, WIDTH), (30,))
    assert World(5, verifier=Malicious).run(opened, Bits.of([3, 1, 2] * 10, WIDTH), (30,)) is not None
