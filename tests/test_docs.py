"""The documents keep step with the code where that can be checked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def test_generated_parts_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr + "run scripts/docs.py"


def test_every_protocol_file_is_in_protocols_md() -> None:
    text = (DOCS / "PROTOCOLS.md").read_text(encoding="utf-8")
    folders = ("protocols", "release")
    files = [path for folder in folders for path in sorted((ROOT / "mpcd" / folder).glob("*.py"))]
    missing = [f"{path.parent.name}/{path.name}" for path in files if path.name != "__init__.py"]
    missing = [name for name in missing if f"`{name}`" not in text]
    assert not missing


def test_every_file_that_protocols_md_names_exists() -> None:
    text = (DOCS / "PROTOCOLS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:protocols|release|compile|session|noise|net|tests)/[a-z_/]+\.py)`", text))
    absent = [name for name in sorted(named) if not ((ROOT / "mpcd" / name).exists() or (ROOT / name).exists())]
    assert named
    assert not absent


@pytest.mark.parametrize("name", ["ARCHITECTURE", "PROTOCOLS", "THREATS", "OPERATING", "API", "GLOSSARY"])
def test_documents_are_there_and_their_links_lead_somewhere(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([A-Za-z0-9_./-]+\.md)\)", text)
    assert len(text) > 1000
    assert all((DOCS / link).exists() for link in links)


def test_readme_opens_with_the_two_commands_in_order() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < text.index("scripts/demo") < text.index("scripts/test") < text.index("## ")
    links = re.findall(r"\]\(([A-Za-z0-9_./-]+\.md)\)", text)
    assert all((ROOT / link).exists() for link in links)


def test_every_documented_rule_number_stands_in_threats() -> None:
    text = (DOCS / "THREATS.md").read_text(encoding="utf-8")
    for rule in range(1, 26):
        assert re.search(rf"(?<![0-9.]){rule}(?![0-9])", text), f"rule {rule}"


def test_every_exit_code_is_in_operating() -> None:
    from mpcd.cli import main as mpcctl  # noqa: PLC0415
    from mpcd.daemon import main as mpcd  # noqa: PLC0415

    text = (DOCS / "OPERATING.md").read_text(encoding="utf-8").partition("## Exit codes")[2].partition("## ")[0]
    codes = {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", text)}
    ours = (mpcctl.FAILED, mpcctl.REFUSED, mpcctl.REQUEST_WRONG, mpcctl.UNAVAILABLE, mpcctl.RESULT_INVALID)
    theirs = (mpcd.GOOD, mpcd.FAILED, mpcd.USAGE, mpcd.WRONG_FILE)
    assert codes == {*ours, mpcctl.WAITING, mpcctl.INTERRUPTED, *theirs}
