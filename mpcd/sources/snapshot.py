"""Immutable snapshots of an owner's tables, their data versions, and which one is current.

    DIRECTORY/TABLE/VERSION.duckdb    one DuckDB file, mode 0400, with the one table `rows`
    DIRECTORY/TABLE/VERSION.json      its manifest
    DIRECTORY/TABLE/VERSION.linkage   where linkage columns are configured: digests of them, for overlap checks
    DIRECTORY/TABLE/current.json      which version answers requests; replaced atomically by `publish`
    DIRECTORY/version.salt            32 random bytes, made once, mode 0400

**Form.**  Every column of the roster's table, under its own name, as an integer or NULL: integers as they are, decimals
times 10^decimals, dictionary values as their 0-based place among the levels, dates as days since 1970-01-01, booleans
as 0 and 1, each in the narrowest signed type that holds the declared bounds; a person id as a BIGINT that means nothing
outside this owner and is the same in all of the owner's tables, so that they can be joined.  So all local work is exact
integer arithmetic.  A table with a person id has one column more, `PERSON_INDEX`, which numbers its persons 0, 1, 2, …,
and where persons have several rows the rows lie in that order: engines count persons with bitmaps.

**Data version.**  SHA-256 over the format, the roster's definition of the table and the rows in ascending order of all
columns (NULL first), column by column, as the integers that are stored.  Not over the file: DuckDB does not promise the
same bytes for the same rows (allocation, compression, its own version), and approvals and receipts must name the data
and not the file.  It is hashed once more with the owner's *salt*: peers and analysts are told data versions, and
whoever knows or guesses all rows but one could otherwise try out that one; with few rows, all of them.  A version thus
names rows at this owner; what is lost with the salt is only that the same rows get the same name again.  The order of
rows makes it a property of their set, so that the same export in another order is the same version.  The manifest also
holds the file's own SHA-256, which finds damage on disk when a version is published.

Files are written under a temporary name, flushed to disk, made read-only and renamed: a version is there as a whole or
not at all, and no version is ever changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mpcd import canonical
from mpcd.errors import DataInvalid, NotFound, RequestInvalid
from mpcd.ids import DataVersion
from mpcd.roster import Column, Table

FORMAT: Final = 1
ROWS: Final = "rows"
"""Name of the one table in a snapshot."""
PERSON_INDEX: Final = " person"
"""Name of the extra column; the roster's names have no outer spaces."""
_SALT: Final = "version.salt"
_SALT_BYTES: Final = 32
_PLAIN_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")
_VERSION: Final = re.compile(r"[0-9a-f]{64}")
_VERSION_START_MIN: Final = 8
_VERSION_START: Final = re.compile(rf"[0-9a-f]{{{_VERSION_START_MIN},64}}")
_TYPES: Final = (("TINYINT", 2**7), ("SMALLINT", 2**15), ("INTEGER", 2**31), ("BIGINT", 2**63))
_MANIFEST_BYTES_MAX: Final = 4 * 2**20


def integer_type(low: int, high: int) -> str:
    """The narrowest signed DuckDB type that holds every value from `low` to `high`."""
    for name, size in _TYPES:
        if -size <= low and high < size:
            return name
    return "HUGEINT"


def type_bounds(low: int, high: int) -> tuple[int, int]:
    """Lowest and highest value of the type that `integer_type` chooses."""
    size = next(size for _, size in _TYPES if -size <= low and high < size)
    return -size, size - 1


def column_type(column: Column) -> str:
    """The type in which a snapshot stores `column`."""
    return "BIGINT" if column.type == "person_id" else integer_type(column.low, column.high)


