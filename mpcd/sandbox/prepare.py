"""Everything that real hospitals prepare by hand: data, schema, keys, roster, policies, configuration (layer 14)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final

from mpcd.api import pinning
from mpcd.api import profile as profiles
from mpcd.daemon import rosterfile
from mpcd.daemon.keygen import CHANNEL_FILE, SIGNING_FILE, PartyKeys, make_analyst_key, make_party_keys
from mpcd.daemon.psk import PSK_BYTES, write_psk
from mpcd.errors import ConfigurationInvalid, RequestInvalid
from mpcd.governance.policy import VERBS, Policy
from mpcd.identity import SigningKey, VerifyKey
from mpcd.ids import COMPUTE_PARTIES, PartyId
from mpcd.roster import Party, Roster, Table
from mpcd.roster.parse import dump, parse_tables
from mpcd.roster.versions import sign
from mpcd.sandbox.layout import ANALYST, Hospital, hospital_directory
from mpcd.sources.importer import Proposal, import_table, propose_schema, split_file
from mpcd.sources.snapshot import publish
from mpcd.sources.tables import TableSource
from mpcd.store.keyfiles import read_key

CONSORTIUM: Final = "sandbox"
ROSTER: Final = "roster.toml"
POLICY: Final = "policy.toml"
CONFIG: Final = "mpcd.toml"
ENGINE_MEMORY_MIB: Final = 1024
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TableFiles:
    """One `--table`: a file to be split, or one file for each hospital."""

    name: str
    files: tuple[Path, ...]
    split_by: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the daemons will find."""

    roster: Roster
    rows: Mapping[str, list[int]]
    analyst: VerifyKey
    notes: tuple[str, ...]


def prepare(
    directory: Path,
    hospitals: Sequence[Hospital],
    tables: Sequence[TableFiles],
    policies: Mapping[int | None, Path],
    say: Say,
    schema: Path | None = None,
) -> Prepared:
    """Make everything under `directory` that the daemons of `hospitals` need.

    Args:
        directory: exists, private.
        hospitals: with ports and sockets settled.
        tables: what is pooled.
        policies: a policy file by hospital, None for all others; a permissive one where there is none.
        say: takes one line of progress.
        schema: tables as in a roster, taken as they are; what it does not list is proposed from the files.

    Raises:
        DataInvalid, ConfigurationInvalid, RequestInvalid: a file, schema or policy, or the way to split cannot be used.
    """
    say("splitting tables and proposing a schema")
    parts = {table.name: _parts(directory, table, len(hospitals)) for table in tables}
    owners = tuple(PartyId(hospital.party) for hospital in hospitals)
    proposals = _proposals(parts, owners, schema)
    say("making keys, roster and policies")
    keys = [make_party_keys(hospital_directory(directory, hospital.party) / "keys") for hospital in hospitals]
    _pair_keys(directory, len(hospitals))
    analyst = make_analyst_key(directory / ANALYST)
    roster = _roster(directory, hospitals, keys, proposals)
    for hospital in hospitals:
        home = hospital_directory(directory, hospital.party)
        (home / ROSTER).write_text(dump(roster), encoding="utf-8")
        rosterfile.write_signatures(home / ROSTER, roster)
        given = policies.get(hospital.party, policies.get(None))
        (home / POLICY).write_text(_policy(given, roster, analyst), encoding="utf-8")
        (home / "state").mkdir(mode=0o700)
        text = _configuration(hospital, hospitals, parts, proposals)
        (home / CONFIG).write_text(text, encoding="utf-8")
    _profile(directory, roster, hospitals)
    say(f"importing {len(tables)} tables at {len(hospitals)} hospitals")
    rows = _import(directory, hospitals, parts, proposals)
    notes = tuple(f"{name}: {note}" for name, proposal in proposals.items() for note in proposal.notes)
    return Prepared(roster, rows, analyst, notes)


# ------------------------------------------------------------------------------------------------ data


def _parts(directory: Path, table: TableFiles, hospitals: int) -> list[Path]:
    """One file for each hospital."""
    files = [path.resolve() for path in table.files]
    for path in files:
        if not path.is_file():
            raise RequestInvalid(f"Table {table.name}: there is no file {path}.")
    if len(files) == hospitals:
        if table.split_by is not None:
            raise RequestInvalid(f"Table {table.name} has a file for each hospital; there is nothing to split.")
        return files
    if len(files) != 1:
        raise RequestInvalid(f"Table {table.name}: give one file to split, or {hospitals}, one for each hospital.")
    ending = ".parquet" if files[0].suffix.lower() in {".parquet", ".pq"} else ".csv"
    outputs = [hospital_directory(directory, party) / "data" / f"{table.name}{ending}" for party in range(hospitals)]
    for output in outputs:
        output.parent.mkdir(mode=0o700, exist_ok=True)
    split_file(files[0], outputs, by=table.split_by)
    return outputs


def _proposals(
    parts: Mapping[str, Sequence[Path]], owners: tuple[PartyId, ...], schema: Path | None
) -> dict[str, Proposal]:
    """What the roster says of each table: the schema's word, or a proposal from the files."""
    given: dict[str, Table] = {}
    if schema is not None:
        try:
            text = schema.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationInvalid(f"Cannot read the schema: {error.strerror}.", path=str(schema)) from error
        given = {table.name: replace(table, owners=owners) for table in parse_tables(text, str(schema))}
    rest = {name: files for name, files in parts.items() if name not in given}
    proposed = propose_schema(rest, owners) if rest else {}
    found = {name: Proposal(table, {}, (), ()) for name, table in given.items() if name in parts}
    return {name: found[name] if name in found else proposed[name] for name in parts}


