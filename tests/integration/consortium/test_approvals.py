"""People decide: real daemons, real keys, no analyst on line.

Hospital 1 wants one approval for each request, hospital 2 two for three runs of one question.  The tests run in order
on one sandbox.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpcd import errors
from mpcd.api.flow import Options
from mpcd.api.types import Map
from mpcd.api.waitlist import WaitList
from mpcd.cli import sign
from mpcd.cli.main import WAITING, main
from mpcd.governance.approval import Form, SignedRuling, Verdict
from mpcd.identity import SigningKey
from mpcd.identity.locked import MEMORY_BYTES_MIN, Cost, LockedKey
from mpcd.sandbox.prepare import TableFiles

if TYPE_CHECKING:
    from tests.integration.consortium.conftest import Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "data"
KEYS = {name: SigningKey.generate(os.urandom) for name in ("Ida", "Otto", "Ulla", "Eve")}
COUNT = "SELECT COUNT(*) FROM lung"
BY_SEX = "SELECT sex, COUNT(*) FROM lung GROUP BY sex"
WORDS = "words of an approver"
DAY = 86_400


def policy(approvals: str, *approvers: str) -> str:
    columns = (DATA / "lung.csv").read_text(encoding="utf-8").splitlines()[0].replace('"', "").strip().split(",")
    uses = "\n".join(
        f'{json.dumps(column)} = ["filter", "group", "aggregate"]' for column in columns if column != "rid"
    )
    people = "\n".join(f'[[approver]]\nname = "{name}"\nkey = "{KEYS[name].public}"' for name in approvers)
    return f'purposes = ["NRES"]\n{people}\n[[table]]\nname = "lung"\napprovals = {approvals}\n[table.uses]\n{uses}\n'


@pytest.fixture(scope="module")
def three(
    bring_up_sandbox: Callable[..., Iterator[Sandbox]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    policies = {
        1: policy('{ min = 1, execute = "once" }', "Ida"),
        2: policy("{ min = 2, execute = 3, deadline_days = 3 }", "Otto", "Ulla"),
    }
    tables = [TableFiles("lung", (DATA / "lung.csv",), "inst")]
    yield from bring_up_sandbox(tmp_path_factory.mktemp("three"), 3, tables, policies)


@dataclass
class Waiting:
    """One request that waits."""

    sandbox: Sandbox
    digest: bytes

    @property
    def name(self) -> str:
        return self.digest.hex()[:16]

    def state(self) -> Map:
        with self.sandbox.client() as client:
            return client.call("mpc.v1.ApprovalsState", {"request": self.digest})

    def until(self, state: str) -> Map:
        deadline = time.monotonic() + 60
        while (found := self.state())["state"] != state:
            assert time.monotonic() < deadline, found
            assert found["state"] == "waiting", found
            time.sleep(0.1)
        return found

    def form(self, party: int) -> Form:
        with self.sandbox.admin(party) as client:
            form = client.call("mpc.v1.ApprovalsForm", {"request": self.name})["form"]
        assert isinstance(form, bytes)
        return Form.from_bytes(form)

    def signed(self, party: int, who: str, verdict: Verdict = "approve", executions: int = 1) -> SignedRuling:
        reason = "" if verdict == "approve" else "not this year"
        return sign.rule(self.form(party), verdict, KEYS[who], reason=reason, executions=executions)

    def rule(self, party: int, who: str, verdict: Verdict = "approve", executions: int = 1) -> str:
        return hand_in(self.sandbox, party, self.signed(party, who, verdict, executions))

    def fetched(self) -> object:
        entry = WaitList(self.sandbox.profile.directory).find(self.name)
        from mpcd.api.flow import answer_of, kept_of  # noqa: PLC0415

        with self.sandbox.client() as client:
            fetched = client.call("mpc.v1.ApprovalsResult", {"request": self.digest})
        kept = kept_of(entry.request, entry.result_key(), fetched)
        return answer_of(kept, self.sandbox.profile.parties).table.rows[0][0]


def hand_in(sandbox: Sandbox, party: int, signed: SignedRuling) -> str:
    with sandbox.admin(party) as client:
        return str(client.call("mpc.v1.ApprovalsSubmit", {"ruling": signed.to_bytes()})["state"])


def ask(sandbox: Sandbox, sql: str = COUNT) -> Waiting:
    """The analyst asks, learns that people must decide, and leaves."""
    with sandbox.client() as client, pytest.raises(errors.AwaitingApproval) as waits:
        client.sql(sql, options=Options(wait_seconds=7 * DAY))
    return Waiting(sandbox, waits.value.request)


def restart(sandbox: Sandbox, party: int) -> None:
    """On its old port, which a connection of some other test may hold for a moment."""
    for _ in range(50):
        try:
            return sandbox.restart(party)
        except OSError:
            time.sleep(0.2)
    return sandbox.restart(party)


def kinds(sandbox: Sandbox, party: int) -> list[str]:
    return [str(entry["kind"]) for entry in sandbox.entries(party)]


def truth(sandbox: Sandbox) -> int:
    return sum(len(rows) for rows in sandbox.rows("lung"))


# ------------------------------------------------------------------------------------------------ nothing before


def test_who_does_not_wait_is_told_what_is_missing(three: Sandbox) -> None:
    with three.client() as client:
        with pytest.raises(errors.Refused) as refused:
            client.sql(COUNT)
        assert {(int(reason.party), reason.rule) for reason in refused.value.reasons} == {
            (1, "approval"),
            (2, "approval"),
        }
        explained = client.explain(COUNT)
        assert explained["refusals"] == []
        waits = explained["waits"]
        assert isinstance(waits, list)
        assert [wait["party"] for wait in waits if isinstance(wait, dict)] == [1, 2]


def test_it_runs_by_itself_when_the_last_person_has_approved(three: Sandbox) -> None:
    waiting = ask(three)
    assert "1 of 1 approval at party 1" in str(waiting.state()["message"])
    assert waiting.rule(1, "Ida") == "approved"
    assert waiting.rule(2, "Otto") == "pending"
    assert waiting.state()["state"] == "waiting"
    assert "agreed" not in kinds(three, 0)
    assert waiting.rule(2, "Ulla") == "approved"
    waiting.until("released")
    assert waiting.fetched() == truth(three)
    assert waiting.fetched() == truth(three)
    for party in (1, 2):
        assert {"asked", "approved", "agreed", "recorded"} <= set(kinds(three, party))
    with three.admin(1) as client:
        shown = client.call("mpc.v1.ApprovalsShow", {"request": waiting.name})
    assert shown["state"] in {"recorded", "released"}


def test_approvals_at_two_parties_at_once_make_one_run(three: Sandbox) -> None:
    before = kinds(three, 0).count("agreed")
    waiting = ask(three)
    rulings = [(1, waiting.signed(1, "Ida")), (2, waiting.signed(2, "Otto")), (2, waiting.signed(2, "Ulla"))]
    for party, signed in rulings:
        hand_in(three, party, signed)
    waiting.until("released")
    assert waiting.fetched() == truth(three)
    assert kinds(three, 0).count("agreed") == before + 1


# ------------------------------------------------------------------------------------------------ no


def test_one_no_is_no(three: Sandbox) -> None:
    waiting = ask(three)
    waiting.rule(2, "Otto")
    assert waiting.rule(2, "Ulla", "deny") == "denied"
    found = waiting.until("refused")
    assert "not this year" in str(found["message"])
    assert "Ulla" not in str(found["message"])
    with pytest.raises(errors.NotFound, match="no result here"):
        waiting.fetched()


def test_what_does_not_fit_is_sent_back(three: Sandbox) -> None:
    first, second = ask(three), ask(three, BY_SEX)
    for_other = first.signed(1, "Ida")
    for_party_2 = first.signed(2, "Otto")
    forged = SignedRuling(second.signed(1, "Ida").ruling, for_other.signature)
    stranger = sign.rule(second.form(1), "approve", KEYS["Eve"], reason="", executions=1)
    with pytest.raises(errors.ApprovalInvalid, match="for another party"):
        hand_in(three, 1, for_party_2)
    with pytest.raises(errors.ApprovalInvalid, match="does not fit the approver's key"):
        hand_in(three, 1, forged)
    with pytest.raises(errors.ApprovalInvalid, match="names no approver"):
        hand_in(three, 1, stranger)
    assert hand_in(three, 1, for_other) == "approved"
    with three.admin(1) as client:
        assert client.call("mpc.v1.ApprovalsShow", {"request": second.name})["state"] == "pending"
    for waiting in (first, second):
        assert waiting.state()["state"] == "waiting"


def test_an_approval_taken_back_counts_no_longer(three: Sandbox) -> None:
    waiting = ask(three)
    given = waiting.signed(1, "Ida")
    hand_in(three, 1, given)
    assert waiting.rule(1, "Ida", "withdraw") == "pending"
    with pytest.raises(errors.ApprovalInvalid, match="decided again later"):
        hand_in(three, 1, SignedRuling(given.ruling, given.signature))
    for who in ("Otto", "Ulla"):
        waiting.rule(2, who)
    time.sleep(4)
    assert waiting.state()["state"] == "waiting"
    waiting.rule(1, "Ida")
    waiting.until("released")


# ------------------------------------------------------------------------------------------------ several runs


def test_an_approved_question_runs_as_often_as_allowed(three: Sandbox) -> None:
    """Hospital 1 approves each request, hospital 2 the question, three times: the fourth waits again."""
    waiting = ask(three, BY_SEX)
    for who in ("Otto", "Ulla"):
        waiting.rule(2, who, executions=3)
    for _ in range(3):
        waiting.rule(1, "Ida")
        waiting.until("released")
        waiting = ask(three, BY_SEX)
    waiting.rule(1, "Ida")
    time.sleep(4)
    found = waiting.state()
    assert found["state"] == "waiting"
    assert "2 of 2 approvals at party 2" in str(found["message"])


# ------------------------------------------------------------------------------------------------ stops and news


def test_all_may_restart_and_it_runs_all_the_same(three: Sandbox) -> None:
    waiting = ask(three)
    waiting.rule(1, "Ida")
    waiting.rule(2, "Otto")
    for party in (0, 1, 2):
        three.stop(party, signal.SIGKILL)
        restart(three, party)
    assert waiting.state()["state"] == "waiting"
    waiting.rule(2, "Ulla")
    waiting.until("released")
    assert waiting.fetched() == truth(three)


def test_decided_while_the_keeper_was_away(three: Sandbox) -> None:
    waiting = ask(three)
    waiting.rule(2, "Otto")
    waiting.rule(2, "Ulla")
    three.stop(0, signal.SIGTERM)
    assert waiting.rule(1, "Ida") == "approved"
    restart(three, 0)
    waiting.until("released")
    assert waiting.fetched() == truth(three)


def test_new_data_needs_a_new_approval(three: Sandbox) -> None:
    waiting = ask(three)
    early = waiting.signed(1, "Ida")
    hand_in(three, 1, early)
    rows = three.home(1) / "data" / "lung.csv"
    text = rows.read_text(encoding="utf-8")
    rows.write_text("".join(text.splitlines(keepends=True)[:-1]), encoding="utf-8")
    with three.admin(1) as client:
        # One person fewer: too near the version before, so somebody takes it on themselves.
        params: Map = {"table": "lung", "paths": [str(rows)], "forced": "the patient asked", "yes": True}
        client.call("mpc.v1.DataPublish", params)
    for who in ("Otto", "Ulla"):
        waiting.rule(2, who)
    time.sleep(4)
    found = waiting.state()
    assert found["state"] == "waiting"
    assert "its data changed" in str(found["message"])
    with pytest.raises(errors.ApprovalInvalid, match="another data version"):
        hand_in(three, 1, early)
    waiting.rule(1, "Ida")
    waiting.until("released")
    assert waiting.fetched() == truth(three)


# ------------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def desk(three: Sandbox, tmp_path: Path) -> Callable[..., int]:
    (tmp_path / "words").write_text(WORDS)
    for name, key in KEYS.items():
        (tmp_path / name).write_bytes(LockedKey.lock(key, WORDS, os.urandom, Cost(1, MEMORY_BYTES_MIN)).to_bytes())

    def run(*arguments: str, party: int | None = None) -> int:
        where = ["--profile", str(three.started.profile)]
        if party is not None:
            where = ["--socket", str(three.hospitals[party].admin)]
        replaced = [str(tmp_path / part[1:]) if part.startswith("@") else part for part in arguments]
        return main([*where, *replaced])

    return run


def test_from_question_to_answer_on_the_command_line(
    three: Sandbox, desk: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    signing = ["--passphrase-file", "@words"]
    assert desk("sql", "--wait", "7d", COUNT) == WAITING
    told = capsys.readouterr().out
    name = told.split("watch ")[1].split()[0]
    assert desk("requests", "list") == 0
    assert name in capsys.readouterr().out
    assert desk("approvals", "list", party=1) == 0
    assert name in capsys.readouterr().out
    assert desk("approvals", "show", name, party=1) == 0
    assert COUNT in capsys.readouterr().out
    assert desk("approvals", "export", name, "--out", "@form", party=1) == 0
    assert main(["sign", "/nonexistent", "--key", "/nonexistent"]) != 0
    assert desk("sign", "@form", "--key", "@Ida", "--decide", "approve", *signing) == 0
    assert desk("approvals", "submit", "@form.ruling", party=1) == 0
    for who in ("Otto", "Ulla"):
        assert desk("approvals", "approve", name, "--key", f"@{who}", "--yes", *signing, party=2) == 0
    assert desk("requests", "watch", name) == 0
    capsys.readouterr()
    assert desk("requests", "fetch", name, "--csv", "--quiet") == 0
    assert str(truth(three)) in capsys.readouterr().out
    assert desk("requests", "withdraw", name) == 0
    assert "forgotten" in capsys.readouterr().out


def test_an_analyst_takes_a_request_back(
    three: Sandbox, desk: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = ask(three)
    assert desk("requests", "withdraw", waiting.name) == 0
    assert "withdrawn" in capsys.readouterr().out
    assert waiting.state()["state"] == "withdrawn"
    deadline = time.monotonic() + 30
    while True:
        with three.admin(2) as client:
            if client.call("mpc.v1.ApprovalsShow", {"request": waiting.name})["state"] == "withdrawn":
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)
