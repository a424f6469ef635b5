from __future__ import annotations

import pytest

from mpcd.governance import purposes

DISEASE = "DS:MONDO_0007254"
OTHER = "DS:MONDO_0005061"


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
    declared = ["GRU", "HMB", "POA", DISEASE, OTHER, "NRES", "DS", "research", "", "hmb"]
    assert {purpose for purpose in declared if purposes.permits(permission, purpose)} == allowed


@pytest.mark.parametrize("code", ["DS", "DS:", "DS:MONDO_1", "DS:MONDO_0007254 ", "DS:mondo_0007254"])
def test_a_disease_is_named_by_its_term(code: str) -> None:
    assert purposes.permission_problem(code) is not None
    assert purposes.purpose_problem(code) is not None


@pytest.mark.parametrize("code", sorted(purposes.MODIFIERS))
def test_no_condition_is_half_obeyed(code: str) -> None:
    problem = purposes.permission_problem(code)
    assert problem is not None
    assert "not decided by this version" in problem
    assert purposes.MODIFIERS[code] in problem


def test_codes_are_distinct() -> None:
    ids = [*purposes.PERMISSIONS.values(), *purposes.MODIFIERS.values()]
    assert len(set(ids)) == len(ids)
