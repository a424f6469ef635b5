"""The synchronous client: `flow` on a plain Unix socket, or through a command (layer 12).

with Client.connect() as client:
    answer = client.sql("SELECT COUNT(*) FROM gbsg2")
    print(answer.table, answer.info.security)
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from mpcd import limits
from mpcd.api import flow
from mpcd.api import profile as profiles
from mpcd.api.flow import PLAIN, Answer, Call, Conversation, Flow, OnEvent, Options, Shell
from mpcd.api.profile import Profile
from mpcd.api.transport import Connection, open_connection
from mpcd.api.types import Map, Method, NodeInfo
from mpcd.errors import DaemonUnavailable, MpcdError, RequestInvalid

if TYPE_CHECKING:
    from mpcd.governance.quote import Line, Quote

T = TypeVar("T")
NAME: Final = "mpcd-python"
RECEIVE_BYTES: Final = 256 * 2**10
SHELL: Final = Shell(time.time, os.urandom)


class Client:
    """One connection to a daemon; use it as a context manager."""

    def __init__(self, connection: Connection, profile: Profile | None, name: str = NAME) -> None:
        self._connection = connection
        self._conversation = Conversation()
        self.profile = profile
        self.node: NodeInfo = self._run(flow.hello(name))

    @classmethod
    def connect(
        cls,
        path: Path | str | None = None,
        profile: Profile | Path | str | None = None,
        *,
        name: str = NAME,
        seconds: float = limits.API_CLIENT_SECONDS_MAX,
    ) -> Self:
        """Connect and greet.

        Args:
            path: of the socket, or another address that `api.transport` knows; the profile's if None.
            profile: a profile or its directory; the default one (see `api.profile`) if both arguments are None.
            name: what the daemon may log this client as.
            seconds: how long to wait for each of the daemon's answers.

        Raises:
            ConfigurationInvalid: no profile is there.
            DaemonUnavailable: nobody answers.
        """
        if path is None or profile is not None:
            profile = load_profile(profile)
        target = path if path is not None else _address_of(profile)
        try:
            connection = open_connection(target, seconds)
        except OSError as error:
            raise unavailable(target, error) from error
        try:
            return cls(connection, profile, name)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave; a running job goes on."""
        self._connection.close()

    def describe(self) -> Map:
        """What can be asked, at all parties: `parties` as each said, `tables` as `api.catalogue` merges them."""
        return self._run(flow.describe(self.profile, SHELL))

    def explain(self, sql: str, options: Options = PLAIN) -> Map:
        """What `sql` would do, without running it; see `Backend.explain`."""
        return self._run(flow.explain(need(self.profile), self.node, sql, SHELL, options))

    def quote(self, sql: str, options: Options = PLAIN) -> tuple[Quote, tuple[Line, ...], Map]:
        """What `sql` would cost: see `flow.quote`."""
        return self._run(flow.quote(need(self.profile), self.node, sql, SHELL, options))

    def sql(self, sql: str, on_event: OnEvent | None = None, options: Options = PLAIN) -> Answer:
        """Ask, wait, verify: the finished table and what goes with it.

        Raises:
            Refused, PlanInvalid, PeerGone, ...: why there is no answer.
            ResultInvalid: what came back does not fit together and must not be used.
        """
        return self._run(flow.sql(need(self.profile), self.node, sql, SHELL, on_event, options))

    def call(self, method: Method | str, params: Map | None = None) -> Map:
        """Any method of the API."""
        return self._run(flow.simple(method, params))

    def _run(self, steps: Flow[T]) -> T:
        with contextlib.closing(steps):
            try:
                call = next(steps)
                while True:
                    try:
                        result = self._call(call)
                    except MpcdError as error:
                        call = steps.throw(error)
                    else:
                        call = steps.send(result)
            except StopIteration as stop:
                value: T = stop.value
                return value

    def _call(self, call: Call) -> Map:
        try:
            self._connection.send(self._conversation.start(call))
            while True:
                result = self._conversation.receive(self._connection.receive(RECEIVE_BYTES))
                if result is not None:
                    return result
        except OSError as error:
            raise unavailable(None, error) from error


def load_profile(profile: Profile | Path | str | None) -> Profile:
    """The profile itself, of that directory, or the default one."""
    if isinstance(profile, Profile):
        return profile
    explicit = None if profile is None else str(profile)
    return Profile.load(profiles.find(explicit, profiles.current_environment()))


def need(profile: Profile | None) -> Profile:
    """The profile, where a call cannot do without."""
    if profile is None:
        raise RequestInvalid("Requests are signed: connect with a profile.")
    return profile


def unavailable(path: Path | str | None, error: OSError) -> DaemonUnavailable:
    """What an operating system error on the socket means to the caller."""
    where = "" if path is None else f" on {path}"
    if isinstance(error, TimeoutError):
        return DaemonUnavailable(f"The daemon{where} did not answer in time; see its log, then try again.")
    if isinstance(error, PermissionError):
        return DaemonUnavailable(f"You may not use the daemon's socket{where}; ask its operator for the group.")
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return DaemonUnavailable(f"No daemon answers{where}; start it, or name its socket with --socket.")
    return DaemonUnavailable(f"The connection to the daemon{where} broke: {error.strerror}.")


def _address_of(profile: Profile | Path | str | None) -> str:
    assert isinstance(profile, Profile)
    return profile.address
