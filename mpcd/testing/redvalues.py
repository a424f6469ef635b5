"""Attacks on the values behind sums: few large ones, uneven weights, several rows of a person; see `redteam`."""

# ruff: noqa: D103  names say what attacks do; the SQL is the attackers', and goes to the planner

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Final

from mpcd.testing.redhouse import Data, Off, Row, Stopped
from mpcd.testing.redlab import (
    Lab,
    Within,
    alone,
    attack,
    count,
    target,
)
from mpcd.testing.redward import TARGET, but, is_target, negative_but_for_the_target


def _often(data: Data) -> Data:
    """One patient of each hospital was seen fifteen times in psychiatry, the target among them."""
    rows = []
    for owner, pid in enumerate((105, TARGET, 311)):
        more = [{"pid": pid, "kind": 2, "fee": 1000 * (owner + 1) + place} for place in range(15)]
        rows.append([*data.rows["visits"][owner], *more])
    return Data(data.tables, {**data.rows, "visits": rows})


def _without_persons(data: Data) -> Data:
    """The same, of a roster that does not say whose rows these are."""
    tables = tuple(
        replace(
            table,
            person_id=None,
            columns=tuple(replace(c, type="integer", high=9999) if c.name == "pid" else c for c in table.columns),
        )
        if table.name == "visits"
        else table
        for table in data.tables
    )
    return Data(tables, _often(data).rows)


def _fees(data: Data) -> object:
    return sum(row["fee"] or 0 for row in data.pooled("visits", lambda row: row["kind"] == 2))


@attack(
    "duplicate persons",
    "distinct persons",
    _fees,
    Off(uses=True),
    told="floor",
    data=_often,
    control_data=_without_persons,
)
def few_people_with_many_rows(lab: Lab) -> object:
    """Three people, 45 rows."""
    (found,) = lab.house().row("SELECT SUM(fee) FROM visits WHERE kind = 'psychiatry'")
    return found


def _known_everywhere(data: Data) -> Data:
    """Six people of the west, each known to all three hospitals."""
    rows: list[list[Row]] = []
    for owner in data.rows["patients"]:
        made = [but(row, region=row["region"]) for row in owner]
        made += [{**made[0], "pid": 9000 + n, "mrn": 700_000 + n, "region": 3, "cost": 40_000 + n} for n in range(6)]
        rows.append(made)
    tables = tuple(
        replace(table, persons_disjoint=False) if table.name == "patients" else table for table in data.tables
    )
    return Data(tables, {**data.rows, "patients": rows})


def _declared_disjoint(data: Data) -> Data:
    return Data(data.tables, _known_everywhere(data).rows)


def _of_six(data: Data) -> object:
    found = {row["pid"]: row["cost"] or 0 for row in data.pooled("patients", lambda row: row["region"] == 3)}
    return Fraction(sum(found.values()), len(found))


@attack(
    "duplicate persons",
    "persons not disjoint",
    _of_six,
    Off(),
    told="floor",
    data=_known_everywhere,
    control_data=_declared_disjoint,
)
def the_same_people_at_several_owners(lab: Lab) -> object:
    """Eighteen entries that are six people; the attacker knows that everybody there goes to all three."""
    persons, cost = lab.house().row("SELECT COUNT(*), SUM(cost) FROM patients WHERE region = 'west'")
    return Fraction(cost, persons)


def _within(share: float) -> Callable[[float], Within]:
    return lambda value: Within(value * (1 - share), value * (1 + share))


_ABOUT: Final = _within(0.1)
"""As near as `safe_pratio_p` forbids."""


def _one_large(data: Data) -> Data:
    """The target's treatment cost eight millions, everybody else's in the ward some hundreds."""

    def changed(row: Row) -> Row:
        if is_target(row):
            return but(row, cost=8_000_000)
        return but(row, cost=(row["cost"] or 0) // 100) if row["ward"] == 0 else row

    return data.changed("patients", changed)


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_one_large)
def one_large_value(lab: Lab) -> object:
    """A ward of 46, whose sum is the target's."""
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE ward = 'A'")
    return _ABOUT(found)


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_one_large)
def an_average_is_a_sum(lab: Lab) -> object:
    mean, persons = lab.house().row("SELECT AVG(cost), COUNT(*) FROM patients WHERE ward = 'A'")
    return _ABOUT(mean * persons)


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_one_large)
def a_constant_as_padding(lab: Lab) -> object:
    """A million for each, so that nobody's part of the sum is large; and taken away again."""
    found, persons = lab.house().row("SELECT SUM(cost + 1000000), COUNT(*) FROM patients WHERE ward = 'A'")
    return _ABOUT(found - 1_000_000 * persons)


def _two_large(data: Data) -> Data:
    """And so did another patient's of the ward, who is in the hospital of the attacker."""
    changed = _one_large(data)
    return changed.changed("patients", lambda row: but(row, cost=3_000_000) if row["pid"] == 101 else row)


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_two_large)
def the_second_largest_takes_himself_away(lab: Lab) -> object:
    """He knows what his own treatment cost."""
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE ward = 'A'")
    return _ABOUT(found - 3_000_000)


def _zeros(data: Data) -> Data:
    """Nobody of the ward but the target had any cost."""
    return data.changed("patients", lambda row: row if is_target(row) or row["ward"] != 0 else but(row, cost=0))


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_zeros)
def zeros_as_padding(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE ward = 'A'")
    return found


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_zeros)
def zeros_of_a_product_as_padding(lab: Lab) -> object:
    """A product is a sum that few people may make up, too."""
    found, ages = lab.house().row("SELECT SUM(cost * age), SUM(cost * age) / 91 FROM patients WHERE ward = 'A'")
    return ages if found % 91 == 0 else found


