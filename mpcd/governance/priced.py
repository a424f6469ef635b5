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
from mpcd.governance.price import Month, QueryPrice
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
        return _as_quoted(found, asked, accepted[0])
    line = line_of(found, asked)
    if asked.kind == "sql" and found.price.minor > 0:
        price = money.amount(found.price.minor, found.currency)
        message = (
            f"party {asked.party} asks {price} for this query under your licence {found.held.name}; "
            "get a quote and accept it (mpcctl quote, then mpcctl sql --accept)"
        )
        return Decision(refusals=(Refusal(asked.party, RULE, price, message),))
    return Decision(debits=found.debits, line=line)


def line_of(found: Coverage, asked: Asked) -> Line:
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
    )


def _as_quoted(found: Coverage, asked: Asked, line: Line) -> Decision:
    """Book what our own line says, and nothing else."""
    price = QueryPrice(line.minor if line.pool_minor is None else line.pool_minor, line.free, line.capped)
    month = Month.of(asked.at)
    changed = {debit.account for debit in price_debits(found.held, asked.party, month, found.price)}
    kept = tuple(debit for debit in found.debits if debit.account not in changed)
    return Decision(debits=(*kept, *price_debits(found.held, asked.party, month, price)), line=line)
