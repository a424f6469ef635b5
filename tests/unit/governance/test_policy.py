from __future__ import annotations

import contextlib
import dataclasses
import random
import time

import pytest

from mpcd.errors import ConfigurationInvalid, Refusal
from mpcd.governance import PlanFacts, Policy, decide, visible_tables
from mpcd.governance.policy import strongest
from mpcd.identity import ChannelKey, SigningKey
from mpcd.ids import PartyId

SEEDED = random.Random(4)
ANNA, BERT, EVE = (SigningKey.generate(SEEDED.randbytes).public for _ in range(3))
PARTY = PartyId(3)

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
[table.uses]
age = ["filter", "aggregate"]
menostat = ["group"]
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

GOOD = PlanFacts(
    analyst=ANNA,
    tables=("gbsg2",),
    uses={"gbsg2.age": frozenset({"filter", "aggregate"}), "gbsg2.menostat": frozenset({"group"})},
    purpose="HMB",
    security="semi-honest",
)


def rules(refusals: tuple[Refusal, ...]) -> list[tuple[str, str]]:
    assert all(refusal.party == PARTY for refusal in refusals)
    return [(refusal.rule, refusal.subject) for refusal in refusals]


# ------------------------------------------------------------------------------------------------ deciding


def test_what_is_written_is_allowed() -> None:
    assert decide(POLICY, GOOD, PARTY) == ()


def test_nothing_written_is_nothing_allowed() -> None:
    assert rules(decide(Policy.parse(""), GOOD, PARTY)) == [("analyst", str(ANNA))]
    assert rules(decide(Policy(), GOOD, PARTY)) == [("analyst", str(ANNA))]
    accepted = Policy.parse(f'[[analyst]]\nname = "Anna"\nkey = "{ANNA}"\n')
    assert rules(decide(accepted, GOOD, PARTY)) == [("security", "malicious"), ("table", "gbsg2")]
    bare = Policy.parse(
        f'security = "semi-honest"\n[[analyst]]\nname = "Anna"\nkey = "{ANNA}"\n[[table]]\nname = "gbsg2"\n'
    )
    assert rules(decide(bare, GOOD, PARTY)) == [
        ("purpose", "gbsg2: HMB"),
        ("column", "gbsg2.age"),
        ("column", "gbsg2.menostat"),
    ]


def test_every_missing_thing_is_named_at_once() -> None:
    facts = dataclasses.replace(
        GOOD,
        tables=("gbsg2", "nowhere"),
        uses={
            "gbsg2.age": frozenset({"filter", "group", "rank"}),
            "gbsg2.menostat": frozenset({"filter"}),
            "gbsg2.hidden_use": frozenset({"join"}),
            "gbsg2.unlisted": frozenset({"aggregate"}),
            "nowhere.x": frozenset({"aggregate"}),
        },
        purpose="GRU",
    )
    strict = dataclasses.replace(POLICY, security="malicious", demanded=frozenset({"safe_nk_k", "min_owners"}))
    assert rules(decide(strict, facts, PARTY)) == [
        ("security", "malicious"),
        ("disclosure", "safe_nk_k"),
        ("purpose", "gbsg2: GRU"),
        ("column-use", "gbsg2.age: group"),
        ("column-use", "gbsg2.age: rank"),
        ("column-use", "gbsg2.hidden_use: join"),
        ("column-use", "gbsg2.menostat: filter"),
        ("column", "gbsg2.unlisted"),
        ("table", "nowhere"),
    ]


@pytest.mark.parametrize("column", ["age", "menostat"])
@pytest.mark.parametrize("verb", ["filter", "group", "aggregate", "rank", "join", "model", "invented"])
def test_each_use_of_each_column_is_decided_by_itself(column: str, verb: str) -> None:
    facts = dataclasses.replace(GOOD, uses={f"gbsg2.{column}": frozenset({verb})})
    allowed = verb in POLICY.tables["gbsg2"].uses[column]
    assert (decide(POLICY, facts, PARTY) == ()) == allowed


def test_a_stranger_learns_only_that() -> None:
    facts = dataclasses.replace(GOOD, analyst=EVE, tables=("gbsg2", "nowhere"), purpose="nonsense")
    assert rules(decide(POLICY, facts, PARTY)) == [("analyst", str(EVE))]
    assert visible_tables(POLICY, EVE) == {}


def test_a_hidden_table_looks_like_one_that_is_not_there() -> None:
    hidden = decide(POLICY, dataclasses.replace(GOOD, analyst=BERT, purpose="POA"), PARTY)
    absent = decide(
        POLICY,
        dataclasses.replace(
            GOOD, analyst=BERT, purpose="POA", tables=("absent",), uses={"absent.age": frozenset({"rank"})}
        ),
        PARTY,
    )
    assert [dataclasses.replace(r, subject="", message=r.message.replace(r.subject, "T")) for r in hidden] == [
        dataclasses.replace(r, subject="", message=r.message.replace(r.subject, "T")) for r in absent
    ]
    assert visible_tables(POLICY, BERT) == {"lung": {"time": ("aggregate",)}}


