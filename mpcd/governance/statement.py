"""What one month earned: a statement that anybody who holds the receipts can compute again (pure).

Theory of operation.  Every participant of a session holds the same receipt, with the price line of every owner.  A
statement adds the lines of one month up, per licence and per owner, and, for licences of which the party that makes it
holds the deed, the fees that fall due without a query (`price.month_fees`), a pool's divided among its owners as its
offer says.  Nothing else goes in: no running balance, no counter of the daemon's.

A receipt counts if its session was *released* here.  One that ended `withheld` here does not; one that is still
`recorded` is listed as open and counts in the statement that is made when it was settled.  A correction is an entry
that an owner signs: so much less, or more, for one licence in one month, and why.  Past receipts are never changed.

A compute party in league with the analyst can acknowledge to one party and not to another, so that the first releases
and the second withholds, and open the answer from two parts.  The second then leaves out what is owed: comparing the
statements names the receipt (released there, withheld here), and a correction, signed by the owner, books it.

*Checks.*  Whoever holds a licence's deed can see whether its lines keep to its prices: no more free queries than
granted, no query above the price, no month above its maximum.  `problems` says what does not.

Where two parties' statements differ, `reconcile.py` says.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self, cast

from mpcd import canonical, limits
from mpcd.errors import PeerMalformed, RequestInvalid
from mpcd.governance import money
from mpcd.governance.audit import plain_cell
from mpcd.governance.licence import Deed
from mpcd.governance.price import FeeKind, Month, month_fees
from mpcd.governance.quote import Line
from mpcd.governance.receipt import Receipt, SignedReceipt, typed
from mpcd.identity import IdentityError, SigningKey, VerifyKey
from mpcd.ids import PartyId, SessionId

STATEMENT_VERSION: Final = 1
CORRECTION_FACTOR_MAX: Final = 100
"""A charge beyond so many times what a month comes to is taken for a slip of the pen."""
_TIME_END: Final = 2**47
"""Milliseconds since 1970: no session and no correction is of the year 6429 or later."""
CORRECTION_DOMAIN: Final = "receipt-correction"
RECEIPT_NAME_DOMAIN: Final = "receipt-name"
Standing = Literal["released", "recorded", "withheld"]


@dataclass(frozen=True, slots=True)
class Settled:
    """One receipt with what became of its session at the party that makes the statement."""

    signed: SignedReceipt
    receipt: Receipt
    standing: Standing

    @property
    def name(self) -> bytes:
        """Digest of the receipt itself, whoever signed it first."""
        return canonical.digest_bytes(RECEIPT_NAME_DOMAIN, self.signed.receipt)


class Listed(NamedTuple):
    """One receipt in a statement's list."""

    session: SessionId
    name: bytes
    at: int
    standing: Standing
    parties: tuple[PartyId, ...]
    """Who took part, and so holds the same receipt."""


class Known(NamedTuple):
    """One licence whose deed the maker of a statement holds: who pays, and whose fees it can tell."""

    licence: bytes
    owners: tuple[PartyId, ...]
    currency: str
    licensee: str
    tax_id: str
    begins_at: int
    until: int
    """The first moment at which it is no longer in force, milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One query's price for one owner."""

    session: SessionId
    at: int
    party: PartyId
    licence: bytes
    analyst: bytes
    currency: str
    minor: int
    free: bool
    capped: bool


@dataclass(frozen=True, slots=True)
class FeeDue:
    """One fee of one licence for one owner."""

    party: PartyId
    licence: bytes
    kind: FeeKind
    currency: str
    minor: int
    days: int


