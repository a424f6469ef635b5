"""The life of channels: attacks on the wire, loss and reconnection, renewal, control messages, an orderly end."""

from __future__ import annotations

import gc
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from mpcd.errors import PeerFault, PeerGone, PeerMalformed
from mpcd.ids import PartyId, Role, Step
from mpcd.net import Event, Pace
from mpcd.wire import RecordType, WireMisuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.net.conftest import Middle, Network

NOTE = "test.note"
PACE = Pace(
    handshake_seconds=5.0,
    reconnect_first_seconds=0.01,
    reconnect_seconds_max=0.05,
    second_dialler_seconds=0.02,
    tick_seconds=0.02,
)
A, B = Role("compute", 0), Role("compute", 1)
PLACES = {A: PartyId(0), B: PartyId(1)}
ZERO, ONE = PartyId(0), PartyId(1)


def sid(number: int) -> Any:
    return bytes([number + 1]) * 32


async def pair(network: Network, between: Middle | None = None, **options: Any) -> None:
    options = {"pace": PACE} | options
    await network.start(0, parties=2, **options)
    if between is not None:
        between.target = network.address(0)
        await between.start()
    address = network.address(0) if between is None else between.address
    await network.start(1, {0: address}, parties=2, **options)
    await network.connected()


async def swap(network: Network, number: int, size: int = 1000) -> None:
    """One round between the two parties, both ways."""
    first, second = (network.meshes[p].session(sid(number), PLACES) for p in (0, 1))
    with trio.fail_after(25), first, second:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.transport(A).exchange, Step("s"), {B: bytes(size)}, {B: size})
            nursery.start_soon(second.transport(B).exchange, Step("s"), {A: bytes(size)}, {A: size})


# ------------------------------------------------------------------------------------------------ on the wire


