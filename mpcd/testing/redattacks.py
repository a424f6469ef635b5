"""The attacks of the red team, by family; see `redteam` for what they have in common, `redward` for the patients.

Each is a function of the laboratory whose name says what the attacker does; it returns what he claims.
"""

# ruff: noqa: D103, S608  names say what attacks do; the SQL is the attackers', and goes to the planner

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final, cast

from mpcd.compile.choose import program
from mpcd.errors import MpcdError
from mpcd.governance.privacy import Ask
from mpcd.ids import PartyId
from mpcd.results.table import Suppressed
from mpcd.testing.redhouse import Answer, Data, House, Off, Row, Stopped, content_digest
from mpcd.testing.redlab import (
    NO_DIFFERENCING,
    WOMEN,
    ZEROS,
    Lab,
    Within,
    alone,
    attack,
    count,
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


@attack("FILTER and CASE", "floor", target("cost"), Off.rules("floor", "dominance"), told="complement")
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
    through="a group hidden for another's sake says that there is somebody in the other",
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


@attack("suppressed sets", "differencing", target("cost"), NO_DIFFERENCING, data=_one_in_the_west)
def a_hidden_group_asked_with_others(lab: Lab) -> object:
    """The west is hidden; west and south together, and the south alone, are not."""
    house = lab.house()
    both = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE region IN ('west', 'south')")
    south = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE region = 'south'")
    return alone([a - b for a, b in zip(both, south, strict=True)])


def _ages_of_few(data: Data) -> Data:
    """Of the 80 to 84-year-olds: 45 of 80, 45 of 82, the target of 84."""

    def aged(row: Row) -> Row:
        if is_target(row):
            return but(row, age=84)
        return but(row, age={0: 80, 1: 82}.get(row["ward"] or 0, row["age"]))

    return data.changed("patients", aged)


@attack("suppressed sets", "differencing", target("cost"), NO_DIFFERENCING, data=_ages_of_few, told="")
def a_band_over_a_hidden_age(lab: Lab) -> object:
    """GROUP BY age, in which one age is hidden, and then the band of five years around it."""
    house = lab.house()
    ages = house.ask("SELECT age, COUNT(*), SUM(cost) FROM patients GROUP BY age").shown
    band = house.row("SELECT COUNT(*), SUM(cost) FROM patients WHERE age BETWEEN 80 AND 84")
    inside = [group for (age,), group in ages.items() if isinstance(age, int) and 80 <= age <= 84]
    return alone([x - sum(group[place] for group in inside) for place, x in enumerate(band)])


# ------------------------------------------------------------------------------------------------ dominance


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


# ------------------------------------------------------------------------------------------------ answers as oracles


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


# ------------------------------------------------------------------------------------------------ uses and steps


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


# ------------------------------------------------------------------------------------------------ weights and values


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


@attack(
    "weights", "complement", target("cost"), Off.rules("complement", "dominance"), data=_negative_but_for_the_target
)
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


# ------------------------------------------------------------------------------------------------ joins


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


# ------------------------------------------------------------------------------------------------ three and more


@attack(
    "three and more",
    "none",
    target("cost"),
    Off(),
    through="pairs of requests are compared, not three; only noise stops three",
)
def three_requests(lab: Lab) -> object:
    """Women, the north, either, and both but the target: no two differ by few."""
    house = lab.house()
    select = "SELECT COUNT(*), SUM(cost) FROM patients WHERE"
    women = house.row(f"{select} sex = 'F'")
    north = house.row(f"{select} region = 'north'")
    either = house.row(f"{select} sex = 'F' OR region = 'north'")
    young = house.row(f"{select} sex = 'F' AND region = 'north' AND age < 90")
    return alone([w + n - e - y for w, n, e, y in zip(women, north, either, young, strict=True)])


@attack(
    "three and more",
    "none",
    target("cost"),
    Off(),
    through="two data versions of one question tell who came between them",
)
def before_and_after_an_admission(lab: Lab) -> object:
    house = lab.house(lab.data.changed("patients", lambda row: None if is_target(row) else row))
    before = house.row("SELECT COUNT(*), SUM(cost) FROM patients")
    house.publish(lab.data)
    after = house.row("SELECT COUNT(*), SUM(cost) FROM patients")
    return alone([a - b for a, b in zip(after, before, strict=True)])


def _two_ways(data: Data) -> Data:
    """Four wards of four regions, 24 patients for each pair, but only the target in ward A of the north."""
    rows = []
    for owner in data.rows["patients"]:
        made = [row for row in owner if is_target(row)]
        for number in range(128):
            if number % 16:
                place = {"pid": 5000 + number, "mrn": 500_000 + number, "ward": number % 4, "region": number // 4 % 4}
                made.append({**owner[number % 60], **place})
        rows.append(made)
    return Data(data.tables, {**data.rows, "patients": rows})


@attack(
    "totals minus cells",
    "none",
    target("cost"),
    Off(),
    data=_two_ways,
    through="margins of two keys together: each group is completed for itself",
)
def totals_of_rows_and_columns_together(lab: Lab) -> object:
    """GROUP BY ward, region; then the totals by ward, and by region: what one gives back takes another cell out."""
    house = lab.house()
    cells = house.ask("SELECT ward, region, COUNT(*), SUM(cost) FROM patients GROUP BY ward, region")
    known = dict(cells.shown.items())
    hidden = {tuple(row[:2]) for row in cells.rows} - known.keys()
    lines: list[tuple[int, object, list[Any]]] = []
    for place, key in enumerate(("ward", "region")):
        totals = house.ask(f"SELECT {key}, COUNT(*), SUM(cost) FROM patients GROUP BY {key}").shown
        lines += [(place, label, group) for (label,), group in totals.items()]
    for _ in range(len(hidden)):
        for place, label, group in lines:
            mine = [labels for labels in hidden if labels[place] == label]
            if len(mine) == 1:
                shown = [found for labels, found in known.items() if labels[place] == label]
                known[mine[0]] = [x - sum(found[at] for found in shown) for at, x in enumerate(group)]
                hidden.discard(mine[0])
    if ("A", "north") not in known:
        raise Stopped("not alone in any line")
    return alone(known["A", "north"])
