"""All sessions of one daemon: from a proposal to released, one task each (trio).

Theory of operation.  Whoever receives a `Submit` proposes: it sends the signed request to every party and has no other
power. From then on all parties do the same (`_conduct`), each for itself:

    plan from the text, ask own policy --> send one Answer to all --> conclude from all answers (session/agreement.py)
    --> commit `agreed` --> run own roles: give data, compute --> seal own shares to the analyst --> commit `recorded`
    --> tell all --> when all participants are recorded: a compute party sends its sealed bytes to the proposer -->
    `released`

*What a failure does.*  Before `recorded`, any failure or a peer's `abort` ends the session here, is written to the
ledger, and is told to all.  After `recorded` nothing is undone: acknowledgements are awaited until the deadline, and
then the session is `withheld`: debited, not released; a later acknowledgement still completes it (`_Recovery`).

*Order of messages.*  A peer may answer before we have seen the proposal, and may send shares before we have concluded:
early answers are held by attempt, early shares by the mesh, both within limits.

*Secrets.*  Pair secrets, PRSS keys, shares and the opened engine answer live in local variables of `_conduct` and in
the session's contexts; nothing of them is stored or logged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import trio

from mpcd import canonical, limits
from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import Program
from mpcd.errors import (
    Busy,
    CallerFault,
    Cancelled,
    DeadlineExceeded,
    MpcdError,
    PeerFault,
    PeerGone,
    Refusal,
    Refused,
    RequestInvalid,
    ResultWithheld,
    SessionFault,
    closed_codes,
)
from mpcd.governance.disclosure import DisclosureRules, strictest
from mpcd.identity import SigningKey
from mpcd.identity.release import ReleaseEnvelope
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, RequestDigest, Role, RosterHash, SessionId
from mpcd.plan.ir import LogicalPlan
from mpcd.protocols.context import Transport, compute_context, input_context
from mpcd.protocols.prss import Prss
from mpcd.roster import Roster
from mpcd.session import agreement, messages
from mpcd.session.agreement import Answer
from mpcd.session.keys import CONFIRM_COST, PrssKeys
from mpcd.session.ports import EnginePort, Journal, Network, PlannerPort

Message = dict[str, object]
EARLY_ATTEMPTS_MAX: Final = 64


class Owner(Protocol):
    """This party's own policy, as it stands now."""

    def refusals(self, request: SignedRequest, plan: LogicalPlan) -> tuple[Refusal, ...]:
        """Every reason why this owner does not allow the request; empty where it does."""
        ...

    def rules(self) -> DisclosureRules:
        """This owner's disclosure rules."""
        ...


