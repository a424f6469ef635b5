"""Requests that wait for people, kept by the party that took them from their analyst until they have run (layer 13).

    analyst --submit--> keeper --propose--> all: `await` --> the row `waiting`, durable
    an owner's people decide --> that owner tells all --> the keeper proposes again --> ... --> run, sealed result kept
    analyst --state, fetch--> keeper

The analyst need not be on line, and any party may restart: what waits is read from the store at start and tried at
once, tried again when a party says that its people have decided or comes back, and now and then in case nobody could
say so.  A try is an ordinary proposal.  It uses the request up only if all parties agree, or one refuses; everything
that will pass leaves the request waiting (`agreeing.will_pass`).

From the transaction that agrees on, the row names session and plan.  If this party stops then, the store says what
became of the session: what was released is fetched from the compute parties as the sealed bytes that they recorded.
Those are the same bytes whenever they are asked for, and only the analyst can open them.

Nobody here needs to be believed: a keeper can delay a request or lose it, it can neither change it nor run it early,
since every owner decides for itself; and what a party says about decisions only makes the keeper try.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, cast

import trio

from mpcd import canonical, limits
from mpcd.api.types import JobResult, Map
from mpcd.daemon.agreeing import will_pass
from mpcd.daemon.attempt import Attempt, Nobody, Outcome
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import (
    AwaitingApproval,
    Cancelled,
    DeadlineExceeded,
    MpcdError,
    NotFound,
    Refusal,
    Refused,
    RequestInvalid,
)
from mpcd.governance import approval, entries
from mpcd.identity import IdentityError
from mpcd.identity.request import SignedRequest
from mpcd.ids import COMPUTE_PARTIES, PartyId, RequestDigest, SessionId
from mpcd.session.lifecycle import Effect, Event, State, advance
from mpcd.store import approvals as rows
from mpcd.store.approvals import Waiting as Row
from mpcd.store.approvals import WaitingState
from mpcd.store.ledger import Append

CHANGED: Final = "approvals.changed"
WITHDRAWN: Final = "approvals.withdrawn"
SEALED: Final = "approvals.sealed"
ENDED: Final = "approvals.ended"
_PART_BYTES: Final = 2 * 2**20
_DAY_SECONDS: Final = 86_400.0


class Submitter(Protocol):
    """What runs sessions; `sessions.Sessions`."""

    async def submit(
        self,
        request: SignedRequest,
        observer: Nobody,
        register: Callable[[Attempt], None],
        attachments: Mapping[str, bytes] = ...,
    ) -> Outcome:
        """Propose and conduct to the end."""
        ...

    def revoke(self, concerns: Callable[[SignedRequest], bool], why: str, *, owed: bool = ...) -> int:
        """End what runs; `owed` leaves alone what is being recorded."""
        ...


class Peers(Protocol):
    """Questions to the other parties; `questions.Questions`."""

    async def ask(
        self, kind: str, payload: dict[str, object], parties: Iterable[PartyId] | None = None
    ) -> Mapping[PartyId, dict[str, object] | MpcdError]:
        """Ask all, or some."""
        ...


class Waiting:
    """All requests that this party keeps.

    Args:
        me: this party.
        sessions: runs them.
        peers: the other parties.
        journal: the way to the store.
        utc_seconds: the clock.
        job_result: what an outcome is to the analyst.
        withdrawn: tells our own approvers' desk that an analyst took a request back.
        log: takes an event and its fields.
    """

    def __init__(
        self,
        me: PartyId,
        sessions: Submitter,
        peers: Peers,
        journal: StoreJournal,
        utc_seconds: Callable[[], float],
        job_result: Callable[[Outcome], JobResult],
        withdrawn: Callable[[bytes, bytes], Awaitable[bool]],
        log: Callable[..., None],
    ) -> None:
        self._me = me
        self._sessions = sessions
        self._peers = peers
        self._journal = journal
        self._utc_seconds = utc_seconds
        self._job_result = job_result
        self._desk_withdrawn = withdrawn
        self._log = log
        self.ended: Callable[[bytes, PartyId], Awaitable[bool]] | None = None
        """Tells our own approvers' desk that a request is over, in the words of the party that kept it."""
        self._due: dict[bytes, float] = {}
        """When each is tried next, on trio's clock."""
        self._pauses: dict[bytes, float] = {}
        """How long the last pause after something that will pass was."""
        self._busy: set[bytes] = set()
        self._withdrawing: set[bytes] = set()
        self._limiter = trio.CapacityLimiter(limits.WAITING_AT_ONCE_MAX)
        self._woken = trio.Event()
        self._news = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self._utc_seconds() * 1000)

    # ------------------------------------------------------------------------------------------ keeping

    async def keep(self, signed: SignedRequest, attachments: Mapping[str, bytes], why: AwaitingApproval) -> None:
        """Keep a request that no party refuses and people must approve.

        Raises:
            Busy: too many are kept.
            StoreFailed: it is not kept.
        """
        digest, request, now = signed.digest(), signed.request, self.now
        entry = entries.noted(
            "asked", by=request.analyst.raw.hex(), about="a request that waits", digest=digest, reason=str(why)
        )

        def work(connection: sqlite3.Connection, append: Append) -> bool:
            new = rows.add_waiting(
                connection,
                digest,
                signed.to_bytes(),
                request.analyst.raw,
                canonical.encode(dict(attachments)),
                message=str(why),
                now=now,
                expires_at=request.expires_at * 1000,
            )
            if new:
                append(entry)
            return new

        if await self._journal.write(work):
            self._log("request_waits", request=digest.hex())
        # At once: people may have decided since the parties answered, and their owners told nobody who kept it.
        self._schedule(digest, limits.WAITING_PAUSE_SECONDS)

    def poke(self, digests: Iterable[bytes] | None = None) -> None:
        """Something may have changed for these requests, or for all: try them soon."""
        for digest in list(self._due) if digests is None else digests:
            if digest in self._due:
                self._pauses.pop(digest, None)
                self._schedule(digest, limits.WAITING_PAUSE_SECONDS, sooner=True)

    async def tell(self, digests: Sequence[bytes]) -> None:
        """Our own people have decided about these requests: try what we keep, and tell all parties."""
        self.poke(digests)
        if self._nursery is not None:
            self._nursery.start_soon(self._tell_all, list(digests)[: limits.WAITING_TOLD_MAX])

    async def _tell_all(self, digests: list[bytes]) -> None:
        for party, reply in (await self._peers.ask(CHANGED, {"requests": digests})).items():
            if isinstance(reply, MpcdError):
                # It tries by itself when its channel to us is back.
                self._log("approval_not_told", party=int(party), code=reply.code)

    async def heard(self, party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        """Another party says that people have decided there."""
        digests = cast("list[bytes]", payload["requests"])
        self._log("approval_heard", party=int(party))
        self.poke(digests[: limits.WAITING_TOLD_MAX])
        return {}

    # ------------------------------------------------------------------------------------------ trying

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Try what is due; for ever."""
        await self._journal.write(lambda c, _append: rows.prune(c, self.now))
        pruned = trio.current_time()
        for row in await self._journal.read(rows.list_waiting):
            state, effects = advance(State.AWAITING_APPROVAL, Event.RESTARTED)
            assert (state, effects) == (State.AWAITING_APPROVAL, ())
            self._due.setdefault(row.request_digest, trio.current_time())
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                self._woken = trio.Event()
                now = trio.current_time()
                if now - pruned > _DAY_SECONDS:
                    await self._journal.write(lambda c, _append: rows.prune(c, self.now))
                    pruned = now
                for digest, due in list(self._due.items()):
                    if due <= now and digest not in self._busy:
                        self._busy.add(digest)
                        nursery.start_soon(self._attend, digest)
                idle = [due for digest, due in self._due.items() if digest not in self._busy]
                with trio.move_on_at(min([*idle, now + _DAY_SECONDS])):
                    await self._woken.wait()

    def _schedule(self, digest: bytes, seconds: float, *, sooner: bool = False) -> None:
        due = trio.current_time() + seconds
        self._due[digest] = min(due, self._due.get(digest, due)) if sooner else due
        self._woken.set()

    async def _attend(self, digest: bytes) -> None:
        """One try; whatever comes of it, the daemon lives and the request is tried again unless it is over."""
        pause: float | None = limits.WAITING_RETRY_SECONDS_MAX
        # A poke that arrives from here on is later than what this try will see.
        self._due[digest] = trio.current_time() + limits.WAITING_POLL_SECONDS
        planned = self._due[digest]
        try:
            async with self._limiter:
                pause = await self._try(digest)
        except MpcdError as error:
            self._log("waiting_try_failed", request=digest.hex(), code=error.code, reason=str(error))
        except Exception as error:  # noqa: BLE001  # one request's bug leaves the others their keeper
            self._log("waiting_try_failed", request=digest.hex(), exc_info=error)
        finally:
            self._busy.discard(digest)
        if pause is None:
            self._due.pop(digest, None)
            self._pauses.pop(digest, None)
            self._withdrawing.discard(digest)
        else:
            poked = self._due.get(digest, planned) < planned
            self._schedule(digest, min(pause, limits.WAITING_PAUSE_SECONDS) if poked else pause)

    async def _try(self, digest: bytes) -> float | None:
        """Try once; seconds until the next time, None if it is over."""
        row = await self._row(digest)
        if row is None or row.state in rows.OVER:
            return None
        if row.session is not None:
            return await self._settle(row, None)
        if self.now >= row.expires_at:
            await self._end(row, Event.DEADLINE_PASSED, "expired", _EXPIRED)
            return None
        if digest in self._withdrawing:
            await self._end(row, Event.CANCELLED, "withdrawn", _TAKEN_BACK)
            return None
        state, effects = advance(State.AWAITING_APPROVAL, Event.OWNER_DECIDED)
        assert (state, effects) == (State.PROPOSED, (Effect.ANSWER_AGAIN,))
        return await self._answer_again(row)

    async def _answer_again(self, row: Row) -> float | None:
        signed = SignedRequest.from_bytes(row.request)
        attachments = cast("dict[str, bytes]", canonical.decode(row.attachments))
        try:
            outcome = await self._sessions.submit(signed, Nobody(), lambda _attempt: None, attachments)
        except AwaitingApproval as error:
            await self._change(row, "waiting", str(error))
            self._pauses.pop(row.request_digest, None)
            return self._until(row, limits.WAITING_POLL_SECONDS)
        except MpcdError as error:
            agreed = await self._row(row.request_digest)
            if agreed is not None and agreed.session is not None:
                return await self._settle(agreed, error)
            return await self._not_run(row, error)
        if len(outcome.releases) == COMPUTE_PARTIES:
            await self._finish(row, self._job_result(outcome))
            return None
        agreed = await self._row(row.request_digest)
        return None if agreed is None else await self._settle(agreed, None)

    async def _not_run(self, row: Row, error: MpcdError) -> float | None:
        """Nothing was agreed: over, or to be tried again."""
        if row.request_digest in self._withdrawing:
            await self._end(row, Event.CANCELLED, "withdrawn", _TAKEN_BACK)
        elif will_pass(error):
            await self._change(row, "waiting", f"will be tried again: {error}")
            return self._until(row, self._pause(row.request_digest))
        else:
            await self._change(row, "refused" if isinstance(error, Refused) else "failed", str(error))
        return None

    def _pause(self, digest: bytes) -> float:
        pause = min(2 * self._pauses.get(digest, limits.WAITING_PAUSE_SECONDS), limits.WAITING_RETRY_SECONDS_MAX)
        self._pauses[digest] = pause
        return pause

    def _until(self, row: Row, seconds: float) -> float:
        """At most `seconds`, but no longer than until the request expires."""
        return min(seconds, max(0.0, (row.expires_at - self.now) / 1000) + 1.0)

    # ------------------------------------------------------------------------------------------ after agreement

    async def _settle(self, row: Row, error: MpcdError | None) -> float | None:
        """What became of a session that was agreed, by what the store says."""
        found = await self._journal.read(lambda c: rows.session_of(c, row.request_digest))
        state = "unknown" if found is None else found[1]
        if state in {"agreed", "recorded"}:
            # It ends, or asks its peers, in a task of its own.
            return self._pause(row.request_digest)
        if state == "released":
            return await self._collect(row)
        why = f": {error}" if error is not None else ", when this party stopped" if state == "aborted" else ""
        withdrawn = row.request_digest in self._withdrawing
        ended: WaitingState = "withdrawn" if withdrawn else "failed"
        message = _TAKEN_BACK if withdrawn else f"the session was {state}{why}; sign a new request"
        await self._change(row, ended, message)
        return None

    async def _collect(self, row: Row) -> float | None:
        """The sealed parts of a released session, from where they were recorded."""
        session = row.session
        assert session is not None
        assert row.plan is not None
        plan = canonical.decode(row.plan)
        assert isinstance(plan, dict)
        releases: list[bytes] = []
        for party in cast("list[int]", plan["compute"]):
            sealed = await self._sealed(session, PartyId(party))
            if sealed is None:
                await self._change(row, "waiting", f"released; waiting for party {party} to hand over its part")
                return self._pause(row.request_digest)
            releases.append(sealed)
        receipt = await self._journal.read(lambda c: rows.receipt_of(c, session))
        facts: Map = {"session": bytes(session), "security": plan.get("security"), "notes": [], "receipt": receipt}
        await self._finish(row, JobResult(row.plan, tuple(releases), facts))
        return None

    async def _sealed(self, session: SessionId, party: PartyId) -> bytes | None:
        if party == self._me:
            return await self._journal.sealed(session)
        whole = bytearray()
        while True:
            payload: dict[str, object] = {"session": bytes(session), "offset": len(whole)}
            reply = (await self._peers.ask(SEALED, payload, [party]))[party]
            if isinstance(reply, MpcdError):
                return None
            part, size = reply.get("part"), reply.get("size")
            if not isinstance(part, bytes) or not isinstance(size, int) or not part or size > _SEALED_BYTES_MAX:
                return None
            whole += part
            if len(whole) >= size:
                return bytes(whole)

    async def hand_over(self, _party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        """Another party asks for the sealed bytes that we recorded and that may leave.

        Raises:
            NotFound: no session that was released here, or none in which we computed.
        """
        session, offset = SessionId(cast("bytes", payload["session"])), cast("int", payload["offset"])
        sealed = await self._journal.sealed(session) if await self._journal.state(session) == "released" else None
        if sealed is None or not 0 <= offset < len(sealed):
            raise NotFound("this party has released no such part")
        return {"size": len(sealed), "part": sealed[offset : offset + _PART_BYTES]}

    # ------------------------------------------------------------------------------------------ ends

    async def _finish(self, row: Row, result: JobResult) -> None:
        encoded = canonical.encode(result.to_map())
        await self._change(row, "released", "the result is here, sealed to its analyst", encoded)

    async def _end(self, row: Row, event: Event, state: WaitingState, why: str) -> None:
        """A request that was never agreed ends: as the lifecycle says, told, on the record, and used up."""
        _, effects = advance(State.AWAITING_APPROVAL, event)
        assert effects == (Effect.TELL_PEERS, Effect.COMMIT_REFUSED, Effect.TELL_ANALYST)
        # Peers see by themselves that it expired; a withdrawal was told with the analyst's signature.
        code = Cancelled.code if event is Event.CANCELLED else DeadlineExceeded.code
        signed = SignedRequest.from_bytes(row.request)
        await self._journal.refused(signed, (Refusal(self._me, code, "request", why),))
        await self._change(row, state, why)

    async def _change(self, row: Row, state: WaitingState, message: str, result: bytes | None = None) -> None:
        now = self.now
        short = message[: limits.WAITING_MESSAGE_CHARACTERS_MAX]
        changed = await self._journal.write(
            lambda c, _append: rows.change_waiting(c, row.request_digest, state, short, now=now, result=result)
        )
        if changed:
            event = "request_waits" if state == "waiting" else "wait_over"
            self._log(event, request=row.request_digest.hex(), state=state)
            self._announce()
            if state in {"refused", "failed"} and self._nursery is not None:
                self._nursery.start_soon(self._tell_ended, bytes(row.request_digest))

    def _announce(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # ------------------------------------------------------------------------------------------ for the analyst

    async def _row(self, digest: bytes) -> Row | None:
        return await self._journal.read(lambda c: rows.get_waiting(c, digest))

    async def _known(self, digest: bytes) -> Row:
        row = await self._row(digest)
        if row is None:
            raise NotFound("no such request is kept here; ask the party that you submitted it to")
        return row

    async def state(self, digest: bytes, revision: int | None = None) -> Map:
        """How a request stands; with a `revision`, as soon as it is another one or some time has passed.

        Raises:
            NotFound: it is not kept here.
        """
        with trio.move_on_after(limits.WAITING_WATCH_SECONDS_MAX):
            while True:
                news = self._news
                row = await self._known(digest)
                if row.revision != revision:
                    break
                await news.wait()
        row = await self._known(digest)
        return {
            "request": bytes(row.request_digest),
            "state": row.state,
            "message": row.message,
            "revision": row.revision,
            "created_at": row.created_at,
            "changed_at": row.changed_at,
            "expires_at": row.expires_at,
            "session": None if row.session is None else bytes(row.session),
        }

    async def result(self, digest: bytes) -> JobResult:
        """The sealed result; the same as often as it is asked for.

        Raises:
            NotFound: not kept here, or no result yet.
        """
        row = await self._known(digest)
        if row.result is None:
            raise NotFound(f"the request has no result here; it is {row.state}: {row.message}")
        value = canonical.decode(row.result)
        assert isinstance(value, dict)
        return JobResult.from_map(value)

    async def withdraw(self, digest: bytes, signature: bytes) -> str:
        """The analyst takes a request back, or lets go of one that is over; the state that it has then.

        Raises:
            NotFound: not kept here.
            RequestInvalid: not signed by its analyst.
        """
        row = await self._known(digest)
        signed = SignedRequest.from_bytes(row.request)
        try:
            signed.request.analyst.verify(approval.WITHDRAWAL, digest, signature)
        except IdentityError as error:
            raise RequestInvalid("only the analyst who signed a request takes it back") from error
        if row.state in rows.OVER:
            await self._journal.write(lambda c, _append: rows.forget_waiting(c, digest))
            return "forgotten"
        self._withdrawing.add(digest)
        if digest in self._busy:
            self._sessions.revoke(lambda one: one.digest() == digest, "its analyst withdrew it", owed=True)
        elif row.session is None:
            await self._end(row, Event.CANCELLED, "withdrawn", _TAKEN_BACK)
        if self._nursery is not None:
            self._nursery.start_soon(self._tell_withdrawn, digest, signature)
        self._schedule(digest, 0.0)
        row = await self._known(digest)
        return row.state if row.state in rows.OVER else "withdrawing"

    async def _tell_withdrawn(self, digest: bytes, signature: bytes) -> None:
        await self._desk_withdrawn(digest, signature)
        await self._peers.ask(WITHDRAWN, {"request": digest, "signature": signature})

    async def _tell_ended(self, digest: bytes) -> None:
        """Nobody's people need to decide any more; where this is not heard, the request closes when its time is up."""
        try:
            await self.heard_ended(self._me, {"request": digest})
        except MpcdError as error:
            self._log("waiting_try_failed", request=digest.hex(), code=error.code, reason=str(error))
        await self._peers.ask(ENDED, {"request": digest})

    async def heard_ended(self, party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        """The party that kept a request says that it is over; of one that it does not keep its word counts nothing."""
        if self.ended is not None:
            await self.ended(digest_of(payload["request"]), party)
        return {}

    async def heard_withdrawn(self, _party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        """Another party passes on that an analyst took a request back; the signature is the analyst's own."""
        try:
            await self._desk_withdrawn(cast("bytes", payload["request"]), cast("bytes", payload["signature"]))
        except IdentityError as error:
            raise RequestInvalid("only the analyst who signed a request takes it back") from error
        return {}


_EXPIRED: Final = "not approved by all owners before it expired"
_TAKEN_BACK: Final = "withdrawn by its analyst"
_SEALED_BYTES_MAX: Final = limits.RELEASE_BYTES_MAX + 8192


def digest_of(value: object) -> RequestDigest:
    """A request's digest from the socket; raises `RequestInvalid`."""
    if not isinstance(value, bytes) or len(value) != canonical.DIGEST_BYTES:
        raise RequestInvalid("a request is named by its digest of 32 bytes")
    return RequestDigest(value)
