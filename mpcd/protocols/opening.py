"""Openings: the only ways by which a value leaves its shares.  Each verifies first.

Who misses a component gets its value from one holder and, in the same exchange, a hash of it from the other; the hash
binds session, step, component, lengths and the canonical bytes.  It is compared before the value is used, and nothing
is deferred to a running hash: an honest message that depended on a tampered value would turn a late comparison into an
oracle (ia.cr/2026/234).

    to all:            P_i sends x_i to P_{i+1}, who misses it, and hash(x_{i+1}) to P_{i-1}, who misses that.
    to P_r:            P_{r-1} sends the value of x_{r-1}, P_{r+1} the hash of it.
    to another role:   every P_i sends the value of x_i and the hash of x_{i+1}; `receive` is the other end.

`output_shares` opens nothing here; its bytes are for sealing to the analyst, who compares the two copies of every
component.
"""

from __future__ import annotations

import numpy as np

from mpcd.errors import Bug
from mpcd.field import Buffer, Vector
from mpcd.ids import COMPUTE_PARTIES, COMPUTE_ROLES, Role
from mpcd.protocols.context import HASH_BYTES, Context, OuterContext
from mpcd.protocols.cost import Cost, each
from mpcd.protocols.spec import Spec, spec_of
from mpcd.sharing import Planes, Replicated

_DISAGREE = "the two holders of a share disagree"


def _bytes_of(v: Vector) -> memoryview[int]:
    return np.ascontiguousarray(v).reshape(-1).data.cast("B")


async def open_all(ctx: Context, x: Replicated | Planes) -> Vector:
    """Open to all compute parties.

    Security: waits for `verify`; a wrong value or hash aborts before the value is used.
    Cost: `cost_open_all`: 1 round; one component and one hash sent per party.

    Args:
        ctx: narrowed to this call.
        x: what everybody may learn.

    Returns:
        The elements (canonical), or the planes, uint64 (width, words).

    Raises:
        CheatDetected: verification failed, or the two holders disagree.
        PeerGone, PeerMalformed: as every exchange.
    """
    spec = spec_of(x)
    await ctx.verify()
    ours, hashed = _bytes_of(x.a), await _hash_of_second(ctx, x)
    received = await ctx.exchange(
        {ctx.next: ours, ctx.previous: hashed}, {ctx.previous: len(ours), ctx.next: HASH_BYTES}
    )
    return await _complete(ctx, x, spec, received[ctx.previous], received[ctx.next])


async def _hash_of_second(ctx: Context, x: Replicated | Planes) -> bytes:
    """Of x_{i+1}, which P_{i-1} misses."""
    return await ctx.compute(ctx.hash_of, (ctx.index + 1) % COMPUTE_PARTIES, _bytes_of(x.b))


async def _complete(ctx: Context, x: Replicated | Planes, spec: Spec, value: Buffer, hashed: Buffer) -> Vector:
    """The sum of our components and the missing one, once both its holders agree on it."""
    missing = spec.decode(ctx, ctx.previous, value)
    expected = await ctx.compute(ctx.hash_of, (ctx.index + 2) % COMPUTE_PARTIES, value)
    ctx.compare(expected, hashed, _DISAGREE)
    return spec.add(spec.add(x.a, x.b), missing)


def cost_open_all(spec: Spec) -> Cost:
    """One round; a component to one neighbour, a hash to the other."""
    return each(1, spec.size_bytes + HASH_BYTES)


async def open_to(ctx: Context, x: Replicated | Planes, role: Role) -> Vector | None:
    """Open to one role: a compute party, or one outside, which awaits `receive` at the same step.

    Security: as `open_all`; the others learn nothing.
    Cost: `cost_open_to`: 1 round; to a compute party one component from one and a hash from the other, to another role
        both from each.

    Args:
        ctx: narrowed to this call.
        x: what `role` may learn.
        role: who learns it.

    Returns:
        As `open_all` for that role, None for the others.

    Raises:
        CheatDetected, PeerGone, PeerMalformed: as `open_all`.
    """
    spec = spec_of(x)
    await ctx.verify()
    if role.kind != "compute":
        await ctx.exchange({role: b"".join((_bytes_of(x.a), await _hash_of_second(ctx, x)))}, {})
        return None
    if role == ctx.role:
        received = await ctx.exchange({}, {ctx.previous: spec.size_bytes, ctx.next: HASH_BYTES})
        return await _complete(ctx, x, spec, received[ctx.previous], received[ctx.next])
    if role == ctx.next:
        await ctx.exchange({role: _bytes_of(x.a)}, {})
    else:
        await ctx.exchange({role: await _hash_of_second(ctx, x)}, {})
    return None


async def receive(ctx: OuterContext, spec: Spec) -> Vector:
    """The other end of `open_to` for a role outside: compare the copies, then add the components.

    Args:
        ctx: narrowed to the same step as the compute parties' call.
        spec: the public shape.

    Returns:
        As `open_all`.

    Raises:
        CheatDetected: the two holders of some component disagree.
        PeerGone, PeerMalformed: as every exchange.
    """
    size = spec.size_bytes
    received = await ctx.exchange({}, dict.fromkeys(COMPUTE_ROLES, size + HASH_BYTES))
    messages = [memoryview(received[role]) for role in COMPUTE_ROLES]
    components = [spec.decode(ctx, role, messages[role.index][:size]) for role in COMPUTE_ROLES]
    for index, message in enumerate(messages):
        after = (index + 1) % COMPUTE_PARTIES
        ctx.compare(ctx.hash_of(after, messages[after][:size]), message[size:], _DISAGREE)
    return spec.add(spec.add(components[0], components[1]), components[2])


def cost_open_to(spec: Spec, role: Role) -> Cost:
    """One round; see the module's table of who sends what."""
    if role.kind != "compute":
        return each(1, spec.size_bytes + HASH_BYTES)
    sent = [0] * COMPUTE_PARTIES
    sent[(role.index + 2) % COMPUTE_PARTIES] = spec.size_bytes
    sent[(role.index + 1) % COMPUTE_PARTIES] = HASH_BYTES
    return Cost(1, (sent[0], sent[1], sent[2]))


async def output_shares(ctx: Context, x: Replicated | Planes) -> tuple[bytes, bytes]:
    """This party's two components in wire form, to be sealed to the analyst.

    Security: waits for `verify`.  Nothing is sent; who gets shares of two parties knows the value.
    Cost: none beyond the verification.

    Returns:
        (x_i, x_{i+1}) of P_i: the second equals the first of P_{i+1}, which the analyst checks.

    Raises:
        CheatDetected: verification failed.
    """
    await ctx.verify()
    if isinstance(x, Replicated) and not (x.field.is_canonical(x.a) and x.field.is_canonical(x.b)):
        raise Bug("a share is not canonical")
    return bytes(_bytes_of(x.a)), bytes(_bytes_of(x.b))
