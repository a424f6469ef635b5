from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from decimal import Decimal

from mpcd.results import NULL, Cell, ResultInfo, Suppressed, Table, TableColumn, csv_text, json_text, text_table
from mpcd.results.shape import BOOLEAN, DATE, DOUBLE, INTEGER, TEXT, Type

COLUMNS = (
    TableColumn("ward, name", TEXT),
    TableColumn("n", INTEGER),
    TableColumn("mean", DOUBLE),
    TableColumn("sum", Type("decimal", 2)),
    TableColumn("day", DATE),
    TableColumn("flag", BOOLEAN),
)
ROWS: tuple[tuple[Cell, ...], ...] = (
    ("icu", 12, 0.1 + 0.2, Decimal("-1.50"), dt.date(2020, 2, 29), True),
    ('NULL "x",\n', 2**70, math.nan, Decimal("0.00"), NULL, False),
    (NULL, Suppressed("floor"), Suppressed("complement"), NULL, NULL, NULL),
    ("<suppressed:floor>", 0, -math.inf, Suppressed("min_owners"), NULL, NULL),
)
TABLE = Table(COLUMNS, ROWS, ("a note",))
INFO = ResultInfo("ab12", "cd34", 14, 2048, 9, 4, "semi-honest", ("a caveat",))


def test_text() -> None:
    shown = text_table(TABLE, INFO)
    assert "[suppressed: floor]" in shown
    assert "note: 1 cell suppressed by rule complement: too few persons, or none, are in the cell beside" in shown
    assert "note: a note" in shown
    assert "note: a caveat" in shown
    assert "14 rounds, 2048 bytes sent, 9 values opened, 4 withheld, security semi-honest" in shown


def test_text_that_looks_like_a_marker_is_quoted() -> None:
    for word in ("NULL", "", "[suppressed: floor]", " x", '"', "true"):
        shown = text_table(Table((TableColumn("x", TEXT),), ((word,),)))
        assert shown.split("\n")[2] == json.dumps(word)


def test_text_cannot_steer_a_terminal() -> None:
    shown = text_table(Table((TableColumn("x\x1b[2J", TEXT),), (("\x1b[31m\u202e",),)))
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_wide_characters_keep_the_columns_straight() -> None:
    lines = text_table(Table((TableColumn("x", TEXT), TableColumn("n", INTEGER)), (("病院", 1), ("a", 22)))).split("\n")
    assert lines[2:4] == ["病院   1", "a     22"]


def test_json_keeps_null_suppressed_and_values_apart() -> None:
    parsed = json.loads(json_text(TABLE, INFO))
    assert parsed["rows"] == [
        ["icu", 12, 0.1 + 0.2, "-1.50", "2020-02-29", True],
        ['NULL "x",\n', 2**70, {"double": "NaN"}, "0.00", None, False],
        [None, {"suppressed": "floor"}, {"suppressed": "complement"}, None, None, None],
        ["<suppressed:floor>", 0, {"double": "-Infinity"}, {"suppressed": "min_owners"}, None, None],
    ]
    assert parsed["suppressed"] == {"complement": 1, "floor": 1, "min_owners": 1}
    assert parsed["columns"][3] == {"name": "sum", "type": "decimal", "scale": 2}
    assert parsed["info"]["rounds"] == 14


def test_csv_markers_are_not_quoted_and_text_is() -> None:
    shown = csv_text(TABLE)
    assert shown.split("\r\n") == [
        '"ward, name","n","mean","sum","day","flag"',
        '"icu",12,0.30000000000000004,-1.50,2020-02-29,true',
        '"NULL ""x"",\n",1180591620717411303424,NaN,0.00,,false',
        ",<suppressed:floor>,<suppressed:complement>,,,",
        '"<suppressed:floor>",0,-Infinity,<suppressed:min_owners>,,',
        "",
    ]


def test_csv_with_flags_is_unambiguous_for_any_reader() -> None:
    parsed = list(csv.reader(io.StringIO(csv_text(TABLE, flags=True))))
    assert parsed[0][6:] == [f"{column.name} suppressed" for column in COLUMNS]
    assert parsed[3] == ["", "", "", "", "", "", "", "floor", "complement", "", "", ""]
    assert parsed[4] == ["<suppressed:floor>", "0", "-Infinity", "", "", "", "", "", "", "min_owners", "", ""]


def test_numbers_survive_csv() -> None:
    value = 0.1234567890123456789
    (_, (read,)) = csv.reader(io.StringIO(csv_text(Table((TableColumn("x", DOUBLE),), ((value,),)))))
    assert float(read) == value


def test_a_suppressed_cell_has_no_truth() -> None:
    try:
        bool(Suppressed("floor"))
    except TypeError:
        return
    raise AssertionError("it had one")
