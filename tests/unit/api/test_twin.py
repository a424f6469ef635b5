"""Made-up rows: inside the dictionary, the same for the same seed, and a schema that a roster takes."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import pytest

from mpcd.api import twin
from mpcd.daemon.description import table_map
from mpcd.errors import RequestInvalid
from mpcd.ids import PartyId
from mpcd.roster import Column, Table
from mpcd.roster.parse import parse_tables

COLUMNS = (
    Column("pid", "person_id"),
    Column("age", "integer", 18, 110, unit="a"),
    Column("size", "decimal", -5, 2005, decimals=1, nullable=True),
    Column("grade", "dictionary", 0, 2, levels=("I", "II", 'a "b", ü')),
    Column("day", "date", 0, 366),
    Column("dead", "boolean", 0, 1),
    Column("code", "integer", 0, 5, missing=("9",)),
)
TABLE = Table("t", 1000, True, True, "pid", (PartyId(0), PartyId(1), PartyId(2)), COLUMNS)
DESCRIBED: dict[str, Any] = table_map(TABLE, {column.name: () for column in COLUMNS})


def rows(**more: Any) -> list[dict[str, str]]:
    options = {"rows": 400, "seed": "s", **more}
    return list(csv.DictReader(io.StringIO(twin.csv_of(DESCRIBED, **options))))


def test_every_value_is_inside_the_dictionary() -> None:
    for row in rows():
        assert 18 <= int(row["age"]) <= 110
        assert row["size"] == "" or -0.5 <= float(row["size"]) <= 200.5
        assert row["grade"] in COLUMNS[3].levels
        assert dt.date(1970, 1, 1) <= dt.date.fromisoformat(row["day"]) <= dt.date(1971, 1, 2)
        assert row["dead"] in {"true", "false"}
        assert row["code"] in {"0", "1", "2", "3", "4", "5", "9"}


def test_every_level_and_missing_values_occur() -> None:
    made = rows()
    assert {row["grade"] for row in made} == set(COLUMNS[3].levels)
    assert any(row["size"] == "" for row in made)
    assert any(row["code"] == "9" for row in made)
    assert len({row["pid"] for row in made}) < len(made)


def test_the_seed_decides_and_hospitals_differ() -> None:
    assert rows() == rows()
    assert rows() != rows(seed="other")
    assert not {row["pid"] for row in rows(part=0)} & {row["pid"] for row in rows(part=1)}


def test_the_schema_reads_back_as_the_described_table() -> None:
    (found,) = parse_tables(twin.schema_text([DESCRIBED], 3))
    assert found.columns == COLUMNS
    assert (found.name, found.rows_max, found.person_id, found.owners) == ("t", 1000, "pid", TABLE.owners)
    assert found.persons_disjoint
    assert found.rows_disjoint


@pytest.mark.parametrize("count", [0, twin.ROWS_MAX + 1])
def test_rows_are_bounded(count: int) -> None:
    with pytest.raises(RequestInvalid):
        rows(rows=count)


def test_a_table_without_columns_has_no_twin() -> None:
    with pytest.raises(RequestInvalid):
        twin.csv_of({"name": "t", "columns": []}, rows=1, seed="s")
