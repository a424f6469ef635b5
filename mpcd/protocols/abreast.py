"""Circuits side by side: independent coroutines of ANDs share their rounds.

Each branch is a protocol that exchanges nothing but ANDs.  It runs on a context whose ANDs are not sent but handed to
the driver, which waits until every branch that still runs has handed one in, puts them all into one vector of whole
words, and makes one `and_` of it: one message, one record for the deferred check.  So the rounds are those of the
longest branch, the bytes and the ANDs are the same, and the order is a function of public shapes alone.

A branch may AND and nothing else: another exchange would reach the driver as something that it does not know, which is
a bug and found at once.

Source: own.
Security: that of `and_`; branches see only their own shares' results.
Cost: `cost_abreast`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np

from mpcd import limits
from mpcd.errors import Bug
from mpcd.field import Vector
from mpcd.protocols.binary import and_
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, WORD_BYTES, Cost, each_and
from mpcd.sharing import Planes
from mpcd.sharing.planes import mask_in_place

T = TypeVar("T")
Branch = Callable[[Context], Coroutine[Any, Any, T]]


class _Wanted:
    """One AND that a branch waits for."""

    __slots__ = ("x", "y")

    def __init__(self, x: Planes, y: Planes) -> None:
        self.x = x
        self.y = y

    def __await__(self) -> Generator[_Wanted, Planes, Planes]:
        return (yield self)


async def _hand_in(x: Planes, y: Planes) -> Planes:
    return await _Wanted(x, y)


async def abreast(ctx: Context, *branches: Branch[Any]) -> list[Any]:
    """Run all branches, their ANDs in common rounds.

    Cost: `cost_abreast` of the branches' costs.

    Args:
        ctx: narrowed to this call.
        branches: called with a context each, narrowed already; protocols of ANDs alone.

    Returns:
        What each branch returned, in order.
    """
    running = [branch(ctx.branch(f"branch{place}", _hand_in)) for place, branch in enumerate(branches)]
    results: list[Any] = [None] * len(running)
    waiting: dict[int, _Wanted] = {}
    try:
        for place, coroutine in enumerate(running):
            _resume(place, coroutine, None, waiting, results)
        number = 0
        while waiting:
            places = sorted(waiting)
            wanted = [waiting.pop(place) for place in places]
            x, y = _flat([one.x for one in wanted]), _flat([one.y for one in wanted])
            product = await and_(ctx.narrow(f"round{number}"), x, y)
            start = 0
            for place, one in zip(places, wanted, strict=True):
                stop = start + one.x.width * one.x.words
                _resume(place, running[place], _shaped(product, slice(start, stop), one.x), waiting, results)
                start = stop
            number += 1
    finally:
        for coroutine in running:
            coroutine.close()
    return results


def _resume(
    place: int,
    coroutine: Coroutine[Any, Any, Any],
    value: Planes | None,
    waiting: dict[int, _Wanted],
    results: list[Any],
) -> None:
    try:
        wanted = coroutine.send(value)
    except StopIteration as stop:
        results[place] = stop.value
        return
    if not isinstance(wanted, _Wanted):
        raise Bug("a branch beside others may only AND")
    waiting[place] = wanted


def _rows(words: int) -> int:
    """In how many planes so many words lie, for a vector has a bounded number of elements."""
    return -(-words * WORD_BITS // limits.VECTOR_ELEMENTS_MAX)


def _flat(pieces: list[Planes]) -> Planes:
    """All words of all planes after each other, in as few planes as hold them; zeros at the end."""
    rows = _rows(sum(piece.width * piece.words for piece in pieces))
    a, b = (np.concatenate([part.reshape(-1) for part in parts]) for parts in _parts(pieces))
    missing = np.zeros(-len(a) % rows, dtype=np.uint64)
    shape = (rows, (len(a) + len(missing)) // rows)
    a, b = (np.concatenate([part, missing]).reshape(shape) for part in (a, b))
    return Planes(a, b, shape[1] * WORD_BITS)


def _parts(pieces: list[Planes]) -> tuple[list[Vector], list[Vector]]:
    return [piece.a for piece in pieces], [piece.b for piece in pieces]


def _shaped(product: Planes, where: slice, like: Planes) -> Planes:
    """Some words as planes again; what a circuit did to unused bits is cleared."""
    shape = (like.width, like.words)
    a, b = (mask_in_place(part.reshape(-1)[where].reshape(shape).copy(), like.count) for part in (product.a, product.b))
    return Planes(a, b, like.count)


def cost_abreast(*costs: Cost) -> Cost:
    """The branches' rounds in parallel: the i-th ANDs of all in one exchange."""
    total = Cost()
    for checks in zip_longest(*(cost.checks for cost in costs)):
        assert all(check is None or check.field is None for check in checks)
        words = sum(check.products for check in checks if check is not None) // WORD_BITS
        words += -words % _rows(words)
        total += each_and(1, words * WORD_BYTES, words)
    return total
