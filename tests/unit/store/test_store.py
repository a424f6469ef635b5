from __future__ import annotations

import itertools
import os
import random
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mpcd import limits
from mpcd.errors import (
    Bug,
    ConfigurationInvalid,
    LedgerInvalid,
    NotFound,
    Refusal,
    Refused,
    RequestInvalid,
    ResultWithheld,
    StoreFailed,
)
from mpcd.governance import Debit, DisclosureRules, EntryKind, LedgerEntry, entries
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import LedgerHead, NonceUse, Store, schema, verify_ledger
from mpcd.store.ledger import Append
from mpcd.store.store import FILE_NAME

NOW = 1_800_000_000.0
VERSION_1 = Path(__file__).parents[2] / "golden" / "store" / "version_1.sql"
PLAN = PlanHash(b"\2" * 32)
OVER = Refusal(PartyId(1), "budget", "queries", "party 1: the budget of queries is spent")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    seeded = random.Random(5)
    opened = Store.open(directory, entropy=seeded.randbytes)
    yield opened
    opened.close()


def name(number: int) -> SessionId:
    return SessionId(number.to_bytes(32, "big"))


def nonce_used(store: Store, analyst: bytes, nonce: bytes) -> bool:
    found = store._writer.execute("SELECT 1 FROM nonce WHERE analyst = ? AND nonce = ?", (analyst, nonce)).fetchone()
    return found is not None


def agreed_entry(number: int) -> LedgerEntry:
    return entries.agreed(
        b"request %d" % number,
        RequestDigest(name(number)),
        PLAN,
        parties=[PartyId(0), PartyId(1), PartyId(2)],
        policy_digest=b"\5" * 32,
        rules=DisclosureRules(),
        data_versions={},
    )


def use(number: int, expires_at: int = int(NOW) + 300) -> NonceUse:
    return NonceUse(b"\7" * 32, name(number), expires_at)


def agree(
    store: Store, number: int, *, now: float = NOW, burn: NonceUse | None = None, debits: tuple[Debit, ...] = ()
) -> None:
    store.commit_agreed(
        name(number),
        agreed_entry(number),
        now=now,
        burn=burn or use(number),
        request_digest=RequestDigest(name(number)),
        plan_hash=PLAN,
        debits=debits,
    )


def record(store: Store, number: int, sealed: bytes | None = b"sealed") -> None:
    entry = entries.recorded(RequestDigest(name(number)), PLAN, released_digest=None, opened=["count"])
    store.commit_recorded(name(number), entry, sealed, now=NOW)


def aborted(code: str = "mpc.Cancelled", *, refunded: bool = False) -> LedgerEntry:
    return entries.aborted(code, refunded=refunded)


RELEASED = entries.released([PartyId(0), PartyId(1), PartyId(2)])
WITHHELD = entries.withheld("mpc.DeadlineExceeded")


# ------------------------------------------------------------------------------------------------ sessions


def test_the_honest_life(store: Store) -> None:
    agree(store, 1)
    row = store.session(name(1))
    assert row is not None
    found: tuple[object, ...] = (row.state, row.request_digest, row.plan_hash, row.analyst)
    assert found == ("agreed", name(1), PLAN, b"\7" * 32)
    with pytest.raises(NotFound):
        store.sealed(name(1))
    record(store, 1, b"bytes")
    assert [store.sealed(name(1)) for _ in range(3)] == [b"bytes"] * 3
    store.commit_released(name(1), RELEASED, now=NOW + 1)
    assert store.sealed(name(1)) == b"bytes"
    row = store.session(name(1))
    assert row is not None
    assert row.state == "released"
    report = store.verify_ledger()
    assert report.kinds == {"agreed": 1, "recorded": 1, "released": 1}
    assert report.head == store.head()
    assert report.head.count == 3


def test_the_ledger_tells_it(store: Store) -> None:
    agree(store, 1)
    record(store, 1)
    first, second = store.ledger_entries(0, 10)
    assert (first.sequence, first.kind, first.session, first.time_milliseconds) == (
        0,
        "agreed",
        name(1),
        int(NOW * 1000),
    )
    bound = {"request_digest": name(1), "plan_hash": PLAN, "analyst": b"\7" * 32}
    assert first.content == agreed_entry(1).content | bound
    assert second.previous == first.hash
    assert store.ledger_entries(1, 1) == [second]
    assert store.ledger_entries(2, 5) == []
    assert first.commitment != second.commitment


