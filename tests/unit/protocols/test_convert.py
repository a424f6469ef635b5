"""Field elements to bits and back: exact for every element of toy fields, and at the edges of the real ones."""

from __future__ import annotations

import pytest

from mpcd.field import FP, FQ, Field
from mpcd.field.reference import SmallField
from mpcd.protocols.context import Context
from mpcd.protocols.convert import (
    bit_to_field,
    cost_bit_to_field,
    cost_number_to_field,
    cost_to_bits,
    field_bits,
    number_to_field,
    to_bits,
)
from mpcd.sharing import Planes, Replicated
from mpcd.testing.world import Bits, World

FIELDS: list[Field] = [FP, FQ, SmallField(31)]
FIELD_IDS = ["p", "q", "toy"]


@pytest.mark.parametrize("modulus", [3, 7, 31])
def test_every_element_of_a_toy_field_under_every_sharing(modulus: int) -> None:
    field = SmallField(modulus)
    triples = [(x, u, v) for x in range(modulus) for u in range(modulus) for v in range(modulus)]
    if modulus == 31:
        triples = triples[::7]
    components = [
        field.from_ints([u for _, u, _ in triples]),
        field.from_ints([v for *_, v in triples]),
        field.from_ints([x - u - v for x, u, v in triples]),
    ]

    async def program(ctx: Context) -> Planes:
        return await to_bits(ctx, Replicated(field, components[ctx.index], components[(ctx.index + 1) % 3]))

    world = World(1, field)
    assert world.run(program) == [x for x, _, _ in triples]
    assert world.counted() == cost_to_bits(field, len(triples))


@pytest.mark.parametrize("field", FIELDS, ids=FIELD_IDS)
def test_edges(field: Field) -> None:
    m = field.modulus
    values = [0, 1, 2, m - 1, m - 2, m >> 1, (m >> 1) + 1]
    for seed in range(5):
        world = World(seed, field)
        assert world.run(to_bits, values) == values
        assert world.counted() == cost_to_bits(field, len(values))


def test_rounds_as_stated() -> None:
    assert cost_to_bits(FP, 1).rounds == 9
    assert cost_to_bits(FQ, 1).rounds == 10
    assert (field_bits(FP), field_bits(FQ)) == (61, 127)


@pytest.mark.parametrize("width", [1, 2, 17, 60, 61])
def test_a_declared_bound_costs_less(width: int) -> None:
    top = min(1 << width, FP.modulus) - 1
    values = [0, top, top >> 1, 1]
    world = World(width)
    assert world.run(to_bits, values, width=width) == values
    assert world.counted() == cost_to_bits(FP, 4, width)
    assert cost_to_bits(FP, 64, width).ands <= cost_to_bits(FP, 64).ands


def test_a_field_that_is_not_mersenne_is_refused() -> None:
    with pytest.raises(AssertionError, match="Mersenne"):
        World(1, SmallField(13)).run(to_bits, [1])


@pytest.mark.parametrize("field", [*FIELDS, SmallField(5)], ids=[*FIELD_IDS, "5"])
@pytest.mark.parametrize("count", [1, 64, 65])
def test_bit_to_field(field: Field, count: int) -> None:
    flags = [e * e % 3 % 2 for e in range(count)]
    world = World(count, field)
    assert world.run(bit_to_field, Bits.of(flags, 1), field) == flags
    assert world.counted() == cost_bit_to_field(field, count)
    assert world.counted().rounds == 2


@pytest.mark.parametrize("field", [FP, FQ], ids=["p", "q"])
def test_number_to_field(field: Field) -> None:
    values = [0, 1, 1023, 512, 77]
    world = World(3, field)
    assert world.run(number_to_field, Bits.of(values, 10), field) == values
    assert world.counted() == cost_number_to_field(field, 10, 5)


def test_there_and_back() -> None:
    async def program(ctx: Context, x: Replicated) -> Replicated:
        return await number_to_field(ctx.narrow("back"), await to_bits(ctx.narrow("there"), x, 60), FP)

    values = [0, 5, 2**60 - 1]
    assert World(1).run(program, values) == values
