"""The rule on shares equals a plain evaluation of it, whatever pairs there are and however owners' parts fall."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest

from mpcd.errors import MpcdError
from mpcd.protocols.context import Context
from mpcd.release import differencing
from mpcd.release.differencing import Layout
from mpcd.release.gate import GateRules
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World


def rules(**changes: object) -> GateRules:
    numbers: dict[str, object] = {"threshold": 11, "min_owners": 3, "zeros_shown": True, "persons_disjoint": True}
    return GateRules(**{**numbers, **changes})  # type: ignore[arg-type]


def far(numbers: GateRules, parts: Sequence[int]) -> bool:
    """The difference of one pair is large enough, from all owners' true parts."""
    if numbers.persons_disjoint:
        enough = sum(parts) - max(parts) >= numbers.threshold
    else:
        enough = sorted(parts)[-2] >= numbers.threshold
    return enough and sum(part > 0 for part in parts) >= numbers.min_owners


def together(numbers: GateRules, cells: Sequence[Sequence[int]], *, add_up: bool) -> bool:
    """A band's cells that do not pass are nobody together, or pass together; cells[cell][owner]."""
    hidden = [parts for parts in cells if not far(numbers, parts)]
    left = [sum(column) for column in zip(*hidden, strict=True)] if hidden else [0]
    return not any(left) or (add_up and far(numbers, left))


def expected(
    numbers: GateRules, layout: Layout, parts: Sequence[Sequence[int]], *, add_up: bool = True
) -> list[list[int]]:
    """Fail bits per gate and cell, from parts[owner][pair]."""
    fine = [far(numbers, [owner[pair] for owner in parts]) for pair in range(layout.pairs)]
    stops = np.cumsum(layout.targets)
    stands = [all(fine[stop - size : stop]) for size, stop in zip(layout.targets, stops, strict=True)]
    start = layout.compared
    for size in layout.bands.tolist():
        cells = [[owner[pair] for owner in parts] for pair in range(start, start + size)]
        stands.append(together(numbers, cells, add_up=add_up))
        start += size
    return [
        [int(not all(stands[t] for c, t in zip(*gate, strict=True) if c == cell)) for cell in range(layout.cells)]
        for gate in layout.gates
    ]


async def run_rule(
    ctx: Context, given: Sequence[Planes], numbers: GateRules, layout: Layout, add_up: bool
) -> list[Planes]:
    return await differencing.evaluate(ctx, numbers, layout, given, persons_add_up=add_up)


def run(
    world: World, numbers: GateRules, layout: Layout, parts: Sequence[Sequence[int]], *, add_up: bool = True
) -> list[list[int]]:
    wide = differencing.width(numbers.threshold)
    given = [Bits.of([min(part, numbers.threshold) for part in owner], wide) for owner in parts]
    return [list(plane) for plane in world.run(run_rule, given, numbers, layout, add_up)]


def layout_of(targets: Sequence[int], *gates: Sequence[Sequence[int]], bands: Sequence[int] = ()) -> Layout:
    """Per gate, rows of one target for each cell, -1 for none."""
    found = []
    for gate in gates:
        there = [(cell, target) for row in gate for cell, target in enumerate(row) if target >= 0]
        found.append((np.array([c for c, _ in there], dtype=np.int64), np.array([t for _, t in there], dtype=np.int64)))
    return Layout(np.array(targets, dtype=np.int64), len(gates[0][0]), tuple(found), np.array(bands, dtype=np.int64))


def every(values: Sequence[int], owners: int) -> list[list[int]]:
    """parts[owner][pair]: every combination of the values."""
    return [list(owner) for owner in zip(*itertools.product(values, repeat=owners), strict=True)]


@pytest.mark.parametrize("persons_disjoint", [True, False])
@pytest.mark.parametrize(("owners", "least"), [(2, 2), (3, 3), (3, 2)])
def test_each_pair_alone_equals_the_plain_rule(owners: int, least: int, persons_disjoint: bool) -> None:
    parts = every((0, 1, 5, 6, 10, 11, 12, 5000), owners)
    pairs = len(parts[0])
    numbers = rules(min_owners=least, persons_disjoint=persons_disjoint)
    layout = layout_of([1] * pairs, [list(range(pairs))])
    wanted = expected(numbers, layout, parts)
    assert run(World(1), numbers, layout, parts) == wanted
    assert {0, 1} == set(wanted[0])


def test_targets_and_margins_hide_what_hangs_on_them() -> None:
    rng = random.Random(5)
    for seed in range(6):
        targets = [rng.choice((1, 1, 2, 3, 9)) for _ in range(12)]
        cells = rng.choice((1, 5, 70))
        gates = [
            [[rng.choice((-1, -1, *range(12))) for _ in range(cells)] for _ in range(depth)] for depth in (1, 3, 4)
        ]
        layout = layout_of(targets, *gates)
        parts = [[rng.choice((0, 4, 9, 9, 9, 9, 9, 9)) for _ in range(layout.pairs)] for _ in range(4)]
        assert run(World(seed), rules(), layout, parts) == expected(rules(), layout, parts)


