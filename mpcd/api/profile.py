"""The analyst's directory: signing key, pinned consortium, socket (layer 12).

    profile.toml    consortium, roster_version, roster_hash, socket, purpose, [[party]] id name signing_key computes
    signing.key     the analyst's private signing key, mode 0600

The parties' keys are *pinned* here: a result counts only if three of them signed it, whatever the daemon says that
it asked. Which directory: `--profile`, else `MPCD_PROFILE`, else the sandbox that is up, else `~/.config/mpcd`.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mpcd.api.opening import PinnedParty, pinned_party
from mpcd.api.transport import is_command
from mpcd.errors import ConfigurationInvalid
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, RosterHash

FILE: Final = "profile.toml"
KEY_FILE: Final = "signing.key"
ENVIRONMENT: Final = "MPCD_PROFILE"
DEFAULT_PURPOSE: Final = "GRU"
_FILE_BYTES_MAX: Final = 256 * 2**10


@dataclass(frozen=True)
class Profile:
    """One analyst's view of one consortium."""

    directory: Path
    consortium: str
    roster_version: int
    roster_hash: RosterHash
    address: str
    """Of a daemon, as `api.transport` reads it: an absolute path, or `ssh:HOST`."""
    purpose: str
    parties: Mapping[PartyId, PinnedParty]

    @cached_property
    def signing_key(self) -> SigningKey:
        """The analyst's key, read when first needed."""
        from mpcd.store.keyfiles import read_key  # noqa: PLC0415  # half of the client's start-up time

        return read_key(self.directory / KEY_FILE, SigningKey)

    @classmethod
    def load(cls, directory: Path) -> Profile:
        """The profile in `directory`.

        Raises:
            ConfigurationInvalid: it is not there or not a profile; the message says what to do.
        """
        path = directory / FILE
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_BYTES_MAX)
        except FileNotFoundError as error:
            raise ConfigurationInvalid(
                f"There is no profile in {directory}; name one with --profile or {ENVIRONMENT}, "
                "or try mpcd with `mpcctl sandbox up`."
            ) from error
        except OSError as error:
            raise ConfigurationInvalid(f"Cannot read the profile: {error.strerror}.", path=str(path)) from error
        try:
            return cls._parse(directory, tomllib.loads(content.decode()))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationInvalid(f"Not a profile: {error}.", path=str(path)) from error

    @classmethod
    def _parse(cls, directory: Path, content: Mapping[str, object]) -> Profile:
        rows = content["party"]
        if not isinstance(rows, list):
            raise TypeError("`party` must be a list of tables")
        parties = (
            pinned_party(int(row["id"]), str(row["name"]), str(row["signing_key"]), computes=bool(row["computes"]))
            for row in rows
        )
        return cls(
            directory,
            _string(content, "consortium"),
            int(str(content["roster_version"])),
            RosterHash(bytes.fromhex(_string(content, "roster_hash"))),
            _address(directory, _string(content, "socket")),
            str(content.get("purpose", DEFAULT_PURPOSE)),
            {party.id: party for party in parties},
        )


def render(
    *,
    consortium: str,
    roster_version: int,
    roster_hash: RosterHash,
    socket: Path | str,
    parties: Iterable[PinnedParty],
    purpose: str = DEFAULT_PURPOSE,
) -> str:
    """The text of a `profile.toml`."""
    # A JSON string is a TOML basic string.
    lines = [
        "# Pinned by the analyst: results count only if these parties signed them.",
        f"consortium = {json.dumps(consortium)}",
        f"roster_version = {roster_version}",
        f'roster_hash = "{roster_hash.hex()}"',
        f"socket = {json.dumps(str(socket))}",
        f"purpose = {json.dumps(purpose)}",
    ]
    for party in parties:
        lines += [
            "",
            "[[party]]",
            f"id = {int(party.id)}",
            f"name = {json.dumps(party.name)}",
            f'signing_key = "{party.signing_key}"',
            f"computes = {'true' if party.computes else 'false'}",
        ]
    return "\n".join(lines) + "\n"


def find(explicit: str | None, environment: Mapping[str, str]) -> Path:
    """The directory to use; it need not exist."""
    if explicit:
        return Path(explicit).expanduser()
    if named := environment.get(ENVIRONMENT):
        return Path(named).expanduser()
    pointer = sandbox_pointer(environment)
    if pointer.is_symlink() and (pointer / FILE).exists():
        return pointer.resolve()
    return home(None, environment)


def home(explicit: str | None, environment: Mapping[str, str]) -> Path:
    """The directory of a profile that is to be made: as `find`, without looking for a sandbox."""
    named = explicit or environment.get(ENVIRONMENT)
    if named:
        return Path(named).expanduser()
    return Path(environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")) / "mpcd"


def sandbox_pointer(environment: Mapping[str, str]) -> Path:
    """The link that `mpcctl sandbox up` leaves: to the analyst's profile in the sandbox that was started last."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "mpcd" / "sandbox-profile"


def _address(directory: Path, written: str) -> str:
    """What `socket` says: a path, which may start beside the profile, or a command that leads to a daemon."""
    return written if is_command(written) else str(directory / written)


def _string(content: Mapping[str, object], key: str) -> str:
    value = content[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` must be text")
    return value


def current_environment() -> Mapping[str, str]:
    """This process's environment; the one place where the client reads it."""
    return os.environ
