"""The hash chain: what an entry's hash covers, and how a whole ledger is checked.

An entry holds its sequence number, a time, a kind, the session if it belongs to one, a commitment to its content, the
hash of the entry before it, and its own hash over all of that.  The first entry's predecessor is derived from 32
random bytes made with the ledger, so that two ledgers share nothing.  A commitment is a hash over 32 bytes of salt
and the canonical content: with salt and content erased it says nothing about a request, however few requests are
likely, and still holds its place in the chain.

What a check finds: a changed, dropped, inserted or reordered entry; changed content; content that disappeared without
an entry of kind `erased` that names it; a chain shorter or longer than the head says; a session whose state its
entries do not bear out; a sealed result, request or plan other than the one that was recorded; an account that is not
the sum of its debits.  What it cannot find alone: a file put back as it was at an earlier moment.  For that a peer
must remember a head (count and hash): `verify` takes such a remembered head and checks that the chain passes through
it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from mpcd import canonical
from mpcd.errors import LedgerInvalid
from mpcd.governance.entries import LedgerEntry
from mpcd.ids import SessionId

SALT_BYTES: Final = 32
LEDGER_ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """How many entries there are and the hash of the last: what peers remember of each other."""

    count: int
    hash: bytes


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


def genesis(ledger_id: bytes) -> bytes:
    """What stands for the hash before entry 0."""
    return canonical.digest_bytes("ledger-genesis", ledger_id)


def commitment(salt: bytes, body: bytes) -> bytes:
    """To the canonical content `body`; the salt has a fixed length, so the pair is read in one way."""
    return canonical.digest_bytes("ledger-commitment", salt + body)


def sealed_digest(sealed: bytes) -> bytes:
    """Of the bytes that a session seals once, as the entry `recorded` names them."""
    return canonical.digest_bytes("ledger-sealed", sealed)


_ENTRY_PREFIX: Final = b"mpcd:ledger-entry:1:"


def entry_hash(
    sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes, previous: bytes
) -> bytes:
    """Over everything in the row.  A fixed layout with lengths before what varies: one reading, and quick to verify."""
    name = kind.encode()
    packed = b"".join(
        (
            _ENTRY_PREFIX,
            sequence.to_bytes(8, "big"),
            time_milliseconds.to_bytes(8, "big", signed=True),
            len(name).to_bytes(2, "big"),
            name,
            b"\0" if session is None else b"\1" + len(session).to_bytes(2, "big") + session,
            committed,
            previous,
        )
    )
    return hashlib.sha256(packed).digest()


_ALL: Final = """
    SELECT e.sequence, e.time_milliseconds, e.kind, e.session, e.commitment, e.previous, e.hash,
           c.sequence, c.salt, c.body, c.erased_by
    FROM entry e LEFT JOIN content c ON c.sequence = e.sequence ORDER BY e.sequence
"""

_BOUND: Final = ("request_digest", "plan_hash", "analyst", "sealed_digest")
"""What entries say about their session's row, in the order of `_SESSIONS`."""

