"""An owner's decision is read from its policy, its store and its desks as they stand at that moment."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpcd import canonical, limits
from mpcd.compile import overlap
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.owner import LivePolicy, Owner
from mpcd.errors import ConfigurationInvalid, StoreFailed
from mpcd.governance.access import AccessBook
from mpcd.governance.asked import Asked, Decision, Wait
from mpcd.governance.decision import Part
from mpcd.governance.entries import Debit
from mpcd.governance.people import AcceptedAnalyst
from mpcd.governance.privacy import Ask, charge
from mpcd.governance.published import Requirement
from mpcd.governance.quote import Line
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey, VerifyKey
from mpcd.ids import PartyId, RosterHash, SessionId
from mpcd.plan import plan_sql
from mpcd.roster import Column, Party, Roster, Table
from mpcd.store import accounts
from mpcd.store.approvals import Known
from mpcd.store.store import Store

SEEDED = random.Random(21)
ANNA, EVE, KEY = (SigningKey.generate(SEEDED.randbytes) for _ in range(3))
ME = PartyId(1)
NOW = 1_795_348_800.0
AT = int(NOW * 1000)
OWNERS = (PartyId(0), PartyId(1), PartyId(2))
ASK = Ask("gaussian", "1", "0.000001")

COLUMNS = (Column("x", "integer", 0, 99), Column("day", "date", 10_000, 20_000))
ROSTER = Roster(
    "three",
    1,
    tuple(
        Party(party, f"h{party}", f"c{party}", str(KEY.public) if party == ME else f"s{party}", ("input", "compute"))
        for party in OWNERS
    ),
    tuple(Table(name, 100, True, True, None, OWNERS, COLUMNS) for name in ("free", "licensed", "approved")),
)
POLICY = f"""\
purposes = ["HMB"]
[[analyst]]
name = "Anna"
key = "{ANNA.public}"
[[table]]
name = "free"
budget = {{ queries = 2, epsilon = 3, delta = 1e-6 }}
granularity = {{ x = 5, day = "month" }}
uses = {{ x = ["filter", "aggregate"], day = ["group"] }}
[[table]]
name = "licensed"
licence = "required"
uses = {{ x = ["filter"] }}
[[table]]
name = "approved"
approvals = {{ min = 2 }}
uses = {{ x = ["filter"] }}
"""


class Licences:
    """A desk whose one licence covers everything for a price."""

    rho: int | None = -1

    def part(self, connection: sqlite3.Connection, rho: int | None = None) -> Part:
        assert accounts.spent(connection, Debit("none", 0, None)) == 0
        self.rho = rho

        def say(asked: Asked) -> Decision:
            line = Line(
                ME, asked.question_digest, b"\1" * 32, "EUR", 500, "standard", False, False, None, {}, asked.at + 1000
            )
            return Decision(debits=(Debit("licence/1/queries", 1, None),), line=line)

        return say


class Approvals:
    """A desk where nobody has approved anything yet."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def prepared(self, signed: SignedRequest, at: int, proposer: PartyId) -> Known:
        self.told.append((signed.digest(), at, proposer))
        return Known(None, (), 0, 0)

    def part(self, signed: SignedRequest, known: Known) -> Callable[[Asked, Requirement], Decision]:
        assert known == Known(None, (), 0, 0)
        return lambda asked, needed: Decision(
            waits=(Wait(ME, "approval", "request", f"{needed.approvers_min} of {signed.request.kind} missing"),)
        )

    async def keep(self, signed: SignedRequest, plan: Any, rules_of: Mapping[str, PartyId], keeper: PartyId) -> None:
        self.told.append((signed.digest(), plan, dict(rules_of), keeper))


