from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mpcd.daemon.journal import StoreJournal
from mpcd.daemon.ledgerview import entry_map
from mpcd.errors import Refusal
from mpcd.governance import entries
from mpcd.governance.policy import AcceptedAnalyst, Policy
from mpcd.identity import Request, ResultKey, SigningKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, RosterHash, SessionId
from mpcd.store import Store

NOW = 1_800_000_000.0
AWAY = Refusal(PartyId(0), "mpc.PeerUnavailable", "", "party 2 was away")
DENIED = Refusal(PartyId(1), "column-use", "t.x: group", "party 1 does not allow `t.x` to be used for `group`")
KEY = SigningKey.generate(os.urandom)
ANNA = Policy(analysts=(AcceptedAnalyst("Anna", KEY.public, None),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close()


def request() -> SignedRequest:
    made = Request.make(
        "SELECT COUNT(*) FROM t",
        purpose="GRU",
        analyst=KEY.public,
        result_key=ResultKey.generate(os.urandom).public,
        roster_hash=RosterHash(b"r" * 32),
        consortium="three",
        now=NOW,
        entropy=os.urandom,
    )
    return made.sign(KEY)


@pytest.mark.parametrize(
    ("reasons", "kind"), [((AWAY,), "failed"), ((DENIED,), "refused"), ((DENIED, AWAY), "refused")]
)
async def test_who_was_away_did_not_refuse(store: Store, reasons: tuple[Refusal, ...], kind: str) -> None:
    journal = StoreJournal(store, PartyId(0), lambda: NOW, lambda: b"p" * 32)
    await journal.refused(request(), reasons)
    (row,) = store.ledger_entries(0, 9)
    assert row.kind == kind


async def test_what_ended_leaves_a_line_without_the_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "commit_released", lambda *_arguments, **_fields: None)
    lines: list[tuple[str, dict[str, object]]] = []
    journal = StoreJournal(
        store, PartyId(0), lambda: NOW, lambda: b"p" * 32, lambda event, **fields: lines.append((event, fields))
    )
    asked = request()
    await journal.refused(asked, (DENIED,))
    await journal.released(SessionId(b"s" * 32), frozenset({PartyId(0)}))
    assert lines == [
        ("request_refused", {"request": asked.digest().hex(), "reason": "column-use"}),
        ("session_released", {"session": (b"s" * 32).hex()}),
    ]


async def test_a_request_on_record_is_shown_in_words(store: Store) -> None:
    journal = StoreJournal(store, PartyId(0), lambda: NOW, lambda: b"p" * 32)
    asked = request()
    await journal.refused(asked, (DENIED,))
    (row,) = await trio.to_thread.run_sync(store.ledger_entries, 0, 9)
    shown = entry_map(row, ANNA)
    assert shown["content_state"] == "kept"
    assert shown["asked"] == {
        "sql": "SELECT COUNT(*) FROM t",
        "purpose": "GRU",
        "analyst": "Anna",
        "analyst_key": str(KEY.public),
        "fingerprint": KEY.public.fingerprint(),
    }
    stranger = entry_map(row, Policy())["asked"]
    assert isinstance(stranger, dict)
    assert stranger["analyst"] is None


def test_erased_and_other_entries_ask_nothing(store: Store) -> None:
    store.commit_entry(entries.policy_loaded(b"\1" * 32), now=NOW)
    store.erase([0], "article 17", now=NOW)
    erased, erasure = (entry_map(row, ANNA) for row in store.ledger_entries(0, 9))
    assert (erased["content_state"], erased["erased_by"], erased["asked"]) == ("erased", 1, None)
    assert (erasure["content_state"], erasure["asked"]) == ("kept", None)
