from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from mpcd.errors import ConfigurationInvalid
from mpcd.ids import PartyId, RosterHash
from mpcd.roster import Roster, check_successor, diff, missing_signatures, parse, sign

TEXT = (pathlib.Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text()


def verify(key: str, digest: RosterHash, signature: bytes) -> bool:
    return signature == key.encode() + digest


def signed(roster: Roster, *parties: int) -> Roster:
    for party in parties:
        key = roster.party(PartyId(party)).signing_key.encode()
        roster = sign(roster, PartyId(party), lambda digest, key=key: key + digest)  # type: ignore[misc]
    return roster


def test_a_roster_needs_every_party_and_signatures_are_not_hashed() -> None:
    roster = parse(TEXT)
    assert [party.name for party in missing_signatures(roster, verify)] == ["north", "east", "south"]
    some = signed(roster, 2, 0)
    assert some.hash() == roster.hash()
    assert [party.name for party in missing_signatures(some, verify)] == ["east"]
    everyone = signed(some, 1)
    assert missing_signatures(everyone, verify) == ()
    assert missing_signatures(Roster.from_value(everyone.to_value()), verify) == ()
    assert [s.party for s in everyone.signatures] == [0, 1, 2]


def test_a_signature_of_another_version_or_party_does_not_count() -> None:
    everyone = signed(parse(TEXT), 0, 1, 2)
    changed = replace(everyone, version=everyone.version + 1)
    assert len(missing_signatures(changed, verify)) == 3
    moved = tuple(replace(s, party=PartyId((s.party + 1) % 3)) for s in everyone.signatures)
    swapped = replace(everyone, signatures=moved)
    assert len(missing_signatures(swapped, verify)) == 3


def test_versions_only_rise() -> None:
    roster = parse(TEXT)
    later = replace(roster, version=2)
    check_successor(roster, later)
    for proposed in (roster, replace(later, consortium="another")):
        with pytest.raises(ConfigurationInvalid):
            check_successor(roster, proposed)
    with pytest.raises(ConfigurationInvalid, match="never given to another party"):
        check_successor(roster, parse(TEXT.replace('"south"', '"west"').replace("version = 1", "version = 2")))


def test_differences_are_named() -> None:
    roster = parse(TEXT)
    assert diff(roster, roster) == ()
    changed = parse(
        TEXT.replace("version = 1", "version = 2", 1)
        .replace("bounds = [18, 100]", "bounds = [0, 120]")
        .replace('name = "tsize"', 'name = "size"')
        .replace("rows_max = 500", "rows_max = 600")
        .replace('channel_key = "channel-1"', 'channel_key = "channel-9"')
        .replace('name = "shared"', 'name = "common"')
    )
    assert set(diff(roster, changed)) == {
        "version: 1 -> 2",
        "party east: channel_key 'channel-1' -> 'channel-9'",
        "table shared: removed",
        "table common: added",
        "table visits: rows_max 500 -> 600",
        "table gbsg2, column tsize: removed",
        "table gbsg2, column size: added",
        "table gbsg2, column age: low 18 -> 0",
        "table gbsg2, column age: high 100 -> 120",
    }
