"""Imports: what they write, what blocks them, and that a blocked or killed one leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcd.errors import ConfigurationInvalid, DataInvalid, NotFound, RequestInvalid
from mpcd.ids import DataVersion, PartyId
from mpcd.roster import Column, Table
from mpcd.sources import convert_sql, import_child, importer, snapshot, split
from mpcd.sources.convert_sql import Conversion
from mpcd.sources.importer import import_table, propose_schema, rows_bound, split_file
from mpcd.sources.propose import MISSING_CODES, friendly
from mpcd.sources.snapshot import DataSet, Manifest, current, publish, snapshot_path, table_directory
from mpcd.sources.tables import ColumnMap, ImportBlocked, ImportReport, TableSource

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
HOSTILE = "na\"me, 'x'; DROP TABLE rows; --"


def make_table(*columns: Column, rows_max: int = 1000, name: str = "visits") -> Table:
    person = next((column.name for column in columns if column.type == "person_id"), None)
    return Table(name, rows_max, True, True, person, (PartyId(0),), columns)


def load(
    tmp_path: Path, table: Table, text: str, columns: Mapping[str, ColumnMap] | None = None, delimiter: str = ","
) -> ImportReport:
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    return import_table(table, TableSource((path,), columns or {}, delimiter), tmp_path / "snapshots")


def stored(tmp_path: Path, table: Table, version: DataVersion | None) -> list[tuple[int | None, ...]]:
    assert version is not None
    path = snapshot_path(tmp_path / "snapshots", table.name, version)
    with duckdb.connect(str(path), read_only=True) as database:
        return database.execute("SELECT * FROM rows").fetchall()


def blocked(tmp_path: Path, table: Table, text: str, columns: Mapping[str, ColumnMap] | None = None) -> dict[str, int]:
    """Reasons and counts of an import that must not succeed, and must leave nothing."""
    with pytest.raises(ImportBlocked) as caught:
        load(tmp_path, table, text, columns)
    assert [p for p in (tmp_path / "snapshots").rglob("*") if p.is_file()] == []
    assert list(table_directory(tmp_path / "snapshots", table.name).iterdir()) == []
    report = caught.value.report
    assert report.version is None
    return {f"{p.column}: {p.reason}": p.count for p in report.problems}


EVERY = make_table(
    Column("person", "person_id"),
    Column("age", "integer", 0, 120),
    Column("crea", "decimal", 0, 200_000, decimals=3, nullable=True, missing=("-9", "n.a.")),
    Column("sex", "dictionary", 0, 1, levels=("female", "male")),
    Column("born", "date", -40_000, 20_000, nullable=True),
    Column("smoker", "boolean", 0, 1, nullable=True),
)


def test_every_type(tmp_path: Path) -> None:
    report = load(
        tmp_path,
        EVERY,
        "sex,person,age,crea,born,smoker,note\n"
        "male,12,70.0,1.25,1950-02-28,yes,x\n"
        "female,A-7,+3,-9.0,,0,y\n"
        " male ,12,1e2,n.a.,1970-01-01,TRUE,z\n"
        'female,3,0,"007.5",2000-02-29 00:00:00,,\n',
    )
    assert report.rows == 4
    assert report.notes == ("export.csv: not in the roster and left out: note",)
    rows = stored(tmp_path, EVERY, report.version)
    born = [(dt.date(*day) - dt.date(1970, 1, 1)).days for day in ((1950, 2, 28), (1970, 1, 1), (2000, 2, 29))]
    text_id = rows[-1][0]
    assert isinstance(text_id, int)
    assert text_id >= 2**62
    assert rows == [
        (3, 0, 7500, 0, born[2], None, 0),
        (12, 70, 1250, 1, born[0], 1, 1),
        (12, 100, None, 1, born[1], 1, 1),
        (text_id, 3, None, 0, None, 0, 2),
    ]


def test_types_are_the_narrowest_and_null_is_declared(tmp_path: Path) -> None:
    report = load(tmp_path, EVERY, "sex,person,age,crea,born,smoker\n")
    assert report.rows == 0
    assert report.version is not None
    with duckdb.connect(
        str(snapshot_path(tmp_path / "snapshots", "visits", report.version)), read_only=True
    ) as database:
        found = {row[0]: (row[1], row[2]) for row in database.execute("DESCRIBE rows").fetchall()}
    assert found == {
        "person": ("BIGINT", "NO"),
        "age": ("TINYINT", "NO"),
        "crea": ("INTEGER", "YES"),
        "sex": ("TINYINT", "NO"),
        "born": ("INTEGER", "YES"),
        "smoker": ("TINYINT", "YES"),
        snapshot.PERSON_INDEX: ("TINYINT", "NO"),
    }


@pytest.mark.parametrize(
    ("field", "column", "reason"),
    [
        ("x", Column("v", "integer", 0, 9), "not a number"),
        ("1_0", Column("v", "integer", 0, 99), "not a number"),
        ("0x1", Column("v", "integer", 0, 9), "not a number"),
        ("nan", Column("v", "decimal", 0, 9, decimals=1), "not a number"),
        ("inf", Column("v", "integer", 0, 9), "not a number"),
        ("10", Column("v", "integer", 0, 9), "out of bounds"),
        ("-1", Column("v", "integer", 0, 9), "out of bounds"),
        ("1e300", Column("v", "integer", 0, 9), "out of bounds"),
        ("99999999999999999999999", Column("v", "integer", 0, 9), "out of bounds"),
        ("1.5", Column("v", "integer", 0, 9), "not exactly representable"),
        ("0.125", Column("v", "decimal", 0, 99, decimals=2), "not exactly representable"),
        ("1e-3", Column("v", "decimal", 0, 99, decimals=2), "not exactly representable"),
        ("", Column("v", "integer", 0, 9), "missing value"),
        ("   ", Column("v", "dictionary", 0, 0, levels=("a",)), "missing value"),
        ("b", Column("v", "dictionary", 0, 0, levels=("a",)), "unmapped level"),
        ("A", Column("v", "dictionary", 0, 0, levels=("a",)), "unmapped level"),
        ("2001-02-29", Column("v", "date", 0, 20_000), "not a date"),
        ("1.2.2001", Column("v", "date", 0, 20_000), "not a date"),
        ("2001-01-01 13:00:00", Column("v", "date", 0, 20_000), "not a date"),
        ("infinity", Column("v", "date", 0, 20_000), "not a date"),
        ("1969-12-31", Column("v", "date", 0, 20_000), "out of bounds"),
        ("maybe", Column("v", "boolean", 0, 1), "not a boolean"),
        ("", Column("v", "person_id"), "missing value"),
    ],
)
def test_what_does_not_fit_blocks(tmp_path: Path, field: str, column: Column, reason: str) -> None:
    assert blocked(tmp_path, make_table(column), f'v,other\n"{field}",1\n"{field}",2\n') == {f"v: {reason}": 2}


def test_every_problem_is_listed_with_the_operators_examples_apart(tmp_path: Path) -> None:
    table = make_table(
        Column("id", "person_id", unique=True),
        Column("age", "integer", 0, 120),
        Column("gone", "integer", 0, 1),
        rows_max=3,
    )
    with pytest.raises(ImportBlocked) as caught:
        load(tmp_path, table, "id,age\n1,secret\n2,200\n2,5\n3,201\n")
    report = caught.value.report
    assert {(p.column, p.reason, p.count) for p in report.problems} == {
        ("gone", "missing column", 0),
        ("", "too many rows", 4),
        ("id", "duplicate", 1),
        ("age", "not a number", 1),
        ("age", "out of bounds", 2),
    }
    examples = {p.reason: p.examples for p in report.problems}
    assert examples["not a number"] == ("row 1: secret",)
    assert examples["out of bounds"] == ("row 2: 200", "row 4: 201")
    assert examples["duplicate"] == ("row 2: 2", "row 3: 2")
    assert "secret" not in str(caught.value) + repr(report)
    assert "201" not in str(caught.value)


def test_a_blocked_import_is_read_line_by_line(tmp_path: Path) -> None:
    table = make_table(
        Column("born", "date", -7305, 3652),
        Column("crea", "decimal", -5, 200_000, decimals=3),
        Column("sex", "dictionary", 0, 1, levels=("female", "male")),
        Column("gone", "integer", 0, 1),
    )
    with pytest.raises(ImportBlocked) as caught:
        load(tmp_path, table, 'born,crea,sex\n1949-12-31,1,male\n1950-01-01,200.001,f\n1950-01-01,7,"f\nm"\n')
    assert caught.value.for_operator().splitlines() == [
        "table visits does not take these files as they are; nothing was changed:",
        "  column gone: missing column; export.csv has no column 'gone'; set its `source`",
        "  column born: out of bounds (1 row); the roster allows 1950-01-01 to 1980-01-01",
        "    row 1: 1949-12-31",
        "  column crea: out of bounds (1 row); the roster allows -0.005 to 200.000",
        "    row 2: 200.001",
        (
            "  column sex: unmapped level (2 rows); the roster has female, male; map it with `values`, "
            "declare it as `missing`, or have the level added"
        ),
        "    row 2: f",
        "    row 3: f\N{REPLACEMENT CHARACTER}m",
    ]
    told = str(caught.value).splitlines()
    assert told == [line for line in caught.value.for_operator().splitlines() if not line.startswith("    ")]


def test_rows_are_counted_in_their_own_file(tmp_path: Path) -> None:
    paths = tuple(tmp_path / name for name in ("one.csv", "none.csv", "two.csv"))
    for path, text in zip(paths, ("v\n1\n2\n", "v\n", "v\n3\nx\n"), strict=True):
        path.write_text(text)
    with pytest.raises(ImportBlocked) as caught:
        import_table(make_table(Column("v", "integer", 0, 9)), TableSource(paths), tmp_path / "snapshots")
    (problem,) = caught.value.report.problems
    assert problem.examples == ("two.csv, row 2: x",)


def test_a_file_without_rows_is_noted(tmp_path: Path) -> None:
    table = make_table(Column("v", "integer", 0, 9))
    report = load(tmp_path, table, "v\n")
    assert report.rows == 0
    assert report.notes == ("export.csv: there are no rows in it, only names of columns",)
    (tmp_path / "more.csv").write_text("v\n1\n")
    paths = (tmp_path / "more.csv", tmp_path / "export.csv")
    both = import_table(table, TableSource(paths), tmp_path / "snapshots")
    assert (both.rows, both.notes) == (1, report.notes)
    assert load(tmp_path, table, "v\n1\n").notes == ()


@pytest.mark.parametrize("used", [",", ";", "\t", "|"])
@pytest.mark.parametrize("right", [",", ";", "\t", "|"])
def test_a_wrong_delimiter_is_guessed(tmp_path: Path, used: str, right: str) -> None:
    table = make_table(Column("id", "person_id"), Column("age", "integer", 0, 99))
    text = f"id{right}age\n1{right}50\n"
    if used == right:
        assert load(tmp_path, table, text, delimiter=used).rows == 1
        return
    with pytest.raises(ImportBlocked) as caught:
        load(tmp_path, table, text, delimiter=used)
    assert "export.csv seems to be separated by" in str(caught.value)
    assert f"set `delimiter = {json.dumps(right)}`" in str(caught.value)
    assert len(caught.value.report.problems) == 1


def test_a_missing_column_is_no_wrong_delimiter(tmp_path: Path) -> None:
    table = make_table(Column("id", "person_id"), Column("age", "integer", 0, 99))
    assert blocked(tmp_path, table, "id,a;b\n1,2\n") == {"age: missing column": 0}


@pytest.mark.parametrize(
    "text",
    ["", "a,a\n1,2\n", "age\n1,2\n", 'age,b\n1,"open\n', "age,\n1,2\n", "age,b\n1,2\n3\n"],
    ids=["empty", "same name", "too many fields", "open quote", "no name", "too few fields"],
)
def test_broken_csv_blocks(tmp_path: Path, text: str) -> None:
    assert blocked(tmp_path, make_table(Column("age", "integer", 0, 9)), text) == {": unreadable": 1}


def test_bytes_that_are_no_text_block(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"age,name\n1,\xff\xfe\n")
    with pytest.raises(ImportBlocked, match="unreadable"):
        import_table(make_table(Column("age", "integer", 0, 9)), TableSource((path,)), tmp_path / "snapshots")


def test_mapping(tmp_path: Path) -> None:
    table = make_table(
        Column(HOSTILE, "dictionary", 0, 1, levels=("yes 'n' \"q\"", "no"), nullable=True),
        Column("crea", "decimal", 0, 1000, decimals=1),
        Column("day", "date", 0, 30_000),
    )
    columns = {
        HOSTILE: ColumnMap(source="lo\"cal's", values={"1": "yes 'n' \"q\"", "2": "no"}, missing=("9",)),
        "crea": ColumnMap(round=True),
        "day": ColumnMap(date_format="%d.%m.%Y"),
    }
    report = load(
        tmp_path, table, 'crea;"lo""cal\'s";day\n0.25;1;02.01.1970\n0.24999999999999999999;9;01.02.1970\n', columns, ";"
    )
    assert stored(tmp_path, table, report.version) == [(None, 2, 31), (0, 3, 1)]


def test_the_documented_mapping(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "OPERATING.md").read_text(encoding="utf-8").split("### Mapping local files")[1]
    section = section.split("\n## ")[0]
    text, toml = (section.split(f"```{kind}\n")[1].split("```")[0] for kind in ("csv", "toml"))
    source = TableSource.from_value(tomllib.loads(toml)["tables"]["gbsg2"])
    path = tmp_path / source.paths[0].name
    path.write_text(text, encoding="utf-8")
    table = make_table(
        Column("pid", "person_id"),
        Column("diagnosed", "date", 0, 20_000, nullable=True),
        Column("horTh", "dictionary", 0, 1, levels=("no", "yes"), nullable=True),
        Column("tsize", "decimal", 0, 2000, decimals=1),
        Column("age", "integer", 0, 120, missing=("-1",)),
        name="gbsg2",
    )
    report = import_table(table, replace(source, paths=(path,)), tmp_path / "snapshots")
    days = [(dt.date(*day) - dt.date(1970, 1, 1)).days for day in ((1989, 12, 24), (1990, 1, 5))]
    assert report.notes == ()
    assert {row[1:5] for row in stored(tmp_path, table, report.version)} == {
        (days[0], 1, 210, 57),
        (days[1], 0, 80, None),
        (None, None, 353, 61),
    }
    for name in [*ColumnMap.__dataclass_fields__, *TableSource.__dataclass_fields__]:
        assert f"\n{name} = " in toml or f".{name}." in toml, f"`{name}` is not in the example"
    for code in MISSING_CODES:
        assert f"`{code}`" in section


def test_mapping_of_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="no column agee"):
        load(tmp_path, make_table(Column("age", "integer", 0, 9)), "age\n1\n", {"agee": ColumnMap()})


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="no file"):
        import_table(make_table(Column("a", "integer", 0, 1)), TableSource((tmp_path / "x.csv",)), tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    table = make_table(Column("a", "integer", 0, 1))
    mine = os.geteuid()
    if mine == 0:  # root may read everything
        os.seteuid(65_534)
    try:
        with pytest.raises(DataInvalid, match="permission denied for uid"):
            import_table(table, TableSource((path,)), tmp_path / "snapshots")
    finally:
        os.seteuid(mine)
    with pytest.raises(DataInvalid, match="directory"):
        import_table(table, TableSource((tmp_path,)), tmp_path / "snapshots")


def test_file_names_are_no_patterns(tmp_path: Path) -> None:
    table = make_table(Column("a", "integer", 0, 9))
    (tmp_path / "x1.csv").write_text("a\n1\n")
    (tmp_path / "x[1]?*'.csv").write_text("a\n2\n")
    report = import_table(table, TableSource((tmp_path / "x[1]?*'.csv",)), tmp_path / "snapshots")
    assert stored(tmp_path, table, report.version) == [(2,)]


def test_several_files_and_parquet_agree_with_csv(tmp_path: Path) -> None:
    table = make_table(
        Column("id", "person_id", unique=True),
        Column("x", "decimal", -10_000, 10_000, decimals=2, nullable=True),
        Column("d", "date", 0, 30_000),
        Column("b", "boolean", 0, 1),
    )
    rows = (
        "(1, 17.99::DOUBLE, DATE '2001-02-03', true), (2, NULL, DATE '1999-12-31', false), "
        "(3, -0.1, DATE '2000-01-01', true)"
    )
    query = f"SELECT * FROM (VALUES {rows}) t(id, x, d, b)"
    duckdb.execute(f"COPY ({query}) TO '{tmp_path}/all.parquet' (FORMAT parquet)")
    duckdb.execute(f"COPY ({query} WHERE id < 3) TO '{tmp_path}/one.csv' (HEADER)")
    duckdb.execute(
        f"COPY (SELECT b, d, x, id, 1 AS extra FROM ({query} WHERE id = 3)) TO '{tmp_path}/two.csv' (HEADER)"
    )
    parquet = import_table(table, TableSource((tmp_path / "all.parquet",)), tmp_path / "snapshots")
    csv = import_table(table, TableSource((tmp_path / "two.csv", tmp_path / "one.csv")), tmp_path / "snapshots")
    assert parquet.version == csv.version
    assert csv.rows == 3
    assert (1, 1799, 11_356, 1, 0) in stored(tmp_path, table, parquet.version)


def test_text_ids_are_the_same_in_every_table(tmp_path: Path) -> None:
    one = make_table(Column("p", "person_id", unique=True), name="one")
    many = make_table(Column("p", "person_id"), Column("v", "integer", 0, 9), name="many")
    first = load(tmp_path, one, "p\nabc\n5\nüx\n")
    second = load(tmp_path, many, "v,p\n1,üx\n2,abc\n3,abc\n4,5.0\n")
    codes = {row[0] for row in stored(tmp_path, one, first.version)}
    assert codes == {row[0] for row in stored(tmp_path, many, second.version)}
    assert {row[2] for row in stored(tmp_path, many, second.version)} == {0, 1, 2}


def test_two_persons_under_one_code_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that cannot tell two people apart would make one person of them; here it gives all the same code."""
    real = convert_sql.conversion

    def colliding(column: Column, mapping: ColumnMap, text: str, levels: str) -> Conversion:
        made = real(column, mapping, text, levels)
        return replace(made, value=f"{2**62}::BIGINT") if column.type == "person_id" else made

    monkeypatch.setattr(import_child, "conversion", colliding)
    columns = (Column("p", "person_id"), Column("v", "integer", 0, 9))
    path = tmp_path / "export.csv"

    def problems(text: str, name: str) -> list[tuple[object, object, object]]:
        path.write_text(text)
        workspace = tmp_path / name
        workspace.mkdir()
        job = import_child.Job(columns, (ColumnMap(), ColumnMap()), (path,), "csv", ",", 1000, "", workspace)
        found = import_child._Import(job).run()["problems"]
        assert isinstance(found, list)
        return [(problem["column"], problem["reason"], problem["count"]) for problem in found]

    assert problems("p,v\nabc,1\nabc,2\n", "one") == []
    assert problems("p,v\nabc,1\nxyz,2\nabc,3\n", "two") == [("p", "two persons under one code", 1)]


