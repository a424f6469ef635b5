"""What an owner's local part costs beside plain DuckDB on the same snapshots, in the same run.

    python tests/bench/bench_local.py [--rows 10000000] [--repeat 5] [--threads 2] [--directory DIR] [--json FILE]

Three hospitals, each with two snapshots of `--rows` rows, in the form that an import writes (built here by SQL, since
what is measured is not the import).  For each query, alternating:

    plain    three DuckDB processes, warm, run the analyst's SQL at the same time
    engine   three engine children, warm, run what is generated from its plan: cohorts for the disclosure rules, exact
             moments; from the call in the daemon to the dense arrays in the daemon

The bar: engine <= 1.15 * plain + 0.3 s.  Prints JSON, one object per query, and the worst excess last.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import trio

from mpcd.ids import DataVersion, PartyId
from mpcd.plan.planner import plan_sql
from mpcd.roster import Column, Party, Roster, Table
from mpcd.sources.engine import DuckdbEngine, EngineSettings
from mpcd.sources.import_child import content_digest
from mpcd.sources.snapshot import (
    PERSON_INDEX,
    DataSet,
    Manifest,
    column_type,
    current,
    definition,
    file_sha256,
    publish,
    settle,
)

HOSPITALS = 3
RATIO_MAX = 1.15
SECONDS_EXTRA = 0.3

QUERIES = {
    "grouped moments": "SELECT k, COUNT(*), AVG(a), STDDEV_SAMP(b), CORR(b, c) FROM patients GROUP BY k",
    "filters and NULLs": (
        "SELECT k, s, COUNT(*), COUNT(d), AVG(d), AVG(c) FILTER (WHERE a > 50), SUM(b) FILTER (WHERE b < 1000) "
        "FROM patients WHERE a BETWEEN 10 AND 90 GROUP BY k, s"
    ),
    "bands": "SELECT a // 10, COUNT(*), AVG(b), REGR_SLOPE(c, b), VAR_SAMP(c) FROM patients GROUP BY a // 10",
    "one cell": "SELECT COUNT(*), AVG(c), STDDEV_POP(c) FROM patients WHERE s = 1",
    "many rows per person": "SELECT k, COUNT(*), AVG(b), STDDEV_SAMP(b) FROM visits WHERE a > 20 GROUP BY k",
    "many rows per person, filtered": (
        "SELECT k, COUNT(*), AVG(b) FILTER (WHERE s = 1), COUNT(*) FILTER (WHERE a > 90) FROM visits GROUP BY k"
    ),
}

FACTS = (
    Column("k", "integer", 0, 49),
    Column("s", "integer", 0, 1),
    Column("a", "integer", 0, 100),
    Column("b", "integer", 0, 5000),
    Column("c", "integer", 0, 1_000_000),
    Column("d", "integer", 0, 300, nullable=True),
)
FORMULAS = (
    "hash(i) % 50",
    "hash(i + 1) % 2",
    "hash(i + 2) % 101",
    "hash(i + 3) % 5001",
    "hash(i + 4) % 1000001",
    "CASE WHEN hash(i + 5) % 20 > 0 THEN hash(i + 6) % 301 END",
)


def make_roster(rows: int) -> Roster:
    owners = tuple(PartyId(i) for i in range(HOSPITALS))
    parties = tuple(Party(i, f"hospital {i}", f"c{i}", f"s{i}", ("input", "compute")) for i in owners)
    persons = {"patients": Column("person", "person_id", unique=True), "visits": Column("person", "person_id")}
    tables = (Table(n, rows, True, True, "person", owners, (column, *FACTS)) for n, column in persons.items())
    return Roster("bench", 1, parties, tuple(tables))


def build(table: Table, rows: int, seed: int, directory: Path) -> None:
    """A snapshot of synthetic rows, in the form and order of an import."""
    unique = table.columns[0].unique
    person = "i" if unique else "i // 4"
    shift = seed * 2**40
    values = [
        f"CAST({formula} AS {column_type(c)})".replace("(i", f"({shift} + i")
        for c, formula in zip(FACTS, FORMULAS, strict=True)
    ]
    names = [f'"{column.name}"' for column in table.columns]
    workspace = Path(tempfile.mkdtemp(dir=directory))
    path = workspace / "snapshot.duckdb"
    with duckdb.connect(str(path)) as database:
        kinds = [f"{column_type(c)}{'' if c.may_be_null else ' NOT NULL'}" for c in table.columns]
        fields = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
        database.execute(f'CREATE TABLE rows ({fields}, "{PERSON_INDEX}" INTEGER NOT NULL)')
        facts = ", ".join(f'"{column.name}"' for column in FACTS)
        order = f"{facts}, person" if unique else f"person, {facts}"
        database.execute(
            f"INSERT INTO rows SELECT {person} AS person, {', '.join(values)}, {person} FROM range({rows}) t(i) "
            f"ORDER BY {', '.join(f'{part.strip()} NULLS FIRST' for part in _positions(order, names))}"
        )
    version = DataVersion(content_digest(path, table.columns, definition(table), rows).hex())
    persons = rows if unique else -(-rows // 4)
    manifest = Manifest(
        table.name, version, definition(table), rows, persons, file_sha256(path), duckdb=duckdb.__version__
    )
    (directory / table.name).mkdir(exist_ok=True)
    settle(path, manifest, directory)
    workspace.rmdir()
    publish(directory, table, version)


def _positions(order: str, names: list[str]) -> list[str]:
    """Columns of the SELECT by position, which has no names of its own."""
    plain = [name.strip('"') for name in names]
    return [str(1 + plain.index(part.strip().strip('"'))) for part in order.split(",")]


PLAIN = """
import json, sys, time, duckdb
paths, threads = json.loads(sys.argv[1]), sys.argv[2]
connection = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": "2GB"})
connection.execute("SET enable_progress_bar = false")  # it is printed after two seconds, on standard output
for name, path in paths.items():
    connection.execute(f"ATTACH '{path}' AS {name}_file (READ_ONLY)")
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {name}_file.main.rows")
print("ready", flush=True)
for line in sys.stdin:
    connection.execute(json.loads(line)).fetchall()
    print("done", flush=True)