def definition(table: Table) -> str:
    """Digest (hexadecimal) of what the roster says about the rows of `table`.

    Another version of the roster with the same definition can use the same snapshot; owners, units and the event level
    do not touch the rows.
    """
    columns = [
        [c.name, c.type, c.low, c.high, c.decimals, list(c.levels), list(c.missing), c.nullable, c.unique]
        for c in table.columns
    ]
    return canonical.digest("table-definition", [table.name, table.person_id, table.rows_max, columns]).hex()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known about one version of one table."""

    table: str
    version: DataVersion
    definition: str
    """`definition(table)` at the time of the import."""
    rows: int
    persons: int
    """Distinct person ids; 0 for a table without them."""
    file_sha256: str
    format: int = FORMAT
    mpcd: str = ""
    duckdb: str = ""
    """Versions of the programs that wrote it."""

    def to_json(self) -> str:
        """Text of the manifest file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Strict inverse of `to_json`; raises `DataInvalid`."""
        try:
            value = json.loads(text)
            manifest = Manifest(**value)
            fits = all(
                isinstance(value[name], str) for name in ("table", "definition", "file_sha256", "mpcd", "duckdb")
            )
            fits = fits and all(type(value[name]) is int and value[name] >= 0 for name in ("rows", "persons"))
            fits = fits and manifest.format == FORMAT
            fits = fits and _VERSION.fullmatch(manifest.version) is not None
        except (ValueError, TypeError, KeyError) as error:
            raise DataInvalid("a snapshot's manifest is damaged; import the table again") from error
        if not fits:
            raise DataInvalid("a snapshot's manifest is of another format; import the table again")
        return manifest


def table_directory(directory: Path, table: str) -> Path:
    """Where the versions of `table` live; any roster name becomes a plain, unambiguous directory name."""
    if _PLAIN_NAME.fullmatch(table):
        return directory / table
    return directory / ("table-" + hashlib.sha256(table.encode()).hexdigest()[:24])


def snapshot_path(directory: Path, table: str, version: DataVersion) -> Path:
    """The DuckDB file of a version; raises `DataInvalid` if `version` cannot be one."""
    if not _VERSION.fullmatch(version):
        raise DataInvalid("a data version is 64 hexadecimal digits")
    return table_directory(directory, table) / f"{version}.duckdb"


def linkage_path(directory: Path, table: str, version: DataVersion) -> Path:
    """Where the digests of a version's linkage columns are, if it has any."""
    return snapshot_path(directory, table, version).with_suffix(".linkage")


def delete(directory: Path, table: str, version: DataVersion) -> None:
    """Remove a version's files; idempotent.  The rows go first: what is left names no person."""
    path = snapshot_path(directory, table, version)
    for place in (path, linkage_path(directory, table, version), path.with_suffix(".json")):
        place.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_directory(path.parent)


