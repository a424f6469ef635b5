"""All sessions of one daemon (trio): who proposes, which message belongs to which attempt, what a restart left open.

Theory of operation.  Whoever receives a `Submit` proposes: it sends the signed request to every party and has no other
power. From then on all parties do the same, each for itself, one task and one `Conductor` each.

*Order of messages.*  A peer may answer before we have seen the proposal, and may be recorded before we have concluded:
early messages are held by attempt, within limits; early shares are held by the mesh.

*After a stop* (`recover`).  What was `agreed` is aborted by the store.  What was `recorded` knows its session id and
its participants from the ledger: it says again that it is recorded, asks the others, and releases or withholds as the
lifecycle says, but without a deadline: its part may have left just before the stop, and an entry that says `withheld`
would then be false.  It withholds only when a peer says that it has not recorded, or withholds.  A peer that waits
takes the word as the acknowledgement that it had missed; one that has finished answers from its store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, cast

import trio

from mpcd import limits
from mpcd.daemon.attempt import Attempt, Explanation, Nobody, Observer, Outcome, Run
from mpcd.daemon.conductor import Conductor
from mpcd.daemon.shell import Message, Owner, Past, Settings, Shell
from mpcd.errors import (
    Busy,
    CallerFault,
    Cancelled,
    MpcdError,
    PeerFault,
    PeerGone,
    PeerMalformed,
    Refused,
    RequestInvalid,
    ResultWithheld,
    SessionFault,
    closed_codes,
)
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, RequestDigest, SessionId
from mpcd.session import agreement, messages
from mpcd.session.agreement import Answer
from mpcd.session.lifecycle import Event
from mpcd.session.ports import EnginePort, Journal, Network, PlannerPort

__all__ = ["Attempt", "Explanation", "Outcome", "Sessions", "Settings"]

NO_ATTACHMENTS: Final[Mapping[str, bytes]] = MappingProxyType({})
EARLY_ATTEMPTS_MAX: Final = 64
"""Attempts, per party that spoke of them first, that we keep: not proposed to us yet, running, or over."""
_ASK_PAUSE_SECONDS_MAX: Final = 30.0
"""Between two questions of a party that restarted to one that stays away."""


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
        past: Past,
    ) -> None:
        self._settings = settings
        self._me = settings.me
        self._journal = journal
        self._log = log
        self._shell = Shell(settings, network, planner, engine, owner, journal, log, self._spawn, self._remember, past)
        self._attempts: dict[bytes, Attempt] = {}
        self._held: dict[PartyId, deque[bytes]] = {}
        self._running: dict[bytes, Attempt] = {}
        self._by_session: dict[bytes, Attempt] = {}
        self._computing = frozenset(p.id for p in settings.roster.parties if "compute" in p.roles)
        self._digests: set[RequestDigest] = set()
        self._nursery: trio.Nursery | None = None
        self.draining = False
        self.blocked: MpcdError | None = None
        """Why this party may take no sessions: its ledger is not what it signed."""
        self.on_over: list[Callable[[], Awaitable[object]]] = []
        """Called in a task of their own when a session has ended."""

    @property
    def running_count(self) -> int:
        """Sessions that this party takes part in just now."""
        return len(self._running)

    def data_in_use(self) -> list[Mapping[str, str]]:
        """The data versions that running sessions agreed on here, a map of tables for each session that has some."""
        return [attempt.versions for attempt in self._running.values() if attempt.versions]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the tasks of all sessions; for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def _spawn(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._quietly, work, *arguments)

    async def _quietly(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """A task that nobody waits for: its failures are logged; a bug ends the task, never the daemon."""
        try:
            await work(*arguments)
        except MpcdError as error:
            self._log("session_task_ended", code=error.code, reason=str(error))
        except Exception as error:  # noqa: BLE001  # the daemon outlives whatever one session stumbles over
            self._log("session_task_failed", exc_info=error)

    # ------------------------------------------------------------------------------------------ from our own analysts

    async def submit(
        self,
        request: SignedRequest,
        observer: Observer,
        register: Callable[[Attempt], None],
        attachments: Mapping[str, bytes] = NO_ATTACHMENTS,
    ) -> Outcome:
        """Propose and conduct a session to its end.

        Args:
            request: signed by its analyst; checked here like everywhere.
            observer: told what happens.
            register: given the attempt at once, for `cancel`.
            attachments: what the request names by digest, such as the quote that it accepts.

        Raises:
            Refused, RequestInvalid, PlanInvalid, ...: why nothing ran, or why nothing was released.
        """
        attempt = self._propose(request, attachments, dry_run=False)
        register(attempt)
        outcome = await self._guard(attempt, request, observer)
        assert isinstance(outcome, Outcome)
        return outcome

    async def explain(self, request: SignedRequest, attachments: Mapping[str, bytes] = NO_ATTACHMENTS) -> Explanation:
        """Ask all parties what they would say, and run nothing."""
        attempt = self._propose(request, attachments, dry_run=True)
        outcome = await self._guard(attempt, request, Nobody())
        assert isinstance(outcome, Explanation)
        return outcome

    def _propose(self, request: SignedRequest, attachments: Mapping[str, bytes], *, dry_run: bool) -> Attempt:
        self._admit()
        self._check_new(request, dry_run=dry_run)
        attempt = Attempt(self._settings.entropy(agreement.ATTEMPT_BYTES))
        attempt.proposer, attempt.dry_run = self._me, dry_run
        attempt.at, attempt.attachments = int(self._settings.utc_seconds() * 1000), dict(attachments)
        self._attempts[attempt.id] = attempt
        self._keep(self._me, attempt.id)
        message: Message = {
            "type": messages.PROPOSE,
            "attempt": attempt.id,
            "request": request.to_bytes(),
            "dry_run": dry_run,
            "at": attempt.at,
            "attachments": dict(attempt.attachments),
        }
        for party in self._shell.others:
            self._spawn(self._tell_proposal, attempt, party, message)
        return attempt

    async def _tell_proposal(self, attempt: Attempt, party: PartyId, message: Message) -> None:
        attempt.lost |= await self._shell.tell([party], message)
        attempt.notify()

    def cancel(self, attempt: Attempt) -> None:
        """The analyst or an owner wants the session ended; without effect once all have acknowledged."""
        reason = Cancelled("the session was cancelled before it was released; nothing was opened")
        attempt.fail(reason, Event.CANCELLED)

    def revoke(self, concerns: Callable[[SignedRequest], bool], why: str, *, owed: bool = False) -> int:
        """End every running session whose request `concerns` says is meant, unless it is released already.

        Args:
            concerns: whether a request is meant.
            why: told to its analyst.
            owed: leave alone what is recorded or being recorded, since its release is owed (a licence's end).

        Returns:
            How many were told to end; one that is recorded ends withheld.
        """
        meant = [one for one in self._running.values() if one.request is not None and concerns(one.request)]
        ended = [one for one in meant if not (owed and one.recording)]
        for attempt in ended:
            attempt.fail(Cancelled(f"an owner ended the session: {why}"), Event.REVOKED)
        return len(ended)

    def _admit(self) -> None:
        if self.blocked is not None:
            raise self.blocked
        if self.draining:
            raise Busy("this party is draining and takes no new sessions; ask again later or through another party")
        if len(self._running) >= self._settings.sessions_max:
            raise Busy(f"this party already runs {len(self._running)} sessions; ask again later")

    def _check_new(self, request: SignedRequest, *, dry_run: bool) -> None:
        if not dry_run and request.digest() in self._digests:
            # One that waits for approval may be proposed again before we are through with the last time.
            kind = Busy if request.request.wait_seconds > 0 else RequestInvalid
            raise kind("the same request is already running; each request is used once")

    # ------------------------------------------------------------------------------------------ from the other parties

    async def receive(self, party: PartyId, message: Message) -> None:
        """One control message from `party`; what belongs to no attempt is held or dropped, never an error."""
        kind = message["type"]
        if kind == messages.GONE:
            self._receive_gone(party, message)
            return
        attempt = self._attempt_of(party, message)
        if attempt is None:
            if kind == messages.RECORDED and message["ask"]:
                self._spawn(self._answer_ask, party, SessionId(cast("bytes", message["session"])))
            return
        if kind == messages.PROPOSE:
            self._receive_proposal(party, attempt, message)
        elif kind not in {messages.ANSWER, messages.RELEASE} or not attempt.over:
            self._take(party, attempt, message)
        attempt.notify()

    def _take(self, party: PartyId, attempt: Attempt, message: Message) -> None:
        """Put what `party` says into its place; what was said first counts."""
        match message["type"]:
            case messages.ANSWER:
                answer = Answer.from_value(party, message["answer"])
                attempt.answers.setdefault(party, answer)
                attempt.secrets.setdefault(party, cast("bytes", message["secret"]))
            case messages.ABORT:
                attempt.abort(party, _reported(party, message))
            case messages.RECEIPT:
                signature = cast("bytes", message["session"]), cast("bytes", message["signature"])
                attempt.receipt_signatures.setdefault(party, signature)
            case messages.RECORDED:
                self._receive_recorded(party, attempt, message)
            case messages.RELEASE if attempt.proposer == self._me and party in self._computing:
                attempt.releases.setdefault(party, cast("bytes", message["envelope"]))

    def _attempt_of(self, party: PartyId, message: Message) -> Attempt | None:
        """By session where the message names one that runs here, else by attempt; a new one is held."""
        by_session = self._by_session.get(cast("bytes", message.get("session", b"")))
        if by_session is not None:
            return by_session
        attempt_id = cast("bytes", message["attempt"])
        known = self._attempts.get(attempt_id)
        if known is not None:
            # An ask about a session that is over here is answered from the store.
            over = attempt_id not in self._running and message["type"] == messages.RECORDED and message["ask"]
            return None if over else known
        return None if attempt_id == messages.NO_ATTEMPT else self._hold(party, attempt_id)

    def _hold(self, party: PartyId, attempt_id: bytes) -> Attempt:
        """A new attempt that `party` spoke of first; it pushes out its own oldest ones, never another's."""
        attempt = self._attempts[attempt_id] = Attempt(attempt_id)
        self._keep(party, attempt_id)
        return attempt

    def _keep(self, party: PartyId, attempt_id: bytes) -> None:
        """Count an attempt against `party`'s places; running ones are never pushed out (`sessions_max` bounds them)."""
        held = self._held.setdefault(party, deque())
        held.append(attempt_id)
        for _ in range(len(held) - EARLY_ATTEMPTS_MAX):
            oldest = held.popleft()
            if oldest in self._running:
                held.append(oldest)
            else:
                self._attempts.pop(oldest, None)

    def _receive_proposal(self, party: PartyId, attempt: Attempt, message: Message) -> None:
        if attempt.proposer is not None:
            self._log("proposal_repeated", party=int(party))
            return
        attempt.proposer, attempt.dry_run = party, bool(message["dry_run"])
        attempt.at, attempt.attachments = cast("int", message["at"]), _attachments(party, message["attachments"])
        self._spawn(self._serve, attempt, cast("bytes", message["request"]))

    def _receive_recorded(self, party: PartyId, attempt: Attempt, message: Message) -> None:
        attempt.said_recorded.setdefault(party, cast("bytes", message["session"]))
        if message["ask"] and attempt.said_recorded.get(self._me) == message["session"]:
            self._spawn(self._shell.tell, [party], {**message, "ask": False})

    def _receive_gone(self, party: PartyId, message: Message) -> None:
        attempt = self._by_session.get(cast("bytes", message["session"]))
        if attempt is not None:
            reason = SessionFault(f"party {party} has not recorded this session (it is {message['state']} there)")
            attempt.fail(reason, Event.PEER_STOPPED)

    async def _answer_ask(self, party: PartyId, session: SessionId) -> None:
        """A party that restarted, or waits, asks about a session that does not run here: the store knows."""
        state = await self._journal.state(session)
        if state in {"recorded", "released"}:
            message: Message = {
                "type": messages.RECORDED,
                "attempt": messages.NO_ATTEMPT,
                "session": session,
                "ask": False,
            }
        else:
            message = {"type": messages.GONE, "session": session, "state": state or "unknown"}
        await self._shell.tell([party], message)

    def lost(self, party: PartyId) -> None:
        """The channel to `party` is gone: sessions that wait for it and are not recorded end."""
        for attempt in list(self._running.values()):
            attempt.lost.add(party)
            if party in attempt.waiting_for and not attempt.recording:
                reason = PeerGone(party, f"party {party} went away while we were {attempt.doing}")
                attempt.fail(reason, Event.PEER_LOST)

    # ------------------------------------------------------------------------------------------ conducting

    async def _serve(self, attempt: Attempt, encoded: bytes) -> None:
        """Conduct a session that another party proposed; its errors are for the parties, never for a caller of ours."""
        try:
            self._admit()
            request = SignedRequest.from_bytes(encoded)
            self._check_new(request, dry_run=attempt.dry_run)
        except MpcdError as error:
            # We cannot even answer: say so instead, and nobody waits for us.
            code, text = agreement.failure_of(error)
            message: Message = {"type": messages.ABORT, "attempt": attempt.id, "code": code, "message": text}
            await self._shell.tell(self._shell.others, message)
            raise
        await self._guard(attempt, request, Nobody())

    async def _guard(self, attempt: Attempt, request: SignedRequest, observer: Observer) -> Explanation | Outcome:
        """Conduct under the one deadline."""
        digests = set() if attempt.dry_run else {request.digest()}
        attempt.request = request
        self._running[attempt.id] = attempt
        self._digests |= digests
        attempt.scope.deadline = trio.current_time() + self._settings.session_seconds_max
        try:
            with attempt.scope:
                return await Conductor(self._shell, attempt, request, observer).conduct()
            raise attempt.failure or SessionFault("the session ended while it was being ended")
        finally:
            self._running.pop(attempt.id, None)
            self._digests -= digests
            with suppress(RuntimeError):  # the nursery takes nobody any more: the daemon stops, and its memory goes
                self._spawn(self._shell.past.over, attempt.id)
                for over in self.on_over:
                    self._spawn(over)
            attempt.forget()
            for session in [key for key, value in self._by_session.items() if value is attempt]:
                del self._by_session[session]

    def _remember(self, run: Run, attempt: Attempt) -> None:
        self._by_session[run.session] = attempt

    # ------------------------------------------------------------------------------------------ after a stop

    def settle_later(self, session: SessionId) -> None:
        """Start `recover` for a session that the store still holds as `recorded`."""
        self._spawn(self.recover, session)

    async def recover(self, session: SessionId) -> None:
        """Settle a session that was `recorded` when this daemon stopped, once every participant has said how it stands.

        Raises:
            StoreFailed: its entry cannot be read; it stays recorded.
        """
        participants = await self._journal.participants(session)
        attempt = self._by_session[session] = Attempt(messages.NO_ATTEMPT)
        attempt.durable = True
        attempt.said_recorded[self._me] = session
        try:
            with attempt.scope:
                await self._ask_until_all(attempt, session, participants)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.SESSION_END_SECONDS_MAX):
                await self._settle(attempt, session, participants)
        finally:
            del self._by_session[session]

    async def _ask_until_all(self, attempt: Attempt, session: SessionId, participants: frozenset[PartyId]) -> None:
        message: Message = {
            "type": messages.RECORDED,
            "attempt": messages.NO_ATTEMPT,
            "session": session,
            "ask": True,
        }
        pause = limits.ACKNOWLEDGE_RETRY_SECONDS
        while not attempt.settled:
            await self._shell.tell(participants - attempt.recorded(session), message)
            with trio.move_on_after(pause):
                await attempt.wait(participants, lambda: attempt.recorded(session), "asking who recorded a session")
                attempt.settled = True
            pause = min(2 * pause, _ASK_PAUSE_SECONDS_MAX)

    async def _settle(self, attempt: Attempt, session: SessionId, participants: frozenset[PartyId]) -> None:
        if not attempt.settled:
            self._log("session_withheld", session=session.hex(), reason=str(attempt.failure))
            await self._journal.withheld(session, ResultWithheld.code)
            return
        sealed = await self._journal.sealed(session)
        if sealed is not None:
            message: Message = {
                "type": messages.RELEASE,
                "attempt": messages.NO_ATTEMPT,
                "session": session,
                "envelope": sealed,
            }
            await self._shell.tell(participants - {self._me}, message)
        await self._journal.released(session, participants)
        self._log("session_settled", session=session.hex(), reason="after a restart")


def _attachments(party: PartyId, value: object) -> dict[str, bytes]:
    """What a proposal carries beside the request; its size was checked with the message's."""
    named = value if isinstance(value, dict) else {0: 0}
    if not all(isinstance(name, str) and isinstance(data, bytes) for name, data in named.items()):
        raise PeerMalformed(party, f"party {party} attached to a proposal what is no named document")
    return cast("dict[str, bytes]", named)


def _reported(party: PartyId, message: Message) -> MpcdError:
    """A peer's abort as our own error: its class by its code, its words after its name."""
    code, text = str(message["code"]), str(message["message"])
    kind = closed_codes().get(code, SessionFault)
    if issubclass(kind, PeerFault):
        # Whom it accuses is in its words alone: it is not `party` itself, and need not be true.
        return kind(None, f"party {party} reports: {text}")
    if issubclass(kind, Refused) or not issubclass(kind, (CallerFault, SessionFault)):
        return SessionFault(f"party {party} ended the session: {text} ({code})")
    return kind(f"party {party}: {text}")