def flip(piece: bytes) -> list[bytes]:
    data = bytearray(piece)
    data[len(data) // 2] ^= 4
    return [bytes(data)]


def replay(piece: bytes) -> list[bytes]:
    return [piece, piece]


def oversize(piece: bytes) -> list[bytes]:
    return [b"\x02\xff\xff\xff" + piece]


def unknown_type(piece: bytes) -> list[bytes]:
    return [b"\x63" + piece[1:]]


def shortened(piece: bytes) -> list[bytes]:
    return [piece[:1] + (int.from_bytes(piece[1:4], "big") - 1).to_bytes(3, "big") + piece[4:-1]]


def dropped(piece: bytes) -> list[bytes]:
    size = 4 + int.from_bytes(piece[1:4], "big")
    return [piece[size:]]


@pytest.mark.parametrize("attack", [flip, replay, oversize, unknown_type, shortened, dropped])
@pytest.mark.parametrize("direction", ["out", "back"])
async def test_whatever_is_done_to_records_ends_the_channel_and_the_session(
    network: Network, middle: Callable[..., Middle], attack: Callable[[bytes], list[bytes]], direction: str
) -> None:
    between = middle(("", 0))
    await pair(network, between)
    victim = 0 if direction == "out" else 1
    sender = 1 - victim
    first, second = (network.meshes[p].session(sid(0), PLACES) for p in (0, 1))
    ours, theirs = ((A, B), (B, A))[victim]
    receiver, giver = (first, second) if victim == 0 else (second, first)
    before = network.meshes[victim].channel_hash(PartyId(sender))
    with trio.fail_after(25):
        await giver.transport(theirs).exchange(Step("fine"), {ours: b"x" * 500}, {})
        await receiver.transport(ours).exchange(Step("fine"), {}, {theirs: 500})
        hit = False

        def meddle(way: str, piece: bytes) -> list[bytes]:
            nonlocal hit
            if way == direction and not hit:
                hit = True
                return attack(piece)
            return [piece]

        between.meddle = meddle
        await giver.transport(theirs).exchange(Step("bad"), {ours: b"y" * 500}, {})
        await giver.transport(theirs).exchange(Step("more"), {ours: b"z" * 500}, {})
        with pytest.raises(PeerMalformed, match="unacceptable bytes"):
            await receiver.transport(ours).exchange(Step("never sent"), {}, {theirs: 500})
        await network.logs[victim].wait("channel-lost", "unacceptable bytes")
        with pytest.raises(PeerFault):  # and the sender is not left waiting
            await giver.transport(theirs).exchange(Step("answer"), {}, {ours: 1})
        first.close()
        second.close()
        for mesh, peer in ((0, ONE), (1, ZERO)):  # a new channel takes over
            while network.meshes[mesh].peer(peer).current is None:
                await network.meshes[mesh].peer(peer).changed.wait()
        await network.connected()
        assert network.meshes[victim].channel_hash(PartyId(sender)) != before


async def test_a_stream_that_ends_without_a_close_is_truncated(network: Network, middle: Callable[..., Middle]) -> None:
    between = middle(("", 0))
    await pair(network, between)
    links = network.meshes[0].session(sid(0), PLACES)
    between.meddle = lambda _way, _piece: None
    network.meshes[1].peer(ZERO).current.ping()  # type: ignore[union-attr]
    with trio.fail_after(25), pytest.raises(PeerGone, match="lost") as caught:
        await links.transport(A).exchange(Step("s"), {}, {B: 1})
    assert caught.value.party == 1
    await network.logs[0].wait("channel-lost")


async def test_whoever_is_told_of_a_lost_channel_finds_no_current_one(
    network: Network, middle: Callable[..., Middle]
) -> None:
    """The daemon looks for another channel in that very moment, and ends what waits for the peer if there is none."""
    between = middle(("", 0))
    await pair(network, between)
    peer = network.meshes[0].peer(ONE)
    found: list[object] = []
    told = peer._emit

    def tell(event: Event) -> None:
        if event.name == "channel-lost":
            found.append(peer.current)
        told(event)

    peer._emit = tell
    between.meddle = lambda _way, _piece: None
    network.meshes[1].peer(ZERO).current.ping()  # type: ignore[union-attr]
    await network.logs[0].wait("channel-lost")
    assert found == [None]


async def test_the_wire_shows_nothing_and_the_recorder_everything(
    network: Network, middle: Callable[..., Middle]
) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.seen = b""

        def sent(self, party: PartyId, kind: str, plaintext: bytes) -> None:
            assert party in (ZERO, ONE)
            assert kind
            self.seen += plaintext

    recorder, between = Recorder(), middle(("", 0))
    await pair(network, between, recorder=recorder)
    first, second = (network.meshes[p].session(sid(0), PLACES) for p in (0, 1))
    small, large = b"a canary in a small message", b"a canary in a large one" * 20_000
    with trio.fail_after(25):
        await first.transport(A).exchange(Step("s"), {B: small}, {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.transport(A).exchange, Step("l"), {B: large}, {})
            await second.transport(B).exchange(Step("l"), {}, {A: len(large)})
        await network.meshes[0].send_control(ONE, {"type": NOTE, "number": 1, "data": b"a canary in control"})
        await swap(network, 1)
    assert small in recorder.seen
    assert large in recorder.seen
    assert b"a canary in control" in recorder.seen
    assert b"canary" not in between.seen["out"] + between.seen["back"]


# ------------------------------------------------------------------------------------------------ loss and renewal


async def test_a_cut_link_aborts_its_sessions_and_is_dialled_again(
    network: Network, middle: Callable[..., Middle]
) -> None:
    between = middle(("", 0))
    await pair(network, between)
    links = [network.meshes[p].session(sid(0), PLACES) for p in (0, 1)]
    hashes = [network.meshes[0].channel_hash(ONE)]
    for number in range(3):
        changed = [network.meshes[0].peer(ONE).changed, network.meshes[1].peer(ZERO).changed]
        await between.cut()
        with trio.fail_after(25):
            for event in changed:
                await event.wait()
            await network.connected()
        hashes.append(network.meshes[0].channel_hash(ONE))
        assert hashes[-1] == network.meshes[1].channel_hash(ZERO)
        await swap(network, number + 1)
    assert len(set(hashes)) == 4
    for party, role in ((0, A), (1, B)):
        with pytest.raises(PeerGone, match="was lost"):
            await links[party].transport(role).exchange(Step("s"), {}, {B if party == 0 else A: 1})


async def test_a_peer_that_falls_silent_is_asked_and_given_up(network: Network, middle: Callable[..., Middle]) -> None:
    between = middle(("", 0))
    await pair(network, between, pace=replace(PACE, ping_seconds=0.1, silence_seconds=1.0))
    with trio.fail_after(25):
        await network.until(lambda: network.meshes[0].statuses()[0].round_trip_seconds is not None)
        assert not network.logs[0].named("channel-lost")  # pongs kept it alive
        between.freeze()
        await network.logs[0].wait("channel-lost", "nothing was heard")


async def test_diallers_at_the_same_time_agree_on_one_channel(network: Network) -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [sock.getsockname() for sock in listening]
    pace = replace(PACE, second_dialler_seconds=0.0)
    for party in (0, 1):
        await network.start(party, {1 - party: addresses[1 - party]}, parties=2, listen=listening[party], pace=pace)
    await network.connected()
    with trio.fail_after(25):
        await network.until(lambda: not any(mesh.statuses()[0].draining_channels for mesh in network.meshes.values()))
        await swap(network, 0)
    assert network.meshes[0].channel_hash(ONE) == network.meshes[1].channel_hash(ZERO)
    assert not network.logs[0].named("channel-lost")
    assert not network.logs[1].named("channel-lost")


async def test_at_its_age_a_channel_is_replaced_and_the_old_one_drains(network: Network) -> None:
    await pair(network, pace=replace(PACE, channel_seconds=0.3))
    first, second = (network.meshes[p].session(sid(0), PLACES) for p in (0, 1))
    old = network.meshes[0].channel_hash(ONE)
    with trio.fail_after(25):
        await network.logs[0].wait("channel-draining", "rotated")
        assert network.meshes[0].channel_hash(ONE) != old
        assert first.channel_hash(ONE) == old
        for number in range(5):  # the running session goes on where it is
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.transport(A).exchange, Step(f"s{number}"), {B: bytes(100_000)}, {})
                nursery.start_soon(second.transport(B).exchange, Step(f"s{number}"), {}, {A: 100_000})
        await swap(network, 1)
        first.close()
        second.close()
        await network.logs[0].wait("channel-closed")
        await network.logs[1].wait("channel-closed")
    assert not network.logs[0].named("channel-lost")


async def test_sessions_that_do_not_leave_an_old_channel_are_ended(network: Network) -> None:
    await pair(network, pace=replace(PACE, channel_seconds=0.2, drain_seconds=0.2))
    links = network.meshes[0].session(sid(0), PLACES)
    with trio.fail_after(25), pytest.raises(PeerGone):
        await links.transport(A).exchange(Step("s"), {}, {B: 1})
    await network.logs[0].wait("channel-lost", "did not leave")


async def test_a_restarted_peer_replaces_its_old_self(network: Network, middle: Callable[..., Middle]) -> None:
    between = middle(("", 0))
    await pair(network, between, pace=replace(PACE, ping_seconds=20.0))
    between.freeze()  # the old connection stays, half open, as after a power failure
    second = network.scopes[1]
    with trio.fail_after(25):
        await network.start(1, {0: network.address(0)}, parties=2, pace=PACE)
        await network.logs[0].wait("channel-lost", "restarted")
        await network.connected()
        await swap(network, 0)
    second.cancel()


# ------------------------------------------------------------------------------------------------ control


async def test_control_messages_come_in_order_with_the_channel_they_came_on(network: Network) -> None:
    await pair(network)
    got: list[tuple[int, bytes, object, int]] = []
    done = trio.Event()

    async def handle(party: PartyId, channel: bytes, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        got.append((party, channel, message["number"], len(message["data"])))
        if len(got) == 50:
            done.set()

    network.meshes[0].control_handler = handle
    with trio.fail_after(25):
        for number in range(50):
            await network.meshes[1].send_control(ZERO, {"type": NOTE, "number": number, "data": bytes(number * 9000)})
        await done.wait()
    channel = network.meshes[0].channel_hash(ONE)
    assert got == [(1, channel, number, number * 9000) for number in range(50)]


async def test_too_large_unknown_and_misshapen_control_messages_are_our_mistake(network: Network) -> None:
    await pair(network)
    send = network.meshes[1].send_control
    for wrong in (
        {"type": NOTE, "number": 1, "data": bytes(2**20 + 1)},
        {"type": "test.unknown"},
        {"type": NOTE, "number": -1, "data": b""},
        {"type": NOTE, "number": 1},
    ):
        with pytest.raises(WireMisuse):
            await send(ZERO, wrong)
    network.stop(0)
    await network.logs[1].wait("channel-lost")
    with pytest.raises(PeerGone, match="not connected"):
        await send(ZERO, {"type": NOTE, "number": 1, "data": b""})


async def test_a_slow_handler_slows_its_sender_and_nobody_else(network: Network) -> None:
    await pair(network)
    gate, handled, sent = trio.Event(), 0, 0

    async def handle(_party: PartyId, _channel: bytes, _message: Any) -> None:
        nonlocal handled
        await gate.wait()
        handled += 1

    network.meshes[0].control_handler = handle

    async def flood() -> None:
        nonlocal sent
        for number in range(40):
            await network.meshes[1].send_control(ZERO, {"type": NOTE, "number": number, "data": bytes(2**20)})
            sent += 1

    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await network.until(lambda: sent >= 15)
            await swap(network, 0, 3_000_000)  # session data passes meanwhile
            assert sent < 25
            assert handled == 0
            gate.set()
        await network.until(lambda: handled == 40)


async def test_a_handler_that_fails_is_logged_and_the_next_message_is_handled(network: Network) -> None:
    await pair(network)
    got = trio.Event()

    async def handle(_party: PartyId, _channel: bytes, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["number"] == 0:
            raise ValueError("secret text")
        got.set()

    network.meshes[0].control_handler = handle
    with trio.fail_after(25):
        for number in (0, 1):
            await network.meshes[1].send_control(ZERO, {"type": NOTE, "number": number, "data": b""})
        await got.wait()
    event = await network.logs[0].wait("control-handler-failed")
    assert "ValueError" in event.message
    assert "secret" not in event.message


async def test_what_was_said_before_a_channel_was_lost_is_still_heard(network: Network) -> None:
    await pair(network)
    gate, got = trio.Event(), []

    async def handle(_party: PartyId, _channel: bytes, message: Any) -> None:
        await gate.wait()
        got.append(message["number"])

    network.meshes[0].control_handler = handle
    with trio.fail_after(25):
        for number in range(3):
            await network.meshes[1].send_control(ZERO, {"type": NOTE, "number": number, "data": b""})
        network.stop(1)
        await network.logs[0].wait("channel-lost", "shutdown")
        gate.set()
        await network.until(lambda: got == [0, 1, 2])


async def test_a_flood_of_pings_is_answered_once_at_a_time(network: Network, middle: Callable[..., Middle]) -> None:
    between = middle(("", 0))
    await pair(network, between)
    attacker, victim = network.meshes[1].peer(ZERO).current, network.meshes[0].peer(ONE).current
    assert attacker is not None
    assert victim is not None
    held_max = 0

    def meddle(_way: str, piece: bytes) -> list[bytes]:
        nonlocal held_max
        held_max = max(held_max, len(victim._urgent))
        return [piece]

    between.meddle = meddle
    attacker._urgent.extend((RecordType.PING, bytes(8)) for _ in range(20_000))
    attacker.pump()
    await network.logs[1].wait("channel-lost", "a pong without its ping")
    assert held_max <= 1


# ------------------------------------------------------------------------------------------------ status and end


async def test_statuses_say_what_the_sockets_saw(network: Network, middle: Callable[..., Middle]) -> None:
    between = middle(("", 0))
    await pair(network, between)
    await swap(network, 0, 100_000)
    (here,), (there,) = network.meshes[0].statuses(), network.meshes[1].statuses()
    assert here.connected
    assert there.connected
    assert here.channel == there.channel == network.meshes[0].channel_hash(ONE)[:8].hex()
    assert there.we_dialled
    assert not here.we_dialled
    assert here.wire_bytes_sent == there.wire_bytes_received == len(between.seen["back"])
    assert there.wire_bytes_sent == here.wire_bytes_received == len(between.seen["out"])
    assert here.wire_bytes_sent > 100_000
    assert here.last_seen_seconds is not None
    assert here.last_seen_seconds < 25
    assert here.name == "hospital1"
    network.stop(1)
    await network.logs[0].wait("channel-lost", "closed the channel (shutdown)")
    (after,) = network.meshes[0].statuses()
    assert not after.connected
    assert after.channel == ""
    assert after.wire_bytes_sent >= here.wire_bytes_sent
    assert "shutdown" in after.last_failure


async def test_the_end_of_a_mesh_leaves_no_task_and_no_descriptor(network: Network) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    gc.collect()
    before = descriptors(), tasks()
    await network.connect(pace=PACE)
    places = {Role("compute", party): PartyId(party) for party in range(3)}
    sessions = [network.meshes[party].session(sid(9), places) for party in range(3)]
    failed = []

    async def wait_for_ever(party: int) -> None:
        try:
            other = Role("compute", (party + 1) % 3)
            await sessions[party].transport(Role("compute", party)).exchange(Step("s"), {}, {other: 1})
        except PeerGone:
            failed.append(party)

    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            for party in range(3):
                nursery.start_soon(wait_for_ever, party)
            await trio.testing.wait_all_tasks_blocked()
            for party in range(3):
                network.stop(party)
        await network.until(lambda: (descriptors(), tasks()) == before)
    assert sorted(failed) == [0, 1, 2]