def test_a_gate_without_targets_never_fails() -> None:
    layout = layout_of([1], [[0, -1]], [[-1, -1]])
    assert run(World(2), rules(), layout, [[0], [0], [0]]) == [[1, 0], [0, 0]]


def test_an_empty_difference_is_refused_like_a_small_one() -> None:
    layout = layout_of([1, 1, 1], [[0, 1, 2]])
    assert run(World(3), rules(), layout, [[0, 1, 9], [0, 0, 9], [0, 0, 9]]) == [[1, 1, 0]]


@pytest.mark.parametrize("add_up", [True, False])
@pytest.mark.parametrize("persons_disjoint", [True, False])
def test_a_band_is_hidden_with_what_its_suppressed_cells_hold(persons_disjoint: bool, add_up: bool) -> None:
    rng = random.Random(8)
    numbers = rules(min_owners=2, persons_disjoint=persons_disjoint)
    seen = set()
    for seed, few in enumerate((0.02, 0.1, 0.3, 0.6)):
        bands = [1, 2, 3, 10, 2, 2, 7]
        layout = layout_of([2, 1], [[0, 1, 2, 3, 4, 5, 6, 7, 8]], [[8, -1, 2, 2, -1, -1, 0, 1, 5]], bands=bands)
        parts = [
            [rng.choice((1, 2, 4, 6)) if rng.random() < few else rng.choice((0, 20, 5000)) for _ in range(layout.pairs)]
            for _ in range(3)
        ]
        # Most cells have nobody at all, as in fine groups.
        for pair in range(layout.compared, layout.pairs):
            if rng.random() < 0.5:
                for owner in parts:
                    owner[pair] = 0
        wanted = expected(numbers, layout, parts, add_up=add_up)
        assert run(World(seed), numbers, layout, parts, add_up=add_up) == wanted
        seen |= set(wanted[0][2:])
    assert seen == {0, 1}


def test_the_tenth_age_of_ten() -> None:
    """Nine were released, the tenth has three persons; with a second small one beside it there are enough."""
    ages = [[20, 20, 20]] * 9
    layout = layout_of([], [[0]], bands=[10])
    for cells, hidden in (
        ([*ages, [1, 1, 1]], 1),
        ([*ages, [0, 0, 0]], 0),
        ([*ages[:8], [1, 1, 1], [5, 5, 5]], 0),
        ([*ages[:8], [1, 1, 1], [1, 1, 0]], 1),
        ([*ages[:8], [9, 0, 0], [9, 0, 0]], 1),
    ):
        assert run(World(1), rules(), layout, [[cell[owner] for cell in cells] for owner in range(3)]) == [[hidden]]


@pytest.mark.parametrize("owners", [2, 3, 4, 7])
@pytest.mark.parametrize("persons_disjoint", [True, False])
@pytest.mark.parametrize("add_up", [True, False])
@pytest.mark.parametrize("targets", [[], [3, 1]])
def test_cost_with_bands_is_exact(owners: int, persons_disjoint: bool, add_up: bool, targets: list[int]) -> None:
    numbers = rules(min_owners=2, persons_disjoint=persons_disjoint)
    layout = layout_of(targets, [[0, 1, -1]], bands=[3, 70])
    world = World(4)
    run(world, numbers, layout, [[7] * layout.pairs for _ in range(owners)], add_up=add_up)
    assert world.counted() == differencing.cost(numbers, layout, owners, persons_add_up=add_up)


@pytest.mark.parametrize("owners", [2, 3, 4, 7])
@pytest.mark.parametrize("persons_disjoint", [True, False])
def test_cost_is_exact(owners: int, persons_disjoint: bool) -> None:
    numbers = rules(min_owners=2, persons_disjoint=persons_disjoint)
    layout = layout_of([3, 1, 70, 2], [[0, 1, -1]], [[1, 2, 3], [-1, 0, 0], [3, 3, 3]])
    world = World(4)
    run(world, numbers, layout, [[7] * layout.pairs for _ in range(owners)])
    assert world.counted() == differencing.cost(numbers, layout, owners)


def test_clamping_keeps_every_answer() -> None:
    """What an owner gives is at most the threshold, in the declared width."""
    planes = differencing.clamped([0, 10, 11, 10**9], 11)
    assert len(planes) == differencing.width(11) == 4
    assert [
        sum(int(plane[0]) >> place & 1 and 1 << weight for weight, plane in enumerate(planes)) for place in range(4)
    ] == [0, 10, 11, 11]


@pytest.mark.parametrize("step", ["sums/carry/generate", "tally/level1", "far", "targets/layer0"])
@pytest.mark.parametrize("change", ["shorten", "drop"])
def test_tampered_messages_are_refused(step: str, change: str) -> None:
    world = World(6).tamper(step=step, party=1, change=change)  # type: ignore[arg-type]
    with pytest.raises(MpcdError):
        run(world, rules(), layout_of([2, 1], [[0, 1]]), [[12] * 3] * 3)
