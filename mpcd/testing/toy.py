"""Toy fields in numpy: `field.reference.SmallField` with whole-vector arithmetic, for large models.

The same values, words and rejections as `SmallField`, which stays the meaning (a test compares them); moduli below
2^31, so that products and their sums fit a word.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpcd.field import Vector
from mpcd.field.reference import SmallField

TOY_MODULUS_MAX: Final = 2**31 - 1


class ToyField(SmallField):
    """A prime field of one word per element, small enough to enumerate and fast enough to do it at once."""

    def __init__(self, modulus: int) -> None:
        """`modulus`: a prime of at most 31 bits."""
        assert modulus <= TOY_MODULUS_MAX
        super().__init__(modulus)
        self._prime: Final = np.uint64(modulus)
        self._uneven: Final = 2**64 % modulus

    def add(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return (a + b) % self._prime

    def sub(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return (a + (self._prime - b)) % self._prime

    def mul(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return a * b % self._prime

    def neg(self, a: Vector) -> Vector:
        """Element by element."""
        return (self._prime - a) % self._prime

    def scale(self, a: Vector, k: int) -> Vector:
        """Every element times the public integer k."""
        return a * np.uint64(k % self.modulus) % self._prime

    def from_int64(self, a: NDArray[np.int64]) -> Vector:
        """Signed integers, reduced."""
        return (a % self.modulus).astype(np.uint64)

    def is_canonical(self, v: Vector) -> bool:
        """Whether every element is below the modulus."""
        return bool((v < self._prime).all())

    def encode(self, v: Vector) -> memoryview[int]:
        """The wire form of `v`."""
        return memoryview(v.astype("<u8").tobytes())

    def sample(self, words: Vector) -> tuple[Vector, int]:
        """Uniform elements from raw words, and how many words had to be replaced."""
        flat = words.reshape(-1)
        bad = flat > np.uint64(2**64 - 1 - self._uneven)
        return np.where(bad, np.uint64(0), flat % self._prime), int(bad.sum())

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
        z, replaced = self.dot_masked(x0, x1, y0, y1, words_k0, words_k1, 1)
        if out is None:
            return z, replaced
        out[...] = z
        return out, replaced

    def dot_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, length: int
    ) -> tuple[Vector, int]:
        """As `mul_masked`, summed over groups of `length` neighbours; one pair of masks and one result per group."""
        cross = self.add(self.mul(x0, self.add(y0, y1)), self.mul(x1, y0)).reshape(-1, length).sum(axis=1)
        (k0, bad0), (k1, bad1) = self.sample(words_k0), self.sample(words_k1)
        return (cross + k0 + (self._prime - k1)) % self._prime, bad0 + bad1
