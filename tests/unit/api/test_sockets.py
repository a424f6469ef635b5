from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mpcd.api import sockets
from mpcd.errors import ConfigurationInvalid, LocalFault


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_socket_has_mode_0660_whatever_the_umask(short_directory: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        with sockets.listen(short_directory / "s") as listener:
            mode = (short_directory / "s").stat().st_mode
            assert stat.S_IMODE(mode) == 0o660
            assert not listener.getblocking()
    finally:
        os.umask(old)


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(short_directory: Path) -> None:
    path = short_directory / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with sockets.listen(path) as living:
        with pytest.raises(LocalFault, match="already answers"):
            sockets.listen(path)
        sockets.remove(path, living)
    assert not path.exists()


def test_what_is_not_a_socket_is_left_alone(short_directory: Path) -> None:
    path = short_directory / "s"
    path.write_text("precious")
    with pytest.raises(LocalFault, match="not a socket"):
        sockets.listen(path)
    assert path.read_text() == "precious"


def test_removing_leaves_another_daemons_socket(short_directory: Path) -> None:
    path = short_directory / "s"
    first = sockets.listen(path)
    path.unlink()
    with sockets.listen(path):
        sockets.remove(path, first)
        assert path.exists()


def test_a_path_that_the_kernel_cannot_take_is_refused_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="107"):
        sockets.listen(tmp_path / ("x" * 120))
    with pytest.raises(ConfigurationInvalid, match="Cannot make"):
        sockets.listen(Path("/nowhere-at-all/s"))


def test_the_caller_is_who_the_kernel_says() -> None:
    left, right = socket.socketpair()
    with left, right:
        caller = sockets.caller_of(left, ())
    assert (caller.uid, caller.gid, caller.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert caller.is_admin


@pytest.mark.usefixtures("not_admin")
def test_roles_by_uid() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert sockets.caller_of(left, ()).role == "client"
        assert sockets.caller_of(left, (4321,)).role == "admin"


def test_systemd_sockets_are_taken_over_by_name(short_directory: Path) -> None:
    """A child gets two listening sockets as descriptors 3 and 4, the way systemd passes them."""
    code = textwrap.dedent("""
        import os, socket, sys
        names = sys.argv[1]
        pair = []
        for index in range(2):
            item = socket.socket(socket.AF_UNIX)
            item.bind(f"{sys.argv[2]}/{index}")
            if sys.argv[3] == "listening":
                item.listen()
            pair.append(item)
        high = [os.dup(item.fileno()) + 0 for item in pair]
        for index, item in enumerate(high):
            os.dup2(item, 3 + index)
        from mpcd.api.sockets import inherited
        from mpcd.errors import ConfigurationInvalid
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        try:
            found = inherited(environment, os.getpid())
            print({name: item.getsockname()[-1] for name, item in sorted(found.items())}, os.get_inheritable(3))
            assert inherited({**environment, "LISTEN_PID": "1"}, os.getpid()) == {}
            assert inherited({}, os.getpid()) == {}
        except ConfigurationInvalid as error:
            print("refused:", error)
        os._exit(0)
    """)

    def run(names: str, state: str, place: str) -> str:
        directory = short_directory / place
        directory.mkdir()
        arguments = [sys.executable, "-u", "-c", code, names, str(directory), state]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert run("api:admin", "listening", "a") == "{'admin': '1', 'api': '0'} False"
    assert run("admin:api", "listening", "b") == "{'admin': '0', 'api': '1'} False"
    assert run("api:api", "listening", "c").startswith("refused:")
    assert run("api:other", "listening", "d").startswith("refused:")
    assert run("api:admin", "bound only", "e").startswith("refused:")
