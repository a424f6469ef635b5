"""Heads of ledgers: what this party remembers of its peers', and what they signed of ours.

`remember` is the whole decision about a head that a peer shows, in one transaction with what it changes: the head is
the first that we see, or the headers prove that it extends the one that we remember, or it contradicts that.  What
contradicts is kept for ever in `trouble`, both heads signed by the peer: whoever may see them can check for himself
that its ledger was cut, put back or rewritten.  The remembered head stays in force until the peer admits a loss or our
operator accepts the new ledger, and each of these is an entry of our own ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mpcd import limits
from mpcd.errors import LedgerInvalid, NotFound
from mpcd.governance import chain, entries
from mpcd.governance.chain import LedgerHead, Loss, SignedHead, Witness
from mpcd.ids import PartyId
from mpcd.store.ledger import Append

TABLES: Final = (
    # The last head of each peer that extended what was known before.
    """CREATE TABLE peer_head (
        party INTEGER PRIMARY KEY,
        signed BLOB NOT NULL,
        seen_milliseconds INTEGER NOT NULL
    ) STRICT""",
    # Heads that contradict what was remembered then; `settled` is the entry that says why they were accepted after all.
    """CREATE TABLE trouble (
        party INTEGER NOT NULL,
        shown BLOB NOT NULL,
        remembered BLOB NOT NULL,
        why TEXT NOT NULL,
        seen_milliseconds INTEGER NOT NULL,
        settled INTEGER,
        PRIMARY KEY (party, shown)
    ) STRICT, WITHOUT ROWID""",
    # Admissions of losses: our own (`party` NULL) to be shown to peers, and those of peers, each good for one time.
    "CREATE TABLE loss (encoded BLOB PRIMARY KEY, party INTEGER) STRICT, WITHOUT ROWID",
    # What peers signed of our heads.
    """CREATE TABLE witness (
        party INTEGER NOT NULL,
        count INTEGER NOT NULL,
        hash BLOB NOT NULL,
        encoded BLOB NOT NULL,
        PRIMARY KEY (party, count)
    ) STRICT, WITHOUT ROWID""",
    # The roster's keys as they were when a ledger last looked: a change is an entry.
    "CREATE TABLE party_key (party INTEGER PRIMARY KEY, signing TEXT NOT NULL, channel TEXT NOT NULL) STRICT",
)

WITNESSES_PER_PARTY: Final = 64
"""Of each peer, the last ones; older ones stand in the segments that they cover."""
_TROUBLE_PER_PARTY: Final = 100
"""Contradicting heads of one peer that are kept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a head that a peer showed."""

    outcome: Literal["seen", "go on", "trouble"]
    first: int = 0
    """`go on`: the headers are needed from here."""
    remembered: SignedHead | None = None
    why: str = ""
    new: bool = False
    """`trouble`: not shown before."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known between this party and one peer."""

    party: PartyId
    remembered: SignedHead | None
    seen_milliseconds: int | None
    trouble: tuple[tuple[str, int], ...]
    """Why and when, unsettled ones."""
    witness: Witness | None
    """The peer's latest word on our ledger."""


# ------------------------------------------------------------------------------------------------ our own ledger


def ledger_id(connection: sqlite3.Connection) -> bytes:
    """Of the ledger in this file."""
    (found,) = connection.execute("SELECT ledger_id FROM head").fetchone()
    return bytes(found)


def head(connection: sqlite3.Connection) -> LedgerHead:
    """As it stands."""
    return LedgerHead(*connection.execute("SELECT count, hash FROM head").fetchone())


def link_after(connection: sqlite3.Connection, count: int) -> bytes | None:
    """The hash after `count` entries; None where there are fewer, or they are inside an archived segment."""
    row = connection.execute(
        "SELECT hash FROM entry WHERE sequence = ? UNION ALL SELECT last FROM segment WHERE first + count = ?",
        (count - 1, count),
    ).fetchone()
    if row is None and count == 0:
        return chain.genesis(ledger_id(connection))
    return None if row is None else bytes(row[0])


