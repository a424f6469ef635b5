"""Time the smallest aggregate on a sandbox: three real daemons on loopback, warm, every request a new one.

    python tests/bench/bench_sql.py [--requests N] [--json]

Prints, as a table or as JSON: from Submit on the socket to the decoded result in a Python client (durable commits
included), `mpcctl sql` as a whole process, rounds and bytes as they were predicted and as they were spent, and what a
bare durable commit costs here.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mpcd.api.client import Client
from mpcd.api.types import Map, Method
from mpcd.sandbox import consortium
from mpcd.sandbox.layout import Record
from mpcd.sandbox.prepare import TableFiles

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "tests" / "data" / "gbsg2.csv"
BAR_SECONDS = {"request": 0.060, "mpcctl": 0.5}
AIM_SECONDS = 0.030


def timed(action: Callable[[int], object], count: int) -> list[float]:
    """Seconds of each of `count` actions."""
    seconds = []
    for index in range(count):
        started = time.perf_counter()
        action(index)
        seconds.append(time.perf_counter() - started)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    return {
        "median_ms": statistics.median(ordered) * 1000,
        "min_ms": ordered[0] * 1000,
        "p90_ms": ordered[len(ordered) * 9 // 10] * 1000,
    }


def bare_commit(directory: Path) -> float:
    """Seconds of one durable SQLite commit here."""
    connection = sqlite3.connect(directory / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (x BLOB)")
    seconds = timed(lambda _: connection.execute("INSERT INTO t VALUES (?)", (bytes(2000),)), 50)
    connection.close()
    return statistics.median(seconds)


def accept_semi_honest(record: Record, home: Path) -> None:
    """Let every owner of a sandbox accept semi-honest sessions from now on."""
    for hospital in record.hospitals:
        policy = home / f"hospital-{hospital.party}" / "policy.toml"
        lines = [line for line in policy.read_text().splitlines() if not line.startswith("security =")]
        policy.write_text("\n".join(['security = "semi-honest"', *lines]) + "\n")
        with Client.connect(hospital.admin) as client:
            client.call(Method.RELOAD)


def asked(profile: Path, requests: int) -> tuple[list[float], Map]:
    """Seconds of that many new requests, warm, and what the last one's facts say."""
    with Client.connect(profile=profile) as client:
        for warm in range(10):
            client.sql(f"SELECT COUNT(*) FROM gbsg2 WHERE age > {warm + 21}")
        seconds = timed(lambda i: client.sql(f"SELECT COUNT(*) FROM gbsg2 WHERE age > {21 + i % 50}"), requests)
        return seconds, client.sql("SELECT COUNT(*) FROM gbsg2").info.facts


def measure(directory: Path, requests: int) -> dict[str, object]:
    """Bring a sandbox up, measure, take it down."""
    environment = {**os.environ, "XDG_STATE_HOME": str(directory / "xdg")}
    environment.pop("MPCD_PROFILE", None)
    home = directory / "s"
    started = consortium.up(home, 3, [TableFiles("gbsg2", (DATA,))], {}, environment, lambda _: None)
    try:
        profile = home / "analyst"
        malicious, facts = asked(profile, requests)
        with Client.connect(profile=profile) as client:
            explained = client.explain("SELECT COUNT(*) FROM gbsg2")
        command = [str(Path(sys.executable).parent / "mpcctl"), "sql", "-q", "SELECT COUNT(*) FROM gbsg2"]
        environment["MPCD_PROFILE"] = str(profile)
        whole = timed(lambda _: subprocess.run(command, env=environment, check=True, capture_output=True), 7)
        accept_semi_honest(started.record, home)
        semi_honest, semi_facts = asked(profile, requests)
        again, _ = asked(profile, requests)
    finally:
        consortium.down(home, environment, lambda _: None)
    return {
        "request": summary(malicious),
        "semi-honest": summary(semi_honest + again),
        "mpcctl": summary(whole),
        "bare_commit_ms": bare_commit(directory) * 1000,
        "predicted": {"rounds": explained["rounds"], "bytes": explained["bytes_sent"]},
        "spent": {str(each["security"]): each["spent"] for each in (facts, semi_facts)},
        "load_average": os.getloadavg()[0],
        "bars_ms": {name: bar * 1000 for name, bar in BAR_SECONDS.items()} | {"aim": AIM_SECONDS * 1000},
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpcd-b-") as name:
        figures = measure(Path(name), options.requests)
    if options.json:
        print(json.dumps(figures, indent=1, default=str))
        return
    for name in ("request", "semi-honest", "mpcctl"):
        row = figures[name]
        assert isinstance(row, dict)
        bar = f"  bar {BAR_SECONDS[name] * 1000:.0f}" if name in BAR_SECONDS else ""
        print(f"{name:12} " + "  ".join(f"{key} {value:7.1f}" for key, value in row.items()) + bar)
    for key in ("bare_commit_ms", "predicted", "spent", "load_average"):
        print(f"{key:14} {figures[key]}")


if __name__ == "__main__":
    main()
