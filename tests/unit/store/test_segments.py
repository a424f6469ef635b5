"""Segments: archived, verified without the daemon, erased, tampered with, and broken off at every step."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mpcd import limits
from mpcd.errors import LedgerInvalid, NotFound, RequestInvalid, StoreFailed
from mpcd.governance import DisclosureRules, chain, entries, segmentfile
from mpcd.governance.chain import LedgerHead, SignedHead, Witness
from mpcd.governance.segmentfile import SegmentReport
from mpcd.identity import SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId
from mpcd.store import NonceUse, Store, heads, segments, verify_ledger
from mpcd.store.ledger import Segment
from mpcd.store.segments import Archived
from mpcd.store.store import FILE_NAME

NOW = 1_800_000_000.0
YEAR = 365.25 * 86400
PLAN = PlanHash(b"\2" * 32)
ME, PEER = PartyId(0), PartyId(1)
SEEDED = random.Random(51)
KEYS = {party: SigningKey.generate(SEEDED.randbytes) for party in (ME, PEER)}
PUBLIC = {party: key.public for party, key in KEYS.items()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    opened = Store.open(directory, entropy=random.Random(52).randbytes)
    yield opened
    opened.close()


def name(number: int) -> SessionId:
    return SessionId(number.to_bytes(32, "big"))


def agree(store: Store, number: int, now: float = NOW) -> None:
    digest = RequestDigest(name(number))
    entry = entries.agreed(
        b"CANARY request %d" % number,
        digest,
        PLAN,
        parties=[PartyId(0), PartyId(1), PartyId(2)],
        policy_digest=bytes(32),
        rules=DisclosureRules(),
        data_versions={},
    )
    burn = NonceUse(bytes(32), name(number), int(now) + 300)
    store.commit_agreed(name(number), entry, now=now, burn=burn, request_digest=digest, plan_hash=PLAN)


def finish(store: Store, number: int, now: float = NOW) -> None:
    digest = RequestDigest(name(number))
    entry = entries.recorded(digest, PLAN, released_digest=None, opened=["count"])
    store.commit_recorded(name(number), entry, b"sealed %d" % number, now=now)
    store.commit_released(name(number), entries.released([ME, PEER]), now=now)


def session(store: Store, number: int, now: float = NOW) -> None:
    agree(store, number, now)
    finish(store, number, now)


def archive(
    store: Store, directory: Path, *, before: float = NOW + 1, seen_by_all: int | None = None
) -> list[Archived]:
    return segments.archive(
        store, directory, before=before, now=NOW + 10, party=ME, key=KEYS[ME], seen_by_all=seen_by_all
    )


def check_file(path: Path, after: SegmentReport | None = None) -> SegmentReport:
    with path.open("rb") as file:
        return segmentfile.verify(file.read, PUBLIC, after)


# ------------------------------------------------------------------------------------------------ archiving


def test_the_chain_goes_on_over_what_was_archived(store: Store, directory: Path) -> None:
    for number in range(1, 6):
        session(store, number)
    before = store.head()
    (made,) = archive(store, directory)
    assert (made.segment.first, made.segment.count) == (0, 15)
    assert LedgerHead(made.segment.end, made.segment.last) == before
    assert store.ledger_entries(0, 100)[0].kind == "archived"
    session(store, 6, NOW + 20)
    report = store.verify_ledger(before)
    assert (report.away, report.head.count) == (0, 19)
    assert report.kinds["agreed"] == 6
    assert store.sealed(name(3)) == b"sealed 3"
    found = check_file(made.path)
    assert found.head == before
    assert found.kinds == {"agreed": 5, "recorded": 5, "released": 5}
    assert made.path.stat().st_mode & 0o777 == 0o600


def test_segments_follow_each_other(store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_ENTRIES_MAX", 6)
    for number in range(1, 6):
        session(store, number)
    made = archive(store, directory)
    assert [(a.segment.first, a.segment.count) for a in made] == [(0, 6), (6, 6), (12, 3)]
    last: SegmentReport | None = None
    for archived in made:
        last = check_file(archived.path, last)
    with pytest.raises(LedgerInvalid, match="does not follow"):
        check_file(made[2].path, check_file(made[0].path))
    store.verify_ledger()
    assert archive(store, directory, before=NOW) == []


def test_what_sessions_need_stays(store: Store, directory: Path) -> None:
    session(store, 1)
    agree(store, 2)
    session(store, 3)
    (made,) = archive(store, directory)
    assert made.segment.end == 3
    finish(store, 2)
    (made,) = archive(store, directory, before=NOW + 100)
    assert made.segment.first == 3
    store.verify_ledger()


def test_young_entries_and_unseen_ones_stay(store: Store, directory: Path) -> None:
    session(store, 1, NOW)
    session(store, 2, NOW + 5)
    assert archive(store, directory, before=NOW) == []
    assert archive(store, directory, before=NOW + 9, seen_by_all=2) == []
    (made,) = archive(store, directory, before=NOW + 5)
    assert made.segment.end == 3
    store.verify_ledger()


def test_a_file_that_was_carried_away_is_passed_over(store: Store, directory: Path) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    made.path.unlink()
    session(store, 2, NOW + 20)
    report = store.verify_ledger()
    assert (report.away, report.head.count) == (3, 7)
    assert not store.read(lambda c: segments.all_of(c, directory))[0].is_here


def test_witnesses_go_with_their_segment(store: Store, directory: Path) -> None:
    session(store, 1)
    ledger_id = store.read(heads.ledger_id)
    seen = SignedHead.make(ME, ledger_id, store.head(), 1, KEYS[ME])
    word = Witness.make(seen, PEER, 2, KEYS[PEER])
    store.write(lambda c, _append: heads.keep_witness(c, word), now=NOW)
    (made,) = archive(store, directory)
    assert check_file(made.path).witnesses == ((PEER, 3),)
    with pytest.raises(LedgerInvalid, match="no party 1"), made.path.open("rb") as file:
        segmentfile.verify(file.read, {ME: KEYS[ME].public})
    store.verify_ledger()


def test_an_old_ledgers_first_format_is_archived_too(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    golden = Path(__file__).parents[2] / "golden" / "store" / "version_1.sql"
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.executescript(golden.read_text())
    (directory / FILE_NAME).chmod(0o600)
    store = Store.open(directory)
    store.sessions_at_start(now=NOW)
    made = archive(store, directory)
    assert made
    assert check_file(made[0].path).header.split == 11
    store.verify_ledger()
    store.close()


# ------------------------------------------------------------------------------------------------ erasing


def test_archived_content_can_be_erased(store: Store, directory: Path) -> None:
    session(store, 1)
    session(store, 2)
    (made,) = archive(store, directory)
    session(store, 3)
    store.erase([0, 7], "article 17", now=NOW)
    content = made.path.read_bytes()
    assert b"CANARY request 1" not in content
    assert b"CANARY request 2" in content
    assert check_file(made.path).erased == 1
    assert store.verify_ledger().erased == 2
    with pytest.raises(NotFound):
        store.erase([0], "again", now=NOW)


@pytest.mark.parametrize("within", [True, False])
def test_the_retention_holds_unless_it_is_overruled(store: Store, directory: Path, within: bool) -> None:
    session(store, 1, NOW - 7 * YEAR)
    session(store, 2, NOW)
    since = NOW - 6 * YEAR
    store.erase([0], "old", now=NOW, kept_since=since)
    if within:
        store.erase([3], "article 17", now=NOW)
        assert store.ledger_entries(7, 1)[0].content == {
            "sequences": [3],
            "reason": "article 17",
            "within_retention": True,
        }
    else:
        with pytest.raises(RequestInvalid, match="younger"):
            store.erase([3], "tidy", now=NOW, kept_since=since)
        archive(store, directory)
        with pytest.raises(RequestInvalid, match="younger"):
            store.erase([3], "tidy", now=NOW, kept_since=since)
    store.verify_ledger()


def test_a_running_session_keeps_its_content(store: Store) -> None:
    agree(store, 1)
    with pytest.raises(RequestInvalid, match="not over"):
        store.erase([0], "too soon", now=NOW)


def test_an_erasure_that_was_broken_off_is_finished_at_the_next_start(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    with monkeypatch.context() as patch:

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(segments, "do_erasures", stop)
        with pytest.raises(KeyboardInterrupt):
            store.erase([0], "article 17", now=NOW)
    assert b"CANARY" in made.path.read_bytes()
    store.close()
    again = Store.open(directory)
    assert b"CANARY" not in made.path.read_bytes()
    assert again.verify_ledger().erased == 1
    again.close()


def test_erasing_needs_the_file(store: Store, directory: Path) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    made.path.unlink()
    with pytest.raises(NotFound, match="bring it back"):
        store.erase([0], "article 17", now=NOW)
    store.verify_ledger()


# ------------------------------------------------------------------------------------------------ tampering


def test_every_flipped_byte_of_a_file_is_found(store: Store, directory: Path) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    content = made.path.read_bytes()
    seeded = random.Random(53)
    places = {*range(0, len(content), 7), *(seeded.randrange(len(content)) for _ in range(100))}
    for place in sorted(places):
        made.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(LedgerInvalid):
            check_file(made.path)
    made.path.write_bytes(content)
    check_file(made.path)


def test_a_file_cut_anywhere_is_found(store: Store, directory: Path) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    content = made.path.read_bytes()
    for size in range(0, len(content), 11):
        made.path.write_bytes(content[:size])
        with pytest.raises(LedgerInvalid):
            check_file(made.path)
        with pytest.raises(LedgerInvalid):
            store.verify_ledger()
    made.path.write_bytes(content + b"\0")
    with pytest.raises(LedgerInvalid, match="goes on"):
        check_file(made.path)


def rewritten(path: Path, change: Callable[[list[segmentfile.SegmentEntry]], list[segmentfile.SegmentEntry]]) -> None:
    """The same file with other entries, its seal as it was."""
    with path.open("rb") as file:
        reader = segmentfile.SegmentReader(file.read)
        changed = change(list(reader.entries()))
    assert reader.seal is not None
    path.write_bytes(b"".join(segmentfile.written(reader.header, changed, reader.seal)))


def renumbered(found: list[segmentfile.SegmentEntry]) -> list[segmentfile.SegmentEntry]:
    swapped = [found[0], found[2], found[1]]
    return [(place, *entry[1:]) for place, entry in enumerate(swapped)]


@pytest.mark.parametrize(
    "change",
    [
        renumbered,
        lambda found: [found[0], (1, found[1][1] + 1, *found[1][2:]), found[2]],
        lambda found: [found[0], (*found[1][:3], name(9), *found[1][4:]), found[2]],
        lambda found: [(*found[0][:5], None, None, 2), *found[1:]],
    ],
    ids=["reordered", "another time", "another session", "content gone"],
)
def test_a_meddled_file_is_found(
    store: Store,
    directory: Path,
    change: Callable[[list[segmentfile.SegmentEntry]], list[segmentfile.SegmentEntry]],
) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    rewritten(made.path, change)
    with pytest.raises(LedgerInvalid):
        store.verify_ledger()


ROWS = {
    "a segment's row is gone": ("DELETE FROM archived_session", "DELETE FROM segment"),
    "its last hash": ("UPDATE segment SET last = zeroblob(32)",),
    "its length": ("UPDATE segment SET count = count - 1",),
    "a session is called archived": ("INSERT INTO archived_session SELECT session, 0 FROM session WHERE session = ?",),
    "an archived session is not": ("DELETE FROM archived_session",),
}


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("statements", ROWS.values(), ids=ROWS)
def test_meddling_with_the_rows_is_found(
    store: Store, directory: Path, statements: tuple[str, ...], away: bool
) -> None:
    session(store, 1)
    (made,) = archive(store, directory)
    session(store, 2, NOW + 20)
    if away:
        made.path.unlink()
    store.close()
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        for statement in statements:
            connection.execute(statement, (name(2),) if "?" in statement else ())
        connection.commit()
    with pytest.raises(LedgerInvalid):
        verify_ledger(directory)


def test_entries_that_vanish_behind_a_made_up_segment_are_found(store: Store, directory: Path) -> None:
    store.commit_entry(entries.policy_loaded(bytes(32)), now=NOW)
    store.commit_entry(entries.policy_loaded(bytes(32)), now=NOW)
    last = store.ledger_entries(0, 1)[0].hash
    store.close()
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        (ledger_id,) = connection.execute("SELECT ledger_id FROM head").fetchone()
        connection.execute(
            "INSERT INTO segment VALUES (0, 1, ?, ?, 0, 0)",
            (chain.genesis(ledger_id), last),
        )
        connection.execute("DELETE FROM content WHERE sequence = 0")
        connection.execute("DELETE FROM entry WHERE sequence = 0")
        connection.commit()
    with pytest.raises(LedgerInvalid, match="without an entry that archives them"):
        verify_ledger(directory)


# ------------------------------------------------------------------------------------------------ stops


@pytest.mark.parametrize("step", ["_write", "_replace", "_check_file", "_unchanged"])
def test_a_stop_at_any_step_loses_nothing(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    session(store, 1)
    before = store.head()
    with monkeypatch.context() as patch:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(segments, step, stop)
        with pytest.raises(KeyboardInterrupt):
            archive(store, directory)
    assert store.head() == before
    store.verify_ledger()
    (made,) = archive(store, directory)
    assert check_file(made.path).head == before
    store.verify_ledger()


def test_a_file_that_was_written_wrongly_is_not_relied_on(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(store, 1)
    before = store.head()
    honest = segments._replace

    def lying_disk(path: Path, parts: Iterator[bytes]) -> None:
        honest(path, parts)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(segments, "_replace", lying_disk)
    with pytest.raises(StoreFailed, match=r"not rightly|do not fit"):
        archive(store, directory)
    assert store.head() == before
    store.verify_ledger()


# ------------------------------------------------------------------------------------------------ two at once


def meanwhile(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Do `work` once, between the writing of a segment's file and the transaction that relies on it."""
    checked = segments._check_file

    def check(path: Path, segment: Segment) -> None:
        monkeypatch.setattr(segments, "_check_file", checked)
        checked(path, segment)
        work()

    monkeypatch.setattr(segments, "_check_file", check)


