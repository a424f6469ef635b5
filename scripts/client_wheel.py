"""Build the client alone as a pure Python wheel: `scripts/client-wheel [DIRECTORY]` (default: build/client).

The wheel holds the modules that the analyst's commands need, found by following every import from them, also those
inside functions; if one of them leads to the daemon, to numpy, duckdb, trio or a C extension, nothing is built.  The
same sources give the same bytes.  It is called `mpcd-client` and is for machines without mpcd: both hold the package
`mpcd`, so install one of them in an environment, not both.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mpcd"
NAME = "mpcd-client"
STAMP = (2020, 1, 1, 0, 0, 0)
REQUIRED = ("click", "cryptography", "msgpack", "pynacl", "rich")
"""Distributions that the client imports; their bounds are those of the whole package."""
IMPORTED = {"click": "click", "cryptography": "cryptography", "msgpack": "msgpack", "nacl": "pynacl", "rich": "rich"}
FORBIDDEN = (
    "daemon",
    "sandbox",
    "net",
    "session",
    "compile",
    "sources",
    "protocols",
    "sharing",
    "release",
    "field",
    "noise",
)
NOT_IN_CLIENT = ("mpcd.cli.sandbox",)
"""Commands that need the whole package; the client says so."""
WITHOUT = {"mpcd.api.client_trio", "mpcd.api.server", "mpcd.api.sockets"}


def commands() -> list[str]:
    """The modules of all commands, from the table in `mpcd/cli/main.py`."""
    tree = ast.parse((PACKAGE / "cli" / "main.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "_COMMANDS":
            assert isinstance(node.value, ast.Dict)
            return sorted({ast.literal_eval(value)[0] for value in node.value.values})
    raise SystemExit("mpcd/cli/main.py has no table of commands")


def place(module: str) -> Path | None:
    """The file of a module of ours."""
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imports(path: Path) -> set[str]:
    """What a file imports when it runs, its functions included; what only type checkers see is left out."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def closure(roots: list[str]) -> tuple[dict[str, Path], set[str]]:
    """Our modules that the roots need, and the other distributions' top names."""
    ours: dict[str, Path] = {}
    foreign: set[str] = set()
    pending = list(roots)
    while pending:
        module = pending.pop()
        if module in ours:
            continue
        path = place(module)
        if path is None:
            continue
        parts = module.split(".")
        if module in WITHOUT or (len(parts) > 1 and parts[1] in FORBIDDEN):
            raise SystemExit(f"the client would need {module}, which belongs to the daemon: {trail(module, ours)}")
        ours[module] = path
        pending.append(module.rpartition(".")[0] or module)
        for name in imports(path):
            top = name.partition(".")[0]
            if top == "mpcd":
                pending.append(name)
            elif top not in sys.stdlib_module_names and top != "__future__":
                foreign.add(top)
    return ours, foreign


def trail(module: str, ours: dict[str, Path]) -> str:
    """Who imports it, for the message."""
    who = [name for name, path in ours.items() if module in imports(path)]
    return ", ".join(sorted(who)) or "a command"


def metadata(project: dict[str, object], version: str) -> str:
    """The wheel's METADATA."""
    dependencies = project["dependencies"]
    assert isinstance(dependencies, list)
    wanted = [item for item in dependencies if any(item.startswith(name) for name in REQUIRED)]
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {NAME}",
        f"Version: {version}",
        "Summary: Ask questions over tables that several hospitals hold; the client of mpcd alone",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {item}" for item in wanted),
    ]
    return "\n".join(lines) + "\n"


def build(directory: Path) -> Path:
    """Write the wheel and return its path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = next(
        line.split('"')[1] for line in (PACKAGE / "__init__.py").read_text().splitlines() if "__version__" in line
    )
    roots = ["mpcd.cli.main", *(module for module in commands() if module not in NOT_IN_CLIENT)]
    ours, foreign = closure(roots)
    unknown = sorted(foreign - IMPORTED.keys())
    if unknown:
        raise SystemExit(f"the client would need {', '.join(unknown)}, which it must do without")
    stem = f"{NAME.replace('-', '_')}-{version}"
    information = f"{stem}.dist-info"
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in ours.values()}
    files["mpcd/py.typed"] = b""
    files[f"{information}/METADATA"] = metadata(project, version).encode()
    files[f"{information}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: mpcd client-wheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{information}/entry_points.txt"] = b"[console_scripts]\nmpcctl = mpcd.cli.main:main\n"
    files[f"{information}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    record = [f"{name},sha256={digest(content)},{len(content)}" for name, content in sorted(files.items())]
    files[f"{information}/RECORD"] = ("\n".join([*record, f"{information}/RECORD,,"]) + "\n").encode()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, files[name])
    return target


def digest(content: bytes) -> str:
    """As RECORD writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "client"))
