"""The ledger in its tables: how it is read, and how all of it is checked.

What the hashes cover is said in `governance/chain.py`.

What a check finds: a changed, dropped, inserted or reordered entry; changed content; content that disappeared without
an entry of kind `erased` that names it; a chain shorter or longer than the head says; a session whose state its
entries do not bear out; a sealed result, request or plan other than the one that was recorded; an account that is not
the sum of its debits.  What it cannot find alone: a ledger that was rewritten from some entry on with all its hashes,
or put back as it was earlier.  For that the peers remember heads (`heads.py`): `verify` takes such heads and checks
that the chain passes through each.

Entries that were archived (`segments.py`) are checked from their files where these are here; otherwise the chain goes
on from the head with which the segment ended, as the entry `archived` says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mpcd import canonical
from mpcd.errors import LedgerInvalid
from mpcd.governance import chain
from mpcd.governance.chain import LedgerHead, commitment, genesis, sealed_digest
from mpcd.governance.entries import LedgerEntry
from mpcd.ids import SessionId
from mpcd.store.receipts import digest as receipt_digest

TABLES: Final = (
    # Entries from `split` on have a header of their own in their hash, those before are of the first format.
    "ALTER TABLE head ADD COLUMN split INTEGER NOT NULL DEFAULT 0",
    "UPDATE head SET split = count",
)


class Append(Protocol):
    """Puts an entry on the record in the transaction that runs: what `Store.write` gives to a domain's work."""

    def __call__(self, entry: LedgerEntry, session: SessionId | None = None) -> LedgerHead:
        """Append `entry`; returns the head as this transaction leaves it.

        Raises:
            StoreFailed: the entry has too much content; the transaction must not go on.
        """


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One entry, with its content where that was not erased."""

    sequence: int
    time_milliseconds: int
    kind: str
    session: SessionId | None
    commitment: bytes
    previous: bytes
    hash: bytes
    content: dict[str, canonical.Value] | None
    """None where it was erased, or is no longer what the entry commits to."""
    erased_by: int | None = None
    """The entry on record that says so; content that is gone without one was tampered with."""


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What a check of the whole ledger found to be right."""

    head: LedgerHead
    erased: int
    """Entries whose content was erased on the record."""
    kinds: dict[str, int]
    first_milliseconds: int | None
    last_milliseconds: int | None
    away: int = 0
    """Archived entries whose file is not here: the chain goes past them, nothing else is checked."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of entries that were archived into a file."""

    first: int
    count: int
    previous: bytes
    """The hash before it."""
    last: bytes
    """The hash with which it ends."""

    @property
    def end(self) -> int:
        """The sequence after its last entry."""
        return self.first + self.count


ArchivedEntry = tuple[int, int, str, bytes | None, bytes, bytes | None, bytes | None, int | None]
"""Sequence, time, kind, session, commitment, salt, body, erased by."""
Archive = Callable[[Segment], Iterable[ArchivedEntry] | None]
"""Gives the entries of a segment; None if its file is not here."""


_ALL: Final = """
    SELECT e.sequence, e.time_milliseconds, e.kind, e.session, e.commitment, e.previous, e.hash,
           c.sequence, c.salt, c.body, c.erased_by
    FROM entry e LEFT JOIN content c ON c.sequence = e.sequence ORDER BY e.sequence
"""

_BOUND: Final = ("request_digest", "plan_hash", "analyst", "sealed_digest", "receipt_digest")
"""What entries say about their session's row, in the order of `_SESSIONS`."""

_SESSIONS: Final = """
    SELECT s.session, s.state, s.request_digest, s.plan_hash, s.analyst, d.digest, r.digest, d.release, r.signed
    FROM session s LEFT JOIN sealed d USING (session) LEFT JOIN receipt r USING (session)
"""

_WRONG_ACCOUNT: Final = """
    SELECT a.account FROM account a WHERE a.spent <>
        (SELECT coalesce(sum(d.amount), 0) FROM debit d WHERE d.account = a.account AND d.refunded = 0) LIMIT 1
"""

