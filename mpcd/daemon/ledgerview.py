"""Ledger entries as administrators are shown them: the request read, its analyst named (layer 13, pure)."""

from __future__ import annotations

from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.errors import MpcdError
from mpcd.governance.policy import Policy
from mpcd.identity.request import SignedRequest
from mpcd.store.ledger import LedgerRow


def entry_map(row: LedgerRow, policy: Policy) -> Map:
    """One entry; `content_state` says why there may be no content, `asked` is the request that stands in it."""
    return {
        "seq": row.sequence,
        "at": row.time_milliseconds / 1000,
        "kind": row.kind,
        "hash": row.hash,
        "session": row.session,
        "content": row.content,
        "content_state": "kept" if row.content is not None else "changed" if row.erased_by is None else "erased",
        "erased_by": row.erased_by,
        "asked": None if row.content is None else _asked(row.content, policy),
    }


def _asked(content: dict[str, Value], policy: Policy) -> Map | None:
    encoded = content.get("request")
    if not isinstance(encoded, bytes):
        return None
    try:
        request = SignedRequest.from_bytes(encoded).request
    except MpcdError:
        return None
    accepted = policy.accepted(request.analyst)
    return {
        "sql": request.text,
        "purpose": request.purpose,
        "analyst": None if accepted is None else accepted.name,
        "analyst_key": str(request.analyst),
        "fingerprint": request.analyst.fingerprint(),
    }
