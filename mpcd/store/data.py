"""Which versions of this owner's tables answered requests, and which may no more (functions over a connection).

The files themselves say what is here and which version is in use (`mpcd.sources.snapshot`); here stands what must be in
one transaction with its ledger entry.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from mpcd.ids import DataVersion

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE data_version (
        table_name TEXT NOT NULL,
        version TEXT NOT NULL,
        published_milliseconds INTEGER,
        retired_milliseconds INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (table_name, version)
    ) STRICT, WITHOUT ROWID""",
)


def publish(connection: sqlite3.Connection, table: str, version: DataVersion, at: int) -> None:
    """A version answers requests from now on (milliseconds since 1970); one that was retired is so no longer."""
    connection.execute(
        "INSERT INTO data_version VALUES (?, ?, ?, NULL, '') ON CONFLICT DO UPDATE "
        "SET published_milliseconds = excluded.published_milliseconds, retired_milliseconds = NULL, reason = ''",
        (table, version, at),
    )


def note(connection: sqlite3.Connection, table: str, version: DataVersion, at: int) -> None:
    """A version is in use that was published before there was a daemon to write it down."""
    connection.execute("INSERT OR IGNORE INTO data_version VALUES (?, ?, ?, NULL, '')", (table, version, at))


def retire(connection: sqlite3.Connection, table: str, version: DataVersion, at: int, reason: str) -> None:
    """No new session uses a version any more."""
    connection.execute(
        "INSERT INTO data_version VALUES (?, ?, NULL, ?, ?) ON CONFLICT DO UPDATE "
        "SET retired_milliseconds = excluded.retired_milliseconds, reason = excluded.reason",
        (table, version, at, reason),
    )


def retired(connection: sqlite3.Connection) -> dict[tuple[str, DataVersion], tuple[int, str]]:
    """When and why, by table and version."""
    rows = connection.execute(
        "SELECT table_name, version, retired_milliseconds, reason FROM data_version "
        "WHERE retired_milliseconds IS NOT NULL"
    )
    return {(table, DataVersion(version)): (at, reason) for table, version, at, reason in rows}


def published(connection: sqlite3.Connection, table: str) -> dict[DataVersion, int]:
    """When each version of a table that ever answered requests began to, last."""
    rows = connection.execute(
        "SELECT version, published_milliseconds FROM data_version "
        "WHERE table_name = ? AND published_milliseconds IS NOT NULL",
        (table,),
    )
    return {DataVersion(version): at for version, at in rows}
