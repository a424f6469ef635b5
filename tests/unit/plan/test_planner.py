from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from mpcd import limits
from mpcd.errors import CallerFault, PlanInvalid, PlanUnsupported
from mpcd.plan import LogicalPlan, plan_sql
from mpcd.plan.nodes import IsNotTrue
from mpcd.roster import Roster

DAY = dt.date(2026, 11, 22)
Plan = Callable[[str], LogicalPlan]


def test_same_text_same_hash_and_the_day_counts(roster: Roster) -> None:
    sql = "SELECT horTh, AVG(age) FROM gbsg2 GROUP BY horTh"
    assert plan_sql(sql, roster, DAY).hash() == plan_sql(sql, roster, DAY).hash()
    assert plan_sql(sql, roster, DAY).hash() != plan_sql(sql, roster, DAY + dt.timedelta(days=1)).hash()


@pytest.mark.parametrize(
    "other",
    [
        "select HORTH, avg( AGE ) from GBSG2 group by 1",
        "SELECT horTh, AVG(age) /* x */ FROM gbsg2 -- y\nGROUP BY gbsg2.horTh;",
        "FROM gbsg2 SELECT horTh, AVG((age)) GROUP BY (horTh)",
    ],
)
def test_spelling_is_no_part_of_a_plan(other: str, plan: Plan) -> None:
    ours = plan("SELECT horTh, AVG(age) FROM gbsg2 GROUP BY horTh")
    theirs = plan(other)
    assert replace(theirs, shape=ours.shape, sources=ours.sources) == ours
    assert theirs.shape.values == ours.shape.values


def test_caps_come_before_parsing(plan: Plan) -> None:
    start = time.perf_counter()
    with pytest.raises(PlanInvalid, match="bytes"):
        plan("SELECT COUNT(*) FROM gbsg2 WHERE " + " OR ".join(["age = 1"] * 10_000))
    with pytest.raises(PlanInvalid, match="words and signs"):
        plan("SELECT COUNT(*) FROM gbsg2 WHERE age=" + "+".join("1" * 1000))
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM gbsg2 WHERE " + "(" * 400 + "age = 1" + ")" * 400,
        "SELECT COUNT(*) FROM gbsg2 WHERE " + "NOT " * 900 + "age = 1",
        "SELECT COUNT(*) FROM gbsg2 WHERE age = " + "-(" * 200 + "1" + ")" * 200,
        "SELECT SUM(" + "+".join(["age"] * 450) + ") FROM gbsg2",
        "SELECT " + "CASE WHEN age = 1 THEN 1 ELSE " * 90 + "2" + " END" * 90 + ", COUNT(*) FROM gbsg2 GROUP BY 1",
        "SELECT " + ", ".join(["COUNT(*)"] * 200) + " FROM gbsg2",
        "SELECT COUNT(*) FROM gbsg2 ORDER BY " + ",".join(["1"] * 300),
        "SELECT COUNT(*) FROM gbsg2 GROUP BY " + ",".join(f"age // {n}" for n in range(200, 240)),
        "SELECT COUNT(*) FROM wards" + " LEFT JOIN wards" * 400,
        "SELECT COUNT(*) FROM " + " JOIN ".join(["wards"] * 50),
    ],
)
def test_long_texts_end_soon_and_typed(sql: str, plan: Plan) -> None:
    start = time.perf_counter()
    with pytest.raises(CallerFault):
        plan(sql)
    assert time.perf_counter() - start < limits.PLAN_SECONDS_MAX / 2


def test_a_long_flat_condition_is_planned(plan: Plan) -> None:
    terms = " OR ".join(f"age = {number}" for number in range(20, 90))
    assert plan(f"SELECT COUNT(*) FROM gbsg2 WHERE {terms}").where is not None


def test_lone_surrogates_are_no_text(plan: Plan) -> None:
    with pytest.raises(PlanInvalid, match="not valid text"):
        plan("SELECT COUNT(*) FROM gbsg2 WHERE horTh = '\ud800'")


