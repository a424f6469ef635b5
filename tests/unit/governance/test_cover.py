from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from mpcd.governance import entries
from mpcd.governance.asked import Asked
from mpcd.governance.cover import Coverage, Held, cover, obligations
from mpcd.governance.licence import Agreement
from mpcd.governance.offer import Duty, Grant, Offer, Quota
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.price import PricePlan, Rate
from mpcd.ids import PartyId, RequestDigest
from mpcd.testing.licensing import DAY_MS, MADE_AT, accepted, key, offer, pool

AT = MADE_AT + 10 * DAY_MS
ACADEMIC = AnalystFacts("Anna", commercial=False)


def known(facts: AnalystFacts | None) -> AcceptedAnalyst | None:
    return None if facts is None else AcceptedAnalyst(facts.name, key("anna").public, None, facts)


def asked(**changed: object) -> Asked:
    plain = Asked(
        party=PartyId(1),
        analyst=key("anna").public,
        kind="sql",
        tables=("gbsg2",),
        uses={"gbsg2.age": frozenset({"filter"}), "gbsg2.pfs": frozenset({"aggregate"})},
        functions=frozenset({"count", "avg"}),
        purpose="HMB",
        security="malicious",
        request_digest=RequestDigest(bytes(32)),
        question_digest=bytes(32),
        data_versions={"gbsg2": "ab" * 32},
        at=AT,
        owners=(PartyId(1), PartyId(2), PartyId(3)),
        accepted=known(ACADEMIC),
    )
    return replace(plain, **changed)  # type: ignore[arg-type]  # any field of Asked


