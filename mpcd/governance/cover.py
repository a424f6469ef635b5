"""Whether a licence covers a request at one owner, what the query costs under it, and which duties it brings (pure).

Each owner asks this for itself, about the licences that it holds itself.  One licence must cover the whole of a
request's tables that this owner gives under licence: two licences for the two halves of a join would make two prices
for one answer.  Where several cover it, a pool's goes before an owner's own (or it would be paid twice), then the
cheapest, then the one that ends first; every owner of a pool comes to the same one.

What is used is counted in debits, which `commit_agreed` books and an abort without an opening gives back:

    licence/<digest>/queries            one per query: the quota
    licence/<digest>/free[/<month>]     one per free query: of the whole term, or of the month by the session's time
    licence/<digest>/charged/<month>    the price: the monthly maximum
    licence/<digest>/rho                privacy loss, where the licence has a budget of it

Each has the limit that its price was reckoned with, so that two sessions at once cannot both have the last free query.

Refusals name licences of the analyst who asks and tables that they asked about, nothing else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mpcd.errors import Refusal
from mpcd.governance import purposes
from mpcd.governance.asked import Asked
from mpcd.governance.entries import Debit
from mpcd.governance.licence import Agreement
from mpcd.governance.offer import DutyCode, Quota, offer_name
from mpcd.governance.price import Counters, Month, QueryPrice, price_query
from mpcd.ids import PartyId

Spent = Callable[[str, int | None], int]
"""What was taken from an account, refunds off: in all for None, or by sessions agreed at or after that time."""

_DAY_MS: Final = 86_400_000
_RECENT_MS: Final = 7 * _DAY_MS
"""So long after its end a licence is named in refusals beside those in force."""
RULE: Final = "licence"
_CLOSEST_SHOWN: Final = 4
"""Licences that lack equally little, of which a refusal speaks."""


@dataclass(frozen=True, slots=True)
class Held:
    """A licence as its owner keeps it, verified when it was taken in."""

    digest: bytes
    agreement: Agreement
    revoked_at: int | None = None
    complete: bool = True
    """Whether all its owners are known to hold it."""

    @property
    def name(self) -> str:
        """What people call it."""
        return offer_name(self.digest)

    @property
    def until(self) -> int:
        """The first moment at which it is no longer in force."""
        return self.agreement.ends_at if self.revoked_at is None else min(self.agreement.ends_at, self.revoked_at)

    def account(self, *parts: str) -> str:
        """The name of one of its accounts."""
        return "/".join(("licence", self.digest.hex(), *parts))


@dataclass(frozen=True, slots=True)
class Coverage:
    """The licence that covers a request, and what one query costs under it."""

    held: Held
    price: QueryPrice
    """Of the whole licence: a pool's price is that of all its owners together."""
    share: int
    """This owner's part of the price, in minor units."""
    split: Mapping[PartyId, int] | None
    """A pool's price by owner; None for an owner's own licence."""
    debits: tuple[Debit, ...]

    @property
    def currency(self) -> str:
        """Of price, share and split."""
        return self.held.agreement.offer.price.currency

    @property
    def licence(self) -> bytes:
        """The licence's digest."""
        return self.held.digest


def cover(
    held: Iterable[Held], asked: Asked, tables: Collection[str], spent: Spent, *, rho: int | None = None
) -> Coverage | tuple[Refusal, ...]:
    """The licence that covers `asked`, or why none does.

    Args:
        held: what this owner has of the analyst's licences, those of keys that the analyst's replaced, and ended ones
            perhaps, among them.
        asked: the request.
        tables: those of its tables that this owner gives under licence alone; at least one.
        spent: of this owner's accounts.
        rho: what the request takes of a privacy budget, in units of 10^-12; None for exact numbers.
    """
    assert tables
    found: list[tuple[Held, QueryPrice]] = []
    lacking: list[tuple[Refusal, ...]] = []
    over: list[Held] = []
    for one in held:
        if not set(tables) & set(one.agreement.offer.tables):
            continue
        if _out_of_force(one, asked.at) is not None:
            over.append(one)
            continue
        refusals = _problems(one, asked, tables, spent, rho)
        if refusals:
            lacking.append(refusals)
        else:
            found.append((one, price_query(one.agreement.rate, counters(one, Month.of(asked.at), spent))))
    if found:
        return _coverage(*min(found, key=_preference), asked, rho)
    ended = _last(over, asked, or_older=not lacking)
    if not lacking:
        return ended or tuple(_missing(asked.party, table) for table in sorted(tables))
    fewest = min(len(refusals) for refusals in lacking)
    closest = [refusals for refusals in lacking if len(refusals) == fewest]
    return (*ended, *(refusal for refusals in closest[:_CLOSEST_SHOWN] for refusal in refusals))


