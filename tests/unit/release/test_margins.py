"""Secondary suppression on shares equals the rule in the clear, and no margin gives a suppressed cell back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mpcd.errors import CheatDetected, MpcdError
from mpcd.field import bits
from mpcd.plan.nodes import Gate
from mpcd.protocols.context import Context
from mpcd.protocols.opening import open_all
from mpcd.protocols.verify_batch import Malicious
from mpcd.release import gate, margins
from mpcd.release.gate import GateRules
from mpcd.release.margins import Margins
from mpcd.sharing import Planes
from mpcd.testing import disclosure
from mpcd.testing.disclosure import COMPLEMENT, DOMINANCE, EMPTY, RELEASED, PlainRules, Table
from mpcd.testing.world import Bits, World

GATES = (Gate(0, None), Gate(1, 2), Gate(2, 1, (3,)), Gate(0, None, sums=(0,)), Gate(1, 2, sums=(1, 2)))
FAILING = (3, 4)
"""Gates of sums, which another rule may hide."""
COHORTS = 4
WIDTH = 7
Counts = list[list[list[int]]]


async def statuses_of(
    ctx: Context, counts: Sequence[Sequence[Planes]], fails: Planes, rules: GateRules, hide: Margins | None
) -> list[Planes]:
    """Per gate the status by counting rules, and by all rules; `fails`: of sums, by dominance."""
    counted, facts = await gate.decide(ctx.narrow("decide"), rules, GATES, counts)
    decisions = await gate.refuse(ctx.narrow("refuse"), counted, dict.fromkeys(FAILING, fails), DOMINANCE)
    if hide is not None:
        more = await hide.hide(ctx.narrow("margins"), counts, facts, counted, decisions)
        decisions = await gate.refuse(ctx.narrow("more"), decisions, more, COMPLEMENT, zeros=False)
    return [one.status for one in (*counted, *decisions)]


def some_counts(world: World, cells: int, owners: int) -> Counts:
    """Cohort 0 is everybody, 1 and 2 share it out, 3 is part of 2; many cells small, some empty."""
    words = [int(word) for word in world.random_words(owners * cells * 5)]
    counts: Counts = []
    for _ in range(owners):
        inside, outside, part = [], [], []
        for _ in range(cells):
            draw = [words.pop() for _ in range(5)]
            inside.append(0 if draw[0] % 3 == 0 else draw[1] % 14)
            outside.append(0 if draw[2] % 3 == 0 else draw[3] % 14)
            part.append(draw[4] % (outside[-1] + 1))
        counts.append([[a + b for a, b in zip(inside, outside, strict=True)], inside, outside, part])
    return counts


def build(rules: GateRules, places: Sequence[int], owners: int, *, add_up: bool, hollow: bool) -> Margins:
    return Margins(rules, GATES, range(len(GATES)), places, owners, WIDTH, persons_add_up=add_up, hollow=hollow)


def run(
    world: World, rules: PlainRules, counts: Counts, places: Sequence[int], fails: Sequence[int], *, add_up: bool
) -> tuple[list[list[int]], list[list[int]]]:
    """Statuses by gate and cell: by counting rules, and by all."""
    numbers = GateRules(rules.threshold, rules.min_owners, rules.zeros_shown, rules.persons_disjoint)
    hide = build(numbers, places, len(counts), add_up=add_up, hollow=any(fails))
    shared = [[Bits.of(cells, WIDTH) for cells in owner] for owner in counts]
    found = world.run(statuses_of, shared, Bits.of(list(fails), 1), numbers, hide)
    return found[: len(GATES)], found[len(GATES) :]


@pytest.mark.parametrize("add_up", [True, False])
@pytest.mark.parametrize("zeros_shown", [True, False])
@pytest.mark.parametrize("hollow", [True, False])
@pytest.mark.parametrize(
    ("places", "owners", "disjoint"),
    [((4,), 3, True), ((3, 4), 3, True), ((2, 3, 3), 3, True), ((17, 2), 2, True), ((1, 5), 4, False),
     ((20, 4), 3, True)],
)  # fmt: skip
def test_random_tables_equal_the_rule_in_the_clear(
    places: tuple[int, ...], owners: int, disjoint: bool, hollow: bool, zeros_shown: bool, add_up: bool
) -> None:
    rules = PlainRules(6, 2, zeros_shown, disjoint)
    cells = 1
    for count in places:
        cells *= count
    more = 0
    for seed in range(3):
        world = World(100 * seed + cells)
        counts = some_counts(world, cells, owners)
        fails = [int(word) % 5 == 0 for word in world.random_words(cells)] if hollow else [0] * cells
        counted, found = run(world, rules, counts, places, list(map(int, fails)), add_up=add_up)
        plain = [
            [
                disclosure.primary(rules, one, [[cohort[cell] for cohort in owner] for owner in counts])
                for cell in range(cells)
            ]
            for one in GATES
        ]
        assert counted == plain
        before = [
            [
                DOMINANCE if index in FAILING and fails[cell] and status in {RELEASED, EMPTY} else status
                for cell, status in enumerate(statuses)
            ]
            for index, statuses in enumerate(plain)
        ]
        table = Table(rules, GATES, range(len(GATES)), counts, plain, before, add_up)
        assert found == disclosure.secondary(table, places), seed
        more += sum(after.count(COMPLEMENT) - was.count(COMPLEMENT) for after, was in zip(found, before, strict=True))
    assert more > 0


def small_table() -> Counts:
    """Two cells: 40 persons at each of three owners, and 1 at one of them."""
    everybody = [[40, 1], [40, 0], [40, 0]]
    return [[cells, cells, [0, 0], [0, 0]] for cells in everybody]


def test_a_total_minus_its_cells_gives_a_person_away_only_without_the_rule() -> None:
    rules = PlainRules(zeros_shown=True)
    numbers = GateRules(11, 3, zeros_shown=True, persons_disjoint=True)
    counts = small_table()
    shared = [[Bits.of(cells, WIDTH) for cells in owner] for owner in counts]
    total = sum(sum(owner[0]) for owner in counts)

    def attack(statuses: Sequence[int]) -> int | None:
        """The persons of the one suppressed cell, by subtraction from an earlier total."""
        hidden = [cell for cell in range(2) if statuses[cell] not in disclosure.SHOWN]
        if len(hidden) != 1:
            return None
        return total - sum(owner[0][cell] for owner in counts for cell in range(2) if cell not in hidden)

    off = World(1).run(statuses_of, shared, Bits.of([0, 0], 1), numbers, None)
    assert attack(off[len(GATES)]) == 1
    _, found = run(World(1), rules, counts, (2,), [0, 0], add_up=True)
    assert found[0] == [COMPLEMENT, 1]
    assert attack(found[0]) is None


def test_no_gate_gives_back_what_was_chosen_for_another() -> None:
    """Women of four wards and men of four, beside all: one woman in the first ward, and who has the women's total."""
    women, men = [[1, 20, 40, 60], [0, 20, 40, 60], [0, 20, 40, 60]], [[60, 50, 40, 10]] * 3
    counts = [[[a + b for a, b in zip(f, m, strict=True)], f, m, [0] * 4] for f, m in zip(women, men, strict=True)]
    gates = (Gate(0, None), Gate(1, 2), Gate(2, 1))
    rules, numbers = PlainRules(), GateRules(11, 3, zeros_shown=False, persons_disjoint=True)
    plain = [
        [disclosure.primary(rules, one, [[cohort[cell] for cohort in owner] for owner in counts]) for cell in range(4)]
        for one in gates
    ]
    table = Table(rules, gates, range(3), counts, plain, plain)

    def told(statuses: Sequence[Sequence[int]]) -> list[int]:
        """Wards whose women are known."""
        shown = [[status == RELEASED for status in each] for each in statuses]
        return [ward for ward in range(4) if shown[1][ward] or (shown[0][ward] and shown[2][ward])]

    alone = [list(each) for each in plain]
    alone[1][1] = alone[2][3] = COMPLEMENT
    assert told(alone) == [1, 2, 3], "each gate's smallest, hidden in that gate alone, leaves all but the one woman"

    async def all_of(ctx: Context, shared: Sequence[Sequence[Planes]]) -> list[Planes]:
        counted, facts = await gate.decide(ctx.narrow("decide"), numbers, gates, shared)
        hide = Margins(numbers, gates, range(3), (4,), 3, WIDTH + 1, persons_add_up=True, hollow=False)
        more = await hide.hide(ctx.narrow("margins"), shared, facts, counted, counted)
        decisions = await gate.refuse(ctx.narrow("more"), counted, more, COMPLEMENT, zeros=False)
        return [one.status for one in decisions]

    found = World(1).run(all_of, [[Bits.of(cells, WIDTH + 1) for cells in owner] for owner in counts])
    assert found == disclosure.secondary(table, (4,))
    assert found[0] == [RELEASED] * 4
    assert told(found) == [2]


