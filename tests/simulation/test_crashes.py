"""Every party, pairs and all of them crash at every step between the first answer and the release.

The real `Sessions`, stores, owners, licences, approvals, keepers and histories in one trio run.  A *point* is one
moment at which one or several parties stop; many are made in each world, on top of what the earlier ones left.  Each
round asks two or three questions at once, with room in budget and quota for two: by licences that cost money, or as
requests that people must approve.

Must hold, once everybody is back and quiet (`Books.check`):
    - every ledger verifies, and no session has two ends (`World.check`);
    - what was released anywhere is recorded by everybody who took part, and answers with the truth;
    - a party holds one receipt for each session that it recorded and none for others, the same bytes as all the
      others', signed by all participants, and its digest stands in the ledger;
    - an account holds the debits that its sessions made and did not get back, and nothing passed a limit, whatever ran
      at once;
    - whatever sealed bytes were ever sent for a session by a party are those in its store, however often they leave;
    - statements reconcile, but for sessions that one party released and another withheld, which they name.

Need not hold: that a question is answered although somebody crashed; its analyst asks again.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from trio.testing import MockClock

from mpcd.api.types import JobResult
from mpcd.daemon import waiting as keeping
from mpcd.daemon.approvaldesk import ApprovalDesk
from mpcd.daemon.attempt import Attempt, Nobody, Outcome
from mpcd.daemon.licencedesk import LicenceDesk
from mpcd.daemon.owner import LivePolicy, Owner
from mpcd.daemon.waiting import Waiting
from mpcd.errors import AwaitingApproval, MpcdError, PeerGone, ResultWithheld
from mpcd.governance import statement
from mpcd.governance.decision import Decision
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.licence import Agreement
from mpcd.governance.offer import Controller, Grant, Offer, Quota
from mpcd.governance.price import Month, PricePlan, Rate
from mpcd.governance.quote import Quote
from mpcd.governance.receipt import Receipt, SignedReceipt
from mpcd.governance.reconcile import reconcile
from mpcd.governance.statement import Settled
from mpcd.identity import ResultKey, SigningKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, SessionId
from mpcd.session import messages
from mpcd.store import licences, receipts

if TYPE_CHECKING:
    from tests.simulation.conftest import Hospital, World

Consortium = Callable[..., AbstractAsyncContextManager["World"]]
DAY = 86_400.0
COUNTS = ("SELECT COUNT(*) FROM t", "SELECT COUNT(*) FROM t WHERE age >= 18")
SUMS = ("SELECT COUNT(*), SUM(age) FROM t", "SELECT COUNT(*), SUM(age) FROM t WHERE age >= 18")
WORLDS = 8
POINTS_PER_WORLD = 64
ROUNDS_MAX = 150
KINDS = (
    f"sent {messages.ANSWER}",
    "before commit_agreed",
    "after commit_agreed",
    "exchange",
    f"sent {messages.RECEIPT}",
    "before commit_recorded",
    "after commit_recorded",
    f"sent {messages.RECORDED}",
    f"sent {messages.RELEASE}",
    "before commit_released",
    "after commit_released",
)
"""What happens between the first answer and the release."""
PER_DAY = 2


class House:
    """A hospital's people and books: the real policy, owner and desks on the hospital's own journal."""

    def __init__(self, world: World, me: int, *, approvals: bool) -> None:
        self.world = world
        self.me = me
        self.approver = SigningKey.generate(world.rng.randbytes)
        self.path = world.hospitals[me].directory.parent / f"policy-{me}.toml"
        demand = 'approvals = { min = 1, execute = "once" }' if approvals else 'licence = "required"'
        self.path.write_text(
            f'purposes = ["GRU"]\n[budget]\nqueries = {PER_DAY}\nperiod_days = 1\nlifetime_queries = 100000\n'
            f'[[analyst]]\nname = "Anna"\nkey = "{world.analyst.public}"\ncommercial = false\n'
            f'[[approver]]\nname = "Ida"\nkey = "{self.approver.public}"\n'
            f'[[table]]\nname = "t"\n{demand}\nuses = {{ age = ["aggregate", "filter"] }}\n'
        )

    async def open(self, hospital: Hospital) -> None:
        me, world = PartyId(self.me), self.world
        self.hospital = hospital
        policy = LivePolicy(self.path, me, world.roster)
        self.owner = Owner(policy, hospital.journal, hospital.key)
        self.desk = self.owner.approvals = ApprovalDesk(
            me,
            world.roster,
            policy,
            hospital.journal,
            hospital.data_versions,
            hospital.clock,
            self._revoke,
            self._tell,
            hospital.log,
        )
        self.licences = self.owner.licences = LicenceDesk(
            hospital.journal,
            policy,
            me,
            world.roster,
            hospital.key,
            hospital.data_versions,
            self._revoke,
            hospital.clock,
            world.rng.randbytes,
        )
        self.waiting = Waiting(
            me,
            hospital.sessions,
            cast("keeping.Peers", self),
            hospital.journal,
            hospital.clock,
            lambda outcome: JobResult(outcome.plan.encoded, outcome.releases, {"receipt": outcome.receipt}),
            self.desk.withdrawn,
            hospital.log,
        )
        assert hospital.sessions._nursery is not None
        await hospital.sessions._nursery.start(self.waiting.run)

    def _revoke(self, concerns: Callable[[SignedRequest], bool], why: str) -> int:
        return self.hospital.sessions.revoke(concerns, why, owed=True)

    async def _tell(self, digests: Any) -> None:
        await self.waiting.tell(digests)

    async def decide(
        self, request: SignedRequest, plan: Any, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        return await self.owner.decide(request, plan, versions, attempt)

    async def keep(self, request: SignedRequest, plan: Any, rules_of: Mapping[str, PartyId], keeper: PartyId) -> None:
        await self.owner.ask_approvers(request, plan, rules_of, keeper)

    async def ask(
        self, kind: str, payload: dict[str, object], parties: Any = None
    ) -> dict[PartyId, dict[str, object] | MpcdError]:
        """As `Questions.ask`."""
        life = self.hospital.starts
        replies: dict[PartyId, dict[str, object] | MpcdError] = {}
        others = [PartyId(other) for other in range(len(self.world.hospitals)) if other != self.me]
        for party in others if parties is None else parties:
            await trio.sleep(self.world.rng.random())
            await self.hospital.live(life)
            hospital = self.world.hospitals[party]
            people = house_of(self.world, party)
            if not hospital.alive:
                replies[party] = PeerGone(party, f"party {party} is away")
                continue
            handlers = {
                keeping.CHANGED: people.waiting.heard,
                keeping.ENDED: people.waiting.heard_ended,
                keeping.SEALED: people.waiting.hand_over,
            }
            replied = await self.world.outcome_of(lambda: handlers[kind](PartyId(self.me), payload))  # noqa: B023
            replies[party] = PeerGone(party, f"party {party} went away") if replied is None else replied
        return replies

    async def approve(self, digest: bytes) -> None:
        """Ida says yes."""
        form = await self.desk.form(digest.hex())
        ruling = form.rule("approve", self.approver.public, now=self.desk.now, reason="", executions=1)
        await self.desk.submit(ruling.sign(self.approver).to_bytes())


def house_of(world: World, party: int) -> House:
    people = world.hospitals[party].people
    assert isinstance(people, House)
    return people


async def staff(world: World, *, approvals: bool) -> None:
    for hospital in world.hospitals:
        hospital.people = House(world, hospital.me, approvals=approvals)
        await hospital.people.open(hospital)


async def license_all(world: World) -> None:
    """A licence of each owner: two free queries a month, then 10.00 EUR, at most 400.00 EUR a month, two a day."""
    for hospital in world.hospitals[: world.owners]:
        now = int(hospital.clock() * 1000)
        offer = Offer(
            consortium=world.roster.consortium,
            nonce=world.rng.randbytes(16),
            title="Academic",
            controllers=(Controller(PartyId(hospital.me), f"H{hospital.me}", "h"),),
            grants=(Grant("t", None),),
            purposes=("GRU",),
            commercial=False,
            functions=None,
            budget_rho=None,
            price=PricePlan("EUR", Rate(per_query=1000, max_per_month=40_000, free_queries=2)),
            tax=(),
            split=None,
            weights=(1,),
            term_days=365,
            quota=Quota(PER_DAY, 1),
            newer_versions=True,
            versions=(),
            duties=(),
            legal_title="Agreement",
            legal_digest=bytes(32),
            analysts=None,
            made_at=now,
            open_until=now + 90 * 86_400_000,
        )
        desk = house_of(world, hospital.me).licences
        signed = (await desk.sign(offer)).signed
        agreement = Agreement.make(signed, world.analyst, licensee="Anna", now_ms=now, entropy=world.rng.randbytes)
        await desk.accept(agreement.to_bytes(), "analyst")


# ------------------------------------------------------------------------------------------------ what must hold


@dataclass
class Pages:
    """What one party's ledger says, as far as it was read."""

    read: int = 0
    debits: dict[tuple[bytes, str], int] = field(default_factory=dict)
    refunded: dict[bytes, bool] = field(default_factory=dict)
    receipts: dict[bytes, object] = field(default_factory=dict)
    """Digest by session."""

    def read_on(self, hospital: Hospital) -> None:
        for row in hospital.store.ledger_entries(self.read, 10_000):
            self.read += 1
            if row.session is None:
                continue
            assert row.content is not None
            if row.kind == "agreed":
                for account, amount in cast("list[tuple[str, int]]", row.content["debits"]):
                    self.debits[row.session, account] = amount
                self.refunded[row.session] = False
            elif row.kind == "aborted":
                self.refunded[row.session] = cast("bool", row.content["refunded"])
            elif row.kind == "recorded":
                assert row.session not in self.receipts
                self.receipts[row.session] = row.content["receipt_digest"]


