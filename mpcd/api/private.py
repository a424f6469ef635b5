"""Files of a person that nobody else reads (layer 12); the same on every system that Python knows."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from mpcd.errors import LocalFault

_MODE: Final = 0o600


def write_private(file: Path, content: bytes) -> None:
    """Write a new file that only its owner reads, durably.

    Raises:
        LocalFault: it exists, or cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _MODE)
    except OSError as error:
        raise LocalFault(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            file.unlink()
        raise LocalFault(f"{file} cannot be written: {error.strerror}") from error


def read_private(file: Path, bytes_max: int) -> bytes:
    """The content of a file, at most `bytes_max` and one more byte; raises `LocalFault`."""
    try:
        with file.open("rb") as opened:
            return opened.read(bytes_max + 1)
    except OSError as error:
        raise LocalFault(f"{file} cannot be read: {error.strerror}") from error
