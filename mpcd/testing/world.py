"""A world of three compute parties, any number of input parties and an analyst, in one process from one seed.

An honest test is one line, and its tampered twin one more:

    assert World(1).run(multiply.mul, [6], [5]) == [30]
    World(1).tamper(step="open", party=1).run(opened(multiply.mul), [6], [5])       # raises CheatDetected

`run(protocol, *arguments)` shares lists of integers over the world's field and `Bits` as planes, gives each compute
party its share and a context narrowed to the protocol's name, and reconstructs what comes back, checking that both
holders of every component agree. Other arguments are public and passed as they are.

Everything random comes from the seed; nothing here is for production.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from mpcd.errors import MpcdError, PeerGone
from mpcd.field import FP, Field, Vector, bits
from mpcd.ids import COMPUTE_PARTIES, COMPUTE_ROLES, PartyId, Role, SessionId
from mpcd.protocols.context import (
    Context,
    InputContext,
    OuterContext,
    Transport,
    compute_context,
    input_context,
    outer_context,
)
from mpcd.protocols.cost import Cost
from mpcd.protocols.prss import KEY_BYTES, Prss, Stream
from mpcd.protocols.verify import Counting, SemiHonest
from mpcd.sharing import Planes, Replicated
from mpcd.sharing.planes import mask_in_place
from mpcd.testing.adversary import Tamper
from mpcd.testing.lockstep import Adversary, Lockstep, Message

ComputeProgram = Callable[[Context], Coroutine[Any, Any, object]]
InputProgram = Callable[[InputContext], Coroutine[Any, Any, object]]
OuterProgram = Callable[[OuterContext], Coroutine[Any, Any, object]]
ANALYST: Final = Role("analyst", 0)


@dataclass(frozen=True, slots=True)
class Bits:
    """Unsigned integers to be shared as bit planes, or read back from them."""

    values: tuple[int, ...]
    width: int

    @classmethod
    def of(cls, values: Sequence[int], width: int) -> Bits:
        """`values` of `width` bits."""
        return cls(tuple(values), width)

    def planes(self) -> Vector:
        """Planes of any width."""
        return planes_of(self.values, self.width)


def planes_of(values: Sequence[int], width: int) -> Vector:
    """Bit planes of integers of any width, 64 planes at a time."""
    mask = (1 << 64) - 1
    parts = []
    for low in range(0, width, 64):
        limb = np.array([value >> low & mask for value in values], dtype=np.uint64)
        parts.append(bits.to_planes(limb, min(64, width - low)))
    return np.concatenate(parts)


def ints_of(planes: Vector, count: int) -> list[int]:
    """The inverse of `planes_of`."""
    total = [0] * count
    for low in range(0, len(planes), 64):
        limb = bits.from_planes(np.ascontiguousarray(planes[low : low + 64]), count).tolist()
        total = [have | value << low for have, value in zip(total, limb, strict=True)]
    return total


def reconstruct(
    shares: Sequence[Replicated | Planes] | Mapping[int, Replicated | Planes], trusted: Sequence[int] = (0, 1, 2)
) -> Vector:
    """Field elements or planes from the shares of all parties (or of the trusted two); tests only.

    Raises:
        AssertionError: two trusted holders of one component disagree, so this is no sharing.
    """
    components: dict[int, Vector] = {}
    for index in trusted:
        share = shares[index]
        for place, component in ((index, share.a), ((index + 1) % COMPUTE_PARTIES, share.b)):
            known = components.setdefault(place, component)
            assert np.array_equal(known, component), f"the holders of component {place} disagree"
    first = shares[trusted[0]]
    c0, c1, c2 = (components[place] for place in range(COMPUTE_PARTIES))
    if isinstance(first, Planes):
        return np.bitwise_xor(np.bitwise_xor(c0, c1), c2)
    return first.field.add(first.field.add(c0, c1), c2)


class World:
    """One seed; each `run` is a session of its own."""

    def __init__(
        self,
        seed: int,
        field: Field = FP,
        prss: Callable[[int], Prss] | None = None,
        verifier: Callable[[], Counting] = SemiHonest,
    ) -> None:
        self.seed = seed
        self.field = field
        self.lockstep = Lockstep()
        """The last session's driver: transcript, rounds, bytes."""
        self.deferred: list[Counting] = []
        """The last session's verifiers: what was recorded and never verified."""
        self.errors: dict[Role, MpcdError] = {}
        """The last session's errors, by role; of the corrupt party too."""
        self._prss = prss
        self._verifier = verifier
        self._adversary: Adversary | None = None
        self._liar: tuple[int, Callable[[Transport], Transport], Callable[[], Counting]] | None = None
        self._drawn = 0

    # ---------------------------------------------------------------------------------------- randomness

    def random_bytes(self, count: int) -> bytes:
        """The next bytes of the seed's stream."""
        self._drawn += 1
        key = hashlib.blake2b(f"world {self.seed} {self._drawn}".encode(), digest_size=KEY_BYTES).digest()
        words = np.empty((count + 7) // 8, dtype=np.uint64)
        Stream(key).fill(words)
        return words.tobytes()[:count]

    def random_words(self, count: int) -> Vector:
        """The next words of the seed's stream."""
        return np.frombuffer(self.random_bytes(8 * count), dtype=np.uint64).copy()

    def random_elements(self, field: Field, count: int) -> Vector:
        """Uniform elements."""
        while True:
            elements, replaced = field.sample(self.random_words(count * field.words_per_element))
            if not replaced:
                return elements

    # ---------------------------------------------------------------------------------------- sharing

    def share(self, vector: Vector, field: Field | None = None) -> list[Replicated]:
        """Shares of a vector for the three compute parties, dealt by the world."""
        field = field or self.field
        u, v = self.random_elements(field, len(vector)), self.random_elements(field, len(vector))
        c = (u, v, field.sub(field.sub(vector, u), v))
        return [Replicated(field, c[i], c[(i + 1) % COMPUTE_PARTIES]) for i in range(COMPUTE_PARTIES)]

    def share_planes(self, planes: Vector, count: int) -> list[Planes]:
        """Shares of bit planes for the three compute parties, dealt by the world."""
        u, v = (mask_in_place(self.random_words(planes.size).reshape(planes.shape), count) for _ in range(2))
        c = (u, v, planes ^ u ^ v)
        return [Planes(c[i], c[(i + 1) % COMPUTE_PARTIES], count) for i in range(COMPUTE_PARTIES)]

    def _shares_of(self, argument: object) -> list[Any]:
        """What each compute party gets for one argument of `run`."""
        if isinstance(argument, Bits):
            return self.share_planes(argument.planes(), len(argument.values))
        if isinstance(argument, list) and argument and all(isinstance(item, int) for item in argument):
            return self.share(self.field.from_ints(argument))
        if isinstance(argument, list):
            columns = [self._shares_of(item) for item in argument]
            return [[column[index] for column in columns] for index in range(COMPUTE_PARTIES)]
        return [argument] * COMPUTE_PARTIES

    # ---------------------------------------------------------------------------------------- adversaries

    def corrupt(self, adversary: Adversary) -> Self:
        """Give one role to an adversary in the next sessions."""
        self._adversary = adversary
        return self

    def lie(self, party: int, transport: Callable[[Transport], Transport], verifier: Callable[[], Counting]) -> Self:
        """In the next sessions compute party `party` runs on a transport and with a verifier of its own."""
        self._liar = (party, transport, verifier)
        return self

    def tamper(
        self,
        step: str,
        party: int | Role,
        change: Literal["flip", "add", "drop", "double", "shorten", "lengthen", "overflow"]
        | Callable[[bytes], bytes] = "flip",
        *,
        receiver: Role | None = None,
    ) -> Self:
        """In the next sessions `party` changes what it sends at every step that `step` names.

        Args:
            step: a whole step path, or its last part.
            party: index of a compute party, or any role.
            change: what happens to the message.
            receiver: only messages to this role.
        """
        role = COMPUTE_ROLES[party] if isinstance(party, int) else party
        return self.corrupt(Tamper(role, step, change, receiver))

    # ---------------------------------------------------------------------------------------- sessions

    def session(
        self,
        compute: ComputeProgram,
        inputs: Mapping[int, InputProgram] | None = None,
        analyst: OuterProgram | None = None,
    ) -> dict[Role, object]:
        """Run one session of programs, one coroutine per role; what each honest role returned.

        Raises:
            MpcdError: the cause that an honest role has found (all errors are in `errors`).
            Unmatched: without an adversary, if messages do not match.
        """
        driver = self.lockstep = Lockstep(self._adversary)
        session = SessionId(self.random_bytes(32))
        keys = [self.random_bytes(KEY_BYTES) for _ in range(COMPUTE_PARTIES)]
        parties = {role: PartyId(role.index) for role in COMPUTE_ROLES}
        self.deferred = []
        for index, role in enumerate(COMPUTE_ROLES):
            prss = self._prss(index) if self._prss else Prss(keys[index], keys[(index + 1) % COMPUTE_PARTIES])
            transport: Any = driver.transport(role)
            verifier = self._verifier()
            if self._liar is not None and self._liar[0] == index:
                transport, verifier = self._liar[1](transport), self._liar[2]()
            self.deferred.append(verifier)
            ctx = compute_context(
                index, transport, prss, verifier.security, session=session, parties=parties, verifier=verifier
            )
            driver.add(transport, compute(ctx))
        for index, program in (inputs or {}).items():
            transport = driver.transport(Role("input", index))
            driver.add(transport, program(input_context(index, transport, self.random_bytes, session=session)))
        if analyst is not None:
            transport = driver.transport(ANALYST)
            driver.add(transport, analyst(outer_context(ANALYST, transport, session=session)))
        driver.run()
        self.errors = driver.errors()
        corrupt = self._adversary.role if self._adversary else None
        honest = [error for role, error in self.errors.items() if role != corrupt]
        if honest:
            raise min(honest, key=lambda error: isinstance(error, PeerGone))  # others go because one has aborted
        return {role: value for role, value in driver.results().items() if role != corrupt}

    def run(self, protocol: Callable[..., Awaitable[Any]], *arguments: Any, **public: Any) -> Any:
        """Share the arguments, run a protocol at all compute parties, reconstruct its result.

        Args:
            protocol: called as protocol(ctx, *shares, **public) by each compute party, under its own name.
            *arguments: lists of integers (field), `Bits`, lists of these; anything else is public.
            **public: passed as they are.

        Returns:
            Lists of integers for sharings and for opened vectors, in the protocol's own structure; None where nobody
            learnt anything.

        Raises:
            MpcdError: the cause that an honest party has found.
        """
        shares = [self._shares_of(argument) for argument in arguments]
        name = getattr(protocol, "__name__", "protocol").strip("_")

        async def program(ctx: Context) -> object:
            return await protocol(ctx.narrow(name), *(share[ctx.index] for share in shares), **public)

        results = self.session(program)
        return self._joined({role.index: value for role, value in results.items()})

    def _joined(self, values: dict[int, object]) -> Any:
        """One value from those of the honest parties."""
        first = next(iter(values.values()))
        if isinstance(first, (Replicated, Planes)):
            return self._revealed(values)
        if isinstance(first, (tuple, list)):
            length = len(first)
            joined = [self._joined({i: v[place] for i, v in values.items()}) for place in range(length)]  # type: ignore[index]
            return type(first)(joined)
        if isinstance(first, bytes):
            return list(values.values())
        learnt = [value for value in values.values() if value is not None]
        for value in learnt:
            assert np.array_equal(value, learnt[0]), "honest parties learnt different values"  # type: ignore[arg-type]
        if not learnt:
            return None
        if isinstance(learnt[0], np.ndarray):
            return self.field.to_ints(learnt[0]) if learnt[0].shape[1:] == self.field.zeros(1).shape[1:] else learnt[0]
        return learnt[0]

    def _revealed(self, values: dict[int, Any]) -> list[int]:
        trusted = sorted(values)
        vector = reconstruct(values, trusted)
        first = values[trusted[0]]
        return ints_of(vector, first.count) if isinstance(first, Planes) else first.field.to_ints(vector)

    # ---------------------------------------------------------------------------------------- what was counted

    def counted(self) -> Cost:
        """Rounds, bytes and unverified relations of the last session."""
        driver = self.lockstep
        p0, p1, p2 = (driver.bytes_sent(role) for role in COMPUTE_ROLES)
        owners = {message.sender for message in driver.transcript if message.sender.kind == "input"}
        sent = {driver.bytes_sent(role) for role in owners}
        assert len(sent) <= 1, "input parties sent different amounts"
        verifier = self.deferred[0]
        return Cost(driver.rounds, (p0, p1, p2), max(sent, default=0), verifier.products, verifier.ands)

    def messages(self, step: str) -> list[Message]:
        """The last session's messages at a step, by whole path or last part."""
        return [m for m in self.lockstep.transcript if m.step == step or m.step.endswith(f"/{step}")]


def opened(protocol: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Vector]]:
    """The protocol followed by an opening of its result to all compute parties, at the step "open"."""
    from mpcd.protocols.opening import open_all  # noqa: PLC0415  # the world itself opens nothing

    async def program(ctx: Context, *shares: Any, **public: Any) -> Vector:
        result = await protocol(ctx.narrow(getattr(protocol, "__name__", "protocol")), *shares, **public)
        return await open_all(ctx.narrow("open"), result)

    return program


__all__ = ["ANALYST", "Bits", "World", "ints_of", "opened", "planes_of", "reconstruct"]
