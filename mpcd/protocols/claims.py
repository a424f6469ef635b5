"""One field's part of a batch: the local algebra of de-linearising and compressing (no messages here).

A *claim* is about vectors X, Y of shared elements and a shared total T: sum of X_c Y_c = T.  It begins as recorded
relations,

    products      z_e = x_e y_e                      coefficient of gate (c, j) is alpha_c beta^j
    inner         z_g = sum of x y over group g      every product of the group has coefficient alpha_g
    matrix        z = x y                            u^T z v = (u^T x)(y v), u and v independent
    ANDs          z_e = x_e y_e over GF(2), in K     coefficient of gate (c, j) is alpha_c beta^j, chunk c is a byte

with all coefficients from one coin, and is folded level by level.  At a level the chunk c has L products; with

    X_c(t) = sum of x_cj t^j,   Y_c(t) = sum of y_ck t^(L-1-k),   G(t) = sum over c of X_c(t) Y_c(t)

the coefficient of t^(L-1) in G is the sum of the products, so that it is *defined* to be T, and the other 2L - 2 are
multiplied out: inner products of what each party holds, whatever the number of chunks.  At a coin r the claim becomes
sum of X_c(r) Y_c(r) = G(r), an L-th as long.  (Goyal and Song evaluate at points; in coefficients every r but 0 may be
used, and there is nothing to interpolate.)

The mask gate stands beside all this from the beginning: a chunk with a single gate, which adds to T alone.

Vectors are arrays of one party: `a` and `b` of a sharing, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from mpcd.field import Field, Vector
from mpcd.protocols.coin import elements, unit
from mpcd.protocols.verify import InnerProducts, MatrixProduct, Products, Relation
from mpcd.sharing import Planes, Replicated

Pair = tuple[Vector, Vector]
"""Both components that a party holds."""

PRODUCT_CHUNK: Final = 4
"""L of the first level over a prime field."""
BYTE_CHUNK: Final = 8
"""L of the first level over K."""
_WIDE_CHUNK: Final = 32
"""Largest L: when little is left, rounds cost more than products; up to its square two levels are left."""
_MATRIX_BELOW: Final = 2**12
"""Chunks up to which all inner products of a level are one matrix product."""


class BitField(Field, Protocol):
    """The field over which ANDs are verified, K or a toy."""

    def bits_gram(
        self, alpha: Vector, x0: Vector, x1: Vector, y0: Vector, y1: Vector, z0: Vector, z1: Vector
    ) -> Vector:
        """See `field.binary`."""

    def bits_fold(self, alpha: Vector | None, weights: Vector, a: Vector, out: Vector) -> None:
        """See `field.binary`."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Record:
    """One recorded relation."""

    relation: Relation
    x: Replicated | Planes
    y: Replicated | Planes
    z: Replicated | Planes


def chunk_of(count: int) -> int:
    """L of a later level, for `count` products that are left."""
    if count > _WIDE_CHUNK**2:
        return PRODUCT_CHUNK
    return count if count <= _WIDE_CHUNK else math.isqrt(count - 1) + 1


