"""Who gets a channel, and that all others get the same silence on the wire and a clear line in the log."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from mpcd import limits, noise
from mpcd.ids import PartyId, RosterHash
from mpcd.net import Pace
from mpcd.net.hello import Hello
from mpcd.net.pacing import HalfOpen
from mpcd.wire import prologue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.net.conftest import Middle, Network

PACE = Pace(
    handshake_seconds=0.6,
    reconnect_first_seconds=0.01,
    reconnect_seconds_max=0.05,
    second_dialler_seconds=0.02,
    tick_seconds=0.02,
)


def private(party: int) -> bytes:
    return bytes([party + 1]) * 32


def public(party: int) -> bytes:
    return noise.KeyPair(private(party)).public


class Caller:
    """Dials party 0 as an attacker would, with whatever it knows, and notes what it gets."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.began = trio.current_time()

    @staticmethod
    async def dial(address: tuple[str, int]) -> Caller:
        return Caller(await trio.open_tcp_stream(*address))

    def state(
        self,
        *,
        key: bytes | None = None,
        psk: bytes = noise.NO_PSK,
        consortium: str = "consortium",
        callee: bytes | None = None,
        responder: int = 0,
    ) -> noise.HandshakeState:
        return noise.HandshakeState(
            noise.SUITE,
            initiator=True,
            entropy=os.urandom,
            prologue=prologue(consortium=consortium, suite=noise.SUITE, responder=PartyId(responder)),
            s=key or private(1),
            rs=callee or public(0),
            psk=psk,
        )

    async def send(self, message: bytes, length: int | None = None) -> None:
        await self.stream.send_all((len(message) if length is None else length).to_bytes(2, "big") + message)

    async def message_2(self, state: noise.HandshakeState) -> None:
        await self.send(state.write_message(b""))
        data = b""
        size = 2 + state.message_overhead_bytes()
        while len(data) < size:
            piece = await self.stream.receive_some(size - len(data))
            assert piece, "closed before message 2"
            data += piece
        state.read_message(data[2:])

    async def silence(self) -> tuple[bytes, bool, float]:
        """What came, whether the end was a reset, and when it ended, counted from the dial."""
        got = b""
        while True:
            try:
                piece = await self.stream.receive_some(4096)
            except trio.BrokenResourceError:
                return got, True, trio.current_time() - self.began
            if not piece:
                return got, False, trio.current_time() - self.began
            got += piece


HELLO = Hello(1, RosterHash(bytes(32)), b"i" * 16).encode()


async def stranger(caller: Caller) -> None:
    state = caller.state(key=b"\x77" * 32)
    await caller.message_2(state)
    await caller.send(state.write_message(HELLO))


async def wrong_psk(caller: Caller) -> None:
    state = caller.state(psk=b"\x55" * 32)
    await caller.message_2(state)
    await caller.send(state.write_message(HELLO))


async def other_consortium(caller: Caller) -> None:
    await caller.send(caller.state(consortium="another").write_message(b""))


async def other_responder(caller: Caller) -> None:
    await caller.send(caller.state(responder=2).write_message(b""))


async def wrong_key(caller: Caller) -> None:
    await caller.send(caller.state(callee=public(2)).write_message(b""))


async def garbage(caller: Caller) -> None:
    await caller.stream.send_all(os.urandom(5000))


async def oversize(caller: Caller) -> None:
    await caller.send(bytes(1000), length=65_535)


async def flipped_message_3(caller: Caller) -> None:
    state = caller.state()
    await caller.message_2(state)
    message = bytearray(state.write_message(HELLO))
    message[50] ^= 1
    await caller.send(bytes(message))


async def no_hello(caller: Caller) -> None:
    state = caller.state()
    await caller.message_2(state)
    await caller.send(state.write_message(bytes([255]) * len(HELLO)))


async def short_message_3(caller: Caller) -> None:
    state = caller.state()
    await caller.message_2(state)
    await caller.send(state.write_message(HELLO[:-1]))


async def slow_loris(caller: Caller) -> None:
    message = caller.state().write_message(b"")
    for byte in len(message).to_bytes(2, "big") + message[:20]:
        await caller.stream.send_all(bytes([byte]))


async def silent(caller: Caller) -> None:
    del caller


