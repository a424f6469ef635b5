"""What one party knows of one proposal on its way, and the words in which its end is told (layer 13)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import trio

from mpcd.compile.choose import Executable
from mpcd.compile.physical import PhysicalPlan
from mpcd.errors import MpcdError, PeerGone, Refusal
from mpcd.governance.decision import Decision
from mpcd.governance.receipt import Receipt
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, Role, SessionId
from mpcd.session.agreement import Answer
from mpcd.session.lifecycle import Event

NOTHING: Final = Decision()
"""What a party decides that gives no data: no objection, nothing booked."""


class Observer(Protocol):
    """Who is told what a session does: a job of the local API, or nobody."""

    def state(self, state: str) -> None:
        """The session entered `state`."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """`done` of `total` steps are behind us."""
        ...


class Nobody:
    """An observer for sessions that other parties proposed."""

    def state(self, state: str) -> None:
        """Nobody looks."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Nobody looks."""


class Attempt:
    """One proposal as this party sees it; messages are put into it, and whoever conducts it waits for them."""

    def __init__(self, attempt_id: bytes) -> None:
        self.id = attempt_id
        self.proposer: PartyId | None = None
        self.dry_run = False
        self.at = 0
        """The session's time, milliseconds since 1970, as it was proposed."""
        self.attachments: Mapping[str, bytes] = {}
        """What the request names by digest, such as the quote that it accepts."""
        self.request: SignedRequest | None = None
        self.versions: Mapping[str, str] = {}
        """Our own tables' data versions that we answered for; they stay as long as it runs."""
        self.answers: dict[PartyId, Answer] = {}
        self.secrets: dict[PartyId, bytes] = {}
        """What each other party drew for its pair with us."""
        self.said_recorded: dict[PartyId, bytes] = {}
        """Who has said that its second commit is durable, and of which session; we are among them once ours is."""
        self.receipt_signatures: dict[PartyId, tuple[bytes, bytes]] = {}
        """Who has signed the receipt of which session."""
        self.releases: dict[PartyId, bytes] = {}
        self.failure: MpcdError | None = None
        self.failure_event = Event.DEADLINE_PASSED
        """Why it was ended from outside its task, and what that is to the lifecycle."""
        self.recording = False
        """True from the moment when our second commit is on its way."""
        self.durable = False
        """True from our second commit on: a lost channel no longer ends it, since acknowledgements can still come."""
        self.settled = False
        """True once every participant has acknowledged: nothing ends it any more."""
        self.participants: frozenset[PartyId] | None = None
        """Known once we have a plan; until then the others' aborts are kept, not believed."""
        self.aborts: dict[PartyId, MpcdError] = {}
        self.lost: set[PartyId] = set()
        """Whose channel was away when we told it something, or went away before we waited for it."""
        self._missing: Callable[[], frozenset[PartyId]] = frozenset
        self.doing = "planning"
        self.scope = trio.CancelScope()
        self.over = False
        """True once its conductor has ended: it is known from then on, and holds nothing of the session."""
        self._changed = trio.Event()

    @property
    def waiting_for(self) -> frozenset[PartyId]:
        """Whom we wait for at this very moment, also if what came last has not woken the waiter yet."""
        return self._missing()

    def need(self, parties: frozenset[PartyId]) -> None:
        """From now on the loss of any of `parties` ends the session."""
        self._missing = lambda: parties

    def recorded(self, session: SessionId) -> set[PartyId]:
        """Who has recorded exactly this session."""
        return {party for party, named in self.said_recorded.items() if named == session}

    def signed(self, session: SessionId) -> set[PartyId]:
        """Who has sent a signature of the receipt of exactly this session."""
        return {party for party, (named, _) in self.receipt_signatures.items() if named == session}

    def notify(self) -> None:
        """Something arrived; wake the waiter."""
        self._changed.set()
        self._changed = trio.Event()

    def forget(self) -> None:
        """Let go of what the session was made of; what comes late is not taken in again."""
        self.over = True
        self.answers.clear()
        self.secrets.clear()
        self.releases.clear()

    def abort(self, party: PartyId, error: MpcdError) -> None:
        """`party` says that it ended the session: that ends ours if it takes part at all."""
        self.aborts.setdefault(party, error)
        if self.participants is not None:
            self.admit_aborts(self.participants)

    def admit_aborts(self, participants: frozenset[PartyId]) -> None:
        """From now on we know whose word ends the session; the words that came before count too."""
        self.participants = participants
        for party, error in self.aborts.items():
            if party in participants:
                self.fail(error, Event.PEER_STOPPED)

    def fail(self, error: MpcdError, event: Event) -> None:
        """End the session from outside its task, as long as that is possible."""
        if not self.settled and self.failure is None:
            self.failure, self.failure_event = error, event
            self.scope.cancel()

    async def wait(self, parties: frozenset[PartyId], have: Callable[[], Collection[PartyId]], doing: str) -> None:
        """Until `have()` covers `parties`; meanwhile a deadline would name the silent ones and what was awaited.

        Raises:
            PeerGone: one of them is away, and nothing is recorded yet.
        """
        self.doing = doing
        while missing := parties.difference(have()):
            if not self.durable and (away := sorted(missing & self.lost)):
                raise PeerGone(away[0], f"party {away[0]} was away while we were {doing}; ask again when it is back")
            self._missing = lambda: parties.difference(have())
            await self._changed.wait()
        self._missing = frozenset


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request would do; nothing ran."""

    plan: PhysicalPlan
    refusals: tuple[Refusal, ...]
    rules_of: Mapping[str, PartyId]
    """Per disclosure number, the party whose rule is the strictest."""
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the proposer holds of a released session."""

    session: SessionId
    plan: PhysicalPlan
    releases: tuple[bytes, ...]
    """One sealed envelope from each compute party, canonical bytes."""
    facts: Mapping[str, object]
    receipt: bytes = b""
    """Canonical bytes of the receipt that every participant signed."""


