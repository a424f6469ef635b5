"""Children: what one may do, what ends it, and that nothing of it stays behind."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from mpcd.errors import EngineFailed, PlanUnsupported
from mpcd.sources import child as child_module
from mpcd.sources.child import Child, ChildFailed, ChildSpec
from mpcd.sources.pool import Pool

HERE = Path(__file__).parent
MEMORY_BYTES = 2**30


@pytest.fixture(autouse=True)
def _test_child_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def spec(**changes: object) -> ChildSpec:
    return ChildSpec(module="misbehaving_child", memory_bytes_max=MEMORY_BYTES, **changes)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_answers_and_stays_warm() -> None:
    async with await Child.start(spec()) as child:
        for value in (1, "two", b"\x03" * 100_000, [None, True], {"a": -(2**63)}):
            assert await child.call("echo", {"value": value}, seconds=5) == value
        assert child.usable
    assert gone(child.pid)


async def test_typed_refusal_crosses_and_the_child_lives_on() -> None:
    async with await Child.start(spec()) as child:
        with pytest.raises(PlanUnsupported, match="say it differently"):
            await child.call("refuse", {}, seconds=5)
        assert await child.call("echo", {"value": 1}, seconds=5) == 1


async def test_error_text_never_crosses() -> None:
    with capture_logs() as logs:
        async with await Child.start(spec()) as child:
            with pytest.raises(EngineFailed) as caught:
                await child.call("fail", {"value": "patient 4711"}, seconds=5)
    assert "4711" not in repr(caught.value) + repr(logs) + repr(caught.value.__cause__)
    (event,) = logs
    assert (event["event"], event["reason"], event["detail"]) == ("child_failed", "error", "RuntimeError")


@pytest.mark.parametrize(
    ("op", "body", "reason"),
    [
        ("spin", {}, "deadline"),
        ("sleep", {"seconds": 60}, "deadline"),
        ("allocate", {"count": 2 * MEMORY_BYTES}, "error"),
        ("long_reply", {"count": 200_000}, "error"),
        ("die", {}, "closed"),
        ("nothing of this name", {}, "error"),
    ],
)
async def test_every_end_is_the_same_error(op: str, body: dict[str, object], reason: str) -> None:
    texts = set()
    async with await Child.start(spec(reply_bytes_max=100_000)) as child:
        started = time.monotonic()
        with pytest.raises(ChildFailed) as caught:
            await child.call(op, body, seconds=0.5)
        assert time.monotonic() - started < 5
        texts.add(str(caught.value))
        assert caught.value.reason == reason
        assert caught.value.code == "mpc.EngineFailed"
        assert not child.usable
    assert gone(child.pid)
    assert texts == {child_module._MESSAGE}


async def test_a_request_that_is_too_long_is_not_sent() -> None:
    async with await Child.start(spec(request_bytes_max=1000)) as child:
        with pytest.raises(ChildFailed):
            await child.call("echo", {"value": b"x" * 1001}, seconds=5)


async def test_cancelling_the_caller_kills_the_child() -> None:
    async with await Child.start(spec()) as child:
        with trio.move_on_after(0.2):
            await child.call("spin", {}, seconds=60)
        assert not child.usable
    assert gone(child.pid)


async def test_processor_time_is_armed_again_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    async with await Child.start(spec()) as child:
        for _ in range(3):
            assert await child.call("sleep", {"seconds": 0.01}, seconds=1) == "awake"
        child.kill()
    async with await Child.start(spec()) as child:
        monkeypatch.setattr(trio, "move_on_after", lambda seconds: trio.CancelScope())  # the parent's clock fails
        with pytest.raises(ChildFailed) as caught, trio.fail_after(30):
            await child.call("spin", {}, seconds=0.1)
        assert caught.value.reason == "closed"
    assert child._process.returncode == -signal.SIGXCPU


async def test_processor_time_is_limited_from_the_start() -> None:
    """Before the first request arms it: the child itself has taken the limit that its start was given."""
    async with await Child.start(spec(start_seconds_max=17.5)) as child:
        assert resource.prlimit(child.pid, resource.RLIMIT_CPU)[0] == 18
        await child.call("echo", {"value": 1}, seconds=1000)
        assert resource.prlimit(child.pid, resource.RLIMIT_CPU)[0] > 18


async def test_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPCD_SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server, (HERE / "test_child.py").open() as inherited:
        os.set_inheritable(inherited.fileno(), True)
        async with await Child.start(spec()) as child:
            found = await child.call("inside", {"port": server.getsockname()[1]}, seconds=5)
            assert isinstance(found, dict)
            assert found["environment"] == ["LC_ALL", "PATH", "PYTHONPATH", "TZ"]
            assert len(found["descriptors"]) <= 6  # 0, 1, 2, two pipes, the listing itself
            assert found["session"] == child.pid
            assert found["core"] == [0, 0]
            assert found["files"] == [64, 64]
            assert found["memory"] == [MEMORY_BYTES, MEMORY_BYTES]
            assert found["parent_death_signal"] == signal.SIGKILL
            if child.offline:
                assert found["connected"] is False


async def test_a_child_that_only_reads_cannot_write(tmp_path: Path) -> None:
    async with await Child.start(spec()) as child:
        with pytest.raises(ChildFailed):
            await child.call("write", {"path": str(tmp_path / "file")}, seconds=5)


async def test_what_libraries_print_is_not_an_answer() -> None:
    async with await Child.start(spec()) as child:
        assert await child.call("chatter", {}, seconds=5) == "quiet"


async def test_no_such_module() -> None:
    with capture_logs() as logs, pytest.raises(ChildFailed) as caught:
        await Child.start(ChildSpec(module="no_such_module_here", memory_bytes_max=MEMORY_BYTES))
    assert caught.value.reason == "start"
    assert "No module named no_such_module_here" in logs[0]["detail"]


PARENT = """
import sys, trio
sys.path.insert(0, {here!r})
from mpcd.sources.child import Child, ChildSpec
async def main():
    child = await Child.start(ChildSpec(module="misbehaving_child", memory_bytes_max=2**30))
    print(child.pid, flush=True)
    await child.call("spin", {{}}, seconds=60)
