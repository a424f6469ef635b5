from __future__ import annotations

import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from mpcd import limits
from mpcd.api import client as sync_client
from mpcd.api import client_trio, flow
from mpcd.api import profile as profiles
from mpcd.api.client import Client
from mpcd.api.flow import Answer, Call, Conversation
from mpcd.api.jobs import Job
from mpcd.api.profile import Profile
from mpcd.api.types import Event, JobResult, Method
from mpcd.errors import (
    Busy,
    ConfigurationInvalid,
    DaemonUnavailable,
    NotFound,
    Refusal,
    Refused,
    RequestInvalid,
    ResultInvalid,
)
from mpcd.identity import SignedRequest
from mpcd.ids import PartyId, RosterHash
from mpcd.results import render
from mpcd.results.table import JOINED_LOCALLY, Suppressed

SQL = "SELECT horTh, COUNT(*), SUM(x) FROM t GROUP BY horTh"


async def ask(path: Path, profile: Profile, style: str, events: list[Event] | None = None) -> Answer:
    """The same question by either client."""
    note = None if events is None else events.append
    if style == "trio":
        async with client_trio.connect(path, profile) as client:
            return await client.sql(SQL, note)

    def blocking() -> Answer:
        with Client.connect(path, profile) as client:
            return client.sql(SQL, note)

    return await trio.to_thread.run_sync(blocking)


@pytest.mark.parametrize("style", ["sync", "trio"])
async def test_a_question_is_answered_with_a_verified_table(serve: Any, consortium: Any, style: str) -> None:
    events: list[Event] = []
    async with serve() as path:
        answer = await ask(path, consortium.profile, style, events)
    assert answer.table.rows == ((440, -(2**100)), (246, Suppressed("floor")))
    assert answer.info.security == "semi-honest"
    assert answer.info.opened_values == 3
    assert answer.info.cells == 2
    assert answer.info.facts["rounds"] == 9
    assert [event.kind for event in events] == ["state", "progress", "over"]
    assert [event.seq for event in events] == [0, 1, 2]


@pytest.mark.parametrize("style", ["sync", "trio"])
async def test_every_answer_from_a_join_says_that_joins_are_local(serve: Any, consortium: Any, style: str) -> None:
    async with serve() as path:
        assert JOINED_LOCALLY not in (await ask(path, consortium.profile, style)).table.notes
        # From the plan that the parties signed: no daemon can leave it out.
        consortium.plan["logical"]["joins"] = [{"kind": "inner"}]
        table = (await ask(path, consortium.profile, style)).table
    assert table.notes[-1] == JOINED_LOCALLY
    assert f"note: {JOINED_LOCALLY}" in render.text_table(table)
    assert render.json_value(table)["notes"] == list(table.notes)


async def test_a_roster_that_differs_is_told_with_both_hashes(serve: Any, consortium: Any) -> None:
    other = replace(consortium.profile, roster_hash=RosterHash(b"\x5a" * 32))
    async with serve() as path:
        with pytest.raises(RequestInvalid) as caught:
            await ask(path, other, "trio")
    assert "5a" * 8 in str(caught.value)
    assert consortium.profile.roster_hash.hex()[:16] in str(caught.value)


@pytest.mark.parametrize("style", ["sync", "trio"])
async def test_every_request_is_fresh(serve: Any, backend: Any, consortium: Any, style: str) -> None:
    seen: list[SignedRequest] = []

    def note(job: Job, request: SignedRequest) -> None:
        seen.append(request)
        backend.finish_at_once(job, request)

    backend.run_job = note
    async with serve() as path:
        await ask(path, consortium.profile, style)
        await ask(path, consortium.profile, style)
    first, second = (request.request for request in seen)
    assert first.nonce != second.nonce
    assert first.result_key != second.result_key
    assert first.analyst == consortium.profile.signing_key.public
    assert 0 < first.expires_at - first.issued_at <= limits.REQUEST_LIFETIME_SECONDS_MAX


