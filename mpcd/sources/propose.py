"""Propose the roster's columns from data, for trying things out (runs in the import child).

A proposal looks at all rows, so its bounds and levels tell something about them: it is for one machine, or for a data
set that its owner may show.  A consortium writes its roster from the protocol of its study, not from the data.
"""

# ruff: noqa: S608  every identifier and literal goes through `quoted`, `literal` or `number`

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from mpcd import limits
from mpcd.roster.model import BOUND_MAX
from mpcd.sources.convert_sql import ISO_DATE, NUMBER, literal, quoted, scale_needed
from mpcd.sources.read_sql import FileProblem, Relation, other_delimiter, relation

MISSING_CODES: Final = ("NA", "N/A", "NaN", "nan", "NULL", "null", ".")
"""Texts that are taken as NULL, each said in a note.  `None` is not among them: it is the name of a level too often."""
_PERSON: Final = re.compile(r"person.*|patient.*|rid|id|.*_id", re.IGNORECASE)
_PERSON_ALWAYS: Final = re.compile(r"person.*|patient.*", re.IGNORECASE)
_FEW_LEVELS: Final = 20
"""So many different texts are a dictionary even if no text repeats."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What all rows of a column say."""

    name: str
    rows: int
    empty: int
    present: int
    distinct: int
    numbers: int
    scale: int
    low: str
    """Lowest and highest number, as decimal text with nine decimals."""
    high: str
    dates: int
    first: int
    last: int
    booleans: int
    missing: Mapping[str, int]
    """Codes that are taken as NULL, and how often each is there."""


def friendly(low: int, high: int) -> tuple[int, int]:
    """Round bounds outwards: to multiples of the next 1, 2 or 5 times a power of ten above their distance.

    Single digits are friendly as they are: a score from 0 to 3 keeps its four values.
    """
    assert low <= high
    if max(-low, high) <= 10:
        return low, high
    step = 1
    while not any(multiple * step >= high - low for multiple in (1, 2, 5)):
        step *= 10
    step *= next(multiple for multiple in (1, 2, 5) if multiple * step >= high - low)
    return low // step * step, -(-high // step) * step


def one_file(database: duckdb.DuckDBPyConnection, path: Path, kind: str, delimiter: str) -> Relation:
    """A file to propose from or to split; raises `FileProblem`, also if it seems to be separated in another way."""
    file = relation(database, path, kind, delimiter)
    if kind == "csv" and (other := other_delimiter(file, delimiter)) is not None:
        raise FileProblem(
            f"{path.name} seems to be separated by {json.dumps(other)}; it is read here only if it is separated by "
            f"{json.dumps(delimiter)} or is Parquet"
        )
    return file


def columns(database: duckdb.DuckDBPyConnection, paths: Sequence[Path], kind: str, delimiter: str) -> dict[str, object]:
    """Columns in the files' order, the person id, notes about what was left out, and the number of rows per file."""
    files = [one_file(database, path, kind, delimiter) for path in paths]
    names = [name for name in files[0].columns if all(name in file.columns for file in files)]
    notes = [f"column {n}: not in every file; left out" for file in files for n in file.columns if n not in names]
    union = " UNION ALL ".join(f"({file.select(names)})" for file in files)
    database.execute(f"CREATE TEMP TABLE texts AS {union}")
    facts = [_facts(database, name) for name in names]
    person = _person(facts)
    proposed: list[dict[str, object]] = []
    rounded: list[str] = []
    for fact in facts:
        notes += [
            f"column {fact.name}: the text {code} stands for a missing value in {count} row{'' if count == 1 else 's'}"
            for code, count in fact.missing.items()
        ]
        column = _person_column(fact) if fact.name == person else _column(database, fact)
        if isinstance(column, str):
            notes.append(f"column {fact.name}: {column}; left out")
            continue
        if column.pop("rounded", False):
            rounded.append(fact.name)
            notes.append(f"column {fact.name}: too many decimals; values are rounded to {column['decimals']}")
        proposed.append(column)
    rows = [_count(database, file) for file in files]
    return {
        "columns": proposed,
        "person_id": person,
        "rounded": rounded,
        "notes": list(dict.fromkeys(notes)),
        "rows": rows,
    }


def _count(database: duckdb.DuckDBPyConnection, file: Relation) -> int:
    row = database.execute(f"SELECT COUNT(*) FROM {file.sql}").fetchone()
    assert row is not None
    return int(row[0])


