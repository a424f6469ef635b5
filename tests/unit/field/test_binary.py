"""GF(2^64) and the chunked bits of every kernel table, against the slow reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd.field import FP, FQ, Field, Vector, kernels
from mpcd.field.binary import K
from mpcd.field.reference import FP_REFERENCE, K_REFERENCE, ReferenceBinary, ReferenceField

words = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**64 - 1, 2**63, 0b11011])
POLYNOMIAL = (1 << 64) | 0b11011


@pytest.fixture(params=kernels.available(), autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.forced(request.param):
        yield request.param


def vectors(count: int, number: int, seed: int = 1) -> list[Vector]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2**64, size=count, dtype=np.uint64) for _ in range(number)]


def test_the_polynomial_is_irreducible() -> None:
    """Rabin's test: x^(2^64) = x, and x^(2^32) - x has no common factor with the polynomial."""
    x = power = K_REFERENCE.from_ints([2])
    for exponent in range(1, 65):
        power = K_REFERENCE.mul(power, power)
        if exponent == 32:
            a, b = POLYNOMIAL, int(power[0]) ^ 2
            while b:
                while a.bit_length() >= b.bit_length():
                    a ^= b << a.bit_length() - b.bit_length()
                a, b = b, a
            assert a == 1
    assert power.tolist() == x.tolist()


@given(words, words)
def test_one_product(a: int, b: int) -> None:
    x, y = K.from_ints([a]), K.from_ints([b])
    assert K.mul(x, y).tolist() == K_REFERENCE.mul(x, y).tolist()
    assert K.scale(x, b).tolist() == K_REFERENCE.mul(x, y).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 31, 64, 65])
def test_vectors(count: int) -> None:
    x0, x1, y0, y1, k0, k1 = vectors(count, 6)
    assert K.mul(x0, y0).tolist() == K_REFERENCE.mul(x0, y0).tolist()
    assert K.add(x0, y0).tolist() == K.sub(x0, y0).tolist() == (x0 ^ y0).tolist()
    assert K.neg(x0).tolist() == x0.tolist()
    assert K.sum(x0) == K_REFERENCE.sum(x0)
    assert K.dot(x0, y0) == K_REFERENCE.dot(x0, y0)
    assert K.sample(x0)[0].tolist() == x0.tolist()
    assert K.is_canonical(x0)
    expected = K_REFERENCE.mul_masked(x0, x1, y0, y1, k0, k1)[0]
    assert K.mul_masked(x0, x1, y0, y1, k0, k1)[0].tolist() == expected.tolist()
    for length in (1, 3, 8, 31):
        if count and count % length == 0:
            mask = k0[: count // length], k1[: count // length]
            got = K.dot_masked(x0, x1, y0, y1, *mask, length)[0]
            assert got.tolist() == K_REFERENCE.dot_masked(x0, x1, y0, y1, *mask, length)[0].tolist()


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (1, 5, 3), (4, 9, 4), (2, 17, 9), (16, 3, 16)])
def test_matrices(rows: int, inner: int, columns: int) -> None:
    x0, x1 = (v.reshape(rows, inner) for v in vectors(rows * inner, 2))
    y0, y1 = (v.reshape(inner, columns) for v in vectors(inner * columns, 2, 2))
    k0, k1 = vectors(rows * columns, 2, 3)
    assert K.matmul(x0, y0).tolist() == K_REFERENCE.matmul(x0, y0).tolist()
    expected = K_REFERENCE.matmul_masked(x0, x1, y0, y1, k0, k1)[0]
    assert K.matmul_masked(x0, x1, y0, y1, k0, k1)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("field", [(FP, FP_REFERENCE), (K, K_REFERENCE)], ids=["p", "k"])
