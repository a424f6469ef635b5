"""What a protocol spends, as exact formulas of public sizes.

Rounds are exchanges in sequence; bytes are payload bytes before encryption, what one role sends to others.  `products`
and `ands` count what a protocol hands to the deferred check (elements over a field; 64-bit words of ANDs), which the
batch verification will be priced by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mpcd.field import Field
from mpcd.protocols.verify import PRODUCTS, Relation

WORD_BYTES: Final = 8
WORD_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Check:
    """One relation of the deferred check: public shape alone."""

    field: Field | None
    """None for ANDs."""
    relation: Relation
    products: int
    """Elements of x; for ANDs bits, whole words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Rounds, and bytes by role; `+` is one after the other, `*` the same again and again."""

    rounds: int = 0
    compute: tuple[int, int, int] = (0, 0, 0)
    """Bytes sent by each of the three compute parties."""
    input: int = 0
    """Bytes sent by each input party."""
    products: int = 0
    """Field products in the deferred check (an inner product counts its length)."""
    ands: int = 0
    """64-bit words of ANDs in the deferred check."""
    checks: tuple[Check, ...] = field(default=(), compare=False, repr=False)
    """The relations of the deferred check in order, from which `verify_batch.cost_checked` computes what it costs."""

    def __add__(self, other: Cost) -> Cost:
        a, b = self.compute, other.compute
        return Cost(
            self.rounds + other.rounds,
            (a[0] + b[0], a[1] + b[1], a[2] + b[2]),
            self.input + other.input,
            self.products + other.products,
            self.ands + other.ands,
            self.checks + other.checks,
        )

    def __mul__(self, times: int) -> Cost:
        a = self.compute
        return Cost(
            self.rounds * times,
            (a[0] * times, a[1] * times, a[2] * times),
            self.input * times,
            self.products * times,
            self.ands * times,
            self.checks * times,
        )

    __rmul__ = __mul__


def words_for(count: int) -> int:
    """64-bit words of one plane of `count` elements."""
    return (count + WORD_BITS - 1) // WORD_BITS


def field_bytes(field: Field, count: int) -> int:
    """Bytes of `count` elements on the wire."""
    return field.element_bytes * count


def each(rounds: int, sent: int, products: int = 0, ands: int = 0, check: Check | None = None) -> Cost:
    """The same bytes from each compute party."""
    checks = () if check is None else (check,)
    return Cost(rounds, (sent, sent, sent), products=products, ands=ands, checks=checks)


def each_product(
    rounds: int, sent: int, over: Field, products: int, relation: Relation = PRODUCTS, elements: int = 0
) -> Cost:
    """As `each`, with one relation of products for the check; `elements` of x when they differ from the products."""
    return each(rounds, sent, products=products, check=Check(over, relation, elements or products))


def each_and(rounds: int, sent: int, words: int) -> Cost:
    """As `each`, with one vector of ANDs for the check."""
    return each(rounds, sent, ands=words, check=Check(None, PRODUCTS, words * WORD_BITS))
