"""Archived segments of the ledger: their rows in the state file, and their files beside it.

A segment is a range of entries, from the oldest that is still in the state file, that is written to a file, sealed with
this party's signature, read back and checked, and only then taken out of the state file, in the transaction that puts
the entry `archived` on the record.  A stop in between leaves a file that the next attempt writes again.  The files may
be carried away; the check of the ledger then goes past them by the hashes that the chain holds.

Only what no session needs any longer goes: a segment ends before the first entry of a session that is not over, and
holds all entries of the sessions that it holds one of.

Erasing what was archived is an entry first, with a note of what is due (`erasure_due`), then the file is written anew
without the content; a start does what a stop has left undone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpcd import limits
from mpcd.errors import LedgerInvalid, NotFound, StoreFailed
from mpcd.governance import chain, entries
from mpcd.governance.chain import LedgerHead, SignedHead, Witness
from mpcd.governance.segmentfile import Seal, SegmentEntry, SegmentHeader, SegmentReader, written
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.store.files import FILE_MODE, private_directory, sync_directory
from mpcd.store.ledger import Append, Segment

if TYPE_CHECKING:
    from mpcd.store.store import Store

DIRECTORY: Final = "segments"
TABLES: Final = (
    # Without it, taking an entry out would look through all contents for one that it erased.
    "CREATE INDEX content_by_eraser ON content (erased_by) WHERE erased_by IS NOT NULL",
    """CREATE TABLE segment (
        first INTEGER PRIMARY KEY,
        count INTEGER NOT NULL CHECK (count > 0),
        previous BLOB NOT NULL,
        last BLOB NOT NULL,
        first_milliseconds INTEGER NOT NULL,
        last_milliseconds INTEGER NOT NULL
    ) STRICT""",
    # Sessions all of whose entries are in the segment that begins with `first`.
    """CREATE TABLE archived_session (
        session BLOB PRIMARY KEY REFERENCES session (session),
        first INTEGER NOT NULL REFERENCES segment (first)
    ) STRICT, WITHOUT ROWID""",
    # Erasures on the record whose content still has to go from a segment's file.
    """CREATE TABLE erasure_due (
        sequence INTEGER PRIMARY KEY,
        erased_by INTEGER NOT NULL
    ) STRICT""",
)
_ENTRIES: Final = """
    SELECT e.sequence, e.time_milliseconds, e.kind, e.session, e.commitment, c.salt, c.body, c.erased_by
    FROM entry e JOIN content c USING (sequence) WHERE e.sequence >= ? AND e.sequence < ? ORDER BY e.sequence
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """One segment, as operators see it."""

    segment: Segment
    first_milliseconds: int
    last_milliseconds: int
    path: Path
    is_here: bool


def path_of(directory: Path, first: int, count: int) -> Path:
    """Where a segment's file is, in the state directory."""
    return directory / DIRECTORY / f"segment-{first:012d}-{first + count - 1:012d}.ledger"


def all_of(connection: sqlite3.Connection, directory: Path) -> list[Archived]:
    """Every segment, oldest first."""
    rows = connection.execute(
        "SELECT first, count, previous, last, first_milliseconds, last_milliseconds FROM segment ORDER BY first"
    ).fetchall()
    found = []
    for first, count, previous, last, begins, ends in rows:
        path = path_of(directory, first, count)
        found.append(Archived(Segment(first, count, previous, last), begins, ends, path, path.is_file()))
    return found


def base(connection: sqlite3.Connection) -> LedgerHead:
    """Where the entries in the state file begin: how many were archived before, and the last hash of those."""
    row = connection.execute("SELECT first + count, last FROM segment ORDER BY first DESC LIMIT 1").fetchone()
    if row is not None:
        return LedgerHead(*row)
    (ledger_id,) = connection.execute("SELECT ledger_id FROM head").fetchone()
    return LedgerHead(0, chain.genesis(ledger_id))


# ------------------------------------------------------------------------------------------------ archiving


def archive(
    store: Store,
    directory: Path,
    *,
    before: float,
    now: float,
    party: PartyId,
    key: SigningKey,
    seen_by_all: int | None,
) -> list[Archived]:
    """Archive the oldest entries, in segments of at most `limits.SEGMENT_ENTRIES_MAX`.

    Args:
        store: open.
        directory: the state directory.
        before: seconds since 1970; entries from the first that is younger on stay.
        now: seconds since 1970, for the entry on record.
        party: this one.
        key: its signing key.
        seen_by_all: entries up to here are in heads that every peer has signed: no peer will need what is archived;
            None archives whatever the peers have seen.

    Returns:
        The new segments; none if there is nothing that may go.
    """
    made: list[Archived] = []
    ends = store.head().count  # what archiving itself puts on the record stays: else it would never come to an end
    if seen_by_all is not None:
        ends = min(ends, seen_by_all)
    while True:
        planned = store.read(lambda connection: _plan(connection, before, ends), apart=True)
        if planned is None:
            return made
        first, end = planned
        made.append(_archive_one(store, directory, first, end, now, party, key))


