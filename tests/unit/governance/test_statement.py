"""Statements: recomputed from receipts, the same at every party, and a difference is named."""

from __future__ import annotations

import csv
import hashlib
import random
from dataclasses import replace

import pytest

from mpcd import canonical
from mpcd.errors import PeerMalformed, RequestInvalid, ResultInvalid
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import Controller, Grant, Offer, SignedOffer
from mpcd.governance.price import Month, PricePlan, Rate
from mpcd.governance.quote import Line
from mpcd.governance.receipt import DOMAIN, Receipt, SignedReceipt
from mpcd.governance.reconcile import reconcile
from mpcd.governance.statement import Correction, Settled, Standing, Statement, correction_problem, make
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId

SEEDED = random.Random(12)
KEYS = [SigningKey.generate(SEEDED.randbytes) for _ in range(3)]
PINNED = {PartyId(place): key.public for place, key in enumerate(KEYS)}
ANALYST = SigningKey.generate(SEEDED.randbytes)
NOVEMBER = Month(2026, 11)
DAY = 86_400_000
QUESTION = b"q" * 32
RATE = Rate(per_query=1000, per_month=500, flat_fee=3000, flat_period="monthly", max_per_month=3500, free_queries=1)


def agreed(*owners: int, rate: Rate = RATE, accepted: int = NOVEMBER.start_ms) -> Agreement:
    offer = Offer(
        consortium="c",
        nonce=bytes(16),
        title="breast cancer",
        controllers=tuple(Controller(PartyId(owner), f"Hospital {owner}", "dpo@example.org") for owner in owners),
        grants=(Grant("gbsg2", None),),
        purposes=("HMB",),
        commercial=False,
        functions=None,
        budget_rho=None,
        price=PricePlan("EUR", rate),
        tax=(),
        split="fixed" if len(owners) > 1 else None,
        weights=tuple(range(1, len(owners) + 1)),
        term_days=365,
        quota=None,
        newer_versions=True,
        versions=(),
        duties=(),
        legal_title="terms",
        legal_digest=hashlib.sha256(b"terms").digest(),
        analysts=None,
        made_at=accepted - DAY,
        open_until=accepted + DAY,
    )
    signed = SignedOffer(offer, tuple(offer.sign(PartyId(owner), KEYS[owner]) for owner in owners))
    return Agreement.make(signed, ANALYST, licensee="University", now_ms=accepted, entropy=SEEDED.randbytes)


ALONE = agreed(0)
POOL = agreed(0, 1, 2)


def line(licence: Agreement, party: int, minor: int, *, free: bool = False, capped: bool = False) -> bytes:
    made = Line(
        party=PartyId(party),
        question=QUESTION,
        licence=licence.digest,
        currency="EUR",
        minor=minor,
        rate_class="standard",
        free=free,
        capped=capped,
        pool_minor=None,
        tax={},
        valid_until=NOVEMBER.end_ms,
    )
    return made.sign(KEYS[party])


def settled(number: int, day: int, *lines: tuple[int, bytes], standing: Standing = "released") -> Settled:
    receipt = Receipt(
        session=SessionId(number.to_bytes(32, "big")),
        consortium="c",
        roster_hash=b"r" * 32,
        request_digest=RequestDigest(b"d" * 32),
        question_digest=QUESTION,
        quote_digest=b"u" * 32,
        analyst=ANALYST.public.raw,
        purpose="HMB",
        plan_hash=PlanHash(b"p" * 32),
        at=NOVEMBER.start_ms + day * DAY,
        parties=(PartyId(0), PartyId(1), PartyId(2)),
        data_versions={0: {"gbsg2": "00"}},
        lines=[[party, signed] for party, signed in lines],
    )
    body = receipt.to_bytes()
    signed = SignedReceipt(body, {PartyId(place): key.sign(DOMAIN, body) for place, key in enumerate(KEYS)})
    return Settled(signed, receipt, standing)