def headers(connection: sqlite3.Connection, first: int, end: int) -> list[bytes] | None:
    """The headers of the entries `first` to `end - 1`; None where not all of them are in the state file."""
    (split,) = connection.execute("SELECT split FROM head").fetchone()
    rows = connection.execute(
        "SELECT sequence, time_milliseconds, kind, session, commitment FROM entry "
        "WHERE sequence >= ? AND sequence < ? ORDER BY sequence",
        (first, end),
    ).fetchall()
    if len(rows) != end - first or first < split:
        return None
    return [chain.header(*row) for row in rows]


def losses(connection: sqlite3.Connection) -> list[bytes]:
    """Our own admissions."""
    return [row[0] for row in connection.execute("SELECT encoded FROM loss WHERE party IS NULL ORDER BY encoded")]


def contradicts(connection: sqlite3.Connection, ours: SignedHead) -> str | None:
    """Why a head that we signed cannot be of the ledger that we have; None if it can."""
    if ours.ledger_id != ledger_id(connection):
        return f"it was of another ledger, which had {ours.head.count} entries"
    now = head(connection)
    if ours.head.count > now.count:
        return f"it had {ours.head.count} entries, of which {now.count} are left"
    found = link_after(connection, ours.head.count)
    if found is not None and found != ours.head.hash:
        return f"its first {ours.head.count} entries were others than those that are there"
    return None


def is_admitted(connection: sqlite3.Connection, ours: SignedHead) -> bool:
    """Whether one of our admissions gives this head up."""
    return any(Loss.from_bytes(encoded).covers(ours) for encoded in losses(connection))


def admit(connection: sqlite3.Connection, append: Append, loss: Loss) -> None:
    """Put an admission of our own on the record, to be shown to the peers from now on."""
    append(
        entries.noted(
            "heads",
            by=f"party {loss.head.party}",
            about="this ledger",
            digest=loss.lost.head.hash,
            reason=loss.reason,
            details={"lost": loss.lost.to_bytes(), "goes_on_from": loss.head.head.count},
        )
    )
    connection.execute("INSERT OR IGNORE INTO loss VALUES (?, NULL)", (loss.to_bytes(),))


def keep_witness(connection: sqlite3.Connection, witness: Witness) -> None:
    """Keep a peer's word on our head; its signature was checked."""
    connection.execute(
        "INSERT OR REPLACE INTO witness VALUES (?, ?, ?, ?)",
        (witness.by, witness.seen.head.count, witness.seen.head.hash, witness.to_bytes()),
    )
    connection.execute(
        "DELETE FROM witness WHERE party = ?1 AND count NOT IN "
        "(SELECT count FROM witness WHERE party = ?1 ORDER BY count DESC LIMIT ?2)",
        (witness.by, WITNESSES_PER_PARTY),
    )


def witnessed(connection: sqlite3.Connection) -> list[LedgerHead]:
    """Heads of this ledger that a peer has signed: the chain must pass through each, unless their loss was admitted."""
    mine = ledger_id(connection)
    seen = [Witness.from_bytes(row[0]).seen for row in connection.execute("SELECT encoded FROM witness")]
    return sorted(
        {item.head for item in seen if item.ledger_id == mine and not is_admitted(connection, item)},
        key=lambda item: (item.count, item.hash),
    )


def note_keys(connection: sqlite3.Connection, append: Append, keys: dict[PartyId, tuple[str, str]]) -> int:
    """Put every change of a party's keys since the last look on the record.

    Args:
        connection: inside a transaction.
        append: of the same.
        keys: signing and channel key of every party of the roster.

    Returns:
        How many changed.
    """
    changed = 0
    before = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT party, signing, channel FROM party_key")}
    for party, (signing, channel) in sorted(keys.items()):
        known = before.get(party)
        if known == (signing, channel):
            continue
        connection.execute("INSERT OR REPLACE INTO party_key VALUES (?, ?, ?)", (party, signing, channel))
        if known is not None:
            details = {"signing": [known[0], signing], "channel": [known[1], channel]}
            append(
                entries.noted(
                    "key_changed",
                    by="roster",
                    about=f"party {party}",
                    details={name: list(pair) for name, pair in details.items() if pair[0] != pair[1]},
                )
            )
            changed += 1
    return changed