def test_a_cell_hidden_for_its_values_never_stands_alone() -> None:
    counts = [[[40] * 4, [20] * 4, [20] * 4, [0] * 4] for _ in range(3)]
    _, found = run(World(2), PlainRules(zeros_shown=True), counts, (2, 2), [0, 0, 1, 0], add_up=True)
    assert found[0] == found[1] == [RELEASED] * 4, "counts are not hidden for the sake of sums"
    assert found[3] == found[4] == [COMPLEMENT, RELEASED, DOMINANCE, COMPLEMENT]


@pytest.mark.parametrize("zeros_shown", [True, False])
@pytest.mark.parametrize("add_up", [True, False])
@pytest.mark.parametrize("hollow", [True, False])
@pytest.mark.parametrize(("places", "owners"), [((2,), 2), ((3, 1, 4), 3), ((2, 3, 5), 5), ((70,), 3)])
def test_cost_is_exact(places: tuple[int, ...], owners: int, hollow: bool, add_up: bool, zeros_shown: bool) -> None:
    cells = 1
    for count in places:
        cells *= count
    world = World(7)
    counts = some_counts(world, cells, owners)
    rules = PlainRules(6, 2, zeros_shown)
    numbers = GateRules(6, 2, zeros_shown, persons_disjoint=True)
    shared = [[Bits.of(one, WIDTH) for one in owner] for owner in counts]
    fails = Bits.of([int(hollow)] * cells, 1)
    world.run(statuses_of, shared, fails, numbers, None)
    before = world.counted()
    run(world, rules, counts, places, [int(hollow)] * cells, add_up=add_up)
    hide = build(numbers, places, owners, add_up=add_up, hollow=hollow)
    words = bits.words_for(cells)
    assert world.counted() == before + hide.cost() + gate.cost_refuse(len(GATES), words, zeros=False)
    assert hide.sizes.elements >= cells


