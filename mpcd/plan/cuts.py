"""How finely a request tells the values of a column apart, for policies that publish a column in steps (layer 3).

Theory of operation.  What a filter or a group key makes of a numeric column or a date is a function of its stored form
(and of other columns).  A *cut* is a stored form c at which that function may change: a row with c may be treated
otherwise than one with c - 1.  `age >= 40` cuts at 40, `age // 10` at every ten, `YEAR(day)` at every first of
January, `age = 42` at 42 and 43, `age` itself everywhere.  A column that an owner publishes in steps may be cut at the
edges of those steps alone (`governance.granularity`): then no answer differs between two values of one step.

The cuts found here are never too few: whatever is built from expressions changes only where one of them changes, so
the union of what is below is right for every node, and nodes whose operand is linear in one column are read exactly.
An expression of several columns that is compared as a whole, such as a difference of two dates, cuts each of them
everywhere.  NULL is a category of its own and no cut.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mpcd import limits
from mpcd.plan import ranges
from mpcd.plan.nodes import (
    Add,
    Case,
    ColumnRef,
    Compare,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    InSet,
    IsNull,
    Multiply,
    Negate,
    Pred,
    Subtract,
    TruncateDivide,
    parts_of,
    walk,
)
from mpcd.plan.relation import Relation, build
from mpcd.roster.model import EPOCH, Column, Roster

if TYPE_CHECKING:
    from mpcd.plan.ir import LogicalPlan

CutVerb = Literal["filter", "group", "join"]
_Cuts = dict[ColumnRef, frozenset[int] | None]
_Terms = dict[ColumnRef | None, int]
"""Factors of columns; that of None is the constant."""
_EVERYWHERE: Final = None
_MONTHS_APART: Final = {"year": 12, "quarter": 3, "month": 1}


@dataclass(frozen=True, slots=True)
class ColumnCuts:
    """Where the filters, the group keys or the joins of a plan cut one column."""

    path: str
    """`table.column`."""
    verb: CutVerb
    type: str
    """The column's type in the roster."""
    scale: int
    """What a stored form is multiplied by; 1 except for decimals."""
    cuts: tuple[int, ...] | None
    """Ascending, within the declared bounds; None: everywhere."""
    identifies: bool
    """Whether a filter or a key tells one value apart from all others, and the roster says that no value occurs twice.

    The column then tells rows apart, so this is an equality on an identifier, however it is written.
    """


def column_cuts(plan: LogicalPlan, roster: Roster) -> tuple[ColumnCuts, ...]:
    """Of each column that `plan` filters by, groups by or joins on, except person ids; by name, then verb.

    Args:
        plan: checked against `roster`.
        roster: for types and bounds.
    """
    relation = build(roster, plan.sources, plan.joins)
    found: dict[tuple[ColumnRef, CutVerb], frozenset[int] | None] = {}

    def note(verb: CutVerb, cuts: _Cuts) -> None:
        for column, places in cuts.items():
            own = (column, verb)
            found[own] = _union(found[own], places) if own in found else places

    for join in plan.joins:
        note("join", dict.fromkeys((*join.left, *join.right), _EVERYWHERE))
    conditions = (plan.where, *(c.condition for c in plan.cohorts), *(v.condition for v in plan.values))
    for condition in dict.fromkeys(conditions):
        if condition is not None:
            note("filter", _of(condition, relation))
    for key in plan.keys:
        note("group", _of(key.expr, relation))
    merged: dict[tuple[str, CutVerb], ColumnCuts] = {}
    for (ref, verb), places in found.items():
        column = relation.column(ref)
        if column.type == "person_id":
            continue
        path = relation.name(ref)
        inside = None if places is None else frozenset(c for c in places if column.low < c <= column.high)
        before = merged.get((path, verb))
        if before is not None:  # a table that is joined to itself
            inside = _union(inside, None if before.cuts is None else frozenset(before.cuts))
        cuts = None if inside is None or len(inside) > limits.COLUMN_CUTS_MAX else tuple(sorted(inside))
        identifies = column.unique and verb != "join" and _singles_out(cuts, column)
        merged[path, verb] = ColumnCuts(path, verb, column.type, column.scale, cuts, identifies)
    return tuple(merged[key] for key in sorted(merged))


def _singles_out(cuts: tuple[int, ...] | None, column: Column) -> bool:
    """Whether some value is alone between two cuts, the ends of the declared bounds among them."""
    if cuts is None:
        return True
    edges = (column.low, *cuts, column.high + 1)
    return bool(cuts) and any(after - before == 1 for before, after in itertools.pairwise(edges))


def _union(left: frozenset[int] | None, right: frozenset[int] | None) -> frozenset[int] | None:
    return None if left is None or right is None else left | right


