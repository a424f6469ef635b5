from __future__ import annotations

from pathlib import Path

import pytest

from mpcd.daemon.config import Config, load, parse
from mpcd.errors import ConfigurationInvalid
from mpcd.ids import PartyId

GOOD = """\
party = 0
state = "state"
roster = "roster.toml"
policy = "/etc/mpcd/policy.toml"
log_level = "debug"

[listen]
host = "0.0.0.0"
port = 7401

[keys]
channel = "credential:channel-key"
signing = "keys/signing.key"

[sockets]
api = "/run/mpcd/api.sock"
admin = "/run/mpcd/admin.sock"
admin_uids = [1000, 1001]

[engine]
threads = 3
memory_mib = 512

[[peer]]
party = 1
address = "[2001:db8::1]:7400"
psk = "keys/psk-1.key"

[[peer]]
party = 2

[tables.gbsg2]
paths = ["data/gbsg2.csv"]
[tables.gbsg2.columns.horTh]
source = "HORMONE"
"""
CREDENTIALS = {"CREDENTIALS_DIRECTORY": "/run/credentials/mpcd.service"}


def read(text: str) -> Config:
    return parse(text, Path("/etc/mpcd/mpcd.toml"), CREDENTIALS)


def test_a_good_file_is_read_whole() -> None:
    config = read(GOOD)
    assert config.party == 0
    assert config.state == Path("/etc/mpcd/state")
    assert config.roster == Path("/etc/mpcd/roster.toml")
    assert config.policy == Path("/etc/mpcd/policy.toml")
    assert config.log_level == "debug"
    assert config.listen == ("0.0.0.0", 7401)
    assert config.channel_key.path == Path("/run/credentials/mpcd.service/channel-key")
    assert config.channel_key.credentials_directory == Path("/run/credentials/mpcd.service")
    assert config.signing_key.path == Path("/etc/mpcd/keys/signing.key")
    assert config.signing_key.credentials_directory is None
    assert config.sockets.admin_uids == (1000, 1001)
    assert (config.engine.threads, config.engine.memory_bytes) == (3, 512 * 2**20)
    assert config.peers[PartyId(1)].address == ("2001:db8::1", 7400)
    assert config.peers[PartyId(1)].psk is not None
    assert config.peers[PartyId(2)].address is None
    assert config.tables["gbsg2"].paths == (Path("/etc/mpcd/data/gbsg2.csv"),)
    assert config.tables["gbsg2"].column("horTh").source == "HORMONE"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("party = 0\n", "", 1, "`party` is missing"),
        ("party = 0", "party = -1", 1, "whole number"),
        ("party = 0", 'party = "0"', 1, "whole number"),
        ('state = "state"', "state = 3", 2, "text"),
        ('log_level = "debug"', 'log_level = "loud"', 5, "debug, info"),
        ('log_level = "debug"', 'loglevel = "debug"', 5, "did you mean `log_level`"),
        ("port = 7401", "port = 70000", 9, "65535"),
        ("port = 7401", "prot = 1", 9, "did you mean `port`"),
        ('channel = "credential:channel-key"', "", 11, "`channel` is missing"),
        ("credential:channel-key", "credential:../x", 12, "credential"),
        ("credential:channel-key", "credential:", 12, "credential"),
        ('admin = "/run/mpcd/admin.sock"', 'admin = "/run/mpcd/api.sock"', 17, "two sockets"),
        ('api = "/run/mpcd/api.sock"', f'api = "/{"x" * 110}"', 16, "107"),
        ("admin_uids = [1000, 1001]", 'admin_uids = ["root"]', 18, "user ids"),
        ("threads = 3", "threads = 0", 21, "1 to"),
        ("memory_mib = 512", "memory_mib = 1", 22, "64 to"),
        ("party = 1\n", "party = 0\n", 25, "ourselves"),
        ("party = 2\n", "party = 1\n", 30, "twice"),
        ("[2001:db8::1]:7400", "no-port", 26, "host:port"),
        ("[2001:db8::1]:7400", "host:0", 26, "host:port"),
        ("[2001:db8::1]:7400", "host:65536", 26, "host:port"),
        ('paths = ["data/gbsg2.csv"]', "paths = []", 32, "at least one file"),
        ('paths = ["data/gbsg2.csv"]', 'paths = ["x"]\ndelimiter = "ab"', 32, "one character"),
        ("[engine]", "[engine", 20, "not TOML"),
        ("[engine]\nthreads = 3\nmemory_mib = 512", 'engine = "fast"', 20, ""),
    ],
)
def test_every_mistake_is_named_with_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationInvalid) as caught:
        read(GOOD.replace(old, new, 1))
    assert str(caught.value).startswith("/etc/mpcd/mpcd.toml:")
    assert message in str(caught.value)
    assert caught.value.line == line


def test_the_retention_is_at_least_six_years() -> None:
    assert read(GOOD).retention_years == 6
    assert read(GOOD + "[ledger]\nretention_years = 10\n").retention_years == 10
    for wrong in ("retention_years = 5", "retention = 10"):
        with pytest.raises(ConfigurationInvalid):
            read(f"{GOOD}[ledger]\n{wrong}\n")


def test_a_credential_without_systemd_is_refused() -> None:
    with pytest.raises(ConfigurationInvalid, match="CREDENTIALS_DIRECTORY"):
        parse(GOOD, Path("/etc/mpcd/mpcd.toml"), {})


def test_unreadable_files_are_configuration_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="No such file"):
        load(tmp_path / "nothing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationInvalid, match="UTF-8"):
        load(tmp_path / "binary.toml")
    (tmp_path / "long.toml").write_text("#" * 10**7)
    with pytest.raises(ConfigurationInvalid, match="longer"):
        load(tmp_path / "long.toml")


def test_the_opt_out_list_is_in_the_state_directory_unless_it_is_said() -> None:
    assert read(GOOD).opt_out == Path("/etc/mpcd/state/opt-out.txt")
    assert read(f'opt_out = "lists/out.txt"\n{GOOD}').opt_out == Path("/etc/mpcd/lists/out.txt")
