"""Which sets are compared: every pair that could differ by few in some database, and none that is the same in all."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import random
from collections.abc import Mapping

import numpy as np
import pytest

from mpcd import limits
from mpcd.compile import beside
from mpcd.compile.beside import Beside
from mpcd.errors import PlanUnsupported
from mpcd.governance.history import Definition, Question, Region, question
from mpcd.ids import PartyId
from mpcd.plan.domains import value_of
from mpcd.plan.nodes import And, ColumnRef, Compare, Expr, IsNotTrue, IsNull, Not, Or, Pred, columns_of
from mpcd.plan.planner import plan_sql
from mpcd.roster import Column, Party, Roster, Table

DAY = dt.date(2026, 11, 22)
PARTIES = tuple(PartyId(i) for i in range(3))
Row = Mapping[str, int | None]


def table(name: str, person_id: str | None, *columns: Column) -> Table:
    return Table(
        name=name,
        rows_max=1000,
        rows_disjoint=True,
        persons_disjoint=True,
        person_id=person_id,
        owners=PARTIES,
        columns=columns,
    )


ROSTER = Roster(
    "test",
    1,
    tuple(Party(i, f"h{i}", f"c{i}", f"s{i}", ("input", "compute")) for i in PARTIES),
    (
        table(
            "people",
            "pid",
            Column("pid", "person_id", unique=True),
            Column("age", "integer", 0, 99),
            Column("sex", "dictionary", 0, 1, levels=("F", "M")),
            Column("ward", "integer", 0, 9, nullable=True),
            Column("hiv", "integer", 0, 1, nullable=True),
            Column("x", "integer", 0, 1000, nullable=True),
            Column("y", "integer", 0, 1000),
            Column("big", "integer", 0, 10**9),
        ),
        table("labs", "pid", Column("pid", "person_id"), Column("value", "integer", 0, 1000)),
        table("wards", None, Column("ward", "integer", 0, 9, unique=True), Column("floor", "integer", 0, 3)),
    ),
)


def asked(sql: str) -> tuple[Question, int]:
    plan = plan_sql(sql, ROSTER, DAY)
    return question(plan, ROSTER), plan.cells


def stands(now: str, *before: str) -> Beside:
    found, cells = asked(now)
    return beside.plan(found, [asked(sql)[0].definition for sql in before], ROSTER, cells)


# ------------------------------------------------------------------------------------------------ the slow meaning


def number(expr: Expr, row: Row) -> int | None:
    """An expression over one column at most."""
    names = sorted(ref.name for ref in columns_of(expr))
    assert len(names) <= 1
    return value_of(expr, row[names[0]] if names else None)


def truth(pred: Pred, row: Row) -> bool | None:
    match pred:
        case IsNotTrue(part):
            return truth(part, row) is not True
        case Not(part):
            inner = truth(part, row)
            return None if inner is None else not inner
        case IsNull(expr):
            return number(expr, row) is None
        case Or(parts):
            found = [truth(part, row) for part in parts]
            return True if True in found else None if None in found else False
        case And(parts):
            found = [truth(part, row) for part in parts]
            return False if False in found else None if None in found else True
        case Compare(op, left, right):
            a, b = number(left, row), number(right, row)
            if a is None or b is None:
                return None
            return {"<": a < b, "<=": a <= b, "=": a == b, ">": a > b, ">=": a >= b, "<>": a != b}[op]
        case _:
            raise AssertionError(pred)


def inside(region: Region, row: Row) -> bool:
    for column, values in region.columns:
        value = row[column.name]
        if not (values.null if value is None else any(low <= value <= high for low, high in values.runs)):
            return False
    return all(truth(condition, row) is True for condition in region.rest)


def cell_of(definition: Definition, row: Row) -> int:
    cell = 0
    for key in definition.keys:
        names = sorted({ref.name for ref in columns_of(key.expr)})
        value = row[names[0]] if len(names) == 1 else None
        code = value_of(key.expr, value) if len(names) == 1 else number(key.expr, row)
        cell = cell * key.places + (key.count if code is None else code - key.low)
    return cell


@functools.cache
def members(region: Region, rows: tuple[int, int]) -> frozenset[int]:
    """Places of the rows inside."""
    return frozenset(place for place, row in enumerate(database(*rows)) if inside(region, row))


@functools.cache
def cells_of(definition: Definition, rows: tuple[int, int]) -> tuple[int, ...]:
    return tuple(cell_of(definition, row) for row in database(*rows))


def side_rows(found: Beside, side: int, rows: tuple[int, int]) -> frozenset[int]:
    family, cells = found.sides[side]
    if family == len(found.families):
        return frozenset()
    of = found.families[family]
    there = members(of.region, rows)
    if cells is None:
        return there
    wanted, own = set(cells.tolist()), cells_of(of.definition, rows)
    return frozenset(place for place in there if own[place] in wanted)


def differences(found: Beside, rows: tuple[int, int]) -> list[int]:
    """Per pair, how many rows differ."""
    pairs = found.pairs[: found.layout.compared].tolist()
    return [len(side_rows(found, a, rows) ^ side_rows(found, b, rows)) for a, b in pairs]


@functools.cache
def database(seed: int, count: int) -> tuple[Row, ...]:
    """That many people by chance, and one whom everybody knows."""
    rng = random.Random(seed)
    return (
        *(
            {
                "age": rng.randrange(100),
                "sex": rng.randrange(2),
                "ward": rng.choice((None, *range(10))),
                "hiv": rng.choice((None, 0, 1)),
                "x": rng.choice((None, rng.randrange(1001))),
                "y": rng.randrange(1001),
                "big": rng.randrange(10**9),
            }
            for _ in range(count)
        ),
        {"age": 91, "sex": 0, "ward": 3, "hiv": 1, "x": 7, "y": 8, "big": 5},
    )


ROWS = (1, 600)
TOTAL = "SELECT COUNT(*) FROM people"


# ------------------------------------------------------------------------------------------------ attacks

PAIRS = [
    ("one left out", TOTAL, f"{TOTAL} WHERE NOT (age = 91 AND ward = 3 AND x = 7)"),
    ("one in one group", "SELECT sex, SUM(y) FROM people GROUP BY sex", f"{TOTAL} WHERE sex = 'F' AND big <> 5"),
    ("a cell and a filter", f"{TOTAL} WHERE sex = 'F' AND big <> 5", "SELECT sex, SUM(y) FROM people GROUP BY sex"),
    (
        "a union of cells",
        "SELECT age, COUNT(*) FROM people GROUP BY age",
        f"{TOTAL} WHERE age BETWEEN 61 AND 95 AND big <> 5",
    ),
    (
        "a margin",
        "SELECT sex, ward, SUM(y) FROM people GROUP BY sex, ward",
        f"{TOTAL} WHERE ward = 3 AND big <> 5",
    ),
    (
        "a union inside one key of two",
        "SELECT sex, age, SUM(y) FROM people GROUP BY sex, age",
        f"{TOTAL} WHERE sex = 'F' AND age >= 90 AND big <> 5",
    ),
    ("a sum that is a count", f"{TOTAL} WHERE hiv = 1 AND big <> 5", "SELECT SUM(hiv) FROM people"),
    (
        "a complement that is told",
        "SELECT COUNT(*), COUNT(x) FROM people",
        f"{TOTAL} WHERE x IS NULL AND NOT (age = {{age}})",
    ),
    (
        "bands, and one of them without one",
        "SELECT age // 10, SUM(y) FROM people GROUP BY 1",
        "SELECT age // 10, SUM(y) FROM people WHERE big <> 5 GROUP BY 1",
    ),
    (
        "bands of one width and of another",
        "SELECT age // 10, SUM(y) FROM people GROUP BY 1",
        "SELECT age // 30, SUM(y) FROM people WHERE big <> 5 GROUP BY 1",
    ),
    ("mixed conditions", f"{TOTAL} WHERE x < y", f"{TOTAL} WHERE x < y AND big <> 5"),
]


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=[name for name, *_ in PAIRS])
@pytest.mark.parametrize("turned", [False, True])
def test_a_pair_that_differs_by_one_is_compared(name: str, first: str, second: str, turned: bool) -> None:
    missing = [row for row in database(*ROWS) if row["x"] is None]
    ages = sorted({row["age"] for row in missing if row["age"] is not None})
    rare = min(ages, key=lambda age: sum(row["age"] == age for row in missing))
    few = max(1, sum(row["age"] == rare for row in missing)) if "{age}" in second else 1
    second = second.format(age=rare)
    before, now = (second, first) if turned else (first, second)
    found = stands(now, before)
    near = [pair for pair, size in enumerate(differences(found, ROWS)) if size == few]
    assert near, name
    target = np.repeat(np.arange(len(found.layout.targets)), found.layout.targets)[near[0]]
    assert any(target in targets for _, targets in found.layout.gates), "nothing hangs on it"


def test_what_hangs_on_a_near_union_is_the_union() -> None:
    found = stands("SELECT age, COUNT(*) FROM people GROUP BY age", f"{TOTAL} WHERE age BETWEEN 61 AND 95 AND big <> 5")
    sizes = differences(found, ROWS)
    target = np.repeat(np.arange(len(found.layout.targets)), found.layout.targets)
    hit = {int(target[pair]) for pair, size in enumerate(sizes) if size == 1}
    cells, targets = found.layout.gates[0]
    assert {int(cell) for cell, one in zip(cells, targets, strict=True) if int(one) in hit} == set(range(61, 96))


def unions(found: Beside) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The cells of both sides, of pairs of several cells each."""
    sides = [None if cells is None else tuple(cells.tolist()) for _, cells in found.sides]
    pairs = [(sides[a], sides[b]) for a, b in found.pairs.tolist()]
    return {(a, b) for a, b in pairs if a is not None and b is not None and min(len(a), len(b)) > 1}


