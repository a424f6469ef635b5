"""Both ends of a handshake in one process, for tests of everything that stands on a channel.

    pair = HandshakePair("a seed")
    messages = pair.run()                    # or step by step with pair.initiator and pair.responder
    send, receive = cipher_pair("a seed")    # one direction of a finished handshake

All randomness comes from the seed, so a failure can be repeated; ML-KEM encapsulation alone draws its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mpcd import noise
from mpcd.noise import CipherState, Entropy, HandshakeState, KeyPair, PskLookup


def seeded_entropy(seed: str) -> Entropy:
    """An entropy source whose output is a hash of the seed and of how often it was asked."""
    asked = 0

    def entropy(count: int) -> bytes:
        nonlocal asked
        asked += 1
        return hashlib.shake_256(f"mpcd.testing/{asked}/{seed}".encode()).digest(count)

    return entropy


class HandshakePair:
    """Initiator and responder of the production suite, or of another that takes the same keys.

    Args:
        seed: of all keys.
        suite: an XK protocol name.
        psk: what the initiator holds; by default a key of the seed.
        psk_of: what the responder holds, or its look-up; by default the same key, for the right initiator only.
        prologues: the initiator's and the responder's.
        known: the responder's key as the initiator knows it; by default the right one.
    """

    def __init__(
        self,
        seed: str = "",
        *,
        suite: str = noise.SUITE,
        psk: bytes | None = None,
        psk_of: bytes | PskLookup | None = None,
        prologues: tuple[bytes, bytes] = (b"", b""),
        known: bytes | None = None,
    ) -> None:
        entropy = seeded_entropy(f"keys/{seed}")
        self.initiator_static, self.responder_static = entropy(32), entropy(32)
        self.initiator_key = KeyPair(self.initiator_static).public
        self.responder_key = KeyPair(self.responder_static).public
        shared = entropy(32)
        with_psk = noise.parse_suite(suite).pattern.psk_count > 0
        self.initiator = HandshakeState(
            suite,
            initiator=True,
            prologue=prologues[0],
            s=self.initiator_static,
            rs=self.responder_key if known is None else known,
            psk=(shared if psk is None else psk) if with_psk else None,
            entropy=seeded_entropy(f"initiator/{seed}"),
        )
        if psk_of is None:
            psk_of = {self.initiator_key: shared}.get
        self.responder = HandshakeState(
            suite,
            initiator=False,
            prologue=prologues[1],
            s=self.responder_static,
            psk=psk_of if with_psk else None,
            entropy=seeded_entropy(f"responder/{seed}"),
        )

    def run(self, payloads: Sequence[bytes] = (b"", b"", b"")) -> list[bytes]:
        """The whole handshake; returns its messages.

        Raises:
            noise.NoiseFailed: one end refuses the other's message.
        """
        messages = []
        for index, payload in enumerate(payloads):
            ends = (self.initiator, self.responder)
            writer, reader = ends if index % 2 == 0 else ends[::-1]
            messages.append(writer.write_message(payload))
            if reader.read_message(messages[-1]) != payload:
                raise AssertionError("the payload changed on its way")
        return messages


def cipher_pair(seed: str = "", *, suite: str = noise.SUITE) -> tuple[CipherState, CipherState]:
    """One direction of a finished handshake: a cipher to send with and the one that reads it."""
    pair = HandshakePair(seed, suite=suite)
    pair.run()
    return pair.initiator.split()[0], pair.responder.split()[1]
