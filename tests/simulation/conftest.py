"""A consortium inside one trio run: the real `Sessions`, the real ledger, a network in memory, a clock that jumps.

All randomness, delays included, comes from one seed.  A party can be crashed at any step: from then on nothing that it
does has an effect, and what it had committed is all that a restart finds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, TypeVarTuple

import numpy as np
import pytest
import trio

from mpcd.api.opening import PinnedParty, open_releases
from mpcd.compile.beside import Beside
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.attempt import Nobody
from mpcd.daemon.history import DEFINITIONS, History
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.sessions import Attempt, Outcome, Sessions, Settings
from mpcd.errors import EngineFailed, MpcdError, PeerGone, PeerMalformed, Refusal
from mpcd.field import Buffer
from mpcd.governance.decision import Decision, Wait
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.entries import Debit
from mpcd.governance.policy import Security
from mpcd.identity import ChannelKey, Request, ResultKey, SigningKey
from mpcd.identity.request import RequestKind, SignedRequest
from mpcd.ids import PartyId, RequestDigest, Role, RosterHash, SessionId, Step
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.release.rule import Evidence
from mpcd.results.finish import finish
from mpcd.roster import Column, Party, Roster, Table
from mpcd.session import messages
from mpcd.store.store import Store
from mpcd.wire.control import CONTROL

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Message = dict[str, object]
Meddle = Callable[[int, int, Message], list[Message] | None]
"""Given sender, receiver and a control message: what arrives instead; None leaves it as it is."""
EPOCH = 1_700_000_000.0
PATIENCE_SECONDS = 150.0
SQL = "SELECT COUNT(*), SUM(age) FROM t"


def many(party: int) -> int:
    """How many rows a hospital has."""
    return 20 + party


def ages(party: int) -> int:
    """Their sum of ages."""
    return many(party) * 50 + party


class Dead(BaseException):  # like a cancellation: nobody may catch it
    """Raised in whatever a crashed party was doing; shields do not hold it up."""


@dataclass
class Cells:
    """What the local database answers."""

    cohorts: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    values: Sequence[Sequence[int]]


@lru_cache
def planned(sql: str, roster: Roster, as_of: dt.date) -> LogicalPlan:
    return plan_sql(sql, roster, as_of)


@dataclass
class Wire:
    """All channels; order is kept per pair and direction, as in the real network."""

    world: World
    meddle: Meddle = lambda _sender, _receiver, _message: None
    boxes: dict[tuple[bytes, Role, Role, str], bytes] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)
    sent: list[tuple[int, int, Message]] = field(default_factory=list)
    exchanges: int = 0

    def notify(self) -> None:
        changed, self.changed = self.changed, trio.Event()
        changed.set()


class Endpoint:
    """One party's network; implements `session.ports.Network`."""

    def __init__(self, hospital: Hospital) -> None:
        self._hospital = hospital
        self._life = hospital.starts
        self._world = hospital.world
        self._queues: dict[tuple[int, int], trio.MemorySendChannel[bytes]] = {}

    def channel_hash(self, party: PartyId) -> bytes:
        """See `session.ports.Network`."""
        if not self._world.hospitals[party].alive:
            raise PeerGone(party, f"party {party} is not connected")
        low, high = sorted((self._hospital.me, int(party)))
        return f"channel {low} {high} {self._world.hospitals[low].starts} {self._world.hospitals[high].starts}".encode()

    async def send_control(self, party: PartyId, message: dict[str, object]) -> None:
        """See `session.ports.Network`."""
        me, world = self._hospital, self._world
        await me.live(self._life)
        if not world.hospitals[party].alive:
            raise PeerGone(party, f"party {party} is not connected")
        encoded = CONTROL.encode(message)
        world.on_send(me.me, int(party), message)
        changed = world.wire.meddle(me.me, int(party), dict(CONTROL.decode(encoded)))
        world.wire.sent.append((me.me, int(party), message))
        for piece in [encoded] if changed is None else [CONTROL.encode(one) for one in changed]:
            self._queue(party).send_nowait(piece)
        await me.after(f"sent {message['type']} to {int(party)}")
        await me.after(f"sent {message['type']}")

    def _queue(self, party: PartyId) -> trio.MemorySendChannel[bytes]:
        """To the party as it lives now: what was sent to its last life is lost."""
        name = int(party), self._world.hospitals[party].starts
        if name not in self._queues:
            send, receive = trio.open_memory_channel[bytes](10_000)
            self._queues[name] = send
            self._world.nursery.start_soon(self._deliver, party, receive)
        return self._queues[name]

    async def _deliver(self, party: PartyId, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        target = self._world.hospitals[party]
        starts = target.starts
        async for encoded in receive:
            await trio.sleep(self._world.rng.random() * 0.01)
            if target.alive and target.starts == starts:
                try:
                    await target.sessions.receive(PartyId(self._hospital.me), dict(CONTROL.decode(encoded)))
                except PeerMalformed as error:
                    # The mesh closes the channel, and dials again.
                    self._world.rejected.append(error)
                    target.sessions.lost(PartyId(self._hospital.me))
                    self._hospital.sessions.lost(party)
        # What was sent arrives; then the other end sees that the channel is gone.
        if target.alive and target.starts == starts:
            target.sessions.lost(PartyId(self._hospital.me))

    def session(self, session_id: SessionId, places: Mapping[Role, PartyId]) -> MemoryLinks:
        """See `session.ports.Network`."""
        for party in places.values():
            if party != self._hospital.me:
                self.channel_hash(party)
        return MemoryLinks(self._hospital, session_id, places)

    def open_all(self) -> None:
        """A channel to everybody, so that its end is seen by everybody."""
        for hospital in self._world.hospitals:
            if hospital.alive:
                self._queue(PartyId(hospital.me))

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()


class MemoryLinks:
    """See `session.ports.Links`."""

    def __init__(self, hospital: Hospital, session: SessionId, places: Mapping[Role, PartyId]) -> None:
        self.hospital = hospital
        self.session = session
        self.places = places
        self.starts = {party: hospital.world.hospitals[party].starts for party in places.values()}
        self.life = hospital.starts
        self.closed = False

    def transport(self, role: Role) -> MemoryTransport:
        return MemoryTransport(self, role)

    def channel_hash(self, party: PartyId) -> bytes:
        self.check()
        return self.hospital.network.channel_hash(party)

    def close(self) -> None:
        self.closed = True

    def check(self) -> None:
        for party, starts in self.starts.items():
            peer = self.hospital.world.hospitals[party]
            if not peer.alive or peer.starts != starts:
                raise PeerGone(party, f"the channel to party {party} was lost")


class MemoryTransport:
    """See `protocols.context.Transport`."""

    def __init__(self, links: MemoryLinks, role: Role) -> None:
        self._links = links
        self._role = role

    async def exchange(
        self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]
    ) -> Mapping[Role, Buffer]:
        links, wire = self._links, self._links.hospital.world.wire
        await links.hospital.live(links.life)
        wire.exchanges += 1
        await links.hospital.after("exchange")
        for role, buffer in send.items():
            wire.boxes[bytes(links.session), self._role, role, step] = bytes(buffer)
        wire.notify()
        received: dict[Role, Buffer] = {}
        for role, size in expect.items():
            key = (bytes(links.session), role, self._role, str(step))
            with trio.move_on_after(PATIENCE_SECONDS):
                while key not in wire.boxes:
                    links.check()
                    await wire.changed.wait()
            if key not in wire.boxes:
                raise PeerGone(links.places[role], f"party {links.places[role]} ({role}) was silent at step {step}")
            data = received[role] = memoryview(wire.boxes.pop(key))
            assert len(data) == size
        return received

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return kernel(*args)


