"""DuckDB behind an owner's part of a session: a warm child per data version, one total statement per request.

    open(data, roster)     check the snapshots against the roster, then children that have them attached
    aggregate(plan, ...)   plan -> SQL (`generate_duckdb`) -> child -> dense integer arrays
    close()                all children gone

The parent believes of a child's answer only that it is a table of 64-bit integers of the right shape: cells outside the
plan, a cell twice, or a count that is negative or too large end the child.  A child that runs away is killed at its
deadline; the daemon and its other sessions do not notice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import trio

from mpcd import limits
from mpcd.compile.beside import Beside, Family
from mpcd.errors import EngineFailed
from mpcd.ids import DataVersion, PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.sources import sets
from mpcd.sources import tops as largest
from mpcd.sources.child import Child, ChildFailed, ChildSpec
from mpcd.sources.generate_duckdb import HALF, Output, Statement, TableRows, generate
from mpcd.sources.pool import Pool
from mpcd.sources.snapshot import DataSet

T = TypeVar("T")

Integers = npt.NDArray[np.int64]

_MODULE = "mpcd.sources.engine_child"
_ADDRESS_SPACE_FACTOR = 4
"""Address space per byte of DuckDB's memory limit: it reserves, maps and fragments more than it uses."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an operator may choose, in `mpcd.toml`."""

    memory_bytes: int = 2 * 2**30
    """DuckDB's own limit; the process is held to four times this address space."""
    threads: int = 2
    children_max: int = 2
    """Sessions whose local part runs at the same time; each child has its own memory and threads."""
    idle_seconds_max: float = limits.CHILD_IDLE_SECONDS_MAX
    seconds_max: float = limits.ENGINE_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """One owner's part, dense over the plan's cells (row-major over the keys); the owner's secret."""

    cohorts: Integers = field(repr=False)
    """Shape (cohorts, cells): persons (or rows, where a row is a person)."""
    values: tuple[Integers | list[int], ...] = field(repr=False)
    """Per value one integer per cell: an int64 array for a value of field "p", Python integers for one of "q"."""


