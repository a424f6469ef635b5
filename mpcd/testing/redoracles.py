"""Attacks that ask for what is refused, and that listen to everything but the numbers; see `redteam`."""

# ruff: noqa: D103, S608  names say what attacks do; the SQL is the attackers', and goes to the planner

from __future__ import annotations

from typing import Any, Final, cast

from mpcd.compile.choose import program
from mpcd.ids import PartyId
from mpcd.testing.redhouse import Data, House, Off, Stopped, content_digest
from mpcd.testing.redlab import (
    Lab,
    alone,
    attack,
    target,
    told_apart,
    worlds,
)
from mpcd.testing.redward import TARGET


def _told_by(*texts: str) -> Any:
    def ask(house: House) -> object:
        return [house.message(text) for text in texts]

    return ask


_OVERFLOW: Final = (
    "SELECT COUNT(*) FROM patients "
    "WHERE (age // 91) * CAST(hiv AS BIGINT) * 9000000000000000000 + 9000000000000000000 * CAST(hiv AS BIGINT) > age"
)


@attack("error and timing", "total SQL", target("hiv"), Off.rules("total"), told="alike")
def an_overflow_if_a_row_exists(lab: Lab) -> object:
    """A number that is too large only if the woman of 91 is positive."""
    text = _OVERFLOW
    return told_apart(lab, _told_by(text), worlds(lab.data, "hiv", 0, 1))


@attack("error and timing", "total SQL", target("hiv"), Off.rules("total"), told="alike")
def a_cast_that_fails_if_a_row_exists(lab: Lab) -> object:
    text = (
        "SELECT COUNT(*) FROM patients "
        "WHERE CAST(CAST(cost AS INTEGER) * (age // 91) * CAST(hiv AS INTEGER) * 1000 AS TINYINT) > 0"
    )
    return told_apart(lab, _told_by(text), worlds(lab.data, "hiv", 0, 1))


@attack("error and timing", "dense cells", target("age"), Off.rules("dense"), told="alike")
def sizes_and_rounds_of_messages(lab: Lab) -> object:
    """How many groups exist would show in how long messages are."""

    def sizes(house: House) -> object:
        return house.ask("SELECT age, COUNT(*) FROM patients WHERE hiv GROUP BY age").sizes

    return told_apart(lab, sizes, worlds(lab.data, "age", 55, 91))


@attack("error and timing", "refusals without data", target("hiv"), Off.rules("total"), told="alike")
def refusals_and_plan_errors(lab: Lab) -> object:
    """Everything that is refused, refused in the same words whatever the data; run as it stands, one text fails."""
    texts = (
        "SELECT MAX(age) FROM patients",
        "SELECT * FROM patients",
        "SELECT SUM(cost * cost * cost) FROM patients WHERE age = 91",
        "SELECT COUNT(*) FROM patients WHERE gene",
        "SELECT COUNT(*) FROM patients WHERE mrn = 106993",
        "SELECT COUNT(*) FROM patients GROUP BY admitted",
        _OVERFLOW,
    )
    return told_apart(lab, _told_by(*texts), worlds(lab.data, "hiv", 0, 1))


@attack("error and timing", "explain without data", target("hiv"), Off.rules("dense"), told="alike")
def explain_and_quote(lab: Lab) -> object:
    """What an explanation or a quote is made of: the plan, its cost."""

    def explained(house: House) -> object:
        text = "SELECT age, COUNT(*) FROM patients WHERE age > 80 AND hiv GROUP BY age"
        plan = house.explain(text)
        if "dense" in lab.off.code:
            return house.ask(text).sizes
        return plan.logical.to_value(), program(plan).cost(), plan.rules

    return told_apart(lab, explained, worlds(lab.data, "hiv", 0, 1))


@attack("error and timing", "salt", target("hiv"), Off.rules("salt"), told="no guess fits")
def the_name_of_the_data_version(lab: Lab) -> object:
    """The plan names the rows by a digest; whoever knows the other rows of the hospital tries what hers may be."""
    plan = lab.house().ask("SELECT COUNT(*) FROM patients").plan
    assert plan is not None
    for guess, data in worlds(lab.data, "hiv", 0, 1).items():
        if content_digest(data, 1, "patients").hex() == plan.data_versions[PartyId(1)]["patients"]:
            return guess
    raise Stopped("no guess fits")


@attack("HAVING, ORDER BY, LIMIT", "floor", target("cost"), Off.rules("floor", "dominance"), told="nothing is shown")
def having_picks_groups_of_one(lab: Lab) -> object:
    found = lab.house().ask("SELECT age, SUM(cost) FROM patients WHERE age > 85 GROUP BY age HAVING COUNT(*) = 1").shown
    if not found:
        raise Stopped("nothing is shown")
    return found[91,][0]


@attack("HAVING, ORDER BY, LIMIT", "floor", target("age"), Off.rules("floor", "dominance"), told="alike")
def the_order_tells_a_hidden_value(lab: Lab) -> object:
    """Who comes first, of those whose values are hidden?"""

    def ask(house: House) -> object:
        sql = "SELECT age FROM patients WHERE region = 'north' GROUP BY age ORDER BY SUM(age) * COUNT(*) DESC LIMIT 70"
        return house.ask(sql).rows

    return told_apart(lab, ask, worlds(lab.data, "age", 91, 95))


