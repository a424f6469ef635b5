"""The opt-out list: the ids of persons whose rows no snapshot takes in any more.

A text file, one id a line as the source data has it, empty lines and lines that begin with `#` left out.  The ids stand
there as they are: they have to be matched with the source data, and a hash of an id that can be enumerated hides it
from nobody who has the file.  So the file is its owner's alone (0600), which is checked whenever it is read, and it is
the only place in which the daemon keeps them; the ledger and the log hold counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mpcd import limits
from mpcd.errors import DataInvalid, RequestInvalid
from mpcd.sources.snapshot import write_durably

_OTHERS = 0o077
_BYTES_MAX = limits.OPT_OUT_IDS_MAX * (limits.OPT_OUT_ID_CHARACTERS_MAX + 1)


def read(path: Path) -> tuple[str, ...]:
    """The listed ids, each once, in order; none where there is no file.

    Raises:
        DataInvalid: others than its owner may read or write the file, it cannot be read, or it is too long.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise DataInvalid(f"the opt-out list {path} cannot be read: {(error.strerror or '').lower()}") from error
    if stat.S_IMODE(mode) & _OTHERS:
        raise DataInvalid(f"the opt-out list {path} is open to others than its owner; run `chmod 600` on it")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataInvalid(f"the opt-out list {path} is not UTF-8 text") from error
    return _listed(line for line in lines if not line.lstrip().startswith("#"))


def write(path: Path, ids: Iterable[str]) -> None:
    """Replace the list; readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(path, "".join(f"{one}\n" for one in _listed(ids)), 0o600)


def checked(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids as somebody gives them, each once.

    Raises:
        RequestInvalid: one that the file cannot hold as it is.
    """
    found = tuple(ids)
    for one in found:
        text = one.strip()
        if not text or text.startswith("#") or not text.isprintable():
            raise RequestInvalid("an id is one line of printable text that does not begin with `#`")
    try:
        return _listed(found)
    except DataInvalid as error:
        raise RequestInvalid(str(error)) from error


def _listed(ids: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text for one in ids if (text := one.strip())))
    if len(found) > limits.OPT_OUT_IDS_MAX:
        raise DataInvalid(f"the opt-out list has more than {limits.OPT_OUT_IDS_MAX} ids")
    if any(len(one) > limits.OPT_OUT_ID_CHARACTERS_MAX for one in found):
        raise DataInvalid(f"an id of the opt-out list has more than {limits.OPT_OUT_ID_CHARACTERS_MAX} characters")
    return found
