"""Showing a table: text, JSON, CSV (layer 1, no I/O).

In every form a suppressed cell is something that no value and no NULL can look like:

=======  ======================  ==============================
form     NULL                    suppressed
=======  ======================  ==============================
text     ``NULL`` (text values   ``[suppressed: floor]``
         are shown in quotes
         where they could be
         mistaken)
JSON     ``null``                ``{"suppressed": "floor"}``
CSV      an empty field, not     ``<suppressed:floor>``, not
         quoted                  quoted
=======  ======================  ==============================

CSV quotes every text value, always, and nothing else; so a text that happens to read ``<suppressed:floor>`` is quoted
and the marker is not.  A reader that drops the quotes cannot tell them apart: for such readers
``csv_text(flags=True)`` adds a column per output, named ``<name> suppressed``, that holds the rule or nothing.

Numbers that carry noise have an interval: text ``12 [7, 17]``; JSON a list ``intervals`` beside ``rows``; CSV two
columns more, ``<name> low`` and ``<name> high``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import unicodedata
from decimal import Decimal
from typing import Final, Literal

from mpcd.results.table import NULL, RULES, Cell, Interval, NullType, ResultInfo, Suppressed, Table, Value

Align = Literal["left", "right"]
NUMERIC: Final = frozenset({"integer", "decimal", "double"})
_SIGNIFICANT_DIGITS: Final = 10


# ------------------------------------------------------------------------------------------------ text


def text_table(table: Table, info: ResultInfo | None = None, *, digits: int = _SIGNIFICANT_DIGITS) -> str:
    """A table for people, with notes below; `digits` are the significant digits of doubles."""
    heads = [_printable(column.name) for column in table.columns]
    aligns: list[Align] = ["right" if column.type.name in NUMERIC else "left" for column in table.columns]
    body = [[_text(cell, digits) for cell in row] for row in table.rows]
    for shown, spans in zip(body, table.intervals, strict=False):
        shown[:] = [text + _span(span, digits) for text, span in zip(shown, spans, strict=True)]
    widths = [max(_width(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    lines = [_line(heads, widths, aligns), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, aligns) for row in body]
    lines.append(f"({len(table.rows)} {'row' if len(table.rows) == 1 else 'rows'})")
    lines += notes(table, info)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def notes(table: Table, info: ResultInfo | None = None) -> list[str]:
    """What must be said below a table: what was suppressed and why, and what it cost."""
    lines = [
        f"note: {count} {'cell' if count == 1 else 'cells'} suppressed by rule {rule}: {RULES[rule]}"
        for rule, count in sorted(table.suppressed.items())
    ]
    lines += [f"note: {note}" for note in table.notes]
    if info is not None:
        lines += [f"note: {caveat}" for caveat in info.caveats]
        lines.append(
            f"{info.rounds} rounds, {info.bytes_sent} bytes sent, {info.opened} values opened, "
            f"{info.suppressed} withheld, security {info.security}"
        )
    return lines


def _text(cell: Cell, digits: int) -> str:
    if isinstance(cell, NullType):
        return "NULL"
    if isinstance(cell, Suppressed):
        return f"[suppressed: {cell.rule}]"
    if isinstance(cell, str):
        shown = _printable(cell)
        return json.dumps(shown, ensure_ascii=False) if _is_ambiguous(cell) else shown
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return _double(cell, digits)
    return cell.isoformat() if isinstance(cell, dt.date) else _plain(cell)


def _span(span: Interval | None, digits: int) -> str:
    """Behind the cell it belongs to; nothing where there is none."""
    return "" if span is None else f" [{_text(span.low, digits)}, {_text(span.high, digits)}]"


def _is_ambiguous(text: str) -> bool:
    return text in {"", "NULL", "true", "false"} or text.startswith(("[", '"')) or text != text.strip()


def _double(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return _special(value)
    shown = f"{value:.{digits}g}"
    return shown + ".0" if shown.lstrip("-").isdigit() else shown


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain(value: int | Decimal) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _printable(text: str) -> str:
    """The text with control and formatting characters escaped, so that no data can steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _line(cells: list[str], widths: list[int], aligns: list[Align]) -> str:
    padded = []
    for cell, width, align in zip(cells, widths, aligns, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if align == "right" else cell + space)
    return "  ".join(padded)


