"""The check of the ledger at start: before serving, behind it when it takes long, and what status says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mpcd import limits
from mpcd.daemon.ledgercheck import LedgerCheck
from mpcd.errors import LedgerInvalid
from mpcd.governance import entries
from mpcd.store.ledger import LedgerReport
from mpcd.store.store import Store

ENTRY = entries.policy_loaded(b"\1" * 32)


def state(check: LedgerCheck) -> str:
    return check.state


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    opened.commit_entry(ENTRY, now=1_800_000_000.0)
    yield opened
    opened.close()


def test_a_good_ledger_is_good_when_the_start_goes_on(store: Store) -> None:
    check = LedgerCheck(store)
    assert state(check) == "being checked"

    async def start() -> str:
        async with trio.open_nursery() as nursery:
            await nursery.start(check.run)
            return state(check)

    assert trio.run(start) == "good"
    store.distrust("an append found another hand in it")
    assert state(check) == "broken"


@pytest.mark.parametrize("good", [True, False])
def test_a_long_check_goes_on_behind_the_start(store: Store, monkeypatch: pytest.MonkeyPatch, *, good: bool) -> None:
    monkeypatch.setattr(limits, "LEDGER_CHECK_WAIT_SECONDS_MAX", 0.01)
    verify, go = store.verify_ledger, threading.Event()

    def slow() -> LedgerReport:
        assert go.wait(10)
        if not good:
            raise LedgerInvalid("ledger entry 0 was changed: its hash does not fit")
        return verify()

    monkeypatch.setattr(store, "verify_ledger", slow)
    check = LedgerCheck(store)
    seen = []

    async def start() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(check.run)
            seen.append(state(check))
            go.set()

    if good:
        trio.run(start)
        store.commit_entry(ENTRY, now=1_800_000_001.0)
    else:
        with pytest.raises(BaseExceptionGroup) as caught:
            trio.run(start)
        assert caught.value.subgroup(LedgerInvalid) is not None
        with pytest.raises(LedgerInvalid, match="entry 0"):
            store.commit_entry(ENTRY, now=1_800_000_001.0)
    assert seen == ["being checked"]
    assert state(check) == ("good" if good else "broken")
