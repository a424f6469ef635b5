"""Questions between parties that belong to no session: their messages, limits and errors (pure).

peer.ask     any party to any other: the kind of question and its payload, under an id that the asker drew
peer.reply   back: the same id, and a payload, or the code and the sentence of the error that stood in the way

A question changes nothing that its answerer would not change by itself: the channel proves which party asks, and what
an analyst or an approver wants is inside the payload under a signature of their own.  A party that floods another gets
`Busy`, then silence; nobody waits longer than the asker's own deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from mpcd import limits
from mpcd.errors import (
    CallerFault,
    Lagged,
    MpcdError,
    PeerFault,
    PeerGone,
    PeerMalformed,
    Refusal,
    Refused,
    SessionFault,
    closed_codes,
)
from mpcd.ids import PartyId
from mpcd.wire.control import CONTROL, Anything, Octets, Text

Map = dict[str, object]

ASK: Final = "peer.ask"
REPLY: Final = "peer.reply"
ID_BYTES: Final = 16
_KIND_BYTES: Final = 64
_CODE_BYTES: Final = 64
_SENTENCE_BYTES: Final = 8192
_ROOM_BYTES: Final = 16 * 2**10
"""For everything of a message beside its payload."""

CONTROL.register(
    ASK,
    {"id": Octets(ID_BYTES), "kind": Text(_KIND_BYTES), "payload": Anything(limits.PEER_QUESTION_BYTES_MAX)},
    bytes_max=limits.PEER_QUESTION_BYTES_MAX + _ROOM_BYTES,
)
CONTROL.register(
    REPLY,
    {
        "id": Octets(ID_BYTES),
        "code": Text(_CODE_BYTES),
        "message": Text(_SENTENCE_BYTES),
        "payload": Anything(limits.PEER_REPLY_BYTES_MAX),
    },
    bytes_max=limits.PEER_REPLY_BYTES_MAX + _ROOM_BYTES,
)


def ask(question: bytes, kind: str, payload: Map) -> Map:
    """The message of a question; `question` is its id."""
    return {"type": ASK, "id": question, "kind": kind, "payload": payload}


def reply(question: bytes, payload: Map) -> Map:
    """The message of an answer."""
    return {"type": REPLY, "id": question, "code": "", "message": "", "payload": payload}


def refusal(question: bytes, error: MpcdError) -> Map:
    """The message that says which error stood in the way: its code and our own sentence, never more."""
    text = str(error).encode()[:_SENTENCE_BYTES].decode(errors="ignore")
    return {"type": REPLY, "id": question, "code": error.code, "message": text, "payload": {}}


def payload_of(party: PartyId, message: Map) -> Map:
    """The payload of a question from `party`.

    Raises:
        PeerMalformed: it is no map.
    """
    payload = message["payload"]
    if not isinstance(payload, dict):
        raise PeerMalformed(party, f"party {party} sent a question whose payload is no map")
    return cast("Map", payload)


def outcome(party: PartyId, kind: str, message: Map) -> Map | MpcdError:
    """What the reply of `party` says: its payload, or its error as the class of its code."""
    code, text, payload = str(message["code"]), str(message["message"]), message["payload"]
    if code:
        return _error(party, kind, code, text)
    if not isinstance(payload, dict):
        return PeerMalformed(party, f"party {party} answered `{kind}` with something that is no map")
    return cast("Map", payload)


def _error(party: PartyId, kind: str, code: str, text: str) -> MpcdError:
    known = closed_codes().get(code, MpcdError)
    if issubclass(known, Refused):
        return Refused((Refusal(party, "peer", kind, f"party {party}: {text}"),))
    if issubclass(known, (CallerFault, SessionFault)) and not issubclass(known, Lagged):
        return known(f"party {party}: {text}")
    # Its own host's fault, or a code of a version that we do not know: for us it is that party that did not answer.
    return PeerFault(party, f"party {party} could not answer `{kind}`: {text or 'it did not say why'} ({code})")


@dataclass(slots=True)
class Allowance:
    """How often one peer may ask: so many at once, refilled at a steady rate (pure: the clock is an argument)."""

    burst: int = limits.PEER_QUESTIONS_BURST_MAX
    per_second: float = limits.PEER_QUESTIONS_PER_SECOND_MAX
    since: float = 0.0
    spent: float = 0.0
    answering: int = 0
    """Questions of this peer that are being answered just now."""

    def admit(self, now: float) -> bool:
        """Take one token; False if there is none left or too many questions are being answered already.

        Args:
            now: monotonic seconds.
        """
        self.spent = max(0.0, self.spent - max(0.0, now - self.since) * self.per_second)
        self.since = now
        if self.spent + 1.0 > self.burst or self.answering >= limits.PEER_QUESTIONS_AT_ONCE_MAX:
            return False
        self.spent += 1.0
        return True


def gone(party: PartyId, kind: str, seconds: float) -> PeerGone:
    """The error of a party that did not answer before the deadline."""
    return PeerGone(party, f"party {party} did not answer `{kind}` within {seconds:g} seconds; ask again later")
