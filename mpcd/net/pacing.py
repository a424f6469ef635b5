"""How often we try, and how often we let others try (pure: the clock and the random source are arguments).

`Backoff` spaces our own dials: the pause doubles up to a bound, and jitter keeps the hospitals of a consortium from
dialling in step after a common outage.  `TokenBuckets` and `HalfOpen` bound what anybody can make our listener do
before a handshake is complete: so many attempts per address, so many at once over all addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from mpcd import limits


class Backoff:
    """Pauses between dials: exponential, with jitter between half and the whole of each pause."""

    def __init__(self, random_unit: Callable[[], float], first_seconds: float, seconds_max: float) -> None:
        assert 0.0 < first_seconds <= seconds_max
        self._random_unit = random_unit
        self._first = first_seconds
        self._max = seconds_max
        self._pause = first_seconds

    def next_seconds(self) -> float:
        """How long to wait before the next dial."""
        pause = self._pause
        self._pause = min(self._max, 2.0 * pause)
        return pause * (0.5 + 0.5 * self._random_unit())

    def reset(self) -> None:
        """A dial succeeded: start again with the shortest pause."""
        self._pause = self._first


class TokenBuckets:
    """At most `burst` handshakes at once per address, refilled at `per_second`."""

    def __init__(
        self,
        burst: int = limits.HANDSHAKES_PER_ADDRESS_BURST_MAX,
        per_second: float = limits.HANDSHAKES_PER_ADDRESS_PER_SECOND_MAX,
        addresses_max: int = limits.HANDSHAKE_ADDRESSES_MAX,
    ) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._addresses_max = addresses_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str, now: float) -> bool:
        """Take one token of `address`; False if it has none left.

        Args:
            address: the caller's address without its port.
            now: monotonic seconds.
        """
        tokens, since = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        admitted = tokens >= 1.0
        self._buckets[address] = (tokens - 1.0 if admitted else tokens, now)
        while len(self._buckets) > self._addresses_max:
            self._buckets.popitem(last=False)
        return admitted

    def __len__(self) -> int:
        return len(self._buckets)


class HalfOpen:
    """How many handshakes are under way, over all addresses."""

    def __init__(self, count_max: int = limits.HALF_OPEN_HANDSHAKES_MAX) -> None:
        self._count_max = count_max
        self.count = 0

    def enter(self) -> bool:
        """Claim a place; False if all are taken."""
        if self.count >= self._count_max:
            return False
        self.count += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        assert self.count > 0
        self.count -= 1