# ------------------------------------------------------------------------------------------------ the peers' ledgers


def remember(
    connection: sqlite3.Connection,
    append: Append,
    shown: SignedHead,
    first: int,
    shown_headers: Sequence[bytes],
    admitted: Sequence[Loss],
    now_milliseconds: int,
) -> Verdict:
    """Decide on a head that its party shows, and keep what follows.

    Args:
        connection: inside a transaction.
        append: of the same.
        shown: its signature was checked.
        first: the sequence from which the headers are.
        shown_headers: of the entries from `first` to the head.
        admitted: losses that the party admits; their signatures were checked.
        now_milliseconds: since 1970.
    """
    known = remembered(connection, shown.party)
    if known is None:
        _keep(connection, shown, now_milliseconds)
        return Verdict("seen")
    why = _contradiction(known, shown)
    if why is None and shown.head.count > known.head.count:
        if first != known.head.count:
            return Verdict("go on", first=known.head.count)
        try:
            chain.check_extends(shown, known.head, list(shown_headers))
        except LedgerInvalid as error:
            why = str(error)
    if why is None:
        _settle_good(connection, append, shown)
        _keep(connection, shown, now_milliseconds)
        return Verdict("seen")
    for loss in admitted:
        if loss.covers(known) and loss.head.party == shown.party and _take_loss(connection, append, loss, known):
            _keep(connection, loss.head, now_milliseconds)
            return Verdict("go on", first=loss.head.head.count)
    return Verdict(
        "trouble", remembered=known, why=why, new=_keep_trouble(connection, append, shown, known, why, now_milliseconds)
    )


def _contradiction(known: SignedHead, shown: SignedHead) -> str | None:
    """What the two heads say by themselves, without any header."""
    if shown.ledger_id != known.ledger_id:
        return f"party {shown.party} began another ledger; the one before had {known.head.count} entries"
    if shown.head.count < known.head.count:
        return (
            f"the ledger of party {shown.party} was cut or put back: "
            f"{known.head.count} entries were seen, {shown.head.count} are left"
        )
    if shown.head.count == known.head.count and shown.head.hash != known.head.hash:
        return f"the ledger of party {shown.party} was rewritten: its {known.head.count} entries are others than before"
    return None


def remembered(connection: sqlite3.Connection, party: PartyId) -> SignedHead | None:
    """The last good head of a peer."""
    row = connection.execute("SELECT signed FROM peer_head WHERE party = ?", (party,)).fetchone()
    return None if row is None else SignedHead.from_bytes(row[0])


def _keep(connection: sqlite3.Connection, shown: SignedHead, now_milliseconds: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO peer_head VALUES (?, ?, ?)", (shown.party, shown.to_bytes(), now_milliseconds)
    )


def _take_loss(connection: sqlite3.Connection, append: Append, loss: Loss, known: SignedHead) -> bool:
    """Take a peer's admission, once: shown again it must not undo what came after it."""
    (count,) = connection.execute("SELECT count(*) FROM loss WHERE party = ?", (known.party,)).fetchone()
    if count >= limits.LOSSES_PER_PARTY_MAX:
        return False
    taken = connection.execute("INSERT OR IGNORE INTO loss VALUES (?, ?)", (loss.to_bytes(), known.party)).rowcount
    if taken == 1:
        made = append(
            entries.noted(
                "heads",
                by=f"party {known.party}",
                about=f"the ledger of party {known.party}",
                digest=known.head.hash,
                reason=f"admitted loss: {loss.reason}",
                details={"remembered": known.to_bytes(), "goes_on_from": loss.head.to_bytes()},
            )
        )
        _settle(connection, made.count - 1, known.party)
    return taken == 1


