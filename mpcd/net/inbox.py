"""What arrives on one direction of one link: slots that bytes are decrypted into, whether asked for yet or not.

A *slot* is the place of one message.  If our role has asked (`Inbox.expect`), the slot is there before the message
and the channel decrypts straight into it; if the message comes first, it makes its own slot, as far as the window
allows, and the role finds it complete.  A message is named by its step, once: a second one of the same step,
another size than asked for and bytes beyond the window end the session.

A *waiter* is one call of `exchange` that sleeps until its last slot is full and its last byte to send is encrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import numpy as np
import outcome
import trio

from mpcd import limits
from mpcd.errors import Bug, MpcdError
from mpcd.ids import Role, Step
from mpcd.net.windows import ReceiveWindow

_EMPTY: Final = memoryview(bytearray(0))


class OutOfTurn(ValueError):
    """A message that the protocol does not allow here; the session ends with `PeerMalformed`."""


class Waiter:
    """One `exchange` under way."""

    __slots__ = ("_task", "deadline", "failure", "moved", "pending", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.pending = 0
        """Slots not full plus messages not yet encrypted."""
        self.moved = True
        """Bytes moved since the deadline was last set."""
        self.deadline = 0.0
        self.failure: MpcdError | None = None
        self._task: trio.lowlevel.Task | None = None

    def one_done(self) -> None:
        """One of the things waited for is there."""
        self.pending -= 1
        if self.pending == 0 and self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def fail(self, failure: MpcdError) -> None:
        """Wake the role with `failure`."""
        if self.failure is None:
            self.failure = failure
            if self._task is not None:
                task, self._task = self._task, None
                trio.lowlevel.reschedule(task, outcome.Error(failure))

    async def wait(self) -> None:
        """Sleep until everything is there; raises the failure if there is one."""
        if self.failure is not None:
            raise self.failure
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class SlotState(Enum):
    """How far a message has come."""

    EMPTY = "empty"
    STARTED = "started"
    COMPLETE = "complete"


class Slot:
    """The place of one message."""

    __slots__ = ("state", "total", "view", "waiter")

    def __init__(self, total: int) -> None:
        self.total = total
        self.state = SlotState.EMPTY
        self.waiter: Waiter | None = None
        # not zeroed: pages that a peer announces but never sends cost nothing
        self.view = np.empty(total, np.uint8).data if total else _EMPTY


class Inbox:
    """Messages from one role of a peer to one of our roles in one session."""

    __slots__ = ("_announce", "_seen", "_slots", "closed", "source", "target", "window")

    def __init__(self, source: Role, target: Role, announce: Callable[[int], None] | None = None) -> None:
        self.source = source
        self.target = target
        self.window = ReceiveWindow()
        self.closed = False
        self._announce = announce
        self._slots: dict[bytes, Slot] = {}
        self._seen: set[bytes] = set()

    def attach(self, announce: Callable[[int], None]) -> None:
        """The session is open now: new limits of the window go through `announce`."""
        self._announce = announce

    # -------------------------------------------------------------------------------------------- our role's side

    def expect(self, step: bytes, total: int, waiter: Waiter) -> Slot:
        """Ask for the message of `step`.

        Raises:
            OutOfTurn: it came already, and has another size.
        """
        assert self._announce is not None
        slot = self._slots.get(step)
        if slot is None:
            if step in self._seen:
                raise Bug(f"a step is used once: {waiter.step}")
            slot = self._slots[step] = Slot(total)
        elif slot.waiter is not None:
            raise Bug(f"a step is used once: {waiter.step}")
        elif slot.total != total:
            raise OutOfTurn(f"{slot.total} bytes where {total} were due")
        if slot.state is SlotState.COMPLETE:
            del self._slots[step]
        else:
            slot.waiter = waiter
            waiter.pending += 1
        limit = self.window.ask(total)
        if limit is not None:
            self._announce(limit)
        return slot

    def state_of(self, step: bytes) -> SlotState:
        """How far the message of `step`, which was asked for, has come."""
        slot = self._slots.get(step)
        return SlotState.COMPLETE if slot is None else slot.state

    # -------------------------------------------------------------------------------------------- the channel's side

    def place(self, step: bytes, total: int) -> memoryview:
        """A message of `step` begins: where it goes.

        Raises:
            OutOfTurn: it may not come now.
        """
        if step in self._seen:
            raise OutOfTurn("a second message of the same step")
        if total > limits.LINK_MESSAGE_BYTES_MAX or not self.window.start(total):
            raise OutOfTurn(f"{total} bytes beyond the window")
        slot = self._slots.get(step)
        if slot is None:
            slot = self._slots[step] = Slot(total)
        elif slot.total != total:
            raise OutOfTurn(f"{total} bytes where {slot.total} were due")
        self._seen.add(step)
        slot.state = SlotState.STARTED
        return slot.view

    def arrived(self, step: bytes) -> None:
        """The message of `step` is complete in its place."""
        slot = self._slots.get(step)
        if slot is None:
            return
        slot.state = SlotState.COMPLETE
        if slot.waiter is not None:
            del self._slots[step]
            slot.waiter.one_done()

    def close(self) -> None:
        """Free all slots; what comes later is dropped."""
        self.closed = True
        self._slots.clear()
        self._seen.clear()
