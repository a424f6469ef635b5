"""What the client computes: select items, HAVING and ORDER BY over aggregates and keys (layer 3, no I/O).

Here meet the two sides of GROUP BY.  Aggregates become expressions over pooled moments; anything equal to a group key
becomes its label; what is left must be constants and arithmetic.  Types follow DuckDB: a count and a sum of integers
are integers, a sum of decimals is a decimal, averages, variances and `/` are doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from sqlglot import exp

from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.plan import scalar
from mpcd.plan.moments import Combination, Moments, added, expression, scaled
from mpcd.plan.nodes import Case, Expr, IsNull, Not, Pred, Truth, conjunction, conjuncts, walk
from mpcd.plan.ranges import bounds
from mpcd.plan.rows import COMPARISONS, PREDICATES, Rows, flatten, known_level, literal_number, rounding_digits, unwrap
from mpcd.plan.scalar import NUMERIC, Scalar, numeric
from mpcd.plan.sql import AGGREGATES
from mpcd.results import shape
from mpcd.results.shape import DOUBLE, INTEGER, TEXT, Arithmetic, Function, Moment, MomentName, Rational, Type

_ONE_ARGUMENT: Final[dict[type[exp.Expr], MomentName]] = {
    exp.Avg: "avg",
    exp.Variance: "var_samp",
    exp.VariancePop: "var_pop",
    exp.Stddev: "stddev_samp",
    exp.StddevSamp: "stddev_samp",
    exp.StddevPop: "stddev_pop",
}
_TWO_ARGUMENTS: Final[dict[type[exp.Expr], MomentName]] = {
    exp.CovarSamp: "covar_samp",
    exp.CovarPop: "covar_pop",
    exp.Corr: "corr",
    exp.RegrSlope: "regr_slope",
    exp.RegrIntercept: "regr_intercept",
    exp.RegrR2: "regr_r2",
}
_NAMED_AGGREGATES: Final = {"mean": "avg"}
_OPERATORS: Final[dict[type[exp.Expr], shape.ArithmeticOperator]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.IntDiv: "//",
    exp.Mod: "%",
}
_FUNCTIONS: Final[dict[type[exp.Expr], shape.FunctionName]] = {
    exp.Neg: "negate",
    exp.Abs: "abs",
    exp.Sqrt: "sqrt",
    exp.Floor: "floor",
    exp.Ceil: "ceil",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression of the shape with its SQL type."""

    expression: shape.Expression
    type: Type
    is_null: bool = False
    """The literal NULL, which has no type of its own."""


@dataclass(frozen=True, slots=True)
class PlannedKey:
    """A group key: what rows compute, and the type of its label."""

    scalar: Scalar
    type: Type
    levels: tuple[str, ...]


