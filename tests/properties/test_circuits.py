"""Adders, comparisons and conversions agree with Python integers for widths from 1 to 64, and cost what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpcd.field import FP, FQ, Field
from mpcd.protocols import adders, compare, convert
from mpcd.testing.world import Bits, World

SEEDS = st.integers(0, 2**32)
WIDTHS = st.integers(1, 64)


def numbers(data: st.DataObject, width: int, count: int) -> list[int]:
    top = 2**width - 1
    edge = st.sampled_from([0, 1, top, top >> 1, (top >> 1) + 1]).map(lambda v: min(v, top))
    return data.draw(st.lists(edge | st.integers(0, top), min_size=count, max_size=count))


@given(seed=SEEDS, width=WIDTHS, count=st.integers(1, 70), carry_in=st.integers(0, 1), data=st.data())
def test_adders(seed: int, width: int, count: int, carry_in: int, data: st.DataObject) -> None:
    x, y = numbers(data, width, count), numbers(data, width, count)
    sums = [a + b + carry_in for a, b in zip(x, y, strict=True)]
    world = World(seed)
    low, carry = world.run(adders.add, Bits.of(x, width), Bits.of(y, width), carry_in)
    assert (low, carry) == ([s % 2**width for s in sums], [s >> width for s in sums])
    assert world.counted() == adders.cost_add(width, count)


@given(seed=SEEDS, width=WIDTHS, count=st.integers(1, 70), data=st.data())
def test_comparisons(seed: int, width: int, count: int, data: st.DataObject) -> None:
    x, y = numbers(data, width, count), numbers(data, width, count)
    pairs = list(zip(x, y, strict=True))
    world = World(seed)
    u, v = Bits.of(x, width), Bits.of(y, width)
    assert world.run(compare.less_than, u, v) == [int(a < b) for a, b in pairs]
    assert world.counted() == compare.cost_less_than(width, count)
    assert world.run(compare.equal, u, v) == [int(a == b) for a, b in pairs]
    assert world.run(compare.is_zero, u) == [int(a == 0) for a in x]
    thresholds = [b + data.draw(st.integers(-1, 1)) for b in y]
    assert world.run(compare.at_least_public, u, thresholds=thresholds) == [
        int(a >= t) for a, t in zip(x, thresholds, strict=True)
    ]
    assert world.counted() == compare.cost_at_least_public(width, count)


@given(seed=SEEDS, width=st.integers(1, 40), terms=st.integers(1, 12), data=st.data())
def test_totals(seed: int, width: int, terms: int, data: st.DataObject) -> None:
    columns = [numbers(data, width, 3) for _ in range(terms)]
    wide = width + (terms - 1).bit_length()
    world = World(seed)
    assert world.run(adders.total, [Bits.of(c, width) for c in columns], wide) == [
        sum(c[e] for c in columns) for e in range(3)
    ]
    assert world.counted() == adders.cost_total(terms, wide, 3)


@given(seed=SEEDS, flags=st.integers(1, 20), data=st.data())
def test_thresholds(seed: int, flags: int, data: st.DataObject) -> None:
    columns = [data.draw(st.lists(st.integers(0, 1), min_size=5, max_size=5)) for _ in range(flags)]
    k = data.draw(st.integers(0, flags + 1))
    world = World(seed)
    assert world.run(compare.threshold_count, [Bits.of(c, 1) for c in columns], k) == [
        int(sum(c[e] for c in columns) >= k) for e in range(5)
    ]
    assert world.counted() == compare.cost_threshold_count(flags, k, 5)


@given(seed=SEEDS, field=st.sampled_from([FP, FQ]), count=st.integers(1, 70), data=st.data())
def test_bits_of_field_elements(seed: int, field: Field, count: int, data: st.DataObject) -> None:
    m = field.modulus
    edge = st.sampled_from([0, 1, m - 1, m - 2, m >> 1])
    x = data.draw(st.lists(edge | st.integers(0, m - 1), min_size=count, max_size=count))
    world = World(seed, field)
    assert world.run(convert.to_bits, x) == x
    assert world.counted() == convert.cost_to_bits(field, count)
    width = data.draw(st.integers(1, m.bit_length()))
    low = [a % min(2**width, m) for a in x]
    assert world.run(convert.to_bits, low, width=width) == low
    assert world.counted() == convert.cost_to_bits(field, count, width)


@given(seed=SEEDS, field=st.sampled_from([FP, FQ]), width=st.integers(1, 12), data=st.data())
def test_numbers_to_the_field(seed: int, field: Field, width: int, data: st.DataObject) -> None:
    x = numbers(data, width, 5)
    world = World(seed, field)
    assert world.run(convert.number_to_field, Bits.of(x, width), field) == x
    assert world.counted() == convert.cost_number_to_field(field, width, 5)
