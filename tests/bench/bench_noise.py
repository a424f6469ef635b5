"""Noise for a grouped answer under malicious security: three processes, the real channel.

    python tests/bench/bench_noise.py [--cells 10000] [--repeats 3] [--json FILE]

One count a cell at epsilon 1, delta 10^-6, and a sum of bounds 0 to 1,000,000, each with Laplace and Gaussian noise,
from nothing to what may open, the verification included.  The bar is 2 s for 10,000 cells of one value.  Time is the
slowest party's, from a common start; rounds and bytes are the printed formula's and what was counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, Final

from mpcd.field import FP, kernels
from mpcd.governance import privacy, sampling
from mpcd.governance.privacy import Ask, Mechanism
from mpcd.governance.sampling import Table
from mpcd.ids import Role, Step
from mpcd.net import Mesh
from mpcd.protocols.context import compute_context
from mpcd.protocols.prss import Prss
from mpcd.protocols.verify_batch import cost_checked
from mpcd.release import noise
from mpcd.testing import processes

WORKS: Final[dict[str, tuple[Mechanism, int]]] = {
    "laplace count": ("laplace", 1),
    "gaussian count": ("gaussian", 1),
    "laplace sum": ("laplace", 10**6),
    "gaussian sum": ("gaussian", 10**6),
}
BAR_SECONDS: Final = 2.0


def table(name: str) -> Table:
    """The thresholds of a work."""
    mechanism, bound = WORKS[name]
    ask = Ask(mechanism, "1", "0.000001")
    return sampling.table(privacy.noises(ask, privacy.charge(ask), [bound])[0])


async def main(party: int, mesh: Mesh, arguments: dict[str, Any]) -> dict[str, Any]:
    """One party: every work."""
    keys = [bytes([40 + index]) * 32 for index in range(3)]
    role = Role("compute", party)
    others = dict.fromkeys((Role("compute", (party + 1) % 3), Role("compute", (party + 2) % 3)), b"go")
    found: dict[str, Any] = {"kernel": kernels.active()}
    number = 0
    for name in WORKS:
        seconds, cpu, rounds, sent = [], [], 0, 0
        for _ in range(arguments["repeats"] + 1):
            number += 1
            session = processes.session_id(number)
            with mesh.session(session, processes.PLACES) as links:
                transport = links.transport(role)
                prss = Prss(keys[party], keys[(party + 1) % 3])
                ctx = compute_context(party, transport, prss, "malicious", session=session)
                await transport.exchange(Step("start"), others, dict.fromkeys(others, 2))
                begin, busy = time.perf_counter(), time.process_time()
                await noise.draw(ctx.narrow("noise"), [table(name)], FP, arguments["cells"])
                await ctx.narrow("end").verify()
                seconds.append(time.perf_counter() - begin)
                cpu.append(time.process_time() - busy)
                rounds, sent = ctx.rounds, ctx.bytes_sent
                await transport.exchange(Step("end"), others, dict.fromkeys(others, 2))
        found[name] = {"seconds": seconds[1:], "cpu": cpu[1:], "rounds": rounds, "bytes": sent}
    return found


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """The slowest party decides each repeat."""
    results = processes.run(__file__, vars(arguments))
    rows = []
    for name in WORKS:
        parts = [result[name] for result in results]
        worst = [max(times) for times in zip(*(part["seconds"] for part in parts), strict=True)]
        cost = cost_checked(noise.cost([table(name)], FP, arguments.cells))
        assert (cost.rounds, max(cost.compute)) == (parts[0]["rounds"], max(part["bytes"] for part in parts))
        rows.append(
            {
                "work": name,
                "cells": arguments.cells,
                "seconds_median": statistics.median(worst),
                "cpu_seconds": min(sum(times) for times in zip(*(part["cpu"] for part in parts), strict=True)),
                "rounds": cost.rounds,
                "bytes": max(cost.compute),
                "ands": cost.ands * 64,
                "products": cost.products,
                "bar_seconds": BAR_SECONDS,
            }
        )
    return {"bench": "noise", "kernel": results[0]["kernel"], "rows": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", default="")
    given = parser.parse_args()
    figures = bench(given)
    for row in figures["rows"]:
        print(
            f"{row['cells']:>7,} cells  {row['work']:16}median {row['seconds_median']:.3f} s, all cpu "
            f"{row['cpu_seconds']:.2f} s, {row['rounds']} rounds, {row['bytes'] / 2**20:.2f} MiB sent by each party, "
            f"{row['ands'] / row['cells']:.0f} ANDs a cell; bar {row['bar_seconds']} s"
        )
    text = json.dumps(figures)
    print(text)
    if given.json:
        Path(given.json).write_text(text + "\n")
