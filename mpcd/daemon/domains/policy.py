"""The domain `policy` of the local API, answered (layer 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class PolicyDomain:
    """Does what `api/domains/policy.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
