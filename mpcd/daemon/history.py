"""What this party has answered about, and what the others have: the shell of `mpcd.governance.history` (layer 13).

`answer` is one step without a wait: it lists what is known, and registers what is asked as pending, so that of two
sessions at once one sees the other.  `learn` makes definitions of all parties' lists; what we lack we ask of the party
that listed it.  What is kept durably follows the sessions' own commits (`remembered`, `settled`).

*Only what we answered.*  A definition that names us among its owners is evaluated on our rows.  So it is taken if we
ever answered it ourselves, and else only if the request that the other party shows vouches for it (`daemon.vouching`);
a session that names another ends, with the name of the party that listed it.  Where we give no data to the session or
to the earlier question, nothing of ours is evaluated, and a definition that is well-formed is enough.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from mpcd import canonical, limits
from mpcd.compile import beside
from mpcd.compile.beside import Beside
from mpcd.compile.overlap import TERM
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import Busy, MpcdError, PeerMalformed, PeerUnvouched, Refusal
from mpcd.governance import entries, history
from mpcd.governance.history import Definition, Kept
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, SessionId
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.store import history as stored

Map = dict[str, object]
Ask = Callable[[str, Map, Sequence[PartyId]], Awaitable[Mapping[PartyId, Map | MpcdError]]]
Apart = Callable[[Callable[[], Beside]], Awaitable[Beside]]
Vouch = Callable[[PartyId, Definition, bytes], Awaitable[SignedRequest]]
DEFINITIONS: Final = "history.definitions"
"""Kind of the question for definitions by digest."""
RULE: Final = "history"
_REPLY_BYTES: Final = limits.PEER_REPLY_BYTES_MAX // 2
_SHOWN_BYTES_MAX: Final = limits.HISTORY_DEFINITION_BYTES_MAX + limits.SQL_BYTES_MAX + 8 * 2**10
"""A definition and the signed request that it came from."""
_FETCHES_MAX: Final = 1 + limits.HISTORY_LISTED_MAX * _SHOWN_BYTES_MAX // _REPLY_BYTES
_PLANNED_MAX: Final = 8
_BOOK_MAX: Final = 4 * limits.HISTORY_LISTED_MAX
"""Definitions that are held in memory, decoded."""


class History:
    """This party's desk for differencing.

    Args:
        me: this party.
        roster: in force.
        journal: the way to the store.
        ask: puts a question to peers; see `Questions.ask`.
        apart: does long work away from the event loop.
    """

    def __init__(
        self, me: PartyId, roster: Roster, journal: StoreJournal, ask: Ask, apart: Apart = trio.to_thread.run_sync
    ) -> None:
        self._me = me
        self._roster = roster
        self._journal = journal
        self._ask = ask
        self._apart = apart
        self._kept: dict[bytes, Kept] = {}
        self.vouch: Vouch | None = None
        """What a request vouches for; without it nothing is evaluated that we did not answer."""
        self._pending: dict[bytes, Kept] = {}
        """By attempt: what is being asked just now."""
        self._asked_now: dict[bytes, tuple[Definition, SignedRequest]] = {}
        """The same, for who asks us for it."""
        self._vouched: OrderedDict[bytes, None] = OrderedDict()
        """Digests that another party's request vouched for."""
        self._asking: dict[bytes, Kept] = {}
        """The same by the request's digest, for the commit."""
        self._following = 0
        self._planned: OrderedDict[object, Beside] = OrderedDict()
        """Of the last few questions: who explains first and runs then is not kept waiting twice."""
        self._book: OrderedDict[bytes, Definition] = OrderedDict()
        self._loading = trio.Lock()
        journal.on_agreed.append(self.remembered)
        journal.on_recorded.append(self.settled)

    async def load(self) -> None:
        """Read what is kept, at the start and after a session."""
        async with self._loading:
            self._kept = {one.digest: one for one in await self._journal.read(stored.kept)}
        self._following = max(self._following, 1 + max((one.first for one in self._kept.values()), default=0))

    # ------------------------------------------------------------------------------------------ answering

    def answer(
        self, attempt: bytes, request: SignedRequest, plan: LogicalPlan, at: int, *, dry_run: bool
    ) -> tuple[bytes, tuple[Refusal, ...]]:
        """What an owner says: the digests that it knows, ascending, one after the other; or why it refuses.

        Raises:
            PlanUnsupported: the question is too long to be remembered.
        """
        if request.request.privacy is not None:
            return b"", ()
        definition = history.question(plan, self._roster).definition
        known = [*self._kept.values(), *self._pending.values()]
        first, earlier = history.before(known, definition, self._following)
        analyst = request.request.analyst.raw
        listed = history.told(earlier, at)
        why = history.room(known, definition, analyst, at) if listed is not None else history.FULL
        if listed is None or why is not None:
            return b"", (Refusal(self._me, RULE, ", ".join(sorted(definition.names)), why or history.FULL),)
        if not dry_run:
            asked = Kept(definition.digest, definition.names, analyst, at, first)
            self._pending[attempt] = self._asking[request.digest()] = asked
            self._asked_now[attempt] = definition, request
            self._following = max(self._following, first + 1)
            self._note(definition)
        return b"".join(sorted(one.digest for one in listed)), ()

    async def over(self, attempt: bytes) -> None:
        """An attempt has ended, one way or another: what it left is in the store, and listed before it is let go."""
        if attempt in self._pending:
            await self.load()
            gone = self._pending.pop(attempt, None)
            self._asked_now.pop(attempt, None)
            self._asking = {name: one for name, one in self._asking.items() if one is not gone}

    # ------------------------------------------------------------------------------------------ comparing

    async def beside(self, plan: LogicalPlan, lists: Mapping[PartyId, bytes]) -> Beside:
        """The pairs of a question, from all owners' lists.

        Raises:
            Busy: a definition that another party lists cannot be had.
            PeerMalformed: what another party gave is no definition, or not its own.
            PeerUnvouched: it lists one that we did not answer and would not.
            PlanUnsupported: too many pairs.
            ValueError: a list that is none.
        """
        digests = history.joined(list(lists.values()))
        past = await self._learn(digests, lists, gives=self._me in plan.owners)
        asked = history.question(plan, self._roster)
        known = (asked, plan.cells, digests)
        if known not in self._planned:
            work = partial(beside.plan, asked, past, self._roster, plan.cells)
            self._planned[known] = await self._apart(work) if past else work()
            while len(self._planned) > _PLANNED_MAX:
                self._planned.popitem(last=False)
        return self._planned[known]

    async def _learn(
        self, digests: Sequence[bytes], lists: Mapping[PartyId, bytes], *, gives: bool
    ) -> list[Definition]:
        """These definitions, in order: from the book, the store, and then from whoever listed them."""
        unsure = [digest for digest in digests if not self._is_ours(digest)]
        answered = await self._journal.read(partial(stored.answered, digests=unsure)) if unsure else set()

        def usable(definition: Definition) -> bool:
            return not gives or definition.digest in answered or self._is_harmless(definition)

        found = {digest: self._book[digest] for digest in digests if digest in self._book}
        found = {digest: definition for digest, definition in found.items() if usable(definition)}
        missing = [digest for digest in digests if digest not in found]
        if missing:
            bodies = await self._journal.read(partial(stored.bodies, digests=missing))
            found |= {digest: Definition.from_bytes(body) for digest, (body, _) in bodies.items()}
        for party in sorted(lists):
            theirs = set(history.listed(lists[party]))
            for _ in range(_FETCHES_MAX):
                wanted = [digest for digest in digests if digest not in found and digest in theirs]
                came = await self._fetch(party, wanted) if wanted and party != self._me else {}
                for definition, shown in came.values():
                    if not usable(definition):
                        await self._vet(party, definition, shown)
                found |= {digest: definition for digest, (definition, _) in came.items()}
                if not came:
                    break
        if len(found) < len(digests):
            raise Busy("the parties know different earlier questions just now; ask again in a moment")
        for definition in found.values():
            self._note(definition)
        return [found[digest] for digest in digests]

    def _is_ours(self, digest: bytes) -> bool:
        """Whether we answered it, as far as we have that at hand, or took it before."""
        return (
            digest in self._kept or digest in self._vouched or any(p.digest == digest for p in self._pending.values())
        )

    def _is_harmless(self, definition: Definition) -> bool:
        """Whether it is ours, or nothing of ours is evaluated for it."""
        if self._me not in definition.owners or self._is_ours(definition.digest):
            return True
        return history.relation_of(definition, self._roster) is None  # then it is compared with nothing

    async def _vet(self, party: PartyId, definition: Definition, shown: bytes) -> None:
        """Take a definition that we did not answer, or end the session; either way it goes on the record."""
        if self.vouch is None:
            raise Busy("the parties know different earlier questions just now; ask again in a moment")
        note = partial(
            entries.noted,
            "vouched",
            by=f"party {party}",
            about=", ".join(sorted(definition.names))[: entries.REASON_CHARACTERS_MAX],
        )
        try:
            signed = await self.vouch(party, definition, shown)
        except PeerUnvouched as error:
            await self._journal.entry(note(digest=definition.digest, reason=f"not taken: {error}"))
            raise
        details: dict[str, canonical.Value] = {"definition": definition.digest, "analyst": signed.request.analyst.raw}
        await self._journal.entry(note(digest=signed.digest(), details=details))
        self._vouched[definition.digest] = None
        while len(self._vouched) > _BOOK_MAX:
            self._vouched.popitem(last=False)

    async def _fetch(self, party: PartyId, wanted: Sequence[bytes]) -> dict[bytes, tuple[Definition, bytes]]:
        """Ask one party for definitions, each with the request that it came from; those that came."""
        reply = (await self._ask(DEFINITIONS, {"digests": b"".join(wanted)}, [party]))[party]
        if isinstance(reply, MpcdError):
            return {}
        bodies, requests = reply.get("bodies"), reply.get("requests")
        came: dict[bytes, tuple[Definition, bytes]] = {}
        if not isinstance(bodies, list) or not isinstance(requests, list) or len(bodies) != len(requests):
            raise PeerMalformed(party, f"party {party} sent definitions in a form that is none")
        for body, shown in zip(bodies, requests, strict=True):
            try:
                definition = Definition.from_bytes(body)
                history.check(definition, self._roster)
            except (ValueError, TypeError) as error:
                raise PeerMalformed(party, f"party {party} sent a definition that is none") from error
            if party not in definition.owners or not isinstance(shown, bytes):
                raise PeerMalformed(party, f"party {party} lists a question to which it gave no data")
            if definition.digest in wanted:
                came[definition.digest] = definition, shown
        return came

    async def asked(self, _party: PartyId, payload: Map) -> Map:
        """A peer asks for definitions that we listed: as many of them as fit a reply."""
        packed = payload.get("digests")
        if not isinstance(packed, bytes):
            return {"bodies": [], "requests": []}
        wanted = [packed[at : at + history.DIGEST_BYTES] for at in range(0, len(packed), history.DIGEST_BYTES)]
        wanted = wanted[: limits.HISTORY_LISTED_MAX]
        now = {one.digest: (one, signed) for one, signed in self._asked_now.values()}
        here = {digest: (now[digest][0].body, now[digest][1].to_bytes()) for digest in wanted if digest in now}
        lacking = [digest for digest in wanted if digest not in here and digest in self._kept]
        if lacking:
            here |= await self._journal.read(partial(stored.bodies, digests=lacking))
        bodies: list[object] = []
        requests: list[object] = []
        size = 0
        for body, shown in here.values():
            size += len(body) + len(shown) + 16
            if bodies and size > _REPLY_BYTES:
                break
            bodies.append(body)
            requests.append(shown)
        return {"bodies": bodies, "requests": requests}

    def _note(self, definition: Definition) -> None:
        """Remember a decoded definition; the least recently noted goes."""
        self._book[definition.digest] = definition
        self._book.move_to_end(definition.digest)
        while len(self._book) > _BOOK_MAX:
            self._book.popitem(last=False)

    # ------------------------------------------------------------------------------------------ hooks of the journal

    def remembered(
        self, request: SignedRequest, session: SessionId, plan: PhysicalPlan, connection: sqlite3.Connection
    ) -> None:
        """Keep the definition in the transaction that agrees, where we give data."""
        if self._me not in plan.owners or plan.privacy is not None or TERM in plan.terms:
            return
        definition = history.question(plan.logical, self._roster).definition
        stored.remember(connection, session, definition, self._asking[request.digest()], request.to_bytes())

    def settled(
        self, _request: SignedRequest, session: SessionId, _plan: PhysicalPlan, connection: sqlite3.Connection
    ) -> None:
        """Make room in the transaction that records."""
        stored.settle(connection, session)
