"""What approvals need to survive a stop: requests that approvers must decide, their rulings, and requests that wait.

Two sides, which one party can be at once.  An *owner* keeps each request that its own people must decide
(`approval_request`) and every ruling that was handed in (`ruling`).  The *keeper*, the party that took the request from
its analyst, keeps it (`waiting`) until it has run or ended, and then its sealed result until the analyst fetched it.

Executions are not counted here: each is a debit from the ruling's own account, in the transaction that agrees.
`still_stands` is done in that same transaction, so that an approval which was withdrawn a moment ago lets nothing run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpcd import canonical, limits
from mpcd.errors import Busy, NotFound, Refusal, Refused
from mpcd.governance import approval
from mpcd.governance.approval import Held, SignedRuling
from mpcd.ids import PartyId, RequestDigest, SessionId

WaitingState = Literal["waiting", "released", "refused", "failed", "expired", "withdrawn"]
OVER: Final[frozenset[WaitingState]] = frozenset({"released", "refused", "failed", "expired", "withdrawn"})

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE approval_request (
        request_digest BLOB PRIMARY KEY,
        question_digest BLOB NOT NULL,
        request BLOB NOT NULL,
        analyst BLOB NOT NULL,
        keeper INTEGER NOT NULL,
        tables BLOB NOT NULL,
        told BLOB NOT NULL,
        first_milliseconds INTEGER NOT NULL,
        closes_milliseconds INTEGER NOT NULL,
        expires_milliseconds INTEGER NOT NULL,
        withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1))
    ) STRICT, WITHOUT ROWID""",
    # Counted at every decision, so without reading the requests themselves.
    """CREATE INDEX approval_request_open
        ON approval_request (withdrawn, closes_milliseconds, analyst, request_digest)""",
    """CREATE TABLE ruling (
        digest BLOB PRIMARY KEY,
        subject BLOB NOT NULL,
        request_digest BLOB NOT NULL,
        document BLOB NOT NULL,
        received_milliseconds INTEGER NOT NULL,
        useless_milliseconds INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX ruling_by_subject ON ruling (subject)",
    """CREATE TABLE waiting (
        request_digest BLOB PRIMARY KEY,
        request BLOB NOT NULL,
        analyst BLOB NOT NULL,
        attachments BLOB NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('waiting', 'released', 'refused', 'failed', 'expired', 'withdrawn')),
        message TEXT NOT NULL,
        revision INTEGER NOT NULL,
        created_milliseconds INTEGER NOT NULL,
        changed_milliseconds INTEGER NOT NULL,
        expires_milliseconds INTEGER NOT NULL,
        session BLOB,
        plan BLOB,
        result BLOB
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX waiting_open ON waiting (expires_milliseconds) WHERE state = 'waiting'",
    "CREATE INDEX waiting_by_analyst ON waiting (analyst)",
)


# ------------------------------------------------------------------------------------------------ an owner's side


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that this owner's approvers decide."""

    request_digest: RequestDigest
    question_digest: bytes
    request: bytes
    """Signed, canonical bytes."""
    analyst: bytes
    keeper: PartyId
    """Who proposed it, and alone may propose it again."""
    tables: tuple[str, ...]
    told: tuple[str, ...]
    """What the plan opens and by which rules, for people."""
    first_at: int
    closes_at: int
    expires_at: int
    """Milliseconds since 1970, all three."""
    withdrawn: bool = False
    """By the analyst."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of one request before it is decided."""

    pending: Pending | None
    held: tuple[Held, ...]
    """Rulings on the request or on its question."""
    open_of_analyst: int
    open_of_all: int
    """Requests that wait for approvers now."""


def add_pending(connection: sqlite3.Connection, pending: Pending) -> bool:
    """Keep a request for the approvers; False if it is kept already.

    Raises:
        Busy: too many requests, of this analyst or of all, wait already.
    """
    if get_pending(connection, pending.request_digest) is not None:
        return False
    of_analyst, of_all = _open(connection, pending.analyst, pending.first_at)
    if of_analyst >= limits.APPROVALS_OPEN_PER_ANALYST_MAX or of_all >= limits.APPROVALS_OPEN_MAX:
        raise Busy("too many requests wait for approval here already; ask again when some are decided")
    connection.execute(
        "INSERT INTO approval_request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            pending.request_digest,
            pending.question_digest,
            pending.request,
            pending.analyst,
            int(pending.keeper),
            canonical.encode(list(pending.tables)),
            canonical.encode(list(pending.told)),
            pending.first_at,
            pending.closes_at,
            pending.expires_at,
        ),
    )
    return True


