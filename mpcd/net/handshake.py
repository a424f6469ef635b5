"""A handshake on a fresh TCP connection: three messages, one deadline, no answer to anything that is wrong.

Each message is a 2-byte length and the Noise message.  Messages 1 and 2 have one valid length each, and so has
message 3 since its payload is padded, so another length ends the handshake before anything is read.

All failures of a caller look alike.  Whether it knew too little, was a stranger, had the wrong PSK, sent garbage or
too much or too slowly, the listener writes nothing more, waits until the handshake's own deadline and resets the
connection: the same bytes (none) at the same time (the deadline after the accept).  What went wrong is in our log
alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from mpcd import limits, noise
from mpcd.ids import PartyId
from mpcd.net.config import LocalIdentity, PeerConfig, RosterView
from mpcd.net.hello import HELLO_BYTES, Hello, HelloInvalid
from mpcd.wire import prologue

_LENGTH_BYTES = 2


class HandshakeFailed(Exception):
    """This connection does not become a channel; the text is for our own log."""


@dataclass(slots=True, eq=False)
class Established:
    """A finished handshake: ciphers, hash, and who is at the other end."""

    party: PartyId
    we_dialled: bool
    send: noise.CipherState
    receive: noise.CipherState
    hash: bytes
    hello: Hello | None
    """The dialler's hello; None at the dialler, which reads the listener's from the first record."""
    bytes_sent: int
    bytes_received: int


class _Wire:
    """Whole handshake messages on a non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.bytes_sent = 0
        self.bytes_received = 0

    async def write(self, message: bytes) -> None:
        data = memoryview(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
        while data:
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock.fileno())
                continue
            self.bytes_sent += count
            data = data[count:]
        await trio.lowlevel.checkpoint()

    async def read(self, length_bytes: int) -> bytes:
        """The next message, which must have exactly `length_bytes`."""
        length = int.from_bytes(await self._read_exactly(_LENGTH_BYTES), "big")
        if length != length_bytes or length > limits.HANDSHAKE_MESSAGE_BYTES_MAX:
            raise HandshakeFailed(f"a message of {length} bytes where {length_bytes} were due")
        return await self._read_exactly(length)

    async def _read_exactly(self, count: int) -> bytes:
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            await trio.lowlevel.wait_readable(self._sock.fileno())
            try:
                got = self._sock.recv_into(view)
            except BlockingIOError:
                continue
            if got == 0:
                raise HandshakeFailed("closed by the other end")
            self.bytes_received += got
            view = view[got:]
        return bytes(buffer)


def _key_of(peer: PeerConfig) -> bytes:
    """The peer's PSK; all zeros only where local configuration names none."""
    return noise.NO_PSK if peer.psk is None else peer.psk


async def dial(
    sock: socket.socket,
    identity: LocalIdentity,
    party: PartyId,
    peer: PeerConfig,
    roster: RosterView,
    hello: Hello,
    entropy: Callable[[int], bytes],
) -> Established:
    """The dialler's three messages.  The channel is confirmed only by the listener's first record.

    Raises:
        HandshakeFailed: it does not speak as `peer`; also for any failure of the connection.
    """
    wire = _Wire(sock)
    try:
        state = noise.HandshakeState(
            noise.SUITE,
            initiator=True,
            entropy=entropy,
            prologue=prologue(consortium=roster.consortium_id, suite=noise.SUITE, responder=party),
            s=identity.channel_private_key,
            rs=peer.public_key,
            psk=_key_of(peer),
        )
        await wire.write(state.write_message(b""))
        if state.read_message(await wire.read(state.message_overhead_bytes())):
            raise HandshakeFailed("message 2 carries a payload")
        await wire.write(state.write_message(hello.encode()))
    except noise.NoiseFailed as error:
        raise HandshakeFailed(f"the answer is not from the holder of {peer.name}'s key ({error})") from error
    except OSError as error:
        raise HandshakeFailed(f"the connection failed ({error.strerror or type(error).__name__})") from error
    send, receive = state.split()
    return Established(party, True, send, receive, state.handshake_hash, None, wire.bytes_sent, wire.bytes_received)


async def answer(
    sock: socket.socket,
    identity: LocalIdentity,
    parties: Mapping[bytes, tuple[PartyId, PeerConfig]],
    roster: RosterView,
    entropy: Callable[[int], bytes],
) -> Established:
    """The listener's side; when it returns, message 3 was accepted: the caller has proven its static key and PSK.

    Args:
        sock: connected, non-blocking.
        identity: ours.
        parties: who may call, by static public key.
        roster: ours; its consortium must be the caller's, its version need not.
        entropy: gives fresh random bytes.

    Raises:
        HandshakeFailed: whoever calls is not a peer, or does not speak as one.
    """
    wire = _Wire(sock)
    stranger = False

    def psk_of(static_key: bytes) -> bytes | None:
        nonlocal stranger
        known = parties.get(static_key)
        stranger = known is None
        return None if known is None else _key_of(known[1])

    try:
        state = noise.HandshakeState(
            noise.SUITE,
            initiator=False,
            entropy=entropy,
            prologue=prologue(consortium=roster.consortium_id, suite=noise.SUITE, responder=identity.party_id),
            s=identity.channel_private_key,
            psk=psk_of,
        )
        state.read_message(await wire.read(state.message_overhead_bytes()))
        await wire.write(state.write_message(b""))
        payload = state.read_message(await wire.read(state.message_overhead_bytes() + HELLO_BYTES))
        hello = Hello.decode(payload)
    except noise.NoiseFailed as error:
        cause = "its static key is in no roster entry (a stranger)" if stranger else str(error)
        raise HandshakeFailed(f"the caller is no peer of ours: {cause}") from error
    except HelloInvalid as error:
        raise HandshakeFailed(f"message 3 carries no hello: {error}") from error
    except OSError as error:
        raise HandshakeFailed(f"the connection failed ({error.strerror or type(error).__name__})") from error
    assert state.remote_static is not None
    party, _ = parties[state.remote_static]
    send, receive = state.split()
    return Established(party, False, send, receive, state.handshake_hash, hello, wire.bytes_sent, wire.bytes_received)