@pytest.mark.parametrize("chunks", [0, 1, 3, 8, 9, 70, 300])
def test_sums_between_quarters(field: tuple[Field, ReferenceField], chunks: int) -> None:
    native, reference = field
    x0, x1, y0, y1 = (native.sample(v)[0] for v in vectors(4 * chunks, 4))
    expected = reference.gram4(x0, x1, y0, y1)
    got = native.gram4(x0, x1, y0, y1)
    assert got is not None
    assert expected is not None
    assert got.tolist() == expected.tolist()
    assert FQ.gram4(FQ.zeros(4), FQ.zeros(4), FQ.zeros(4), FQ.zeros(4)) is None


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 31, 33, 1000, 1027, 4100])
def test_first_level_and_fold_in_one_pass(count: int) -> None:
    x0, x1, y0, y1, z0, z1 = (FP.sample(v)[0] for v in vectors(count, 6))
    chunks = -(-count // 4)
    alpha, weights = (FP.sample(v)[0] for v in (*vectors(chunks, 1, 2), *vectors(4, 1, 3)))
    quarters = [slice(j * chunks, min((j + 1) * chunks, count)) for j in range(4)]
    expected = [0] * 24
    folded = [0] * chunks
    for j, left in enumerate(quarters):
        for k, right in enumerate(quarters):
            terms = zip(
                alpha.tolist(),
                *(v[s].tolist() for v, s in ((x0, left), (x1, left), (y0, right), (y1, right))),
                strict=False,
            )
            if j != k:
                expected[4 * j + k] = sum(a * (p * (r + s) + q * r) for a, p, q, r, s in terms) % FP.modulus
        for place, v in ((16, z0), (20, z1)):
            expected[place + j] = (
                sum(a * z for a, z in zip(alpha.tolist(), v[left].tolist(), strict=False)) % FP.modulus
            )
        for c, value in enumerate(x0[left].tolist()):
            folded[c] += value * int(weights[j])
    got = FP.first4(alpha, (x0, x1), (y0, y1), (z0, z1))
    assert got is not None
    assert got.tolist() == expected
    out = FP.empty(chunks)
    assert FP.fold4(None, weights, x0, out)
    assert out.tolist() == [value % FP.modulus for value in folded]
    assert FP.fold4(alpha, weights, x0, out)
    assert out.tolist() == [value * a % FP.modulus for value, a in zip(folded, alpha.tolist(), strict=True)]
    assert not FQ.fold4(None, FQ.zeros(4), FQ.zeros(4), FQ.zeros(1))


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 33])
def test_chunks_of_bits(count: int) -> None:
    x0, x1, y0, y1, z0, z1 = vectors(count, 6)
    (alpha,) = vectors(8 * count, 1, 2)
    expected = K_REFERENCE.bits_gram(alpha, x0, x1, y0, y1, z0, z1)
    assert K.bits_gram(alpha, x0, x1, y0, y1, z0, z1).tolist() == expected.tolist()
    (weights,) = vectors(8, 1, 3)
    for factors in (alpha, None):
        ours, reference = K.empty(8 * count), K.empty(8 * count)
        K.bits_fold(factors, weights, x0, ours)
        K_REFERENCE.bits_fold(factors, weights, x0, reference)
        assert ours.tolist() == reference.tolist()


def test_sizes_are_checked() -> None:
    (v,) = vectors(8, 1)
    with pytest.raises(ValueError, match="one coefficient"):
        K.bits_gram(v, v, v, v, v, v, v)
    with pytest.raises(ValueError, match="per byte"):
        K.bits_fold(None, v, v, v)
    with pytest.raises(ValueError, match="per byte"):
        K.bits_fold(v, v, v, K.empty(64))
    for refused in (K.to_signed, K.to_int64):
        with pytest.raises(TypeError):
            refused(v)
    with pytest.raises(TypeError):
        K.from_int64(np.zeros(1, dtype=np.int64))
    with pytest.raises(TypeError):
        K.to_float64(v, 0)
    with pytest.raises(TypeError):
        K.from_float64(np.zeros(1), 0)
    assert repr(K) == "GF(2^64)"


def test_a_toy_field_of_16_elements() -> None:
    toy = ReferenceBinary("16", 4, 0b11)
    assert repr(toy) == "GF(2^4)"
    units = list(range(1, 16))
    for a in units:
        products = toy.mul(toy.from_ints([a] * 15), toy.from_ints(units)).tolist()
        assert sorted(products) == units