def test_equal_contents_have_unequal_commitments(store: Store) -> None:
    for _ in range(2):
        store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    first, second = store.ledger_entries(0, 2)
    assert first.content == second.content
    assert first.commitment != second.commitment


def test_two_ledgers_share_nothing(directory: Path, store: Store, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    assert other.head().hash != store.head().hash
    other.close()


DOINGS: dict[str, Callable[[Store], object]] = {
    "recorded": lambda store: record(store, 1),
    "released": lambda store: store.commit_released(name(1), RELEASED, now=NOW),
    "withheld": lambda store: store.commit_withheld(name(1), WITHHELD, now=NOW),
    "aborted": lambda store: store.commit_aborted(name(1), aborted(), now=NOW, refund=False),
}
ALLOWED = {("agreed", "recorded"), ("agreed", "aborted"), ("recorded", "released"), ("recorded", "withheld")}
REACHED = {
    "agreed": (),
    "recorded": ("recorded",),
    "released": ("recorded", "released"),
    "withheld": ("recorded", "withheld"),
    "aborted": ("aborted",),
}


@pytest.mark.parametrize(("state", "doing"), list(itertools.product(REACHED, DOINGS)))
def test_only_the_lifes_own_steps_are_written(store: Store, state: str, doing: str) -> None:
    agree(store, 1)
    for step in REACHED[state]:
        DOINGS[step](store)
    before = store.head()
    if (state, doing) in ALLOWED:
        DOINGS[doing](store)
        row = store.session(name(1))
        assert row is not None
        assert row.state == doing
    else:
        with pytest.raises(Bug):
            DOINGS[doing](store)
        assert store.head() == before
    store.verify_ledger()


@pytest.mark.parametrize("doing", DOINGS)
def test_a_session_nobody_agreed_to_goes_nowhere(store: Store, doing: str) -> None:
    with pytest.raises(Bug):
        DOINGS[doing](store)
    assert store.head().count == 0


def test_a_session_id_occurs_once(store: Store) -> None:
    agree(store, 1)
    with pytest.raises(Bug):
        agree(store, 1, burn=use(2))
    assert not nonce_used(store, use(2).analyst, use(2).nonce)
    assert store.head().count == 1


def test_what_is_withheld_stays_so(store: Store) -> None:
    agree(store, 1)
    record(store, 1)
    store.commit_withheld(name(1), WITHHELD, now=NOW)
    with pytest.raises(ResultWithheld):
        store.sealed(name(1))


def test_changed_bytes_do_not_leave(store: Store) -> None:
    agree(store, 1)
    record(store, 1, b"bytes")
    store._writer.execute("UPDATE sealed SET release = x'00'")
    with pytest.raises(StoreFailed, match="changed on the disk"):
        store.sealed(name(1))


def test_an_input_only_owner_records_without_bytes(store: Store) -> None:
    agree(store, 1)
    record(store, 1, None)
    with pytest.raises(NotFound):
        store.sealed(name(1))
    store.commit_released(name(1), RELEASED, now=NOW)
    store.verify_ledger()


def test_start_settles_what_a_stop_cut_off(directory: Path) -> None:
    store = Store.open(directory)
    for number in range(1, 6):
        agree(store, number, debits=(Debit("queries", 1, None),))
    record(store, 3)
    record(store, 4)
    store.commit_released(name(4), RELEASED, now=NOW)
    store.commit_aborted(name(5), aborted(refunded=True), now=NOW, refund=True)
    store.close()

    store = Store.open(directory)
    report = store.sessions_at_start(now=NOW + 9)
    assert report.aborted == (name(1), name(2))
    assert [row.session for row in report.recorded] == [name(3)]
    again = store.sessions_at_start(now=NOW + 10)
    assert (again.aborted, again.recorded) == ((), report.recorded)
    assert store.sealed(name(3)) == b"sealed"
    assert store.spent("queries") == 4  # a stop refunds nothing
    assert store.verify_ledger().kinds["aborted"] == 3
    store.close()


# ------------------------------------------------------------------------------------------------ nonces and budgets


def test_a_request_is_used_once(store: Store) -> None:
    agree(store, 1)
    assert nonce_used(store, use(1).analyst, use(1).nonce)
    head = store.head()
    with pytest.raises(RequestInvalid, match="used before"):
        agree(store, 2, burn=use(1))
    with pytest.raises(RequestInvalid, match="used before"):
        store.commit_refused(entries.refused(b"r", RequestDigest(name(1)), [OVER]), now=NOW, burn=use(1))
    assert store.head() == head
    assert store.session(name(2)) is None


def test_a_refused_request_is_used_up_if_asked(store: Store) -> None:
    refused = entries.refused(b"r", RequestDigest(name(1)), [OVER])
    store.commit_refused(refused, now=NOW, burn=use(1))
    with pytest.raises(RequestInvalid, match="used before"):
        agree(store, 1)
    store.commit_refused(refused, now=NOW)
    assert store.verify_ledger().kinds == {"refused": 2}


def test_the_same_nonce_of_two_analysts_is_two_requests(store: Store) -> None:
    agree(store, 1, burn=NonceUse(b"\1" * 32, bytes(32), int(NOW) + 9))
    agree(store, 2, burn=NonceUse(b"\2" * 32, bytes(32), int(NOW) + 9))


def rows(directory: Path, table: str) -> int:
    connection = sqlite3.connect(directory / FILE_NAME)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_old_nonces_go_and_cannot_be_replayed_after(store: Store, directory: Path) -> None:
    for number in range(10):
        agree(store, number, burn=use(number, int(NOW) + number))
    assert rows(directory, "nonce") == 10
    agree(store, 50, now=NOW + 125.5, burn=use(50, int(NOW) + 400))
    assert rows(directory, "nonce") == 6  # those that expired 120 seconds ago or more are gone
    # A clock that is set back makes an old request look valid again: it is refused, because nobody can tell.
    for number in range(10):
        with pytest.raises(RequestInvalid, match=r"too old|used before"):
            agree(store, 60 + number, now=NOW, burn=use(number, int(NOW) + number))
    with pytest.raises(RequestInvalid, match="too old"):
        agree(store, 80, now=NOW, burn=use(80, int(NOW) + 4))
    agree(store, 81, now=NOW, burn=use(81, int(NOW) + 5))


def test_a_clock_that_ran_ahead_locks_out_nobody_for_long(store: Store) -> None:
    agree(store, 1)
    agree(store, 2, now=NOW + 1e8, burn=use(2, int(NOW + 1e8) + 300))
    agree(store, 3, now=NOW + 1, burn=use(3, int(NOW) + 301))


def test_debits_add_up_and_stop_at_the_limit(store: Store) -> None:
    debits = (Debit("queries", 1, 3, OVER), Debit("rho:gbsg2", 250, None))
    for number in range(3):
        agree(store, number, debits=debits)
    before = (store.head(), store.spent("rho:gbsg2"))
    with pytest.raises(Refused, match="budget of queries is spent"):
        agree(store, 4, debits=debits)
    assert (store.head(), store.spent("rho:gbsg2")) == before
    assert not nonce_used(store, use(4).analyst, use(4).nonce)
    assert store.spent("queries") == 3
    assert store.spent("unknown") == 0
    store.commit_aborted(name(1), aborted(refunded=True), now=NOW, refund=True)
    assert (store.spent("queries"), store.spent("rho:gbsg2")) == (2, 500)
    agree(store, 5, debits=debits)


def test_every_spent_budget_is_named(store: Store) -> None:
    other = Refusal(PartyId(1), "budget", "rho", "party 1: the privacy budget is spent")
    with pytest.raises(Refused) as caught:
        agree(store, 1, debits=(Debit("a", 2, 1, OVER), Debit("b", 1, 1, OVER), Debit("c", 1, 0, other)))
    assert caught.value.reasons == (OVER, other)
    assert store.spent("b") == 0


def test_two_sessions_do_not_pass_the_same_check(store: Store) -> None:
    won: list[int] = []
    lost: list[Exception] = []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        try:
            agree(store, number, burn=use(number % 4), debits=(Debit("queries", 1, 2, OVER),))
        except (RequestInvalid, Refused) as error:
            lost.append(error)
        else:
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 2
    assert len(lost) == 6
    assert store.spent("queries") == 2
    assert store.verify_ledger().kinds == {"agreed": 2}


# ------------------------------------------------------------------------------------------------ erasing


def test_erased_content_is_gone_and_the_chain_holds(store: Store, directory: Path) -> None:
    canary = b"CANARY-7f3a-of-a-request"
    store.commit_refused(entries.refused(canary, RequestDigest(name(1)), [OVER]), now=NOW)
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    assert any(canary in path.read_bytes() for path in directory.iterdir())
    store.erase([0], "article 17", now=NOW)
    assert not any(canary in path.read_bytes() for path in directory.iterdir())
    report = store.verify_ledger()
    assert (report.erased, report.head.count) == (1, 3)
    row, _, erasure = store.ledger_entries(0, 3)
    assert row.content is None
    assert row.erased_by == 2
    assert erasure.content == {"sequences": [0], "reason": "article 17", "within_retention": True}


@pytest.mark.parametrize(
    "change",
    ["body = (SELECT body FROM content WHERE sequence = 0)", "body = x'c1'", "salt = zeroblob(32)"],
    ids=["another entry's", "no encoding", "another salt"],
)
def test_changed_content_is_neither_shown_nor_called_erased(store: Store, directory: Path, change: str) -> None:
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    store.commit_entry(entries.policy_loaded(b"\2" * 32), now=NOW)
    with sqlite3.connect(directory / FILE_NAME) as connection:
        connection.execute(f"UPDATE content SET {change} WHERE sequence = 1")  # constants
    connection.close()
    good, bad = store.ledger_entries(0, 2)
    assert good.content == {"policy": b"\1" * 32}
    assert (bad.content, bad.erased_by) == (None, None)


def test_a_reader_delays_neither_commits_nor_folding(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpcd.store.store._FOLD_BYTES", 0)
    monkeypatch.setattr(limits, "STORE_BUSY_SECONDS_MAX", 0.05)
    log = directory / (FILE_NAME + "-wal")
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    assert log.stat().st_size == 0
    reader = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    for _ in range(20):
        store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    with pytest.raises(StoreFailed, match="erasure on the record"):
        store.erase([0], "article 17", now=NOW)
    assert reader.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    assert log.stat().st_size > 0
    reader.close()
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    assert log.stat().st_size == 0
    assert store.verify_ledger().erased == 1


def test_awaited_commits_leave_folding_to_others(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = directory / (FILE_NAME + "-wal")
    monkeypatch.setattr("mpcd.store.store._FOLD_BYTES", 0)
    agree(store, 1)
    record(store, 1)
    assert log.stat().st_size > 0
    store.commit_released(name(1), RELEASED, now=NOW)
    assert log.stat().st_size == 0
    monkeypatch.setattr("mpcd.store.store._FOLD_AT_ONCE_BYTES", 0)
    agree(store, 2)
    assert log.stat().st_size == 0
    store.verify_ledger()


@pytest.mark.parametrize("sequences", [[0, 0, 7], [7], [1], [2]])
def test_what_cannot_be_erased_is_left(store: Store, sequences: list[int]) -> None:
    for _ in range(2):
        store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    store.erase([1], "first", now=NOW)
    before = store.head()
    with pytest.raises(NotFound):
        store.erase(sequences, "second", now=NOW)
    assert store.head() == before
    assert store.verify_ledger().erased == 1


# ------------------------------------------------------------------------------------------------ tampering


def filled(directory: Path) -> LedgerHead:
    store = Store.open(directory)
    for number in range(1, 6):
        agree(store, number, debits=(Debit("queries", 1, None),))
    record(store, 1)
    record(store, 2)
    store.commit_released(name(1), RELEASED, now=NOW)
    store.commit_withheld(name(2), WITHHELD, now=NOW)
    store.commit_aborted(name(3), aborted(), now=NOW, refund=False)
    store.erase([9], "article 17", now=NOW)
    head = store.head()
    store.close()
    return head


TAMPERINGS = {
    "changed kind": "UPDATE entry SET kind = 'refused' WHERE sequence = 5",
    "changed time": "UPDATE entry SET time_milliseconds = time_milliseconds + 1 WHERE sequence = 0",
    "changed session": "UPDATE entry SET session = zeroblob(32) WHERE sequence = 2",
    "session removed": "UPDATE entry SET session = NULL WHERE sequence = 2",
    "changed commitment": "UPDATE entry SET commitment = zeroblob(32) WHERE sequence = 3",
    "changed hash": "UPDATE entry SET hash = zeroblob(32) WHERE sequence = 3",
    "changed previous": "UPDATE entry SET previous = zeroblob(32) WHERE sequence = 3",
    "changed content": "UPDATE content SET body = (SELECT body FROM content WHERE sequence = 2) WHERE sequence = 1",
    "changed salt": "UPDATE content SET salt = zeroblob(32) WHERE sequence = 1",
    "content deleted": "DELETE FROM content WHERE sequence = 1",
    "content erased off the record": "UPDATE content SET salt = NULL, body = NULL, erased_by = 10 WHERE sequence = 1",
    "erased by no erasure": "UPDATE content SET salt = NULL, body = NULL, erased_by = 4 WHERE sequence = 1",
    "last entry dropped": "DELETE FROM content WHERE sequence = 10; DELETE FROM entry WHERE sequence = 10",
    "first entry dropped": "DELETE FROM content WHERE sequence = 0; DELETE FROM entry WHERE sequence = 0",
    "middle entry dropped": "DELETE FROM content WHERE sequence = 4; DELETE FROM entry WHERE sequence = 4",
    "all entries dropped": "DELETE FROM content; DELETE FROM entry",
    "entries reordered": "UPDATE entry SET sequence = CASE sequence WHEN 1 THEN -2 WHEN 2 THEN -1 END "
    "WHERE sequence IN (1, 2); UPDATE entry SET sequence = -sequence WHERE sequence < 0",
    "entry added": "INSERT INTO entry SELECT 11, time_milliseconds, kind, session, commitment, hash, hash FROM entry "
    "WHERE sequence = 10; INSERT INTO content SELECT 11, salt, body, NULL FROM content WHERE sequence = 10",
    "head shortened": "UPDATE head SET count = 10",
    "head changed": "UPDATE head SET hash = zeroblob(32)",
    "head removed": "DELETE FROM head",
    "ledger id changed": "UPDATE head SET ledger_id = zeroblob(32)",
    "session state changed": "UPDATE session SET state = 'released' WHERE state = 'withheld'",
    "session removed from the table": "DELETE FROM debit; DELETE FROM session WHERE state = 'agreed'",
    "result without record": "INSERT INTO sealed SELECT session, x'00', x'00' FROM session WHERE state = 'agreed'",
    "result changed": "UPDATE sealed SET release = x'00'",
    "result and digest changed": "UPDATE sealed SET release = x'00', digest = zeroblob(32)",
    "result removed": "DELETE FROM sealed",
    "request changed": "UPDATE session SET request_digest = zeroblob(32) WHERE state = 'withheld'",
    "plan changed": "UPDATE session SET plan_hash = zeroblob(32) WHERE state = 'released'",
    "analyst changed": "UPDATE session SET analyst = zeroblob(32) WHERE state = 'aborted'",
    "account changed": "UPDATE account SET spent = spent - 1",
    "debit changed": "UPDATE debit SET refunded = 1",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_found(directory: Path, tampering: str) -> None:
    filled(directory)
    verify_ledger(directory)
    connection = sqlite3.connect(directory / FILE_NAME)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.executescript(TAMPERINGS[tampering])
    connection.commit()
    connection.close()
    with pytest.raises(LedgerInvalid):
        verify_ledger(directory)


def test_a_rewritten_tail_fits_itself_but_not_what_a_peer_remembers(directory: Path) -> None:
    before = filled(directory)
    verify_ledger(directory, before)
    store = Store.open(directory)
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    after = store.head()
    store.close()
    verify_ledger(directory, before)
    verify_ledger(directory, after)
    with pytest.raises(LedgerInvalid, match="rewritten"):
        verify_ledger(directory, LedgerHead(before.count, bytes(32)))
    with pytest.raises(LedgerInvalid, match="rewritten"):
        verify_ledger(directory, LedgerHead(0, bytes(32)))
    with pytest.raises(LedgerInvalid, match="put back"):
        verify_ledger(directory, LedgerHead(after.count + 1, bytes(32)))


# ------------------------------------------------------------------------------------------------ the directory


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def test_nobody_else_can_read_it(directory: Path, store: Store) -> None:
    agree(store, 1)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes(directory) == {0o600}
    assert len(list(directory.iterdir())) == 4  # file, log, shared memory, lock


@pytest.mark.parametrize("what", [".", FILE_NAME, "lock"])
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o640, 0o604])
def test_what_others_can_reach_is_refused(directory: Path, what: str, mode: int) -> None:
    Store.open(directory).close()
    (directory / what).chmod(mode | (0o100 if what == "." else 0))
    with pytest.raises(ConfigurationInvalid, match="open to group or world"):
        Store.open(directory)
    (directory / what).chmod(0o700 if what == "." else 0o600)
    Store.open(directory).close()


def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b"")
    (directory / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="cannot be opened"):
        Store.open(directory)


def test_one_process_at_a_time(directory: Path, store: Store) -> None:
    with pytest.raises(StoreFailed, match="another mpcd"):
        Store.open(directory)
    store.close()
    Store.open(directory).close()


def test_a_lost_state_is_no_fresh_start(directory: Path, tmp_path: Path) -> None:
    filled(directory)
    content = (directory / FILE_NAME).read_bytes()
    (directory / FILE_NAME).unlink()
    for _ in range(2):
        with pytest.raises(StoreFailed, match="begun here"):
            Store.open(directory)
    Store.open(tmp_path / "other").close()
    (directory / FILE_NAME).write_bytes((tmp_path / "other" / FILE_NAME).read_bytes())
    with pytest.raises(StoreFailed, match="another ledger"):
        Store.open(directory)
    (directory / FILE_NAME).write_bytes(content[:511])
    with pytest.raises(StoreFailed, match="cut short"):
        Store.open(directory)
    (directory / FILE_NAME).write_bytes(content)
    (directory / "lock").unlink()
    for _ in range(2):
        Store.open(directory).close()


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    store.close()
    for doing in (lambda: agree(store, 1), store.head, lambda: store.sealed(name(1))):
        with pytest.raises(StoreFailed, match="closed"):
            doing()


def test_a_state_of_a_later_version_or_another_program_is_refused(directory: Path) -> None:
    Store.open(directory).close()

    def change(statement: str) -> None:
        connection = sqlite3.connect(directory / FILE_NAME)
        connection.executescript(statement)
        connection.close()

    change(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreFailed, match="later version"):
        Store.open(directory)
    change(f"PRAGMA user_version = {schema.VERSION}; PRAGMA application_id = 5")
    with pytest.raises(StoreFailed, match="another program"):
        Store.open(directory)
    (directory / FILE_NAME).unlink()
    (directory / "lock").unlink()
    change("CREATE TABLE theirs (x)")
    (directory / FILE_NAME).chmod(0o600)
    with pytest.raises(StoreFailed, match="another program"):
        Store.open(directory)


def test_a_migration_runs_once_and_whole(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = filled(directory)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE more (x)", "CREATE TABLE broken (")))
    with pytest.raises(StoreFailed):
        Store.open(directory)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:-1], ("CREATE TABLE more (x)",)))
    for _ in range(2):
        store = Store.open(directory)
        assert store.head() == head
        store.verify_ledger()
        store.close()


