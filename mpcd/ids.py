"""Newtypes for the names that cross package borders (layer 0, no I/O).

A *party* is a hospital's daemon.  Its `PartyId` is the small integer that the roster gives it, unique for ever.  Inside
one session the core speaks of *roles*: `Role("compute", 0)` is the first of the three compute parties, `Role("input",
4)` the fifth owner that gives data, `Role("analyst", 0)` the one who learns the result.  A daemon that gives data and
computes runs two roles.  Which party plays which role is a value of the physical plan, never a global.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, NewType

PartyId = NewType("PartyId", int)
SessionId = NewType("SessionId", bytes)
"""32 bytes, derived by all parties from everybody's fresh nonce; never chosen by one."""
PlanHash = NewType("PlanHash", bytes)
RosterHash = NewType("RosterHash", bytes)
RequestDigest = NewType("RequestDigest", bytes)
DataVersion = NewType("DataVersion", str)
"""Lower-case hexadecimal SHA-256 of an immutable snapshot of one owner's tables."""
Step = NewType("Step", str)
"""Path of a protocol call, `/` between its parts; used once in a session; routes messages and keys the PRSS."""

RoleKind = Literal["input", "compute", "analyst"]


class Role(NamedTuple):
    """Who speaks inside a session: the kind of role and its 0-based index among the roles of that kind."""

    kind: RoleKind
    index: int  # type: ignore[assignment]  # shadows tuple.index, which no role needs

    def __str__(self) -> str:
        return f"{self.kind}{self.index}"


COMPUTE_PARTIES: Final = 3
COMPUTE_ROLES: Final = (Role("compute", 0), Role("compute", 1), Role("compute", 2))
