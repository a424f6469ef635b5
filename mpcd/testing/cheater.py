"""A corrupt party that lies about one product and then does its best to get through the batch verification.

It follows its own lie: what it holds is what it has sent, so that no comparison of two holders catches it and only the
equation of the check can.  It knows its running error exactly (all coefficients and coins are public once they are
tossed) and chooses every later message by it.  Strategies:

    still     no further lie
    roots     at each level the error polynomial E(t) gets 2L - 2 chosen roots, its middle coefficient being the
    present error:
              the best there is, `verify_batch.soundness` is its chance up to the first coin's 1/|F|
    cancel    at each level it subtracts the present error from the lowest coefficient it sends, as if that were added
    to T mask      it lies about the mask gate's product too, by the negative of its first lie, as if that could
    cancel it last      it lies no more until X, Y and T open, and then takes the error off its component of T

Each strategy stops lying when its error has become zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from mpcd.field import Buffer, Field, Vector
from mpcd.ids import Role, Step
from mpcd.protocols.claims import BitField, Claim, Record, powers
from mpcd.protocols.coin import unit
from mpcd.protocols.context import Context, Transport
from mpcd.protocols.verify import Relation
from mpcd.protocols.verify_batch import Malicious
from mpcd.sharing import Planes, Replicated
from mpcd.testing.lockstep import LockstepTransport, Message

Strategy = Literal["still", "roots", "cancel", "mask", "last"]
STRATEGIES: Final[tuple[Strategy, ...]] = ("still", "roots", "cancel", "mask", "last")


@dataclass
class Lie:
    """One wrong word in one message of products, and what became of it."""

    step: str
    """Last part or all of the step's path."""
    word: int
    """Which word of the message, modulo its length."""
    delta: int = 1
    """Added to the word's element, or XORed to a word of bits."""
    strategy: Strategy = "roots"
    told: int = 0
    """How often the lie was sent."""
    records: list[tuple[str, Vector]] = field(default_factory=list)
    """Steps and error vectors of the lies."""

    def concerns(self, step: str) -> bool:
        """Whether the lie is told there."""
        return step == self.step or step.endswith(f"/{self.step}")


class LyingTransport(LockstepTransport):
    """Changes the array behind a message before it leaves, so that the liar's own share is changed as well."""

    __slots__ = ("_field", "_lie", "_own")

    def __init__(self, own: LockstepTransport, lie: Lie, over: Field) -> None:
        super().__init__(own._driver, own.role)  # noqa: SLF001  # the same place in the same driver
        self._lie = lie
        self._field = over

    async def exchange(self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]) -> dict[Role, Buffer]:
        """Lie where the lie is due: in messages to the previous party alone, which are products."""
        lie = self._lie
        (receiver, *more) = send or (None,)
        if lie.concerns(step) and receiver is not None and not more and receiver.kind == "compute":
            buffer = send[receiver]
            array: object = buffer.obj if isinstance(buffer, memoryview) else None
            if isinstance(array, np.ndarray) and receiver.index == (self.role.index + 2) % 3:
                self._tell(step, array)
        return await super().exchange(step, send, expect)

    def _tell(self, step: str, array: Vector) -> None:
        lie = self._lie
        words = array.reshape(-1).view(np.uint64)
        assert np.shares_memory(words, array)
        error = np.zeros_like(words)
        over, per = self._field, self._field.words_per_element
        place = lie.word % len(words)
        if array.dtype == np.uint64:  # planes; elements of a field are encoded as bytes
            flip = np.uint64(1)  # the first element of a plane always exists
            words[place] ^= flip
            error[place] = flip
        else:
            at = place // per * per
            part = slice(at, at + per)
            shape = (1,) if per == 1 else (1, per)
            error[part] = over.from_ints([lie.delta]).reshape(-1)
            words[part] = over.add(words[part].reshape(shape).copy(), error[part].reshape(shape).copy()).reshape(-1)
        lie.told += 1
        lie.records.append((step, error))


class CheatingClaim(Claim):
    """The liar's claim: tracks the error."""

    def __init__(
        self, over: Field, records: Sequence[Record], first: int, lies: Mapping[int, Vector], lie: Lie
    ) -> None:
        super().__init__(over, records, first)
        self._lie = lie
        zeros = [_shadow(record, lies.get(number)) for number, record in enumerate(records)]
        self._shadow = Claim(over, zeros, first)
        nothing = Replicated(over, over.zeros(1), over.zeros(1))
        wrong = nothing
        if lies and lie.strategy == "mask":
            wrong = Replicated(over, over.neg(_first_error(over, lies)), over.zeros(1))
        self._mask_error = wrong.a
        self._shadow.mask(nothing, nothing, wrong)
        self.error = over.zeros(1)
        self._polynomial = over.zeros(0)

    def gate(self, a: Replicated, b: Replicated) -> Vector:
        """The summand, with the lie about the mask gate."""
        return self.field.add(super().gate(a, b), self._mask_error)

    def start(self, seed: bytes) -> None:
        """And the same for the errors alone."""
        super().start(seed)
        self._shadow.start(seed)

    def products(self, level: int) -> Vector:
        """With the error polynomial that the strategy wants."""
        over, chunk = self.field, self.levels[level]
        honest = super().products(level)
        if level == 0:
            self._shadow.products(0)
            self.error = self._shadow._total[0]  # noqa: SLF001
        middle = chunk - 1
        self._polynomial = over.zeros(2 * chunk - 1)
        self._polynomial[middle] = self.error[0]
        if self.error.any():
            if self._lie.strategy == "roots":
                self._polynomial = _with_roots(over, self.error, chunk)
            elif self._lie.strategy == "cancel":
                self._polynomial[0] = over.neg(self.error)[0]
        deviation = over.concatenate([self._polynomial[:middle], self._polynomial[middle + 1 :]])
        return over.add(honest, deviation)

    def fold(self, level: int, g: Replicated, seed: bytes) -> None:
        """The next error is the polynomial at the coin."""
        super().fold(level, g, seed)
        over = self.field
        r = unit(seed, b"fold/" + over.name.encode(), over)
        self.error = evaluate(over, self._polynomial, r)

    def last(self) -> Replicated:
        """With the error taken off, if that is the strategy."""
        opened = super().last()
        if self._lie.strategy != "last":
            return opened
        over = self.field
        total = over.sub(opened.a[2:], self.error)
        return Replicated(over, over.concatenate([opened.a[:2], total]), opened.b)