def chunks_of(relation: Relation, products: int, first: int) -> int:
    """Chunks that a relation of so many products (of x, of y) has at the first level of chunks of `first`."""
    length = relation.inner if isinstance(relation, MatrixProduct) else products
    return -(-length // first)


def levels_of(chunks: int, first: int) -> list[int]:
    """L of every level, for so many chunks at the first one; the mask gate is one more product after it."""
    levels = [first]
    count = chunks + 1
    while count > 1:
        levels.append(chunk_of(count))
        count = -(-count // levels[-1])
    return levels


def powers(field: Field, base: Vector, count: int) -> Vector:
    """1, base, base^2, ... of a one-element vector."""
    result = [field.from_ints([1])]
    for _ in range(count - 1):
        result.append(field.mul(result[-1], base))
    return field.concatenate(result)


def _cross(field: Field, x: Pair, y: Pair) -> Vector:
    """Our summand of an inner product, unmasked and for local use only."""
    count = len(x[0])
    if not count:
        return field.zeros(1)
    nothing = np.zeros(field.words_per_element, dtype=np.uint64)
    return field.dot_masked(*x, *y, nothing, nothing, count)[0]


def _scalar(field: Field, v: Vector, w: Vector) -> Vector:
    """An inner product as a one-element vector; shares never become Python integers."""
    limbs = v.shape[1:]
    left, right = np.ascontiguousarray(v).reshape(1, -1, *limbs), np.ascontiguousarray(w).reshape(-1, 1, *limbs)
    return field.matmul(left, right).reshape(1, *limbs)


class Segment(Protocol):
    """A part of the first level: relations of one kind that have the same coefficients."""

    chunks: int

    def gram(self, first: int) -> Vector:
        """first * (first + 2) sums as `field.binary` orders them, alpha applied, beta not; any diagonal."""

    def fold(self, weights_x: Vector, weights_y: Vector, x: Pair, y: Pair) -> None:
        """Write the folded vectors, alpha applied."""


class _Blocks:
    """Chunks that lie across: chunk c is element c of each of L consecutive blocks, the last ones maybe short."""

    def __init__(self, field: Field, x: Pair, y: Pair, chunk: int) -> None:
        self.field = field
        self.x, self.y = x, y
        self.count = len(x[0])
        self.chunk = chunk
        self.chunks = -(-self.count // chunk)

    def block(self, pair: Pair, j: int, count: int) -> Pair:
        """The first `count` elements of block j."""
        at = j * self.chunks
        return pair[0][at : at + count], pair[1][at : at + count]

    def size(self, j: int) -> int:
        """Elements of block j."""
        return max(0, min(self.chunks, self.count - j * self.chunks))

    def gram(self) -> Vector:
        """Our summands of sum of x_cj y_ck at [L j + k], as a vector; the diagonal is arbitrary."""
        if self.chunks <= _MATRIX_BELOW:
            return self._gram_small()
        chunk = self.chunk
        result = self.field.zeros(chunk * chunk)
        for j in range(chunk):
            for k in range(chunk):
                if j != k:
                    size = min(self.size(j), self.size(k))
                    value = _cross(self.field, self.block(self.x, j, size), self.block(self.y, k, size))
                    result[chunk * j + k] = value[0]
        return result

    def _gram_small(self) -> Vector:
        field, chunk = self.field, self.chunk
        (xa, xb), (ya, yb) = (
            tuple(self._padded(v).reshape(chunk, self.chunks, *v.shape[1:]) for v in pair) for pair in (self.x, self.y)
        )
        right = [np.ascontiguousarray(v.swapaxes(0, 1)) for v in (ya, yb)]
        nothing = np.zeros(chunk * chunk * field.words_per_element, dtype=np.uint64)
        product = field.matmul_masked(xa, xb, right[0], right[1], nothing, nothing)[0]
        return product.reshape(chunk * chunk, *product.shape[2:])

    def _padded(self, v: Vector) -> Vector:
        missing = self.chunk * self.chunks - self.count
        return self.field.concatenate([v, self.field.zeros(missing)]) if missing else np.ascontiguousarray(v)

    def fold(self, weights: Vector, pair: Pair, out: Pair, alpha: Vector | None = None) -> None:
        """out_c = alpha_c (1 when None) times the sum over j of weights_j v_cj, for both components."""
        field = self.field
        if self.chunk == 4 and all(field.fold4(alpha, weights, v, target) for v, target in zip(pair, out, strict=True)):
            return
        row = np.ascontiguousarray(weights).reshape(1, *weights.shape)
        for v, target in zip(pair, out, strict=True):
            blocks = self._padded(v).reshape(self.chunk, self.chunks, *v.shape[1:])
            target[:] = field.matmul(row, blocks).reshape(target.shape)
            if alpha is not None:
                target[:] = field.mul(target, alpha)


class PlainSegment:
    """Products whose coefficients are already in x."""

    def __init__(self, field: Field, x: Pair, y: Pair, first: int) -> None:
        self._blocks = _Blocks(field, x, y, first)
        self.chunks = self._blocks.chunks
        self._field = field

    def gram(self, first: int) -> Vector:
        """See `Segment`."""
        return self._field.concatenate([self._blocks.gram(), self._field.zeros(2 * first)])

    def fold(self, weights_x: Vector, weights_y: Vector, x: Pair, y: Pair) -> None:
        """See `Segment`."""
        self._blocks.fold(weights_x, self._blocks.x, x)
        self._blocks.fold(weights_y, self._blocks.y, y)


class ProductSegment:
    """Element-wise products over a prime field, with a coefficient per chunk."""

    def __init__(self, field: Field, alpha: Vector, record: Record, first: int) -> None:
        x, y, z = record.x, record.y, record.z
        self._blocks = _Blocks(field, (x.a, x.b), (y.a, y.b), first)
        self._z = (z.a, z.b)
        self._alpha = alpha
        self._field = field
        self.chunks = self._blocks.chunks

    def gram(self, first: int) -> Vector:
        """See `Segment`."""
        field, blocks, alpha = self._field, self._blocks, self._alpha
        fused = field.first4(alpha, blocks.x, blocks.y, self._z) if first == 4 else None
        if fused is not None:
            return fused
        result = field.zeros(first * (first + 2))
        for j in range(first):
            size = blocks.size(j)
            factors = alpha[:size]
            for place, component in enumerate(blocks.block(self._z, j, size)):
                result[first * (first + place) + j] = _scalar(field, factors, component)[0]
            xa, xb = (field.mul(factors, v) for v in blocks.block(blocks.x, j, size))
            for k in range(first):
                if k != j:
                    both = min(size, blocks.size(k))
                    value = _cross(field, (xa[:both], xb[:both]), blocks.block(blocks.y, k, both))
                    result[first * j + k] = value[0]
        return result

    def fold(self, weights_x: Vector, weights_y: Vector, x: Pair, y: Pair) -> None:
        """See `Segment`."""
        self._blocks.fold(weights_x, self._blocks.x, x, self._alpha)
        self._blocks.fold(weights_y, self._blocks.y, y)


class BitsSegment:
    """ANDs, with a coefficient per byte."""

    def __init__(self, field: BitField, alpha: Vector, record: Record) -> None:
        self._field = field
        self._alpha = alpha
        self._x, self._y, self._z = (
            (np.ascontiguousarray(v.a).reshape(-1), np.ascontiguousarray(v.b).reshape(-1))
            for v in (record.x, record.y, record.z)
        )
        self.chunks = len(alpha)

    def gram(self, first: int) -> Vector:
        """See `Segment`."""
        assert first == BYTE_CHUNK
        return self._field.bits_gram(self._alpha, *self._x, *self._y, *self._z)

    def fold(self, weights_x: Vector, weights_y: Vector, x: Pair, y: Pair) -> None:
        """See `Segment`."""
        for component in range(2):
            self._field.bits_fold(self._alpha, weights_x, self._x[component], x[component])
            self._field.bits_fold(None, weights_y, self._y[component], y[component])


class Claim:
    """The part of a batch over one field, at one party."""

    def __init__(self, field: Field, records: Sequence[Record], first: int) -> None:
        self.field = field
        self._records = tuple(records)
        self._first = first
        chunks = sum(chunks_of(r.relation, _products_of(r), first) for r in self._records)
        self.levels = levels_of(chunks, first)
        self._segments: list[Segment] = []
        self._total: Pair = (field.zeros(1), field.zeros(1))
        self._beta = field.zeros(1)
        self._unit = field.zeros(1)
        self._x: Pair = (field.zeros(0), field.zeros(0))
        self._y: Pair = (field.zeros(0), field.zeros(0))
        self._mask: tuple[Pair, Pair, Pair] | None = None

    # ---------------------------------------------------------------------------------------- before the first coin

    def gate(self, a: Replicated, b: Replicated) -> Vector:
        """Our summand of a b, unmasked."""
        nothing = np.zeros(self.field.words_per_element, dtype=np.uint64)
        return self.field.mul_masked(a.a, a.b, b.a, b.b, nothing, nothing)[0]

    def mask(self, a: Replicated, b: Replicated, c: Replicated) -> None:
        """The mask gate c = a b, a and b uniform in this field; all of c's messages precede the first coin."""
        assert not self._segments
        self._mask = ((a.a, a.b), (b.a, b.b), (c.a, c.b))

    # ---------------------------------------------------------------------------------------- the levels

    def start(self, seed: bytes) -> None:
        """De-linearise by the first coin."""
        assert self._mask is not None
        field = self.field
        name = field.name.encode()
        self._beta = elements(seed, b"beta/" + name, field, 1)
        self._unit = unit(seed, b"mask/" + name, field)
        for number, record in enumerate(self._records):
            label = b"alpha/%d/" % number + name
            self._segments.append(self._segment(record, seed, label))
        _, _, (ca, cb) = self._mask
        self._add_total((field.mul(self._unit, ca), field.mul(self._unit, cb)))

    def _segment(self, record: Record, seed: bytes, label: bytes) -> Segment:
        field, first = self.field, self._first
        x, y, z = record.x, record.y, record.z
        if isinstance(x, Planes):
            return BitsSegment(field, elements(seed, label, field, x.a.size * 8), record)  # type: ignore[arg-type]
        assert not isinstance(y, Planes)
        assert not isinstance(z, Planes)
        match record.relation:
            case Products():
                return ProductSegment(field, elements(seed, label, field, -(-len(x) // first)), record, first)
            case InnerProducts(length):
                alpha = elements(seed, label, field, len(z))
                self._add_total((_scalar(field, alpha, z.a), _scalar(field, alpha, z.b)))
                factors = np.repeat(alpha, length, axis=0)
                return PlainSegment(field, (field.mul(factors, x.a), field.mul(factors, x.b)), (y.a, y.b), first)
            case MatrixProduct(rows, inner, columns):
                return self._projected(record, elements(seed, label, field, rows + columns), (rows, inner, columns))

    def _projected(self, record: Record, vectors: Vector, shape: tuple[int, int, int]) -> Segment:
        """u^T x and y v, and u^T z v into the total; u and v are independent halves of one expansion."""
        field = self.field
        rows, inner, columns = shape
        limbs = vectors.shape[1:]
        u, v = vectors[:rows].reshape(1, rows, *limbs), vectors[rows:].reshape(columns, 1, *limbs)

        def left(m: Vector, width: int) -> Vector:
            return field.matmul(u, np.ascontiguousarray(m).reshape(rows, width, *limbs)).reshape(width, *limbs)

        def right(m: Vector) -> Vector:
            return field.matmul(np.ascontiguousarray(m).reshape(inner, columns, *limbs), v).reshape(inner, *limbs)

        z = (left(record.z.a, columns), left(record.z.b, columns))
        flat = v.reshape(columns, *limbs)
        self._add_total((_scalar(field, z[0], flat), _scalar(field, z[1], flat)))
        x = (left(record.x.a, inner), left(record.x.b, inner))
        return PlainSegment(field, x, (right(record.y.a), right(record.y.b)), self._first)

    def _add_total(self, more: Pair) -> None:
        a, b = self._total
        self._total = (self.field.add(a, more[0]), self.field.add(b, more[1]))

    def products(self, level: int) -> Vector:
        """Our summands of the 2L - 2 coefficients of G that are sent, lowest first."""
        field, chunk = self.field, self.levels[level]
        if level:
            blocks = _Blocks(field, self._x, self._y, chunk)
            ready = field.gram4(*self._x, *self._y) if chunk == 4 and blocks.count % 4 == 0 else None
            return _coefficients(field, blocks.gram(), chunk) if ready is None else ready
        beta = powers(field, self._beta, chunk)
        sums = field.zeros(chunk * (chunk + 2))
        for segment in self._segments:
            gram = segment.gram(chunk)
            if not isinstance(segment, PlainSegment):
                gram = field.mul(gram, _beta_pattern(field, beta, chunk))
            sums = field.add(sums, gram)
        square = chunk * chunk
        ones = powers(field, field.from_ints([1]), chunk)
        parts = sums[square : square + chunk], sums[square + chunk :]
        self._add_total((_scalar(field, ones, parts[0]), _scalar(field, ones, parts[1])))
        return _coefficients(field, sums[:square], chunk)

    def fold(self, level: int, g: Replicated, seed: bytes) -> None:
        """Evaluate at the level's coin; `g` is the sharing of what `products` gave summands of."""
        field, chunk = self.field, self.levels[level]
        r = unit(seed, b"fold/" + field.name.encode(), field)
        up = powers(field, r, 2 * chunk - 1)
        total = []
        for component, shares in zip(self._total, (g.a, g.b), strict=True):
            whole = field.concatenate([shares[: chunk - 1], component, shares[chunk - 1 :]])
            total.append(_scalar(field, whole, up))
        self._total = (total[0], total[1])
        ascending = up[:chunk]
        descending = np.ascontiguousarray(ascending[::-1])
        if level:
            self._fold_blocks(chunk, ascending, descending)
        else:
            self._fold_segments(ascending, descending)

    def _fold_blocks(self, chunk: int, weights_x: Vector, weights_y: Vector) -> None:
        field = self.field
        blocks = _Blocks(field, self._x, self._y, chunk)
        x, y = self._room(blocks.chunks), self._room(blocks.chunks)
        part = slice(0, blocks.chunks)
        blocks.fold(weights_x, self._x, (x[0][part], x[1][part]))
        blocks.fold(weights_y, self._y, (y[0][part], y[1][part]))
        self._x, self._y = x, y

    def _room(self, count: int) -> Pair:
        """Two vectors for `count` products, zeros up to whole chunks of the next level behind them."""
        chunk = chunk_of(count) if count > 1 else 1
        whole = -(-count // chunk) * chunk
        pair = (self.field.empty(whole), self.field.empty(whole))
        for v in pair:
            v[count:] = 0
        return pair

    def _fold_segments(self, weights_x: Vector, weights_y: Vector) -> None:
        """All segments into one vector, the mask gate last: alone in its chunk, at j = 0."""
        field = self.field
        assert self._mask is not None
        (aa, ab), (ba, bb), _ = self._mask
        count = sum(segment.chunks for segment in self._segments)
        self._x, self._y = self._room(count + 1), self._room(count + 1)
        with_beta = field.mul(weights_x, powers(field, self._beta, len(weights_x)))
        at = 0
        for segment in self._segments:
            part = slice(at, at + segment.chunks)
            weights = weights_x if isinstance(segment, PlainSegment) else with_beta
            segment.fold(weights, weights_y, (self._x[0][part], self._x[1][part]), (self._y[0][part], self._y[1][part]))
            at += segment.chunks
        lift = weights_y[:1]
        for place, (own, other) in enumerate(((aa, ba), (ab, bb))):
            self._x[place][at] = field.mul(self._unit, own)[0]
            self._y[place][at] = field.mul(lift, other)[0]
        self._segments = []
        self._records = ()

    def last(self) -> Replicated:
        """X, Y and T of the one product that is left; the mask gate has made X and Y uniform."""
        field = self.field
        assert len(self._x[0]) == 1
        (xa, xb), (ya, yb), (ta, tb) = self._x, self._y, self._total
        return Replicated(field, field.concatenate([xa, ya, ta]), field.concatenate([xb, yb, tb]))


def _products_of(record: Record) -> int:
    """Products of a record, in elements of the first level."""
    if isinstance(record.x, Planes):
        return record.x.a.size * 64
    assert isinstance(record.x, Replicated)
    return len(record.x)


def _beta_pattern(field: Field, beta: Vector, chunk: int) -> Vector:
    """beta^j at [chunk j + k] and at [chunk^2 + j] and [chunk^2 + chunk + j]."""
    return field.concatenate([np.repeat(beta, chunk, axis=0), beta, beta])


def _coefficients(field: Field, gram: Vector, chunk: int) -> Vector:
    """Coefficient s of G is the sum of [j, k] with L - 1 + j - k = s; the middle one is left out."""
    result = field.zeros(2 * chunk - 1)
    for j in range(chunk):
        row = np.ascontiguousarray(gram[chunk * j : chunk * (j + 1)][::-1])
        result[j : j + chunk] = field.add(np.ascontiguousarray(result[j : j + chunk]), row)
    return field.concatenate([result[: chunk - 1], result[chunk:]])
