"""Ledgers of three real hospitals: what somebody does to a file is found, by its own daemon or by the peers'.

The tests run in order on one sandbox.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpcd import errors, limits
from mpcd.api.types import JobResult, Map, Method
from mpcd.governance import chain
from mpcd.identity import SigningKey
from mpcd.sandbox.prepare import TableFiles
from mpcd.store.store import FILE_NAME, verify_ledger

if TYPE_CHECKING:
    from mpcd.api.client import Client
    from tests.integration.consortium.conftest import Sandbox

pytestmark = pytest.mark.slow

COUNT = "SELECT COUNT(*) FROM lung"
PARTIES = range(3)
VICTIM = 1
BringUp = Callable[..., Iterator["Sandbox"]]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, bring_up_sandbox: BringUp) -> Iterator[Sandbox]:
    data = Path(__file__).resolve().parents[2] / "data"
    yield from bring_up_sandbox(
        tmp_path_factory.mktemp("ledgers"), 3, [TableFiles("lung", (data / "lung.csv",), "inst")]
    )


def mpcctl(three: Sandbox, party: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line at the administration socket of `party`."""
    socket = str(three.hospitals[party].admin)
    command = [sys.executable, "-m", "mpcd.cli.main", "--socket", socket, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def ask(three: Sandbox) -> None:
    with three.client(0) as client:
        client.sql(COUNT)


def heads(three: Sandbox, party: int) -> dict[int, Map]:
    with three.admin(party) as client:
        peers = client.call("mpc.v1.LedgerHeads")["peers"]
    assert isinstance(peers, list)
    return {int(str(peer["party"])): peer for peer in peers if isinstance(peer, dict)}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def count(three: Sandbox, party: int) -> int:
    return len(three.entries(party))


def test_heads_are_exchanged_after_a_session_without_anybody_asking(three: Sandbox) -> None:
    ask(three)
    counts = {party: count(three, party) for party in PARTIES}
    for party in PARTIES:
        others = [other for other in PARTIES if other != party]
        wait_until(lambda p=party, o=others: all(heads(three, q)[p]["remembered"] == counts[p] for q in o))  # type: ignore[misc]
        wait_until(lambda p=party, o=others: all(heads(three, p)[q]["signed"] == counts[p] for q in o))  # type: ignore[misc]


def test_verify_asks_the_peers(three: Sandbox) -> None:
    for party in PARTIES:
        done = mpcctl(three, party, "ledger", "verify", "--peers")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(": seen") == 2


def test_exports(three: Sandbox) -> None:
    done = mpcctl(three, 0, "ledger", "export")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == count(three, 0)
    agreed = next(row for row in rows if row["kind"] == "agreed")
    assert agreed["asked"] == COUNT
    released = next(row for row in rows if row["kind"] == "released")
    assert released["who"] == agreed["who"] != ""
    done = mpcctl(three, 0, "ledger", "export", "--format", "fhir", "--since", "2020-01-01")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == len(rows)
    assert {event["resourceType"] for event in events} == {"AuditEvent"}
    done = mpcctl(three, 0, "ledger", "export", "--until", "2020-01-01")
    assert len(done.stdout.splitlines()) == 1


def test_archived_entries_verify_offline_and_are_erased_on_demand(three: Sandbox) -> None:
    before = count(three, 0)
    done = mpcctl(three, 0, "ledger", "archive", "--before", "2100-01-01", "--json")
    assert done.returncode == 0, done.stderr
    (segment,) = json.loads(done.stdout)["segments"]
    assert 0 < segment["count"] <= before
    roster = three.home(0) / "roster.toml"
    files = [segment["path"], "--roster", str(roster)]
    done = mpcctl(three, 2, "ledger", "verify", *files)
    assert done.returncode == 0, done.stderr
    assert "signed by it, and by party" in done.stdout
    assert mpcctl(three, 0, "ledger", "verify").returncode == 0
    ask(three)
    assert mpcctl(three, 0, "ledger", "verify", "--peers").returncode == 0
    done = mpcctl(three, 0, "ledger", "erase", "0", "--reason", "tidy")
    assert done.returncode != 0
    assert "younger than the retention" in done.stderr
    done = mpcctl(three, 0, "ledger", "erase", "0", "--reason", "article 17", "--within-retention")
    assert done.returncode == 0, done.stderr
    assert mpcctl(three, 2, "ledger", "verify", *files).returncode == 0
    content = bytearray(Path(segment["path"]).read_bytes())
    content[len(content) // 2] ^= 1
    copy = three.home(0) / "copy.ledger"
    copy.write_bytes(content)
    done = mpcctl(three, 2, "ledger", "verify", str(copy), "--roster", str(roster))
    assert done.returncode == 1


def test_a_stranger_cannot_fill_the_ledgers(
    three: Sandbox, talk: tuple[Callable[..., str], Callable[[Client, str], JobResult]]
) -> None:
    submit, finish = talk
    before = [count(three, party) for party in PARTIES]
    codes = []
    with three.client(0) as client:
        for _ in range(limits.STRANGERS_BURST_MAX + 15):
            stranger = SigningKey.generate(os.urandom)
            request, _, _ = three.request(COUNT, key=stranger)
            with pytest.raises(errors.MpcdError) as found:
                finish(client, submit(client, request))
            codes.append(found.value.code)
    assert set(codes) == {errors.Refused.code, errors.Busy.code}
    grown = [count(three, party) - start for party, start in zip(PARTIES, before, strict=True)]
    assert max(grown) <= limits.STRANGERS_BURST_MAX + 1
    ask(three)


def rechained(connection: sqlite3.Connection) -> None:
    """Make every hash fit again, and forget what peers signed: an intruder who knows how."""
    (ledger_id,) = connection.execute("SELECT ledger_id FROM head").fetchone()
    first, previous = 0, chain.genesis(ledger_id)
    rows = connection.execute("SELECT * FROM entry ORDER BY sequence").fetchall()
    kept = connection.execute("SELECT * FROM content ORDER BY sequence").fetchall()
    connection.execute("DELETE FROM witness")
    connection.execute("DELETE FROM content")
    connection.execute("DELETE FROM entry")
    for place, (row, content) in enumerate(zip(rows, kept, strict=True)):
        _, at, kind, session, committed, _, _ = row
        made = chain.entry_hash(first + place, at, kind, session, committed, previous)
        connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", (first + place, *row[1:5], previous, made))
        connection.execute("INSERT INTO content VALUES (?, ?, ?, ?)", (first + place, *content[1:]))
        previous = made
    connection.execute("UPDATE head SET count = ?, hash = ?", (first + len(rows), previous))


def changed(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entry SET time_milliseconds = time_milliseconds - 60000 WHERE sequence = 1")
    rechained(connection)


def dropped(connection: sqlite3.Connection) -> None:
    (sequence,) = connection.execute("SELECT sequence FROM entry WHERE kind = 'policy' LIMIT 1").fetchone()
    connection.execute("DELETE FROM content WHERE sequence = ?", (sequence,))
    connection.execute("DELETE FROM entry WHERE sequence = ?", (sequence,))
    rechained(connection)


def reordered(connection: sqlite3.Connection) -> None:
    for table in ("content", "entry"):
        for before, after in ((1, 1000), (0, 1), (1000, 0)):
            connection.execute(f"UPDATE {table} SET sequence = ? WHERE sequence = ?", (after, before))  # constants
    rechained(connection)


def cut(connection: sqlite3.Connection) -> None:
    """Down to what stood there before the first session."""
    (sequence,) = connection.execute("SELECT min(sequence) FROM entry WHERE session IS NOT NULL").fetchone()
    connection.execute("DELETE FROM content WHERE sequence >= ?", (sequence,))
    connection.execute("DELETE FROM entry WHERE sequence >= ?", (sequence,))
    for table in ("receipt", "sealed", "debit", "session"):
        connection.execute(f"DELETE FROM {table}")  # constants
    connection.execute("UPDATE account SET spent = 0")
    rechained(connection)


@pytest.mark.parametrize("tamper", [changed, dropped, reordered, cut], ids=lambda t: t.__name__)
def test_a_rewritten_file_passes_its_own_check_and_is_found_by_the_peers(
    three: Sandbox, tmp_path: Path, tamper: Callable[[sqlite3.Connection], None]
) -> None:
    ask(three)
    assert mpcctl(three, VICTIM, "ledger", "verify", "--peers").returncode == 0
    three.stop(VICTIM, signal.SIGTERM)
    state = three.home(VICTIM) / "state"
    shutil.copytree(state, tmp_path / "kept")
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        tamper(connection)
        connection.commit()
    verify_ledger(state)
    three.restart(VICTIM)
    wait_until(lambda: all(heads(three, party)[VICTIM]["trouble"] for party in PARTIES if party != VICTIM))
    with three.admin(VICTIM) as client:
        wait_until(lambda: client.call("mpc.v1.LedgerHeads")["lost_entries"] is not None)
    with pytest.raises(errors.MpcdError):
        ask(three)
    done = mpcctl(three, VICTIM, "ledger", "verify", "--peers")
    assert done.returncode == 1
    assert "signed by this party" in done.stdout
    assert mpcctl(three, 0, "ledger", "heads").stdout.count(f"party {VICTIM},") == 1
    # the right file back: everything goes on, and the peers' evidence stays
    three.stop(VICTIM, signal.SIGTERM)
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "kept", state)
    state.chmod(0o700)
    three.restart(VICTIM)
    ask(three)
    assert mpcctl(three, VICTIM, "ledger", "verify", "--peers").returncode == 0
    assert not any(heads(three, party)[VICTIM]["trouble"] for party in PARTIES if party != VICTIM)


def test_a_loss_is_admitted_and_everybody_goes_on(three: Sandbox) -> None:
    ask(three)
    assert mpcctl(three, VICTIM, "ledger", "verify", "--peers").returncode == 0
    three.stop(VICTIM, signal.SIGTERM)
    with closing(sqlite3.connect(three.home(VICTIM) / "state" / FILE_NAME)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        cut(connection)
        connection.commit()
    three.restart(VICTIM)
    with three.admin(VICTIM) as client:
        wait_until(lambda: client.call(Method.STATUS)["ledger"] == "contradicted")
    assert mpcctl(three, 0, "ledger", "admit-loss", "--reason", "nothing was lost").returncode != 0
    done = mpcctl(three, VICTIM, "ledger", "admit-loss", "--reason", "the disk failed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": seen") == 2
    ask(three)
    assert mpcctl(three, VICTIM, "ledger", "verify", "--peers").returncode == 0
    last = [entry for entry in three.entries(0) if entry["kind"] == "heads"][-1]
    assert "the disk failed" in str(last["content"])


def test_a_new_ledger_is_accepted_by_each_peer(three: Sandbox) -> None:
    three.stop(VICTIM, signal.SIGTERM)
    state = three.home(VICTIM) / "state"
    for path in (state / FILE_NAME, state / "lock"):
        path.unlink()
    three.restart(VICTIM)
    for party in PARTIES:
        if party == VICTIM:
            continue
        wait_until(lambda p=party: bool(heads(three, p)[VICTIM]["trouble"]))  # type: ignore[misc]  # bound now
        done = mpcctl(three, party, "ledger", "accept", str(VICTIM), "--reason", "they rang")
        assert done.returncode == 0, done.stderr
        assert mpcctl(three, party, "ledger", "accept", str(VICTIM), "--reason", "again").returncode != 0
    assert mpcctl(three, VICTIM, "ledger", "verify", "--peers").returncode == 0
    ask(three)


def test_old_content_is_erased_by_date(three: Sandbox) -> None:
    done = mpcctl(three, 2, "ledger", "erase", "--before", "2100-01-01", "--reason", "tidy")
    assert done.returncode != 0
    assert "kept for 6 years" in done.stderr
    done = mpcctl(
        three, 2, "ledger", "erase", "--before", "2100-01-01", "--reason", "x", "--within-retention", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["erased"]) > 10
    assert mpcctl(three, 2, "ledger", "verify", "--peers").returncode == 0
    assert "(erased)" in mpcctl(three, 2, "ledger", "show").stdout
    ask(three)
    done = mpcctl(three, 0, "ledger", "show", "0")
    assert "was archived" in done.stderr
    done = mpcctl(three, 0, "ledger", "segments")
    assert "segment-" in done.stdout
