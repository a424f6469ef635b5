"""Costs add up."""

from __future__ import annotations

from mpcd.field import FP, FQ
from mpcd.protocols.context import Context
from mpcd.protocols.convert import bit_to_field, cost_bit_to_field
from mpcd.protocols.cost import Cost, each, field_bytes, words_for
from mpcd.protocols.multiply import cost_mul, mul
from mpcd.protocols.opening import cost_open_all, open_all
from mpcd.protocols.spec import FieldSpec
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World


def test_algebra() -> None:
    a, b = Cost(1, (1, 2, 3), 4, 5, 6), each(2, 10, products=1)
    assert a + b == Cost(3, (11, 12, 13), 4, 6, 6)
    assert 3 * a == a * 3 == a + a + a
    assert Cost() + a == a


def test_sizes() -> None:
    assert [words_for(n) for n in (1, 64, 65)] == [1, 1, 2]
    assert (field_bytes(FP, 3), field_bytes(FQ, 3)) == (24, 48)


def test_a_program_costs_the_sum_of_its_protocols() -> None:
    async def program(ctx: Context, flags: Planes) -> object:
        bits = await bit_to_field(ctx.narrow("bits"), flags, FP)
        square = await mul(ctx.narrow("square"), bits, bits)
        return await open_all(ctx.narrow("open"), square)

    world = World(1)
    assert world.run(program, Bits.of([1, 0, 1], 1)) == [1, 0, 1]
    counted = world.counted()
    expected = cost_bit_to_field(FP, 3) + cost_mul(FP, 3) + cost_open_all(FieldSpec(FP, 3))
    # The opening has verified all products, so none is left unverified.
    assert counted == Cost(expected.rounds, expected.compute, expected.input)
    assert expected.products == 9
