"""Inquiries: only their analyst's own, only for what they ask, only while they are fresh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpcd import canonical, limits
from mpcd.errors import RequestInvalid
from mpcd.identity import SigningKey
from mpcd.identity.inquiry import Inquiry

KEY = SigningKey.from_seed(bytearray(b"k" * 32))
OTHER = SigningKey.from_seed(bytearray(b"o" * 32))
NOW = 1_790_000_000_000
ASKED = Inquiry("describe", "gbsg2", KEY.public, "nordic", NOW)


def test_it_arrives_as_it_was_signed() -> None:
    assert Inquiry.verified(ASKED.signed(KEY), "describe", "nordic", NOW) == ASKED


def test_nobody_asks_in_anothers_name() -> None:
    with pytest.raises(RequestInvalid, match="signature"):
        Inquiry.verified(ASKED.signed(OTHER), "describe", "nordic", NOW)


def test_every_changed_byte_is_found() -> None:
    encoded = ASKED.signed(KEY)
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 4
        with pytest.raises(RequestInvalid):
            Inquiry.verified(bytes(changed), "describe", "nordic", NOW)


@pytest.mark.parametrize(
    ("kind", "consortium", "now"),
    [
        ("access", "nordic", NOW),
        ("describe", "other", NOW),
        ("describe", "nordic", NOW + int(1000 * limits.REQUEST_LIFETIME_SECONDS_MAX) + 1),
        ("describe", "nordic", NOW - int(1000 * limits.CLOCK_SKEW_SECONDS_MAX) - 1),
    ],
)
def test_another_kind_consortium_or_time_is_refused(kind: str, consortium: str, now: int) -> None:
    with pytest.raises(RequestInvalid):
        Inquiry.verified(ASKED.signed(KEY), kind, consortium, now)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", bytes(limits.INQUIRY_BYTES_MAX + 1), canonical.encode({"inquiry": b"\x80", "signature": b""})],
)
def test_what_is_no_inquiry_is_refused(data: bytes) -> None:
    with pytest.raises(RequestInvalid):
        Inquiry.verified(data, "describe", "nordic", NOW)


def test_fields_are_bounded() -> None:
    with pytest.raises(RequestInvalid):
        Inquiry.verified(replace(ASKED, subject="x" * 300).signed(KEY), "describe", "nordic", NOW)
