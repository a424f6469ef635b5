"""How one party comes to an agreement on one proposal: it answers, waits for everybody's answer, and concludes (trio).

Nothing is durable here and nothing is opened: what all parties conclude from the same answers they conclude alike, and
`Concluded` carries it.  A party that is no owner, no compute party and not the proposer has nothing more to do with
the session than to answer (`NotConcerned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NoReturn, cast

import trio

from mpcd import canonical, limits
from mpcd.compile.beside import Beside
from mpcd.compile.choose import program
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.attempt import NOTHING, Attempt, Explanation, Run
from mpcd.daemon.shell import Message, Shell
from mpcd.errors import (
    AwaitingApproval,
    Bug,
    CallerFault,
    ClockSkew,
    MpcdError,
    PeerGone,
    PlanInvalid,
    PlanUnsupported,
    Refusal,
    Refused,
    RequestInvalid,
    SessionFault,
)
from mpcd.governance.decision import Decision
from mpcd.governance.disclosure import DisclosureRules, strictest
from mpcd.governance.permission import accepted_by_nobody, is_stranger
from mpcd.governance.policy import strongest
from mpcd.governance.quote import accepted_quote, check_brought
from mpcd.identity import VerifyKey
from mpcd.identity.request import RUNNING, SignedRequest
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.session import agreement, messages, terms
from mpcd.session.agreement import Answer
from mpcd.session.lifecycle import Event

_UNSAID: Final = "the question cannot be planned; only an owner that accepts the analyst says why"
SECURITY_KEY: Final = "security"
"""Beside the disclosure rules in an answer: the weakest security that the owner accepts."""


class Concluded(Exception):  # not an error: the same end at every party, already known to all
    """All parties drew this conclusion from the same answers, or need no word from us."""

    def __init__(self, event: Event, error: MpcdError) -> None:
        super().__init__(str(error))
        self.event = event
        self.error = error


class NotConcerned(SessionFault):
    """This party neither gives data nor computes in the session; it has answered, and that is all."""


class Agreeing:
    """One attempt's agreement at this party."""

    def __init__(self, shell: Shell, attempt: Attempt, request: SignedRequest) -> None:
        self._shell = shell
        self._settings = shell.settings
        self._me = shell.settings.me
        self._attempt = attempt
        self._request = request
        self.drawn = {party: self._settings.entropy(agreement.NONCE_BYTES) for party in shell.others}
        """What we drew for each pair: secrets of the PRSS keys to be."""
        self.decision = NOTHING
        self.refusals: tuple[Refusal, ...] = ()
        """Everything that stands against the request, of all parties."""
        self._hides = False
        """Whether this owner does not accept the analyst, who then learns nothing of our tables from us."""
        self.authentic = False
        """Whether the request is really its analyst's, so that it goes on the record."""
        self.run: Run | None = None
        """What is to run, once all have agreed."""
        self.rests: Explanation | None = None
        """What would run if people allowed it."""

    async def agree(self) -> Explanation:
        """Answer, wait for all answers, conclude; raises `Concluded` with what all parties conclude too."""
        attempt = self._attempt
        answer, plan = await self._answer()
        attempt.answers[self._me] = answer
        value = answer.to_value()
        for party in self._shell.others:
            message: Message = {"type": messages.ANSWER, "attempt": attempt.id, "answer": value}
            attempt.lost |= await self._shell.tell([party], {**message, "secret": self.drawn[party]})
        if plan is None:
            await self._conclude_unplanned(answer)
        participants = self._participants(plan)
        if self._me not in participants:
            raise NotConcerned("this party has no role in the session")
        attempt.admit_aborts(participants)
        for party in sorted(participants - {self._me} - attempt.answers.keys()):
            self._shell.network.channel_hash(party)  # raises PeerGone for one that is away: nobody waits for it
        await attempt.wait(participants, lambda: attempt.answers, "waiting for the parties' answers")
        answers = [attempt.answers[party] for party in sorted(participants)]
        explanation = self.conclude(answers, plan, await self._beside(answers, plan))
        self._check_prices(answers, plan)
        # A party of the roster that neither gives, computes nor proposed has nothing more to do with it.
        if not attempt.dry_run and self._me in participants:
            self.run = Run(
                request=self._request,
                plan=explanation.plan,
                program=program(explanation.plan),
                session=agreement.session_id(answers, explanation.plan.hash),
                participants=participants,
                rules_of=explanation.rules_of,
                decision=self.decision,
                started=self._settings.utc_seconds(),
            )
            self._shell.known(self.run, attempt)
        return explanation

    async def _conclude_unplanned(self, answer: Answer) -> NoReturn:
        """Conclude what cannot be planned: why is said to an analyst whom an owner accepts, and to nobody else."""
        told: tuple[Answer, ...] = (answer,)
        if answer.failure_message == _UNSAID:
            told = () if self.proposer != self._me else await self._said_by_others()
        self.refusals = _as_refusals(told or (answer,))
        error = _verdict_of(told) if told else self._accepted_by_nobody()
        raise Concluded(_conclusion(error), error)

    async def _said_by_others(self) -> tuple[Answer, ...]:
        """Of an owner that accepts the analyst, why a question cannot be planned."""
        attempt = self._attempt
        try:
            await attempt.wait(frozenset(self._shell.others), lambda: attempt.answers, "waiting for the owners' word")
        except PeerGone as error:
            self._shell.log("answers_incomplete", attempt=attempt.id.hex(), reason=str(error))
        answers = (attempt.answers[party] for party in sorted(attempt.answers))
        return tuple(one for one in answers if one.verdict == "fail" and one.failure_message != _UNSAID)[:1]

    def _accepted_by_nobody(self) -> Refused:
        return Refused((accepted_by_nobody(self._me, self._request.request.analyst),))

    async def _answer(self) -> tuple[Answer, LogicalPlan | None]:
        """This party's own answer, and its plan where there is one."""
        settings, request = self._settings, self._request
        common = {
            "party": self._me,
            "attempt": self._attempt.id,
            "request_digest": request.digest(),
            "roster_hash": settings.roster_hash,
            "proposer": self.proposer,
            "dry_run": self._attempt.dry_run,
            "nonce": settings.entropy(agreement.NONCE_BYTES),
            "clock_seconds": settings.utc_seconds(),
        }
        try:
            now, roster = settings.utc_seconds(), settings.roster
            request.verify(now, settings.roster_hash, roster.consortium, roster_version=roster.version)
            _check_time(self._attempt.at, now, self.proposer)
            if (request.request.kind in RUNNING) == self._attempt.dry_run:
                raise RequestInvalid("the analyst signed another kind of request than the one that is proposed")
            if self._is_overlap and str(request.request.analyst) not in {p.signing_key for p in roster.parties}:
                raise RequestInvalid("only a party of the roster asks whether owners share persons")
            if not self._attempt.dry_run:
                settings.admit(request.request.analyst, trio.current_time())  # before anything is put on the record
            self.authentic = True
            self._hides = not self._is_overlap and not settings.accepts(request.request.analyst, self._attempt.at)
            plan = await self._planned()
            tables = tuple(source.table for source in plan.sources)
            versions: dict[str, str] = {}
            if self._me in plan.owners:
                if not self._hides:
                    versions = self._attempt.versions = self._shell.engine.data_versions(tables)
                self.decision = self._listed(plan, await self._decide(plan, versions))
        except MpcdError as error:
            code, text = agreement.failure_of(error)
            failed = Answer(verdict="fail", failure_code=code, failure_message=text, **common)  # type: ignore[arg-type]
            return failed, None
        stranger = is_stranger(self.decision.refusals)
        rules = {**self._shell.owner.rules().to_value(), SECURITY_KEY: self._shell.owner.security()}
        answer = Answer(
            verdict=self.decision.verdict,
            refusals=self.decision.refusals,
            waits=self.decision.waits,
            plan_sections=agreement.sections(cast("Mapping[str, object]", plan.to_value())),
            rules={} if stranger else rules,
            data_versions={} if stranger else versions,
            terms=self.decision.terms,
            **common,  # type: ignore[arg-type]
        )
        return answer, plan

    async def _planned(self) -> LogicalPlan:
        """Our own plan; one whom we do not accept does not hear from us what our tables have and have not."""
        request = self._request.request
        try:
            return await self._shell.planner.plan(request.text, request.as_of)
        except CallerFault as error:
            if self._hides:
                raise PlanInvalid(_UNSAID) from error
            raise

    async def _decide(self, plan: LogicalPlan, versions: Mapping[str, str]) -> Decision:
        """What our owner says; a request that is to run now or not at all waits for nothing."""
        decision = await self._shell.owner.decide(self._request, plan, versions, self._attempt)
        if self._attempt.dry_run or self._request.request.wait_seconds > 0:
            return decision
        refusals = (*decision.refusals, *(wait.refusal() for wait in decision.waits))
        return replace(decision, refusals=refusals, waits=())

    def _listed(self, plan: LogicalPlan, decision: Decision) -> Decision:
        """The decision, and which earlier questions we know; from here on other sessions know of this one."""
        if (
            decision.refusals or self._is_overlap
        ):  # which opens nothing that another question's answer could be set beside
            return decision
        attempt, request = self._attempt, self._request
        known, refusals = self._shell.past.answer(attempt.id, request, plan, attempt.at, dry_run=attempt.dry_run)
        return replace(decision, refusals=refusals, terms={**decision.terms, "history": known})

    async def _beside(self, answers: Sequence[Answer], plan: LogicalPlan) -> Beside | None:
        """What the question must be kept apart from; None where nothing will run, with noise, or for an overlap."""
        if (
            self._is_overlap
            or any(answer.verdict in {"refuse", "fail"} for answer in answers)
            or self._request.request.privacy is not None
        ):
            return None
        try:
            return await self._shell.past.beside(plan, terms.histories(answers, plan.owners))
        except PlanUnsupported as error:
            raise Concluded(Event.SOME_FAIL, error) from error
        except (ValueError, TypeError, ArithmeticError) as error:
            fault = SessionFault("a party's list of earlier questions makes no sense; compare versions")
            raise Concluded(Event.SOME_FAIL, fault) from error

    def conclude(self, answers: Sequence[Answer], plan: LogicalPlan, beside: Beside | None) -> Explanation:
        """The one conclusion that all parties draw from the same answers."""
        self.refusals = _as_refusals(answers)
        refusals = tuple(reason for answer in answers for reason in answer.refusals)
        if all(is_stranger(answer.refusals) for answer in answers if answer.party in plan.owners):
            nobody = self._accepted_by_nobody()
            raise Concluded(_conclusion(nobody), nobody)
        try:
            agreement.check_bound(
                answers,
                self._attempt.id,
                self._request.digest(),
                self.proposer,
                dry_run=self._attempt.dry_run,
            )
            if not (self._attempt.dry_run and refusals):
                agreement.check_verdicts(answers)
            agreement.check_alike(answers)
            owners = [answer for answer in answers if answer.party in plan.owners]
            # An owner that does not accept the analyst says what it demands to nobody; then nothing runs.
            demanded = [(a.party, dict(a.rules or {})) for a in owners if not is_stranger(a.refusals)]
            security, whose_security = strongest([(party, asked.pop(SECURITY_KEY, None)) for party, asked in demanded])
            rules, whose = strictest(
                [(party, DisclosureRules.from_value(cast("canonical.Value", asked))) for party, asked in demanded]
            )
            whose[SECURITY_KEY] = whose_security
            physical = PhysicalPlan(
                logical=plan,
                rules=rules,
                owners=tuple(answer.party for answer in owners),
                compute=self._compute_parties(),
                data_versions={answer.party: dict(answer.data_versions or {}) for answer in owners},
                security=security,
                terms=terms.agreed(
                    answers,
                    plan.owners,
                    at=self._attempt.at,
                    privacy=self._request.request.privacy,
                    overlap=limits.OVERLAP_POSITIONS if self._is_overlap else None,
                ),
                beside=beside,
            )
            program(physical)  # refuses what it cannot do, at every party alike
            if not self._attempt.dry_run:
                self.rests = Explanation(physical, refusals, whose, tuple(answers))
                agreement.check_waits(answers)
        except (ValueError, TypeError) as error:
            fault = SessionFault("a party's disclosure rules or terms make no sense; compare versions")
            raise Concluded(Event.SOME_FAIL, fault) from error
        except MpcdError as error:
            # Asked what it would say, each party that refuses says so, even where nothing could be run either.
            verdict = Refused(refusals) if self._attempt.dry_run and refusals else error
            raise Concluded(_conclusion(verdict), verdict) from error
        return Explanation(physical, refusals, whose, tuple(answers))

    def _check_prices(self, answers: Sequence[Answer], plan: LogicalPlan) -> None:
        """Raise `PeerMalformed` where an owner brings a price that is not its own, or that nobody accepted."""
        brought = [(a.party, a.terms["line"]) for a in answers if a.party in plan.owners and a.terms.get("line")]
        if self._attempt.dry_run or not brought:
            return
        request = self._request.request
        accepted = accepted_quote(self._attempt.attachments.get("quote"), request.quote_digest)
        keys = {party.id: VerifyKey.from_text(party.signing_key) for party in self._settings.roster.parties}
        for party, line in brought:
            check_brought(cast("bytes", line), party, keys, request.question_digest(), accepted)

    @property
    def _is_overlap(self) -> bool:
        return self._request.request.kind == "overlap"

    @property
    def proposer(self) -> PartyId:
        """Who handed us the request, or we ourselves."""
        assert self._attempt.proposer is not None
        return self._attempt.proposer

    def _compute_parties(self) -> tuple[PartyId, PartyId, PartyId]:
        """The first three parties of the roster that compute, by id."""
        first, second, third = sorted(p.id for p in self._settings.roster.parties if "compute" in p.roles)[:3]
        return first, second, third

    def _participants(self, plan: LogicalPlan) -> frozenset[PartyId]:
        """Owners, compute parties, and the proposer, who hands the result to its analyst."""
        return frozenset({*plan.owners, *self._compute_parties(), self.proposer})


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