@attack("MIN and MAX", "no such aggregate", target("age"), Off.rules("plain"), told="MAX")
def the_largest_value(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT MAX(age) FROM patients")
    return found


@attack("MIN and MAX", "no such aggregate", target("age"), Off.rules("plain"), told="PlanUnsupported")
def a_quantile_that_is_the_largest_value(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT QUANTILE_DISC(age, 1.0) FROM patients")
    return found


@attack("MIN and MAX", "no such aggregate", target("age"), Off.rules("plain"), told="PlanUnsupported")
def values_in_a_list(lab: Lab) -> object:
    (found,) = lab.house().ask("SELECT LIST(age ORDER BY age) FROM patients").rows[0]
    return cast("list[int]", found)[-1]


@attack("MIN and MAX", "no such aggregate", lambda _data: True, Off.rules("plain"), told="PlanUnsupported")
def distinct_values_counted(lab: Lab) -> object:
    """COUNT(DISTINCT age) with and without a condition: is there one more value above 90?"""
    first, second = (
        lab.house()
        .ask("SELECT COUNT(DISTINCT age), COUNT(DISTINCT age) FILTER (WHERE age <= 90) FROM patients")
        .rows[0]
    )
    return first != second


@attack("rows", "no rows", target("cost"), Off.rules("plain"), told="single rows never leave")
def a_row_itself(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT cost FROM patients WHERE age > 90")
    return found


@attack("rows", "no subqueries", target("cost"), Off.rules("plain"), told="PlanUnsupported")
def a_group_from_a_subquery(lab: Lab) -> object:
    """The threshold is a person's own value."""
    sql = "SELECT SUM(cost) FROM patients WHERE age = (SELECT MAX(age) FROM patients)"
    return lab.house().row(sql)[0]


@attack(
    "identifiers",
    "identifier",
    target("cost"),
    Off.rules("identifier", disclosure=("differencing = false",)),
    told="no equality",
)
def equality_on_an_identifier(lab: Lab) -> object:
    house = lab.house()
    number = 100_000 + TARGET * 7
    whole = house.row("SELECT COUNT(*), SUM(cost) FROM patients")
    rest = house.row(f"SELECT COUNT(*), SUM(cost) FROM patients WHERE mrn <> {number}")
    return alone([a - b for a, b in zip(whole, rest, strict=True)])


@attack("identifiers", "identifier", target("cost"), Off.rules("identifier", "floor", "dominance"), told="no equality")
def an_identifier_between_two_bounds(lab: Lab) -> object:
    number = 100_000 + TARGET * 7
    sql = f"SELECT SUM(cost) FROM patients WHERE mrn > {number - 1} AND mrn < {number + 1}"
    return lab.house().row(sql)[0]


@attack("identifiers", "person ids join only", target("cost"), Off.rules("plain"), told="PlanUnsupported")
def the_person_id_in_a_condition(lab: Lab) -> object:
    return lab.house().row(f"SELECT SUM(cost) FROM patients WHERE pid = {TARGET}")[0]


@attack(
    "granularity", "granularity", target("cost"), Off.rules("floor", "dominance", granularity=True), told="by month"
)
def a_day_where_months_are_published(lab: Lab) -> object:
    """The attacker knows on which day she was admitted."""
    sql = "SELECT SUM(cost) FROM patients WHERE admitted = DATE '2021-12-01'"
    return lab.house().row(sql)[0]


@attack(
    "granularity",
    "granularity",
    target("cost"),
    Off(granularity=True, disclosure=("differencing = false",)),
    told="by month",
)
def a_day_by_two_open_intervals(lab: Lab) -> object:
    house = lab.house()
    before = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE admitted < DATE '2021-12-02'")
    earlier = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE admitted < DATE '2021-12-01'")
    return alone([a - b for a, b in zip(before, earlier, strict=True)])


def _many_doses(data: Data) -> object:
    return len(data.pooled("patients", lambda row: (row["doses"] or 0) >= 9))


@attack("column uses", "uses", _many_doses, Off(uses=True), told="does not allow")
def a_use_that_is_not_granted(lab: Lab) -> object:
    """Doses may be aggregated, not filtered by: whoever has the most."""
    (found,) = lab.house().row("SELECT COUNT(*) FROM patients WHERE doses >= 9")
    return found


@attack(
    "column uses",
    "uses",
    lambda data: len(data.pooled("patients", lambda row: bool(row["gene"]))),
    Off(hidden=True),
    told="knows no column",
)
def a_column_that_is_not_published(lab: Lab) -> object:
    return lab.house().row("SELECT COUNT(*) FROM patients WHERE gene")[0]


@attack(
    "hidden names", "default deny", lambda data: len(data.pooled("secret")), Off(hidden=True), told="knows no table"
)
def a_table_that_is_not_published(lab: Lab) -> object:
    return lab.house().row("SELECT COUNT(*) FROM secret")[0]


@attack("hidden names", "no suggestions", lambda _data: "secret", Off(hidden=True), told="no name")
def a_table_name_nearly_guessed(lab: Lab) -> object:
    """Does a misspelt name bring the right one?  Whoever may know it finds it in the list of what he may know."""
    house = lab.house()
    told = house.message("SELECT COUNT(*) FROM secre")
    if "secret" in told:
        return "secret"
    names = [name for name in ("secret",) if "uses" in house.message(f"SELECT COUNT(*) FROM {name}")]
    if not names and house.message("SELECT COUNT(*) FROM secret") != "answered":
        raise Stopped("no name")
    return "secret"
