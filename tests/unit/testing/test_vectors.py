"""The runner must be able to fail: a vector that is wrong anywhere is reported, one that is not for us is skipped."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpcd.testing import vectors

FOLDER = Path(__file__).parents[2] / "vectors" / "noise"
Vector = dict[str, Any]


def public(name: str) -> Vector:
    for vector in vectors.load(FOLDER / "cacophony-25519.json"):
        assert isinstance(vector, dict)
        if vector["protocol_name"] == name:
            return copy.deepcopy(vector)
    raise AssertionError(name)


@pytest.fixture
def good() -> Vector:
    return public("Noise_XKpsk3_25519_AESGCM_SHA512")


def flip(text: str, position: int = 5) -> str:  # X25519 ignores the lowest bits of a private key
    data = bytearray.fromhex(text)
    data[position] ^= 1
    return data.hex()


def change(key: str) -> Callable[[Vector], None]:
    return lambda vector: vector.update({key: flip(vector[key])})


def change_message(index: int, key: str) -> Callable[[Vector], None]:
    return lambda vector: vector["messages"][index].update({key: flip(vector["messages"][index][key])})


WRONG: dict[str, Callable[[Vector], None]] = {
    "prologue": change("init_prologue"),
    "receiver's prologue": change("resp_prologue"),
    "receiver's static": change("resp_static"),
    "static": change("init_static"),
    "ephemeral": change("resp_ephemeral"),
    "remote static": change("init_remote_static"),
    "hash": change("handshake_hash"),
    "psk": lambda vector: vector.update(resp_psks=[flip(vector["resp_psks"][0])]),
    "both psks": lambda vector: vector.update(
        resp_psks=[flip(vector["resp_psks"][0])], init_psks=[flip(vector["init_psks"][0])]
    ),
    "ciphertext 0": change_message(0, "ciphertext"),
    "payload 1": change_message(1, "payload"),
    "ciphertext 2": change_message(2, "ciphertext"),
    "ciphertext 5": change_message(5, "ciphertext"),
    "payload 5": change_message(5, "payload"),
    "hash before the end": lambda vector: vector.update(messages=vector["messages"][:2]),
    "fail but holds": lambda vector: vector.update(fail=True),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_vector_fails(good: Vector, wrong: str) -> None:
    vectors.run_noise_vector(good)
    WRONG[wrong](good)
    with pytest.raises(vectors.VectorFailed):
        vectors.run_noise_vector(good)


@pytest.mark.parametrize(
    "wrong", ["receiver's prologue", "receiver's static", "psk", "ciphertext 0", "ciphertext 2", "ciphertext 5"]
)
def test_a_vector_that_must_fail_passes_if_it_is_refused(good: Vector, wrong: str) -> None:
    WRONG[wrong](good)
    good["fail"] = True
    vectors.run_noise_vector(good)


def test_optional_keys_may_be_absent_or_null(good: Vector) -> None:
    for value in ({}, {"handshake_hash": None, "fail": None, "fallback": False, "name": "text"}):
        vector = {key: item for key, item in good.items() if key != "handshake_hash"} | value
        vectors.run_noise_vector(vector)
    del good["init_remote_static"]  # it follows from the responder's own key
    vectors.run_noise_vector(good)
    good["init_psk"], good["resp_psk"] = good.pop("init_psks")[0], good.pop("resp_psks")[0]
    vectors.run_noise_vector(good)
    good["name"] = good.pop("protocol_name")
    vectors.run_noise_vector(good)


SKIPPED = [
    "Noise_X1K_25519_AESGCM_SHA256",
    "Noise_XX_448_AESGCM_SHA256",
    "Noise_XXfallback_25519_AESGCM_SHA256",
    "NoisePSK_XX_25519_AESGCM_SHA256",
    "Noise_XXhfs_25519+Kyber1024_AESGCM_SHA256",
    "Noise_XXhfs_25519+448_AESGCM_SHA256",
    "Noise_XX_25519_AESGCM_SHA3/256",
    "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256",
    "nothing that anybody knows",
]


@pytest.mark.parametrize("name", SKIPPED)
def test_what_is_not_provided_is_skipped_with_a_reason(good: Vector, name: str) -> None:
    with pytest.raises(vectors.VectorSkipped, match=r"."):
        vectors.run_noise_vector(good | {"protocol_name": name})


def test_noise_pipes_are_skipped(good: Vector) -> None:
    with pytest.raises(vectors.VectorSkipped):
        vectors.run_noise_vector(good | {"fallback": True, "fallback_pattern": "XXfallback"})


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol_name": None},
        {"protocol_name": 3},
        {"init_static": "xyz"},
        {"init_static": 3},
        {"init_static": None},
        {"init_static": "00"},
        {"init_ephemeral": None},
        {"init_ephemeral": "00"},
        {"init_psks": []},
        {"init_psks": "00"},
        {"init_psks": ["00"]},
        {"init_psks": [None]},
        {"init_remote_static": "00"},
        {"messages": None},
        {"messages": []},
        {"messages": [3]},
        {"messages": [{"payload": ""}]},
        {"messages": [{"payload": "", "ciphertext": "0"}]},
        {"messages": [{"payload": "00" * 70_000, "ciphertext": ""}]},
        {"fail": "no"},
    ],
)
def test_a_malformed_vector_has_failed_and_nothing_crashes(good: Vector, changes: Vector) -> None:
    with pytest.raises(vectors.VectorFailed):
        vectors.run_noise_vector(good | changes)


def test_a_file_of_everything(good: Vector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"vectors": [good, good | {"protocol_name": SKIPPED[0]}, 3, None]}), encoding="utf-8")
    assert vectors.main(["noise", str(path)]) == vectors.EXIT_FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 passed, 2 failed, 1 skipped"
    assert len(lines) == 4
    path.write_text(json.dumps([good]), encoding="utf-8")
    assert vectors.main(["noise", str(path)]) == vectors.EXIT_PASSED
    assert capsys.readouterr().out == "1 passed, 0 failed, 0 skipped\n"


@pytest.mark.parametrize("text", ["", "{", "{}", "3", '{"vectors": 3}'])
def test_a_file_that_is_none_is_said_to_be_none(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    assert vectors.main(["noise", str(path)]) == vectors.EXIT_UNUSABLE
    assert "not a file of test vectors" in capsys.readouterr().err
    assert vectors.main(["noise", str(tmp_path / "absent.json")]) == vectors.EXIT_UNUSABLE


def test_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mpcd.testing.vectors", "noise", str(FOLDER / "cacophony-25519.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "80 passed, 0 failed, 0 skipped")
