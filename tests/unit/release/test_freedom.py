"""Degrees of freedom on shares equal the rule in the clear, at the stated cost; a saturated fit is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mpcd.errors import Bug, CheatDetected, MpcdError
from mpcd.field import bits
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.release import freedom
from mpcd.release.freedom import Model
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World, ints_of

WIDTH = 7
CELLS = 66


async def evaluate(
    ctx: Context,
    persons: Sequence[Sequence[Planes]],
    parameters: tuple[int, ...],
    threshold: int,
    persons_disjoint: bool,
) -> list[Planes]:
    models = [Model(tuple(one), count) for one, count in zip(persons, parameters, strict=True)]
    return await freedom.fails(ctx, models, threshold, persons_disjoint=persons_disjoint)


def plain(counts: Sequence[int], parameters: int, threshold: int, *, persons_disjoint: bool) -> int:
    known = sum(counts) - max(counts) if persons_disjoint else sorted(counts)[-2]
    return int(known - parameters < threshold)


@pytest.mark.parametrize("disjoint", [True, False])
@pytest.mark.parametrize("owners", [2, 3, 5])
def test_equals_the_rule_in_the_clear_and_costs_what_it_says(owners: int, disjoint: bool) -> None:
    world = World(owners)
    parameters, threshold = (1, 4, 30), 10
    numbers = (world.random_words(3 * owners * CELLS) % np.uint64(60)).reshape(3, owners, CELLS).astype(int)
    shared = [[Bits.of(owner.tolist(), WIDTH) for owner in model] for model in numbers]
    found = world.run(evaluate, shared, parameters, threshold, disjoint)
    assert found == [
        [
            plain(numbers[m, :, cell].tolist(), parameters[m], threshold, persons_disjoint=disjoint)
            for cell in range(CELLS)
        ]
        for m in range(3)
    ]
    assert {flag for flags in found for flag in flags} == {0, 1}
    words = bits.words_for(CELLS)
    assert world.counted() == freedom.cost(parameters, owners, WIDTH, words, threshold, persons_disjoint=disjoint)


def test_a_fit_that_passes_the_floor_may_lack_freedom() -> None:
    """24 persons at three owners pass a floor of 11, and 20 parameters reproduce nearly all of them."""
    shared = [[Bits.of([8], WIDTH)] * 3] * 2
    assert World(1).run(evaluate, shared, (2, 20), 10, True) == [[0], [1]]


def test_a_model_without_parameters_is_none() -> None:
    with pytest.raises(Bug):
        World(1).run(evaluate, [[Bits.of([8], WIDTH)] * 3], (0,), 10, True)


async def opened(ctx: Context, persons: Sequence[Sequence[Planes]], parameters: tuple[int, ...]) -> object:
    (found,) = await evaluate(ctx.narrow("rule"), persons, parameters, 10, persons_disjoint=True)
    return await open_all(ctx.narrow("open"), found)


@pytest.mark.parametrize(("step", "change"), [("carry/generate", "flip"), ("owners/level1", "flip"), ("save0", "drop")])
def test_a_tampered_evaluation_opens_nothing(step: str, change: str) -> None:
    shared = [[Bits.of([6, 20], WIDTH)] * 3]
    world = World(2, verifier=Malicious).tamper(step, 1, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change == "flip" else MpcdError):
        world.run(opened, shared, (3,))
    found = World(2, verifier=Malicious).run(opened, shared, (3,))
    assert ints_of(found, 2) == [1, 0]
