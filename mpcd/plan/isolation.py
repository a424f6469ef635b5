"""No request may isolate people by combining its own outputs (layer 3, no I/O; SECURITY rule 18).

Theory of operation.  Within one cell an analyst sees sums over several sets of rows and may add and subtract them as he
likes.  Three things could isolate a few people; each has its rule here, and the checker applies them all again.

1. *The sets themselves.*  A set that is another one without a single person shows that person.  `protect` takes all
   sets of a request, finds out which overlaps are possible at all, and puts into every gate the smallest collections
   of rows on which a combination of the request's sums can stand (`spans`).  Each is a cohort that must pass the floor.
2. *Few-valued columns.*  The moments of a column with two or three values in a cell tell how many rows have each value,
   and its products with another column tell that column's sum over them: the column's values are sets like any others.
   What counts is what WHERE, FILTER and the group keys leave of the column.
3. *Padding.*  A condition that lets through many people with x = 0 and one person with another x makes SUM(x * y) that
   person's.  So a condition may restrict a column that is summed only by itself, and only to values without gaps.

What remains is in the values, not in the conditions (one large value among zeros): dominance, which the gate asks of
every monomial of a value over every cohort of its gate (`mpcd.plan.monomials`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mpcd import limits
from mpcd.errors import PlanUnsupported
from mpcd.plan import spans
from mpcd.plan.domains import Domains, Facts, Values, present_where, split, value_of
from mpcd.plan.monomials import MAGNITUDES_MAX, Magnitude, magnitude, monomials
from mpcd.plan.nodes import (
    Add,
    Cohort,
    ColumnRef,
    Compare,
    Constant,
    Expr,
    FloorDivide,
    Gate,
    GroupKey,
    InSet,
    IsNotTrue,
    LocalValue,
    Multiply,
    Negate,
    Not,
    Or,
    Pred,
    Subtract,
    TruncateDivide,
    columns_of,
    conjunction,
    conjuncts,
    walk,
)
from mpcd.plan.relation import Relation

DEGREE_MAX: Final = 2
"""Highest degree of one value, over all columns together: squares, and products of two columns."""
FEW: Final = DEGREE_MAX + 1
"""As many values of a column can be told apart by its moments up to that power: how many rows have each."""
JOINT_CELLS_MAX: Final = 8
"""Most combinations of values of the few-valued columns of one value."""
ATOMS_MAX: Final = 64
"""Most ways in which a row can be in the sets of one request or not."""

Parts = tuple[Pred, ...]
"""A conjunction, by its parts; none: all rows."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What must be counted, and what must pass before each value may be opened."""

    cohorts: tuple[Cohort, ...]
    gates: tuple[Gate, ...]
    magnitudes: tuple[Magnitude, ...]
    """What the gates' `sums` are."""
    gate_of: tuple[int, ...]
    """Per value."""


@dataclass(frozen=True, slots=True)
class _Few:
    """A column with few values: in all cells of the answer, or in some only."""

    column: ColumnRef
    values: tuple[int, ...]
    everywhere: bool

    def cell(self, value: int) -> Pred:
        """Rows with that value; where the column has other values in some cells, all rows there."""
        if self.everywhere:
            return Compare("=", self.column, Constant(value))
        others = tuple(other for other in self.values if other != value)
        if len(others) == 1:
            return Compare("<>", self.column, Constant(others[0]))
        return Not(InSet(self.column, others))


def protect(
    values: Sequence[LocalValue], where: Pred | None, keys: Sequence[GroupKey], relation: Relation
) -> Protection:
    """The cohorts and gates of a request.

    Args:
        values: what owners compute; their gates are not looked at.
        where: see `LogicalPlan`.
        keys: see `LogicalPlan`.
        relation: what the roster says.

    Raises:
        PlanUnsupported: a condition could single out people in a way that no gate covers, or too many sets overlap.
    """
    return _Protector(values, where, keys, relation).run()


def relative(condition: Pred | None, where: Pred | None, relation: Relation) -> Pred | None:
    """The condition without the parts that WHERE implies."""
    facts = Facts(Domains(relation), conjuncts(where))
    return conjunction(tuple(part for part in conjuncts(condition) if not facts.holds(part)))


