"""What a protocol spends, as exact formulas of public sizes.

Rounds are exchanges in sequence; bytes are payload bytes before encryption, what one role sends to others.  `products`
and `ands` count what a protocol hands to the deferred check (elements over a field; 64-bit words of ANDs), which the
batch verification will be priced by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mpcd.field import Field

WORD_BYTES: Final = 8
WORD_BITS: Final = 64


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

    def __add__(self, other: Cost) -> Cost:
        a, b = self.compute, other.compute
        return Cost(
            self.rounds + other.rounds,
            (a[0] + b[0], a[1] + b[1], a[2] + b[2]),
            self.input + other.input,
            self.products + other.products,
            self.ands + other.ands,
        )

    def __mul__(self, times: int) -> Cost:
        a = self.compute
        return Cost(
            self.rounds * times,
            (a[0] * times, a[1] * times, a[2] * times),
            self.input * times,
            self.products * times,
            self.ands * times,
        )

    __rmul__ = __mul__


def words_for(count: int) -> int:
    """64-bit words of one plane of `count` elements."""
    return (count + WORD_BITS - 1) // WORD_BITS


def field_bytes(field: Field, count: int) -> int:
    """Bytes of `count` elements on the wire."""
    return field.element_bytes * count


def each(rounds: int, sent: int, products: int = 0, ands: int = 0) -> Cost:
    """The same bytes from each compute party."""
    return Cost(rounds, (sent, sent, sent), products=products, ands=ands)
