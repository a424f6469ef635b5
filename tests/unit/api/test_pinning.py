"""What a new analyst pins: a card that every party in it has signed, and nothing that one party made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpcd.api.pinning import Card, Member
from mpcd.api.profile import FILE, Profile
from mpcd.errors import RequestInvalid
from mpcd.identity import SigningKey

KEYS = [SigningKey.from_seed(bytearray(bytes([number]) * 32)) for number in range(3)]
CARD = Card(
    "nordic",
    2,
    b"r" * 32,
    tuple(Member(i, f"hospital-{i}", str(key.public), ("input", "compute")) for i, key in enumerate(KEYS)),
)
SIGNATURES = {number: CARD.sign(key) for number, key in enumerate(KEYS)}


def test_a_card_that_all_signed_is_pinned(tmp_path: Path) -> None:
    card = Card.verified(CARD.to_bytes(), SIGNATURES)
    assert card == CARD
    (tmp_path / FILE).write_text(card.profile_text("ssh:lund"))
    profile = Profile.load(tmp_path)
    assert profile.address == "ssh:lund"
    assert profile.roster_hash == b"r" * 32
    assert [party.signing_key for party in profile.parties.values()] == [key.public for key in KEYS]


@pytest.mark.parametrize("party", range(3))
def test_one_missing_or_wrong_signature_pins_nothing(party: int) -> None:
    without = {number: one for number, one in SIGNATURES.items() if number != party}
    for signatures in (without, {**without, party: SIGNATURES[(party + 1) % 3]}):
        with pytest.raises(RequestInvalid, match=f"hospital-{party}"):
            Card.verified(CARD.to_bytes(), signatures)


def test_a_changed_card_is_signed_by_nobody() -> None:
    changed = replace(CARD, roster_hash=b"x" * 32).to_bytes()
    with pytest.raises(RequestInvalid, match="did not sign"):
        Card.verified(changed, SIGNATURES)


def test_one_party_cannot_be_a_whole_consortium() -> None:
    alone = replace(CARD, parties=tuple(replace(m, signing_key=str(KEYS[0].public)) for m in CARD.parties))
    with pytest.raises(RequestInvalid, match="one key twice"):
        Card.verified(alone.to_bytes(), {number: alone.sign(KEYS[0]) for number in range(3)})
    with pytest.raises(RequestInvalid):
        Card.verified(replace(CARD, parties=()).to_bytes(), {})


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xc0"])
def test_what_is_no_card_is_refused(data: bytes) -> None:
    with pytest.raises(RequestInvalid):
        Card.verified(data, {})


def test_fingerprints_tell_cards_apart() -> None:
    assert len(CARD.fingerprint().split()) == 6
    assert CARD.fingerprint() != replace(CARD, roster_version=3).fingerprint()
