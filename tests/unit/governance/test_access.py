"""Requests for access: what is signed, what an owner makes of them, and what a replaced key means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.governance.access import Access, AccessBook, AccessRequest, Evidence, SignedAccessRequest, Terms
from mpcd.identity import SigningKey
from mpcd.results.schema import FormError

KEY = SigningKey.from_seed(bytearray(b"k" * 32))
OLD = SigningKey.from_seed(bytearray(b"o" * 32))
THIRD = SigningKey.from_seed(bytearray(b"t" * 32))
NOW = 1_790_000_000_000
LETTER = Evidence.of("IRB", "approval.pdf", b"yes")


def request(**changes: Any) -> AccessRequest:
    fields: dict[str, Any] = {
        "consortium": "nordic",
        "analyst": KEY.public,
        "name": "Anna Analyst",
        "contact": "anna@example.org",
        "institution": "University of Lund",
        "country": "SE",
        "reason": "Survival after surgery.\nTwo lines.",
        "issued_at": NOW,
        "nonce": b"n" * 16,
        "commercial": False,
        "evidence": (LETTER,),
    }
    return AccessRequest(**{**fields, **changes})


def test_a_signed_request_survives_its_journey() -> None:
    signed = request(tables=("gbsg2",), replaces=OLD.public).sign(KEY, OLD)
    again = SignedAccessRequest.from_bytes(signed.to_bytes())
    assert again == signed
    assert again.verify(NOW, "nordic") == signed.request
    assert again.rotates


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"contact": "x" * 300}, "contact"),
        ({"country": "se"}, "country"),
        ({"country": "Sverige"}, "country"),
        ({"reason": "  "}, "find out"),
        ({"reason": "\x1b[2J"}, "plain text"),
        ({"replaces": KEY.public}, "itself"),
        ({"evidence": (LETTER, LETTER)}, "one document"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestInvalid, match=words):
        request(**changes)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "C:\\x", "", "x\n"])
def test_a_document_has_a_name_and_no_path(name: str) -> None:
    with pytest.raises(RequestInvalid):
        Evidence.of("IRB", name, b"x")


def test_a_document_has_a_size() -> None:
    with pytest.raises(RequestInvalid):
        Evidence.of("IRB", "x.pdf", b"")
    with pytest.raises(RequestInvalid):
        Evidence.of("IRB", "x.pdf", bytes(limits.EVIDENCE_BYTES_MAX + 1))


def test_every_changed_byte_of_what_is_signed_is_found() -> None:
    encoded = bytearray(request().sign(KEY).to_bytes())
    for place in range(0, len(encoded), 7):
        changed = bytearray(encoded)
        changed[place] ^= 1
        with pytest.raises(RequestInvalid):
            SignedAccessRequest.from_bytes(bytes(changed)).verify(NOW, "nordic")


def test_another_signer_another_consortium_another_time_are_refused() -> None:
    signed = request().sign(KEY)
    with pytest.raises(RequestInvalid, match="does not fit"):
        replace(signed, signature=THIRD.sign("access-request", signed.request.to_bytes())).verify(NOW, "nordic")
    with pytest.raises(RequestInvalid, match="addressed"):
        signed.verify(NOW, "other")
    with pytest.raises(RequestInvalid, match="future"):
        signed.verify(NOW - 120_000, "nordic")
    with pytest.raises(RequestInvalid, match="too old"):
        signed.verify(NOW + int(limits.ACCESS_REQUEST_SECONDS_MAX * 1000) + 1, "nordic")
    with pytest.raises(RequestInvalid):
        request().sign(THIRD)


def test_only_the_old_key_itself_can_agree_to_its_replacement() -> None:
    wanted = request(replaces=OLD.public)
    assert not wanted.sign(KEY).rotates
    with pytest.raises(RequestInvalid):
        wanted.sign(KEY, THIRD)
    forged = replace(wanted.sign(KEY), replaced_signature=THIRD.sign("access-replaces", wanted.to_bytes()))
    with pytest.raises(RequestInvalid, match="does not fit"):
        forged.verify(NOW, "nordic")
    stray = replace(request().sign(KEY), replaced_signature=OLD.sign("access-replaces", request().to_bytes()))
    with pytest.raises(RequestInvalid, match="replaces none"):
        stray.verify(NOW, "nordic")


def test_an_owner_books_only_what_it_found_proven() -> None:
    terms = Terms(frozenset({"gbsg2"}), NOW + 1, "reduced", frozenset({"IRB"}), commercial=True)
    access = Access.grant(request(), terms, NOW)
    facts = access.facts()
    assert facts.commercial is True
    assert facts.genetic is None
    assert facts.evidence == {"IRB": LETTER.sha256}
    assert facts.rate_class == "reduced"
    assert access.accepted().tables == frozenset({"gbsg2"})
    assert Access.grant(request(), Terms(), NOW).facts().evidence == {}
    assert Access.from_bytes(access.to_bytes()) == access


def test_a_document_that_is_not_there_cannot_be_accepted() -> None:
    with pytest.raises(RequestInvalid, match="COL"):
        Access.grant(request(), Terms(evidence=frozenset({"COL"})), NOW)
    with pytest.raises(RequestInvalid, match="before it begins"):
        Access.grant(request(), Terms(until=NOW), NOW)


def test_the_book_gives_what_is_in_force_and_nothing_else() -> None:
    access = Access.grant(request(), Terms(until=NOW + 10), NOW)
    book = AccessBook.of([access])
    assert book.accepted(KEY.public, NOW + 9) == access.accepted()
    assert book.accepted(KEY.public, NOW + 10) is None
    assert book.accepted(OLD.public, NOW) is None
    assert len(book.without(KEY.public)) == 0


def test_accepting_a_replacement_ends_the_old_key() -> None:
    book = AccessBook.of([Access.grant(request(analyst=OLD.public), Terms(), NOW)])
    after = book.with_entry(Access.grant(request(replaces=OLD.public), Terms(), NOW))
    assert after.accepted(OLD.public, NOW) is None
    assert after.accepted(KEY.public, NOW) is not None
    assert book.accepted(OLD.public, NOW) is not None


def test_a_stored_entry_that_was_changed_is_found() -> None:
    value = canonical.decode(Access.grant(request(), Terms(), NOW).to_bytes())
    assert isinstance(value, dict)
    with pytest.raises(FormError):
        Access.from_bytes(canonical.encode({**value, "rate_class": "free"}))
    with pytest.raises(FormError):
        Access.from_bytes(canonical.encode({**value, "evidence": {"IRB": b"short"}}))


@pytest.mark.parametrize("fact", ["commercial", "non_profit", "genetic"])
@pytest.mark.parametrize("said", [None, False, True])
@pytest.mark.parametrize("found", [None, False, True])
def test_what_the_owner_found_goes_before_what_the_analyst_said(
    fact: str, said: bool | None, found: bool | None
) -> None:
    entry = Access.grant(request(**{fact: said}), Terms(**{fact: found}), NOW)  # type: ignore[arg-type]  # one of three
    assert getattr(entry.accepted().facts, fact) is (said if found is None else found)


def test_the_reduced_rate_is_the_owners_to_give() -> None:
    assert Access.grant(request(reduced_rate=True), Terms(), NOW).accepted().facts.rate_class == "standard"
    assert Access.grant(request(), Terms(rate_class="reduced"), NOW).accepted().facts.rate_class == "reduced"


@pytest.mark.parametrize(
    "change",
    [
        {"request": "text"},
        {"signature": b"short"},
        {"signature": 5},
        {"replaced_signature": b"short"},
        {"replaced_signature": None},
        {"request": bytes(limits.ACCESS_REQUEST_BYTES_MAX + 1)},
    ],
    ids=lambda change: f"{next(iter(change))} {str(next(iter(change.values())))[:8]}",
)
def test_what_is_no_signed_request_is_refused(change: dict[str, canonical.Value]) -> None:
    value = canonical.decode(request().sign(KEY).to_bytes())
    assert isinstance(value, dict)
    with pytest.raises(RequestInvalid):
        SignedAccessRequest.from_bytes(canonical.encode({**value, **change}))


def test_a_request_of_another_version_is_refused() -> None:
    value = canonical.decode(request().to_bytes())
    assert isinstance(value, dict)
    with pytest.raises(RequestInvalid, match="version"):
        AccessRequest.from_bytes(canonical.encode({**value, "version": 2}))


def test_a_request_is_good_to_its_last_moment() -> None:
    signed = request().sign(KEY)
    skew, life = int(limits.CLOCK_SKEW_SECONDS_MAX * 1000), int(limits.ACCESS_REQUEST_SECONDS_MAX * 1000)
    for at in (NOW - skew, NOW + life):
        assert signed.verify(at, "nordic") == signed.request
    for at in (NOW - skew - 1, NOW + life + 1):
        with pytest.raises(RequestInvalid):
            signed.verify(at, "nordic")
