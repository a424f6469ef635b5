"""Sharing and local algebra agree with Python integers, whatever the values, field, lengths and randomness."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpcd.field import FP, FQ, Field
from mpcd.protocols.multiply import inner_product, mul
from mpcd.protocols.opening import open_all
from mpcd.sharing import Planes, Replicated
from mpcd.testing.toy import ToyField
from mpcd.testing.world import Bits, World, ints_of, planes_of, reconstruct

FIELDS = st.sampled_from([FP, FQ, ToyField(5), ToyField(31)])
SEEDS = st.integers(0, 2**32)


def elements(field: Field, data: st.DataObject, count: int) -> list[int]:
    m = field.modulus
    edge = st.sampled_from([0, 1, m - 1, m >> 1])
    return data.draw(st.lists(edge | st.integers(0, m - 1), min_size=count, max_size=count))


def value(shares: list[Replicated]) -> list[int]:
    return shares[0].field.to_ints(reconstruct(shares))


@given(field=FIELDS, seed=SEEDS, count=st.integers(1, 20), data=st.data())
def test_any_two_parties_reconstruct(field: Field, seed: int, count: int, data: st.DataObject) -> None:
    x = elements(field, data, count)
    shares = World(seed, field).share(field.from_ints(x))
    for trusted in ((0, 1, 2), (0, 1), (1, 2), (0, 2)):
        assert field.to_ints(reconstruct(shares, trusted)) == x


@given(field=FIELDS, seed=SEEDS, count=st.integers(1, 20), k=st.integers(-(2**130), 2**130), data=st.data())
def test_local_algebra_is_homomorphic(field: Field, seed: int, count: int, k: int, data: st.DataObject) -> None:
    m = field.modulus
    x, y = elements(field, data, count), elements(field, data, count)
    world = World(seed, field)
    u, v = world.share(field.from_ints(x)), world.share(field.from_ints(y))
    assert value([u[i] + v[i] for i in range(3)]) == [(a + b) % m for a, b in zip(x, y, strict=True)]
    assert value([u[i] - v[i] for i in range(3)]) == [(a - b) % m for a, b in zip(x, y, strict=True)]
    assert value([-u[i] for i in range(3)]) == [-a % m for a in x]
    assert value([u[i].scale(k) for i in range(3)]) == [a * k % m for a in x]


@given(field=FIELDS, seed=SEEDS, groups=st.integers(1, 5), length=st.integers(1, 5), data=st.data())
def test_products(field: Field, seed: int, groups: int, length: int, data: st.DataObject) -> None:
    m = field.modulus
    x, y = elements(field, data, groups * length), elements(field, data, groups * length)
    pairs = list(zip(x, y, strict=True))
    world = World(seed, field)
    assert world.run(mul, x, y) == [a * b % m for a, b in pairs]
    expected = [sum(a * b for a, b in pairs[g * length : (g + 1) * length]) % m for g in range(groups)]
    assert world.run(inner_product, x, y, length) == expected


@given(seed=SEEDS, width=st.integers(1, 130), data=st.data())
def test_planes_share_open_and_move(seed: int, width: int, data: st.DataObject) -> None:
    x = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=140))
    count = len(x)
    world = World(seed)
    assert ints_of(world.run(open_all, Bits.of(x, width)), count) == x
    shares = world.share_planes(planes_of(x, width), count)
    places = data.draw(st.integers(0, width))
    top = 1 << width

    def read(moved: list[Planes]) -> list[int]:
        return ints_of(reconstruct(moved), count)

    assert read([s.shift_up(places) for s in shares]) == [a << places & (top - 1) for a in x]
    assert read([s.rotate_up(places) for s in shares]) == [(a << places | a >> (width - places)) & (top - 1) for a in x]
    assert read([s.invert(i) for i, s in enumerate(shares)]) == [top - 1 - a for a in x]


@given(seed=SEEDS, counts=st.lists(st.integers(1, 130), min_size=1, max_size=5), width=st.integers(1, 9))
def test_stacks_come_apart_again(seed: int, counts: list[int], width: int) -> None:
    world = World(seed)
    columns = [[(seed + 31 * k + e * e) % (1 << width) for e in range(count)] for k, count in enumerate(counts)]
    shares = [world.share_planes(planes_of(column, width), len(column)) for column in columns]
    stacked = [Planes.stack([column[i] for column in shares]).invert(i) for i in range(3)]
    packed = [Planes.concatenate([column[i] for column in shares]) for i in range(3)]
    for k, column in enumerate(columns):
        apart = [stacked[i].unstack(counts)[k] for i in range(3)]
        assert ints_of(reconstruct(apart), counts[k]) == [(1 << width) - 1 - a for a in column]
    assert ints_of(reconstruct(packed), sum(counts)) == [a for column in columns for a in column]
