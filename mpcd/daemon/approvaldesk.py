"""Where this owner's people decide: requests that wait for them, forms, and the rulings that they hand in (layer 13).

The desk has a part in the owner's decision (`prepared`, `part`), keeps what waits (`keep`), takes in rulings (`submit`)
and adds to the transaction that agrees a session that its approvals still stand (`in_agreement`).

*Races.*  A ruling is durable before anybody is told of it.  One that takes something back also ends what runs: either
the deciding session read the store after it, or `revoke` finds that session running, or the agreeing transaction finds
the ruling; the store does one thing after the other.  Data published between decision and run changes the data version,
which is part of the plan: the session fails, and the next attempt finds the approval to be for another version.

*Who may propose again.*  The party that proposed the request first.  Another one that has seen it could otherwise have
it run, and keep the analyst from the answer that is then paid for.  Its proposal fails here and uses up nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from mpcd import limits
from mpcd.compile import explain
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import DataInvalid, NotFound, Refusal, SessionFault
from mpcd.governance import approval, entries, money
from mpcd.governance.approval import Count, Form, SignedRuling
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.people import AcceptedAnalyst
from mpcd.governance.policy import Policy, visible_to
from mpcd.governance.published import Requirement
from mpcd.governance.quote import Line
from mpcd.identity import VerifyKey
from mpcd.identity.request import Request, SignedRequest
from mpcd.ids import PartyId, SessionId
from mpcd.roster import Roster
from mpcd.store import approvals as rows
from mpcd.store.approvals import Known, Pending
from mpcd.store.ledger import Append

_KINDS: Mapping[str, entries.NotedKind] = {"approve": "approved", "deny": "denied", "withdraw": "revoked"}
_TOLD_CHARACTERS_MAX = 16 * 2**10
_LINE_CHARACTERS_MAX = 500


class House(Protocol):
    """The owner whose desk it is; `owner.LivePolicy`."""

    policy: Policy

    def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
        """The analyst as this owner accepted them."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One request as the owner's people see it."""

    pending: Pending
    request: Request
    analyst: str
    """Name by which this owner accepted the analyst; empty for one who is accepted no longer."""
    state: str
    """`pending`, `approved`, `denied`, `withdrawn`, `closed`, or what became of its session."""
    counted: Count
    requirement: Requirement
    data_versions: Mapping[str, str]


