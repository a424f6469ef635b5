"""What a plan under differential privacy will do, in sentences: what is opened, how exactly, at what loss (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mpcd.canonical import Value
from mpcd.compile.privacy import PlanPrivacy
from mpcd.governance.privacy import Noise
from mpcd.plan import ir

NAMES: Final[Mapping[str, str]] = {"laplace": "discrete Laplace", "gaussian": "discrete Gaussian"}

Sentence = Callable[[ir.LocalValue], str]
"""One value in words."""


def _noise(noise: Noise) -> str:
    if not noise.size:
        return "without noise, since no person can move it"
    return f"with {NAMES[noise.mechanism]} noise of standard deviation {noise.deviation:.3g}"


def opened(privacy: PlanPrivacy, logical: ir.LogicalPlan, sentence: Sentence) -> list[str]:
    """A sentence for each thing that is opened to the analyst."""
    each = "the answer" if not logical.keys else f"each of {logical.cells} cells"
    owners = len(logical.owners)
    return [
        f"{sentence(value)}, pooled over {owners} owners, for {each}, {_noise(noise)}"
        for value, noise in zip(logical.values, privacy.noises, strict=True)
    ]


def accuracy(privacy: PlanPrivacy, logical: ir.LogicalPlan, sentence: Sentence) -> list[str]:
    """How near each opened number will be to the exact one."""
    return [
        f"{sentence(value)}: within {noise.half_width()} of the exact number with 95 % chance"
        for value, noise in zip(logical.values, privacy.noises, strict=True)
    ]


def rules(privacy: PlanPrivacy, logical: ir.LogicalPlan) -> list[str]:
    """A sentence for each rule."""
    ask = privacy.ask
    rows = "one row" if ask.rows_per_person is None else f"at most {ask.rows_per_person} rows, chosen at random,"
    several = "" if logical.persons_disjoint else f", at each of {len(logical.owners)} owners that may know the person"
    return [
        f"differential privacy: epsilon {ask.epsilon}, delta {ask.delta} for one person in the whole answer",
        "noise: drawn inside the computation, so that nobody knows it",
        f"contribution: {rows} of one person counts{several}, within the declared bounds",
        f"budget: zCDP rho {float(privacy.charge.rho):.6g} at every owner, whatever comes out",
        "no floor and no suppression: every cell is shown, those without rows too; noise alone protects",
    ]


def facts(privacy: PlanPrivacy) -> dict[str, Value]:
    """For programs: what was asked for, and what it takes of a budget."""
    return {**privacy.ask.to_value(), "rho_units": privacy.charge.rho_units}
