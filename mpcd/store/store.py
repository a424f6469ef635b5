"""The durable state of one party, behind one writer (shell; synchronous, called from a worker thread).

Everything that must not be lost or done twice is one SQLite file in WAL mode with `synchronous=FULL`: a commit that
returned is on disk.  What belongs together is one transaction:

- `commit_agreed`: ledger entry, burnt nonce, session row, debits.  Two sessions can pass neither the same nonce nor the
  same budget check.
- `commit_recorded`: ledger entry, state, and the sealed release bytes.  Nothing else ever seals for that session, so a
  release that is sent again is the same bytes.

Those are the two commits on a session's critical path.  `released`, `aborted`, `withheld`, `refused` are written off
it.

Nothing of a session's randomness is stored here (rule 14), so a restored copy can spend nothing twice that the ledger
and the peers would not show.  A session that was `agreed` when the process stopped is aborted at start, its debit
kept: nobody can say any more whether an opening share had left.

The lock file remembers which ledger belongs here, so that a state file that was lost or emptied is an error and not a
fresh start that would accept every old request again.

The log is folded into the file (some fsyncs more) after commits that nobody waits for, not by SQLite in the middle of
the two that a session waits for, unless it has grown far beyond its usual size.

One process at a time holds the directory's lock.  One connection writes, under a lock; checks and exports read
through connections of their own and never wait for it.  If a commit itself fails, its outcome is unknown: the store
then refuses all further work until a restart has read what is really there.  So it does with `LedgerInvalid` once the
ledger is not what this process wrote: every append compares the stored head with the one in memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from mpcd import canonical, limits
from mpcd.errors import Bug, LedgerInvalid, NotFound, RequestInvalid, ResultWithheld, StoreFailed
from mpcd.governance import chain, entries
from mpcd.governance.chain import LedgerHead
from mpcd.governance.entries import Debit, LedgerEntry
from mpcd.ids import PlanHash, RequestDigest, SessionId
from mpcd.store import accounts, heads, ledger, receipts, schema, segments
from mpcd.store.files import DirectoryLock, private_directory, private_file, sync_directory
from mpcd.store.ledger import Append, LedgerReport, LedgerRow

T = TypeVar("T")
Also = Callable[[sqlite3.Connection], None]
"""What a domain adds to a transaction; it undoes everything by raising."""
DurableState = Literal["agreed", "recorded", "released", "aborted", "withheld"]

FILE_NAME: Final = "state.sqlite3"
_FOLD_BYTES: Final = 4 * 2**20
"""A write-ahead log of this size is folded into the file when nobody waits ..."""
_FOLD_AT_ONCE_BYTES: Final = 64 * 2**20
"""... and one of this size in any case."""
_SMALLEST_FILE_BYTES: Final = 512
"""SQLite takes a file that is shorter than its smallest page for a new one."""
_NONCE_KEPT_SECONDS: Final = int(2 * limits.CLOCK_SKEW_SECONDS_MAX)
"""A burnt nonce stays this long after its request expired, whatever the clocks say in between."""


@dataclass(frozen=True, slots=True)
class NonceUse:
    """What makes a request unrepeatable: the analyst's key, the nonce, and until when the request could be used."""

    analyst: bytes
    nonce: bytes
    expires_at: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What is durable about a session."""

    session: SessionId
    state: DurableState
    request_digest: RequestDigest
    plan_hash: PlanHash
    analyst: bytes
    agreed_milliseconds: int
    changed_milliseconds: int


@dataclass(frozen=True, slots=True)
class StartReport:
    """What a start settled and what it left to ask the peers about."""

    aborted: tuple[SessionId, ...]
    """Were `agreed` when the process stopped; now `aborted`, not refunded."""
    recorded: tuple[SessionRow, ...]
    """Still `recorded`: to be released or withheld once the peers have been asked."""


class Store:
    """The open state directory of one party."""

    def __init__(
        self, directory: Path, lock: DirectoryLock, writer: sqlite3.Connection, entropy: Callable[[int], bytes]
    ) -> None:
        self._directory = directory
        self._directory_lock = lock
        self._writer = writer
        self._entropy = entropy
        self._log = directory / (FILE_NAME + "-wal")
        self._lock = threading.Lock()
        self._closed_because: str | None = None
        self._broken_because: str | None = None
        self._head = _stored_head(writer)
        """What the last commit left; nobody else writes, so the file must say the same."""
        self._appended = self._head
        """The head as the transaction that runs has made it."""

    @classmethod
    def open(cls, directory: Path, *, entropy: Callable[[int], bytes] = os.urandom) -> Self:
        """Open or make the state in `directory`, and take its lock.

        Raises:
            ConfigurationInvalid: directory or file can be read by others.
            StoreFailed: in use by another process, damaged, or from a later version.
        """
        private_directory(directory)
        lock = DirectoryLock(directory)
        try:
            path = directory / FILE_NAME
            private_file(path)
            _require_whole(path, lock.read())
            writer = _connect(path, writes=True)
        except BaseException:
            lock.release()
            raise
        try:
            with _storage():
                _prepare(writer, entropy)
            sync_directory(directory)
            _bind(writer, lock)
            with _storage():
                writer.execute("PRAGMA busy_timeout = 0")  # from here on nobody else writes, and folding does not wait
        except BaseException:
            writer.close()
            lock.release()
            raise
        store = cls(directory, lock, writer, entropy)
        try:
            segments.do_erasures(store, directory, now=0.0)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of the lock; a second call does nothing."""
        with self._lock:
            if self._closed_because is None:
                with suppress(sqlite3.Error):  # the log is as durable as the file; the next start folds it
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._closed_because = "the state directory is closed"
            self._writer.close()
            self._directory_lock.release()

    @property
    def broken(self) -> str | None:
        """Why the ledger cannot be trusted, once that was found."""
        return self._broken_because

    def distrust(self, reason: str) -> None:
        """Refuse all further work with `LedgerInvalid`: a check has found the ledger to be broken."""
        self._broken_because = self._broken_because or reason

    # -------------------------------------------------------------------------------------------- writing

    def commit_entry(self, entry: LedgerEntry, *, now: float, session: SessionId | None = None) -> LedgerHead:
        """Put one entry on the record that changes nothing else.

        Args:
            entry: kind and content.
            now: seconds since 1970.
            session: that it belongs to, if any.

        Returns:
            The new head.

        Raises:
            StoreFailed: nothing was written.
        """
        assert entry.kind not in _SESSION_KINDS
        with self._transaction() as connection:
            return self._append(connection, entry, now, session)

    def write(self, work: Callable[[sqlite3.Connection, Append], T], *, now: float) -> T:
        """Do a domain's `work` in one transaction, its ledger entries with it; all or nothing.

        Args:
            work: gets the connection and what appends entries; it neither commits nor calls the store, keeps nothing
                of either for later, and undoes everything by raising.
            now: seconds since 1970, for the entries.

        Returns:
            What `work` returned, once it is on disk.

        Raises:
            StoreFailed: nothing was written (or, if the commit itself failed, the store stops until a restart).
        """
        with self._transaction() as connection:

            def append(entry: LedgerEntry, session: SessionId | None = None) -> LedgerHead:
                assert entry.kind not in _KINDS_OF_COMMITS
                return self._append(connection, entry, now, session)

            return work(connection, append)

    def read(self, work: Callable[[sqlite3.Connection], T], *, apart: bool = False) -> T:
        """Do a domain's `work` on one consistent state; it cannot write.

        Args:
            work: reads, and returns no cursor.
            apart: on a connection of its own, which takes longer to begin and then delays no commit: for exports and
                statements.

        Raises:
            StoreFailed: cannot be read.
        """
        if apart:
            with _reader(self._directory) as connection, _storage():
                return work(connection)
        with self._reading() as connection:
            connection.execute("PRAGMA query_only = ON")
            try:
                return work(connection)
            finally:
                connection.execute("PRAGMA query_only = OFF")

    def commit_refused(self, entry: LedgerEntry, *, now: float, burn: NonceUse | None = None) -> LedgerHead:
        """Asked and refused, or failed: one entry; with `burn` the request cannot be used again here.

        Raises:
            RequestInvalid: `burn` was used before.
            StoreFailed: nothing was written.
        """
        assert entry.kind in {"refused", "failed"}
        with self._transaction() as connection:
            if burn is not None:
                _burn(connection, burn, now)
            return self._append(connection, entry, now, None)

    def commit_agreed(
        self,
        session: SessionId,
        entry: LedgerEntry,
        *,
        now: float,
        burn: NonceUse,
        request_digest: RequestDigest,
        plan_hash: PlanHash,
        debits: Sequence[Debit] = (),
        also: Sequence[Also] = (),
    ) -> LedgerHead:
        """The first of a session's two commits: asked, decided, debited, and the nonce burnt; all or nothing.

        Raises:
            RequestInvalid: the request was used before.
            Refused: a debit would pass its account's limit; every such debit is named.
            StoreFailed: nothing was written (or, if the commit itself failed, the store stops until a restart).
        """
        assert entry.kind == "agreed"
        assert len({debit.account for debit in debits}) == len(debits)
        assert len(debits) <= limits.DEBITS_PER_SESSION_MAX
        milliseconds = _milliseconds(now)
        with self._transaction(awaited=True) as connection:
            _burn(connection, burn, now)
            try:
                connection.execute(
                    "INSERT INTO session VALUES (?, 'agreed', ?, ?, ?, ?, ?)",
                    (session, request_digest, plan_hash, burn.analyst, milliseconds, milliseconds),
                )
            except sqlite3.IntegrityError as error:
                raise Bug("a session id occurred twice") from error
            accounts.debit(connection, session, debits, milliseconds)
            for work in also:
                work(connection)
            bound: dict[str, canonical.Value] = {
                "request_digest": request_digest,
                "plan_hash": plan_hash,
                "analyst": burn.analyst,
            }
            return self._append(connection, LedgerEntry(entry.kind, entry.content | bound), now, session)

    def commit_recorded(
        self,
        session: SessionId,
        entry: LedgerEntry,
        sealed: bytes | None,
        *,
        now: float,
        receipt: tuple[int, bytes] | None = None,
        also: Sequence[Also] = (),
    ) -> LedgerHead:
        """The second commit: the result is verified and durable, its sealed bytes with it; all or nothing.

        Args:
            session: was `agreed`.
            entry: of kind `recorded`.
            sealed: the release envelope's bytes; None for a party that only gave input.
            now: seconds since 1970.
            receipt: the session's time in milliseconds and its signed receipt.
            also: what domains do in the same transaction.

        The entry's content gets the digests of the sealed bytes and of the receipt, so that the chain binds what may
        leave and what is owed for it.

        Raises:
            StoreFailed: as for `commit_agreed`.
        """
        assert entry.kind == "recorded"
        assert sealed is None or 0 < len(sealed) <= limits.RELEASE_BYTES_MAX + 2**16
        with self._transaction(awaited=True) as connection:
            _advance(connection, session, "agreed", "recorded", now)
            bound: dict[str, canonical.Value] = {"sealed_digest": None}
            if sealed is not None:
                bound = {"sealed_digest": chain.sealed_digest(sealed)}
                row = (session, sealed, bound["sealed_digest"])
                connection.execute("INSERT INTO sealed VALUES (?, ?, ?)", row)
            if receipt is not None:
                receipts.insert(connection, session, *receipt)
                bound["receipt_digest"] = receipts.digest(receipt[1])
            for work in also:
                work(connection)
            return self._append(connection, LedgerEntry(entry.kind, entry.content | bound), now, session)

    def commit_released(self, session: SessionId, entry: LedgerEntry, *, now: float) -> LedgerHead:
        """Every owner acknowledged `recorded`; the bytes may leave or have left.  Off the critical path."""
        assert entry.kind == "released"
        with self._transaction() as connection:
            _advance(connection, session, "recorded", "released", now)
            return self._append(connection, entry, now, session)

    def commit_withheld(self, session: SessionId, entry: LedgerEntry, *, now: float) -> LedgerHead:
        """Recorded and debited, never to be released: `sealed` refuses from now on."""
        assert entry.kind == "withheld"
        with self._transaction() as connection:
            _advance(connection, session, "recorded", "withheld", now)
            return self._append(connection, entry, now, session)

    def commit_aborted(self, session: SessionId, entry: LedgerEntry, *, now: float, refund: bool) -> LedgerHead:
        """The session ended before it was recorded.

        Args:
            session: was `agreed`.
            entry: of kind `aborted`.
            now: seconds since 1970.
            refund: give the debits back; only for a party that has sent no opening share (rule 15).
        """
        assert entry.kind == "aborted"
        with self._transaction() as connection:
            _advance(connection, session, "agreed", "aborted", now)
            if refund:
                accounts.refund(connection, session)
            return self._append(connection, entry, now, session)

    def sessions_at_start(self, *, now: float) -> StartReport:
        """Settle what the last stop cut off, once, before serving: `agreed` becomes `aborted`, `recorded` stays."""
        aborted: list[SessionId] = []
        with self._transaction() as connection:
            for (session,) in connection.execute("SELECT session FROM session WHERE state = 'agreed'").fetchall():
                _advance(connection, session, "agreed", "aborted", now)
                self._append(connection, entries.aborted("mpc.SessionAborted", refunded=False), now, session)
                aborted.append(SessionId(session))
            rows = connection.execute(_SESSION_COLUMNS + "WHERE state = 'recorded'").fetchall()
        return StartReport(tuple(aborted), tuple(_session_row(row) for row in rows))

    def erase(
        self, sequences: Sequence[int], reason: str, *, now: float, kept_since: float | None = None
    ) -> LedgerHead:
        """Erase the readable content of entries; their commitments stay, and the erasure is itself an entry.

        Args:
            sequences: of entries here or in archived segments whose files are here.
            reason: stands in the entry.
            now: seconds since 1970.
            kept_since: refuse entries that are younger (seconds since 1970); None erases within the retention too.

        Raises:
            NotFound: an entry does not exist, was erased before, or is one that the ledger's check needs.
            RequestInvalid: an entry is too young, or of a session that is not over.
            StoreFailed: nothing was changed.
        """
        wanted = sorted(set(sequences))
        assert 0 < len(wanted) <= limits.LEDGER_ENTRIES_PER_READ_MAX
        with self._transaction() as connection:
            first = segments.base(connection).count
            archived = [sequence for sequence in wanted if sequence < first]
            _require_erasable(connection, self._directory, wanted, kept_since)
            entry = entries.erased(wanted, reason, within_retention=kept_since is None)
            head = self._append(connection, entry, now, None)
            segments.book_erasures(connection, self._directory, archived, head.count - 1)
            for sequence in wanted[len(archived) :]:
                changed = connection.execute(
                    "UPDATE content SET salt = NULL, body = NULL, erased_by = ? "
                    "WHERE sequence = ? AND body IS NOT NULL "
                    "AND (SELECT kind FROM entry e WHERE e.sequence = content.sequence) NOT IN ('erased', 'archived')",
                    (head.count - 1, sequence),
                ).rowcount
                if changed != 1:
                    raise NotFound(f"ledger entry {sequence} has no content that can be erased")
        if archived:
            segments.do_erasures(self, self._directory, now=now)
        self._clear_log()
        return head

    def _clear_log(self) -> None:
        """The log still holds erased content: fold it, waiting for readers, but not for ever."""
        with self._lock, _storage():
            self._require_open()
            try:
                self._writer.execute(f"PRAGMA busy_timeout = {int(limits.STORE_BUSY_SECONDS_MAX * 1000)}")
                (busy, *_) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute("PRAGMA busy_timeout = 0")
        if busy:
            raise StoreFailed(
                "the content is erased and the erasure on the record, but a reader still uses the log that held it; "
                "it goes with the next fold, at the latest when mpcd stops"
            )

    # -------------------------------------------------------------------------------------------- reading

    def head(self) -> LedgerHead:
        """Count and last hash of the ledger."""
        with self._reading() as connection:
            count, last = connection.execute("SELECT count, hash FROM head").fetchone()
            return LedgerHead(count, last)

    def sealed(self, session: SessionId) -> bytes:
        """The sealed bytes of a recorded session, the same each time.

        The caller lets them leave only after every participating owner acknowledged `recorded` (rule 16).

        Raises:
            NotFound: no such session, or it has no sealed result here.
            ResultWithheld: recorded, but it will not be released.
            StoreFailed: the bytes are not those that were recorded.
        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT s.state, d.release, d.digest FROM session s LEFT JOIN sealed d USING (session) "
                "WHERE s.session = ?",
                (session,),
            ).fetchone()
        if row is not None and row[0] == "withheld":
            raise ResultWithheld("the result was recorded but is withheld: an owner revoked it or the deadline passed")
        if row is None or row[1] is None:
            raise NotFound("this party holds no sealed result for that session")
        release: bytes = row[1]
        if chain.sealed_digest(release) != row[2]:
            raise StoreFailed("a sealed result was changed on the disk; restore the state file from a backup")
        return release

    def session(self, session: SessionId) -> SessionRow | None:
        """What is durable about a session, if it was ever agreed here."""
        with self._reading() as connection:
            row = connection.execute(_SESSION_COLUMNS + "WHERE session = ?", (session,)).fetchone()
        return None if row is None else _session_row(row)

    def spent(self, account: str) -> int:
        """What an account has been debited, refunds taken off."""
        with self._reading() as connection:
            row = connection.execute("SELECT spent FROM account WHERE account = ?", (account,)).fetchone()
        return 0 if row is None else int(row[0])

    def ledger_entries(self, first: int, count: int) -> list[LedgerRow]:
        """Up to `count` entries from sequence `first` on, oldest first.

        Raises:
            StoreFailed: cannot be read.
        """
        assert first >= 0
        count = min(count, limits.LEDGER_ENTRIES_PER_READ_MAX)
        with _reader(self._directory) as connection, _storage():
            try:
                return list(ledger.read_rows(connection, first, count))
            except canonical.CanonicalError as error:
                raise StoreFailed("the content of a ledger entry is damaged; verify the ledger") from error

    def verify_ledger(self, *remembered: LedgerHead) -> LedgerReport:
        """Check the whole ledger, on a connection of its own: sessions go on meanwhile.

        Args:
            remembered: heads seen earlier, that the chain must pass through beside those that peers have signed.

        Raises:
            LedgerInvalid: names the first bad entry.
        """
        return verify_ledger(self._directory, *remembered)

    # -------------------------------------------------------------------------------------------- inside

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._require_open()
            with _storage():
                yield self._writer

    @contextmanager
    def _transaction(self, *, awaited: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction; `awaited` if it is on a session's critical path."""
        with self._lock:
            self._require_open()
            connection = self._writer
            with _storage():
                connection.execute("BEGIN IMMEDIATE")
                self._appended = self._head
                try:
                    yield connection
                except BaseException:
                    self._roll_back()
                    raise
                try:
                    connection.execute("COMMIT")
                except sqlite3.Error as error:
                    self._closed_because = f"a commit failed ({error}) and its outcome is unknown; restart mpcd"
                    raise
                self._head = self._appended
                self._fold(_FOLD_AT_ONCE_BYTES if awaited else _FOLD_BYTES)

    def _fold(self, log_bytes_max: int) -> None:
        """Fold the log into the file once it is longer than `log_bytes_max`; what is committed is safe either way.

        A reader that looks at an older state keeps part of the log in use: this folds what it can and does not wait.
        """
        try:
            if self._log.stat().st_size > log_bytes_max:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (OSError, sqlite3.Error) as error:
            self._closed_because = f"the log cannot be folded into the state file ({error}); restart mpcd"

    def _roll_back(self) -> None:
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._closed_because = f"a transaction could not be undone ({error}); restart mpcd"

    def _require_open(self) -> None:
        if self._broken_because is not None:
            raise LedgerInvalid(self._broken_because)
        if self._closed_because is not None:
            raise StoreFailed(self._closed_because)

    def _append(
        self, connection: sqlite3.Connection, entry: LedgerEntry, now: float, session: SessionId | None
    ) -> LedgerHead:
        body = canonical.encode(entry.content)
        if len(body) > limits.LEDGER_CONTENT_BYTES_MAX:
            raise StoreFailed(f"a ledger entry has more than {limits.LEDGER_CONTENT_BYTES_MAX} bytes of content")
        head = self._appended
        if head is None or _stored_head(connection) != head:
            when = "does not fit its own head" if head is None else "was changed by another program while mpcd ran"
            self.distrust(f"the ledger {when}; stop mpcd and restore the state file from a backup")
            raise LedgerInvalid(f"nothing was written: {self._broken_because}")
        sequence, previous = head.count, head.hash
        salt = self._entropy(chain.SALT_BYTES)
        committed = chain.commitment(salt, body)
        milliseconds = _milliseconds(now)
        made = chain.entry_hash(sequence, milliseconds, entry.kind, session, committed, previous)
        connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)",
            (sequence, milliseconds, entry.kind, session, committed, previous, made),
        )
        connection.execute("INSERT INTO content VALUES (?, ?, ?, NULL)", (sequence, salt, body))
        connection.execute("UPDATE head SET count = ?, hash = ?", (sequence + 1, made))
        self._appended = head = LedgerHead(sequence + 1, made)
        return head


