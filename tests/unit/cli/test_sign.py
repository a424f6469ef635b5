"""`mpcctl key` and `mpcctl sign`: offline, on files alone."""

from __future__ import annotations

import random
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mpcd.cli import sign
from mpcd.cli.main import FAILED, REQUEST_WRONG, main
from mpcd.governance.approval import Form, SignedRuling
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.identity.locked import MEMORY_BYTES_MIN, Cost, LockedKey
from mpcd.ids import PartyId, RosterHash

WORDS = "words of an approver"
ENTROPY = random.Random(4).randbytes
ANNA, IDA = SigningKey.generate(ENTROPY), SigningKey.generate(ENTROPY)
LOCKED = LockedKey.lock(IDA, WORDS, ENTROPY, Cost(1, MEMORY_BYTES_MIN)).to_bytes()
SQL = "SELECT COUNT(*)\nFROM t\x1b[2J WHERE age > 60"


def form(sql: str = SQL) -> Form:
    made = Request.make(
        sql,
        purpose="HMB",
        analyst=ANNA.public,
        result_key=ResultKey.generate(ENTROPY).public,
        roster_hash=RosterHash(b"r" * 32),
        consortium="three",
        now=time.time(),
        entropy=ENTROPY,
        wait_seconds=86_400,
    )
    closes = int(time.time() * 1000) + 86_400_000
    return Form(made.sign(ANNA), PartyId(1), "hospital-1", {"t": "a" * 64}, 3, closes, ("count of rows\x07",))


FORM = form()


class Desk:
    """A directory with a key, its passphrase and a form."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = self.write("ida.key", LOCKED)
        self.words = self.write("words", WORDS.encode() + b"\n")
        self.form = self.write("a.form", sign.FORM + FORM.to_bytes())
        self.ruling = directory / "a.form.ruling"

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def sign(self, *arguments: str, form: Path | None = None, words: Path | None = None) -> int:
        files = ["--key", str(self.key), "--passphrase-file", str(words or self.words)]
        return main(["sign", str(form or self.form), *files, *arguments])

    def signed(self) -> SignedRuling:
        return SignedRuling.from_bytes(sign.read_ruling(self.ruling))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_signed_is_what_was_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.sign("--decide", "approve") == 0
    shown = capsys.readouterr().out
    ruling = desk.signed().verify()
    request = FORM.request.request
    assert (ruling.verdict, ruling.binds, ruling.subject) == ("approve", "request", request.digest())
    assert ruling.data_versions == FORM.data_versions
    for told in (request.digest().hex(), request.purpose, str(request.analyst), "a" * 64, "WHERE age > 60"):
        assert told in shown
    assert "not signed by the analyst" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_question_may_be_approved_for_several_runs(desk: Desk) -> None:
    assert desk.sign("--decide", "approve", "--executions", "3") == 0
    ruling = desk.signed().verify()
    assert (ruling.binds, ruling.executions) == ("question", 3)
    assert ruling.subject == FORM.request.request.question_digest()


def test_but_not_for_more_than_the_form_says(desk: Desk) -> None:
    assert desk.sign("--decide", "approve", "--executions", "4") == REQUEST_WRONG
    assert not desk.ruling.exists()


@pytest.mark.parametrize("verdict", ["deny", "withdraw"])
def test_no_is_signed_with_its_reason(desk: Desk, verdict: str) -> None:
    assert desk.sign("--decide", verdict, "--reason", "too few persons") == 0
    assert desk.signed().verify().reason == "too few persons"


def test_another_passphrase_signs_nothing(desk: Desk) -> None:
    assert desk.sign("--decide", "approve", words=desk.write("other", b"words of a stranger")) == FAILED
    assert not desk.ruling.exists()


def test_a_changed_request_is_not_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    inner = replace(FORM.request.request, text="SELECT 1")
    changed = replace(FORM, request=SignedRequest(inner, FORM.request.signature))
    path = desk.write("b.form", sign.FORM + changed.to_bytes())
    assert desk.sign("--decide", "approve", form=path) == REQUEST_WRONG
    assert "not what an analyst signed" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"hello", sign.RULING + b"\x80", sign.FORM + b"\x80"])
def test_what_is_no_form(desk: Desk, content: bytes) -> None:
    assert desk.sign("--decide", "approve", form=desk.write("c.form", content)) == REQUEST_WRONG


def test_an_earlier_decision_is_not_overwritten(desk: Desk) -> None:
    assert desk.sign("--decide", "approve") == 0
    before = desk.ruling.read_bytes()
    assert desk.sign("--decide", "deny", "--reason", "no") == FAILED
    assert desk.ruling.read_bytes() == before


def test_a_person_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["deny", "too few persons"])
    monkeypatch.setattr("click.prompt", lambda *_a, **_k: next(said))
    assert desk.sign() == 0
    assert desk.signed().verify().reason == "too few persons"


# ------------------------------------------------------------------------------------------------ keys


def test_a_new_key_is_private_and_locked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, words = tmp_path / "ida.key", tmp_path / "words"
    words.write_text(WORDS)
    assert main(["key", "new", str(file), "--passphrase-file", str(words)]) == 0
    shown = capsys.readouterr().out
    locked = LockedKey.from_bytes(file.read_bytes())
    assert str(locked.public) in shown
    assert locked.public.fingerprint() in shown
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert locked.unlock(WORDS).public == locked.public
    assert main(["key", "show", str(file)]) == 0
    assert str(locked.public) in capsys.readouterr().out
    assert main(["key", "new", str(file), "--passphrase-file", str(words)]) == FAILED
    assert file.read_bytes() == locked.to_bytes()


def test_a_short_passphrase_makes_no_key(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("short")
    assert main(["key", "new", str(tmp_path / "k"), "--passphrase-file", str(words)]) == FAILED
    assert not (tmp_path / "k").exists()


@pytest.fixture
def change(desk: Desk) -> Callable[[str, str], int]:
    def run(old: str, new: str) -> int:
        files = [str(desk.write("old", old.encode())), "--new-passphrase-file", str(desk.write("new", new.encode()))]
        return main(["key", "passphrase", str(desk.key), "--passphrase-file", *files])

    return run


def test_a_passphrase_is_changed_and_the_key_stays(desk: Desk, change: Callable[[str, str], int]) -> None:
    assert change(WORDS, "other words altogether") == 0
    assert LockedKey.from_bytes(desk.key.read_bytes()).unlock("other words altogether").public == IDA.public


def test_not_by_a_stranger(desk: Desk, change: Callable[[str, str], int]) -> None:
    assert change("not my words at all", "other words altogether") == FAILED
    assert desk.key.read_bytes() == LOCKED