def _plan(connection: sqlite3.Connection, before: float, ends: int) -> tuple[int, int] | None:
    """The range of the next segment, up to entry `ends` at most."""
    first = base(connection).count
    (young,) = connection.execute(
        "SELECT min(sequence) FROM entry WHERE time_milliseconds >= ?", (int(before * 1000),)
    ).fetchone()
    end = min(ends if young is None else young, first + limits.SEGMENT_ENTRIES_MAX, ends)
    while end > first:
        # The earliest entry of a session that is not over, or that has entries beyond the end, stays with all after it.
        (held,) = connection.execute(
            "SELECT min(e.sequence) FROM entry e WHERE e.session IS NOT NULL AND e.sequence < ?1 AND ("
            " EXISTS (SELECT 1 FROM session s WHERE s.session = e.session AND s.state IN ('agreed', 'recorded'))"
            " OR EXISTS (SELECT 1 FROM entry o WHERE o.session = e.session AND o.sequence >= ?1))",
            (end,),
        ).fetchone()
        if held is None:
            return first, end
        end = held
    return None


def _archive_one(
    store: Store, directory: Path, first: int, end: int, now: float, party: PartyId, key: SigningKey
) -> Archived:
    private_directory(directory / DIRECTORY)
    path = path_of(directory, first, end - first)
    segment, times, erased = store.read(
        lambda connection: _write(connection, path, first, end, int(now * 1000), party, key), apart=True
    )
    _check_file(path, segment)

    def work(connection: sqlite3.Connection, append: Append) -> None:
        _unchanged(connection, segment, erased)
        append(
            entries.noted(
                "archived",
                by="operator",
                about=f"entries {first} to {end - 1}",
                digest=segment.last,
                details={"first": first, "count": segment.count, "last": segment.last},
            )
        )
        connection.execute(
            "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?)",
            (first, segment.count, segment.previous, segment.last, *times),
        )
        connection.execute(
            "INSERT INTO archived_session SELECT DISTINCT e.session, ? FROM entry e "
            "JOIN session s ON s.session = e.session WHERE e.sequence < ?",
            (first, end),
        )
        connection.execute("DELETE FROM content WHERE sequence < ?", (end,))
        connection.execute("DELETE FROM entry WHERE sequence < ?", (end,))

    store.write(work, now=now)
    return Archived(segment, *times, path, is_here=True)


def _write(
    connection: sqlite3.Connection, path: Path, first: int, end: int, at: int, party: PartyId, key: SigningKey
) -> tuple[Segment, tuple[int, int], int]:
    """Write and sync the file of a range; its segment, its first and last time, and how many contents were erased."""
    ledger_id, split = connection.execute("SELECT ledger_id, split FROM head").fetchone()
    (last,) = connection.execute("SELECT hash FROM entry WHERE sequence = ?", (end - 1,)).fetchone()
    times = connection.execute(
        "SELECT min(time_milliseconds), max(time_milliseconds) FROM entry WHERE sequence < ?", (end,)
    ).fetchone()
    segment = Segment(first, end - first, base(connection).hash, last)
    header = SegmentHeader(party, ledger_id, first, segment.count, segment.previous, split)
    witnesses = [
        Witness.from_bytes(row[0])
        for row in connection.execute(
            "SELECT encoded FROM witness WHERE count > ? AND count <= ? ORDER BY count, party", (first, end)
        )
    ]
    seal = Seal(
        SignedHead.make(party, ledger_id, LedgerHead(end, last), at, key),
        tuple(witness for witness in witnesses if witness.seen.ledger_id == ledger_id),
    )
    _replace(path, written(header, connection.execute(_ENTRIES, (first, end)), seal))
    return segment, (int(times[0]), int(times[1])), _erased(connection, segment)


