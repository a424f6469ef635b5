"""A plan as text: what each owner computes, which cohorts decide, what may be opened (layer 3, no I/O).

For people who compare plans (agreement prints what differs), for `explain`, and for golden tests.  The text is a
function of the plan alone; it is shown, never parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mpcd.plan.ir import LogicalPlan
from mpcd.plan.nodes import (
    Add,
    And,
    Case,
    ColumnRef,
    Compare,
    Constant,
    DatePart,
    Expr,
    FloorDivide,
    GroupKey,
    InSet,
    IsNotTrue,
    IsNull,
    LocalValue,
    Multiply,
    Negate,
    Not,
    Or,
    Pred,
    Subtract,
    TruncateDivide,
    Truth,
)
from mpcd.results.shape import (
    Arithmetic,
    Coalesce,
    Comparison,
    Condition,
    Conjunction,
    Disjunction,
    Expression,
    Function,
    Key,
    Known,
    Linear,
    Missing,
    Moment,
    Negation,
    Null,
    NullIf,
    Rational,
    Round,
    Text,
    Value,
)

_SIGNS: Final[dict[type[Expr], str]] = {
    Add: "+",
    Subtract: "-",
    Multiply: "*",
    FloorDivide: "floor/",
    TruncateDivide: "//",
}
_TRUTHS: Final = {True: "TRUE", False: "FALSE", None: "NULL"}


def summary(plan: LogicalPlan) -> str:
    """The plan, one fact per line."""
    aliases = [source.alias for source in plan.sources]

    def name(column: ColumnRef) -> str:
        return column.name if len(aliases) == 1 else f"{aliases[column.source]}.{column.name}"

    lines = [f"from {', '.join(f'{s.table} as {s.alias}' for s in plan.sources)}"]
    for join in plan.joins:
        pairs = " and ".join(f"{name(a)} = {name(b)}" for a, b in zip(join.left, join.right, strict=True))
        lines.append(f"{join.kind} join on {pairs}")
    lines.append(_people(plan, name))
    if plan.where is not None:
        lines.append(f"where {predicate(plan.where, name)}")
    lines += [_key(key, name) for key in plan.keys]
    for index, cohort in enumerate(plan.cohorts):
        rows = "all" if cohort.condition is None else predicate(cohort.condition, name)
        lines.append(f"cohort {index}: {rows}")
    for index, gate in enumerate(plan.gates):
        outside = f", and outside it {', '.join(map(str, gate.outside))}" if gate.outside else ""
        sums = f", sums {', '.join(map(str, gate.sums))}" if gate.sums else ""
        lines.append(f"gate {index}: cohort {gate.inside}{outside}{sums}")
    for index, one in enumerate(plan.magnitudes):
        factors = " * ".join(name(column) for column in one.factors)
        lines.append(f"sum {index}: {factors} over cohort {one.cohort}, a row adds at most {one.size}")
    lines += [f"value {index}: {_value(value, name)}" for index, value in enumerate(plan.values)]
    shape = plan.shape
    lines += [f"output {o.name} {_type(o.type.name, o.type.scale)}: {expression(o.expression)}" for o in shape.outputs]
    if shape.having is not None:
        lines.append(f"having {condition(shape.having)}")
    for term in shape.order:
        direction = "descending" if term.descending else "ascending"
        nulls = "first" if term.nulls_first else "last"
        lines.append(f"order by {expression(term.expression)} {direction}, nulls {nulls}")
    if shape.limit is not None or shape.offset:
        lines.append(f"limit {'none' if shape.limit is None else shape.limit} offset {shape.offset}")
    lines += [f"uses {column}: {', '.join(sorted(verbs))}" for column, verbs in sorted(plan.uses.items())]
    return "\n".join(lines) + "\n"


def _people(plan: LogicalPlan, name: Callable[[ColumnRef], str]) -> str:
    if plan.persons is None:
        counted = "each row is a person"
    else:
        counted = f"persons by {name(plan.persons)}" + (", one row each" if plan.persons_unique else "")
    shared = "" if plan.persons_disjoint else ", shared between owners"
    return f"{counted}{shared}; at most {plan.rows_max} rows at {len(plan.owners)} owners"


def _key(key: GroupKey, name: Callable[[ColumnRef], str]) -> str:
    null = " and NULL" if key.nullable else ""
    return f"key {key.name}: {scalar(key.expr, name)} in [{key.low}, {key.low + key.count - 1}]{null}"


def _value(value: LocalValue, name: Callable[[ColumnRef], str]) -> str:
    what = " * ".join(scalar(factor, name) for factor in value.factors) or "*"
    return f"{value.kind}({what}) each in [{value.low}, {value.high}], field {value.field}, gate {value.gate}"


def _type(name: str, scale: int) -> str:
    return f"{name}({scale})" if name == "decimal" else name


# ------------------------------------------------------------------------------------------------ rows


def scalar(expr: Expr, name: Callable[[ColumnRef], str]) -> str:
    """A row expression as text."""
    match expr:
        case ColumnRef():
            return name(expr)
        case Constant(value):
            return str(value)
        case Negate(operand):
            return f"-({scalar(operand, name)})"
        case DatePart(part, operand):
            return f"{part}({scalar(operand, name)})"
        case Case(whens, otherwise):
            branches = " ".join(f"when {predicate(c, name)} then {scalar(e, name)}" for c, e in whens)
            return f"case {branches} else {'NULL' if otherwise is None else scalar(otherwise, name)} end"
        case _:
            return f"({scalar(expr.left, name)} {_SIGNS[type(expr)]} {scalar(expr.right, name)})"


def predicate(node: Pred, name: Callable[[ColumnRef], str]) -> str:
    """A row predicate as text."""
    match node:
        case Compare(op, left, right):
            return f"{scalar(left, name)} {op} {scalar(right, name)}"
        case InSet(expr, values):
            return f"{scalar(expr, name)} in {{{', '.join(map(str, values))}}}"
        case IsNull(expr):
            return f"{scalar(expr, name)} is null"
        case Truth(value):
            return _TRUTHS[value]
        case _:
            return _connected(node, name)


def _connected(node: And | Or | Not | IsNotTrue, name: Callable[[ColumnRef], str]) -> str:
    match node:
        case And(parts):
            return f"({' and '.join(predicate(part, name) for part in parts)})"
        case Or(parts):
            return f"({' or '.join(predicate(part, name) for part in parts)})"
        case Not(IsNull(expr)):
            return f"{scalar(expr, name)} is not null"
        case Not(part):
            return f"not ({predicate(part, name)})"
        case IsNotTrue(part):
            return f"({predicate(part, name)}) is not true"


# ------------------------------------------------------------------------------------------------ groups


def expression(node: Expression) -> str:
    """An expression of the shape as text; `v3` is value 3, `k0` key 0."""
    match node:
        case Value(index):
            return f"v{index}"
        case Key(index):
            return f"k{index}"
        case Rational(numerator, denominator):
            return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"
        case Linear(terms):
            parts = (f"{expression(Rational(t.numerator, t.denominator))} v{t.value}" for t in terms)
            return f"({' + '.join(parts)})"
        case Text(text):
            return repr(text)
        case Null():
            return "NULL"
        case Moment(name, arguments):
            return f"{name}({', '.join(expression(argument) for argument in arguments)})"
        case _:
            return _compound(node)


def _compound(node: Arithmetic | Function | Round | Coalesce | NullIf) -> str:
    match node:
        case Arithmetic(operator, left, right):
            return f"({expression(left)} {operator} {expression(right)})"
        case Function(name, operand):
            return f"{name}({expression(operand)})"
        case Round(operand, digits, _):
            return f"round({expression(operand)}, {digits})"
        case Coalesce(parts):
            return f"coalesce({', '.join(expression(part) for part in parts)})"
        case NullIf(left, right):
            return f"nullif({expression(left)}, {expression(right)})"


def condition(node: Condition) -> str:
    """A condition of the shape as text."""
    match node:
        case Comparison(operator, left, right):
            return f"{expression(left)} {operator} {expression(right)}"
        case Missing(operand):
            return f"{expression(operand)} is null"
        case Conjunction(parts):
            return f"({' and '.join(condition(part) for part in parts)})"
        case Disjunction(parts):
            return f"({' or '.join(condition(part) for part in parts)})"
        case Negation(part):
            return f"not ({condition(part)})"
        case Known(truth):
            return _TRUTHS[truth]
