"""A bound that nothing reads bounds nothing."""

from __future__ import annotations

import ast
from pathlib import Path

from mpcd import limits


def test_every_limit_is_used_somewhere() -> None:
    package = Path(limits.__file__).parent
    declared = {name for name in vars(limits) if name.isupper() and not name.startswith("_")}
    assert len(declared) > 50
    used: set[str] = set()
    for path in package.rglob("*.py"):
        if path != Path(limits.__file__):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared - used == set()
