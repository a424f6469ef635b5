"""One session at one party, driven by the lifecycle's table (trio).

Theory of operation.  `conduct` answers the proposal, waits for everybody's answer and concludes; from then on it is a
loop:

    state, effects = lifecycle.advance(state, event)        what the table says
    event = the last effect's outcome                       what the shell did, here, one method an effect

until an effect says that it is over.  Whatever goes wrong, here or at a peer, is an event too, and the table says what
it undoes.

What all parties conclude from the same answers (a refusal, a plan that differs) is told to nobody: everybody knows.
What only we know (our disk, our engine, a lost channel) is told to all.

*Secrets.*  Pair secrets, PRSS keys, shares and the opened engine answer live in this object and in the session's
contexts; nothing of them is stored or logged, and they go when the session does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, cast

import trio

from mpcd import canonical, limits
from mpcd.compile.beside import Beside
from mpcd.compile.choose import program
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.attempt import NOTHING, Attempt, Explanation, Observer, Outcome, Run
from mpcd.errors import (
    AwaitingApproval,
    Bug,
    CallerFault,
    CheatDetected,
    ClockSkew,
    DeadlineExceeded,
    MpcdError,
    PeerGone,
    PeerMalformed,
    PlanUnsupported,
    Refusal,
    Refused,
    RequestInvalid,
    ResultWithheld,
    SessionFault,
)
from mpcd.governance.decision import Decision
from mpcd.governance.disclosure import DisclosureRules, strictest
from mpcd.governance.policy import Security, strongest
from mpcd.governance.receipt import DOMAIN as RECEIPT_DOMAIN
from mpcd.governance.receipt import SignedReceipt
from mpcd.identity import SigningKey, VerifyKey
from mpcd.identity.release import ReleaseEnvelope
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, Role, RosterHash
from mpcd.plan.ir import LogicalPlan
from mpcd.protocols.context import Transport, compute_context, input_context
from mpcd.protocols.prss import Prss
from mpcd.roster import Roster
from mpcd.session import agreement, messages, terms
from mpcd.session.agreement import Answer
from mpcd.session.keys import CONFIRM_COST, PrssKeys
from mpcd.session.lifecycle import TERMINAL, Effect, Event, State, advance
from mpcd.session.ports import EnginePort, Journal, Links, Network, PlannerPort

Message = dict[str, object]
_SECURITY: Final = "security"
"""Beside the disclosure rules in an answer: the weakest security that the owner accepts."""


NOT_HERE: Final = frozenset({Effect.ANSWER_AGAIN, Effect.ASK_PEERS})
"""Effects that no conductor meets: who answers again is another one, and a party that restarted asks by `Sessions`."""


class Owner(Protocol):
    """This party's own policy, as it stands now."""

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        """What this owner says to the request: every reason against it, what it waits for, takes and asks for it."""
        ...

    async def ask_approvers(
        self, request: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """Keep the request for this owner's people to decide; nothing else stands against it anywhere."""
        ...

    def security(self) -> Security:
        """The weakest security that this owner accepts."""
        ...

    def rules(self) -> DisclosureRules:
        """This owner's disclosure rules."""
        ...


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
    admit: Callable[[VerifyKey, float], None] = lambda _key, _now: None
    """Raises `Busy` where a key has too much put on the record; see `daemon.rates`."""


class Past(Protocol):
    """What this party has answered before, and what a question must be kept apart from; see `daemon.history`."""

    def answer(
        self, attempt: bytes, request: SignedRequest, plan: LogicalPlan, at: int, *, dry_run: bool
    ) -> tuple[bytes, tuple[Refusal, ...]]:
        """List what we know and register what is asked, in one step; or why it is refused."""
        ...

    async def beside(self, plan: LogicalPlan, lists: Mapping[PartyId, bytes]) -> Beside:
        """The pairs that follow from all owners' lists; raises `Busy`, `PlanUnsupported`, ValueError."""
        ...

    async def over(self, attempt: bytes) -> None:
        """The attempt has ended."""
        ...


@dataclass(slots=True)
class Shell:
    """What a session needs from outside; see `session.ports`."""

    settings: Settings
    network: Network
    planner: PlannerPort
    engine: EnginePort
    owner: Owner
    journal: Journal
    log: Callable[..., None]
    spawn: Callable[..., None]
    """Starts a task that outlives the session."""
    known: Callable[[Run, Attempt], None]
    """Told once the session has its id, so that messages that name it find their attempt."""
    past: Past

    @property
    def others(self) -> list[PartyId]:
        """Every other party of the roster."""
        return [party.id for party in self.settings.roster.parties if party.id != self.settings.me]

    async def tell(self, parties: Sequence[PartyId] | frozenset[PartyId], message: Message) -> set[PartyId]:
        """Send to each; returns who is away."""
        away = set()
        for party in parties:
            try:
                await self.network.send_control(party, message)
            except PeerGone as error:
                self.log("message_not_sent", party=int(party), kind=str(message["type"]), reason=str(error))
                away.add(party)
        return away


class Concluded(Exception):  # not an error: the same end at every party, already known to all
    """All parties drew this conclusion from the same answers, or need no word from us."""

    def __init__(self, event: Event, error: MpcdError) -> None:
        super().__init__(str(error))
        self.event = event
        self.error = error


class NotConcerned(SessionFault):
    """This party neither gives data nor computes in the session; it has answered, and that is all."""


class Conductor:
    """Walks one attempt through the lifecycle."""

    def __init__(self, shell: Shell, attempt: Attempt, request: SignedRequest, observer: Observer) -> None:
        self._shell = shell
        self._settings = shell.settings
        self._me = shell.settings.me
        self._attempt = attempt
        self._request = request
        self._observer = observer
        self._state: State = State.PROPOSED
        self._error: MpcdError | None = None
        self._refusals: tuple[Refusal, ...] = ()
        self._decision = NOTHING
        self._authentic = False
        self._drawn = {party: self._settings.entropy(agreement.NONCE_BYTES) for party in shell.others}
        self._run: Run | None = None
        self._rests: Explanation | None = None
        """What would run if people allowed it."""
        self._links: Links | None = None
        self._keys: PrssKeys | None = None
        self._payload: bytes | None = None
        self._receipt: SignedReceipt | None = None
        self._sealed = b""
        self._outcome: Outcome | None = None
        self._perform: dict[Effect, Callable[[], Awaitable[Event | None]]] = {
            Effect.ASK_APPROVERS: self._ask_approvers,
            Effect.COMMIT_REFUSED: self._commit_refused,
            Effect.COMMIT_AGREED: self._commit_agreed,
            Effect.OPEN_LINKS: self._open_links,
            Effect.MAKE_KEYS: self._make_keys,
            Effect.START_ROLES: self._start_roles,
            Effect.SIGN_RECEIPT: self._sign_receipt,
            Effect.SEAL: self._seal,
            Effect.COMMIT_RECORDED: self._commit_recorded,
            Effect.STOP_ROLES: self._stop_roles,
            Effect.ACKNOWLEDGE: self._acknowledge,
            Effect.SEND_RELEASE: self._send_release,
            Effect.COMMIT_RELEASED: self._commit_released,
            Effect.COMMIT_WITHHELD: self._commit_withheld,
            Effect.COMMIT_ABORTED_AND_REFUND: lambda: self._commit_aborted(refund=True),
            # A cells program opens nothing but masked values of its own check before it seals.
            Effect.COMMIT_ABORTED_AND_REFUND_IF_NOTHING_OPENED: lambda: self._commit_aborted(refund=True),
            Effect.COMMIT_ABORTED_AND_KEEP_DEBIT: lambda: self._commit_aborted(refund=False),
            Effect.TELL_PEERS: self._tell_peers,
            Effect.TELL_ANALYST: self._tell_analyst,
        }
        assert self._perform.keys() | NOT_HERE == set(Effect)

    # ------------------------------------------------------------------------------------------ the loop

    async def conduct(self) -> Explanation | Outcome:
        """To the end.

        Raises:
            Refused, RequestInvalid, PeerGone, ...: why nothing was released.
        """
        self._observer.state(self._state)
        try:
            explanation = await self._agree()
        except NotConcerned:
            raise
        except Concluded as conclusion:
            if self._attempt.dry_run:
                raise conclusion.error from None
            event: Event | None = conclusion.event
            self._error = conclusion.error
        except (Exception, trio.Cancelled, BaseExceptionGroup) as error:  # noqa: BLE001  # see _reason
            event = self._failed(self._reason(error) or error)
            if self._attempt.dry_run and self._error is not None:
                raise self._error from None
        else:
            if self._run is None:
                return explanation
            event = Event.ALL_AGREE
        while event is not None:
            event = await self._step(event)
        if self._outcome is None:
            raise self._error or Bug("a session ended without a result and without a reason")
        return self._outcome

    async def _step(self, event: Event) -> Event | None:
        """One row of the table; an effect's failure becomes the next event."""
        self._state, effects = advance(self._state, event)
        self._observer.state(self._state)
        following: Event | None = None
        # What has ended, or may no longer be undone, is finished whatever happens outside.
        over = self._state in TERMINAL
        with trio.CancelScope(shield=over) as shield:
            if over:
                shield.deadline = trio.current_time() + limits.SESSION_END_SECONDS_MAX
            for effect in effects:
                try:
                    following = await self._perform[effect]() or following
                except (Exception, trio.Cancelled, BaseExceptionGroup) as error:
                    reason = self._reason(error)
                    if over and reason is not None:
                        self._note_broken(effect, reason)
                    elif over:
                        raise
                    else:
                        return self._failed(reason or error)
        return following

    def _reason(self, error: BaseException) -> MpcdError | None:
        """The first reason in what one or several roles raised; None if there was nothing but cancellation.

        What nobody expected is logged with its place and becomes a `Bug`: it ends the session, not the daemon.
        """
        if isinstance(error, MpcdError):
            return error
        if isinstance(error, BaseExceptionGroup):
            reasons = [self._reason(inner) for inner in error.exceptions]
            return next((reason for reason in reasons if reason is not None), None)
        if isinstance(error, trio.Cancelled):
            return None
        if not isinstance(error, Exception):
            raise error
        self._shell.log("session_failed", state=str(self._state), exc_info=error)
        return Bug("this party met an internal error; its log says where")

    def _note_broken(self, effect: Effect, error: MpcdError) -> None:
        """An effect of the end failed: the others are still performed, the first reason is kept."""
        self._shell.log("session_end_failed", state=str(self._state), kind=str(effect), reason=str(error))
        self._error = self._error or error

    def _failed(self, error: BaseException) -> Event:
        """The event that stands for a failure; the first reason is kept.  A stopping daemon is none."""
        attempt = self._attempt
        if isinstance(error, MpcdError):
            self._error = self._error or error
            event = _event_of(error)
        elif attempt.failure is None and trio.current_time() < attempt.scope.deadline:
            raise error
        else:
            self._error = self._error or attempt.failure or self._too_late()
            event = attempt.failure_event
        return Event.LOCAL_FAILURE if self._state is State.PROPOSED and event is Event.CHECK_FAILED else event

    def _too_late(self) -> DeadlineExceeded:
        silent = ", ".join(str(party) for party in sorted(self._attempt.waiting_for)) or "none"
        return DeadlineExceeded(
            f"the session's deadline of {self._settings.session_seconds_max:.0f} s passed while {self._attempt.doing}; "
            f"silent parties: {silent}"
        )

    # ------------------------------------------------------------------------------------------ agreement

    async def _agree(self) -> Explanation:
        """Answer, wait for all answers, conclude; raises `Concluded` with what all parties conclude too."""
        attempt = self._attempt
        answer, plan = await self._answer()
        attempt.answers[self._me] = answer
        value = answer.to_value()
        for party in self._shell.others:
            message: Message = {"type": messages.ANSWER, "attempt": attempt.id, "answer": value}
            attempt.lost |= await self._shell.tell([party], {**message, "secret": self._drawn[party]})
        if plan is None:
            self._refusals = _as_refusals((answer,))
            raise Concluded(Event.SOME_FAIL, _verdict_of((answer,)))
        participants = self._participants(plan)
        if self._me not in participants:
            raise NotConcerned("this party has no role in the session")
        attempt.admit_aborts(participants)
        for party in sorted(participants - {self._me} - attempt.answers.keys()):
            self._shell.network.channel_hash(party)  # raises PeerGone for one that is away: nobody waits for it
        await attempt.wait(participants, lambda: attempt.answers, "waiting for the parties' answers")
        answers = [attempt.answers[party] for party in sorted(participants)]
        explanation = self._conclude(answers, plan, await self._beside(answers, plan))
        # A party of the roster that neither gives, computes nor proposed has nothing more to do with it.
        if not attempt.dry_run and self._me in participants:
            self._run = Run(
                request=self._request,
                plan=explanation.plan,
                program=program(explanation.plan),
                session=agreement.session_id(answers, explanation.plan.hash),
                participants=participants,
                rules_of=explanation.rules_of,
                decision=self._decision,
                started=self._settings.utc_seconds(),
            )
            self._shell.known(self._run, attempt)
        return explanation

    async def _answer(self) -> tuple[Answer, LogicalPlan | None]:
        """This party's own answer, and its plan where there is one."""
        settings, request = self._settings, self._request
        common = {
            "party": self._me,
            "attempt": self._attempt.id,
            "request_digest": request.digest(),
            "roster_hash": settings.roster_hash,
            "proposer": self._proposer,
            "dry_run": self._attempt.dry_run,
            "nonce": settings.entropy(agreement.NONCE_BYTES),
            "clock_seconds": settings.utc_seconds(),
        }
        try:
            now, roster = settings.utc_seconds(), settings.roster
            request.verify(now, settings.roster_hash, roster.consortium, roster_version=roster.version)
            _check_time(self._attempt.at, now, self._proposer)
            if (request.request.kind != "sql") != self._attempt.dry_run:
                raise RequestInvalid("the analyst signed another kind of request than the one that is proposed")
            if not self._attempt.dry_run:
                settings.admit(request.request.analyst, trio.current_time())  # before anything is put on the record
            self._authentic = True
            plan = await self._shell.planner.plan(request.request.text, request.request.as_of)
            tables = tuple(source.table for source in plan.sources)
            versions: dict[str, str] = {}
            if self._me in plan.owners:
                versions = self._shell.engine.data_versions(tables)
                self._decision = self._listed(plan, await self._decide(plan, versions))
        except MpcdError as error:
            code, text = agreement.failure_of(error)
            failed = Answer(verdict="fail", failure_code=code, failure_message=text, **common)  # type: ignore[arg-type]
            return failed, None
        answer = Answer(
            verdict=self._decision.verdict,
            refusals=self._decision.refusals,
            waits=self._decision.waits,
            plan_sections=agreement.sections(cast("Mapping[str, object]", plan.to_value())),
            rules={**self._shell.owner.rules().to_value(), _SECURITY: self._shell.owner.security()},
            data_versions=versions,
            terms=self._decision.terms,
            **common,  # type: ignore[arg-type]
        )
        return answer, plan

    async def _decide(self, plan: LogicalPlan, versions: Mapping[str, str]) -> Decision:
        """What our owner says; a request that is to run now or not at all waits for nothing."""
        decision = await self._shell.owner.decide(self._request, plan, versions, self._attempt)
        if self._attempt.dry_run or self._request.request.wait_seconds > 0:
            return decision
        refusals = (*decision.refusals, *(wait.refusal() for wait in decision.waits))
        return replace(decision, refusals=refusals, waits=())

    def _listed(self, plan: LogicalPlan, decision: Decision) -> Decision:
        """The decision, and which earlier questions we know; from here on other sessions know of this one."""
        if decision.refusals:
            return decision
        attempt, request = self._attempt, self._request
        known, refusals = self._shell.past.answer(attempt.id, request, plan, attempt.at, dry_run=attempt.dry_run)
        return replace(decision, refusals=refusals, terms={**decision.terms, "history": known})

    async def _beside(self, answers: Sequence[Answer], plan: LogicalPlan) -> Beside | None:
        """What the question must be kept apart from; None where nothing will run, or with noise."""
        if any(answer.verdict in {"refuse", "fail"} for answer in answers) or self._request.request.privacy is not None:
            return None
        try:
            return await self._shell.past.beside(plan, terms.histories(answers, plan.owners))
        except PlanUnsupported as error:
            raise Concluded(Event.SOME_FAIL, error) from error
        except (ValueError, TypeError) as error:
            fault = SessionFault("a party's list of earlier questions makes no sense; compare versions")
            raise Concluded(Event.SOME_FAIL, fault) from error

    def _conclude(self, answers: Sequence[Answer], plan: LogicalPlan, beside: Beside | None) -> Explanation:
        """The one conclusion that all parties draw from the same answers."""
        self._refusals = _as_refusals(answers)
        refusals = tuple(reason for answer in answers for reason in answer.refusals)
        try:
            agreement.check_bound(
                answers,
                self._attempt.id,
                self._request.digest(),
                self._proposer,
                dry_run=self._attempt.dry_run,
            )
            if not (self._attempt.dry_run and refusals):
                agreement.check_verdicts(answers)
            agreement.check_alike(answers)
            owners = [answer for answer in answers if answer.party in plan.owners]
            demanded = [(a.party, dict(a.rules or {})) for a in owners]
            security, whose_security = strongest([(party, asked.pop(_SECURITY, None)) for party, asked in demanded])
            rules, whose = strictest(
                [(party, DisclosureRules.from_value(cast("canonical.Value", asked))) for party, asked in demanded]
            )
            whose[_SECURITY] = whose_security
            physical = PhysicalPlan(
                logical=plan,
                rules=rules,
                owners=tuple(answer.party for answer in owners),
                compute=self._compute_parties(),
                data_versions={answer.party: dict(answer.data_versions or {}) for answer in owners},
                security=security,
                terms=terms.agreed(answers, plan.owners, at=self._attempt.at, privacy=self._request.request.privacy),
                beside=beside,
            )
            program(physical)  # refuses what it cannot do, at every party alike
            if not self._attempt.dry_run:
                self._rests = Explanation(physical, refusals, whose, tuple(answers))
                agreement.check_waits(answers)
        except (ValueError, TypeError) as error:
            fault = SessionFault("a party's disclosure rules or terms make no sense; compare versions")
            raise Concluded(Event.SOME_FAIL, fault) from error
        except MpcdError as error:
            # Asked what it would say, each party that refuses says so, even where nothing could be run either.
            verdict = Refused(refusals) if self._attempt.dry_run and refusals else error
            raise Concluded(_conclusion(verdict), verdict) from error
        return Explanation(physical, refusals, whose, tuple(answers))

    @property
    def _proposer(self) -> PartyId:
        assert self._attempt.proposer is not None
        return self._attempt.proposer

    def _compute_parties(self) -> tuple[PartyId, PartyId, PartyId]:
        """The first three parties of the roster that compute, by id."""
        first, second, third = sorted(p.id for p in self._settings.roster.parties if "compute" in p.roles)[:3]
        return first, second, third

    def _participants(self, plan: LogicalPlan) -> frozenset[PartyId]:
        """Owners, compute parties, and the proposer, who hands the result to its analyst."""
        return frozenset({*plan.owners, *self._compute_parties(), self._proposer})

    # ------------------------------------------------------------------------------------------ effects: before running

    async def _ask_approvers(self) -> None:
        """Keep the request for our own people, if we wait for them; each owner does so for itself."""
        if self._decision.waits and self._rests is not None:
            rests = self._rests
            try:
                await self._shell.owner.ask_approvers(self._request, rests.plan, rests.rules_of, self._proposer)
            except MpcdError as error:
                self._error = error
                raise

    async def _commit_refused(self) -> None:
        """On the record, if it was really asked: a stranger's words are logged, not kept.

        A request that may wait is not used up by what will pass: its keeper tries again.
        """
        error = self._error
        if self._request.request.wait_seconds > 0 and error is not None and will_pass(error):
            self._shell.log("waiting_not_run", request=self._request.digest().hex(), code=error.code, reason=str(error))
        elif self._authentic:
            reasons = self._refusals or (Refusal(self._me, error.code if error else "", "", str(error)),)
            await self._shell.journal.refused(self._request, reasons)

    async def _commit_agreed(self) -> Event:
        try:
            run = self._agreed
            await self._shell.journal.agreed(
                self._request, run.session, run.plan, run.participants, run.decision.debits
            )
        except MpcdError as error:
            self._error = error
            return Event.AGREEMENT_NOT_COMMITTED
        return Event.AGREEMENT_COMMITTED

    @property
    def _agreed(self) -> Run:
        assert self._run is not None
        return self._run

    async def _open_links(self) -> Event:
        self._attempt.doing = "preparing"
        self._attempt.need(self._agreed.participants - {self._me})
        self._links = self._shell.network.session(self._agreed.session, self._agreed.places)
        return Event.LINKS_OPEN

    async def _make_keys(self) -> Event:
        """Derive and confirm the PRSS keys, if we compute."""
        plan = self._agreed.plan
        if self._me in plan.compute:
            assert self._links is not None
            index = plan.compute.index(self._me)
            self._keys = PrssKeys.derive(
                index,
                self._agreed.session,
                plan.compute,
                self._drawn,
                self._attempt.secrets,
                self._links.channel_hash,
            )
            await self._keys.confirm(self._transport(Role("compute", index)))
        return Event.KEYS_CONFIRMED

    def _transport(self, role: Role) -> Transport:
        assert self._links is not None
        return self._links.transport(role)

    # ------------------------------------------------------------------------------------------ effects: running

    async def _start_roles(self) -> None:
        """Play our roles to the end."""
        plan = self._agreed.plan
        self._attempt.doing = "computing"
        async with trio.open_nursery() as nursery:
            for index, owner in enumerate(plan.owners):
                if owner == self._me:
                    nursery.start_soon(self._give, Role("input", index))
            if self._keys is not None:
                self._payload = await self._compute(self._keys)

    async def _sign_receipt(self) -> Event:
        """Sign the receipt and wait for everybody's signature of it; who does not compute signs after those who do.

        Raises:
            PeerMalformed: a party signed another receipt than the one that follows from the plan.
        """
        attempt, run, settings = self._attempt, self._agreed, self._settings
        signed = partial(attempt.signed, run.session)
        if self._payload is None:
            await attempt.wait(frozenset(run.plan.compute), signed, "waiting for the compute parties' receipts")
        receipt = run.receipt(settings.roster_hash).to_bytes()
        signature = settings.signing_key.sign(RECEIPT_DOMAIN, receipt)
        attempt.receipt_signatures[self._me] = run.session, signature
        message: Message = {
            "type": messages.RECEIPT,
            "attempt": attempt.id,
            "session": run.session,
            "signature": signature,
        }
        await self._shell.tell(sorted(run.participants - {self._me}), message)
        await attempt.wait(run.participants, signed, "waiting for all signatures of the receipt")
        signatures = {party: attempt.receipt_signatures[party][1] for party in sorted(run.participants)}
        self._receipt = SignedReceipt(receipt, signatures)
        for party in sorted(run.participants):
            self._receipt.check(party, VerifyKey.from_text(settings.roster.party(party).signing_key))
        return Event.PRODUCT_VERIFIED

    async def _give(self, role: Role) -> None:
        """The input role: own cells from the own database, shared to the compute parties."""
        run = self._agreed
        cells = await self._shell.engine.aggregate(
            run.plan.logical,
            run.plan.data_versions[self._me],
            limits.ENGINE_SECONDS_MAX,
            None if run.plan.privacy is None else run.plan.privacy.rows_per_person,
        )
        evidence = {}
        if run.program.asks:
            evidence = await self._shell.engine.evidence(
                run.plan, run.program.asks, run.plan.data_versions[self._me], limits.ENGINE_SECONDS_MAX
            )
        self._observer.progress(1, 2, "local part done")
        context = input_context(
            role.index, self._transport(role), self._settings.entropy, session=run.session, parties=run.places
        )
        await run.program.run_input(context, cells, evidence)
        run.spent[role] = (context.rounds, context.bytes_sent)

    async def _compute(self, keys: PrssKeys) -> bytes:
        """The compute role: the oblivious program; returns our shares, to be sealed."""
        run = self._agreed
        index = run.plan.compute.index(self._me)
        role = Role("compute", index)
        context = compute_context(
            index,
            self._transport(role),
            Prss(keys.own, keys.following),
            run.plan.security,
            session=run.session,
            parties=run.places,
        )
        payload = await run.program.run_compute(context)
        context.finish()
        spent = CONFIRM_COST
        run.spent[role] = (context.rounds + spent.rounds, context.bytes_sent + spent.compute[index])
        return payload

    async def _seal(self) -> None:
        self._attempt.doing = "recording"
        # Whatever ended the session so far ends it here; while the commit is on its way, a lost channel no longer does:
        # it counts as lost after the commit, when acknowledgements can still come.
        await trio.lowlevel.checkpoint()
        self._attempt.recording = True
        if self._payload is None:
            return
        run = self._agreed
        envelope = ReleaseEnvelope.seal(
            party=self._me,
            session=run.session,
            request_digest=self._request.digest(),
            plan_hash=run.plan.hash,
            plaintext=self._payload,
            padded_bytes=len(self._payload),
            result_key=self._request.request.result_key,
            signing_key=self._settings.signing_key,
        )
        self._sealed = envelope.to_bytes()

    async def _commit_recorded(self) -> Event:
        run = self._agreed
        try:
            with trio.CancelScope(shield=True):
                assert self._receipt is not None
                receipt = self._receipt.to_bytes()
                await self._shell.journal.recorded(self._request, run.session, run.plan, self._sealed or None, receipt)
        except MpcdError as error:
            self._error = error
            return Event.RECORD_NOT_COMMITTED
        self._attempt.durable = True
        self._attempt.said_recorded[self._me] = run.session
        return Event.RECORD_COMMITTED

    async def _stop_roles(self) -> None:
        self._keys = None
        if self._links is not None:
            self._links.close()
            self._links = None

    # ------------------------------------------------------------------------------------------ effects: the end

    async def _acknowledge(self) -> Event:
        """Tell all participants; ask the silent ones again until they have answered or the deadline decides."""
        attempt, participants, session = self._attempt, self._agreed.participants, self._agreed.session
        message = _recorded(attempt, self._agreed, ask=False)
        await self._shell.tell(participants - {self._me}, message)
        while True:
            with trio.move_on_after(limits.ACKNOWLEDGE_RETRY_SECONDS):
                await attempt.wait(
                    participants, lambda: attempt.recorded(session), "waiting for acknowledgements of the record"
                )
                attempt.settled = True
                return Event.ALL_ACKNOWLEDGED
            await self._shell.tell(attempt.waiting_for, _recorded(attempt, self._agreed, ask=True))

    async def _send_release(self) -> None:
        """Our sealed bytes to the proposer; the proposer waits for everybody's."""
        attempt, run = self._attempt, self._agreed
        proposer = self._proposer
        if self._sealed:
            attempt.releases[self._me] = self._sealed
            if proposer != self._me:
                await self._shell.tell([proposer], _release(attempt, run, self._sealed))
        if proposer == self._me:
            compute = frozenset(run.plan.compute)
            with trio.move_on_after(limits.RELEASE_SECONDS_MAX) as patience:
                await attempt.wait(compute, lambda: attempt.releases, "waiting for the sealed releases")
            if patience.cancelled_caught:
                silent = next(iter(sorted(attempt.waiting_for)), None)
                self._error = PeerGone(silent, f"party {silent} recorded the result but its part has not come")

    async def _commit_released(self) -> None:
        """Off the critical path: the result is owed, whether or not this entry is written yet."""
        self._shell.spawn(self._shell.journal.released, self._agreed.session, self._agreed.participants)

    async def _commit_withheld(self) -> None:
        reason = self._error
        silent = ", ".join(str(party) for party in sorted(self._attempt.waiting_for)) or "none"
        self._error = ResultWithheld(
            f"recorded and debited, but not released; not acknowledged by parties: {silent} ({reason})"
        )
        await self._shell.journal.withheld(self._agreed.session, ResultWithheld.code)

    async def _commit_aborted(self, *, refund: bool) -> None:
        code = self._error.code if self._error is not None else Bug.code
        self._shell.log("session_aborted", session=self._agreed.session.hex(), code=code, reason=str(self._error))
        step = f"{self._attempt.doing}: {self._error}"
        await self._shell.journal.aborted(self._agreed.session, code, refund=refund, step=step)

    async def _tell_peers(self) -> None:
        """What only we know, to all at once: one that is stuck holds up neither the others nor us for long.

        A peer's own words are not sent back to it.
        """
        if self._error is None or self._attempt.failure_event is Event.PEER_STOPPED:
            return
        code, text = agreement.failure_of(self._error)
        message: Message = {"type": messages.ABORT, "attempt": self._attempt.id, "code": code, "message": text}
        with trio.move_on_after(limits.ABORT_SECONDS_MAX):
            async with trio.open_nursery() as nursery:
                for party in self._shell.others:
                    nursery.start_soon(self._shell.tell, [party], message)

    def _signed_receipt(self) -> bytes:
        return b"" if self._receipt is None else self._receipt.to_bytes()

    async def _tell_analyst(self) -> None:
        """Hand the outcome to our caller; an error is raised by `conduct`."""
        attempt, run = self._attempt, self._run
        if self._state is State.RELEASED and run is not None:
            releases = tuple(attempt.releases[party] for party in run.plan.compute if party in attempt.releases)
            if len(releases) == len(run.plan.compute) or attempt.proposer != self._me:
                self._outcome = Outcome(
                    run.session, run.plan, releases, run.facts(self._settings.utc_seconds()), self._signed_receipt()
                )


def _check_time(at: int, now: float, proposer: PartyId) -> None:
    """Raise unless the proposed time of the session is about what our clock says."""
    if abs(at / 1000 - now) > limits.CLOCK_SKEW_SECONDS_MAX:
        raise ClockSkew(
            f"the clock of party {proposer}, which proposed the session, differs from ours by "
            f"{abs(at / 1000 - now):.0f} s (at most {limits.CLOCK_SKEW_SECONDS_MAX:.0f} s); synchronise them"
        )


def will_pass(error: MpcdError) -> bool:
    """Whether a request that may wait is worth another try after `error`, before anything was agreed."""
    if isinstance(error, (Refused, CallerFault)):
        return False
    return error.retryable or not isinstance(error, SessionFault) or isinstance(error, AwaitingApproval)


def _conclusion(verdict: MpcdError) -> Event:
    match verdict:
        case Refused():
            return Event.SOME_REFUSE
        case AwaitingApproval():
            return Event.APPROVAL_NEEDED
        case _:
            return Event.SOME_FAIL


def _recorded(attempt: Attempt, run: Run, *, ask: bool) -> Message:
    return {"type": messages.RECORDED, "attempt": attempt.id, "session": run.session, "ask": ask}


def _release(attempt: Attempt, run: Run, sealed: bytes) -> Message:
    return {"type": messages.RELEASE, "attempt": attempt.id, "session": run.session, "envelope": sealed}


def _as_refusals(answers: Sequence[Answer]) -> tuple[Refusal, ...]:
    """Everything that stood against the request, for the ledger."""
    reasons = [reason for answer in answers for reason in answer.refusals]
    reasons += [Refusal(a.party, a.failure_code, "", a.failure_message) for a in answers if a.verdict == "fail"]
    return tuple(reasons)


def _verdict_of(answers: Sequence[Answer]) -> MpcdError:
    """The error that these answers stand for."""
    try:
        agreement.check_verdicts(answers)
    except MpcdError as error:
        return error
    raise Bug("answers that refuse nothing have no verdict")


def _event_of(error: MpcdError) -> Event:
    """What a failure of our own work is to the lifecycle."""
    match error:
        case CheatDetected() | PeerMalformed():
            return Event.CHECK_FAILED
        case PeerGone():
            return Event.PEER_LOST
        case DeadlineExceeded():
            return Event.DEADLINE_PASSED
        case _:
            return Event.LOCAL_FAILURE
