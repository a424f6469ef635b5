"""The options of `sql`, `explain` and `quote` that say how a question is asked (layer 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from mpcd.api.flow import Options
from mpcd.errors import ConfigurationInvalid

Function = TypeVar("Function", bound=Callable[..., Any])


def asking_options(function: Function) -> Function:
    """`--purpose` and what else belongs to the question itself; `options_of` reads them."""
    return click.option("--purpose", metavar="DUO", help="Declared purpose, e.g. HMB (default: the profile's).")(
        function
    )


def accepting_options(function: Function) -> Function:
    """`--accept`, for what runs."""
    return click.option(
        "--accept",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Accept the price of the quote in FILE (see `mpcctl quote --save`).",
    )(function)


def options_of(asked: Mapping[str, object]) -> Options:
    """What the options above say.

    Raises:
        ConfigurationInvalid: the quote cannot be read.
    """
    purpose, accept = cast("str | None", asked.get("purpose")), cast("Path | None", asked.get("accept"))
    return Options(purpose=purpose, quote=None if accept is None else _read(accept))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the quote: {error.strerror}.", path=str(path)) from error
