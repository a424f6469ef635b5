from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mpcd.noise import MLKEM768, MLKEM1024, KeyPair, NoiseFailed, NoiseMisuse
from mpcd.noise.primitives import Kem, cipher_named, draw, hash_named

# The points of small order and their non-canonical spellings (libsodium's blocklist, cr.yp.to/ecdh.html).
LOW_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def test_x25519_known_answer() -> None:
    # RFC 7748, section 6.1
    alice = KeyPair(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.exchange(bob.public) == bob.exchange(alice.public) == shared


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused(point: bytes) -> None:
    with pytest.raises(NoiseFailed):
        KeyPair(bytes(range(32))).exchange(point)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_x25519_agrees_with_another_library(ours: bytes, theirs: bytes) -> None:
    other = X25519PrivateKey.from_private_bytes(theirs)
    mine = X25519PrivateKey.from_private_bytes(ours)
    shared = KeyPair(ours).exchange(other.public_key().public_bytes_raw())
    assert shared == mine.exchange(other.public_key())


def test_a_key_of_another_length_is_our_mistake() -> None:
    with pytest.raises(NoiseMisuse):
        KeyPair(bytes(31))


@pytest.mark.parametrize("kem", [MLKEM768, MLKEM1024])
def test_a_kem_agrees_with_itself_and_states_its_sizes(kem: Kem) -> None:
    private, public = kem.generate(bytes(range(64)))
    ciphertext, shared = kem.encapsulate(public)
    assert (len(public), len(ciphertext), len(shared)) == (kem.public_bytes, kem.ciphertext_bytes, 32)
    assert private.decapsulate(ciphertext) == shared
    assert kem.generate(bytes(range(64)))[1] == public


@pytest.mark.parametrize("kem", [MLKEM768, MLKEM1024])
def test_a_wrong_kem_ciphertext_gives_another_secret_and_no_error(kem: Kem) -> None:
    private, public = kem.generate(bytes(64))
    ciphertext, shared = kem.encapsulate(public)
    assert private.decapsulate(bytes([ciphertext[0] ^ 1]) + ciphertext[1:]) != shared


@pytest.mark.parametrize("kem", [MLKEM768, MLKEM1024])
def test_a_kem_public_key_with_coefficients_out_of_range_is_refused(kem: Kem) -> None:
    with pytest.raises(NoiseFailed):
        kem.encapsulate(b"\xff" * kem.public_bytes)


@pytest.mark.parametrize("name", ["SHA256", "SHA512", "BLAKE2s", "BLAKE2b"])
def test_hkdf_is_built_from_hmac_as_the_specification_says(name: str) -> None:
    function, size = getattr(hashlib, name.lower()), hash_named(name).bytes
    block = 64 if size == 32 else 128
    assert function().block_size == block
    key, material = bytes(range(size)), b"material"

    def by_hand(k: bytes, data: bytes) -> bytes:
        padded = k.ljust(block, b"\0")
        inner = function(bytes(b ^ 0x36 for b in padded) + data).digest()
        outer: bytes = function(bytes(b ^ 0x5C for b in padded) + inner).digest()
        return outer

    temporary = by_hand(key, material)
    first = by_hand(temporary, b"\x01")
    second = by_hand(temporary, first + b"\x02")
    third = by_hand(temporary, second + b"\x03")
    assert hash_named(name).hkdf(key, material, 3) == (first, second, third)
    assert hash_named(name).hkdf(key, material, 2) == (first, second)
    assert hmac.new(key, material, name.lower()).digest() == temporary


@pytest.mark.parametrize("name", ["AESGCM", "ChaChaPoly"])
def test_a_cipher_into_buffers_is_the_same_cipher(name: str) -> None:
    cipher = cipher_named(name)(bytes(range(32)))
    out = memoryview(bytearray(21))
    cipher.encrypt_into(7, b"ad", b"hello", out)
    assert bytes(out) == cipher.encrypt(7, b"ad", b"hello")
    back = memoryview(bytearray(5))
    cipher.decrypt_into(7, b"ad", out, back)
    assert bytes(back) == b"hello"


@pytest.mark.parametrize("name", ["AESGCM", "ChaChaPoly"])
@pytest.mark.parametrize(("n", "ad", "position"), [(8, b"ad", None), (7, b"aD", None), (7, b"ad", 0), (7, b"ad", 20)])
def test_a_wrong_nonce_ad_or_byte_fails_and_leaves_no_plaintext(
    name: str, n: int, ad: bytes, position: int | None
) -> None:
    cipher = cipher_named(name)(bytes(range(32)))
    data = bytearray(cipher.encrypt(7, b"ad", b"hello"))
    if position is not None:
        data[position] ^= 1
    with pytest.raises(NoiseFailed):
        cipher.decrypt(n, ad, data)
    out = memoryview(bytearray(b"xxxxx"))
    with pytest.raises(NoiseFailed):
        cipher.decrypt_into(n, ad, data, out)
    assert bytes(out) == bytes(5)


@pytest.mark.parametrize("given_bytes", [b"", bytes(31), bytes(33)])
def test_a_short_or_long_draw_is_our_mistake(given_bytes: bytes) -> None:
    with pytest.raises(NoiseMisuse):
        draw(lambda _count: given_bytes, 32)
