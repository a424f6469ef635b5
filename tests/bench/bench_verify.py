"""What the batch verification computes at one party: nanoseconds of processor time per product and per AND.

    python tests/bench/bench_verify.py [--products 20] [--words 17] [--tables avx512,avx2] [--json FILE]

The local work of `protocols.claims` on a batch of 2^products field products and of 2^words words of ANDs, by kernel
table: coefficients, first gram, first fold, all later levels.  No messages: those are a few kilobytes per batch
(`cost_prove`), printed beside; `bench_malicious.py` has the whole.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mpcd.field import FP, FQ, Field, Vector, kernels
from mpcd.field.binary import K
from mpcd.protocols.claims import BYTE_CHUNK, PRODUCT_CHUNK, Claim, Record
from mpcd.protocols.cost import Check
from mpcd.protocols.verify import PRODUCTS
from mpcd.protocols.verify_batch import cost_prove
from mpcd.sharing import Planes, Replicated

SEED = bytes(range(32))


def vectors(field: Field, count: int, number: int) -> list[Vector]:
    """Random elements."""
    rng = np.random.default_rng(1)
    words = (rng.integers(0, 2**63, size=count * field.words_per_element, dtype=np.uint64) for _ in range(number))
    return [field.sample(v)[0] for v in words]


def proved(claim: Claim) -> dict[str, float]:
    """One claim from coefficients to the last product, with made-up messages; seconds by phase."""
    field = claim.field
    one = Replicated(field, field.from_ints([3]), field.from_ints([4]))
    claim.mask(one, one, one)
    seconds: dict[str, float] = {}
    begin = time.process_time()

    def lap(name: str) -> None:
        nonlocal begin
        now = time.process_time()
        seconds[name] = seconds.get(name, 0.0) + now - begin
        begin = now

    claim.start(SEED)
    lap("coefficients")
    for level in range(len(claim.levels)):
        summands = claim.products(level)
        lap("first gram" if level == 0 else "later levels")
        claim.fold(level, Replicated(field, summands, summands), SEED)
        lap("first fold" if level == 0 else "later levels")
    claim.last()
    return seconds


def measure(field: Field, log_count: int) -> dict[str, Any]:
    """The best of three."""
    count = 1 << log_count
    gates = 64 * count if field is K else count
    check = Check(None if field is K else field, PRODUCTS, gates)
    best: dict[str, float] = {}
    for _ in range(3):
        if field is K:
            parts = [v.reshape(1, -1) for v in vectors(K, count, 6)]
            x, y, z = (Planes(parts[2 * i], parts[2 * i + 1], 64 * count) for i in range(3))
            record, chunk = Record(PRODUCTS, x, y, z), BYTE_CHUNK
        else:
            parts = vectors(field, count, 6)
            a, b, c = (Replicated(field, parts[2 * i], parts[2 * i + 1]) for i in range(3))
            record, chunk = Record(PRODUCTS, a, b, c), PRODUCT_CHUNK
        seconds = proved(Claim(field, [record], chunk))
        if not best or sum(seconds.values()) < sum(best.values()):
            best = seconds
    cost = cost_prove([check])
    nanoseconds = {name: 1e9 * value / gates for name, value in best.items()}
    return {
        "field": repr(field),
        "gates": gates,
        "nanoseconds": nanoseconds,
        "nanoseconds_total": sum(nanoseconds.values()),
        "rounds": cost.rounds,
        "bytes": cost.compute[0],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=20)
    parser.add_argument("--words", type=int, default=17)
    parser.add_argument("--tables", default="", help="comma-separated kernel tables; by default the best one")
    parser.add_argument("--json", default="")
    given = parser.parse_args()
    found = []
    for table in given.tables.split(",") if given.tables else [kernels.active()]:
        with kernels.forced(table):
            for field, size in ((FP, given.products), (FQ, given.products - 2), (K, given.words)):
                found.append({"table": table, **measure(field, size)})
    for row in found:
        phases = "  ".join(f"{name} {value:.2f}" for name, value in row["nanoseconds"].items())
        print(f"{row['table']:9}{row['field']:10}{row['gates']:>11} gates {row['nanoseconds_total']:7.2f} ns: {phases}")
        print(f"{'':19}{row['rounds']} rounds, {row['bytes']} bytes a party and batch")
    text = json.dumps({"bench": "verify", "rows": found})
    print(text)
    if given.json:
        Path(given.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
