"""A kept result proves itself without a daemon, and nothing that was changed does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpcd import canonical
from mpcd.api.flow import answer_of
from mpcd.api.kept import Kept
from mpcd.errors import MpcdError, ResultInvalid
from mpcd.governance.receipt import SignedReceipt
from mpcd.identity import Request, ResultKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId
from tests.unit.api.conftest import ROSTER_HASH, Consortium


def kept(consortium: Consortium, **changes: Any) -> Kept:
    key = ResultKey.generate(consortium.rng.randbytes)
    signing = consortium.profile.signing_key
    request = Request.make(
        "SELECT 1",
        purpose="HMB",
        analyst=signing.public,
        result_key=key.public,
        roster_hash=ROSTER_HASH,
        consortium="three-hospitals",
        now=1_000.0,
        entropy=consortium.rng.randbytes,
    ).sign(signing)
    result = consortium.result(request)
    receipt = consortium.receipt(request, **changes)
    return Kept(request.to_bytes(), key.expose_private_bytes(), result.plan, result.releases, receipt, {"rounds": 9})


def test_an_honest_result_is_kept_and_verified(consortium: Consortium) -> None:
    made = kept(consortium)
    again = Kept.from_bytes(made.to_bytes())
    assert again == made
    verified = again.verify(consortium.profile.parties)
    assert verified.request.text == "SELECT 1"
    assert verified.receipt.parties == (0, 1, 2)
    assert answer_of(again, consortium.profile.parties).table.columns


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"session": b"t" * 32}, "another session"),
        ({"plan_hash": b"p" * 32}, "another session"),
        ({"question_digest": b"q" * 32}, "another session"),
        ({"quote_digest": b"q" * 32}, "another session"),
        ({"analyst": b"a" * 32}, "another session"),
        ({"request_digest": b"d" * 32}, "another request"),
        ({"parties": (PartyId(0), PartyId(1), PartyId(2), PartyId(7))}, "not in your roster"),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_a_receipt_of_something_else_is_refused(consortium: Consortium, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ResultInvalid, match=says):
        kept(consortium, **change).verify(consortium.profile.parties)


@pytest.mark.parametrize("named", [(), (0, 1), (1, 2)], ids=str)
def test_a_receipt_that_leaves_out_who_took_part_is_refused(consortium: Consortium, named: tuple[int, ...]) -> None:
    """Or whoever has the file writes another receipt, with other prices, that nobody signed."""
    with pytest.raises(ResultInvalid, match="leaves out party"):
        kept(consortium, parties=tuple(PartyId(party) for party in named)).verify(consortium.profile.parties)


def test_every_participant_must_have_signed(consortium: Consortium) -> None:
    made = kept(consortium)
    whole = SignedReceipt.from_bytes(made.receipt)
    for party in range(3):
        lacks = SignedReceipt(whole.receipt, {p: s for p, s in whole.signatures.items() if p != party})
        with pytest.raises(ResultInvalid, match=f"lacks the signature of party {party}"):
            replace(made, receipt=lacks.to_bytes()).verify(consortium.profile.parties)


def test_another_request_key_or_release_is_refused(consortium: Consortium) -> None:
    made, other = kept(consortium), kept(consortium)
    for name in ("request", "key", "releases", "receipt"):
        with pytest.raises(ResultInvalid):
            replace(made, **{name: getattr(other, name)}).verify(consortium.profile.parties)
    unsigned = replace(SignedRequest.from_bytes(made.request), signature=bytes(64))
    with pytest.raises(ResultInvalid, match="not the analyst's own"):
        replace(made, request=unsigned.to_bytes()).verify(consortium.profile.parties)


@pytest.mark.parametrize("seed", range(60))
def test_a_changed_file_is_refused(consortium: Consortium, seed: int) -> None:
    """One flipped bit anywhere, but for the facts, which nobody signed."""
    data = bytearray(kept(consortium).to_bytes())
    facts = data.index(b"\xa5facts")
    end = facts + 6 + len(canonical.encode({"rounds": 9}))
    place = (seed * 7919) % len(data)
    if facts <= place < end:
        place = end
    data[place] ^= 1 << seed % 8
    with pytest.raises(MpcdError):
        Kept.from_bytes(bytes(data)).verify(consortium.profile.parties)
