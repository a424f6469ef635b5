from __future__ import annotations

import dataclasses
import random

import pytest

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.ids import RosterHash

NOW = 1_800_000_000
ROSTER = RosterHash(b"\x11" * 32)
SEEDED = random.Random(2)
ANALYST = SigningKey.generate(SEEDED.randbytes)
RESULT = ResultKey.generate(SEEDED.randbytes)
REQUEST = Request.make(
    "SELECT COUNT(*) FROM gbsg2",
    purpose="HMB",
    analyst=ANALYST.public,
    result_key=RESULT.public,
    roster_hash=ROSTER,
    consortium="breast-cancer-eu",
    now=NOW + 0.9,
    entropy=SEEDED.randbytes,
)
SIGNED = REQUEST.sign(ANALYST)


def test_an_honest_request_arrives() -> None:
    arrived = SignedRequest.from_bytes(SIGNED.to_bytes())
    assert arrived.verify(NOW + 5, ROSTER, "breast-cancer-eu") == REQUEST
    assert arrived.digest() == REQUEST.digest()
    assert arrived.to_bytes() == SIGNED.to_bytes()
    assert REQUEST.issued_at == NOW
    assert REQUEST.as_of.isoformat() == "2027-01-15"


CHANGES: dict[str, object] = {
    "text": "SELECT COUNT(*) FROM gbsg3",
    "purpose": "GRU",
    "result_key": ResultKey.generate(SEEDED.randbytes).public,
    "roster_hash": b"\x12" * 32,
    "consortium": "breast-cancer-us",
    "nonce": bytes(32),
    "issued_at": NOW - 1,
    "expires_at": REQUEST.expires_at + 1,
    "analyst": SigningKey.generate(SEEDED.randbytes).public,
    "quote_digest": bytes(32),
    "privacy": b"\x80",
    "wait_seconds": 60,
}


