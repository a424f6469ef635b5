"""Values of cells on their way in: one owner's integers as a vector of a field, and the sum over all owners' shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpcd.field import FP, Field, Vector
from mpcd.release.rule import Integers, Share
from mpcd.sharing import Replicated


def vector(field: Field, values: Sequence[int] | Integers) -> Vector:
    """One value's cells as a vector over `field`; signed integers become their residues."""
    if isinstance(values, np.ndarray) and field is FP:
        return field.from_int64(values)
    return field.from_ints(int(value) for value in values)


def pooled(shares: Sequence[Share]) -> Replicated:
    """The sum of one vector of every owner: local."""
    total = shares[0]
    assert isinstance(total, Replicated)
    for share in shares[1:]:
        assert isinstance(share, Replicated)
        total += share
    return total
