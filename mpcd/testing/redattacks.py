"""The attacks of the red team, by family; see `redteam` for what they have in common, `redward` for the patients.

Each is a function of the laboratory whose name says what the attacker does; it returns what he claims.
"""

# ruff: noqa: D103, S608  names say what attacks do; the SQL is the attackers', and goes to the planner

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from mpcd.compile.choose import program
from mpcd.errors import MpcdError
from mpcd.governance.privacy import Ask
from mpcd.results.table import Suppressed
from mpcd.testing.redhouse import Answer, Data, House, Off, Row, Stopped
from mpcd.testing.redlab import (
    NO_DIFFERENCING,
    WOMEN,
    ZEROS,
    Lab,
    alone,
    attack,
    minus,
    target,
    told_apart,
    worlds,
)
from mpcd.testing.redward import TARGET, but, is_target

# ------------------------------------------------------------------------------------------------ differencing


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def total_then_all_but_one(lab: Lab) -> object:
    house = lab.house()
    return alone(minus(house.ask(WOMEN), house.ask(f"{WOMEN} AND age < 90")))


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def all_but_one_then_total(lab: Lab) -> object:
    house = lab.house()
    without = house.ask(f"{WOMEN} AND age < 90")
    return alone(minus(house.ask(WOMEN), without))


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def two_analysts_share_their_answers(lab: Lab) -> object:
    house = lab.house()
    return alone(minus(house.ask(WOMEN), house.ask(f"{WOMEN} AND age < 90", analyst=1)))


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def the_same_said_otherwise(lab: Lab) -> object:
    """Rewritten, so that no text or plan is like another; whichever pair is answered gives the person."""
    house = lab.house()
    texts = [
        "SELECT SUM(cost), COUNT(*) FROM patients WHERE NOT (sex = 'M' OR age >= 80)",
        "SELECT SUM(cost), COUNT(*) FROM patients WHERE sex LIKE 'F' AND age // 80 < 1",
        "SELECT SUM(cost), COUNT(*) FROM patients WHERE sex <> 'M' AND NOT (age BETWEEN 81 AND 110)",
        "SELECT SUM(cost) FILTER (WHERE age < 85), COUNT(*) FILTER (WHERE age < 85) FROM patients WHERE sex = 'F'",
    ]
    whole = house.ask("SELECT SUM(cost), COUNT(*) FROM patients WHERE sex IN ('F')").numbers
    why: Exception = Stopped("nothing was answered")
    for text in texts:
        try:
            cost, persons = house.ask(text).numbers
        except (Stopped, MpcdError) as error:
            why = why if str(why) == "floor" else error
            continue
        if whole[1] - persons == 1:  # type: ignore[operator]
            return whole[0] - cost  # type: ignore[operator]
    raise why


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def groups_and_then_their_union_without_one(lab: Lab) -> object:
    house = lab.house()
    groups = house.ask("SELECT region, COUNT(*), SUM(cost) FROM patients GROUP BY region").shown
    both = [a + b for a, b in zip(groups["north",], groups["south",], strict=True)]
    part = "SELECT COUNT(*), SUM(cost) FROM patients WHERE region IN ('north', 'south') AND age < 90"
    return alone([a - b for a, b in zip(both, house.ask(part).numbers, strict=True)])


@attack("differencing", "differencing", target("hiv"), NO_DIFFERENCING)
def is_the_difference_anybody(lab: Lab) -> object:
    """All women, and all but HIV-positive ones above 80: equal counts say that the one woman above 80 is negative."""
    house = lab.house()
    (whole,) = house.ask("SELECT COUNT(*) FROM patients WHERE sex = 'F'").numbers
    (rest,) = house.ask("SELECT COUNT(*) FROM patients WHERE sex = 'F' AND NOT (age > 80 AND hiv)").numbers
    return whole - rest  # type: ignore[operator]


@attack("differencing", "differencing", target("hiv"), NO_DIFFERENCING)
def joined_to_another_table(lab: Lab) -> object:
    """The same people, first alone, then as a join, without one of them."""
    house = lab.house()
    first = house.ask("SELECT COUNT(*) FROM patients WHERE hiv").numbers
    joined = "patients p LEFT JOIN patients q ON p.pid = q.pid"
    second = house.ask(f"SELECT COUNT(*) FROM {joined} WHERE p.hiv AND p.age < 90").numbers
    return first[0] - second[0]  # type: ignore[operator]


