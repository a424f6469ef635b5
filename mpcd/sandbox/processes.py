"""Starting, recognising and stopping the daemons of a sandbox (layer 14).

A process is named by its number, its start time and the boot in which it started: after a crash or a reboot the
number may belong to somebody else, who is then left alone.  Each daemon leads a session of its own, so that the
terminal's signals miss it.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from mpcd.api.client import Client
from mpcd.api.types import Method
from mpcd.errors import LocalFault, MpcdError
from mpcd.sandbox.layout import Hospital, ProcessId

START_SECONDS_MAX: Final = 45.0
STOP_SECONDS_MAX: Final = 10.0
ANSWER_SECONDS_MAX: Final = 2.0
"""How long a daemon of a sandbox may take to say how it is; one that was stopped by a signal never does."""
_POLL_SECONDS: Final = 0.05
_LOG_LINES: Final = 5
_LISTEN_DESCRIPTOR: Final = 3
_PARENT_FIELD: Final = 1
_START_FIELD: Final = 19
_CREDENTIALS: Final = struct.Struct("iII")


def boot_id() -> str:
    """Names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the command's name; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessId | None:
    """The process that has this number now; None if there is none (a zombie is none)."""
    fields = _fields(pid)
    if not fields or fields[0] == "Z":
        return None
    return ProcessId(pid, int(fields[_START_FIELD]), boot_id())


def is_alive(process: ProcessId | None) -> bool:
    """Whether this very process still runs."""
    return process is not None and identify(process.pid) == process


def descendants(process: ProcessId) -> list[ProcessId]:
    """What `process` started and what that started, as far as it still hangs together; nothing once it is gone.

    A daemon's children ask the kernel to die with it, so a crashed daemon leaves none behind.
    """
    if not is_alive(process):
        return []
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _fields(int(entry.name)) if entry.name.isdigit() else []
        if fields:
            parents.setdefault(int(fields[_PARENT_FIELD]), []).append(int(entry.name))
    found: list[ProcessId] = []
    waiting = [process.pid]
    while waiting:
        for pid in parents.get(waiting.pop(), []):
            waiting.append(pid)
            if (member := identify(pid)) is not None:
                found.append(member)
    return found


def bind_loopback() -> socket.socket:
    """A listening socket on a free loopback port; the daemon inherits it, so that no one can take the port between."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


class Daemon:
    """A daemon that we started: ours to reap while we live, and it goes on when we end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> None:
        """Until it has ended."""
        while self.poll() is None:
            time.sleep(_POLL_SECONDS)


def start(directory: Path, listener: socket.socket) -> Daemon:
    """Start the daemon whose configuration lies in `directory`, in a session of its own, writing to its log file."""
    command = [sys.executable, "-m", "mpcd.daemon.main", "run", "--config", str(directory / "mpcd.toml")]
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(directory / "log.json", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [*command, "--listen-descriptor", str(_LISTEN_DESCRIPTOR)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, listener.fileno(), _LISTEN_DESCRIPTOR),
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(null)
        os.close(log)
    return Daemon(pid)


def wait_ready(running: Iterable[tuple[Hospital, Daemon, Path]], seconds: float = START_SECONDS_MAX) -> None:
    """Wait until every daemon answers and has a channel to every other.

    Raises:
        LocalFault: one ended or is not ready in time; the message quotes the end of its log.
    """
    deadline = time.monotonic() + seconds
    waiting = list(running)
    while waiting:
        for hospital, daemon, directory in waiting:
            if daemon.poll() is not None:
                raise LocalFault(f"{hospital.name} ended at start (code {daemon.returncode}):\n{log_end(directory)}")
        waiting = [item for item in waiting if not _is_ready(item[0])]
        if waiting and time.monotonic() > deadline:
            hospital, _, directory = waiting[0]
            raise LocalFault(f"{hospital.name} is not ready after {seconds:g} s:\n{log_end(directory)}")
        time.sleep(_POLL_SECONDS if waiting else 0)


def log_end(directory: Path) -> str:
    """The last lines of a daemon's log."""
    try:
        lines = (directory / "log.json").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_LINES:]) or "(its log is empty)"


def peers_connected(hospital: Hospital) -> tuple[int, int] | None:
    """How many peers the daemon has a channel to, and how many it should have; None if it does not answer in time."""
    try:
        with Client.connect(hospital.admin, seconds=ANSWER_SECONDS_MAX) as client:
            peers = client.call(Method.PEERS).get("peers")
    except MpcdError:
        return None
    if not isinstance(peers, list):
        return None
    return sum(isinstance(peer, dict) and peer.get("state") == "connected" for peer in peers), len(peers)


def daemon_of(hospital: Hospital) -> ProcessId | None:
    """The hospital's daemon: the process that the sandbox started, or else the one that listens on its socket.

    A daemon that somebody restarted by hand is another process; the kernel says which one made the socket.
    """
    if is_alive(hospital.process):
        return hospital.process
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(ANSWER_SECONDS_MAX)
        try:
            probe.connect(hospital.admin)
            pid, uid, _ = _CREDENTIALS.unpack(
                probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        except OSError:
            return None
    return identify(pid) if uid == os.getuid() else None


def _is_ready(hospital: Hospital) -> bool:
    connected = peers_connected(hospital)
    return connected is not None and connected[0] == connected[1]


def stop(processes: Iterable[ProcessId], say: Callable[[str], None], seconds: float = STOP_SECONDS_MAX) -> None:
    """End the daemons and whatever they started: first asked, then killed.

    Raises:
        LocalFault: something survives even that.
    """
    known = list(processes)
    everything = [member for process in known for member in (process, *descendants(process)) if is_alive(member)]
    for process in known:
        _send(process, signal.SIGTERM)
    if not _wait_gone(everything, seconds):
        left = [process for process in everything if is_alive(process)]
        say(f"{len(left)} processes do not end; killing them")
        for process in left:
            _send(process, signal.SIGKILL)
        if not _wait_gone(left, seconds):
            raise LocalFault(f"Processes {', '.join(str(p.pid) for p in left if is_alive(p))} cannot be ended.")


def _send(process: ProcessId, number: signal.Signals) -> None:
    """Signal this very process; the kernel's handle excludes that the number changes hands in between."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _wait_gone(processes: Iterable[ProcessId], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
