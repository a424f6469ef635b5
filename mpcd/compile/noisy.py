"""The oblivious program of a plan under differential privacy: pool, add noise that nobody knows, seal.

Theory of operation.  As `compile.program`, but for what stands between the sums and the seal:

    1. every owner shares its values of all cells; no counts of persons, since no rule looks at them;
    2. pooled values are sums of shares, free;
    3. for every value and cell a sample of the agreed distribution is drawn on shares (`release.noise`) and added;
    4. after one `verify` of all this the party's own shares of every sum are the payload that it seals to the analyst.

*Nothing exact about the data touches the answer* (rule 22): no floor, no suppression, no differencing, no rounding by
what is there.  Every cell is released, those without rows too, so every status is a public 0.  A threshold on what came
out, as HAVING or by the reader, sees noisy numbers only, and does not weaken the promise.

The payload has the form of `compile.program`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from mpcd import canonical, limits
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.pooling import pooled, vector
from mpcd.compile.privacy import PlanPrivacy
from mpcd.compile.program import FIELDS, LocalCells
from mpcd.errors import Bug, PlanUnsupported
from mpcd.field import Field, bits
from mpcd.ids import Role
from mpcd.protocols import inputs, opening
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.cost import Cost
from mpcd.protocols.inputs import FieldInput
from mpcd.protocols.spec import FieldSpec
from mpcd.protocols.verify_batch import cost_checked
from mpcd.release import gate, noise
from mpcd.release.rule import Evidence
from mpcd.sharing import Planes, Replicated

_OWNERS_MIN: Final = 2


class NoisyProgram:
    """The program of one physical plan that asks for noise."""

    asks: tuple[str, ...] = ()
    """No rule needs evidence."""

    def __init__(self, plan: PhysicalPlan) -> None:
        """The program.

        Raises:
            PlanUnsupported: too few owners, or too large.
        """
        if plan.privacy is None:
            raise Bug("a plan without noise has a program of its own")
        if len(plan.owners) < _OWNERS_MIN:
            raise PlanUnsupported(
                "a question needs at least two owners: with one, the answer is that owner's own aggregate"
            )
        self._plan = plan
        self._privacy: PlanPrivacy = plan.privacy
        self._cells = plan.logical.cells
        self._owners = len(plan.owners)
        self._values = {field.name: plan.values_of(field.name) for field in FIELDS}
        self._fields = [field for field in FIELDS if self._values[field.name]]
        self._specs = [FieldSpec(field, len(self._values[field.name]) * self._cells) for field in self._fields]
        self._check_sizes()

    def _tables(self, field: Field) -> list[noise.Table]:
        return [self._privacy.tables[place] for place in self._values[field.name]]

    def _check_sizes(self) -> None:
        """Refuse what would break a limit while it runs; every size is public, so all parties refuse alike."""
        elements = [noise.elements_max(self._tables(field), self._cells) for field in self._fields]
        vectors = [*elements, *(spec.count for spec in self._specs)]
        given = sum(spec.size_bytes for spec in self._specs) + 4096
        released = 2 * given + len(self._plan.logical.gates) * gate.STATUS_PLANES * 2 * (self._cells // 8 + 16)
        sizes = {
            "elements in one vector": (max(vectors, default=0), limits.VECTOR_ELEMENTS_MAX),
            "bytes in one message": (max([given, *(size * 16 for size in elements)]), limits.LINK_MESSAGE_BYTES_MAX),
            "bytes in one release": (released, limits.RELEASE_BYTES_MAX - 4096),
        }
        for what, (size, most) in sizes.items():
            if size > most:
                raise PlanUnsupported(
                    f"this question is too large: {size} {what}, at most {most} are allowed; "
                    "ask for fewer cells or outputs at once"
                )

    async def run_input(
        self, ctx: InputContext, answer: LocalCells, evidence: Mapping[str, Evidence] | None = None
    ) -> None:
        """Share this owner's values with the compute parties.

        Args:
            ctx: the root context of the input role.
            answer: this owner's own cells, in plaintext, of rows cut to so many for each person.
            evidence: none is asked for.
        """
        del evidence
        items = [
            FieldInput(field, field.concatenate([vector(field, answer.values[at]) for at in self._values[field.name]]))
            for field in self._fields
        ]
        await inputs.provide(ctx.narrow("input"), items)

    async def run_compute(self, ctx: Context) -> bytes:
        """From the owners' shares to this party's payload: canonical bytes of its shares of the noisy answer."""
        owners = [Role("input", index) for index in range(self._owners)]
        given = await inputs.receive(ctx.narrow("input"), owners, self._specs)
        noisy: dict[int, Replicated] = {}
        for place, field in enumerate(self._fields):
            total = pooled([given[owner][place] for owner in owners])
            drawn = await noise.draw(ctx.narrow(f"noise-{field.name}"), self._tables(field), field, self._cells)
            total += Replicated.concatenate(drawn)
            pieces = total.split([self._cells] * len(drawn))
            noisy.update(zip(self._values[field.name], pieces, strict=True))
        # All noise is drawn before anything is shown, so that one verification proves all of it.
        values = [list(await opening.output_shares(ctx, noisy[index])) for index in range(len(noisy))]
        released = Planes.public(np.zeros((1, bits.words_for(self._cells)), np.uint64), self._cells, ctx.index)
        status = list(await opening.output_shares(ctx, released))
        return canonical.encode(
            {
                "statuses": [[status] * gate.STATUS_PLANES for _ in self._plan.logical.gates],
                "values": values,
            }
        )

    def cost(self) -> Cost:
        """Exact rounds and bytes of all roles, from the owners' messages to the payload, verification included."""
        total = inputs.cost(self._owners, self._specs)
        for field in self._fields:
            total += noise.cost(self._tables(field), field, self._cells)
        return cost_checked(total) if self._plan.security == "malicious" else total
