"""How often one local user may call what makes us ask our peers (layer 13, pure: the clock is an argument).

A peer answers only so many of our questions.  Without a bound here, any user of the API socket could use them up for
everybody on this host.  Administrators are not counted.
"""

from __future__ import annotations

from collections import OrderedDict

from mpcd import limits
from mpcd.errors import Busy
from mpcd.session.questions import Allowance


class Callers:
    """The allowances of all local users."""

    def __init__(self) -> None:
        self._allowances: OrderedDict[int, Allowance] = OrderedDict()

    def admit(self, uid: int, now: float) -> None:
        """Take one call from the allowance of `uid`.

        Args:
            uid: of the caller, as the kernel says.
            now: monotonic seconds.

        Raises:
            Busy: nothing is left just now.
        """
        allowance = self._allowances.pop(uid, None)
        if allowance is None:
            allowance = Allowance(limits.CALLER_VERBS_BURST_MAX, limits.CALLER_VERBS_PER_SECOND_MAX, since=now)
        self._allowances[uid] = allowance
        while len(self._allowances) > limits.CALLERS_MAX:
            self._allowances.popitem(last=False)
        if not allowance.admit(now):
            raise Busy("too many calls of this user in a short time; ask again in a moment")
