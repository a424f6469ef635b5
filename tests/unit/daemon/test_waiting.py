"""The keeper of waiting requests by itself: what it makes of each end, and how it collects what was released.

Whole consortia are in `tests/simulation/test_approvals.py`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from mpcd import canonical, limits
from mpcd.api.types import JobResult
from mpcd.daemon import waiting as keeping
from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.waiting import Waiting
from mpcd.errors import (
    AwaitingApproval,
    Busy,
    Cancelled,
    CheatDetected,
    DeadlineExceeded,
    EngineFailed,
    MpcdError,
    NotFound,
    PeerGone,
    PlanInvalid,
    PlanMismatch,
    Refusal,
    Refused,
    RequestInvalid,
)
from mpcd.governance import DisclosureRules, approval, entries
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.ids import PartyId, PlanHash, RosterHash, SessionId
from mpcd.store import NonceUse, Store
from mpcd.store import approvals as rows

EPOCH = 1_800_000_000
ENTROPY = random.Random(4).randbytes
ANNA = SigningKey.generate(ENTROPY)
NO = Refused((Refusal(PartyId(1), "approval-denied", "request", "party 1 denies the request: no"),))
PLAN = canonical.encode({"compute": [0, 1, 2], "security": "malicious"})
SEALED = {party: bytes([party]) * 3_000_000 for party in (0, 1, 2)}


def request() -> SignedRequest:
    made = Request.make(
        "SELECT 1",
        purpose="HMB",
        analyst=ANNA.public,
        result_key=ResultKey.generate(ENTROPY).public,
        roster_hash=RosterHash(bytes(32)),
        consortium="three",
        now=EPOCH,
        entropy=ENTROPY,
        wait_seconds=86_400,
    )
    return made.sign(ANNA)


class House:
    """A keeper whose sessions and peers do what the test says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tries = 0
        self.ends: list[object] = []
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.away: set[int] = set()
        self.session = SessionId(b"s" * 32)
        self.signed = request()
        self.journal = Journal(store, PartyId(0), self.clock, lambda: bytes(32))
        self.waiting = Waiting(
            PartyId(0),
            cast("keeping.Submitter", self),
            cast("keeping.Peers", self),
            self.journal,
            self.clock,
            lambda _outcome: JobResult(b"plan", (b"r",) * 3, {}),
            self._withdrawn,
            lambda _event, **_fields: None,
        )

    def clock(self) -> float:
        return EPOCH + trio.current_time()

    async def _withdrawn(self, _digest: bytes, _signature: bytes) -> bool:
        return False

    def revoke(self, _concerns: Callable[[SignedRequest], bool], _why: str, *, owed: bool = False) -> int:
        return 0

    async def submit(
        self, signed: SignedRequest, _observer: object, _register: object, _attachments: Mapping[str, bytes]
    ) -> Any:
        assert signed == self.signed
        self.tries += 1
        await trio.sleep(0.1)
        end = self.ends.pop(0) if self.ends else AwaitingApproval("1 of 1 approval at party 1 still missing")
        if callable(end):
            end = end()
        if isinstance(end, MpcdError):
            raise end
        return end

    async def ask(
        self, kind: str, payload: dict[str, object], parties: Iterable[PartyId] | None = None
    ) -> dict[PartyId, dict[str, object] | MpcdError]:
        self.asked.append((kind, payload))
        if kind != keeping.SEALED:
            return {}
        (party,) = parties or ()
        if int(party) in self.away:
            return {party: PeerGone(party, "away")}
        offset = cast("int", payload["offset"])
        whole = SEALED[int(party)]
        return {party: {"size": len(whole), "part": whole[offset : offset + 1_000_000]}}

    def agree(self) -> None:
        entry = entries.agreed(
            self.signed.to_bytes(),
            self.signed.digest(),
            PlanHash(b"p" * 32),
            parties=[PartyId(0)],
            policy_digest=bytes(32),
            rules=DisclosureRules(),
            data_versions={},
        )
        self.store.commit_agreed(
            self.session,
            entry,
            now=self.clock(),
            burn=NonceUse(ANNA.public.raw, self.signed.request.nonce, EPOCH + 900),
            request_digest=self.signed.digest(),
            plan_hash=PlanHash(b"p" * 32),
            also=[partial(rows.note_agreed, request_digest=self.signed.digest(), session=self.session, plan=PLAN)],
        )

    def release(self) -> None:
        self.agree()
        recorded = entries.recorded(self.signed.digest(), PlanHash(b"p" * 32), released_digest=None, opened=[])
        self.store.commit_recorded(self.session, recorded, SEALED[0], now=self.clock(), receipt=(1, b"receipt"))
        self.store.commit_released(self.session, entries.released([PartyId(0)]), now=self.clock())

    def abort(self) -> None:
        self.agree()
        entry = entries.aborted("mpc.SessionAborted", refunded=True)
        self.store.commit_aborted(self.session, entry, now=self.clock(), refund=True)

    async def keep(self) -> None:
        await self.waiting.keep(self.signed, {}, AwaitingApproval("1 of 1 approval at party 1 still missing"))

    async def state(self) -> tuple[str, str]:
        found = await self.waiting.state(self.signed.digest())
        return str(found["state"]), str(found["message"])


