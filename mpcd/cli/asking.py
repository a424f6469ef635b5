"""The options of `sql`, `explain` and `quote` that say how a question is asked (layer 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from mpcd import limits
from mpcd.api.flow import Options
from mpcd.cli.privacy import noise_options, privacy_of
from mpcd.errors import ConfigurationInvalid

Function = TypeVar("Function", bound=Callable[..., Any])


def asking_options(function: Function) -> Function:
    """`--purpose`, the noise, and what else belongs to the question itself; `options_of` reads them."""
    return click.option("--purpose", metavar="DUO", help="Declared purpose, e.g. HMB (default: the profile's).")(
        noise_options(function)
    )


def accepting_options(function: Function) -> Function:
    """`--accept`, for what runs."""
    return click.option(
        "--accept",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Accept the price of the quote in FILE (see `mpcctl quote --save`).",
    )(function)


def waiting_option(function: Function) -> Function:
    """`--wait`, for what people may have to approve."""
    return click.option(
        "--wait",
        metavar="TIME",
        callback=_duration,
        help="Where owners let people decide, wait so long for them: 30m, 12h, 7d; see `mpcctl requests`.",
    )(function)


def saving_option(function: Function) -> Function:
    """`--save`, for what brings an answer."""
    return click.option(
        "--save",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Keep the result with everything that proves it, for `mpcctl result verify FILE`.",
    )(function)


_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}


def _duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    """Seconds."""
    if text is None:
        return 0
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise click.BadParameter("write a number and m, h or d, e.g. 7d")
    seconds = int(number) * _UNITS[unit]
    if not 0 < seconds <= limits.APPROVAL_WAIT_SECONDS_MAX:
        raise click.BadParameter(f"at most {limits.APPROVAL_WAIT_SECONDS_MAX // 86_400}d")
    return seconds


def options_of(asked: Mapping[str, object]) -> Options:
    """What the options above say.

    Raises:
        ConfigurationInvalid: the quote cannot be read.
    """
    purpose, accept = cast("str | None", asked.get("purpose")), cast("Path | None", asked.get("accept"))
    return Options(
        purpose=purpose,
        privacy=privacy_of(asked),
        quote=None if accept is None else _read(accept),
        wait_seconds=cast("int", asked.get("wait", 0)),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the quote: {error.strerror}.", path=str(path)) from error
