from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mpcd import canonical, limits
from mpcd.errors import LicenceInvalid
from mpcd.governance.licence import Acceptance, Agreement, Deed, Revocation
from mpcd.governance.offer import Controller, Duty, DutyCode, Grant, Offer, Quota, SignedOffer
from mpcd.governance.price import PricePlan, Rate
from mpcd.ids import PartyId
from mpcd.testing import licensing
from mpcd.testing.licensing import (
    DAY_MS,
    MADE_AT,
    accepted,
    key,
    offer,
    party_key,
    party_keys,
    pool,
    signed,
)

ANNA = key("anna")
EVERYTHING = pool(
    1,
    2,
    3,
    split="declared_rows",
    weights=(686, 1000, 314),
    grants=(Grant("aids", None), Grant("gbsg2", (("age", ("filter", "group")), ("pfs", ("aggregate",))))),
    functions=("avg", "count"),
    budget_rho=5 * 10**11,
    price=PricePlan("EUR", Rate(per_query=1000, max_per_month=50_000), Rate(per_query=100)),
    quota=Quota(100, 30),
    newer_versions=False,
    versions=((1, "gbsg2", "ab" * 32), (2, "gbsg2", "cd" * 32)),
    duties=(Duty("PUB", 365, "end"), Duty("IRB", 30, "acceptance")),
    tax=(("rate_percent", "19"), ("treatment", "reverse charge")),
    analysts=tuple(sorted([ANNA.public.raw, key("bob").public.raw])),
)


# ------------------------------------------------------------------------------------------------ bytes


def test_what_is_signed_is_read_again() -> None:
    for made in (offer(), EVERYTHING):
        assert Offer.from_bytes(made.to_bytes()) == made
        whole = signed(made)
        assert SignedOffer.from_bytes(whole.to_bytes()) == whole
        licence = accepted(made)
        assert Agreement.from_bytes(licence.to_bytes()) == licence
        assert Acceptance.from_bytes(licence.acceptance.to_bytes()) == licence.acceptance
        revocation = Revocation.make(licence.digest, PartyId(1), party_key(1), now_ms=MADE_AT + 1, reason="misuse")
        deed = Deed(licence, tuple(licence.countersign(p, party_key(p)) for p in made.owners), revocation)
        assert Deed.from_bytes(deed.to_bytes()) == deed
        assert Deed.from_bytes(Deed(licence).to_bytes()) == Deed(licence)


READERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (Offer.from_bytes, EVERYTHING.to_bytes()),
    (SignedOffer.from_bytes, signed(EVERYTHING).to_bytes()),
    (Agreement.from_bytes, accepted(EVERYTHING).to_bytes()),
    (Deed.from_bytes, Deed(accepted(EVERYTHING)).to_bytes()),
    (
        Revocation.from_bytes,
        Revocation.make(accepted(EVERYTHING).digest, None, ANNA, now_ms=MADE_AT).to_bytes(),
    ),
]


@pytest.mark.parametrize(("read", "data"), READERS)
def test_what_is_not_that_is_refused(read: Callable[[bytes], object], data: bytes) -> None:
    read(data)
    fields = canonical.decode(data)
    assert isinstance(fields, dict)
    wrong = [
        b"",
        b"\x80",
        data + b"\x00",
        data[:-1],
        canonical.encode([1]),
        canonical.encode({**fields, "more": 1}),
        bytes(limits.LICENCE_BYTES_MAX + 1),
        *(canonical.encode({name: value for name, value in fields.items() if name != left}) for left in fields),
        *(canonical.encode({**fields, name: 1.5}) for name in fields),
    ]
    for bad in wrong:
        with pytest.raises(LicenceInvalid):
            read(bad)


def test_another_version_is_named() -> None:
    fields = canonical.decode(offer().to_bytes())
    assert isinstance(fields, dict)
    with pytest.raises(LicenceInvalid, match="of version 1"):
        Offer.from_bytes(canonical.encode({**fields, "version": 2}))


# ------------------------------------------------------------------------------------------------ offers


