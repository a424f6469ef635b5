from __future__ import annotations

from dataclasses import replace

import pytest

from mpcd.cli.licencetext import deed_lines, offer_lines, print_lines, rate_text, signature_problem
from mpcd.governance.licence import Deed, Revocation
from mpcd.governance.offer import Controller, Duty, Grant, Quota, SignedOffer
from mpcd.governance.price import PricePlan, Rate
from mpcd.ids import PartyId
from mpcd.testing.licensing import DAY_MS, MADE_AT, accepted, key, offer, party_key, party_keys, pool, signed


def said(lines: list[tuple[str, str]], label: str) -> list[str]:
    return [text for name, text in lines if name == label]


def test_what_an_offer_does_not_limit_is_said() -> None:
    lines = offer_lines(offer())
    assert said(lines, "table") == ["gbsg2 (every use that the policy allows)"]
    assert said(lines, "functions") == ["any"]
    assert said(lines, "quota") == ["none"]
    assert said(lines, "privacy budget") == ["none"]
    assert said(lines, "commercial") == ["not allowed"]
    assert said(lines, "data versions") == ["newer ones are covered"]
    assert said(lines, "offered to") == ["everybody accepted"]


def test_what_an_offer_limits_is_said() -> None:
    made = pool(
        1,
        2,
        split="fixed",
        weights=(2, 3),
        grants=(Grant("gbsg2", (("age", ("filter", "group")),)),),
        functions=("avg", "count"),
        quota=Quota(5, 30),
        budget_rho=5 * 10**11,
        newer_versions=False,
        versions=((1, "gbsg2", "ab"),),
        duties=(Duty("PUB", 365, "end"), Duty("MOR", 1, "acceptance")),
        analysts=(key("anna").public.raw,),
        price=PricePlan("EUR", Rate(per_query=1250), Rate()),
        tax=(("rate_percent", "19"),),
        commercial=True,
    )
    lines = offer_lines(made)
    assert said(lines, "table") == ["gbsg2 (age: filter, group)"]
    assert said(lines, "offered by")[1] == "party 2, Hospital 2, data@2.example; weight 3"
    assert said(lines, "quota") == ["5 queries in any 30 days"]
    assert said(lines, "privacy budget") == ["rho 0.5; noisy answers alone"]
    assert said(lines, "duty") == [
        "PUB: publish the results, within 365 days after the licence's end",
        "MOR: publish nothing before, until 1 day after acceptance",
    ]
    assert said(lines, "reduced price") == ["free of charge"]
    assert said(lines, "tax") == ["rate percent: 19"]
    assert said(lines, "offered to") == ["1 named analyst"]
    assert said(lines, "commercial") == ["allowed"]


def test_every_part_of_a_price_is_said() -> None:
    rate = Rate(500, 1000, 10_000, "monthly", 5000, 3, "term")
    assert rate_text(rate, "EUR") == (
        "5.00 EUR a query, the first 3 of the term free, 10.00 EUR for a month with queries, "
        "use at most 50.00 EUR a month (10.00 EUR for the month, 40.00 EUR for queries), 100.00 EUR monthly"
    )
    assert rate_text(Rate(500, max_per_month=2000), "EUR") == "5.00 EUR a query, use at most 20.00 EUR a month"
    assert rate_text(Rate(), "EUR") == "free of charge"


def test_a_licence_says_who_ended_it() -> None:
    licence = accepted(offer())
    deed = Deed(licence, (licence.countersign(PartyId(1), party_key(1)),))
    assert said(deed_lines(deed), "until") == ["2027-11-01 00:00:00 UTC"]
    assert said(deed_lines(deed), "held by party") == ["1"]
    end = Revocation.make(licence.digest, PartyId(1), party_key(1), now_ms=MADE_AT + DAY_MS, reason="misuse")
    ended = deed_lines(replace(deed, revocation=end))
    assert said(ended, "ended by") == ["party 1, 2026-11-02 00:00:00 UTC: misuse"]
    assert said(ended, "until") == ["2026-11-02 00:00:00 UTC"]
    by_analyst = Revocation.make(licence.digest, None, key("anna"), now_ms=MADE_AT)
    assert "the analyst" in said(deed_lines(Deed(licence, (), by_analyst)), "ended by")[0]
    assert said(deed_lines(Deed(licence)), "held by party") == ["nobody yet"]


def test_an_offer_that_does_not_verify_says_why() -> None:
    made = pool(1, 2)
    assert signature_problem(signed(made), party_keys()) is None
    half = SignedOffer(made, (made.sign(PartyId(1), party_key(1)),))
    assert "not every owner" in (signature_problem(half, party_keys()) or "")
    forged = SignedOffer(made, ((PartyId(1), bytes(64)), made.sign(PartyId(2), party_key(2))))
    assert "party 1" in (signature_problem(forged, party_keys()) or "")


def test_nothing_in_an_offer_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([("title", "a\x1b[2Jb"), ("longer", "c")])
    assert capsys.readouterr().out == "title   a\\x1b[2Jb\nlonger  c\n"
    with pytest.raises(ValueError, match="a name and a contact"):
        offer(controllers=(Controller(PartyId(1), "a\x1b", "b"),))
