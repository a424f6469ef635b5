"""One request must not isolate anybody, however its outputs are added, subtracted and multiplied (SECURITY rule 18).

The attacks are run against pooled rows with one person to find, through gates that are evaluated as the release does:
what is opened may not depend on that person beyond what a floor's worth of others hide.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest

from mpcd.errors import CallerFault, PlanUnsupported
from mpcd.plan import LogicalPlan, spans
from mpcd.plan import nodes as ir
from mpcd.plan.domains import Domains, Facts, Values
from mpcd.plan.relation import build
from mpcd.roster import Roster

FLOOR = 11
MIN_OWNERS = 3
Plan = Callable[[str], LogicalPlan]


# ------------------------------------------------------------------------------------------------ the release


def passes(counts: Sequence[int]) -> bool:
    """The gate's rules on one cohort's persons at each owner; zeros are hidden, persons are disjoint."""
    return sum(counts) - max(counts) >= FLOOR and sum(count > 0 for count in counts) >= MIN_OWNERS


def opened(oracle: Any, plan: LogicalPlan, hospitals: Sequence[Any]) -> list[tuple[int, int]]:
    """Values and cells that the release would open."""
    local = [oracle.local_answer(plan, hospital)[0] for hospital in hospitals]
    cohorts = range(len(plan.cohorts))
    good = [[passes([counts[c][cell] for counts in local]) for cell in range(plan.cells)] for c in cohorts]
    return [
        (index, cell)
        for index, value in enumerate(plan.values)
        for cell in range(plan.cells)
        if all(good[c][cell] for c in (plan.gates[value.gate].inside, *plan.gates[value.gate].outside))
    ]


def row(**changed: int) -> dict[str, int]:
    base = {"horTh": 0, "age": 40, "menostat": 0, "tsize": 20, "tgrade": 1, "pnodes": 0, "progrec": 30, "estrec": 40}
    return {**base, "time": 100, "cens": 0, **changed}


@pytest.fixture(scope="module")
def hospitals() -> Sequence[Mapping[str, Sequence[Mapping[str, int]]]]:
    """Ninety people of 30 to 60 years without positive nodes, and one woman of 91 with three."""
    rng = random.Random(5)
    made = [
        {"gbsg2": [row(age=rng.randint(30, 60), tsize=rng.randint(5, 60), menostat=n % 2) for n in range(30)]}
        for _ in range(3)
    ]
    made[1]["gbsg2"].append(row(age=91, pnodes=3, tsize=77, menostat=0, tgrade=2, cens=1))
    return made


# ------------------------------------------------------------------------------------------------ attacks

HIDDEN = [
    # C1: what a unique person has
    "SELECT tgrade, COUNT(*) FROM gbsg2 WHERE age = 91 AND menostat = 'Post' GROUP BY tgrade",
    "SELECT COUNT(*) FILTER (WHERE tgrade = 'I'), COUNT(*) FILTER (WHERE tgrade = 'II') FROM gbsg2 WHERE age = 91",
    "SELECT COUNT(*) FILTER (WHERE tgrade <> 'III') FROM gbsg2 WHERE age = 91",
    # H2: cohorts against each other
    "SELECT SUM(tsize) FILTER (WHERE horTh = 'no'), SUM(tsize) FILTER (WHERE horTh = 'no' AND age < 91) FROM gbsg2",
    "SELECT SUM(tsize) FILTER (WHERE age < 61), SUM(tsize) FILTER (WHERE age > 91) FROM gbsg2",
    "SELECT SUM(CASE WHEN age < 91 THEN tsize ELSE 0 END) FROM gbsg2",
    "SELECT SUM(cens * tsize), SUM(cens) FROM gbsg2",
    "SELECT CORR(cens, tsize), REGR_SLOPE(cens, tsize) FROM gbsg2 WHERE age > 30",
]


@pytest.mark.parametrize("sql", HIDDEN)
def test_what_would_isolate_is_not_opened(sql: str, plan: Plan, oracle: Any, hospitals: Any) -> None:
    """Everything that hangs on a condition stays closed; the whole cell may be shown where it is large enough."""
    planned = plan(sql)
    for index, _ in opened(oracle, planned, hospitals):
        value = planned.values[index]
        columns = {column.name for factor in value.factors for column in ir.columns_of(factor)}
        assert value.condition is None, sql
        assert "cens" not in columns, sql


def test_three_sets_and_a_gap(plan: Plan, oracle: Any, hospitals: Any) -> None:
    """All minus those below 61 minus those above 61 and so on: more than two sets can isolate somebody too."""
    sql = (
        "SELECT SUM(tsize), SUM(tsize) FILTER (WHERE age < 40), SUM(tsize) FILTER (WHERE age BETWEEN 40 AND 60), "
        "SUM(tsize) FILTER (WHERE age > 60 AND age <> 91) FROM gbsg2"
    )
    planned = plan(sql)
    assert all(planned.values[index].condition is None for index, _ in opened(oracle, planned, hospitals))
    two = plan(
        "SELECT SUM(tsize), SUM(tsize) FILTER (WHERE age < 45), SUM(tsize) FILTER (WHERE age BETWEEN 45 AND 60) "
        "FROM gbsg2"
    )
    assert all(two.values[index].condition is None for index, _ in opened(oracle, two, hospitals))


def test_bands_that_cover_everybody_are_shown(plan: Plan, oracle: Any, hospitals: Any) -> None:
    planned = plan("SELECT SUM(tsize) FILTER (WHERE age < 45), SUM(tsize) FILTER (WHERE age >= 45) FROM gbsg2")
    assert len(opened(oracle, planned, hospitals)) == len(planned.values)


REFUSED = {
    # C2, H3: padding with people who add nothing, and columns of few values
    "SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes * (91 - age) = 0": "multiplies columns",
    "SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes = 0 OR age = 91": "mixes gbsg2.pnodes with other columns",
    "SELECT SUM(pnodes) FROM gbsg2 WHERE pnodes = 0 OR (age = 91 AND menostat = 'Post')": "mixes gbsg2.pnodes",
    "SELECT SUM(pnodes) FILTER (WHERE pnodes = 0 OR age = 91) FROM gbsg2": "mixes gbsg2.pnodes",
    "SELECT SUM(pnodes) FROM gbsg2 WHERE NOT (pnodes > 0 AND age < 91)": "mixes gbsg2.pnodes",
    "SELECT SUM(pnodes) FROM gbsg2 WHERE CASE WHEN pnodes = 0 THEN 91 ELSE age END = 91": "mixes gbsg2.pnodes",
    "SELECT SUM(age * tsize), SUM(age) FROM gbsg2 WHERE age % 51 = 40": "gaps between the values of gbsg2.age",
    "SELECT SUM(age), COUNT(*) FROM gbsg2 WHERE age IN (40, 91)": "gaps between the values of gbsg2.age",
    "SELECT SUM(age), COUNT(*) FROM gbsg2 WHERE age = 40 OR age = 91": "GROUP BY gbsg2.age instead",
    "SELECT SUM(age), COUNT(*) FROM gbsg2 WHERE age >= 40 AND age NOT BETWEEN 41 AND 90": "gaps",
    "SELECT SUM(age) FILTER (WHERE age < 41 OR age = 91) FROM gbsg2 WHERE age > 39": "gaps",
    "SELECT AVG(age) FROM gbsg2 WHERE age // 51 * 51 = age - 40": "gaps",
    "SELECT AVG(age) FROM gbsg2 WHERE 51 * cens + age = 91": "mixes gbsg2.age",
    "SELECT AVG(age) FROM gbsg2 WHERE 51 * cens + age >= 91 AND 51 * cens + age <= 91": "mixes gbsg2.age",
    "SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE 91 * pnodes <= age": "mixes gbsg2.pnodes",
    "SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes <= cens": "at most 3 values",
    "SELECT SUM(pnodes * tsize) FROM gbsg2 WHERE pnodes <= tsize AND tsize <= cens": "at most 3 values",
    "SELECT SUM(age * tsize) FROM gbsg2 WHERE age BETWEEN 90 AND 91": "at most 3 values",
    "SELECT CORR(age, tsize) FILTER (WHERE age > 98) FROM gbsg2": "at most 3 values",
    "SELECT age // 2, SUM(age * tsize) FROM gbsg2 GROUP BY 1": "at most 3 values in a group",
    "SELECT age // 4, (age + 2) // 4, AVG(age) FROM gbsg2 GROUP BY 1, 2": "at most 3 values in a group",
    "SELECT CASE WHEN age IN (40, 91) THEN 1 ELSE 2 END AS k, AVG(age) FROM gbsg2 GROUP BY k": "others between them",
    "SELECT age % 7, AVG(age) FROM gbsg2 GROUP BY 1": "others between them",
    "SELECT pnodes = 0 OR age = 91 AS k, SUM(pnodes) FROM gbsg2 GROUP BY k": "mixes gbsg2.pnodes",
    "SELECT SUM(b1 * b2 * b3) FROM bits": "more than 2 columns are multiplied",
    "SELECT SUM((age - 89) * (age - 90) * tsize) FROM gbsg2 WHERE age > 88": "more than 2 columns are multiplied",
    "SELECT VAR_SAMP(age * tsize) FROM gbsg2": "more than 2 columns are multiplied",
    'SELECT COUNT(crp), COUNT(temp), COUNT(ward), COUNT(day), COUNT("ph.ecog") FROM visits': "too many different sets",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_no_gate_covers_is_refused_with_advice(sql: str, plan: Plan) -> None:
    with pytest.raises(CallerFault, match=REFUSED[sql]):
        plan(sql)


ORDINARY = [
    "SELECT AVG(age) FROM gbsg2",
    "SELECT AVG(age), STDDEV_SAMP(age) FROM gbsg2 WHERE age > 50",
    "SELECT AVG(age) FROM gbsg2 WHERE age BETWEEN 40 AND 60 AND menostat = 'Post'",
    "SELECT AVG(age) FROM gbsg2 WHERE (age < 60 AND age > 20) AND (menostat = 'Post' OR tgrade = 'I')",
    "SELECT AVG(age) FROM gbsg2 WHERE NOT age < 40",
    "SELECT AVG(age + tsize) FROM gbsg2 WHERE NOT (age > 50 OR tgrade = 'III')",
    "SELECT AVG(pnodes) FROM gbsg2 WHERE pnodes <> 0",
    "SELECT AVG(pnodes) FROM gbsg2 WHERE pnodes > 0 AND pnodes % 1 = 0",
    "SELECT AVG(tsize) FROM gbsg2 WHERE age IN (40, 50, 60) OR pnodes = 0",
    "SELECT AVG(tsize) FROM gbsg2 WHERE age % 10 = 0",
    "SELECT CORR(age, tsize) FROM gbsg2 WHERE age > 30 AND tsize < 100",
    "SELECT REGR_SLOPE(tsize, age), REGR_R2(tsize, age) FROM gbsg2 WHERE age >= 50 AND tsize >= 10",
    "SELECT CORR(progrec, estrec) FROM gbsg2 WHERE progrec > estrec",
    "SELECT AVG(progrec - estrec) FROM gbsg2 WHERE progrec - estrec > 10",
    "SELECT AVG(tsize) FILTER (WHERE age > 50), COUNT(*) FROM gbsg2",
    "SELECT AVG(age) FILTER (WHERE age > 50), AVG(age) FROM gbsg2",
    "SELECT AVG(age) FILTER (WHERE horTh = 'yes'), AVG(age) FILTER (WHERE horTh = 'no') FROM gbsg2",
    "SELECT COUNT(*) FILTER (WHERE age < 40), COUNT(*) FILTER (WHERE age >= 60), COUNT(*) FROM gbsg2",
    "SELECT COUNT(*) FILTER (WHERE age < 40), SUM(tsize) FILTER (WHERE age >= 40 AND age < 60), COUNT(*) FROM gbsg2",
    "SELECT age // 10 * 10 AS band, COUNT(*), AVG(tsize) FROM gbsg2 GROUP BY band",
    "SELECT age // 10 * 10 AS band, AVG(age), CORR(age, tsize) FROM gbsg2 GROUP BY band",
    "SELECT CASE WHEN age < 50 THEN 'young' ELSE 'old' END AS g, AVG(age) FROM gbsg2 GROUP BY g",
    "SELECT age, AVG(age), AVG(tsize) FROM gbsg2 GROUP BY age",
    "SELECT AVG(cens), CORR(cens, age), AVG(cens) FILTER (WHERE horTh = 'yes') FROM gbsg2",
    "SELECT cens, AVG(cens), AVG(age) FROM gbsg2 GROUP BY cens",
    "SELECT SUM(CASE WHEN age > 50 THEN 1 ELSE 0 END), AVG(age) FROM gbsg2",
    "SELECT ward, AVG(crp), AVG(los) FROM visits GROUP BY ward",
    "SELECT AVG(crp), AVG(temp) FROM visits WHERE crp > 3 AND temp BETWEEN 36 AND 42",
    "SELECT year(day), month(day), AVG(crp) FROM visits WHERE day > DATE '2020-01-01' GROUP BY 1, 2",
    "SELECT AVG(date_diff('day', DATE '2020-01-01', day)) FROM visits WHERE year(day) = 2020",
    "SELECT VAR_SAMP(huge) FROM wide WHERE huge > 5",
    "SELECT huge // 1000000000000, AVG(huge) FROM wide GROUP BY 1",
]


@pytest.mark.parametrize("sql", ORDINARY)
def test_ordinary_questions_are_answered(sql: str, plan: Plan) -> None:
    assert plan(sql).values


# ------------------------------------------------------------------------------------------------ known without rows


def gates(planned: LogicalPlan) -> list[tuple[int, int | None, int]]:
    """Each once: a gate of sums has the cohorts of the gate of counts beside it."""
    return list(dict.fromkeys((gate.inside, gate.complement, len(gate.also)) for gate in planned.gates))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT AVG(crp), COUNT(crp) FROM visits WHERE crp > 3",
        "SELECT AVG(crp) FROM visits WHERE crp IS NOT NULL",
        "SELECT AVG(crp) FROM visits WHERE crp IN (1, 2, 3.5, 3.6) OR crp BETWEEN 0 AND 500",
        "SELECT COUNT(ward) FROM visits WHERE ward LIKE '%i%'",
        "SELECT COUNT(crp) FROM visits WHERE (crp > 3 AND icu) OR crp < 2",
        "SELECT COUNT(crp), COUNT(temp) FROM visits WHERE crp > temp",
        "SELECT COUNT(crp) FROM visits WHERE NOT (crp < 3)",
        "SELECT COUNT(crp) FROM visits WHERE (crp > 3) IS TRUE",
        "SELECT COUNT(*) FILTER (WHERE los > 3) FROM visits WHERE los > 3",
        "SELECT COUNT(*) FILTER (WHERE los > 3), SUM(los) FILTER (WHERE los < 99) FROM visits WHERE los > 4",
        "SELECT COUNT(*) FILTER (WHERE los >= -3) FROM visits",
    ],
)
def test_what_conditions_imply_needs_no_cohort(sql: str, plan: Plan) -> None:
    if "crp IN" in sql:  # gaps are closed by the OR
        assert plan(sql).cohorts == (ir.Cohort(None),)
    assert gates(plan(sql)) == [(0, None, 0)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(crp) FROM visits WHERE crp > 3 OR icu",
        "SELECT COUNT(crp) FROM visits WHERE (crp > 3) IS NOT TRUE",
        "SELECT COUNT(crp) FROM visits WHERE COALESCE(crp, 0) = 0",
        "SELECT COUNT(crp) FROM visits WHERE temp > 3",
        "SELECT COUNT(*) FILTER (WHERE los > 3) FROM visits WHERE los > 2",
    ],
)
def test_what_they_do_not_imply_has_its_cohort(sql: str, plan: Plan) -> None:
    assert gates(plan(sql))[-1][1] is not None


def test_conditions_that_exclude_each_other_need_no_difference(plan: Plan) -> None:
    planned = plan("SELECT COUNT(*) FILTER (WHERE los < 3), COUNT(*) FILTER (WHERE los >= 3) FROM visits")
    assert gates(planned) == [(0, None, 0), (2, 1, 0), (4, 3, 0)]  # all rows, then each with its own complement


def test_joint_cells_leave_nothing_beside_them(plan: Plan) -> None:
    planned = plan("SELECT SUM(b1 * b2) FROM bits")
    assert len(planned.cohorts) == 5
    assert gates(planned) == [(0, None, 0), (0, None, 4)]


# ------------------------------------------------------------------------------------------------ spans


def span_isolates(atoms: Sequence[spans.Atom], persons: Sequence[int], shown: Sequence[int]) -> bool:
    """Brute force: some combination of the total and the shown sets stands on 1 to FLOOR - 1 persons."""
    here = [place for place, count in enumerate(persons) if count]
    rows = [[1, *(atoms[place][s] for s in shown)] for place in here]
    for size in range(1, len(here) + 1):
        for zero in itertools.combinations(range(len(here)), len(here) - size):
            if sum(persons[here[place]] for place in range(len(here)) if place not in zero) >= FLOOR:
                continue
            others = [rows[place] for place in range(len(here)) if place not in zero]
            if rank([rows[place] for place in zero] + others) > rank([rows[place] for place in zero]):
                return True
    return False


def rank(rows: Sequence[Sequence[int]]) -> int:
    left = [[Fraction(value) for value in row] for row in rows]
    found = 0
    while left:
        pivot = left.pop()
        place = next((index for index, value in enumerate(pivot) if value), None)
        if place is None:
            continue
        found += 1
        left = [[a - row[place] / pivot[place] * b for a, b in zip(row, pivot, strict=True)] for row in left]
    return found


@pytest.mark.parametrize("seed", range(60))
def test_no_combination_of_what_passes_isolates(seed: int) -> None:
    """Random patterns of sets and persons: whatever the supports let through, nothing adds up to a few people."""
    rng = random.Random(seed)
    sets = rng.randint(1, 3)
    every = list(itertools.product((0, 1), repeat=sets))
    atoms = tuple(sorted(rng.sample(every, rng.randint(1, len(every)))))
    needed = spans.supports(atoms)
    assert needed is not None
    shown_ever = 0
    for _ in range(60):
        persons = [rng.choice([0, 1, 5, 11, 40, 40]) for _ in atoms]
        if sum(persons) < FLOOR:
            continue
        shown = [
            place for place in range(sets) if all(sum(persons[atom] for atom in s) >= FLOOR for s in needed[place])
        ]
        shown_ever += len(shown)
        assert not span_isolates(atoms, persons, shown), (atoms, persons, shown)
    assert shown_ever or len(atoms) > 3


def test_the_brute_force_finds_what_pairs_leave() -> None:
    """The twin: with the demands on pairs alone, two sets that leave a gap would pass."""
    atoms, persons = ((0, 0), (0, 1), (1, 0)), (1, 40, 40)
    assert span_isolates(atoms, persons, (0, 1))
    assert not span_isolates(atoms, persons, ())
    assert not span_isolates(atoms, (40, 40, 40), (0, 1))


def test_disjoint_sets_do_not_hide_each_other() -> None:
    needed = spans.supports(((0, 0), (0, 1), (1, 0)))
    assert needed is not None
    assert frozenset({1}) not in needed[0]
    assert frozenset({0}) in needed[0]


def test_independent_sets_need_their_differences_both_ways() -> None:
    atoms = tuple(itertools.product((0, 1), repeat=2))
    needed = spans.supports(atoms)
    assert needed is not None
    for place in (0, 1):
        assert {frozenset({1}), frozenset({2})} <= set(needed[place])


# ------------------------------------------------------------------------------------------------ domains


@pytest.mark.parametrize("seed", range(30))
def test_sets_of_values(seed: int) -> None:
    rng = random.Random(seed)

    def made() -> tuple[Values, set[int | None]]:
        members = {n for n in range(20) if rng.random() < 0.5}
        found = Values(())
        for member in members:
            found |= Values(((member, member),))
        null = rng.random() < 0.5
        return Values(found.runs, null), members | ({None} if null else set())

    (a, x), (b, y) = made(), made()
    for ours, theirs in ((a & b, x & y), (a | b, x | y), (a - b, x - y)):
        assert {*ours.listed(), *([None] if ours.null else [])} == theirs
        assert all(ours.runs[i][1] + 1 < ours.runs[i + 1][0] for i in range(len(ours.runs) - 1))


def test_facts_are_never_wrong_about_rows(plan: Plan, roster: Roster, oracle: Any) -> None:
    """Whatever is called implied or impossible is so on every row of small random tables."""
    rng = random.Random(3)
    conditions = [
        c
        for text in (
            "los > 3",
            "los <= 3",
            "NOT los > 5",
            "los IN (1, 7)",
            "crp > 3",
            "crp IS NULL",
            "crp < 3 OR icu",
            "icu",
            "NOT icu",
            "icu IS NOT TRUE",
            "temp > crp",
            "NOT temp > crp",
            "ward = 'icu'",
            "ward IN ('icu', 'medicine')",
            "los % 2 = 0",
            'COALESCE("ph.ecog", 2) = 2',
        )
        if (c := plan(f"SELECT COUNT(*) FROM visits WHERE {text}").where) is not None
    ]
    relation = build(roster, plan("SELECT COUNT(*) FROM visits").sources, ())
    rows = [(row,) for row in oracle.random_hospital(rng, roster, {"visits": 300})["visits"]]
    impossible = implied = 0
    for _ in range(400):
        true, other = rng.sample(conditions, 2), rng.choice(conditions)
        facts, not_true = Facts(Domains(relation), true), (other, rng.choice(conditions))
        facts.learn((), not_true)
        matching = [
            r
            for r in rows
            if all(oracle.truth_of(c, r) is True for c in true)
            and not all(oracle.truth_of(c, r) is True for c in not_true)
        ]
        if facts.impossible:
            impossible += 1
            assert not matching
            continue
        for condition in conditions:
            if facts.holds(condition):
                implied += 1
                assert all(oracle.truth_of(condition, r) is True for r in matching)
            if facts.fails(condition):
                assert not any(oracle.truth_of(condition, r) is True for r in matching)
    assert impossible > 20
    assert implied > 200


def test_a_trial_has_an_end(plan: Plan) -> None:
    many = " AND ".join(f"ABS(crp - {n}) < 400" for n in range(60))
    with pytest.raises(PlanUnsupported, match="too many values"):
        plan(f"SELECT AVG(crp) FROM visits WHERE {many}")
