"""Which instruction set's kernels run (layer 1, no I/O).

The library picks the best table that the machine can run when it is loaded. Tests force each by name; a forced
table holds for the whole process. All kernels release the interpreter's lock while they run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mpcd.field._native import ffi, lib


def active() -> str:
    """Name of the table in use."""
    return ffi.string(lib.field_active()).decode("ascii")


def available() -> tuple[str, ...]:
    """Names of the tables that this machine can run, best first; `portable` is always the last."""
    names: list[str] = []
    while (name := lib.field_available(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode("ascii"))
    return tuple(names)


def force(name: str) -> None:
    """Use the table of that name from now on; `ValueError` if this machine cannot run it."""
    if not lib.field_force(name.encode("ascii")):
        raise ValueError(f"no kernels named {name!r} here; there are {', '.join(available())}")


@contextmanager
def forced(name: str) -> Iterator[None]:
    """Use the table of that name inside a `with` block."""
    before = active()
    force(name)
    try:
        yield
    finally:
        force(before)