class Books:
    """Accounts as the store keeps them: what sessions took, and when they were agreed."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, int]] = []

    def spent(self, account: str, since: int | None) -> int:
        return sum(amount for at, name, amount in self.rows if name == account and (since is None or at >= since))

    def book(self, at: int, debits: Iterable[entries.Debit]) -> None:
        for debit in debits:
            assert debit.limit is None or self.spent(debit.account, debit.since) + debit.amount <= debit.limit
            self.rows.append((at, debit.account, debit.amount))


def held(licence: Agreement | Offer, revoked_at: int | None = None) -> Held:
    made = accepted(licence) if isinstance(licence, Offer) else licence
    return Held(made.digest, made, revoked_at)


def covered(licences: Iterable[Held], request: Asked, books: Books | None = None, rho: int | None = None) -> Coverage:
    found = cover(licences, request, request.tables, (books or Books()).spent, rho=rho)
    assert isinstance(found, Coverage), found
    return found


def reasons(licences: Iterable[Held], request: Asked, books: Books | None = None, rho: int | None = None) -> list[str]:
    found = cover(licences, request, request.tables, (books or Books()).spent, rho=rho)
    assert not isinstance(found, Coverage)
    assert found
    assert all(reason.rule == "licence" and reason.party == 1 for reason in found)
    return [reason.message for reason in found]


# ------------------------------------------------------------------------------------------------ yes


def test_a_licence_covers_what_it_is_for() -> None:
    one = held(offer())
    found = covered([one], asked())
    assert found.held is one
    assert (found.price.minor, found.share, found.split, found.currency) == (500, 500, None, "EUR")
    name = one.digest.hex()
    assert [(debit.account, debit.amount, debit.limit) for debit in found.debits] == [
        (f"licence/{name}/queries", 1, None),
        (f"licence/{name}/charged/2026-11", 500, None),
    ]


def test_a_pool_is_priced_once_and_divided() -> None:
    found = covered([held(pool(1, 2, 3))], asked())
    assert found.price.minor == 1000
    assert found.split == {1: 334, 2: 333, 3: 333}
    assert found.share == 334
    assert covered([held(pool(1, 2, 3))], asked(party=PartyId(3))).share == 333


def test_a_pool_goes_first_then_the_cheapest_then_the_one_that_ends_first() -> None:
    own, cheap = held(offer()), held(offer(price=PricePlan("EUR", Rate(per_query=1))))
    short = held(offer(price=PricePlan("EUR", Rate(per_query=1)), term_days=30))
    together = held(pool(1, 2, 3))
    assert covered([own, cheap, short, together], asked()).held is together
    assert covered([own, cheap, short], asked()).held is short
    assert covered([own, cheap], asked()).held is cheap


def test_only_tables_under_licence_must_be_covered() -> None:
    request = asked(tables=("aids", "gbsg2"), uses={**asked().uses, "aids.cd4": frozenset({"filter"})})
    found = cover([held(offer())], request, ["gbsg2"], Books().spent)
    assert isinstance(found, Coverage)
    assert "does not cover `aids`" in reasons([held(offer())], request)[0]
    both = offer(grants=(Grant("aids", None), Grant("gbsg2", None)))
    assert covered([held(both)], request).held.agreement.offer == both


def test_one_of_several_purposes_is_enough() -> None:
    assert covered([held(offer(purposes=("HMB", "POA")))], asked(purpose="POA")).price.minor == 500
    assert "not for the purpose GRU" in reasons([held(offer(purposes=("HMB", "POA")))], asked(purpose="GRU"))[0]


def test_it_covers_from_its_first_moment() -> None:
    assert covered([held(offer())], asked(at=MADE_AT)).price.minor == 500
    assert "begins later" in reasons([held(offer())], asked(at=MADE_AT - 1))[0]


# ------------------------------------------------------------------------------------------------ no


def test_nothing_held_says_where_to_look() -> None:
    elsewhere = held(offer(grants=(Grant("aids", None),)))
    for licences in ([], [elsewhere]):
        (said,) = reasons(licences, asked())
        assert "you hold none" in said
        assert "licence offers" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grants": (Grant("gbsg2", (("age", ("filter",)),)),)}, "`gbsg2.pfs` for `aggregate`"),
        ({"grants": (Grant("gbsg2", (("age", ("group",)), ("pfs", ("aggregate",)))),)}, "`gbsg2.age` for `filter`"),
        ({"functions": ("count", "sum")}, "the function avg"),
        ({"purposes": ("POA",)}, "not for the purpose HMB"),
        ({"newer_versions": False, "versions": ((1, "gbsg2", "cd" * 32),)}, "newer data"),
        ({"newer_versions": False, "versions": ((2, "gbsg2", "ab" * 32),)}, "newer data"),
        ({"budget_rho": 5}, "noisy answers alone"),
    ],
)
def test_each_thing_that_is_not_covered_is_named(changed: dict[str, object], said: str) -> None:
    (found,) = reasons([held(offer(**changed))], asked())
    assert said in found


def test_the_version_of_the_offer_is_covered() -> None:
    fixed = offer(newer_versions=False, versions=((1, "gbsg2", "ab" * 32),))
    assert covered([held(fixed)], asked()).price.minor == 500


@pytest.mark.parametrize("facts", [None, AnalystFacts("Anna"), AnalystFacts("Anna", commercial=True)])
def test_an_academic_licence_is_not_for_whoever_may_be_commercial(facts: AnalystFacts | None) -> None:
    (said,) = reasons([held(offer())], asked(accepted=known(facts)))
    assert "non-commercial" in said
    assert covered([held(offer(commercial=True))], asked(accepted=known(facts))).price.minor == 500


def test_the_reduced_rate_ends_with_what_entitled_to_it() -> None:
    both = offer(price=PricePlan("EUR", Rate(per_query=500), Rate(per_query=50)))
    made = accepted(both, rate_class="reduced")
    one = Held(made.digest, made)
    assert covered([one], asked(accepted=known(replace(ACADEMIC, rate_class="reduced")))).price.minor == 50
    (said,) = reasons([one], asked())
    assert "reduced rate" in said


def test_a_pool_licence_is_for_the_whole_pool() -> None:
    (said,) = reasons([held(pool(1, 2, 3))], asked(owners=(PartyId(1), PartyId(2))))
    assert "all its owners together" in said


def test_a_licence_ends() -> None:
    one = held(offer(term_days=10))
    assert covered([one], asked(at=AT - 1)).held is one
    (said,) = reasons([one], asked(at=AT))
    assert "ended on 2026-11-11 00:00 UTC" in said
    (said,) = reasons([one], asked(at=MADE_AT - 1))
    assert "clocks" in said


def test_a_revoked_licence_covers_nothing_whatever_the_session_s_time() -> None:
    one = held(offer(), revoked_at=AT + 1000)
    assert one.until == AT + 1000
    for at in (AT, AT + 2000):
        (said,) = reasons([one], asked(at=at))
        assert "was revoked on 2026-11-11" in said


def test_what_is_over_is_named_only_where_nothing_else_is_held_and_the_last_alone() -> None:
    first, second = held(offer(term_days=1)), held(offer(term_days=2))
    narrow = held(offer(functions=("count",)))
    later = asked(at=MADE_AT + 20 * DAY_MS)
    assert [narrow.name in one for one in reasons([first, second, narrow], later)] == [True]
    (said,) = reasons([first, second], later)
    soon = reasons([first, second, narrow], asked(at=MADE_AT + 3 * DAY_MS))
    assert [second.name in soon[0], narrow.name in soon[1]] == [True, True]
    assert f"{second.name} ended on 2026-11-03" in said


def test_a_pool_s_licence_that_not_all_owners_hold_covers_nothing() -> None:
    whole = held(pool(1, 2))
    half = replace(whole, complete=False)
    (said,) = reasons([half, held(offer(term_days=1), revoked_at=MADE_AT)], asked())
    assert f"{half.name} is not in force: not every owner of the pool is known to hold it" in said
    assert f"licence accept {half.agreement.offer.digest.hex()[:16]}" in said
    assert covered([whole], asked(owners=(PartyId(1), PartyId(2)))).held == whole


def test_of_several_the_closest_says_why() -> None:
    far = held(offer(functions=("count",), purposes=("POA",), title="far"))
    near = held(offer(functions=("count",), title="near"))
    said = reasons([far, near], asked())
    assert len(said) == 1
    assert near.name in said[0]


def test_those_that_lack_equally_little_are_all_named() -> None:
    commercial, narrow = held(offer(purposes=("POA",))), held(offer(functions=("count",)))
    said = reasons([commercial, narrow], asked())
    assert len(said) == 2
    assert commercial.name in said[0]
    assert narrow.name in said[1]


def test_every_reason_at_once() -> None:
    assert len(reasons([held(offer(functions=("count",), purposes=("POA",)))], asked(accepted=None))) == 3


# ------------------------------------------------------------------------------------------------ amounts


def test_a_quota_rolls() -> None:
    one, books = held(offer(quota=Quota(2, 7))), Books()
    for at in (AT, AT + DAY_MS):
        books.book(at, covered([one], asked(at=at), books).debits)
    (said,) = reasons([one], asked(at=AT + 2 * DAY_MS), books)
    assert "2 in any 7 days" in said
    assert reasons([one], asked(at=AT + 7 * DAY_MS), books)
    books.book(AT + 7 * DAY_MS + 1, covered([one], asked(at=AT + 7 * DAY_MS + 1), books).debits)
    assert reasons([one], asked(at=AT + 7 * DAY_MS + 2), books)


def test_the_transaction_checks_the_quota_too() -> None:
    (queries, *_) = covered([held(offer(quota=Quota(2, 7)))], asked()).debits
    assert (queries.limit, queries.since) == (2, AT - 7 * DAY_MS)
    assert queries.refusal is not None
    assert "2 in any 7 days" in queries.refusal.message


def test_free_queries_of_a_month_and_of_a_term() -> None:
    for period, next_month in (("month", 0), ("term", 500)):
        rate = Rate(per_query=500, free_queries=1, free_period=period)  # type: ignore[arg-type]  # one of the two
        one, books = held(offer(price=PricePlan("EUR", rate))), Books()
        first = covered([one], asked(), books)
        assert first.price.free
        books.book(AT, first.debits)
        second = covered([one], asked(), books)
        assert second.price.minor == 500
        books.book(AT, second.debits)
        assert covered([one], asked(at=AT + 25 * DAY_MS), books).price.minor == next_month


def test_two_sessions_at_once_cannot_both_have_the_last_free_query() -> None:
    one = held(offer(price=PricePlan("EUR", Rate(per_query=500, free_queries=1))))
    (_, free) = covered([one], asked()).debits
    assert (free.account, free.amount, free.limit) == (one.account("free", "2026-11"), 1, 1)
    assert free.refusal is not None
    assert "new quote" in free.refusal.message


def test_two_sessions_at_once_cannot_both_stay_below_the_maximum() -> None:
    one = held(offer(price=PricePlan("EUR", Rate(per_query=500, per_month=100, max_per_month=700))))
    (_, charged) = covered([one], asked()).debits
    assert (charged.account, charged.amount, charged.limit) == (one.account("charged", "2026-11"), 500, 600)


def test_the_maximum_of_a_month() -> None:
    one = held(offer(price=PricePlan("EUR", Rate(per_query=500, max_per_month=700))))
    books = Books()
    prices = []
    for _ in range(3):
        found = covered([one], asked(), books)
        books.book(AT, found.debits)
        prices.append(found.price.minor)
    assert prices == [500, 200, 0]
    assert covered([one], asked(at=AT + 25 * DAY_MS), books).price.minor == 500


def test_a_privacy_budget_is_used_up() -> None:
    one, books = held(offer(budget_rho=10)), Books()
    found = covered([one], asked(), books, rho=6)
    (debit,) = [debit for debit in found.debits if debit.account.endswith("/rho")]
    assert (debit.amount, debit.limit, debit.since) == (6, 10, None)
    books.book(AT, found.debits)
    (said,) = reasons([one], asked(), books, rho=6)
    assert "privacy budget" in said
    assert covered([one], asked(), books, rho=4).held is one


def test_noise_without_a_budget_costs_none() -> None:
    assert len(covered([held(offer())], asked(), rho=6).debits) == 2


# ------------------------------------------------------------------------------------------------ duties


def test_duties_have_dates() -> None:
    one = held(
        offer(
            term_days=100,
            duties=(
                Duty("PUB", 365, "end"),
                Duty("MOR", 30, "acceptance"),
                Duty("IRB", 20, "acceptance"),
                Duty("RTN", 0, "end"),
            ),
        )
    )

    def listed(now: int, revoked_at: int | None = None, **met: int) -> list[tuple[str, int, str]]:
        found = obligations(replace(one, revoked_at=revoked_at), met, now)
        assert {item.analyst for item in found} == {key("anna").public.raw}
        return [(item.code, (item.due_at - MADE_AT) // DAY_MS, item.state) for item in found]

    assert listed(MADE_AT) == [
        ("IRB", 20, "to come"),
        ("MOR", 30, "in force"),
        ("RTN", 100, "to come"),
        ("PUB", 465, "to come"),
    ]
    assert [state for _, _, state in listed(MADE_AT + 100 * DAY_MS)] == ["due", "over", "due", "to come"]
    assert [state for _, _, state in listed(MADE_AT + 100 * DAY_MS, IRB=MADE_AT, RTN=0)] == [
        "met",
        "over",
        "met",
        "to come",
    ]
    assert [due for _, due, _ in listed(MADE_AT, revoked_at=MADE_AT + 40 * DAY_MS)] == [20, 30, 40, 405]
