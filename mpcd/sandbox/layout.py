"""Where a sandbox keeps things, and the record of what was started (layer 14).

    DIRECTORY/sandbox.json                  this record
    DIRECTORY/analyst/                      profile and key of the one analyst
    DIRECTORY/hospital-N/mpcd.toml          configuration, roster, policy
    DIRECTORY/hospital-N/keys/ state/ data/ log.json

Unix socket paths have 107 bytes at most: where DIRECTORY is too long, the sockets live in a short directory under
/tmp that the record names.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mpcd.api.profile import sandbox_pointer
from mpcd.api.sockets import PATH_BYTES_MAX
from mpcd.errors import ConfigurationInvalid

RECORD: Final = "sandbox.json"
ANALYST: Final = "analyst"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same number."""

    pid: int
    started_ticks: int
    """Start time in clock ticks since boot, from `/proc`."""
    boot: str


@dataclass(frozen=True, slots=True)
class Hospital:
    """One daemon of the sandbox."""

    party: int
    name: str
    port: int
    api: str
    admin: str
    process: ProcessId | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What was started."""

    consortium: str
    tables: Mapping[str, list[int]]
    """Rows of each table at each hospital."""
    hospitals: tuple[Hospital, ...]
    socket_directory: str | None
    """To be removed with the sandbox; None where the sockets lie in it."""


def default_directory(environment: Mapping[str, str]) -> Path:
    """Of a new sandbox, unless `--dir` names one."""
    return sandbox_pointer(environment).with_name("sandbox")


def current_directory(environment: Mapping[str, str]) -> Path:
    """Of the sandbox that was started last, or the default one."""
    pointer = sandbox_pointer(environment)
    return pointer.resolve().parent if pointer.is_symlink() else default_directory(environment)


def hospital_directory(directory: Path, party: int) -> Path:
    """Of one daemon."""
    return directory / f"hospital-{party}"


def socket_paths(directory: Path, hospitals: int) -> tuple[list[tuple[Path, Path]], Path | None]:
    """API and administration socket of each hospital, and the directory that was made for them if one was."""
    home, made = directory, None
    longest = hospital_directory(directory, hospitals) / "admin.sock"
    if len(os.fsencode(longest)) > PATH_BYTES_MAX:
        made = home = Path(tempfile.mkdtemp(prefix="mpcd-sandbox-", dir="/tmp"))  # mkdtemp makes it private
        for party in range(hospitals):
            hospital_directory(home, party).mkdir(mode=0o700)
    return [
        (hospital_directory(home, party) / "api.sock", hospital_directory(home, party) / "admin.sock")
        for party in range(hospitals)
    ], made


def write_record(directory: Path, record: Record) -> None:
    """Keep `record`, replacing the old one in one step."""
    temporary = directory / f".{RECORD}"
    temporary.write_text(json.dumps({"format": _FORMAT, **asdict(record)}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(directory / RECORD)


def read_record(directory: Path) -> Record | None:
    """What was started in `directory`; None if it is no sandbox.

    Raises:
        ConfigurationInvalid: the record is damaged.
    """
    path = directory / RECORD
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        hospitals = tuple(
            Hospital(**{**item, "process": None if item["process"] is None else ProcessId(**item["process"])})
            for item in content["hospitals"]
        )
        return Record(content["consortium"], content["tables"], hospitals, content["socket_directory"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationInvalid(
            "This record of a sandbox is damaged; stop its daemons by hand and remove the directory.", path=str(path)
        ) from error


def set_pointer(environment: Mapping[str, str], profile: Path) -> None:
    """Let plain `mpcctl` use `profile` from now on."""
    pointer = sandbox_pointer(environment)
    pointer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = pointer.with_name(f".{pointer.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(profile)
    temporary.replace(pointer)


def clear_pointer(environment: Mapping[str, str], profile: Path) -> None:
    """Undo `set_pointer`, unless another sandbox has set it since."""
    pointer = sandbox_pointer(environment)
    if pointer.is_symlink() and pointer.resolve() == profile.resolve():
        pointer.unlink()
