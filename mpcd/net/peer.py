"""One peer: its channels, what came for sessions that we have not opened yet, and its control messages in order.

At most one channel is *current*: new sessions and control messages use it.  Others drain.  Which of two stays:

    the new one names the current one as replaced (renewal at an age)   new stays, old drains
    the peer is another run of its daemon than the current one's        new stays, old is lost with the old run
    both were dialled by the same side (that side has lost the old one) new stays, old is lost
    each side dialled at the same time                                  smaller handshake hash stays, other drains
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import trio

from mpcd import limits
from mpcd.errors import PeerFault, PeerGone, PeerMalformed
from mpcd.ids import PartyId
from mpcd.net.channel import CONTROL_LINK, Channel, ChannelState
from mpcd.net.config import PeerConfig
from mpcd.net.events import Event, EventName
from mpcd.net.hello import Hello
from mpcd.net.inbox import Inbox, OutOfTurn
from mpcd.wire import CloseReason, Link, Route

if TYPE_CHECKING:
    from mpcd.net.mesh import Mesh


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What `mpcctl peers` shows of one peer."""

    party: PartyId
    name: str
    connected: bool
    we_dialled: bool
    connected_since: float | None
    """Seconds since the epoch."""
    channel: str
    """The first 16 hexadecimal digits of the handshake hash, equal at both ends; empty without a channel."""
    last_seen_seconds: float | None
    """How long ago anything was received."""
    round_trip_seconds: float | None
    wire_bytes_sent: int
    """Over all channels since the daemon started, handshakes included, as the socket saw them."""
    wire_bytes_received: int
    sessions: int
    draining_channels: int
    roster_difference: str
    """Empty if both have the same roster; otherwise one sentence that says who must do what."""
    last_failure: str


@dataclass(slots=True, eq=False)
class EarlySession:
    """What came for a session that is not open here yet."""

    since: float
    inboxes: dict[Link, Inbox] = field(default_factory=dict)
    limits: dict[Link, int] = field(default_factory=dict)


