"""What several commands share: connecting, output forms, plain tables (layer 15)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mpcd.api import profile as profiles
from mpcd.api.client import Client
from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.errors import ConfigurationInvalid

NAME: Final = "mpcctl"
SYSTEM_SOCKET: Final = Path("/run/mpcd/api.sock")
SYSTEM_ADMIN_SOCKET: Final = Path("/run/mpcd/admin.sock")
_YEAR_10000_MILLISECONDS: Final = 253_402_300_800_000
Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(function)


def connect(context: click.Context, *, admin: bool = False, signs: bool = False) -> Client:
    """A greeted client, by the options before the command's name.

    Args:
        context: click's.
        admin: prefer the host's administration socket where there is no profile.
        signs: the command cannot do without a profile.

    Raises:
        ConfigurationInvalid: no profile, and one is needed.
        DaemonUnavailable: nobody answers.
    """
    named, socket = context.find_root().obj
    if signs or named is not None:
        return Client.connect(socket, _profile(named), name=NAME)
    if socket is not None:
        return Client.connect(socket, name=NAME)
    directory = profiles.find(None, profiles.current_environment())
    if (directory / profiles.FILE).exists():
        return Client.connect(None, directory, name=NAME)
    system = SYSTEM_ADMIN_SOCKET if admin else SYSTEM_SOCKET
    if not system.exists():
        raise ConfigurationInvalid(
            f"There is no profile in {directory} and no daemon at {system}; name one with --profile or --socket, "
            "or try mpcd with `mpcctl sandbox up`."
        )
    return Client.connect(system, name=NAME)


def _profile(named: str | None) -> profiles.Profile:
    return profiles.Profile.load(profiles.find(named, profiles.current_environment()))


def write_json(value: object) -> None:
    """One JSON document on stdout; bytes as hexadecimal."""
    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False))


def jsonable(value: object) -> object:
    """`value` with what JSON lacks written as text."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return value


def write_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table, columns as wide as they need to be."""
    widths = [max(len(name), *(len(row[i]) for row in rows)) if rows else len(name) for i, name in enumerate(names)]
    for line in (names, ["-" * width for width in widths], *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def maps(value: Map, key: str) -> list[Map]:
    """The list of maps at `key`; what is not one is left out."""
    items = value.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def texts(value: Value) -> list[str]:
    """A list's items as text; nothing for what is no list."""
    return [show(item) for item in value] if isinstance(value, list) else []


def show(value: Value) -> str:
    """One value for people."""
    match value:
        case None:
            return "-"
        case True | False:
            return "yes" if value else "no"
        case bytes():
            return value.hex()[:16]
        case float():
            return f"{value:.6g}"
        case list():
            return ", ".join(show(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{key} {show(item)}" for key, item in value.items()) or "-"
        case _:
            return printable(str(value))


def moment(milliseconds: Value) -> str:
    """A time in UTC, to the minute; `-` for what is none."""
    if not isinstance(milliseconds, int) or not 0 < milliseconds < _YEAR_10000_MILLISECONDS:
        return "-"
    import datetime as dt  # noqa: PLC0415  # few commands show times

    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M")


def printable(text: str) -> str:
    """`text` with control characters escaped, line ends kept: nothing from a daemon or a peer steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def plural(count: int, what: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def kilobytes(count: int) -> str:
    """A number of bytes for people."""
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1e3:.1f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"
