"""The tables, their version, and the steps from one version to the next (SQLite).

`user_version` holds the schema's version, `application_id` says that the file is ours.  `MIGRATIONS[v]` takes a file
of version v to v + 1; opening runs what is missing, all in one transaction, and refuses a file of a later version.  A
migration never rewrites `entry`: the chain is over what was written at the time.

Each domain keeps its tables in a module of its own (`TABLES`, CREATE statements); `_DOMAINS` lists the modules, and
version 2 is their tables in that order; such a module imports `ledger` (for `Append`), never `store`.  Once a version
was released, a table changes by a further migration only.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Protocol

from mpcd.errors import StoreFailed
from mpcd.store import access, accounts, approvals, data, heads, history, ledger, licences, receipts, segments


class _Domain(Protocol):
    """A module of `mpcd.store` that owns tables."""

    @property
    def TABLES(self) -> tuple[str, ...]: ...  # noqa: N802 - a module's constant, not a method


_DOMAINS: Final[tuple[_Domain, ...]] = (
    ledger,
    segments,
    heads,
    receipts,
    access,
    approvals,
    accounts,
    licences,
    history,
    data,
)
"""Modules whose tables make version 2, those that others refer to first."""

APPLICATION_ID: Final = 0x6D706364
"""The letters `mpcd`."""

_VERSION_1: Final = (
    # One row: the identity of this ledger, how long it is, and its last hash.  `count` is what truncation is found by.
    """CREATE TABLE head (
        place INTEGER PRIMARY KEY CHECK (place = 0),
        ledger_id BLOB NOT NULL,
        count INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT""",
    # The chain.  Only commitments: nothing readable about a request stands here.
    """CREATE TABLE entry (
        sequence INTEGER PRIMARY KEY,
        time_milliseconds INTEGER NOT NULL,
        kind TEXT NOT NULL,
        session BLOB,
        commitment BLOB NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX entry_by_session ON entry (session, sequence) WHERE session IS NOT NULL",
    # What the commitments are to; salt and body go together when they are erased, and `erased_by` names the entry
    # that says so.
    """CREATE TABLE content (
        sequence INTEGER PRIMARY KEY REFERENCES entry (sequence),
        salt BLOB,
        body BLOB,
        erased_by INTEGER REFERENCES entry (sequence),
        CHECK ((salt IS NULL) = (body IS NULL) AND (salt IS NULL) = (erased_by IS NOT NULL))
    ) STRICT""",
    # Requests that were used.  Rows go once no request with such an expiry can be valid; `pruned` remembers how far
    # that went.
    """CREATE TABLE nonce (
        analyst BLOB NOT NULL,
        nonce BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (analyst, nonce)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX nonce_by_expiry ON nonce (expires_at)",
    """CREATE TABLE pruned (
        place INTEGER PRIMARY KEY CHECK (place = 0),
        expires_at INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO pruned VALUES (0, -1)",
    """CREATE TABLE session (
        session BLOB PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('agreed', 'recorded', 'released', 'aborted', 'withheld')),
        request_digest BLOB NOT NULL,
        plan_hash BLOB NOT NULL,
        analyst BLOB NOT NULL,
        agreed_milliseconds INTEGER NOT NULL,
        changed_milliseconds INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX session_by_request ON session (request_digest)",
    "CREATE INDEX session_open ON session (state) WHERE state IN ('agreed', 'recorded')",
    """CREATE TABLE sealed (
        session BLOB PRIMARY KEY REFERENCES session (session),
        release BLOB NOT NULL,
        digest BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE account (
        account TEXT PRIMARY KEY,
        spent INTEGER NOT NULL CHECK (spent >= 0)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE debit (
        session BLOB NOT NULL REFERENCES session (session),
        account TEXT NOT NULL REFERENCES account (account),
        amount INTEGER NOT NULL CHECK (amount >= 0),
        refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded IN (0, 1)),
        PRIMARY KEY (session, account)
    ) STRICT, WITHOUT ROWID""",
)

_VERSION_2: Final = tuple(statement for domain in _DOMAINS for statement in domain.TABLES)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1, _VERSION_2)
"""Statements that take version `index` to `index + 1`."""

VERSION: Final = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the open file to `VERSION`; the caller holds the transaction.

    Returns:
        The version that was found; 0 for a new file.

    Raises:
        StoreFailed: not our file, or from a later version of mpcd.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if owner not in {0, APPLICATION_ID} or (owner == 0 and found != 0):
        raise StoreFailed("the state file belongs to another program; point the state directory elsewhere")
    if owner == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise StoreFailed("the state file belongs to another program; point the state directory elsewhere")
    if found > VERSION:
        raise StoreFailed(
            f"the state was written by a later version of mpcd (schema {found}, this one knows {VERSION}); upgrade mpcd"
        )
    for step in MIGRATIONS[found:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    return found
