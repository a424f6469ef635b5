"""How often one key may have what it signs put on the record (layer 13, pure: the clock is an argument).

Every request that really was signed ends in an entry, whatever becomes of it, and a key costs nothing to make: without
a bound a stranger fills the disk.  An analyst whom the owner has accepted has an allowance of their own, generous,
since policies, licences and budgets bound them too.  All other keys together share one small allowance: however many
keys a stranger makes, the ledger grows by `limits.STRANGERS_PER_HOUR_MAX` entries an hour and no more.  Beyond it the
answer is `Busy`, and nothing is written.

An owner's policy may give its analysts less (`[rate]`): an allowance of so many requests that fills again in an hour,
and one that fills again in a day.  A request takes one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mpcd import limits
from mpcd.errors import Busy
from mpcd.governance.budget import NO_RATE, RateLimit
from mpcd.identity import VerifyKey

_STRANGERS: Final = b""
_SECONDS_PER_HOUR: Final = 3600.0
_SECONDS_PER_DAY: Final = 86_400.0


@dataclass(slots=True)
class _Bucket:
    """An allowance that fills again at a steady rate."""

    most: float
    per_second: float
    left: float
    since: float

    def fill(self, now: float) -> bool:
        """Let the time since the last look fill it; whether something is left."""
        self.left = min(self.most, self.left + max(0.0, now - self.since) * self.per_second)
        self.since = max(self.since, now)
        return self.left >= 1.0


class Rates:
    """The allowances of all keys at one owner.

    Args:
        is_accepted: whether the owner has accepted the key as an analyst.
        policy: what the owner's policy gives one analyst, as it stands now.
    """

    def __init__(
        self, is_accepted: Callable[[VerifyKey], bool], policy: Callable[[], RateLimit] = lambda: NO_RATE
    ) -> None:
        self._is_accepted = is_accepted
        self._policy = policy
        self._buckets: dict[bytes, _Bucket] = {}

    def admit(self, key: VerifyKey, now: float) -> None:
        """Take one from the allowance of `key`, whose signature was checked.

        Args:
            key: that signed a request.
            now: seconds of a clock that never goes back.

        Raises:
            Busy: nothing is left just now; nothing is to be put on the record.
        """
        known = len(self._buckets)
        buckets = list(self._of_analyst(key, now) if self._is_accepted(key) else self._of_strangers(now))
        if not all(bucket.fill(now) for bucket in buckets):
            raise Busy("too many requests under this key in a short time; ask again later")
        for bucket in buckets:
            bucket.left -= 1.0
        if len(self._buckets) > known:
            self._forget(now)

    def _of_strangers(self, now: float) -> Iterator[_Bucket]:
        yield self._bucket(_STRANGERS, limits.STRANGERS_BURST_MAX, limits.STRANGERS_PER_HOUR_MAX, now)

    def _of_analyst(self, key: VerifyKey, now: float) -> Iterator[_Bucket]:
        policy = self._policy()
        yield self._bucket(key.raw, limits.REQUESTS_PER_KEY_BURST_MAX, limits.REQUESTS_PER_KEY_PER_HOUR_MAX, now)
        if policy.requests_per_hour is not None:
            yield self._bucket(key.raw + b"hour", policy.requests_per_hour, policy.requests_per_hour, now)
        if policy.requests_per_day is not None:
            hourly = policy.requests_per_day * _SECONDS_PER_HOUR / _SECONDS_PER_DAY
            yield self._bucket(key.raw + b"day", policy.requests_per_day, hourly, now)

    def _bucket(self, name: bytes, most: int, per_hour: float, now: float) -> _Bucket:
        """The bucket of that name; full at first, and when the policy gives another number than before."""
        bucket = self._buckets.get(name)
        if bucket is None or bucket.most != most:
            bucket = self._buckets[name] = _Bucket(float(most), per_hour / _SECONDS_PER_HOUR, float(most), now)
        return bucket

    def _forget(self, now: float) -> None:
        """Buckets that are full again say nothing: they go, so that there are no more than keys in use."""
        full = [name for name, b in self._buckets.items() if b.left + (now - b.since) * b.per_second >= b.most]
        for name in full:
            del self._buckets[name]
