"""Write the generated parts of `docs/`: limits, error codes, methods.  `--check` only says whether they are up to date.

Between `<!-- generated: NAME -->` and `<!-- end -->` a document holds what this script makes of the code; a test runs
the check.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

import mpcd.api.types  # noqa: F401  # defines further errors
from mpcd import limits
from mpcd.api.methods import METHODS
from mpcd.errors import closed_codes

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MARK = re.compile(r"<!-- generated: (?P<name>[a-z]+) -->\n.*?<!-- end -->", re.DOTALL)


def limits_table() -> str:
    """Every bound with its value and what it is about."""
    lines = ["| limit | value | about |", "|---|---|---|"]
    tree = ast.parse(Path(limits.__file__).read_text(encoding="utf-8"))
    for place, node in enumerate(tree.body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        if name.startswith("_"):
            continue
        follower = tree.body[place + 1] if place + 1 < len(tree.body) else None
        about = ""
        if isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant):
            about = " ".join(str(follower.value.value).split())
        lines.append(f"| `{name}` | {getattr(limits, name)} | {about} |")
    return "\n".join(lines)


def codes_table() -> str:
    """Every error code that may cross the local socket."""
    lines = ["| code | who must act | retry | meaning |", "|---|---|---|---|"]
    for code, kind in sorted(closed_codes().items()):
        about = (kind.__doc__ or "").strip().partition("\n")[0]
        lines.append(f"| `{code}` | {kind.who_must_act} | {'yes' if kind.retryable else 'no'} | {about} |")
    return "\n".join(lines)


def methods_table() -> str:
    """Every method of the local API."""
    lines = ["| method | who may | parameters |", "|---|---|---|"]
    for method, spec in METHODS.items():
        keys = ", ".join(f"`{p.name}`{'' if p.required else ' (optional)'}" for p in spec.parameters) or "none"
        lines.append(f"| `{method}` | {'administrators' if spec.role == 'admin' else 'all'} | {keys} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {"limits": limits_table, "codes": codes_table, "methods": methods_table}


def rendered(text: str) -> str:
    """A document with its generated parts made anew."""

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end -->"

    return MARK.sub(part, text)


def main() -> int:
    """Write or check; 1 if a document was not up to date and `--check` was given."""
    stale = []
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        new = rendered(text)
        if new != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'not up to date' if '--check' in sys.argv else 'written'}: {', '.join(stale)}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
