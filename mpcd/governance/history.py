"""Which sets of persons earlier questions were about: canonical definitions, and what an owner keeps of them (pure).

Theory of operation.  Two questions, each above the floor, tell about few people if the rows that they sum differ by the
rows of few people.  So an owner remembers *what* was asked, as definitions that anybody with the roster can evaluate
again, never who was in a set; every new question is compared with them on shares (`mpcd.release.differencing`).  Here:
what a definition is, when two questions have the same one, which an owner keeps, and why that is enough.

*What is compared.*  Of sums over rows A (now) and B (before), a * sum(A) + b * sum(B) stands, as a and b are chosen, on
A, on B, on their union, or on their symmetric difference A xor B: the others are above the floor if A and B are.  The
difference is one of *rows*, counted as the distinct persons who have one, so that "in 2020" and "in 2021" of the same
patients are far apart.  The sets of a question are those whose sums it tells: the inside of every gate that a value
hangs on, what the gate's `also` isolates from the question's own outputs (so that SUM of a column of zeros and ones is
known to be a count), the complement only where the whole cell is told too; each per cell, per value of each key, and
over all cells.  Complements that nobody can compute are left out: a suppressed AVG(x) must not stand in the way of
WHERE x IS NOT NULL for ever.

*Unions of cells.*  A grouped answer tells the sum over every union of its cells: GROUP BY age and then "61 to 80
without one" is a pair.  Comparing cell by cell does not see it.  So a set is also compared with the union of those
cells of the other question that can share a row with it, in both directions, and the finest unions that both groupings
tell (thirty years, of bands of ten and of fifteen) with one another.  That follows from the texts, not from the data,
so all parties agree on it.  Other unions are like any other combination of many sums: not stopped.

*Released or not.*  No owner knows which cells were released: that is the analyst's.  So all count.

*A difference of nobody* is refused like a small one (rule 21), or the refusal would tell whether the difference has
members.  Only what is the same set in *every* database is let through: the same relation, owners, and conditions, where
conditions on one column are compared as sets of values (`x >= 5` is `x > 4`, a GROUP BY's cell is the WHERE that it
stands for).  Sets that are disjoint in every database are not compared: their union holds both.  Both are decided from
text, the roster and nothing else; a relation that is not recognised to be the same costs an answer, never a person.

*Two sessions at once.*  An owner answers a proposal and in the same step registers its definition as pending; the
answer lists what was known before, pending ones of other sessions included.  The session compares with the union of all
owners' lists.  An owner does one thing at a time, so of any two sessions that it agreed to, the later one's list has
the earlier one: at least one of them is compared with the other, whatever the others do, and whoever proposes in which
order.  (Both may be, if owners saw them in different orders: then both are compared, which is sound.)

*First come.*  Of two sets that are too near to one another the one that was asked about first is answered, as often as
it is asked about, and the other never: or whoever asks for nearly the same would take from all others what they were
told, and asking again would answer differently (rule 21: identical plans return the stored result).  So each owner
gives every definition a place, by the moment when it first answered about it, and lists only what stands before.  Of
two definitions the later one then meets the earlier one in *every* session, at every owner that has answered both.  The
place is fixed when the answer goes out, not when the session commits: a session that overtakes another between these
two moments would otherwise leave a pair of which neither meets the other.  A definition whose sessions all aborted
loses its place.

*Owners with different histories.*  The union makes one honest owner's word enough: no owner can hide a question from
the others.  It may name what the others do not know, since a session was aborted or withheld at one of them, a place
was restored, or a party is new or only computes: whoever lacks a definition asks the one who listed it for its bytes,
which the digest proves, and ends the session with `Busy` if they do not come.  They are kept in memory alone: a lying
owner cannot push out or add anything to what another has agreed to itself.

*Sets that nobody asked about.*  Whether a cell is hidden tells whether the question's set is near to an earlier one.
An owner that could list any set would so ask others about their rows by any condition, allowed or not.  Therefore an
owner has its rows evaluated only for definitions that it once answered itself, which it never forgets (by digest), and
for such as another owner proves to be asked by an analyst whom it accepts and would answer: by the analyst's signed
request, planned anew (`daemon.vouching`).  Honest owners list nothing else, but for sessions that are under way and
questions that the owner's policy has ceased to allow since its state was lost; meeting one ends the session with the
name of the owner that listed it, because ignoring it would let two sessions miss one another.  An owner that a
definition does not name evaluates nothing for it; `check` holds the definition to what a planner makes.  What is left
to a lying owner and an analyst in league with it: to have a question compared that this analyst signed, may ask, and
never ran.  It tells no more than asking both would, spends no budget, and stands in the ledger of each owner.

*Aborted sessions.*  Sealed bytes leave only after every owner has recorded (rule 16).  So a session that ends here
before `recorded` was not and will not be released, and its definition goes in the same transaction as the session, at a
restart too.  One that is recorded stays, released or withheld: another owner may have released it.

*Owners come and go.*  A definition names its owners.  For an owner that was not among them the earlier set is empty,
because its rows were in no sum: the whole of its part is then the difference, and `min_owners` asks for more than one.

*Data versions.*  Definitions are evaluated on the present version, all of them.  A question that was answered on an
older version is thus compared as if it were asked today; what the same question tells about the persons who came or
went between two versions is not stopped (THREATS).  A definition is about a table as the roster defines it; under
another definition of the table its codes mean other things, and it is no longer compared.

*Pushing out.*  An owner keeps `HISTORY_DEFINITIONS_MAX` definitions for each table.  Were the oldest to go whenever a
new one comes, a thousand harmless questions would buy the one that matters.  So nothing younger than
`HISTORY_DAYS_MIN` ever goes: where all are younger, a question with a *new* definition is refused (the same cohort may
be asked about as often as one likes), and no analyst may hold more than half of the places with young ones, so that
one cannot shut out the rest.  A question that joins tables is refused too where their young ones do not all fit its
list.  Flooding then takes a month and a thousand paid, logged, signed questions of several
analysts; the ledger shows it, and a budget per period (`queries`) makes it impossible.

*Clamping* at the threshold of the session is exact for both rules (`mpcd.release.differencing`).  *Persons not
disjoint over owners*: the floor asks the second-largest owner's own difference, as for cells.  *Margins*: a margin of
this question that is near to something hides all its cells; those that are left add up to less than the margin.

*Different relations.*  Between questions that join different tables rows do not correspond, but persons do, by the
owner's person id: the sets of persons are compared (whoever has a row in one and none in the other takes part in every
combination).  Without person ids, rows of the same first table are persons.  Questions that share no table, or of
which only one has a person id, are not compared.

Rejected: keeping the persons' sets themselves (a stolen state file would name people; sets go stale with each version);
local comparison by each owner for itself (the pooled difference may be large where each owner's is small, and what is
small at one owner may be nobody at another); a list of past digests in the signed plan (the analyst gets the plan, and
digests of questions can be guessed: the plan binds a salted digest of the list instead).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from mpcd import canonical, limits
from mpcd.canonical import Value
from mpcd.errors import PlanInvalid, PlanUnsupported, RangeTooWide
from mpcd.ids import PartyId
from mpcd.plan import ranges
from mpcd.plan.domains import Domains, Values, split
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.nodes import (
    EXPR,
    JOIN,
    PRED,
    And,
    ColumnRef,
    Compare,
    Constant,
    Expr,
    InSet,
    IsNull,
    Join,
    Or,
    Pred,
    Source,
    Truth,
    columns_of,
    conjuncts,
    walk,
)
from mpcd.plan.relation import Relation, build
from mpcd.results.schema import FormError
from mpcd.roster.model import Roster, Table

DIGEST_BYTES: Final = canonical.DIGEST_BYTES
RUNS_MAX: Final = 256
"""A column's values in more intervals than this are kept as the conditions that were written."""
_DOMAIN: Final = "history"
_LEAST_MAX: Final = 2**63
"""Values have 63 bits; what a peer sends is held to it before any arithmetic."""


