"""What the verification's order of messages is worth: variants with one rule broken, and adversaries that use it.

Failure condition: an adversary gets through the verification as it is; the same adversary is stopped although the rule
that stops it is broken, for then these tests could not fail.

Non-failure: a late message that is honest; delay is no lie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from mpcd.errors import CheatDetected, PeerGone
from mpcd.field import FP, Field, Vector
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols import coin, multiply, opening, verify_batch
from mpcd.protocols.claims import Claim, Record
from mpcd.protocols.coin import COIN_BYTES, Coins
from mpcd.protocols.context import Context
from mpcd.protocols.verify_batch import Malicious
from mpcd.sharing import Replicated
from mpcd.testing.campaign import honest
from mpcd.testing.cheater import CheatingClaim, CheatingVerifier, Lie, Nobody, inverse, lying
from mpcd.testing.lockstep import Adversary, Message
from mpcd.testing.programs import PROGRAMS, openings
from mpcd.testing.world import World

LIES: Final = ("mul", "inner_product", "matrix_product", "and")
"""Programs of one relation, whose product is their first message."""


# ------------------------------------------------------------------- the mask gate after the first coin


async def late_mask(ctx: Context, claims: Sequence[Claim]) -> None:
    """`verify_batch.prove` with the first coin before the mask gate instead of after it; all else as it is."""
    coins = Coins()
    await coin.barrier(ctx.narrow("early"), b"")
    seed = await coins.toss(ctx.narrow("coin"))
    for claim in claims:
        if isinstance(claim, LateClaim):
            claim.know(seed)
    await verify_batch._gates(ctx, claims)
    for claim in claims:
        claim.start(seed)
    for level in range(max(len(claim.levels) for claim in claims)):
        active = [claim for claim in claims if level < len(claim.levels)]
        products = [await verify_batch._products(ctx, claim, level) for claim in active]
        shared = await verify_batch._exchange(ctx.narrow(f"level{level}"), active, products)
        seed = await coins.toss(ctx.narrow(f"coin{level}"))
        for claim, sharing in zip(active, shared, strict=True):
            claim.fold(level, sharing, seed)
    await coins.compare(ctx.narrow("compare"))
    await verify_batch._open(ctx.narrow("open"), claims, coins)


class LateClaim(CheatingClaim):
    """Takes the combined error off the mask gate's product, if the coefficients are known by then."""

    def know(self, seed: bytes) -> None:
        """The first coin is out before c is sent: c minus the error over the mask gate's coefficient."""
        over = self.field
        nothing = Replicated(over, over.zeros(1), over.zeros(1))
        probe = Claim(over, self._shadow._records, self._first)
        probe.mask(nothing, nothing, nothing)
        probe.start(seed)
        probe.products(0)
        self._mask_error = over.neg(over.mul(probe._total[0], inverse(over, probe._unit)))
        self._shadow.mask(nothing, nothing, Replicated(over, self._mask_error, over.zeros(1)))


class LateLiar(CheatingVerifier):
    """The adaptive liar, with claims that use an early coin."""

    def __init__(self, lie: Lie, claims: type[LateClaim] = LateClaim) -> None:
        super().__init__(lie)
        self._claims = claims

    def claim(self, field: Field, records: Sequence[Record], first: int) -> Claim:
        lies = {n: self._lied[id(record.z)] for n, record in enumerate(records) if id(record.z) in self._lied}
        claim = self._claims(field, records, first, lies, self._lie)
        self.claims.append(claim)
        return claim


