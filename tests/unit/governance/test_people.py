"""The people of a policy: facts are read as written, and nothing unwritten is assumed."""

from __future__ import annotations

import random

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.governance.people import AnalystFacts, Approver, Steward
from mpcd.governance.policy import Policy
from mpcd.identity import SigningKey

SEEDED = random.Random(11)
ANNA, DORIS, EMIL = (SigningKey.generate(SEEDED.randbytes).public for _ in range(3))

TEXT = f"""\
[[analyst]]
name = "Anna"
key = "{ANNA}"
institution = "University of Uppsala"
country = "SE"
user = "0000-0002-1825-0097"
project = "P7"
commercial = false
non_profit = true
genetic = false
rate_class = "reduced"
evidence = {{ IRB = "{"ab" * 32}" }}

[[approver]]
name = "Doris"
key = "{DORIS}"

[[approver]]
name = "Emil"
key = "{EMIL}"

[[steward]]
name = "Data office"
contact = "data@hospital.example"
"""


def test_what_is_written_is_read() -> None:
    policy = Policy.parse(TEXT)
    (analyst,) = policy.analysts
    assert analyst.facts == AnalystFacts(
        "Anna",
        "University of Uppsala",
        "SE",
        "0000-0002-1825-0097",
        "P7",
        commercial=False,
        non_profit=True,
        genetic=False,
        rate_class="reduced",
        evidence={"IRB": b"\xab" * 32},
    )
    assert policy.approvers == (Approver("Doris", DORIS), Approver("Emil", EMIL))
    assert policy.stewards == (Steward("Data office", "data@hospital.example"),)


def test_what_is_not_written_is_not_known() -> None:
    (analyst,) = Policy.parse(f'[[analyst]]\nname = "Anna"\nkey = "{ANNA}"\n').analysts
    assert analyst.facts == AnalystFacts("Anna")
    assert (analyst.facts.commercial, analyst.facts.non_profit, analyst.facts.genetic) == (None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('country = "SE"', 'country = "se"', "two capital letters"),
        ('country = "SE"', 'country = "Sweden"', "two capital letters"),
        ("commercial = false", 'commercial = "no"', "true or false"),
        ("commercial = false", "comercial = false", "did you mean `commercial`"),
        ('rate_class = "reduced"', 'rate_class = "free"', "one of standard, reduced"),
        (f'evidence = {{ IRB = "{"ab" * 32}" }}', 'evidence = { IRB = "abcd" }', "64 hexadecimal digits"),
        (f'evidence = {{ IRB = "{"ab" * 32}" }}', 'evidence = { ERB = "" }', "did you mean `IRB`"),
        (f'key = "{DORIS}"', 'key = "x"', "the key of approver `Doris`"),
        (f'key = "{EMIL}"', f'key = "{DORIS}"', "already that of approver `Doris`"),
        ('name = "Emil"', 'name = "Doris"', "listed twice"),
        ('contact = "data@hospital.example"', 'email = "x"', "known here: name, contact"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    assert TEXT.count(old) == 1
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(ConfigurationInvalid) as caught:
        Policy.parse(TEXT.replace(old, new), "policy.toml")
    assert str(caught.value).startswith(f"policy.toml:{line}: ")
    assert says in str(caught.value)