RECEIPTS = [
    settled(1, 1, (0, line(ALONE, 0, 0, free=True))),
    settled(2, 2, (0, line(ALONE, 0, 1000))),
    settled(3, 3, (0, line(ALONE, 0, 1000))),
    settled(4, 3, (0, line(ALONE, 0, 1000)), standing="withheld"),
    settled(5, 4, (0, line(ALONE, 0, 1000, capped=False))),
    settled(6, 5, (0, line(ALONE, 0, 0, capped=True))),
    settled(7, 40, (0, line(ALONE, 0, 1000))),
]


def statement(party: int = 0, receipts: list[Settled] = RECEIPTS, **changed: object) -> Statement:
    return make(
        PartyId(party),
        "c",
        NOVEMBER,
        receipts,
        changed.get("deeds", [Deed(ALONE)]),  # type: ignore[arg-type]
        changed.get("corrections", []),  # type: ignore[arg-type]
        PINNED,
    )


def test_a_month_is_what_was_released_in_it_and_its_fees() -> None:
    made = statement()
    assert [charge.minor for charge in made.charges] == [0, 1000, 1000, 1000, 0]
    assert {(fee.kind, fee.minor) for fee in made.fees} == {("per_month", 500), ("flat_fee", 3000)}
    assert made.owed_to(PartyId(0)) == {"EUR": 6500}
    assert made.problems == ()
    assert sorted(row.standing for row in made.receipts) == ["released"] * 5 + ["withheld"]


def test_the_order_in_which_receipts_are_read_changes_nothing() -> None:
    shuffled = list(RECEIPTS)
    random.Random(3).shuffle(shuffled)
    assert statement(receipts=shuffled) == statement()


def test_a_pool_is_split_to_the_last_cent() -> None:
    deed = Deed(POOL)
    shares = POOL.offer.share(1000)
    assert shares == {0: 167, 1: 333, 2: 500}
    receipts = [settled(1, 1, *((party, line(POOL, party, minor)) for party, minor in shares.items()))]
    made = statement(receipts=receipts, deeds=[deed])
    assert sum(made.owed_to(PartyId(party))["EUR"] for party in range(3)) == 1000 + 500 + 3000
    assert made.problems == ()


def test_fees_end_pro_rata_with_the_licence() -> None:
    ended = Revocation.make(ALONE.digest, PartyId(0), KEYS[0], now_ms=NOVEMBER.start_ms + 15 * DAY)
    made = statement(receipts=[], deeds=[Deed(ALONE, (), ended)])
    assert {(fee.kind, fee.minor, fee.days) for fee in made.fees} == {("flat_fee", 1500, 15)}


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (settled(8, 6, (0, line(ALONE, 0, 0, free=True))), "2 free queries"),
        (settled(8, 6, (0, line(ALONE, 0, 1001))), "above the price of a query"),
        (settled(8, 6, (0, line(ALONE, 0, 1000))), "above the monthly maximum"),
        (settled(8, 6, (1, line(ALONE, 1, 0))), "party 1 charges under it"),
    ],
    ids=["free", "price", "maximum", "owner"],
)
def test_lines_that_break_the_licence_are_named(extra: Settled, says: str) -> None:
    assert any(says in problem for problem in statement(receipts=[*RECEIPTS, extra]).problems)


def test_a_line_that_its_owner_did_not_sign_is_refused() -> None:
    forged = settled(8, 6, (1, line(ALONE, 0, 0)))
    with pytest.raises(RequestInvalid, match="another party"):
        statement(receipts=[forged])


def correction(minor: int = -1000) -> Correction:
    return Correction.make(
        PartyId(0),
        KEYS[0],
        licence=ALONE.digest,
        month=NOVEMBER,
        currency="EUR",
        minor=minor,
        reason="answered twice",
        at=NOVEMBER.end_ms + 5,
    )


