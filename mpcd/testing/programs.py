"""Small programs over every protocol, with their arguments: what adversaries are let loose on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mpcd.field import FP, FQ
from mpcd.governance.sampling import GaussianTable, LaplaceTable, Leaf
from mpcd.protocols import adders, binary, compare, convert, least, multiply, opening, select
from mpcd.protocols.context import Context
from mpcd.release import noise
from mpcd.sharing import Planes, Replicated
from mpcd.testing.world import Bits

FLAGS: Final = [Bits.of([0, 1, 1], 1), Bits.of([1, 0, 1], 1), Bits.of([1, 1, 0], 1)]

HALF: Final = 1 << 63
LAPLACE: Final = LaplaceTable((HALF - 12345, HALF // 3))
GAUSSIAN: Final = GaussianTable((Leaf(1, (HALF // 2, HALF, HALF + HALF // 2)),))


async def _noise(ctx: Context) -> tuple[Replicated, ...]:
    """A few samples of each kind."""
    return tuple(await noise.draw(ctx, [LAPLACE, GAUSSIAN], FP, 2))


Program = tuple[Callable[..., Any], tuple[Any, ...]]
PROGRAMS: Final[dict[str, Program]] = {
    "mul": (multiply.mul, ([6, 7], [5, 4])),
    "inner_product": (multiply.inner_product, ([1, 2, 3, 4], [5, 6, 7, 8], 2)),
    "matrix_product": (multiply.matrix_product, ([1, 2, 3, 4], [5, 6], (2, 2, 1))),
    "and": (binary.and_, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "or": (binary.or_, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "all_of": (binary.all_of, (Bits.of([7, 3], 3),)),
    "add": (adders.add, (Bits.of([5, 3], 3), Bits.of([7, 1], 3))),
    "total": (adders.total, ([Bits.of([5, 3], 3)] * 3, 5)),
    "to_bits": (convert.to_bits, ([6, 7],)),
    "bit_to_field": (convert.bit_to_field, (Bits.of([1, 0], 1), FP)),
    "bit_to_wide": (convert.bit_to_field, (Bits.of([1, 0], 1), FQ)),
    "at_least_public": (compare.at_least_public, (Bits.of([5, 3], 3), 4)),
    "less_than": (compare.less_than, (Bits.of([5, 3], 3), Bits.of([5, 4], 3))),
    "equal": (compare.equal, (Bits.of([5, 3], 3), Bits.of([5, 4], 3))),
    "threshold_count": (compare.threshold_count, (FLAGS, 2)),
    "least": (least.least, (Bits.of([5, 3, 4], 3), (2, 1))),
    "select": (select.select, ([1, 0], [5, 6], [7, 8])),
    "select_planes": (select.select_planes, (Bits.of([1, 0], 1), Bits.of([5, 6], 3))),
    "noise": (_noise, ()),
}


def openings(protocol: Callable[..., Any]) -> Callable[..., Any]:
    """The protocol, then all of its results opened."""

    async def program(ctx: Context, *shares: Any) -> list[list[int]]:
        result = await protocol(ctx.narrow("protocol"), *shares)
        results: list[Replicated | Planes] = list(result) if isinstance(result, tuple) else [result]
        values = [await opening.open_all(ctx.narrow(f"open{k}"), part) for k, part in enumerate(results)]
        return [np.asarray(value).reshape(-1).tolist() for value in values]

    return program
