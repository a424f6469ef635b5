"""Files that hold a private key or a pre-shared key (layer 12).

One line of text: `mpcd-secret-KIND1BODY`, the body being base32 of the seed and four bytes of checksum, so that a
file of another kind and a damaged file are told apart from a wrong key.  The file belongs to the reading user and
nobody else may read it; anything wider is refused, never silently repaired.  A directory of systemd credentials is
read-only to us and counts as private.  What is read passes through one `bytearray` that is wiped.
"""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from pathlib import Path
from typing import Final, TypeVar

from mpcd import canonical
from mpcd.errors import ConfigurationInvalid
from mpcd.identity import ChannelKey, PrivateKey, ResultKey, SigningKey, wipe

PSK_BYTES: Final = 32
_PREFIX: Final = "mpcd-secret-"
_CHECKSUM_BYTES: Final = 4
_FILE_BYTES_MAX: Final = 4096
_MODE: Final = 0o600

KeyType = TypeVar("KeyType", bound=PrivateKey)


def write_key(path: Path, key: SigningKey | ChannelKey | ResultKey) -> None:
    """Write a private key to a new file, mode 0600; an existing file is never overwritten."""
    _write(path, key.kind, key.expose_private_bytes())


def write_psk(path: Path, psk: bytes) -> None:
    """Write a pre-shared key to a new file, mode 0600."""
    assert len(psk) == PSK_BYTES
    _write(path, "psk", psk)


def read_key(path: Path, kind: type[KeyType], *, credential: bool = False) -> KeyType:
    """The private key in `path`.

    Raises:
        ConfigurationInvalid: missing, readable by others, damaged, or of another kind.
    """
    return kind.from_seed(_read(path, kind.kind, kind.seed_bytes, credential=credential))


def read_psk(path: Path, *, credential: bool = False) -> bytes:
    """The pre-shared key in `path`; raises like `read_key`, and never falls back to zeros (rule 24)."""
    seed = _read(path, "psk", PSK_BYTES, credential=credential)
    psk = bytes(seed)
    wipe(seed)
    if not any(psk):
        raise ConfigurationInvalid(
            "A pre-shared key of zeros is no key; make one with `mpcd keygen --psk`.", path=str(path)
        )
    return psk


def check_private(path: Path) -> None:
    """Raise `ConfigurationInvalid` unless `path` is a plain file of ours that nobody else may read or write."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the key file: {error.strerror}.", path=str(path)) from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationInvalid("The key is not a plain file.", path=str(path))
    if found.st_uid not in {os.getuid(), 0}:
        raise ConfigurationInvalid("The key file belongs to another user; it must be ours.", path=str(path))
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigurationInvalid(f"Others may read the key file (mode {mode:04o}); run `chmod 600`.", path=str(path))


def _checksum(kind: str, seed: bytes | bytearray) -> bytes:
    return canonical.digest_bytes("key-file-" + kind, bytes(seed))[:_CHECKSUM_BYTES]


def _write(path: Path, kind: str, seed: bytes) -> None:
    body = base64.b32encode(seed + _checksum(kind, seed)).decode("ascii").rstrip("=").lower()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot make the key file: {error.strerror}.", path=str(path)) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{_PREFIX}{kind}1{body}\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, kind: str, seed_bytes: int, *, credential: bool) -> bytearray:
    if not credential:
        check_private(path)
    content = bytearray(_FILE_BYTES_MAX)
    try:
        with path.open("rb", buffering=0) as file:
            size = file.readinto(content) or 0
        return _parse(path, content[:size], kind, seed_bytes)
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the key file: {error.strerror}.", path=str(path)) from error
    finally:
        wipe(content)


def _parse(path: Path, content: bytearray, kind: str, seed_bytes: int) -> bytearray:
    start = f"{_PREFIX}{kind}1".encode()
    body = content.strip()
    if not body.startswith(start):
        raise ConfigurationInvalid(f"Not a key file of kind `{kind}`.", path=str(path))
    with contextlib.suppress(ValueError):
        encoded = bytes(body[len(start) :]).upper()
        decoded = bytearray(base64.b32decode(encoded + b"=" * (-len(encoded) % 8)))
        seed, check = decoded[:seed_bytes], decoded[seed_bytes:]
        if len(seed) == seed_bytes and check == _checksum(kind, seed):
            return seed
    raise ConfigurationInvalid("The key file is damaged: its checksum does not fit.", path=str(path))
