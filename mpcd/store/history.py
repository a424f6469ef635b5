"""Which sets of persons sessions were about (shell; functions over a connection, in a caller's transaction).

A definition (`mpcd.governance.history`) stays as long as a session with it does.  A session that aborts loses its row
in the very transaction that says so, by a trigger: whoever wrote that transaction, a restart included, cannot forget
it.  Once a session is recorded, older recorded ones with the same definition need no rows of their own.

Beside each session stands the signed request that it came from: it is what vouches for the definition where another
owner lacks it.  That we agreed to a definition once is kept for good, by digest, whatever became of the session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from mpcd.errors import Bug
from mpcd.governance import history
from mpcd.governance.history import Definition, Kept
from mpcd.ids import SessionId

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE definition (
        digest BLOB PRIMARY KEY,
        body BLOB NOT NULL,
        first INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE definition_table (
        digest BLOB NOT NULL REFERENCES definition (digest) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (digest, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE definition_session (
        session BLOB PRIMARY KEY REFERENCES session (session),
        digest BLOB NOT NULL REFERENCES definition (digest) ON DELETE CASCADE,
        analyst BLOB NOT NULL,
        at_milliseconds INTEGER NOT NULL,
        request BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE definition_answered (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE INDEX definition_session_by_digest ON definition_session (digest, at_milliseconds)",
    """CREATE TRIGGER definition_of_aborted AFTER UPDATE OF state ON session WHEN NEW.state = 'aborted' BEGIN
        DELETE FROM definition_session WHERE session = NEW.session;
        DELETE FROM definition WHERE digest NOT IN (SELECT digest FROM definition_session);
    END""",
)


def remember(
    connection: sqlite3.Connection, session: SessionId, definition: Definition, kept: Kept, request: bytes
) -> None:
    """Keep a definition, and the signed request, with the session that is being agreed on.

    Raises:
        Bug: it has another place in the order already: whoever gave it this one did not know of it.
    """
    row = connection.execute("SELECT first FROM definition WHERE digest = ?", (kept.digest,)).fetchone()
    if row is None:
        connection.execute("INSERT INTO definition VALUES (?, ?, ?)", (kept.digest, definition.body, kept.first))
        names = [(kept.digest, name) for name in sorted(kept.tables)]
        connection.executemany("INSERT INTO definition_table VALUES (?, ?)", names)
    elif row[0] != kept.first:
        raise Bug("a question has two places in the order of all questions")
    values = (session, kept.digest, kept.analyst, kept.at, request)
    connection.execute("INSERT INTO definition_session VALUES (?, ?, ?, ?, ?)", values)
    connection.execute("INSERT OR IGNORE INTO definition_answered VALUES (?)", (kept.digest,))


def settle(connection: sqlite3.Connection, session: SessionId) -> None:
    """A session is recorded: older rows of its definition go, and definitions for which there is no more room."""
    connection.execute(
        "DELETE FROM definition_session WHERE session <> :session "
        "AND digest = (SELECT digest FROM definition_session WHERE session = :session) "
        "AND at_milliseconds <= (SELECT at_milliseconds FROM definition_session WHERE session = :session) "
        "AND (SELECT state FROM session s WHERE s.session = definition_session.session) <> 'agreed'",
        {"session": session},
    )
    forgotten = [(digest,) for digest in history.too_many(kept(connection))]
    connection.executemany("DELETE FROM definition WHERE digest = ?", forgotten)


def kept(connection: sqlite3.Connection) -> list[Kept]:
    """All definitions of sessions that were not aborted."""
    tables: dict[bytes, set[str]] = {}
    for digest, name in connection.execute("SELECT digest, name FROM definition_table"):
        tables.setdefault(digest, set()).add(name)
    # SQLite gives the other columns of the row that has the maximum.
    rows = connection.execute(
        "SELECT digest, analyst, max(at_milliseconds), first FROM definition_session JOIN definition USING (digest) "
        "GROUP BY digest"
    )
    return [Kept(digest, frozenset(tables[digest]), analyst, at, first) for digest, analyst, at, first in rows]


def bodies(connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Canonical bytes of those of these definitions that are here, and of the newest signed request of each."""
    found = {}
    for digest in digests:
        row = connection.execute(
            "SELECT body, request FROM definition JOIN definition_session USING (digest) WHERE digest = ? "
            "ORDER BY at_milliseconds DESC LIMIT 1",
            (digest,),
        ).fetchone()
        if row is not None:
            found[digest] = (row[0], row[1])
    return found


def answered(connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Those of these definitions that we ever agreed to be asked about."""
    known = "SELECT 1 FROM definition_answered WHERE digest = ?"
    return {digest for digest in digests if connection.execute(known, (digest,)).fetchone() is not None}
