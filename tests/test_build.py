"""What a hospital installs: the wheel holds the whole package, builds offline from the locked tools, and runs alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (BIN / "meson").exists():
        pytest.skip("the build tools are not installed; run scripts/setup")
    place = tmp_path_factory.mktemp("wheel")
    options = ["--no-build-isolation", "--no-deps", "--no-index", f"--config-settings=build-dir={place / 'build'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", ".", "--quiet", *options, "--wheel-dir", place],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return next(place.glob("mpcd-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mpcd").rglob("*.py")}
    assert sources | {"mpcd/py.typed"} <= set(names)
    assert len([name for name in names if name.endswith(".so")]) == 1
    assert not [
        name for name in names if "__pycache__" in name or name.split("/")[0] not in {"mpcd", wheel_info(wheel)}
    ]
    assert f"{wheel_info(wheel)}/licenses/LICENSE" in names
    points = zipfile.ZipFile(wheel).read(f"{wheel_info(wheel)}/entry_points.txt").decode()
    assert "mpcctl = mpcd.cli.main:main" in points
    assert "mpcd = mpcd.daemon.main:main" in points


def wheel_info(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    return f"{name}-{version}.dist-info"


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import mpcd.field as f; print(f.__file__); print(f.FP.to_ints(f.FP.mul(*[f.FP.from_ints([2**60])] * 2)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "mpcd/field/__init__.py"), f"[{2**120 % (2**61 - 1)}]"]
