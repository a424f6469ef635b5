"""A result as it is kept: everything that proves it, in one file (layer 12, no I/O).

    request     the analyst's signed request: what was asked, for what purpose, at which accepted price
    key         the private key that the request named for its result
    plan        what all parties agreed on: data versions, rules, who computed, the session's terms
    releases    one sealed and signed envelope from each compute party
    receipt     what every participant signed: session, plan, data versions, prices
    facts       what the daemon told beside it; nobody signed that

`verify` needs the parties' keys of the roster and nothing else: no daemon, no network.  It opens the releases again, so
that the numbers that it returns are those that three parties signed for exactly this request under exactly this plan,
and that all participants hold the receipt of.  Whoever has the file can read the result: it is the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, cast

from mpcd import canonical, limits
from mpcd.api.opening import Opened, PinnedParty, open_releases
from mpcd.api.types import Map
from mpcd.errors import PeerMalformed, ResultInvalid
from mpcd.governance.receipt import Receipt, SignedReceipt
from mpcd.identity import IdentityError, ResultKey
from mpcd.identity.request import Request, SignedRequest
from mpcd.ids import PartyId

MAGIC: Final = b"mpcd result 1\n"
_FIELDS: Final = {"request": bytes, "key": bytes, "plan": bytes, "releases": list, "receipt": bytes, "facts": dict}


class Verified(NamedTuple):
    """What a kept result proves."""

    request: Request
    opened: Opened
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Kept:
    """One result with its proofs; nothing is checked until `verify`."""

    request: bytes
    key: bytes
    plan: bytes
    releases: tuple[bytes, ...]
    receipt: bytes
    facts: Map

    def verify(self, parties: Mapping[PartyId, PinnedParty]) -> Verified:
        """Check every signature and open the releases.

        Args:
            parties: pinned by whoever verifies, by id.

        Raises:
            ResultInvalid: anything does not fit; the message names it.
        """
        signed = SignedRequest.from_bytes(self.request)
        request = signed.request
        try:
            request.analyst.verify("request", request.to_bytes(), signed.signature)
            key = ResultKey.from_seed(bytearray(self.key))
        except IdentityError as error:
            raise ResultInvalid(f"the request of this result is not the analyst's own: {error}") from error
        if key.public != request.result_key:
            raise ResultInvalid("the key in this file is not the one that the request names")
        opened = open_releases(
            self.plan, self.releases, request_digest=signed.digest(), result_key=key, parties=parties
        )
        receipt = _checked_receipt(self.receipt, request, opened, parties)
        if receipt.request_digest != signed.digest():
            raise ResultInvalid("the receipt is of another request; do not use this result")
        return Verified(request, opened, receipt)

    def to_bytes(self) -> bytes:
        """The file."""
        return MAGIC + canonical.encode(
            {
                "request": self.request,
                "key": self.key,
                "plan": self.plan,
                "releases": list(self.releases),
                "receipt": self.receipt,
                "facts": self.facts,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; verifies nothing; raises `ResultInvalid` for anything else."""
        if len(data) > limits.API_RESPONSE_BYTES_MAX or not data.startswith(MAGIC):
            raise ResultInvalid("this is no result that `mpcctl sql --save` wrote")
        try:
            fields = canonical.decode(data[len(MAGIC) :])
        except canonical.CanonicalError as error:
            raise ResultInvalid("this result was changed or cut; do not use it") from error
        good = isinstance(fields, dict) and fields.keys() == _FIELDS.keys()
        good = good and all(type(cast("Map", fields)[name]) is kind for name, kind in _FIELDS.items())
        if not good:
            raise ResultInvalid("this is no result that this version knows")
        known = cast("Map", fields)
        releases = cast("list[object]", known["releases"])
        if not all(isinstance(release, bytes) for release in releases):
            raise ResultInvalid("this is no result that this version knows")
        return cls(
            cast("bytes", known["request"]),
            cast("bytes", known["key"]),
            cast("bytes", known["plan"]),
            tuple(cast("list[bytes]", releases)),
            cast("bytes", known["receipt"]),
            cast("Map", known["facts"]),
        )


def _checked_receipt(data: bytes, request: Request, opened: Opened, parties: Mapping[PartyId, PinnedParty]) -> Receipt:
    """The receipt, if every participant signed it for exactly this result.

    Raises:
        ResultInvalid: it is missing, of something else, or lacks a signature.
    """
    signed = SignedReceipt.from_bytes(data)
    receipt = Receipt.from_bytes(signed.receipt)
    bound = (receipt.session, receipt.plan_hash, receipt.question_digest, receipt.quote_digest, receipt.analyst)
    expected = (
        opened.session,
        opened.plan_hash,
        request.question_digest(),
        request.quote_digest,
        request.analyst.raw,
    )
    if bound != expected:
        raise ResultInvalid("the receipt is of another session, plan or question; do not use this result")
    absent = sorted(_participants(opened.plan) - set(receipt.parties))
    if absent:
        raise ResultInvalid(f"the receipt leaves out party {absent[0]}, which took part; do not use this result")
    for party in receipt.parties:
        if party not in parties:
            raise ResultInvalid(f"the receipt names party {party}, which is not in your roster")
        try:
            signed.check(party, parties[party].signing_key)
        except PeerMalformed as error:
            raise ResultInvalid(f"the receipt lacks the signature of party {party}; do not use this result") from error
    return receipt


def _participants(plan: Map) -> set[int]:
    """Who gave data or computed by the plan that the compute parties signed: their signatures make a receipt whole."""
    named: set[int] = set()
    for key in ("owners", "compute"):
        listed = plan.get(key)
        named |= {party for party in listed if isinstance(party, int)} if isinstance(listed, list) else set()
    return named
