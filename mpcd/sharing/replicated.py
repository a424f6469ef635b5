"""Replicated sharings of vectors over a field: what one party holds, and all that it can do alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mpcd import limits
from mpcd.field import Field, Vector
from mpcd.ids import COMPUTE_PARTIES
from mpcd.sharing.opaque import Opaque


class Replicated(Opaque):
    """One party's share of a vector over `field`: P_i holds a = x_i and b = x_{i+1} of x = x_0 + x_1 + x_2."""

    __slots__ = ("a", "b", "field")

    field: Final[Field]  # type: ignore[misc]  # set below, past the guard against mutation
    a: Final[Vector]  # type: ignore[misc]
    b: Final[Vector]  # type: ignore[misc]

    def __init__(self, field: Field, a: Vector, b: Vector) -> None:
        assert a.shape == b.shape
        assert len(a) <= limits.VECTOR_ELEMENTS_MAX
        _set_field(self, field)
        _set_a(self, a)
        _set_b(self, b)

    def __len__(self) -> int:
        return len(self.a)

    def __repr__(self) -> str:
        return f"<shared {len(self)} elements of field {self.field.name}>"

    # ---------------------------------------------------------------------------------------- from what is known

    @classmethod
    def public(cls, field: Field, values: Vector, index: int) -> Replicated:
        """The trivial sharing (values, 0, 0) of a vector that everyone knows, as P_`index` holds it."""
        zero = field.zeros(len(values))
        return cls(field, values if index == 0 else zero, values if index == 2 else zero)

    @classmethod
    def of_components(cls, field: Field, a: Vector, b: Vector, index: int) -> list[Replicated]:
        """Sharings of three vectors of which P_j and P_{j-1} know the j-th, from the two that P_`index` knows.

        The j-th result has the vector as its component j and zero elsewhere: free, and as consistent as its two holders
        are.
        """
        zero = field.zeros(len(a))
        after = (index + 1) % COMPUTE_PARTIES
        return [cls(field, a if j == index else zero, b if j == after else zero) for j in range(COMPUTE_PARTIES)]

    # ---------------------------------------------------------------------------------------- linear algebra

    def __add__(self, other: Replicated) -> Replicated:
        field = self._same(other)
        return Replicated(field, field.add(self.a, other.a), field.add(self.b, other.b))

    def __sub__(self, other: Replicated) -> Replicated:
        field = self._same(other)
        return Replicated(field, field.sub(self.a, other.a), field.sub(self.b, other.b))

    def __neg__(self) -> Replicated:
        return Replicated(self.field, self.field.neg(self.a), self.field.neg(self.b))

    def scale(self, factor: int) -> Replicated:
        """Every element times one public integer (reduced)."""
        return Replicated(self.field, self.field.scale(self.a, factor), self.field.scale(self.b, factor))

    # ---------------------------------------------------------------------------------------- shape

    def take(self, where: slice | Vector) -> Replicated:
        """The elements of a slice or at public places, in that order, copied."""
        field = self.field
        if isinstance(where, slice) and where.step in {None, 1}:
            return Replicated(field, self.a[where], self.b[where])
        return Replicated(field, np.ascontiguousarray(self.a[where]), np.ascontiguousarray(self.b[where]))

    def split(self, lengths: Sequence[int]) -> list[Replicated]:
        """Consecutive pieces, the inverse of `concatenate`."""
        assert sum(lengths) == len(self)
        pieces = []
        start = 0
        for length in lengths:
            pieces.append(self.take(slice(start, start + length)))
            start += length
        return pieces

    @staticmethod
    def concatenate(pieces: Sequence[Replicated]) -> Replicated:
        """One vector of all pieces, so that independent work shares its rounds."""
        field = pieces[0].field
        assert all(piece.field is field for piece in pieces)
        if len(pieces) == 1:
            return pieces[0]
        return Replicated(
            field, field.concatenate([piece.a for piece in pieces]), field.concatenate([piece.b for piece in pieces])
        )

    def _same(self, other: Replicated) -> Field:
        assert self.field is other.field
        assert len(self) == len(other)
        return self.field


# The slots' own setters, taken before anyone holds a share: the one way around the guard, for `__init__` alone.
_set_field = Replicated.__dict__["field"].__set__
_set_a = Replicated.__dict__["a"].__set__
_set_b = Replicated.__dict__["b"].__set__
