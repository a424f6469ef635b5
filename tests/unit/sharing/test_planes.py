"""Local algebra of bit planes, and the invariant that unused high bits are zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mpcd.sharing import Planes
from mpcd.sharing.planes import is_masked, last_word_mask, mask_in_place, ones
from mpcd.testing.world import World, ints_of, planes_of, reconstruct

COUNTS = [1, 63, 64, 65, 130]


def dealt(values: list[int], width: int) -> list[Planes]:
    return World(5).share_planes(planes_of(values, width), len(values))


def value(shares: list[Planes]) -> list[int]:
    for share in shares:
        assert is_masked(share.a, share.count)
        assert is_masked(share.b, share.count)
    return ints_of(reconstruct(shares), shares[0].count)


def local(operation: Callable[..., Planes], *shared: list[Planes]) -> list[Planes]:
    return [operation(*(share[i] for share in shared)) for i in range(3)]


def numbers(count: int, width: int, seed: int = 0) -> list[int]:
    return [(seed + 37 * e * e + 11 * e) % (1 << width) for e in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_xor_not_and_public(count: int) -> None:
    u, v = numbers(count, 9), numbers(count, 9, 3)
    x, y = dealt(u, 9), dealt(v, 9)
    assert value(local(lambda a, b: a ^ b, x, y)) == [a ^ b for a, b in zip(u, v, strict=True)]
    assert value([x[i].invert(i) for i in range(3)]) == [a ^ 511 for a in u]
    public = planes_of(v, 9)
    assert value([x[i].xor_public(public, i) for i in range(3)]) == [a ^ b for a, b in zip(u, v, strict=True)]
    assert value(local(lambda a: a.and_public(public), x)) == [a & b for a, b in zip(u, v, strict=True)]
    assert value([Planes.public(public, count, i) for i in range(3)]) == v


@pytest.mark.parametrize("count", COUNTS)
def test_planes_move(count: int) -> None:
    u = numbers(count, 7)
    x = dealt(u, 7)
    assert value(local(lambda a: a.shift_up(2), x)) == [a << 2 & 127 for a in u]
    assert value(local(lambda a: a.rotate_up(1), x)) == [(a << 1 | a >> 6) & 127 for a in u]
    assert value(local(lambda a: a.extend(9), x)) == u
    assert value(local(lambda a: a.planes(slice(1, 4)), x)) == [a >> 1 & 7 for a in u]
    assert value(local(lambda a: a.plane(6), x)) == [a >> 6 for a in u]
    assert value(local(lambda a: a.plane(0).repeat(3), x)) == [7 * (a & 1) for a in u]
    assert value(local(lambda a: Planes.join([a.plane(3), a.plane(0)]), x)) == [a >> 3 & 1 | (a & 1) << 1 for a in u]
    assert value(local(lambda a: a.put((0, 2), a.planes([2, 0])), x)) == [a & ~5 | (a & 1) << 2 | a >> 2 & 1 for a in u]


@pytest.mark.parametrize("first", COUNTS)
@pytest.mark.parametrize("second", [1, 64, 70])
def test_stack_and_concatenate(first: int, second: int) -> None:
    u, v = numbers(first, 5), numbers(second, 5, 9)
    x, y = dealt(u, 5), dealt(v, 5)
    stacked = local(lambda a, b: Planes.stack([a, b]), x, y)
    for k, expected in enumerate((u, v)):
        assert value(local(lambda a, k=k: a.unstack([first, second])[k], stacked)) == expected
    packed = local(lambda a, b: Planes.concatenate([a, b]), x, y)
    assert packed[0].count == first + second
    assert value(packed) == u + v
    assert value(local(lambda a: a.take(slice(first, None)), packed)) == v
    assert value(local(lambda a: a.take(np.array([first, 0])), packed)) == [v[0], u[0]]


def test_unstack_clears_what_a_circuit_did_to_the_gaps() -> None:
    x, y = dealt([0], 2), dealt([0], 2)
    stacked = [Planes.stack([x[i], y[i]]).invert(i) for i in range(3)]
    pieces = [share.unstack([1, 1])[0] for share in stacked]
    assert value(pieces) == [3]


@pytest.mark.parametrize("count", COUNTS)
def test_masks(count: int) -> None:
    planes = np.full((2, -(-count // 64)), 2**64 - 1, dtype=np.uint64)
    assert is_masked(planes, count) == (count % 64 == 0)
    assert is_masked(mask_in_place(planes, count), count)
    assert np.array_equal(planes, ones(2, count))
    assert last_word_mask(count).bit_count() == (count - 1) % 64 + 1
