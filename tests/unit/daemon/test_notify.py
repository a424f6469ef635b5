from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio

from mpcd.daemon.notify import Notifier


@pytest.fixture
def ear(tmp_path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.settimeout(1)
    return found


def test_the_messages_of_a_life(ear: socket.socket) -> None:
    name = f"mpcd-test-{os.getpid()}"
    with ear:
        ear.bind("\0" + name)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.ready("serving")
        assert ear.recv(1000) == b"READY=1\nSTATUS=serving"
        notifier.status("one line\nEVIL=1")
        assert ear.recv(1000) == b"STATUS=one line"
        notifier.reloading()
        assert ear.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.watchdog()
        assert ear.recv(1000) == b"WATCHDOG=1"
        notifier.stopping()
        assert ear.recv(1000) == b"STOPPING=1"


def test_a_path_works_like_an_abstract_name(ear: socket.socket, tmp_path: Path) -> None:
    with ear:
        ear.bind(str(tmp_path / "n"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")}).watchdog()
        assert ear.recv(1000) == b"WATCHDOG=1"


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_when_the_watchdog_wants_to_hear(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environment).watchdog_seconds == seconds


async def test_an_unhealthy_loop_does_not_feed_the_watchdog(
    ear: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    name = f"mpcd-test-dog-{os.getpid()}"
    with ear:
        ear.bind("\0" + name)
        ear.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "10000000"})
        health = iter([True, False, True])

        async def healthy() -> bool:
            await trio.lowlevel.checkpoint()
            return next(health, False)

        with trio.move_on_after(19):
            await notifier.feed_watchdog(healthy)
        count = 0
        while True:
            try:
                ear.recv(100)
            except BlockingIOError:
                break
            count += 1
    assert count == 2
