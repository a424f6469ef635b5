from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mpcd.noise import CipherState, NoiseFailed, NoiseMisuse
from mpcd.noise.primitives import cipher_named

NONCE_LAST = 2**64 - 2


def second_implementation() -> ModuleType:
    path = Path(__file__).parents[2] / "vectors" / "noise" / "second_implementation.py"
    spec = importlib.util.spec_from_file_location("second_implementation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def keyed(name: str = "AESGCM", key: bytes = bytes(32)) -> CipherState:
    state = CipherState(cipher_named(name))
    state.initialize_key(key)
    return state


def test_without_a_key_data_passes_in_the_clear() -> None:
    state = CipherState(cipher_named("AESGCM"))
    assert not state.has_key()
    assert state.encrypt_with_ad(b"ad", b"text") == b"text"
    assert state.decrypt_with_ad(b"ad", b"text") == b"text"
    assert state.nonce == 0


def test_the_buffered_forms_need_a_key() -> None:
    state = CipherState(cipher_named("AESGCM"))
    with pytest.raises(NoiseMisuse):
        state.encrypt_into(b"", b"text", memoryview(bytearray(20)))
    with pytest.raises(NoiseMisuse):
        state.decrypt_into(b"", bytes(20), memoryview(bytearray(4)))
    with pytest.raises(NoiseMisuse):
        state.rekey()


@pytest.mark.parametrize("name", ["AESGCM", "ChaChaPoly"])
def test_nonces_count_messages(name: str) -> None:
    sender, receiver = keyed(name), keyed(name)
    for index in range(5):
        out = memoryview(bytearray(16 + index))
        sender.encrypt_into(b"ad", bytes(index), out)
        assert receiver.nonce == index
        assert receiver.decrypt_with_ad(b"ad", out) == bytes(index)
    assert sender.nonce == receiver.nonce == 5


def test_a_message_that_does_not_authenticate_leaves_no_trace() -> None:
    sender, receiver = keyed(), keyed()
    good = sender.encrypt_with_ad(b"", b"text")
    with pytest.raises(NoiseFailed):
        receiver.decrypt_with_ad(b"", good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(NoiseFailed):
        receiver.decrypt_into(b"x", good, memoryview(bytearray(4)))
    assert receiver.nonce == 0
    assert receiver.decrypt_with_ad(b"", good) == b"text"
    with pytest.raises(NoiseFailed):
        receiver.decrypt_with_ad(b"", good)  # replayed


@pytest.mark.parametrize("name", ["AESGCM", "ChaChaPoly"])
def test_the_nonce_never_wraps(name: str) -> None:
    sender, receiver = keyed(name), keyed(name)
    sender.set_nonce(NONCE_LAST)
    receiver.set_nonce(NONCE_LAST)
    last = sender.encrypt_with_ad(b"", b"last")
    assert receiver.decrypt_with_ad(b"", last) == b"last"
    for state in (sender, receiver):
        with pytest.raises(NoiseMisuse):
            state.encrypt_with_ad(b"", b"one more")
        with pytest.raises(NoiseMisuse):
            state.decrypt_with_ad(b"", last)
        with pytest.raises(NoiseMisuse):
            state.encrypt_into(b"", b"text", memoryview(bytearray(20)))
        with pytest.raises(NoiseMisuse):
            state.decrypt_into(b"", bytes(20), memoryview(bytearray(4)))
        assert state.nonce == 2**64 - 1
    with pytest.raises(NoiseMisuse):
        sender.set_nonce(2**64)


def test_rekey_as_the_specification_and_the_second_implementation_say() -> None:
    second = second_implementation()
    key = bytes(range(32))
    state = keyed(key=key)
    state.encrypt_with_ad(b"", b"moves the nonce")
    state.rekey()
    assert state.nonce == 1
    assert state.encrypt_with_ad(b"ad", b"text") == second.seal(second.rekey(key), 1, b"ad", b"text")


@pytest.mark.parametrize("name", ["AESGCM", "ChaChaPoly"])
def test_after_a_rekey_of_one_side_nothing_is_understood(name: str) -> None:
    sender, receiver = keyed(name), keyed(name)
    sender.rekey()
    message = sender.encrypt_with_ad(b"", b"text")
    with pytest.raises(NoiseFailed):
        receiver.decrypt_with_ad(b"", message)
    receiver.rekey()
    assert receiver.decrypt_with_ad(b"", message) == b"text"


def test_sizes() -> None:
    sender, receiver = keyed(), keyed()
    most = bytes(65_535 - 16)
    assert receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", most)) == most
    with pytest.raises(NoiseMisuse):
        sender.encrypt_with_ad(b"", bytes(65_520))
    with pytest.raises(NoiseMisuse):
        sender.encrypt_into(b"", bytes(65_520), memoryview(bytearray(65_536)))
    with pytest.raises(NoiseMisuse):
        sender.encrypt_into(b"", b"text", memoryview(bytearray(21)))
    with pytest.raises(NoiseMisuse):
        receiver.decrypt_into(b"", bytes(20), memoryview(bytearray(5)))
    for length in (0, 15, 65_536):
        with pytest.raises(NoiseFailed):
            receiver.decrypt_with_ad(b"", bytes(length))
        with pytest.raises(NoiseFailed):
            receiver.decrypt_into(b"", bytes(length), memoryview(bytearray(max(0, length - 16))))


def test_forget_drops_the_key() -> None:
    state = keyed()
    state.forget()
    assert not state.has_key()
