from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest

from mpcd import canonical
from mpcd.errors import ResultInvalid
from mpcd.identity import ReleaseEnvelope, ResultKey, SigningKey
from mpcd.ids import PartyId, PlanHash, RequestDigest, SessionId

SEEDED = random.Random(3)
PARTY_KEY = SigningKey.generate(SEEDED.randbytes)
ANALYST = ResultKey.generate(SEEDED.randbytes)
PARTY = PartyId(2)
SESSION = SessionId(SEEDED.randbytes(32))
REQUEST = RequestDigest(SEEDED.randbytes(32))
PLAN = PlanHash(SEEDED.randbytes(32))
PLAINTEXT = b"shares\0\0"
ENVELOPE = ReleaseEnvelope.seal(
    party=PARTY,
    session=SESSION,
    request_digest=REQUEST,
    plan_hash=PLAN,
    plaintext=PLAINTEXT,
    padded_bytes=100,
    result_key=ANALYST.public,
    signing_key=PARTY_KEY,
)


def opened(envelope: ReleaseEnvelope, key: ResultKey = ANALYST) -> bytes:
    envelope.verify(PARTY_KEY.public, party=PARTY, session=SESSION, request_digest=REQUEST, plan_hash=PLAN)
    return envelope.unseal(key)


def test_an_honest_release_opens() -> None:
    assert opened(ReleaseEnvelope.from_bytes(ENVELOPE.to_bytes())) == PLAINTEXT


@pytest.mark.parametrize("plaintext", [b"", b"\0", b"x" * 99, b"x" * 100])
def test_the_length_says_nothing(plaintext: bytes) -> None:
    envelope = ReleaseEnvelope.seal(
        party=PARTY,
        session=SESSION,
        request_digest=REQUEST,
        plan_hash=PLAN,
        plaintext=plaintext,
        padded_bytes=100,
        result_key=ANALYST.public,
        signing_key=PARTY_KEY,
    )
    assert opened(envelope) == plaintext
    assert len(envelope.ciphertext) == len(ENVELOPE.ciphertext)


@pytest.mark.parametrize("name", ["party", "session", "request_digest", "plan_hash", "ciphertext", "signature"])
def test_a_change_of_any_field_is_found(name: str) -> None:
    value = getattr(ENVELOPE, name)
    other: Any = value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])
    changed = ReleaseEnvelope.from_bytes(dataclasses.replace(ENVELOPE, **{name: other}).to_bytes())
    with pytest.raises(ResultInvalid, match="do not use this result"):
        opened(changed)
    # and even where the caller expects the changed names, signature and sealing hold
    with pytest.raises(ResultInvalid):
        changed.verify(
            PARTY_KEY.public,
            party=changed.party,
            session=changed.session,
            request_digest=changed.request_digest,
            plan_hash=changed.plan_hash,
        )
    if name != "signature":
        with pytest.raises(ResultInvalid):
            changed.unseal(ANALYST)


def test_every_flipped_byte_is_found() -> None:
    encoded = ENVELOPE.to_bytes()
    for place in range(len(encoded)):
        flipped = encoded[:place] + bytes([encoded[place] ^ (1 << place % 8)]) + encoded[place + 1 :]
        with pytest.raises(ResultInvalid):
            opened(ReleaseEnvelope.from_bytes(flipped))


def test_another_party_another_key_and_another_domain_are_found() -> None:
    arguments = {"session": SESSION, "request_digest": REQUEST, "plan_hash": PLAN}
    with pytest.raises(ResultInvalid, match="party 2"):
        ENVELOPE.verify(SigningKey.generate(SEEDED.randbytes).public, party=PARTY, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ResultInvalid, match="another party"):
        ENVELOPE.verify(PARTY_KEY.public, party=PartyId(1), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ResultInvalid, match="cannot be unsealed"):
        ENVELOPE.unseal(ResultKey.generate(SEEDED.randbytes))


def test_resealing_by_an_outsider_is_found() -> None:
    outsider = SigningKey.generate(SEEDED.randbytes)
    forged = ReleaseEnvelope.seal(
        party=PARTY,
        session=SESSION,
        request_digest=REQUEST,
        plan_hash=PLAN,
        plaintext=PLAINTEXT,
        padded_bytes=100,
        result_key=ANALYST.public,
        signing_key=outsider,
    )
    assert forged.unseal(ANALYST) == PLAINTEXT
    with pytest.raises(ResultInvalid, match="signature"):
        opened(forged)


def _without(name: str) -> Callable[[dict[str, object]], object]:
    return lambda fields: fields.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        *(_without(name) for name in ("party", "session", "signature", "version")),
        lambda fields: fields.update(extra=1),
        lambda fields: fields.update(version=2),
        lambda fields: fields.update(party=True),
        lambda fields: fields.update(party=-1),
        lambda fields: fields.update(party=2**31),
        lambda fields: fields.update(session=b"short"),
        lambda fields: fields.update(session="text"),
        lambda fields: fields.update(signature=b""),
        lambda fields: fields.update(ciphertext=b""),
        lambda fields: fields.update(ciphertext=None),
    ],
)
def test_malformed_envelopes_are_refused(change: Callable[[dict[str, object]], object]) -> None:
    fields = canonical.decode(ENVELOPE.to_bytes())
    assert isinstance(fields, dict)
    changed: dict[str, object] = dict(fields)
    change(changed)
    with pytest.raises(ResultInvalid):
        ReleaseEnvelope.from_bytes(canonical.encode(changed))


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x80", canonical.encode([1, 2])])
def test_what_is_no_envelope_is_refused(value: bytes) -> None:
    with pytest.raises(ResultInvalid):
        ReleaseEnvelope.from_bytes(value)