@attack("differencing", "differencing", target("cost"), NO_DIFFERENCING)
def one_output_filtered_one_not_in_two_requests(lab: Lab) -> object:
    house = lab.house()
    first = house.ask("SELECT COUNT(*) FILTER (WHERE ward = 'A'), SUM(cost) FILTER (WHERE ward = 'A') FROM patients")
    second = house.ask("SELECT COUNT(*), SUM(cost) FROM patients WHERE ward = 'A' AND age < 90")
    return alone(minus(first, second))


# ------------------------------------------------------------------------------------------------ averaging

_NOISE: Final = Ask("laplace", "20", "0.01")


@attack("averaging", "budget", target("hiv"), Off(budget="{ epsilon = 1000, delta = 0.1 }"))
def noisy_answers_averaged(lab: Lab) -> object:
    """A noisy count about one person, as often as it is answered."""
    house = lab.house()
    found = []
    for place in range(3):
        answer = house.ask(f"SELECT COUNT(*) FROM patients WHERE age > {80 + place} AND hiv", noise=_NOISE)
        found += answer.numbers
    return round(sum(map(float, found)) / len(found))


# ------------------------------------------------------------------------------------------------ NULL recoding


def _one_smoker_unknown(data: Data) -> Data:
    return data.changed("patients", lambda row: but(row, smoker=None) if is_target(row) else row)


@attack("NULL recoding", "complement", target("cost"), Off.rules("complement", "dominance"), data=_one_smoker_unknown)
def all_less_those_who_have_a_value(lab: Lab) -> object:
    """Who did not say whether they smoke: COUNT(*) - COUNT(smoker)."""
    found = (
        lab.house()
        .ask("SELECT COUNT(*), COUNT(smoker), SUM(cost), SUM(cost) FILTER (WHERE smoker IS NOT NULL) FROM patients")
        .numbers
    )
    return alone([found[0] - found[1], found[2] - found[3]])  # type: ignore[operator]


@attack("NULL recoding", "complement", target("hiv"), Off.rules("complement"))
def a_value_made_null(lab: Lab) -> object:
    """COUNT(NULLIF(age, 91)) leaves the 91-year-olds out."""
    house = lab.house()
    found = house.ask("SELECT COUNT(*), COUNT(NULLIF(age, 91)) FROM patients WHERE hiv").numbers
    return found[0] - found[1]  # type: ignore[operator]


# ------------------------------------------------------------------------------------------------ FILTER and CASE


@attack("FILTER and CASE", "complement", target("cost"), Off.rules("complement", "dominance"))
def all_and_all_but_one_in_one_request(lab: Lab) -> object:
    found = (
        lab.house()
        .ask(
            "SELECT COUNT(*), SUM(cost), COUNT(*) FILTER (WHERE age < 90), SUM(cost) FILTER (WHERE age < 90) "
            "FROM patients"
        )
        .numbers
    )
    return alone([found[0] - found[2], found[1] - found[3]])  # type: ignore[operator]


@attack("FILTER and CASE", "floor", target("cost"), Off.rules("floor", "dominance"))
def case_keeps_one(lab: Lab) -> object:
    (found,) = lab.house().ask("SELECT SUM(CASE WHEN age > 90 THEN cost END) FROM patients").numbers
    return found


@attack("FILTER and CASE", "floor", target("cost"), Off.rules("floor", "dominance"))
def case_with_zero_for_all_others(lab: Lab) -> object:
    (found,) = lab.house().ask("SELECT SUM(CASE WHEN age > 90 THEN cost ELSE 0 END) FROM patients").numbers
    return found


@attack("FILTER and CASE", "floor", target("cost"), Off.rules("floor", "dominance"))
def case_as_a_group(lab: Lab) -> object:
    found = lab.house().ask("SELECT CASE WHEN age > 90 THEN 1 ELSE 0 END AS old, SUM(cost) FROM patients GROUP BY old")
    if (1,) not in found.shown:
        raise Stopped(next(cell.rule for row in found.rows for cell in row if isinstance(cell, Suppressed)))
    return found.shown[1,][0]


@attack("FILTER and CASE", "complement", target("cost"), Off.rules("also"))
def three_filters_of_one_request(lab: Lab) -> object:
    """Each is large and has a large complement; together they leave one person."""
    found = (
        lab.house()
        .ask(
            "SELECT SUM(cost) FILTER (WHERE sex = 'F'), SUM(cost) FILTER (WHERE ward = 'A'), "
            "SUM(cost) FILTER (WHERE sex = 'F' AND ward = 'A' AND age < 90), "
            "SUM(cost) FILTER (WHERE sex = 'F' OR ward = 'A') FROM patients"
        )
        .numbers
    )
    women, first, both, either = found
    return women + first - either - both  # type: ignore[operator]


