"""What being kept apart from earlier questions adds to a small question, over three real daemons on this machine.

    .venv/bin/python tests/bench/bench_differencing.py [ANSWERS]

Puts 0, 100 and 990 earlier definitions (1,000 is the most) into every hospital's state as if they had been asked, then
asks the same cohort again and again; prints seconds (first answer, then the median), rounds and bytes.  The first
answer after a start evaluates all earlier sets; later ones find them in the engine child.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mpcd.compile import beside  # noqa: E402
from mpcd.daemon import rosterfile  # noqa: E402
from mpcd.governance.history import Definition, Kept, question  # noqa: E402
from mpcd.ids import SessionId  # noqa: E402
from mpcd.plan.planner import plan_sql  # noqa: E402
from mpcd.roster import Roster  # noqa: E402
from mpcd.sandbox.prepare import TableFiles  # noqa: E402
from mpcd.store import history as stored  # noqa: E402
from tests.integration.consortium.conftest import Sandbox, bring_up  # noqa: E402
from tests.integration.consortium.test_differencing import policy  # noqa: E402

DATA = ROOT / "tests" / "data"
DAY = dt.date(2026, 1, 1)
QUESTION = "SELECT COUNT(*), AVG(age) FROM gbsg2 WHERE horTh = 'yes'"
GROUPED = "SELECT menostat, tgrade, COUNT(*), AVG(age) FROM gbsg2 WHERE horTh = 'yes' GROUP BY 1, 2"


def definitions(roster: Roster, count: int) -> list[Definition]:
    """So many different questions of the kinds that people ask."""
    found: dict[bytes, Definition] = {}
    number = 0
    while len(found) < count:
        number += 1
        condition = f"age > {21 + number % 55} AND tsize > {3 + number // 55} AND pnodes < {10 + number % 7}"
        sql = f"SELECT COUNT(*) FROM gbsg2 WHERE {condition}"
        if number % 4 == 0:
            sql = f"SELECT menostat, COUNT(*) FROM gbsg2 WHERE {condition} GROUP BY 1"
        made = question(plan_sql(sql, roster, DAY), roster).definition
        found[made.digest] = made
    return list(found.values())


def remember(sandbox: Sandbox, made: Sequence[Definition], first: int) -> None:
    """Put definitions into every hospital's state; without their sessions, which the ledger's check would miss."""
    now = int(time.time() * 1000)
    for party in range(3):
        sandbox.stop(party, signal.SIGTERM)
        with closing(sqlite3.connect(sandbox.home(party) / "state" / "state.sqlite3")) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            for place, one in enumerate(made, start=first):
                what = Kept(one.digest, one.names, place.to_bytes(32, "big"), now, place)
                stored.remember(connection, SessionId(os.urandom(32)), one, what, b"a request")
        sandbox.restart(party)


def measure(sandbox: Sandbox, sql: str, answers: int) -> str:
    seconds: list[float] = []
    with sandbox.client() as client:
        answer = client.sql(sql)
        facts: dict[str, Any] = cast("dict[str, Any]", answer.info.facts)
        seconds.append(float(facts["seconds"]))
        for _ in range(answers):
            started = time.monotonic()
            client.sql(sql)
            seconds.append(time.monotonic() - started)
    predicted = facts["predicted"]
    compute = max(predicted["compute"])
    cost = f"{predicted['rounds']} rounds, {compute / 1000:.0f} kB a party"
    return f"first {seconds[0]:.3f} s, then {statistics.median(seconds[1:]):.3f} s; {cost}"


def main(answers: int) -> None:
    base = Path(tempfile.mkdtemp(prefix="bench-differencing-"))
    tables = [TableFiles("gbsg2", (DATA / "gbsg2.csv",))]
    for sandbox in bring_up(base, 3, tables, {None: policy()}):
        roster = rosterfile.load(sandbox.home(0) / "roster.toml")
        made = definitions(roster, 990)
        asked = plan_sql(GROUPED, roster, DAY)
        started = time.monotonic()
        pairs = len(beside.plan(question(asked, roster), made, roster, asked.cells).pairs)
        print(f"planning a grouped question beside 990: {time.monotonic() - started:.3f} s, {pairs} pairs")
        have = 0
        for count in (0, 100, 990):
            if count:
                # In the order of the owners, all stand before the question that is asked: it is a new one each time.
                remember(sandbox, made[have:count], have + 1)
                have = count
            number = {0: 0, 100: 1, 990: 2}[count]
            for name, sql in (("total", QUESTION), ("6 cells", GROUPED)):
                varied = sql.replace("'yes'", "'yes'" + f" AND estrec >= {number * 3}")
                print(f"{count:5} earlier, {name:8} {measure(sandbox, varied, answers)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
