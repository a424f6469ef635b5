"""All roles of a session in one process and one thread, without an event loop: deterministic, counted, attackable.

Theory of operation.  Each role is a coroutine that suspends only in `LockstepTransport.exchange`.  A *sweep* runs every
role that can run until it waits; the messages of the sweep are then delivered, all at once.  Nothing is lost or
reordered by itself:

- every message sent must be one that its receiver awaits, with that step and exactly that size, once;
- when no role can run and some still wait, that is a deadlock;
- when all have ended and a message is left over, that is an error too.

Without an adversary the driver raises `Unmatched`, an AssertionError: a protocol is wrong.  With one it does what a
real network would: too long, too short, doubled or unexpected messages raise `PeerMalformed` in the receiver, missing
ones `PeerGone`.

The adversary is *rushing*: in each sweep it sees the honest messages to its own party before it decides what its party
sends, and it sees nothing that passes between honest parties.

Rounds are logical clocks: an exchange takes its role to one more than the latest of its own clock and those of the
messages it received (as sent); a session's rounds are the highest clock.  Bytes are payload bytes, by sending role.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

from mpcd.errors import MpcdError, PeerGone, PeerMalformed
from mpcd.field import Buffer
from mpcd.ids import Role, Step

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SWEEPS_MAX: Final = 100_000


class Unmatched(AssertionError):
    """The protocol under test sends what nobody awaits, or awaits what nobody sends."""


@dataclass(slots=True)
class Message:
    """One message on its way; an adversary may change the payload of its own party's."""

    step: str
    sender: Role
    receiver: Role
    payload: bytes
    clock: int = 0


class Adversary(Protocol):
    """Chooses what one corrupt party sends."""

    role: Role

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """The messages that the corrupt party really sends in this sweep.

        Args:
            sweep: number of the sweep, from 0.
            ours: what an honest party in its place would send now.
            seen: the honest parties' messages to it in this sweep.
        """


@dataclass(slots=True)
class _Request:
    step: str
    expect: Mapping[Role, int]
    clock: int


class _Suspend:
    """Hands a request to the driver and returns what the driver sends back."""

    __slots__ = ("request",)

    def __init__(self, request: _Request) -> None:
        self.request = request

    def __await__(self) -> Generator[_Request, dict[Role, Buffer], dict[Role, Buffer]]:
        return (yield self.request)


class LockstepTransport:
    """The `protocols.context.Transport` of one role in a `Lockstep`."""

    __slots__ = ("_driver", "clock", "role")

    def __init__(self, driver: Lockstep, role: Role) -> None:
        self._driver = driver
        self.role = role
        self.clock = 0

    async def exchange(self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]) -> dict[Role, Buffer]:
        """Post the messages and wait for the expected ones."""
        clock = self.clock + 1
        for receiver, payload in send.items():
            self._driver.post(Message(step, self.role, receiver, bytes(payload), clock))
        self.clock = clock
        return await _Suspend(_Request(step, dict(expect), clock))

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        """At once."""
        return kernel(*args)


@dataclass(slots=True)
class _Task:
    role: Role
    coroutine: Coroutine[Any, Any, Any]
    transport: LockstepTransport
    waiting: _Request | None = None
    done: bool = False
    result: object = None
    error: MpcdError | None = None
    fault: MpcdError | None = None
    finished: set[tuple[str, Role]] = field(default_factory=set)


