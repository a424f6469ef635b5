"""The floor: a cell is releasable only if enough people stand behind it, even without the largest contributor's.

Let c_h be owner h's distinct persons in the cell and t the threshold (`safe_threshold`, at least 1).

*Persons disjoint over owners*: pooled count minus the largest contributor's reaches t.  The largest need not be found:
the condition holds exactly if, for *every* owner h, the sum of the others' counts reaches t.  No contributor can then
subtract its own part and be left with fewer than t persons, and a disease with two cases at each of nine hospitals is
releasable.

*Persons not disjoint*: the same person may be counted by several owners, so sums prove nothing.  What remains a sound
lower bound on the distinct persons outside the largest contributor is the second-largest owner's own count: at least
two owners must reach t each (rule 20).
"""

from __future__ import annotations

from collections.abc import Sequence

from mpcd.release.sums import Term
from mpcd.sharing import Planes

NAME = "floor"


def terms(counts: Sequence[Planes], threshold: int, *, persons_disjoint: bool) -> list[Term]:
    """The questions whose answers decide the rule, one per owner.

    Args:
        counts: each owner's persons, all of one width; at least two owners.
        threshold: t, at least 1.
        persons_disjoint: from the roster.
    """
    if not persons_disjoint:
        return [Term((count,), threshold) for count in counts]
    return [
        Term(tuple(count for place, count in enumerate(counts) if place != owner), threshold)
        for owner in range(len(counts))
    ]


def term_sizes(owners: int, *, persons_disjoint: bool) -> list[int]:
    """How many numbers each term adds."""
    return [owners - 1 if persons_disjoint else 1] * owners


def needed(owners: int, *, persons_disjoint: bool) -> int:
    """How many of the terms must hold."""
    return owners if persons_disjoint else 2