def test_a_hidden_column_looks_like_one_that_is_not_there() -> None:
    for column in ("unlisted", "absent"):
        (refusal,) = decide(POLICY, dataclasses.replace(GOOD, uses={f"gbsg2.{column}": frozenset({"rank"})}), PARTY)
        assert refusal.rule == "column"
        assert refusal.message.replace(column, "C") == (
            "party 3 knows no column `gbsg2.C` that you may ask about; leave it out or ask that owner"
        )


def test_what_is_visible_is_what_is_listed() -> None:
    assert visible_tables(POLICY, ANNA) == {
        "gbsg2": {"age": ("filter", "aggregate"), "menostat": ("group",), "hidden_use": ()},
        "lung": {"time": ("aggregate",)},
    }


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("DS:MONDO_0005061", []),
        ("POA", []),
        ("HMB", [("purpose", "lung: HMB")]),
        ("DS:MONDO_0007254", [("purpose", "lung: DS:MONDO_0007254")]),
        ("science", [("purpose", "science")]),
    ],
)
def test_a_tables_own_purposes_replace_the_general_ones(purpose: str, expected: list[tuple[str, str]]) -> None:
    facts = PlanFacts(BERT, ("lung",), {"lung.time": frozenset({"aggregate"})}, purpose, "semi-honest")
    assert rules(decide(POLICY, facts, PARTY)) == expected


def test_the_security_floor_says_what_to_do() -> None:
    strict = dataclasses.replace(POLICY, security="malicious")
    (refusal,) = decide(strict, GOOD, PARTY)
    assert refusal.rule == "security"
    assert 'security = "semi-honest"' in refusal.message
    assert decide(strict, dataclasses.replace(GOOD, security="malicious"), PARTY) == ()
    assert decide(POLICY, dataclasses.replace(GOOD, security="malicious"), PARTY) == ()
    assert Policy.parse("").security == "malicious"


def test_a_rule_that_is_not_enforced_is_not_ignored() -> None:
    rounded = Policy.parse(TEXT.replace("datashield-3", "opensafely-7"))
    assert rules(decide(rounded, GOOD, PARTY)) == [("disclosure", "safe_round_base")]
    assert decide(rounded, dataclasses.replace(GOOD, enforced=GOOD.enforced | {"safe_round_base"}), PARTY) == ()
    unrounded = Policy.parse(TEXT.replace('"datashield-3"', '"opensafely-7"\nsafe_round_base = 1'))
    assert decide(unrounded, GOOD, PARTY) == ()
    dominance = Policy.parse(TEXT + "safe_nk_k = 0.8\n")
    assert rules(decide(dominance, GOOD, PARTY)) == [("disclosure", "safe_nk_k")]


# ------------------------------------------------------------------------------------------------ parsing


def test_what_was_parsed() -> None:
    assert [analyst.name for analyst in POLICY.analysts] == ["Anna", "Bert"]
    assert POLICY.profile == "datashield-3"
    assert POLICY.disclosure.safe_threshold == 3
    assert POLICY.disclosure.min_owners == 4
    assert POLICY.demanded == {"min_owners"}
    assert POLICY.security == "semi-honest"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('security = "semi-honest"', 'security = "none"', "one of malicious, semi-honest"),
        ('security = "semi-honest"', 'securty = "semi-honest"', "did you mean `security`"),
        ('purposes = ["HMB"]', 'purposes = ["HMBB"]', "no DUO permission"),
        ('purposes = ["HMB"]', 'purposes = ["HMB", "NCU"]', "DUO:0000046"),
        ('purposes = ["HMB"]', 'purposes = ["HMB", "HMB"]', "listed twice"),
        ('purposes = ["HMB"]', 'purposes = "HMB"', "array of texts"),
        ('purposes = ["HMB"]', "purposes = [1]", "texts in quotes"),
        ('name = "Anna"', "name = 5", "text in quotes"),
        ('name = "Anna"', 'name = ""', "1 to 128"),
        ('name = "Anna"', 'nam = "Anna"', "did you mean `name`"),
        (f'key = "{ANNA}"', f'key = "{str(ANNA)[:-1]}"', "characters"),
        (f'key = "{ANNA}"', f'key = "{ChannelKey.generate(SEEDED.randbytes).public}"', "kind `channel`"),
        (f'key = "{BERT}"', f'key = "{ANNA}"', "already that of analyst `Anna`"),
        ('tables = ["lung"]', 'tables = ["lungs"]', "no [[table]]"),
        ('name = "lung"', 'name = "gbsg2"', "published twice"),
        ('age = ["filter", "aggregate"]', 'age = ["filter", "agregate"]', "`agregate` is no column use"),
        ('age = ["filter", "aggregate"]', 'age = "filter"', "array of texts"),
        ('uses = { time = ["aggregate"] }', "uses = 3", "must be a table"),
        ('uses = { time = ["aggregate"] }', "use = {}", "did you mean `uses`"),
        ('uses = { time = ["aggregate"] }', 'security = "malicious"', "top of the file"),
        ('profile = "datashield-3"', 'profile = "datashield-4"', "one of cms-11"),
        ("min_owners = 4", "min_owners = 1", "from 2 to"),
        ("min_owners = 4", "min_owners = 4.0", "whole number"),
        ("min_owners = 4", "min_owners = true", "whole number"),
        ("min_owners = 4", "min_owner = 4", "did you mean `min_owners`"),
        ("min_owners = 4", "safe_threshold = 0", "from 1 to"),
        ("min_owners = 4", "safe_nk_k = 1.5", "at most 1"),
        ("min_owners = 4", "safe_nk_k = nan", "at most 1"),
        ("min_owners = 4", "zeros_are_disclosive = 1", "true or false"),
        ("min_owners = 4", "min_owners = ", "not TOML"),
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
    ("removed", "line_of", "says"),
    [
        ('name = "gbsg2"\n', "[[table]]\n", "`name` is missing"),
        (f'key = "{ANNA}"\n', "[[analyst]]\n", "`key` is missing"),
    ],
)
def test_what_is_missing_is_named_with_its_tables_line(removed: str, line_of: str, says: str) -> None:
    line = TEXT[: TEXT.index(line_of)].count("\n") + 1
    with pytest.raises(ConfigurationInvalid, match=says) as caught:
        Policy.parse(TEXT.replace(removed, ""), "policy.toml")
    assert caught.value.line == line


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_policy_is_refused_or_read_but_never_a_traceback(seed: int) -> None:
    seeded = random.Random(seed)
    text = TEXT
    for _ in range(seeded.randrange(1, 4)):
        place = seeded.randrange(len(text))
        piece = seeded.choice(
            ["", '"', "[", "]", "{", "}", "=", "\n", "'", ",", "#", "\0", "1", "é", "\r", '"""', "9" * 5000]
        )
        text = text[:place] + piece + text[place + seeded.randrange(3) :]
    with contextlib.suppress(ConfigurationInvalid):
        Policy.parse(text)


