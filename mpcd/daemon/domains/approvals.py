"""The domain `approvals` of the local API, answered (layer 13).

The owner's people see what waits for them and hand in what they signed.  An analyst asks after a request by its digest,
which only the parties know besides: whoever does not know it learns nothing, not even that it exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mpcd.api.types import Caller, Map
from mpcd.canonical import Value
from mpcd.daemon.approvaldesk import Item
from mpcd.daemon.waiting import digest_of

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class ApprovalsDomain:
    """Does what `api/domains/approvals.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node

    # ------------------------------------------------------------------------------------------ the owner's people

    async def list(self, _caller: Caller, _params: Map) -> Map:
        """All requests that are kept for this owner's people, the oldest first."""
        return {"requests": [_summary(item) for item in await self._node.approvals.items()]}

    async def show(self, _caller: Caller, params: Map) -> Map:
        """One request: what it asks, what it would open, who has said what."""
        item = await self._node.approvals.item(str(params["request"]))
        request, pending = item.request, item.pending
        return {
            **_summary(item),
            "text": request.text,
            "issued_at": request.issued_at * 1000,
            "told": [*pending.told],
            "data_versions": dict[str, Value](item.data_versions),
            "executions_max": item.requirement.executions_max,
            "rulings": [
                {
                    "approver": _name(self._node, held.signed.ruling.approver.raw),
                    "verdict": held.signed.ruling.verdict,
                    "decided_at": held.signed.ruling.decided_at,
                    "run_before": held.signed.ruling.run_before,
                    "executions": held.signed.ruling.executions,
                    "used": held.spent,
                    "reason": held.signed.ruling.reason,
                }
                for held in item.counted.last
            ],
        }

    async def form(self, _caller: Caller, params: Map) -> Map:
        """What an approver reads and decides about."""
        form = await self._node.approvals.form(str(params["request"]))
        return {"form": form.to_bytes(), "request": form.request.digest()}

    async def submit(self, _caller: Caller, params: Map) -> Map:
        """Take in what an approver signed."""
        return _summary(await self._node.approvals.submit(cast("bytes", params["ruling"])))

    # ------------------------------------------------------------------------------------------ the analyst

    async def state(self, _caller: Caller, params: Map) -> Map:
        """How a request stands; with a revision, as soon as that is an old one."""
        return await self._node.waiting.state(digest_of(params["request"]), cast("int | None", params.get("revision")))

    async def result(self, _caller: Caller, params: Map) -> Map:
        """Its result, sealed to its analyst."""
        return (await self._node.waiting.result(digest_of(params["request"]))).to_map()

    async def withdraw(self, _caller: Caller, params: Map) -> Map:
        """Take it back, signed by its analyst; let go of one that is over."""
        signature = cast("bytes", params["signature"])
        return {"state": await self._node.waiting.withdraw(digest_of(params["request"]), signature)}


def _summary(item: Item) -> Map:
    pending, counted = item.pending, item.counted
    return {
        "request": bytes(pending.request_digest),
        "state": item.state,
        "analyst": item.analyst,
        "fingerprint": item.request.analyst.fingerprint(),
        "purpose": item.request.purpose,
        "tables": [*pending.tables],
        "approved": len(counted.counted),
        "needed": counted.needed,
        "first_at": pending.first_at,
        "closes_at": pending.closes_at,
        "expires_at": pending.expires_at,
        "keeper": int(pending.keeper),
    }


def _name(node: Node, key: bytes) -> str:
    return next((one.name for one in node.policy.policy.approvers if one.key.raw == key), "")
