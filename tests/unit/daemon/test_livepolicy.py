"""What an owner's policy file is to the daemon while it runs."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from pathlib import Path

import pytest

from mpcd.canonical import digest_bytes
from mpcd.daemon.attempt import Attempt
from mpcd.daemon.owner import LivePolicy
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.permission import permitted
from mpcd.identity import Request, ResultKey, SignedRequest, SigningKey
from mpcd.ids import PartyId, RosterHash
from mpcd.plan import plan_sql
from mpcd.roster import Column, Party, Roster, Table

SEEDED = random.Random(3)
ANNA = SigningKey.generate(SEEDED.randbytes)
OWNERS = (PartyId(0), PartyId(1), PartyId(2))
COLUMNS = (Column("pid", "person_id"), Column("x", "integer", 0, 99))
ROSTER = Roster(
    "three",
    1,
    tuple(Party(party, f"h{party}", f"c{party}", f"s{party}", ("input", "compute")) for party in OWNERS),
    tuple(Table(name, 100, True, True, "pid", OWNERS, COLUMNS) for name in ("first", "second")),
)
POLICY = f"""\
purposes = ["HMB"]
[[analyst]]
name = "Anna"
key = "{ANNA.public}"
[[table]]
name = "first"
uses = {{ pid = ["join"], x = ["filter", "aggregate"] }}
[[table]]
name = "second"
uses = {{ pid = ["join"] }}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "policy.toml"
    written.write_text(POLICY)
    written.chmod(0o600)
    return written


def request(text: str) -> SignedRequest:
    return Request.make(
        text,
        purpose="HMB",
        analyst=ANNA.public,
        result_key=ResultKey.generate(SEEDED.randbytes).public,
        roster_hash=RosterHash(ROSTER.hash()),
        consortium="three",
        now=1_795_000_000.0,
        entropy=SEEDED.randbytes,
    ).sign(ANNA)


def test_the_digest_on_record_is_of_the_file_in_force(path: Path) -> None:
    live = LivePolicy(path, PartyId(0), ROSTER)
    assert live.digest() == digest_bytes("policy", POLICY.encode())
    assert not live.reload()
    path.write_text(POLICY + "# a word\n")
    assert live.reload()
    assert live.digest() == digest_bytes("policy", (POLICY + "# a word\n").encode())
    before = live.digest()
    path.write_text("purposes = [")
    with pytest.raises(ConfigurationInvalid):
        live.reload()
    assert live.digest() == before


def test_every_table_of_a_join_is_asked_about(path: Path) -> None:
    """Also one of which nothing but its rows is used."""
    live = LivePolicy(path, PartyId(0), ROSTER)
    attempt = Attempt(b"a" * 16)
    attempt.at = 1_795_000_000_000
    text = "SELECT COUNT(*) FROM first JOIN second ON first.pid = second.pid"
    plan = plan_sql(text, ROSTER, dt.date(2026, 11, 22))
    asked = live.asked(request(text), plan, {}, attempt)
    assert asked.tables == ("first", "second")
    assert not permitted(live.policy, asked).refusals
    live.policy = replace(live.policy, tables={"first": live.policy.tables["first"]})
    (reason, *_) = permitted(live.policy, asked).refusals
    assert (reason.rule, reason.subject) == ("table", "second")
