"""Making the daemon's Unix sockets, taking them over from systemd, and naming who is at the other end (layer 12).

The file has mode 0660 from its first moment on, whatever the umask.  A stale file of a crashed daemon is replaced; a
file that is not a socket, or a socket that still answers, is left alone and reported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from mpcd.api.types import Caller
from mpcd.errors import ConfigurationInvalid, LocalFault

PATH_BYTES_MAX: Final = 107
"""`sockaddr_un.sun_path` less its final zero."""
_BACKLOG: Final = 32
_LISTEN_FDS_START: Final = 3
_CREDENTIALS: Final = struct.Struct("3i")
_MODE: Final = 0o660


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0660, replacing a stale one.

    Raises:
        ConfigurationInvalid: the path is too long for the kernel, or its directory cannot be written.
        LocalFault: something lives at the path.
    """
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ConfigurationInvalid(
            f"The socket path has more than {PATH_BYTES_MAX} bytes; choose a shorter directory.", path=str(path)
        )
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        # Linux gives the file the descriptor's mode less the umask: never wider than what chmod then makes exact.
        os.fchmod(listener.fileno(), _MODE)
        listener.bind(str(path))
        path.chmod(_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationInvalid(f"Cannot make the socket: {error.strerror}.", path=str(path)) from error
    return listener


def remove(path: Path, listener: socket.socket) -> None:
    """Close `listener` and remove its file, unless another daemon has replaced it meanwhile."""
    listener.close()
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode) and _is_dead(path):
            path.unlink()


def inherited(environment: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets that systemd passed (`LISTEN_FDS`), by their `FileDescriptorName`.

    Raises:
        ConfigurationInvalid: a descriptor is no listening Unix stream socket, or two have one name.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return {}
    count = int(environment.get("LISTEN_FDS", "0"))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    sockets: dict[str, socket.socket] = {}
    for index in range(count):
        descriptor = _LISTEN_FDS_START + index
        name = names[index] if index < len(names) else ""
        item = socket.socket(fileno=descriptor)
        listening = item.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        if item.family != socket.AF_UNIX or item.type != socket.SOCK_STREAM or not listening:
            raise ConfigurationInvalid(f"Descriptor {descriptor} ({name}) is not a listening Unix stream socket.")
        if name in sockets or name not in {"api", "admin"}:
            raise ConfigurationInvalid(
                f"Descriptor {descriptor} has the name {name!r}; expected one each of api, admin."
            )
        item.setblocking(False)
        os.set_inheritable(descriptor, False)
        sockets[name] = item
    return sockets


def caller_of(connection: socket.socket | object, admin_uids: Collection[int]) -> Caller:
    """Who is at the other end, from `SO_PEERCRED`: the kernel's word as of connect time.

    Root, our own uid and the configured uids are administrators.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)  # type: ignore[union-attr]
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    is_admin = uid in {0, os.getuid()} or uid in admin_uids
    return Caller(uid, gid, pid, "admin" if is_admin else "client")


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LocalFault(f"{path} is in the way and is not a socket; move it.")
    if not _is_dead(path):
        raise LocalFault(f"A daemon already answers on {path}; stop it first.")
    path.unlink(missing_ok=True)


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno in {errno.ECONNREFUSED, errno.ENOENT}
    return False
