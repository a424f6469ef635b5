"""`mpcctl statement`: what a month earned, from receipts alone (layer 15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpcd.cli.shared import connect, json_option, maps, plural, show, texts, write_json, write_table
from mpcd.errors import ConfigurationInvalid, RequestInvalid

if TYPE_CHECKING:
    from mpcd.canonical import Value
    from mpcd.governance.statement import Statement

DIFFERENT = 1


@click.group(invoke_without_command=True)
@click.option("--month", metavar="YYYY-MM", help="Show this party's statement of that month (UTC).")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, a row for each query, fee and correction.")
@json_option
@click.pass_context
def statement(context: click.Context, /, month: str | None, *, as_csv: bool, as_json: bool) -> None:
    """What a month earned, recomputed from the receipts that all parties signed: per licence, owner and split.

    `mpcctl statement --month 2026-11` shows it; `--json` is what `reconcile` compares.
    """
    if context.invoked_subcommand is not None:
        if month is not None or as_csv or as_json:
            raise click.UsageError("--month, --csv and --json stand after no other command; write them without one.")
        return
    if month is None:
        raise click.UsageError("Name a month, e.g. --month 2026-11, or a command.")
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.MoneyStatement", {"month": month})
    if as_json:
        write_json(answer)
        return
    from mpcd.governance.statement import Statement  # noqa: PLC0415  # only where a statement is read

    made = Statement.from_value(answer)
    if as_csv:
        click.echo(made.csv_text(), nl=False)
    else:
        _print(made)


def _print(made: Statement) -> None:
    from mpcd.governance import money  # noqa: PLC0415

    click.echo(f"{made.consortium}, {made.month}, as party {int(made.party)} holds it")
    by_standing = {name: sum(row.standing == name for row in made.receipts) for name in ("released", "withheld")}
    click.echo(
        f"{plural(len(made.receipts), 'receipt')}: {by_standing['released']} released, {by_standing['withheld']} "
        "withheld (nothing owed)"
    )
    free = sum(charge.free for charge in made.charges)
    capped = sum(charge.capped for charge in made.charges)
    if made.charges:
        click.echo(f"{plural(len(made.charges), 'price line')}: {free} free, {capped} at a monthly maximum")
    rows = []
    for (party, licence, currency), minor in made.totals().items():
        queries = [one for one in made.charges if (one.party, one.licence, one.currency) == (party, licence, currency)]
        key = (party, licence, currency)
        fees = sum(fee.minor for fee in made.fees if (fee.party, fee.licence, fee.currency) == key)
        fixes = sum(fix.minor for fix in made.corrections if (fix.party, fix.licence, fix.currency) == key)
        known = made.knows_fees(party, licence)
        payer = next((one.licensee for one in made.known if one.licence == licence), "-")
        rows.append(
            [
                str(int(party)),
                licence.hex()[:16],
                payer,
                str(len(queries)),
                money.number(sum(one.minor for one in queries), currency),
                money.number(fees, currency) if known else "not known",
                money.number(fixes, currency),
                money.amount(minor, currency) if known else f"{money.amount(minor, currency)} and fees",
            ]
        )
    if rows:
        click.echo()
        names = ["owner", "licence", "licensee", "queries", "for queries", "fees", "corrections", "total net"]
        write_table(names, rows)
        for currency, minor in sorted(made.owed_to(made.party).items()):
            click.echo(f"\nowed to party {int(made.party)}: {money.amount(minor, currency)} net")
    else:
        click.echo("nothing is owed for this month")
    for problem in made.problems:
        click.echo(f"\nproblem: {problem}")


@statement.command()
@click.argument("mine", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def reconcile(context: click.Context, mine: Path, theirs: Path) -> None:
    """Compare two statements of one month, files of `mpcctl statement --month ... --json`; needs no daemon."""
    from mpcd.governance import reconcile as reconciling  # noqa: PLC0415

    differences = reconciling.reconcile(_read(mine), _read(theirs))
    for difference in differences:
        click.echo(difference)
    if not differences:
        click.echo("the statements reconcile")
    context.exit(DIFFERENT if differences else 0)


@statement.command()
@click.argument("month")
@json_option
@click.pass_context
def compare(context: click.Context, month: str, *, as_json: bool) -> None:
    """Ask the other parties for their statements of MONTH and say on which receipt they differ from ours."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.MoneyCompare", {"month": month})
    parties = maps(answer, "parties")
    if as_json:
        write_json(answer)
    for party in () if as_json else parties:
        differences, error = texts(party.get("differences")), party.get("error")
        said = show(error) if error else f"{plural(len(differences), 'difference')}" if differences else "reconciles"
        click.echo(f"party {show(party.get('party'))}: {said}")
        for difference in differences:
            click.echo(f"  {difference}")
    bad = any(party.get("error") or party.get("differences") for party in parties)
    context.exit(DIFFERENT if bad else 0)


@statement.command()
@click.argument("month")
@click.argument("licence")
@click.argument("amount")
@click.argument("currency")
@click.option("--reason", required=True, help="Why; stands in every party's record.")
@json_option
@click.pass_context
def correct(  # its arguments, in the order in which people write them
    context: click.Context, /, month: str, licence: str, amount: str, currency: str, *, reason: str, as_json: bool
) -> None:
    """Sign a correction of LICENCE's MONTH: AMOUNT (-12.50 is a credit; write -- before it) in CURRENCY."""
    params: dict[str, Value] = {
        "month": month,
        "licence": licence,
        "amount": amount,
        "currency": currency.upper(),
        "reason": reason,
    }
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.MoneyCorrect", params)
    if as_json:
        write_json(answer)
        return
    what = f"{show(answer.get('amount'))} for {show(answer.get('month'))}"
    click.echo(f"corrected: {what}, licence {show(answer.get('licence'))}")
    if answer.get("not_told"):
        click.echo(f"not told, being away: parties {show(answer.get('not_told'))}; correct again when they are back")


def _read(path: Path) -> Statement:
    from mpcd.governance.statement import Statement  # noqa: PLC0415

    try:
        return Statement.from_value(_from_json(_object(json.loads(path.read_text(encoding="utf-8")))))
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot read the statement: {error.strerror}.", path=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"{path} is no statement; make it with `mpcctl statement --month ... --json`") from error


_HEXADECIMAL = ("session", "licence", "analyst")


def _from_json(value: dict[str, Value]) -> dict[str, Value]:
    """What JSON wrote as hexadecimal, as bytes again."""
    rows = value.get("receipts")
    receipts = rows if isinstance(rows, list) else []
    fixes = value.get("corrections")
    return {
        **value,
        "receipts": [[_octets(row[0]), _octets(row[1]), *row[2:]] for row in receipts if isinstance(row, list)],
        "charges": [_row(_object(row)) for row in _list(value, "charges")],
        "fees": [_row(_object(row)) for row in _list(value, "fees")],
        "licences": [_row(_object(row)) for row in _list(value, "licences")],
        "corrections": [_octets(fix) for fix in (fixes if isinstance(fixes, list) else [])],
    }


def _object(value: object) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # of the file, not of the program
    return value


def _list(value: dict[str, Value], key: str) -> list[Value]:
    items = value.get(key)
    if not isinstance(items, list):
        raise ValueError("not a list")  # noqa: TRY004  # likewise
    return items


def _row(row: dict[str, Value]) -> dict[str, Value]:
    return {name: _octets(item) if name in _HEXADECIMAL else item for name, item in row.items()}


def _octets(item: Value) -> bytes:
    return bytes.fromhex(str(item))
