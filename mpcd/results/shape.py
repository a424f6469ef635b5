"""What an answer looks like, and how it is finished from opened values (layer 1, no I/O).

The planner writes a `Shape` into the plan.  All parties hash it with the plan; the client evaluates it.  It says, per
group key, which labels the cells have; which pooled values are opened and which gate decides about each; and, per
output column, an expression over those values.  Expressions are exact rational arithmetic on integers; only square
roots and what SQL itself calls a double end in floating point.

Cells are numbered row-major over the keys: the last key varies fastest.  A key of `count` codes that may be NULL has
`count + 1` places, the last of them NULL.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from mpcd import limits
from mpcd.results.schema import (
    FormError,
    Union,
    big,
    boolean,
    integer,
    optional,
    record,
    sequence,
    text,
    word,
)

TypeName = Literal["integer", "decimal", "double", "text", "date", "boolean"]
FieldName = Literal["p", "q"]
ArithmeticOperator = Literal["+", "-", "*", "/", "//", "%"]
ComparisonOperator = Literal["=", "<>", "<", "<=", ">", ">="]
FunctionName = Literal["negate", "abs", "sqrt", "floor", "ceil", "double"]
MomentName = Literal[
    "sum",
    "avg",
    "var_samp",
    "var_pop",
    "stddev_samp",
    "stddev_pop",
    "covar_samp",
    "covar_pop",
    "corr",
    "regr_slope",
    "regr_intercept",
    "regr_r2",
]

MOMENT_ARGUMENTS: Final[dict[str, int]] = {
    "sum": 2,
    "avg": 2,
    "var_samp": 3,
    "var_pop": 3,
    "stddev_samp": 3,
    "stddev_pop": 3,
    "covar_samp": 4,
    "covar_pop": 4,
    "corr": 6,
    "regr_slope": 6,
    "regr_intercept": 6,
    "regr_r2": 6,
}
"""How many arguments each moment takes.

Two: count, sum x.  Three: count, sum x, sum x².  Four: count, sum x, sum y, sum xy.  Six: count, sum x, sum y,
sum x², sum y², sum xy.

