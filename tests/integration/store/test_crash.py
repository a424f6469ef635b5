"""Kill -9, power loss and damage.

Failure: a commit that returned is missing; half a transaction is there; the ledger does not verify; a result that is
sent again differs; a damaged file raises anything but our own errors, or is read as if it said something else. Not a
failure: the one commit that had not returned may be there or not; sessions that were only agreed are aborted.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mpcd.errors import LedgerInvalid, MpcdError, StoreFailed
from mpcd.governance import entries
from mpcd.ids import SessionId
from mpcd.store import LedgerHead, Store, verify_ledger
from mpcd.store.store import FILE_NAME

NOW = 1_800_000_000.0
KILLS = 60
DIRECTORIES = 6
STATE_AFTER = {"agreed": "agreed", "recorded": "recorded", "released": "released", "withheld": "withheld"}
STATE_AFTER |= {"aborted": "aborted", "refunded": "aborted"}


def load_writer() -> ModuleType:
    """`crash_writer.py` as a module; tests are no package."""
    spec = importlib.util.spec_from_file_location("crash_writer", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = Path(__file__).with_name("crash_writer.py")
crash_writer: Any = load_writer()


class Writers:
    """The helper process, and one writer after another in it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WRITER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, directory: Path, seed: int, lifetime_seconds: float, *, opens: bool) -> list[tuple[str, SessionId]]:
        """Let a writer live that long, kill it, and return the commits that it saw return.

        With `opens`, it lives that long after it has opened its store; otherwise it may be killed while it opens.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{directory} {seed}\n")
        self.process.stdin.flush()
        word, pid = self.process.stdout.readline().split()
        assert word == "pid"
        if opens:
            assert self.process.stdout.readline().split() == ["open", "00"]
        time.sleep(lifetime_seconds)
        os.kill(int(pid), signal.SIGKILL)
        said: list[tuple[str, SessionId]] = []
        while True:
            word, rest = self.process.stdout.readline().split()
            if word == "over":
                assert int(rest) == signal.SIGKILL, "the writer failed by itself"
                return said
            if word != "open":
                said.append((word, SessionId(bytes.fromhex(rest))))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def writers() -> Iterator[Writers]:
    helper = Writers()
    yield helper
    helper.close()


class Model:
    """What must be in the state after the commits that returned."""

    def __init__(self) -> None:
        self.states: dict[SessionId, str] = {}
        self.refunded: set[SessionId] = set()

    def take(self, word: str, session: SessionId) -> None:
        self.states[session] = STATE_AFTER[word]
        if word == "refunded":
            self.refunded.add(session)

    def check(self, store: Store, directory: Path, left: set[SessionId]) -> None:
        """At most one commit that had not returned may be there; take it over.

        `left` were agreed before this life began: its first commit aborts all of them or, if it was not reached, none.
        """
        with sqlite3.connect(directory / FILE_NAME) as connection:
            found: dict[SessionId, str] = dict(connection.execute("SELECT session, state FROM session").fetchall())
            refunded = {row[0] for row in connection.execute("SELECT session FROM debit WHERE refunded = 1")}
            nonces = {row[0] for row in connection.execute("SELECT nonce FROM nonce")}
            debits = connection.execute("SELECT count(*) FROM debit").fetchone()[0]
            entry_count = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
            content_count = connection.execute("SELECT count(*) FROM content").fetchone()[0]
        connection.close()
        assert self.states.keys() <= found.keys()
        at_start = {found[session] for session in left}
        assert at_start <= {"agreed"} or at_start == {"aborted"}
        self.states |= {session: found[session] for session in left}
        news = {session for session, state in found.items() if self.states.get(session) != state}
        assert len(news) <= 1, "more than the one commit that was under way"
        assert refunded - self.refunded <= news
        assert nonces == set(found), "a nonce and its session are one transaction"
        assert debits == 2 * len(found)
        assert entry_count == content_count
        self.states, self.refunded = found, refunded
        charged = len(found) - len(refunded)
        assert (store.spent("queries"), store.spent("rho")) == (charged, 250 * charged)
        for session, state in found.items():
            if state in {"recorded", "released"}:
                assert store.sealed(session) == crash_writer.sealed_of(session) == store.sealed(session)
            else:
                with pytest.raises(MpcdError):
                    store.sealed(session)


def test_a_writer_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path, writers: Writers) -> None:
    seeded = random.Random(20)
    models = [Model() for _ in range(DIRECTORIES)]
    commits = 0
    for kill in range(KILLS):
        place = kill % DIRECTORIES
        directory, model = tmp_path / f"state{place}", models[place]
        left = {session for session, state in model.states.items() if state == "agreed"}
        said = writers.run(directory, seeded.randrange(2**32), seeded.uniform(0.0, 0.07), opens=kill % 3 != 0)
        commits += len(said)
        for word, session in said:
            model.take(word, session)
        if directory.exists():
            store = Store.open(directory)
            store.verify_ledger()
            model.check(store, directory, left)
            store.close()
    assert commits > KILLS, "the writers died before they wrote: the test tests nothing"
    assert list(tmp_path.glob("state*/segments/*.ledger")), "no writer lived to archive: that part tests nothing"


# ------------------------------------------------------------------------------------------------ power loss


def written(directory: Path, count: int) -> tuple[Store, list[tuple[int, LedgerHead]]]:
    """An open store, never folded, with the size of its log after each commit."""
    store = Store.open(directory)
    log = directory / (FILE_NAME + "-wal")
    marks = [(log.stat().st_size, store.head())]
    seeded = random.Random(21)
    for _ in range(count):
        session = SessionId(seeded.randbytes(32))
        crash_writer.agree(store, session)
        marks.append((log.stat().st_size, store.head()))
        crash_writer.record(store, session)
        marks.append((log.stat().st_size, store.head()))
    return store, marks


@pytest.mark.parametrize("torn", ["cut", "noise"])
def test_a_log_that_ends_anywhere_holds_whole_transactions(tmp_path: Path, torn: str) -> None:
    store, marks = written(tmp_path / "state", 12)
    seeded = random.Random(22)
    log = tmp_path / "state" / (FILE_NAME + "-wal")
    content = log.read_bytes()
    first = marks[0][0]
    ends = {size + delta for size, _ in marks for delta in (-1, 0, 1)} | {
        seeded.randrange(first, len(content)) for _ in range(40)
    }
    for end in sorted(end for end in ends if first <= end <= len(content)):
        copy = tmp_path / f"copy{end}"
        shutil.copytree(tmp_path / "state", copy, ignore=shutil.ignore_patterns("*-shm"))
        tail = b"" if torn == "cut" else seeded.randbytes(len(content) - end)
        (copy / log.name).write_bytes(content[:end] + tail)
        expected = max((head for size, head in marks if size <= end), key=lambda head: head.count)
        restarted = Store.open(copy)
        assert restarted.head() == expected
        assert restarted.verify_ledger(expected).head == expected
        restarted.sessions_at_start(now=NOW)
        restarted.commit_entry(entries.policy_loaded(bytes(32)), now=NOW)
        restarted.verify_ledger(expected)
        restarted.close()
        shutil.rmtree(copy)
    store.close()


# ------------------------------------------------------------------------------------------------ damage


def everything(directory: Path) -> list[object]:
    """All that matters of a state, read through the public methods."""
    report = verify_ledger(directory)
    store = Store.open(directory)
    try:
        rows = store.ledger_entries(0, 1000)
        sessions = sorted({row.session for row in rows if row.session is not None})
        return [report, rows, [(store.session(s), store.sealed(s)) for s in sessions], store.spent("queries")]
    finally:
        store.close()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    store, _ = written(tmp_path / "whole", 6)
    store.close()
    return tmp_path / "whole"


def test_a_flipped_byte_is_found_or_touches_nothing(tmp_path: Path, whole: Path) -> None:
    content = (whole / FILE_NAME).read_bytes()
    intact = everything(whole)
    seeded = random.Random(23)
    places = [*range(110), *(seeded.randrange(len(content)) for _ in range(250))]
    found = 0
    for place in places:
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        (copy / FILE_NAME).touch(0o600)
        flipped = bytes([content[place] ^ (1 << seeded.randrange(8))])
        (copy / FILE_NAME).write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            assert everything(copy) == intact, f"byte {place} changed what is read, and nothing noticed"
        except (LedgerInvalid, StoreFailed):
            found += 1
        shutil.rmtree(copy)
    assert found > len(places) // 3


def test_a_truncated_file_is_found(tmp_path: Path, whole: Path) -> None:
    content = (whole / FILE_NAME).read_bytes()
    seeded = random.Random(24)
    sizes = {*range(0, len(content), 4096), 1, 99, 100, 101, 4095, 4097, len(content) - 1}
    sizes |= {seeded.randrange(len(content)) for _ in range(30)}
    for size in sorted(sizes):
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        (copy / FILE_NAME).touch(0o600)
        (copy / FILE_NAME).write_bytes(content[:size])
        with pytest.raises((LedgerInvalid, StoreFailed)):
            verify_ledger(copy)
        shutil.rmtree(copy)


def test_noise_in_place_of_a_file_is_found(tmp_path: Path) -> None:
    seeded = random.Random(25)
    for size in (1, 16, 100, 512, 4096, 8192):
        copy = tmp_path / "copy"
        copy.mkdir(mode=0o700)
        (copy / FILE_NAME).touch(0o600)
        (copy / FILE_NAME).write_bytes(seeded.randbytes(size))
        with pytest.raises((LedgerInvalid, StoreFailed)):
            verify_ledger(copy)
        with pytest.raises(StoreFailed):
            Store.open(copy)
        shutil.rmtree(copy)
