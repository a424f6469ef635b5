"""Every kernel on every instruction set that this machine runs, beside portable C.

    python tests/bench/bench_kernels.py [--json FILE] [--only SUBSTRING]

Prints nanoseconds per element (per 64-bit word for bits, per multiplication for matrices), the best of several
repetitions, and how many times faster than portable each is, for vectors that stay in the second-level cache and for
vectors that do not.  A sibling has its place in a table if it wins 1.3 times: `p.mul_masked` carries the bulk bar, the
others carry the oblivious operators.  Times on a shared machine are noise; the ratios are taken in turn in one run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mpcd.field import FP, FQ, Field, Vector, bits, kernels

CACHED_COUNT = 16384
STREAMED_COUNT = 1_000_000
MEMORY_COUNT = 4_000_000
REPEAT_SECONDS = 0.08
Case = tuple[str, float, Callable[[], object]]


def random_vector(field: Field, count: int, rng: np.random.Generator) -> Vector:
    words = rng.integers(0, 2**64, count * field.words_per_element, dtype=np.uint64)
    return field.sample(words)[0]


def field_cases(field: Field, count: int, rng: np.random.Generator) -> Iterator[Case]:
    a, b, c, d, out = (random_vector(field, count, rng) for _ in range(5))
    k0, k1 = (rng.integers(0, 2**64, count * field.words_per_element, dtype=np.uint64) for _ in range(2))
    name = field.name
    yield f"{name}.add", count, lambda: field.add(a, b)
    yield f"{name}.sub", count, lambda: field.sub(a, b)
    yield f"{name}.neg", count, lambda: field.neg(a)
    yield f"{name}.mul", count, lambda: field.mul(a, b)
    yield f"{name}.scale", count, lambda: field.scale(a, 12345678901234567)
    yield f"{name}.sum", count, lambda: field.sum(a)
    yield f"{name}.dot", count, lambda: field.dot(a, b)
    yield f"{name}.sample", count, lambda: field.sample(k0)
    yield f"{name}.is_canonical", count, lambda: field.is_canonical(a)
    yield f"{name}.mul_masked", count, lambda: field.mul_masked(a, b, c, d, k0, k1, out)
    groups = count // 128
    words = groups * field.words_per_element
    ga, gb, gc, gd = (v[: groups * 128] for v in (a, b, c, d))
    yield f"{name}.dot_masked/128", count, lambda: field.dot_masked(ga, gb, gc, gd, k0[:words], k1[:words], 128)


def matrix_cases(field: Field, side: int, rng: np.random.Generator) -> Iterator[Case]:
    shape = (side, side) if field.words_per_element == 1 else (side, side, field.words_per_element)
    a, b, c, d = (random_vector(field, side * side, rng).reshape(shape) for _ in range(4))
    words = rng.integers(0, 2**64, side * side * field.words_per_element, dtype=np.uint64)
    yield f"{field.name}.matmul/{side}", side**3, lambda: field.matmul(a, b)
    yield f"{field.name}.matmul_masked/{side}", side**3, lambda: field.matmul_masked(a, b, c, d, words, words)


def bits_cases(count: int, rng: np.random.Generator) -> Iterator[Case]:
    a, b, c, d, k0, k1, out = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(7))
    planes = bits.to_planes(a, 61)
    yield "bits.xor", count, lambda: bits.xor(a, b)
    yield "bits.and_masked", count, lambda: bits.and_masked(a, b, c, d, k0, k1, out)
    yield "bits.to_planes/61", count, lambda: bits.to_planes(a, 61)
    yield "bits.from_planes/61", count, lambda: bits.from_planes(planes, count)


def print_memory_bound(rng: np.random.Generator) -> None:
    """Whether the fused product of long vectors waits for memory: its traffic beside that of a plain numpy addition."""
    a, b, c, d = (random_vector(FP, MEMORY_COUNT, rng) for _ in range(4))
    k0, k1, out = (rng.integers(0, 2**64, MEMORY_COUNT, dtype=np.uint64) for _ in range(3))
    fused = 7 * 8 * MEMORY_COUNT / seconds(lambda: FP.mul_masked(a, b, c, d, k0, k1, out)) / 1e9
    plain = 3 * 8 * MEMORY_COUNT / seconds(lambda: np.add(k0, k1, out=out)) / 1e9
    print(f"\np.mul_masked of {MEMORY_COUNT} elements moves {fused:.1f} GB/s, numpy's addition {plain:.1f} GB/s")


def seconds(call: Callable[[], object]) -> float:
    """Best time of one call."""
    best, spent = float("inf"), 0.0
    while spent < REPEAT_SECONDS:
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    names = [*reversed(kernels.available())]
    rows = []
    print(f"{'kernel':28}{'count':>9}" + "".join(f"{name + ' ns':>14}{'ratio':>7}" for name in names))
    for count, side in ((CACHED_COUNT, 64), (STREAMED_COUNT, 256)):
        cases = [*field_cases(FP, count, rng), *field_cases(FQ, count, rng), *bits_cases(count, rng)]
        cases += [*matrix_cases(FP, side, rng), *matrix_cases(FQ, side // 2, rng)]
        for label, work, call in cases:
            if options.only not in label:
                continue
            figures = {}
            for name in names:
                with kernels.forced(name):
                    figures[name] = seconds(call) / work * 1e9
            ratios = {name: figures["portable"] / figures[name] for name in names}
            print(f"{label:28}{count:>9}" + "".join(f"{figures[n]:>14.3f}{ratios[n]:>7.2f}" for n in names))
            rows.append({"kernel": label, "count": count, "nanoseconds": figures, "ratio": ratios})
    if not options.only:
        print_memory_bound(rng)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
