"""Flow control: what may start, and when a new limit is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpcd import limits
from mpcd.net.windows import MESSAGE_CHARGE_BYTES, ReceiveWindow, SendWindow

EARLY = limits.LINK_EARLY_BYTES_MAX
WINDOW = limits.LINK_WINDOW_BYTES_MAX


def test_a_message_starts_only_if_all_of_it_fits() -> None:
    window = SendWindow(1000)
    assert window.take(1000 - MESSAGE_CHARGE_BYTES)
    assert not window.take(0)
    window.raise_to(1000 + MESSAGE_CHARGE_BYTES)
    assert window.take(0)


def test_limits_only_grow() -> None:
    window = SendWindow(1000)
    window.raise_to(500)
    assert window.limit == 1000


def test_empty_messages_are_bounded_too() -> None:
    window = ReceiveWindow()
    count = 0
    while window.start(0):
        count += 1
    assert count == EARLY // MESSAGE_CHARGE_BYTES


def test_small_rounds_need_no_new_limit() -> None:
    window = ReceiveWindow()
    assert all(window.ask(8) is None for _ in range(400))


def test_a_message_beyond_the_window_has_leave_once_it_is_asked_for() -> None:
    sender, receiver = SendWindow(), ReceiveWindow()
    large = 5 * WINDOW
    assert not sender.take(large)
    limit = receiver.ask(large)
    assert limit is not None
    sender.raise_to(limit)
    assert sender.take(large)
    assert receiver.start(large)


def test_a_sender_that_ignores_the_limit_is_noticed() -> None:
    assert not ReceiveWindow().start(EARLY)


@given(st.lists(st.one_of(st.integers(0, 2000), st.integers(0, 3 * WINDOW)), max_size=60), st.randoms())
def test_nothing_deadlocks_and_nothing_is_held_beyond_a_window(sizes: list[int], rng: object) -> None:
    # succeeds if every message both sent and asked for passes, in order; fails if the sender stays stuck at the end,
    # if the receiver refuses an honest message, or if more than a window lies with a receiver that did not ask
    sender, receiver = SendWindow(), ReceiveWindow()
    to_send, to_ask = list(sizes), list(sizes)
    asked = started = 0
    while to_send or to_ask:
        progress = False
        if to_ask and rng.random() < 0.5:  # type: ignore[attr-defined]
            asked += to_ask[0] + MESSAGE_CHARGE_BYTES
            limit = receiver.ask(to_ask.pop(0))
            if limit is not None:
                sender.raise_to(limit)
            progress = True
        while to_send and sender.take(to_send[0]):
            size = to_send.pop(0)
            assert receiver.start(size)
            started += size + MESSAGE_CHARGE_BYTES
            progress = True
        assert started - asked <= WINDOW
        assert progress or to_ask, "stuck with everything asked for"
