"""A steward asks whether the owners of a table share persons (layer 13).

It is a session like any other with a program of its own (`compile.overlap`): every party plans it, every owner decides,
it stands in every participant's ledger, and the band is sealed to a key that this party makes for it and forgets.
"""

from __future__ import annotations

from collections.abc import Callable

from mpcd.api.opening import PinnedParty, open_releases
from mpcd.api.types import Map
from mpcd.compile import overlap
from mpcd.daemon.attempt import Attempt, Nobody
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.sessions import Sessions
from mpcd.errors import NotFound, ResultInvalid
from mpcd.governance import entries
from mpcd.identity import Request, ResultKey, SigningKey, VerifyKey
from mpcd.identity.keys import Entropy
from mpcd.ids import PartyId
from mpcd.roster import Roster

PURPOSE = "overlap"


class OverlapDesk:
    """This owner's checks for shared persons.

    Args:
        me: this party.
        roster: in force.
        key: of this party; it signs the request.
        sessions: where it is proposed.
        journal: the way to the store.
        utc_seconds: the clock.
        entropy: for the nonce and the result key.
    """

    def __init__(
        self,
        me: PartyId,
        roster: Roster,
        key: SigningKey,
        sessions: Sessions,
        journal: StoreJournal,
        utc_seconds: Callable[[], float],
        entropy: Entropy,
    ) -> None:
        self._me = me
        self._roster = roster
        self._key = key
        self._sessions = sessions
        self._journal = journal
        self._utc_seconds = utc_seconds
        self._entropy = entropy

    async def check(self, table: str, by: str) -> Map:
        """Run one check; who asks learns the band, and nobody else.

        Raises:
            NotFound: we give no such table.
            Refused: an owner takes no part, and says why.
        """
        if not any(known.name == table and self._me in known.owners for known in self._roster.tables):
            raise NotFound(f"this party gives no table named {table}")
        result_key = ResultKey.generate(self._entropy)
        request = Request.make(
            overlap.statement(table),
            purpose=PURPOSE,
            analyst=self._key.public,
            result_key=result_key.public,
            roster_hash=self._roster.hash(),
            consortium=self._roster.consortium,
            now=self._utc_seconds(),
            entropy=self._entropy,
            kind="overlap",
        )
        outcome = await self._sessions.submit(request.sign(self._key), Nobody(), _nothing)
        opened = open_releases(
            outcome.plan.encoded,
            outcome.releases,
            request_digest=request.digest(),
            result_key=result_key,
            parties=self._parties(),
        )
        ((band,),) = opened.values
        if not 0 <= band <= len(overlap.THRESHOLDS_PERMILLE):
            raise ResultInvalid("the overlap check opened to something that is no band")
        text = overlap.band_text(band)
        details: Map = {"session": opened.session, "band": text}
        entry = entries.noted("overlap_checked", by=by, about=table, digest=request.digest(), details=details)
        await self._journal.entry(entry)
        return {"table": table, "band": text, "level": band, "found": band > 0, "session": opened.session}

    def _parties(self) -> dict[PartyId, PinnedParty]:
        return {
            party.id: PinnedParty(
                party.id, party.name, VerifyKey.from_text(party.signing_key), computes="compute" in party.roles
            )
            for party in self._roster.parties
        }


def _nothing(_attempt: Attempt) -> None:
    """Nobody cancels it."""