class _Protector:
    """One run of `protect`."""

    def __init__(
        self, values: Sequence[LocalValue], where: Pred | None, keys: Sequence[GroupKey], relation: Relation
    ) -> None:
        self._values = values
        self._where = conjuncts(where)
        self._keys = keys
        self._relation = relation
        self._domains = Domains(relation)
        self._base = Facts(self._domains, self._where)
        self._columns = _Columns(self._domains, self._where, keys)
        self._sets: dict[Parts, int] = {}
        self._cohorts: dict[Cohort, int] = {Cohort(None): 0}
        self._atoms: list[spans.Atom] = []
        self._conditions: dict[spans.Support, Pred | None] = {}
        self._magnitudes: dict[Magnitude, int] = {}

    def run(self) -> Protection:
        """See `protect`."""
        for part in (*self._where, *(part for value in self._values for part in conjuncts(value.condition))):
            _check_arithmetic(part)
        few = [self._columns.few(value) for value in self._values]
        taking_part = [
            self._taking_part(conjuncts(value.condition), found) for value, found in zip(self._values, few, strict=True)
        ]
        needed = self._needed()
        gates: dict[Gate, int] = {Gate(0, None): 0}
        gate_of: list[int] = []
        for value, own, found in zip(self._values, taking_part, few, strict=True):
            outside = spans.minimal({support for place in own for support in needed[place]})
            gate = self._gate(value.condition, outside, found)
            gate = replace(gate, sums=self._sums(gate, value))
            gate_of.append(gates.setdefault(gate, len(gates)))
        return Protection(tuple(self._cohorts), tuple(gates), tuple(self._magnitudes), tuple(gate_of))

    # -------------------------------------------------------------------------------------------- sets and atoms

    def _taking_part(self, condition: Parts, few: Sequence[_Few]) -> list[int]:
        """The sets over which sums follow from a value: its own rows, and each cell of its few-valued columns."""
        places = [self._set(condition)] if condition else []
        columns = [one for one in few if one.everywhere]
        if not columns:
            return places
        if math.prod(len(one.values) for one in columns) > JOINT_CELLS_MAX:
            names = ", ".join(self._relation.name(one.column) for one in columns)
            raise PlanUnsupported(
                f"columns of few values ({names}) are multiplied with each other; GROUP BY some of them instead"
            )
        cells = itertools.product(*([one.cell(value) for value in one.values] for one in columns))
        return [*places, *(self._set((*condition, *cell)) for cell in cells)]

    def _set(self, parts: Parts) -> int:
        return self._sets.setdefault(tuple(dict.fromkeys(parts)), len(self._sets))

    def _needed(self) -> list[tuple[spans.Support, ...]]:
        """Per set, the supports that must pass; `_atoms` holds what they are made of."""
        self._atoms = self._possible()
        if not self._sets or not self._atoms:
            return [() for _ in self._sets]
        found = spans.supports(tuple(self._atoms))
        if found is None:
            raise PlanUnsupported(_TOO_MANY)
        return list(found)

    def _possible(self) -> list[spans.Atom]:
        """Which memberships are possible together, as far as the conditions themselves tell."""
        found: list[tuple[spans.Atom, Facts]] = [((), self._base)]
        for parts in self._sets:
            grown: list[tuple[spans.Atom, Facts]] = []
            for atom, facts in found:
                for member in (0, 1):
                    more = facts.copy()
                    more.learn(parts) if member else more.learn((), parts)
                    if not more.impossible:
                        grown.append(((*atom, member), more))
            found = grown
            if len(found) > ATOMS_MAX:
                raise PlanUnsupported(_TOO_MANY)
        return [atom for atom, facts in found if facts.possible()]

    def _condition(self, support: spans.Support) -> Pred | None:
        """The rows of some atoms; None: all rows."""
        if support not in self._conditions:
            self._conditions[support] = self._spelled(support)
        return self._conditions[support]

    def _spelled(self, support: spans.Support) -> Pred | None:
        """As briefly as the atoms that are impossible allow."""
        every = list(self._sets)
        terms: dict[Pred | None, None] = {}
        uncovered = set(support)
        while uncovered:
            literals = dict(enumerate(self._atoms[min(uncovered)]))
            for place in range(len(every) - 1, -1, -1):
                fewer = {other: sign for other, sign in literals.items() if other != place}
                if self._covered(fewer) <= support:
                    literals = fewer
            uncovered -= self._covered(literals)
            terms[self._term([(every[place], sign) for place, sign in literals.items()])] = None
        kept = tuple(term for term in terms if term is not None)
        if len(kept) < len(terms):
            return None
        return kept[0] if len(kept) == 1 else Or(kept)

    def _covered(self, literals: dict[int, int]) -> set[int]:
        return {
            index
            for index, atom in enumerate(self._atoms)
            if all(atom[place] == sign for place, sign in literals.items())
        }

    @staticmethod
    def _term(literals: list[tuple[Parts, int]]) -> Pred | None:
        parts: list[Pred] = []
        for condition, sign in literals:
            whole = conjunction(condition)
            assert whole is not None
            parts.extend(condition if sign else (IsNotTrue(whole),))
        return conjunction(tuple(parts))

    # -------------------------------------------------------------------------------------------- gates

    def _gate(self, condition: Pred | None, outside: Iterable[spans.Support], few: Sequence[_Few]) -> Gate:
        complement: int | None = None
        counted: list[spans.Support] = []
        if condition is not None:
            place = self._sets[conjuncts(condition)]
            counted = [frozenset(self._covered({place: sign})) for sign in (0, 1)]
            if counted[0]:
                complement = self._cohort(Cohort(IsNotTrue(condition)))
        inside = self._cohort(Cohort(condition))
        also = [
            self._cohort(Cohort(self._condition(support)))
            for support in outside
            if not any(known and known <= support for known in counted)  # passes because that does
        ]
        for one in few:
            if not one.everywhere:
                also += [
                    self._cohort(Cohort(conjunction((*conjuncts(condition), one.cell(value))))) for value in one.values
                ]
        return Gate(inside, complement, tuple(i for i in dict.fromkeys(also) if i not in {inside, complement}))

    def _sums(self, gate: Gate, value: LocalValue) -> tuple[int, ...]:
        """The monomials of a value over all cohorts of its gate, less those where a column is surely NULL."""
        cohorts = list(self._cohorts)
        found: list[int] = []
        # A count is a sum as well, of how many rows each person has.
        counted = () if value.factors or self._relation.persons_unique else ((),)
        for factors in (*monomials(value.factors), *counted):
            for place in (gate.inside, *gate.outside):
                facts = Facts(self._domains, (*self._where, *conjuncts(cohorts[place].condition)))
                if all(facts.values(column).runs for column in factors):
                    one = magnitude(place, factors, self._relation)
                    found.append(self._magnitudes.setdefault(one, len(self._magnitudes)))
        if len(self._magnitudes) > MAGNITUDES_MAX:
            raise PlanUnsupported(_TOO_MANY)
        return tuple(sorted(set(found)))

    def _cohort(self, cohort: Cohort) -> int:
        index = self._cohorts.setdefault(cohort, len(self._cohorts))
        if len(self._cohorts) > limits.PLAN_COHORTS_MAX:
            raise PlanUnsupported(_TOO_MANY)
        return index