# ------------------------------------------------------------------------------------------------ exact numbers


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    digits = draw(st.text("0123456789", min_size=1, max_size=8))
    fraction = draw(st.one_of(st.just(""), st.text("0123456789", max_size=12).map(lambda d: "." + d)))
    exponent = draw(st.one_of(st.just(""), st.integers(-12, 6).map(lambda e: f"e{e}"), st.just("E+02")))
    return draw(st.sampled_from(["", "-", "+"])) + digits + fraction + exponent


@given(st.lists(number_texts(), min_size=1, max_size=20), st.integers(0, 9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_numbers_are_read_exactly(texts: Sequence[str], decimals: int, rounding: bool) -> None:
    column = Column("v", "decimal" if decimals else "integer", -(2**53), 2**53, decimals=decimals)
    made = convert_sql.conversion(column, ColumnMap(round=rounding), "t", "")
    rows = ", ".join(f"({i}, {convert_sql.literal(text)})" for i, text in enumerate(texts))
    found = duckdb.execute(
        f"SELECT {made.value}, {made.reason}, {convert_sql.scale_needed('t')} FROM (VALUES {rows}) x(i, t) ORDER BY i"
    ).fetchall()
    for text, (value, reason, scale) in zip(texts, found, strict=True):
        exact = Decimal(text).scaleb(decimals)
        rounded = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
        normal = Decimal(text).normalize()
        assert scale == (max(0, -int(normal.as_tuple().exponent)) if normal else 0), text
        if abs(rounded) > 2**53:
            assert reason == convert_sql.code("out of bounds"), text
        elif exact != rounded and not rounding:
            assert reason == convert_sql.code("not exactly representable"), text
        else:
            assert (value, reason) == (rounded, 0), text


# ------------------------------------------------------------------------------------------------ versions

AGES = make_table(Column("id", "person_id", unique=True), Column("age", "integer", 0, 120, nullable=True))


def test_the_same_rows_are_the_same_version(tmp_path: Path) -> None:
    first = load(tmp_path, AGES, "id,age\n1,50\n2,\n3,70\n")
    assert load(tmp_path, AGES, "id,age\n1,50\n2,\n3,70\n").version == first.version
    assert load(tmp_path, AGES, "age,id,x\n70.0,3,a\n,2,b\n50,1,c\n").version == first.version
    assert len(list((tmp_path / "snapshots" / "visits").glob("*.duckdb"))) == 1
    for other in (
        "id,age\n1,50\n2,0\n3,70\n",
        "id,age\n1,50\n2,\n",
        "id,age\n1,50\n3,\n2,70\n",
        "id,age\n4,50\n2,\n3,70\n",
    ):
        assert load(tmp_path, AGES, other).version != first.version
    renamed = replace(AGES, columns=(AGES.columns[0], replace(AGES.columns[1], high=119)))
    assert load(tmp_path, renamed, "id,age\n1,50\n2,\n3,70\n").version != first.version


def test_blocks_of_the_digest_do_not_depend_on_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(Column("v", "integer", 0, 5000, nullable=True), rows_max=10_000)
    rows = "\n".join("" if i % 7 == 0 else str(i % 5000) for i in range(6000))
    report = load(tmp_path, table, "v,x\n" + "\n".join(f"{row}," for row in rows.split("\n")) + "\n")
    assert report.version is not None
    path = snapshot_path(tmp_path / "snapshots", "visits", report.version)
    found = importer_digest(path, table, 6000)
    assert snapshot.salted(tmp_path / "snapshots", found) == report.version


def test_two_owners_do_not_call_the_same_rows_alike(tmp_path: Path) -> None:
    """Or whoever has an idea of an owner's rows could try it on the version, which all peers and analysts are told."""
    for name in ("mine", "yours"):
        (tmp_path / name).mkdir()
    first, second = (load(tmp_path / name, AGES, "id,age\n1,50\n") for name in ("mine", "yours"))
    assert first.version != second.version
    salt = tmp_path / "mine" / "snapshots" / "version.salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o400
    content = importer_digest(snapshot_path(salt.parent, "visits", DataVersion(str(first.version))), AGES, 1)
    assert snapshot.salted(salt.parent, content) == first.version
    assert content.hex() != first.version
    salt.chmod(0o600)
    salt.write_bytes(b"short")
    with pytest.raises(DataInvalid, match="salt is damaged"):
        load(tmp_path / "mine", AGES, "id,age\n1,50\n")


def importer_digest(path: Path, table: Table, rows: int) -> bytes:
    from mpcd.sources.import_child import content_digest  # noqa: PLC0415  the child's own function

    return content_digest(path, table.columns, snapshot.definition(table), rows)


def test_snapshots_are_read_only_and_whole(tmp_path: Path) -> None:
    report = load(tmp_path, AGES, "id,age\n1,50\n")
    assert report.version is not None
    home = tmp_path / "snapshots" / "visits"
    assert sorted(path.suffix for path in home.iterdir()) == [".duckdb", ".json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o400}
    manifest = Manifest.from_json((home / f"{report.version}.json").read_text())
    assert (manifest.rows, manifest.persons, manifest.table, manifest.version) == (1, 1, "visits", report.version)
    assert manifest.file_sha256 == snapshot.file_sha256(home / f"{report.version}.duckdb")


def test_a_killed_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export.csv"
    path.write_text("id,age\n" + "".join(f"{i},{i % 100}\n" for i in range(300_000)))
    table = replace(AGES, rows_max=10**6)
    with pytest.raises(DataInvalid, match="took too long"):
        import_table(table, TableSource((path,)), tmp_path / "snapshots", seconds_max=0.05)
    assert list((tmp_path / "snapshots" / "visits").iterdir()) == []
    monkeypatch.setattr(importer, "_SPEC", replace(importer._SPEC, written_bytes_max=4096))
    with pytest.raises(DataInvalid, match="nothing was changed"):
        load(tmp_path, AGES, "id,age\n1,50\n")
    assert list((tmp_path / "snapshots" / "visits").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", ".", "UPPER", "t\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 128, HOSTILE]
)
def test_any_table_name_is_one_directory(tmp_path: Path, name: str) -> None:
    assert table_directory(tmp_path, name).parent == tmp_path
    table = replace(AGES, name=name)
    report = load(tmp_path, table, "id,age\n1,50\n")
    assert report.version is not None
    publish(tmp_path / "snapshots", table, report.version)
    assert current(tmp_path / "snapshots", name) is not None
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["snapshots"]


def test_publish(tmp_path: Path) -> None:
    home = tmp_path / "snapshots"
    assert current(home, "visits") is None
    first, second = (load(tmp_path, AGES, f"id,age\n1,{age}\n").version for age in (50, 51))
    assert first is not None
    assert second is not None
    assert current(home, "visits") is None  # an import publishes nothing
    for version in (first, second, second, first):
        publish(home, AGES, version)
        found = current(home, "visits")
        assert found is not None
        assert found.version == version
    assert len(snapshot.versions(home, "visits")) == 2
    data = DataSet.published(home, ["visits", "not published"])
    assert list(data.manifests) == ["visits"]
    data.check([AGES])
    with pytest.raises(DataInvalid, match="not published"):
        data.check([replace(AGES, name="labs")])


def test_an_import_again_makes_its_version_the_newest(tmp_path: Path) -> None:
    home = tmp_path / "snapshots"
    with pytest.raises(NotFound, match="table import visits"):
        snapshot.find_version(home, "visits", None)
    version = None
    for age in (50, 51, 50, 51, 51, 50):
        version = load(tmp_path, AGES, f"id,age\n1,{age}\n").version
        assert snapshot.find_version(home, "visits", None) == version
    listed = snapshot.imported(home, "visits")
    assert listed[0][0].version == version
    assert len(listed) == 2
    assert listed[0][1] > listed[1][1] > 1.7e9


def test_a_version_is_found_by_its_beginning(tmp_path: Path) -> None:
    home = tmp_path / "snapshots"
    first, second = (load(tmp_path, AGES, f"id,age\n1,{age}\n").version for age in (50, 51))
    assert first is not None
    assert second is not None
    assert snapshot.find_version(home, "visits", first[:8]) == first
    assert snapshot.find_version(home, "visits", second) == second
    for wrong, error in ((first[:7], RequestInvalid), ("../../x", RequestInvalid), ("0" * 64, NotFound)):
        with pytest.raises(error):
            snapshot.find_version(home, "visits", wrong)
    twin = first[:60] + ("0000" if first[60:] != "0000" else "1111")
    text = (home / "visits" / f"{first}.json").read_text().replace(first, twin)
    (home / "visits" / f"{twin}.json").write_text(text)
    (home / "visits" / f"{twin}.duckdb").write_bytes(b"")
    with pytest.raises(RequestInvalid, match="2 versions that begin"):
        snapshot.find_version(home, "visits", first[:16])


def test_an_import_again_mends_a_damaged_version(tmp_path: Path) -> None:
    version = load(tmp_path, AGES, "id,age\n1,50\n").version
    assert version is not None
    home = tmp_path / "snapshots"
    path = snapshot_path(home, "visits", version)
    for damaged in (path, path.with_suffix(".json")):
        damaged.chmod(0o600)
        damaged.write_bytes(b"damaged")
        with pytest.raises(DataInvalid):
            publish(home, AGES, version)
        assert load(tmp_path, AGES, "id,age\n1,50\n").version == version
        assert publish(home, AGES, version).rows == 1


def test_publish_refuses(tmp_path: Path) -> None:
    home = tmp_path / "snapshots"
    version = load(tmp_path, AGES, "id,age\n1,50\n").version
    assert version is not None
    with pytest.raises(DataInvalid, match="64 hexadecimal"):
        publish(home, AGES, DataVersion("../../x"))
    with pytest.raises(DataInvalid, match="no version"):
        publish(home, AGES, DataVersion("0" * 64))
    with pytest.raises(DataInvalid, match="another definition"):
        publish(home, replace(AGES, rows_max=1001), version)
    path = snapshot_path(home, "visits", version)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff\x00\xff")
    with pytest.raises(DataInvalid, match="damaged"):
        publish(home, AGES, version)
    (home / "visits" / "current.json").write_text("{")
    with pytest.raises(DataInvalid, match="damaged"):
        current(home, "visits")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', "\x00"])
def test_damaged_manifests(text: str) -> None:
    with pytest.raises(DataInvalid):
        Manifest.from_json(text)


def test_definition_sees_what_touches_rows() -> None:
    same = replace(AGES, owners=(PartyId(0), PartyId(1)), persons_disjoint=False)
    assert snapshot.definition(same) == snapshot.definition(AGES)
    for changed in (replace(AGES, rows_max=7), replace(AGES, columns=AGES.columns[:1])):
        assert snapshot.definition(changed) != snapshot.definition(AGES)


# ------------------------------------------------------------------------------------------------ configuration


def test_table_source_from_configuration() -> None:
    value = {
        "paths": ["a.csv"],
        "delimiter": ";",
        "columns": {"x": {"source": "X", "values": {"1": "yes"}, "missing": ["9"], "round": True}},
    }
    source = TableSource.from_value(value, Path("/base"))
    assert source.paths == (Path("/base/a.csv"),)
    assert source.column("x") == ColumnMap("X", {"1": "yes"}, ("9",), round=True)
    assert source.column("y") == ColumnMap()
    assert source.format == "csv"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"paths": []},
        {"paths": "a.csv"},
        {"paths": ["a.csv"], "pahts": 1},
        {"paths": ["a.csv"], "delimiter": '"'},
        {"paths": ["a.csv"], "columns": {"x": {"round": "yes"}}},
        {"paths": ["a.csv"], "columns": {"x": {"values": {"a": 1}}}},
    ],
)
def test_wrong_configuration(value: object) -> None:
    with pytest.raises(ConfigurationInvalid):
        TableSource.from_value(value)


