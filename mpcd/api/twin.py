"""A synthetic twin: made-up rows of the right form, from what `describe` says and nothing else (layer 12, no I/O).

No row, count or distribution of any hospital goes into it: every column is drawn by itself, evenly over what the
dictionary says that it may hold.  So it tells nothing, and answers nothing about the world; it is there to see whether
a query is accepted, what its result looks like, and what a script makes of it.

Drawing is deterministic: the same seed gives the same rows, on every system.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from mpcd.api.catalogue import maps
from mpcd.api.types import Map
from mpcd.errors import RequestInvalid

NULL_ONE_IN: Final = 20
"""How often a value is missing, where it may be."""
ROWS_MAX: Final = 1_000_000
_EPOCH: Final = dt.date(1970, 1, 1)
_VISITS: Final = 3
"""Rows of one person on the average, where persons have ids."""


class Stream:
    """Numbers that follow from a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._block = 0
        self._words: Iterator[bytes] = iter(())

    def below(self, bound: int) -> int:
        """The next number from 0 to `bound` - 1; even enough for made-up data."""
        for word in self._words:
            return int.from_bytes(word, "big") % bound
        self._block += 1
        data = hashlib.shake_256(f"mpcd twin/{self._block}/{self._seed}".encode()).digest(64 * 512)
        self._words = iter([data[place : place + 64 // 4] for place in range(0, len(data), 64 // 4)])
        return self.below(bound)


def csv_of(table: Map, *, rows: int, seed: str, part: int = 0) -> str:
    """One hospital's made-up rows of a described table, as CSV.

    Args:
        table: of `catalogue.merged`.
        rows: how many.
        seed: of all numbers.
        part: which hospital; other hospitals have other rows and other persons.

    Raises:
        RequestInvalid: more rows than `ROWS_MAX`, or a description without columns.
    """
    if not 0 < rows <= ROWS_MAX:
        raise RequestInvalid(f"a twin has 1 to {ROWS_MAX} rows")
    columns = maps(table, "columns")
    if not columns:
        raise RequestInvalid("the description shows no column of this table to you")
    stream = Stream(f"{seed}/{show(table.get('name'))}/{part}")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([str(column.get("name")) for column in columns])
    for row in range(rows):
        writer.writerow([_value(column, stream, row, rows, part) for column in columns])
    return out.getvalue()


def _value(column: Map, stream: Stream, row: int, rows: int, part: int) -> str:
    kind = column.get("type")
    if kind == "person_id":
        person = row if column.get("unique") is True else stream.below(max(1, rows // _VISITS))
        return f"twin-{part}-{person}"
    if column.get("nullable") is True and stream.below(NULL_ONE_IN) == 0:
        missing = column.get("missing")
        return str(missing[0]) if isinstance(missing, list) and missing else ""
    if kind == "boolean":
        return "true" if stream.below(2) else "false"
    levels = column.get("levels")
    if kind == "dictionary" and isinstance(levels, list) and levels:
        return str(levels[stream.below(len(levels))])
    return _number(column, stream, row)


def _number(column: Map, stream: Stream, row: int) -> str:
    bounds = column.get("bounds")
    low, high = bounds if isinstance(bounds, list) and len(bounds) == 2 else (0, 0)
    if not isinstance(low, int) or not isinstance(high, int):
        raise RequestInvalid("the description has no bounds of a column")
    span = high - low + 1
    stored = low + (row % span if column.get("unique") is True else stream.below(span))
    if column.get("type") == "date":
        return str(_EPOCH + dt.timedelta(days=stored))
    decimals = column.get("decimals")
    return str(Decimal(stored).scaleb(-decimals)) if isinstance(decimals, int) and decimals else str(stored)


def schema_text(tables: list[Map], hospitals: int) -> str:
    """The tables as a roster writes them, so that a sandbox takes them as they are and guesses nothing."""
    lines = ["# Made by `mpcctl twin` from what the owners describe; for `mpcctl sandbox up --schema`."]
    for table in tables:
        lines += [
            "",
            "[[table]]",
            f"name = {json.dumps(table.get('name'))}",
            f"rows_max = {show(table.get('rows_max'))}",
        ]
        lines += [f"{key} = {_truth(table.get(key))}" for key in ("rows_disjoint", "persons_disjoint")]
        if isinstance(table.get("person_id"), str):
            lines.append(f"person_id = {json.dumps(table.get('person_id'))}")
        lines.append(f"owners = {list(range(hospitals))}")
        for column in maps(table, "columns"):
            lines += ["", *_column_lines(column)]
    return "\n".join(lines) + "\n"


def _column_lines(column: Map) -> list[str]:
    kind, decimals = column.get("type"), column.get("decimals")
    lines = ["[[table.column]]", f"name = {json.dumps(column.get('name'))}", f'type = "{show(kind)}"']
    if kind == "decimal":
        lines.append(f"decimals = {show(decimals)}")
    bounds = column.get("bounds")
    if kind in {"integer", "decimal", "date"} and isinstance(bounds, list):
        lines.append(f"bounds = [{', '.join(_bound(column, bound) for bound in bounds)}]")
    for name in ("levels", "missing"):
        texts = column.get(name)
        if isinstance(texts, list) and texts:
            lines.append(f"{name} = {json.dumps(texts, ensure_ascii=False)}")
    noted = [name for name in ("unit", "event_level") if column.get(name)]
    lines += [f"{name} = {json.dumps(column.get(name), ensure_ascii=False)}" for name in noted]
    nullable = column.get("nullable") is True and not column.get("missing")
    lines += ["nullable = true"] if nullable else []
    lines += ["unique = true"] if column.get("unique") is True else []
    return lines


def _bound(column: Map, stored: object) -> str:
    assert isinstance(stored, int)
    if column.get("type") == "date":
        return str(_EPOCH + dt.timedelta(days=stored))
    decimals = column.get("decimals")
    return str(Decimal(stored).scaleb(-decimals)) if isinstance(decimals, int) and decimals else str(stored)


def show(value: object) -> str:
    """Text or a number as it is written; nothing else occurs where it is used."""
    return str(value) if isinstance(value, (str, int)) else ""


def _truth(value: object) -> str:
    return "true" if value is True else "false"
