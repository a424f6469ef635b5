"""What a steward does with this owner's data: check, publish, retire, and take persons out (layer 13).

Each step is an entry of the ledger, in the transaction that makes it so; files follow.  A version is never changed:
what changes is which one answers new sessions (`LocalData.open`), and which may answer none any more.

*Versions that are too near.*  Whoever asks the same question before and after a publication learns about the persons
who differ between the versions.  So a version is refused that differs by at least one person, but by fewer than the
policy's floor, from one that answers or answered before and is still here, unless it is forced with a reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, cast

import trio

from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.daemon.config import Config
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.localdata import LocalData
from mpcd.daemon.owner import LivePolicy
from mpcd.errors import ConfigurationInvalid, DataInvalid, MpcdError, NotFound, RequestInvalid
from mpcd.governance import entries
from mpcd.governance.licence import Deed
from mpcd.governance.offer import Offer, offer_name
from mpcd.ids import DataVersion
from mpcd.roster import Roster, Table
from mpcd.sources import import_table, optout, snapshot
from mpcd.sources.importer import changed_persons
from mpcd.sources.snapshot import Manifest
from mpcd.sources.tables import ImportBlocked, ImportReport, TableSource
from mpcd.store import data as stored
from mpcd.store.ledger import Append

Retired = dict[tuple[str, DataVersion], tuple[int, str]]
Bound = Callable[[str, str], Awaitable[tuple[list[Deed], list[Offer]]]]
_BOUND_SHOWN: Final = 8


class DataDesk:
    """This owner's data, as its steward handles it.

    Args:
        config: where files are.
        roster: in force.
        policy: for the floor.
        journal: the way to the store.
        data: what sessions are answered from.
        utc_seconds: the clock.
    """

    def __init__(
        self,
        config: Config,
        roster: Roster,
        policy: LivePolicy,
        journal: StoreJournal,
        data: LocalData,
        utc_seconds: Callable[[], float],
    ) -> None:
        self._config = config
        self._directory = config.snapshots
        self._roster = roster
        self._policy = policy
        self._journal = journal
        self._data = data
        self._utc_seconds = utc_seconds
        self._changing = trio.Lock()
        self.bound_to_others: Bound | None = None
        """Which licences and offers would cover nothing any more if a version of a table were the one that answers."""

    @property
    def _now(self) -> int:
        return int(self._utc_seconds() * 1000)

    async def load(self) -> None:
        """At the start: what is retired, what is in use; then data answers."""
        self._data.retired = frozenset(await self._retired())
        await self._data.open()
        used, now = self._data.data.manifests, self._now

        def note(connection: sqlite3.Connection, _append: Append) -> None:
            for name, manifest in used.items():
                stored.note(connection, name, manifest.version, now)

        await self._journal.write(note)

    async def _retired(self) -> Retired:
        return await self._journal.read(stored.retired)

    # ------------------------------------------------------------------------------------------ looking

    async def versions(self, tables: Sequence[str] | None = None) -> list[Map]:
        """Every version that is here, by table, the newest first."""
        names = self._data.own_tables if tables is None else [self._own(name).name for name in tables]
        retired = await self._retired()
        return [
            await self._table(name, retired, await self._journal.read(partial(stored.published, table=name)))
            for name in names
        ]

    async def _table(self, name: str, retired: Retired, published: Mapping[DataVersion, int]) -> Map:
        known = await trio.to_thread.run_sync(snapshot.imported, self._directory, name)
        used = self._data.data.manifests.get(name)
        listed_at = _modified(self._config.opt_out)
        versions: list[Value] = [
            {
                "data_version": str(manifest.version),
                "rows": manifest.rows,
                "persons": manifest.persons,
                "imported_at": at,
                "published": used is not None and manifest.version == used.version,
                "published_at": published.get(manifest.version),
                "retired_at": retired.get((name, manifest.version), (None, ""))[0],
                "reason": retired.get((name, manifest.version), (None, ""))[1],
                "sessions": self._data.sessions_on(name, str(manifest.version)),
                "opt_out_changed": listed_at is not None and listed_at > at,
                "linkage": snapshot.linkage_path(self._directory, name, manifest.version).exists(),
                "fits_roster": manifest.definition == snapshot.definition(self._roster.table(name)),
            }
            for manifest, at in known
        ]
        return {
            "name": name,
            "state": "published" if used is not None else "imported" if known else "absent",
            "rows": None if used is None else used.rows,
            "data_version": None if used is None else str(used.version),
            "published": used is not None,
            "versions": versions,
        }

    async def check(self, table: str, paths: Sequence[str], by: str) -> Map:
        """What a snapshot of these files would be; nothing is changed but the ledger, which says that it was asked."""
        definition = self._own(table)
        before = await self._before(table)
        places = [snapshot.snapshot_path(self._directory, table, version) for version in before]
        report = await self._import(definition, paths, keep=False, against=places)
        details: Map = {"rows": report.rows, "opted_out_rows": report.opted_out_rows}
        details["data_version"] = str(report.version)
        await self._journal.entry(entries.noted("data_checked", by=by, about=table, details=details))
        nearest = _nearest(dict(zip(before, report.changed, strict=True)))
        return {**self._report(definition, report), **self._near(nearest, before)}

    def _report(self, table: Table, report: ImportReport) -> Map:
        return {
            "table": table.name,
            "rows": report.rows,
            "persons": report.persons,
            "data_version": str(report.version),
            "columns": len(table.columns),
            "opted_out_rows": report.opted_out_rows,
            "opted_out_persons": report.opted_out_persons,
            "linked_persons": report.linked,
            "notes": list(report.notes),
        }

    def _near(self, nearest: tuple[DataVersion, int] | None, before: Collection[DataVersion]) -> Map:
        """The version that differs least, and whether that is too little."""
        return {
            "compared": len(before),
            "nearest": None if nearest is None else str(nearest[0]),
            "changed_persons": None if nearest is None else nearest[1],
            "safe_threshold": self._floor,
            "too_near": nearest is not None and nearest[1] < self._floor,
        }

    @property
    def _floor(self) -> int:
        return self._policy.policy.disclosure.safe_threshold

    async def _before(self, table: str) -> list[DataVersion]:
        """Versions that answer or answered before, and are still here."""
        published = await self._journal.read(partial(stored.published, table=table))
        used = self._data.data.manifests.get(table)
        known = {*published, *([] if used is None else [used.version])}
        return sorted(v for v in known if snapshot.snapshot_path(self._directory, table, v).is_file())

    # ------------------------------------------------------------------------------------------ changing

    async def import_table(self, table: str, paths: Sequence[str]) -> Map:
        """Make a version of these files; it answers nothing yet."""
        definition = self._own(table)
        async with self._changing:
            report = await self._import(definition, paths, keep=True)
        return self._report(definition, report)

    async def publish(
        self,
        table: str,
        paths: Sequence[str],
        wanted: str | None,
        *,
        forced: str = "",
        by: str = "operator",
        yes: bool = False,
    ) -> Map:
        """Let a version answer from now on: the one that is `wanted`, or one that is made of files first.

        Args:
            table: which.
            paths: files; without, those that `mpcd.toml` names.
            wanted: a version that is here, or its beginning.
            forced: why it is published although it is too near to another, or was retired.
            by: who wants it, for the ledger.
            yes: also where licences and offers cover other data alone.

        Raises:
            DataInvalid: it is damaged, does not fit, is retired, or is too near, or licences would be of no use.
        """
        definition = self._own(table)
        async with self._changing:
            if wanted is not None:
                version = snapshot.find_version(self._directory, table, wanted)
                return await self._publish(definition, version, forced, by, yes=yes)
            report = await self._import(definition, paths, keep=True)
            version = cast("DataVersion", report.version)
            try:
                done = await self._publish(definition, version, forced, by, yes=yes, fresh=True)
            except DataInvalid as error:
                raise DataInvalid(
                    f"{error}. The rows were read and stay here as version {version[:16]}, which answers nothing; "
                    f"`mpcctl data retire {table} --version {version[:16]} --reason ...` deletes them"
                ) from error
            return {**done, **self._report(definition, report)}

    async def _older_than_opt_outs(self, table: str, version: DataVersion, forced: str) -> tuple[str, ...]:
        """What is to be said of a version that may hold persons who opted out since; it needs to be forced."""
        listed_at = _modified(self._config.opt_out)
        known = await trio.to_thread.run_sync(snapshot.imported, self._directory, table)
        made_at = next((at for manifest, at in known if manifest.version == version), None)
        if listed_at is None or made_at is None or listed_at <= made_at or not optout.read(self._config.opt_out):
            return ()
        told = f"version {version[:16]} of table {table} was made before the opt-out list last changed, so it may hold "
        told += "persons who opted out since"
        if not forced:
            raise DataInvalid(
                f"{told}; make a new version from the files (`mpcctl data publish {table}`), or publish this one with "
                "--force and a reason"
            )
        return (told,)

    async def publish_newest(self, table: str, wanted: str | None) -> Map:
        """As the older command has it: without a name, the version that was imported last."""
        definition = self._own(table)
        async with self._changing:
            version = snapshot.find_version(self._directory, table, wanted)
            return await self._publish(definition, version, "", "operator")

    async def _publish(
        self, table: Table, version: DataVersion, forced: str, by: str, *, yes: bool = False, fresh: bool = False
    ) -> Map:
        name = table.name
        bound = await self._bound(name, version, yes=yes)
        manifest = await trio.to_thread.run_sync(snapshot.publishable, self._directory, table, version)
        retired = await self._retired()
        if (name, version) in retired and not forced:
            raise DataInvalid(
                f"version {version[:16]} of table {name} was retired ({retired[name, version][1]}); to use it again, "
                "publish it with --force and a reason"
            )
        notes = () if fresh else await self._older_than_opt_outs(name, version, forced)
        if manifest.rows == 0 and not forced:
            raise DataInvalid(
                f"version {version[:16]} of table {name} has no rows, as if an export had failed; to answer from it, "
                "publish it with --force and a reason"
            )
        nearest = await self._nearest(table, version)
        if nearest is not None and nearest[1] < self._floor and not forced:
            raise DataInvalid(
                f"version {version[:16]} of table {name} differs from version {nearest[0][:16]} by {nearest[1]} "
                f"person(s), fewer than safe_threshold {self._floor}: whoever asks before and after learns about them. "
                "Publish when more has changed, or with --force and a reason (a person's opt-out is one); what "
                "answers is as before"
            )
        # From here on its files stay, whichever session ends meanwhile.
        barred, self._data.retired = self._data.retired, self._data.retired - {(name, version)}
        try:
            await self._data.check_room()
            await self._commit_published(manifest, None if nearest is None else nearest[1], forced, by)
        except MpcdError:
            self._data.retired = barred
            raise
        await trio.to_thread.run_sync(snapshot.publish, self._directory, table, version)
        await self._data.open()
        return {**(await self.versions([name]))[0], **bound, "notes": list(notes)}

    async def _bound(self, table: str, version: DataVersion, *, yes: bool) -> Map:
        """Names of licences and offers of which this would be the end; raises `DataInvalid` unless that is meant."""
        if self.bound_to_others is None:
            return {}
        deeds, offers = await self.bound_to_others(table, str(version))
        held = [offer_name(one.agreement.digest) for one in deeds]
        made = [offer_name(one.digest) for one in offers]
        if (held or made) and not yes:
            parts = [f"licence {one}" for one in held] + [f"offer {one}" for one in made]
            more = f" and {len(parts) - _BOUND_SHOWN} more" if len(parts) > _BOUND_SHOWN else ""
            shown = ", ".join(parts[:_BOUND_SHOWN]) + more
            raise DataInvalid(
                f"other data of table {table} alone is covered (newer_versions = false) by {shown}: once version "
                f"{version[:16]} answers, nothing can be asked under them, and monthly fees run on until you end them. "
                "If that is meant, publish with --yes; nothing was published"
            )
        return {"licences_outdated": list[Value](held), "offers_outdated": list[Value](made)}

    async def _nearest(self, table: Table, version: DataVersion) -> tuple[DataVersion, int] | None:
        others = [one for one in await self._before(table.name) if one != version]
        paths = [snapshot.snapshot_path(self._directory, table.name, one) for one in (version, *others)]
        if not others:
            return None
        found = await trio.to_thread.run_sync(changed_persons, self._directory, table, paths[0], paths[1:])
        return _nearest(dict(zip(others, found, strict=True)))

    async def _commit_published(self, manifest: Manifest, changed: int | None, forced: str, by: str) -> None:
        now = self._now
        entry = entries.published(
            manifest.table, manifest.version, manifest.rows, by=by, changed_persons=changed, forced=forced
        )

        def work(connection: sqlite3.Connection, append: Append) -> None:
            stored.publish(connection, manifest.table, manifest.version, now)
            append(entry)

        await self._journal.write(work)

    async def retire(self, table: str, wanted: str, reason: str, *, withdraw: bool, by: str) -> Map:
        """No new session uses a version any more; its files go when no running one does.

        Raises:
            RequestInvalid: it is the one that answers, and it was not said that the table is to be withdrawn.
        """
        name = self._own(table).name
        if not reason.strip():
            raise RequestInvalid("a reason is needed; it stands in the ledger")
        async with self._changing:
            version = snapshot.find_version(self._directory, name, wanted)
            used = self._data.data.manifests.get(name)
            answers = used is not None and used.version == version
            if answers and not withdraw:
                raise RequestInvalid(
                    f"version {version[:16]} answers requests about table {name}: publish another first, or say "
                    "--withdraw to let the table answer nothing"
                )
            if answers:
                await self._data.check_room()
            await self._commit_retired(name, version, reason, by, withdrawn=answers)
            self._data.retired |= {(name, version)}
            if answers:
                await trio.to_thread.run_sync(snapshot.withdraw, self._directory, name)
            sessions = self._data.sessions_on(name, str(version))
            await self._data.open()
        here = snapshot.snapshot_path(self._directory, name, version).exists()
        return {"table": name, "data_version": str(version), "deleted": not here, "sessions": sessions}

    async def _commit_retired(self, table: str, version: DataVersion, reason: str, by: str, *, withdrawn: bool) -> None:
        now = self._now
        details: Map = {"data_version": str(version), "withdrawn": withdrawn}
        entry = entries.noted("data_retired", by=by, about=table, reason=reason, details=details)

        def work(connection: sqlite3.Connection, append: Append) -> None:
            stored.retire(connection, table, version, now, reason[: entries.REASON_CHARACTERS_MAX])
            append(entry)

        await self._journal.write(work)

    async def _import(
        self, table: Table, paths: Sequence[str], *, keep: bool, against: Sequence[Path] = ()
    ) -> ImportReport:
        source = self._config.tables.get(table.name)
        if paths:
            source = replace(source or TableSource(()), paths=tuple(Path(path) for path in paths))
        if source is None:
            raise ConfigurationInvalid(
                f"nothing says where table {table.name} comes from: name its files, or add [tables.{table.name}]",
                path=str(self._config.path),
            )
        opt_out = await trio.to_thread.run_sync(optout.read, self._config.opt_out)
        work = partial(import_table, table, source, self._directory, opt_out=opt_out, keep=keep, against=against)
        try:
            return await trio.to_thread.run_sync(work)
        except ImportBlocked as blocked:  # the answer goes to this host's own operator, who needs the rows
            raise DataInvalid(blocked.for_operator()) from blocked

    def _own(self, name: str) -> Table:
        if name not in self._data.own_tables:
            raise NotFound(
                f"this party gives no table named {name}; it gives: {', '.join(self._data.own_tables) or 'none'}"
            )
        return self._roster.table(name)

    # ------------------------------------------------------------------------------------------ opting out

    async def opt_out(self, ids: Sequence[str], *, add: bool, by: str) -> Map:
        """Put persons on the list, or take them off it; who they are stands in no entry and in no log."""
        given = optout.checked(ids)
        tables = [one for one in given if add and one in self._data.own_tables]
        if tables:
            raise RequestInvalid(
                f"`{tables[0]}` is a table, and the list holds persons, who are left out of every table; write their "
                "ids alone; nothing was added"
            )
        async with self._changing:
            listed = await trio.to_thread.run_sync(optout.read, self._config.opt_out)
            known = set(listed)
            if add:
                now = (*listed, *(one for one in given if one not in known))
            else:
                gone = set(given)
                now = tuple(one for one in listed if one not in gone)
            changed = abs(len(now) - len(listed))
            if changed:
                optout.checked(now)
                details: Map = {"added" if add else "removed": changed, "listed": len(now)}
                await self._journal.entry(entries.noted("opted_out", by=by, about="opt-out list", details=details))
                await trio.to_thread.run_sync(optout.write, self._config.opt_out, now)
        return {"changed": changed, "given": len(given), "listed": len(now)}

    async def opted_out(self, start: int, count: int) -> Map:
        """The list itself, for this host's administrators alone."""
        listed = await trio.to_thread.run_sync(optout.read, self._config.opt_out)
        return {"ids": list(listed[start : start + count]), "listed": len(listed), "path": str(self._config.opt_out)}


def _nearest(changed: Mapping[DataVersion, int]) -> tuple[DataVersion, int] | None:
    """The version that differs by the fewest persons, but by some: one with the same persons tells nothing of them."""
    return min(((version, count) for version, count in changed.items() if count), key=lambda one: one[1], default=None)


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