def version_1(directory: Path) -> LedgerHead:
    """A file as version 1 wrote it: five sessions, one of them with erased content."""
    directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.executescript(VERSION_1.read_text())
        head = connection.execute("SELECT count, hash FROM head").fetchone()
    (directory / FILE_NAME).chmod(0o600)
    return LedgerHead(*head)


def test_a_file_of_version_1_is_brought_to_the_present(directory: Path) -> None:
    head = version_1(directory)
    store = Store.open(directory)
    assert store.head() == head
    assert store.read(lambda connection: connection.execute("PRAGMA user_version").fetchone()) == (schema.VERSION,)
    tables = {row[0] for row in store.read(lambda c: c.execute("SELECT name FROM sqlite_schema").fetchall())}
    statements = [statement.split("(")[0].split() for domain in schema._DOMAINS for statement in domain.TABLES]
    assert {words[2] for words in statements if words[1] == "TABLE"} <= tables
    assert store.verify_ledger().erased == 1
    agree(store, 77)
    record(store, 77)
    assert store.verify_ledger().head.count == head.count + 2
    store.close()


def test_a_changed_entry_of_a_version_1_file_is_still_found(directory: Path) -> None:
    version_1(directory)
    Store.open(directory).close()
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.execute("UPDATE entry SET time_milliseconds = time_milliseconds + 1 WHERE sequence = 4")
        connection.commit()
    with pytest.raises(LedgerInvalid, match="entry 4"):
        verify_ledger(directory)


