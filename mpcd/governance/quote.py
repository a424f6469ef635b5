"""What one question would cost: each owner's signed price line, and the quote that puts them together (pure).

Theory of operation.  Asked with a request of kind `quote`, every owner whose data is licensed says its price as a
`Line` and signs it.  The analyst's client checks the lines' signatures against its roster, puts them into a `Quote`
with what the question opens and takes, and shows that.  A request of kind `sql` that accepts it names the quote's
digest, so that the analyst's signature is on the price, and the quote itself travels beside the request.  Each owner
finds its own line in it, checks its own signature, that the line is for this very question and still valid, and books
what the line says: the price that was quoted is the price, whatever has happened since.  All parties look at the lines
that the owners then bring to the session (`check_brought`): what is not in the accepted quote gets on no receipt.

A quote is used once: each owner books its digest with the session.

Two things bound that promise.  A line names what it was counted as (one of the free queries, or below the monthly
maximum), and the transaction that books it moves the counters; where they have moved on, the request is refused and a
new quote is asked for.  And a line is short-lived (`valid_until`).

Owners that ask nothing sign no line.  An owner that has a price refuses a request without its line, naming the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Self, cast

from mpcd import canonical, limits
from mpcd.errors import PeerMalformed, RequestInvalid
from mpcd.governance import money
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.ids import PartyId

LINE_DOMAIN: Final = "quote-line"
QUOTE_DOMAIN: Final = "quote"
QUOTE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Line:
    """One owner's price for one question of one analyst."""

    party: PartyId
    """Who is to be paid."""
    question: bytes
    """Digest of the question, 32 bytes (`Request.question_digest`)."""
    licence: bytes
    """Digest of the licence under which the question runs, 32 bytes."""
    currency: str
    minor: int
    """Net amount owed to `party`, in minor units."""
    rate_class: str
    free: bool
    """Counted as one of the free queries."""
    capped: bool
    """Less than the single price because of the monthly maximum."""
    pool_minor: int | None
    """The pool's whole price, of which `minor` is this party's share; None where each owner prices itself."""
    tax: Mapping[str, str]
    """Recorded as agreed, not computed: `treatment`, `rate_percent`, `note`."""
    valid_until: int
    """Milliseconds since 1970: agreement after this moment needs a new line."""
    month_minor: int = 0
    """This party's share of the monthly fee that falls due if this is the month's first query; told, and owed by the
    month, not by the query."""

    def __post_init__(self) -> None:
        _require(len(self.question) == canonical.DIGEST_BYTES and len(self.licence) == canonical.DIGEST_BYTES)
        _require(self.currency in money.EXPONENTS and money.checked(self.minor) >= 0)
        _require(money.checked(self.month_minor) >= 0)
        _require(self.pool_minor is None or self.minor <= money.checked(self.pool_minor))
        _require(len(self.tax) <= limits.TAX_FIELDS_MAX and 0 <= self.valid_until < 2**50)

    def to_value(self) -> dict[str, canonical.Value]:
        """The canonical map that is signed."""
        value: dict[str, canonical.Value] = {field.name: getattr(self, field.name) for field in fields(self)}
        return value | {"party": int(self.party), "tax": dict(self.tax)}

    def sign(self, key: SigningKey) -> bytes:
        """Canonical bytes of the line with its owner's signature."""
        body = canonical.encode(self.to_value())
        return canonical.encode({"line": body, "signature": key.sign(LINE_DOMAIN, body)})

    @classmethod
    def from_signed(cls, signed: bytes, keys: Mapping[PartyId, VerifyKey]) -> Self:
        """The line in `signed`, once its own party's signature was checked.

        Args:
            signed: what `sign` made.
            keys: of the parties in the roster.

        Raises:
            RequestInvalid: it is no line, or not signed by the party that it names.
        """
        try:
            outer = cast("dict[str, bytes]", canonical.decode(signed))
            body = outer["line"]
            line = cls._read(canonical.decode(body))
            keys[line.party].verify(LINE_DOMAIN, body, outer["signature"])
        except (canonical.CanonicalError, IdentityError, KeyError, TypeError, ValueError) as error:
            raise RequestInvalid("a price line is malformed or not signed by its owner; ask for a new quote") from error
        return line

    @classmethod
    def _read(cls, value: canonical.Value) -> Self:
        names = {field.name for field in fields(cls)}
        _require(isinstance(value, dict) and value.keys() == names)
        known = cast("dict[str, object]", value)
        kinds = {
            "party": int,
            "question": bytes,
            "licence": bytes,
            "currency": str,
            "minor": int,
            "rate_class": str,
            "free": bool,
            "capped": bool,
            "tax": dict,
            "valid_until": int,
            "month_minor": int,
        }
        _require(all(type(known[name]) is kind for name, kind in kinds.items()))
        _require(known["pool_minor"] is None or type(known["pool_minor"]) is int)
        tax = cast("dict[str, object]", known["tax"])
        _require(all(isinstance(text, str) and len(text) <= limits.NAME_CHARACTERS_MAX for text in tax.values()))
        return cls(**known)  # type: ignore[arg-type]  # every type was tested


