"""One file a domain: its verbs, answered for this daemon's local callers (layer 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcd.daemon.domains.access import AccessDomain
from mpcd.daemon.domains.approvals import ApprovalsDomain
from mpcd.daemon.domains.data import DataDomain
from mpcd.daemon.domains.discovery import DiscoveryDomain
from mpcd.daemon.domains.ledger import LedgerDomain
from mpcd.daemon.domains.licences import LicencesDomain
from mpcd.daemon.domains.money import MoneyDomain
from mpcd.daemon.domains.policy import PolicyDomain
from mpcd.daemon.domains.privacy import PrivacyDomain

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


def make(node: Node) -> dict[str, object]:
    """All domains of one daemon, by the names of `api.domains.DOMAINS`."""
    return {
        "policy": PolicyDomain(node),
        "data": DataDomain(node),
        "approvals": ApprovalsDomain(node),
        "licences": LicencesDomain(node),
        "access": AccessDomain(node),
        "money": MoneyDomain(node),
        "ledger": LedgerDomain(node),
        "discovery": DiscoveryDomain(node),
        "privacy": PrivacyDomain(node),
    }
