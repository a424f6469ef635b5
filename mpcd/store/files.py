"""Files that only we may read: directories of mode 0700, files of mode 0600, checked before they are trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from mpcd.errors import ConfigurationInvalid, LocalFault, StoreFailed

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077
OPEN_FLAGS: Final[int] = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""For every open here; what a system lacks is left out (the client's key files are used on Windows too)."""


def private_directory(directory: Path) -> None:
    """Make `directory` if it is not there, and refuse one that others can enter.

    Raises:
        ConfigurationInvalid: not a directory, another owner, or open to group or world.
        LocalFault: cannot be made.
    """
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise LocalFault(f"the directory {directory} cannot be made or read: {error.strerror}") from error
    _check(found, directory, "chmod 700")


def private_file(path: Path) -> None:
    """Make an empty file of mode 0600 if there is none, and refuse one that others can read.

    Raises:
        ConfigurationInvalid: not a regular file, another owner, or open to group or world.
        LocalFault: cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, FILE_MODE)
    except OSError as error:
        raise LocalFault(f"the file {path} cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationInvalid("is not a regular file", path=str(path))
        _check(found, path, "chmod 600")
    finally:
        os.close(descriptor)


def _check(found: os.stat_result, path: Path, remedy: str) -> None:
    if found.st_uid != os.geteuid():
        raise ConfigurationInvalid(
            f"belongs to uid {found.st_uid}, not to uid {os.geteuid()}, which runs mpcd", path=str(path)
        )
    if found.st_mode & _OTHERS:
        raise ConfigurationInvalid(
            f"is open to group or world (mode {stat.S_IMODE(found.st_mode):04o}); {remedy} it", path=str(path)
        )


class DirectoryLock:
    """Held while one process uses a state directory; the kernel drops it when the process dies."""

    def __init__(self, directory: Path) -> None:
        import fcntl  # noqa: PLC0415  # not on Windows, where clients read key files and nobody locks a state

        path = directory / "lock"
        private_file(path)
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise StoreFailed(f"another mpcd uses the state directory {directory}; stop it first") from error

    def read(self) -> bytes:
        """What the lock file says; empty before the first `write`."""
        assert self._descriptor is not None
        return os.pread(self._descriptor, 1024, 0)

    def write(self, content: bytes) -> None:
        """Note something durably beside the state, once."""
        assert self._descriptor is not None
        os.pwrite(self._descriptor, content, 0)
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Let another process use the directory; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` survive a power loss, where the system lets us."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
