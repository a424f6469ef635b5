"""`roster.toml` to a `Roster` and back (layer 2, no I/O).

    consortium = "three-hospitals"
    version = 1

    [[party]]
    id = 0
    name = "charite"
    channel_key = "mpcd-channel1..."
    signing_key = "mpcd-sign1..."
    roles = ["input", "compute"]

    [[table]]
    name = "gbsg2"
    rows_max = 1000
    rows_disjoint = true
    persons_disjoint = true
    owners = [0, 1, 2]

    [[table.column]]
    name = "age"
    type = "integer"
    bounds = [18, 110]
    unit = "a"

Unknown keys are errors: a misspelt `nullabel` must not silently mean its default.  Every error names its line.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, cast

from mpcd import limits
from mpcd.errors import ConfigurationInvalid
from mpcd.ids import PartyId
from mpcd.roster.model import (
    COLUMN_TYPES,
    DECIMALS_MAX,
    EPOCH,
    Column,
    Party,
    PartyRole,
    Roster,
    RosterError,
    Table,
)

_ROSTER_KEYS: Final = frozenset({"consortium", "version", "party", "table"})
_PARTY_KEYS: Final = frozenset({"id", "name", "channel_key", "signing_key", "roles"})
_TABLE_KEYS: Final = frozenset(
    {"name", "rows_max", "rows_disjoint", "persons_disjoint", "person_id", "owners", "column"}
)
_COLUMN_KEYS: Final = frozenset(
    {
        "name",
        "type",
        "decimals",
        "bounds",
        "levels",
        "missing",
        "unit",
        "nullable",
        "unique",
        "event_level",
    }
)
_HEADER: Final = re.compile(r"\s*\[\[\s*([A-Za-z_.\s]+?)\s*\]\]")
_KEY: Final = re.compile(r"\s*\"?([A-Za-z_]+)\"?\s*=")
_TOML_LINE: Final = re.compile(r"\(?at line (\d+)")

Place = tuple[str | int, ...]


def parse(text: str, path: str = "roster.toml") -> Roster:
    """The roster that the text describes, without signatures.

    Raises:
        ConfigurationInvalid: with `path` and the 1-based line of the first thing that is wrong.
    """
    content = _content(text, path)
    try:
        return _roster(content)
    except RosterError as error:
        raise _located(error, text, path, content) from None


def parse_tables(text: str, path: str = "schema.toml") -> tuple[Table, ...]:
    """The tables of a file that holds nothing else, written as in a roster; raises as `parse`."""
    content = _content(text, path)
    try:
        _known(content, frozenset({"table"}))
        return tuple(_table(item, "table", i) for i, item in enumerate(_items(content, "table")))
    except RosterError as error:
        raise _located(error, text, path, content) from None


def _content(text: str, path: str) -> dict[str, object]:
    if len(text.encode()) > limits.ROSTER_BYTES_MAX:
        raise ConfigurationInvalid(f"longer than {limits.ROSTER_BYTES_MAX} bytes", path=path)
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise ConfigurationInvalid(f"not TOML: {error}", path=path, line=line) from None


def _located(error: RosterError, text: str, path: str, content: Mapping[str, object]) -> ConfigurationInvalid:
    line = locate(text, error.subject)
    return ConfigurationInvalid(f"{_spoken(error.subject, content)}{error}", path=path, line=line)


def locate(text: str, place: Place) -> int:
    """The 1-based line of the part at `place`, or of the nearest thing around it."""
    lines: dict[Place, int] = {(): 1}
    current: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            current = _enter(tuple(part.strip() for part in header[1].split(".")), counts)
            lines[current] = number
        elif key := _KEY.match(line):
            lines.setdefault((*current, key[1]), number)
    while place not in lines:
        place = place[:-1]
    return lines[place]


def _enter(header: tuple[str, ...], counts: dict[Place, int]) -> Place:
    """The place of the array item that a header opens; `[[table.column]]` belongs to the latest table."""
    place: Place = ()
    for part in header[:-1]:
        place = (*place, part, max(counts.get((*place, part), 0) - 1, 0))
    array = (*place, header[-1])
    counts[array] = counts.get(array, 0) + 1
    return (*array, counts[array] - 1)


def _spoken(place: Place, content: Mapping[str, object]) -> str:
    """`table gbsg2, column age, bounds: ` for a place."""
    words: list[str] = []
    here: object = content
    for part in place:
        if isinstance(part, int):
            here = here[part] if isinstance(here, list) and part < len(here) else None
            name = here.get("name") if isinstance(here, dict) else None
            words[-1] += f" {name}" if isinstance(name, str) else f" {part + 1}"
        else:
            here = here.get(part) if isinstance(here, dict) else None
            words.append(part)
    return f"{', '.join(words)}: " if words else ""


# ------------------------------------------------------------------------------------------------ reading


def _roster(content: Mapping[str, object]) -> Roster:
    _known(content, _ROSTER_KEYS)
    return Roster(
        consortium=_string(content, "consortium"),
        version=_integer(content, "version"),
        parties=tuple(_party(item, "party", i) for i, item in enumerate(_items(content, "party"))),
        tables=tuple(_table(item, "table", i) for i, item in enumerate(_items(content, "table", required=False))),
    )


def _party(item: Mapping[str, object], *place: str | int) -> Party:
    _known(item, _PARTY_KEYS, *place)
    return Party(
        id=PartyId(_integer(item, "id", *place)),
        name=_string(item, "name", *place),
        channel_key=_string(item, "channel_key", *place),
        signing_key=_string(item, "signing_key", *place),
        roles=tuple(_role(role, *place) for role in _strings(item, "roles", *place)),
    )


def _role(role: str, *place: str | int) -> PartyRole:
    if role not in {"input", "compute"}:
        raise RosterError(f'{role!r} is no role; roles are "input" and "compute"', *place, "roles")
    return cast("PartyRole", role)


def _table(item: Mapping[str, object], *place: str | int) -> Table:
    _known(item, _TABLE_KEYS, *place)
    owners = _list(item, "owners", *place)
    if not all(type(owner) is int for owner in owners):
        raise RosterError("must be a list of party ids", *place, "owners")
    columns = _items(item, "column", *place)
    return Table(
        name=_string(item, "name", *place),
        rows_max=_integer(item, "rows_max", *place),
        rows_disjoint=_boolean(item, "rows_disjoint", *place),
        persons_disjoint=_boolean(item, "persons_disjoint", *place),
        person_id=_string(item, "person_id", *place) if "person_id" in item else None,
        owners=tuple(PartyId(cast("int", owner)) for owner in owners),
        columns=tuple(_column(column, *place, "column", i) for i, column in enumerate(columns)),
    )


def _column(item: Mapping[str, object], *place: str | int) -> Column:
    _known(item, _COLUMN_KEYS, *place)
    kind = _string(item, "type", *place)
    if kind not in COLUMN_TYPES:
        raise RosterError(f"{kind!r} is no type; types are {', '.join(COLUMN_TYPES)}", *place, "type")
    decimals = _integer(item, "decimals", *place) if "decimals" in item else 0
    if kind == "decimal" and "decimals" not in item:
        raise RosterError("type decimal needs decimals, how many digits follow the point", *place)
    if not 0 <= decimals <= DECIMALS_MAX:
        raise RosterError(f"must be 0 to {DECIMALS_MAX}", *place, "decimals")
    levels = _strings(item, "levels", *place) if "levels" in item else ()
    low, high = _bounds(item, kind, decimals, len(levels), *place)
    return Column(
        name=_string(item, "name", *place),
        type=kind,
        low=low,
        high=high,
        decimals=decimals,
        levels=levels,
        missing=tuple(_code(code, *place) for code in _list(item, "missing", *place)) if "missing" in item else (),
        unit=_string(item, "unit", *place) if "unit" in item else "",
        nullable=_boolean(item, "nullable", *place) if "nullable" in item else False,
        unique=_boolean(item, "unique", *place) if "unique" in item else False,
        event_level=_code(item["event_level"], *place) if "event_level" in item else "",
    )


def _bounds(item: Mapping[str, object], kind: str, decimals: int, levels: int, *place: str | int) -> tuple[int, int]:
    if kind not in {"integer", "decimal", "date"}:
        if "bounds" in item:
            raise RosterError(f"are not declared for type {kind}", *place, "bounds")
        return {"dictionary": (0, max(levels - 1, 0)), "boolean": (0, 1)}.get(kind, (0, 0))
    if "bounds" not in item:
        raise RosterError(f"type {kind} needs bounds = [lowest, highest]", *place)
    pair = _list(item, "bounds", *place)
    if len(pair) != 2:
        raise RosterError("must be [lowest, highest]", *place, "bounds")
    low, high = (_stored(value, kind, decimals, *place) for value in pair)
    return low, high


def _stored(value: object, kind: str, decimals: int, *place: str | int) -> int:
    if kind == "date":
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise RosterError("of a date are dates, such as 1990-01-31 without quotes", *place, "bounds")
        return (value - EPOCH).days
    if type(value) is not int and not isinstance(value, Decimal):
        raise RosterError("must be numbers", *place, "bounds")
    if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > 30):
        raise RosterError("must be finite and of sensible size", *place, "bounds")
    scaled = Fraction(value) * 10**decimals
    if scaled.denominator != 1:
        raise RosterError(f"{value} has more than {decimals} decimals", *place, "bounds")
    return int(scaled)


def _code(value: object, *place: str | int) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int or isinstance(value, Decimal):
        return str(value)
    raise RosterError("codes are strings or numbers", *place)


# ------------------------------------------------------------------------------------------------ typed access


def _known(item: Mapping[str, object], known: frozenset[str], *place: str | int) -> None:
    for key in item:
        if key not in known:
            raise RosterError(f"unknown key; known are {', '.join(sorted(known))}", *place, key)


def _get(item: Mapping[str, object], key: str, *place: str | int) -> object:
    if key not in item:
        raise RosterError(f"{key} is missing", *place)
    return item[key]


def _string(item: Mapping[str, object], key: str, *place: str | int) -> str:
    value = _get(item, key, *place)
    if not isinstance(value, str):
        raise RosterError("must be a string", *place, key)
    return value


def _integer(item: Mapping[str, object], key: str, *place: str | int) -> int:
    value = _get(item, key, *place)
    if type(value) is not int:
        raise RosterError("must be an integer", *place, key)
    return value


def _boolean(item: Mapping[str, object], key: str, *place: str | int) -> bool:
    value = _get(item, key, *place)
    if not isinstance(value, bool):
        raise RosterError("must be true or false", *place, key)
    return value


def _list(item: Mapping[str, object], key: str, *place: str | int) -> Sequence[object]:
    value = _get(item, key, *place)
    if not isinstance(value, list):
        raise RosterError("must be a list", *place, key)
    return value


def _strings(item: Mapping[str, object], key: str, *place: str | int) -> tuple[str, ...]:
    value = _list(item, key, *place)
    if not all(isinstance(entry, str) for entry in value):
        raise RosterError("must be a list of strings", *place, key)
    return tuple(cast("Sequence[str]", value))


def _items(
    item: Mapping[str, object], key: str, *place: str | int, required: bool = True
) -> Sequence[Mapping[str, object]]:
    if key not in item and not required:
        return ()
    value = _list(item, key, *place)
    if not all(isinstance(entry, dict) for entry in value):
        raise RosterError(f"must be written as [[{key}]]", *place, key)
    return cast("Sequence[Mapping[str, object]]", value)


# ------------------------------------------------------------------------------------------------ writing


def dump(roster: Roster) -> str:
    """TOML text that `parse` reads back as the same roster (signatures are kept elsewhere)."""
    lines = [f"consortium = {_quote(roster.consortium)}", f"version = {roster.version}"]
    for party in roster.parties:
        lines += ["", "[[party]]", f"id = {party.id}", f"name = {_quote(party.name)}"]
        lines += [f"channel_key = {_quote(party.channel_key)}", f"signing_key = {_quote(party.signing_key)}"]
        lines.append(f"roles = {_quotes(party.roles)}")
    for table in roster.tables:
        lines += ["", "[[table]]", f"name = {_quote(table.name)}", f"rows_max = {table.rows_max}"]
        lines.append(f"rows_disjoint = {_truth(table.rows_disjoint)}")
        lines.append(f"persons_disjoint = {_truth(table.persons_disjoint)}")
        if table.person_id is not None:
            lines.append(f"person_id = {_quote(table.person_id)}")
        lines.append(f"owners = {list(table.owners)}")
        for column in table.columns:
            lines += ["", *_dump_column(column)]
    return "\n".join(lines) + "\n"


def _dump_column(column: Column) -> list[str]:
    lines = ["[[table.column]]", f"name = {_quote(column.name)}", f'type = "{column.type}"']
    if column.type == "decimal":
        lines.append(f"decimals = {column.decimals}")
    if column.type in {"integer", "decimal", "date"}:
        lines.append(f"bounds = [{_bound(column, column.low)}, {_bound(column, column.high)}]")
    for name, texts in (("levels", column.levels), ("missing", column.missing)):
        if texts:
            lines.append(f"{name} = {_quotes(texts)}")
    for name, text in (("unit", column.unit), ("event_level", column.event_level)):
        if text:
            lines.append(f"{name} = {_quote(text)}")
    for name, truth in (("nullable", column.nullable), ("unique", column.unique)):
        if truth:
            lines.append(f"{name} = true")
    return lines


def _bound(column: Column, stored: int) -> str:
    if column.type == "date":
        return (EPOCH + dt.timedelta(days=stored)).isoformat()
    return str(stored) if column.decimals == 0 else _fixed(stored, column.decimals)


def _fixed(stored: int, decimals: int) -> str:
    digits = f"{abs(stored):0{decimals + 1}d}"
    return f"{'-' if stored < 0 else ''}{digits[:-decimals]}.{digits[-decimals:]}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _quotes(texts: Sequence[str]) -> str:
    return f"[{', '.join(_quote(text) for text in texts)}]"


def _truth(value: bool) -> str:
    return "true" if value else "false"
