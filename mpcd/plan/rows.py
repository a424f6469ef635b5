"""Expressions and predicates over one row: from checked syntax to the integer IR (layer 3, no I/O).

Text exists in dictionaries alone, so every comparison with text becomes one of level indices while it is planned.  A
literal that is no level of its column is an error that names near levels: it is a misspelling far more often than a
question with the answer zero (except in LIKE, where a pattern may match nothing).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, cast

from sqlglot import exp

from mpcd.errors import PlanInvalid, PlanUnsupported
from mpcd.plan import ranges, scalar
from mpcd.plan.names import Names, near
from mpcd.plan.nodes import (
    And,
    Case,
    ColumnRef,
    Compare,
    CompareOperator,
    Constant,
    DatePart,
    Expr,
    IsNotTrue,
    IsNull,
    Not,
    Or,
    Part,
    Pred,
    Truth,
    conjunction,
)
from mpcd.plan.scalar import NULL, NUMERIC, Scalar, number, spoken
from mpcd.plan.sql import AGGREGATES
from mpcd.roster.model import EPOCH

COMPARISONS: Final[dict[type[exp.Expr], CompareOperator]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
PREDICATES: Final = (
    *COMPARISONS,
    exp.And,
    exp.Or,
    exp.Not,
    exp.Is,
    exp.Between,
    exp.In,
    exp.Like,
    exp.ILike,
    exp.Escape,
)
_DIGITS: Final = re.compile(r"(\d+)?(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?")
_PARTS: Final[dict[str, Part]] = {
    "year": "year",
    "years": "year",
    "quarter": "quarter",
    "month": "month",
    "months": "month",
    "day": "day",
    "days": "day",
    "dow": "dayofweek",
    "dayofweek": "dayofweek",
    "weekday": "dayofweek",
    "isodow": "isodow",
    "doy": "dayofyear",
    "dayofyear": "dayofyear",
}
_PART_FUNCTIONS: Final[dict[type[exp.Expr], Part]] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Day: "day",
    exp.DayOfWeek: "dayofweek",
    exp.DayOfWeekIso: "isodow",
    exp.DayOfYear: "dayofyear",
}
_INTEGER_TYPES: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "INT128"})


def unwrap(node: exp.Expr) -> exp.Expr:
    """The node without parentheses around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def literal_number(text: str) -> Scalar:
    """A numeric literal: integer, decimal, or (with an exponent) double."""
    match = _DIGITS.fullmatch(text)
    if match is None or len(text) > 60 or not (match[1] or match[2]):
        raise PlanInvalid(f"{text[:40]!r} is not a number")
    decimals = match[2] or ""
    value = Fraction(int((match[1] or "0") + decimals), 10 ** len(decimals))
    if match[3] is not None:
        if abs(int(match[3])) > 60:
            raise PlanInvalid(f"{text[:40]!r} is outside the numbers that are computed with")
        return number(value * Fraction(10) ** int(match[3]), "double")
    return number(value, "decimal" if match[2] is not None else "integer", len(decimals))


def like_pattern(pattern: str, escape: str | None, *, any_case: bool) -> re.Pattern[str]:
    """The regular expression of a LIKE pattern: `%` any text, `_` one character."""
    if escape is not None and len(escape) != 1:
        raise PlanInvalid("ESCAPE takes one character")
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            following = next(characters, None)
            if following is None:
                raise PlanInvalid("a LIKE pattern cannot end with its escape character")
            parts.append(re.escape(following))
        elif character in "%_":
            if character == "%" and parts and parts[-1] == ".*":
                continue
            parts.append(".*" if character == "%" else ".")
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if any_case else 0))


