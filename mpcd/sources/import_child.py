"""The import child: files in, one snapshot file out (run with `python -m`).

    import   {table, source, workspace}      -> {rows, persons, content, problems, notes, opted_out, linked}
    compare  {new, old: [path], person}      -> [persons who differ]; see `mpcd.sources.compare_child`
    propose  {paths, workspace}              see `mpcd.sources.propose`
    split    {path, outputs, by, workspace}  see `mpcd.sources.split`

An import has four steps, all in DuckDB: *stage* converts every field and keeps the stored form beside a reason code;
*exclude* takes out the rows of persons on the opt-out list, before anything else looks at them; *judge* counts the
reasons, duplicates and rows; *write*, only if nothing was found, sorts the rows into their canonical order, writes them
in the narrowest types and hashes what was written.  The workspace is a directory of this import
alone, which the parent removes in any case.
"""

# ruff: noqa: S608  every identifier and literal goes through `quoted`, `literal` or `number`

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from mpcd import canonical, limits
from mpcd.roster import Column
from mpcd.sources import child_side, compare_child, propose, split
from mpcd.sources.convert_sql import REASONS, cleaned, conversion, quoted
from mpcd.sources.engine_child import CONFIGURATION, literal
from mpcd.sources.read_sql import FileProblem, Relation, other_delimiter, relation
from mpcd.sources.snapshot import FORMAT, PERSON_INDEX, ROWS, column_type, integer_type
from mpcd.sources.tables import ColumnMap, Reason

OUTPUT: Final = "snapshot.duckdb"
LINKAGE: Final = "linkage.bin"
"""Sorted digests of the linkage columns, `LINKAGE_BYTES` each."""
LINKAGE_BYTES: Final = 16
OPT_OUT: Final = "opt-out.json"
_LINKAGE_SEPARATOR: Final = "|"
_LEVELS_SHOWN: Final = 10
BLOCK_ROWS: Final = 2**20
"""Rows that are hashed at a time; part of the data version's definition."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the parent asks for."""

    columns: tuple[Column, ...]
    mappings: tuple[ColumnMap, ...]
    paths: tuple[Path, ...]
    kind: str
    delimiter: str
    rows_max: int
    definition: str
    workspace: Path
    person_source: str | None = None
    linkage: tuple[str, ...] = ()

    @property
    def person(self) -> int | None:
        """Place of the person id among the columns."""
        return next((i for i, column in enumerate(self.columns) if column.type == "person_id"), None)

    def source(self, index: int) -> str:
        """The name of a column in the files."""
        return self.mappings[index].source or self.columns[index].name


def connect(path: str, workspace: Path) -> duckdb.DuckDBPyConnection:
    """A database that may spill to the workspace, and loads nothing."""
    spill = {"temp_directory": str(workspace / "spill"), "max_temp_directory_size": "1TB"}
    settings = {**CONFIGURATION, **spill, "memory_limit": f"{limits.IMPORT_DATABASE_BYTES_MAX}B"}
    return duckdb.connect(path, config=dict(settings))


# ------------------------------------------------------------------------------------------------ the import


