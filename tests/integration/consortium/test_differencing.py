"""Two questions that differ by one person, over three real daemons: the second tells nothing, whoever asks and when.

In either order, across analysts, at once or after a restart; with the rule switched off the same subtraction gives the
person away.

Each attack has people of its own, so that none stands in another's way.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from mpcd.api.client import Client
from mpcd.api.flow import Answer
from mpcd.identity import SigningKey
from mpcd.results.table import Cell, Suppressed
from mpcd.sandbox.prepare import TableFiles

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Row, Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "data"
COLUMNS = ("horTh", "age", "menostat", "tsize", "tgrade", "pnodes", "progrec", "estrec", "time", "cens")
HIDDEN = Suppressed("floor")


def policy(*disclosure: str) -> str:
    uses = "".join(f"{json.dumps(name)} = {json.dumps(['filter', 'group', 'aggregate'])}\n" for name in COLUMNS)
    rules = "".join(f"{line}\n" for line in disclosure)
    return f'purposes = ["NRES"]\n\n[disclosure]\n{rules}\n[[table]]\nname = "gbsg2"\n[table.uses]\n{uses}'


@dataclass
class House:
    """The consortium, a second analyst in it, and what one person's row says."""

    sandbox: Sandbox
    database: duckdb.DuckDBPyConnection
    other: SigningKey = field(default_factory=lambda: SigningKey.generate(os.urandom))

    def ask(self, sql: str, party: int = 0, *, as_other: bool = False) -> Answer:
        profile = self.sandbox.profile
        if as_other:
            profile = replace(profile)
            profile.__dict__["signing_key"] = self.other
        with Client.connect(self.sandbox.hospitals[party].api, profile) as client:
            return client.sql(sql)

    def row(self, sql: str, party: int = 0, *, as_other: bool = False) -> tuple[Cell, ...]:
        (row,) = self.ask(sql, party, as_other=as_other).table.rows
        return tuple(row)

    def truth(self, sql: str) -> tuple[int, ...]:
        found = self.database.execute(sql).fetchone()
        assert found is not None
        return tuple(int(value) for value in found)

    def accept_other(self) -> None:
        entry = f'\n[[analyst]]\nname = "another analyst"\nkey = "{self.other.public}"\n'
        self.reload(lambda text: text + entry)

    def reload(self, change: Callable[[str], str]) -> None:
        for party in range(3):
            path = self.sandbox.home(party) / "policy.toml"
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
            with self.sandbox.admin(party) as client:
                client.call("mpc.v1.Reload")


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bring_up_consortium: Callable[..., Iterator[Sandbox]]
) -> Iterator[House]:
    tables = [TableFiles("gbsg2", (DATA / "gbsg2.csv",))]
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE gbsg2 AS SELECT * FROM read_csv('{DATA / 'gbsg2.csv'}', nullstr='')")
        for sandbox in bring_up_consortium(tmp_path_factory.mktemp("differencing"), 3, tables, {None: policy()}):
            found = House(sandbox, database)
            found.accept_other()
            yield found


def pair(house: House, group: str, what: str = "SUM(pnodes)") -> tuple[str, str, str]:
    """A total over a group, the same without one person, and the person alone."""
    found = house.database.execute(
        f"SELECT age, tsize FROM gbsg2 WHERE {group} GROUP BY age, tsize HAVING COUNT(*) = 1 ORDER BY ALL LIMIT 1"
    ).fetchone()
    assert found is not None
    person = f"age = {found[0]} AND tsize = {found[1]}"
    select = f"SELECT COUNT(*), {what} FROM gbsg2 WHERE {group}"
    return select, f"{select} AND NOT ({person})", f"{select} AND {person}"


def test_the_second_of_a_pair_tells_nothing(house: House) -> None:
    whole, without, _ = pair(house, "horTh = 'yes' AND menostat = 'Post'")
    assert house.row(whole) == house.truth(whole)
    assert house.row(without, 1) == (HIDDEN, HIDDEN)
    assert house.row(whole, 2) == house.truth(whole), "the same question is answered as often as it is asked"


def test_the_other_way_round(house: House) -> None:
    whole, without, _ = pair(house, "horTh = 'yes' AND menostat = 'Pre'")
    assert house.row(without) == house.truth(without)
    assert house.row(whole, 1) == (HIDDEN, HIDDEN)


def test_across_analysts(house: House) -> None:
    whole, without, _ = pair(house, "horTh = 'no' AND menostat = 'Pre'")
    assert house.row(whole) == house.truth(whole)
    assert house.row(without, 1, as_other=True) == (HIDDEN, HIDDEN)


def test_a_union_of_a_grouped_answers_cells(house: House) -> None:
    """GROUP BY, and then a few of its groups together without one person."""
    house.ask("SELECT progrec // 50, COUNT(*) FROM gbsg2 WHERE menostat = 'Post' AND horTh = 'no' GROUP BY 1")
    _, without, _ = pair(house, "menostat = 'Post' AND horTh = 'no' AND progrec < 100")
    assert house.row(without) == (HIDDEN, HIDDEN)
    same, _, _ = pair(house, "menostat = 'Post' AND horTh = 'no' AND progrec >= 100")
    assert house.row(same) == house.truth(same), "a union of cells itself is nothing new"


