"""What is kept of questions follows the sessions: it goes with one that aborts or that a restart ends, else stays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mpcd import limits
from mpcd.errors import Bug
from mpcd.governance import DisclosureRules, entries
from mpcd.governance.history import DAY_MILLISECONDS, Definition, Kept, Region
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.plan.domains import Values
from mpcd.plan.nodes import ColumnRef
from mpcd.store import NonceUse, Store
from mpcd.store import history as rows

NOW = 400.0 * DAY_MILLISECONDS / 1000
ANALYST = b"a" * 32


def definition(number: int) -> Definition:
    region = Region(((ColumnRef(0, "age"), Values(((0, number),))),), ())
    return Definition((("people", b"t" * 32),), (), (PartyId(0),), (), (region,))


def kept(number: int, first: int, at: int = 5) -> Kept:
    made = definition(number)
    return Kept(made.digest, made.names, ANALYST, at, first)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    made = Store.open(directory, entropy=random.Random(1).randbytes)
    yield made
    made.close()


def agree(store: Store, session: int, what: Kept, number: int) -> SessionId:
    name = SessionId(session.to_bytes(32, "big"))
    entry = entries.agreed(
        b"request",
        RequestDigest(name),
        PlanHash(b"p" * 32),
        parties=[PartyId(0)],
        policy_digest=b"d" * 32,
        rules=DisclosureRules(),
        data_versions={},
    )
    store.commit_agreed(
        name,
        entry,
        now=NOW,
        burn=NonceUse(ANALYST, name[-16:], int(NOW) + 60),
        request_digest=RequestDigest(name),
        plan_hash=PlanHash(b"p" * 32),
        also=[partial(_remember, name, definition(number), what)],
    )
    return name


def _remember(session: SessionId, made: Definition, what: Kept, connection: object) -> None:
    rows.remember(connection, session, made, what, b"signed " + session[-1:])  # type: ignore[arg-type]


def record(store: Store, session: SessionId) -> None:
    entry = entries.recorded(RequestDigest(session), PlanHash(b"p" * 32), released_digest=None, opened=[])
    settle = partial(_settle, session)
    store.commit_recorded(session, entry, None, now=NOW, receipt=(int(NOW * 1000), b"receipt"), also=[settle])


def _settle(session: SessionId, connection: object) -> None:
    rows.settle(connection, session)  # type: ignore[arg-type]


def abort(store: Store, session: SessionId) -> None:
    store.commit_aborted(session, entries.aborted("mpc.X", refunded=True), now=NOW, refund=True)


def all_kept(store: Store) -> list[Kept]:
    return sorted(store.read(rows.kept), key=lambda one: one.first)


def test_what_is_agreed_is_kept_and_read_back(store: Store) -> None:
    agree(store, 1, kept(7, 1), 7)
    agree(store, 2, kept(8, 2), 8)
    assert all_kept(store) == [kept(7, 1), kept(8, 2)]
    bodies = store.read(partial(rows.bodies, digests=[definition(7).digest, b"x" * 32]))
    assert bodies == {definition(7).digest: (definition(7).body, b"signed \x01")}


def test_the_newest_request_is_shown(store: Store) -> None:
    agree(store, 1, kept(7, 1, at=5), 7)
    agree(store, 2, kept(7, 1, at=9), 7)
    bodies = store.read(partial(rows.bodies, digests=[definition(7).digest]))
    assert bodies == {definition(7).digest: (definition(7).body, b"signed \x02")}


def test_that_we_agreed_once_is_kept_whatever_became_of_it(store: Store) -> None:
    abort(store, agree(store, 1, kept(7, 1), 7))
    seven, eight = definition(7).digest, definition(8).digest
    assert store.read(partial(rows.answered, digests=[seven, eight])) == {seven}
    assert store.read(partial(rows.bodies, digests=[seven])) == {}


def test_an_aborted_session_leaves_nothing(store: Store) -> None:
    abort(store, agree(store, 1, kept(7, 1), 7))
    assert all_kept(store) == []
    agree(store, 2, kept(7, 9), 7)
    assert all_kept(store) == [kept(7, 9)], "it has lost its place"


def test_a_restart_forgets_what_it_aborts_and_nothing_else(store: Store) -> None:
    record(store, agree(store, 1, kept(7, 1), 7))
    agree(store, 2, kept(8, 2), 8)
    store.sessions_at_start(now=NOW)
    assert all_kept(store) == [kept(7, 1)]


def test_a_definition_stays_while_any_session_has_it(store: Store) -> None:
    record(store, agree(store, 1, kept(7, 1, at=5), 7))
    later = agree(store, 2, kept(7, 1, at=9), 7)
    assert all_kept(store) == [kept(7, 1, at=9)]
    abort(store, later)
    assert all_kept(store) == [kept(7, 1, at=5)]


def test_once_recorded_older_rows_go(store: Store) -> None:
    for session in range(1, 4):
        record(store, agree(store, session, kept(7, 1, at=session), 7))
    count = store.read(lambda connection: connection.execute("SELECT count(*) FROM definition_session").fetchone()[0])
    assert count == 1
    assert all_kept(store) == [kept(7, 1, at=3)]


def test_two_places_for_one_definition_are_a_bug_and_nothing_is_agreed(store: Store) -> None:
    agree(store, 1, kept(7, 1), 7)
    with pytest.raises(Bug):
        agree(store, 2, kept(7, 3), 7)
    assert store.session(SessionId((2).to_bytes(32, "big"))) is None


def test_there_is_room_for_so_many_and_the_oldest_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_DEFINITIONS_MAX", 3)
    for number in range(1, 6):
        record(store, agree(store, number, replace(kept(number, number), at=number), number))
    assert [one.first for one in all_kept(store)] == [3, 4, 5]