@dataclass(frozen=True, slots=True)
class Quote:
    """What the analyst accepts by signing a request that names its digest."""

    question: bytes
    at: int
    """When it was made, milliseconds since 1970."""
    lines: tuple[bytes, ...]
    """Signed lines, by party."""
    facts: Mapping[str, canonical.Value]
    """For people, as the owners told it: rounds, bytes, rules, epsilon, accuracy, expected seconds.  Nobody is bound
    by them."""

    def to_bytes(self) -> bytes:
        """Canonical bytes: what the digest is of, and what travels beside the request."""
        return canonical.encode(
            {
                "version": QUOTE_VERSION,
                "question": self.question,
                "at": self.at,
                "lines": list(self.lines),
                "facts": dict(self.facts),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; signatures are not checked.

        Raises:
            RequestInvalid: it is something else.
        """
        try:
            value = canonical.decode(data)
        except canonical.CanonicalError as error:
            raise RequestInvalid("the quote is not in canonical form; ask for a new one") from error
        good = (
            isinstance(value, dict)
            and value.keys() == {"version", "question", "at", "lines", "facts"}
            and value["version"] == QUOTE_VERSION
            and isinstance(value["question"], bytes)
            and type(value["at"]) is int
            and isinstance(value["lines"], list)
            and len(value["lines"]) <= limits.INPUT_OWNERS_MAX
            and all(isinstance(line, bytes) for line in value["lines"])
            and isinstance(value["facts"], dict)
        )
        if not good:
            raise RequestInvalid("this is no quote that this version knows; ask for a new one")
        known = cast("dict[str, object]", value)
        return cls(
            cast("bytes", known["question"]),
            cast("int", known["at"]),
            tuple(cast("list[bytes]", known["lines"])),
            cast("dict[str, canonical.Value]", known["facts"]),
        )

    def digest(self) -> bytes:
        """What the accepting request names."""
        return canonical.digest_bytes(QUOTE_DOMAIN, self.to_bytes())

    def line_of(self, party: PartyId, keys: Mapping[PartyId, VerifyKey]) -> tuple[Line, bytes] | None:
        """The line of `party`, signature checked, and its bytes; None if it has none here.

        Raises:
            RequestInvalid: a line is malformed, or there are two of the party.
        """
        found = [(line, signed) for signed in self.lines if (line := Line.from_signed(signed, keys)).party == party]
        if len(found) > 1:
            raise RequestInvalid(f"the quote has {len(found)} lines of party {party}; ask for a new one")
        return found[0] if found else None


def accepted_line(
    attached: bytes | None,
    accepted_digest: bytes | None,
    party: PartyId,
    keys: Mapping[PartyId, VerifyKey],
    question: bytes,
    at: int,
) -> tuple[Line, bytes] | None:
    """What this owner quoted and the analyst accepted: the line and its signed bytes; None if there is none of ours.

    Args:
        attached: the quote that came beside the request, if one did.
        accepted_digest: of the quote that the request names.
        party: this owner.
        keys: of the parties in the roster.
        question: digest of the question that the request asks.
        at: the session's time, milliseconds since 1970.

    Raises:
        RequestInvalid: the quote is missing, another one, for another question, or has expired.
    """
    quote = accepted_quote(attached, accepted_digest)
    if quote is None:
        return None
    found = quote.line_of(party, keys)
    if found is None:
        return None
    line, _ = found
    if line.question != question:
        raise RequestInvalid("the quote is for another question; ask for a quote of this one")
    if at > line.valid_until:
        raise RequestInvalid("the quote has expired; ask for a new one")
    return found


def accepted_quote(attached: bytes | None, accepted_digest: bytes | None) -> Quote | None:
    """The quote that a request accepts; None if it accepts none.

    Args:
        attached: what came beside the request.
        accepted_digest: that the request names.

    Raises:
        RequestInvalid: it is missing or another one.
    """
    if accepted_digest is None:
        return None
    if attached is None:
        raise RequestInvalid("the request accepts a quote that did not come with it; send the quote too")
    quote = Quote.from_bytes(attached)
    if quote.digest() != accepted_digest:
        raise RequestInvalid("the request accepts another quote than the one that came with it")
    return quote


def check_brought(
    signed: bytes, party: PartyId, keys: Mapping[PartyId, VerifyKey], question: bytes, accepted: Quote | None
) -> None:
    """Check the price line that an owner brings to a session that is to run: receipts are made of it.

    Args:
        signed: what `party` sent with its answer.
        party: that owner.
        keys: of the parties in the roster.
        question: digest of what the session asks.
        accepted: the quote that the analyst accepted, if they did.

    Raises:
        PeerMalformed: not the owner's own word about this question, or it asks for what the analyst did not accept.
    """
    try:
        line = Line.from_signed(signed, keys)
    except RequestInvalid as error:
        raise PeerMalformed(party, f"party {party} brought no price line of its own to the session") from error
    if line.party != party or line.question != question:
        raise PeerMalformed(party, f"party {party} brought a price line of another party or question to the session")
    owed = line.minor + line.month_minor
    if owed > 0 and (accepted is None or signed not in accepted.lines):
        price = money.amount(owed, line.currency)
        raise PeerMalformed(party, f"party {party} asks {price} in the session, which the analyst has not accepted")


def _require(holds: object) -> None:
    if not holds:
        raise ValueError("a price line does not hold what one holds")
