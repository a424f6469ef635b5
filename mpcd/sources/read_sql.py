"""How files become a relation of text columns in DuckDB: explicit options, nothing sniffed."""

# ruff: noqa: S608  every identifier and literal goes through `quoted`, `literal` or `number`

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from mpcd.errors import DataInvalid
from mpcd.sources.convert_sql import literal, quoted

_DELIMITERS: Final = (",", ";", "\t", "|")


class FileProblem(DataInvalid):
    """A file that cannot be read as what it should be; the text is for its operator."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One file: a FROM item, and the names of its columns."""

    path: Path
    sql: str
    columns: tuple[str, ...]

    def select(self, names: Sequence[str]) -> str:
        """These columns as text, in this order."""
        fields = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in names)
        return f"SELECT {fields} FROM {self.sql}"


def relation(connection: duckdb.DuckDBPyConnection, path: Path, kind: str, delimiter: str) -> Relation:
    """The relation of one file; raises `FileProblem`."""
    if kind == "parquet":
        return _parquet(connection, path)
    names = _header(path, delimiter)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    options = (
        f"auto_detect = false, header = true, delim = {literal(delimiter)}, quote = '\"', escape = '\"', "
        f"strict_mode = true, null_padding = false, ignore_errors = false, columns = {{{columns}}}"
    )
    return Relation(path, f"read_csv({literal(_name(path))}, {options})", names)


def _name(path: Path) -> str:
    """The path as the reader takes it: characters that would be a pattern stand for themselves."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def other_delimiter(file: Relation, delimiter: str, wanted: Collection[str] | None = None) -> str | None:
    """The delimiter that the header of a CSV file speaks for, if it is another than the one in use.

    Args:
        file: as it was read.
        delimiter: in use.
        wanted: names of columns; another delimiter must find more of them.  Without, it must split what is one column.
    """
    if wanted is None and len(file.columns) > 1:
        return None
    found = 1 if wanted is None else len(set(wanted) & set(file.columns))
    best = None
    for other in _DELIMITERS:
        try:
            names = _header(file.path, other)
        except FileProblem:
            continue
        count = len(names) if wanted is None else len(set(wanted) & set(names))
        if other != delimiter and count > found:
            best, found = other, count
    return best


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file, delimiter=delimiter, strict=True), None)
    except OSError as error:
        raise FileProblem(f"{path.name}: cannot be read: {(error.strerror or '').lower()}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileProblem(f"{path.name}: the header cannot be read as UTF-8 CSV") from error
    if not first or not all(first):
        raise FileProblem(f"{path.name}: the first line must name every column")
    if len({name.casefold() for name in first}) != len(first):
        raise FileProblem(f"{path.name}: two columns have the same name")
    return tuple(first)


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> Relation:
    sql = f"read_parquet({literal(_name(path))})"
    try:
        found = connection.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()
    except duckdb.Error as error:
        raise FileProblem(f"{path.name}: cannot be read as Parquet") from error
    return Relation(path, sql, tuple(str(row[0]) for row in found))
