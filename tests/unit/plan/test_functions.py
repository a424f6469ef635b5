"""Aggregates are named as SQL names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mpcd.plan import LogicalPlan
from mpcd.plan.functions import functions

Plan = Callable[[str], LogicalPlan]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("COUNT(*)", {"count"}),
        ("SUM(tsize)", {"sum"}),
        ("AVG(tsize), COUNT(*)", {"avg", "count"}),
        ("STDDEV(age) / 2 + CORR(age, tsize)", {"stddev_samp", "corr"}),
        ("ROUND(AVG(age), 1)", {"avg"}),
        ("horTh", {"count"}),
        ("horTh, SUM(age) FILTER (WHERE age > 40)", {"sum"}),
    ],
)
def test_functions_are_named_as_in_sql(select: str, expected: set[str], plan: Plan) -> None:
    group = "" if "horTh" not in select else " GROUP BY horTh"
    assert functions(plan(f"SELECT {select} FROM gbsg2{group}")) == expected


def test_having_and_order_count_as_asked(plan: Plan) -> None:
    sql = "SELECT horTh, COUNT(*) FROM gbsg2 GROUP BY horTh HAVING AVG(age) > 50 ORDER BY SUM(tsize)"
    assert functions(plan(sql)) == {"count", "avg", "sum"}
