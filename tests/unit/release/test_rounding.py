"""Rounded on shares equals rounded in the clear, for every base, sign and unit; the cost is exact."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from mpcd.errors import CheatDetected, MpcdError, PlanUnsupported
from mpcd.field import FP, FQ, Field
from mpcd.plan.nodes import ColumnRef, LocalValue
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.release.rounding import Multiple, Rounding, multiple_of
from mpcd.sharing import Replicated
from mpcd.testing.world import World

X = ColumnRef(0, "x")
ROWS = 1000


def summed(low: int, high: int, unit: int = 1, field: str = "p") -> LocalValue:
    return LocalValue("sum", (X,), None, low, high, field, 0, unit)  # type: ignore[arg-type]


COUNT = LocalValue("count", (), None, 0, 1, "p", 0)


def plain(value: int, modulus: int) -> int:
    """The nearest multiple, the upper one of two."""
    return int((Fraction(value, modulus) + Fraction(modulus // 2, modulus)).__floor__()) * modulus


async def rounded(ctx: Context, pooled: Replicated, which: Rounding) -> Replicated:
    return await which.round(ctx, pooled)


def signed(field: Field, values: list[int]) -> list[int]:
    return [value - field.modulus if value > field.modulus // 2 else value for value in values]


@pytest.mark.parametrize("base", [2, 5, 8, 10, 15, 997, 1_000_000])
@pytest.mark.parametrize("field", [FP, FQ], ids=lambda field: field.name)
def test_equals_rounding_in_the_clear(base: int, field: Field) -> None:
    values = [COUNT, summed(-500, 90), summed(0, 120, 100), summed(-3, 3, 10)]
    cells = 67
    rng = random.Random(base)
    which = Rounding(field, tuple(multiple_of(value, base, ROWS, field) for value in values), cells)
    numbers: list[int] = []
    for value in values:
        low, high = value.low * ROWS, value.high * ROWS
        edges = [low, high, 0, base * value.unit // 2, base * value.unit // 2 - 1, -(base * value.unit // 2)]
        some = [min(max(edge, low), high) for edge in edges]
        numbers += some + [rng.randint(low, high) for _ in range(cells - len(some))]
    world = World(base, field)
    found = signed(field, world.run(rounded, numbers, which))
    wanted = [plain(number, base * values[place // cells].unit) for place, number in enumerate(numbers)]
    assert found == wanted
    assert all(number % base == 0 for number in found)
    assert world.counted() == which.cost()
    assert which.sizes.elements >= len(numbers)


def test_ties_go_up_and_the_error_is_at_most_half_the_base() -> None:
    which = Rounding(FP, (multiple_of(summed(-500, 500), 10, ROWS, FP),), 5)
    assert signed(FP, World(1).run(rounded, [5, 4, -5, -6, 15], which)) == [10, 0, 0, -10, 20]


def test_wide_values() -> None:
    value = summed(-(2**80), 2**80, field="q")
    which = Rounding(FQ, (multiple_of(value, 5, ROWS, FQ),), 3)
    numbers = [2**80 * ROWS, -(2**80) * ROWS + 1, 12]
    assert signed(FQ, World(2, FQ).run(rounded, numbers, which)) == [plain(number, 5) for number in numbers]


def test_what_cannot_be_rounded_is_refused() -> None:
    with pytest.raises(PlanUnsupported, match="variances"):
        multiple_of(LocalValue("sum", (X, X), None, 0, 100, "p", 0), 5, ROWS, FP)
    with pytest.raises(PlanUnsupported, match="too large to be rounded"):
        multiple_of(summed(-(2**50), 2**50), 5, 1024, FP)
    assert multiple_of(COUNT, 5, ROWS, FP) == Multiple(5, 2, 10)


async def opened(ctx: Context, pooled: Replicated, which: Rounding) -> object:
    return await open_all(ctx.narrow("open"), await which.round(ctx.narrow("round"), pooled))


@pytest.mark.parametrize(
    ("step", "change"),
    [("bits/save", "flip"), ("residue/layer0", "flip"), ("quotient/level0", "flip"), ("elements/first", "add"),
     ("elements/second", "shorten")],
)  # fmt: skip
def test_a_tampered_rounding_opens_nothing(step: str, change: str) -> None:
    which = Rounding(FP, (multiple_of(COUNT, 5, ROWS, FP),), 4)
    world = World(9, verifier=Malicious).tamper(step, 1, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change != "shorten" else MpcdError):
        world.run(opened, [1, 2, 3, 40], which)
    assert World(9, verifier=Malicious).run(opened, [1, 2, 3, 40], which) == [0, 0, 5, 40]