# ------------------------------------------------------------------------------------------------ work of domains

NOTE = entries.noted("licensed", by="steward", about="t")


def scratch(store: Store) -> None:
    store._writer.execute("CREATE TABLE domain (x INTEGER)")


def test_work_and_its_entries_are_one_transaction(store: Store) -> None:
    scratch(store)
    agree(store, 1)

    def work(connection: sqlite3.Connection, append: Append) -> str:
        connection.execute("INSERT INTO domain VALUES (7)")
        assert append(NOTE).count == 2
        append(NOTE, name(1))
        return "done"

    assert store.write(work, now=NOW) == "done"
    assert store.read(lambda c: c.execute("SELECT x FROM domain").fetchall()) == [(7,)]
    assert [(row.kind, row.session) for row in store.ledger_entries(1, 5)] == [
        ("licensed", None),
        ("licensed", name(1)),
    ]
    record(store, 1)
    store.verify_ledger()


def test_work_that_raises_leaves_nothing(store: Store) -> None:
    scratch(store)
    before = store.head()

    def work(connection: sqlite3.Connection, append: Append) -> None:
        connection.execute("INSERT INTO domain VALUES (7)")
        append(NOTE)
        raise Refused((OVER,))

    with pytest.raises(Refused):
        store.write(work, now=NOW)
    assert store.head() == before
    assert store.read(lambda c: c.execute("SELECT x FROM domain").fetchall()) == []
    agree(store, 1)
    store.verify_ledger()


