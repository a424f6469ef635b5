"""What the release gate costs: a grouped aggregate of 10,000 cells, with and without the rules beyond the counts.

    python tests/bench/bench_gate.py [--cells 10000] [--owners 3] [--repeats 3] [--round-base 1] [--json FILE]

Three processes, the real channel, malicious security: from the owners' shares to the payload, everything verified.
`counts` is floor, `min_owners` and complement alone; `gate` adds dominance, secondary suppression and, with a base,
rounding.  Time is the slowest party's, from a common start.  The rounds are printed as a sum of their parts, from the
formulas that the tests assert.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mpcd.compile import program as compiled
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import Program
from mpcd.field import bits
from mpcd.governance.disclosure import DisclosureRules
from mpcd.identity import ChannelKey, SigningKey
from mpcd.ids import PartyId, Role, Step
from mpcd.net import Mesh
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.protocols import inputs
from mpcd.protocols.context import compute_context
from mpcd.protocols.cost import Cost
from mpcd.protocols.prss import Prss
from mpcd.protocols.spec import BitsSpec
from mpcd.protocols.verify_batch import cost_checked
from mpcd.release.margins import Margins
from mpcd.roster import Column, Party, Roster, Table
from mpcd.sharing import Planes, Replicated
from mpcd.testing import processes

BAR_SECONDS = 1.0
ROWS = 1_000_000


def planned(cells: int, owners: int, round_base: int) -> PhysicalPlan:
    """Two keys of about as many places, a count, a sum and an average."""
    side = math.isqrt(cells)
    bounds = {"a": (0, side - 1), "b": (0, -(-cells // side) - 1), "x": (0, 5000)}
    columns = tuple(Column(name, "integer", low=low, high=high) for name, (low, high) in bounds.items())
    parties = tuple(PartyId(party) for party in range(owners))
    table = Table(
        name="t",
        rows_max=ROWS,
        rows_disjoint=True,
        persons_disjoint=True,
        person_id=None,
        owners=parties,
        columns=columns,
    )
    random = np.random.default_rng(1).bytes
    members = tuple(
        Party(
            id=party,
            name=f"hospital-{party}",
            channel_key=str(ChannelKey.generate(random).public),
            signing_key=str(SigningKey.generate(random).public),
            roles=("input", "compute") if party < 3 else ("input",),
        )
        for party in parties
    )
    roster = Roster("bench", 1, members, (table,))
    logical: LogicalPlan = plan_sql("SELECT a, b, COUNT(*), SUM(x) FROM t GROUP BY a, b", roster, dt.date(2026, 1, 1))
    compute = (PartyId(0), PartyId(1), PartyId(2))
    return PhysicalPlan(
        logical, DisclosureRules(safe_round_base=round_base), parties, compute, {p: {} for p in parties}
    )


@contextmanager
def counts_only() -> Iterator[None]:
    """Without the rules beyond the counts."""
    with mock.patch.object(compiled, "rules_of", return_value=[]), mock.patch.object(Margins, "needed", new=False):
        yield


def shares_of(program: Program, party: int) -> dict[Role, list[Planes | Replicated]]:
    """This party's shares of what owners would have given: random, and small enough to suppress many cells."""
    given: dict[Role, list[Planes | Replicated]] = {}
    for owner in range(program.owners):
        items: list[Planes | Replicated] = []
        for place, spec in enumerate(program.specs):
            parts = [np.random.default_rng([owner, place, share]) for share in range(3)]
            if isinstance(spec, BitsSpec):
                shape = (spec.width, bits.words_for(spec.count))
                words = [one.integers(0, 2**64, size=shape, dtype=np.uint64) for one in parts]
                items.append(Planes(words[party], words[(party + 1) % 3], spec.count))
            else:
                size = spec.count * spec.field.words_per_element
                vectors = [one.integers(0, 2**60, size=size, dtype=np.uint64) for one in parts]
                shaped = [v if spec.field.words_per_element == 1 else v.reshape(spec.count, -1) for v in vectors]
                items.append(Replicated(spec.field, shaped[party], shaped[(party + 1) % 3]))
        given[Role("input", owner)] = items
    return given


