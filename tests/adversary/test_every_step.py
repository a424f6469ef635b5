"""Every step of every protocol, every party, every change: an abort, or a wrong product that is recorded for the check.

Failure condition: a run whose opened result differs from the honest one, although the step that was tampered with is in
no record of the honest parties' verifiers; or a change of form (dropped, doubled, shortened, lengthened) that does not
abort.

Non-failure: an abort at any honest party; the honest result (the change hit a value that does not matter, such as an
unused carry); and, only while a session is semi-honest, a wrong result whose tampered step was recorded before the
opening: batch verification turns it into an abort.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpcd.errors import PeerFault
from mpcd.field import FP, FQ
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols import adders, binary, compare, convert, multiply, opening, select
from mpcd.protocols.context import Context
from mpcd.protocols.verify import SemiHonest
from mpcd.sharing import Planes, Replicated
from mpcd.testing.adversary import CHANGES, Tamper
from mpcd.testing.world import Bits, World

FLAGS = [Bits.of([0, 1, 1], 1), Bits.of([1, 0, 1], 1), Bits.of([1, 1, 0], 1)]
FORM = {"drop", "double", "shorten", "lengthen"}

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mul": (multiply.mul, ([6, 7], [5, 4])),
    "inner_product": (multiply.inner_product, ([1, 2, 3, 4], [5, 6, 7, 8], 2)),
    "matrix_product": (multiply.matrix_product, ([1, 2, 3, 4], [5, 6], (2, 2, 1))),
    "and": (binary.and_, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "or": (binary.or_, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "all_of": (binary.all_of, (Bits.of([7, 3], 3),)),
    "add": (adders.add, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "total": (adders.total, ([Bits.of([5, 3], 3)] * 3, 5)),
    "to_bits": (convert.to_bits, ([6, 7],)),
    "bit_to_field": (convert.bit_to_field, (Bits.of([1, 0], 1), FP)),
    "at_least_public": (compare.at_least_public, (Bits.of([5, 3], 3), 4)),
    "less_than": (compare.less_than, (Bits.of([5, 3], 3), Bits.of([5, 4], 3))),
    "equal": (compare.equal, (Bits.of([5, 3], 3), Bits.of([5, 4], 3))),
    "threshold_count": (compare.threshold_count, (FLAGS, 2)),
    "select": (select.select, ([1, 0], [5, 6], [7, 8])),
    "select_planes": (select.select_planes, (Bits.of([1, 0], 1), Bits.of([5, 6], 3))),
}


class Keeping(SemiHonest):
    """Keeps its records beyond the opening, as a transcript would."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[str] = []

    async def verify(self, ctx: Context) -> None:
        self.ever += self.records
        await super().verify(ctx)


def openings(protocol: Callable[..., Any]) -> Callable[..., Any]:
    """The protocol, then all of its results opened."""

    async def program(ctx: Context, *shares: Any) -> list[list[int]]:
        result = await protocol(ctx.narrow("protocol"), *shares)
        results: list[Replicated | Planes] = list(result) if isinstance(result, tuple) else [result]
        values = [await opening.open_all(ctx.narrow(f"open{k}"), part) for k, part in enumerate(results)]
        return [np.asarray(value).reshape(-1).tolist() for value in values]

    return program


def honest(name: str) -> tuple[Any, list[str]]:
    """The result and all steps of an honest run."""
    protocol, arguments = PROGRAMS[name]
    world = World(7)
    value = world.run(openings(protocol), *arguments)
    return value, sorted({message.step for message in world.lockstep.transcript})


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_step(name: str, change: str, party: int) -> None:
    protocol, arguments = PROGRAMS[name]
    expected, steps = honest(name)
    for step in steps:
        tamper = Tamper(COMPUTE_ROLES[party], step, change)  # type: ignore[arg-type]
        world = World(7, verifier=Keeping).corrupt(tamper)
        try:
            value = world.run(openings(protocol), *arguments)
        except PeerFault:
            assert tamper.hits
            continue
        assert tamper.hits
        assert change not in FORM, f"{change} at {step} by party {party} went unnoticed"
        assert "open" not in step.rsplit("/", 1)[-1], f"{change} of the opening {step} by party {party} went unnoticed"
        for index, verifier in enumerate(world.deferred):
            assert isinstance(verifier, Keeping)
            assert index == party or value == expected or step in verifier.ever


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("field", [FP, FQ], ids=["p", "q"])
def test_no_element_outside_the_field_is_taken(party: int, field: Any) -> None:
    for name in ("mul", "inner_product", "matrix_product", "select"):
        protocol, arguments = PROGRAMS[name]
        world = World(7, field).tamper("protocol", party, "overflow")
        with pytest.raises(PeerFault):
            world.run(openings(protocol), *arguments)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", ["add", "to_bits", "threshold_count"])
def test_swapped_messages_of_two_steps_are_not_taken_for_each_other(name: str, party: int) -> None:
    """A replay of an earlier message under a later step's name is a wrong product at that step, and recorded as one."""
    protocol, arguments = PROGRAMS[name]
    world = World(7)
    world.run(openings(protocol), *arguments)
    steps = list(dict.fromkeys(m.step for m in world.lockstep.transcript if m.sender == COMPUTE_ROLES[party]))
    first, second = steps[:2]
    kept: dict[str, bytes] = {}

    def replay(payload: bytes) -> bytes:
        return (kept["first"] * len(payload))[: len(payload)]

    (kept["first"],) = (m.payload for m in world.messages(first) if m.sender == COMPUTE_ROLES[party])
    twin = World(7, verifier=Keeping).tamper(second, party, replay)
    try:
        twin.run(openings(protocol), *arguments)
    except PeerFault:
        return
    verifiers = [v for index, v in enumerate(twin.deferred) if index != party]
    assert all(isinstance(v, Keeping) and second in v.ever for v in verifiers)