def table_digest(table: Table) -> bytes:
    """What the roster says about the rows of a table, as far as conditions on it depend on that."""
    columns: list[Value] = [
        [c.name, c.type, str(c.low), str(c.high), c.decimals, list(c.levels), c.may_be_null, c.unique]
        for c in table.columns
    ]
    return canonical.digest("history-table", [table.name, table.person_id, columns])


@dataclass(frozen=True, slots=True)
class Region:
    """A set of rows: conditions that are all TRUE, in one form for all ways of writing them that are recognised."""

    columns: tuple[tuple[ColumnRef, Values], ...]
    """What conditions over one column leave of it, for columns of which they exclude something; ascending."""
    rest: tuple[Pred, ...]
    """The conditions over several columns, ascending by their canonical bytes."""

    @staticmethod
    def of(conditions: Iterable[Pred], domains: Domains) -> Region | None:
        """The rows for which all conditions are TRUE; None if there is none in any database."""
        left: dict[ColumnRef, Values] = {}
        written: dict[ColumnRef, list[Pred]] = {}
        rest: dict[bytes, Pred] = {}
        for condition in (one for whole in conditions for one in split(whole)):
            if isinstance(condition, Truth):
                if condition.value is not True:
                    return None
                continue
            columns = columns_of(condition)
            column = next(iter(columns)) if len(columns) == 1 else None
            truths = None if column is None else domains.truths(condition, column)
            if column is None or truths is None:
                rest[_bytes(condition)] = condition
                continue
            left[column] = left.get(column, domains.declared(column)) & truths.true
            written.setdefault(column, []).append(condition)
        if any(values.is_empty for values in left.values()):
            return None
        kept = {}
        for column, values in left.items():
            if len(values.runs) > RUNS_MAX:
                rest |= {_bytes(condition): condition for condition in written[column]}
            elif values != domains.declared(column):
                kept[column] = values
        return Region(
            tuple(sorted(kept.items(), key=lambda item: (item[0].source, item[0].name))),
            tuple(condition for _, condition in sorted(rest.items())),
        )

    def predicate(self) -> Pred:
        """The same as one condition that an engine can evaluate."""
        parts = [_within(column, values) for column, values in self.columns] + list(self.rest)
        return parts[0] if len(parts) == 1 else And(tuple(parts)) if parts else Truth(True)

    def to_value(self) -> Value:
        """For the canonical encoding."""
        columns: list[Value] = [
            [column.source, column.name, [[str(low), str(high)] for low, high in values.runs], values.null]
            for column, values in self.columns
        ]
        return [columns, [_plain(PRED.encode(condition)) for condition in self.rest]]

    @classmethod
    def from_value(cls, value: Value) -> Self:
        """The inverse; raises ValueError."""
        columns, rest = _pair(value)
        found = tuple(_column(item) for item in _list(columns))
        return cls(found, tuple(PRED.decode(item) for item in _list(rest)))


