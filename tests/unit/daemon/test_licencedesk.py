from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpcd import limits
from mpcd.daemon.licencedesk import LicenceDesk
from mpcd.errors import ConfigurationInvalid, LicenceInvalid, NotAuthorised, NotFound, Refused
from mpcd.governance.asked import Asked
from mpcd.governance.licence import Agreement, Deed, Revocation
from mpcd.governance.offer import Controller, Duty, Grant, Offer, SignedOffer, offer_name
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.policy import Policy
from mpcd.governance.price import PricePlan, Rate
from mpcd.identity import VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, RequestDigest
from mpcd.roster import Column, Party, Roster, Table
from mpcd.store import Store, licences
from mpcd.store.ledger import Append
from mpcd.testing.licensing import CONSORTIUM, DAY_MS, MADE_AT, accepted, key, offer, party_key, pool, signed

ANNA = key("anna")
POLICY = """
purposes = ["HMB"]
[[table]]
name = "gbsg2"
licence = "required"
conditions = ["NCU"]
uses = { age = ["filter"] }
[[table]]
name = "wdbc"
uses = { age = ["filter"] }
"""
COLUMN = Column("age", "integer", 0, 120)


def table(name: str, *owners: int) -> Table:
    return Table(name, 1000, True, True, None, tuple(PartyId(owner) for owner in owners), (COLUMN,))


ROSTER = Roster(
    CONSORTIUM,
    1,
    tuple(
        Party(PartyId(one), f"H{one}", f"channel {one}", str(party_key(one).public), ("input", "compute"))
        for one in (1, 2, 3)
    ),
    (table("gbsg2", 1, 2), table("wdbc", 1, 2, 3), table("aids", 2, 3)),
)


class Journal:
    """A store without a thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.log: list[str] = []

    async def read(self, work: Callable[[sqlite3.Connection], Any], *, apart: bool = False) -> Any:
        return self.store.read(work, apart=apart)

    async def write(self, work: Callable[[sqlite3.Connection, Append], Any]) -> Any:
        self.log.append("write")
        return self.store.write(work, now=self.clock.now)


class Clock:
    now = MADE_AT / 1000

    def __call__(self) -> float:
        return self.now


class LivePolicy:
    """Who is accepted, and what is published."""

    def __init__(self) -> None:
        self.policy = Policy.parse(POLICY)
        self.facts = AnalystFacts("Anna", commercial=False)
        self.tables: frozenset[str] | None = None
        self.known = {ANNA.public}

    def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
        assert at
        return AcceptedAnalyst("Anna", analyst, self.tables, self.facts) if analyst in self.known else None


class World:
    """One owner's desk and everything around it."""

    def __init__(self, directory: Path, party: int = 1) -> None:
        self.clock = Clock()
        self.store = Store.open(directory, entropy=random.Random(5).randbytes)
        self.journal = Journal(self.store, self.clock)
        self.policy = LivePolicy()
        self.stopped: list[Callable[[SignedRequest], bool]] = []
        self.versions = {"gbsg2": "ab" * 32, "wdbc": "cd" * 32}
        self.desk = LicenceDesk(
            self.journal,  # type: ignore[arg-type]  # reads and writes as the real one
            self.policy,  # type: ignore[arg-type]  # as above
            PartyId(party),
            ROSTER,
            party_key(party),
            lambda tables: {name: self.versions[name] for name in tables},
            self.stop,
            self.clock,
            random.Random(6).randbytes,
        )

    def stop(self, concerns: Callable[[SignedRequest], bool], why: str) -> int:
        assert "revoked" in why
        self.journal.log.append("stop")
        self.stopped.append(concerns)
        return 0

    async def open(self, made: Offer) -> SignedOffer:
        return (await self.desk.sign(made, signed(made).signatures)).signed

    async def hold(self, made: Offer) -> Agreement:
        await self.open(made)
        agreement = accepted(made, at=self.desk.now)
        await self.desk.accept(agreement.to_bytes(), "uid 1")
        if made.pool:
            await self.desk.complete(whole(agreement).to_bytes(), "party 2")
        return agreement

    def kinds(self) -> list[str]:
        return [row.kind for row in self.store.ledger_entries(0, 100)]


