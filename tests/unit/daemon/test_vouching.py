"""What a signed request vouches for: the definition that we plan from it ourselves, if our owner would allow it."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpcd.daemon.vouching import Vouching
from mpcd.errors import DataInvalid, EngineFailed, PeerUnvouched, Refusal
from mpcd.governance.history import Definition, question
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.ids import PartyId, RosterHash
from mpcd.plan.ir import LogicalPlan
from mpcd.plan.planner import plan_sql
from mpcd.roster.parse import parse

SEEDED = random.Random(5)
ANNA, EVE = (SigningKey.generate(SEEDED.randbytes) for _ in range(2))
ROSTER = parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())
ME, OTHER = PartyId(0), PartyId(1)
NOW = 1_795_348_800.0
SQL = "SELECT COUNT(*) FROM gbsg2 WHERE age > 60"


def signed(sql: str = SQL, key: SigningKey = ANNA, **changes: Any) -> SignedRequest:
    fields: dict[str, Any] = {
        "purpose": "HMB",
        "analyst": key.public,
        "result_key": ResultKey.generate(SEEDED.randbytes).public,
        "roster_hash": ROSTER.hash(),
        "consortium": ROSTER.consortium,
        "now": NOW - 10**7,
    }
    return Request.make(sql, entropy=SEEDED.randbytes, **(fields | changes)).sign(key)


def definition(sql: str = SQL) -> Definition:
    return question(plan_sql(sql, ROSTER, dt.date(2026, 1, 1)), ROSTER).definition


class Owner:
    """Accepts Anna, and lets nobody filter by `hidden` columns; its planner may be down."""

    def __init__(self) -> None:
        self.hidden = "gbsg2.cens"
        self.published = {"gbsg2"}
        self.is_down = False
        self.asked: list[tuple[int, Mapping[str, str]]] = []
        self.vouching = Vouching(ROSTER, self, self.versions, self.objections, lambda: NOW)

    async def plan(self, sql: str, as_of: dt.date) -> LogicalPlan:
        if self.is_down:
            raise EngineFailed("the planner is down")
        return plan_sql(sql, ROSTER, as_of)

    def versions(self, tables: tuple[str, ...]) -> Mapping[str, str]:
        if not self.published.issuperset(tables):
            raise DataInvalid("not published")
        return dict.fromkeys(tables, "1")

    async def objections(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], at: int
    ) -> tuple[Refusal, ...]:
        self.asked.append((at, versions))
        accepted = request.request.analyst == ANNA.public and self.hidden not in plan.uses
        return () if accepted else (Refusal(ME, "uses", self.hidden, "no"),)

    async def refuses(self, of: Definition, shown: bytes) -> str:
        with pytest.raises(PeerUnvouched) as caught:
            await self.vouching.check(OTHER, of, shown)
        assert caught.value.party == OTHER
        assert "gbsg2" not in str(caught.value), "the analyst whose session ends here learns nothing of the other one"
        return str(caught.value)


async def test_a_request_vouches_for_what_it_asks_expired_or_not() -> None:
    owner = Owner()
    request = signed()
    assert await owner.vouching.check(OTHER, definition(), request.to_bytes()) == request
    assert owner.asked == [(int(NOW * 1000), {"gbsg2": "1"})]


async def test_a_request_that_asks_something_else_vouches_for_nothing() -> None:
    owner = Owner()
    request = signed()
    for other in ("SELECT COUNT(*) FROM gbsg2 WHERE age > 61", "SELECT COUNT(*) FROM gbsg2 WHERE cens = 1"):
        assert "something else" in await owner.refuses(definition(other), request.to_bytes())
    fewer = replace(definition(), owners=(ME, OTHER))
    assert "something else" in await owner.refuses(fewer, request.to_bytes())
    assert owner.asked == []


async def test_a_forged_request_vouches_for_nothing() -> None:
    owner = Owner()
    request = signed()
    forged = SignedRequest(replace(request.request, nonce=b"n" * 32), request.signature)
    assert "no valid signed request" in await owner.refuses(definition(), forged.to_bytes())


async def test_what_our_owner_would_not_allow_is_not_evaluated() -> None:
    owner = Owner()
    forbidden = "SELECT COUNT(*) FROM gbsg2 WHERE cens = 1"
    assert "policy" in await owner.refuses(definition(forbidden), signed(forbidden).to_bytes())
    assert "policy" in await owner.refuses(definition(), signed(key=EVE).to_bytes())


@pytest.mark.parametrize("changes", [{"kind": "explain"}, {"privacy": b"ask"}, {"consortium": "another"}])
async def test_a_request_that_nobody_remembers_vouches_for_nothing(changes: dict[str, Any]) -> None:
    await Owner().refuses(definition(), signed(**changes).to_bytes())


async def test_a_table_without_data_here_is_not_evaluated() -> None:
    owner = Owner()
    owner.published.clear()
    await owner.refuses(definition(), signed().to_bytes())


async def test_under_an_earlier_roster_owners_are_taken_as_listed_and_nothing_else() -> None:
    owner = Owner()
    old = signed(roster_hash=RosterHash(b"o" * 32))
    fewer = replace(definition(), owners=(ME, OTHER))
    assert await owner.vouching.check(OTHER, fewer, old.to_bytes()) == old
    other = replace(definition("SELECT COUNT(*) FROM gbsg2 WHERE age > 61"), owners=(ME, OTHER))
    await owner.refuses(other, old.to_bytes())


async def test_our_own_failure_is_not_blamed_on_the_other_party() -> None:
    owner = Owner()
    owner.is_down = True
    with pytest.raises(EngineFailed):
        await owner.vouching.check(OTHER, definition(), signed().to_bytes())


async def test_any_bytes_are_a_typed_refusal() -> None:
    owner = Owner()
    rng = random.Random(8)
    whole = signed().to_bytes()
    for _ in range(300):
        cut = bytearray(whole[: rng.randrange(len(whole) + 1)])
        for _ in range(rng.randrange(1, 4)):
            if cut:
                cut[rng.randrange(len(cut))] ^= 1 << rng.randrange(8)
        if bytes(cut) != whole:
            await owner.refuses(definition(), bytes(cut))
    await owner.refuses(definition(), signed("SELECT nothing at all").to_bytes())