_NEEDED_ENTRIES: Final = {
    "agreed": ("agreed",),
    "recorded": ("agreed", "recorded"),
    "released": ("agreed", "recorded", "released"),
    "withheld": ("agreed", "recorded", "withheld"),
    "aborted": ("agreed", "aborted"),
}
_LIFE: Final = frozenset(_NEEDED_ENTRIES)
"""Kinds that say what became of a session; entries of other kinds may belong to one too."""


def verify(
    connection: sqlite3.Connection, remembered: Sequence[LedgerHead] = (), archive: Archive | None = None
) -> LedgerReport:
    """Check the whole ledger that `connection` (inside a read transaction) sees.

    Args:
        connection: reads one consistent state.
        remembered: heads that were seen earlier, for instance by peers.
        archive: gives the archived entries; without it they are passed over.

    Raises:
        LedgerInvalid: names the first bad entry.
    """
    try:
        return _verify(connection, remembered, archive)
    except sqlite3.Error as error:
        raise LedgerInvalid(f"the state file is damaged ({error}); restore it from a backup") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LedgerInvalid("the state file is damaged: a field has a wrong type; restore it from a backup") from error


def segments(connection: sqlite3.Connection) -> list[Segment]:
    """What was archived, oldest first."""
    return [
        Segment(*row) for row in connection.execute("SELECT first, count, previous, last FROM segment ORDER BY first")
    ]


def _verify(connection: sqlite3.Connection, remembered: Sequence[LedgerHead], archive: Archive | None) -> LedgerReport:
    damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if damage != ["ok"]:
        raise LedgerInvalid(f"the state file is damaged ({damage[0][:200]}); restore it from a backup")
    row = connection.execute("SELECT ledger_id, count, hash, split FROM head").fetchone()
    if row is None:
        raise LedgerInvalid("the ledger has no head; restore the state file from a backup")
    ledger_id, count, head, split = row
    check = _Check(genesis(ledger_id), split, remembered)
    for segment in segments(connection):
        check.take_segment(segment, None if archive is None else archive(segment))
    for row in connection.execute(_ALL):
        check.take(*row)
    check.finish(LedgerHead(count, head))
    check.sessions(connection)
    report = LedgerHead(count, head), len(check.erased), check.kinds, check.first, check.last
    return LedgerReport(*report, away=sum(segment.count for segment in check.away))