def test_mixed_formats() -> None:
    with pytest.raises(ConfigurationInvalid, match="all be CSV or all be Parquet"):
        _ = TableSource((Path("a.csv"), Path("b.parquet"))).format


# ------------------------------------------------------------------------------------------------ proposals, splits


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 3, (0, 3)),
        (1, 2, (1, 2)),
        (21, 80, (0, 100)),
        (1947, 1962, (1940, 1980)),
        (-24, 68, (-100, 100)),
        (3, 120, (0, 200)),
        (7, 7, (7, 7)),
        (77, 77, (77, 77)),
        (-1234, -1230, (-1235, -1230)),
    ],
)
def test_friendly_bounds(low: int, high: int, expected: tuple[int, int]) -> None:
    assert friendly(low, high) == expected


@given(st.integers(-(2**53), 2**53), st.integers(0, 2**53))
def test_friendly_bounds_contain(low: int, span: int) -> None:
    found = friendly(low, low + span)
    assert found[0] <= low <= low + span <= found[1]
    assert friendly(*found)[0] <= found[0]


def test_proposal_of_the_clinical_data(tmp_path: Path) -> None:
    proposals = propose_schema({name: [DATA / f"{name}.csv"] for name in ("gbsg2", "lung", "wdbc")})
    gbsg2 = proposals["gbsg2"].table
    assert gbsg2.person_id == "rid"
    assert gbsg2.rows_max == 1000
    assert gbsg2.column("tgrade").levels == ("I", "II", "III")
    assert gbsg2.column("menostat").levels == ("Post", "Pre")
    assert gbsg2.column("age").bounds == (0, 100)
    lung = proposals["lung"].table
    assert lung.column("inst").type == "integer"  # written 3.0 in the file
    assert lung.column("wt.loss").nullable
    assert not lung.column("age").nullable
    wdbc = proposals["wdbc"].table
    assert [wdbc.column(n).decimals for n in ("mean_radius", "mean_texture", "mean_smoothness")] == [3, 2, 5]
    for name, proposal in proposals.items():
        source = TableSource((DATA / f"{name}.csv",), proposal.columns)
        assert import_table(proposal.table, source, tmp_path).rows == proposal.rows[0]


