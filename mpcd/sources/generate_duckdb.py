"""One total DuckDB statement for the local part of a plan (pure).

What the statement may contain: quoted identifiers from the roster, integers, and the words below.  No text of the
analyst gets here: the plan has none but names, and names are looked up in the roster before a plan is accepted.

**Total** (SECURITY rule 17): an error that occurs only if a row exists would be an oracle.  So every column is widened
to BIGINT before arithmetic, and a checked plan stays within 63 bits; a product that may exceed them is computed in
HUGEINT; sums are HUGEINT (2^63 rows of 2^63 fit) and come out as two 63-bit halves, or one if the field says so;
divisors go through NULLIF.  All this rests on the declared bounds, which an import enforces.  An expression that could
fail for other values of its columns' types (so, if a file were changed) is wrapped in TRY, which makes it NULL; for
most the narrow types leave no such values.

**Cohorts** count rows where a row is a person, else distinct persons; there are many, and they are made of few *atoms*:
conditions joined by AND, OR and IS NOT TRUE.  So rows are grouped by cell and *class*, the set of atoms that are TRUE,
and every cohort and every filtered sum is put together from classes.  Persons do not add up over classes: their
index (dense in a snapshot) sets one bit per row in a bitmap per cell and class, and bitmaps are OR-ed.  Where bitmaps
would take too much memory, a hash table of (cell, person) holds the classes in which the person was seen, ten times
slower; beyond a few atoms each cohort is a FILTER of its own.
"""

# ruff: noqa: S608  every identifier goes through `quoted`, every value through `number`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
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
    Source,
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

_ATOMS_MAX: Final = 8
"""Conditions that make classes: up to 256 of them."""
_ATOMS_HASHED_MAX: Final = 5
"""Up to 32 classes, so that a set of classes fits a BIGINT."""
_CLASSES_MAX: Final = 2**17
"""Rows of the inner level."""

How = Literal["counted", "complement", "narrow", "wide"]
Mode = Literal["flat", "classes", "bitmaps", "hashes"]


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


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `rows` of one person count: the first by a hash of `columns`, which tells nothing of their values.

    The choice must hang on the person's own rows alone, or one person more would change others' parts too, and noise
    made for one person would not hide it.  So neither the person's id nor its index, which say how many persons come
    before, is hashed; rows that are alike in all else are alike to every question.
    """

    rows: int
    columns: tuple[str, ...]


def generate(
    plan: LogicalPlan,
    roster: Roster,
    tables: Mapping[str, TableRows],
    threads: int = 1,
    rows_per_person: int | None = None,
) -> Statement:
    """The statement for a checked plan.

    Args:
        plan: from `LogicalPlan.from_value`.
        roster: the one against which it was checked.
        tables: the snapshots, by the roster's table name.
        threads: of the engine, to bound the memory of bitmaps.
        rows_per_person: how many joined rows of one person that pass WHERE may count; None: all.
    """
    relation = build(roster, plan.sources, plan.joins)
    cap = None
    if rows_per_person is not None and plan.persons is not None and not plan.persons_unique:
        told = (
            f"s{source}.{quoted(column.name)}"
            for source, table in enumerate(relation.tables)
            for column in table.columns
            if column.type != "person_id"
        )
        cap = Cap(rows_per_person, tuple(told))
    return _Writer(plan, Text(relation.bounds), tables, threads, cap).write()


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

    def cell_cannot_fail(self, keys: Sequence[GroupKey]) -> bool:
        """Whether `cell` stays within BIGINT for all that the columns' types could hold, whatever the keys declare."""
        size = 0
        for key in keys:
            try:
                found = ranges.bounds(key.expr, self._storable)
            except RangeTooWide:
                return False
            size = size * key.places + max(abs(found.low - key.low), abs(found.high - key.low), key.count)
            if max(size, abs(key.low)) > _BIGINT_MAX:
                return False
        return True

    def product(self, value: LocalValue) -> str:
        """One row's contribution to a sum."""
        if len(value.factors) == 2 and max(-value.low, value.high) > _BIGINT_MAX:
            left, right = map(self.total, value.factors)
            return f"CAST({left} AS HUGEINT) * {right}"
        product = " * ".join(map(self.expression, value.factors))
        return product if self._cannot_fail(*value.factors) else f"TRY({product})"


# ------------------------------------------------------------------------------------------------ the statement


def atoms(pred: Pred | None) -> tuple[Pred, ...]:
    """The predicates of which `pred` is made by AND, OR and IS NOT TRUE, each once."""
    match pred:
        case None | Truth():
            return ()
        case And(parts) | Or(parts):
            return tuple(dict.fromkeys(atom for part in parts for atom in atoms(part)))
        case IsNotTrue(part):
            return atoms(part)
        case _:
            return (pred,)


