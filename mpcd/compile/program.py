"""The oblivious program of a cells plan: what each role does between the local query and the seal.

Theory of operation.  Who holds what:

    input party h    its own cells in plaintext: for every cohort the distinct persons of each cell, for every value
    its integer compute party i  replicated shares of all owners' cells, then of their sums, then of `keep * value`

    1. every owner shares all its cells in one message to each compute party: cohort counts as bits of the declared
    width (rule 7), values as
       elements of F_p or F_q; the holders compare before anything depends on them (rule 9);
    2. pooled values are sums of shares, free;
    3. the gate turns counts into one keep bit and one status per gate and cell (`release.gate`);
    4. rules that ask more of the owners than counts suppress further cells, each by its own fail bits
    (`release.rule`);
    5. where there are keys, secondary suppression hides what the margins would give back (`release.margins`);
    6. where an owner's policy asks for it, values are rounded (`release.rounding`);
    7. the keep bits become field elements, one product per value and cell hides what is not kept (rule 10);
    8. after one `verify` of all this the party's own shares of every status and every product are the payload that it
    seals to the analyst.

Cells are never dropped and the payload's size is a function of the plan alone.

The payload is a canonical map: `statuses`, per gate three planes (low bit first), each [a, b] of `words_for(cells)`
64-bit words little endian; `values`, per value [a, b], one field encoding of an element per cell.  P_i's b is
P_{i+1}'s a: the client compares the copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import numpy as np

from mpcd import canonical, limits
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.pooling import pooled, vector
from mpcd.errors import PlanUnsupported
from mpcd.field import FP, FQ, Field, bits
from mpcd.ids import Role
from mpcd.protocols import convert, inputs, opening, select
from mpcd.protocols.abreast import Branch, abreast, cost_abreast
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.cost import Cost
from mpcd.protocols.inputs import BitsInput, FieldInput
from mpcd.protocols.spec import BitsSpec, FieldSpec, Spec
from mpcd.protocols.verify_batch import cost_checked
from mpcd.release import gate, sums
from mpcd.release.differencing import Differencing
from mpcd.release.dominance import Dominance, numbers_of
from mpcd.release.gate import Decision, Facts, GateRules
from mpcd.release.margins import Margins
from mpcd.release.rounding import Rounding, multiple_of
from mpcd.release.rule import Evidence, Integers, Rule, Share
from mpcd.sharing import Planes, Replicated

FIELDS: Final[tuple[Field, ...]] = (FP, FQ)


class LocalCells(Protocol):
    """One owner's own cells, in plaintext, dense over the cells (row-major in the keys' codes)."""

    @property
    def cohorts(self) -> Integers:
        """Distinct persons, int64 (cohorts, cells)."""
        ...

    @property
    def values(self) -> Sequence[Sequence[int] | Integers]:
        """Per value one integer a cell."""
        ...


class Program:
    """The program of one physical plan; the same object serves every role and predicts the cost."""

    def __init__(self, plan: PhysicalPlan) -> None:
        self._plan = plan
        logical = plan.logical
        self._cells = logical.cells
        self._words = bits.words_for(self._cells)
        self._owners = len(plan.owners)
        if self._owners < 2:
            raise PlanUnsupported(
                "a question needs at least two owners: with one, the answer is that owner's own aggregate"
            )
        self._rules = gate_rules(plan)
        self._values = {field.name: plan.values_of(field.name) for field in FIELDS}
        self._roundings = self._find_roundings()
        self._evidence_rules = rules_of(plan)
        self._margins = Margins(
            self._rules,
            logical.gates,
            sorted({value.gate for value in logical.values}),
            [key.places for key in logical.keys],
            self._owners,
            logical.cohort_width,
            persons_add_up=logical.persons is None or logical.persons_unique,
            hollow=bool(self._evidence_rules),
        )
        self._cell_specs = self._input_specs()
        self._specs = [*self._cell_specs, *(spec for rule in self._evidence_rules for spec in rule.specs())]
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Refuse what would break a limit while it runs; every size is public, so all parties refuse alike.

        Raises:
            PlanUnsupported: too many cells and outputs together.
        """
        logical = self._plan.logical
        rules = [rule.sizes for rule in self._evidence_rules]
        if self._margins.needed:
            rules.append(self._margins.sizes)
        rules += [one.sizes for one in self._roundings.values()]
        vectors = (
            gate.elements_max(self._rules, self._owners, len(logical.cohorts), self._words),
            len(logical.values) * self._cells,
            2 * len(logical.gates) * self._words * 64,
            *(sizes.elements for sizes in rules),
        )
        inputs_bytes = sum(spec.size_bytes for spec in self._specs) + 4096
        # Rules stand abreast of the counts, so that their messages are one.
        messages = (inputs_bytes, self._message_bytes() + sum(sizes.message_bytes for sizes in rules))
        sizes = {
            "elements in one vector": (max(vectors), limits.VECTOR_ELEMENTS_MAX),
            "bytes in one message": (max(messages), limits.LINK_MESSAGE_BYTES_MAX),
            "bytes in one release": (self.payload_bytes_max, limits.RELEASE_BYTES_MAX - 4096),
        }
        for what, (size, most) in sizes.items():
            if size > most:
                raise PlanUnsupported(
                    f"this question is too large: {size} {what}, at most {most} are allowed; "
                    "ask for fewer cells, outputs or filters at once"
                )

    def _message_bytes(self) -> int:
        """An upper bound of the gate's longest message: every plane of its longest vector."""
        logical = self._plan.logical
        elements = gate.elements_max(self._rules, self._owners, len(logical.cohorts), self._words)
        width = sums.term_width(logical.cohort_width, self._owners, self._rules.threshold) + 1
        return width * elements // 8

    @property
    def payload_bytes_max(self) -> int:
        """An upper bound of one party's payload: both copies of every status plane and value, and their framing."""
        logical = self._plan.logical
        per_gate = gate.STATUS_PLANES * 2 * (self._words * 8 + 8)
        fields = {field.name: field for field in FIELDS}
        values = sum(2 * (fields[value.field].element_bytes * self._cells + 8) for value in logical.values)
        return len(logical.gates) * per_gate + values + 1024

    def _find_roundings(self) -> dict[str, Rounding]:
        """How the values of each field are rounded, if an owner's policy rounds what is released."""
        base, logical = self._plan.rules.safe_round_base, self._plan.logical
        if base == 1:
            return {}
        found = {}
        for field in FIELDS:
            values = [logical.values[place] for place in self._values[field.name]]
            if values:
                multiples = tuple(multiple_of(value, base, logical.rows_max, field) for value in values)
                found[field.name] = Rounding(field, multiples, self._cells)
        return found

    def _input_specs(self) -> list[BitsSpec | FieldSpec]:
        """What each owner gives, in order: all cohorts' counts, then the values of each field that has any."""
        logical = self._plan.logical
        count = len(logical.cohorts) * self._words * 64
        fields = [FieldSpec(field, len(self._values[field.name]) * self._cells) for field in FIELDS]
        return [BitsSpec(logical.cohort_width, count), *(spec for spec in fields if spec.count)]

    # ------------------------------------------------------------------------------------------ the input role

    @property
    def asks(self) -> tuple[str, ...]:
        """Names of the rules for which each owner must bring evidence beside its cells."""
        return tuple(rule.name for rule in self._evidence_rules)

    async def run_input(
        self, ctx: InputContext, answer: LocalCells, evidence: Mapping[str, Evidence] | None = None
    ) -> None:
        """Share this owner's cells with the compute parties.

        Args:
            ctx: the root context of the input role.
            answer: this owner's own cells, in plaintext.
            evidence: what the rules named by `asks` ask for, by name; this owner's own, in plaintext.
        """
        logical = self._plan.logical
        assert answer.cohorts.shape == (len(logical.cohorts), self._cells)
        counts = np.zeros((len(logical.cohorts), self._words * 64), dtype=np.uint64)
        counts[:, : self._cells] = answer.cohorts
        items: list[BitsInput | FieldInput] = [
            BitsInput(bits.to_planes(counts.reshape(-1), logical.cohort_width), counts.size)
        ]
        for field in FIELDS:
            places = self._values[field.name]
            if places:
                vectors = [vector(field, answer.values[place]) for place in places]
                items.append(FieldInput(field, field.concatenate(vectors)))
        for rule in self._evidence_rules:
            items.extend(rule.provide((evidence or {})[rule.name]))
        await inputs.provide(ctx.narrow("input"), items)

    # ------------------------------------------------------------------------------------------ the compute role

    async def run_compute(self, ctx: Context) -> bytes:
        """From the owners' shares to this party's payload.

        Args:
            ctx: the root context of the compute role.

        Returns:
            Canonical bytes of this party's shares of the gated answer, to be sealed to the analyst.
        """
        owners = [Role("input", index) for index in range(self._owners)]
        given = await inputs.receive(ctx.narrow("input"), owners, self._specs)
        counts = [self._cohorts(given[owner][0]) for owner in owners]
        counted, facts, decisions = await self._decided(ctx, counts, [given[owner] for owner in owners])
        if self._margins.needed:
            more = await self._margins.hide(ctx.narrow("margins"), counts, facts, counted, decisions)
            code = gate.STATUS_COMPLEMENT
            decisions = await gate.refuse(ctx.narrow("margins-refuse"), decisions, more, code, zeros=False)
        keeps = [decision.keep for decision in decisions]
        products: dict[int, Replicated] = {}
        place = 1
        for field in FIELDS:
            if self._values[field.name]:
                total = pooled([given[owner][place] for owner in owners])
                if field.name in self._roundings:
                    total = await self._roundings[field.name].round(ctx.narrow(f"round-{field.name}"), total)
                products |= await self._gated(ctx.narrow(f"values-{field.name}"), field, total, keeps)
                place += 1
        values = {index: await opening.output_shares(ctx, product) for index, product in products.items()}
        statuses = []
        for decision in decisions:
            planes = [decision.status.plane(weight) for weight in range(gate.STATUS_PLANES)]
            statuses.append([await opening.output_shares(ctx, plane) for plane in planes])
        return canonical.encode(
            {
                "statuses": [[list(pair) for pair in planes] for planes in statuses],
                "values": [list(values[index]) for index in range(len(self._plan.logical.values))],
            }
        )

    # ------------------------------------------------------------------------------------------ what it costs

    def cost(self) -> Cost:
        """Exact rounds and bytes of all roles, from the owners' messages to the payload, verification included."""
        total = sum(self.costs().values(), Cost())
        return cost_checked(total) if self._plan.security == "malicious" else total

    def costs(self) -> dict[str, Cost]:
        """What each stage costs, in order, verification left out: its batches belong to all."""
        logical = self._plan.logical
        rules, gates = self._rules, logical.gates
        counts = gate.cost(rules, gates, self._owners, len(logical.cohorts), logical.cohort_width, self._words)
        found = {"inputs": inputs.cost(self._owners, self._specs)}
        names = ["counts", *(rule.name for rule in self._evidence_rules)]
        refused = [gate.cost_refuse(len(rule.gates), self._words) for rule in self._evidence_rules]
        together = cost_abreast(counts, *(rule.cost() for rule in self._evidence_rules)) if refused else counts
        found[" beside ".join(names)] = sum(refused, together)
        if self._margins.needed:
            hidden = gate.cost_refuse(len(self._margins.gates), self._words, zeros=False)
            found["margins"] = self._margins.cost() + hidden
        for field in FIELDS:
            places = self._values[field.name]
            if places:
                if field.name in self._roundings:
                    found[f"rounding-{field.name}"] = self._roundings[field.name].cost()
                apart = len({logical.values[place].gate for place in places})
                spent = convert.cost_bit_to_field(field, (apart - 1) * self._words * 64 + self._cells)
                found[f"values-{field.name}"] = spent + select.cost_select(field, len(places) * self._cells)
        return found

    @property
    def owners(self) -> int:
        """How many give data."""
        return self._owners

    @property
    def specs(self) -> tuple[Spec, ...]:
        """What each owner gives, in order."""
        return tuple(self._specs)

    # ------------------------------------------------------------------------------------------ details

    def _cohorts(self, counts: Share) -> list[Planes]:
        assert isinstance(counts, Planes)
        return counts.unstack([self._cells] * len(self._plan.logical.cohorts))

    async def _decided(
        self, ctx: Context, counts: Sequence[Sequence[Planes]], given: Sequence[Sequence[Share]]
    ) -> tuple[list[Decision], Facts, list[Decision]]:
        """The decisions by counting rules, what they found, and the decisions by all rules in order."""
        gates, start = self._plan.logical.gates, len(self._cell_specs)
        branches: list[Branch[Any]] = [lambda at: gate.decide(at, self._rules, gates, counts)]
        for rule in self._evidence_rules:
            stop = start + len(rule.specs())
            branches.append(partial(_evaluate, rule, [owner[start:stop] for owner in given]))
            start = stop
        if not self._evidence_rules:
            counted, facts = await gate.decide(ctx.narrow("gate"), self._rules, gates, counts)
            return counted, facts, counted
        (counted, facts), *fails = await abreast(ctx.narrow("gate"), *branches)
        decisions = counted
        for rule, failed in zip(self._evidence_rules, fails, strict=True):
            decisions = await gate.refuse(ctx.narrow(f"{rule.name}-refuse"), decisions, failed, rule.status)
        return counted, facts, decisions

    async def _gated(
        self, ctx: Context, field: Field, pooled: Replicated, keeps: Sequence[Planes]
    ) -> dict[int, Replicated]:
        """keep * value for every value of one field, by value index."""
        places = self._values[field.name]
        gates = sorted({self._plan.logical.values[place].gate for place in places})
        flags = await convert.bit_to_field(ctx.narrow("keep"), Planes.stack([keeps[g] for g in gates]), field)
        stride = self._words * 64
        by_gate = {g: flags.take(slice(order * stride, order * stride + self._cells)) for order, g in enumerate(gates)}
        wanted = Replicated.concatenate([by_gate[self._plan.logical.values[place].gate] for place in places])
        products = await select.select(ctx.narrow("select"), wanted, pooled)
        pieces = products.split([self._cells] * len(places))
        return dict(zip(places, pieces, strict=True))


