"""Connections of local callers (layer 12, trio).

One task reads a connection and starts a task for each request, up to a limit; answers leave in the order in which
they are ready.  A watcher's events wait in a queue of their own: when it stays full for a while the watcher has
lagged, gets `mpc.Lagged` with the place to resume from, and nothing else of the connection suffers.  A caller that
does not read at all is cut off by the send deadline.

What the backend raises as `MpcdError` crosses with its code; anything else is logged here with a reference and
crosses as `mpc.Internal` with that reference alone.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog
import trio

from mpcd import limits
from mpcd.api import sockets
from mpcd.api.backend import Backend
from mpcd.api.envelope import Decoder, Message, Notification, Request, Response, encode
from mpcd.api.methods import METHODS
from mpcd.api.types import (
    API_VERSIONS,
    Caller,
    Event,
    Map,
    Method,
    Notice,
    error_to_map,
    internal_error_map,
)
from mpcd.errors import Lagged, LimitExceeded, MethodUnknown, MpcdError, NotAuthorised, RequestInvalid

_RECEIVE_BYTES: Final = 64 * 2**10
_LOG: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("mpcd.api")

SocketKind = Literal["api", "admin"]


@dataclass
class Counters:
    """What the metrics and `status` show of one socket."""

    connections: int = 0
    connections_refused: int = 0
    requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def note_error(self, code: str) -> None:
        """Count one answered error."""
        self.errors[code] = self.errors.get(code, 0) + 1


class ApiServer:
    """Serves one listening socket until cancelled.

    Args:
        backend: the daemon.
        kind: `admin` admits administrators only; on `api` everybody may call the methods of role `client`.
        admin_uids: administrators besides root and our own uid.
    """

    def __init__(self, backend: Backend, kind: SocketKind, admin_uids: Collection[int] = ()) -> None:
        self.counters = Counters()
        self._backend = backend
        self._kind: SocketKind = kind
        self._admin_uids = frozenset(admin_uids)

    async def serve(
        self, listener: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept callers on `listener`, for ever."""
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(self._connected, [accepting], handler_nursery=nursery)

    async def _connected(self, stream: trio.SocketStream) -> None:
        caller = sockets.caller_of(stream.socket, self._admin_uids)
        async with stream:
            connection = _Connection(stream, self._backend, caller, self.counters)
            if self.counters.connections >= limits.API_CONNECTIONS_MAX:
                self.counters.connections_refused += 1
                error = LimitExceeded(f"{limits.API_CONNECTIONS_MAX} connections are open on this socket.")
                await connection.close_with(error)
                return
            if self._kind == "admin" and not caller.is_admin:
                self.counters.connections_refused += 1
                await connection.close_with(NotAuthorised("Only administrators may use this socket."))
                return
            self.counters.connections += 1
            try:
                await connection.run()
            finally:
                self.counters.connections -= 1