class Rows:
    """Translates what stands in WHERE, FILTER, GROUP BY and inside aggregates."""

    def __init__(self, names: Names, aliases: Iterable[str] = ()) -> None:
        self.names = names
        self.relation = names.relation
        self.aliases = tuple(aliases)

    # -------------------------------------------------------------------------------------------- scalars

    def scalar(self, node: exp.Expr) -> Scalar:
        """The value of an expression over one row."""
        node = unwrap(node)
        if isinstance(node, AGGREGATES):
            raise PlanInvalid(
                f"{type(node).__name__.upper()} cannot stand inside another aggregate, in WHERE or in GROUP BY"
            )
        if isinstance(node, (*PREDICATES, exp.Boolean)):
            return self._truth_value(node)
        if type(node) in _PART_FUNCTIONS:
            return self._part(_PART_FUNCTIONS[type(node)], node.this)
        method = _SCALARS.get(type(node))
        if method is None:
            raise PlanUnsupported(f"{type(node).__name__.upper()} is not answered here")
        return method(self, node)

    def _column(self, node: exp.Expr) -> Scalar:
        assert isinstance(node, exp.Column)
        if isinstance(node.this, exp.Star):
            raise PlanUnsupported("rows never leave their owners; name the aggregates that you want")
        ref = self.names.resolve(node, self.aliases)
        column = self.relation.column(ref)
        if column.type == "dictionary":
            return Scalar("text", ref, levels=column.levels)
        if column.type == "decimal":
            return Scalar("decimal", ref, factor=Fraction(1, column.scale), scale=column.decimals)
        assert column.type in {"integer", "date", "boolean"}
        return Scalar(cast("scalar.ScalarType", column.type), ref)

    def _literal(self, node: exp.Expr) -> Scalar:
        if node.args.get("is_string"):
            return Scalar("text", None, text=str(node.this))
        return literal_number(str(node.this))

    def _truth_value(self, node: exp.Expr) -> Scalar:
        if isinstance(node, exp.Boolean):
            return number(Fraction(bool(node.this)), "boolean")
        condition = self.predicate(node)
        if isinstance(condition, Truth):
            return NULL if condition.value is None else number(Fraction(condition.value), "boolean")
        if self.may_be_null(condition):
            return Scalar("boolean", Case(((condition, Constant(1)), (Not(condition), Constant(0))), None))
        return Scalar("boolean", Case(((condition, Constant(1)),), Constant(0)))

    def _negate(self, node: exp.Expr) -> Scalar:
        return scalar.negate(self.scalar(node.this))

    def _part(self, part: Part, operand: exp.Expr) -> Scalar:
        date = self.as_date(self.scalar(operand))
        if date.expr is None:
            return number(Fraction(ranges.date_part(part, int(date.offset))))
        return scalar.integer(DatePart(part, scalar.whole_in(date, scalar.ONE)))

    def _extract(self, node: exp.Expr) -> Scalar:
        return self._part(_part_name(str(node.this.this)), node.args["expression"])

    def _anonymous(self, node: exp.Expr) -> Scalar:
        name, arguments = str(node.this).lower(), node.args["expressions"]
        if name in {"date_part", "datepart"} and len(arguments) == 2 and arguments[0].args.get("is_string"):
            return self._part(_part_name(str(arguments[0].this)), arguments[1])
        raise PlanUnsupported(f"{name}() is not answered here")

    def _date_diff(self, node: exp.Expr) -> Scalar:
        if str(node.args["unit"].this).upper() != "DAY":
            raise PlanUnsupported("differences of dates are answered in days only")
        later, earlier = (self.as_date(self.scalar(n)) for n in (node.this, node.args["expression"]))
        return scalar.subtract(later, earlier)

    def _cast(self, node: exp.Expr) -> Scalar:
        operand, to = self.scalar(node.this), node.args["to"]
        name = to.this.value
        if name == "DATE":
            return self.as_date(operand)
        if name in _INTEGER_TYPES and operand.type in {"integer", "boolean"}:
            return replace(operand, type="integer")
        if name == "DOUBLE" and operand.type in NUMERIC:
            return replace(operand, type="double", scale=0)
        if name in {"DECIMAL", "NUMERIC"} and operand.type in {"integer", "decimal"}:
            parameters = [int(str(parameter.this.this)) for parameter in to.expressions]
            scale = parameters[1] if len(parameters) == 2 else 3 if not parameters else 0
            if operand.scale <= scale <= 18:
                return replace(operand, type="decimal", scale=scale)
        raise PlanUnsupported(f"a cast of {spoken(operand)} to {name} is not answered within a row")

    def _round(self, node: exp.Expr) -> Scalar:
        return scalar.round_half_away(self.scalar(node.this), rounding_digits(node))

    def _coalesce(self, node: exp.Expr) -> Scalar:
        parts = [self.scalar(part) for part in (node.this, *node.args["expressions"])]
        return self._choose([(None, part) for part in parts])

    def _null_if(self, node: exp.Expr) -> Scalar:
        left = self.scalar(node.this)
        equal = self.compare("=", left, self.scalar(node.args["expression"]))
        return self._choose([(equal, NULL), (Truth(True), left)])

    def _case(self, node: exp.Expr) -> Scalar:
        return self._choose([(condition, self.scalar(result)) for condition, result in self.branches(node)])

    def branches(self, node: exp.Expr) -> list[tuple[Pred, exp.Expr]]:
        """The conditions of a CASE or IF with their results; the last is TRUE where there is an ELSE."""
        if isinstance(node, exp.If):
            whens, default, subject = [node], node.args.get("false"), None
        else:
            whens, default, subject = node.args["ifs"], node.args.get("default"), node.args.get("this")
        found: list[tuple[Pred, exp.Expr]] = []
        for when in whens:
            if subject is None:
                condition = self.predicate(when.this)
            else:
                condition = self.compare("=", self.scalar(subject), self.scalar(when.this))
            found.append((condition, when.args["true"]))
        if default is not None:
            found.append((Truth(True), default))
        return found

    def _choose(self, branches: Sequence[tuple[Pred | None, Scalar]]) -> Scalar:
        """The first branch whose condition is TRUE (None: whose value is not NULL); NULL if there is none."""
        results = [result for _, result in branches if result.type != "null"]
        if not results:
            return NULL
        kinds = {result.type for result in results}
        if len(kinds) > 1 and not kinds <= NUMERIC:
            raise PlanInvalid("the branches of a CASE or COALESCE must all be numbers, or all be text")
        if kinds == {"text"}:
            levels = tuple(dict.fromkeys(level for result in results for level in result.levels or (result.text,)))
            return Scalar("text", self._case_expr(branches, lambda s: _level_expr(s, levels)), levels=levels)
        kind = "double" if "double" in kinds else "decimal" if "decimal" in kinds else results[0].type
        base, step = _common_unit(results)
        expr = self._case_expr(branches, lambda s: scalar.whole_in(replace(s, offset=s.offset - base), step))
        return Scalar(kind, expr, step, base, max(result.scale for result in results))

    def _case_expr(self, branches: Sequence[tuple[Pred | None, Scalar]], make: Callable[[Scalar], Expr]) -> Expr:
        """A Case node; branches that give NULL become conditions on the later ones."""
        whens: list[tuple[Pred, Expr]] = []
        blocked: tuple[Pred, ...] = ()
        for condition, result in branches:
            chosen = self._is_chosen(result) if condition is None else condition
            if result.type == "null":
                blocked = (*blocked, IsNotTrue(chosen))
            elif chosen == Truth(True) and not blocked:
                return Case(tuple(whens), make(result)) if whens else make(result)
            else:
                whens.append((conjunction((*blocked, chosen)) or Truth(True), make(result)))
        return Case(tuple(whens), None)

    def _is_chosen(self, result: Scalar) -> Pred:
        """Whether COALESCE stops at this part."""
        return Truth(result.type != "null") if result.expr is None else self.is_present(result.expr)

    def as_date(self, operand: Scalar) -> Scalar:
        """The operand as a date; text must read YYYY-MM-DD."""
        if operand.type == "date":
            return operand
        if operand.type == "text" and operand.expr is None:
            return number(Fraction(_day(operand.text)), "date")
        raise PlanInvalid(f"a date is needed here, not {spoken(operand)}")

    # -------------------------------------------------------------------------------------------- predicates

    def predicate(self, node: exp.Expr) -> Pred:
        """The truth of a condition over one row."""
        node = unwrap(node)
        match node:
            case exp.And() | exp.Or():
                kind = And if isinstance(node, exp.And) else Or
                return _join(kind, [self.predicate(part) for part in flatten(node)])
            case exp.Not():
                return negation(self.predicate(node.this))
            case exp.Is():
                return self._is(node)
            case exp.Between():
                subject = node.this
                return _join(
                    And,
                    [self._compare(">=", subject, node.args["low"]), self._compare("<=", subject, node.args["high"])],
                )
            case exp.In():
                return self._in(node)
            case exp.Like() | exp.ILike() | exp.Escape():
                return self._like(node)
            case exp.Null():
                return Truth(None)
            case _:
                return self._simple(node)

    def _simple(self, node: exp.Expr) -> Pred:
        """A comparison, or a truth value as it stands."""
        if type(node) in COMPARISONS:
            return self._compare(COMPARISONS[type(node)], node.this, node.args["expression"])
        operand = self.scalar(node)
        if operand.type != "boolean":
            raise PlanInvalid(f"a condition is needed here, not {spoken(operand)}")
        return self.truth(operand)

    def truth(self, operand: Scalar) -> Pred:
        """A truth value as a predicate."""
        if operand.expr is None:
            return Truth(bool(operand.offset))
        return Compare("=", operand.expr, Constant(1))

    def _compare(self, op: CompareOperator, left: exp.Expr, right: exp.Expr) -> Pred:
        for side in (left, right):
            if isinstance(side, PREDICATES):
                raise PlanUnsupported("put parentheses around the conditions, and join them with AND, OR and NOT")
        return self.compare(op, self.scalar(left), self.scalar(right))

    def compare(self, op: CompareOperator, left: Scalar, right: Scalar) -> Pred:
        """Left op right, whatever their types."""
        kinds = {left.type, right.type}
        if "null" in kinds:
            return Truth(None)
        if kinds == {"text"}:
            return self._compare_text(op, left, right)
        if "date" in kinds:
            left, right = self.as_date(left), self.as_date(right)
        elif "text" in kinds:
            text, other = (left, right) if left.type == "text" else (right, left)
            advice = "write its level in quotes" if text.expr is not None else f"write {spoken(other)} without quotes"
            raise PlanInvalid(f"text is compared with {spoken(other)}; {advice}")
        elif "boolean" in kinds:
            left, right = replace(left, type="integer"), replace(right, type="integer")
        return scalar.compare(op, left, right, self.relation.bounds)

    def _compare_text(self, op: CompareOperator, left: Scalar, right: Scalar) -> Pred:
        if left.expr is None and right.expr is None:
            return Truth(_text_holds(op, left.text, right.text))
        if left.expr is None:
            return self._compare_text(scalar.FLIPPED[op], right, left)
        if right.expr is None:
            if op in {"=", "<>"}:
                known_level(right.text, left.levels, self._describe(left))
            matching = {i for i, level in enumerate(left.levels) if _text_holds(op, level, right.text)}
            if op == "<>" and len(matching) == len(left.levels) - 1:
                return Compare("<>", left.expr, Constant(left.levels.index(right.text)))
            return scalar.one_of(left.expr, matching, len(left.levels))
        if left.levels != right.levels:
            raise PlanUnsupported("two columns with different dictionaries are not compared; compare each with a text")
        if op not in {"=", "<>"} and list(left.levels) != sorted(left.levels, key=str.encode):
            raise PlanUnsupported("two text columns are compared for = and <> only")
        return Compare(op, left.expr, right.expr)

    def _is(self, node: exp.Expr) -> Pred:
        right = unwrap(node.args["expression"])
        if isinstance(right, exp.Null):
            operand = unwrap(node.this)
            if isinstance(operand, PREDICATES):
                return self._is_unknown(self.predicate(operand))
            value = self.scalar(operand)
            if value.expr is None:
                return Truth(value.type == "null")
            return negation(self.is_present(value.expr))
        if isinstance(right, exp.Boolean):
            inside = self.predicate(node.this)
            wanted = inside if right.this else negation(inside)
            return Not(IsNotTrue(wanted)) if self.may_be_null(wanted) else wanted
        raise PlanUnsupported("IS is answered with NULL, TRUE and FALSE")

    def _is_unknown(self, condition: Pred) -> Pred:
        if not self.may_be_null(condition):
            return Truth(False)
        return And((IsNotTrue(condition), IsNotTrue(Not(condition))))

    def _in(self, node: exp.Expr) -> Pred:
        subject = self.scalar(node.this)
        items = [self.scalar(item) for item in node.args["expressions"]]
        constants = {item for item in items if item.expr is None and item.type != "null"}
        others = [self.compare("=", subject, item) for item in items if item not in constants]
        if subject.type == "text" and subject.expr is not None and constants:
            for item in sorted(constants, key=lambda entry: entry.text):
                if item.type != "text":
                    raise PlanInvalid("text is compared with a number; write the level in quotes")
                known_level(item.text, subject.levels, self._describe(subject))
            indices = {subject.levels.index(item.text) for item in constants}
            others.insert(0, scalar.one_of(subject.expr, indices, len(subject.levels)))
        else:
            compared = [self.compare("=", subject, item) for item in items if item in constants]
            others[:0] = _merge_equalities(compared)
        return _join(Or, others)

    def _like(self, node: exp.Expr) -> Pred:
        escape: str | None = None
        if isinstance(node, exp.Escape):
            escape, node = str(node.args["expression"].this), node.this
        if not isinstance(node, (exp.Like, exp.ILike)):
            raise PlanUnsupported("ESCAPE belongs to LIKE")
        subject, pattern = self.scalar(node.this), self.scalar(node.args["expression"])
        if pattern.type != "text" or pattern.expr is not None:
            raise PlanUnsupported("LIKE takes a pattern in quotes")
        compiled = like_pattern(pattern.text, escape, any_case=isinstance(node, exp.ILike))
        if subject.type != "text":
            raise PlanInvalid(f"LIKE compares text, not {spoken(subject)}")
        if subject.expr is None:
            result: Pred = Truth(compiled.fullmatch(subject.text) is not None)
        else:
            matching = {i for i, level in enumerate(subject.levels) if compiled.fullmatch(level)}
            result = scalar.one_of(subject.expr, matching, len(subject.levels))
        return negation(result) if node.args.get("negate") else result

    def _describe(self, subject: Scalar) -> str:
        return self.relation.name(subject.expr) if isinstance(subject.expr, ColumnRef) else "the expression"

    # -------------------------------------------------------------------------------------------- NULL

    def is_present(self, expr: Expr) -> Pred:
        """TRUE unless the expression is NULL."""
        if not ranges.bounds(expr, self.relation.bounds).nullable:
            return Truth(True)
        return Not(IsNull(expr))

    def may_be_null(self, condition: Pred) -> bool:
        """Whether a condition can be unknown."""
        match condition:
            case Truth(value):
                return value is None
            case IsNull() | IsNotTrue():
                return False
            case Compare(_, left, right):
                return any(ranges.bounds(side, self.relation.bounds).nullable for side in (left, right))
            case And(parts) | Or(parts):
                return any(self.may_be_null(part) for part in parts)
            case Not(part):
                return self.may_be_null(part)
            case _:
                return ranges.bounds(condition.expr, self.relation.bounds).nullable


