from __future__ import annotations

import random

import pytest

from mpcd import canonical, limits
from mpcd.errors import KeyInvalid
from mpcd.identity import SigningKey
from mpcd.identity.locked import MAGIC, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, OPS_MAX, Cost, LockedKey, check_passphrase

CHEAP = Cost(1, MEMORY_BYTES_MIN)
WORDS = "correct horse battery"
ENTROPY = random.Random(4).randbytes
KEY = SigningKey.generate(ENTROPY)
LOCKED = LockedKey.lock(KEY, WORDS, ENTROPY, CHEAP)


def changed(**fields: object) -> bytes:
    value = canonical.decode(LOCKED.to_bytes()[len(MAGIC) :])
    assert isinstance(value, dict)
    return MAGIC + canonical.encode({**value, **fields})


def test_a_locked_key_signs_once_it_is_unlocked() -> None:
    again = LockedKey.from_bytes(LOCKED.to_bytes())
    assert again == LOCKED
    key = again.unlock(WORDS)
    KEY.public.verify("d", b"data", key.sign("d", b"data"))


def test_the_file_says_the_public_key_and_never_the_seed() -> None:
    assert LOCKED.public == KEY.public
    assert KEY.public.raw in LOCKED.to_bytes()
    assert KEY.expose_private_bytes() not in LOCKED.to_bytes()
    assert KEY.expose_private_bytes().hex() not in repr(LOCKED)


@pytest.mark.parametrize("words", ["correct horse batterz", "", "x" * (limits.PASSPHRASE_BYTES_MAX + 1)])
def test_another_passphrase_opens_nothing(words: str) -> None:
    with pytest.raises(KeyInvalid, match="does not open"):
        LOCKED.unlock(words)


def test_one_passphrase_in_two_spellings_of_unicode_is_one() -> None:
    locked = LockedKey.lock(KEY, "Schlüssel im Garten", ENTROPY, CHEAP)
    assert locked.unlock("Schlu\u0308ssel im Garten").public == KEY.public


def test_two_locks_of_one_key_have_nothing_in_common_but_the_public_key() -> None:
    other = LockedKey.lock(KEY, WORDS, ENTROPY, CHEAP)
    assert other.salt != LOCKED.salt
    assert other.nonce != LOCKED.nonce
    assert other.box != LOCKED.box


@pytest.mark.parametrize("field", ["box", "nonce", "salt"])
def test_a_changed_bit_opens_nothing(field: str) -> None:
    flipped = bytearray(getattr(LOCKED, field))
    flipped[-1] ^= 1
    with pytest.raises(KeyInvalid, match="does not open"):
        LockedKey.from_bytes(changed(**{field: bytes(flipped)})).unlock(WORDS)


def test_another_public_key_in_the_file_is_noticed() -> None:
    other = SigningKey.generate(ENTROPY)
    with pytest.raises(KeyInvalid, match="does not open"):
        LockedKey.from_bytes(changed(public=other.public.raw)).unlock(WORDS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"mpcd-private-key 1 sign\n" + bytes(64),
        MAGIC,
        MAGIC + b"\xc0",
        LOCKED.to_bytes() + b"\x00",
        LOCKED.to_bytes() + bytes(limits.KEY_FILE_BYTES_MAX),
        changed(more=1),
        changed(box=b"short"),
        changed(box="text"),
        changed(public=bytes(32)),
        changed(ops=OPS_MAX + 1),
        changed(ops=0),
        changed(memory_bytes=MEMORY_BYTES_MAX + 1),
        changed(memory_bytes=MEMORY_BYTES_MIN - 1),
    ],
)
def test_what_is_no_locked_key(data: bytes) -> None:
    with pytest.raises(KeyInvalid):
        LockedKey.from_bytes(data)


def test_a_passphrase_has_a_length() -> None:
    check_passphrase("x" * limits.PASSPHRASE_CHARACTERS_MIN)
    for words in ("x" * (limits.PASSPHRASE_CHARACTERS_MIN - 1), "é" * limits.PASSPHRASE_BYTES_MAX):
        with pytest.raises(KeyInvalid):
            LockedKey.lock(KEY, words, ENTROPY, CHEAP)
