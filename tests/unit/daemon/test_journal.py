"""The way to the store: long reads wait in a line of their own."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
import trio

from mpcd.daemon.journal import StoreJournal
from mpcd.errors import LedgerInvalid
from mpcd.governance import entries
from mpcd.ids import PartyId
from mpcd.store import Store

NOTE = entries.noted("licensed", by="steward", about="t")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "state", entropy=random.Random(1).randbytes)


async def test_a_long_check_holds_up_no_commit(store: Store) -> None:
    """Not a matter of time: the check goes on until a commit that began after it is durable."""
    journal = StoreJournal(store, PartyId(0), lambda: 1_800_000_000.0, lambda: bytes(32))
    begun, committed = threading.Event(), threading.Event()

    def check() -> bool:
        begun.set()
        return committed.wait(30)

    seen: list[bool] = []

    async def verify() -> None:
        seen.append(await journal.apart(check))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(verify)
        await trio.to_thread.run_sync(begun.wait, 30)
        await journal.entry(NOTE)
        committed.set()
    assert seen == [True]
    assert store.head().count == 1
    store.close()


async def test_what_a_check_finds_stops_the_store(store: Store) -> None:
    journal = StoreJournal(store, PartyId(0), lambda: 1_800_000_000.0, lambda: bytes(32))

    def check() -> None:
        raise LedgerInvalid("entry 3 was changed")

    with pytest.raises(LedgerInvalid):
        await journal.apart(check)
    with pytest.raises(LedgerInvalid, match="entry 3"):
        await journal.entry(NOTE)
    assert store.broken == "entry 3 was changed"
    store.close()
