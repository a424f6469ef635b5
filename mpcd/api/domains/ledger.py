"""The verbs of the domain `ledger` (layer 12, no I/O)."""

from __future__ import annotations

from typing import Final

from mpcd.api.verbs import Verb

VERBS: Final[tuple[Verb, ...]] = ()
