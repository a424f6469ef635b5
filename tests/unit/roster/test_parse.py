from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcd import canonical
from mpcd.errors import ConfigurationInvalid
from mpcd.ids import PartyId
from mpcd.results.schema import FormError
from mpcd.roster import Column, Party, Roster, RosterError, Table, dump, parse

TEXT = """\
consortium = "three hospitals"
version = 3

[[party]]
id = 0
name = "north"
channel_key = "channel-0"
signing_key = "signing-0"
roles = ["input", "compute"]

[[party]]
id = 1
name = "east"
channel_key = "channel-1"
signing_key = "signing-1"
roles = ["input", "compute"]

[[party]]
id = 4
name = "south"
channel_key = "channel-4"
signing_key = "signing-4"
roles = ["compute"]

[[table]]
name = "visits"
rows_max = 1000
rows_disjoint = true
persons_disjoint = false
person_id = "pid"
owners = [0, 1]

[[table.column]]
name = "pid"
type = "person_id"

[[table.column]]
name = "crp"
type = "decimal"
decimals = 2
bounds = [-0.05, 500]
missing = [-9, "NA", 99.9]
unit = "mg/L"

[[table.column]]
name = "day"
type = "date"
bounds = [1969-12-31, 2020-02-29]
nullable = true

[[table.column]]
name = "ward"
type = "dictionary"
levels = ["icu", "eye"]
event_level = "icu"
unique = true

[[table]]
name = "wards"
rows_max = 10
rows_disjoint = true
persons_disjoint = true
owners = [0, 1]

[[table.column]]
name = "open"
type = "boolean"
"""


def test_what_it_says() -> None:
    roster = parse(TEXT)
    assert [party.name for party in roster.compute_parties] == ["north", "east", "south"]
    assert roster.party(PartyId(4)).roles == ("compute",)
    visits = roster.table("visits")
    assert visits.column("crp").bounds == (-5, 50_000)
    assert visits.column("crp").missing == ("-9", "NA", "99.9")
    assert visits.column("crp").may_be_null
    assert visits.column("day").bounds == (-1, (dt.date(2020, 2, 29) - dt.date(1970, 1, 1)).days)
    assert visits.column("ward").bounds == (0, 1)
    assert not visits.column("ward").may_be_null
    for name in ("nothing", "Visits"):
        with pytest.raises(KeyError):
            roster.table(name)


def test_written_and_read_again() -> None:
    roster = parse(TEXT)
    assert parse(dump(roster)) == roster
    assert dump(parse(dump(roster))) == dump(roster)


def test_encoded_and_decoded_again() -> None:
    roster = parse(TEXT)
    again = Roster.from_value(canonical.decode(canonical.encode(roster.to_value())))
    assert again == roster
    assert again.hash() == roster.hash()


def test_layout_and_comments_are_no_part_of_the_hash() -> None:
    assert parse("# hello\n" + TEXT.replace(" = ", "=")).hash() == parse(TEXT).hash()
    assert parse(TEXT.replace("rows_max = 1000", "rows_max = 1001")).hash() != parse(TEXT).hash()


@given(st.text(min_size=1, max_size=20), st.integers(-(10**9), 10**9), st.integers(0, 9))
def test_any_level_and_bound_survives(level: str, stored: int, decimals: int) -> None:
    column = Column("x", "decimal", stored, stored + 7, decimals)
    words = Column("y", "dictionary", 0, 1, levels=(level, level + "'"), missing=("\t",))
    parties = tuple(Party(PartyId(i), f"p{i}", f"c{i}", f"s{i}", ("input", "compute")) for i in range(3))
    columns = (column, words)
    table = Table(
        "t", 1, rows_disjoint=True, persons_disjoint=True, person_id=None, owners=(PartyId(0),), columns=columns
    )
    roster = Roster("c", 1, parties, (table,))
    assert parse(dump(roster)) == roster


