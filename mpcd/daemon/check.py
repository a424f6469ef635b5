"""`mpcd check`: everything that can be known before the daemon starts (layer 13).

Runs before every start (`ExecStartPre`) and before a reload takes effect.  All findings are reported at once; a
*fault* stops the daemon from starting, a *warning* does not.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from mpcd.daemon import policynews, rosterfile
from mpcd.daemon.config import Config
from mpcd.errors import ConfigurationInvalid, MpcdError
from mpcd.governance.policy import Policy
from mpcd.roster import Roster
from mpcd.sources.files import why_unreadable

Severity = Literal["fault", "warning"]
DISK_BYTES_MIN: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in one sentence that says what to do."""

    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` read on its way."""

    findings: tuple[Finding, ...]
    roster: Roster | None
    policy: Policy | None

    @property
    def good(self) -> bool:
        """Whether the daemon may start."""
        return not any(finding.severity == "fault" for finding in self.findings)


def read_policy(path: Path) -> tuple[Policy, bytes]:
    """The policy in `path` and the very bytes that say so; raises `ConfigurationInvalid` with file and line."""
    try:
        written = path.read_bytes()
        return Policy.parse(written.decode("utf-8-sig"), str(path)), written
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the policy: {error.strerror}.", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid("The policy is not UTF-8 text.", path=str(path)) from error


def check_names(policy: Policy, roster: Roster) -> None:
    """Raise `ConfigurationInvalid` where the policy publishes what the roster does not have."""
    policy.check_against(
        {table.name: {column.name: column.type for column in table.columns} for table in roster.tables}
    )


def check(config: Config) -> Checked:
    """Check all that `config` names, without changing anything."""
    findings: list[Finding] = []

    def attempt(read: Callable[[], object]) -> None:
        try:
            read()
        except MpcdError as error:
            findings.append(Finding("fault", str(error)))

    roster: Roster | None = None
    policy: Policy | None = None
    try:
        roster = rosterfile.load(config.roster)
    except MpcdError as error:
        findings.append(Finding("fault", str(error)))
    try:
        policy, _ = read_policy(config.policy)
    except MpcdError as error:
        findings.append(Finding("fault", str(error)))
    if roster is not None and policy is not None:
        attempt(partial(check_names, policy, roster))
    if policy is not None:
        findings += (
            Finding("warning", f"{config.policy}:{notice.line}: {notice}") for notice in policynews.warnings(policy)
        )
    for peer in config.peers.values():
        if peer.psk is not None:
            attempt(peer.psk.psk)
    findings += _keys(config, roster)
    if roster is not None:
        findings += _roster(config, roster)
    findings += _files(config)
    findings += _places(config)
    return Checked(tuple(findings), roster, policy)


def _keys(config: Config, roster: Roster | None) -> Iterator[Finding]:
    ours = next((party for party in roster.parties if party.id == config.party), None) if roster is not None else None
    keys: tuple[tuple[str, Callable[[], str], str | None], ...] = (
        ("channel", lambda: str(config.channel_key.channel_key().public), ours.channel_key if ours else None),
        ("signing", lambda: str(config.signing_key.signing_key().public), ours.signing_key if ours else None),
    )
    for name, read, listed in keys:
        try:
            public = read()
        except MpcdError as error:
            yield Finding("fault", str(error))
            continue
        if listed is not None and public != listed:
            yield Finding(
                "fault",
                f"The roster lists another {name} key for party {config.party} than the one in its key file; "
                "use the right file, or have a new roster signed.",
            )


def _roster(config: Config, roster: Roster) -> Iterator[Finding]:
    ids = {party.id for party in roster.parties}
    if config.party not in ids:
        yield Finding("fault", f"The roster has no party {config.party}; correct `party` in {config.path}.")
    for party in config.peers:
        if party not in ids:
            yield Finding("fault", f"The roster has no party {party}; remove its [[peer]] from {config.path}.")
    for party in sorted(ids - config.peers.keys() - {config.party}):
        yield Finding("warning", f"No [[peer]] for party {party}: it has to dial us.")
    tables = {table.name: table for table in roster.tables}
    for name in config.tables:
        if name not in tables:
            yield Finding("fault", f"The roster has no table {name}; remove [tables.{name}] from {config.path}.")
        elif config.party not in tables[name].owners:
            yield Finding("fault", f"The roster does not list party {config.party} as an owner of table {name}.")
    for table in roster.tables:
        if config.party in table.owners and table.name not in config.tables:
            yield Finding("warning", f"No [tables.{table.name}]: our part of this table cannot be imported.")


def _files(config: Config) -> Iterator[Finding]:
    """What an import would not find; the daemon needs the files at imports alone."""
    for name, source in config.tables.items():
        for path in source.paths:
            if (why := why_unreadable(path)) is not None:
                yield Finding("warning", f"[tables.{name}]: {why}; until then the table cannot be imported from it.")


def _places(config: Config) -> Iterator[Finding]:
    state = config.state
    if not state.is_dir():
        yield Finding("fault", f"The state directory {state} does not exist; make it, mode 0700.")
        return
    if stat.S_IMODE(state.stat().st_mode) & 0o077:
        yield Finding("fault", f"Others may enter the state directory {state}; run `chmod 700`.")
    if not os.access(state, os.W_OK | os.X_OK):
        yield Finding("fault", f"We may not write the state directory {state}.")
    if shutil.disk_usage(state).free < DISK_BYTES_MIN:
        yield Finding("fault", f"Less than {DISK_BYTES_MIN // 2**20} MiB are free at {state}; make room.")
    for socket in (config.sockets.api, config.sockets.admin):
        if not socket.parent.is_dir():
            yield Finding("fault", f"The directory of the socket {socket} does not exist.")
