from __future__ import annotations

import base64
import copy
import logging
import pickle
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mpcd.identity import (
    SEAL_OVERHEAD_BYTES,
    ChannelKey,
    ChannelPublicKey,
    IdentityError,
    PrivateKey,
    ResultKey,
    ResultPublicKey,
    SigningKey,
    VerifyKey,
    seal,
    unseal,
)

KINDS: tuple[type[PrivateKey], ...] = (SigningKey, ChannelKey, ResultKey)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
LOW_ORDER_X25519 = (
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
)


def counting(start: int = 0) -> Callable[[int], bytes]:
    return lambda count: bytes((start + index) % 256 for index in range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_its_seed_and_the_seed_is_wiped(kind: type[PrivateKey]) -> None:
    seed = bytearray(counting(3)(kind.seed_bytes))
    before = bytes(seed)
    key = kind.from_seed(seed)
    assert seed == bytes(kind.seed_bytes)
    assert key.expose_private_bytes() == before
    assert kind.generate(counting(3)).public == key.public
    assert kind.generate(counting(4)).public != key.public


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_of_the_wrong_length_is_refused_and_wiped(kind: type[PrivateKey]) -> None:
    for size in (0, kind.seed_bytes - 1, kind.seed_bytes + 1):
        seed = bytearray(b"\7" * size)
        with pytest.raises(IdentityError):
            kind.from_seed(seed)
        assert seed == bytes(size)


@pytest.mark.parametrize("kind", KINDS)
def test_private_keys_show_nothing(kind: type[PrivateKey], caplog: pytest.LogCaptureFixture) -> None:
    key = kind.generate(counting(40))
    secret = key.expose_private_bytes()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("canary").warning("%s %r %s", key, key, [key, {"key": key}])
    shown = "".join([repr(key), str(key), f"{key}", f"{key!r:>300}", "%s" % (key,), repr([key]), caplog.text])  # noqa: UP031
    for piece in (secret, secret[:8], secret[-8:]):
        for form in (piece.hex(), repr(piece)[2:-1], base64.b64encode(piece).decode()[:10], str(list(piece))[1:-1]):
            assert form not in shown
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("kind", KINDS)
def test_private_keys_are_no_values(kind: type[PrivateKey]) -> None:
    key = kind.generate(counting())
    same = kind.generate(counting())
    for misuse in (
        lambda: key == same,
        lambda: key != same,
        lambda: bool(key),
        lambda: hash(key),
        lambda: pickle.dumps(key),
        lambda: copy.copy(key),
        lambda: copy.deepcopy(key),
    ):
        with pytest.raises(TypeError):
            misuse()


def test_a_channel_key_can_neither_sign_nor_unseal() -> None:
    key = ChannelKey.generate(counting())
    assert not {"sign", "verify", "unseal", "exchange"} & set(dir(key))


@pytest.mark.parametrize("kind", KINDS)
def test_public_keys_are_values_with_one_text(kind: type[PrivateKey]) -> None:
    public = kind.generate(counting()).public
    assert type(public).from_text(str(public)) == public
    assert hash(type(public)(public.raw)) == hash(public)
    assert public.fingerprint() in repr(public)
    for other in (VerifyKey, ChannelPublicKey, ResultPublicKey):
        if other is not type(public):
            with pytest.raises(IdentityError, match="kind"):
                other.from_text(str(public))


def test_keys_of_two_kinds_are_never_equal() -> None:
    raw = ChannelKey.generate(counting()).public.raw
    signing = next(
        key for key in (SigningKey.generate(counting(start)).public for start in range(50)) if int(key.raw[31]) < 127
    )
    both: list[object] = [ChannelPublicKey(signing.raw), signing]
    assert both[0] != both[1]
    assert raw != signing.raw


# ------------------------------------------------------------------------------------------------ signatures


def test_a_signature_holds_for_its_domain_and_data_alone() -> None:
    key = SigningKey.generate(counting())
    signature = key.sign("request", b"data")
    key.public.verify("request", b"data", signature)
    for domain, data in (
        ("release", b"data"),
        ("request", b"datA"),
        ("request", b""),
        ("requestd", b"ata"),
        ("r", b""),
    ):
        with pytest.raises(IdentityError):
            key.public.verify(domain, data, signature)
    with pytest.raises(IdentityError):
        SigningKey.generate(counting(1)).public.verify("request", b"data", signature)
    for place in range(len(signature)):
        flipped = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        with pytest.raises(IdentityError):
            key.public.verify("request", b"data", flipped)
    for wrong in (b"", signature[:-1], signature + b"\0"):
        with pytest.raises(IdentityError):
            key.public.verify("request", b"data", wrong)


def test_a_signature_is_plain_ed25519_over_prefixed_bytes() -> None:
    key = SigningKey.generate(counting())
    Ed25519PublicKey.from_public_bytes(key.public.raw).verify(
        key.sign("request", b"data"), b"mpcd-signature-1:\x07requestdata"
    )
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key.public.raw).verify(key.sign("request", b"data"), b"data")


