from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mpcd import canonical
from mpcd.errors import LedgerInvalid
from mpcd.governance import chain
from mpcd.governance.chain import LedgerHead, Loss, SignedHead, Witness
from mpcd.identity import IdentityError, SigningKey
from mpcd.ids import PartyId

SEEDED = random.Random(71)
MINE, PEERS = (SigningKey.generate(SEEDED.randbytes) for _ in range(2))
LEDGER = bytes(range(32))
HEAD = SignedHead.make(PartyId(0), LEDGER, LedgerHead(7, b"\1" * 32), 1000, MINE)
WITNESS = Witness.make(HEAD, PartyId(1), 2000, PEERS)
LATER = SignedHead.make(PartyId(0), LEDGER, LedgerHead(5, b"\2" * 32), 3000, MINE)
LOSS = Loss.make(LATER, HEAD, "the disk failed", MINE)


def headers(count: int) -> list[bytes]:
    return [chain.header(n, n, "agreed", None, bytes([n] * 32)) for n in range(count)]


def test_headers_lead_from_one_link_to_another() -> None:
    start, end = chain.genesis(LEDGER), chain.genesis(LEDGER)
    for number, made in enumerate(headers(6)):
        end = chain.entry_hash(number, number, "agreed", None, bytes([number] * 32), end)
        assert chain.link(start, made) == chain.extended(start, [made])
        start = chain.link(start, made)
    assert start == end == chain.extended(chain.genesis(LEDGER), headers(6))


@pytest.mark.parametrize(
    "shown",
    [headers(5), headers(7), [*headers(4), bytes(32), headers(6)[5]], [*headers(6)[:4], headers(6)[5], headers(6)[4]]],
    ids=["one less", "one more", "another", "reordered"],
)
def test_other_headers_do_not(shown: list[bytes]) -> None:
    before = LedgerHead(0, chain.genesis(LEDGER))
    seen = SignedHead.make(PartyId(0), LEDGER, LedgerHead(6, chain.extended(before.hash, headers(6))), 1, MINE)
    chain.check_extends(seen, before, headers(6))
    with pytest.raises(LedgerInvalid):
        chain.check_extends(seen, before, shown)


def test_what_is_signed_comes_back() -> None:
    for made in (HEAD, WITNESS, LOSS):
        again = type(made).from_bytes(made.to_bytes())
        assert again == made
        again.check(PEERS.public if isinstance(made, Witness) else MINE.public)


@pytest.mark.parametrize(
    "forged",
    [
        replace(HEAD, party=PartyId(2)),
        replace(HEAD, ledger_id=bytes(32)),
        replace(HEAD, head=LedgerHead(8, b"\1" * 32)),
        replace(HEAD, head=LedgerHead(7, b"\3" * 32)),
        replace(HEAD, at_milliseconds=1001),
        replace(LOSS, head=HEAD),
        replace(LOSS, lost=LATER),
        replace(LOSS, reason="nothing happened"),
        replace(LOSS, lost=SignedHead.make(PartyId(1), LEDGER, LedgerHead(7, b"\1" * 32), 1, PEERS)),
        replace(WITNESS, seen=LATER),
        replace(WITNESS, by=PartyId(2)),
        replace(WITNESS, at_milliseconds=1),
    ],
)
def test_every_field_is_signed(forged: SignedHead | Loss | Witness) -> None:
    with pytest.raises(IdentityError):
        forged.check(PEERS.public if isinstance(forged, Witness) else MINE.public)


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    crossed = replace(HEAD, signature=LOSS.signature)
    with pytest.raises(IdentityError):
        crossed.check(MINE.public)


@pytest.mark.parametrize("kind", [SignedHead, Witness, Loss])
@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff",
        canonical.encode({}),
        canonical.encode([]),
        canonical.encode([0, b"x", 1, b"y", 2, b"z"]),
        canonical.encode([True, LEDGER, 7, bytes(32), 0, bytes(64)]),
        canonical.encode([-1, LEDGER, 7, bytes(32), 0, bytes(64)]),
        canonical.encode([0, LEDGER, 2**60, bytes(32), 0, bytes(64)]),
        canonical.encode([b"x", 0, 0, bytes(64)]),
        canonical.encode([b"x", b"y", "z", bytes(64)]),
    ],
)
def test_other_bytes_are_none(kind: type[SignedHead | Witness | Loss], encoded: bytes) -> None:
    with pytest.raises(LedgerInvalid):
        kind.from_bytes(encoded)


def at(count: int, digest: bytes, milliseconds: int = 1000) -> SignedHead:
    return SignedHead.make(PartyId(0), LEDGER, LedgerHead(count, digest), milliseconds, MINE)


def test_a_loss_covers_what_was_given_up_and_nothing_later() -> None:
    assert LOSS.covers(HEAD)
    assert LOSS.covers(at(6, b"\7" * 32))
    assert not LOSS.covers(at(7, b"\7" * 32))
    assert not LOSS.covers(at(8, b"\1" * 32))
    assert not LOSS.covers(at(6, b"\7" * 32, 3001)), "signed after the admission"
    assert not LOSS.covers(SignedHead.make(PartyId(0), bytes(32), LedgerHead(6, b"\7" * 32), 1, MINE))