class Here:
    """An owner over a store in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "policy.toml"
        self.file.write_text(POLICY)
        self.live = LivePolicy(self.file, ME, ROSTER)
        self.store = Store.open(directory / "state", entropy=SEEDED.randbytes)
        self.journal = StoreJournal(self.store, ME, lambda: NOW, self.live.digest)
        self.owner = Owner(self.live, self.journal, KEY)
        self.sessions = 0

    def request(self, sql: str, key: SigningKey = ANNA, **more: Any) -> SignedRequest:
        return Request.make(
            sql,
            purpose="HMB",
            analyst=key.public,
            result_key=ResultKey.generate(SEEDED.randbytes).public,
            roster_hash=RosterHash(bytes(32)),
            consortium="three",
            now=NOW,
            entropy=SEEDED.randbytes,
            **more,
        ).sign(key)

    async def decide(self, sql: str, key: SigningKey = ANNA, **more: Any) -> Decision:
        signed = self.request(sql, key, **more)
        plan = plan_sql(sql, ROSTER, dt.date(2026, 11, 22))
        versions = {source.table: "1" * 64 for source in plan.sources}
        attempt: Any = SimpleNamespace(at=AT, attachments={}, proposer=PartyId(0))
        return await self.owner.decide(signed, plan, versions, attempt)

    async def book(self, decision: Decision) -> None:
        """What the first commit does of it."""
        self.sessions += 1
        session = SessionId(self.sessions.to_bytes(32, "big"))

        def work(connection: sqlite3.Connection, _append: object) -> None:
            row = (session, session, bytes(32), b"a", AT, AT)
            connection.execute("INSERT INTO session VALUES (?, 'agreed', ?, ?, ?, ?, ?)", row)
            accounts.debit(connection, session, decision.debits, AT)

        await self.journal.write(work)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    (tmp_path / "state").mkdir(mode=0o700)
    made = Here(tmp_path)
    yield made
    made.store.close()


def rules(decision: Decision) -> list[tuple[str, str]]:
    return [(refusal.rule, refusal.subject) for refusal in decision.refusals]


COUNT = "SELECT COUNT(*) FROM free"


async def test_a_budget_that_is_used_up_is_a_refusal_from_then_on(here: Here) -> None:
    for _ in range(2):
        decision = await here.decide(COUNT)
        assert decision.verdict == "agree"
        await here.book(decision)
    assert rules(await here.decide(COUNT)) == [("budget", "free: queries in 30 days")]
    assert rules(await here.decide(COUNT, kind="explain")) == [("budget", "free: queries in 30 days")]


async def test_what_another_owner_says_was_asked_is_held_to_policy_and_licences_but_costs_nothing(here: Here) -> None:
    here.owner.licences = Licences()
    here.owner.approvals = Approvals()

    async def objections(sql: str, key: SigningKey = ANNA) -> list[str]:
        signed = here.request(sql, key, quote_digest=bytes(32))
        plan = plan_sql(sql, ROSTER, dt.date(2026, 11, 22))
        versions = {source.table: "1" * 64 for source in plan.sources}
        return [refusal.rule for refusal in await here.owner.objections(signed, plan, versions, AT)]

    for _ in range(2):
        await here.book(await here.decide(COUNT))
    assert rules(await here.decide(COUNT)) == [("budget", "free: queries in 30 days")]
    assert await objections(COUNT) == [], "what is spent does not matter"
    assert await objections("SELECT COUNT(*) FROM free WHERE x >= 42") == ["granularity"]
    assert await objections(COUNT, EVE) == ["analyst"]
    assert await objections("SELECT SUM(x) FROM licensed") == ["column-use"]
    assert await objections("SELECT COUNT(*) FROM licensed") == []
    here.owner.licences = None
    assert await objections("SELECT COUNT(*) FROM licensed") == ["licence"]
    assert await objections("SELECT COUNT(*) FROM approved") == ["approval"], "no peer can show that people approved"


async def test_steps_are_read_off_the_plan(here: Here) -> None:
    assert (await here.decide("SELECT COUNT(*) FROM free WHERE x >= 40")).verdict == "agree"
    assert rules(await here.decide("SELECT COUNT(*) FROM free WHERE x >= 42")) == [("granularity", "free.x: filter")]
    monthly = "SELECT year(day) AS y, month(day) AS m, COUNT(*) FROM free GROUP BY y, m"
    assert (await here.decide(monthly)).verdict == "agree"
    assert rules(await here.decide("SELECT day, COUNT(*) FROM free WHERE x > 49 GROUP BY day")) == [
        ("granularity", "free.day: group")
    ]


async def test_noise_is_charged_to_the_tables_budget(here: Here) -> None:
    decision = await here.decide(COUNT, privacy=ASK.encode())
    booked = {debit.account: debit.amount for debit in decision.debits if debit.account.startswith("rho/")}
    units = charge(ASK).rho_units
    assert units > 0
    assert booked == {"rho/free/period": units, "rho/free/lifetime": units}
    bad = canonical.encode({"mechanism": "laplace"})
    assert rules(await here.decide(COUNT, privacy=bad)) == [("privacy", "what is asked for")]
    grants_nothing = "SELECT COUNT(*) FROM licensed"
    here.owner.licences = Licences()
    assert ("privacy", "licensed") in rules(await here.decide(grants_nothing, privacy=ASK.encode()))


async def test_a_desk_that_is_not_there_is_a_refusal(here: Here) -> None:
    assert rules(await here.decide("SELECT COUNT(*) FROM licensed")) == [("licence", "licensed")]
    assert rules(await here.decide("SELECT COUNT(*) FROM approved")) == [("approval", "approved")]
    plan: Any = None
    with pytest.raises(StoreFailed):
        await here.owner.ask_approvers(here.request(COUNT), plan, {}, PartyId(0))


async def test_a_price_goes_out_signed(here: Here) -> None:
    here.owner.licences = desk = Licences()
    decision = await here.decide("SELECT COUNT(*) FROM licensed")
    assert decision.verdict == "agree"
    line = decision.terms["line"]
    assert isinstance(line, bytes)
    assert Line.from_signed(line, {ME: KEY.public}) == decision.line
    assert desk.rho is None
    await here.decide("SELECT COUNT(*) FROM licensed", privacy=ASK.encode())
    assert desk.rho == charge(ASK).rho_units


async def test_people_are_asked_with_the_strictest_requirement(here: Here) -> None:
    here.owner.approvals = desk = Approvals()
    decision = await here.decide("SELECT COUNT(*) FROM approved", wait_seconds=60)
    assert [wait.message for wait in decision.waits] == ["2 of sql missing"]
    assert desk.told[0][1:] == (AT, PartyId(0))  # type: ignore[index]  # what `prepared` was told
    plan: Any = "a plan"
    request = here.request(COUNT)
    await here.owner.ask_approvers(request, plan, {"min_owners": ME}, PartyId(2))
    assert desk.told[-1] == (request.digest(), plan, {"min_owners": ME}, PartyId(2))


async def test_an_entry_of_the_book_accepts_and_the_file_wins(here: Here) -> None:
    class Book(AccessBook):
        def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
            assert at == AT
            return AcceptedAnalyst("from the book", analyst, frozenset({"free"}))

    assert rules(await here.decide(COUNT, EVE)) == [("analyst", str(EVE.public))]
    here.live.book = Book()
    assert (await here.decide(COUNT, EVE)).verdict == "agree"
    assert rules(await here.decide("SELECT COUNT(*) FROM approved", EVE)) == [("table", "approved")]
    anna = here.live.accepted(ANNA.public, AT)
    assert anna is not None
    assert anna.name == "Anna"


async def test_a_reload_decides_at_once_and_a_wrong_file_not_at_all(here: Here) -> None:
    here.file.write_text(POLICY.replace('["HMB"]', '["POA"]'))
    assert rules(await here.decide(COUNT)) == []
    assert here.live.reload()
    assert rules(await here.decide(COUNT)) == [("purpose", "free: HMB")]
    here.file.write_text(POLICY.replace('day = "month"', "day = 7"))
    with pytest.raises(ConfigurationInvalid, match="cannot be published in steps of 7"):
        here.live.reload()
    assert rules(await here.decide(COUNT)) == [("purpose", "free: HMB")]


async def test_an_overlap_check_is_an_owners_and_needs_linkage_and_is_rare(here: Here) -> None:
    sql = overlap.statement("free")
    assert rules(await here.decide(sql, KEY, kind="overlap")) == [("overlap", "free")]  # no linkage
    here.owner.has_linkage = lambda table, version: (table, version) == ("free", "1" * 64)
    assert rules(await here.decide(sql, ANNA, kind="overlap")) == [("overlap", "free")]
    other = "SELECT COUNT(*) FROM free"
    assert rules(await here.decide(other, KEY, kind="overlap")) == [("overlap", "free")]
    narrowed = 'SELECT COUNT(*) FROM "free" WHERE x >= 40'
    assert rules(await here.decide(narrowed, KEY, kind="overlap")) == [("overlap", "free")]
    for _ in range(limits.OVERLAP_CHECKS_PER_DAY_MAX):
        decision = await here.decide(sql, KEY, kind="overlap")
        assert decision.verdict == "agree"
        await here.book(decision)
    (refusal,) = (await here.decide(sql, KEY, kind="overlap")).refusals
    assert "enough" in refusal.message
