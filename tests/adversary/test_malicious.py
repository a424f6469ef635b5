"""Under malicious security: every step of every protocol, of its verification and of its openings, every party, every
lie.

Failure condition: an honest party returns a value other than the honest one, or sends an opening after a batch that
contains a lie.

Non-failure: an abort at an honest party; the honest result (the lie hit a bit that does not matter, or a value that
was not changed by it).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mpcd.errors import PeerFault
from mpcd.ids import COMPUTE_ROLES, Role
from mpcd.protocols.verify_batch import Malicious
from mpcd.testing.adversary import CHANGES, Tamper
from mpcd.testing.campaign import honest, liar
from mpcd.testing.cheater import STRATEGIES, Rushing
from mpcd.testing.lockstep import Message
from mpcd.testing.programs import PROGRAMS, openings
from mpcd.testing.world import World

FORM = {"drop", "double", "shorten", "lengthen"}
CHEAP = ("mul", "and", "matrix_product", "to_bits", "bit_to_wide", "select", "total")


def run(world: World, name: str) -> Any:
    protocol, arguments = PROGRAMS[name]
    return world.run(openings(protocol), *arguments)


def opening(message: Message) -> bool:
    return message.step.rsplit("/", 1)[-1].startswith("open") and "/verify" not in message.step


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_message_of_every_party(name: str) -> None:
    """Flip, add, drop, double, shorten, lengthen, each message on its own: different values to two parties too."""
    expected, transcript = honest(name)
    for message in transcript:
        if "/verify" in message.step and name not in {"to_bits", "bit_to_wide", "select"}:
            continue  # the check's own messages are alike in all programs
        for change in CHANGES:
            tamper = Tamper(message.sender, message.step, change, message.receiver)
            world = World(7, verifier=Malicious).corrupt(tamper)
            try:
                value = run(world, name)
            except PeerFault:
                assert tamper.hits
                continue
            assert tamper.hits
            assert value == expected, f"{change} at {message.step} from {message.sender}: a wrong answer"
            assert change not in FORM, f"{change} at {message.step} from {message.sender} went unnoticed"


def swapped(payload: bytes) -> bytes:
    """The first two words change places."""
    return payload[8:16] + payload[:8] + payload[16:]


def both_flipped(payload: bytes) -> bytes:
    """One bit at each end."""
    return bytes([payload[0] ^ 1]) + payload[1:-1] + bytes([payload[-1] ^ 1]) if len(payload) > 1 else payload


@pytest.mark.parametrize("change", [swapped, both_flipped], ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CHEAP)
def test_swapped_elements(name: str, change: Callable[[bytes], bytes]) -> None:
    expected, transcript = honest(name)
    for message in transcript:
        world = World(7, verifier=Malicious).corrupt(Tamper(message.sender, message.step, change, message.receiver))
        try:
            assert run(world, name) == expected
        except PeerFault:
            continue


def _instead(old: bytes, _: bytes) -> bytes:
    return old


@pytest.mark.parametrize("name", CHEAP)
def test_replayed_messages(name: str) -> None:
    """An earlier message of the same size and direction in place of a later one."""
    expected, transcript = honest(name)
    earlier: dict[tuple[Role, Role, int], bytes] = {}
    for message in transcript:
        direction = (message.sender, message.receiver, len(message.payload))
        old = earlier.setdefault(direction, message.payload)
        if old == message.payload:
            continue
        world = World(7, verifier=Malicious)
        world.corrupt(Tamper(message.sender, message.step, partial(_instead, old), message.receiver))
        try:
            assert run(world, name) == expected
        except PeerFault:
            continue


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("name", CHEAP)
def test_rushing(name: str, party: int) -> None:
    """Sends what it has just seen: coins, hashes and shares of others as its own."""
    expected, transcript = honest(name)
    hits = 0
    for step in dict.fromkeys(message.step for message in transcript):
        adversary = Rushing(COMPUTE_ROLES[party], step)
        world = World(7, verifier=Malicious).corrupt(adversary)
        try:
            assert run(world, name) == expected
        except PeerFault:
            hits += adversary.hits
    assert hits


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_consistent_liar_that_tracks_its_error(name: str, strategy: str) -> None:
    """No two holders ever disagree; the equation of the check alone stands against it, and no opening follows it."""
    expected, transcript = honest(name)
    steps = [m.step for m in transcript if "/verify" not in m.step and not opening(m)]
    for step in dict.fromkeys(steps):
        for party in range(3):
            world, lie, verifiers = liar(7, name, party, step, strategy)  # type: ignore[arg-type]
            found = ""
            try:
                assert run(world, name) == expected
            except PeerFault as error:
                found = str(error)
            assert bool(found) == bool(lie.told)
            if not found:
                continue
            assert "/verify" in found
            assert "not what it should be" in found or strategy == "last"
            assert not [m for m in world.lockstep.transcript if opening(m) and m.sender.index != party]
            assert not verifiers[0].escaped
