"""The receipt of one completed session: the same bytes at every participant, signed by all of them (pure).

It names everything that later accounts are made from: the request and the question, the quote that the analyst
accepted by signing the request, who took part with which data versions, the time that decides month and term, and each
owner's price line as it stood in the plan that all hashed.  It is stored in the commit that stores the sealed result,
so that there is no result without its receipt and no receipt without a result.

A receipt says that all participants had verified their part and were *ready to record* the result.  That a party
recorded it stands in its own ledger, which holds the receipt's digest; a party that kept its own signature back can
hold a receipt with everybody's for a session that all others aborted.  So a receipt proves a debt only together with
the `recorded` entry of the party that is to pay for it or of the owner beside it, which their peers can check
(`mpcctl statement compare` names a receipt that only one party counts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar, cast

from mpcd import canonical
from mpcd.errors import PeerMalformed, ResultInvalid
from mpcd.identity import IdentityError, VerifyKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId

RECEIPT_VERSION: Final = 1
DOMAIN: Final = "receipt"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a session used and owes."""

    session: SessionId
    consortium: str
    roster_hash: bytes
    request_digest: RequestDigest
    question_digest: bytes
    quote_digest: bytes | None
    analyst: bytes
    """Raw public key, 32 bytes."""
    purpose: str
    plan_hash: PlanHash
    at: int
    """The session's time, milliseconds since 1970, UTC."""
    parties: tuple[PartyId, ...]
    """All participants, ascending: whose signatures make it whole."""
    data_versions: Mapping[int, Mapping[str, str]]
    """By owner and table."""
    lines: Sequence[Sequence[int | bytes]]
    """[party, canonical bytes of its price line], by party; owners that ask nothing have none."""

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical.encode(
            {
                "version": RECEIPT_VERSION,
                "session": self.session,
                "consortium": self.consortium,
                "roster_hash": self.roster_hash,
                "request_digest": self.request_digest,
                "question_digest": self.question_digest,
                "quote_digest": self.quote_digest,
                "analyst": self.analyst,
                "purpose": self.purpose,
                "plan_hash": self.plan_hash,
                "at": self.at,
                "parties": [int(party) for party in self.parties],
                "data_versions": [[owner, dict(self.data_versions[owner])] for owner in sorted(self.data_versions)],
                "lines": [list(line) for line in self.lines],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; raises `ResultInvalid` for anything else."""
        try:
            receipt = cls._read(cast("dict[str, object]", canonical.decode(data)))
        except (canonical.CanonicalError, KeyError, TypeError, ValueError) as error:
            raise ResultInvalid("this is no receipt") from error
        if receipt.to_bytes() != data:
            raise ResultInvalid("this is no receipt that this version knows")
        return receipt

    @classmethod
    def _read(cls, fields: Mapping[str, object]) -> Self:
        versions = cast("list[tuple[int, dict[str, str]]]", fields["data_versions"])
        lines = cast("list[list[int | bytes]]", fields["lines"])
        quote = fields["quote_digest"]
        return cls(
            session=SessionId(typed(fields["session"], bytes)),
            consortium=typed(fields["consortium"], str),
            roster_hash=typed(fields["roster_hash"], bytes),
            request_digest=RequestDigest(typed(fields["request_digest"], bytes)),
            question_digest=typed(fields["question_digest"], bytes),
            quote_digest=None if quote is None else typed(quote, bytes),
            analyst=typed(fields["analyst"], bytes),
            purpose=typed(fields["purpose"], str),
            plan_hash=PlanHash(typed(fields["plan_hash"], bytes)),
            at=typed(fields["at"], int),
            parties=tuple(PartyId(typed(party, int)) for party in typed(fields["parties"], list)),
            data_versions={typed(owner, int): dict(tables) for owner, tables in versions},
            lines=[[typed(party, int), typed(line, bytes)] for party, line in lines],
        )


def typed(value: object, kind: type[_T]) -> _T:
    """`value`, if it is exactly of this kind; else `TypeError`."""
    if type(value) is not kind:
        raise TypeError
    return value


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt's bytes and the signature of each participant."""

    receipt: bytes
    signatures: Mapping[PartyId, bytes]

    def check(self, party: PartyId, key: VerifyKey) -> None:
        """Raise `PeerMalformed` unless `party` signed exactly these bytes."""
        try:
            key.verify(DOMAIN, self.receipt, self.signatures[party])
        except (IdentityError, KeyError) as error:
            raise PeerMalformed(party, f"party {party} signed another receipt than the plan gives") from error

    def to_bytes(self) -> bytes:
        """As it is stored."""
        signatures = [[int(party), self.signatures[party]] for party in sorted(self.signatures)]
        return canonical.encode({"receipt": self.receipt, "signatures": signatures})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; signatures are not checked.

        Raises:
            ResultInvalid: it is something else.
        """
        try:
            fields = cast("dict[str, object]", canonical.decode(data))
            pairs = cast("list[list[object]]", fields["signatures"])
            signatures = {PartyId(cast("int", party)): cast("bytes", signature) for party, signature in pairs}
            return cls(cast("bytes", fields["receipt"]), signatures)
        except (canonical.CanonicalError, KeyError, TypeError, ValueError) as error:
            raise ResultInvalid("this is no receipt") from error
