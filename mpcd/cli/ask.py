"""`mpcctl explain | sql | status` (layer 15)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mpcd.api.flow import Answer
from mpcd.api.types import Map, Method, NodeInfo
from mpcd.cli.asking import accepting_options, asking_options, options_of, saving_option, waiting_option
from mpcd.cli.shared import (
    connect,
    json_option,
    kilobytes,
    maps,
    plural,
    printable,
    show,
    texts,
    write_json,
)
from mpcd.errors import AwaitingApproval


@click.command()
@click.argument("query")
@asking_options
@json_option
@click.pass_context
def explain(context: click.Context, /, query: str, *, as_json: bool, **asked: object) -> None:
    """Show what QUERY would open, cost and need, without running it; - reads it from standard input."""
    with connect(context, signs=True) as client:
        answer = client.explain(query_text(query), options_of(asked))
    if as_json:
        write_json(answer)
    else:
        _print_plan(answer)
    refusals = maps(answer, "refusals")
    context.exit(3 if refusals else 0)


def _print_plan(answer: Map) -> None:
    click.echo(f"columns   {show(answer.get('columns'))}")
    click.echo(f"cells     {show(answer.get('cells'))}")
    click.echo(f"security  {show(answer.get('security'))}")
    sent = answer.get("bytes_sent")
    sizes = (
        ", ".join(f"{kilobytes(size)} by each {role} party" for role, size in sent.items() if isinstance(size, int))
        if isinstance(sent, dict)
        else "-"
    )
    click.echo(f"cost      {show(answer.get('rounds'))} rounds; sent: {sizes}")
    click.echo(f"plan      {show(answer.get('plan_hash'))}")
    uses = answer.get("uses")
    if isinstance(uses, dict) and uses:
        click.echo("\nneeds these uses of columns:")
        for column, verbs in uses.items():
            click.echo(f"  {column}: {show(verbs)}")
    for title, key in (("would be opened to you", "opened"), ("rules", "rules")):
        click.echo(f"\n{title}:")
        for sentence in texts(answer.get(key)):
            click.echo(f"  {sentence}")
    if texts(answer.get("accuracy")):
        click.echo("\naccuracy:")
        for sentence in texts(answer.get("accuracy")):
            click.echo(f"  {sentence}")
    for note in texts(answer.get("notes")):
        click.echo(f"\nnote: {note}")
    _print_duties(answer)
    print_refusals(maps(answer, "refusals"))
    waits = maps(answer, "waits")
    if waits:
        click.echo("\nwaits for people to approve:")
        for wait in waits:
            click.echo(f"  {show(wait.get('message'))}")


def _print_duties(answer: Map) -> None:
    from mpcd.cli.caveats import duties  # noqa: PLC0415  # slow to import; only where there are any

    owed = duties(answer.get("duties")) if answer.get("duties") else []
    if owed:
        click.echo("\nwho gets the answer owes:")
    for duty in owed:
        click.echo(f"  {duty}")


def print_refusals(refusals: Sequence[Map]) -> None:
    """Who refuses and why; what several say alike once."""
    if not refusals:
        click.echo("\nno party refuses")
        return
    from mpcd.cli.main import merged_reasons  # noqa: PLC0415  # which imports this module's commands by name

    merged = merged_reasons(
        [
            (party, show(reason.get("rule")), show(reason.get("subject")), show(reason.get("message")))
            for reason in refusals
            if isinstance(party := reason.get("party"), int)
        ]
    )
    click.echo(f"\nrefused, for {plural(len(merged), 'reason')}:")
    for who, rule, _, message in merged:
        click.echo(f"  {who}, {rule}: {message}")


@click.command()
@click.argument("query")
@asking_options
@accepting_options
@waiting_option
@saving_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV; what else is to be said goes to stderr.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no caveats.")
@click.pass_context
def sql(
    context: click.Context,
    /,
    query: str,
    *,
    save: Path | None,
    as_json: bool,
    as_csv: bool,
    quiet: bool,
    **asked: object,
) -> None:
    """Run QUERY over the pooled tables; - reads it from standard input.

    NULL is written NULL (JSON null, CSV empty).  A suppressed cell is never written as NULL: the rule's name stands
    in its place.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    text, options = query_text(query), options_of(asked)
    from mpcd.cli.main import exit_code  # noqa: PLC0415  # which imports this module's commands by name
    from mpcd.cli.progress import progress  # noqa: PLC0415

    with connect(context, signs=True) as client:
        with progress(wanted=not quiet) as on_event:
            try:
                answer = client.sql(text, on_event, options)
            except AwaitingApproval as waits:
                print_waiting(waits, as_json=as_json)
                if save is not None:
                    name = waits.request.hex()[:16]
                    click.echo(
                        f"nothing is saved yet: mpcctl requests fetch {name} --save {shlex.quote(str(save))}", err=True
                    )
                context.exit(exit_code(waits))
        node = client.node
    if save is not None:
        from mpcd.cli.result import keep  # noqa: PLC0415

        keep(save, answer.info.kept)
    print_answer(answer, node, as_json=as_json, as_csv=as_csv, quiet=quiet)


def print_waiting(waits: AwaitingApproval, *, as_json: bool) -> None:
    """That a request waits, for whom, and how it is followed."""
    name = waits.request.hex()
    if as_json:
        write_json({"waiting": name, "message": str(waits)})
        return
    click.echo(f"waiting for approval: request {name[:16]}")
    for message in str(waits).split("; "):
        click.echo(f"  {printable(message)}")
    click.echo(f"it runs by itself once it is approved; follow it with\n  mpcctl requests watch {name[:16]}")


def print_answer(answer: Answer, node: NodeInfo, *, as_json: bool, as_csv: bool, quiet: bool) -> None:
    """The table and what stands below it, in the form that was asked for."""
    from mpcd.cli import caveats  # noqa: PLC0415  # slow to import; only where there is an answer
    from mpcd.results import render  # noqa: PLC0415

    table, info = answer
    if as_json:
        write_json({**render.json_value(table), "info": caveats.as_map(table, info, node)})
        return
    below = caveats.lines(table, info, node)
    if as_csv:
        click.echo(render.csv_text(table), nl=False)
        below = [*render.notes(table), *below]
    else:
        click.echo(render.text_table(table), nl=False)
        if not quiet:
            click.echo()
    if not quiet:
        click.echo("\n".join(below), err=as_csv)


@click.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show how the daemon is."""
    with connect(context) as client:
        answer = client.call(Method.STATUS)
        node = client.node
    if as_json:
        write_json({**node.to_map(), **answer})
        return
    _print_status(answer, node)


def _print_status(answer: Map, node: NodeInfo) -> None:
    click.echo(f"{node.party_name}, party {int(node.party)} of {node.consortium}, mpcd {node.version}")
    click.echo(f"roster    version {node.roster_version} {node.roster_hash.hex()[:16]}")
    for name, value in answer.items():
        label = {"uptime_seconds": "uptime", "peers_connected": "peers", "jobs_running": "sessions"}.get(name, name)
        if name == "uptime_seconds" and isinstance(value, (int, float)):
            click.echo(f"{label:<9} {int(value)} s")
        elif name == "peers_connected":
            click.echo(f"{label:<9} {show(value)} of {show(answer.get('peers_total'))} connected")
        elif name != "peers_total":
            click.echo(f"{label:<9} {show(value)}")


def query_text(query: str) -> str:
    """The query as given, or from standard input for `-`."""
    return sys.stdin.read() if query == "-" else query
