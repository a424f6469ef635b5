"""Budgets of queries and privacy loss: what is written, booked, and refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.governance import budget, privacy
from mpcd.governance.budget import NO_LIMITS, Budget
from mpcd.governance.document import Section
from mpcd.ids import PartyId

PARTY = PartyId(2)
AT = 1_795_348_800_000
DAY = 86_400_000


def read(text: str) -> Budget:
    return budget.read_budget(Section.parse(text, "policy.toml"), NO_LIMITS)


def test_what_is_written_is_granted() -> None:
    written = read("budget = { queries = 7, lifetime_queries = 0, rho = 0.5, lifetime_rho = 2, period_days = 10 }")
    assert written == Budget(7, 0, 5 * 10**11, 2 * 10**12, 10)
    assert written.allows_noise
    assert read("[budget]\nqueries = 7") == Budget(queries=7)
    assert not read("[budget]\nqueries = 7").allows_noise


def test_nothing_written_is_the_default() -> None:
    assert read("") == NO_LIMITS
    assert not NO_LIMITS.allows_noise


@pytest.mark.parametrize(("epsilon", "delta"), [("1", "1e-6"), ("0.25", "0.0001"), ("8", "1e-9")])
def test_epsilon_and_delta_are_kept_as_the_rho_that_gives_them(epsilon: str, delta: str) -> None:
    found = read(f"budget = {{ epsilon = {epsilon}, lifetime_epsilon = 8, delta = {delta} }}")
    assert found.rho_units is not None
    rho = Fraction(found.rho_units, privacy.RHO_UNITS)
    wanted = Fraction(epsilon)
    assert privacy.epsilon_for(rho, Fraction(delta)) <= wanted
    assert privacy.epsilon_for(rho + Fraction(1, 10**9), Fraction(delta)) > wanted * Fraction(999, 1000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budget = 5", "must be a table"),
        ("budget = { querys = 5 }", "did you mean `queries`"),
        ("budget = { queries = -1 }", "from 0 to"),
        ("budget = { queries = 1.5 }", "whole number"),
        ("budget = { period_days = 0 }", "from 1 to"),
        ("budget = { rho = 0 }", "above 0"),
        ("budget = { rho = nan }", "above 0"),
        ("budget = { rho = inf }", "above 0"),
        ("budget = { rho = true }", "above 0"),
        ('budget = { rho = "1" }', "above 0"),
        ("budget = { epsilon = 1 }", "needs a `delta`"),
        ("budget = { lifetime_epsilon = 1 }", "`lifetime_epsilon` needs a `delta`"),
        ("budget = { epsilon = 1, delta = 1 }", "between 0 and 1"),
        ("budget = { epsilon = 1, rho = 1, delta = 0.1 }", "not both"),
        ("budget = { epsilon = 1e-9, delta = 1e-9 }", "too small"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read("# a comment\n" + text)
    assert str(caught.value).startswith("policy.toml:2: ")
    assert says in str(caught.value)


def test_rates_are_whole_numbers() -> None:
    section = Section.parse("rate = { requests_per_hour = 60 }", "policy.toml")
    assert budget.read_rate(section) == budget.RateLimit(requests_per_hour=60)
    with pytest.raises(ConfigurationInvalid, match="did you mean `requests_per_day`"):
        budget.read_rate(Section.parse("rate = { requests_per_days = 1 }", "policy.toml"))


def test_an_answer_is_booked_in_both_accounts_whether_limited_or_not() -> None:
    debits = budget.query_debits(PARTY, {"b": NO_LIMITS, "a": Budget(queries=5, period_days=7)}, AT)
    assert [(one.account, one.amount, one.limit, one.since) for one in debits] == [
        ("queries/a/period", 1, 5, AT - 7 * DAY),
        ("queries/a/lifetime", 1, None, None),
        ("queries/b/period", 1, None, AT - 30 * DAY),
        ("queries/b/lifetime", 1, None, None),
    ]
    noise = budget.privacy_debits(PARTY, {"a": Budget(lifetime_rho_units=9)}, 4, AT)
    assert [(one.account, one.amount, one.limit) for one in noise] == [
        ("rho/a/period", 4, None),
        ("rho/a/lifetime", 4, 9),
    ]


def test_what_is_overdrawn_is_named_with_owner_table_and_period() -> None:
    debits = (
        *budget.query_debits(PARTY, {"a": Budget(queries=5, lifetime_queries=50, period_days=7)}, AT),
        *budget.privacy_debits(PARTY, {"a": Budget(rho_units=9)}, 4, AT),
    )
    balances = {"queries/a/period": 4, "queries/a/lifetime": 50, "rho/a/period": 6}
    refused = budget.overdrawn(debits, lambda one: balances[one.account])
    assert [(one.party, one.rule, one.subject) for one in refused] == [
        (PARTY, "budget", "a: queries in all"),
        (PARTY, "budget", "a: privacy loss in 30 days"),
    ]
    assert budget.overdrawn(debits, lambda _: 0) == ()
