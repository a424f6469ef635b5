"""What survives a stop: ledger, sessions, burnt nonces, debits and sealed results in SQLite; key files (layer 11).

Names are loaded when first used: a client that only reads its key file does not pay for SQLite.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mpcd.governance.chain import LedgerHead
    from mpcd.store.ledger import LedgerReport, LedgerRow
    from mpcd.store.store import DurableState, NonceUse, SessionRow, StartReport, Store, verify_ledger

__all__ = [
    "DurableState",
    "LedgerHead",
    "LedgerReport",
    "LedgerRow",
    "NonceUse",
    "SessionRow",
    "StartReport",
    "Store",
    "verify_ledger",
]

_FROM_LEDGER: Final = frozenset({"LedgerHead", "LedgerReport", "LedgerRow"})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mpcd.store.ledger" if name in _FROM_LEDGER else "mpcd.store.store"), name)
