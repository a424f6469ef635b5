"""What a sum is made of: products of columns, each a sum of its own that may be dominated (layer 3, no I/O).

A value is a polynomial of its columns, and its sum is a combination of the sums of its monomials.  Whoever has some of
these from other outputs or requests takes them out: `SUM(x + y)` with `SUM(y)` is `SUM(x)`, and a moment about a centre
is one about the origin.  So dominance is asked of every monomial by itself, never of the polynomial, in which a large
constant or another column would pad one person's contribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mpcd import limits
from mpcd.errors import RangeTooWide
from mpcd.plan.nodes import Add, ColumnRef, Constant, Expr, Multiply, Negate, Subtract
from mpcd.plan.relation import Relation
from mpcd.results.schema import FormError

Monomial = tuple[ColumnRef, ...]
"""Columns in a fixed order, one as often as its power; none: the constant."""

_SIZE_MAX: Final = 2**126
"""Largest sum of contributions at one owner, so that the engine's widest integer holds it."""


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The sum of the sizes of all persons' contributions to one monomial, over one cohort of a cell."""

    cohort: int
    factors: Monomial
    """One column or two; none: how many rows each person has, where that may be several."""
    size: int
    """The largest size of one row's contribution."""


def monomials(factors: Sequence[Expr]) -> tuple[Monomial, ...]:
    """The monomials with columns of the product of these polynomials; those that cancel are none."""
    product: Counter[Monomial] = Counter({(): 1})
    for factor in factors:
        product = _multiply(product, _expand(factor))
    return tuple(sorted((one for one, count in product.items() if one and count), key=repr))


def _expand(expr: Expr) -> Counter[Monomial]:
    match expr:
        case ColumnRef():
            return Counter({(expr,): 1})
        case Constant(value):
            return Counter({(): value})
        case Negate(operand):
            return Counter({one: -count for one, count in _expand(operand).items()})
        case Add(left, right) | Subtract(left, right):
            total = _expand(left)
            for one, count in _expand(right).items():
                total[one] += count if isinstance(expr, Add) else -count
            return total
        case Multiply(left, right):
            return _multiply(_expand(left), _expand(right))
        case _:
            raise FormError(f": {type(expr).__name__} is not allowed in what is summed")


def _multiply(left: Counter[Monomial], right: Counter[Monomial]) -> Counter[Monomial]:
    product: Counter[Monomial] = Counter()
    for a, m in left.items():
        for b, n in right.items():
            product[tuple(sorted(a + b, key=repr))] += m * n
    return product


def magnitude(cohort: int, factors: Monomial, relation: Relation) -> Magnitude:
    """The magnitude, with its bound.

    Raises:
        RangeTooWide: sums of such contributions are too large to be compared.
    """
    size = 1
    for column in factors:
        size *= relation.bounds(column).size
    if size * relation.rows_per_owner_max > _SIZE_MAX:
        raise RangeTooWide(
            f"contributions to a sum could reach {size} for one row, times {relation.rows_per_owner_max} rows at one "
            "owner: too large to see whether few persons dominate it. Tighter bounds or a smaller rows_max in the "
            "roster would help"
        )
    return Magnitude(cohort, factors, size)


def unit(factors: Sequence[Expr], relation: Relation) -> int:
    """How many of the smallest units of these factors' product make one of the columns' own units.

    A decimal column of two places counts in hundredths; a product's places add up; what is added has been brought to
    the same unit.
    """
    places = sum(_places(factor, relation) for factor in factors)
    return int(10**places)


def _places(expr: Expr, relation: Relation) -> int:
    match expr:
        case ColumnRef():
            return relation.column(expr).decimals
        case Negate(operand):
            return _places(operand, relation)
        case Add(left, right) | Subtract(left, right):
            return max(_places(left, relation), _places(right, relation))
        case Multiply(left, right):
            return _places(left, relation) + _places(right, relation)
        case _:
            return 0


MAGNITUDES_MAX: Final = limits.PLAN_VALUES_MAX
"""Of one plan."""