def whole(agreement: Agreement) -> Deed:
    owners = agreement.offer.owners
    return Deed(agreement, tuple(agreement.countersign(party, party_key(party)) for party in owners))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "state")
    yield made
    made.store.close()


# ------------------------------------------------------------------------------------------------ offers


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"consortium": "another"}, "another consortium"),
        ({"controllers": (Controller(PartyId(2), "b", "b"),)}, "not ours"),
        ({"grants": (Grant("aids", None),)}, "publishes no table aids"),
        ({"commercial": True}, "under NCU"),
        ({"newer_versions": False, "versions": ((1, "gbsg2", "ef" * 32),)}, "another version"),
    ],
)
async def test_what_an_owner_does_not_sign(world: World, changed: dict[str, object], said: str) -> None:
    with pytest.raises(LicenceInvalid, match=said):
        await world.desk.sign(offer(**changed))
    assert world.kinds() == []


async def test_the_version_that_is_published_can_be_offered_alone(world: World) -> None:
    fixed = offer(newer_versions=False, versions=((1, "gbsg2", "ab" * 32),))
    assert (await world.desk.sign(fixed)).state == "open"
    assert world.desk.versions(("gbsg2", "aids")) == {"gbsg2": "ab" * 32}


async def test_a_pool_is_of_all_owners_of_its_tables(world: World) -> None:
    with pytest.raises(LicenceInvalid, match="all owners of its tables"):
        await world.desk.sign(pool(1, 2, grants=(Grant("gbsg2", None), Grant("wdbc", None))))
    assert (await world.desk.sign(pool(1, 2))).state == "pending"


async def test_an_offer_that_is_too_long_is_not_signed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OFFER_BYTES_MAX", 100)
    with pytest.raises(LicenceInvalid, match="at most 100 bytes"):
        await world.desk.sign(offer())


async def test_a_pool_s_offer_waits_for_our_own_people(world: World) -> None:
    made = pool(1, 2)
    half = SignedOffer(made, (made.sign(PartyId(2), party_key(2)),))
    assert (await world.desk.take(half.to_bytes(), PartyId(2))).state == "pending"
    assert await world.desk.open_for(ANNA.public) == []
    row = await world.desk.sign_named(offer_name(made.digest))
    assert (row.state, row.signed) == ("open", signed(made))
    await world.desk.withdraw(offer_name(made.digest))
    with pytest.raises(NotFound, match="withdrawn"):
        await world.desk.sign_named(offer_name(made.digest))


async def test_what_a_party_cannot_send_us(world: World) -> None:
    made = pool(1, 2)
    _, other = made.sign(PartyId(2), party_key(2))
    for data, party, said in (
        (SignedOffer(made, ((PartyId(2), other),)), 3, "only an owner of a pool"),
        (SignedOffer(made, ()), 2, "only an owner of a pool"),
        (signed(offer()), 1, "only an owner of a pool"),
        (SignedOffer(made, ((PartyId(1), other),)), 2, "signature of party 1"),
        (signed(pool(2, 3)), 2, "not ours"),
    ):
        with pytest.raises(LicenceInvalid, match=said):
            await world.desk.take(data.to_bytes(), PartyId(party))
    assert world.kinds() == []


async def test_a_file_is_read_with_its_line(world: World) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"offer.toml:1: "):
        world.desk.draft("term_days = 0", "offer.toml", None)


# ------------------------------------------------------------------------------------------------ what one may see


async def test_who_sees_an_offer(world: World) -> None:
    for_all, for_bob = await world.open(offer()), offer(title="bob", analysts=(key("bob").public.raw,))
    await world.open(for_bob)
    assert await world.desk.open_for(ANNA.public) == [for_all]
    assert await world.desk.open_for(key("bob").public) == []
    world.policy.known.add(key("bob").public)
    assert len(await world.desk.open_for(key("bob").public)) == 2
    world.policy.tables = frozenset({"wdbc"})
    assert await world.desk.open_for(ANNA.public) == []


