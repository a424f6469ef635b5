"""Dominance on shares equals the rules in the clear, with each owner's part left out in turn."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest

from mpcd import limits
from mpcd.errors import CheatDetected, MpcdError, PlanUnsupported
from mpcd.plan.monomials import Magnitude
from mpcd.plan.nodes import ColumnRef, Gate
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.release.dominance import Dominance, Numbers
from mpcd.sharing import Planes
from mpcd.testing import disclosure
from mpcd.testing.world import Bits, World, ints_of

ROWS = 40
SIZE = 1000
SUMS = (Magnitude(0, (ColumnRef(0, "x"),), SIZE), Magnitude(1, (ColumnRef(0, "y"),), SIZE))
GATES = (Gate(0, None), Gate(0, None, (), (0,)), Gate(1, None, (), (0, 1)))
Table = list[list[list[dict[int, int]]]]
"""By magnitude, cell and owner: contributions by person."""


def rule(numbers: Numbers, cells: int, owners: int, *, disjoint: bool = True, size: int = SIZE) -> Dominance:
    sums = tuple(Magnitude(one.cohort, one.factors, size) for one in SUMS)
    return Dominance(numbers, GATES, sums, cells, owners, ROWS, persons_disjoint=disjoint)


def evidence(table: Table, owner: int, tops: int) -> list[list[int]]:
    """What an honest owner gives."""
    found: list[list[int]] = []
    for cells in table:
        sizes = [sorted((abs(value) for value in cell[owner].values()), reverse=True) for cell in cells]
        found += [[(one + [0] * tops)[place] for one in sizes] for place in range(tops)]
        found.append([sum(one) for one in sizes])
    return found


async def evaluate(ctx: Context, given: Sequence[Sequence[Planes]], which: Dominance) -> list[Planes]:
    return list((await which.evaluate(ctx, given)).values())


def run(
    world: World, which: Dominance, table: Table, tops: int, lies: Mapping[int, list[list[int]]] | None = None
) -> list[list[int]]:
    """Fail bits by gate and cell."""
    shared = []
    for owner in range(len(table[0][0])):
        (item,) = which.provide((lies or {}).get(owner, evidence(table, owner, tops)))
        assert item.spec == which.specs()[0]
        values = ints_of(item.planes, item.count)
        shared.append([Bits.of(values, which.specs()[0].width)])
    return world.run(evaluate, shared, which)  # type: ignore[no-any-return]


def drawn(rng: random.Random, cells: int, owners: int) -> Table:
    """Contributions of every kind: level, skewed, one among zeros, none, negative, the same person at two owners."""

    def one() -> dict[int, int]:
        kind = rng.randrange(6)
        count = rng.choice([0, 1, 2, 3, 8, 15])
        persons = rng.sample(range(60), count)
        if kind == 0:
            return {person: 0 if place else rng.randrange(SIZE) for place, person in enumerate(persons)}
        if kind == 1:
            return {person: rng.randrange(1, 4) ** 6 for person in persons}
        if kind == 2:
            return {person: rng.randrange(-SIZE, SIZE) for person in persons}
        return {person: rng.randrange(90, 110) for person in persons}

    return [[[one() for _ in range(owners)] for _ in range(cells)] for _ in SUMS]


NUMBERS = [
    Numbers.of(2, 0.9, 0.1),
    Numbers.of(2, 0.5, 0.1),
    Numbers.of(1, 0.75, 0.2),
    Numbers.of(3, 0.8, 0.9),
    Numbers.of(2, 1.0, 0.25),
]


@pytest.mark.parametrize("disjoint", [True, False])
@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize("owners", [2, 3, 5])
def test_random_tables_equal_the_rules_in_the_clear(owners: int, numbers: Numbers, disjoint: bool) -> None:
    rng = random.Random(owners * 100 + NUMBERS.index(numbers))
    cells = 130
    table = drawn(rng, cells, owners)
    which = rule(numbers, cells, owners, disjoint=disjoint)
    world = World(owners)
    found = run(world, which, table, numbers.tops)
    assert which.gates == (1, 2)
    plain = [
        [
            int(disclosure.dominated(cell, numbers.n, numbers.k, numbers.p, persons_disjoint=disjoint))
            for cell in by_cell
        ]
        for by_cell in table
    ]
    assert found[0] == plain[0]
    assert found[1] == [a | b for a, b in zip(*plain, strict=True)]
    assert {0, 1} == set(plain[0])
    assert world.counted() == which.cost()


def test_what_holds_without_each_owner_holds_for_all_together() -> None:
    rng = random.Random(4)
    for _ in range(3000):
        owners = rng.choice([2, 3, 4])
        (cell,) = drawn(rng, 1, owners)[0]
        numbers = rng.choice(NUMBERS)
        if disclosure.dominated(cell, numbers.n, numbers.k, numbers.p, persons_disjoint=True):
            continue
        sizes = sorted((abs(value) for owner in cell for value in owner.values()), reverse=True)
        total = sum(sizes)
        assert sum(sizes[: numbers.n]) <= numbers.k * total
        assert total - sum(sizes[:2]) >= numbers.p * sum(sizes[:1])


def test_the_second_rule_is_left_out_only_where_the_first_implies_it() -> None:
    rng = random.Random(5)
    implied = [numbers for numbers in NUMBERS if numbers.p_implied]
    assert implied == NUMBERS[:2]
    for _ in range(3000):
        (cell,) = drawn(rng, 1, 3)[0]
        numbers = rng.choice(implied)
        for disjoint in (True, False):
            whole = disclosure.dominated(cell, numbers.n, numbers.k, numbers.p, persons_disjoint=disjoint)
            assert whole == disclosure.dominated(cell, numbers.n, numbers.k, Fraction(0), persons_disjoint=disjoint)


def test_an_owner_that_lies_about_its_own_part_saves_no_one_elses_value() -> None:
    """One person has nearly all; a liar adds a huge level total of its own, or says that it has none."""
    person = {1: 990} | dict.fromkeys(range(2, 12), 1)
    table = [[[person, dict.fromkeys(range(20, 25), 1), dict.fromkeys(range(30, 35), 1)]] for _ in SUMS]
    numbers = NUMBERS[0]
    which = rule(numbers, 1, 3)
    assert run(World(1), which, table, 2) == [[1], [1]]
    huge = [[10], [10], [ROWS * SIZE]] * 2
    assert run(World(1), which, table, 2, {2: huge}) == [[1], [1]]
    assert run(World(1), which, table, 2, {2: [[0], [0], [0]] * 2}) == [[1], [1]]
    sizes = sorted([*person.values(), *[1000] * 40], reverse=True)
    assert sum(sizes[:2]) <= numbers.k * sum(sizes), "counted together with the lie, nothing would seem to dominate"


def test_the_largest_numbers_do_not_overflow() -> None:
    level = dict.fromkeys(range(ROWS), SIZE)
    table = [[[dict(level) for _ in range(4)]] for _ in SUMS]
    assert run(World(2), rule(NUMBERS[3], 1, 4), table, 3) == [[0], [0]]
    alone = [[[{1: SIZE}, {}, {}, {}]] for _ in SUMS]
    assert run(World(2), rule(NUMBERS[3], 1, 4), alone, 3) == [[1], [1]]


def test_numbers_wider_than_a_word() -> None:
    size = 2**100
    person = {number: size - number for number in range(12)}
    table = [[[dict(person) for _ in range(3)], [{1: size}, {2: size - 5}, {}]] for _ in SUMS]
    which = rule(NUMBERS[0], 2, 3, size=size)
    assert which.specs()[0].width > 100
    assert run(World(3), which, table, 2) == [[0, 1], [0, 1]]


def test_numbers_are_read_as_written_and_never_weaker() -> None:
    assert (NUMBERS[0].k, NUMBERS[0].p) == (Fraction(9, 10), Fraction(1, 10))
    odd = Numbers.of(2, 0.12345, 0.12345)
    assert (odd.k, odd.p) == (Fraction(123, 1000), Fraction(124, 1000))
    with pytest.raises(PlanUnsupported, match="safe_nk_n"):
        Numbers.of(limits.DOMINANCE_PERSONS_MAX + 1, 0.9, 0.1)
    with pytest.raises(PlanUnsupported, match="comparisons"):
        rule(Numbers.of(8, 0.9, 0.1), 1, 12)


def test_one_value_among_zeros_is_read_off_the_sum_only_without_the_rule() -> None:
    table = [
        [[{1: 777} | dict.fromkeys(range(2, 20), 0), dict.fromkeys(range(20, 40), 0), dict.fromkeys(range(40, 60), 0)]]
    ]
    table *= len(SUMS)
    released = sum(value for owner in table[0][0] for value in owner.values())
    assert released == 777, "what the sum alone would tell"
    assert run(World(8), rule(NUMBERS[0], 1, 3), table, 2) == [[1], [1]]


async def opened(ctx: Context, given: Sequence[Sequence[Planes]], which: Dominance) -> object:
    return await open_all(ctx.narrow("open"), Planes.join(await evaluate(ctx.narrow("rule"), given, which)))


@pytest.mark.parametrize(
    ("step", "change"),
    [("save0", "flip"), ("carry/generate", "flip"), ("choices/level0", "flip"), ("sums/layer0", "flip"),
     ("carry/generate", "shorten")],
)  # fmt: skip
def test_a_tampered_evaluation_opens_nothing(step: str, change: str) -> None:
    which = rule(NUMBERS[0], 3, 4)
    table = drawn(random.Random(1), 3, 4)
    shared = []
    for owner in range(4):
        (item,) = which.provide(evidence(table, owner, 2))
        shared.append([Bits.of(ints_of(item.planes, item.count), which.specs()[0].width)])
    world = World(9, verifier=Malicious).tamper(step, 2, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change == "flip" else MpcdError):
        world.run(opened, shared, which)
    assert World(9, verifier=Malicious).run(opened, shared, which) is not None
