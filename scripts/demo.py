"""The demo: three hospitals answer an analyst's questions together, beside what plain DuckDB says over the pooled rows.

Nobody but this script can pool: it has the whole files.  The hospitals are real daemons of a sandbox, the analyst asks
through the first one's Unix socket, with signed requests.  Exit status 0 only if every answer agrees.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import demo_rights
import duckdb

from mpcd.api.client import Client
from mpcd.results.table import NULL, Suppressed, Table

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
TABLES = ("gbsg2", "wdbc", "lung")
BIN = Path(sys.executable).parent
TOLERANCE = 1e-9
FLOOR = 11
RESTRICTED = """\
# The policy of hospital 2 in this demo: it lets its receptor columns be averaged, never filtered or grouped.
purposes = ["NRES"]

[disclosure]
profile = "cms-11"
# For trying out only: shown zeros disclose attributes of persons who are unique under WHERE.
zeros_are_disclosive = false

[[table]]
name = "gbsg2"
[table.uses]
horTh = ["filter", "group"]
menostat = ["filter", "group"]
tgrade = ["filter", "group"]
age = ["filter", "group", "aggregate"]
tsize = ["filter", "aggregate"]
pnodes = ["filter", "aggregate"]
progrec = ["aggregate"]
estrec = ["aggregate"]

[[table]]
name = "wdbc"
[table.uses]
target = ["group", "filter"]
mean_radius = ["aggregate", "filter"]
mean_texture = ["aggregate", "filter"]
mean_smoothness = ["aggregate", "filter"]
mean_symmetry = ["aggregate", "filter"]

[[table]]
name = "lung"
[table.uses]
sex = ["group", "filter"]
age = ["aggregate", "filter", "group"]
"ph.ecog" = ["group", "filter"]
"ph.karno" = ["aggregate"]
"wt.loss" = ["aggregate", "filter"]
"meal.cal" = ["aggregate", "filter"]
"""


@dataclass(frozen=True)
class Question:
    """One query, and what it shows."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "Breast cancer, postmenopausal: by hormone therapy",
        "SELECT horTh, COUNT(*), AVG(age), STDDEV_SAMP(tsize), CORR(progrec, estrec) FROM gbsg2 "
        "WHERE menostat = 'Post' GROUP BY horTh",
    ),
    Question(
        "By age band and grade, with a filter: some cells are below the floor",
        "SELECT age // 20 * 20 AS age_from, tgrade, COUNT(*) AS n, AVG(pnodes) AS nodes, "
        "COUNT(*) FILTER (WHERE pnodes > 3) AS over_3 FROM gbsg2 GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    Question(
        "Tumour images: malignant (0) against benign (1), five decimals kept exactly",
        "SELECT target, COUNT(*), AVG(mean_smoothness), VAR_SAMP(mean_radius), REGR_SLOPE(mean_texture, mean_radius), "
        "REGR_R2(mean_texture, mean_radius) FROM wdbc GROUP BY target ORDER BY target",
    ),
    Question(
        "Lung cancer, hospitals that differ (split by institution): small cells, missing values",
        'SELECT "ph.ecog", COUNT(*) AS n, AVG(age) AS age, STDDEV_SAMP(age) AS sd, AVG("wt.loss") AS loss '
        'FROM lung GROUP BY "ph.ecog" ORDER BY "ph.ecog" NULLS LAST',
    ),
    Question(
        "The same by sex, for those who lost weight",
        'SELECT sex, COUNT(*) AS n, AVG("wt.loss") AS loss, CORR(age, "wt.loss") AS r FROM lung WHERE "wt.loss" > 0 '
        "GROUP BY sex HAVING COUNT(*) > 20 ORDER BY loss DESC",
    ),
)
SMALL_CELL = QUESTIONS[3].sql
REFUSED = "SELECT estrec // 100, COUNT(*), AVG(age) FROM gbsg2 WHERE progrec > 20 GROUP BY 1"
UNPLANNABLE = "SELECT horTh, MEDIAN(age) FROM gbsg2 GROUP BY horTh"


def say(text: str = "") -> None:
    """One line for people."""
    print(text, flush=True)


def heading(text: str) -> None:
    """A section."""
    say()
    say(f"== {text} ==")


