"""`mpcd.toml`: what one host needs to know besides the roster (layer 13).

    party = 0                               # our id in the roster
    state = "/var/lib/mpcd"                 # ledger, snapshots, sealed results
    roster = "roster.toml"                  # relative paths start at this file's directory
    policy = "policy.toml"
    log_level = "info"                      # debug, info, warning, error
    opt_out = "opt-out.txt"                 # persons whose rows no snapshot takes in; default: in the state directory

    [listen]
    host = "0.0.0.0"
    port = 7400

    [keys]
    channel = "credential:channel-key"      # a file, or a name in systemd's credentials directory
    signing = "signing.key"

    [sockets]
    api = "/run/mpcd/api.sock"
    admin = "/run/mpcd/admin.sock"
    admin_uids = [1000]                     # administrators besides root and our own uid

    [engine]
    threads = 2
    memory_mib = 4096

    [ledger]
    retention_years = 6                     # readable content is kept at least so long; not less than 6

    [[peer]]
    party = 1
    address = "mpcd.hospital-b.example:7400"   # without one we are dialled
    psk = "psk-1.key"                       # optional: a pre-shared key of this pair

    [tables.gbsg2]                          # where our part of a table is; see `sources.tables`
    paths = ["/srv/export/gbsg2.csv"]

Every error names file and line.  A key that is not listed here is an error, so that a misspelt one is not silently
ignored.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mpcd import limits
from mpcd.api.sockets import PATH_BYTES_MAX
from mpcd.daemon.psk import read_psk
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.document import Section
from mpcd.identity import ChannelKey, SigningKey
from mpcd.ids import PartyId
from mpcd.sources.tables import TableSource
from mpcd.store.keyfiles import read_key

LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")
CREDENTIAL: Final = "credential:"
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
DEFAULT_PORT: Final = 7400
OPT_OUT: Final = "opt-out.txt"
_PARTY_MAX: Final = 2**31 - 1
_PATH_CHARACTERS_MAX: Final = 1024
_PORT_MAX: Final = 65_535
_THREADS_MAX: Final = 256
_MEMORY_MIB_MAX: Final = 2**20
_TABLES_MAX: Final = 256
_RETENTION_YEARS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is; with a `credentials_directory`, systemd put it there for us alone."""

    path: Path
    credentials_directory: Path | None = None

    def channel_key(self) -> ChannelKey:
        """The channel key that is there."""
        return read_key(self.path, ChannelKey, credentials_directory=self.credentials_directory)

    def signing_key(self) -> SigningKey:
        """The signing key that is there."""
        return read_key(self.path, SigningKey, credentials_directory=self.credentials_directory)

    def psk(self) -> bytes:
        """The pre-shared key that is there."""
        return read_psk(self.path, credentials_directory=self.credentials_directory)


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """What we know of a peer besides the roster."""

    party: PartyId
    address: tuple[str, int] | None
    psk: KeyPlace | None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the local database may use."""

    threads: int = 2
    memory_bytes: int = 4 * 2**30


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """The two Unix sockets and who administers."""

    api: Path
    admin: Path
    admin_uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A checked `mpcd.toml`; the files that it names are not opened yet."""

    path: Path
    party: PartyId
    state: Path
    roster: Path
    policy: Path
    log_level: LogLevel
    listen: tuple[str, int] | socket.socket
    """Where to listen, or a listening socket that our parent made."""
    channel_key: KeyPlace
    signing_key: KeyPlace
    sockets: SocketConfig
    engine: EngineConfig
    peers: Mapping[PartyId, PeerEntry]
    tables: Mapping[str, TableSource]
    opt_out: Path
    """The opt-out list: ids of persons, a line each; see `sources.optout`."""
    retention_years: int = limits.LEDGER_RETENTION_YEARS_MIN

    @property
    def ledger(self) -> Path:
        """The database of the durable state."""
        return self.state / "state.sqlite"

    @property
    def snapshots(self) -> Path:
        """The directory of the imported tables."""
        return self.state / "snapshots"


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check the configuration in `path`.

    Raises:
        ConfigurationInvalid: with file and line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limits.POLICY_BYTES_MAX + 1)
        text = content.decode()
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the configuration: {error.strerror}.", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid("The configuration is not UTF-8 text.", path=str(path)) from error
    # Children do not run where we were started, so that relative paths must not depend on it.
    return parse(text, path.absolute(), os.environ if environment is None else environment)


def parse(text: str, path: Path, environment: Mapping[str, str]) -> Config:
    """The configuration that `text` spells; relative paths start beside `path`."""
    top = Section.parse(text, str(path))
    top.only(_TOP, "mpcd.toml")
    base = path.parent
    keys = top.section("keys", '[keys] channel = "channel.key"')
    keys.only(("channel", "signing"), "[keys]")
    party = PartyId(top.whole("party", 0, _PARTY_MAX))
    return Config(
        path=path,
        party=party,
        state=_path(top, "state", base),
        roster=_path(top, "roster", base),
        policy=_path(top, "policy", base),
        log_level=_log_level(top),
        listen=_listen(top),
        channel_key=_key(keys, "channel", base, environment),
        signing_key=_key(keys, "signing", base, environment),
        sockets=_sockets(top, base),
        engine=_engine(top),
        peers=_peers(top, base, environment, party),
        tables=_tables(top, base),
        opt_out=_path(top, "opt_out", base) if top.has("opt_out") else _path(top, "state", base) / OPT_OUT,
        retention_years=_retention(top),
    )


