"""Batch verification: every product and every AND of a session is proved before anything opens.

Theory of operation.  One of three parties is corrupt and rushing.  Whatever it sent in a multiplication, the honest two
hold a consistent sharing of z = xy + d with d its choice, known to it.  A batch of recorded relations is proved thus,
the claims over F_p, F_q and K = GF(2^64) (for ANDs) in the same rounds:

    gate       [a], [b] from PRSS, uniform in the claim's field; [c] = [a][b] is a relation like all the others
    barrier    1 round: our summand of c to the previous party, acknowledgements to both
    coin       1 round: coefficients; each claim is now "sum of X_c Y_c = T"
    level      2 rounds each: masked summands of the coefficients of G to the previous party; a coin; fold
    compare    1 round: hashes of all coins to both others, before anything opens
    open       1 round: X, Y, T of every claim, one component from one holder and a hash from the other; X Y = T or
    abort

Why it is sound.  Fix the corrupt P_i.  By `coin`, all z and c that it sent were fixed when the first coin was uniform
to it.

- If some relation is wrong, the combined error e = sum of coefficients times errors is zero with probability at most
  L_1/|F|: in a wrong chunk the polynomial sum of d_cj beta^j of degree L_1 - 1 vanishes with probability (L_1 -
  1)/|F|, otherwise its uniform alpha_c makes e uniform.  An inner product has its own uniform alpha; a matrix
  product's error E gives u^T E v, zero with probability at most 2/|F|.  Coefficients are independent expansions of a
  256-bit coin, so there are no powers whose degree would grow with the batch.
- A level with e != 0 fixes, before its coin, what the honest hold as G: the true polynomial plus E(t), where P_i
  chose all coefficients of E but the middle one, and that one is e (it was defined to be T).  So E != 0 has at most 2L
  - 2 roots, and the next e = E(r) is zero with probability at most (2L - 2)/(|F| - 1), r being uniform without 0.
- The last claim is one product: the honest open X, Y and T = X Y + e, and abort unless e = 0.

Sum: (L_1 + sum of (2L - 2)) / (|F| - 1): `soundness`, below 2^-53 for every batch within the limits.  One try: failure
ends the session and burns its randomness.

Why nothing leaks.  Before the opening all messages of the check are masked by PRSS or are coins.  X and Y contain a
and b, uniform and unknown to P_i, times coefficients that are never zero (`coin.unit`), so they are uniform and
independent of everything; T is X Y + e with e known to P_i.  Hence also *whether* the check fails is known to P_i
beforehand: failing is not selective.  The mask gate is in the batch from the start; were its c sent later, a cheater
that tracks e would send c - e.

A coin that differs between the honest two, or a wrong component in the opening, aborts by the comparisons, before use.

Memory: records keep references to shares that exist anyway; a batch is proved as soon as it has
`limits.VERIFY_PRODUCTS_MAX` products or `limits.VERIFY_AND_WORDS_MAX` words of ANDs, at the same record at all parties.

Source: Goyal, Song 2020 (ia.cr/2020/134) and Boneh, Boyle, Corrigan-Gibbs, Gilboa, Ishai 2019 (ia.cr/2019/188):
de-linearise,
    then compress.  Rejected: Fiat-Shamir (statement binding, offline grinding), powers of one coefficient (soundness
    m/|F|), a lift of ANDs to F_p (seven times the work), proofs per prover (four times the work; they would name the
    cheater).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from mpcd import limits
from mpcd.errors import Bug
from mpcd.field import Buffer, Field, Vector
from mpcd.field.binary import K
from mpcd.ids import COMPUTE_PARTIES
from mpcd.protocols import coin
from mpcd.protocols.claims import BYTE_CHUNK, PRODUCT_CHUNK, BitField, Claim, Record, chunks_of, levels_of
from mpcd.protocols.coin import Coins
from mpcd.protocols.context import HASH_BYTES, Context
from mpcd.protocols.cost import Check, Cost, each, field_bytes
from mpcd.protocols.verify import PRODUCTS, Counting, MatrixProduct, Relation, Security
from mpcd.sharing import Planes, Replicated

ERROR_BITS: Final = 53
"""A session in which some product is wrong opens anything with a probability below 2^-ERROR_BITS: its first wrong
batch must pass, and every batch has `soundness` below that."""
_OPENED: Final = 3
"""X, Y and T."""


class Malicious(Counting):
    """Security with abort against one corrupt compute party: what opens has been proved.

    Fail-closed: from the moment a batch leaves `_pending` until its proof has succeeded nothing can be recorded or
    verified.  A proof that was broken off, for whatever reason, or that another task is still at, lets nothing open.
    """

    __slots__ = ("_and_words", "_batches", "_binary", "_pending", "_products", "_proving")

    security: Security = "malicious"

    def __init__(self, binary: BitField = K) -> None:
        super().__init__()
        self._binary = binary
        self._pending: list[tuple[Field, Record]] = []
        self._products = 0
        self._and_words = 0
        self._batches = 0
        self._proving = False

    def _require_proved(self) -> None:
        if self._proving:
            raise Bug("a batch is being proved, or its proof was broken off; nothing can be recorded or opened")

    async def defer(self, ctx: Context, relation: Relation, x: Replicated, y: Replicated, z: Replicated) -> None:
        """Record one relation; proves the batch when it is full."""
        self._require_proved()
        await super().defer(ctx, relation, x, y, z)
        self._pending.append((x.field, Record(relation, x, y, z)))
        self._products += _weight(relation, len(x))
        await self._flush(ctx)

    async def defer_and(self, ctx: Context, x: Planes, y: Planes, z: Planes) -> None:
        """Record one vector of ANDs; proves the batch when it is full."""
        self._require_proved()
        await super().defer_and(ctx, x, y, z)
        self._pending.append((self._binary, Record(PRODUCTS, x, y, z)))
        self._and_words += z.a.size
        await self._flush(ctx)

    async def _flush(self, ctx: Context) -> None:
        if is_full(self._products, self._and_words):
            await self._prove(ctx)

    async def verify(self, ctx: Context) -> None:
        """Prove everything recorded since the last time."""
        await self._prove(ctx)
        await super().verify(ctx)

    async def _prove(self, ctx: Context) -> None:
        self._require_proved()
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._products = self._and_words = 0
        self._batches += 1
        by_field: dict[str, tuple[Field, list[Record]]] = {}
        for field, record in pending:
            by_field.setdefault(field.name, (field, []))[1].append(record)
        claims = [
            self.claim(field, records, BYTE_CHUNK if field is self._binary else PRODUCT_CHUNK)
            for field, records in by_field.values()
        ]
        self._proving = True
        await prove(ctx.narrow(f"verify{self._batches}"), claims)
        self._proving = False  # only after success: never in a `finally`

    def claim(self, field: Field, records: Sequence[Record], first: int) -> Claim:
        """One field's claim; adversaries replace it."""
        return Claim(field, records, first)