_SESSION_KINDS: Final = frozenset(
    {"agreed", "recorded", "released", "aborted", "withheld", "refused", "failed", "erased"}
)
_KINDS_OF_COMMITS: Final = _SESSION_KINDS - {"refused", "failed"}
"""Entries that only stand beside what their own commit changes."""
_SESSION_COLUMNS: Final = (
    "SELECT session, state, request_digest, plan_hash, analyst, agreed_milliseconds, changed_milliseconds FROM session "
)


def verify_ledger(directory: Path, *remembered: LedgerHead) -> LedgerReport:
    """Check the ledger in `directory`, whether or not a daemon is using it.

    Raises:
        LedgerInvalid: names the first bad entry.
        StoreFailed: there is no state in `directory`.
    """
    with _reader(directory) as connection:
        archive = partial(segments.entries_of, directory)
        return ledger.verify(connection, (*remembered, *_witnessed(connection)), archive)


def _witnessed(connection: sqlite3.Connection) -> list[LedgerHead]:
    """What peers have signed of this ledger, read with the same care as the ledger itself."""
    try:
        return heads.witnessed(connection)
    except sqlite3.Error as error:
        raise LedgerInvalid(f"the state file is damaged ({error}); restore it from a backup") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LedgerInvalid("the state file is damaged: a field has a wrong type; restore it from a backup") from error


