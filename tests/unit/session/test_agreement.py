from __future__ import annotations

import pytest

from mpcd.errors import MpcdError, PlanInvalid, SessionFault
from mpcd.ids import PartyId, RequestDigest, RosterHash
from mpcd.session.agreement import Answer, check_verdicts


def answer(party: int, code: str = "", message: str = "") -> Answer:
    return Answer(
        party=PartyId(party),
        attempt=b"a" * 16,
        request_digest=RequestDigest(b"d" * 32),
        roster_hash=RosterHash(b"r" * 32),
        proposer=PartyId(0),
        dry_run=False,
        verdict="fail" if code else "agree",
        nonce=b"n" * 32,
        clock_seconds=0.0,
        failure_code=code,
        failure_message=message,
    )


BAD = "there is no column `foo`"


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ([answer(0, "mpc.PlanInvalid", BAD)], PlanInvalid, BAD),
        ([answer(party, "mpc.PlanInvalid", BAD) for party in range(3)], PlanInvalid, BAD),
        ([answer(0), answer(1, "mpc.PlanInvalid", BAD)], PlanInvalid, f"party 1: {BAD}"),
        (
            [answer(0, "mpc.PlanInvalid", BAD), answer(1, "mpc.DataInvalid", "not published")],
            PlanInvalid,
            f"party 0: {BAD}",
        ),
        ([answer(0), answer(1, "mpc.DataInvalid", "none")], SessionFault, "party 1: none (mpc.DataInvalid)"),
    ],
    ids=["our own", "everybody's", "one peer's", "different ones", "a peer's own fault"],
)
def test_a_party_is_named_only_where_it_stands_alone(answers: list[Answer], kind: type[MpcdError], text: str) -> None:
    with pytest.raises(kind) as caught:
        check_verdicts(answers)
    assert str(caught.value) == text
