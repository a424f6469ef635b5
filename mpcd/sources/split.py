"""Split one file among hospitals, for trying things out (runs in the import child).

By row, round robin: row r (from 0) goes to hospital r mod n.  Or by the values of a column: all rows of one value go to
one hospital, the values taken from the most rows to the fewest (ties by value, missing last), each to the hospital that
has the fewest rows so far (ties to the lowest number).  Both depend on the file alone.
"""

# ruff: noqa: S608  every identifier and literal goes through `quoted`, `literal` or `number`

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from mpcd.sources.convert_sql import literal, quoted
from mpcd.sources.read_sql import FileProblem, Relation
from mpcd.sources.tables import PARQUET_ENDINGS


def balance(groups: Sequence[tuple[str | None, int]], hospitals: int) -> list[list[str | None]]:
    """Which values go to which hospital."""
    order = sorted(groups, key=lambda group: (-group[1], group[0] is None, group[0] or ""))
    sizes = [0] * hospitals
    places: list[list[str | None]] = [[] for _ in range(hospitals)]
    for value, count in order:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += count
        places[smallest].append(value)
    return places


def split(
    database: duckdb.DuckDBPyConnection, file: Relation, outputs: Sequence[Path], by: str | None, delimiter: str
) -> list[int]:
    """Write one file per hospital, with the same columns and the rows in their order; returns their numbers of rows."""
    hospitals = len(outputs)
    if by is not None and by not in file.columns:
        raise FileProblem(f"{file.path.name} has no column {by!r} to split by")
    names = ", ".join(map(quoted, file.columns))
    place = f"(ROW_NUMBER() OVER () - 1) % {hospitals}"
    if by is not None:
        groups = database.execute(
            f"SELECT CAST({quoted(by)} AS VARCHAR) AS v, COUNT(*) FROM {file.sql} GROUP BY ALL"
        ).fetchall()
        branches = " ".join(
            f"WHEN CAST({quoted(by)} AS VARCHAR) IS NOT DISTINCT FROM {'NULL' if value is None else literal(value)} "
            f"THEN {hospital}"
            for hospital, values in enumerate(balance(groups, hospitals))
            for value in values
        )
        place = f"CASE {branches or 'WHEN TRUE THEN 0'} END"
    database.execute(
        f"CREATE TEMP TABLE parts AS SELECT *, {place} AS {quoted(' place')} FROM (SELECT {names} FROM {file.sql})"
    )
    counts = []
    for hospital, path in enumerate(outputs):
        rows = f"SELECT {names} FROM parts WHERE {quoted(' place')} = {hospital} ORDER BY rowid"
        options = (
            "FORMAT parquet"
            if path.suffix.lower() in PARQUET_ENDINGS
            else f"FORMAT csv, HEADER, DELIMITER {literal(delimiter)}"
        )
        found = database.execute(f"COPY ({rows}) TO {literal(str(path))} ({options})").fetchone()
        assert found is not None
        counts.append(int(found[0]))
    return counts
