from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from mpcd.governance import purposes
from mpcd.governance.people import AnalystFacts
from mpcd.governance.purposes import Condition

DISEASE = "DS:MONDO_0007254"
OTHER = "DS:MONDO_0005061"
DAY = dt.date(2026, 11, 22)
NOBODY = AnalystFacts("")
IDEAL = AnalystFacts(
    "Anna",
    institution="Uppsala",
    country="SE",
    user="0000-0002-1825-0097",
    project="P7",
    commercial=False,
    non_profit=True,
    genetic=True,
    evidence={"IRB": bytes(32), "COL": bytes(32), "RS": bytes(32)},
)


# ------------------------------------------------------------------------------------------------ permissions


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("NRES", {"GRU", "HMB", "POA", DISEASE, OTHER}),
        ("GRU", {"GRU", "HMB", "POA", DISEASE, OTHER}),
        ("HMB", {"HMB", DISEASE, OTHER}),
        (DISEASE, {DISEASE}),
        ("POA", {"POA"}),
    ],
)
def test_what_a_permission_covers(permission: str, allowed: set[str]) -> None:
    declared = ["GRU", "HMB", "POA", DISEASE, OTHER, "NRES", "DS", "CC", "research", "", "hmb"]
    assert {purpose for purpose in declared if purposes.permits(permission, purpose)} == allowed


def test_clinical_care_is_allowed_by_its_own_condition() -> None:
    care = [Condition("CC")]
    assert purposes.permits_any(["HMB"], care, "CC")
    assert purposes.permits_any(["NRES"], [], "CC")
    assert not purposes.permits_any(["GRU", "HMB"], [], "CC")
    assert not purposes.permits_any([], care, "HMB")
    assert purposes.permits_any(["POA", "HMB"], [], "HMB")


@pytest.mark.parametrize("code", ["DS", "DS:", "DS:MONDO_1", "DS:MONDO_0007254 ", "DS:mondo_0007254"])
def test_a_disease_is_named_by_its_term(code: str) -> None:
    assert purposes.permission_problem(code) is not None
    assert purposes.purpose_problem(code) is not None


@pytest.mark.parametrize("code", sorted(purposes.MODIFIERS))
def test_a_condition_permits_nothing(code: str) -> None:
    problem = purposes.permission_problem(code)
    assert problem is not None
    assert "list it in `conditions`" in problem
    assert purposes.MODIFIERS[code] in problem


def test_codes_are_distinct() -> None:
    ids = [*purposes.PERMISSIONS.values(), *purposes.MODIFIERS.values()]
    assert len(set(ids)) == len(ids)


# ------------------------------------------------------------------------------------------------ conditions


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("HMB", "list it in `purposes`"),
        ("NCUU", "no DUO condition"),
        ("", "no DUO condition"),
        ("GS", "`GS:SE`"),
        ("US:", "names its user"),
        ("IS:\n", "names its institution"),
        ("PS:" + "x" * 129, "names its project"),
        ("TS", "names its day"),
        ("TS:2027-02-30", "names its day"),
        ("TS:20270228", "names its day"),
        ("MOR:soon", "names its day"),
        ("NCU:yes", "takes no value"),
    ],
)
def test_a_condition_is_read_or_explained(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Condition.parse(text)
    assert says in str(caught.value)


def written(*texts: str) -> list[Condition]:
    return [Condition.parse(text) for text in texts]


ALL = {
    code: {"US": f"US:{IDEAL.user}", "PS": "PS:P7", "IS": "IS:Uppsala", "GS": "GS:SE"}.get(code)
    or (f"{code}:2026-11-22" if code in {"TS", "MOR"} else code)
    for code in purposes.MODIFIERS
}
LIFTED = purposes.DUTIES | {"CC", "TS", "NMDS", "NPOA"}
"""Not about who asks."""


@pytest.mark.parametrize("code", sorted(ALL))
def test_every_modifier_is_decided_or_a_duty(code: str) -> None:
    condition = written(ALL[code])
    assert str(condition[0]) == ALL[code]
    assert purposes.unmet(condition, "HMB", IDEAL, DAY) == ()
    unknown = purposes.unmet(condition, "HMB", NOBODY, DAY)
    assert [found for found, _ in unknown] == ([] if code in LIFTED else [code])
    assert purposes.duties(condition) == ((ALL[code],) if code in purposes.DUTIES else ())


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("NCU", {"commercial": True}),
        ("NPU", {"non_profit": False}),
        ("NPUNCU", {"non_profit": False}),
        ("NPUNCU", {"commercial": True}),
        ("GSO", {"genetic": False}),
        ("GS", {"country": "US"}),
        ("US", {"user": "0000"}),
        ("PS", {"project": "P8"}),
        ("IS", {"institution": "uppsala"}),
        ("IRB", {"evidence": {"COL": bytes(32)}}),
    ],
)
def test_a_fact_that_speaks_against_it_is_enough(code: str, changed: dict[str, object]) -> None:
    facts = dataclasses.replace(IDEAL, **changed)  # type: ignore[arg-type]  # named above
    assert [found for found, _ in purposes.unmet(written(ALL[code]), "HMB", facts, DAY)] == [code]


@pytest.mark.parametrize(
    ("code", "purpose", "met"),
    [
        ("NMDS", "GRU", False),
        ("NMDS", DISEASE, True),
        ("NPOA", "POA", False),
        ("NPOA", "GRU", False),
        ("NPOA", DISEASE, True),
    ],
)
def test_a_purpose_that_includes_what_is_excluded_does_not_do(code: str, purpose: str, met: bool) -> None:
    assert (purposes.unmet(written(code), purpose, IDEAL, DAY) == ()) == met


def test_several_values_of_one_code_are_alternatives() -> None:
    both = written("GS:SE", "GS:NO")
    for country, met in (("SE", True), ("NO", True), ("US", False), ("", False)):
        facts = dataclasses.replace(IDEAL, country=country)
        assert (purposes.unmet(both, "HMB", facts, DAY) == ()) == met
    assert [code for code, _ in purposes.unmet([*both, *written("NCU")], "HMB", NOBODY, DAY)] == ["GS", "NCU"]


def test_a_time_limit_ends_after_its_day() -> None:
    limited = written("TS:2026-11-22")
    assert purposes.unmet(limited, "HMB", IDEAL, DAY) == ()
    assert [code for code, _ in purposes.unmet(limited, "HMB", IDEAL, DAY + dt.timedelta(days=1))] == ["TS"]
