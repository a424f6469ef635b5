"""Slots: asked for first or come first, each message once."""

from __future__ import annotations

import pytest

from mpcd import limits
from mpcd.errors import Bug
from mpcd.ids import Role, Step
from mpcd.net.inbox import Inbox, OutOfTurn, SlotState, Waiter

ONE, TWO = b"1" * 16, b"2" * 16


def make() -> tuple[Inbox, list[int]]:
    announced: list[int] = []
    inbox = Inbox(Role("compute", 1), Role("compute", 0))
    inbox.attach(announced.append)
    return inbox, announced


def deliver(inbox: Inbox, step: bytes, data: bytes) -> None:
    inbox.place(step, len(data))[:] = data
    inbox.arrived(step)


async def test_asked_for_first() -> None:
    inbox, _ = make()
    waiter = Waiter(Step("s"))
    slot = inbox.expect(ONE, 3, waiter)
    assert waiter.pending == 1
    assert inbox.state_of(ONE) is SlotState.EMPTY
    deliver(inbox, ONE, b"abc")
    assert waiter.pending == 0
    assert bytes(slot.view) == b"abc"
    assert inbox.state_of(ONE) is SlotState.COMPLETE


async def test_come_first() -> None:
    inbox, _ = make()
    deliver(inbox, ONE, b"abc")
    waiter = Waiter(Step("s"))
    assert bytes(inbox.expect(ONE, 3, waiter).view) == b"abc"
    assert waiter.pending == 0


async def test_half_come_then_asked_for() -> None:
    inbox, _ = make()
    view = inbox.place(ONE, 3)
    waiter = Waiter(Step("s"))
    inbox.expect(ONE, 3, waiter)
    assert inbox.state_of(ONE) is SlotState.STARTED
    view[:] = b"abc"
    inbox.arrived(ONE)
    assert waiter.pending == 0


async def test_empty_messages() -> None:
    inbox, _ = make()
    deliver(inbox, ONE, b"")
    waiter = Waiter(Step("s"))
    inbox.expect(ONE, 0, waiter)
    inbox.expect(TWO, 0, waiter)
    deliver(inbox, TWO, b"")
    assert waiter.pending == 0


async def test_another_size_than_asked_for() -> None:
    inbox, _ = make()
    inbox.expect(ONE, 3, Waiter(Step("s")))
    with pytest.raises(OutOfTurn, match="4 bytes where 3"):
        inbox.place(ONE, 4)
    inbox, _ = make()
    deliver(inbox, TWO, b"abcd")
    with pytest.raises(OutOfTurn, match="4 bytes where 3"):
        inbox.expect(TWO, 3, Waiter(Step("s")))


async def test_a_second_message_of_one_step_before_and_after_it_was_taken() -> None:
    inbox, _ = make()
    deliver(inbox, ONE, b"abc")
    with pytest.raises(OutOfTurn, match="second"):
        inbox.place(ONE, 3)
    inbox.expect(ONE, 3, Waiter(Step("s")))
    with pytest.raises(OutOfTurn, match="second"):
        inbox.place(ONE, 3)


async def test_our_own_second_use_of_a_step_is_a_bug() -> None:
    inbox, _ = make()
    inbox.expect(ONE, 3, Waiter(Step("s")))
    with pytest.raises(Bug):
        inbox.expect(ONE, 3, Waiter(Step("s")))
    deliver(inbox, ONE, b"abc")
    with pytest.raises(Bug):
        inbox.expect(ONE, 3, Waiter(Step("s")))


async def test_nobody_makes_us_hold_more_than_the_window() -> None:
    inbox, announced = make()
    with pytest.raises(OutOfTurn, match="beyond the window"):
        inbox.place(ONE, limits.LINK_EARLY_BYTES_MAX)
    assert announced == []
    inbox.expect(TWO, limits.LINK_EARLY_BYTES_MAX, Waiter(Step("s")))
    assert len(announced) == 1
    inbox.place(TWO, limits.LINK_EARLY_BYTES_MAX)


async def test_closed_slots_are_freed() -> None:
    inbox, _ = make()
    deliver(inbox, ONE, b"abc")
    inbox.close()
    assert inbox.closed
    assert inbox.state_of(ONE) is SlotState.COMPLETE