_SCALARS: Final[dict[type[exp.Expr], Callable[[Rows, exp.Expr], Scalar]]] = {
    exp.Column: Rows._column,  # noqa: SLF001
    exp.Literal: Rows._literal,  # noqa: SLF001
    exp.Null: lambda _rows, _node: NULL,
    exp.Neg: Rows._negate,  # noqa: SLF001
    exp.Add: lambda rows, node: scalar.add(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.Sub: lambda rows, node: scalar.subtract(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.Mul: lambda rows, node: scalar.multiply(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.Div: lambda rows, node: scalar.divide(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.IntDiv: lambda rows, node: scalar.truncate_divide(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.Mod: lambda rows, node: scalar.modulo(rows.scalar(node.this), rows.scalar(node.expression)),
    exp.Floor: lambda rows, node: scalar.floor(rows.scalar(node.this)),
    exp.Ceil: lambda rows, node: scalar.ceil(rows.scalar(node.this)),
    exp.Trunc: lambda rows, node: scalar.truncate(rows.scalar(node.this)),
    exp.Abs: lambda rows, node: scalar.absolute(rows.scalar(node.this)),
    exp.Round: Rows._round,  # noqa: SLF001
    exp.Coalesce: Rows._coalesce,  # noqa: SLF001
    exp.Nullif: Rows._null_if,  # noqa: SLF001
    exp.Case: Rows._case,  # noqa: SLF001
    exp.If: Rows._case,  # noqa: SLF001
    exp.Cast: Rows._cast,  # noqa: SLF001
    exp.Extract: Rows._extract,  # noqa: SLF001
    exp.Anonymous: Rows._anonymous,  # noqa: SLF001
    exp.DateDiff: Rows._date_diff,  # noqa: SLF001
}


def flatten(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a chain of one connector, left to right, without recursion along the chain."""
    kind = type(node)
    parts: list[exp.Expr] = []
    while isinstance(node, kind):
        parts.append(node.args["expression"])
        node = node.this
    return [node, *reversed(parts)]


def rounding_digits(node: exp.Expr) -> int:
    """The second argument of ROUND, which must be a constant."""
    decimals = node.args.get("decimals")
    if decimals is None:
        return 0
    sign = 1
    decimals = unwrap(decimals)
    if isinstance(decimals, exp.Neg):
        sign, decimals = -1, decimals.this
    if not isinstance(decimals, exp.Literal) or decimals.is_string or not str(decimals.this).isdigit():
        raise PlanUnsupported("ROUND takes a number of digits as its second argument")
    digits = int(str(decimals.this)[:6])
    if digits > 15:
        raise PlanUnsupported("ROUND takes at most 15 digits")
    return sign * digits


def negation(condition: Pred) -> Pred:
    """NOT, with the simplest cases simplified."""
    match condition:
        case Truth(value):
            return Truth(None if value is None else not value)
        case Not(part) if isinstance(part, IsNull):
            return part
        case _:
            return Not(condition)


def known_level(text: str, levels: tuple[str, ...], column: str) -> None:
    """Raise `PlanInvalid` unless `text` is a level."""
    if text not in levels:
        suggestion = near(text, levels)
        if not suggestion:
            shown = ", ".join(repr(level) for level in levels[:8])
            suggestion = f"; its levels are {shown}{', ...' if len(levels) > 8 else ''}"
        raise PlanInvalid(f"{text[:60]!r} is no level of {column}{suggestion}")


def _join(kind: type[And | Or], parts: list[Pred]) -> Pred:
    """AND or OR of parts: flattened, constants folded."""
    deciding = Truth(kind is Or)
    neutral = Truth(kind is And)
    flat: dict[Pred, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, kind) else (part,)))
    if deciding in flat:
        return deciding
    flat.pop(neutral, None)
    kept = tuple(flat)
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else kind(kept)


def _merge_equalities(parts: list[Pred]) -> list[Pred]:
    """Equalities of one expression with constants as one set; parts of another form stay."""
    values: dict[Expr, set[int]] = {}
    others: list[Pred] = []
    for part in parts:
        if isinstance(part, Compare) and part.op == "=" and isinstance(part.right, Constant):
            values.setdefault(part.left, set()).add(part.right.value)
        else:
            others.append(part)
    merged = [scalar.one_of(expr, found, -1) for expr, found in values.items()]
    return [*merged, *others]


def _level_expr(result: Scalar, levels: tuple[str, ...]) -> Expr:
    """The index among `levels` of a text scalar."""
    if result.expr is None:
        return Constant(levels.index(result.text))
    indices = [levels.index(level) for level in result.levels]
    if indices == list(range(len(indices))):
        return result.expr
    whens = tuple((Compare("=", result.expr, Constant(i)), Constant(index)) for i, index in enumerate(indices))
    return Case(whens, None)


def _common_unit(results: list[Scalar]) -> tuple[Fraction, Fraction]:
    """A base and a step such that every result is base + step * integer; constants set both where all are constant."""
    if all(result.expr is None for result in results):
        base = min(result.offset for result in results)
        return base, scalar.unit(*(result.offset - base for result in results))
    return scalar.ZERO, scalar.unit(*(part for r in results for part in (r.offset, r.factor if r.expr else r.offset)))


def _text_holds(op: CompareOperator, left: str, right: str) -> bool:
    """Text compares by its UTF-8 bytes, as in DuckDB."""
    a, b = left.encode(), right.encode()
    return {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def _day(text: str) -> int:
    """Days since 1970-01-01 of a date that reads YYYY-MM-DD."""
    try:
        day = dt.date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise PlanInvalid(f"{text[:40]!r} is not a date; dates read YYYY-MM-DD")
    return (day - EPOCH).days


def _part_name(name: str) -> Part:
    part = _PARTS.get(name.lower())
    if part is None:
        raise PlanUnsupported(f"{name[:20]} of a date is not answered; use {', '.join(sorted(set(_PARTS.values())))}")
    return part
