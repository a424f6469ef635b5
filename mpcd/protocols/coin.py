"""Coins: randomness that is public, and that nobody knew before every message that it challenges had arrived.

A coin is a 32-byte seed r = r_0 + r_1 + r_2 (XOR) whose component r_j is drawn from the PRSS key k_j; P_i holds r_i and
r_{i+1} from the start and misses r_{i-1}.  Two rounds:

    barrier:   every P_i tells both others that it has received every message of the session that was due before this
    step; release:   having heard that from both others, P_i sends r_i to P_{i+1}.

What is shown.  Let P_i be corrupt.  It misses r_{i-1}, whose holders P_{i-1} and P_{i+1} are honest and give it to
nobody but by the rule above: P_{i+1} never sends it, P_{i-1} sends it to P_i once.  At that moment P_{i-1} has itself
received all that P_i owed it, and P_{i+1} has said the same of itself: it runs its program in order, so that whoever
speaks at the barrier has awaited every message before it.  Hence every message of P_i to an honest party before the
barrier was fixed when r was still uniform given all that P_i had seen.  (If P_{i+1} sent the component, a rushing P_i
would learn r before its own message to P_{i-1} is fixed.)  What P_i itself says at a barrier is of no importance.

A message to the *previous* party may travel with the barrier, or, when it is the only message since the last coin,
take the barrier's place: its one receiver P_{i-1} is the very party that then releases P_i's missing component
(`toss` after the levels of `verify_batch`, whose messages all go to the previous party).

A corrupt P_i knows r_i and may send P_{i+1} a wrong one, so that the honest parties hold different coins, and it may
do so late, knowing later coins.  Therefore `compare`: each sends a hash of all coins so far to both others before
anything opens that depends on them; the honest two compare theirs, and unequal coins abort.  Until then all that
leaves an honest party is masked, whatever coin it went by.  Given equal coins, each is the right one: P_{i-1} has r
from the honest P_{i+1}.

One assumption: the honest P_{i+1} may reach `compare` before P_{i-1} has P_i's last message, so P_i can see a hash of
all coins, the one that challenges that message among them.  It misses 256 bits of what is hashed: with SHA-256 as a
random oracle the hash tells it nothing but by guessing them.  So seeds are never shorter, and no hash that is compared
covers anything derived from a coin.

No Fiat-Shamir: a hash of messages is a coin that a cheater can toss alone, again and again.  Seeds have 256 bits: with
a seed as short as a field element the errors orthogonal to its expansion would pass unnoticed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mpcd.field import Buffer, Field, Vector
from mpcd.protocols.context import HASH_BYTES, Context
from mpcd.protocols.cost import Cost, each
from mpcd.protocols.prss import Stream, derive

COIN_BYTES: Final = 32
ACKNOWLEDGED: Final = b"\x01"
_WORDS: Final = COIN_BYTES // 8


class Coins:
    """The coins of one check at one party, in order; compared before the check opens anything."""

    __slots__ = ("_seeds", "compared")

    def __init__(self) -> None:
        self._seeds: list[bytes] = []
        self.compared = False
        """Whether the other parties are known to hold the same coins, all of them."""

    def __repr__(self) -> str:
        return f"<{len(self._seeds)} coins>"

    async def toss(self, ctx: Context) -> bytes:
        """The release: call it only when all that the coin challenges has been acknowledged (see above).

        Cost: `cost_toss`: 1 round.

        Args:
            ctx: narrowed to this call.

        Returns:
            The seed, equal at all honest parties if `compare` says so.
        """
        self.compared = False
        component = await ctx.random_planes(1, COIN_BYTES * 8)
        ours = component.a.reshape(-1).data.cast("B")
        received = await ctx.exchange({ctx.next: ours}, {ctx.previous: COIN_BYTES})
        theirs = np.frombuffer(received[ctx.previous], dtype=np.uint8).view(np.uint64)
        assert component.a.size == _WORDS
        seed = (component.a.reshape(-1) ^ component.b.reshape(-1) ^ theirs).tobytes()
        self._seeds.append(seed)
        return seed

    async def compare(self, ctx: Context) -> None:
        """Both others hold the same coins, or abort.

        Cost: `cost_compare`: 1 round.

        Args:
            ctx: narrowed to this call.

        Raises:
            CheatDetected: a party holds another coin, or says so.
        """
        ours = ctx.hash_of(0, *self._seeds)
        both = (ctx.previous, ctx.next)
        received = await ctx.exchange(dict.fromkeys(both, ours), dict.fromkeys(both, HASH_BYTES))
        for role in both:
            ctx.compare(ours, received[role], "the parties hold different coins")
        self.compared = True


async def barrier(ctx: Context, message: Buffer) -> Buffer:
    """Say that all earlier messages are here, and wait until both others have said so.

    Cost: `cost_barrier`: 1 round.

    Args:
        ctx: narrowed to this call.
        message: for the previous party, challenged by the coin that follows like all before; the same size everywhere.

    Returns:
        The next party's message.
    """
    size = len(message)
    received = await ctx.exchange(
        {ctx.previous: b"".join((message, ACKNOWLEDGED)), ctx.next: ACKNOWLEDGED},
        {ctx.next: size + len(ACKNOWLEDGED), ctx.previous: len(ACKNOWLEDGED)},
    )
    for role in (ctx.next, ctx.previous):
        if bytes(memoryview(received[role])[-1:]) != ACKNOWLEDGED:
            ctx.fail_malformed(role, "no acknowledgement")
    return memoryview(received[ctx.next])[:size]


def cost_barrier(message_bytes: int) -> Cost:
    """One round; an acknowledgement to both, and the message to one."""
    return each(1, message_bytes + 2 * len(ACKNOWLEDGED))


def cost_toss() -> Cost:
    """One round; a component to the next party."""
    return each(1, COIN_BYTES)


def cost_compare() -> Cost:
    """One round; a hash to both others."""
    return each(1, 2 * HASH_BYTES)


# ---------------------------------------------------------------------------------------------- what a coin expands to


def elements(seed: bytes, label: bytes, field: Field, count: int) -> Vector:
    """Exactly uniform elements of a coin; labels give independent ones."""
    words = np.empty(count * field.words_per_element, dtype=np.uint64)
    attempt = 0
    while True:
        Stream(derive(seed, label, attempt)).fill(words)
        result, replaced = field.sample(words)
        if not replaced:
            return result
        attempt += 1


def unit(seed: bytes, label: bytes, field: Field) -> Vector:
    """One uniform element that is not zero."""
    attempt = 0
    words = np.empty(field.words_per_element, dtype=np.uint64)
    while True:
        Stream(derive(seed, label, attempt)).fill(words)
        result, replaced = field.sample(words)
        if not replaced and result.any():
            return result
        attempt += 1
