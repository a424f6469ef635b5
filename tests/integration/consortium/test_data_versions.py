"""Data versions between real daemons: check, publish, opt out, retire, and a change under a running session.

One consortium, the tests in order: each begins with what the one before has published at hospital 0.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mpcd.errors import DataInvalid, MpcdError, NotFound, RequestInvalid
from mpcd.sandbox.prepare import TableFiles

Sandbox = Any  # the conftest's own class
DATA = Path(__file__).resolve().parents[2] / "data"
COUNT = "SELECT COUNT(*) FROM gbsg2"
ALL = 686
OPTED_OUT = 20


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bring_up_consortium: Callable[..., Iterator[Sandbox]]
) -> Iterator[Sandbox]:
    tables = (TableFiles("gbsg2", (DATA / "gbsg2.csv",)),)
    yield from bring_up_consortium(tmp_path_factory.mktemp("versions"), 3, tables)


def data(house: Sandbox, verb: str, **params: object) -> dict[str, Any]:
    with house.admin(0) as client:
        found: dict[str, Any] = client.call(f"mpc.v1.Data{verb}", params)
        return found


def versions(house: Sandbox) -> list[dict[str, Any]]:
    (table,) = data(house, "Versions")["tables"]
    found: list[dict[str, Any]] = table["versions"]
    return found


def in_use(house: Sandbox) -> str:
    (version,) = [str(one["data_version"]) for one in versions(house) if one["published"]]
    return version


def count(house: Sandbox, party: int = 1) -> int:
    with house.client(party) as client:
        ((number,),) = client.sql(COUNT).table.rows
    assert isinstance(number, int)
    return number


def export(house: Sandbox, leave_out: int) -> Path:
    """Hospital 0's own file without its first so many rows."""
    lines = (house.home(0) / "data" / "gbsg2.csv").read_text(encoding="utf-8").splitlines()
    path: Path = house.home(0) / f"without-{leave_out}.csv"
    path.write_text("\n".join([lines[0], *lines[1 + leave_out :]]) + "\n", encoding="utf-8")
    return path


def last(house: Sandbox, kind: str) -> dict[str, Any]:
    found = [entry for entry in house.entries(0) if entry["kind"] == kind]
    return dict(found[-1])


def test_a_check_changes_nothing(house: Sandbox) -> None:
    before = versions(house)
    near = data(house, "Check", table="gbsg2", paths=[str(export(house, 1))])
    assert (near["changed_persons"], near["too_near"], near["nearest"]) == (1, True, in_use(house))
    far = data(house, "Check", table="gbsg2", paths=[str(export(house, 30))])
    assert (far["changed_persons"], far["too_near"]) == (30, False)
    assert far["rows"] == near["rows"] - 29
    assert versions(house) == before
    assert last(house, "data_checked")


def test_a_version_too_near_to_another_is_refused_unless_forced(house: Sandbox) -> None:
    first, path = in_use(house), str(export(house, 1))
    with pytest.raises(DataInvalid, match=r"differs from version .* by 1 person"):
        data(house, "Publish", table="gbsg2", paths=[path])
    # It is here, and the older command keeps to the same rule.
    (made,) = [str(one["data_version"]) for one in versions(house) if str(one["data_version"]) != first]
    with house.admin(0) as client, pytest.raises(DataInvalid, match="safe_threshold"):
        client.call("mpc.v1.TablePublish", {"table": "gbsg2", "data_version": made})
    assert in_use(house) == first
    assert count(house) == ALL
    data(house, "Publish", table="gbsg2", data_version=made[:12], forced="a court ordered it")
    assert in_use(house) == made
    assert count(house) == ALL - 1
    said = json.dumps(last(house, "published"), default=str)
    assert "a court ordered it" in said
    # Back to the first is as near, and a version with other persons is not.
    with pytest.raises(DataInvalid, match="by 1 person"):
        data(house, "Publish", table="gbsg2", data_version=first)


