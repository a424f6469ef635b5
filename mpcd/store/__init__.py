"""What survives a stop: ledger, sessions, burnt nonces, debits and sealed results in SQLite; key files (layer 11)."""

from mpcd.store.ledger import LedgerHead, LedgerReport, LedgerRow
from mpcd.store.store import DurableState, NonceUse, SessionRow, StartReport, Store

__all__ = [
    "DurableState",
    "LedgerHead",
    "LedgerReport",
    "LedgerRow",
    "NonceUse",
    "SessionRow",
    "StartReport",
    "Store",
]
