"""The repository checks its own architecture: format, lint, types, layers, imports, and small matters of tidiness.

Each tool can be run alone: `ruff format --check .`, `ruff check .`, `mypy`, `lint-imports`; `scripts/check static` runs
all four.  The tools are skipped where only the package is installed, never where `scripts/setup` has run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mpcd

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILE_LINES_MAX = 800

TEXT_SUFFIXES = {
    ".py", ".pyi", ".c", ".h", ".md", ".toml", ".build", ".lock", ".txt", ".sql", ".service", ".socket", ".json", "",
}  # fmt: skip


def tracked() -> list[Path]:
    """Files that belong to the repository: those that git knows or would not ignore; all but builds without git."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        paths = [ROOT / line for line in done.stdout.splitlines()]
    else:
        paths = [p for p in ROOT.rglob("*") if not {".venv", "build", "__pycache__"} & set(p.relative_to(ROOT).parts)]
    return [path for path in sorted(paths) if path.is_file()]


def package_files() -> list[Path]:
    return sorted((ROOT / "mpcd").rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tool(*command: str) -> None:
    """Run one of the locked tools and show what it says when it is not content."""
    program = BIN / command[0]
    if not program.exists():
        pytest.skip(f"{command[0]} is not installed; run scripts/setup")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"


# ---------------------------------------------------------------------------------------- the tools


def test_format() -> None:
    tool("ruff", "format", "--check", "--quiet", ".")


def test_lint() -> None:
    tool("ruff", "check", "--quiet", ".")


def test_types() -> None:
    tool("mypy")


def test_layers() -> None:
    tool("lint-imports", "--no-cache")


# ---------------------------------------------------------------------------------------- the contracts themselves


def contract(identifier: str) -> dict[str, Any]:
    contracts: list[dict[str, Any]] = SETTINGS["tool"]["importlinter"]["contracts"]
    return next(item for item in contracts if item["id"] == identifier)


def layers() -> list[list[str]]:
    """Parts of each layer, the highest layer first."""
    return [re.findall(r"\w+", line) for line in contract("layers")["layers"]]


def parts() -> set[str]:
    """Modules directly below `mpcd` that hold code."""
    below = (ROOT / "mpcd").iterdir()
    return {path.stem for path in below if (path.suffix == ".py" or any(path.glob("*.py"))) and path.stem != "__init__"}


def test_every_part_has_a_layer() -> None:
    assert parts() <= {part for layer in layers() for part in layer}


def test_every_part_of_the_core_is_held_to_no_io() -> None:
    below_shell = layers()[layers().index(["session"]) :]
    core = {f"mpcd.{part}" for layer in below_shell for part in layer if part in parts()}
    assert core == set(contract("core-without-io")["source_modules"])
    assert {
        "trio",
        "asyncio",
        "socket",
        "os",
        "time",
        "random",
        "secrets",
        "sqlite3",
        "threading",
        "subprocess",
    } <= set(contract("core-without-io")["forbidden_modules"])


def test_a_layer_that_imports_upwards_is_caught(tmp_path: Path) -> None:
    """The contracts can fail: a copy of the package in which the lowest layer imports the wire."""
    program = BIN / "lint-imports"
    if not program.exists():
        pytest.skip("lint-imports is not installed; run scripts/setup")
    package = tmp_path / "mpcd"
    for path in package_files():
        copy = tmp_path / relative(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (package / "limits.py").write_text("import socket\n\nimport mpcd.wire\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    done = subprocess.run(
        [program, "--no-cache", "--contract", "layers", "--contract", "core-without-io"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": str(BIN)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mpcd.limits -> mpcd.wire" in done.stdout
    assert "mpcd.limits -> socket" in done.stdout


# ---------------------------------------------------------------------------------------- versions and entry points


def test_one_version() -> None:
    meson = (ROOT / "meson.build").read_text()
    assert re.search(r"version: '([^']+)'", meson).group(1) == mpcd.__version__  # type: ignore[union-attr]


def test_entry_points_exist() -> None:
    for name, target in SETTINGS["project"]["scripts"].items():
        module, function = target.split(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


HEAVY = ("numpy", "duckdb", "sqlglot", "mpcd.field", "mpcd.net", "mpcd.daemon", "mpcd.protocols")


@pytest.mark.parametrize("module", ["mpcd.api.client", "mpcd.cli.main"])
def test_the_client_starts_light(module: str) -> None:
    """`mpcctl` is a whole process per question: it must not pay for what only a daemon needs."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------- tidiness


def text_files() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        if path.suffix in TEXT_SUFFIXES:
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/|/site-packages/|\.pyenv")
REGISTRY_HOSTS = re.compile(r"--(?:extra-)?index-url|--trusted-host|pythonhosted|pypi\.org|/simple\b")


def test_no_machine_path() -> None:
    found = [relative(path) for path, text in text_files() if MACHINE_PATHS.search(text) and path != Path(__file__)]
    assert not found


def test_no_registry_host() -> None:
    found = [relative(path) for path, text in text_files() if REGISTRY_HOSTS.search(text) and path != Path(__file__)]
    assert not found


def test_the_lock_has_hashes_and_every_dependency() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock, re.MULTILINE))
    assert len(locked) == len(re.findall(r"^[a-z0-9][^\n]*==[^\n]* \\\n    --hash=sha256:", lock, re.MULTILINE))
    project = SETTINGS["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group(0).lower().replace("_", "-")  # type: ignore[union-attr]
        assert name in locked, requirement


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_print_only_where_people_read() -> None:
    """`print` belongs to programs that people start; everything else returns values or logs events."""
    allowed = ("mpcd/cli/", "mpcd/testing/", "mpcd/sandbox/__main__.py")
    found = [
        f"{relative(path)}:{call.lineno}"
        for path in package_files()
        if not relative(path).startswith(allowed)
        for call in calls(ast.parse(path.read_text()))
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert not found


def test_no_pickle_no_eval() -> None:
    banned_imports, banned_calls = {"pickle", "marshal", "shelve", "dill"}, {"eval", "exec", "__import__"}
    for path in package_files():
        tree = ast.parse(path.read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not banned_imports & imported, relative(path)
        called = {call.func.id for call in calls(tree) if isinstance(call.func, ast.Name)}
        assert not banned_calls & called, relative(path)


def test_no_swallowed_exception() -> None:
    """`except: pass` and its kin hide faults; `contextlib.suppress` of one named exception says what is meant."""
    found = []
    for path in package_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException")
            silent = all(isinstance(statement, (ast.Pass, ast.Continue)) for statement in node.body)
            reraised = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if (silent and broad) or (node.type is None and not reraised):
                found.append(f"{relative(path)}:{node.lineno}")
    assert not found


def test_every_module_says_what_it_is() -> None:
    silent = [relative(path) for path in package_files() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_files_stay_readable() -> None:
    """Over some 400 lines a file asks for a seam (`scripts/check` lists those); over this nobody reads it."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in package_files()}
    assert not {name: count for name, count in lengths.items() if count > FILE_LINES_MAX}


def test_shell_scripts_stop_at_errors() -> None:
    scripts = [path for path in tracked() if path.is_relative_to(ROOT / "scripts") or path.is_relative_to(ROOT / ".ci")]
    shell = [path for path in scripts if path.read_text().startswith("#!/usr/bin/env bash")]
    assert {"setup", "test", "check", "run"} <= {path.name for path in shell}
    for path in shell:
        assert "set -euo pipefail" in path.read_text(), relative(path)
        assert path.stat().st_mode & 0o111, relative(path)