trio.run(main)
"""


def test_no_child_outlives_the_daemon() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(here=str(HERE))], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if gone(pid) or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child was still spinning")


async def test_pool_replaces_in_the_background(nursery: trio.Nursery) -> None:
    pool = Pool(spec(uses_max=2))
    await nursery.start(pool.run)
    pids = []
    for _ in range(4):
        async with pool.borrow() as child:
            await child.call("echo", {"value": 0}, seconds=5)
            pids.append(child.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert gone(pids[0])
    with trio.fail_after(10):
        while not pool._idle:  # noqa: ASYNC110  the pool tells nobody
            await trio.sleep(0.01)
    nursery.cancel_scope.cancel()


async def test_pool_survives_a_runaway_child() -> None:
    pool = Pool(spec())
    async with pool.borrow() as child:
        with pytest.raises(ChildFailed):
            await child.call("spin", {}, seconds=0.2)
    async with pool.borrow() as child:
        assert await child.call("echo", {"value": 1}, seconds=5) == 1
    await pool.close()
    assert gone(child.pid)


async def test_pool_renews_and_retires(nursery: trio.Nursery) -> None:
    prepared = []

    async def prepare(child: Child) -> None:
        prepared.append(child.pid)
        await child.call("echo", {"value": 0}, seconds=5)

    pool = Pool(spec(), prepare=prepare, idle_seconds_max=0.3)
    await nursery.start(pool.run)
    async with pool.borrow() as child:
        first = child.pid
    await pool.renew()
    async with pool.borrow() as child:
        second = child.pid
    assert first != second
    assert prepared[0] == first
    with trio.fail_after(10):
        while pool._idle or not gone(second):  # noqa: ASYNC110  as above
            await trio.sleep(0.05)
    nursery.cancel_scope.cancel()


async def test_pool_waits_no_longer_than_the_deadline() -> None:
    pool = Pool(spec())
    async with pool.borrow() as child:
        with pytest.raises(ChildFailed) as caught:
            async with pool.borrow(trio.current_time() + 0.1):
                pytest.fail("there was one place")
        assert caught.value.reason == "deadline"
        assert await child.call("echo", {"value": 1}, seconds=5) == 1
    async with pool.borrow(trio.current_time() + 5) as again:
        assert again is child
    await pool.close()


async def test_pool_bounds_its_children() -> None:
    pool = Pool(spec(), size_max=2)
    running = 0
    most = 0

    async def use() -> None:
        nonlocal running, most
        async with pool.borrow() as child:
            running += 1
            most = max(most, running)
            await child.call("sleep", {"seconds": 0.1}, seconds=5)
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(use)
    assert most == 2
    assert pool.started == 2
    await pool.close()