def _weight(relation: Relation, products: int) -> int:
    """Elements of x and y that a record keeps, as products."""
    return relation.inner * (relation.rows + relation.columns) // 2 if isinstance(relation, MatrixProduct) else products


def is_full(products: int, and_words: int) -> bool:
    """Whether a batch is proved at once."""
    return products >= limits.VERIFY_PRODUCTS_MAX or and_words >= limits.VERIFY_AND_WORDS_MAX


# ------------------------------------------------------------------------------------------------ the rounds


async def prove(ctx: Context, claims: Sequence[Claim]) -> None:
    """Prove all claims of a batch together, or abort.

    Cost: `cost_prove`: 4 rounds and 2 per level.

    Args:
        ctx: narrowed to this call.
        claims: one per field, in an order common to all parties.

    Raises:
        CheatDetected: a relation does not hold, or a party has lied in the check; nothing was opened.
        PeerGone, PeerMalformed: as every exchange.
    """
    coins = Coins()
    await _gates(ctx, claims)
    seed = await coins.toss(ctx.narrow("coin"))
    for claim in claims:
        await ctx.compute(claim.start, seed)
    for level in range(max(len(claim.levels) for claim in claims)):
        active = [claim for claim in claims if level < len(claim.levels)]
        products = [await _products(ctx, claim, level) for claim in active]
        shared = await _exchange(ctx.narrow(f"level{level}"), active, products)
        seed = await coins.toss(ctx.narrow(f"coin{level}"))
        for claim, sharing in zip(active, shared, strict=True):
            await ctx.compute(claim.fold, level, sharing, seed)
    await coins.compare(ctx.narrow("compare"))
    await _open(ctx.narrow("open"), claims, coins)


async def _gates(ctx: Context, claims: Sequence[Claim]) -> None:
    """One mask gate per claim; its product travels with the barrier, whose coin challenges it."""
    factors = []
    products = []
    for claim in claims:
        field = claim.field
        pair = await ctx.narrow(f"ab-{field.name}").random(field, 2)
        a, b = pair.take(slice(0, 1)), pair.take(slice(1, 2))
        factors.append((a, b))
        products.append(await _masked(ctx.narrow(f"c-{field.name}"), field, claim.gate(a, b)))
    message = b"".join(claim.field.encode(own) for claim, own in zip(claims, products, strict=True))
    at_barrier = ctx.narrow("barrier")
    received = await coin.barrier(at_barrier, message)
    shared = _shared(at_barrier, claims, products, received)
    for claim, (a, b), c in zip(claims, factors, shared, strict=True):
        claim.mask(a, b, c)


async def _masked(ctx: Context, field: Field, summands: Vector) -> Vector:
    """Our summands with a fresh share of zero each."""

    def kernel(operands: tuple[Vector, ...], k0: Vector, k1: Vector, _: slice) -> tuple[Vector, int]:
        (plus, more), (minus, fewer) = field.sample(k0), field.sample(k1)
        return field.add(operands[0], field.sub(plus, minus)), more + fewer

    return await ctx.masked(field, len(summands), kernel, (summands,), blocks=False)


