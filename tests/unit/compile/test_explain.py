"""What `explain` and the lines below an answer say, on real plans."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mpcd.canonical import Value
from mpcd.compile import explain
from mpcd.compile.physical import PhysicalPlan
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.privacy import Ask
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.results.table import JOINED_LOCALLY
from mpcd.roster.parse import parse

ROSTER = parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())
JOIN = "SELECT COUNT(*) FROM visits v JOIN patients p ON v.pid = p.pid"


def planned(sql: str) -> LogicalPlan:
    return plan_sql(sql, ROSTER, dt.date(2026, 1, 1))


def test_joins_are_said_to_be_local_and_nothing_else_is() -> None:
    assert explain.notes(planned(JOIN)) == [JOINED_LOCALLY]
    assert explain.notes(planned("SELECT COUNT(*) FROM gbsg2")) == []


def test_rounding_and_what_is_made_of_it_are_said() -> None:
    (note,) = explain.notes(planned("SELECT AVG(age) FROM gbsg2"), 5)
    assert "multiples of 5" in note
    assert "averages" in note


def test_each_rule_that_is_evaluated_is_said_and_no_other() -> None:
    def said(sql: str, **numbers: object) -> str:
        logical = planned(sql)
        versions: dict[PartyId, dict[str, str]] = {owner: {} for owner in logical.owners}
        compute = (PartyId(0), PartyId(1), PartyId(2))
        rules = DisclosureRules(**numbers)  # type: ignore[arg-type]
        return "\n".join(explain.rules(PhysicalPlan(logical, rules, logical.owners, compute, versions), {}))

    assert not any(word in said("SELECT COUNT(*) FROM gbsg2") for word in ("margins", "dominance", "rounding"))
    assert "margins" in said("SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh")
    assert "more than 0.8," in said("SELECT SUM(age) FROM gbsg2", safe_nk_k=0.8).replace("0.8 ", "0.8,")
    assert "rounding: to multiples of 5" in said("SELECT SUM(age) FROM gbsg2", safe_round_base=5)


def opened(sql: str) -> list[str]:
    logical = planned(sql)
    owners = logical.owners
    compute = (PartyId(0), PartyId(1), PartyId(2))
    versions: dict[PartyId, dict[str, str]] = {owner: {} for owner in owners}
    return explain.opened(PhysicalPlan(logical, DisclosureRules(), owners, compute, versions), ROSTER)


def noisy(sql: str, ask: Ask) -> PhysicalPlan:
    logical = planned(sql)
    compute = (PartyId(0), PartyId(1), PartyId(2))
    terms: dict[str, Value] = {"privacy": ask.encode()}
    versions: dict[PartyId, dict[str, str]] = {owner: {} for owner in logical.owners}
    return PhysicalPlan(logical, DisclosureRules(), logical.owners, compute, versions, terms=terms)


def test_noise_is_said_with_its_size_its_loss_and_what_it_replaces() -> None:
    plan = noisy("SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh", Ask("laplace", "0.5", "0.000001"))
    assert explain.opened(plan, ROSTER) == [
        (
            "count of rows, pooled over 3 owners, for each of 2 cells, with discrete Laplace noise of standard "
            "deviation 2.8"
        )
    ]
    assert explain.accuracy(plan, ROSTER) == ["count of rows: within 6 of the exact number with 95 % chance"]
    said = "\n".join(explain.rules(plan, {}))
    assert "epsilon 0.5, delta 0.000001" in said
    assert "one row of one person counts" in said
    assert "rho 0.125" in said
    assert "no floor" in said
    assert "safe_" not in said
    assert "security: malicious" in said


def test_rows_per_person_and_shared_persons_are_said() -> None:
    plan = noisy("SELECT COUNT(*) FROM visits", Ask("gaussian", "1", "0.000001", 4))
    said = "\n".join(explain.rules(plan, {}))
    assert "at most 4 rows" in said
    assert ("at each of 3 owners" in said) == (not plan.logical.persons_disjoint)


def test_exact_numbers_have_no_accuracy() -> None:
    logical = planned("SELECT COUNT(*) FROM gbsg2")
    exact = PhysicalPlan(logical, DisclosureRules(), logical.owners, (PartyId(0), PartyId(1), PartyId(2)), {})
    assert explain.accuracy(exact, ROSTER) == []


def test_what_is_opened_is_said_in_words_and_with_its_where() -> None:
    assert opened("SELECT horTh, SUM(age) FROM gbsg2 WHERE menostat = 'Post' AND age > 50 GROUP BY horTh")[-2:] == [
        (
            "sum of age where (menostat = 'Post' AND age > 50), pooled over 3 owners, for each of 2 cells, "
            "if it has enough persons, and no few persons make up most of it"
        ),
        "for each of 2 cells: whether it is released, empty, or which rule suppressed it",
    ]


def test_decimals_dates_and_missing_values_are_spelt_as_the_analyst_does() -> None:
    lines = opened("SELECT AVG(crp), COUNT(*) FILTER (WHERE crp > 2.5) FROM visits WHERE day >= DATE '2020-01-01'")
    assert lines[1:] == [
        (
            "sum of crp where day >= DATE '2020-01-01' and crp is given, pooled over 3 owners, for the answer, "
            "if it has enough persons where crp is given, and enough others, and no few persons make up most of it"
        ),
        (
            "count of rows where day >= DATE '2020-01-01' and crp > 2.5, pooled over 3 owners, for the answer, "
            "if it has enough persons where crp > 2.5, and enough others, and no few persons make up most of it"
        ),
        (
            "for the answer and each of the 3 sets of persons that its numbers are about: "
            "whether it is released, empty, or which rule suppressed it"
        ),
    ]
    (_, total, _) = opened("SELECT SUM(crp + temp) FROM visits")
    assert "sum of (([crp in units of 0.1] * 10) + [temp in units of 0.01]) where" in total


def test_no_jargon_is_left() -> None:
    queries = (
        "SELECT VAR_SAMP(crp) FROM visits",
        "SELECT COUNT(*) FROM visits WHERE NOT (icu OR los > 3)",
        "SELECT COUNT(*) FILTER (WHERE icu), COUNT(crp) FROM visits",
    )
    for query in queries:
        text = " ".join(opened(query))
        assert not any(word in text for word in ("gate", "10^", "IS NULL", "NOT ")), text
