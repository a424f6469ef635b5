"""What this owner says to a request: its policy, licences, approvals and budgets as they stand now (layer 13).

`LivePolicy` is the file and the book of accepted analysts; `Owner` joins it with the desks that keep licences and
approvals.  All that a decision reads from the store it reads in one transaction.  It decides nothing by itself: what
follows from what it has read is `mpcd.governance.decision`'s to say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from mpcd import limits
from mpcd.canonical import digest_bytes
from mpcd.compile import overlap
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.attempt import Attempt
from mpcd.daemon.check import check_names, read_policy
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.localdata import NO_LINKAGE
from mpcd.daemon.policynews import SECURITY
from mpcd.errors import Refusal, StoreFailed
from mpcd.governance.access import AccessBook
from mpcd.governance.budget import privacy_debits
from mpcd.governance.decision import Asked, Decision, Fineness, Part, decide_all, with_balances
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.entries import Debit
from mpcd.governance.policy import AcceptedAnalyst, Policy, Requirement, Security
from mpcd.governance.privacy import Ask, AskInvalidError, charge
from mpcd.identity import SigningKey, VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId
from mpcd.plan.cuts import column_cuts
from mpcd.plan.functions import functions
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.store import accounts
from mpcd.store.approvals import Known

_DAY_MILLISECONDS: Final = 86_400_000


class LivePolicy:
    """This owner's policy as it stands now, and the analysts whom it has accepted besides."""

    def __init__(self, path: Path, me: PartyId, roster: Roster) -> None:
        self._path = path
        self._me = me
        self._roster = roster
        self.policy, self._digest = self._read()
        self.book = AccessBook()
        """Analysts accepted without the file; kept by the access desk."""

    @property
    def me(self) -> PartyId:
        """This party."""
        return self._me

    def keys_of(self, parties: Iterable[PartyId]) -> set[str]:
        """With which these parties sign, as the roster writes it."""
        return {self._roster.party(party).signing_key for party in parties}

    def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
        """The analyst as this owner accepted them, in the file or else in the book, at `at` (milliseconds UTC)."""
        return self.policy.accepted(analyst) or self.book.accepted(analyst, at)

    def everybody(self, policy: Policy | None = None) -> Policy:
        """The policy, or another one, as if it listed the book's analysts too: to show whose request it was."""
        policy = self.policy if policy is None else policy
        listed = {analyst.key for analyst in policy.analysts}
        more = tuple(entry.accepted() for entry in self.book.entries() if entry.key not in listed)
        return replace(policy, analysts=(*policy.analysts, *more)) if more else policy

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

    def asked(self, signed: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt) -> Asked:
        """What this owner knows of a request that it planned itself."""
        request = signed.request
        cuts = (
            Fineness(one.path, one.verb, one.type, one.scale, one.cuts, one.identifies)
            for one in column_cuts(plan, self._roster)
        )
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
            fineness=tuple(cuts),
            privacy=request.privacy,
            quote_digest=request.quote_digest,
            attachments=attempt.attachments,
            wait_seconds=request.wait_seconds,
            accepted=self.accepted(request.analyst, attempt.at),
        )


class LicencePart(Protocol):
    """The desk that keeps licences, as a decision sees it."""

    def part(self, connection: sqlite3.Connection, rho: int | None = None) -> Part:
        """What our licences say to a request, read in the caller's transaction; `rho` in units of 10^-12."""
        ...


