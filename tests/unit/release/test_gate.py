"""The gate equals a plain evaluation of its rules, for every way that a few owners' counts can fall."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from mpcd.errors import MpcdError
from mpcd.field import bits
from mpcd.plan.nodes import Gate
from mpcd.protocols.context import Context
from mpcd.release import gate, sums
from mpcd.release.gate import GateRules
from mpcd.release.sums import Term
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World, ints_of, reconstruct

GATES = (Gate(0, None), Gate(1, 2), Gate(2, 1, (3,)), Gate(3, 4, (1, 2)))
WIDTH = 6


def rules(**changes: object) -> GateRules:
    numbers: dict[str, object] = {"threshold": 11, "min_owners": 3, "zeros_shown": True, "persons_disjoint": True}
    return GateRules(**{**numbers, **changes})  # type: ignore[arg-type]


def passes(rules: GateRules, counts: Sequence[int]) -> tuple[bool, bool, bool]:
    """(floor, min_owners, empty and shown) of one cohort of one cell."""
    if rules.persons_disjoint:
        enough = sum(counts) - max(counts) >= rules.threshold
    else:
        enough = sorted(counts)[-2] >= rules.threshold
    there = sum(count > 0 for count in counts)
    return enough, there >= rules.min_owners, there == 0 and rules.zeros_shown


def expected(rules: GateRules, which: Gate, cohorts: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(keep, status) of one cell, from all owners' counts by cohort."""
    facts = [passes(rules, counts) for counts in cohorts]
    fine = [(enough and owners) or empty for enough, owners, empty in facts]
    enough, owners, empty = facts[which.inside]
    if not fine[which.inside]:
        return 0, 2 if enough and not owners else 1
    if not all(fine[outside] for outside in which.outside):
        return 0, 3
    return (0, 4) if empty else (1, 0)


async def run_gate(
    ctx: Context, counts: Sequence[Sequence[Planes]], rules: GateRules, gates: Sequence[Gate]
) -> list[Planes]:
    decisions, _ = await gate.decide(ctx, rules, gates, counts)
    return [piece for decision in decisions for piece in (decision.keep, decision.status)]


def run(world: World, rules: GateRules, owners: Sequence[Sequence[Sequence[int]]]) -> list[tuple[int, int]]:
    """(keep, status) per gate and cell, from counts[owner][cohort][cell]."""
    shared = [[Bits.of(cells, WIDTH) for cells in cohorts] for cohorts in owners]
    flat = world.run(run_gate, shared, rules, GATES)
    answers = []
    for place in range(0, len(flat), 2):
        keep, status = flat[place], flat[place + 1]
        answers += list(zip(keep, status, strict=True))
    return answers


def grid(values: Sequence[int], owners: int) -> list[list[list[int]]]:
    """counts[owner][cohort][cell]: every combination of values once in cohort 0, rotated copies in the others."""
    combinations = list(itertools.product(values, repeat=owners))
    cohorts = [combinations[shift:] + combinations[:shift] for shift in (0, 7, 19, 40, 3)]
    return [[[cell[owner] for cell in cohort] for cohort in cohorts] for owner in range(owners)]


@pytest.mark.parametrize("zeros_shown", [True, False])
@pytest.mark.parametrize("persons_disjoint", [True, False])
@pytest.mark.parametrize(("owners", "least"), [(3, 3), (3, 2), (2, 2), (4, 3)])
def test_gate_equals_plain_rules(owners: int, least: int, persons_disjoint: bool, zeros_shown: bool) -> None:
    values = (0, 1, 5, 6, 10, 11, 40) if owners < 4 else (0, 1, 4, 11)
    counts = grid(values, owners)
    numbers = rules(min_owners=least, persons_disjoint=persons_disjoint, zeros_shown=zeros_shown)
    got = run(World(owners), numbers, counts)
    cells = len(counts[0][0])
    wanted = [
        expected(numbers, which, [[counts[o][c][cell] for o in range(owners)] for c in range(5)])
        for which in GATES
        for cell in range(cells)
    ]
    assert got == wanted
    assert {status for _, status in wanted} >= {0, 1, 3}


def test_largest_count_does_not_overflow() -> None:
    top = 2**WIDTH - 1
    counts = [[[top] * 2 for _ in range(5)] for _ in range(3)]
    assert run(World(9), rules(threshold=2 * top), counts)[:2] == [(1, 0)] * 2
    with_more = run(World(9), rules(threshold=2 * top + 1), counts)[:2]
    assert with_more == [(0, 1)] * 2


