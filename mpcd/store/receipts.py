"""Receipts as they are stored: one for each recorded session, in the commit that stores its sealed result."""

from __future__ import annotations

import sqlite3
from typing import Final

from mpcd import canonical
from mpcd.ids import SessionId

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE receipt (
        session BLOB PRIMARY KEY REFERENCES session (session),
        at INTEGER NOT NULL,
        signed BLOB NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX receipt_by_time ON receipt (at)",
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
