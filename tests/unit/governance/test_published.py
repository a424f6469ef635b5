"""What a policy publishes: each table's own words, and those of the top of the file where it has none."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.governance.budget import Budget
from mpcd.governance.granularity import Calendar, Steps
from mpcd.governance.policy import Policy
from mpcd.governance.published import Requirement
from mpcd.governance.purposes import Condition

TEXT = """\
purposes = ["HMB"]
conditions = ["NCU"]
licence = "required"
budget = { queries = 200 }

[[table]]
name = "plain"
uses = { age = ["filter"] }

[[table]]
name = "own"
purposes = ["GRU"]
conditions = ["IRB", "GS:SE"]
licence = "none"
budget = { rho = 0.5, period_days = 7 }
privacy = "required"
approvals = { min = 2, execute = 5, deadline_days = 3 }
granularity = { age = 5, weight = 2.5, day = "month" }
[table.uses]
age = ["filter"]
weight = ["aggregate"]
day = ["group"]
pid = ["join"]
"""
TYPES = {"age": "integer", "weight": "decimal", "day": "date", "pid": "person_id"}
SCHEMA = {"plain": TYPES, "own": TYPES}


def test_a_tables_own_words_replace_the_general_ones() -> None:
    tables = Policy.parse(TEXT).tables
    plain, own = tables["plain"], tables["own"]
    assert (plain.conditions, plain.licence, plain.budget) == ((Condition("NCU"),), "required", Budget(queries=200))
    assert (plain.approvals, plain.granularity, plain.noise_only) == (None, {}, False)
    assert own.conditions == (Condition("IRB"), Condition("GS", "SE"))
    assert (own.licence, own.noise_only) == ("none", True)
    assert own.budget == Budget(rho_units=5 * 10**11, period_days=7)
    assert own.approvals == Requirement(2, 5, 3 * 86_400)
    assert own.granularity == {"age": Steps(Fraction(5)), "weight": Steps(Fraction(5, 2)), "day": Calendar("month")}


def test_nothing_about_licences_or_approvals_is_none() -> None:
    (table,) = Policy.parse('[[table]]\nname = "t"\n').tables.values()
    assert (table.licence, table.approvals, table.conditions, table.budget) == ("none", None, (), Budget())


@pytest.mark.parametrize("written", ["{}", '{ execute = "once" }', "{ min = 1 }", "{ execute = 1 }"])
def test_an_approval_serves_once_unless_more_is_written(written: str) -> None:
    policy = Policy.parse(f'[[table]]\nname = "t"\napprovals = {written}\n')
    assert policy.tables["t"].approvals == Requirement(1, 1, 14 * 86_400)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"IRB", "GS:SE"', '"IRB", "GS"', "`GS:SE`"),
        ('"IRB", "GS:SE"', '"IRB", "IRB"', "listed twice"),
        ('licence = "none"', 'licence = "free"', "one of required, none"),
        ("min = 2", "min = 0", "from 1 to"),
        ("min = 2", "minimum = 2", "did you mean `min`"),
        ("execute = 5", 'execute = "twice"', '"once" or a whole number'),
        ("execute = 5", "execute = 0", '"once" or a whole number'),
        ("deadline_days = 3", "deadline_days = 1000", "from 1 to 90"),
        ("age = 5", "age = 0", "in steps of a number"),
        ("age = 5", "age = true", "in steps of a number"),
        ("age = 5", 'age = "week"', "month, quarter, year"),
        ("age = 5", "height = 5", "no entry in `uses`"),
        ('budget = { rho = 0.5, period_days = 7 }\nprivacy = "required"', 'privacy = "required"', "needs a budget"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    assert TEXT.count(old) == 1
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(ConfigurationInvalid) as caught:
        Policy.parse(TEXT.replace(old, new), "policy.toml")
    assert str(caught.value).startswith(f"policy.toml:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says", "at"),
    [
        ('pid = ["join"]', 'pid = ["join", "filter"]', "tells persons apart", "pid ="),
        ('pid = ["join"]', 'pid = ["group"]', "tells persons apart", "pid ="),
        ('day = "month"', "day = 7", "of type date and cannot be published in steps of 7", "day = ["),
        ("age = 5", 'age = "year"', "of type integer and cannot be published by year", 'age = ["filter"]\nweight'),
        ("weight = [", "wait = [", "no column `wait`", "wait = ["),
    ],
)
def test_what_the_roster_cannot_have_is_named_with_its_line(old: str, new: str, says: str, at: str) -> None:
    text = TEXT.replace(old, new).replace(", weight = 2.5" if "wait" in new else "\0", "")
    with pytest.raises(ConfigurationInvalid) as caught:
        Policy.parse(text, "policy.toml").check_against(SCHEMA)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"policy.toml:{text[: text.index(at)].count(chr(10)) + 1}: ")


def test_a_good_policy_fits_its_roster() -> None:
    Policy.parse(TEXT).check_against(SCHEMA)
