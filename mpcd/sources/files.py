"""Whether a source file can be read, before a child is started for it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def why_unreadable(path: Path) -> str | None:
    """Why the user that we run as cannot read the file `path`, in one sentence that says what to do; None if it can."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return f"{path} is no file that can be read, but a {'directory' if stat.S_ISDIR(mode) else 'special file'}"
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"there is no file {path}"
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            return (
                f"{path} cannot be read: permission denied for uid {os.geteuid()}, as which mpcd runs; "
                "let it read the file and enter the directories above it"
            )
        return f"{path} cannot be read: {(error.strerror or type(error).__name__).lower()}"