class Lockstep:
    """One session of coroutines; `add` every role, then `run` once."""

    def __init__(self, adversary: Adversary | None = None) -> None:
        self.adversary = adversary
        self.transcript: list[Message] = []
        """Every message as sent, in order of sending."""
        self._tasks: dict[Role, _Task] = {}
        self._outgoing: list[Message] = []
        self._mailbox: dict[tuple[Role, str, Role], list[Message]] = {}

    # ---------------------------------------------------------------------------------------- set up

    def transport(self, role: Role) -> LockstepTransport:
        """The transport of a role, to build its context with."""
        return LockstepTransport(self, role)

    def add(self, transport: LockstepTransport, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run `coroutine` as the role of `transport`."""
        assert transport.role not in self._tasks
        self._tasks[transport.role] = _Task(transport.role, coroutine, transport)

    def post(self, message: Message) -> None:
        """For `LockstepTransport`: a message of this sweep."""
        self._outgoing.append(message)

    # ---------------------------------------------------------------------------------------- results

    @property
    def rounds(self) -> int:
        """The highest clock."""
        return max((task.transport.clock for task in self._tasks.values()), default=0)

    def bytes_sent(self, role: Role) -> int:
        """Payload bytes that a role sent."""
        return sum(len(message.payload) for message in self.transcript if message.sender == role)

    def results(self) -> dict[Role, object]:
        """What each role that ended without an error returned."""
        return {role: task.result for role, task in self._tasks.items() if task.done and task.error is None}

    def errors(self) -> dict[Role, MpcdError]:
        """The error that ended each role that did not return."""
        return {role: task.error for role, task in self._tasks.items() if task.error is not None}

    # ---------------------------------------------------------------------------------------- the driver

    def run(self) -> None:
        """Run all roles to their ends.

        Raises:
            Unmatched: without an adversary, if the roles' messages do not match.
            MpcdError: without an adversary, the first role's error.
        """
        try:
            for task in self._tasks.values():
                self._resume(task, None)
            for sweep in range(SWEEPS_MAX):
                self._deliver(sweep)
                if all(task.done for task in self._tasks.values()):
                    break
                if not self._advance():
                    self._break_deadlock()
            else:
                raise Unmatched(f"not ended after {SWEEPS_MAX} sweeps")
            self._check_leftovers()
        finally:
            for task in self._tasks.values():
                task.coroutine.close()

    def _resume(self, task: _Task, value: dict[Role, Buffer] | None, error: MpcdError | None = None) -> None:
        """Run one role until it waits again or ends."""
        task.waiting = None
        try:
            request = task.coroutine.send(value) if error is None else task.coroutine.throw(error)
        except StopIteration as stop:
            task.done, task.result = True, stop.value
        except MpcdError as ending:
            task.done, task.error = True, ending
            if self.adversary is None:
                raise
        else:
            assert isinstance(request, _Request), "a protocol suspends only through its context"
            task.waiting = request

    def _deliver(self, sweep: int) -> None:
        """Let the adversary choose its party's messages, then put all into the mailboxes."""
        messages, self._outgoing = self._outgoing, []
        if self.adversary is not None:
            corrupt = self.adversary.role
            ours = [message for message in messages if message.sender == corrupt]
            seen = [message for message in messages if message.receiver == corrupt]
            honest = [message for message in messages if message.sender != corrupt]
            messages = honest + self.adversary.act(sweep, ours, seen)
        for message in messages:
            self.transcript.append(message)
            receiver = self._tasks.get(message.receiver)
            if receiver is None:
                raise Unmatched(f"{message.sender} sends to {message.receiver} at {message.step}, who is not there")
            if (message.step, message.sender) in receiver.finished:
                self._malformed(receiver, message, "a message that was not due")
            self._mailbox.setdefault((message.receiver, message.step, message.sender), []).append(message)

    def _malformed(self, receiver: _Task, message: Message, what: str) -> None:
        text = f"{message.sender} sent {what} to {message.receiver} at {message.step}"
        if self.adversary is None:
            raise Unmatched(text)
        if receiver.fault is None:
            receiver.fault = PeerMalformed(None, text)

    def _advance(self) -> bool:
        """Resume every role whose messages are all there; whether any was."""
        ready = [task for task in self._tasks.values() if task.waiting is not None and self._is_ready(task)]
        for task in ready:
            assert task.waiting is not None
            received = self._collect(task, task.waiting)
            self._resume(task, received, task.fault)
        return bool(ready)

    def _is_ready(self, task: _Task) -> bool:
        assert task.waiting is not None
        step = task.waiting.step
        return task.fault is not None or all(
            self._mailbox.get((task.role, step, sender)) for sender in task.waiting.expect
        )

    def _collect(self, task: _Task, request: _Request) -> dict[Role, Buffer]:
        """Take the awaited messages out of the mailbox, checking number and size."""
        received: dict[Role, Buffer] = {}
        for sender, size in request.expect.items():
            messages = self._mailbox.pop((task.role, request.step, sender), [])
            task.finished.add((request.step, sender))
            if not messages:
                continue
            if len(messages) > 1:
                self._malformed(task, messages[0], "a message twice")
            if len(messages[0].payload) != size:
                self._malformed(task, messages[0], f"{len(messages[0].payload)} bytes where {size} were due")
            received[sender] = memoryview(messages[0].payload)
            task.transport.clock = max(task.transport.clock, messages[0].clock)
        return received

    def _break_deadlock(self) -> None:
        """Nobody can run: a bug, or an adversary that keeps something back; then the waiting learn that it is gone."""
        waiting = [task for task in self._tasks.values() if task.waiting is not None]
        if self.adversary is None:
            lines = [f"{task.role} waits at {task.waiting.step}" for task in waiting if task.waiting is not None]
            raise Unmatched("deadlock: " + "; ".join(lines) + self._leftover_text())
        for task in waiting:
            assert task.waiting is not None
            missing = [s for s in task.waiting.expect if not self._mailbox.get((task.role, task.waiting.step, s))]
            error = PeerGone(None, f"nothing from {', '.join(map(str, missing))} at {task.waiting.step} in time")
            self._resume(task, None, error)

    def _leftover_text(self) -> str:
        kept = [f"{key[2]} -> {key[0]} at {key[1]}" for key, messages in self._mailbox.items() if messages]
        return f"; never awaited: {', '.join(kept)}" if kept else ""

    def _check_leftovers(self) -> None:
        if self.adversary is None and any(self._mailbox.values()):
            raise Unmatched("messages were left over" + self._leftover_text())