@pytest.mark.parametrize("style", ["sync", "trio"])
async def test_a_failed_job_raises_its_own_error(serve: Any, backend: Any, consortium: Any, style: str) -> None:
    reasons = (
        Refusal(PartyId(0), "analyst", "key", "party 0 does not know you"),
        Refusal(PartyId(2), "table", "t", "party 2 has no such table"),
    )
    backend.run_job = lambda job, request: job.fail(Refused(reasons), "refused")
    async with serve() as path:
        with pytest.raises(Refused) as caught:
            await ask(path, consortium.profile, style)
    assert caught.value.reasons == reasons


@pytest.mark.parametrize("style", ["sync", "trio"])
@pytest.mark.parametrize(
    "tamper",
    [
        lambda result: replace(result, releases=result.releases[:2]),
        lambda result: replace(result, releases=(*result.releases[:2], result.releases[1])),
        lambda result: replace(result, plan=result.plan.replace(b"semi-honest", b"semi-hottes")),
        lambda result: replace(result, plan=b""),
    ],
)
async def test_a_lying_daemon_is_found(
    serve: Any, backend: Any, consortium: Any, style: str, tamper: Callable[[JobResult], JobResult]
) -> None:
    backend.run_job = lambda job, request: job.finish(tamper(consortium.result(request)))
    async with serve() as path:
        with pytest.raises(ResultInvalid):
            await ask(path, consortium.profile, style)


async def test_an_answer_to_another_request_is_found(serve: Any, backend: Any, consortium: Any) -> None:
    kept: list[JobResult] = []

    def replay(job: Job, request: SignedRequest) -> None:
        kept.append(consortium.result(request))
        job.finish(kept[0])

    backend.run_job = replay
    async with serve() as path:
        await ask(path, consortium.profile, "trio")
        with pytest.raises(ResultInvalid, match="another request"):
            await ask(path, consortium.profile, "trio")


async def test_a_daemon_of_another_roster_is_not_asked(serve: Any, backend: Any, consortium: Any) -> None:
    other = replace(consortium.profile, roster_hash=RosterHash(b"o" * 32))
    async with serve() as path:
        with pytest.raises(RequestInvalid, match="pin"):
            await ask(path, other, "trio")
    assert not backend.calls


