"""What a session needs from outside, handed to whoever conducts it (layer 13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mpcd import limits
from mpcd.compile.beside import Beside
from mpcd.compile.physical import PhysicalPlan
from mpcd.daemon.attempt import Attempt, Run
from mpcd.errors import (
    PeerGone,
    Refusal,
)
from mpcd.governance.decision import Decision
from mpcd.governance.disclosure import DisclosureRules
from mpcd.governance.policy import Security
from mpcd.identity import SigningKey, VerifyKey
from mpcd.identity.request import SignedRequest
from mpcd.ids import PartyId, RosterHash
from mpcd.plan.ir import LogicalPlan
from mpcd.roster import Roster
from mpcd.session.ports import EnginePort, Journal, Network, PlannerPort

Message = dict[str, object]


class Owner(Protocol):
    """This party's own policy, as it stands now."""

    async def decide(
        self, request: SignedRequest, plan: LogicalPlan, versions: Mapping[str, str], attempt: Attempt
    ) -> Decision:
        """What this owner says to the request: every reason against it, what it waits for, takes and asks for it."""
        ...

    async def ask_approvers(
        self, request: SignedRequest, plan: PhysicalPlan, rules_of: Mapping[str, PartyId], keeper: PartyId
    ) -> None:
        """Keep the request for this owner's people to decide; nothing else stands against it anywhere."""
        ...

    def security(self) -> Security:
        """The weakest security that this owner accepts."""
        ...

    def rules(self) -> DisclosureRules:
        """This owner's disclosure rules."""
        ...


@dataclass(slots=True)
class Settings:
    """What the daemon gives to all sessions."""

    me: PartyId
    roster: Roster
    roster_hash: RosterHash
    signing_key: SigningKey
    entropy: Callable[[int], bytes]
    utc_seconds: Callable[[], float]
    session_seconds_max: float = limits.SESSION_SECONDS_MAX
    sessions_max: int = limits.SESSIONS_RUNNING_MAX
    admit: Callable[[VerifyKey, float], None] = lambda _key, _now: None
    """Raises `Busy` where a key has too much put on the record; see `daemon.rates`."""
    accepts: Callable[[VerifyKey, int], bool] = lambda _key, _at: True
    """Whether this party accepts an analyst, at a time in milliseconds; where it does not, it tells them nothing."""


class Past(Protocol):
    """What this party has answered before, and what a question must be kept apart from; see `daemon.history`."""

    def answer(
        self, attempt: bytes, request: SignedRequest, plan: LogicalPlan, at: int, *, dry_run: bool
    ) -> tuple[bytes, tuple[Refusal, ...]]:
        """List what we know and register what is asked, in one step; or why it is refused."""
        ...

    async def beside(self, plan: LogicalPlan, lists: Mapping[PartyId, bytes]) -> Beside:
        """The pairs that follow from all owners' lists; raises `Busy`, `PlanUnsupported`, ValueError."""
        ...

    async def over(self, attempt: bytes) -> None:
        """The attempt has ended."""
        ...


@dataclass(slots=True)
class Shell:
    """What a session needs from outside; see `session.ports`."""

    settings: Settings
    network: Network
    planner: PlannerPort
    engine: EnginePort
    owner: Owner
    journal: Journal
    log: Callable[..., None]
    spawn: Callable[..., None]
    """Starts a task that outlives the session."""
    known: Callable[[Run, Attempt], None]
    """Told once the session has its id, so that messages that name it find their attempt."""
    past: Past

    @property
    def others(self) -> list[PartyId]:
        """Every other party of the roster."""
        return [party.id for party in self.settings.roster.parties if party.id != self.settings.me]

    async def tell(self, parties: Sequence[PartyId] | frozenset[PartyId], message: Message) -> set[PartyId]:
        """Send to each; returns who is away."""
        away = set()
        for party in parties:
            try:
                await self.network.send_control(party, message)
            except PeerGone as error:
                self.log("message_not_sent", party=int(party), kind=str(message["type"]), reason=str(error))
                away.add(party)
        return away