@pytest.mark.parametrize("kind", ["agreed", "recorded", "released", "aborted", "withheld", "erased"])
def test_work_cannot_write_an_entry_that_belongs_to_a_commit(store: Store, kind: EntryKind) -> None:
    with pytest.raises(AssertionError):
        store.write(lambda _connection, append: append(LedgerEntry(kind, {})), now=NOW)
    assert store.head().count == 0


@pytest.mark.parametrize("apart", [False, True])
def test_reading_work_cannot_write(store: Store, apart: bool) -> None:
    scratch(store)
    with pytest.raises(StoreFailed):
        store.read(lambda c: c.execute("INSERT INTO domain VALUES (1)"), apart=apart)
    agree(store, 1)
    assert store.read(lambda c: c.execute("SELECT count(*) FROM entry").fetchone(), apart=apart) == (1,)
    assert store.read(lambda c: c.execute("SELECT count(*) FROM domain").fetchone(), apart=apart) == (0,)


RECEIPTS = {
    "receipt lost": ("DELETE FROM receipt",),
    "receipt changed": ("UPDATE receipt SET signed = x'00'",),
    "receipt and digest changed": ("UPDATE receipt SET signed = x'00', digest = zeroblob(32)",),
    "receipt of another session": (
        "UPDATE receipt SET session = (SELECT session FROM session WHERE state = 'agreed')",
    ),
    "receipt made up": (
        (
            "INSERT INTO receipt SELECT s.session, 1, r.signed, r.digest FROM session s, receipt r "
            "WHERE s.state = 'released'"
        ),
    ),
}


