"""The patients whom `redteam` is after: three hospitals' made-up tables, with one person in them who stands out.

The target is at hospital 1: 91 years old, a woman in ward A of the north, HIV positive.  Nobody else is above 79.
All numbers come from a seed.
"""

from __future__ import annotations

import random
from typing import Any, Final

from mpcd.ids import PartyId
from mpcd.roster import Column
from mpcd.roster import Table as RosterTable
from mpcd.testing.redhouse import Data, Row

OWNERS: Final = (PartyId(0), PartyId(1), PartyId(2))
EACH: Final = 60
REGIONS: Final = ("north", "south", "east", "west")
WARDS: Final = ("A", "B", "C", "D")
TARGET: Final = 999
"""The target's person id."""
DAY_FIRST, DAY_LAST = 18_262, 20_453
"""2020-01-01 and 2025-12-31."""

PATIENTS: Final = RosterTable(
    name="patients",
    rows_max=1000,
    rows_disjoint=True,
    persons_disjoint=True,
    person_id="pid",
    owners=OWNERS,
    columns=(
        Column("pid", "person_id", unique=True),
        Column("mrn", "integer", 0, 999_999, unique=True),
        Column("sex", "dictionary", 0, 1, levels=("F", "M")),
        Column("age", "integer", 18, 110),
        Column("region", "dictionary", 0, 3, levels=REGIONS),
        Column("ward", "dictionary", 0, 3, levels=WARDS),
        Column("hiv", "boolean", 0, 1),
        Column("smoker", "boolean", 0, 1, nullable=True),
        Column("weight", "integer", 30, 200, nullable=True),
        Column("grade", "integer", 1, 3),
        Column("doses", "integer", 0, 60),
        Column("cost", "integer", 0, 10_000_000),
        Column("admitted", "date", DAY_FIRST, DAY_LAST),
        Column("gene", "boolean", 0, 1),
    ),
)
VISITS: Final = RosterTable(
    name="visits",
    rows_max=5000,
    rows_disjoint=True,
    persons_disjoint=True,
    person_id="pid",
    owners=OWNERS,
    columns=(
        Column("pid", "person_id"),
        Column("kind", "dictionary", 0, 2, levels=("clinic", "emergency", "psychiatry")),
        Column("fee", "integer", 0, 100_000),
    ),
)
SECRET: Final = RosterTable(
    name="secret",
    rows_max=1000,
    rows_disjoint=True,
    persons_disjoint=True,
    person_id="pid",
    owners=OWNERS,
    columns=(Column("pid", "person_id", unique=True), Column("arm", "dictionary", 0, 1, levels=("drug", "placebo"))),
)


def _patient(rng: random.Random, pid: int, number: int) -> dict[str, int | None]:
    return {
        "pid": pid,
        "mrn": 100_000 + pid * 7,
        "sex": number % 2,
        "age": 20 + (number * 7 + rng.randrange(3)) % 60,
        "region": number % 3,
        "ward": (number // 3) % 4,
        "hiv": int(number % 5 == 0),
        "smoker": number // 2 % 2,
        "weight": 55 + rng.randrange(45),
        "grade": 1 + number % 2,
        "doses": 3 + rng.randrange(8),
        "cost": 20_000 + rng.randrange(20_000),
        "admitted": DAY_FIRST + rng.randrange(DAY_LAST - DAY_FIRST),
        "gene": number % 2,
    }


def _target(rng: random.Random) -> dict[str, int | None]:
    found = _patient(rng, TARGET, 0)
    more: dict[str, int | None] = {"sex": 0, "age": 91, "region": 0, "ward": 0, "hiv": 1, "cost": 31_234, "weight": 67}
    return {**found, **more, "admitted": DAY_FIRST + 700}


def ward(seed: int = 1) -> Data:
    """The base data."""
    rng = random.Random(seed)  # noqa: S311  made-up people
    patients: list[list[Row]] = []
    visits: list[list[Row]] = []
    secret: list[list[Row]] = []
    for owner in OWNERS:
        rows: list[Row] = [_patient(rng, 100 * (owner + 1) + number, number) for number in range(EACH)]
        if owner == 1:
            rows.append(_target(rng))
        patients.append(rows)
        made: list[Row] = []
        for row in rows:
            made += [
                {"pid": row["pid"], "kind": place % 2, "fee": 100 + rng.randrange(100)}
                for place in range(1 + rng.randrange(3))
            ]
        visits.append(made)
        secret.append([{"pid": row["pid"], "arm": rng.randrange(2)} for row in rows])
    return Data((PATIENTS, VISITS, SECRET), {"patients": patients, "visits": visits, "secret": secret})


def is_target(row: Row) -> bool:
    """Whether a row is the target's."""
    return row["pid"] == TARGET


def but(row: Row, **changes: Any) -> Row:
    """A row with some columns changed."""
    return {**row, **changes}


def negative_but_for_the_target(data: Data) -> Data:
    """Nobody but the target is HIV positive."""
    return data.changed("patients", lambda row: but(row, hiv=int(is_target(row))))
