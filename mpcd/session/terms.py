"""What a session is agreed on besides question, rules and data: the terms (pure).

Each party's answer carries its own terms, a small canonical map.  All parties put the session's terms together from
all answers alike; they are part of the physical plan, so the plan hash, the receipt and the compute parties'
signatures cover them.

    answer   `line`      this owner's signed price for the session (`governance.quote.Line`), None where it asks none
             `history`   names of the set definitions that this owner has answered about (`governance.history`)
    session  `at`        the session's time: expiry, quota and month are decided by it
             `lines`     [party, line] of every owner that has one, by party
             `history`   the union of the owners' names, sorted
             `privacy`   what noise the analyst asked for (`governance.privacy.Ask`), None for exact numbers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from mpcd import canonical
from mpcd.canonical import Value
from mpcd.ids import PartyId
from mpcd.limits import ANSWER_TERMS_BYTES_MAX
from mpcd.session.agreement import Answer

Terms = dict[str, Value]


def agreed(answers: Sequence[Answer], owners: Sequence[PartyId], *, at: int, privacy: bytes | None) -> Terms:
    """The session's terms, the same at every party that holds the same answers.

    Args:
        answers: of all participants.
        owners: whose data takes part; only their terms count.
        at: the session's time, milliseconds since 1970, UTC, as it was proposed.
        privacy: from the request.

    Raises:
        ValueError: an owner's terms make no sense.
    """
    of_owners = [answer for answer in sorted(answers, key=lambda one: one.party) if answer.party in owners]
    return {
        "at": at,
        "privacy": privacy,
        "lines": [[int(answer.party), line] for answer in of_owners if (line := _line(answer)) is not None],
        "history": cast("list[Value]", sorted({name for answer in of_owners for name in _history(answer)})),
    }


def _line(answer: Answer) -> bytes | None:
    line = answer.terms.get("line")
    if line is not None and not isinstance(line, bytes):
        raise ValueError("a price line is bytes")
    return line


def _history(answer: Answer) -> list[bytes]:
    names = answer.terms.get("history", [])
    if not isinstance(names, list):
        raise TypeError("a history is a list of names")
    return [name for name in names if isinstance(name, bytes)]


def within_limits(terms: Mapping[str, Value]) -> bool:
    """Whether an answer may carry these terms."""
    return len(canonical.encode(dict(terms))) <= ANSWER_TERMS_BYTES_MAX
