"""Every test of a kernel runs once per instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mpcd.field import kernels


@pytest.fixture(params=kernels.available(), scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.forced(request.param):
        yield request.param