def test_a_correction_is_a_signed_credit() -> None:
    credit = correction()
    credit.verify(PINNED[PartyId(0)])
    assert Correction.from_bytes(credit.to_bytes()) == credit
    assert statement(corrections=[credit]).owed_to(PartyId(0)) == {"EUR": 5500}
    with pytest.raises(PeerMalformed):
        replace(credit, minor=-2000).verify(PINNED[PartyId(0)])
    with pytest.raises(PeerMalformed):
        credit.verify(PINNED[PartyId(1)])
    with pytest.raises(RequestInvalid):
        correction(0)


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "XXX"},
        {"minor": "10"},
        {"minor": 0},
        {"minor": 10**18},
        {"reason": ""},
        {"reason": "r" * 401},
        {"licence": b"short"},
        {"at": 2**60},
        {"at": "now"},
        {"party": None},
        {"month": "2026-13"},
    ],
    ids=str,
)
def test_a_correction_that_no_statement_could_hold_is_not_taken_in(change: dict[str, canonical.Value]) -> None:
    """Signed by its owner all the same: stored, it would break every statement of its month."""
    outer = canonical.decode(correction().to_bytes())
    assert isinstance(outer, dict)
    assert isinstance(outer["correction"], bytes)
    fields = canonical.decode(outer["correction"])
    assert isinstance(fields, dict)
    body = canonical.encode({**fields, **change})
    signed = {"correction": body, "signature": KEYS[0].sign("receipt-correction", body)}
    with pytest.raises(RequestInvalid):
        Correction.from_bytes(canonical.encode(signed))


@pytest.mark.parametrize(
    ("rows", "change"),
    [
        ("charges", {"currency": "XXX"}),
        ("charges", {"at": 2**60}),
        ("fees", {"currency": "XXX"}),
        ("fees", {"minor": "1"}),
    ],
    ids=str,
)
def test_anothers_statement_that_cannot_be_compared_is_refused(rows: str, change: dict[str, canonical.Value]) -> None:
    value = statement(1).to_value()
    listed = value[rows]
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    listed[0] |= change
    with pytest.raises(RequestInvalid):
        Statement.from_value(value)


def test_a_moment_that_no_calendar_has_is_refused() -> None:
    value = statement(1).to_value()
    listed = value["receipts"]
    assert isinstance(listed, list)
    assert isinstance(listed[0], list)
    listed[0][2] = 2**60
    with pytest.raises(RequestInvalid):
        Statement.from_value(value)


def test_two_parties_reconcile() -> None:
    mine = statement(0)
    theirs = Statement.from_value(canonical.decode(canonical.encode(statement(1, deeds=[]).to_value())))
    assert reconcile(mine, replace(theirs, fees=mine.fees)) == []


@pytest.mark.parametrize("place", range(6))
def test_the_receipt_on_which_they_differ_is_named(place: int) -> None:
    """A changed receipt and one that stands otherwise are named by session; so is a lost one if both are owed by it."""
    name = RECEIPTS[place].receipt.session.hex()
    changed = list(RECEIPTS)
    other = replace(RECEIPTS[place].receipt, purpose="GRU")
    changed[place] = Settled(replace(RECEIPTS[place].signed, receipt=other.to_bytes()), other, RECEIPTS[place].standing)
    differences = reconcile(statement(0), statement(1, changed))
    assert len(differences) == 1
    assert name in differences[0]
    assert "different receipts" in differences[0]
    changed[place] = replace(RECEIPTS[place], standing="recorded")
    (difference,) = reconcile(statement(0), statement(1, changed))
    assert name in difference
    assert "recorded at party 1" in difference


@pytest.mark.parametrize("standing", ["withheld", "recorded", "released"])
def test_what_one_withheld_and_the_other_never_recorded_is_owed_by_nobody(standing: Standing) -> None:
    """So it is after a party stopped between agreement and record; what may still be released is named."""
    shared = replace(settled(9, 7, (0, line(POOL, 0, 10)), (1, line(POOL, 1, 20))), standing=standing)
    for mine, theirs in (([*RECEIPTS, shared], RECEIPTS), (RECEIPTS, [*RECEIPTS, shared])):
        differences = reconcile(statement(0, mine), statement(1, theirs))
        assert any("does not list it" in difference for difference in differences) == (standing != "withheld")


def test_a_receipt_that_one_party_lost_is_named() -> None:
    shared = settled(9, 7, (0, line(POOL, 0, 10)), (1, line(POOL, 1, 20)))
    (difference,) = reconcile(statement(0, [*RECEIPTS, shared]), statement(1, RECEIPTS))
    assert shared.receipt.session.hex() in difference
    assert "party 1 does not list it" in difference


