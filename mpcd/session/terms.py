"""What a session is agreed on besides question, rules and data: the terms (pure).

Each party's answer carries its own terms, a small canonical map.  All parties put the session's terms together from
all answers alike; they are part of the physical plan, so the plan hash, the receipt and the compute parties'
signatures cover them.

    answer   `line`      this owner's signed price for the session (`governance.quote.Line`), None where it asks none
             `history`   digests of the questions that this owner has answered (`governance.history`)
             `duties`    what the analyst owes for the answer: `PUB`, `RTN`, `MOR:<date>` (`governance.purposes`)
    session  `at`        the session's time: expiry, quota and month are decided by it
             `lines`     [party, line] of every owner that has one, by party
             `history`   a salted digest of the union of the owners' lists: the analyst gets the plan, and digests of
                         others' questions could be guessed
             `duties`    [party, duty] of every owner that has one, by party
             `privacy`   what noise the analyst asked for (`governance.privacy.Ask`), None for exact numbers
             `overlap`   only in a check whether owners share persons: the places of its bitmaps (`compile.overlap`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from mpcd import canonical
from mpcd.canonical import Value
from mpcd.governance import history
from mpcd.ids import PartyId
from mpcd.limits import ANSWER_TERMS_BYTES_MAX
from mpcd.session.agreement import Answer

Terms = dict[str, Value]


def agreed(
    answers: Sequence[Answer],
    owners: Sequence[PartyId],
    *,
    at: int,
    privacy: bytes | None,
    overlap: int | None = None,
) -> Terms:
    """The session's terms, the same at every party that holds the same answers.

    Args:
        answers: of all participants.
        owners: whose data takes part; only their terms count.
        at: the session's time, milliseconds since 1970, UTC, as it was proposed.
        privacy: from the request.
        overlap: for a check whether owners share persons, how many places its bitmaps have.

    Raises:
        ValueError: an owner's terms make no sense.
    """
    of_owners = [answer for answer in sorted(answers, key=lambda one: one.party) if answer.party in owners]
    return {
        "at": at,
        "privacy": privacy,
        "lines": [[int(answer.party), line] for answer in of_owners if (line := _line(answer)) is not None],
        "history": history.commitment(
            history.joined(list(histories(answers, owners).values())),
            {answer.party: answer.nonce for answer in answers},
        ),
        "duties": [[int(answer.party), duty] for answer in of_owners for duty in _duties(answer)],
        **({} if overlap is None else {"overlap": overlap}),
    }


def _line(answer: Answer) -> bytes | None:
    line = answer.terms.get("line")
    if line is not None and not isinstance(line, bytes):
        raise ValueError("a price line is bytes")
    return line


def _duties(answer: Answer) -> list[str]:
    duties = answer.terms.get("duties", [])
    if not isinstance(duties, list) or not all(isinstance(duty, str) for duty in duties):
        raise TypeError("duties are a list of texts")
    return cast("list[str]", duties)


def histories(answers: Sequence[Answer], owners: Sequence[PartyId]) -> dict[PartyId, bytes]:
    """What each owner has answered before: digests, ascending, one after the other.

    Raises:
        ValueError: not such a list.
    """
    found = {}
    for answer in answers:
        if answer.party in owners:
            packed = answer.terms.get("history", b"")
            if not isinstance(packed, bytes):
                raise TypeError("a history is digests in a row")
            history.listed(packed)
            found[answer.party] = packed
    return found


def within_limits(terms: Mapping[str, Value]) -> bool:
    """Whether an answer may carry these terms."""
    return len(canonical.encode(dict(terms))) <= ANSWER_TERMS_BYTES_MAX
