"""The domain `data` of the local API, answered (layer 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpcd.daemon.node import Node


class DataDomain:
    """Does what `api/domains/data.py` lists, a method a verb."""

    def __init__(self, node: Node) -> None:
        self._node = node