def answer(
    name: str,
    party: int,
    claims: type[LateClaim] = LateClaim,
    adversary: Callable[[Role, list[LateLiar]], Adversary] = lambda role, _: Nobody(role),
) -> tuple[object, LateLiar]:
    """What the honest parties get out of a program in which one party lies about its product and adapts."""
    _, transcript = honest(name)
    lie = Lie(transcript[0].step, 0, 1, "still")
    liars: list[LateLiar] = []

    def verifier() -> LateLiar:
        liars.append(LateLiar(lie, claims))
        return liars[-1]

    world = World(7, verifier=Malicious).corrupt(adversary(COMPUTE_ROLES[party], liars))
    world.lie(party, lambda own: lying(own, lie, FP), verifier)
    protocol, arguments = PROGRAMS[name]
    try:
        return world.run(openings(protocol), *arguments), liars[0]
    finally:
        assert lie.told == 1


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", LIES)
def test_a_mask_gate_after_the_first_coin_is_broken(name: str, party: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the liar gets a wrong answer out, every time."""
    expected, _ = honest(name)
    monkeypatch.setattr(verify_batch, "prove", late_mask)
    value, liar = answer(name, party)
    assert value != expected
    assert liar.escaped


@pytest.mark.parametrize("name", LIES)
def test_a_mask_gate_after_the_first_coin_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variant is a verification otherwise: honest parties pass, and a liar that does not adapt is caught."""
    expected, _ = honest(name)
    monkeypatch.setattr(verify_batch, "prove", late_mask)
    protocol, arguments = PROGRAMS[name]
    assert World(7, verifier=Malicious).run(openings(protocol), *arguments) == expected
    monkeypatch.setattr(LateClaim, "know", lambda _self, _seed: None)
    with pytest.raises(CheatDetected, match="not what it should be"):
        answer(name, 1)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", LIES)
def test_the_same_liar_is_caught_by_the_verification_as_it_is(name: str, party: int) -> None:
    with pytest.raises(CheatDetected, match="not what it should be"):
        answer(name, party)


# ------------------------------------------------------------------- one honest party held back at the coin


class Holding:
    """Sends everything in time but its message of one step to one party, and goes on with the other party meanwhile."""

    def __init__(self, role: Role, step: str, receiver: Role, sweeps: int) -> None:
        self.role = role
        self.heard: list[str] = []
        """Steps at which something came while the message was held back."""
        self.held = 0
        self._step = step
        self._receiver = receiver
        self._sweeps = sweeps
        self._kept: list[Message] = []

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """Keep the one message, or let it go."""
        del sweep
        if self._kept:
            self.heard += [message.step for message in seen]
        released: list[Message] = []
        if self._kept and self.may_go():
            released, self._kept = [self.changed(message) for message in self._kept], []
        now = [m for m in ours if m.receiver == self._receiver and m.step.endswith(self._step)]
        self._kept += now
        self.held += len(now)
        return released + [message for message in ours if message not in now]

    def may_go(self) -> bool:
        """Whether it has waited long enough."""
        self._sweeps -= 1
        return self._sweeps <= 0

    def changed(self, message: Message) -> Message:
        """What goes out in the end."""
        return message


def challenged(transcript: Sequence[Message]) -> list[tuple[Message, str]]:
    """Every message of a compute party that a coin challenges, with the next coin's step."""
    found = []
    for place, message in enumerate(transcript):
        if _is_coin(message.step) or message.payload == coin.ACKNOWLEDGED:
            continue  # neither says anything that could be a lie about a product
        later = next((m.step for m in transcript[place:] if _is_coin(m.step)), None)
        if later is not None and message.sender.kind == "compute":
            found.append((message, later))
    return found


def _is_coin(step: str) -> bool:
    return step.rsplit("/", 1)[-1].startswith("coin")


async def twice(ctx: Context, x: Replicated, y: Replicated) -> list[Vector]:
    """A second batch after an opening, so that messages to the next party precede a coin too."""
    z = await multiply.mul(ctx.narrow("first"), x, y)
    first = await opening.open_all(ctx.narrow("open1"), z)
    w = await multiply.mul(ctx.narrow("second"), z, z)
    return [first, await opening.open_all(ctx.narrow("open2"), w)]


def hold_each(sweeps: int) -> tuple[int, Counter[str]]:
    """Hold every challenged message back; how often others went on, and whose coin came while it was held."""
    honest_world = World(7, verifier=Malicious)
    expected = honest_world.run(twice, [6, 7], [5, 4])
    went_on = 0
    early: Counter[str] = Counter()
    for message, step in challenged(honest_world.lockstep.transcript):
        adversary = Holding(message.sender, message.step, message.receiver, sweeps)
        world = World(7, verifier=Malicious).corrupt(adversary)
        try:
            assert world.run(twice, [6, 7], [5, 4]) == expected
        except PeerGone:
            assert sweeps > 1, f"{message.step} came one round late and was taken for lost"
        assert adversary.held == 1
        went_on += bool(adversary.heard)
        early[message.step.rsplit("/", 1)[-1]] += step in adversary.heard
    assert set(early) == {"first", "barrier", "level0", "level1", "compare", "open", "open1", "second"}
    return went_on, early


async def backwards(self: Coins, ctx: Context) -> bytes:
    """`Coins.toss` with the missing component from the next party, who has not heard what the previous one awaits."""
    self.compared = False
    component = await ctx.random_planes(1, COIN_BYTES * 8)
    received = await ctx.exchange({ctx.previous: component.b.reshape(-1).data.cast("B")}, {ctx.next: COIN_BYTES})
    theirs = np.frombuffer(received[ctx.next], dtype=np.uint8).view(np.uint64)
    self._seeds.append((component.a.reshape(-1) ^ component.b.reshape(-1) ^ theirs).tobytes())
    return self._seeds[-1]


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_no_coin_comes_to_who_holds_a_message_back(sweeps: int) -> None:
    """Every message that a coin challenges, to either party; a round's delay alone changes nothing."""
    went_on, early = hold_each(sweeps)
    assert went_on, "nobody went on meanwhile"
    assert not early.total()


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_with_the_release_backwards_it_comes(sweeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the wrong holder releases, and each party has the coin before its message is fixed."""
    monkeypatch.setattr(Coins, "toss", backwards)
    _, early = hold_each(sweeps)
    assert +early == {"barrier": 6, "level0": 6, "level1": 6}  # 3 parties, 2 batches


class HeldClaim(LateClaim):
    """Goes on to the first coin while its own c is held back, and corrects c, and its share of c, by the coin."""

    correction: Vector | None = None

    def start(self, seed: bytes) -> None:
        """The coin is here: is c still there?"""
        assert self._mask is not None
        self.know(seed)
        self.correction = self._mask_error
        a, b, (own, other) = self._mask
        self._mask = (a, b, (self.field.add(own, self.correction), other))
        super().start(seed)


class HoldingLiar(Holding):
    """Holds its mask gate's product back until its claim knows what to say."""

    def __init__(self, role: Role, liars: list[LateLiar]) -> None:
        super().__init__(role, "/verify1/barrier", COMPUTE_ROLES[(role.index + 2) % 3], 0)
        self._liars = liars

    def _claim(self) -> HeldClaim:
        claim = self._liars[0].claims[0]
        assert isinstance(claim, HeldClaim)
        return claim

    def may_go(self) -> bool:
        """Whether the coin has come."""
        return self._claim().correction is not None

    def changed(self, message: Message) -> Message:
        """c with the correction."""
        claim = self._claim()
        assert claim.correction is not None
        size = claim.field.element_bytes
        c = claim.field.decode(message.payload[:size], 1)
        corrected = bytes(claim.field.encode(claim.field.add(c, claim.correction)))
        return replace(message, payload=corrected + message.payload[size:])


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", LIES)
def test_a_liar_who_waits_for_the_coin_waits_in_vain(name: str, party: int) -> None:
    with pytest.raises(PeerGone, match="/verify1/"):
        answer(name, party, HeldClaim, HoldingLiar)


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", LIES)
def test_with_the_release_backwards_the_liar_wins(name: str, party: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a wrong answer out of every program, by timing alone."""
    expected, _ = honest(name)
    monkeypatch.setattr(Coins, "toss", backwards)
    value, liar = answer(name, party, HeldClaim, HoldingLiar)
    assert value != expected
    assert liar.escaped
