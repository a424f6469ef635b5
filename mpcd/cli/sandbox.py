"""`mpcctl sandbox up | status | down` (layer 15)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click

from mpcd.api.profile import current_environment
from mpcd.cli.shared import json_option, write_json, write_table
from mpcd.errors import RequestInvalid

_DIRECTORY = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Where the sandbox lives."
)


_WORDS: Final = """
all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create default
deferrable desc describe distinct do else end except false fetch for foreign from group having in initially
intersect into lambda lateral leading limit not null offset on only or order pivot pivot_longer pivot_wider placing
primary qualify references returning select show some summarize symmetric table then to trailing true union unique
unpivot using variadic when where window with
"""
_RESERVED: Final = frozenset(_WORDS.split())
"""What DuckDB takes for no table's name unless it is quoted."""


@click.group()
def sandbox() -> None:
    """A whole consortium on this machine, for trying things out."""


@sandbox.command()
@click.option("--hospitals", default=3, show_default=True, type=click.IntRange(3, 64), help="How many daemons.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    required=True,
    metavar="NAME=FILE[,FILE...]",
    help="A CSV or Parquet file to split, or one file for each hospital. May be repeated.",
)
@click.option(
    "--split-by",
    "splits",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Split this table so that all rows of one value stay together.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="[N=]FILE",
    help="Policy of every hospital, or of hospital N (default: a permissive one).",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Tables as a roster writes them, e.g. of `mpcctl twin` (default: proposed from the files).",
)
@_DIRECTORY
@json_option
def up(
    hospitals: int,
    tables: tuple[str, ...],
    splits: tuple[str, ...],
    policies: tuple[str, ...],
    schema: Path | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Make and start a sandbox; plain `mpcctl sql` then asks it."""
    from mpcd.sandbox import consortium, layout  # noqa: PLC0415  # with all that a daemon needs
    from mpcd.sandbox.prepare import TableFiles  # noqa: PLC0415

    by = dict(_pair(item, "--split-by") for item in splits)
    wanted = []
    for item in tables:
        name, files = _pair(item, "--table")
        wanted.append(TableFiles(name, tuple(Path(file) for file in files.split(",")), by.pop(name, None)))
    if by:
        raise RequestInvalid(f"--split-by names {', '.join(by)}, which no --table has.")
    environment = current_environment()
    home = (directory or layout.default_directory(environment)).resolve()
    started = consortium.up(home, hospitals, wanted, dict(map(_policy, policies)), environment, _say, schema)
    if as_json:
        write_json(
            {
                "directory": str(started.directory),
                "profile": str(started.profile),
                "tables": dict(started.record.tables),
                "notes": list(started.notes),
                "hospitals": [
                    {"party": h.party, "name": h.name, "port": h.port, "api": h.api, "admin": h.admin}
                    for h in started.record.hospitals
                ],
            }
        )
        return
    _print_started(started)


def _print_started(started: object) -> None:
    from mpcd.sandbox import layout  # noqa: PLC0415
    from mpcd.sandbox.consortium import Started  # noqa: PLC0415

    assert isinstance(started, Started)
    record = started.record
    usual = started.directory == layout.default_directory(current_environment()).resolve()
    where = "" if usual else f" --dir {shlex.quote(str(started.directory))}"
    click.echo(f"sandbox up in {started.directory}")
    for name, rows in record.tables.items():
        click.echo(f"table {name}: {' + '.join(map(str, rows))} rows")
    for note in started.notes:
        click.echo(f"note: {note}")
    click.echo()
    write_table(
        ["hospital", "address", "api socket", "log"],
        [
            [h.name, f"127.0.0.1:{h.port}", h.api, str(started.directory / f"hospital-{h.party}" / "log.json")]
            for h in record.hospitals
        ],
    )
    click.echo()
    query = f"SELECT COUNT(*) FROM {_identifier(next(iter(record.tables)))}"  # noqa: S608  # shown, not run
    click.echo(f"ask:            mpcctl sql {shlex.quote(query)}")
    click.echo("what is there:  mpcctl describe")
    click.echo(f"other shells:   export MPCD_PROFILE={shlex.quote(str(started.profile))}")
    click.echo(f"other daemons:  mpcctl --socket {shlex.quote(record.hospitals[1].admin)} peers")
    click.echo(f"end:            mpcctl sandbox down{where}")


def _identifier(name: str) -> str:
    """A table's name as SQL takes it: in quotes where it is odd, or a word of SQL."""
    plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) is not None and name.lower() not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


@sandbox.command()
@_DIRECTORY
@json_option
@click.pass_context
def status(context: click.Context, directory: Path | None, as_json: bool) -> None:
    """Show whether the sandbox's daemons run and are connected."""
    from mpcd.sandbox import consortium  # noqa: PLC0415

    home = _home(directory)
    record, statuses = consortium.status(home)
    if as_json:
        write_json(
            {
                "directory": str(home),
                "tables": dict(record.tables),
                "hospitals": [
                    {
                        "party": s.hospital.party,
                        "name": s.hospital.name,
                        "alive": s.alive,
                        "connected": None if s.connected is None else s.connected[0],
                        "peers": None if s.connected is None else s.connected[1],
                        "api": s.hospital.api,
                    }
                    for s in statuses
                ],
            }
        )
    else:
        click.echo(f"sandbox in {home}")
        write_table(
            ["hospital", "daemon", "channels", "api socket"],
            [
                [
                    s.hospital.name,
                    _daemon(alive=s.alive, answers=s.connected is not None),
                    "-" if s.connected is None else f"{s.connected[0]} of {s.connected[1]}",
                    s.hospital.api,
                ]
                for s in statuses
            ],
        )
    good = all(s.alive and s.connected is not None and s.connected[0] == s.connected[1] for s in statuses)
    context.exit(0 if good else 5)


def _daemon(*, alive: bool, answers: bool) -> str:
    return "gone" if not alive else "runs" if answers else "does not answer"


@sandbox.command()
@_DIRECTORY
def down(directory: Path | None) -> None:
    """Stop the sandbox's daemons and remove it."""
    from mpcd.sandbox import consortium, layout  # noqa: PLC0415

    home = _home(directory)
    total = layout.read_record(home)
    running = consortium.down(home, current_environment(), _say)
    count = 0 if total is None else len(total.hospitals)
    click.echo(f"sandbox in {home} is gone; {running} of {count} daemons were running")


def _home(directory: Path | None) -> Path:
    from mpcd.sandbox import layout  # noqa: PLC0415

    return (directory or layout.current_directory(current_environment())).resolve()


def _pair(item: str, option: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not name or not equals or not value:
        raise click.UsageError(f"{option} takes NAME=..., not {item!r}.")
    return name, value


def _policy(item: str) -> tuple[int | None, Path]:
    number, equals, path = item.partition("=")
    if equals and number.isdigit():
        return int(number), Path(path)
    return None, Path(item)


def _say(line: str) -> None:
    click.echo(f"... {line}", err=True)
