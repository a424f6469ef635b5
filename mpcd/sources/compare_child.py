"""Two snapshots of one table: how many persons' rows differ (in the import child).

A person differs if the rows under the person's id are not the same rows, as often, in both; a table without person ids
counts rows, and a changed row once: the larger of how many only the one has and how many only the other, since nothing
tells which of them belong together.  That is the least number of persons who can have changed, so a rule that wants
many errs to the safe side.  Between two definitions of a table only the columns are compared that both have.
"""

# ruff: noqa: S608  every identifier and literal goes through `quoted` or `literal`

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from mpcd.sources.convert_sql import literal, quoted
from mpcd.sources.snapshot import PERSON_INDEX, ROWS


def changed(database: duckdb.DuckDBPyConnection, new: Path, old: Path, person: str | None) -> int:
    """How many persons differ between two snapshot files.

    Args:
        database: in memory, with nothing attached under these names.
        new: one snapshot.
        old: the other.
        person: the person id's column, None where a row is a person.
    """
    for name, path in (("new", new), ("old", old)):
        database.execute(f"ATTACH {literal(str(path))} AS {quoted(name)} (READ_ONLY)")
    try:
        shared = [name for name in _columns(database, "new") if name in set(_columns(database, "old"))]
        if not shared or (person is not None and person not in shared):
            return max(_count(database, f"SELECT COUNT(*) FROM {side}.{ROWS}") for side in ('"new"', '"old"'))
        return _differing(database, shared, person)
    finally:
        for name in ("new", "old"):
            database.execute(f"DETACH {quoted(name)}")


def _differing(database: duckdb.DuckDBPyConnection, columns: Sequence[str], person: str | None) -> int:
    fields = ", ".join(map(quoted, columns))
    new, old = (f'SELECT {fields} FROM "{side}".{ROWS}' for side in ("new", "old"))
    only_new, only_old = f"({new} EXCEPT ALL {old})", f"({old} EXCEPT ALL {new})"
    if person is not None:
        either = f"SELECT {quoted(person)} AS p FROM {only_new} UNION ALL SELECT {quoted(person)} AS p FROM {only_old}"
        return _count(database, f"SELECT COUNT(DISTINCT p) FROM ({either})")
    return max(_count(database, f"SELECT COUNT(*) FROM {side}") for side in (only_new, only_old))


def _columns(database: duckdb.DuckDBPyConnection, side: str) -> list[str]:
    found = database.execute(f"DESCRIBE SELECT * FROM {quoted(side)}.{ROWS}").fetchall()
    return [str(row[0]) for row in found if row[0] != PERSON_INDEX]


def _count(database: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = database.execute(sql).fetchone()
    assert row is not None
    return int(row[0])
