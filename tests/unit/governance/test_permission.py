"""What a policy says to a request: every reason at once, none that tells too much."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from mpcd.errors import Refusal
from mpcd.governance.asked import Asked
from mpcd.governance.disclosure import ENFORCED
from mpcd.governance.granularity import CutVerb, Fineness
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.permission import exists, permitted
from mpcd.governance.policy import Policy
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, RequestDigest

SEEDED = random.Random(4)
ANNA, BERT, EVE = (SigningKey.generate(SEEDED.randbytes).public for _ in range(3))
PARTY = PartyId(3)
NOON = 1_795_348_800_000
"""2026-11-22 12:00 UTC."""

TEXT = f"""\
security = "semi-honest"
purposes = ["HMB"]

[[analyst]]
name = "Anna"
key = "{ANNA}"

[[analyst]]
name = "Bert"
key = "{BERT}"
tables = ["lung"]

[[table]]
name = "gbsg2"
granularity = {{ age = 5, day = "month" }}
[table.uses]
age = ["filter", "aggregate"]
menostat = ["group"]
day = ["filter", "group", "join"]
number = ["filter", "group", "join"]
hidden_use = []

[[table]]
name = "lung"
purposes = ["DS:MONDO_0005061", "POA"]
uses = {{ time = ["aggregate"] }}