class _Check:
    """The state of one walk along the chain."""

    def __init__(self, start: bytes, split: int, remembered: Sequence[LedgerHead]) -> None:
        self.count = 0
        self.previous = start
        self.split = split
        self.remembered: dict[int, bytes] = {}
        for head in remembered:
            if self.remembered.setdefault(head.count, head.hash) != head.hash:
                raise LedgerInvalid(f"two different heads are remembered after {head.count} entries")
        self.kinds: dict[str, int] = {}
        self.erased: dict[int, int] = {}
        self.erasures: dict[int, frozenset[int]] = {}
        self.by_session: dict[bytes, list[str]] = {}
        self.last_of: dict[bytes, int] = {}
        self.bound: dict[bytes, dict[str, canonical.Value]] = {}
        self.segments: list[Segment] = []
        self.away: list[Segment] = []
        self.archived: set[tuple[object, object, object]] = set()
        self.first: int | None = None
        self.last: int | None = None
        self._meet_remembered()

    def take_segment(self, segment: Segment, entries: Iterable[ArchivedEntry] | None) -> None:
        """Go past an archived segment, through its entries where they are here."""
        if segment.first != self.count:
            raise LedgerInvalid(f"ledger entry {self.count} is missing; the next archived one is {segment.first}")
        if segment.previous != self.previous:
            raise LedgerInvalid(f"the archived entries from {segment.first} on do not follow those before")
        self.segments.append(segment)
        if entries is None:
            self.away.append(segment)
            self.count, self.previous = segment.end, segment.last
            self._meet_remembered()
            return
        for sequence, time_milliseconds, kind, session, committed, salt, body, erased_by in entries:
            made = self._hash(sequence, time_milliseconds, kind, session, committed, self.previous)
            self.take(
                sequence,
                time_milliseconds,
                kind,
                session,
                committed,
                self.previous,
                made,
                sequence,
                salt,
                body,
                erased_by,
            )
        if (self.count, self.previous) != (segment.end, segment.last):
            raise LedgerInvalid(
                f"the file of the archived entries {segment.first} to {segment.end - 1} was changed or cut"
            )

    def _hash(
        self, sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes, previous: bytes
    ) -> bytes:
        made = chain.entry_hash_1 if sequence < self.split else chain.entry_hash
        return made(sequence, time_milliseconds, kind, session, committed, previous)

    def take(
        self,
        sequence: int,
        time_milliseconds: int,
        kind: str,
        session: bytes | None,
        committed: bytes,
        previous: bytes,
        found: bytes,
        content_sequence: int | None,
        salt: bytes | None,
        body: bytes | None,
        erased_by: int | None,
    ) -> None:
        if sequence != self.count:
            raise LedgerInvalid(f"ledger entry {self.count} is missing; the next one is {sequence}")
        if previous != self.previous:
            raise LedgerInvalid(
                f"ledger entry {sequence} does not follow entry {sequence - 1}: one of them was replaced"
            )
        if found != self._hash(sequence, time_milliseconds, kind, session, committed, previous):
            raise LedgerInvalid(f"ledger entry {sequence} was changed: its hash does not fit")
        if content_sequence is None or (body is None and erased_by is None):
            raise LedgerInvalid(f"the content of ledger entry {sequence} is missing without an entry that erases it")
        if salt is None or body is None:
            self.erased[sequence] = -1 if erased_by is None else erased_by
        elif committed != commitment(salt, body):
            raise LedgerInvalid(f"the content of ledger entry {sequence} was changed: its commitment does not fit")
        else:
            self._read(sequence, kind, session, body)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if session is not None and kind in _LIFE:
            self.by_session.setdefault(session, []).append(kind)
            self.last_of[session] = sequence
        self.first = time_milliseconds if self.first is None else self.first
        self.last = time_milliseconds
        self.previous = found
        self.count += 1
        if self.remembered:
            self._meet_remembered()

    def _read(self, sequence: int, kind: str, session: bytes | None, body: bytes) -> None:
        """Keep what a content says about erasures and about its session's row."""
        if kind == "erased":
            self.erasures[sequence] = _erased_sequences(sequence, body)
        elif kind == "archived":
            self.archived.add(_archived_range(body))
        elif session is not None and kind in {"agreed", "recorded"}:
            content = canonical.decode(body)
            if isinstance(content, dict):
                self.bound.setdefault(session, {}).update({name: content[name] for name in _BOUND if name in content})

    def _meet_remembered(self) -> None:
        if self.remembered.pop(self.count, self.previous) != self.previous:
            raise LedgerInvalid(
                f"the ledger was rewritten: the hash after {self.count} entries is not the one remembered"
            )

    def finish(self, head: LedgerHead) -> None:
        if self.count != head.count:
            raise LedgerInvalid(
                f"the ledger was cut or extended: its head says {head.count} entries, {self.count} are there"
            )
        if self.previous != head.hash:
            raise LedgerInvalid(f"the head of the ledger does not fit entry {self.count - 1}")
        seen = max(self.remembered, default=0)
        if seen > self.count:
            raise LedgerInvalid(f"the ledger was put back: {seen} entries were seen earlier, {self.count} are there")
        for sequence, eraser in self.erased.items():
            if sequence not in self.erasures.get(eraser, frozenset()) and not self._is_away(eraser):
                raise LedgerInvalid(
                    f"the content of ledger entry {sequence} is missing without an entry that erases it"
                )
        for segment in self.segments:
            told = (segment.first, segment.count, segment.last) in self.archived
            if not told and not any(other.first >= segment.end for other in self.away):
                raise LedgerInvalid(
                    f"ledger entries {segment.first} to {segment.end - 1} are gone without an entry that archives them"
                )

    def _is_away(self, sequence: int) -> bool:
        return any(segment.first <= sequence < segment.end for segment in self.away)

    def sessions(self, connection: sqlite3.Connection) -> None:
        """Every session's state is what its entries say, and a result is there exactly if one was recorded."""
        seen = 0
        away = self._sessions_away(connection)
        for session, state, *bound, release, receipt in connection.execute(_SESSIONS):
            label = f"session {session.hex()[:16]}"
            told_states = tuple(self.by_session.get(session, ()))
            seen += session not in away
            if told_states != (() if session in away else _NEEDED_ENTRIES[state]):
                raise LedgerInvalid(f"{label} is `{state}`, but its ledger entries say otherwise")
            if release is not None and "recorded" not in _NEEDED_ENTRIES[state]:
                raise LedgerInvalid(f"{label} has a sealed result that was never recorded")
            told = self.bound.get(session, {})
            for name, value in zip(_BOUND, bound, strict=True):
                if name in told and told[name] != value:
                    raise LedgerInvalid(f"the {name} of {label} is not the one that its ledger entry names")
            if release is not None and sealed_digest(release) != bound[-2]:
                raise LedgerInvalid(f"the sealed result of {label} was changed")
            unsaid = "sealed_digest" in told and "receipt_digest" not in told
            if receipt is not None and (unsaid or receipt_digest(receipt) != bound[-1]):
                raise LedgerInvalid(f"the receipt of {label} was changed")
        wrong = connection.execute(_WRONG_ACCOUNT).fetchone()
        if wrong is not None:
            raise LedgerInvalid(f"the account `{wrong[0]}` is not the sum of its debits")
        agreed = sum("agreed" in kinds for kinds in self.by_session.values())
        if agreed != seen:
            raise LedgerInvalid(f"the ledger tells of {agreed} agreed sessions, {seen} are there")

    def _sessions_away(self, connection: sqlite3.Connection) -> set[bytes]:
        """Sessions whose entries are in files that are not here; all others have theirs where the rows say."""
        ends = {segment.first: segment.end for segment in self.segments}
        gone = {segment.first for segment in self.away}
        archived = dict(connection.execute("SELECT session, first FROM archived_session"))
        base = max(ends.values(), default=0)
        for session, last in self.last_of.items():
            first = archived.get(session)
            inside = last >= base if first is None else first not in gone and first <= last < ends.get(first, 0)
            if not inside:
                raise LedgerInvalid(f"session {session.hex()[:16]} is not archived where its row says")
        return {session for session, first in archived.items() if first in gone}


