from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog
import trio
from trio.testing import MockClock

from mpcd import errors, limits
from mpcd.api import client_trio
from mpcd.api.envelope import Decoder, Message, Notification, Request, Response, encode
from mpcd.api.jobs import Job, JobBook
from mpcd.api.types import Caller, JobResult, Map, Method, error_from_map, error_to_map
from mpcd.errors import (
    Busy,
    Lagged,
    LimitExceeded,
    MpcdError,
    NotAuthorised,
    NotFound,
    PeerGone,
    Refusal,
    Refused,
    RequestInvalid,
)
from mpcd.ids import PartyId

HELLO = Request(0, Method.HELLO, {"client": "test", "versions": [1]})


class Raw:
    """A client that speaks whatever the test wants."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._decoder = Decoder.for_client()
        self._waiting: list[Message] = []

    async def send(self, *messages: Message) -> None:
        await self.stream.send_all(b"".join(map(encode, messages)))

    async def receive(self) -> Message:
        while not self._waiting:
            data = await self.stream.receive_some(2**16)
            if not data:
                raise EOFError
            self._waiting += self._decoder.feed(bytes(data))
        return self._waiting.pop(0)

    async def call(self, message: Request) -> Response:
        await self.send(message)
        answer = await self.receive()
        assert isinstance(answer, Response)
        assert answer.msgid == message.msgid
        return answer

    async def closing_code(self) -> str:
        """The code of the Closed notice, which must be the last thing."""
        notice = await self.receive()
        assert isinstance(notice, Notification)
        assert notice.method == "mpc.v1.Closed"
        with pytest.raises(EOFError):
            await self.receive()
        return error_from_map(notice.params["error"]).code


OPEN: list[trio.SocketStream] = []


@pytest.fixture(autouse=True)
def close_all() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().socket._sock.close()  # type: ignore[attr-defined]


async def connect(path: Path, *, hello: bool = True) -> Raw:
    raw = Raw(await trio.open_unix_socket(str(path)))
    OPEN.append(raw.stream)
    if hello:
        assert (await raw.call(HELLO)).error is None
    return raw


def every_error() -> Iterator[MpcdError]:
    reason = Refusal(PartyId(1), "column-use", "gbsg2.age: group", "party 1 does not allow it")
    special: dict[str, Callable[[], MpcdError]] = {
        "mpc.Refused": lambda: Refused((reason,)),
        "mpc.Lagged": lambda: Lagged("late", next_seq=7),
    }
    for code, kind in errors.closed_codes().items():
        if code in special:
            yield special[code]()
        elif issubclass(kind, errors.PeerFault):
            yield kind(PartyId(2), "a sentence")
        else:
            yield kind("a sentence")


# ------------------------------------------------------------------------------------------------ methods and errors


async def test_hello_names_the_daemon_and_its_limits(serve: Any) -> None:
    async with serve() as path:
        raw = await connect(path, hello=False)
        answer = await raw.call(HELLO)
        assert answer.result is not None
        assert answer.result["api_version"] == 1
        assert answer.result["role"] == "admin"
        node = answer.result["node"]
        assert isinstance(node, dict)
        assert node["security"] == "semi-honest"
        assert node["consortium"] == "three-hospitals"
        assert node["roster_hash"] == bytes(range(32))


async def test_hello_with_no_common_version_is_refused(serve: Any) -> None:
    async with serve() as path:
        raw = await connect(path, hello=False)
        answer = await raw.call(Request(0, Method.HELLO, {"client": "test", "versions": [2, 3]}))
        assert answer.error is not None
        assert answer.error["code"] == "mpc.RequestInvalid"


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: error.code)
async def test_every_code_crosses_the_socket_and_comes_back(serve: Any, backend: Any, error: MpcdError) -> None:
    backend.failure = error
    async with serve() as path:
        raw = await connect(path)
        answer = await raw.call(Request(1, Method.STATUS, {}))
    found = answer.error
    assert found is not None
    assert set(found) == {"code", "message", "retryable", "who", "data"}
    assert (found["code"], found["retryable"], found["who"]) == (error.code, error.retryable, error.who_must_act)
    rebuilt = error_from_map(found)
    assert rebuilt.code == error.code
    assert str(rebuilt) == str(error)
    assert rebuilt.data() == error.data()


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"code": "mpc.Busy"}, {"code": "mpc.Refused", "message": "m", "data": {}}]
)
def test_a_malformed_error_map_is_still_an_error(value: object) -> None:
    assert error_from_map(value).code == "mpc.Internal"


def test_an_unknown_code_is_told_apart() -> None:
    value = {**error_to_map(Busy("m")), "code": "mpc.FromTheFuture"}
    assert "mpc.FromTheFuture" in str(error_from_map(value))


async def test_an_unexpected_exception_crosses_as_a_reference_alone(serve: Any, backend: Any) -> None:
    backend.failure = ZeroDivisionError("patient 4711 is the secret")
    with structlog.testing.capture_logs() as entries:
        async with serve() as path:
            raw = await connect(path)
            answer = await raw.call(Request(1, Method.STATUS, {}))
            assert (await raw.call(Request(2, Method.HELLO, {"client": "x", "versions": [1]}))).error is None
    assert answer.error is not None
    assert answer.error["code"] == "mpc.Internal"
    assert "4711" not in repr(answer.error)
    data = answer.error["data"]
    assert isinstance(data, dict)
    (entry,) = [entry for entry in entries if entry["event"] == "api_internal_error"]
    assert entry["reference"] == data["reference"]


async def test_unknown_methods_and_parameters_are_named(serve: Any) -> None:
    async with serve() as path:
        raw = await connect(path)
        codes = []
        for index, (method, params) in enumerate(
            [
                ("mpc.v1.Nothing", {}),
                (Method.STATUS, {"verbose": True}),
                (Method.CANCEL, {}),
                (Method.CANCEL, {"job": 3}),
                (Method.CANCEL, {"job": "j" * 65}),
                (Method.WATCH, {"job": "j", "from_seq": -1}),
                (Method.WATCH, {"job": "j", "from_seq": True}),
                (Method.TABLE_IMPORT, {"table": "t", "paths": "x"}),
                (Method.TABLE_IMPORT, {"table": "t", "paths": [1]}),
                (Method.EXPLAIN, {"request": "text"}),
                (Method.WATCH, {"job": "nobody's"}),
            ]
        ):
            answer = await raw.call(Request(index, method, params))  # type: ignore[arg-type]
            assert answer.error is not None
            codes.append(answer.error["code"])
    assert codes == ["mpc.MethodUnknown", *["mpc.RequestInvalid"] * 9, "mpc.NotFound"]


async def test_administration_passes_its_parameters(serve: Any, backend: Any) -> None:
    async with serve("admin") as path:
        raw = await connect(path)
        calls: list[tuple[Method, Map]] = [
            (Method.PEERS, {}),
            (Method.LEDGER_VERIFY, {}),
            (Method.LEDGER_ENTRIES, {"from_seq": 3, "count": 9}),
            (Method.TABLE_LIST, {}),
            (Method.TABLE_IMPORT, {"table": "t", "paths": ["a", "b"]}),
            (Method.TABLE_PUBLISH, {"table": "t"}),
            (Method.RELOAD, {}),
            (Method.DRAIN, {}),
            (Method.DRAIN, {"off": True}),
        ]
        for index, (method, params) in enumerate(calls):
            assert (await raw.call(Request(index, method, params))).error is None
    assert backend.calls == [
        ("peers", ()),
        ("ledger_verify", ()),
        ("ledger_entries", (3, 9)),
        ("table_list", ()),
        ("table_import", ("t", ["a", "b"])),
        ("table_publish", ("t", None)),
        ("reload", ()),
        ("drain", ()),
        ("drain", ("off",)),
    ]


# ------------------------------------------------------------------------------------------------ roles


@pytest.mark.usefixtures("not_admin")
async def test_strangers_are_clients_on_api_and_nobody_on_admin(serve: Any) -> None:
    async with serve() as path:
        raw = await connect(path)
        assert (await raw.call(Request(1, Method.STATUS, {}))).error is None
        for method in (Method.PEERS, Method.LEDGER_VERIFY, Method.RELOAD, Method.DRAIN, Method.TABLE_LIST):
            answer = await raw.call(Request(2, method, {}))
            assert answer.error is not None
            assert answer.error["code"] == "mpc.NotAuthorised"
    async with serve("admin") as path:
        raw = await connect(path, hello=False)
        assert await raw.closing_code() == "mpc.NotAuthorised"


@pytest.mark.usefixtures("not_admin")
async def test_a_configured_uid_administers(serve: Any) -> None:
    async with serve("admin", [4321]) as path:
        raw = await connect(path)
        assert (await raw.call(Request(1, Method.PEERS, {}))).error is None


# ------------------------------------------------------------------------------------------------ form and limits


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc1", "mpc.RequestInvalid"),
        (b"GET / HTTP/1.1\r\n\r\n", "mpc.RequestInvalid"),
        (encode(Request(1, Method.STATUS, {})), "mpc.RequestInvalid"),  # before Hello
        (encode(Notification("mpc.v1.Event", {})), "mpc.RequestInvalid"),
        (encode(Response(0, None, {})), "mpc.RequestInvalid"),
        (encode(HELLO) + encode(HELLO), "mpc.RequestInvalid"),  # one msgid twice in flight
        (encode(Request(0, Method.HELLO, {"x": bytes(limits.API_REQUEST_BYTES_MAX)})), "mpc.LimitExceeded"),
        (msgpack.packb([0, 1, "m", [[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]]), "mpc.LimitExceeded"),
    ],
)
async def test_a_broken_form_ends_the_connection_with_its_reason(serve: Any, data: bytes, code: str) -> None:
    async with serve() as path:
        raw = await connect(path, hello=False)
        await raw.stream.send_all(data)
        assert await raw.closing_code() == code
        # The next caller is served as if nothing had been.
        await connect(path)


async def test_requests_in_flight_are_limited(serve: Any, backend: Any) -> None:
    backend.hold = trio.Event()
    async with serve() as path:
        raw = await connect(path)
        count = limits.API_REQUESTS_IN_FLIGHT_MAX
        await raw.send(*(Request(index, Method.STATUS, {}) for index in range(1, count + 2)))
        assert await raw.closing_code() == "mpc.LimitExceeded"


async def test_answers_come_in_the_order_in_which_they_are_ready(serve: Any, backend: Any) -> None:
    backend.run_job = lambda job, request: None
    caller = Caller(0, 0, 0, "admin")
    job, _ = backend.jobs.open(caller, b"digest", "key")
    async with serve() as path:
        raw = await connect(path)
        await raw.send(Request(5, Method.WATCH, {"job": job.name}))
        assert (await raw.call(Request(6, Method.STATUS, {}))).error is None
        job.fail(Busy("full"))
        assert isinstance(await raw.receive(), Notification)
        assert await raw.receive() == Response(5, None, {"next_seq": 1})


async def test_connections_are_limited(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "API_CONNECTIONS_MAX", 2)
    async with serve() as path:
        first = await connect(path)
        await connect(path)
        third = await connect(path, hello=False)
        assert await third.closing_code() == "mpc.LimitExceeded"
        await first.stream.aclose()
        await trio.sleep(0.01)
        await connect(path)


async def test_silence_before_hello_and_idleness_end_a_connection(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "API_HELLO_SECONDS_MAX", 0.02)
    monkeypatch.setattr(limits, "API_IDLE_SECONDS_MAX", 0.05)
    async with serve() as path:
        raw = await connect(path, hello=False)
        assert await raw.closing_code() == "mpc.LimitExceeded"
        raw = await connect(path)
        assert await raw.closing_code() == "mpc.LimitExceeded"


async def test_a_caller_that_does_not_read_is_cut_off(
    serve: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_SEND_SECONDS_MAX", 0.05)

    async def long(_caller: Caller) -> Map:
        await trio.lowlevel.checkpoint()
        return {"blob": bytes(8 * 2**20)}

    monkeypatch.setattr(backend, "status", long)
    async with serve() as path:
        raw = await connect(path)
        await raw.send(Request(1, Method.STATUS, {}))
        await trio.sleep(0.2)
        with pytest.raises(EOFError):
            await raw.receive()


async def test_an_answer_over_the_limit_becomes_an_error(
    serve: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_RESPONSE_BYTES_MAX", 1000)

    async def long(_caller: Caller) -> Map:
        await trio.lowlevel.checkpoint()
        return {"blob": bytes(2000)}

    monkeypatch.setattr(backend, "status", long)
    async with serve() as path:
        raw = await connect(path)
        answer = await raw.call(Request(1, Method.STATUS, {}))
        assert answer.error is not None
        assert answer.error["code"] == "mpc.LimitExceeded"


async def test_a_caller_that_leaves_cancels_its_calls_but_not_its_job(serve: Any, backend: Any) -> None:
    job, _ = backend.jobs.open(Caller(0, 0, 0, "admin"), b"digest", "key")
    async with serve() as path:
        raw = await connect(path)
        await raw.send(Request(1, Method.WATCH, {"job": job.name}))
        await trio.sleep(0.01)
        await raw.stream.aclose()
        await trio.sleep(0.01)
        assert not job.cancel_requested.is_set()
        job.state("running")
        again = await connect(path)
        await again.send(Request(1, Method.WATCH, {"job": job.name}))
        assert isinstance(await again.receive(), Notification)


# ------------------------------------------------------------------------------------------------ watching


async def test_watchers_at_the_same_time_see_the_same_events(serve: Any, backend: Any) -> None:
    job, _ = backend.jobs.open(Caller(0, 0, 0, "admin"), b"digest", "key")
    seen: list[list[int]] = [[] for _ in range(5)]

    async def watch(path: Path, numbers: list[int], from_seq: int) -> None:
        raw = await connect(path)
        await raw.send(Request(1, Method.WATCH, {"job": job.name, "from_seq": from_seq}))
        while isinstance(message := await raw.receive(), Notification):
            seq = message.params["seq"]
            assert isinstance(seq, int)
            numbers.append(seq)
        assert message == Response(1, None, {"next_seq": 41})

    async with serve() as path, trio.open_nursery() as nursery:
        job.progress(0, 39, "start")
        for index, numbers in enumerate(seen):
            nursery.start_soon(watch, path, numbers, index % 2)
        for step in range(1, 40):
            job.progress(step, 39, "step")
            await trio.sleep(0.001)
        job.fail(Busy("over"))
    assert seen == [list(range(index % 2, 41)) for index in range(5)]


async def test_a_lagging_watcher_is_told_where_to_resume_and_loses_nothing(
    serve: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_WATCH_SECONDS_MAX", 0.05)
    job, _ = backend.jobs.open(Caller(0, 0, 0, "admin"), b"digest", "key")
    numbers: list[int] = []
    async with serve() as path:
        raw = await connect(path)
        raw.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await raw.send(Request(1, Method.WATCH, {"job": job.name}))
        await trio.sleep(0.01)
        for step in range(200):
            job.progress(step, 200, "x" * 10_000)
        await trio.sleep(0.3)  # the watcher does not read
        while isinstance(message := await raw.receive(), Notification):
            numbers.append(message.params["seq"])  # type: ignore[arg-type]
        assert isinstance(message, Response)
        assert message.error is not None
        error = error_from_map(message.error)
        assert isinstance(error, Lagged)
        assert error.retryable
        assert numbers == list(range(error.next_seq))
        assert error.next_seq < 200
        job.fail(Busy("over"))
        await raw.send(Request(2, Method.WATCH, {"job": job.name, "from_seq": error.next_seq}))
        while isinstance(message := await raw.receive(), Notification):
            numbers.append(message.params["seq"])  # type: ignore[arg-type]
        assert message == Response(2, None, {"next_seq": 201})
    assert numbers == list(range(201))


def test_dropped_events_count_as_lagging() -> None:
    async def main() -> None:
        job = Job("j", 0, b"d", lambda: 0.0)
        for step in range(limits.API_JOB_EVENTS_MAX + 10):
            job.progress(step, 0, "")
        with pytest.raises(Lagged) as caught:
            await job.wait(0)
        assert caught.value.next_seq == 10
        assert (await job.wait(10)).events[0].seq == 10
        with pytest.raises(RequestInvalid):
            await job.wait(10**6)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ------------------------------------------------------------------------------------------------ jobs


def test_jobs_are_idempotent_private_and_bounded(backend: Any) -> None:
    owner, other, admin = Caller(1, 1, 1, "client"), Caller(2, 2, 2, "client"), Caller(0, 0, 0, "admin")
    book = backend.jobs
    job, new = book.open(owner, b"a", "key")
    assert new
    assert book.open(owner, b"a", "key") == (job, False)
    with pytest.raises(RequestInvalid):
        book.open(owner, b"b", "key")
    assert book.open(other, b"b", "key")[0] is not job
    assert book.get(admin, job.name) is job
    with pytest.raises(NotFound):
        book.get(other, job.name)
    with pytest.raises(NotFound):
        job.result()
    job.fail(PeerGone(PartyId(1), "gone"))
    with pytest.raises(PeerGone):
        job.result()


def test_finished_jobs_make_room_and_running_ones_do_not() -> None:
    book = JobBook(lambda: 0.0, jobs_max=2)
    caller = Caller(1, 1, 1, "client")
    first, _ = book.open(caller, b"1", "1")
    book.open(caller, b"2", "2")
    with pytest.raises(Busy):
        book.open(caller, b"3", "3")
    first.fail(Busy("x"))
    book.open(caller, b"3", "3")
    with pytest.raises(NotFound):
        book.get(caller, first.name)
    assert book.running() == 2


def test_results_are_bounded_by_their_bytes_and_the_oldest_goes_first() -> None:
    book = JobBook(lambda: 0.0, results_bytes_max=100)
    caller = Caller(1, 1, 1, "client")
    jobs = [book.open(caller, bytes([i]), str(i))[0] for i in range(4)]
    order = [jobs[2], jobs[0], jobs[1]]
    for job in order:
        job.finish(JobResult(b"p" * 10, (b"r" * 15, b"r" * 15), {}))
    with pytest.raises(NotFound, match="no longer kept"):
        jobs[2].result()
    assert book.get(caller, jobs[2].name).over
    assert jobs[0].result_bytes + jobs[1].result_bytes == 80
    jobs[3].finish(JobResult(b"p", (b"r" * 1000,), {}))
    assert [job.result_bytes for job in jobs] == [0, 0, 0, 1001]
    assert jobs[3].result().releases == (b"r" * 1000,)


def test_a_forgotten_job_keeps_no_result() -> None:
    book = JobBook(lambda: 0.0, jobs_max=1, results_bytes_max=100)
    caller = Caller(1, 1, 1, "client")
    for number in range(3):
        job = book.open(caller, bytes([number]), str(number))[0]
        job.finish(JobResult(b"", (b"r" * 60,), {}))
        assert job.result_bytes == 60
        assert list(book._with_result) == [job]


async def test_the_trio_client_speaks_to_the_server(serve: Any, backend: Any, consortium: Any) -> None:
    async with serve() as path, client_trio.connect(path, consortium.profile) as client:
        assert client.node.party_name == "hospital-0"
        assert (await client.describe())["call"] == "describe"
        assert backend.calls[-1][1][:2] == ("discovery", "describe")
        assert (await client.explain("SELECT COUNT(*) FROM t"))["rounds"] == 9
        backend.failure = NotAuthorised("no")
        with pytest.raises(NotAuthorised):
            await client.call(Method.STATUS)
        backend.failure = LimitExceeded("too much")
        with pytest.raises(LimitExceeded):
            await client.call(Method.STATUS)
