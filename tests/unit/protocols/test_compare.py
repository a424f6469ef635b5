"""Comparisons, thresholds and selection: exact on small domains, exact cost."""

from __future__ import annotations

import itertools

import pytest

from mpcd.protocols.compare import (
    at_least_public,
    cost_at_least_public,
    cost_equal,
    cost_is_zero,
    cost_less_than,
    cost_threshold_count,
    equal,
    is_zero,
    less_than,
    threshold_count,
)
from mpcd.testing.world import Bits, World


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_all_pairs(width: int) -> None:
    pairs = list(itertools.product(range(1 << width), repeat=2))
    x, y = Bits.of([a for a, _ in pairs], width), Bits.of([b for _, b in pairs], width)
    world = World(width)
    assert world.run(less_than, x, y) == [int(a < b) for a, b in pairs]
    assert world.counted() == cost_less_than(width, len(pairs))
    assert world.run(equal, x, y) == [int(a == b) for a, b in pairs]
    assert world.counted() == cost_equal(width, len(pairs))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_public_thresholds_per_element(width: int) -> None:
    cases = [(a, t) for a in range(1 << width) for t in range(-2, (1 << width) + 3)]
    world = World(width)
    got = world.run(at_least_public, Bits.of([a for a, _ in cases], width), thresholds=[t for _, t in cases])
    assert got == [int(a >= t) for a, t in cases]
    assert world.counted() == cost_at_least_public(width, len(cases))
    assert world.counted().rounds == (width - 1).bit_length()


@pytest.mark.parametrize("threshold", [0, 1, 11, 2**63, 2**64 - 1, 2**64, 2**70])
def test_one_public_threshold_on_whole_words(threshold: int) -> None:
    values = [0, 10, 11, 12, 2**63 - 1, 2**63, 2**64 - 1]
    assert World(1).run(at_least_public, Bits.of(values, 64), threshold) == [int(v >= threshold) for v in values]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 12, 64, 127])
def test_zero(width: int) -> None:
    values = [0, 1, 1 << (width - 1), (1 << width) - 1]
    world = World(width)
    assert world.run(is_zero, Bits.of(values, width)) == [int(v == 0) for v in values]
    assert world.counted() == cost_is_zero(width, 4)


@pytest.mark.parametrize("flags", [1, 2, 3, 4, 5, 6, 7])
def test_threshold_count_on_every_pattern(flags: int) -> None:
    patterns = list(itertools.product((0, 1), repeat=flags))
    columns = [Bits.of([pattern[f] for pattern in patterns], 1) for f in range(flags)]
    for k in range(-1, flags + 2):
        world = World(flags)
        assert world.run(threshold_count, columns, k) == [int(sum(pattern) >= k) for pattern in patterns]
        assert world.counted() == cost_threshold_count(flags, k, len(patterns))
        assert world.counted().rounds <= (flags - 1).bit_length()


@pytest.mark.parametrize("k", [1, 2, 3, 13, 32, 63, 64])
def test_threshold_count_of_many_owners(k: int) -> None:
    columns = [Bits.of([int(f < cut) for cut in (0, k - 1, k, 64)], 1) for f in range(64)]
    world = World(k)
    assert world.run(threshold_count, columns, k) == [0, 0, 1, 1]
    assert world.counted() == cost_threshold_count(64, k, 4)
    assert world.counted().rounds == 6


def test_all_and_any_take_one_and_per_flag_but_one() -> None:
    assert cost_threshold_count(5, 5, 64).ands == 4
    assert cost_threshold_count(5, 1, 64).ands == 4
    assert cost_threshold_count(3, 3, 64).ands == 2
