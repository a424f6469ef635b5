"""The program of a cells plan, run by all roles in lock-step: right answers, exact cost, no tampered opening."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mpcd import canonical, limits
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import Program
from mpcd.errors import CheatDetected, PlanUnsupported
from mpcd.field import FP, FQ, bits
from mpcd.governance.disclosure import DisclosureRules
from mpcd.ids import COMPUTE_ROLES, PartyId, Role
from mpcd.plan.ir import Cohort, ColumnRef, Compare, Constant, Gate, GroupKey, LocalValue, LogicalPlan, Source
from mpcd.plan.nodes import IsNotTrue
from mpcd.protocols import binary
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.protocols.inputs import BitsInput
from mpcd.protocols.spec import BitsSpec
from mpcd.protocols.verify import Security, SemiHonest
from mpcd.protocols.verify_batch import Malicious
from mpcd.release.rule import Evidence, Integers, Share, Sizes
from mpcd.results.shape import INTEGER, KeyShape, Output, Shape, Value, ValueShape
from mpcd.sharing import Planes
from mpcd.testing import disclosure
from mpcd.testing.disclosure import PlainRules
from mpcd.testing.world import World

CELLS = 70
AGE = ColumnRef(0, "age")
OLD = Compare(">=", AGE, Constant(60))


def logical(owners: int = 3, *, persons_disjoint: bool = True) -> LogicalPlan:
    values = (
        LocalValue("count", (), None, 0, 1, "p", 0),
        LocalValue("sum", (AGE,), OLD, -5, 120, "p", 1),
        LocalValue("sum", (AGE, AGE), OLD, 0, 2**80, "q", 1),
    )
    shape = Shape(
        keys=(KeyShape("age", INTEGER, CELLS, nullable=False),),
        gates=2,
        values=tuple(ValueShape(value.field, value.gate) for value in values),
        outputs=tuple(Output(f"v{index}", INTEGER, Value(index)) for index in range(3)),
        having=None,
        order=(),
        limit=None,
        offset=0,
    )
    return LogicalPlan(
        sources=(Source("t", "t"),),
        joins=(),
        where=None,
        keys=(GroupKey("age", AGE, 0, CELLS, nullable=False),),
        persons=None,
        persons_unique=True,
        persons_disjoint=persons_disjoint,
        rows_disjoint=True,
        rows_max=100 * owners,
        cohort_width=7,
        cohorts=(Cohort(None), Cohort(OLD), Cohort(IsNotTrue(OLD))),
        gates=(Gate(0, None), Gate(1, 2)),
        magnitudes=(),
        values=values,
        uses={"t.age": frozenset({"group", "aggregate", "filter"})},
        shape=shape,
        owners=tuple(PartyId(owner) for owner in range(owners)),
        as_of=dt.date(2026, 11, 22),
    )


def physical(owners: int = 3, **changes: object) -> PhysicalPlan:
    plan = logical(owners)
    return PhysicalPlan(
        logical=plan,
        rules=DisclosureRules(**changes),  # type: ignore[arg-type]
        owners=plan.owners,
        compute=(PartyId(0), PartyId(1), PartyId(2)),
        data_versions={owner: {"t": "00"} for owner in plan.owners},
    )


@dataclass
class Cells:
    cohorts: Integers
    values: tuple[Integers | list[int], ...]


def some_cells(owner: int) -> Cells:
    rng = np.random.default_rng(owner)
    inside = rng.integers(0, 25, CELLS) * (rng.random(CELLS) < 0.8)
    outside = rng.integers(0, 25, CELLS) * (rng.random(CELLS) < 0.6)
    sums = inside * rng.integers(-5, 120, CELLS)
    squares = [int(n) * (2**75 + owner) for n in inside]
    return Cells(np.stack([inside + outside, inside, outside]), (inside + outside, sums, squares))


def run(world: World, plan: PhysicalPlan) -> list[bytes]:
    program = Program(plan)
    cells = [some_cells(owner) for owner in range(len(plan.owners))]
    inputs = {owner: (lambda ctx, cell=cell: program.run_input(ctx, cell)) for owner, cell in enumerate(cells)}
    results = world.session(program.run_compute, inputs)
    return [results[role] for role in COMPUTE_ROLES if role in results]  # type: ignore[misc]


def opened(payloads: list[bytes]) -> tuple[list[list[int]], list[list[int]]]:
    """Statuses per gate and values, after checking that both copies of every component agree."""
    decoded: list[Any] = [canonical.decode(payload) for payload in payloads]
    statuses = []
    for which in range(2):
        planes = []
        for weight in range(3):
            pairs = [value["statuses"][which][weight] for value in decoded]
            assert all(pairs[i][1] == pairs[(i + 1) % 3][0] for i in range(3))
            words = [np.frombuffer(pair[0], dtype="<u8") for pair in pairs]
            bits = np.unpackbits((words[0] ^ words[1] ^ words[2]).view(np.uint8), bitorder="little")
            assert not bits[CELLS:].any(), "bits beyond the last cell"
            planes.append(bits[:CELLS].astype(int) << weight)
        statuses.append(sum(planes).tolist())  # type: ignore[union-attr]
    values = []
    for place, field in enumerate((FP, FP, FQ)):
        pairs = [value["values"][place] for value in decoded]
        assert all(pairs[i][1] == pairs[(i + 1) % 3][0] for i in range(3))
        parts = [field.decode(pair[0], CELLS) for pair in pairs]
        values.append(field.to_signed(field.add(field.add(parts[0], parts[1]), parts[2])))
    return statuses, values


def plain_statuses(plan: PhysicalPlan, cells: list[Cells], fails: Sequence[bool] = ()) -> list[list[int]]:
    """Per gate and cell, from the rules in the clear; `fails`: cells of gate 1 that another rule hides."""
    rules = PlainRules(
        plan.rules.safe_threshold, plan.rules.min_owners, zeros_shown=not plan.rules.zeros_are_disclosive
    )
    counts = [owner.cohorts.tolist() for owner in cells]
    gates = plan.logical.gates
    counted = [
        [
            disclosure.primary(rules, one, [[cohort[cell] for cohort in owner] for owner in counts])
            for cell in range(CELLS)
        ]
        for one in gates
    ]
    hidden = [
        [
            5 if index == 1 and any(fails) and fails[cell] and status in disclosure.SHOWN else status
            for cell, status in enumerate(statuses)
        ]
        for index, statuses in enumerate(counted)
    ]
    table = disclosure.Table(rules, gates, range(len(gates)), counts, counted, hidden)
    return disclosure.secondary(table, [CELLS])


@pytest.mark.parametrize("owners", [3, 5])
def test_released_cells_equal_the_pooled_ones_and_the_others_are_zero(owners: int) -> None:
    plan = physical(owners)
    world = World(owners)
    statuses, values = opened(run(world, plan))
    cells = [some_cells(owner) for owner in range(owners)]
    assert statuses == plain_statuses(plan, cells)
    seen = set()
    for cell in range(CELLS):
        base, gated = statuses[0][cell], statuses[1][cell]
        seen.add(gated)
        for place, status in ((0, base), (1, gated), (2, gated)):
            pooled = sum(int(owner.values[place][cell]) for owner in cells)
            assert values[place][cell] == (pooled if status == 0 else 0)
    assert seen >= {0, 1, 3}


class Veto:
    """A rule for the tests: an owner may forbid single cells of a gate; each brings a bit for each cell."""

    name = "veto"
    status = 5
    gates = (1,)
    sizes = Sizes(elements=128, message_bytes=16)

    def specs(self) -> list[BitsSpec]:
        return [BitsSpec(1, CELLS)]

    def provide(self, evidence: Evidence) -> list[BitsInput]:
        (flags,) = evidence
        return [BitsInput(bits.to_planes(np.asarray(flags, dtype=np.uint64), 1), CELLS)]

    async def evaluate(self, ctx: Context, given: Sequence[Sequence[Share]]) -> dict[int, Planes]:
        planes = [piece for (piece,) in given if isinstance(piece, Planes)]
        return {1: await binary.any_of(ctx, Planes.join(planes))}

    def cost(self) -> Cost:
        return binary.cost_any_of(3, CELLS)


def test_a_rule_with_inputs_of_its_own_suppresses_and_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = physical()
    monkeypatch.setattr("mpcd.compile.program.rules_of", lambda _plan: [Veto()])
    world, program = World(3, verifier=Malicious), Program(plan)
    assert program.asks == ("veto",)
    flags = [[int(cell % 7 == owner) for cell in range(CELLS)] for owner in range(3)]

    def owner(place: int) -> Any:
        return lambda ctx: program.run_input(ctx, some_cells(place), {"veto": [flags[place]]})

    results = world.session(program.run_compute, {place: owner(place) for place in range(3)})
    statuses, values = opened([results[role] for role in COMPUTE_ROLES])  # type: ignore[misc]
    forbidden = [cell % 7 < 3 for cell in range(CELLS)]
    assert statuses == plain_statuses(plan, [some_cells(place) for place in range(3)], forbidden)
    assert 5 in statuses[1]
    assert 5 not in statuses[0]
    assert not any(values[1][cell] or values[2][cell] for cell in range(CELLS) if statuses[1][cell])
    predicted, counted = program.cost(), world.counted()
    assert (counted.rounds, counted.compute, counted.input) == (predicted.rounds, predicted.compute, predicted.input)


@pytest.mark.parametrize("security", ["malicious", "semi-honest"])
@pytest.mark.parametrize("owners", [2, 3, 5])
def test_cost_is_exact(owners: int, security: Security) -> None:
    plan = replace(physical(owners), security=security)
    assert physical(owners).security == "malicious"
    world = World(1, verifier=Malicious if security == "malicious" else SemiHonest)
    run(world, plan)
    predicted, counted = Program(plan).cost(), world.counted()
    assert (counted.rounds, counted.compute, counted.input) == (predicted.rounds, predicted.compute, predicted.input)
    assert counted.rounds <= (64 if security == "semi-honest" else 80)


def test_inconsistent_input_is_caught_before_anything_depends_on_it() -> None:
    world = World(3).tamper("share", Role("input", 1), "flip", receiver=COMPUTE_ROLES[1])
    with pytest.raises(CheatDetected, match="holders"):
        run(world, physical())


def test_one_wrong_copy_shows_in_the_payloads() -> None:
    payloads = run(World(4), physical())
    value: Any = canonical.decode(payloads[1])
    first = value["values"][0][1]
    value["values"][0][1] = bytes([first[0] ^ 1]) + first[1:]
    payloads[1] = canonical.encode(value)
    with pytest.raises(AssertionError):
        opened(payloads)


def test_one_owner_is_refused() -> None:
    with pytest.raises(PlanUnsupported, match="two owners"):
        Program(physical(1))


def test_rounded_values_are_multiples_and_moments_are_refused() -> None:
    with pytest.raises(PlanUnsupported, match="variances"):
        Program(physical(safe_round_base=5))
    plan = physical(safe_round_base=5)
    short = replace(plan.logical, values=plan.logical.values[:2], shape=replace(
        plan.logical.shape, values=plan.logical.shape.values[:2], outputs=plan.logical.shape.outputs[:2]
    ))  # fmt: skip
    plan = replace(plan, logical=short)
    world, program = World(3, verifier=Malicious), Program(plan)
    cells = [some_cells(owner) for owner in range(3)]
    inputs = {owner: (lambda ctx, cell=cell: program.run_input(ctx, cell)) for owner, cell in enumerate(cells)}
    results = world.session(program.run_compute, inputs)
    payloads: list[Any] = [canonical.decode(results[role]) for role in COMPUTE_ROLES]  # type: ignore[arg-type]
    statuses = plain_statuses(plan, cells)
    for place, value in enumerate(short.values):
        parts = [FP.decode(payload["values"][place][0], CELLS) for payload in payloads]
        found = FP.to_signed(FP.add(FP.add(parts[0], parts[1]), parts[2]))
        for cell, number in enumerate(found):
            pooled = sum(int(owner.values[place][cell]) for owner in cells)
            wanted = (pooled + 2) // 5 * 5 if statuses[value.gate][cell] == 0 else 0
            assert number == wanted
    predicted, counted = program.cost(), world.counted()
    assert (counted.rounds, counted.compute, counted.input) == (predicted.rounds, predicted.compute, predicted.input)


def test_plan_hash_covers_rules_versions_and_parties() -> None:
    base = physical()
    others = [physical(safe_threshold=12), physical(4)]
    others.append(
        PhysicalPlan(base.logical, base.rules, base.owners, base.compute, {o: {"t": "01"} for o in base.owners})
    )
    others.append(replace(base, security="semi-honest"))
    assert len({plan.hash for plan in [base, *others]}) == 5
    assert base.hash == physical().hash


@pytest.mark.parametrize(
    ("name", "what", "framing"),
    [
        ("VECTOR_ELEMENTS_MAX", "elements in one vector", 0),
        ("LINK_MESSAGE_BYTES_MAX", "bytes in one message", 0),
        ("RELEASE_BYTES_MAX", "bytes in one release", 4096),
    ],
)
def test_what_would_break_a_limit_while_it_runs_is_refused_before(
    monkeypatch: pytest.MonkeyPatch, name: str, what: str, framing: int
) -> None:
    plan = physical()
    monkeypatch.setattr(limits, name, framing + 1)
    with pytest.raises(PlanUnsupported, match=rf"too large: \d+ {what}, at most 1 ") as caught:
        Program(plan)
    size = int(str(caught.value).partition("too large: ")[2].split()[0])
    assert size > CELLS
    monkeypatch.setattr(limits, name, framing + size - 1)
    with pytest.raises(PlanUnsupported, match=what):
        Program(plan)
    monkeypatch.setattr(limits, name, framing + size)
    Program(plan)
