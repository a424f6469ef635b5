"""Random expressions: whatever the planner answers, DuckDB must answer alike, and nothing may fail untyped.

This is what shows that the parser reads operators with DuckDB's precedence: the texts have parentheses at random
places only.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mpcd.errors import CallerFault
from mpcd.plan import LogicalPlan
from mpcd.roster import Roster

NUMBERS = ["crp", "temp", "los", '"ph.ecog"', "3", "-2", "0.5", "1.25", "10", "0"]
TEXTS = ["'icu'", "'Surgery'", "'medicine'"]
ROUNDS = 150


class Writer:
    """Writes random SQL, at most `depth` operators deep."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def maybe(self, text: str) -> str:
        return f"({text})" if self.rng.random() < 0.3 else text

    def number(self, depth: int) -> str:
        if depth == 0 or self.rng.random() < 0.3:
            return self.rng.choice(NUMBERS)
        kind = self.rng.randrange(9)
        inner = self.number(depth - 1)
        if kind < 4:
            return self.maybe(f"{inner} {self.rng.choice('+-*')} {self.number(depth - 1)}")
        if kind == 4:
            return self.maybe(f"{inner} {self.rng.choice(['/', '//', '%'])} {self.rng.choice(['3', '2', '10', '7'])}")
        if kind == 5:
            return f"-{self.maybe(inner)}"
        if kind == 6:
            return f"{self.rng.choice(['FLOOR', 'CEIL', 'ABS'])}({inner})"
        if kind == 7:
            return f"COALESCE({inner}, {self.number(0)})"
        return f"CASE WHEN {self.condition(depth - 1)} THEN {inner} ELSE {self.number(depth - 1)} END"

    def condition(self, depth: int) -> str:
        if depth == 0 or self.rng.random() < 0.2:
            return self.rng.choice(
                ["icu", "NOT icu", "ward = 'icu'", "ward IS NULL", "crp IS NOT NULL", "TRUE", "day > DATE '2020-06-01'"]
            )
        kind = self.rng.randrange(9)
        if kind < 3:
            joined = self.rng.choice(["AND", "OR"])
            return self.maybe(f"{self.condition(depth - 1)} {joined} {self.condition(depth - 1)}")
        if kind == 3:
            return f"NOT {self.maybe(self.condition(depth - 1))}"
        if kind == 4:
            low, high = self.number(0), self.number(0)
            return self.maybe(f"{self.number(depth - 1)} {self.rng.choice(['', 'NOT '])}BETWEEN {low} AND {high}")
        if kind == 5:
            items = ", ".join(self.rng.sample(TEXTS, 2)) + self.rng.choice(["", ", NULL"])
            return self.maybe(f"ward {self.rng.choice(['', 'NOT '])}IN ({items})")
        if kind == 6:
            return self.maybe(f"({self.condition(depth - 1)}) IS {self.rng.choice(['NOT ', ''])}TRUE")
        sign = self.rng.choice(["=", "<>", "<", "<=", ">", ">="])
        return self.maybe(f"{self.number(depth - 1)} {sign} {self.number(1)}")


@pytest.fixture(scope="module")
def world(roster: Roster, oracle: Any) -> Any:
    rng = random.Random(7)
    hospitals = [oracle.random_hospital(rng, roster, {"visits": 25}) for _ in range(3)]
    return hospitals, oracle.pool(roster, hospitals)


@pytest.mark.parametrize("seed", range(4))
def test_random_filters(seed: int, world: Any, oracle: Any, plan: Callable[[str], LogicalPlan]) -> None:
    hospitals, connection = world
    writer = Writer(random.Random(seed))
    answered = 0
    for _ in range(ROUNDS):
        sql = f"SELECT COUNT(*), SUM(los) FROM visits WHERE {writer.condition(3)}"
        try:
            planned = plan(sql)
        except CallerFault:
            continue
        theirs = connection.execute(sql).fetchall()
        answered += 1
        assert not oracle.differences(oracle.answer(planned, hospitals), theirs, ordered=True), f"seed {seed}: {sql}"
    assert answered > ROUNDS // 3


@pytest.mark.parametrize("seed", range(2))
def test_random_group_keys_and_sums(seed: int, world: Any, oracle: Any, plan: Callable[[str], LogicalPlan]) -> None:
    hospitals, connection = world
    writer = Writer(random.Random(1000 + seed))
    answered = 0
    for _ in range(ROUNDS):
        inside = writer.number(2)
        sql = (
            f"SELECT {writer.number(2)} AS k, COUNT(*), SUM({inside}), "
            f"AVG({inside}) FILTER (WHERE {writer.condition(1)}) FROM visits GROUP BY ALL"
        )
        try:
            planned = plan(sql)
        except CallerFault:
            continue
        if planned.cells > 3000:
            continue
        theirs = connection.execute(sql).fetchall()
        answered += 1
        differences = oracle.differences(oracle.answer(planned, hospitals), theirs, ordered=False)
        assert not differences, f"seed {seed}: {sql}: {differences}"
    assert answered > 10
