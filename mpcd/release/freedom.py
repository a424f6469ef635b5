"""Degrees of freedom: a model is released only if many more persons stand behind it than it has parameters.

A fit with as many parameters as persons returns the persons' own values.  So persons - parameters must reach
`safe_dof_threshold`.  The number of parameters is public (it is the model's shape: terms, levels, strata and the
intercept), the number of persons is secret and stays so.

As for the floor it must hold without any one owner: an owner knows its own persons, and what a fit tells besides is
about the others.  So the rule is the floor with another threshold, parameters + `safe_dof_threshold`, and where persons
are not disjoint the second-largest owner's persons are what is known to be distinct (`release.floor`).

Iterates of a fit that open on the way hang on the same bit as the fit: the first of them already tells as much.

Source: ACRO and SACRO (residual degrees of freedom of at least 10); own (their evaluation).
Security: as the floor.
Cost: `cost(...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mpcd.errors import Bug
from mpcd.protocols import compare
from mpcd.protocols.context import Context
from mpcd.protocols.cost import WORD_BITS, Cost
from mpcd.release import floor, sums
from mpcd.sharing import Planes

NAME: Final = "freedom"


@dataclass(frozen=True, slots=True)
class Model:
    """One model, or one for each of many cells alike."""

    persons: tuple[Planes, ...]
    """Per owner how many persons it fits on; all models' numbers have one width and count."""
    parameters: int
    """Public, the intercept among them."""


async def fails(ctx: Context, models: Sequence[Model], threshold: int, *, persons_disjoint: bool) -> list[Planes]:
    """A plane of fail bits for each model.

    Args:
        ctx: narrowed to this call.
        models: at least one.
        threshold: `safe_dof_threshold`, at least 1.
        persons_disjoint: from the roster.
    """
    if threshold < 1 or any(model.parameters < 1 for model in models):
        raise Bug("a model has a parameter, and needs a degree of freedom")
    owners = len(models[0].persons)
    terms = [
        term
        for model in models
        for term in floor.terms(model.persons, model.parameters + threshold, persons_disjoint=persons_disjoint)
    ]
    flags = await sums.at_least(ctx.narrow("sums"), terms)
    stacked = [Planes.stack(flags[owner::owners]) for owner in range(owners)]
    needed = floor.needed(owners, persons_disjoint=persons_disjoint)
    holds = await compare.threshold_count(ctx.narrow("owners"), stacked, needed)
    count = models[0].persons[0].count
    return [piece.invert(ctx.index) for piece in holds.unstack([count] * len(models))]


def cost(
    parameters: Sequence[int], owners: int, width: int, words: int, threshold: int, *, persons_disjoint: bool
) -> Cost:
    """Exact cost of `fails`.

    Args:
        parameters: of each model.
        owners: how many give data.
        width: bits of each number of persons.
        words: 64-bit words of one plane of one model.
        threshold: as for `fails`.
        persons_disjoint: as for `fails`.
    """
    sizes = floor.term_sizes(owners, persons_disjoint=persons_disjoint) * len(parameters)
    total = sums.cost(sizes, width, max(parameters) + threshold, words)
    needed = floor.needed(owners, persons_disjoint=persons_disjoint)
    return total + compare.cost_threshold_count(owners, needed, len(parameters) * words * WORD_BITS)
