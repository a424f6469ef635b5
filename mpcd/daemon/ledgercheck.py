"""The whole ledger, checked at every start before the daemon serves (layer 13).

A check reads on a connection of its own in a thread of its own.  A ledger that is so long that a start would have to
wait is checked while the daemon serves; a fault that is found then stops it all the same.
"""

from __future__ import annotations

from typing import Final, Literal

import structlog
import trio

from mpcd import limits
from mpcd.errors import LedgerInvalid
from mpcd.store.store import Store

LedgerState = Literal["good", "being checked", "broken"]
_LOG: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("mpcd.ledger")


class LedgerCheck:
    """The check of one start, and what is known of the ledger since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done = trio.Event()

    @property
    def state(self) -> LedgerState:
        """For `status`; `broken` also if an append has found another hand in the ledger."""
        if self._store.broken is not None:
            return "broken"
        return "good" if self._done.is_set() else "being checked"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Check once; started when that is done, or would keep the start waiting too long.

        Raises:
            LedgerInvalid: names the first bad entry; the store does no more work.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check)
            with trio.move_on_after(limits.LEDGER_CHECK_WAIT_SECONDS_MAX):
                await self._done.wait()
            task_status.started()

    async def _check(self) -> None:
        try:
            report = await trio.to_thread.run_sync(self._store.verify_ledger, abandon_on_cancel=True)
        except LedgerInvalid as error:
            self._store.distrust(str(error))
            _LOG.critical("ledger_broken", code=error.code, reason=str(error))
            raise
        self._done.set()
        _LOG.info("ledger_good", entries=report.head.count)
