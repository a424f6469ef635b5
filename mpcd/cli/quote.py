"""`mpcctl quote` (layer 15)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpcd.api.types import Map
from mpcd.cli.asking import asking_options, options_of
from mpcd.cli.shared import connect, json_option, kilobytes, maps, plural, show, texts, write_json, write_table
from mpcd.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from mpcd.governance.quote import Line, Quote


@click.command()
@click.argument("query")
@asking_options
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the quote to FILE, for `mpcctl sql --accept FILE`.",
)
@json_option
@click.pass_context
def quote(context: click.Context, /, query: str, save: Path | None, *, as_json: bool, **asked: object) -> None:
    """Show what QUERY would cost and need, signed by each owner, without running it; - reads it from standard input.

    The price holds for a day.  Nothing is owed until a request that accepts the quote has been answered.
    """
    from mpcd.cli.ask import query_text  # noqa: PLC0415  # both are commands; neither needs the other's options

    with connect(context, signs=True) as client:
        made, lines, told = client.quote(query_text(query), options_of(asked))
        names = {party.id: party.name for party in (client.profile.parties.values() if client.profile else ())}
    refusals = maps(told, "refusals")
    if save is not None and not refusals:
        _write(save, made)
    if as_json:
        write_json({"digest": made.digest(), "lines": [line.to_value() for line in lines], **told})
    else:
        _print(made, lines, told, {int(party): name for party, name in names.items()})
        if save is not None and not refusals:
            click.echo(f"\nsaved: {save}; accept it with `mpcctl sql --accept {save} ...`")
    context.exit(3 if refusals else 0)


def _write(path: Path, made: Quote) -> None:
    try:
        path.write_bytes(made.to_bytes())
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot write the quote: {error.strerror}.", path=str(path)) from error


def _print(made: Quote, lines: Sequence[Line], told: Map, names: dict[int, str]) -> None:
    from mpcd.cli.ask import print_refusals  # noqa: PLC0415
    from mpcd.governance import money  # noqa: PLC0415

    click.echo(f"quote     {show(made.digest())}")
    sent = told.get("bytes_sent")
    sizes = (
        ", ".join(f"{kilobytes(size)} by each {role} party" for role, size in sent.items() if isinstance(size, int))
        if isinstance(sent, dict)
        else "-"
    )
    click.echo(f"cost      {show(told.get('rounds'))} rounds; sent: {sizes}")
    click.echo(f"security  {show(told.get('security'))}")
    if lines:
        rows = [
            [
                f"{int(line.party)} {names.get(int(line.party), '')}".strip(),
                money.amount(line.minor, line.currency),
                line.licence.hex()[:16],
                line.rate_class,
                money.amount(line.month_minor, line.currency) if line.month_minor else "-",
                "free query" if line.free else "monthly maximum" if line.capped else "",
            ]
            for line in lines
        ]
        click.echo()
        write_table(["party", "price", "licence", "rate", "for the month", "counted as"], rows)
        for currency in sorted({line.currency for line in lines}):
            own = [line for line in lines if line.currency == currency]
            total, month = sum(line.minor for line in own), sum(line.month_minor for line in own)
            click.echo(f"total {money.amount(total, currency)} net, {plural(len(own), 'owner')}")
            if month:
                due = money.amount(month, currency)
                click.echo(f"and {due} for the month, of which this would be the first query, owed once")
    elif not maps(told, "refusals"):
        click.echo("\nno owner asks a price")
    for title, key in (("would be opened to you", "opened"), ("rules", "rules"), ("accuracy", "accuracy")):
        sentences = texts(told.get(key))
        if sentences:
            click.echo(f"\n{title}:")
            for sentence in sentences:
                click.echo(f"  {sentence}")
    print_refusals(maps(told, "refusals"))