@pytest.mark.parametrize(
    "changed",
    [
        {"grants": ()},
        {"grants": (Grant("b", None), Grant("a", None))},
        {"grants": (Grant("a", None), Grant("a", None))},
        {"purposes": ()},
        {"purposes": ("HMB", "HMB")},
        {"purposes": ("NCU",)},
        {"purposes": ("research",)},
        {"functions": ()},
        {"functions": ("COUNT",)},
        {"functions": ("sum", "avg")},
        {"controllers": ()},
        {"weights": (1, 1)},
        {"weights": (2,)},
        {"split": "equal"},
        {"term_days": 0},
        {"open_until": MADE_AT},
        {"versions": ((1, "gbsg2", "ab"),)},
        {"newer_versions": False},
        {"budget_rho": 0},
        {"nonce": bytes(15)},
        {"legal_digest": bytes(31)},
        {"title": ""},
        {"title": "two\nlines"},
        {"analysts": ()},
        {"tax": (("vat", "19"),)},
        {"tax": (("treatment", "none"), ("note", "x"))},
        {"tax": (("treatment", ""),)},
        {"duties": (Duty("PUB", 1, "end"), Duty("PUB", 2, "end"))},
    ],
)
def test_an_offer_that_makes_no_sense(changed: dict[str, object]) -> None:
    with pytest.raises(LicenceInvalid):
        offer(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"split": None},
        {"weights": (1, 2)},
        {"split": "fixed", "weights": (0, 0)},
        {"split": "fixed", "weights": (-1, 2)},
        {
            "controllers": (
                Controller(PartyId(2), "b", "b"),
                Controller(PartyId(1), "a", "a"),
            )
        },
    ],
)
def test_a_pool_that_makes_no_sense(changed: dict[str, object]) -> None:
    with pytest.raises(LicenceInvalid):
        pool(1, 2, **changed)


def test_a_pool_divides_its_price() -> None:
    assert pool(1, 2, 3).share(1000) == {1: 334, 2: 333, 3: 333}
    assert EVERYTHING.share(1000) == {1: 343, 2: 500, 3: 157}
    assert offer().share(1000) == {1: 1000}


@pytest.mark.parametrize("condition", ["NCU", "NPU", "NPUNCU"])
def test_commercial_use_of_data_that_bars_it_is_not_offered(condition: str) -> None:
    under = {"gbsg2": frozenset({condition, "GS"}), "aids": frozenset[str]()}
    paid = offer(commercial=True)
    free = offer(commercial=True, price=PricePlan("EUR", Rate()))
    assert "for money" in (paid.condition_problem(under) or "")
    assert condition in (free.condition_problem(under) or "")
    assert offer(commercial=False).condition_problem(under) is None
    assert paid.condition_problem({"gbsg2": frozenset({"GS"})}) is None
    assert paid.condition_problem({"aids": frozenset({condition})}) is None


@pytest.mark.parametrize("condition", ["PUB", "MOR", "RTN"])
def test_a_duty_on_the_data_is_a_duty_of_the_licence(condition: DutyCode) -> None:
    under = {"gbsg2": frozenset({condition})}
    assert f"under {condition}" in (offer().condition_problem(under) or "")
    assert offer(duties=(Duty(condition, 1, "end"),)).condition_problem(under) is None
    assert offer().condition_problem({"gbsg2": frozenset({"IRB"})}) is None


# ------------------------------------------------------------------------------------------------ signatures


def test_whoever_changed_anything_is_found() -> None:
    keys = party_keys()
    licence = accepted(EVERYTHING)
    licence.verify(keys)
    changed = replace(EVERYTHING, term_days=366)
    other_offer = replace(licence, offered=SignedOffer(changed, licence.offered.signatures))
    with pytest.raises(LicenceInvalid, match="another offer"):
        other_offer.verify(keys)
    both = replace(
        licence,
        offered=SignedOffer(changed, licence.offered.signatures),
        acceptance=replace(licence.acceptance, offer=changed.digest),
    )
    with pytest.raises(LicenceInvalid, match="signature of party 1"):
        both.verify(keys)
    cheaper = replace(licence, acceptance=replace(licence.acceptance, rate_class="reduced"))
    with pytest.raises(LicenceInvalid, match="analyst's signature"):
        cheaper.verify(keys)
    swapped = replace(licence, acceptance=replace(licence.acceptance, analyst=key("bob").public.raw))
    with pytest.raises(LicenceInvalid, match="analyst's signature"):
        swapped.verify(keys)


