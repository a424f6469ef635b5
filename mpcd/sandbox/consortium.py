"""`sandbox up`, `status` and `down` (layer 14)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mpcd import limits
from mpcd.errors import ConfigurationInvalid, NotFound, RequestInvalid
from mpcd.ids import COMPUTE_PARTIES
from mpcd.sandbox import layout, processes
from mpcd.sandbox.layout import ANALYST, Hospital, Record, hospital_directory
from mpcd.sandbox.prepare import CONSORTIUM, TableFiles, prepare

Say = Callable[[str], None]
_DIRECTORY_MODE: Final = 0o700


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox that is up."""

    directory: Path
    record: Record
    notes: tuple[str, ...]
    """What the proposed schema left out or rounded."""

    @property
    def profile(self) -> Path:
        """Of the sandbox's analyst."""
        return self.directory / ANALYST


@dataclass(frozen=True, slots=True)
class HospitalStatus:
    """How one daemon is."""

    hospital: Hospital
    alive: bool
    connected: tuple[int, int] | None
    """Peers with a channel, peers in all; None if it does not answer in time."""


def up(
    directory: Path,
    hospitals: int,
    tables: Sequence[TableFiles],
    policies: Mapping[int | None, Path],
    environment: Mapping[str, str],
    say: Say,
    schema: Path | None = None,
) -> Started:
    """Make and start a sandbox; plain `mpcctl` speaks to it afterwards.

    Raises:
        RequestInvalid, DataInvalid, ConfigurationInvalid: something given cannot be used.
        LocalFault: a daemon did not start; nothing is left running.
    """
    _check(hospitals, tables, policies)
    _make_directory(directory)
    with layout.locked(directory):
        _make_room(directory)
        return _up(directory, hospitals, tables, policies, environment, say, schema)


def _up(
    directory: Path,
    hospitals: int,
    tables: Sequence[TableFiles],
    policies: Mapping[int | None, Path],
    environment: Mapping[str, str],
    say: Say,
    schema: Path | None = None,
) -> Started:
    """See `up`; in an empty directory that is ours."""
    listeners = [processes.bind_loopback() for _ in range(hospitals)]
    started: list[processes.Daemon] = []
    try:
        for party in range(hospitals):
            hospital_directory(directory, party).mkdir(mode=_DIRECTORY_MODE)
        sockets, made = layout.socket_paths(directory, hospitals)
        plan = tuple(
            Hospital(party, f"hospital-{party}", listeners[party].getsockname()[1], str(api), str(admin))
            for party, (api, admin) in enumerate(sockets)
        )
        record = Record(CONSORTIUM, {}, plan, None if made is None else str(made))
        layout.write_record(directory, record)
        prepared = prepare(directory, plan, tables, policies, say, schema)
        say(f"starting {hospitals} daemons")
        for party, listener in enumerate(listeners):
            started.append(processes.start(hospital_directory(directory, party), listener))
            listener.close()
            plan = tuple(
                replace(hospital, process=processes.identify(started[-1].pid)) if hospital.party == party else hospital
                for hospital in plan
            )
            record = replace(record, tables=prepared.rows, hospitals=plan)
            layout.write_record(directory, record)
        say("waiting for their channels")
        processes.wait_ready(
            (hospital, process, hospital_directory(directory, hospital.party))
            for hospital, process in zip(plan, started, strict=True)
        )
    except BaseException:
        _abandon(started, say)
        raise
    finally:
        for listener in listeners:
            listener.close()
    layout.set_pointer(environment, directory / ANALYST)
    return Started(directory, record, prepared.notes)


def status(directory: Path) -> tuple[Record, list[HospitalStatus]]:
    """How the sandbox in `directory` is.

    Raises:
        NotFound: there is none.
    """
    record = layout.read_record(directory)
    if record is None:
        raise NotFound(f"There is no sandbox in {directory}; make one with `mpcctl sandbox up`.")
    with ThreadPoolExecutor(max_workers=len(record.hospitals)) as pool:
        return record, list(pool.map(_status, record.hospitals))


def _status(hospital: Hospital) -> HospitalStatus:
    alive = processes.daemon_of(hospital) is not None
    return HospitalStatus(hospital, alive, processes.peers_connected(hospital) if alive else None)


def down(directory: Path, environment: Mapping[str, str], say: Say) -> int:
    """Stop the sandbox in `directory` and remove it; how many daemons were still running.

    Raises:
        NotFound: there is none.
        LocalFault: a process cannot be ended.
    """
    if layout.read_record(directory) is None:
        raise NotFound(f"There is no sandbox in {directory}.")
    with layout.locked(directory):
        return _down(directory, environment, say)


def _down(directory: Path, environment: Mapping[str, str], say: Say) -> int:
    record = layout.read_record(directory)
    if record is None:
        raise NotFound(f"There is no sandbox in {directory}.")
    known = [process for hospital in record.hospitals if (process := processes.daemon_of(hospital)) is not None]
    running = len(known)
    processes.stop(known, say)
    layout.clear_pointer(environment, directory / ANALYST)
    _remove(directory, record)
    return running


def _check(hospitals: int, tables: Sequence[TableFiles], policies: Mapping[int | None, Path]) -> None:
    if not COMPUTE_PARTIES <= hospitals <= limits.INPUT_OWNERS_MAX:
        raise RequestInvalid(f"A sandbox has {COMPUTE_PARTIES} to {limits.INPUT_OWNERS_MAX} hospitals.")
    if not tables:
        raise RequestInvalid("Give at least one table: --table NAME=FILE.")
    names = [table.name for table in tables]
    if len(set(names)) != len(names):
        raise RequestInvalid("A table is named twice.")
    for party in policies:
        if party is not None and not 0 <= party < hospitals:
            raise RequestInvalid(f"--policy names hospital {party}; there are 0 to {hospitals - 1}.")


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot make the directory: {error.strerror}.", path=str(directory)) from error


def _make_room(directory: Path) -> None:
    """Take away what is left of a sandbox that is no longer up; anything else is left alone."""
    old = layout.read_record(directory)
    if old is not None:
        if any(processes.daemon_of(hospital) is not None for hospital in old.hospitals):
            raise RequestInvalid(f"A sandbox is up in {directory}; end it with `mpcctl sandbox down`.")
        processes.stop([hospital.process for hospital in old.hospitals if hospital.process is not None], lambda _: None)
        _remove(directory, old, keep_directory=True)
    try:
        if any(directory.iterdir()):
            raise RequestInvalid(f"{directory} is not empty and holds no sandbox; name another with --dir.")
        directory.chmod(_DIRECTORY_MODE)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot use the directory: {error.strerror}.", path=str(directory)) from error


def _abandon(started: Sequence[processes.Daemon], say: Say) -> None:
    known = [found for process in started if (found := processes.identify(process.pid)) is not None]
    with contextlib.suppress(ProcessLookupError):
        processes.stop(known, say)
    for process in started:
        process.wait()


def _remove(directory: Path, record: Record, *, keep_directory: bool = False) -> None:
    # Snapshots are read-only files in directories that we may write.
    if keep_directory:
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    else:
        shutil.rmtree(directory)
    if record.socket_directory is not None:
        shutil.rmtree(record.socket_directory, ignore_errors=True)
