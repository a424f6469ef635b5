from __future__ import annotations

import itertools

from mpcd import canonical, noise
from mpcd.ids import PartyId
from mpcd.wire import WIRE_VERSION, prologue


def test_every_part_is_bound() -> None:
    made = {
        prologue(consortium=consortium, suite=suite, responder=PartyId(responder), version=version)
        for consortium, suite, responder, version in itertools.product(("a", "ab"), (noise.SUITE, "b"), (1, 2), (1, 2))
    }
    assert len(made) == 16


def test_the_form_is_fixed() -> None:
    assert canonical.decode(prologue(consortium="trial", suite=noise.SUITE, responder=PartyId(3))) == {
        "protocol": "mpcd",
        "version": WIRE_VERSION,
        "consortium": "trial",
        "suite": noise.SUITE,
        "responder": 3,
    }
