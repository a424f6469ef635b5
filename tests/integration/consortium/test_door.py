"""The researcher's door over real daemons: from an empty home directory to a first result, a lost key included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    Sandbox = Any

pytestmark = pytest.mark.slow
COUNT = "SELECT COUNT(*) FROM gbsg2"


@dataclass
class Door:
    """Runs `mpcctl` as another program, with a home directory of its own."""

    sandbox: Sandbox
    home: Path
    documents: Path = field(init=False)

    def __post_init__(self) -> None:
        self.documents = self.home / "ethics.pdf"
        self.documents.write_bytes(b"approved by the board" * 5000)

    def run(self, *arguments: str, code: int = 0, text: str | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"}
        done = subprocess.run(
            [sys.executable, "-m", "mpcd.cli.main", *arguments],
            env=environment,
            cwd=self.home,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def owner(self, party: int, *arguments: str, code: int = 0) -> str:
        return self.run("--socket", str(self.sandbox.hospitals[party].admin), *arguments, code=code)

    def bridge(self, party: int) -> str:
        """The address of a party by way of a command, as ssh would be one."""
        return f"pipe:{sys.executable} -m mpcd.cli.main --socket {self.sandbox.hospitals[party].api} bridge"

    def all_accept(self, *more: str, parties: Sequence[int] = (0, 1, 2)) -> None:
        for party in parties:
            waiting = json.loads(self.owner(party, "analyst", "requests", "--json"))["requests"]
            assert len(waiting) == 1
            self.owner(party, "analyst", "accept", waiting[0]["digest"][:16], *more)

    def standings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("analyst", "status", "--json"))["parties"]
        return found


@pytest.fixture
def door(sandbox: Sandbox, tmp_path: Path) -> Iterator[Door]:
    home = tmp_path / "anna"
    home.mkdir()
    door = Door(sandbox, home)
    yield door
    for party in range(3):
        for waiting in json.loads(door.owner(party, "analyst", "requests", "--json"))["requests"]:
            door.owner(party, "analyst", "refuse", waiting["digest"], "--reason", "the test is over")
        for entry in json.loads(door.owner(party, "analyst", "list", "--json"))["analysts"]:
            if entry["from"] == "access":
                door.owner(party, "analyst", "remove", entry["key"], "--reason", "the test is over")


def knock(door: Door, address: str) -> None:
    door.run("--socket", address, "analyst", "init", "--yes")
    door.run(
        *("analyst", "request-access", "--name", "Anna Analyst", "--contact", "anna@example.org"),
        *("--institution", "Lund", "--country", "se", "--reason", "Survival.", "--not-commercial"),
        *("--table", "gbsg2", "--evidence", f"IRB={door.documents}"),
    )


def test_from_an_empty_home_to_a_first_result_with_a_lost_key(door: Door) -> None:
    knock(door, door.bridge(1))

    # Nobody answers a stranger, and nobody says what there is.
    assert [row["accepted"] for row in door.standings()] == [False] * 3
    assert "analyst" in door.run("sql", COUNT, code=3)
    assert "gbsg2" not in door.run("describe")

    # Every owner reads the whole document and accepts for itself.
    copy = door.home / "copy.pdf"
    (waiting,) = json.loads(door.owner(2, "analyst", "requests", "--json"))["requests"]
    assert waiting["via"] == "party 1"
    door.owner(2, "analyst", "document", waiting["digest"], "IRB", str(copy))
    assert copy.read_bytes() == door.documents.read_bytes()
    door.all_accept("--evidence", "IRB", "--table", "gbsg2", parties=(0, 1))
    assert "party 2" in door.run("sql", COUNT, code=3)
    door.all_accept("--evidence", "IRB", "--table", "gbsg2", parties=(2,))
    assert [row["accepted"] for row in door.standings()] == [True] * 3
    assert "686" in door.run("sql", COUNT)

    # What one may not see does not exist.
    shown = door.run("describe")
    assert "gbsg2" in shown
    assert "lung" not in shown

    # The key is lost: a new one takes its place, when each owner has made sure who asks.
    key = door.home / ".config" / "mpcd" / "signing.key"
    old = key.read_bytes()
    key.unlink()
    door.run("analyst", "recover")
    assert "same person" in door.owner(0, "analyst", "accept", _waiting(door, 0), code=4)
    door.all_accept("--evidence", "IRB", "--table", "gbsg2", "--same-person")
    assert "686" in door.run("sql", COUNT)

    # The old key opens nothing any more.
    lost = door.home / "thief"
    lost.mkdir()
    (lost / "profile.toml").write_bytes((key.parent / "profile.toml").read_bytes())
    (lost / "signing.key").write_bytes(old)
    (lost / "signing.key").chmod(0o600)
    assert "no owner whose data this would need accepts" in door.run("--profile", str(lost), "sql", COUNT, code=3)


def _waiting(door: Door, party: int) -> str:
    (row,) = json.loads(door.owner(party, "analyst", "requests", "--json"))["requests"]
    digest: str = row["digest"]
    return digest[:16]


def test_a_key_is_rotated_with_the_old_one_agreeing(door: Door) -> None:
    knock(door, str(door.sandbox.hospitals[0].api))
    door.all_accept()
    door.run("analyst", "rotate")
    door.run("analyst", "rotate", "--finish", code=4)
    door.all_accept()
    assert "no owner whose data this would need accepts" in door.run("sql", COUNT, code=3)
    door.run("analyst", "rotate", "--finish")
    assert "686" in door.run("sql", COUNT)


def test_an_owner_that_was_away_gets_the_request_later_and_may_refuse(door: Door) -> None:
    door.run("--socket", door.bridge(0), "analyst", "init", "--yes")
    door.sandbox.stop(2, signal.SIGTERM)
    try:
        report = door.run(
            *("analyst", "request-access", "--name", "Anna", "--contact", "a@b.example", "--institution", "Lund"),
            *("--country", "SE", "--reason", "Survival.", "--evidence", f"IRB={door.documents}"),
        )
    finally:
        door.sandbox.restart(2)
    assert "did not get it" in report
    assert "pending" in door.run("analyst", "request-access", "--again")
    assert [row["documents_missing"] for row in door.standings()] == [[], [], []]
    door.owner(2, "analyst", "refuse", _waiting(door, 2), "--reason", "no ethics board that we know")
    assert "no ethics board that we know" in door.run("analyst", "status")
    door.all_accept(parties=(0, 1))


def test_the_wrong_fingerprint_pins_nothing(door: Door) -> None:
    wrong = "00000 00000 00000 00000 00000 00000"
    out = door.run("--socket", door.bridge(0), "analyst", "init", "--fingerprint", wrong, code=4)
    assert "nothing was pinned" in out
    assert not (door.home / ".config").exists()


def test_every_owner_describes_what_exists_there(door: Door) -> None:
    knock(door, door.bridge(0))
    door.all_accept("--table", "gbsg2", parties=(0, 1))
    answer = json.loads(door.run("describe", "--json"))
    assert [party["accepted"] for party in answer["parties"]] == [True, True, False]
    (table,) = answer["tables"]
    assert sorted(table["by_party"]) == ["0", "1"]
    assert table["owners_missing"] == [2]
    assert "party 2 has said nothing" in door.run("describe", "gbsg2")


def test_a_stranger_learns_who_the_parties_are_and_no_table(door: Door) -> None:
    door.run("--socket", door.bridge(0), "analyst", "init", "--yes")
    shown = door.run("describe", "--json") + door.run("explain", COUNT, code=3)
    for name in ("wdbc", "lung", "horTh"):
        assert name not in shown


STRANGE = (
    COUNT,
    "SELECT tgrade, SUM(progrec) FROM gbsg2 GROUP BY tgrade",
    "SELECT COUNT(*) FROM gbsg2 WHERE tgrade = 'IX'",
    "SELECT COUNT(nosuchcolumn) FROM gbsg2",
    "SELECT COUNT(*) FROM nosuchtable",
    "SELECT nonsense",
)


@pytest.mark.parametrize("command", ["explain", "quote", "sql"])
def test_whatever_a_stranger_asks_the_words_are_the_same(door: Door, command: str) -> None:
    door.run("--socket", door.bridge(0), "analyst", "init", "--yes")
    said = {door.run(command, question, code=3) for question in STRANGE}
    (words,) = said
    assert "no owner whose data this would need accepts the analyst" in words
    assert "mpcctl analyst request-access" in words
    for hint in ("gbsg2", "tgrade", "rule", "differencing", "3 owners"):
        assert hint not in words


def test_an_owner_that_does_not_accept_an_analyst_shows_them_no_rule(door: Door) -> None:
    knock(door, door.bridge(0))
    door.all_accept("--table", "gbsg2", parties=(1, 2))
    shown = door.run("explain", COUNT, code=3)
    assert "party 0 does not accept the analyst" in shown
    assert "the rule of party 0" not in shown
    assert "the rule of party" in shown
    # Whom an owner accepts is told what is wrong with a question, also by a party that does not.
    assert "nosuchcolumn" in door.run("explain", "SELECT COUNT(nosuchcolumn) FROM gbsg2", code=4)


def test_a_twin_is_taken_by_a_sandbox_as_the_owners_describe_it(door: Door, tmp_path: Path) -> None:
    knock(door, door.bridge(0))
    door.all_accept("--table", "gbsg2")
    out = tmp_path / "twin"
    told = door.run("twin", "gbsg2", "--out", str(out), "--rows", "60")
    files = ",".join(str(out / f"gbsg2-{part}.csv") for part in range(3))
    assert f"--table gbsg2={files}" in told
    directory = tmp_path / "s"
    arguments = ("sandbox", "up", "--dir", str(directory), "--schema", str(out / "schema.toml"))
    door.run(*arguments, "--table", f"gbsg2={files}")
    try:
        profile = ("--profile", str(directory / "analyst"))
        assert "180" in door.run(*profile, "sql", COUNT)
        real = json.loads(door.run("describe", "--json"))["tables"][0]["columns"]
        made = json.loads(door.run(*profile, "describe", "--json"))["tables"][0]["columns"]
        assert {c["name"]: (c["type"], c["bounds"], c["levels"]) for c in made} == {
            c["name"]: (c["type"], c["bounds"], c["levels"]) for c in real
        }
    finally:
        door.run("sandbox", "down", "--dir", str(directory))


def test_requests_and_ends_are_on_the_record(door: Door) -> None:
    knock(door, door.bridge(0))
    door.all_accept()
    entries = [entry for entry in door.sandbox.entries(0) if entry["kind"] == "access"]
    assert len(entries) >= 2
