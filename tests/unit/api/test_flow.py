"""What the client refuses by itself before anything leaves: a price that ends before the wait for people does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mpcd.api.flow import _check_quote_lasts
from mpcd.canonical import digest_bytes
from mpcd.errors import RequestInvalid
from mpcd.governance.quote import Line, Quote
from mpcd.identity import SigningKey
from mpcd.ids import PartyId

NOW = 1_795_348_800
DAY = 86_400
KEY = SigningKey.generate(lambda size: bytes(range(size)))
PROFILE: Any = SimpleNamespace(parties={0: SimpleNamespace(id=PartyId(0), signing_key=KEY.public)})


def quote(minor: int) -> bytes:
    question = digest_bytes("test", b"question")
    valid_until = (NOW + DAY) * 1000
    line = Line(PartyId(0), question, question, "EUR", minor, "standard", minor == 0, False, None, {}, valid_until)
    return Quote(question, NOW * 1000, (line.sign(KEY),), {}).to_bytes()


def test_a_price_that_is_gone_before_people_have_decided_is_refused() -> None:
    with pytest.raises(RequestInvalid, match=r"holds until 20.* UTC, and the request would wait for longer"):
        _check_quote_lasts(quote(1000), PROFILE, NOW + DAY + 1)
    _check_quote_lasts(quote(1000), PROFILE, NOW + DAY)


def test_what_costs_nothing_may_wait() -> None:
    _check_quote_lasts(quote(0), PROFILE, NOW + 7 * DAY)
