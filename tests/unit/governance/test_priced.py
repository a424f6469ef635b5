from __future__ import annotations

from dataclasses import replace

from mpcd import limits
from mpcd.governance.asked import Asked, Decision
from mpcd.governance.cover import Held
from mpcd.governance.offer import Offer
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.price import PricePlan, Rate
from mpcd.governance.priced import licensed
from mpcd.governance.quote import Line, Quote
from mpcd.identity.request import RequestKind
from mpcd.ids import PartyId, RequestDigest
from mpcd.testing.licensing import DAY_MS, MADE_AT, accepted, key, offer, party_key, party_keys, pool

AT = MADE_AT + DAY_MS
KEYS = party_keys()
QUESTION = b"q" * 32


def asked(kind: RequestKind = "sql", quote: Quote | None = None, at: int = AT) -> Asked:
    return Asked(
        party=PartyId(1),
        analyst=key("anna").public,
        kind=kind,
        tables=("gbsg2",),
        uses={},
        functions=frozenset({"count"}),
        purpose="HMB",
        security="malicious",
        request_digest=RequestDigest(bytes(32)),
        question_digest=QUESTION,
        data_versions={},
        at=at,
        owners=(PartyId(1), PartyId(2)),
        quote_digest=None if quote is None else quote.digest(),
        attachments={} if quote is None else {"quote": quote.to_bytes()},
        accepted=AcceptedAnalyst("Anna", key("anna").public, None, AnalystFacts("Anna", commercial=False)),
    )


def held(made: Offer) -> Held:
    licence = accepted(made)
    return Held(licence.digest, licence)


def decide(one: Held, request: Asked, used: dict[str, int] | None = None) -> Decision:
    books = {one.account(*account.split("_")): amount for account, amount in (used or {}).items()}
    return licensed([one], request, lambda account, _since: books.get(account, 0), KEYS)


def quoted(one: Held, used: dict[str, int] | None = None, at: int = AT) -> Quote:
    line = decide(one, asked("quote", at=at), used).line
    assert isinstance(line, Line)
    return Quote(QUESTION, at, (line.sign(party_key(1)),), {})


def said(decision: Decision) -> str:
    assert not decision.debits
    assert decision.line is None
    (refusal,) = decision.refusals
    return refusal.message


PAID = offer(tax=(("treatment", "reverse charge"),))
ONE_FREE = offer(price=PricePlan("EUR", Rate(per_query=500, free_queries=1)))
CAPPED = offer(price=PricePlan("EUR", Rate(per_query=500, max_per_month=700)))


def test_an_owner_says_its_price() -> None:
    line = decide(held(PAID), asked("quote")).line
    assert isinstance(line, Line)
    assert (line.party, line.minor, line.pool_minor, line.currency) == (1, 500, None, "EUR")
    assert (line.question, line.licence, line.free, line.capped) == (QUESTION, held(PAID).digest, False, False)
    assert line.tax == {"treatment": "reverse charge"}
    assert line.valid_until == AT + limits.QUOTE_VALID_SECONDS * 1000


def test_a_pool_s_line_names_the_whole_and_the_part() -> None:
    line = decide(held(pool(1, 2)), asked("quote")).line
    assert isinstance(line, Line)
    assert (line.minor, line.pool_minor) == (500, 1000)


def test_a_line_does_not_outlive_its_licence() -> None:
    short = held(offer(term_days=2))
    line = decide(short, asked("quote", at=AT + DAY_MS - 5)).line
    assert isinstance(line, Line)
    assert line.valid_until == short.until - 1


def test_what_costs_something_needs_the_quote() -> None:
    message = said(decide(held(PAID), asked()))
    assert "asks 5.00 EUR" in message
    assert "mpcctl quote" in message


def test_explaining_shows_the_price_and_wants_no_quote() -> None:
    assert decide(held(PAID), asked("explain")).refusals == ()


def test_what_is_free_needs_none_and_is_counted() -> None:
    one = held(ONE_FREE)
    decision = decide(one, asked())
    assert isinstance(decision.line, Line)
    assert decision.line.free
    assert [(debit.account, debit.limit) for debit in decision.debits] == [
        (one.account("queries"), None),
        (one.account("free", "2026-11"), 1),
    ]


def test_the_quoted_price_is_the_price() -> None:
    one = held(CAPPED)
    quote = quoted(one)
    decision = decide(one, asked(quote=quote, at=AT + 1000))
    assert isinstance(decision.line, Line)
    assert decision.line.sign(party_key(1)) == quote.lines[0]
    assert [(debit.account, debit.amount, debit.limit) for debit in decision.debits] == [
        (f"quote {quote.digest().hex()}", 1, 1),
        (one.account("queries"), 1, None),
        (one.account("charged", "2026-11"), 500, 700),
    ]


