"""`mpcctl approvals list | show | export | submit | approve | deny | withdraw`: an owner's people decide (layer 15)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mpcd.api.private import write_private
from mpcd.api.types import Map
from mpcd.cli import key
from mpcd.cli.shared import connect, json_option, maps, moment, plural, printable, show, texts, write_json, write_table
from mpcd.errors import DaemonUnavailable

if TYPE_CHECKING:
    from mpcd.governance.approval import Verdict

LIST: Final = "mpc.v1.ApprovalsList"
SHOW: Final = "mpc.v1.ApprovalsShow"
FORM: Final = "mpc.v1.ApprovalsForm"
SUBMIT: Final = "mpc.v1.ApprovalsSubmit"
_PRESENT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def approvals() -> None:
    """Requests that this owner's people decide about (see [[approver]] in the policy)."""


@approvals.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are decided or over, too.")
@json_option
@click.pass_context
def list_approvals(context: click.Context, everything: bool, as_json: bool) -> None:
    """Show the requests that wait for a decision here."""
    with connect(context, admin=True) as client:
        answer = client.call(LIST)
    found = [item for item in maps(answer, "requests") if everything or item.get("state") == "pending"]
    if as_json:
        write_json(found)
        return
    rows = [
        [
            show(item.get("request")),
            show(item.get("state")),
            f"{show(item.get('approved'))} of {show(item.get('needed'))}",
            show(item.get("analyst")),
            show(item.get("purpose")),
            show(item.get("tables")),
            moment(item.get("closes_at")),
        ]
        for item in found
    ]
    write_table(["request", "state", "approved", "analyst", "purpose", "tables", "decide by (UTC)"], rows)


@approvals.command(name="show")
@click.argument("name")
@json_option
@click.pass_context
def show_approval(context: click.Context, name: str, as_json: bool) -> None:
    """Show the request whose digest begins with NAME: the question, what it opens, who has decided what."""
    with connect(context, admin=True) as client:
        answer = client.call(SHOW, {"request": name})
    if as_json:
        write_json(answer)
        return
    request = answer.get("request")
    click.echo(f"request    {request.hex() if isinstance(request, bytes) else '-'}")
    click.echo(
        f"state      {show(answer.get('state'))}, {show(answer.get('approved'))} of {show(answer.get('needed'))}"
    )
    click.echo(f"analyst    {show(answer.get('analyst'))}, {show(answer.get('fingerprint'))}")
    click.echo(f"purpose    {show(answer.get('purpose'))}")
    click.echo(f"asked      {moment(answer.get('issued_at'))} UTC, through party {show(answer.get('keeper'))}")
    click.echo(f"decide by  {moment(answer.get('closes_at'))} UTC; runs until {moment(answer.get('expires_at'))} UTC")
    versions = answer.get("data_versions")
    for table, version in versions.items() if isinstance(versions, dict) else ():
        click.echo(f"data       {printable(table)} {show(version)}")
    click.echo("\nthe question:")
    for line in show(answer.get("text")).split("\n"):
        click.echo(f"  {line}")
    for line in texts(answer.get("told")):
        click.echo(f"  - {line}")
    for ruling in maps(answer, "rulings"):
        _print_ruling(ruling)


def _print_ruling(ruling: Map) -> None:
    reason = show(ruling.get("reason"))
    used = f", used {show(ruling.get('used'))} of {show(ruling.get('executions'))}" if ruling.get("executions") else ""
    who, when = show(ruling.get("approver")), moment(ruling.get("decided_at"))
    click.echo(f"\n{show(ruling.get('verdict'))} by {who} at {when} UTC{used}" + (f": {reason}" if reason else ""))


@approvals.command()
@click.argument("name")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where to write the form.")
@click.pass_context
def export(context: click.Context, name: str, out: Path) -> None:
    """Write the form of the request NAME for an approver, who decides with `mpcctl sign`, also without a network."""
    from mpcd.cli import sign  # noqa: PLC0415  # brings the keys

    with connect(context, admin=True) as client:
        answer = client.call(FORM, {"request": name})
    write_private(out, sign.FORM + _form(answer))
    click.echo(f"written to {out}; an approver signs it with\n  mpcctl sign {out} --key KEY")


