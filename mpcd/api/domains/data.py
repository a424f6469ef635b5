"""The verbs of the domain `data` (layer 12, no I/O): an owner's data versions, and persons who opted out.

Check      what a snapshot of some files would be; changes nothing
Publish    make a snapshot, or take one that is here, and let it answer from now on
Versions   every version that is here
Retire     let no new session use a version, and delete it when none uses it
Overlap    how many persons the owners of a table share, as a band
OptOut     put persons on the opt-out list, or take them off it
OptedOut   the list, a piece at a time
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import NAME_CHARACTERS_MAX, PATHS_MAX, Parameter, Verb

_TABLE: Final = Parameter("table", "text", NAME_CHARACTERS_MAX)
_PATHS: Final = Parameter("paths", "texts", PATHS_MAX, required=False)
_REASON: Final = Parameter("reason", "text", limits.LEDGER_REASON_CHARACTERS_MAX)

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Check", "admin", (_TABLE, _PATHS)),
    Verb(
        "Publish",
        "admin",
        (
            _TABLE,
            _PATHS,
            Parameter("data_version", "text", NAME_CHARACTERS_MAX, required=False),
            Parameter("forced", "text", limits.LEDGER_REASON_CHARACTERS_MAX, required=False),
            Parameter("yes", "truth", 1, required=False),
        ),
    ),
    Verb("Versions", "admin", (Parameter("tables", "texts", PATHS_MAX, required=False),)),
    Verb(
        "Retire",
        "admin",
        (
            _TABLE,
            Parameter("data_version", "text", NAME_CHARACTERS_MAX),
            _REASON,
            Parameter("withdraw", "truth", 1, required=False),
        ),
    ),
    Verb("Overlap", "admin", (_TABLE,)),
    Verb(
        "OptOut",
        "admin",
        (Parameter("ids", "texts", limits.OPT_OUT_IDS_PER_CALL_MAX), Parameter("add", "truth", 1)),
    ),
    Verb("OptedOut", "admin", (Parameter("start", "integer", limits.OPT_OUT_IDS_MAX),)),
)