def test_proposal_of_every_type(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = [
        f"P{i},{'yes' if i % 2 else 'NA'},{i / 7!r},2001-0{i % 9 + 1}-05,{i % 2 == 0},free text {i},,{i}e20,{i % 3}"
        for i in range(30)
    ]
    path.write_text("patient,level,ratio,day,flag,note,empty,huge,code\n" + "\n".join(rows) + "\n")
    (proposal,) = propose_schema({"x": [path]}).values()
    columns = {column.name: column for column in proposal.table.columns}
    assert {name: column.type for name, column in columns.items()} == {
        "patient": "person_id",
        "level": "dictionary",
        "ratio": "decimal",
        "day": "date",
        "flag": "boolean",
        "code": "integer",
    }
    assert columns["level"].levels == ("yes",)
    assert columns["level"].missing == ("NA",)
    assert not columns["level"].nullable
    assert columns["ratio"].decimals == 9
    assert dict(proposal.columns) == {"ratio": ColumnMap(round=True)}
    assert len(proposal.notes) == 5
    assert "column level: the text NA stands for a missing value in 15 rows" in proposal.notes
    import_table(proposal.table, TableSource((path,), proposal.columns), tmp_path / "snapshots")


def test_codes_that_become_null_are_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("drug,dose\nNone,1\nNULL,.\nA,2\nNone,.\nNaN,3\nA,4\n")
    (proposal,) = propose_schema({"x": [path]}).values()
    drug, dose = proposal.table.columns
    assert drug.levels == ("A", "None")
    assert drug.missing == ("NULL", "NaN")
    assert (dose.type, dose.missing) == ("integer", (".",))
    assert proposal.notes == (
        "column drug: the text NULL stands for a missing value in 1 row",
        "column drug: the text NaN stands for a missing value in 1 row",
        "column dose: the text . stands for a missing value in 2 rows",
    )


def test_a_proposal_from_another_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a;b\n1;2\n")
    with pytest.raises(DataInvalid, match='seems to be separated by ";"'):
        propose_schema({"x": [path]})
    with pytest.raises(DataInvalid, match='seems to be separated by ";"'):
        split_file(path, [tmp_path / f"{i}.csv" for i in range(3)])
    assert len(propose_schema({"x": [path]}, delimiter=";")["x"].table.columns) == 2


def test_nothing_to_propose(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a\n\n")
    with pytest.raises(DataInvalid, match="no column can be published"):
        propose_schema({"x": [path]})


@pytest.mark.parametrize(("rows", "bound"), [(0, 100), (100, 100), (101, 200), (686, 1000), (5001, 10_000)])
def test_rows_bound(rows: int, bound: int) -> None:
    assert rows_bound(rows) == bound


def test_split_round_robin(tmp_path: Path) -> None:
    outputs = [tmp_path / f"{i}.csv" for i in range(3)]
    assert split_file(DATA / "gbsg2.csv", outputs) == (229, 229, 228)
    for hospital, output in enumerate(outputs):
        lines = output.read_text().splitlines()
        assert lines[0] == (DATA / "gbsg2.csv").read_text().splitlines()[0]
        assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(hospital + 1, 687, 3))


def test_split_by_a_column(tmp_path: Path) -> None:
    outputs = [tmp_path / f"{i}.csv" for i in range(3)]
    assert split_file(DATA / "lung.csv", outputs, by="inst") == (76, 76, 76)
    values = [{line.split(",")[1] for line in output.read_text().splitlines()[1:]} for output in outputs]
    assert sum(map(len, values)) == len(set.union(*values)) == 19  # the missing institution is a value too
    with pytest.raises(DataInvalid, match="no column 'none'"):
        split_file(DATA / "lung.csv", outputs, by="none")


def test_balance_is_deterministic() -> None:
    groups: list[tuple[str | None, int]] = [("b", 5), ("a", 5), (None, 5), ("c", 9)]
    assert split.balance(groups, 2) == [["c", None], ["a", "b"]] == split.balance(groups[::-1], 2)


def test_split_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    duckdb.execute(f"COPY (SELECT range AS i FROM range(10)) TO '{path}' (FORMAT parquet)")
    outputs = [tmp_path / f"{i}.parquet" for i in range(4)]
    assert split_file(path, outputs) == (3, 3, 2, 2)
    found = duckdb.execute(f"SELECT i FROM read_parquet('{outputs[1]}') ORDER BY i").fetchall()
    assert found == [(1,), (5,), (9,)]


async def test_imports_run_beside_trio(tmp_path: Path) -> None:
    report = await trio.to_thread.run_sync(load, tmp_path, AGES, "id,age\n1,50\n")
    assert report.rows == 1


# ------------------------------------------------------------------------------------------------ opting out, linkage


def imported(tmp_path: Path, table: Table, text: str, **more: object) -> ImportReport:
    """With a source that has more than paths, or with options of the import."""
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    source = TableSource((path,), person=more.pop("person", None), linkage=more.pop("linkage", ()))  # type: ignore[arg-type]
    return import_table(table, source, tmp_path / "snapshots", **more)  # type: ignore[arg-type]  # of this module alone


PERSONS = make_table(Column("pid", "person_id"), Column("age", "integer", 0, 120))
NO_PERSONS = make_table(Column("age", "integer", 0, 120))


def test_rows_of_who_opted_out_are_left_out(tmp_path: Path) -> None:
    text = "pid,age\nA-1,10\n7,20\nA-1,30\n8,40\n"
    whole = imported(tmp_path, PERSONS, text)
    report = imported(tmp_path, PERSONS, text, opt_out=(" A-1", "7", "not-here"))
    assert (report.rows, report.persons, report.opted_out_rows, report.opted_out_persons) == (1, 1, 3, 2)
    assert [row[1] for row in stored(tmp_path, PERSONS, report.version)] == [40]
    assert report.version != whole.version
    # As if they had never been in the file.
    assert imported(tmp_path, PERSONS, "pid,age\n8,40\n").version == report.version


def test_a_listed_id_is_read_as_the_file_is(tmp_path: Path) -> None:
    """The export of one program has 7.0, of another a local code; both are person 7."""
    report = imported(tmp_path, PERSONS, "pid,age\n7.0,20\n70,30\n", opt_out=("7",))
    assert [row[1] for row in stored(tmp_path, PERSONS, report.version)] == [30]


def test_whose_rows_block_the_import_do_not_if_they_opted_out(tmp_path: Path) -> None:
    text = "pid,age\n1,10\n2,999\n3,998\n"
    with pytest.raises(ImportBlocked) as caught:
        imported(tmp_path, PERSONS, text, opt_out=("2",))
    # The row that is left blocks, and is still called by its number in the file.
    assert [p.examples for p in caught.value.report.problems] == [("row 3: 998",)]
    assert imported(tmp_path, PERSONS, text, opt_out=("2", "3")).rows == 1


def test_the_list_may_name_persons_by_a_column_that_is_not_published(tmp_path: Path) -> None:
    text = "MRN,age\nx1,10\nx2,20\n,30\n"
    report = imported(tmp_path, NO_PERSONS, text, person="MRN", opt_out=("x2",))
    assert [row[0] for row in stored(tmp_path, NO_PERSONS, report.version)] == [10, 30]
    assert (report.opted_out_rows, report.opted_out_persons) == (1, 1)
    with pytest.raises(ConfigurationInvalid, match="cannot be applied"):
        imported(tmp_path, NO_PERSONS, text, opt_out=("x2",))
    with pytest.raises(ImportBlocked, match="ID: missing column"):
        imported(tmp_path, NO_PERSONS, text, person="ID", opt_out=("x2",))


def test_looking_only_changes_nothing(tmp_path: Path) -> None:
    text = "pid,age\n" + "".join(f"{n},10\n" for n in range(20))
    first = imported(tmp_path, PERSONS, text)
    assert first.version is not None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "snapshots").rglob("*")}
    place = snapshot_path(tmp_path / "snapshots", "visits", first.version)
    report = imported(tmp_path, PERSONS, text, opt_out=("3", "4"), keep=False, against=[place])
    assert (report.rows, report.changed) == (18, (2,))
    home = table_directory(tmp_path / "snapshots", "visits")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "snapshots").rglob("*") if path != home} == {
        path: at for path, at in before.items() if path != home
    }


