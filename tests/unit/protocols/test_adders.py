"""Adders on bit planes: sums, carries, and their exact cost."""

from __future__ import annotations

import pytest

from mpcd.protocols.adders import (
    _network,
    add,
    add_end_around,
    carry_out,
    carry_save,
    cost_add,
    cost_add_end_around,
    cost_carry_out,
    cost_total,
    total,
)
from mpcd.protocols.binary import cost_and
from mpcd.protocols.context import Context
from mpcd.sharing import Planes
from mpcd.testing.world import Bits, World

WIDTHS = [1, 2, 3, 5, 8, 17, 33, 61, 64, 127]


def operands(width: int) -> tuple[list[int], list[int]]:
    top = (1 << width) - 1
    pairs = [(a % (top + 1), b % (top + 1)) for a in (0, 1, top, top >> 1, 0x5A5A5A) for b in (0, 1, top, 0x3C3C3C)]
    return [a for a, _ in pairs], [b for _, b in pairs]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("carry_in", [0, 1])
def test_add(width: int, carry_in: int) -> None:
    u, v = operands(width)
    world = World(width)
    sums = [a + b + carry_in for a, b in zip(u, v, strict=True)]
    low, carry = world.run(add, Bits.of(u, width), Bits.of(v, width), carry_in)
    assert low == [s % (1 << width) for s in sums]
    assert carry == [s >> width for s in sums]
    assert world.counted() == cost_add(width, len(u))
    assert world.run(carry_out, Bits.of(u, width), Bits.of(v, width), carry_in) == [s >> width for s in sums]
    assert world.counted() == cost_carry_out(width, len(u))


@pytest.mark.parametrize("width", WIDTHS)
def test_depth_is_logarithmic_and_a_single_carry_is_a_tree(width: int) -> None:
    assert cost_add(width, 1).rounds == 1 + (width - 1).bit_length()
    levels = _network(width, (width - 1,), propagate=False)
    assert sum(len(level.targets) for level in levels) <= width - 1
    assert cost_carry_out(width, 64).ands < 3 * width


@pytest.mark.parametrize("end_around", [False, True])
def test_carry_save(end_around: bool) -> None:
    width, modulus = 5, 31 if end_around else 32
    triples = [(a, b, c) for a in (0, 7, 30, 31) for b in (1, 29, 31) for c in (0, 16, 31)]
    columns = [Bits.of([t[k] for t in triples], width) for k in range(3)]
    world = World(1)
    partial, carry = world.run(carry_save, *columns, end_around=end_around)
    assert [(s + c) % modulus for s, c in zip(partial, carry, strict=True)] == [sum(t) % modulus for t in triples]
    assert world.counted() == cost_and(width, len(triples))


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_end_around_is_exact_and_canonical_for_all_operands(bits: int) -> None:
    modulus = (1 << bits) - 1
    pairs = [(a, b) for a in range(modulus + 1) for b in range(modulus + 1) if a + b < 2 * modulus]
    for width in range(1, bits + 1):
        world = World(width)
        got = world.run(
            add_end_around, Bits.of([a for a, _ in pairs], bits), Bits.of([b for _, b in pairs], bits), width
        )
        assert got == [(a + b) % modulus % (1 << width) for a, b in pairs]
        assert world.counted() == cost_add_end_around(bits, width, len(pairs))


@pytest.mark.parametrize("terms", range(1, 10))
def test_total_of_many(terms: int) -> None:
    columns = [[(k * k + e * 5) % 16 for e in range(6)] for k in range(terms)]
    world = World(terms)

    async def program(ctx: Context, numbers: list[Planes]) -> Planes:
        return await total(ctx, numbers, 8)

    assert world.run(program, [Bits.of(c, 4) for c in columns]) == [sum(c[e] for c in columns) for e in range(6)]
    assert world.counted() == cost_total(terms, 8, 6)