def test_every_conditioned_value_has_its_own_gate_with_the_complement(plan: Plan) -> None:
    planned = plan("SELECT COUNT(*), COUNT(crp), AVG(temp), SUM(los) FILTER (WHERE icu), AVG(los) FROM visits")
    for value in planned.values:
        gate = planned.gates[value.gate]
        assert planned.cohorts[gate.inside].condition == value.condition
        if value.condition is None:
            assert (gate.inside, gate.complement) == (0, None)
            assert planned.gates[value.gate].sums, "persons of this table have several rows, so a count is a sum too"
        else:
            assert gate.complement is not None
            assert planned.cohorts[gate.complement].condition == IsNotTrue(value.condition)


def test_equal_aggregates_are_computed_once(plan: Plan) -> None:
    once = plan("SELECT AVG(age), STDDEV_SAMP(age) FROM gbsg2")
    often = plan("SELECT AVG(age), STDDEV_SAMP(age), SUM(age), COUNT(age), VAR_POP(2 * age + 1), COUNT(*) FROM gbsg2")
    assert often.values == once.values


def test_products_commute(plan: Plan) -> None:
    planned = plan("SELECT COVAR_POP(age, tsize), COVAR_POP(tsize, age) FROM gbsg2")
    assert len(planned.values) == 4


def test_uses(plan: Plan) -> None:
    planned = plan(
        "SELECT sex, AVG(crp) FILTER (WHERE icu), COUNT(temp) FROM patients JOIN visits USING (pid) "
        "WHERE born > 1950 GROUP BY sex HAVING AVG(los) > 3"
    )
    assert planned.uses == {
        "patients.pid": {"join"},
        "visits.pid": {"join"},
        "patients.born": {"filter"},
        "patients.sex": {"group"},
        "visits.crp": {"aggregate"},
        "visits.icu": {"filter"},
        "visits.temp": {"aggregate"},
        "visits.los": {"aggregate", "filter"},
    }


def test_a_condition_cannot_hide_as_presence(plan: Plan) -> None:
    planned = plan("SELECT COUNT(COALESCE(NULLIF(los, 3), NULLIF(los, 3))) FROM visits")
    assert planned.uses["visits.los"] == {"filter"}


def test_positions_and_aliases(plan: Plan) -> None:
    by_name = plan("SELECT age // 10 AS band, COUNT(*) AS n FROM gbsg2 GROUP BY age // 10 ORDER BY n, band")
    by_position = plan("SELECT age // 10 AS band, COUNT(*) AS n FROM gbsg2 GROUP BY 1 ORDER BY 2, 1")
    assert by_name == by_position


def test_a_column_comes_before_an_alias_in_group_by(plan: Plan) -> None:
    with pytest.raises(PlanInvalid, match="'age' must be in GROUP BY"):
        plan("SELECT age AS tsize, COUNT(*) FROM gbsg2 GROUP BY tsize")


def test_joined_rows_are_bounded(plan: Plan) -> None:
    assert plan("SELECT COUNT(*) FROM visits JOIN patients USING (pid)").rows_max == 3 * 500
    assert plan("SELECT COUNT(*) FROM patients JOIN visits USING (pid)").rows_max == 3 * 500
    assert plan("SELECT COUNT(*) FROM patients LEFT JOIN visits USING (pid)").rows_max == 3 * 800
    assert plan("SELECT COUNT(*) FROM visits a JOIN visits b USING (pid)").rows_max == 3 * 500 * 500
    assert plan("SELECT COUNT(*) FROM patients a JOIN patients b USING (pid)").persons_unique
    assert not plan("SELECT COUNT(*) FROM patients a JOIN visits b USING (pid)").persons_unique


def test_cells_limit_shows_the_arithmetic(plan: Plan) -> None:
    with pytest.raises(
        PlanUnsupported, match=r"83 \(age\) \* 151 \(tsize\) \* 2 \(horTh\) = 25066 cells; at most 20000"
    ):
        plan("SELECT COUNT(*) FROM gbsg2 GROUP BY age, tsize, horTh")


def test_cells_limit_is_the_last_that_fits(plan: Plan) -> None:
    assert plan("SELECT COUNT(*) FROM gbsg2 GROUP BY age, tsize").cells == 83 * 151
