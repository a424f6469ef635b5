"""The verbs of the domain `discovery` (layer 12, no I/O): what there is, as far as the one who asks may know it.

Roster     anybody at the socket: the signed roster, for a new analyst to pin
Describe   analyst: a signed inquiry; tables, uses, rules, duties and whom to ask, at every party
"""

from __future__ import annotations

from typing import Final

from mpcd import limits
from mpcd.api.verbs import Parameter, Verb

VERBS: Final[tuple[Verb, ...]] = (
    Verb("Card", "client"),
    Verb("Describe", "client", (Parameter("inquiry", "bytes", limits.INQUIRY_BYTES_MAX),)),
)