class Journal(StoreJournal):
    """The real journal, in the one thread that the clock knows of."""

    async def run(self, work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return work()


@asynccontextmanager
async def keeper(path: Path) -> AsyncIterator[House]:
    store = Store.open(path / "state", entropy=random.Random(5).randbytes)
    try:
        async with trio.open_nursery() as nursery:
            house = House(store)
            await nursery.start(house.waiting.run)
            yield house
            nursery.cancel_scope.cancel()
    finally:
        store.close()


# ------------------------------------------------------------------------------------------------ ends


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Busy("full"), True),
        (PeerGone(PartyId(2), "away"), True),
        (EngineFailed("our disk"), True),
        (CheatDetected(None, "a check failed"), True),
        (DeadlineExceeded("late"), True),
        (AwaitingApproval("people"), True),
        (NO, False),
        (RequestInvalid("another roster"), False),
        (PlanInvalid("no such column"), False),
        (PlanMismatch("versions"), False),
        (Cancelled("by its analyst"), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_will_pass_is_tried_again_and_what_will_not_is_over(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, error: MpcdError, passes: bool
) -> None:
    async with keeper(tmp_path) as house:
        house.ends = [error]
        await house.keep()
        await trio.sleep(limits.WAITING_RETRY_SECONDS_MAX)
        state, message = await house.state()
        assert state == ("waiting" if passes else "refused" if error is NO else "failed")
        if not passes:
            assert message == str(error)
            assert house.tries == 1


async def test_tries_grow_rarer_until_something_is_heard(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with keeper(tmp_path) as house:
        house.ends = [PeerGone(PartyId(2), "away") for _ in range(100)]
        await house.keep()
        await trio.sleep(3600)
        assert house.tries < 25
        before = house.tries
        house.waiting.poke([house.signed.digest(), b"another"])
        await trio.sleep(limits.WAITING_PAUSE_SECONDS + 1)
        assert house.tries == before + 1


async def test_many_pokes_make_one_try(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        await house.keep()
        await trio.sleep(10)
        before = house.tries
        for _ in range(20):
            house.waiting.poke()
        await trio.sleep(10)
        assert house.tries == before + 1


async def test_a_poke_during_a_try_is_not_lost(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        await house.keep()
        await trio.sleep(limits.WAITING_PAUSE_SECONDS + 0.05)
        assert house.tries == 1
        house.waiting.poke([house.signed.digest()])
        await trio.sleep(10)
        assert house.tries == 2


async def test_a_bug_in_one_try_leaves_it_its_keeper(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        house.ends = [lambda: 1 / 0]
        await house.keep()
        await trio.sleep(2 * limits.WAITING_RETRY_SECONDS_MAX)
        assert house.tries >= 2
        assert (await house.state())[0] == "waiting"


async def test_it_expires(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        await house.keep()
        await trio.sleep(86_400 + 900 + 60)
        assert (await house.state())[0] == "expired"
        with pytest.raises(NotFound, match="it is expired"):
            await house.waiting.result(house.signed.digest())


# ------------------------------------------------------------------------------------------------ after agreement


async def test_what_was_released_is_collected_in_parts(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        house.away = {2}

        def cut_off() -> MpcdError:
            house.release()
            return PeerGone(PartyId(2), "party 2 recorded the result but its part has not come")

        house.ends = [cut_off]
        await house.keep()
        await trio.sleep(30)
        assert await house.state() == ("waiting", "released; waiting for party 2 to hand over its part")
        house.away = set()
        await trio.sleep(2 * limits.WAITING_RETRY_SECONDS_MAX)
        assert house.tries == 1
        result = await house.waiting.result(house.signed.digest())
        assert result.releases == tuple(SEALED.values())
        assert result.plan == PLAN
        assert result.facts["receipt"] == b"receipt"


async def test_what_was_aborted_is_over(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:

        def cut_off() -> MpcdError:
            house.abort()
            return PeerGone(PartyId(2), "party 2 went away")

        house.ends = [cut_off]
        await house.keep()
        await trio.sleep(30)
        assert await house.state() == ("failed", "the session was aborted: party 2 went away; sign a new request")


async def test_sealed_bytes_are_handed_over_once_they_may_leave(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with keeper(tmp_path) as house:
        asked: dict[str, object] = {"session": bytes(house.session), "offset": 0}
        with pytest.raises(NotFound):
            await house.waiting.hand_over(PartyId(1), asked)
        house.agree()
        with pytest.raises(NotFound):
            await house.waiting.hand_over(PartyId(1), asked)
        recorded = entries.recorded(house.signed.digest(), PlanHash(b"p" * 32), released_digest=None, opened=[])
        house.store.commit_recorded(house.session, recorded, SEALED[1], now=house.clock())
        with pytest.raises(NotFound):
            await house.waiting.hand_over(PartyId(1), asked)
        house.store.commit_released(house.session, entries.released([PartyId(0)]), now=house.clock())
        reply = await house.waiting.hand_over(PartyId(1), asked)
        part = reply["part"]
        assert isinstance(part, bytes)
        assert len(part) < len(SEALED[1]) == reply["size"]
        rest = await house.waiting.hand_over(PartyId(1), {**asked, "offset": len(part)})
        assert part + cast("bytes", rest["part"]) == SEALED[1]
        with pytest.raises(NotFound):
            await house.waiting.hand_over(PartyId(1), {**asked, "offset": len(SEALED[1])})


# ------------------------------------------------------------------------------------------------ the analyst


async def test_news_comes_when_there_is_some(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with keeper(tmp_path) as house:
        await house.keep()
        await trio.sleep(5)
        known = await house.waiting.state(house.signed.digest())
        started = trio.current_time()
        same = await house.waiting.state(house.signed.digest(), cast("int", known["revision"]))
        assert same == known
        assert trio.current_time() - started == limits.WAITING_WATCH_SECONDS_MAX
        house.ends = [NO]
        house.waiting.poke()
        started = trio.current_time()
        found = await house.waiting.state(house.signed.digest(), cast("int", known["revision"]))
        assert found["state"] == "refused"
        assert trio.current_time() - started < limits.WAITING_WATCH_SECONDS_MAX
        with pytest.raises(NotFound):
            await house.waiting.state(b"x" * 32)


async def test_withdrawn_is_told_with_the_analysts_own_signature(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with keeper(tmp_path) as house:
        await house.keep()
        await trio.sleep(5)
        digest = house.signed.digest()
        signature = ANNA.sign(approval.WITHDRAWAL, digest)
        with pytest.raises(RequestInvalid):
            await house.waiting.withdraw(digest, ANNA.sign("request", digest))
        assert await house.waiting.withdraw(digest, signature) == "withdrawn"
        await trio.sleep(5)
        assert (keeping.WITHDRAWN, {"request": digest, "signature": signature}) in house.asked
        tries = house.tries
        house.waiting.poke([digest])
        await trio.sleep(10)
        assert house.tries == tries
        assert await house.waiting.withdraw(digest, signature) == "forgotten"