[disclosure]
profile = "datashield-3"
min_owners = 4
"""
POLICY = Policy.parse(TEXT, "policy.toml")

GOOD = Asked(
    party=PARTY,
    analyst=ANNA,
    kind="sql",
    tables=("gbsg2",),
    uses={"gbsg2.age": frozenset({"filter", "aggregate"}), "gbsg2.menostat": frozenset({"group"})},
    functions=frozenset({"avg"}),
    purpose="HMB",
    security="semi-honest",
    request_digest=RequestDigest(bytes(32)),
    question_digest=bytes(32),
    data_versions={"gbsg2": "1" * 64},
    at=NOON,
)


def refusals(policy: Policy = POLICY, asked: Asked = GOOD, **changed: Any) -> tuple[Refusal, ...]:
    """What the policy refuses of the good request with changes, asked by whom the policy accepts."""
    changed_request = dataclasses.replace(asked, **changed)
    if changed_request.accepted is None:
        changed_request = dataclasses.replace(changed_request, accepted=policy.accepted(changed_request.analyst))
    return permitted(policy, changed_request).refusals


def rules(found: tuple[Refusal, ...]) -> list[tuple[str, str]]:
    assert all(refusal.party == PARTY for refusal in found)
    return [(refusal.rule, refusal.subject) for refusal in found]


def test_what_is_written_is_allowed() -> None:
    assert refusals() == ()


def test_nothing_written_is_nothing_allowed() -> None:
    assert rules(refusals(Policy.parse(""))) == [("analyst", str(ANNA))]
    assert rules(refusals(Policy())) == [("analyst", str(ANNA))]
    accepted = Policy.parse(f'[[analyst]]\nname = "Anna"\nkey = "{ANNA}"\n')
    assert rules(refusals(accepted)) == [("security", "malicious"), ("table", "gbsg2")]
    bare = Policy.parse(
        f'security = "semi-honest"\n[[analyst]]\nname = "Anna"\nkey = "{ANNA}"\n[[table]]\nname = "gbsg2"\n'
    )
    assert rules(refusals(bare)) == [
        ("purpose", "gbsg2: HMB"),
        ("column", "gbsg2.age"),
        ("column", "gbsg2.menostat"),
    ]


def test_every_missing_thing_is_named_at_once() -> None:
    strict = dataclasses.replace(POLICY, security="malicious", demanded=frozenset({"safe_nk_k", "min_owners"}))
    found = refusals(
        strict,
        enforced=frozenset({"min_owners"}),
        tables=("gbsg2", "nowhere"),
        uses={
            "gbsg2.age": frozenset({"filter", "group", "rank"}),
            "gbsg2.menostat": frozenset({"filter"}),
            "gbsg2.hidden_use": frozenset({"join"}),
            "gbsg2.unlisted": frozenset({"aggregate"}),
            "nowhere.x": frozenset({"aggregate"}),
        },
        purpose="GRU",
        fineness=(Fineness("gbsg2.age", "filter", "integer", 1, (42,)),),
        privacy=b"noise",
    )
    assert rules(found) == [
        ("security", "malicious"),
        ("disclosure", "safe_nk_k"),
        ("purpose", "gbsg2: GRU"),
        ("column-use", "gbsg2.age: group"),
        ("column-use", "gbsg2.age: rank"),
        ("column-use", "gbsg2.hidden_use: join"),
        ("column-use", "gbsg2.menostat: filter"),
        ("column", "gbsg2.unlisted"),
        ("granularity", "gbsg2.age: filter"),
        ("privacy", "gbsg2"),
        ("table", "nowhere"),
    ]


@pytest.mark.parametrize("column", ["age", "menostat"])
@pytest.mark.parametrize("verb", ["filter", "group", "aggregate", "rank", "join", "model", "invented"])
def test_each_use_of_each_column_is_decided_by_itself(column: str, verb: str) -> None:
    allowed = verb in POLICY.tables["gbsg2"].uses[column]
    assert (refusals(uses={f"gbsg2.{column}": frozenset({verb})}) == ()) == allowed


# ------------------------------------------------------------------------------------------------ what one may know


def test_a_stranger_learns_only_that() -> None:
    assert rules(refusals(analyst=EVE, tables=("gbsg2", "nowhere"), purpose="nonsense")) == [("analyst", str(EVE))]
    stranger = dataclasses.replace(GOOD, analyst=EVE)
    decision = permitted(POLICY, stranger)
    assert (decision.debits, decision.waits, decision.line, dict(decision.terms)) == ((), (), None, {})
    assert exists(POLICY, stranger) == {}


def test_a_hidden_table_looks_like_one_that_is_not_there() -> None:
    hidden = refusals(analyst=BERT, purpose="POA")
    absent = refusals(analyst=BERT, purpose="POA", tables=("absent",), uses={"absent.age": frozenset({"rank"})})
    assert [dataclasses.replace(r, subject="", message=r.message.replace(r.subject, "T")) for r in hidden] == [
        dataclasses.replace(r, subject="", message=r.message.replace(r.subject, "T")) for r in absent
    ]
    bert = dataclasses.replace(GOOD, analyst=BERT, accepted=POLICY.accepted(BERT))
    assert permitted(POLICY, bert).debits == ()
    assert exists(POLICY, bert) == {}


def test_conditions_and_steps_of_a_hidden_table_are_not_told() -> None:
    text = TEXT.replace('name = "gbsg2"', 'name = "gbsg2"\nconditions = ["IRB"]\nprivacy = "optional"')
    fine = (Fineness("gbsg2.age", "filter", "integer", 1, (42,)),)
    (refusal,) = refusals(Policy.parse(text), analyst=BERT, fineness=fine)
    assert refusal.rule == "table"


def test_a_hidden_column_looks_like_one_that_is_not_there() -> None:
    for column in ("unlisted", "absent"):
        fine = (Fineness(f"gbsg2.{column}", "filter", "integer", 1, None, identifies=True),)
        (refusal,) = refusals(uses={f"gbsg2.{column}": frozenset({"rank"})}, fineness=fine)
        assert refusal.rule == "column"
        assert refusal.message.replace(column, "C") == (
            "party 3 knows no column `gbsg2.C` that you may ask about; leave it out or ask that owner"
        )


def test_an_access_entry_gives_what_it_says() -> None:
    entry = AcceptedAnalyst("Eve", EVE, frozenset({"gbsg2"}), AnalystFacts("Eve", commercial=False))
    assert refusals(analyst=EVE, accepted=entry) == ()
    assert [r.rule for r in refusals(analyst=EVE, accepted=dataclasses.replace(entry, tables=frozenset()))] == ["table"]


# ------------------------------------------------------------------------------------------------ purposes


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("DS:MONDO_0005061", []),
        ("POA", []),
        ("HMB", [("purpose", "lung: HMB")]),
        ("DS:MONDO_0007254", [("purpose", "lung: DS:MONDO_0007254")]),
        ("science", [("purpose", "science")]),
        ("CC", [("purpose", "lung: CC")]),
    ],
)
def test_a_tables_own_purposes_replace_the_general_ones(purpose: str, expected: list[tuple[str, str]]) -> None:
    uses = {"lung.time": frozenset({"aggregate"})}
    assert rules(refusals(analyst=BERT, tables=("lung",), uses=uses, purpose=purpose)) == expected


def test_a_condition_is_decided_by_what_the_owner_has_on_record() -> None:
    text = TEXT.replace('purposes = ["HMB"]', 'purposes = ["HMB"]\nconditions = ["NCU", "IRB", "PUB"]')
    policy = Policy.parse(text)
    found = refusals(policy)
    assert rules(found) == [("condition", "gbsg2: NCU"), ("condition", "gbsg2: IRB")]
    assert "DUO:0000046" in found[0].message
    academic = f'key = "{ANNA}"\ncommercial = false\nevidence = {{ IRB = "{"a" * 64}" }}'
    assert refusals(Policy.parse(text.replace(f'key = "{ANNA}"', academic))) == ()
    paid = academic.replace("false", "true")
    assert rules(refusals(Policy.parse(text.replace(f'key = "{ANNA}"', paid)))) == [("condition", "gbsg2: NCU")]


def test_duties_come_with_the_answer() -> None:
    text = TEXT.replace('name = "gbsg2"', 'name = "gbsg2"\nconditions = ["PUB", "MOR:2027-06-30", "NCU"]')
    policy = Policy.parse(text)
    asked = dataclasses.replace(GOOD, accepted=policy.accepted(ANNA))
    assert permitted(policy, asked).terms == {"duties": ["MOR:2027-06-30", "PUB"]}
    assert permitted(POLICY, dataclasses.replace(GOOD, accepted=POLICY.accepted(ANNA))).terms == {}


def test_the_time_of_use_ends_by_the_sessions_day() -> None:
    policy = Policy.parse(TEXT.replace('name = "gbsg2"', 'name = "gbsg2"\nconditions = ["TS:2026-11-22"]'))
    midnight = NOON + 12 * 3_600_000
    assert refusals(policy, at=midnight - 1) == ()
    assert rules(refusals(policy, at=midnight)) == [("condition", "gbsg2: TS")]


# ------------------------------------------------------------------------------------------------ steps, identifiers


@pytest.mark.parametrize(
    ("fine", "allowed"),
    [
        (Fineness("gbsg2.age", "filter", "integer", 1, (40, 65)), True),
        (Fineness("gbsg2.age", "filter", "integer", 1, ()), True),
        (Fineness("gbsg2.age", "filter", "integer", 1, (40, 41)), False),
        (Fineness("gbsg2.age", "group", "integer", 1, None), False),
        (Fineness("gbsg2.age", "join", "integer", 1, None), False),
        (Fineness("gbsg2.menostat", "group", "dictionary", 1, None), True),
        (Fineness("gbsg2.day", "filter", "date", 1, (18_322,)), True),  # 2020-03-01
        (Fineness("gbsg2.day", "filter", "date", 1, (18_323,)), False),
    ],
)
def test_nothing_finer_than_declared(fine: Fineness, allowed: bool) -> None:
    found = refusals(fineness=(fine,))
    assert rules(found) == ([] if allowed else [("granularity", f"{fine.path}: {fine.verb}")])


def test_the_refusal_says_which_bands_to_ask_for() -> None:
    (refusal,) = refusals(fineness=(Fineness("gbsg2.day", "filter", "date", 1, (18_323,)),))
    assert refusal.message == (
        "party 3 publishes `gbsg2.day` by month; the request begins a band at DATE '2020-03-02'; begin it at "
        "DATE '2020-03-01' or DATE '2020-04-01'"
    )


@pytest.mark.parametrize("verb", ["filter", "group"])
def test_no_equality_on_what_tells_rows_apart(verb: CutVerb) -> None:
    one = Fineness("gbsg2.number", verb, "integer", 1, (100, 101), identifies=True)
    assert rules(refusals(fineness=(one,))) == [("identifier", f"gbsg2.number: {verb}")]
    assert refusals(fineness=(dataclasses.replace(one, identifies=False),)) == ()


# ------------------------------------------------------------------------------------------------ numbers


def test_the_security_floor_says_what_to_do() -> None:
    strict = dataclasses.replace(POLICY, security="malicious")
    (refusal,) = refusals(strict)
    assert refusal.rule == "security"
    assert 'security = "semi-honest"' in refusal.message
    assert refusals(strict, security="malicious") == ()
    assert refusals(security="malicious") == ()
    assert Policy.parse("").security == "malicious"


def test_a_rule_that_is_not_enforced_is_not_ignored() -> None:
    without = ENFORCED - {"safe_round_base", "safe_nk_k"}
    rounded = Policy.parse(TEXT.replace("datashield-3", "opensafely-7"))
    assert rules(refusals(rounded, enforced=without)) == [("disclosure", "safe_round_base")]
    assert refusals(rounded, enforced=without | {"safe_round_base"}) == ()
    unrounded = Policy.parse(TEXT.replace('"datashield-3"', '"opensafely-7"\nsafe_round_base = 1'))
    assert refusals(unrounded, enforced=without) == ()
    dominance = Policy.parse(TEXT + "safe_nk_k = 0.8\n")
    assert rules(refusals(dominance, enforced=without)) == [("disclosure", "safe_nk_k")]


def test_noise_is_asked_for_where_it_must_and_may_be() -> None:
    only = Policy.parse(TEXT.replace('name = "gbsg2"', 'name = "gbsg2"\nbudget = { rho = 0.5 }\nprivacy = "required"'))
    assert rules(refusals(only)) == [("privacy", "gbsg2")]
    assert refusals(only, privacy=b"noise") == ()
    assert rules(refusals(privacy=b"noise")) == [("privacy", "gbsg2")]


def test_a_request_is_a_query_of_every_tables_budget() -> None:
    policy = Policy.parse(TEXT.replace('purposes = ["HMB"]', 'purposes = ["HMB"]\nbudget = { queries = 7 }'))
    asked = dataclasses.replace(GOOD, tables=("gbsg2", "lung", "nowhere"), accepted=policy.accepted(ANNA))
    debits = permitted(policy, asked).debits
    assert [(debit.account, debit.amount, debit.limit) for debit in debits] == [
        ("queries/gbsg2/period", 1, 7),
        ("queries/gbsg2/lifetime", 1, None),
        ("queries/lung/period", 1, 7),
        ("queries/lung/lifetime", 1, None),
    ]
