from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcd import limits
from mpcd.errors import LicenceInvalid, LimitExceeded, NotFound
from mpcd.governance import Debit, DisclosureRules, entries
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import Duty, Offer, SignedOffer
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import NonceUse, Store, licences
from mpcd.store.licences import LicenceRow, OfferRow
from mpcd.testing.licensing import DAY_MS, MADE_AT, accepted, key, offer, party_key, pool, signed

NOW = MADE_AT / 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state", entropy=random.Random(5).randbytes)
    yield opened
    opened.close()


def put(store: Store, one: SignedOffer, by: str = licences.OPERATOR, at: int = MADE_AT) -> OfferRow:
    return store.write(lambda c, append: licences.put_offer(c, append, one, by=by, at=at), now=NOW)


def take(store: Store, agreement: Agreement, at: int = MADE_AT) -> None:
    store.write(lambda c, append: licences.accept(c, append, agreement, by="uid 1", at=at), now=NOW)


def given(store: Store, made: Offer, seed: int = 0) -> Agreement:
    put(store, signed(made))
    agreement = accepted(made, seed=seed)
    take(store, agreement)
    return agreement


def kinds(store: Store) -> list[str]:
    return [row.kind for row in store.ledger_entries(0, 100)]


def test_a_pool_opens_with_its_last_signature(store: Store) -> None:
    made = pool(1, 2)
    first = SignedOffer(made, (made.sign(PartyId(1), party_key(1)),))
    second = SignedOffer(made, (made.sign(PartyId(2), party_key(2)),))
    assert put(store, first).state == "pending"
    with pytest.raises(NotFound, match="no such offer is open"):
        take(store, accepted(made))
    merged = put(store, second)
    assert (merged.state, merged.signed) == ("open", signed(made))
    assert put(store, first) == merged
    assert kinds(store) == ["offered", "offered"]
    take(store, accepted(made))


def test_a_withdrawn_offer_is_not_accepted_and_ends_no_licence(store: Store) -> None:
    made = offer()
    agreement = given(store, made)
    for _ in range(2):
        store.write(lambda c, append: licences.withdraw_offer(c, append, made.digest, at=MADE_AT), now=NOW)
    with pytest.raises(NotFound):
        take(store, accepted(made, seed=1))
    assert put(store, signed(made)).state == "withdrawn"
    take(store, agreement)
    assert store.read(lambda c: licences.held(c, agreement.analyst))[0].revoked_at is None
    assert store.read(lambda c: licences.offers(c, ("open",), after=0)) == []
    assert kinds(store) == ["offered", "licensed", "offered"]


def test_an_offer_that_is_past_is_not_listed(store: Store) -> None:
    row = put(store, signed(offer()))
    assert store.read(lambda c: licences.offers(c, ("open",), after=row.signed.offer.open_until - 1)) == [row]
    assert store.read(lambda c: licences.offers(c, ("open",), after=row.signed.offer.open_until)) == []


def test_the_same_agreement_is_taken_in_once(store: Store) -> None:
    agreement = given(store, offer())
    take(store, agreement)
    assert kinds(store) == ["offered", "licensed"]
    (row,) = store.read(lambda c: licences.held(c, agreement.analyst))
    assert row == LicenceRow(agreement.digest, None)
    assert store.read(lambda c: licences.agreement(c, row.digest)) == agreement


