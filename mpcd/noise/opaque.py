"""The base of everything that holds a key (layer 1, no I/O).

A secret has no representation, no equality, no truth value, no hash and no pickle: what could leak it or compare it in
variable time raises `TypeError` where the mistake is, or prints the class's name and nothing else.
"""

from __future__ import annotations

from typing import NoReturn, final


class Opaque:
    """An object with secrets inside: it prints as its class and cannot be compared, hashed, tested or pickled."""

    __slots__ = ()

    @final
    def __repr__(self) -> str:
        return f"<{type(self).__name__}: not shown>"

    @final
    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be compared")

    @final
    def __ne__(self, other: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be compared")

    @final
    def __hash__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be hashed")

    @final
    def __bool__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no truth value")

    @final
    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied")
