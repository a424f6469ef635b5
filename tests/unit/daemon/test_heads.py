"""Two and three parties that show each other their ledgers' heads, over a wire that is a function call."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import trio

from mpcd import canonical, limits
from mpcd.daemon.heads import HEAD, Ask, Heads
from mpcd.daemon.journal import StoreJournal
from mpcd.errors import LedgerInvalid, MpcdError, NotFound, PeerMalformed
from mpcd.governance import chain, entries
from mpcd.governance.chain import LedgerHead, SignedHead
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.store import Store, heads, verify_ledger
from mpcd.store.store import FILE_NAME

NOW = 1_800_000_000.0
PARTIES = [PartyId(0), PartyId(1), PartyId(2)]
NOTE = entries.noted("licensed", by="steward", about="t")


class World:
    """Parties with stores of their own; `ask` reaches the one that is asked."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.seeded = random.Random(41)
        self.signing = {party: SigningKey.generate(self.seeded.randbytes) for party in PARTIES}
        self.stores: dict[PartyId, Store] = {}
        self.heads: dict[PartyId, Heads] = {}
        self.said: dict[PartyId, list[str | None]] = {party: [] for party in PARTIES}
        self.logged: list[tuple[PartyId, str]] = []
        self.asked = 0
        self.now = NOW
        self.twist: Callable[[PartyId, dict[str, object]], dict[str, object]] = lambda _party, payload: payload
        for party in PARTIES:
            self.start(party)

    def directory(self, party: PartyId) -> Path:
        return self.base / f"state{party}"

    def start(self, party: PartyId) -> None:
        store = self.stores[party] = Store.open(self.directory(party), entropy=self.seeded.randbytes)
        journal = StoreJournal(store, party, lambda: self.now, lambda: bytes(32))
        keys = {other: key.public for other, key in self.signing.items()}
        self.heads[party] = Heads(
            party,
            self.signing[party],
            keys,
            journal,
            self.asker(party),
            lambda: self.now,
            lambda event, **_fields: self.logged.append((party, event)),
            self.said[party].append,
        )

    def asker(self, party: PartyId) -> Ask:
        async def ask(
            kind: str, payload: dict[str, object], parties: Iterable[PartyId] | None = None
        ) -> Mapping[PartyId, dict[str, object] | MpcdError]:
            assert kind == HEAD
            assert parties is not None
            answers: dict[PartyId, dict[str, object] | MpcdError] = {}
            for other in parties:
                self.asked += 1
                try:
                    answers[other] = await self.heads[other].receive(party, self.twist(party, payload))
                except MpcdError as error:
                    answers[other] = error
            return answers

        return ask

    def note(self, party: PartyId, count: int = 1) -> None:
        self.now += 1
        for _ in range(count):
            self.stores[party].write(lambda _connection, append: append(NOTE), now=self.now)

    def exchange(self, party: PartyId) -> dict[PartyId, str]:
        self.now += 1
        return trio.run(self.heads[party].exchange)

    def stop(self, party: PartyId) -> None:
        self.stores[party].close()

    def close(self) -> None:
        for store in self.stores.values():
            store.close()

    def edit(self, party: PartyId, change: Callable[[sqlite3.Connection], None]) -> None:
        """Stop a party, let somebody at its file, start it again."""
        self.stop(party)
        with closing(sqlite3.connect(self.directory(party) / FILE_NAME)) as connection:
            change(connection)
            connection.commit()
        self.start(party)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


A, B, C = PARTIES