def _within(column: ColumnRef, values: Values) -> Pred:
    """That the column has one of the values."""
    single = tuple(low for low, high in values.runs if low == high)
    parts: list[Pred] = [
        And((Compare(">=", column, Constant(low)), Compare("<=", column, Constant(high))))
        for low, high in values.runs
        if low != high
    ]
    if single:
        parts.append(InSet(column, single))
    if values.null:
        parts.append(IsNull(column))
    elif not parts:
        return Truth(False)
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


@dataclass(frozen=True, slots=True)
class Key:
    """A group key without its name; see `plan.nodes.GroupKey`."""

    expr: Expr
    low: int
    count: int
    nullable: bool

    @property
    def places(self) -> int:
        """How many codes there are, that of NULL included."""
        return self.count + self.nullable


@dataclass(frozen=True)
class Definition:
    """The sets of persons of one question; what it sums over them does not matter."""

    tables: tuple[tuple[str, bytes], ...]
    """Per source the table and `table_digest`."""
    joins: tuple[Join, ...]
    owners: tuple[PartyId, ...]
    keys: tuple[Key, ...]
    sets: tuple[Region, ...]
    """Ascending by their canonical bytes, each once."""

    @property
    def names(self) -> frozenset[str]:
        """The tables that it reads."""
        return frozenset(name for name, _ in self.tables)

    @cached_property
    def body(self) -> bytes:
        """Canonical bytes."""
        return canonical.encode(self.to_value())

    @cached_property
    def digest(self) -> bytes:
        """What names it, 32 bytes."""
        return canonical.digest_bytes(_DOMAIN, self.body)

    def to_value(self) -> dict[str, Value]:
        """For the canonical encoding."""
        return {
            "tables": [[name, digest] for name, digest in self.tables],
            "joins": [_plain(JOIN.encode(join)) for join in self.joins],
            "owners": [int(owner) for owner in self.owners],
            "keys": [[_plain(EXPR.encode(k.expr)), str(k.low), k.count, k.nullable] for k in self.keys],
            "sets": [region.to_value() for region in self.sets],
        }

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """The inverse of `body`, for bytes from our own store or from a peer.

        Raises:
            ValueError: not the canonical bytes of a definition.
        """
        if len(body) > limits.HISTORY_DEFINITION_BYTES_MAX:
            raise ValueError("too long for a definition")
        value = canonical.decode(body)
        if not isinstance(value, dict):
            raise ValueError("not a definition")  # noqa: TRY004  one error for all bytes that are none
        try:
            found = cls(
                tuple((_text(name), _digest(digest)) for name, digest in map(_pair, _list(value["tables"]))),
                tuple(JOIN.decode(item) for item in _list(value["joins"])),
                tuple(PartyId(_whole(item)) for item in _list(value["owners"])),
                tuple(_key(item) for item in _list(value["keys"])),
                tuple(Region.from_value(item) for item in _list(value["sets"])),
            )
        except (KeyError, TypeError, FormError) as error:
            raise ValueError("not a definition") from error
        if found.body != body or not (found.tables and found.sets and found.owners):
            raise ValueError("not the canonical form of a definition")
        if math.prod(key.places for key in found.keys) > limits.CELLS_MAX:
            raise ValueError("more cells than any question has")
        if list(found.owners) != sorted(set(found.owners)):
            raise ValueError("owners must ascend")
        if list(found.sets) != sorted(set(found.sets), key=_region_bytes):
            raise ValueError("sets must ascend")
        return found

    def sources(self) -> tuple[Source, ...]:
        """The tables as a plan names them."""
        return tuple(Source(name, f"t{place}") for place, (name, _) in enumerate(self.tables))

    def fits(self, relation: Relation) -> bool:
        """Whether all that it compares is there."""
        try:
            for column in self._columns:
                relation.column(column)
        except KeyError:
            return False
        return True

    @cached_property
    def _columns(self) -> frozenset[ColumnRef]:
        return columns_of(*(key.expr for key in self.keys), *(region.predicate() for region in self.sets))


