"""What an owner asks in a session is its own signed word about this question, and what the analyst accepted.

Receipts, and with them all statements, are made of the lines that owners bring along with their answers: a line that
one owner made up must not get every party's signature.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from mpcd.daemon.attempt import Attempt, Nobody, Outcome
from mpcd.errors import PeerMalformed, RequestInvalid
from mpcd.governance.decision import Decision
from mpcd.governance.quote import Line, Quote
from mpcd.governance.receipt import Receipt, SignedReceipt
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId

if TYPE_CHECKING:
    from tests.simulation.conftest import World

Consortium = Callable[..., AbstractAsyncContextManager["World"]]
LIAR = 1


def quoted(world: World, minor: int = 2500, *, party: int = LIAR, question: bytes | None = None) -> Line:
    request, _ = world.request()
    return Line(
        party=PartyId(party),
        question=request.request.question_digest() if question is None else question,
        licence=b"l" * 32,
        currency="EUR",
        minor=minor,
        rate_class="standard",
        free=minor == 0,
        capped=False,
        pool_minor=None,
        tax={},
        valid_until=2**46,
    )


async def ask(world: World, brought: bytes, accepted: Quote | None, attached: Quote | None = None) -> Outcome:
    """Hospital `LIAR` brings `brought` to a session whose analyst accepted `accepted`."""

    async def decide(*_: object) -> Decision:
        return Decision(terms={"line": brought})

    world.hospitals[LIAR].decide = decide  # type: ignore[method-assign,assignment]
    plain, _ = world.request()
    digest = None if accepted is None else accepted.digest()
    request: SignedRequest = replace(plain.request, quote_digest=digest).sign(world.analyst)
    beside = accepted if attached is None else attached
    attempts: list[Attempt] = []
    return await world.hospitals[0].sessions.submit(
        request, Nobody(), attempts.append, {} if beside is None else {"quote": beside.to_bytes()}
    )


def quote(world: World, *lines: bytes) -> Quote:
    request, _ = world.request()
    return Quote(request.request.question_digest(), 1, lines, {})


async def nothing_ran(world: World) -> None:
    await world.settle()
    assert [hospital.lives() for hospital in world.hospitals] == [{}] * 3
    world.check()


async def test_the_accepted_price_is_on_the_receipt(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        line = quoted(world).sign(world.hospitals[LIAR].key)
        outcome = await ask(world, line, quote(world, line))
        receipt = Receipt.from_bytes(SignedReceipt.from_bytes(outcome.receipt).receipt)
        assert receipt.lines == [[LIAR, line]]
        await world.settle(10)
        world.check()


async def test_what_costs_nothing_needs_no_quote(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await ask(world, quoted(world, 0).sign(world.hospitals[LIAR].key), None)
        await world.settle(10)
        world.check()


@pytest.mark.parametrize("minor", [2501, 1])
async def test_a_price_that_was_not_accepted_gets_no_signature(
    autojump_clock: MockClock, consortium: Consortium, minor: int
) -> None:
    async with consortium() as world:
        key = world.hospitals[LIAR].key
        accepted = quote(world, quoted(world).sign(key))
        with pytest.raises(PeerMalformed, match="has not accepted"):
            await ask(world, quoted(world, minor).sign(key), accepted)
        await nothing_ran(world)


async def test_a_price_without_a_quote_gets_no_signature(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        with pytest.raises(PeerMalformed, match="has not accepted"):
            await ask(world, quoted(world).sign(world.hospitals[LIAR].key), None)
        await nothing_ran(world)


async def test_another_quote_than_the_accepted_one_binds_nobody(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        line = quoted(world).sign(world.hospitals[LIAR].key)
        with pytest.raises(RequestInvalid, match="another quote"):
            await ask(world, line, quote(world), attached=quote(world, line))
        await nothing_ran(world)


@pytest.mark.parametrize("what", ["no line", "another's", "another question", "unsigned"])
async def test_a_line_that_is_not_the_owners_own_gets_no_signature(
    autojump_clock: MockClock, consortium: Consortium, what: str
) -> None:
    """It would be on everybody's receipt, and no party could make a statement of that month any more."""
    async with consortium() as world:
        own, other = world.hospitals[LIAR].key, world.hospitals[2].key
        brought = {
            "no line": b"nonsense",
            "another's": quoted(world, 0, party=2).sign(other),
            "another question": quoted(world, 0, question=b"q" * 32).sign(own),
            "unsigned": quoted(world, 0).sign(other),
        }[what]
        with pytest.raises(PeerMalformed, match="price line"):
            await ask(world, brought, None)
        await nothing_ran(world)
