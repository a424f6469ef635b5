"""Imports, proposals and splits, as calls that wait: each runs in a child process of its own.

They are for the operator's commands (`mpcctl data publish`, the sandbox).  A call must not be made from the thread that
runs trio: `trio.to_thread.run_sync` there.  Whatever happens to the child, the workspace is removed and nothing else
was touched; a version that appears is complete.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import duckdb
import trio

import mpcd
from mpcd import limits
from mpcd.errors import ConfigurationInvalid, DataInvalid
from mpcd.ids import PartyId
from mpcd.roster import Column, Table
from mpcd.sources.child import Child, ChildFailed, ChildSpec
from mpcd.sources.files import why_unreadable
from mpcd.sources.snapshot import (
    FORMAT,
    Manifest,
    definition,
    file_sha256,
    linkage_path,
    salted,
    settle,
    sync_directory,
    table_directory,
)
from mpcd.sources.tables import ColumnMap, ImportBlocked, ImportReport, Problem, TableSource

_SPEC = ChildSpec(
    module="mpcd.sources.import_child",
    memory_bytes_max=limits.IMPORT_MEMORY_BYTES_MAX,
    files_max=1024,
    written_bytes_max=2**44,
    uses_max=1,
)
_OUTPUT = "snapshot.duckdb"
_LINKAGE = "linkage.bin"
_OPT_OUT = "opt-out.json"


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
    table: Table,
    source: TableSource,
    directory: Path,
    *,
    opt_out: Sequence[str] = (),
    keep: bool = True,
    against: Sequence[Path] = (),
    seconds_max: float = limits.IMPORT_SECONDS_MAX,
) -> ImportReport:
    """Turn the files of `source` into an immutable version of `table` in `directory`; see `mpcd.sources.snapshot`.

    The version is there but not in use: `publish` does that.  The same rows give the same version.

    Args:
        table: of the roster.
        source: where its rows are.
        directory: of all snapshots.
        opt_out: ids of persons, as in the source data, whose rows are left out.
        keep: False to look only: what would be made, and nothing is changed.
        against: snapshots of the same table; the report says by how many persons each differs.
        seconds_max: for reading the files.

    Raises:
        ImportBlocked: something does not fit the roster; its `report` has every reason, nothing was changed.
        DataInvalid: a file is not there, or the child failed; nothing was changed.
        ConfigurationInvalid: the mapping names a column that the roster does not have, or the opt-out list cannot be
            matched with the table.
    """
    names = [column.name for column in table.columns]
    unknown = sorted(set(source.columns) - set(names))
    if unknown:
        raise ConfigurationInvalid(f"table {table.name}: the roster has no column {', '.join(unknown)}")
    if opt_out and source.person is None and table.person_id is None:
        raise ConfigurationInvalid(
            f"table {table.name}: the opt-out list cannot be applied, since nothing says whose rows these are; name "
            f'the column of the files that has the persons\' ids: [tables.{table.name}] person = "..."'
        )
    home = table_directory(directory, table.name)
    paths = _files(source)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = Path(tempfile.mkdtemp(prefix=".import-", dir=home)).resolve()
    try:
        if opt_out:
            (workspace / _OPT_OUT).write_text(json.dumps(list(opt_out)), encoding="utf-8")
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
                "person_source": source.person,
                "linkage": list(source.linkage),
            },
            seconds_max,
        )
        report, manifest = _made(answer, table, workspace, directory)
        changed = _compare(workspace, workspace / _OUTPUT, against, table.person_id, seconds_max)
        if keep:
            _keep(workspace, manifest, directory, linked=bool(source.linkage))
        return replace(report, version=manifest.version, changed=changed)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _column_value(column: Column) -> dict[str, object]:
    return {**asdict(column), "levels": list(column.levels), "missing": list(column.missing)}


def changed_persons(directory: Path, table: Table, new: Path, against: Sequence[Path]) -> tuple[int, ...]:
    """By how many persons a snapshot of `table` differs from each of some others; see `compare_child`."""
    workspace = Path(tempfile.mkdtemp(prefix=".compare-", dir=table_directory(directory, table.name))).resolve()
    try:
        return _compare(workspace, new, against, table.person_id, limits.IMPORT_SECONDS_MAX)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _compare(
    workspace: Path, new: Path, against: Sequence[Path], person: str | None, seconds_max: float
) -> tuple[int, ...]:
    if not against:
        return ()
    body = {"workspace": str(workspace), "new": str(new), "old": [str(path) for path in against], "person": person}
    answer = _in_child("compare", body, seconds_max)
    if not isinstance(answer, list) or len(answer) != len(against) or not all(type(count) is int for count in answer):
        raise DataInvalid("the import child gave an answer that makes no sense")
    return tuple(answer)


def _keep(workspace: Path, manifest: Manifest, directory: Path, *, linked: bool) -> None:
    """The finished files become a version; what tells persons apart at other owners goes beside it, or goes."""
    settle(workspace / _OUTPUT, manifest, directory)
    place = linkage_path(directory, manifest.table, manifest.version)
    if linked:
        (workspace / _LINKAGE).chmod(0o400)
        (workspace / _LINKAGE).replace(place)
    else:
        place.unlink(missing_ok=True)
    sync_directory(place.parent)


def _made(answer: object, table: Table, workspace: Path, directory: Path) -> tuple[ImportReport, Manifest]:
    match answer:
        case {
            "rows": int(rows),
            "persons": int(persons),
            "content": str(content),
            "problems": list(found),
            "notes": notes,
            "opted_out": [int(opted_out_rows), int(opted_out_persons)],
            "linked": int(linked),
        }:
            problems = tuple(Problem(**{**item, "examples": tuple(item["examples"])}) for item in found)
            report = ImportReport(
                table.name,
                rows,
                None,
                problems,
                tuple(notes),
                persons,
                opted_out_rows,
                opted_out_persons,
                linked,
            )
        case _:
            raise DataInvalid("the import child gave an answer that makes no sense; nothing was changed")
    if problems:
        raise ImportBlocked(report)
    output = workspace / _OUTPUT
    manifest = Manifest(
        table=table.name,
        version=salted(directory, bytes.fromhex(content)),
        definition=definition(table),
        rows=rows,
        persons=persons,
        file_sha256=file_sha256(output),
        format=FORMAT,
        mpcd=mpcd.__version__,
        duckdb=duckdb.__version__,
    )
    return report, manifest


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
