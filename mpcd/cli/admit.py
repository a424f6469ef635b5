"""`mpcctl analyst requests | document | accept | refuse | list | remove`: the owner's side (layer 15)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import click

from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.cli.licencetext import day, rate_text
from mpcd.cli.shared import connect, json_option, maps, show, write_json, write_table
from mpcd.errors import LocalFault, NotFound
from mpcd.governance.price import Rate

_STATES: Final = ("pending", "accepted", "refused", "replaced", "expired", "all")
_REASON_DEFAULT: Final = ""


@click.command()
@click.option("--state", type=click.Choice(_STATES), default="pending", show_default=True)
@json_option
@click.pass_context
def requests(context: click.Context, state: str, as_json: bool) -> None:
    """Show who asks this owner for access, with all they say of themselves."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.AccessRequests", {"state": state})
    if as_json:
        write_json(answer)
        return
    rows = maps(answer, "requests")
    for row in rows:
        _print_request(row)
    click.echo(f"{len(rows)} requests" if rows else "no request waits")


def _print_request(row: Map) -> None:
    digest = row.get("digest")
    click.echo(f"request {digest.hex()[:16] if isinstance(digest, bytes) else '-'}, {show(row.get('state'))}")
    for label, key in (
        ("name", "name"),
        ("contact", "contact"),
        ("institution", "institution"),
        ("country", "country"),
        ("user", "user"),
        ("project", "project"),
        ("commercial", "commercial"),
        ("non-profit", "non_profit"),
        ("genetic", "genetic"),
        ("reduced rate", "reduced_rate"),
        ("tables", "tables"),
        ("wants", "reason"),
        ("key", "fingerprint"),
        ("came by", "via"),
    ):
        if row.get(key) not in {None, ""} if not isinstance(row.get(key), list) else True:
            click.echo(f"  {label:<13} {show(row.get(key))}")
    if row.get("replaces") is not None:
        agrees = "which agrees" if row.get("replaced_key_agrees") is True else "which is lost: find out who asks"
        click.echo(f"  {'replaces':<13} {show(row.get('replaces'))}, {agrees}")
    for document in maps(row, "documents"):
        here = "" if document.get("here") is True else ", has not arrived"
        click.echo(
            f"  {'document':<13} {show(document.get('code'))}: {show(document.get('name'))}, "
            f"{show(document.get('bytes'))} bytes{here}"
        )
    click.echo()


@click.command()
@click.argument("who")
@click.argument("code")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def document(context: click.Context, who: str, code: str, file: Path) -> None:
    """Write the document CODE of the request WHO to FILE, to read it."""
    if file.exists():
        raise LocalFault(f"{file} exists; name another file")
    with connect(context, admin=True) as client:
        digest = _digest(maps(client.call("mpc.v1.AccessRequests", {"state": "all"}), "requests"), who)
        content, size = b"", 1
        while len(content) < size:
            answer = client.call("mpc.v1.AccessDocument", {"digest": digest, "code": code, "place": len(content)})
            part, total = answer.get("part"), answer.get("size")
            if not isinstance(part, bytes) or not isinstance(total, int) or not part:
                raise NotFound("the daemon no longer has the document")
            content, size = content + part, total
    file.write_bytes(content)
    click.echo(f"{len(content)} bytes in {file}; it comes from a stranger: open it with care")


def _digest(rows: list[Map], who: str) -> bytes:
    found = [
        digest
        for row in rows
        if isinstance(digest := row.get("digest"), bytes)
        and (digest.hex().startswith(who.lower()) or row.get("key") == who)
    ]
    if len(found) != 1:
        raise NotFound(f"{'no' if not found else 'more than one'} request starts with {who}")
    return found[0]


