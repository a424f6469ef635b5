from __future__ import annotations

import copy
import pickle

import pytest

from mpcd.noise.opaque import Opaque
from mpcd.testing.channels import HandshakePair, cipher_pair


def secrets() -> list[Opaque]:
    pair = HandshakePair()
    sender, _ = cipher_pair()
    assert pair.initiator._s is not None
    assert sender._cipher is not None
    return [pair.initiator, pair.initiator._symmetric, pair.initiator._s, sender, sender._cipher]


@pytest.mark.parametrize("secret", secrets(), ids=lambda secret: type(secret).__name__)
def test_a_secret_cannot_be_shown_compared_tested_hashed_or_copied(secret: Opaque) -> None:
    expected = f"<{type(secret).__name__}: not shown>"
    assert [repr(secret), str(secret), f"{secret}", f"{secret!r}"] == [expected] * 4
    for misuse in (
        lambda: secret == secret,  # noqa: PLR0124 - that is the point
        lambda: secret != b"",
        lambda: bool(secret),
        lambda: hash(secret),
        lambda: pickle.dumps(secret),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy(secret),
    ):
        with pytest.raises(TypeError):
            misuse()
    with pytest.raises((AttributeError, TypeError)):
        vars(secret)
