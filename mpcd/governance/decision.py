"""What one owner decides about one request: facts in, a `Decision` out (pure: no clock, no I/O).

Theory of operation.  Every owner plans a request for itself and writes down what it then knows as an `Asked`.  Each
domain that has a say is a *part*, a function from `Asked` to a `Decision` of its own: the policy (analyst, purpose,
column uses, granularity, security), licences, approvals, privacy loss.  `decide_all` joins them.  Parts are told only
about tables that exist for the analyst, so that none of them can name another one.

A `Decision` says everything at once, so that an analyst does not find reasons one at a time:

- `refusals`: why the answer is no, whatever happens later;
- `waits`: what is missing but may still come, a person's approval;
- `debits`: what `commit_agreed` books if the session runs: budgets, quotas, prices;
- `line`: this owner's price, if it is to be paid;
- `terms`: what else the other parties and the analyst must know; a canonical map, part of the plan that all hash.

Debits are compared with what is spent twice: here, so that `explain` and `quote` can say that a budget is used up, and
again inside the transaction that books them, which alone counts (two sessions at once cannot pass the same check).
"""

from __future__ import annotations

from collections.abc import Callable

from mpcd.errors import Refusal
from mpcd.governance.asked import Asked, Decision, Verdict, Wait
from mpcd.governance.budget import overdrawn
from mpcd.governance.entries import Debit
from mpcd.governance.granularity import Fineness
from mpcd.governance.permission import exists, permitted
from mpcd.governance.policy import Policy
from mpcd.governance.published import Requirement
from mpcd.identity.request import RequestKind

__all__ = ["Asked", "Decision", "Fineness", "Part", "RequestKind", "Verdict", "Wait", "decide_all", "with_balances"]

Part = Callable[[Asked], Decision]
"""One domain's say; it is told only about the tables that concern it and exist for the analyst."""


def decide_all(
    policy: Policy,
    asked: Asked,
    *,
    licences: Part | None = None,
    approvals: Callable[[Asked, Requirement], Decision] | None = None,
    privacy: Part | None = None,
) -> Decision:
    """Everything that this owner says to the request, but for what is spent (`with_balances`).

    A part that is needed and not there is a refusal, never a permission.

    Args:
        policy: of this owner.
        asked: `accepted` is who the analyst is to this owner, by the policy file or by an access entry.
        licences: asked about the tables that need a licence.
        approvals: asked about the tables whose policy wants people to approve, with the strictest requirement.
        privacy: asked where the request is for differential privacy: what it takes from budgets.
    """
    decision = permitted(policy, asked)
    tables = exists(policy, asked)
    if not tables:
        return decision
    known = asked.narrowed(tuple(tables))
    licensed = tuple(name for name, table in tables.items() if table.licence == "required")
    if licensed:
        decision = decision.joined(_ask(licences, known.narrowed(licensed), "licence", "licences"))
    requirement = policy.requirement(tuple(tables))
    if requirement is not None:
        needing = tuple(name for name, table in tables.items() if table.approvals is not None)
        part: Part | None = None if approvals is None else lambda about: approvals(about, requirement)
        decision = decision.joined(_ask(part, known.narrowed(needing), "approval", "approvals"))
    if asked.privacy is not None and all(table.budget.allows_noise for table in tables.values()):
        decision = decision.joined(_ask(privacy, known, "privacy", "differential privacy"))
    return decision


def with_balances(decision: Decision, spent: Callable[[Debit], int]) -> Decision:
    """The decision, refusing besides what the accounts no longer hold.

    Args:
        decision: with its debits.
        spent: what a debit's account has taken so far, since `debit.since` where it has one.
    """
    return decision.joined(Decision(refusals=overdrawn(decision.debits, spent)))


def _ask(part: Part | None, asked: Asked, rule: str, what: str) -> Decision:
    if part is not None:
        return part(asked)
    message = f"party {asked.party} demands {what}, which it cannot decide on; ask that owner"
    return Decision(refusals=tuple(Refusal(asked.party, rule, table, message) for table in asked.tables))
