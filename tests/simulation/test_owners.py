"""What each owner's own rules do to the common answer, and what a session leaves in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from mpcd.daemon import conductor
from mpcd.errors import Bug
from mpcd.governance.disclosure import DisclosureRules
from mpcd.protocols.prss import Prss
from mpcd.results import Suppressed
from mpcd.session import messages

if TYPE_CHECKING:
    from tests.simulation.conftest import World

Consortium = Callable[..., AbstractAsyncContextManager["World"]]


@pytest.mark.parametrize("strict", range(3))
async def test_the_strictest_owner_decides_for_all(
    autojump_clock: MockClock, consortium: Consortium, strict: int
) -> None:
    """All persons but the largest hospital's are just enough for one threshold, and one too few for the next."""
    async with consortium() as world:
        persons = world.truth[0]
        assert isinstance(persons, int)
        persons -= 22  # the largest hospital's
        for threshold, released in ((persons, True), (persons + 1, False)):
            rules = DisclosureRules(safe_threshold=threshold)
            hospital = world.hospitals[strict]
            hospital.rules = lambda rules=rules: rules  # type: ignore[method-assign,misc]
            row = await world.ask()
            assert (row == world.truth) == released
            assert all(isinstance(cell, Suppressed) for cell in row) != released
        await world.settle(10)
        world.check()


async def test_what_has_ended_holds_no_secrets(autojump_clock: MockClock, consortium: Consortium) -> None:
    """Neither what the session was made of, nor what comes late."""
    async with consortium() as world:
        assert await world.ask() == world.truth
        await world.settle(10)
        late = [sent for sent in world.wire.sent if sent[2]["type"] in {messages.ANSWER, messages.RELEASE}]
        assert {message["type"] for _, _, message in late} == {messages.ANSWER, messages.RELEASE}
        for sender, receiver, message in late:
            await world.hospitals[receiver].sessions.receive(world.roster.parties[sender].id, dict(message))
        for hospital in world.hospitals:
            (attempt,) = hospital.sessions._attempts.values()
            assert (attempt.answers, attempt.secrets, attempt.releases) == ({}, {}, {})
        world.check()


async def test_a_session_that_ends_well_burns_its_shared_randomness(
    autojump_clock: MockClock, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Prss] = []

    class Seen(Prss):
        def __init__(self, key_own: bytes, key_next: bytes) -> None:
            super().__init__(key_own, key_next)
            made.append(self)

    monkeypatch.setattr(conductor, "Prss", Seen)
    async with consortium() as world:
        assert await world.ask() == world.truth
        await world.settle(10)
    assert len(made) == 3
    for prss in made:
        with pytest.raises(Bug, match="has ended"):
            prss.open(0, "any")
