"""The options by which `sql`, `explain` and `quote` ask for differential privacy (layer 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import click

from mpcd.governance import privacy

Function = TypeVar("Function", bound=Callable[..., Any])
DELTA_DEFAULT: Final = "0.000001"
"""One in a million: far below one in the persons of a data set."""
_OPTIONS: Final = (
    click.option("--epsilon", metavar="NUMBER", help="Answer with noise: differential privacy of this epsilon."),
    click.option("--delta", metavar="NUMBER", help=f"The chance that epsilon may fail by (default {DELTA_DEFAULT})."),
    click.option(
        "--noise",
        type=click.Choice(privacy.MECHANISMS),
        help="Distribution of the noise (default gaussian, which costs less of a budget).",
    ),
    click.option(
        "--rows-per-person",
        metavar="N",
        type=int,
        help="How many rows of one person may count, where persons have several: more rows, more noise.",
    ),
)


def noise_options(function: Function) -> Function:
    """`--epsilon`, `--delta`, `--noise`, `--rows-per-person`; `privacy_of` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def privacy_of(asked: Mapping[str, object]) -> bytes | None:
    """The noise that the options ask for, as a request carries it; None without --epsilon.

    Raises:
        click.UsageError: the options make no sense.
    """
    epsilon = cast("str | None", asked.get("epsilon"))
    if epsilon is None:
        for name in ("delta", "noise", "rows_per_person"):
            if asked.get(name) is not None:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} belongs to --epsilon: exact numbers carry no noise."
                )
        return None
    mechanism = cast("privacy.Mechanism", asked.get("noise") or "gaussian")
    delta = cast("str | None", asked.get("delta")) or DELTA_DEFAULT
    rows = cast("int | None", asked.get("rows_per_person"))
    try:
        ask = privacy.Ask(mechanism, privacy.decimal_text(epsilon), privacy.decimal_text(delta), rows)
    except privacy.AskInvalidError as error:
        raise click.UsageError(f"{error}.") from error
    return ask.encode()
