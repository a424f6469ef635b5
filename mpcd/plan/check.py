"""Check a plan against the roster as if an enemy had written it (layer 3, no I/O).

The planner child has read the analyst's text; its answer is data.  Everything that protects people or numbers is
computed again here: the relation, the bounds, the fields, which cells a gate must cover, the uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpcd import limits
from mpcd.errors import CallerFault
from mpcd.plan import ranges, uses
from mpcd.plan.isolation import DEGREE_MAX, nullable, protect
from mpcd.plan.monomials import unit
from mpcd.plan.nodes import (
    Add,
    Cohort,
    ColumnRef,
    Constant,
    Expr,
    Gate,
    LocalValue,
    Multiply,
    Negate,
    Pred,
    Subtract,
    walk,
)
from mpcd.plan.relation import Relation, build
from mpcd.results import shape
from mpcd.results.schema import FormError

if TYPE_CHECKING:
    from mpcd.plan.ir import LogicalPlan
    from mpcd.roster.model import Roster

_LINEAR: Final = (ColumnRef, Constant, Add, Subtract, Multiply, Negate)


def check_plan(plan: LogicalPlan, roster: Roster) -> None:
    """Raise `FormError` unless `plan` is one that the planner could rightly have made from some request."""
    try:
        relation = build(roster, plan.sources, plan.joins)
        _check_relation(plan, relation)
        _check_nodes(plan, relation)
        _check_keys(plan, relation)
        for index, value in enumerate(plan.values):
            try:
                check_factors(value.factors)
            except FormError as error:
                raise error.within(f"values[{index}]") from None
        _check_gates(plan, relation)
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
    nodes = walk(*pending)
    for node in nodes:
        if isinstance(node, ColumnRef):
            try:
                column = relation.column(node)
            except KeyError:
                raise FormError(f": there is no column {node.name!r} in source {node.source}") from None
            if column.type == "person_id":
                raise FormError(f": person id {node.name!r} may only be joined on")
    for node in nodes:  # bounds ask for columns below, which exist now
        if isinstance(node, Expr):
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


def _check_gates(plan: LogicalPlan, relation: Relation) -> None:
    if plan.cohorts[0] != Cohort(None) or plan.gates[0] != Gate(0, None):
        raise FormError("gates: the first is the whole cell")
    if len(set(plan.cohorts)) != len(plan.cohorts):
        raise FormError("cohorts: one is listed twice")
    found = protect(plan.values, plan.where, plan.keys, relation)
    for name, claimed, actual in (
        ("cohorts", plan.cohorts, found.cohorts),
        ("gates", plan.gates, found.gates),
        ("magnitudes", plan.magnitudes, found.magnitudes),
        ("values' gates", tuple(value.gate for value in plan.values), found.gate_of),
    ):
        if claimed != actual:
            raise FormError(f"{name}: not those that keep the outputs from isolating people")
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
    found = ranges.contribution(value, relation.bounds)
    if (value.low, value.high) != (found.low, found.high):
        raise FormError(f": a row's contribution lies in [{found.low}, {found.high}]")
    if value.unit != unit(value.factors, relation):
        raise FormError(": the unit is not the columns'")
    if value.field != ranges.field_for(found.low, found.high, plan.rows_max):
        raise FormError(f": field {value.field} is not the narrowest that holds the sum")
    missing = nullable(value.factors, (plan.where, value.condition), relation)
    if missing:
        raise FormError(f": column {missing[0].name!r} may be NULL")


def check_factors(factors: tuple[Expr, ...]) -> None:
    """Raise `FormError` unless the factors are polynomials of low degree: no steps, no CASE (SECURITY rule 18)."""
    for node in walk(*factors):
        if not isinstance(node, _LINEAR):
            raise FormError(f": {type(node).__name__} is not allowed in what is summed")
    if sum(degree(factor) for factor in factors) > DEGREE_MAX:
        raise FormError(f": more than {DEGREE_MAX} columns are multiplied, or a power above {DEGREE_MAX} is taken")


def degree(expr: Expr) -> int:
    """The degree of a polynomial, over all columns together.

    A product x * x * y would weigh y by any polynomial of degree 2 in x, which can be zero for all but a few people.
    """
    match expr:
        case ColumnRef():
            return 1
        case Add(left, right) | Subtract(left, right):
            return max(degree(left), degree(right))
        case Multiply(left, right):
            return degree(left) + degree(right)
        case Negate(operand):
            return degree(operand)
        case _:
            return 0
