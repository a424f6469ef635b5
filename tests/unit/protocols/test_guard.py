"""The protocols' own architecture: values leave through `opening` alone, after `verify`, and control flow is public."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mpcd.protocols

FILES = sorted(Path(mpcd.protocols.__file__).parent.glob("*.py"))
SHARED = {"Replicated", "Planes", "list[Planes]", "list[Replicated]", "tuple[Planes, Planes]", "None"}
FORBIDDEN = {"trio", "asyncio", "socket", "os", "time", "random", "secrets", "threading", "structlog", "subprocess"}


def coroutines(path: Path) -> list[ast.AsyncFunctionDef]:
    """Module-level public coroutines."""
    return [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_openings_return_values(path: Path) -> None:
    if path.stem in {"opening", "coin"}:  # coins are public, and what stands in a barrier's message is masked
        return
    if path.stem == "abreast":  # hands on what its branches return, each a coroutine of this list
        return
    for function in coroutines(path):
        assert function.returns is not None
        returned = ast.unparse(function.returns)
        if path.stem == "inputs":
            returned = returned.replace("dict[Role, list[Replicated | Planes]]", "Planes")
        assert returned in SHARED, f"{path.stem}.{function.name} returns {returned}"


def test_every_opening_awaits_verify_before_it_touches_the_wire() -> None:
    (path,) = [path for path in FILES if path.stem == "opening"]
    openings = [function for function in coroutines(path) if function.name != "receive"]
    assert {function.name for function in openings} == {"open_all", "open_to", "output_shares"}
    for function in openings:
        awaited = [ast.unparse(n.value) for n in ast.walk(function) if isinstance(n, ast.Await)]
        lines = {ast.unparse(n.value): n.lineno for n in ast.walk(function) if isinstance(n, ast.Await)}
        assert "ctx.verify()" in awaited
        assert lines["ctx.verify()"] == min(lines.values())


def test_products_are_all_deferred() -> None:
    for stem in ("multiply", "binary"):
        (path,) = [path for path in FILES if path.stem == stem]
        for function in coroutines(path):
            text = ast.unparse(function)
            if "masked(" in text or "_product(" in text:
                assert "ctx.defer_check" in text, f"{stem}.{function.name} is not recorded"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_io_below_the_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        assert not {name.split(".")[0] for name in names} & FORBIDDEN
