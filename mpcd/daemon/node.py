"""One running daemon: everything below wired together, started in order, and stopped in the reverse (layer 13).

    keys, roster, policy --> store (verifies the ledger, settles what the last stop cut off) --> planner and engine
    children --> mesh --> sessions --> API sockets --> ready

SIGTERM and SIGINT stop: no new requests, channels say goodbye, children die with us.  SIGHUP reads roster-independent
files again (the policy); a file that is wrong leaves the old one in force and says why.
"""

from __future__ import annotations

import datetime as dt
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog
import trio

from mpcd import __version__, limits
from mpcd.api import sockets
from mpcd.api.server import ApiServer, SocketKind
from mpcd.daemon import policynews, rosterfile
from mpcd.daemon.accessdesk import AccessDesk
from mpcd.daemon.approvaldesk import ApprovalDesk
from mpcd.daemon.backend import NodeBackend, job_result
from mpcd.daemon.config import Config
from mpcd.daemon.datadesk import DataDesk
from mpcd.daemon.heads import HEAD, Heads
from mpcd.daemon.history import DEFINITIONS, History
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.ledgercheck import LedgerCheck
from mpcd.daemon.licencedesk import LicenceDesk
from mpcd.daemon.localdata import LocalData
from mpcd.daemon.logs import log_network_event
from mpcd.daemon.notify import Notifier
from mpcd.daemon.overlapdesk import OverlapDesk
from mpcd.daemon.owner import LivePolicy, Owner
from mpcd.daemon.policynews import SECURITY
from mpcd.daemon.questions import Questions
from mpcd.daemon.rates import Rates
from mpcd.daemon.sessions import Sessions, Settings
from mpcd.daemon.vouching import Vouching
from mpcd.daemon.waiting import CHANGED, ENDED, SEALED, WITHDRAWN, Waiting
from mpcd.errors import ConfigurationInvalid, LedgerInvalid, MpcdError, PeerGone
from mpcd.governance import entries
from mpcd.identity import ChannelKey, SigningKey, VerifyKey
from mpcd.identity.keys import ChannelPublicKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, Role, SessionId
from mpcd.net import LocalIdentity, Mesh, PeerConfig
from mpcd.net.events import Event
from mpcd.net.links import SessionLinks
from mpcd.net.memory import keep_freed_vectors
from mpcd.net.recording import Recorder
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.sources.engine import DuckdbEngine, EngineSettings
from mpcd.sources.planner import Planner
from mpcd.store.heads import note_keys
from mpcd.store.store import Store
from mpcd.wire.control import Message


class RosterPlanner:
    """The planner child with this daemon's roster; implements `session.ports.PlannerPort`."""

    def __init__(self, planner: Planner, roster: Roster) -> None:
        self._planner = planner
        self._roster = roster

    async def plan(self, sql: str, as_of: dt.date) -> LogicalPlan:
        """See `session.ports.PlannerPort`."""
        return await self._planner.plan(sql, self._roster, as_of)


class SessionNetwork:
    """The mesh as sessions see it; implements `session.ports.Network`."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def session(self, session_id: SessionId, places: Mapping[Role, PartyId]) -> SessionLinks:
        """See `session.ports.Network`; a round may take as long as an owner's query."""
        patience = limits.ENGINE_SECONDS_MAX + limits.ROUND_SECONDS_MAX
        return self._mesh.session(session_id, places, round_seconds=patience)

    def channel_hash(self, party: PartyId) -> bytes:
        """See `session.ports.Network`."""
        return self._mesh.channel_hash(party)

    async def send_control(self, party: PartyId, message: dict[str, object]) -> None:
        """See `session.ports.Network`."""
        await self._mesh.send_control(party, message)


