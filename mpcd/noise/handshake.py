"""HandshakeState: writes and reads the messages of a pattern (layer 1, no I/O).

Source: Noise revision 34, sections 5.3 and 9; noise_hfs_spec revision 1 for `e1` and `ekem1`.
Security: `remote_static` and `split` exist only after the last message: knowledge of a key does not authenticate (14).

Theory of operation.  The pattern is a table (`patterns.py`); a message is a loop over its tokens, one arm per token:

    e       our fresh public key in the clear, MixHash; in a handshake with a psk also MixKey (9.2)
    s       our static public key through EncryptAndHash
    ee..ss  a Diffie-Hellman result through MixKey
    psk     the next pre-shared key through MixKeyAndHash
    e1      our fresh KEM public key through EncryptAndHash (and no MixKey, with a psk or without)
    ekem1   the ciphertext through EncryptAndHash, *then* the shared secret through MixKey

    open --write/read, in turn--> open --last message--> finished --split--> split
      any failure of the peer's bytes, or any exception at all once a call has begun  --> dead

A failed call kills the state.  The other way is to restore a checkpoint, as snow does, so that a message which does not
authenticate can be tried again; that suits datagrams.  Here the transport is an ordered stream, where a bad message
means that no good one will follow; a state that takes one wrong message takes no second, so it cannot be asked about
keys one guess at a time; and secrets are dropped at once.  Wrong calls are refused before anything changes.

The responder of a psk3 handshake learns who calls inside the last message, after it has said which key it expects.  A
pre-shared key can therefore be a function of the remote static key.  If the function knows no key (a stranger), the
handshake goes on under a random one and fails where a wrong key fails.  A missing key is never zeros: who wants the
all-zero key of a pair without a PSK passes `NO_PSK` and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final, assert_never, final

from mpcd import limits
from mpcd.noise.errors import NoiseFailed, NoiseMisuse
from mpcd.noise.opaque import Opaque
from mpcd.noise.patterns import Token, parse_suite
from mpcd.noise.primitives import (
    DH_BYTES,
    PSK_BYTES,
    TAG_BYTES,
    Buffer,
    Entropy,
    Kem,
    KemPrivate,
    KeyPair,
    dh_named,
    draw,
    kem_named,
)
from mpcd.noise.symmetric import SymmetricState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpcd.noise.cipher import CipherState

PskLookup = Callable[[bytes], bytes | None]
"""The pre-shared key of a remote static public key, or None for a stranger."""

NO_PSK: Final = bytes(PSK_BYTES)
"""The all-zero key of a pair that has agreed to use none; passed on purpose or not at all."""


class _Phase(Enum):
    OPEN = "open"
    FINISHED = "finished"
    SPLIT = "split"
    DEAD = "dead"


@final
class HandshakeState(Opaque):
    """One side of one run of a handshake.

    Args:
        suite_name: the complete protocol name, for example `noise.SUITE`.
        initiator: whether this side sends the first message.
        prologue: bytes that both sides must have in common; hashed, not sent, not secret.
        s: our X25519 static private key, 32 bytes, where the pattern has one.
        rs: the peer's static public key, 32 bytes, where the pattern knows it beforehand.
        psk: the pre-shared key, several in the order of the `psk` tokens, or a function of the remote static key.
        entropy: gives fresh random bytes; asked for ephemeral keys only (and for the psk of a stranger).
        kem: the KEM of an hfs suite; the suite's own unless a test records or replays encapsulations.

    Raises:
        SuiteUnsupported: the name is not provided here.
        NoiseMisuse: a key is missing, superfluous or of the wrong length.
    """

    __slots__ = (
        "_e",
        "_e1",
        "_entropy",
        "_index",
        "_initiator",
        "_kem",
        "_pattern",
        "_phase",
        "_psk_index",
        "_psks",
        "_re",
        "_re1",
        "_rs",
        "_s",
        "_stranger",
        "_symmetric",
    )

    def __init__(
        self,
        suite_name: str,
        *,
        initiator: bool,
        entropy: Entropy,
        prologue: bytes = b"",
        s: Buffer | None = None,
        rs: bytes | None = None,
        psk: bytes | Sequence[bytes] | PskLookup | None = None,
        kem: Kem | None = None,
    ) -> None:
        suite = parse_suite(suite_name)
        make_pair = dh_named(suite.dh)
        self._symmetric: Final = SymmetricState(suite.name, cipher=suite.cipher, hash_name=suite.hash)
        self._pattern: Final = suite.pattern
        self._initiator: Final = initiator
        self._entropy: Final = entropy
        self._kem: Final = None if suite.kem is None else kem or kem_named(suite.kem)
        self._index = 0
        self._phase = _Phase.OPEN
        self._e: KeyPair | None = None
        self._re: bytes | None = None
        self._e1: KemPrivate | None = None
        self._re1: bytes | None = None
        self._psk_index = 0
        self._stranger = False

        if (s is not None) != self._pattern.needs_static(initiator=initiator):
            raise NoiseMisuse(f"{self._pattern.name}: a static key is missing or superfluous on this side")
        known = self._pattern.knows_responder if initiator else self._pattern.knows_initiator
        if (rs is not None) != known:
            raise NoiseMisuse(f"{self._pattern.name}: the peer's static key is missing or superfluous on this side")
        if rs is not None and len(rs) != DH_BYTES:
            raise NoiseMisuse(f"a static public key has {DH_BYTES} bytes")
        self._s = None if s is None else make_pair(s)
        self._rs = rs
        self._psks: Final = _psk_source(psk, self._pattern.psk_count)

        self._symmetric.mix_hash(prologue)
        ours = None if self._s is None else self._s.public
        for known_before, is_ours in (
            (self._pattern.knows_initiator, initiator),
            (self._pattern.knows_responder, not initiator),
        ):
            public = ours if is_ours else rs
            if known_before:
                assert public is not None
                self._symmetric.mix_hash(public)

    # -------------------------------------------------------------------------------------------- state

    @property
    def our_turn(self) -> bool:
        """Whether `write_message` is the next call (otherwise `read_message`, unless finished)."""
        return self._phase is _Phase.OPEN and (self._index % 2 == 0) == self._initiator

    @property
    def finished(self) -> bool:
        """Whether the last message has been written or accepted."""
        return self._phase in (_Phase.FINISHED, _Phase.SPLIT)

    @property
    def handshake_hash(self) -> bytes:
        """Names this run, equal at both ends; channel binding (11.2).  Only after the last message."""
        self._require(finished=True)
        return self._symmetric.get_handshake_hash()

    @property
    def remote_static(self) -> bytes | None:
        """The peer's static public key, proven; None in patterns where it has none.  Only after the last message."""
        self._require(finished=True)
        return self._rs

    def message_overhead_bytes(self) -> int:
        """How much longer the next message is than its payload.

        Returns:
            Keys, KEM ciphertext and tags of the next message, in bytes.
        """
        self._require(finished=False)
        keyed = self._symmetric.cipher.has_key()
        total = 0
        for token in self._pattern.messages[self._index]:
            total += self._token_bytes(token, keyed=keyed)
            keyed = keyed or token not in (Token.E, Token.S, Token.E1) or (token is Token.E and self._uses_psk)
        return total + keyed * TAG_BYTES

    # -------------------------------------------------------------------------------------------- messages

    def write_message(self, payload: Buffer = b"") -> bytes:
        """The next message of the handshake.

        Args:
            payload: at most 65,535 bytes less `message_overhead_bytes()`; how secret it is says table 7.7.

        Returns:
            The message, at most 65,535 bytes.

        Raises:
            NoiseFailed: a key from the peer's earlier message is unusable or a stranger's; the state is dead.
            NoiseMisuse: out of turn, or the payload is too long; nothing has changed.
        """
        self._require(finished=False)
        if not self.our_turn:
            raise NoiseMisuse("it is the peer's turn to write")
        if len(payload) + self.message_overhead_bytes() > limits.NOISE_MESSAGE_BYTES_MAX:
            raise NoiseMisuse(f"a Noise message has at most {limits.NOISE_MESSAGE_BYTES_MAX} bytes")
        with self._alive():
            parts = [self._write_token(token) for token in self._pattern.messages[self._index]]
            parts.append(self._symmetric.encrypt_and_hash(payload))
            self._refuse_stranger()
        self._advance()
        return b"".join(parts)

    def read_message(self, message: Buffer) -> bytes:
        """Takes the peer's next message.

        Args:
            message: exactly one message, as the transport framed it.

        Returns:
            Its payload.

        Raises:
            NoiseFailed: it is not the message that this handshake expects, for whatever cause; the state is dead.
            NoiseMisuse: out of turn; nothing has changed.
        """
        self._require(finished=False)
        if self.our_turn:
            raise NoiseMisuse("it is our turn to write")
        with self._alive():
            if len(message) > limits.NOISE_MESSAGE_BYTES_MAX:
                raise NoiseFailed("longer than a Noise message can be")
            if len(message) < self.message_overhead_bytes():
                raise NoiseFailed("shorter than this handshake message can be")
            view = memoryview(message)
            for token in self._pattern.messages[self._index]:
                view = view[self._read_token(token, view) :]
            payload = self._symmetric.decrypt_and_hash(view)
            self._refuse_stranger()
        self._advance()
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The two transport ciphers, once, after the last message.

        Returns:
            Ours to send with, ours to receive with.  In a one-way pattern only the initiator's sending one may be used.
        """
        self._require(finished=True)
        if self._phase is _Phase.SPLIT:
            raise NoiseMisuse("a handshake is split once: two channels must not share keys")
        first, second = self._symmetric.split()
        self._phase = _Phase.SPLIT
        self._forget()
        return (first, second) if self._initiator else (second, first)

    # -------------------------------------------------------------------------------------------- tokens

    @property
    def _uses_psk(self) -> bool:
        return self._pattern.psk_count > 0

    def _token_bytes(self, token: Token, *, keyed: bool) -> int:
        """How many bytes of a message a token makes."""
        if token is Token.E:
            return DH_BYTES
        if token is Token.S:
            return DH_BYTES + keyed * TAG_BYTES
        if token in (Token.E1, Token.EKEM1):
            assert self._kem is not None
            size = self._kem.public_bytes if token is Token.E1 else self._kem.ciphertext_bytes
            return size + keyed * TAG_BYTES
        return 0

    def _write_token(self, token: Token) -> bytes:
        """Performs a token of our message and returns its bytes."""
        symmetric = self._symmetric
        match token:
            case Token.E:
                self._e = KeyPair(draw(self._entropy, DH_BYTES))
                self._mix_ephemeral(self._e.public)
                return self._e.public
            case Token.S:
                assert self._s is not None
                return symmetric.encrypt_and_hash(self._s.public)
            case Token.E1:
                assert self._kem is not None
                self._e1, public = self._kem.generate(draw(self._entropy, self._kem.seed_bytes))
                return symmetric.encrypt_and_hash(public)
            case Token.EKEM1:
                assert self._kem is not None
                assert self._re1 is not None
                ciphertext, shared = self._kem.encapsulate(self._re1)
                encrypted = symmetric.encrypt_and_hash(ciphertext)
                symmetric.mix_key(shared)
                return encrypted
            case Token.EE | Token.ES | Token.SE | Token.SS | Token.PSK:
                self._mix_secret(token)
                return b""
            case _:
                assert_never(token)

    def _read_token(self, token: Token, view: memoryview) -> int:
        """Performs a token of the peer's message at the start of `view`; returns how many bytes it took."""
        symmetric = self._symmetric
        count = self._token_bytes(token, keyed=symmetric.cipher.has_key())
        field = view[:count]
        match token:
            case Token.E:
                self._re = bytes(field)
                self._mix_ephemeral(self._re)
            case Token.S:
                self._rs = symmetric.decrypt_and_hash(field)
            case Token.E1:
                self._re1 = symmetric.decrypt_and_hash(field)
            case Token.EKEM1:
                assert self._e1 is not None
                ciphertext = symmetric.decrypt_and_hash(field)
                symmetric.mix_key(self._e1.decapsulate(ciphertext))
            case Token.EE | Token.ES | Token.SE | Token.SS | Token.PSK:
                self._mix_secret(token)
            case _:
                assert_never(token)
        return count

    def _mix_ephemeral(self, public: bytes) -> None:
        """An ephemeral public key enters the hash, and with a psk the key as well (9.2)."""
        self._symmetric.mix_hash(public)
        if self._uses_psk:
            self._symmetric.mix_key(public)

    def _mix_secret(self, token: Token) -> None:
        """Performs a token that sends nothing: a Diffie-Hellman or a psk."""
        if token is Token.PSK:
            self._symmetric.mix_key_and_hash(self._next_psk())
            return
        ours_is_static = token is Token.SS or token is (Token.SE if self._initiator else Token.ES)
        theirs_is_static = token is Token.SS or token is (Token.ES if self._initiator else Token.SE)
        ours = self._s if ours_is_static else self._e
        theirs = self._rs if theirs_is_static else self._re
        assert ours is not None
        assert theirs is not None
        self._symmetric.mix_key(ours.exchange(theirs))

    def _next_psk(self) -> bytes:
        """The key of the next `psk` token."""
        if isinstance(self._psks, tuple):
            psk: bytes | None = self._psks[self._psk_index]
        else:
            if self._rs is None:
                raise NoiseMisuse(f"{self._pattern.name}: no static key is known yet where the psk is needed")
            psk = self._psks(self._rs)
        self._psk_index += 1
        if psk is None:
            self._stranger = True
            return draw(self._entropy, PSK_BYTES)
        if len(psk) != PSK_BYTES:
            raise NoiseMisuse(f"a pre-shared key has {PSK_BYTES} bytes")
        return psk

    def _refuse_stranger(self) -> None:
        """Ends a handshake whose look-up knew no key, after the work that a known key would have caused."""
        if self._stranger:
            raise NoiseFailed("the peer's static key is a stranger's")

    # -------------------------------------------------------------------------------------------- life cycle

    def _require(self, *, finished: bool) -> None:
        """Refuses a call that the table in the module's docstring does not list."""
        if self._phase is _Phase.DEAD:
            raise NoiseFailed("this handshake has failed already")
        if self.finished != finished:
            raise NoiseMisuse("the handshake is finished" if self.finished else "the handshake is not finished")

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Kills the state if anything at all goes wrong inside."""
        try:
            yield
        except BaseException:
            self._phase = _Phase.DEAD
            self._rs = None
            self._forget()
            raise

    def _advance(self) -> None:
        """Counts a message that has been written or accepted."""
        self._index += 1
        if self._index == len(self._pattern.messages):
            self._phase = _Phase.FINISHED

    def _forget(self) -> None:
        """Drops every secret; what remains is the handshake hash and the peer's public key."""
        self._symmetric.forget()
        self._s = self._e = self._e1 = None
        self._re = self._re1 = None


def _psk_source(psk: bytes | Sequence[bytes] | PskLookup | None, count: int) -> tuple[bytes, ...] | PskLookup:
    """The pre-shared keys in order, checked, or the function that finds them."""
    if callable(psk):
        if count == 0:
            raise NoiseMisuse("this pattern takes no pre-shared key")
        return psk
    if psk is None:
        keys: tuple[bytes, ...] = ()
    elif isinstance(psk, (bytes, bytearray)):
        keys = (bytes(psk),)
    else:
        keys = tuple(psk)
    if len(keys) != count or any(len(key) != PSK_BYTES for key in keys):
        raise NoiseMisuse(f"this pattern takes exactly {count} pre-shared keys of {PSK_BYTES} bytes")
    return keys
