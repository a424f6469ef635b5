"""Where an owner's records are read: killable children, imports, snapshots, generated SQL (layer 11).

Everything that touches analyst text or patient rows runs in a child process that may be killed at any moment:

    planner child   SQL text -> logical plan           `Planner`        no files, no rows
    import child    CSV or Parquet -> snapshot         `import_table`   reads the sources, writes one directory
    engine child    one generated statement -> sums    `DuckdbEngine`   reads snapshots, nothing else

The parent keeps what must not be trusted to a child: the deadline, the limits, the check of what comes back, and the
one error that the rest of the world sees (`EngineFailed`).  The names below are loaded on first use, so that a child
imports only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpcd.sources.child import Child, ChildSpec
    from mpcd.sources.engine import DuckdbEngine, LocalAnswer
    from mpcd.sources.importer import import_table, propose_schema
    from mpcd.sources.planner import Planner
    from mpcd.sources.snapshot import DataSet, Manifest, current, publish
    from mpcd.sources.tables import ColumnMap, ImportReport, TableSource

_HOMES = {
    "Child": "child",
    "ChildSpec": "child",
    "ColumnMap": "tables",
    "DataSet": "snapshot",
    "DuckdbEngine": "engine",
    "ImportReport": "tables",
    "LocalAnswer": "engine",
    "Manifest": "snapshot",
    "Planner": "planner",
    "TableSource": "tables",
    "current": "snapshot",
    "import_table": "importer",
    "propose_schema": "importer",
    "publish": "snapshot",
}

__all__ = [
    "Child",
    "ChildSpec",
    "ColumnMap",
    "DataSet",
    "DuckdbEngine",
    "ImportReport",
    "LocalAnswer",
    "Manifest",
    "Planner",
    "TableSource",
    "current",
    "import_table",
    "propose_schema",
    "publish",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