def _require_erasable(
    connection: sqlite3.Connection, directory: Path, wanted: Sequence[int], kept_since: float | None
) -> None:
    """Refuse what a session still needs, and what is younger than the retention."""
    for archived in segments.all_of(connection, directory) if kept_since is not None else ():
        inside = [s for s in wanted if archived.segment.first <= s < archived.segment.end]
        if inside and kept_since is not None and archived.last_milliseconds >= kept_since * 1000:
            raise RequestInvalid(_too_young(inside[0]))
    for sequence in wanted:
        row = connection.execute(
            "SELECT e.time_milliseconds, s.state FROM entry e LEFT JOIN session s USING (session) WHERE e.sequence = ?",
            (sequence,),
        ).fetchone()
        if row is not None and row[1] in {"agreed", "recorded"}:
            raise RequestInvalid(f"ledger entry {sequence} is of a session that is not over; erase it afterwards")
        if row is not None and kept_since is not None and row[0] >= kept_since * 1000:
            raise RequestInvalid(_too_young(sequence))


def _too_young(sequence: int) -> str:
    return (
        f"ledger entry {sequence} is younger than the retention; where a law demands that its content goes, "
        "say that it is to be erased within the retention"
    )


# ------------------------------------------------------------------------------------------------ parts of transactions


