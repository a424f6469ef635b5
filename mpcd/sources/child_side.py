"""The inside of a child process: limits first, then one request after the other until the pipe closes.

A child module imports what it needs, then calls `serve({"op": handler})`.  Order at the start:

1. The pipes move away from descriptors 0, 1 and 2, which become /dev/null: nothing that a library prints can be
   mistaken for a frame, or reach the daemon's own log.
2. The first frame brings the limits.  They are set before any request is read: address space, open files, written
   file size, no core dumps, processor time (which the parent re-arms before every request, since it is cumulative).
3. Where the kernel allows it the child leaves the network (a new network namespace of its own, with nothing in it).
4. The parent's death kills the child (PR_SET_PDEATHSIG; set after 3, which would clear it), and so does a closed pipe.

A handler's `MpcdError` crosses as (code, message).  Anything else crosses as the bare name of its class: the text of an
engine's error may quote a row (SECURITY rule 17), so it is never sent.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from mpcd.errors import MpcdError
from mpcd.sources import frames

Handler = Callable[[dict[str, object]], object]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
START_FRAME_BYTES_MAX: Final = 64 * 2**10


def _read_exactly(descriptor: int, count: int) -> bytes:
    """`count` bytes from a blocking pipe; the process ends quietly when the parent has closed it."""
    parts: list[bytes] = []
    missing = count
    while missing:
        part = os.read(descriptor, min(missing, 2**20))
        if not part:
            sys.exit(0)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _receive(descriptor: int, bytes_max: int) -> dict[str, object]:
    header = _read_exactly(descriptor, frames.HEADER_BYTES)
    return frames.unpack(_read_exactly(descriptor, frames.body_bytes(header, bytes_max)))


def _send(descriptor: int, value: object, bytes_max: int) -> None:
    view = memoryview(frames.pack(value, bytes_max))
    while view:
        view = view[os.write(descriptor, view) :]


def _take_pipes() -> tuple[int, int]:
    """Private copies of the two pipes; the standard descriptors become /dev/null."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return requests, replies


def _whole(limits: Mapping[str, object], name: str) -> int:
    value = limits[name]
    if not isinstance(value, int):
        raise TypeError(f"limit {name} is not an integer")
    return value


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Enter an empty network namespace; False where the kernel or the service manager forbids it."""
    return int(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)) == 0


def _confine(limits: Mapping[str, object]) -> bool:
    """Set every limit; returns whether the network is gone."""
    os.umask(0o077)
    files, written, memory, cpu = (
        _whole(limits, name) for name in ("files_max", "written_bytes_max", "memory_bytes_max", "cpu_seconds_max")
    )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, hard))
    libc = ctypes.CDLL(None, use_errno=True)
    offline = bool(limits["leave_network"]) and _leave_network(libc)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != _whole(limits, "parent"):
        sys.exit(0)  # the parent died before the line above took hold
    return offline


def _answer(handlers: Mapping[str, Handler], request: dict[str, object]) -> dict[str, object]:
    try:
        handler = handlers[str(request.get("op"))]
        return {"ok": handler(request)}
    except MpcdError as error:
        return {"error": [error.code, str(error)]}
    except (Exception, RecursionError) as error:  # noqa: BLE001  the boundary: only the class name may cross
        return {"failed": type(error).__name__}


def serve(handlers: Mapping[str, Handler]) -> NoReturn:
    """Confine this process, then answer requests until the parent closes the pipe or kills it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the daemon
    requests, replies = _take_pipes()
    start = _receive(requests, START_FRAME_BYTES_MAX)
    request_bytes_max, reply_bytes_max = _whole(start, "request_bytes_max"), _whole(start, "reply_bytes_max")
    offline = _confine(start)
    _send(replies, {"ok": {"offline": offline}}, reply_bytes_max)
    while True:
        answer = _answer(handlers, _receive(requests, request_bytes_max))
        try:
            _send(replies, answer, reply_bytes_max)
        except frames.FrameError:
            _send(replies, {"failed": "ReplyTooLong"}, reply_bytes_max)
