"""Choice by a shared condition."""

from __future__ import annotations

import pytest

from mpcd.field import FP, FQ, Field
from mpcd.protocols.select import cost_select, cost_select_planes, select, select_planes
from mpcd.testing.world import Bits, World


@pytest.mark.parametrize("field", [FP, FQ], ids=["p", "q"])
def test_select(field: Field) -> None:
    world = World(1, field)
    assert world.run(select, [0, 1, 1], [5, 6, 7], [8, 9, 10]) == [8, 6, 7]
    assert world.counted() == cost_select(field, 3)
    assert world.run(select, [0, 1, 1], [5, 6, 7]) == [0, 6, 7]
    assert world.counted() == cost_select(field, 3)


def test_select_planes() -> None:
    world = World(1)
    assert world.run(select_planes, Bits.of([0, 1], 1), Bits.of([5, 6], 3), Bits.of([1, 2], 3)) == [1, 6]
    assert world.counted() == cost_select_planes(3, 2)
    assert world.run(select_planes, Bits.of([0, 1], 1), Bits.of([5, 6], 3)) == [0, 6]
