"""Ways to a daemon: which command an address means, and bytes through a command with time-outs."""

from __future__ import annotations

import shlex
import socket
import sys
import threading
from pathlib import Path

import pytest

from mpcd.api import transport
from mpcd.errors import ConfigurationInvalid

ECHO = """
import os
while data := os.read(0, 65536):
    while data:
        data = data[os.write(1, data) :]
"""


def python(code: str) -> str:
    return f"pipe:{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ssh:lund", ["ssh", "-T", "--", "lund", "mpcctl", "bridge"]),
        (
            "ssh:anna@data.lund.example:2222",
            ["ssh", "-T", "-p", "2222", "--", "anna@data.lund.example", "mpcctl", "bridge"],
        ),
        ("ssh:[2001:db8::1]:22", ["ssh", "-T", "-p", "22", "--", "2001:db8::1", "mpcctl", "bridge"]),
        ("pipe:mpcctl --socket '/a b' bridge", ["mpcctl", "--socket", "/a b", "bridge"]),
    ],
)
def test_an_address_means_a_command(address: str, expected: list[str]) -> None:
    assert transport.command(address) == expected


@pytest.mark.parametrize(
    "address", ["ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a;b", "ssh:a:port", "pipe:", "ssh:$(x)"]
)
def test_what_ssh_or_a_shell_would_misread_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        transport.command(address)


def test_bytes_go_through_a_command_and_it_ends_with_the_connection() -> None:
    connection = transport.open_connection(python(ECHO), 20.0)
    sent = bytes(range(256)) * 4000
    got = bytearray()
    for start in range(0, len(sent), 50_000):
        connection.send(sent[start : start + 50_000])
        while len(got) < min(start + 50_000, len(sent)):
            data = connection.receive(7000)
            assert data
            got += data
    connection.close()
    assert got == sent
    assert isinstance(connection, transport.CommandConnection)
    assert connection._process.returncode == 0


def test_a_command_that_ends_is_an_end_and_stays_one() -> None:
    connection = transport.open_connection(python("print('x', end='')"), 20.0)
    assert connection.receive(10) == b"x"
    assert connection.receive(10) == b""
    assert connection.receive(10) == b""
    connection.close()


def test_a_silent_command_is_a_time_out_and_is_ended() -> None:
    connection = transport.open_connection(python("import time; time.sleep(600)"), 0.05)
    with pytest.raises(TimeoutError):
        connection.receive(10)
    assert isinstance(connection, transport.CommandConnection)
    connection.close()
    assert connection._process.returncode is not None


def test_a_missing_command_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="No such file"):
        transport.open_connection("pipe:/nowhere/at/all", 1.0)


def test_a_socket_of_this_host(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(accepted.recv(100)[::-1])

        thread = threading.Thread(target=answer)
        thread.start()
        connection = transport.open_connection(tmp_path / "s", 20.0)
        connection.send(b"abc")
        assert connection.receive(10) == b"cba"
        connection.close()
        thread.join()
