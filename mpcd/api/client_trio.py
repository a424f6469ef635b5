"""The client under trio: the same flows as `client`, on a trio stream (layer 12)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio

from mpcd import limits
from mpcd.api import flow
from mpcd.api.client import NAME, RECEIVE_BYTES, SHELL, load_profile, need, unavailable
from mpcd.api.flow import PLAIN, Answer, Call, Conversation, Flow, OnEvent, Options
from mpcd.api.profile import Profile
from mpcd.api.transport import is_command
from mpcd.api.types import Map, Method, NodeInfo
from mpcd.errors import DaemonUnavailable, MpcdError, RequestInvalid

if TYPE_CHECKING:
    from mpcd.governance.quote import Line, Quote

T = TypeVar("T")


class TrioClient:
    """One connection to a daemon; made by `connect`."""

    def __init__(self, stream: trio.SocketStream, profile: Profile | None) -> None:
        self._stream = stream
        self._conversation = Conversation()
        self._lock = trio.Lock()
        self._node: NodeInfo | None = None
        self.profile = profile

    @property
    def node(self) -> NodeInfo:
        """Who the daemon is."""
        assert self._node is not None
        return self._node

    async def greet(self, name: str) -> None:
        """Say Hello; `connect` does."""
        self._node = await self._run(flow.hello(name))

    async def describe(self) -> Map:
        """See `Client.describe`."""
        return await self._run(flow.describe(self.profile, SHELL))

    async def explain(self, sql: str, options: Options = PLAIN) -> Map:
        """See `Client.explain`."""
        return await self._run(flow.explain(need(self.profile), self.node, sql, SHELL, options))

    async def quote(self, sql: str, options: Options = PLAIN) -> tuple[Quote, tuple[Line, ...], Map]:
        """See `Client.quote`."""
        return await self._run(flow.quote(need(self.profile), self.node, sql, SHELL, options))

    async def sql(self, sql: str, on_event: OnEvent | None = None, options: Options = PLAIN) -> Answer:
        """See `Client.sql`."""
        return await self._run(flow.sql(need(self.profile), self.node, sql, SHELL, on_event, options))

    async def call(self, method: Method | str, params: Map | None = None) -> Map:
        """Any method of the API."""
        return await self._run(flow.simple(method, params))

    async def _run(self, steps: Flow[T]) -> T:
        with contextlib.closing(steps):
            async with self._lock:
                try:
                    call = next(steps)
                    while True:
                        try:
                            result = await self._call(call)
                        except MpcdError as error:
                            call = steps.throw(error)
                        else:
                            call = steps.send(result)
                except StopIteration as stop:
                    value: T = stop.value
                    return value

    async def _call(self, call: Call) -> Map:
        try:
            with trio.fail_after(limits.API_CLIENT_SECONDS_MAX):
                await self._stream.send_all(self._conversation.start(call))
                while True:
                    result = self._conversation.receive(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
                    if result is not None:
                        return result
        except trio.TooSlowError as error:
            raise DaemonUnavailable("The daemon did not answer in time; see its log, then try again.") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DaemonUnavailable("The connection to the daemon broke; see its log, then try again.") from error


@asynccontextmanager
async def connect(
    path: Path | str | None = None, profile: Profile | Path | str | None = None, *, name: str = NAME
) -> AsyncIterator[TrioClient]:
    """Connect and greet; arguments and errors as of `Client.connect`."""
    found = load_profile(profile) if path is None or profile is not None else None
    if path is None:
        assert found is not None
        path = found.address
    if is_command(str(path)):
        raise RequestInvalid("This client speaks to sockets of its own host; `mpcd.api.client` also goes through ssh.")
    target = Path(path)
    try:
        stream = await trio.open_unix_socket(str(target))
    except OSError as error:
        raise unavailable(target, error) from error
    async with stream:
        client = TrioClient(stream, found)
        await client.greet(name)
        yield client
