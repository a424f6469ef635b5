"""Where a sandbox keeps things, and the record of what was started (layer 14).

    DIRECTORY/sandbox.json                  this record
    DIRECTORY/analyst/                      profile and key of the one analyst
    DIRECTORY/hospital-N/mpcd.toml          configuration, roster, policy
    DIRECTORY/hospital-N/keys/ state/ data/ log.json

Unix socket paths have 107 bytes at most: where DIRECTORY is too long, the sockets live in a short directory under
/tmp that the record names.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mpcd.api.profile import FILE as PROFILE
from mpcd.api.profile import sandbox_pointer
from mpcd.api.sockets import PATH_BYTES_MAX
from mpcd.errors import ConfigurationInvalid, RequestInvalid

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
        ConfigurationInvalid: the record cannot be read, or is damaged.
    """
    path = directory / RECORD
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationInvalid(
            f"This record of a sandbox cannot be read ({error.strerror}); run this as the user who started it, "
            "or name another directory with --dir.",
            path=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(path) from error
    try:
        content = json.loads(text)
        hospitals = tuple(
            Hospital(**{**item, "process": None if item["process"] is None else ProcessId(**item["process"])})
            for item in content["hospitals"]
        )
        return Record(content["consortium"], content["tables"], hospitals, content["socket_directory"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        "This record of a sandbox is damaged; stop its daemons by hand and remove the directory.", path=str(path)
    )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other `sandbox` commands off `directory`, which exists.

    Raises:
        RequestInvalid: another one is at work there.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(handle), directory.stat())  # not one that was just removed
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise RequestInvalid(f"Another `mpcctl sandbox` command is at work in {directory}; try again when it ends.")
        yield
    finally:
        os.close(handle)


def set_pointer(environment: Mapping[str, str], profile: Path) -> None:
    """Let plain `mpcctl` use `profile` from now on; the sandboxes that are up besides are remembered."""
    pointer = sandbox_pointer(environment)
    pointer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remembered = _remembered(environment)
    remembered.mkdir(mode=0o700, exist_ok=True)
    newest = max((int(link.name) for link in remembered.iterdir() if link.name.isdigit()), default=0)
    for link in remembered.iterdir():
        if link.resolve() == profile.resolve():
            link.unlink()
    (remembered / str(newest + 1)).symlink_to(profile)
    _point(pointer, profile)


def clear_pointer(environment: Mapping[str, str], profile: Path) -> None:
    """Undo `set_pointer`: where plain `mpcctl` used `profile`, it uses the newest sandbox that is left."""
    pointer = sandbox_pointer(environment)
    remembered = _remembered(environment)
    links = [link for link in remembered.iterdir() if link.name.isdigit()] if remembered.is_dir() else []
    others: list[Path] = []
    for link in sorted(links, key=lambda link: int(link.name)):
        if link.resolve() == profile.resolve() or not (link / PROFILE).exists():
            link.unlink(missing_ok=True)
        else:
            others.append(link.resolve())
    if pointer.is_symlink() and pointer.resolve() == profile.resolve():
        if others:
            _point(pointer, others[-1])
        else:
            pointer.unlink()


def _remembered(environment: Mapping[str, str]) -> Path:
    """Links to the analysts of all sandboxes that are up, numbered in the order of their starts."""
    return sandbox_pointer(environment).with_name("sandboxes")


def _point(pointer: Path, profile: Path) -> None:
    temporary = pointer.with_name(f".{pointer.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(profile)
    temporary.replace(pointer)
