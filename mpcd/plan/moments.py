"""The cohorts, gates and values of a plan, each once, and linear combinations of them (layer 3, no I/O).

An aggregate asks for moments of its arguments over the rows that count: how many, the sum, the sum of squares or
products. This is where they become integers that owners sum: squares and products are taken about a public centre in
the middle of the declared bounds where that makes the narrow field suffice, and moved back to the origin exactly in
the shape.

A value's rows are those that pass WHERE and FILTER and have no NULL argument; parts of its condition that WHERE implies
are left out.  Gates come last, when all values are known (`isolation`, SECURITY rule 18).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from mpcd import limits
from mpcd.errors import PlanUnsupported, RangeTooWide
from mpcd.plan import ranges
from mpcd.plan.check import check_factors
from mpcd.plan.isolation import Protection, nullable, protect, relative
from mpcd.plan.monomials import unit
from mpcd.plan.nodes import (
    Expr,
    GroupKey,
    IsNull,
    LocalValue,
    Not,
    Pred,
    ValueKind,
    conjunction,
    conjuncts,
)
from mpcd.plan.ranges import FIELD_LIMITS, Bounds
from mpcd.plan.relation import Relation
from mpcd.plan.scalar import Scalar, plus
from mpcd.results import shape
from mpcd.results.schema import FormError

Combination = Mapping[int, Fraction]
"""Index of a value to its coefficient."""


class Moments:
    """Collects what owners must compute; equal requests share."""

    def __init__(self, relation: Relation, where: Pred | None) -> None:
        self.relation = relation
        self.where = where
        self._relative: dict[Pred, Pred | None] = {}
        self._values: dict[LocalValue, int] = {}

    def protected(self, keys: Sequence[GroupKey]) -> tuple[tuple[LocalValue, ...], Protection]:
        """All values, each with its gate, and the cohorts and gates.

        Raises:
            PlanUnsupported: the values could isolate people in a way that no gate covers.
        """
        values = tuple(self._values)
        found = protect(values, self.where, keys, self.relation)
        return tuple(replace(value, gate=gate) for value, gate in zip(values, found.gate_of, strict=True)), found

    # -------------------------------------------------------------------------------------------- conditions

    def present(self, condition: Pred | None, *exprs: Expr) -> Pred | None:
        """The condition, and that none of the columns is NULL."""
        missing = nullable(exprs, (self.where, condition), self.relation)
        return conjunction((*(Not(IsNull(column)) for column in missing), *conjuncts(condition)))

    def _beside_where(self, condition: Pred | None) -> Pred | None:
        """What of the condition WHERE does not imply."""
        if condition is None:
            return None
        if condition not in self._relative:
            self._relative[condition] = relative(condition, self.where, self.relation)
        return self._relative[condition]

    # -------------------------------------------------------------------------------------------- values

    def count(self, condition: Pred | None) -> Combination:
        """How many rows pass."""
        return {self._value("count", (), condition, 0, 1): Fraction(1)}

    def total(self, argument: Scalar, condition: Pred | None) -> Combination:
        """The sum of a number over the rows that pass; no NULL may be among them."""
        if argument.expr is None:
            return scaled(self.count(condition), argument.offset)
        total = scaled(self._sum((argument.expr,), condition), argument.factor)
        if argument.offset == 0:
            return total
        return added(total, scaled(self.count(condition), argument.offset))

    def product(self, left: Scalar, right: Scalar, condition: Pred | None) -> Combination:
        """The sum of left * right over the rows that pass."""
        if left.expr is None or right.expr is None:
            constant, other = (left, right) if left.expr is None else (right, left)
            known = self.count(condition) if constant.offset == 0 else self.total(other, condition)
            return scaled(known, constant.offset)
        # (fx + o)(gy + p) = fg xy + fp x + o (gy + p)
        parts = [scaled(self._product(left.expr, right.expr, condition), left.factor * right.factor)]
        if right.offset:
            parts.append(scaled(self._sum((left.expr,), condition), left.factor * right.offset))
        if left.offset:
            parts.append(scaled(self.total(right, condition), left.offset))
        return added(*parts)

    def _product(self, x: Expr, y: Expr, condition: Pred | None) -> Combination:
        """The sum of x * y, about a centre where that saves the wide field."""
        if _order(y) < _order(x):
            x, y = y, x
        a, b = ranges.bounds(x, self.relation.bounds), ranges.bounds(y, self.relation.bounds)
        centre_x, centre_y = (a.low + a.high) // 2, (b.low + b.high) // 2
        plain = self._field(_product_bounds(a, b, same=x == y))
        moved = self._field(_product_bounds(_shifted(a, centre_x), _shifted(b, centre_y), same=x == y))
        if plain == "p" or moved is None or plain == moved:
            return self._sum((x, y), condition)
        centred = self._sum((plus(x, -centre_x), plus(y, -centre_y)), condition)
        # sum xy = sum (x-c)(y-d) + d sum x + c sum y - n c d
        return added(
            centred,
            scaled(self._sum((x,), condition), Fraction(centre_y)),
            scaled(self._sum((y,), condition), Fraction(centre_x)),
            scaled(self.count(condition), Fraction(-centre_x * centre_y)),
        )

    def _field(self, found: Bounds) -> shape.FieldName | None:
        return ranges.field_for(found.low, found.high, self.relation.rows_max)

    def _sum(self, factors: tuple[Expr, ...], condition: Pred | None) -> Combination:
        try:
            check_factors(factors)
        except FormError as error:
            raise PlanUnsupported(
                f"this argument of an aggregate is not answered{error}; GROUP BY the expression, or use "
                "FILTER (WHERE ...), so that the cells it tells apart are protected as cells"
            ) from None
        bounded = [ranges.bounds(factor, self.relation.bounds) for factor in factors]
        found = bounded[0]
        if len(bounded) == 2:
            found = _product_bounds(bounded[0], bounded[1], same=factors[0] == factors[1])
        return {self._value("sum", factors, condition, found.low, found.high): Fraction(1)}

    def _value(
        self,
        kind: ValueKind,
        factors: tuple[Expr, ...],
        condition: Pred | None,
        low: int,
        high: int,
    ) -> int:
        rows_max = self.relation.rows_max
        field = ranges.field_for(low, high, rows_max)
        if field is None:
            raise RangeTooWide(
                f"a sum could reach {ranges.pooled_size(low, high, rows_max)}: one row adds {low} to "
                f"{high} from the declared bounds, times {rows_max} rows; the widest field holds less than "
                f"{FIELD_LIMITS['q']} (2^126). Tighter bounds or a smaller rows_max in the roster would help"
            )
        condition = self._beside_where(condition)
        value = LocalValue(kind, factors, condition, low, high, field, gate=0, unit=unit(factors, self.relation))
        index = self._values.setdefault(value, len(self._values))
        if len(self._values) > limits.PLAN_VALUES_MAX:
            raise PlanUnsupported(f"more than {limits.PLAN_VALUES_MAX} values; ask for fewer columns at once")
        return index


def _order(expr: Expr) -> str:
    """A fixed order of expressions, so that x * y and y * x are one value."""
    return repr(expr)


def _shifted(found: Bounds, centre: int) -> Bounds:
    return Bounds(found.low - centre, found.high - centre)


def _product_bounds(a: Bounds, b: Bounds, *, same: bool) -> Bounds:
    return ranges.square(a) if same else ranges.multiply(a, b)


def scaled(combination: Combination, factor: Fraction) -> Combination:
    """The combination times a constant."""
    return {index: coefficient * factor for index, coefficient in combination.items()}


def added(*combinations: Combination) -> Combination:
    """The sum of combinations."""
    result: dict[int, Fraction] = {}
    for combination in combinations:
        for index, coefficient in combination.items():
            result[index] = result.get(index, Fraction(0)) + coefficient
    return result


def expression(combination: Combination) -> shape.Expression:
    """The combination as the shape writes it; a value whose coefficient came out as zero is opened, so it is named."""
    if len(combination) == 1:
        ((index, coefficient),) = combination.items()
        if coefficient == 1:
            return shape.Value(index)
    terms = sorted(combination.items())
    return shape.Linear(tuple(shape.Term(index, c.numerator, c.denominator) for index, c in terms))
