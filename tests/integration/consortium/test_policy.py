"""From a policy's text to what an analyst is told, over real daemons: three hospitals that allow different things.

Hospital 0 asks that the use is not commercial, hospital 1 has a budget of queries, hospital 2 publishes ages in steps
and answers no question about one column.  The tests run in order on one sandbox.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpcd.api.types import Map
from mpcd.errors import Busy, ConfigurationInvalid, MpcdError, Refused
from mpcd.identity import SigningKey
from mpcd.sandbox.prepare import TableFiles

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "data"
COUNT = "SELECT COUNT(*) FROM gbsg2"
SAME_SET = ("COUNT(*)", "AVG(age)", "SUM(age)", "STDDEV(age)", "AVG(age) + 1", "SUM(age) + 1")
"""Different questions about the same rows, so that none stands too near to another."""
BUDGET = 3

COLUMNS = {
    "horTh": ["filter", "group", "aggregate"],
    "age": ["filter", "group", "aggregate"],
    "tsize": ["filter", "aggregate"],
}


def text(top: str = "", table: str = "", columns: Mapping[str, list[str]] = COLUMNS) -> str:
    uses = "".join(f"{name} = {json.dumps(verbs)}\n" for name, verbs in columns.items())
    return f'purposes = ["NRES"]\n{top}\n[[table]]\nname = "gbsg2"\n{table}\n[table.uses]\n{uses}'


POLICIES: dict[int | None, str] = {
    0: text(table='conditions = ["NCU", "PUB"]'),
    1: text(top=f"budget = {{ queries = {BUDGET}, period_days = 1 }}"),
    2: text(
        table="granularity = { age = 5 }", columns={name: verbs for name, verbs in COLUMNS.items() if name != "tsize"}
    ),
}


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bring_up_consortium: Callable[..., Iterator[Sandbox]]
) -> Iterator[Sandbox]:
    tables = [TableFiles("gbsg2", (DATA / "gbsg2.csv",))]
    yield from bring_up_consortium(tmp_path_factory.mktemp("policy"), 3, tables, POLICIES)


def reasons(house: Sandbox, sql: str, party: int = 0) -> list[tuple[int, str, str]]:
    """What `explain` lists: who refuses, by which rule, about what."""
    with house.client(party) as client:
        refusals = client.explain(sql)["refusals"]
    assert isinstance(refusals, list)
    found = [each for each in refusals if isinstance(each, dict)]
    return sorted((int(str(each["party"])), str(each["rule"]), str(each["subject"])) for each in found)


def policy_file(house: Sandbox, party: int) -> Path:
    return house.home(party) / "policy.toml"


def reload(house: Sandbox, party: int) -> Map:
    with house.admin(party) as client:
        return client.call("mpc.v1.Reload")


def taken(house: Sandbox, party: int, span: int | None) -> object:
    with house.admin(party) as client:
        accounts = client.call("mpc.v1.PolicyBudgets")["accounts"]
    assert isinstance(accounts, list)
    (found,) = [
        each["spent"]
        for each in accounts
        if isinstance(each, dict) and (each["kind"], each["days"]) == ("queries", span)
    ]
    return found


@pytest.mark.parametrize("party", range(3))
def test_explain_lists_what_every_owner_misses(house: Sandbox, party: int) -> None:
    sql = "SELECT horTh, AVG(tsize) FROM gbsg2 WHERE age >= 42 GROUP BY horTh"
    assert reasons(house, sql, party) == [
        (0, "condition", "gbsg2: NCU"),
        (2, "column", "gbsg2.tsize"),
        (2, "granularity", "gbsg2.age: filter"),
    ]


def test_a_request_is_refused_with_the_same_reasons(house: Sandbox) -> None:
    with house.client(1) as client, pytest.raises(Refused) as caught:
        client.sql("SELECT AVG(tsize) FROM gbsg2 WHERE age >= 42")
    assert sorted((int(r.party), r.rule) for r in caught.value.reasons) == [
        (0, "condition"),
        (2, "column"),
        (2, "granularity"),
    ]


def test_a_fact_on_record_meets_the_condition_after_a_reload(house: Sandbox) -> None:
    file = policy_file(house, 0)
    file.write_text(file.read_text(encoding="utf-8") + "commercial = false\n", encoding="utf-8")
    assert reload(house, 0)["changed"] == ["analyst sandbox analyst: other facts on record"]
    assert reasons(house, COUNT) == []


@pytest.mark.parametrize(
    ("sql", "allowed"),
    [
        ("SELECT COUNT(*) FROM gbsg2 WHERE age >= 40 AND age < 65", True),
        ("SELECT age // 10 AS decade, COUNT(*) FROM gbsg2 GROUP BY decade", True),
        ("SELECT COUNT(*) FROM gbsg2 WHERE age = 40", False),
        ("SELECT age, COUNT(*) FROM gbsg2 GROUP BY age", False),
        ("SELECT COUNT(*) FILTER (WHERE age > 61) FROM gbsg2", False),
        ("SELECT age // 3 AS band, COUNT(*) FROM gbsg2 GROUP BY band", False),
    ],
)
def test_one_owners_steps_hold_for_all(house: Sandbox, sql: str, allowed: bool) -> None:
    rules = {(party, rule) for party, rule, _ in reasons(house, sql)}
    assert rules == (set() if allowed else {(2, "granularity")})


def test_a_budget_is_used_up_and_says_so_to_all(house: Sandbox) -> None:
    assert taken(house, 1, 1) == 0
    for number in range(BUDGET):
        with house.client(number) as client:
            assert client.sql(f"SELECT {SAME_SET[number]} FROM gbsg2").table.rows
    assert [taken(house, party, 30 if party != 1 else 1) for party in range(3)] == [BUDGET] * 3
    expected = [(1, "budget", "gbsg2: queries in 1 day")]
    assert reasons(house, COUNT) == expected
    with house.client(2) as client, pytest.raises(Refused) as caught:
        client.sql(COUNT)
    assert [(int(r.party), r.rule, r.subject) for r in caught.value.reasons] == expected
    assert taken(house, 1, None) == BUDGET


def test_a_wrong_file_leaves_the_old_policy_in_force(house: Sandbox) -> None:
    file = policy_file(house, 1)
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("queries =", "querys ="), encoding="utf-8")
    with pytest.raises(ConfigurationInvalid, match=r"policy\.toml:2: .*did you mean `queries`"):
        reload(house, 1)
    assert reasons(house, COUNT) == [(1, "budget", "gbsg2: queries in 1 day")]
    file.write_text(good.replace(f"queries = {BUDGET}", f"queries = {BUDGET + 1}"), encoding="utf-8")
    (change,) = list(map(str, reload(house, 1)["changed"]))  # type: ignore[arg-type]  # a list, or it fails here
    assert change.startswith(f"table gbsg2: budget: {BUDGET + 1} queries in 1 day")
    with house.client(1) as client:
        assert client.sql(COUNT).table.rows
    assert reasons(house, COUNT) == [(1, "budget", "gbsg2: queries in 1 day")]


def test_sessions_at_once_do_not_pass_the_same_check(house: Sandbox) -> None:
    file = policy_file(house, 1)
    file.write_text(
        file.read_text(encoding="utf-8").replace(f"queries = {BUDGET + 1}", f"queries = {BUDGET + 2}"), encoding="utf-8"
    )
    reload(house, 1)
    before = [taken(house, party, None) for party in range(3)]

    def ask(party: int) -> str:
        with house.client(party) as client:
            try:
                client.sql(f"SELECT {SAME_SET[-1 - party]} FROM gbsg2")
            except MpcdError as error:
                return str(error)
        return ""

    with ThreadPoolExecutor(3) as pool:
        failures = [said for said in pool.map(ask, range(3)) if said]
    assert len(failures) == 2
    assert all("budget" in said for said in failures), failures
    # Whoever had agreed to one of the others has given back what it took: nothing of it was opened.
    assert [taken(house, party, None) for party in range(3)] == [int(str(was)) + 1 for was in before]


def test_a_budget_survives_a_restart(house: Sandbox) -> None:
    house.stop(1, signal.SIGKILL)
    house.restart(1)
    assert taken(house, 1, 1) == BUDGET + 2
    assert reasons(house, COUNT) == [(1, "budget", "gbsg2: queries in 1 day")]


def test_an_owners_rate_holds_for_all(house: Sandbox) -> None:
    for party, old, new in (
        (1, f"queries = {BUDGET + 2}", "queries = 50"),
        (2, 'purposes = ["NRES"]', 'purposes = ["NRES"]\nrate = { requests_per_hour = 1 }'),
    ):
        file = policy_file(house, party)
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        assert reload(house, party)["changed"]
    with house.client(0) as client:
        assert client.sql(f"SELECT {SAME_SET[1]} FROM gbsg2").table.rows
    with house.client(1) as client, pytest.raises(Busy, match="too many requests under this key"):
        client.sql(f"SELECT {SAME_SET[2]} FROM gbsg2")


def run(house: Sandbox, party: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpcd.cli.main", "--socket", str(house.hospitals[party].admin), *arguments]
    environment = {**os.environ, **house.environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_a_steward_sees_and_checks_the_policy_from_the_command_line(house: Sandbox) -> None:
    shown = run(house, 2, "policy", "show")
    assert shown.returncode == 0, shown.stderr
    assert "in steps of 5" in shown.stdout
    assert "sandbox analyst" in shown.stdout
    budgets = run(house, 1, "policy", "budgets")
    line = next(line for line in budgets.stdout.splitlines() if "1 day" in line and "queries" in line)
    assert line.split()[-3:] == [str(BUDGET + 3), "50", str(50 - BUDGET - 3)]
    draft = house.directory / "draft.toml"
    draft.write_text(policy_file(house, 2).read_text(encoding="utf-8").replace("age = 5", 'age = "month"'))
    checked = run(house, 2, "policy", "check", str(draft))
    assert checked.returncode == 1
    assert "draft.toml:" in checked.stderr
    assert "cannot be published by month" in checked.stderr


def test_explain_lists_missing_licences_approvals_and_uses_per_owner(house: Sandbox) -> None:
    approver = f'\n[[approver]]\nname = "Doris"\nkey = "{SigningKey.generate(os.urandom).public}"\n'
    for party, old, new in (
        (0, 'name = "gbsg2"', 'name = "gbsg2"\nlicence = "required"'),
        (2, 'name = "gbsg2"', 'name = "gbsg2"\napprovals = { min = 1 }'),
        (2, "rate = { requests_per_hour = 1 }", ""),
    ):
        file = policy_file(house, party)
        written = file.read_text(encoding="utf-8").replace(old, new)
        file.write_text(written + (approver if "approvals" in new else ""), encoding="utf-8")
        assert reload(house, party)["changed"]
    with house.client(1) as client:
        answer = client.explain("SELECT AVG(tsize) FROM gbsg2")
    assert reasons(house, "SELECT AVG(tsize) FROM gbsg2", 1) == [(0, "licence", "gbsg2"), (2, "column", "gbsg2.tsize")]
    waits = answer["waits"]
    assert isinstance(waits, list)
    assert [each["party"] for each in waits if isinstance(each, dict)] == [2]
    with house.client(1) as client, pytest.raises(Refused) as caught:
        client.sql(COUNT)
    assert {(int(r.party), r.rule) for r in caught.value.reasons} == {(0, "licence"), (2, "approval")}
