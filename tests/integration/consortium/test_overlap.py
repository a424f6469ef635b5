"""Whether owners share persons, between real daemons: none, a planted share, and who takes no part."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpcd import limits
from mpcd.errors import NotFound, Refused, RequestInvalid
from mpcd.identity import Request, ResultKey
from mpcd.sandbox.prepare import TableFiles

Sandbox = Any  # the conftest's own class
DATA = Path(__file__).resolve().parents[2] / "data"
PLANTED = 686 * 9 // 100


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bring_up_consortium: Callable[..., Iterator[Sandbox]]
) -> Iterator[Sandbox]:
    tables = (TableFiles("gbsg2", (DATA / "gbsg2.csv",)),)
    yield from bring_up_consortium(tmp_path_factory.mktemp("overlap"), 3, tables)


def data(house: Sandbox, party: int, verb: str, **params: object) -> dict[str, Any]:
    with house.admin(party) as client:
        found: dict[str, Any] = client.call(f"mpc.v1.Data{verb}", params)
        return found


def configure(house: Sandbox, party: int) -> None:
    """Say which column of our files tells persons alike everywhere, and make the present version anew with it."""
    file: Path = house.home(party) / "mpcd.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('[tables."gbsg2"]\n', '[tables."gbsg2"]\nlinkage = ["rid"]\n'), encoding="utf-8")
    house.stop(party, signal.SIGTERM)
    house.restart(party)
    data(house, party, "Publish", table="gbsg2")


def kinds(house: Sandbox, party: int) -> list[str]:
    return [str(entry["kind"]) for entry in house.entries(party)]


def test_where_no_linkage_is_configured_nobody_takes_part(house: Sandbox) -> None:
    configure(house, 0)
    with pytest.raises(Refused) as caught:
        data(house, 0, "Overlap", table="gbsg2")
    assert {(int(r.party), r.rule) for r in caught.value.reasons} == {(1, "overlap"), (2, "overlap")}
    with pytest.raises(NotFound):
        data(house, 0, "Overlap", table="nothing")


def test_a_true_zero_passes(house: Sandbox) -> None:
    for party in (1, 2):
        configure(house, party)
    said = data(house, 0, "Overlap", table="gbsg2")
    assert (said["level"], said["found"], said["band"]) == (0, False, "fewer than 1 %")
    for party in range(3):
        assert kinds(house, party)[-4:].count("recorded") == 1
        assert kinds(house, party).count("overlap_checked") == (party == 0)
    noted = json.dumps([e for e in house.entries(0) if e["kind"] == "overlap_checked"], default=str)
    assert "fewer than 1 %" in noted
    # Who did not ask holds no word of what came out.
    assert "fewer than 1 %" not in json.dumps([house.entries(1), house.entries(2)], default=str)


def test_a_planted_share_is_found(house: Sandbox) -> None:
    rows = house.rows("gbsg2")
    for place, row in enumerate(rows[1][:PLANTED]):
        row["rid"] = rows[0][place]["rid"]
    path: Path = house.home(1) / "planted.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[1][0]))
        writer.writeheader()
        writer.writerows(rows[1])
    data(house, 1, "Publish", table="gbsg2", paths=[str(path)])
    said = data(house, 2, "Overlap", table="gbsg2")
    assert (said["level"], said["found"], said["band"]) == (2, True, "3 % to 10 %")


def test_an_overlap_check_is_no_question_that_others_are_kept_apart_from(house: Sandbox) -> None:
    with house.client(0) as client:
        assert client.sql("SELECT COUNT(*) FROM gbsg2").table.rows == ((686,),)


def test_it_is_asked_only_so_often(house: Sandbox) -> None:
    for _ in range(limits.OVERLAP_CHECKS_PER_DAY_MAX - 2):
        data(house, 1, "Overlap", table="gbsg2")
    with pytest.raises(Refused, match="enough"):
        data(house, 0, "Overlap", table="gbsg2")


def test_an_analyst_cannot_ask(house: Sandbox, talk: tuple[Callable[..., str], Callable[..., Any]]) -> None:
    submit, finish = talk
    profile = house.profile
    request = Request.make(
        'SELECT COUNT(*) FROM "gbsg2"',
        purpose="overlap",
        analyst=profile.signing_key.public,
        result_key=ResultKey.generate(os.urandom).public,
        roster_hash=profile.roster_hash,
        consortium=profile.consortium,
        now=time.time(),
        entropy=os.urandom,
        kind="overlap",
    )
    with house.client(0) as client:
        with pytest.raises(RequestInvalid, match="only a party of the roster"):
            finish(client, submit(client, request.sign(profile.signing_key).to_bytes()))
        with pytest.raises(RequestInvalid):
            client.call("mpc.v1.Explain", {"request": request.sign(profile.signing_key).to_bytes()})
