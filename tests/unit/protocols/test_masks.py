"""Every summand is masked by exactly the words that both holders of a key draw, whatever its size and its blocks."""

from __future__ import annotations

import numpy as np
import pytest

from mpcd.field import FP, FQ, Field, Vector
from mpcd.protocols import context
from mpcd.protocols.context import MaskedKernel, _run_and_masked, _run_masked
from mpcd.protocols.prss import Prss, Stream, derive

KEYS = (bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96)))
EXCLUDED = np.uint64(2**64 - 1)


class Unlucky(Stream):
    """A stream in which, at one place, the words fall on the excluded value."""

    __slots__ = ("at", "place", "width")

    def __init__(self, key: bytes, at: int, width: int) -> None:
        super().__init__(key)
        self.at, self.width, self.place = at, width, 0

    def fill(self, out: Vector) -> None:
        super().fill(out)
        for word in range(self.at, self.at + self.width):
            if self.place <= word < self.place + len(out):
                out[word - self.place] = EXCLUDED
        self.place += len(out)


class UnluckyPrss(Prss):
    """The stream of one key is unlucky in its first attempts."""

    __slots__ = ("at", "attempts", "keys", "unlucky", "width")

    def __init__(self, index: int, unlucky: bytes, attempts: int, at: int, width: int) -> None:
        self.keys = KEYS[index], KEYS[(index + 1) % 3]
        super().__init__(*self.keys)
        self.unlucky, self.attempts, self.at, self.width = unlucky, attempts, at, width

    def open(self, which: int, step: str, attempt: int = 0) -> Stream:
        if self.keys[which] == self.unlucky and attempt < self.attempts:
            return Unlucky(derive(self.keys[which], step.encode(), attempt), self.at, self.width)
        return super().open(which, step, attempt)


def words(key: bytes, count: int, attempt: int = 0) -> Vector:
    found = np.empty(count, dtype=np.uint64)
    Stream(derive(key, b"s", attempt)).fill(found)
    return found


def product(field: Field, count: int) -> MaskedKernel:
    """As `multiply.mul` has it."""
    out = field.empty(count)

    def kernel(operands: tuple[Vector, ...], k0: Vector, k1: Vector, part: slice) -> tuple[Vector, int]:
        x0, x1, y0, y1 = operands
        return out, field.mul_masked(x0[part], x1[part], y0[part], y1[part], k0, k1, out[part])[1]

    return kernel


@pytest.mark.parametrize("block", [1, 3, 2**16])
@pytest.mark.parametrize("size", [1, 7, 2**16 + 5])
def test_every_word_of_an_and_is_masked(monkeypatch: pytest.MonkeyPatch, block: int, size: int) -> None:
    if block < 2**16 < size:
        pytest.skip("long, and nothing new")
    monkeypatch.setattr(context, "_MASK_BLOCK_WORDS", block)
    x0, x1, y0, y1 = np.random.default_rng(1).integers(0, 2**64, (4, 1, size), dtype=np.uint64)
    found = _run_and_masked(Prss(KEYS[0], KEYS[1]), "s", x0, x1, y0, y1)
    masks = words(KEYS[0], size) ^ words(KEYS[1], size)
    assert np.array_equal(found[0], (x0 & (y0 ^ y1) ^ x1 & y0)[0] ^ masks)


@pytest.mark.parametrize("field", [FP, FQ], ids=["p", "q"])
@pytest.mark.parametrize("block", [4, 2**16])
@pytest.mark.parametrize("at", [None, 0, 10], ids=["lucky", "first block", "third block"])
@pytest.mark.parametrize("attempts", [1, 2])
def test_an_excluded_word_is_redrawn_by_both_holders(
    monkeypatch: pytest.MonkeyPatch, field: Field, block: int, at: int | None, attempts: int
) -> None:
    """Only its own stream is drawn again, in all blocks, until no word is the excluded one: z is exactly uniform."""
    monkeypatch.setattr(context, "_MASK_BLOCK_WORDS", block)
    per, count = field.words_per_element, 13
    assert field.sample(np.full(per, EXCLUDED))[1] == 1
    operands = tuple(field.from_ints(range(start, start + count)) for start in (5, 50, 500, 5000))
    x0, x1, y0, y1 = map(field.to_ints, operands)
    unlucky = b"" if at is None else KEYS[1]
    settled = 0 if at is None else attempts
    masks = [field.to_ints(field.sample(words(key, count * per, settled if key == unlucky else 0))[0]) for key in KEYS]
    for index in (0, 1):  # they hold the unlucky key as their second and as their first
        prss = UnluckyPrss(index, unlucky, attempts, per * (at or 0), per)
        found = _run_masked(prss, "s", field, count, product(field, count), True, operands)
        expected = [
            (a * (c + d) + b * c + k0 - k1) % field.modulus
            for a, b, c, d, k0, k1 in zip(x0, x1, y0, y1, masks[index], masks[index + 1], strict=True)
        ]
        assert field.to_ints(found) == expected
