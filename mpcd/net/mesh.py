"""All channels of one daemon: listen, dial, reconnect, and the sessions on top.

Either side of a pair may dial.  The dialler of a pair that lost its channel tries again, with pauses that double
and jitter; the party with the larger id leaves the first dial to the other, so that two addresses do not normally
make two channels. A channel that has reached its age is replaced by its dialler: new sessions use the new one, the
old one drains.

Everything runs in one nursery inside `Mesh.run`; cancelling that says a typed close on every channel, ends the
sessions and leaves no task and no descriptor behind.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import trio

from mpcd import limits
from mpcd.errors import Bug, PeerGone, PeerMalformed
from mpcd.ids import PartyId, Role, RosterHash, SessionId
from mpcd.net import handshake
from mpcd.net.channel import Channel, ChannelState, owned
from mpcd.net.config import LocalIdentity, Pace, PeerConfig, RosterView
from mpcd.net.events import Event, EventSink
from mpcd.net.handshake import Established, HandshakeFailed
from mpcd.net.hello import INSTANCE_BYTES, Hello
from mpcd.net.links import SessionLinks
from mpcd.net.pacing import Backoff, HalfOpen, TokenBuckets
from mpcd.net.peer import Peer, PeerStatus
from mpcd.net.recording import Recorder
from mpcd.wire import CONTROL, WireFailed, session_prefix
from mpcd.wire.control import Message

ControlHandler = Callable[[PartyId, bytes, Message], Awaitable[None]]
"""Called with the sender, the hash of the channel and the message; one call at a time per peer, in order."""

_NO_MORE_DESCRIPTORS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_SESSIONS_REMEMBERED: Final = 4096
"""Closed sessions whose late messages are dropped without a word."""


class Mesh:
    """The network of one daemon.

    Args:
        identity: who we are.
        peers: every other party of the roster.
        listen: host and port (0 for any), a listening socket, or None to dial only.
        consortium_id: bound into every handshake; two consortia never share a channel.
        roster_version: ours; told to peers.
        roster_hash: ours; told to peers.
        events: takes each event for the log; must not block.
        pace: time-outs.
        entropy: gives fresh random bytes.
        wall_clock: seconds since the epoch, for statuses.
        recorder: sees plaintext before it is encrypted; for tests.
    """

    def __init__(
        self,
        identity: LocalIdentity,
        peers: Mapping[PartyId, PeerConfig],
        listen: tuple[str, int] | socket.socket | None,
        consortium_id: str,
        roster_version: int,
        roster_hash: RosterHash,
        events: EventSink,
        *,
        pace: Pace | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], float] = time.time,
        recorder: Recorder | None = None,
    ) -> None:
        if identity.party_id in peers:
            raise Bug("a party is not its own peer")
        self.party_id: Final = identity.party_id
        self.pace: Final = pace or Pace()
        self.roster = RosterView(consortium_id, roster_version, roster_hash)
        self.wall_clock: Final = wall_clock
        self.kernel_limiter: Final = trio.CapacityLimiter(max(2, os.cpu_count() or 1))
        self.control_handler: ControlHandler | None = None
        self.listen_address: tuple[str, int] | None = None
        self._identity = identity
        self._listen = listen
        self._emit = events
        self._entropy = entropy
        self._recorder = recorder
        self._instance = entropy(INSTANCE_BYTES)
        self._peers: Final = {party: Peer(self, party, config, events) for party, config in peers.items()}
        self._by_key: Final = {config.public_key: (party, config) for party, config in peers.items()}
        if len(self._by_key) != len(peers):
            raise Bug("two parties with one channel key")
        self._sessions: dict[bytes, SessionLinks] = {}
        self._over: OrderedDict[bytes, None] = OrderedDict()
        self._buckets = TokenBuckets()
        self._half_open = HalfOpen()
        self._turned_away = 0
        self._nursery: trio.Nursery | None = None

    # -------------------------------------------------------------------------------------------- what the daemon uses

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens."""
        listeners = await self._open_listeners()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in listeners:
                    nursery.start_soon(self._accept, listener)
                for peer in self._peers.values():
                    nursery.start_soon(self._handle_control, peer)
                    if peer.config.address is not None:
                        nursery.start_soon(self._keep_dialled, peer, peer.config.address)
                nursery.start_soon(self._tick)
                task_status.started()
        finally:
            self._nursery = None
            self._shut(listeners)

    def _shut(self, listeners: list[trio.SocketListener]) -> None:
        for listener in listeners:
            listener.socket.close()
        for peer in self._peers.values():
            for channel in peer.channels():
                channel.shut()
        for session in list(self._sessions.values()):
            session.abort(PeerGone(None, "this daemon's network has stopped"))

    def statuses(self) -> list[PeerStatus]:
        """One line per peer, in the order of party ids."""
        now = trio.current_time()
        return [self._peers[party].status(now) for party in sorted(self._peers)]

    @property
    def half_open_handshakes(self) -> int:
        """How many callers are in their handshake, or in the silence after a failed one."""
        return self._half_open.count

    async def wait_connected(self, parties: Iterable[PartyId]) -> None:
        """Wait until every one of `parties` (we aside) has a channel."""
        for party in parties:
            if party == self.party_id:
                continue
            peer = self.peer(party)
            while peer.current is None:
                await peer.changed.wait()
        await trio.lowlevel.checkpoint()

    def channel_hash(self, party: PartyId) -> bytes:
        """The handshake hash of the current channel to `party`: 64 bytes, equal at both ends.

        Raises:
            PeerGone: there is none.
        """
        return self._current(party).hash

    async def send_control(self, party: PartyId, message: Mapping[str, object]) -> None:
        """Send a control message of a registered type (`wire.CONTROL`) on the current channel.

        Returns when it is queued; messages to one peer arrive in the order of the calls, while the channel lives.

        Raises:
            PeerGone: not connected, or the peer has not handled earlier messages for a round's time.
            WireMisuse: not of a registered type, against its schema, or too long.
        """
        await self.peer(party).send_control(CONTROL.encode(message), limits.ROUND_SECONDS_MAX)

    def session(
        self,
        session_id: SessionId,
        places: Mapping[Role, PartyId],
        *,
        session_seconds: float = limits.SESSION_SECONDS_MAX,
        round_seconds: float = limits.ROUND_SECONDS_MAX,
    ) -> SessionLinks:
        """Open our end of a session's links, bound to the channels that are current now.

        Args:
            session_id: derived by all parties.
            places: which party plays which role, ours included.
            session_seconds: after this the session ends with `DeadlineExceeded`.
            round_seconds: after this without progress an exchange ends with `PeerGone`.

        Raises:
            PeerGone: a party in `places` is not connected.
        """
        tag = session_prefix(session_id)
        if tag in self._sessions or tag in self._over:
            raise Bug("a session id is used once")
        if len(self._sessions) >= limits.SESSIONS_RUNNING_MAX:
            raise Bug("admission allows no more sessions than SESSIONS_RUNNING_MAX")
        others = set(places.values()) - {self.party_id}
        channels = {party: self._current(party) for party in others}
        early = {party: held for party in others if (held := self.peer(party).take_early(tag)) is not None}
        links = SessionLinks(
            self, session_id, places, channels, early, session_seconds=session_seconds, round_seconds=round_seconds
        )
        self._sessions[tag] = links
        return links

    def update_roster(self, version: int, roster_hash: RosterHash) -> None:
        """We have a new version of the roster; later handshakes say so, and statuses compare with it."""
        self.roster = RosterView(self.roster.consortium_id, version, roster_hash)

    # ------------------------------------------------------------------------------------ what sessions and peers use

    def peer(self, party: PartyId) -> Peer:
        """The peer `party`."""
        peer = self._peers.get(party)
        if peer is None:
            raise Bug(f"party {party} is not in the mesh")
        return peer

    def _current(self, party: PartyId) -> Channel:
        peer = self.peer(party)
        if peer.current is None:
            raise PeerGone(party, f"{peer.config.name} is not connected; {peer.last_failure or 'never was'}")
        return peer.current

    def session_of(self, tag: bytes) -> SessionLinks | None:
        """The open session that `tag` names."""
        return self._sessions.get(tag)

    def sessions_on(self, channel: Channel) -> list[SessionLinks]:
        """The open sessions that are bound to `channel`."""
        return [session for session in self._sessions.values() if session in channel.sessions]

    def is_over(self, tag: bytes) -> bool:
        """Whether the session that `tag` names has been closed here."""
        return tag in self._over

    def forget(self, session: SessionLinks) -> None:
        """A session was closed."""
        self._sessions.pop(session.tag, None)
        self._over[session.tag] = None
        while len(self._over) > _SESSIONS_REMEMBERED:
            self._over.popitem(last=False)

    # -------------------------------------------------------------------------------------------- listening

    async def _open_listeners(self) -> list[trio.SocketListener]:
        if self._listen is None:
            return []
        if isinstance(self._listen, socket.socket):
            self._listen.setblocking(False)
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(self._listen))]
        else:
            host, port = self._listen
            listeners = list(await trio.open_tcp_listeners(port, host=host))
        name = listeners[0].socket.getsockname()
        self.listen_address = (str(name[0]), int(name[1]))
        self._emit(Event("listening", f"listening on {self.listen_address[0]} port {self.listen_address[1]}"))
        return listeners

    async def _accept(self, listener: trio.SocketListener) -> None:
        assert self._nursery is not None
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _NO_MORE_DESCRIPTORS:
                    raise
                await trio.sleep(0.1)
                continue
            sock = _plain(stream)
            try:
                address = str(sock.getpeername()[0])
            except OSError:
                sock.close()
                continue
            if not self._half_open.enter():
                self._turned_away += 1
                _reset(sock)
            elif not self._buckets.admit(address, trio.current_time()):
                self._half_open.leave()
                self._turned_away += 1
                _reset(sock)
            else:
                self._nursery.start_soon(self._answer, sock, address)

    async def _answer(self, sock: socket.socket, address: str) -> None:
        """One caller's handshake; a failed one gets silence until the deadline, whatever failed."""
        deadline = trio.current_time() + self.pace.handshake_seconds
        try:
            with owned(sock):
                failure = "too slow"
                with trio.move_on_at(deadline):
                    try:
                        made = await handshake.answer(sock, self._identity, self._by_key, self.roster, self._entropy)
                    except HandshakeFailed as error:
                        failure = str(error)
                    else:
                        self._listened(sock, made)
                        return
                self._emit(Event("handshake-failed", f"a caller from {address}: {failure}", None, {"address": address}))
                await trio.sleep_until(deadline)
                _reset(sock)
        finally:
            self._half_open.leave()

    def _listened(self, sock: socket.socket, made: Established) -> None:
        """A caller is authenticated: its channel lives from here on, and the first record says so."""
        assert made.hello is not None
        peer = self.peer(made.party)
        channel = Channel(sock, made, peer, self._recorder)
        channel.replaces = made.hello.replaces
        channel.post_hello(self._hello(b""))
        peer.adopt(channel)
        channel.pump()
        self._start(channel)

    def _start(self, channel: Channel) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(channel.read)
        self._nursery.start_soon(channel.write)

    def _hello(self, replaces: bytes) -> Hello:
        return Hello(self.roster.version, self.roster.hash, self._instance, replaces)

    # -------------------------------------------------------------------------------------------- dialling

    async def _keep_dialled(self, peer: Peer, address: tuple[str, int]) -> None:
        """Have a channel to `peer`, and renew ours at its age."""
        pace = self.pace
        backoff = Backoff(pace.random_unit, pace.reconnect_first_seconds, pace.reconnect_seconds_max)
        if self.party_id > peer.party:
            with trio.move_on_after(pace.second_dialler_seconds):
                await peer.changed.wait()
        while True:
            due = self._dial_due(peer.current)
            if due > 0.0:
                with trio.move_on_after(due):
                    await peer.changed.wait()
                continue
            if await self._dial(peer, address):
                backoff.reset()
            else:
                with trio.move_on_after(backoff.next_seconds()):
                    await peer.changed.wait()

    def _dial_due(self, current: Channel | None) -> float:
        """In how many seconds to dial."""
        if current is None:
            return 0.0
        if not current.we_dialled:
            return float("inf")
        return current.opened_at + self.pace.channel_seconds - trio.current_time()

    async def _dial(self, peer: Peer, address: tuple[str, int]) -> bool:
        """One attempt; whether there is a channel now."""
        replaces = b"" if peer.current is None else peer.current.hash
        try:
            with trio.fail_after(self.pace.handshake_seconds):
                stream = await trio.open_tcp_stream(*address)
                with owned(_plain(stream)) as sock:
                    made = await handshake.dial(
                        sock, self._identity, peer.party, peer.config, self.roster, self._hello(replaces), self._entropy
                    )
        except (OSError, HandshakeFailed, trio.TooSlowError) as error:
            what = "no answer in time" if isinstance(error, trio.TooSlowError) else str(error)
            peer.last_failure = f"dialling failed: {what}"
            self._emit(Event("dial-failed", f"{peer.config.name}: {what}", peer.party))
            return False
        channel = Channel(sock, made, peer, self._recorder)
        channel.replaces = replaces
        confirmed = peer.opening(channel)
        self._start(channel)
        await confirmed.wait()
        return channel.state is not ChannelState.CLOSED

    # -------------------------------------------------------------------------------------------- control and clock

    async def _handle_control(self, peer: Peer) -> None:
        """Call the handler for each of the peer's control messages, in order."""
        while True:
            channel, encoded = await peer.next_control()
            try:
                message = CONTROL.decode(encoded)
            except WireFailed as error:
                channel.refuse(f"a control message: {error}")
                continue
            if self.control_handler is not None:
                try:
                    await self.control_handler(peer.party, channel.hash, message)
                except (PeerMalformed, WireFailed) as error:
                    channel.refuse(f"a control message: {error}")
                except Exception as error:  # noqa: BLE001 - no message of a peer may take the daemon down
                    text = f"{peer.config.name}: {message['type']!r} was not handled ({type(error).__name__})"
                    self._emit(Event("control-handler-failed", text, peer.party))
            channel.control_handled(len(encoded))

    async def _tick(self) -> None:
        """Look at every deadline, a few times a second."""
        while True:
            await trio.sleep(self.pace.tick_seconds)
            now = trio.current_time()
            for peer in self._peers.values():
                peer.look_at_clock(now)
            for session in list(self._sessions.values()):
                session.look_at_clock(now)
            if self._turned_away:
                text = f"{self._turned_away} callers were turned away: too many handshakes at once"
                self._turned_away = 0
                self._emit(Event("handshake-turned-away", text))


def _plain(stream: trio.SocketStream) -> socket.socket:
    """The stream's socket, non-blocking, taken out of trio's wrapper: channels wait for it themselves."""
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


def _reset(sock: socket.socket) -> None:
    """Close without a word, the same way whatever is left unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()
