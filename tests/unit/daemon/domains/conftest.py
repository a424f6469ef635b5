"""One owner among three, with its real desks and store, and peers that a test speaks for."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpcd.daemon.accessdesk import AccessDesk
from mpcd.daemon.licencedesk import LicenceDesk
from mpcd.errors import MpcdError, PeerGone
from mpcd.governance.access import AccessBook
from mpcd.governance.people import AcceptedAnalyst
from mpcd.governance.policy import Policy
from mpcd.identity import VerifyKey
from mpcd.ids import PartyId
from mpcd.roster import Column, Party, Roster, Table
from mpcd.store import Store
from mpcd.store.ledger import Append
from mpcd.testing.licensing import CONSORTIUM, MADE_AT, key, party_key

NOW = MADE_AT
ME = PartyId(1)
OWNERS = (PartyId(1), PartyId(2), PartyId(3))
COLUMNS = (Column("age", "integer", 0, 120), Column("secret", "integer", 0, 9))
POLICY = f"""\
purposes = ["HMB"]
[[analyst]]
name = "Filed"
key = "{key("filed").public}"
[[steward]]
name = "Sten"
contact = "sten@example.org"
[[table]]
name = "open"
conditions = ["NCU"]
uses = {{ age = ["filter"] }}
[[table]]
name = "closed"
uses = {{ age = ["filter"] }}
"""


class House:
    """This owner's policy, and whom it has accepted besides."""

    def __init__(self) -> None:
        self.policy = Policy.parse(POLICY, "policy.toml")
        self.book = AccessBook()

    def accepted(self, analyst: VerifyKey, at: int) -> AcceptedAnalyst | None:
        return self.policy.accepted(analyst) or self.book.accepted(analyst, at)


class Journal:
    """A store without a thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.apart = 0

    async def read(self, work: Callable[[sqlite3.Connection], Any], *, apart: bool = False) -> Any:
        self.apart += apart
        return self.store.read(work, apart=apart)

    async def write(self, work: Callable[[sqlite3.Connection, Append], Any]) -> Any:
        return self.store.write(work, now=NOW / 1000)


class FakeNode(SimpleNamespace):
    """What the domains use of a daemon."""

    async def ask_peers(
        self, kind: str, payload: dict[str, object], parties: Iterable[PartyId] | None = None
    ) -> dict[PartyId, Any]:
        self.asked.append((kind, payload))
        away: MpcdError = PeerGone(None, "away")
        return {party: self.replies.get(party, away) for party in parties or OWNERS[1:]}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    store = Store.open(tmp_path / "state", entropy=random.Random(5).randbytes)
    house, journal, ended = House(), Journal(store), list[VerifyKey]()
    roster = Roster(
        CONSORTIUM,
        1,
        tuple(Party(one, f"H{one}", f"c {one}", str(party_key(one).public), ("input", "compute")) for one in OWNERS),
        tuple(Table(name, 1000, True, True, None, OWNERS, COLUMNS) for name in ("closed", "open", "unpublished")),
    )

    desk = LicenceDesk(
        journal,  # type: ignore[arg-type]
        house,  # type: ignore[arg-type]
        ME,
        roster,
        party_key(1),
        lambda tables: dict.fromkeys(tables, "ab" * 32),
        lambda _concerns, _why: 0,
        lambda: NOW / 1000,
        random.Random(6).randbytes,
    )
    yield FakeNode(
        config=SimpleNamespace(party=ME, signing_key=SimpleNamespace(signing_key=lambda: party_key(1))),
        questions=SimpleNamespace(handle=lambda kind, handler: None),
        roster=roster,
        policy=house,
        journal=journal,
        store=store,
        access=AccessDesk(journal, house, CONSORTIUM, lambda: NOW / 1000, ended.append),  # type: ignore[arg-type]
        licences=desk,
        data=SimpleNamespace(data=SimpleNamespace(manifests={})),
        ended=ended,
        replies={},
        asked=[],
    )
    store.close()