async def test_what_one_may_not_see_one_cannot_accept(world: World) -> None:
    await world.open(offer())
    licence = accepted(offer()).to_bytes()
    world.policy.tables = frozenset({"wdbc"})
    with pytest.raises(NotFound, match="no such offer"):
        await world.desk.accept(licence, "uid 1")
    world.policy.tables = None
    world.policy.known.clear()
    with pytest.raises(NotFound, match="no such offer"):
        await world.desk.accept(licence, "uid 1")


# ------------------------------------------------------------------------------------------------ agreements


async def test_an_agreement_is_countersigned_as_often_as_it_comes(world: World) -> None:
    agreement = await world.hold(offer())
    party, signature = await world.desk.accept(agreement.to_bytes(), "uid 1")
    assert (party, signature) == agreement.countersign(PartyId(1), party_key(1))
    assert world.kinds() == ["offered", "licensed"]
    ((deed, queries),) = await world.desk.of_analyst(ANNA.public)
    deed.verify(world.desk.keys)
    assert (deed.complete, queries) == (True, 0)


@pytest.mark.parametrize("late", [-60_001, 86_400_001])
async def test_an_acceptance_is_of_now(world: World, late: int) -> None:
    await world.open(offer())
    agreement = accepted(offer(), at=MADE_AT + 100_000)
    world.clock.now = (agreement.begins_at + late) / 1000
    with pytest.raises(LicenceInvalid, match="too old, or of the future"):
        await world.desk.accept(agreement.to_bytes(), "uid 1")
    world.clock.now = agreement.begins_at / 1000 + 3600
    assert await world.desk.accept(agreement.to_bytes(), "uid 1")


async def test_a_forged_acceptance_is_not_taken_in(world: World) -> None:
    await world.open(offer())
    forged = replace(accepted(offer()), signature=bytes(64))
    with pytest.raises(LicenceInvalid, match="analyst's signature"):
        await world.desk.accept(forged.to_bytes(), "uid 1")


async def test_who_is_not_entitled_is_told_why(world: World) -> None:
    both = offer(price=PricePlan("EUR", Rate(per_query=500), Rate(per_query=50)))
    await world.open(both)
    world.policy.facts = AnalystFacts("Anna")
    with pytest.raises(Refused) as caught:
        await world.desk.accept(accepted(both, rate_class="reduced").to_bytes(), "uid 1")
    assert len(caught.value.reasons) == 2
    world.policy.facts = AnalystFacts("Anna", commercial=False, rate_class="reduced")
    assert await world.desk.accept(accepted(both, rate_class="reduced").to_bytes(), "uid 1")


async def test_an_offer_is_accepted_once_for_a_term(world: World) -> None:
    agreement = await world.hold(offer())
    with pytest.raises(LicenceInvalid, match=f"you hold licence {offer_name(agreement.digest)} under this offer"):
        await world.desk.accept(accepted(offer(), seed=1).to_bytes(), "uid 1")
    assert world.kinds() == ["offered", "licensed"]


async def test_an_offer_of_data_that_is_not_the_newest_any_more_is_not_open(world: World) -> None:
    fixed = offer(newer_versions=False, versions=((1, "gbsg2", "ab" * 32),))
    await world.open(fixed)
    assert (world.desk.outdated(fixed), len(await world.desk.open_for(ANNA.public))) == (False, 1)
    assert await world.desk.bound_to_others("gbsg2", "ab" * 32) == ([], [])
    assert await world.desk.bound_to_others("gbsg2", "ee" * 32) == ([], [fixed])
    assert await world.desk.bound_to_others("wdbc", "ee" * 32) == ([], [])
    agreement = accepted(fixed)
    await world.desk.accept(agreement.to_bytes(), "uid 1")
    deeds, _ = await world.desk.bound_to_others("gbsg2", "ee" * 32)
    assert [one.agreement for one in deeds] == [agreement]
    world.versions["gbsg2"] = "ee" * 32
    assert world.desk.outdated(fixed)
    assert await world.desk.open_for(ANNA.public) == []
    with pytest.raises(NotFound, match="no such offer"):
        await world.desk.accept(accepted(fixed, seed=1).to_bytes(), "uid 1")
    assert not world.desk.outdated(offer())


