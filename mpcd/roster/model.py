"""The roster's values: who takes part, which tables are pooled, what their columns may hold (layer 2, no I/O).

Every number that a column may hold is known to all parties as an integer, its *stored form*: an integer as it is, a
decimal times 10^decimals, a dictionary value as its 0-based place among the levels, a date as days since 1970-01-01,
a boolean as 0 or 1.  Snapshots hold stored forms, plans are arithmetic over them, and `low` and `high` bound them;
there is no floating point between a hospital's row and a pooled sum.

What the roster says is public to the consortium, so bounds and levels describe what a column *may* hold, never what
one hospital's rows do hold.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Literal

from mpcd import canonical, limits
from mpcd.ids import COMPUTE_PARTIES, PartyId, RosterHash
from mpcd.results.schema import Form, FormError, big, boolean, integer, optional, record, sequence, text, word

ColumnType = Literal["integer", "decimal", "dictionary", "date", "boolean", "person_id"]
PartyRole = Literal["input", "compute"]

COLUMN_TYPES: Final[tuple[ColumnType, ...]] = ("integer", "decimal", "dictionary", "date", "boolean", "person_id")
BOUND_MAX: Final = 2**53
"""Stored forms are at most this in size, so that sums over declared rows can be planned."""
DECIMALS_MAX: Final = 9
LEVELS_MAX: Final = 10_000
NAME_BYTES_MAX: Final = 128
EPOCH: Final = dt.date(1970, 1, 1)


class RosterError(ValueError):
    """A roster that makes no sense; `subject` is the path to the part, e.g. `("table", 0, "column", 2, "bounds")`."""

    def __init__(self, message: str, *subject: str | int) -> None:
        super().__init__(message)
        self.subject = subject


@dataclass(frozen=True, slots=True)
class Party:
    """One hospital's daemon; keys are text forms of `mpcd.identity`, opaque here."""

    id: PartyId
    name: str
    channel_key: str
    signing_key: str
    roles: tuple[PartyRole, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One published column; `low` and `high` bound its stored form."""

    name: str
    type: ColumnType
    low: int = 0
    high: int = 0
    decimals: int = 0
    levels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Codes of the source that mean NULL, as text; numeric columns compare them as numbers."""
    unit: str = ""
    nullable: bool = False
    unique: bool = False
    """No value occurs twice in one owner's table."""
    event_level: str = ""
    """For an outcome: the level (or the number, as text) that counts as the event."""

    @property
    def may_be_null(self) -> bool:
        """Whether NULL is a category of its own: declared nullable, or with missing codes."""
        return self.nullable or bool(self.missing)

    @property
    def bounds(self) -> tuple[int, int]:
        """Lowest and highest stored form."""
        return self.low, self.high

    @property
    def scale(self) -> int:
        """What a stored form is multiplied by: 10^decimals."""
        return int(10**self.decimals)

    def stored(self, value: Fraction) -> int | None:
        """The stored form of a number, None if it has none exactly."""
        scaled = value * self.scale
        return int(scaled) if scaled.denominator == 1 else None


@dataclass(frozen=True, slots=True)
class Table:
    """One pooled table: each owner has its own rows of it."""

    name: str
    rows_max: int
    """Most rows that any one owner may publish."""
    rows_disjoint: bool
    """No row is held by two owners."""
    persons_disjoint: bool
    """No person is known to two owners."""
    person_id: str | None
    """Name of the column that tells persons apart within one owner; None if each row is a person."""
    owners: tuple[PartyId, ...]
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """The column of that exact name; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Signature:
    """One party's signature over the roster's hash."""

    party: PartyId
    signature: bytes


@dataclass(frozen=True, slots=True)
class Roster:
    """One version of the consortium's roster; `hash()` covers all but the signatures."""

    consortium: str
    version: int
    parties: tuple[Party, ...]
    tables: tuple[Table, ...]
    signatures: tuple[Signature, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check(self)

    def party(self, party: PartyId) -> Party:
        """The party of that id; raises KeyError."""
        for candidate in self.parties:
            if candidate.id == party:
                return candidate
        raise KeyError(party)

    def table(self, name: str) -> Table:
        """The table of that exact name; raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    @property
    def compute_parties(self) -> tuple[Party, ...]:
        """Parties that may compute, in the roster's order."""
        return tuple(party for party in self.parties if "compute" in party.roles)

    def signed_value(self) -> object:
        """What is hashed and signed."""
        return _CONTENT.encode(self)

    def hash(self) -> RosterHash:
        """Digest of everything but the signatures."""
        return RosterHash(canonical.digest("roster", self.signed_value()))

    def to_value(self) -> object:
        """Canonical value, signatures included."""
        return {"content": self.signed_value(), "signatures": _SIGNATURES.encode(self.signatures)}

    @staticmethod
    def from_value(value: object) -> Roster:
        """Strict inverse of `to_value`; raises `FormError`."""
        if not isinstance(value, dict) or value.keys() != {"content", "signatures"}:
            raise FormError(": expected a map with exactly the fields content, signatures")
        content = _CONTENT.decode(value["content"])
        signatures = _SIGNATURES.decode(value["signatures"])
        return Roster(content.consortium, content.version, content.parties, content.tables, signatures)


# ------------------------------------------------------------------------------------------------ what makes sense


def check(roster: Roster) -> None:
    """Raise `RosterError` unless the roster makes sense."""
    _check_name(roster.consortium, "consortium")
    if roster.version < 1:
        raise RosterError("versions count from 1", "version")
    _check_parties(roster)
    _check_unique([table.name.casefold() for table in roster.tables], "table", "name")
    for index, table in enumerate(roster.tables):
        _check_table(roster, table, index)


def _check_parties(roster: Roster) -> None:
    _check_unique([party.id for party in roster.parties], "party", "id")
    _check_unique([party.name for party in roster.parties], "party", "name")
    keys = [(i, f, k) for i, p in enumerate(roster.parties) for f, k in _keys(p)]
    _check_keys(keys)
    for index, party in enumerate(roster.parties):
        _check_name(party.name, "party", index, "name")
        if party.id < 0:
            raise RosterError("party ids count from 0", "party", index, "id")
        if not party.roles or len(set(party.roles)) != len(party.roles):
            raise RosterError('roles must be some of "input", "compute", each once', "party", index, "roles")
    if len(roster.compute_parties) < COMPUTE_PARTIES:
        raise RosterError(
            f"{len(roster.compute_parties)} parties may compute; at least {COMPUTE_PARTIES} are needed", "party"
        )


def _keys(party: Party) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("channel_key", party.channel_key), ("signing_key", party.signing_key)


def _check_keys(keys: list[tuple[int, str, str]]) -> None:
    seen: set[str] = set()
    for index, name, key in keys:
        if not key:
            raise RosterError(f"{name} is empty", "party", index, name)
        if key in seen:
            raise RosterError("this key already serves another purpose or party", "party", index, name)
        seen.add(key)


def _check_table(roster: Roster, table: Table, index: int) -> None:
    place = ("table", index)
    _check_name(table.name, *place, "name")
    if not 1 <= table.rows_max <= limits.ROWS_PER_OWNER_MAX:
        raise RosterError(f"rows_max must be 1 to {limits.ROWS_PER_OWNER_MAX}", *place, "rows_max")
    if not table.owners or len(set(table.owners)) != len(table.owners):
        raise RosterError("owners must name at least one party, each once", *place, "owners")
    if len(table.owners) > limits.INPUT_OWNERS_MAX:
        raise RosterError(f"at most {limits.INPUT_OWNERS_MAX} owners", *place, "owners")
    inputs = {party.id for party in roster.parties if "input" in party.roles}
    for owner in table.owners:
        if owner not in inputs:
            raise RosterError(f"owner {owner} is no party with the role input", *place, "owners")
    if not table.columns:
        raise RosterError("a table needs columns", *place)
    _check_unique([column.name.casefold() for column in table.columns], *place, "column", "name")
    for position, column in enumerate(table.columns):
        _check_column(column, *place, "column", position)
    persons = [column.name for column in table.columns if column.type == "person_id"]
    if persons != ([] if table.person_id is None else [table.person_id]):
        raise RosterError("person_id must name the one column of type person_id, if there is one", *place, "person_id")


def _check_column(column: Column, *place: str | int) -> None:
    _check_name(column.name, *place, "name")
    if column.type not in COLUMN_TYPES:
        raise RosterError(f"type must be one of {', '.join(COLUMN_TYPES)}", *place, "type")
    if not 0 <= column.decimals <= DECIMALS_MAX or (column.decimals and column.type != "decimal"):
        raise RosterError(f"decimals must be 0 to {DECIMALS_MAX}, and are for type decimal", *place, "decimals")
    if not -BOUND_MAX <= column.low <= column.high <= BOUND_MAX:
        raise RosterError(
            f"bounds must be [lowest, highest] within ±{BOUND_MAX} in stored form (times 10^decimals)", *place, "bounds"
        )
    if column.type == "date" and not _is_day(column.low, column.high):
        raise RosterError("dates lie between 0001-01-01 and 9999-12-31", *place, "bounds")
    _check_levels(column, *place)
    if len(set(column.missing)) != len(column.missing):
        raise RosterError("a missing code is listed twice", *place, "missing")
    if set(column.missing) & set(column.levels):
        raise RosterError("a level cannot also mean missing", *place, "missing")
    if column.type == "person_id" and column.may_be_null:
        raise RosterError("a person id cannot be missing", *place, "nullable")
    if column.event_level and column.levels and column.event_level not in column.levels:
        raise RosterError("event_level must be one of the levels", *place, "event_level")


def _check_levels(column: Column, *place: str | int) -> None:
    if column.type == "dictionary":
        if not 1 <= len(column.levels) <= LEVELS_MAX:
            raise RosterError(f"a dictionary needs 1 to {LEVELS_MAX} levels", *place, "levels")
        _check_unique(list(column.levels), *place, "levels")
        expected = (0, len(column.levels) - 1)
    elif column.levels:
        raise RosterError("levels are for type dictionary", *place, "levels")
    elif column.type == "boolean":
        expected = (0, 1)
    elif column.type == "person_id":
        expected = (0, 0)
    else:
        return
    if column.bounds != expected:
        raise RosterError(f"bounds of type {column.type} are not declared", *place, "bounds")


def _is_day(low: int, high: int) -> bool:
    return (dt.date.min - EPOCH).days <= low <= high <= (dt.date.max - EPOCH).days


def _check_name(name: str, *place: str | int) -> None:
    if not name or len(name.encode()) > NAME_BYTES_MAX or not name.isprintable() or name != name.strip():
        raise RosterError(f"a name is 1 to {NAME_BYTES_MAX} bytes of printable text without outer spaces", *place)


def _check_unique(names: list[str] | list[PartyId], *place: str | int) -> None:
    seen: set[object] = set()
    *outer, last = place
    for index, name in enumerate(names):
        if name in seen:
            raise RosterError(f"{name!r} is used twice", *outer, index, last)
        seen.add(name)


# ------------------------------------------------------------------------------------------------ canonical forms

_name: Final = text(NAME_BYTES_MAX)
_party: Final = integer(0, 2**31)
_COLUMN: Final = record(
    Column,
    name=_name,
    type=word(*COLUMN_TYPES),
    low=big,
    high=big,
    decimals=integer(0, DECIMALS_MAX),
    levels=sequence(text(), LEVELS_MAX),
    missing=sequence(text(), 64),
    unit=text(64),
    nullable=boolean,
    unique=boolean,
    event_level=text(),
)
_TABLE: Final = record(
    Table,
    name=_name,
    rows_max=integer(1, limits.ROWS_PER_OWNER_MAX),
    rows_disjoint=boolean,
    persons_disjoint=boolean,
    person_id=optional(_name),
    owners=sequence(_party, limits.INPUT_OWNERS_MAX),
    columns=sequence(_COLUMN, 1024),
)
_CONTENT: Final[Form[Roster]] = record(
    Roster,
    consortium=_name,
    version=integer(1, 2**31),
    parties=sequence(
        record(
            Party,
            id=_party,
            name=_name,
            channel_key=text(),
            signing_key=text(),
            roles=sequence(word("input", "compute"), 2),
        ),
        1024,
    ),
    tables=sequence(_TABLE, 1024),
)


def _decode_bytes(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) > 256:
        raise FormError(": expected at most 256 bytes")
    return value


_BYTES: Final[Form[bytes]] = Form(lambda value: value, _decode_bytes)
_SIGNATURES: Final = sequence(record(Signature, party=_party, signature=_BYTES), 1024)
