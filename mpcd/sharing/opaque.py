"""What all shares have in common: nothing about their content can be asked by accident."""

from __future__ import annotations

from typing import Any, NoReturn

from mpcd.errors import Bug


class Opaque:
    """Base of shares: frozen, no equality, no truth value, no content in `repr`, not picklable."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise Bug(f"shares are immutable; {name} was not set")

    def __delattr__(self, name: str) -> NoReturn:
        raise Bug(f"shares are immutable; {name} was not deleted")

    def __eq__(self, other: object) -> NoReturn:
        raise Bug("shares have no ==; use protocols.compare.equal")

    def __ne__(self, other: object) -> NoReturn:
        raise Bug("shares have no !=; use protocols.compare.equal")

    def __bool__(self) -> NoReturn:
        raise Bug("shares have no truth value; use protocols.select")

    def __iter__(self) -> NoReturn:
        raise Bug("shares are not iterated; everything is a vector")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise Bug("shares are neither pickled nor copied")