async def test_another_owner_withdraws_a_pool_s_offer(world: World) -> None:
    made = pool(1, 2)
    await world.open(made)
    assert not await world.desk.withdrawn_by(bytes(32), PartyId(2))
    with pytest.raises(NotAuthorised):
        await world.desk.withdrawn_by(made.digest, PartyId(3))
    assert len(await world.desk.open_for(ANNA.public)) == 1
    assert await world.desk.withdrawn_by(made.digest, PartyId(2))
    assert await world.desk.open_for(ANNA.public) == []
    with pytest.raises(NotFound):
        await world.desk.accept(accepted(made).to_bytes(), "uid 1")
    with pytest.raises(NotFound, match="withdrawn"):
        await world.desk.sign_named(offer_name(made.digest))


async def test_half_of_a_pool_makes_no_licence(world: World) -> None:
    made = pool(1, 2)
    await world.open(made)
    agreement = accepted(made)
    await world.desk.accept(agreement.to_bytes(), "uid 1")
    assert "is not in force" in refusals(world)[0]
    ours = Deed(agreement, whole(agreement).countersignatures[:1])
    with pytest.raises(LicenceInvalid, match="not every owner"):
        await world.desk.complete(ours.to_bytes(), "party 2")
    (first, (second, _)) = whole(agreement).countersignatures
    forged = Deed(agreement, (first, (second, first[1])))
    with pytest.raises(LicenceInvalid, match="signature of party 2"):
        await world.desk.complete(forged.to_bytes(), "party 2")
    assert "is not in force" in refusals(world)[0]
    await world.desk.complete(whole(agreement).to_bytes(), "party 2")
    assert refusals(world) == []
    ((deed, _),) = await world.desk.of_analyst(ANNA.public)
    assert deed == whole(agreement)
    assert (await world.desk.deed_named(offer_name(agreement.digest))) == whole(agreement)


# ------------------------------------------------------------------------------------------------ deciding and ending


def asked(at: int = MADE_AT) -> Asked:
    return Asked(
        party=PartyId(1),
        analyst=ANNA.public,
        kind="explain",
        tables=("gbsg2",),
        uses={},
        functions=frozenset(),
        purpose="HMB",
        security="malicious",
        request_digest=RequestDigest(bytes(32)),
        question_digest=bytes(32),
        data_versions={},
        at=at,
        owners=(PartyId(1), PartyId(2)),
        accepted=AcceptedAnalyst("Anna", ANNA.public, None, AnalystFacts("Anna", commercial=False)),
    )


def refusals(world: World) -> list[str]:
    decision = world.store.read(lambda c: world.desk.part(c)(asked()))
    return [refusal.message for refusal in decision.refusals]


async def test_a_licence_that_is_held_covers(world: World) -> None:
    assert "you hold none" in refusals(world)[0]
    await world.hold(offer())
    assert refusals(world) == []
    assert refusals(world) == []  # what was decoded is remembered


async def test_an_owner_ends_a_licence(world: World) -> None:
    agreement = await world.hold(offer())
    world.journal.log.clear()
    revocation = await world.desk.revoke(offer_name(agreement.digest), "misuse")
    revocation.verify(agreement, world.desk.keys)
    assert world.journal.log == ["stop", "write", "stop"]
    assert "was revoked" in refusals(world)[0]
    assert await world.desk.revoke(offer_name(agreement.digest), "again") == revocation
    assert world.kinds() == ["offered", "licensed", "revoked"]
    request = type("Signed", (), {})()
    request.request = type("Request", (), {"analyst": ANNA.public})()
    request.digest = lambda: RequestDigest(bytes(32))
    assert all(concerns(request) for concerns in world.stopped)
    request.request.analyst = key("bob").public
    assert not any(concerns(request) for concerns in world.stopped)


async def test_while_it_is_being_ended_nothing_is_decided_on_it(world: World) -> None:
    agreement = await world.hold(offer())
    during: list[list[str]] = []

    def stop(_concerns: Callable[[SignedRequest], bool], _why: str) -> int:
        during.append(refusals(world))
        return 0

    world.desk._end_sessions = stop
    await world.desk.revoke(offer_name(agreement.digest), "misuse")
    assert len(during) == 2
    assert "you hold none" in during[0][0]
    assert "was revoked" in during[1][0]