@click.command()
@click.argument("who")
@click.option(
    "--table", "tables", multiple=True, help="A table that they may ask about (default: those that they asked for)."
)
@click.option("--all-tables", is_flag=True, help="All tables of this owner, also those to come.")
@click.option("--until", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="First day on which it is over (UTC).")
@click.option("--rate-class", type=click.Choice(["standard", "reduced"]), default="standard", show_default=True)
@click.option("--evidence", multiple=True, metavar="CODE", help="A document that you have read and accept.")
@click.option("--commercial/--not-commercial", default=None, help="What you found, where it differs from their word.")
@click.option("--non-profit/--for-profit", default=None, help="Likewise.")
@click.option("--genetic/--not-genetic", default=None, help="Likewise.")
@click.option("--same-person", is_flag=True, help="You made sure that it is the person whose lost key this replaces.")
@json_option
@click.pass_context
def accept(
    context: click.Context,
    who: str,
    tables: tuple[str, ...],
    all_tables: bool,
    until: dt.datetime | None,
    rate_class: str,
    evidence: tuple[str, ...],
    commercial: bool | None,
    non_profit: bool | None,
    genetic: bool | None,
    same_person: bool,
    as_json: bool,
) -> None:
    """Accept the request WHO (the beginning of its number or fingerprint, or the key) at this owner."""
    params: Map = {
        "who": who,
        "rate_class": rate_class,
        "evidence": [code.upper() for code in evidence],
        "same_person": same_person,
    }
    if tables and all_tables:
        raise click.UsageError("--table and --all-tables exclude each other.")
    if all_tables:
        params["all_tables"] = True
    if tables:
        params["tables"] = list[Value](tables)
    if until is not None:
        params["until"] = int(until.replace(tzinfo=dt.UTC).timestamp() * 1000)
    facts = {"commercial": commercial, "non_profit": non_profit, "genetic": genetic}
    params.update({name: fact for name, fact in facts.items() if fact is not None})
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.AccessAccept", params)
    if as_json:
        write_json(answer)
        return
    entry = answer.get("analyst")
    assert isinstance(entry, dict)
    tables_shown = "all tables" if entry.get("tables") is None else show(entry.get("tables"))
    documents = entry.get("evidence")
    click.echo(f"accepted {show(entry.get('name'))} of {show(entry.get('institution'))}: {tables_shown}")
    click.echo(f"documents accepted: {', '.join(documents) if isinstance(documents, dict) and documents else 'none'}")
    if answer.get("replaced_still_in_policy_file") is True:
        click.echo(
            "warning: the policy file lists the replaced key, which is accepted still; remove it there and reload",
            err=True,
        )


@click.command()
@click.argument("who")
@click.option("--reason", required=True, help="Why; the analyst is told, and it goes on the record.")
@click.pass_context
def refuse(context: click.Context, who: str, reason: str) -> None:
    """Refuse the request WHO."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.AccessRefuse", {"who": who, "reason": reason})
    click.echo(f"refused {show(answer.get('name'))}; their documents are gone from here")


@click.command(name="list")
@json_option
@click.pass_context
def list_analysts(context: click.Context, as_json: bool) -> None:
    """Show whom this owner accepts, by decision here or in the policy file."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.AccessList")
    if as_json:
        write_json(answer)
        return
    write_table(
        ["name", "institution", "tables", "until", "documents", "from", "key"],
        [
            [
                show(row.get("name")),
                show(row.get("institution")),
                "all" if row.get("tables") is None else show(row.get("tables")),
                _until(row),
                ", ".join(documents) if isinstance(documents := row.get("evidence"), dict) and documents else "-",
                show(row.get("from")),
                show(row.get("fingerprint")),
            ]
            for row in maps(answer, "analysts")
        ],
    )


def _until(row: Map) -> str:
    until = row.get("until")
    if not isinstance(until, int):
        return "-"
    day = dt.datetime.fromtimestamp(until / 1000, dt.UTC).strftime("%Y-%m-%d")
    return day if row.get("in_force") is True else f"{day} (over)"


@click.command()
@click.argument("who")
@click.option("--reason", required=True, help="Why; it goes on the record.")
@click.option("--end-licences", is_flag=True, help="Their licences too, and with them fees that run by the month.")
@click.pass_context
def remove(context: click.Context, who: str, reason: str, end_licences: bool) -> None:
    """End the access of the analyst WHO at once; what runs for them and is not recorded ends too.

    Licences stay in force without --end-licences, with their fees: so they stand when the analyst is accepted again.
    """
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.AccessRemove", {"who": who, "reason": reason, "end_licences": end_licences})
    click.echo(f"{show(answer.get('name'))} has no access any more")
    for row in maps(answer, "licences"):
        name, title = show(row.get("name")), show(row.get("title"))
        if row.get("ended") is True:
            click.echo(f"licence {name} ({title}) is ended")
            for reply in maps(row, "told"):
                if reply.get("error"):
                    click.echo(f"party {show(reply.get('party'))} was not told: {show(reply.get('message'))}", err=True)
            continue
        until, price = row.get("until"), rate_text(Rate.from_value(row.get("rate")), show(row.get("currency")))
        end = day(until if isinstance(until, int) else None)
        click.echo(
            f"warning: licence {name} ({title}) stays in force until {end}: {price}; end it with "
            f"`mpcctl licence revoke {name}`",
            err=True,
        )
    if answer.get("still_in_policy_file") is True:
        click.echo("warning: the policy file lists the same key; remove it there too and reload", err=True)


COMMANDS: Final = (requests, document, accept, refuse, list_analysts, remove)
