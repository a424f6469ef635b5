from __future__ import annotations

import os

import pytest

from mpcd.daemon.policynews import changes, located, warnings
from mpcd.governance.policy import Policy
from mpcd.identity import SigningKey

ANNA, BEN = (SigningKey.generate(os.urandom).public for _ in range(2))
OLD = f"""
security = "semi-honest"
[[analyst]]
name = "Anna"
key = "{ANNA}"
[[table]]
name = "t"
purposes = ["GRU"]
uses = {{ x = ["filter"], y = ["group"] }}
[[table]]
name = "u"
purposes = ["GRU"]
uses = {{ z = ["aggregate"] }}
"""
NEW = f"""
[[analyst]]
name = "Ben"
key = "{BEN}"
[[table]]
name = "t"
purposes = ["HMB"]
uses = {{ x = ["filter", "aggregate"] }}
[[table]]
name = "v"
purposes = ["GRU"]
uses = {{ z = ["aggregate"] }}
[disclosure]
safe_threshold = 20
"""


def test_what_a_new_policy_changes_is_said() -> None:
    assert changes(Policy.parse(OLD), Policy.parse(NEW)) == [
        "security: malicious (was semi-honest)",
        "safe_threshold: 20 (was 11)",
        "analyst Anna: no longer accepted",
        "analyst Ben: accepted",
        "table u: no longer published",
        "table t: for HMB (was GRU)",
        "t.x: filter, aggregate (was filter)",
        "t.y: not published (was group)",
        "table v: published, 1 columns, for GRU",
    ]


def test_the_same_meaning_changes_nothing() -> None:
    assert changes(Policy.parse(OLD), Policy.parse(OLD + "\n# a comment\n")) == []


def test_an_analyst_whose_tables_change_is_named() -> None:
    narrowed = OLD.replace(f'key = "{ANNA}"', f'key = "{ANNA}"\ntables = ["u"]')
    assert changes(Policy.parse(OLD), Policy.parse(narrowed)) == ["analyst Anna: may ask about u"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "rate = { requests_per_hour = 60 }", ["requests of one analyst: 60 an hour (was not limited here)"]),
        ('name = "Anna"', 'name = "Anna"\ncommercial = false', ["analyst Anna: other facts on record"]),
        ('name = "t"', 'name = "t"\nconditions = ["PUB", "NCU"]', ["table t: conditions: NCU, PUB (was nothing)"]),
        ('name = "t"', 'name = "t"\nlicence = "required"', ["table t: licence: required (was none)"]),
        (
            'name = "t"',
            'name = "t"\napprovals = { min = 2, execute = 5 }',
            ["table t: approvals: 2 needed, good for running 5 times, within 14 days (was none needed)"],
        ),
        (
            'name = "t"',
            'name = "t"\nbudget = { queries = 9, lifetime_rho = 0.5, period_days = 7 }',
            ["table t: budget: 9 queries in 7 days, rho 0.5 in all (was not limited)"],
        ),
        (
            'name = "t"',
            'name = "t"\nbudget = { rho = 2 }\nprivacy = "required"',
            ["table t: budget: rho 2 in 30 days (was not limited)", "table t: noisy answers only"],
        ),
        ('name = "t"', 'name = "t"\ngranularity = { x = 5 }', ["t.x: in steps of 5 (was single values)"]),
        ("[[analyst]]", f'[[approver]]\nname = "Doris"\nkey = "{BEN}"\n[[analyst]]', ["approver Doris: named"]),
        ("[[analyst]]", '[[steward]]\nname = "Office"\ncontact = "x"\n[[analyst]]', ["steward Office: named"]),
    ],
)
def test_each_kind_of_change_is_said_and_its_undoing_too(old: str, new: str, said: list[str]) -> None:
    changed = OLD.replace(old, new, 1) if old else new + OLD
    assert changes(Policy.parse(OLD), Policy.parse(changed)) == said
    assert len(changes(Policy.parse(changed), Policy.parse(OLD))) == len(said)


def placed(text: str) -> list[tuple[int, str]]:
    return [(notice.line, notice.text) for notice in warnings(Policy.parse(text))]


FINE = OLD.replace("semi-honest", "malicious")


def test_a_policy_that_answers_has_no_warnings() -> None:
    assert placed(FINE) == []


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("approvals = { min = 2 }", "needs 2 approvals and the policy names 0 approvers"),
        ("budget = { lifetime_queries = 0 }", "grants no query"),
        ('conditions = ["PUB"]', "brings the duties PUB and needs no licence"),
        ('conditions = ["NCU"]', "no [[analyst]] of this policy meets the condition NCU"),
        ('conditions = ["IS:Uppsala", "IS:Lund"]', "meets the condition IS"),
    ],
)
def test_what_refuses_everybody_is_warned_of_with_its_line(added: str, says: str) -> None:
    text = FINE.replace('name = "u"', f'name = "u"\n{added}')
    ((line, message),) = placed(text)
    assert line == text[: text.index('name = "u"')].count("\n")
    assert says in message
    assert "`u`" in message


def test_a_condition_that_somebody_meets_needs_no_warning() -> None:
    conditions = FINE.replace('name = "u"', 'name = "u"\nconditions = ["NCU", "TS:2020-01-01", "NMDS"]')
    assert len(placed(conditions)) == 1
    assert placed(conditions.replace('name = "Anna"', 'name = "Anna"\ncommercial = false')) == []
    hidden = conditions.replace('name = "Anna"', 'name = "Anna"\ntables = ["t"]')
    assert placed(hidden) == []


def test_what_is_over_or_never_reached_is_said_with_its_line() -> None:
    text = (
        'purposes = ["HMB"]\nconditions = ["TS:2020-01-01"]\n[[table]]\nname = "t"\nuses = { age = ["filter"] }\n'
        "budget = { queries = 30, lifetime_queries = 5 }\n"
    )
    policy = Policy.parse(text, "p.toml")
    found = located(policy, 1_795_348_800.0)
    (over,) = [one for one in found if "time of use of table `t` is over (TS:2020-01-01)" in one]
    assert over.startswith("p.toml:3:")
    assert any("for all time is below that for" in one for one in found)
    # Before its end, and without a clock, nothing is said of it.
    assert not any("is over" in one for one in located(policy, 1_000_000_000.0))
    assert not any("is over" in str(one) for one in warnings(policy))