def _burn(connection: sqlite3.Connection, use: NonceUse, now: float) -> None:
    """Burn a nonce; forget those that no clock could still find valid, and remember the latest expiry forgotten."""
    forgotten = connection.execute(
        "SELECT max(expires_at) FROM nonce WHERE expires_at < ?", (int(now) - _NONCE_KEPT_SECONDS,)
    ).fetchone()[0]
    if forgotten is not None:
        connection.execute("DELETE FROM nonce WHERE expires_at <= ?", (forgotten,))
        connection.execute("UPDATE pruned SET expires_at = max(expires_at, ?)", (forgotten,))
    (pruned,) = connection.execute("SELECT expires_at FROM pruned").fetchone()
    if use.expires_at <= pruned:
        raise RequestInvalid(
            "the request is too old to be told from a replay; sign a new one (or set this host's clock)"
        )
    try:
        connection.execute("INSERT INTO nonce VALUES (?, ?, ?)", (use.analyst, use.nonce, use.expires_at))
    except sqlite3.IntegrityError as error:
        raise RequestInvalid("this request was used before; sign a new one") from error


def _advance(
    connection: sqlite3.Connection, session: SessionId, before: DurableState, after: DurableState, now: float
) -> None:
    changed = connection.execute(
        "UPDATE session SET state = ?, changed_milliseconds = ? WHERE session = ? AND state = ?",
        (after, _milliseconds(now), session, before),
    ).rowcount
    if changed != 1:
        raise Bug(f"a session that is not `{before}` cannot become `{after}`")


