"""Offers and licences as their owner keeps them (SQLite).

An offer is `pending` while a pool's owners have not all signed, then `open`, then perhaps `withdrawn`, which ends no
licence.  A licence keeps the agreement's bytes, the same as the analyst's; its holder is the key that accepted it, or
the one that the owner has accepted in that one's place.  A revocation stands beside it and moves its end forward.  Rows
are never deleted: past receipts name them.  What was used under a licence stands in the accounts of the sessions'
debits (`governance/cover.py`).

Everything that changes something has its entry in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpcd import canonical, limits
from mpcd.canonical import Value
from mpcd.errors import LicenceInvalid, LimitExceeded, NotFound, StoreFailed
from mpcd.governance import entries
from mpcd.governance.cover import Spent
from mpcd.governance.entries import Debit
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import DutyCode, SignedOffer, offer_name
from mpcd.governance.price import day_of
from mpcd.governance.signed import SIGNATURES, read_signatures
from mpcd.store import accounts
from mpcd.store.ledger import Append

OPERATOR: Final = "operator"
COMPLETION_MS_MAX: Final = 90_000_000
"""So long after its acceptance a pool's licence can come into force: a day, and an hour for what was on its way."""
OfferState = Literal["pending", "open", "withdrawn"]

TABLES: Final[tuple[str, ...]] = (
    """CREATE TABLE offer (
        digest BLOB PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('pending', 'open', 'withdrawn')),
        signed BLOB NOT NULL,
        open_until INTEGER NOT NULL,
        changed_milliseconds INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX offer_by_state ON offer (state, open_until)",
    """CREATE TABLE licence (
        digest BLOB PRIMARY KEY,
        offer BLOB NOT NULL REFERENCES offer (digest),
        holder BLOB NOT NULL,
        until_milliseconds INTEGER NOT NULL,
        agreement BLOB NOT NULL,
        revoked_milliseconds INTEGER,
        revocation BLOB,
        CHECK ((revocation IS NULL) = (revoked_milliseconds IS NULL))
    ) STRICT, WITHOUT ROWID""",
    # With all that a decision looks at before it knows which agreements it has not read yet.
    "CREATE INDEX licence_by_holder ON licence (holder, until_milliseconds, revoked_milliseconds)",
    "CREATE INDEX licence_by_end ON licence (until_milliseconds)",
    # What all owners of a pool have signed: that they hold a licence.  A pool's licence without it is in force nowhere.
    """CREATE TABLE licence_complete (
        licence BLOB PRIMARY KEY REFERENCES licence (digest),
        countersignatures BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Duties that the owner found fulfilled, with the digest of what was shown.
    """CREATE TABLE licence_met (
        licence BLOB NOT NULL REFERENCES licence (digest),
        code TEXT NOT NULL,
        met_milliseconds INTEGER NOT NULL,
        evidence BLOB,
        PRIMARY KEY (licence, code)
    ) STRICT, WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class OfferRow:
    """One offer as it stands here."""

    signed: SignedOffer
    state: OfferState


@dataclass(frozen=True, slots=True)
class LicenceRow:
    """One licence without its agreement, which never changes: most that are looked at are known already."""

    digest: bytes
    revoked_at: int | None
    countersigned: bool = False
    """Whether all owners of the pool have said that they hold it; of no account for one owner's."""


# ------------------------------------------------------------------------------------------------ offers


def put_offer(connection: sqlite3.Connection, append: Append, signed: SignedOffer, *, by: str, at: int) -> OfferRow:
    """Keep an offer, or the further signatures of one that is here.

    Args:
        connection: in a transaction.
        append: puts an entry on the record.
        signed: verified.
        by: who brought it: `OPERATOR`, or `party N`.
        at: milliseconds since 1970.

    Returns:
        The offer with all signatures that are known here.

    Raises:
        LimitExceeded: too many offers are open or pending.
    """
    digest = signed.offer.digest
    known = find_offer(connection, digest)
    if known is None:
        _check_room(connection, by, at)
    merged = signed if known is None else known.signed.with_signatures(signed.signatures)
    if known is not None and (merged == known.signed or known.state == "withdrawn"):
        return known
    state: OfferState = "open" if merged.complete else "pending"
    connection.execute(
        "INSERT INTO offer VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
        "state = excluded.state, signed = excluded.signed, changed_milliseconds = excluded.changed_milliseconds",
        (digest, state, merged.to_bytes(), merged.offer.open_until, at),
    )
    if state == "pending" and by != OPERATOR:
        return OfferRow(merged, state)  # nothing of ours is decided yet, and a peer cannot fill the ledger
    signers: list[Value] = [int(party) for party, _ in merged.signatures]
    details: dict[str, Value] = {"state": state, "tables": list(merged.offer.tables), "signed_by": signers}
    append(entries.noted("offered", by=by, about=_about(digest), digest=digest, details=details))
    return OfferRow(merged, state)


def _check_room(connection: sqlite3.Connection, by: str, at: int) -> None:
    """Raise `LimitExceeded` where another offer is too many; what others send never takes our own people's room."""
    connection.execute("DELETE FROM offer WHERE state = 'pending' AND open_until <= ?", (at,))
    pending, current = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FROM offer "
        "WHERE state <> 'withdrawn' AND open_until > ?",
        (at,),
    ).fetchone()
    if by != OPERATOR and pending >= limits.OFFERS_PENDING_MAX:
        raise LimitExceeded(f"{pending} offers of pools wait for signatures here already; ask again later")
    if current >= limits.OFFERS_OPEN_MAX:
        raise LimitExceeded(f"{current} offers are open or pending here; withdraw some first")


def withdraw_offer(
    connection: sqlite3.Connection, append: Append, digest: bytes, *, at: int, by: str = OPERATOR
) -> None:
    """Let nobody accept it any more; licences that are in force under it stay.

    Raises:
        NotFound: no such offer.
    """
    known = find_offer(connection, digest)
    if known is None:
        raise NotFound("there is no such offer here")
    if known.state == "withdrawn":
        return
    connection.execute("UPDATE offer SET state = 'withdrawn', changed_milliseconds = ? WHERE digest = ?", (at, digest))
    append(entries.noted("offered", by=by, about=_about(digest), digest=digest, details={"state": "withdrawn"}))


def find_offer(connection: sqlite3.Connection, digest: bytes) -> OfferRow | None:
    """The offer of that digest."""
    row = connection.execute("SELECT signed, state FROM offer WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _offer(row)


def offers(connection: sqlite3.Connection, states: Sequence[OfferState], *, after: int) -> list[OfferRow]:
    """Offers in `states` that can be accepted after a moment, the one that ends first first."""
    marks = ", ".join("?" for _ in states)
    rows = connection.execute(
        f"SELECT signed, state FROM offer WHERE state IN ({marks}) AND open_until > ? ORDER BY open_until, digest LIMIT ?",  # noqa: S608, E501  # marks are ours
        (*states, after, limits.OFFERS_OPEN_MAX),
    )
    return [_offer(row) for row in rows]


def _offer(row: tuple[bytes, OfferState]) -> OfferRow:
    try:
        return OfferRow(SignedOffer.from_bytes(row[0]), row[1])
    except LicenceInvalid as error:
        raise StoreFailed("a stored offer cannot be read") from error


# ------------------------------------------------------------------------------------------------ licences


def accept(connection: sqlite3.Connection, append: Append, agreed: Agreement, *, by: str, at: int) -> None:
    """Take in a verified agreement; the same one again changes nothing.

    Raises:
        NotFound: the offer is not open here.
        LicenceInvalid: the analyst has a licence under this offer already.
        LimitExceeded: the analyst holds too many licences here that are in force.
    """
    digest, offer_digest = agreed.digest, agreed.offer.digest
    if connection.execute("SELECT 1 FROM licence WHERE digest = ?", (digest,)).fetchone():
        return
    known = find_offer(connection, offer_digest)
    if known is None or known.state != "open":
        raise NotFound("no such offer is open here; it may have been withdrawn")
    _check_alone(connection, agreed, at)
    (count,) = connection.execute(
        "SELECT count(*) FROM licence WHERE holder = ? AND until_milliseconds > ?", (agreed.analyst, at)
    ).fetchone()
    if count >= limits.LICENCES_PER_ANALYST_MAX:
        raise LimitExceeded(f"you hold {count} licences of this owner already; let some end first")
    connection.execute(
        "INSERT INTO licence VALUES (?, ?, ?, ?, ?, NULL, NULL)",
        (digest, offer_digest, agreed.analyst, agreed.ends_at, agreed.to_bytes()),
    )
    details: dict[str, Value] = {
        "analyst": agreed.analyst,
        "offer": offer_digest,
        "licensee": agreed.acceptance.licensee,
    }
    append(entries.noted("licensed", by=by, about=_about(digest), digest=digest, details=details))


def _check_alone(connection: sqlite3.Connection, agreed: Agreement, at: int) -> None:
    """Raise `LicenceInvalid` where the holder has a licence under the same offer whose term is not over.

    Quota, free queries and flat fees are of a term: a second licence, or a new one in the place of one that was ended,
    would give and bill them again.  An agreement of a pool that not all owners came to hold in time was never one.
    """
    rows = connection.execute(
        f"{_DEED} WHERE l.holder = ?1 AND l.offer = ?2 AND l.digest <> ?3 "
        "AND (l.until_milliseconds > ?4 OR l.revoked_milliseconds IS NOT NULL)",
        (agreed.analyst, agreed.offer.digest, agreed.digest, agreed.begins_at),
    )
    for known in (_deed(row) for row in rows):
        old = known.agreement
        void = not in_force(known) and (known.revocation is not None or at > old.begins_at + COMPLETION_MS_MAX)
        if void or old.ends_at <= agreed.begins_at:
            continue
        name, end = offer_name(old.digest), day_of(old.ends_at).isoformat()
        if known.revocation is not None:
            raise LicenceInvalid(
                f"licence {name} under this offer was ended, and its quota and prices are of its whole term: the offer "
                f"can be accepted again after {end}; ask its owner for another one"
            )
        if not in_force(known):
            raise LicenceInvalid(
                f"licence {name} under this offer waits for its other owners; give that one to them again (mpcctl "
                "licence accept)"
            )
        raise LicenceInvalid(f"you hold licence {name} under this offer, in force until {end}; renew it after its end")


def in_force(known: Deed) -> bool:
    """Whether all owners hold it, as this one knows; when it begins and ends is another matter."""
    return not known.agreement.offer.pool or known.complete


def complete(connection: sqlite3.Connection, append: Append, whole: Deed, *, by: str, at: int) -> None:
    """Keep the verified word of all owners of a pool that they hold a licence: from now on it is in force.

    Raises:
        NotFound: no such licence.
        LicenceInvalid: not of all owners; too late, or another licence came in its place.
    """
    digest = whole.agreement.digest
    known = deed(connection, digest)
    if known is None:
        raise NotFound("there is no such licence here")
    if in_force(known):
        return
    if not whole.complete:
        raise LicenceInvalid("not every owner of the pool says that it holds this licence")
    if at > known.agreement.begins_at + COMPLETION_MS_MAX:
        raise LicenceInvalid("not every owner held this licence in time; sign a new one")
    _check_alone(connection, known.agreement, at)
    signatures = canonical.encode(SIGNATURES.encode(whole.countersignatures))
    connection.execute("INSERT INTO licence_complete VALUES (?, ?)", (digest, signatures))
    append(entries.noted("licensed", by=by, about=_about(digest), digest=digest, details={"state": "in force"}))


def holder(connection: sqlite3.Connection, digest: bytes) -> bytes | None:
    """The raw key whose licence it is now."""
    row = connection.execute("SELECT holder FROM licence WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else row[0]


def revoke(connection: sqlite3.Connection, append: Append, revocation: Revocation) -> bool:
    """Keep a verified revocation; False if the licence was revoked before, which then stands.

    Raises:
        NotFound: no such licence.
    """
    row = connection.execute(
        "SELECT revoked_milliseconds, until_milliseconds FROM licence WHERE digest = ?", (revocation.licence,)
    ).fetchone()
    if row is None:
        raise NotFound("there is no such licence here")
    if row[0] is not None:
        return False
    connection.execute(
        "UPDATE licence SET revoked_milliseconds = ?, revocation = ?, until_milliseconds = ? WHERE digest = ?",
        (revocation.at, revocation.to_bytes(), min(revocation.at, row[1]), revocation.licence),
    )
    by = "analyst" if revocation.party is None else f"party {int(revocation.party)}"
    about = _about(revocation.licence)
    append(entries.noted("revoked", by=by, about=about, digest=revocation.licence, reason=revocation.reason))
    return True


def held(connection: sqlite3.Connection, analyst: bytes) -> list[LicenceRow]:
    """An analyst's licences, those that end last first: every one in force is among them, ended ones may be."""
    rows = connection.execute(
        "SELECT digest, revoked_milliseconds, EXISTS (SELECT 1 FROM licence_complete c WHERE c.licence = digest) "
        "FROM licence WHERE holder = ? ORDER BY until_milliseconds DESC LIMIT ?",
        (analyst, limits.LICENCES_PER_ANALYST_MAX),
    )
    return [LicenceRow(digest, revoked_at, bool(countersigned)) for digest, revoked_at, countersigned in rows]


def agreement(connection: sqlite3.Connection, digest: bytes) -> Agreement:
    """What was agreed in a licence that is here."""
    (data,) = connection.execute("SELECT agreement FROM licence WHERE digest = ?", (digest,)).fetchone()
    try:
        return Agreement.from_bytes(data)
    except LicenceInvalid as error:
        raise StoreFailed(f"the stored licence {offer_name(digest)} cannot be read") from error


def deed(connection: sqlite3.Connection, digest: bytes) -> Deed | None:
    """A licence with its revocation, and a pool's with its owners' countersignatures once all are here."""
    row = connection.execute(f"{_DEED} WHERE l.digest = ?", (digest,)).fetchone()
    return None if row is None else _deed(row)


def deeds(
    connection: sqlite3.Connection,
    *,
    analyst: bytes | None = None,
    ending_after: int = 0,
    count: int | None = None,
) -> list[Deed]:
    """Licences, those that end first first: all, or one analyst's, or those not ended before a moment.

    Args:
        connection: to read.
        analyst: raw key.
        ending_after: milliseconds since 1970; by their term, or by their revocation.
        count: how many at most.
    """
    rows = connection.execute(
        f"{_DEED} WHERE l.until_milliseconds > ?1 AND (?2 IS NULL OR l.holder = ?2) "
        "ORDER BY l.until_milliseconds, l.digest LIMIT ?3",
        (ending_after, analyst, -1 if count is None else count),
    )
    return [_deed(row) for row in rows]


_DEED: Final = (
    "SELECT l.agreement, l.revocation, c.countersignatures FROM licence l "
    "LEFT JOIN licence_complete c ON c.licence = l.digest"
)


def _deed(row: tuple[bytes, bytes | None, bytes | None]) -> Deed:
    agreed, ended, signed = row
    try:
        return Deed(
            Agreement.from_bytes(agreed),
            () if signed is None else read_signatures(canonical.decode(signed)),
            None if ended is None else Revocation.from_bytes(ended),
        )
    except (LicenceInvalid, canonical.CanonicalError) as error:
        raise StoreFailed("a stored licence cannot be read") from error


def named(connection: sqlite3.Connection, table: Literal["offer", "licence"], name: str) -> bytes:
    """The digest of the one offer or licence whose hexadecimal digest begins with `name`.

    Raises:
        NotFound: none, or more than one.
    """
    low = high = name.lower()
    good = 8 <= len(name) <= 64 and all(letter in "0123456789abcdef" for letter in low)
    if good:
        rows = connection.execute(
            f"SELECT digest FROM {table} WHERE digest BETWEEN ? AND ? LIMIT 2",  # noqa: S608  # one of two words
            (bytes.fromhex(low.ljust(64, "0")), bytes.fromhex(high.ljust(64, "f"))),
        ).fetchall()
        if len(rows) == 1:
            digest: bytes = rows[0][0]
            return digest
        if rows:
            raise NotFound(f"more than one {table} begins with `{name}`; write more of it")
    raise NotFound(f"there is no {table} `{name[:64]}` here; write at least 8 digits of its name")


# ------------------------------------------------------------------------------------------------ duties, accounts


def meet(
    connection: sqlite3.Connection, append: Append, licence: bytes, code: DutyCode, evidence: bytes | None, *, at: int
) -> None:
    """Note that a duty is fulfilled; a later note replaces an earlier one.

    Raises:
        NotFound: no such licence, or it has no such duty.
    """
    known = deed(connection, licence)
    if known is None or code not in {duty.code for duty in known.agreement.offer.duties}:
        raise NotFound(f"this licence has no duty {code}")
    connection.execute("INSERT OR REPLACE INTO licence_met VALUES (?, ?, ?, ?)", (licence, code, at, evidence))
    details = {"duty": code, "evidence": evidence, "state": "met"}
    append(entries.noted("licensed", by=OPERATOR, about=_about(licence), digest=licence, details=details))


def met(connection: sqlite3.Connection, licence: bytes) -> dict[str, int]:
    """When each fulfilled duty of a licence was found so."""
    return dict(connection.execute("SELECT code, met_milliseconds FROM licence_met WHERE licence = ?", (licence,)))


def spending(connection: sqlite3.Connection) -> Spent:
    """What was taken from accounts, as `cover` asks for it; valid within the caller's transaction."""

    def spent(account: str, since: int | None) -> int:
        return accounts.spent(connection, Debit(account, 0, None, None, since))

    return spent


def running_elsewhere(connection: sqlite3.Connection, licence: bytes) -> tuple[bytes, set[bytes]]:
    """Who holds a licence, and their requests whose sessions run under no debit of it: its end is none of theirs."""
    (holder,) = connection.execute("SELECT holder FROM licence WHERE digest = ?", (licence,)).fetchone()
    rows = connection.execute(
        "SELECT s.request_digest FROM session s WHERE s.state IN ('agreed', 'recorded') AND s.analyst = ? "
        "AND NOT EXISTS (SELECT 1 FROM debit d WHERE d.session = s.session AND d.account = ?)",
        (holder, f"licence/{licence.hex()}/queries"),
    )
    return holder, {digest for (digest,) in rows}


def pass_on(connection: sqlite3.Connection, old: bytes, new: bytes) -> None:
    """Let the key that an owner accepted in the place of another hold that one's licences; agreements stay."""
    connection.execute("UPDATE licence SET holder = ? WHERE holder = ?", (new, old))


def _about(digest: bytes) -> str:
    return offer_name(digest)