async def _evaluate(rule: Rule, given: Sequence[Sequence[Share]], ctx: Context) -> Mapping[int, Planes]:
    """One rule, as a branch beside the others."""
    return await rule.evaluate(ctx, given)


def gate_rules(plan: PhysicalPlan) -> GateRules:
    """The numbers of the gate, from the strictest of the owners' rules."""
    return GateRules(
        threshold=plan.rules.safe_threshold,
        min_owners=plan.rules.min_owners,
        zeros_shown=not plan.rules.zeros_are_disclosive,
        persons_disjoint=plan.logical.persons_disjoint,
    )


def rules_of(plan: PhysicalPlan) -> list[Rule]:
    """The rules of a plan that ask more of each owner than counts, in the order in which they run and are told.

    A rule is left out where it has nothing to say, so that it costs nothing there.
    """
    rules: list[Rule] = []
    logical = plan.logical
    if plan.rules.differencing and plan.beside is not None and plan.beside.layout.pairs:
        add_up = logical.persons is None or logical.persons_unique
        rules.append(Differencing(gate_rules(plan), plan.beside.layout, len(plan.owners), persons_add_up=add_up))
    if logical.magnitudes:
        rules.append(
            Dominance(
                numbers_of(plan.rules),
                logical.gates,
                logical.magnitudes,
                logical.cells,
                len(plan.owners),
                logical.rows_per_owner_max,
                persons_disjoint=logical.persons_disjoint,
            )
        )
    return rules