def test_a_large_policy_is_read_and_asked_quickly() -> None:
    columns = "".join(f'column{number} = ["filter", "aggregate"]\n' for number in range(1000))
    keys = [SigningKey.generate(SEEDED.randbytes).public for _ in range(1000)]
    analysts = "".join(f'[[analyst]]\nname = "A{number}"\nkey = "{key}"\n' for number, key in enumerate(keys))
    text = (
        'security = "semi-honest"\npurposes = ["HMB"]\n' + analysts + '[[table]]\nname = "t"\n[table.uses]\n' + columns
    )
    begin = time.process_time()
    policy = Policy.parse(text)
    parsed = time.process_time()
    facts = PlanFacts(keys[-1], ("t",), {"t.column999": frozenset({"filter"})}, "HMB", "semi-honest")
    for _ in range(100):
        assert decide(policy, facts, PARTY) == ()
    assert parsed - begin < 5
    assert time.process_time() - parsed < 0.5


def test_the_roster_finds_misspelt_names() -> None:
    POLICY.check_against({"gbsg2": ["age", "menostat", "hidden_use", "more"], "lung": ["time"], "other": []})
    with pytest.raises(ConfigurationInvalid, match="no column `menostat`") as caught:
        POLICY.check_against({"gbsg2": ["age", "hidden_use"], "lung": ["time"]})
    assert caught.value.line == TEXT[: TEXT.index("menostat =")].count("\n") + 1
    with pytest.raises(ConfigurationInvalid, match="no table `lung`; it has: gbsg2") as caught:
        POLICY.check_against({"gbsg2": ["age", "menostat", "hidden_use"]})
    assert caught.value.line == TEXT[: TEXT.index('name = "lung"')].count("\n")


def test_the_digest_is_of_the_meaning() -> None:
    assert Policy.parse("# a comment\n" + TEXT, "elsewhere").digest() == POLICY.digest()
    for old, new in (
        ("min_owners = 4", "min_owners = 5"),
        ('age = ["filter", "aggregate"]', 'age = ["filter"]'),
        ('tables = ["lung"]', ""),
        ('purposes = ["HMB"]', 'purposes = ["GRU"]'),
        ('security = "semi-honest"', ""),
    ):
        assert Policy.parse(TEXT.replace(old, new)).digest() != POLICY.digest()


def test_a_session_is_semi_honest_only_if_every_owner_allows_it() -> None:
    weak, strong = "semi-honest", "malicious"
    assert strongest([(PartyId(1), weak), (PartyId(0), weak)]) == (weak, PartyId(0))
    assert strongest([(PartyId(0), weak), (PartyId(2), strong), (PartyId(1), strong)]) == (strong, PartyId(1))
    for nonsense in ("none", None, 1):
        with pytest.raises(ValueError, match="does not exist"):
            strongest([(PartyId(0), weak), (PartyId(1), nonsense)])
