"""What crosses the local socket (layer 12, no I/O): methods, callers, events, results, and errors as maps.

Within version 1 the maps grow only by additions; a reader ignores keys that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Self

from mpcd import errors
from mpcd.canonical import Value
from mpcd.errors import Lagged, MpcdError, PeerFault, Refusal, Refused
from mpcd.ids import PartyId

API_VERSIONS: Final = (1,)
Map = dict[str, Value]
CallerRole = Literal["client", "admin"]


class Method(StrEnum):
    """Every method of version 1."""

    HELLO = "mpc.v1.Hello"
    DESCRIBE = "mpc.v1.Describe"
    EXPLAIN = "mpc.v1.Explain"
    SUBMIT = "mpc.v1.Submit"
    WATCH = "mpc.v1.Watch"
    CANCEL = "mpc.v1.Cancel"
    RESULT = "mpc.v1.Result"
    STATUS = "mpc.v1.Status"
    PEERS = "mpc.v1.Peers"
    LEDGER_VERIFY = "mpc.v1.LedgerVerify"
    LEDGER_ENTRIES = "mpc.v1.LedgerEntries"
    TABLE_LIST = "mpc.v1.TableList"
    TABLE_IMPORT = "mpc.v1.TableImport"
    TABLE_PUBLISH = "mpc.v1.TablePublish"
    RELOAD = "mpc.v1.Reload"
    DRAIN = "mpc.v1.Drain"


class Notice(StrEnum):
    """Every notification that the daemon sends."""

    EVENT = "mpc.v1.Event"
    CLOSED = "mpc.v1.Closed"
    """The last thing on a connection that the daemon ends; holds the error."""


class MalformedMapError(ValueError):
    """A map from the socket lacks a key or holds another type than agreed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The process at the other end of a Unix socket, as the kernel names it."""

    uid: int
    gid: int
    pid: int
    role: CallerRole

    @property
    def is_admin(self) -> bool:
        """Whether this caller may administer the daemon."""
        return self.role == "admin"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What `Hello` says about the daemon."""

    version: str
    party: PartyId
    party_name: str
    consortium: str
    roster_version: int
    roster_hash: bytes
    security: str
    """What sessions have here unless every owner allows less; a result says which it had."""
    state: Literal["starting", "running", "draining"] = "running"
    features: tuple[str, ...] = ("sql", "explain", "watch")

    def to_map(self) -> Map:
        """As it crosses the socket."""
        return {
            "version": self.version,
            "party": int(self.party),
            "party_name": self.party_name,
            "consortium": self.consortium,
            "roster_version": self.roster_version,
            "roster_hash": self.roster_hash,
            "security": self.security,
            "state": self.state,
            "features": list(self.features),
        }

    @classmethod
    def from_map(cls, value: Mapping[str, Value]) -> Self:
        """The inverse of `to_map`; raises `MalformedMapError`."""
        state = text(value, "state")
        if state not in {"starting", "running", "draining"}:
            raise MalformedMapError("state")
        return cls(
            text(value, "version"),
            PartyId(number(value, "party")),
            text(value, "party_name"),
            text(value, "consortium"),
            number(value, "roster_version"),
            blob(value, "roster_hash"),
            text(value, "security"),
            state,  # type: ignore[arg-type]  # tested above
            tuple(str(feature) for feature in listing(value, "features")),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job; `seq` counts from 0 without gaps."""

    job: str
    seq: int
    kind: str
    """`state` (data: state), `progress` (data: done, total, what), `over` (data: state, error or nothing)."""
    at: float
    """Seconds since 1970, the daemon's clock."""
    data: Map

    def to_map(self) -> Map:
        """As it crosses the socket."""
        return {"job": self.job, "seq": self.seq, "kind": self.kind, "at": self.at, "data": self.data}

    @classmethod
    def from_map(cls, value: Mapping[str, Value]) -> Self:
        """The inverse of `to_map`; raises `MalformedMapError`."""
        at = value.get("at")
        if not isinstance(at, (int, float)):
            raise MalformedMapError("at")
        return cls(text(value, "job"), number(value, "seq"), text(value, "kind"), float(at), mapping(value, "data"))


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Some events of a job, in order; `over` once nothing can follow them."""

    events: tuple[Event, ...]
    over: bool


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a finished job left: the plan that all agreed on and one sealed release from each compute party."""

    plan: bytes
    """Canonical bytes; their digest is the plan hash that the releases are signed over."""
    releases: tuple[bytes, ...]
    """Canonical bytes of one `identity.ReleaseEnvelope` each."""
    facts: Map
    """Not signed, for people: `rounds`, `bytes_sent`, `seconds`, `rules_of` and the like."""

    def to_map(self) -> Map:
        """As it crosses the socket."""
        return {"plan": self.plan, "releases": list(self.releases), "facts": self.facts}

    @classmethod
    def from_map(cls, value: Mapping[str, Value]) -> Self:
        """The inverse of `to_map`; raises `MalformedMapError`."""
        releases: list[bytes] = []
        for release in listing(value, "releases"):
            if not isinstance(release, bytes):
                raise MalformedMapError("releases")
            releases.append(release)
        return cls(blob(value, "plan"), tuple(releases), mapping(value, "facts"))


# ------------------------------------------------------------------------------------------------ typed access


def text(value: Mapping[str, Value], key: str) -> str:
    """The string at `key`, or `MalformedMapError`."""
    item = value.get(key)
    if not isinstance(item, str):
        raise MalformedMapError(key)
    return item


def number(value: Mapping[str, Value], key: str) -> int:
    """The integer at `key`, or `MalformedMapError`."""
    item = value.get(key)
    if not isinstance(item, int) or isinstance(item, bool):
        raise MalformedMapError(key)
    return item


def blob(value: Mapping[str, Value], key: str) -> bytes:
    """The bytes at `key`, or `MalformedMapError`."""
    item = value.get(key)
    if not isinstance(item, bytes):
        raise MalformedMapError(key)
    return item


def listing(value: Mapping[str, Value], key: str) -> list[Value]:
    """The list at `key`, or `MalformedMapError`."""
    item = value.get(key)
    if not isinstance(item, list):
        raise MalformedMapError(key)
    return item


def mapping(value: Mapping[str, Value], key: str) -> Map:
    """The map at `key`, or `MalformedMapError`."""
    item = value.get(key)
    if not isinstance(item, dict):
        raise MalformedMapError(key)
    return item


# ------------------------------------------------------------------------------------------------ errors


def error_to_map(error: MpcdError) -> Map:
    """An expected failure as it crosses the socket."""
    data: Map = {key: _plain(item) for key, item in error.data().items()}
    return {
        "code": error.code,
        "message": str(error),
        "retryable": error.retryable,
        "who": error.who_must_act,
        "data": data,
    }


def internal_error_map(reference: str) -> Map:
    """What a caller learns of a failure that nobody expected: where to look it up, never its text."""
    return {
        "code": MpcdError.code,
        "message": f"The daemon met an internal error; its log has the details under reference {reference}.",
        "retryable": False,
        "who": MpcdError.who_must_act,
        "data": {"reference": reference},
    }


def error_from_map(value: object) -> MpcdError:
    """The failure that a daemon reported; an unknown code or a malformed map becomes plain `MpcdError`."""
    if not isinstance(value, dict):
        return MpcdError("The daemon reported an error in a form that this client does not know.")
    try:
        code, message = text(value, "code"), text(value, "message")
        data = mapping(value, "data")
        return _rebuild(code, message, data)
    except MalformedMapError:
        return MpcdError("The daemon reported an error in a form that this client does not know.")


def _rebuild(code: str, message: str, data: Map) -> MpcdError:
    kind = errors.closed_codes().get(code)
    if kind is None:
        return MpcdError(f"{message} (code {code[:64]}, unknown to this client)")
    if issubclass(kind, Refused):
        reasons = tuple(_refusal(reason) for reason in listing(data, "reasons"))
        return Refused(reasons) if reasons else MpcdError(message)
    if issubclass(kind, PeerFault):
        party = data.get("party")
        return kind(PartyId(party) if isinstance(party, int) else None, message)
    if issubclass(kind, Lagged):
        return Lagged(message, next_seq=number(data, "next_seq"))
    return kind(message)


def _refusal(reason: Value) -> Refusal:
    if not isinstance(reason, dict):
        raise MalformedMapError("reasons")
    return Refusal(
        PartyId(number(reason, "party")), text(reason, "rule"), text(reason, "subject"), text(reason, "message")
    )


def _plain(item: object) -> Value:
    if item is None or isinstance(item, (bool, int, float, str, bytes)):
        return item
    if isinstance(item, (list, tuple)):
        return [_plain(part) for part in item]
    if isinstance(item, Mapping):
        return {str(key): _plain(part) for key, part in item.items()}
    return type(item).__name__
