"""The physical plan: everything that all parties must agree on before anything runs, and its hash (pure).

It is the logical plan (what each owner computes at home, which values and gates there are) together with the strictest
of the owners' disclosure rules, who gives data and who computes, and the data version of every owner's tables.  Its
canonical bytes reach the analyst with the result: their digest is the plan hash that every compute party's signature
covers, so the shape by which the client reads the shares is signed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from mpcd import canonical
from mpcd.compile.beside import Beside
from mpcd.compile.privacy import PlanPrivacy, of_plan
from mpcd.field.bits import words_for
from mpcd.governance.disclosure import DisclosureRules
from mpcd.ids import PartyId, PlanHash
from mpcd.plan.ir import LogicalPlan

PLAN_VERSION: Final = 2
HASH_DOMAIN: Final = "plan"
Security = Literal["malicious", "semi-honest"]


@dataclass(frozen=True)
class PhysicalPlan:
    """What runs; equal canonical bytes mean the same computation on the same data versions."""

    logical: LogicalPlan
    rules: DisclosureRules
    owners: tuple[PartyId, ...]
    """Who gives data, in the order of their input roles."""
    compute: tuple[PartyId, PartyId, PartyId]
    data_versions: Mapping[PartyId, Mapping[str, str]]
    """Data version by owner and table."""
    security: Security = "malicious"
    """Semi-honest only if every owner's policy allows it."""
    terms: Mapping[str, canonical.Value] = field(default_factory=dict)
    """What is agreed besides: time, prices, history, noise; see `session.terms`."""
    beside: Beside | None = field(default=None, compare=False, repr=False)
    """What the answer is kept apart from: made of the lists to which `terms` binds the plan; only where it runs."""

    def to_value(self) -> dict[str, object]:
        """The canonical map whose digest is the plan hash."""
        return {
            "version": PLAN_VERSION,
            "logical": self.logical.to_value(),
            "rules": self.rules.to_value(),
            "owners": [int(party) for party in self.owners],
            "compute": [int(party) for party in self.compute],
            "data_versions": [[int(party), dict(self.data_versions[party])] for party in self.owners],
            "security": self.security,
            "terms": dict(self.terms),
            "privacy": None if self.privacy is None else self.privacy.to_value(),
        }

    @cached_property
    def privacy(self) -> PlanPrivacy | None:
        """The noise that the analyst asked for; None: exact numbers, under the disclosure rules.

        Raises:
            RequestInvalid: what was asked for is no such ask.
            PlanUnsupported: it cannot be kept for this question.
        """
        asked = self.terms.get("privacy")
        return of_plan(self.logical, asked) if isinstance(asked, bytes) else None

    @cached_property
    def encoded(self) -> bytes:
        """Canonical bytes of the plan."""
        return canonical.encode(self.to_value())

    @cached_property
    def hash(self) -> PlanHash:
        """Digest of the canonical bytes, 32 bytes."""
        return PlanHash(canonical.digest_bytes(HASH_DOMAIN, self.encoded))

    # ------------------------------------------------------------------------------------------ sizes, all public

    @property
    def cell_count(self) -> int:
        """Cells of the answer: the product of the keys' domains, 1 without keys."""
        return self.logical.cells

    @property
    def cell_words(self) -> int:
        """64-bit words that hold one bit for each cell; every cohort and gate starts on a word."""
        return words_for(self.cell_count)

    def values_of(self, field: str) -> tuple[int, ...]:
        """Indices of the values summed over `field` ("p" or "q"), in plan order."""
        return tuple(index for index, value in enumerate(self.logical.values) if value.field == field)