def test_a_signature_counts_for_its_own_party_alone() -> None:
    made = pool(1, 2)
    _, by_first = made.sign(PartyId(1), party_key(1))
    forged = SignedOffer(made, ((PartyId(1), by_first), (PartyId(2), by_first)))
    assert forged.complete
    with pytest.raises(LicenceInvalid, match="party 2"):
        forged.verify(party_keys())
    with pytest.raises(LicenceInvalid, match="party 2 is not in the roster"):
        signed(made).verify(party_keys(1))
    with pytest.raises(LicenceInvalid, match="owners alone"):
        SignedOffer(offer(), ((PartyId(2), by_first),))


def test_a_pool_is_open_once_all_have_signed() -> None:
    made = pool(1, 2, 3)
    half = SignedOffer(made, (made.sign(PartyId(1), party_key(1)),))
    assert not half.complete
    with pytest.raises(LicenceInvalid, match="not every owner"):
        Agreement.make(half, ANNA, licensee="Anna", now_ms=MADE_AT, entropy=bytes)
    more = half.with_signatures((made.sign(PartyId(3), party_key(3)), made.sign(PartyId(2), party_key(2))))
    assert more == signed(made)


def test_a_licence_is_named_by_what_was_agreed() -> None:
    first = accepted(offer())
    assert first.digest == accepted(offer()).digest
    assert first.digest != accepted(offer(), seed=1).digest
    assert first.digest != accepted(offer(), at=MADE_AT + 1).digest
    assert first.digest != accepted(offer(title="Other")).digest
    assert replace(first, signature=bytes(64)).digest == first.digest


@pytest.mark.parametrize("at", [MADE_AT - 1, MADE_AT + 90 * DAY_MS])
def test_what_is_not_open_is_not_accepted(at: int) -> None:
    with pytest.raises(LicenceInvalid, match="no longer open"):
        accepted(offer(), at=at)


def test_an_offer_to_others_is_not_accepted() -> None:
    made = offer(analysts=(key("bob").public.raw,))
    with pytest.raises(LicenceInvalid, match="made to others"):
        accepted(made)
    assert accepted(made, key("bob")).analyst == key("bob").public.raw


def test_a_rate_that_is_not_offered_is_not_accepted() -> None:
    with pytest.raises(LicenceInvalid, match="no reduced rate"):
        accepted(offer(), rate_class="reduced")
    both = offer(price=PricePlan("EUR", Rate(per_query=500), Rate(per_query=50)))
    assert accepted(both, rate_class="reduced").rate.per_query == 50
    assert accepted(both).rate.per_query == 500


# ------------------------------------------------------------------------------------------------ revocations, deeds


def test_who_may_end_a_licence() -> None:
    licence, keys = accepted(pool(1, 2)), party_keys()
    for party, signing in ((PartyId(1), party_key(1)), (PartyId(2), party_key(2)), (None, ANNA)):
        Revocation.make(licence.digest, party, signing, now_ms=MADE_AT + 5).verify(licence, keys)
    for party, signing, why in (
        (PartyId(3), party_key(3), "only an owner"),
        (PartyId(1), party_key(2), "signature of party 1"),
        (None, key("bob"), "signature of the analyst"),
        (None, party_key(1), "signature of the analyst"),
    ):
        with pytest.raises(LicenceInvalid, match=why):
            Revocation.make(licence.digest, party, signing, now_ms=MADE_AT + 5).verify(licence, keys)


