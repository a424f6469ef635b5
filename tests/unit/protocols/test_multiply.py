"""Products over fields: values, exact cost, and the place of the deferred check."""

from __future__ import annotations

import numpy as np
import pytest

from mpcd.errors import PeerMalformed
from mpcd.field import FP, FQ, Field
from mpcd.field.reference import SmallField
from mpcd.protocols.cost import Cost
from mpcd.protocols.multiply import (
    cost_inner_product,
    cost_matrix_product,
    cost_mul,
    inner_product,
    matrix_product,
    mul,
)
from mpcd.testing.world import World

FIELDS: list[Field] = [FP, FQ, SmallField(13)]
FIELD_IDS = ["p", "q", "toy"]


@pytest.fixture(params=FIELDS, ids=FIELD_IDS)
def field(request: pytest.FixtureRequest) -> Field:
    found: Field = request.param
    return found


def test_mul(field: Field) -> None:
    m = field.modulus
    assert World(1, field).run(mul, [6, m - 1, 0], [5, m - 1, 9]) == [30 % m, 1, 0]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 1000])
def test_mul_cost(field: Field, count: int) -> None:
    world = World(count, field)
    world.run(mul, list(range(count)), list(range(count)))
    assert world.counted() == cost_mul(field, count)


def test_mul_over_many_mask_blocks() -> None:
    count = 3 * 2**16 + 5
    world = World(3)
    x = world.random_elements(FP, count)
    y = world.random_elements(FP, count)
    assert world.run(mul, FP.to_ints(x), FP.to_ints(y)) == FP.to_ints(FP.mul(x, y))
    assert world.counted() == cost_mul(FP, count)


@pytest.mark.parametrize(("groups", "length"), [(1, 1), (1, 50), (7, 3), (20, 1)])
def test_inner_product(field: Field, groups: int, length: int) -> None:
    world = World(5, field)
    x, y = list(range(groups * length)), list(range(3, 3 + groups * length))
    expected = [
        sum(x[g * length + i] * y[g * length + i] for i in range(length)) % field.modulus for g in range(groups)
    ]
    assert world.run(inner_product, x, y, length) == expected
    assert world.counted() == cost_inner_product(field, groups, length)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (5, 1, 2), (1, 6, 1)])
def test_matrix_product(field: Field, shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    world = World(6, field)
    x = np.arange(1, 1 + rows * inner).reshape(rows, inner)
    y = np.arange(4, 4 + inner * columns).reshape(inner, columns)
    expected = [value % field.modulus for value in (x @ y).reshape(-1).tolist()]
    assert world.run(matrix_product, x.reshape(-1).tolist(), y.reshape(-1).tolist(), shape) == expected
    assert world.counted() == cost_matrix_product(field, shape)


def test_one_element_per_party_and_product() -> None:
    assert cost_mul(FP, 10**6) == Cost(1, (8 * 10**6,) * 3, products=10**6)
    assert cost_inner_product(FQ, 10, 1000) == Cost(1, (160,) * 3, products=10_000)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("change", ["flip", "add"])
def test_twin_a_tampered_product_is_wrong_and_recorded_for_the_deferred_check(party: int, change: str) -> None:
    world = World(1).tamper("mul", party, change)  # type: ignore[arg-type]
    assert world.run(mul, [6, 7], [5, 5]) != [30, 35]
    honest = [verifier for index, verifier in enumerate(world.deferred) if index != party]
    assert all(verifier.records == ["mul"] for verifier in honest)
    assert all(verifier.products == 2 for verifier in honest)


@pytest.mark.parametrize("party", range(3))
def test_twin_a_non_canonical_element_aborts(field: Field, party: int) -> None:
    world = World(1, field).tamper("mul", party, "overflow")
    with pytest.raises(PeerMalformed, match=f"compute{party} sent an element outside the field at step mul"):
        world.run(mul, [6, 7], [5, 5])