def rechain(connection: sqlite3.Connection) -> None:
    """Make all hashes fit again after an edit, as somebody would who knows how; numbers closed up."""
    rows = connection.execute("SELECT * FROM entry ORDER BY sequence").fetchall()
    kept = connection.execute("SELECT * FROM content ORDER BY sequence").fetchall()
    connection.execute("DELETE FROM content")
    connection.execute("DELETE FROM entry")
    connection.execute("DELETE FROM witness")
    previous = chain.genesis(heads.ledger_id(connection))
    for sequence, (row, content) in enumerate(zip(rows, kept, strict=True)):
        _, at, kind, session, committed, _, _ = row
        made = chain.entry_hash(sequence, at, kind, session, committed, previous)
        connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", (sequence, at, kind, session, committed, previous, made)
        )
        connection.execute("INSERT INTO content VALUES (?, ?, ?, ?)", (sequence, *content[1:]))
        previous = made
    connection.execute("UPDATE head SET count = ?, hash = ?", (len(rows), previous))


def change_time(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entry SET time_milliseconds = time_milliseconds + 1 WHERE sequence = 2")
    rechain(connection)


def drop(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM content WHERE sequence = 2")
    connection.execute("DELETE FROM entry WHERE sequence = 2")
    rechain(connection)


def reorder(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entry SET time_milliseconds = sequence")
    connection.execute("UPDATE entry SET sequence = 100 WHERE sequence = 2")
    connection.execute("UPDATE content SET sequence = 100 WHERE sequence = 2")
    connection.execute("UPDATE entry SET sequence = 2 WHERE sequence = 3")
    connection.execute("UPDATE content SET sequence = 2 WHERE sequence = 3")
    connection.execute("UPDATE entry SET sequence = 3 WHERE sequence = 100")
    connection.execute("UPDATE content SET sequence = 3 WHERE sequence = 100")
    rechain(connection)


def cut(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM content WHERE sequence >= 3")
    connection.execute("DELETE FROM entry WHERE sequence >= 3")
    rechain(connection)


def cut_and_grown(connection: sqlite3.Connection) -> None:
    """As long as before, with other entries at the end."""
    connection.execute("UPDATE entry SET time_milliseconds = time_milliseconds + 7 WHERE sequence >= 3")
    rechain(connection)


TAMPERINGS = [change_time, drop, reorder, cut, cut_and_grown]


# ------------------------------------------------------------------------------------------------ honest


def test_heads_are_signed_and_kept(world: World) -> None:
    world.note(A, 5)
    assert world.exchange(A) == {B: "seen", C: "seen"}
    world.note(A, 3)
    assert world.exchange(A) == {B: "seen", C: "seen"}
    for party in (B, C):
        (peer,) = world.stores[party].read(lambda c: heads.peers(c, [A]))
        assert peer.remembered is not None
        assert peer.remembered.head == world.stores[A].head()
        assert peer.trouble == ()
    mine = world.stores[A].read(lambda c: heads.peers(c, [B, C]))
    assert all(peer.witness is not None and peer.witness.seen.head.count == 8 for peer in mine)
    assert {h.count for h in world.stores[A].read(heads.witnessed)} == {5, 8}
    world.stores[A].verify_ledger()
    assert world.asked == 4, "one message to each peer and exchange"
    assert world.logged == []


def test_a_peer_learns_hashes_alone(world: World) -> None:
    seen: list[dict[str, object]] = []

    def listen(_party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        seen.append(payload)
        return payload

    world.note(A, 5)
    world.exchange(A)
    world.twist = listen
    world.note(A, 2)
    world.exchange(A)
    written = b"".join(canonical.encode(payload) for payload in seen)
    with closing(sqlite3.connect(world.directory(A) / FILE_NAME)) as connection:
        rows = connection.execute("SELECT commitment, salt, body FROM entry JOIN content USING (sequence)").fetchall()
    assert len(rows) == 7
    for secret in [*(part for row in rows for part in row), b"licensed"]:
        assert secret not in written


def test_a_long_absence_is_made_up_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADS_HEADERS_MAX", 4)
    world.note(A, 2)
    world.exchange(A)
    world.note(A, 21)
    assert world.exchange(A) == {B: "seen", C: "seen"}
    (peer,) = world.stores[B].read(lambda c: heads.peers(c, [A]))
    assert peer.remembered is not None
    assert peer.remembered.head == world.stores[A].head()
    assert world.said[A] == []


def forget(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM witness")


def test_a_party_that_forgot_what_peers_signed_is_not_accused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADS_HEADERS_MAX", 4)
    world.note(A, 20)
    world.exchange(A)
    world.note(A, 20)
    world.edit(A, forget)
    assert world.exchange(A) == {B: "seen", C: "seen"}
    assert world.said[A] == []


# ------------------------------------------------------------------------------------------------ tampered


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("grown", [0, 4])
def test_a_rewritten_ledger_is_found_by_peers_and_proved_to_its_own_party(
    world: World, tamper: Callable[[sqlite3.Connection], None], grown: int
) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.edit(A, tamper)
    world.note(A, grown)
    verify_ledger(world.directory(A))  # its own check finds nothing: every hash fits
    outcomes = world.exchange(A)
    assert all("signed by this party" in text for text in outcomes.values())
    assert world.said[A]
    assert world.said[A][-1] is not None
    for party in (B, C):
        assert (party, "peer_ledger_broken") in world.logged
        (peer,) = world.stores[party].read(lambda c: heads.peers(c, [A]))
        assert len(peer.trouble) == 1
        assert world.stores[party].ledger_entries(0, 10)[-1].kind == "heads"
        world.stores[party].verify_ledger()
    # the evidence convinces a third: both heads are signed by A
    evidence = world.stores[B].read(lambda c: c.execute("SELECT shown, remembered FROM trouble").fetchall())
    for pair in evidence:
        for encoded in pair:
            SignedHead.from_bytes(encoded).check(world.signing[A].public)


def test_what_peers_signed_is_found_by_our_own_check_too(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    with closing(sqlite3.connect(world.directory(A) / FILE_NAME)) as connection:
        kept = connection.execute("SELECT * FROM witness").fetchall()

    def tamper(connection: sqlite3.Connection) -> None:
        change_time(connection)
        connection.executemany("INSERT INTO witness VALUES (?, ?, ?, ?)", kept)

    world.edit(A, tamper)
    with pytest.raises(LedgerInvalid, match="rewritten"):
        verify_ledger(world.directory(A))


def test_a_file_put_back_is_found(world: World, tmp_path: Path) -> None:
    world.note(A, 4)
    world.exchange(A)
    world.stop(A)
    shutil.copytree(world.directory(A), tmp_path / "backup")
    world.start(A)
    world.note(A, 2)
    world.exchange(A)
    world.stop(A)
    shutil.rmtree(world.directory(A))
    shutil.copytree(tmp_path / "backup", world.directory(A))
    world.start(A)
    verify_ledger(world.directory(A))
    assert all("of which 4 are left" in text for text in world.exchange(A).values())


def test_trouble_is_put_on_the_record_once(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.edit(A, cut)
    before = world.stores[B].head().count
    for _ in range(5):
        world.note(A)
        world.exchange(A)
    assert world.stores[B].head().count == before + 1


# ------------------------------------------------------------------------------------------------ what then


def test_an_admitted_loss_goes_on_and_stays_on_the_record(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.edit(A, cut)
    world.exchange(A)
    assert trio.run(world.heads[A].admit, "the disk failed, backup of Monday") == {B: "seen", C: "seen"}
    assert world.said[A][-1] is None
    world.note(A, 2)
    assert world.exchange(A) == {B: "seen", C: "seen"}
    world.stores[A].verify_ledger()
    for party in (B, C):
        (peer,) = world.stores[party].read(lambda c: heads.peers(c, [A]))
        assert peer.trouble == ()
        last = world.stores[party].ledger_entries(0, 10)[-1]
        assert last.content is not None
        assert last.content["reason"] == "admitted loss: the disk failed, backup of Monday"


def test_an_old_admission_does_not_excuse_another_cut(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.edit(A, cut)
    world.exchange(A)
    trio.run(world.heads[A].admit, "once")
    world.note(A, 9)
    world.exchange(A)
    world.edit(A, cut)
    assert all("signed by this party" in text for text in world.exchange(A).values())


def test_the_right_file_back_settles_it(world: World, tmp_path: Path) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.stop(A)
    shutil.copytree(world.directory(A), tmp_path / "kept")
    world.start(A)
    for _ in range(3):
        world.edit(A, cut)
        world.exchange(A)
        world.stop(A)
        shutil.rmtree(world.directory(A))
        shutil.copytree(tmp_path / "kept", world.directory(A))
        world.start(A)
        assert world.exchange(A) == {B: "seen", C: "seen"}
    (peer,) = world.stores[B].read(lambda c: heads.peers(c, [A]))
    assert peer.trouble == ()
    assert world.stores[B].read(lambda c: c.execute("SELECT count(*) FROM trouble").fetchone()) == (3,)
    kinds = [row.kind for row in world.stores[B].ledger_entries(0, 20)]
    assert kinds == ["heads"] * 6


def test_a_peer_cannot_fill_our_ledger(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_TROUBLE_PER_PARTY", 2)
    world.note(A, 6)
    world.exchange(A)
    key, ledger_id = world.signing[A], world.stores[A].read(heads.ledger_id)
    good = SignedHead.make(A, ledger_id, world.stores[A].head(), 1, key)

    def show(head: SignedHead) -> object:
        payload: dict[str, object] = {"head": head.to_bytes(), "first": 0, "headers": b"", "losses": []}
        return trio.run(world.heads[B].receive, A, payload)["outcome"]

    for number in range(20):
        assert show(SignedHead.make(A, ledger_id, LedgerHead(6, bytes([number] * 32)), 1, key)) == "trouble"
        assert show(good) == "seen"
    assert world.stores[B].head().count <= 4


def test_nothing_to_admit(world: World) -> None:
    with pytest.raises(NotFound):
        trio.run(world.heads[A].admit, "why not")


def test_an_operator_accepts_a_ledger_that_was_begun_again(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.stop(A)
    shutil.rmtree(world.directory(A))
    world.start(A)
    world.note(A, 1)
    world.exchange(A)
    (peer,) = world.stores[B].read(lambda c: heads.peers(c, [A]))
    assert "began another ledger" in peer.trouble[0][0]
    trio.run(world.heads[B].accept, A, "rang them up")
    assert world.exchange(A)[B] == "seen"
    assert world.said[A][-1] is not None, "one peer still holds it against us"
    trio.run(world.heads[C].accept, A, "rang them up")
    world.exchange(A)
    assert world.said[A][-1] is None
    with pytest.raises(NotFound):
        trio.run(world.heads[B].accept, A, "again")


# ------------------------------------------------------------------------------------------------ liars


def test_an_accusation_without_our_signature_does_nothing(world: World) -> None:
    world.note(A, 3)
    foreign = SignedHead.make(A, bytes(32), LedgerHead(9, bytes(32)), 1, world.signing[B])

    async def lie(_party: PartyId, _payload: dict[str, object]) -> dict[str, object]:
        return {"outcome": "trouble", "why": "because", "remembered": foreign.to_bytes()}

    world.heads[B].receive = lie  # type: ignore[method-assign,assignment]  # a liar
    assert world.exchange(A) == {B: "the peer disputes our ledger and cannot prove it", C: "seen"}
    assert world.said[A] == []
    assert (A, "peer_disputes_ledger") in world.logged


def test_a_witness_of_something_else_is_not_kept(world: World) -> None:
    world.note(A, 3)
    honest = world.heads[B].receive

    async def other(party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        answer = await honest(party, payload)
        seen = SignedHead.make(A, bytes(32), LedgerHead(9, bytes(32)), 1, world.signing[A])
        word = chain.Witness.make(seen, B, 1, world.signing[B])
        return {**answer, "witness": word.to_bytes()}

    world.heads[B].receive = other  # type: ignore[method-assign]  # a liar
    assert "PeerMalformed" in world.exchange(A)[B] or "signed another head" in world.exchange(A)[B]
    assert all(h.count == 3 for h in world.stores[A].read(heads.witnessed))


def test_a_head_of_another_party_is_malformed(world: World) -> None:
    world.note(A, 3)

    def twist(_party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        theirs = SignedHead.make(C, bytes(32), LedgerHead(9, bytes(32)), 1, world.signing[C])
        return {**payload, "head": theirs.to_bytes()}

    world.twist = twist
    assert all("did not sign" in text or "another party's head" in text for text in world.exchange(A).values())
    (peer,) = world.stores[B].read(lambda c: heads.peers(c, [A]))
    assert peer.remembered is None
    with pytest.raises(PeerMalformed):
        trio.run(world.heads[B].receive, A, {"head": b"x", "first": 0, "headers": b"", "losses": []})


def test_a_head_that_its_party_did_not_sign_is_remembered_by_nobody(world: World) -> None:
    """Right in everything but the signature: kept, it would be no evidence, and witnessed, a forgery of ours."""
    world.note(A, 3)

    def twist(_party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        encoded = payload["head"]
        assert isinstance(encoded, bytes)
        own = SignedHead.from_bytes(encoded)
        forged = SignedHead.make(own.party, own.ledger_id, own.head, own.at_milliseconds, world.signing[C])
        return {**payload, "head": forged.to_bytes()}

    world.twist = twist
    assert all("did not sign" in text for text in world.exchange(A).values())
    for party in (B, C):
        (peer,) = world.stores[party].read(lambda c: heads.peers(c, [A]))
        assert peer.remembered is None


def test_a_party_speaks_of_its_own_ledger_alone(world: World) -> None:
    """Signed rightly by A, about C: kept, it would make B accuse C of having cut its ledger."""
    world.note(A, 3)
    world.note(C, 2)
    world.exchange(C)
    known = world.stores[B].read(lambda c: heads.remembered(c, C))
    assert known is not None

    def twist(_party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        theirs = SignedHead.make(C, known.ledger_id, LedgerHead(9, bytes(32)), known.at_milliseconds, world.signing[A])
        return {**payload, "head": theirs.to_bytes(), "headers": b"", "first": 9}

    world.twist = twist
    assert "another party's head" in world.exchange(A)[B]
    assert world.stores[B].read(lambda c: heads.remembered(c, C)) == known
    assert all(row.kind != "heads" for row in world.stores[B].ledger_entries(0, 20))


def test_a_witness_without_the_peers_signature_is_not_kept(world: World) -> None:
    world.note(A, 3)
    honest = world.heads[B].receive

    async def forged(party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        answer = await honest(party, payload)
        encoded = payload["head"]
        assert isinstance(encoded, bytes)
        word = chain.Witness.make(SignedHead.from_bytes(encoded), B, 1, world.signing[C])
        return {**answer, "witness": word.to_bytes()}

    world.heads[B].receive = forged  # type: ignore[method-assign]  # a liar
    assert "did not sign what it saw" in world.exchange(A)[B]
    (peer,) = world.stores[A].read(lambda c: heads.peers(c, [B]))
    assert peer.witness is None


def decided(world: World, shown: SignedHead, *admitted: chain.Loss) -> heads.Verdict:
    """What B makes of a head that A shows, with these admissions, signatures aside."""
    return world.stores[B].write(
        lambda c, append: heads.remember(c, append, shown, 0, [], admitted, int(world.now * 1000)), now=world.now
    )


def test_an_admission_covers_what_was_seen_before_it_alone(world: World) -> None:
    """One that was never shown to B excuses no cut of what B saw later, and no other party's."""
    world.note(A, 9)
    world.exchange(A)
    known = world.stores[B].read(lambda c: heads.remembered(c, A))
    assert known is not None
    at, key = known.at_milliseconds, world.signing[A]

    def head(count: int, when: int, party: PartyId = A, ledger: bytes = known.ledger_id) -> SignedHead:
        return SignedHead.make(party, ledger, LedgerHead(count, bytes(32)), when, key)

    shown = head(5, at + 1000)
    for loss in (
        chain.Loss.make(head(3, at - 500), head(10, at - 1000), "before it was seen", key),
        chain.Loss.make(head(3, at + 500), head(6, at - 1000), "of fewer entries", key),
        chain.Loss.make(head(3, at + 500), head(10, at, ledger=bytes(32)), "of another ledger", key),
        chain.Loss.make(head(3, at + 500, C), head(10, at, C), "of another party", key),
    ):
        verdict = decided(world, shown, loss)
        assert verdict.outcome == "trouble", loss.reason
        assert world.stores[B].read(lambda c: heads.remembered(c, A)) == known
        assert world.stores[B].read(lambda c: heads.remembered(c, C)) is None
    good = chain.Loss.make(head(3, at + 500), known, "honest", key)
    assert decided(world, shown, good) == heads.Verdict("go on", first=3)
    assert decided(world, head(2, at + 2000), good).outcome == "trouble"


def test_what_was_admitted_as_lost_no_longer_speaks_against_the_ledger(world: World) -> None:
    """Whoever lost entries in earnest still has the peers' signatures of them."""
    world.note(A, 6)
    world.exchange(A)
    with closing(sqlite3.connect(world.directory(A) / FILE_NAME)) as connection:
        signed = connection.execute("SELECT * FROM witness").fetchall()
    assert len(signed) == 2

    def lose(connection: sqlite3.Connection) -> None:
        cut(connection)
        connection.executemany("INSERT INTO witness VALUES (?, ?, ?, ?)", signed)

    world.edit(A, lose)
    with pytest.raises(LedgerInvalid):
        verify_ledger(world.directory(A))
    world.exchange(A)
    trio.run(world.heads[A].admit, "the disk failed")
    verify_ledger(world.directory(A))
    assert world.exchange(A) == {B: "seen", C: "seen"}


def test_a_loss_that_its_party_did_not_admit_excuses_nothing(world: World) -> None:
    world.note(A, 6)
    world.exchange(A)
    world.edit(A, cut)
    lost = world.stores[B].read(lambda c: heads.remembered(c, A))
    assert lost is not None

    def twist(_party: PartyId, payload: dict[str, object]) -> dict[str, object]:
        encoded = payload["head"]
        assert isinstance(encoded, bytes)
        forged = chain.Loss.make(SignedHead.from_bytes(encoded), lost, "nothing to see", world.signing[C])
        return {**payload, "losses": [forged.to_bytes()]}

    world.twist = twist
    assert all("did not sign" in text for text in world.exchange(A).values())
    assert world.stores[B].read(lambda c: heads.remembered(c, A)) == lost
    assert all(row.kind != "heads" for row in world.stores[B].ledger_entries(0, 20))


def test_a_ledger_begun_anew_contradicts_what_was_signed_of_the_old_one(world: World) -> None:
    world.note(A, 3)
    other = SignedHead.make(A, bytes(32), LedgerHead(1, bytes(32)), 1, world.signing[A])
    why = world.stores[A].read(lambda c: heads.contradicts(c, other))
    assert why is not None
    assert "another ledger" in why


def test_a_change_of_a_partys_key_is_an_entry(world: World) -> None:
    keys = {party: (f"sign{party}", f"channel{party}") for party in PARTIES}

    def note() -> int:
        return world.stores[A].write(lambda c, append: heads.note_keys(c, append, keys), now=NOW)

    assert note() == 0
    assert note() == 0
    keys[B] = ("sign9", "channel1")
    assert note() == 1
    (entry,) = world.stores[A].ledger_entries(0, 10)
    assert entry.kind == "key_changed"
    assert entry.content is not None
    assert entry.content["details"] == {"signing": ["sign1", "sign9"]}
    assert note() == 0
