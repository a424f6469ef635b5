"""Attacks by adding and subtracting sets of people: in one request or several, and by what is hidden; see `redteam`."""

# ruff: noqa: D103, S608  names say what attacks do; the SQL is the attackers', and goes to the planner

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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
from mpcd.testing.redward import TARGET, but, is_target, negative_but_for_the_target


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


@attack(
    "suppressed sets",
    "zeros hidden",
    target("hiv"),
    Off(disclosure=ZEROS),
    told="alike",
    data=negative_but_for_the_target,
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
    data=negative_but_for_the_target,
    through="a group hidden for another's sake says that there is somebody in the other",
)
def is_the_other_group_empty(lab: Lab) -> object:
    """GROUP BY hiv: is the negative group hidden for the other's sake, or is there nobody in the other?"""
    text = "SELECT hiv, COUNT(*) FROM patients GROUP BY hiv"
    return told_apart(lab, _probed(text), worlds(lab.data, "hiv", 0, 1))


@attack(
    "suppressed sets", "differencing", target("hiv"), NO_DIFFERENCING, told="alike", data=negative_but_for_the_target
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