def _of(node: Expr | Pred, relation: Relation) -> _Cuts:
    """The cuts of a node: exact where it is a step function of one column, else those of what is below."""
    exact = _exactly(node, relation)
    if exact is not None:
        return exact
    if isinstance(node, ColumnRef):
        return {node: _EVERYWHERE}
    found: _Cuts = {}
    for part in parts_of(node):
        for column, places in _of(part, relation).items():
            found[column] = _union(found[column], places) if column in found else places
    return found


def _exactly(node: Expr | Pred, relation: Relation) -> _Cuts | None:
    match node:
        case IsNull(expr) if not any(isinstance(part, Case) for part in walk(expr)):
            return {}  # it is NULL exactly where a column is
        case Compare(op, left, right):
            linear = _linear(Subtract(left, right))
            return None if linear is None else linear.changes(relation, (0,), lambda value: _holds(op, value))
        case InSet(expr, values):
            linear = _linear(expr)
            if linear is None or len(values) > limits.COLUMN_CUTS_MAX:
                return None
            members = frozenset(values)
            return linear.changes(relation, values, lambda value: value in members)
        case FloorDivide(left, Constant(divisor)) | TruncateDivide(left, Constant(divisor)):
            linear = _linear(left)
            divide = ranges.floor_divide if isinstance(node, FloorDivide) else ranges.truncate_divide
            return None if linear is None else linear.quotients(relation, divisor, divide)
        case DatePart(part, operand) if part in _MONTHS_APART:
            linear = _linear(operand)
            if linear is None or linear.factor != 1:
                return None
            return {linear.column: frozenset(linear.starts(relation, _MONTHS_APART[part]))}
        case _:
            return None


def _holds(op: str, difference: int) -> bool:
    match op:
        case "=":
            return difference == 0
        case "<>":
            return difference != 0
        case "<":
            return difference < 0
        case "<=":
            return difference <= 0
        case ">":
            return difference > 0
        case _:
            return difference >= 0


@dataclass(frozen=True, slots=True)
class _Linear:
    """factor * column + offset, factor not zero."""

    column: ColumnRef
    factor: int
    offset: int

    def _at(self, stored: int) -> int:
        return self.factor * stored + self.offset

    def changes(self, relation: Relation, near: Iterable[int], function: Callable[[int], object]) -> _Cuts:
        """The cuts of a function of this that changes only between values next to one of `near`."""
        bounds = relation.bounds(self.column)
        candidates: set[int] = set()
        for value in near:
            stored = (value - self.offset) // self.factor
            candidates.update(c for c in range(stored - 1, stored + 3) if bounds.low < c <= bounds.high)
        changed = (c for c in candidates if function(self._at(c)) != function(self._at(c - 1)))
        return {self.column: frozenset(changed)}

    def quotients(self, relation: Relation, divisor: int, divide: Callable[[int, int], int]) -> _Cuts:
        """The cuts of a division by a constant."""
        bounds = relation.bounds(self.column)
        low, high = sorted((self._at(bounds.low), self._at(bounds.high)))
        multiples = range(low // abs(divisor), high // abs(divisor) + 2)  # a checked plan never divides by zero
        if len(multiples) > limits.COLUMN_CUTS_MAX:
            return {self.column: _EVERYWHERE}
        return self.changes(relation, (n * abs(divisor) for n in multiples), lambda value: divide(value, divisor))

    def starts(self, relation: Relation, months: int) -> Iterator[int]:
        """Stored forms whose shifted day is the first of a month, quarter or year."""
        bounds = relation.bounds(self.column)
        first = EPOCH + dt.timedelta(days=self._at(bounds.low))
        last = EPOCH + dt.timedelta(days=self._at(bounds.high))
        for month in range(first.year * 12, (last.year + 1) * 12, months):
            yield (dt.date(month // 12, month % 12 + 1, 1) - EPOCH).days - self.offset


def _linear(expr: Expr) -> _Linear | None:
    """The expression as a multiple of one column and a constant; None if it is not one."""
    terms = _terms(expr)
    columns = {} if terms is None else {column: factor for column, factor in terms.items() if factor != 0}
    offset = columns.pop(None, 0)
    if len(columns) != 1:
        return None
    ((column, factor),) = columns.items()
    assert column is not None
    return _Linear(column, factor, offset)


def _terms(expr: Expr) -> _Terms | None:
    match expr:
        case ColumnRef():
            return {expr: 1}
        case Constant(value):
            return {None: value}
        case Negate(operand):
            return _combined({}, _terms(operand), -1)
        case Add(left, right):
            return _combined(_terms(left), _terms(right), 1)
        case Subtract(left, right):
            return _combined(_terms(left), _terms(right), -1)
        case Multiply(left, Constant(factor)) | Multiply(Constant(factor), left):
            return _combined({}, _terms(left), factor)
        case _:
            return None


def _combined(left: _Terms | None, right: _Terms | None, factor: int) -> _Terms | None:
    """left + factor * right."""
    if left is None or right is None:
        return None
    return {key: left.get(key, 0) + factor * right.get(key, 0) for key in left.keys() | right.keys()}