class DuckdbEngine:
    """An owner's local engine; see the module's theory of operation."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        """An engine without data; `open` it before use."""
        self._settings = settings or EngineSettings()
        self._data: DataSet | None = None
        self._roster: Roster | None = None
        self._rows: dict[str, TableRows] = {}
        self._running: set[trio.CancelScope] = set()
        memory = min(self._settings.memory_bytes * _ADDRESS_SPACE_FACTOR, limits.ENGINE_MEMORY_BYTES_MAX)
        self._pool = Pool(
            ChildSpec(module=_MODULE, memory_bytes_max=memory),
            size_max=self._settings.children_max,
            prepare=self._attach,
            idle_seconds_max=self._settings.idle_seconds_max,
        )

    @property
    def data_version(self) -> DataVersion | None:
        """The version of what is open now."""
        return None if self._data is None else self._data.version

    async def open(self, data: DataSet, roster: Roster) -> None:
        """Answer from these snapshots from now on; requests that already run finish on the old ones.

        Raises:
            DataInvalid: a snapshot was imported under another definition of its table.
            EngineFailed: a snapshot cannot be opened.
        """
        data.check(table for table in roster.tables if table.name in data.manifests)
        same = self._data is not None and data.version == self._data.version and roster.hash() == self._roster_hash()
        self._data, self._roster = data, roster
        self._rows = {
            name: TableRows(f"t{index}", data.manifests[name].persons)
            for index, name in enumerate(sorted(data.manifests))
        }
        if not same:
            await self._pool.renew()
        async with self._pool.borrow():
            """A child has attached them: they can be opened."""

    def _roster_hash(self) -> bytes:
        return b"" if self._roster is None else self._roster.hash()

    async def _attach(self, child: Child) -> None:
        """Give a new child the current snapshots."""
        assert self._data is not None, "run() is for an engine that is open"
        tables = [[rows.catalog, str(self._data.paths[name])] for name, rows in self._rows.items()]
        settings = self._settings
        body = {"tables": tables, "memory_bytes": settings.memory_bytes, "threads": settings.threads}
        await child.call("open", body, seconds=limits.CHILD_START_SECONDS_MAX)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a child warm until cancelled; optional, and after `open`."""
        await self._pool.run(task_status)

    async def aggregate(
        self, plan: LogicalPlan, deadline: float | None = None, rows_per_person: int | None = None
    ) -> LocalAnswer:
        """This owner's cohorts and values, per cell.

        Args:
            plan: checked against the roster given to `open`.
            deadline: in trio's clock; never later than `seconds_max` from now.
            rows_per_person: how many rows of one person may count; None: all.

        Raises:
            EngineFailed: for every cause, with one text.
        """
        roster = self._roster
        if roster is None or not all(source.table in self._rows for source in plan.sources):
            raise EngineFailed("a table of this request is not published here; its operator must import and publish it")
        statement = generate(plan, roster, self._rows, self._settings.threads, rows_per_person)
        return await self._cancellable(deadline, lambda latest: self._ask(plan, statement, latest))

    async def _cancellable(self, deadline: float | None, work: Callable[[float], Awaitable[T]]) -> T:
        """Do `work`, given its latest end in trio's clock, unless `cancel` ends it."""
        latest = trio.current_time() + self._settings.seconds_max
        with trio.CancelScope() as scope:
            self._running.add(scope)
            try:
                return await work(latest if deadline is None else min(deadline, latest))
            finally:
                self._running.discard(scope)
        raise ChildFailed("cancelled", "engine_child")

    async def tops(
        self, plan: LogicalPlan, tops: int, deadline: float | None = None
    ) -> tuple[Integers | list[int], ...]:
        """The largest contributions to each of the plan's magnitudes, and their totals, per cell; the owner's secret.

        Args:
            plan: checked against the roster given to `open`.
            tops: how many of the largest; for each magnitude come so many columns, the largest first, and the totals.
            deadline: as for `aggregate`.

        Raises:
            EngineFailed: for every cause, with one text.
        """
        roster = self._roster
        if roster is None or not all(source.table in self._rows for source in plan.sources):
            raise EngineFailed("a table of this request is not published here; its operator must import and publish it")
        statement = largest.generate(plan, roster, self._rows, tops)

        async def ask(latest: float) -> tuple[Integers | list[int], ...]:
            async with self._pool.borrow(latest) as child:
                body = {"sql": statement.sql, "columns": statement.columns}
                reply = await child.call("aggregate", body, seconds=max(latest - trio.current_time(), 0.001))
                found = largest.read(reply, plan, statement, tops)
                if found is None:
                    raise child.distrust()
                return found

        return await self._cancellable(deadline, ask)

    async def _ask(self, plan: LogicalPlan, statement: Statement, deadline: float) -> LocalAnswer:
        body = {"sql": statement.sql, "columns": statement.columns}
        async with self._pool.borrow(deadline) as child:
            reply = await child.call("aggregate", body, seconds=max(deadline - trio.current_time(), 0.001))
            answer = _read(reply, plan, statement)
            if answer is None:
                raise child.distrust()
            return answer

    async def differences(self, beside: Beside, me: PartyId, threshold: int, deadline: float | None = None) -> Integers:
        """By how many persons, at most `threshold`, the sides of each pair differ here; the owner's secret.

        Args:
            beside: the pairs.
            me: this owner.
            threshold: of the floor.
            deadline: as for `aggregate`.

        Raises:
            EngineFailed: for every cause, with one text.
        """
        roster = self._roster
        keys = sets.keys_of(beside, me)
        here = {key: family for key, family in zip(keys, beside.families, strict=True) if key is not None}
        names = {name for family in here.values() for name in family.definition.names}
        if roster is None or not names <= self._rows.keys():
            raise EngineFailed("a table of this request is not published here; its operator must import and publish it")

        async def ask(latest: float) -> Integers:
            async with self._pool.borrow(latest) as child:
                return await self._compare(child, beside, keys, here, roster, threshold, latest)

        return await self._cancellable(deadline, ask)

    async def _compare(
        self,
        child: Child,
        beside: Beside,
        keys: Sequence[bytes | None],
        here: Mapping[bytes, Family],
        roster: Roster,
        threshold: int,
        deadline: float,
    ) -> Integers:
        async def call(op: str, body: Mapping[str, object]) -> object:
            return await child.call(op, body, seconds=max(deadline - trio.current_time(), 0.001))

        wanted = list(here)
        missing = await call("hold", {"families": wanted})
        if not isinstance(missing, list) or not all(
            type(place) is int and 0 <= place < len(wanted) for place in missing
        ):
            raise child.distrust()
        for statement in sets.statements([here[wanted[place]] for place in missing], roster, self._rows):
            await call("sets", statement.body())
        found = sets.read(
            await call("differences", sets.request(beside, keys, threshold)), len(beside.pairs), threshold
        )
        if found is None:
            raise child.distrust()
        return found

    def cancel(self) -> None:
        """End every request that runs now; their children are killed and they raise `EngineFailed`."""
        for scope in tuple(self._running):
            scope.cancel()

    async def close(self) -> None:
        """End everything; a closed engine is not opened again."""
        self.cancel()
        await self._pool.close()


@asynccontextmanager
async def open_engine(
    data: DataSet, roster: Roster, settings: EngineSettings | None = None
) -> AsyncIterator[DuckdbEngine]:
    """An engine that is open, with a warm child, for the length of a block."""
    engine = DuckdbEngine(settings)
    await engine.open(data, roster)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield engine
            nursery.cancel_scope.cancel()
    finally:
        await engine.close()


# ------------------------------------------------------------------------------------------------ reading the answer


def _read(reply: object, plan: LogicalPlan, statement: Statement) -> LocalAnswer | None:
    """The dense arrays of an answer; None if it is not one that this plan can have."""
    dense = largest.dense(reply, statement.columns, plan.cells)
    if dense is None:
        return None
    cohorts = np.empty((len(statement.cohorts), plan.cells), dtype=np.int64)
    for row, output in enumerate(statement.cohorts):
        cohorts[row] = _narrow(dense, output)
    if cohorts.size and (cohorts.min() < 0 or cohorts.max() > plan.rows_per_owner_max):
        return None
    pairs = zip(plan.values, statement.values, strict=True)
    values = tuple(_narrow(dense, output) if value.field == "p" else _wide(dense, output) for value, output in pairs)
    return LocalAnswer(cohorts, values)


def _narrow(dense: Integers, output: Output) -> Integers:
    column: Integers = dense[output.column]
    if output.how == "complement":
        column = np.subtract(dense[output.base], column)
    return column


def _wide(dense: Integers, output: Output) -> list[int]:
    low: list[int] = dense[output.column].tolist()
    if output.how != "wide":
        return low
    high: list[int] = dense[output.base].tolist()
    return [h * HALF + l for h, l in zip(high, low, strict=True)]