def test_a_revocation_is_of_one_licence_and_one_time() -> None:
    licence, keys = accepted(offer()), party_keys()
    good = Revocation.make(licence.digest, PartyId(1), party_key(1), now_ms=MADE_AT + 5, reason="misuse")
    for bad in (replace(good, at=MADE_AT + 6), replace(good, reason="other"), replace(good, party=None)):
        with pytest.raises(LicenceInvalid, match="does not fit"):
            bad.verify(licence, keys)
    with pytest.raises(LicenceInvalid, match="another licence"):
        good.verify(accepted(offer(), seed=1), keys)
    early = Revocation.make(licence.digest, PartyId(1), party_key(1), now_ms=MADE_AT - 1)
    with pytest.raises(LicenceInvalid, match="before it begins"):
        early.verify(licence, keys)
    with pytest.raises(LicenceInvalid, match="printable text"):
        Revocation.make(licence.digest, PartyId(1), party_key(1), now_ms=MADE_AT, reason="x\x1b[2J")


def test_a_deed_proves_who_holds_what() -> None:
    licence, keys = accepted(pool(1, 2)), party_keys()
    counter = tuple(licence.countersign(PartyId(party), party_key(party)) for party in (1, 2))
    deed = Deed(licence, counter)
    deed.verify(keys)
    assert deed.complete
    assert deed.until == licence.ends_at
    assert not Deed(licence, counter[:1]).complete
    with pytest.raises(LicenceInvalid, match="signature of party 2"):
        Deed(licence, (counter[0], (PartyId(2), counter[0][1]))).verify(keys)
    with pytest.raises(LicenceInvalid, match="no owner"):
        Deed(licence, ((PartyId(3), counter[0][1]),)).verify(keys)
    with pytest.raises(LicenceInvalid, match="signature of party 1"):
        Deed(accepted(pool(1, 2), seed=1), counter).verify(keys)
    end = Revocation.make(licence.digest, PartyId(2), party_key(2), now_ms=MADE_AT + DAY_MS)
    ended = Deed(licence, counter, end)
    ended.verify(keys)
    assert ended.until == MADE_AT + DAY_MS
    with pytest.raises(LicenceInvalid, match="does not fit"):
        Deed(licence, counter, replace(end, at=MADE_AT)).verify(keys)


def test_the_examples_are_what_they_say() -> None:
    assert licensing.offer().pool is False
    assert licensing.pool(1, 2).pool is True


@pytest.mark.parametrize("part", ["offer", "acceptance", "countersignature", "revocation"])
def test_a_deed_with_one_forged_signature_proves_nothing(part: str) -> None:
    """Whoever files it away checks all of them at once."""
    licence, wrong = accepted(pool(1, 2)), key("mallory")
    counter = tuple(licence.countersign(p, party_key(p)) for p in (PartyId(1), PartyId(2)))
    end = Revocation.make(licence.digest, PartyId(2), party_key(2), now_ms=MADE_AT + DAY_MS)
    Deed(licence, counter, end).verify(party_keys())
    acceptance, offered = licence.acceptance, licence.offered
    match part:
        case "offer":
            forged = tuple((party, wrong.sign("licence-offer", bytes(8))) for party, _ in offered.signatures)
            licence = replace(licence, offered=replace(offered, signatures=forged))
        case "acceptance":
            licence = replace(licence, signature=wrong.sign("licence-acceptance", acceptance.to_bytes()))
        case "countersignature":
            counter = (counter[0], licence.countersign(PartyId(2), wrong))
        case _:
            end = Revocation.make(licence.digest, PartyId(2), wrong, now_ms=MADE_AT + DAY_MS)
    with pytest.raises(LicenceInvalid):
        Deed(licence, counter, end).verify(party_keys())


def test_a_revocation_says_who_ended_the_licence() -> None:
    """One signature of a key that is an owner's and an analyst's at once does not count for the other of the two."""
    licence = accepted(offer())
    end = Revocation.make(licence.digest, None, party_key(1), now_ms=MADE_AT + DAY_MS)
    with pytest.raises(LicenceInvalid, match="does not fit"):
        replace(end, party=PartyId(1)).verify(licence, party_keys())
