"""How many persons differ between two snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from mpcd.sources.compare_child import changed
from mpcd.sources.snapshot import PERSON_INDEX

Row = tuple[int | None, ...]
BASE: Sequence[Row] = [(1, 40), (2, 50), (2, 51), (3, None)]


def made(path: Path, rows: Sequence[Row], columns: Sequence[str] = ("pid", "age")) -> Path:
    with duckdb.connect(str(path)) as database:
        fields = ", ".join(f'"{name}" BIGINT' for name in (*columns, PERSON_INDEX))
        database.execute(f"CREATE TABLE rows ({fields})")
        for place, row in enumerate(rows):
            database.execute(
                f"INSERT INTO rows VALUES ({', '.join('?' for _ in (*columns, 0))})",
                [*row, place],
            )
    return path


@pytest.mark.parametrize(
    ("rows", "persons", "as_rows"),
    [
        (BASE, 0, 0),
        (BASE[::-1], 0, 0),
        (BASE[1:], 1, 1),
        ([*BASE, (4, 1)], 1, 1),
        ([(1, 41), *BASE[1:]], 1, 1),
        ([*BASE[:3], (3, 0)], 1, 1),
        ([*BASE, (2, 51)], 1, 1),
        ([(2, 40), (1, 50), (2, 51), (3, None)], 2, 2),
        ([(5, 1), (6, 1), (7, 1)], 6, 4),
        ([], 3, 4),
    ],
)
def test_persons_and_rows_that_differ(tmp_path: Path, rows: Sequence[Row], persons: int, as_rows: int) -> None:
    old, new = made(tmp_path / "old", BASE), made(tmp_path / "new", rows)
    with duckdb.connect(":memory:") as database:
        assert changed(database, new, old, "pid") == persons
        assert changed(database, old, new, "pid") == persons
        assert changed(database, new, old, None) == as_rows


def test_between_definitions_shared_columns_count(tmp_path: Path) -> None:
    old = made(tmp_path / "old", BASE)
    wider = made(tmp_path / "wider", [(*row, 7) for row in BASE], ("pid", "age", "size"))
    other = made(tmp_path / "other", [(9,), (9,)], ("else",))
    with duckdb.connect(":memory:") as database:
        assert changed(database, wider, old, "pid") == 0
        assert changed(database, other, old, "pid") == len(BASE)
