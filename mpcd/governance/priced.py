"""A licence's price in an owner's decision: the line that it signs, and the line that it signed before (pure).

Asked for a quote, an owner says what the query costs now.  Asked to run it, it wants to see its own signed line again
(`quote.accepted_line`) wherever something is to be paid: the analyst's signature on the request is then a signature on
the price.  What was quoted is the price, whatever has happened since, for as long as the line is valid and the licence
that it names still covers the request; only where free queries or the room below the monthly maximum were used up
meanwhile does the transaction that books them say no.

A query that costs nothing needs no quote; it has a line all the same, so that receipts count it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mpcd import limits
from mpcd.errors import Refusal, RequestInvalid
from mpcd.governance import money
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.cover import RULE, Coverage, Held, Spent, cover, price_debits
from mpcd.governance.entries import Debit
from mpcd.governance.price import Month, QueryPrice, month_fees
from mpcd.governance.quote import Line, accepted_line
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId


def licensed(
    held: Iterable[Held],
    asked: Asked,
    spent: Spent,
    keys: Mapping[PartyId, VerifyKey],
    *,
    rho: int | None = None,
    tables: Collection[str] = (),
) -> Decision:
    """What this owner's licences say to a request.

    Args:
        held: what this owner holds of the analyst's licences.
        asked: about tables that are given under licence alone.
        spent: of this owner's accounts.
        keys: of all parties.
        rho: what the request takes of a privacy budget.
        tables: of `asked`, those under licence; all without it.
    """
    known = list(held)
    meant = tables or asked.tables
    try:
        accepted = accepted_line(
            asked.attachments.get("quote"), asked.quote_digest, asked.party, keys, asked.question_digest, asked.at
        )
    except RequestInvalid as error:
        message = f"party {asked.party}: {error}"
        return Decision(refusals=(Refusal(asked.party, "quote", "the quote", message),))
    if accepted is not None:
        # The line names its licence, so no other one may be what it is booked on.
        known = [one for one in known if one.digest == accepted[0].licence]
    found = cover(known, asked, meant, spent, rho=rho)
    if not isinstance(found, Coverage):
        return Decision(refusals=found)
    if accepted is not None:
        return _as_quoted(found, asked, accepted[0], _used_once(asked))
    line = line_of(found, asked, spent)
    if asked.kind == "sql" and found.price.minor + line.month_minor > 0:
        price = money.amount(found.share, found.currency)
        monthly = money.amount(line.month_minor, found.currency)
        month = f" and {monthly} for the month, of which it is the first query," if line.month_minor else ""
        message = (
            f"party {asked.party} asks {price} for this query{month} under your licence {found.held.name}; "
            "get a quote and accept it (mpcctl quote, then mpcctl sql --accept)"
        )
        return Decision(refusals=(Refusal(asked.party, RULE, price, message),))
    return Decision(debits=found.debits, line=line)


def line_of(found: Coverage, asked: Asked, spent: Spent) -> Line:
    """This owner's price for the question, from now on for as long as quotes hold."""
    agreement = found.held.agreement
    return Line(
        party=asked.party,
        question=asked.question_digest,
        licence=found.licence,
        currency=found.currency,
        minor=found.share,
        rate_class=agreement.acceptance.rate_class,
        free=found.price.free,
        capped=found.price.capped,
        pool_minor=found.price.minor if found.split is not None else None,
        tax=dict(agreement.offer.tax),
        valid_until=min(asked.at + limits.QUOTE_VALID_SECONDS * 1000, found.held.until - 1),
        month_minor=_month_share(found, asked, spent),
    )


def _month_share(found: Coverage, asked: Asked, spent: Spent) -> int:
    """This party's share of the monthly fee, if no query of the month has made it due yet."""
    month, one = Month.of(asked.at), found.held
    if spent(one.account("queries"), month.start_ms) > 0:
        return 0
    agreement = one.agreement
    fees = month_fees(agreement.rate, month, accepted_ms=agreement.begins_at, until_ms=one.until, used=True)
    due = sum(fee.minor for fee in fees if fee.kind == "per_month")
    return agreement.offer.share(due)[asked.party] if due else 0


def _used_once(asked: Asked) -> Debit:
    """A quote is accepted by one request: whoever repeats a command does not pay twice unasked."""
    assert asked.quote_digest is not None
    message = f"party {asked.party}: this quote was used before; get a new one, and pay again only if you mean to"
    refusal = Refusal(asked.party, "quote", "the quote", message)
    return Debit(f"quote {asked.quote_digest.hex()}", 1, 1, refusal)


def _as_quoted(found: Coverage, asked: Asked, line: Line, once: Debit) -> Decision:
    """Book what our own line says, and nothing else."""
    price = QueryPrice(line.minor if line.pool_minor is None else line.pool_minor, line.free, line.capped)
    month = Month.of(asked.at)
    changed = {debit.account for debit in price_debits(found.held, asked.party, month, found.price)}
    kept = tuple(debit for debit in found.debits if debit.account not in changed)
    return Decision(debits=(once, *kept, *price_debits(found.held, asked.party, month, price)), line=line)
