"""`mpcctl describe`: what there is at all parties, for the one who asks (layer 15)."""

from __future__ import annotations

from typing import Final

import click

from mpcd.api.catalogue import maps
from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.cli.shared import connect, json_option, show, texts, write_json, write_table
from mpcd.errors import NotFound

_DOMAIN_WIDTH: Final = 50
_SECONDS_PER_DAY: Final = 86_400
_NO_TABLE: Final = "no table is open to you here; ask the owners for access with `mpcctl analyst request-access`"


@click.command()
@click.argument("table", required=False)
@json_option
@click.pass_context
def describe(context: click.Context, table: str | None, as_json: bool) -> None:
    """Show the tables that you can ask about, at all parties, or TABLE alone.

    A column's uses are those that every owner's policy allows you; where owners differ, each one's are shown.  What
    you may not see is not there: ask the owners for more.
    """
    with connect(context) as client:
        answer = client.describe()
    tables = maps(answer, "tables")
    if table is not None:
        tables = [item for item in tables if item.get("name") == table]
        if not tables:
            raise NotFound(f"There is no table {table} here that you may ask about; `mpcctl describe` lists those.")
        answer = {**answer, "tables": list[Value](tables)}
    if as_json:
        write_json(answer)
        return
    click.echo(f"consortium {show(answer.get('consortium'))}, roster version {show(answer.get('roster_version'))}")
    if table is None:
        _print_parties(answer)
    for item in tables:
        _print_table(item)
    click.echo(
        "\ntry a query without running it: `mpcctl explain`; on made-up data: `mpcctl twin`"
        if tables
        else f"\n{_NO_TABLE}"
    )


def _print_parties(answer: Map) -> None:
    parties = maps(answer, "parties")
    if not any("accepted" in party for party in parties):  # asked without a profile
        for party in parties:
            click.echo(f"  party {show(party.get('id'))}: {show(party.get('name'))} ({show(party.get('roles'))})")
        return
    click.echo()
    write_table(
        ["party", "name", "answers you", "disclosure rules", "ask"],
        [
            [show(party.get("id")), show(party.get("name")), _answers(party), _rules(party), _stewards(party)]
            for party in parties
        ],
    )
    for party in parties:
        if party.get("error"):
            click.echo(f"party {show(party.get('id'))}: {show(party.get('message'))}")


def _answers(party: Map) -> str:
    return "away" if party.get("error") else show(party.get("accepted"))


def _rules(party: Map) -> str:
    rules = party.get("rules")
    if not isinstance(rules, dict) or not rules:
        return "-"
    return f"{show(rules.get('profile'))}: at least {show(rules.get('safe_threshold'))} persons"


def _stewards(party: Map) -> str:
    found = [f"{show(steward.get('name'))} <{show(steward.get('contact'))}>" for steward in maps(party, "stewards")]
    return ", ".join(found) or "-"


def _print_table(item: Map) -> None:
    owners = show(item.get("owners"))
    click.echo(f"\ntable {show(item.get('name'))}: parties {owners}, at most {show(item.get('rows_max'))} rows each")
    columns = maps(item, "columns")
    write_table(
        ["column", "type", "values", "uses"],
        [
            [show(column.get("name")), type_of(column), domain_of(column), show(column.get("uses"))]
            for column in columns
        ],
    )
    for column in columns:
        uses = column.get("uses_by_party")
        if isinstance(uses, dict) and uses:
            said = "; ".join(f"party {party}: {show(verbs)}" for party, verbs in uses.items())
            click.echo(f"  {show(column.get('name'))} differs: {said}")
    by_party = item.get("by_party")
    if isinstance(by_party, dict) and by_party:
        click.echo()
        write_table(
            ["party", "purposes", "conditions", "licence", "approvals", "queries"],
            [[party, *_duties(duties)] for party, duties in by_party.items() if isinstance(duties, dict)],
        )
        for party, duties in by_party.items():
            if isinstance(duties, dict):
                _print_more(party, duties)
    for party in texts(item.get("owners_missing")):
        click.echo(f"party {party} has said nothing of this table to you: ask that owner before you ask the query")


def _duties(duties: Map) -> list[str]:
    return [
        show(duties.get("purposes")),
        show(duties.get("conditions")),
        _licence(duties),
        _approvals(duties.get("approvals")),
        _queries(duties),
    ]


def _licence(duties: Map) -> str:
    offers = duties.get("offers")
    count = len(offers) if isinstance(offers, list) else 0
    need = "needed" if duties.get("licence") == "required" else "not needed"
    return f"{need}, {count} on offer" if count else need


def _approvals(approvals: Value) -> str:
    if not isinstance(approvals, dict):
        return "none"
    deadline = approvals.get("deadline_seconds")
    days = deadline // _SECONDS_PER_DAY if isinstance(deadline, int) else 0
    return f"{show(approvals.get('min'))} within {days} days"


def _queries(duties: Map) -> str:
    queries = duties.get("queries")
    return "not limited" if queries is None else f"{show(queries)} in {show(duties.get('queries_days'))} days"


def _print_more(party: str, duties: Map) -> None:
    granularity = duties.get("granularity")
    if isinstance(granularity, dict) and granularity:
        steps = ", ".join(f"{column} {show(step)}" for column, step in granularity.items())
        click.echo(f"  party {party}, not finer than: {steps}")
    if duties.get("noise_only") is True:
        click.echo(f"  party {party} answers with noise alone: add --epsilon")
    if duties.get("gives_rows") is True and duties.get("data_version") is None:
        click.echo(f"  party {party} has published no data of this table yet")


def type_of(column: Map) -> str:
    """A column's type for people."""
    decimals, unit = column.get("decimals"), column.get("unit")
    name = show(column.get("type"))
    name += f"({decimals})" if isinstance(decimals, int) and decimals else ""
    name += f" [{unit}]" if isinstance(unit, str) and unit else ""
    return name + (" or NULL" if column.get("nullable") is True else "")


def domain_of(column: Map) -> str:
    """What a column may hold, for people."""
    levels, bounds = texts(column.get("levels")), column.get("bounds")
    if levels:
        text = ", ".join(levels)
        return text if len(text) <= _DOMAIN_WIDTH else f"{len(levels)} levels"
    if isinstance(bounds, list) and len(bounds) == 2:
        return " to ".join(bound_of(column, bound) for bound in bounds)
    return "-"


def bound_of(column: Map, stored: object) -> str:
    """The value of a stored form."""
    decimals = column.get("decimals")
    if column.get("type") == "date" and isinstance(stored, int):
        import datetime as dt  # noqa: PLC0415

        return str(dt.date(1970, 1, 1) + dt.timedelta(days=stored))
    if isinstance(decimals, int) and decimals and isinstance(stored, int):
        from decimal import Decimal  # noqa: PLC0415

        return str(Decimal(stored).scaleb(-decimals))
    return str(stored)
