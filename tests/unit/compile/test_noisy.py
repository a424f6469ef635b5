"""Plans under differential privacy: the noise of each value, the program by all roles, its cost, tampered twins."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mpcd import canonical
from mpcd.compile.choose import program
from mpcd.compile.noisy import NoisyProgram
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import Program
from mpcd.errors import Bug, CheatDetected, PlanUnsupported, RequestInvalid
from mpcd.field import FP, FQ, Field
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.privacy import Ask, Noise
from mpcd.ids import COMPUTE_ROLES, PartyId, Role
from mpcd.plan.ir import Cohort, ColumnRef, GroupKey, LocalValue, LogicalPlan, Source
from mpcd.plan.nodes import Gate
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.verify import Security, SemiHonest
from mpcd.protocols.verify_batch import Malicious
from mpcd.release.rule import Integers
from mpcd.results.shape import INTEGER, KeyShape, Output, Shape, Value, ValueShape
from mpcd.testing.world import World

CELLS = 70
AGE = ColumnRef(0, "age")
LAPLACE = Ask("laplace", "3", "0.000001")
GAUSSIAN = Ask("gaussian", "3", "0.000001")


@dataclass(frozen=True)
class Cells:
    cohorts: Integers
    values: tuple[Integers | list[int], ...]


def logical(**changes: object) -> LogicalPlan:
    values = (
        LocalValue("count", (), None, 0, 1, "p", 0),
        LocalValue("sum", (AGE,), None, -5, 20, "p", 0),
        LocalValue("sum", (AGE, AGE), None, 0, 2**40, "q", 0),
    )
    plan = LogicalPlan(
        sources=(Source("t", "t"),),
        joins=(),
        where=None,
        keys=(GroupKey("age", AGE, 0, CELLS, nullable=False),),
        persons=None,
        persons_unique=True,
        persons_disjoint=True,
        rows_disjoint=True,
        rows_max=2**25,
        cohort_width=7,
        cohorts=(Cohort(None),),
        gates=(Gate(0, None),),
        values=values,
        uses={"t.age": frozenset({"group", "aggregate"})},
        shape=Shape(
            keys=(KeyShape("age", INTEGER, CELLS, nullable=False),),
            gates=1,
            values=tuple(ValueShape(value.field, value.gate) for value in values),
            outputs=tuple(Output(f"v{index}", INTEGER, Value(index)) for index in range(3)),
            having=None,
            order=(),
            limit=None,
            offset=0,
        ),
        owners=(PartyId(0), PartyId(1), PartyId(2)),
        as_of=dt.date(2026, 11, 22),
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def physical(ask: Ask | bytes | None, security: Security = "malicious", **changes: object) -> PhysicalPlan:
    plan = logical(**changes)
    return PhysicalPlan(
        logical=plan,
        rules=DisclosureRules(),
        owners=plan.owners,
        compute=(PartyId(0), PartyId(1), PartyId(2)),
        data_versions={owner: {"t": "v1"} for owner in plan.owners},
        security=security,
        terms={"privacy": ask.encode() if isinstance(ask, Ask) else ask},
    )


def noises(plan: PhysicalPlan) -> tuple[Noise, ...]:
    assert plan.privacy is not None
    return plan.privacy.noises


# ------------------------------------------------------------------------------------------------ the noise of a plan


def test_without_an_ask_numbers_are_exact() -> None:
    plan = physical(None)
    assert plan.privacy is None
    assert plan.to_value()["privacy"] is None
    assert isinstance(program(plan), Program)
    assert isinstance(program(physical(LAPLACE)), NoisyProgram)


def test_scales_follow_from_bounds_alone() -> None:
    assert noises(physical(LAPLACE)) == tuple(Noise("laplace", Fraction(size)) for size in (1, 20, 2**40))


def test_owners_multiply_unless_persons_are_disjoint() -> None:
    apart = noises(physical(LAPLACE))
    shared = noises(physical(LAPLACE, persons_disjoint=False))
    assert [a.size * 3 for a in apart] == [b.size for b in shared]


def test_rows_of_one_person_multiply_and_must_be_said() -> None:
    several: dict[str, Any] = {"persons": ColumnRef(0, "id"), "persons_unique": False}
    with pytest.raises(PlanUnsupported, match="rows-per-person"):
        _ = physical(LAPLACE, **several).privacy
    capped = noises(physical(replace(LAPLACE, rows_per_person=4), **several))
    assert [noise.size for noise in capped] == [4 * noise.size for noise in noises(physical(LAPLACE))]
    # Where a person has one row, the cap changes nothing: no noise for rows that cannot be.
    assert noises(physical(replace(LAPLACE, rows_per_person=4))) == noises(physical(LAPLACE))


def test_what_cannot_be_kept_is_refused_with_the_way_out() -> None:
    with pytest.raises(RequestInvalid, match="makes no sense"):
        program(physical(b"\x00"))
    with pytest.raises(PlanUnsupported, match="delta"):
        program(physical(Ask("laplace", "1", "0.000000000000001")))
    with pytest.raises(PlanUnsupported, match="leave their field"):
        program(physical(Ask("laplace", "0.0000000000000001", "0.000001")))
    with pytest.raises(PlanUnsupported, match="at least two owners"):
        program(physical(LAPLACE, owners=(PartyId(0),)))


def test_the_plan_names_the_noise_and_all_thresholds() -> None:
    plans = [physical(ask) for ask in (LAPLACE, GAUSSIAN, replace(LAPLACE, epsilon="2"))]
    assert len({plan.hash for plan in plans}) == 3
    described = canonical.decode(plans[0].encoded)
    assert isinstance(described, dict)
    told = described["privacy"]
    assert isinstance(told, dict)
    assert told["noise"] == [["laplace", "1", "1"], ["laplace", "20", "1"], ["laplace", str(2**40), "1"]]
    assert told["rho"] == ["9", "2"]
    assert len(told["thresholds"]) == 32  # type: ignore[arg-type]  # bytes


# ------------------------------------------------------------------------------------------------ the program


def local(owner: int) -> Cells:
    values = np.arange(CELLS, dtype=np.int64) * (owner + 1)
    return Cells(np.zeros((1, CELLS), np.int64), (values, -values, [int(v) << 40 for v in values]))


def expected(value: int) -> list[int]:
    return [int(sum(int(local(owner).values[value][cell]) for owner in range(3))) for cell in range(CELLS)]


def run(world: World, plan: PhysicalPlan) -> list[Mapping[str, list[object]]]:
    """What the three compute parties would seal."""
    made = program(plan)

    async def compute(ctx: Context) -> bytes:
        return await made.run_compute(ctx)

    def give(owner: int) -> object:
        async def provide(ctx: InputContext) -> None:
            await made.run_input(ctx, local(owner))

        return provide

    results = world.session(compute, {owner: give(owner) for owner in range(3)})  # type: ignore[misc]  # programs
    decoded = [canonical.decode(results[role]) for role in COMPUTE_ROLES]  # type: ignore[arg-type]  # bytes
    return [payload for payload in decoded if isinstance(payload, dict)]  # type: ignore[misc]  # of lists


def opened(payloads: list[Mapping[str, list[object]]], index: int, field: Field) -> list[int]:
    total = [0] * CELLS
    for payload in payloads:
        own = payload["values"][index][0]  # type: ignore[index]  # a pair of bytes
        size = field.element_bytes
        total = [x + int.from_bytes(own[i * size : (i + 1) * size], "little") for i, x in enumerate(total)]
    half = field.modulus // 2
    return [x - field.modulus if x > half else x for x in (x % field.modulus for x in total)]


@pytest.mark.parametrize("ask", [LAPLACE, GAUSSIAN])
def test_every_cell_is_its_sum_and_noise_within_what_is_possible(ask: Ask) -> None:
    plan = physical(ask)
    assert plan.privacy is not None
    payloads = run(World(1, verifier=Malicious), plan)
    for index, (field, table) in enumerate(zip((FP, FP, FQ), plan.privacy.tables, strict=True)):
        found = opened(payloads, index, field)
        differences = [x - y for x, y in zip(found, expected(index), strict=True)]
        assert any(differences)
        assert max(map(abs, differences)) <= table.magnitude_max
        spread = (sum(d * d for d in differences) / CELLS) ** 0.5
        assert 0.6 < spread / plan.privacy.noises[index].deviation < 1.6
    for payload in payloads:
        assert payload["statuses"] == [[[bytes(16), bytes(16)]] * 3]


def test_the_copies_of_every_share_agree() -> None:
    payloads = run(World(2), physical(GAUSSIAN, "semi-honest"))
    for index, payload in enumerate(payloads):
        following = payloads[(index + 1) % 3]
        for own, other in zip(payload["values"], following["values"], strict=True):
            assert own[1] == other[0]  # type: ignore[index]  # pairs


def test_two_sessions_of_one_question_draw_other_noise() -> None:
    world = World(3)
    plan = physical(LAPLACE, "semi-honest")
    assert opened(run(world, plan), 0, FP) != opened(run(world, plan), 0, FP)


def test_one_session_never_draws_twice() -> None:
    made = program(physical(LAPLACE, "semi-honest"))

    async def twice(ctx: Context) -> None:
        await made.run_compute(ctx)
        await made.run_compute(ctx)

    async def finished(ctx: Context) -> None:
        await made.run_compute(ctx)
        ctx.finish()
        await ctx.narrow("later").random_planes(64, 64)

    async def give(ctx: InputContext) -> None:
        await made.run_input(ctx, local(0))

    for again in (twice, finished):
        with pytest.raises(Bug, match=r"not a new one|has ended|is finished"):
            World(7).session(again, dict.fromkeys(range(3), give))


@pytest.mark.parametrize("ask", [LAPLACE, GAUSSIAN])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_cost_is_exact(ask: Ask, security: Security) -> None:
    world = World(4, verifier=SemiHonest if security == "semi-honest" else Malicious)
    plan = physical(ask, security)
    run(world, plan)
    counted, predicted = world.counted(), program(plan).cost()
    assert (counted.rounds, counted.compute, counted.input) == (predicted.rounds, predicted.compute, predicted.input)


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize(
    "step", ["noise-p/batch0/products/pairs", "noise-p/batch0/tree/level2", "noise-q/batch0/elements/second"]
)
def test_changed_noise_aborts(step: str, party: int) -> None:
    world = World(5, verifier=Malicious).tamper(step, party)
    with pytest.raises(CheatDetected):
        run(world, physical(LAPLACE))


def test_an_owner_that_sends_different_copies_is_caught() -> None:
    world = World(6, verifier=Malicious).tamper("input/share", Role("input", 1), receiver=COMPUTE_ROLES[1])
    with pytest.raises(CheatDetected):
        run(world, physical(LAPLACE))