class _Import:
    """One import; each step adds to `problems` and `notes`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._database = connect(str(job.workspace / "staging.duckdb"), job.workspace)
        self._relations: tuple[Relation, ...] = ()
        self._present: tuple[int, ...] = ()
        self._starts: dict[int, int] = {}
        self._staged = False
        self._excluded = [0, 0]
        self._linked = 0
        self.problems: list[dict[str, object]] = []
        self.notes: list[str] = []

    def run(self) -> dict[str, object]:
        """All steps; the snapshot is there exactly if there are no problems."""
        rows = persons = 0
        content = ""
        try:
            self._find()
            self._stage()
            rows = self._exclude()
            if self._staged:
                self._judge(rows)
            if not self.problems:
                persons = self._write(rows)
                content = self._digest(rows).hex()
                self._linked = self._link()
        except FileProblem as error:
            self._problem("", "unreadable", 1, str(error))
        except duckdb.InvalidInputException as error:
            self._problem("", "unreadable", 1, _where(error))
        self._database.close()
        return {
            "rows": rows,
            "persons": persons,
            "content": content,
            "problems": self.problems,
            "notes": self.notes,
            "opted_out": self._excluded,
            "linked": self._linked,
        }

    def _problem(self, column: str, reason: Reason, count: int, advice: str = "", examples: Iterable[str] = ()) -> None:
        self.problems.append(
            {"column": column, "reason": reason, "count": count, "advice": advice, "examples": list(examples)}
        )

    def _find(self) -> None:
        """Open the files and look for the columns."""
        job = self._job
        self._relations = tuple(relation(self._database, path, job.kind, job.delimiter) for path in job.paths)
        wanted = {job.source(index) for index in range(len(job.columns))} | set(self._beside())
        present = set(range(len(job.columns)))
        for file in self._relations:
            if job.kind == "csv" and (other := other_delimiter(file, job.delimiter, wanted)) is not None:
                raise FileProblem(
                    f"{file.path.name} seems to be separated by {json.dumps(other)}, not by "
                    f"{json.dumps(job.delimiter)}; set `delimiter = {json.dumps(other)}` for this table"
                )
            missing = [index for index in sorted(present) if job.source(index) not in file.columns]
            for index in missing:
                advice = f"{file.path.name} has no column {job.source(index)!r}; set its `source`"
                self._problem(job.columns[index].name, "missing column", 0, advice)
            present.difference_update(missing)
            for name in self._beside():
                if name not in file.columns:
                    self._problem(name, "missing column", 0, f"{file.path.name} has no column {name!r}")
            extra = [name for name in file.columns if name not in wanted]
            if extra:
                self.notes.append(f"{file.path.name}: not in the roster and left out: {', '.join(extra)}")
        self._present = tuple(sorted(present))

    def _beside(self) -> list[str]:
        """Columns of the files that are read and not stored: for the opt-out list and for linkage."""
        job = self._job
        return list(dict.fromkeys([*([] if job.person_source is None else [job.person_source]), *job.linkage]))

    def _texts(self) -> str:
        """The present columns as cleaned text t0, t1, …, of all files in their order, and the place of the file."""
        job = self._job
        fields = ", ".join(
            f"{cleaned(quoted(job.source(i)), job.columns[i], job.mappings[i])} AS t{i}" for i in self._present
        )
        fields += "".join(f", {quoted(name)} AS b{place}" for place, name in enumerate(self._beside()))
        names = list(dict.fromkeys([*(job.source(index) for index in self._present), *self._beside()]))
        return " UNION ALL ".join(
            f"(SELECT {fields}, {place} AS file FROM ({file.select(names)}))"
            for place, file in enumerate(self._relations)
        )

    def _stage(self) -> None:
        """Stored forms v0, v1, … beside reasons r0, r1, …."""
        job = self._job
        if not self._present or any(problem["column"] in self._beside() for problem in self.problems):
            return
        for index in self._present:
            if job.columns[index].type == "dictionary":
                levels = ", ".join(map(literal, job.columns[index].levels))
                self._database.execute(f"CREATE TYPE levels{index} AS ENUM ({levels})")
        # Rows keep their number in the files, whatever is taken out.
        fields = ["file", "ROW_NUMBER() OVER () AS place", *(f"b{place}" for place in range(len(self._beside())))]
        for index in self._present:
            made = conversion(job.columns[index], job.mappings[index], f"t{index}", f"levels{index}")
            fields += [f"{made.value} AS v{index}", f"CAST({made.reason} AS UTINYINT) AS r{index}"]
            if made.identity is not None:
                fields.append(f"{made.identity} AS identity")
        self._database.execute(f"CREATE TABLE staged AS SELECT {', '.join(fields)} FROM ({self._texts()})")
        self._staged = True
        self._look_for_empty_files()

    def _exclude(self) -> int:
        """Take out the rows of persons on the opt-out list; returns how many rows are left."""
        if not self._staged:
            return 0
        place = self._job.workspace / OPT_OUT
        if place.exists():
            listed = json.loads(place.read_text(encoding="utf-8"))
            self._database.execute("CREATE TABLE listed AS SELECT TRIM(unnest(?::VARCHAR[])) AS id", [listed])
            key, codes = self._listed_codes()
            self._database.execute(f"CREATE TABLE excluded AS SELECT place, {key} AS k FROM staged")
            self._database.execute(f"DELETE FROM excluded WHERE k IS NULL OR k NOT IN ({codes})")
            self._excluded = [
                self._integer("SELECT COUNT(*) FROM excluded"),
                self._integer("SELECT COUNT(DISTINCT k) FROM excluded"),
            ]
            self._database.execute("DELETE FROM staged WHERE place IN (SELECT place FROM excluded)")
        return self._integer("SELECT COUNT(*) FROM staged")

    def _listed_codes(self) -> tuple[str, str]:
        """What tells persons apart in the staging table, and the same of the listed ids."""
        job = self._job
        if job.person_source is not None:
            place = self._beside().index(job.person_source)
            return f"NULLIF(TRIM(b{place}), '')", "SELECT id FROM listed WHERE id IS NOT NULL"
        assert job.person is not None, "the parent refuses a list that no column can be matched with"
        column, mapping = job.columns[job.person], job.mappings[job.person]
        made = conversion(column, mapping, "t", "")
        text = f"SELECT {cleaned('id', column, mapping)} AS t FROM listed"
        return f"v{job.person}", f"SELECT v FROM (SELECT {made.value} AS v FROM ({text})) WHERE v IS NOT NULL"

    def _link(self) -> int:
        """Write the digests of the linkage columns, each person's once; returns how many."""
        job = self._job
        if not job.linkage:
            return 0
        places = [self._beside().index(name) for name in job.linkage]
        # What people write differently at two hospitals: case, accents, spaces, hyphens.
        plain = [
            f"NULLIF(regexp_replace(lower(strip_accents(b{i})), '[^\\p{{L}}\\p{{N}}]', '', 'g'), '')" for i in places
        ]
        joined = f" || {literal(_LINKAGE_SEPARATOR)} || ".join(plain)
        digest = f"substr(sha256({joined}), 1, {2 * LINKAGE_BYTES})"
        found = self._database.execute(
            f"SELECT DISTINCT {digest} AS d FROM staged WHERE {joined} IS NOT NULL ORDER BY d"
        ).fetchall()
        (job.workspace / LINKAGE).write_bytes(bytes.fromhex("".join(digest for (digest,) in found)))
        return len(found)

    def _look_for_empty_files(self) -> None:
        """Note files without a row, and where each file's rows begin."""
        found = self._database.execute("SELECT file, MIN(place) - 1 FROM staged GROUP BY file").fetchall()
        self._starts = {int(place): int(start) for place, start in found}
        for place, file in enumerate(self._relations):
            if place not in self._starts:
                self.notes.append(f"{file.path.name}: there are no rows in it, only names of columns")

    def _integer(self, sql: str) -> int:
        row = self._database.execute(sql).fetchone()
        assert row is not None
        return int(row[0] or 0)

    def _judge(self, rows: int) -> None:
        job = self._job
        if rows > job.rows_max:
            self._problem("", "too many rows", rows, f"the roster allows {job.rows_max} of any one owner")
        for index in self._present:
            self._judge_column(index)
        if job.person in self._present:
            collisions = "SELECT v FROM (SELECT v{0} AS v, identity FROM staged WHERE identity IS NOT NULL) GROUP BY v"
            collisions = collisions.format(job.person) + " HAVING MIN(identity) <> MAX(identity)"
            count = self._integer(f"SELECT COUNT(*) FROM ({collisions})")
            if count:
                self._problem(job.columns[job.person or 0].name, "two persons under one code", count, "use numeric ids")

    def _judge_column(self, index: int) -> None:
        column = self._job.columns[index]
        counts = self._database.execute(
            f"SELECT r{index}, COUNT(*) FROM staged WHERE r{index} > 0 GROUP BY ALL ORDER BY 1"
        ).fetchall()
        for number, count in counts:
            reason = REASONS[int(number) - 1]
            examples = self._examples(index, f"r{index} = {int(number)}")
            self._problem(column.name, reason, int(count), _advice(column, reason), examples)
        if column.unique:
            duplicates = self._integer(f"SELECT COUNT(v{index}) - COUNT(DISTINCT v{index}) FROM staged")
            if duplicates:
                again = f"v{index} IN (SELECT v{index} FROM staged GROUP BY ALL HAVING COUNT(*) > 1)"
                examples = self._examples(index, again)
                self._problem(column.name, "duplicate", duplicates, "the roster declares it unique", examples)

    def _examples(self, index: int, condition: str) -> list[str]:
        """A few rows, for the operator's own eyes: file if there are several, number (from 1 in its file) and text."""
        places = self._database.execute(
            f"SELECT place FROM staged WHERE {condition} ORDER BY place LIMIT {limits.IMPORT_EXAMPLES_MAX}"
        ).fetchall()
        wanted = ", ".join(str(int(place)) for (place,) in places)
        texts = f"SELECT ROW_NUMBER() OVER () AS n, file, t{index} AS t FROM ({self._texts()})"
        found = self._database.execute(f"SELECT n, file, t FROM ({texts}) WHERE n IN ({wanted}) ORDER BY n").fetchall()
        several = len(self._relations) > 1
        return [
            f"{self._relations[file].path.name + ', ' if several else ''}row {n - self._starts[file]}: "
            f"{'(empty)' if text is None else _shown(str(text))}"
            for n, file, text in found
        ]

    def _write(self, rows: int) -> int:
        """The snapshot, in canonical order; returns how many persons it has."""
        job = self._job
        path = str(job.workspace / OUTPUT)
        types = [column_type(column) for column in job.columns]
        names = [quoted(column.name) for column in job.columns]
        declared = [
            f"{name} {kind}{'' if column.may_be_null else ' NOT NULL'}"
            for name, kind, column in zip(names, types, job.columns, strict=True)
        ]
        fields = [f"CAST(v{i} AS {kind})" for i, kind in enumerate(types)]
        order = [f"v{i} NULLS FIRST" for i in range(len(names)) if i != job.person]
        if job.person is not None:
            kind = integer_type(0, rows)
            declared.append(f"{quoted(PERSON_INDEX)} {kind} NOT NULL")
            fields.append(f"CAST(DENSE_RANK() OVER (ORDER BY v{job.person}) - 1 AS {kind})")
            place = len(order) if job.columns[job.person].unique else 0
            order.insert(place, f"v{job.person}")
        self._database.execute(f"ATTACH {literal(path)} AS snapshot")
        self._database.execute(f"CREATE TABLE snapshot.{ROWS} ({', '.join(declared)})")
        self._database.execute(
            f"INSERT INTO snapshot.{ROWS} SELECT {', '.join(fields)} FROM staged ORDER BY {', '.join(order)}"
        )
        self._database.execute("CHECKPOINT snapshot")
        self._database.execute("DETACH snapshot")
        return 0 if job.person is None else self._integer(f"SELECT COUNT(DISTINCT v{job.person}) FROM staged")

    def _digest(self, rows: int) -> bytes:
        return content_digest(self._job.workspace / OUTPUT, self._job.columns, self._job.definition, rows)