async def test_who_sends_us_an_end(world: World) -> None:
    agreement = await world.hold(pool(1, 2))
    by_second = Revocation.make(agreement.digest, PartyId(2), party_key(2), now_ms=MADE_AT)
    with pytest.raises(NotAuthorised):
        await world.desk.end(by_second.to_bytes(), PartyId(3))
    with pytest.raises(LicenceInvalid, match="does not fit"):
        await world.desk.end(replace(by_second, reason="x").to_bytes(), PartyId(2))
    assert refusals(world) == []
    await world.desk.end(by_second.to_bytes(), PartyId(2))
    assert "was revoked" in refusals(world)[0]


@pytest.mark.parametrize(("skew", "said"), [(60_001, "of the future"), (-3_600_001, "sent when it is signed")])
async def test_an_analyst_ends_a_licence_now_and_not_in_the_past(world: World, skew: int, said: str) -> None:
    agreement = await world.hold(offer())
    world.clock.now += DAY_MS / 1000
    wrong = Revocation.make(agreement.digest, None, ANNA, now_ms=world.desk.now + skew)
    with pytest.raises(LicenceInvalid, match=said):
        await world.desk.end(wrong.to_bytes())
    await world.desk.end(Revocation.make(agreement.digest, None, ANNA, now_ms=world.desk.now).to_bytes())
    assert "was revoked" in refusals(world)[0]


async def test_the_key_that_took_the_place_of_another_ends_its_licence(world: World) -> None:
    agreement = await world.hold(offer())
    bob = key("bob")
    later = Revocation.make(agreement.digest, None, bob, now_ms=MADE_AT, replaces=True)
    with pytest.raises(LicenceInvalid, match="does not know your key"):
        await world.desk.end(later.to_bytes())
    world.store.write(lambda c, _: licences.pass_on(c, ANNA.public.raw, bob.public.raw), now=MADE_AT / 1000)
    worn = Revocation.make(agreement.digest, None, ANNA, now_ms=MADE_AT)
    with pytest.raises(LicenceInvalid, match="another key has taken the place"):
        await world.desk.end(worn.to_bytes())
    stolen = replace(worn, key=bob.public.raw)
    with pytest.raises(LicenceInvalid, match="does not fit"):
        await world.desk.end(stolen.to_bytes())
    await world.desk.end(later.to_bytes())
    deed = await world.desk.deed_named(offer_name(agreement.digest))
    deed.verify(world.desk.keys)
    assert deed.revocation == later
    assert await world.desk.held_by(bob.public) == []


async def test_an_owner_says_why(world: World) -> None:
    agreement = await world.hold(offer())
    with pytest.raises(LicenceInvalid, match="say why"):
        await world.desk.revoke(offer_name(agreement.digest), "  ")
    assert [one.agreement for one in await world.desk.held_by(ANNA.public)] == [agreement]


async def test_an_end_of_what_is_not_here(world: World) -> None:
    nothing = Revocation.make(bytes(32), None, ANNA, now_ms=MADE_AT)
    with pytest.raises(NotFound):
        await world.desk.end(nothing.to_bytes())


# ------------------------------------------------------------------------------------------------ lists


async def test_lists_of_the_owner(world: World) -> None:
    agreement = await world.hold(offer(term_days=10, duties=(Duty("PUB", 5, "end"), Duty("IRB", 1, "acceptance"))))
    assert [deed.agreement for deed, _ in await world.desk.licences(ended=False)] == [agreement]
    assert [one.code for one in await world.desk.obligations()] == ["IRB", "PUB"]
    await world.desk.meet(offer_name(agreement.digest), "IRB", bytes(32))
    assert [one.code for one in await world.desk.obligations()] == ["PUB"]
    with pytest.raises(NotFound, match="no duty"):
        await world.desk.meet(offer_name(agreement.digest), "NCU", None)
    world.clock.now += 10 * DAY_MS / 1000
    assert await world.desk.licences(ended=False) == []
    assert len(await world.desk.licences(ended=True)) == 1
    assert (await world.desk.deed_named(offer_name(agreement.digest))).complete
    assert [row.state for row in await world.desk.offered()] == ["open"]