FEW = "FROM people WHERE hiv = 0"  # many people, but perhaps few in some cells


def test_what_two_groupings_have_in_common_is_compared() -> None:
    tens, fifteens = "SELECT age // 10, SUM(y) FROM people GROUP BY 1", f"SELECT age // 15, SUM(y) {FEW} GROUP BY 1"
    assert {((2, 3), (3, 4, 5)), ((4, 5), (6, 7, 8))} <= unions(stands(fifteens, tens))
    assert {((3, 4, 5), (2, 3)), ((6, 7, 8), (4, 5))} <= unions(stands(tens, fifteens))
    same = stands(fifteens.replace(FEW, "FROM people"), tens)
    assert not unions(same), "the same in every database"
    bands = sorted(same.layout.bands.tolist())
    assert bands == [2] * 3 + [3] * 3, "but what one of them suppresses there, the other must not give back"


@pytest.mark.parametrize("third", ["x // 501", "x < y"])
def test_keys_that_two_groupings_share_are_a_margin_of_both(third: str) -> None:
    """One person in one ward, many elsewhere, so that no cell, no margin by one key and no union beside one is near."""
    first = "SELECT sex, ward, age // 50, SUM(y) FROM people GROUP BY 1, 2, 3"
    found = unions(stands(f"SELECT sex, ward, {third}, SUM(big) {FEW} GROUP BY 1, 2, 3", first))
    for place in range(2 * 11):  # NULL is a ward, and a third
        ours = tuple(range(3 * place, 3 * (place + 1)))
        assert (ours, (2 * place, 2 * place + 1)) in found