def test_a_pool_s_monthly_maximum_counts_the_whole_price() -> None:
    one = held(pool(1, 2, price=PricePlan("EUR", Rate(per_query=1000, max_per_month=1500))))
    quote = quoted(one)
    decision = decide(one, asked(quote=quote))
    assert isinstance(decision.line, Line)
    assert decision.line.minor == 500
    assert [(debit.account, debit.amount, debit.limit) for debit in decision.debits] == [
        (f"quote {quote.digest().hex()}", 1, 1),
        (one.account("queries"), 1, None),
        (one.account("charged", "2026-11"), 1000, 1500),
    ]


def test_the_first_query_of_a_month_says_what_the_month_costs_and_is_accepted() -> None:
    monthly = held(offer(price=PricePlan("EUR", Rate(per_query=0, per_month=3000))))
    line = decide(monthly, asked("quote")).line
    assert isinstance(line, Line)
    assert (line.minor, line.month_minor > 0) == (0, True)
    assert "for the month, of which it is the first query" in said(decide(monthly, asked()))
    assert decide(monthly, asked(quote=quoted(monthly))).refusals == ()
    later = decide(monthly, asked(), {"queries": 1})
    assert isinstance(later.line, Line)
    assert (later.refusals, later.line.month_minor) == ((), 0)


def test_a_pool_shares_the_month() -> None:
    line = decide(held(pool(1, 2, price=PricePlan("EUR", Rate(per_month=3000)))), asked("quote")).line
    whole = decide(held(offer(price=PricePlan("EUR", Rate(per_month=3000)))), asked("quote")).line
    assert isinstance(line, Line)
    assert isinstance(whole, Line)
    assert 2 * line.month_minor == whole.month_minor


def test_a_quote_is_accepted_once() -> None:
    one = held(PAID)
    quote = quoted(one)
    first, second = decide(one, asked(quote=quote)).debits[0], decide(one, asked(quote=quote)).debits[0]
    assert first == second
    assert (first.amount, first.limit) == (1, 1)
    assert first.refusal is not None
    assert "used before" in first.refusal.message


def test_a_quote_holds_to_the_last_moment_that_it_names() -> None:
    one = held(PAID)
    quote = quoted(one)
    last = AT + limits.QUOTE_VALID_SECONDS * 1000
    assert decide(one, asked(quote=quote, at=last)).debits
    assert "has expired" in said(decide(one, asked(quote=quote, at=last + 1)))


def test_a_free_query_that_was_used_meanwhile_is_found_by_the_transaction() -> None:
    one = held(ONE_FREE)
    decision = decide(one, asked(quote=quoted(one)), {"free_2026-11": 1})
    free = next(debit for debit in decision.debits if debit.account == one.account("free", "2026-11"))
    assert (free.amount, free.limit) == (1, 1)
    assert not any("charged" in debit.account for debit in decision.debits)


def test_a_line_is_for_its_own_licence() -> None:
    first, second = held(offer(title="first")), held(offer(title="second", price=PricePlan("EUR", Rate(per_query=1))))
    decision = licensed([first, second], asked(quote=quoted(first)), lambda _account, _since: 0, KEYS)
    assert isinstance(decision.line, Line)
    assert decision.line.licence == first.digest
    assert {debit.account for debit in decision.debits} == {
        f"quote {quoted(first).digest().hex()}",
        first.account("queries"),
        first.account("charged", "2026-11"),
    }
    ended = replace(first, revoked_at=AT)
    assert "was revoked" in said(
        licensed([ended, second], asked(quote=quoted(first)), lambda _account, _since: 0, KEYS)
    )
    gone = licensed([replace(first, revoked_at=AT)], asked(quote=quoted(first)), lambda _account, _since: 0, KEYS)
    assert "was revoked" in said(gone)


def test_a_quote_that_does_not_fit_is_refused() -> None:
    one = held(PAID)
    good = quoted(one)
    assert "did not come with it" in said(decide(one, replace(asked(quote=good), attachments={})))
    assert "another quote" in said(decide(one, replace(asked(quote=good), quote_digest=bytes(32))))
    assert "another question" in said(decide(one, replace(asked(quote=good), question_digest=bytes(32))))
    late = AT + limits.QUOTE_VALID_SECONDS * 1000 + 1
    assert "has expired" in said(decide(one, asked(quote=good, at=late)))
    line = decide(one, asked("quote")).line
    assert isinstance(line, Line)
    cheap = replace(line, minor=1).sign(party_key(2))
    assert "not signed by its owner" in said(decide(one, asked(quote=Quote(QUESTION, AT, (cheap,), {}))))


def test_a_quote_without_our_line_is_none() -> None:
    assert "asks 5.00 EUR" in said(decide(held(PAID), asked(quote=Quote(QUESTION, AT, (), {}))))