def test_the_second_form_of_a_signature_is_refused() -> None:
    key = SigningKey.generate(counting())
    signature = key.sign("request", b"data")
    scalar = int.from_bytes(signature[32:], "little")
    second = signature[:32] + (scalar + GROUP_ORDER).to_bytes(32, "little")
    with pytest.raises(IdentityError):
        key.public.verify("request", b"data", second)


@pytest.mark.parametrize("domain", ["", "d" * 256])
def test_a_domain_has_a_length(domain: str) -> None:
    with pytest.raises(IdentityError):
        SigningKey.generate(counting()).sign(domain, b"data")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(31),
        bytes(33),
        bytes(32),
        b"\1" + bytes(31),
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 18).to_bytes(32, "little"),
        b"\xff" * 32,
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ],
    ids=lambda raw: raw.hex()[:12] or "empty",
)
def test_what_is_no_ed25519_key_is_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        VerifyKey(raw)


# ------------------------------------------------------------------------------------------------ X25519 and HPKE


@pytest.mark.parametrize("raw", [*LOW_ORDER_X25519, b"\xff" * 32, bytes(31), bytes(33)], ids=lambda raw: raw.hex()[:12])
def test_what_is_no_x25519_key_is_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        ChannelPublicKey(raw)
    lattice = ResultKey.generate(counting()).public.raw[:1184]
    with pytest.raises(IdentityError):
        ResultPublicKey(lattice + raw)


def test_the_high_bit_is_no_second_spelling() -> None:
    raw = ChannelKey.generate(counting()).public.raw
    with pytest.raises(IdentityError, match="canonical"):
        ChannelPublicKey(raw[:31] + bytes([raw[31] | 0x80]))


def test_what_is_no_lattice_key_is_refused() -> None:
    raw = ResultKey.generate(counting()).public.raw
    with pytest.raises(IdentityError, match="ML-KEM"):
        ResultPublicKey(b"\xff" * 1184 + raw[1184:])
    for size in (0, 32, 1184, len(raw) - 1, len(raw) + 1):
        with pytest.raises(IdentityError):
            ResultPublicKey((raw + b"\0")[:size])


def test_what_is_sealed_opens_with_the_key_and_the_info_alone() -> None:
    key = ResultKey.generate(counting())
    sealed = seal(key.public, b"info", b"plain")
    assert len(sealed) == len(b"plain") + SEAL_OVERHEAD_BYTES
    assert unseal(key, b"info", sealed) == b"plain"
    assert seal(key.public, b"info", b"plain") != sealed
    with pytest.raises(IdentityError):
        unseal(key, b"infO", sealed)
    with pytest.raises(IdentityError):
        unseal(ResultKey.generate(counting(1)), b"info", sealed)


def test_every_flip_and_cut_of_what_is_sealed_is_found() -> None:
    key = ResultKey.generate(counting())
    sealed = seal(key.public, b"info", b"plain")
    for place in range(len(sealed)):
        with pytest.raises(IdentityError):
            unseal(key, b"info", sealed[:place] + bytes([sealed[place] ^ 0x10]) + sealed[place + 1 :])
    for size in (0, 1, 1119, 1120, 1135, 1136, len(sealed) - 1):
        with pytest.raises(IdentityError):
            unseal(key, b"info", sealed[:size])


@pytest.mark.parametrize("half", ["lattice", "classical"])
def test_both_halves_of_a_result_key_are_needed(half: str) -> None:
    key = ResultKey.generate(counting())
    seed = bytearray(key.expose_private_bytes())
    place = 0 if half == "lattice" else 70
    seed[place] ^= 2
    sealed = seal(key.public, b"info", b"plain")
    with pytest.raises(IdentityError):
        unseal(ResultKey.from_seed(seed), b"info", sealed)
