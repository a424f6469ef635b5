"""The random campaign as a command: what it prints, when it fails, and that it can fail.

Failure condition: a wrong answer or a leak among random attacks on malicious security; a campaign against protocols
without verification that finds nothing.

Non-failure: the tally's distribution; it is random.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from mpcd.protocols.verify import SemiHonest
from mpcd.testing import campaign


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["campaign", "--count", "100", "--seed", "5"])
    assert campaign.main() == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["attack", "abort", "correct", "WRONG", "LEAK"]
    assert [row.split()[0] for row in rows] == [*campaign.KINDS, "all"]
    aborts, correct, wrong, leaks = (int(figure) for figure in rows[-1].split()[1:])
    assert aborts + correct == 100
    assert aborts > correct
    assert wrong == leaks == 0


def test_the_same_seed_gives_the_same_attacks() -> None:
    assert campaign.campaign(20, 6) == campaign.campaign(20, 6)
    assert campaign.campaign(20, 6) != campaign.campaign(20, 7)


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Protocols without verification; the honest transcripts are cached by name only."""
    campaign.honest.cache_clear()
    monkeypatch.setattr(campaign, "Malicious", SemiHonest)
    monkeypatch.setattr(campaign, "KINDS", ("bit", "flip", "add"))
    yield
    campaign.honest.cache_clear()


@pytest.mark.usefixtures("unverified")
def test_without_verification_it_finds_wrong_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative control: the same command against semi-honest security fails, and says how to repeat it."""
    monkeypatch.setattr(sys, "argv", ["campaign", "--count", "40", "--seed", "6"])
    assert campaign.main() == 1
    assert "WRONG: seed 6, number " in capsys.readouterr().out
