"""The domain `access` of the local API, answered (layer 13).

What an analyst brings to one party goes to all of them: the local one first, the others as questions between parties.
Each owner keeps, decides and answers for itself; a party that is away is said to be, and the analyst sends again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.daemon.domains.licences import revoke_everywhere
from mpcd.daemon.questions import by_party
from mpcd.errors import MpcdError, NotFound, RequestInvalid
from mpcd.governance.access import RATE_CLASSES, Access, Terms
from mpcd.governance.licence import Deed
from mpcd.governance.offer import offer_name
from mpcd.identity.inquiry import Inquiry
from mpcd.ids import PartyId
from mpcd.store.access import STATES, RequestRow, State

if TYPE_CHECKING:
    from mpcd.daemon.node import Node

REQUEST: Final = "access.request"
EVIDENCE: Final = "access.evidence"
STATUS: Final = "access.status"
INQUIRY: Final = "access"
Reply = dict[str, object]


class AccessDomain:
    """Does what `api/domains/access.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._me = node.config.party
        node.questions.handle(REQUEST, self._asked_request)
        node.questions.handle(EVIDENCE, self._asked_evidence)
        node.questions.handle(STATUS, self._asked_status)

    # ------------------------------------------------------------------------------------------ from analysts

    async def request(self, caller: Caller, params: Map) -> Map:
        """Keep a request here and pass it on to every other owner."""
        signed = cast("bytes", params["request"])
        row = await self._node.access.take(signed, f"uid {caller.uid}")
        replies = await self._node.ask_peers(REQUEST, {"request": signed})
        return {"digest": row.digest, "parties": self._parties({"request": row.state, "reason": row.reason}, replies)}

    async def evidence(self, _caller: Caller, params: Map) -> Map:
        """Keep a part of a document here and pass it on."""
        mine: Reply | MpcdError
        try:
            mine = await self._take_part(dict(params))
        except MpcdError as error:
            # Decided here already, or full: the other owners may still wait for the document.
            mine = error
        replies = await self._node.ask_peers(EVIDENCE, dict(params))
        return {"parties": self._parties(mine, replies)}

    async def _take_part(self, params: Reply) -> Reply:
        state = await self._node.access.take_part(
            cast("bytes", params["digest"]),
            cast("str", params["code"]),
            cast("int", params["place"]),
            cast("bytes", params["part"]),
        )
        return {"state": state}

    async def status(self, _caller: Caller, params: Map) -> Map:
        """How the analyst who asks stands, here and everywhere else."""
        inquiry = cast("bytes", params["inquiry"])
        mine = await self._asked_status(self._me, {"inquiry": inquiry})
        replies = await self._node.ask_peers(STATUS, {"inquiry": inquiry})
        return {"parties": self._parties(mine, replies)}

    def _parties(self, mine: Reply | MpcdError, replies: dict[PartyId, Reply | MpcdError]) -> list[Value]:
        """One map a party, ours among them, each with its name and what it said or why it did not."""
        return by_party(self._node.roster, {**replies, self._me: mine})

    # ------------------------------------------------------------------------------------------ from other parties

    async def _asked_request(self, party: PartyId, payload: Reply) -> Reply:
        row = await self._node.access.take(
            _sized(payload, "request", limits.ACCESS_REQUEST_BYTES_MAX), f"party {party}"
        )
        return {"request": row.state, "reason": row.reason}

    async def _asked_evidence(self, _party: PartyId, payload: Reply) -> Reply:
        _sized(payload, "digest", 32)
        _sized(payload, "part", limits.EVIDENCE_CHUNK_BYTES_MAX)
        if not isinstance(payload["code"], str) or type(payload["place"]) is not int:
            raise RequestInvalid("not a part of a document")
        return await self._take_part(payload)

    async def _asked_status(self, _party: PartyId, payload: Reply) -> Reply:
        data = _sized(payload, "inquiry", limits.INQUIRY_BYTES_MAX)
        inquiry = Inquiry.verified(data, INQUIRY, self._node.roster.consortium, self._node.access.now)
        return await self._node.access.standing(inquiry.analyst)

    # ------------------------------------------------------------------------------------------ of the owner

    async def requests(self, _caller: Caller, params: Map) -> Map:
        """Who asked, the oldest first."""
        state = params.get("state", "pending")
        if state != "all" and state not in STATES:
            raise RequestInvalid(f"a state is one of {', '.join(STATES)}, or all")
        rows = await self._node.access.requests(None if state == "all" else cast("State", state))
        return {"requests": [_request_map(row, held) for row, held in rows]}

    async def document(self, _caller: Caller, params: Map) -> Map:
        """A part of a document, from `place` on."""
        content = await self._node.access.document(cast("bytes", params["digest"]), cast("str", params["code"]))
        if not content:
            raise NotFound("no such document is here; it may not have arrived, or its request was refused")
        place = cast("int", params["place"])
        return {"size": len(content), "part": content[place : place + limits.EVIDENCE_CHUNK_BYTES_MAX]}

    async def accept(self, caller: Caller, params: Map) -> Map:
        """Accept a waiting request."""
        row = await self._node.access.find(cast("str", params["who"]))
        if row.signed.request.replaces is not None and not row.signed.rotates and params.get("same_person") is not True:
            raise RequestInvalid(
                "this request replaces a key that did not agree to it (it is lost, they say): find out by telephone or "
                "in person that it is the same person, then accept with --same-person"
            )
        terms = self._terms(params)
        if terms.tables is None and params.get("all_tables") is not True and row.signed.request.tables is not None:
            # What was asked for is what is given, unless the owner says more.
            terms = replace(terms, tables=self._asked_for(row.signed.request.tables))
        entry = await self._node.access.grant(row, terms, _by(caller))
        # An entry ends an entry; what the policy file lists only its operator can take out.
        listed = entry.replaces is not None and self._node.policy.policy.accepted(entry.replaces) is not None
        return {"analyst": _entry_map(entry), "replaced_still_in_policy_file": listed}

    def _asked_for(self, tables: Sequence[str]) -> frozenset[str]:
        given = frozenset(tables) & self._node.policy.policy.tables.keys()
        if not given:
            raise RequestInvalid(
                f"the request asks for {', '.join(tables)}, and the policy publishes no such table; name others with "
                "--table, or say --all-tables"
            )
        return given

    def _terms(self, params: Map) -> Terms:
        rate_class = params.get("rate_class", "standard")
        if rate_class not in RATE_CLASSES:
            raise RequestInvalid(f"a rate class is one of {', '.join(RATE_CLASSES)}")
        tables = params.get("tables")
        unknown = sorted(_texts(tables) - self._node.policy.policy.tables.keys())
        if unknown:
            raise RequestInvalid(f"the policy publishes no table {', '.join(unknown)}")
        return Terms(
            tables=None if tables is None else _texts(tables),
            until=cast("int | None", params.get("until")),
            rate_class=rate_class,
            evidence=_texts(params.get("evidence")),
            commercial=cast("bool | None", params.get("commercial")),
            non_profit=cast("bool | None", params.get("non_profit")),
            genetic=cast("bool | None", params.get("genetic")),
        )

    async def refuse(self, caller: Caller, params: Map) -> Map:
        """Refuse a waiting request; the analyst is told the reason."""
        row = await self._node.access.find(cast("str", params["who"]))
        await self._node.access.refuse(row, _reason(params), _by(caller))
        return {"name": row.signed.request.name}

    async def list(self, _caller: Caller, _params: Map) -> Map:
        """Who is accepted, by entries and by the policy file."""
        now = self._node.access.now
        entries: list[Value] = [
            {**_entry_map(entry), "in_force": entry.in_force(now), "from": "access"}
            for entry in self._node.access.entries()
        ]
        entries += [
            {
                "name": entry.name,
                "key": str(entry.key),
                "fingerprint": entry.key.fingerprint(),
                "tables": None if entry.tables is None else list[Value](sorted(entry.tables)),
                "in_force": True,
                "from": "policy file",
            }
            for entry in self._node.policy.policy.analysts
        ]
        return {"analysts": entries}

    async def remove(self, caller: Caller, params: Map) -> Map:
        """End an analyst's access."""
        reason = _reason(params)
        entry = self._node.access.find_entry(cast("str", params["who"]))
        await self._node.access.end(entry.key, reason, _by(caller))
        in_file = self._node.policy.policy.accepted(entry.key) is not None
        licences: list[Value] = []
        for deed in await self._node.licences.held_by(entry.key):
            said = _licence_map(deed)
            if params.get("end_licences") is True:
                why = f"access ended: {reason}"[: limits.REVOCATION_REASON_CHARACTERS_MAX]
                _, told = await revoke_everywhere(self._node, deed.agreement.digest.hex(), why)
                said |= {"ended": True, "told": told}
            licences.append(said)
        return {"name": entry.name, "still_in_policy_file": in_file, "licences": licences}


def _reason(params: Map) -> str:
    reason = cast("str", params["reason"]).strip()
    if not reason:
        raise RequestInvalid("say why; the analyst is told, and it goes on the record")
    return reason


def _licence_map(deed: Deed) -> Map:
    """What a licence costs while it stands."""
    agreement = deed.agreement
    return {
        "name": offer_name(agreement.digest),
        "digest": agreement.digest,
        "title": agreement.offer.title,
        "until": deed.until,
        "currency": agreement.offer.price.currency,
        "rate": agreement.rate.to_value(),
        "ended": False,
        "told": [],
    }


def _by(caller: Caller) -> str:
    return f"operator (uid {caller.uid})"


def _sized(payload: Reply, key: str, bytes_max: int) -> bytes:
    value = payload[key]
    if not isinstance(value, bytes) or len(value) > bytes_max:
        raise RequestInvalid(f"`{key}` is at most {bytes_max} bytes")
    return value


def _texts(value: Value) -> frozenset[str]:
    return frozenset(str(item) for item in value) if isinstance(value, list) else frozenset()


def _request_map(row: RequestRow, held: Iterable[str]) -> Map:
    request = row.signed.request
    arrived = set(held)
    return {
        "digest": row.digest,
        "state": row.state,
        "via": row.via,
        "received_at": row.received_at,
        "changed_at": row.changed_at,
        "refusal": row.reason,
        "key": str(request.analyst),
        "fingerprint": request.analyst.fingerprint(),
        "name": request.name,
        "contact": request.contact,
        "institution": request.institution,
        "country": request.country,
        "user": request.user,
        "project": request.project,
        "commercial": request.commercial,
        "non_profit": request.non_profit,
        "genetic": request.genetic,
        "reduced_rate": request.reduced_rate,
        "reason": request.reason,
        "tables": None if request.tables is None else list[Value](request.tables),
        "replaces": None if request.replaces is None else request.replaces.fingerprint(),
        "replaced_key_agrees": row.signed.rotates,
        "documents": [
            {
                "code": document.code,
                "name": document.name,
                "bytes": document.size_bytes,
                "sha256": document.sha256,
                "here": document.code in arrived,
            }
            for document in request.evidence
        ],
    }


def _entry_map(entry: Access) -> Map:
    return {
        "name": entry.name,
        "institution": entry.institution,
        "country": entry.country,
        "contact": entry.contact,
        "user": entry.user,
        "project": entry.project,
        "commercial": entry.commercial,
        "non_profit": entry.non_profit,
        "genetic": entry.genetic,
        "rate_class": entry.rate_class,
        "evidence": {code: digest for code, digest in entry.evidence.items()},  # noqa: C416  # a Mapping becomes a dict
        "tables": None if entry.tables is None else list[Value](sorted(entry.tables)),
        "accepted_at": entry.accepted_at,
        "until": entry.until,
        "key": str(entry.key),
        "fingerprint": entry.key.fingerprint(),
    }
