"""The red team's table: nothing succeeds under the default policy, everything does without its rule.

What is known not to be stopped is expected to succeed, strictly: who stops it must say so here and in THREATS.
"""

from __future__ import annotations

import pytest

from mpcd.testing import redteam
from mpcd.testing.redlab import Attack, strike

ALL = list(redteam.ATTACKS.values())
THROUGH = [one for one in ALL if one.through]


def marked(one: Attack) -> object:
    reason = f"known, in THREATS: {one.through}"
    marks = [pytest.mark.xfail(strict=True, reason=reason)] if one.through else []
    return pytest.param(one, id=one.name, marks=marks)


@pytest.mark.parametrize("one", [marked(one) for one in ALL])
def test_the_default_policy_stops_it(one: Attack) -> None:
    outcome = strike(one)
    assert not outcome.success, outcome.how
    assert one.expected in outcome.how, "another rule stopped it than the one that the table says"


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_it_is_an_attack(one: Attack) -> None:
    outcome = strike(one, control=True)
    assert outcome.success, outcome.how


def test_there_are_enough_that_are_stopped_and_every_family() -> None:
    assert len(ALL) - len(THROUGH) >= 30
    stopped = {one.family for one in ALL if not one.through}
    assert stopped >= redteam.FAMILIES


def test_the_tool_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    name = "case-keeps-one"
    assert redteam.main(["--only", name]) == 0
    shown = capsys.readouterr().out
    assert name in shown
    assert "1 attacks, 1 stopped, 0 through" in shown
    with pytest.raises(SystemExit):
        redteam.main(["--only", "no such attack"])