def relation_of(definition: Definition, roster: Roster) -> Relation | None:
    """The joined rows under the present roster; None if it defines a table otherwise, or allows no such join."""
    try:
        if any(table_digest(roster.table(name)) != digest for name, digest in definition.tables):
            return None
        return build(roster, definition.sources(), definition.joins)
    except (KeyError, PlanInvalid, PlanUnsupported):
        return None


def check(definition: Definition, roster: Roster) -> None:
    """Hold a definition from a peer to what the planner makes of requests, as far as the roster still has its tables.

    One that does not fit the roster is compared with nothing, so nothing is asked of it.

    Raises:
        ValueError: no request has such a definition.
    """
    relation = relation_of(definition, roster)
    if relation is None:
        return
    try:
        for region in definition.sets:
            for column, values in region.columns:
                _check_column(relation, column)
                found = relation.bounds(column)
                outside = any(not found.low <= low <= high <= found.high for low, high in values.runs)
                if values.is_empty or outside or (values.null and not found.nullable):
                    raise ValueError("values that the column cannot have")
        _check_nodes(definition, relation)
        for key in definition.keys:
            found = ranges.bounds(key.expr, relation.bounds)
            if not key.low <= found.low <= found.high < key.low + key.count or key.nullable != found.nullable:
                raise ValueError("a key's codes are not those of its expression")
    except RangeTooWide as error:
        raise ValueError("an expression may leave its range") from error


def _check_nodes(definition: Definition, relation: Relation) -> None:
    keys = (key.expr for key in definition.keys)
    nodes = list(walk(*keys, *(condition for region in definition.sets for condition in region.rest)))
    for node in nodes:
        if isinstance(node, ColumnRef):
            _check_column(relation, node)
    for node in nodes:
        if isinstance(node, Expr):
            ranges.bounds(node, relation.bounds)


def _check_column(relation: Relation, ref: ColumnRef) -> None:
    try:
        column = relation.column(ref)
    except KeyError:
        raise ValueError("a column that is not there") from None
    if column.type == "person_id":
        raise ValueError("a condition on person ids")


@dataclass(frozen=True, slots=True)
class Question:
    """The definition of a plan, and which of its sets each of the plan's gates hangs on."""

    definition: Definition
    gates: tuple[tuple[int, ...], ...]
    """Per gate, indices into `definition.sets`; none for a gate without values."""


