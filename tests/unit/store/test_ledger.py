"""The chain's formats, recomputed by hand: a ledger that was written once must verify for ever."""

from __future__ import annotations

import hashlib

import pytest

from mpcd.governance import chain


def by_hand(domain: bytes, data: bytes) -> bytes:
    return hashlib.sha256(b"mpcd:" + bytes([len(domain)]) + domain + data).digest()


def test_genesis_and_commitment() -> None:
    assert chain.genesis(b"\1" * 32) == by_hand(b"ledger-genesis", b"\1" * 32)
    assert chain.commitment(b"\2" * 32, b"body") == by_hand(b"ledger-commitment", b"\2" * 32 + b"body")
    assert chain.sealed_digest(b"sealed") == by_hand(b"ledger-sealed", b"sealed")


def row(session: bytes | None, time_milliseconds: int) -> bytes:
    packed = (7).to_bytes(8, "big") + time_milliseconds.to_bytes(8, "big", signed=True) + b"\0\6agreed"
    packed += b"\0" if session is None else b"\1" + len(session).to_bytes(2, "big") + session
    return packed + b"\3" * 32


@pytest.mark.parametrize("session", [None, b"\5" * 32, b""])
@pytest.mark.parametrize("time_milliseconds", [0, 1_800_000_000_123, -1])
def test_entry_hash(session: bytes | None, time_milliseconds: int) -> None:
    header = hashlib.sha256(b"mpcd:ledger-header:2:" + row(session, time_milliseconds)).digest()
    made = chain.entry_hash(7, time_milliseconds, "agreed", session, b"\3" * 32, b"\4" * 32)
    assert chain.header(7, time_milliseconds, "agreed", session, b"\3" * 32) == header
    assert made == hashlib.sha256(b"mpcd:ledger-link:2:" + b"\4" * 32 + header).digest()


@pytest.mark.parametrize("session", [None, b"\5" * 32, b""])
def test_entry_hash_of_the_first_format(session: bytes | None) -> None:
    packed = b"mpcd:ledger-entry:1:" + row(session, 1000) + b"\4" * 32
    made = chain.entry_hash_1(7, 1000, "agreed", session, b"\3" * 32, b"\4" * 32)
    assert made == hashlib.sha256(packed).digest()


def test_known_answers() -> None:
    fields = (7, 1_800_000_000_123, "agreed", b"\5" * 32, b"\3" * 32, b"\4" * 32)
    assert chain.entry_hash_1(*fields).hex() == "2a8632d7b5a5f33a83a638da76a1aac93f60617a459ca3853dc1e58f84ba3d46"
    assert chain.entry_hash(*fields).hex() == "9b57433300b0c96321b9f6ae1ac5c19dd6df6f64cb865e8b3da9fcd5c658a8ab"


def test_every_field_counts() -> None:
    base = (7, 1000, "agreed", b"\5" * 32, b"\3" * 32, b"\4" * 32)
    others = [
        (8, *base[1:]),
        (7, 1001, *base[2:]),
        (7, 1000, "agreee", *base[3:]),
        (7, 1000, "agreed", None, *base[4:]),
        (7, 1000, "agreed", b"\5" * 31 + b"\6", *base[4:]),
        (*base[:4], b"\3" * 31 + b"\4", base[5]),
        (*base[:5], b"\4" * 31 + b"\3"),
    ]
    hashes = {chain.entry_hash(*fields) for fields in [base, *others]}
    assert len(hashes) == len(others) + 1