# ------------------------------------------------------------------------------------------------ JSON


def json_value(table: Table, info: ResultInfo | None = None) -> dict[str, object]:
    """What `json_text` writes, as Python values that `json` takes."""
    value: dict[str, object] = {
        "columns": [
            {"name": c.name, "type": c.type.name, **({"scale": c.type.scale} if c.type.name == "decimal" else {})}
            for c in table.columns
        ],
        "rows": [[_json(cell) for cell in row] for row in table.rows],
        "suppressed": dict(sorted(table.suppressed.items())),
        "notes": list(table.notes),
    }
    if table.intervals:
        value["intervals"] = [
            [None if span is None else [_json(span.low), _json(span.high)] for span in row] for row in table.intervals
        ]
    if info is not None:
        value["info"] = {
            "session": info.session,
            "plan_hash": info.plan_hash,
            "rounds": info.rounds,
            "bytes_sent": info.bytes_sent,
            "opened": info.opened,
            "suppressed": info.suppressed,
            "security": info.security,
            "caveats": list(info.caveats),
        }
    return value


def json_text(table: Table, info: ResultInfo | None = None) -> str:
    """One JSON object: columns, rows, suppressed counts, notes.

    Integers are JSON numbers of any size; decimals are strings, so that no reader rounds them; NaN and the infinities
    are `{"double": "NaN"}` and so on, since JSON has no numbers for them.
    """
    return json.dumps(json_value(table, info), ensure_ascii=False, allow_nan=False) + "\n"


def _json(cell: Cell) -> object:
    if isinstance(cell, NullType):
        return None
    if isinstance(cell, Suppressed):
        return {"suppressed": cell.rule}
    if isinstance(cell, float) and not math.isfinite(cell):
        return {"double": _special(cell)}
    if isinstance(cell, Decimal):
        return _plain(cell)
    return cell.isoformat() if isinstance(cell, dt.date) else cell


# ------------------------------------------------------------------------------------------------ CSV


def csv_text(table: Table, *, flags: bool = False) -> str:
    """RFC 4180 with a header; see the module for how NULL and suppressed cells read.

    Args:
        table: what to show.
        flags: leave suppressed cells empty and add a column per output that names the rule instead.
    """
    heads = [_quoted(column.name) for column in table.columns]
    if flags:
        heads += [_quoted(f"{column.name} suppressed") for column in table.columns]
    noisy = [place for place in range(len(table.columns)) if any(row[place] for row in table.intervals)]
    heads += [_quoted(f"{table.columns[place].name} {end}") for place in noisy for end in ("low", "high")]
    lines = [",".join(heads)]
    for number, row in enumerate(table.rows):
        fields = ["" if flags and isinstance(cell, Suppressed) else _field(cell) for cell in row]
        if flags:
            fields += [cell.rule if isinstance(cell, Suppressed) else "" for cell in row]
        for place in noisy:
            span = table.intervals[number][place]
            fields += ["", ""] if span is None else [_csv_value(span.low), _csv_value(span.high)]
        lines.append(",".join(fields))
    return "".join(f"{line}\r\n" for line in lines)


def _field(cell: Cell) -> str:
    if cell is NULL:
        return ""
    if isinstance(cell, Suppressed):
        return f"<suppressed:{cell.rule}>"
    assert not isinstance(cell, NullType)
    return _csv_value(cell)


def _csv_value(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _special(value)
    return value.isoformat() if isinstance(value, dt.date) else _plain(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