def _facts(database: duckdb.DuckDBPyConnection, name: str) -> _Facts:
    codes = ", ".join(map(literal, MISSING_CODES))
    raw = f"NULLIF(TRIM({quoted(name)}), '')"
    number = f"regexp_full_match(t, {literal(NUMBER)})"
    value = f"CASE WHEN {number} THEN TRY_CAST(t AS DECIMAL(38,9)) END"
    day = f"CASE WHEN regexp_full_match(t, {literal(ISO_DATE)}) THEN TRY_CAST(substr(t, 1, 10) AS DATE) END"
    row = database.execute(
        f"""SELECT COUNT(*), COUNT(*) FILTER (WHERE raw IS NULL), COUNT(t), COUNT(DISTINCT t),
        COUNT({value}), COALESCE(MAX(CASE WHEN {number} THEN {scale_needed("t")} END), 0),
        CAST(MIN({value}) AS VARCHAR), CAST(MAX({value}) AS VARCHAR),
        COUNT({day}), COALESCE(MIN({day}) - DATE '1970-01-01', 0), COALESCE(MAX({day}) - DATE '1970-01-01', 0),
        COUNT(*) FILTER (WHERE lower(t) IN ('true', 'false')),
        histogram(raw) FILTER (WHERE raw IN ({codes}))
        FROM (SELECT raw, CASE WHEN raw IN ({codes}) THEN NULL ELSE raw END AS t
              FROM (SELECT {raw} AS raw FROM texts))"""
    ).fetchone()
    assert row is not None
    rows, empty, present, distinct, numbers, scale, low, high, dates, first, last, booleans, missing = row
    return _Facts(
        name=name,
        rows=rows,
        empty=empty,
        present=present,
        distinct=distinct,
        numbers=numbers,
        scale=scale,
        low=str(low),
        high=str(high),
        dates=dates,
        first=first,
        last=last,
        booleans=booleans,
        missing=missing or {},
    )


def _person(facts: Sequence[_Facts]) -> str | None:
    """The column that tells persons apart: person… or patient…, else a unique one called rid, id or …_id."""
    complete = [fact for fact in facts if fact.rows and fact.present == fact.rows and fact.scale == 0]
    for fact in complete:
        if _PERSON_ALWAYS.fullmatch(fact.name):
            return fact.name
    for fact in complete:
        if _PERSON.fullmatch(fact.name) and fact.distinct == fact.rows:
            return fact.name
    return None


def _person_column(fact: _Facts) -> dict[str, object]:
    return {"name": fact.name, "type": "person_id", "unique": fact.distinct == fact.rows}


def _column(database: duckdb.DuckDBPyConnection, fact: _Facts) -> dict[str, object] | str:
    """A column of the roster, or why there is none."""
    if not fact.present:
        return "it has no values"
    common: dict[str, object] = {"name": fact.name, "missing": sorted(fact.missing), "nullable": fact.empty > 0}
    if fact.booleans == fact.present:
        return {**common, "type": "boolean", "low": 0, "high": 1}
    if fact.dates == fact.present:
        low, high = friendly(fact.first, fact.last)
        return {**common, "type": "date", "low": low, "high": high}
    if fact.numbers == fact.present:
        return _number(fact, common)
    few = fact.distinct <= _FEW_LEVELS or 2 * fact.distinct <= fact.present
    if fact.distinct > limits.PROPOSED_LEVELS_MAX or not few:
        return f"free text ({fact.distinct} different values)"
    codes = ", ".join(map(literal, MISSING_CODES))
    found = database.execute(
        f"SELECT DISTINCT TRIM({quoted(fact.name)}) AS t FROM texts WHERE t <> '' AND t NOT IN ({codes}) ORDER BY 1"
    ).fetchall()
    levels = [str(level) for (level,) in found]
    return {**common, "type": "dictionary", "levels": levels, "low": 0, "high": len(levels) - 1}


def _number(fact: _Facts, common: dict[str, object]) -> dict[str, object] | str:
    decimals = min(fact.scale, limits.PROPOSED_DECIMALS_MAX)
    while True:
        low, high = friendly(_stored(fact.low, decimals, up=False), _stored(fact.high, decimals, up=True))
        if max(-low, high) <= BOUND_MAX:
            break
        if decimals == 0:
            return "numbers too large to be summed exactly"
        decimals -= 1
    return {
        **common,
        "type": "decimal" if decimals else "integer",
        "decimals": decimals,
        "low": low,
        "high": high,
        "rounded": decimals < fact.scale,
    }


def _stored(text: str, decimals: int, *, up: bool) -> int:
    """Decimal text with nine decimals as a stored form, rounded outwards."""
    billionths = int(text.replace(".", ""))
    unit: int = 10 ** (9 - decimals)
    return -(-billionths // unit) if up else billionths // unit
