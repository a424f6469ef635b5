"""The choice of the instruction set: forced by name, the same answers, the interpreter's lock released."""

from __future__ import annotations

import threading

import pytest

from mpcd.field import FP, kernels


def test_portable_is_always_there_and_last() -> None:
    assert kernels.available()[-1] == "portable"
    assert kernels.active() in kernels.available()


def test_force_by_name() -> None:
    before = kernels.active()
    for name in kernels.available():
        with kernels.forced(name):
            assert kernels.active() == name
    assert kernels.active() == before


def test_an_unknown_name_changes_nothing() -> None:
    before = kernels.active()
    with pytest.raises(ValueError, match=r"there are .*portable"):
        kernels.force("mmx")
    assert kernels.active() == before


def test_other_threads_run_during_a_kernel() -> None:
    """A kernel of some tens of milliseconds; without the release the counter could not move between start and end."""
    side = 400
    a = FP.from_ints(range(side * side)).reshape(side, side)
    ticks, running, during = [0], threading.Event(), []
    stop = threading.Event()

    def count() -> None:
        running.set()
        while not stop.is_set():
            ticks[0] += 1

    thread = threading.Thread(target=count)
    with kernels.forced("portable"):
        thread.start()
        running.wait()
        for _ in range(5):
            before = ticks[0]
            assert FP.matmul(a, a).shape == (side, side)
            during.append(ticks[0] - before)
        stop.set()
        thread.join()
    assert max(during) > 100