def passes(house: House, condition: Callable[[Row], bool]) -> tuple[bool, int]:
    """Whether a group passes floor and `min_owners`, and how many it has."""
    counts = [sum(map(condition, rows)) for rows in house.sandbox.rows("gbsg2")]
    return sum(counts) - max(counts) >= 11 and all(counts), sum(counts)


def aged(low: int, high: int) -> Callable[[Row], bool]:
    return lambda row: low <= int(str(row["age"])) <= high


def test_a_band_over_a_suppressed_cell_of_a_finer_answer(house: House) -> None:
    """GROUP BY age, and then ages of which one was suppressed: subtracting the others would give it."""
    few = {age for age in range(30, 75) if not passes(house, aged(age, age))[0] and passes(house, aged(age, age))[1]}
    bands = [(low, low + width) for width in (2, 3, 4) for low in range(30, 70)]
    single = next(band for band in bands if len(few & set(range(band[0], band[1] + 1))) == 1)
    none = next(band for band in bands if not few & set(range(band[0], band[1] + 1)) and passes(house, aged(*band))[0])
    house.ask("SELECT age, COUNT(*), SUM(progrec) FROM gbsg2 GROUP BY age")
    asked = "SELECT COUNT(*), SUM(progrec) FROM gbsg2 WHERE age BETWEEN {} AND {}"
    assert passes(house, aged(*single))[0]
    assert house.row(asked.format(*single), 1) == (HIDDEN, HIDDEN)
    assert house.row(asked.format(*none), 2) == house.truth(asked.format(*none))


def test_two_at_once_do_not_both_tell(house: House) -> None:
    groups = [f"tgrade = 'II' AND estrec BETWEEN {low} AND {high}" for low, high in ((0, 9), (10, 39), (40, 2000))]
    for number, group in enumerate(groups):
        whole, without, _ = pair(house, group)
        assert all(house.truth(sql)[0] > 60 for sql in (whole, without))
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(house.row, sql, (number + place) % 3) for place, sql in enumerate((whole, without))]
            rows = [each.result() for each in asked]
        told = [row for row in rows if HIDDEN not in row]
        assert len(told) <= 1, "one of two sessions at once sees the other"


def test_a_restarted_owner_remembers(house: House) -> None:
    whole, without, _ = pair(house, "tgrade = 'III' AND pnodes < 4", "SUM(estrec)")
    assert house.row(whole) == house.truth(whole)
    for party in range(3):
        house.sandbox.stop(party, signal.SIGKILL)
        house.sandbox.restart(party)
    assert house.row(without) == (HIDDEN, HIDDEN)


def test_ordinary_work_is_not_hindered(house: House) -> None:
    """The same people again, other aggregates of them, a total and then its groups, a group and then its total."""
    group = "tgrade = 'III' AND pnodes >= 4"
    total = f"SELECT COUNT(*), SUM(estrec) FROM gbsg2 WHERE {group}"
    other = "SELECT AVG(progrec), SUM(estrec), COUNT(*) FROM gbsg2 WHERE pnodes > 3 AND tgrade = 'III'"
    grouped = f"SELECT menostat, COUNT(*), SUM(estrec) FROM gbsg2 WHERE {group} GROUP BY menostat"
    cell = f"{total} AND menostat = 'Post'"
    assert house.row(total) == house.truth(total)
    assert HIDDEN not in house.row(other, 1, as_other=True)
    rows = sorted(tuple(row) for row in house.ask(grouped, 2).table.rows)
    assert rows == sorted(house.database.execute(grouped).fetchall())
    assert house.row(cell) == house.truth(cell)
    assert house.row(total, 1) == house.truth(total)


def test_what_is_far_apart_is_answered(house: House) -> None:
    for party, size in enumerate((15, 25, 40)):
        sql = f"SELECT COUNT(*), SUM(time) FROM gbsg2 WHERE tgrade = 'II' AND tsize > {size} AND horTh = 'yes'"
        assert house.row(sql, party) == house.truth(sql)


def test_explain_and_the_result_agree_on_the_cost(house: House) -> None:
    sql = "SELECT COUNT(*) FROM gbsg2 WHERE tgrade = 'II' AND tsize > 40 AND horTh = 'no'"
    with house.sandbox.client() as client:
        explained = client.explain(sql)
        answer = client.sql(sql)
    predicted = answer.info.facts["predicted"]
    assert isinstance(predicted, dict)
    assert explained["rounds"] == predicted["rounds"]
    spent = answer.info.facts["spent"]
    assert isinstance(spent, dict)
    assert spent["compute0"] == [predicted["rounds"], predicted["compute"][0]]  # type: ignore[index]


def test_with_the_rule_off_the_subtraction_gives_the_person_away(house: House) -> None:
    """Last: the rule is switched off at every owner; one that keeps it on would be enough to keep it."""
    on, off = "[disclosure]\n", "[disclosure]\ndifferencing = false\n"
    whole, without, alone = pair(house, "tgrade = 'I'", "SUM(estrec)")
    house.reload(lambda text: text.replace(on, off))
    first, second = house.row(whole), house.row(without)
    difference = tuple(a - b for a, b in zip(first, second, strict=True))  # type: ignore[operator]
    assert difference == house.truth(alone)
    assert difference[0] == 1
    house.reload(lambda text: text.replace(off, on))
    assert house.row(whole) == first, "what was asked about first"
    assert house.row(without) == (HIDDEN, HIDDEN)