async def main(party: int, mesh: Mesh, arguments: dict[str, Any]) -> dict[str, Any]:
    """One party: both programs, several times."""
    plan = planned(arguments["cells"], arguments["owners"], arguments["round_base"])
    keys = [bytes([40 + index]) * 32 for index in range(3)]
    role = Role("compute", party)
    others = dict.fromkeys((Role("compute", (party + 1) % 3), Role("compute", (party + 2) % 3)), b"go")
    found: dict[str, Any] = {}
    number = 0
    for name in ("counts", "gate"):
        with counts_only() if name == "counts" else mock.patch.dict({}):
            plain = PhysicalPlan(plan.logical, DisclosureRules(), plan.owners, plan.compute, plan.data_versions)
            program = Program(plain if name == "counts" else plan)
            given = shares_of(program, party)

            async def receive(*_args: object, _given: Any = given) -> Any:
                return _given

            seconds, busy, sent, rounds = [], [], [], 0
            for _ in range(arguments["repeats"] + 1):
                number += 1
                session = processes.session_id(number)
                with mesh.session(session, processes.PLACES) as links:
                    transport = links.transport(role)
                    prss = Prss(keys[party], keys[(party + 1) % 3])
                    ctx = compute_context(party, transport, prss, "malicious", session=session)
                    await transport.exchange(Step("start"), others, dict.fromkeys(others, 2))
                    begin, cpu = time.perf_counter(), time.process_time()
                    with mock.patch.object(inputs, "receive", receive):
                        await program.run_compute(ctx)
                    seconds.append(time.perf_counter() - begin)
                    busy.append(time.process_time() - cpu)
                    sent.append(ctx.bytes_sent)
                    rounds = ctx.rounds
                    await transport.exchange(Step("end"), others, dict.fromkeys(others, 2))
            found[name] = {"seconds": seconds[1:], "cpu": busy[1:], "bytes": sent[-1], "rounds": rounds}
    return found


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """The slowest party decides each repeat."""
    results = processes.run(__file__, vars(arguments))
    worst = {
        name: [max(times) for times in zip(*(result[name]["seconds"] for result in results), strict=True)]
        for name in ("counts", "gate")
    }
    program = Program(planned(arguments.cells, arguments.owners, arguments.round_base))
    pieces = program.costs()
    unchecked = sum(pieces.values(), Cost())
    return {
        "bench": "gate",
        "cells": arguments.cells,
        "owners": arguments.owners,
        "round_base": arguments.round_base,
        "seconds_median": {name: statistics.median(times) for name, times in worst.items()},
        "seconds_added": statistics.median(worst["gate"]) - statistics.median(worst["counts"]),
        "seconds_added_max": BAR_SECONDS,
        "cpu_seconds": {name: min(min(result[name]["cpu"]) for result in results) for name in worst},
        "bytes": {name: results[0][name]["bytes"] for name in worst},
        "rounds": {name: cost.rounds for name, cost in pieces.items()}
        | {"verification": cost_checked(unchecked).rounds - unchecked.rounds},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--owners", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--round-base", type=int, default=1)
    parser.add_argument("--json", default="")
    given_arguments = parser.parse_args()
    figures = bench(given_arguments)
    print(
        f"{figures['cells']:,} cells, {figures['owners']} owners, malicious: counts alone "
        f"{figures['seconds_median']['counts']:.3f} s, all rules {figures['seconds_median']['gate']:.3f} s, added "
        f"{figures['seconds_added']:.3f} s; bar {BAR_SECONDS} s; cpu of one party "
        f"{figures['cpu_seconds']['counts']:.3f} s and {figures['cpu_seconds']['gate']:.3f} s"
    )
    print("rounds = " + " + ".join(f"{count} {name}" for name, count in figures["rounds"].items() if count))
    text = json.dumps(figures)
    print(text)
    if given_arguments.json:
        Path(given_arguments.json).write_text(text + "\n")
