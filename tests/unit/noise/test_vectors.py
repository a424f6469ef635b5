"""Facts from others, and our own known answers by a second implementation."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from mpcd import noise
from mpcd.testing import vectors

FOLDER = Path(__file__).parents[2] / "vectors" / "noise"
FILES = {"cacophony-25519.json": 80, "noiseprotocol-patterns.json": 87, "mpcd.json": 12}


@pytest.fixture(scope="module")
def second() -> ModuleType:
    """The second implementation, which no package holds."""
    spec = importlib.util.spec_from_file_location("second_implementation", FOLDER / "second_implementation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FILES)
def test_every_vector_of_every_file_passes(name: str) -> None:
    report = vectors.run_noise(vectors.load(FOLDER / name))
    assert report.failures == []
    assert report.summary == f"{FILES[name]} passed, 0 failed, 0 skipped"


def test_the_patterns_are_all_there() -> None:
    names = [
        cast("dict[str, str]", vector)["protocol_name"].split("_")[1]
        for vector in vectors.load(FOLDER / "noiseprotocol-patterns.json")
    ]
    fundamental = {"N", "K", "X", "NN", "NK", "NX", "KN", "KK", "KX", "XN", "XK", "XX", "IN", "IK", "IX"}
    assert {name for name in names if "psk" not in name} == fundamental
    assert all(f"{pattern}psk2" in names for pattern in ("NN", "XK", "IX"))


def test_the_file_is_what_the_second_implementation_makes(second: ModuleType) -> None:
    made = json.dumps(second.known_answers(), indent=1) + "\n"
    assert (FOLDER / "mpcd.json").read_text(encoding="utf-8") == made


@pytest.mark.parametrize("kem", ["MLKEM1024", "MLKEM768"])
def test_a_run_nobody_recorded_is_the_same_in_both(second: ModuleType, kem: str) -> None:
    secrets = second.secrets_for(f"only in this test/{kem}")
    payloads = [b"one", b"two", b"three", b"four", b"five"]
    run = second.run_xkhfs_psk3(kem, secrets, payloads)
    vectors.run_noise_vector(second.vector(kem, secrets, payloads, run))


@pytest.mark.parametrize("kem", ["MLKEM1024", "MLKEM768"])
def test_the_real_kem_opens_what_the_second_implementation_encapsulates(second: ModuleType, kem: str) -> None:
    real = {"MLKEM1024": noise.MLKEM1024, "MLKEM768": noise.MLKEM768}[kem]
    private, public = real.generate(bytes(range(64)))
    for m in (bytes(32), bytes(range(32)), b"\xff" * 32):
        ciphertext, shared = second.encapsulate(kem, public, m)
        assert len(ciphertext) == real.ciphertext_bytes
        assert private.decapsulate(ciphertext) == shared


def test_the_production_suite_has_known_answers() -> None:
    names = [cast("dict[str, str]", vector)["protocol_name"] for vector in vectors.load(FOLDER / "mpcd.json")]
    assert noise.SUITE in names
    assert noise.SUITE.replace("1024", "768") in names
