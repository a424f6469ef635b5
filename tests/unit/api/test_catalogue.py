"""One list of what several owners describe: only what all allow counts as a use."""

from __future__ import annotations

from typing import Any

from mpcd.api.catalogue import merged


def party(number: int, tables: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": number, "tables": tables}


def table(columns: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    described = [{"name": name, "type": "integer", "bounds": [0, 9], "uses": uses} for name, uses in columns.items()]
    return {"name": "t", "owners": [0, 1, 2], "columns": described, "purposes": ["GRU"], **more}


def only(parties: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = merged({"parties": parties})  # type: ignore[dict-item]  # lists of maps are values
    assert isinstance(found, dict)
    return found


def column(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["columns"] if item["name"] == name)


def test_a_use_counts_only_where_every_owner_allows_it() -> None:
    found = only([party(0, [table({"x": ["filter", "group"]})]), party(1, [table({"x": ["group"]})])])
    assert column(found, "x")["uses"] == ["group"]
    assert column(found, "x")["uses_by_party"] == {"0": ["filter", "group"], "1": ["group"]}


def test_a_column_that_one_owner_hides_has_no_use() -> None:
    found = only([party(0, [table({"x": ["group"], "y": ["group"]})]), party(1, [table({"x": ["group"]})])])
    assert column(found, "y")["uses"] == []
    assert column(found, "x")["uses_by_party"] == {}


def test_owners_that_said_nothing_are_named_and_what_each_asks_stands_apart() -> None:
    found = only([party(0, [table({"x": []})]), party(2, [table({"x": []}, purposes=["HMB"])])])
    assert found["owners_missing"] == [1]
    assert {number: duties["purposes"] for number, duties in found["by_party"].items()} == {"0": ["GRU"], "2": ["HMB"]}


def test_nothing_described_is_nothing() -> None:
    assert merged({"parties": [party(0, [])]}) == []
    assert merged({"parties": "what?"}) == []