def test_every_field_is_changed_below() -> None:
    assert {field.name for field in dataclasses.fields(Request)} == CHANGES.keys() | {"kind"}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_any_field_breaks_the_signature(name: str) -> None:
    changed = dataclasses.replace(REQUEST, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert changed.digest() != REQUEST.digest()
    forged = SignedRequest.from_bytes(SignedRequest(changed, SIGNED.signature).to_bytes())
    with pytest.raises(RequestInvalid, match="signature"):
        forged.verify(NOW, changed.roster_hash, changed.consortium)


def test_every_flipped_byte_is_refused() -> None:
    encoded = SIGNED.to_bytes()
    for place in range(len(encoded)):
        flipped = encoded[:place] + bytes([encoded[place] ^ (1 << place % 8)]) + encoded[place + 1 :]
        with pytest.raises(RequestInvalid):
            SignedRequest.from_bytes(flipped).verify(NOW, ROSTER, "breast-cancer-eu")


def test_every_cut_and_extension_is_refused() -> None:
    encoded = SIGNED.to_bytes()
    for size in range(0, len(encoded), 7):
        with pytest.raises(RequestInvalid):
            SignedRequest.from_bytes(encoded[:size])
    with pytest.raises(RequestInvalid):
        SignedRequest.from_bytes(encoded + b"\0")


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_refused(seed: int) -> None:
    seeded = random.Random(seed)
    with pytest.raises(RequestInvalid):
        SignedRequest.from_bytes(seeded.randbytes(seeded.randrange(200)))


def fields() -> dict[str, object]:
    value = canonical.decode(REQUEST.to_bytes())
    assert isinstance(value, dict)
    return dict(value)


@pytest.mark.parametrize("name", sorted(fields()))
@pytest.mark.parametrize("wrong", [None, True, 0, -1, 2**63, 1.5, "", "x" * 5000, b"", b"x" * 5000, [], {}], ids=repr)
def test_every_field_has_one_type_and_size(name: str, wrong: object) -> None:
    changed = fields() | {name: wrong}
    numbers = {"issued_at", "expires_at", "wait_seconds"}
    if changed == fields() or (wrong == 0 and type(wrong) is int and name in numbers):
        return
    with pytest.raises(RequestInvalid):
        Request.from_bytes(canonical.encode(changed))


@pytest.mark.parametrize("name", sorted(fields()))
def test_no_field_may_be_missing(name: str) -> None:
    changed = fields()
    del changed[name]
    with pytest.raises(RequestInvalid, match=f"lacks {name}"):
        Request.from_bytes(canonical.encode(changed))


ASKED_AGAIN = {"nonce", "result_key", "issued_at", "expires_at", "quote_digest", "wait_seconds"}


@pytest.mark.parametrize("name", CHANGES)
def test_the_question_is_the_same_however_often_it_is_asked(name: str) -> None:
    changed = dataclasses.replace(REQUEST, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert (changed.question_digest() == REQUEST.question_digest()) == (name in ASKED_AGAIN)


def test_a_request_lives_longer_by_its_wait_for_approval() -> None:
    waits = dataclasses.replace(REQUEST, wait_seconds=86_400, expires_at=REQUEST.expires_at + 86_400)
    assert waits.sign(ANALYST).verify(NOW + 86_000, ROSTER, "breast-cancer-eu") == waits
    impatient = dataclasses.replace(waits, wait_seconds=60)
    with pytest.raises(RequestInvalid, match="would live"):
        impatient.sign(ANALYST).verify(NOW, ROSTER, "breast-cancer-eu")


def test_an_unknown_field_and_another_version_are_refused() -> None:
    with pytest.raises(RequestInvalid, match="does not know"):
        Request.from_bytes(canonical.encode(fields() | {"zeal": 1}))
    with pytest.raises(RequestInvalid, match="version 2, not 3"):
        Request.from_bytes(canonical.encode(fields() | {"version": 3}))


def test_a_second_spelling_is_refused() -> None:
    # the same map with one integer in a longer form than needed
    encoded = REQUEST.to_bytes()
    place = encoded.index(b"\xa7version\x02")
    longer = encoded[:place] + b"\xa7version\xcc\x02" + encoded[place + 9 :]
    with pytest.raises(RequestInvalid, match="canonical"):
        Request.from_bytes(longer)


@pytest.mark.parametrize(
    "text", ["", "x" * (limits.SQL_BYTES_MAX + 1), "é" * (limits.SQL_BYTES_MAX // 2 + 1), "\udc80"]
)
def test_sql_has_a_length(text: str) -> None:
    with pytest.raises(RequestInvalid, match="SQL"):
        dataclasses.replace(REQUEST, text=text)


@pytest.mark.parametrize("name", ["purpose", "consortium"])
@pytest.mark.parametrize("value", ["", "a\nb", "naïve", "x" * 500])
def test_short_texts_are_plain(name: str, value: str) -> None:
    with pytest.raises(RequestInvalid):
        dataclasses.replace(REQUEST, **{name: value})  # type: ignore[arg-type]


def signed(**changes: int) -> SignedRequest:
    return dataclasses.replace(REQUEST, **changes).sign(ANALYST)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("issued_at", "expires_at", "now", "says"),
    [
        (NOW, NOW + 100, NOW - 60, None),
        (NOW, NOW + 100, NOW - 60.5, "in the future"),
        (NOW, NOW + 100, NOW + 99.9, None),
        (NOW, NOW + 100, NOW + 100, "expired"),
        (NOW, NOW + 100, NOW + 1e9, "expired"),
        (NOW, NOW + 900, NOW, None),
        (NOW, NOW + 901, NOW, "at most 900"),
        (NOW, NOW, NOW, "before it is issued"),
        (NOW, NOW - 1, NOW, "before it is issued"),
        (NOW, 2**40 - 1, NOW, "at most 900"),
    ],
)
def test_times(issued_at: int, expires_at: int, now: float, says: str | None) -> None:
    request = signed(issued_at=issued_at, expires_at=expires_at)
    if says is None:
        request.verify(now, ROSTER, "breast-cancer-eu")
    else:
        with pytest.raises(RequestInvalid, match=says):
            request.verify(now, ROSTER, "breast-cancer-eu")


def test_another_consortium_and_another_roster_are_named() -> None:
    with pytest.raises(RequestInvalid, match=r"`breast-cancer-eu`.*`lung`"):
        SIGNED.verify(NOW, ROSTER, "lung")
    with pytest.raises(RequestInvalid, match="version 7 2222"):
        SIGNED.verify(NOW, RosterHash(b"\x22" * 32), "breast-cancer-eu", roster_version=7)
    with pytest.raises(RequestInvalid, match="another roster"):
        SIGNED.verify(NOW, RosterHash(b"\x22" * 32), "breast-cancer-eu")


def test_only_the_named_analyst_signs() -> None:
    with pytest.raises(RequestInvalid, match="another analyst"):
        REQUEST.sign(SigningKey.generate(SEEDED.randbytes))


def test_a_release_signature_is_no_request_signature() -> None:
    moved = SignedRequest(REQUEST, ANALYST.sign("release", REQUEST.to_bytes()))
    with pytest.raises(RequestInvalid, match="signature"):
        moved.verify(NOW, ROSTER, "breast-cancer-eu")


def test_nonces_are_fresh() -> None:
    made = [
        Request.make(
            "SELECT 1",
            purpose="HMB",
            analyst=ANALYST.public,
            result_key=RESULT.public,
            roster_hash=ROSTER,
            consortium="c",
            now=NOW,
            entropy=SEEDED.randbytes,
        ).nonce
        for _ in range(3)
    ]
    assert len(set(made)) == 3


def test_the_kind_is_signed() -> None:
    """Nobody makes a question that runs of one that only asks what it would do."""
    asked = dataclasses.replace(REQUEST, kind="explain")
    assert asked.digest() != REQUEST.digest()
    asked.sign(ANALYST).verify(NOW + 1.0, ROSTER, "breast-cancer-eu")
    forged = SignedRequest(REQUEST, asked.sign(ANALYST).signature)
    with pytest.raises(RequestInvalid, match="signature"):
        forged.verify(NOW + 1.0, ROSTER, "breast-cancer-eu")
