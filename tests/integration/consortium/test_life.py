"""The life of a consortium of five hospitals, two of which only give data: requests of every kind, faults, the end.

The tests run in order on one sandbox: what takes daemons away comes late, `sandbox down` last.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from mpcd import errors
from mpcd.api import client_trio
from mpcd.api.client import Client
from mpcd.api.opening import open_releases
from mpcd.api.types import JobResult, Method
from mpcd.identity import SigningKey
from mpcd.results.finish import finish as finish_table
from mpcd.results.table import Suppressed, Table
from mpcd.sandbox import consortium, layout, processes
from mpcd.store.store import verify_ledger

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Row, Sandbox

pytestmark = pytest.mark.slow

Talk = tuple[Callable[..., str], Callable[[Client, str], JobResult]]
PARTIES = range(5)
COUNT = "SELECT COUNT(*) FROM lung"
BY_SEX = "SELECT sex, COUNT(*), AVG(age) FROM lung GROUP BY sex ORDER BY sex"


def pooled(five: Sandbox) -> list[Row]:
    return [row for rows in five.rows("lung") for row in rows]


def by_sex(five: Sandbox) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for sex in ("1", "2"):
        ages = [float(str(row["age"])) for row in pooled(five) if row["sex"] == sex]
        found.append((int(sex), len(ages), sum(ages) / len(ages)))
    return found


def same(table: Table, rows: list[tuple[object, ...]]) -> bool:
    return len(table.rows) == len(rows) and all(
        ours[:2] == theirs[:2] and math.isclose(float(str(ours[2])), float(str(theirs[2])), rel_tol=1e-9)
        for ours, theirs in zip(table.rows, rows, strict=True)
    )


def ends(five: Sandbox, party: int) -> dict[bytes, list[str]]:
    """The kinds of entries of every session in the ledger of `party`, in order."""
    found: dict[bytes, list[str]] = {}
    for entry in five.entries(party):
        if isinstance(session := entry["session"], bytes):
            found.setdefault(session, []).append(str(entry["kind"]))
    return found


# ------------------------------------------------------------------------------------------------ five hospitals


@pytest.mark.parametrize("party", PARTIES)
def test_every_hospitals_analyst_gets_the_answer_for_the_predicted_cost(five: Sandbox, party: int) -> None:
    with five.client(party) as client:
        answer = client.sql(BY_SEX)
    assert same(answer.table, by_sex(five))
    assert answer.info.plan["owners"] == list(PARTIES)
    assert answer.info.plan["compute"] == [0, 1, 2]
    spent, predicted = answer.info.facts["spent"], answer.info.facts["predicted"]
    assert isinstance(spent, dict)
    assert isinstance(predicted, dict)
    compute = predicted["compute"]
    assert isinstance(compute, list)
    expected: dict[str, object] = {f"input{party}": [1, predicted["input"]]}
    if party < 3:
        expected[f"compute{party}"] = [predicted["rounds"], compute[party]]
    assert spent == expected


def test_every_owner_has_the_whole_session_on_record(five: Sandbox) -> None:
    with five.client(3) as client:
        session = client.sql(COUNT).info.session
    for party in PARTIES:
        life = ends(five, party)[session]
        for _ in range(100):
            if len(life) == 3:
                break
            time.sleep(0.05)  # the last entry is written off the critical path
            life = ends(five, party)[session]
        assert life == ["agreed", "recorded", "released"]


# ------------------------------------------------------------------------------------------------ no for an answer


def test_a_refusal_names_every_reason_of_every_hospital(five: Sandbox) -> None:
    sql = 'SELECT AVG("pat.karno"), AVG(time) FROM lung WHERE time > 100'
    with five.client() as client:
        with pytest.raises(errors.Refused) as refused:
            client.sql(sql)
        found = {(int(reason.party), reason.subject) for reason in refused.value.reasons}
        assert found == {(1, "lung.time"), (4, "lung.time: filter"), (4, "lung.pat.karno: aggregate")}
        explained = client.explain(sql)
        reasons = explained["refusals"]
        assert isinstance(reasons, list)
        assert {(r["party"], r["subject"]) for r in reasons if isinstance(r, dict)} == found


@pytest.mark.parametrize(
    ("sql", "kind", "word"),
    [
        ("SELECT MEDIAN(age) FROM lung", errors.PlanUnsupported, "MEDIAN"),
        ("SELECT age FROM lung", errors.PlanInvalid, "GROUP BY"),
        ("SELECT COUNT(*) FROM nothere", errors.PlanInvalid, "nothere"),
        ("SELECT COUNT(*) FROM lung; DROP TABLE lung", errors.CallerFault, "one"),
        ("SELEC 1", errors.PlanInvalid, "SELECT"),
        ("SELECT SUM(age) FROM lung GROUP BY rid", errors.CallerFault, "rid"),
    ],
)
def test_what_cannot_be_planned_is_said_clearly(five: Sandbox, sql: str, kind: type, word: str) -> None:
    with five.client() as client, pytest.raises(kind, match=word):
        client.sql(sql)


def test_the_same_signed_bytes_are_answered_once(five: Sandbox, talk: Talk) -> None:
    submit, finish = talk
    signed, request, key = five.request(BY_SEX)
    with five.client() as client, five.client(2) as other:
        job = submit(client, signed, "one")
        first = finish(client, job)
        assert submit(client, signed, "one") == job, "the idempotency key names the job"
        again = JobResult.from_map(client.call(Method.RESULT, {"job": job}))
        assert (again.plan, again.releases) == (first.plan, first.releases), "sealed once, resent as it is"
        for replaying in (client, other):
            with pytest.raises(errors.CallerFault, match="used"):
                finish(replaying, submit(replaying, signed))
    opened = open_releases(
        first.plan,
        first.releases,
        request_digest=request.digest(),
        result_key=key,
        parties=five.profile.parties,
    )
    assert same(finish_table(opened.shape, opened.statuses, opened.values), by_sex(five))


def test_requests_that_are_wrong_in_one_way(five: Sandbox, talk: Talk) -> None:
    submit, finish = talk
    stranger = SigningKey.generate(lambda size: bytes(range(size)))
    cases = {
        "expired": five.request(COUNT, age_seconds=400, lifetime_seconds=300)[0],
        "in the future": five.request(COUNT, age_seconds=-200)[0],
        "another roster": five.request(COUNT, roster_hash=bytes(32))[0],
        "another": five.request(COUNT, consortium_id="another")[0],
        "would live": five.request(COUNT, lifetime_seconds=100_000)[0],
    }
    good = five.request(COUNT)[0]
    cases["signature"] = good[:-1] + bytes([good[-1] ^ 1])
    with five.client() as client:
        for word, signed in cases.items():
            with pytest.raises(errors.CallerFault, match=word):
                finish(client, submit(client, signed))
        with pytest.raises(errors.CallerFault, match="request"):
            submit(client, good[:-1])
        with pytest.raises(errors.Refused) as refused:
            finish(client, submit(client, five.request(COUNT, key=stranger)[0]))
        # Nobody accepts them: the party that was asked says so once, for all.
        assert {r.rule for r in refused.value.reasons} == {"analyst"}
        assert "request-access" in str(refused.value)
        assert client.sql(COUNT).table.rows == ((228,),)


def test_a_stranger_learns_nothing_of_a_job(five: Sandbox, talk: Talk) -> None:
    submit, finish = talk
    with five.client() as client, five.client(1) as other:
        job = submit(client, five.request(COUNT)[0])
        finish(client, job)
        with pytest.raises(errors.NotFound):
            other.call(Method.RESULT, {"job": job})


# ------------------------------------------------------------------------------------------------ at once, and the end


def test_six_requests_of_several_clients_at_once(five: Sandbox) -> None:
    queries = [
        COUNT,
        BY_SEX,
        "SELECT COUNT(*), AVG(age) FROM lung WHERE age > 60",
        'SELECT COUNT("wt.loss"), AVG("wt.loss") FROM lung',
        "SELECT inst, COUNT(*) FROM lung GROUP BY inst ORDER BY inst",
        "SELECT status, COUNT(*) FROM lung GROUP BY status ORDER BY status",
    ]
    profile = five.profile
    found: dict[int, Table] = {}

    async def ask(index: int) -> None:
        async with client_trio.connect(five.hospitals[index % 5].api, profile) as client:
            found[index] = (await client.sql(queries[index])).table

    async def all_at_once() -> None:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for index in range(len(queries)):
                    nursery.start_soon(ask, index)

    trio.run(all_at_once)
    with five.client(4) as client:
        assert [found[index] for index in range(6)] == [client.sql(sql).table for sql in queries]
    assert found[0].rows == ((228,),)
    assert any(isinstance(cell, Suppressed) for row in found[4].rows for cell in row)


def test_a_session_that_waits_for_a_silent_hospital_can_be_cancelled(five: Sandbox, talk: Talk) -> None:
    submit, finish = talk
    five.send(3, signal.SIGSTOP)
    try:
        with five.client() as client:
            job = submit(client, five.request(COUNT)[0])
            time.sleep(0.2)
            assert client.call(Method.STATUS)["jobs_running"] == 1
            client.call(Method.CANCEL, {"job": job})
            with pytest.raises(errors.Cancelled):
                finish(client, job)
    finally:
        five.send(3, signal.SIGCONT)
    with five.client(3) as client:
        assert client.sql(COUNT).table.rows == ((228,),)


@pytest.mark.parametrize("victim", [2, 4], ids=["computes", "gives data"])
def test_a_killed_daemon_is_named_and_joins_again(five: Sandbox, victim: int) -> None:
    before = len(five.entries(victim))
    five.stop(victim, signal.SIGKILL)
    with five.client(0) as client:
        # At once and some time after: never a wait for somebody who is known to be away.
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(errors.PeerGone, match=rf"(party|hospital)[ -]{victim}\b") as gone:
                client.sql(COUNT)
            assert (gone.value.code, gone.value.party) == ("mpc.PeerUnavailable", victim)
            assert time.monotonic() - started < 10
        status = client.call(Method.STATUS)
        assert (status["peers_connected"], status["peers_total"]) == (3, 4)
        with pytest.raises(errors.PeerGone):
            client.explain(COUNT)
        client.describe()
    five.restart(victim)
    with five.client(victim) as client:
        assert same(client.sql(BY_SEX).table, by_sex(five))
    with five.admin(victim) as client:
        verified = client.call(Method.LEDGER_VERIFY)
    assert verified["valid"] is True
    assert int(str(verified["entries"])) > before


def test_every_ledger_verifies_and_every_session_has_ended_once(five: Sandbox) -> None:
    for party in PARTIES:
        with five.admin(party) as client:
            assert client.call(Method.LEDGER_VERIFY)["valid"] is True
        lives = ends(five, party)
        assert len(lives) > 10
        for life in lives.values():
            assert life[0] == "agreed"
            assert sum(kind in {"released", "aborted", "withheld"} for kind in life) == 1
            assert "released" not in life or life == ["agreed", "recorded", "released"]


def test_one_flipped_byte_in_a_stopped_daemons_ledger_is_found(five: Sandbox) -> None:
    five.stop(4, signal.SIGTERM)
    state = five.home(4) / "state"
    assert verify_ledger(state).head.count > 10
    files = {path: path.read_bytes() for path in state.iterdir() if path.is_file() and path.stat().st_size}
    entry = b"agreed"
    places = [(path, data.find(entry, len(data) // 2)) for path, data in files.items()]
    path, place = next((path, place) for path, place in places if place >= 0)
    damaged = bytearray(files[path])
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(errors.StoreFailed):
        verify_ledger(state)
    path.write_bytes(files[path])
    assert verify_ledger(state).head.count > 10


def test_down_leaves_no_process_and_no_file(five: Sandbox) -> None:
    known = [hospital.process for hospital in five.hospitals if processes.is_alive(hospital.process)]
    everything = [member for process in known if process for member in (process, *processes.descendants(process))]
    assert len(everything) > len(known) == 4, "engine and planner children are among them"
    record = layout.read_record(five.directory)
    assert record is not None
    assert consortium.down(five.directory, five.environment, lambda _: None) == 4
    assert not any(map(processes.is_alive, everything))
    assert not five.directory.exists()
    assert record.socket_directory is None or not Path(record.socket_directory).exists()
    assert not list(five.directory.parent.glob("state/**/sandbox-profile"))
    with pytest.raises(errors.NotFound):
        consortium.status(five.directory)
