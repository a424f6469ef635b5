"""The parent's check: every lie that a planner child could tell is found, and by the check that is meant for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from mpcd import canonical
from mpcd.errors import PlanInvalid
from mpcd.plan import LogicalPlan
from mpcd.roster import Roster

SQL = (
    "SELECT ward, COUNT(*), AVG(crp), SUM(los) FILTER (WHERE icu), SUM(icu) FROM visits WHERE los > 3 "
    "GROUP BY ward HAVING AVG(crp) > 3"
)


@pytest.fixture
def honest(plan: Callable[[str], LogicalPlan]) -> Any:
    return canonical.decode(canonical.encode(plan(SQL).to_value()))


def test_the_honest_plan_passes(honest: Any, roster: Roster) -> None:
    assert LogicalPlan.from_value(honest, roster).to_value() == honest


def column(name: str) -> list[object]:
    return ["column", 0, name]


def drop_gate_cells(plan: Any) -> None:
    for gate in plan["gates"]:
        gate["also"] = []


def without_complement(value: Any) -> None:
    next(gate for gate in value["gates"] if gate["complement"] is not None).update(complement=None)


def weaker_gate(plan: Any) -> None:
    """A value with a condition hangs on the whole cell's gate."""
    value = next(value for value in plan["values"] if value["gate"] != 0)
    value["gate"] = 0
    plan["shape"]["values"][plan["values"].index(value)]["gate"] = 0


def extra_value(plan: Any) -> None:
    plan["values"].append(copy.deepcopy(plan["values"][0]))
    plan["shape"]["values"].append({"field": "p", "gate": plan["values"][0]["gate"]})


