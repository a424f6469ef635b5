"""Batch verification: honest batches pass at the exact cost, wrong ones abort before anything opens."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mpcd import limits
from mpcd.errors import Bug, CheatDetected, PeerFault
from mpcd.field import FP, FQ, Field
from mpcd.field.reference import ReferenceBinary, SmallField
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols import binary, compare, convert, multiply
from mpcd.protocols.claims import Claim, Record
from mpcd.protocols.context import Context
from mpcd.protocols.cost import Check, Cost
from mpcd.protocols.opening import cost_open_all, open_all
from mpcd.protocols.spec import BitsSpec, FieldSpec
from mpcd.protocols.verify import PRODUCTS, InnerProducts, MatrixProduct
from mpcd.protocols.verify_batch import ERROR_BITS, Malicious, cost_checked, cost_prove, soundness
from mpcd.testing.adversary import CHANGES
from mpcd.testing.world import Bits, World, opened

FIELDS = [FP, FQ]


def counted(world: World) -> tuple[int, tuple[int, int, int]]:
    cost = world.counted()
    return cost.rounds, cost.compute


@pytest.mark.parametrize("field", FIELDS, ids=["p", "q"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 64, 65, 300, 9001, 40_000])
def test_products(field: Field, count: int) -> None:
    world = World(count, field, verifier=Malicious)
    values = list(range(count))
    assert world.run(opened(multiply.mul), values, values) == [v * v for v in values]
    cost = cost_checked(multiply.cost_mul(field, count)) + cost_open_all(FieldSpec(field, count))
    assert counted(world) == (cost.rounds, cost.compute)


@pytest.mark.parametrize("field", FIELDS, ids=["p", "q"])
@pytest.mark.parametrize(("groups", "length"), [(1, 1), (3, 5), (1, 100), (40, 2)])
def test_inner_products(field: Field, groups: int, length: int) -> None:
    world = World(1, field, verifier=Malicious)
    x = list(range(groups * length))
    expected = [sum(v * v for v in x[g * length : (g + 1) * length]) for g in range(groups)]
    assert world.run(opened(multiply.inner_product), x, x, length) == expected
    cost = cost_checked(multiply.cost_inner_product(field, groups, length)) + cost_open_all(FieldSpec(field, groups))
    assert counted(world) == (cost.rounds, cost.compute)


@pytest.mark.parametrize("field", FIELDS, ids=["p", "q"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (5, 40, 3), (1, 9, 7)])
def test_matrix_products(field: Field, shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    world = World(1, field, verifier=Malicious)
    x, y = list(range(rows * inner)), list(range(inner * columns))
    a, b = np.array(x).reshape(rows, inner), np.array(y).reshape(inner, columns)
    assert world.run(opened(multiply.matrix_product), x, y, shape) == (a @ b).reshape(-1).tolist()
    cost = cost_checked(multiply.cost_matrix_product(field, shape)) + cost_open_all(FieldSpec(field, rows * columns))
    assert counted(world) == (cost.rounds, cost.compute)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 100_000])
@pytest.mark.parametrize("width", [1, 3])
def test_ands(count: int, width: int) -> None:
    world = World(count, verifier=Malicious)
    x, y = ([(v * step) % (1 << width) for v in range(count)] for step in (3, 5))
    opening = opened(binary.and_)
    planes = world.run(opening, Bits.of(x, width), Bits.of(y, width))
    plain = World(count).run(binary.and_, Bits.of(x, width), Bits.of(y, width))
    assert plain == [a & b for a, b in zip(x, y, strict=True)]
    assert np.array_equal(planes, Bits.of(plain, width).planes())
    cost = cost_checked(binary.cost_and(width, count)) + cost_open_all(BitsSpec(width, count))
    assert counted(world) == (cost.rounds, cost.compute)


async def everything(ctx: Context, number: Any, bits: Any) -> Any:
    """F_p, F_q and ANDs, in one batch."""
    product = await multiply.mul(ctx.narrow("mul"), number, number)
    small = await compare.at_least_public(ctx.narrow("small"), bits, 3)
    low = await convert.bit_to_field(ctx.narrow("low"), small, FP)
    wide = await convert.bit_to_field(ctx.narrow("wide"), small, FQ)
    await open_all(ctx.narrow("wide-open"), wide)
    return product + low


def test_all_fields_in_the_same_rounds() -> None:
    world = World(1, verifier=Malicious)
    values = [5, 6, 7]
    assert world.run(opened(everything), values, Bits.of([2, 3, 7], 3)) == [25, 37, 50]
    cost = (
        multiply.cost_mul(FP, 3)
        + compare.cost_at_least_public(3, 3)
        + convert.cost_bit_to_field(FP, 3)
        + convert.cost_bit_to_field(FQ, 3)
    )
    total = cost_checked(cost) + cost_open_all(FieldSpec(FQ, 3)) + cost_open_all(FieldSpec(FP, 3))
    assert counted(world) == (total.rounds, total.compute)
    steps = {message.step for message in world.lockstep.transcript}
    assert sum(step.endswith("verify1/barrier") for step in steps) == 1
    assert not any("verify2" in step for step in steps)


def test_an_opening_without_products_sends_nothing_more() -> None:
    world = World(1, verifier=Malicious)
    assert world.run(open_all, [1, 2]) == [1, 2]
    assert world.counted() == cost_open_all(FieldSpec(FP, 2))


def test_full_batches_are_proved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_PRODUCTS_MAX", 100)
    monkeypatch.setattr(limits, "VERIFY_AND_WORDS_MAX", 4)

    async def program(ctx: Context, x: Any, bits: Any) -> Any:
        for turn in range(5):
            x = await multiply.mul(ctx.narrow(f"mul{turn}"), x, x)
            bits = await binary.and_(ctx.narrow(f"and{turn}"), bits, bits)
        return x

    world = World(1, verifier=Malicious)
    world.run(opened(program), list(range(40)), Bits.of([1] * 70, 1))
    one = multiply.cost_mul(FP, 40) + binary.cost_and(1, 70)
    total = cost_checked(one * 5) + cost_open_all(FieldSpec(FP, 40))
    assert counted(world) == (total.rounds, total.compute)
    batches = {m.step.split("/verify")[1].split("/")[0] for m in world.lockstep.transcript if "/verify" in m.step}
    assert batches == {"1", "2", "3"}


# ------------------------------------------------------------------------------------------------ cheating


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Field]] = {
    "products over F_p": (multiply.mul, (list(range(50)), list(range(50))), FP),
    "products over F_q": (multiply.mul, (list(range(50)), list(range(50))), FQ),
    "inner products": (multiply.inner_product, (list(range(50)), list(range(50)), 5), FP),
    "matrices": (multiply.matrix_product, (list(range(12)), list(range(12)), (3, 4, 3)), FP),
    "ANDs": (binary.and_, (Bits.of([5] * 64, 3), Bits.of([7] * 64, 3)), FP),
}


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("place", [0, 7, -8])
@pytest.mark.parametrize("name", CASES)
def test_one_wrong_product(name: str, place: int, party: int) -> None:
    protocol, arguments, field = CASES[name]

    def change(payload: bytes) -> bytes:
        data = bytearray(payload)
        data[place] ^= 1
        return bytes(data)

    world = World(3, field, verifier=Malicious).tamper(f"program/{protocol.__name__}", party, change)
    with pytest.raises(CheatDetected, match=r"not what it should be|disagree"):
        world.run(opened(protocol), *arguments)
    honest = [role for role in COMPUTE_ROLES if role.index != party]
    assert all(isinstance(world.errors[role], PeerFault) for role in honest)
    assert not [m for m in world.messages("program/open") if m.sender.index != party]


@pytest.mark.parametrize("party", range(3))
def test_every_message_of_the_check(party: int) -> None:
    """Any change of any message of the check aborts, at an honest party, before the opening."""
    honest = World(3, verifier=Malicious)
    honest.run(opened(everything), [5, 6, 7], Bits.of([2, 3, 7], 3))
    steps = {m.step for m in honest.lockstep.transcript if "/verify" in m.step}
    assert len(steps) >= 8
    for step in sorted(steps):
        for receiver in COMPUTE_ROLES:
            if not any(
                m.step == step and m.sender.index == party and m.receiver == receiver
                for m in honest.lockstep.transcript
            ):
                continue
            for change in CHANGES:
                world = World(3, verifier=Malicious).tamper(step, party, change, receiver=receiver)
                with pytest.raises(PeerFault):
                    world.run(opened(everything), [5, 6, 7], Bits.of([2, 3, 7], 3))
                assert not [m for m in world.messages("program/wide-open") if m.sender.index != party]


# ------------------------------------------------------------------------------------------------ toys and formulas


@pytest.mark.parametrize("prime", [31, 251, 65_537])
def test_toy_fields_run_the_same_code(prime: int) -> None:
    field = SmallField(prime)
    world = World(1, field, verifier=Malicious)
    values = [v % prime for v in range(40)]
    assert world.run(opened(multiply.mul), values, values) == [v * v % prime for v in values]


def test_a_toy_binary_field_runs_the_same_code() -> None:
    toy = ReferenceBinary("toy", 8, 0b11011)
    world = World(1, verifier=lambda: Malicious(toy))
    x = Bits.of(list(range(8)), 3)
    assert np.array_equal(world.run(opened(binary.and_), x, x), x.planes())
    world = World(2, verifier=lambda: Malicious(toy)).tamper("program/and_", 0)
    with pytest.raises(CheatDetected):  # one toy check passes by luck once in some ten times, this one does not
        world.run(opened(binary.and_), x, x)


def test_soundness_within_the_limits() -> None:
    checks = [
        Check(FP, PRODUCTS, limits.VECTOR_ELEMENTS_MAX),
        Check(FP, InnerProducts(2), limits.VECTOR_ELEMENTS_MAX),
        Check(FP, MatrixProduct(1, limits.VECTOR_ELEMENTS_MAX, 1), limits.VECTOR_ELEMENTS_MAX),
        Check(FQ, PRODUCTS, limits.VECTOR_ELEMENTS_MAX),
        Check(None, PRODUCTS, 64 * limits.VECTOR_ELEMENTS_MAX),
    ]
    assert math.log2(soundness(checks)) < -ERROR_BITS


def test_the_bytes_of_a_large_batch_are_few() -> None:
    cost = cost_checked(multiply.cost_mul(FP, 10**6) * 10)
    assert cost.compute[0] / 10**7 < 8.01
    bits = cost_checked(binary.cost_and(1, 10**8))
    assert 8 * bits.compute[0] / 10**8 < 1.001
    assert cost_prove([]) == Cost()


class BrokenOff(Malicious):
    """A verifier whose check runs out of memory."""

    def claim(self, field: Field, records: Sequence[Record], first: int) -> Claim:
        claim = super().claim(field, records, first)
        claim.start = self.fail  # type: ignore[method-assign, assignment]
        return claim

    def fail(self, *_: object) -> None:
        raise MemoryError


def test_a_proof_that_was_broken_off_lets_nothing_open() -> None:
    """Whatever stops a proof half-way, and whoever swallows it: the batch counts as unproved for ever."""

    async def program(ctx: Context) -> str:
        x = await ctx.narrow("x").random(FP, 3)
        z = await multiply.mul(ctx.narrow("mul"), x, x)
        with contextlib.suppress(MemoryError):
            await ctx.narrow("first").verify()
        with pytest.raises(Bug, match="broken off"):
            await open_all(ctx.narrow("open"), z)
        return "nothing opened"

    results = World(1, FP, verifier=BrokenOff).session(program)
    assert set(results.values()) == {"nothing opened"}
