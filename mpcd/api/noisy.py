"""What a client makes of noise: how wide it is, from the plan that all compute parties signed (layer 12, no I/O)."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from mpcd.api.types import Map
from mpcd.errors import ResultInvalid
from mpcd.governance.privacy import Ask, AskInvalidError, Noise

if TYPE_CHECKING:
    from mpcd.results.interval import HalfWidth

_NAMES = {"laplace": "discrete Laplace", "gaussian": "discrete Gaussian"}


def half_width(plan: Map) -> HalfWidth | None:
    """How far each value is from the exact one with a given chance; None: the plan asks for no noise.

    Raises:
        ResultInvalid: the plan's noise makes no sense.
    """
    told = plan.get("privacy")
    if told is None:
        return None
    try:
        listed = told.get("noise") if isinstance(told, dict) else None
        noises = [Noise.from_value(one) for one in listed] if isinstance(listed, list) else None
    except AskInvalidError:
        noises = None
    if noises is None:
        raise ResultInvalid("the noise in the plan that came with the result is malformed; do not use it")
    found = noises

    @lru_cache(maxsize=4096)
    def width(index: int, level: Fraction) -> int:
        return found[index].half_width(level)

    return width


def asked(plan: Map) -> Ask | None:
    """What the plan says that was asked for; None: exact numbers.  Raises `ResultInvalid`."""
    terms = plan.get("terms")
    encoded = terms.get("privacy") if isinstance(terms, dict) else None
    if encoded is None:
        return None
    try:
        return Ask.decode(encoded if isinstance(encoded, bytes) else b"")
    except AskInvalidError as error:
        raise ResultInvalid("the plan that came with the result asks for a noise that makes no sense") from error


def notes(plan: Map) -> tuple[str, ...]:
    """What must stand below a noisy table."""
    ask = asked(plan)
    if ask is None:
        return ()
    rows = "" if ask.rows_per_person is None else f", at most {ask.rows_per_person} rows of one person at each hospital"
    return (
        (
            f"every number carries {_NAMES[ask.mechanism]} noise that nobody knows: epsilon {ask.epsilon}, delta "
            f"{ask.delta} for the whole answer{rows}"
        ),
        (
            "in brackets: where the exact number lies with 95 % chance, for each number on its own; a count below zero "
            "is noise, and a group with no rows has numbers like any other"
        ),
    )
