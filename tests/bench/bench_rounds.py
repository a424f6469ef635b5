"""How long a round takes: three processes, each sends a small message to one and receives one from the other.

    python tests/bench/bench_rounds.py [--rounds 2000] [--bytes 8] [--repeats 5] [--json]

The protocols' rounds are of this kind.  The median over repeats is printed beside the slowest and fastest repeat.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import statistics
import time
from typing import Any

import trio

from mpcd.ids import Role, Step
from mpcd.net import Mesh
from mpcd.testing import processes


async def main(party: int, mesh: Mesh, arguments: dict[str, Any]) -> dict[str, Any]:
    """One party: `repeats` times `rounds` exchanges."""
    payload = bytes(range(256)) * (arguments["bytes"] // 256) + bytes(arguments["bytes"] % 256)
    following, previous = Role("compute", (party + 1) % 3), Role("compute", (party + 2) % 3)
    milliseconds = []
    profile = cProfile.Profile() if arguments["profile"] and party == 0 else None
    with mesh.session(processes.session_id(1), processes.PLACES) as links:
        transport = links.transport(Role("compute", party))
        for repeat in range(arguments["repeats"]):
            await transport.exchange(Step(f"start/{repeat}"), {previous: b"go"}, {following: 2})
            if profile is not None:
                profile.enable()
            begin = time.perf_counter()
            for number in range(arguments["rounds"]):
                step = Step(f"round/{repeat}/{number}")
                await transport.exchange(step, {previous: payload}, {following: len(payload)})
            milliseconds.append((time.perf_counter() - begin) / arguments["rounds"] * 1e3)
            if profile is not None:
                profile.disable()
        assert transport.rounds == arguments["repeats"] * (arguments["rounds"] + 1)
    if profile is not None:
        profile.dump_stats(arguments["profile"])
    await trio.lowlevel.checkpoint()
    return {"milliseconds": milliseconds, "cpu_seconds": time.process_time()}


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run it; the slowest party decides."""
    results = processes.run(__file__, vars(arguments))
    worst = [max(repeat) for repeat in zip(*(result["milliseconds"] for result in results), strict=True)]
    return {
        "bench": "rounds",
        "bytes": arguments.bytes,
        "rounds": arguments.rounds,
        "milliseconds_per_round_median": statistics.median(worst),
        "milliseconds_per_round_fastest": min(worst),
        "milliseconds_per_round_slowest": max(worst),
        "cpu_seconds": [result["cpu_seconds"] for result in results],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", default="", help="write party 0's profile of the rounds to this file")
    found = bench(parser.parse_args())
    if parser.parse_args().json:
        print(json.dumps(found))
    else:
        print(f"{found['bytes']} bytes, {found['rounds']} rounds a repeat, three processes")
        print(f"  median  {found['milliseconds_per_round_median']:.3f} ms a round")
        print(f"  fastest {found['milliseconds_per_round_fastest']:.3f}")
        print(f"  slowest {found['milliseconds_per_round_slowest']:.3f}")
