"""The reference itself, on values worked out by hand, and toy fields."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from mpcd.field import FP, FQ, Field, reference
from mpcd.field.reference import FP_REFERENCE, FQ_REFERENCE, SmallField


def test_every_field_is_a_field() -> None:
    fields: list[Field] = [FP, FQ, FP_REFERENCE, FQ_REFERENCE, SmallField(7)]
    for field in fields:
        a = field.from_ints([1, 2, 3])
        assert field.to_signed(field.sub(field.zeros(3), a)) == [-1, -2, -3]
        assert field.decode(field.encode(a), 3).tolist() == a.tolist()


def test_known_products() -> None:
    p, q = 2**61 - 1, 2**127 - 1
    assert FP_REFERENCE.to_ints(FP_REFERENCE.mul(FP_REFERENCE.from_ints([2**60]), FP_REFERENCE.from_ints([2]))) == [1]
    assert FQ_REFERENCE.to_ints(FQ_REFERENCE.mul(FQ_REFERENCE.from_ints([2**126]), FQ_REFERENCE.from_ints([4]))) == [2]
    assert FP_REFERENCE.to_ints(FP_REFERENCE.from_ints([p, -1, p + 5])) == [0, p - 1, 5]
    assert FQ_REFERENCE.to_ints(FQ_REFERENCE.from_ints([q, -1, q + 5])) == [0, q - 1, 5]


@pytest.mark.parametrize("field", [FP, FQ, FP_REFERENCE, FQ_REFERENCE, SmallField(5), SmallField(2**61 - 1)])
def test_the_three_masked_products_share_the_product(field: Field) -> None:
    """P_i holds x_i, x_{i+1}, y_i, y_{i+1} and the streams k_i, k_{i+1}; the masks cancel."""
    rng = np.random.default_rng(3)
    n = 4
    x, y = (
        [field.sample(rng.integers(0, 2**60, n * field.words_per_element, dtype=np.uint64))[0] for _ in range(3)]
        for _ in "xy"
    )
    k = [rng.integers(0, 2**60, n * field.words_per_element, dtype=np.uint64) for _ in range(3)]
    z = [field.mul_masked(x[i], x[i - 2], y[i], y[i - 2], k[i], k[i - 2])[0] for i in range(3)]
    together = [field.add(field.add(v[0], v[1]), v[2]) for v in (x, y, z)]
    assert together[2].tolist() == field.mul(together[0], together[1]).tolist()


@pytest.mark.parametrize("modulus", [2, 3, 5, 7, 11])
def test_small_fields_multiply_like_integers(modulus: int) -> None:
    field = SmallField(modulus)
    for a, b in product(range(modulus), repeat=2):
        assert field.to_ints(field.mul(field.from_ints([a]), field.from_ints([b]))) == [a * b % modulus]


def test_small_words_stand_for_themselves_and_top_words_are_drawn_again() -> None:
    field = SmallField(5)
    drawn, rejected = field.sample(np.arange(10, dtype=np.uint64))
    assert rejected == 0
    assert set(Counter(field.to_ints(drawn)).values()) == {2}
    uneven = 2**64 % 5
    top = np.array([2**64 - k for k in range(1, uneven + 3)], dtype=np.uint64)
    assert field.sample(top)[1] == uneven


def test_a_small_field_refuses_what_is_not_small() -> None:
    with pytest.raises(ValueError, match="toy field"):
        SmallField(2**64)


def test_planes_by_hand() -> None:
    assert reference.to_planes([1, 2, 3], 2) == [[0b101], [0b110]]
    assert reference.from_planes([[0b101], [0b110]], 3) == [1, 2, 3]
    assert reference.and_masked(0b1100, 0, 0b1010, 0b0000, 0b1, 0b10) == 0b1011