def holds(pred: Pred | None, true: AbstractSet[Pred]) -> bool:
    """Whether `pred` is TRUE for a row for which, among its atoms, exactly those in `true` are TRUE.

    That much is decided by two truth values, since AND and OR are TRUE only by parts that are TRUE.
    """
    match pred:
        case None:
            return True
        case Truth(value):
            return value is True
        case And(parts):
            return all(holds(part, true) for part in parts)
        case Or(parts):
            return any(holds(part, true) for part in parts)
        case IsNotTrue(part):
            return not holds(part, true)
        case _:
            return pred in true


class _Writer:
    """Writes one statement; see the module's theory of operation.

    Flat, `SELECT cell, aggregates FROM ... GROUP BY cell`, or in two levels, GROUP BY cell in the outer one:

        classes  SELECT cell, class, aggregates                          ... GROUP BY cell, class
        bitmaps  SELECT cell, class, aggregates, bitstring_agg(person)   ... GROUP BY cell, class
        hashes   SELECT cell, person, aggregates, bit_or(1 << class)     ... GROUP BY cell, person
    """

    def __init__(
        self, plan: LogicalPlan, text: Text, tables: Mapping[str, TableRows], threads: int, cap: Cap | None = None
    ) -> None:
        self._plan = plan
        self._cap = cap
        self._text = text
        self._tables = tables
        self._columns: list[str] = []
        self._inner: list[str] = []
        self._persons = 0
        if plan.persons is not None:
            self._persons = tables[plan.sources[plan.persons.source].table].persons
        conditions = (*(c.condition for c in plan.cohorts), *(v.condition for v in plan.values))
        self._atoms = tuple(dict.fromkeys(atom for condition in conditions for atom in atoms(condition)))
        self._mode = self._choose(threads)

    def _choose(self, threads: int) -> Mode:
        """The fastest way that fits in memory."""
        count = len(self._atoms)
        classes = max(self._plan.cells, 1) * 2 ** min(count, 64)
        if self._plan.persons is None or self._plan.persons_unique:
            return "classes" if 2 <= count <= _ATOMS_MAX and classes <= _CLASSES_MAX else "flat"
        bitmaps_bytes = classes * (self._persons // 8 + 16) * threads
        if count <= _ATOMS_MAX and bitmaps_bytes <= BITMAP_BYTES_MAX and self._persons <= _BITMAP_PERSONS_MAX:
            return "bitmaps"
        return "hashes" if count <= _ATOMS_HASHED_MAX else "flat"

    def write(self) -> Statement:
        plan = self._plan
        cohorts = tuple(self._cohort(cohort.condition) for cohort in plan.cohorts)
        values = tuple(map(self._value, plan.values))
        fields = ", ".join(f"{text} AS c{index}" for index, text in enumerate(self._columns, start=1))
        cell = self._text.cell(plan.keys)
        if self._mode == "flat":
            sql = f"SELECT {cell} AS c0, {fields} {self._from()}" + (" GROUP BY 1" if plan.keys else "")
        else:
            inner = "".join(f", {text} AS v{index}" for index, text in enumerate(self._inner))
            rows = f"SELECT {cell} AS c0, {self._group()}{inner} {self._from()} GROUP BY 1, 2"
            sql = f"SELECT c0, {fields} FROM ({rows}) GROUP BY c0"
        return Statement(sql, 1 + len(self._columns), cohorts, values)

    def _add(self, text: str) -> int:
        """The column of the result that holds `text`; each text stands there once."""
        if text not in self._columns:
            self._columns.append(text)
        return 1 + self._columns.index(text)

    def _from(self) -> str:
        text = joined(self._plan.sources, self._plan.joins, self._tables)
        if self._plan.where is not None:
            text += f" WHERE {self._text.predicate(self._plan.where)}"
        return text if self._cap is None else self._capped(text, self._cap)

    def _capped(self, text: str, cap: Cap) -> str:
        """Some rows of `text`, each source as a struct of its name, so that columns are still named `s0."column"`."""
        sources = ", ".join(f"s{source}" for source in range(len(self._plan.sources)))
        order = f"hash({', '.join(cap.columns)})" if cap.columns else "0"
        within = f"PARTITION BY {self._person(PERSON_INDEX)} ORDER BY {order}"
        return f"FROM (SELECT {sources} {text} QUALIFY row_number() OVER ({within}) <= {number(cap.rows)}) AS capped"

    # ------------------------------------------------------------------------------------------ classes, persons

    def _class(self) -> str:
        """The row's class: a bit per atom, set where it is TRUE."""
        bits = (
            f"CASE WHEN {self._text.predicate(atom)} THEN {2**index} ELSE 0 END"
            for index, atom in enumerate(self._atoms)
        )
        return " + ".join(bits) or "0"

    def _classes(self, condition: Pred | None) -> list[int]:
        """The classes whose rows pass the condition."""
        sets = (
            frozenset(atom for index, atom in enumerate(self._atoms) if number >> index & 1)
            for number in range(2 ** len(self._atoms))
        )
        return [number for number, true in enumerate(sets) if holds(condition, true)]

    def _class_filter(self, condition: Pred | None) -> str:
        found = self._classes(condition)
        if len(found) == 2 ** len(self._atoms):
            return ""
        return f" FILTER (WHERE class IN ({', '.join(map(str, found))}))" if found else " FILTER (WHERE FALSE)"

    def _person(self, column: str) -> str:
        person = self._plan.persons
        assert person is not None
        return f"s{person.source}.{quoted(column)}"

    def _group(self) -> str:
        """What the inner level groups by besides the cell, and what it knows of persons."""
        if self._mode == "hashes":
            return (
                f"{self._person(PERSON_INDEX)} AS person, bit_or(1::BIGINT << CAST({self._class()} AS BIGINT)) AS seen"
            )
        if self._mode == "classes":
            return f"{self._class()} AS class"
        bitmap = f"bitstring_agg({self._person(PERSON_INDEX)}, 0, {max(self._persons - 1, 0)})"
        return f"{self._class()} AS class, {bitmap} AS persons"

    # ------------------------------------------------------------------------------------------ aggregates

    def _over(self, aggregate: str, condition: Pred | None) -> str:
        """A count or sum over the rows that pass the condition, as the outermost SELECT says it."""
        if self._mode == "flat":
            return aggregate + self._text.filter(condition)
        if self._mode == "hashes":
            aggregate += self._text.filter(condition)
        if aggregate not in self._inner:
            self._inner.append(aggregate)
        outer = f"SUM(v{self._inner.index(aggregate)})"
        return outer if self._mode == "hashes" else outer + self._class_filter(condition)

    def _count(self, condition: Pred | None) -> int:
        count = self._over("COUNT(*)", condition)
        return self._add(count if self._mode == "flat" else f"TRY_CAST({count} AS BIGINT)")

    def _cohort(self, condition: Pred | None) -> Output:
        plan = self._plan
        if plan.persons is None or plan.persons_unique:
            if self._mode == "flat" and isinstance(condition, IsNotTrue):
                return Output("complement", self._count(condition.part), self._count(None))
            return Output("counted", self._count(condition))
        if self._mode == "bitmaps":
            return Output("counted", self._add(f"bit_count(bit_or(persons){self._class_filter(condition)})"))
        if self._mode == "hashes":
            mask = sum(2**number for number in self._classes(condition))
            return Output("counted", self._add(f"COUNT(*) FILTER (WHERE seen & {mask}::BIGINT <> 0::BIGINT)"))
        distinct = f"COUNT(DISTINCT {self._person(PERSON_INDEX)}){self._text.filter(condition)}"
        return Output("counted", self._add(distinct))

    def _value(self, value: LocalValue) -> Output:
        if value.kind == "count":
            return Output("counted", self._count(value.condition))
        total = self._over(f"SUM({self._text.product(value)})", value.condition)
        if value.field == "p":
            return Output("narrow", self._add(f"TRY_CAST({total} AS BIGINT)"))
        low = self._add(f"TRY_CAST({total} % {HALF}::HUGEINT AS BIGINT)")
        high = self._add(f"TRY_CAST({total} // {HALF}::HUGEINT AS BIGINT)")
        return Output("wide", low, high)


def joined(sources: Sequence[Source], joins: Sequence[Join], tables: Mapping[str, TableRows]) -> str:
    """The FROM clause: the first source is `s0`, and so on."""

    def table(place: int) -> str:
        return f"{quoted(tables[sources[place].table].catalog)}.main.{quoted(ROWS)} AS s{place}"

    text = f"FROM {table(0)}"
    for place, join in enumerate(joins, start=1):
        text += f" {'JOIN' if join.kind == 'inner' else 'LEFT JOIN'} {table(place)} ON {_pairs(join)}"
    return text


def _pairs(join: Join) -> str:
    return " AND ".join(
        f"s{left.source}.{quoted(left.name)} = s{right.source}.{quoted(right.name)}"
        for left, right in zip(join.left, join.right, strict=True)
    )
