"""Where an owner's table comes from, and what an import found: plain values, no I/O.

`TableSource` is the `[table.NAME]` section of `mpcd.toml`:

    [tables.gbsg2]
    paths = ["/srv/export/gbsg2.csv"]         # CSV or Parquet, by their ending; several files are one table
    delimiter = ","                           # CSV only
    # person = "MRN"                          column of the files that the opt-out list names; default: the person id
    # linkage = ["NATIONAL_ID"]               columns that together tell a person at every owner; for overlap checks
    [tables.gbsg2.columns.horTh]              # optional, per column of the roster
    source = "HORMONE_THERAPY"                # name in the files; default: the roster's name
    values = { "1" = "yes", "0" = "no" }      # local code -> roster level
    missing = ["9"]                           # further codes that mean NULL here
    round = true                              # decimals beyond the roster's are rounded half away from zero
    date_format = "%d.%m.%Y"                  # default: ISO 8601
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mpcd.errors import ConfigurationInvalid, DataInvalid
from mpcd.ids import DataVersion

Format = Literal["csv", "parquet"]
Reason = Literal[
    "unmapped level",
    "out of bounds",
    "not a number",
    "not a date",
    "not a boolean",
    "not exactly representable",
    "missing value",
    "duplicate",
    "two persons under one code",
    "too many rows",
    "missing column",
    "unreadable",
]

PARQUET_ENDINGS: Final = frozenset({".parquet", ".pq"})


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """How one column of the roster is found in the files."""

    source: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    round: bool = False
    date_format: str | None = None

    def to_value(self) -> dict[str, object]:
        """For the import child."""
        return {
            "source": self.source,
            "values": dict(self.values),
            "missing": list(self.missing),
            "round": self.round,
            "date_format": self.date_format,
        }


@dataclass(frozen=True, slots=True)
class TableSource:
    """The files of one table, and how they map to the roster."""

    paths: tuple[Path, ...]
    columns: Mapping[str, ColumnMap] = field(default_factory=dict)
    delimiter: str = ","
    person: str | None = None
    """Column of the files that holds what the opt-out list names; None: the one of the roster's person id."""
    linkage: tuple[str, ...] = ()
    """Columns of the files that together tell one person from another at every owner; none: no overlap checks."""

    @property
    def format(self) -> Format:
        """By the files' ending; all must agree."""
        endings = {path.suffix.lower() in PARQUET_ENDINGS for path in self.paths}
        if len(endings) != 1:
            raise ConfigurationInvalid("the files of one table must all be CSV or all be Parquet")
        return "parquet" if endings.pop() else "csv"

    def column(self, name: str) -> ColumnMap:
        """The mapping of that roster column; the plain one if nothing is configured."""
        return self.columns.get(name, ColumnMap())

    @staticmethod
    def from_value(value: object, base: Path = Path()) -> TableSource:
        """Read the section of `mpcd.toml`; relative paths start at `base`.  Raises `ConfigurationInvalid`."""
        section = _map(value, "a table", {"paths", "columns", "delimiter", "person", "linkage"})
        paths = tuple(base / path for path in _texts(section.get("paths"), "paths"))
        if not paths:
            raise ConfigurationInvalid("paths must name at least one file")
        delimiter = _text(section.get("delimiter", ","), "delimiter")
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigurationInvalid("delimiter must be one character, and no quote or line end")
        columns = _map(section.get("columns", {}), "columns", None)
        person = None if section.get("person") is None else _text(section["person"], "person")
        linkage = tuple(_texts(section.get("linkage", []), "linkage"))
        mapped = {name: _column(part, name) for name, part in columns.items()}
        return TableSource(paths, mapped, delimiter, person, linkage)


def _column(value: object, name: str) -> ColumnMap:
    part = _map(value, f"column {name}", {"source", "values", "missing", "round", "date_format"})
    values = _map(part.get("values", {}), f"column {name}: values", None)
    rounding = part.get("round", False)
    if not isinstance(rounding, bool):
        raise ConfigurationInvalid(f"column {name}: round must be true or false")
    return ColumnMap(
        source=None if part.get("source") is None else _text(part["source"], f"column {name}: source"),
        values={key: _text(level, f"column {name}: values") for key, level in values.items()},
        missing=tuple(_texts(part.get("missing", []), f"column {name}: missing")),
        round=rounding,
        date_format=None if part.get("date_format") is None else _text(part["date_format"], f"column {name}"),
    )


def _map(value: object, what: str, allowed: set[str] | None) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigurationInvalid(f"{what} must be a table")
    unknown = set() if allowed is None else set(value) - allowed
    if unknown:
        raise ConfigurationInvalid(f"{what}: unknown setting {', '.join(sorted(unknown))}")
    return dict(value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationInvalid(f"{what} must be text")
    return value


def _texts(value: object, what: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise ConfigurationInvalid(f"{what} must be a list of texts")
    return [_text(item, what) for item in value]


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why an import is blocked; `examples` are the operator's own values and stay on this host."""

    column: str
    reason: Reason
    count: int
    advice: str = ""
    examples: tuple[str, ...] = field(default=(), repr=False)

    def sentence(self) -> str:
        """For the operator and the log: no values."""
        place = f"column {self.column}" if self.column else "the table"
        rows = f" ({self.count} row{'' if self.count == 1 else 's'})"
        counted = self.reason not in {"missing column", "unreadable"}
        return f"{place}: {self.reason}{rows if counted else ''}" + (f"; {self.advice}" if self.advice else "")

    def lines(self) -> list[str]:
        """For the operator of this host alone: the sentence, and the examples below it."""
        return [f"  {self.sentence()}", *(f"    {example}" for example in self.examples)]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import read and made.  `version` is None if it was blocked: nothing was changed then."""

    table: str
    rows: int
    version: DataVersion | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    persons: int = 0
    """Distinct person ids; 0 for a table without them."""
    opted_out_rows: int = 0
    """Rows that the opt-out list kept out."""
    opted_out_persons: int = 0
    """Listed persons who had rows."""
    linked: int = 0
    """Persons who can be found at other owners too, by the linkage columns."""
    changed: tuple[int, ...] = ()
    """By how many persons it differs from each version that it was compared with."""


class ImportBlocked(DataInvalid):
    """The files do not fit the roster's table; the text has no values, `for_operator` and `report` have examples."""

    def __init__(self, report: ImportReport) -> None:
        super().__init__("\n".join([self._title(report), *(f"  {p.sentence()}" for p in report.problems)]))
        self.report = report

    @staticmethod
    def _title(report: ImportReport) -> str:
        return f"table {report.table} does not take these files as they are; nothing was changed:"

    def for_operator(self) -> str:
        """One line for each problem, with a few of this host's own rows below it; not for a log or a peer."""
        lines = [line for problem in self.report.problems for line in problem.lines()]
        return "\n".join([self._title(self.report), *lines])
