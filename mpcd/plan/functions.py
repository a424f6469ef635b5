"""Which aggregates a request asks for, by name, for licences that cover some (layer 3, no I/O)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcd.results.shape import Expression, Moment, children, value_indices

if TYPE_CHECKING:
    from mpcd.plan.ir import LogicalPlan


def functions(plan: LogicalPlan) -> frozenset[str]:
    """Names as SQL has them, lower case: `count`, `sum`, `avg`, `var_samp`, `corr`, ...

    What a statistic is made of does not count by itself: `avg` opens a count and a sum and is `avg` alone.  Groups
    without an aggregate say which of them are large enough, which is a `count`.
    """
    found: set[str] = set()
    for expression in plan.shape.expressions():
        _collect(plan, expression, found)
    return frozenset(found or {"count"})


def _collect(plan: LogicalPlan, expression: Expression, found: set[str]) -> None:
    if isinstance(expression, Moment):
        found.add(expression.name)
        return
    found.update(plan.values[index].kind for index in value_indices(expression))
    for child in children(expression):
        _collect(plan, child, found)