def known(
    connection: sqlite3.Connection, request_digest: RequestDigest, question_digest: bytes, analyst: bytes, now: int
) -> Known:
    """Everything that deciding a request needs, in one read.

    Args:
        connection: any.
        request_digest: of the request.
        question_digest: of what it asks.
        analyst: who asks.
        now: milliseconds since 1970.
    """
    of_analyst, of_all = _open(connection, analyst, now)
    held = (*rulings(connection, request_digest), *rulings(connection, question_digest))
    return Known(get_pending(connection, request_digest), held, of_analyst, of_all)


def _open(connection: sqlite3.Connection, analyst: bytes, now: int) -> tuple[int, int]:
    counts: tuple[int, int] = connection.execute(
        "SELECT count(*) FILTER (WHERE analyst = ?), count(*) FROM approval_request a "
        "WHERE withdrawn = 0 AND closes_milliseconds > ? "
        "AND NOT EXISTS (SELECT 1 FROM session s WHERE s.request_digest = a.request_digest)",
        (analyst, now),
    ).fetchone()
    return counts


_PENDING: Final = (
    "SELECT request_digest, question_digest, request, analyst, keeper, tables, told, first_milliseconds, "
    "closes_milliseconds, expires_milliseconds, withdrawn FROM approval_request "
)


def get_pending(connection: sqlite3.Connection, request_digest: bytes) -> Pending | None:
    """The request of that digest, if this owner keeps it."""
    row = connection.execute(_PENDING + "WHERE request_digest = ?", (request_digest,)).fetchone()
    return None if row is None else _pending(row)


def list_pending(connection: sqlite3.Connection) -> list[Pending]:
    """All requests that are kept for the approvers, the oldest first."""
    rows = connection.execute(_PENDING + "ORDER BY first_milliseconds, request_digest").fetchall()
    return [_pending(row) for row in rows]


def find_pending(connection: sqlite3.Connection, beginning: str) -> Pending:
    """The one request whose digest begins with `beginning` (hexadecimal).

    Raises:
        NotFound: none, or several.
    """
    rows = connection.execute(
        _PENDING + "WHERE substr(lower(hex(request_digest)), 1, ?) = ? LIMIT 2", (len(beginning), beginning.lower())
    ).fetchall()
    if len(rows) != 1 or len(beginning) < limits.APPROVAL_NAME_CHARACTERS_MIN:
        problem = "several requests begin" if len(rows) > 1 else "no request that waits here begins"
        raise NotFound(f"{problem} with `{beginning[:64]}`; `mpcctl approvals list` shows them")
    return _pending(rows[0])


def _pending(row: tuple[bytes, bytes, bytes, bytes, int, bytes, bytes, int, int, int, int]) -> Pending:
    request_digest, question, request, analyst, keeper, tables, told, first, closes, expires, withdrawn = row
    return Pending(
        RequestDigest(request_digest),
        question,
        request,
        analyst,
        PartyId(keeper),
        _texts(tables),
        _texts(told),
        first,
        closes,
        expires,
        bool(withdrawn),
    )


def _texts(data: bytes) -> tuple[str, ...]:
    value = canonical.decode(data)
    assert isinstance(value, list)
    return tuple(str(item) for item in value)


def mark_withdrawn(connection: sqlite3.Connection, request_digest: bytes) -> bool:
    """The analyst no longer asks; True if that is news."""
    changed = connection.execute(
        "UPDATE approval_request SET withdrawn = 1 WHERE request_digest = ? AND withdrawn = 0", (request_digest,)
    ).rowcount
    return changed == 1


def close(connection: sqlite3.Connection, request_digest: bytes, keeper: PartyId, now: int) -> bool:
    """Its keeper says that the request is over: nobody needs to decide any more.  True if that is news."""
    changed = connection.execute(
        "UPDATE approval_request SET closes_milliseconds = ? "
        "WHERE request_digest = ? AND keeper = ? AND closes_milliseconds > ?",
        (now, request_digest, int(keeper), now),
    ).rowcount
    return changed == 1


