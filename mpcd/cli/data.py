"""`mpcctl data check | publish | versions | retire | overlap | opt-out`: a steward's data (layer 15)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import click

from mpcd import limits
from mpcd.api.client import Client
from mpcd.api.types import Map
from mpcd.cli.shared import connect, json_option, maps, moment, plural, show, texts, write_json, write_table
from mpcd.errors import ConfigurationInvalid, RequestInvalid

_METHOD: Final = "mpc.v1.Data"
_SHORT: Final = 16


@click.group()
def data() -> None:
    """Check, publish and retire versions of this owner's tables; take out persons who opted out."""


def _files(paths: tuple[Path, ...]) -> list[str]:
    return [str(path.resolve()) for path in paths]


@data.command()
@click.argument("table")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def check(context: click.Context, table: str, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Say what a snapshot of FILES (or those that mpcd.toml names) would be; nothing is changed."""
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Check", {"table": table, "paths": list(_files(files))})
    if as_json:
        write_json(answer)
        return
    click.echo(f"{table} would be version {_version(answer)}: {_sizes(answer)}")
    _report(answer)
    _compared(answer)


def _compared(answer: Map) -> None:
    if not answer.get("compared"):
        click.echo("nothing was published before that it could be compared with")
    elif answer.get("nearest") is None:
        click.echo("no person differs from what answers now or answered before")
    else:
        near = f"{plural(_count(answer, 'changed_persons'), 'person')} from version {show(answer['nearest'])[:_SHORT]}"
        click.echo(f"differs by at least {near}")
        if answer.get("too_near") is True:
            click.echo(
                f"note: fewer than safe_threshold {show(answer.get('safe_threshold'))}; publishing it needs --force "
                "and a reason"
            )


@data.command()
@click.argument("table")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--version", "data_version", metavar="HASH", help="A version that is here already, or its beginning.")
@click.option("--force", is_flag=True, help="Also if it differs by too few persons from another, or was retired.")
@click.option("--reason", metavar="TEXT", default="", help="Why it is forced; stands in the ledger.")
@click.option("--yes", is_flag=True, help="Also if licences or offers cover the data of their time alone.")
@json_option
@click.pass_context
def publish(
    context: click.Context,
    table: str,
    files: tuple[Path, ...],
    data_version: str | None,
    reason: str,
    *,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a snapshot of FILES (or those that mpcd.toml names) and let it answer requests from now on."""
    if force != bool(reason.strip()):
        raise click.UsageError("--force and --reason go together")
    if data_version is not None and files:
        raise click.UsageError("name either files or a version")
    params: Map = {"table": table, "paths": list(_files(files)), "forced": reason, "yes": yes}
    if data_version is not None:
        params["data_version"] = data_version
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Publish", params)
    if as_json:
        write_json(answer)
        return
    click.echo(f"published {table}: {show(answer.get('rows'))} rows, version {_version(answer)}")
    _report(answer)
    for key, what in (("licences_outdated", "licence"), ("offers_outdated", "offer")):
        for name in texts(answer.get(key)):
            then = "end it with `mpcctl licence revoke`" if what == "licence" else "make another one"
            click.echo(f"note: {what} {name} does not cover this data; {then}")


@data.command()
@click.argument("tables", nargs=-1)
@json_option
@click.pass_context
def versions(context: click.Context, tables: tuple[str, ...], *, as_json: bool) -> None:
    """Show every version of this owner's TABLES (default: all) that is here, the newest first."""
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Versions", {"tables": list(tables)})
    if as_json:
        write_json(answer)
        return
    rows = []
    for item in maps(answer, "tables"):
        name, known = show(item.get("name")), maps(item, "versions")
        rows += [
            [
                name,
                _state(version),
                show(version.get("rows")),
                show(version.get("persons") or None),
                _made(version),
                show(version.get("sessions")),
                _version(version),
            ]
            for version in known
        ]
        if not known:
            rows.append([name, "absent", "-", "-", "-", "-", "-"])
    write_table(["table", "state", "rows", "persons", "made (UTC)", "sessions", "data version"], rows)
    for item in maps(answer, "tables"):
        if any(one.get("published") is True and one.get("opt_out_changed") is True for one in maps(item, "versions")):
            click.echo(
                f"note: the opt-out list has changed since the version of {show(item.get('name'))} that answers was "
                f"made; `mpcctl data publish {show(item.get('name'))}` applies it (where few persons change, with "
                "--force and the reason)"
            )


def _state(version: Map) -> str:
    if version.get("retired_at") is not None:
        state = "retired"
    elif version.get("published") is True:
        state = "published"
    else:
        state = "imported" if version.get("published_at") is None else "published before"
    return state if version.get("fits_roster") is not False else f"{state}, under another roster"


def _made(version: Map) -> str:
    at = version.get("imported_at")
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M") if isinstance(at, float) else moment(at)


@data.command()
@click.argument("table")
@click.option("--version", "data_version", metavar="HASH", required=True, help="The version, or its beginning.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; stands in the ledger.")
@click.option("--withdraw", is_flag=True, help="Also if it is the one that answers: the table answers nothing then.")
@json_option
@click.pass_context
def retire(
    context: click.Context, table: str, data_version: str, reason: str, *, withdraw: bool, as_json: bool
) -> None:
    """Let no new session use a version of TABLE; its files are deleted when no running one does."""
    params: Map = {"table": table, "data_version": data_version, "reason": reason, "withdraw": withdraw}
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Retire", params)
    if as_json:
        write_json(answer)
        return
    click.echo(f"retired version {_version(answer)} of {table}")
    if answer.get("deleted") is True:
        click.echo("its files are deleted")
    else:
        click.echo(f"its files are deleted when the sessions on it end ({_count(answer, 'sessions')} now)")


@data.command()
@click.argument("table")
@json_option
@click.pass_context
def overlap(context: click.Context, table: str, *, as_json: bool) -> None:
    """Check with all owners of TABLE whether they share persons, where the roster says that they do not.

    What is opened, to this command alone, is a band.
    """
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Overlap", {"table": table})
    if as_json:
        write_json(answer)
        return
    click.echo(f"{table}: {show(answer.get('band'))} of the persons are shared by two owners")
    if answer.get("found") is True:
        click.echo(
            f"note: the roster says persons_disjoint for {table}, and that is not so; floors and noise count on it. "
            "Have the roster changed"
        )
    else:
        click.echo("nothing speaks against persons_disjoint")


# ------------------------------------------------------------------------------------------------ opting out


@data.group(name="opt-out")
def opt_out() -> None:
    """Persons whose rows no snapshot takes in any more; in force when the next version is published."""


@opt_out.command()
@click.argument("ids", nargs=-1)
@click.option(
    "--file",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ids, a line each; keeps them out of your shell's history.",
)
@json_option
@click.pass_context
def add(context: click.Context, ids: tuple[str, ...], source: Path | None, *, as_json: bool) -> None:
    """Put the persons with these IDS, as the source files have them, on the list."""
    _change(context, ids, source, add_them=True, as_json=as_json)


@opt_out.command()
@click.argument("ids", nargs=-1)
@click.option(
    "--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Ids, a line each."
)
@json_option
@click.pass_context
def remove(context: click.Context, ids: tuple[str, ...], source: Path | None, *, as_json: bool) -> None:
    """Take the persons with these IDS off the list."""
    _change(context, ids, source, add_them=False, as_json=as_json)


def _change(
    context: click.Context, ids: tuple[str, ...], source: Path | None, *, add_them: bool, as_json: bool
) -> None:
    given = [*ids, *([] if source is None else _read(source))]
    if not given:
        raise click.UsageError("name at least one id, or a --file")
    changed, listed = 0, 0
    with connect(context, admin=True) as client:
        for start in range(0, len(given), limits.OPT_OUT_IDS_PER_CALL_MAX):
            part = given[start : start + limits.OPT_OUT_IDS_PER_CALL_MAX]
            answer = client.call(f"{_METHOD}OptOut", {"ids": list(part), "add": add_them})
            changed += _count(answer, "changed")
            listed = _count(answer, "listed")
    if as_json:
        write_json({"changed": changed, "given": len(given), "listed": listed})
        return
    click.echo(f"{changed} of {plural(len(given), 'id')} {'added' if add_them else 'removed'}; {listed} on the list")
    if changed:
        click.echo("it is applied when the next version is published: `mpcctl data check TABLE` says to how many rows")


def _read(source: Path) -> list[str]:
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid("the file of ids cannot be read as UTF-8 text", path=str(source)) from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@opt_out.command(name="list")
@json_option
@click.pass_context
def list_ids(context: click.Context, *, as_json: bool) -> None:
    """Show the ids on the list."""
    with connect(context, admin=True) as client:
        ids = _listed(client)
    if as_json:
        write_json({"ids": ids})
        return
    for one in ids:
        click.echo(one)


def _listed(client: Client) -> list[str]:
    found: list[str] = []
    while True:
        answer = client.call(f"{_METHOD}OptedOut", {"start": len(found)})
        part = texts(answer.get("ids"))
        found += part
        if not part or len(found) >= _count(answer, "listed"):
            return found


# ------------------------------------------------------------------------------------------------ words


def _report(answer: Map) -> None:
    rows, persons = answer.get("opted_out_rows"), answer.get("opted_out_persons")
    if rows:
        click.echo(f"the opt-out list takes out {show(rows)} rows of {show(persons)} persons")
    for note in texts(answer.get("notes")):
        click.echo(f"note: {note}")


def _sizes(answer: Map) -> str:
    persons = answer.get("persons")
    return f"{show(answer.get('rows'))} rows" + (f" of {show(persons)} persons" if persons else "")


def _version(item: Map) -> str:
    """As much of a data version as names it."""
    return show(item.get("data_version"))[:_SHORT]


def _count(answer: Map, key: str) -> int:
    found = answer.get(key)
    if not isinstance(found, int):
        raise RequestInvalid(f"the daemon's answer has no number `{key}`")
    return found
