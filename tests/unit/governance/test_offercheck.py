from __future__ import annotations

from dataclasses import replace

import pytest

from mpcd.governance.document import Section
from mpcd.governance.offer import Grant, Offer, Quota
from mpcd.governance.offercheck import FUNCTIONS, located, problems
from mpcd.governance.offerfile import Frame, parse
from mpcd.governance.policy import Policy
from mpcd.governance.privacy import RHO_UNITS
from mpcd.governance.purposes import covers, permits
from mpcd.ids import PartyId
from mpcd.testing.licensing import offer

POLICY = Policy.parse("""
purposes = ["HMB"]
[[table]]
name = "gbsg2"
conditions = ["NCU"]
budget = { queries = 30, period_days = 30, lifetime_queries = 100, rho = 0.1, lifetime_rho = 0.3 }
uses = { rid = ["join"], age = ["filter", "group"] }
[[table]]
name = "plain"
uses = { age = ["filter"] }
""")
TYPES = {
    "gbsg2": {"rid": "person_id", "age": "integer", "estrec": "integer"},
    "plain": {"age": "integer"},
}


def said(**changed: object) -> list[str]:
    return [one.message for one in problems(offer(**changed), POLICY, TYPES)]


def uses(**columns: tuple[str, ...]) -> tuple[Grant, ...]:
    return (Grant("gbsg2", tuple(sorted(columns.items()))),)


def test_what_the_policy_and_the_roster_have_can_be_offered() -> None:
    assert said() == []
    assert said(functions=tuple(sorted(FUNCTIONS)), purposes=("HMB", "DS:MONDO_0007254")) == []
    assert said(grants=uses(rid=("join",), age=("filter", "group")), quota=Quota(30, 30)) == []
    assert said(budget_rho=3 * RHO_UNITS // 10) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"functions": ("averge", "count")}, "`averge` is no aggregate that is answered; did you mean `avg`?"),
        ({"functions": ("xyzzy",)}, "`xyzzy` is no aggregate that is answered; known: count, sum"),
        ({"grants": uses(agee=("filter",))}, "the roster has no column `gbsg2.agee`; did you mean `age`?"),
        ({"grants": uses(estrec=("group",))}, "our policy publishes no column `gbsg2.estrec`"),
        ({"grants": uses(rid=("group",))}, "`gbsg2.rid` tells persons apart"),
        ({"grants": uses(age=("aggregate",))}, "does not allow `gbsg2.age` for `aggregate` (allowed: filter, group)"),
        ({"grants": (Grant("gbsg", None),)}, "publishes no table gbsg; did you mean `gbsg2`?"),
        ({"purposes": ("GRU",)}, "gives `gbsg2` for HMB, so it cannot be offered for GRU"),
        ({"budget_rho": 99 * RHO_UNITS}, "holds rho 0.3 in the whole term"),
        ({"budget_rho": RHO_UNITS // 5, "term_days": 30}, "holds rho 0.1 in the whole term"),
        ({"budget_rho": 1, "grants": (Grant("plain", None),)}, "grants no budget of privacy loss for `plain`"),
        ({"quota": Quota(31, 30)}, "answers 30 queries of all analysts together in any 30 days"),
        ({"quota": Quota(101, 365)}, "answers 100 queries in all"),
        ({"commercial": True}, "under NCU"),
    ],
)
def test_what_cannot_be_kept_is_named(changed: dict[str, object], expected: str) -> None:
    (message,) = said(**changed)
    assert expected in message


def test_a_budget_of_the_policy_renews_itself_each_period() -> None:
    table = POLICY.tables["gbsg2"]
    monthly = replace(POLICY, tables={"gbsg2": replace(table, budget=replace(table.budget, lifetime_rho_units=None))})
    made = offer(budget_rho=RHO_UNITS, term_days=300)
    assert problems(made, monthly, TYPES) == []
    assert problems(replace(made, term_days=270), monthly, TYPES) != []


FILE = """\
title = "A"
purposes = [
  "HMB",
  "GRU",
]
commercial = true
functions = [
  "count",
  "averge",
]
term_days = 10
open_days = 10
quota = "none"
newer_versions = true
[[table]]
name = "plain"
[[table]]
name = "gbsg2"
[table.uses]
age = ["filter"]
estrec = ["group"]
[price]
currency = "EUR"
[legal]
title = "A"
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
[[controller]]
name = "A"
contact = "a"
"""


def read(text: str) -> tuple[Offer, Section]:
    draft = parse(text, "offer.toml", Frame("test", PartyId(1), bytes(16), 0))
    return draft.offer({}), draft.section


def test_each_problem_is_named_with_its_line() -> None:
    made, document = read(FILE)
    error = located(problems(made, POLICY, TYPES), document)
    lines = str(error).splitlines()
    assert [line.split(":")[1] for line in lines] == ["4", "4", "6", "9", "21"]
    assert all(line.startswith("offer.toml:") for line in lines)
    assert error.line == 4
    assert "estrec" in lines[-1]


@pytest.mark.parametrize("wide", ["NRES", "GRU", "HMB", "DS:MONDO_0000001", "POA"])
@pytest.mark.parametrize("narrow", ["GRU", "HMB", "DS:MONDO_0000001", "DS:MONDO_0000002", "POA"])
def test_what_covers_a_permission_permits_all_that_it_permits(wide: str, narrow: str) -> None:
    asked = ("GRU", "HMB", "DS:MONDO_0000001", "DS:MONDO_0000002", "POA")
    expected = all(permits(wide, purpose) for purpose in asked if permits(narrow, purpose))
    assert covers(wide, narrow) == expected


def test_only_data_without_any_restriction_can_be_offered_so() -> None:
    assert covers("NRES", "NRES")
    assert not covers("GRU", "NRES")