def rulings(connection: sqlite3.Connection, subject: bytes) -> list[Held]:
    """Every ruling on a request or question, with how often it has served."""
    rows = connection.execute("SELECT document FROM ruling WHERE subject = ? ORDER BY digest", (subject,)).fetchall()
    held = []
    for (document,) in rows:
        signed = SignedRuling.from_bytes(document)
        row = connection.execute("SELECT spent FROM account WHERE account = ?", (approval.account(signed),)).fetchone()
        held.append(Held(signed, 0 if row is None else row[0]))
    return held


def add_ruling(connection: sqlite3.Connection, signed: SignedRuling, request_digest: bytes, now: int) -> bool:
    """Keep a ruling that was admitted; False if it is kept already.

    Raises:
        Busy: too many rulings on one subject.
    """
    ruling = signed.ruling
    digest = signed.digest()
    if connection.execute("SELECT 1 FROM ruling WHERE digest = ?", (digest,)).fetchone() is not None:
        return False
    (count,) = connection.execute("SELECT count(*) FROM ruling WHERE subject = ?", (ruling.subject,)).fetchone()
    if count >= limits.RULINGS_PER_SUBJECT_MAX:
        raise Busy("too many decisions about one request were handed in; the analyst must ask again")
    # A denial or withdrawal must outlive every approval that it takes back.
    useless = ruling.run_before if ruling.verdict == "approve" else now + limits.APPROVAL_WAIT_SECONDS_MAX * 2000
    connection.execute(
        "INSERT INTO ruling VALUES (?, ?, ?, ?, ?, ?)",
        (digest, ruling.subject, request_digest, signed.to_bytes(), now, useless),
    )
    return True


def still_stands(connection: sqlite3.Connection, session: SessionId, party: PartyId) -> None:
    """In the transaction that agrees `session`: refuse unless every approval debited for it is its author's last word.

    Raises:
        Refused: one was withdrawn, or the request denied, since this owner decided.
    """
    accounts = connection.execute(
        "SELECT account FROM debit WHERE session = ? AND account LIKE 'approval:%'", (session,)
    ).fetchall()
    for (account,) in accounts:
        row = connection.execute(
            "SELECT document, request_digest FROM ruling WHERE digest = ?",
            (bytes.fromhex(account.removeprefix("approval:")),),
        ).fetchone()
        used = None if row is None else SignedRuling.from_bytes(row[0])
        if used is None or _taken_back(connection, used, session):
            message = f"party {party}: an approval was taken back; ask again"
            raise Refused((Refusal(party, approval.RULE, "request", message),))


def _taken_back(connection: sqlite3.Connection, used: SignedRuling, session: SessionId) -> bool:
    (request_digest,) = connection.execute(
        "SELECT request_digest FROM session WHERE session = ?", (session,)
    ).fetchone()
    on_subject = [held.signed for held in rulings(connection, used.ruling.subject)]
    on_request = [held.signed for held in rulings(connection, request_digest)]
    denied = any(signed.ruling.verdict == "deny" for signed in approval.last_words(on_request))
    return denied or used not in approval.last_words(on_subject)


# ------------------------------------------------------------------------------------------------ the keeper's side


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that this party keeps for its analyst."""

    request_digest: RequestDigest
    request: bytes
    """Signed, canonical bytes."""
    attachments: bytes
    """Canonical map of what goes with the proposal."""
    state: WaitingState
    message: str
    """For the analyst: what is awaited, or why it ended."""
    revision: int
    """Grows with every change, so that a watcher can ask for news."""
    created_at: int
    changed_at: int
    expires_at: int
    """Milliseconds since 1970, all three."""
    session: SessionId | None
    plan: bytes | None
    """Canonical bytes of what was agreed."""
    result: bytes | None
    """Canonical map of the job's result: releases, plan, facts; sealed to the analyst."""


_WAITING: Final = (
    "SELECT request_digest, request, attachments, state, message, revision, created_milliseconds, "
    "changed_milliseconds, expires_milliseconds, session, plan, result FROM waiting "
)


def add_waiting(
    connection: sqlite3.Connection,
    request_digest: RequestDigest,
    request: bytes,
    analyst: bytes,
    attachments: bytes,
    *,
    message: str,
    now: int,
    expires_at: int,
) -> bool:
    """Keep a request for its analyst; False if it is kept already.

    Raises:
        Busy: too many requests, of this analyst or of all, wait here already.
    """
    if get_waiting(connection, request_digest) is not None:
        return False
    of_analyst, of_all, held = connection.execute(
        "SELECT count(*) FILTER (WHERE analyst = ?), count(*), total(length(result)) FROM waiting", (analyst,)
    ).fetchone()
    too_many = of_analyst >= limits.APPROVALS_OPEN_PER_ANALYST_MAX or of_all >= limits.APPROVALS_OPEN_MAX
    if too_many or held > limits.WAITING_RESULTS_BYTES_MAX:
        raise Busy("too many requests are kept here already; fetch or withdraw some, or ask through another party")
    connection.execute(
        "INSERT INTO waiting VALUES (?, ?, ?, ?, 'waiting', ?, 0, ?, ?, ?, NULL, NULL, NULL)",
        (request_digest, request, analyst, attachments, message, now, now, expires_at),
    )
    return True