class Books:
    """What was seen of all parties' books so far, and what must hold of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = {PartyId(h.me): h.key.public for h in world.hospitals}
        self.sent: dict[tuple[int, SessionId], bytes] = {}
        """Sealed bytes by sender and session: the first ones that left."""
        self.checked: set[bytes] = set()
        """Receipts whose signatures were checked."""
        self.pages = [Pages() for _ in world.hospitals]
        self.mixed: set[SessionId] = set()
        """Sessions that one party released and another withheld."""
        self.ends: Counter[str] = Counter()

    def check(self, *, whole: bool = False) -> None:
        """After a round; `whole` walks all chains and makes all statements again."""
        world = self.world
        if whole:
            world.check()
        assert world.bugs == []
        for hospital, pages in zip(world.hospitals, self.pages, strict=True):
            pages.read_on(hospital)
        lives = [hospital.lives() for hospital in world.hospitals]
        ends: dict[SessionId, dict[int, str]] = defaultdict(dict)
        for party, life_of in enumerate(lives):
            for session, life in life_of.items():
                ends[session][party] = life[-1]
        self.mixed = {s for s, at in ends.items() if {"released", "withheld"} <= set(at.values())}
        self.ends = Counter(" ".join(sorted(set(at.values()))) for at in ends.values())
        for session, at in ends.items():
            if "released" in at.values():
                participants = world.participants[session]
                assert participants
                assert all("recorded" in lives[party].get(session, []) for party in participants), session.hex()
        self._receipts(lives)
        for hospital in world.hospitals:
            self._accounts(hospital)
        self._releases(ends)
        if whole:
            self._statements()

    def _receipts(self, lives: list[dict[SessionId, list[str]]]) -> None:
        bytes_of: dict[SessionId, set[bytes]] = defaultdict(set)
        for hospital, life_of in zip(self.world.hospitals, lives, strict=True):
            held = hospital.store.read(lambda c: c.execute("SELECT session, signed, digest FROM receipt").fetchall())
            assert {session for session, _, _ in held} == {s for s, life in life_of.items() if "recorded" in life}
            named = self.pages[hospital.me].receipts
            assert len(named) == len(held)
            for session, signed, digest in held:
                assert named[session] == digest == receipts.digest(signed)
                bytes_of[SessionId(session)].add(signed)
        for session, all_bytes in bytes_of.items():
            (signed,) = all_bytes
            if signed in self.checked:
                continue
            whole = SignedReceipt.from_bytes(signed)
            receipt = Receipt.from_bytes(whole.receipt)
            assert receipt.session == session
            assert set(receipt.parties) == set(whole.signatures) == self.world.participants[session]
            for party in receipt.parties:
                whole.check(party, self.keys[party])
            self.checked.add(signed)

    def _accounts(self, hospital: Hospital) -> None:
        def read(connection: sqlite3.Connection) -> tuple[dict[str, int], list[tuple[bytes, str, int, int, int]]]:
            accounts = dict(connection.execute("SELECT account, spent FROM account").fetchall())
            return accounts, connection.execute(
                "SELECT session, account, amount, refunded, at_milliseconds FROM debit ORDER BY at_milliseconds"
            ).fetchall()

        accounts, debits = hospital.store.read(read)
        pages = self.pages[hospital.me]
        assert {(session, account): amount for session, account, amount, _, _ in debits} == pages.debits
        assert all(bool(gone) == pages.refunded[session] for session, _, _, gone, _ in debits)
        kept: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for _, account, amount, gone, at in debits:
            kept[account] += [(at, amount)] * (not gone)
        for account, spent in accounts.items():
            assert spent == sum(amount for _, amount in kept[account]), account
            for window, limit in _limits(account):
                times = kept[account]
                for at, _ in times:
                    assert sum(amount for then, amount in times if at - window < then <= at) <= limit, account

    def _releases(self, ends: Mapping[SessionId, Mapping[int, str]]) -> None:
        world = self.world
        for sender, _, message in world.wire.sent:
            if message["type"] == messages.RELEASE:
                session, envelope = cast("SessionId", message["session"]), cast("bytes", message["envelope"])
                assert self.sent.setdefault((sender, session), envelope) == envelope
                # Every participant has it on its record now, whatever happened to it since.
                assert all(session in self.pages[party].receipts for party in world.participants[session])
        world.wire.sent.clear()
        for (sender, session), envelope in self.sent.items():
            if ends[session][sender] == "released":
                assert world.hospitals[sender].store.sealed(session) == envelope
        for session, at in ends.items():
            for party, end in at.items():
                if end == "withheld":
                    with pytest.raises(ResultWithheld):
                        world.hospitals[party].store.sealed(session)

    def _statements(self) -> None:
        world = self.world
        month = Month.of(int(world.hospitals[0].clock() * 1000))
        for month_ in {month, Month.of(month.start_ms - 1)}:
            made = {h.me: self._statement(h, month_) for h in world.hospitals}
            for one, other in combinations(made, 2):
                differences = reconcile(made[one], made[other])
                named = {session for session in self.mixed if any(session.hex() in line for line in differences)}
                assert len(differences) <= len(self.mixed), differences
                assert len(named) == len(differences), differences
            for own in made.values():
                assert own.problems == ()

    def _statement(self, hospital: Hospital, month: Month) -> statement.Statement:
        def work(connection: sqlite3.Connection) -> statement.Statement:
            settled = []
            for signed, state in receipts.between(connection, month.start_ms, month.end_ms):
                whole = SignedReceipt.from_bytes(signed)
                settled.append(Settled(whole, Receipt.from_bytes(whole.receipt), cast("statement.Standing", state)))
            deeds = licences.deeds(connection, ending_after=month.start_ms)
            return statement.make(
                PartyId(hospital.me), self.world.roster.consortium, month, settled, deeds, [], self.keys
            )

        return hospital.store.read(work)


def _limits(account: str) -> Iterator[tuple[int, int]]:
    """(window in ms, limit) of an account."""
    day, ever = int(DAY * 1000), 2**60
    if account.endswith(("queries/t/period", "/queries")):
        yield day, PER_DAY
    elif "/free/" in account:
        yield ever, 2
    elif "/charged/" in account:
        yield ever, 40_000
    else:
        assert account.endswith("/lifetime") or account.startswith(("approval", "ruling", "quote ")), account
        if not account.endswith("/lifetime"):
            yield ever, 1


# ------------------------------------------------------------------------------------------------ crashing


@dataclass(frozen=True)
class Trigger:
    """When `party` makes its `step`, by number or the first of that name, all `victims` crash."""

    party: int
    step: int | str
    victims: tuple[int, ...]


class Doom:
    """Counts the steps of all parties from the first answer on, and pulls the triggers; see `World.doom`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.armed = False
        self.begun = False
        self.pulled = False
        self.starting: set[int] = set()
        """Parties that are just coming back."""
        self.away = 0
        self.triggers: list[Trigger] = []
        self.steps: Counter[int] = Counter()
        self.points: Counter[tuple[str, int]] = Counter()
        """Made so far, by the step's name and how many crashed."""
        world.doom = self

    def arm(self, triggers: Sequence[Trigger]) -> None:
        """Count from the next answer on."""
        self.armed, self.begun, self.pulled = True, False, False
        self.triggers = list(triggers)
        self.steps.clear()

    def __call__(self, hospital: Hospital, step: str) -> bool:
        self.begun = self.begun or step.startswith(f"sent {messages.ANSWER}")
        if not self.armed or not self.begun or hospital.me in self.starting:
            return False
        self.steps[hospital.me] += 1
        pulled = [t for t in self.triggers if t.party == hospital.me and t.step in {step, self.steps[hospital.me]}]
        if not pulled:
            return False
        self.pulled = True
        self.triggers.remove(pulled[0])
        victims = [self.world.hospitals[victim] for victim in pulled[0].victims if victim not in self.starting]
        victims = [victim for victim in victims if victim.alive]
        for victim in victims:
            self.away += 1
            self.world.nursery.start_soon(self._back, victim, self.world.rng.choice(AWAY_SECONDS))
            if victim is not hospital:
                victim.crash()
        self.points[step, len(victims)] += 1
        return hospital in victims

    async def _back(self, hospital: Hospital, seconds: float) -> None:
        await trio.sleep(seconds)
        self.starting.add(hospital.me)
        await hospital.start()
        self.starting.discard(hospital.me)
        self.away -= 1


