"""What one owner decides about one request: facts in, a `Decision` out (pure: no clock, no I/O).

Theory of operation.  Every owner plans a request for itself and writes down what it then knows as an `Asked`.  Each
domain that has a say is a *part*, a function from `Asked` to a `Decision` of its own: the policy (analyst, purpose,
column uses, granularity, security), licences, approvals, privacy loss.  `decide_all` joins them.  Parts are told only
about tables that exist for the analyst, so that none of them can name another one.

A `Decision` says everything at once, so that an analyst does not find reasons one at a time:

- `refusals`: why the answer is no, whatever happens later;
- `waits`: what is missing but may still come, a person's approval;
- `debits`: what `commit_agreed` books if the session runs: budgets, quotas, rates;
- `line`: this owner's price, if it is to be paid;
- `terms`: what else the other parties and the analyst must know; a canonical map, part of the plan that all hash.

Debits are compared with what is spent twice: here, so that `explain` and `quote` can say that a budget is used up, and
again inside the transaction that books them, which alone counts (two sessions at once cannot pass the same check).
"""

from __future__ import annotations

from mpcd.governance.asked import Asked, Decision, Fineness, RequestKind, Verdict, Wait

__all__ = ["Asked", "Decision", "Fineness", "RequestKind", "Verdict", "Wait"]