_TOP: Final = (
    "party",
    "state",
    "roster",
    "policy",
    "log_level",
    "opt_out",
    "listen",
    "keys",
    "sockets",
    "engine",
    "ledger",
    "peer",
    "tables",
)


def _path(section: Section, key: str, base: Path) -> Path:
    return base / section.text(key, _PATH_CHARACTERS_MAX)


def _log_level(top: Section) -> LogLevel:
    level = top.choice("log_level", LOG_LEVELS, "info")
    for known in LOG_LEVELS:
        if level == known:
            return known
    raise AssertionError(level)


def _listen(top: Section) -> tuple[str, int]:
    section = top.section("listen", '[listen] host = "0.0.0.0"')
    section.only(("host", "port"), "[listen]")
    # Port 0 lets the kernel choose; the daemon says which in its log and status.
    port = section.whole("port", 0, _PORT_MAX) if section.has("port") else DEFAULT_PORT
    return section.text("host"), port


def _key(section: Section, key: str, base: Path, environment: Mapping[str, str]) -> KeyPlace:
    written = section.text(key, _PATH_CHARACTERS_MAX)
    if not written.startswith(CREDENTIAL):
        return KeyPlace(base / written)
    directory = environment.get(CREDENTIALS_VARIABLE)
    if not directory:
        raise section.error(f"`{key}` is a systemd credential, but {CREDENTIALS_VARIABLE} is not set", key)
    name = written.removeprefix(CREDENTIAL)
    if not name or "/" in name or name in {".", ".."}:
        raise section.error(f"`{key}` does not name a credential", key)
    return KeyPlace(Path(directory) / name, Path(directory))


def _sockets(top: Section, base: Path) -> SocketConfig:
    section = top.section("sockets", '[sockets] api = "/run/mpcd/api.sock"')
    section.only(("api", "admin", "admin_uids"), "[sockets]")
    places = {key: _path(section, key, base) for key in ("api", "admin")}
    for key, place in places.items():
        if len(os.fsencode(place)) > PATH_BYTES_MAX:
            raise section.error(f"`{key}` has more than {PATH_BYTES_MAX} bytes, the kernel's limit for sockets", key)
    if places["api"] == places["admin"]:
        raise section.error("`api` and `admin` must be two sockets", "admin")
    uids = section.value.get("admin_uids", [])
    if not isinstance(uids, list) or not all(type(uid) is int and 0 <= uid < 2**32 for uid in uids):
        raise section.error("`admin_uids` must be an array of user ids, e.g. [1000]", "admin_uids")
    return SocketConfig(places["api"], places["admin"], tuple(uids))


def _engine(top: Section) -> EngineConfig:
    section = top.section("engine", "[engine] threads = 2")
    section.only(("threads", "memory_mib"), "[engine]")
    default = EngineConfig()
    return EngineConfig(
        section.whole("threads", 1, _THREADS_MAX) if section.has("threads") else default.threads,
        section.whole("memory_mib", 64, _MEMORY_MIB_MAX) * 2**20 if section.has("memory_mib") else default.memory_bytes,
    )


def _retention(top: Section) -> int:
    section = top.section("ledger", "[ledger] retention_years = 6")
    section.only(("retention_years",), "[ledger]")
    least = limits.LEDGER_RETENTION_YEARS_MIN
    return section.whole("retention_years", least, _RETENTION_YEARS_MAX) if section.has("retention_years") else least


def _peers(top: Section, base: Path, environment: Mapping[str, str], me: PartyId) -> dict[PartyId, PeerEntry]:
    peers: dict[PartyId, PeerEntry] = {}
    for section in top.sections("peer", limits.INPUT_OWNERS_MAX):
        section.only(("party", "address", "psk"), "[[peer]]")
        party = PartyId(section.whole("party", 0, _PARTY_MAX))
        if party == me or party in peers:
            raise section.error(f"party {party} is {'ourselves' if party == me else 'listed twice'}", "party")
        peers[party] = PeerEntry(
            party,
            _address(section) if section.has("address") else None,
            _key(section, "psk", base, environment) if section.has("psk") else None,
        )
    return peers


def _address(section: Section) -> tuple[str, int]:
    written = section.text("address")
    host, colon, port = written.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _PORT_MAX:
        raise section.error('`address` must be "host:port", e.g. "mpcd.hospital-b.example:7400"', "address")
    return host, int(port)


def _tables(top: Section, base: Path) -> dict[str, TableSource]:
    section = top.section("tables", '[tables.NAME] paths = ["file.csv"]')
    if len(section.value) > _TABLES_MAX:
        raise section.error(f"more than {_TABLES_MAX} tables")
    tables: dict[str, TableSource] = {}
    for name, value in section.value.items():
        try:
            tables[name] = TableSource.from_value(value, base)
        except ConfigurationInvalid as error:
            raise section.error(f"table {name}: {error}", name) from error
    return tables
