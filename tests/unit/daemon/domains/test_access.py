"""Who asks for access, and what an owner must say before a key takes another's place."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

import pytest

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.daemon.domains.access import AccessDomain
from mpcd.errors import NotFound, RequestInvalid
from mpcd.governance.access import AccessRequest, SignedAccessRequest
from mpcd.governance.offer import Grant
from mpcd.governance.price import Rate
from mpcd.identity import SigningKey
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId
from mpcd.testing.licensing import CONSORTIUM, accepted, key, offer
from tests.unit.daemon.domains.conftest import NOW, FakeNode

STEWARD = Caller(uid=7, gid=7, pid=1, role="admin")
ANYBODY = Caller(uid=1000, gid=1000, pid=2, role="client")


def signed(
    name: str, *, old: SigningKey | None = None, replaces: str | None = None, tables: tuple[str, ...] | None = None
) -> SignedAccessRequest:
    return AccessRequest(
        consortium=CONSORTIUM,
        analyst=key(name).public,
        name=name.title(),
        contact="a@example.org",
        institution="Lund",
        country="SE",
        reason="because",
        issued_at=NOW,
        nonce=b"n" * 16,
        reduced_rate=True,
        commercial=False,
        replaces=None if replaces is None else key(replaces).public,
        tables=tables,
    ).sign(key(name), old)


async def bring(node: FakeNode, request: SignedAccessRequest) -> str:
    told = await AccessDomain(node).request(ANYBODY, {"request": request.to_bytes()})  # type: ignore[arg-type]
    digest = told["digest"]
    assert isinstance(digest, bytes)
    return digest.hex()


async def accept(node: FakeNode, who: str, **params: Any) -> dict[str, Any]:
    return dict(await AccessDomain(node).accept(STEWARD, {"who": who, **params}))  # type: ignore[arg-type]


async def test_a_key_that_did_not_agree_is_replaced_only_on_the_stewards_word(node: FakeNode) -> None:
    """Or whoever knows an analyst's public key takes over their access and their licences."""
    await accept(node, await bring(node, signed("anna")))
    who = await bring(node, signed("mallory", replaces="anna"))
    for word in ({}, {"same_person": False}, {"same_person": "yes"}):
        with pytest.raises(RequestInvalid, match="did not agree"):
            await accept(node, who, **word)
    assert node.policy.accepted(key("anna").public, NOW) is not None
    assert node.policy.accepted(key("mallory").public, NOW) is None
    assert node.ended == []
    await accept(node, who, same_person=True)
    assert node.policy.accepted(key("anna").public, NOW) is None
    assert node.ended == [key("anna").public]


async def test_a_key_that_agrees_is_replaced_at_once(node: FakeNode) -> None:
    await accept(node, await bring(node, signed("anna")))
    told = await accept(node, await bring(node, signed("anna2", old=key("anna"), replaces="anna")))
    assert told["replaced_still_in_policy_file"] is False
    assert node.policy.accepted(key("anna").public, NOW) is None
    assert node.ended == [key("anna").public]


async def test_a_replaced_key_that_the_policy_file_lists_is_said_to_be_accepted_still(node: FakeNode) -> None:
    told = await accept(node, await bring(node, signed("new", replaces="filed")), same_person=True)
    assert told["replaced_still_in_policy_file"] is True
    assert node.policy.accepted(key("filed").public, NOW) is not None


async def test_nothing_is_granted_that_the_steward_did_not_say(node: FakeNode) -> None:
    who = await bring(node, signed("anna"))
    for params in ({"tables": ["unpublished"]}, {"rate_class": "gratis"}, {"evidence": ["IRB"]}, {"until": NOW}):
        with pytest.raises(RequestInvalid):
            await accept(node, who, **params)
    await accept(node, who, tables=["open"], until=NOW + 5)
    entry = node.policy.book.get(key("anna").public, NOW)
    assert entry is not None
    assert (entry.rate_class, entry.evidence, entry.tables) == ("standard", {}, frozenset({"open"}))
    assert node.policy.accepted(key("anna").public, NOW + 4) is not None
    assert node.policy.accepted(key("anna").public, NOW + 5) is None


async def test_an_end_is_at_once_and_ends_what_runs(node: FakeNode) -> None:
    await accept(node, await bring(node, signed("anna")))
    await AccessDomain(node).remove(STEWARD, {"who": str(key("anna").public), "reason": "left"})  # type: ignore[arg-type]
    assert node.policy.accepted(key("anna").public, NOW) is None
    assert node.ended == [key("anna").public]
    await node.access.load()
    assert node.policy.accepted(key("anna").public, NOW) is None
    with pytest.raises(NotFound):
        await AccessDomain(node).remove(STEWARD, {"who": str(key("anna").public), "reason": "left"})  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [False, True])
