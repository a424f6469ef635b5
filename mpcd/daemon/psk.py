"""Files that hold the pre-shared key of one pair of parties: mode 0600, a line that says so, 32 bytes (layer 13)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mpcd.errors import ConfigurationInvalid
from mpcd.identity import wipe
from mpcd.store.keyfiles import read_private_file

PSK_BYTES: Final = 32
_MAGIC: Final = b"mpcd-pre-shared-key 1\n"
_MODE: Final = 0o600


def write_psk(path: Path, psk: bytes) -> None:
    """Write a pre-shared key to a new file; an existing one is never overwritten."""
    assert len(psk) == PSK_BYTES
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot make the key file: {error.strerror}.", path=str(path)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(_MAGIC + psk)
        file.flush()
        os.fsync(file.fileno())


def read_psk(path: Path, *, credentials_directory: Path | None = None) -> bytes:
    """The pre-shared key in `path`.

    Raises:
        ConfigurationInvalid: open to others, damaged, or all zeros, which is no key (rule 24).
        LocalFault: cannot be read.
    """
    content = read_private_file(path, len(_MAGIC) + PSK_BYTES, credentials_directory=credentials_directory)
    try:
        psk = bytes(content[len(_MAGIC) :])
        if not content.startswith(_MAGIC) or len(psk) != PSK_BYTES:
            raise ConfigurationInvalid("is not a pre-shared key; make one with `mpcd keygen --psk`", path=str(path))
    finally:
        wipe(content)
    if not any(psk):
        raise ConfigurationInvalid("is all zeros, which is no key; make one with `mpcd keygen --psk`", path=str(path))
    return psk
