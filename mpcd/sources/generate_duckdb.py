"""One total DuckDB statement for the local part of a plan (pure).

What the statement may contain: quoted identifiers from the roster, integers, and the words below.  No text of the
analyst gets here: the plan has none but names, and names are looked up in the roster before a plan is accepted.

**Total** (SECURITY rule 17): an error that occurs only if a row exists would be an oracle.  So every column is widened
to BIGINT before arithmetic, and a checked plan stays within 63 bits; a product that may exceed them is computed in
HUGEINT; sums are HUGEINT (2^63 rows of 2^63 fit) and come out as two 63-bit halves, or one if the field says so;
divisors go through NULLIF.  All this rests on the declared bounds, which an import enforces.  An expression that could
fail for other values of its columns' types (so, if a file were changed) is wrapped in TRY, which makes it NULL; for
most the narrow types leave no such values.

**Cohorts** count rows where a row is a person.  There the complement of a counted condition is not computed: it is the
cell's count less the condition's.  Elsewhere they count distinct persons.  A hash table of (cell, person) per cohort
takes seconds for ten million rows; snapshots therefore number their persons densely, and a bitmap per cell and *class*
(`bitstring_agg`; one bit is set per row, however many cohorts there are) counts them in a fraction of that, as long as
the bitmaps fit in memory.
"""

# ruff: noqa: S608  every identifier goes through `quoted`, every value through `number`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpcd import limits
from mpcd.errors import PlanUnsupported, RangeTooWide
from mpcd.plan import ranges
from mpcd.plan.ir import (
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
    Join,
    LocalValue,
    LogicalPlan,
    Multiply,
    Negate,
    Not,
    Or,
    Pred,
    Subtract,
    TruncateDivide,
    Truth,
)
from mpcd.plan.relation import build
from mpcd.roster import Roster
from mpcd.sources.snapshot import PERSON_INDEX, ROWS, type_bounds

BITMAP_BYTES_MAX: Final = 256 * 2**20
"""All person bitmaps of one statement together, per thread of the engine; beyond it persons are counted by hashing."""
_BITMAP_PERSONS_MAX: Final = 10**9
"""DuckDB refuses wider bit strings."""
HALF: Final = 2**63
"""A wide sum is high * HALF + low, both of its sign (DuckDB divides towards zero)."""
_BIGINT_MAX: Final = 2**63 - 1
_EPOCH: Final = "DATE '1970-01-01'"

How = Literal["counted", "complement", "narrow", "wide"]


@dataclass(frozen=True, slots=True)
class Output:
    """Where one cohort or value stands in the statement's result, by 0-based column."""

    how: How
    column: int
    base: int = 0
    """"complement": the cell's own count, from which `column` is taken.  "wide": the column of the high half."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The text, and how to read its rows: column 0 is the cell's number; all are BIGINT, and NULL means 0."""

    sql: str
    columns: int
    cohorts: tuple[Output, ...]
    values: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class TableRows:
    """What the generator must know about one table's snapshot."""

    catalog: str
    """The name under which the engine child attached it."""
    persons: int
    """Distinct persons in it; they are numbered 0 to persons - 1 in the column `PERSON_INDEX`."""


def generate(plan: LogicalPlan, roster: Roster, tables: Mapping[str, TableRows], threads: int = 1) -> Statement:
    """The statement for a checked plan.

    Args:
        plan: from `LogicalPlan.from_value`.
        roster: the one against which it was checked.
        tables: the snapshots, by the roster's table name.
        threads: of the engine, to bound the memory of bitmaps.
    """
    text = Text(build(roster, plan.sources, plan.joins).bounds)
    return _Writer(plan, text, tables, threads).write()


