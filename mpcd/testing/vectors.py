"""Runs files of test vectors from the command line: `python -m mpcd.testing.vectors noise FILE`.

The common JSON form of Noise vectors (cacophony, snow, noise-c): an object whose `vectors` is a list, or the list
itself.  Of each vector it uses

    protocol_name (or a `name` that is one)
    {init,resp}_{prologue,static,ephemeral,remote_static}   hex
    {init,resp}_psks      list of hex; `_psk` for a single one
    messages              list of {payload, ciphertext}, alternating; one way if the pattern is
    handshake_hash        optional
    fail                  optional: a receiver must refuse one of the messages

and, for suites with a KEM, three keys of our own, since no common form has them: `init_kem_seed` (d and z of ML-KEM key
generation, 64 bytes), `resp_kem_ciphertext` and `resp_kem_shared_secret` (what encapsulation gave).  The ciphertext is
decapsulated by the real primitive, so a wrong record fails.

A vector is *skipped* exactly if its protocol is not provided here (deferred and fallback patterns, curve 448, other
KEMs, names from before revision 32) or if it does not say what its KEM drew.  One that is incomplete or malformed has
*failed*.
"""

from __future__ import annotations

import argparse
import binascii
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mpcd import noise
from mpcd.noise.primitives import KemPrivate, kem_named

Side = Literal["init", "resp"]
Outcome = Literal["passed", "failed", "skipped"]

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2


class VectorFailed(Exception):
    """The vector and this implementation disagree, or the vector makes no sense."""


class VectorSkipped(Exception):
    """The vector is about something that is not provided here."""


@dataclass(slots=True)
class Report:
    """What became of the vectors of a file."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    skips: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """The last line that the command prints."""
        return f"{self.passed} passed, {len(self.failures)} failed, {self.skips.total()} skipped"


class _Vector:
    """One vector's fields, with their types checked as they are read."""

    def __init__(self, raw: object) -> None:
        if not isinstance(raw, dict):
            raise VectorFailed("not an object")
        self._raw = raw

    @property
    def protocol_name(self) -> str:
        name = self._raw.get("protocol_name") or self._raw.get("name")
        if not isinstance(name, str):
            raise VectorFailed("no protocol_name")
        return name

    def octets(self, key: str) -> bytes | None:
        """The bytes of a hex string; None if it is absent or null."""
        return _unhex(self._raw.get(key), key)

    def psks(self, side: Side) -> list[bytes]:
        """That side's pre-shared keys, in order."""
        single = self.octets(f"{side}_psk")
        several = self._raw.get(f"{side}_psks") or ([] if single is None else [single.hex()])
        if not isinstance(several, list):
            raise VectorFailed(f"{side}_psks is not a list")
        keys = [_unhex(item, f"{side}_psks") for item in several]
        return [key for key in keys if key is not None]

    def messages(self) -> list[tuple[bytes, bytes]]:
        """Payload and ciphertext of each message."""
        raw = self._raw.get("messages")
        if not isinstance(raw, list) or not raw:
            raise VectorFailed("no messages")
        found = []
        for item in raw:
            if not isinstance(item, dict) or item.get("ciphertext") is None:
                raise VectorFailed("a message without a ciphertext")
            payload = _unhex(item.get("payload"), "payload")
            ciphertext = _unhex(item["ciphertext"], "ciphertext")
            assert ciphertext is not None
            found.append((payload or b"", ciphertext))
        return found

    def flag(self, key: str) -> bool:
        """A truth value, false if absent."""
        value = self._raw.get(key)
        if value not in (None, True, False):
            raise VectorFailed(f"{key} is not a truth value")
        return value is True


