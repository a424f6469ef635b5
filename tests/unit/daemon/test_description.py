from __future__ import annotations

from mpcd.daemon.description import table_map
from mpcd.governance.policy import VERBS
from mpcd.ids import PartyId
from mpcd.roster import Column, Table


def test_only_uses_that_sql_can_make_are_shown() -> None:
    owners = (PartyId(0), PartyId(1), PartyId(2))
    columns = (Column("x", "integer", 0, 9), Column("y", "integer", 0, 9))
    shown = table_map(Table("t", 100, True, True, None, owners, columns), {"x": VERBS})
    columns_shown = shown["columns"]
    assert isinstance(columns_shown, list)
    (column,) = columns_shown  # `y` is not published
    assert isinstance(column, dict)
    assert column["name"] == "x"
    assert column["uses"] == ["filter", "group", "aggregate", "join"]
