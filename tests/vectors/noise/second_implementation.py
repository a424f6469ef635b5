"""A second implementation of mpcd's production handshake, written from the texts and sharing nothing with `mpcd.noise`.

    python tests/vectors/noise/second_implementation.py     writes mpcd.json beside this file, the same bytes every time

Texts: Noise revision 34 (sections 5, 9, 11.3, 12), noise_hfs_spec revision 1 with the tokens pinned as in
`mpcd/noise/__init__.py`, FIPS 203 for ML-KEM encapsulation.  Where the package has a machine that walks over tokens for
one side, this file has one function that computes all of a run from both sides' secrets in a straight line, and it
takes X25519 and AES from another library or interface than the package does.  ML-KEM encapsulation is here in Python
because no library lets the caller choose its randomness; decapsulation of the result by `cryptography` shows that it is
the same function.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

VECTORS = Path(__file__).parent / "mpcd.json"

# ------------------------------------------------------------------------------------------------ ML-KEM, FIPS 203

Q = 3329
Polynomial = list[int]


@dataclass(frozen=True)
class Parameters:
    """Table 2; eta1 = eta2 = 2 in both sets."""

    k: int
    du: int
    dv: int


PARAMETERS = {"MLKEM768": Parameters(3, 10, 4), "MLKEM1024": Parameters(4, 11, 5)}
PRIVATE_KEYS: dict[str, Any] = {"MLKEM768": MLKEM768PrivateKey, "MLKEM1024": MLKEM1024PrivateKey}

ROOTS = [pow(17, 2 * int(f"{i:07b}"[::-1], 2) + 1, Q) for i in range(128)]
"""The i-th pair of an NTT representation is the polynomial modulo X^2 - ROOTS[i] (section 4.3)."""


def bits_of(data: bytes) -> list[int]:
    return [byte >> i & 1 for byte in data for i in range(8)]


def byte_encode(values: Polynomial, d: int) -> bytes:
    number = sum(value << d * i for i, value in enumerate(values))
    return number.to_bytes(32 * d, "little")


def byte_decode_12(data: bytes) -> Polynomial:
    number = int.from_bytes(data, "little")
    return [number >> 12 * i & 0xFFF for i in range(256)]


def compress(values: Polynomial, d: int) -> Polynomial:
    return [((value << d) + Q // 2) // Q % 2**d for value in values]


def sample_ntt(seed: bytes) -> Polynomial:
    stream = hashlib.shake_128(seed).digest(1536)
    found: Polynomial = []
    for i in range(0, len(stream), 3):
        b0, b1, b2 = stream[i : i + 3]
        found += [d for d in (b0 + 256 * (b1 % 16), b1 // 16 + 16 * b2) if d < Q]
    return found[:256]


def sample_cbd_2(seed: bytes, nonce: int) -> Polynomial:
    bits = bits_of(hashlib.shake_256(seed + bytes([nonce])).digest(128))
    return [(bits[4 * i] + bits[4 * i + 1] - bits[4 * i + 2] - bits[4 * i + 3]) % Q for i in range(256)]


def ntt(f: Polynomial) -> Polynomial:
    """By the definition: reduction modulo each X^2 - root."""
    out = []
    for root in ROOTS:
        powers = [pow(root, j, Q) for j in range(128)]
        out += [sum(f[2 * j + odd] * powers[j] for j in range(128)) % Q for odd in (0, 1)]
    return out


def inverse_ntt(g: Polynomial) -> Polynomial:
    scale = pow(128, -1, Q)
    inverses = [pow(root, -1, Q) for root in ROOTS]
    out = []
    for j in range(128):
        powers = [pow(inverse, j, Q) for inverse in inverses]
        out += [sum(g[2 * i + odd] * powers[i] for i in range(128)) * scale % Q for odd in (0, 1)]
    return out


def multiply_ntt(f: Polynomial, g: Polynomial) -> Polynomial:
    out = []
    for i, root in enumerate(ROOTS):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        out += [(a0 * b0 + a1 * b1 * root) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def add(*terms: Polynomial) -> Polynomial:
    return [sum(column) % Q for column in zip(*terms, strict=True)]


def encapsulate(kem: str, public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.Encaps_internal (algorithm 17) with K-PKE.Encrypt (algorithm 14): ciphertext, shared secret."""
    p = PARAMETERS[kem]
    shared_and_r = hashlib.sha3_512(m + hashlib.sha3_256(public).digest()).digest()
    shared, r = shared_and_r[:32], shared_and_r[32:]
    t = [byte_decode_12(public[384 * i : 384 * (i + 1)]) for i in range(p.k)]
    rho = public[384 * p.k :]
    y = [ntt(sample_cbd_2(r, i)) for i in range(p.k)]
    e1 = [sample_cbd_2(r, p.k + i) for i in range(p.k)]
    e2 = sample_cbd_2(r, 2 * p.k)
    ciphertext = b""
    for i in range(p.k):
        column = [multiply_ntt(sample_ntt(rho + bytes([i, j])), y[j]) for j in range(p.k)]
        ciphertext += byte_encode(compress(add(inverse_ntt(add(*column)), e1[i]), p.du), p.du)
    mu = [bit * ((Q + 1) // 2) for bit in bits_of(m)]
    v = add(inverse_ntt(add(*[multiply_ntt(t[i], y[i]) for i in range(p.k)])), e2, mu)
    return ciphertext + byte_encode(compress(v, p.dv), p.dv), shared


# ------------------------------------------------------------------------------------------------ Noise


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def hkdf(ck: bytes, material: bytes, count: int) -> list[bytes]:
    key = hmac.digest(ck, material, "sha512")
    out = [hmac.digest(key, b"\x01", "sha512")]
    while len(out) < count:
        out.append(hmac.digest(key, out[-1] + bytes([len(out) + 1]), "sha512"))
    return out


def seal(key: bytes, n: int, ad: bytes, plaintext: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.GCM(bytes(4) + n.to_bytes(8, "big"))).encryptor()
    encryptor.authenticate_additional_data(ad)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def rekey(key: bytes) -> bytes:
    return seal(key, 2**64 - 1, b"", bytes(32))[:32]


@dataclass(frozen=True)
class Secrets:
    """What both sides put into one run."""

    prologue: bytes
    i_static: bytes
    r_static: bytes
    i_ephemeral: bytes
    r_ephemeral: bytes
    kem_seed: bytes
    kem_m: bytes
    psk: bytes


@dataclass(frozen=True)
class Run:
    """What comes out of it."""

    kem_ciphertext: bytes
    kem_shared: bytes
    messages: list[bytes]
    handshake_hash: bytes
    key_initiator: bytes
    key_responder: bytes


def run_xkhfs_psk3(kem: str, s: Secrets, payloads: list[bytes]) -> Run:
    """`<- s ... -> e, es, e1 / <- e, ee, ekem1 / -> s, se, psk`, then transport messages that alternate."""
    name = f"Noise_XKhfs+psk3_25519+{kem}_AESGCM_SHA512".encode()
    e_i, e_r, s_i, s_r = (public_of(k) for k in (s.i_ephemeral, s.r_ephemeral, s.i_static, s.r_static))
    decapsulator = PRIVATE_KEYS[kem].from_seed_bytes(s.kem_seed)
    kem_public = decapsulator.public_key().public_bytes_raw()
    kem_ciphertext, kem_shared = encapsulate(kem, kem_public, s.kem_m)
    if decapsulator.decapsulate(kem_ciphertext) != kem_shared:
        raise AssertionError("encapsulation here and decapsulation in the library disagree")

    h = ck = name.ljust(64, b"\0")
    h = sha512(h, s.prologue)
    h = sha512(h, s_r)

    # -> e, es, e1
    h = sha512(h, e_i)
    ck, _ = hkdf(ck, e_i, 2)
    ck, k = hkdf(ck, dh(s.i_ephemeral, s_r), 2)
    c_e1 = seal(k[:32], 0, h, kem_public)
    h = sha512(h, c_e1)
    c_payload = seal(k[:32], 1, h, payloads[0])
    h = sha512(h, c_payload)
    first = e_i + c_e1 + c_payload

    # <- e, ee, ekem1
    h = sha512(h, e_r)
    ck, _ = hkdf(ck, e_r, 2)
    ck, k = hkdf(ck, dh(s.r_ephemeral, e_i), 2)
    c_kem = seal(k[:32], 0, h, kem_ciphertext)
    h = sha512(h, c_kem)
    ck, k = hkdf(ck, kem_shared, 2)
    c_payload = seal(k[:32], 0, h, payloads[1])
    h = sha512(h, c_payload)
    second = e_r + c_kem + c_payload

    # -> s, se, psk
    c_static = seal(k[:32], 1, h, s_i)
    h = sha512(h, c_static)
    ck, _ = hkdf(ck, dh(s.i_static, e_r), 2)
    ck, from_psk, k = hkdf(ck, s.psk, 3)
    h = sha512(h, from_psk)
    c_payload = seal(k[:32], 0, h, payloads[2])
    h = sha512(h, c_payload)
    third = c_static + c_payload

    key_i, key_r = (key[:32] for key in hkdf(ck, b"", 2))
    messages = [first, second, third]
    for index, payload in enumerate(payloads[3:]):  # message 3 is the responder's first
        key = key_i if index % 2 else key_r
        messages.append(seal(key, index // 2, b"", payload))
    return Run(kem_ciphertext, kem_shared, messages, h, key_i, key_r)


# ------------------------------------------------------------------------------------------------ vectors


def secrets_for(label: str) -> Secrets:
    """Every value is a hash of its name: nobody chose them, anybody can make them again."""

    def value(what: str, size: int = 32) -> bytes:
        return hashlib.shake_256(f"mpcd known answers/{label}/{what}".encode()).digest(size)

    return Secrets(
        prologue=value("prologue", 40),
        i_static=value("initiator static"),
        r_static=value("responder static"),
        i_ephemeral=value("initiator ephemeral"),
        r_ephemeral=value("responder ephemeral"),
        kem_seed=value("KEM seed", 64),
        kem_m=value("KEM m"),
        psk=value("psk"),
    )


def vector(kem: str, s: Secrets, payloads: list[bytes], run: Run) -> dict[str, object]:
    """A run in the common JSON form, with the three keys for the KEM."""
    return {
        "protocol_name": f"Noise_XKhfs+psk3_25519+{kem}_AESGCM_SHA512",
        "init_prologue": s.prologue.hex(),
        "init_psks": [s.psk.hex()],
        "init_static": s.i_static.hex(),
        "init_ephemeral": s.i_ephemeral.hex(),
        "init_kem_seed": s.kem_seed.hex(),
        "init_remote_static": public_of(s.r_static).hex(),
        "resp_prologue": s.prologue.hex(),
        "resp_psks": [s.psk.hex()],
        "resp_static": s.r_static.hex(),
        "resp_ephemeral": s.r_ephemeral.hex(),
        "resp_kem_ciphertext": run.kem_ciphertext.hex(),
        "resp_kem_shared_secret": run.kem_shared.hex(),
        "handshake_hash": run.handshake_hash.hex(),
        "messages": [
            {"payload": payload.hex(), "ciphertext": message.hex()}
            for payload, message in zip(payloads, run.messages, strict=True)
        ],
    }


def failing(name: str, good: dict[str, object], **changes: object) -> dict[str, object]:
    """A vector that must be refused: the good one with something changed."""
    return {"name": name, **good, **changes, "fail": True}


def flipped(good: dict[str, object], index: int, position: int) -> list[object]:
    """The messages with one bit changed."""
    messages = [dict(message) for message in good["messages"]]  # type: ignore[attr-defined]
    data = bytearray.fromhex(messages[index]["ciphertext"])
    data[position] ^= 1
    messages[index]["ciphertext"] = data.hex()
    return list(messages)


def known_answers() -> dict[str, object]:
    """All vectors of this file."""
    vectors = []
    empty = [b""] * 3
    spoken = [b"", b"version 1", b"roster 7", b"first of the responder", b"first of the initiator", b"", bytes(300)]
    for kem in ("MLKEM1024", "MLKEM768"):
        for label, payloads in (("empty", empty), ("spoken", spoken)):
            s = secrets_for(f"{kem}/{label}")
            vectors.append(vector(kem, s, payloads, run_xkhfs_psk3(kem, s, payloads)))
    good = vectors[1]
    other = secrets_for("another")
    vectors += [
        failing("the responder has another psk", good, resp_psks=[other.psk.hex()]),
        failing("the responder's psk is all zeros", good, resp_psks=[bytes(32).hex()]),
        failing("the responder has another key", good, resp_static=other.r_static.hex()),
        failing("the responder has another prologue", good, resp_prologue=other.prologue.hex()),
        failing("the encrypted KEM public key is changed", good, messages=flipped(good, 0, 32)),
        failing("the encrypted KEM ciphertext is changed", good, messages=flipped(good, 1, 40)),
        failing("the encrypted static key is changed", good, messages=flipped(good, 2, 0)),
        failing("a transport message is changed", good, messages=flipped(good, 4, 3)),
    ]
    return {
        "source": "made by second_implementation.py beside this file; same licence as the project",
        "vectors": vectors,
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(known_answers(), indent=1) + "\n", encoding="utf-8")
