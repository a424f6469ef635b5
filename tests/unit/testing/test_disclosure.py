"""Secondary suppression in the clear: no combination of all gates' cells and one margin's totals isolates anybody.

By linear algebra, exactly.  A block is the persons of one cell that are in the same sets of the request: whatever is
told is a sum over blocks, with one coefficient for each.  A collection of blocks that does not pass is isolated if some
combination of what is known stands on it alone.  The oblivious margins equal this rule (`release/test_margins.py`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from mpcd.plan import spans
from mpcd.plan.nodes import Gate
from mpcd.testing import disclosure
from mpcd.testing.disclosure import COMPLEMENT, RELEASED, SHOWN, PlainRules, Table

PRIME = 2**61 - 1
"""Above every minor of so small a matrix of zeros and ones (Hadamard), so that a rank modulo it is the rank."""
Rows = list[list[int]]
Hide = Callable[[Table, Sequence[int]], list[list[int]]]


@dataclass(frozen=True)
class Sets:
    """The sets of a request: atoms (ways to be in them), cohorts (collections of atoms) and gates."""

    atoms: tuple[spans.Atom, ...]
    cohorts: tuple[frozenset[int], ...]
    gates: tuple[Gate, ...]

    @staticmethod
    def of(atoms: Sequence[spans.Atom], *, whole: bool) -> Sets:
        """As the planner finds them (`mpcd.plan.isolation`); `whole`: the cell itself is an output too."""
        needed = spans.supports(tuple(atoms))
        assert needed is not None
        every = frozenset(range(len(atoms)))
        cohorts: dict[frozenset[int], int] = {every: 0}
        gates = [Gate(0, None)] if whole else []
        for place, supports in enumerate(needed):
            inside = frozenset(index for index, atom in enumerate(atoms) if atom[place])
            if inside == every:
                continue
            beside = [every - inside, *supports]
            numbers = [cohorts.setdefault(cohort, len(cohorts)) for cohort in (inside, *beside)]
            also = tuple(number for number in dict.fromkeys(numbers[2:]) if number not in numbers[:2])
            gates.append(Gate(numbers[0], numbers[1], also))
        return Sets(tuple(atoms), tuple(cohorts), tuple(gates))

    def row(self, cohort: int, cells: Sequence[int], among: int) -> list[int]:
        """Which blocks a sum over a cohort stands on."""
        return [int(cell in cells and atom in self.cohorts[cohort])
                for cell in range(among) for atom in range(len(self.atoms))]  # fmt: skip


WOMEN_AND_MEN = ((0, 1), (1, 0))
OVERLAPPING = tuple(itertools.product((0, 1), repeat=2))
NESTED = ((0, 0), (1, 0), (1, 1))
PARTITION = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
DISJOINT = ((0, 0), (0, 1), (1, 0))
REQUESTS = [Sets.of(atoms, whole=whole)
            for atoms in (WOMEN_AND_MEN, OVERLAPPING, NESTED, PARTITION, DISJOINT, ((0,), (1,)))
            for whole in (True, False)]  # fmt: skip


def rank(rows: Rows) -> int:
    """Of a small matrix of zeros and ones."""
    left, found = [list(row) for row in rows], 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((row for row in left[found:] if row[column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        inverse = pow(pivot[column], -1, PRIME)
        pivot = [value * inverse % PRIME for value in pivot]
        left = [
            [(a - row[column] * b) % PRIME for a, b in zip(row, pivot, strict=True)] if index >= found else row
            for index, row in enumerate(left)
        ]
        left.insert(found, pivot)
        found += 1
    return found


def isolated(rows: Rows, persons: Sequence[Sequence[int]], rules: PlainRules) -> list[int] | None:
    """Blocks that do not pass together and on which some combination of the rows stands alone.

    Args:
        rows: what is known.
        persons: by block, by owner.
        rules: what must hold.
    """
    populated = [block for block, each in enumerate(persons) if any(each)]
    small = [block for block in populated if not rules.passes(persons[block])]
    everything = rank([[row[block] for block in populated] for row in rows])
    for size in range(len(small), 0, -1):
        for some in itertools.combinations(small, size):
            if rules.passes([sum(column) for column in zip(*(persons[block] for block in some), strict=True)]):
                continue
            others = [block for block in populated if block not in some]
            if rank([[row[block] for block in others] for row in rows]) < everything:
                return list(some)
    return None


def known(sets: Sets, table: Table, statuses: Sequence[Sequence[int]], margin: Sequence[Sequence[int]]) -> Rows:
    """What all gates' cells tell, and the totals of one margin by all gates that would release them.

    Where zeros are hidden the whole cell's totals are known as well, though no output was about it.  (Where they are
    shown it is differencing that compares that set with the answer's.)
    """
    cells = len(statuses[0])
    rows = [
        sets.row(gate.inside, [cell], cells)
        for gate, each in zip(sets.gates, statuses, strict=True)
        for cell in range(cells)
        if each[cell] in SHOWN
    ]
    for group in margin:
        if not table.rules.zeros_shown and table.rules.passes(table.persons(0, group)):
            rows.append(sets.row(0, group, cells))
        rows += [sets.row(gate.inside, group, cells) for k, gate in enumerate(sets.gates) if table.available(k, group)]
    return rows


def margins(places: Sequence[int]) -> Iterator[list[list[int]]]:
    """The groups of the grand total, and of each single key."""
    cells = list(itertools.product(*map(range, places)))
    yield [list(range(len(cells)))]
    for key in range(len(places)) if len(places) > 1 else ():
        yield [[n for n, codes in enumerate(cells) if codes[key] == code] for code in range(places[key])]


def some_table(rng: random.Random, sets: Sets, cells: int, rules: PlainRules) -> tuple[Table, list[list[int]]]:
    """Cells with few, none or many in each block; and the persons by block and owner."""
    owners = 3
    kinds = rng.choices(
        ("none", "one", "few", "some", "many"), (3, 2, 2, 2, rng.choice((3, 8))), k=cells * len(sets.atoms)
    )
    draw = {
        "none": lambda: [0] * owners,
        "few": lambda: [rng.randrange(2) for _ in range(owners)],
        "some": lambda: [rng.randrange(4) for _ in range(owners)],
        "many": lambda: [rng.randrange(6, 30) for _ in range(owners)],
    }
    blocks = []
    for kind in kinds:
        lucky = rng.randrange(owners)
        blocks.append([int(place == lucky) for place in range(owners)] if kind == "one" else draw[kind]())
    counts = [
        [
            [sum(blocks[cell * len(sets.atoms) + atom][place] for atom in cohort) for cell in range(cells)]
            for cohort in sets.cohorts
        ]
        for place in range(owners)
    ]
    plain = [
        [disclosure.primary(rules, gate, [[cohort[cell] for cohort in owner] for owner in counts])
         for cell in range(cells)]
        for gate in sets.gates
    ]  # fmt: skip
    return Table(rules, sets.gates, range(len(sets.gates)), counts, plain, plain), blocks


def victims(hide: Hide, places: Sequence[int], zeros_shown: bool, tables: int) -> tuple[int, int]:
    """In how many random tables somebody is isolated; how many cells were released in all."""
    cells = 1
    for count in places:
        cells *= count
    rng, found, shown = random.Random(cells), 0, 0
    for number in range(tables):
        sets = REQUESTS[number % len(REQUESTS)]
        table, blocks = some_table(rng, sets, cells, PlainRules(4, 2, zeros_shown))
        statuses = hide(table, places)
        shown += sum(each.count(RELEASED) for each in statuses)
        found += any(
            isolated(known(sets, table, statuses, margin), blocks, table.rules) is not None
            for margin in margins(places)
        )
    return found, shown


def each_for_itself(table: Table, places: Sequence[int]) -> list[list[int]]:
    """What the rule once was: each gate's choice hidden in that gate alone, guarded by each of its cohorts' sums."""
    result = [list(each) for each in table.statuses]
    for group, k in itertools.product(disclosure.groups_of(places), table.released):
        hidden = [cell for cell in group if table.statuses[k][cell] not in SHOWN]
        sums = [table.persons(cohort, hidden) for cohort in table.cohorts(k)]
        if all(table.rules.passes(one) or not any(one) for one in sums):
            continue
        candidates = table.candidates(k, group)
        released = [cell for cell in group if table.statuses[k][cell] == RELEASED]
        least = min(candidates, key=lambda cell: sum(table.persons(table.gates[k].inside, [cell])), default=None)
        for cell in released if least is None else [least]:
            result[k][cell] = COMPLEMENT
    return result


def joined(table: Table, places: Sequence[int]) -> list[list[int]]:
    """As `each_for_itself`, and what one chose is hidden in all gates with something outside."""
    own = each_for_itself(table, places)
    chosen = {
        cell for was, now in zip(table.statuses, own, strict=True) for cell in range(len(now)) if was[cell] != now[cell]
    }
    return [
        [
            COMPLEMENT if gate.outside and cell in chosen and status == RELEASED else status
            for cell, status in enumerate(each)
        ]
        for gate, each in zip(table.gates, own, strict=True)
    ]


@pytest.mark.parametrize("zeros_shown", [False, True])
@pytest.mark.parametrize(("places", "tables"), [((2,), 300), ((4,), 300), ((2, 2), 200), ((6,), 60), ((2, 3), 60)])
def test_no_combination_of_all_gates_and_a_margin_isolates_anybody(
    places: tuple[int, ...], tables: int, zeros_shown: bool
) -> None:
    found, shown = victims(disclosure.secondary, places, zeros_shown, tables)
    assert found == 0
    assert shown > tables // 3


@pytest.mark.parametrize("weaker", [each_for_itself, joined, lambda table, _places: [*table.statuses]])
def test_what_the_rule_once_was_isolates_somebody(weaker: Hide) -> None:
    assert victims(weaker, (4,), False, 300)[0] > 0


def wards(women: Sequence[int], men: Sequence[int], rules: PlainRules) -> tuple[Sets, Table, list[list[int]]]:
    """A woman at one hospital only where there is one, else as many at each of three."""
    sets = Sets.of(WOMEN_AND_MEN, whole=True)
    blocks = [[n, 0, 0] if n == 1 else [n] * 3 for pair in zip(men, women, strict=True) for n in pair]
    counts = [
        [[sum(blocks[2 * cell + atom][o] for atom in cohort) for cell in range(len(women))] for cohort in sets.cohorts]
        for o in range(3)
    ]
    plain = [
        [disclosure.primary(rules, gate, [[one[cell] for one in owner] for owner in counts])
         for cell in range(len(women))]
        for gate in sets.gates
    ]  # fmt: skip
    return sets, Table(rules, sets.gates, range(3), counts, plain, plain), blocks


def test_cells_hidden_for_women_and_cells_hidden_for_men_do_not_guard_one_another() -> None:
    """One woman in ward 0, no man in ward 1: its total is its women's, and the women's total is then hers."""
    sets, table, blocks = wards([1, 20, 30, 40], [20, 0, 40, 30], PlainRules())
    everything = [[0, 1, 2, 3]]
    found = isolated(known(sets, table, joined(table, (4,)), everything), blocks, table.rules)
    assert found == [1], "the one woman"
    after = disclosure.secondary(table, (4,))
    assert isolated(known(sets, table, after, everything), blocks, table.rules) is None
    assert after[0] == [RELEASED] * 4, "the wards' totals stay"
    assert sum(each.count(COMPLEMENT) for each in after[1:]) <= 6


def test_cells_that_guard_one_another_cost_no_other_cell() -> None:
    """Few women in three wards, many men: together enough."""
    _, table, _ = wards([3, 3, 3, 40], [40, 40, 40, 40], PlainRules())
    assert disclosure.secondary(table, (4,)) == table.statuses


def test_a_rare_diagnosis_takes_no_totals_with_it() -> None:
    """Where the total of what is hidden could not be had either, nothing is hidden for it."""
    _, table, _ = wards([1, 1, 1, 1], [40, 40, 40, 40], PlainRules())
    assert disclosure.secondary(table, (4,))[0] == [RELEASED] * 4


def test_a_family_of_sums_is_hidden_without_the_counts() -> None:
    _, table, _ = wards([20, 30], [40, 40], PlainRules())
    gates = [*table.gates, *(replace(gate, sums=(0,)) for gate in table.gates)]
    plain = [*table.counted, *table.counted]
    hidden = [*table.counted, *([disclosure.DOMINANCE, *each[1:]] for each in table.counted)]
    both = replace(table, gates=gates, released=range(6), counted=plain, statuses=hidden)
    after = disclosure.secondary(both, (2,))
    assert after[:3] == [[RELEASED] * 2] * 3
    assert after[3:] == [[disclosure.DOMINANCE, COMPLEMENT]] * 3
