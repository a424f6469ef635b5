from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.governance.policy import Policy, Requirement, strongest, visible_tables
from mpcd.identity import ChannelKey, SigningKey
from mpcd.ids import PartyId

SEEDED = random.Random(4)
ANNA, BERT, EVE = (SigningKey.generate(SEEDED.randbytes).public for _ in range(3))

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
        ('purposes = ["HMB"]', 'licence = "yes"', "one of required, none"),
        ('purposes = ["HMB"]', 'conditions = ["NCUU"]', "no DUO condition"),
        ('purposes = ["HMB"]', "budget = { querys = 1 }", "did you mean `queries`"),
        ('purposes = ["HMB"]', "rate = { requests_per_hour = 0 }", "from 1 to"),
        ('name = "lung"', 'rate = {}\nname = "lung"', "top of the file"),
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


def test_a_large_policy_is_read_quickly() -> None:
    columns = "".join(f'column{number} = ["filter", "aggregate"]\n' for number in range(1000))
    keys = [SigningKey.generate(SEEDED.randbytes).public for _ in range(1000)]
    analysts = "".join(f'[[analyst]]\nname = "A{number}"\nkey = "{key}"\n' for number, key in enumerate(keys))
    text = (
        'security = "semi-honest"\npurposes = ["HMB"]\n' + analysts + '[[table]]\nname = "t"\n[table.uses]\n' + columns
    )
    begin = time.process_time()
    policy = Policy.parse(text)
    parsed = time.process_time()
    for _ in range(100):
        accepted = policy.accepted(keys[-1])
        assert accepted is not None
        assert accepted.name == "A999"
    assert parsed - begin < 5
    assert time.process_time() - parsed < 0.5


def test_the_roster_finds_misspelt_names() -> None:
    def schema(**tables: list[str]) -> dict[str, dict[str, str]]:
        return {name: dict.fromkeys(columns, "integer") for name, columns in tables.items()}

    POLICY.check_against(schema(gbsg2=["age", "menostat", "hidden_use", "more"], lung=["time"], other=[]))
    with pytest.raises(ConfigurationInvalid, match="no column `menostat`") as caught:
        POLICY.check_against(schema(gbsg2=["age", "hidden_use"], lung=["time"]))
    assert caught.value.line == TEXT[: TEXT.index("menostat =")].count("\n") + 1
    with pytest.raises(ConfigurationInvalid, match="no table `lung`; it has: gbsg2") as caught:
        POLICY.check_against(schema(gbsg2=["age", "menostat", "hidden_use"]))
    assert caught.value.line == TEXT[: TEXT.index('name = "lung"')].count("\n")


def test_the_digest_is_of_the_meaning() -> None:
    assert Policy.parse("# a comment\n" + TEXT, "elsewhere").digest() == POLICY.digest()
    for old, new in (
        ("min_owners = 4", "min_owners = 5"),
        ('age = ["filter", "aggregate"]', 'age = ["filter"]'),
        ('tables = ["lung"]', ""),
        ('purposes = ["HMB"]', 'purposes = ["GRU"]'),
        ('security = "semi-honest"', ""),
        ('purposes = ["HMB"]', 'purposes = ["HMB"]\nconditions = ["NCU"]'),
        ('purposes = ["HMB"]', 'purposes = ["HMB"]\nlicence = "required"'),
        ('purposes = ["HMB"]', 'purposes = ["HMB"]\nbudget = { rho = 0.5 }'),
        ('purposes = ["HMB"]', 'purposes = ["HMB"]\nrate = { requests_per_day = 5 }'),
        ('name = "lung"', 'name = "lung"\ngranularity = { time = 2.5 }'),
        ('name = "lung"', 'name = "lung"\napprovals = {}'),
        ('name = "Anna"', 'name = "Anna"\ncommercial = false'),
        ("[disclosure]", f'[[approver]]\nname = "Doris"\nkey = "{EVE}"\n[disclosure]'),
    ):
        assert Policy.parse(TEXT.replace(old, new)).digest() != POLICY.digest()


def test_what_is_visible_is_what_is_listed() -> None:
    assert visible_tables(POLICY, POLICY.accepted(ANNA)) == {
        "gbsg2": {"age": ("filter", "aggregate"), "menostat": ("group",), "hidden_use": ()},
        "lung": {"time": ("aggregate",)},
    }
    assert visible_tables(POLICY, POLICY.accepted(BERT)) == {"lung": {"time": ("aggregate",)}}
    assert visible_tables(POLICY, POLICY.accepted(EVE)) == {}


def test_the_strictest_table_says_what_people_must_do() -> None:
    policy = Policy.parse(
        '[[table]]\nname = "a"\napprovals = { min = 2, execute = 9 }\n'
        '[[table]]\nname = "b"\napprovals = { execute = "once", deadline_days = 3 }\n[[table]]\nname = "c"\n'
    )
    assert policy.requirement(["c"]) is None
    assert policy.requirement(["a", "c"]) == Requirement(2, 9, 14 * 86_400)
    assert policy.requirement(["a", "b"]) == Requirement(2, 1, 3 * 86_400)


def test_a_session_is_semi_honest_only_if_every_owner_allows_it() -> None:
    weak, strong = "semi-honest", "malicious"
    assert strongest([(PartyId(1), weak), (PartyId(0), weak)]) == (weak, PartyId(0))
    assert strongest([(PartyId(0), weak), (PartyId(2), strong), (PartyId(1), strong)]) == (strong, PartyId(1))
    for nonsense in ("none", None, 1):
        with pytest.raises(ValueError, match="does not exist"):
            strongest([(PartyId(0), weak), (PartyId(1), nonsense)])


def test_the_example_in_the_documentation_is_a_policy() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/OPERATING.md").read_text(encoding="utf-8")
    example = text[text.index("## Policy") :].split("```toml\n")[1].split("```")[0]
    for key in (ANNA, BERT):
        example = example.replace("mpcd-sign1...", str(key), 1)
    policy = Policy.parse(example.replace("<SHA-256 of the document>", "0" * 64))
    assert policy.tables["gbsg2"].approvals == Requirement(approvers_min=2)
