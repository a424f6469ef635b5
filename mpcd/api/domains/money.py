"""The verbs of the domain `money`: statements, corrections, receipts (layer 12, no I/O).

`Statement` makes this party's statement of a month.  `Compare` asks the other parties for theirs, as far as they took
part in the same sessions, and says where they differ.  `Correct` signs a correction and gives it to all.
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import Parameter, Verb

_MONTH: Final = Parameter("month", "text", 7)

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Statement", "admin", (_MONTH,)),
    Verb("Compare", "admin", (_MONTH,)),
    Verb(
        "Correct",
        "admin",
        (
            _MONTH,
            Parameter("licence", "text", 64),
            Parameter("amount", "text", 40),
            Parameter("currency", "text", 3),
            Parameter("reason", "text", limits.CORRECTION_CHARACTERS_MAX),
        ),
    ),
    Verb("Receipt", "client", (Parameter("session", "bytes", 32),)),
)
