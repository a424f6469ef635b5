"""Planning in a child that may be killed: the parser has seen text that was written to hurt it.

sqlglot takes exponential time on some short inputs and its memory is its own business, so it runs under a deadline and
an address-space limit.  The child's plan is data: `LogicalPlan.from_value` checks all of it again, here, against the
roster.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from mpcd import limits
from mpcd.errors import MpcdError, PlanInvalid, PlanUnsupported
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.sources.child import Child, ChildFailed, ChildSpec
from mpcd.sources.pool import Pool

_MODULE = "mpcd.sources.planner_child"
_ROSTERS_MAX = 4
"""Rosters that a child is given; a consortium that changes its roster more often gets a fresh child."""


class Planner:
    """SQL text to checked plans; one child plans at a time, a second is started if the first is busy."""

    def __init__(
        self,
        *,
        seconds_max: float = limits.PLAN_SECONDS_MAX,
        children_max: int = 2,
        module: str = _MODULE,
    ) -> None:
        """A planner whose first child starts with `run`, or with the first request.

        Args:
            seconds_max: deadline of one request, once a child is free for it.
            children_max: requests planned at the same time.
            module: what the children run; tests give one that misbehaves.
        """
        self._seconds_max = seconds_max
        self._pool = Pool(
            ChildSpec(module=module, memory_bytes_max=limits.PLAN_MEMORY_BYTES_MAX), size_max=children_max
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a child warm until cancelled."""
        await self._pool.run(task_status)

    async def plan(self, sql: str, roster: Roster, as_of: dt.date) -> LogicalPlan:
        """The plan of `sql`, checked.

        Raises:
            PlanInvalid, PlanUnsupported, RangeTooWide: as the planner says, with its message.
            PlanUnsupported: also if planning takes too long or too much memory.
            EngineFailed: the child could not be started, or answered nonsense.
        """
        if len(sql.encode()) > limits.SQL_BYTES_MAX:
            raise PlanInvalid(f"the request is longer than {limits.SQL_BYTES_MAX} bytes")
        digest = bytes(roster.hash())
        latest = trio.current_time() + self._seconds_max + limits.CHILD_START_SECONDS_MAX
        async with self._pool.borrow(latest) as child:
            value = await self._ask(child, sql, roster, digest, as_of)
            try:
                return LogicalPlan.from_value(value, roster)
            except MpcdError:
                raise child.distrust() from None

    async def _ask(self, child: Child, sql: str, roster: Roster, digest: bytes, as_of: dt.date) -> object:
        body: dict[str, object] = {"sql": sql, "roster": digest, "as_of": as_of.isoformat()}
        if digest not in child.known:
            body["value"] = roster.to_value()
        try:
            value = await child.call("plan", body, seconds=self._seconds_max)
        except ChildFailed as error:
            if error.reason in {"deadline", "closed", "error"}:
                raise PlanUnsupported(
                    "this request cannot be planned within the limits of time and memory; write it in a simpler way"
                ) from error
            raise
        child.known.add(digest)
        if len(child.known) >= _ROSTERS_MAX:
            child.retire()
        return value

    async def close(self) -> None:
        """End all children."""
        await self._pool.close()


@asynccontextmanager
async def open_planner() -> AsyncIterator[Planner]:
    """A planner with a warm child, for the length of a block."""
    planner = Planner()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(planner.run)
            yield planner
            nursery.cancel_scope.cancel()
    finally:
        await planner.close()
