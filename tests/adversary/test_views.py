"""What a party sees does not depend on the others' secrets: every random choice of a toy field, enumerated.

All combinations of random choices stand side by side in one vector: element e of every stream is a digit of e.  One
lock-step run then yields the complete view of each party (its shares, its two PRSS streams, every message that it
receives) under every choice, and the *exact distribution* of the view is the multiset of its columns.  For two
different secrets of the others it must be the same multiset, not a close one.  The last tests leave a mask out, and the
same comparison must then fail: it can.

Left out of the views, since they are functions of what is in them: hashes of components (of a component that the
receiver gets as a value in the same exchange), and seeds, which stand for the digits that they expand to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpcd.field import Field, Vector, bits
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols import inputs
from mpcd.protocols.binary import and_
from mpcd.protocols.context import Context, InputContext
from mpcd.protocols.convert import bit_to_field
from mpcd.protocols.inputs import BitsInput, FieldInput
from mpcd.protocols.multiply import inner_product, mul
from mpcd.protocols.opening import open_all
from mpcd.protocols.prss import Prss, Stream
from mpcd.protocols.spec import BitsSpec, Spec
from mpcd.sharing import Planes, Replicated
from mpcd.sharing.planes import mask_in_place
from mpcd.testing.lockstep import Message
from mpcd.testing.toy import ToyField
from mpcd.testing.world import World, ints_of, planes_of

Column = NDArray[np.int64]
Name = tuple[str, int] | tuple[int, str]
"""A secret's component, or a key's stream at a step."""
PRIME = 3
WIDER = 5


class Choices:
    """All combinations of independent random digits, one combination per element; two passes: count, then enumerate."""

    def __init__(self, radices: list[int] | None = None) -> None:
        self.radices: list[int] = []
        self.total = int(np.prod(radices)) if radices else 64
        self.counting = radices is None
        self.columns: dict[Name, list[Column]] = {}

    def digits(self, name: Name, radix: int, count: int = 1) -> list[Column]:
        """`count` columns of digits below `radix`; the same name gives the same columns."""
        if name not in self.columns:
            columns = []
            for _ in range(count):
                stride = 1 if self.counting else int(np.prod(self.radices, dtype=np.int64))
                self.radices.append(radix)
                columns.append(np.arange(self.total) // stride % radix)
            self.columns[name] = columns
        return self.columns[name]


def packed(columns: list[Column]) -> Vector:
    """0/1 columns as bit planes."""
    return np.concatenate([bits.to_planes(column.astype(np.uint64), 1) for column in columns])


class EnumeratedStream(Stream):
    """Words that are the digits of one key at one step: field elements by value, or bit planes."""

    __slots__ = ("choices", "field", "name", "place", "silent")

    def __init__(self, choices: Choices, name: Name, field: Field, silent: bool) -> None:
        self.choices, self.name, self.field, self.silent = choices, name, field, silent
        self.place = 0

    def fill(self, out: Vector) -> None:
        words = -(-self.choices.total // 64)
        if out.size % words == 0 and out.size < self.choices.total:
            rows = self.choices.digits(self.name, 2, out.size // words)
            out[:] = packed(rows).reshape(-1)
        else:
            (column,) = self.choices.digits(self.name, self.field.modulus)
            out[:] = column[self.place : self.place + out.size].astype(np.uint64)
            self.place += out.size
        if self.silent:
            out[:] = 0


class EnumeratedPrss(Prss):
    """Key i's stream at a step is the enumeration's; `silent` keys give zero: a protocol that leaves a mask out."""

    def __init__(self, choices: Choices, index: int, field: Field, silent: frozenset[int]) -> None:
        super().__init__(bytes(32), bytes(32))
        self.choices, self.index, self.field, self.silent = choices, index, field, silent

    def open(self, which: int, step: str, attempt: int = 0) -> Stream:
        assert attempt == 0
        key = (self.index + which) % 3
        return EnumeratedStream(self.choices, (key, step), self.field, key in self.silent)


class Run:
    """One pass: shares the secrets with enumerated randomness, runs a program, collects the views."""

    def __init__(self, field: Field, choices: Choices, silent: frozenset[int] = frozenset()) -> None:
        self.field = field
        self.choices = choices
        self.silent = silent
        self.views: list[list[Column]] = [[], [], []]

    def share(self, name: str, secret: int) -> list[Replicated]:
        """The same secret in every element, shared by every choice of its first two components."""
        m, total = self.field.modulus, self.choices.total
        u, v = (self.choices.digits((name, k), m)[0] for k in range(2))
        parts = [u, v, (secret - u - v) % m]
        vectors = [part.astype(np.uint64) for part in parts]
        for i in range(3):
            self.views[i] += [parts[i], parts[(i + 1) % 3]]
        assert all(len(vector) == total for vector in vectors)
        return [Replicated(self.field, vectors[i], vectors[(i + 1) % 3]) for i in range(3)]

    def share_bit(self, name: str, secret: int) -> list[Planes]:
        """The same for one bit."""
        u, v = (self.choices.digits((name, k), 2)[0] for k in range(2))
        parts = [u, v, secret ^ u ^ v]
        planes = [packed([part]) for part in parts]
        for i in range(3):
            self.views[i] += [parts[i], parts[(i + 1) % 3]]
        return [Planes(planes[i], planes[(i + 1) % 3], self.choices.total) for i in range(3)]

    def execute(self, program: Callable[[Context], Coroutine[Any, Any, object]]) -> None:
        """Run at all compute parties and add streams and messages to the views."""
        world = World(1, self.field, prss=lambda i: EnumeratedPrss(self.choices, i, self.field, self.silent))
        world.session(program)
        for name, columns in self.choices.columns.items():
            key = name[0]
            if isinstance(key, int) and key not in self.silent:
                for i in (key, (key - 1) % 3):
                    self.views[i] += columns
        self.see(world.lockstep.transcript)

    def see(self, transcript: list[Message]) -> None:
        """Messages as columns; those that are no vector over the enumeration are left out (see above)."""
        total = self.choices.total
        words = -(-total // 64)
        for message in transcript:
            if message.receiver.kind != "compute":
                continue
            view = self.views[message.receiver.index]
            array = np.frombuffer(message.payload, dtype=np.uint64)
            if len(array) == total:
                view.append(array.astype(np.int64))
            elif len(array) % words == 0 and len(message.payload) != 32:
                planes = array.reshape(-1, words)
                view += [bits.from_planes(plane[None], total).astype(np.int64) for plane in planes]

    def distribution(self, party: int) -> Counter[bytes]:
        """How often each complete view occurs."""
        table = np.ascontiguousarray(np.stack(self.views[party], axis=1).astype(np.uint8))
        return Counter(table.view(f"S{table.shape[1]}").reshape(-1).tolist())


Body = Callable[[Run, tuple[int, ...]], None]


def views(
    body: Body, field: Field, secrets: tuple[int, ...], silent: frozenset[int] = frozenset()
) -> list[Counter[bytes]]:
    """The exact distribution of each party's view."""
    first = Run(field, Choices(), silent)
    body(first, secrets)
    run = Run(field, Choices(first.choices.radices), silent)
    body(run, secrets)
    assert run.choices.radices == first.choices.radices
    return [run.distribution(party) for party in range(3)]


