"""What an owner allows, decides and writes down: pure values and functions (layer 4, no I/O)."""

from mpcd.governance.disclosure import ENFORCED, PROFILES, DisclosureRules, RulesInvalidError, strictest
from mpcd.governance.entries import Debit, EntryKind, LedgerEntry
from mpcd.governance.policy import (
    VERBS,
    AcceptedAnalyst,
    Policy,
    PublishedTable,
    Security,
    Verb,
    visible_tables,
)

__all__ = [
    "ENFORCED",
    "PROFILES",
    "VERBS",
    "AcceptedAnalyst",
    "Debit",
    "DisclosureRules",
    "EntryKind",
    "LedgerEntry",
    "Policy",
    "PublishedTable",
    "RulesInvalidError",
    "Security",
    "Verb",
    "strictest",
    "visible_tables",
]
