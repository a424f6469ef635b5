"""The verbs of the domain `policy` (layer 12, no I/O): what an owner allows, and what its budgets hold.

Show     owner: the policy in force, as the daemon understood it, with what is wrong about it
Check    owner: what a text would mean as the policy here, without bringing it into force
Budgets  owner: what has been taken of each table's budget, and what is left
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import PATH_CHARACTERS_MAX, Parameter, Verb

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Show", "admin"),
    Verb(
        "Check",
        "admin",
        (Parameter("text", "text", limits.POLICY_CHECK_CHARACTERS_MAX), Parameter("path", "text", PATH_CHARACTERS_MAX)),
    ),
    Verb("Budgets", "admin"),
)
