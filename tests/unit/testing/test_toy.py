"""A toy field is the reference's small field, only faster."""

from __future__ import annotations

import numpy as np
import pytest

from mpcd.field import Vector
from mpcd.field.reference import SmallField
from mpcd.testing.toy import TOY_MODULUS_MAX, ToyField

MODULI = [2, 3, 5, 31, 65_537, TOY_MODULUS_MAX]


def elements(field: SmallField, seed: int) -> Vector:
    m = field.modulus
    return field.from_ints([0, 1, m - 1, m >> 1, *((seed * 7919 + 104_729 * e) % m for e in range(20))])


@pytest.mark.parametrize("modulus", MODULI)
def test_arithmetic(modulus: int) -> None:
    toy, small = ToyField(modulus), SmallField(modulus)
    a, b, c, d = (elements(small, seed) for seed in range(4))
    for name in ("add", "sub", "mul"):
        assert np.array_equal(getattr(toy, name)(a, b), getattr(small, name)(a, b))
    assert np.array_equal(toy.neg(a), small.neg(a))
    for k in (-1, 0, 2, modulus, 2**70):
        assert np.array_equal(toy.scale(a, k), small.scale(a, k))
    signed = np.array([-5, 0, 7, -(2**63), 2**63 - 1], dtype=np.int64)
    assert np.array_equal(toy.from_int64(signed), small.from_int64(signed))
    words = np.arange(24, dtype=np.uint64) * np.uint64(2**59 - 55)
    assert np.array_equal(toy.mul_masked(a, b, c, d, words, a)[0], small.mul_masked(a, b, c, d, words, a)[0])
    few = words[:6]
    assert np.array_equal(
        toy.dot_masked(a, b, c, d, few, few[::-1], 4)[0], small.dot_masked(a, b, c, d, few, few[::-1], 4)[0]
    )
    out = toy.empty(24)
    assert toy.mul_masked(a, b, c, d, words, a, out)[0] is out
    assert bytes(toy.encode(a)) == bytes(small.encode(a))
    assert toy.is_canonical(a)
    assert not toy.is_canonical(a + np.uint64(modulus))


@pytest.mark.parametrize("modulus", MODULI)
def test_sampling_rejects_the_same_words(modulus: int) -> None:
    top = 2**64 - 2**64 % modulus
    words = np.array([0, 1, modulus, min(top, 2**64 - 1), top - 1, 2**64 - 1], dtype=np.uint64)
    toy, small = ToyField(modulus).sample(words), SmallField(modulus).sample(words)
    assert np.array_equal(toy[0], small[0])
    assert toy[1] == small[1]
