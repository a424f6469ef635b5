from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mpcd.daemon.node import Node
from mpcd.errors import PeerGone
from mpcd.ids import PartyId
from mpcd.net import Event


@pytest.mark.parametrize(
    ("name", "another", "told"),
    [
        ("channel-lost", False, True),
        ("channel-lost", True, True),
        ("channel-closed", False, True),
        ("channel-closed", True, False),
    ],
)
def test_what_waits_for_a_peer_is_told_when_its_channel_is_lost(name: Any, another: bool, told: bool) -> None:
    """A channel that drained and closed is no loss while another one is there; one that broke always is."""
    lost: list[tuple[str, int]] = []

    def channel_hash(party: PartyId) -> bytes:
        if another:
            return bytes(64)
        raise PeerGone(party, "away")

    node: Any = object.__new__(Node)
    node.log = SimpleNamespace(info=lambda *_, **__: None, warning=lambda *_, **__: None)
    node.mesh = SimpleNamespace(channel_hash=channel_hash)
    node.sessions = SimpleNamespace(lost=lambda party: lost.append(("sessions", int(party))))
    node.questions = SimpleNamespace(lost=lambda party: lost.append(("questions", int(party))))
    node._network_event(Event(name, "text", PartyId(2), {}))
    assert lost == ([("sessions", 2), ("questions", 2)] if told else [])
