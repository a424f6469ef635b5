"""Packed GF(2) words and bit planes on the native kernels (layer 1, no I/O).

Element e of a packed vector is bit e % 64 of word e // 64. Bit planes hold many-bit elements across: plane j holds
bit j of each element, so that one word operation works on one bit of 64 elements. Unused high bits of a last word
are zero at input and are cleared by `to_planes`; masked words carry random ones there, which `from_planes` ignores
and `clear_unused` clears.

Everything takes any C-contiguous shape (words or planes); operands have equal shapes.
"""

from __future__ import annotations

import numpy as np

from mpcd.field._native import ffi, lib
from mpcd.field.base import Vector, words_of

WORD_BITS = 64


def words_for(count: int) -> int:
    """Words that hold `count` bits."""
    return -(-count // WORD_BITS)


def _same(*vectors: Vector) -> list[Vector]:
    shape = vectors[0].shape
    for v in vectors:
        if v.dtype != np.uint64 or v.shape != shape:
            raise ValueError(f"words {v.dtype} {v.shape} do not go with uint64 {shape}")
    return [words_of(v) for v in vectors]


def _in(v: Vector) -> object:
    return ffi.from_buffer("uint64_t[]", v)


def _out(v: Vector) -> object:
    return ffi.from_buffer("uint64_t[]", v, require_writable=True)


def xor(a: Vector, b: Vector) -> Vector:
    """Word by word."""
    a, b = _same(a, b)
    out = np.empty_like(a)
    lib.field_bits_xor(_out(out), _in(a), _in(b), a.size)
    return out


def and_(a: Vector, b: Vector) -> Vector:
    """Word by word."""
    a, b = _same(a, b)
    out = np.empty_like(a)
    lib.field_bits_and(_out(out), _in(a), _in(b), a.size)
    return out


def not_(a: Vector) -> Vector:
    """Word by word, unused bits included; see `clear_unused`."""
    (a,) = _same(a)
    out = np.empty_like(a)
    lib.field_bits_not(_out(out), _in(a), a.size)
    return out


def and_masked(
    x0: Vector, x1: Vector, y0: Vector, y1: Vector, words_k0: Vector, words_k1: Vector, out: Vector | None = None
) -> Vector:
    """z = x0 & (y0 ^ y1) ^ x1 & y0 ^ k0 ^ k1, word by word (in `out` when given)."""
    vectors = _same(x0, x1, y0, y1)
    for words in (words_k0, words_k1):
        if words.dtype != np.uint64 or words.size != x0.size:
            raise ValueError(f"{x0.size} words need {x0.size} words of mask, not {words.size} of {words.dtype}")
    if out is None:
        out = np.empty_like(vectors[0])
    elif out.shape != x0.shape or out.dtype != np.uint64:
        raise ValueError(f"results of shape {x0.shape} do not fit {out.dtype} {out.shape}")
    lib.field_bits_and_masked(_out(out), *map(_in, vectors), _in(words_of(words_k0)), _in(words_of(words_k1)), x0.size)
    return out


def clear_unused(planes: Vector, count: int) -> Vector:
    """A copy of words or planes of `count` elements with the unused high bits of each last word cleared."""
    out = _planes(planes, count).reshape(planes.shape).copy()
    if count % WORD_BITS:
        out[..., -1] &= np.uint64((1 << count % WORD_BITS) - 1)
    return out


def _planes(planes: Vector, count: int) -> Vector:
    if planes.dtype != np.uint64 or planes.ndim not in (1, 2) or planes.shape[-1] != words_for(count):
        raise ValueError(f"{planes.dtype} {planes.shape} are not words or planes of {count} elements")
    return words_of(planes)


def to_planes(values: Vector, width: int) -> Vector:
    """Bit planes `(width, words)` of the low `width` bits of each value."""
    if values.dtype != np.uint64 or values.ndim != 1 or not 1 <= width <= WORD_BITS:
        raise ValueError(f"no {width} planes of {values.dtype} {values.shape}")
    out = np.empty((width, words_for(len(values))), dtype=np.uint64)
    lib.field_to_planes(_out(out), _in(words_of(values)), len(values), width)
    return out


def from_planes(planes: Vector, count: int) -> Vector:
    """The `count` values whose bits the planes hold, at most 64 of them."""
    planes = _planes(planes, count)
    if planes.ndim != 2 or not 1 <= planes.shape[0] <= WORD_BITS:
        raise ValueError(f"no values of up to {WORD_BITS} bits in planes {planes.shape}")
    out = np.empty(count, dtype=np.uint64)
    lib.field_from_planes(_out(out), _in(planes), count, planes.shape[0])
    return out
