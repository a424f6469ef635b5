"""The client alone: what its wheel holds, and that it runs where nothing else of mpcd is, and no compiler."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client_wheel", ROOT / "scripts" / "client_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = builder.build(tmp_path_factory.mktemp("wheel"))
    return path


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        return opened.namelist()


def test_it_holds_pure_python_and_nothing_of_the_daemon(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    held = [name for name in names(wheel) if name.startswith("mpcd/")]
    assert "mpcd/cli/enrol.py" in held
    assert all(name.endswith((".py", ".typed")) for name in held)
    parts = {name.split("/")[1] for name in held if name.count("/") > 1}
    assert parts == {"api", "cli", "governance", "identity", "results", "roster", "store"}


def test_the_same_sources_give_the_same_bytes(builder: ModuleType, wheel: Path, tmp_path: Path) -> None:
    assert builder.build(tmp_path).read_bytes() == wheel.read_bytes()


def test_a_command_that_would_need_the_daemon_stops_the_build(builder: ModuleType) -> None:
    with pytest.raises(SystemExit, match="belongs to the daemon"):
        builder.closure(["mpcd.cli.sandbox"])


def test_it_declares_exactly_what_it_imports(builder: ModuleType, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (place,) = [name for name in opened.namelist() if name.endswith("METADATA")]
        text = opened.read(place).decode()
    declared = {line.split()[1].partition(">")[0] for line in text.splitlines() if line.startswith("Requires-Dist")}
    roots = ["mpcd.cli.main", *(name for name in builder.commands() if name not in builder.NOT_IN_CLIENT)]
    _, foreign = builder.closure(roots)
    assert declared == {builder.IMPORTED[name] for name in foreign}


WITHOUT_POSIX = """
import os, socket, sys
for name in ("fcntl", "pwd", "grp", "resource", "termios", "syslog"):
    sys.modules[name] = None
for name in ("geteuid", "getuid", "readv", "O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
del socket.AF_UNIX, socket.SOCK_CLOEXEC
sys.argv = ["mpcctl", *sys.argv[1:]]
from mpcd.cli.main import main
sys.exit(main())
"""
"""A start of `mpcctl` on a system that has none of what Windows lacks (Python imports most of it before we run)."""


def run(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from inside the wheel, with its dependencies but no other mpcd on the path."""
    environment = {"PYTHONPATH": str(wheel), "PATH": os.environ["PATH"], "HOME": "/nowhere"}
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITHOUT_POSIX, *arguments],
        env=environment,
        cwd=wheel.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["analyst", "--help"], ["analyst", "init", "--help"]])
def test_it_starts_without_what_windows_lacks(wheel: Path, arguments: list[str]) -> None:
    done = run(wheel, *arguments)
    assert done.returncode == 0, done.stderr
    assert "mpcctl" in done.stdout


def test_every_command_of_it_can_be_imported_there(wheel: Path) -> None:
    listed = run(wheel, "--help").stdout.partition("Commands:")[2]
    commands = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert "sandbox" in commands
    for command in commands:
        done = run(wheel, command, "--help")
        if command == "sandbox":
            assert done.returncode == 1
            assert "the client alone" in done.stderr
        else:
            assert done.returncode == 0, (command, done.stderr)


def test_it_says_what_to_do_where_there_are_no_unix_sockets(wheel: Path) -> None:
    done = run(wheel, "--socket", "/run/mpcd/api.sock", "analyst", "init")
    assert done.returncode == 1
    assert "ssh:HOST" in done.stderr