def test_content_that_is_erased_while_it_is_archived_is_gone_from_the_file_too(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was written before the erasure: relied on, it would keep for ever what nobody knows to be due."""
    session(store, 1)
    meanwhile(monkeypatch, lambda: store.erase([0], "asked for", now=NOW + 5))
    with pytest.raises(StoreFailed, match="erased while"):
        archive(store, directory)
    assert segments_here(store, directory) == []
    (made,) = archive(store, directory)
    assert b"CANARY" not in made.path.read_bytes()
    assert store.verify_ledger().erased == 1


def test_two_archives_at_once_make_one(store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(store, 1)
    meanwhile(monkeypatch, lambda: archive(store, directory))
    with pytest.raises(StoreFailed, match="somebody else"):
        archive(store, directory)
    assert len(segments_here(store, directory)) == 1
    store.verify_ledger()


def segments_here(store: Store, directory: Path) -> list[Archived]:
    return store.read(lambda connection: segments.all_of(connection, directory))


def test_what_says_that_entries_were_erased_or_archived_is_never_erased(store: Store, directory: Path) -> None:
    """Neither in the state file nor once it is archived itself: the check of the ledger needs it."""
    session(store, 1)
    store.erase([0], "asked for", now=NOW + 5)
    archive(store, directory, before=NOW + 100)
    session(store, 2, NOW + 20)
    kinds = {row.sequence: row.kind for row in store.ledger_entries(0, 100)}
    (archived,) = (sequence for sequence, kind in kinds.items() if kind == "archived")
    for sequence in (3, archived):
        with pytest.raises(NotFound, match="no content that can be erased"):
            store.erase([sequence], "hide it", now=NOW + 30)
    archive(store, directory, before=NOW + 100)
    assert store.ledger_entries(archived, 1) == []
    with pytest.raises(NotFound, match="no content that can be erased"):
        store.erase([archived], "hide it", now=NOW + 40)
    store.verify_ledger()


def test_an_erasure_reaches_every_segment_that_it_names(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_ENTRIES_MAX", 3)
    session(store, 1)
    session(store, 2)
    made = archive(store, directory)
    assert [one.segment.first for one in made] == [0, 3]
    assert all(b"CANARY" in one.path.read_bytes() for one in made)
    store.erase([0, 3], "asked for", now=NOW + 20)
    assert not any(b"CANARY" in one.path.read_bytes() for one in made)
    assert store.read(lambda c: c.execute("SELECT count(*) FROM erasure_due").fetchone()) == (0,)
    assert store.verify_ledger().erased == 2


def test_an_erasure_that_stops_between_two_segments_is_finished(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_ENTRIES_MAX", 3)
    session(store, 1)
    session(store, 2)
    first, second = archive(store, directory)
    rewrite = segments._rewrite

    def stop(path: Path, erased: dict[int, int]) -> None:
        if path == second.path:
            raise KeyboardInterrupt
        rewrite(path, erased)

    monkeypatch.setattr(segments, "_rewrite", stop)
    with pytest.raises(KeyboardInterrupt):
        store.erase([0, 3], "asked for", now=NOW + 20)
    monkeypatch.setattr(segments, "_rewrite", rewrite)
    segments.do_erasures(store, directory, now=NOW + 30)
    assert not any(b"CANARY" in one.path.read_bytes() for one in (first, second))
    assert store.verify_ledger().erased == 2
