"""What an owner knows of a request, and what it, or one part of it, says to it: the two types of deciding (pure).

`mpcd.governance.decision` joins the parts and re-exports these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, Self

from mpcd.canonical import Value
from mpcd.errors import Refusal
from mpcd.governance.disclosure import ENFORCED
from mpcd.governance.entries import Debit
from mpcd.governance.granularity import Fineness
from mpcd.governance.people import AcceptedAnalyst, AnalystFacts
from mpcd.governance.policy import Security
from mpcd.governance.quote import Line
from mpcd.identity import VerifyKey
from mpcd.identity.request import RequestKind
from mpcd.ids import PartyId, RequestDigest

Verdict = Literal["agree", "await", "refuse"]

_NOTHING: Final[Mapping[str, Value]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """What an owner knows of a request that it planned itself."""

    party: PartyId
    """This owner."""
    analyst: VerifyKey
    kind: RequestKind
    tables: tuple[str, ...]
    """Ascending, each once."""
    uses: Mapping[str, frozenset[str]]
    """By `table.column`, the verbs that the planner derived."""
    functions: frozenset[str]
    """Names of the aggregates, lower case: `count`, `sum`, `avg`, `var_samp`, `corr`, ..."""
    purpose: str
    security: Security
    """What the session would give."""
    request_digest: RequestDigest
    """Of the very request: with nonce, times and quote."""
    question_digest: bytes
    """Of what is asked, by whom, for what purpose, under which roster; 32 bytes."""
    data_versions: Mapping[str, str]
    """By table, of this owner's own data; empty for an owner that gives none."""
    at: int
    """The session's time, milliseconds since 1970, UTC: expiry, quota and month are decided by it."""
    owners: tuple[PartyId, ...] = ()
    """All owners that give data to the plan, ascending."""
    fineness: tuple[Fineness, ...] = ()
    privacy: bytes | None = None
    """Canonical map of `privacy.Ask`; None: no differential privacy."""
    quote_digest: bytes | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    """What travelled with the proposal, such as `quote`; trusted with nothing."""
    wait_seconds: int = 0
    """How long the request may wait for approvals; 0: not at all."""
    enforced: frozenset[str] = ENFORCED
    """Names of the disclosure rules that the session's release gate evaluates."""
    accepted: AcceptedAnalyst | None = None
    """The analyst as this owner accepted them, in the policy or by an access entry; None: not accepted."""

    @property
    def facts(self) -> AnalystFacts:
        """Who the analyst is; of one who is not accepted nothing is known."""
        return AnalystFacts("") if self.accepted is None else self.accepted.facts

    def narrowed(self, tables: tuple[str, ...]) -> Self:
        """The same request as far as it concerns `tables`."""
        kept = set(tables)
        return replace(
            self,
            tables=tuple(table for table in self.tables if table in kept),
            uses={path: verbs for path, verbs in self.uses.items() if path.partition(".")[0] in kept},
            data_versions={table: version for table, version in self.data_versions.items() if table in kept},
            fineness=tuple(fine for fine in self.fineness if fine.path.partition(".")[0] in kept),
        )


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is missing and may still come: the request is neither refused nor may it run."""

    party: PartyId
    rule: str
    """Name of the rule, e.g. `approval`."""
    subject: str
    """What it is about; never who else has approved or may."""
    message: str
    """One sentence that says who must do what."""
    until: int | None = None
    """Milliseconds since 1970 after which it can no longer come; None: no limit of its own."""

    def refusal(self) -> Refusal:
        """The same as a reason to say no, for a request that does not wait."""
        return Refusal(self.party, self.rule, self.subject, self.message)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one owner, or one part of its decision, says; the default has no objection and takes nothing."""

    refusals: tuple[Refusal, ...] = ()
    waits: tuple[Wait, ...] = ()
    debits: tuple[Debit, ...] = ()
    line: Line | None = None
    """This owner's price, if there is one."""
    terms: Mapping[str, Value] = field(default_factory=lambda: _NOTHING)

    @property
    def verdict(self) -> Verdict:
        """No beats wait, wait beats yes."""
        if self.refusals:
            return "refuse"
        return "await" if self.waits else "agree"

    def joined(self, other: Decision) -> Decision:
        """Both; at most one has a line, and no name of a term or account occurs in both."""
        assert self.line is None or other.line is None
        assert not self.terms.keys() & other.terms.keys()
        assert not {debit.account for debit in self.debits} & {debit.account for debit in other.debits}
        return Decision(
            self.refusals + other.refusals,
            self.waits + other.waits,
            self.debits + other.debits,
            other.line if self.line is None else self.line,
            {**self.terms, **other.terms},
        )
