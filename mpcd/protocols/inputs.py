"""Inputs of parties outside the compute three: one message each, compared by both holders before it is used.

An input party makes two 32-byte seeds of its entropy and the session id, expands x_0 and x_1 of all its items from
them, and computes x_2 = x - x_0 - x_1:

    P_0 gets seed_0, seed_1          P_1 gets seed_1, x_2          P_2 gets x_2, seed_0

so that it sends two vectors instead of six.  P_i then exchanges with both neighbours a hash of what it received for the
component that they hold in common, one per input party, and waits for theirs before it returns: the first message that
depends on the input comes later, from parties that know that the sharing is consistent.  A seed decides its component,
so comparing seeds compares components.

Flags and bounded values enter as bits of declared width (`BitsInput`): a cheating input party can choose a value, never
a non-bit.

Rejected: one hash over all input parties (a round would be as cheap, but the message could not say whose input is
    inconsistent); hashing into a running transcript (SECURITY, Openings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mpcd import limits
from mpcd.errors import Bug
from mpcd.field import Buffer, Field, Vector
from mpcd.ids import COMPUTE_PARTIES, COMPUTE_ROLES, Role
from mpcd.protocols.context import HASH_BYTES, Context, InputContext
from mpcd.protocols.cost import Cost
from mpcd.protocols.prss import KEY_BYTES, Stream, derive
from mpcd.protocols.spec import BitsSpec, FieldSpec, Spec
from mpcd.sharing import Planes, Replicated
from mpcd.sharing.planes import is_masked, mask_in_place

InputSpec = Spec
Vector8 = NDArray[np.uint8]
SEED_BYTES: Final = KEY_BYTES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FieldInput:
    """A vector over a field, in the clear, at its owner."""

    field: Field
    vector: Vector

    @property
    def spec(self) -> FieldSpec:
        """Its public shape."""
        return FieldSpec(self.field, len(self.vector))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BitsInput:
    """Bit planes uint64 (width, words) of `count` elements, in the clear, at their owner."""

    planes: Vector
    count: int

    @property
    def spec(self) -> BitsSpec:
        """Its public shape."""
        return BitsSpec(len(self.planes), self.count)


InputItem = FieldInput | BitsInput


def expand(seed: bytes, item: int, spec: Spec) -> Vector:
    """The component of item number `item` that a seed stands for: exactly uniform, the same for all its holders."""
    attempt = 0
    while True:
        stream = Stream(derive(seed, item.to_bytes(4, "little"), attempt))
        if isinstance(spec, BitsSpec):
            planes = np.empty(spec.size_bytes // 8, dtype=np.uint64)
            stream.fill(planes)
            return mask_in_place(planes.reshape(spec.width, -1), spec.count)
        words = np.empty(spec.count * spec.field.words_per_element, dtype=np.uint64)
        stream.fill(words)
        elements, replaced = spec.field.sample(words)
        if not replaced:
            return elements
        attempt += 1


def _last_message(specs: Sequence[Spec], vectors: Sequence[Vector], seed_0: bytes, seed_1: bytes) -> Vector8:
    """seed_1, x_2 of all items, seed_0: the messages of P_1 and P_2 overlap in it."""
    size = sum(spec.size_bytes for spec in specs)
    message = np.empty(size + 2 * SEED_BYTES, dtype=np.uint8)
    message[:SEED_BYTES] = np.frombuffer(seed_1, dtype=np.uint8)
    message[SEED_BYTES + size :] = np.frombuffer(seed_0, dtype=np.uint8)
    place = SEED_BYTES
    for index, (spec, vector) in enumerate(zip(specs, vectors, strict=True)):
        component = spec.subtract(spec.subtract(vector, expand(seed_0, index, spec)), expand(seed_1, index, spec))
        message[place : place + spec.size_bytes] = component.reshape(-1).view(np.uint8)
        place += spec.size_bytes
    return message


def _checked(item: InputItem) -> Spec:
    """The item's shape; our own data must be canonical, or our own share would be refused as malformed."""
    if isinstance(item, BitsInput):
        spec = item.spec
        if item.planes.shape != (spec.width, spec.size_bytes // 8 // spec.width) or not is_masked(
            item.planes, item.count
        ):
            raise Bug("input planes of a wrong shape, or with bits beyond the last element")
        return spec
    if not item.field.is_canonical(item.vector):
        raise Bug("an input element is outside the field")
    return item.spec


def _session_seeds(ctx: InputContext, drawn: bytes) -> tuple[bytes, bytes]:
    """The two seeds, from our own entropy *and* the session id, into which everybody's fresh nonces went.

    A restored or cloned host may draw the same bytes again; the same seeds in two sessions would show their holders the
    difference of the two inputs (SECURITY, Randomness and life cycle).
    """
    place = ctx.session + str(ctx.role).encode()
    first, second = drawn[:SEED_BYTES], drawn[SEED_BYTES:]
    return derive(first, b"input seed 0" + place), derive(second, b"input seed 1" + place)


