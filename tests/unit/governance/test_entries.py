from __future__ import annotations

import pytest

from mpcd import canonical
from mpcd.errors import Refusal
from mpcd.governance import Debit, DisclosureRules, LedgerEntry, entries
from mpcd.ids import DataVersion, PartyId, PlanHash, RequestDigest

DIGEST = RequestDigest(b"\1" * 32)
PLAN = PlanHash(b"\2" * 32)
REASON = Refusal(PartyId(1), "table", "t", "party 1 knows no table `t`")

ALL = [
    *(
        entries.noted(kind, by="steward", about="gbsg2", digest=b"\3" * 32, reason="r", details={"n": 1})
        for kind in entries.NOTED_KINDS
    ),
    entries.started("0.1.0", sessions_aborted=1, sessions_recorded=0),
    entries.policy_loaded(b"\3" * 32),
    entries.roster_loaded(4, b"\4" * 32),
    entries.published("gbsg2", DataVersion("ab" * 32), 686),
    entries.refused(b"request", DIGEST, [REASON]),
    entries.failed(b"request", DIGEST, [Refusal(PartyId(1), "mpc.PeerUnavailable", "", "party 2 was away")]),
    entries.agreed(
        b"request",
        DIGEST,
        PLAN,
        parties=[PartyId(0), PartyId(1)],
        policy_digest=b"\5" * 32,
        rules=DisclosureRules(),
        data_versions={"gbsg2": DataVersion("ab" * 32)},
        debits=[Debit("queries", 1, 10, REASON)],
    ),
    entries.recorded(DIGEST, PLAN, released_digest=None, opened=["count(*)"]),
    entries.released([PartyId(0), PartyId(1)]),
    entries.aborted("mpc.Cancelled", refunded=True),
    entries.withheld("mpc.DeadlineExceeded"),
    entries.erased([3, 4], "article 17"),
]


def test_every_kind_has_its_constructor() -> None:
    assert [entry.kind for entry in ALL] == list(entries.ENTRY_KINDS)


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.kind)
def test_every_content_has_a_canonical_form(entry: LedgerEntry) -> None:
    assert canonical.decode(canonical.encode(entry.content)) == entry.content


def test_a_noted_reason_is_cut_and_the_rest_is_there() -> None:
    entry = entries.noted("denied", by="p", about="t", reason="x" * 1000)
    reason = "x" * entries.REASON_CHARACTERS_MAX
    assert entry.content == {"by": "p", "about": "t", "digest": None, "reason": reason, "details": {}}


def test_a_kind_with_its_own_constructor_is_not_noted() -> None:
    with pytest.raises(AssertionError):
        entries.noted("recorded", by="p", about="t")  # type: ignore[arg-type]  # a mistake


def test_a_limit_needs_its_refusal() -> None:
    with pytest.raises(AssertionError):
        Debit("queries", 1, 10)
    with pytest.raises(AssertionError):
        Debit("queries", -1, None)