def test_without_keys_there_are_no_margins() -> None:
    assert margins.margins_of(()) == margins.margins_of((1, 1)) == ()
    assert [(m.size, m.groups) for m in margins.margins_of((3, 1, 2))] == [(6, 1), (2, 3), (3, 2)]
    rules = GateRules(11, 3, zeros_shown=False, persons_disjoint=True)
    assert not build(rules, (1,), 3, add_up=True, hollow=True).needed
    assert not Margins(rules, GATES, (), (4,), 3, WIDTH, persons_add_up=True, hollow=False).needed


async def opened(
    ctx: Context, counts: Sequence[Sequence[Planes]], fails: Planes, rules: GateRules, hide: Margins
) -> object:
    return await open_all(ctx.narrow("open"), Planes.join(await statuses_of(ctx, counts, fails, rules, hide)))


@pytest.mark.parametrize(
    ("step", "change"),
    [("abreast/round0", "flip"), ("abreast/round3", "flip"), ("abreast/round12", "flip"), ("margins/chosen", "flip"),
     ("abreast/round0", "shorten"), ("margins/chosen", "drop")],
)  # fmt: skip
def test_a_tampered_pass_opens_nothing(step: str, change: str) -> None:
    rules = GateRules(6, 2, zeros_shown=False, persons_disjoint=True)
    hide = build(rules, (2, 3), 3, add_up=True, hollow=True)
    counts = some_counts(World(9), 6, 3)
    shared = [[Bits.of(cells, WIDTH) for cells in owner] for owner in counts]
    fails = Bits.of([1, 0, 0, 0, 0, 0], 1)
    world = World(9, verifier=Malicious).tamper(step, 1, change)  # type: ignore[arg-type]
    with pytest.raises(CheatDetected if change == "flip" else MpcdError):
        world.run(opened, shared, fails, rules, hide)
    assert World(9, verifier=Malicious).run(opened, shared, fails, rules, hide) is not None