class ApprovalDesk:
    """One owner's requests for approval and rulings.

    Args:
        me: this owner.
        roster: in force.
        house: policy and accepted analysts, as they stand now.
        journal: the way to the store.
        data_versions: published here now, by table; raises `DataInvalid`.
        utc_seconds: the clock.
        revoke: ends what runs for the requests that it is given a test for.
        tell: told which requests have news.
        log: takes an event and its fields.
    """

    def __init__(
        self,
        me: PartyId,
        roster: Roster,
        house: House,
        journal: StoreJournal,
        data_versions: Callable[[tuple[str, ...]], dict[str, str]],
        utc_seconds: Callable[[], float],
        revoke: Callable[[Callable[[SignedRequest], bool], str], int],
        tell: Callable[[Sequence[bytes]], Awaitable[None]],
        log: Callable[..., None],
    ) -> None:
        self._me = me
        self._roster = roster
        self._house = house
        self._journal = journal
        self._data_versions = data_versions
        self._utc_seconds = utc_seconds
        self._revoke = revoke
        self._tell = tell
        self._log = log
        journal.on_agreed.append(self.in_agreement)

    @property
    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self._utc_seconds() * 1000)

    # ------------------------------------------------------------------------------------------ deciding

    async def prepared(self, signed: SignedRequest, at: int, proposer: PartyId) -> Known:
        """What the store knows of a request that is to be decided.

        Raises:
            SessionFault: another party keeps this request; it alone may propose it again.
        """
        if all(table.approvals is None for table in self._house.policy.tables.values()):
            return Known(None, (), 0, 0)
        request = signed.request
        digest, question, analyst = signed.digest(), request.question_digest(), request.analyst.raw
        known = await self._journal.read(lambda c: rows.known(c, digest, question, analyst, at))
        if known.pending is not None and known.pending.keeper != proposer:
            raise SessionFault(f"party {known.pending.keeper} keeps this request and proposes it when it is approved")
        return known

    def part(self, signed: SignedRequest, known: Known) -> Callable[[Asked, Requirement], Decision]:
        """The desk's part in the decision about a request that was `prepared`."""
        request, pending = signed.request, known.pending

        def judged(asked: Asked, requirement: Requirement) -> Decision:
            if pending is not None and pending.withdrawn:
                message = f"party {asked.party}: the analyst has withdrawn this request"
                return Decision((Refusal(asked.party, approval.RULE, "request", message),))
            if pending is None:
                closes = approval.closes_at(requirement, asked.at, request.issued_at, request.wait_seconds)
            else:
                closes = pending.closes_at
            name = "" if asked.accepted is None else asked.accepted.name
            policy = self._house.policy
            decision = approval.judge(asked, requirement, policy.approvers, name, known.held, closes)
            if decision.waits and pending is None and asked.kind == "sql" and _full(known):
                message = f"party {asked.party}: too many requests wait for approval; ask again when some are decided"
                return Decision((Refusal(asked.party, approval.RULE, "request", message),))
            return decision

        return judged

    def in_agreement(
        self, request: SignedRequest, session: SessionId, plan: PhysicalPlan, connection: sqlite3.Connection
    ) -> None:
        """See `StoreJournal.on_agreed`: approvals that were debited are still their approvers' last words."""
        rows.still_stands(connection, session, self._me)
        rows.note_agreed(connection, request.digest(), session, plan.encoded)

    async def keep(
        self, signed: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """Keep a request that this owner's people must decide.

        Raises:
            Busy: too many wait.
            StoreFailed: nothing was kept.
        """
        request, now = signed.request, self.now
        accepted = self._house.accepted(request.analyst, now)
        asked_about = tuple(sorted({source.table for source in plan.logical.sources}))
        tables, requirement = self._demanded(accepted, asked_about)
        pending = Pending(
            request_digest=signed.digest(),
            question_digest=request.question_digest(),
            request=signed.to_bytes(),
            analyst=request.analyst.raw,
            keeper=keeper,
            tables=tables,
            told=_told(plan, self._roster, rules_of),
            first_at=now,
            closes_at=approval.closes_at(requirement, now, request.issued_at, request.wait_seconds),
            expires_at=request.expires_at * 1000,
        )
        entry = entries.noted(
            "asked",
            by=request.analyst.raw.hex() if accepted is None else accepted.name,
            about=", ".join(tables),
            digest=pending.request_digest,
            reason="waits for this owner's approvers",
            details={"request": pending.request, "keeper": int(keeper), "closes_at": pending.closes_at},
        )

        def work(connection: sqlite3.Connection, append: Append) -> bool:
            new = rows.add_pending(connection, pending)
            if new:
                append(entry)
            return new

        if await self._journal.write(work):
            self._log("approval_needed", request=pending.request_digest.hex())

    def _demanded(
        self, accepted: AcceptedAnalyst | None, asked_about: Sequence[str]
    ) -> tuple[tuple[str, ...], Requirement]:
        """The tables that people decide about, and what is asked of them, as the policy stands now."""
        visible = visible_to(self._house.policy, accepted)
        tables = tuple(name for name in asked_about if name in visible and visible[name].approvals is not None)
        return tables, self._house.policy.requirement(tables) or Requirement()

    # ------------------------------------------------------------------------------------------ the owner's people

    async def items(self) -> list[Item]:
        """All requests that are kept here, the oldest first."""
        now = self.now
        # Apart: there may be thousands, with signatures to check, and no session should wait for that.
        return await self._journal.read(
            lambda c: [self._item(c, pending, now) for pending in rows.list_pending(c)], apart=True
        )

    async def item(self, beginning: str) -> Item:
        """The one whose digest begins so; raises `NotFound`."""
        now = self.now
        return await self._journal.read(lambda c: self._item(c, rows.find_pending(c, beginning), now))

    async def form(self, beginning: str) -> Form:
        """What an approver gets.

        Without data versions if its tables are not published here now: it can be denied then, not approved.

        Raises:
            NotFound: no such request.
        """
        item = await self.item(beginning)
        return Form(
            request=SignedRequest.from_bytes(item.pending.request),
            party=self._me,
            party_name=self._roster.party(self._me).name,
            data_versions=item.data_versions,
            executions_max=item.requirement.executions_max,
            closes_at=item.pending.closes_at,
            told=(self._who(item), *item.pending.told),
        )

    def _who(self, item: Item) -> str:
        """Whom this owner knows the analyst as, in a line."""
        accepted = self._house.accepted(item.request.analyst, self.now)
        if accepted is None:
            return "this owner accepts no analyst with that key any more"
        facts = accepted.facts
        parts = [accepted.name, facts.institution, facts.country, facts.project and f"project {facts.project}"]
        parts.append(f"documents accepted: {', '.join(sorted(facts.evidence)) or 'none'}")
        return f"the analyst, as this owner accepted them: {', '.join(part for part in parts if part)}"[
            :_LINE_CHARACTERS_MAX
        ]

    async def submit(self, document: bytes) -> Item:
        """Take in a signed ruling; the same one twice is one.

        Raises:
            ApprovalInvalid: it does not count; the message says what to do.
            NotFound: no request that is kept here is meant.
        """
        signed, now = SignedRuling.from_bytes(document), self.now
        ruling = signed.ruling

        def work(connection: sqlite3.Connection, append: Append) -> tuple[Pending, list[bytes], bool]:
            concerned = _concerned(connection, ruling.binds, ruling.subject)
            pending = concerned[-1]
            item = self._item(connection, pending, now)
            approver = approval.admit(
                signed,
                item.request,
                party=self._me,
                approvers=self._house.policy.approvers,
                analyst_name=item.analyst,
                requirement=item.requirement,
                data_versions=item.data_versions,
                closes_at=pending.closes_at,
                now=now,
                held=[one.signed for one in rows.rulings(connection, ruling.subject)],
            )
            new = rows.add_ruling(connection, signed, pending.request_digest, now)
            if new:
                append(
                    entries.noted(
                        _KINDS[ruling.verdict],
                        by=approver.name,
                        about=", ".join(pending.tables),
                        digest=signed.digest(),
                        reason=ruling.reason,
                        details={"request_digest": pending.request_digest, "ruling": signed.to_bytes()},
                    )
                )
            return pending, [one.request_digest for one in concerned], new

        pending, digests, new = await self._journal.write(work)
        if new:
            self._log("approval_ruled", request=pending.request_digest.hex(), kind=_KINDS[ruling.verdict])
            if ruling.verdict != "approve":
                subject = ruling.subject
                self._revoke(
                    lambda one: subject in {one.digest(), one.request.question_digest()},
                    "an approval was taken back or denied",
                )
        # Also when it is not new: whoever hands it in again may do so because nobody seems to have heard.
        await self._tell(digests)
        return await self._journal.read(lambda c: self._item(c, pending, now))

    async def withdrawn(self, digest: bytes, signature: bytes) -> bool:
        """The analyst takes a request back; True if it was kept here and that is news.

        Raises:
            IdentityError: the signature is not the analyst's.
        """

        def work(connection: sqlite3.Connection, append: Append) -> bool:
            pending = rows.get_pending(connection, digest)
            if pending is None:
                return False
            VerifyKey(pending.analyst).verify(approval.WITHDRAWAL, digest, signature)
            new = rows.mark_withdrawn(connection, digest)
            if new:
                about = ", ".join(pending.tables)
                append(
                    entries.noted(
                        "revoked", by=pending.analyst.hex(), about=about, digest=digest, reason="by its analyst"
                    )
                )
            return new

        return await self._journal.write(work)

    async def ended(self, digest: bytes, keeper: PartyId) -> bool:
        """The party that keeps a request says that it is over; True if it was kept here and that is news."""
        return await self._journal.write(lambda c, _append: rows.close(c, digest, keeper, self.now))

    async def look_again(self, concerns: Callable[[SignedRequest], bool]) -> None:
        """What waits here may stand otherwise now, a licence or an access has ended: have it tried at once."""
        now = self.now
        waiting = await self._journal.read(
            lambda c: [one for one in rows.list_pending(c) if not one.withdrawn and one.closes_at > now]
        )
        digests = [bytes(one.request_digest) for one in waiting if concerns(SignedRequest.from_bytes(one.request))]
        if digests:
            await self._tell(digests)

    def _item(self, connection: sqlite3.Connection, pending: Pending, now: int) -> Item:
        request = SignedRequest.from_bytes(pending.request).request
        accepted = self._house.accepted(request.analyst, now)
        _, requirement = self._demanded(accepted, pending.tables)
        try:
            versions = self._data_versions(pending.tables)
        except DataInvalid:
            versions = {}
        asked = Asked(
            party=self._me,
            analyst=request.analyst,
            kind="sql",
            tables=pending.tables,
            uses={},
            functions=frozenset(),
            purpose=request.purpose,
            security="malicious",
            request_digest=pending.request_digest,
            question_digest=pending.question_digest,
            data_versions=versions,
            at=now,
        )
        name = "" if accepted is None else accepted.name
        held = (*rows.rulings(connection, pending.request_digest), *rows.rulings(connection, pending.question_digest))
        counted = approval.count(asked, requirement, self._house.policy.approvers, name, held)
        ran = rows.session_of(connection, pending.request_digest)
        state = ran[1] if ran is not None else _state(pending, counted, now)
        return Item(pending, request, name, state, counted, requirement, versions)


def _state(pending: Pending, counted: Count, now: int) -> str:
    if pending.withdrawn:
        return "withdrawn"
    if counted.denied is not None:
        return "denied"
    if len(counted.counted) >= counted.needed:
        return "approved"
    return "closed" if now >= pending.closes_at else "pending"


def _full(known: Known) -> bool:
    of_analyst, of_all = known.open_of_analyst, known.open_of_all
    return of_analyst >= limits.APPROVALS_OPEN_PER_ANALYST_MAX or of_all >= limits.APPROVALS_OPEN_MAX


def _concerned(connection: sqlite3.Connection, binds: str, subject: bytes) -> list[Pending]:
    """The requests that a ruling is about, the newest last."""
    column = {"request": "request_digest", "question": "question_digest"}[binds]
    found = [one for one in rows.list_pending(connection) if getattr(one, column) == subject]
    if not found:
        raise NotFound("no request that waits for approval here is meant; `mpcctl approvals list` shows them")
    return found


def _prices(plan: PhysicalPlan, roster: Roster) -> list[str]:
    """What the owners ask for the answer, as far as one is paid."""
    keys = {party.id: VerifyKey.from_text(party.signing_key) for party in roster.parties}
    signed = [line for _, line in cast("list[tuple[int, bytes]]", plan.terms.get("lines", []))]
    lines = [Line.from_signed(line, keys) for line in signed]
    return [
        f"party {int(line.party)} is paid {money.amount(line.minor, line.currency)}, licence {line.licence.hex()[:8]}"
        for line in lines
    ]


def _told(plan: PhysicalPlan, roster: Roster, rules_of: Mapping[str, PartyId]) -> tuple[str, ...]:
    """What the plan opens, by which rules: as much of it as a form holds."""
    lines = [
        *explain.opened(plan, roster),
        *explain.rules(plan, rules_of),
        *explain.notes(plan.logical, plan.rules.safe_round_base),
        *_prices(plan, roster),
    ]
    told: list[str] = []
    room = _TOLD_CHARACTERS_MAX
    for line in lines:
        room -= len(line)
        if room < 0:
            told.append("... (more: `mpcctl explain` says everything)")
            break
        told.append(line[:_LINE_CHARACTERS_MAX])
    return tuple(told)
