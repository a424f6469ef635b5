"""Meshes in one process, a man in the middle between any two, and a caller who speaks Noise but not our rules."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio

from mpcd.ids import PartyId, Role, RosterHash, SessionId
from mpcd.net import Event, LocalIdentity, Mesh, Pace, PeerConfig
from mpcd.noise import KeyPair
from mpcd.wire import CONTROL
from mpcd.wire.control import Integer, Octets

NOTE = "test.note"
if NOTE not in CONTROL.types():
    CONTROL.register(NOTE, {"number": Integer(0, 2**32), "data": Octets(2**20, 0)}, bytes_max=2**20 + 100)

PLACES = {Role("compute", index): PartyId(index) for index in range(3)}
COMPUTE = tuple(PLACES)
HASH = RosterHash(bytes(32))
QUICK = Pace(
    handshake_seconds=0.5,
    reconnect_first_seconds=0.01,
    reconnect_seconds_max=0.05,
    second_dialler_seconds=0.05,
    tick_seconds=0.02,
)
"""Short where a test waits for it to pass; a loaded machine has 25 s wherever it must not pass."""
PATIENT_SECONDS = 25.0


def private(party: int) -> bytes:
    """A fixed key per party."""
    return bytes([party + 1]) * 32


def public(party: int) -> bytes:
    """Its public half."""
    return KeyPair(private(party)).public


def session_id(number: int) -> SessionId:
    """The same at every party."""
    return SessionId(bytes([number + 1]) * 32)


@dataclass
class Log:
    """A party's events, and a way to wait for one."""

    events: list[Event] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    def named(self, name: str) -> list[Event]:
        """All events of that name so far."""
        return [event for event in self.events if event.name == name]

    async def wait(self, name: str, text: str = "", count: int = 1) -> Event:
        """Until `count` events of that name hold `text`; the last of them."""
        with trio.fail_after(PATIENT_SECONDS):
            while True:
                found = [event for event in self.named(name) if text in event.message]
                if len(found) >= count:
                    return found[count - 1]
                await self.changed.wait()


class Network:
    """Parties of one consortium; `start` each, then connect."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.logs: dict[int, Log] = {}
        self.meshes: dict[int, Mesh] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def start(
        self,
        party: int,
        dials: dict[int, tuple[str, int]] | None = None,
        *,
        parties: int = 3,
        keys: dict[int, bytes] | None = None,
        psks: dict[int, bytes] | None = None,
        listen: tuple[str, int] | socket.socket | None = ("127.0.0.1", 0),
        pace: Pace = QUICK,
        version: int = 1,
        roster: RosterHash = HASH,
        recorder: object = None,
        own_key: bytes | None = None,
    ) -> Mesh:
        """A mesh that runs until the test ends or `stop`."""
        peers = {
            PartyId(other): PeerConfig(
                f"hospital{other}",
                (keys or {}).get(other, public(other)),
                (psks or {}).get(other),
                (dials or {}).get(other),
            )
            for other in range(parties)
            if other != party
        }
        log = Log()
        mesh = Mesh(
            LocalIdentity(PartyId(party), own_key or private(party)),
            peers,
            listen,
            "consortium",
            version,
            roster,
            log,
            pace=pace,
            recorder=recorder,  # type: ignore[arg-type]
        )
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await mesh.run(task_status)

        await self.nursery.start(run)
        self.meshes[party], self.logs[party], self.scopes[party] = mesh, log, scope
        return mesh

    def stop(self, party: int) -> None:
        """End a mesh as the daemon does."""
        self.scopes[party].cancel()

    def address(self, party: int) -> tuple[str, int]:
        """Where it listens."""
        address = self.meshes[party].listen_address
        assert address is not None
        return address

    async def connect(self, parties: int = 3, **options: object) -> list[Mesh]:
        """All parties, each dialling the ones before it."""
        for party in range(parties):
            dials = {other: self.address(other) for other in range(party)}
            await self.start(party, dials, parties=parties, **options)  # type: ignore[arg-type]
        await self.connected()
        return [self.meshes[party] for party in range(parties)]

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        """Wait for what no event announces, with a deadline."""
        with trio.fail_after(PATIENT_SECONDS):
            while not condition():  # noqa: ASYNC110 - what is waited for is a socket's or a counter's state
                await trio.sleep(0.01)

    async def connected(self) -> None:
        """Until every mesh has a channel to every other."""
        with trio.fail_after(PATIENT_SECONDS):
            for mesh in self.meshes.values():
                await mesh.wait_connected(PartyId(party) for party in self.meshes)


@pytest.fixture
async def network(nursery: trio.Nursery) -> Network:
    """An empty network in the test's nursery."""
    return Network(nursery)


Meddle = Callable[[str, bytes], list[bytes] | None]
"""Given the direction ("out": from the dialler) and a piece of the stream: what to pass on; None closes both."""


class Middle:
    """A man in the middle on loopback: passes bytes on, as `meddle` says."""

    def __init__(self, nursery: trio.Nursery, target: tuple[str, int]) -> None:
        self.target = target
        self.meddle: Meddle = lambda _direction, piece: [piece]
        self.thawed = trio.Event()
        self.thawed.set()
        self.seen = {"out": bytearray(), "back": bytearray()}
        self.connections = 0
        self.address = ("", 0)
        self._nursery = nursery
        self._streams: set[trio.SocketStream] = set()

    async def start(self) -> None:
        """Listen."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        name = listener.socket.getsockname()
        self.address = (name[0], name[1])
        self._nursery.start_soon(trio.serve_listeners, self._serve, [listener])

    def freeze(self) -> None:
        """Hold everything back from now on, without closing anything."""
        self.thawed = trio.Event()

    async def cut(self) -> None:
        """Close all connections, as a broken link does."""
        for stream in list(self._streams):
            await trio.aclose_forcefully(stream)

    async def _serve(self, near: trio.SocketStream) -> None:
        self.connections += 1
        try:
            far = await trio.open_tcp_stream(*self.target)
        except OSError:
            await near.aclose()
            return
        self._streams |= {near, far}
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, "out", near, far, nursery)
            nursery.start_soon(self._pass, "back", far, near, nursery)
        self._streams -= {near, far}

    async def _pass(
        self, direction: str, source: trio.SocketStream, target: trio.SocketStream, nursery: trio.Nursery
    ) -> None:
        try:
            async for piece in source:
                self.seen[direction] += piece
                await self.thawed.wait()
                passed = self.meddle(direction, bytes(piece))
                if passed is None:
                    break
                for part in passed:
                    await target.send_all(part)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@pytest.fixture
async def middle(nursery: trio.Nursery) -> Callable[[tuple[str, int]], Middle]:
    """Makes men in the middle."""
    return lambda target: Middle(nursery, target)