class Observer(Protocol):
    """Who is told what a session does: a job of the local API, or nobody."""

    def state(self, state: str) -> None:
        """The session entered `state`."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """`done` of `total` steps are behind us."""
        ...


class _Nobody:
    def state(self, state: str) -> None:
        pass

    def progress(self, done: int, total: int, what: str) -> None:
        pass


class _Attempt:
    """One proposal as this party sees it; `changed` wakes whoever waits for the others."""

    def __init__(self, attempt_id: bytes) -> None:
        self.id = attempt_id
        self.proposer: PartyId | None = None
        self.dry_run = False
        self.authentic = False
        """True once the request's signature, addressee and times were found right here."""
        self.opening_sent = False
        """True once a share may have left from which an answer can be opened; no refund from then on (rule 15)."""
        self.answers: dict[PartyId, Answer] = {}
        self.secrets: dict[PartyId, bytes] = {}
        """What each other party drew for its pair with us."""
        self.recorded: set[PartyId] = set()
        self.releases: dict[PartyId, bytes] = {}
        self.failure: MpcdError | None = None
        self.concluded = False
        """True once all answers gave one and the same refusal or failure to everybody: no abort is owed."""
        self.irrevocable = False
        """True from the second commit on: a peer's abort no longer undoes anything."""
        self.waiting_for: frozenset[PartyId] = frozenset()
        self.doing = "planning"
        self.scope = trio.CancelScope()
        self._changed = trio.Event()

    def notify(self) -> None:
        """Something arrived; wake the waiter."""
        self._changed.set()
        self._changed = trio.Event()

    def fail(self, error: MpcdError) -> None:
        """End the session from outside its task, unless it is already recorded."""
        if not self.irrevocable and self.failure is None:
            self.failure = error
            self.scope.cancel()

    async def wait(self, parties: frozenset[PartyId], have: Callable[[], set[PartyId]], doing: str) -> None:
        """Until `have()` covers `parties`; meanwhile a deadline would name the silent ones and what was awaited."""
        self.doing = doing
        while missing := parties - have():
            self.waiting_for = missing
            await self._changed.wait()
        self.waiting_for = frozenset()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request would do; nothing ran."""

    plan: PhysicalPlan
    refusals: tuple[Refusal, ...]
    rules_of: Mapping[str, PartyId]
    """Per disclosure number, the party whose rule is the strictest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the proposer holds of a released session."""

    session: SessionId
    plan: PhysicalPlan
    releases: tuple[bytes, ...]
    """One sealed envelope from each compute party, canonical bytes."""
    facts: Mapping[str, object]


@dataclass(slots=True)
class Settings:
    """What the daemon gives to all sessions."""

    me: PartyId
    roster: Roster
    roster_hash: RosterHash
    signing_key: SigningKey
    entropy: Callable[[int], bytes]
    utc_seconds: Callable[[], float]
    session_seconds_max: float = limits.SESSION_SECONDS_MAX
    sessions_max: int = limits.SESSIONS_RUNNING_MAX


@dataclass(slots=True)
class _Run:
    """One agreed session at this party."""

    attempt: _Attempt
    request: SignedRequest
    plan: PhysicalPlan
    session: SessionId
    participants: frozenset[PartyId]
    drawn: Mapping[PartyId, bytes]
    rules_of: Mapping[str, PartyId]
    program: Program
    started: float
    spent: dict[Role, tuple[int, int]] = field(default_factory=dict)
    """Rounds and bytes sent, by own role."""

    @property
    def places(self) -> dict[Role, PartyId]:
        """Which party plays which role."""
        places = {Role("input", index): owner for index, owner in enumerate(self.plan.owners)}
        places.update({Role("compute", index): party for index, party in enumerate(self.plan.compute)})
        return places

    def facts(self, now: float) -> dict[str, object]:
        """What the analyst is told beside the result; not signed."""
        return {
            "session": self.session,
            "security": self.plan.security,
            "seconds": now - self.started,
            "spent": {str(role): list(numbers) for role, numbers in self.spent.items()},
            "rules_of": {name: int(party) for name, party in self.rules_of.items()},
        }


class Sessions:
    """Runs every session of this party; the mesh feeds `receive`, the API calls `submit` and `explain`."""

    def __init__(
        self,
        settings: Settings,
        network: Network,
        planner: PlannerPort,
        engine: EnginePort,
        owner: Owner,
        journal: Journal,
        log: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._me = settings.me
        self._network = network
        self._planner = planner
        self._engine = engine
        self._owner = owner
        self._journal = journal
        self._log = log
        self._attempts: OrderedDict[bytes, _Attempt] = OrderedDict()
        self._running: dict[bytes, _Attempt] = {}
        self._digests: set[RequestDigest] = set()
        self._nursery: trio.Nursery | None = None
        self.draining = False

    @property
    def running_count(self) -> int:
        """Sessions that this party takes part in just now."""
        return len(self._running)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the tasks of all sessions; for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # ------------------------------------------------------------------------------------------ from our own analysts

    async def submit(self, request: SignedRequest, observer: Observer, register: Callable[[_Attempt], None]) -> Outcome:
        """Propose and conduct a session to its end.

        Raises:
            Refused, RequestInvalid, PlanInvalid, ...: why nothing ran, or why nothing was released.
        """
        attempt = self._propose(request, dry_run=False)
        register(attempt)
        outcome = await self._guard(attempt, request, observer)
        assert isinstance(outcome, Outcome)
        return outcome

    async def explain(self, request: SignedRequest) -> Explanation:
        """Ask all parties what they would say, and run nothing."""
        attempt = self._propose(request, dry_run=True)
        outcome = await self._guard(attempt, request, _Nobody())
        assert isinstance(outcome, Explanation)
        return outcome

    def _propose(self, request: SignedRequest, *, dry_run: bool) -> _Attempt:
        self._admit()
        attempt = _Attempt(self._settings.entropy(agreement.ATTEMPT_BYTES))
        attempt.proposer, attempt.dry_run = self._me, dry_run
        self._attempts[attempt.id] = attempt
        assert self._nursery is not None
        message: Message = {
            "type": messages.PROPOSE,
            "attempt": attempt.id,
            "request": request.to_bytes(),
            "dry_run": dry_run,
        }
        for party in self._others():
            self._nursery.start_soon(self._send_or_note, party, message)
        return attempt

    def cancel(self, attempt: _Attempt) -> None:
        """The analyst or an owner wants the session ended; without effect once it is recorded."""
        attempt.fail(Cancelled("the session was cancelled before it was recorded; nothing was released"))

    def _admit(self) -> None:
        if self.draining:
            raise Busy("this party is draining and takes no new sessions; ask again later or through another party")
        if len(self._running) >= self._settings.sessions_max:
            raise Busy(f"this party already runs {len(self._running)} sessions; ask again later")

    # ------------------------------------------------------------------------------------------ from the other parties

    async def receive(self, party: PartyId, message: Message) -> None:
        """One control message from `party`; messages of unknown attempts are held or dropped, never an error."""
        kind = message["type"]
        attempt_id = cast("bytes", message["attempt"])
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            attempt = self._hold(attempt_id)
        if kind == messages.PROPOSE:
            self._receive_proposal(party, attempt, message)
        elif kind == messages.ANSWER:
            answer = Answer.from_value(party, message["answer"])
            attempt.answers.setdefault(party, answer)
            attempt.secrets.setdefault(party, cast("bytes", message["secret"]))
        elif kind == messages.ABORT:
            attempt.fail(self._reported(party, message))
        elif kind == messages.RECORDED:
            attempt.recorded.add(party)
        elif kind == messages.RELEASE:
            attempt.releases.setdefault(party, cast("bytes", message["envelope"]))
        attempt.notify()

    def lost(self, party: PartyId) -> None:
        """The channel to `party` is gone: sessions that are not recorded end, the others wait for it."""
        for attempt in list(self._running.values()):
            if party in attempt.waiting_for:
                attempt.fail(PeerGone(party, f"party {party} went away while we were {attempt.doing}"))

    def _hold(self, attempt_id: bytes) -> _Attempt:
        attempt = self._attempts[attempt_id] = _Attempt(attempt_id)
        idle = [key for key in self._attempts if key not in self._running]
        for key in idle[: max(0, len(idle) - EARLY_ATTEMPTS_MAX)]:
            del self._attempts[key]
        return attempt

    def _receive_proposal(self, party: PartyId, attempt: _Attempt, message: Message) -> None:
        if attempt.proposer is not None:
            self._log("proposal_repeated", party=int(party))
            return
        attempt.proposer, attempt.dry_run = party, bool(message["dry_run"])
        assert self._nursery is not None
        self._nursery.start_soon(self._serve, attempt, cast("bytes", message["request"]))

    async def _serve(self, attempt: _Attempt, encoded: bytes) -> None:
        """Conduct a session that another party proposed; its errors are told to the parties, never to our caller."""
        try:
            self._admit()
            request = SignedRequest.from_bytes(encoded)
            await self._guard(attempt, request, _Nobody())
        except MpcdError as error:
            self._log("session_ended", attempt=attempt.id.hex(), code=error.code, reason=str(error))
            if self._me not in attempt.answers:
                await self._answer_failure(attempt, error)

    # ------------------------------------------------------------------------------------------ one session

    async def _guard(self, attempt: _Attempt, request: SignedRequest, observer: Observer) -> Explanation | Outcome:
        """Conduct under the one deadline; turn every end into a typed error; tell the others of an abort."""
        digest = request.digest()
        if digest in self._digests and not attempt.dry_run:
            raise RequestInvalid("the same request is already running; each request is used once")
        self._running[attempt.id] = attempt
        if not attempt.dry_run:
            self._digests.add(digest)
        try:
            return await self._conduct_in_time(attempt, request, observer)
        except MpcdError as error:
            if not attempt.concluded and error is not attempt.failure:
                await self._tell_abort(attempt, error)
            raise
        finally:
            self._running.pop(attempt.id, None)
            self._digests.discard(digest)

    async def _conduct_in_time(
        self, attempt: _Attempt, request: SignedRequest, observer: Observer
    ) -> Explanation | Outcome:
        attempt.scope.deadline = trio.current_time() + self._settings.session_seconds_max
        outcome: Explanation | Outcome | None = None
        with attempt.scope:
            outcome = await _flat(self._conduct(attempt, request, observer))
        if outcome is not None:
            return outcome
        if attempt.failure is not None:
            raise attempt.failure
        silent = ", ".join(str(party) for party in sorted(attempt.waiting_for)) or "none"
        raise DeadlineExceeded(
            f"the session's deadline of {self._settings.session_seconds_max:.0f} s passed while {attempt.doing}; "
            f"silent parties: {silent}"
        )

    async def _conduct(self, attempt: _Attempt, request: SignedRequest, observer: Observer) -> Explanation | Outcome:
        observer.state("proposed")
        secrets = {party: self._settings.entropy(agreement.NONCE_BYTES) for party in self._others()}
        answer, plan = await self._answer(attempt, request)
        attempt.answers[self._me] = answer
        for party in self._others():
            await self._send_or_note(
                party,
                {"type": messages.ANSWER, "attempt": attempt.id, "answer": answer.to_value(), "secret": secrets[party]},
            )
        if plan is None:
            attempt.concluded = True
            await self._note_refusal(attempt, request, (answer,))
            agreement.check_verdicts((answer,))
        assert plan is not None
        participants = self._participants(attempt, plan)
        await attempt.wait(participants, lambda: set(attempt.answers), "waiting for the parties' answers")
        answers = [attempt.answers[party] for party in sorted(participants)]
        explanation = await self._conclude(attempt, request, answers, plan)
        if attempt.dry_run:
            return explanation
        session = agreement.session_id(answers, explanation.plan.hash)
        run = _Run(
            attempt=attempt,
            request=request,
            plan=explanation.plan,
            session=session,
            participants=participants,
            drawn=secrets,
            rules_of=explanation.rules_of,
            program=Program(explanation.plan),
            started=self._settings.utc_seconds(),
        )
        await self._journal.agreed(request, session, run.plan)
        observer.state("agreed")
        try:
            return await self._run(run, observer)
        except MpcdError as error:
            await self._close_failed(run, error)
            raise
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._close_failed(run, attempt.failure or DeadlineExceeded("the session's deadline passed"))
            raise

    async def _answer(self, attempt: _Attempt, request: SignedRequest) -> tuple[Answer, LogicalPlan | None]:
        """This party's own answer, and its plan where there is one."""
        settings = self._settings
        common = {
            "party": self._me,
            "attempt": attempt.id,
            "request_digest": request.digest(),
            "roster_hash": settings.roster_hash,
            "nonce": settings.entropy(agreement.NONCE_BYTES),
            "clock_seconds": settings.utc_seconds(),
        }
        try:
            request.verify(
                settings.utc_seconds(),
                settings.roster_hash,
                settings.roster.consortium,
                roster_version=settings.roster.version,
            )
            attempt.authentic = True
            plan = await self._planner.plan(request.request.text, request.request.as_of)
            versions = (
                self._engine.data_versions(tuple(source.table for source in plan.sources))
                if self._me in plan.owners
                else {}
            )
        except MpcdError as error:
            code, text = agreement.failure_of(error)
            failed = Answer(verdict="fail", failure_code=code, failure_message=text, **common)  # type: ignore[arg-type]
            return failed, None
        refusals = self._owner.refusals(request, plan) if self._me in plan.owners else ()
        return (
            Answer(
                verdict="refuse" if refusals else "agree",
                refusals=refusals,
                plan_sections=agreement.sections(cast("Mapping[str, object]", plan.to_value())),
                rules=dict(self._owner.rules().to_value()),
                data_versions=versions,
                **common,  # type: ignore[arg-type]
            ),
            plan,
        )

    async def _conclude(
        self, attempt: _Attempt, request: SignedRequest, answers: list[Answer], plan: LogicalPlan
    ) -> Explanation:
        """The one conclusion that all parties draw from the same answers; writes the refusal where it is one."""
        refusals = tuple(reason for answer in answers for reason in answer.refusals)
        try:
            agreement.check_bound(answers, attempt.id, request.digest())
            if not (attempt.dry_run and refusals):
                agreement.check_verdicts(answers)
            agreement.check_alike(answers)
        except MpcdError:
            attempt.concluded = True
            await self._note_refusal(attempt, request, answers)
            raise
        owners = tuple(answer for answer in answers if answer.party in plan.owners)
        rules, whose = strictest(
            [(a.party, DisclosureRules.from_value(cast("canonical.Value", a.rules))) for a in owners]
        )
        physical = PhysicalPlan(
            logical=plan,
            rules=rules,
            owners=tuple(answer.party for answer in owners),
            compute=self._compute_parties(),
            data_versions={answer.party: dict(answer.data_versions or {}) for answer in owners},
        )
        return Explanation(physical, refusals, whose)

    # ------------------------------------------------------------------------------------------ the run

    async def _run(self, run: _Run, observer: Observer) -> Outcome:
        """Own roles, second commit, acknowledgements, release."""
        attempt = run.attempt
        observer.state("running")
        attempt.doing = "computing"
        attempt.waiting_for = run.participants - {self._me}
        payload = await self._roles(run, observer)
        attempt.waiting_for = frozenset()
        compute = frozenset(run.plan.compute)
        if payload is None:
            await attempt.wait(compute, lambda: attempt.recorded, "waiting for the compute parties to record")
            sealed = b""
        else:
            observer.state("verified")
            attempt.opening_sent = True
            sealed = self._seal(run, payload).to_bytes()
        with trio.CancelScope(shield=True):
            await self._journal.recorded(run.request, run.session, run.plan, sealed or None)
            attempt.irrevocable = True
            attempt.recorded.add(self._me)
            observer.state("recorded")
            for party in run.participants - {self._me}:
                await self._send_or_note(
                    party, {"type": messages.RECORDED, "attempt": attempt.id, "session": run.session}
                )
        releases = await self._release(run, sealed)
        observer.state("released")
        return Outcome(run.session, run.plan, releases, run.facts(self._settings.utc_seconds()))

    async def _release(self, run: _Run, sealed: bytes) -> tuple[bytes, ...]:
        """Wait for every participant's commit, then let the sealed bytes go; `withheld` if the deadline comes first."""
        attempt = run.attempt
        try:
            await attempt.wait(run.participants, lambda: attempt.recorded, "waiting for acknowledgements of the record")
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                silent = ", ".join(str(party) for party in sorted(attempt.waiting_for))
                await self._journal.withheld(run.session, ResultWithheld.code)
            attempt.failure = ResultWithheld(
                f"recorded and debited, but not released: parties {silent} did not acknowledge before the deadline"
            )
            raise
        if sealed:
            attempt.releases[self._me] = sealed
            if attempt.proposer != self._me:
                assert attempt.proposer is not None
                message: Message = {"type": messages.RELEASE, "attempt": attempt.id, "envelope": sealed}
                await self._send_or_note(attempt.proposer, message)
        if attempt.proposer == self._me:
            parties = frozenset(run.plan.compute)
            await attempt.wait(parties, lambda: set(attempt.releases), "waiting for the sealed releases")
        assert self._nursery is not None
        self._nursery.start_soon(self._journal.released, run.session, run.participants)
        return tuple(attempt.releases[party] for party in run.plan.compute if party in attempt.releases)

    async def _roles(self, run: _Run, observer: Observer) -> bytes | None:
        """Play this party's roles; the compute role's payload, if it has one."""
        links = self._network.session(run.session, run.places)
        payload: bytes | None = None
        try:
            async with trio.open_nursery() as nursery:
                for index, owner in enumerate(run.plan.owners):
                    if owner == self._me:
                        nursery.start_soon(self._give, run, links.transport(Role("input", index)), observer)
                if self._me in run.plan.compute:
                    payload = await self._compute(
                        run, links.transport(Role("compute", run.plan.compute.index(self._me)))
                    )
        finally:
            links.close()
        return payload

    async def _give(self, run: _Run, transport: Transport, observer: Observer) -> None:
        """The input role: own cells from the own database, shared to the compute parties."""
        plan = run.plan
        answer = await self._engine.aggregate(plan.logical, plan.data_versions[self._me], limits.ENGINE_SECONDS_MAX)
        observer.progress(1, 2, "local part done")
        index = plan.owners.index(self._me)
        context = input_context(index, transport, self._settings.entropy, session=run.session, parties=run.places)
        await run.program.run_input(context, answer)
        run.spent[Role("input", index)] = (context.rounds, context.bytes_sent)

    async def _compute(self, run: _Run, transport: Transport) -> bytes:
        """The compute role: keys, confirmation, the oblivious program; the shares to be sealed."""
        index = run.plan.compute.index(self._me)
        keys = PrssKeys.derive(
            index, run.session, run.plan.compute, run.drawn, run.attempt.secrets, self._network.channel_hash
        )
        await keys.confirm(transport)
        context = compute_context(
            index, transport, Prss(keys.own, keys.following), run.plan.security, session=run.session, parties=run.places
        )
        payload = await run.program.run_compute(context)
        spent = CONFIRM_COST
        run.spent[Role("compute", index)] = (context.rounds + spent.rounds, context.bytes_sent + spent.compute[index])
        return payload

    def _seal(self, run: _Run, payload: bytes) -> ReleaseEnvelope:
        return ReleaseEnvelope.seal(
            party=self._me,
            session=run.session,
            request_digest=run.request.digest(),
            plan_hash=run.plan.hash,
            plaintext=payload,
            padded_bytes=len(payload),
            result_key=run.request.request.result_key,
            signing_key=self._settings.signing_key,
        )

    # ------------------------------------------------------------------------------------------ small things

    def _others(self) -> list[PartyId]:
        return [party.id for party in self._settings.roster.parties if party.id != self._me]

    def _compute_parties(self) -> tuple[PartyId, PartyId, PartyId]:
        """The first three parties of the roster that compute, by id."""
        first, second, third = sorted(p.id for p in self._settings.roster.parties if "compute" in p.roles)[:3]
        return first, second, third

    def _participants(self, attempt: _Attempt, plan: LogicalPlan) -> frozenset[PartyId]:
        """Owners, compute parties, and the proposer, who hands the result to its analyst."""
        assert attempt.proposer is not None
        return frozenset({*plan.owners, *self._compute_parties(), attempt.proposer})

    async def _send_or_note(self, party: PartyId, message: Message) -> None:
        """Send; a party that is away is noticed by whoever waits for it."""
        try:
            await self._network.send_control(party, message)
        except PeerGone as error:
            self._log("message_not_sent", party=int(party), kind=str(message["type"]), reason=str(error))
            attempt = self._attempts.get(cast("bytes", message["attempt"]))
            if attempt is not None and party in attempt.waiting_for:
                attempt.fail(error)

    async def _note_refusal(self, attempt: _Attempt, request: SignedRequest, answers: Sequence[Answer]) -> None:
        """On the record, if it was really asked: a stranger's words are logged, not kept."""
        if attempt.dry_run or not attempt.authentic:
            return
        reasons = [reason for answer in answers for reason in answer.refusals]
        reasons += [Refusal(a.party, a.failure_code, "", a.failure_message) for a in answers if a.verdict == "fail"]
        await self._journal.refused(request, tuple(reasons))

    async def _answer_failure(self, attempt: _Attempt, error: MpcdError) -> None:
        """Tell all that this party cannot even look at the proposal."""
        await self._tell_abort(attempt, error)

    async def _tell_abort(self, attempt: _Attempt, error: MpcdError) -> None:
        code, text = agreement.failure_of(error)
        message: Message = {"type": messages.ABORT, "attempt": attempt.id, "code": code, "message": text}
        with trio.CancelScope(deadline=trio.current_time() + limits.ABORT_SECONDS_MAX, shield=True):
            for party in self._others():
                await self._send_or_note(party, message)

    async def _close_failed(self, run: _Run, error: MpcdError) -> None:
        if run.attempt.irrevocable:
            return
        self._log("session_aborted", session=run.session.hex(), code=error.code, reason=str(error))
        await self._journal.aborted(run.session, error.code, refund=not run.attempt.opening_sent)

    def _reported(self, party: PartyId, message: Message) -> MpcdError:
        """A peer's abort as our own error: its class by its code, its words after its name."""
        code, text = str(message["code"]), str(message["message"])
        kind = closed_codes().get(code, SessionFault)
        if issubclass(kind, PeerFault):
            return kind(party, f"party {party} reports: {text}")
        if kind is Refused or not issubclass(kind, (CallerFault, SessionFault)):
            return SessionFault(f"party {party} ended the session: {text} ({code})")
        return kind(f"party {party}: {text}")


async def _flat(awaitable: Awaitable[Explanation | Outcome]) -> Explanation | Outcome:
    """Await; of the failures of several roles at once raise the first typed one, so that callers see one error."""
    try:
        return await awaitable
    except BaseExceptionGroup as group:
        error = _first(group)
        if error is None:
            raise
        raise error from group


def _first(group: BaseExceptionGroup[BaseException]) -> MpcdError | None:
    for error in group.exceptions:
        if isinstance(error, MpcdError):
            return error
        if isinstance(error, BaseExceptionGroup) and (inner := _first(error)) is not None:
            return inner
    return None