AWAY_SECONDS = (0.01, 0.3, 3.0, 3.0, 20.0, 20.0, 400.0)
"""The last is longer than a session may take."""


class Campaign:
    """Rounds of questions and crashes in one world."""

    def __init__(self, world: World, seed: int, questions: tuple[str, ...]) -> None:
        self.world = world
        self.questions = questions
        self.rng = random.Random(f"crashes {seed}")
        self.books = Books(world)
        self.doom = Doom(world)
        self.answered = 0
        self.steps = 40
        """That a party makes in a round in which nobody crashes; the longest so far."""

    @property
    def points(self) -> int:
        return sum(self.doom.points.values())

    def places(self) -> Iterator[tuple[int, int | str]]:
        """Where to crash first in each round: every kind of step at every party, then any step of any."""
        parties = range(len(self.world.hospitals))
        named: list[tuple[int, int | str]] = [(party, kind) for party in parties for kind in KINDS]
        self.rng.shuffle(named)
        yield from named
        while True:
            yield self.rng.choice(parties), self.rng.randrange(1, self.steps + 1)

    def _triggers(self, party: int, step: int | str) -> list[Trigger]:
        """One party, two or all at the given step; perhaps somebody, perhaps the same, at later ones."""
        rng, everybody = self.rng, tuple(range(len(self.world.hospitals)))
        several = {0: (party, rng.choice([other for other in everybody if other != party])), 1: everybody}
        triggers = [Trigger(party, step, several.get(rng.randrange(4), (party,)))]
        for other in rng.choices(everybody, k=rng.choice((0, 1, 3))):
            later = rng.randrange(1, 1 + self.steps // 2) + (step if isinstance(step, int) else self.steps // 2)
            triggers.append(Trigger(other, later, (other,)))
        return triggers

    async def quiet(self) -> None:
        """Everybody is back, nothing runs, nothing is unsettled."""
        world, pause = self.world, 1.0
        with trio.fail_after(3000):
            while True:
                await trio.sleep(pause)
                pause = min(1.5 * pause, 20)
                if self.doom.away == 0 and not any(_busy(hospital) for hospital in world.hospitals):
                    return

    async def ask_at_once(self, place: tuple[int, int | str], many: Sequence[int] = (2, 2, 3)) -> None:
        """Some questions, and crashes while they run."""
        world, rng = self.world, self.rng
        quote = await self._quote(sql := rng.choice(self.questions), rng.randrange(world.owners))
        # A quote is accepted once: now and then two ask with the same.
        apart = rng.choice((1, 1, 1, 0))
        quotes = [replace(quote, at=quote.at + apart * number) for number in range(rng.choice(many))]
        asked = [
            (rng.randrange(world.owners), *world.request(sql, quote_digest=one.digest()), one.to_bytes())
            for one in quotes
        ]
        outcomes: list[tuple[Outcome, SignedRequest, ResultKey]] = []

        async def ask(party: int, request: SignedRequest, key: ResultKey, attached_quote: bytes) -> None:
            attached = {"quote": attached_quote}
            outcome = await world.outcome_of(lambda: world.submit(party, request, attachments=attached))
            if isinstance(outcome, Outcome):
                outcomes.append((outcome, request, key))

        self.doom.arm(self._triggers(*place))
        async with trio.open_nursery() as nursery:
            for one in asked:
                nursery.start_soon(ask, *one)
            await self.quiet()
            nursery.cancel_scope.cancel()  # what a crashed party was asked waits for nobody
        self._disarm()
        self.books.check()
        for outcome, request, key in outcomes:
            self._check_answer(outcome, request, key)

    def _disarm(self) -> None:
        self.doom.armed = False
        if not self.doom.pulled:
            self.steps = max(self.steps, *self.doom.steps.values())

    async def _quote(self, sql: str, party: int) -> Quote:
        asking, _ = self.world.request(sql, kind="quote")
        told = await self.world.hospitals[party].sessions.explain(asking)
        lines = tuple(cast("bytes", answer.terms["line"]) for answer in told.answers if "line" in answer.terms)
        assert len(lines) == self.world.owners, told.refusals
        return Quote(asking.request.question_digest(), int(self.world.hospitals[party].clock() * 1000), lines, {})

    def _check_answer(self, outcome: Outcome, request: SignedRequest, key: ResultKey) -> None:
        world = self.world
        row = world.row(outcome, request, key)
        assert row == world.truth[: len(row)]
        for party, envelope in zip(outcome.plan.compute, outcome.releases, strict=True):
            assert world.hospitals[party].store.sealed(outcome.session) == envelope
        for party in world.participants[outcome.session]:
            held = world.hospitals[party].store.read(lambda c: receipts.of_session(c, outcome.session))
            assert held == outcome.receipt
        self.answered += 1

    async def approve_at_once(self, place: tuple[int, int | str]) -> None:
        """Two requests that wait, approved by all owners at once; crashes while they run by themselves."""
        world, rng = self.world, self.rng
        kept = [await self._waiting(rng.randrange(world.owners)) for _ in range(2)]
        await trio.sleep(5)

        async def approve(party: int, request: SignedRequest) -> None:
            await world.outcome_of(lambda: house_of(world, party).approve(request.digest()))

        self.doom.arm(self._triggers(*place))
        async with trio.open_nursery() as nursery:
            for party in range(world.owners):
                for _, request, _ in kept:
                    nursery.start_soon(approve, party, request)
            await trio.sleep(10)
            await self.quiet()
            nursery.cancel_scope.cancel()
        self.books.check()
        self._disarm()
        for keeper, request, key in kept:
            await self._until_over(keeper, request)
            await self._check_kept(keeper, request, key)
        await self.quiet()
        self.books.check()

    async def _waiting(self, party: int) -> tuple[int, SignedRequest, ResultKey]:
        world = self.world
        request, key = world.request(self.rng.choice(self.questions), wait_seconds=3600 * 20)
        with pytest.raises(AwaitingApproval) as waits:
            await world.hospitals[party].sessions.submit(request, Nobody(), lambda _attempt: None)
        await house_of(world, party).waiting.keep(request, {}, waits.value)
        return party, request, key

    async def _until_over(self, keeper: int, request: SignedRequest) -> None:
        """Whoever could not approve because of a crash does so now; then it runs, or has ended."""
        world = self.world
        for party in range(world.owners):
            await world.outcome_of(lambda: house_of(world, party).approve(request.digest()))  # noqa: B023
        state = await house_of(world, keeper).waiting.state(request.digest())
        for _ in range(300):
            if state["state"] != "waiting":
                return
            await trio.sleep(60)
            state = await house_of(world, keeper).waiting.state(request.digest())
        raise AssertionError(f"it still waits: {state}")

    async def _check_kept(self, keeper: int, request: SignedRequest, key: ResultKey) -> None:
        """What the keeper has opens to the truth and is what was recorded, as often as it is fetched."""
        world, digest = self.world, request.digest()
        state = await house_of(world, keeper).waiting.state(digest)
        sessions = [
            hospital.store.read(
                lambda c: c.execute("SELECT session, state FROM session WHERE request_digest = ?", (digest,)).fetchall()
            )
            for hospital in world.hospitals
        ]
        assert all(len(found) <= 1 for found in sessions), "a request runs once"
        if state["state"] != "released":
            assert state["state"] in {"failed", "refused"}, state
            assert sessions[keeper] == [] or sessions[keeper][0][1] != "released", state
            return
        first, second = [await house_of(world, keeper).waiting.result(digest) for _ in range(2)]
        assert first == second
        session = SessionId(cast("bytes", state["session"]))
        for party, envelope in enumerate(first.releases):
            assert world.hospitals[party].store.sealed(session) == envelope
        outcome = Outcome(session, cast("Any", _Encoded(first.plan)), first.releases, {})
        row = world.row(outcome, request, key)
        assert row == world.truth[: len(row)]
        self.answered += 1


class _Encoded:
    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded


def _busy(hospital: Hospital) -> bool:
    if not hospital.alive or hospital.sessions.running_count:
        return True
    (unsettled,) = hospital.store.read(
        lambda c: c.execute("SELECT count(*) FROM session WHERE state IN ('agreed', 'recorded')").fetchone()
    )
    return bool(unsettled)


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_crashes_at_every_step(autojump_clock: MockClock, consortium: Consortium, seed: int) -> None:
    approvals, sums, parties = seed == 3, seed == 2, 4 if seed == 1 else 3
    async with consortium(parties=parties, seed=seed) as world:
        if not sums:
            for hospital in world.hospitals:
                hospital.rules = lambda: DisclosureRules(differencing=False)  # type: ignore[method-assign]
        await staff(world, approvals=approvals)
        campaign = Campaign(world, seed, SUMS if sums else COUNTS)
        if not approvals:
            await license_all(world)
        for number, place in enumerate(campaign.places()):
            if campaign.points >= POINTS_PER_WORLD or number > ROUNDS_MAX:
                break
            await (campaign.approve_at_once if approvals else campaign.ask_at_once)(place)
            campaign.books.check(whole=number % 16 == 15)
            await trio.sleep(DAY)
        campaign.books.check(whole=True)
        assert campaign.points >= POINTS_PER_WORLD
        assert {"aborted", "released"} <= campaign.books.ends.keys()
        # And the consortium goes on.
        answered = campaign.answered
        nowhere = 0, 10**6
        await (campaign.approve_at_once(nowhere) if approvals else campaign.ask_at_once(nowhere, many=(1,)))
        campaign.books.check(whole=True)
        assert campaign.answered > answered


def test_so_many_points() -> None:
    assert WORLDS * POINTS_PER_WORLD >= 500
