"""What a session needs from the shell, as protocols (no I/O here).

The daemon supplies the real ones (`net`, `store`, `sources`); tests supply fakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from mpcd.compile.physical import PhysicalPlan
from mpcd.compile.program import LocalCells
from mpcd.errors import Refusal
from mpcd.governance.entries import Debit
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, Role, SessionId
from mpcd.plan.ir import LogicalPlan
from mpcd.protocols.context import Transport
from mpcd.release.rule import Evidence


class Links(Protocol):
    """All roles' views of one session's channels."""

    def transport(self, role: Role) -> Transport:
        """The transport of one of our own roles."""
        ...

    def channel_hash(self, party: PartyId) -> bytes:
        """Handshake hash of the channel to `party` that this session is bound to."""
        ...

    def close(self) -> None:
        """Free everything; later messages of the session are dropped."""
        ...


class Network(Protocol):
    """Channels to the other parties."""

    def session(self, session_id: SessionId, places: Mapping[Role, PartyId]) -> Links:
        """Open the links of a session."""
        ...

    def channel_hash(self, party: PartyId) -> bytes:
        """Handshake hash of the present channel to `party`; raises `PeerGone`."""
        ...

    async def send_control(self, party: PartyId, message: dict[str, object]) -> None:
        """Send one control message; raises `PeerGone`."""
        ...


class PlannerPort(Protocol):
    """Plans SQL in a killable child."""

    async def plan(self, sql: str, as_of: date) -> LogicalPlan:
        """The logical plan; raises `PlanInvalid`, `PlanUnsupported`, `RangeTooWide`."""
        ...


class EnginePort(Protocol):
    """The local database."""

    def data_versions(self, tables: tuple[str, ...]) -> dict[str, str]:
        """Published data version by table; raises `DataInvalid` for a table that is not published here."""
        ...

    async def aggregate(
        self,
        plan: LogicalPlan,
        versions: Mapping[str, str],
        deadline_seconds: float,
        rows_per_person: int | None = None,
    ) -> LocalCells:
        """This owner's cells on exactly these versions; raises `EngineFailed`.

        `rows_per_person` is how many rows of one person may count; None: all.
        """
        ...

    async def evidence(
        self, plan: PhysicalPlan, asks: Sequence[str], versions: Mapping[str, str], deadline_seconds: float
    ) -> dict[str, Evidence]:
        """This owner's numbers for each rule that asks for some (`Executable.asks`), on exactly these versions.

        Raises:
            EngineFailed: as `aggregate`.
        """
        ...


class Journal(Protocol):
    """Durable state; every method is one transaction, done when it returns."""

    async def refused(self, request: SignedRequest, reasons: tuple[Refusal, ...]) -> None:
        """Asked and refused; burns the nonce, so that the request cannot be tried again here."""
        ...

    async def agreed(
        self,
        request: SignedRequest,
        session: SessionId,
        plan: PhysicalPlan,
        participants: frozenset[PartyId],
        debits: Sequence[Debit] = (),
    ) -> None:
        """First commit: entry, nonce, session row, debits.

        Raises:
            RequestInvalid: a replay.
            Refused: a debit would pass its limit.
        """
        ...

    async def recorded(
        self, request: SignedRequest, session: SessionId, plan: PhysicalPlan, sealed: bytes | None, receipt: bytes
    ) -> None:
        """Second commit: entry, signed receipt and sealed release bytes (None for one that does not compute)."""
        ...

    async def released(self, session: SessionId, parties: frozenset[PartyId]) -> None:
        """Every participant acknowledged; the sealed bytes may leave."""
        ...

    async def aborted(self, session: SessionId, code: str, *, refund: bool, step: str) -> None:
        """Ended before it was recorded."""
        ...

    async def withheld(self, session: SessionId, code: str) -> None:
        """Recorded and debited, not released."""
        ...

    async def state(self, session: SessionId) -> str | None:
        """The durable state of a session, None if it was never agreed here."""
        ...

    async def participants(self, session: SessionId) -> frozenset[PartyId]:
        """Whose acknowledgement the release of a session needs, from its `agreed` entry."""
        ...

    async def sealed(self, session: SessionId) -> bytes | None:
        """The recorded sealed bytes, always the same; None for an owner that does not compute."""
        ...