def _last(over: Collection[Held], asked: Asked, *, or_older: bool) -> tuple[Refusal, ...]:
    """Of licences out of force the last alone, if that was not long ago: who renewed it often need not read of each."""
    last = max(over, key=lambda one: (not one.complete and one.revoked_at is None, one.until, one.digest), default=None)
    if last is None or not (or_older or last.until > asked.at - _RECENT_MS):
        return ()
    return (_refusal(asked.party, last, str(_out_of_force(last, asked.at))),)


def _preference(candidate: tuple[Held, QueryPrice]) -> tuple[bool, int, int, bytes]:
    one, price = candidate
    return not one.agreement.offer.pool, price.minor, one.until, one.digest


def _missing(party: PartyId, table: str) -> Refusal:
    message = (
        f"party {party} gives `{table}` under licence alone, and you hold none of it; "
        "see what is offered (mpcctl licence offers) and accept one, or ask that owner"
    )
    return Refusal(party, RULE, table, message)


# ------------------------------------------------------------------------------------------------ reasons


def _problems(one: Held, asked: Asked, tables: Collection[str], spent: Spent, rho: int | None) -> tuple[Refusal, ...]:
    """Why `one` does not cover the request; nothing if it does."""
    party = asked.party
    reasons = [
        *_scope_problems(one, asked, tables),
        *_who_problems(one, asked),
        *_data_problems(one, asked, tables),
        *_amount_problems(one, asked, spent, rho),
    ]
    return tuple(_refusal(party, one, reason) for reason in reasons)


def _refusal(party: PartyId, one: Held, reason: str) -> Refusal:
    return Refusal(party, RULE, one.name, f"party {party}: your licence {one.name} {reason}")


def _out_of_force(one: Held, at: int) -> str | None:
    """Why the licence is not in force, and what to do; nothing if it is."""
    if one.revoked_at is not None:
        return f"was revoked on {_date(one.revoked_at)}; accept another offer (mpcctl licence offers)"
    if at >= one.agreement.ends_at:
        return f"ended on {_date(one.agreement.ends_at)}; accept a new one (mpcctl licence offers)"
    if not one.complete:
        offer = offer_name(one.agreement.offer.digest)
        return (
            "is not in force: not every owner of the pool is known to hold it; run `mpcctl licence accept "
            f"{offer}` again"
        )
    if at < one.agreement.begins_at:
        return "begins later than this session; check the clocks"
    return None


def _scope_problems(one: Held, asked: Asked, tables: Collection[str]) -> list[str]:
    offer = one.agreement.offer
    reasons = [
        f"does not cover `{table}`; one licence must cover all tables of a request"
        for table in sorted(set(tables) - set(offer.tables))
    ]
    for path, verbs in sorted(asked.uses.items()):
        table, _, column = path.partition(".")
        grant = offer.grant(table)
        if table in tables and grant is not None:
            refused = sorted(verb for verb in verbs if not grant.allows(column, verb))
            reasons += [f"does not cover the use of `{path}` for `{verb}`" for verb in refused]
    if offer.functions is not None:
        missing = sorted(asked.functions - set(offer.functions))
        reasons += [f"does not cover the function {name} (it covers: {', '.join(offer.functions)})" for name in missing]
    if not any(purposes.permits(permission, asked.purpose) for permission in offer.purposes):
        reasons.append(f"is not for the purpose {asked.purpose} (it is for: {', '.join(offer.purposes)})")
    if offer.pool and set(asked.owners) != set(offer.owners):
        reasons.append("is of a pool, and covers requests over the data of all its owners together alone")
    return reasons


def _who_problems(one: Held, asked: Asked) -> list[str]:
    reasons = []
    facts = asked.facts
    if not one.agreement.offer.commercial and facts.commercial is not False:
        reasons.append("is for non-commercial use, and this owner does not know your use to be that")
    reduced = one.agreement.acceptance.rate_class == "reduced"
    if reduced and facts.rate_class != "reduced":
        reasons.append("has the reduced rate, to which this owner no longer finds you entitled")
    return reasons