class ApprovalPart(Protocol):
    """The desk where people approve, as a decision sees it."""

    async def prepared(self, signed: SignedRequest, at: int, proposer: PartyId) -> Known:
        """What the store knows of a request that is to be decided."""
        ...

    def part(self, signed: SignedRequest, known: Known) -> Callable[[Asked, Requirement], Decision]:
        """The desk's part in the decision about a request that was `prepared`."""
        ...

    async def keep(
        self, signed: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """Keep a request that this owner's people must decide."""
        ...


class Owner:
    """Implements `conductor.Owner`.

    Args:
        policy: file and book.
        journal: the way to the store.
        key: of this party, for the prices that it asks.
    """

    def __init__(self, policy: LivePolicy, journal: StoreJournal, key: SigningKey) -> None:
        self._live = policy
        self.has_linkage: Callable[[str, str], bool] = lambda _table, _version: False
        """Whether a table's version can be checked for persons whom other owners have too."""
        self._journal = journal
        self._key = key
        self.licences: LicencePart | None = None
        self.approvals: ApprovalPart | None = None
        """Desks that come after; without one, whatever needs it is refused."""

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        """See `conductor.Owner`."""
        if request.request.kind == "overlap":
            return await self._journal.read(lambda c: self._checked_overlap(c, request, plan, versions, attempt.at))
        asked = self._live.asked(request, plan, versions, attempt)
        approvals = None
        if self.approvals is not None and attempt.proposer is not None:
            known = await self.approvals.prepared(request, asked.at, attempt.proposer)
            approvals = self.approvals.part(request, known)
        policy = self._live.policy
        decision = await self._journal.read(lambda c: self._decided(c, policy, asked, approvals))
        return self._signed(decision)

    async def objections(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], at: int
    ) -> tuple[Refusal, ...]:
        """What stands against a question that another owner says was asked, whatever it costs and however often.

        A table for which people approve is refused: that they did, no peer can show.
        """
        attempt = Attempt(b"")
        attempt.at = at
        asked = replace(self._live.asked(request, plan, versions, attempt), kind="explain", quote_digest=None)
        policy = self._live.policy
        decision = await self._journal.read(lambda c: self._decided(c, policy, asked, None, balances=False))
        return (*decision.refusals, *(wait.refusal() for wait in decision.waits))

    def _decided(
        self,
        connection: sqlite3.Connection,
        policy: Policy,
        asked: Asked,
        approvals: Callable[[Asked, Requirement], Decision] | None,
        *,
        balances: bool = True,
    ) -> Decision:
        try:
            rho = None if asked.privacy is None else charge(Ask.decode(asked.privacy)).rho_units
        except AskInvalidError as error:
            message = f"party {asked.party}: {error}"
            return Decision(refusals=(Refusal(asked.party, "privacy", "what is asked for", message),))
        budgets = {name: table.budget for name, table in policy.tables.items()}

        def noise(about: Asked) -> Decision:
            assert rho is not None
            granted = {name: budgets[name] for name in about.tables}
            return Decision(debits=privacy_debits(about.party, granted, rho, about.at))

        licences = None if self.licences is None else self.licences.part(connection, rho)
        decision = decide_all(policy, asked, licences=licences, approvals=approvals, privacy=noise)
        return with_balances(decision, lambda debit: accounts.spent(connection, debit)) if balances else decision

    def _checked_overlap(
        self,
        connection: sqlite3.Connection,
        request: SignedRequest,
        plan: LogicalPlan,
        versions: Mapping[str, str],
        at: int,
    ) -> Decision:
        """Whether we take part in a check for shared persons: with owners, where linkage is configured, not often."""
        me = self._live.me
        (table, *_) = (source.table for source in plan.sources)
        why = overlap.why_not(plan)
        if str(request.request.analyst) not in self._live.keys_of(plan.owners):
            why = "only an owner of the table asks whether its owners share persons"
        elif why is None and request.request.text != overlap.statement(table):
            why = "an overlap check names one table and nothing else"
        elif why is None and not self.has_linkage(table, versions[table]):
            why = NO_LINKAGE
        if why is not None:
            return Decision(refusals=(Refusal(me, overlap.NAME, table, f"party {me}: {why}"),))
        most = limits.OVERLAP_CHECKS_PER_DAY_MAX
        often = Refusal(me, overlap.NAME, table, f"party {me}: {most} overlap checks in a day are enough")
        debit = Debit(f"overlap/{table}", 1, most, often, since=at - _DAY_MILLISECONDS)
        return with_balances(Decision(debits=(debit,)), lambda one: accounts.spent(connection, one))

    def _signed(self, decision: Decision) -> Decision:
        """The price goes to the other parties as its owner signs it."""
        if decision.line is None:
            return decision
        return decision.joined(Decision(terms={"line": decision.line.sign(self._key)}))

    async def ask_approvers(
        self, request: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """See `conductor.Owner`."""
        if self.approvals is None:
            raise StoreFailed("this owner keeps no requests for approval")
        await self.approvals.keep(request, plan, rules_of, keeper)

    def rules(self) -> DisclosureRules:
        """See `conductor.Owner`."""
        return self._live.policy.disclosure

    def security(self) -> Security:
        """See `conductor.Owner`."""
        return self._live.policy.security
