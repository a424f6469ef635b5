"""Print the files of the package that a wheel holds, one per line (called by meson when it configures)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED_SUFFIXES = {".so", ".pyc"}

for path in sorted((ROOT / "mpcd").rglob("*")):
    if path.is_file() and path.suffix not in SKIPPED_SUFFIXES and "__pycache__" not in path.parts:
        sys.stdout.write(path.relative_to(ROOT).as_posix() + "\n")
