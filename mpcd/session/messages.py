"""The control messages of sessions, with their limits; registered when imported (no I/O).

session.propose    proposer to all: the analyst's signed request; `dry_run` asks what would be said and runs nothing;
                   `at` is the session's time in ms since 1970, `attachments` what the request names by digest
session.answer     every party to all: the same answer (`agreement.Answer`), and a fresh secret for this pair alone
session.abort      any party to all: ended before it was recorded; code and sentence
session.receipt    every participant to all: the result is verified as far as it can see; its signature of the receipt
session.recorded   every participant to all: the second commit is durable
session.release    compute party to proposer: the sealed shares
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.session import agreement
from mpcd.wire.control import CONTROL, Anything, Integer, Octets, Text, Truth

PROPOSE: Final = "session.propose"
ANSWER: Final = "session.answer"
ABORT: Final = "session.abort"
RECEIPT: Final = "session.receipt"
RECORDED: Final = "session.recorded"
RELEASE: Final = "session.release"
GONE: Final = "session.gone"
NO_ATTEMPT: Final = bytes(agreement.ATTEMPT_BYTES)
"""In messages of a party that restarted: it knows the session's id alone."""

_ATTEMPT: Final = Octets(agreement.ATTEMPT_BYTES)
_ANSWER_BYTES_MAX: Final = 256 * 2**10 + limits.ANSWER_TERMS_BYTES_MAX
TIME_MILLISECONDS_MAX: Final = 2**50
_ENVELOPE_BYTES_MAX: Final = limits.RELEASE_BYTES_MAX + 8192

CONTROL.register(
    PROPOSE,
    {
        "attempt": _ATTEMPT,
        "request": Octets(limits.REQUEST_BYTES_MAX, bytes_min=1),
        "dry_run": Truth(),
        "at": Integer(0, TIME_MILLISECONDS_MAX),
        "attachments": Anything(limits.ATTACHMENTS_BYTES_MAX),
    },
    bytes_max=limits.REQUEST_BYTES_MAX + limits.ATTACHMENTS_BYTES_MAX + 1024,
)
CONTROL.register(
    ANSWER,
    {"attempt": _ATTEMPT, "answer": Anything(_ANSWER_BYTES_MAX), "secret": Octets(agreement.NONCE_BYTES)},
    bytes_max=_ANSWER_BYTES_MAX + 1024,
)
CONTROL.register(ABORT, {"attempt": _ATTEMPT, "code": Text(64), "message": Text(8192)})
CONTROL.register(RECEIPT, {"attempt": _ATTEMPT, "session": Octets(32), "signature": Octets(64)})
CONTROL.register(RECORDED, {"attempt": _ATTEMPT, "session": Octets(32), "ask": Truth()})
CONTROL.register(GONE, {"session": Octets(32), "state": Text(32)})
CONTROL.register(
    RELEASE,
    {"attempt": _ATTEMPT, "session": Octets(32), "envelope": Octets(_ENVELOPE_BYTES_MAX, bytes_min=1)},
    bytes_max=_ENVELOPE_BYTES_MAX + 1024,
)