def _data_problems(one: Held, asked: Asked, tables: Collection[str]) -> list[str]:
    offer = one.agreement.offer
    if offer.newer_versions:
        return []
    covered = {table: version for party, table, version in offer.versions if party == asked.party}
    return [
        f"covers the data of `{table}` as it was when the licence was offered, and newer data is published since"
        for table in sorted(set(tables) & asked.data_versions.keys())
        if covered.get(table) != asked.data_versions[table]
    ]


def _amount_problems(one: Held, asked: Asked, spent: Spent, rho: int | None) -> list[str]:
    offer = one.agreement.offer
    reasons = []
    quota, budget = offer.quota, offer.budget_rho
    if quota is not None and spent(one.account("queries"), _window(quota, asked.at)) >= quota.queries:
        reasons.append(_quota_text(quota))
    if budget is not None and rho is None:
        reasons.append("allows noisy answers alone; ask with --epsilon")
    elif budget is not None and spent(one.account("rho"), None) + (rho or 0) > budget:
        reasons.append(_BUDGET_TEXT)
    return reasons


_BUDGET_TEXT: Final = "has less of its privacy budget left than this request takes; ask with a smaller epsilon"


def _quota_text(quota: Quota) -> str:
    return f"is used up for now: its quota is {quota.queries} in any {quota.days} days"


def _window(quota: Quota, at: int) -> int:
    return max(at - quota.days * _DAY_MS, 0)


# ------------------------------------------------------------------------------------------------ price and debits


def counters(one: Held, month: Month, spent: Spent) -> Counters:
    """What the licence has used, as far as the price of its next query in `month` depends on it."""
    rate = one.agreement.rate
    return Counters(
        spent(_free_account(one, month), None) if rate.free_queries else 0,
        spent(one.account("charged", str(month)), None) if rate.max_per_month is not None else 0,
    )


def _free_account(one: Held, month: Month) -> str:
    return one.account("free") if one.agreement.rate.free_period == "term" else one.account("free", str(month))


def _coverage(one: Held, price: QueryPrice, asked: Asked, rho: int | None) -> Coverage:
    offer = one.agreement.offer
    parts = offer.share(price.minor)
    debits = [_query_debit(one, asked), *price_debits(one, asked.party, Month.of(asked.at), price)]
    if offer.budget_rho is not None and rho is not None:
        refusal = _refusal(asked.party, one, _BUDGET_TEXT)
        debits.append(Debit(one.account("rho"), rho, offer.budget_rho, refusal))
    return Coverage(one, price, parts[asked.party], parts if offer.pool else None, tuple(debits))


def _query_debit(one: Held, asked: Asked) -> Debit:
    quota = one.agreement.offer.quota
    if quota is None:
        return Debit(one.account("queries"), 1, None)
    refusal = _refusal(asked.party, one, _quota_text(quota))
    return Debit(one.account("queries"), 1, quota.queries, refusal, _window(quota, asked.at))


def price_debits(one: Held, party: PartyId, month: Month, price: QueryPrice) -> tuple[Debit, ...]:
    """What a query at `price` takes; refused where the price no longer holds."""
    rate = one.agreement.rate
    refusal = _refusal(party, one, "was used meanwhile, and this query has another price now; ask for a new quote")
    if price.free:
        return (Debit(_free_account(one, month), 1, rate.free_queries, refusal),)
    return (Debit(one.account("charged", str(month)), price.minor, rate.queries_max, refusal),)


# ------------------------------------------------------------------------------------------------ duties

DutyState = Literal["to come", "in force", "due", "met", "over"]


@dataclass(frozen=True, slots=True)
class Obligation:
    """One duty of one licence, with its date."""

    licence: bytes
    analyst: bytes
    code: DutyCode
    due_at: int
    """When it is due; for MOR, when the moratorium ends."""
    state: DutyState


def obligations(one: Held, met: Mapping[str, int], now_ms: int) -> list[Obligation]:
    """The duties of a licence, the earliest first.

    Args:
        one: in force or ended.
        met: by code, when the owner found a duty fulfilled.
        now_ms: the owner's clock.
    """
    found = []
    for duty in one.agreement.offer.duties:
        start = one.agreement.begins_at if duty.start == "acceptance" else one.until
        due = start + duty.days * _DAY_MS
        state: DutyState
        if duty.code == "MOR":
            state = "in force" if now_ms < due else "over"
        elif duty.code in met:
            state = "met"
        else:
            state = "to come" if now_ms < due else "due"
        found.append(Obligation(one.digest, one.agreement.analyst, duty.code, due, state))
    return sorted(found, key=lambda obligation: (obligation.due_at, obligation.code))


def _date(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