def _import(
    directory: Path,
    hospitals: Sequence[Hospital],
    parts: Mapping[str, Sequence[Path]],
    proposals: Mapping[str, Proposal],
) -> dict[str, list[int]]:
    def one(work: tuple[str, int]) -> int:
        name, party = work
        proposal = proposals[name]
        snapshots = hospital_directory(directory, party) / "state" / "snapshots"
        report = import_table(proposal.table, TableSource((parts[name][party],), proposal.columns), snapshots)
        assert report.version is not None
        publish(snapshots, proposal.table, report.version)
        return report.rows

    work = [(name, hospital.party) for name in parts for hospital in hospitals]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        counts = dict(zip(work, pool.map(one, work), strict=True))
    return {name: [counts[name, hospital.party] for hospital in hospitals] for name in parts}


# ------------------------------------------------------------------------------------------------ consortium


def _pair_keys(directory: Path, hospitals: int) -> None:
    for left, right in combinations(range(hospitals), 2):
        psk = os.urandom(PSK_BYTES)
        write_psk(hospital_directory(directory, left) / "keys" / f"psk-{right}.key", psk)
        write_psk(hospital_directory(directory, right) / "keys" / f"psk-{left}.key", psk)


def _roster(
    directory: Path, hospitals: Sequence[Hospital], keys: Sequence[PartyKeys], proposals: Mapping[str, Proposal]
) -> Roster:
    """The roster, signed by everybody; the first three hospitals compute, all give data."""
    roster = Roster(
        consortium=CONSORTIUM,
        version=1,
        parties=tuple(
            Party(
                id=PartyId(hospital.party),
                name=hospital.name,
                channel_key=str(key.channel),
                signing_key=str(key.signing),
                roles=("input", "compute") if hospital.party < COMPUTE_PARTIES else ("input",),
            )
            for hospital, key in zip(hospitals, keys, strict=True)
        ),
        tables=tuple(proposal.table for proposal in proposals.values()),
    )
    for hospital in hospitals:
        path = hospital_directory(directory, hospital.party) / "keys" / SIGNING_FILE
        key = read_key(path, SigningKey)
        roster = sign(roster, PartyId(hospital.party), partial(key.sign, rosterfile.DOMAIN))
    return roster


def _policy(given: Path | None, roster: Roster, analyst: VerifyKey) -> str:
    """The owner's policy: permissive, or the given one; the sandbox's analyst is added where none is listed."""
    entry = f'\n[[analyst]]\nname = "sandbox analyst"\nkey = "{analyst}"\n'
    if given is not None:
        try:
            text = given.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationInvalid(f"Cannot read the policy: {error.strerror}.", path=str(given)) from error
        policy = Policy.parse(text, str(given))
        policy.check_against(
            {table.name: {column.name: column.type for column in table.columns} for table in roster.tables}
        )
        return text if policy.analysts else text.rstrip("\n") + "\n" + entry
    lines = [
        "# Permissive: for a sandbox only.",
        'purposes = ["NRES"]',
        "",
        "[disclosure]",
        "# For trying out only: shown zeros disclose attributes of persons who are unique under WHERE.",
        "zeros_are_disclosive = false",
        "# And so that questions can be tried in any order: two of them can tell about few people by subtraction.",
        "differencing = false",
        entry,
    ]
    for table in roster.tables:
        lines += ["[[table]]", f"name = {json.dumps(table.name)}", "[table.uses]"]
        for column in table.columns:
            verbs = ("join",) if column.type == "person_id" else VERBS
            lines.append(f"{json.dumps(column.name)} = {json.dumps(verbs)}")
        lines.append("")
    return "\n".join(lines)


def _configuration(
    hospital: Hospital,
    hospitals: Sequence[Hospital],
    parts: Mapping[str, Sequence[Path]],
    proposals: Mapping[str, Proposal],
) -> str:
    threads = max(1, (os.cpu_count() or 1) // len(hospitals))
    lines = [
        f"# {hospital.name} of a sandbox",
        f"party = {hospital.party}",
        'state = "state"',
        f'roster = "{ROSTER}"',
        f'policy = "{POLICY}"',
        "",
        "[listen]",
        'host = "127.0.0.1"',
        f"port = {hospital.port}",
        "",
        "[keys]",
        f'channel = "keys/{CHANNEL_FILE}"',
        f'signing = "keys/{SIGNING_FILE}"',
        "",
        "[sockets]",
        f"api = {json.dumps(hospital.api)}",
        f"admin = {json.dumps(hospital.admin)}",
        "",
        "[engine]",
        f"threads = {threads}",
        f"memory_mib = {ENGINE_MEMORY_MIB}",
    ]
    for peer in hospitals:
        if peer.party != hospital.party:
            address = f"127.0.0.1:{peer.port}"
            lines += ["", "[[peer]]", f"party = {peer.party}", f'address = "{address}"']
            lines.append(f'psk = "keys/psk-{peer.party}.key"')
    for name, files in parts.items():
        lines += ["", f"[tables.{json.dumps(name)}]", f"paths = [{json.dumps(str(files[hospital.party]))}]"]
        for column in proposals[name].columns:
            lines += [f"[tables.{json.dumps(name)}.columns.{json.dumps(column)}]", "round = true"]
    return "\n".join(lines) + "\n"


def _profile(directory: Path, roster: Roster, hospitals: Sequence[Hospital]) -> None:
    """The analyst pins the roster and speaks to the first hospital's daemon."""
    text = pinning.Card.of(roster).profile_text(hospitals[0].api)
    (directory / ANALYST / profiles.FILE).write_text(text, encoding="utf-8")
