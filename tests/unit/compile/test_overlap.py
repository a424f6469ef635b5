"""The overlap check: what it finds and passes, its correction, its exact cost, tampered twins."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mpcd import canonical
from mpcd.compile.choose import program
from mpcd.compile.overlap import (
    NAME,
    THRESHOLDS_PERMILLE,
    Overlap,
    band_text,
    bitmap,
    halvings,
    statement,
    why_not,
)
from mpcd.compile.physical import PhysicalPlan
from mpcd.errors import CheatDetected, PlanUnsupported
from mpcd.field import FP
from mpcd.governance.disclosure import DisclosureRules
from mpcd.ids import COMPUTE_ROLES, PartyId, Role, SessionId
from mpcd.plan.ir import Cohort, ColumnRef, GroupKey, LocalValue, LogicalPlan, Source
from mpcd.plan.nodes import Gate
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.verify import Security, SemiHonest
from mpcd.protocols.verify_batch import Malicious
from mpcd.release.rule import Integers
from mpcd.results.shape import INTEGER, Output, Shape, Value, ValueShape
from mpcd.testing.world import World

POSITIONS = 2**14
EACH = 600
NINE_PERCENT = 3 * EACH * 9 // 100
SESSION = SessionId(bytes(range(32)))
Digests = npt.NDArray[np.int64]


def digests(names: Sequence[str]) -> Digests:
    raw = b"".join(hashlib.sha256(name.encode()).digest()[:16] for name in names)
    return np.frombuffer(raw, dtype="<i8").reshape(-1, 2).astype(np.int64)


def logical(owners: int = 3, **changes: object) -> LogicalPlan:
    plan = LogicalPlan(
        sources=(Source("t", "t"),),
        joins=(),
        where=None,
        keys=(),
        persons=None,
        persons_unique=True,
        persons_disjoint=True,
        rows_disjoint=True,
        rows_max=1000 * owners,
        cohort_width=12,
        cohorts=(Cohort(None),),
        gates=(Gate(0, None),),
        values=(LocalValue("count", (), None, 0, 1, "p", 0),),
        uses={},
        shape=Shape(
            keys=(),
            gates=1,
            values=(ValueShape("p", 0),),
            outputs=(Output("n", INTEGER, Value(0)),),
            having=None,
            order=(),
            limit=None,
            offset=0,
        ),
        owners=tuple(PartyId(owner) for owner in range(owners)),
        as_of=dt.date(2026, 11, 22),
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def physical(
    security: Security = "malicious", owners: int = 3, positions: int = POSITIONS, **changes: object
) -> PhysicalPlan:
    plan = logical(owners, **changes)
    return PhysicalPlan(
        logical=plan,
        rules=DisclosureRules(),
        owners=plan.owners,
        compute=(PartyId(0), PartyId(1), PartyId(2)),
        data_versions={owner: {"t": "v1"} for owner in plan.owners},
        security=security,
        terms={"overlap": positions},
    )


@dataclass(frozen=True)
class Nothing:
    cohorts: Integers = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    values: tuple[Integers | list[int], ...] = ()


def people(owners: int, each: int, shared: int, salt: str = "") -> list[Digests]:
    """Lists of equal length; so many persons are at two owners, spread over the pairs that follow one another."""
    names = [[f"{salt}{owner}-{number}" for number in range(each)] for owner in range(owners)]
    for number in range(shared):
        here, there = number % owners, (number + 1) % owners
        names[there][number] = names[here][number]
    return [digests(one) for one in names]


def run(world: World, plan: PhysicalPlan, lists: Sequence[Digests]) -> list[Mapping[str, list[Any]]]:
    """What the three compute parties would seal."""
    made = program(plan)

    async def compute(ctx: Context) -> bytes:
        return await made.run_compute(ctx)

    def give(own: Digests) -> Any:
        async def provide(ctx: InputContext) -> None:
            await made.run_input(ctx, Nothing(), {NAME: [own]})

        return provide

    results = world.session(compute, {owner: give(own) for owner, own in enumerate(lists)})
    return [canonical.decode(results[role]) for role in COMPUTE_ROLES]  # type: ignore[arg-type, misc]  # maps


def band(payloads: Sequence[Mapping[str, list[Any]]]) -> int:
    for index, payload in enumerate(payloads):
        assert payload["values"][0][1] == payloads[(index + 1) % 3]["values"][0][0]
    return sum(int.from_bytes(payload["values"][0][0], "little") for payload in payloads) % FP.modulus


def test_a_term_makes_the_program() -> None:
    assert isinstance(program(physical()), Overlap)
    assert program(physical()).asks == (NAME,)


@pytest.mark.parametrize("seed", range(6))
def test_a_planted_share_is_found_and_a_true_zero_passes(seed: int) -> None:
    plan = physical("semi-honest")
    planted = people(3, EACH, NINE_PERCENT, f"p{seed}")
    assert band(run(World(seed), plan, planted)) == 2
    assert band(run(World(seed), plan, people(3, EACH, 0, f"z{seed}"))) == 0


@pytest.mark.parametrize(("shared", "expected"), [(0, 0), (NINE_PERCENT, 2)])
def test_the_same_under_a_cheaters_eyes(shared: int, expected: int) -> None:
    payloads = run(World(1, verifier=Malicious), physical(), people(3, EACH, shared))
    assert band(payloads) == expected
    assert all(payload["statuses"] == [[[bytes(8), bytes(8)]] * 3] for payload in payloads)


@pytest.mark.parametrize(("percent", "expected"), [(0, 0), (3, 1), (5, 2), (20, 3), (50, 4)])
def test_every_band(percent: int, expected: int) -> None:
    lists = people(2, EACH, 2 * EACH * percent // 100)
    if percent == 50:
        lists = [lists[0], lists[0]]
    assert expected <= len(THRESHOLDS_PERMILLE)
    assert band(run(World(2), physical("semi-honest", owners=2), lists)) == expected


def test_full_bitmaps_that_meet_by_chance_are_not_found() -> None:
    """Without the correction nearly every place would count: an eighth full, they meet in hundreds of places."""
    each = POSITIONS // 8
    lists = people(5, each, 0)
    maps = [bitmap(one, SESSION, POSITIONS, 0) for one in lists]
    met = sum(int(np.bitwise_count(a & b).sum()) for i, a in enumerate(maps) for b in maps[:i])
    assert met > each
    assert band(run(World(3), physical("semi-honest", owners=5, rows_max=5 * each), lists)) == 0


def test_who_plants_one_person_learns_nothing() -> None:
    """One owner lists a single person whom another has: without the floor this alone would be half of all."""
    victim = digests(["victim"])
    lists = [victim, np.concatenate([victim, digests(["other"])]), digests(["third"])]
    assert band(run(World(4), physical("semi-honest"), lists)) == 0


def test_no_persons_at_all() -> None:
    assert band(run(World(5), physical("semi-honest"), [digests([])] * 3)) == 0


# ------------------------------------------------------------------------------------------------ bitmaps


def test_a_persons_place_is_the_same_at_every_owner_and_another_in_every_check() -> None:
    one = digests(["anna", "berta"])
    assert (bitmap(one, SESSION, POSITIONS, 0) == bitmap(one[::-1], SESSION, POSITIONS, 0)).all()
    assert (bitmap(one, SESSION, POSITIONS, 0) != bitmap(one, SessionId(bytes(32)), POSITIONS, 0)).any()


def test_the_sample_is_halved_where_bitmaps_would_be_full() -> None:
    assert [halvings(logical(2, rows_max=2 * rows), 8 * 1000) for rows in (1, 1000, 1001, 2000, 2001, 8000)] == [
        0,
        0,
        1,
        1,
        2,
        3,
    ]
    many = digests([str(number) for number in range(4000)])
    counts = [int(np.bitwise_count(bitmap(many, SESSION, 2**18, halved)).sum()) for halved in (0, 2)]
    assert 3900 < counts[0] <= 4000
    assert 900 < counts[1] < 1100


# ------------------------------------------------------------------------------------------------ what is asked


def test_a_check_is_the_bare_count_of_one_table_with_disjoint_persons() -> None:
    assert why_not(logical()) is None
    assert "persons_disjoint" in str(why_not(logical(persons_disjoint=False)))
    key = GroupKey("age", ColumnRef(0, "age"), 0, 2, nullable=False)
    assert "nothing else" in str(why_not(logical(keys=(key,))))
    assert statement('a"b') == 'SELECT COUNT(*) FROM "a""b"'
    with pytest.raises(PlanUnsupported, match="persons_disjoint"):
        program(physical(persons_disjoint=False))
    with pytest.raises(PlanUnsupported, match="one owner"):
        program(physical(owners=1))
    with pytest.raises(PlanUnsupported, match="too many"):
        program(physical(owners=4, positions=2**23))


def test_bands_in_words() -> None:
    assert [band_text(level) for level in range(5)] == [
        "fewer than 1 %",
        "1 % to 3 %",
        "3 % to 10 %",
        "10 % to 30 %",
        "30 % or more",
    ]


# ------------------------------------------------------------------------------------------------ cost, cheaters


@pytest.mark.parametrize("owners", [2, 3])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_cost_is_exact(security: Security, owners: int) -> None:
    world = World(6, verifier=SemiHonest if security == "semi-honest" else Malicious)
    plan = physical(security, owners)
    run(world, plan, people(owners, 50, 0))
    counted, predicted = world.counted(), program(plan).cost()
    assert (counted.rounds, counted.compute, counted.input) == (predicted.rounds, predicted.compute, predicted.input)


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize(
    "step", ["flags/first", "flags/second", "squares", "band/products", "band/bits/save", "band/reached/second"]
)
def test_a_changed_message_aborts(step: str, party: int) -> None:
    world = World(7, verifier=Malicious).tamper(step, party)
    with pytest.raises(CheatDetected):
        run(world, physical(), people(3, 50, 10))


def test_an_owner_that_sends_different_copies_is_caught() -> None:
    world = World(8, verifier=Malicious).tamper("input/share", Role("input", 1), receiver=COMPUTE_ROLES[1])
    with pytest.raises(CheatDetected):
        run(world, physical(), people(3, 50, 0))
