"""Group keys: which codes a grouping expression has, and what they are called (layer 3, no I/O).

A key must have a known, finite list of codes before any row is read: a dictionary, a truth value, or an integer
expression with declared bounds.  Each code is a cell whether or not any row is in it, so that the list of groups
tells nothing by itself. NULL is a code of its own where the expression may be NULL.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

from sqlglot import exp

from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.plan import ranges
from mpcd.plan.groups import PlannedKey
from mpcd.plan.nodes import GroupKey
from mpcd.plan.rows import Rows
from mpcd.plan.scalar import Scalar
from mpcd.results.shape import BOOLEAN, DATE, DOUBLE, INTEGER, TEXT, KeyShape, Type

CODES_MAX = 2**40


def plan_key(rows: Rows, node: exp.Expr, name: str) -> tuple[GroupKey, KeyShape, PlannedKey]:
    """The key that a grouping expression makes.

    Raises:
        PlanInvalid: a constant.
        PlanUnsupported: more codes than any answer may have.
    """
    value = rows.scalar(node)
    if value.expr is None:
        raise PlanInvalid("GROUP BY takes columns and expressions over them, not constants")
    found = ranges.bounds(value.expr, rows.relation.bounds)
    low, count = (0, len(value.levels)) if value.type == "text" else (found.low, found.count)
    if value.type == "boolean":
        low, count = 0, 2
    if count > CODES_MAX:
        raise PlanUnsupported(f"{name} could take {count} values; group by wider bands, such as {name} // 1000")
    key = GroupKey(name, value.expr, low, count, found.nullable)
    kind = _type(value)
    return key, _shape(key, value, kind), PlannedKey(value, kind, value.levels)


def _shape(key: GroupKey, value: Scalar, kind: Type) -> KeyShape:
    if value.type == "text":
        return KeyShape(key.name, kind, key.count, key.nullable, levels=value.levels)
    if value.type == "boolean":
        return KeyShape(key.name, kind, 2, key.nullable)
    denominator = lcm(value.factor.denominator, value.offset.denominator)
    low = (value.factor * key.low + value.offset) * denominator
    step = value.factor * denominator
    return KeyShape(
        key.name, kind, key.count, key.nullable, low=_exact(low), step=_exact(step) or 1, denominator=denominator
    )


def _exact(number: Fraction) -> int:
    assert number.denominator == 1
    return number.numerator


def _type(value: Scalar) -> Type:
    by_name = {"text": TEXT, "boolean": BOOLEAN, "date": DATE, "integer": INTEGER, "double": DOUBLE}
    return by_name.get(value.type, Type("decimal", value.scale))
