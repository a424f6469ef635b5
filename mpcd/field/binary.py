"""K = GF(2^64) on the native kernels: the field over which ANDs are verified (layer 1, no I/O).

Polynomials over GF(2) modulo x^64 + x^4 + x^3 + x + 1, one word per element, bit i for x^i.  A bit is the element 0 or
1, so that a XOR sharing of bits is a sharing over K as it stands.  `Field` is kept: addition is XOR, every word is
canonical and no mask is ever replaced.  The integers of `from_ints` and `to_ints` are bit patterns; there are no
others.
"""

from __future__ import annotations

from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpcd.field._native import ffi, lib
from mpcd.field.base import Vector, words_of
from mpcd.field.mersenne import MersenneField

CHUNK: Final = 8
"""Bits that the first fold of a batch of ANDs takes together: one byte."""


class BinaryField(MersenneField):
    """GF(2^64); the instance is `K`.  What it shares with the prime fields is the handling of one-word vectors."""

    def __repr__(self) -> str:
        return "GF(2^64)"

    @property
    def modulus(self) -> int:
        """The number of elements; bit patterns lie below it."""
        return 1 << self.bits

    def to_signed(self, v: Vector) -> NoReturn:  # noqa: ARG002  # none of these has a meaning here
        """No signs here."""
        raise TypeError("elements of GF(2^64) are no integers")

    def from_int64(self, a: NDArray[np.int64]) -> NoReturn:  # noqa: ARG002
        """No integers here."""
        raise TypeError("elements of GF(2^64) are no integers")

    def to_int64(self, v: Vector) -> NoReturn:  # noqa: ARG002
        """No integers here."""
        raise TypeError("elements of GF(2^64) are no integers")

    def from_float64(self, a: NDArray[np.float64], fraction_bits: int) -> NoReturn:  # noqa: ARG002
        """No fractions here."""
        raise TypeError("elements of GF(2^64) are no fractions")

    def to_float64(self, v: Vector, fraction_bits: int) -> NoReturn:  # noqa: ARG002
        """No fractions here."""
        raise TypeError("elements of GF(2^64) are no fractions")

    # ----------------------------------------------------------------------------------------------- chunks of bits

    def bits_gram(
        self, alpha: Vector, x0: Vector, x1: Vector, y0: Vector, y1: Vector, z0: Vector, z1: Vector
    ) -> Vector:
        """80 sums over all bytes c of the vectors, for j, k in 0..7; zero where j = k, which nobody needs.

        Returns:
            [8 j + k]: sum of alpha_c (x0_cj (y0_ck + y1_ck) + x1_cj y0_ck); [64 + j]: sum of alpha_c z0_cj; [72 + j]:
            of z1.
        """
        vectors = [words_of(v).reshape(-1) for v in (x0, x1, y0, y1, z0, z1)]
        words = vectors[0].size
        if any(v.size != words for v in vectors) or self.length(alpha) != CHUNK * words:
            raise ValueError("bit vectors of different sizes, or not one coefficient per byte")
        out = self.zeros(CHUNK * (CHUNK + 2))
        lib.field_bits_gram_k(
            ffi.from_buffer("uint64_t[]", out, require_writable=True),
            *(ffi.from_buffer("uint64_t[]", v) for v in (words_of(alpha), *vectors)),
            words,
        )
        return out

    def bits_fold(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> None:
        """out_c = alpha_c (1 when None) times the sum of weights_j a_cj over the bits j of byte c."""
        words = a.size
        if self.length(weights) != CHUNK or self.length(out) != CHUNK * words or not out.flags.c_contiguous:
            raise ValueError("eight weights, and one result per byte")
        if alpha is not None and self.length(alpha) != CHUNK * words:
            raise ValueError("one coefficient per byte")
        lib.field_bits_fold_k(
            ffi.from_buffer("uint64_t[]", out, require_writable=True),
            ffi.NULL if alpha is None else ffi.from_buffer("uint64_t[]", words_of(alpha)),
            ffi.from_buffer("uint64_t[]", words_of(weights)),
            ffi.from_buffer("uint64_t[]", words_of(a)),
            words,
        )


K: Final = BinaryField("k", 64, 1)
