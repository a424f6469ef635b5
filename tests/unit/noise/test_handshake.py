"""Each honest run has its tampered twins; all of these fail in one way, `NoiseFailed`, and the failed side is dead."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from mpcd import noise
from mpcd.noise import HandshakeState, KeyPair, NoiseFailed, NoiseMisuse
from mpcd.testing.channels import HandshakePair, seeded_entropy

TWIN = "Noise_XKhfs+psk3_25519+MLKEM768_AESGCM_SHA512"
SUITES = [noise.SUITE, TWIN, "Noise_XKpsk3_25519_ChaChaPoly_BLAKE2s", "Noise_XKhfs_25519+MLKEM1024_AESGCM_SHA512"]


def assert_dead(state: HandshakeState) -> None:
    """Nothing more can be got out of it, and it holds no secret any more."""
    assert not state.finished
    uses: list[Callable[[], object]] = [
        state.write_message,
        lambda: state.read_message(bytes(100)),
        state.split,
        state.message_overhead_bytes,
        lambda: state.handshake_hash,
        lambda: state.remote_static,
    ]
    for use in uses:
        with pytest.raises(NoiseFailed):
            use()
    assert all(secret is None for secret in (state._s, state._e, state._e1, state._rs))
    assert state._symmetric._ck == b""
    assert not state._symmetric.cipher.has_key()


@pytest.mark.parametrize("suite", SUITES)
def test_an_honest_run(suite: str) -> None:
    pair = HandshakePair(suite=suite, prologues=(b"same", b"same"))
    pair.run((b"", b"from the responder", b"from the initiator"))
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    assert pair.responder.remote_static == pair.initiator_key
    assert pair.initiator.remote_static == pair.responder_key
    i_send, i_receive = pair.initiator.split()
    r_send, r_receive = pair.responder.split()
    assert r_receive.decrypt_with_ad(b"a", i_send.encrypt_with_ad(b"a", b"there")) == b"there"
    assert i_receive.decrypt_with_ad(b"", r_send.encrypt_with_ad(b"", b"and back")) == b"and back"
    with pytest.raises(NoiseFailed):
        i_receive.decrypt_with_ad(b"", i_send.encrypt_with_ad(b"", b"reflected"))


def test_the_sizes_of_the_production_messages() -> None:
    pair = HandshakePair()
    assert pair.initiator.message_overhead_bytes() == 1632
    assert [len(message) for message in pair.run((b"", b"ab", b"abc"))] == [1632, 1634, 67]


@pytest.mark.parametrize("suite", SUITES)
def test_two_runs_share_nothing(suite: str) -> None:
    first, second = HandshakePair("keys", suite=suite), HandshakePair("keys", suite=suite)
    second.initiator._entropy = os.urandom  # type: ignore[misc]
    one, other = first.run(), second.run()
    assert one[0] != other[0]
    assert first.initiator.handshake_hash != second.initiator.handshake_hash


@pytest.mark.parametrize("suite", [noise.SUITE, "Noise_XKpsk3_25519_ChaChaPoly_BLAKE2s"])
def test_another_psk_fails_at_the_last_message(suite: str) -> None:
    pair = HandshakePair(suite=suite, psk=bytes([1]) * 32)
    with pytest.raises(NoiseFailed):
        pair.run()
    assert_dead(pair.responder)
    assert pair.initiator.finished  # it learns from the responder's silence alone


@pytest.mark.parametrize("side", ["initiator", "responder"])
def test_a_configured_psk_never_falls_back_to_zeros(side: str) -> None:
    pair = HandshakePair(psk=noise.NO_PSK) if side == "initiator" else HandshakePair(psk_of=noise.NO_PSK)
    with pytest.raises(NoiseFailed):
        pair.run()
    assert_dead(pair.responder)


def test_without_a_psk_zeros_must_be_passed_on_purpose() -> None:
    HandshakePair(psk=noise.NO_PSK, psk_of=noise.NO_PSK).run()
    for psk in (None, (), (bytes(32), bytes(32)), b"", bytes(31)):
        with pytest.raises(NoiseMisuse):
            HandshakeState(
                noise.SUITE, initiator=True, s=bytes(32), rs=KeyPair(bytes(32)).public, psk=psk, entropy=os.urandom
            )


def test_a_stranger_fails_where_a_wrong_psk_fails() -> None:
    stranger, wrong = HandshakePair(psk_of=lambda _key: None), HandshakePair(psk_of=bytes([7]) * 32)
    for pair in (stranger, wrong):
        first = pair.initiator.write_message()
        pair.responder.read_message(first)
        pair.initiator.read_message(pair.responder.write_message())
        with pytest.raises(NoiseFailed):
            pair.responder.read_message(pair.initiator.write_message())
        assert_dead(pair.responder)


def test_a_stranger_who_guesses_the_substituted_psk_is_still_a_stranger() -> None:
    guess = seeded_entropy("responder/")
    drawn = [guess(32), guess(32)][1]  # what the responder will draw after its ephemeral key
    pair = HandshakePair(psk=drawn, psk_of=lambda _key: None)
    with pytest.raises(NoiseFailed, match="stranger"):
        pair.run()


def test_the_look_up_sees_the_key_that_the_initiator_showed() -> None:
    asked: list[bytes] = []

    def look_up(key: bytes) -> bytes:
        asked.append(key)
        return noise.NO_PSK

    pair = HandshakePair(psk=noise.NO_PSK, psk_of=look_up)
    pair.run()
    assert asked == [pair.initiator_key]


def test_a_look_up_that_gives_a_short_key_is_our_mistake_and_kills_the_state() -> None:
    pair = HandshakePair(psk_of=lambda _key: b"short")
    with pytest.raises(NoiseMisuse):
        pair.run()
    assert_dead(pair.responder)


def test_a_caller_who_does_not_know_the_responder_fails_at_once() -> None:
    pair = HandshakePair(known=KeyPair(bytes([9]) * 32).public)
    with pytest.raises(NoiseFailed):
        pair.responder.read_message(pair.initiator.write_message())
    assert_dead(pair.responder)


def test_another_prologue_fails_at_once() -> None:
    pair = HandshakePair(prologues=(b"consortium a", b"consortium b"))
    with pytest.raises(NoiseFailed):
        pair.responder.read_message(pair.initiator.write_message())
    assert_dead(pair.responder)


def test_another_suite_fails_at_once() -> None:
    one, other = HandshakePair(suite=noise.SUITE), HandshakePair(suite=noise.SUITE.replace("SHA512", "BLAKE2b"))
    with pytest.raises(NoiseFailed):
        other.responder.read_message(one.initiator.write_message())


def test_a_static_key_of_low_order_fails() -> None:
    pair = HandshakePair(known=bytes(32))
    with pytest.raises(NoiseFailed):
        pair.initiator.write_message()
    assert_dead(pair.initiator)


def test_an_ephemeral_key_of_low_order_fails() -> None:
    pair = HandshakePair()
    message = pair.initiator.write_message()
    with pytest.raises(NoiseFailed):
        pair.responder.read_message(bytes(32) + message[32:])
    assert_dead(pair.responder)


def test_replaying_the_initiators_messages_to_a_later_run_fails() -> None:
    recorded = HandshakePair("keys").run()
    later = HandshakePair("keys")
    later.responder._entropy = seeded_entropy("another run")  # type: ignore[misc]
    later.responder.read_message(recorded[0])  # a first message alone proves nothing and starts nothing
    later.responder.write_message()
    assert not later.responder.finished
    with pytest.raises(NoiseFailed):
        later.responder.read_message(recorded[2])
    assert_dead(later.responder)


def test_messages_out_of_order_or_reflected_fail() -> None:
    messages = HandshakePair().run()
    for wrong in (messages[1], messages[2]):
        pair = HandshakePair()
        with pytest.raises(NoiseFailed):
            pair.responder.read_message(wrong)
        assert_dead(pair.responder)
    pair = HandshakePair()
    own = pair.initiator.write_message()
    with pytest.raises(NoiseFailed):
        pair.initiator.read_message(own)
    assert_dead(pair.initiator)


def reader_of(index: int, suite: str = noise.SUITE) -> tuple[HandshakeState, bytes]:
    """A fresh state about to read message `index`, and that message."""
    pair = HandshakePair("tamper", suite=suite)
    first = pair.initiator.write_message()
    if index == 0:
        return pair.responder, first
    pair.responder.read_message(first)
    second = pair.responder.write_message()
    if index == 1:
        return pair.initiator, second
    pair.initiator.read_message(second)
    return pair.responder, pair.initiator.write_message()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_bit_changed_anywhere_fails(index: int) -> None:
    suite = "Noise_XKhfs+psk3_25519+MLKEM768_AESGCM_SHA512"
    length = len(reader_of(index, suite)[1])
    for position in range(length):
        reader, message = reader_of(index, suite)
        tampered = bytearray(message)
        tampered[position] ^= 1 << position % 8
        with pytest.raises(NoiseFailed):
            reader.read_message(tampered)
        assert_dead(reader)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_message_cut_or_extended_anywhere_fails(index: int) -> None:
    length = len(reader_of(index)[1])
    for cut in {0, 1, 31, 32, 33, 47, 48, 49, length // 2, length - 17, length - 16, length - 1}:
        reader, message = reader_of(index)
        with pytest.raises(NoiseFailed):
            reader.read_message(message[:cut])
        assert_dead(reader)
    for extra in (1, 16, 70_000):
        reader, message = reader_of(index)
        with pytest.raises(NoiseFailed):
            reader.read_message(message + bytes(extra))
        assert_dead(reader)


def test_a_dead_state_does_not_take_the_right_message_either() -> None:
    reader, message = reader_of(0)
    with pytest.raises(NoiseFailed):
        reader.read_message(bytes(len(message)))
    with pytest.raises(NoiseFailed):
        reader.read_message(message)


def test_calls_out_of_turn_are_mistakes_and_change_nothing() -> None:
    pair = HandshakePair()
    for wrong in (
        pair.responder.write_message,
        lambda: pair.initiator.read_message(bytes(2000)),
        pair.initiator.split,
        lambda: pair.initiator.handshake_hash,
        lambda: pair.responder.remote_static,
        lambda: pair.initiator.write_message(bytes(65_535 - 1631)),
    ):
        with pytest.raises(NoiseMisuse):
            wrong()
    pair.run((bytes(65_535 - 1632), b"", b""))
    with pytest.raises(NoiseMisuse):
        pair.initiator.write_message()
    with pytest.raises(NoiseMisuse):
        pair.responder.message_overhead_bytes()
    pair.initiator.split()
    with pytest.raises(NoiseMisuse):
        pair.initiator.split()
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash


def test_who_calls_is_not_known_before_the_last_message_is_accepted() -> None:
    pair = HandshakePair()
    pair.responder.read_message(pair.initiator.write_message())
    pair.initiator.read_message(pair.responder.write_message())
    with pytest.raises(NoiseMisuse):
        _ = pair.responder.remote_static


def test_an_entropy_source_that_gives_too_little_kills_the_state() -> None:
    pair = HandshakePair()
    pair.initiator._entropy = lambda count: bytes(count - 1)  # type: ignore[misc]
    with pytest.raises(NoiseMisuse):
        pair.initiator.write_message()
    assert_dead(pair.initiator)


PUBLIC = KeyPair(bytes(32)).public


@pytest.mark.parametrize(
    ("pattern", "initiator", "s", "rs", "psk"),
    [
        ("XK", True, None, PUBLIC, None),
        ("XK", True, bytes(31), PUBLIC, None),
        ("XK", True, bytes(32), None, None),
        ("XK", True, bytes(32), PUBLIC[:31], None),
        ("XK", True, bytes(32), PUBLIC, bytes(32)),
        ("XK", False, bytes(32), PUBLIC, None),
        ("XK", False, bytes(32), None, lambda _key: bytes(32)),
        ("NN", True, bytes(32), None, None),
        ("NN", True, None, PUBLIC, None),
        ("NNpsk0", True, None, None, None),
        ("NNpsk0", True, None, None, [bytes(32)] * 2),
        ("NNpsk0+psk2", True, None, None, bytes(32)),
        ("NNpsk0+psk2", True, None, None, [bytes(32), bytes(31)]),
    ],
)
def test_keys_that_are_missing_superfluous_or_short_are_mistakes(
    pattern: str, initiator: bool, s: bytes | None, rs: bytes | None, psk: bytes | list[bytes] | noise.PskLookup | None
) -> None:
    with pytest.raises(NoiseMisuse):
        HandshakeState(
            f"Noise_{pattern}_25519_AESGCM_SHA256", initiator=initiator, s=s, rs=rs, psk=psk, entropy=os.urandom
        )


def test_a_look_up_needs_a_static_key_to_look_up() -> None:
    states = [
        HandshakeState(
            "Noise_NNpsk0_25519_AESGCM_SHA256",
            initiator=initiator,
            psk=lambda _key: bytes(32),
            entropy=os.urandom,
        )
        for initiator in (True, False)
    ]
    with pytest.raises(NoiseMisuse):
        states[0].write_message()
    assert_dead(states[0])


def test_a_responder_that_needs_the_psk_to_answer_does_not_answer_a_stranger() -> None:
    suite, ours, theirs = "Noise_IKpsk2_25519_AESGCM_SHA512", bytes([1]) * 32, bytes([2]) * 32
    caller = HandshakeState(
        suite, initiator=True, s=ours, rs=KeyPair(theirs).public, psk=noise.NO_PSK, entropy=os.urandom
    )
    called = HandshakeState(suite, initiator=False, s=theirs, psk=lambda _key: None, entropy=os.urandom)
    called.read_message(caller.write_message())
    with pytest.raises(NoiseFailed):
        called.write_message()
    assert_dead(called)
