"""The ledger's chain: what its hashes cover, and the heads that parties sign for each other (pure).

An entry is its sequence number, a time, a kind, the session if it belongs to one, and a commitment to its content:

    commitment_i = H(salt_i, content_i)                      32 random bytes of salt, beside the content, erasable
    header_i     = H(i, time_i, kind_i, session_i, commitment_i)
    link_i       = H(link_{i-1}, header_i)                   link_{-1} is made from the ledger's random id

Whoever remembers the link after n entries, and is given the headers of those that came since, computes the link after
all of them: so a peer checks that a ledger still extends what it saw, and learns how many entries there are and nothing
else.  A header tells nothing of kind, time or session, since the commitment in it is made with a salt that never
leaves.

A *head* is (ledger id, count, link), signed by the ledger's party with a time.  A peer that has checked it signs what
it saw (`Witness`).  Two heads of one party that no chain can hold both are the party's own signed proof against it, for
anybody: a ledger that was cut, put back or rewritten cannot be explained away.  A party that did lose entries (a backup
was restored) says so in a signed `Loss`, which its peers keep for ever beside the head that it gives up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from mpcd import canonical
from mpcd.errors import LedgerInvalid
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.ids import PartyId

SALT_BYTES: Final = 32
HASH_BYTES: Final = 32
LEDGER_ID_BYTES: Final = 32
HEAD_DOMAIN: Final = "ledger-head"
WITNESS_DOMAIN: Final = "ledger-witness"
LOSS_DOMAIN: Final = "ledger-loss"
_TIME_MILLISECONDS_MAX: Final = 2**53

# ------------------------------------------------------------------------------------------------ hashes


def genesis(ledger_id: bytes) -> bytes:
    """What stands for the link before entry 0."""
    return canonical.digest_bytes("ledger-genesis", ledger_id)


def commitment(salt: bytes, body: bytes) -> bytes:
    """To the canonical content `body`; the salt has a fixed length, so the pair is read in one way."""
    return canonical.digest_bytes("ledger-commitment", salt + body)


def sealed_digest(sealed: bytes) -> bytes:
    """Of the bytes that a session seals once, as the entry `recorded` names them."""
    return canonical.digest_bytes("ledger-sealed", sealed)


_ENTRY_PREFIX: Final = b"mpcd:ledger-entry:1:"
_HEADER_PREFIX: Final = b"mpcd:ledger-header:2:"
_LINK_PREFIX: Final = b"mpcd:ledger-link:2:"


def _row(sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes) -> bytes:
    """A row in a fixed layout, with lengths before what varies: one reading, and quick to make."""
    name = kind.encode()
    return b"".join(
        (
            sequence.to_bytes(8, "big"),
            time_milliseconds.to_bytes(8, "big", signed=True),
            len(name).to_bytes(2, "big"),
            name,
            b"\0" if session is None else b"\1" + len(session).to_bytes(2, "big") + session,
            committed,
        )
    )


def entry_hash_1(
    sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes, previous: bytes
) -> bytes:
    """The link of an entry of a ledger's first format, which had no header of its own; still in old ledgers."""
    return hashlib.sha256(
        _ENTRY_PREFIX + _row(sequence, time_milliseconds, kind, session, committed) + previous
    ).digest()


def header(sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes) -> bytes:
    """Of everything in the row but its place in the chain: all that a peer ever sees of an entry."""
    return hashlib.sha256(_HEADER_PREFIX + _row(sequence, time_milliseconds, kind, session, committed)).digest()


def link(previous: bytes, made: bytes) -> bytes:
    """The hash after one more entry, whose header is `made`."""
    return hashlib.sha256(_LINK_PREFIX + previous + made).digest()


def entry_hash(
    sequence: int, time_milliseconds: int, kind: str, session: bytes | None, committed: bytes, previous: bytes
) -> bytes:
    """The link of an entry."""
    return link(previous, header(sequence, time_milliseconds, kind, session, committed))


def extended(previous: bytes, headers: Iterable[bytes]) -> bytes:
    """The link after as many entries more, from their headers."""
    for made in headers:
        previous = link(previous, made)
    return previous


