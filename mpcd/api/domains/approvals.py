"""The verbs of the domain `approvals` (layer 12, no I/O)."""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import NAME_CHARACTERS_MAX, Parameter, Verb

_NAMED: Final = Parameter("request", "text", NAME_CHARACTERS_MAX)
_DIGEST: Final = Parameter("request", "bytes", 32)

VERBS: Final[tuple[Verb, ...]] = (
    # for the owner's people
    Verb("List", "admin"),
    Verb("Show", "admin", (_NAMED,)),
    Verb("Form", "admin", (_NAMED,)),
    Verb("Submit", "admin", (Parameter("ruling", "bytes", limits.APPROVAL_FORM_BYTES_MAX),)),
    # for the analyst of a request that waits: its digest is known to nobody else but the parties
    Verb("State", "client", (_DIGEST, Parameter("revision", "integer", 2**53, required=False))),
    Verb("Result", "client", (_DIGEST,)),
    Verb("Withdraw", "client", (_DIGEST, Parameter("signature", "bytes", 64))),
)
