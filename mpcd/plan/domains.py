"""Which values a column can still have where conditions are TRUE: sets, not only bounds (layer 3, no I/O).

A condition over one column is turned into the exact set of stored values for which it is TRUE, as intervals: from the
form of the condition where it compares the column itself with constants, else by trying every value that the roster
allows.  `Facts` collects what a conjunction of conditions says, and finds out when it can hold for no row at all.

Everything here is public: it depends on the plan and the roster, never on a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from mpcd.plan.nodes import (
    Add,
    And,
    Case,
    ColumnRef,
    Compare,
    CompareOperator,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    InSet,
    IsNotTrue,
    IsNull,
    Multiply,
    Negate,
    Not,
    Or,
    Pred,
    Subtract,
    TruncateDivide,
    Truth,
    columns_of,
    walk,
)
from mpcd.plan.ranges import date_part, truncate_divide
from mpcd.plan.relation import Relation

TRIED_MAX: Final = 20_000
"""Most values of one column that are tried one by one."""
STEPS_MAX: Final = 400_000
"""Most steps of arithmetic in all trials of one plan together."""
SPLITS_MAX: Final = 100
"""Most cases that are told apart to find out whether facts contradict each other."""


# ------------------------------------------------------------------------------------------------ sets of values


@dataclass(frozen=True, slots=True)
class Values:
    """A set of stored values of one column."""

    runs: tuple[tuple[int, int], ...]
    """Intervals, both ends included, ascending, with a gap between any two."""
    null: bool = False
    """Whether NULL belongs to the set."""

    @property
    def count(self) -> int:
        """How many values, NULL left out."""
        return sum(high - low + 1 for low, high in self.runs)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in the set, not even NULL."""
        return not self.runs and not self.null

    def listed(self) -> tuple[int, ...]:
        """All values, ascending, NULL left out."""
        return tuple(value for low, high in self.runs for value in range(low, high + 1))

    def __and__(self, other: Values) -> Values:
        found: list[tuple[int, int]] = []
        mine, theirs = 0, 0
        while mine < len(self.runs) and theirs < len(other.runs):
            (a, b), (c, d) = self.runs[mine], other.runs[theirs]
            if max(a, c) <= min(b, d):
                found.append((max(a, c), min(b, d)))
            mine, theirs = (mine + 1, theirs) if b < d else (mine, theirs + 1)
        return Values(tuple(found), self.null and other.null)

    def __or__(self, other: Values) -> Values:
        return Values(_merged([*self.runs, *other.runs]), self.null or other.null)

    def __sub__(self, other: Values) -> Values:
        edges = [-_FAR, *(edge for low, high in other.runs for edge in (low - 1, high + 1)), _FAR]
        outside = tuple((low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low <= high)
        return Values((self & Values(outside)).runs, self.null and not other.null)


_FAR: Final = 2**80
"""Beyond every stored value."""
NOTHING: Final = Values(())


def _merged(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The union of intervals, touching ones joined."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(runs):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Truths:
    """For which values of its only column a condition is TRUE, and for which FALSE; for the others it is NULL."""

    true: Values
    false: Values


class Domains:
    """What the roster allows in each column of a relation, and what conditions over one column leave of it."""

    def __init__(self, relation: Relation) -> None:
        self.relation = relation
        self._truths: dict[Pred, Truths | None] = {}
        self._steps = 0

    def may_try(self, values: int, *nodes: Expr | Pred) -> bool:
        """Whether so many values may be tried on these; counts them if so."""
        steps = values * len(walk(*nodes))
        if values > TRIED_MAX or self._steps + steps > STEPS_MAX:
            return False
        self._steps += steps
        return True

    def declared(self, column: ColumnRef) -> Values:
        """All that the roster allows."""
        found = self.relation.bounds(column)
        return Values(((found.low, found.high),) if found.low <= found.high else (), found.nullable)

    def truths(self, condition: Pred, column: ColumnRef) -> Truths | None:
        """When a condition over that column alone holds; None if there is too much to try."""
        if condition not in self._truths:
            self._truths[condition] = self._find(condition, column)
        return self._truths[condition]

    def _find(self, condition: Pred, column: ColumnRef) -> Truths | None:
        every = self.declared(column)
        match condition:
            case Truth(value):
                return Truths(every if value is True else NOTHING, every if value is False else NOTHING)
            case And(parts) | Or(parts):
                return self._joined(parts, column, any_part=isinstance(condition, Or))
            case Not(part):
                inner = self.truths(part, column)
                return None if inner is None else Truths(inner.false, inner.true)
            case IsNotTrue(part):
                inner = self.truths(part, column)
                return None if inner is None else Truths(every - inner.true, inner.true)
            case IsNull(expr) if expr == column:
                return Truths(Values((), every.null), Values(every.runs))
            case Compare(op, left, Constant(value)) if left == column:
                true = Values(every.runs) & _compared(op, value)
                return Truths(true, Values(every.runs) - true)
            case InSet(expr, values) if expr == column:
                true = Values(every.runs) & Values(_merged((value, value) for value in values))
                return Truths(true, Values(every.runs) - true)
            case _:
                return self._tried(condition, every)

    def _joined(self, parts: Sequence[Pred], column: ColumnRef, *, any_part: bool) -> Truths | None:
        found = [self.truths(part, column) for part in parts]
        known = [truths for truths in found if truths is not None]
        if len(known) < len(found):
            return None
        trues, falses = [truths.true for truths in known], [truths.false for truths in known]
        if any_part:
            return Truths(reduce(Values.__or__, trues), reduce(Values.__and__, falses))
        return Truths(reduce(Values.__and__, trues), reduce(Values.__or__, falses))

    def _tried(self, condition: Pred, every: Values) -> Truths | None:
        if not self.may_try(every.count, condition):
            return None
        found = [(value, truth_of(condition, value)) for value in every.listed()]
        null = truth_of(condition, None) if every.null else None
        return Truths(
            Values(_merged((value, value) for value, truth in found if truth is True), null is True),
            Values(_merged((value, value) for value, truth in found if truth is False), null is False),
        )


def _compared(op: CompareOperator, value: int) -> Values:
    runs: dict[CompareOperator, list[tuple[int, int]]] = {
        "=": [(value, value)],
        "<>": [(-_FAR, value - 1), (value + 1, _FAR)],
        "<": [(-_FAR, value - 1)],
        "<=": [(-_FAR, value)],
        ">": [(value + 1, _FAR)],
        ">=": [(value, _FAR)],
    }
    return Values(tuple(runs[op]))


# ------------------------------------------------------------------------------------------------ one value tried


def value_of(expr: Expr, x: int | None) -> int | None:
    """An expression over one column, for the value `x` of it (None: NULL)."""
    match expr:
        case ColumnRef():
            return x
        case Constant(value):
            return value
        case Negate(operand):
            inner = value_of(operand, x)
            return None if inner is None else -inner
        case DatePart(part, operand):
            inner = value_of(operand, x)
            return None if inner is None else date_part(part, inner)
        case Case(whens, otherwise):
            chosen = next((result for condition, result in whens if truth_of(condition, x) is True), otherwise)
            return None if chosen is None else value_of(chosen, x)
        case _:
            return _operated(expr, x)


def _operated(expr: Add | Subtract | Multiply | FloorDivide | TruncateDivide, x: int | None) -> int | None:
    left, right = value_of(expr.left, x), value_of(expr.right, x)
    if left is None or right is None:
        return None
    match expr:
        case Add():
            return left + right
        case Subtract():
            return left - right
        case Multiply():
            return left * right
        case FloorDivide():
            return left // right
        case TruncateDivide():
            return truncate_divide(left, right)


def truth_of(condition: Pred, x: int | None) -> bool | None:
    """A condition over one column, for the value `x` of it (None: NULL)."""
    match condition:
        case Truth(value):
            return value
        case IsNull(expr):
            return value_of(expr, x) is None
        case IsNotTrue(part):
            return truth_of(part, x) is not True
        case Not(part):
            inner = truth_of(part, x)
            return None if inner is None else not inner
        case InSet(expr, values):
            found = value_of(expr, x)
            return None if found is None else found in values
        case Compare(op, left, right):
            a, b = value_of(left, x), value_of(right, x)
            return None if a is None or b is None else bool((Values(((a, a),)) & _compared(op, b)).runs)
        case And(parts) | Or(parts):
            deciding = isinstance(condition, Or)
            truths = [truth_of(part, x) for part in parts]
            if deciding in truths:
                return deciding
            return None if None in truths else not deciding


# ------------------------------------------------------------------------------------------------ NULL


def present_where(condition: Pred | None, *, holds: bool = True) -> frozenset[ColumnRef]:
    """Columns that cannot be NULL in a row for which the condition is TRUE (or FALSE)."""
    match condition:
        case Compare(_, left, right):
            return _strict(left) | _strict(right)
        case InSet(expr, _):
            return _strict(expr)
        case IsNull(expr):
            return frozenset() if holds else _strict(expr)
        case Not(part):
            return present_where(part, holds=not holds)
        case IsNotTrue(part):
            return frozenset() if holds else present_where(part)
        case And(parts) | Or(parts):
            found = [present_where(part, holds=holds) for part in parts]
            every = isinstance(condition, And) == holds
            return frozenset().union(*found) if every else frozenset.intersection(*found)
        case _:
            return frozenset()


def _strict(expr: Expr) -> frozenset[ColumnRef]:
    """Columns whose NULL makes the expression NULL: all but those inside a CASE."""
    match expr:
        case ColumnRef():
            return frozenset({expr})
        case Constant() | Case():
            return frozenset()
        case Negate(operand) | DatePart(_, operand):
            return _strict(operand)
        case _:
            return _strict(expr.left) | _strict(expr.right)


# ------------------------------------------------------------------------------------------------ conjunctions


def split(condition: Pred) -> tuple[Pred, ...]:
    """Conditions that are all TRUE exactly if this one is: AND, and NOT of an OR."""
    match condition:
        case And(parts):
            return tuple(one for part in parts for one in split(part))
        case Not(Or(parts)):
            return tuple(one for part in parts for one in split(Not(part)))
        case Not(Not(part)) | Not(IsNotTrue(part)):
            return split(part)
        case _:
            return (condition,)


class Facts:
    """What is known about a row for which some conditions are TRUE and some conjunctions are not TRUE."""

    def __init__(self, domains: Domains, true: Iterable[Pred] = ()) -> None:
        self.domains = domains
        self._values: dict[ColumnRef, Values] = {}
        self._true: set[Pred] = set()
        self.unsettled: list[tuple[Pred, ...]] = []
        """Conjunctions that are not TRUE, nobody knows because of which part."""
        self.impossible = False
        self.learn(true)

    def copy(self) -> Facts:
        """The same facts, to learn more on."""
        other = Facts(self.domains)
        other._values, other._true = dict(self._values), set(self._true)
        other.unsettled, other.impossible = list(self.unsettled), self.impossible
        return other

    def values(self, column: ColumnRef) -> Values:
        """What the column can still be."""
        return self._values.get(column) or self._values.setdefault(column, self.domains.declared(column))

    def learn(self, true: Iterable[Pred] = (), not_true: tuple[Pred, ...] | None = None) -> None:
        """More conditions that are TRUE, and one conjunction (its parts) that is not TRUE."""
        for condition in true:
            self._learn_true(condition)
        if not_true is not None:
            self.unsettled.append(not_true)
        while not self.impossible and self._learn_not_true():
            pass

    def possible(self, splits: int = SPLITS_MAX) -> bool:
        """Whether any row may be like that: cases are told apart, as long as there are few of them.

        Of a conjunction that is not TRUE, the first part is not, or it is and the rest is not.
        """
        pending, left = [self], splits
        while pending:
            facts = pending.pop()
            if facts.impossible:
                continue
            if not facts.unsettled or left == 0:
                return True
            left -= 1
            parts = facts.unsettled[0]
            first = next(part for part in parts if not facts.holds(part))
            for member in (True, False):
                case = facts.copy()
                if not member:
                    case.unsettled.remove(parts)
                case.learn((first,) if member else (IsNotTrue(first),))
                pending.append(case)
        return False

    def holds(self, condition: Pred) -> bool:
        """Whether the condition is surely TRUE."""
        if condition in self._true or condition == Truth(True):
            return True
        single = _single(condition)
        if single is None:
            return isinstance(condition, Not) and self._is_present(condition.part)
        truths = self.domains.truths(condition, single)
        return truths is not None and (self.values(single) - truths.true).is_empty

    def fails(self, condition: Pred) -> bool:
        """Whether the condition is surely FALSE or NULL."""
        if Not(condition) in self._true or IsNotTrue(condition) in self._true:
            return True
        if isinstance(condition, (Not, IsNotTrue)) and condition.part in self._true:
            return True
        single = _single(condition)
        if single is None:
            return isinstance(condition, Truth) and condition.value is not True
        truths = self.domains.truths(condition, single)
        return truths is not None and (self.values(single) & truths.true).is_empty

    def _is_present(self, condition: Pred) -> bool:
        """Whether the condition asks if an expression is NULL that cannot be, column by column."""
        return isinstance(condition, IsNull) and all(
            not self.values(column).null and column in _strict(condition.expr) for column in columns_of(condition.expr)
        )

    def _learn_true(self, condition: Pred) -> None:
        if self.fails(condition):
            self.impossible = True
        self._true.add(condition)
        parts = split(condition)
        if parts != (condition,):
            for part in parts:
                self._learn_true(part)
            return
        for column in present_where(condition):
            self._keep(column, Values(self.values(column).runs))
        single = _single(condition)
        truths = None if single is None else self.domains.truths(condition, single)
        if single is not None and truths is not None:
            self._keep(single, truths.true)

    def _keep(self, column: ColumnRef, values: Values) -> None:
        left = self.values(column) & values
        self._values[column] = left
        if left.is_empty:
            self.impossible = True

    def _learn_not_true(self) -> bool:
        """One pass over the conjunctions that are not TRUE; whether anything was learnt."""
        learnt = False
        for parts in list(self.unsettled):
            if any(self.fails(part) for part in parts):
                self.unsettled.remove(parts)
                continue
            unsure = [part for part in parts if not self.holds(part)]
            if not unsure:
                self.impossible = True
                return False
            if len(unsure) == 1:
                self.unsettled.remove(parts)
                self._learn_true(IsNotTrue(unsure[0]))
                learnt = True
        return learnt


def _single(condition: Pred) -> ColumnRef | None:
    """The only column that the condition reads, if it is one."""
    columns = columns_of(condition)
    return next(iter(columns)) if len(columns) == 1 else None