def test_linkage_digests_tell_persons_alike_however_they_are_written(tmp_path: Path) -> None:
    def linked(text: str) -> tuple[ImportReport, bytes]:
        report = imported(tmp_path, NO_PERSONS, text, linkage=("name", "born"))
        assert report.version is not None
        place = snapshot.linkage_path(tmp_path / "snapshots", "visits", report.version)
        assert stat.S_IMODE(place.stat().st_mode) == 0o400
        return report, place.read_bytes()

    first, one = linked("age,name,born\n1,Åsa Berg-Öst,1970-01-02\n2,Åsa Berg-Öst,1970-01-02\n3,,1970-01-02\n")
    _, other = linked("age,name,born\n1, ASA BERGOST ,1970-01-02\n2,-,1970-01-02\n")
    assert (first.linked, len(one)) == (1, 16)
    assert one == other
    _, another = linked("age,name,born\n1,Asa Berg-Ost,1970-01-03\n")
    assert another != one
    # Where the columns are joined matters.
    assert linked("age,name,born\n1,ab,c\n")[1] != linked("age,name,born\n1,a,bc\n")[1]


def test_linkage_goes_when_it_is_no_longer_configured(tmp_path: Path) -> None:
    text = "age,name\n1,anna\n"
    report = imported(tmp_path, NO_PERSONS, text, linkage=("name",))
    assert report.version is not None
    place = snapshot.linkage_path(tmp_path / "snapshots", "visits", report.version)
    assert place.exists()
    assert imported(tmp_path, NO_PERSONS, text).version == report.version
    assert not place.exists()
    imported(tmp_path, NO_PERSONS, text, linkage=("name",))
    snapshot.delete(tmp_path / "snapshots", "visits", report.version)
    assert list(place.parent.iterdir()) == []
    snapshot.delete(tmp_path / "snapshots", "visits", report.version)