class Discard:
    """Where bytes go that nobody wants: one piece of memory for all of them, never read."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8).data

    def place(self, total_bytes: int) -> memoryview:
        """A place of that length; its content is overwritten by whatever is discarded next."""
        if len(self._memory) < total_bytes:
            self._memory = np.empty(total_bytes, np.uint8).data
        return self._memory[:total_bytes]


class Peer:
    """See the module's docstring; owns its channels (`channel.ChannelOwner`)."""

    def __init__(self, mesh: Mesh, party: PartyId, config: PeerConfig, emit: Callable[[Event], None]) -> None:
        self.party: Final = party
        self.config: Final = config
        self.current: Channel | None = None
        self.draining: set[Channel] = set()
        self.changed = trio.Event()
        """Set, and replaced, whenever `current` changes."""
        self.last_failure = ""
        self._mesh = mesh
        self._emit = emit
        self._hello: Hello | None = None
        self._connected_since: float | None = None
        self._early: OrderedDict[bytes, EarlySession] = OrderedDict()
        self._confirmations: dict[Channel, trio.Event] = {}
        self._past_sent = 0
        self._past_received = 0
        self._discard = Discard()
        self._dropped = 0
        self._dropped_last = ""
        self._control_lock = trio.Lock()
        self._control_room = trio.Event()
        self._control_send, self._control_receive = trio.open_memory_channel[tuple[Channel, bytes]](float("inf"))

    # -------------------------------------------------------------------------------------------- channels

    def channels(self) -> list[Channel]:
        """All channels that live, the current one first."""
        return [*([] if self.current is None else [self.current]), *self.draining, *self._confirmations]

    def opening(self, channel: Channel) -> trio.Event:
        """A channel that we dialled waits for the listener's hello; the event is set when it is open, or closed."""
        event = self._confirmations[channel] = trio.Event()
        return event

    def confirmed(self, channel: Channel, hello: Hello) -> None:
        """The listener's first record is there: the channel is real."""
        channel.hello = hello
        self.adopt(channel)
        event = self._confirmations.pop(channel, None)
        if event is not None:
            event.set()

    def adopt(self, channel: Channel) -> None:
        """A channel is authenticated at both ends: publish it, and decide which stays."""
        assert channel.hello is not None
        channel.state = ChannelState.OPEN
        old = self.current
        self._report("channel-open", f"channel {_short(channel)} is open", channel)
        self._report_roster(channel.hello)
        if old is None:
            self._set_current(channel)
        elif channel.replaces == old.hash:
            self._set_current(channel)
            self._let_drain(old, CloseReason.ROTATED)
        elif _instance(old) != channel.hello.instance:
            self._set_current(channel)
            old.fail(PeerGone(self.party, "the peer has restarted"))
        elif old.we_dialled == channel.we_dialled:
            self._set_current(channel)
            old.fail(PeerGone(self.party, "the peer has opened a new channel instead"))
        elif channel.hash < old.hash:
            self._set_current(channel)
            self._let_drain(old, CloseReason.SUPERSEDED)
        else:
            self._let_drain(channel, CloseReason.SUPERSEDED)

    def _let_drain(self, channel: Channel, reason: CloseReason) -> None:
        self.draining.add(channel)
        self._report(
            "channel-draining", f"channel {_short(channel)} takes no new session ({reason.name.lower()})", channel
        )
        channel.drain(reason)

    def _set_current(self, channel: Channel | None) -> None:
        self.current = channel
        self._connected_since = None if channel is None else self._mesh.wall_clock()
        changed, self.changed = self.changed, trio.Event()
        changed.set()
        self._wake_control()

    def closed(self, channel: Channel, failure: PeerFault | None) -> None:
        """A channel is gone: its sessions end, and what came early on it is dropped."""
        self._past_sent += channel.wire_bytes_sent
        self._past_received += channel.wire_bytes_received
        self.draining.discard(channel)
        confirmation = self._confirmations.pop(channel, None)
        if self.current is channel:
            # Before anybody is told, who then looks whether there is another one.
            self._early.clear()
            self._set_current(None)
        if failure is None:
            self._report("channel-closed", f"channel {_short(channel)} has closed", channel)
        else:
            self.last_failure = str(failure)
            self._report("channel-lost", f"channel {_short(channel)} was lost: {failure}", channel)
        for session in self._mesh.sessions_on(channel):
            session.channel_lost(channel, failure or PeerGone(self.party, "the channel was closed"))
        if confirmation is not None:
            confirmation.set()

    def _report(self, name: EventName, message: str, channel: Channel) -> None:
        details: dict[str, str | int | float] = {
            "channel": _short(channel),
            "dialled_by": "us" if channel.we_dialled else "peer",
            "wire_bytes_sent": channel.wire_bytes_sent,
            "wire_bytes_received": channel.wire_bytes_received,
        }
        self._emit(Event(name, f"{self.config.name}: {message}", self.party, details))

    def _report_roster(self, hello: Hello) -> None:
        self._hello = hello
        difference = hello.roster_difference(self._mesh.roster)
        if difference:
            self._emit(Event("roster-differs", f"{self.config.name}: {difference}", self.party))

    def status(self, now: float) -> PeerStatus:
        """What `mpcctl peers` shows."""
        channels = self.channels()
        current = self.current
        return PeerStatus(
            party=self.party,
            name=self.config.name,
            connected=current is not None,
            we_dialled=current is not None and current.we_dialled,
            connected_since=self._connected_since,
            channel="" if current is None else _short(current),
            last_seen_seconds=None if current is None else now - current.last_received_at,
            round_trip_seconds=None if current is None else current.round_trip_seconds,
            wire_bytes_sent=self._past_sent + sum(channel.wire_bytes_sent for channel in channels),
            wire_bytes_received=self._past_received + sum(channel.wire_bytes_received for channel in channels),
            sessions=sum(len(channel.sessions) for channel in channels),
            draining_channels=len(self.draining),
            roster_difference="" if self._hello is None else self._hello.roster_difference(self._mesh.roster),
            last_failure=self.last_failure,
        )

    # -------------------------------------------------------------------------------------------- session messages

    def place(self, route: Route, total_bytes: int) -> memoryview:
        """Where a message that begins goes."""
        link = route.link
        session = self._mesh.session_of(route.session)
        if session is None:
            inbox = self._early_inbox(link)
            if inbox is None:
                return self._discard.place(total_bytes)
        else:
            inbox = session.inbox_from(self.party, link)
            if inbox is None:
                session.abort(PeerMalformed(self.party, f"{self.config.name} sent as {link.sender} to {link.receiver}"))
                return self._discard.place(total_bytes)
        try:
            return inbox.place(route.step, total_bytes)
        except OutOfTurn as error:
            if session is None:
                self._drop_early(link.session, str(error))
            else:
                session.malformed(link.sender, None, str(error))
            return self._discard.place(total_bytes)

    def arrived(self, route: Route) -> None:
        """A message is complete in its place."""
        session = self._mesh.session_of(route.session)
        if session is None:
            early = self._early.get(route.session)
            inbox = None if early is None else early.inboxes.get(route.link)
        else:
            inbox = session.inbox_from(self.party, route.link)
        if inbox is not None:
            inbox.arrived(route.step)

    def window_raised(self, link: Link, limit: int) -> None:
        """The peer announced a new limit."""
        if link == CONTROL_LINK:
            self._wake_control()
            return
        session = self._mesh.session_of(link.session)
        if session is not None:
            session.raise_limit(self.party, link, limit)
            return
        early = self._early_session(link)
        if early is not None:
            early.limits[link] = max(limit, early.limits.get(link, 0))

    def _early_session(self, link: Link) -> EarlySession | None:
        """Where to hold what comes on `link` early; None if its session is over, or too much is held already."""
        if self._mesh.is_over(link.session):
            return None
        early = self._early.get(link.session)
        if early is not None and link in early.limits:
            return early
        held = sum(len(held.inboxes) + len(held.limits) for held in self._early.values())
        if held >= limits.EARLY_LINKS_MAX or (early is None and len(self._early) >= limits.EARLY_SESSIONS_MAX):
            self._drop_early(link.session, "too many messages for sessions that are not open here")
            return None
        if early is None:
            early = self._early[link.session] = EarlySession(trio.current_time())
        return early

    def _early_inbox(self, link: Link) -> Inbox | None:
        early = self._early.get(link.session)
        inbox = None if early is None else early.inboxes.get(link)
        if inbox is None and (early := self._early_session(link)) is not None:
            inbox = early.inboxes[link] = Inbox(link.sender, link.receiver)
        return inbox

    def take_early(self, session: bytes) -> EarlySession | None:
        """The session is open now: what came for it before."""
        return self._early.pop(session, None)

    def _drop_early(self, session: bytes, why: str) -> None:
        self._early.pop(session, None)
        self._dropped += 1
        self._dropped_last = f"session {session[:4].hex()}, {why}"

    # -------------------------------------------------------------------------------------------- control

    async def send_control(self, encoded: bytes, seconds: float) -> None:
        """Queue a control message on the current channel, when the peer has room for it."""
        async with self._control_lock:
            with trio.move_on_after(seconds):
                while True:
                    channel = self.current
                    if channel is None:
                        raise PeerGone(
                            self.party, f"{self.config.name} is not connected; {self.last_failure or 'never was'}"
                        )
                    if channel.control_send.take(len(encoded)):
                        channel.post_control(encoded)
                        channel.pump()
                        return
                    await self._control_room.wait()
            raise PeerGone(
                self.party, f"{self.config.name} has not handled our control messages for {seconds:g} seconds"
            )

    def _wake_control(self) -> None:
        room, self._control_room = self._control_room, trio.Event()
        room.set()

    def control_received(self, channel: Channel, encoded: bytes) -> None:
        """A whole control message arrived; the window bounds how many wait here."""
        self._control_send.send_nowait((channel, encoded))

    async def next_control(self) -> tuple[Channel, bytes]:
        """The next control message, in order."""
        return await self._control_receive.receive()

    # -------------------------------------------------------------------------------------------- clock

    def look_at_clock(self, now: float) -> None:
        """Called regularly."""
        pace = self._mesh.pace
        for channel in self.channels():
            channel.look_at_clock(
                now,
                opening=pace.handshake_seconds,
                ping=pace.ping_seconds,
                silence=pace.silence_seconds,
                drain=pace.drain_seconds,
            )
        while self._early:
            session, early = next(iter(self._early.items()))
            if now - early.since <= limits.SESSION_SECONDS_MAX:
                break
            self._drop_early(session, "the session was not opened here in time")
        if self._dropped:
            text = f"{self.config.name}: early messages were dropped, {self._dropped} times; last: {self._dropped_last}"
            self._dropped = 0
            self._emit(Event("early-messages-dropped", text, self.party))


def _short(channel: Channel) -> str:
    return channel.hash[:8].hex()


def _instance(channel: Channel) -> bytes:
    return b"" if channel.hello is None else channel.hello.instance
