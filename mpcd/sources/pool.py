r"""Warm children of one kind: borrowed for one request, replaced in the background.

    idle --borrow--> busy --give back--> idle        while it is usable and of the current generation
                          \--otherwise--> closed     and `run` starts another in the background

At most `size_max` children exist at once; a request beyond that waits for one, inside its own deadline.  `run` keeps
one idle child warm and retires those that were idle too long; without `run` everything still works, only colder.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from mpcd.sources.child import Child, ChildFailed, ChildSpec

_LOG = structlog.get_logger("mpcd.sources")
Prepare = Callable[[Child], Awaitable[None]]
_RESTART_SECONDS_MIN = 0.1
_RESTART_SECONDS_MAX = 10.0


class Pool:
    """Children that are alike: same module, same limits, same preparation."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        size_max: int = 1,
        prepare: Prepare | None = None,
        idle_seconds_max: float | None = None,
    ) -> None:
        """A pool that is empty until `run` or the first `borrow`.

        Args:
            spec: how each child is started.
            size_max: children at once.
            prepare: awaited once with each new child, before its first request.
            idle_seconds_max: idle children are closed after this; None keeps them.
        """
        assert size_max >= 1
        self._spec = spec
        self._prepare = prepare
        self._idle_seconds_max = idle_seconds_max
        self._places = trio.Semaphore(size_max)
        self._idle: list[tuple[Child, float]] = []
        self._generation = 0
        self._wanted = trio.Event()
        self._closed = False
        self.started = 0
        """Children started so far."""

    async def _start(self) -> Child:
        child = await Child.start(self._spec)
        self.started += 1
        if self._prepare is not None:
            try:
                await self._prepare(child)
            except BaseException:
                await child.close()
                raise
        return child

    @asynccontextmanager
    async def borrow(self, deadline: float = math.inf) -> AsyncIterator[Child]:
        """A warm child for one request.  It is closed, and replaced, if the request left it unusable.

        Raises:
            ChildFailed: no child was free, or none could be started, by `deadline` (trio's clock).
        """
        waiting = True
        with trio.move_on_at(deadline):
            await self._places.acquire()
            try:
                generation = self._generation
                child = await self._take()
            except BaseException:
                self._places.release()
                raise
            waiting = False
        if waiting:
            raise ChildFailed("deadline", self._spec.name)
        try:
            yield child
        finally:
            try:
                if not self._keep(child, generation):
                    await child.close()
                    self._wanted.set()
            finally:
                self._places.release()

    async def _take(self) -> Child:
        while self._idle:
            child, _ = self._idle.pop()
            if child.usable:
                return child
            await child.close()
        return await self._start()

    async def renew(self) -> None:
        """Close every idle child; those in use are closed when their request ends.  New ones are prepared anew."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for child, _ in idle:
            await child.close()
        self._wanted.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep one child warm until cancelled; the first is ready when `task_status` is told."""
        try:
            if not self._idle:
                async with self._places:
                    self._keep(await self._start(), self._generation)
            task_status.started()
            while True:
                with trio.move_on_after(self._idle_seconds_max or float("inf")) as idle_scope:
                    await self._wanted.wait()
                if idle_scope.cancelled_caught:
                    await self._retire()
                else:
                    self._wanted = trio.Event()
                    await self._warm()
        finally:
            await self.close()

    async def _warm(self) -> None:
        """One idle child, if there is a place for it; a start that fails is tried again, ever more slowly."""
        pause = _RESTART_SECONDS_MIN
        while not self._idle and self._places.value:
            try:
                async with self._places:
                    generation = self._generation
                    child = await self._start()
                    if not self._keep(child, generation):
                        await child.close()
            except ChildFailed:
                _LOG.warning("child_restart_delayed", child=self._spec.name, seconds=pause)
                await trio.sleep(pause)
                pause = min(2 * pause, _RESTART_SECONDS_MAX)

    def _keep(self, child: Child, generation: int) -> bool:
        """Put `child` among the idle ones if it may serve another request."""
        fit = child.usable and generation == self._generation and not self._closed
        if fit:
            self._idle.append((child, trio.current_time()))
        return fit

    async def _retire(self) -> None:
        """Close the children that nobody has used for `idle_seconds_max`."""
        assert self._idle_seconds_max is not None
        now = trio.current_time()
        old = [entry for entry in self._idle if now - entry[1] >= self._idle_seconds_max]
        self._idle = [entry for entry in self._idle if entry not in old]
        for child, _ in old:
            await child.close()

    async def close(self) -> None:
        """Close every idle child; a pool that is closed keeps none."""
        self._closed = True
        idle, self._idle = self._idle, []
        with trio.CancelScope(shield=True):
            for child, _ in idle:
                await child.close()
