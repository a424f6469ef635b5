"""Analysts' requests for access, their documents, and who is accepted (SQLite).

A request is `pending` until the owner accepts or refuses it, a later one of the same key takes its place, or it grows
too old.  Documents live as long as their request waits, and after an acceptance those that were accepted; a refused
request keeps none.  An entry that has ended keeps its row: past receipts and ledger entries name its key.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mpcd import limits
from mpcd.errors import Busy, LimitExceeded, NotFound, RequestInvalid, StoreFailed
from mpcd.governance import entries
from mpcd.governance.access import Access, AccessBook, Evidence, SignedAccessRequest, Terms
from mpcd.identity import VerifyKey
from mpcd.store import licences
from mpcd.store.ledger import Append

State = Literal["pending", "accepted", "refused", "replaced", "expired"]
STATES: Final[tuple[State, ...]] = get_args(State)
PartState = Literal["more", "whole", "wrong"]
_DAY_MS: Final = 86_400_000

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE access_request (
        digest BLOB PRIMARY KEY,
        key BLOB NOT NULL,
        signed BLOB NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'accepted', 'refused', 'replaced', 'expired')),
        via TEXT NOT NULL,
        received_milliseconds INTEGER NOT NULL,
        changed_milliseconds INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX access_request_by_key ON access_request (key)",
    "CREATE INDEX access_request_by_state ON access_request (state, received_milliseconds)",
    "CREATE INDEX access_request_by_via ON access_request (via, received_milliseconds)",
    # Parts of documents, in order; only what a request announced by its digest is taken.
    """CREATE TABLE access_evidence (
        digest BLOB NOT NULL REFERENCES access_request (digest),
        code TEXT NOT NULL,
        place INTEGER NOT NULL,
        part BLOB NOT NULL,
        PRIMARY KEY (digest, code, place)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE access_entry (
        key BLOB PRIMARY KEY,
        entry BLOB NOT NULL,
        ended_milliseconds INTEGER,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as it stands here."""

    digest: bytes
    signed: SignedAccessRequest
    state: State
    via: str
    """How it came: `uid N` of this host, or `party N`."""
    received_at: int
    changed_at: int
    """Milliseconds since 1970, UTC."""
    reason: str
    """Of a refusal, as the owner wrote it."""


# ------------------------------------------------------------------------------------------------ requests


def receive(
    connection: sqlite3.Connection, append: Append, signed: SignedAccessRequest, via: str, at: int
) -> RequestRow:
    """Keep a verified request; the same one again changes nothing.

    Args:
        connection: in a transaction.
        append: puts an entry on the record.
        signed: verified.
        via: how it came.
        at: milliseconds since 1970, UTC.

    Raises:
        Busy: too many wait, or came this way today.
    """
    request = signed.request
    digest = request.digest()
    known = find(connection, digest)
    if known is not None:
        return known
    _forget_old(connection, at)
    _check_room(connection, via, at)
    connection.execute(
        "UPDATE access_request SET state = 'replaced', changed_milliseconds = ? WHERE key = ? AND state = 'pending'",
        (at, request.analyst.raw),
    )
    _drop_documents(connection)
    connection.execute(
        "INSERT INTO access_request VALUES (?, ?, ?, 'pending', ?, ?, ?, '')",
        (digest, request.analyst.raw, signed.to_bytes(), via, at, at),
    )
    append(_entry("asked", signed, via))
    return RequestRow(digest, signed, "pending", via, at, at, "")


def _check_room(connection: sqlite3.Connection, via: str, at: int) -> None:
    waiting = connection.execute("SELECT count(*) FROM access_request WHERE state = 'pending'").fetchone()[0]
    if waiting >= limits.ACCESS_PENDING_MAX:
        raise Busy("too many requests for access wait here for a decision; ask again later")
    today = connection.execute(
        "SELECT count(*) FROM access_request WHERE via = ? AND received_milliseconds > ?", (via, at - _DAY_MS)
    ).fetchone()[0]
    if today >= limits.ACCESS_REQUESTS_PER_CALLER_PER_DAY_MAX:
        raise Busy("too many requests for access came this way within a day; ask again tomorrow")


def _forget_old(connection: sqlite3.Connection, at: int) -> None:
    oldest = at - int(limits.ACCESS_REQUEST_SECONDS_MAX * 1000)
    connection.execute(
        "UPDATE access_request SET state = 'expired', changed_milliseconds = ? "
        "WHERE state = 'pending' AND received_milliseconds < ?",
        (at, oldest),
    )


def _drop_documents(connection: sqlite3.Connection) -> None:
    """What belongs to a request that neither waits nor was accepted goes."""
    connection.execute(
        "DELETE FROM access_evidence WHERE digest IN "
        "(SELECT digest FROM access_request WHERE state NOT IN ('pending', 'accepted'))"
    )


def find(connection: sqlite3.Connection, digest: bytes) -> RequestRow | None:
    """The request of that digest."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM access_request WHERE digest = ?", (digest,)).fetchone()  # noqa: S608  # our own column names
    return None if row is None else _row(row)


def requests(connection: sqlite3.Connection, state: State | None = None) -> list[RequestRow]:
    """All requests, or those in one state, the oldest first."""
    where, values = ("", ()) if state is None else ("WHERE state = ?", (state,))
    query = f"SELECT {_COLUMNS} FROM access_request {where} ORDER BY received_milliseconds, digest LIMIT ?"  # noqa: S608  # as above
    return [_row(row) for row in connection.execute(query, (*values, limits.ACCESS_PENDING_MAX))]


def latest(connection: sqlite3.Connection, key: VerifyKey) -> RequestRow | None:
    """The last request of a key."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM access_request WHERE key = ? ORDER BY received_milliseconds DESC LIMIT 1",  # noqa: S608  # as above
        (key.raw,),
    ).fetchone()
    return None if row is None else _row(row)


_COLUMNS: Final = "digest, signed, state, via, received_milliseconds, changed_milliseconds, reason"


def _row(row: tuple[bytes, bytes, State, str, int, int, str]) -> RequestRow:
    digest, signed, state, via, received_at, changed_at, reason = row
    try:
        parsed = SignedAccessRequest.from_bytes(signed)
        return RequestRow(digest, parsed, state, via, received_at, changed_at, reason)
    except RequestInvalid as error:
        raise StoreFailed("a stored request for access cannot be read") from error


# ------------------------------------------------------------------------------------------------ documents


def add_part(connection: sqlite3.Connection, digest: bytes, code: str, place: int, part: bytes) -> PartState:
    """Keep the next part of a document of a pending request.

    Args:
        connection: in a transaction.
        digest: of the request.
        code: of the document.
        place: of its first byte; 0 begins anew.
        part: 1 to `limits.EVIDENCE_CHUNK_BYTES_MAX` bytes.

    Returns:
        `whole` once it is the document that was announced; `wrong` if it is another one, which is dropped.

    Raises:
        NotFound: no such request waits, or it announced no such document.
        RequestInvalid: not the next part.
        LimitExceeded: all documents together would be too many bytes.
    """
    document = _announced(connection, digest, code)
    held = _size(connection, digest, code)
    if held == document.size_bytes:
        return "whole"
    if place == 0 and held:
        _drop(connection, digest, code)
        held = 0
    if place != held or not part or len(part) > min(limits.EVIDENCE_CHUNK_BYTES_MAX, document.size_bytes - held):
        raise RequestInvalid(f"not the next part of the document {code}; send it again from its beginning")
    total = connection.execute("SELECT coalesce(sum(length(part)), 0) FROM access_evidence").fetchone()[0]
    if total + len(part) > limits.EVIDENCE_KEPT_BYTES_MAX:
        raise LimitExceeded(f"documents of {limits.EVIDENCE_KEPT_BYTES_MAX} bytes wait here already; ask again later")
    connection.execute("INSERT INTO access_evidence VALUES (?, ?, ?, ?)", (digest, code, place, part))
    if held + len(part) < document.size_bytes:
        return "more"
    if Evidence.of(code, document.name, evidence(connection, digest, code)) == document:
        return "whole"
    _drop(connection, digest, code)
    return "wrong"


def _drop(connection: sqlite3.Connection, digest: bytes, code: str) -> None:
    connection.execute("DELETE FROM access_evidence WHERE digest = ? AND code = ?", (digest, code))


def _announced(connection: sqlite3.Connection, digest: bytes, code: str) -> Evidence:
    row = find(connection, digest)
    if row is not None and row.state == "pending":
        for document in row.signed.request.evidence:
            if document.code == code:
                return document
    raise NotFound("no request for access waits here that announced such a document")


def _size(connection: sqlite3.Connection, digest: bytes, code: str) -> int:
    query = "SELECT coalesce(sum(length(part)), 0) FROM access_evidence WHERE digest = ? AND code = ?"
    return int(connection.execute(query, (digest, code)).fetchone()[0])


def evidence(connection: sqlite3.Connection, digest: bytes, code: str) -> bytes:
    """What is here of a document."""
    query = "SELECT part FROM access_evidence WHERE digest = ? AND code = ? ORDER BY place"
    return b"".join(row[0] for row in connection.execute(query, (digest, code)))


def held(connection: sqlite3.Connection, row: RequestRow) -> tuple[str, ...]:
    """Codes of the documents of a request that are here whole."""
    return tuple(
        document.code
        for document in row.signed.request.evidence
        if _size(connection, row.digest, document.code) == document.size_bytes
    )


# ------------------------------------------------------------------------------------------------ decisions


def grant(connection: sqlite3.Connection, append: Append, row: RequestRow, terms: Terms, by: str, at: int) -> Access:
    """Accept a pending request: the entry, the end of the key that it replaces, and both on the record.

    Raises:
        NotFound: it does not wait any longer.
        RequestInvalid: a document that is accepted is not here, or the terms make no sense.
    """
    _check_pending(connection, row)
    missing = sorted(terms.evidence - set(held(connection, row)))
    entry = Access.grant(row.signed.request, terms, at)
    if missing:
        raise RequestInvalid(f"the document {', '.join(missing)} has not arrived here; let the analyst send it again")
    _decide(connection, row, "accepted", "", at)
    for document in row.signed.request.evidence:
        if document.code not in terms.evidence:
            _drop(connection, row.digest, document.code)
    connection.execute("INSERT OR REPLACE INTO access_entry VALUES (?, ?, NULL, '')", (entry.key.raw, entry.to_bytes()))
    append(_entry("accepted", row.signed, by))
    if entry.replaces is not None:
        licences.pass_on(connection, entry.replaces.raw, entry.key.raw)
        _end(connection, append, entry.replaces, by, f"replaced by the key {entry.key.fingerprint()}", at)
    return entry


def refuse(connection: sqlite3.Connection, append: Append, row: RequestRow, reason: str, by: str, at: int) -> None:
    """Say no to a pending request; its documents go.

    Raises:
        NotFound: it does not wait any longer.
    """
    _check_pending(connection, row)
    _decide(connection, row, "refused", reason, at)
    _drop_documents(connection)
    append(_entry("refused", row.signed, by, reason))


def end(connection: sqlite3.Connection, append: Append, key: VerifyKey, by: str, reason: str, at: int) -> Access:
    """End an analyst's access.

    Raises:
        NotFound: no such entry.
    """
    ended = _end(connection, append, key, by, reason, at)
    if ended is None:
        raise NotFound("no analyst with this key is accepted by an entry of this owner; the policy file may list them")
    return ended


def _end(
    connection: sqlite3.Connection, append: Append, key: VerifyKey, by: str, reason: str, at: int
) -> Access | None:
    row = connection.execute(
        "SELECT entry FROM access_entry WHERE key = ? AND ended_milliseconds IS NULL", (key.raw,)
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE access_entry SET ended_milliseconds = ?, reason = ? WHERE key = ?", (at, reason, key.raw)
    )
    entry = _access(row[0])
    append(
        entries.noted(
            "access", by=by, about=entry.name, digest=entry.request_digest, reason=reason, details={"what": "ended"}
        )
    )
    return entry


def book(connection: sqlite3.Connection) -> AccessBook:
    """All entries that have not been ended."""
    rows = connection.execute("SELECT entry FROM access_entry WHERE ended_milliseconds IS NULL")
    return AccessBook.of(_access(row[0]) for row in rows)


def _access(stored: bytes) -> Access:
    try:
        return Access.from_bytes(stored)
    except ValueError as error:
        raise StoreFailed("a stored entry of an accepted analyst cannot be read") from error


def _check_pending(connection: sqlite3.Connection, row: RequestRow) -> None:
    found = find(connection, row.digest)
    if found is None or found.state != "pending":
        raise NotFound("this request for access does not wait for a decision any longer")


def _decide(connection: sqlite3.Connection, row: RequestRow, state: State, reason: str, at: int) -> None:
    connection.execute(
        "UPDATE access_request SET state = ?, reason = ?, changed_milliseconds = ? WHERE digest = ?",
        (state, reason, at, row.digest),
    )


def _entry(what: str, signed: SignedAccessRequest, by: str, reason: str = "") -> entries.LedgerEntry:
    request = signed.request
    details: dict[str, str | bytes | None] = {"what": what, "key": request.analyst.raw}
    if request.replaces is not None:
        details["replaces"] = request.replaces.raw
    return entries.noted(
        "access", by=by, about=request.name, digest=request.digest(), reason=reason, details=dict(details)
    )
