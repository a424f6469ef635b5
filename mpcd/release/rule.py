"""The seam between the program and a disclosure rule that asks more of each owner than its cohorts' counts.

Such a rule says what every owner puts in beside its cells (`specs`, `provide`), evaluates it on shares of all owners,
and answers with one *fail* bit for each cell of each gate that it is about.  `gate.refuse` takes these into the
decisions: a released cell, or one that is shown as empty, becomes suppressed, and its status names the rule.  Nothing
opens, and what an owner puts in has a public shape.

Rules are evaluated side by side; a cell that fails by several tells the first in the order in which the program lists
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mpcd.protocols.context import Context
from mpcd.protocols.cost import Cost
from mpcd.protocols.inputs import InputItem
from mpcd.protocols.spec import Spec
from mpcd.sharing import Planes, Replicated

Integers = npt.NDArray[np.int64]
Evidence = Sequence[Integers | list[int]]
"""What one owner answers for one rule, in plaintext: vectors whose number, order and lengths the rule defines."""
Share = Planes | Replicated


@dataclass(frozen=True, slots=True)
class Sizes:
    """The longest vector and message of a rule; public, so that all parties refuse alike what exceeds a limit."""

    elements: int
    message_bytes: int


class Rule(Protocol):
    """One rule of one plan; see the module."""

    @property
    def name(self) -> str:
        """Its step, and its key among an owner's evidence."""
        ...

    @property
    def status(self) -> int:
        """The status code of a cell that fails by it."""
        ...

    @property
    def gates(self) -> Sequence[int]:
        """Indices of the gates that may fail, ascending."""
        ...

    @property
    def sizes(self) -> Sizes:
        """See `Sizes`."""
        ...

    def specs(self) -> Sequence[Spec]:
        """What each owner gives, in order."""
        ...

    def provide(self, evidence: Evidence) -> Sequence[InputItem]:
        """The items of `specs` from this owner's own numbers."""
        ...

    async def evaluate(self, ctx: Context, given: Sequence[Sequence[Share]]) -> Mapping[int, Planes]:
        """A plane of fail bits for each of `gates`, over the plan's cells; by ANDs alone (`protocols.abreast`).

        Args:
            ctx: narrowed to this call.
            given: per owner, the shares of what `specs` asks for.
        """
        ...

    def cost(self) -> Cost:
        """Exact cost of `evaluate`; inputs are counted by the program."""
        ...
