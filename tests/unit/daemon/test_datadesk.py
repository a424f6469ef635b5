"""A steward's steps: each on the record, none by halves; real imports, a real store, an engine that only listens."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mpcd.daemon.datadesk import DataDesk
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.localdata import LocalData
from mpcd.errors import Busy, ConfigurationInvalid, DataInvalid, NotFound, RequestInvalid
from mpcd.governance.licence import Deed
from mpcd.governance.offer import Offer, offer_name
from mpcd.ids import PartyId
from mpcd.roster import Column, Table
from mpcd.sources import snapshot
from mpcd.sources.tables import TableSource
from mpcd.store import Store
from mpcd.testing.licensing import accepted, offer

ME = PartyId(0)
TABLE = Table("t", 100, True, True, "pid", (ME,), (Column("pid", "person_id"), Column("x", "integer", 0, 99)))
FLOOR = 5


class Engine:
    async def open(self, _data: object, _roster: object) -> None:
        """Nobody asks."""

    async def close(self) -> None:
        """Nothing is open."""


class House:
    """One owner's desk over a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "state").mkdir(mode=0o700)
        self.store = Store.open(directory / "state", entropy=random.Random(3).randbytes)
        self.clock = 1_795_348_800.0
        journal = StoreJournal(self.store, ME, lambda: self.clock, lambda: b"p" * 32)
        roster: Any = SimpleNamespace(tables=(TABLE,), table=lambda _name: TABLE)
        self.data = LocalData(directory / "snapshots", ME, roster, Engine)  # type: ignore[arg-type]  # a fake
        self.config = cast(
            "Any",
            SimpleNamespace(
                snapshots=directory / "snapshots",
                opt_out=directory / "opt-out.txt",
                tables={"t": TableSource((directory / "t.csv",))},
                path=directory / "mpcd.toml",
            ),
        )
        policy: Any = SimpleNamespace(policy=SimpleNamespace(disclosure=SimpleNamespace(safe_threshold=FLOOR)))
        self.desk = DataDesk(self.config, roster, policy, journal, self.data, lambda: self.clock)

    def export(self, persons: range, extra: str = "") -> str:
        path = self.directory / f"{persons.start}-{persons.stop}.csv"
        path.write_text("pid,x\n" + "".join(f"{n},{n % 50}\n" for n in persons) + extra, encoding="utf-8")
        return str(path)

    async def publish(self, persons: range, **more: Any) -> str:
        answer = await self.desk.publish("t", [self.export(persons)], None, by="uid 0", **more)
        return str(answer["data_version"])

    def entries(self) -> list[tuple[str, dict[str, Any]]]:
        return [(row.kind, dict(row.content or {})) for row in self.store.ledger_entries(0, 100)]

    @property
    def answers(self) -> dict[str, str]:
        return {name: str(manifest.version) for name, manifest in self.data.data.manifests.items()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


async def test_what_is_refused_changes_nothing_and_what_is_forced_says_why(house: House) -> None:
    first = await house.publish(range(30))
    assert house.answers == {"t": first}
    before = house.entries()
    with pytest.raises(DataInvalid, match=r"by 4 person\(s\), fewer than safe_threshold 5"):
        await house.publish(range(34))
    assert house.answers == {"t": first}
    assert house.entries() == before
    second = await house.publish(range(35))
    assert house.answers == {"t": second}
    # Near to one that answered before is too near as well.
    with pytest.raises(DataInvalid, match="by 1 person"):
        await house.publish(range(29))
    third = await house.publish(range(29), forced="letter of 3 May")
    assert [content for kind, content in house.entries() if kind == "published"] == [
        {"table": "t", "data_version": v, "rows": rows, "by": "uid 0", "changed_persons": changed, "forced": forced}
        for v, rows, changed, forced in (
            (first, 30, None, ""),
            (second, 35, 5, ""),
            (third, 29, 1, "letter of 3 May"),
        )
    ]


async def test_the_same_persons_again_are_no_change(house: House) -> None:
    first = await house.publish(range(30))
    await house.publish(range(10, 40))
    assert (await house.desk.publish("t", [], first[:8]))["data_version"] == first


async def test_an_entry_that_is_not_written_publishes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await house.publish(range(30))

    async def full(*_: object, **__: object) -> None:
        raise DataInvalid("the disk is full")

    monkeypatch.setattr(house.desk, "_commit_published", full)
    with pytest.raises(DataInvalid, match="full"):
        await house.publish(range(60))
    await house.data.open()
    assert house.answers == {"t": first}


async def test_too_many_old_versions_in_use_leave_the_present_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await house.publish(range(30))

    async def busy() -> None:
        raise Busy("later")

    monkeypatch.setattr(house.data, "check_room", busy)
    with pytest.raises(Busy):
        await house.publish(range(60))
    assert house.answers == {"t": first}
    assert [kind for kind, _ in house.entries()] == ["published"]


async def test_retired_is_barred_across_a_restart_until_somebody_says_otherwise(house: House) -> None:
    first = await house.publish(range(30))
    second = await house.publish(range(60))
    with pytest.raises(RequestInvalid, match="--withdraw"):
        await house.desk.retire("t", second, "old", withdraw=False, by="uid 0")
    agreed = [{"t": first}]
    house.data.in_use = lambda: agreed
    await house.data.open()
    answer = await house.desk.retire("t", first[:8], "old", withdraw=False, by="uid 0")
    # No generation has it any more, whatever a session that is ending says.
    assert answer["deleted"] is True
    house.data.retired = frozenset()
    await house.desk.load()
    assert ("t", first) in house.data.retired
    with pytest.raises(DataInvalid, match=r"was retired \(old\)"):
        await house.publish(range(30))
    await house.publish(range(30), forced="by mistake")
    assert house.answers == {"t": first}
    (noted,) = [content for kind, content in house.entries() if kind == "data_retired"]
    assert (noted["by"], noted["about"], noted["reason"]) == ("uid 0", "t", "old")
    assert noted["details"] == {"data_version": first, "withdrawn": False}


async def test_withdrawn_answers_nothing(house: House) -> None:
    first = await house.publish(range(30))
    await house.desk.retire("t", first, "wrong", withdraw=True, by="uid 0")
    assert house.answers == {}
    assert snapshot.current(house.directory / "snapshots", "t") is None
    (table,) = await house.desk.versions()
    assert (table["state"], table["versions"]) == ("absent", [])


async def test_opting_out_counts_and_never_names(house: House) -> None:
    add = partial(house.desk.opt_out, add=True, by="uid 7")
    assert await add(["3", "4", "nobody"]) == {"changed": 3, "given": 3, "listed": 3}
    assert await add(["3"]) == {"changed": 0, "given": 1, "listed": 3}
    report = await house.desk.check("t", [house.export(range(30))], "uid 7")
    assert (report["rows"], report["opted_out_rows"], report["opted_out_persons"]) == (28, 2, 2)
    removed = await house.desk.opt_out(["3", "5"], add=False, by="uid 7")
    assert removed == {"changed": 1, "given": 2, "listed": 2}
    assert (await house.desk.opted_out(0, 1))["ids"] == ["4"]
    assert (await house.desk.opted_out(1, 9))["ids"] == ["nobody"]
    assert [(kind, content["by"], content["details"]) for kind, content in house.entries()] == [
        ("opted_out", "uid 7", {"added": 3, "listed": 3}),
        (
            "data_checked",
            "uid 7",
            {"rows": 28, "opted_out_rows": 2, "data_version": report["data_version"]},
        ),
        ("opted_out", "uid 7", {"removed": 1, "listed": 2}),
    ]
    with pytest.raises(RequestInvalid, match="one line"):
        await add(["a\nb"])


async def test_unknown_tables_and_files(house: House) -> None:
    with pytest.raises(NotFound, match="no table named u"):
        await house.desk.check("u", [], "uid 0")
    with pytest.raises(DataInvalid, match="there is no file"):
        await house.desk.publish("t", [], None)
    house.config.tables = {}
    with pytest.raises(ConfigurationInvalid, match="nothing says where"):
        await house.desk.import_table("t", [])
    with pytest.raises(DataInvalid, match="x: out of bounds"):
        await house.desk.check("t", [house.export(range(3), "9,100\n")], "uid 0")
    assert house.entries() == []


# ------------------------------------------------------------------------------------------------ licences


async def test_a_version_that_ends_the_use_of_licences_is_published_only_when_that_is_meant(house: House) -> None:
    made = offer(newer_versions=False, versions=((1, "t", "ab" * 32),))
    licence = Deed(accepted(made))
    asked: list[tuple[str, str]] = []

    async def bound(table: str, version: str) -> tuple[list[Deed], list[Offer]]:
        asked.append((table, version))
        return [licence], [made]

    house.desk.bound_to_others = bound
    path = house.export(range(20))
    name = offer_name(licence.agreement.digest)
    with pytest.raises(DataInvalid, match=f"licence {name}, offer {offer_name(made.digest)}.*--yes"):
        await house.desk.publish("t", [path], None)
    assert house.data.data.manifests == {}
    answer = await house.desk.publish("t", [path], None, yes=True)
    assert (answer["licences_outdated"], answer["offers_outdated"]) == ([name], [offer_name(made.digest)])
    assert asked[-1] == ("t", str(house.data.data.manifests["t"].version))


async def test_nothing_is_asked_where_no_licence_is_bound(house: House) -> None:
    async def nothing(_table: str, _version: str) -> tuple[list[Deed], list[Offer]]:
        return [], []

    house.desk.bound_to_others = nothing
    answer = await house.desk.publish("t", [house.export(range(20))], None)
    assert answer["licences_outdated"] == []


async def test_a_refusal_says_that_the_copy_stays(house: House) -> None:
    await house.publish(range(30))
    with pytest.raises(DataInvalid, match=r"The rows were read and stay here as version .* data retire t --version"):
        await house.publish(range(31))
    (table,) = await house.desk.versions()
    assert sorted(one["published"] for one in cast("Any", table["versions"])) == [False, True]


async def test_no_rows_are_published_only_if_forced(house: House) -> None:
    first = await house.publish(range(30))
    with pytest.raises(DataInvalid, match="has no rows"):
        await house.publish(range(0))
    assert house.answers == {"t": first}
    empty = await house.publish(range(0), forced="the ward was closed")
    assert house.answers == {"t": empty}


async def test_an_older_version_may_hold_who_opted_out(house: House) -> None:
    first = await house.publish(range(30))
    second = await house.publish(range(60))
    await house.desk.opt_out(["3"], add=True, by="uid 0")
    listed = house.config.opt_out.stat().st_mtime + 60
    os.utime(house.config.opt_out, (listed, listed))
    with pytest.raises(DataInvalid, match="may hold persons who opted out since; make a new version"):
        await house.desk.publish("t", [], first)
    with pytest.raises(DataInvalid, match="may hold persons who opted out"):
        await house.desk.publish_newest("t", first)
    assert house.answers == {"t": second}
    answer = await house.desk.publish("t", [], first, forced="the new files are wrong")
    assert "may hold persons who opted out since" in str(answer["notes"])
    # An empty list holds nobody.
    await house.desk.opt_out(["3"], add=False, by="uid 0")
    assert (await house.desk.publish("t", [], second))["notes"] == []


async def test_a_table_is_no_person(house: House) -> None:
    with pytest.raises(RequestInvalid, match="`t` is a table"):
        await house.desk.opt_out(["t", "3"], add=True, by="uid 0")
    assert (await house.desk.opted_out(0, 9))["ids"] == []