class Demo:
    """One sandbox in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "XDG_STATE_HOME": str(directory / "xdg"), "COLUMNS": "140"}
        self.environment.pop("MPCD_PROFILE", None)
        self.wrong: list[str] = []

    def mpcctl(self, *arguments: str, expect: int = 0, shown: bool = True) -> str:
        """Run `mpcctl` as a user would and return what it wrote; unless it is not `shown`, as it comes."""
        if shown:
            say(f"$ mpcctl {shlex.join(word.replace(f'{self.directory}/', '') for word in arguments)}")
        written = []
        with subprocess.Popen(
            [BIN / "mpcctl", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as done:
            timer = threading.Timer(120, done.kill)
            timer.start()
            assert done.stdout is not None
            for line in done.stdout:  # as it comes: starting a consortium takes some seconds
                written.append(line)
                if shown:
                    say(line.rstrip())
            timer.cancel()
        if done.returncode != expect:
            self.wrong.append(f"mpcctl {shlex.join(arguments)} ended with {done.returncode}, not {expect}")
        return "".join(written)

    def up(self) -> None:
        """Make the sandbox."""
        policy = self.directory / "hospital-2-policy.toml"
        policy.write_text(RESTRICTED, encoding="utf-8")
        tables = [part for name in TABLES for part in ("--table", f"{name}={DATA / name}.csv")]
        self.mpcctl(
            "sandbox", "up", "--hospitals", "3", *tables, "--split-by", "lung=inst", "--policy", f"2={policy}",
            "--dir", str(self.directory / "sandbox"),
        )  # fmt: skip

    def compare(self, client: Client, question: Question) -> None:
        """Ask, and show the answer beside DuckDB's over the pooled rows."""
        heading(question.title)
        say(question.sql)
        started = time.perf_counter()
        answer = client.sql(question.sql)
        seconds = time.perf_counter() - started
        truth = duckdb.execute(question.sql).fetchall()
        rows = paired(answer.table, truth)
        show(answer.table, rows)
        errors, cells, suppressed = differences(rows, keys_of(answer.table))
        if errors or not cells:
            self.wrong.append(f"{question.title}: {errors}")
        agree = "agree" if not errors else f"DIFFER: {errors}"
        say(f"{cells} released cells {agree} with pooled DuckDB within {TOLERANCE:g}; {suppressed} suppressed")
        for rule, count in answer.table.suppressed.items():
            say(f"  suppressed by `{rule}`: {count} cells")
        spent = answer.info.facts["spent"]
        assert isinstance(spent, dict)
        for role, numbers in sorted(spent.items()):
            assert isinstance(numbers, list)
            say(f"  {role}: {numbers[0]!r} rounds, {numbers[1]!r} bytes sent")
        say(f"  {answer.info.security}, {seconds * 1000:.0f} ms; opened to the analyst, where released:")
        opened = answer.info.facts["opened"]
        assert isinstance(opened, list)
        for line in opened:
            say(f"    {line!s}")


def paired(table: Table, truth: Sequence[tuple[object, ...]]) -> list[tuple[tuple[object, ...], tuple[object, ...]]]:
    """Rows of both answers, matched by their group keys: the columns that DuckDB and mpcd agree on as labels."""
    keys = keys_of(table)
    by_key = {tuple(label(row[k]) for k in keys): row for row in truth}
    rows: list[tuple[tuple[object, ...], tuple[object, ...]]] = [
        (row, by_key.pop(tuple(label(row[k]) for k in keys), ())) for row in table.rows
    ]
    return rows + [((), row) for row in by_key.values()]


KEYS = frozenset({"horTh", "age_from", "tgrade", "target", "ph.ecog", "sex"})


def keys_of(table: Table) -> list[int]:
    """Places of the group keys, by which rows are matched and which therefore agree by construction."""
    return [index for index, column in enumerate(table.columns) if column.name in KEYS]


def label(cell: object) -> str:
    """A group key in one spelling; plain DuckDB reads 3.0 where the roster says whole, and true where it says yes."""
    if cell is None or cell is NULL:
        return "NULL"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return {"True": "yes", "False": "no"}.get(str(cell), str(cell))


def differences(
    rows: Sequence[tuple[tuple[object, ...], tuple[object, ...]]], keys: Sequence[int]
) -> tuple[list[str], int, int]:
    """What differs, how many released cells beside the group keys were compared, how many were suppressed."""
    errors: list[str] = []
    compared = suppressed = 0
    for ours, theirs in rows:
        if len(ours) != len(theirs):
            errors.append(f"a row on one side only: {ours or theirs}")
            continue
        for place, (mine, truth) in enumerate(zip(ours, theirs, strict=True)):
            if place in keys:
                continue
            if isinstance(mine, Suppressed):
                suppressed += 1
                continue
            compared += 1
            if not same(mine, truth):
                errors.append(f"{mine} is not {truth}")
    return errors, compared, suppressed


