"""The two production fields, F_p and F_q, on the native kernels (layer 1, no I/O).

F_p has p = 2^61 - 1: one word per element, for counts, ranks and flags. F_q has q = 2^127 - 1: two words, for wide
sums and fixed point. Both moduli are Mersenne primes, so that reduction is a shift and an addition, and a mask is a
random word without its high bit or bits: uniform except for the one excluded value, all ones, which is counted and
drawn again.

This file checks lengths, types and contiguity, since C believes what it is told; it never looks at contents. The
exceptions are `from_ints`, `to_ints` and `to_signed`, which make Python integers: they are for public and opened values
and for an owner's own data, not for shares of others in a session.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpcd.field._native import ffi, lib
from mpcd.field.base import Buffer, Selection, Vector, words_of

FRACTION_BITS_MAX: Final = 200
WORD: Final = 2**64

assert sys.byteorder == "little", "vectors are their own wire form; the wire is little endian"


@dataclass(frozen=True, eq=False, repr=False)
class MersenneField:
    """A field of 2^bits - 1 elements with elements of one or two words; the instances are `FP` and `FQ`."""

    name: str
    bits: int
    words_per_element: int

    def __repr__(self) -> str:
        return f"F_{self.name}"

    @property
    def modulus(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def element_bytes(self) -> int:
        """8 for F_p, 16 for F_q."""
        return 8 * self.words_per_element

    # ----------------------------------------------------------------------------------------------- shapes

    def _shape(self, *counts: int) -> tuple[int, ...]:
        return counts if self.words_per_element == 1 else (*counts, self.words_per_element)

    def _counts(self, v: Vector) -> tuple[int, ...]:
        """Shape in elements; raises unless `v` is an array of this field's elements."""
        if v.dtype != np.uint64:
            raise ValueError(f"elements of F_{self.name} are uint64 words, not {v.dtype}")
        if self.words_per_element == 1:
            return v.shape
        if not v.shape or v.shape[-1] != self.words_per_element:
            raise ValueError(
                f"elements of F_{self.name} have {self.words_per_element} words, the array has shape {v.shape}"
            )
        return v.shape[:-1]

    def _vectors(self, *vectors: Vector) -> tuple[int, list[Vector]]:
        """The common length, and the vectors contiguous."""
        count = self.length(vectors[0])
        for v in vectors[1:]:
            if self.length(v) != count:
                raise ValueError(f"vectors of {count} and {self.length(v)} elements do not go together")
        return count, [words_of(v) for v in vectors]

    def _mask_words(self, count: int, *words: Vector) -> list[Vector]:
        """Raw words for `count` masks each, in any shape."""
        for w in words:
            if w.dtype != np.uint64 or w.size != count * self.words_per_element:
                raise ValueError(
                    f"{count} masks need {count * self.words_per_element} uint64 words, not {w.size} of {w.dtype}"
                )
        return [words_of(w) for w in words]

    def zeros(self, count: int) -> Vector:
        """`count` times zero."""
        return np.zeros(self._shape(count), dtype=np.uint64)

    def empty(self, count: int) -> Vector:
        """Room for `count` elements with arbitrary content."""
        return np.empty(self._shape(count), dtype=np.uint64)

    def length(self, v: Vector) -> int:
        """Number of elements of a vector."""
        counts = self._counts(v)
        if len(counts) != 1:
            raise ValueError(f"not a vector: shape {v.shape}")
        return counts[0]

    def concatenate(self, parts: Sequence[Vector]) -> Vector:
        """One vector of all parts in order; of none, the empty vector."""
        for part in parts:
            self.length(part)
        return np.concatenate(parts) if parts else self.zeros(0)

    def take(self, v: Vector, selection: Selection) -> Vector:
        """The elements that a public slice or index array names."""
        self.length(v)
        return words_of(v[selection])

    # ----------------------------------------------------------------------------------------------- conversions

    def from_ints(self, values: Iterable[int]) -> Vector:
        """Any Python integers, reduced."""
        modulus, size = self.modulus, self.element_bytes
        data = b"".join((int(value) % modulus).to_bytes(size, "little") for value in values)
        return np.frombuffer(bytearray(data), dtype=np.uint64).reshape(self._shape(len(data) // size))

    def to_ints(self, v: Vector) -> list[int]:
        """Canonical integers in [0, modulus)."""
        self.length(v)
        if self.words_per_element == 1:
            return [int(word) for word in v.tolist()]
        return [low + WORD * high for low, high in v.tolist()]

    def to_signed(self, v: Vector) -> list[int]:
        """Centred integers in (-modulus / 2, modulus / 2]."""
        modulus, half = self.modulus, self.modulus // 2
        return [value - modulus if value > half else value for value in self.to_ints(v)]

    def from_int64(self, a: NDArray[np.int64]) -> Vector:
        """Signed integers, reduced."""
        if a.dtype != np.int64 or a.ndim != 1:
            raise ValueError(f"expected a vector of int64, not {a.dtype} {a.shape}")
        out = self.empty(len(a))
        kernel = lib.field_p_from_int64 if self.words_per_element == 1 else lib.field_q_from_int64
        kernel(_out(out), ffi.from_buffer("int64_t[]", np.ascontiguousarray(a)), len(a))
        return out

    def to_int64(self, v: Vector) -> NDArray[np.int64]:
        """Centred integers; `OverflowError` if one does not fit."""
        count, (v,) = self._vectors(v)
        out = np.empty(count, dtype=np.int64)
        kernel = lib.field_p_to_int64 if self.words_per_element == 1 else lib.field_q_to_int64
        outside = kernel(ffi.from_buffer("int64_t[]", out, require_writable=True), _in(v), count)
        if outside:
            raise OverflowError(f"{outside} of {count} elements do not fit 64 bits")
        return out

    def from_float64(self, a: NDArray[np.float64], fraction_bits: int) -> Vector:
        """a * 2^fraction_bits, rounded half to even once; `OverflowError` if one is not finite or too large."""
        if a.dtype != np.float64 or a.ndim != 1:
            raise ValueError(f"expected a vector of float64, not {a.dtype} {a.shape}")
        out = self.empty(len(a))
        kernel = lib.field_p_from_float64 if self.words_per_element == 1 else lib.field_q_from_float64
        outside = kernel(
            _out(out), ffi.from_buffer("double[]", np.ascontiguousarray(a)), len(a), _fraction(fraction_bits)
        )
        if outside:
            raise OverflowError(f"{outside} of {len(a)} values are not finite or too large for F_{self.name}")
        return out

    def to_float64(self, v: Vector, fraction_bits: int) -> NDArray[np.float64]:
        """Centred integers * 2^-fraction_bits, rounded half to even once."""
        count, (v,) = self._vectors(v)
        out = np.empty(count, dtype=np.float64)
        kernel = lib.field_p_to_float64 if self.words_per_element == 1 else lib.field_q_to_float64
        kernel(ffi.from_buffer("double[]", out, require_writable=True), _in(v), count, _fraction(fraction_bits))
        return out

    # ----------------------------------------------------------------------------------------------- arithmetic

    def _kernel(self, name: str) -> Callable[..., int]:
        kernel: Callable[..., int] = getattr(lib, f"field_{self.name}_{name}")
        return kernel

    def _element(self, k: int) -> Vector:
        return self.from_ints([k])

    def _binary(self, kernel: str, a: Vector, b: Vector) -> Vector:
        count, (a, b) = self._vectors(a, b)
        out = self.empty(count)
        self._kernel(kernel)(_out(out), _in(a), _in(b), count)
        return out

    def add(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._binary("add", a, b)

    def sub(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._binary("sub", a, b)

    def mul(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._binary("mul", a, b)

    def neg(self, a: Vector) -> Vector:
        """Element by element."""
        count, (a,) = self._vectors(a)
        out = self.empty(count)
        self._kernel("neg")(_out(out), _in(a), count)
        return out

    def scale(self, a: Vector, k: int) -> Vector:
        """Every element times the public integer k."""
        count, (a,) = self._vectors(a)
        out = self.empty(count)
        self._kernel("scale")(_out(out), _in(a), _in(self._element(k)), count)
        return out

    def sum(self, a: Vector) -> int:
        """Sum of all elements, canonical."""
        count, (a,) = self._vectors(a)
        out = self.empty(1)
        self._kernel("sum")(_out(out), _in(a), count)
        return self.to_ints(out)[0]

    def dot(self, a: Vector, b: Vector) -> int:
        """Inner product, canonical."""
        count, (a, b) = self._vectors(a, b)
        out = self.empty(1)
        self._kernel("dot")(_out(out), _in(a), _in(b), count)
        return self.to_ints(out)[0]

    def _sizes(self, a: Vector, b: Vector) -> tuple[int, int, int]:
        left, right = self._counts(a), self._counts(b)
        if len(left) != 2 or len(right) != 2 or left[1] != right[0]:
            raise ValueError(f"no product of matrices of shapes {left} and {right}")
        return left[0], left[1], right[1]

    def matmul(self, a: Vector, b: Vector) -> Vector:
        """Product of an (n, k) and a (k, m) matrix."""
        rows, inner, columns = self._sizes(a, b)
        out = np.empty(self._shape(rows, columns), dtype=np.uint64)
        self._kernel("matmul")(_out(out), _in(words_of(a)), _in(words_of(b)), rows, inner, columns)
        return out

    # ----------------------------------------------------------------------------------------------- masked products

    def sample(self, words: Vector) -> tuple[Vector, int]:
        """Uniform elements from raw random words, and how many were replaced by zero: draw again unless none."""
        if words.dtype != np.uint64 or words.size % self.words_per_element:
            raise ValueError(f"{words.size} words of {words.dtype} do not make elements of F_{self.name}")
        count = words.size // self.words_per_element
        out = self.empty(count)
        return out, self._kernel("sample")(_out(out), _in(words_of(words)), count)

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
        """z = x0 (y0 + y1) + x1 y0 + F(k0) - F(k1) element by element, F as in `sample`.

        Returns:
            z (in `out` when given), and how many masks were replaced: draw both streams again unless none.
        """
        count, vectors = self._vectors(x0, x1, y0, y1)
        masks = self._mask_words(count, words_k0, words_k1)
        if out is None:
            out = self.empty(count)
        elif self.length(out) != count:
            raise ValueError(f"{count} results do not fit {self.length(out)} elements")
        return out, self._kernel("mul_masked")(_out(out), *map(_in, vectors + masks), count)

    def dot_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, length: int
    ) -> tuple[Vector, int]:
        """As `mul_masked`, summed over groups of `length` neighbours; one pair of masks and one result per group."""
        count, vectors = self._vectors(x0, x1, y0, y1)
        if length < 1 or count % length:
            raise ValueError(f"{count} elements are not groups of {length}")
        groups = count // length
        masks = self._mask_words(groups, words_k0, words_k1)
        out = self.empty(groups)
        return out, self._kernel("dot_masked")(_out(out), *map(_in, vectors + masks), groups, length)

    def matmul_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector
    ) -> tuple[Vector, int]:
        """As `mul_masked` for (n, k) times (k, m) matrices; one pair of masks per element of the result, row-major."""
        sizes = self._sizes(x0, y0)
        if x1.shape != x0.shape or y1.shape != y0.shape or x1.dtype != np.uint64 or y1.dtype != np.uint64:
            raise ValueError(
                f"components of shapes {x0.shape}, {x1.shape} and {y0.shape}, {y1.shape} do not go together"
            )
        rows, _, columns = sizes
        masks = self._mask_words(rows * columns, words_k0, words_k1)
        out = np.empty(self._shape(rows, columns), dtype=np.uint64)
        vectors = [words_of(v) for v in (x0, x1, y0, y1)]
        return out, self._kernel("matmul_masked")(_out(out), *map(_in, vectors + masks), *sizes)

    def gram4(self, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> Vector | None:
        """Sums of x0 (y0 + y1) + x1 y0 between the quarters of the vectors, for the batch verification.

        Returns:
            Six sums over quarters j of x and k of y with j - k = -3, -2, -1, 1, 2, 3; None where there is no kernel.
        """
        if self.words_per_element != 1:
            return None
        count, vectors = self._vectors(x0, x1, y0, y1)
        if count % 4:
            raise ValueError(f"{count} elements have no quarters")
        out = self.empty(6)
        self._kernel("gram4")(_out(out), *map(_in, vectors), count // 4)
        return out

    def first4(
        self, alpha: Vector, x: tuple[Vector, Vector], y: tuple[Vector, Vector], z: tuple[Vector, Vector]
    ) -> Vector | None:
        """24 sums over chunks c (element c of each quarter, the last ones maybe short), times alpha_c.

        Returns:
            [4 j + k], j != k: sum of alpha_c (x0_cj (y0_ck + y1_ck) + x1_cj y0_ck); [16 + j]: of alpha_c z0_cj; [20 +
            j]: of z1.  None where there is no kernel.
        """
        if self.name != "p":
            return None
        count, vectors = self._vectors(*x, *y, *z)
        if self.length(alpha) != -(-count // 4):
            raise ValueError("one coefficient per chunk")
        out = self.empty(24)
        lib.field_p_first4(_out(out), _in(words_of(alpha)), *map(_in, vectors), count)
        return out

    def fold4(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> bool:
        """out_c = alpha_c (1 when None) times the sum of weights_j a_cj over quarters j; False without a kernel."""
        if self.name != "p":
            return False
        count, (a,) = self._vectors(a)
        chunks = -(-count // 4)
        if self.length(weights) != 4 or self.length(out) != chunks or not out.flags.c_contiguous:
            raise ValueError("four weights, and one result per chunk")
        if alpha is not None and self.length(alpha) != chunks:
            raise ValueError("one coefficient per chunk")
        factors = ffi.NULL if alpha is None else _in(words_of(alpha))
        lib.field_p_fold4(_out(out), factors, _in(words_of(weights)), _in(a), count)
        return True

    # ----------------------------------------------------------------------------------------------- the wire

    def is_canonical(self, v: Vector) -> bool:
        """Whether every element is below the modulus."""
        count, (v,) = self._vectors(v)
        return bool(self._kernel("is_canonical")(_in(v), count))

    def encode(self, v: Vector) -> memoryview[int]:
        """The wire form of `v`: a read-only view of its own memory, valid while the caller leaves `v` unchanged."""
        _, (v,) = self._vectors(v)
        return _bytes_of(v)

    def decode(self, buffer: Buffer, count: int) -> Vector:
        """`count` elements from their wire form, copied; `ValueError` for a wrong length or a non-canonical element."""
        view = memoryview(buffer)
        if view.nbytes != count * self.element_bytes:
            raise ValueError(f"{view.nbytes} bytes are not {count} elements of {self.element_bytes} bytes")
        out = self.empty(count)
        if count:
            out.reshape(-1).view(np.uint8)[:] = np.frombuffer(view, dtype=np.uint8)
        if not self.is_canonical(out):
            raise ValueError(f"an element is not below the modulus of F_{self.name}")
        return out


def _bytes_of(v: Vector) -> memoryview[int]:
    return v.reshape(-1).view(np.uint8).data.toreadonly()


def _in(v: Vector) -> object:
    return ffi.from_buffer("uint64_t[]", v)


def _out(v: Vector) -> object:
    return ffi.from_buffer("uint64_t[]", v, require_writable=True)


def _fraction(bits: int) -> int:
    if not 0 <= bits <= FRACTION_BITS_MAX:
        raise ValueError(f"fraction bits must lie in 0..{FRACTION_BITS_MAX}, not {bits}")
    return bits


FP: Final = MersenneField("p", 61, 1)
FQ: Final = MersenneField("q", 127, 2)
