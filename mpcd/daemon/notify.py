"""Telling systemd how we are: the sd_notify protocol in pure Python (layer 13).

One datagram of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names; without it, nothing happens.  The
watchdog is fed from the main loop after a self-check, never from a thread, so that a stuck loop is found.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

_STATUS_CHARACTERS_MAX: Final = 512


class Notifier:
    """The service manager's ear, if there is one."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environment)
        """Time between two signs of life that the service manager accepts; None if it does not watch."""

    def ready(self, status: str) -> None:
        """We serve from now on."""
        self._send({"READY": "1", "STATUS": status})

    def status(self, status: str) -> None:
        """One line for `systemctl status`; nothing that is not public."""
        self._send({"STATUS": status})

    def reloading(self) -> None:
        """We are reading our configuration again; `ready` ends it."""
        self._send({"RELOADING": "1", "MONOTONIC_USEC": str(time.monotonic_ns() // 1000)})

    def stopping(self) -> None:
        """We are going down on purpose."""
        self._send({"STOPPING": "1"})

    def watchdog(self) -> None:
        """A sign of life."""
        self._send({"WATCHDOG": "1"})

    async def feed_watchdog(self, healthy: Callable[[], Awaitable[bool]]) -> None:
        """Give signs of life at half the accepted interval, as long as `healthy` says so; for ever."""
        if self.watchdog_seconds is None:
            return
        while True:
            if await healthy():
                self.watchdog()
            await trio.sleep(self.watchdog_seconds / 2)

    def _send(self, fields: Mapping[str, str]) -> None:
        if not self._address:
            return
        lines = (f"{key}={value[:_STATUS_CHARACTERS_MAX].splitlines()[0]}" for key, value in fields.items())
        # A service manager that is gone or busy must not take the daemon with it.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ear,
        ):
            ear.setblocking(False)
            ear.sendto("\n".join(lines).encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not meant or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6
