"""Nothing about the content of a share can be asked by accident."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from mpcd.errors import Bug
from mpcd.field import FP
from mpcd.sharing import Planes, Replicated

SECRET = 123_456_789


def shares() -> list[Replicated | Planes]:
    vector = FP.from_ints([SECRET, SECRET])
    plane = np.array([[SECRET]], dtype=np.uint64)
    return [Replicated(FP, vector, vector), Planes(plane, plane, 64)]


@pytest.mark.parametrize("share", shares())
def test_repr_shows_shape_only(share: Replicated | Planes) -> None:
    assert str(SECRET) not in repr(share)
    assert str(SECRET) not in f"{share}"


@pytest.mark.parametrize("share", shares())
def test_no_comparison_no_truth_no_iteration(share: Replicated | Planes) -> None:
    with pytest.raises(Bug):
        _ = share == share  # noqa: PLR0124
    with pytest.raises(Bug):
        _ = share != share  # noqa: PLR0124
    with pytest.raises(Bug):
        bool(share)
    with pytest.raises(Bug):
        list(share)
    with pytest.raises(TypeError):
        hash(share)


@pytest.mark.parametrize("share", shares())
def test_frozen_and_not_copied(share: Replicated | Planes) -> None:
    with pytest.raises(Bug):
        share.a = share.b  # type: ignore[misc]
    with pytest.raises(Bug):
        del share.a
    with pytest.raises(Bug):
        pickle.dumps(share)
    with pytest.raises(Bug):
        copy.copy(share)
