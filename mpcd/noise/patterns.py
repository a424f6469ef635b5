"""Handshake patterns as data, and the protocol names that select them (layer 1, no I/O).

Source: The Noise Protocol Framework, revision 34: one-way patterns 7.4, interactive fundamental patterns 7.5, the psk
    modifiers 9, names 8; KEM-based hybrid forward secrecy (`hfs`): noise_hfs_spec, revision 1.

Theory of operation.  A pattern is what each side knows beforehand and, for each message, the tokens in order.  A token
is the whole meaning of a step: `handshake.py` has one arm for each.  A modifier changes the table, never the machine:
`psk0` puts a `psk` before the first message's tokens, `pskN` after the N-th message's.  `hfs` adds `e1` and `ekem1`;
that draft contradicts itself on where, so the two patterns that are provided with it are written out and nothing is
derived:

    XKhfs   <- s                          XXhfs
            ...
            -> e, es, e1                          -> e, e1
            <- e, ee, ekem1                       <- e, ee, ekem1, s, es
            -> s, se                              -> s, se

Deferred patterns (X1K and the like), fallback and compound protocols are not provided; their names raise
`SuiteUnsupported`.  Modifiers stand in alphabetical order, as section 8 asks where order does not matter, so one
protocol has one name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mpcd.noise.errors import SuiteUnsupported


class Token(Enum):
    """One step of a message, with the specification's name."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"
    E1 = "e1"
    EKEM1 = "ekem1"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake as data; messages alternate, the initiator sends the first."""

    name: str
    knows_initiator: bool
    """The responder knows the initiator's static key beforehand (pre-message `-> s`)."""
    knows_responder: bool
    """The initiator knows the responder's static key beforehand (pre-message `<- s`)."""
    messages: tuple[tuple[Token, ...], ...]

    @property
    def one_way(self) -> bool:
        """Whether only the initiator ever sends."""
        return len(self.messages) == 1

    @property
    def psk_count(self) -> int:
        """How many pre-shared keys the handshake takes, in the order of its `psk` tokens."""
        return sum(message.count(Token.PSK) for message in self.messages)

    @property
    def uses_kem(self) -> bool:
        """Whether the pattern has the hybrid forward secrecy tokens."""
        return any(Token.E1 in message for message in self.messages)

    def sends_static(self, *, initiator: bool) -> bool:
        """Whether that side transmits its static key in a message."""
        return any(Token.S in message for message in self.messages[0 if initiator else 1 :: 2])

    def needs_static(self, *, initiator: bool) -> bool:
        """Whether that side must own a static key pair."""
        known = self.knows_initiator if initiator else self.knows_responder
        return known or self.sends_static(initiator=initiator)


@dataclass(frozen=True, slots=True)
class Suite:
    """A parsed protocol name; primitives are still names here, `primitives.py` knows what they mean."""

    name: str
    pattern: Pattern
    dh: str
    kem: str | None
    cipher: str
    hash: str


# Each line: pre-messages of initiator and responder, then the messages, in the specification's notation.
_TABLE: Final = {
    "N": ("", "s", "e es"),
    "K": ("s", "s", "e es ss"),
    "X": ("", "s", "e es s ss"),
    "NN": ("", "", "e", "e ee"),
    "NK": ("", "s", "e es", "e ee"),
    "NX": ("", "", "e", "e ee s es"),
    "KN": ("s", "", "e", "e ee se"),
    "KK": ("s", "s", "e es ss", "e ee se"),
    "KX": ("s", "", "e", "e ee se s es"),
    "XN": ("", "", "e", "e ee", "s se"),
    "XK": ("", "s", "e es", "e ee", "s se"),
    "XX": ("", "", "e", "e ee s es", "s se"),
    "IN": ("", "", "e s", "e ee se"),
    "IK": ("", "s", "e es s ss", "e ee se"),
    "IX": ("", "", "e s", "e ee se s es"),
    "XKhfs": ("", "s", "e es e1", "e ee ekem1", "s se"),
    "XXhfs": ("", "", "e e1", "e ee ekem1 s es", "s se"),
}

_NAME_BYTES_MAX: Final = 255
_PATTERN_NAME: Final = re.compile(r"([NKXI](?:1?[NKXI]1?)?)((?:[a-z][a-z0-9]*(?:\+[a-z][a-z0-9]*)*)?)")
_ALGORITHM_NAME: Final = re.compile(r"[A-Za-z0-9/]+")


def _fundamental(name: str) -> Pattern:
    """The pattern of that name in the table."""
    if name not in _TABLE:
        raise SuiteUnsupported(f"the handshake pattern {name} is not provided")
    initiator, responder, *messages = _TABLE[name]
    tokens = tuple(tuple(Token(token) for token in message.split()) for message in messages)
    return Pattern(name, knows_initiator=initiator == "s", knows_responder=responder == "s", messages=tokens)


def parse_pattern(name: str) -> Pattern:
    """The pattern of a name with modifiers, for example `XKhfs+psk3`.

    Args:
        name: the second part of a protocol name.

    Returns:
        The fundamental pattern with its modifiers applied.

    Raises:
        SuiteUnsupported: not a pattern, a deferred one, or a modifier that is unknown, doubled or out of order.
    """
    match = _PATTERN_NAME.fullmatch(name)
    if match is None:
        raise SuiteUnsupported("the name of the handshake pattern is not well formed")
    base = match[1]
    modifiers = match[2].split("+") if match[2] else []
    if modifiers != sorted(set(modifiers)):
        raise SuiteUnsupported("modifiers must stand once each, in alphabetical order")
    if modifiers[:1] == ["hfs"]:
        base, modifiers = base + "hfs", modifiers[1:]
    pattern = _fundamental(base)
    messages = [list(message) for message in pattern.messages]
    for modifier in modifiers:
        position = re.fullmatch(r"psk([0-9])", modifier)
        if position is None:
            raise SuiteUnsupported(f"the modifier {modifier} is not provided for {match[1]}")
        index = int(position[1])
        if index > len(messages):
            raise SuiteUnsupported(f"{modifier} names a message that {base} does not have")
        if index == 0:
            messages[0].insert(0, Token.PSK)
        else:
            messages[index - 1].append(Token.PSK)
    tokens = tuple(tuple(message) for message in messages)
    return Pattern(name, pattern.knows_initiator, pattern.knows_responder, tokens)


def parse_suite(name: str) -> Suite:
    """The parts of a protocol name, for example `Noise_XKhfs+psk3_25519+MLKEM1024_AESGCM_SHA512`.

    Args:
        name: a complete Noise protocol name, at most 255 bytes.

    Returns:
        The pattern as data and the names of the primitives.

    Raises:
        SuiteUnsupported: not a Noise name, an unknown pattern, or a KEM without `hfs` (or the reverse).
    """
    parts = name.split("_")
    if len(name.encode()) > _NAME_BYTES_MAX or len(parts) != 5 or parts[0] != "Noise":
        raise SuiteUnsupported("not a Noise protocol name")
    if not all(_ALGORITHM_NAME.fullmatch(part) for part in (*parts[2].split("+"), parts[3], parts[4])):
        raise SuiteUnsupported("the name of an algorithm is not well formed")
    pattern = parse_pattern(parts[1])
    dh, plus, kem = parts[2].partition("+")
    if "+" in kem:
        raise SuiteUnsupported("more than one KEM is not provided")
    if pattern.uses_kem != bool(plus):
        raise SuiteUnsupported("a KEM is named exactly where the pattern has the hfs modifier")
    return Suite(name, pattern, dh, kem if plus else None, parts[3], parts[4])