@approvals.command()
@click.argument("file", type=_PRESENT)
@json_option
@click.pass_context
def submit(context: click.Context, file: Path, as_json: bool) -> None:
    """Hand in the decision in FILE, which an approver signed with `mpcctl sign`."""
    from mpcd.cli import sign  # noqa: PLC0415

    _submit(context, sign.read_ruling(file), as_json=as_json)


def _submit(context: click.Context, ruling: bytes, *, as_json: bool) -> None:
    with connect(context, admin=True) as client:
        answer = client.call(SUBMIT, {"ruling": ruling})
    if as_json:
        write_json(answer)
        return
    needed, approved = answer.get("needed"), answer.get("approved")
    click.echo(
        f"{show(answer.get('state'))}: request {show(answer.get('request'))}, {show(approved)} of {show(needed)}"
    )
    if isinstance(needed, int) and isinstance(approved, int) and answer.get("state") == "pending":
        click.echo(f"{plural(needed - approved, 'approval')} still missing")


@approvals.command()
@click.argument("name")
@click.option("--key", "key_file", required=True, type=_PRESENT, help="Your key; see `mpcctl key new`.")
@click.option("--reason", default="", help="For the record.")
@click.option("--executions", default=1, show_default=True, help="How often the same question may be asked with it.")
@click.option("--yes", is_flag=True, help="Do not ask again after the request was shown.")
@key.passphrase_option
@click.pass_context
def approve(
    context: click.Context,
    name: str,
    key_file: Path,
    reason: str,
    executions: int,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    """Show the request NAME, sign its approval with your key, and hand it in."""
    _rule(context, "approve", name, key_file, reason, executions, yes=yes, passphrase_file=passphrase_file)


@approvals.command()
@click.argument("name")
@click.option("--key", "key_file", required=True, type=_PRESENT, help="Your key; see `mpcctl key new`.")
@click.option("--reason", required=True, help="Why; the analyst is told.")
@click.option("--yes", is_flag=True, help="Do not ask again after the request was shown.")
@key.passphrase_option
@click.pass_context
def deny(
    context: click.Context, name: str, key_file: Path, reason: str, yes: bool, passphrase_file: Path | None
) -> None:
    """Show the request NAME, sign its denial with your key, and hand it in: it ends, whatever others said."""
    _rule(context, "deny", name, key_file, reason, 1, yes=yes, passphrase_file=passphrase_file)


@approvals.command()
@click.argument("name")
@click.option("--key", "key_file", required=True, type=_PRESENT, help="Your key; see `mpcctl key new`.")
@click.option("--reason", required=True, help="Why; it goes on the record.")
@click.option("--every-execution", is_flag=True, help="An approval of the question for several executions.")
@click.option("--yes", is_flag=True, help="Do not ask again after the request was shown.")
@key.passphrase_option
@click.pass_context
def withdraw(
    context: click.Context,
    name: str,
    key_file: Path,
    reason: str,
    every_execution: bool,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    """Take your approval of the request NAME back, at once; what is recorded already is owed."""
    executions = 2 if every_execution else 1
    _rule(context, "withdraw", name, key_file, reason, executions, yes=yes, passphrase_file=passphrase_file)


def _rule(
    context: click.Context,
    verdict: Verdict,
    name: str,
    key_file: Path,
    reason: str,
    executions: int,
    *,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    from mpcd.cli import sign  # noqa: PLC0415
    from mpcd.governance.approval import Form  # noqa: PLC0415

    with connect(context, admin=True) as client:
        form = Form.from_bytes(_form(client.call(FORM, {"request": name})))
    for line in sign.shown(form):
        click.echo(line)
    if not yes:
        click.confirm(f"\n{verdict} this?", abort=True, err=True)
    signed = sign.rule(form, verdict, key.unlock(key_file, passphrase_file), reason=reason, executions=executions)
    _submit(context, signed.to_bytes(), as_json=False)


def _form(answer: Map) -> bytes:
    form = answer.get("form")
    if not isinstance(form, bytes):
        raise DaemonUnavailable("The daemon answered in a form that this client does not know.")
    return form