def _replace(path: Path, parts: Iterator[bytes]) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_suffix(".new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreFailed(f"the file {path} of a segment cannot be written: {error.strerror}") from error


def _check_file(path: Path, segment: Segment) -> None:
    """Read back what was written.

    Raises:
        StoreFailed: it does not hold the entries; nothing was taken out of the state file.
    """
    link, count, whole = segment.previous, 0, True
    try:
        with path.open("rb") as file:
            reader = SegmentReader(file.read)
            split = reader.header.split
            for sequence, at, kind, session, committed, salt, body, erased_by in reader.entries():
                made = chain.entry_hash_1 if sequence < split else chain.entry_hash
                link, count = made(sequence, at, kind, session, committed, link), count + 1
                kept = salt is not None and body is not None and chain.commitment(salt, body) == committed
                whole &= kept or erased_by is not None
    except (LedgerInvalid, OSError) as error:
        raise StoreFailed(f"the file {path} of a segment was written, but not rightly: {error}") from error
    if (link, count, whole) != (segment.last, segment.count, True):
        raise StoreFailed(f"the entries from {segment.first} on do not fit their chain; verify the ledger")


def _erased(connection: sqlite3.Connection, segment: Segment) -> int:
    """How many contents of a range are erased; what is erased stays so."""
    (count,) = connection.execute(
        "SELECT count(*) FROM content WHERE sequence >= ? AND sequence < ? AND body IS NULL",
        (segment.first, segment.end),
    ).fetchone()
    return int(count)


def _unchanged(connection: sqlite3.Connection, segment: Segment, erased: int) -> None:
    """Nobody archived or erased meanwhile.

    Raises:
        StoreFailed: somebody did; the file is written anew with the next attempt.
    """
    now = base(connection)
    if (now.count, now.hash) != (segment.first, segment.previous):
        raise StoreFailed("the ledger was archived by somebody else meanwhile; try again")
    if _erased(connection, segment) != erased:
        raise StoreFailed("content was erased while its segment was written; archive again")


# ------------------------------------------------------------------------------------------------ reading


def entries_of(directory: Path, segment: Segment) -> Iterator[SegmentEntry] | None:
    """The entries of a segment from its file; None if that is not here."""
    path = path_of(directory, segment.first, segment.count)
    return _read(path, segment) if path.is_file() else None


def _read(path: Path, segment: Segment) -> Iterator[SegmentEntry]:
    try:
        with path.open("rb") as file:
            reader = SegmentReader(file.read)
            header = reader.header
            if (header.first, header.count, header.previous) != (segment.first, segment.count, segment.previous):
                raise LedgerInvalid(f"the file {path.name} holds other entries than it should")
            yield from reader.entries()
    except OSError as error:
        raise StoreFailed(f"the file {path} of a segment cannot be read: {error.strerror}") from error


# ------------------------------------------------------------------------------------------------ erasing


def book_erasures(connection: sqlite3.Connection, directory: Path, sequences: Sequence[int], erased_by: int) -> None:
    """Note that archived entries lose their content; the caller appends the entry `erased_by` in this transaction.

    Raises:
        NotFound: an entry has no content that can be erased, or its file is not here.
    """
    wanted = set(sequences)
    for archived in all_of(connection, directory):
        inside = {s for s in wanted if archived.segment.first <= s < archived.segment.end}
        if not inside:
            continue
        if not archived.is_here:
            raise NotFound(f"ledger entry {min(inside)} is in {archived.path.name}, which is not here; bring it back")
        for sequence, _, kind, _, _, _, body, _ in entries_of(directory, archived.segment) or ():
            if sequence in inside and (body is None or kind in entries.KEPT_KINDS):
                raise NotFound(f"ledger entry {sequence} has no content that can be erased")
    connection.executemany("INSERT INTO erasure_due VALUES (?, ?)", [(s, erased_by) for s in sorted(wanted)])


def do_erasures(store: Store, directory: Path, *, now: float) -> None:
    """Write anew the files whose content is to go; done again after a stop, until all is done."""
    due = dict(store.read(lambda c: c.execute("SELECT sequence, erased_by FROM erasure_due").fetchall()))
    if not due:
        return
    for archived in store.read(lambda c: all_of(c, directory)):
        inside = {s: by for s, by in due.items() if archived.segment.first <= s < archived.segment.end}
        if inside and archived.is_here:
            _rewrite(archived.path, inside)
            store.write(lambda c, _append, gone=inside: _forget(c, gone), now=now)  # type: ignore[misc]  # bound now


def _forget(connection: sqlite3.Connection, gone: dict[int, int]) -> None:
    connection.executemany("DELETE FROM erasure_due WHERE sequence = ?", [(s,) for s in gone])


def _rewrite(path: Path, erased: dict[int, int]) -> None:
    with path.open("rb") as seal_file:
        reader = SegmentReader(seal_file.read)
        for _ in reader.entries():
            pass
        seal = reader.seal
    assert seal is not None
    with path.open("rb") as file:
        reader = SegmentReader(file.read)

        def without() -> Iterator[SegmentEntry]:
            for entry in reader.entries():
                by = erased.get(entry[0])
                yield entry if by is None else (*entry[:5], None, None, by)

        _replace(path, written(reader.header, without(), seal))