class Ledger(StoreJournal):
    """The real journal on the real store, in the one thread that the clock knows of; a crash is between commits."""

    def __init__(self, hospital: Hospital, store: Store) -> None:
        super().__init__(store, PartyId(hospital.me), hospital.clock, lambda: bytes(32))
        self._hospital = hospital
        self._life = hospital.starts

    async def run(self, work: Callable[[], T]) -> T:
        await self._hospital.live(self._life)
        name, arguments = _commit_of(work)
        if name is None:
            return work()
        await self._hospital.after(f"before {name}")
        done = work()
        if name == "commit_recorded":
            self._hospital.world.recorded[arguments[0]].add(PartyId(self._hospital.me))
        await self._hospital.after(f"after {name}")
        return done

    async def agreed(
        self,
        request: SignedRequest,
        session: SessionId,
        plan: PhysicalPlan,
        participants: frozenset[PartyId],
        debits: Sequence[Debit] = (),
    ) -> None:
        self._hospital.world.participants[session] |= participants
        await super().agreed(request, session, plan, participants, debits)
        await self._hospital.after("agreed")

    async def recorded(
        self, request: SignedRequest, session: SessionId, plan: PhysicalPlan, sealed: bytes | None, receipt: bytes
    ) -> None:
        await self._hospital.live(self._life)
        await self._hospital.after("before recorded")
        await super().recorded(request, session, plan, sealed, receipt)
        await self._hospital.after("recorded")