def question(plan: LogicalPlan, roster: Roster) -> Question:
    """What a plan asks about whom.

    Raises:
        PlanUnsupported: too many or too long conditions to be remembered.
    """
    relation = build(roster, plan.sources, plan.joins)
    domains = Domains(relation)
    where = conjuncts(plan.where)
    told = _told(plan)
    regions: dict[int, Region | None] = {}
    for cohort in sorted({cohort for cohorts in told for cohort in cohorts}):
        regions[cohort] = Region.of((*where, *conjuncts(plan.cohorts[cohort].condition)), domains)
    ordered = sorted({region for region in regions.values() if region is not None}, key=_region_bytes)
    place = {region: index for index, region in enumerate(ordered)}
    definition = Definition(
        tuple((source.table, table_digest(roster.table(source.table))) for source in plan.sources),
        plan.joins,
        tuple(sorted(plan.owners)),
        tuple(Key(key.expr, key.low, key.count, key.nullable) for key in plan.keys),
        tuple(ordered) or (Region((), (Truth(False),)),),
    )
    if len(definition.body) > limits.HISTORY_DEFINITION_BYTES_MAX:
        raise PlanUnsupported(
            "the conditions of this question are too long to be compared with later ones; ask for fewer outputs or "
            "shorter conditions at once"
        )
    found = [[regions[cohort] for cohort in cohorts] for cohorts in told]
    gates = tuple(tuple(sorted({place[one] for one in gate if one is not None})) for gate in found)
    return Question(definition, gates)


def _told(plan: LogicalPlan) -> list[tuple[int, ...]]:
    """Per gate the cohorts whose sums follow from its values; see the theory of operation."""
    with_values = {value.gate for value in plan.values} or {0}
    whole = any(plan.gates[gate].inside == 0 for gate in with_values)
    told: list[tuple[int, ...]] = []
    for index, gate in enumerate(plan.gates):
        cohorts = {gate.inside, *gate.also}
        if whole and gate.complement is not None:
            cohorts.add(gate.complement)
        told.append(tuple(sorted(cohorts)) if index in with_values else ())
    return told


# ------------------------------------------------------------------------------------------------ what an owner keeps


@dataclass(frozen=True, slots=True)
class Kept:
    """One definition as an owner keeps it."""

    digest: bytes
    tables: frozenset[str]
    analyst: bytes
    """Who asked about it last."""
    at: int
    """When, milliseconds since 1970."""
    first: int
    """Its place among all that this owner ever answered, by the moment of the first answer."""


def before(known: Iterable[Kept], new: Definition, following: int) -> tuple[int, list[Kept]]:
    """The place of a definition in this owner's order, and what stands before it; see "First come".

    Args:
        known: all that this owner keeps, and what is being asked just now.
        new: the question's definition.
        following: the next free place.
    """
    there = {one.digest: one for one in known if one.tables & new.names}
    own = there.get(new.digest)
    first = following if own is None else own.first
    return first, [one for one in there.values() if one.first < first]


DAY_MILLISECONDS: Final = 86_400_000


def room(kept: Sequence[Kept], new: Definition, analyst: bytes, at: int) -> str | None:
    """Why a question with this definition cannot be remembered, None if it can; see "Pushing out".

    Args:
        kept: all that this owner keeps about any of the question's tables.
        new: the question's definition.
        analyst: who asks, raw key.
        at: the session's time, milliseconds since 1970.
    """
    if any(one.digest == new.digest for one in kept):
        return None
    young = [one for one in kept if at - one.at < limits.HISTORY_DAYS_MIN * DAY_MILLISECONDS]
    for table in sorted(new.names):
        there = [one for one in young if table in one.tables]
        own = sum(one.analyst == analyst for one in there)
        if len(there) >= limits.HISTORY_DEFINITIONS_MAX or own >= limits.HISTORY_DEFINITIONS_MAX // 2:
            return FULL
    return None


FULL: Final = (
    f"too many different groups of persons were asked about within {limits.HISTORY_DAYS_MIN} days for one more to be "
    "kept apart from them; ask about one of the same groups again, or later"
)


