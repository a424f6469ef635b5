"""What several owners say of their tables, as one list (layer 12, no I/O).

Every party describes its own part of a table by its own policy.  What a request may use is what *all* owners of the
table allow, so the merged columns carry the verbs that every answering owner listed; where owners differ, each owner's
own list stands beside.  An owner that does not accept the analyst, or is away, is said to be: a request about its
tables would be refused, or wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mpcd.api.types import Map
from mpcd.canonical import Value

_OF_ROSTER: Final = ("name", "owners", "rows_max", "persons_disjoint", "rows_disjoint", "person_id")
_OF_COLUMN: Final = (
    "name",
    "type",
    "unit",
    "decimals",
    "levels",
    "bounds",
    "nullable",
    "unique",
    "missing",
    "event_level",
)
_OF_OWNER: Final = (
    "purposes",
    "conditions",
    "licence",
    "offers",
    "approvals",
    "granularity",
    "noise_only",
    "noise",
    "queries",
    "queries_days",
    "data_version",
    "gives_rows",
)


def merged(answer: Map) -> list[Value]:
    """The tables of an answer of `DiscoveryDescribe`, each once, in the order in which they first occur."""
    described: dict[str, dict[str, Map]] = {}
    for party in maps(answer, "parties"):
        for table in maps(party, "tables"):
            described.setdefault(str(table.get("name")), {})[str(party.get("id"))] = table
    return [_table(by_party) for by_party in described.values()]


def maps(value: Map, key: str) -> list[Map]:
    """The maps in the list at `key`."""
    items = value.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _table(by_party: dict[str, Map]) -> Map:
    first = next(iter(by_party.values()))
    owners = first.get("owners")
    wanted = {str(owner) for owner in owners} if isinstance(owners, list) else set()
    silent: list[Value] = [int(owner) for owner in sorted(wanted - by_party.keys())]
    table: Map = {key: first.get(key) for key in _OF_ROSTER}
    table["columns"] = _columns(by_party)
    table["by_party"] = {party: {key: described.get(key) for key in _OF_OWNER} for party, described in by_party.items()}
    table["owners_missing"] = silent
    return table


def _columns(by_party: dict[str, Map]) -> list[Value]:
    found: dict[str, dict[str, Map]] = {}
    for party, table in by_party.items():
        for item in maps(table, "columns"):
            found.setdefault(str(item.get("name")), {})[party] = item
    columns: list[Value] = []
    for described in found.values():
        first = next(iter(described.values()))
        uses = {party: _verbs(described.get(party)) for party in by_party}
        common = [verb for verb in next(iter(uses.values())) if all(verb in verbs for verbs in uses.values())]
        column: Map = {key: first.get(key) for key in _OF_COLUMN}
        column["uses"] = list[Value](common)
        alike = len({tuple(verbs) for verbs in uses.values()}) == 1
        column["uses_by_party"] = {} if alike else {party: list[Value](verbs) for party, verbs in uses.items()}
        columns.append(column)
    return columns


def _verbs(column: Map | None) -> list[str]:
    uses: object = None if column is None else column.get("uses")
    return [str(verb) for verb in _items(uses)]


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()