def _unhex(value: object, key: str) -> bytes | None:
    """The bytes of a hex string; None for null."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise VectorFailed(f"{key} is not a hex string")
    try:
        return bytes.fromhex(value)
    except (ValueError, binascii.Error) as error:
        raise VectorFailed(f"{key} is not a hex string") from error


class _Entropy:
    """Gives what the vector recorded, in the order in which a handshake asks."""

    def __init__(self, *recorded: bytes | None) -> None:
        self._recorded = [item for item in recorded if item is not None]

    def __call__(self, count: int) -> bytes:
        if not self._recorded or len(self._recorded[0]) != count:
            raise VectorFailed("an ephemeral key is missing or of the wrong length")
        return self._recorded.pop(0)


class ReplayedKem:
    """A KEM that gives a recorded encapsulation; everything else is the real one's.

    Args:
        real: the primitive.
        ciphertext: what `encapsulate` gives.
        shared: the shared secret that goes with it.
    """

    def __init__(self, real: noise.Kem, ciphertext: bytes, shared: bytes) -> None:
        self._real = real
        self._recorded = ciphertext, shared
        self.seed_bytes = real.seed_bytes
        self.public_bytes = real.public_bytes
        self.ciphertext_bytes = real.ciphertext_bytes

    def generate(self, seed: bytes) -> tuple[KemPrivate, bytes]:
        """The real key pair of a seed."""
        return self._real.generate(seed)

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """The recorded ciphertext and shared secret."""
        self._real.encapsulate(public)
        return self._recorded


def _kem(vector: _Vector, suite: noise.Suite) -> noise.Kem | None:
    """The KEM that replays what the vector recorded; None for a suite without one."""
    if suite.kem is None:
        return None
    real = kem_named(suite.kem)
    ciphertext, shared = vector.octets("resp_kem_ciphertext"), vector.octets("resp_kem_shared_secret")
    if ciphertext is None or shared is None or vector.octets("init_kem_seed") is None:
        raise VectorSkipped("what the KEM drew is not recorded")
    return ReplayedKem(real, ciphertext, shared)


def _state(vector: _Vector, suite: noise.Suite, side: Side) -> noise.HandshakeState:
    """One side of the vector's handshake."""
    initiator = side == "init"
    other: Side = "resp" if initiator else "init"
    known = suite.pattern.knows_responder if initiator else suite.pattern.knows_initiator
    remote = None
    if known:
        remote = vector.octets(f"{side}_remote_static")
        theirs = vector.octets(f"{other}_static")
        if remote is None and theirs is not None:
            remote = noise.KeyPair(theirs).public
    own = vector.octets(f"{side}_static") if suite.pattern.needs_static(initiator=initiator) else None
    return noise.HandshakeState(
        suite.name,
        initiator=initiator,
        prologue=vector.octets(f"{side}_prologue") or b"",
        s=own,
        rs=remote,
        psk=vector.psks(side) if suite.pattern.psk_count else None,
        entropy=_Entropy(vector.octets(f"{side}_ephemeral"), vector.octets(f"{side}_kem_seed")),
        kem=_kem(vector, suite),
    )


class _Conversation:
    """Both sides of one vector, message by message."""

    def __init__(self, vector: _Vector, suite: noise.Suite) -> None:
        self._suite = suite
        self.states = {True: _state(vector, suite, "init"), False: _state(vector, suite, "resp")}
        self._ciphers: dict[bool, tuple[noise.CipherState, noise.CipherState]] = {}

    def exchange(self, index: int, payload: bytes, ciphertext: bytes) -> None:
        """One message: what the sender writes, then what the receiver makes of the vector's ciphertext.

        Raises:
            noise.NoiseFailed: the receiver refuses it.
            VectorFailed: the sender writes something else, or the receiver reads something else.
        """
        sender = index % 2 == 0 or self._suite.pattern.one_way
        if self.states[True].finished:
            self._split()
            written = self._ciphers[sender][0].encrypt_with_ad(b"", payload)
            read = self._ciphers[not sender][1].decrypt_with_ad(b"", ciphertext)
        else:
            written = self.states[sender].write_message(payload)
            read = self.states[not sender].read_message(ciphertext)
        if written != ciphertext:
            raise VectorFailed(f"message {index}: another ciphertext")
        if read != payload:
            raise VectorFailed(f"message {index}: another payload")

    def _split(self) -> None:
        """Makes the transport ciphers once."""
        if not self._ciphers:
            self._ciphers = {side: state.split() for side, state in self.states.items()}