@dataclass(slots=True)
class Run:
    """One agreed session at this party."""

    request: SignedRequest
    plan: PhysicalPlan
    program: Executable
    session: SessionId
    participants: frozenset[PartyId]
    """Owners, compute parties and the proposer: whose acknowledgement a release needs."""
    rules_of: Mapping[str, PartyId]
    started: float
    decision: Decision = NOTHING
    """What this party booked for it; empty for one that gives no data."""
    spent: dict[Role, tuple[int, int]] = field(default_factory=dict)
    """Rounds and bytes sent, by own role."""

    @property
    def places(self) -> dict[Role, PartyId]:
        """Which party plays which role."""
        places = {Role("input", index): owner for index, owner in enumerate(self.plan.owners)}
        places.update({Role("compute", index): party for index, party in enumerate(self.plan.compute)})
        return places

    def receipt(self, roster_hash: bytes) -> Receipt:
        """What every participant signs for this session."""
        request, plan = self.request.request, self.plan
        return Receipt(
            session=self.session,
            consortium=request.consortium,
            roster_hash=roster_hash,
            request_digest=self.request.digest(),
            question_digest=request.question_digest(),
            quote_digest=request.quote_digest,
            analyst=request.analyst.raw,
            purpose=request.purpose,
            plan_hash=plan.hash,
            at=cast("int", plan.terms["at"]),
            parties=tuple(sorted(self.participants)),
            data_versions={int(party): dict(plan.data_versions[party]) for party in plan.owners},
            lines=cast("list[list[int | bytes]]", plan.terms["lines"]),
        )

    def facts(self, now: float) -> dict[str, object]:
        """What the analyst is told beside the result; not signed."""
        return {
            "session": self.session,
            "security": self.plan.security,
            "seconds": now - self.started,
            "spent": {str(role): list(numbers) for role, numbers in self.spent.items()},
            "rules_of": {name: int(party) for name, party in self.rules_of.items()},
        }
