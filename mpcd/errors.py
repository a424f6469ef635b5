"""Every expected failure, by who must act (layer 0, no I/O).

    MpcdError
      LocalFault          our configuration, key, disk or data: tells the operator what to do
      CallerFault         the request itself: tells the analyst what to change
      PeerFault(party)    another party: gone, malformed, or caught cheating
      SessionFault        a session that ended without a result, at no one's evident fault
      Refused(reasons)    policy said no: expected, written to the ledger

Each class carries the code that crosses the local socket.  The list of codes is closed; `docs/API.md` is tested
against it. Peers and API callers get the code and the message; never the text of another exception, never a value from
the data. Impossible states are asserts (`Bug` where an assert would be unsafe): they kill the session, not the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mpcd.ids import PartyId

WhoMustAct = Literal["operator", "analyst", "peer", "owner", "programmer", "nobody"]


class MpcdError(Exception):
    """Base of all expected failures; `str(error)` is one clear sentence that says who must do what."""

    code: ClassVar[str] = "mpc.Internal"
    who_must_act: ClassVar[WhoMustAct] = "programmer"
    retryable: ClassVar[bool] = False

    def data(self) -> dict[str, object]:
        """Structured details for the API; only values that the caller may see."""
        return {}


class Bug(MpcdError):
    """Something that cannot happen did; the session is killed."""


# ------------------------------------------------------------------------------------------------ our side


class LocalFault(MpcdError):
    """Our configuration, key, disk or data is wrong; the operator of this host must act."""

    code = "mpc.LocalFault"
    who_must_act = "operator"


class ConfigurationInvalid(LocalFault):
    """A configuration, policy, roster or key file is wrong; `path` and `line` (1-based) say where."""

    code = "mpc.ConfigurationInvalid"

    def __init__(self, message: str, *, path: str = "", line: int | None = None) -> None:
        where = f"{path}:{line}: " if path and line is not None else f"{path}: " if path else ""
        super().__init__(where + message)
        self.path = path
        self.line = line


class DataInvalid(LocalFault):
    """A table cannot be published as it is; nothing was changed."""

    code = "mpc.DataInvalid"


class KeyInvalid(LocalFault):
    """A person's key file cannot be used: another passphrase, damaged, or no key at all."""

    code = "mpc.KeyInvalid"


class EngineFailed(LocalFault):
    """The local database child failed, was killed at its deadline, or broke a limit; one code for all causes."""

    code = "mpc.EngineFailed"


class StoreFailed(LocalFault):
    """The durable state cannot be read or written."""

    code = "mpc.StoreFailed"


class LedgerInvalid(StoreFailed):
    """The hash chain of the ledger does not verify; the message names the first bad entry."""

    code = "mpc.LedgerInvalid"


class DaemonUnavailable(LocalFault):
    """In the client: no daemon answers on the socket, or it closed the connection."""

    code = "mpc.DaemonUnavailable"
    retryable = True


# ------------------------------------------------------------------------------------------------ the caller


class CallerFault(MpcdError):
    """The request is wrong; the analyst (or the calling program) must change it."""

    code = "mpc.CallerFault"
    who_must_act = "analyst"


class RequestInvalid(CallerFault):
    """Undecodable, expired, wrongly signed, replayed, or against another roster."""

    code = "mpc.RequestInvalid"


class NotAuthorised(CallerFault):
    """The socket's peer may not call this method."""

    code = "mpc.NotAuthorised"


class ApprovalInvalid(CallerFault):
    """A form or a ruling that cannot be used: damaged, expired, wrongly signed, or about something else."""

    code = "mpc.ApprovalInvalid"


class NotFound(CallerFault):
    """No such job, table or session (or the caller may not know that it exists)."""

    code = "mpc.NotFound"


class LicenceInvalid(CallerFault, ValueError):
    """An offer, acceptance, licence or revocation that is malformed, does not fit, or is signed by the wrong one."""

    code = "mpc.LicenceInvalid"


class PlanInvalid(CallerFault):
    """The SQL is not valid against the published schema."""

    code = "mpc.PlanInvalid"


class PlanUnsupported(CallerFault):
    """Valid SQL that mpcd does not answer; the message says which part and what to write instead."""

    code = "mpc.PlanUnsupported"


class RangeTooWide(CallerFault):
    """From the declared bounds the result could overflow the widest field; nothing ran."""

    code = "mpc.RangeTooWide"


class MethodUnknown(CallerFault):
    """The API has no such method in this version."""

    code = "mpc.MethodUnknown"


class LimitExceeded(CallerFault):
    """A message, a nesting, or a number of calls or connections over its limit; the message names the limit."""

    code = "mpc.LimitExceeded"