def _converse(conversation: _Conversation, messages: list[tuple[bytes, bytes]], *, must_fail: bool) -> bool:
    """Runs all messages; whether a receiver refused one, which is an error unless it must."""
    for index, (payload, ciphertext) in enumerate(messages):
        try:
            conversation.exchange(index, payload, ciphertext)
        except noise.NoiseFailed as error:
            if must_fail:
                return True
            raise VectorFailed(f"message {index}: {error}") from error
    return False


def run_noise_vector(raw: object) -> None:
    """Runs one vector.

    Args:
        raw: the vector as JSON gives it.

    Raises:
        VectorFailed: it does not hold.
        VectorSkipped: it is about something that is not provided here.
    """
    vector = _Vector(raw)
    if vector.flag("fallback"):
        raise VectorSkipped("fallback protocols are not provided")
    try:
        suite = noise.parse_suite(vector.protocol_name)
        conversation = _Conversation(vector, suite)
    except noise.SuiteUnsupported as error:
        raise VectorSkipped(str(error)) from error
    except noise.NoiseMisuse as error:
        raise VectorFailed(str(error)) from error
    must_fail = vector.flag("fail")
    try:
        refused = _converse(conversation, vector.messages(), must_fail=must_fail)
    except noise.NoiseMisuse as error:
        raise VectorFailed(str(error)) from error
    if must_fail and not refused:
        raise VectorFailed("every message was accepted, one should have been refused")
    expected = vector.octets("handshake_hash")
    if expected is None or refused:
        return
    if not conversation.states[True].finished:
        raise VectorFailed("the messages end before the handshake")
    if {state.handshake_hash for state in conversation.states.values()} != {expected}:
        raise VectorFailed("another handshake hash")


def run_noise(vectors: Sequence[object]) -> Report:
    """Runs all vectors of a file.

    Args:
        vectors: as JSON gives them.

    Returns:
        How many passed, why each other one failed, and how often each reason to skip occurred.
    """
    report = Report()
    for index, raw in enumerate(vectors):
        name = (raw.get("protocol_name") or raw.get("name")) if isinstance(raw, dict) else None
        try:
            run_noise_vector(raw)
        except VectorSkipped as error:
            report.skips[str(error)] += 1
        except VectorFailed as error:
            report.failures.append(f"vector {index} ({name}): {error}")
        else:
            report.passed += 1
    return report


def load(path: Path) -> list[object]:
    """The vectors of a file.

    Raises:
        ValueError: it is not JSON, or holds no list of vectors.
        OSError: it cannot be read.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    vectors = value.get("vectors") if isinstance(value, dict) else value
    if not isinstance(vectors, list):
        raise ValueError("no list of vectors")  # noqa: TRY004 - the caller knows one type for a file that is no vector file
    return vectors


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a file of vectors and prints what became of them.

    Args:
        arguments: of the command line.

    Returns:
        0 if nothing failed, 1 if something did, 2 if the file cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m mpcd.testing.vectors", description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    for_noise = kinds.add_parser("noise", help="Noise handshakes in the common JSON form")
    for_noise.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        vectors = load(options.file)
    except (OSError, ValueError) as error:
        print(f"{options.file}: not a file of test vectors: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    report = run_noise(vectors)
    for failure in report.failures:
        print(f"failed: {failure}")
    for reason, count in report.skips.most_common():
        print(f"skipped {count}: {reason}")
    print(report.summary)
    return EXIT_FAILED if report.failures else EXIT_PASSED


if __name__ == "__main__":
    sys.exit(main())
