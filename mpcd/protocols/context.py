"""What a protocol sees of the world: role, step, one round of messages, kernels, shared randomness, verification.

A `Context` belongs to one role of one session and to one *step*, the path of a protocol call.  `narrow(name)` gives a
sub-protocol a context of its own; each path exists once, exchanges at most once and draws shared randomness at most
once, which is enforced also under `python -O`, since a mask that is used twice opens what it hides.

A shell supplies the `Transport`: `net` under trio, `testing.lockstep` in one process without an event loop.  Compute
parties have a `Context`; input parties and the analyst an `OuterContext`, which can send and receive but has no shares,
no shared randomness and no verification.

After any failed check, lost peer, malformed message or cancelled round the whole session's context is dead: nothing
more is sent, so nothing more can open, and the shared randomness is burned.  Its owner burns it too when the session
has ended well (`finish`).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, Protocol, TypeVar, TypeVarTuple

import numpy as np

from mpcd import limits
from mpcd.errors import Bug, CheatDetected, MpcdError, PeerMalformed, SessionFault
from mpcd.field import Buffer, Field, Vector, bits
from mpcd.ids import COMPUTE_PARTIES, COMPUTE_ROLES, PartyId, Role, SessionId, Step
from mpcd.protocols.prss import Prss
from mpcd.protocols.verify import Relation, Security, SemiHonest, Verifier
from mpcd.sharing import Planes, Replicated
from mpcd.sharing.planes import is_masked, mask_in_place

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HASH_BYTES: Final = 32
SESSION_BYTES: Final = 32
Entropy = Callable[[int], bytes]
"""Fresh bytes from the operating system, injected: the core draws none itself."""
MaskedKernel = Callable[[tuple[Vector, ...], Vector, Vector, slice], tuple[Vector, int]]

_MASK_BLOCK_WORDS: Final = 2**16
"""Masks are made and used in blocks that stay in the second cache."""
_HASH_PREFIX: Final = b"mpcd:\x08compared"


class Transport(Protocol):
    """One role's way to the other roles of a session."""

    async def exchange(
        self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]
    ) -> Mapping[Role, Buffer]:
        """One round: send each buffer, wait for each expected message of exactly so many bytes.

        Sent buffers stay unchanged for the rest of the session; received ones belong to the caller.

        Raises:
            PeerGone: a message did not come before the round's or the session's deadline, or its channel was lost.
            PeerMalformed: a message has another length, comes twice, or belongs to a step that expects none from there.
        """

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a kernel that releases the GIL: at once, or in a worker thread when it is large."""


class _Session:
    """What all contexts of one role in one session share."""

    __slots__ = (
        "bytes_sent",
        "failure",
        "parties",
        "prss",
        "role",
        "rounds",
        "session",
        "steps",
        "transport",
        "verifications",
        "verifier",
    )

    def __init__(
        self,
        role: Role,
        transport: Transport,
        session: SessionId,
        parties: Mapping[Role, PartyId],
        prss: Prss | None,
        verifier: Verifier | None,
    ) -> None:
        if len(session) != SESSION_BYTES:
            raise Bug(f"a session id has {SESSION_BYTES} bytes")
        self.role = role
        self.transport = transport
        self.session = session
        self.parties = parties
        self.prss = prss
        self.verifier = verifier
        self.steps: set[str] = set()
        self.rounds = 0
        self.bytes_sent = 0
        self.verifications = 0
        self.failure: MpcdError | None = None

    def check(self) -> None:
        """Raise the error that ended the session, if it has ended."""
        if self.failure is not None:
            raise self.failure

    def end(self, error: MpcdError) -> MpcdError:
        """End the session for good: nothing is sent any more, and its randomness is burned."""
        if self.failure is None:
            self.failure = error
            if self.prss is not None:
                self.prss.burn()
        return error


class OuterContext:
    """The part of a context that every role has: steps, rounds, comparison of hashes."""

    __slots__ = ("_exchanged", "_shared", "step")

    def __init__(self, shared: _Session, step: str) -> None:
        self._shared = shared
        self.step: Final = step
        self._exchanged = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shared.role} at {self.step or 'the root'}>"

    @property
    def role(self) -> Role:
        """Who we are."""
        return self._shared.role

    @property
    def session(self) -> SessionId:
        """Bound into every hash that is compared."""
        return self._shared.session

    @property
    def rounds(self) -> int:
        """Exchanges of this role in this session so far."""
        return self._shared.rounds

    @property
    def bytes_sent(self) -> int:
        """Payload bytes that this role has sent so far."""
        return self._shared.bytes_sent

    def _enter(self, name: str) -> str:
        """The path of a new step below this one; a path is entered once."""
        path = f"{self.step}/{name}" if self.step else name
        steps = self._shared.steps
        if not name or "/" in name or path in steps:
            raise Bug(f"step {path!r} is not a new one")
        if len(path) > limits.STEP_BYTES_MAX or len(steps) >= limits.STEPS_PER_SESSION_MAX:
            raise Bug(f"step {path!r} breaks the limits of a session")
        steps.add(path)
        return path

    async def exchange(self, send: Mapping[Role, Buffer], expect: Mapping[Role, int]) -> Mapping[Role, Buffer]:
        """One round at this step: send buffers to roles, receive messages of known sizes; once per step.

        Raises:
            PeerGone, PeerMalformed: as the transport says; the session is dead afterwards.
        """
        shared = self._shared
        if self._exchanged or not self.step:
            raise Bug(f"step {self.step!r} exchanges twice, or has no name")
        shared.check()
        self._exchanged = True
        shared.rounds += 1
        for buffer in send.values():
            shared.bytes_sent += len(buffer)
        try:
            received = await shared.transport.exchange(Step(self.step), send, expect)
        except MpcdError as error:
            shared.end(error)
            raise
        except BaseException:
            # Cancelled, say: whether our messages are out is unknown, so this step cannot be taken again.
            shared.end(SessionFault(f"the round at step {self.step} was broken off; the session was aborted"))
            raise
        for role, size in expect.items():
            if len(received[role]) != size:
                self.fail_malformed(role, f"{len(received[role])} bytes where {size} were due")
        return received

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a kernel; where is the transport's choice."""
        return await self._shared.transport.compute(kernel, *args)

    def party(self, role: Role) -> PartyId | None:
        """Who plays `role`, if the shell has said so."""
        return self._shared.parties.get(role)

    def fail_malformed(self, role: Role, what: str) -> NoReturn:
        """End the session: `role` has sent what no honest party sends."""
        error = PeerMalformed(self.party(role), f"{role} sent {what} at step {self.step}; the session was aborted")
        raise self._shared.end(error)

    def fail_cheat(self, what: str) -> NoReturn:
        """End the session: two parties disagree about what both must know."""
        error = CheatDetected(
            None, f"{what} at step {self.step}; the session was aborted and nothing was opened from it"
        )
        raise self._shared.end(error)

    def hash_of(self, component: int, *buffers: Buffer) -> bytes:
        """What two holders of a component compare: SHA-256 of session, step, component, lengths and canonical bytes."""
        step = self.step.encode()
        digest = hashlib.sha256(_HASH_PREFIX + self._shared.session + struct.pack("<BB", component, len(step)) + step)
        for buffer in buffers:
            digest.update(struct.pack("<Q", len(buffer)))
            digest.update(buffer)
        return digest.digest()

    def compare(self, ours: bytes, theirs: Buffer, what: str) -> None:
        """Abort unless two hashes agree."""
        if not hmac.compare_digest(ours, theirs):
            self.fail_cheat(what)

    def decode_field(self, field: Field, sender: Role, buffer: Buffer, count: int) -> Vector:
        """Received elements, without a copy where alignment allows; a non-canonical one aborts."""
        words = np.frombuffer(buffer, dtype="<u8")
        if not words.flags.aligned:
            words = words.copy()
        elements = words if field.words_per_element == 1 else words.reshape(count, field.words_per_element)
        if not field.is_canonical(elements):
            self.fail_malformed(sender, "an element outside the field")
        return elements

    def decode_planes(self, sender: Role, buffer: Buffer, shape: tuple[int, int], count: int) -> Vector:
        """Received planes; a bit that belongs to no element aborts."""
        planes = np.frombuffer(buffer, dtype="<u8").reshape(shape)
        if not is_masked(planes, count):
            self.fail_malformed(sender, "bits beyond the last element")
        return planes if planes.flags.aligned else planes.copy()

    def narrow(self, name: str) -> OuterContext:
        """The context of a call below this one."""
        return OuterContext(self._shared, self._enter(name))


