"""`docs/COMPLIANCE.md`: every command that is said to show a fact exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mpcd.cli.main import mpcctl

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "COMPLIANCE.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`mpcctl ([^`]+)`", TEXT)))


def resolve(words: str) -> tuple[click.Command, list[str]]:
    """The command that the words name, and what follows it."""
    context = click.Context(mpcctl)
    command: click.Command = mpcctl
    rest = words.split()
    while rest and isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no `mpcctl {words}`"
        command, rest = found, rest[1:]
    return command, rest


@pytest.mark.parametrize("words", NAMED)
def test_a_command_that_shows_a_fact_exists_and_takes_what_is_written(words: str) -> None:
    command, rest = resolve(words)
    options = {name for parameter in command.params for name in parameter.opts}
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    assert {word for word in rest if word.startswith("--")} <= options
    plain = [
        word for word, before in zip(rest, ["", *rest], strict=False) if word.isupper() and not before.startswith("--")
    ]
    assert len(plain) <= len(arguments)


def test_a_command_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AssertionError):
        resolve("ledger rewrite")
    assert len(NAMED) > 20
