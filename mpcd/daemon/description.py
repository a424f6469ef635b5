"""A table as `Describe` shows it (layer 13, pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.plan.uses import VERBS as ANSWERED
from mpcd.roster import Table


def table_map(table: Table, uses: Mapping[str, Sequence[str]]) -> Map:
    """`table` with the columns that are published, each with the uses that a request can be answered for."""
    columns: list[Value] = [
        {
            "name": column.name,
            "type": column.type,
            "unit": column.unit,
            "decimals": column.decimals,
            "levels": list[Value](column.levels),
            "bounds": None if column.type in {"dictionary", "person_id", "boolean"} else list[Value](column.bounds),
            "nullable": column.may_be_null,
            "unique": column.unique,
            "missing": list[Value](column.missing),
            "event_level": column.event_level,
            "uses": [verb for verb in uses[column.name] if verb in ANSWERED],
        }
        for column in table.columns
        if column.name in uses
    ]
    return {
        "name": table.name,
        "owners": [int(owner) for owner in table.owners],
        "rows_max": table.rows_max,
        "persons_disjoint": table.persons_disjoint,
        "rows_disjoint": table.rows_disjoint,
        "person_id": table.person_id if table.person_id in uses else None,
        "columns": columns,
    }
