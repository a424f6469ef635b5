"""`mpcctl offer make | list | show | sign | withdraw`: a steward offers licences (layer 15)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from mpcd.api.types import Map, blob, text
from mpcd.cli.licencetext import offer_lines, print_lines
from mpcd.cli.shared import connect, json_option, maps, printable, show, write_json, write_table
from mpcd.errors import ConfigurationInvalid
from mpcd.governance.offer import SignedOffer, offer_name

_METHOD = "mpc.v1.Licences"


@click.group()
def offer() -> None:
    """Offer licences for this owner's tables, alone or with others (the owner's side)."""


@offer.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--legal",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The text that people sign; the offer binds its SHA-256.",
)
@click.option("--dry-run", is_flag=True, help="Check the file and show the offer; sign nothing.")
@json_option
@click.pass_context
def make(context: click.Context, file: Path, legal: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Sign the offer that FILE describes; see OPERATING, "Licences", for what a file holds."""
    params: Map = {"text": _read(file).decode(errors="replace"), "path": str(file), "dry_run": dry_run}
    if legal is not None:
        content = _read(legal)
        if not content.strip():
            raise ConfigurationInvalid("the legal text is empty", path=str(legal))
        params["legal_digest"] = hashlib.sha256(content).digest()
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Make", params)
    _report(answer, as_json=as_json)


@offer.command(name="list")
@json_option
@click.pass_context
def list_offers(context: click.Context, *, as_json: bool) -> None:
    """Show the offers that are not past, with their state and who has signed."""
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Offered")
    if as_json:
        write_json(answer)
        return
    rows = []
    for item in maps(answer, "offers"):
        signed = SignedOffer.from_bytes(blob(item, "offer"))
        made = signed.offer
        missing = sorted(set(made.owners) - {party for party, _ in signed.signatures})
        state = show(item.get("state"))
        if state == "outdated":
            state = "outdated: newer data is published"
        waits = f"; waits for {', '.join(map(str, missing))}" if missing and state == "pending" else ""
        owners = ", ".join(map(str, made.owners))
        rows.append([offer_name(made.digest), state + waits, printable(made.title), ", ".join(made.tables), owners])
    write_table(["offer", "state", "title", "tables", "by party"], rows)


@offer.command(name="show")
@click.argument("name")
@json_option
@click.pass_context
def show_offer(context: click.Context, name: str, *, as_json: bool) -> None:
    """Show all that an offer says; NAME is the beginning of its digest."""
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Sign", {"name": name, "look": True})
    _report(answer, as_json=as_json)


@offer.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def sign(context: click.Context, name: str, *, yes: bool, as_json: bool) -> None:
    """Sign a pool's offer that another owner made; again, to tell owners who were away."""
    with connect(context, admin=True) as client:
        seen = client.call(f"{_METHOD}Sign", {"name": name, "look": True})
        made = SignedOffer.from_bytes(blob(seen, "offer")).offer
        if not yes:
            print_lines(offer_lines(made))
            click.confirm("\nSign this offer in the name of this owner?", abort=True)
        # By the whole digest, so that what is signed is what was read.
        answer = client.call(f"{_METHOD}Sign", {"name": made.digest.hex()})
    _report(answer, as_json=as_json)


@offer.command()
@click.argument("name")
@click.pass_context
def withdraw(context: click.Context, name: str) -> None:
    """Let nobody accept an offer any more; licences that are in force under it go on (see `licence revoke`).

    A pool's offer is withdrawn for all its owners; again, to tell those who were away.
    """
    with connect(context, admin=True) as client:
        answer = client.call(f"{_METHOD}Withdraw", {"name": name})
    click.echo(f"withdrawn: {offer_name(blob(answer, 'digest'))}")
    _not_told(answer)


def _report(answer: Map, *, as_json: bool) -> None:
    if as_json:
        write_json(answer)
        return
    signed = SignedOffer.from_bytes(blob(answer, "offer"))
    print_lines(offer_lines(signed.offer))
    signers = ", ".join(str(party) for party, _ in signed.signatures)
    click.echo(f"\n{text(answer, 'state')}; signed by {f'party {signers}' if signers else 'nobody'}")
    _not_told(answer)


def _not_told(answer: Map) -> None:
    for reply in maps(answer, "told"):
        if reply.get("error"):
            click.echo(f"party {show(reply.get('party'))} was not told: {show(reply.get('message'))}", err=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationInvalid(f"cannot be read: {error.strerror}", path=str(path)) from error