@dataclass(frozen=True, slots=True)
class Correction:
    """An owner's signed word that a licence's month is to be paid differently; negative is a credit."""

    party: PartyId
    licence: bytes
    month: Month
    currency: str
    minor: int
    reason: str
    at: int
    signature: bytes

    @classmethod
    def make(
        cls,
        party: PartyId,
        key: SigningKey,
        *,
        licence: bytes,
        month: Month,
        currency: str,
        minor: int,
        reason: str,
        at: int,
    ) -> Self:
        """Signed by the owner `party`; raises `RequestInvalid` if it makes no sense."""
        body = _correction_bytes(party, licence, month, currency, minor, reason, at)
        return cls(party, licence, month, currency, minor, reason, at, key.sign(CORRECTION_DOMAIN, body))

    def __post_init__(self) -> None:
        good = (
            self.currency in money.EXPONENTS
            and 0 < abs(self.minor) <= limits.AMOUNT_MINOR_UNITS_MAX
            and 0 < len(self.reason) <= limits.CORRECTION_CHARACTERS_MAX
            and len(self.licence) == canonical.DIGEST_BYTES
            and 0 <= self.at < _TIME_END
        )
        if not good:
            raise RequestInvalid("a correction names a licence, an ISO 4217 currency, an amount and a short reason")

    def verify(self, key: VerifyKey) -> None:
        """Raise `PeerMalformed` unless its party signed it."""
        body = _correction_bytes(self.party, self.licence, self.month, self.currency, self.minor, self.reason, self.at)
        try:
            key.verify(CORRECTION_DOMAIN, body, self.signature)
        except IdentityError as error:
            raise PeerMalformed(self.party, "a correction is not signed by the party that it names") from error

    def to_bytes(self) -> bytes:
        """As it is stored and sent."""
        body = _correction_bytes(self.party, self.licence, self.month, self.currency, self.minor, self.reason, self.at)
        return canonical.encode({"correction": body, "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; the signature is not checked; raises `RequestInvalid`."""
        try:
            outer = cast("dict[str, bytes]", canonical.decode(data))
            fields = cast("dict[str, object]", canonical.decode(outer["correction"]))
            return cls(
                PartyId(typed(fields["party"], int)),
                typed(fields["licence"], bytes),
                Month.parse(typed(fields["month"], str)),
                typed(fields["currency"], str),
                typed(fields["minor"], int),
                typed(fields["reason"], str),
                typed(fields["at"], int),
                typed(outer["signature"], bytes),
            )
        except (canonical.CanonicalError, KeyError, TypeError, ValueError) as error:
            raise RequestInvalid("this is no correction") from error


def _correction_bytes(
    party: PartyId, licence: bytes, month: Month, currency: str, minor: int, reason: str, at: int
) -> bytes:
    return canonical.encode(
        {
            "party": int(party),
            "licence": licence,
            "month": str(month),
            "currency": currency,
            "minor": minor,
            "reason": reason,
            "at": at,
        }
    )


@dataclass(frozen=True, slots=True)
class Statement:
    """One month as one party sees it."""

    party: PartyId
    """Who made it."""
    consortium: str
    month: Month
    receipts: tuple[Listed, ...]
    """Every receipt of the month, in order of time."""
    charges: tuple[Charge, ...]
    fees: tuple[FeeDue, ...]
    corrections: tuple[Correction, ...]
    problems: tuple[str, ...]
    """Where lines do not keep to the prices of a licence whose deed is at hand."""
    known: tuple[Known, ...] = ()
    """Licences in force in the month whose deeds are at hand, by name; of others only charges are known here."""

    def knows_fees(self, party: PartyId, licence: bytes) -> bool:
        """Whether the fees of this licence for this owner can be told here: only from its deed."""
        return any(one.licence == licence and party in one.owners for one in self.known)

    def totals(self) -> dict[tuple[PartyId, bytes, str], int]:
        """Minor units by owner, licence and currency."""
        sums: dict[tuple[PartyId, bytes, str], int] = defaultdict(int)
        items: tuple[Charge | FeeDue | Correction, ...] = (*self.charges, *self.fees, *self.corrections)
        for item in items:
            sums[item.party, item.licence, item.currency] += item.minor
        return dict(sorted(sums.items()))

    def owed_to(self, party: PartyId) -> dict[str, int]:
        """Minor units owed to one owner, by currency."""
        sums: dict[str, int] = defaultdict(int)
        for (owner, _, currency), minor in self.totals().items():
            if owner == party:
                sums[currency] += minor
        return dict(sums)

    def to_value(self) -> dict[str, canonical.Value]:
        """For JSON (bytes as hexadecimal there): every row, and the totals as decimals beside minor units."""
        return {
            "version": STATEMENT_VERSION,
            "party": int(self.party),
            "consortium": self.consortium,
            "month": str(self.month),
            "receipts": [
                [row.session, row.name, row.at, row.standing, [int(party) for party in row.parties]]
                for row in self.receipts
            ],
            "charges": [
                {
                    "session": one.session,
                    "at": one.at,
                    "party": int(one.party),
                    "licence": one.licence,
                    "analyst": one.analyst,
                    "currency": one.currency,
                    "minor": one.minor,
                    "free": one.free,
                    "capped": one.capped,
                }
                for one in self.charges
            ],
            "fees": [
                {
                    "party": int(fee.party),
                    "licence": fee.licence,
                    "kind": fee.kind,
                    "currency": fee.currency,
                    "minor": fee.minor,
                    "days": fee.days,
                }
                for fee in self.fees
            ],
            "corrections": [one.to_bytes() for one in self.corrections],
            "totals": [
                {
                    "party": int(party),
                    "licence": licence,
                    "currency": currency,
                    "minor": minor,
                    "amount": money.number(minor, currency),
                }
                for (party, licence, currency), minor in self.totals().items()
            ],
            "problems": list(self.problems),
            "licences": [
                {
                    "licence": one.licence,
                    "owners": [int(owner) for owner in one.owners],
                    "currency": one.currency,
                    "licensee": one.licensee,
                    "tax_id": one.tax_id,
                    "begins_at": one.begins_at,
                    "until": one.until,
                }
                for one in self.known
            ],
        }

    @classmethod
    def from_value(cls, value: canonical.Value) -> Self:
        """The inverse of `to_value`, for reconciliation; raises `RequestInvalid`."""
        try:
            fields = cast("dict[str, list[dict[str, object]]]", value)
            receipts = cast("list[list[object]]", fields["receipts"])
            return cls(
                party=PartyId(cast("int", fields["party"])),
                consortium=cast("str", fields["consortium"]),
                month=Month.parse(cast("str", fields["month"])),
                receipts=tuple(_receipt_row(*row) for row in receipts),
                charges=tuple(_charge(row) for row in fields["charges"]),
                fees=tuple(_fee(row) for row in fields["fees"]),
                corrections=tuple(Correction.from_bytes(cast("bytes", data)) for data in fields["corrections"]),
                problems=tuple(typed(problem, str) for problem in fields["problems"]),
                known=tuple(_known(row) for row in fields["licences"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestInvalid(
                "this is no statement of a month; make it with `mpcctl statement --month ... --json`"
            ) from error

    def csv_text(self) -> str:
        """One row for each charge, fee and correction; amounts as decimals."""
        out = _Text()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["kind", "party", "licence", "analyst", "session", "utc", "currency", "amount", "remark"])
        for one in self.charges:
            remark = "free query" if one.free else "monthly maximum" if one.capped else ""
            row = ["query", int(one.party), one.licence.hex(), one.analyst.hex(), one.session.hex(), utc(one.at)]
            writer.writerow([*row, one.currency, money.number(one.minor, one.currency), remark])
        for fee in self.fees:
            row = [fee.kind, int(fee.party), fee.licence.hex(), "", "", str(self.month)]
            writer.writerow([*row, fee.currency, money.number(fee.minor, fee.currency), f"{fee.days} days"])
        for fix in self.corrections:
            row = ["correction", int(fix.party), fix.licence.hex(), "", "", utc(fix.at)]
            writer.writerow([*row, fix.currency, money.number(fix.minor, fix.currency), plain_cell(fix.reason)])
        return "".join(out.pieces)


def make(
    party: PartyId,
    consortium: str,
    month: Month,
    settled: Iterable[Settled],
    deeds: Sequence[Deed],
    corrections: Iterable[Correction],
    keys: Mapping[PartyId, VerifyKey],
    *,
    shared_with: PartyId | None = None,
) -> Statement:
    """The statement of one month.

    Args:
        party: who makes it.
        consortium: of the roster.
        month: UTC.
        settled: receipts of the month, at least; others are left out.
        deeds: the licences that this party knows.
        corrections: that this party knows.
        keys: of the parties in the roster; every line's signature is checked again.
        shared_with: leave out what this party does not hold anyway: receipts of sessions without it, licences that it
            has no part in.

    Raises:
        RequestInvalid: a line in a receipt is not signed by its owner.
    """
    own = sorted(
        (
            one
            for one in settled
            if Month.of(one.receipt.at) == month and (shared_with is None or shared_with in one.receipt.parties)
        ),
        key=lambda one: (one.receipt.at, one.name),
    )
    if shared_with is not None:
        deeds = [deed for deed in deeds if shared_with in deed.agreement.offer.owners]
        names = {deed.agreement.digest for deed in deeds}
        corrections = [one for one in corrections if one.licence in names or one.party == shared_with]
    charges = tuple(charge for one in own if one.standing == "released" for charge in _charges(one.receipt, keys))
    fees = tuple(fee for deed in deeds for fee in _fees(deed, month, charges))
    problems = tuple(problem for deed in deeds for problem in _problems(deed, month, charges))
    fixes = sorted((one for one in corrections if one.month == month), key=lambda one: (one.at, one.signature))
    rows = tuple(
        Listed(one.receipt.session, one.name, one.receipt.at, one.standing, one.receipt.parties) for one in own
    )
    known = tuple(
        sorted(
            _known_of(deed) for deed in deeds if deed.agreement.begins_at < month.end_ms and deed.until > month.start_ms
        )
    )
    return Statement(party, consortium, month, rows, charges, fees, tuple(fixes), problems, known)


def _known_of(deed: Deed) -> Known:
    agreement = deed.agreement
    return Known(
        agreement.digest,
        tuple(agreement.offer.owners),
        agreement.offer.price.currency,
        agreement.acceptance.licensee,
        agreement.acceptance.tax_id,
        agreement.begins_at,
        deed.until,
    )


def _charges(receipt: Receipt, keys: Mapping[PartyId, VerifyKey]) -> list[Charge]:
    charges = []
    for party, signed in receipt.lines:
        line = Line.from_signed(cast("bytes", signed), keys)
        if line.party != party or line.question != receipt.question_digest:
            raise RequestInvalid(f"receipt {receipt.session.hex()[:16]} has a price line of another party or question")
        charges.append(
            Charge(
                receipt.session,
                receipt.at,
                line.party,
                line.licence,
                receipt.analyst,
                line.currency,
                line.minor,
                line.free,
                line.capped,
            )
        )
    return charges


def _fees(deed: Deed, month: Month, charges: Sequence[Charge]) -> list[FeeDue]:
    agreement = deed.agreement
    name, offer = agreement.digest, agreement.offer
    used = any(charge.licence == name for charge in charges)
    due = month_fees(agreement.rate, month, accepted_ms=agreement.begins_at, until_ms=deed.until, used=used)
    return [
        FeeDue(owner, name, fee.kind, offer.price.currency, share, fee.days)
        for fee in due
        for owner, share in offer.share(fee.minor).items()
    ]


def _problems(deed: Deed, month: Month, charges: Sequence[Charge]) -> list[str]:
    """What the lines of one licence say that its prices do not."""
    agreement = deed.agreement
    rate, offer, name = agreement.rate, agreement.offer, agreement.digest
    by_session: dict[bytes, list[Charge]] = defaultdict(list)
    for charge in charges:
        if charge.licence == name:
            by_session[charge.session].append(charge)
    label = f"licence {name.hex()[:16]}"
    found = [
        f"{label}: session {session.hex()[:16]} is charged above the price of a query"
        for session, lines in by_session.items()
        if sum(line.minor for line in lines) > rate.per_query
    ]
    free = sum(all(line.free for line in lines) for lines in by_session.values())
    if rate.free_period == "month" and free > rate.free_queries:
        found.append(f"{label}: {free} free queries in {month}, {rate.free_queries} are granted")
    charged = sum(line.minor for lines in by_session.values() for line in lines)
    if rate.queries_max is not None and charged > rate.queries_max:
        ceiling = money.amount(rate.queries_max, offer.price.currency)
        found.append(f"{label}: queries of {month} are charged above the monthly maximum of {ceiling}")
    owners = {line.party for lines in by_session.values() for line in lines}
    found += [
        f"{label}: party {owner} charges under it and is none of its owners"
        for owner in sorted(owners - set(offer.owners))
    ]
    return found


# ------------------------------------------------------------------------------------------------ corrections


def correction_problem(
    deed: Deed, month_so_far: Statement, party: PartyId, month: Month, currency: str, minor: int
) -> str | None:
    """Why an owner had better not sign this correction of a licence of its own; nothing if it makes sense.

    Args:
        deed: the licence's.
        month_so_far: this party's statement of `month`.
        party: the owner that corrects.
        month: to be corrected.
        currency: of the correction.
        minor: in minor units; negative is a credit.
    """
    agreement = deed.agreement
    name, own = agreement.digest.hex()[:16], agreement.offer.price.currency
    if currency != own:
        return f"licence {name} is in {own}; write the correction in {own}"
    if not (agreement.begins_at < month.end_ms and deed.until > month.start_ms):
        return f"licence {name} was not in force in {month}"
    owed = month_so_far.totals().get((party, agreement.digest, currency), 0)
    if owed + minor < 0:
        return f"the credit is more than what {month} comes to under licence {name}, {money.amount(owed, currency)}"
    if minor > max(owed, CORRECTION_FACTOR_MAX * max(owed, 1)):
        return f"the correction is more than {CORRECTION_FACTOR_MAX} times what {month} comes to; check the amount"
    return None


# ------------------------------------------------------------------------------------------------ forms


def utc(milliseconds: int) -> str:
    """A time for people: `2026-11-22T10:15:00Z`."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class _Text:
    """What `csv` writes, piece by piece; no file."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, piece: str) -> None:
        self.pieces.append(piece)


def _receipt_row(session: object, name: object, at: object, standing: object, parties: object) -> Listed:
    if standing not in {"released", "recorded", "withheld"}:
        raise TypeError
    return Listed(
        SessionId(typed(session, bytes)),
        typed(name, bytes),
        _moment(at),
        standing,
        tuple(PartyId(typed(party, int)) for party in typed(parties, list)),
    )


def _charge(row: Mapping[str, object]) -> Charge:
    return Charge(
        SessionId(typed(row["session"], bytes)),
        _moment(row["at"]),
        PartyId(typed(row["party"], int)),
        typed(row["licence"], bytes),
        typed(row["analyst"], bytes),
        _currency(row["currency"]),
        typed(row["minor"], int),
        free=typed(row["free"], bool),
        capped=typed(row["capped"], bool),
    )


def _fee(row: Mapping[str, object]) -> FeeDue:
    return FeeDue(
        PartyId(typed(row["party"], int)),
        typed(row["licence"], bytes),
        cast("FeeKind", typed(row["kind"], str)),
        _currency(row["currency"]),
        typed(row["minor"], int),
        typed(row["days"], int),
    )


def _moment(value: object) -> int:
    if not 0 <= typed(value, int) < _TIME_END:
        raise ValueError
    return typed(value, int)


def _currency(value: object) -> str:
    money.exponent(typed(value, str))
    return typed(value, str)


def _known(row: Mapping[str, object]) -> Known:
    return Known(
        typed(row["licence"], bytes),
        tuple(PartyId(typed(owner, int)) for owner in typed(row["owners"], list)),
        typed(row["currency"], str),
        typed(row["licensee"], str),
        typed(row["tax_id"], str),
        typed(row["begins_at"], int),
        typed(row["until"], int),
    )
