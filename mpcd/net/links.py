"""One session's view of the network: a transport per role of ours, links to every other role.

A daemon that gives data and computes plays two roles; each has its own transport, its own links and its own
windows.  The link between two roles of the same daemon is a copy in memory under the same rules.  A session is
bound, per party, to the channel that was current when it opened; if that channel is lost, or a party goes silent or
breaks the rules, every role of the session that waits or will wait gets the same fault, and no message of the
session is sent any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import numpy as np
import trio

from mpcd import limits
from mpcd.errors import Bug, DeadlineExceeded, PeerFault, PeerGone, PeerMalformed
from mpcd.ids import PartyId, Role, SessionId, Step
from mpcd.net.channel import Channel, Sending
from mpcd.net.inbox import Inbox, OutOfTurn, SlotState, Waiter
from mpcd.net.windows import SendWindow
from mpcd.wire import Link, Route, session_prefix, step_hash

if TYPE_CHECKING:
    from mpcd.net.mesh import Mesh
    from mpcd.net.peer import EarlySession

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview | np.ndarray
_NOTHING: Final = memoryview(b"")
_TRICKLE_BYTES: Final = 1024
"""Fewer bytes between two looks at the clock are no progress of a message."""


def _bytes_of(buffer: Buffer) -> memoryview:
    """The bytes of `buffer`, not copied; it must be C-contiguous."""
    view = buffer.data if isinstance(buffer, np.ndarray) else memoryview(buffer)
    if view.nbytes == 0:
        return _NOTHING
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


class OutLink:
    """What one of our roles sends to another role, of a peer or of ours."""

    __slots__ = ("_local", "_waiting", "channel", "name", "window")

    def __init__(self, name: Link, channel: Channel | None, local: Inbox | None) -> None:
        assert (channel is None) != (local is None)
        self.name = name
        self.window = SendWindow()
        self.channel = channel
        self._local = local
        self._waiting: deque[Sending] = deque()

    def post(self, step: bytes, data: memoryview, waiter: Waiter) -> Sending:
        """Send when the window allows; the waiter is told when `data` is no longer needed."""
        waiter.pending += 1
        message = Sending(Route(*self.name, step), data, waiter)
        if self._waiting or not self.window.take(len(data)):
            self._waiting.append(message)
        else:
            self._start(message)
        return message

    def raise_limit(self, limit: int) -> None:
        """The receiver announced a new limit: start what waited for it."""
        self.window.raise_to(limit)
        while self._waiting:
            message = self._waiting[0]
            if not message.dropped and not self.window.take(message.outgoing.total_bytes):
                break
            self._waiting.popleft()
            if not message.dropped:
                self._start(message)
        if self.channel is not None:
            self.channel.pump()

    def _start(self, message: Sending) -> None:
        if self.channel is not None:
            self.channel.post(message)
            return
        assert self._local is not None
        if not self._local.closed:
            step, data = message.outgoing.route.step, message.outgoing.data
            self._local.place(step, len(data))[:] = data
            self._local.arrived(step)
        message.waiter.one_done()


class SessionTransport:
    """What the protocols of one role of ours see: `protocols.context.Transport`."""

    def __init__(self, session: SessionLinks, role: Role) -> None:
        self.role: Final = role
        self.rounds = 0
        self.payload_bytes_sent = 0
        self.payload_bytes_received = 0
        self._session = session

    async def exchange(
        self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]
    ) -> dict[Role, memoryview]:
        """One round: send to some roles, receive from some.

        The buffers to send are read until this returns, and not afterwards.

        Args:
            step: names the messages at both ends; used once.
            send: bytes for each role, C-contiguous.
            expect: how many bytes each role sends us.

        Returns:
            The bytes of each role in `expect`, each in a buffer of its own.

        Raises:
            PeerGone: a party was silent for the round's time, or its channel was lost; the text names party and step.
            PeerMalformed: a party sent something else than this round's message.
            DeadlineExceeded: the session's own time is over.
        """
        session = self._session
        session.check()
        tag = step_hash(step)
        waiter = Waiter(step)
        sent: list[Sending] = []
        session.enter(waiter, self.role, expect, send)
        try:
            received = {source: self._expect(source, tag, total, waiter) for source, total in expect.items()}
            for target, buffer in send.items():
                data = _bytes_of(buffer)
                self.payload_bytes_sent += len(data)
                link = session.out_link(self.role, target)
                sent.append(link.post(tag, data, waiter))
                if link.channel is not None:
                    link.channel.pump()
            if waiter.pending or waiter.failure is not None:
                await waiter.wait()
            else:
                await trio.lowlevel.checkpoint()
        except BaseException:
            for message in sent:
                message.drop()
            raise
        finally:
            session.leave(waiter)
        self.rounds += 1
        self.payload_bytes_received += sum(expect.values())
        return received

    def _expect(self, source: Role, tag: bytes, total: int, waiter: Waiter) -> memoryview:
        if not 0 <= total <= limits.LINK_MESSAGE_BYTES_MAX:
            raise Bug(f"a message has at most {limits.LINK_MESSAGE_BYTES_MAX} bytes")
        try:
            return self._session.inbox(source, self.role).expect(tag, total, waiter).view
        except OutOfTurn as error:
            failure = self._session.malformed(source, waiter.step, str(error))
            raise failure from error

    async def compute(self, kernel: Callable[..., T], *args: object) -> T:
        """Run a kernel: here if its arguments are small, otherwise in a worker thread, which is never abandoned."""
        if sum(_size_bytes(argument) for argument in args) <= limits.INLINE_KERNEL_BYTES_MAX:
            return kernel(*args)
        return await trio.to_thread.run_sync(kernel, *args, limiter=self._session.kernel_limiter)


def _size_bytes(argument: object) -> int:
    """How many bytes a kernel's argument has, as far as it says so; arrays inside a sharing count."""
    size = getattr(argument, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(argument, (bytes, bytearray)):
        return len(argument)
    if isinstance(argument, (list, tuple)):
        return sum(_size_bytes(part) for part in argument)
    first, second = getattr(argument, "a", None), getattr(argument, "b", None)
    return (0 if first is None else _size_bytes(first)) + (0 if second is None else _size_bytes(second))


class SessionLinks:
    """All links of one session at this daemon; made by `Mesh.session`, freed by `close` or the end of a `with`."""

    def __init__(
        self,
        mesh: Mesh,
        session_id: SessionId,
        places: Mapping[Role, PartyId],
        channels: Mapping[PartyId, Channel],
        early: Mapping[PartyId, EarlySession],
        *,
        session_seconds: float,
        round_seconds: float,
    ) -> None:
        self.session_id: Final = session_id
        self.tag: Final = session_prefix(session_id)
        self.places: Final = dict(places)
        self.failure: PeerFault | DeadlineExceeded | None = None
        self.kernel_limiter: Final = mesh.kernel_limiter
        self.closed = False
        self._mesh = mesh
        self._us = mesh.party_id
        self._channels = dict(channels)
        self._deadline = trio.current_time() + session_seconds
        self._session_seconds = session_seconds
        self._round_seconds = round_seconds
        self._transports: dict[Role, SessionTransport] = {}
        self._inboxes: dict[tuple[Role, Role], Inbox] = {}
        self._out: dict[tuple[Role, Role], OutLink] = {}
        self._waiters: dict[Waiter, tuple[Role, Mapping[Role, int], Mapping[Role, Buffer]]] = {}
        self._received: dict[PartyId, int] = {}
        self._early_inboxes: dict[Link, Inbox] = {}
        self._early_limits: dict[Link, int] = {}
        for party, held in early.items():
            self._take_early(party, held)
        for channel in self._channels.values():
            channel.sessions.add(self)

    def _take_early(self, party: PartyId, held: EarlySession) -> None:
        """What `party` sent before the session was open here."""
        for link in (*held.inboxes, *held.limits):
            ours, theirs = (link.receiver, link.sender) if link in held.inboxes else (link.sender, link.receiver)
            if self.places.get(ours) != self._us or self.places.get(theirs) != party:
                self.abort(PeerMalformed(party, f"party {party} sent as {link.sender} to {link.receiver}"))
                return
        self._early_inboxes.update(held.inboxes)
        self._early_limits.update(held.limits)

    # -------------------------------------------------------------------------------------------- what roles use

    def transport(self, role: Role) -> SessionTransport:
        """The transport of `role`, which must be one of ours."""
        if self.places.get(role) != self._us:
            raise Bug(f"{role} is not played here")
        transport = self._transports.get(role)
        if transport is None:
            transport = self._transports[role] = SessionTransport(self, role)
        return transport

    def channel_hash(self, party: PartyId) -> bytes:
        """The handshake hash of the channel to `party` that this session is bound to."""
        return self._channels[party].hash

    @property
    def rounds(self) -> int:
        """Calls of `exchange` that have returned, over our roles."""
        return sum(transport.rounds for transport in self._transports.values())

    @property
    def payload_bytes_sent(self) -> int:
        """Bytes given to `exchange` to send, over our roles."""
        return sum(transport.payload_bytes_sent for transport in self._transports.values())

    def abort(self, failure: PeerFault | DeadlineExceeded) -> None:
        """End the session: whoever waits, or will, gets `failure`."""
        if self.failure is None:
            self.failure = failure
            for waiter in list(self._waiters):
                waiter.fail(_again(failure))

    def close(self) -> None:
        """Free everything; messages of this session that still come are dropped silently."""
        if self.closed:
            return
        self.closed = True
        self.abort(PeerGone(None, "the session is closed"))
        for inbox in (*self._inboxes.values(), *self._early_inboxes.values()):
            inbox.close()
        self._out.clear()
        self._mesh.forget(self)
        for channel in self._channels.values():
            channel.sessions.discard(self)
            channel.close_if_drained()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------- what transports use

    def check(self) -> None:
        """Raise the session's failure if it has one."""
        if self.failure is not None:
            raise _again(self.failure)

    def enter(self, waiter: Waiter, role: Role, expect: Mapping[Role, int], send: Mapping[Role, Buffer]) -> None:
        """An exchange begins."""
        self._waiters[waiter] = (role, expect, send)

    def leave(self, waiter: Waiter) -> None:
        """An exchange is over."""
        del self._waiters[waiter]

    def inbox(self, source: Role, target: Role) -> Inbox:
        """Where messages from `source` to our role `target` arrive."""
        inbox = self._inboxes.get((source, target))
        return inbox if inbox is not None else self._open_inbox(source, target)

    def _open_inbox(self, source: Role, target: Role) -> Inbox:
        party = self.places.get(source)
        if party is None or source == target:
            raise Bug(f"{source} sends nothing to {target} in this session")
        if party == self._us:
            inbox = Inbox(source, target)
            inbox.attach(lambda limit: self.out_link(source, target).raise_limit(limit))
        else:
            name = Link(self.tag, source, target)
            inbox = self._early_inboxes.pop(name) if name in self._early_inboxes else Inbox(source, target)
            channel = self._channels[party]

            def announce(limit: int) -> None:
                channel.post_window(name, limit)
                channel.pump()

            inbox.attach(announce)
        self._inboxes[source, target] = inbox
        return inbox

    def out_link(self, source: Role, target: Role) -> OutLink:
        """The link from our role `source` to `target`."""
        link = self._out.get((source, target))
        return link if link is not None else self._open_out(source, target)

    def _open_out(self, source: Role, target: Role) -> OutLink:
        party = self.places.get(target)
        if party is None or source == target:
            raise Bug(f"{source} sends nothing to {target} in this session")
        name = Link(self.tag, source, target)
        if party == self._us:
            link = OutLink(name, None, self.inbox(source, target))
        else:
            link = OutLink(name, self._channels[party], None)
            link.window.raise_to(self._early_limits.pop(name, 0))
        self._out[source, target] = link
        return link

    def malformed(self, source: Role, step: Step | None, why: str) -> PeerMalformed:
        """The peer that plays `source` broke the rules: end the session."""
        party = self.places[source]
        where = "" if step is None else f" at step {step}"
        failure = PeerMalformed(party, f"party {party} ({source}) broke the protocol{where}: {why}")
        self.abort(failure)
        return failure

    # -------------------------------------------------------------------------------------------- what peers use

    def raise_limit(self, party: PartyId, name: Link, limit: int) -> None:
        """`party` announced a new limit for what we send on the link `name`."""
        if self.places.get(name.sender) == self._us and self.places.get(name.receiver) == party and not self.closed:
            self.out_link(name.sender, name.receiver).raise_limit(limit)

    def inbox_from(self, party: PartyId, name: Link) -> Inbox | None:
        """Where `party` may send on the link `name`; None if it may not."""
        if self.places.get(name.receiver) == self._us and self.places.get(name.sender) == party:
            return self.inbox(name.sender, name.receiver)
        return None

    def channel_lost(self, channel: Channel, failure: PeerFault) -> None:
        """A channel that this session is bound to is gone."""
        self.abort(type(failure)(channel.party, f"the channel to party {channel.party} was lost: {failure}"))

    def look_at_clock(self, now: float) -> None:
        """Called regularly: end exchanges that have not moved for a round's time, and the session at its deadline."""
        if now > self._deadline:
            waiting = "; ".join(self._missing(waiter) for waiter in self._waiters)
            text = f"the session's {self._session_seconds:g} seconds are over"
            self.abort(DeadlineExceeded(f"{text} ({waiting})" if waiting else text))
            return
        for waiter in list(self._waiters):
            if waiter.moved or self._bytes_come(waiter):
                waiter.moved = False
                waiter.deadline = now + self._round_seconds
            elif now > waiter.deadline:
                party = self._silent_party(waiter)
                self.abort(PeerGone(party, f"silent for {self._round_seconds:g} seconds: {self._missing(waiter)}"))
                return
        self._received = {party: channel.wire_bytes_received for party, channel in self._channels.items()}

    def _bytes_come(self, waiter: Waiter) -> bool:
        """Whether a message that has begun may have grown since the last look."""
        role, expect, _ = self._waiters[waiter]
        tag = step_hash(waiter.step)
        for source in expect:
            channel = self._channels.get(self.places[source])
            if channel is None or self.inbox(source, role).state_of(tag) is not SlotState.STARTED:
                continue
            if channel.wire_bytes_received - self._received.get(channel.party, 0) > _TRICKLE_BYTES:
                return True
        return False

    def _silent(self, waiter: Waiter) -> Role | None:
        """The first role that keeps `waiter` waiting: one that did not send, else one that does not take."""
        role, expect, send = self._waiters[waiter]
        tag = step_hash(waiter.step)
        for source in expect:
            if self.inbox(source, role).state_of(tag) is not SlotState.COMPLETE:
                return source
        return next(iter(send), None)

    def _silent_party(self, waiter: Waiter) -> PartyId | None:
        role = self._silent(waiter)
        return None if role is None else self.places[role]

    def _missing(self, waiter: Waiter) -> str:
        silent = self._silent(waiter)
        party = "" if silent is None else f"party {self.places[silent]} ({silent})"
        return f"waiting at step {waiter.step} for {party}"


def _again(failure: PeerFault | DeadlineExceeded) -> PeerFault | DeadlineExceeded:
    """A fresh exception equal to `failure`: one object must not be raised in two tasks."""
    if isinstance(failure, PeerFault):
        return type(failure)(failure.party, str(failure))
    return DeadlineExceeded(str(failure))
