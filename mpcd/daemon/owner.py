"""What this owner says to a request: its policy, licences, approvals and budgets as they stand now (layer 13)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mpcd.canonical import digest_bytes
from mpcd.daemon.attempt import Attempt
from mpcd.daemon.check import check_names, read_policy
from mpcd.daemon.policynews import SECURITY
from mpcd.governance.access import AccessBook
from mpcd.governance.decision import Asked, Decision, Fineness, decide_all
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.policy import AcceptedAnalyst, Policy, Security
from mpcd.identity import VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId
from mpcd.plan.cuts import column_cuts
from mpcd.plan.functions import functions
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster


class LivePolicy:
    """This owner's policy as it stands now; implements `sessions.Owner`."""

    def __init__(self, path: Path, me: PartyId, roster: Roster) -> None:
        self._path = path
        self._me = me
        self._roster = roster
        self.policy, self._digest = self._read()
        self.book = AccessBook()
        """Analysts accepted without the file; kept by the access desk."""

    def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
        """The analyst as this owner accepted them, in the file or else in the book, at `at` (milliseconds UTC)."""
        return self.policy.accepted(analyst) or self.book.accepted(analyst, at)

    def _read(self) -> tuple[Policy, bytes]:
        """What the file says now, if it says it about our roster, and the digest of the bytes that were read."""
        policy, written = read_policy(self._path)
        check_names(policy, self._roster)
        return policy, digest_bytes("policy", written)

    def digest(self) -> bytes:
        """Digest of the file in force, comments included."""
        return self._digest

    def reload(self) -> bool:
        """Read the file again; True if it changed.  A wrong file raises and leaves the old policy in force."""
        policy, digest = self._read()
        changed = digest != self._digest
        self.policy, self._digest = policy, digest
        return changed

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        """See `sessions.Owner`."""
        asked = self._asked(request, plan, versions, attempt)
        return decide_all(self.policy, asked)

    def _asked(self, signed: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt) -> Asked:
        request = signed.request
        return Asked(
            party=self._me,
            analyst=request.analyst,
            kind=request.kind,
            tables=tuple(sorted({source.table for source in plan.sources})),
            uses=plan.uses,
            functions=functions(plan),
            purpose=request.purpose,
            security=SECURITY,
            request_digest=request.digest(),
            question_digest=request.question_digest(),
            data_versions=versions,
            at=attempt.at,
            owners=plan.owners,
            fineness=tuple(
                Fineness(one.path, one.verb, one.type, one.scale, one.cuts, one.unique)
                for one in column_cuts(plan, self._roster)
            ),
            privacy=request.privacy,
            quote_digest=request.quote_digest,
            attachments=attempt.attachments,
            wait_seconds=request.wait_seconds,
            accepted=self.accepted(request.analyst, attempt.at),
        )

    def rules(self) -> DisclosureRules:
        """See `sessions.Owner`."""
        return self.policy.disclosure

    def security(self) -> Security:
        """See `sessions.Owner`."""
        return self.policy.security