# ------------------------------------------------------------------------------------------------ two contributors


def _west_of_two(data: Data) -> Data:
    """A region in which two hospitals have patients."""
    return data.changed("patients", lambda row: but(row, region=3) if row["pid"] < 300 and row["ward"] == 1 else row)  # type: ignore[operator]


def _others_part(data: Data) -> object:
    return sum(row["cost"] or 0 for row in data.rows["patients"][1] if row["region"] == 3)


@attack("two contributors", "min_owners", _others_part, Off(disclosure=("min_owners = 2",)), data=_west_of_two)
def an_owner_takes_its_own_part_away(lab: Lab) -> object:
    """Hospital 0 knows its own patients of the west; only hospital 1 has others."""
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE region = 'west'")
    return found - sum(row["cost"] or 0 for row in lab.data.rows["patients"][0] if row["region"] == 3)


def _west_of_one(data: Data) -> Data:
    """Hospital 0 has twenty patients in the west, the others together three, the target among them."""
    few = {TARGET, 209, 307}

    def moved(row: Row) -> Row:
        west = row["pid"] in few or (row["pid"] < 200 and row["ward"] in {1, 2})  # type: ignore[operator]
        return but(row, region=3) if west else row

    return data.changed("patients", moved)


def _three_in_the_west(data: Data) -> object:
    return sum(row["cost"] or 0 for owner in (1, 2) for row in data.rows["patients"][owner] if row["region"] == 3)


@attack("two contributors", "floor", _three_in_the_west, Off.rules("floor"), data=_west_of_one)
def a_large_owner_takes_its_own_part_away(lab: Lab) -> object:
    (found,) = lab.house().row("SELECT SUM(cost) FROM patients WHERE region = 'west'")
    return found - sum(row["cost"] or 0 for row in lab.data.rows["patients"][0] if row["region"] == 3)


# ------------------------------------------------------------------------------------------------ totals minus cells


def _one_in_the_west(data: Data) -> Data:
    return data.changed("patients", lambda row: but(row, region=3) if is_target(row) else row)


def _rest(whole: list[Any], groups: Answer) -> list[Any]:
    """What a total leaves when the groups that are shown are taken away."""
    return [x - sum(group[place] for group in groups.shown.values()) for place, x in enumerate(whole)]


@attack("totals minus cells", "margins", target("cost"), Off.rules("margins"), data=_one_in_the_west)
def groups_and_then_the_total(lab: Lab) -> object:
    house = lab.house()
    groups = house.ask("SELECT region, COUNT(*), SUM(cost) FROM patients GROUP BY region")
    return _alone_or_hidden(_rest(house.row("SELECT COUNT(*), SUM(cost) FROM patients"), groups), groups)


@attack("totals minus cells", "margins", target("cost"), Off.rules("margins"), data=_one_in_the_west)
def the_total_and_then_groups(lab: Lab) -> object:
    house = lab.house()
    whole = house.row("SELECT COUNT(*), SUM(cost) FROM patients")
    groups = house.ask("SELECT region, COUNT(*), SUM(cost) FROM patients GROUP BY region")
    return _alone_or_hidden(_rest(whole, groups), groups)


def _alone_or_hidden(rest: list[Any], groups: Answer) -> Any:
    if rest[0] != 1:
        rules = sorted({cell.rule for row in groups.rows for cell in row if isinstance(cell, Suppressed)})
        raise Stopped(f"{rest[0]} people are left; hidden by {', '.join(rules)}")
    return rest[1]


@attack("totals minus cells", "margins", target("cost"), Off.rules("margins"), data=_one_in_the_west)
def two_keys_and_then_one(lab: Lab) -> object:
    """GROUP BY sex, region and then the totals by sex."""
    house = lab.house()
    cells = house.ask("SELECT sex, region, COUNT(*), SUM(cost) FROM patients GROUP BY sex, region")
    totals = house.ask("SELECT sex, COUNT(*), SUM(cost) FROM patients GROUP BY sex").shown["F",]
    shown = [group for labels, group in cells.shown.items() if labels[0] == "F"]
    return _alone_or_hidden([x - sum(g[place] for g in shown) for place, x in enumerate(totals)], cells)