def _settle(connection: sqlite3.Connection, sequence: int, party: PartyId) -> None:
    connection.execute("UPDATE trouble SET settled = ? WHERE party = ? AND settled IS NULL", (sequence, party))


def _keep_trouble(
    connection: sqlite3.Connection,
    append: Append,
    shown: SignedHead,
    known: SignedHead,
    why: str,
    now_milliseconds: int,
) -> bool:
    """Keep the evidence and put it on the record, once until it is settled; True if there was no open trouble."""
    (kept, is_open) = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE settled IS NULL) FROM trouble WHERE party = ?", (shown.party,)
    ).fetchone()
    if is_open or kept >= _TROUBLE_PER_PARTY:  # so that a peer cannot fill our ledger
        return False
    connection.execute(
        "INSERT OR REPLACE INTO trouble VALUES (?, ?, ?, ?, ?, NULL)",
        (shown.party, shown.to_bytes(), known.to_bytes(), why, now_milliseconds),
    )
    append(
        entries.noted(
            "heads",
            by=f"party {shown.party}",
            about=f"the ledger of party {shown.party}",
            digest=known.head.hash,
            reason=why,
            details={"shown": shown.to_bytes(), "remembered": known.to_bytes()},
        )
    )
    return True


def _settle_good(connection: sqlite3.Connection, append: Append, shown: SignedHead) -> None:
    """A peer that was in trouble shows a ledger again that extends what was remembered all along."""
    is_open = connection.execute("SELECT 1 FROM trouble WHERE party = ? AND settled IS NULL", (shown.party,)).fetchone()
    if is_open is None:
        return
    made = append(
        entries.noted(
            "heads",
            by=f"party {shown.party}",
            about=f"the ledger of party {shown.party}",
            digest=shown.head.hash,
            reason="it extends again what was remembered before",
        )
    )
    _settle(connection, made.count - 1, shown.party)


def accept(connection: sqlite3.Connection, append: Append, party: PartyId, reason: str, now_milliseconds: int) -> None:
    """Our operator takes the latest contradicting head of a peer as the one to go on from.

    Raises:
        NotFound: there is no open trouble with that peer.
    """
    row = connection.execute(
        "SELECT shown FROM trouble WHERE party = ? AND settled IS NULL ORDER BY seen_milliseconds DESC LIMIT 1",
        (party,),
    ).fetchone()
    if row is None:
        raise NotFound(f"the ledger of party {party} contradicts nothing that is remembered here")
    shown = SignedHead.from_bytes(row[0])
    made = append(
        entries.noted(
            "heads",
            by="operator",
            about=f"the ledger of party {party}",
            digest=shown.head.hash,
            reason=f"accepted: {reason}",
            details={"goes_on_from": shown.to_bytes()},
        )
    )
    _settle(connection, made.count - 1, party)
    _keep(connection, shown, now_milliseconds)


def peers(connection: sqlite3.Connection, parties: Sequence[PartyId]) -> list[Peer]:
    """What is known between this party and each of `parties`."""
    return [_peer(connection, party) for party in parties]


def _peer(connection: sqlite3.Connection, party: PartyId) -> Peer:
    row = connection.execute("SELECT signed, seen_milliseconds FROM peer_head WHERE party = ?", (party,)).fetchone()
    trouble = connection.execute(
        "SELECT why, seen_milliseconds FROM trouble WHERE party = ? AND settled IS NULL ORDER BY seen_milliseconds",
        (party,),
    ).fetchall()
    word = connection.execute(
        "SELECT encoded FROM witness WHERE party = ? ORDER BY count DESC LIMIT 1", (party,)
    ).fetchone()
    return Peer(
        party,
        None if row is None else SignedHead.from_bytes(row[0]),
        None if row is None else row[1],
        tuple((str(why), int(at)) for why, at in trouble),
        None if word is None else Witness.from_bytes(word[0]),
    )
