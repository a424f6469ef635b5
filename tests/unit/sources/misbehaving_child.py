"""A child for tests: it does what it is told, above all what a child must not do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

from mpcd.errors import PlanUnsupported
from mpcd.sources import child_side


def echo(request: dict[str, object]) -> object:
    return request["value"]


def spin(request: dict[str, object]) -> object:
    while True:
        pass


def sleep(request: dict[str, object]) -> object:
    time.sleep(float(str(request["seconds"])))
    return "awake"


def refuse(request: dict[str, object]) -> object:
    raise PlanUnsupported("say it differently")


def fail(request: dict[str, object]) -> object:
    raise RuntimeError(f"the row was {request['value']}")


def allocate(request: dict[str, object]) -> object:
    return len(bytearray(int(str(request["count"]))))


def long_reply(request: dict[str, object]) -> object:
    return b"x" * int(str(request["count"]))


def die(request: dict[str, object]) -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def chatter(request: dict[str, object]) -> object:
    print("a library prints")
    sys.stdout.flush()
    os.write(1, b"and so does C")
    return "quiet"


def parent_death_signal() -> int:
    found = ctypes.c_int(0)
    get_pdeathsig = 2
    assert ctypes.CDLL(None).prctl(get_pdeathsig, ctypes.byref(found), 0, 0, 0) == 0
    return found.value


def inside(request: dict[str, object]) -> object:
    try:
        with socket.create_connection(("127.0.0.1", int(str(request["port"]))), timeout=1):
            connected = True
    except OSError:
        connected = False
    return {
        "environment": sorted(os.environ),
        "descriptors": sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()),
        "session": os.getsid(0),
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "files": list(resource.getrlimit(resource.RLIMIT_NOFILE)),
        "memory": list(resource.getrlimit(resource.RLIMIT_AS)),
        "parent_death_signal": parent_death_signal(),
        "connected": connected,
    }


def write(request: dict[str, object]) -> object:
    Path(str(request["path"])).write_bytes(b"x")
    return None


if __name__ == "__main__":
    handlers = (echo, spin, sleep, refuse, fail, allocate, long_reply, die, chatter, inside, write)
    child_side.serve({handler.__name__: handler for handler in handlers})
