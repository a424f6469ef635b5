"""`mpcctl requests watch` ends with the code of what it saw, so that a script can act on it."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from mpcd.cli import requests as commands


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    ("state", "code"), [("released", 0), ("refused", 3), ("failed", 1), ("expired", 1), ("withdrawn", 1)]
)
def test_a_watch_ends_as_its_request_did(
    monkeypatch: pytest.MonkeyPatch, form: list[str], state: str, code: int
) -> None:
    entry: Any = SimpleNamespace(name="ab" * 32)
    waitlist = SimpleNamespace(find=lambda _name: entry)
    monkeypatch.setattr(commands, "connect", lambda _context, signs: nullcontext(SimpleNamespace(signs=signs)))
    monkeypatch.setattr(commands, "_waitlist", lambda _client: waitlist)
    monkeypatch.setattr(commands, "_state", lambda _client, _entry: {"state": state, "message": "so it went"})
    done = CliRunner().invoke(commands.requests, ["watch", "abab", *form])
    assert done.exit_code == code
    assert "so it went" in done.output
