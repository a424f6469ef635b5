"""Price lines and quotes: what is signed, and that nothing else is believed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mpcd import canonical, limits
from mpcd.errors import PeerMalformed, RequestInvalid
from mpcd.governance.quote import Line, Quote, accepted_line, check_brought
from mpcd.identity import SigningKey
from mpcd.ids import PartyId

SEEDED = random.Random(11)
KEYS = [SigningKey.generate(SEEDED.randbytes) for _ in range(3)]
PINNED = {PartyId(place): key.public for place, key in enumerate(KEYS)}
QUESTION = b"q" * 32
AT = 1_795_000_000_000
LINE = Line(
    party=PartyId(1),
    question=QUESTION,
    licence=b"l" * 32,
    currency="EUR",
    minor=2500,
    rate_class="standard",
    free=False,
    capped=False,
    pool_minor=None,
    tax={"treatment": "reverse charge"},
    valid_until=AT + 1000,
)


def quote(*lines: bytes) -> Quote:
    return Quote(QUESTION, AT, lines, {"rounds": 27})


def accepted(made: Quote, *, digest: bytes | None = None, question: bytes = QUESTION, at: int = AT) -> object:
    wanted = made.digest() if digest is None else digest
    return accepted_line(made.to_bytes(), wanted, PartyId(1), PINNED, question, at)


def test_an_honest_line_arrives() -> None:
    signed = LINE.sign(KEYS[1])
    assert Line.from_signed(signed, PINNED) == LINE
    made = quote(signed)
    assert Quote.from_bytes(made.to_bytes()) == made
    assert accepted(made) == (LINE, signed)


def test_a_line_is_its_own_partys_word() -> None:
    with pytest.raises(RequestInvalid, match="not signed by its owner"):
        Line.from_signed(LINE.sign(KEYS[2]), PINNED)
    cheaper = canonical.decode(LINE.sign(KEYS[1]))
    assert isinstance(cheaper, dict)
    body = canonical.encode(replace(LINE, minor=1).to_value())
    with pytest.raises(RequestInvalid, match="not signed by its owner"):
        Line.from_signed(canonical.encode({**cheaper, "line": body}), PINNED)


@pytest.mark.parametrize("place", range(0, len(LINE.sign(KEYS[1])), 5))
def test_every_flipped_byte_is_refused(place: int) -> None:
    signed = bytearray(LINE.sign(KEYS[1]))
    signed[place] ^= 1
    with pytest.raises(RequestInvalid):
        Line.from_signed(bytes(signed), PINNED)


@pytest.mark.parametrize(
    "change",
    [
        {"minor": -1},
        {"minor": 2.5},
        {"currency": "XXX"},
        {"licence": b""},
        {"free": 1},
        {"pool_minor": 10},
        {"tax": {"rate": 19}},
        {"tax": {str(place): "" for place in range(20)}},
        {"valid_until": None},
        {"surcharge": 1},
    ],
    ids=repr,
)
def test_a_signed_line_that_makes_no_sense_is_refused(change: dict[str, canonical.Value]) -> None:
    body = canonical.encode({**LINE.to_value(), **change})
    signed = canonical.encode({"line": body, "signature": KEYS[1].sign("quote-line", body)})
    with pytest.raises(RequestInvalid):
        Line.from_signed(signed, PINNED)


def test_the_price_that_was_quoted_is_found_only_where_it_belongs() -> None:
    made = quote(LINE.sign(KEYS[1]))
    with pytest.raises(RequestInvalid, match="another quote"):
        accepted(made, digest=b"x" * 32)
    with pytest.raises(RequestInvalid, match="another question"):
        accepted(made, question=b"p" * 32)
    with pytest.raises(RequestInvalid, match="expired"):
        accepted(made, at=LINE.valid_until + 1)
    with pytest.raises(RequestInvalid, match="did not come"):
        accepted_line(None, made.digest(), PartyId(1), PINNED, QUESTION, AT)
    with pytest.raises(RequestInvalid, match="2 lines"):
        accepted(quote(LINE.sign(KEYS[1]), replace(LINE, minor=1).sign(KEYS[1])))
    assert accepted(quote(replace(LINE, party=PartyId(2)).sign(KEYS[2]))) is None
    assert accepted_line(made.to_bytes(), None, PartyId(1), PINNED, QUESTION, AT) is None


@pytest.mark.parametrize("seed", range(100))
def test_noise_is_no_quote(seed: int) -> None:
    noise = random.Random(seed).randbytes(seed)
    with pytest.raises(RequestInvalid):
        Quote.from_bytes(noise)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"question": "q"},
        {"at": "now"},
        {"at": True},
        {"lines": {}},
        {"lines": ["line"]},
        {"lines": [b"x"] * (limits.INPUT_OWNERS_MAX + 1)},
        {"facts": []},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_quote_is_refused(change: dict[str, canonical.Value]) -> None:
    value = canonical.decode(quote(LINE.sign(KEYS[1])).to_bytes())
    assert isinstance(value, dict)
    with pytest.raises(RequestInvalid, match="no quote"):
        Quote.from_bytes(canonical.encode({**value, **change}))


def test_who_brings_a_price_is_held_to_what_was_accepted() -> None:
    signed, party = LINE.sign(KEYS[1]), PartyId(1)
    check_brought(signed, party, PINNED, QUESTION, quote(signed))
    check_brought(replace(LINE, minor=0).sign(KEYS[1]), party, PINNED, QUESTION, None)
    dearer = replace(LINE, minor=2501).sign(KEYS[1])
    for brought, accepted_quote, said in (
        (dearer, quote(signed), "asks 25.01 EUR"),
        (signed, None, "asks 25.00 EUR"),
        (signed, quote(), "asks 25.00 EUR"),
        (LINE.sign(KEYS[2]), quote(signed), "no price line of its own"),
        (b"", quote(signed), "no price line of its own"),
    ):
        with pytest.raises(PeerMalformed, match=said):
            check_brought(brought, party, PINNED, QUESTION, accepted_quote)
    monthly = replace(LINE, minor=0, month_minor=700).sign(KEYS[1])
    check_brought(monthly, party, PINNED, QUESTION, quote(monthly))
    with pytest.raises(PeerMalformed, match=r"asks 7\.00 EUR"):
        check_brought(monthly, party, PINNED, QUESTION, quote(signed))
    with pytest.raises(PeerMalformed, match="another party or question"):
        check_brought(signed, party, PINNED, b"z" * 32, quote(signed))
    with pytest.raises(PeerMalformed, match="another party or question"):
        check_brought(signed, PartyId(2), PINNED, QUESTION, quote(signed))
