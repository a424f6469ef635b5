"""`mpcctl sign`: read what is to be signed, decide, sign; needs no daemon and no network (layer 15).

What is shown is read out of the bytes that will be signed (the analyst's own request, whose signature is checked), not
out of a description of them.  What only the daemon says is shown as such.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from mpcd import limits
from mpcd.api.private import read_private, write_private
from mpcd.cli import key
from mpcd.cli.shared import printable
from mpcd.errors import ApprovalInvalid, LocalFault

if TYPE_CHECKING:
    from mpcd.governance.approval import Form, SignedRuling, Verdict
    from mpcd.identity import SigningKey

FORM: Final = b"mpcd-form 1 approval\n"
RULING: Final = b"mpcd-ruling 1 approval\n"
_VERDICTS: Final = ("approve", "deny", "withdraw")
_PRESENT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_PRESENT)
@click.option("--key", "key_file", required=True, type=_PRESENT, help="Your key; see `mpcctl key new`.")
@click.option("--decide", type=click.Choice(_VERDICTS), help="Your decision (default: you are asked).")
@click.option("--reason", default="", help="Why; the analyst is told, and it goes on the record.")
@click.option("--executions", default=1, show_default=True, help="How often the same question may be asked with it.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to write (default: FILE.ruling).")
@key.passphrase_option
def sign(
    file: Path,
    key_file: Path,
    decide: str | None,
    reason: str,
    executions: int,
    out: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Show the form in FILE, and sign your decision about it; works offline.

    FILE comes from `mpcctl approvals export`; what is written goes to `mpcctl approvals submit`.
    """
    form = read_form(file)
    for line in shown(form):
        click.echo(line)
    target = out or file.with_name(file.name + ".ruling")
    if target.exists():
        raise LocalFault(f"{target} exists; name another file with --out")
    verdict, why = ask(decide, reason)
    serves = f", {executions} execution{'' if executions == 1 else 's'} of at most {form.executions_max}"
    serves = serves if verdict == "approve" else ""
    click.echo(f"\nsigning: {verdict}{serves}")
    signed = rule(form, verdict, key.unlock(key_file, passphrase_file), reason=why, executions=executions)
    write_private(target, RULING + signed.to_bytes())
    click.echo(f"\nsigned: {verdict}{serves}; hand it in with\n  mpcctl approvals submit {target}")


def read_form(file: Path) -> Form:
    """The form in `file`; the analyst's signature in it fits."""
    from mpcd.governance.approval import Form  # noqa: PLC0415  # what only some commands need

    return Form.from_bytes(_content(file, FORM, "a form; make one with `mpcctl approvals export`"))


def read_ruling(file: Path) -> bytes:
    """The signed ruling in `file`; the daemon checks it."""
    return _content(file, RULING, "a signed decision; make one with `mpcctl sign`")


def _content(file: Path, magic: bytes, what: str) -> bytes:
    content = read_private(file, limits.APPROVAL_FORM_BYTES_MAX + len(magic))
    if not content.startswith(magic):
        raise ApprovalInvalid(f"{file} is not {what}")
    return content[len(magic) :]


def shown(form: Form) -> Iterator[str]:
    """What an approver reads: everything that the ruling binds, and then what the daemon says."""
    from mpcd.governance.approval import utc  # noqa: PLC0415

    request = form.request.request
    yield f"party      {int(form.party)} ({printable(form.party_name)}) of {printable(request.consortium)}"
    yield f"analyst    {request.analyst.fingerprint()}"
    yield f"           {request.analyst}"
    yield f"purpose    {printable(request.purpose)}"
    yield f"signed     {utc(request.issued_at * 1000)}, valid until {utc(request.expires_at * 1000)}"
    if request.privacy is not None:
        yield f"noise      asked for: {request.privacy.hex()}"
    yield f"request    {form.request.digest().hex()}"
    for table, version in sorted(form.data_versions.items()):
        yield f"data       {printable(table)} {printable(version)}"
    yield f"decide by  {utc(form.closes_at)}"
    serve = f"at most {form.executions_max} times; say how often with --executions (1 without)"
    yield f"may serve  {'once' if form.executions_max == 1 else serve}"
    yield "\nthe question, as the analyst signed it:"
    yield from (f"  {printable(line)}" for line in request.text.split("\n"))
    if form.told:
        yield "\nwhat the daemon says of it (not signed by the analyst):"
        yield from (f"  {printable(line)}" for line in form.told)


def ask(decided: str | None, reason: str) -> tuple[Verdict, str]:
    """The decision and its reason, from the options or from the person."""
    verdict = decided or click.prompt("\nDecide", type=click.Choice(_VERDICTS), err=True)
    if verdict != "approve" and not reason:
        reason = click.prompt("Why", err=True)
    return cast("Verdict", verdict), reason


def rule(form: Form, verdict: Verdict, signer: SigningKey, *, reason: str, executions: int) -> SignedRuling:
    """The signed decision."""
    ruling = form.rule(
        verdict,
        signer.public,
        now=int(time.time() * 1000),
        reason=reason,
        executions=executions,
        binds="question" if executions > 1 and verdict != "deny" else "request",
    )
    return ruling.sign(signer)
