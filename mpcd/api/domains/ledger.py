"""The verbs of the domain `ledger` (layer 12, no I/O).

Heads      owner: what this party remembers of its peers' ledgers, and what they signed of its own
Exchange   owner: show the ledger's head to every peer now; what became of it at each
Accept     owner: go on from a peer's ledger that contradicts what is remembered
Admit      owner: say that entries of this ledger were lost, signed, on the record
Erase      owner: the readable content of entries; their commitments stay
Archive    owner: old entries into files that are sealed and verified offline
Segments   owner: which files there are

`mpc.v1.LedgerVerify` and `mpc.v1.LedgerEntries` stand in `api.methods`.
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import Parameter, Verb

_TIME_MAX: Final = 2**53
_PARTY_MAX: Final = 2**31 - 1
_REASON: Final = Parameter("reason", "text", limits.LEDGER_REASON_CHARACTERS_MAX)
_BEFORE: Final = "before"

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Heads", "admin"),
    Verb("Exchange", "admin"),
    Verb("Accept", "admin", (Parameter("party", "integer", _PARTY_MAX), _REASON)),
    Verb("Admit", "admin", (_REASON,)),
    Verb(
        "Erase",
        "admin",
        (
            _REASON,
            Parameter("entries", "integers", limits.API_REQUEST_ITEMS_MAX, required=False),
            Parameter(_BEFORE, "integer", _TIME_MAX, required=False),
            Parameter("within_retention", "truth", 1, required=False),
        ),
    ),
    Verb(
        "Archive",
        "admin",
        (Parameter(_BEFORE, "integer", _TIME_MAX), Parameter("unseen", "truth", 1, required=False)),
    ),
    Verb("Segments", "admin"),
)