@pytest.mark.parametrize("style", ["sync", "trio"])
async def test_a_lagging_client_resumes_by_itself(
    serve: Any, backend: Any, consortium: Any, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_WATCH_SECONDS_MAX", 0.02)
    total = limits.API_WATCH_EVENTS_MAX * 2

    def busy(job: Job, request: SignedRequest) -> None:
        for step in range(total):
            job.progress(step, total, "x" * 20_000)
        job.finish(consortium.result(request))

    backend.run_job = busy
    events: list[Event] = []
    async with serve() as path:
        await ask(path, consortium.profile, style, events)
    assert [event.seq for event in events] == list(range(total + 1))


# ------------------------------------------------------------------------------------------------ connections


def serve_bytes(path: Path, answers: list[bytes]) -> threading.Thread:
    """Whatever is asked, answer these bytes one after another and hang up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            for answer in answers:
                connection.recv(2**16)
                connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x94\x01\x05\xc0\x80",  # an answer to another question
        b"\x94\x00\x01\xa1m\x91\x80",  # a request
        b"\x93\x02\xacmpc.v1.Event\x91\x80",  # an event without its keys
        b"",
        b"\x94\x01",
    ],
)
def test_what_is_no_daemon_is_called_so(short_directory: Path, answer: bytes) -> None:
    path = short_directory / "s"
    thread = serve_bytes(path, [answer])
    with pytest.raises(DaemonUnavailable):
        Client.connect(path)
    thread.join()


def test_no_daemon_and_no_permission_are_told_apart(short_directory: Path) -> None:
    with pytest.raises(DaemonUnavailable, match="No daemon answers"):
        Client.connect(short_directory / "nothing")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(short_directory / "dead"))
    dead.close()
    with pytest.raises(DaemonUnavailable, match="No daemon answers"):
        Client.connect(short_directory / "dead")
    error = sync_client.unavailable(Path("x"), PermissionError(13, "denied"))
    assert "may not use" in str(error)
    assert error.retryable


def test_signing_needs_a_profile(short_directory: Path) -> None:
    with pytest.raises(RequestInvalid):
        sync_client.need(None)


def test_a_conversation_ignores_other_notifications_it_does_not_know_by_failing() -> None:
    conversation = Conversation()
    conversation.start(Call(Method.STATUS, {}))
    with pytest.raises(DaemonUnavailable):
        conversation.receive(b"\x93\x02\xa1x\x91\x80")
    with pytest.raises(DaemonUnavailable):
        Conversation().receive(b"")


def test_a_flow_is_thrown_the_errors_of_its_calls() -> None:
    steps = flow.watch("job", None)
    call = next(steps)
    assert call.params == {"job": "job", "from_seq": 0}
    with pytest.raises(Busy):
        steps.throw(Busy("full"))
    steps = flow.watch("job", None)
    next(steps)
    with pytest.raises(NotFound):
        steps.throw(NotFound("gone"))


# ------------------------------------------------------------------------------------------------ profiles


def test_a_profile_reads_back(consortium: Any) -> None:
    profile = Profile.load(consortium.directory)
    assert profile.consortium == "three-hospitals"
    assert [party.name for party in profile.parties.values()] == ["hospital-0", "hospital-1", "hospital-2"]
    assert all(party.computes for party in profile.parties.values())
    assert profile.address == str(consortium.directory / "x")
    assert profile.purpose == "GRU"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("roster_hash", "hash_of_roster"),
        ('consortium = "three-hospitals"', "consortium = 3"),
        ("mpcd-sign1", "mpcd-sign2"),
        ("[[party]]", "[party"),
        ("id = 0", 'id = "x"'),
        ('roster_hash = "', 'roster_hash = "zz'),
    ],
)
def test_a_broken_profile_says_so(consortium: Any, old: str, new: str) -> None:
    path = consortium.directory / profiles.FILE
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigurationInvalid, match=r"profile\.toml"):
        Profile.load(consortium.directory)


def test_a_missing_profile_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="sandbox up"):
        Profile.load(tmp_path / "nothing")


def test_names_in_a_profile_cannot_break_out_of_it() -> None:
    text = profiles.render(
        consortium='a"\nsocket = "evil',
        roster_version=1,
        roster_hash=RosterHash(bytes(32)),
        socket=Path('/x"y'),
        parties=[],
    )
    assert tomllib.loads(text)["consortium"] == 'a"\nsocket = "evil'
    assert tomllib.loads(text)["socket"] == '/x"y'


def test_which_profile_is_used(tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert profiles.find(None, state) == tmp_path / "config" / "mpcd"
    sandbox = tmp_path / "box"
    sandbox.mkdir()
    (sandbox / profiles.FILE).write_text("")
    pointer = profiles.sandbox_pointer(state)
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(sandbox)
    assert profiles.find(None, state) == sandbox
    assert profiles.find(None, {**state, "MPCD_PROFILE": "/named"}) == Path("/named")
    assert profiles.find("/explicit", {**state, "MPCD_PROFILE": "/named"}) == Path("/explicit")
    (sandbox / profiles.FILE).unlink()
    assert profiles.find(None, state) == tmp_path / "config" / "mpcd"


def test_the_client_imports_neither_numpy_nor_trio_nor_the_rest_of_the_daemon() -> None:
    heavy = ["numpy", "trio", "duckdb", "sqlglot", "structlog", "rich", "mpcd.daemon", "mpcd.protocols", "mpcd.plan"]
    code = f"import sys, mpcd.api.client, mpcd.results.finish\nprint([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
