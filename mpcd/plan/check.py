"""Check a plan against the roster as if an enemy had written it (layer 3, no I/O).

The planner child has read the analyst's text; its answer is data.  Everything that protects people or numbers is
computed again here: the relation, the bounds, the fields, which cells a gate must cover, the uses.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from mpcd import limits
from mpcd.errors import CallerFault, PlanUnsupported
from mpcd.plan import ranges, uses
from mpcd.plan.nodes import (
    Add,
    Cohort,
    ColumnRef,
    Compare,
    Constant,
    Expr,
    Gate,
    IsNotTrue,
    IsNull,
    LocalValue,
    Multiply,
    Negate,
    Not,
    Pred,
    Subtract,
    columns_of,
    conjunction,
    conjuncts,
    walk,
)
from mpcd.plan.relation import Relation, build
from mpcd.results import shape
from mpcd.results.schema import FormError

if TYPE_CHECKING:
    from mpcd.plan.ir import LogicalPlan
    from mpcd.roster.model import Roster

DEGREE_MAX: Final = 2
"""Highest power of one column in one value: x^3 and more of a column with few values would isolate one of them."""
INDICATORS_MAX: Final = 3
"""Most two-valued columns in one value: the joint cells double with each."""
_LINEAR: Final = (ColumnRef, Constant, Add, Subtract, Multiply, Negate)


def check_plan(plan: LogicalPlan, roster: Roster) -> None:
    """Raise `FormError` unless `plan` is one that the planner could rightly have made from some request."""
    try:
        relation = build(roster, plan.sources, plan.joins)
        _check_relation(plan, relation)
        _check_nodes(plan, relation)
        _check_keys(plan, relation)
        _check_gates(plan)
        _check_minimal(plan)
        for index, value in enumerate(plan.values):
            try:
                _check_value(plan, relation, value)
            except FormError as error:
                raise error.within(f"values[{index}]") from None
        if dict(plan.uses) != dict(uses.derive(plan, relation.name)):
            raise FormError("uses: not those that the plan has")
    except CallerFault as error:
        raise FormError(f": {error}") from None


def _check_relation(plan: LogicalPlan, relation: Relation) -> None:
    claims: dict[str, tuple[object, object]] = {
        "persons": (plan.persons, relation.persons),
        "persons_unique": (plan.persons_unique, relation.persons_unique),
        "persons_disjoint": (plan.persons_disjoint, relation.persons_disjoint),
        "rows_disjoint": (plan.rows_disjoint, True),
        "rows_max": (plan.rows_max, relation.rows_max),
        "cohort_width": (plan.cohort_width, relation.cohort_width),
        "owners": (plan.owners, relation.owners),
    }
    for name, (claimed, actual) in claims.items():
        if claimed != actual:
            raise FormError(f"{name}: claimed {claimed}, is {actual}")


def _check_nodes(plan: LogicalPlan, relation: Relation) -> None:
    """Every column exists and is no person id; every expression is bounded."""
    pending: list[Expr | Pred] = [key.expr for key in plan.keys]
    pending.extend(factor for value in plan.values for factor in value.factors)
    conditions = (plan.where, *(c.condition for c in plan.cohorts), *(v.condition for v in plan.values))
    pending.extend(condition for condition in conditions if condition is not None)
    for node in walk(*pending):
        if isinstance(node, ColumnRef):
            try:
                column = relation.column(node)
            except KeyError:
                raise FormError(f": there is no column {node.name!r} in source {node.source}") from None
            if column.type == "person_id":
                raise FormError(f": person id {node.name!r} may only be joined on")
        elif isinstance(node, Expr):
            ranges.bounds(node, relation.bounds)


def _check_keys(plan: LogicalPlan, relation: Relation) -> None:
    if [(key.count, key.nullable) for key in plan.keys] != [(key.count, key.nullable) for key in plan.shape.keys]:
        raise FormError("shape.keys: not those of the plan")
    if plan.shape.cells > limits.CELLS_MAX:
        raise FormError("keys: too many cells")
    for index, key in enumerate(plan.keys):
        found = ranges.bounds(key.expr, relation.bounds)
        if not key.low <= found.low <= found.high < key.low + key.count or key.nullable != found.nullable:
            raise FormError(f"keys[{index}]: the expression lies in [{found.low}, {found.high}]")


def _check_gates(plan: LogicalPlan) -> None:
    if plan.cohorts[0] != Cohort(None) or plan.gates[0] != Gate(0, None):
        raise FormError("gates: the first is the whole cell")
    if len(set(plan.cohorts)) != len(plan.cohorts):
        raise FormError("cohorts: one is listed twice")
    for index, gate in enumerate(plan.gates):
        if max(gate.inside, *gate.outside, 0) >= len(plan.cohorts):
            raise FormError(f"gates[{index}]: a cohort that does not exist")
        inside = plan.cohorts[gate.inside].condition
        expected = None if inside is None else Cohort(IsNotTrue(inside))
        actual = None if gate.complement is None else plan.cohorts[gate.complement]
        if actual != expected:
            raise FormError(f"gates[{index}]: the complement is not that of the inside")
    pairs = [(value.field, value.gate) for value in plan.values]
    if plan.shape.gates != len(plan.gates) or [(v.field, v.gate) for v in plan.shape.values] != pairs:
        raise FormError("shape: values and gates are not those of the plan")


def _check_minimal(plan: LogicalPlan) -> None:
    """What is not used is not opened."""
    nodes = [node for expression in plan.shape.expressions() for node in shape.walk(expression)]
    used = {index for node in nodes for index in shape.value_indices(node)}
    for index in range(len(plan.values)):
        if index not in used:
            raise FormError(f"values[{index}]: nothing in the shape needs it")
    if {value.gate for value in plan.values} | {0} != set(range(len(plan.gates))):
        raise FormError("gates: nothing hangs on one of them")


def _check_value(plan: LogicalPlan, relation: Relation, value: LocalValue) -> None:
    check_factors(value.factors)
    found = ranges.contribution(value, relation.bounds)
    if (value.low, value.high) != (found.low, found.high):
        raise FormError(f": a row's contribution lies in [{found.low}, {found.high}]")
    if value.field != ranges.field_for(found.low, found.high, plan.rows_max):
        raise FormError(f": field {value.field} is not the narrowest that holds the sum")
    gate = plan.gates[value.gate] if value.gate < len(plan.gates) else None
    if gate is None or plan.cohorts[gate.inside].condition != value.condition:
        raise FormError(": the gate counts other rows than the value")
    present = set(conjuncts(value.condition))
    for column in columns_of(*value.factors):
        if relation.bounds(column).nullable and Not(IsNull(column)) not in present:
            raise FormError(f": column {column.name!r} may be NULL")
    also = {plan.cohorts[index] for index in gate.also}
    if not also.issuperset(indicator_cells(value.factors, value.condition, relation)):
        raise FormError(": a column of two values needs both cells in the gate")


def check_factors(factors: tuple[Expr, ...]) -> None:
    """Raise `FormError` unless the factors are polynomials of low degree: no steps, no CASE (SECURITY rule 18)."""
    for node in walk(*factors):
        if not isinstance(node, _LINEAR):
            raise FormError(f": {type(node).__name__} is not allowed in what is summed")
    for column in columns_of(*factors):
        if sum(degree(factor, column) for factor in factors) > DEGREE_MAX:
            raise FormError(f": column {column.name!r} appears in a power above {DEGREE_MAX}")


def degree(expr: Expr, column: ColumnRef) -> int:
    """The degree of a polynomial in one column."""
    match expr:
        case ColumnRef():
            return int(expr == column)
        case Add(left, right) | Subtract(left, right):
            return max(degree(left, column), degree(right, column))
        case Multiply(left, right):
            return degree(left, column) + degree(right, column)
        case Negate(operand):
            return degree(operand, column)
        case _:
            return 0


def indicator_cells(factors: tuple[Expr, ...], condition: Pred | None, relation: Relation) -> tuple[Cohort, ...]:
    """The cells that a sum over two-valued columns tells apart, and which its gate must therefore cover.

    The sum of such a column is a count of people, and its product with another column is a sum over those people.  With
    several such columns these are the joint cells.
    """
    columns = sorted(columns_of(*factors), key=lambda ref: (ref.source, ref.name))
    binary = [column for column in columns if relation.bounds(column).count == 2]
    if not binary:
        return ()
    if len(binary) > INDICATORS_MAX:
        raise PlanUnsupported(
            f"an aggregate over more than {INDICATORS_MAX} two-valued columns at once; GROUP BY some of them instead"
        )
    levels = [(relation.bounds(column).low, relation.bounds(column).high) for column in binary]
    return tuple(
        Cohort(
            conjunction(
                (
                    *conjuncts(condition),
                    *(Compare("=", column, Constant(level)) for column, level in zip(binary, cell, strict=True)),
                )
            )
        )
        for cell in itertools.product(*levels)
    )
