"""What a reply means to its asker, and how often a peer may ask."""

from __future__ import annotations

import pytest

from mpcd import limits
from mpcd.errors import (
    Busy,
    ConfigurationInvalid,
    Lagged,
    MpcdError,
    NotFound,
    PeerFault,
    PeerGone,
    PeerMalformed,
    Refusal,
    Refused,
)
from mpcd.ids import PartyId
from mpcd.session import questions
from mpcd.wire import CONTROL, WireFailed, WireMisuse

HIM = PartyId(2)
ID = bytes(range(16))


def told(error: MpcdError) -> MpcdError:
    message = CONTROL.decode(CONTROL.encode(questions.refusal(ID, error)))
    outcome = questions.outcome(HIM, "k", dict(message))
    assert isinstance(outcome, MpcdError)
    return outcome


def test_a_payload_comes_back_as_it_was_sent() -> None:
    message = CONTROL.decode(CONTROL.encode(questions.reply(ID, {"a": [1, b"x", None]})))
    assert questions.outcome(HIM, "k", dict(message)) == {"a": [1, b"x", None]}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotFound("no such offer"), NotFound),
        (Busy("full"), Busy),
        (Refused((Refusal(HIM, "r", "s", "no"),)), Refused),
        (ConfigurationInvalid("bad", path="policy.toml", line=3), PeerFault),
        (PeerGone(PartyId(1), "gone"), PeerFault),
        (Lagged("late", next_seq=3), PeerFault),
    ],
)
def test_errors_keep_their_class_where_it_means_the_same_to_the_asker(error: MpcdError, kind: type[MpcdError]) -> None:
    outcome = told(error)
    assert type(outcome) is kind
    assert "party 2" in str(outcome)


def test_an_unknown_code_is_the_peers_fault() -> None:
    outcome = questions.outcome(HIM, "k", {"code": "mpc.FromTheFuture", "message": "", "payload": {}})
    assert isinstance(outcome, PeerFault)
    assert outcome.party == HIM


def test_payloads_that_are_no_maps_are_malformed() -> None:
    outcome = questions.outcome(HIM, "k", {"code": "", "message": "", "payload": [1]})
    assert isinstance(outcome, PeerMalformed)
    with pytest.raises(PeerMalformed):
        questions.payload_of(HIM, {"payload": b""})


def test_sizes_are_bounded_at_both_ends() -> None:
    with pytest.raises(WireMisuse):
        CONTROL.encode(questions.ask(ID, "k", {"x": bytes(limits.PEER_QUESTION_BYTES_MAX)}))
    with pytest.raises(WireFailed):
        CONTROL.decode(b"\x80")


def test_a_long_sentence_is_cut_between_characters() -> None:
    assert len(str(told(NotFound("é" * 8000))).encode()) <= 8192 + len("party 2: ")


def test_the_allowance_empties_and_refills() -> None:
    allowance = questions.Allowance()
    assert all(allowance.admit(0.0) for _ in range(limits.PEER_QUESTIONS_BURST_MAX))
    assert not allowance.admit(0.0)
    assert allowance.admit(1.0 / limits.PEER_QUESTIONS_PER_SECOND_MAX)
    assert not allowance.admit(1.0 / limits.PEER_QUESTIONS_PER_SECOND_MAX)


def test_too_many_at_once_are_refused_whatever_is_left_of_the_allowance() -> None:
    allowance = questions.Allowance(answering=limits.PEER_QUESTIONS_AT_ONCE_MAX)
    assert not allowance.admit(0.0)