async def provide(ctx: InputContext, items: Sequence[InputItem]) -> None:
    """Share all items of one input party with the compute parties; the other end is `receive`.

    Security: each compute party sees uniform values only; consistency is the receivers' to check.
    Cost: `cost`: 1 message to each compute party.

    Args:
        ctx: narrowed to this call, under the same name as the compute parties'.
        items: in the order and with the shapes that all parties have planned.

    Raises:
        PeerGone: a compute party is away.
    """
    specs = [_checked(item) for item in items]
    drawn = ctx.entropy(2 * SEED_BYTES)
    if len(drawn) != 2 * SEED_BYTES:
        raise Bug("the entropy source gave too few bytes")
    vectors = [item.planes if isinstance(item, BitsInput) else item.vector for item in items]
    seed_0, seed_1 = _session_seeds(ctx, drawn)
    view = (await ctx.compute(_last_message, specs, vectors, seed_0, seed_1)).data
    size = len(view) - 2 * SEED_BYTES
    await ctx.narrow("share").exchange(
        {
            COMPUTE_ROLES[0]: seed_0 + seed_1,
            COMPUTE_ROLES[1]: view[: SEED_BYTES + size],
            COMPUTE_ROLES[2]: view[SEED_BYTES:],
        },
        {},
    )


async def receive(
    ctx: Context, owners: Sequence[Role], specs: Sequence[InputSpec]
) -> dict[Role, list[Replicated | Planes]]:
    """Receive the same list of items from every owner, and compare with the neighbours before anything depends on them.

    Security: an owner whose two holders of a component got different ones is caught here; so is a holder who lies about
        it.
    Cost: `cost`: 2 rounds; 2 hashes per owner sent by each compute party.

    Args:
        ctx: narrowed to this call, under the same name as the owners'.
        owners: the input roles, in an order common to all compute parties.
        specs: the shapes of each owner's items, in order.

    Returns:
        Per owner, one sharing per item.

    Raises:
        CheatDetected: an owner's two copies of a component differ (or a holder says so).
        PeerGone: an owner or a neighbour is away.
        PeerMalformed: a wrong length, a non-canonical element, a bit beyond the last element.
    """
    assert 1 <= len(owners) <= limits.INPUT_OWNERS_MAX
    sizes = _part_sizes(specs)
    first, second = sizes[ctx.index], sizes[(ctx.index + 1) % COMPUTE_PARTIES]
    received = await ctx.narrow("share").exchange({}, dict.fromkeys(owners, first + second))
    parts = {}
    for owner in owners:
        message = memoryview(received[owner])
        parts[owner] = (message[:first], message[first:])
    await _compare_holders(ctx.narrow("compare"), parts)
    return {owner: _shares(ctx, owner, parts[owner], specs) for owner in owners}


def _part_sizes(specs: Sequence[InputSpec]) -> tuple[int, int, int]:
    """Bytes that stand for each component: two seeds and one vector."""
    return SEED_BYTES, SEED_BYTES, sum(spec.size_bytes for spec in specs)


async def _compare_holders(ctx: Context, parts: dict[Role, tuple[memoryview, memoryview]]) -> None:
    """Both holders of every component of every owner hold the same bytes, or abort."""
    after = (ctx.index + 1) % COMPUTE_PARTIES
    own, shared_next = [], []
    for owner, pair in parts.items():
        name = str(owner).encode()
        own.append(await ctx.compute(ctx.hash_of, ctx.index, name, pair[0]))
        shared_next.append(await ctx.compute(ctx.hash_of, after, name, pair[1]))
    size = HASH_BYTES * len(parts)
    received = await ctx.exchange(
        {ctx.previous: b"".join(own), ctx.next: b"".join(shared_next)}, {ctx.previous: size, ctx.next: size}
    )
    for place, owner in enumerate(parts):
        where = slice(place * HASH_BYTES, (place + 1) * HASH_BYTES)
        what = f"the two holders of a component of {owner}'s input hold different ones"
        ctx.compare(own[place], received[ctx.previous][where], what)
        ctx.compare(shared_next[place], received[ctx.next][where], what)


def _shares(
    ctx: Context, owner: Role, parts: tuple[memoryview, memoryview], specs: Sequence[InputSpec]
) -> list[Replicated | Planes]:
    """Our share of each item of one owner."""
    a = _components(ctx, owner, ctx.index, parts[0], specs)
    b = _components(ctx, owner, (ctx.index + 1) % COMPUTE_PARTIES, parts[1], specs)
    shares: list[Replicated | Planes] = []
    for spec, own, after in zip(specs, a, b, strict=True):
        if isinstance(spec, FieldSpec):
            shares.append(Replicated(spec.field, own, after))
        else:
            shares.append(Planes(own, after, spec.count))
    return shares


def _components(ctx: Context, owner: Role, component: int, part: Buffer, specs: Sequence[InputSpec]) -> list[Vector]:
    """All items of one component, from a seed or from the vector itself."""
    if component != 2:
        seed = bytes(part)
        return [expand(seed, index, spec) for index, spec in enumerate(specs)]
    view = memoryview(part)
    vectors = []
    place = 0
    for spec in specs:
        vectors.append(spec.decode(ctx, owner, view[place : place + spec.size_bytes]))
        place += spec.size_bytes
    return vectors


def cost(owners: int, specs: Sequence[InputSpec]) -> Cost:
    """Two rounds; an input party sends two vectors and four seeds, a compute party two hashes per owner."""
    hashes = 2 * HASH_BYTES * owners
    return Cost(2, (hashes, hashes, hashes), 2 * sum(_part_sizes(specs)))
