"""The domain `data` of the local API, answered (layer 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mpcd import limits
from mpcd.api.types import Caller, Map
from mpcd.canonical import Value

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class DataDomain:
    """Does what `api/domains/data.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def check(self, caller: Caller, params: Map) -> Map:
        """What a snapshot of some files would be."""
        return await self._node.snapshots.check(str(params["table"]), _texts(params, "paths"), _by(caller))

    async def publish(self, caller: Caller, params: Map) -> Map:
        """Let a version answer from now on."""
        return await self._node.snapshots.publish(
            str(params["table"]),
            _texts(params, "paths"),
            cast("str | None", params.get("data_version")),
            forced=str(params.get("forced", "")).strip(),
            by=_by(caller),
            yes=params.get("yes") is True,
        )

    async def versions(self, _caller: Caller, params: Map) -> Map:
        """Every version that is here."""
        tables = _texts(params, "tables") or None
        return {"tables": list[Value](await self._node.snapshots.versions(tables))}

    async def retire(self, caller: Caller, params: Map) -> Map:
        """Let no new session use a version."""
        return await self._node.snapshots.retire(
            str(params["table"]),
            str(params["data_version"]),
            str(params["reason"]),
            withdraw=params.get("withdraw") is True,
            by=_by(caller),
        )

    async def overlap(self, caller: Caller, params: Map) -> Map:
        """How many persons the owners of a table share."""
        return await self._node.overlaps.check(str(params["table"]), _by(caller))

    async def opt_out(self, caller: Caller, params: Map) -> Map:
        """Change the opt-out list."""
        return await self._node.snapshots.opt_out(_texts(params, "ids"), add=params["add"] is True, by=_by(caller))

    async def opted_out(self, _caller: Caller, params: Map) -> Map:
        """A piece of the opt-out list."""
        return await self._node.snapshots.opted_out(cast("int", params["start"]), limits.OPT_OUT_IDS_PER_CALL_MAX)


def _texts(params: Map, key: str) -> list[str]:
    return [str(item) for item in cast("list[Value]", params.get(key) or [])]


def _by(caller: Caller) -> str:
    return f"uid {caller.uid}"