@pytest.mark.parametrize(
    "change", [{"minor": 999}, {"free": True}, {"licence": b"o" * 32}, {"party": 2}, None], ids=str
)
def test_a_receipt_that_is_charged_otherwise_is_named(change: dict[str, object] | None) -> None:
    """Also where one of the two leaves a licence out altogether, so that nothing of it could be compared in total."""
    theirs = statement(1)
    charges = [charge for charge in theirs.charges if charge.session != RECEIPTS[1].receipt.session]
    if change is not None:
        charges.append(replace(theirs.charges[1], **change))  # type: ignore[arg-type]  # any field
    for changed in (replace(theirs, charges=tuple(charges)), replace(theirs, charges=())):
        first = reconcile(statement(0), changed)[0]
        assert "charge something else" in first
    assert RECEIPTS[1].receipt.session.hex() in reconcile(statement(0), replace(theirs, charges=tuple(charges)))[0]
    assert reconcile(statement(0), replace(theirs, charges=tuple(reversed(theirs.charges)))) == []


def test_fees_and_corrections_that_differ_are_named() -> None:
    mine, theirs = statement(0), statement(1)
    assert reconcile(mine, theirs) == []
    for other in (replace(theirs, fees=()), statement(1, corrections=[correction()])):
        (difference,) = reconcile(mine, other)
        assert "fees and corrections come to" in difference
        assert ALONE.digest.hex()[:16] in difference


# ------------------------------------------------------------------------------------------------ for another party


def shared(with_party: int, receipts: list[Settled], deeds: list[Deed], fixes: list[Correction]) -> Statement:
    return make(PartyId(0), "c", NOVEMBER, receipts, deeds, fixes, PINNED, shared_with=PartyId(with_party))


def test_another_party_is_told_of_nothing_that_it_does_not_hold() -> None:
    """What crosses the network: its own sessions, licences it is an owner of, and its own corrections."""
    apart = replace(RECEIPTS[2].receipt, parties=(PartyId(0), PartyId(2)))
    secret = Settled(SignedReceipt(apart.to_bytes(), {}), apart, "released")
    deeds = [Deed(ALONE), Deed(POOL)]
    theirs = Correction.make(
        PartyId(1),
        KEYS[1],
        licence=b"x" * 32,
        month=NOVEMBER,
        currency="EUR",
        minor=7,
        reason="r",
        at=NOVEMBER.start_ms,
    )
    told = shared(1, [RECEIPTS[0], secret], deeds, [correction(), theirs])
    assert [row.session for row in told.receipts] == [RECEIPTS[0].receipt.session]
    assert {charge.session for charge in told.charges} == {RECEIPTS[0].receipt.session}
    assert {fee.licence for fee in told.fees} == {POOL.digest}
    assert told.corrections == (theirs,)
    assert ALONE.digest.hex()[:16] not in repr(told.problems)
    pooled = replace_licence(POOL.digest)
    assert shared(1, [], deeds, [pooled]).corrections == (pooled,)
    assert shared(2, [RECEIPTS[0], secret], deeds, [theirs]).corrections == ()
    assert len(shared(2, [RECEIPTS[0], secret], deeds, []).receipts) == 2


def replace_licence(licence: bytes) -> Correction:
    return Correction.make(
        PartyId(0), KEYS[0], licence=licence, month=NOVEMBER, currency="EUR", minor=9, reason="r", at=NOVEMBER.start_ms
    )


def test_corrections_of_other_months_stay_there() -> None:
    assert statement(corrections=[replace(correction(), month=Month(2026, 10))]).corrections == ()


def test_a_line_about_another_question_is_refused() -> None:
    one = RECEIPTS[1].receipt
    other = replace(one, question_digest=b"z" * 32)
    with pytest.raises(RequestInvalid, match="another party or question"):
        statement(receipts=[Settled(SignedReceipt(other.to_bytes(), {}), other, "released")])