@pytest.mark.parametrize("meddling", RECEIPTS)
def test_a_receipt_is_what_its_entry_says(directory: Path, meddling: str) -> None:
    store = Store.open(directory)
    for number in (1, 2, 3):
        agree(store, number)
    entry = entries.recorded(RequestDigest(name(1)), PLAN, released_digest=None, opened=["count"])
    store.commit_recorded(name(1), entry, b"sealed", now=NOW, receipt=(1, b"signed receipt"))
    record(store, 2)
    store.commit_released(name(2), RELEASED, now=NOW)
    store.verify_ledger()
    store.close()
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        for statement in RECEIPTS[meddling]:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(LedgerInvalid, match=r"receipt"):
        verify_ledger(directory)


MEDDLINGS = {
    "the head's hash": ("UPDATE head SET hash = zeroblob(32)",),
    "the head's count": ("UPDATE head SET count = count + 1",),
    "the last entry is gone": ("DELETE FROM content WHERE sequence = 1", "DELETE FROM entry WHERE sequence = 1"),
    "the last entry": ("UPDATE entry SET hash = zeroblob(32) WHERE sequence = 1",),
    "put back": (
        "DELETE FROM content WHERE sequence = 1",
        "DELETE FROM entry WHERE sequence = 1",
        "UPDATE head SET count = 1, hash = (SELECT hash FROM entry WHERE sequence = 0)",
    ),
}