def told(earlier: Iterable[Kept], at: int) -> list[Kept] | None:
    """What of it an owner lists: all, but for old ones where there are too many; None if a young one had to go.

    A question that joins tables meets the definitions of each of them: cutting the list would let a flood about one
    table push out what was asked about another.

    Args:
        earlier: what stands before the question.
        at: the session's time, milliseconds since 1970.
    """
    newest = sorted(earlier, key=lambda one: one.at, reverse=True)
    left_out = newest[limits.HISTORY_LISTED_MAX :]
    if left_out and at - left_out[0].at < limits.HISTORY_DAYS_MIN * DAY_MILLISECONDS:
        return None
    return newest[: limits.HISTORY_LISTED_MAX]


def too_many(kept: Sequence[Kept]) -> list[bytes]:
    """Digests of the definitions to forget: the oldest beyond the limit, for every one of their tables."""
    counts: dict[str, int] = {}
    forgotten = []
    for one in sorted(kept, key=lambda item: item.at, reverse=True):
        if all(counts.get(table, 0) >= limits.HISTORY_DEFINITIONS_MAX for table in one.tables):
            forgotten.append(one.digest)
            continue
        for table in one.tables:
            counts[table] = counts.get(table, 0) + 1
    return forgotten


def joined(lists: Sequence[bytes]) -> tuple[bytes, ...]:
    """The union of owners' lists, ascending.

    Args:
        lists: each the digests of one owner, one after the other.

    Raises:
        ValueError: not a list of digests, or longer than an owner may list.
    """
    found = sorted({digest for one in lists for digest in listed(one)})
    if len(found) > 2 * limits.HISTORY_LISTED_MAX:
        raise ValueError("the owners' lists have too little in common")
    return tuple(found)


def listed(packed: bytes) -> tuple[bytes, ...]:
    """The digests of one list; raises ValueError."""
    if len(packed) % DIGEST_BYTES or len(packed) > limits.HISTORY_LISTED_MAX * DIGEST_BYTES:
        raise ValueError("not a list of digests")
    found = tuple(packed[start : start + DIGEST_BYTES] for start in range(0, len(packed), DIGEST_BYTES))
    if list(found) != sorted(set(found)):
        raise ValueError("digests must ascend")
    return found


def commitment(digests: Sequence[bytes], nonces: Mapping[PartyId, bytes]) -> bytes:
    """What the signed plan says of the list: a digest that tells nothing to whom does not know the parties' nonces."""
    salt: list[Value] = [[int(party), nonces[party]] for party in sorted(nonces)]
    return canonical.digest("history-list", [list(digests), salt])


# ------------------------------------------------------------------------------------------------ canonical forms


def _plain(value: object) -> Value:
    """What a form encodes, as a canonical value."""
    return value  # type: ignore[return-value]  # forms encode to canonical values


def _bytes(condition: Pred) -> bytes:
    return canonical.encode(PRED.encode(condition))


def _region_bytes(region: Region) -> bytes:
    return canonical.encode(region.to_value())


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _pair(value: Value) -> tuple[Value, Value]:
    first, second = _list(value)
    return first, second


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _digest(value: Value) -> bytes:
    if not isinstance(value, bytes) or len(value) != DIGEST_BYTES:
        raise TypeError("expected a digest")
    return value


def _whole(value: Value) -> int:
    if type(value) is not int:
        raise TypeError("expected a whole number")
    return value


def _key(value: Value) -> Key:
    expr, low, count, nullable = _list(value)
    least = int(_text(low))
    if type(nullable) is not bool or not 1 <= _whole(count) <= limits.CELLS_MAX or abs(least) >= _LEAST_MAX:
        raise TypeError("not a key")
    return Key(EXPR.decode(expr), least, _whole(count), nullable)


def _column(value: Value) -> tuple[ColumnRef, Values]:
    source, name, runs, null = _list(value)
    if type(null) is not bool or not 0 <= _whole(source) < limits.PLAN_SOURCES_MAX or len(_list(runs)) > RUNS_MAX:
        raise TypeError("not a column's values")
    found = tuple((int(_text(low)), int(_text(high))) for low, high in map(_pair, _list(runs)))
    last = -_LEAST_MAX
    for low, high in found:
        if not last < low <= high < _LEAST_MAX:
            raise TypeError("intervals must ascend, with a gap between any two")
        last = high + 1
    return ColumnRef(_whole(source), _text(name)), Values(found, null)
