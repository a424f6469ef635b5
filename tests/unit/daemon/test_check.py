"""`mpcd keygen`, `check` and `roster-sign`, on the files of one small consortium."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from mpcd.canonical import digest_bytes
from mpcd.daemon import rosterfile
from mpcd.daemon.check import check
from mpcd.daemon.config import load
from mpcd.daemon.keygen import PartyKeys, make_party_keys, make_psk
from mpcd.daemon.main import GOOD, USAGE, WRONG_FILE, main
from mpcd.daemon.owner import LivePolicy
from mpcd.daemon.psk import read_psk, write_psk
from mpcd.errors import ConfigurationInvalid, MpcdError
from mpcd.governance import entries
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.roster import Column, Party, Roster, Table
from mpcd.roster.parse import dump
from mpcd.store.keyfiles import read_key
from mpcd.store.store import FILE_NAME, Store, verify_ledger

ANALYST = SigningKey.generate(os.urandom).public
POLICY = (
    f'security = "malicious"\n[[analyst]]\nname = "Anna"\nkey = "{ANALYST}"\n'
    '[[table]]\nname = "t"\npurposes = ["GRU"]\nuses = { x = ["filter"] }\n'
)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def home() -> Iterator[Path]:
    """Hospital 0's directory, complete and good."""
    with tempfile.TemporaryDirectory(prefix="mpcd-") as name:
        directory = Path(name)
        keys = [make_party_keys(directory / f"keys-{party}") for party in range(3)]
        roster = Roster("three", 1, tuple(_party(i, key) for i, key in enumerate(keys)), (_table(),))
        path = directory / "roster.toml"
        path.write_text(dump(roster))
        for party in range(3):
            key = read_key(directory / f"keys-{party}" / "signing.key", SigningKey)
            rosterfile.add_signature(path, PartyId(party), key)
        (directory / "policy.toml").write_text(POLICY)
        (directory / "state").mkdir(mode=0o700)
        (directory / "t.csv").write_text("x\n1\n")
        make_psk(directory / "psk.key")
        (directory / "mpcd.toml").write_text(
            'party = 0\nstate = "state"\nroster = "roster.toml"\npolicy = "policy.toml"\n'
            '[listen]\nhost = "127.0.0.1"\n[keys]\nchannel = "keys-0/channel.key"\nsigning = "keys-0/signing.key"\n'
            '[sockets]\napi = "a.sock"\nadmin = "b.sock"\n'
            '[[peer]]\nparty = 1\npsk = "psk.key"\n[[peer]]\nparty = 2\n[tables.t]\npaths = ["t.csv"]\n'
        )
        yield directory


def _party(party: int, key: PartyKeys) -> Party:
    return Party(PartyId(party), f"h{party}", str(key.channel), str(key.signing), ("input", "compute"))


def _table() -> Table:
    owners = (PartyId(0), PartyId(1), PartyId(2))
    return Table("t", 100, True, True, None, owners, (Column("x", "integer", 0, 9),))


def findings(home: Path) -> list[str]:
    return [f"{finding.severity}: {finding.message}" for finding in check(load(home / "mpcd.toml")).findings]


