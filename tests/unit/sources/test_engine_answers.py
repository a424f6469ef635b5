"""What the daemon believes of an engine child's answer: only what this plan can have for an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mpcd.sources.engine import LocalAnswer, _read
from mpcd.sources.generate_duckdb import Output, Statement

ROWS_MAX = 1000
PLAN = cast("Any", SimpleNamespace(cells=4, rows_per_owner_max=ROWS_MAX, values=(SimpleNamespace(field="p"),)))
STATEMENT = Statement("", 4, (Output("counted", 1), Output("complement", 2, 1)), (Output("counted", 3),))
"""Columns: the cell, its persons, those of them inside a condition (outside is the rest), a sum."""


def read(*rows: tuple[int, int, int, int], **changes: object) -> LocalAnswer | None:
    table = np.array(rows, dtype="<i8").reshape(-1, 4)
    return _read({"rows": len(rows), "data": table.T.tobytes(), **changes}, PLAN, STATEMENT)


def test_an_honest_answer_is_dense() -> None:
    answer = read((3, 10, 4, -7), (0, ROWS_MAX, 0, 5))
    assert answer is not None
    assert answer.cohorts.tolist() == [[ROWS_MAX, 0, 0, 10], [ROWS_MAX, 0, 0, 6]]
    assert cast("Any", answer.values[0]).tolist() == [5, 0, 0, -7]
    empty = read()
    assert empty is not None
    assert not empty.cohorts.any()


@pytest.mark.parametrize(
    "row",
    [
        (-1, 1, 1, 0),
        (4, 1, 1, 0),
        (2**62, 1, 1, 0),
        (0, 1, 1, 0),
        (1, -1, -1, 0),
        (1, ROWS_MAX + 1, 1, 0),
        (1, 2, 3, 0),
        (1, 2, -ROWS_MAX, 0),
        (1, -(2**63), 0, 0),
    ],
    ids=[
        "a cell before the first",
        "a cell after the last",
        "a cell far away",
        "a cell twice",
        "a negative count",
        "more persons than rows",
        "more inside than there are",
        "more outside than there are",
        "the lowest number there is",
    ],
)
def test_what_no_honest_child_says_is_not_believed(row: tuple[int, int, int, int]) -> None:
    honest = (0, 10, 4, 7)
    assert read(honest) is not None
    assert read(honest, row) is None


@pytest.mark.parametrize(
    "changes", [{"rows": 2}, {"rows": 0}, {"rows": "1"}, {"data": b""}, {"data": bytes(31)}, {"data": "x" * 32}]
)
def test_an_answer_of_another_form_is_not_believed(changes: dict[str, object]) -> None:
    assert read((0, 1, 1, 1), **changes) is None
