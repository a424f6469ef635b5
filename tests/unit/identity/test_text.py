from __future__ import annotations

import pytest

from mpcd.identity import text
from mpcd.identity.text import IdentityError

RAW = bytes(range(32))
WRITTEN = text.to_text("sign", RAW)


def test_the_form_is_fixed() -> None:
    # Keys are printed, read out and pasted between versions: this spelling may never change.
    assert WRITTEN == "mpcd-sign1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypqxcnb6wqqlgky"
    assert text.fingerprint("sign", RAW) == "62964 99028 36539 48929 24331 22887"


@pytest.mark.parametrize("size", [32, 33, 34, 35, 36, 1216])
def test_every_length_comes_back(size: int) -> None:
    raw = bytes(index * 7 % 256 for index in range(size))
    assert text.from_text("result", text.to_text("result", raw), size) == raw


def test_every_mistyped_letter_is_found() -> None:
    start = len("mpcd-sign1")
    for place in range(start, len(WRITTEN)):
        for letter in "a7q":
            if WRITTEN[place] != letter:
                with pytest.raises(IdentityError):
                    text.from_text("sign", WRITTEN[:place] + letter + WRITTEN[place + 1 :], 32)


def test_every_swap_of_neighbours_is_found() -> None:
    for place in range(len(WRITTEN) - 1):
        swapped = WRITTEN[:place] + WRITTEN[place + 1] + WRITTEN[place] + WRITTEN[place + 2 :]
        if swapped != WRITTEN:
            with pytest.raises(IdentityError):
                text.from_text("sign", swapped, 32)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "must start with"),
        ("mpcd-sign1", "characters"),
        (WRITTEN[:-1], "characters"),
        (WRITTEN + "a", "characters"),
        (WRITTEN.upper(), "must start with"),
        (WRITTEN[:-4] + WRITTEN[-4:].upper(), "lower-case"),
        (WRITTEN[:-1] + "1", "lower-case"),
        (WRITTEN[:-1] + "é", "lower-case"),
        (" " + WRITTEN, "must start with"),
        (WRITTEN.replace("sign", "channel"), "kind `channel`"),
        (text.to_text("result", RAW), "kind `result`"),
        ("mpcd-sign1" + WRITTEN[10:].replace("a", "b"), "checksum"),
    ],
)
def test_what_is_wrong_is_said(written: str, says: str) -> None:
    with pytest.raises(IdentityError, match=says):
        text.from_text("sign", written, 32)


def test_a_key_of_another_kind_has_another_checksum() -> None:
    forged = "mpcd-channel1" + WRITTEN.removeprefix("mpcd-sign1")
    with pytest.raises(IdentityError, match="checksum"):
        text.from_text("channel", forged, 32)


def test_unused_bits_of_the_last_letter_are_no_second_spelling() -> None:
    raw = bytes(1216)
    written = text.to_text("result", raw)
    others = [written[:-1] + letter for letter in "abcdefghijklmnopqrstuvwxyz234567" if letter != written[-1]]
    for other in others:
        with pytest.raises(IdentityError):
            text.from_text("result", other, 1216)


def test_fingerprints_differ_by_kind_and_key() -> None:
    seen = {text.fingerprint(kind, RAW) for kind in ("sign", "channel", "result")}
    seen.add(text.fingerprint("sign", RAW[:-1] + b"\0"))
    assert len(seen) == 4
    assert all(len(group) == 5 and group.isdigit() for printed in seen for group in printed.split(" "))