class Lagged(CallerFault):
    """The watcher did not read its events in time; watch again from `next_seq`."""

    code = "mpc.Lagged"
    retryable = True

    def __init__(self, message: str, *, next_seq: int) -> None:
        super().__init__(message)
        self.next_seq = next_seq

    def data(self) -> dict[str, object]:
        """See `MpcdError`."""
        return {"next_seq": self.next_seq}


# ------------------------------------------------------------------------------------------------ peers


class PeerFault(MpcdError):
    """Another party is at fault or away."""

    code = "mpc.PeerFault"
    who_must_act = "peer"

    def __init__(self, party: PartyId | None, message: str) -> None:
        super().__init__(message)
        self.party = party

    def data(self) -> dict[str, object]:
        """See `MpcdError`."""
        return {} if self.party is None else {"party": int(self.party)}


class PeerGone(PeerFault):
    """Closed, unreachable or late; the session may be tried again."""

    code = "mpc.PeerUnavailable"
    retryable = True


class PeerMalformed(PeerFault):
    """Undecodable or out of turn; abort, no silent retry."""

    code = "mpc.PeerMalformed"


class PeerUnvouched(PeerFault):
    """It names an earlier question that we did not answer and that nothing it shows would have made us answer."""

    code = "mpc.PeerUnvouched"
    retryable = True


class CheatDetected(PeerFault):
    """A check on shares failed; nothing more was opened.  Which party cheated cannot be told from shares."""

    code = "mpc.CheatDetected"


# ------------------------------------------------------------------------------------------------ sessions


class SessionFault(MpcdError):
    """A session ended without a result."""

    code = "mpc.SessionAborted"
    who_must_act: ClassVar[WhoMustAct] = "analyst"
    retryable = True


class DeadlineExceeded(SessionFault):
    """The session's one deadline passed; the message names the step and the silent party where known."""

    code = "mpc.DeadlineExceeded"


class Busy(SessionFault):
    """A party is full; admission never waits while holding."""

    code = "mpc.Busy"


class PlanMismatch(SessionFault):
    """The parties planned the same request differently; the message says what differs."""

    code = "mpc.PlanMismatch"
    who_must_act = "operator"
    retryable = False


class ClockSkew(SessionFault):
    """Two parties' clocks differ by more than the limit; the operators must synchronise them."""

    code = "mpc.ClockSkew"
    who_must_act = "operator"


class Cancelled(SessionFault):
    """The analyst or an owner cancelled the session before it was recorded."""

    code = "mpc.Cancelled"
    retryable = False


class AwaitingApproval(SessionFault):
    """No owner refuses, but people must approve the request first; it waits and starts by itself."""

    code = "mpc.AwaitingApproval"
    who_must_act = "owner"
    retryable = False

    def __init__(self, message: str, request: bytes = b"") -> None:
        super().__init__(message)
        self.request = request
        """In the client: the digest of the request that waits."""


class ResultWithheld(SessionFault):
    """Recorded and debited but not released."""

    code = "mpc.ResultWithheld"
    retryable = False


class ResultInvalid(MpcdError):
    """In the client: the parties' sealed copies or signatures do not agree; the result must not be used."""

    code = "mpc.ResultInvalid"
    who_must_act = "analyst"


# ------------------------------------------------------------------------------------------------ policy


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why one owner does not allow a request."""

    party: PartyId
    rule: str
    """Name of the rule, e.g. `column-use`, `analyst`, `table`."""
    subject: str
    """What it is about, e.g. `gbsg2.age: group`."""
    message: str
    """One sentence that says who must do what."""


class Refused(MpcdError):
    """One or more owners' policies say no; every reason is given."""

    code = "mpc.Refused"
    who_must_act = "owner"

    def __init__(self, reasons: tuple[Refusal, ...]) -> None:
        if not reasons:
            raise Bug("a refusal needs a reason")
        super().__init__("; ".join(reason.message for reason in reasons))
        self.reasons = reasons

    def data(self) -> dict[str, object]:
        """See `MpcdError`."""
        return {
            "reasons": [
                {"party": int(r.party), "rule": r.rule, "subject": r.subject, "message": r.message}
                for r in self.reasons
            ]
        }


def closed_codes() -> dict[str, type[MpcdError]]:
    """All codes that may cross the local socket, each with its most general class."""
    codes: dict[str, type[MpcdError]] = {}
    pending: list[type[MpcdError]] = [MpcdError]
    while pending:
        kind = pending.pop(0)
        codes.setdefault(kind.code, kind)
        pending.extend(kind.__subclasses__())
    return codes