def _session_row(row: tuple[bytes, DurableState, bytes, bytes, bytes, int, int]) -> SessionRow:
    session, state, request_digest, plan_hash, analyst, agreed, changed = row
    return SessionRow(
        SessionId(session), state, RequestDigest(request_digest), PlanHash(plan_hash), analyst, agreed, changed
    )


def _milliseconds(now: float) -> int:
    return int(now * 1000)


# ------------------------------------------------------------------------------------------------ SQLite


@contextmanager
def _storage() -> Iterator[None]:
    """Turn what SQLite raises into our own failure."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailed(f"the state file cannot be read or written: {error}") from error


def _connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    with _storage():
        mode = "rw" if writes else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=limits.STORE_BUSY_SECONDS_MAX,
            isolation_level=None,
            check_same_thread=False,
        )
    try:
        with _storage():
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            if writes:
                _set_durable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_whole(path: Path, ledger_id: bytes) -> None:
    size = path.stat().st_size
    if size == 0 and ledger_id:
        raise StoreFailed(
            f"{path} is empty or was lost, but a ledger was begun here; restore it from a backup "
            f"(or, to begin a new ledger knowingly, remove {path.parent / 'lock'} too)"
        )
    if 0 < size < _SMALLEST_FILE_BYTES:
        raise StoreFailed(f"{path} is cut short; restore it from a backup")


def _bind(connection: sqlite3.Connection, lock: DirectoryLock) -> None:
    """Remember the ledger beside the state file, or compare with the one that is remembered."""
    (ledger_id,) = connection.execute("SELECT ledger_id FROM head").fetchone()
    remembered = lock.read()
    if not remembered:
        lock.write(ledger_id)
    elif remembered != ledger_id:
        raise StoreFailed("the state file holds another ledger than the one begun here; restore the right one")


def _set_durable(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreFailed("the file system of the state directory cannot hold a write-ahead log")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `_fold`
    connection.execute("PRAGMA secure_delete = ON")


def _prepare(connection: sqlite3.Connection, entropy: Callable[[int], bytes]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.migrate(connection)
        _begin_ledger(connection, entropy)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # the first failure is the one to report
            connection.execute("ROLLBACK")
        raise


def _begin_ledger(connection: sqlite3.Connection, entropy: Callable[[int], bytes]) -> None:
    if connection.execute("SELECT count(*) FROM head").fetchone()[0]:
        return
    if connection.execute("SELECT count(*) FROM entry").fetchone()[0]:
        raise StoreFailed("the ledger has lost its head; restore the state file from a backup")
    ledger_id = entropy(chain.LEDGER_ID_BYTES)
    connection.execute(
        "INSERT INTO head (place, ledger_id, count, hash) VALUES (0, ?, 0, ?)", (ledger_id, chain.genesis(ledger_id))
    )


def _stored_head(connection: sqlite3.Connection) -> LedgerHead | None:
    """The head, None unless the last entry there is bears it out."""
    with _storage():
        count, last = connection.execute("SELECT count, hash FROM head").fetchone()
        row = connection.execute("SELECT sequence, hash FROM entry ORDER BY sequence DESC LIMIT 1").fetchone()
    fits = count == 0 if row is None else row == (count - 1, last)
    return LedgerHead(count, last) if fits else None


@contextmanager
def _reader(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one consistent state and cannot write."""
    path = directory / FILE_NAME
    if not path.is_file():
        raise StoreFailed(f"there is no state in {directory}")
    with closing(_connect(path, writes=False)) as connection:
        with _storage():
            connection.execute("BEGIN")
        yield connection
