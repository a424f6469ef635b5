"""`mpcctl result`: results that were kept in files, verified and shown again without any daemon (layer 15)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from mpcd.cli.shared import json_option, show, write_json, write_table
from mpcd.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from mpcd.api.kept import Kept
    from mpcd.api.profile import Profile

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def result() -> None:
    """Results kept with `mpcctl sql --save FILE`: verified offline, against the parties that your profile pins."""


@result.command()
@FILE
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, *, as_json: bool) -> None:
    """Check who asked what, which data versions and plan answered, and everybody's signatures.

    Exit code 6 if anything does not fit: the result must not be used then.
    """
    from mpcd.governance.quote import Line  # noqa: PLC0415  # only where a result is read
    from mpcd.governance.statement import utc  # noqa: PLC0415

    profile, kept = _profile(context), read_kept(file)
    verified = kept.verify(profile.parties)
    request, receipt, plan = verified.request, verified.receipt, verified.opened.plan
    keys = {party.id: party.signing_key for party in profile.parties.values()}
    lines = [Line.from_signed(cast("bytes", signed), keys) for _, signed in receipt.lines]
    if as_json:
        write_json(
            {
                "valid": True,
                "text": request.text,
                "purpose": request.purpose,
                "analyst": str(request.analyst),
                "asked_at": utc(request.issued_at * 1000),
                "session": receipt.session,
                "at": utc(receipt.at),
                "plan_hash": receipt.plan_hash,
                "security": plan.get("security"),
                "rules": plan.get("rules"),
                "data_versions": {str(owner): dict(tables) for owner, tables in receipt.data_versions.items()},
                "signed_by": [int(party) for party in receipt.parties],
                "lines": [line.to_value() for line in lines],
            }
        )
        return
    click.echo("valid: every signature fits, and the copies of all compute parties agree\n")
    click.echo(f"question   {show(request.text)}")
    click.echo(f"purpose    {request.purpose}")
    click.echo(f"asked by   {request.analyst.fingerprint()}, {utc(request.issued_at * 1000)}")
    click.echo(f"session    {receipt.session.hex()}, {utc(receipt.at)}")
    click.echo(f"plan       {receipt.plan_hash.hex()}")
    click.echo(f"security   {show(plan.get('security'))}")
    click.echo(f"receipt    signed by parties {', '.join(str(int(party)) for party in receipt.parties)}\n")
    names = {int(party.id): party.name for party in profile.parties.values()}
    rows = [
        [f"{owner} {names.get(owner, '')}".strip(), table, version]
        for owner, tables in receipt.data_versions.items()
        for table, version in tables.items()
    ]
    write_table(["owner", "table", "data version"], rows)
    if lines:
        from mpcd.governance import money  # noqa: PLC0415

        click.echo()
        prices = [[str(int(line.party)), money.amount(line.minor, line.currency), line.licence.hex()] for line in lines]
        write_table(["owner", "price", "licence"], prices)


@result.command(name="show")
@FILE
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV.")
@click.pass_context
def show_result(context: click.Context, file: Path, *, as_json: bool, as_csv: bool) -> None:
    """Verify FILE and write its table again."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    from mpcd.api.flow import answer_of  # noqa: PLC0415  # only where a result is read
    from mpcd.results import render  # noqa: PLC0415

    table, info = answer_of(read_kept(file), _profile(context).parties)
    if as_json:
        write_json({**render.json_value(table), "info": {"session": info.session, "plan_hash": info.plan_hash}})
    elif as_csv:
        click.echo(render.csv_text(table), nl=False)
    else:
        click.echo(render.text_table(table), nl=False)


def read_kept(path: Path) -> Kept:
    """The kept result in a file; nothing is verified yet.

    Raises:
        ResultInvalid: it is no kept result.
        ConfigurationInvalid: it cannot be read.
    """
    from mpcd.api.kept import Kept  # noqa: PLC0415

    try:
        return Kept.from_bytes(path.read_bytes())
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the result: {error.strerror}.", path=str(path)) from error


def keep(path: Path, kept: Kept) -> None:
    """Write a result to a file that only its owner reads: it holds the numbers."""
    from mpcd.api.private import write_private  # noqa: PLC0415

    write_private(path, kept.to_bytes())


def _profile(context: click.Context) -> Profile:
    from mpcd.api import profile as profiles  # noqa: PLC0415

    named, _ = context.find_root().obj
    return profiles.Profile.load(profiles.find(named, profiles.current_environment()))