@pytest.mark.parametrize(
    ("attack", "log"),
    [
        (stranger, "a stranger"),
        (wrong_psk, "no peer of ours"),
        (other_consortium, "no peer of ours"),
        (other_responder, "no peer of ours"),
        (wrong_key, "no peer of ours"),
        (garbage, "bytes where"),
        (oversize, "65535 bytes where"),
        (flipped_message_3, "no peer of ours"),
        (no_hello, "no hello"),
        (short_message_3, "bytes where"),
        (slow_loris, "too slow"),
        (silent, "too slow"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_every_failure_is_the_same_silence_and_a_line_in_the_log(
    network: Network, attack: Callable[[Caller], object], log: str
) -> None:
    await network.start(0, pace=PACE)
    with trio.fail_after(25):
        caller = await Caller.dial(network.address(0))
        async with caller.stream:
            await attack(caller)  # type: ignore[misc]
            got, was_reset, seconds = await caller.silence()
    assert got == b""
    assert was_reset
    assert seconds >= PACE.handshake_seconds - 0.05
    event = await network.logs[0].wait("handshake-failed", log)
    assert "127.0.0.1" in event.message
    assert event.party is None
    assert not network.meshes[0].statuses()[0].connected


async def test_the_same_caller_with_the_right_key_is_let_in(network: Network) -> None:
    await network.start(0, pace=PACE)
    with trio.fail_after(25):
        caller = await Caller.dial(network.address(0))
        async with caller.stream:
            state = caller.state()
            await caller.message_2(state)
            assert not network.meshes[0].statuses()[0].connected  # nothing before message 3
            await caller.send(state.write_message(HELLO))
            await network.logs[0].wait("channel-open")
            assert await caller.stream.receive_some(1)  # the hello that confirms it


async def test_a_replayed_message_3_is_no_peer(network: Network, middle: Callable[..., Middle]) -> None:
    await network.start(0, pace=PACE)
    between = middle(network.address(0))
    await between.start()
    await network.start(1, {0: between.address}, pace=PACE)
    await network.logs[0].wait("channel-open")
    with trio.fail_after(25):
        caller = await Caller.dial(network.address(0))
        async with caller.stream:
            await caller.stream.send_all(bytes(between.seen["out"]))
            await network.logs[0].wait("handshake-failed", "no peer of ours")


async def test_a_configured_psk_connects_and_never_falls_back_to_zeros(network: Network) -> None:
    psk = b"k" * 32
    await network.start(0, parties=2, psks={1: psk}, pace=PACE)
    await network.start(1, {0: network.address(0)}, parties=2, psks={0: psk}, pace=PACE)
    await network.connected()
    network.stop(1)
    await network.logs[0].wait("channel-lost")
    await network.start(1, {0: network.address(0)}, parties=2, pace=PACE)
    await network.logs[0].wait("handshake-failed", "no peer of ours")
    assert len(network.logs[0].named("channel-open")) == 1


async def test_another_roster_is_reported_at_both_ends_and_not_fatal(network: Network) -> None:
    await network.start(0, parties=2, version=7, pace=PACE)
    other = RosterHash(b"r" * 32)
    await network.start(1, {0: network.address(0)}, parties=2, version=6, roster=other, pace=PACE)
    await network.connected()
    here = await network.logs[0].wait("roster-differs")
    there = await network.logs[1].wait("roster-differs")
    assert "the peer's operator must update" in here.message
    assert "the operator here must update" in there.message
    assert "version 6" in network.meshes[0].statuses()[0].roster_difference
    network.meshes[1].update_roster(7, RosterHash(bytes(32)))
    assert network.meshes[1].statuses()[0].roster_difference == ""


async def test_half_open_handshakes_are_capped(network: Network) -> None:
    pace = replace(PACE, handshake_seconds=5.0)
    mesh = await network.start(0, pace=pace)
    with trio.fail_after(25):
        callers = [await Caller.dial(network.address(0)) for _ in range(limits.HANDSHAKES_PER_ADDRESS_BURST_MAX)]
        await network.until(lambda: mesh.half_open_handshakes == limits.HANDSHAKES_PER_ADDRESS_BURST_MAX)
        with contextlib.suppress(OSError):  # the reset may come before the connection is seen
            turned_away = await Caller.dial(network.address(0))
            callers.append(turned_away)
            got, _, seconds = await turned_away.silence()
            assert got == b""
            assert seconds < pace.handshake_seconds
        await network.logs[0].wait("handshake-turned-away")
        assert mesh.half_open_handshakes <= limits.HALF_OPEN_HANDSHAKES_MAX
        for caller in callers:
            await caller.stream.aclose()
        await network.until(lambda: mesh.half_open_handshakes == 0)


async def test_handshakes_are_capped_over_all_addresses(network: Network) -> None:
    """The second cap, with the first one far away: an attacker has many addresses."""
    mesh = await network.start(0, pace=replace(PACE, handshake_seconds=5.0))
    mesh._half_open = HalfOpen(3)
    with trio.fail_after(25.0):
        callers = [await Caller.dial(network.address(0)) for _ in range(3)]
        await network.until(lambda: mesh.half_open_handshakes == 3)
        with contextlib.suppress(OSError):  # the reset may come before the connection is seen
            callers.append(await Caller.dial(network.address(0)))
            assert (await callers[-1].silence())[0] == b""
        await network.logs[0].wait("handshake-turned-away")
        assert mesh.half_open_handshakes == 3
        for caller in callers:
            await caller.stream.aclose()
        await network.until(lambda: mesh.half_open_handshakes == 0)
        last = await Caller.dial(network.address(0))
        await network.until(lambda: mesh.half_open_handshakes == 1)
        await last.stream.aclose()


async def test_a_listening_socket_may_come_from_outside(network: Network) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    await network.start(0, parties=2, listen=listening, pace=PACE)
    await network.start(1, {0: listening.getsockname()}, parties=2, listen=None, pace=PACE)
    await network.connected()