async def test_who_removes_an_analyst_is_told_of_their_licences(node: FakeNode, end: bool) -> None:
    await accept(node, await bring(node, signed("anna")))
    made = offer(grants=(Grant("open", None),), commercial=False)
    await node.licences.sign(made)
    agreement = accepted(made)
    await node.licences.accept(agreement.to_bytes(), "uid 1")
    params: Map = {"who": str(key("anna").public), "reason": "left", "end_licences": end}
    domain = AccessDomain(node)  # type: ignore[arg-type]
    with pytest.raises(RequestInvalid, match="say why"):
        await domain.remove(STEWARD, {**params, "reason": " "})
    (told,) = cast("list[Map]", (await domain.remove(STEWARD, params))["licences"])
    assert (told["digest"], told["ended"]) == (agreement.digest, end)
    assert Rate.from_value(told["rate"]) == made.price.standard
    deed = await node.licences.deed_named(agreement.digest.hex())
    assert (deed.revocation is not None) == end
    if end:
        assert deed.revocation.reason == "access ended: left"


async def test_a_beginning_that_is_too_short_names_nobody(node: FakeNode) -> None:
    who = await bring(node, signed("anna"))
    for short in ("", " ", who[:4]):
        with pytest.raises(NotFound):
            await accept(node, short)


async def test_only_the_analyst_is_told_how_they_stand(node: FakeNode) -> None:
    domain = AccessDomain(node)  # type: ignore[arg-type]
    await bring(node, signed("anna"))

    def inquiry(signer: str, *, kind: str = "access", at: int = NOW) -> bytes:
        return Inquiry(kind, "", key("anna").public, CONSORTIUM, at).signed(key(signer))

    told = await domain._asked_status(PartyId(2), {"inquiry": inquiry("anna")})
    assert (told["accepted"], told["request"]) == (False, "pending")
    old = NOW - int(limits.REQUEST_LIFETIME_SECONDS_MAX * 1000) - 1
    for forged in (inquiry("mallory"), inquiry("anna", kind="describe"), inquiry("anna", at=old), b"?"):
        with pytest.raises(RequestInvalid):
            await domain._asked_status(PartyId(2), {"inquiry": forged})


async def test_a_peer_passes_on_no_more_than_a_caller_may_bring(node: FakeNode) -> None:
    domain = AccessDomain(node)  # type: ignore[arg-type]
    with pytest.raises(RequestInvalid, match="at most"):
        await domain._asked_request(PartyId(2), {"request": bytes(limits.ACCESS_REQUEST_BYTES_MAX + 1)})
    part = {"digest": bytes(32), "code": "IRB", "place": 0, "part": bytes(limits.EVIDENCE_CHUNK_BYTES_MAX + 1)}
    for wrong in (part, {**part, "part": b"x", "digest": bytes(33)}, {**part, "part": b"x", "place": True}):
        with pytest.raises(RequestInvalid):
            await domain._asked_evidence(PartyId(2), dict(wrong))


async def test_a_request_that_nobody_signed_is_kept_nowhere(node: FakeNode) -> None:
    domain, good = AccessDomain(node), signed("anna")  # type: ignore[arg-type]
    for forged in (
        SignedAccessRequest(good.request, key("mallory").sign("access-request", good.request.to_bytes())),
        SignedAccessRequest(good.request, bytes(64)),
        AccessRequest(**{**_fields(good.request), "consortium": "another"}).sign(key("anna")),
        AccessRequest(**{**_fields(good.request), "issued_at": 1}).sign(key("anna")),
    ):
        with pytest.raises(RequestInvalid):
            await domain.request(ANYBODY, {"request": forged.to_bytes()})
        with pytest.raises(RequestInvalid):
            await domain._asked_request(PartyId(2), {"request": forged.to_bytes()})
    assert node.asked == []
    assert (await domain.requests(STEWARD, {"state": "all"}))["requests"] == []
    assert node.store.ledger_entries(0, 10) == []


def _fields(request: AccessRequest) -> dict[str, Any]:
    return {field.name: getattr(request, field.name) for field in fields(request)}


async def test_what_was_asked_for_is_what_is_given_unless_the_owner_says_more(node: FakeNode) -> None:
    published = next(iter(node.policy.policy.tables))
    who = await bring(node, signed("anna", tables=(published, "elsewhere")))
    assert (await accept(node, who))["analyst"]["tables"] == [published]
    with pytest.raises(NotFound, match=r"decided already: accepted on 20"):
        await accept(node, who)
    who = await bring(node, signed("bert", tables=("elsewhere",)))
    with pytest.raises(RequestInvalid, match="--all-tables"):
        await accept(node, who)
    assert (await accept(node, who, all_tables=True))["analyst"]["tables"] is None