class CheatingVerifier(Malicious):
    """The liar's verifier."""

    def __init__(self, lie: Lie, binary: BitField | None = None) -> None:
        super().__init__(*(() if binary is None else (binary,)))
        self._lie = lie
        self._lied: dict[int, Vector] = {}
        """Error vectors by id of the recorded z."""
        self.claims: list[CheatingClaim] = []

    async def defer(self, ctx: Context, relation: Relation, x: Replicated, y: Replicated, z: Replicated) -> None:
        """Remember which record holds the lie."""
        self._note(ctx.step, z)
        await super().defer(ctx, relation, x, y, z)

    async def defer_and(self, ctx: Context, x: Planes, y: Planes, z: Planes) -> None:
        """Remember which record holds the lie."""
        self._note(ctx.step, z)
        await super().defer_and(ctx, x, y, z)

    def _note(self, step: str, z: Replicated | Planes) -> None:
        for lied_at, error in self._lie.records:
            if lied_at == step:
                self._lied[id(z)] = error.reshape(z.a.shape)

    def claim(self, field: Field, records: Sequence[Record], first: int) -> Claim:
        """A claim that cheats."""
        lies = {n: self._lied[id(record.z)] for n, record in enumerate(records) if id(record.z) in self._lied}
        claim = CheatingClaim(field, records, first, lies, self._lie)
        self.claims.append(claim)
        return claim

    @property
    def escaped(self) -> bool:
        """Whether every running error has become zero, by luck."""
        return not any(claim.error.any() for claim in self.claims)


class Rushing:
    """Sends, in place of its own messages, what it has just seen from others, where the size fits."""

    def __init__(self, role: Role, step: str) -> None:
        self.role = role
        self.step = step
        self.hits = 0

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """Mirror honest messages at our step."""
        del sweep
        for message in ours:
            if message.step != self.step:
                continue
            for other in seen:
                if len(other.payload) == len(message.payload) and other.payload != message.payload:
                    message.payload = other.payload
                    self.hits += 1
                    break
        return ours


class Nobody:
    """Marks a party as corrupt whose messages the driver leaves alone: the lie is in the party itself."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """As they are."""
        del sweep, seen
        return ours


def lying(own: Transport, lie: Lie, over: Field) -> Transport:
    """The liar's transport."""
    assert isinstance(own, LockstepTransport)
    return LyingTransport(own, lie, over)


def _shadow(record: Record, error: Vector | None) -> Record:
    """The same relation between zeros, with the error alone as z: its total is the error of the claim."""

    def zero(v: Replicated | Planes) -> Replicated | Planes:
        return _with(v, np.zeros_like(v.a))

    z = zero(record.z) if error is None else _with(record.z, error)
    return Record(record.relation, zero(record.x), zero(record.y), z)


def _with(v: Replicated | Planes, own: Vector) -> Replicated | Planes:
    nothing = np.zeros_like(own)
    return Planes(own, nothing, v.count) if isinstance(v, Planes) else Replicated(v.field, own, nothing)


def _first_error(over: Field, lies: Mapping[int, Vector]) -> Vector:
    """The first wrong element, or 1."""
    error = next(iter(lies.values()))
    elements = error.reshape(over.zeros(error.size // over.words_per_element).shape)
    place = next(place for place in range(len(elements)) if elements[place].any())
    return np.array(elements[place : place + 1])


# ------------------------------------------------------------------------------------------------ polynomials


def inverse(over: Field, a: Vector) -> Vector:
    """1 / a for a one-element vector."""
    exponent = over.modulus - 2  # the multiplicative group has modulus - 1 elements, prime field or not
    result, square = over.from_ints([1]), a
    while exponent:
        if exponent & 1:
            result = over.mul(result, square)
        square = over.mul(square, square)
        exponent >>= 1
    return result


def evaluate(over: Field, polynomial: Vector, at: Vector) -> Vector:
    """Value of a polynomial, lowest coefficient first."""
    terms = over.mul(polynomial, powers(over, at, len(polynomial)))
    total = over.zeros(1)
    for place in range(len(polynomial)):
        total = over.add(total, terms[place : place + 1])
    return total


def _with_roots(over: Field, middle: Vector, chunk: int) -> Vector:
    """A polynomial of degree 2L - 2 with as many roots other than 0, whose coefficient L - 1 is `middle`."""
    first = 1
    while True:
        product = over.from_ints([1])
        for root in range(first, first + 2 * chunk - 2):
            minus = over.neg(over.from_ints([root]))
            shifted = over.concatenate([over.zeros(1), product])
            scaled = over.concatenate([over.mul(product, np.repeat(minus, len(product), axis=0)), over.zeros(1)])
            product = over.add(shifted, scaled)
        have = product[chunk - 1 : chunk]
        if have.any():
            factor = over.mul(middle, inverse(over, have))
            return over.mul(product, np.repeat(factor, len(product), axis=0))
        first += 1