def _erased_sequences(sequence: int, body: bytes) -> frozenset[int]:
    content = canonical.decode(body)
    listed = content.get("sequences") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise LedgerInvalid(f"ledger entry {sequence} erases nothing that it names")
    return frozenset(item for item in listed if isinstance(item, int))


def _archived_range(body: bytes) -> tuple[object, object, object]:
    """First, count and last hash of the segment that an entry `archived` tells of."""
    content = canonical.decode(body)
    details = content.get("details") if isinstance(content, dict) else None
    if not isinstance(details, dict):
        return (None, None, None)
    return details.get("first"), details.get("count"), details.get("last")


def read_rows(connection: sqlite3.Connection, first: int, count: int) -> Iterator[LedgerRow]:
    """The entries `first` to `first + count - 1` that exist, each with its content where that fits its commitment.

    The chain is not verified; content that was changed is not shown as if it stood there.
    """
    cursor = connection.execute(
        "SELECT e.sequence, e.time_milliseconds, e.kind, e.session, e.commitment, e.previous, e.hash, "
        "c.salt, c.body, c.erased_by FROM entry e LEFT JOIN content c USING (sequence) "
        "WHERE e.sequence >= ? AND e.sequence < ? ORDER BY e.sequence",
        (first, first + count),
    )
    for sequence, time_milliseconds, kind, session, committed, previous, found, salt, body, eraser in cursor:
        kept = salt is not None and body is not None and committed == commitment(salt, body)
        content = canonical.decode(body) if kept else None
        yield LedgerRow(
            sequence,
            time_milliseconds,
            kind,
            None if session is None else SessionId(session),
            committed,
            previous,
            found,
            content if isinstance(content, dict) else None,
            eraser,
        )
