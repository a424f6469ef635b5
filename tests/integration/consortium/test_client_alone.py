"""The client's wheel in a bare environment: installed alone, it asks real daemons through a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    Sandbox = Any

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
NEEDED: Final = (
    "click",
    "cffi",
    "cryptography",
    "markdown-it-py",
    "mdurl",
    "msgpack",
    "pycparser",
    "pygments",
    "pynacl",
    "rich",
)
"""What pip would fetch for the wheel: its requirements and theirs; linked from here, so that no network is needed."""


def link(name: str, target: Path) -> None:
    """Make an installed distribution visible in another environment."""
    found = distribution(name)
    for top in {Path(file.parts[0]) for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
        source = Path(str(found.locate_file(top)))
        if not (target / top).exists():
            (target / top).symlink_to(source)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the client and what it requires; `bin/mpcctl` is there."""
    base = tmp_path_factory.mktemp("bare")
    built = subprocess.run(
        [sys.executable, ROOT / "scripts" / "client_wheel.py", base], capture_output=True, text=True, check=True
    )
    place = base / "venv"
    venv.create(place, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))
    for name in NEEDED:
        link(name, packages)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(place / "bin" / "python")),
            *("install", "--quiet", "--no-index", built.stdout.strip()),
        ],
        check=True,
        timeout=120,
        env={"PATH": "/nowhere", "HOME": str(base)},  # no compiler in sight
    )
    return place


def run(bare: Path, home: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [bare / "bin" / "mpcctl", *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_brings_nothing_of_the_daemon(bare: Path) -> None:
    code = "import mpcd.cli.main, importlib.util as u; print([n for n in %r if u.find_spec(n)])"
    code %= (("numpy", "duckdb", "trio", "sqlglot"),)
    done = subprocess.run([bare / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_asks_a_consortium_through_a_command(bare: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    bridge = f"pipe:{sys.executable} -m mpcd.cli.main --socket {sandbox.hospitals[1].api} bridge"
    assert "analyst" in run(bare, tmp_path, "--help")
    run(bare, tmp_path, "--socket", bridge, "analyst", "init", "--yes")
    run(
        *(bare, tmp_path, "analyst", "request-access", "--name", "Bo", "--contact", "bo@example.org"),
        *("--institution", "Lund", "--country", "SE", "--reason", "Survival."),
    )
    waiting: dict[str, str] = {}
    for hospital in sandbox.hospitals:
        admin = ("--socket", str(hospital.admin))
        (waiting,) = json.loads(run(bare, tmp_path, *admin, "analyst", "requests", "--json"))["requests"]
        run(bare, tmp_path, *admin, "analyst", "accept", waiting["digest"])
    assert "686" in run(bare, tmp_path, "sql", "SELECT COUNT(*) FROM gbsg2")
    assert "gbsg2" in run(bare, tmp_path, "describe")
    for hospital in sandbox.hospitals:
        admin = ("--socket", str(hospital.admin))
        run(bare, tmp_path, *admin, "analyst", "remove", waiting["key"], "--reason", "the test is over")