# ------------------------------------------------------------------------------------------------ the protocols


def body_mul(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share("x", secrets[0]), run.share("y", secrets[1])
    run.execute(lambda ctx: mul(ctx.narrow("m"), x[ctx.index], y[ctx.index]))


def body_inner(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share("x", secrets[0]), run.share("y", secrets[1])
    run.execute(lambda ctx: inner_product(ctx.narrow("m"), x[ctx.index], y[ctx.index], 1))


def body_and(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share_bit("x", secrets[0]), run.share_bit("y", secrets[1])
    run.execute(lambda ctx: and_(ctx.narrow("m"), x[ctx.index], y[ctx.index]))


def body_bit_to_field(run: Run, secrets: tuple[int, ...]) -> None:
    x = run.share_bit("x", secrets[0])
    run.execute(lambda ctx: bit_to_field(ctx.narrow("b"), x[ctx.index], run.field))


def body_open_product(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share("x", secrets[0]), run.share("y", secrets[1])

    async def program(ctx: Context) -> None:
        z = await mul(ctx.narrow("m"), x[ctx.index], y[ctx.index])
        await open_all(ctx.narrow("open"), z)

    run.execute(program)


def body_open_and(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share_bit("x", secrets[0]), run.share_bit("y", secrets[1])

    async def program(ctx: Context) -> None:
        z = await and_(ctx.narrow("m"), x[ctx.index], y[ctx.index])
        await open_all(ctx.narrow("open"), z)

    run.execute(program)


def body_open_sum(run: Run, secrets: tuple[int, ...]) -> None:
    x, y = run.share("x", secrets[0]), run.share("y", secrets[1])
    run.execute(lambda ctx: open_all(ctx.narrow("open"), x[ctx.index] + y[ctx.index]))


EQUAL: list[tuple[str, Body, int, tuple[int, ...], tuple[int, ...]]] = [
    ("mul", body_mul, PRIME, (0, 0), (1, 2)),
    ("mul over F_5", body_mul, WIDER, (4, 0), (2, 3)),
    ("inner product", body_inner, PRIME, (0, 2), (1, 1)),
    ("and", body_and, PRIME, (0, 0), (1, 1)),
    ("and, one operand", body_and, PRIME, (0, 1), (1, 1)),
    ("bit to field", body_bit_to_field, PRIME, (0,), (1,)),
    ("bit to F_5", body_bit_to_field, WIDER, (0,), (1,)),
    ("opening equal products", body_open_product, WIDER, (1, 4), (2, 2)),
    ("opening zero products", body_open_product, PRIME, (0, 2), (1, 0)),
    ("opening equal ANDs", body_open_and, PRIME, (0, 1), (1, 0)),
    ("opening equal sums", body_open_sum, WIDER, (1, 4), (2, 3)),
]


@pytest.mark.parametrize(
    ("body", "prime", "one", "other"), [case[1:] for case in EQUAL], ids=[case[0] for case in EQUAL]
)
def test_views_are_equally_distributed(body: Body, prime: int, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    field = ToyField(prime)
    assert views(body, field, one) == views(body, field, other)


BROKEN: list[tuple[str, Body, tuple[int, ...], tuple[int, ...]]] = [
    ("mul", body_mul, (0, 0), (1, 2)),
    ("and", body_and, (0, 0), (1, 1)),
    ("bit to field", body_bit_to_field, (0,), (1,)),
    ("opening equal products", body_open_product, (0, 2), (1, 0)),
]


@pytest.mark.parametrize(("body", "one", "other"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_protocol_without_its_masks_is_found_out(body: Body, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    field = ToyField(PRIME)
    silent = frozenset({0, 1, 2})
    assert views(body, field, one, silent) != views(body, field, other, silent)


@pytest.mark.parametrize("key", range(3))
def test_a_single_missing_stream_is_found_out(key: int) -> None:
    """P_i's message hides behind the stream that its receiver does not know; without that one the receiver learns."""
    field = ToyField(PRIME)
    one, other = (views(body_mul, field, secrets, frozenset({key})) for secrets in ((0, 0), (1, 2)))
    # Stream k is the one of P_k's two that P_{k+1}, ... the receiver of P_{k-1}'s message, P_{k-2} = P_{k+1}, lacks.
    assert [a != b for a, b in zip(one, other, strict=True)] == [party == (key + 1) % 3 for party in range(3)]


def test_opening_different_values_is_told_apart() -> None:
    field = ToyField(PRIME)
    assert views(body_open_sum, field, (1, 1), frozenset()) != views(body_open_sum, field, (1, 2), frozenset())


# ------------------------------------------------------------------------------------------------ inputs


def input_views(
    monkeypatch: pytest.MonkeyPatch, secret: int, *, bit: bool, masked: bool = True
) -> list[Counter[bytes]]:
    """Views of the real `provide` and `receive`, with the seeds' expansions enumerated."""
    field = ToyField(WIDER)
    radix = 2 if bit else WIDER
    choices = Choices([radix, radix])
    names: dict[bytes, int] = {}

    def enumerated(seed: bytes, item: int, spec: Spec) -> Vector:
        assert item == 0
        (column,) = choices.digits(("seed", names.setdefault(seed, len(names))), radix)
        column = column if masked else column * 0
        return mask_in_place(packed([column]), spec.count) if isinstance(spec, BitsSpec) else column.astype(np.uint64)

    monkeypatch.setattr(inputs, "expand", enumerated)
    run = Run(field, choices)
    item: FieldInput | BitsInput
    if bit:
        item = BitsInput(planes_of([secret] * choices.total, 1), choices.total)
    else:
        item = FieldInput(field, field.from_ints([secret] * choices.total))
    owner = Role("input", 0)
    received: dict[int, Replicated | Planes] = {}

    async def compute(ctx: Context) -> None:
        received[ctx.index] = (await inputs.receive(ctx.narrow("in"), [owner], [item.spec]))[owner][0]

    async def give(ctx: InputContext) -> None:
        await inputs.provide(ctx.narrow("in"), [item])

    World(1, field).session(compute, {0: give})
    for role in COMPUTE_ROLES:
        share = received[role.index]
        for part in (share.a, share.b):
            values = ints_of(part, choices.total) if isinstance(share, Planes) else part.tolist()
            run.views[role.index].append(np.array(values))
    return [run.distribution(party) for party in range(3)]


@pytest.mark.parametrize("bit", [False, True], ids=["field", "bit"])
def test_a_holders_view_of_an_input_is_uniform(monkeypatch: pytest.MonkeyPatch, bit: bool) -> None:
    one, other = (input_views(monkeypatch, secret, bit=bit) for secret in (0, 1))
    assert one == other
    for distribution in one:
        assert len(distribution) == (4 if bit else WIDER**2)
        assert set(distribution.values()) == {1}


@pytest.mark.parametrize("bit", [False, True], ids=["field", "bit"])
def test_an_input_without_masks_is_found_out(monkeypatch: pytest.MonkeyPatch, bit: bool) -> None:
    assert input_views(monkeypatch, 0, bit=bit, masked=False) != input_views(monkeypatch, 1, bit=bit, masked=False)
