"""Receipts as they are stored: one for each recorded session, in the commit that stores its sealed result.

Corrections stand beside them: signed, never instead of a receipt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from mpcd import canonical
from mpcd.errors import StoreFailed
from mpcd.ids import SessionId

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE receipt (
        session BLOB PRIMARY KEY REFERENCES session (session),
        at INTEGER NOT NULL,
        signed BLOB NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX receipt_by_time ON receipt (at)",
    """CREATE TABLE correction (
        name BLOB PRIMARY KEY,
        month TEXT NOT NULL,
        at INTEGER NOT NULL,
        correction BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX correction_by_month ON correction (month)",
)


def digest(signed: bytes) -> bytes:
    """Of a signed receipt, as the entry `recorded` names it."""
    return canonical.digest_bytes("ledger-receipt", signed)


def insert(connection: sqlite3.Connection, session: SessionId, at: int, signed: bytes) -> None:
    """Store the signed receipt of a session that is being recorded.

    Args:
        connection: inside the transaction that records the session.
        session: whose receipt it is.
        at: the session's time, milliseconds since 1970.
        signed: canonical bytes of `governance.receipt.SignedReceipt`.
    """
    connection.execute("INSERT INTO receipt VALUES (?, ?, ?, ?)", (session, at, signed, digest(signed)))


_COLUMNS: Final = (
    "SELECT r.signed, r.digest, s.state FROM receipt r JOIN session s ON s.session = r.session "
    "WHERE r.at >= ? AND r.at < ? ORDER BY r.at, r.session"
)


def between(connection: sqlite3.Connection, first: int, end: int) -> Iterator[tuple[bytes, str]]:
    """Signed receipts of sessions with `first <= at < end`, each with its session's state, in order of time.

    Raises:
        StoreFailed: a receipt is not the one that was recorded.
    """
    for signed, named, state in connection.execute(_COLUMNS, (first, end)):
        yield _unchanged(signed, named), state


def of_session(connection: sqlite3.Connection, session: SessionId) -> bytes | None:
    """The signed receipt of one session, if it has one here; raises `StoreFailed` if it was changed."""
    row = connection.execute("SELECT signed, digest FROM receipt WHERE session = ?", (session,)).fetchone()
    return None if row is None else _unchanged(*row)


def _unchanged(signed: bytes, named: bytes) -> bytes:
    if digest(signed) != named:
        raise StoreFailed("a receipt was changed on the disk; restore the state file from a backup")
    return signed


# ------------------------------------------------------------------------------------------------ corrections


def insert_correction(connection: sqlite3.Connection, month: str, at: int, correction: bytes) -> bool:
    """Keep a correction, ours or a peer's; False if it is here already.

    Args:
        connection: inside a transaction.
        month: that it is about, `2026-11`.
        at: when it was signed, milliseconds since 1970.
        correction: canonical bytes of `governance.statement.Correction`.
    """
    name = canonical.digest_bytes("correction-name", correction)
    done = connection.execute("INSERT OR IGNORE INTO correction VALUES (?, ?, ?, ?)", (name, month, at, correction))
    return done.rowcount == 1


def corrections(connection: sqlite3.Connection, month: str) -> list[bytes]:
    """The corrections of one month, in order of time."""
    rows = connection.execute("SELECT correction FROM correction WHERE month = ? ORDER BY at, name", (month,))
    return [row[0] for row in rows]
