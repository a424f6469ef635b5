"""Malicious against semi-honest security on bulk work: three processes, the real channel.

    python tests/bench/bench_malicious.py [--repeats 3] [--json FILE]

Ten vectors of a million products over F_p, ten vectors of ten million ANDs, a million comparisons of 32-bit secrets,
and the Gram matrix of 100,000 rows of 20 (proved by projection), each up to where it might open: semi-honest,
then malicious with the verification of everything.  Time is the slowest party's, from a common start.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from mpcd.field import FP, bits, kernels
from mpcd.ids import Role, Step
from mpcd.net import Mesh
from mpcd.protocols.binary import and_
from mpcd.protocols.compare import less_than
from mpcd.protocols.context import Context, compute_context
from mpcd.protocols.multiply import matrix_product, mul
from mpcd.protocols.prss import Prss
from mpcd.sharing import Planes, Replicated
from mpcd.testing import processes
from tests.bench import mpyc_peer

BARS = {"products": (10**7, 0.85), "ands": (10**8, 0.8), "comparisons": (10**6, 0.83), "gram": (20 * 20, 0.5)}
WIDTH = 32
ROWS = 100_000


MPYC_COUNTS = {"products": 1_000_000, "comparisons": 5_000, "gram": 20_000}
"""What MPyC is given; "gram" counts rows."""


def field_share(party: int, seed: int, count: int) -> Replicated:
    """This party's share of a random vector."""
    parts = [np.random.default_rng([seed, i]).integers(0, FP.modulus, size=count, dtype=np.uint64) for i in range(3)]
    return Replicated(FP, parts[party], parts[(party + 1) % 3])


def bit_share(party: int, seed: int, count: int, width: int) -> Planes:
    """This party's share of a random vector of bit strings."""
    words = bits.words_for(count)
    parts = [
        np.random.default_rng([seed, i]).integers(0, 2**64, size=(width, words), dtype=np.uint64) for i in range(3)
    ]
    return Planes(parts[party], parts[(party + 1) % 3], 64 * words)


def operands(name: str, party: int, total: int, vectors: int) -> tuple[Any, Any]:
    """Shares of what the work begins with; a Gram matrix is the product of the matrix, transposed, and itself."""
    if name == "products":
        x, y = (field_share(party, seed, total // vectors) for seed in (1, 2))
        return x, y
    if name == "gram":
        matrix = field_share(party, 1, ROWS * math.isqrt(total))
        a, b = (np.ascontiguousarray(v.reshape(ROWS, -1).T).reshape(-1) for v in (matrix.a, matrix.b))
        return Replicated(FP, a, b), matrix
    count, width = (total // vectors, 1) if name == "ands" else (total, WIDTH)
    left, right = (bit_share(party, seed, count, width) for seed in (1, 2))
    return left, right


async def work(ctx: Context, name: str, x: Any, y: Any, vectors: int) -> None:
    """All of it, then the proof that an opening would wait for."""
    if name == "comparisons":
        await less_than(ctx.narrow("less"), x, y)
    elif name == "gram":
        side = len(x) // ROWS
        await matrix_product(ctx.narrow("gram"), x, y, (side, ROWS, side))
    else:
        for number in range(vectors):
            step = ctx.narrow(f"vector{number}")
            await (mul(step, x, y) if name == "products" else and_(step, x, y))
    await ctx.narrow("end").verify()


async def main(party: int, mesh: Mesh, arguments: dict[str, Any]) -> dict[str, Any]:
    """One party: every work under every security."""
    keys = [bytes([40 + index]) * 32 for index in range(3)]
    role = Role("compute", party)
    others = dict.fromkeys((Role("compute", (party + 1) % 3), Role("compute", (party + 2) % 3)), b"go")
    found: dict[str, Any] = {"kernel": kernels.active()}
    number = 0
    for name, (total, _) in BARS.items():
        vectors = arguments["vectors"]
        x, y = operands(name, party, total, vectors)
        for security in ("semi-honest", "malicious"):
            seconds, wire, cpu = [], [], []
            for _ in range(arguments["repeats"] + 1):
                number += 1
                session = processes.session_id(number)
                with mesh.session(session, processes.PLACES) as links:
                    transport = links.transport(role)
                    prss = Prss(keys[party], keys[(party + 1) % 3])
                    ctx = compute_context(party, transport, prss, security, session=session)
                    await transport.exchange(Step("start"), others, dict.fromkeys(others, 2))
                    sent, busy = sum(s.wire_bytes_sent for s in mesh.statuses()), time.process_time()
                    begin = time.perf_counter()
                    await work(ctx, name, x, y, vectors)
                    seconds.append(time.perf_counter() - begin)
                    cpu.append(time.process_time() - busy)
                    wire.append(sum(s.wire_bytes_sent for s in mesh.statuses()) - sent)
                    await transport.exchange(Step("end"), others, dict.fromkeys(others, 2))
            found[f"{name} {security}"] = {"seconds": seconds[1:], "wire": wire[1:], "cpu": cpu[1:]}
    return found


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """The slowest party decides each repeat."""
    results = processes.run(__file__, vars(arguments))
    rows = []
    for name, (total, bar) in BARS.items():
        for security in ("semi-honest", "malicious"):
            parts = [result[f"{name} {security}"] for result in results]
            worst = [max(times) for times in zip(*(part["seconds"] for part in parts), strict=True)]
            rows.append(
                {
                    "work": name,
                    "security": security,
                    "gates": total,
                    "seconds_median": statistics.median(worst),
                    "seconds_fastest": min(worst),
                    "cpu_seconds": min(sum(times) for times in zip(*(part["cpu"] for part in parts), strict=True)),
                    "bytes_per_gate": max(max(part["wire"]) for part in parts) / total,
                    "seconds_max": bar,
                }
            )
    found = {"bench": "malicious", "kernel": results[0]["kernel"], "rows": rows}
    if arguments.mpyc:
        version, seconds = mpyc_peer.measure(MPYC_COUNTS)
        scale = {work: (ROWS if work == "gram" else BARS[work][0]) / count for work, count in MPYC_COUNTS.items()}
        found["mpyc"] = {
            "version": version,
            "counts": MPYC_COUNTS,
            "seconds": seconds,
            "seconds_scaled": {work: seconds[work] * scale[work] for work in seconds},
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", default="")
    parser.add_argument("--mpyc", action="store_true", help="also run MPyC on the works that it has, on fewer, scaled")
    given = parser.parse_args()
    figures = bench(given)
    for row in figures["rows"]:
        print(
            f"{row['gates']:>11,} {row['work']:12}{row['security']:12}median {row['seconds_median']:.3f} s, "
            f"fastest {row['seconds_fastest']:.3f} s, all cpu {row['cpu_seconds']:.2f} s, "
            f"{8 * row['bytes_per_gate']:.4f} bits each and party; bar {row['seconds_max']} s"
        )
    for peer_work, peer_seconds in figures.get("mpyc", {}).get("seconds_scaled", {}).items():
        ours = next(r for r in figures["rows"] if r["work"] == peer_work and r["security"] == "malicious")
        print(
            f"MPyC {figures['mpyc']['version']} (semi-honest) {peer_work}: {peer_seconds:.1f} s, scaled linearly from "
            f"{MPYC_COUNTS[peer_work]:,}; {peer_seconds / ours['seconds_median']:.0f} times our malicious"
        )
    text = json.dumps(figures)
    print(text)
    if given.json:
        Path(given.json).write_text(text + "\n")