def is_aggregate(node: exp.Expr) -> bool:
    """Whether the node itself is an aggregate call."""
    return isinstance(node, (*AGGREGATES, exp.Filter)) or (
        isinstance(node, exp.Anonymous) and str(node.this).lower() in _NAMED_AGGREGATES
    )


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate is anywhere in the node."""
    return any(is_aggregate(part) for part in node.walk())


class Groups:
    """Translates expressions over groups."""

    def __init__(self, rows: Rows, moments: Moments, keys: Sequence[PlannedKey]) -> None:
        self.rows = rows
        self.moments = moments
        self.keys = keys
        self.aliases: dict[str, exp.Expr] = {}
        """Select aliases that may stand for their expressions (HAVING and ORDER BY), folded."""

    # -------------------------------------------------------------------------------------------- expressions

    def expression(self, node: exp.Expr) -> Typed:
        """The value of an expression over one group."""
        node = unwrap(node)
        if is_aggregate(node):
            return self._aggregate(node)
        constant = self._constant(node)
        if constant is not None:
            return constant
        key = self._key(node)
        if key is not None:
            return key
        if isinstance(node, exp.Star) or isinstance(node.this, exp.Star):
            raise PlanUnsupported("rows never leave their owners; name the aggregates that you want")
        if isinstance(node, exp.Column):
            return self._alias(node)
        return self._compound(node)

    def _constant(self, node: exp.Expr) -> Typed | None:
        if isinstance(node, exp.Null):
            return Typed(shape.Null(), INTEGER, is_null=True)
        if not isinstance(node, exp.Literal):
            return None
        if node.args.get("is_string"):
            return Typed(shape.Text(str(node.this)), TEXT)
        number = literal_number(str(node.this))
        return Typed(_rational(number.offset), _type_of(number))

    def _key(self, node: exp.Expr) -> Typed | None:
        """The label of the key that the node is, if it is one."""
        if not self.keys or has_aggregate(node) or not any(isinstance(part, exp.Column) for part in node.walk()):
            return None
        if isinstance(node, exp.Column) and self.rows.names.find(node) is None:
            return None
        value = self.rows.scalar(node)
        for index, key in enumerate(self.keys):
            if value == key.scalar:
                return Typed(shape.Key(index), key.type)
        return None

    def _alias(self, node: exp.Column) -> Typed:
        name = node.name.casefold()
        in_tables = self.rows.names.find(node) is not None
        if node.args.get("table") is None and name in self.aliases and not in_tables:
            return self._without_aliases(self.aliases[name])
        ref = self.rows.names.resolve(node, self.rows.aliases)
        raise PlanInvalid(
            f"column {ref.name!r} must be in GROUP BY or inside an aggregate such as AVG; single rows never "
            "leave their owners"
        )

    def _without_aliases(self, node: exp.Expr) -> Typed:
        kept, self.aliases = self.aliases, {}
        try:
            return self.expression(node)
        finally:
            self.aliases = kept

    def _compound(self, node: exp.Expr) -> Typed:
        if type(node) in _OPERATORS:
            return self._arithmetic(_OPERATORS[type(node)], node)
        if type(node) in _FUNCTIONS:
            return self._function(_FUNCTIONS[type(node)], self.expression(node.this))
        match node:
            case exp.Round():
                return self._round(self.expression(node.this), rounding_digits(node))
            case exp.Coalesce():
                return self._coalesce([self.expression(part) for part in (node.this, *node.args["expressions"])])
            case exp.Nullif():
                left, right = self.expression(node.this), self.expression(node.args["expression"])
                return Typed(shape.NullIf(left.expression, right.expression), left.type)
            case exp.Cast():
                return self._cast(self.expression(node.this), node.args["to"])
            case _:
                pass
        if isinstance(node, (*PREDICATES, exp.Boolean)):
            raise PlanUnsupported("a condition is no column of an answer; use it in HAVING, or GROUP BY it")
        if isinstance(node, (exp.Case, exp.If)):
            raise PlanUnsupported("CASE over aggregates is not answered; select the aggregates and decide afterwards")
        raise PlanUnsupported(f"{type(node).__name__.upper()} is not answered over aggregates")

    def _arithmetic(self, operator: shape.ArithmeticOperator, node: exp.Expr) -> Typed:
        left, right = self.expression(node.this), self.expression(node.args["expression"])
        for side in (left, right):
            if side.type.name not in NUMERIC:
                raise PlanInvalid(f"{operator} needs numbers, not {side.type.name}")
        if operator == "/" or DOUBLE in (left.type, right.type):
            kind = DOUBLE
        elif "decimal" in (left.type.name, right.type.name):
            scales = left.type.scale, right.type.scale
            kind = Type("decimal", sum(scales) if operator == "*" else max(scales))
        else:
            kind = INTEGER
        if operator in {"//", "%"} and kind != INTEGER:
            raise PlanUnsupported(f"{operator} is answered between integers; use / and FLOOR")
        return Typed(Arithmetic(operator, left.expression, right.expression), kind)

    def _function(self, name: shape.FunctionName, operand: Typed) -> Typed:
        if operand.type.name not in NUMERIC:
            raise PlanInvalid(f"{name} needs a number, not {operand.type.name}")
        if name == "negate" and isinstance(operand.expression, Rational):
            return Typed(
                _rational(-Fraction(operand.expression.numerator, operand.expression.denominator)), operand.type
            )
        kind = operand.type
        if name == "sqrt":
            kind = DOUBLE
        elif name in {"floor", "ceil"}:
            kind = Type("decimal") if operand.type.name == "decimal" else DOUBLE
        return Typed(Function(name, operand.expression), kind)

    def _round(self, operand: Typed, digits: int) -> Typed:
        if operand.type.name not in NUMERIC:
            raise PlanInvalid(f"ROUND needs a number, not {operand.type.name}")
        kind = operand.type
        if kind.name == "decimal":
            kind = Type("decimal", min(kind.scale, max(digits, 0)))
        return Typed(shape.Round(operand.expression, digits, kind == DOUBLE), kind)

    def _coalesce(self, parts: list[Typed]) -> Typed:
        kinds = {part.type.name for part in parts if not part.is_null}
        if len(kinds) > 1 and not kinds <= NUMERIC:
            raise PlanInvalid("the parts of COALESCE must all be numbers, or all be text")
        scale = max(part.type.scale for part in parts)
        name = "double" if "double" in kinds else "decimal" if "decimal" in kinds else parts[0].type.name
        kind = Type(name, scale) if name == "decimal" else Type(name)
        return Typed(shape.Coalesce(tuple(part.expression for part in parts)), kind)

    def _cast(self, operand: Typed, to: exp.DataType) -> Typed:
        name = to.this.value
        if name == "DOUBLE" and operand.type.name in NUMERIC:
            return Typed(Function("double", operand.expression), DOUBLE)
        if name in {"INT", "BIGINT", "INT128"} and operand.type == INTEGER:
            return operand
        raise PlanUnsupported(f"a cast to {name} over aggregates is not answered; use ROUND, FLOOR or CEIL")

    # -------------------------------------------------------------------------------------------- conditions

    def condition(self, node: exp.Expr) -> shape.Condition:
        """HAVING, over groups."""
        node = unwrap(node)
        match node:
            case exp.And():
                return shape.Conjunction(tuple(self.condition(part) for part in flatten(node)))
            case exp.Or():
                return shape.Disjunction(tuple(self.condition(part) for part in flatten(node)))
            case exp.Not():
                return shape.Negation(self.condition(node.this))
            case exp.Between():
                low, high = node.args["low"], node.args["high"]
                return shape.Conjunction((self._compare(">=", node.this, low), self._compare("<=", node.this, high)))
            case exp.In():
                return shape.Disjunction(
                    tuple(self._compare("=", node.this, item) for item in node.args["expressions"])
                )
            case exp.Is() if isinstance(unwrap(node.args["expression"]), exp.Null):
                return shape.Missing(self.expression(node.this).expression)
            case exp.Boolean():
                return shape.Known(bool(node.this))
            case _ if type(node) in COMPARISONS:
                return self._compare(COMPARISONS[type(node)], node.this, node.args["expression"])
            case _:
                raise PlanUnsupported(
                    f"{type(node).__name__.upper()} is not answered in HAVING; compare aggregates and group keys there"
                )

    def _compare(self, op: shape.ComparisonOperator, left: exp.Expr, right: exp.Expr) -> shape.Condition:
        for side in (left, right):
            if isinstance(side, PREDICATES):
                raise PlanUnsupported("put parentheses around the conditions, and join them with AND, OR and NOT")
        a, b = self.expression(left), self.expression(right)
        if a.is_null or b.is_null:
            return shape.Known(None)
        kinds = {a.type.name, b.type.name}
        if kinds == {"date", "text"}:
            raise PlanUnsupported("dates of groups are compared in WHERE, before grouping")
        if len(kinds) > 1 and not kinds <= NUMERIC:
            raise PlanInvalid(f"{a.type.name} is compared with {b.type.name}")
        if op in {"=", "<>"}:
            self._check_level(a, b)
            self._check_level(b, a)
        return shape.Comparison(op, a.expression, b.expression)

    def _check_level(self, key: Typed, text: Typed) -> None:
        if isinstance(key.expression, shape.Key) and isinstance(text.expression, shape.Text):
            known_level(text.expression.text, self.keys[key.expression.index].levels, "the group key")

    # -------------------------------------------------------------------------------------------- aggregates

    def _aggregate(self, node: exp.Expr) -> Typed:
        condition: Pred | None = None
        if isinstance(node, exp.Filter):
            found = self.rows.predicate(node.args["expression"].this)
            condition = None if found == Truth(True) else found
            node = unwrap(node.this)
        match node:
            case exp.Count():
                return self._count(node.args.get("this"), condition)
            case exp.Sum():
                return self._one("sum", node.this, condition)
            case exp.Anonymous():
                arguments = node.args["expressions"]
                if str(node.this).lower() not in _NAMED_AGGREGATES or len(arguments) != 1:
                    raise PlanUnsupported(f"function {str(node.this)[:40]}() is not answered here")
                return self._one("avg", arguments[0], condition)
            case exp.RegrCount() | exp.RegrAvgx() | exp.RegrAvgy():
                return self._regression_part(node, condition)
            case _:
                pass
        if type(node) in _ONE_ARGUMENT:
            return self._one(_ONE_ARGUMENT[type(node)], node.this, condition)
        if type(node) in _TWO_ARGUMENTS:
            return self._two(_TWO_ARGUMENTS[type(node)], node, condition)
        raise PlanUnsupported("FILTER belongs to an aggregate")

    def _counted(self, condition: Pred | None) -> shape.Expression:
        return expression(self.moments.count(condition))

    def _count(self, argument: exp.Expr | None, condition: Pred | None) -> Typed:
        if argument is None or isinstance(argument, exp.Star):
            return Typed(self._counted(condition), INTEGER)
        argument, condition = self._unfold_case(unwrap(argument), condition)
        value = self.rows.scalar(argument)
        if value.type == "null":
            raise PlanInvalid("COUNT(NULL) is always 0")
        if value.expr is None:
            return Typed(self._counted(condition), INTEGER)
        return Typed(self._counted(self._present(condition, value.expr)), INTEGER)

    def _present(self, condition: Pred | None, expr: Expr) -> Pred | None:
        """The condition, and that the expression is not NULL."""
        if not bounds(expr, self.moments.relation.bounds).nullable:
            return condition
        if any(isinstance(node, Case) for node in walk(expr)):
            return conjunction((Not(IsNull(expr)), *conjuncts(condition)))
        return self.moments.present(condition, expr)

    def _unfold_case(self, argument: exp.Expr, condition: Pred | None) -> tuple[exp.Expr, Pred | None]:
        """`CASE WHEN c THEN e END` as e under the condition c; other arguments as they are (rule 18)."""
        if not isinstance(argument, (exp.Case, exp.If)):
            return argument, condition
        branches = self.rows.branches(argument)
        if len(branches) == 2 and branches[1][0] == Truth(True) and isinstance(unwrap(branches[1][1]), exp.Null):
            del branches[1]
        if len(branches) != 1 or branches[0][0] == Truth(True):
            raise PlanUnsupported(_CASE_ADVICE)
        when, result = branches[0]
        return unwrap(result), conjunction((*conjuncts(condition), when))

    def _one(self, name: MomentName, argument: exp.Expr, condition: Pred | None) -> Typed:
        """An aggregate of one number."""
        argument = unwrap(argument)
        needs_squares = shape.MOMENT_ARGUMENTS[name] == 3
        stepped = self._step(argument, condition, needs_squares=needs_squares)
        if stepped is not None:
            count, total, squares, kind = stepped
        else:
            argument, condition = self._unfold_case(argument, condition)
            value = self._argument(name, argument)
            condition = self._present_all(condition, value)
            count, total = self.moments.count(condition), self.moments.total(value, condition)
            squares = self.moments.product(value, value, condition) if needs_squares else {}
            kind = _type_of(value)
        parts = [count, total, squares][: shape.MOMENT_ARGUMENTS[name]]
        moment = Moment(name, tuple(expression(part) for part in parts))
        return Typed(moment, kind if name == "sum" else DOUBLE)

    def _argument(self, name: str, argument: exp.Expr) -> Scalar:
        if isinstance(argument, (*PREDICATES, exp.Boolean)):
            raise PlanUnsupported(f"{name.upper()} of a condition; write COUNT(*) FILTER (WHERE ...)")
        value = self.rows.scalar(argument)
        if value.type == "null":
            raise PlanInvalid(f"{name.upper()}(NULL) is always NULL")
        if value.type == "boolean" and name == "sum":
            return replace(value, type="integer")
        if value.type == "boolean":
            raise PlanInvalid(f"{name.upper()} needs a number, not a truth value; write CAST(... AS INTEGER)")
        return numeric(value, name.upper())

    def _present_all(self, condition: Pred | None, *values: Scalar) -> Pred | None:
        return self.moments.present(condition, *(value.expr for value in values if value.expr is not None))

    def _step(
        self, argument: exp.Expr, condition: Pred | None, *, needs_squares: bool
    ) -> tuple[Combination, Combination, Combination, Type] | None:
        """Moments of `CASE WHEN c THEN e ELSE k END`: k + CASE WHEN c THEN e - k ELSE 0 END.

        That is a sum over the rows of c and a count of all: two sets of rows like any others (rule 18).
        """
        if not isinstance(argument, (exp.Case, exp.If)):
            return None
        branches = self.rows.branches(argument)
        if len(branches) != 2 or branches[1][0] != Truth(True) or isinstance(unwrap(branches[1][1]), exp.Null):
            return None
        (when, result), (_, otherwise) = branches
        inner, outer = self.rows.scalar(result), self.rows.scalar(otherwise)
        if outer.expr is not None or {inner.type, outer.type} - NUMERIC:
            raise PlanUnsupported(_CASE_ADVICE)
        if self._present_all(None, inner) is not None:
            raise PlanUnsupported(f"the column after THEN may be NULL; {_CASE_ADVICE}")
        step = scalar.subtract(inner, scalar.number(outer.offset, outer.type, outer.scale))
        inside = conjunction((*conjuncts(condition), when))
        rows = self.moments.count(condition)
        part = self.moments.total(step, inside)
        squares = self.moments.product(step, step, inside) if needs_squares else {}
        base = outer.offset
        kind = "double" if "double" in (inner.type, outer.type) else step.type
        return (
            rows,
            added(part, scaled(rows, base)),
            added(squares, scaled(part, 2 * base), scaled(rows, base * base)),
            _type_of(replace(step, type=kind)),
        )

    def _pair(self, node: exp.Expr, condition: Pred | None) -> tuple[Scalar, Scalar, Pred | None]:
        name = type(node).__name__
        for side in (node.this, node.args["expression"]):
            if isinstance(unwrap(side), (exp.Case, exp.If)):
                raise PlanUnsupported(_CASE_ADVICE)
        left, right = (self._argument(name, unwrap(side)) for side in (node.this, node.args["expression"]))
        return left, right, self._present_all(condition, left, right)

    def _two(self, name: MomentName, node: exp.Expr, condition: Pred | None) -> Typed:
        """An aggregate of two numbers; SQL writes the dependent variable first in regressions."""
        left, right, condition = self._pair(node, condition)
        x, y = (right, left) if name.startswith("regr") else (left, right)
        moments = self.moments
        parts = [moments.count(condition), moments.total(x, condition), moments.total(y, condition)]
        if shape.MOMENT_ARGUMENTS[name] == 6:
            parts += [moments.product(x, x, condition), moments.product(y, y, condition)]
        parts.append(moments.product(x, y, condition))
        return Typed(Moment(name, tuple(expression(part) for part in parts)), DOUBLE)

    def _regression_part(self, node: exp.Expr, condition: Pred | None) -> Typed:
        y, x, condition = self._pair(node, condition)
        count = self.moments.count(condition)
        if isinstance(node, exp.RegrCount):
            return Typed(expression(count), INTEGER)
        total = self.moments.total(x if isinstance(node, exp.RegrAvgx) else y, condition)
        return Typed(Moment("avg", (expression(count), expression(total))), DOUBLE)


_CASE_ADVICE: Final = (
    "a CASE inside an aggregate is answered as SUM(CASE WHEN c THEN x END), or with ELSE and a constant; otherwise "
    "write one aggregate per case with FILTER (WHERE c), or GROUP BY the CASE"
)


def _rational(value: Fraction) -> Rational:
    return Rational(value.numerator, value.denominator)


def _type_of(value: Scalar) -> Type:
    return Type("decimal", value.scale) if value.type == "decimal" else DOUBLE if value.type == "double" else INTEGER
