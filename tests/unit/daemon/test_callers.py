"""Local users take turns: one that floods is told to wait, the others are served."""

from __future__ import annotations

import pytest

from mpcd import limits
from mpcd.daemon.callers import Callers
from mpcd.errors import Busy

NOW = 1000.0


def test_one_users_flood_is_bounded_and_others_are_served() -> None:
    callers = Callers()
    for _ in range(limits.CALLER_VERBS_BURST_MAX):
        callers.admit(1, NOW)
    with pytest.raises(Busy):
        callers.admit(1, NOW)
    callers.admit(2, NOW)
    callers.admit(1, NOW + 1.0 / limits.CALLER_VERBS_PER_SECOND_MAX)
    with pytest.raises(Busy):
        callers.admit(1, NOW + 1.0 / limits.CALLER_VERBS_PER_SECOND_MAX)


def test_the_users_that_are_counted_are_bounded() -> None:
    callers = Callers()
    for uid in range(limits.CALLERS_MAX + 10):
        callers.admit(uid, NOW)
    assert len(callers._allowances) == limits.CALLERS_MAX


def test_a_request_with_all_its_documents_fits_the_burst() -> None:
    chunks = -(-limits.EVIDENCE_BYTES_MAX // limits.EVIDENCE_CHUNK_BYTES_MAX) * limits.EVIDENCE_FILES_MAX
    assert chunks + 8 <= limits.CALLER_VERBS_BURST_MAX <= limits.PEER_QUESTIONS_BURST_MAX
