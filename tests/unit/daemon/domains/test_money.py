"""What other parties may put into our books, and what we tell them."""

from __future__ import annotations

from typing import Any

import pytest

from mpcd import canonical
from mpcd.api.types import Caller
from mpcd.daemon.domains.money import MoneyDomain
from mpcd.errors import MpcdError, NotFound, PeerMalformed, RequestInvalid
from mpcd.governance import statement
from mpcd.governance.price import Month
from mpcd.governance.statement import Correction
from mpcd.ids import PartyId
from mpcd.testing.licensing import MADE_AT, key, party_key
from tests.unit.daemon.domains.conftest import FakeNode

STEWARD = Caller(uid=7, gid=7, pid=1, role="admin")
MONTH = Month.parse("2026-11")


def correction(party: int = 2, minor: int = -500) -> Correction:
    return Correction.make(
        PartyId(party),
        party_key(party),
        licence=b"l" * 32,
        month=MONTH,
        currency="EUR",
        minor=minor,
        reason="answered twice",
        at=MADE_AT,
    )


async def take(node: FakeNode, data: object, party: int = 2) -> None:
    await MoneyDomain(node)._asked_correction(PartyId(party), {"correction": data})  # type: ignore[arg-type]


async def totals(node: FakeNode) -> list[Any]:
    told = await MoneyDomain(node).statement(STEWARD, {"month": str(MONTH)})  # type: ignore[arg-type]
    found = told["totals"]
    assert isinstance(found, list)
    return [(row["party"], row["minor"]) for row in found if isinstance(row, dict)]


async def test_a_peers_correction_of_its_own_prices_counts_once(node: FakeNode) -> None:
    for _ in range(2):
        await take(node, correction().to_bytes())
    assert await totals(node) == [(2, -500)]
    assert [row.kind for row in node.store.ledger_entries(0, 10)] == ["receipt_corrected"]


async def test_nobody_corrects_anothers_prices(node: FakeNode) -> None:
    with pytest.raises(RequestInvalid, match="own prices"):
        await take(node, correction(3).to_bytes(), party=2)
    forged = {**fields(correction()), "signature": key("mallory").sign("receipt-correction", b"")}
    with pytest.raises(PeerMalformed, match="not signed"):
        await take(node, canonical.encode(forged))
    assert await totals(node) == []


@pytest.mark.parametrize("change", [{"currency": "XXX"}, {"minor": "5"}, {"reason": "r" * 5000}], ids=str)
async def test_a_signed_correction_that_would_break_the_month_is_refused(
    node: FakeNode, change: dict[str, canonical.Value]
) -> None:
    encoded = fields(correction())["correction"]
    assert isinstance(encoded, bytes)
    inner = canonical.decode(encoded)
    assert isinstance(inner, dict)
    body = canonical.encode({**inner, **change})
    signed = {"correction": body, "signature": party_key(2).sign("receipt-correction", body)}
    with pytest.raises(RequestInvalid):
        await take(node, canonical.encode(signed))
    assert await totals(node) == []


def fields(made: Correction) -> dict[str, canonical.Value]:
    value = canonical.decode(made.to_bytes())
    assert isinstance(value, dict)
    return value


async def test_a_statement_holds_up_no_session(node: FakeNode) -> None:
    """A peer can ask for one as well: thousands of signatures are not checked on the connection that commits."""
    await MoneyDomain(node)._asked_statement(PartyId(2), {"month": str(MONTH)})  # type: ignore[arg-type]
    assert node.journal.apart == 1


@pytest.mark.parametrize("statement", [None, 5, {}, {"month": "2026-11"}], ids=str)
async def test_a_peer_whose_statement_makes_no_sense_is_named(node: FakeNode, statement: object) -> None:
    node.replies[PartyId(2)] = {"statement": statement}
    told = await MoneyDomain(node).compare(STEWARD, {"month": str(MONTH)})  # type: ignore[arg-type]
    listed = told["parties"]
    assert isinstance(listed, list)
    assert [bool(row["error"]) for row in listed if isinstance(row, dict)] == [True, True]


async def test_wrong_months_and_sessions_are_said_to_be(node: FakeNode) -> None:
    domain = MoneyDomain(node)  # type: ignore[arg-type]
    for month in ("2026-13", "", 5, None):
        with pytest.raises(MpcdError, match=r"month|expected"):
            await domain._asked_statement(PartyId(2), {"month": month})
    with pytest.raises(NotFound):
        await domain.receipt(STEWARD, {"session": bytes(32)})


async def test_a_peer_is_told_what_it_shares_alone(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is compared with the same part of ours; our own statement is whole."""
    made, shared = statement.make, list[object]()

    def spy(*arguments: Any, shared_with: PartyId | None = None) -> statement.Statement:
        shared.append(shared_with)
        return made(*arguments, shared_with=shared_with)

    monkeypatch.setattr(statement, "make", spy)
    domain = MoneyDomain(node)  # type: ignore[arg-type]
    theirs = await domain._asked_statement(PartyId(3), {"month": str(MONTH)})
    await domain.statement(STEWARD, {"month": str(MONTH)})
    node.replies[PartyId(3)] = theirs
    told = await domain.compare(STEWARD, {"month": str(MONTH)})
    assert shared == [3, None, 3]
    listed = told["parties"]
    assert isinstance(listed, list)
    assert [row["error"] for row in listed if isinstance(row, dict)] == ["away", ""]
