from __future__ import annotations

import pytest

from mpcd import noise
from mpcd.noise.patterns import Token, parse_pattern, parse_suite

ALL = ["N", "K", "X", "NN", "NK", "NX", "KN", "KK", "KX", "XN", "XK", "XX", "IN", "IK", "IX"]


def spelled(name: str) -> list[str]:
    return [", ".join(token.value for token in message) for message in parse_pattern(name).messages]


def test_the_production_pattern_is_the_pinned_one() -> None:
    assert spelled("XKhfs+psk3") == ["e, es, e1", "e, ee, ekem1", "s, se, psk"]
    suite = parse_suite(noise.SUITE)
    assert (suite.dh, suite.kem, suite.cipher, suite.hash) == ("25519", "MLKEM1024", "AESGCM", "SHA512")


def test_the_other_hybrid_pattern() -> None:
    assert spelled("XXhfs") == ["e, e1", "e, ee, ekem1, s, es", "s, se"]


@pytest.mark.parametrize("name", ALL)
def test_a_psk_goes_before_the_first_message_or_after_the_one_it_names(name: str) -> None:
    plain = parse_pattern(name)
    for index in range(len(plain.messages) + 1):
        messages = [list(message) for message in plain.messages]
        if index:
            messages[index - 1].append(Token.PSK)
        else:
            messages[0].insert(0, Token.PSK)
        assert [list(message) for message in parse_pattern(f"{name}psk{index}").messages] == messages


@pytest.mark.parametrize("name", ALL)
def test_every_pattern_transmits_or_knows_what_it_uses(name: str) -> None:
    pattern = parse_pattern(name)
    tokens = {token for message in pattern.messages for token in message}
    assert pattern.needs_static(initiator=True) == bool(tokens & {Token.SE, Token.SS}) or name == "K"
    assert pattern.needs_static(initiator=False) == bool(tokens & {Token.ES, Token.SS})
    assert pattern.one_way == (len(name) == 1)


def test_several_psks() -> None:
    assert parse_pattern("XXpsk0+psk3").psk_count == 2
    assert spelled("NNpsk0+psk1+psk2") == ["psk, e, psk", "e, ee, psk"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "XK",
        "Noise_XK_25519_AESGCM",
        "Noise_XK_25519_AESGCM_SHA256_",
        "Noise_XK_25519_AESGCM_SHA256\n",
        "NoisePSK_XK_25519_AESGCM_SHA256",
        "noise_XK_25519_AESGCM_SHA256",
        "Noise_X1K_25519_AESGCM_SHA256",
        "Noise_XXfallback_25519_AESGCM_SHA256",
        "Noise_XKpsk4_25519_AESGCM_SHA256",
        "Noise_Npsk2_25519_AESGCM_SHA256",
        "Noise_XKpsk_25519_AESGCM_SHA256",
        "Noise_XKpsk3+psk3_25519_AESGCM_SHA256",
        "Noise_XKpsk3+psk0_25519_AESGCM_SHA256",
        "Noise_XKpsk3+hfs_25519+MLKEM1024_AESGCM_SHA256",
        "Noise_IKhfs_25519+MLKEM1024_AESGCM_SHA256",
        "Noise_XKhfs_25519_AESGCM_SHA256",
        "Noise_XK_25519+MLKEM1024_AESGCM_SHA256",
        "Noise_XKhfs_25519+MLKEM1024+MLKEM768_AESGCM_SHA256",
        "Noise_XK_25519_AES GCM_SHA256",
        "Noise_XK_25519_AESGCM_" + "A" * 255,
    ],
)
def test_a_name_that_is_not_provided_is_refused(name: str) -> None:
    with pytest.raises(noise.SuiteUnsupported):
        parse_suite(name)


@pytest.mark.parametrize(
    "name",
    [
        "Noise_XK_448_AESGCM_SHA256",
        "Noise_XK_25519_AESOCB_SHA256",
        "Noise_XK_25519_AESGCM_SHA3",
        "Noise_XKhfs_25519+Kyber1024_AESGCM_SHA256",
    ],
)
def test_an_unknown_primitive_is_refused_when_it_is_needed(name: str) -> None:
    with pytest.raises(noise.SuiteUnsupported):
        noise.HandshakeState(name, initiator=True, s=bytes(32), rs=bytes(32), entropy=bytes)
