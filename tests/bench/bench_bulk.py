"""Bulk multiplication: ten vectors of a million products in F_p (2^61 - 1), three processes, the real channel.

    python tests/bench/bench_bulk.py [--repeats 7] [--mpyc-vectors 10] [--no-mpyc] [--json FILE]

Each party multiplies sharings that it holds, one vector after the other (`protocols.multiply.mul`), with PRSS
masks, AES-GCM records and flow control as in a session.  Before anything is timed, one product is opened and
compared with Python's integers. Time is the slowest party's, from a common start to the last product; bytes are
what the sockets saw, headers, tags and windows included.

The same work then runs in MPyC (three processes, its own secret arrays over the same field), installed from PyPI
into a throw-away virtual environment.  It may do fewer vectors (`--mpyc-vectors`); the output says so and scales
linearly.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

from mpcd.field import FP, kernels
from mpcd.ids import Role, Step
from mpcd.net import Mesh
from mpcd.protocols.context import Context, compute_context
from mpcd.protocols.multiply import mul
from mpcd.protocols.prss import Prss
from mpcd.sharing import Replicated
from mpcd.testing import processes

SECONDS_MAX = 0.45
SECONDS_AIM = 0.25
BYTES_MAX = 8.01
MPYC_VERSION = "mpyc"


def shares(party: int, seed: int, count: int) -> Replicated:
    """This party's share of a random vector: all parties draw the three components alike and keep two."""
    components = []
    for index in range(3):
        rng = np.random.default_rng([seed, index])
        components.append(rng.integers(0, FP.modulus, size=count, dtype=np.uint64))
    return Replicated(FP, components[party], components[(party + 1) % 3])


async def check(ctx: Context, x: Replicated, y: Replicated, z: Replicated) -> None:
    """The first products, opened by hand: the third component of each comes from the next party."""
    few = 100
    values = []
    for name, sharing in (("x", x), ("y", y), ("z", z)):
        third = sharing.b[:few].copy()
        got = await ctx.narrow(name).exchange({ctx.previous: FP.encode(third)}, {ctx.next: 8 * few})
        parts = [sharing.a[:few], sharing.b[:few], FP.decode(got[ctx.next], few)]
        values.append([sum(int(part[at]) for part in parts) % FP.modulus for at in range(few)])
    assert all(a * b % FP.modulus == c for a, b, c in zip(*values, strict=True)), "a product is wrong"


async def main(party: int, mesh: Mesh, arguments: dict[str, Any]) -> dict[str, Any]:
    """One party: `repeats` times `vectors` products of `count` elements."""
    count, vectors = arguments["count"], arguments["vectors"]
    keys = [bytes([40 + index]) * 32 for index in range(3)]
    role = Role("compute", party)
    seconds, wire, cpu = [], [], []
    profile = cProfile.Profile() if arguments["profile"] and party == 0 else None
    following, previous = Role("compute", (party + 1) % 3), Role("compute", (party + 2) % 3)
    x, y = shares(party, 1, count), shares(party, 2, count)
    for repeat in range(arguments["repeats"] + 1):
        session = processes.session_id(repeat + 1)
        with mesh.session(session, processes.PLACES) as links:
            transport = links.transport(role)
            prss = Prss(keys[party], keys[(party + 1) % 3])
            ctx = compute_context(party, transport, prss, "semi-honest", session=session)
            others = {following: b"go", previous: b"go"}
            await transport.exchange(Step("start"), others, dict.fromkeys(others, 2))
            sent = sum(status.wire_bytes_sent for status in mesh.statuses())
            busy = time.process_time()
            if profile is not None:
                profile.enable()
            begin = time.perf_counter()
            product = x
            for number in range(vectors):
                product = await mul(ctx.narrow(f"mul{number}"), x, y)
            seconds.append(time.perf_counter() - begin)
            if profile is not None:
                profile.disable()
            cpu.append(time.process_time() - busy)
            await transport.exchange(Step("end"), others, dict.fromkeys(others, 2))
            wire.append(sum(status.wire_bytes_sent for status in mesh.statuses()) - sent)
            if repeat == 0:
                await check(ctx.narrow("check"), x, y, product)
    if profile is not None:
        profile.dump_stats(arguments["profile"])
    # the first repeat warms up and is checked; it is not timed
    return {"seconds": seconds[1:], "wire_bytes": wire[1:], "cpu_seconds": cpu[1:], "kernel": kernels.active()}


