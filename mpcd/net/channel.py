"""One encrypted channel: records over one TCP connection, in both directions.

Theory of operation.  A channel owns a non-blocking socket, a record writer and a record reader, each with one
preallocated buffer.

* *Out.*  What wants to leave is in one of two queues: `urgent` (control, windows, pings, close) and `messages`
  (session data, served in turn, so that a long vector does not hold up another session's short one).  `pump`
  encrypts records into the buffer and writes it with one `send`.  Whoever posts calls it, without a task switch: a
  small message is on the wire before the poster sleeps.  What the socket does not take at once, and what exceeds
  the poster's share, the writer task continues when the socket is writable.
* *In.*  The reader task receives whatever is there and decrypts record by record: bulk straight into the slot that
  the owner names, everything else into a scratch page.  It never waits for a consumer; what a peer may send ahead
  is bounded by windows.

Rejected: handing every message to the writer task (one task switch more per message), and reading records one by one
(up to half the speed at 16 KiB, by the prototype).

    opening --hello (dialler) or at once (listener)--> open --drain()--> draining --both closes--> closed
       any --failure, deadline, typed close, end of file--> closed

A channel ends orderly only by typed closes; the end of the stream without one is a truncation and counts as a loss.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import trio

from mpcd import limits
from mpcd.errors import PeerFault, PeerGone, PeerMalformed
from mpcd.ids import Role
from mpcd.net.hello import HELLO_BYTES, Hello, HelloInvalid
from mpcd.net.windows import ReceiveWindow, SendWindow
from mpcd.wire import (
    CONTROL,
    Assembler,
    CloseReason,
    Link,
    Outgoing,
    RecordReader,
    RecordType,
    RecordWriter,
    Route,
    StreamReader,
    StreamWriter,
    WireFailed,
    fragments,
    messages,
)
from mpcd.wire.control import Octets

if TYPE_CHECKING:
    from mpcd.net.handshake import Established
    from mpcd.net.inbox import Waiter
    from mpcd.net.recording import Recorder

_POSTER_BYTES: Final = 2**20
"""What one call of `pump` may write before the writer task takes over."""
_LARGE_BYTES: Final = 2**15
"""Messages above this are cut into several records and count as streams at the receiver."""
_STREAMS_MAX: Final = limits.STREAMS_UNFINISHED_MAX // 2
_PING_BYTES: Final = messages.PING_BYTES

CONTROL_LINK: Final = Link(bytes(messages.SESSION_PREFIX_BYTES), Role("input", 0), Role("input", 0))
"""Names the control messages' own window; no session has this prefix."""
_HALF_CLOSES: Final = (CloseReason.DONE, CloseReason.ROTATED, CloseReason.SUPERSEDED)
"""After these the other direction goes on until its sessions have left; after the others everything is over."""

HELLO_TYPE: Final = "channel.hello"
CONTROL.register(HELLO_TYPE, {"hello": Octets(HELLO_BYTES)}, bytes_max=HELLO_BYTES + 64)


class ChannelState(Enum):
    """Where in its life a channel is."""

    OPENING = "opening"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


class Sending:
    """One session message on its way out; its memory is the sending role's until the last byte is encrypted."""

    __slots__ = ("dropped", "outgoing", "waiter")

    def __init__(self, route: Route, data: memoryview, waiter: Waiter) -> None:
        self.outgoing = Outgoing(route, data)
        self.waiter = waiter
        self.dropped = False

    def drop(self) -> None:
        """The role waits no more: do not begin; what has begun goes on as zeros, to keep the stream in step."""
        if not self.outgoing.finished:
            self.dropped = True
            if self.outgoing.number is not None:
                self.outgoing.data = memoryview(bytes(len(self.outgoing.data)))


class ChannelOwner(Protocol):
    """What a channel asks of the peer that it belongs to; every call returns at once."""

    def confirmed(self, channel: Channel, hello: Hello) -> None:
        """The listener's first record is there."""

    def place(self, route: Route, total_bytes: int) -> memoryview:
        """Where a message that begins goes; a throw-away place if it may not come."""

    def arrived(self, route: Route) -> None:
        """A message is complete in its place."""

    def window_raised(self, link: Link, limit: int) -> None:
        """The peer announced a new limit for what we send on `link`."""

    def control_received(self, channel: Channel, encoded: bytes) -> None:
        """A whole control message arrived."""

    def closed(self, channel: Channel, failure: PeerFault | None) -> None:
        """The channel is gone: orderly if there is no failure."""


