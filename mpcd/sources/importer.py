"""Imports, proposals and splits, as calls that wait: each runs in a child process of its own.

They are for the operator's commands (`mpcctl table import`, the sandbox).  A call must not be made from the thread that
runs trio: `trio.to_thread.run_sync` there.  Whatever happens to the child, the workspace is removed and nothing else
was touched; a version that appears is complete.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import trio

import mpcd
from mpcd import limits
from mpcd.errors import ConfigurationInvalid, DataInvalid
from mpcd.ids import DataVersion, PartyId
from mpcd.roster import Column, Table
from mpcd.sources.child import Child, ChildFailed, ChildSpec
from mpcd.sources.files import why_unreadable
from mpcd.sources.snapshot import FORMAT, Manifest, definition, file_sha256, settle, table_directory
from mpcd.sources.tables import ColumnMap, ImportBlocked, ImportReport, Problem, TableSource

_SPEC = ChildSpec(
    module="mpcd.sources.import_child",
    memory_bytes_max=limits.IMPORT_MEMORY_BYTES_MAX,
    files_max=1024,
    written_bytes_max=2**44,
    uses_max=1,
)
_OUTPUT = "snapshot.duckdb"


def _in_child(op: str, body: Mapping[str, object], seconds: float) -> object:
    """One request to a child of its own; this thread waits."""

    async def ask() -> object:
        async with await Child.start(_SPEC) as child:
            return await child.call(op, body, seconds=seconds)

    try:
        return trio.run(ask)
    except ChildFailed as error:
        why = {"deadline": "took too long", "closed": "ran out of memory or disk, or was killed"}.get(
            error.reason, "failed"
        )
        raise DataInvalid(f"reading the files {why}; nothing was changed") from error


def _files(source: TableSource) -> list[str]:
    for path in source.paths:
        if (why := why_unreadable(path)) is not None:
            raise DataInvalid(why)
    return [str(path.resolve()) for path in source.paths]


# ------------------------------------------------------------------------------------------------ import


def import_table(
    table: Table, source: TableSource, directory: Path, *, seconds_max: float = limits.IMPORT_SECONDS_MAX
) -> ImportReport:
    """Turn the files of `source` into an immutable version of `table` in `directory`; see `mpcd.sources.snapshot`.

    The version is there but not in use: `publish` does that.  The same rows give the same version.

    Raises:
        ImportBlocked: something does not fit the roster; its `report` has every reason, nothing was changed.
        DataInvalid: a file is not there, or the child failed; nothing was changed.
        ConfigurationInvalid: the mapping names a column that the roster does not have.
    """
    names = [column.name for column in table.columns]
    unknown = sorted(set(source.columns) - set(names))
    if unknown:
        raise ConfigurationInvalid(f"table {table.name}: the roster has no column {', '.join(unknown)}")
    home = table_directory(directory, table.name)
    paths = _files(source)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = Path(tempfile.mkdtemp(prefix=".import-", dir=home)).resolve()
    try:
        answer = _in_child(
            "import",
            {
                "columns": [_column_value(column) for column in table.columns],
                "mappings": [source.column(name).to_value() for name in names],
                "paths": paths,
                "kind": source.format,
                "delimiter": source.delimiter,
                "rows_max": table.rows_max,
                "definition": definition(table),
                "workspace": str(workspace),
            },
            seconds_max,
        )
        return _finish(answer, table, workspace, directory)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _column_value(column: Column) -> dict[str, object]:
    return {**asdict(column), "levels": list(column.levels), "missing": list(column.missing)}


def _finish(answer: object, table: Table, workspace: Path, directory: Path) -> ImportReport:
    match answer:
        case {
            "rows": int(rows),
            "persons": int(persons),
            "content": str(content),
            "problems": list(found),
            "notes": notes,
        }:
            problems = tuple(Problem(**{**item, "examples": tuple(item["examples"])}) for item in found)
            report = ImportReport(table.name, rows, None, problems, tuple(notes))
        case _:
            raise DataInvalid("the import child gave an answer that makes no sense; nothing was changed")
    if problems:
        raise ImportBlocked(report)
    output = workspace / _OUTPUT
    manifest = Manifest(
        table=table.name,
        version=DataVersion(content),
        definition=definition(table),
        rows=rows,
        persons=persons,
        file_sha256=file_sha256(output),
        format=FORMAT,
        mpcd=mpcd.__version__,
        duckdb=duckdb.__version__,
    )
    settle(output, manifest, directory)
    return ImportReport(table.name, rows, manifest.version, (), tuple(notes))


# ------------------------------------------------------------------------------------------------ proposals


@dataclass(frozen=True, slots=True)
class Proposal:
    """A table for the roster, and how its files map to it."""

    table: Table
    columns: Mapping[str, ColumnMap]
    """For `TableSource.columns`: what the files need besides the roster."""
    notes: tuple[str, ...]
    """What was left out or rounded, in sentences."""
    rows: tuple[int, ...]
    """Rows per file."""


def propose_schema(
    tables: Mapping[str, Sequence[Path]],
    owners: Sequence[PartyId] = (PartyId(0), PartyId(1), PartyId(2)),
    *,
    delimiter: str = ",",
    seconds_max: float = limits.IMPORT_SECONDS_MAX,
) -> dict[str, Proposal]:
    """Propose a roster table for each name from all of its files (rows and persons taken as disjoint).

    Raises:
        DataInvalid: a file cannot be read, or nothing in it can be published.
    """
    return {name: _propose(name, paths, owners, delimiter, seconds_max) for name, paths in tables.items()}


def _propose(
    name: str, paths: Sequence[Path], owners: Sequence[PartyId], delimiter: str, seconds_max: float
) -> Proposal:
    source = TableSource(tuple(paths), delimiter=delimiter)
    with tempfile.TemporaryDirectory(prefix="mpcd-propose-") as workspace:
        body = {"paths": _files(source), "kind": source.format, "delimiter": delimiter, "workspace": workspace}
        answer = _in_child("propose", body, seconds_max)
    match answer:
        case {
            "columns": list(columns),
            "person_id": (str() | None) as person,
            "rounded": list(rounded),
            "notes": list(notes),
            "rows": list(rows),
        }:
            pass
        case _:
            raise DataInvalid("the import child gave an answer that makes no sense")
    if not columns:
        raise DataInvalid(f"table {name}: no column can be published: {'; '.join(notes)}")
    made = tuple(
        Column(**{**item, "levels": tuple(item.get("levels", ())), "missing": tuple(item.get("missing", ()))})
        for item in columns
    )
    table = Table(
        name=name,
        rows_max=rows_bound(sum(rows)),
        rows_disjoint=True,
        persons_disjoint=True,
        person_id=person,
        owners=tuple(owners),
        columns=made,
    )
    return Proposal(table, {column: ColumnMap(round=True) for column in rounded}, tuple(notes), tuple(rows))


def rows_bound(rows: int) -> int:
    """The next 1, 2 or 5 times a power of ten, at least 100."""
    bound = 100
    while not any(multiple * bound >= rows for multiple in (1, 2, 5)):
        bound *= 10
    return next(multiple * bound for multiple in (1, 2, 5) if multiple * bound >= rows)


def split_file(
    path: Path,
    outputs: Sequence[Path],
    *,
    by: str | None = None,
    delimiter: str = ",",
    seconds_max: float = limits.IMPORT_SECONDS_MAX,
) -> tuple[int, ...]:
    """Split one file among hospitals, one output file each; returns their numbers of rows.  See `mpcd.sources.split`.

    Raises:
        DataInvalid: the file cannot be read, or has no column `by`.
    """
    source = TableSource((path,), delimiter=delimiter)
    (resolved,) = _files(source)
    with tempfile.TemporaryDirectory(prefix="mpcd-split-") as workspace:
        body = {
            "path": resolved,
            "outputs": [str(output.resolve()) for output in outputs],
            "by": by,
            "kind": source.format,
            "delimiter": delimiter,
            "workspace": workspace,
        }
        answer = _in_child("split", body, seconds_max)
    assert isinstance(answer, list)
    return tuple(int(count) for count in answer)