@attack("totals minus cells", "complement", target("cost"), Off.rules("complement", "dominance"), data=_one_in_the_west)
def the_total_and_all_other_groups_in_one_request(lab: Lab) -> object:
    found = lab.house().row(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE region = 'north'), COUNT(*) FILTER (WHERE region = 'south'), "
        "COUNT(*) FILTER (WHERE region = 'east'), SUM(cost), SUM(cost) FILTER (WHERE region = 'north'), "
        "SUM(cost) FILTER (WHERE region = 'south'), SUM(cost) FILTER (WHERE region = 'east') FROM patients"
    )
    return alone([found[0] - sum(found[1:4]), found[4] - sum(found[5:8])])


@attack("totals minus cells", "differencing", target("cost"), NO_DIFFERENCING, data=_one_in_the_west)
def a_group_and_the_rest_of_another_split(lab: Lab) -> object:
    """GROUP BY whether west or south, then each region by itself: two splits of the same people."""
    house = lab.house()
    halves = house.ask(
        "SELECT CASE WHEN region IN ('west', 'south') THEN 1 ELSE 0 END AS half, COUNT(*), SUM(cost) FROM patients "
        "GROUP BY half"
    ).shown
    south = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE region = 'south'")
    if (1,) not in halves:
        raise Stopped("floor")
    return alone([a - b for a, b in zip(halves[1,], south, strict=True)])


# ------------------------------------------------------------------------------------------------ errors and timing


def _told_by(*texts: str) -> Any:
    def ask(house: House) -> object:
        return [house.message(text) for text in texts]

    return ask


_OVERFLOW: Final = (
    "SELECT COUNT(*) FROM patients "
    "WHERE (age // 91) * CAST(hiv AS INTEGER) * 5000000000000000000 * 2 > CAST(hiv AS INTEGER) + 1"
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


# ------------------------------------------------------------------------------------------------ duplicate persons


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


# ------------------------------------------------------------------------------------------------ suppressed sets


def _hidden_as(answer: Answer) -> list[object]:
    return [[cell.rule if isinstance(cell, Suppressed) else cell for cell in row] for row in answer.rows]


def _probed(sql: str) -> Callable[[House], object]:
    return lambda house: _hidden_as(house.ask(sql))


@attack("suppressed sets", "zeros hidden", target("hiv"), Off(disclosure=ZEROS), told="alike")
def groups_of_one_person(lab: Lab) -> object:
    """GROUP BY what the only person of that age has: all groups but his are empty."""
    return told_apart(
        lab, _probed("SELECT hiv, COUNT(*) FROM patients WHERE age > 90 GROUP BY hiv"), worlds(lab.data, "hiv", 0, 1)
    )


def _negative_but_for_the_target(data: Data) -> Data:
    return data.changed("patients", lambda row: but(row, hiv=int(is_target(row))))


@attack(
    "suppressed sets",
    "zeros hidden",
    target("hiv"),
    Off(disclosure=ZEROS),
    told="alike",
    data=_negative_but_for_the_target,
)
def is_the_rest_empty(lab: Lab) -> object:
    """All negative ones, beside all: the remainder is nobody, or one."""
    text = "SELECT COUNT(*) FILTER (WHERE NOT hiv) FROM patients"
    return told_apart(lab, _probed(text), worlds(lab.data, "hiv", 0, 1))


@attack(
    "suppressed sets",
    "zeros hidden",
    target("hiv"),
    Off(disclosure=ZEROS),
    told="alike",
    data=_negative_but_for_the_target,
    through="a group that is hidden for another's sake says that there is somebody in the other",
)
def is_the_other_group_empty(lab: Lab) -> object:
    """GROUP BY hiv: is the negative group hidden for the other's sake, or is there nobody in the other?"""
    text = "SELECT hiv, COUNT(*) FROM patients GROUP BY hiv"
    return told_apart(lab, _probed(text), worlds(lab.data, "hiv", 0, 1))


@attack(
    "suppressed sets", "differencing", target("hiv"), NO_DIFFERENCING, told="alike", data=_negative_but_for_the_target
)
def which_rule_hid_the_difference(lab: Lab) -> object:
    """A difference of nobody and one of one person look alike."""

    def ask(house: House) -> object:
        house.ask("SELECT COUNT(*) FROM patients WHERE sex = 'F'")
        return _hidden_as(house.ask("SELECT COUNT(*) FROM patients WHERE sex = 'F' AND NOT hiv"))

    return told_apart(lab, ask, worlds(lab.data, "hiv", 0, 1))