@pytest.mark.parametrize("meddling", MEDDLINGS)
def test_an_append_notices_another_hand_and_all_work_stops(directory: Path, store: Store, meddling: str) -> None:
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    store.commit_entry(entries.policy_loaded(b"\2" * 32), now=NOW)
    other = sqlite3.connect(directory / FILE_NAME)
    with other:
        for statement in MEDDLINGS[meddling]:
            other.execute(statement)
        before = other.execute("SELECT count(*) FROM entry").fetchone()
    with pytest.raises(LedgerInvalid, match="changed by another program"):
        agree(store, 1)
    assert other.execute("SELECT count(*) FROM entry").fetchone() == before
    assert other.execute("SELECT count(*) FROM nonce").fetchone() == (0,)
    other.close()
    assert store.broken is not None
    for work in (store.head, lambda: agree(store, 2), lambda: store.sealed(name(1))):
        with pytest.raises(LedgerInvalid):
            work()


def test_a_distrusted_ledger_is_not_written(store: Store) -> None:
    agree(store, 1)
    store.distrust("a check failed")
    store.distrust("later")
    with pytest.raises(LedgerInvalid, match="a check failed"):
        record(store, 1)
    assert store.verify_ledger().kinds == {"agreed": 1}


def test_a_failed_transaction_does_not_move_the_head(store: Store) -> None:
    agree(store, 1)
    with pytest.raises(Refused):
        agree(store, 2, debits=(Debit("queries", 2, 1, OVER),))
    agree(store, 3)
    assert store.verify_ledger().kinds == {"agreed": 2}


