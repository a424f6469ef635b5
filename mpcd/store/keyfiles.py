"""Private keys on disk: one key per file, mode 0600, kind and public key beside the private one (shell).

A key file is a line `mpcd-private-key 1 KIND`, then the raw public key, then the seed, in binary.  Reading derives
the public key again and compares, so a damaged file is an error and not another key.  The line says what the file is
for, so the channel's key cannot be given where a signing key is meant (rule 25).  The bytes go into a `bytearray`
that is wiped as soon as the library holds the key.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, TypeVar

from mpcd import limits
from mpcd.errors import ConfigurationInvalid, LocalFault
from mpcd.identity import IdentityError, PrivateKey, equal_secrets, wipe
from mpcd.store.files import FILE_MODE, OPEN_FLAGS, sync_directory

_MAGIC: Final = b"mpcd-private-key 1 "
_GROUP_READ: Final = stat.S_IRGRP
_OTHERS: Final = 0o077
_READ_FLAGS: Final[int] = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY"))
Key = TypeVar("Key", bound=PrivateKey)


def write_key(path: Path, key: PrivateKey) -> None:
    """Write `key` to a new file of mode 0600, durably.

    Raises:
        LocalFault: the file exists (a key is never overwritten), or cannot be written.
    """
    content = bytearray(_MAGIC + key.kind.encode() + b"\n" + key.public.raw + key.expose_private_bytes())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, FILE_MODE)
    except FileExistsError as error:
        wipe(content)
        raise LocalFault(f"{path} exists; a key file is never overwritten: move it away first") from error
    except OSError as error:
        wipe(content)
        raise LocalFault(f"the key file {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise LocalFault(f"the key file {path} cannot be written: {error.strerror}") from error
    finally:
        wipe(content)


def read_key(path: Path, kind: type[Key], *, credentials_directory: Path | None = None) -> Key:
    """The key of `kind` in the file `path`.

    Args:
        path: as `write_key` made it.
        kind: `SigningKey`, `ChannelKey` or `ResultKey`.
        credentials_directory: where the service manager puts credentials; a file there belongs to root and shows its
            access list as group bits.

    Raises:
        ConfigurationInvalid: others can read it, or it is damaged or of another kind.
        LocalFault: cannot be read.
    """
    content = read_private_file(path, limits.KEY_FILE_BYTES_MAX, credentials_directory=credentials_directory)
    try:
        return _parse(content, kind, path)
    finally:
        wipe(content)


def _parse(content: bytearray, kind: type[Key], path: Path) -> Key:
    header = _MAGIC + kind.kind.encode() + b"\n"
    if not content.startswith(_MAGIC):
        raise ConfigurationInvalid("is not a private key file of mpcd; make one with `mpcd keygen`", path=str(path))
    if not content.startswith(header):
        raise ConfigurationInvalid(
            f"holds a key of another kind; a key of kind `{kind.kind}` is needed here", path=str(path)
        )
    public_end = len(content) - kind.seed_bytes
    if public_end < len(header):
        raise ConfigurationInvalid("is cut short; restore the key file from its backup", path=str(path))
    written = bytes(content[len(header) : public_end])
    try:
        key = kind.from_seed(content[public_end:])
    except (IdentityError, ValueError) as error:
        raise ConfigurationInvalid("is damaged; restore the key file from its backup", path=str(path)) from error
    if not equal_secrets(written, key.public.raw):
        raise ConfigurationInvalid("is damaged: its two halves do not fit; restore it from its backup", path=str(path))
    return key


def read_private_file(path: Path, bytes_max: int, *, credentials_directory: Path | None = None) -> bytearray:
    """The content of a file that nobody else can read; the caller wipes it.

    Raises:
        ConfigurationInvalid: not a regular file, another owner, open to group or world, or longer than `bytes_max`.
        LocalFault: cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _READ_FLAGS)
    except OSError as error:
        raise LocalFault(f"{path} cannot be read: {error.strerror}") from error
    content = bytearray(bytes_max + 1)
    try:
        _check_private(os.fstat(descriptor), path, credentials_directory)
        filled = 0
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file, memoryview(content) as view:
            while filled <= bytes_max and (count := file.readinto(view[filled:])):
                filled += count
    except OSError as error:
        wipe(content)
        raise LocalFault(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if filled > bytes_max:
        wipe(content)
        raise ConfigurationInvalid(f"is longer than {bytes_max} bytes", path=str(path))
    del content[filled:]
    return content


def _check_private(found: os.stat_result, path: Path, credentials_directory: Path | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationInvalid("is not a regular file", path=str(path))
    if not hasattr(os, "geteuid"):
        return  # Windows: the directory's access list protects the user's files, and modes say nothing
    is_credential = credentials_directory is not None and path.parent == credentials_directory and found.st_uid == 0
    if is_credential:
        forbidden = _OTHERS & ~_GROUP_READ
    else:
        forbidden = _OTHERS
        if found.st_uid != os.geteuid():
            raise ConfigurationInvalid(f"belongs to uid {found.st_uid}, not to uid {os.geteuid()}", path=str(path))
    if found.st_mode & forbidden:
        raise ConfigurationInvalid(
            f"is a secret, but open to group or world (mode {stat.S_IMODE(found.st_mode):04o}); chmod 600 it and, "
            "if others may have read it, replace the key",
            path=str(path),
        )
