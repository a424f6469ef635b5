"""The nodes of a logical plan: integer expressions, three-valued predicates, local values (layer 3, no I/O).

All expressions are integer-valued arithmetic over stored forms (`mpcd.roster.model`): the planner has tracked the
scales of decimals and put in the multiplications.  An expression is NULL if any operand is NULL; predicates follow
SQL's three-valued logic.  Every expression of a checked plan stays within 63 bits and never divides by zero, whatever
the rows hold within their declared bounds: generated SQL can be total (SECURITY rule 17).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mpcd import limits
from mpcd.results.schema import FormError, Union, big, boolean, integer, optional, pair, record, sequence, text, word
from mpcd.results.shape import FieldName

CompareOperator = Literal["=", "<>", "<", "<=", ">", ">="]
Part = Literal["year", "quarter", "month", "day", "dayofweek", "isodow", "dayofyear"]
JoinKind = Literal["inner", "left"]
ValueKind = Literal["count", "sum"]

COMPARE_OPERATORS: Final[tuple[CompareOperator, ...]] = ("=", "<>", "<", "<=", ">", ">=")
PARTS: Final[tuple[Part, ...]] = ("year", "quarter", "month", "day", "dayofweek", "isodow", "dayofyear")
"""Parts of a date; `dayofweek` counts from Sunday = 0, `isodow` from Monday = 1."""


# ------------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """The stored form of a column of source `source`."""

    source: int
    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """An integer."""

    value: int


@dataclass(frozen=True, slots=True)
class Add:
    """left + right."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Subtract:
    """left - right."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Multiply:
    """left * right."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Negate:
    """-operand."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class FloorDivide:
    """left / right, rounded towards minus infinity; right is never zero."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class TruncateDivide:
    """left / right, rounded towards zero (DuckDB's `//`); right is never zero."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class DatePart:
    """A part of a date that is given as days since 1970-01-01."""

    part: Part
    operand: Expr


@dataclass(frozen=True, slots=True)
class Case:
    """The first expression whose predicate is TRUE, else `otherwise` (None: NULL); in keys and predicates only."""

    whens: tuple[tuple[Pred, Expr], ...]
    otherwise: Expr | None


Expr = ColumnRef | Constant | Add | Subtract | Multiply | Negate | FloorDivide | TruncateDivide | DatePart | Case


# ------------------------------------------------------------------------------------------------ predicates


@dataclass(frozen=True, slots=True)
class Compare:
    """NULL if either side is NULL."""

    op: CompareOperator
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class And:
    """Three-valued, two or more parts."""

    parts: tuple[Pred, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Three-valued, two or more parts."""

    parts: tuple[Pred, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Three-valued: NOT NULL is NULL."""

    part: Pred


@dataclass(frozen=True, slots=True)
class InSet:
    """Whether the expression is one of `values` (ascending, at least one); NULL if it is NULL."""

    expr: Expr
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.values) != sorted(set(self.values)) or not self.values:
            raise FormError(": values must ascend and be at least one")


@dataclass(frozen=True, slots=True)
class IsNull:
    """TRUE or FALSE, never NULL."""

    expr: Expr


@dataclass(frozen=True, slots=True)
class Truth:
    """TRUE, FALSE, or (None) NULL."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class IsNotTrue:
    """TRUE where the part is FALSE or NULL, else FALSE: the complement within a cell."""

    part: Pred


Pred = Compare | And | Or | Not | InSet | IsNull | Truth | IsNotTrue


# ------------------------------------------------------------------------------------------------ local work


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the roster, as the query names it; expressions refer to it by its place in `LogicalPlan.sources`."""

    table: str
    alias: str


@dataclass(frozen=True, slots=True)
class Join:
    """Join `right` columns of the next source to `left` columns of the sources before it, all pairs equal.

    The first join brings in source 1, the second source 2, and so on.  NULL equals nothing.
    """

    kind: JoinKind
    left: tuple[ColumnRef, ...]
    right: tuple[ColumnRef, ...]

    def __post_init__(self) -> None:
        if len(self.left) != len(self.right):
            raise FormError(": as many columns on the left as on the right")


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One group key: code = expr - low, in 0..count-1; NULL is code `count` where the key is nullable."""

    name: str
    expr: Expr
    low: int
    count: int
    nullable: bool

    @property
    def places(self) -> int:
        """How many codes there are, that of NULL included."""
        return self.count + self.nullable


@dataclass(frozen=True, slots=True)
class Cohort:
    """The rows of a cell for which the condition is TRUE (None: all), counted as distinct persons.

    Counted as rows where the plan has no person id or the person id is unique per row.
    """

    condition: Pred | None


@dataclass(frozen=True, slots=True)
class Gate:
    """What must pass before a value that hangs on it may be opened; cohorts by index.

    `inside` must pass the floor and `min_owners`, and so must `complement` and every cohort in `also` (SECURITY rule
    18): what is left when the request's sets of rows are taken out of one another, so that nobody is isolated by
    subtracting (`mpcd.plan.isolation`).  `complement` is what is left of the cell beside the inside; None where the
    conditions themselves leave no row there.  `sums` are the monomials of the values that hang on the gate, over all
    these cohorts: a sum over the inside and one over the cell show the one over what is left, too.
    """

    inside: int
    complement: int | None
    also: tuple[int, ...] = ()
    sums: tuple[int, ...] = ()
    """Magnitudes that no few persons may dominate, by index; none for a gate of counts."""

    @property
    def outside(self) -> tuple[int, ...]:
        """All cohorts that must pass besides `inside`."""
        return self.also if self.complement is None else (self.complement, *self.also)


@dataclass(frozen=True, slots=True)
class LocalValue:
    """What each owner computes per cell, over the rows for which `condition` is TRUE: one integer.

    "count": how many rows; no factors.  "sum": the sum of the one factor, or of the product of two; the condition makes
    sure that no factor is NULL.  One row's contribution lies in [low, high], and the pooled sum fits `field`:
    below 2^60 in size for "p", below 2^126 for "q".
    """

    kind: ValueKind
    factors: tuple[Expr, ...]
    condition: Pred | None
    low: int
    high: int
    field: FieldName
    gate: int
    unit: int = 1
    """How many smallest units make one unit of the columns: what a rounding base counts."""

    def __post_init__(self) -> None:
        if (self.kind == "count") != (not self.factors):
            raise FormError(": a count has no factors and a sum has one or two")


# ------------------------------------------------------------------------------------------------ canonical forms

NAME: Final = text(512)
INDEX: Final = integer(0, 65_535)

EXPR: Final[Union[Expr]] = Union("an expression")
PRED: Final[Union[Pred]] = Union("a predicate")
COLUMN_REF: Final = record(ColumnRef, source=INDEX, name=NAME)

EXPR.add("column", ColumnRef, source=INDEX, name=NAME)
EXPR.add("constant", Constant, value=big)
for _tag, _kind in (
    ("add", Add),
    ("subtract", Subtract),
    ("multiply", Multiply),
    ("floor_divide", FloorDivide),
    ("truncate_divide", TruncateDivide),
):
    EXPR.add(_tag, _kind, left=EXPR, right=EXPR)
EXPR.add("negate", Negate, operand=EXPR)
EXPR.add("date_part", DatePart, part=word(*PARTS), operand=EXPR)
EXPR.add("case", Case, whens=sequence(pair(PRED, EXPR), 1024, 1), otherwise=optional(EXPR))

PRED.add("compare", Compare, op=word(*COMPARE_OPERATORS), left=EXPR, right=EXPR)
PRED.add("and", And, parts=sequence(PRED, 1024, 2))
PRED.add("or", Or, parts=sequence(PRED, 1024, 2))
PRED.add("not", Not, part=PRED)
PRED.add("in", InSet, expr=EXPR, values=sequence(big, 10_000, 1))
PRED.add("is_null", IsNull, expr=EXPR)
PRED.add("truth", Truth, value=optional(boolean))
PRED.add("is_not_true", IsNotTrue, part=PRED)

SOURCE: Final = record(Source, table=NAME, alias=NAME)
JOIN: Final = record(
    Join, kind=word("inner", "left"), left=sequence(COLUMN_REF, 16, 1), right=sequence(COLUMN_REF, 16, 1)
)
GROUP_KEY: Final = record(GroupKey, name=NAME, expr=EXPR, low=big, count=integer(1, 2**40), nullable=boolean)
COHORT: Final = record(Cohort, condition=optional(PRED))
GATE: Final = record(
    Gate,
    inside=INDEX,
    complement=optional(INDEX),
    also=sequence(INDEX, limits.PLAN_COHORTS_MAX),
    sums=sequence(INDEX, limits.PLAN_VALUES_MAX),
)
LOCAL_VALUE: Final = record(
    LocalValue,
    kind=word("count", "sum"),
    factors=sequence(EXPR, 2),
    condition=optional(PRED),
    low=big,
    high=big,
    field=word("p", "q"),
    gate=INDEX,
    unit=big,
)


# ------------------------------------------------------------------------------------------------ walking


def parts_of(node: Expr | Pred) -> tuple[Expr | Pred, ...]:
    """The nodes directly below."""
    match node:
        case ColumnRef() | Constant() | Truth():
            return ()
        case Add(left, right) | Subtract(left, right) | Multiply(left, right):
            return (left, right)
        case FloorDivide(left, right) | TruncateDivide(left, right) | Compare(_, left, right):
            return (left, right)
        case Negate(operand) | DatePart(_, operand) | InSet(operand, _) | IsNull(operand):
            return (operand,)
        case And(parts) | Or(parts):
            return parts
        case Not(part) | IsNotTrue(part):
            return (part,)
        case Case(whens, otherwise):
            below = tuple(node for when in whens for node in when)
            return below if otherwise is None else (*below, otherwise)


def walk(*nodes: Expr | Pred | None) -> list[Expr | Pred]:
    """The nodes and everything below them."""
    pending = [node for node in nodes if node is not None]
    for node in pending:
        pending.extend(parts_of(node))
    return pending


def columns_of(*nodes: Expr | Pred | None) -> frozenset[ColumnRef]:
    """All columns that the nodes read."""
    return frozenset(node for node in walk(*nodes) if isinstance(node, ColumnRef))


def conjuncts(condition: Pred | None) -> tuple[Pred, ...]:
    """The parts of a top-level AND; a condition of another kind is its own one part, None has none."""
    if condition is None:
        return ()
    return condition.parts if isinstance(condition, And) else (condition,)


def conjunction(parts: tuple[Pred, ...]) -> Pred | None:
    """AND of parts that are TRUE together: flattened, each once, in order; None if there are none."""
    flat: dict[Pred, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(conjuncts(part)))
    if not flat:
        return None
    return next(iter(flat)) if len(flat) == 1 else And(tuple(flat))