def test_a_head_that_does_not_fit_at_the_start_is_not_appended_to(directory: Path) -> None:
    opened = Store.open(directory)
    agree(opened, 1)
    opened.close()
    other = sqlite3.connect(directory / FILE_NAME)
    with other:
        other.execute("UPDATE head SET hash = zeroblob(32)")
    other.close()
    opened = Store.open(directory)
    with pytest.raises(LedgerInvalid, match="does not fit its own head"):
        opened.sessions_at_start(now=NOW)
    opened.close()


def test_there_must_be_a_ledger_to_verify(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="no state"):
        verify_ledger(tmp_path)


def test_verifying_does_not_wait_for_the_writer(directory: Path, store: Store) -> None:
    agree(store, 1)
    with store._transaction() as connection:
        connection.execute("UPDATE head SET count = 99")
        assert verify_ledger(directory).head.count == 1
        connection.execute("UPDATE head SET count = 1")


def test_an_entry_has_a_limit_and_nothing_half_is_left(store: Store) -> None:
    big = LedgerEntry("policy", {"x": b"x" * limits.LEDGER_CONTENT_BYTES_MAX})
    with pytest.raises(StoreFailed, match="bytes of content"):
        store.commit_entry(big, now=NOW)
    assert store.head().count == 0
    agree(store, 1)
    store.verify_ledger()


class FailingCommit:
    """A connection whose COMMIT fails once."""

    def __init__(self, inner: sqlite3.Connection) -> None:
        self.inner = inner

    def execute(self, statement: str, *arguments: Any) -> object:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self.inner.execute(statement, *arguments)

    def close(self) -> None:
        self.inner.close()


def test_after_a_failed_commit_the_store_stops(directory: Path, store: Store) -> None:
    agree(store, 1)
    inner = store._writer
    store._writer = FailingCommit(inner)  # type: ignore[assignment]
    with pytest.raises(StoreFailed, match="disk I/O"):
        agree(store, 2)
    store._writer = inner
    for doing in (lambda: agree(store, 3), store.head):
        with pytest.raises(StoreFailed, match="outcome is unknown"):
            doing()
    store.close()
    reopened = Store.open(directory)
    assert reopened.verify_ledger().kinds == {"agreed": 1}
    reopened.close()


def test_a_full_disk_is_a_typed_failure(directory: Path, store: Store) -> None:
    agree(store, 1)
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    agree(store, 2)
    record(store, 2, b"x")
    with pytest.raises(StoreFailed, match="full"):
        record(store, 1, os.urandom(100_000))
    row = store.session(name(1))
    assert row is not None
    assert row.state == "agreed"
    store.verify_ledger()


def test_a_commit_is_on_the_disk_when_it_returns(store: Store) -> None:
    """On the connection that writes, not on some other: 2 is FULL."""
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._writer.execute("PRAGMA secure_delete").fetchone() == (1,)