class _Connection:
    """One caller."""

    def __init__(self, stream: trio.SocketStream, backend: Backend, caller: Caller, counters: Counters) -> None:
        self._stream = stream
        self._backend = backend
        self._caller = caller
        self._counters = counters
        self._send_lock = trio.Lock()
        self._in_flight: set[int] = set()
        self._greeted = False
        self._broken = False

    async def run(self) -> None:
        """Serve until the caller leaves, breaks the form, or stays idle."""
        decoder = Decoder.for_daemon()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    data = await self._receive()
                    if not data:
                        break
                    for message in decoder.feed(data):
                        self._accept(message, nursery.start_soon)
                nursery.cancel_scope.cancel()
        except* MpcdError as group:
            await self.close_with(_first(group))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            _LOG.debug("api_connection_lost", uid=self._caller.uid)

    async def close_with(self, error: MpcdError) -> None:
        """Tell the caller why, then close; a caller that does not listen is just closed."""
        self._counters.note_error(error.code)
        _LOG.info("api_connection_closed", uid=self._caller.uid, code=error.code)
        if self._broken:
            return
        try:
            await self._send(Notification(Notice.CLOSED, {"error": error_to_map(error)}))
        except (trio.BrokenResourceError, trio.ClosedResourceError, LimitExceeded):
            _LOG.debug("api_connection_lost", uid=self._caller.uid)

    async def _receive(self) -> bytes:
        while True:
            patience = limits.API_IDLE_SECONDS_MAX if self._greeted else limits.API_HELLO_SECONDS_MAX
            data: bytes | bytearray | None = None
            with trio.move_on_after(patience):
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            if data is not None:
                return bytes(data)
            if not self._greeted:
                raise LimitExceeded(f"No Hello within {limits.API_HELLO_SECONDS_MAX:g} seconds.")
            if not self._in_flight:
                raise LimitExceeded(f"Idle for {limits.API_IDLE_SECONDS_MAX:g} seconds.")

    def _accept(self, message: Message, start: Callable[..., None]) -> None:
        if not isinstance(message, Request):
            raise RequestInvalid("A client sends requests only: [0, msgid, method, [map]].")
        if message.msgid in self._in_flight:
            raise RequestInvalid("This msgid is still in flight; every open request needs its own.")
        if not self._greeted:
            if message.method != Method.HELLO:
                raise RequestInvalid("The first request of a connection must be mpc.v1.Hello.")
            self._greeted = True
        if len(self._in_flight) >= limits.API_REQUESTS_IN_FLIGHT_MAX:
            raise LimitExceeded(f"{limits.API_REQUESTS_IN_FLIGHT_MAX} requests of this connection are in flight.")
        self._in_flight.add(message.msgid)
        self._counters.requests += 1
        start(self._answer, message)

    async def _answer(self, request: Request) -> None:
        try:
            result = await self._call(request)
        except MpcdError as error:
            self._counters.note_error(error.code)
            response = Response(request.msgid, error_to_map(error), None)
        except Exception as error:  # noqa: BLE001  # the boundary: nothing unexpected may cross or end the daemon
            reference = secrets.token_hex(6)
            self._counters.note_error(MpcdError.code)
            _LOG.error("api_internal_error", reference=reference, method=request.method, exc_info=error)
            response = Response(request.msgid, internal_error_map(reference), None)
        else:
            response = Response(request.msgid, None, result)
        self._in_flight.discard(request.msgid)
        await self._send(response)

    async def _call(self, request: Request) -> Map:
        entry = METHODS.get(request.method)
        if entry is None:
            raise MethodUnknown("This daemon has no such method; Hello names its versions and features.")
        if entry.role == "admin" and not self._caller.is_admin:
            raise NotAuthorised(f"{request.method} is for administrators: root, the daemon's user, `admin_uids`.")
        entry.check(request.params)
        if request.method == Method.HELLO:
            return self._hello(request.params)
        if request.method == Method.WATCH:
            return await self._watch(request.params)
        assert entry.call is not None
        return await entry.call(self._backend, self._caller, request.params)

    def _hello(self, params: Map) -> Map:
        offered = params["versions"]
        assert isinstance(offered, list)
        common = [version for version in API_VERSIONS if version in offered]
        if not common:
            raise RequestInvalid(f"No common API version: this daemon speaks {list(API_VERSIONS)}.")
        return {
            "api_version": max(common),
            "node": self._backend.node_info().to_map(),
            "role": self._caller.role,
            "limits": {
                "request_bytes_max": limits.API_REQUEST_BYTES_MAX,
                "requests_in_flight_max": limits.API_REQUESTS_IN_FLIGHT_MAX,
                "sql_bytes_max": limits.SQL_BYTES_MAX,
                "cells_max": limits.CELLS_MAX,
            },
        }

    async def _watch(self, params: Map) -> Map:
        job, from_seq = params["job"], params.get("from_seq", 0)
        assert isinstance(job, str)
        assert isinstance(from_seq, int)
        send_queue, receive_queue = trio.open_memory_channel[Event](limits.API_WATCH_EVENTS_MAX)
        watcher = _Watcher(from_seq)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.forward, receive_queue, self._send)
            async with send_queue:
                try:
                    await self._follow(job, watcher, send_queue)
                except MpcdError as error:
                    watcher.error = error
        # The events that fitted into the queue have left by now; the answer comes after them.
        if watcher.error is not None:
            raise watcher.error
        if watcher.lagged:
            raise Lagged("This watcher did not read its events in time.", next_seq=watcher.next_seq)
        return {"next_seq": watcher.next_seq}

    async def _follow(self, job: str, watcher: _Watcher, queue: trio.MemorySendChannel[Event]) -> None:
        seq = watcher.next_seq
        while True:
            batch = await self._backend.watch(self._caller, job, seq)
            for event in batch.events:
                with trio.move_on_after(limits.API_WATCH_SECONDS_MAX) as patience:
                    await queue.send(event)
                if patience.cancelled_caught:
                    watcher.lagged = True
                    return
                seq = event.seq + 1
            if batch.over:
                return

    async def _send(self, message: Message) -> None:
        data = encode(message)
        if len(data) > limits.API_RESPONSE_BYTES_MAX:
            assert isinstance(message, Response)
            error = LimitExceeded(f"The answer has more than {limits.API_RESPONSE_BYTES_MAX} bytes; ask for less.")
            data = encode(Response(message.msgid, error_to_map(error), None))
        async with self._send_lock:
            # A send that is cut short leaves half a message behind: nothing may follow it.
            self._broken = True
            with trio.move_on_after(limits.API_SEND_SECONDS_MAX) as patience:
                await self._stream.send_all(data)
                self._broken = False
            if patience.cancelled_caught:
                raise LimitExceeded(f"The caller did not read for {limits.API_SEND_SECONDS_MAX:g} seconds.")


class _Watcher:
    """Where one `Watch` call stands."""

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.lagged = False
        self.error: MpcdError | None = None

    async def forward(
        self, queue: trio.MemoryReceiveChannel[Event], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Send what is queued, in order, until the queue is closed."""
        async for event in queue:
            await send(Notification(Notice.EVENT, event.to_map()))
            self.next_seq = event.seq + 1


def _first(group: BaseExceptionGroup[MpcdError]) -> MpcdError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MpcdError)
    return error
