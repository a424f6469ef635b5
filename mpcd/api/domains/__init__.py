"""One file a domain: which verbs it has, who may use them, which parameters they take (layer 12, no I/O)."""

from __future__ import annotations

from typing import Final

from mpcd.api.domains import access, approvals, data, discovery, ledger, licences, money, policy, privacy
from mpcd.api.verbs import Verb

DOMAINS: Final[dict[str, tuple[Verb, ...]]] = {
    "policy": policy.VERBS,
    "data": data.VERBS,
    "approvals": approvals.VERBS,
    "licences": licences.VERBS,
    "access": access.VERBS,
    "money": money.VERBS,
    "ledger": ledger.VERBS,
    "discovery": discovery.VERBS,
    "privacy": privacy.VERBS,
}
