"""Generations of data: who is answered from which, when an old one closes, when files go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpcd import limits
from mpcd.daemon.localdata import LocalData
from mpcd.errors import Busy, DataInvalid, EngineFailed
from mpcd.ids import DataVersion, PartyId
from mpcd.roster import Column, Table
from mpcd.sources import snapshot
from mpcd.sources.snapshot import Manifest

TABLE = Table("t", 10, True, True, None, (PartyId(0),), (Column("x", "integer", 0, 9),))
ROSTER: Any = SimpleNamespace(tables=(TABLE,))
PLAN: Any = object()


class Engine:
    """Answers with the version that it has."""

    made: list[Engine] = []  # noqa: RUF012  # emptied by the fixture

    def __init__(self) -> None:
        self.version = ""
        self.closed = False
        Engine.made.append(self)

    async def open(self, data: snapshot.DataSet, _roster: Any) -> None:
        self.version = str(data.manifests["t"].version)

    async def aggregate(self, _plan: Any, _deadline: float, rows: int | None) -> Any:
        assert not self.closed
        return self.version, rows

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(tmp_path: Path) -> LocalData:
    Engine.made.clear()
    return LocalData(tmp_path, PartyId(0), ROSTER, Engine)  # type: ignore[arg-type]  # a fake


def version(number: int) -> DataVersion:
    return DataVersion(f"{number:064x}")


def publish(directory: Path, number: int) -> DataVersion:
    """A version as files alone; the fake engine opens none."""
    name = version(number)
    path = snapshot.snapshot_path(directory, "t", name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"rows")
    manifest = Manifest("t", name, snapshot.definition(TABLE), 1, 0, snapshot.file_sha256(path))
    path.with_suffix(".json").write_text(manifest.to_json())
    snapshot.publish(directory, TABLE, name)
    return name


async def answered(data: LocalData, number: int) -> str:
    found: Any = await data.aggregate(PLAN, {"t": str(version(number))}, 1.0, 3)
    assert found[1] == 3
    return str(found[0])


async def test_a_session_is_answered_from_the_version_that_it_agreed_on(made: LocalData, tmp_path: Path) -> None:
    publish(tmp_path, 1)
    await made.open()
    agreed = made.data_versions(("t",))
    made.in_use = lambda: [agreed]
    publish(tmp_path, 2)
    await made.open()
    assert made.data_versions(("t",)) == {"t": str(version(2))}
    assert await answered(made, 1) == str(version(1))
    assert await answered(made, 2) == str(version(2))
    assert [engine.closed for engine in Engine.made] == [False, False]
    made.in_use = list
    await made.settle()
    assert [engine.closed for engine in Engine.made] == [True, False]
    with pytest.raises(EngineFailed, match="not here any more"):
        await answered(made, 1)


async def test_the_same_version_again_is_no_new_generation(made: LocalData, tmp_path: Path) -> None:
    publish(tmp_path, 1)
    await made.open()
    await made.open()
    assert len(Engine.made) == 1


async def test_a_retired_version_goes_with_its_last_session(made: LocalData, tmp_path: Path) -> None:
    old = publish(tmp_path, 1)
    await made.open()
    agreed = made.data_versions(("t",))
    made.in_use = lambda: [agreed]
    publish(tmp_path, 2)
    made.retired = frozenset({("t", old)})
    await made.open()
    assert made.sessions_on("t", str(old)) == 1
    assert snapshot.snapshot_path(tmp_path, "t", old).exists()
    assert await answered(made, 1) == str(old)
    made.in_use = list
    await made.settle()
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        f"{version(2)}.duckdb",
        f"{version(2)}.json",
        "current.json",
    ]


async def test_a_retired_version_answers_nobody_even_if_a_file_says_so(made: LocalData, tmp_path: Path) -> None:
    old = publish(tmp_path, 1)
    made.retired = frozenset({("t", old)})
    await made.open()
    with pytest.raises(DataInvalid, match="not published here"):
        made.data_versions(("t",))


async def test_too_many_old_generations_are_busy(made: LocalData, tmp_path: Path) -> None:
    running: list[dict[str, str]] = []
    made.in_use = lambda: running
    for number in range(limits.DATA_GENERATIONS_MAX):
        publish(tmp_path, number)
        await made.open()
        running.append(made.data_versions(("t",)))
    publish(tmp_path, 99)
    with pytest.raises(Busy, match="when they have ended"):
        await made.open()
    assert made.data_versions(("t",)) == running[-1]
    running.clear()
    await made.open()
    assert made.data_versions(("t",)) == {"t": str(version(99))}
    await made.close()
    assert all(engine.closed for engine in Engine.made)