def test_only_so_many_licences_of_one_analyst(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LICENCES_PER_ANALYST_MAX", 2)
    made, second, third = (offer(term_days=10, title=title) for title in "abc")
    given(store, made)
    given(store, second)
    put(store, signed(third))
    with pytest.raises(LimitExceeded, match="2 licences"):
        take(store, accepted(third))
    take(store, accepted(third, key("bob"), seed=2))
    later = MADE_AT + 10 * DAY_MS
    take(store, accepted(third, at=later), later)
    held = store.read(lambda c: licences.held(c, key("anna").public.raw))
    assert len(held) == 2
    ends = [store.read(lambda c, row=row: licences.agreement(c, row.digest)).ends_at for row in held]  # type: ignore[misc]
    assert max(ends) == later + 10 * DAY_MS


def test_an_offer_is_accepted_once_for_a_term(store: Store) -> None:
    made = offer(term_days=10)
    first = given(store, made)
    again = accepted(made, seed=1)
    with pytest.raises(
        LicenceInvalid, match=f"you hold licence {first.digest.hex()[:16]} under this offer.*2026-11-11"
    ):
        take(store, again)
    take(store, accepted(made, key("bob"), seed=1))
    given(store, offer(title="another"))
    end = MADE_AT + 10 * DAY_MS
    with pytest.raises(LicenceInvalid, match="renew it after its end"):
        take(store, accepted(made, seed=2, at=end - 1), end)
    take(store, accepted(made, seed=2, at=end), end)


def test_what_was_ended_gives_no_new_quota_before_its_term_is_over(store: Store) -> None:
    made = offer(term_days=10)
    first = given(store, made)
    ended = Revocation.make(first.digest, None, key("anna"), now_ms=MADE_AT + DAY_MS)
    assert store.write(lambda c, append: licences.revoke(c, append, ended), now=NOW)
    for day in (1, 2, 9):
        at = MADE_AT + day * DAY_MS
        with pytest.raises(LicenceInvalid, match=r"was ended.*accepted again after 2026-11-11"):
            take(store, accepted(made, seed=1, at=at), at)
    end = MADE_AT + 10 * DAY_MS
    take(store, accepted(made, seed=1, at=end), end)


def test_a_key_that_replaced_another_has_accepted_what_that_one_has(store: Store) -> None:
    first = given(store, offer())
    bob = key("bob")
    store.write(lambda c, _: licences.pass_on(c, first.analyst, bob.public.raw), now=NOW)
    assert store.read(lambda c: licences.holder(c, first.digest)) == bob.public.raw
    with pytest.raises(LicenceInvalid, match="you hold licence"):
        take(store, accepted(offer(), bob, seed=1))


def whole(agreement: Agreement) -> Deed:
    owners = agreement.offer.owners
    return Deed(agreement, tuple(agreement.countersign(party, party_key(party)) for party in owners))


def complete(store: Store, deed: Deed, at: int = MADE_AT) -> None:
    store.write(lambda c, append: licences.complete(c, append, deed, by="party 2", at=at), now=NOW)


def test_a_pool_s_licence_is_in_force_once_all_owners_say_that_they_hold_it(store: Store) -> None:
    agreement = given(store, pool(1, 2))
    (row,) = store.read(lambda c: licences.held(c, agreement.analyst))
    known = store.read(lambda c: licences.deed(c, agreement.digest))
    assert known is not None
    assert (row.countersigned, licences.in_force(known)) == (False, False)
    with pytest.raises(LicenceInvalid, match="waits for its other owners"):
        take(store, accepted(pool(1, 2), seed=1))
    with pytest.raises(LicenceInvalid, match="not every owner"):
        complete(store, Deed(agreement, whole(agreement).countersignatures[:1]))
    complete(store, whole(agreement))
    complete(store, whole(agreement))
    (row,) = store.read(lambda c: licences.held(c, agreement.analyst))
    assert row.countersigned
    assert store.read(lambda c: licences.deed(c, agreement.digest)) == whole(agreement)
    assert kinds(store) == ["offered", "licensed", "licensed"]
    with pytest.raises(NotFound):
        complete(store, whole(accepted(pool(1, 2), seed=2)))


def test_what_not_all_owners_held_in_time_is_no_licence_and_in_nobody_s_way(store: Store) -> None:
    agreement = given(store, pool(1, 2))
    late = MADE_AT + licences.COMPLETION_MS_MAX + 1
    with pytest.raises(LicenceInvalid, match="not every owner held this licence in time"):
        complete(store, whole(agreement), late)
    second = accepted(pool(1, 2), seed=1, at=late)
    take(store, second, late)
    complete(store, whole(second), late)


def test_one_owner_s_licence_needs_nobody_else(store: Store) -> None:
    agreement = given(store, offer())
    known = store.read(lambda c: licences.deed(c, agreement.digest))
    assert known is not None
    assert licences.in_force(known)


def test_only_so_many_offers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OFFERS_OPEN_MAX", 1)
    put(store, signed(offer()))
    put(store, signed(offer()))
    with pytest.raises(LimitExceeded):
        put(store, signed(offer(title="another")))


def test_what_others_send_fills_neither_our_room_nor_our_ledger(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OFFERS_PENDING_MAX", 1)
    first, second = pool(1, 2), pool(1, 2, title="another")

    def half(made: Offer) -> SignedOffer:
        return SignedOffer(made, (made.sign(PartyId(2), party_key(2)),))

    put(store, half(first), "party 2")
    assert kinds(store) == []
    with pytest.raises(LimitExceeded, match="wait for signatures"):
        put(store, half(second), "party 2")
    put(store, half(second))
    assert kinds(store) == ["offered"]
    put(store, signed(first), "party 2")
    assert kinds(store) == ["offered", "offered"]
    # What nobody completed in time goes.
    put(store, half(pool(1, 2, title="third", open_until=MADE_AT + 200 * DAY_MS)), "party 2", second.open_until)
    assert store.read(lambda c: licences.find_offer(c, second.digest)) is None
    assert store.read(lambda c: licences.find_offer(c, first.digest)) is not None


def test_the_first_revocation_stands(store: Store) -> None:
    agreement = given(store, offer())
    first = Revocation.make(agreement.digest, PartyId(1), party_key(1), now_ms=MADE_AT + 5, reason="misuse")
    later = Revocation.make(agreement.digest, None, key("anna"), now_ms=MADE_AT + 9)
    assert store.write(lambda c, append: licences.revoke(c, append, first), now=NOW)
    assert not store.write(lambda c, append: licences.revoke(c, append, later), now=NOW)
    (row,) = store.read(lambda c: licences.held(c, agreement.analyst))
    assert row.revoked_at == MADE_AT + 5
    assert store.read(lambda c: licences.deed(c, agreement.digest)) == Deed(agreement, (), first)
    assert store.read(lambda c: licences.deeds(c, ending_after=MADE_AT + 5)) == []
    assert kinds(store) == ["offered", "licensed", "revoked"]
    unknown = Revocation.make(bytes(32), None, key("anna"), now_ms=MADE_AT)
    with pytest.raises(NotFound):
        store.write(lambda c, append: licences.revoke(c, append, unknown), now=NOW)


@pytest.mark.parametrize(("party", "by"), [(PartyId(1), "party 1"), (None, "analyst")])
def test_the_record_says_who_ended_a_licence_and_why(store: Store, party: PartyId | None, by: str) -> None:
    agreement = given(store, offer())
    signer = key("anna") if party is None else party_key(1)
    end = Revocation.make(agreement.digest, party, signer, now_ms=MADE_AT + 5, reason="misuse")
    store.write(lambda c, append: licences.revoke(c, append, end), now=NOW)
    (content,) = (row.content for row in store.ledger_entries(0, 100) if row.kind == "revoked")
    assert content is not None
    assert (content["by"], content["reason"], content["digest"]) == (by, "misuse", agreement.digest)


def test_licences_are_found_by_whom_and_by_their_end(store: Store) -> None:
    short, long = offer(term_days=1), offer(term_days=9)
    of_anna = given(store, long)
    put(store, signed(short))
    of_bob = accepted(short, key("bob"))
    take(store, of_bob)
    assert store.read(licences.deeds) == [Deed(of_bob), Deed(of_anna)]
    assert store.read(lambda c: licences.deeds(c, count=1)) == [Deed(of_bob)]
    assert store.read(lambda c: licences.deeds(c, analyst=of_anna.analyst)) == [Deed(of_anna)]
    assert store.read(lambda c: licences.deeds(c, ending_after=of_bob.ends_at)) == [Deed(of_anna)]
    assert store.read(lambda c: licences.deed(c, bytes(32))) is None


def test_a_name_is_the_beginning_of_a_digest(store: Store) -> None:
    agreement = given(store, offer())
    full = agreement.digest.hex()
    for name in (full, full[:8], full[:16].upper()):
        assert store.read(lambda c, name=name: licences.named(c, "licence", name)) == agreement.digest  # type: ignore[misc]
    for name in (full[:7], "0" * 8, "x" * 8, full + "0", ""):
        with pytest.raises(NotFound):
            store.read(lambda c, name=name: licences.named(c, "licence", name))  # type: ignore[misc]
    with pytest.raises(NotFound):
        store.read(lambda c: licences.named(c, "offer", full))


def test_duties_that_are_met(store: Store) -> None:
    agreement = given(store, offer(duties=(Duty("PUB", 1, "end"),)))
    for at in (MADE_AT, MADE_AT + 1):
        store.write(
            lambda c, append, at=at: licences.meet(c, append, agreement.digest, "PUB", bytes(32), at=at),  # type: ignore[misc]
            now=NOW,
        )
    assert store.read(lambda c: licences.met(c, agreement.digest)) == {"PUB": MADE_AT + 1}
    *_, last = (row.content for row in store.ledger_entries(0, 100) if row.kind == "licensed")
    assert last is not None
    assert last["details"] == {"duty": "PUB", "evidence": bytes(32), "state": "met"}
    for digest, code in ((agreement.digest, "IRB"), (bytes(32), "PUB")):
        with pytest.raises(NotFound):
            store.write(
                lambda c, append, digest=digest, code=code: licences.meet(c, append, digest, code, None, at=0),  # type: ignore[misc]
                now=NOW,
            )


def run(store: Store, number: int, account: str | None, agreed_at: float = NOW) -> SessionId:
    session = SessionId(number.to_bytes(32, "big"))
    entry = entries.agreed(
        b"request",
        RequestDigest(session),
        PlanHash(bytes(32)),
        parties=[PartyId(1)],
        policy_digest=bytes(32),
        rules=DisclosureRules(),
        data_versions={},
    )
    store.commit_agreed(
        session,
        entry,
        now=agreed_at,
        burn=NonceUse(key("anna").public.raw, session, int(agreed_at) + 300),
        request_digest=RequestDigest(session),
        plan_hash=PlanHash(bytes(32)),
        debits=() if account is None else (Debit(account, 3, None),),
    )
    return session


def test_what_was_spent_in_all_and_since(store: Store) -> None:
    run(store, 1, "a", NOW)
    second = run(store, 2, "a", NOW + 60)

    def spent(since: int | None) -> int:
        return store.read(lambda c: licences.spending(c)("a", since))

    assert (spent(None), spent(MADE_AT), spent(MADE_AT + 1), spent(MADE_AT + 60_001)) == (6, 6, 3, 0)
    store.commit_aborted(second, entries.aborted("mpc.Cancelled", refunded=True), now=NOW, refund=True)
    assert (spent(None), spent(MADE_AT + 1)) == (3, 0)


def test_an_end_concerns_only_what_is_booked_on_the_licence(store: Store) -> None:
    agreement = given(store, offer())
    mine = run(store, 1, f"licence/{agreement.digest.hex()}/queries")
    other = run(store, 2, "licence/other/queries")
    without = run(store, 3, None)
    holder, elsewhere = store.read(lambda c: licences.running_elsewhere(c, agreement.digest))
    assert holder == agreement.analyst
    assert elsewhere == {bytes(other), bytes(without)}
    assert bytes(mine) not in elsewhere


def test_licences_go_with_a_key_that_takes_the_place_of_another(store: Store) -> None:
    agreement, new = given(store, offer()), key("anna's new one").public.raw
    put(store, signed(offer()))
    bobs = accepted(offer(), key("bob"))
    take(store, bobs)
    store.write(lambda c, _: licences.pass_on(c, agreement.analyst, new), now=NOW)
    assert store.read(lambda c: licences.held(c, agreement.analyst)) == []
    assert store.read(lambda c: licences.held(c, new)) == [LicenceRow(agreement.digest, None)]
    assert store.read(lambda c: licences.deeds(c, analyst=new)) == [Deed(agreement)]
    assert store.read(lambda c: licences.held(c, bobs.analyst)) == [LicenceRow(bobs.digest, None)]
