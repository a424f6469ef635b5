"""Local algebra of replicated sharings: what the three parties do alone is what the value does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mpcd.field import FP, FQ, Field
from mpcd.field.reference import SmallField
from mpcd.sharing import Replicated
from mpcd.testing.world import World, reconstruct

FIELDS = [FP, FQ, SmallField(7)]
FIELD_IDS = ["p", "q", "toy"]


def value(shares: list[Replicated]) -> list[int]:
    return shares[0].field.to_ints(reconstruct(shares))


@pytest.fixture(params=FIELDS, ids=FIELD_IDS)
def field(request: pytest.FixtureRequest) -> Field:
    found: Field = request.param
    return found


def dealt(field: Field, values: list[int]) -> list[Replicated]:
    return World(11, field).share(field.from_ints(values))


def local(operation: Callable[..., Replicated], *shared: list[Replicated]) -> list[Replicated]:
    return [operation(*(share[i] for share in shared)) for i in range(3)]


def test_linear_algebra(field: Field) -> None:
    m = field.modulus
    x, y = dealt(field, [1, 2, m - 1]), dealt(field, [5, 6, 3])
    assert value(local(lambda u, v: u + v, x, y)) == [6 % m, 8 % m, 2]
    assert value(local(lambda u, v: u - v, x, y)) == [-4 % m, -4 % m, (m - 4) % m]
    assert value(local(lambda u: -u, x)) == [m - 1, m - 2, 1]
    assert value(local(lambda u: u.scale(3), x)) == [3, 6, (m - 3) % m]


def test_public_values_enter_one_component(field: Field) -> None:
    constant = field.from_ints([3, 4])
    assert value([Replicated.public(field, constant, i) for i in range(3)]) == [3, 4]


def test_components_are_sharings_of_their_own(field: Field) -> None:
    x = dealt(field, [5, 6])
    parts = [Replicated.of_components(field, x[i].a, x[i].b, i) for i in range(3)]
    for j in range(3):
        assert value([parts[i][j] for i in range(3)]) == field.to_ints(x[j].a)


def test_shape(field: Field) -> None:
    x, y = dealt(field, [1, 2, 3]), dealt(field, [4])
    both = local(lambda u, v: Replicated.concatenate([u, v]), x, y)
    assert value(both) == [1, 2, 3, 4]
    assert [value(local(lambda u, k=k: u.split([3, 1])[k], both)) for k in range(2)] == [[1, 2, 3], [4]]
    assert value(local(lambda u: u.take(np.array([2, 0])), x)) == [3, 1]
    assert value(local(lambda u: u.take(slice(None, None, 2)), both)) == [1, 3]


def test_a_sharing_with_unequal_holders_is_not_reconstructed() -> None:
    x = dealt(FP, [1, 2])
    x[1] = Replicated(FP, x[1].a, FP.from_ints([0, 0]))
    with pytest.raises(AssertionError, match="disagree"):
        reconstruct(x)


def test_mixed_fields_and_lengths_are_bugs() -> None:
    x, y, z = dealt(FP, [1]), dealt(FQ, [1]), dealt(FP, [1, 2])
    with pytest.raises(AssertionError):
        _ = x[0] + y[0]
    with pytest.raises(AssertionError):
        _ = x[0] + z[0]
