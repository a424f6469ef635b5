"""`min_owners`: a cell needs that many non-zero contributors, or the few would learn each other's part.

With one contributor the pooled value is its own; with two, each subtracts its own and reads the other's.  Whether an
owner contributes is itself secret, so it is asked on shares: is its count at least 1 (rule 19)?
"""

from __future__ import annotations

from collections.abc import Sequence

from mpcd.release.sums import Term
from mpcd.sharing import Planes

NAME = "min_owners"


def terms(counts: Sequence[Planes]) -> list[Term]:
    """Per owner: does it contribute at all?"""
    return [Term((count,), 1) for count in counts]
