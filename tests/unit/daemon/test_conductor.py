"""What a conductor concludes from the parties' answers; whole sessions are run elsewhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from mpcd import limits
from mpcd.daemon.agreeing import Concluded
from mpcd.daemon.attempt import Attempt, Nobody
from mpcd.daemon.conductor import Conductor
from mpcd.errors import PlanUnsupported, Refusal, Refused, SessionFault
from mpcd.governance.disclosure import DisclosureRules
from mpcd.ids import PartyId, RequestDigest, RosterHash
from mpcd.plan.planner import plan_sql
from mpcd.roster.parse import parse
from mpcd.session import agreement
from mpcd.session.agreement import Answer

ROSTER = parse((Path(__file__).parents[1] / "plan" / "hospitals.toml").read_text())
PLAN = plan_sql("SELECT VAR_SAMP(age) FROM gbsg2", ROSTER, dt.date(2026, 1, 1))
PARTIES = sorted(party.id for party in ROSTER.parties)
DIGEST = RequestDigest(b"d" * 32)
ROUNDS = DisclosureRules(safe_round_base=5)


def conductor(attempt: Attempt) -> Conductor:
    settings = SimpleNamespace(me=PARTIES[0], roster=ROSTER, entropy=bytes)
    shell = SimpleNamespace(settings=settings, others=PARTIES[1:])
    request = SimpleNamespace(digest=lambda: DIGEST, request=SimpleNamespace(privacy=None, kind="sql"))
    return Conductor(cast("Any", shell), attempt, cast("Any", request), Nobody())


def answers(attempt: Attempt, refusals: tuple[Refusal, ...]) -> list[Answer]:
    """The last party demands rounding, under which no variance is answered, and says so unless it says nothing."""
    last = PARTIES[-1]
    return [
        Answer(
            party=party,
            attempt=attempt.id,
            request_digest=DIGEST,
            roster_hash=RosterHash(b"r" * 32),
            proposer=PARTIES[0],
            dry_run=attempt.dry_run,
            verdict="refuse" if party == last and refusals else "agree",
            refusals=refusals if party == last else (),
            nonce=b"n" * 32,
            clock_seconds=0.0,
            plan_sections=agreement.sections(cast("dict[str, object]", PLAN.to_value())),
            rules={**(ROUNDS if party == last else DisclosureRules()).to_value(), "security": "malicious"},
            data_versions={"gbsg2": "00"},
        )
        for party in PARTIES
    ]


@pytest.mark.parametrize("dry_run", [False, True], ids=["sql", "explain"])
def test_a_refusal_has_the_same_form_asked_either_way(dry_run: bool) -> None:  # a parameter of pytest
    attempt = Attempt(b"a" * 16)
    attempt.proposer, attempt.dry_run = PARTIES[0], dry_run
    reason = Refusal(PartyId(PARTIES[-1]), "disclosure", "safe_round_base", "does not allow an unrounded answer")
    with pytest.raises(Concluded) as caught:
        conductor(attempt)._agreeing.conclude(answers(attempt, (reason,)), PLAN, None)
    assert isinstance(caught.value.error, Refused)
    assert caught.value.error.reasons == (reason,)


def test_what_nobody_refuses_and_no_program_can_do_is_unsupported() -> None:
    attempt = Attempt(b"a" * 16)
    attempt.proposer, attempt.dry_run = PARTIES[0], True
    with pytest.raises(Concluded) as caught:
        conductor(attempt)._agreeing.conclude(answers(attempt, ()), PLAN, None)
    assert isinstance(caught.value.error, PlanUnsupported)


async def test_a_stuck_peer_holds_up_no_abort(autojump_clock: trio.testing.MockClock) -> None:
    """The first to be told takes nothing from us any more: the others learn of the abort, and we go on in time."""
    told: list[PartyId] = []

    async def tell(parties: list[PartyId], _message: dict[str, object]) -> set[PartyId]:
        for party in parties:
            if party == PARTIES[1]:
                await trio.sleep_forever()
            told.append(party)
        return set()

    ours = conductor(Attempt(b"a" * 16))
    ours._shell.tell = tell  # type: ignore[assignment,method-assign]
    ours._error = SessionFault("our disk is full")
    started = autojump_clock.current_time()
    await ours._tell_peers()
    assert set(told) == set(PARTIES[2:])
    assert told
    assert autojump_clock.current_time() - started == limits.ABORT_SECONDS_MAX
