"""The same protocol text under trio: three tasks, memory channels, kernels in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, TypeVarTuple

import trio

from mpcd.field import FP, Buffer, Vector
from mpcd.ids import COMPUTE_ROLES, Role, SessionId, Step
from mpcd.protocols.context import Context, compute_context
from mpcd.protocols.convert import number_to_field, to_bits
from mpcd.protocols.multiply import mul
from mpcd.protocols.opening import open_all
from mpcd.protocols.prss import Prss
from mpcd.sharing import Replicated
from mpcd.testing.world import World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Message = tuple[Step, bytes]


class MemoryTransport:
    """One role's memory channels to and from each other role."""

    def __init__(
        self,
        outgoing: dict[Role, trio.MemorySendChannel[Message]],
        incoming: dict[Role, trio.MemoryReceiveChannel[Message]],
    ) -> None:
        self.outgoing = outgoing
        self.incoming = incoming

    async def exchange(self, step: Step, send: Mapping[Role, Buffer], expect: Mapping[Role, int]) -> dict[Role, Buffer]:
        for role, payload in send.items():
            await self.outgoing[role].send((step, bytes(payload)))
        received: dict[Role, Buffer] = {}
        for role in expect:
            sent_step, payload = await self.incoming[role].receive()
            assert sent_step == step
            received[role] = payload
        return received

    async def compute(self, kernel: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(kernel, *args)


async def program(ctx: Context, x: Replicated, y: Replicated) -> Vector:
    product = await mul(ctx.narrow("product"), x, y)
    bits = await to_bits(ctx.narrow("bits"), product, 20)
    again = await number_to_field(ctx.narrow("again"), bits, FP)
    return await open_all(ctx.narrow("open"), again)


async def test_a_program_runs_unchanged() -> None:
    world = World(5)
    x, y = world.share(FP.from_ints([6, 700, 1023])), world.share(FP.from_ints([5, 800, 1023]))
    keys = [world.random_bytes(32) for _ in range(3)]
    session = SessionId(world.random_bytes(32))
    channels = {(a, b): trio.open_memory_channel[Message](8) for a in COMPUTE_ROLES for b in COMPUTE_ROLES if a != b}
    results: dict[int, list[int]] = {}

    async def party(index: int) -> None:
        role = COMPUTE_ROLES[index]
        others = [other for other in COMPUTE_ROLES if other != role]
        transport = MemoryTransport(
            {other: channels[role, other][0] for other in others}, {other: channels[other, role][1] for other in others}
        )
        ctx = compute_context(index, transport, Prss(keys[index], keys[(index + 1) % 3]), session=session)
        results[index] = FP.to_ints(await program(ctx.narrow("program"), x[index], y[index]))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for index in range(3):
                nursery.start_soon(party, index)
    assert sorted(results) == [0, 1, 2]
    assert all(values == [30, 560_000, 1023 * 1023] for values in results.values())
