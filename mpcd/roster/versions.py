"""Versions of a roster: who must sign, what changed (layer 2, no I/O).

A roster version counts only with a signature of every party that remains in it.  Signing and verifying are
`mpcd.identity`'s; here they are functions that are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Final

from mpcd.errors import ConfigurationInvalid
from mpcd.ids import PartyId, RosterHash
from mpcd.roster.model import Party, Roster, Signature, Table

DOMAIN: Final = "roster"
"""Of the signatures of a roster's hash."""
Sign = Callable[[RosterHash], bytes]
Verify = Callable[[str, RosterHash, bytes], bool]
"""Signing key's text form, roster hash, signature: whether it is that key's signature of the hash."""


def sign(roster: Roster, party: PartyId, make: Sign) -> Roster:
    """The roster with the party's signature added (or replaced)."""
    roster.party(party)
    kept = [signature for signature in roster.signatures if signature.party != party]
    added = sorted([*kept, Signature(party, make(roster.hash()))], key=lambda signature: signature.party)
    return replace(roster, signatures=tuple(added))


def missing_signatures(roster: Roster, verify: Verify) -> tuple[Party, ...]:
    """Parties whose valid signature the roster lacks; none means that it is in force."""
    digest = roster.hash()
    signed = {
        signature.party
        for signature in roster.signatures
        if any(p.id == signature.party and verify(p.signing_key, digest, signature.signature) for p in roster.parties)
    }
    return tuple(party for party in roster.parties if party.id not in signed)


def check_successor(current: Roster, proposed: Roster) -> None:
    """Raise `ConfigurationInvalid` unless `proposed` may follow `current`: same consortium, next version, ids kept."""
    if proposed.consortium != current.consortium:
        raise ConfigurationInvalid(f"the roster is of consortium {proposed.consortium}, not {current.consortium}")
    if proposed.version <= current.version:
        raise ConfigurationInvalid(
            f"roster version {proposed.version} is not newer than {current.version}; versions only rise"
        )
    names = {party.id: party.name for party in current.parties}
    for party in proposed.parties:
        if names.get(party.id, party.name) != party.name:
            raise ConfigurationInvalid(
                f"party id {party.id} was {names[party.id]} and is now {party.name}; an id is never given "
                "to another party"
            )


def diff(old: Roster, new: Roster) -> tuple[str, ...]:
    """One sentence per difference, names first, e.g. `table gbsg2, column age: bounds (18, 110) -> (0, 120)`."""
    found: list[str] = []
    for name in ("consortium", "version"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append(f"{name}: {before} -> {after}")
    found += _compare("party", {p.name: p for p in old.parties}, {p.name: p for p in new.parties})
    old_tables = {table.name: table for table in old.tables}
    new_tables = {table.name: table for table in new.tables}
    found += _compare("table", old_tables, new_tables, skip="columns")
    for name in old_tables.keys() & new_tables.keys():
        found += _columns(old_tables[name], new_tables[name])
    return tuple(found)


def _columns(old: Table, new: Table) -> list[str]:
    before, after = {c.name: c for c in old.columns}, {c.name: c for c in new.columns}
    found = _compare(f"table {old.name}, column", before, after)
    shared_before = [name for name in before if name in after]
    shared_after = [name for name in after if name in before]
    if shared_before != shared_after:
        found.append(f"table {old.name}: columns are in another order")
    return found


def _compare(kind: str, old: Mapping[str, object], new: Mapping[str, object], skip: str = "") -> list[str]:
    found = [f"{kind} {name}: removed" for name in old if name not in new]
    found += [f"{kind} {name}: added" for name in new if name not in old]
    for name in (name for name in old if name in new):
        found += [f"{kind} {name}: {change}" for change in _changes(old[name], new[name], skip)]
    return found


def _changes(old: object, new: object, skip: str) -> Iterable[str]:
    for entry in fields(old):  # type: ignore[arg-type]
        before, after = getattr(old, entry.name), getattr(new, entry.name)
        if before != after and entry.name != skip:
            yield f"{entry.name} {before!r} -> {after!r}"
