"""People decide, in one process on a clock that jumps: races, crashes at every step, keepers that lie.

Must hold, whatever happens:
    - nothing is agreed anywhere before every owner's people have approved this request and this data;
    - a request runs once at most, an approved question as often as it says;
    - once it may run it does, without its analyst, or it ends with a reason: it never waits for ever;
    - what was released anywhere, the analyst can fetch from the keeper, and it opens to the truth.

Need not hold: that a crash between agreement and record leaves the request usable; its analyst asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from trio.testing import MockClock

from mpcd import limits
from mpcd.api.types import JobResult
from mpcd.daemon import waiting as keeping
from mpcd.daemon.approvaldesk import ApprovalDesk
from mpcd.daemon.attempt import Attempt, Nobody, Outcome
from mpcd.daemon.owner import LivePolicy, Owner
from mpcd.daemon.waiting import Waiting
from mpcd.errors import ApprovalInvalid, AwaitingApproval, MpcdError, NotFound, PeerGone, RequestInvalid
from mpcd.governance import approval
from mpcd.governance.approval import SignedRuling, Verdict
from mpcd.governance.decision import Decision
from mpcd.identity import IdentityError, ResultKey, SigningKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId

if TYPE_CHECKING:
    from tests.simulation.conftest import Hospital, World

Consortium = Callable[..., AbstractAsyncContextManager["World"]]
DAY = 86_400
NAMES = ("Ida", "Otto")


class Desk:
    """A hospital's people: the real policy, owner, desk and keeper on the hospital's own journal."""

    def __init__(self, world: World, me: int, demand: str | None) -> None:
        self.world = world
        self.me = me
        self.keys = {name: SigningKey.generate(world.rng.randbytes) for name in NAMES}
        self.demand = demand
        self.path = world.hospitals[me].directory.parent / f"policy-{me}.toml"
        self.write()

    def write(self, approvers: Iterable[str] = NAMES) -> None:
        """The policy: who may approve, and what is demanded."""
        people = "".join(f'[[approver]]\nname = "{name}"\nkey = "{self.keys[name].public}"\n' for name in approvers)
        demand = "" if self.demand is None else f"approvals = {self.demand}\n"
        self.path.write_text(
            f'purposes = ["GRU"]\n[[analyst]]\nname = "Anna"\nkey = "{self.world.analyst.public}"\n{people}'
            f'[[table]]\nname = "t"\n{demand}uses = {{ age = ["aggregate"] }}\n'
        )

    # ------------------------------------------------------------------------------------------ as a hospital's people

    async def open(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.policy = LivePolicy(self.path, PartyId(self.me), self.world.roster)
        self.owner = Owner(self.policy, hospital.journal, hospital.key)
        self.desk = ApprovalDesk(
            PartyId(self.me),
            self.world.roster,
            self.policy,
            hospital.journal,
            hospital.data_versions,
            hospital.clock,
            self.revoke,
            self.tell,
            hospital.log,
        )
        self.owner.approvals = self.desk
        self.waiting = Waiting(
            PartyId(self.me),
            hospital.sessions,
            cast("keeping.Peers", self),
            hospital.journal,
            hospital.clock,
            job_result,
            self.desk.withdrawn,
            hospital.log,
        )
        self.waiting.ended = self.desk.ended
        assert hospital.sessions._nursery is not None
        await hospital.sessions._nursery.start(self.waiting.run)

    def revoke(self, concerns: Callable[[SignedRequest], bool], why: str) -> int:
        return self.hospital.sessions.revoke(concerns, why, owed=True)

    async def tell(self, digests: Any) -> None:
        await self.waiting.tell(digests)

    async def decide(
        self, request: SignedRequest, plan: Any, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        return await self.owner.decide(request, plan, versions, attempt)

    async def keep(self, request: SignedRequest, plan: Any, rules_of: Mapping[str, PartyId], keeper: PartyId) -> None:
        await self.owner.ask_approvers(request, plan, rules_of, keeper)

    # ------------------------------------------------------------------------------------------ questions

    async def ask(
        self, kind: str, payload: dict[str, object], parties: Iterable[PartyId] | None = None
    ) -> dict[PartyId, dict[str, object] | MpcdError]:
        """As `Questions.ask`; the others are told some time later."""
        replies: dict[PartyId, dict[str, object] | MpcdError] = {}
        others = [PartyId(other) for other in range(len(self.world.hospitals)) if other != self.me]
        for party in others if parties is None else parties:
            await trio.sleep(self.world.rng.random())
            hospital = self.world.hospitals[party]
            if not hospital.alive:
                replies[party] = PeerGone(party, f"party {party} is away")
                continue
            people = desk_of(self.world, party)
            handlers = {
                keeping.CHANGED: people.waiting.heard,
                keeping.WITHDRAWN: people.waiting.heard_withdrawn,
                keeping.SEALED: people.waiting.hand_over,
                keeping.ENDED: people.waiting.heard_ended,
            }
            try:
                replies[party] = await handlers[kind](PartyId(self.me), payload)
            except MpcdError as error:
                replies[party] = error
        return replies

    # ------------------------------------------------------------------------------------------ people

    async def sign(
        self, digest: bytes, who: str, verdict: Verdict = "approve", *, executions: int = 1, reason: str = ""
    ) -> SignedRuling:
        form = await self.desk.form(digest.hex())
        now = self.desk.now
        why = reason or ("" if verdict == "approve" else "not this year")
        ruling = form.rule(verdict, self.keys[who].public, now=now, reason=why, executions=executions)
        return ruling.sign(self.keys[who])

    async def rule(self, digest: bytes, who: str, verdict: Verdict = "approve", *, executions: int = 1) -> str:
        """Sign and hand in; the state that the request then has here."""
        signed = await self.sign(digest, who, verdict, executions=executions)
        return (await self.desk.submit(signed.to_bytes())).state


def job_result(outcome: Outcome) -> JobResult:
    return JobResult(outcome.plan.encoded, outcome.releases, {"receipt": outcome.receipt})


def desk_of(world: World, party: int) -> Desk:
    people = world.hospitals[party].people
    assert isinstance(people, Desk)
    return people


async def staff(world: World, demands: Mapping[int, str | None]) -> None:
    """Give every hospital its people, and start it again with them."""
    for hospital in world.hospitals:
        hospital.people = Desk(world, hospital.me, demands.get(hospital.me))
        await hospital.people.open(hospital)


class Case:
    """One request that its analyst has submitted at party 0, and left."""

    def __init__(self, world: World, signed: SignedRequest, key: ResultKey) -> None:
        self.world = world
        self.signed = signed
        self.key = key
        self.digest = signed.digest()

    @property
    def keeper(self) -> Desk:
        return desk_of(self.world, 0)

    async def state(self) -> str:
        return str((await self.keeper.waiting.state(self.digest))["state"])

    async def message(self) -> str:
        return str((await self.keeper.waiting.state(self.digest))["message"])

    async def over(self, seconds: float = 2000.0) -> str:
        """Until it is over; the state."""
        with trio.fail_after(seconds):
            while True:
                state = await self.state()
                if state != "waiting":
                    return state
                await trio.sleep(max(1.0, seconds / 1000))

    async def truth(self) -> bool:
        """Whether what the keeper has opens to the truth."""
        result = await self.keeper.waiting.result(self.digest)
        outcome = Outcome(
            session=cast("Any", None), plan=cast("Any", _Encoded(result.plan)), releases=result.releases, facts={}
        )
        return self.world.row(outcome, self.signed, self.key) == self.world.truth

    def agreed(self) -> list[int]:
        """Per party, how many sessions were ever agreed."""
        return [len(hospital.lives()) for hospital in self.world.hospitals if hospital.alive]


class _Encoded:
    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded


async def ask(world: World, *, wait_seconds: int = 7 * DAY, at: int = 0) -> Case:
    signed, key = world.request(wait_seconds=wait_seconds)
    with pytest.raises(AwaitingApproval) as waits:
        await world.hospitals[at].sessions.submit(signed, Nobody(), lambda _attempt: None)
    await desk_of(world, at).waiting.keep(signed, {}, waits.value)
    await world.settle(4)  # the owners have concluded the same, and the keeper has tried once more
    return Case(world, signed, key)


ONCE = '{ min = 1, execute = "once" }'
TWO = '{ min = 2, execute = "once" }'


# ------------------------------------------------------------------------------------------------ all is well


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_it_runs_when_the_last_person_has_approved_and_not_before(
    autojump_clock: MockClock, consortium: Consortium, seed: int
) -> None:
    async with consortium(seed=seed) as world:
        await staff(world, {1: ONCE, 2: TWO})
        case = await ask(world)
        for party, who in ((2, "Ida"), (1, "Otto"), (2, "Otto")):
            await world.settle(30)
            assert case.agreed() == [0, 0, 0]
            assert await case.state() == "waiting"
            await desk_of(world, party).rule(case.digest, who)
        assert await case.over() == "released"
        assert await case.truth()
        await world.settle(10)
        assert case.agreed() == [1, 1, 1]
        world.check()


@pytest.mark.parametrize("seed", range(5))
async def test_two_parties_approvals_at_once(autojump_clock: MockClock, consortium: Consortium, seed: int) -> None:
    async with consortium(seed=seed) as world:
        await staff(world, {0: ONCE, 1: ONCE, 2: TWO})
        case = await ask(world)
        signed = [(p, await desk_of(world, p).sign(case.digest, who)) for p, who in WHO]
        async with trio.open_nursery() as nursery:
            for party, ruling in signed:
                nursery.start_soon(desk_of(world, party).desk.submit, ruling.to_bytes())
        assert await case.over() == "released"
        await world.settle(10)
        assert case.agreed() == [1, 1, 1]
        world.check()


WHO = ((0, "Ida"), (1, "Ida"), (2, "Ida"), (2, "Otto"))


# ------------------------------------------------------------------------------------------------ revocation


@pytest.mark.parametrize("delay", [0.0, 1.0, *(2 + step / 20 for step in range(2, 26, 2)), 9.0])
@pytest.mark.parametrize("verdict", ["withdraw", "deny"])
async def test_taken_back_at_any_moment(
    autojump_clock: MockClock, consortium: Consortium, delay: float, verdict: Verdict
) -> None:
    """Either it had been recorded before, and is released to all; or nothing leaves, and nobody has recorded it."""
    async with consortium(seed=7) as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        people = desk_of(world, 1)
        await people.rule(case.digest, "Ida")
        await trio.sleep(delay)
        taken = await people.sign(case.digest, "Ida", verdict)
        await people.desk.submit(taken.to_bytes())
        await world.settle(60)
        state = await case.state()
        ends = {life[-1] for hospital in world.hospitals for life in hospital.lives().values()}
        if state == "released":
            assert await case.truth()
            assert ends == {"released"}
        else:
            assert state == "refused" if verdict == "deny" else state in {"waiting", "failed"}, state
            assert ends <= {"aborted"}
        world.check()


async def test_the_last_ruling_is_seen_by_the_agreeing_transaction(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    """Its twin: the decision was taken on an approval that is withdrawn before the commit, and nobody revoked."""
    async with consortium(seed=7) as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        people = desk_of(world, 1)
        await people.rule(case.digest, "Ida")
        taken = await people.sign(case.digest, "Ida", "withdraw")
        cast("Any", people.desk)._revoke = lambda _concerns, _why: 0
        decide = people.owner.decide

        async def late(*arguments: Any) -> Decision:
            decision = await decide(*arguments)
            await people.desk.submit(taken.to_bytes())
            return decision

        people.owner.decide = late  # type: ignore[method-assign,assignment]
        await world.settle(60)
        assert world.hospitals[1].lives() == {}
        assert not await released(world)
        world.check()


async def released(world: World) -> bool:
    return any(life[-1] == "released" for hospital in world.hospitals for life in hospital.lives().values())


# ------------------------------------------------------------------------------------------------ data


@pytest.mark.parametrize("delay", [0.0, 1.0, *(2 + step / 20 for step in range(2, 26, 2)), 9.0])
async def test_data_published_at_any_moment(autojump_clock: MockClock, consortium: Consortium, delay: float) -> None:
    """An approval is for the data that was there: a run is on that version at every party, or there is none."""
    async with consortium(seed=3) as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        people = desk_of(world, 1)
        signed = await people.sign(case.digest, "Ida")
        await people.desk.submit(signed.to_bytes())
        await trio.sleep(delay)
        before = people.hospital.data_versions(("t",))
        people.hospital.edition += 1
        await world.settle(60)
        if await case.state() == "released":
            assert signed.ruling.data_versions == before
            assert await case.truth()
        else:
            assert not await released(world)
            with pytest.raises(ApprovalInvalid, match="another data version"):
                await people.desk.submit((await _resigned(people, signed)).to_bytes())
        world.check()


async def _resigned(people: Desk, signed: SignedRuling) -> SignedRuling:
    """The same approval, for the old data, signed anew."""
    old = signed.ruling
    return approval.Ruling(
        verdict="approve",
        binds="request",
        subject=old.subject,
        party=old.party,
        consortium=old.consortium,
        data_versions=old.data_versions,
        executions=1,
        run_before=old.run_before,
        reason="",
        approver=old.approver,
        decided_at=people.desk.now,
    ).sign(people.keys["Ida"])


async def test_published_before_it_was_approved_here_is_asked_again(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE, 2: ONCE})
        case = await ask(world)
        people = desk_of(world, 1)
        await people.rule(case.digest, "Ida")
        people.hospital.edition += 1
        await desk_of(world, 2).rule(case.digest, "Ida")
        await world.settle(30)
        assert "its data changed" in await case.message()
        assert await people.rule(case.digest, "Ida") == "approved"
        assert await case.over() == "released"
        world.check()


# ------------------------------------------------------------------------------------------------ how often


async def test_a_question_runs_as_often_as_it_was_approved_even_at_once(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        await staff(world, {1: "{ min = 1, execute = 3 }"})
        case = await ask(world)
        people = desk_of(world, 1)
        await people.rule(case.digest, "Ida", executions=3)
        assert await case.over() == "released"
        ended: list[object] = []
        async with trio.open_nursery() as nursery:
            for party in (0, 1, 2, 0):
                nursery.start_soon(world.attempt, party, ended)
        await world.settle(60)
        runs = sum(life == ["agreed", "recorded", "released"] for life in world.hospitals[1].lives().values())
        assert runs == 3
        assert sum(end == world.truth for end in ended) == 2
        world.check()


async def test_an_approval_that_ran_is_spent(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        await desk_of(world, 1).rule(case.digest, "Ida")
        assert await case.over() == "released"
        with pytest.raises(MpcdError):
            await world.submit(2, case.signed)
        with pytest.raises(MpcdError):
            await world.submit(0, case.signed)
        await world.settle()
        assert case.agreed() == [1, 1, 1]
        world.check()


# ------------------------------------------------------------------------------------------------ deadlines


async def test_nobody_decides(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world, wait_seconds=2 * DAY)
        await world.settle(DAY)
        assert await case.state() == "waiting"
        assert await case.over(2 * DAY) in {"refused", "expired"}
        people = desk_of(world, 1)
        with pytest.raises(ApprovalInvalid, match="is over"):
            await people.rule(case.digest, "Ida")
        assert (await people.desk.item(case.digest.hex())).state == "closed"
        world.check()


async def test_an_owners_own_deadline_is_shorter(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: '{ min = 1, execute = "once", deadline_days = 1 }'})
        case = await ask(world, wait_seconds=7 * DAY)
        await world.settle(DAY + 60)
        with pytest.raises(ApprovalInvalid, match="is over"):
            await desk_of(world, 1).rule(case.digest, "Ida")
        assert await case.over(2 * limits.WAITING_POLL_SECONDS) == "refused"
        assert "in time" in await case.message()


# ------------------------------------------------------------------------------------------------ who is away


@pytest.mark.parametrize("away", [0, 1, 2])
async def test_a_party_that_was_away_is_caught_up_with(
    autojump_clock: MockClock, consortium: Consortium, away: int
) -> None:
    """Approved while another party, or the keeper itself, was down; and all have restarted since."""
    async with consortium(seed=away) as world:
        await staff(world, {1: ONCE, 2: ONCE})
        case = await ask(world)
        for party in (1, 2):
            if party == away:
                await desk_of(world, party).rule(case.digest, "Ida")
        world.hospitals[away].crash()
        for party in {1, 2} - {away}:
            await desk_of(world, party).rule(case.digest, "Ida")
        await world.settle(40)
        for hospital in world.hospitals:
            if hospital.me != away:
                hospital.crash()
        for hospital in world.hospitals:
            await hospital.start()
        assert await case.over() == "released"
        assert await case.truth()
        await world.settle(10)
        world.check()


STEPS = [("planned", 1), ("agreed", 1), ("exchange", 1), ("exchange", 9), ("before recorded", 1), ("recorded", 1)]


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_a_crash_at_any_step_of_the_run(
    autojump_clock: MockClock, consortium: Consortium, party: int, step: tuple[str, int]
) -> None:
    async with consortium(seed=hash(step) % 97 + party) as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        await world.settle(5)
        hospital = world.hospitals[party]
        hospital.seen.clear()
        hospital.crash_at = step
        await desk_of(world, 1).rule(case.digest, "Ida")
        with trio.move_on_after(400):
            await world.crashed.wait()
        assert world.crashed.is_set()
        await trio.sleep(20)
        await hospital.start()
        state = await case.over(2 * limits.SESSION_SECONDS_MAX + 600)
        if state == "released":
            assert await case.truth()
        await world.settle()
        runs = {session for h in world.hospitals for session, life in h.lives().items() if life[-1] == "released"}
        assert len(runs) <= 1
        if runs and all(h.lives().get(session, [""])[-1] == "released" for session in runs for h in world.hospitals):
            assert await case.state() == "released"
        if step[0] == "planned":
            assert state == "released", "nothing was agreed, so it is tried again"
        world.check()


# ------------------------------------------------------------------------------------------------ who lies


async def test_another_party_cannot_run_it_in_the_keepers_place(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    """Nor use it up: the keeper runs it all the same."""
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        with pytest.raises(MpcdError, match="keeps this request"):
            await world.submit(2, case.signed)
        await world.settle(10)
        await desk_of(world, 1).rule(case.digest, "Ida")
        with pytest.raises(MpcdError):
            await world.submit(2, case.signed)
        assert await case.over() == "released"
        assert case.agreed() == [1, 1, 1]
        world.check()


async def test_crying_wolf_runs_nothing(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        for _ in range(50):
            await case.keeper.waiting.heard(PartyId(2), {"requests": [bytes(case.digest), b"none such"]})
        await world.settle(60)
        assert await case.state() == "waiting"
        assert case.agreed() == [0, 0, 0]
        world.check()


async def test_what_one_owner_denies_waits_for_nobody_else(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {0: ONCE, 1: TWO, 2: ONCE})
        case = await ask(world)
        await desk_of(world, 1).rule(case.digest, "Ida")
        assert await desk_of(world, 2).rule(case.digest, "Otto", "deny") == "denied"
        assert await case.over() == "refused"
        await world.settle(10)
        states = [(await desk_of(world, party).desk.item(case.digest.hex())).state for party in range(3)]
        assert states == ["closed", "closed", "denied"]
        # Its time is over for them, and so it is where it was denied.
        for party in (1, 2):
            with pytest.raises(ApprovalInvalid, match="must ask again"):
                await desk_of(world, party).rule(case.digest, "Ida")


async def test_only_the_keeper_says_that_it_is_over(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        await desk_of(world, 1).waiting.heard_ended(PartyId(2), {"request": case.digest})
        item = await desk_of(world, 1).desk.item(case.digest.hex())
        assert item.state == "pending"
        assert await desk_of(world, 1).rule(case.digest, "Otto") == "approved"
        assert await case.over() == "released"


async def test_what_ended_a_licence_has_what_waits_tried_again(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        await trio.sleep(60)
        desk_of(world, 2).path.write_text('purposes = ["HMB"]\n')
        desk_of(world, 2).policy.reload()
        desk = desk_of(world, 1)
        await desk.desk.look_again(lambda signed: False)
        await world.settle(10)
        assert await case.state() == "waiting"
        await desk.desk.look_again(lambda signed: signed.digest() == case.digest)
        assert await case.over(60) == "refused"
        await world.settle(10)
        item = await desk.desk.item(case.digest.hex())
        assert item.state == "closed"


async def test_an_approver_that_the_policy_dropped_no_longer_counts(
    autojump_clock: MockClock, consortium: Consortium
) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE, 2: ONCE})
        case = await ask(world)
        people = desk_of(world, 1)
        await people.rule(case.digest, "Ida")
        people.write(["Otto"])
        people.policy.reload()
        await desk_of(world, 2).rule(case.digest, "Ida")
        await world.settle(60)
        assert await case.state() == "waiting"
        assert case.agreed() == [0, 0, 0]
        await people.rule(case.digest, "Otto")
        assert await case.over() == "released"


# ------------------------------------------------------------------------------------------------ taken back


@pytest.mark.parametrize("delay", [0.0, 1.0, *(2 + step / 20 for step in range(2, 26, 2)), 9.0])
async def test_the_analyst_takes_it_back_at_any_moment(
    autojump_clock: MockClock, consortium: Consortium, delay: float
) -> None:
    async with consortium(seed=5) as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        await desk_of(world, 1).rule(case.digest, "Ida")
        await trio.sleep(delay)
        signature = world.analyst.sign(approval.WITHDRAWAL, case.digest)
        told = await case.keeper.waiting.withdraw(case.digest, signature)
        await world.settle(60)
        if told == "forgotten":
            assert await released(world)
            with pytest.raises(NotFound):
                await case.state()
            return
        state = await case.state()
        assert state in {"released", "withdrawn"}
        assert await released(world) == (state == "released")
        if state == "withdrawn":
            assert (await desk_of(world, 1).desk.item(case.digest.hex())).state in {"withdrawn", "aborted"}
            with pytest.raises(MpcdError):
                await world.submit(0, case.signed)
        await world.settle()
        world.check()


async def test_nobody_else_takes_it_back(autojump_clock: MockClock, consortium: Consortium) -> None:
    async with consortium() as world:
        await staff(world, {1: ONCE})
        case = await ask(world)
        stranger = SigningKey.generate(world.rng.randbytes)
        signature = stranger.sign(approval.WITHDRAWAL, case.digest)
        with pytest.raises(RequestInvalid, match="only the analyst"):
            await case.keeper.waiting.withdraw(case.digest, signature)
        payload: dict[str, object] = {"request": bytes(case.digest), "signature": signature}
        with pytest.raises(RequestInvalid, match="only the analyst"):
            await desk_of(world, 1).waiting.heard_withdrawn(PartyId(2), payload)
        with pytest.raises(IdentityError):
            await desk_of(world, 1).desk.withdrawn(case.digest, signature)
        assert await case.state() == "waiting"


# ------------------------------------------------------------------------------------------------ limits


async def test_so_many_wait_and_no_more(
    autojump_clock: MockClock, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "APPROVALS_OPEN_PER_ANALYST_MAX", 2)
    async with consortium() as world:
        await staff(world, {1: ONCE})
        first = await ask(world)
        await ask(world)
        signed, _ = world.request(wait_seconds=DAY)
        with pytest.raises(MpcdError, match="too many requests wait"):
            await world.submit(0, signed)
        await desk_of(world, 1).rule(first.digest, "Ida", "deny")
        assert await first.over() == "refused"
