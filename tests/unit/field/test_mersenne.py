"""The production fields equal the exact reference on every instruction set, on edge values and random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpcd.field import FP, FQ, MersenneField, Vector
from mpcd.field.reference import FP_REFERENCE, FQ_REFERENCE, ReferenceField

pytestmark = pytest.mark.usefixtures("table")

PAIRS = [pytest.param(FP, FP_REFERENCE, id="p"), pytest.param(FQ, FQ_REFERENCE, id="q")]
both_fields = pytest.mark.parametrize(("field", "reference"), PAIRS)
COUNTS = st.one_of(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.sampled_from([63, 64, 65, 129, 257]))
SEEDS = st.integers(0, 2**32)
FEW = settings().max_examples // 4  # each example is a vector of many elements


class Source:
    """Vectors of edge values and random ones from one seed that hypothesis draws."""

    def __init__(self, field: MersenneField, seed: int) -> None:
        self.field = field
        self.rng = np.random.default_rng(seed)
        m = field.modulus
        self.edges = [0, 1, 2, m - 1, m - 2, m // 2, m // 2 + 1, 2**52 - 1, 2**52, 2**60, (2**64 - 1) % m, 2**63 % m]

    def ints(self, count: int) -> list[int]:
        edge = self.rng.integers(0, 2 * len(self.edges), count).tolist()
        wide = [int.from_bytes(self.rng.bytes(16), "little") % self.field.modulus for _ in range(count)]
        return [self.edges[e] if e < len(self.edges) else w for e, w in zip(edge, wide, strict=True)]

    def vector(self, count: int) -> Vector:
        return self.field.from_ints(self.ints(count))

    def vectors(self, number: int, count: int) -> list[Vector]:
        return [self.vector(count) for _ in range(number)]

    def factors(self, count: int) -> tuple[Vector, Vector, Vector, Vector]:
        return self.vector(count), self.vector(count), self.vector(count), self.vector(count)

    def matrix(self, rows: int, columns: int) -> Vector:
        shape = (rows, columns) if self.field is FP else (rows, columns, 2)
        return self.vector(rows * columns).reshape(shape)

    def words(self, count: int) -> Vector:
        """Raw words, many of them all ones so that masks are rejected."""
        words = self.rng.integers(0, 2**64, count * self.field.words_per_element, dtype=np.uint64)
        words[self.rng.random(len(words)) < 0.4] = 2**64 - 1
        return words


def same(a: Vector, b: Vector) -> bool:
    return a.dtype == b.dtype == np.uint64 and a.shape == b.shape and bool((a == b).all())


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS)
def test_element_wise(field: MersenneField, reference: ReferenceField, count: int, seed: int) -> None:
    a, b = Source(field, seed).vectors(2, count)
    assert same(field.add(a, b), reference.add(a, b))
    assert same(field.sub(a, b), reference.sub(a, b))
    assert same(field.mul(a, b), reference.mul(a, b))
    assert same(field.neg(a), reference.neg(a))


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS, k=st.integers(-(2**130), 2**130))
def test_scale(field: MersenneField, reference: ReferenceField, count: int, seed: int, k: int) -> None:
    a = Source(field, seed).vector(count)
    assert same(field.scale(a, k), reference.scale(a, k))


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS)
def test_sums(field: MersenneField, reference: ReferenceField, count: int, seed: int) -> None:
    a, b = Source(field, seed).vectors(2, count)
    assert field.sum(a) == reference.sum(a)
    assert field.dot(a, b) == reference.dot(a, b)


@both_fields
@pytest.mark.parametrize("count", [8192, 8193, 20_000])
def test_sums_of_the_largest_element_do_not_overflow(
    field: MersenneField, reference: ReferenceField, count: int
) -> None:
    assert reference.modulus == field.modulus
    largest = field.from_ints([-1]).repeat(count, axis=0)
    words = np.zeros(field.words_per_element, dtype=np.uint64)
    assert field.sum(largest) == -count % field.modulus
    assert field.dot(largest, largest) == count
    z, rejected = field.dot_masked(largest, largest, largest, largest, words, words, count)
    assert (field.to_ints(z), rejected) == ([3 * count], 0)
    column = largest.reshape(count, 1) if field is FP else largest.reshape(count, 1, 2)
    wide = column.repeat(5, axis=1)
    row = column.swapaxes(0, 1)
    assert field.to_ints(field.matmul(row, wide)[0]) == [count] * 5
    z, _ = field.matmul_masked(row, row, wide, wide, words.repeat(5), words.repeat(5))
    assert field.to_ints(z[0]) == [3 * count] * 5


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS)
def test_sample_counts_the_excluded_word(
    field: MersenneField, reference: ReferenceField, count: int, seed: int
) -> None:
    words = Source(field, seed).words(count)
    (got, rejected), (expected, expected_rejected) = field.sample(words), reference.sample(words)
    assert same(got, expected)
    assert rejected == expected_rejected
    assert field.is_canonical(got)


@pytest.mark.parametrize("high_bits", [0, 0x8000_0000_0000_0000])
def test_sample_ignores_the_bits_above_the_field(high_bits: int) -> None:
    words = np.array([2**61 - 1 | high_bits, 2**61 - 2 | high_bits, high_bits], dtype=np.uint64)
    got, rejected = FP.sample(words)
    assert (FP.to_ints(got), rejected) == ([0, 2**61 - 2, 0], 1)
    pairs = np.array([2**64 - 1, 2**63 - 1 | high_bits, 2**64 - 2, 2**63 - 1 | high_bits], dtype=np.uint64)
    got, rejected = FQ.sample(pairs)
    assert (FQ.to_ints(got), rejected) == ([0, 2**127 - 2], 1)


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS)
def test_masked_product(field: MersenneField, reference: ReferenceField, count: int, seed: int) -> None:
    source = Source(field, seed)
    factors, words = source.factors(count), (source.words(count), source.words(count))
    got, rejected = field.mul_masked(*factors, *words)
    expected, expected_rejected = reference.mul_masked(*factors, *words)
    assert same(got, expected)
    assert rejected == expected_rejected
    out = field.empty(count)
    assert field.mul_masked(*factors, *words, out=out)[0] is out
    assert same(out, expected)


@both_fields
@settings(max_examples=FEW)
@given(groups=st.integers(0, 3), length=st.sampled_from([1, 2, 7, 8, 9, 127, 128, 129]), seed=SEEDS)
def test_masked_inner_products(
    field: MersenneField, reference: ReferenceField, groups: int, length: int, seed: int
) -> None:
    source = Source(field, seed)
    factors, words = source.factors(groups * length), (source.words(groups), source.words(groups))
    got, rejected = field.dot_masked(*factors, *words, length)
    expected, expected_rejected = reference.dot_masked(*factors, *words, length)
    assert same(got, expected)
    assert rejected == expected_rejected


@both_fields
@given(rows=st.integers(0, 6), inner=st.integers(0, 9), columns=st.integers(1, 10), seed=SEEDS)
@example(rows=5, inner=1025, columns=9, seed=0)
@example(rows=4, inner=20, columns=17, seed=1)
@settings(max_examples=FEW)
def test_matrix_products(
    field: MersenneField, reference: ReferenceField, rows: int, inner: int, columns: int, seed: int
) -> None:
    source = Source(field, seed)
    a0, a1 = source.matrix(rows, inner), source.matrix(rows, inner)
    b0, b1 = source.matrix(inner, columns), source.matrix(inner, columns)
    assert same(field.matmul(a0, b0), reference.matmul(a0, b0))
    words = [source.words(rows * columns) for _ in range(2)]
    got, rejected = field.matmul_masked(a0, a1, b0, b1, *words)
    expected, expected_rejected = reference.matmul_masked(a0, a1, b0, b1, *words)
    assert same(got, expected)
    assert rejected == expected_rejected


@both_fields
@settings(max_examples=FEW)
@given(count=st.integers(1, 70), seed=SEEDS, data=st.data())
def test_canonical_check(
    field: MersenneField, reference: ReferenceField, count: int, seed: int, data: st.DataObject
) -> None:
    a = Source(field, seed).vector(count)
    assert field.is_canonical(a)
    flat = a.reshape(count, -1)
    place = data.draw(st.integers(0, count - 1))
    limbs = field.words_per_element
    bad = data.draw(st.one_of(st.just(field.modulus), st.integers(field.modulus, 2 ** (64 * limbs) - 1)))
    flat[place] = [bad >> 64 * k & (2**64 - 1) for k in range(limbs)]
    assert not field.is_canonical(a)
    assert not reference.is_canonical(a)
    with pytest.raises(ValueError, match="not below the modulus"):
        field.decode(a.tobytes(), count)


@both_fields
@settings(max_examples=FEW)
@given(count=COUNTS, seed=SEEDS)
def test_wire_form(field: MersenneField, reference: ReferenceField, count: int, seed: int) -> None:
    a = Source(field, seed).vector(count)
    encoded = field.encode(a)
    assert encoded.nbytes == count * field.element_bytes
    assert bytes(encoded) == bytes(reference.encode(a))
    decoded = field.decode(encoded, count)
    assert same(decoded, a)
    assert not np.shares_memory(decoded, a)
    with pytest.raises(ValueError, match="bytes are not"):
        field.decode(bytes(encoded) + b"\0", count)
    if count:
        with pytest.raises(TypeError, match="read-only"):
            encoded[0] = 1


# ---------------------------------------------------------------------------------------- conversions

INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, -1, 2**60 - 1, -(2**60), -(2**63)]))
FLOATS = st.one_of(
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-1000, 1000).map(lambda n: n / 4),
    st.integers(-2_000_000, 2_000_000).map(lambda n: math.ldexp(n, -21)),
)


@both_fields
@given(values=st.lists(INT64, max_size=20))
def test_int64(field: MersenneField, reference: ReferenceField, values: list[int]) -> None:
    a = np.array(values, dtype=np.int64)
    v = field.from_int64(a)
    assert same(v, reference.from_int64(a))
    assert field.to_signed(v) == reference.to_signed(v)
    assert field.to_int64(v).tolist() == field.to_signed(v)


@given(values=st.lists(st.integers(-(2**126) + 1, 2**126 - 1), min_size=1, max_size=9))
@example(values=[2**63])
@example(values=[-(2**63)])
@example(values=[-(2**63) - 1])
@example(values=[2**63 - 1])
def test_int64_of_wide_elements(values: list[int]) -> None:
    v = FQ.from_ints(values)
    if all(-(2**63) <= value < 2**63 for value in values):
        assert FQ.to_int64(v).tolist() == values
    else:
        with pytest.raises(OverflowError):
            FQ.to_int64(v)


def attempt(field: MersenneField | ReferenceField, a: NDArray[np.float64], fraction_bits: int) -> list[int] | None:
    try:
        return field.to_signed(field.from_float64(a, fraction_bits))
    except OverflowError:
        return None


@both_fields
@given(value=FLOATS, fraction_bits=st.integers(0, 200))
@example(value=2.0**60 - 128, fraction_bits=0)
@example(value=2.0**60, fraction_bits=0)
@example(value=2.0**126, fraction_bits=0)
@example(value=math.nextafter(2.0**126, 0), fraction_bits=0)
@example(value=-0.5, fraction_bits=0)
@example(value=5e-324, fraction_bits=200)
@example(value=1.7976931348623157e308, fraction_bits=200)
def test_from_float64(field: MersenneField, reference: ReferenceField, value: float, fraction_bits: int) -> None:
    a = np.array([value, 1.0 / 4], dtype=np.float64)
    assert attempt(field, a, fraction_bits) == attempt(reference, a, fraction_bits)


@both_fields
@given(seed=SEEDS, shift=st.integers(0, 126), fraction_bits=st.integers(0, 200))
def test_to_float64(field: MersenneField, reference: ReferenceField, seed: int, shift: int, fraction_bits: int) -> None:
    v = field.from_ints([value >> shift for value in Source(field, seed).ints(9)])
    for elements in (v, field.neg(v)):
        expected = reference.to_float64(elements, fraction_bits).tolist()
        assert field.to_float64(elements, fraction_bits).tolist() == expected


# ---------------------------------------------------------------------------------------- shapes


def test_ints_round_trip() -> None:
    values = [0, 1, -1, 2**200, -(2**127), 2**61 - 1, 2**127 - 1]
    for field in (FP, FQ):
        v = field.from_ints(values)
        assert field.to_ints(v) == [value % field.modulus for value in values]
        assert all(-field.modulus < 2 * value <= field.modulus for value in field.to_signed(v))
    assert FP.from_ints([]).shape == (0,)
    assert FQ.from_ints([]).shape == (0, 2)


def test_concatenate_and_take() -> None:
    for field in (FP, FQ):
        a, b = field.from_ints([1, 2, 3]), field.from_ints([4])
        assert field.to_ints(field.concatenate([a, b])) == [1, 2, 3, 4]
        assert field.length(field.concatenate([])) == 0
        assert field.to_ints(field.take(a, slice(None, None, 2))) == [1, 3]
        assert field.to_ints(field.take(a, np.array([2, 0, 2]))) == [3, 1, 3]


def test_views_that_are_not_contiguous_are_understood() -> None:
    for field in (FP, FQ):
        a = field.from_ints(range(10))
        assert field.to_ints(field.add(a[::2], a[::2])) == [0, 4, 8, 12, 16]
        assert bytes(field.encode(a[::-1])) == bytes(field.encode(field.from_ints(range(9, -1, -1))))


@pytest.mark.parametrize("field", [FP, FQ])
def test_wrong_shapes_are_refused_before_they_reach_c(field: MersenneField) -> None:
    a, b = field.from_ints([1, 2, 3]), field.from_ints([1, 2])
    words = np.zeros(3 * field.words_per_element, dtype=np.uint64)
    with pytest.raises(ValueError, match="do not go together"):
        field.add(a, b)
    with pytest.raises(ValueError, match="do not go together"):
        field.mul_masked(a, a, a, b, words, words)
    with pytest.raises(ValueError, match="masks need"):
        field.mul_masked(a, a, a, a, words, words[:-1])
    with pytest.raises(ValueError, match="do not fit"):
        field.mul_masked(a, a, a, a, words, words, out=b)
    with pytest.raises(ValueError, match="groups of"):
        field.dot_masked(a, a, a, a, words, words, 2)
    with pytest.raises(ValueError, match="uint64"):
        field.neg(a.astype(np.float64))
    with pytest.raises(ValueError, match="no product"):
        field.matmul(a.reshape(1, 3, -1).squeeze(-1) if field is FP else a.reshape(1, 3, 2), b)
    with pytest.raises(ValueError, match="fraction bits"):
        field.to_float64(a, 201)
    with pytest.raises(ValueError, match="int64"):
        field.from_int64(np.array([1.0]))
