"""`mpcctl peers | table | reload | drain` (layer 15)."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path

import click

from mpcd.api.types import Map, Method
from mpcd.cli.shared import connect, json_option, maps, show, texts, write_json, write_table


@click.command()
@json_option
@click.pass_context
def peers(context: click.Context, as_json: bool) -> None:
    """Show the channels to the other parties."""
    with connect(context, admin=True) as client:
        answer = client.call(Method.PEERS)
    if as_json:
        write_json(answer)
        return
    rows = [
        [show(peer.get(key)) for key in ("party", "name", "state", "dialled")] + [show(peer.get("detail"))]
        for peer in maps(answer, "peers")
    ]
    write_table(["party", "name", "state", "dialled", "detail"], rows)


@click.group()
def table() -> None:
    """Import, publish and list this party's tables."""


@table.command(name="list")
@json_option
@click.pass_context
def list_tables(context: click.Context, as_json: bool) -> None:
    """Show this party's tables, all imported versions of each, the newest first, and which one answers requests."""
    with connect(context, admin=True) as client:
        answer = client.call(Method.TABLE_LIST)
    if as_json:
        write_json(answer)
        return
    rows = []
    for item in maps(answer, "tables"):
        name, versions = show(item.get("name")), maps(item, "versions")
        rows += [
            [name, _version_state(version), show(version.get("rows")), _time(version, "imported_at"), _short(version)]
            for version in versions
        ]
        if not versions:
            rows.append([name, "absent", "-", "-", "-"])
    write_table(["table", "state", "rows", "imported (UTC)", "data version"], rows)


def _version_state(version: Map) -> str:
    state = "published" if version.get("published") is True else "imported"
    return state if version.get("fits_roster") is not False else f"{state}, under another roster"


def _short(item: Map) -> str:
    """As much of a data version as names it."""
    return show(item.get("data_version"))[:16]


@table.command(name="import")
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def import_table(context: click.Context, name: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Turn FILES (or those that mpcd.toml names) into an immutable version of table NAME."""
    paths = [str(path.resolve()) for path in files]
    with connect(context, admin=True) as client:
        answer = client.call(Method.TABLE_IMPORT, {"table": name, "paths": list(paths)})
    if as_json:
        write_json(answer)
        return
    click.echo(
        f"imported {show(answer.get('rows'))} rows of {name} as version {_short(answer)}; to let it answer requests:\n"
        f"  mpcctl table publish {shlex.quote(name)} --version {_short(answer)}"
    )
    for note in texts(answer.get("notes")):
        click.echo(f"note: {note}")


@table.command()
@click.argument("name")
@click.option("--version", "data_version", metavar="HASH", help="Data version or its beginning (default: the newest).")
@json_option
@click.pass_context
def publish(context: click.Context, name: str, data_version: str | None, as_json: bool) -> None:
    """Let a version of table NAME answer requests from now on."""
    params: Map = {"table": name} if data_version is None else {"table": name, "data_version": data_version}
    with connect(context, admin=True) as client:
        answer = client.call(Method.TABLE_PUBLISH, params)
    if as_json:
        write_json(answer)
        return
    click.echo(f"published {name}: {show(answer.get('rows'))} rows, version {_short(answer)}")


@click.command()
@json_option
@click.pass_context
def reload(context: click.Context, as_json: bool) -> None:
    """Let the daemon read its policy again and say what changed; a wrong file leaves the old one in force."""
    with connect(context, admin=True) as client:
        answer = client.call(Method.RELOAD)
    if as_json:
        write_json(answer)
        return
    changed = texts(answer.get("changed"))
    click.echo("reloaded" if changed else "reloaded; nothing changed")
    for line in changed:
        click.echo(f"  {line}")
    for warning in texts(answer.get("warnings")):
        click.echo(f"warning: {warning}")


@click.command()
@click.option("--off", is_flag=True, help="Take new requests again.")
@click.pass_context
def drain(context: click.Context, off: bool) -> None:
    """Let the daemon take no new requests; those that run go on.

    It holds until `mpcctl drain --off`, or until the daemon starts again; `mpcctl status` says `draining`.
    """
    with connect(context, admin=True) as client:
        answer = client.call(Method.DRAIN, {"off": True} if off else {})
    if off:
        click.echo("running; new requests are taken again")
        return
    click.echo(f"draining; {show(answer.get('jobs_running'))} sessions still run")


def _time(entry: Map, key: str = "at") -> str:
    at = entry.get(key)
    if not isinstance(at, (int, float)):
        return "-"
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
