"""What every field offers, whatever computes it (layer 1, no I/O).

`FP` and `FQ` run in C; `reference.SmallField` and the reference twins run in Python integers. Protocols are written
against `Field` alone, so that the same protocol text runs over the production fields and over a toy field that a
test enumerates.

A vector is a C-contiguous numpy array whose first axes count elements: `uint64 (n,)` when an element is one word,
`uint64 (n, 2)` (low limb, high limb) when it is two. A matrix has one more axis in front. Every element is
canonical, in [0, modulus).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.uint64]
"""Elements of a field, packed GF(2) words, or bit planes."""

Buffer = bytes | bytearray | memoryview
"""What the wire gives and takes."""

Selection = slice | NDArray[np.intp] | NDArray[np.int64] | Sequence[int]


class Field(Protocol):
    """A prime field and the operations that protocols need of it.

    Lengths are public and are checked (`ValueError`); contents are secret and never decide a branch or an index.
    """

    @property
    def name(self) -> str:
        """`p`, `q`, or the name of a toy field."""

    @property
    def modulus(self) -> int:
        """The prime."""

    @property
    def element_bytes(self) -> int:
        """Bytes of one element on the wire, little endian."""

    @property
    def words_per_element(self) -> int:
        """Random words that `sample` takes for one element; also the limbs of an element."""

    def zeros(self, count: int) -> Vector:
        """`count` times zero."""

    def empty(self, count: int) -> Vector:
        """Room for `count` elements with arbitrary content."""

    def from_ints(self, values: Iterable[int]) -> Vector:
        """Any Python integers, reduced."""

    def to_ints(self, v: Vector) -> list[int]:
        """Canonical integers in [0, modulus)."""

    def to_signed(self, v: Vector) -> list[int]:
        """Centred integers in (-modulus / 2, modulus / 2]."""

    def from_int64(self, a: NDArray[np.int64]) -> Vector:
        """Signed integers, reduced."""

    def to_int64(self, v: Vector) -> NDArray[np.int64]:
        """Centred integers; `OverflowError` if one does not fit."""

    def from_float64(self, a: NDArray[np.float64], fraction_bits: int) -> Vector:
        """a * 2^fraction_bits, rounded half to even once; `OverflowError` if one is not finite or too large."""

    def to_float64(self, v: Vector, fraction_bits: int) -> NDArray[np.float64]:
        """Centred integers * 2^-fraction_bits, rounded half to even once."""

    def add(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""

    def sub(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""

    def mul(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""

    def neg(self, a: Vector) -> Vector:
        """Element by element."""

    def scale(self, a: Vector, k: int) -> Vector:
        """Every element times the public integer k."""

    def sum(self, a: Vector) -> int:
        """Sum of all elements, canonical."""

    def dot(self, a: Vector, b: Vector) -> int:
        """Inner product, canonical."""

    def matmul(self, a: Vector, b: Vector) -> Vector:
        """Product of an (n, k) and a (k, m) matrix."""

    def length(self, v: Vector) -> int:
        """Number of elements of a vector."""

    def concatenate(self, parts: Sequence[Vector]) -> Vector:
        """One vector of all parts in order; of none, the empty vector."""

    def take(self, v: Vector, selection: Selection) -> Vector:
        """The elements that a public slice or index array names."""

    def is_canonical(self, v: Vector) -> bool:
        """Whether every element is below the modulus."""

    def encode(self, v: Vector) -> memoryview[int]:
        """The wire form of `v`: a read-only view of its own memory, valid while the caller leaves `v` unchanged."""

    def decode(self, buffer: Buffer, count: int) -> Vector:
        """`count` elements from their wire form, copied; `ValueError` for a wrong length or a non-canonical element."""

    def sample(self, words: Vector) -> tuple[Vector, int]:
        """Uniform elements from raw random words, and how many were replaced by zero: draw again unless none."""

    def mul_masked(
        self,
        x0: Vector,
        x1: Vector,
        y0: Vector,
        y1: Vector,
        words_k0: Vector,
        words_k1: Vector,
        out: Vector | None = None,
    ) -> tuple[Vector, int]:
        """z = x0 (y0 + y1) + x1 y0 + F(k0) - F(k1), F as in `sample`; and how many masks were replaced."""

    def dot_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, length: int
    ) -> tuple[Vector, int]:
        """As `mul_masked`, summed over groups of `length` neighbours; one pair of masks and one result per group."""

    def matmul_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector
    ) -> tuple[Vector, int]:
        """As `mul_masked` for (n, k) times (k, m) matrices; one pair of masks per element of the result, row-major."""

    def gram4(self, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> Vector | None:
        """Sums of x0 (y0 + y1) + x1 y0 between quarters j of x and k of y, j - k = -3, -2, -1, 1, 2, 3; or None."""

    def first4(
        self, alpha: Vector, x: tuple[Vector, Vector], y: tuple[Vector, Vector], z: tuple[Vector, Vector]
    ) -> Vector | None:
        """The sums of a first level of chunks of four in one pass, or None; see `mersenne`."""

    def fold4(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> bool:
        """A fold of chunks of four in one pass, unless False is returned; see `mersenne`."""


def words_of(a: NDArray[Any]) -> Vector:
    """`a` as C-contiguous words, copied only if it is not."""
    return np.ascontiguousarray(a, dtype=np.uint64)