async def run_refuse(
    ctx: Context,
    counts: Sequence[Sequence[Planes]],
    fails: Sequence[Planes],
    rules: GateRules,
    places: Sequence[int],
    status: int,
) -> list[Planes]:
    decisions, _ = await gate.decide(ctx.narrow("decide"), rules, GATES, counts)
    refused = await gate.refuse(ctx.narrow("refuse"), decisions, dict(zip(places, fails, strict=True)), status)
    return [piece for one in (*decisions, *refused) for piece in (one.keep, one.empty, one.status)]


def refused(world: World, places: Sequence[int], status: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """(keep, empty, status) by gate and cell, before and after every second cell of some gates fails."""
    counts = grid((0, 1, 11, 40), 3)
    cells = len(counts[0][0])
    shared = [[Bits.of(cohort, WIDTH) for cohort in cohorts] for cohorts in counts]
    fails = [Bits.of([cell % 2 for cell in range(cells)], 1) for _ in places]
    flat = world.run(run_refuse, shared, fails, rules(), places, status)
    triples = [cell for place in range(0, len(flat), 3) for cell in zip(*flat[place : place + 3], strict=True)]
    return triples[: len(triples) // 2], triples[len(triples) // 2 :]


@pytest.mark.parametrize("status", [1, 3, 5])
@pytest.mark.parametrize("places", [(), (0,), (1, 3)])
def test_a_further_rule_suppresses_what_was_shown_and_nothing_else(places: tuple[int, ...], status: int) -> None:
    before, after = refused(World(11), places, status)
    cells = len(before) // len(GATES)
    shown = set()
    for place, (was, now) in enumerate(zip(before, after, strict=True)):
        index, cell = divmod(place, cells)
        fails = index in places and cell % 2 == 1
        assert now == ((0, 0, status) if fails and was[2] in {0, 4} else was)
        shown.add(was[2])
    assert shown >= {0, 1, 3, 4}


def test_refusing_costs_what_it_says() -> None:
    world = World(12)
    refused(world, (), 5)
    before = world.counted()
    refused(world, (1, 3), 5)
    assert world.counted() == before + gate.cost_refuse(2, bits.words_for(64))


def test_a_tampered_refusal_is_refused() -> None:
    world = World(13).tamper(step="refuse", party=2, change="lengthen")
    with pytest.raises(MpcdError):
        refused(world, (0,), 5)


@pytest.mark.parametrize("owners", [2, 3, 4, 7])
@pytest.mark.parametrize("persons_disjoint", [True, False])
def test_cost_is_exact(owners: int, persons_disjoint: bool) -> None:
    numbers = rules(min_owners=2, persons_disjoint=persons_disjoint)
    counts = [[[3] * 70 for _ in range(5)] for _ in range(owners)]
    world = World(4)
    run(world, numbers, counts)
    predicted = gate.cost(numbers, GATES, owners, 5, WIDTH, bits.words_for(70))
    assert world.counted() == predicted


@pytest.mark.parametrize("terms", [[1], [2], [3, 1], [5, 5, 2], [9]])
def test_sums_at_least(terms: list[int]) -> None:
    world = World(5)
    rng = world.random_words(sum(terms) * 66) % (1 << WIDTH)
    numbers = rng.reshape(sum(terms), 66)
    for threshold in (1, 7, 33, 60, 1000, 2**20):

        async def ask(ctx: Context, planes: list[Planes], threshold: int) -> list[Planes]:
            rest = list(planes)
            built = [Term(tuple(rest.pop(0) for _ in range(size)), threshold) for size in terms]
            return await sums.at_least(ctx, built)

        shared = [Bits.of([int(v) for v in row], WIDTH) for row in numbers]
        flags = world.run(ask, shared, threshold)
        start = 0
        for size, flag in zip(terms, flags, strict=True):
            total = numbers[start : start + size].sum(axis=0)
            assert flag == [int(value >= threshold) for value in total]
            start += size


def test_tampered_count_message_is_refused() -> None:
    world = World(6).tamper(step="carry/generate", party=1, change="shorten")
    with pytest.raises(MpcdError):
        run(world, rules(), [[[12] * 3 for _ in range(5)] for _ in range(3)])


def test_reconstruct_helper_sees_planes() -> None:
    world = World(7)
    shares = world.share_planes(Bits.of([5, 9], WIDTH).planes(), 2)
    assert ints_of(reconstruct(shares), 2) == [5, 9]