@attack("dominance", "dominance", target("cost"), Off.rules("dominance"), data=_one_large)
def the_rest_beside_a_filter_is_one_large_value(lab: Lab) -> object:
    found = lab.house().row("SELECT SUM(cost), SUM(cost) FILTER (WHERE ward <> 'A') FROM patients")
    return _ABOUT(found[0] - found[1])


@attack(
    "dominance",
    "dominance",
    target("cost"),
    Off.rules("dominance"),
    data=_one_large,
    through="differences of two requests are tested for how many people they are, not for how large one's part is",
)
def two_requests_differ_by_one_large_value(lab: Lab) -> object:
    """Both sums are large, both pass; their difference is a ward in which one value is nearly all."""
    house = lab.house()
    whole = house.row("SELECT SUM(cost) FROM patients")
    return _ABOUT(whole[0] - house.row("SELECT SUM(cost) FROM patients WHERE ward <> 'A'")[0])


def _frequent(data: Data) -> Data:
    """The target was seen four thousand times."""
    rows = [list(owner) for owner in data.rows["visits"]]
    rows[1] += [{"pid": TARGET, "kind": 0, "fee": 100} for _ in range(4000)]
    return Data(data.tables, {**data.rows, "visits": rows})


def _seen(data: Data) -> object:
    return len(data.pooled("visits", lambda row: is_target(row) and row["kind"] == 0))


@attack("dominance", "dominance", _seen, Off.rules("dominance"), data=_frequent)
def one_person_has_nearly_all_rows(lab: Lab) -> object:
    """COUNT(*) of visits is a sum of each person's visits; others have a few."""
    (found,) = lab.house().row("SELECT COUNT(*) FROM visits WHERE kind = 'clinic'")
    return _ABOUT(found)


def _one_of_grade_three(data: Data) -> Data:
    return data.changed("patients", lambda row: but(row, grade=3) if is_target(row) else row)


@attack(
    "weights",
    "degree",
    target("cost"),
    Off.rules("degree", "dominance", "complement"),
    data=_one_of_grade_three,
    told="power",
)
def a_polynomial_that_is_zero_for_all_but_one(lab: Lab) -> object:
    """(grade - 1)(grade - 2) cost is 2 cost for grade 3, and nothing for all others."""
    (found,) = lab.house().row("SELECT SUM((grade - 1) * (grade - 2) * cost) FROM patients")
    return found // 2


@attack(
    "weights",
    "complement",
    count(lambda row: row["grade"] == 3),
    Off.rules("complement", "dominance"),
    data=_one_of_grade_three,
)
def moments_of_a_column_with_three_values(lab: Lab) -> object:
    """How many have each grade, from a mean and a variance."""
    persons, first, second = lab.house().row("SELECT COUNT(*), SUM(grade), SUM(grade * grade) FROM patients")
    return (second - 3 * first + 2 * persons) // 2


@attack("weights", "complement", target("cost"), Off.rules("complement", "dominance"), data=negative_but_for_the_target)
def a_product_with_a_column_of_zeros_and_one(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT SUM(cost * CAST(hiv AS INTEGER)) FROM patients")
    return found


@attack("weights", "padding", target("cost"), Off.rules("padding", "dominance"), data=_zeros, told="PlanUnsupported")
def people_without_cost_as_padding(lab: Lab) -> object:
    """Zeros let in by the condition hide that one person is beside them."""
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE cost = 0 OR age > 90")
    return found


@attack(
    "weights", "products", target("cost"), Off.rules("products", "padding", "dominance"), data=_zeros, told="multiplies"
)
def an_or_in_disguise(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE cost * (age // 91) = cost")
    return found


def _doses_alike(data: Data) -> Data:
    """Everybody had five doses, the target six."""
    return data.changed("patients", lambda row: but(row, doses=6 if is_target(row) else 5))


@attack(
    "weights",
    "rounding",
    target("cost"),
    Off(),
    data=_doses_alike,
    through="weights that are equal for all but one: products weigh people unevenly, and no rule sees by how much",
)
def weights_equal_for_all_but_one(lab: Lab) -> object:
    """SUM(doses * cost) - 5 SUM(cost), once the moments of doses say that one person had six, all others five."""
    found = lab.house().row(
        "SELECT COUNT(*), SUM(doses), SUM(doses * doses), SUM(doses * cost), SUM(cost) FROM patients"
    )
    persons, first, second, product, cost = found
    if (first - 5 * persons, second - 10 * first + 25 * persons) != (1, 1):
        raise Stopped("not one person")
    return product - 5 * cost


@attack("joins", "floor", _fees, Off.rules("floor", "dominance", uses=True), data=_often)
def a_join_that_one_person_passes(lab: Lab) -> object:
    sql = "SELECT SUM(v.fee) FROM patients p JOIN visits v ON p.pid = v.pid WHERE v.kind = 'psychiatry'"
    return lab.house().row(sql)[0]


def _without_visits(data: Data) -> Data:
    return data.changed("visits", lambda row: None if is_target(row) else row)


@attack("joins", "complement", target("cost"), Off.rules("complement", "dominance"), data=_without_visits)
def who_has_no_row_in_the_other_table(lab: Lab) -> object:
    found = lab.house().row(
        "SELECT COUNT(*), COUNT(v.fee), SUM(p.cost), SUM(p.cost) FILTER (WHERE v.fee IS NOT NULL) "
        "FROM patients p LEFT JOIN visits v ON p.pid = v.pid"
    )
    return alone([found[0] - found[1], found[2] - found[3]])