def test_a_band_of_a_set_is_one_of_its_complement_too() -> None:
    """A cell of women that was hidden for its one man would come back from the band, and the man beside all."""
    both = "SELECT age // 10, SUM(y), SUM(y) FILTER (WHERE sex = 'F') FROM people GROUP BY 1"
    women = "SELECT SUM(y) FROM people WHERE sex = 'F' AND age BETWEEN 30 AND 59"
    for now, before in ((women, both), (both, women)):
        found = stands(now, before)
        assert found.layout.bands.tolist() == [3, 3]
        regions = {found.families[found.sides[side][0]].region for side in found.pairs[found.layout.compared :, 0]}
        (sexes,) = zip(*(dict(region.columns)[ColumnRef(0, "sex")].runs for region in regions), strict=True)
        assert sorted(sexes) == [(0, 0), (1, 1)]
    everybody = women.replace("sex = 'F' AND ", "")
    assert stands(everybody, both).layout.bands.tolist() == [3], "nobody is beside everybody"


def test_a_chain_of_many_values_is_put_together_quickly() -> None:
    pairs = np.array([(value // 2, (value + 1) // 2) for value in range(20_000)])
    one = np.ones(len(pairs), dtype=np.int64)
    (whole,) = beside._hanging_together(pairs[:, 0], pairs[:, 1], one, 2 * one, 2 * one)
    assert (len(whole.ours), len(whole.theirs)) == (10_000, 10_001)


# ------------------------------------------------------------------------------------------------ ordinary work

SAME = [
    (TOTAL, "SELECT SUM(y), COUNT(*) FROM people"),
    (TOTAL, "SELECT sex, COUNT(*) FROM people GROUP BY sex"),
    (
        "SELECT sex, AVG(y) FROM people WHERE age > 40 GROUP BY sex",
        "SELECT sex, SUM(big) FROM people WHERE age >= 41 GROUP BY sex",
    ),
    ("SELECT age // 10, COUNT(*) FROM people GROUP BY 1", f"{TOTAL} WHERE age BETWEEN 50 AND 59"),
    (f"{TOTAL} WHERE age BETWEEN 50 AND 59", "SELECT age // 10, COUNT(*) FROM people GROUP BY 1"),
    ("SELECT age, COUNT(*) FROM people GROUP BY age", f"{TOTAL} WHERE age > 60"),
    ("SELECT sex, ward, COUNT(*) FROM people GROUP BY 1, 2", "SELECT ward, sex, SUM(y) FROM people GROUP BY 1, 2"),
    (f"{TOTAL} WHERE sex = 'F'", f"{TOTAL} WHERE sex = 'M'"),
    ("SELECT AVG(x) FROM people", f"{TOTAL} WHERE x IS NOT NULL"),
    ("SELECT x < y, COUNT(*) FROM people GROUP BY 1", "SELECT x < y, SUM(big) FROM people GROUP BY 1"),
]


@pytest.mark.parametrize(("before", "now"), SAME)
def test_ordinary_work_meets_no_small_difference(before: str, now: str) -> None:
    """The same cohort, its split, its total: nothing that is the same set in every database is compared."""
    for first, second in ((before, now), (before, before), (now, now)):
        found = stands(second, first)
        assert all(size >= 3 for size in differences(found, ROWS)), (first, second)


def test_asking_again_compares_nothing() -> None:
    for sql in (sql for pair in SAME for sql in pair):
        assert len(stands(sql, sql).pairs) == 0


# ------------------------------------------------------------------------------------------------ bands


def bands(found: Beside) -> list[tuple[list[int], list[int]]]:
    """Per band the rows of its fine cells, counted, and the cells of the answer that hang on it."""
    fine = found.pairs[found.layout.compared :].tolist()
    counts = [len(side_rows(found, a, ROWS) ^ side_rows(found, b, ROWS)) for a, b in fine]
    result, start = [], 0
    for place, size in enumerate(found.layout.bands.tolist()):
        cells, targets = found.layout.gates[0]
        hang = cells[targets == len(found.layout.targets) + place].tolist()
        result.append((counts[start : start + size], hang))
        start += size
    return result


BY_AGE = "SELECT age, COUNT(*) FROM people GROUP BY age"
BY_DECADE = "SELECT age // 10, COUNT(*) FROM people GROUP BY 1"


def test_a_band_over_finer_cells_of_before() -> None:
    ages = [sum(row["age"] == age for row in database(*ROWS)) for age in range(100)]
    assert bands(stands(f"{TOTAL} WHERE age BETWEEN 60 AND 69", BY_AGE)) == [(ages[60:70], [0])]
    found = bands(stands(BY_DECADE, BY_AGE))
    assert found == [(ages[10 * decade : 10 * decade + 10], [decade]) for decade in range(10)]


def test_finer_cells_under_a_band_of_before() -> None:
    ages = [sum(row["age"] == age for row in database(*ROWS)) for age in range(100)]
    found = bands(stands(BY_AGE, f"{TOTAL} WHERE age BETWEEN 60 AND 69"))
    assert found == [(ages[60:70], list(range(60, 70)))]


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (TOTAL, BY_AGE),
        (BY_AGE, TOTAL),
        (f"{TOTAL} WHERE age > 60", f"{BY_AGE[:-13]} WHERE age > 60 GROUP BY age"),
        ("SELECT sex, COUNT(*) FROM people GROUP BY sex", "SELECT sex, ward, COUNT(*) FROM people GROUP BY 1, 2"),
        (f"{TOTAL} WHERE ward = 3", "SELECT sex, ward, COUNT(*) FROM people GROUP BY 1, 2"),
        (BY_AGE, f"{TOTAL} WHERE age = 60"),
        (BY_AGE, f"{TOTAL} WHERE age BETWEEN 60 AND 69 AND sex = 'F'"),
    ],
)
def test_margins_and_what_differs_anyway_are_no_bands(now: str, before: str) -> None:
    assert stands(now, before).layout.bands.size == 0


# ------------------------------------------------------------------------------------------------ nothing is missed

QUESTIONS = [
    TOTAL,
    f"{TOTAL} WHERE age > 40",
    f"{TOTAL} WHERE age > 40 AND sex = 'F' OR age = 3",
    f"{TOTAL} WHERE x < y",
    f"{TOTAL} WHERE NOT (x < y)",
    "SELECT sex, SUM(y) FROM people WHERE age < 70 GROUP BY sex",
    "SELECT age // 10, sex, SUM(y) FROM people GROUP BY 1, 2",
    "SELECT age // 25, COUNT(*) FROM people WHERE ward IS NULL GROUP BY 1",
    "SELECT ward, AVG(x) FROM people WHERE age BETWEEN 20 AND 59 GROUP BY ward",
    "SELECT age // 50, age % 5, COUNT(*) FROM people GROUP BY 1, 2",
    "SELECT age // 50, hiv, COUNT(*) FROM people WHERE age > 9 GROUP BY 1, 2",
    "SELECT SUM(hiv), COUNT(*) FROM people",
    "SELECT big // 100000000, COUNT(*) FROM people WHERE sex = 'M' GROUP BY 1",
]


@pytest.mark.parametrize(("now", "before"), list(itertools.permutations(QUESTIONS, 2)))
def test_what_is_left_out_is_the_same_or_apart_in_every_database(now: str, before: str) -> None:
    """Cells of both, on rows that nobody chose: all that overlap and differ are compared."""
    (current, cells), (past, _) = asked(now), asked(before)
    found = beside.plan(current, [past.definition], ROSTER, cells)
    rows = (7, 200)
    compared = {(side_rows(found, a, rows), side_rows(found, b, rows)) for a, b in found.pairs.tolist()}
    own, theirs = _all_groups(current.definition, rows), _all_groups(past.definition, rows)
    missed = {(a, b) for a in own for b in theirs if a & b and a != b and (a, b) not in compared and b not in own}
    assert not missed


@functools.cache
def _all_groups(definition: Definition, rows: tuple[int, int]) -> frozenset[frozenset[int]]:
    """For every set and choice of keys, the rows of each cell."""
    count = len(definition.keys)
    kept = {tuple(range(count)), (), *((index,) for index in range(count))}
    codes = [_codes(definition, cell) for cell in cells_of(definition, rows)]
    found: set[frozenset[int]] = set()
    for region, some in itertools.product(definition.sets, kept):
        groups: dict[tuple[int, ...], set[int]] = {}
        for place in members(region, rows):
            groups.setdefault(tuple(codes[place][index] for index in some), set()).add(place)
        found |= {frozenset(group) for group in groups.values()}
    return frozenset(found)


def _codes(definition: Definition, cell: int) -> list[int]:
    codes: list[int] = []
    for key in reversed(definition.keys):
        codes.append(cell % key.places)
        cell //= key.places
    return codes[::-1]


# ------------------------------------------------------------------------------------------------ relations, limits


def test_other_relations_are_compared_by_persons() -> None:
    found = stands(TOTAL, "SELECT SUM(value) FROM people JOIN labs USING (pid)")
    assert len(found.pairs) == 1
    assert not found.by_rows.any()
    assert stands(TOTAL, f"{TOTAL} WHERE age > 3").by_rows.all()


def test_persons_who_are_apart_in_every_database_are_not_compared_across_relations() -> None:
    joined = "SELECT SUM(value) FROM labs JOIN people ON labs.pid = people.pid WHERE people.sex = 'F'"
    assert len(stands(f"{TOTAL} WHERE sex = 'M'", joined).pairs) == 0
    assert len(stands(f"{TOTAL} WHERE sex = 'F'", joined).pairs) == 1


def test_what_shares_no_table_or_has_no_persons_is_not_compared() -> None:
    assert len(stands(TOTAL, "SELECT SUM(value) FROM labs").pairs) == 0
    assert len(stands("SELECT COUNT(*) FROM wards", "SELECT COUNT(*) FROM people JOIN wards USING (ward)").pairs) == 0


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_PAIRS_MAX", 50)
    with pytest.raises(PlanUnsupported, match="too many earlier groups"):
        stands("SELECT age, COUNT(*) FROM people GROUP BY age", "SELECT x // 100, COUNT(*) FROM people GROUP BY 1")


def test_another_roster_leaves_definitions_out() -> None:
    found, cells = asked(TOTAL)
    definition = asked(f"{TOTAL} WHERE age > 3")[0].definition
    foreign = Definition((("people", b"0" * 32),), definition.joins, definition.owners, (), definition.sets)
    assert len(beside.plan(found, [foreign], ROSTER, cells).pairs) == 0


def test_owners_who_came_make_another_set() -> None:
    found, cells = asked(TOTAL)
    definition = found.definition
    before = Definition(definition.tables, definition.joins, PARTIES[:2], definition.keys, definition.sets)
    assert len(beside.plan(found, [before], ROSTER, cells).pairs) == 1