def test_a_good_directory_has_no_findings(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(home) == []
    assert main(["check", "--config", str(home / "mpcd.toml")]) == GOOD
    assert "good: party 0 of three, roster version 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('security = "malicious"\n', 'security = "semi-honest"\n', "accepts semi-honest sessions"),
        (POLICY[POLICY.index("[[analyst]]") : POLICY.index("[[table]]")], "", "accepts no analyst"),
        ('purposes = ["GRU"]\n', "", "table `t` allows no purpose"),
        ('["filter"]', "[]", "no column of table `t` has a use"),
        (POLICY[POLICY.index("[[table]]") :], "", "publishes no table"),
        (
            POLICY[-1:],
            "\n[disclosure]\nsafe_dof_threshold = 5\n",
            "demands the disclosure rule `safe_dof_threshold` = 5",
        ),
    ],
)
def test_a_policy_that_refuses_every_request_is_warned_of(home: Path, old: str, new: str, expected: str) -> None:
    (home / "policy.toml").write_text(POLICY[::-1].replace(old[::-1], new[::-1], 1)[::-1])
    (found,) = findings(home)
    assert found.startswith("warning: ")
    assert expected in found


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        path = home / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edit("roster.toml", "rows_max = 100", "rows_max = 200"), "lacks valid signatures of h0, h1, h2"),
        (edit("roster.toml", 'name = "t"', 'nam = "t"'), "roster.toml:"),
        (lambda home: (home / "roster.signatures").unlink(), "lacks valid signatures"),
        (edit("roster.signatures", "party = 2", "party = 1"), "roster.signatures:10: party 1 is listed twice"),
        (edit("policy.toml", "filter", "fliter"), "policy.toml:"),
        (edit("policy.toml", 'name = "t"', 'name = "u"'), "the roster has no table `u`"),
        (lambda home: (home / "policy.toml").unlink(), "Cannot read the policy"),
        (lambda home: (home / "keys-0/channel.key").chmod(0o640), "open to group or world"),
        (lambda home: (home / "keys-0/signing.key").unlink(), "cannot be read"),
        (lambda home: shutil.copy(home / "keys-1/channel.key", home / "keys-0/channel.key"), "another channel key"),
        (lambda home: shutil.copy(home / "keys-0/channel.key", home / "keys-0/signing.key"), "another kind"),
        (lambda home: (home / "psk.key").chmod(0o644), "open to group or world"),
        (lambda home: (home / "state").rmdir(), "does not exist"),
        (lambda home: (home / "state").chmod(0o755), "Others may enter"),
        (edit("mpcd.toml", "party = 0\n", "party = 7\n"), "no party 7"),
        (edit("mpcd.toml", "[[peer]]\nparty = 2", "[[peer]]\nparty = 9"), "no party 9"),
        (edit("mpcd.toml", "[tables.t]", "[tables.u]"), "no table u"),
        (edit("mpcd.toml", 'api = "a.sock"', 'api = "none/a.sock"'), "directory of the socket"),
    ],
)
def test_every_fault_is_found(
    home: Path, change: Callable[[Path], object], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(home)
    assert main(["check", "--config", str(home / "mpcd.toml")]) == WRONG_FILE
    shown = capsys.readouterr()
    assert expected in shown.err
    assert "fault" in shown.err
    assert not shown.out


def test_warnings_do_not_stop_the_daemon(home: Path) -> None:
    edit("mpcd.toml", "[[peer]]\nparty = 2\n", "")(home)
    edit("mpcd.toml", '[tables.t]\npaths = ["t.csv"]\n', "")(home)
    assert [finding.split(":")[0] for finding in findings(home)] == ["warning", "warning"]
    assert check(load(home / "mpcd.toml")).good


def test_files_that_cannot_be_imported_are_warned_of(home: Path) -> None:
    (home / "t.csv").unlink()
    (found,) = findings(home)
    assert found.startswith(f"warning: [tables.t]: there is no file {home / 't.csv'}; until then")
    (home / "t.csv").mkdir()
    assert "but a directory" in findings(home)[0]
    assert check(load(home / "mpcd.toml")).good


def test_a_wrong_configuration_stops_run_before_anything_starts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("mpcd.toml", "party = 0\n", 'party = "zero"\n')(home)
    assert main(["run", "--config", str(home / "mpcd.toml")]) == WRONG_FILE
    assert "mpcd.toml:1:" in capsys.readouterr().err


def test_a_broken_ledger_keeps_the_daemon_from_serving(home: Path) -> None:
    store = Store.open(home / "state")
    for number in range(3):
        store.commit_entry(entries.policy_loaded(bytes([number]) * 32), now=1_800_000_000.0)
    store.close()
    assert verify_ledger(home / "state").head.count == 3
    database = sqlite3.connect(home / "state" / FILE_NAME)
    with database:
        database.execute("UPDATE entry SET time_milliseconds = 5 WHERE sequence = 1")
    database.close()
    command = [sys.executable, "-m", "mpcd.daemon.main", "run", "--config", str(home / "mpcd.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert ended.returncode == WRONG_FILE
    assert "mpcd: ledger entry 1 was changed: its hash does not fit" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (home / "a.sock").exists()
    database = sqlite3.connect(home / "state" / FILE_NAME)
    assert database.execute("SELECT count(*) FROM entry").fetchone() == (3,), "nothing was appended to it"
    database.close()


def test_keygen_makes_private_files_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "keys"
    assert main(["keygen", str(directory)]) == GOOD
    out = capsys.readouterr().out
    assert 'channel_key = "mpcd-channel1' in out
    assert 'signing_key = "mpcd-sign1' in out
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        "channel.key": 0o600,
        "signing.key": 0o600,
    }
    before = (directory / "channel.key").read_bytes()
    assert main(["keygen", str(directory)]) == WRONG_FILE
    assert (directory / "channel.key").read_bytes() == before
    assert main(["keygen", "--analyst", str(tmp_path / "analyst")]) == GOOD
    assert main(["keygen", "--psk", "pair.key", str(tmp_path)]) == GOOD
    assert len(read_psk(tmp_path / "pair.key")) == 32
    with pytest.raises(SystemExit) as stop:
        main(["nonsense"])
    assert stop.value.code == USAGE


def test_pre_shared_keys_of_zeros_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    write_psk(tmp_path / "zero", bytes(32))
    with pytest.raises(ConfigurationInvalid, match="zeros"):
        read_psk(tmp_path / "zero")
    write_psk(tmp_path / "good", bytes(range(32)))
    assert read_psk(tmp_path / "good") == bytes(range(32))
    good = (tmp_path / "good").read_bytes()
    for content in (good[:-1], good + b"x", b"x" + good[1:]):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(content)
        damaged.chmod(0o600)
        with pytest.raises(MpcdError):
            read_psk(damaged)
    with pytest.raises(ConfigurationInvalid):
        write_psk(tmp_path / "good", bytes(32))


def test_signing_with_another_partys_key_is_refused(home: Path) -> None:
    key = read_key(home / "keys-1" / "signing.key", SigningKey)
    with pytest.raises(ConfigurationInvalid, match="another signing key"):
        rosterfile.add_signature(home / "roster.toml", PartyId(0), key)
    with pytest.raises(ConfigurationInvalid, match="no party 5"):
        rosterfile.add_signature(home / "roster.toml", PartyId(5), key)
    (home / "roster.signatures").unlink()
    assert main(["roster-sign", "--config", str(home / "mpcd.toml")]) == GOOD
    assert [s.party for s in rosterfile.load(home / "roster.toml", signed=False).signatures] == [0]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_the_units_are_valid_and_tight(tmp_path: Path) -> None:
    for unit in ("mpcd.service", "mpcd.socket", "mpcd-admin.socket"):
        text = (ROOT / "systemd" / unit).read_text().replace("/opt/mpcd/bin/mpcd", "/bin/true")
        (tmp_path / unit).write_text(text)
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    units = [str(tmp_path / unit) for unit in ("mpcd.service", "mpcd.socket", "mpcd-admin.socket")]
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, env=environment
    )
    complaints = [line for line in found.stderr.splitlines() if "mpcd" in line]
    assert complaints == []
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(tmp_path / "mpcd.service")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


# ------------------------------------------------------------------------------------------------ the daemon's policy


def test_a_policy_about_another_schema_never_comes_into_force(home: Path) -> None:
    """Neither at the start, nor by a reload, which keeps the old one."""
    roster, path = rosterfile.load(home / "roster.toml"), home / "policy.toml"
    live = LivePolicy(path, PartyId(0), roster)
    good, digest = live.policy, live.digest()
    path.write_text(POLICY.replace("x = [", "misspelt = ["))
    with pytest.raises(ConfigurationInvalid, match="no column `misspelt`"):
        live.reload()
    assert (live.policy, live.digest()) == (good, digest)
    with pytest.raises(ConfigurationInvalid, match="no column `misspelt`"):
        LivePolicy(path, PartyId(0), roster)


def test_the_digest_is_of_the_bytes_that_were_parsed(home: Path) -> None:
    """An editor may save between two reads: what is on record must be what is in force."""

    class Edited(type(Path())):  # type: ignore[misc]
        """Each time it is read, somebody has just accepted one table less."""

        versions: ClassVar[list[bytes]] = [POLICY.encode(), b"", b"# nothing", b"# still nothing"]
        seen: ClassVar[list[bytes]] = []

        def read_bytes(self) -> bytes:
            self.seen.append(self.versions[len(self.seen)])
            return self.seen[-1]

    live = LivePolicy(Edited(home / "policy.toml"), PartyId(0), rosterfile.load(home / "roster.toml"))
    assert "t" in live.policy.tables
    assert live.digest() == digest_bytes("policy", POLICY.encode())
    assert live.reload()
    assert live.policy.tables == {}
    assert live.digest() == digest_bytes("policy", b"")
