"""How often the best cheater gets through on toy fields: measured, and as predicted.

The same code as in production, with a modulus so small that cheating pays.  One product is wrong; from then on the
cheater gives its error polynomial as many roots as it can have (`testing.cheater`, strategy "roots").  At each level a
nonzero error survives unless the coin hits a root, so with coefficients that are zero with probability z,

    P(pass) = 1 - (1 - z) * product over levels of (1 - (2 L - 2) / (|F| - 1)).

Failure condition: the measured rate is more than 4 standard deviations from the prediction, the prediction is above
the documented bound, or "passing" and "the tracked error is zero" ever differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from mpcd.errors import CheatDetected
from mpcd.field import Field, Vector
from mpcd.field.reference import ReferenceBinary
from mpcd.ids import COMPUTE_ROLES
from mpcd.protocols import binary, multiply
from mpcd.protocols.claims import Claim, Record, levels_of
from mpcd.protocols.cost import Check
from mpcd.protocols.verify import PRODUCTS, InnerProducts, MatrixProduct, Relation
from mpcd.protocols.verify_batch import Malicious, soundness
from mpcd.testing.cheater import CheatingVerifier, Lie, Nobody, Strategy, lying
from mpcd.testing.toy import ToyField
from mpcd.testing.world import Bits, World, opened, reconstruct

PRIME = 61


class InPlace(ToyField):
    """Messages are views of the vectors, as in production, so that the liar can follow its own lie."""

    def encode(self, v: Vector) -> memoryview[int]:
        return v.reshape(-1).view(np.uint8).data


FIELD = InPlace(PRIME)


def passed(seed: int, protocol: Callable[..., Any], arguments: tuple[Any, ...], lie: Lie) -> bool:
    """Whether the honest parties open after the lie."""
    verifiers: list[CheatingVerifier] = []

    def verifier() -> CheatingVerifier:
        verifiers.append(CheatingVerifier(lie))
        return verifiers[-1]

    world = World(seed, FIELD, verifier=Malicious).corrupt(Nobody(COMPUTE_ROLES[1]))
    world.lie(1, lambda own: lying(own, lie, FIELD), verifier)
    try:
        world.run(opened(protocol), *arguments)
    except CheatDetected:
        assert not verifiers[0].escaped
        return False
    assert lie.told == 1
    assert verifiers[0].escaped
    return True


def check(rate: float, predicted: float, runs: int) -> None:
    deviation = math.sqrt(predicted * (1 - predicted) / runs)
    assert abs(rate - predicted) < 4 * deviation, f"{rate:.3f} measured, {predicted:.3f} predicted"


def prediction(zero: float, levels: list[int], strategy: Strategy) -> float:
    """Of `roots`; the others put the error in one or two places, so that their polynomials have fewer roots."""
    survive = 1 - zero
    for chunk in levels:
        roots = 2 * chunk - 2 if strategy == "roots" else 0
        survive *= 1 - roots / (PRIME - 1)
    return 1 - survive


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Relation, int, float]] = {
    "products": (multiply.mul, (list(range(16)), list(range(16))), PRODUCTS, 16, 1 / PRIME),
    "inner": (multiply.inner_product, (list(range(16)), list(range(16)), 4), InnerProducts(4), 16, 1 / PRIME),
    "matrix": (
        multiply.matrix_product,
        (list(range(8)), list(range(8)), (2, 4, 2)),
        MatrixProduct(2, 4, 2),
        8,
        1 - (1 - 1 / PRIME) ** 2,
    ),
}


@pytest.mark.parametrize("strategy", ["roots", "still"])
@pytest.mark.parametrize("name", CASES)
def test_measured_equals_predicted(name: str, strategy: Strategy) -> None:
    protocol, arguments, relation, elements, zero = CASES[name]
    runs = 300
    name = protocol.__name__
    hits = sum(passed(seed, protocol, arguments, Lie(name, 0, 1 + seed % 60, strategy)) for seed in range(runs))
    chunks = -(-(relation.inner if isinstance(relation, MatrixProduct) else elements) // 4)
    predicted = prediction(zero, levels_of(chunks, 4), strategy)
    check(hits / runs, predicted, runs)
    assert predicted <= soundness([Check(FIELD, relation, elements)])


def test_lying_about_the_mask_gate_too_gains_nothing() -> None:
    """c - e for the first error e, before any coefficient is known: as if nothing had been added."""
    protocol, arguments, _, _, zero = CASES["products"]
    runs = 300
    hits = sum(passed(seed, protocol, arguments, Lie("mul", 0, 1 + seed % 60, "mask")) for seed in range(runs))
    check(hits / runs, zero, runs)


def test_ands_over_a_toy_field() -> None:
    """GF(2^6), whole words of ANDs; the cheater flips one bit of the first chunk, whose coefficient is alpha."""
    toy = ReferenceBinary("toy", 6, 0b11)
    order = 64
    runs = 60
    x = Bits.of([1] * 8, 1)
    hits = 0
    for seed in range(runs):
        lie = Lie("and_", 0, 1, "roots")
        verifiers: list[CheatingVerifier] = []

        def verifier(lie: Lie = lie, made: list[CheatingVerifier] = verifiers) -> CheatingVerifier:
            made.append(CheatingVerifier(lie, toy))
            return made[-1]

        world = World(seed, verifier=lambda: Malicious(toy)).corrupt(Nobody(COMPUTE_ROLES[2]))
        world.lie(2, partial(lying, lie=lie, over=FIELD), verifier)
        try:
            world.run(opened(binary.and_), x, x)
        except CheatDetected:
            assert not verifiers[0].escaped
        else:
            assert verifiers[0].escaped
            hits += 1
    survive = 1 - 1 / order
    for chunk in levels_of(8, 8):
        survive *= 1 - (2 * chunk - 2) / (order - 1)
    check(hits / runs, 1 - survive, runs)


class Watching(Malicious):
    """Keeps the last sharing of every claim."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[Claim] = []

    def claim(self, field: Field, records: Sequence[Record], first: int) -> Claim:
        self.claims.append(super().claim(field, records, first))
        return self.claims[-1]


@pytest.mark.parametrize("secret", [0, 3])
def test_what_the_check_opens_is_uniform(secret: int) -> None:
    """X and Y over F_5 take each of the 25 pairs equally often, whatever was multiplied; T is their product."""
    small, runs = ToyField(5), 500
    seen = np.zeros((5, 5))
    for seed in range(runs):
        world = World(seed, small, verifier=Watching)
        world.run(opened(multiply.mul), [secret] * 3, [secret, 1, secret])
        shares = [verifier.claims[0].last() for verifier in world.deferred if isinstance(verifier, Watching)]
        x, y, t = small.to_ints(reconstruct(shares))
        assert x * y % 5 == t
        seen[x, y] += 1
    expected = runs / 25
    assert ((seen - expected) ** 2 / expected).sum() < 52  # chi-square, 24 degrees of freedom: exceeded once in 1,000
