"""What one may not see does not exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpcd import limits
from mpcd.api.pinning import Card
from mpcd.daemon.domains.discovery import DiscoveryDomain
from mpcd.errors import RequestInvalid
from mpcd.governance.policy import AcceptedAnalyst
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId
from mpcd.testing.licensing import CONSORTIUM, key
from tests.unit.daemon.domains.conftest import NOW, FakeNode


def inquiry(name: str, *, signer: str | None = None, subject: str = "", **changes: Any) -> bytes:
    made = Inquiry("describe", subject, key(name).public, CONSORTIUM, NOW)
    return replace(made, **changes).signed(key(signer or name))


def limited(node: FakeNode, *tables: str) -> None:
    """Anna is accepted, for these tables."""
    anna = AcceptedAnalyst("Anna", key("anna").public, frozenset(tables))
    node.policy.policy = replace(node.policy.policy, analysts=(*node.policy.policy.analysts, anna))


async def described(node: FakeNode, data: bytes) -> dict[str, Any]:
    return dict(await DiscoveryDomain(node)._asked_describe(PartyId(2), {"inquiry": data}))  # type: ignore[arg-type]


async def test_a_stranger_learns_whom_to_ask_and_nothing_else(node: FakeNode) -> None:
    assert await described(node, inquiry("anna")) == {
        "accepted": False,
        "stewards": [{"name": "Sten", "contact": "sten@example.org"}],
        "rules": {},
        "tables": [],
    }


async def test_only_what_exists_for_the_analyst_is_described(node: FakeNode) -> None:
    limited(node, "open")
    told = await described(node, inquiry("anna"))
    assert [table["name"] for table in told["tables"]] == ["open"]
    assert [column["name"] for column in told["tables"][0]["columns"]] == ["age"]
    for word in ("closed", "unpublished", "secret", "Filed"):
        assert word not in repr(told)
    assert (await described(node, inquiry("anna", subject="closed")))["tables"] == []
    everything = await described(node, inquiry("filed"))
    assert {table["name"] for table in everything["tables"]} == {"closed", "open"}
    assert [table["name"] for table in (await described(node, inquiry("filed", subject="open")))["tables"]] == ["open"]


async def test_nobody_asks_in_anothers_name(node: FakeNode) -> None:
    old = NOW - int(limits.REQUEST_LIFETIME_SECONDS_MAX * 1000) - 1
    for forged in (
        inquiry("filed", signer="mallory"),
        inquiry("filed", kind="offers"),
        inquiry("filed", consortium="another"),
        inquiry("filed", issued_at=old),
        bytes(limits.INQUIRY_BYTES_MAX + 1),
    ):
        with pytest.raises(RequestInvalid):
            await described(node, forged)


async def test_a_party_signs_only_the_card_that_it_knows(node: FakeNode) -> None:
    domain = DiscoveryDomain(node)  # type: ignore[arg-type]
    own = Card.of(node.roster).to_bytes()
    assert await domain._asked_card(PartyId(2), {"card": own})
    other = Card.of(replace(node.roster, version=2)).to_bytes()
    with pytest.raises(RequestInvalid, match="another one"):
        await domain._asked_card(PartyId(2), {"card": other})