def content_digest(path: Path, columns: Sequence[Column], definition: str, rows: int) -> bytes:
    """The data version of a snapshot file: definition, number of rows, and each column's integers in the file's order.

    A block is 2^20 rows: little-endian integers of the declared type with 0 for NULL, then, for a column that may be
    NULL, a bit per row.
    """
    hashers = [hashlib.sha256() for _ in columns]
    names = ", ".join(quoted(column.name) for column in columns)
    with duckdb.connect(str(path), read_only=True, config=dict(CONFIGURATION)) as database:
        for start in range(0, rows, BLOCK_ROWS):
            block = database.execute(
                f"SELECT {names} FROM {ROWS} WHERE rowid >= {start} AND rowid < {start + BLOCK_ROWS}"
            ).fetchnumpy()
            for hasher, column, values in zip(hashers, columns, block.values(), strict=True):
                assert len(values) == min(BLOCK_ROWS, rows - start)
                plain = np.ma.filled(values, 0)
                hasher.update(np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<")).tobytes())
                if column.may_be_null:
                    hasher.update(np.packbits(np.ma.getmaskarray(values)).tobytes())
    return canonical.digest("snapshot", [FORMAT, definition, rows, [hasher.digest() for hasher in hashers]])


def _where(error: duckdb.Error) -> str:
    """Which line of a CSV file DuckDB could not read; its own text quotes the line, so it is not used."""
    found = re.search(r"Line: (\d+)", str(error))
    return "a file cannot be read" + (f": see its line {found.group(1)}" if found else "; is it complete?")


def _shown(text: str) -> str:
    """The beginning of a field on one line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:80])


def _bound(column: Column, stored: int) -> str:
    """A bound as people write it in a file."""
    if column.type == "date":
        return str(dt.date(1970, 1, 1) + dt.timedelta(days=stored))
    return f"{Decimal(stored).scaleb(-column.decimals):f}"


def _advice(column: Column, reason: Reason) -> str:
    match reason:
        case "unmapped level":
            levels = ", ".join(column.levels[:_LEVELS_SHOWN]) + (", ..." if len(column.levels) > _LEVELS_SHOWN else "")
            return f"the roster has {levels}; map it with `values`, declare it as `missing`, or have the level added"
        case "out of bounds":
            return f"the roster allows {_bound(column, column.low)} to {_bound(column, column.high)}"
        case "not exactly representable":
            return f"the roster keeps {column.decimals} decimals; set `round = true` to round half away from zero"
        case "missing value":
            return "the roster says that this column is never missing"
        case _:
            return "correct the file, or declare the code as missing"


# ------------------------------------------------------------------------------------------------ requests


def _job(request: dict[str, Any]) -> Job:
    return Job(
        columns=tuple(
            Column(**{**item, "levels": tuple(item["levels"]), "missing": tuple(item["missing"])})
            for item in request["columns"]
        ),
        mappings=tuple(ColumnMap(**{**item, "missing": tuple(item["missing"])}) for item in request["mappings"]),
        paths=tuple(map(Path, request["paths"])),
        kind=request["kind"],
        delimiter=request["delimiter"],
        rows_max=request["rows_max"],
        definition=request["definition"],
        workspace=Path(request["workspace"]),
        person_source=request["person_source"],
        linkage=tuple(request["linkage"]),
    )


def run_import(request: dict[str, Any]) -> object:
    """One import; the child is used once."""
    return _Import(_job(request)).run()


def run_compare(request: dict[str, Any]) -> object:
    """How many persons differ between a snapshot and each of some others."""
    with connect(":memory:", Path(request["workspace"])) as database:
        new, person = Path(request["new"]), request["person"]
        return [compare_child.changed(database, new, Path(old), person) for old in request["old"]]


def run_propose(request: dict[str, Any]) -> object:
    """Propose one table's columns from its files."""
    with connect(":memory:", Path(request["workspace"])) as database:
        paths = [Path(path) for path in request["paths"]]
        return propose.columns(database, paths, request["kind"], request["delimiter"])


def run_split(request: dict[str, Any]) -> object:
    """Split one file among hospitals."""
    with connect(":memory:", Path(request["workspace"])) as database:
        file = propose.one_file(database, Path(request["path"]), request["kind"], request["delimiter"])
        outputs = [Path(path) for path in request["outputs"]]
        return split.split(database, file, outputs, request["by"], request["delimiter"])


def main() -> None:
    """Serve until the parent closes the pipe."""
    child_side.serve({"import": run_import, "compare": run_compare, "propose": run_propose, "split": run_split})


if __name__ == "__main__":
    main()
