"""Rounds of a session over real channels: sizes, order, windows, time-outs, what a peer may not do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio

from mpcd import limits
from mpcd.errors import Bug, DeadlineExceeded, PeerGone, PeerMalformed
from mpcd.ids import PartyId, Role, SessionId, Step
from mpcd.net import SessionLinks

if TYPE_CHECKING:
    from tests.integration.net.conftest import Network

COMPUTE = tuple(Role("compute", index) for index in range(3))
PLACES = {role: PartyId(role.index) for role in COMPUTE}


def sid(number: int) -> SessionId:
    return SessionId(bytes([number + 1]) * 32)


def open_all(network: Network, number: int = 0, **options: float) -> list[SessionLinks]:
    return [network.meshes[p].session(sid(number), PLACES, **options) for p in range(3)]


def pattern(role: Role, size: int) -> bytes:
    return (bytes([role.index + 1, 7, 99]) * (size // 3 + 1))[:size]


async def ring(links: SessionLinks, role: Role, step: str, size: int) -> None:
    following, previous = COMPUTE[(role.index + 1) % 3], COMPUTE[(role.index + 2) % 3]
    got = await links.transport(role).exchange(Step(step), {previous: pattern(role, size)}, {following: size})
    assert bytes(got[following]) == pattern(following, size)


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_471, 65_519, 65_536, 200_000, 1_048_576, 9_000_001, 20_000_000])
async def test_every_size_arrives_as_it_was_sent(network: Network, size: int) -> None:
    await network.connect()
    with trio.fail_after(25):
        sessions = open_all(network)
        for number in range(3):
            async with trio.open_nursery() as nursery:
                for role in COMPUTE:
                    nursery.start_soon(ring, sessions[role.index], role, f"r{number}", size)
    for links in sessions:
        assert links.rounds == 3
        assert links.payload_bytes_sent == 3 * size
        links.close()


async def test_arrays_are_sent_as_they_lie_in_memory(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    vector = np.arange(30_000, dtype=np.uint64).reshape(15_000, 2)
    sent: dict[Role, Any] = {COMPUTE[1]: vector, COMPUTE[2]: b"x"}
    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sessions[0].transport(COMPUTE[0]).exchange, Step("s"), sent, {})
            got = await sessions[1].transport(COMPUTE[1]).exchange(Step("s"), {}, {COMPUTE[0]: vector.nbytes})
    assert (np.frombuffer(got[COMPUTE[0]], np.uint64).reshape(-1, 2) == vector).all()


async def test_messages_come_before_the_session_is_open_and_before_they_are_asked_for(network: Network) -> None:
    await network.connect()
    first = network.meshes[0].session(sid(0), PLACES)
    transport = first.transport(COMPUTE[0])
    with trio.fail_after(25):
        for step in ("a", "b", "c"):
            await transport.exchange(Step(step), {COMPUTE[1]: step.encode() * 100}, {})
        second = network.meshes[1].session(sid(0), PLACES).transport(COMPUTE[1])
        for step in ("b", "a", "c"):
            got = await second.exchange(Step(step), {}, {COMPUTE[0]: 100})
            assert bytes(got[COMPUTE[0]]) == step.encode() * 100


async def test_a_large_message_waits_until_it_is_asked_for_and_small_ones_do_not(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    sender, receiver = sessions[0].transport(COMPUTE[0]), sessions[1].transport(COMPUTE[1])
    large = bytes(3 * limits.LINK_WINDOW_BYTES_MAX)
    done = trio.Event()

    async def send() -> None:
        await sender.exchange(Step("large"), {COMPUTE[1]: large}, {})
        done.set()

    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            back = sessions[1].transport(COMPUTE[1])
            await back.exchange(Step("other"), {COMPUTE[0]: b"reply"}, {})
            assert not done.is_set()
            got = await receiver.exchange(Step("large"), {}, {COMPUTE[0]: len(large)})
            assert len(got[COMPUTE[0]]) == len(large)
            await done.wait()


async def test_input_floods_do_not_hold_up_multiplications(network: Network) -> None:
    # every daemon is input and compute party; inputs are sent at once and only taken after twenty rounds
    await network.connect()
    inputs = tuple(Role("input", index) for index in range(3))
    places = PLACES | {role: PartyId(role.index) for role in inputs}
    flood = bytes(range(256)) * 50_000

    async def give(links: SessionLinks, role: Role) -> None:
        await links.transport(role).exchange(Step("inputs"), dict.fromkeys(COMPUTE, flood), {})

    async def compute(links: SessionLinks, role: Role) -> None:
        for number in range(20):
            await ring(links, role, f"mul{number}", 100_000)
        got = await links.transport(role).exchange(Step("inputs"), {}, dict.fromkeys(inputs, len(flood)))
        assert all(bytes(data) == flood for data in got.values())
        await ring(links, role, "after", 10)

    sessions = [network.meshes[p].session(sid(3), places) for p in range(3)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for index, links in enumerate(sessions):
                nursery.start_soon(give, links, inputs[index])
                nursery.start_soon(compute, links, COMPUTE[index])


async def test_many_sessions_share_a_channel_and_do_not_mix(network: Network) -> None:
    await network.connect()
    sizes = {number: (number + 1) * 70_000 for number in range(8)}
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number, size in sizes.items():
                for role, links in zip(COMPUTE, open_all(network, number), strict=True):
                    nursery.start_soon(ring, links, role, "same step", size)


async def test_another_size_than_asked_for_names_the_party_and_the_step(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    with trio.fail_after(25):
        await sessions[0].transport(COMPUTE[0]).exchange(Step("m/1"), {COMPUTE[1]: b"1234"}, {})
        with pytest.raises(PeerMalformed, match="4 bytes where 5") as caught:
            await sessions[1].transport(COMPUTE[1]).exchange(Step("m/1"), {}, {COMPUTE[0]: 5})
    assert caught.value.party == 0
    with pytest.raises(PeerMalformed):  # the session is over for every role and step
        await sessions[1].transport(COMPUTE[1]).exchange(Step("m/2"), {}, {COMPUTE[2]: 5})


async def test_a_second_message_of_a_step_ends_the_session(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    sender, receiver = sessions[0].transport(COMPUTE[0]), sessions[1].transport(COMPUTE[1])
    with trio.fail_after(25):
        await sender.exchange(Step("s"), {COMPUTE[1]: b"1234"}, {})
        await receiver.exchange(Step("s"), {}, {COMPUTE[0]: 4})
        await sender.exchange(Step("s"), {COMPUTE[1]: b"5678"}, {})
        with pytest.raises(PeerMalformed, match="second message"):
            await receiver.exchange(Step("t"), {}, {COMPUTE[0]: 4})


async def test_a_party_that_speaks_for_another_role_ends_the_session(network: Network) -> None:
    await network.connect()
    lying = {COMPUTE[2]: PartyId(0), COMPUTE[1]: PartyId(1), COMPUTE[0]: PartyId(2)}
    wrong = network.meshes[0].session(sid(0), lying)
    right = network.meshes[1].session(sid(0), PLACES)
    with trio.fail_after(25):
        await wrong.transport(COMPUTE[2]).exchange(Step("s"), {COMPUTE[1]: b"x"}, {})
        with pytest.raises(PeerMalformed, match="sent as compute2"):
            await right.transport(COMPUTE[1]).exchange(Step("s"), {}, {COMPUTE[2]: 1})


async def test_a_silent_party_is_named_with_the_step(network: Network) -> None:
    await network.connect()
    sessions = open_all(network, round_seconds=0.2)
    with trio.fail_after(25), pytest.raises(PeerGone, match=r"step deep/step for party 2 \(compute2\)") as caught:
        await sessions[1].transport(COMPUTE[1]).exchange(Step("deep/step"), {COMPUTE[0]: b"x"}, {COMPUTE[2]: 9})
    assert caught.value.party == 2


async def test_a_receiver_that_never_asks_is_named_too(network: Network) -> None:
    await network.connect()
    sessions = open_all(network, round_seconds=0.2)
    large = bytes(limits.LINK_WINDOW_BYTES_MAX)
    with trio.fail_after(25), pytest.raises(PeerGone, match="party 0") as caught:
        await sessions[1].transport(COMPUTE[1]).exchange(Step("s"), {COMPUTE[0]: large}, {})
    assert caught.value.party == 0


async def test_the_session_has_a_deadline_of_its_own(network: Network) -> None:
    await network.connect()
    links = network.meshes[0].session(sid(0), PLACES, session_seconds=0.1)
    with trio.fail_after(25), pytest.raises(DeadlineExceeded, match="waiting at step s for party 1"):
        await links.transport(COMPUTE[0]).exchange(Step("s"), {}, {COMPUTE[1]: 1})


async def test_a_cancelled_exchange_leaves_the_channel_usable(network: Network) -> None:
    await network.connect()
    doomed, fine = open_all(network, 0), open_all(network, 1)
    large = bytes(30_000_000)
    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                with trio.move_on_after(0.02):
                    await doomed[1].transport(COMPUTE[1]).exchange(Step("l"), {}, {COMPUTE[0]: len(large)})

            async def give() -> None:
                with trio.move_on_after(0.02):
                    await doomed[0].transport(COMPUTE[0]).exchange(Step("l"), {COMPUTE[1]: large}, {})

            nursery.start_soon(take)
            nursery.start_soon(give)
        for links in doomed:
            links.close()
        async with trio.open_nursery() as nursery:
            for role in COMPUTE:
                nursery.start_soon(ring, fine[role.index], role, "after", 1_000_000)
    assert not any(network.logs[party].named("channel-lost") for party in range(3))


async def test_late_messages_of_a_closed_session_are_dropped_silently(network: Network) -> None:
    await network.connect()
    closed, other = open_all(network, 0), open_all(network, 1)
    closed[1].close()
    before = list(network.logs[1].events)
    with trio.fail_after(25):
        await closed[0].transport(COMPUTE[0]).exchange(Step("s"), {COMPUTE[1]: bytes(50_000)}, {})
        async with trio.open_nursery() as nursery:
            for role in COMPUTE:
                nursery.start_soon(ring, other[role.index], role, "r", 10)
    assert network.logs[1].events == before
    with pytest.raises(PeerGone, match="closed"):
        await closed[1].transport(COMPUTE[1]).exchange(Step("s"), {}, {COMPUTE[0]: 1})


async def test_early_messages_have_a_limit(network: Network) -> None:
    await network.connect()
    with trio.fail_after(25):
        for number in range(limits.EARLY_SESSIONS_MAX + 1):
            links = network.meshes[0].session(sid(number), PLACES)
            await links.transport(COMPUTE[0]).exchange(Step("s"), {COMPUTE[1]: b"early"}, {})
            links.close()
        dropped = await network.logs[1].wait("early-messages-dropped", "too many")
    assert dropped.party == 0


async def test_a_session_id_and_a_foreign_role_are_refused(network: Network) -> None:
    await network.connect()
    links = network.meshes[0].session(sid(0), PLACES)
    with pytest.raises(Bug, match="used once"):
        network.meshes[0].session(sid(0), PLACES)
    with pytest.raises(Bug, match="not played here"):
        links.transport(COMPUTE[1])
    links.close()
    with pytest.raises(Bug, match="used once"):
        network.meshes[0].session(sid(0), PLACES)


async def test_small_kernels_run_here_and_large_ones_elsewhere(network: Network) -> None:
    await network.start(0, parties=1)
    transport = network.meshes[0].session(sid(0), {COMPUTE[0]: PartyId(0)}).transport(COMPUTE[0])

    def where(_: object) -> int:
        return threading.get_ident()

    assert await transport.compute(where, np.zeros(10)) == threading.get_ident()
    assert await transport.compute(where, np.zeros(limits.INLINE_KERNEL_BYTES_MAX)) != threading.get_ident()
    assert await transport.compute(where, (np.zeros(limits.INLINE_KERNEL_BYTES_MAX),)) != threading.get_ident()


async def test_two_roles_of_one_daemon_speak_over_loopback(network: Network) -> None:
    await network.start(0, parties=1)
    giver = Role("input", 0)
    links = network.meshes[0].session(sid(0), {COMPUTE[0]: PartyId(0), giver: PartyId(0)})
    large = bytes(range(256)) * 100_000
    with trio.fail_after(25):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(links.transport(giver).exchange, Step("s"), {COMPUTE[0]: large}, {})
            await trio.testing.wait_all_tasks_blocked()
            got = await links.transport(COMPUTE[0]).exchange(Step("s"), {}, {giver: len(large)})
    assert bytes(got[giver]) == large


async def test_a_sender_that_ignores_its_window_ends_the_session(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    sessions[0].out_link(COMPUTE[0], COMPUTE[1]).window.raise_to(2**60)
    with trio.fail_after(25):
        await sessions[0].transport(COMPUTE[0]).exchange(Step("s"), {COMPUTE[1]: bytes(1_000_000)}, {})
        with pytest.raises(PeerMalformed, match="beyond the window") as caught:
            await sessions[1].transport(COMPUTE[1]).exchange(Step("t"), {}, {COMPUTE[0]: 4})
    assert caught.value.party == 0


async def test_counters_are_exact(network: Network) -> None:
    await network.connect()
    sessions = open_all(network)
    with trio.fail_after(25):
        for number in range(4):
            async with trio.open_nursery() as nursery:
                for role in COMPUTE:
                    nursery.start_soon(ring, sessions[role.index], role, f"r{number}", 1234)
    transport = sessions[2].transport(COMPUTE[2])
    assert transport.rounds == 4
    assert transport.payload_bytes_sent == transport.payload_bytes_received == 4 * 1234