"""


@contextmanager
def plain_process(data: DataSet, threads: int) -> Iterator[subprocess.Popen[str]]:
    paths = json.dumps({name: str(path) for name, path in data.paths.items()})
    command = [sys.executable, "-c", PLAIN, paths, str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def run_plain(processes: list[subprocess.Popen[str]], sql: str) -> float:
    started = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(json.dumps(sql) + "\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        if (line := process.stdout.readline()) != "done\n":
            raise RuntimeError(f"a plain DuckDB process said {line!r} (status {process.poll()})")
    return time.perf_counter() - started


async def run_engines(engines: list[DuckdbEngine], sql: str, roster: Roster) -> float:
    plan = plan_sql(sql, roster, dt.date(2026, 1, 1))
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for engine in engines:
            nursery.start_soon(engine.aggregate, plan)
    return time.perf_counter() - started


async def measure(args: argparse.Namespace, sets: list[DataSet], roster: Roster) -> list[dict[str, object]]:
    engines = [DuckdbEngine(EngineSettings(threads=args.threads)) for _ in sets]
    results: list[dict[str, object]] = []
    with ExitStack() as stack:
        processes = [stack.enter_context(plain_process(data, args.threads)) for data in sets]
        for engine, data in zip(engines, sets, strict=True):
            await engine.open(data, roster)
        for name, sql in QUERIES.items():
            times: dict[str, list[float]] = {"plain": [], "engine": []}
            for turn in range(args.repeat + 1):
                plain, ours = run_plain(processes, sql), await run_engines(engines, sql, roster)
                if turn:  # the first turn warms both
                    times["plain"].append(plain)
                    times["engine"].append(ours)
            plain, ours = (statistics.median(times[key]) for key in ("plain", "engine"))
            excess = ours - (RATIO_MAX * plain + SECONDS_EXTRA)
            results.append(
                {
                    "query": name,
                    "plain_seconds": round(plain, 4),
                    "engine_seconds": round(ours, 4),
                    "ratio": round(ours / plain, 3),
                    "excess_seconds": round(excess, 4),
                    "within_bar": excess <= 0,
                }
            )
            print(json.dumps(results[-1]), flush=True)
        for engine in engines:
            await engine.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--directory", type=Path, help="keep the snapshots here, and use those that are there")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    roster = make_roster(args.rows)
    with tempfile.TemporaryDirectory(prefix="mpcd-bench-") as temporary:
        home = args.directory or Path(temporary)
        sets = []
        for hospital in range(HOSPITALS):
            directory = home / f"{args.rows}-{hospital}"
            directory.mkdir(parents=True, exist_ok=True)
            for table in roster.tables:
                if current(directory, table.name) is None:
                    build(table, args.rows, hospital, directory)
            sets.append(DataSet.published(directory, [table.name for table in roster.tables]))
        results = trio.run(measure, args, sets, roster)
    summary = {
        "rows_per_hospital": args.rows,
        "threads": args.threads,
        "bar": f"engine <= {RATIO_MAX} * plain + {SECONDS_EXTRA} s",
        "within_bar": all(result["within_bar"] for result in results),
        "results": results,
    }
    print(json.dumps({key: value for key, value in summary.items() if key != "results"}))
    if args.json:
        args.json.write_text(json.dumps(summary, indent=2) + "\n")
    sys.exit(0 if summary["within_bar"] else 1)


if __name__ == "__main__":
    main()
