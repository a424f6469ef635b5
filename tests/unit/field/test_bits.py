"""Packed words and bit planes equal the exact reference on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.field import bits, reference

pytestmark = pytest.mark.usefixtures("table")

WORDS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]))
VALUES = st.lists(WORDS, max_size=20).flatmap(
    lambda some: st.sampled_from([some, some * 13, [*some, *range(64)], [*some, *range(129)]])
)


@given(rows=st.lists(st.tuples(*[WORDS] * 6), max_size=40))
def test_words(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    columns = [np.array([row[k] for row in rows], dtype=np.uint64) for k in range(6)]
    a, b = columns[:2]
    assert bits.xor(a, b).tolist() == [row[0] ^ row[1] for row in rows]
    assert bits.and_(a, b).tolist() == [row[0] & row[1] for row in rows]
    assert bits.not_(a).tolist() == [2**64 - 1 - row[0] for row in rows]
    assert bits.and_masked(*columns).tolist() == [reference.and_masked(*row) for row in rows]


def test_masked_and_shares_a_product() -> None:
    rng = np.random.default_rng(5)
    x, y, k = (rng.integers(0, 2**64, (3, 4, 7), dtype=np.uint64) for _ in range(3))
    z = [bits.and_masked(x[i], x[i - 2], y[i], y[i - 2], k[i], k[i - 2]) for i in range(3)]
    assert ((z[0] ^ z[1] ^ z[2]) == ((x[0] ^ x[1] ^ x[2]) & (y[0] ^ y[1] ^ y[2]))).all()


@given(values=VALUES, width=st.integers(1, 64))
def test_planes(values: list[int], width: int) -> None:
    planes = bits.to_planes(np.array(values, dtype=np.uint64), width)
    assert planes.shape == (width, bits.words_for(len(values)))
    assert planes.tolist() == reference.to_planes(values, width)
    back = bits.from_planes(planes, len(values)).tolist()
    assert back == reference.from_planes(planes.tolist(), len(values))
    assert back == [value & (2**width - 1) for value in values]


@given(count=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_unused_bits_are_ignored_and_cleared(count: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 2**64, (5, bits.words_for(count)), dtype=np.uint64)
    cleared = bits.clear_unused(planes, count)
    assert bits.from_planes(planes, count).tolist() == bits.from_planes(cleared, count).tolist()
    assert cleared.tolist() == bits.to_planes(bits.from_planes(planes, count), 5).tolist()
    assert bits.clear_unused(planes[0], count).tolist() == cleared[0].tolist()


def test_words_for() -> None:
    assert [bits.words_for(count) for count in (0, 1, 64, 65, 128, 129)] == [0, 1, 1, 2, 2, 3]


def test_wrong_shapes_are_refused_before_they_reach_c() -> None:
    a, b = np.zeros(3, dtype=np.uint64), np.zeros(2, dtype=np.uint64)
    with pytest.raises(ValueError, match="do not go with"):
        bits.xor(a, b)
    with pytest.raises(ValueError, match="words of mask"):
        bits.and_masked(a, a, a, a, a, b)
    with pytest.raises(ValueError, match="do not fit"):
        bits.and_masked(a, a, a, a, a, a, out=b)
    with pytest.raises(ValueError, match="planes"):
        bits.to_planes(a, 65)
    with pytest.raises(ValueError, match="planes"):
        bits.from_planes(np.zeros((3, 2), dtype=np.uint64), 200)
    with pytest.raises(ValueError, match="planes"):
        bits.from_planes(np.zeros((65, 2), dtype=np.uint64), 100)
