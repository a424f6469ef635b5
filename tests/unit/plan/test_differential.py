from __future__ import annotations

import pathlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from mpcd import canonical
from mpcd.plan import LogicalPlan
from mpcd.roster import Roster

HERE = pathlib.Path(__file__).parent
QUERIES = [
    line for line in (HERE / "queries.sql").read_text().splitlines() if line.strip() and not line.startswith("--")
]
SIZES = [
    {"visits": 40, "patients": 25, "wards": 3, "gbsg2": 60},
    {"visits": 6, "patients": 9, "wards": 2, "gbsg2": 5},
    {"visits": 1, "patients": 1, "wards": 1, "gbsg2": 1},
    {},
]


def test_there_are_enough_queries() -> None:
    assert len(QUERIES) >= 60
    assert len(set(QUERIES)) == len(QUERIES)


@pytest.fixture(scope="module", params=[(seed, size) for seed in (1, 2) for size in range(len(SIZES))], ids=str)
def world(request: pytest.FixtureRequest, roster: Roster, oracle: Any) -> Any:
    seed, size = request.param
    rng = random.Random(seed * 1000 + size)
    hospitals = [oracle.random_hospital(rng, roster, SIZES[size]) for _ in range(3)]
    alone = [hospitals[0], {}, {}]
    return (hospitals, oracle.pool(roster, hospitals)), (alone, oracle.pool(roster, alone))


@pytest.mark.parametrize("query", QUERIES)
def test_pooled_answer_is_what_duckdb_says(
    world: Any, roster: Roster, oracle: Any, plan: Callable[[str], LogicalPlan], query: str
) -> None:
    sql = query.removeprefix("@wards ")
    hospitals, connection = world[query.startswith("@wards")]
    planned = plan(sql)
    ours = oracle.answer(planned, hospitals)
    theirs = connection.execute(sql).fetchall()
    assert not oracle.differences(ours, theirs, ordered="ORDER BY" in sql)


@pytest.mark.parametrize("query", QUERIES)
def test_plan_survives_its_encoding(roster: Roster, plan: Callable[[str], LogicalPlan], query: str) -> None:
    planned = plan(query.removeprefix("@wards "))
    encoded = canonical.encode(planned.to_value())
    again = LogicalPlan.from_value(canonical.decode(encoded), roster)
    assert again == planned
    assert again.hash() == planned.hash()
    assert canonical.encode(again.to_value()) == encoded