LIES: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown field": (lambda p: p.update(extra=1), "exactly the fields"),
    "missing field": (lambda p: p.pop("where"), "exactly the fields"),
    "another table": (lambda p: p["sources"][0].update(table="nothing"), "no table"),
    "fewer rows": (lambda p: p.update(rows_max=30), "rows_max"),
    "rows, not persons": (lambda p: p.update(persons=None), "persons"),
    "persons unique": (lambda p: p.update(persons_unique=True), "persons_unique"),
    "persons disjoint": (lambda p: p.update(persons_disjoint=True), "persons_disjoint"),
    "narrow cohorts": (lambda p: p.update(cohort_width=1), "cohort_width"),
    "fewer owners": (lambda p: p.update(owners=[0, 1]), "owners"),
    "boolean as integer": (lambda p: p.update(rows_max=True), "rows_max"),
    "unknown column": (lambda p: p["where"].__setitem__(2, column("nothing")), "no column"),
    "unknown column inside an expression": (
        lambda p: p["where"].__setitem__(2, ["add", column("nothing"), ["constant", 1]]),
        "no column",
    ),
    "no such source": (lambda p: p["where"].__setitem__(2, ["column", 7, "los"]), "no column"),
    "person id in a filter": (lambda p: p["where"].__setitem__(2, column("pid")), "person id"),
    "person id as a key": (lambda p: p["keys"][0].update(expr=column("pid")), "person id"),
    "division by zero": (
        lambda p: p["where"].__setitem__(2, ["floor_divide", column("los"), column("los")]),
        "may be zero",
    ),
    "overflow": (
        lambda p: p["where"].__setitem__(2, ["multiply", column("los"), ["constant", 2**62]]),
        "could reach",
    ),
    "narrow key": (lambda p: [p["keys"][0].update(count=2), p["shape"]["keys"][0].update(count=2)], ""),
    "key of another expression": (lambda p: p["keys"][0].update(expr=column("los")), "keys[0]"),
    "key without NULL": (
        lambda p: [p["keys"][0].update(nullable=False), p["shape"]["keys"][0].update(nullable=False)],
        "keys[0]",
    ),
    "shape without the key": (lambda p: p["shape"].update(keys=[]), ""),
    "another field than the shape's": (lambda p: p["values"][0].update(field="q"), "shape"),
    "a field that is not the narrowest": (
        lambda p: [p["values"][0].update(field="q"), p["shape"]["values"][0].update(field="q")],
        "values[0]",
    ),
    "too small a bound": (lambda p: p["values"][2].update(high=1, low=0), "values[2]"),
    "gate without complement": (without_complement, "gates: not those"),
    "gate with a wrong complement": (lambda p: p["gates"][1].update(complement=0), "gates: not those"),
    "gate without its cells": (drop_gate_cells, "gates: not those"),
    "first gate not the whole cell": (lambda p: p["gates"].reverse(), "the first is the whole cell"),
    "weaker gate": (weaker_gate, "values' gates: not those"),
    "gate of a missing cohort": (lambda p: p["gates"][1].update(inside=99), "gates: not those"),
    "value without NOT NULL": (lambda p: p["cohorts"].__setitem__(2, {"condition": None}), ""),
    "cohort with another condition": (
        lambda p: p["cohorts"].__setitem__(1, {"condition": ["is_null", column("temp")]}),
        "cohorts: not those",
    ),
    "a cohort that no gate needs": (
        lambda p: p["cohorts"].append({"condition": ["is_null", column("temp")]}),
        "cohorts: not those",
    ),
    "padding in WHERE": (
        lambda p: p.update(where=["in", column("los"), [4, 40]]),
        "gaps between the values of visits.los",
    ),
    "a product in WHERE": (
        lambda p: p["where"].__setitem__(2, ["multiply", column("los"), column("ph.ecog")]),
        "multiplies columns",
    ),
    "value that nothing needs": (extra_value, "nothing in the shape needs it"),
    "step function in a sum": (
        lambda p: p["values"][2].update(factors=[["floor_divide", column("crp"), ["constant", 10]]]),
        "values[2]",
    ),
    "case in a sum": (
        lambda p: p["values"][2].update(factors=[["case", [[["truth", True], column("crp")]], ["constant", 0]]]),
        "values[2]",
    ),
    "count with factors": (lambda p: p["values"][0].update(factors=[column("los")]), "values[0]"),
    "fewer uses": (lambda p: p["uses"].pop("visits.crp"), "uses"),
    "weaker uses": (lambda p: p["uses"].update({"visits.los": ["aggregate"]}), "uses"),
    "unsorted verbs": (lambda p: p["uses"].update({"visits.los": ["filter", "aggregate"]}), "ascend"),
    "unknown verb": (lambda p: p["uses"].update({"visits.los": ["read"]}), "uses"),
    "output of a missing value": (
        lambda p: p["shape"]["outputs"][1].update(expression=["value", 99]),
        "does not exist",
    ),
    "unknown node": (lambda p: p.update(where=["call", "getenv"]), "starts with one of"),
    "a date that is none": (lambda p: p.update(as_of="2026-02-30"), "as_of"),
    "not a map": (lambda p: p.clear(), "exactly the fields"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found(name: str, honest: Any, roster: Roster) -> None:
    tell, expected = LIES[name]
    tell(honest)
    with pytest.raises(PlanInvalid) as caught:
        LogicalPlan.from_value(honest, roster)
    assert expected in str(caught.value)


def test_against_another_roster(honest: Any, roster: Roster) -> None:
    """A plan made when bounds were tighter does not pass when they are wider."""
    value = roster.to_value()
    assert isinstance(value, dict)
    changed = canonical.decode(canonical.encode(value))
    assert isinstance(changed, dict)
    content: Any = changed["content"]
    visits = next(table for table in content["tables"] if table["name"] == "visits")
    next(c for c in visits["columns"] if c["name"] == "los")["high"] = 50
    with pytest.raises(PlanInvalid):
        LogicalPlan.from_value(honest, Roster.from_value(changed))


def test_garbage(roster: Roster) -> None:
    garbage: list[object] = [None, 1, "plan", [], {}, b"\x00"]
    for value in garbage:
        with pytest.raises(PlanInvalid):
            LogicalPlan.from_value(value, roster)