def same(mine: object, truth: object) -> bool:
    """Exactly for counts and labels, to nine digits for moments."""
    if truth is None or mine is NULL:
        return truth is None and mine is NULL
    if isinstance(mine, float) or isinstance(truth, float):
        return math.isclose(float(str(mine)), float(str(truth)), rel_tol=TOLERANCE)
    if isinstance(mine, (int, Decimal)) and not isinstance(truth, (bool, str)):
        return Decimal(str(mine)) == Decimal(str(truth))
    return label(mine) == label(truth)


def show(table: Table, rows: Sequence[tuple[tuple[object, ...], tuple[object, ...]]]) -> None:
    """Both answers, line under line."""
    lines = [["", *(column.name for column in table.columns)]]
    for ours, theirs in rows:
        lines.append(["mpcd", *(text(cell) for cell in ours)])
        lines.append(["pooled", *(text(cell) for cell in theirs)])
    widths = [max(len(line[place]) for line in lines if place < len(line)) for place in range(len(lines[0]))]
    for line in lines:
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)))


def text(cell: object) -> str:
    """A cell for people."""
    if isinstance(cell, Suppressed):
        return f"[suppressed: {cell.rule}]"
    return "NULL" if cell is None or cell is NULL else str(cell)


def run(demo: Demo) -> None:
    """All acts."""
    heading("A consortium of three hospitals on this machine")
    demo.up()
    # The files are read by the names that the queries use; only this process sees whole tables.
    for name in TABLES:
        duckdb.sql(
            f"CREATE TABLE {name} AS SELECT * FROM read_csv('{DATA / name}.csv', nullstr='', auto_type_candidates="
            "['BIGINT', 'DOUBLE', 'VARCHAR'])"
        )
    profile = demo.directory / "sandbox" / "analyst"
    with Client.connect(profile=profile) as client:
        for question in QUESTIONS:
            demo.compare(client, question)
    heading("A cell below the floor, in every output form: never confused with NULL")
    for form in ("--csv", "--json"):
        demo.mpcctl("sql", "--quiet", form, SMALL_CELL)
    heading("A request that a policy refuses, with every reason")
    demo.mpcctl("sql", REFUSED, expect=3)
    heading("A request that cannot be planned, with a clear error")
    demo.mpcctl("sql", UNPLANNABLE, expect=4)
    heading("Before asking: what a request would open, need and cost")
    demo.mpcctl("explain", QUESTIONS[0].sql)
    differencing(demo)
    heading("On the record, at the first hospital")
    demo.mpcctl("ledger", "verify")
    demo.mpcctl("sandbox", "status")


def differencing(demo: Demo) -> None:
    """Two questions whose cohorts differ by a few people: the second is not answered."""
    heading("A differencing pair: each question has a large cohort, their difference has few people")
    whole, most = "SELECT COUNT(*), AVG(age) FROM gbsg2", "WHERE age < 76"
    persons = duckdb.execute(f"SELECT COUNT(*) FROM gbsg2 WHERE NOT ({most[6:]})").fetchone()
    say(f"pooled, {persons[0] if persons else 0} persons are in the first question's cohort alone")
    answered = demo.mpcctl("sql", "--quiet", whole)
    stopped = demo.mpcctl("sql", "--quiet", f"{whole} {most}")
    few = persons is not None and 0 < persons[0] < FLOOR
    if not few or "suppressed" in answered or "suppressed" not in stopped:
        demo.wrong.append("the differencing pair was answered, or is none")


def main() -> int:
    """Run the demo; 0 if all was as it should be."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mpcd-demo-") as name:
        demo = Demo(Path(name))
        try:
            run(demo)
            demo.mpcctl("sandbox", "down")
            demo_rights.Act(demo.mpcctl, heading, demo.wrong, demo.directory).play(DATA / "gbsg2.csv")
        finally:
            demo.mpcctl("sandbox", "down")
    heading("Done" if not demo.wrong else "Something was wrong")
    for line in demo.wrong:
        say(line)
    say(f"{time.perf_counter() - started:.1f} s")
    return 1 if demo.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