def quoted(name: str) -> str:
    """An identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


# ------------------------------------------------------------------------------------------------ expressions


def number(value: int) -> str:
    """A BIGINT constant, or a HUGEINT one beyond 63 bits.  SQL has no negative literals, so the lowest is a sum."""
    if not -HALF <= value < HALF:
        return f"({value}::HUGEINT)"
    return f"{value}::BIGINT" if value >= 0 else f"(-{-value - 1}::BIGINT - 1::BIGINT)"


class Text:
    """Expressions and predicates as SQL, over the columns whose declared bounds are given."""

    def __init__(self, columns: ranges.Columns) -> None:
        self._columns = columns

    def _storable(self, column: ColumnRef) -> ranges.Bounds:
        """All that the column's type could hold, whatever was declared."""
        declared = self._columns(column)
        return ranges.Bounds(*type_bounds(declared.low, declared.high), nullable=True)

    def total(self, expr: Expr) -> str:
        """A BIGINT expression that cannot fail, NULL if any operand is."""
        text = self.expression(expr)
        return text if self._cannot_fail(expr) else f"TRY({text})"

    def _cannot_fail(self, *factors: Expr) -> bool:
        try:
            found = [ranges.bounds(factor, self._storable) for factor in factors]
        except RangeTooWide:
            return False
        return len(found) < 2 or ranges.multiply(*found).size <= _BIGINT_MAX

    def expression(self, expr: Expr) -> str:
        """A BIGINT expression, NULL if any operand is; total within the declared bounds."""
        text = self._expression(expr)
        if len(text) > limits.STATEMENT_BYTES_MAX:
            raise PlanUnsupported("the request's expressions are nested too deeply; write them in a simpler way")
        return text

    def _expression(self, expr: Expr) -> str:
        match expr:
            case ColumnRef(source, name):
                return f"CAST(s{source}.{quoted(name)} AS BIGINT)"
            case Constant(value):
                return number(value)
            case Add(left, right) | Subtract(left, right) | Multiply(left, right):
                sign = {Add: "+", Subtract: "-", Multiply: "*"}[type(expr)]
                return f"({self.expression(left)} {sign} {self.expression(right)})"
            case Negate(operand):
                return f"(-{self.expression(operand)})"
            case TruncateDivide(left, right):
                return f"({self.expression(left)} // {self._divisor(right)})"
            case FloorDivide(left, right):
                return self._floor_divide(left, right)
            case DatePart(part, operand):
                return f"date_part('{part}', {_EPOCH} + CAST({self.expression(operand)} AS INTEGER))"
            case Case(whens, otherwise):
                branches = " ".join(f"WHEN {self.predicate(when)} THEN {self.expression(then)}" for when, then in whens)
                last = "" if otherwise is None else f" ELSE {self.expression(otherwise)}"
                return f"CASE {branches}{last} END"

    def _divisor(self, expr: Expr) -> str:
        """Never zero: NULL instead, which makes the quotient NULL."""
        if isinstance(expr, Constant) and expr.value != 0:
            return number(expr.value)
        return f"NULLIF({self.expression(expr)}, 0::BIGINT)"

    def _floor_divide(self, left: Expr, right: Expr) -> str:
        """The truncated quotient of a dividend that is not negative: shifted by a multiple of the divisor, and back.

        So the dividend is written once; written twice, nested divisions would double the text at each level.
        """
        a, b = ranges.bounds(left, self._columns), ranges.bounds(right, self._columns)
        if b.high < 0:
            return self._floor_divide(Negate(left), Negate(right))
        dividend, divisor = self.expression(left), self._divisor(right)
        if a.low >= 0:
            return f"({dividend} // {divisor})"
        shift = -(a.low // b.low)
        if max(a.high, 0) + shift * b.high <= _BIGINT_MAX:
            return f"(({dividend} + {number(shift)} * {divisor}) // {divisor} - {number(shift)})"
        wide = f"(CAST({dividend} AS HUGEINT) + CAST({number(shift)} AS HUGEINT) * {divisor}) // {divisor}"
        return f"CAST({wide} - CAST({number(shift)} AS HUGEINT) AS BIGINT)"

    def predicate(self, pred: Pred) -> str:
        """A BOOLEAN expression in SQL's own three-valued logic."""
        match pred:
            case Compare(op, left, right):
                return f"({self.total(left)} {op} {self.total(right)})"
            case And(parts):
                return "(" + " AND ".join(map(self.predicate, parts)) + ")"
            case Or(parts):
                return "(" + " OR ".join(map(self.predicate, parts)) + ")"
            case Not(part):
                return f"(NOT {self.predicate(part)})"
            case InSet(expr, values):
                return f"({self.total(expr)} IN ({', '.join(map(number, values))}))"
            case IsNull(expr):
                return f"({self.total(expr)} IS NULL)"
            case Truth(value):
                return "CAST(NULL AS BOOLEAN)" if value is None else "TRUE" if value else "FALSE"
            case IsNotTrue(part):
                return f"({self.predicate(part)} IS NOT TRUE)"

    def filter(self, condition: Pred | None) -> str:
        """A FILTER clause, empty for no condition."""
        return "" if condition is None else f" FILTER (WHERE {self.predicate(condition)})"

    def cell(self, keys: Sequence[GroupKey]) -> str:
        """The cell's number: row-major over the keys' codes, NULL last."""
        cell = number(0)
        for index, key in enumerate(keys):
            inner = self.total(key.expr)
            code = inner if key.low == 0 else f"({inner} - {number(key.low)})"
            if key.nullable:
                code = f"COALESCE({code}, {number(key.count)})"
            cell = code if index == 0 else f"({cell} * {number(key.places)} + {code})"
        return cell

    def product(self, value: LocalValue) -> str:
        """One row's contribution to a sum."""
        if len(value.factors) == 2 and max(-value.low, value.high) > _BIGINT_MAX:
            left, right = map(self.total, value.factors)
            return f"CAST({left} AS HUGEINT) * {right}"
        product = " * ".join(map(self.expression, value.factors))
        return product if self._cannot_fail(*value.factors) else f"TRY({product})"


# ------------------------------------------------------------------------------------------------ the statement


class _Writer:
    """Writes one statement; see the module's theory of operation.

    Flat, `SELECT cell, aggregates FROM ... GROUP BY cell`, or in two levels where bitmaps serve several cohorts:

        SELECT cell, SUM(v0), ..., bit_count(bit_or(persons) FILTER (WHERE class & 1 > 0)), ...
        FROM (SELECT cell, class, aggregates AS v0, ..., bitstring_agg(person) AS persons ... GROUP BY cell, class)
        GROUP BY cell

    A class is a set of the cohorts' conditions, as a bit each: the rows for which exactly these are TRUE.
    """

    def __init__(self, plan: LogicalPlan, text: Text, tables: Mapping[str, TableRows], threads: int) -> None:
        self._plan = plan
        self._text = text
        self._tables = tables
        self._columns: list[str] = []
        self._inner: list[str] = []
        self._rows_are_persons = plan.persons is None or plan.persons_unique
        self._persons = 0
        if plan.persons is not None:
            self._persons = tables[plan.sources[plan.persons.source].table].persons
        conditions = dict.fromkeys(_positive(cohort.condition) for cohort in plan.cohorts)
        self._conditions = tuple(condition for condition in conditions if condition is not None)
        classes = 2 ** len(self._conditions)
        bitmaps_bytes = max(plan.cells, 1) * classes * (self._persons // 8 + 16) * threads
        self._bitmaps = (
            not self._rows_are_persons and bitmaps_bytes <= BITMAP_BYTES_MAX and self._persons <= _BITMAP_PERSONS_MAX
        )
        self._two_levels = self._bitmaps and classes > 1

    def write(self) -> Statement:
        plan = self._plan
        cohorts = tuple(self._cohort(cohort.condition) for cohort in plan.cohorts)
        values = tuple(map(self._value, plan.values))
        fields = ", ".join(f"{text} AS c{index}" for index, text in enumerate(self._columns, start=1))
        cell = self._text.cell(plan.keys)
        if self._two_levels:
            inner = "".join(f", {text} AS v{index}" for index, text in enumerate(self._inner))
            rows = f"SELECT {cell} AS c0, {self._class()} AS class, {self._bitmap()} AS persons{inner} {self._from()}"
            sql = f"SELECT c0, {fields} FROM ({rows} GROUP BY 1, 2) GROUP BY c0"
        else:
            sql = f"SELECT {cell} AS c0, {fields} {self._from()}" + (" GROUP BY 1" if plan.keys else "")
        return Statement(sql, 1 + len(self._columns), cohorts, values)

    def _add(self, text: str) -> int:
        """The column of the result that holds `text`; each text stands there once."""
        if text not in self._columns:
            self._columns.append(text)
        return 1 + self._columns.index(text)

    def _summed(self, aggregate: str) -> str:
        """What the outermost SELECT calls a count or sum."""
        if not self._two_levels:
            return aggregate
        if aggregate not in self._inner:
            self._inner.append(aggregate)
        return f"SUM(v{self._inner.index(aggregate)})"

    def _from(self) -> str:
        text = f"FROM {self._table(0)}"
        for index, join in enumerate(self._plan.joins, start=1):
            text += f" {'JOIN' if join.kind == 'inner' else 'LEFT JOIN'} {self._table(index)} ON {_pairs(join)}"
        return text if self._plan.where is None else f"{text} WHERE {self._text.predicate(self._plan.where)}"

    def _table(self, source: int) -> str:
        catalog = self._tables[self._plan.sources[source].table].catalog
        return f"{quoted(catalog)}.main.{quoted(ROWS)} AS s{source}"

    def _count(self, condition: Pred | None) -> int:
        count = self._summed(f"COUNT(*){self._text.filter(condition)}")
        return self._add(f"TRY_CAST({count} AS BIGINT)" if self._two_levels else count)

    def _cohort(self, condition: Pred | None) -> Output:
        if not self._rows_are_persons:
            return Output("counted", self._distinct(condition))
        if isinstance(condition, IsNotTrue):
            return Output("complement", self._count(condition.part), self._count(None))
        return Output("counted", self._count(condition))

    def _distinct(self, condition: Pred | None) -> int:
        if not self._bitmaps:
            person = self._plan.persons
            assert person is not None
            return self._add(f"COUNT(DISTINCT s{person.source}.{quoted(person.name)}){self._text.filter(condition)}")
        if not self._two_levels:
            return self._add(f"bit_count({self._bitmap()})")
        positive = _positive(condition)
        if positive is None:
            return self._add("bit_count(bit_or(persons))")
        sign = "=" if isinstance(condition, IsNotTrue) else ">"
        bit = 2 ** self._conditions.index(positive)
        return self._add(f"bit_count(bit_or(persons) FILTER (WHERE class & {bit} {sign} 0))")

    def _bitmap(self) -> str:
        person = self._plan.persons
        assert person is not None
        return f"bitstring_agg(s{person.source}.{quoted(PERSON_INDEX)}, 0, {max(self._persons - 1, 0)})"

    def _class(self) -> str:
        bits = (
            f"CASE WHEN {self._text.predicate(condition)} THEN {2**index} ELSE 0 END"
            for index, condition in enumerate(self._conditions)
        )
        return " + ".join(bits)

    def _value(self, value: LocalValue) -> Output:
        if value.kind == "count":
            return Output("counted", self._count(value.condition))
        total = self._summed(f"SUM({self._text.product(value)}){self._text.filter(value.condition)}")
        if value.field == "p":
            return Output("narrow", self._add(f"TRY_CAST({total} AS BIGINT)"))
        low = self._add(f"TRY_CAST({total} % {HALF}::HUGEINT AS BIGINT)")
        high = self._add(f"TRY_CAST({total} // {HALF}::HUGEINT AS BIGINT)")
        return Output("wide", low, high)


def _positive(condition: Pred | None) -> Pred | None:
    """The condition, or the one of which it is the complement."""
    return condition.part if isinstance(condition, IsNotTrue) else condition


def _pairs(join: Join) -> str:
    return " AND ".join(
        f"s{left.source}.{quoted(left.name)} = s{right.source}.{quoted(right.name)}"
        for left, right in zip(join.left, join.right, strict=True)
    )
