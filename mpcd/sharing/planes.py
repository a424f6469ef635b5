"""Binary sharings, bit-sliced: what one party holds of a vector of bit strings, and all that it can do alone.

Plane j is the vector of the bits of weight 2^j of all elements; element e is bit e % 64 of word e // 64.  A circuit on
all elements is a few instructions per word.  Invariant: the unused high bits of each plane's last word are zero in
every component, so that they are zero in the value, on the wire and in every hash; `masked` restores it after anything
that breaks it.

Independent circuits share rounds by standing side by side: `stack` puts vectors of the same width after each other,
each on a word of its own (cheap, undone by `unstack`), `concatenate` without gaps (repacks), and `join` puts planes of
the same count over each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mpcd import limits
from mpcd.field import Vector, bits
from mpcd.ids import COMPUTE_PARTIES
from mpcd.sharing.opaque import Opaque

WORD_BITS: Final = 64
_ALL_ONES: Final = (1 << WORD_BITS) - 1


def last_word_mask(count: int) -> int:
    """The bits of the last word that belong to one of `count` elements."""
    used = count % WORD_BITS
    return (1 << used) - 1 if used else _ALL_ONES


def is_masked(planes: Vector, count: int) -> bool:
    """Whether no unused high bit is set; the answer is about bits that carry no secret."""
    used = count % WORD_BITS
    return used == 0 or not (planes[:, -1] >> np.uint64(used)).any()


def mask_in_place(planes: Vector, count: int) -> Vector:
    """Clear the unused high bits of fresh planes that nobody else holds yet; returns them."""
    if count % WORD_BITS:
        planes[:, -1] &= np.uint64(last_word_mask(count))
    return planes


def ones(width: int, count: int) -> Vector:
    """Public planes in which every bit of every element is set."""
    return mask_in_place(np.full((width, bits.words_for(count)), _ALL_ONES, dtype=np.uint64), count)


def _rows(width: int) -> list[slice]:
    """The planes, as many at once as a word holds bits of one element."""
    return [slice(start, min(start + WORD_BITS, width)) for start in range(0, width, WORD_BITS)]


def _taken(planes: Vector, count: int, where: Vector) -> Vector:
    """Some elements of planes, repacked; where they stand is public."""
    if not len(where):
        return np.zeros((len(planes), 0), dtype=np.uint64)
    parts = [
        bits.to_planes(bits.from_planes(planes[rows], count)[where.astype(np.int64)], len(planes[rows]))
        for rows in _rows(len(planes))
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _joined(pieces: Sequence[Vector], counts: Sequence[int]) -> Vector:
    """Planes after each other without gaps."""
    parts = []
    for rows in _rows(len(pieces[0])):
        elements = [bits.from_planes(piece[rows], count) for piece, count in zip(pieces, counts, strict=True)]
        parts.append(bits.to_planes(np.concatenate(elements), len(pieces[0][rows])))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Planes(Opaque):
    """One party's XOR share of `count` bit strings: P_i holds a = x_i and b = x_{i+1}, each uint64 (width, words)."""

    __slots__ = ("a", "b", "count")

    a: Final[Vector]  # type: ignore[misc]  # set below, past the guard against mutation
    b: Final[Vector]  # type: ignore[misc]
    count: Final[int]  # type: ignore[misc]

    def __init__(self, a: Vector, b: Vector, count: int) -> None:
        assert a.shape == b.shape
        assert a.shape[1] == (count + WORD_BITS - 1) // WORD_BITS
        assert count <= limits.VECTOR_ELEMENTS_MAX
        _set_a(self, a)
        _set_b(self, b)
        _set_count(self, count)

    @property
    def width(self) -> int:
        """Planes, that is bits of each element."""
        return len(self.a)

    @property
    def words(self) -> int:
        """64-bit words of each plane."""
        return int(self.a.shape[1])

    def __repr__(self) -> str:
        return f"<shared {self.count} bit strings of width {self.width}>"

    # ---------------------------------------------------------------------------------------- from what is known

    @classmethod
    def public(cls, planes: Vector, count: int, index: int) -> Planes:
        """The trivial sharing (planes, 0, 0) of what everyone knows, as P_`index` holds it."""
        zero = np.zeros_like(planes)
        return cls(planes if index == 0 else zero, planes if index == 2 else zero, count)

    @classmethod
    def of_components(cls, a: Vector, b: Vector, count: int, index: int) -> list[Planes]:
        """Sharings of three bit vectors of which P_j and P_{j-1} know the j-th, from the two that P_`index` knows."""
        zero = np.zeros_like(a)
        after = (index + 1) % COMPUTE_PARTIES
        return [cls(a if j == index else zero, b if j == after else zero, count) for j in range(COMPUTE_PARTIES)]

    # ---------------------------------------------------------------------------------------- linear algebra

    def __xor__(self, other: Planes) -> Planes:
        assert self.count == other.count
        assert self.a.shape == other.a.shape
        return Planes(self.a ^ other.a, self.b ^ other.b, self.count)

    def xor_public(self, planes: Vector, index: int) -> Planes:
        """XOR with public planes (one plane serves all), as P_`index` computes it: component 0 moves."""
        if index == 0:
            return Planes(self.a ^ planes, self.b, self.count)
        if index == 2:
            return Planes(self.a, self.b ^ planes, self.count)
        return self

    def and_public(self, planes: Vector) -> Planes:
        """AND with public planes (one plane serves all)."""
        return Planes(self.a & planes, self.b & planes, self.count)

    def invert(self, index: int) -> Planes:
        """NOT of every bit, as P_`index` computes it."""
        return self.xor_public(ones(1, self.count), index)

    # ---------------------------------------------------------------------------------------- planes

    def planes(self, where: slice | Sequence[int]) -> Planes:
        """Some of the planes, in the order given."""
        chosen = where if isinstance(where, slice) else list(where)
        return Planes(self.a[chosen], self.b[chosen], self.count)

    def plane(self, weight: int) -> Planes:
        """The bits of weight 2^`weight`, as width 1."""
        assert 0 <= weight < self.width
        return self.planes(slice(weight, weight + 1))

    def put(self, rows: Sequence[int], planes: Planes) -> Planes:
        """The same with the planes at `rows` replaced."""
        a, b = self.a.copy(), self.b.copy()
        a[list(rows)] = planes.a
        b[list(rows)] = planes.b
        return Planes(a, b, self.count)

    def extend(self, width: int) -> Planes:
        """The same numbers with more (zero) high planes."""
        assert width >= self.width
        missing = np.zeros((width - self.width, self.words), dtype=np.uint64)
        return Planes(np.concatenate([self.a, missing]), np.concatenate([self.b, missing]), self.count)

    def shift_up(self, places: int) -> Planes:
        """Times 2^`places` modulo 2^width: the width stays, high planes fall off."""
        assert 0 <= places <= self.width
        low = np.zeros((places, self.words), dtype=np.uint64)
        keep = self.width - places
        return Planes(np.concatenate([low, self.a[:keep]]), np.concatenate([low, self.b[:keep]]), self.count)

    def rotate_up(self, places: int) -> Planes:
        """Times 2^`places` modulo 2^width - 1: the high planes come back as the low ones."""
        return Planes(np.roll(self.a, places, axis=0), np.roll(self.b, places, axis=0), self.count)

    def repeat(self, width: int) -> Planes:
        """One plane, `width` times: a flag that stands beside every bit of a number."""
        assert self.width == 1
        return Planes(np.repeat(self.a, width, axis=0), np.repeat(self.b, width, axis=0), self.count)

    @staticmethod
    def join(pieces: Sequence[Planes]) -> Planes:
        """The planes of all pieces over each other, the first piece lowest; all pieces have the same count."""
        if len(pieces) == 1:
            return pieces[0]
        count = pieces[0].count
        assert all(piece.count == count for piece in pieces)
        a = np.concatenate([piece.a for piece in pieces])
        return Planes(a, np.concatenate([piece.b for piece in pieces]), count)

    # ---------------------------------------------------------------------------------------- elements

    @staticmethod
    def stack(pieces: Sequence[Planes]) -> Planes:
        """All pieces after each other, each from a word of its own; the gaps count as elements, zero at first."""
        if len(pieces) == 1:
            return pieces[0]
        width = pieces[0].width
        assert all(piece.width == width for piece in pieces)
        last = pieces[-1]
        count = sum(piece.words for piece in pieces[:-1]) * WORD_BITS + last.count
        a = np.concatenate([piece.a for piece in pieces], axis=1)
        return Planes(a, np.concatenate([piece.b for piece in pieces], axis=1), count)

    def unstack(self, counts: Sequence[int]) -> list[Planes]:
        """The pieces of `stack`, given their counts; whatever a circuit did to the gaps is cleared."""
        if len(counts) == 1 and counts[0] == self.count:
            return [self]
        pieces = []
        start = 0
        for count in counts:
            stop = start + bits.words_for(count)
            a = mask_in_place(self.a[:, start:stop].copy(), count)
            pieces.append(Planes(a, mask_in_place(self.b[:, start:stop].copy(), count), count))
            start = stop
        assert start == self.words
        return pieces

    def take(self, where: slice | Vector) -> Planes:
        """The elements of a slice or at public places, repacked without gaps."""
        chosen = np.arange(self.count, dtype=np.uint64)[where] if isinstance(where, slice) else where
        return Planes(_taken(self.a, self.count, chosen), _taken(self.b, self.count, chosen), len(chosen))

    @staticmethod
    def concatenate(pieces: Sequence[Planes]) -> Planes:
        """All pieces after each other without gaps, repacked."""
        if len(pieces) == 1:
            return pieces[0]
        count = sum(piece.count for piece in pieces)
        a = _joined([piece.a for piece in pieces], [piece.count for piece in pieces])
        return Planes(a, _joined([piece.b for piece in pieces], [piece.count for piece in pieces]), count)


# The slots' own setters, taken before anyone holds a share: the one way around the guard, for `__init__` alone.
_set_a = Planes.__dict__["a"].__set__
_set_b = Planes.__dict__["b"].__set__
_set_count = Planes.__dict__["count"].__set__
