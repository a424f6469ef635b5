"""The slow exact meaning of every kernel in Python integers, and toy fields (layer 1, no I/O, for tests alone).

`FP_REFERENCE` and `FQ_REFERENCE` do what `FP` and `FQ` do, on the same vectors; the kernels of every instruction
set are compared with them. `SmallField(modulus)` is the same interface over any prime below 2^61, so that a
protocol runs unchanged over a field so small that a test enumerates every random choice and compares whole
distributions.

Sampling differs by construction: the production fields drop one value out of 2^61 or 2^127; a toy field takes word
% modulus and drops the few words at the top that would make that uneven, so that small words stand for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpcd.field.base import Buffer, Selection, Vector, words_of

WORD_BITS: Final = 64
WORD: Final = 1 << WORD_BITS
SMALL_MODULUS_MAX: Final = 1 << 61

Sampler = Callable[[int], int | None]
"""Element of a raw word (or of two, low word first, as one integer); None if the word must be drawn again."""


class ReferenceField:
    """A prime field in Python integers; see `base.Field` for what each method means."""

    def __init__(self, name: str, modulus: int, words_per_element: int, sampler: Sampler) -> None:
        self.name = name
        self.modulus = modulus
        self.words_per_element = words_per_element
        self.element_bytes = 8 * words_per_element
        self._sampler = sampler

    def __repr__(self) -> str:
        return f"F_{self.name}"

    # ----------------------------------------------------------------------------------------------- shapes

    def _shape(self, *counts: int) -> tuple[int, ...]:
        return counts if self.words_per_element == 1 else (*counts, self.words_per_element)

    def zeros(self, count: int) -> Vector:
        """`count` times zero."""
        return np.zeros(self._shape(count), dtype=np.uint64)

    def empty(self, count: int) -> Vector:
        """Room for `count` elements (zeros here)."""
        return self.zeros(count)

    def length(self, v: Vector) -> int:
        """Number of elements of a vector."""
        if v.dtype != np.uint64 or v.shape != self._shape(len(v)):
            raise ValueError(f"not a vector of F_{self.name}: {v.dtype} {v.shape}")
        return len(v)

    def _common_length(self, *vectors: Vector) -> int:
        lengths = {self.length(v) for v in vectors}
        if len(lengths) != 1:
            raise ValueError(f"vectors of {sorted(lengths)} elements do not go together")
        return lengths.pop()

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
        reduced = [int(value) % self.modulus for value in values]
        limbs = [[value >> WORD_BITS * k & (WORD - 1) for k in range(self.words_per_element)] for value in reduced]
        return np.array(limbs, dtype=np.uint64).reshape(self._shape(len(reduced)))

    def _ints(self, v: Vector) -> list[int]:
        """Integers of an array of any shape, row-major."""
        limbs = v.reshape(-1, self.words_per_element).tolist()
        return [sum(limb << WORD_BITS * k for k, limb in enumerate(element)) for element in limbs]

    def to_ints(self, v: Vector) -> list[int]:
        """Canonical integers in [0, modulus)."""
        self.length(v)
        return self._ints(v)

    def to_signed(self, v: Vector) -> list[int]:
        """Centred integers in (-modulus / 2, modulus / 2]."""
        return [value - self.modulus if value > self.modulus // 2 else value for value in self.to_ints(v)]

    def from_int64(self, a: NDArray[np.int64]) -> Vector:
        """Signed integers, reduced."""
        return self.from_ints(a.tolist())

    def to_int64(self, v: Vector) -> NDArray[np.int64]:
        """Centred integers; `OverflowError` if one does not fit."""
        values = self.to_signed(v)
        if any(not -(2**63) <= value < 2**63 for value in values):
            raise OverflowError("an element does not fit 64 bits")
        return np.array(values, dtype=np.int64)

    def from_float64(self, a: NDArray[np.float64], fraction_bits: int) -> Vector:
        """a * 2^fraction_bits, rounded half to even once; `OverflowError` if one is not finite or too large."""
        if not np.isfinite(a).all():
            raise OverflowError("a value is not finite")
        values = [round(Fraction(value) * 2**fraction_bits) for value in a.tolist()]
        if any(2 * abs(value) >= self.modulus for value in values):
            raise OverflowError(f"a value is too large for F_{self.name}")
        return self.from_ints(values)

    def to_float64(self, v: Vector, fraction_bits: int) -> NDArray[np.float64]:
        """Centred integers * 2^-fraction_bits, rounded half to even once."""
        return np.array([value / (1 << fraction_bits) for value in self.to_signed(v)], dtype=np.float64)

    # ----------------------------------------------------------------------------------------------- arithmetic

    def _zip(self, operation: Callable[[int, int], int], a: Vector, b: Vector) -> Vector:
        self._common_length(a, b)
        return self.from_ints(operation(x, y) for x, y in zip(self._ints(a), self._ints(b), strict=True))

    def add(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._zip(int.__add__, a, b)

    def sub(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._zip(int.__sub__, a, b)

    def mul(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._zip(int.__mul__, a, b)

    def neg(self, a: Vector) -> Vector:
        """Element by element."""
        return self.from_ints(-value for value in self.to_ints(a))

    def scale(self, a: Vector, k: int) -> Vector:
        """Every element times the public integer k."""
        return self.from_ints(value * k for value in self.to_ints(a))

    def sum(self, a: Vector) -> int:
        """Sum of all elements, canonical."""
        return sum(self.to_ints(a)) % self.modulus

    def dot(self, a: Vector, b: Vector) -> int:
        """Inner product, canonical."""
        self._common_length(a, b)
        return sum(x * y for x, y in zip(self._ints(a), self._ints(b), strict=True)) % self.modulus

    def matmul(self, a: Vector, b: Vector) -> Vector:
        """Product of an (n, k) and a (k, m) matrix."""
        rows, inner, columns = self._sizes(a, b)
        left, right = self._ints(a), self._ints(b)
        product = [
            sum(left[i * inner + k] * right[k * columns + j] for k in range(inner))
            for i in range(rows)
            for j in range(columns)
        ]
        return self.from_ints(product).reshape(self._shape(rows, columns))

    def _sizes(self, a: Vector, b: Vector) -> tuple[int, int, int]:
        rows, inner = a.shape[:2]
        if b.shape[0] != inner:
            raise ValueError(f"no product of matrices of shapes {a.shape} and {b.shape}")
        return rows, inner, b.shape[1]

    # ----------------------------------------------------------------------------------------------- masked products

    def sample(self, words: Vector) -> tuple[Vector, int]:
        """Uniform elements from raw random words, and how many were replaced by zero: draw again unless none."""
        if words.dtype != np.uint64 or words.size % self.words_per_element:
            raise ValueError(f"{words.size} words of {words.dtype} do not make elements of F_{self.name}")
        drawn = [self._sampler(value) for value in self._ints(words)]
        return self.from_ints(value or 0 for value in drawn), drawn.count(None)

    def _mask(self, count: int, words_k0: Vector, words_k1: Vector) -> tuple[list[int], int]:
        """F(k0) - F(k1), and how many were replaced."""
        plus, rejected_plus = self.sample(words_k0)
        minus, rejected_minus = self.sample(words_k1)
        if len(plus) != count or len(minus) != count:
            raise ValueError(f"{count} masks need {count} random elements, not {len(plus)} and {len(minus)}")
        return self.to_ints(self.sub(plus, minus)), rejected_plus + rejected_minus

    def _cross(self, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> list[int]:
        self._common_length(x0, x1, y0, y1)
        components = zip(*map(self._ints, (x0, x1, y0, y1)), strict=True)
        return [a * (c + d) + b * c for a, b, c, d in components]

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
        z, rejected = self.dot_masked(x0, x1, y0, y1, words_k0, words_k1, 1)
        if out is None:
            return z, rejected
        out[...] = z
        return out, rejected

    def dot_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, length: int
    ) -> tuple[Vector, int]:
        """As `mul_masked`, summed over groups of `length` neighbours; one pair of masks and one result per group."""
        cross = self._cross(x0, x1, y0, y1)
        if length < 1 or len(cross) % length:
            raise ValueError(f"{len(cross)} elements are not groups of {length}")
        mask, rejected = self._mask(len(cross) // length, words_k0, words_k1)
        return self.from_ints(sum(cross[g * length : (g + 1) * length]) + m for g, m in enumerate(mask)), rejected

    def matmul_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector
    ) -> tuple[Vector, int]:
        """As `mul_masked` for (n, k) times (k, m) matrices; one pair of masks per element of the result, row-major."""
        rows, _, columns = self._sizes(x0, y0)
        both = self.from_ints(a + b for a, b in zip(self._ints(y0), self._ints(y1), strict=True)).reshape(y0.shape)
        left, right = self._ints(self.matmul(x0, both)), self._ints(self.matmul(x1, y0))
        mask, rejected = self._mask(rows * columns, words_k0, words_k1)
        product = self.from_ints(a + b + m for a, b, m in zip(left, right, mask, strict=True))
        return product.reshape(self._shape(rows, columns)), rejected

    def gram4(self, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> Vector | None:
        """Sums between quarters, one after the other."""
        size = len(x0) // 4
        nothing = np.zeros(self.words_per_element, dtype=np.uint64)
        sums = self.zeros(7)
        if not size:
            return self.zeros(6)
        for j in range(4):
            for k in range(4):
                x, y = slice(j * size, (j + 1) * size), slice(k * size, (k + 1) * size)
                value, _ = self.dot_masked(x0[x], x1[x], y0[y], y1[y], nothing, nothing, size)
                sums[3 + j - k] = self.add(sums[3 + j - k : 4 + j - k].copy(), value)[0]
        return self.concatenate([sums[:3], sums[4:]])

    def first4(
        self,
        alpha: Vector,  # noqa: ARG002
        x: tuple[Vector, Vector],  # noqa: ARG002
        y: tuple[Vector, Vector],  # noqa: ARG002
        z: tuple[Vector, Vector],  # noqa: ARG002
    ) -> Vector | None:
        """No kernel: `protocols.claims` says what it would be."""
        return None

    def fold4(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> bool:  # noqa: ARG002
        """No kernel."""
        return False

    # ----------------------------------------------------------------------------------------------- the wire

    def is_canonical(self, v: Vector) -> bool:
        """Whether every element is below the modulus."""
        return all(value < self.modulus for value in self.to_ints(v))

    def encode(self, v: Vector) -> memoryview[int]:
        """The wire form of `v`."""
        return memoryview(b"".join(value.to_bytes(self.element_bytes, "little") for value in self.to_ints(v)))

    def decode(self, buffer: Buffer, count: int) -> Vector:
        """`count` elements from their wire form, copied; `ValueError` for a wrong length or a non-canonical element."""
        data, size = bytes(buffer), self.element_bytes
        if len(data) != count * size:
            raise ValueError(f"{len(data)} bytes are not {count} elements of {size} bytes")
        values = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
        if any(value >= self.modulus for value in values):
            raise ValueError(f"an element is not below the modulus of F_{self.name}")
        return self.from_ints(values)


class SmallField(ReferenceField):
    """A toy prime field with one word per element, for models that are enumerated."""

    def __init__(self, modulus: int) -> None:
        if not 2 <= modulus <= SMALL_MODULUS_MAX:
            raise ValueError(f"the modulus of a toy field lies in 2..2^61, not {modulus}")
        even = WORD - WORD % modulus
        super().__init__(str(modulus), modulus, 1, lambda word: word % modulus if word < even else None)


def _mersenne(name: str, bits: int, words_per_element: int) -> ReferenceField:
    modulus = (1 << bits) - 1

    def sampler(word: int) -> int | None:
        low = word & modulus
        return None if low == modulus else low

    return ReferenceField(name, modulus, words_per_element, sampler)


FP_REFERENCE: Final = _mersenne("p", 61, 1)
FQ_REFERENCE: Final = _mersenne("q", 127, 2)


# -------------------------------------------------------------------------------------------------- binary words


def and_masked(x0: int, x1: int, y0: int, y1: int, k0: int, k1: int) -> int:
    """One word of `bits.and_masked`."""
    return (x0 & (y0 ^ y1)) ^ (x1 & y0) ^ k0 ^ k1


def to_planes(values: Sequence[int], width: int) -> list[list[int]]:
    """`bits.to_planes` on Python integers."""
    words = -(-len(values) // WORD_BITS)
    planes = [[0] * words for _ in range(width)]
    for element, value in enumerate(values):
        for j in range(width):
            planes[j][element // WORD_BITS] |= (value >> j & 1) << element % WORD_BITS
    return planes


def from_planes(planes: Sequence[Sequence[int]], count: int) -> list[int]:
    """`bits.from_planes` on Python integers."""
    return [
        sum((plane[element // WORD_BITS] >> element % WORD_BITS & 1) << j for j, plane in enumerate(planes))
        for element in range(count)
    ]


class ReferenceBinary(ReferenceField):
    """GF(2^degree) in Python integers, one word per element; `binary.K` for degree 64, toy fields for less."""

    def __init__(self, name: str, degree: int, polynomial: int) -> None:
        """`polynomial`: irreducible, without its leading term."""
        self.degree = degree
        self._polynomial = polynomial
        super().__init__(name, 1 << degree, 1, lambda word: word % (1 << degree))

    def __repr__(self) -> str:
        return f"GF(2^{self.degree})"

    def from_ints(self, values: Iterable[int]) -> Vector:
        """Bit patterns, cut to the degree."""
        return np.array([int(value) % self.modulus for value in values], dtype=np.uint64)

    def _times(self, a: int, b: int) -> int:
        total = 0
        for place in reversed(range(self.degree)):
            total <<= 1
            if total >> self.degree:
                total = total ^ self.modulus ^ self._polynomial
            if b >> place & 1:
                total ^= a
        return total

    def add(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._zip(int.__xor__, a, b)

    sub = add

    def mul(self, a: Vector, b: Vector) -> Vector:
        """Element by element."""
        return self._zip(self._times, a, b)

    def neg(self, a: Vector) -> Vector:
        """Element by element."""
        return a.copy()

    def scale(self, a: Vector, k: int) -> Vector:
        """Every element times the public element k."""
        return self.from_ints(self._times(value, k) for value in self._ints(a))

    def sum(self, a: Vector) -> int:
        """Sum of all elements."""
        return _xor(self._ints(a))

    def dot(self, a: Vector, b: Vector) -> int:
        """Inner product."""
        return self.sum(self.mul(a, b))

    def matmul(self, a: Vector, b: Vector) -> Vector:
        """Product of an (n, k) and a (k, m) matrix."""
        rows, inner, columns = self._sizes(a, b)
        left, right = self._ints(a), self._ints(b)
        product = [
            _xor([self._times(left[i * inner + k], right[k * columns + j]) for k in range(inner)])
            for i in range(rows)
            for j in range(columns)
        ]
        return self.from_ints(product).reshape(rows, columns)

    def dot_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, length: int
    ) -> tuple[Vector, int]:
        """As `mul_masked`, summed over groups of `length` neighbours; one pair of masks and one result per group."""
        cross = self._ints(self.add(self.mul(x0, self.add(y0, y1)), self.mul(x1, y0)))
        sums = [_xor(cross[g : g + length]) for g in range(0, len(cross), length)]
        masks, _ = self._mask(len(sums), words_k0, words_k1)
        return self.from_ints(a ^ b for a, b in zip(sums, masks, strict=True)), 0

    def matmul_masked(
        self, x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector
    ) -> tuple[Vector, int]:
        """As `mul_masked` for (n, k) times (k, m) matrices; one pair of masks per element of the result, row-major."""
        rows, _, columns = self._sizes(x0, y0)
        left, right = self._ints(self.matmul(x0, y0 ^ y1)), self._ints(self.matmul(x1, y0))
        mask, _ = self._mask(rows * columns, words_k0, words_k1)
        product = self.from_ints(a ^ b ^ m for a, b, m in zip(left, right, mask, strict=True))
        return product.reshape(rows, columns), 0

    def bits_gram(
        self, alpha: Vector, x0: Vector, x1: Vector, y0: Vector, y1: Vector, z0: Vector, z1: Vector
    ) -> Vector:
        """As `binary.BinaryField.bits_gram`."""
        out = [0] * 80
        xa, xb, ya, yb, za, zb = (v.reshape(-1).view(np.uint8).tolist() for v in (x0, x1, y0, y1, z0, z1))
        for c, a in enumerate(self._ints(alpha)):
            for j in range(8):
                for k in set(range(8)) - {j}:
                    q = ya[c] >> k & 1
                    out[8 * j + k] ^= a * ((xa[c] >> j & 1 & (q ^ yb[c] >> k & 1)) ^ (xb[c] >> j & 1 & q))
                out[64 + j] ^= a * (za[c] >> j & 1)
                out[72 + j] ^= a * (zb[c] >> j & 1)
        return self.from_ints(out)

    def bits_fold(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> None:
        """As `binary.BinaryField.bits_fold`."""
        factors = self._ints(weights)
        bytes_ = a.reshape(-1).view(np.uint8).tolist()
        folded = self.from_ints(_xor([factors[j] for j in range(8) if byte >> j & 1]) for byte in bytes_)
        out[:] = folded if alpha is None else self.mul(folded, alpha)


def _xor(values: Iterable[int]) -> int:
    total = 0
    for value in values:
        total ^= value
    return total


K_REFERENCE: Final = ReferenceBinary("k", 64, 0b11011)
