"""`mpcctl policy show | check | budgets`: what this owner allows (layer 15)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

import click

from mpcd import limits
from mpcd.api.types import Map
from mpcd.cli.shared import connect, json_option, maps, plural, show, texts, write_json, write_table
from mpcd.errors import RequestInvalid

_RHO_UNIT: Final = Decimal(10) ** -12
"""Privacy loss is counted in units of this, as zCDP rho."""


@click.group()
def policy() -> None:
    """Show and check what this owner allows, and what its budgets still hold."""


@policy.command(name="show")
@json_option
@click.pass_context
def show_policy(context: click.Context, as_json: bool) -> None:
    """Show the policy in force, as the daemon understood it."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.PolicyShow")
    if as_json:
        write_json(answer)
        return
    click.echo(f"policy    {show(answer.get('path'))}, digest {show(answer.get('digest'))}")
    click.echo(f"security  {show(answer.get('security'))} or stronger")
    click.echo(f"profile   {show(answer.get('profile'))}: {show(answer.get('rules'))}")
    for table in maps(answer, "tables"):
        _show_table(table)
    _show_people(answer)
    for warning in texts(answer.get("warnings")):
        click.echo(f"\nwarning: {warning}")


def _show_table(table: Map) -> None:
    click.echo(f"\ntable {show(table.get('name'))}")
    for title, key in (
        ("purposes", "purposes"),
        ("conditions", "conditions"),
        ("licence", "licence"),
        ("approvals", "approvals"),
        ("budget", "budget"),
        ("noise", "privacy"),
    ):
        click.echo(f"  {title + ':':<12}{show(table.get(key))}")
    rows = [
        [show(column.get(key)) or "-" for key in ("name", "uses", "granularity")] for column in maps(table, "columns")
    ]
    write_table(["column", "uses", "published"], rows)


def _show_people(answer: Map) -> None:
    analysts = [
        [show(one.get("name")), "all" if one.get("tables") is None else show(one.get("tables")), show(one.get("facts"))]
        for one in maps(answer, "analysts")
    ]
    if analysts:
        click.echo("\nanalysts of the file (others: mpcctl analyst list)")
        write_table(["name", "tables", "on record"], analysts)
    approvers = [show(one.get("name")) for one in maps(answer, "approvers")]
    stewards = [f"{show(one.get('name'))} ({show(one.get('contact'))})" for one in maps(answer, "stewards")]
    click.echo(f"\napprovers: {', '.join(approvers) or 'none'}")
    click.echo(f"stewards:  {', '.join(stewards) or 'none'}")


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def check(context: click.Context, file: Path, as_json: bool) -> None:
    """Say what the policy in FILE would change here, without bringing it into force.

    Mistakes are named with their line; `mpcctl reload` brings the configured file into force.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"{file} cannot be read as UTF-8 text: {error}") from error
    if len(text) > limits.POLICY_CHECK_CHARACTERS_MAX:
        raise RequestInvalid(
            f"{file} has {len(text)} characters, and a daemon that runs checks at most "
            f"{limits.POLICY_CHECK_CHARACTERS_MAX}; "
            "use `mpcd check` on its host"
        )
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.PolicyCheck", {"text": text, "path": str(file)})
    if as_json:
        write_json(answer)
        return
    changes = texts(answer.get("changes"))
    click.echo(f"{file}: good; it would change {'this' if changes else 'nothing'}")
    for line in changes:
        click.echo(f"  {line}")
    for warning in texts(answer.get("warnings")):
        click.echo(f"warning: {warning}")


@policy.command()
@json_option
@click.pass_context
def budgets(context: click.Context, as_json: bool) -> None:
    """Show what has been taken of each table's budget, and what is left."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.PolicyBudgets")
    if as_json:
        write_json(answer)
        return
    rows = []
    for account in maps(answer, "accounts"):
        days, spent, limit = (account.get(key) for key in ("days", "spent", "limit"))
        is_rho = account.get("kind") == "rho"
        left = limit - spent if isinstance(limit, int) and isinstance(spent, int) else None
        rows.append(
            [
                show(account.get("table")),
                "privacy loss (rho)" if is_rho else "queries",
                "ever" if days is None else plural(days, "day") if isinstance(days, int) else show(days),
                *("-" if number is None else _amount(number, is_rho=is_rho) for number in (spent, limit, left)),
            ]
        )
    write_table(["table", "of", "in", "taken", "limit", "left"], rows)


def _amount(number: object, *, is_rho: bool) -> str:
    assert isinstance(number, int)
    return f"{(number * _RHO_UNIT).normalize():f}" if is_rho else str(number)