class Channel:
    """One connection with its ciphers; made from a finished handshake."""

    def __init__(self, sock: socket.socket, made: Established, owner: ChannelOwner, recorder: Recorder | None) -> None:
        self.party: Final = made.party
        self.hash: Final = made.hash
        self.we_dialled: Final = made.we_dialled
        self.state = ChannelState.OPENING
        self.hello = made.hello
        self.replaces = b""
        self.opened_at: Final = trio.current_time()
        self.last_received_at = self.opened_at
        self.wire_bytes_sent = made.bytes_sent
        self.wire_bytes_received = made.bytes_received
        self.sessions: set[object] = set()
        """The sessions bound to this channel, which end with it."""
        self.control_send: Final = SendWindow(limits.CONTROL_WINDOW_BYTES_MAX)
        self.control_receive: Final = ReceiveWindow(limits.CONTROL_WINDOW_BYTES_MAX, limits.CONTROL_WINDOW_BYTES_MAX)
        self.round_trip_seconds: float | None = None
        self.draining_since = 0.0
        self._drain_reason = CloseReason.DONE
        self._sock = sock
        self._owner = owner
        self._recorder = recorder
        self._writer = RecordWriter(made.send)
        self._stream_writer = StreamWriter(self._writer)
        self._reader = RecordReader(made.receive)
        self._stream_reader = StreamReader(owner.place)
        self._assembler = Assembler()
        self._urgent: deque[tuple[RecordType, bytes]] = deque()
        self._messages: deque[Sending] = deque()
        self._held: deque[Sending] = deque()
        self._streams = 0
        self._taken: memoryview | None = None
        self._backlog = False
        self._writer_task: trio.lowlevel.Task | None = None
        self._ping: tuple[bytes, float] | None = None
        self._pong_due: bytes | None = None
        self._closing: CloseReason | None = None
        self._close_received = False
        # the kernel's own socket buffers are best: larger ones fall out of the cache (more CPU in each of two runs)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -------------------------------------------------------------------------------------------- out

    def post_hello(self, hello: Hello) -> None:
        """The listener's first record, which confirms the channel to the dialler."""
        self.post_control(CONTROL.encode({"type": HELLO_TYPE, "hello": hello.encode()}))

    def post_control(self, encoded: bytes) -> None:
        """Queue one encoded control message; its room in the window is taken already."""
        self._urgent.extend((RecordType.CONTROL, fragment) for fragment in fragments(encoded))

    def post_window(self, link: Link, limit: int) -> None:
        """Queue the announcement of a new limit for what the peer sends on `link`."""
        self._urgent.append((RecordType.WINDOW, messages.encode_window(link, limit)))

    def post(self, message: Sending) -> None:
        """Queue a message of session data; its room in the link's window is taken already."""
        self._messages.append(message)

    def pump(self) -> None:
        """Encrypt and write what is queued, without waiting."""
        if self._backlog or self.state is ChannelState.CLOSED:
            return
        budget = _POSTER_BYTES
        while True:
            taken = self._taken
            if taken is None:
                if not self._fill():
                    return
                taken = self._writer.take()
            try:
                count = self._sock.send(taken)
            except BlockingIOError:
                self._taken = taken
                break
            except OSError as error:
                self.fail(PeerGone(self.party, f"the connection broke while sending ({_name(error)})"))
                return
            self.wire_bytes_sent += count
            if count < len(taken):
                self._taken = taken[count:]
            else:
                self._taken = None
                self._writer.sent()
            budget -= count
            if budget <= 0:
                break
        self._backlog = True
        self._wake_writer()

    def _fill(self) -> bool:
        """Encrypt queued records into the empty buffer; False if nothing was queued."""
        writer, urgent, waiting = self._writer, self._urgent, self._messages
        if self._pong_due is not None and not writer.closed:
            urgent.appendleft((RecordType.PONG, self._pong_due))
            self._pong_due = None
        while urgent and len(urgent[0][1]) <= writer.room:
            kind, payload = urgent.popleft()
            if self._recorder is not None:
                self._recorder.sent(self.party, kind.name, payload)
            writer.append(kind, payload)
        while waiting and not urgent and self._advance(waiting.popleft()):
            pass
        return writer.pending_bytes > 0

    def _advance(self, message: Sending) -> bool:
        """Encrypt as much of `message` as there is room for; False if the buffer is full now."""
        outgoing = message.outgoing
        fresh, large = outgoing.number is None, outgoing.total_bytes > _LARGE_BYTES
        if fresh and message.dropped:
            return True
        if fresh and large:
            if self._streams >= _STREAMS_MAX:
                self._held.append(message)
                return True
            self._streams += 1
        if not self._write_part(message):
            # its turn comes again when the others' parts are out
            self._messages.append(message)
            self._streams -= large and outgoing.number is None
            return False
        if large:
            self._streams -= 1
            if self._held:
                self._messages.append(self._held.popleft())
        if not message.dropped:
            message.waiter.one_done()
        return True

    def _write_part(self, message: Sending) -> bool:
        """Encrypt as much of `message` as there is room for; True if that was the last of it."""
        outgoing = message.outgoing
        before = outgoing.position
        finished = self._stream_writer.write(outgoing)
        message.waiter.moved = True
        if self._recorder is not None and outgoing.position > before:
            self._recorder.sent(self.party, RecordType.DATA.name, bytes(outgoing.data[before : outgoing.position]))
        return finished

    def _wake_writer(self) -> None:
        if self._writer_task is not None:
            task, self._writer_task = self._writer_task, None
            trio.lowlevel.reschedule(task)

    async def write(self) -> None:
        """The writer task: continue, whenever the socket is writable, what posters left."""
        while self.state is not ChannelState.CLOSED:
            if not self._backlog:
                await self._sleep_until_backlog()
                continue
            try:
                await trio.lowlevel.wait_writable(self._sock.fileno())
            except (trio.ClosedResourceError, OSError):
                return
            self._backlog = False
            self.pump()

    async def _sleep_until_backlog(self) -> None:
        self._writer_task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer_task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # -------------------------------------------------------------------------------------------- in

    async def read(self) -> None:
        """The reader task: until the channel is closed."""
        reader, sock, number = self._reader, self._sock, self._sock.fileno()
        while self.state is not ChannelState.CLOSED:
            try:
                await trio.lowlevel.wait_readable(number)
                count = sock.recv_into(reader.writable())
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                return
            except OSError as error:
                self.fail(PeerGone(self.party, f"the connection broke ({_name(error)})"))
                return
            self.wire_bytes_received += count
            if count == 0:
                self._end_of_stream()
                return
            self.last_received_at = trio.current_time()
            try:
                reader.received(count)
                self._consume()
            except (WireFailed, HelloInvalid) as error:
                self.refuse(str(error))
                return

    def _consume(self) -> None:
        """Decrypt all whole records of the buffer."""
        reader, feed = self._reader, self._stream_reader.feed
        while self.state is not ChannelState.CLOSED:
            following = reader.peek()
            if following is None:
                return
            kind = following[0]
            if kind in (RecordType.MESSAGE, RecordType.DATA, RecordType.RESUME):
                if self.state is ChannelState.OPENING:
                    raise WireFailed("the first record is not a hello")
                done = feed(reader)
                if done is not None:
                    self._owner.arrived(done[0])
                continue
            record = reader.read()
            assert record is not None
            self._record(*record)

    def _record(self, kind: RecordType, payload: memoryview) -> None:
        """One record that is not session data."""
        if self.state is ChannelState.OPENING and kind not in (RecordType.CONTROL, RecordType.CLOSE):
            raise WireFailed("the first record is not a hello")
        match kind:
            case RecordType.CONTROL:
                encoded = self._assembler.feed(payload)
                if encoded is not None:
                    self._control(encoded)
            case RecordType.WINDOW:
                self._window(*messages.decode_window(payload))
            case RecordType.PING:
                # one answer at most is due, or a peer that asks and never reads would fill our memory
                self._pong_due = messages.decode_ping(payload)
                self.pump()
            case RecordType.PONG:
                self._pong(messages.decode_ping(payload))
            case RecordType.CLOSE:
                self._close_record(messages.decode_close(payload))
            case RecordType.MESSAGE | RecordType.DATA | RecordType.RESUME:
                raise WireFailed("session data out of turn")

    def _window(self, link: Link, limit: int) -> None:
        if link != CONTROL_LINK:
            self._owner.window_raised(link, limit)
            return
        self.control_send.raise_to(limit)
        self._owner.window_raised(link, limit)

    def _control(self, encoded: bytes) -> None:
        if self.state is ChannelState.OPENING:
            message = CONTROL.decode(encoded)
            hello = message.get("hello")
            if message["type"] != HELLO_TYPE or not isinstance(hello, bytes):
                raise WireFailed("the first record is not a hello")
            self._owner.confirmed(self, Hello.decode(hello))
            return
        if not self.control_receive.start(len(encoded)):
            raise WireFailed("control messages beyond their window")
        self._owner.control_received(self, encoded)

    def control_handled(self, encoded_bytes: int) -> None:
        """A control message was handled: the peer may send that much more."""
        limit = self.control_receive.ask(encoded_bytes)
        if limit is not None and self.state is not ChannelState.CLOSED:
            self.post_window(CONTROL_LINK, limit)
            self.pump()

    # -------------------------------------------------------------------------------------------- life

    def _pong(self, token: bytes) -> None:
        if self._ping is None or token != self._ping[0]:
            raise WireFailed("a pong without its ping")
        self.round_trip_seconds = trio.current_time() - self._ping[1]
        self._ping = None

    def ping(self) -> None:
        """Ask whether the peer is there, unless an answer is still due."""
        if self._ping is None and self._closing is None:
            self._ping = (os.urandom(_PING_BYTES), trio.current_time())
            self._urgent.append((RecordType.PING, self._ping[0]))
            self.pump()

    def look_at_clock(self, now: float, *, opening: float, ping: float, silence: float, drain: float) -> None:
        """Called regularly: ask a silent peer, give up a dead one, finish a drained one."""
        silent = now - self.last_received_at
        if self.state is ChannelState.OPENING and now - self.opened_at > opening:
            self.fail(PeerGone(self.party, "the listener did not confirm the channel"))
        elif silent > silence:
            self.fail(PeerGone(self.party, f"nothing was heard for {silence:g} seconds"))
        elif self.state is ChannelState.DRAINING and now - self.draining_since > drain:
            self.fail(PeerGone(self.party, "sessions did not leave the old channel in time"))
        else:
            if silent > ping:
                self.ping()
            self.close_if_drained()
            self._finish_if_both_closed()

    def drain(self, reason: CloseReason) -> None:
        """No new session comes here; close with `reason` when the last one has left."""
        if self.state in (ChannelState.OPENING, ChannelState.OPEN):
            self.state = ChannelState.DRAINING
            self.draining_since = trio.current_time()
            self._drain_reason = reason
            self.close_if_drained()

    def close_if_drained(self) -> None:
        """While draining: say that we have nothing more to send as soon as that is so."""
        if self.state is ChannelState.DRAINING and not self.sessions and self._closing is None:
            self._post_close(self._drain_reason)
            self.pump()
            self._finish_if_both_closed()

    def _post_close(self, reason: CloseReason) -> None:
        self._closing = reason
        self._messages.clear()
        self._held.clear()
        self._urgent.append((RecordType.CLOSE, messages.encode_close(reason)))

    def _close_record(self, reason: CloseReason) -> None:
        self._close_received = True
        if reason not in _HALF_CLOSES:
            failure = PeerMalformed if reason is CloseReason.FAILED else PeerGone
            self.fail(failure(self.party, f"the peer closed the channel ({reason.name.lower()})"))
            return
        self.drain(reason)
        self._finish_if_both_closed()

    def _finish_if_both_closed(self) -> None:
        flushed = self._writer.closed and self._taken is None
        if self._close_received and flushed and self.state is not ChannelState.CLOSED:
            self._end(None)

    def _end_of_stream(self) -> None:
        if not self._close_received:
            self.fail(PeerGone(self.party, "the stream ended without a close (truncated)"))
        elif self.sessions:
            self.fail(PeerGone(self.party, "the peer left while sessions were still on the channel"))
        else:
            self._end(None)

    def refuse(self, why: str) -> None:
        """The peer sent what no honest peer sends: close."""
        self._say_close(CloseReason.FAILED)
        self.fail(PeerMalformed(self.party, f"unacceptable bytes on the channel: {why}"))

    def shut(self, reason: CloseReason = CloseReason.SHUTDOWN) -> None:
        """Close at once, with a typed close as far as the socket takes it."""
        self._say_close(reason)
        self.fail(PeerGone(self.party, f"this daemon closed the channel ({reason.name.lower()})"))

    def _say_close(self, reason: CloseReason) -> None:
        """Put a typed close behind what is encrypted already; nothing that is queued is sent any more."""
        if self._closing is None and self.state is not ChannelState.CLOSED:
            self._urgent.clear()
            self._post_close(reason)
            self._backlog = False
            self.pump()

    def fail(self, failure: PeerFault) -> None:
        """The channel is lost: `failure` says why, and ends the sessions on it."""
        self._end(failure)

    def _end(self, failure: PeerFault | None) -> None:
        if self.state is ChannelState.CLOSED:
            return
        self.state = ChannelState.CLOSED
        trio.lowlevel.notify_closing(self._sock.fileno())
        self._sock.close()
        self._messages.clear()
        self._held.clear()
        self._urgent.clear()
        self._taken = None
        self._wake_writer()
        self._owner.closed(self, failure)


def _name(error: OSError) -> str:
    """What the operating system calls an error, without addresses."""
    return error.strerror or type(error).__name__


@contextlib.contextmanager
def owned(sock: socket.socket) -> Iterator[socket.socket]:
    """Close the socket unless the block ends well."""
    try:
        yield sock
    except BaseException:
        sock.close()
        raise
