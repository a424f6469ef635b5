"""Shared randomness: what neighbours have in common, uniform, and once per step."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpcd import limits
from mpcd.errors import Bug
from mpcd.field import FP, FQ, Field, Vector
from mpcd.protocols.context import Context
from mpcd.protocols.multiply import mul
from mpcd.protocols.prss import Prss, Stream
from mpcd.sharing import Planes, Replicated
from mpcd.testing.world import World, ints_of, reconstruct

KEY = bytes(range(32))
OTHER = bytes(32)


def test_stream_is_the_documented_construction() -> None:
    words = np.empty(20_000, dtype=np.uint64)
    Prss(KEY, OTHER).open(0, "a/step", 3).fill(words)
    key = hashlib.blake2b(
        b"a/step", key=KEY, digest_size=32, person=b"mpcd-prss", salt=(3).to_bytes(16, "little")
    ).digest()
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    assert words.tobytes() == encryptor.update(bytes(words.nbytes))


@pytest.mark.parametrize("cuts", [[1, 1, 30_000], [8192, 8192], [7, 8191, 9000, 3]])
def test_stream_continues_over_any_cuts(cuts: list[int]) -> None:
    whole = np.empty(sum(cuts), dtype=np.uint64)
    Stream(KEY).fill(whole)
    stream = Stream(KEY)
    parts = []
    for cut in cuts:
        part = np.empty(cut, dtype=np.uint64)
        stream.fill(part)
        parts.append(part)
    assert np.array_equal(np.concatenate(parts), whole)


def test_neighbours_share_and_others_differ() -> None:
    k = [bytes([i]) * 32 for i in range(3)]
    parties = [Prss(k[i], k[(i + 1) % 3]) for i in range(3)]

    def words(index: int, which: int, step: str) -> bytes:
        out = np.empty(4, dtype=np.uint64)
        parties[index].open(which, step).fill(out)
        return out.tobytes()

    for i in range(3):
        assert words(i, 1, "s") == words((i + 1) % 3, 0, "s")
        assert words(i, 0, "s") != words(i, 1, "s")
        assert words(i, 0, "s") != words(i, 0, "t")


def test_a_step_draws_once() -> None:
    prss = Prss(KEY, OTHER)
    prss.claim("a")
    prss.claim("b")
    with pytest.raises(Bug, match="twice"):
        prss.claim("a")


def test_burned_keys_draw_nothing() -> None:
    prss = Prss(KEY, OTHER)
    prss.claim("a")
    prss.burn()
    with pytest.raises(Bug, match="has ended"):
        prss.claim("b")
    with pytest.raises(Bug, match="has ended"):
        prss.open(0, "a")


def test_known_answers() -> None:
    """Fixed for ever: parties of different versions must draw the same words."""
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "prss.json").read_text())
    for vector in vectors["streams"]:
        words = np.empty(vector["words"], dtype=np.uint64)
        prss = Prss(bytes.fromhex(vector["key"]), OTHER)
        prss.open(0, vector["step"], vector["attempt"]).fill(words)
        assert hashlib.sha256(words.tobytes()).hexdigest() == vector["sha256"]
        assert words[:2].tobytes().hex() == vector["first"]


def test_steps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEPS_PER_SESSION_MAX", 2)
    prss = Prss(KEY, OTHER)
    prss.claim("a")
    prss.claim("b")
    with pytest.raises(Bug, match="more steps"):
        prss.claim("c")


@pytest.mark.parametrize("keys", [(b"", OTHER), (KEY, KEY[:31]), (KEY + b"x", OTHER)])
def test_keys_have_their_length(keys: tuple[bytes, bytes]) -> None:
    with pytest.raises(Bug, match="32 bytes"):
        Prss(*keys)


def test_keys_are_not_shown() -> None:
    assert KEY.hex() not in repr(Prss(KEY, OTHER))


def test_scratch_is_reused_and_large_ones_are_not_kept() -> None:
    prss = Prss(KEY, OTHER)
    a, b = prss.scratch(5000)
    assert len(a) == len(b) == 5000
    assert a.base is not b.base
    assert prss.scratch(4096)[0].base is a.base
    large = prss.scratch(2**21 + 1)[0]
    assert large.base is not prss.scratch(2**21 + 1)[0].base or large is not prss.scratch(2**21 + 1)[0]


class Excluding(Prss):
    """Streams whose first attempts hold the excluded word: of key 1 in attempts 0 and 1, of key 2 in attempt 0."""

    def __init__(self, index: int) -> None:
        super().__init__(bytes([index]) * 32, bytes([(index + 1) % 3]) * 32)
        self.index = index

    def open(self, which: int, step: str, attempt: int = 0) -> Stream:
        stream = super().open(which, step, attempt)
        key = (self.index + which) % 3
        return _Spoilt(stream) if attempt < (0, 2, 1)[key] else stream


class _Spoilt(Stream):
    __slots__ = ("_inner",)

    def __init__(self, inner: Stream) -> None:
        self._inner = inner

    def fill(self, out: Vector) -> None:
        self._inner.fill(out)
        out[-2:] = 2**64 - 1


@pytest.mark.parametrize("field", [FP, FQ], ids=["p", "q"])
def test_excluded_words_are_redrawn_by_both_holders_alike(field: Field) -> None:
    # If the holders of a stream disagreed about the attempt, the masks would not cancel and the product would be wrong.
    world = World(4, field, prss=Excluding)
    assert world.run(mul, [3, 4, 5], [6, 7, 8]) == [18, 28, 40]

    async def random(ctx: Context) -> Replicated:
        return await ctx.random(field, 3)

    assert len(set(world.run(random))) == 3


def test_random_sharings_are_consistent_and_fresh() -> None:
    async def random(ctx: Context) -> tuple[Replicated, Replicated, Planes]:
        return (
            await ctx.narrow("a").random(FP, 4),
            await ctx.narrow("b").random(FP, 4),
            await ctx.narrow("c").random_planes(5, 70),
        )

    a, b, bits = World(2).run(random)
    assert len({*a, *b}) == 8
    assert len(bits) == 70
    assert set(bits) == set(range(32)) & set(bits)
    assert len(set(bits)) > 10


def test_random_needs_no_message() -> None:
    world = World(2)

    async def random(ctx: Context) -> Replicated:
        return await ctx.random(FP, 4)

    world.run(random)
    assert not world.lockstep.transcript


def test_zero_shares_cancel() -> None:
    # With x = 0 the messages of `mul` are the zero-shares themselves.
    world = World(8)
    zero = FP.zeros(3)

    async def product(ctx: Context) -> Replicated:
        x = Replicated(FP, zero, zero)
        return await mul(ctx.narrow("mul"), x, x)

    assert world.run(product) == [0, 0, 0]
    messages = [FP.to_ints(FP.decode(m.payload, 3)) for m in world.messages("mul")]
    assert all(any(message) for message in messages)


def test_reconstruct_planes_reads_back() -> None:
    world = World(1)
    shares = world.share_planes(np.array([[5]], dtype=np.uint64), 3)
    assert ints_of(reconstruct(shares), 3) == [1, 0, 1]
