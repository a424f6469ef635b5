"""Differential privacy over real daemons: three hospitals that grant a budget, and what an analyst gets for it.

The budget of hospital 1 is worth three answers at epsilon 1; the others grant more.  The tests run in order on one
sandbox.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpcd.api.flow import Options
from mpcd.api.types import JobResult, Method
from mpcd.errors import PlanUnsupported, Refused, RequestInvalid
from mpcd.governance import privacy
from mpcd.governance.privacy import Ask
from mpcd.sandbox.prepare import TableFiles

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "data"
GAUSSIAN = Ask("gaussian", "1", "0.000001")
ANSWERS = 3
GROUPED = "SELECT horTh, COUNT(*) AS n, AVG(age) AS mean FROM gbsg2 GROUP BY horTh"


def text(budget: str) -> str:
    uses = 'horTh = ["filter", "group"]\nage = ["filter", "group", "aggregate"]\n'
    visits = '[[table]]\nname = "visits"\nbudget = { rho = 1000 }\nuses = { ward = ["group"], cost = ["aggregate"] }\n'
    return f'purposes = ["NRES"]\n[[table]]\nname = "gbsg2"\n{budget}\n[table.uses]\n{uses}\n{visits}'


def visits() -> str:
    """Persons of one to six visits each; the rows of one person stand apart."""
    rows = [(person, visit) for visit in range(6) for person in range(300) if visit <= person % 6]
    lines = [f"{person},{'ABC'[(person + visit) % 3]},{10 * visit + person % 10}" for person, visit in rows]
    return "\n".join(["person,ward,cost", *lines]) + "\n"


TIGHT = float(ANSWERS * privacy.charge(GAUSSIAN).rho + privacy.charge(GAUSSIAN).rho / 2)


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bring_up_consortium: Callable[..., Iterator[Sandbox]]
) -> Iterator[Sandbox]:
    base = tmp_path_factory.mktemp("noise")
    (base / "visits.csv").write_text(visits(), encoding="utf-8")
    tables = [TableFiles("gbsg2", (DATA / "gbsg2.csv",)), TableFiles("visits", (base / "visits.csv",))]
    policies = {
        0: text('budget = { epsilon = 10, delta = 1e-6 }\nprivacy = "required"'),
        1: text(f"budget = {{ lifetime_rho = {TIGHT} }}"),
        2: text("budget = { rho = 50, lifetime_rho = 100 }"),
    }
    yield from bring_up_consortium(base, 3, tables, policies)


def options(ask: Ask = GAUSSIAN) -> Options:
    return Options(privacy=ask.encode())


def test_an_owner_may_answer_with_noise_alone(house: Sandbox) -> None:
    with house.client() as client, pytest.raises(Refused, match="differential privacy only"):
        client.sql(GROUPED)


def test_explain_says_what_it_takes_and_how_near_it_is(house: Sandbox) -> None:
    with house.client() as client:
        told = client.explain(GROUPED, options())
    assert told["refusals"] == []
    described = told["privacy"]
    assert isinstance(described, dict)
    assert described["rho_units"] == privacy.charge(GAUSSIAN).rho_units
    assert "count of rows: within" in str(told["accuracy"])
    assert "no floor" in str(told["rules"])


def test_noisy_answers_until_the_smallest_budget_is_used_up(house: Sandbox) -> None:
    exact = {"no": 0, "yes": 0}
    for patient in (patient for hospital in house.rows("gbsg2") for patient in hospital):
        exact[str(patient["horTh"])] += 1
    seen = []
    for party in range(ANSWERS):
        with house.client(party) as client:
            table, info = client.sql(GROUPED, None, options())
        assert table.suppressed == {}
        for row, spans in zip(table.rows, table.intervals, strict=True):
            assert spans[0] is None
            assert spans[1] is not None
            assert spans[2] is not None
            assert int(str(spans[1].low)) < int(str(row[1])) < int(str(spans[1].high))
            # 95 % intervals may miss; ten widths never do.
            width = int(str(spans[1].high)) - int(str(row[1]))
            assert abs(int(str(row[1])) - exact[str(row[0])]) < 10 * width
        assert info.plan["privacy"] is not None
        assert any("epsilon 1" in note for note in table.notes)
        assert info.facts["spent"]
        with house.client(party) as client:
            again = [JobResult.from_map(client.call(Method.RESULT, {"job": info.job})) for _ in range(2)]
        assert again[0].releases == again[1].releases == info.kept.releases
        seen.append(table.column("n"))
    assert len(set(seen)) == ANSWERS
    with house.client() as client, pytest.raises(Refused) as caught:
        client.sql(GROUPED, None, options())
    assert [(reason.party, reason.rule) for reason in caught.value.reasons] == [(1, "budget")]
    with house.client() as client:
        refusals = client.explain(GROUPED, options())["refusals"]
    assert isinstance(refusals, list)
    assert [reason["rule"] for reason in refusals if isinstance(reason, dict)] == ["budget"]


def test_rows_of_one_person_are_cut_to_what_is_asked_for(house: Sandbox) -> None:
    sql = "SELECT COUNT(*) AS n FROM visits"
    with house.client() as client:
        with pytest.raises(PlanUnsupported, match="--rows-per-person"):
            client.sql(sql, None, options())
        table, _ = client.sql(sql, None, options(Ask("gaussian", "10", "0.000001", 2)))
    counts: dict[tuple[int, str], int] = {}
    for hospital, rows in enumerate(house.rows("visits")):
        for row in rows:
            counts[hospital, str(row["person"])] = counts.get((hospital, str(row["person"])), 0) + 1
    kept, whole = sum(min(2, count) for count in counts.values()), sum(counts.values())
    span = table.intervals[0][0]
    assert span is not None
    width = int(str(span.high)) - int(str(table.rows[0][0]))
    assert abs(int(str(table.rows[0][0])) - kept) < 10 * width < whole - kept
    assert any("at most 2 rows" in note for note in table.notes)


def test_what_makes_no_sense_is_refused_and_costs_nothing(house: Sandbox) -> None:
    with house.client() as client:
        with pytest.raises((RequestInvalid, Refused)):
            client.sql(GROUPED, None, Options(privacy=b"\x80"))
        with pytest.raises((PlanUnsupported, Refused), match=r"delta|budget"):
            client.sql(GROUPED, None, options(Ask("laplace", "1", "0.000000000000000001")))


def test_the_command_line_shows_intervals_and_says_what_was_asked(house: Sandbox) -> None:
    small = ["--epsilon", "0.1", "--delta", "1e-6"]
    command = [sys.executable, "-m", "mpcd.cli.main", "--socket", str(house.hospitals[0].api)]
    environment = {**os.environ, **house.environment, "MPC_PROFILE": str(house.started.profile)}
    asked = [*command, "sql", "--json", *small, GROUPED]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["intervals"][0][0] is None
    low, high = answer["intervals"][0][1]
    assert low < answer["rows"][0][1] < high
    shown = subprocess.run(
        [*command, "sql", GROUPED, "--rows-per-person", "3"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    assert shown.returncode == 2
    assert "belongs to --epsilon" in shown.stderr
