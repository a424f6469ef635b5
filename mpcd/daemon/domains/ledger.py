"""The domain `ledger` of the local API, answered (layer 13)."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import trio

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.errors import RequestInvalid
from mpcd.ids import PartyId
from mpcd.store import segments

if TYPE_CHECKING:
    import sqlite3

    from mpcd.daemon.node import Node
    from mpcd.store.heads import Peer
    from mpcd.store.segments import Archived

_YEAR_SECONDS: Final = 365.25 * 86_400
_ERASABLE: Final = """
    SELECT e.sequence FROM entry e JOIN content c USING (sequence) LEFT JOIN session s ON s.session = e.session
    WHERE e.time_milliseconds < ? AND c.body IS NOT NULL AND e.kind NOT IN ('erased', 'archived')
    AND coalesce(s.state, '') NOT IN ('agreed', 'recorded') ORDER BY e.sequence LIMIT ?
"""


class LedgerDomain:
    """Does what `api/domains/ledger.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._archiving = trio.Lock()

    async def heads(self, _caller: Caller, _params: Map) -> Map:
        """What is known between this party and each peer."""
        proof = self._node.heads.proof
        return {
            "peers": [self._peer(peer) for peer in await self._node.heads.peers()],
            "lost_entries": None if proof is None else proof.head.count,
        }

    def _peer(self, peer: Peer) -> Map:
        witness = peer.witness
        return {
            "party": int(peer.party),
            "name": self._node.roster.party(peer.party).name,
            "remembered": None if peer.remembered is None else peer.remembered.head.count,
            "remembered_at": None if peer.seen_milliseconds is None else peer.seen_milliseconds / 1000,
            "signed": None if witness is None else witness.seen.head.count,
            "signed_at": None if witness is None else witness.at_milliseconds / 1000,
            "trouble": [{"why": why, "at": at / 1000} for why, at in peer.trouble],
        }

    async def exchange(self, _caller: Caller, _params: Map) -> Map:
        """Show our head to every peer now."""
        return _outcomes(await self._node.heads.exchange())

    async def accept(self, _caller: Caller, params: Map) -> Map:
        """Go on from a peer's contradicting ledger."""
        party = PartyId(cast("int", params["party"]))
        await self._node.heads.accept(party, _reason(params))
        return {"party": int(party)}

    async def admit(self, _caller: Caller, params: Map) -> Map:
        """Say that entries of ours were lost."""
        return _outcomes(await self._node.heads.admit(_reason(params)))

    async def erase(self, _caller: Caller, params: Map) -> Map:
        """Erase content: of the named entries, or of all that is older than a time, as many as one call takes."""
        named, before = params.get("entries"), params.get("before")
        if (named is None) == (before is None):
            raise RequestInvalid("name either the entries to erase or the time before which all content is erased")
        now = time.time()
        kept_since: float | None = now - self._node.config.retention_years * _YEAR_SECONDS
        if params.get("within_retention") is True:
            kept_since = None
        if named is None:
            older = cast("int", before)
            if kept_since is not None and older > kept_since:
                raise RequestInvalid(
                    f"content is kept for {self._node.config.retention_years} years; an earlier time is needed, or the "
                    "word that it is to be erased within the retention"
                )
            sequences = await self._node.journal.read(partial(_older, older))
        else:
            sequences = [item for item in cast("list[int]", named) if item >= 0]
        if not sequences:
            return {"erased": [], "entry": None}
        head = await self._node.journal.run(
            partial(self._node.store.erase, sequences, _reason(params), now=now, kept_since=kept_since)
        )
        return {"erased": cast("list[Value]", sorted(set(sequences))), "entry": head.count - 1}

    async def archive(self, _caller: Caller, params: Map) -> Map:
        """Archive what is older than a time and what every peer has seen."""
        node = self._node
        seen: int | None = None
        if params.get("unseen") is not True:
            peers = await node.heads.peers()
            seen = min((0 if p.witness is None else p.witness.seen.head.count for p in peers), default=None)
        async with self._archiving:
            made = await trio.to_thread.run_sync(
                partial(
                    segments.archive,
                    node.store,
                    node.config.state,
                    before=float(cast("int", params["before"])),
                    now=time.time(),
                    party=node.config.party,
                    key=node.config.signing_key.signing_key(),
                    seen_by_all=seen,
                )
            )
        return {"segments": [self._segment(archived) for archived in made], "seen_by_all": seen}

    async def segments(self, _caller: Caller, _params: Map) -> Map:
        """Which files there are."""
        found = await self._node.journal.read(partial(segments.all_of, directory=self._node.config.state))
        return {"segments": [self._segment(archived) for archived in found]}

    def _segment(self, archived: Archived) -> Map:
        keep = archived.last_milliseconds / 1000 + self._node.config.retention_years * _YEAR_SECONDS
        return {
            "first": archived.segment.first,
            "count": archived.segment.count,
            "from": archived.first_milliseconds / 1000,
            "until": archived.last_milliseconds / 1000,
            "keep_until": keep,
            "path": str(archived.path),
            "is_here": archived.is_here,
        }


def _older(before: int, connection: sqlite3.Connection) -> list[int]:
    rows = connection.execute(_ERASABLE, (before * 1000, limits.API_REQUEST_ITEMS_MAX))
    return [row[0] for row in rows]


def _reason(params: Map) -> str:
    reason = cast("str", params["reason"]).strip()
    if not reason:
        raise RequestInvalid("a reason is needed; it stands in the ledger")
    return reason


def _outcomes(outcomes: dict[PartyId, str]) -> Map:
    return {"peers": [{"party": int(party), "outcome": outcome} for party, outcome in outcomes.items()]}
