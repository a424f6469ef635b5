"""All parties put a session's terms together from the same answers alike."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from mpcd.canonical import DIGEST_BYTES, Value
from mpcd.governance.history import commitment
from mpcd.ids import PartyId, RequestDigest, RosterHash
from mpcd.limits import ANSWER_TERMS_BYTES_MAX, HISTORY_LISTED_MAX
from mpcd.session import terms
from mpcd.session.agreement import Answer

OWNERS = (PartyId(0), PartyId(1), PartyId(2))


def answer(party: int, said: Mapping[str, Value]) -> Answer:
    return Answer(
        party=PartyId(party),
        attempt=bytes(16),
        request_digest=RequestDigest(bytes(32)),
        roster_hash=RosterHash(bytes(32)),
        proposer=PartyId(0),
        dry_run=False,
        verdict="agree",
        nonce=bytes(32),
        clock_seconds=0.0,
        terms=said,
    )


A, B, C, D = (letter * DIGEST_BYTES for letter in (b"a", b"b", b"c", b"d"))
SAID: list[dict[str, Value]] = [
    {"duties": ["PUB"], "history": A + B},
    {"line": b"price", "history": A + C},
    {"duties": ["MOR:2027-06-30", "PUB"]},
    {"line": b"of one who gives no data", "duties": ["RTN"], "history": D},
]


def test_what_owners_say_is_joined_whatever_the_order_of_the_answers() -> None:
    answers = [answer(party, said) for party, said in enumerate(SAID)]
    random.Random(3).shuffle(answers)
    assert terms.agreed(answers, OWNERS, at=7, privacy=b"ask") == {
        "at": 7,
        "privacy": b"ask",
        "lines": [[1, b"price"]],
        "history": commitment((A, B, C), dict.fromkeys(map(PartyId, range(4)), bytes(32))),
        "duties": [[0, "PUB"], [2, "MOR:2027-06-30"], [2, "PUB"]],
    }


def test_nothing_said_is_nothing_agreed() -> None:
    found = terms.agreed([answer(party, {}) for party in range(3)], OWNERS, at=7, privacy=None)
    nothing = commitment((), dict.fromkeys(OWNERS, bytes(32)))
    assert found == {"at": 7, "privacy": None, "lines": [], "history": nothing, "duties": []}


def test_only_owners_lists_of_earlier_questions_count() -> None:
    answers = [answer(party, said) for party, said in enumerate(SAID)]
    assert terms.histories(answers, OWNERS) == {0: A + B, 1: A + C, 2: b""}


@pytest.mark.parametrize(
    "said",
    [{"line": "text"}, {"duties": "PUB"}, {"duties": [1]}, {"history": b"a"}, {"history": B + A}, {"history": [A]}],
)
def test_terms_of_another_kind_end_the_session(said: dict[str, Value]) -> None:
    with pytest.raises((ValueError, TypeError)):
        terms.agreed([answer(0, said)], OWNERS, at=7, privacy=None)


def test_terms_have_a_size() -> None:
    assert terms.within_limits({"history": bytes(HISTORY_LISTED_MAX * DIGEST_BYTES), "duties": ["MOR"] * 100})
    assert not terms.within_limits({"line": bytes(ANSWER_TERMS_BYTES_MAX)})
