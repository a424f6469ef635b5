from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import canonical
from mpcd.canonical import Value
from mpcd.governance.disclosure import (
    ENFORCED,
    PROFILES,
    RULE_NAMES,
    DisclosureRules,
    RulesInvalidError,
    strictest,
)
from mpcd.ids import PartyId

RULES = st.builds(
    DisclosureRules,
    safe_threshold=st.integers(1, 100),
    min_owners=st.integers(2, 9),
    zeros_are_disclosive=st.booleans(),
    safe_nk_n=st.integers(1, 5),
    safe_nk_k=st.sampled_from([0.5, 0.8, 0.9, 1.0]),
    safe_pratio_p=st.sampled_from([0.05, 0.1, 0.2]),
    safe_dof_threshold=st.integers(1, 30),
    safe_round_base=st.sampled_from([1, 3, 5, 10]),
)


def test_profiles_are_what_their_names_say() -> None:
    assert [rules.safe_threshold for rules in PROFILES.values()] == [11, 8, 10, 3]
    assert PROFILES["opensafely-7"].safe_round_base == 5
    assert all(rules.zeros_are_disclosive for rules in (DisclosureRules(), *PROFILES.values()))
    assert {rules.min_owners for rules in PROFILES.values()} == {3}


def test_one_owner_is_its_own_strictest() -> None:
    rules = PROFILES["acro-10"]
    assert strictest([(PartyId(4), rules)]) == (rules, dict.fromkeys(RULE_NAMES, PartyId(4)))


def test_whose_rule_won() -> None:
    combined, whose = strictest(
        [
            (PartyId(3), dataclasses.replace(PROFILES["cms-11"], safe_nk_k=0.8)),
            (PartyId(1), PROFILES["opensafely-7"]),
            (PartyId(2), dataclasses.replace(PROFILES["datashield-3"], min_owners=5, safe_round_base=3)),
        ]
    )
    assert combined == DisclosureRules(safe_threshold=11, min_owners=5, safe_nk_k=0.8, safe_round_base=15)
    assert whose["safe_threshold"] == 3
    assert whose["min_owners"] == 2
    assert whose["safe_nk_k"] == 3
    assert whose["safe_round_base"] == 1
    assert whose["safe_pratio_p"] == 1


@given(st.lists(RULES, min_size=1, max_size=5))
def test_what_passes_the_strictest_passes_everyone(each: list[DisclosureRules]) -> None:
    combined, whose = strictest([(PartyId(index), rules) for index, rules in enumerate(each)])
    for rules in each:
        assert combined.safe_threshold >= rules.safe_threshold
        assert combined.min_owners >= rules.min_owners
        assert combined.zeros_are_disclosive >= rules.zeros_are_disclosive
        assert combined.safe_nk_n >= rules.safe_nk_n
        assert combined.safe_nk_k <= rules.safe_nk_k
        assert combined.safe_pratio_p >= rules.safe_pratio_p
        assert combined.safe_dof_threshold >= rules.safe_dof_threshold
        assert combined.safe_round_base % rules.safe_round_base == 0
    for name in set(RULE_NAMES) - {"safe_round_base"}:
        assert getattr(each[whose[name]], name) == getattr(combined, name)
    assert strictest([(PartyId(index), rules) for index, rules in reversed(list(enumerate(each)))]) == (combined, whose)


def test_rounding_bases_without_a_common_multiple_are_refused() -> None:
    bases = [999_983, 999_979]
    with pytest.raises(RulesInvalidError, match="safe_round_base"):
        strictest([(PartyId(i), DisclosureRules(safe_round_base=base)) for i, base in enumerate(bases)])


@given(RULES)
def test_rules_travel(rules: DisclosureRules) -> None:
    assert DisclosureRules.from_value(canonical.decode(canonical.encode(rules.to_value()))) == rules


@pytest.mark.parametrize("name", RULE_NAMES)
@pytest.mark.parametrize("wrong", [None, 0, -1, 10**9, "11", 1.5, 0.0, float("inf")], ids=repr)
def test_impossible_rules_are_refused(name: str, wrong: object) -> None:
    value = DisclosureRules().to_value() | {name: wrong}
    with pytest.raises(RulesInvalidError, match=name):
        DisclosureRules.from_value(value)  # type: ignore[arg-type]


def test_maps_that_are_no_rules_are_refused() -> None:
    value = DisclosureRules().to_value()
    wrongs: list[Value] = [None, [], {}, value | {"extra": 1}, {k: v for k, v in value.items() if k != "min_owners"}]
    for wrong in wrongs:
        with pytest.raises(RulesInvalidError):
            DisclosureRules.from_value(wrong)


def test_what_is_not_enforced_is_named() -> None:
    names = set(PROFILES["opensafely-7"].not_enforced())
    assert names == set(RULE_NAMES) - ENFORCED
    assert "safe_round_base" not in PROFILES["cms-11"].not_enforced()
    assert PROFILES["cms-11"].not_enforced(frozenset(RULE_NAMES)) == {}
