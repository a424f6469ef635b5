"""The engine and planner children on real data: answers, confinement, deadlines, versions that change."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
import trio
from structlog.testing import capture_logs

from mpcd.errors import DataInvalid, EngineFailed, PlanInvalid, PlanUnsupported
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.roster import Column, Party, Roster, Table
from mpcd.sources import engine_child
from mpcd.sources.child import ChildFailed
from mpcd.sources.engine import DuckdbEngine, EngineSettings, open_engine
from mpcd.sources.importer import import_table, propose_schema
from mpcd.sources.planner import Planner
from mpcd.sources.snapshot import DataSet, publish, snapshot_path, table_directory
from mpcd.sources.tables import TableSource

DATA = Path(__file__).parents[2] / "data"
DAY = dt.date(2026, 1, 1)
NAMES = ("gbsg2", "lung", "wdbc")
SQL = (
    "SELECT horTh, COUNT(*), AVG(age), STDDEV_SAMP(tsize), CORR(progrec, estrec) FROM gbsg2 "
    "WHERE menostat = 'Post' GROUP BY horTh"
)


def make_roster(*tables: Table) -> Roster:
    parties = tuple(Party(PartyId(i), f"h{i}", f"c{i}", f"s{i}", ("input", "compute")) for i in range(3))
    return Roster("test", 1, parties, tables)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Roster]:
    directory = tmp_path_factory.mktemp("snapshots")
    proposals = propose_schema({name: [DATA / f"{name}.csv"] for name in NAMES})
    for name, proposal in proposals.items():
        report = import_table(proposal.table, TableSource((DATA / f"{name}.csv",), proposal.columns), directory)
        assert report.version is not None
        publish(directory, proposal.table, report.version)
    return directory, make_roster(*(proposal.table for proposal in proposals.values()))


@pytest.fixture
async def engine(home: tuple[Path, Roster]) -> AsyncIterator[DuckdbEngine]:
    directory, roster = home
    async with open_engine(DataSet.published(directory, NAMES), roster) as opened:
        yield opened


def plan(sql: str, roster: Roster) -> LogicalPlan:
    return plan_sql(sql, roster, DAY)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def pids(opened: DuckdbEngine) -> set[int]:
    return {child.pid for child, _ in opened._pool._idle}


# ------------------------------------------------------------------------------------------------ answers


async def test_the_main_question(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    made = plan(SQL, home[1])
    answer = await engine.aggregate(made)
    rows = duckdb.execute(
        "SELECT count(*), sum(age), sum(tsize), sum(progrec), sum(estrec) FROM read_csv(?) WHERE menostat = 'Post' "
        "GROUP BY horTh ORDER BY horTh",
        [str(DATA / "gbsg2.csv")],
    ).fetchall()
    assert answer.cohorts[0].tolist() == [row[0] for row in rows]
    ours = [[int(value) for value in column] for column in answer.values]
    for column in range(5):
        assert [row[column] for row in rows] in ours


async def test_the_answer_is_the_owners_secret(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    answer = await engine.aggregate(plan("SELECT COUNT(*), SUM(age) FROM gbsg2", home[1]))
    assert "686" not in repr(answer)


async def test_the_child_stays_warm(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    before = pids(engine)
    for number in range(5):
        answer = await engine.aggregate(plan(f"SELECT COUNT(*) FROM lung WHERE age > {number}", home[1]))
        assert answer.cohorts.tolist() == [[228]]
    assert pids(engine) == before


async def test_sessions_run_side_by_side(engine: DuckdbEngine, home: tuple[Path, Roster]) -> None:
    found: list[int] = []

    async def ask(limit: int) -> None:
        answer = await engine.aggregate(plan(f"SELECT COUNT(*) FROM gbsg2 WHERE age <= {limit}", home[1]))
        found.append(int(answer.cohorts[0, 0]))

    async with trio.open_nursery() as nursery:
        for limit in range(40, 60):
            nursery.start_soon(ask, limit)
    assert len(found) == 20
    assert engine._pool.started <= 2


# ------------------------------------------------------------------------------------------------ confinement


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/never'",
        "ATTACH '/tmp/never.duckdb' AS x",
        "EXPORT DATABASE '/tmp/never'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "SET enable_external_access = true",
        "RESET memory_limit",
        "PRAGMA memory_limit = '100GB'",
        "SET lock_configuration = false",
        'CREATE TABLE "t0".main.x (i INTEGER)',
        'DELETE FROM "t0".main.rows',
        'INSERT INTO "t0".main.rows SELECT * FROM "t0".main.rows',
        "CREATE SECRET s (TYPE s3)",
    ],
)
def test_the_door_is_locked(home: tuple[Path, Roster], sql: str) -> None:
    data = DataSet.published(home[0], NAMES)
    connection = engine_child.connect([("t0", str(data.paths["gbsg2"]))], 2**30, 1)
    assert connection.execute('SELECT COUNT(*) FROM "t0".main.rows').fetchall() == [(686,)]
    with pytest.raises(duckdb.Error):
        connection.execute(sql).fetchall()
    connection.close()


async def test_the_snapshot_is_not_changed(home: tuple[Path, Roster]) -> None:
    directory, roster = home
    data = DataSet.published(directory, NAMES)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in data.paths.values()}
    async with open_engine(data, roster) as opened:
        await opened.aggregate(plan(SQL, roster))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in data.paths.values()} == before
    assert sorted(path.suffix for path in table_directory(directory, "gbsg2").iterdir()) == [
        ".duckdb",
        ".json",
        ".json",
    ]


# ------------------------------------------------------------------------------------------------ what runs away


def slow_roster(tmp_path: Path) -> tuple[DataSet, Roster]:
    """Tables whose join on a column of one value makes as many rows as the product of their own."""
    tables = []
    for name, person in (("a", "person"), ("b", "person")):
        columns = (Column(person, "person_id"), Column("v", "integer", 0, 1_000_000))
        table = Table(name, 60_000, True, True, person, (PartyId(0), PartyId(1), PartyId(2)), columns)
        path = tmp_path / f"{name}.csv"
        path.write_text("person,v\n" + "".join(f"1,{i}\n" for i in range(60_000)))
        report = import_table(table, TableSource((path,)), tmp_path / "snapshots")
        assert report.version is not None
        publish(tmp_path / "snapshots", table, report.version)
        tables.append(table)
    return DataSet.published(tmp_path / "snapshots", ["a", "b"]), make_roster(*tables)


SLOW = "SELECT COUNT(*), SUM(a.v), SUM(b.v), SUM(b.v * b.v) FROM a JOIN b ON a.person = b.person WHERE a.v > 1"
QUICK = "SELECT COUNT(*) FROM a"


async def test_a_runaway_query_dies_and_the_daemon_lives(tmp_path: Path) -> None:
    """A genuine one: 3.6 * 10^9 joined rows."""
    data, roster = await trio.to_thread.run_sync(slow_roster, tmp_path)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await trio.sleep(0.02)
            beats += 1

    with capture_logs() as logs:
        async with open_engine(data, roster, EngineSettings(threads=1)) as opened:
            victim = pids(opened)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(beat)
                with pytest.raises(ChildFailed) as caught:
                    await opened.aggregate(plan(SLOW, roster), deadline=trio.current_time() + 1)
                nursery.cancel_scope.cancel()
            answer = await opened.aggregate(plan(QUICK, roster), deadline=trio.current_time() + 30)
    assert caught.value.reason == "deadline"
    assert beats > 10
    assert all(gone(pid) for pid in victim)
    assert answer.cohorts.tolist() == [[1]]
    first, *others = [(event["event"], event["reason"]) for event in logs]
    assert first == ("child_failed", "deadline")
    assert set(others) <= {("child_failed", "cancelled")}, "but for a spare that was starting when the engine closed"


async def test_cancel(tmp_path: Path) -> None:
    data, roster = await trio.to_thread.run_sync(slow_roster, tmp_path)
    async with open_engine(data, roster) as opened:
        victim = pids(opened)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(EngineFailed):
                    await opened.aggregate(plan(SLOW, roster))

            nursery.start_soon(ask)
            await trio.sleep(0.3)
            opened.cancel()
        assert all(gone(pid) for pid in victim)
        assert (await opened.aggregate(plan(QUICK, roster))).cohorts.tolist() == [[1]]


async def test_memory_has_a_limit(home: tuple[Path, Roster]) -> None:
    directory, roster = home
    settings = EngineSettings(memory_bytes=2**20)  # DuckDB cannot even open a table with so little
    with pytest.raises(EngineFailed):
        async with open_engine(DataSet.published(directory, NAMES), roster, settings) as opened:
            await opened.aggregate(plan(SQL, roster))


# ------------------------------------------------------------------------------------------------ versions


async def test_a_new_version_gets_a_new_child(tmp_path: Path) -> None:
    columns = (Column("id", "person_id", unique=True), Column("v", "integer", 0, 9))
    table = Table("t", 100, True, True, "id", (PartyId(0), PartyId(1), PartyId(2)), columns)
    roster = make_roster(table)
    snapshots = tmp_path / "snapshots"

    def load(rows: int) -> DataSet:
        path = tmp_path / "t.csv"
        path.write_text("id,v\n" + "".join(f"{i},1\n" for i in range(rows)))
        report = import_table(table, TableSource((path,)), snapshots)
        assert report.version is not None
        publish(snapshots, table, report.version)
        return DataSet.published(snapshots, ["t"])

    first, second = [await trio.to_thread.run_sync(load, rows) for rows in (3, 5)]
    assert first.version != second.version
    made = plan("SELECT COUNT(*) FROM t", roster)
    async with open_engine(first, roster) as opened:
        old = pids(opened)
        assert (await opened.aggregate(made)).cohorts.tolist() == [[3]]
        await opened.open(first, roster)
        assert pids(opened) == old
        await opened.open(second, roster)
        assert opened.data_version == second.version
        assert (await opened.aggregate(made)).cohorts.tolist() == [[5]]
        assert not pids(opened) & old


async def test_what_cannot_be_opened(home: tuple[Path, Roster], tmp_path: Path) -> None:
    directory, roster = home
    data = DataSet.published(directory, NAMES)
    changed = Table("gbsg2", 5000, True, True, "rid", (PartyId(0),), roster.table("gbsg2").columns)
    with pytest.raises(DataInvalid, match="another roster"):
        await DuckdbEngine().open(data, make_roster(changed))
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"not a database")
    with pytest.raises(EngineFailed):
        await DuckdbEngine().open(DataSet(data.manifests, {**data.paths, "lung": broken}), roster)
    only = DataSet.published(directory, ["lung"])
    async with open_engine(only, roster) as opened:
        with pytest.raises(EngineFailed, match="not published here"):
            await opened.aggregate(plan(SQL, roster))


async def test_an_idle_child_is_retired(home: tuple[Path, Roster]) -> None:
    directory, roster = home
    settings = EngineSettings(idle_seconds_max=0.2)
    async with open_engine(DataSet.published(directory, NAMES), roster, settings) as opened:
        before = pids(opened)
        with trio.fail_after(10):
            while pids(opened) or not all(gone(pid) for pid in before):  # noqa: ASYNC110  the pool tells nobody
                await trio.sleep(0.05)
        assert (await opened.aggregate(plan(SQL, roster))).cohorts.shape == (1, 2)


def test_a_snapshot_has_one_path(home: tuple[Path, Roster]) -> None:
    data = DataSet.published(home[0], NAMES)
    for name, manifest in data.manifests.items():
        assert data.paths[name] == snapshot_path(home[0], name, manifest.version)


# ------------------------------------------------------------------------------------------------ the planner


async def test_planning_in_a_child_is_planning(home: tuple[Path, Roster]) -> None:
    planner = Planner()
    made = await planner.plan(SQL, home[1], DAY)
    assert made == plan(SQL, home[1])
    assert made.hash() == plan(SQL, home[1]).hash()
    await planner.close()


async def test_planning_errors_keep_code_and_message(home: tuple[Path, Roster]) -> None:
    planner = Planner()
    for sql in ("SELECT nothing FROM gbsg2", "SELECT COUNT(*) FROM gbsg", "SELECT * FROM gbsg2", "SELECT 1; SELECT 2"):
        with pytest.raises((PlanInvalid, PlanUnsupported)) as there:
            await planner.plan(sql, home[1], DAY)
        with pytest.raises((PlanInvalid, PlanUnsupported)) as here:
            plan(sql, home[1])
        assert (type(there.value), str(there.value)) == (type(here.value), str(here.value))
    assert planner._pool.started == 1
    with pytest.raises(PlanInvalid, match="4096 bytes"):
        await planner.plan("SELECT " + "1" * 5000, home[1], DAY)
    await planner.close()


async def test_rosters_change(home: tuple[Path, Roster]) -> None:
    planner = Planner()
    _, roster = home
    for version in range(1, 8):
        newer = Roster(roster.consortium, version, roster.parties, roster.tables)
        for _ in range(2):
            assert (await planner.plan("SELECT COUNT(*) FROM lung", newer, DAY)).cells == 1
    assert planner._pool.started <= 3
    await planner.close()


SLEEPING_PLANNER = """
import time
from mpcd.sources import child_side, planner_child

planner = planner_child._Planner()

def plan(request):
    while "forever" in request["sql"]:
        pass
    if "memory" in request["sql"]:
        x = bytearray(2**40)
    if "nonsense" in request["sql"]:
        return {"sources": []}
    return planner.plan(request)

child_side.serve({"plan": plan})
"""


async def test_a_planner_that_runs_away(
    home: tuple[Path, Roster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    (tmp_path / "sleeping_planner.py").write_text(SLEEPING_PLANNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    planner = Planner(seconds_max=0.5, children_max=1, module="sleeping_planner")
    await nursery.start(planner.run)
    for sql in ("forever", "memory"):
        before = {child.pid for child, _ in planner._pool._idle}
        with trio.fail_after(5), pytest.raises(PlanUnsupported, match="limits of time and memory"):
            await planner.plan(sql, home[1], DAY)
        assert all(gone(pid) for pid in before)
        assert await planner.plan(SQL, home[1], DAY) == plan(SQL, home[1])
    with pytest.raises(EngineFailed):
        await planner.plan("nonsense", home[1], DAY)
    nursery.cancel_scope.cancel()
