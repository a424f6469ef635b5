"""How often one key may have what it signs put on the record (layer 13, pure: the clock is an argument).

Every request that really was signed ends in an entry, whatever becomes of it, and a key costs nothing to make: without
a bound a stranger fills the disk.  An analyst whom the owner has accepted has an allowance of their own, generous,
since policies, licences and budgets bound them too.  All other keys together share one small allowance: however many
keys a stranger makes, the ledger grows by `limits.STRANGERS_PER_HOUR_MAX` entries an hour and no more.  Beyond it the
answer is `Busy`, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mpcd import limits
from mpcd.errors import Busy
from mpcd.identity import VerifyKey

_STRANGERS: Final = b""
_SECONDS_PER_HOUR: Final = 3600.0


@dataclass(slots=True)
class _Bucket:
    """An allowance that fills again at a steady rate."""

    most: float
    per_second: float
    left: float
    since: float

    def take(self, now: float) -> bool:
        self.left = min(self.most, self.left + max(0.0, now - self.since) * self.per_second)
        self.since = max(self.since, now)
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Rates:
    """The allowances of all keys at one owner.

    Args:
        is_accepted: whether the owner has accepted the key as an analyst.
    """

    def __init__(self, is_accepted: Callable[[VerifyKey], bool]) -> None:
        self._is_accepted = is_accepted
        self._buckets: dict[bytes, _Bucket] = {}

    def admit(self, key: VerifyKey, now: float) -> None:
        """Take one from the allowance of `key`, whose signature was checked.

        Args:
            key: that signed a request.
            now: seconds of a clock that never goes back.

        Raises:
            Busy: nothing is left just now; nothing is to be put on the record.
        """
        accepted = self._is_accepted(key)
        name = key.raw if accepted else _STRANGERS
        bucket = self._buckets.get(name)
        if bucket is None:
            self._forget(now)
            most = limits.REQUESTS_PER_KEY_BURST_MAX if accepted else limits.STRANGERS_BURST_MAX
            rate = limits.REQUESTS_PER_KEY_PER_HOUR_MAX if accepted else limits.STRANGERS_PER_HOUR_MAX
            bucket = self._buckets[name] = _Bucket(float(most), rate / _SECONDS_PER_HOUR, float(most), now)
        if not bucket.take(now):
            raise Busy("too many requests under this key in a short time; ask again later")

    def _forget(self, now: float) -> None:
        """Buckets that are full again say nothing: they go, so that there are no more than keys in use."""
        full = [name for name, b in self._buckets.items() if b.left + (now - b.since) * b.per_second >= b.most]
        for name in full:
            del self._buckets[name]
