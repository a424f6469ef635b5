"""Requests for access as an owner keeps them: decided once, with their documents, within bounds, on the record."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mpcd import limits
from mpcd.errors import Busy, LimitExceeded, NotFound, RequestInvalid
from mpcd.governance.access import AccessRequest, Evidence, SignedAccessRequest, Terms
from mpcd.identity import SigningKey
from mpcd.store import Store, access, licences
from mpcd.store.access import RequestRow
from mpcd.testing import licensing

NOW = 1_790_000_000_000
DAY = 86_400_000
LETTER = b"approved" * 20_000
T = TypeVar("T")


def key(number: int) -> SigningKey:
    return SigningKey.from_seed(bytearray(number.to_bytes(32, "big")))


def signed(number: int, **changes: Any) -> SignedAccessRequest:
    fields: dict[str, Any] = {
        "consortium": "nordic",
        "analyst": key(number).public,
        "name": f"Analyst {number}",
        "contact": "a@example.org",
        "institution": "Lund",
        "country": "SE",
        "reason": "because",
        "issued_at": NOW,
        "nonce": b"n" * 16,
        "evidence": (Evidence.of("IRB", "letter.pdf", LETTER),),
    }
    return AccessRequest(**{**fields, **changes}).sign(key(number))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state", entropy=random.Random(7).randbytes)
    yield opened
    opened.close()


def receive(store: Store, request: SignedAccessRequest, via: str = "uid 5", at: int = NOW) -> RequestRow:
    return store.write(lambda c, append: access.receive(c, append, request, via, at), now=at / 1000)


def send(store: Store, digest: bytes, content: bytes, code: str = "IRB") -> list[str]:
    size = limits.EVIDENCE_CHUNK_BYTES_MAX
    return [
        store.write(lambda c, _, p=place: access.add_part(c, digest, code, p, content[p : p + size]), now=0)  # type: ignore[misc]
        for place in range(0, len(content), size)
    ]


def grant(store: Store, row: RequestRow, terms: Terms) -> None:
    store.write(lambda c, append: access.grant(c, append, row, terms, "steward", NOW), now=0)


def read(store: Store, work: Callable[..., T], *arguments: object) -> T:
    return store.read(lambda c: work(c, *arguments))


def told(store: Store) -> list[object]:
    found: list[object] = []
    for row in store.ledger_entries(0, 100):
        if row.kind == "access" and row.content is not None:
            details = row.content["details"]
            assert isinstance(details, dict)
            found.append(details["what"])
    return found


def test_a_request_waits_and_the_same_one_again_changes_nothing(store: Store) -> None:
    first, again = receive(store, signed(1)), receive(store, signed(1), "party 2")
    assert first == again
    assert read(store, access.requests, "pending") == [first]
    assert told(store) == ["asked"]


def test_a_later_request_of_the_same_key_takes_its_place(store: Store) -> None:
    receive(store, signed(1))
    send(store, signed(1).request.digest(), LETTER)
    second = receive(store, signed(1, reason="better"), at=NOW + 1)
    assert read(store, access.requests, "pending") == [second]
    assert read(store, access.evidence, signed(1).request.digest(), "IRB") == b""
    assert read(store, access.latest, key(1).public) == second


def test_documents_arrive_in_parts_and_only_the_announced_ones(store: Store) -> None:
    row = receive(store, signed(1))
    assert read(store, access.held, row) == ()
    states = send(store, row.digest, LETTER)
    assert states == ["more"] * (len(states) - 1) + ["whole"]
    assert read(store, access.evidence, row.digest, "IRB") == LETTER
    assert read(store, access.held, row) == ("IRB",)
    assert send(store, row.digest, b"again") == ["whole"]
    with pytest.raises(NotFound):
        send(store, row.digest, LETTER, "COL")
    with pytest.raises(NotFound):
        send(store, b"x" * 32, LETTER)


def test_another_document_of_the_same_size_is_dropped(store: Store) -> None:
    row = receive(store, signed(1))
    assert send(store, row.digest, bytes(len(LETTER)))[-1] == "wrong"
    assert read(store, access.held, row) == ()
    assert send(store, row.digest, LETTER)[-1] == "whole"


def test_parts_out_of_order_or_too_long_are_refused(store: Store) -> None:
    row = receive(store, signed(1))
    for place, part in ((5, b"x"), (0, b""), (0, bytes(limits.EVIDENCE_CHUNK_BYTES_MAX + 1))):
        with pytest.raises(RequestInvalid):
            store.write(lambda c, _, a=(place, part): access.add_part(c, row.digest, "IRB", *a), now=0)  # type: ignore[misc]


def test_a_document_may_be_begun_anew(store: Store) -> None:
    """Whoever lost the connection half-way sends it again from its beginning."""
    row = receive(store, signed(1))
    first = LETTER[: limits.EVIDENCE_CHUNK_BYTES_MAX]
    assert store.write(lambda c, _: access.add_part(c, row.digest, "IRB", 0, first), now=0) == "more"
    assert send(store, row.digest, LETTER)[-1] == "whole"
    assert read(store, access.evidence, row.digest, "IRB") == LETTER


def test_documents_of_all_have_a_bound_in_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [receive(store, signed(number)) for number in (1, 2)]
    monkeypatch.setattr(limits, "EVIDENCE_KEPT_BYTES_MAX", 2 * len(LETTER) - 1)
    assert send(store, rows[0].digest, LETTER)[-1] == "whole"
    with pytest.raises(LimitExceeded, match="documents of"):
        send(store, rows[1].digest, LETTER)
    monkeypatch.setattr(limits, "EVIDENCE_KEPT_BYTES_MAX", 2 * len(LETTER))
    assert send(store, rows[1].digest, LETTER)[-1] == "whole"


def test_what_is_decided_takes_no_documents_and_no_second_decision(store: Store) -> None:
    rows = [receive(store, signed(number)) for number in (1, 2)]
    grant(store, rows[0], Terms())
    store.write(lambda c, append: access.refuse(c, append, rows[1], "no", "steward", NOW), now=0)
    for row in rows:
        with pytest.raises(NotFound, match="announced"):
            send(store, row.digest, LETTER)
        with pytest.raises(NotFound, match="any longer"):
            store.write(lambda c, append, row=row: access.refuse(c, append, row, "no", "steward", NOW), now=0)  # type: ignore[misc]
        with pytest.raises(NotFound, match="any longer"):
            grant(store, row, Terms())
    assert [found.state for row in rows if (found := read(store, access.find, row.digest))] == ["accepted", "refused"]


def test_every_decision_is_on_the_record_with_its_author_reason_and_keys(store: Store) -> None:
    grant(store, receive(store, signed(1)), Terms())
    rotated = receive(store, signed(2, replaces=key(1).public))
    store.write(lambda c, append: access.refuse(c, append, rotated, "who?", "operator (uid 7)", NOW), now=0)
    assert told(store) == ["asked", "accepted", "asked", "refused"]
    *_, refused = (row.content for row in store.ledger_entries(0, 100) if row.kind == "access")
    assert refused is not None
    assert (refused["by"], refused["reason"], refused["digest"]) == ("operator (uid 7)", "who?", rotated.digest)
    assert refused["details"] == {"what": "refused", "key": key(2).public.raw, "replaces": key(1).public.raw}


def test_what_is_accepted_is_in_the_book_and_decided_once(store: Store) -> None:
    row = receive(store, signed(1))
    with pytest.raises(RequestInvalid, match="not arrived"):
        grant(store, row, Terms(evidence=frozenset({"IRB"})))
    send(store, row.digest, LETTER)
    grant(store, row, Terms(evidence=frozenset({"IRB"})))
    accepted = read(store, access.book).accepted(key(1).public, NOW)
    assert accepted is not None
    assert accepted.facts.evidence == {"IRB": row.signed.request.evidence[0].sha256}
    with pytest.raises(NotFound):
        grant(store, row, Terms())
    assert told(store) == ["asked", "accepted"]


def test_a_document_that_was_not_accepted_is_not_kept(store: Store) -> None:
    row = receive(store, signed(1))
    send(store, row.digest, LETTER)
    grant(store, row, Terms())
    assert read(store, access.evidence, row.digest, "IRB") == b""


def test_what_is_refused_keeps_its_reason_and_no_document(store: Store) -> None:
    row = receive(store, signed(1))
    send(store, row.digest, LETTER)
    store.write(lambda c, append: access.refuse(c, append, row, "no ethics approval", "steward", NOW), now=0)
    found = read(store, access.find, row.digest)
    assert found is not None
    assert (found.state, found.reason) == ("refused", "no ethics approval")
    assert read(store, access.evidence, row.digest, "IRB") == b""
    assert len(read(store, access.book)) == 0
    assert receive(store, signed(1)).state == "refused"


def test_a_replacement_ends_the_old_key_in_the_same_transaction(store: Store) -> None:
    grant(store, receive(store, signed(1)), Terms())
    grant(store, receive(store, signed(2, replaces=key(1).public)), Terms())
    book = read(store, access.book)
    assert book.accepted(key(1).public, NOW) is None
    assert book.accepted(key(2).public, NOW) is not None
    assert told(store) == ["asked", "accepted", "asked", "accepted", "ended"]


def test_a_licence_goes_with_the_key_that_replaces_another(store: Store) -> None:
    grant(store, receive(store, signed(1)), Terms())
    made = licensing.offer()
    agreement = licensing.accepted(made, key(1))
    store.write(
        lambda c, append: licences.put_offer(c, append, licensing.signed(made), by="operator", at=NOW), now=NOW / 1000
    )
    store.write(lambda c, append: licences.accept(c, append, agreement, by="uid 5", at=NOW), now=NOW / 1000)
    grant(store, receive(store, signed(2, replaces=key(1).public)), Terms())
    assert read(store, licences.held, key(1).public.raw) == []
    assert [row.digest for row in read(store, licences.held, key(2).public.raw)] == [agreement.digest]


def test_ending_is_final_and_said_once(store: Store) -> None:
    grant(store, receive(store, signed(1)), Terms())
    store.write(lambda c, append: access.end(c, append, key(1).public, "steward", "left", NOW), now=0)
    assert len(read(store, access.book)) == 0
    with pytest.raises(NotFound):
        store.write(lambda c, append: access.end(c, append, key(1).public, "steward", "left", NOW), now=0)


def test_one_caller_has_a_daily_bound_and_others_are_served(store: Store) -> None:
    for number in range(limits.ACCESS_REQUESTS_PER_CALLER_PER_DAY_MAX):
        receive(store, signed(number + 1))
    with pytest.raises(Busy):
        receive(store, signed(1000))
    assert receive(store, signed(1000), "party 1").state == "pending"
    assert receive(store, signed(1001), at=NOW + DAY + 1).state == "pending"


def test_a_full_desk_refuses_and_old_requests_make_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACCESS_PENDING_MAX", 2)
    receive(store, signed(1))
    receive(store, signed(2))
    with pytest.raises(Busy):
        receive(store, signed(3))
    later = NOW + int(limits.ACCESS_REQUEST_SECONDS_MAX * 1000) + 1
    assert receive(store, signed(3), at=later).state == "pending"
    assert [row.state for row in read(store, access.requests)] == ["expired", "expired"]