class Node:
    """The parts of one daemon; `run` holds them alive.

    Args:
        config: checked.
        notifier: told when we serve.
        recorder: sees what we send before it is encrypted; given by tests alone, no configuration names it.
    """

    def __init__(self, config: Config, notifier: Notifier, recorder: Recorder | None = None) -> None:
        self.config = config
        self.notifier = notifier
        self.log = structlog.get_logger()
        self.roster = rosterfile.load(config.roster)
        self.roster_hash = self.roster.hash()
        self.policy = LivePolicy(config.policy, config.party, self.roster)
        self.store = Store.open(config.state)
        self.journal = StoreJournal(self.store, config.party, time.time, self.policy.digest, self._session_event)
        self.owner = Owner(self.policy, self.journal, config.signing_key.signing_key())
        self.ledger = LedgerCheck(self.store)
        self.planner = Planner()
        settings = EngineSettings(memory_bytes=config.engine.memory_bytes, threads=config.engine.threads)
        self.data = LocalData(config.snapshots, config.party, self.roster, partial(DuckdbEngine, settings))
        self.mesh = self._make_mesh(config.channel_key.channel_key(), recorder)
        self.past = History(config.party, self.roster, self.journal, self.ask_peers)
        self.past.vouch = Vouching(
            self.roster,
            RosterPlanner(self.planner, self.roster),
            self.data.data_versions,
            self.owner.objections,
            time.time,
        ).check
        self.sessions = self._make_sessions(config.signing_key.signing_key())
        self.data.in_use = self.sessions.data_in_use
        self.sessions.on_over.append(self.data.settle)
        self.owner.has_linkage = self.data.has_linkage
        self.overlaps = OverlapDesk(
            config.party,
            self.roster,
            config.signing_key.signing_key(),
            self.sessions,
            self.journal,
            time.time,
            os.urandom,
        )
        self.snapshots = DataDesk(config, self.roster, self.policy, self.journal, self.data, time.time)
        others = [party.id for party in self.roster.parties if party.id != config.party]
        self.questions = Questions(others, self.mesh.send_control, os.urandom, self._session_event)
        self.questions.handle(DEFINITIONS, self.past.asked)
        self.access = AccessDesk(self.journal, self.policy, self.roster.consortium, time.time, self._revoked)
        self.licences = LicenceDesk(
            self.journal,
            self.policy,
            config.party,
            self.roster,
            config.signing_key.signing_key(),
            self.data.data_versions,
            self._licence_ended,
            time.time,
            os.urandom,
        )
        self.owner.licences = self.licences
        self.snapshots.bound_to_others = self.licences.bound_to_others
        self.heads = self._make_heads(config.signing_key.signing_key())
        self.approvals = self.owner.approvals = self._make_approvals()
        self.waiting = self._make_waiting()
        self.started = time.time()
        self.stopping = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._sockets: dict[SocketKind, socket.socket] = {}

    def _make_mesh(self, key: ChannelKey, recorder: Recorder | None) -> Mesh:
        config, roster = self.config, self.roster
        listed = roster.party(config.party).channel_key
        if listed != str(key.public):
            raise ConfigurationInvalid("the roster lists another channel key for this party", path=str(config.roster))
        peers = {}
        for party in roster.parties:
            if party.id == config.party:
                continue
            entry = config.peers.get(party.id)
            peers[party.id] = PeerConfig(
                name=party.name,
                public_key=ChannelPublicKey.from_text(party.channel_key).raw,
                psk=entry.psk.psk() if entry is not None and entry.psk is not None else None,
                address=entry.address if entry is not None else None,
            )
        identity = LocalIdentity(config.party, key.expose_private_bytes())
        return Mesh(
            identity,
            peers,
            config.listen,
            roster.consortium,
            roster.version,
            self.roster_hash,
            self._network_event,
            recorder=recorder,
        )

    def _make_sessions(self, key: SigningKey) -> Sessions:
        parties = self.policy.keys_of(party.id for party in self.roster.parties)
        settings = Settings(
            me=self.config.party,
            roster=self.roster,
            roster_hash=self.roster_hash,
            signing_key=key,
            entropy=os.urandom,
            utc_seconds=time.time,
            admit=Rates(
                lambda key: str(key) in parties or self.policy.accepted(key, int(time.time() * 1000)) is not None,
                lambda: self.policy.policy.rate,
            ).admit,
            accepts=lambda key, at: self.policy.accepted(key, at) is not None,
        )
        planner = RosterPlanner(self.planner, self.roster)
        return Sessions(
            settings,
            SessionNetwork(self.mesh),
            planner,
            self.data,
            self.owner,
            self.journal,
            self._session_event,
            self.past,
        )

    def _make_approvals(self) -> ApprovalDesk:
        async def tell(digests: Sequence[bytes]) -> None:
            await self.waiting.tell(digests)

        return ApprovalDesk(
            self.config.party,
            self.roster,
            self.policy,
            self.journal,
            self.data.data_versions,
            time.time,
            partial(self.sessions.revoke, owed=True),
            tell,
            self._session_event,
        )

    def _make_waiting(self) -> Waiting:
        waiting = Waiting(
            self.config.party,
            self.sessions,
            self.questions,
            self.journal,
            time.time,
            partial(job_result, roster=self.roster),
            self.approvals.withdrawn,
            self._session_event,
        )
        self.questions.handle(CHANGED, waiting.heard)
        self.questions.handle(WITHDRAWN, waiting.heard_withdrawn)
        self.questions.handle(SEALED, waiting.hand_over)
        waiting.ended = self.approvals.ended
        self.questions.handle(ENDED, waiting.heard_ended)
        return waiting

    def _make_heads(self, key: SigningKey) -> Heads:
        keys = {party.id: VerifyKey.from_text(party.signing_key) for party in self.roster.parties}
        heads = Heads(
            self.config.party,
            key,
            keys,
            self.journal,
            self.ask_peers,
            time.time,
            self._ledger_event,
            self._ledger_contradicted,
        )
        self.questions.handle(HEAD, heads.receive)
        self.journal.session_over = heads.soon
        return heads

    def _ledger_contradicted(self, reason: str | None) -> None:
        """What we signed proves our ledger wrong, or its loss was admitted: sessions stop, or go on."""
        self.sessions.blocked = None if reason is None else LedgerInvalid(reason)

    # ------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Start, serve until asked to stop, and stop."""
        try:
            async with trio.open_nursery() as nursery:
                await self._start(nursery)
                self.notifier.ready(f"party {self.config.party} serving, {SECURITY}")
                self.log.info("ready", party=int(self.config.party), version=__version__, security=SECURITY)
                await self.stopping.wait()
                self.notifier.stopping()
                self.log.info("stopping")
                self.sessions.draining = True
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.STOP_SECONDS_MAX):
                await self.data.close()
                await self.planner.close()
            for kind, listener in self._sockets.items():
                sockets.remove(self._place(kind), listener)
            self.store.close()

    async def ask_peers(
        self,
        kind: str,
        payload: dict[str, object],
        parties: Iterable[PartyId] | None = None,
        seconds: float = limits.PEER_ANSWER_SECONDS_MAX,
    ) -> dict[PartyId, dict[str, object] | MpcdError]:
        """Ask other parties, all without `parties`; see `questions.Questions.ask`.

        Their handlers are registered with `node.questions.handle`.
        """
        return await self.questions.ask(kind, payload, parties, seconds)

    def spawn(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Start a task that lives as long as the daemon."""
        assert self._nursery is not None
        self._nursery.start_soon(work, *arguments)

    async def _start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        await nursery.start(self.ledger.run)
        report = self.store.sessions_at_start(now=time.time())
        await self.journal.entry(
            entries.started(__version__, sessions_aborted=len(report.aborted), sessions_recorded=len(report.recorded))
        )
        await self.journal.entry(entries.roster_loaded(self.roster.version, self.roster_hash))
        await self.journal.entry(entries.policy_loaded(self.policy.digest()))
        keys = {party.id: (party.signing_key, party.channel_key) for party in self.roster.parties}
        await self.journal.write(partial(note_keys, keys=keys))
        await self.access.load()
        await self.past.load()
        await nursery.start(self.data.run)
        await self.snapshots.load()
        await nursery.start(self.planner.run)
        await nursery.start(self.sessions.run)
        await nursery.start(self.questions.run)
        await nursery.start(self.heads.run)
        backend = NodeBackend(self)  # before the mesh: domains answer other parties' questions too
        self.mesh.control_handler = self._control
        await nursery.start(self.mesh.run)
        nursery.start_soon(self._signals)
        for row in report.recorded:
            self.sessions.settle_later(row.session)
        await nursery.start(self.waiting.run)
        self._sockets = self._listeners()
        for kind, listener in self._sockets.items():
            server = ApiServer(backend, kind, self.config.sockets.admin_uids)
            await nursery.start(server.serve, listener)
        nursery.start_soon(self.notifier.feed_watchdog, self._healthy)

    def _listeners(self) -> dict[SocketKind, socket.socket]:
        passed = sockets.inherited(os.environ, os.getpid())
        kinds: tuple[SocketKind, ...] = ("api", "admin")
        return {kind: passed.get(kind) or sockets.listen(self._place(kind)) for kind in kinds}

    def _place(self, kind: SocketKind) -> Path:
        return self.config.sockets.api if kind == "api" else self.config.sockets.admin

    async def _healthy(self) -> bool:
        """The loop runs (we are in it) and the store can be read."""
        await self.journal.run(self.store.head)
        return True

    async def _signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                if number != signal.SIGHUP:
                    self.stopping.set()
                    continue
                try:
                    await self.reload()
                except MpcdError as error:
                    self.log.warning("reload_refused", code=error.code, reason=str(error))

    async def reload(self) -> None:
        """Read the policy and the published data versions again; raises and keeps the old ones if a file is wrong."""
        self.notifier.reloading()
        before = self.policy.policy
        try:
            if self.policy.reload():
                for entry in before.analysts:
                    if self.policy.accepted(entry.key, int(time.time() * 1000)) is None:
                        self._revoked(entry.key)
                await self.journal.entry(entries.policy_loaded(self.policy.digest()))
            await self.data.open()
        finally:
            self.notifier.ready(f"party {self.config.party} serving, {SECURITY}")
        self.log.info("reloaded")
        for notice in policynews.warnings(self.policy.everybody()):
            self.log.warning("policy_refuses", reason=str(notice))

    # ------------------------------------------------------------------------------------------ events

    async def _control(self, party: PartyId, _channel: bytes, message: Message) -> None:
        if not self.questions.receive(party, dict(message)):
            await self.sessions.receive(party, dict(message))

    def _network_event(self, event: Event) -> None:
        log_network_event(self.log, event)
        if event.name == "channel-open":
            self.heads.soon()
            self.waiting.poke()
        if event.name == "channel-lost" and event.party is not None:
            # Whether or not another one took its place: what was on its way is gone, and the peer may have restarted.
            self._lost(event.party)
        if event.name == "channel-closed" and event.party is not None:
            self._look_for(event.party)

    def _look_for(self, party: PartyId) -> None:
        """A channel to `party` has ended: unless another one took its place, the sessions must know."""
        try:
            self.mesh.channel_hash(party)
        except PeerGone:
            self._lost(party)

    def _lost(self, party: PartyId) -> None:
        self.sessions.lost(party)
        self.questions.lost(party)

    def _revoked(self, key: VerifyKey) -> None:
        """An analyst's access has ended: so has what runs for them."""
        self.sessions.revoke(lambda signed: signed.request.analyst == key, "the analyst's access has ended")
        self.spawn(self._look_again, lambda signed: signed.request.analyst == key)

    def _licence_ended(self, concerns: Callable[[SignedRequest], bool], why: str) -> int:
        """What runs on a licence ends with it; what waits for people is looked at again before they decide."""
        self.spawn(self._look_again, concerns)
        return self.sessions.revoke(concerns, why, owed=True)

    async def _look_again(self, concerns: Callable[[SignedRequest], bool]) -> None:
        try:
            await self.approvals.look_again(concerns)
        except MpcdError as error:
            self.log.warning("waiting_try_failed", code=error.code, reason=str(error))

    def _ledger_event(self, event: str, **fields: object) -> None:
        """What is wrong with a ledger, ours or a peer's."""
        self.log.error(event, **fields)

    def _session_event(self, event: str, **fields: object) -> None:
        self.log.info(event, **fields)


def main(config: Config, notifier: Notifier) -> None:
    """Run the daemon of `config` until it is told to stop.

    Raises:
        MpcdError: the expected failure that ended it, where it is the only one.
    """
    keep_freed_vectors()
    node = Node(config, notifier)
    # What is loaded now stays: the collector need not walk it again while sessions run.
    gc.collect()
    gc.freeze()
    try:
        trio.run(node.run, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _only(group) from group


def _only(group: BaseException) -> BaseException:
    """The one failure in a group of groups; the group itself if there are several."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group