_MPYC = """
import json, sys, time
import numpy as np
from mpyc.runtime import mpc

async def main():
    count, vectors = int(sys.argv[-2]), int(sys.argv[-1])
    secfld = mpc.SecFld(2**61 - 1)
    await mpc.start()
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**61 - 1, size=count, dtype=np.int64).astype(object)
    x = mpc.input(secfld.array(secfld.field.array(values)), senders=0)
    y = mpc.input(secfld.array(secfld.field.array(values)), senders=0)
    await mpc.barrier()
    first = await mpc.output((x[:10] * y[:10]))
    assert [int(v) for v in first] == [int(v) * int(v) % (2**61 - 1) for v in values[:10]]
    begin = time.perf_counter()
    for _ in range(vectors):
        z = x * y
        await mpc.gather(z)
    await mpc.barrier()
    seconds = time.perf_counter() - begin
    if mpc.pid == 0:
        print("RESULT " + json.dumps(seconds), flush=True)
    await mpc.shutdown()

mpc.run(main())
"""


def run_mpyc(count: int, vectors: int) -> dict[str, Any]:
    """MPyC on `vectors` vectors of `count` products, three processes on this machine."""
    with tempfile.TemporaryDirectory(prefix="mpcd-bench-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MPYC_VERSION, "numpy", "gmpy2"]
        subprocess.run(pip, check=True, capture_output=True)
        shown = subprocess.run(
            [python, "-c", "import mpyc; print(mpyc.__version__)"], capture_output=True, text=True, check=True
        )
        program = Path(folder) / "bulk.py"
        program.write_text(_MPYC)
        command = [python, str(program), "-M3", "--no-log", str(count), str(vectors)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": ""}
        )
        seconds = next(json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT "))
        return {"version": shown.stdout.strip(), "vectors": vectors, "seconds": seconds}


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """mpcd, then MPyC; the slowest party decides each repeat."""
    results = processes.run(__file__, vars(arguments))
    worst = [max(repeat) for repeat in zip(*(result["seconds"] for result in results), strict=True)]
    products = arguments.count * arguments.vectors
    found: dict[str, Any] = {
        "bench": "bulk",
        "products": products,
        "vectors": arguments.vectors,
        "kernel": results[0]["kernel"],
        "seconds_median": statistics.median(worst),
        "seconds_fastest": min(worst),
        "seconds_slowest": max(worst),
        "cpu_seconds_median": statistics.median(sum(r) for r in zip(*(r["cpu_seconds"] for r in results), strict=True)),
        "bytes_per_product_and_party": max(max(result["wire_bytes"]) for result in results) / products,
        "bars": {"seconds_max": SECONDS_MAX, "seconds_aim": SECONDS_AIM, "bytes_max": BYTES_MAX},
    }
    if not arguments.no_mpyc:
        mpyc = run_mpyc(arguments.count, arguments.mpyc_vectors)
        scaled = mpyc["seconds"] * arguments.vectors / mpyc["vectors"]
        found["mpyc"] = {**mpyc, "seconds_scaled": scaled, "ratio": scaled / found["seconds_median"]}
    return found


def show(found: dict[str, Any]) -> None:
    """The table."""
    products = found["products"]
    print(f"{products:,} products in F_p as {found['vectors']} vectors, three processes, kernel {found['kernel']}")
    print(f"  {'':22}{'measured':>12}{'bar':>10}{'aim':>8}")
    print(f"  {'seconds, median':22}{found['seconds_median']:>12.3f}{SECONDS_MAX:>10.2f}{SECONDS_AIM:>8.2f}")
    print(f"  {'seconds, fastest':22}{found['seconds_fastest']:>12.3f}")
    print(f"  {'seconds, slowest':22}{found['seconds_slowest']:>12.3f}")
    print(f"  {'cpu seconds, all three':22}{found['cpu_seconds_median']:>12.3f}")
    print(f"  {'bytes a product, party':22}{found['bytes_per_product_and_party']:>12.4f}{BYTES_MAX:>10.2f}")
    if "mpyc" in found:
        mpyc = found["mpyc"]
        how = "all vectors" if mpyc["vectors"] == found["vectors"] else f"{mpyc['vectors']} vectors, scaled linearly"
        print(f"  MPyC {mpyc['version']}: {mpyc['seconds_scaled']:.1f} s ({how}), {mpyc['ratio']:.0f} times as long")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10**6, help="products per vector")
    parser.add_argument("--vectors", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mpyc-vectors", type=int, default=10, help="measure so many in MPyC and scale")
    parser.add_argument("--no-mpyc", action="store_true")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    parser.add_argument("--profile", default="", help="write party 0's profile to this file")
    given = parser.parse_args()
    figures = bench(given)
    show(figures)
    text = json.dumps(figures)
    print(text)
    if given.json:
        Path(given.json).write_text(text + "\n")
    missed = figures["seconds_median"] > SECONDS_MAX or figures["bytes_per_product_and_party"] > BYTES_MAX
    sys.exit(1 if missed else 0)
