"""Three real processes with real channels on loopback, for the benchmarks of the network and the protocols.

A benchmark names a coroutine `main(party, mesh, arguments)` in a module of its own; each party runs it in its own
process, and what it returns (JSON) comes back to the parent.  Addresses travel over the children's pipes: no fixed
ports.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import IO, Any

import trio

from mpcd import limits
from mpcd.ids import PartyId, Role, RosterHash, SessionId
from mpcd.net import Event, LocalIdentity, Mesh, PeerConfig
from mpcd.net.memory import keep_freed_vectors
from mpcd.noise import KeyPair

PARTIES = 3
PLACES = {Role("compute", index): PartyId(index) for index in range(PARTIES)}
Main = Callable[[int, Mesh, dict[str, Any]], Awaitable[dict[str, Any]]]


def private_key(party: int) -> bytes:
    """A fixed key; nothing secret is computed here."""
    return bytes([party + 1]) * 32


def _peers(party: int, addresses: dict[int, tuple[str, int]]) -> dict[PartyId, PeerConfig]:
    return {
        PartyId(other): PeerConfig(f"party{other}", KeyPair(private_key(other)).public, None, addresses.get(other))
        for other in range(PARTIES)
        if other != party
    }


async def _child(party: int, main: Main, arguments: dict[str, Any], told: IO[str]) -> None:
    def emit(event: Event) -> None:
        if event.name not in ("listening", "channel-open", "channel-lost", "channel-closed"):
            print(f"party {party}: {event.name}: {event.message}", file=sys.stderr)

    addresses = {int(other): (host, port) for other, (host, port) in json.loads(told.readline()).items()}
    identity = LocalIdentity(PartyId(party), private_key(party))
    mesh = Mesh(identity, _peers(party, addresses), ("127.0.0.1", 0), "bench", 1, RosterHash(bytes(32)), emit)
    async with trio.open_nursery() as nursery:
        await nursery.start(mesh.run)
        print(json.dumps(mesh.listen_address), flush=True)
        with trio.fail_after(20):
            await mesh.wait_connected(PLACES.values())
        result = await main(party, mesh, arguments)
        print(json.dumps(result), flush=True)
        await trio.to_thread.run_sync(told.readline)
        nursery.cancel_scope.cancel()


def child() -> None:
    """Entry of a party's process: file of the benchmark, party, arguments as JSON."""
    path, party, arguments = sys.argv[1:4]
    keep_freed_vectors()
    spec = importlib.util.spec_from_file_location("benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark"] = module
    spec.loader.exec_module(module)
    trio.run(_child, int(party), module.main, json.loads(arguments), sys.stdin)


def run(path: str, arguments: dict[str, Any], seconds_max: float = limits.SESSION_SECONDS_MAX) -> list[dict[str, Any]]:
    """Run the benchmark in file `path` in three processes; what each party returned."""
    children: list[subprocess.Popen[str]] = []
    try:
        addresses: dict[int, tuple[str, int]] = {}
        for party in range(PARTIES):
            command = [sys.executable, "-m", "mpcd.testing.processes", path, str(party), json.dumps(arguments)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
            children.append(process)
            _tell(process, json.dumps(addresses))
            host, port = json.loads(_line(process))
            addresses[party] = (host, port)
        results: list[dict[str, Any]] = [json.loads(_line(process)) for process in children]
        for process in children:
            _tell(process, "done")
        for process in children:
            process.wait(timeout=seconds_max)
        return results
    finally:
        for process in children:
            process.kill()
            process.wait()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a party's process ended early (exit status {process.wait()})")
    return line


def session_id(number: int) -> SessionId:
    """The id of the benchmark's session `number`, the same at every party."""
    return SessionId(number.to_bytes(32, "little"))


if __name__ == "__main__":
    child()