async def _products(ctx: Context, claim: Claim, level: int) -> Vector:
    summands = await ctx.compute(claim.products, level)
    return await _masked(ctx.narrow(f"g{level}-{claim.field.name}"), claim.field, summands)


async def _exchange(ctx: Context, claims: Sequence[Claim], products: Sequence[Vector]) -> list[Replicated]:
    """The one message of a level, to the previous party."""
    message = b"".join(claim.field.encode(own) for claim, own in zip(claims, products, strict=True))
    received = await ctx.exchange({ctx.previous: message}, {ctx.next: len(message)})
    return _shared(ctx, claims, products, received[ctx.next])


def _shared(ctx: Context, claims: Sequence[Claim], products: Sequence[Vector], received: Buffer) -> list[Replicated]:
    """Sharings of our own masked summands and the next party's."""
    view = memoryview(received)
    result = []
    for claim, own in zip(claims, products, strict=True):
        size = field_bytes(claim.field, len(own))
        result.append(Replicated(claim.field, own, ctx.decode_field(claim.field, ctx.next, view[:size], len(own))))
        view = view[size:]
    return result


async def _open(ctx: Context, claims: Sequence[Claim], coins: Coins) -> None:
    """Open the last product of every claim, and test it: the one opening that no `verify` precedes."""
    last = [claim.last() for claim in claims]
    ours, second = (b"".join(x.field.encode(component) for x, component in parts) for parts in _components(last))
    if not coins.compared:
        ctx.fail_cheat("coins were not compared before the opening of a check")
    hashed = ctx.hash_of((ctx.index + 1) % COMPUTE_PARTIES, second)
    received = await ctx.exchange(
        {ctx.next: ours, ctx.previous: hashed}, {ctx.previous: len(ours), ctx.next: HASH_BYTES}
    )
    view = memoryview(received[ctx.previous])
    missing = []
    for x in last:
        size = field_bytes(x.field, _OPENED)
        missing.append(ctx.decode_field(x.field, ctx.previous, view[:size], _OPENED))
        view = view[size:]
    expected = ctx.hash_of((ctx.index + 2) % COMPUTE_PARTIES, received[ctx.previous])
    ctx.compare(expected, received[ctx.next], "the two holders of a share disagree")
    for x, component in zip(last, missing, strict=True):
        field = x.field
        opened = field.add(field.add(x.a, x.b), component)
        if not np.array_equal(field.mul(opened[:1], opened[1:2]), opened[2:]):
            ctx.fail_cheat("a product is not what it should be")


def _components(last: Sequence[Replicated]) -> tuple[list[tuple[Replicated, Vector]], list[tuple[Replicated, Vector]]]:
    return [(x, x.a) for x in last], [(x, x.b) for x in last]


# ------------------------------------------------------------------------------------------------ what it costs


def cost_prove(checks: Sequence[Check]) -> Cost:
    """4 rounds and 2 per level, for the relations of one batch; nothing for none."""
    if not checks:
        return Cost()
    plans = _plans(checks)
    total = coin.cost_barrier(sum(field_bytes(field, 1) for field, _ in plans)) + coin.cost_toss()
    for level in range(max(len(levels) for _, levels in plans)):
        sent = sum(field_bytes(field, 2 * levels[level] - 2) for field, levels in plans if level < len(levels))
        total += each(1, sent) + coin.cost_toss()
    opened = sum(field_bytes(field, _OPENED) for field, _ in plans)
    return total + coin.cost_compare() + each(1, opened + HASH_BYTES)


def _plans(checks: Sequence[Check]) -> list[tuple[Field, list[int]]]:
    """Field and levels of every claim of a batch."""
    by_field: dict[str, tuple[Field, int, int]] = {}
    for check in checks:
        field, first = (K, BYTE_CHUNK) if check.field is None else (check.field, PRODUCT_CHUNK)
        count = by_field.get(field.name, (field, first, 0))[2]
        by_field[field.name] = (field, first, count + chunks_of(check.relation, check.products, first))
    return [(field, levels_of(chunks, first)) for field, first, chunks in by_field.values()]


def cost_checked(cost: Cost) -> Cost:
    """A protocol with the verification of all its relations: full batches where they fill, the rest at an opening."""
    total = cost
    batch: list[Check] = []
    products = and_words = 0
    for check in cost.checks:
        batch.append(check)
        if check.field is None:
            and_words += check.products // 64
        else:
            products += _weight(check.relation, check.products)
        if is_full(products, and_words):
            total += cost_prove(batch)
            batch, products, and_words = [], 0, 0
    return total + cost_prove(batch)


def soundness(checks: Sequence[Check]) -> Fraction:
    """An upper bound on the probability that a batch with a wrong relation passes."""
    worst = Fraction(0)
    for field, levels in _plans(checks):
        roots = levels[0] + sum(2 * chunk - 2 for chunk in levels)
        worst = max(worst, Fraction(roots, field.modulus - 1))
    return worst
