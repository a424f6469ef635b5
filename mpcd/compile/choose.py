"""Which program answers a plan: everybody asks here, so that all parties choose alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mpcd.compile.noisy import NoisyProgram
from mpcd.compile.overlap import TERM, Overlap
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import LocalCells, Program
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.cost import Cost
from mpcd.release.rule import Evidence


class Executable(Protocol):
    """A program: what each role runs, and what all of it costs."""

    @property
    def asks(self) -> tuple[str, ...]:
        """Names of the rules for which each owner must bring evidence beside its cells."""
        ...

    async def run_input(
        self, ctx: InputContext, answer: LocalCells, evidence: Mapping[str, Evidence] | None = None
    ) -> None:
        """The input role."""
        ...

    async def run_compute(self, ctx: Context) -> bytes:
        """The compute role; returns the payload to be sealed."""
        ...

    def cost(self) -> Cost:
        """Exact rounds and bytes of all roles."""
        ...


def program(plan: PhysicalPlan) -> Executable:
    """The program of a plan.

    Raises:
        PlanUnsupported: what it asks for is not there, or it is too large.
        RequestInvalid: what it asks of privacy makes no sense.
    """
    if TERM in plan.terms:
        return Overlap(plan)
    return Program(plan) if plan.privacy is None else NoisyProgram(plan)