def get_waiting(connection: sqlite3.Connection, request_digest: bytes) -> Waiting | None:
    """The request of that digest, if this party keeps it."""
    row = connection.execute(_WAITING + "WHERE request_digest = ?", (request_digest,)).fetchone()
    return None if row is None else _waiting(row)


def list_waiting(connection: sqlite3.Connection) -> list[Waiting]:
    """All requests that have neither run nor ended, those that expire first first."""
    rows = connection.execute(_WAITING + "WHERE state = 'waiting' ORDER BY expires_milliseconds").fetchall()
    return [_waiting(row) for row in rows]


def _waiting(
    row: tuple[bytes, bytes, bytes, WaitingState, str, int, int, int, int, bytes | None, bytes | None, bytes | None],
) -> Waiting:
    digest, request, attachments, state, message, revision, created, changed, expires, session, plan, result = row
    return Waiting(
        RequestDigest(digest),
        request,
        attachments,
        state,
        message,
        revision,
        created,
        changed,
        expires,
        None if session is None else SessionId(session),
        plan,
        result,
    )


def note_agreed(connection: sqlite3.Connection, request_digest: bytes, session: SessionId, plan: bytes) -> None:
    """In the transaction that agrees: if the request waited here, remember what its result will need."""
    connection.execute(
        "UPDATE waiting SET session = ?, plan = ? WHERE request_digest = ?", (session, plan, request_digest)
    )


def change_waiting(
    connection: sqlite3.Connection,
    request_digest: bytes,
    state: WaitingState,
    message: str,
    *,
    now: int,
    result: bytes | None = None,
) -> bool:
    """Move a request that still waits; False if it is over already, or nothing is new.

    Args:
        connection: inside a transaction.
        request_digest: which.
        state: `waiting` too, with another message.
        message: for the analyst.
        now: milliseconds since 1970.
        result: with state `released`.
    """
    changed = connection.execute(
        "UPDATE waiting SET state = ?, message = ?, result = ?, revision = revision + 1, changed_milliseconds = ? "
        "WHERE request_digest = ? AND state = 'waiting' AND (state, message) <> (?, ?)",
        (state, message, result, now, request_digest, state, message),
    ).rowcount
    return changed == 1


def forget_waiting(connection: sqlite3.Connection, request_digest: bytes) -> bool:
    """Let go of a request that is over, with its result; False if there is none."""
    changed = connection.execute(
        "DELETE FROM waiting WHERE request_digest = ? AND state <> 'waiting'", (request_digest,)
    ).rowcount
    return changed == 1


# ------------------------------------------------------------------------------------------------ both


def prune(connection: sqlite3.Connection, now: int) -> None:
    """Let go of what nobody can use any more; the ledger keeps what was decided."""
    before = now - limits.APPROVAL_KEPT_SECONDS * 1000
    connection.execute("DELETE FROM waiting WHERE state <> 'waiting' AND changed_milliseconds < ?", (before,))
    connection.execute("DELETE FROM approval_request WHERE expires_milliseconds < ?", (before,))
    connection.execute("DELETE FROM ruling WHERE useless_milliseconds < ?", (before,))


def session_of(connection: sqlite3.Connection, request_digest: bytes) -> tuple[SessionId, str] | None:
    """The session that a request became, and its state."""
    row: Sequence[bytes | str] | None = connection.execute(
        "SELECT session, state FROM session WHERE request_digest = ?", (request_digest,)
    ).fetchone()
    return None if row is None else (SessionId(bytes(row[0])), str(row[1]))  # type: ignore[arg-type]  # by column


def receipt_of(connection: sqlite3.Connection, session: SessionId) -> bytes:
    """The signed receipt of a recorded session; empty if there is none."""
    row = connection.execute("SELECT signed FROM receipt WHERE session = ?", (session,)).fetchone()
    return b"" if row is None else bytes(row[0])
