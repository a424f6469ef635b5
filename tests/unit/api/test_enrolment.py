"""The analyst's directory: nothing is overwritten, and what was sent can be sent again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from mpcd import limits
from mpcd.api import enrolment
from mpcd.api.pinning import Card, Member
from mpcd.api.profile import KEY_FILE, Profile
from mpcd.errors import ConfigurationInvalid, LocalFault, RequestInvalid
from mpcd.governance.access import AccessRequest, Evidence
from mpcd.identity import SigningKey
from mpcd.store.keyfiles import read_key

PARTY = SigningKey.from_seed(bytearray(b"p" * 32))
CARD = Card("nordic", 1, b"r" * 32, (Member(0, "lund", str(PARTY.public), ("input", "compute")),))
LETTER = bytes(range(256)) * 400


class Owner:
    """Takes calls as a daemon would, and says how each document stands."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.got = b""
        self._breaks = breaks

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((method, params))
        if method.endswith("Request"):
            return {"parties": [{"party": 0, "name": "lund", "request": "pending"}]}
        self.got += params["part"]
        whole = len(self.got) == len(LETTER) and not self._breaks
        return {"parties": [{"party": 0, "state": "whole" if whole else "more"}]}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    directory = tmp_path / "home" / "mpcd"
    enrolment.make_profile(directory, CARD, "ssh:lund", "GRU")
    return Profile.load(directory)


def request(profile: Profile, documents: Mapping[str, tuple[Evidence, bytes]]) -> AccessRequest:
    return AccessRequest(
        consortium="nordic",
        analyst=profile.signing_key.public,
        name="Anna",
        contact="a@b.example",
        institution="Lund",
        country="SE",
        reason="because",
        issued_at=enrolment.now_ms(),
        nonce=b"n" * 16,
        evidence=tuple(document for document, _ in documents.values()),
    )


def keep(profile: Profile, tmp_path: Path) -> Any:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(LETTER)
    documents = enrolment.read_documents({"IRB": letter})
    signed = request(profile, documents).sign(profile.signing_key)
    enrolment.keep(profile.directory, signed, documents)
    return signed


def test_a_profile_is_made_once_and_keeps_its_key(profile: Profile) -> None:
    assert profile.address == "ssh:lund"
    assert (profile.directory / KEY_FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationInvalid, match="already"):
        enrolment.make_profile(profile.directory, CARD, "ssh:lund", "GRU")
    with pytest.raises(LocalFault, match="never overwritten"):
        enrolment.new_key(profile.directory)


def test_a_request_and_its_documents_are_sent_whole_and_can_be_sent_again(profile: Profile, tmp_path: Path) -> None:
    signed = keep(profile, tmp_path)
    assert enrolment.kept(profile.directory) == signed
    for _ in range(2):
        owner = Owner()
        (row,) = enrolment.send(cast("Any", owner), profile.directory, signed)
        assert row["documents_missing"] == []
        assert owner.got == LETTER
        assert all(len(params.get("part", b"")) <= limits.EVIDENCE_CHUNK_BYTES_MAX for _, params in owner.calls)


def test_an_owner_without_the_whole_document_is_said_to_miss_it(profile: Profile, tmp_path: Path) -> None:
    signed = keep(profile, tmp_path)
    (row,) = enrolment.send(cast("Any", Owner(breaks=True)), profile.directory, signed)
    assert row["documents_missing"] == ["IRB"]


def test_a_document_that_changed_since_is_not_sent(profile: Profile, tmp_path: Path) -> None:
    signed = keep(profile, tmp_path)
    (profile.directory / enrolment.DOCUMENTS / "IRB").write_bytes(b"another")
    with pytest.raises(RequestInvalid, match="changed"):
        enrolment.send(cast("Any", Owner()), profile.directory, signed)


def test_documents_are_bounded_and_must_be_there(tmp_path: Path) -> None:
    large = tmp_path / "large.pdf"
    large.write_bytes(bytes(limits.EVIDENCE_BYTES_MAX + 1))
    with pytest.raises(RequestInvalid):
        enrolment.read_documents({"IRB": large})
    with pytest.raises(LocalFault):
        enrolment.read_documents({"IRB": tmp_path / "nowhere"})
    with pytest.raises(RequestInvalid, match="at most"):
        enrolment.read_documents({f"C{number}": large for number in range(limits.EVIDENCE_FILES_MAX + 1)})


def test_a_rotation_sets_the_old_key_aside(profile: Profile) -> None:
    old = profile.signing_key.public
    coming = enrolment.new_key(profile.directory, KEY_FILE + enrolment.NEXT)
    waiting = enrolment.next_key(profile.directory)
    assert waiting is not None
    assert waiting.public == coming.public
    enrolment.finish_rotation(profile.directory)
    assert read_key(profile.directory / KEY_FILE, SigningKey).public == coming.public
    assert enrolment.next_key(profile.directory) is None
    (aside,) = profile.directory.glob(f"{KEY_FILE}.rotated-*")
    assert read_key(aside, SigningKey).public == old


def test_the_same_application_for_another_key_is_a_new_request(profile: Profile) -> None:
    last = request(profile, {})
    again = enrolment.again(last, PARTY.public, last.analyst)
    assert (again.name, again.analyst, again.replaces) == ("Anna", PARTY.public, last.analyst)
    assert again.digest() != last.digest()


def test_nothing_was_asked_from_a_new_profile(profile: Profile) -> None:
    assert enrolment.kept(profile.directory) is None