def _commit_of(work: Callable[[], object]) -> tuple[str | None, tuple[Any, ...]]:
    """Which of the store's commits this is, and its arguments; None for one that changes nothing."""
    if not isinstance(work, partial):
        return None, ()
    name = getattr(work.func, "__name__", "")
    return (name if name.startswith("commit_") or name == "write" else None), work.args


class People(Protocol):
    """What a test may give a hospital; see `test_approvals`."""

    async def open(self, hospital: Hospital) -> None:
        """The hospital has started."""
        ...

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        """See `sessions.Owner`."""
        ...

    async def keep(
        self, request: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """See `sessions.Owner.ask_approvers`."""
        ...


class Hospital:
    """One party: fakes of planner, database and owner, and everything else real."""

    def __init__(self, world: World, me: int, directory: Path, key: SigningKey) -> None:
        self.world = world
        self.me = me
        self.key = key
        self.directory = directory
        self.alive = False
        self.starts = 0
        self.skew_seconds = 0.0
        self.reasons: list[Refusal] = []
        self.waits: list[Wait] = []
        self.kept: list[tuple[RequestDigest, PartyId]] = []
        """Requests that it was told to keep for its approvers, and who proposed them."""
        self.people: People | None = None
        """Its approvers and what it keeps for them and for analysts; without them `reasons` and `waits` decide."""
        self.edition = 0
        """Grows with each publication."""
        self.sql: Callable[[str], str] = lambda sql: sql
        self.crash_at: tuple[str, int] | None = None
        self.seen: defaultdict[str, int] = defaultdict(int)
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.log = partial(self._log, 0)
        self.ended: set[int] = set()
        """Lives that are over."""

    # ------------------------------------------------------------------------------------------ life and death

    async def start(self) -> None:
        """Start, or start again on what was committed."""
        self.directory.mkdir(exist_ok=True, mode=0o700)
        self.store = Store.open(self.directory, entropy=self.world.rng.randbytes)
        self.store._writer.execute("PRAGMA synchronous = OFF")  # what crashes here is the process, never the disk
        report = self.store.sessions_at_start(now=self.clock())
        self.starts += 1
        self.log = partial(self._log, self.starts)
        self.crash_at = None
        self.network = Endpoint(self)
        self.journal = Ledger(self, self.store)
        self.past = History(PartyId(self.me), self.world.roster, self.journal, self._ask, self._at_once)
        self.sessions = Sessions(
            Settings(
                me=PartyId(self.me),
                roster=self.world.roster,
                roster_hash=self.world.roster.hash(),
                signing_key=self.key,
                entropy=self.world.rng.randbytes,
                utc_seconds=self.clock,
            ),
            self.network,
            self,
            self,
            self,
            self.journal,
            self.log,
            self.past,
        )
        self.scope = trio.CancelScope()
        await self.world.nursery.start(self._run)
        self.alive = True
        await self.past.load()
        for row in report.recorded:
            self.sessions.settle_later(row.session)
        if self.people is not None:
            await self.people.open(self)

    async def _ask(
        self, kind: str, payload: dict[str, object], parties: Sequence[PartyId]
    ) -> dict[PartyId, dict[str, object] | MpcdError]:
        """Put a question to other parties' desks for earlier questions."""
        assert kind == DEFINITIONS
        replies: dict[PartyId, dict[str, object] | MpcdError] = {}
        for party in parties:
            hospital = self.world.hospitals[party]
            away = PeerGone(party, f"party {party} is away")
            replies[party] = await hospital.past.asked(PartyId(self.me), payload) if hospital.alive else away
        return replies

    @staticmethod
    async def _at_once(work: Callable[[], Beside]) -> Beside:
        return work()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        with contextlib.suppress(Dead), self.scope:
            try:
                await self.sessions.run(task_status)
            except BaseExceptionGroup as group:
                if (rest := group.split(Dead)[1]) is not None:
                    raise rest from None

    def crash(self) -> None:
        """Nothing that this party does has an effect from now on."""
        self.alive = False
        self.ended.add(self.starts)
        self.store.close()
        self.network.open_all()
        self.network.close()
        self.scope.cancel()
        self.world.crashed.set()
        self.world.wire.notify()

    async def live(self, life: int) -> None:
        """Called by everything with an effect, with the life that it belongs to: the dead have none."""
        await trio.lowlevel.checkpoint()
        if not self.alive or life != self.starts:
            raise Dead

    async def after(self, step: str) -> None:
        """Something was done; crash if that was the time for it."""
        self.seen[step] += 1
        if self.alive and (self.crash_at == (step, self.seen[step]) or self.world.doom(self, step)):
            self.crash()
            raise Dead

    def _log(self, life: int, event: str, **fields: object) -> None:
        if life in self.ended:
            return  # the dead say nothing
        self.logged.append((event, fields))
        if isinstance(fields.get("exc_info"), Exception):
            self.world.bugs.append(fields["exc_info"])  # type: ignore[arg-type]

    def clock(self) -> float:
        return EPOCH + trio.current_time() - self.world.born + self.skew_seconds

    # ------------------------------------------------------------------------------------------ the ports

    async def plan(self, sql: str, as_of: dt.date) -> LogicalPlan:
        await trio.sleep(self.world.rng.random() * 0.01)
        await self.after("planned")
        return planned(self.sql(sql), self.world.roster, as_of)

    def data_versions(self, tables: tuple[str, ...]) -> dict[str, str]:
        return dict.fromkeys(tables, f"{self.me + 100 * self.edition:064x}")

    async def evidence(
        self, plan: PhysicalPlan, asks: Sequence[str], versions: Mapping[str, str], deadline_seconds: float
    ) -> dict[str, Evidence]:
        """See `session.ports.EnginePort`: the youngest has one year more at each, questions are far apart."""
        assert set(asks) <= {"dominance", "differencing"}
        assert versions
        assert deadline_seconds > 0
        each = [[50 + self.me], [50], [ages(self.me)]]
        pairs = 0 if plan.beside is None else plan.beside.layout.pairs
        found: dict[str, Evidence] = {"dominance": each * len(plan.logical.magnitudes), "differencing": [[100] * pairs]}
        return {name: found[name] for name in asks}

    async def aggregate(
        self,
        plan: LogicalPlan,
        versions: Mapping[str, str],
        deadline_seconds: float,
        rows_per_person: int | None = None,
    ) -> Cells:
        await trio.sleep(self.world.rng.random() * 0.05)
        if dict(versions) != self.data_versions(tuple(versions)):
            raise EngineFailed("a new data version was published while this session was prepared; ask again")
        values = [[many(self.me) if value.kind == "count" else ages(self.me)] for value in plan.values]
        return Cells(np.full((len(plan.cohorts), 1), many(self.me), dtype=np.int64), values)

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        if self.people is not None:
            return await self.people.decide(request, plan, versions, attempt)
        return Decision(refusals=tuple(self.reasons), waits=tuple(self.waits))

    async def ask_approvers(
        self, request: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """See `sessions.Owner`."""
        if self.people is not None:
            await self.people.keep(request, plan, rules_of, keeper)
        self.kept.append((request.digest(), keeper))

    def rules(self) -> DisclosureRules:
        return DisclosureRules()

    def security(self) -> Security:
        return "malicious"

    # ------------------------------------------------------------------------------------------ what it can show

    def lives(self) -> dict[SessionId, list[str]]:
        """The kinds of entries of each session, in order."""
        found: dict[SessionId, list[str]] = {}
        rows = self.store.read(
            lambda c: c.execute(
                "SELECT session, kind FROM entry WHERE session IS NOT NULL ORDER BY sequence"
            ).fetchall()
        )
        for session, kind in rows:
            found.setdefault(SessionId(session), []).append(kind)
        return found

    def refused_count(self) -> int:
        return sum(row.kind == "refused" for row in self.store.ledger_entries(0, 10_000))


class World:
    """The consortium and its analyst."""

    def __init__(self, directory: Path, seed: int, parties: int, owners: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.born = trio.current_time()
        keys = [SigningKey.generate(self.rng.randbytes) for _ in range(parties)]
        self.analyst = SigningKey.generate(self.rng.randbytes)
        self.roster = Roster(
            consortium="simulation",
            version=1,
            parties=tuple(
                Party(
                    id=PartyId(party),
                    name=f"hospital-{party}",
                    channel_key=str(ChannelKey.generate(self.rng.randbytes).public),
                    signing_key=str(key.public),
                    roles=("input", "compute") if party < 3 else ("input",),
                )
                for party, key in enumerate(keys)
            ),
            tables=(
                Table(
                    name="t",
                    rows_max=1000,
                    rows_disjoint=True,
                    persons_disjoint=True,
                    person_id=None,
                    owners=tuple(PartyId(party) for party in range(owners)),
                    columns=(Column("age", "integer", 0, 120), Column("size", "integer", 0, 120)),
                ),
            ),
        )
        self.owners = owners
        self.hospitals = [Hospital(self, party, directory / str(party), key) for party, key in enumerate(keys)]
        self.wire = Wire(self)
        self.recorded: defaultdict[SessionId, set[PartyId]] = defaultdict(set)
        self.participants: defaultdict[SessionId, set[PartyId]] = defaultdict(set)
        self.rejected: list[PeerMalformed] = []
        self.bugs: list[Exception] = []
        self.crashed = trio.Event()
        self.doom: Callable[[Hospital, str], bool] = lambda _hospital, _step: False
        """Asked at every step of every party: whether it crashes there."""
        self.nursery: trio.Nursery

    # ------------------------------------------------------------------------------------------ what always holds

    def on_send(self, sender: int, _receiver: int, message: Message) -> None:
        """Released bytes leave a party only when everybody who takes part has recorded."""
        if message["type"] == messages.RELEASE:
            session = SessionId(message["session"])  # type: ignore[arg-type]
            assert self.recorded[session] >= self.participants[session], f"seed {self.seed}: party {sender} sent early"

    def check(self, *, honest: Sequence[int] | None = None) -> None:
        """After everything has settled: what must hold whatever happened."""
        assert self.bugs == []
        lives = {
            party: self.hospitals[party].lives()
            for party in (honest if honest is not None else range(len(self.hospitals)))
            if self.hospitals[party].alive
        }
        ends: defaultdict[SessionId, set[str]] = defaultdict(set)
        for party, life_of in lives.items():
            self.hospitals[party].store.verify_ledger()
            assert self.hospitals[party].sessions.running_count == 0, f"seed {self.seed}: party {party} still runs"
            for session, life in life_of.items():
                assert life in (
                    ["agreed", "aborted"],
                    ["agreed", "recorded", "withheld"],
                    ["agreed", "recorded", "released"],
                ), f"seed {self.seed}: party {party}: {life}"
                ends[session].add(life[-1])
        for session, found in ends.items():
            assert not {"aborted", "released"} <= found, f"seed {self.seed}: {found}"
            if "released" in found:
                assert self.recorded[session] >= self.participants[session]

    # ------------------------------------------------------------------------------------------ asking

    def request(
        self,
        sql: str = SQL,
        *,
        age_seconds: float = 0.0,
        kind: RequestKind = "sql",
        wait_seconds: int = 0,
        quote_digest: bytes | None = None,
    ) -> tuple[SignedRequest, ResultKey]:
        key = ResultKey.generate(self.rng.randbytes)
        request = Request.make(
            sql,
            purpose="GRU",
            analyst=self.analyst.public,
            result_key=key.public,
            roster_hash=RosterHash(self.roster.hash()),
            consortium=self.roster.consortium,
            now=EPOCH + trio.current_time() - self.born - age_seconds,
            entropy=self.rng.randbytes,
            kind=kind,
            wait_seconds=wait_seconds,
            quote_digest=quote_digest,
        )
        return request.sign(self.analyst), key

    async def submit(
        self,
        party: int,
        request: SignedRequest,
        watch: Callable[[str, Attempt], None] = lambda _state, _attempt: None,
        attachments: Mapping[str, bytes] = MappingProxyType({}),
    ) -> Outcome:
        """Ask at `party`; `watch` sees every state."""
        attempts: list[Attempt] = []

        class Observer(Nobody):
            def state(self, state: str) -> None:
                watch(state, attempts[0])

        return await self.hospitals[party].sessions.submit(request, Observer(), attempts.append, attachments)

    async def attempt(self, party: int, ended: list[object]) -> None:
        """Ask, and note the answer or why there is none; the end of a proposer that crashes is noted by nobody."""
        try:
            ended.append(await self.ask(party))
        except MpcdError as error:
            ended.append(error)
        except Dead:
            return

    async def outcome_of(self, work: Callable[[], Awaitable[T]]) -> T | MpcdError | None:
        """What `work` at a party gives, or why it gives nothing; None where the party crashed."""
        try:
            return await work()
        except MpcdError as error:
            return error
        except Dead:
            return None

    async def ask(self, party: int = 0) -> tuple[object, ...]:
        """Ask as a client does, to the verified row."""
        request, key = self.request()
        return self.row(await self.submit(party, request), request, key)

    def row(self, outcome: Outcome, request: SignedRequest, key: ResultKey) -> tuple[object, ...]:
        pinned = {
            party.id: PinnedParty(party.id, party.name, hospital.key.public, "compute" in party.roles)
            for party, hospital in zip(self.roster.parties, self.hospitals, strict=True)
        }
        opened = open_releases(
            outcome.plan.encoded,
            outcome.releases,
            request_digest=request.digest(),
            result_key=key,
            parties=pinned,
        )
        (row,) = finish(opened.shape, opened.statuses, opened.values).rows
        return row

    @property
    def truth(self) -> tuple[object, ...]:
        return sum(map(many, range(self.owners))), sum(map(ages, range(self.owners)))

    async def settle(self, seconds: float = 400.0) -> None:
        """Long enough for every deadline."""
        await trio.sleep(seconds)


@asynccontextmanager
async def running(directory: Path, seed: int, parties: int, owners: int | None = None) -> AsyncIterator[World]:
    trio._core._run._r.seed(seed)  # the order of tasks comes from the seed too
    async with trio.open_nursery() as nursery:
        world = World(directory, seed, parties, parties if owners is None else owners)
        world.nursery = nursery
        for hospital in world.hospitals:
            await hospital.start()
        yield world
        for hospital in world.hospitals:
            if hospital.alive:
                hospital.store.close()
        nursery.cancel_scope.cancel()


Running = Callable[..., Awaitable[World]]


@pytest.fixture
def consortium(tmp_path: Path) -> Callable[..., object]:
    """`async with consortium(parties=5, seed=1) as world`."""

    def make(*, parties: int = 3, seed: int = 1, owners: int | None = None) -> object:
        return running(tmp_path, seed, parties, owners)

    return make
