"""The Python examples of README.md and docs/API.md run as they stand, against the fake daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from mpcd.api import profile as profiles

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [
    (name, place, code)
    for name in ("README.md", "docs/API.md")
    for place, code in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize(("name", "place", "code"), EXAMPLES, ids=lambda part: str(part)[:12])
async def test_an_example_runs(serve: Any, consortium: Any, tmp_path: Path, name: str, place: int, code: str) -> None:
    home = tmp_path / ".config" / "mpcd"
    home.mkdir(parents=True)
    for file in (profiles.FILE, profiles.KEY_FILE):
        source = consortium.directory / file
        (home / file).write_bytes(source.read_bytes())
        (home / file).chmod(0o600)
    async with serve() as path:
        text = (home / profiles.FILE).read_text(encoding="utf-8")
        (home / profiles.FILE).write_text(re.sub(r"(?m)^socket = .*$", f'socket = "{path}"', text), encoding="utf-8")
        done = await trio.run_process(
            [sys.executable, "-c", code],
            env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
            capture_stderr=True,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    assert done.returncode == 0, f"{name}, example {place}: {done.stderr.decode()}"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