# ------------------------------------------------------------------------------------------------ signed heads


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """How many entries there are and the hash of the last: what peers remember of each other."""

    count: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class SignedHead:
    """One party's word on how its ledger stands."""

    party: PartyId
    ledger_id: bytes
    head: LedgerHead
    at_milliseconds: int
    signature: bytes

    @classmethod
    def make(
        cls, party: PartyId, ledger_id: bytes, head: LedgerHead, at_milliseconds: int, key: SigningKey
    ) -> SignedHead:
        """Signed by the party."""
        return cls(
            party,
            ledger_id,
            head,
            at_milliseconds,
            key.sign(HEAD_DOMAIN, _head_bytes(party, ledger_id, head, at_milliseconds)),
        )

    def check(self, key: VerifyKey) -> None:
        """Whether the party of `key` signed it.

        Raises:
            IdentityError: it did not.
        """
        key.verify(
            HEAD_DOMAIN, _head_bytes(self.party, self.ledger_id, self.head, self.at_milliseconds), self.signature
        )

    def to_bytes(self) -> bytes:
        """Canonical."""
        return canonical.encode(
            [int(self.party), self.ledger_id, self.head.count, self.head.hash, self.at_milliseconds, self.signature]
        )

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Read back.

        Raises:
            LedgerInvalid: not the bytes of a signed head.
        """
        party, ledger_id, count, link_, at, signature = _fields(encoded, (int, bytes, int, bytes, int, bytes))
        if len(ledger_id) != LEDGER_ID_BYTES or len(link_) != HASH_BYTES or min(party, count, at) < 0:
            raise LedgerInvalid("not the signed head of a ledger")
        return cls(PartyId(party), ledger_id, LedgerHead(count, link_), at, signature)


def _head_bytes(party: PartyId, ledger_id: bytes, head: LedgerHead, at_milliseconds: int) -> bytes:
    return canonical.encode([int(party), ledger_id, head.count, head.hash, at_milliseconds])


@dataclass(frozen=True, slots=True)
class Witness:
    """A peer's word that it saw a head and that the chain before it was the one that it remembered."""

    seen: SignedHead
    by: PartyId
    at_milliseconds: int
    signature: bytes

    @classmethod
    def make(cls, seen: SignedHead, by: PartyId, at_milliseconds: int, key: SigningKey) -> Witness:
        """Signed by the peer."""
        return cls(seen, by, at_milliseconds, key.sign(WITNESS_DOMAIN, _witness_bytes(seen, by, at_milliseconds)))

    def check(self, key: VerifyKey) -> None:
        """Whether the peer of `key` signed it.

        Raises:
            IdentityError: it did not.
        """
        key.verify(WITNESS_DOMAIN, _witness_bytes(self.seen, self.by, self.at_milliseconds), self.signature)

    def to_bytes(self) -> bytes:
        """Canonical."""
        return canonical.encode([self.seen.to_bytes(), int(self.by), self.at_milliseconds, self.signature])

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Read back.

        Raises:
            LedgerInvalid: not the bytes of a witness.
        """
        seen, by, at, signature = _fields(encoded, (bytes, int, int, bytes))
        return cls(SignedHead.from_bytes(seen), PartyId(by), at, signature)


def _witness_bytes(seen: SignedHead, by: PartyId, at_milliseconds: int) -> bytes:
    return canonical.encode([seen.to_bytes(), int(by), at_milliseconds])


@dataclass(frozen=True, slots=True)
class Loss:
    """A party's admission that its ledger no longer holds what it once signed: it goes on from `head`."""

    head: SignedHead
    lost: SignedHead
    """The latest head that is no longer there."""
    reason: str
    signature: bytes

    @classmethod
    def make(cls, head: SignedHead, lost: SignedHead, reason: str, key: SigningKey) -> Loss:
        """Signed by the party whose heads both are."""
        return cls(head, lost, reason, key.sign(LOSS_DOMAIN, _loss_bytes(head, lost, reason)))

    def check(self, key: VerifyKey) -> None:
        """Whether the party of `key` signed it, and both heads.

        Raises:
            IdentityError: it did not.
        """
        self.head.check(key)
        self.lost.check(key)
        if self.lost.party != self.head.party:
            raise IdentityError("the head that is given up is another party's")
        key.verify(LOSS_DOMAIN, _loss_bytes(self.head, self.lost, self.reason), self.signature)

    def covers(self, remembered: SignedHead) -> bool:
        """Whether what a peer remembers is among what was given up."""
        if self.lost.ledger_id != remembered.ledger_id or remembered.at_milliseconds > self.head.at_milliseconds:
            return False  # another ledger, or signed after the admission
        if self.lost.head.count == remembered.head.count:
            return self.lost.head == remembered.head
        return self.lost.head.count > remembered.head.count

    def to_bytes(self) -> bytes:
        """Canonical."""
        return canonical.encode([self.head.to_bytes(), self.lost.to_bytes(), self.reason, self.signature])

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Read back.

        Raises:
            LedgerInvalid: not the bytes of an admission.
        """
        head, lost, reason, signature = _fields(encoded, (bytes, bytes, str, bytes))
        return cls(SignedHead.from_bytes(head), SignedHead.from_bytes(lost), reason, signature)


def _loss_bytes(head: SignedHead, lost: SignedHead, reason: str) -> bytes:
    return canonical.encode([head.to_bytes(), lost.to_bytes(), reason])


def _fields(encoded: bytes, kinds: tuple[type, ...]) -> list:  # type: ignore[type-arg]  # checked against `kinds`
    """The fields of a canonical list of exactly these kinds."""
    try:
        value = canonical.decode(encoded)
    except canonical.CanonicalError as error:
        raise LedgerInvalid("what should be a signed statement of a ledger is not canonical") from error
    if (
        not isinstance(value, list)
        or len(value) != len(kinds)
        or any(type(item) is not kind for item, kind in zip(value, kinds, strict=True))
        or any(isinstance(item, int) and not 0 <= item <= _TIME_MILLISECONDS_MAX for item in value)
    ):
        raise LedgerInvalid("what should be a signed statement of a ledger is something else")
    return value


def check_extends(seen: SignedHead, before: LedgerHead, headers: list[bytes]) -> None:
    """Whether `seen` is what follows `before` with these headers.

    Raises:
        LedgerInvalid: it is not; the ledger was cut or rewritten.
    """
    if seen.head.count != before.count + len(headers):
        raise LedgerInvalid(
            f"the ledger of party {seen.party} has {seen.head.count} entries, "
            f"but {before.count} and {len(headers)} more were shown"
        )
    if extended(before.hash, headers) != seen.head.hash:
        raise LedgerInvalid(
            f"the ledger of party {seen.party} was rewritten: its {seen.head.count} entries do not extend the "
            f"{before.count} that were seen before"
        )
