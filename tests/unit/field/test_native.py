"""What only the compiled objects can show: the C unit test under sanitizers, constant time, instruction sets apart.

Constant time is checked on the objects that the extension is linked from: `native/memcheck_field.c` marks every input
undefined and valgrind complains about each branch and each address that depends on one.  A control that branches on
its input must be caught, so that the check can fail.  Valgrind 3.19 does not decode AVX-512: for that table the
argument is that its kernels are straight lines of vector instructions whose loops and lane masks are computed from
lengths alone; the one mask that depends on data (rejected samples) only selects lanes, in the same time for all values.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mpcd.field import kernels

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
WARNINGS_ARE_ERRORS = "-fno-sanitize-recover=all"

needs_toolchain = pytest.mark.skipif(
    not (BIN / "meson").exists() or not (ROOT / "build/dev/build.ninja").exists(), reason="needs scripts/setup"
)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


@needs_toolchain
def test_c_unit_test_under_address_and_undefined_behaviour_sanitizers() -> None:
    build = ROOT / "build/sanitize"
    if not (build / "build.ninja").exists():
        shutil.rmtree(build, ignore_errors=True)
        options = ["-Dbuildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Db_lundef=false"]
        done = run(BIN / "meson", "setup", build, *options, f"-Dc_args={WARNINGS_ARE_ERRORS}")
        assert done.returncode == 0, done.stdout
    done = run(BIN / "ninja", "-C", build, "native/test_field")
    assert done.returncode == 0, done.stdout
    done = run(build / "native/test_field")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [f"{name}: ok" for name in kernels.available()]


@pytest.fixture(scope="module")
def memcheck() -> Path:
    if shutil.which("valgrind") is None or not Path("/usr/include/valgrind/memcheck.h").exists():
        pytest.skip("valgrind is not installed (scripts/setup installs it when it runs as root)")
    done = run(BIN / "ninja", "-C", ROOT / "build/dev", "native/memcheck_field")
    if "unknown target" in done.stdout:
        done = run(BIN / "meson", "setup", "--reconfigure", ROOT / "build/dev")
        done = run(BIN / "ninja", "-C", ROOT / "build/dev", "native/memcheck_field")
    assert done.returncode == 0, done.stdout
    return ROOT / "build/dev/native/memcheck_field"


@needs_toolchain
@pytest.mark.parametrize("name", ["portable", "avx2"])
def test_no_branch_and_no_address_depends_on_a_secret(memcheck: Path, name: str) -> None:
    if name not in kernels.available():
        pytest.skip(f"this machine does not run {name}")
    done = run("valgrind", "-q", "--error-exitcode=9", memcheck, name)
    assert done.returncode == 0, done.stdout
    assert done.stdout == f"{name}: every kernel ran on undefined inputs\n"


@needs_toolchain
def test_the_check_catches_a_kernel_that_branches(memcheck: Path) -> None:
    done = run("valgrind", "-q", "--error-exitcode=9", memcheck, "control")
    assert done.returncode == 9, done.stdout
    assert "depends on uninitialised value" in done.stdout


def disassembly(library: str) -> str:
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    archive = ROOT / f"build/dev/native/libfield_{library}.a"
    if not archive.exists():
        pytest.skip(f"no {archive.name} on this machine")
    done = run("objdump", "-d", archive)
    assert done.returncode == 0, done.stdout
    assert "p_mul_masked_portable" in done.stdout or library != "portable"
    return done.stdout


@needs_toolchain
def test_each_library_keeps_to_its_instruction_set() -> None:
    assert not re.search(r"%[yz]mm|%k[1-7]", disassembly("portable"))
    avx2 = disassembly("avx2")
    assert "%ymm" in avx2
    assert "%zmm" not in avx2
    avx512 = disassembly("avx512")
    assert "%zmm" in avx512
    assert "vpmadd52luq" in avx512
    assert re.search(r"vgf2p8affineqb\s.*%zmm", avx512)
    assert "vgf2p8" not in avx2


@needs_toolchain
def test_the_avx512_library_has_no_way_from_lanes_to_a_branch_or_an_address() -> None:
    """What valgrind cannot decode: no test of lanes sets flags, nothing gathers, no mask enters a general register."""
    code = disassembly("avx512")
    to_flags, to_addresses = (r"\bk(or)?test", r"\bvp?test\w\s", "movmsk"), (r"v\w*gather", r"v\w*scatter")
    for pattern in (*to_flags, *to_addresses, r"kmov\w\s+%k\d,%[er]"):
        assert not re.findall(pattern, code), pattern


@needs_toolchain
def test_the_extension_exports_nothing_but_its_initialiser() -> None:
    extension = next((ROOT / "mpcd/field").glob("_native*.so"))
    done = run("nm", "-D", "--defined-only", extension)
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    assert names <= {"PyInit__native", "_cffi_pypyinit__native", "_init", "_fini"}, names