def test_who_opted_out_is_in_no_later_version(house: Sandbox) -> None:
    rows = house.rows("gbsg2")[0]
    gone = [str(row["rid"]) for row in rows[5 : 5 + OPTED_OUT]]
    said = data(house, "OptOut", ids=[*gone, "nobody-has-this-id"], add=True)
    assert (said["changed"], said["listed"]) == (OPTED_OUT + 1, OPTED_OUT + 1)
    assert data(house, "OptOut", ids=gone[:1], add=True)["changed"] == 0
    assert data(house, "OptedOut", start=0)["ids"] == [*gone, "nobody-has-this-id"]
    assert count(house) == ALL - 1, "what answers already does not change"
    assert [one["opt_out_changed"] for one in versions(house) if one["published"]] == [True]
    would = data(house, "Check", table="gbsg2")
    assert (would["opted_out_rows"], would["opted_out_persons"]) == (OPTED_OUT, OPTED_OUT)
    data(house, "Publish", table="gbsg2")
    assert count(house) == ALL - OPTED_OUT
    assert [one["opt_out_changed"] for one in versions(house) if one["published"]] == [False]
    said_of_them = [entry for entry in house.entries(0) if entry["kind"] == "opted_out"]
    assert len(said_of_them) == 1
    assert "nobody-has-this-id" not in json.dumps(house.entries(0), default=str)
    place = Path(str(data(house, "OptedOut", start=0)["path"]))
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o644)
    with pytest.raises(DataInvalid, match="chmod 600"):
        data(house, "Check", table="gbsg2")
    place.chmod(0o600)


def test_a_running_session_finishes_on_the_version_that_it_agreed_on(
    house: Sandbox, talk: tuple[Callable[..., str], Callable[..., Any]]
) -> None:
    old, path = in_use(house), str(export(house, 60))
    house.send(2, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(count, house)
        while not any(one["sessions"] for one in versions(house)):
            assert not running.done()
        data(house, "Publish", table="gbsg2", paths=[path])
        new = in_use(house)
        assert new != old
        retired = data(house, "Retire", table="gbsg2", data_version=old, reason="rows of persons who opted out")
        assert (retired["deleted"], retired["sessions"]) == (False, 1)
        (kept,) = [one for one in versions(house) if one["data_version"] == old]
        assert (kept["sessions"], kept["published"]) == (1, False)
        with pytest.raises(DataInvalid, match="was retired"):
            data(house, "Publish", table="gbsg2", data_version=old)
        house.send(2, signal.SIGCONT)
        assert running.result(60) == ALL - OPTED_OUT
    # Rows 0 to 4 beside those who opted out, and the rest up to 60.
    assert count(house) == ALL - 60
    places = list(house.home(0).rglob(f"{old}.*"))
    for _ in range(200):
        if not places:
            break
        places = [place for place in places if place.exists()]
    assert [place for place in places if place.exists()] == []
    with pytest.raises(NotFound):
        data(house, "Publish", table="gbsg2", data_version=old)


def test_what_answers_is_retired_only_on_purpose(house: Sandbox) -> None:
    version = in_use(house)
    with pytest.raises(RequestInvalid, match="--withdraw"):
        data(house, "Retire", table="gbsg2", data_version=version, reason="wrong export")
    with pytest.raises(RequestInvalid, match="reason"):
        data(house, "Retire", table="gbsg2", data_version=version, reason=" ", withdraw=True)
    data(house, "Retire", table="gbsg2", data_version=version, reason="wrong export", withdraw=True)
    with pytest.raises(MpcdError, match="not published here"):
        count(house)
    house.stop(0, signal.SIGKILL)
    house.restart(0)
    assert version not in {str(one["data_version"]) for one in versions(house)}
    # The same rows again are the same version, and need a word.
    with pytest.raises(DataInvalid, match="was retired"):
        data(house, "Publish", table="gbsg2", paths=[str(export(house, 60))])
    data(house, "Publish", table="gbsg2", paths=[str(export(house, 60))], forced="retired by mistake")
    assert in_use(house) == version
    assert count(house) == ALL - 60


def test_the_ledger_holds_every_step(house: Sandbox) -> None:
    kinds = [str(entry["kind"]) for entry in house.entries(0)]
    assert kinds.count("data_retired") == 2
    assert kinds.count("opted_out") == 1
    assert kinds.count("published") >= 4
