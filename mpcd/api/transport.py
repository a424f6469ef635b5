"""How a client reaches a daemon: a socket of this host, or a command that leads to one (layer 12).

    /run/mpcd/api.sock      a Unix socket here
    ssh:HOST                `ssh -T HOST mpcctl bridge`; also ssh:USER@HOST and ssh:HOST:PORT
    pipe:COMMAND ...        any command that speaks the API on its standard input and output

The host in between needs no trust: requests are authorised by the analyst's signature, and results are sealed to the
analyst's key.  It sees what it relays to its own daemon anyway: the texts of requests and the descriptions of tables.

A pipe has no time-out on every system, so a thread reads it into a queue that does.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import socket
import subprocess
import threading
from pathlib import Path
from typing import Final, Protocol

from mpcd.errors import ConfigurationInvalid

SSH: Final = "ssh:"
PIPE: Final = "pipe:"
_CHUNK_BYTES: Final = 64 * 2**10
_CHUNKS_WAITING_MAX: Final = 64
_END_SECONDS: Final = 2.0
_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9_.][A-Za-z0-9_.%@-]*|\[[0-9A-Fa-f:]+\])(:(?P<port>[0-9]{1,5}))?")


class Connection(Protocol):
    """Bytes both ways; failures are `OSError`, a passed time-out is `TimeoutError`."""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""

    def receive(self, count: int) -> bytes:
        """At most `count` bytes that have arrived; none at the end."""

    def close(self) -> None:
        """Leave."""


def is_command(address: str) -> bool:
    """Whether the address leads through a command."""
    return address.startswith((SSH, PIPE))


def open_connection(address: Path | str, seconds: float) -> Connection:
    """Connect.

    Args:
        address: see the module's docstring.
        seconds: how long to wait for each answer.

    Raises:
        ConfigurationInvalid: the address makes no sense on this system.
        OSError: nobody answers.
    """
    written = str(address)
    if is_command(written):
        return CommandConnection(command(written), seconds)
    return SocketConnection(written, seconds)


def command(address: str) -> list[str]:
    """The command line behind an address.

    Raises:
        ConfigurationInvalid: no host, or one that ssh would take for an option.
    """
    if address.startswith(PIPE):
        arguments = shlex.split(address.removeprefix(PIPE), posix=os.name != "nt")
        if not arguments:
            raise ConfigurationInvalid(f"`{address}` names no command; write pipe:COMMAND")
        return arguments
    found = _HOST.fullmatch(address.removeprefix(SSH))
    if found is None:
        raise ConfigurationInvalid(f"`{address}` names no host; write ssh:HOST, ssh:USER@HOST or ssh:HOST:PORT")
    port = [] if found["port"] is None else ["-p", found["port"]]
    return ["ssh", "-T", *port, "--", found["host"].strip("[]"), "mpcctl", "bridge"]


class SocketConnection:
    """A Unix socket of this host."""

    def __init__(self, path: str, seconds: float) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigurationInvalid("this system has no Unix sockets; reach a party with --socket ssh:HOST")
        # Python makes sockets that children do not inherit, on every system.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(seconds)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        """See `Connection`."""
        self._socket.sendall(data)

    def receive(self, count: int) -> bytes:
        """See `Connection`."""
        return self._socket.recv(count)

    def close(self) -> None:
        """See `Connection`; whoever waits in another thread sees the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class CommandConnection:
    """A command whose standard input and output lead to a daemon; what it says on standard error is shown."""

    def __init__(self, arguments: list[str], seconds: float) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)  # noqa: S603  # the user's own command, no shell
        self._arrived: queue.Queue[bytes] = queue.Queue(_CHUNKS_WAITING_MAX)
        self._rest = b""
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while data := self._process.stdout.read(_CHUNK_BYTES):
                self._arrived.put(data)
        self._arrived.put(b"")

    def send(self, data: bytes) -> None:
        """See `Connection`."""
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self._process.stdin.write(view) or 0 :]

    def receive(self, count: int) -> bytes:
        """See `Connection`."""
        if not self._rest and not self._over:
            try:
                self._rest = self._arrived.get(timeout=self._seconds)
            except queue.Empty:
                raise TimeoutError from None
            self._over = not self._rest
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def close(self) -> None:
        """Close its input, wait a moment for it to end, then end it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # The reader may wait for room in the queue; it ends with the pipe.
        with contextlib.suppress(queue.Empty):
            while True:
                self._arrived.get_nowait()
        self._reader.join(_END_SECONDS)
        self._process.stdout.close()
