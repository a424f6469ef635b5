"""Differences between questions' sets on real data, through the engine child, equal SQL's own count of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import trio

from mpcd.compile import beside
from mpcd.compile.beside import Beside
from mpcd.errors import EngineFailed
from mpcd.governance.history import Definition, Key, Region, question, table_digest
from mpcd.ids import PartyId
from mpcd.plan.domains import Values
from mpcd.plan.nodes import Add, ColumnRef
from mpcd.plan.planner import plan_sql
from mpcd.roster import Party, Roster
from mpcd.sources.child import ChildFailed
from mpcd.sources.engine import DuckdbEngine, open_engine
from mpcd.sources.importer import import_table, propose_schema
from mpcd.sources.snapshot import DataSet, publish
from mpcd.sources.tables import TableSource

DATA = Path(__file__).parents[2] / "data"
DAY = dt.date(2026, 1, 1)
ME = PartyId(0)
TOTAL = "SELECT COUNT(*) FROM gbsg2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Roster]:
    directory = tmp_path_factory.mktemp("snapshots")
    proposal = propose_schema({"gbsg2": [DATA / "gbsg2.csv"]})["gbsg2"]
    report = import_table(proposal.table, TableSource((DATA / "gbsg2.csv",), proposal.columns), directory)
    assert report.version is not None
    publish(directory, proposal.table, report.version)
    parties = tuple(Party(PartyId(i), f"h{i}", f"c{i}", f"s{i}", ("input", "compute")) for i in range(3))
    return directory, Roster("test", 1, parties, (proposal.table,))


@pytest.fixture
async def engine(home: tuple[Path, Roster]) -> AsyncIterator[DuckdbEngine]:
    directory, roster = home
    async with open_engine(DataSet.published(directory, ["gbsg2"]), roster) as opened:
        yield opened


def stands(roster: Roster, now: str, *before: str) -> Beside:
    plan = plan_sql(now, roster, DAY)
    past = [question(plan_sql(sql, roster, DAY), roster).definition for sql in before]
    return beside.plan(question(plan, roster), past, roster, plan.cells)


async def count(engine: DuckdbEngine, roster: Roster, condition: str) -> int:
    answer = await engine.aggregate(plan_sql(f"{TOTAL} WHERE {condition}", roster, DAY))
    return int(answer.cohorts[0, 0])


async def test_totals(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    found = stands(home[1], f"{TOTAL} WHERE age > 60", f"{TOTAL} WHERE age > 50 AND tsize < 30", TOTAL)
    wanted = [
        await count(engine, home[1], "(age > 60) <> (age > 50 AND tsize < 30)"),
        await count(engine, home[1], "age <= 60"),
    ]
    assert (await engine.differences(found, ME, 10**6)).tolist() == wanted
    assert (await engine.differences(found, ME, 11)).tolist() == [11, 11]


async def test_cells_margins_and_unions(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    before = f"{TOTAL} WHERE age BETWEEN 41 AND 60 AND NOT (age = 45 AND tsize = 30)"
    found = stands(home[1], "SELECT age, menostat, SUM(tsize) FROM gbsg2 GROUP BY 1, 2", before)
    got = await engine.differences(found, ME, 10**6)
    left_out = await count(engine, home[1], "age = 45 AND tsize = 30")
    assert left_out > 0
    assert left_out in got.tolist()
    assert got.max() > 100


async def test_a_child_keeps_what_it_evaluated(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    past = [f"{TOTAL} WHERE age > {number} AND horTh = 'yes'" for number in range(21, 80)]
    found = stands(home[1], TOTAL, *past)
    first = await engine.differences(found, ME, 10**6)
    again = await engine.differences(found, ME, 10**6)
    assert np.array_equal(first, again)
    assert len(set(first.tolist())) > 20


async def test_an_owner_that_was_not_among_the_owners_differs_by_everybody(
    engine: DuckdbEngine, home: tuple[Path, Roster]
) -> None:
    found = stands(home[1], TOTAL, f"{TOTAL} WHERE age > 40")
    assert (await engine.differences(found, PartyId(7), 10**6)).tolist() == [0]


async def test_a_comparison_that_runs_away_is_killed(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    found = stands(home[1], TOTAL, f"{TOTAL} WHERE age > 40")
    with pytest.raises(ChildFailed):
        await engine.differences(found, ME, 11, deadline=trio.current_time())
    assert (await engine.differences(found, ME, 11)).tolist() == [11]


async def test_a_table_that_is_not_published(home: tuple[Path, Roster]) -> None:
    found = stands(home[1], TOTAL, f"{TOTAL} WHERE age > 40")
    with pytest.raises(EngineFailed):
        await DuckdbEngine().differences(found, ME, 11)


async def test_no_definition_of_a_peer_tells_by_an_error_who_is_there(
    engine: DuckdbEngine, home: tuple[Path, Roster]
) -> None:
    """A lying owner may list sets that no request has; codes out of BIGINT must not fail where a row is."""
    table, asked = home[1].tables[0], question(plan_sql(TOTAL, home[1], DAY), home[1])
    for size in (35, 33):  # one person, and nobody
        there = Region(
            tuple((ColumnRef(0, c), Values(((v, v),), False)) for c, v in (("age", 45), ("tsize", size))), ()
        )
        assert await count(engine, home[1], f"age = 45 AND tsize = {size}") == (size == 35)
        key = Key(Add(ColumnRef(0, "age"), ColumnRef(0, "tsize")), -(2**63 - 1), 1, nullable=False)
        made = Definition(((table.name, table_digest(table)),), (), (ME, PartyId(1)), (key,), (there,))
        found = beside.plan(asked, [Definition.from_bytes(made.body)], home[1], 1)
        assert len(found.pairs)
        assert set((await engine.differences(found, ME, 11)).tolist()) == {11}
