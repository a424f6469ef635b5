"""The engine child: read-only snapshots, one generated statement at a time (run with `python -m`).

    open       {tables: [[catalog, path]...], memory_bytes, threads}     attach every snapshot, then lock the door
    aggregate  {sql, columns}                                            -> {rows, data: little-endian int64 by column}
    hold, sets, differences                                              see `sets_child`

After `open` the database can reach no file but the attached snapshots, load nothing, and change none of its settings
(verified in the tests: reading and writing files, ATTACH, COPY, SET, INSTALL and LOAD all fail).  The text comes from
`generate_duckdb` alone; the door is locked all the same.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from mpcd.sources import child_side
from mpcd.sources.sets_child import Sets

CONFIGURATION: Final = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "max_temp_directory_size": "0B",
}
"""Of an in-memory database; external access is closed after the snapshots are attached, and never opens again."""


def connect(tables: list[tuple[str, str]], memory_bytes: int, threads: int) -> duckdb.DuckDBPyConnection:
    """A connection that sees these snapshots and nothing else; `tables` are (catalog, path)."""
    settings = {**CONFIGURATION, "memory_limit": f"{memory_bytes}B", "threads": str(threads)}
    connection = duckdb.connect(":memory:", config=dict(settings))
    for catalog, path in tables:
        name = '"' + catalog.replace('"', '""') + '"'
        connection.execute(f"ATTACH {literal(path)} AS {name} (READ_ONLY)")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def literal(text: str) -> str:
    """A string literal, whatever characters it has."""
    return "'" + text.replace("'", "''") + "'"


class _Engine:
    """The one connection of this process."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._sets = Sets()

    def open(self, request: dict[str, object]) -> object:
        """Attach the snapshots; once per process."""
        if self._connection is not None:
            raise RuntimeError("open")
        match request:
            case {"tables": list(tables), "memory_bytes": int(memory), "threads": int(threads)}:
                pairs = [(str(catalog), str(path)) for catalog, path in tables]
                self._connection = connect(pairs, memory, threads)
                return None
            case _:
                raise ValueError("open")

    def aggregate(self, request: dict[str, object]) -> object:
        """Run one statement whose columns are all BIGINT; NULL is 0 (a sum over no rows)."""
        if self._connection is None:
            raise RuntimeError("aggregate")
        match request:
            case {"sql": str(sql), "columns": int(count)}:
                found = list(self._connection.execute(sql).fetchnumpy().values())
            case _:
                raise ValueError("aggregate")
        return packed(found, count)

    def hold(self, request: dict[str, object]) -> object:
        """See `sets_child`."""
        match request:
            case {"families": list(keys)}:
                return self._sets.hold([bytes(key) for key in keys])
            case _:
                raise ValueError("hold")

    def sets(self, request: dict[str, object]) -> object:
        """See `sets_child`."""
        if self._connection is None:
            raise RuntimeError("sets")
        match request:
            case {"relation": bytes(relation), "sql": str(sql), "ids": int(ids), "families": list(families)}:
                named = [(bytes(key), int(cells)) for key, cells in families]
                self._sets.load(self._connection, relation, sql, ids, named)
                return None
            case _:
                raise ValueError("sets")

    def differences(self, request: dict[str, object]) -> object:
        """See `sets_child`."""
        match request:
            case {
                "threshold": int(threshold),
                "families": list(keys),
                "sides": list(sides),
                "pairs": bytes(pairs),
                "by_rows": bytes(by_rows),
            }:
                found = self._sets.differences(
                    threshold,
                    keys,
                    [(int(family), None if cells is None else _numbers(cells)) for family, cells in sides],
                    _numbers(pairs).reshape(-1, 2),
                    np.frombuffer(by_rows, dtype=np.bool_),
                )
                return found.astype("<i8").tobytes()
            case _:
                raise ValueError("differences")


def _numbers(data: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(data, dtype="<i4").astype(np.int64)


def packed(columns: list[npt.NDArray[np.generic]], count: int) -> dict[str, object]:
    """The columns of an answer as bytes, after a check that they are what the parent will read."""
    if len(columns) != count or any(column.dtype != np.int64 for column in columns):
        raise TypeError("columns")
    data = b"".join(np.asarray(np.ma.filled(column, 0), dtype="<i8").tobytes() for column in columns)
    return {"rows": len(columns[0]), "data": data}


def main() -> None:
    """Serve until the parent closes the pipe."""
    engine = _Engine()
    handlers = {"open": engine.open, "aggregate": engine.aggregate}
    handlers |= {"hold": engine.hold, "sets": engine.sets, "differences": engine.differences}
    child_side.serve(handlers)


if __name__ == "__main__":
    main()
