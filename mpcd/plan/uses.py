"""Which uses of which columns a plan needs, for the owners' policies to allow (layer 3, no I/O).

`filter`: in WHERE, in FILTER, in the condition of a CASE inside an aggregate, or behind HAVING.  `group`: in a group
key. `aggregate`: inside an aggregate's argument.  `join`: compared by a join.  The uses are derived from the plan, by
the planner and again by the checker, so that a plan cannot claim fewer than it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from mpcd.plan.nodes import ColumnRef, IsNull, Not, columns_of, conjuncts
from mpcd.results.shape import Key, operands, value_indices, walk

if TYPE_CHECKING:
    from mpcd.plan.ir import LogicalPlan
    from mpcd.plan.nodes import LocalValue, Pred

VERBS: Final = ("aggregate", "filter", "group", "join")


def derive(plan: LogicalPlan, name: Callable[[ColumnRef], str]) -> Mapping[str, frozenset[str]]:
    """The verbs per `table.column`; `name` gives that text for a column."""
    found: defaultdict[str, set[str]] = defaultdict(set)

    def note(verb: str, columns: Iterable[ColumnRef]) -> None:
        for column in columns:
            found[name(column)].add(verb)

    for join in plan.joins:
        note("join", (*join.left, *join.right))
    note("filter", columns_of(plan.where))
    for key in plan.keys:
        note("group", columns_of(key.expr))
    for value in plan.values:
        filtered, aggregated = _uses_of(value)
        note("filter", filtered)
        note("aggregate", aggregated)
    note("filter", _behind_having(plan))
    return {column: frozenset(verbs) for column, verbs in sorted(found.items())}


def _uses_of(value: LocalValue) -> tuple[frozenset[ColumnRef], frozenset[ColumnRef]]:
    """Columns that the value filters by, and those that it aggregates; asking for not NULL is aggregating."""
    presence = [part for part in conjuncts(value.condition) if _is_presence(part)]
    others = [part for part in conjuncts(value.condition) if part not in presence]
    return columns_of(*others), columns_of(*value.factors, *presence)


def _is_presence(part: Pred) -> bool:
    """Whether the condition only asks that a column is not NULL."""
    return isinstance(part, Not) and isinstance(part.part, IsNull) and isinstance(part.part.expr, ColumnRef)


def _behind_having(plan: LogicalPlan) -> frozenset[ColumnRef]:
    if plan.shape.having is None:
        return frozenset()
    nodes = [node for expression in operands(plan.shape.having) for node in walk(expression)]
    keys = [columns_of(plan.keys[node.index].expr) for node in nodes if isinstance(node, Key)]
    values = [plan.values[index] for node in nodes for index in value_indices(node)]
    return frozenset().union(*keys, *(columns_of(*v.factors, v.condition) for v in values))