_TOO_MANY: Final = (
    "the outputs are about too many different sets of people, which could be subtracted from one another; ask for "
    "fewer at once (FILTERs, columns with missing values, columns of few values), GROUP BY the condition instead of "
    "FILTERs, or make all outputs about the same people with WHERE column IS NOT NULL"
)


# ------------------------------------------------------------------------------------------------ summed columns


class _Columns:
    """What the conditions and keys of a request leave of the columns that are summed."""

    def __init__(self, domains: Domains, where: Parts, keys: Sequence[GroupKey]) -> None:
        self._domains = domains
        self._where = where
        self._keys = keys
        self._known: dict[tuple[ColumnRef, Parts], tuple[Values, tuple[_Few, ...]]] = {}

    def few(self, value: LocalValue) -> tuple[_Few, ...]:
        """The few-valued columns of a value.

        Raises:
            PlanUnsupported: a condition or a key restricts a column of the value in a way that could isolate people.
        """
        columns = sorted(columns_of(*value.factors), key=lambda ref: (ref.source, ref.name))
        parts = tuple(one for part in (*self._where, *conjuncts(value.condition)) for one in split(part))
        found: list[_Few] = []
        for column in columns:
            if (column, parts) not in self._known:
                self._known[column, parts] = self._find(column, parts)
            left, few = self._known[column, parts]
            found.extend(few)
            if 1 <= left.count <= FEW < self._domains.declared(column).count and _is_multiplied(column, value.factors):
                raise PlanUnsupported(
                    f"the conditions leave {self._name(column)} at most {FEW} values, and it is multiplied with "
                    f"another column: GROUP BY {self._name(column)} instead"
                )
        return tuple(found)

    def _name(self, column: ColumnRef) -> str:
        return self._domains.relation.name(column)

    # -------------------------------------------------------------------------------------------- conditions

    def _left(self, column: ColumnRef, parts: Parts) -> Values:
        """What the conditions leave of the column; refuses what is not simple enough to be sure of."""
        if not any(column in columns_of(part) for part in parts):
            return Values(self._domains.declared(column).runs)
        pairs = self._pairs(column, parts)
        alone = {one: self._alone(one, parts) for pair in pairs for one in pair.columns} or {}
        alone[column] = self._alone(column, parts)
        for _ in pairs:
            for pair in pairs:
                for one in pair.columns:
                    alone[one] = alone[one] & pair.leaves(one, alone)
        left = alone[column]
        if len(left.runs) > 1:
            name = self._name(column)
            raise PlanUnsupported(
                f"the conditions leave gaps between the values of {name}, which is summed too, so that a few people "
                f"could be told apart; restrict it with < and >, or GROUP BY {name} instead"
            )
        return left

    def _alone(self, column: ColumnRef, parts: Parts) -> Values:
        """What the conditions on the column alone leave of it."""
        left = Values(self._domains.declared(column).runs)
        for part in parts:
            if columns_of(part) == {column}:
                truths = self._domains.truths(part, column)
                if truths is None:
                    raise PlanUnsupported(
                        f"{self._name(column)} has too many values to see what the condition on it leaves; compare "
                        "the column itself with constants"
                    )
                left = left & truths.true
        return left

    def _pairs(self, column: ColumnRef, parts: Parts) -> list[_Pair]:
        """The conditions that mix the column with others, and those that mix these: all must compare two columns."""
        reached, found = {column}, dict[Pred, _Pair]()
        while True:
            mixed = [part for part in parts if part not in found and len(columns_of(part)) > 1]
            touching = [part for part in mixed if reached & columns_of(part)]
            if not touching:
                return list(found.values())
            for part in touching:
                pair = _pair(part)
                if pair is None:
                    names = sorted(self._name(one) for one in reached & columns_of(part))
                    raise PlanUnsupported(
                        f"a condition mixes {names[0]} with other columns while {self._name(column)} is summed, so "
                        f"that a few people could be told apart; restrict {names[0]} by itself, joined by AND, or "
                        "GROUP BY the mixed condition instead"
                    )
                found[part] = pair
                reached |= columns_of(part)

    # -------------------------------------------------------------------------------------------- group keys

    def _find(self, column: ColumnRef, parts: Parts) -> tuple[Values, tuple[_Few, ...]]:
        left = self._left(column, parts)
        keys = [key for key in self._keys if column in columns_of(key.expr)]
        if any(key.expr == column for key in keys) or not left.runs:
            return left, ()
        if not keys:
            few = 2 <= left.count <= FEW
            return left, (_Few(column, left.listed(), everywhere=True),) if few else ()
        for key in keys:
            if columns_of(key.expr) != {column}:
                raise PlanUnsupported(
                    f"a group key mixes {self._name(column)}, which is summed, with other columns; GROUP BY bands of "
                    f"{self._name(column)} alone and by the others beside it"
                )
        return left, self._in_cells(column, left, keys)

    def _in_cells(self, column: ColumnRef, left: Values, keys: Sequence[GroupKey]) -> tuple[_Few, ...]:
        """Cells of the answer in which the column has two values or a few more."""
        low, high = left.runs[0]
        if self._domains.may_try(left.count, *(key.expr for key in keys)):
            cells: dict[tuple[int | None, ...], list[int]] = {}
            for value in range(low, high + 1):
                cells.setdefault(tuple(value_of(key.expr, value) for key in keys), []).append(value)
            found = list(cells.values())
        elif len(keys) == 1 and _rises(keys[0].expr):
            found = [_cell_of(keys[0].expr, value, low, high) for value in (low, (low + high) // 2, 0, high)]
            found = [cell for cell in found if cell]
        else:
            raise PlanUnsupported(
                f"{self._name(column)} is summed and has too many values to see which of them the group keys put "
                f"together; GROUP BY one key of the form {self._name(column)} // 1000"
            )
        name = self._name(column)
        if any(cell[-1] - cell[0] >= len(cell) for cell in found):
            raise PlanUnsupported(
                f"a group key puts values of {name} together that have others between them, and {name} is summed too; "
                f"GROUP BY bands, such as {name} // 10, or by {name} itself"
            )
        few = sorted({tuple(cell) for cell in found if 2 <= len(cell) <= FEW})
        if len(few) > FEW:
            raise PlanUnsupported(
                f"the group keys leave {name} at most {FEW} values in a group, and it is summed; GROUP BY {name} "
                "itself, or by wider bands"
            )
        return tuple(_Few(column, cell, everywhere=len(cell) == left.count) for cell in few)


def _cell_of(expr: Expr, value: int, low: int, high: int) -> list[int]:
    """The values around `value` for which a rising or falling expression is the same; at most a few of them."""
    if not low <= value <= high:
        return []
    own = value_of(expr, value)
    cell = [value]
    for step in (-1, 1):
        near = value + step
        while low <= near <= high and len(cell) <= 2 * FEW and value_of(expr, near) == own:
            cell.append(near)
            near += step
    return sorted(cell)


def _rises(expr: Expr) -> bool:
    """Whether the expression is one column, scaled, moved and cut into bands: it rises or falls all the way."""
    match expr:
        case ColumnRef():
            return True
        case Negate(operand):
            return _rises(operand)
        case Add(left, Constant()) | Subtract(left, Constant()) | Multiply(left, Constant()):
            return _rises(left)
        case FloorDivide(left, Constant()) | TruncateDivide(left, Constant()):
            return _rises(left)
        case _:
            return False


@dataclass(frozen=True, slots=True)
class _Pair:
    """`a * x + b * y + constant` compared with zero, where a and b are 1 or -1: at most zero, or below it."""

    coefficients: dict[ColumnRef, int]
    constant: int

    @property
    def columns(self) -> tuple[ColumnRef, ...]:
        return tuple(self.coefficients)

    def leaves(self, column: ColumnRef, values: dict[ColumnRef, Values]) -> Values:
        """The values of one column that the comparison allows, given those of the other."""
        (other,) = set(self.coefficients) - {column}
        runs = values[other].runs
        if not runs:
            return Values(())
        theirs = self.coefficients[other]
        least = self.constant + min(theirs * runs[0][0], theirs * runs[-1][1])
        return Values(((-_FAR, -least),)) if self.coefficients[column] > 0 else Values(((least, _FAR),))


_FAR: Final = 2**80


def _pair(part: Pred) -> _Pair | None:
    """A comparison of two columns by < <= > >=; None for any other condition."""
    if not isinstance(part, Compare) or part.op in {"=", "<>"}:
        return None
    try:
        (a, b), (c, d) = _linear(part.left), _linear(part.right)
    except ValueError:
        return None
    sign = 1 if part.op in {"<", "<="} else -1
    found = {column: sign * (a.get(column, 0) - c.get(column, 0)) for column in {**a, **c}}
    if len(found) != 2 or any(abs(coefficient) != 1 for coefficient in found.values()):
        return None
    return _Pair(found, sign * (b - d) + (part.op in {"<", ">"}))


def _is_multiplied(column: ColumnRef, factors: tuple[Expr, ...]) -> bool:
    """Whether the column is multiplied with another one."""
    products = [node for node in walk(*factors) if isinstance(node, Multiply)]
    pairs = [factors, *((node.left, node.right) for node in products)]
    return any(
        len(pair) == 2
        and any(column in columns_of(side) for side in pair)
        and any(columns_of(one) - {column} and column in columns_of(other) for one, other in (pair, pair[::-1]))
        for pair in pairs
    )


def _linear(expr: Expr) -> tuple[dict[ColumnRef, int], int]:
    """Coefficients and constant; raises ValueError for anything but sums of columns and constants."""
    match expr:
        case ColumnRef():
            return {expr: 1}, 0
        case Constant(value):
            return {}, value
        case Negate(operand):
            inner, constant = _linear(operand)
            return {column: -coefficient for column, coefficient in inner.items()}, -constant
        case Add(left, right) | Subtract(left, right):
            sign = 1 if isinstance(expr, Add) else -1
            (a, b), (c, d) = _linear(left), _linear(right)
            return {column: a.get(column, 0) + sign * c.get(column, 0) for column in {**a, **c}}, b + sign * d
        case _:
            raise ValueError


def _check_arithmetic(part: Pred) -> None:
    """Refuse products of columns in conditions: `x * (91 - age) = 0` is an OR in disguise."""
    for node in walk(part):
        if isinstance(node, Multiply) and columns_of(node.left) and columns_of(node.right):
            raise PlanUnsupported(
                "a condition multiplies columns; compare each column with constants, joined by AND and OR"
            )


def nullable(exprs: Iterable[Expr], conditions: Iterable[Pred | None], relation: Relation) -> tuple[ColumnRef, ...]:
    """Columns of the expressions that may be NULL in rows for which the conditions are TRUE, in a fixed order."""
    columns = [column for column in columns_of(*exprs) if relation.bounds(column).nullable]
    if not columns:
        return ()
    present = frozenset[ColumnRef]().union(*(present_where(condition) for condition in conditions))
    return tuple(sorted(set(columns) - present, key=lambda ref: (ref.source, ref.name)))