def test_free_queries_of_a_whole_term_are_not_counted_against_a_month() -> None:
    licence = agreed(0, rate=replace(RATE, free_queries=1, free_period="term"))
    receipts = [settled(place, place, (0, line(licence, 0, 0, free=True))) for place in (1, 2)]
    assert statement(receipts=receipts, deeds=[Deed(licence)]).problems == ()


def test_a_licence_that_one_of_its_owners_does_not_hold_is_named() -> None:
    mine, theirs = statement(0, deeds=[Deed(POOL)]), statement(1, deeds=[])
    (difference,) = reconcile(mine, theirs)
    assert POOL.digest.hex()[:16] in difference
    assert "party 1 does not hold it" in difference
    assert reconcile(statement(0), statement(1, deeds=[])) == []  # of one owner alone: nothing to hold


def test_fees_of_a_licence_without_its_deed_are_not_known() -> None:
    made = statement(1, deeds=[])
    assert not made.knows_fees(PartyId(0), ALONE.digest)
    assert statement(0).knows_fees(PartyId(0), ALONE.digest)
    assert statement(0).known[0].licensee == "University"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"currency": "SEK"}, "is in EUR"),
        ({"month": Month(2026, 10)}, "not in force"),
        ({"month": Month(2027, 12)}, "not in force"),
        ({"minor": -6501}, "more than"),
        ({"minor": 10**9}, "more than"),
    ],
    ids=repr,
)
def test_a_correction_must_fit_its_licence(change: dict[str, object], says: str) -> None:
    fits = {"currency": "EUR", "month": NOVEMBER, "minor": -6500, **change}
    problem = correction_problem(Deed(ALONE), statement(0), PartyId(0), **fits)  # type: ignore[arg-type]
    assert problem is not None
    assert says in problem


def test_a_credit_of_all_that_is_owed_fits() -> None:
    assert correction_problem(Deed(ALONE), statement(0), PartyId(0), NOVEMBER, "EUR", -6500) is None
    assert correction_problem(Deed(ALONE), statement(0), PartyId(0), NOVEMBER, "EUR", 6500) is None
    again = statement(0, corrections=[correction(-6500)])
    assert "more than" in (correction_problem(Deed(ALONE), again, PartyId(0), NOVEMBER, "EUR", -1) or "")


def test_other_months_are_not_compared() -> None:
    with pytest.raises(RequestInvalid, match="different months"):
        reconcile(statement(), replace(statement(1), month=Month(2026, 12)))


def test_csv_writes_decimals() -> None:
    rows = statement(corrections=[correction()]).csv_text().splitlines()
    assert rows[0].startswith("kind,party,licence")
    assert sum(row.startswith("query,0,") for row in rows) == 5
    assert any("EUR,30.00,30 days" in row for row in rows)
    assert any("EUR,-10.00,answered twice" in row for row in rows)
    assert any(",EUR,0.00,free query" in row for row in rows)


@pytest.mark.parametrize("reason", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_what_another_party_wrote_is_no_formula(reason: str) -> None:
    fix = Correction.make(
        PartyId(1), KEYS[1], licence=b"x" * 32, month=NOVEMBER, currency="EUR", minor=1, reason=reason, at=1
    )
    (cell,) = (
        row[8] for row in csv.reader(statement(corrections=[fix]).csv_text().splitlines()) if row[0] == "correction"
    )
    assert cell == f"'{reason}"


def test_a_receipt_arrives_as_it_was_sent_and_nothing_else_does() -> None:
    one = RECEIPTS[1]
    assert Receipt.from_bytes(one.receipt.to_bytes()) == one.receipt
    assert SignedReceipt.from_bytes(one.signed.to_bytes()) == one.signed
    for party in range(3):
        one.signed.check(PartyId(party), PINNED[PartyId(party)])
    with pytest.raises(PeerMalformed):
        one.signed.check(PartyId(0), PINNED[PartyId(1)])
    value = canonical.decode(one.receipt.to_bytes())
    assert isinstance(value, dict)
    for name in value:
        with pytest.raises(ResultInvalid):
            Receipt.from_bytes(canonical.encode({key: item for key, item in value.items() if key != name}))
    with pytest.raises(ResultInvalid):
        Receipt.from_bytes(canonical.encode({**value, "version": 2}))
