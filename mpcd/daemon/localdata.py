"""The published snapshots and the engines over them (layer 13); implements `session.ports.EnginePort`.

Theory of operation.  A *generation* is one version of each of this owner's tables with an engine of its own, whose
children have exactly those files open.  `open` makes the next generation beside the present one and changes over in one
step, without a wait: whoever asks for versions from then on gets the new ones.  A session names the versions that it
agreed on, and is answered by the generation that has them, which stays as long as a running session needs it.

    open ----> newest generation: answers `data_versions`
               older ones: answer sessions that agreed on them;  closed by `settle` when none is left

A retired version is in no new generation; `settle` deletes its files once no generation has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import trio

from mpcd import limits
from mpcd.compile import overlap
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import LocalCells
from mpcd.errors import Bug, Busy, DataInvalid, EngineFailed
from mpcd.ids import DataVersion, PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.release import dominance
from mpcd.release.differencing import Differencing
from mpcd.release.rule import Evidence
from mpcd.roster import Roster
from mpcd.sources import snapshot
from mpcd.sources.engine import DuckdbEngine
from mpcd.sources.snapshot import DataSet

Versions = Mapping[str, str]
NO_LINKAGE: Final = (
    "no linkage columns are configured for this table here; its operator must add `linkage` and publish it again"
)


@dataclass(slots=True)
class Generation:
    """One version of each table, opened together."""

    data: DataSet
    engine: DuckdbEngine
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def has(self, versions: Versions) -> bool:
        """Whether it answers for exactly these versions."""
        manifests = self.data.manifests
        return all(table in manifests and manifests[table].version == version for table, version in versions.items())


class LocalData:
    """This owner's data; see the module's theory of operation.

    Args:
        directory: of the snapshots.
        me: this party.
        roster: in force.
        make_engine: an engine without data.
    """

    def __init__(self, directory: Path, me: PartyId, roster: Roster, make_engine: Callable[[], DuckdbEngine]) -> None:
        self._directory = directory
        self._me = me
        self._roster = roster
        self._make_engine = make_engine
        self._generations: list[Generation] = []
        self._opening = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self.in_use: Callable[[], Iterable[Versions]] = tuple
        """What running sessions agreed on, one map of tables to versions for each."""
        self.retired: frozenset[tuple[str, DataVersion]] = frozenset()
        """Tables and versions that no new session may use."""

    @property
    def data(self) -> DataSet:
        """What new sessions are answered from."""
        return self._generations[0].data if self._generations else DataSet({}, {})

    @property
    def own_tables(self) -> list[str]:
        """Names of the tables to which this party gives rows."""
        return [table.name for table in self._roster.tables if self._me in table.owners]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep an engine child warm for each generation, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def close(self) -> None:
        """End all engines."""
        for generation in self._generations:
            await generation.engine.close()

    # ------------------------------------------------------------------------------------------ changing over

    async def open(self) -> None:
        """Look which versions are published and answer from them from now on.

        Raises:
            DataInvalid: a snapshot was imported under another definition of its table, or is damaged.
            EngineFailed: a snapshot cannot be opened.
            Busy: see `check_room`.
        """
        async with self._opening:
            data = DataSet.published(self._directory, self.own_tables, self.retired)
            if not self._generations or data.version != self.data.version:
                await self.check_room()
                engine = self._make_engine()
                if data.manifests:
                    await engine.open(data, self._roster)
                generation = Generation(data, engine)
                if self._nursery is not None and data.manifests:
                    self._nursery.start_soon(_warm, generation)
                self._generations.insert(0, generation)
        await self.settle()

    async def check_room(self) -> None:
        """Raise `Busy` if running sessions keep so many old versions open that there is no place for another."""
        await self.settle()
        if len(self._generations) >= limits.DATA_GENERATIONS_MAX:
            raise Busy(
                f"running sessions still use {len(self._generations) - 1} earlier sets of versions; publish when they "
                "have ended"
            )

    async def settle(self) -> None:
        """Close generations that nobody needs, and delete the files of retired versions that none of the others has."""
        needed = [next((g for g in self._generations if g.has(versions)), None) for versions in self.in_use()]
        over = [g for g in self._generations[1:] if not any(g is kept for kept in needed)]
        self._generations = [g for g in self._generations if not any(g is gone for gone in over)]
        for generation in over:
            generation.scope.cancel()
            await generation.engine.close()
        open_now = {(name, m.version) for g in self._generations for name, m in g.data.manifests.items()}
        for table, version in self.retired - open_now:
            if snapshot.snapshot_path(self._directory, table, version).exists():
                await trio.to_thread.run_sync(partial(snapshot.delete, self._directory, table, version))

    def sessions_on(self, table: str, version: str) -> int:
        """How many running sessions use a version."""
        return sum(versions.get(table) == version for versions in self.in_use())

    # ------------------------------------------------------------------------------------------ answering

    def data_versions(self, tables: tuple[str, ...]) -> dict[str, str]:
        """See `session.ports.EnginePort`."""
        versions = {}
        for table in sorted(set(tables)):
            manifest = self.data.manifests.get(table)
            if manifest is None:
                raise DataInvalid(f"table {table} is not published here; its operator must import and publish it")
            versions[table] = str(manifest.version)
        return versions

    def _with(self, versions: Versions) -> Generation:
        for generation in self._generations:
            if generation.has(versions):
                return generation
        raise EngineFailed("the data version of this session is not here any more; ask again")

    async def aggregate(
        self,
        plan: LogicalPlan,
        versions: Versions,
        deadline_seconds: float,
        rows_per_person: int | None = None,
    ) -> LocalCells:
        """See `session.ports.EnginePort`; on the versions that were agreed, whatever was published since."""
        engine = self._with(versions).engine
        return await engine.aggregate(plan, trio.current_time() + deadline_seconds, rows_per_person)

    async def evidence(
        self, plan: PhysicalPlan, asks: Sequence[str], versions: Versions, deadline_seconds: float
    ) -> dict[str, Evidence]:
        """See `session.ports.EnginePort`; as `aggregate`."""
        deadline = trio.current_time() + deadline_seconds
        generation = self._with(versions)
        return {name: await self._evidence(name, plan, generation, deadline) for name in asks}

    async def _evidence(self, name: str, plan: PhysicalPlan, generation: Generation, deadline: float) -> Evidence:
        if name == overlap.NAME:
            return await trio.to_thread.run_sync(self._digests, generation, plan)
        if name == dominance.NAME:
            return await generation.engine.tops(plan.logical, dominance.numbers_of(plan.rules).tops, deadline)
        if name == Differencing.name and plan.beside is not None:
            threshold = plan.rules.safe_threshold
            return [await generation.engine.differences(plan.beside, self._me, threshold, deadline)]
        raise Bug(f"nobody here brings evidence for the rule {name}")

    def _digests(self, generation: Generation, plan: PhysicalPlan) -> Evidence:
        (source,) = plan.logical.sources
        manifest = generation.data.manifests[source.table]
        try:
            data = snapshot.linkage_path(self._directory, source.table, manifest.version).read_bytes()
        except OSError as error:
            raise EngineFailed(NO_LINKAGE) from error
        return [np.frombuffer(data, dtype="<i8").reshape(-1, 2).astype(np.int64)]

    def has_linkage(self, table: str, version: str) -> bool:
        """Whether a version knows what tells its persons alike at other owners."""
        return snapshot.linkage_path(self._directory, table, DataVersion(version)).exists()


async def _warm(generation: Generation) -> None:
    with generation.scope:
        try:
            await generation.engine.run()
        except EngineFailed:
            """No child can be started just now: sessions try for themselves, and say so."""
