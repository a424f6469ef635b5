"""Heads of ledgers between the parties: shown after sessions and at intervals, checked, signed, remembered (layer 13).

    ledger.head    {head, first, headers, losses}  ->  {outcome: seen, witness} | {outcome: go on, first}
                                                       | {outcome: trouble, why, remembered}

Every party shows its own head to every other.  The other checks that the headers lead from the head that it remembers
to the one that is shown (`store.heads.remember`), remembers that one, and signs it; the signature is kept here, and the
check of our ledger from then on demands that the chain passes through that head.

Who finds what.  A ledger that was cut, put back or rewritten, with all its hashes made to fit, passes its own check.  A
peer then answers `trouble` with the head that it remembers, which is our own signature: we can check for ourselves
that our ledger is not what it was, say so, and take no sessions until the right file is back or the operator admits
the loss.  A peer's word without our signature does nothing.  At the peer the same is an entry of its ledger, kept with
both signed heads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

import trio

from mpcd import limits
from mpcd.errors import LedgerInvalid, MpcdError, NotFound, PeerMalformed
from mpcd.governance.chain import HASH_BYTES, LedgerHead, Loss, SignedHead, Witness
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.ids import PartyId
from mpcd.store import heads

if TYPE_CHECKING:
    import sqlite3

    from mpcd.daemon.journal import StoreJournal
    from mpcd.store.ledger import Append

Map = dict[str, object]
Outcome = str
"""What became of showing our head to one peer, in a sentence."""

HEAD: Final = "ledger.head"
SEEN: Final = "seen"
GO_ON: Final = "go on"
TROUBLE: Final = "trouble"
_STEPS_MAX: Final = 64
"""Messages to one peer in one exchange; a long absence is made up for over several exchanges."""


class Ask(Protocol):
    """Puts one question to parties; see `questions.Questions.ask`."""

    def __call__(
        self, kind: str, payload: Map, parties: Iterable[PartyId] | None = None
    ) -> Awaitable[Mapping[PartyId, Map | MpcdError]]:
        """Answers, or errors in their place."""


class Heads:
    """What one daemon does about heads.

    Args:
        me: this party.
        key: signs our heads and what we saw of others'.
        keys: of every party of the roster.
        journal: the store.
        ask: asks peers.
        utc_seconds: this host's clock.
        log: takes an event and its fields.
        broken: told why our ledger is not what it was; None once its loss was admitted.
    """

    def __init__(
        self,
        me: PartyId,
        key: SigningKey,
        keys: Mapping[PartyId, VerifyKey],
        journal: StoreJournal,
        ask: Ask,
        utc_seconds: Callable[[], float],
        log: Callable[..., None],
        broken: Callable[[str | None], None],
    ) -> None:
        self._me = me
        self._key = key
        self._keys = keys
        self.others: Final = tuple(sorted(party for party in keys if party != me))
        self._journal = journal
        self._ask = ask
        self._utc_seconds = utc_seconds
        self._log = log
        self._broken = broken
        self._due = trio.Event()
        self._exchanging = trio.Lock()
        self.proof: SignedHead | None = None
        """A head that we signed and that our ledger contradicts."""

    def soon(self) -> None:
        """Show our head to the peers before long: a session has ended, or a channel is there again."""
        self._due.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Show heads, for ever."""
        task_status.started()
        while True:
            with trio.move_on_after(limits.HEADS_INTERVAL_SECONDS):
                await self._due.wait()
            self._due = trio.Event()
            try:
                await self.exchange()
            except MpcdError as error:
                self._log("heads_failed", code=error.code, reason=str(error))
            await trio.sleep(limits.HEADS_SPACING_SECONDS)

    # ------------------------------------------------------------------------------------------ showing ours

    async def exchange(self) -> dict[PartyId, Outcome]:
        """Show our head to every peer, and keep what they sign; what became of it at each."""
        outcomes: dict[PartyId, Outcome] = {}
        words: list[Witness] = []

        async def one(party: PartyId) -> None:
            try:
                outcomes[party] = await self._show(party, words)
            except MpcdError as error:
                outcomes[party] = f"{error} ({error.code})"

        async with self._exchanging:
            async with trio.open_nursery() as nursery:
                for party in self.others:
                    nursery.start_soon(one, party)
            if words:
                await self._journal.write(lambda connection, _append: _keep(connection, words))
        if self.proof is not None and all(outcome == SEEN for outcome in outcomes.values()):
            # Every peer's operator has accepted the ledger as it is: nobody holds the old one against us.
            self.proof = None
            self._broken(None)
        return {party: outcomes[party] for party in self.others}

    async def _show(self, party: PartyId, words: list[Witness]) -> Outcome:
        first: int | None = None
        for _ in range(_STEPS_MAX):
            shown, payload, whole = await self._journal.read(partial(self._prepare, party, first))
            answer = (await self._ask(HEAD, payload, [party]))[party]
            if isinstance(answer, MpcdError):
                raise answer
            if answer["outcome"] == SEEN:
                words.append(self._word(party, shown, answer))
                if whole:
                    return SEEN
                first = shown.head.count
            elif answer["outcome"] == GO_ON and answer["first"] != first:
                first = _integer(party, answer["first"])
            elif answer["outcome"] == TROUBLE:
                return await self._take_trouble(party, answer)
            else:
                break
        return "the peer was away for long: it goes on with the next exchange, unless what it needs was archived since"

    def _prepare(
        self, party: PartyId, first: int | None, connection: sqlite3.Connection
    ) -> tuple[SignedHead, Map, bool]:
        """What to show: our head with the headers that lead to it, or a first part of them.

        The peer said from where (`first`), or we guess it from what it signed last.
        """
        now = heads.head(connection)
        (known,) = heads.peers(connection, [party])
        guessed = first is None
        if first is None:
            first = now.count if known.witness is None else known.witness.seen.head.count
        # Only what the peer asked for is shown in parts: it could take less than it knows for a ledger that was cut.
        end = now.count if guessed else min(now.count, first + limits.HEADS_HEADERS_MAX)
        link = now.hash if end == now.count else heads.link_after(connection, end)
        if link is None:
            end, link = now.count, now.hash
        fits = 0 <= end - first <= limits.HEADS_HEADERS_MAX
        made = heads.headers(connection, first, end) if fits else None
        if made is None:  # too many, or archived: the peer says what it needs
            first, made = end, []
        shown = SignedHead.make(
            self._me, heads.ledger_id(connection), LedgerHead(end, link), self._milliseconds(), self._key
        )
        payload: Map = {
            "head": shown.to_bytes(),
            "first": first,
            "headers": b"".join(made),
            "losses": list(heads.losses(connection)),
        }
        return shown, payload, end == now.count

    def _word(self, party: PartyId, shown: SignedHead, answer: Map) -> Witness:
        """The peer's signature of our head.

        Raises:
            PeerMalformed: it signed something else, or did not sign.
        """
        try:
            word = Witness.from_bytes(cast("bytes", answer["witness"]))
            word.check(self._keys[party])
        except (IdentityError, LedgerInvalid, KeyError, TypeError) as error:
            raise PeerMalformed(party, f"party {party} did not sign what it saw of our ledger") from error
        if word.seen != shown or word.by != party:
            raise PeerMalformed(party, f"party {party} signed another head than the one it was shown")
        return word

    async def _take_trouble(self, party: PartyId, answer: Map) -> Outcome:
        """A peer says that our ledger is not what it was: believed if it holds our signature."""
        try:
            ours = SignedHead.from_bytes(cast("bytes", answer["remembered"]))
            ours.check(self._keys[self._me])
        except (IdentityError, LedgerInvalid, KeyError, TypeError):
            ours = None
        why = None
        if ours is not None and ours.party == self._me:
            why = await self._journal.read(partial(heads.contradicts, ours=ours))
        if ours is None or why is None:
            self._log("peer_disputes_ledger", party=int(party))
            return "the peer disputes our ledger and cannot prove it"
        if await self._journal.read(partial(heads.is_admitted, ours=ours)):
            return "the loss was admitted; the peer's operator has yet to accept it"
        if self.proof is None or self.proof.head.count < ours.head.count:
            self.proof = ours
        reason = (
            f"party {party} holds a head of this ledger, signed by this party, that it contradicts: {why}; "
            "restore the right state file, or admit the loss with `mpcctl ledger admit-loss`"
        )
        self._log("ledger_contradicted", party=int(party), reason=reason)
        self._broken(reason)
        return reason

    async def admit(self, reason: str) -> dict[PartyId, Outcome]:
        """Our operator says that entries were lost: signed, on the record, and shown to the peers.

        Raises:
            NotFound: nothing that we signed contradicts our ledger.
        """
        proof = self.proof
        if proof is None:
            raise NotFound("no peer has shown that this ledger lost anything")

        def work(connection: sqlite3.Connection, append: Append) -> None:
            now = SignedHead.make(
                self._me, heads.ledger_id(connection), heads.head(connection), self._milliseconds(), self._key
            )
            heads.admit(connection, append, Loss.make(now, proof, reason, self._key))

        await self._journal.write(work)
        self.proof = None
        self._broken(None)
        return await self.exchange()

    # ------------------------------------------------------------------------------------------ looking at theirs

    async def receive(self, party: PartyId, payload: Map) -> Map:
        """Answer `ledger.head`.

        Raises:
            PeerMalformed: not a head that this party signed.
        """
        try:
            shown = SignedHead.from_bytes(cast("bytes", payload["head"]))
            shown.check(self._keys[party])
            admitted = [Loss.from_bytes(encoded) for encoded in cast("list[bytes]", payload["losses"])]
            for loss in admitted:
                loss.check(self._keys[party])
        except (IdentityError, LedgerInvalid) as error:
            raise PeerMalformed(party, f"party {party} showed a head that it did not sign") from error
        joined = payload["headers"]
        if shown.party != party or not isinstance(joined, bytes) or len(joined) % HASH_BYTES:
            raise PeerMalformed(party, f"party {party} showed another party's head, or no headers")
        made = [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
        first, now = _integer(party, payload["first"]), self._milliseconds()
        verdict = await self._journal.write(
            lambda connection, append: heads.remember(connection, append, shown, first, made, admitted, now)
        )
        if verdict.outcome == "seen":
            return {"outcome": SEEN, "witness": Witness.make(shown, self._me, now, self._key).to_bytes()}
        if verdict.outcome == "go on":
            return {"outcome": GO_ON, "first": verdict.first}
        if verdict.new:
            self._log("peer_ledger_broken", party=int(party), reason=verdict.why)
        remembered = b"" if verdict.remembered is None else verdict.remembered.to_bytes()
        return {"outcome": TROUBLE, "why": verdict.why, "remembered": remembered}

    async def accept(self, party: PartyId, reason: str) -> None:
        """Our operator takes a peer's contradicting ledger as the one to go on from.

        Raises:
            NotFound: it contradicts nothing.
        """
        now = self._milliseconds()
        await self._journal.write(lambda connection, append: heads.accept(connection, append, party, reason, now))

    async def peers(self) -> list[heads.Peer]:
        """What is known between us and each peer."""
        return await self._journal.read(partial(heads.peers, parties=self.others))

    def _milliseconds(self) -> int:
        return int(self._utc_seconds() * 1000)


def _keep(connection: sqlite3.Connection, words: list[Witness]) -> None:
    for word in words:
        heads.keep_witness(connection, word)


def _integer(party: PartyId, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise PeerMalformed(party, f"party {party} sent no number of entries")
    return value
