"""The file of an archived segment of a ledger: written once, verified by anybody, offline (pure).

    magic, then records, each 4 bytes of length and canonical bytes:
    header    {party, ledger_id, first, count, previous, split}
    entries   [sequence, time, kind, session, commitment, salt, body, erased_by], `count` times, in order
    seal      {head, witnesses}: the party's signed head after the last entry, and what peers signed of this ledger

Salt and body are there where the content was not erased; erasing later rewrites the file without them, and everything
still verifies, because the chain holds commitments alone.  Segments of one ledger follow each other: `previous` of one
is the last hash of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from mpcd import canonical, limits
from mpcd.errors import LedgerInvalid
from mpcd.governance import chain
from mpcd.governance.chain import LedgerHead, SignedHead, Witness
from mpcd.identity import IdentityError, VerifyKey
from mpcd.ids import PartyId

MAGIC: Final = b"mpcd-ledger-segment-1\n"
_LENGTH_BYTES: Final = 4
_RECORD_BYTES_MAX: Final = limits.LEDGER_CONTENT_BYTES_MAX + 2**20

Take = Callable[[int], bytes]
"""Up to that many bytes more of the file; fewer only at its end."""
SegmentEntry = tuple[int, int, str, bytes | None, bytes, bytes | None, bytes | None, int | None]
"""Sequence, time, kind, session, commitment, salt, body, erased by."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Which entries of which ledger a file holds."""

    party: PartyId
    ledger_id: bytes
    first: int
    count: int
    previous: bytes
    split: int
    """Entries before it are of the first format."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What stands at the end of a file."""

    head: SignedHead
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a check of one file found to be right."""

    header: SegmentHeader
    head: LedgerHead
    """After its last entry."""
    kinds: dict[str, int]
    erased: int
    first_milliseconds: int
    last_milliseconds: int
    witnesses: tuple[tuple[PartyId, int], ...]
    """Which peer signed the ledger after how many entries, inside this segment, checked against its chain."""


# ------------------------------------------------------------------------------------------------ writing


def _record(value: object) -> bytes:
    encoded = canonical.encode(value)
    return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded


def written(header: SegmentHeader, entries: Iterable[SegmentEntry], seal: Seal) -> Iterator[bytes]:
    """The bytes of a file, in parts."""
    yield MAGIC
    yield _record(
        {
            "party": int(header.party),
            "ledger_id": header.ledger_id,
            "first": header.first,
            "count": header.count,
            "previous": header.previous,
            "split": header.split,
        }
    )
    for entry in entries:
        yield _record(entry)
    yield _record({"head": seal.head.to_bytes(), "witnesses": [witness.to_bytes() for witness in seal.witnesses]})


# ------------------------------------------------------------------------------------------------ reading


class SegmentReader:
    """One file, read once from its beginning to its end.

    Raises:
        LedgerInvalid: cut, changed, or no such file; so do all methods.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self.seal: Seal | None = None
        """There once all entries were read."""
        if take(len(MAGIC)) != MAGIC:
            raise LedgerInvalid("this is not the file of a ledger's segment")
        self.header = _header(self._next())

    def entries(self) -> Iterator[SegmentEntry]:
        """All entries, in order; afterwards `seal` is there."""
        for place in range(self.header.count):
            entry = self._next()
            if not isinstance(entry, list) or not _is_entry(entry) or entry[0] != self.header.first + place:
                raise LedgerInvalid(f"the file of a segment lacks ledger entry {self.header.first + place}")
            yield cast("SegmentEntry", tuple(entry))
        self.seal = _seal(self._next())
        if self._take(1):
            raise LedgerInvalid("the file of a segment goes on after its seal")

    def _next(self) -> canonical.Value:
        length = int.from_bytes(self._whole(_LENGTH_BYTES), "big")
        if length > _RECORD_BYTES_MAX:
            raise LedgerInvalid("the file of a segment was changed: a record is too long")
        try:
            return canonical.decode(self._whole(length))
        except canonical.CanonicalError as error:
            raise LedgerInvalid("the file of a segment was changed: a record is not canonical") from error

    def _whole(self, size: int) -> bytes:
        data = self._take(size)
        if len(data) != size:
            raise LedgerInvalid("the file of a segment was cut")
        return data


def _header(value: canonical.Value) -> SegmentHeader:
    kinds = {"party": int, "ledger_id": bytes, "first": int, "count": int, "previous": bytes, "split": int}
    if not isinstance(value, dict) or {name: type(item) for name, item in value.items()} != kinds:
        raise LedgerInvalid("the file of a segment was changed: it says not which entries it holds")
    numbers = [item for item in value.values() if isinstance(item, int)]
    if any(not 0 <= number < 2**53 for number in numbers) or not value["count"]:
        raise LedgerInvalid("the file of a segment was changed: it says not which entries it holds")
    return SegmentHeader(**value)  # type: ignore[arg-type]  # kinds were compared


