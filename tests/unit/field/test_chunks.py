"""Chunks that lie across blocks, over all three fields and on every kernel table, against the slow reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mpcd.field import FP, FQ, Field, Vector, kernels
from mpcd.field.binary import K
from mpcd.field.reference import FP_REFERENCE, FQ_REFERENCE, K_REFERENCE, SmallField

FIELDS: list[tuple[Field, Field]] = [(FP, FP_REFERENCE), (FQ, FQ_REFERENCE), (K, K_REFERENCE)]


@pytest.fixture(params=kernels.available(), autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.forced(request.param):
        yield request.param


def vectors(field: Field, count: int, number: int, seed: int, edges: bool = False) -> list[Vector]:
    rng = np.random.default_rng(seed)
    if edges:
        largest = field.from_ints([field.modulus - 1, field.modulus - 2, 0, 1])
        return [field.take(largest, rng.choice(4, count, p=[0.7, 0.1, 0.1, 0.1])) for _ in range(number)]
    words = [rng.integers(0, 2**64, count * field.words_per_element, dtype=np.uint64) for _ in range(number)]
    return [field.sample(w)[0] for w in words]


@pytest.mark.parametrize(("field", "slow"), FIELDS, ids=["p", "q", "k"])
@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize(("count", "chunk"), [(1, 1), (1, 4), (5, 4), (9, 2), (16, 16), (21, 8), (67, 4), (100, 16)])
def test_every_table_agrees_with_the_reference(field: Field, slow: Field, edges: bool, count: int, chunk: int) -> None:
    x0, x1, y0, y1, z0, z1 = vectors(field, count, 6, 1, edges)
    chunks = -(-count // chunk)
    (alpha,), (weights,) = vectors(field, chunks, 1, 2, edges), vectors(field, chunk, 1, 3, edges)
    plain, expected = (f.gram((x0, x1), (y0, y1), chunk) for f in (field, slow))
    assert plain.tolist() == expected.tolist()
    weighted, expected = (f.gram((x0, x1), (y0, y1), chunk, alpha, (z0, z1)) for f in (field, slow))
    assert weighted.tolist() == expected.tolist()
    for factors in (None, alpha):
        ours, reference = field.empty(chunks), field.empty(chunks)
        field.fold(weights, x0, ours, factors)
        slow.fold(weights, x0, reference, factors)
        assert ours.tolist() == reference.tolist()


@pytest.mark.parametrize("field", [FP, FQ, K], ids=["p", "q", "k"])
@pytest.mark.parametrize(("count", "chunk"), [(1024, 4), (1025, 4), (3000, 4), (2061, 8), (9000, 16), (5003, 1)])
def test_several_tiles_agree_with_other_kernels(field: Field, count: int, chunk: int) -> None:
    """Sizes that the reference is too slow for: inner products of padded blocks, one at a time."""
    x0, x1, y0, y1, z0, z1 = vectors(field, count, 6, 4)
    chunks = -(-count // chunk)
    (alpha,), (weights,) = vectors(field, chunks, 1, 5), vectors(field, chunk, 1, 6)
    nothing = np.zeros(field.words_per_element, dtype=np.uint64)

    def blocks(v: Vector) -> list[Vector]:
        padded = field.concatenate([v, field.zeros(chunk * chunks - count)])
        return [padded[j * chunks : (j + 1) * chunks] for j in range(chunk)]

    xa, xb, ya, yb = (blocks(v) for v in (x0, x1, y0, y1))
    got = field.gram((x0, x1), (y0, y1), chunk, alpha, (z0, z1))
    with kernels.forced("portable"):
        for j in range(chunk):
            scaled = field.mul(alpha, xa[j]), field.mul(alpha, xb[j])
            for k in range(chunk):
                product = field.dot_masked(*scaled, ya[k], yb[k], nothing, nothing, chunks)[0]
                expected = field.zeros(1) if j == k else product
                assert got[chunk * j + k].tolist() == expected[0].tolist()
        totals = [field.dot(alpha, block) for z in (z0, z1) for block in blocks(z)]
        assert field.to_ints(got[chunk * chunk :]) == totals
        sums = field.zeros(chunks)
        for weight, block in zip(field.to_ints(weights), xa, strict=True):
            sums = field.add(sums, field.scale(block, weight))
        expected = field.mul(sums, alpha)
    folded = field.empty(chunks)
    field.fold(weights, x0, folded, alpha)
    assert folded.tolist() == expected.tolist()


@pytest.mark.parametrize("field", [FP, FQ, K, SmallField(7)], ids=["p", "q", "k", "7"])
def test_sizes_are_checked(field: Field) -> None:
    v, none = field.zeros(8), field.zeros(0)
    with pytest.raises(ValueError, match="chunks of 65"):
        field.gram((v, v), (v, v), 65)
    with pytest.raises(ValueError, match="in 0 elements"):
        field.gram((none, none), (none, none), 4)
    with pytest.raises(ValueError, match="come together"):
        field.gram((v, v), (v, v), 4, v[:2])
    for call in (
        lambda: field.gram((v, v), (v, v), 4, v[:3], (v, v)),
        lambda: field.gram((v, v[:3]), (v, v), 4),
        lambda: field.fold(v[:4], v, v),
        lambda: field.fold(v[:4], v, field.empty(2), v[:3]),
    ):
        with pytest.raises(ValueError, match=r"coefficients|result|together|components"):
            call()