def salted(directory: Path, content: bytes) -> DataVersion:
    """The data version of rows, from the digest of their content and this owner's salt, which is made if need be."""
    path = directory / _SALT
    if not path.exists():
        temporary = path.with_name(f".{_SALT}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with temporary.open("xb") as file:
                file.write(os.urandom(_SALT_BYTES))
                file.flush()
                os.fchmod(file.fileno(), 0o400)
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # whoever links first has made the salt
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(directory)
    salt = path.read_bytes()
    if len(salt) != _SALT_BYTES:
        raise DataInvalid(f"{path} is damaged: restore it from a backup, or remove it and import all tables again")
    return DataVersion(canonical.digest("salted-version", [salt, content]).hex())


def read_manifest(directory: Path, table: str, version: DataVersion) -> Manifest:
    """The manifest of a version; raises `DataInvalid` if there is none, or it is of another table."""
    path = snapshot_path(directory, table, version).with_suffix(".json")
    manifest = Manifest.from_json(_read(path, f"table {table} has no version {version[:16]}…; import it first"))
    if (manifest.table, manifest.version) != (table, version):
        raise DataInvalid(f"the manifest of table {table}, version {version[:16]}…, speaks of another; import it again")
    return manifest


def versions(directory: Path, table: str) -> tuple[Manifest, ...]:
    """All versions of `table` on this host, in the order of their names."""
    found = sorted(
        path.stem for path in table_directory(directory, table).glob("*.duckdb") if _VERSION.match(path.stem)
    )
    return tuple(read_manifest(directory, table, DataVersion(version)) for version in found)


def imported(directory: Path, table: str) -> tuple[tuple[Manifest, float], ...]:
    """All versions of `table` with the time of their latest import (seconds since 1970), the newest first."""
    times = {
        manifest: snapshot_path(directory, table, manifest.version).stat().st_mtime_ns
        for manifest in versions(directory, table)
    }
    return tuple((manifest, times[manifest] / 1e9) for manifest in sorted(times, key=times.__getitem__, reverse=True))


def find_version(directory: Path, table: str, wanted: str | None) -> DataVersion:
    """The version whose name begins with `wanted`; the one imported last if None.

    Raises:
        NotFound: there is none.
        RequestInvalid: `wanted` is the beginning of several, or too short to name one.
    """
    found = [manifest.version for manifest, _ in imported(directory, table)]
    if wanted is None:
        if not found:
            raise NotFound(f"table {table} has no imported version; run `mpcctl table import {table}` first")
        return found[0]
    if not _VERSION_START.fullmatch(wanted):
        raise RequestInvalid(f"a data version is named by its first {_VERSION_START_MIN} to 64 hexadecimal digits")
    fitting = [version for version in found if version.startswith(wanted)]
    if not fitting:
        raise NotFound(
            f"table {table} has no version {wanted[:16]}; `mpcctl table list` shows those that were imported"
        )
    if len(fitting) > 1:
        raise RequestInvalid(f"table {table} has {len(fitting)} versions that begin with {wanted}; give more digits")
    return fitting[0]


def _read(path: Path, otherwise: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MANIFEST_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(otherwise) from error


# ------------------------------------------------------------------------------------------------ durable writes


def sync_directory(path: Path) -> None:
    """Flush a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str, mode: int) -> None:
    """Write a small file so that readers see the old one or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def settle(temporary: Path, manifest: Manifest, directory: Path) -> Path:
    """Turn a finished temporary file into the version that `manifest` names, the newest.

    An equal version that is whole stays as it is, but for its time; a damaged one is replaced.
    """
    path = snapshot_path(directory, manifest.table, manifest.version)
    with temporary.open("rb") as file:
        os.fchmod(file.fileno(), 0o400)
        os.fsync(file.fileno())
    if _is_whole(path, manifest):
        temporary.unlink()
        os.utime(path)
        return path
    temporary.replace(path)
    sync_directory(path.parent)
    write_durably(path.with_suffix(".json"), manifest.to_json(), 0o400)
    return path


def _is_whole(path: Path, manifest: Manifest) -> bool:
    """Whether the file at `path` is a version of the same rows, as its own manifest has it."""
    try:
        found = Manifest.from_json(path.with_suffix(".json").read_text(encoding="utf-8"))
        same = (found.table, found.version, found.definition) == (manifest.table, manifest.version, manifest.definition)
        return same and file_sha256(path) == found.file_sha256
    except (OSError, ValueError, DataInvalid):
        return False


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------ publishing


def publish(directory: Path, table: Table, version: DataVersion) -> Manifest:
    """Make `version` the one that answers requests about `table`; atomic, and idempotent.

    Raises:
        DataInvalid: see `publishable`.
    """
    manifest = publishable(directory, table, version)
    path = snapshot_path(directory, table.name, version)
    write_durably(path.with_name("current.json"), json.dumps({"version": version}) + "\n", 0o600)
    return manifest


def withdraw(directory: Path, table: str) -> None:
    """Let no version of `table` answer any more; idempotent."""
    home = table_directory(directory, table)
    (home / "current.json").unlink(missing_ok=True)
    if home.is_dir():
        sync_directory(home)


def publishable(directory: Path, table: Table, version: DataVersion) -> Manifest:
    """The manifest of a version that is whole and fits the roster.

    Raises:
        DataInvalid: no such version, damaged on disk, or imported under another definition of the table.
    """
    manifest = read_manifest(directory, table.name, version)
    if manifest.definition != definition(table):
        raise DataInvalid(
            f"table {table.name}: version {version[:16]}… was imported under another definition of the table; "
            "import it again under the present roster"
        )
    path = snapshot_path(directory, table.name, version)
    if not path.is_file() or file_sha256(path) != manifest.file_sha256:
        raise DataInvalid(f"table {table.name}: the file of version {version[:16]}… is damaged; import it again")
    return manifest


def current(directory: Path, table: str) -> Manifest | None:
    """The manifest of the published version of `table`, None if nothing was published."""
    pointer = table_directory(directory, table) / "current.json"
    if not pointer.exists():
        return None
    try:
        version = json.loads(_read(pointer, f"table {table}: current.json cannot be read"))["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(f"table {table}: current.json is damaged; publish a version again") from error
    if not isinstance(version, str):
        raise DataInvalid(f"table {table}: current.json is damaged; publish a version again")
    return read_manifest(directory, table, DataVersion(version))


@dataclass(frozen=True, slots=True)
class DataSet:
    """One version of each of an owner's tables, opened together by one engine child."""

    manifests: Mapping[str, Manifest]
    paths: Mapping[str, Path]

    @property
    def version(self) -> DataVersion:
        """One digest over all tables' versions: the data version of the whole owner."""
        value = {name: manifest.version for name, manifest in self.manifests.items()}
        return DataVersion(canonical.digest("data-version", value).hex())

    def check(self, tables: Iterable[Table]) -> None:
        """Raise `DataInvalid` unless every one of `tables` is here, imported under its present definition."""
        for table in tables:
            manifest = self.manifests.get(table.name)
            if manifest is None:
                raise DataInvalid(f"table {table.name} is not published here; the operator must import and publish it")
            if manifest.definition != definition(table):
                raise DataInvalid(f"table {table.name} was imported under another roster; import and publish it again")

    @staticmethod
    def published(
        directory: Path, tables: Iterable[str], without: Container[tuple[str, DataVersion]] = frozenset()
    ) -> DataSet:
        """The published versions of those of `tables` that have one, except `without` (table and version)."""
        found = {
            name: manifest
            for name in tables
            if (manifest := current(directory, name)) is not None and (name, manifest.version) not in without
        }
        paths = {name: snapshot_path(directory, name, manifest.version) for name, manifest in found.items()}
        return DataSet(found, paths)
