"""Whether an earlier question that another owner lists may be evaluated on our data though we never answered it.

An honest owner lists what we answered too.  There are two exceptions: a session that is under way and has not reached
us, or has ended here already, and a state of ours that was restored from a backup.  A lying owner could list whatever
it likes, and whether a cell is hidden would then tell it, and an analyst in league with it, something about our rows.
So the one who lists shows the analyst's signed request.  It is planned anew, here, and must have the very definition;
and our own policy and licences must allow it to that analyst today.  What passes is put on the record with who listed
it, and so is what does not.

*Another roster.*  The request may have been signed under an earlier roster.  It is planned under the present one: where
that gives the definition, nothing that matters has changed but perhaps the owners, which are then taken as listed.  A
definition of a table that the roster now describes otherwise is compared with nothing (`governance.history`).

*Expired, used before.*  Neither matters: nothing runs because of the request.

Rejected: checking the column uses of the bare definition (a purpose, an aggregate, an analyst's licence are not in it,
and anybody could have made it); ignoring a definition that does not pass (two sessions would then not meet).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from mpcd.errors import CallerFault, DataInvalid, PeerUnvouched, Refusal
from mpcd.governance.history import Definition, question
from mpcd.identity.request import DOMAIN, SignedRequest
from mpcd.identity.text import IdentityError
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.session.ports import PlannerPort

Objections = Callable[[SignedRequest, LogicalPlan, Mapping[str, str], int], Awaitable[tuple[Refusal, ...]]]


class Vouching:
    """What a request vouches for, at one owner.

    Args:
        roster: in force.
        planner: of this daemon.
        versions: data versions of our own tables.
        objections: what our owner has against a question; see `Owner.objections`.
        utc_seconds: the clock.
    """

    def __init__(
        self,
        roster: Roster,
        planner: PlannerPort,
        versions: Callable[[tuple[str, ...]], Mapping[str, str]],
        objections: Objections,
        utc_seconds: Callable[[], float],
    ) -> None:
        self._roster = roster
        self._roster_hash = roster.hash()
        self._planner = planner
        self._versions = versions
        self._objections = objections
        self._utc_seconds = utc_seconds

    async def check(self, party: PartyId, definition: Definition, shown: bytes) -> SignedRequest:
        """The request from which the definition follows, and to which our owner objects nothing.

        Args:
            party: who lists the definition.
            definition: names us among its owners.
            shown: the bytes of the signed request, as they came.

        Raises:
            PeerUnvouched: there is none, or it does not; the message tells nothing of what was asked.
        """
        try:
            signed = SignedRequest.from_bytes(shown)
            request = signed.request
            request.analyst.verify(DOMAIN, request.to_bytes(), signed.signature)
            if request.consortium != self._roster.consortium or request.kind != "sql" or request.privacy is not None:
                raise _unvouched(party, "it follows from no request that is remembered")
            plan = await self._planner.plan(request.text, request.as_of)
            planned = question(plan, self._roster).definition
            versions = self._versions(tuple(source.table for source in plan.sources))
        except (CallerFault, DataInvalid, IdentityError) as error:
            raise _unvouched(party, "no valid signed request came with it") from error
        if request.roster_hash != self._roster_hash:
            planned = replace(planned, owners=definition.owners)
        if planned.digest != definition.digest:
            raise _unvouched(party, "the signed request that came with it asks something else; compare versions")
        if await self._objections(signed, plan, versions, int(self._utc_seconds() * 1000)):
            raise _unvouched(party, "our policy does not allow it; ask again in a moment")
        return signed


def _unvouched(party: PartyId, why: str) -> PeerUnvouched:
    return PeerUnvouched(party, f"party {party} lists an earlier question that we have not answered: {why}")
