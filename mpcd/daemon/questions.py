"""Asking the other parties, and answering them: one registry of handlers, one deadline, a bounded rate (layer 13).

    node.questions.handle("licences.offers", self._offers)             # async (asking party, payload) -> payload
    replies = await node.ask_peers("licences.offers", {"analyst": key})    # {party: payload | MpcdError}

A handler runs in a task of its own, so that a slow one holds up neither the peer's other messages nor its sessions. It
raises typed errors like a method of the API; the asker gets code and sentence.  Whatever else it raises is a bug: it is
logged here, and the asker learns that we could not answer.

`ask` never raises for a peer: a party that is away, late, or said no is a value in the answer, and the caller decides
what is missing without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import trio

from mpcd import limits
from mpcd.canonical import Value
from mpcd.errors import Bug, Busy, MethodUnknown, MpcdError, PeerGone, PeerMalformed
from mpcd.ids import PartyId
from mpcd.roster import Roster
from mpcd.session import questions
from mpcd.session.questions import Map
from mpcd.wire import WireMisuse

Handler = Callable[[PartyId, Map], Awaitable[Map]]
"""Given the party that asks and what it asks; returns what it is told, or raises a typed error."""
Send = Callable[[PartyId, Map], Awaitable[None]]

_BUSY_PER_PEER_MAX: Final = 4 * limits.PEER_QUESTIONS_AT_ONCE_MAX
"""Refusals to one peer that wait to be sent; beyond that its questions get no answer at all."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """One question to one party."""

    kind: str
    done: trio.Event = field(default_factory=trio.Event)
    outcome: Map | MpcdError | None = None

    def settle(self, outcome: Map | MpcdError) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.done.set()


class Questions:
    """All questions of one daemon, asked and answered.

    Args:
        others: every other party of the roster.
        send: queues a control message to a party; raises `PeerGone`.
        entropy: for the ids of our questions.
        log: takes an event and its fields.
    """

    def __init__(
        self,
        others: Iterable[PartyId],
        send: Send,
        entropy: Callable[[int], bytes],
        log: Callable[..., None],
    ) -> None:
        self.others: Final = tuple(sorted(others))
        self._send = send
        self._entropy = entropy
        self._log = log
        self._handlers: dict[str, Handler] = {}
        self._waiting: dict[tuple[PartyId, bytes], _Waiting] = {}
        self._allowances = {party: questions.Allowance() for party in self.others}
        self._refusing = dict.fromkeys(self.others, 0)
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the tasks that answer; for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # ------------------------------------------------------------------------------------------ asking

    async def ask(
        self,
        kind: str,
        payload: Map,
        parties: Iterable[PartyId] | None = None,
        seconds: float = limits.PEER_ANSWER_SECONDS_MAX,
    ) -> dict[PartyId, Map | MpcdError]:
        """Put one question to several parties at once.

        Args:
            kind: as its handler is registered there.
            payload: canonical map, at most `limits.PEER_QUESTION_BYTES_MAX` bytes.
            parties: whom; without it, every other party.
            seconds: after this a party that has not answered is `PeerGone`.

        Returns:
            For each party what it answered, or the error that stands for its answer.
        """
        asked = self.others if parties is None else tuple(sorted(set(parties)))
        if not set(asked) <= set(self.others):
            raise Bug("only another party of the roster can be asked")
        outcomes: dict[PartyId, Map | MpcdError] = {}

        async def one(party: PartyId) -> None:
            outcomes[party] = await self._ask_one(party, kind, payload, seconds)

        async with trio.open_nursery() as nursery:
            for party in asked:
                nursery.start_soon(one, party)
        return {party: outcomes[party] for party in asked}

    async def _ask_one(self, party: PartyId, kind: str, payload: Map, seconds: float) -> Map | MpcdError:
        question = self._entropy(questions.ID_BYTES)
        waiting = self._waiting[party, question] = _Waiting(kind)
        try:
            with trio.move_on_after(seconds):
                await self._send(party, questions.ask(question, kind, payload))
                await waiting.done.wait()
        except PeerGone as error:
            return error
        finally:
            del self._waiting[party, question]
        return questions.gone(party, kind, seconds) if waiting.outcome is None else waiting.outcome

    def lost(self, party: PartyId) -> None:
        """The channel to `party` is gone: nobody waits for its answers any longer."""
        for (asked, _), waiting in list(self._waiting.items()):
            if asked == party:
                waiting.settle(PeerGone(party, f"party {party} went away before it answered `{waiting.kind}`"))

    # ------------------------------------------------------------------------------------------ answering

    def handle(self, kind: str, handler: Handler) -> None:
        """Answer questions of `kind` with `handler`; one handler per kind."""
        if kind in self._handlers:
            raise Bug(f"two handlers for the question `{kind}`")
        self._handlers[kind] = handler

    def receive(self, party: PartyId, message: Map) -> bool:
        """Take one control message from `party`; False if it is none of ours.

        Raises:
            PeerMalformed: a question whose payload is no map.
        """
        question = cast("bytes", message.get("id", b""))
        if message["type"] == questions.REPLY:
            waiting = self._waiting.get((party, question))
            if waiting is not None:
                waiting.settle(questions.outcome(party, waiting.kind, message))
            return True
        if message["type"] != questions.ASK:
            return False
        self._receive_question(party, question, str(message["kind"]), questions.payload_of(party, message))
        return True

    def _receive_question(self, party: PartyId, question: bytes, kind: str, payload: Map) -> None:
        assert self._nursery is not None
        if self._allowances[party].admit(trio.current_time()):
            self._allowances[party].answering += 1
            self._nursery.start_soon(self._answer, party, question, kind, payload)
        elif self._refusing[party] < _BUSY_PER_PEER_MAX:
            self._refusing[party] += 1
            self._nursery.start_soon(self._refuse, party, question)
        else:
            self._log("peer_question_dropped", party=int(party))

    async def _answer(self, party: PartyId, question: bytes, kind: str, payload: Map) -> None:
        try:
            with trio.move_on_after(limits.PEER_ANSWER_SECONDS_MAX):
                message = await self._reply(party, question, kind, payload)
                await self._quietly_send(party, message)
        finally:
            self._allowances[party].answering -= 1

    async def _reply(self, party: PartyId, question: bytes, kind: str, payload: Map) -> Map:
        handler = self._handlers.get(kind)
        if handler is None:
            return questions.refusal(question, MethodUnknown(f"this party knows no question `{kind}`"))
        try:
            return questions.reply(question, await handler(party, payload))
        except MpcdError as error:
            return questions.refusal(question, error)
        except (KeyError, TypeError, ValueError) as error:
            self._log("peer_question_malformed", party=int(party), kind=kind, exc_info=error)
            return questions.refusal(question, PeerMalformed(None, f"a question `{kind}` that cannot be read"))
        except Exception as error:  # noqa: BLE001  # no question of a peer may take the daemon down
            self._log("peer_question_failed", party=int(party), kind=kind, exc_info=error)
            return questions.refusal(question, Bug("it failed here; its operator finds the cause in the log"))

    async def _refuse(self, party: PartyId, question: bytes) -> None:
        try:
            error = Busy("too many questions at once; ask again later")
            await self._quietly_send(party, questions.refusal(question, error))
        finally:
            self._refusing[party] -= 1

    async def _quietly_send(self, party: PartyId, message: Map) -> None:
        """Send an answer; a party that went away meanwhile does not get it."""
        try:
            await self._send(party, message)
        except PeerGone:
            return
        except WireMisuse as error:
            # An answer of ours that does not fit its schema: the asker is told, the daemon lives.
            self._log("peer_answer_failed", party=int(party), exc_info=error)
            too_long = Bug("its answer does not fit in a message; its operator finds the cause in the log")
            with contextlib.suppress(PeerGone):
                await self._send(party, questions.refusal(cast("bytes", message["id"]), too_long))


def by_party(roster: Roster, said: Mapping[PartyId, dict[str, object] | MpcdError]) -> list[Value]:
    """One map for each party that was asked, in the roster's order: its name, and what it said or why it did not."""
    listed: list[Value] = []
    for party in roster.parties:
        if party.id not in said:
            continue
        reply = said[party.id]
        found: dict[str, Value] = {"party": int(party.id), "name": party.name, "error": "", "message": ""}
        if isinstance(reply, MpcdError):
            found |= {"error": reply.code, "message": str(reply)}
        else:
            found |= cast("dict[str, Value]", reply)
        listed.append(found)
    return listed
