"""The domain `discovery` of the local API, answered (layer 13).

Every party describes what exists *there* for the analyst who asks, by its own policy, and nothing else: a table that is
hidden from the analyst is in no list, and a party that does not accept them says just that, and whom to ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mpcd import limits
from mpcd.api.pinning import Card
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.daemon.description import table_map
from mpcd.errors import MpcdError, RequestInvalid
from mpcd.governance.policy import AcceptedAnalyst, visible_tables
from mpcd.identity import VerifyKey
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId

if TYPE_CHECKING:
    from mpcd.daemon.node import Node

CARD: Final = "discovery.card"
DESCRIBE: Final = "discovery.describe"
INQUIRY: Final = "describe"
Reply = dict[str, object]


class DiscoveryDomain:
    """Does what `api/domains/discovery.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._me = node.config.party
        self._card = Card.of(node.roster)
        self._card_signature = self._card.sign(node.config.signing_key.signing_key())
        node.questions.handle(CARD, self._asked_card)
        node.questions.handle(DESCRIBE, self._asked_describe)

    async def card(self, _caller: Caller, _params: Map) -> Map:
        """Who the consortium is, with the signatures of all parties that answer; it names no table."""
        encoded = self._card.to_bytes()
        said = await self._node.ask_peers(CARD, {"card": encoded})
        signatures: dict[str, Value] = {str(int(self._me)): self._card_signature}
        for party, reply in said.items():
            signature = None if isinstance(reply, MpcdError) else reply.get("signature")
            if isinstance(signature, bytes):
                signatures[str(int(party))] = signature
        return {"card": encoded, "signatures": signatures}

    async def _asked_card(self, _party: PartyId, payload: Reply) -> Reply:
        if payload["card"] != self._card.to_bytes():
            raise RequestInvalid("the consortium is another one by this party's roster")
        return {"signature": self._card_signature}

    async def describe(self, _caller: Caller, params: Map) -> Map:
        """What exists for the analyst who asks, at every party."""
        inquiry = cast("bytes", params["inquiry"])
        mine = await self._asked_describe(self._me, {"inquiry": inquiry})
        replies: dict[PartyId, Reply | MpcdError] = {
            **await self._node.ask_peers(DESCRIBE, {"inquiry": inquiry}),
            self._me: mine,
        }
        parties: list[Value] = []
        for party in self._node.roster.parties:
            said = replies[party.id]
            found: Map = {"id": int(party.id), "name": party.name, "roles": list[Value](party.roles)}
            if isinstance(said, MpcdError):
                found |= {"error": said.code, "message": str(said), "accepted": None, "tables": []}
            else:
                found |= {"error": "", "message": "", **cast("Map", said)}
            parties.append(found)
        roster = self._node.roster
        return {"consortium": roster.consortium, "roster_version": roster.version, "parties": parties}

    async def _asked_describe(self, _party: PartyId, payload: Reply) -> Reply:
        data = payload["inquiry"]
        if not isinstance(data, bytes) or len(data) > limits.INQUIRY_BYTES_MAX:
            raise RequestInvalid("not an inquiry")
        now = self._node.access.now
        inquiry = Inquiry.verified(data, INQUIRY, self._node.roster.consortium, now)
        accepted = self._node.policy.accepted(inquiry.analyst, now)
        policy = self._node.policy.policy
        stewards = [{"name": steward.name, "contact": steward.contact} for steward in policy.stewards]
        if accepted is None:
            return {"accepted": False, "stewards": stewards, "rules": {}, "tables": []}
        tables = await self._tables(inquiry.analyst, accepted, inquiry.subject)
        return {"accepted": True, "stewards": stewards, "rules": self._rules(), "tables": tables}

    def _rules(self) -> Map:
        policy = self._node.policy.policy
        return {"profile": policy.profile, "security": policy.security, **policy.disclosure.to_value()}

    async def _tables(self, analyst: VerifyKey, accepted: AcceptedAnalyst, subject: str) -> list[Value]:
        policy = self._node.policy.policy
        visible = {
            name: uses for name, uses in visible_tables(policy, accepted).items() if not subject or name == subject
        }
        offers = await self._offers(analyst)
        return [
            {
                **table_map(table, visible[table.name]),
                **self._duties(table.name),
                "offers": [digest for digest, tables in offers if table.name in tables],
            }
            for table in self._node.roster.tables
            if table.name in visible
        ]

    async def _offers(self, analyst: VerifyKey) -> list[tuple[bytes, frozenset[str]]]:
        """Digests and tables of the licence offers that are open to the analyst here."""
        signed = await self._node.licences.open_for(analyst)
        return [(one.offer.digest, frozenset(one.offer.tables)) for one in signed]

    def _duties(self, name: str) -> Map:
        """What this owner's policy asks of a use of its table."""
        table = self._node.policy.policy.tables[name]
        manifest = self._node.data.data.manifests.get(name)
        approvals, budget = table.approvals, table.budget
        return {
            "purposes": list[Value](table.purposes),
            "conditions": [str(condition) for condition in table.conditions],
            "licence": table.licence,
            "approvals": None
            if approvals is None
            else {
                "min": approvals.approvers_min,
                "executions": approvals.executions_max,
                "deadline_seconds": approvals.deadline_seconds,
            },
            "granularity": {column: str(steps) for column, steps in table.granularity.items()},
            "noise_only": table.noise_only,
            "noise": budget.allows_noise,
            "queries": budget.queries,
            "queries_days": budget.period_days,
            "gives_rows": self._me in self._node.roster.table(name).owners,
            "data_version": None if manifest is None else str(manifest.version),
        }
