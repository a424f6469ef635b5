"""The store as sessions see it: asynchronous, in one worker thread, with this daemon's clock (layer 13)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import structlog
import trio

from mpcd import canonical, limits
from mpcd.compile.overlap import TERM
from mpcd.compile.physical import PhysicalPlan
from mpcd.errors import LedgerInvalid, NotFound, Refusal, RequestInvalid, StoreFailed, closed_codes
from mpcd.governance import entries
from mpcd.governance.entries import Debit
from mpcd.identity.request import SignedRequest
from mpcd.ids import DataVersion, PartyId, SessionId
from mpcd.store.ledger import Append
from mpcd.store.store import NonceUse, Store

T = TypeVar("T")
_LOG: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("mpcd.ledger")
_REASONS_MAX: Final = 32
_WORD: Final = 200
_SENTENCE: Final = 400
_CODES: Final = frozenset(closed_codes())
"""A reason whose rule is one of these is an error, not a policy's refusal."""


Hook = Callable[[SignedRequest, SessionId, PhysicalPlan, sqlite3.Connection], None]


class StoreJournal:
    """Implements `session.ports.Journal` and gives the daemon the same way to the store for everything else."""

    def __init__(
        self,
        store: Store,
        me: PartyId,
        utc_seconds: Callable[[], float],
        policy_digest: Callable[[], bytes],
        log: Callable[..., None] = lambda _event, **_fields: None,
    ) -> None:
        self._store = store
        self._me = me
        self._utc_seconds = utc_seconds
        self._policy_digest = policy_digest
        self._log = log
        self._limiter = trio.CapacityLimiter(1)
        self._apart = trio.CapacityLimiter(1)
        self._told = False
        self.session_over: Callable[[], None] = lambda: None
        """Told after the last entry of a session."""
        self.on_agreed: list[Hook] = []
        """What domains do in the transaction that agrees a session."""
        self.on_recorded: list[Hook] = []
        """What domains do in the transaction that records it."""

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` on the store in its thread; never abandoned half-way.

        Raises:
            LedgerInvalid: whoever found it, an append or a check: the store does no more work from then on.
        """
        return await self._on(self._limiter, work)

    async def apart(self, work: Callable[[], T]) -> T:
        """Do `work` that reads on connections of its own, beside the thread that commits: no session waits for it.

        Raises:
            LedgerInvalid: as `run`.
        """
        return await self._on(self._apart, work)

    async def _on(self, limiter: trio.CapacityLimiter, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter)
        except LedgerInvalid as error:
            self._store.distrust(str(error))
            if not self._told:
                self._told = True
                _LOG.critical("ledger_broken", code=error.code, reason=str(error))
            raise

    async def write(self, work: Callable[[sqlite3.Connection, Append], T]) -> T:
        """Do a domain's `work` in one transaction, with this daemon's time; see `Store.write`."""
        return await self.run(partial(self._store.write, work, now=self._utc_seconds()))

    async def read(self, work: Callable[[sqlite3.Connection], T], *, apart: bool = False) -> T:
        """Do a domain's `work` on one consistent state; see `Store.read`.

        Args:
            work: reads.
            apart: it takes long: it gets a connection of its own and delays no session.
        """
        if not apart:
            return await self.run(partial(self._store.read, work))
        return await trio.to_thread.run_sync(partial(self._store.read, work, apart=True), limiter=self._apart)

    async def entry(self, entry: entries.LedgerEntry) -> None:
        """Put an entry on the record that belongs to no session."""
        await self.run(partial(self._store.commit_entry, entry, now=self._utc_seconds()))

    async def refused(self, request: SignedRequest, reasons: tuple[Refusal, ...]) -> None:
        """See `session.ports.Journal`; what no policy refused is booked as failed, with the error's code.

        A request that was refused before stays refused once.
        """
        policy = any(reason.rule not in _CODES for reason in reasons)
        make = entries.refused if policy else entries.failed
        entry = make(request.to_bytes(), request.digest(), _shortened(reasons))
        commit = partial(self._store.commit_refused, entry, now=self._utc_seconds(), burn=_nonce(request))
        self._log(
            f"request_{entry.kind}", request=request.digest().hex(), reason=", ".join(sorted({r.rule for r in reasons}))
        )
        try:
            await self.run(commit)
        except RequestInvalid:
            await self.run(partial(self._store.commit_refused, entry, now=self._utc_seconds()))

    async def agreed(
        self,
        request: SignedRequest,
        session: SessionId,
        plan: PhysicalPlan,
        participants: frozenset[PartyId],
        debits: Sequence[Debit] = (),
    ) -> None:
        """See `session.ports.Journal`."""
        versions = {table: DataVersion(version) for table, version in plan.data_versions.get(self._me, {}).items()}
        entry = entries.agreed(
            request.to_bytes(),
            request.digest(),
            plan.hash,
            parties=sorted(participants),
            policy_digest=self._policy_digest(),
            rules=plan.rules,
            data_versions=versions,
            debits=debits,
        )
        await self.run(
            partial(
                self._store.commit_agreed,
                session,
                entry,
                now=self._utc_seconds(),
                burn=_nonce(request),
                request_digest=request.digest(),
                plan_hash=plan.hash,
                debits=debits,
                also=[partial(hook, request, session, plan) for hook in self.on_agreed],
            )
        )

    async def recorded(
        self, request: SignedRequest, session: SessionId, plan: PhysicalPlan, sealed: bytes | None, receipt: bytes
    ) -> None:
        """See `session.ports.Journal`."""
        digest = None if sealed is None else canonical.digest_bytes("sealed", sealed)
        opened = ["overlap band"] if TERM in plan.terms else [output.name for output in plan.logical.shape.outputs]
        entry = entries.recorded(request.digest(), plan.hash, released_digest=digest, opened=opened)
        at = plan.terms["at"]
        assert isinstance(at, int)
        await self.run(
            partial(
                self._store.commit_recorded,
                session,
                entry,
                sealed,
                now=self._utc_seconds(),
                receipt=(at, receipt),
                also=[partial(hook, request, session, plan) for hook in self.on_recorded],
            )
        )

    async def released(self, session: SessionId, parties: frozenset[PartyId]) -> None:
        """See `session.ports.Journal`."""
        entry = entries.released(sorted(parties))
        await self.run(partial(self._store.commit_released, session, entry, now=self._utc_seconds()))
        self.session_over()
        self._log("session_released", session=session.hex())

    async def aborted(self, session: SessionId, code: str, *, refund: bool, step: str) -> None:
        """See `session.ports.Journal`."""
        entry = entries.aborted(code, refunded=refund, step=step)
        await self.run(partial(self._store.commit_aborted, session, entry, now=self._utc_seconds(), refund=refund))
        self.session_over()

    async def withheld(self, session: SessionId, code: str) -> None:
        """See `session.ports.Journal`."""
        await self.run(partial(self._store.commit_withheld, session, entries.withheld(code), now=self._utc_seconds()))
        self.session_over()

    async def state(self, session: SessionId) -> str | None:
        """See `session.ports.Journal`."""
        row = await self.run(partial(self._store.session, session))
        return None if row is None else row.state

    async def sealed(self, session: SessionId) -> bytes | None:
        """See `session.ports.Journal`."""
        try:
            return await self.run(partial(self._store.sealed, session))
        except NotFound:
            return None

    async def participants(self, session: SessionId) -> frozenset[PartyId]:
        """See `session.ports.Journal`."""
        return await self.run(partial(self._participants, session))

    def _participants(self, session: SessionId) -> frozenset[PartyId]:
        """Look back through the ledger for the session's `agreed` entry."""
        stop = self._store.head().count
        while stop > 0:
            first = max(0, stop - limits.LEDGER_ENTRIES_PER_READ_MAX)
            for row in self._store.ledger_entries(first, stop - first):
                if row.session == session and row.kind == "agreed" and row.content is not None:
                    parties = row.content["parties"]
                    assert isinstance(parties, list)
                    return frozenset(PartyId(int(party)) for party in parties)  # type: ignore[arg-type]
            stop = first
        raise StoreFailed("a recorded session's `agreed` entry cannot be read; it stays recorded, unreleased")


def _shortened(reasons: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """As much of the reasons as an entry holds: a peer's many words must not keep ours from being written."""
    kept = [Refusal(r.party, r.rule[:_WORD], r.subject[:_WORD], r.message[:_SENTENCE]) for r in reasons[:_REASONS_MAX]]
    return tuple(kept)


def _nonce(request: SignedRequest) -> NonceUse:
    inner = request.request
    return NonceUse(inner.analyst.raw, inner.nonce, inner.expires_at)
