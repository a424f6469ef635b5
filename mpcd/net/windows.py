"""Flow control of one direction of one link, counted in whole messages (pure).

A *link* is the path from one role of one party to one role of another in one session, and each direction of each
link has a window of its own: a window that roles shared would deadlock as soon as input data filled it and a
multiplication waited behind.

Both ends count the bytes of the messages *started*, plus a fixed charge per message that bounds how many empty
messages a peer may leave with us.  The receiver announces a limit that only grows; a message may start if the whole
of it stays below the limit, so a message once begun never stalls half-way.  The limit is what was taken and what is
being waited for, plus the window:

* small messages and the next message after a large one travel without waiting for anything;
* a message larger than the window waits until its receiver has asked for it, and then goes straight into its place;
* nobody can make us hold more than `LINK_EARLY_BYTES_MAX` before we have asked once, and one window afterwards.

Rejected: credit returned when a message is consumed (costs half a round trip at each large message), and one window
per session or per channel (deadlocks, see above).
"""

from __future__ import annotations

from mpcd import limits

MESSAGE_CHARGE_BYTES = 64
"""What a message counts beside its payload."""


class SendWindow:
    """The sender's end: may the next message start?"""

    __slots__ = ("limit", "started")

    def __init__(self, initial_bytes: int = limits.LINK_EARLY_BYTES_MAX) -> None:
        self.limit = initial_bytes
        self.started = 0

    def take(self, payload_bytes: int) -> bool:
        """Start a message of `payload_bytes` if all of it fits."""
        started = self.started + payload_bytes + MESSAGE_CHARGE_BYTES
        if started > self.limit:
            return False
        self.started = started
        return True

    def raise_to(self, limit: int) -> None:
        """The receiver announced a new limit; limits only grow, so that announcements may overtake one another."""
        self.limit = max(self.limit, limit)


class ReceiveWindow:
    """The receiver's end: was the sender allowed to start, and is a new limit due?"""

    __slots__ = ("_asked", "_low_water", "_size", "granted", "started")

    def __init__(
        self, size_bytes: int = limits.LINK_WINDOW_BYTES_MAX, initial_bytes: int = limits.LINK_EARLY_BYTES_MAX
    ) -> None:
        assert 0 < initial_bytes <= size_bytes
        self.granted = initial_bytes
        self.started = 0
        self._asked = 0
        self._size = size_bytes
        self._low_water = initial_bytes // 2

    def start(self, payload_bytes: int) -> bool:
        """Count a message that the sender began; False if it had no leave to."""
        started = self.started + payload_bytes + MESSAGE_CHARGE_BYTES
        if started > self.granted:
            return False
        self.started = started
        return True

    def ask(self, payload_bytes: int) -> int | None:
        """Our role asks for a message: the new limit to announce, or None while there is room enough."""
        self._asked += payload_bytes + MESSAGE_CHARGE_BYTES
        if self.granted - self._asked >= self._low_water:
            return None
        self.granted = self._asked + self._size
        self._low_water = self._size // 2
        return self.granted