_SESSIONS: Final = """
    SELECT s.session, s.state, s.request_digest, s.plan_hash, s.analyst, d.digest, d.release
    FROM session s LEFT JOIN sealed d USING (session)
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


def verify(connection: sqlite3.Connection, remembered: LedgerHead | None = None) -> LedgerReport:
    """Check the whole ledger that `connection` (inside a read transaction) sees.

    Args:
        connection: reads one consistent state.
        remembered: a head that was seen earlier, for instance by a peer.

    Raises:
        LedgerInvalid: names the first bad entry.
    """
    try:
        return _verify(connection, remembered)
    except sqlite3.Error as error:
        raise LedgerInvalid(f"the state file is damaged ({error}); restore it from a backup") from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LedgerInvalid("the state file is damaged: a field has a wrong type; restore it from a backup") from error


def _verify(connection: sqlite3.Connection, remembered: LedgerHead | None) -> LedgerReport:
    damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if damage != ["ok"]:
        raise LedgerInvalid(f"the state file is damaged ({damage[0][:200]}); restore it from a backup")
    row = connection.execute("SELECT ledger_id, count, hash FROM head").fetchone()
    if row is None:
        raise LedgerInvalid("the ledger has no head; restore the state file from a backup")
    ledger_id, count, head = row
    check = _Check(genesis(ledger_id), remembered)
    for row in connection.execute(_ALL):
        check.take(*row)
    check.finish(LedgerHead(count, head))
    check.sessions(connection)
    return LedgerReport(LedgerHead(count, head), len(check.erased), check.kinds, check.first, check.last)


class _Check:
    """The state of one walk along the chain."""

    def __init__(self, start: bytes, remembered: LedgerHead | None) -> None:
        self.count = 0
        self.previous = start
        self.remembered = remembered
        self.kinds: dict[str, int] = {}
        self.erased: dict[int, int] = {}
        self.erasures: dict[int, frozenset[int]] = {}
        self.by_session: dict[bytes, list[str]] = {}
        self.bound: dict[bytes, dict[str, canonical.Value]] = {}
        self.first: int | None = None
        self.last: int | None = None
        self._meet_remembered()

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
        if found != entry_hash(sequence, time_milliseconds, kind, session, committed, previous):
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
        self.first = time_milliseconds if self.first is None else self.first
        self.last = time_milliseconds
        self.previous = found
        self.count += 1
        self._meet_remembered()

    def _read(self, sequence: int, kind: str, session: bytes | None, body: bytes) -> None:
        """Keep what a content says about erasures and about its session's row."""
        if kind == "erased":
            self.erasures[sequence] = _erased_sequences(sequence, body)
        elif session is not None and kind in {"agreed", "recorded"}:
            content = canonical.decode(body)
            if isinstance(content, dict):
                self.bound.setdefault(session, {}).update({name: content[name] for name in _BOUND if name in content})

    def _meet_remembered(self) -> None:
        if (
            self.remembered is not None
            and self.remembered.count == self.count
            and self.remembered.hash != self.previous
        ):
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
        if self.remembered is not None and self.remembered.count > self.count:
            raise LedgerInvalid(
                f"the ledger was put back: {self.remembered.count} entries were seen earlier, {self.count} are there"
            )
        for sequence, eraser in self.erased.items():
            if sequence not in self.erasures.get(eraser, frozenset()):
                raise LedgerInvalid(
                    f"the content of ledger entry {sequence} is missing without an entry that erases it"
                )

    def sessions(self, connection: sqlite3.Connection) -> None:
        """Every session's state is what its entries say, and a result is there exactly if one was recorded."""
        seen = 0
        for session, state, *bound, release in connection.execute(_SESSIONS):
            seen += 1
            label = f"session {session.hex()[:16]}"
            if tuple(self.by_session.get(session, ())) != _NEEDED_ENTRIES[state]:
                raise LedgerInvalid(f"{label} is `{state}`, but its ledger entries say otherwise")
            if release is not None and "recorded" not in _NEEDED_ENTRIES[state]:
                raise LedgerInvalid(f"{label} has a sealed result that was never recorded")
            told = self.bound.get(session, {})
            for name, value in zip(_BOUND, bound, strict=True):
                if name in told and told[name] != value:
                    raise LedgerInvalid(f"the {name} of {label} is not the one that its ledger entry names")
            if release is not None and sealed_digest(release) != bound[-1]:
                raise LedgerInvalid(f"the sealed result of {label} was changed")
        wrong = connection.execute(_WRONG_ACCOUNT).fetchone()
        if wrong is not None:
            raise LedgerInvalid(f"the account `{wrong[0]}` is not the sum of its debits")
        agreed = sum("agreed" in kinds for kinds in self.by_session.values())
        if agreed != seen:
            raise LedgerInvalid(f"the ledger tells of {agreed} agreed sessions, {seen} are there")


def _erased_sequences(sequence: int, body: bytes) -> frozenset[int]:
    content = canonical.decode(body)
    listed = content.get("sequences") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise LedgerInvalid(f"ledger entry {sequence} erases nothing that it names")
    return frozenset(item for item in listed if isinstance(item, int))


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
