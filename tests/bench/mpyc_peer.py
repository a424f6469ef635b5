"""MPyC on the same works, three processes on this machine, from PyPI in a throw-away virtual environment.

It is the peer that this project's benchmarks run beside themselves.  Counts may be smaller than ours, MPyC being
slower; whoever prints a scaled figure says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PACKAGES: Final = ("mpyc", "numpy", "gmpy2")
PROGRAM: Final = """
import json, sys, time
import numpy as np
from mpyc.runtime import mpc

async def main():
    work, count = sys.argv[-2], int(sys.argv[-1])
    await mpc.start()
    rng = np.random.default_rng(1)
    field = mpc.SecFld(2**61 - 1)
    if work == "comparisons":
        numbers = mpc.SecInt(32)
        draw = lambda: numbers.array(rng.integers(-2**30, 2**30, size=count).astype(object))
        x, y = (mpc.input(draw(), senders=0) for _ in "xy")
    else:
        shape = (count, 20) if work == "gram" else count
        values = rng.integers(0, 2**61 - 1, size=shape).astype(object)
        x, y = (mpc.input(field.array(field.field.array(values)), senders=0) for _ in "xy")
    await mpc.barrier()
    begin = time.perf_counter()
    z = x < y if work == "comparisons" else x.T @ x if work == "gram" else x * y
    await mpc.gather(z)
    await mpc.barrier()
    seconds = time.perf_counter() - begin
    if mpc.pid == 0:
        print("RESULT " + json.dumps(seconds), flush=True)
    await mpc.shutdown()

mpc.run(main())
"""


def measure(counts: Mapping[str, int]) -> tuple[str, dict[str, float]]:
    """MPyC's version, and the seconds that it takes for so many of each work: products, comparisons, gram (rows)."""
    with tempfile.TemporaryDirectory(prefix="mpcd-bench-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(pip, check=True, capture_output=True)
        version = subprocess.run(
            [python, "-c", "import mpyc; print(mpyc.__version__)"], capture_output=True, text=True, check=True
        )
        program = Path(folder) / "peer.py"
        program.write_text(PROGRAM)
        seconds = {}
        for work, count in counts.items():
            command = [python, str(program), "-M3", "--no-log", work, str(count)]
            environment = {**os.environ, "PYTHONPATH": ""}
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            seconds[work] = float(json.loads(lines[0][7:]))
        return version.stdout.strip(), seconds