def _is_entry(entry: list[canonical.Value]) -> bool:
    octets = (bytes, type(None))
    kinds = ((int,), (int,), (str,), octets, (bytes,), octets, octets, (int, type(None)))
    return len(entry) == len(kinds) and all(type(item) in kind for item, kind in zip(entry, kinds, strict=True))


def _seal(value: canonical.Value) -> Seal:
    if not isinstance(value, dict) or value.keys() != {"head", "witnesses"}:
        raise LedgerInvalid("the file of a segment has no seal")
    head, witnesses = value["head"], value["witnesses"]
    if not isinstance(head, bytes) or not isinstance(witnesses, list):
        raise LedgerInvalid("the file of a segment has no seal")
    return Seal(SignedHead.from_bytes(head), tuple(Witness.from_bytes(cast("bytes", item)) for item in witnesses))


def verify(take: Take, keys: Mapping[PartyId, VerifyKey], after: SegmentReport | None = None) -> SegmentReport:
    """Check one file by itself, or as what follows another one.

    Args:
        take: reads the file.
        keys: of the parties, from a roster that one trusts.
        after: what the check of the segment before found.

    Raises:
        LedgerInvalid: names the first bad entry, or what does not fit.
    """
    reader = SegmentReader(take)
    header = reader.header
    if header.first == 0 and header.previous != chain.genesis(header.ledger_id):
        raise LedgerInvalid("the first segment does not begin where its ledger begins")
    if after is not None and (
        header.ledger_id != after.header.ledger_id
        or LedgerHead(header.first, header.previous) != after.head
        or header.party != after.header.party
    ):
        raise LedgerInvalid(f"the segment from entry {header.first} on does not follow the one before it")
    walk = _Walk(header)
    for entry in reader.entries():
        walk.take(entry)
    assert reader.seal is not None
    seen = _check_seal(header, walk, reader.seal, keys)
    head = LedgerHead(header.first + header.count, walk.link)
    times = walk.first or 0, walk.last or 0
    return SegmentReport(header, head, walk.kinds, walk.erased, *times, witnesses=seen)


class _Walk:
    """One walk along a segment's chain."""

    def __init__(self, header: SegmentHeader) -> None:
        self._header = header
        self.link = header.previous
        self.links: dict[int, bytes] = {header.first: header.previous}
        self.kinds: dict[str, int] = {}
        self.erased = 0
        self.first: int | None = None
        self.last: int | None = None

    def take(self, entry: SegmentEntry) -> None:
        sequence, at, kind, session, committed, salt, body, erased_by = entry
        made = chain.entry_hash_1 if sequence < self._header.split else chain.entry_hash
        try:
            self.link = made(sequence, at, kind, session, committed, self.link)
        except (OverflowError, ValueError) as error:
            raise LedgerInvalid(f"ledger entry {sequence} was changed") from error
        self.links[sequence + 1] = self.link
        if salt is not None and body is not None:
            if chain.commitment(salt, body) != committed:
                raise LedgerInvalid(f"the content of ledger entry {sequence} was changed")
        elif erased_by is None:
            raise LedgerInvalid(f"the content of ledger entry {sequence} is missing without an entry that erases it")
        else:
            self.erased += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.first = at if self.first is None else self.first
        self.last = at


def _check_seal(
    header: SegmentHeader, walk: _Walk, seal: Seal, keys: Mapping[PartyId, VerifyKey]
) -> tuple[tuple[PartyId, int], ...]:
    """The party's signature of where the segment ends, and the peers' of where they saw it."""
    end = header.first + header.count
    head = seal.head
    if (head.party, head.ledger_id) != (header.party, header.ledger_id):
        raise LedgerInvalid("the segment's seal is of another ledger")
    if head.head != LedgerHead(end, walk.link):
        raise LedgerInvalid(
            f"one of the entries {header.first} to {end - 1} was changed, dropped or put elsewhere: "
            "their chain does not end where the segment's seal says"
        )
    seen = []
    try:
        _check(head, keys, head.party)
        for witness in seal.witnesses:
            _check(witness, keys, witness.by)
            theirs = witness.seen.head
            if walk.links.get(theirs.count, theirs.hash) != theirs.hash:
                raise LedgerInvalid(f"party {witness.by} signed another chain of {theirs.count} entries")
            if header.first < theirs.count <= end:
                seen.append((witness.by, theirs.count))
    except IdentityError as error:
        raise LedgerInvalid(f"a signature in the segment's seal does not fit: {error}") from error
    return tuple(seen)


def _check(signed: SignedHead | Witness, keys: Mapping[PartyId, VerifyKey], party: PartyId) -> None:
    if party not in keys:
        raise LedgerInvalid(f"the roster has no party {party}, which signed the segment")
    signed.check(keys[party])