HandIn = Callable[[Planes, Planes], Awaitable[Planes]]
"""Takes the operands of an AND and gives its result."""


class Context(OuterContext):
    """A compute party's context: `index` i of P_i, its two neighbours, shared randomness, and the verification."""

    __slots__ = ("_prss", "hand_in", "index", "next", "previous")

    def __init__(self, shared: _Session, step: str, hand_in: HandIn | None = None) -> None:
        super().__init__(shared, step)
        self.hand_in: Final = hand_in
        """Who takes this context's ANDs instead of the network, see `protocols.abreast`; None: nobody."""
        assert shared.prss is not None
        index = shared.role.index
        self.index: Final = index
        self.next: Final = COMPUTE_ROLES[(index + 1) % COMPUTE_PARTIES]
        self.previous: Final = COMPUTE_ROLES[(index + 2) % COMPUTE_PARTIES]
        self._prss: Final = shared.prss

    def narrow(self, name: str) -> Context:
        """The context of a call below this one; a name is used once here."""
        return Context(self._shared, self._enter(name), self.hand_in)

    def branch(self, name: str, hand_in: HandIn) -> Context:
        """As `narrow`, for a call whose ANDs somebody else sends together with those of others."""
        return Context(self._shared, self._enter(name), hand_in)

    def finish(self) -> None:
        """The session's work is done: nothing is sent or drawn any more, and its randomness is burned."""
        self._shared.end(Bug("a step of a session that is finished"))

    # ---------------------------------------------------------------------------------------- shared randomness

    def _claim(self) -> None:
        """This step draws now, for the first and only time."""
        self._shared.check()
        self._prss.claim(self.step)

    async def masked(
        self, field: Field, count: int, kernel: MaskedKernel, operands: tuple[Vector, ...], *, blocks: bool
    ) -> Vector:
        """Run a kernel over `count` results with fresh masks.

        The kernel takes the operands, words of k_i and of k_{i+1}, and the slice of results that they mask; it returns
        its vector and how many masks it had to replace.  With `blocks` it is called for consecutive slices and writes
        its own output; without, once for all.
        """
        self._claim()
        return await self.compute(_run_masked, self._prss, self.step, field, count, kernel, blocks, operands)

    async def and_masked(self, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> Vector:
        """Our freshly masked summand of an AND of planes; every word is a mask, none is excluded."""
        self._claim()
        return await self.compute(_run_and_masked, self._prss, self.step, x0, x1, y0, y1)

    async def random(self, field: Field, count: int) -> Replicated:
        """A sharing of `count` uniform elements that nobody knows; no message."""
        self._claim()
        words = np.empty(count * field.words_per_element, dtype=np.uint64)
        a, b = await self.compute(_random_elements, self._prss, self.step, field, words)
        return Replicated(field, a, b)

    async def random_planes(self, width: int, count: int) -> Planes:
        """A sharing of uniform bit strings that nobody knows; no message."""
        self._claim()
        shape = (width, bits.words_for(count))
        a, b = np.empty(shape, dtype=np.uint64), np.empty(shape, dtype=np.uint64)
        await self.compute(_random_words, self._prss, self.step, a, b)
        return Planes(mask_in_place(a, count), mask_in_place(b, count), count)

    # ---------------------------------------------------------------------------------------- verification

    @property
    def security(self) -> Security:
        """What `verify` is worth in this session."""
        return self.verifier.security

    @property
    def verifier(self) -> Verifier:
        """The session's batch verification."""
        assert self._shared.verifier is not None
        return self._shared.verifier

    async def defer_check(self, relation: Relation, x: Replicated, y: Replicated, z: Replicated) -> Replicated:
        """Record that z must be the product of x and y; proved before anything opens.  Returns z."""
        await self.verifier.defer(self, relation, x, y, z)
        return z

    async def defer_check_and(self, x: Planes, y: Planes, z: Planes) -> Planes:
        """Record that z must be x AND y; proved before anything opens.  Returns z."""
        await self.verifier.defer_and(self, x, y, z)
        return z

    async def verify(self) -> None:
        """Prove all that was recorded; every opening awaits this first.

        Raises:
            CheatDetected: some product is not what it should be; nothing was opened.
        """
        shared = self._shared
        shared.check()
        shared.verifications += 1
        try:
            await self.verifier.verify(self)
        except MpcdError as error:
            shared.end(error)
            raise


def compute_context(
    index: int,
    transport: Transport,
    prss: Prss,
    security: Security = "malicious",
    *,
    session: SessionId,
    parties: Mapping[Role, PartyId] | None = None,
    verifier: Verifier | None = None,
) -> Context:
    """The root context of compute party `index`; narrow it once per protocol call.

    Args:
        index: i of P_i.
        transport: this role's links in this session.
        prss: built from keys that are fresh in this session.
        security: what every party has agreed on for this session.
        session: 32 bytes, derived by all parties.
        parties: who plays which role, so that faults can name them.
        verifier: proves the batches; by default the one that `security` stands for.
    """
    if verifier is None:
        verifier = _verifier(security)
    if verifier.security != security:
        raise Bug(f"a verifier for {verifier.security} security cannot stand for {security}")
    return Context(_Session(COMPUTE_ROLES[index], transport, session, parties or {}, prss, verifier), "")


def _verifier(security: Security) -> Verifier:
    if security == "semi-honest":
        return SemiHonest()
    from mpcd.protocols.verify_batch import Malicious  # noqa: PLC0415  # which speaks through contexts

    return Malicious()


def outer_context(
    role: Role, transport: Transport, *, session: SessionId, parties: Mapping[Role, PartyId] | None = None
) -> OuterContext:
    """The root context of a role that only receives, the analyst."""
    return OuterContext(_Session(role, transport, session, parties or {}, None, None), "")


class InputContext(OuterContext):
    """An input party's context: it alone needs entropy of its own."""

    __slots__ = ("entropy",)

    def __init__(self, shared: _Session, step: str, entropy: Entropy) -> None:
        super().__init__(shared, step)
        self.entropy: Final = entropy

    def narrow(self, name: str) -> InputContext:
        """The context of a call below this one."""
        return InputContext(self._shared, self._enter(name), self.entropy)


def input_context(
    index: int,
    transport: Transport,
    entropy: Entropy,
    *,
    session: SessionId,
    parties: Mapping[Role, PartyId] | None = None,
) -> InputContext:
    """The root context of input party `index`."""
    return InputContext(_Session(Role("input", index), transport, session, parties or {}, None, None), "", entropy)


# ------------------------------------------------------------------------------------------------ kernels, off the loop


# Vectors are passed as arguments of their own, so that a transport can tell a large kernel from a small one.


def _run_masked(
    prss: Prss,
    step: str,
    field: Field,
    count: int,
    kernel: MaskedKernel,
    blocks: bool,
    operands: tuple[Vector, ...],
) -> Vector:
    """The kernel's result with uniform masks; redrawn until no word of either stream is the excluded one."""
    per = field.words_per_element
    size = count * per
    block = min(size, _MASK_BLOCK_WORDS) if blocks else size
    attempts = [0, 0]
    while True:
        own, after = (prss.open(which, step, attempts[which]) for which in (0, 1))
        buffer_own, buffer_after = prss.scratch(block)
        result = field.zeros(0)
        replaced = 0
        for start in range(0, size, block):
            stop = min(start + block, size)
            k0, k1 = buffer_own[: stop - start], buffer_after[: stop - start]
            own.fill(k0)
            after.fill(k1)
            result, bad = kernel(operands, k0, k1, slice(start // per, stop // per))
            replaced += bad
        if not replaced:
            return result
        words = np.empty(size, dtype=np.uint64)
        attempts = [_settled_attempt(prss, which, step, field, words, attempts[which]) for which in (0, 1)]


def _settled_attempt(prss: Prss, which: int, step: str, field: Field, words: Vector, attempt: int) -> int:
    """The first attempt from `attempt` on in which one stream has no excluded word; both its holders find the same.

    `words` is filled with the stream's words of that attempt.
    """
    while True:
        prss.open(which, step, attempt).fill(words)
        if not field.sample(words)[1]:
            return attempt
        attempt += 1


def _run_and_masked(prss: Prss, step: str, x0: Vector, x1: Vector, y0: Vector, y1: Vector) -> Vector:
    size = x0.size
    own, after = prss.open(0, step), prss.open(1, step)
    if size <= _MASK_BLOCK_WORDS:
        k0, k1 = prss.scratch(size)
        own.fill(k0)
        after.fill(k1)
        return bits.and_masked(x0, x1, y0, y1, k0, k1)
    out = np.empty(size, dtype=np.uint64)
    u0, u1, v0, v1 = x0.reshape(-1), x1.reshape(-1), y0.reshape(-1), y1.reshape(-1)
    for start in range(0, size, _MASK_BLOCK_WORDS):
        part = slice(start, min(start + _MASK_BLOCK_WORDS, size))
        k0, k1 = prss.scratch(part.stop - start)
        own.fill(k0)
        after.fill(k1)
        bits.and_masked(u0[part], u1[part], v0[part], v1[part], k0, k1, out[part])
    return out.reshape(x0.shape)


def _random_elements(prss: Prss, step: str, field: Field, words: Vector) -> tuple[Vector, Vector]:
    _settled_attempt(prss, 0, step, field, words, 0)
    own = field.sample(words)[0]
    _settled_attempt(prss, 1, step, field, words, 0)
    return own, field.sample(words)[0]


def _random_words(prss: Prss, step: str, a: Vector, b: Vector) -> None:
    prss.open(0, step).fill(a.reshape(-1))
    prss.open(1, step).fill(b.reshape(-1))