CHANGES: list[tuple[str, str, str]] = [
    ("version = 3", "version = 0", "version"),
    ("version = 3", "version = 3.5", "must be an integer"),
    ("version = 3", "version = true", "must be an integer"),
    ("version = 3", "verson = 3", "unknown key"),
    ('consortium = "three hospitals"', 'consortium = ""', "name"),
    ('consortium = "three hospitals"', "consortium = three", "not TOML"),
    ("id = 4", "id = 1", "used twice"),
    ("id = 4", "id = -4", "count from 0"),
    ('name = "south"', 'name = "east"', "used twice"),
    ('signing_key = "signing-4"', 'signing_key = "channel-0"', "another purpose"),
    ('signing_key = "signing-4"', 'signing_key = ""', "empty"),
    ('roles = ["compute"]', "roles = []", "roles"),
    ('roles = ["compute"]', 'roles = ["input"]', "at least 3"),
    ('roles = ["compute"]', 'roles = ["judge"]', "is no role"),
    ("rows_max = 1000", "rows_max = 0", "rows_max"),
    ("rows_max = 1000", "rows_max = 99999999999", "rows_max"),
    ("rows_max = 1000", "", "rows_max is missing"),
    ("rows_disjoint = true\npersons_disjoint = false", "rows_disjoint = 1\npersons_disjoint = false", "true or false"),
    ('person_id = "pid"\nowners = [0, 1]', 'person_id = "crp"\nowners = [0, 1]', "person_id"),
    ('person_id = "pid"\nowners = [0, 1]', "owners = [0, 1]", "person_id"),
    ('person_id = "pid"\nowners = [0, 1]', 'person_id = "pid"\nowners = [0, 7]', "owner 7"),
    ('person_id = "pid"\nowners = [0, 1]', 'person_id = "pid"\nowners = [0, 4]', "owner 4"),
    ('person_id = "pid"\nowners = [0, 1]', 'person_id = "pid"\nowners = []', "owners"),
    ('person_id = "pid"\nowners = [0, 1]', 'person_id = "pid"\nowners = [0, 0]', "owners"),
    ('name = "wards"', 'name = "VISITS"', "used twice"),
    ('name = "day"', 'name = "CRP"', "used twice"),
    ('name = "day"', 'name = " day"', "outer spaces"),
    ('name = "day"', 'name = "d\\u0007"', "printable"),
    ('type = "decimal"\ndecimals = 2', 'type = "float"\ndecimals = 2', "is no type"),
    ("decimals = 2", "decimals = 10", "0 to 9"),
    ("decimals = 2", "decimals = 1", "more than 1 decimals"),
    ("decimals = 2\n", "", "needs decimals"),
    ("bounds = [-0.05, 500]", "bounds = [500, -0.05]", "lowest, highest"),
    ("bounds = [-0.05, 500]", "bounds = [500]", "lowest, highest"),
    ("bounds = [-0.05, 500]", 'bounds = ["a", "b"]', "numbers"),
    ("bounds = [-0.05, 500]", "bounds = [-inf, inf]", "finite"),
    ("bounds = [-0.05, 500]", "bounds = [0, 1e300]", "sensible"),
    ("bounds = [-0.05, 500]", "bounds = [0, 1e20]", "within"),
    ("bounds = [-0.05, 500]\n", "", "needs bounds"),
    ("bounds = [1969-12-31, 2020-02-29]", "bounds = [0, 1]", "dates"),
    ("bounds = [1969-12-31, 2020-02-29]", "bounds = [1969-12-31T00:00:00, 2020-02-29]", "dates"),
    ('levels = ["icu", "eye"]', "levels = []", "1 to"),
    ('levels = ["icu", "eye"]', 'levels = ["icu", "icu"]', "used twice"),
    ('levels = ["icu", "eye"]', 'levels = ["icu", 3]', "list of strings"),
    ('levels = ["icu", "eye"]', 'levels = ["icu", "eye"]\nmissing = ["eye"]', "also mean missing"),
    ('levels = ["icu", "eye"]', 'levels = ["icu", "eye"]\nbounds = [0, 1]', "not declared"),
    ('missing = [-9, "NA", 99.9]', 'missing = [-9, "-9"]', "twice"),
    ('missing = [-9, "NA", 99.9]', "missing = [true]", "strings or numbers"),
    ('event_level = "icu"', 'event_level = "ent"', "one of the levels"),
    ('type = "person_id"', 'type = "person_id"\nnullable = true', "cannot be missing"),
    ("nullable = true", "nullabel = true", "unknown key"),
]


@pytest.mark.parametrize(("old", "new", "message"), CHANGES)
def test_errors_say_what_and_where(old: str, new: str, message: str) -> None:
    assert old in TEXT
    changed = TEXT.replace(old, new, 1)
    with pytest.raises(ConfigurationInvalid, match=re.escape(message)) as caught:
        parse(changed, "r.toml")
    assert caught.value.path == "r.toml"
    assert caught.value.line is not None
    assert str(caught.value).startswith(f"r.toml:{caught.value.line}: ")


def test_lines_are_those_of_the_culprit() -> None:
    changes = [
        ("nullable = true", "nullabel = true"),
        ('levels = ["icu", "eye"]', "levels = []"),
        ("id = 4", "id = -4"),
    ]
    for old, new in changes:
        changed = TEXT.replace(old, new)
        with pytest.raises(ConfigurationInvalid) as caught:
            parse(changed)
        assert caught.value.line is not None
        assert changed.split("\n")[caught.value.line - 1] == new


def test_the_message_names_table_and_column() -> None:
    with pytest.raises(
        ConfigurationInvalid, match=r"table visits, column crp, bounds: 0\.005 has more than 2 decimals"
    ):
        parse(TEXT.replace("bounds = [-0.05, 500]", "bounds = [0.005, 500]"))


def test_a_roster_made_in_code_is_checked_too() -> None:
    with pytest.raises(RosterError, match="at least 3"):
        Roster("c", 1, (), ())


def test_hostile_values() -> None:
    value = parse(TEXT).to_value()
    assert isinstance(value, dict)
    for hostile in (None, {}, {"content": 1, "signatures": []}, {**value, "x": 1}, {**value, "signatures": [1]}):
        with pytest.raises(FormError):
            Roster.from_value(hostile)
    content = dict(value["content"])
    with pytest.raises(FormError, match="at least 3"):
        Roster.from_value({**value, "content": {**content, "parties": content["parties"][:2]}})
