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

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from mpcd import limits
from mpcd.daemon.agreeing import Agreeing, Concluded, NotConcerned, will_pass
from mpcd.daemon.attempt import Attempt, Explanation, Observer, Outcome, Run
from mpcd.daemon.shell import Message, Shell
from mpcd.errors import (
    Bug,
    CheatDetected,
    DeadlineExceeded,
    MpcdError,
    PeerGone,
    PeerMalformed,
    Refusal,
    ResultWithheld,
)
from mpcd.governance.receipt import DOMAIN as RECEIPT_DOMAIN
from mpcd.governance.receipt import SignedReceipt
from mpcd.identity import VerifyKey
from mpcd.identity.release import ReleaseEnvelope
from mpcd.identity.request import SignedRequest
from mpcd.ids import Role
from mpcd.protocols.context import Transport, compute_context, input_context
from mpcd.protocols.prss import Prss
from mpcd.session import agreement, messages
from mpcd.session.keys import CONFIRM_COST, PrssKeys
from mpcd.session.lifecycle import TERMINAL, Effect, Event, State, advance
from mpcd.session.ports import Links

NOT_HERE: Final = frozenset({Effect.ANSWER_AGAIN, Effect.ASK_PEERS})
"""Effects that no conductor meets: who answers again is another one, and a party that restarted asks by `Sessions`."""


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
        self._agreeing = Agreeing(shell, attempt, request)
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
            explanation = await self._agreeing.agree()
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
            if self._agreeing.run is None:
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

    # ------------------------------------------------------------------------------------------ effects: before running

    async def _ask_approvers(self) -> None:
        """Keep the request for our own people, if we wait for them; each owner does so for itself."""
        if self._agreeing.decision.waits and self._agreeing.rests is not None:
            rests = self._agreeing.rests
            try:
                await self._shell.owner.ask_approvers(
                    self._request, rests.plan, rests.rules_of, self._agreeing.proposer
                )
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
        elif self._agreeing.authentic:
            reasons = self._agreeing.refusals or (Refusal(self._me, error.code if error else "", "", str(error)),)
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
        assert self._agreeing.run is not None
        return self._agreeing.run

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
                self._agreeing.drawn,
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
        proposer = self._agreeing.proposer
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
        attempt, run = self._attempt, self._agreeing.run
        if self._state is State.RELEASED and run is not None:
            releases = tuple(attempt.releases[party] for party in run.plan.compute if party in attempt.releases)
            if len(releases) == len(run.plan.compute) or attempt.proposer != self._me:
                self._outcome = Outcome(
                    run.session, run.plan, releases, run.facts(self._settings.utc_seconds()), self._signed_receipt()
                )


def _recorded(attempt: Attempt, run: Run, *, ask: bool) -> Message:
    return {"type": messages.RECORDED, "attempt": attempt.id, "session": run.session, "ask": ask}


def _release(attempt: Attempt, run: Run, sealed: bytes) -> Message:
    return {"type": messages.RELEASE, "attempt": attempt.id, "session": run.session, "envelope": sealed}


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
