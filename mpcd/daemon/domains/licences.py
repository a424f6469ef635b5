"""The domain `licences` of the local API, answered (layer 13).

What an analyst brings goes to the owners whom it concerns, ours among them if we are one; what the owner of this host
decides about a pool goes to the pool's other owners.  Every party verifies what it is sent and answers for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.daemon.questions import by_party
from mpcd.errors import MpcdError, NotFound, RequestInvalid
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import SignedOffer, offer_name
from mpcd.identity import VerifyKey
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId
from mpcd.store.licences import OfferRow, in_force

if TYPE_CHECKING:
    from mpcd.daemon.node import Node

OFFERS: Final = "licences.offers"
ACCEPT: Final = "licences.accept"
MINE: Final = "licences.mine"
END: Final = "licences.end"
POOL: Final = "licences.pool"
COMPLETE: Final = "licences.complete"
WITHDRAWN: Final = "licences.withdrawn"
VERSIONS: Final = "licences.versions"
INQUIRY_OFFERS: Final = "offers"
INQUIRY_MINE: Final = "licences"
Reply = dict[str, object]


class LicencesDomain:
    """Does what `api/domains/licences.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._me = node.config.party
        node.questions.handle(OFFERS, self._asked_offers)
        node.questions.handle(ACCEPT, self._asked_accept)
        node.questions.handle(MINE, self._asked_mine)
        node.questions.handle(END, self._asked_end)
        node.questions.handle(POOL, self._asked_pool)
        node.questions.handle(COMPLETE, self._asked_complete)
        node.questions.handle(WITHDRAWN, self._asked_withdrawn)
        node.questions.handle(VERSIONS, self._asked_versions)

    # ------------------------------------------------------------------------------------------ from analysts

    async def offers(self, _caller: Caller, params: Map) -> Map:
        """What every party offers the analyst who asks."""
        asked: Reply = {"inquiry": params["inquiry"]}
        mine = await self._asked_offers(self._me, asked)
        return {"parties": self._parties(mine, await self._node.ask_peers(OFFERS, asked))}

    async def accept(self, caller: Caller, params: Map) -> Map:
        """Give the agreement to all owners of the offer; the answer has their countersignatures.

        Once all owners of a pool hold it, each is given all their countersignatures: only then is it in force.
        """
        data, by = cast("bytes", params["agreement"]), f"uid {caller.uid}"
        agreement = Agreement.from_bytes(data)
        owners = agreement.offer.owners
        answer = await self._to_owners(ACCEPT, {"agreement": data}, owners, lambda: self._accept(data, by))
        replies = cast("list[Map]", answer["parties"])
        held = {PartyId(cast("int", one["party"])): one["signature"] for one in replies if not one["error"]}
        if not agreement.offer.pool or set(held) != set(owners):
            return answer
        whole = Deed(agreement, tuple(sorted(cast("dict[PartyId, bytes]", held).items()))).to_bytes()
        told = await self._to_owners(COMPLETE, {"deed": whole}, owners, lambda: self._complete(whole, by))
        failed = {one["party"]: one for one in cast("list[Map]", told["parties"]) if one["error"]}
        return {"parties": [failed.get(one["party"], one) for one in replies]}

    async def mine(self, _caller: Caller, params: Map) -> Map:
        """The licences of the analyst who asks, as each party has them."""
        asked: Reply = {"inquiry": params["inquiry"]}
        mine = await self._asked_mine(self._me, asked)
        return {"parties": self._parties(mine, await self._node.ask_peers(MINE, asked))}

    async def end(self, _caller: Caller, params: Map) -> Map:
        """Give the analyst's revocation to every party; those that hold the licence end it."""
        data = cast("bytes", params["revocation"])
        if Revocation.from_bytes(data).party is not None:
            raise RequestInvalid("an owner ends a licence with its own command, `mpcctl licence revoke`")
        replies = await self._node.ask_peers(END, {"revocation": data})
        mine: Reply | MpcdError
        try:
            mine = await self._asked_end(None, {"revocation": data})
        except MpcdError as error:
            mine = error
        return {"parties": self._parties(mine, replies)}

    # ------------------------------------------------------------------------------------------ from other parties

    async def _asked_offers(self, _party: PartyId, payload: Reply) -> Reply:
        analyst = self._analyst(payload, INQUIRY_OFFERS)
        found: list[bytes] = []
        room = limits.PEER_REPLY_BYTES_MAX // 2
        for one in await self._node.licences.open_for(analyst):
            data = one.to_bytes()
            room -= len(data)
            if room > 0:
                found.append(data)
        return {"offers": found}

    async def _asked_accept(self, party: PartyId, payload: Reply) -> Reply:
        return await self._accept(_octets(payload, "agreement"), f"party {party}")

    async def _accept(self, data: bytes, by: str) -> Reply:
        _, signature = await self._node.licences.accept(data, by)
        return {"signature": signature}

    async def _asked_complete(self, party: PartyId, payload: Reply) -> Reply:
        return await self._complete(_octets(payload, "deed"), f"party {party}")

    async def _complete(self, data: bytes, by: str) -> Reply:
        await self._node.licences.complete(data, by)
        return {}

    async def _asked_mine(self, _party: PartyId, payload: Reply) -> Reply:
        analyst = self._analyst(payload, INQUIRY_MINE)
        found: list[Reply] = []
        room = limits.PEER_REPLY_BYTES_MAX // 2
        for deed, queries in await self._node.licences.of_analyst(analyst):
            data = deed.to_bytes()
            room -= len(data)
            if room > 0:
                found.append({"deed": data, "queries": queries})
        return {"licences": found}

    async def _asked_end(self, party: PartyId | None, payload: Reply) -> Reply:
        await self._node.licences.end(_octets(payload, "revocation"), party)
        return {"ended": True}

    async def _asked_pool(self, party: PartyId, payload: Reply) -> Reply:
        row = await self._node.licences.take(_octets(payload, "offer"), party)
        return {"state": row.state, "offer": row.signed.to_bytes()}

    async def _asked_withdrawn(self, party: PartyId, payload: Reply) -> Reply:
        return {"known": await self._node.licences.withdrawn_by(_octets(payload, "offer"), party)}

    async def _asked_versions(self, _party: PartyId, payload: Reply) -> Reply:
        tables = payload["tables"]
        if not isinstance(tables, list) or not all(isinstance(table, str) for table in tables):
            raise RequestInvalid("tables are named by texts")
        return {"versions": self._node.licences.versions(tuple(tables))}

    def _analyst(self, payload: Reply, kind: str) -> VerifyKey:
        data = _octets(payload, "inquiry")
        return Inquiry.verified(data, kind, self._node.roster.consortium, self._node.licences.now).analyst

    # ------------------------------------------------------------------------------------------ of the owner: offers

    async def make(self, _caller: Caller, params: Map) -> Map:
        """Sign what the file offers; send a pool's offer to its other owners."""
        desk = self._node.licences
        legal = params.get("legal_digest")
        draft = desk.draft(str(params["text"]), str(params["path"]), legal if isinstance(legal, bytes) else None)
        versions: dict[PartyId, dict[str, str]] = {}
        if not draft.newer_versions:
            versions = await self._versions(draft.owners, draft.tables)
        offer = draft.offer(versions)
        desk.check(offer, draft.section)
        if params.get("dry_run") is True:
            return {"offer": SignedOffer(offer, ()).to_bytes(), "state": "dry run", "told": []}
        return await self._spread(await desk.sign(offer))

    async def _versions(self, owners: Iterable[PartyId], tables: tuple[str, ...]) -> dict[PartyId, dict[str, str]]:
        found = {self._me: self._node.licences.versions(tables)}
        others = [owner for owner in owners if owner != self._me]
        for party, reply in (await self._node.ask_peers(VERSIONS, {"tables": list(tables)}, others)).items():
            if isinstance(reply, MpcdError):
                raise reply
            versions = reply["versions"]
            if not isinstance(versions, dict):
                raise RequestInvalid(f"party {party} did not name its data versions")
            found[party] = {str(table): str(version) for table, version in versions.items()}
        return found

    async def sign(self, _caller: Caller, params: Map) -> Map:
        """Sign a pool's offer that waits here, and tell the others; or only show it."""
        name = str(params["name"])
        if params.get("look") is True:
            row = await self._node.licences.offer_named(name)
            return {"offer": row.signed.to_bytes(), "state": self._state(row), "told": []}
        row = await self._node.licences.offer_named(name)
        if row.state == "pending" and row.signed.signatures:
            # Another owner may have withdrawn it while we were away.
            seen = await self._spread(row)
            if seen["state"] == "withdrawn":
                raise NotFound("another owner of the pool has withdrawn this offer; nothing was signed")
        return await self._spread(await self._node.licences.sign_named(name))

    def _state(self, row: OfferRow) -> str:
        """`open` is what can be accepted."""
        return "outdated" if row.state != "withdrawn" and self._node.licences.outdated(row.signed.offer) else row.state

    async def _spread(self, row: OfferRow) -> Map:
        """Send a pool's offer, as signed so far, to its other owners; take in what they have signed meanwhile."""
        others = [owner for owner in row.signed.offer.owners if owner != self._me]
        told: list[Value] = []
        if others:
            replies = await self._node.ask_peers(POOL, {"offer": row.signed.to_bytes()}, others)
            for party, reply in sorted(replies.items()):
                said: Map = {"party": int(party), "error": "", "message": ""}
                if isinstance(reply, MpcdError):
                    said |= {"error": reply.code, "message": str(reply)}
                elif reply.get("state") == "withdrawn":
                    digest = row.signed.offer.digest
                    await self._node.licences.withdrawn_by(digest, party)
                    row = await self._node.licences.offer_named(digest.hex())
                else:
                    row = await self._node.licences.take(_octets(reply, "offer"), party)
                told.append(said)
        return {"offer": row.signed.to_bytes(), "state": self._state(row), "told": told}

    async def offered(self, _caller: Caller, _params: Map) -> Map:
        """Offers that are not past."""
        rows = await self._node.licences.offered()
        return {
            "offers": [
                {
                    "name": offer_name(row.signed.offer.digest),
                    "digest": row.signed.offer.digest,
                    "title": row.signed.offer.title,
                    "tables": list(row.signed.offer.tables),
                    "owners": [int(owner) for owner in row.signed.offer.owners],
                    "signed_by": [int(party) for party, _ in row.signed.signatures],
                    "open_until": row.signed.offer.open_until,
                    "state": self._state(row),
                    "offer": row.signed.to_bytes(),
                }
                for row in rows
            ]
        }

    async def withdraw(self, _caller: Caller, params: Map) -> Map:
        """Let nobody accept an offer any more, here and at the other owners of a pool."""
        offer = await self._node.licences.withdraw(str(params["name"]))
        others = [owner for owner in offer.owners if owner != self._me]
        replies = await self._node.ask_peers(WITHDRAWN, {"offer": offer.digest}, others) if others else {}
        return {"digest": offer.digest, "told": _told(replies)}

    # ------------------------------------------------------------------------------------------ of the owner: licences

    async def _deed_map(self, deed: Deed) -> Map:
        agreement, offer = deed.agreement, deed.agreement.offer
        holder = VerifyKey(await self._node.licences.holder(agreement.digest))
        known = self._node.policy.accepted(holder, self._node.licences.now)
        ended = deed.revocation
        return {
            "digest": agreement.digest,
            "offer": offer.digest,
            "title": offer.title,
            "tables": list(offer.tables),
            "pool": offer.pool,
            "analyst": str(holder),
            "fingerprint": holder.fingerprint(),
            "name": None if known is None else known.name,
            "licensee": agreement.acceptance.licensee,
            "rate_class": agreement.acceptance.rate_class,
            "begins_at": agreement.begins_at,
            "ends_at": agreement.ends_at,
            "revoked_at": None if ended is None else ended.at,
            "revoked_by": None if ended is None else "analyst" if ended.party is None else f"party {ended.party}",
            "in_force": in_force(deed) and deed.until > self._node.licences.now,
        }

    async def show(self, _caller: Caller, params: Map) -> Map:
        """One licence, as the file that proves it."""
        return {"deed": (await self._node.licences.deed_named(str(params["name"]))).to_bytes()}

    async def revoke(self, _caller: Caller, params: Map) -> Map:
        """End a licence at once, here and at the other owners of a pool."""
        name = str(params["name"])
        before = await self._node.licences.deed_named(name)
        deed, told = await revoke_everywhere(self._node, name, str(params["reason"]))
        assert deed.revocation is not None
        return {
            "digest": deed.agreement.digest,
            "at": deed.revocation.at,
            "before": before.revocation is not None,
            "deed": deed.to_bytes(),
            "told": told,
        }

    async def duties(self, _caller: Caller, _params: Map) -> Map:
        """What licensees owe besides money, the earliest first."""
        found = await self._node.licences.obligations()
        return {
            "duties": [
                {
                    "licence": one.licence,
                    "analyst": str(VerifyKey(one.analyst)),
                    **await self._whom(one.licence),
                    "code": one.code,
                    "due_at": one.due_at,
                    "state": one.state,
                }
                for one in found[: limits.API_LICENCES_MAX]
            ]
        }

    async def _whom(self, licence: bytes) -> Map:
        """Whom to remind."""
        deed = await self._node.licences.deed_named(licence.hex())
        holder = VerifyKey(await self._node.licences.holder(licence))
        entry = self._node.policy.book.get(holder, self._node.licences.now)
        known = self._node.policy.accepted(holder, self._node.licences.now)
        return {
            "name": None if known is None else known.name,
            "licensee": deed.agreement.acceptance.licensee,
            "contact": None if entry is None else entry.contact,
        }

    async def meet(self, _caller: Caller, params: Map) -> Map:
        """Note that a duty is fulfilled."""
        evidence = params.get("evidence")
        code = str(params["code"])
        await self._node.licences.meet(str(params["name"]), code, evidence if isinstance(evidence, bytes) else None)
        return {}

    # ------------------------------------------------------------------------------------------ helpers

    async def _to_owners(
        self, kind: str, payload: Reply, owners: tuple[PartyId, ...], ours: Callable[[], Awaitable[Reply]]
    ) -> Map:
        """Ask the owners alone, ourselves among them if we are one."""
        known = {party.id for party in self._node.roster.parties}
        if not set(owners) <= known:
            raise RequestInvalid("the offer is of parties that this roster does not have")
        replies = await self._node.ask_peers(kind, payload, [owner for owner in owners if owner != self._me])
        mine: Reply | MpcdError | None = None
        if self._me in owners:
            try:
                mine = await ours()
            except MpcdError as error:
                mine = error
        return {"parties": self._parties(mine, replies)}

    def _parties(self, mine: Reply | MpcdError | None, replies: dict[PartyId, Reply | MpcdError]) -> list[Value]:
        """One map for each party that was asked, with its name and what it said or why it did not."""
        return by_party(self._node.roster, replies if mine is None else {**replies, self._me: mine})

    # `list` comes last: below it the name is the method's.

    async def list(self, _caller: Caller, params: Map) -> Map:
        """Licences in force, or all."""
        found = await self._node.licences.licences(ended=params.get("ended") is True)
        return {"licences": [{**await self._deed_map(deed), "queries": queries} for deed, queries in found]}


async def revoke_everywhere(node: Node, name: str, reason: str) -> tuple[Deed, list[Value]]:
    """End a licence here and, where it was we who ended it, tell the other owners: again, if they were away."""
    revocation = await node.licences.revoke(name, reason)
    deed = await node.licences.deed_named(revocation.licence.hex())
    me = node.config.party
    others = [owner for owner in deed.agreement.offer.owners if owner != me] if revocation.party == me else []
    return deed, _told(await node.ask_peers(END, {"revocation": revocation.to_bytes()}, others) if others else {})


def _told(replies: Mapping[PartyId, Reply | MpcdError]) -> list[Value]:
    return [
        {
            "party": int(party),
            "error": reply.code if isinstance(reply, MpcdError) else "",
            "message": str(reply) if isinstance(reply, MpcdError) else "",
        }
        for party, reply in sorted(replies.items())
    ]


def _octets(payload: Reply, key: str) -> bytes:
    value = payload[key]
    if not isinstance(value, bytes) or len(value) > limits.LICENCE_BYTES_MAX:
        raise RequestInvalid(f"`{key}` is at most {limits.LICENCE_BYTES_MAX} bytes")
    return value