For the regressions x is the independent variable (SQL's second argument).
"""

LIMIT_ROWS_MAX: Final = 2**31


@dataclass(frozen=True, slots=True)
class Type:
    """Type of an output or a key; `scale` is the number of decimals of a decimal."""

    name: TypeName
    scale: int = 0


INTEGER: Final = Type("integer")
DOUBLE: Final = Type("double")
TEXT: Final = Type("text")
DATE: Final = Type("date")
BOOLEAN: Final = Type("boolean")


# ------------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Value:
    """A pooled value, by its index in `Shape.values`: a signed integer."""

    index: int


@dataclass(frozen=True, slots=True)
class Key:
    """The label of a group key, by its index in `Shape.keys`."""

    index: int


@dataclass(frozen=True, slots=True)
class Rational:
    """A constant, in lowest terms."""

    numerator: int
    denominator: int = 1

    def __post_init__(self) -> None:
        if self.denominator < 1 or math.gcd(self.numerator, self.denominator) != 1:
            raise FormError(": a constant must be in lowest terms")


@dataclass(frozen=True, slots=True)
class Term:
    """A pooled value times a constant in lowest terms."""

    value: int
    numerator: int
    denominator: int = 1

    def __post_init__(self) -> None:
        if self.denominator < 1 or math.gcd(self.numerator, self.denominator) != 1:
            raise FormError(": a coefficient must be in lowest terms")


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of pooled values, each times a constant: how moments are scaled and moved back to their origin."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant."""

    text: str


@dataclass(frozen=True, slots=True)
class Null:
    """The constant NULL."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers and an operator; `//` and `%` truncate towards zero, `/` is exact; NULL if either is NULL."""

    operator: ArithmeticOperator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Function:
    """A function of one number."""

    name: FunctionName
    operand: Expression


@dataclass(frozen=True, slots=True)
class Round:
    """Rounded to `digits` decimals, half away from zero."""

    operand: Expression
    digits: int
    double: bool
    """Whether SQL rounds a double here (in floating point, as engines do) or an exact number."""


@dataclass(frozen=True, slots=True)
class Coalesce:
    """The first that is not NULL."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class NullIf:
    """NULL if left equals right, else left."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Moment:
    """A statistic of pooled moments; the arguments are as `MOMENT_ARGUMENTS` says."""

    name: MomentName
    arguments: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if len(self.arguments) != MOMENT_ARGUMENTS[self.name]:
            raise FormError(f": {self.name} takes {MOMENT_ARGUMENTS[self.name]} arguments")


Expression = Value | Key | Rational | Linear | Text | Null | Arithmetic | Function | Round | Coalesce | NullIf | Moment


# ------------------------------------------------------------------------------------------------ conditions: HAVING


@dataclass(frozen=True, slots=True)
class Comparison:
    """NULL if either side is NULL."""

    operator: ComparisonOperator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Missing:
    """IS NULL."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Conjunction:
    """AND, three-valued."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """OR, three-valued."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """NOT, three-valued."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Known:
    """TRUE, FALSE or (None) unknown."""

    truth: bool | None


Condition = Comparison | Missing | Conjunction | Disjunction | Negation | Known


# ------------------------------------------------------------------------------------------------ the shape


@dataclass(frozen=True, slots=True)
class KeyShape:
    """One group key: `count` codes, then one for NULL if `nullable`.

    The label of code c is `levels[c]` where there are levels; else the number `(low + c * step) / denominator`, the day
    `low + c` of a date, or the truth value of c.
    """

    name: str
    type: Type
    count: int
    nullable: bool
    levels: tuple[str, ...] | None = None
    low: int = 0
    step: int = 1
    denominator: int = 1

    def __post_init__(self) -> None:
        if self.levels is not None and (len(self.levels) != self.count or len(set(self.levels)) != self.count):
            raise FormError(": levels must be unique and as many as there are codes")
        if (self.levels is None) == (self.type.name == "text"):
            raise FormError(": text keys have levels and no others have")
        if self.type.name == "boolean" and self.count != 2:
            raise FormError(": a boolean key has two codes")
        if self.step == 0:
            raise FormError(": the step between labels cannot be zero")

    @property
    def places(self) -> int:
        """How many codes there are, that of NULL included."""
        return self.count + self.nullable

    def label(self, code: int) -> str | Fraction | dt.date | bool | None:
        """What code `code` stands for; None for NULL."""
        if code == self.count and self.nullable:
            return None
        if not 0 <= code < self.count:
            raise IndexError(code)
        if self.levels is not None:
            return self.levels[code]
        if self.type.name == "boolean":
            return code == 1
        if self.type.name == "date":
            return dt.date(1970, 1, 1) + dt.timedelta(days=self.low + code * self.step)
        return Fraction(self.low + code * self.step, self.denominator)


@dataclass(frozen=True, slots=True)
class ValueShape:
    """A pooled value that may be opened: the field it is shared in and the gate that decides."""

    field: FieldName
    gate: int


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the answer."""

    name: str
    type: Type
    expression: Expression


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term of ORDER BY."""

    expression: Expression
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything the client needs to turn opened values into a table."""

    keys: tuple[KeyShape, ...]
    gates: int
    values: tuple[ValueShape, ...]
    outputs: tuple[Output, ...]
    having: Condition | None
    order: tuple[OrderTerm, ...]
    limit: int | None
    offset: int

    def __post_init__(self) -> None:
        if self.cells > limits.CELLS_MAX:
            raise FormError(f": more than {limits.CELLS_MAX} cells")
        if any(value.gate >= self.gates for value in self.values):
            raise FormError(".values: a gate that does not exist")
        for expression in self.expressions():
            self._check(expression)

    @property
    def cells(self) -> int:
        """How many cells there are: the product of the keys' places, 1 without keys."""
        return math.prod(key.places for key in self.keys)

    @property
    def levels(self) -> tuple[tuple[str | Fraction | dt.date | bool | None, ...], ...]:
        """All labels of each key, NULL (None) last where the key may be NULL."""
        return tuple(tuple(key.label(code) for code in range(key.places)) for key in self.keys)

    def expressions(self) -> tuple[Expression, ...]:
        """All expressions: outputs, HAVING, ORDER BY."""
        having = () if self.having is None else operands(self.having)
        return (*(o.expression for o in self.outputs), *having, *(term.expression for term in self.order))

    def _check(self, expression: Expression) -> None:
        for node in walk(expression):
            if any(index >= len(self.values) for index in value_indices(node)):
                raise FormError(": a value that does not exist")
            if isinstance(node, Key) and node.index >= len(self.keys):
                raise FormError(f": there is no key {node.index}")

    def to_value(self) -> object:
        """Canonical value, see `mpcd.canonical`."""
        return SHAPE.encode(self)

    @staticmethod
    def from_value(value: object) -> Shape:
        """Strict inverse of `to_value`; raises `FormError`."""
        return SHAPE.decode(value)


def value_indices(expression: Expression) -> tuple[int, ...]:
    """The pooled values that this node itself reads."""
    match expression:
        case Value(index):
            return (index,)
        case Linear(terms):
            return tuple(term.value for term in terms)
        case _:
            return ()


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly below."""
    match expression:
        case Arithmetic(_, left, right) | NullIf(left, right):
            return (left, right)
        case Function(_, operand) | Round(operand, _, _):
            return (operand,)
        case Coalesce(parts) | Moment(_, parts):
            return parts
        case Value() | Key() | Rational() | Linear() | Text() | Null():
            return ()


def walk(expression: Expression) -> list[Expression]:
    """The expression and everything below it."""
    found = [expression]
    for node in found:
        found.extend(children(node))
    return found


def operands(condition: Condition) -> tuple[Expression, ...]:
    """All expressions of a condition."""
    match condition:
        case Comparison(_, left, right):
            return (left, right)
        case Missing(operand):
            return (operand,)
        case Conjunction(parts) | Disjunction(parts):
            return tuple(expression for part in parts for expression in operands(part))
        case Negation(part):
            return operands(part)
        case Known():
            return ()


# ------------------------------------------------------------------------------------------------ canonical forms

NAME_BYTES_MAX: Final = 512
KEYS_MAX: Final = 16
_index = integer(0, 65_535)
_name = text(NAME_BYTES_MAX)
_comparison = word("=", "<>", "<", "<=", ">", ">=")
TYPE: Final = record(Type, name=word("integer", "decimal", "double", "text", "date", "boolean"), scale=integer(0, 64))

EXPRESSION: Final[Union[Expression]] = Union("an expression")
EXPRESSION.add("value", Value, index=_index)
EXPRESSION.add("key", Key, index=_index)
EXPRESSION.add("number", Rational, numerator=big, denominator=big)
EXPRESSION.add(
    "linear",
    Linear,
    terms=sequence(record(Term, value=_index, numerator=big, denominator=big), 64),
)
EXPRESSION.add("text", Text, text=text())
EXPRESSION.add("null", Null)
EXPRESSION.add(
    "arithmetic", Arithmetic, operator=word("+", "-", "*", "/", "//", "%"), left=EXPRESSION, right=EXPRESSION
)
EXPRESSION.add("function", Function, name=word("negate", "abs", "sqrt", "floor", "ceil", "double"), operand=EXPRESSION)
EXPRESSION.add("round", Round, operand=EXPRESSION, digits=integer(-30, 30), double=boolean)
EXPRESSION.add("coalesce", Coalesce, parts=sequence(EXPRESSION, 16, 1))
EXPRESSION.add("nullif", NullIf, left=EXPRESSION, right=EXPRESSION)
EXPRESSION.add("moment", Moment, name=word(*MOMENT_ARGUMENTS), arguments=sequence(EXPRESSION, 6, 1))

CONDITION: Final[Union[Condition]] = Union("a condition")
CONDITION.add("compare", Comparison, operator=_comparison, left=EXPRESSION, right=EXPRESSION)
CONDITION.add("missing", Missing, operand=EXPRESSION)
CONDITION.add("all", Conjunction, parts=sequence(CONDITION, 1024, 1))
CONDITION.add("any", Disjunction, parts=sequence(CONDITION, 1024, 1))
CONDITION.add("not", Negation, part=CONDITION)
CONDITION.add("known", Known, truth=optional(boolean))

SHAPE: Final = record(
    Shape,
    keys=sequence(
        record(
            KeyShape,
            name=_name,
            type=TYPE,
            count=integer(1, limits.CELLS_MAX),
            nullable=boolean,
            levels=optional(sequence(text(), limits.CELLS_MAX, 1)),
            low=big,
            step=big,
            denominator=integer(1, 2**62),
        ),
        KEYS_MAX,
    ),
    gates=integer(1, 4096),
    values=sequence(record(ValueShape, field=word("p", "q"), gate=_index), 4096),
    outputs=sequence(record(Output, name=_name, type=TYPE, expression=EXPRESSION), limits.OUTPUTS_MAX, 1),
    having=optional(CONDITION),
    order=sequence(record(OrderTerm, expression=EXPRESSION, descending=boolean, nulls_first=boolean), 64),
    limit=optional(integer(0, LIMIT_ROWS_MAX)),
    offset=integer(0, LIMIT_ROWS_MAX),
)
