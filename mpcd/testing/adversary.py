"""Ready-made adversaries for the lock-step driver: one corrupt party that changes what it sends, and what it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from mpcd.errors import Bug
from mpcd.ids import Role
from mpcd.testing.lockstep import Message

Change = Literal["flip", "add", "drop", "double", "shorten", "lengthen", "overflow"] | Callable[[bytes], bytes]
CHANGES: Final = ("flip", "add", "drop", "double", "shorten", "lengthen")
"""The changes that fit any message; `overflow` fits field elements."""


def _changed(payload: bytes, change: Change) -> list[bytes]:
    """The payloads that go out instead of one."""
    if callable(change):
        return [change(payload)]
    match change:
        case "flip":
            return [bytes([payload[0] ^ 1]) + payload[1:]]
        case "add":
            return [
                ((int.from_bytes(payload, "little") + 1) % (1 << 8 * len(payload))).to_bytes(len(payload), "little")
            ]
        case "drop":
            return []
        case "double":
            return [payload, payload]
        case "shorten":
            return [payload[:-1]]
        case "lengthen":
            return [payload + b"\0"]
        case "overflow":
            return [b"\xff" * len(payload)]
    raise Bug(f"no such change: {change}")


class Tamper:
    """Sends honest messages but for one step, whose messages it changes."""

    def __init__(self, role: Role, step: str, change: Change = "flip", receiver: Role | None = None) -> None:
        self.role = role
        self.step = step
        self.change = change
        self.receiver = receiver
        self.hits = 0
        """Messages changed so far; a test that expects an abort asserts that there were some."""

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """Change the messages of our step."""
        del sweep, seen
        sent = []
        for message in ours:
            if not self._concerns(message):
                sent.append(message)
                continue
            self.hits += 1
            sent.extend(replace(message, payload=payload) for payload in _changed(message.payload, self.change))
        return sent

    def _concerns(self, message: Message) -> bool:
        at_step = message.step == self.step or message.step.endswith(f"/{self.step}")
        return at_step and self.receiver in {None, message.receiver}


class Observer:
    """Sends honest messages, and keeps all that its party receives: the view of a semi-honest party."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.view: list[Message] = []

    def act(self, sweep: int, ours: list[Message], seen: list[Message]) -> list[Message]:
        """Keep what we see."""
        del sweep
        self.view.extend(seen)
        return ours
