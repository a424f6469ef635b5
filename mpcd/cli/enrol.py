"""`mpcctl analyst init | request-access | status | rotate | recover`: the analyst's side (layer 15)."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from mpcd.api import enrolment, pinning
from mpcd.api import profile as profiles
from mpcd.api.client import Client
from mpcd.api.types import Map
from mpcd.canonical import Value
from mpcd.cli.shared import NAME, SYSTEM_SOCKET, connect, json_option, printable, show, texts, write_json, write_table
from mpcd.errors import ConfigurationInvalid, NotFound, RequestInvalid
from mpcd.governance.access import NONCE_BYTES, AccessRequest
from mpcd.identity import IdentityError, VerifyKey

NEXT_FILE: Final = profiles.KEY_FILE + enrolment.NEXT
_DETAILS: Final = (
    click.option("--name", help="Your name."),
    click.option("--contact", help="Your electronic-mail address or telephone number."),
    click.option("--institution", help="For whom you work."),
    click.option("--country", metavar="XX", help="Of the institution: two letters, e.g. SE."),
    click.option("--reason", help="What you want to find out, in a sentence or two."),
    click.option("--user", default="", help="Your own id where an owner asks for one, e.g. an ORCID."),
    click.option("--project", default="", help="The project's id where an owner asks for one."),
    click.option("--commercial/--not-commercial", default=None, help="Whether the use is commercial."),
    click.option("--non-profit/--for-profit", default=None, help="What the institution is."),
    click.option("--genetic/--not-genetic", default=None, help="Whether the study is genetic."),
    click.option("--reduced-rate", is_flag=True, help="Ask for the reduced price class."),
    click.option("--table", "tables", multiple=True, help="A table that you want to ask about (default: any)."),
    click.option(
        "--evidence",
        multiple=True,
        metavar="CODE=FILE",
        help="A document: IRB=approval.pdf (ethics), COL=letter.pdf (collaboration), ...",
    ),
)


def _details(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_DETAILS):
        function = option(function)
    return function


# ------------------------------------------------------------------------------------------------ init


@click.command()
@click.option("--purpose", default=profiles.DEFAULT_PURPOSE, show_default=True, help="What you usually ask for.")
@click.option("--fingerprint", help="Of the consortium, as a steward read it to you; then nothing is asked.")
@click.option("--yes", is_flag=True, help="Trust what this daemon shows without comparing.")
@click.pass_context
def init(context: click.Context, purpose: str, fingerprint: str | None, yes: bool) -> None:
    """Make a key and a profile that pins a consortium, by way of any of its parties.

    Name the party with `mpcctl --socket ssh:HOST analyst init`, or run it on a party's host.
    """
    named, socket = context.find_root().obj
    directory = profiles.home(named, profiles.current_environment())
    if (directory / profiles.FILE).exists():
        raise ConfigurationInvalid(
            "There is a profile already; name another directory with --profile.", path=str(directory)
        )
    address = str(SYSTEM_SOCKET) if socket is None else socket
    with Client.connect(address, name=NAME) as client:
        answer = client.call("mpc.v1.DiscoveryCard")
        asked = client.node
    card = _card(answer)
    if card.roster_hash != asked.roster_hash:
        raise RequestInvalid("the daemon shows another consortium than it belongs to; do not trust it")
    shown = card.fingerprint()
    click.echo(
        f"consortium {printable(card.consortium)}, roster version {card.roster_version}, signed by all its parties:"
    )
    for party in card.parties:
        click.echo(f"  party {party.id}: {printable(party.name)} ({', '.join(party.roles)})")
    click.echo(f"fingerprint: {shown}")
    if fingerprint is not None:
        if fingerprint.split() != shown.split():
            raise RequestInvalid("this is not the consortium whose fingerprint you were given; nothing was pinned")
    elif not yes:
        click.echo(f"Compare it by telephone with a steward of another party than {printable(asked.party_name)}.")
        click.confirm("Is it the same?", abort=True)
    public = enrolment.make_profile(directory, card, address, purpose)
    click.echo(f"profile   {directory}")
    click.echo(f"your key  {public}")
    click.echo(f"          {public.fingerprint()}")
    click.echo("next:     mpcctl analyst request-access --name ... --contact ... --institution ... --country ...")


def _card(answer: Map) -> pinning.Card:
    encoded, signatures = answer.get("card"), answer.get("signatures")
    if not isinstance(encoded, bytes) or not isinstance(signatures, dict):
        raise RequestInvalid("what the daemon sent does not describe a consortium; do not trust it")
    found = {int(party): one for party, one in signatures.items() if party.isdecimal() and isinstance(one, bytes)}
    return pinning.Card.verified(encoded, found)


# ------------------------------------------------------------------------------------------------ asking for access


@click.command(name="request-access")
@_details
@click.option("--replaces", metavar="KEY", help="A lost key of yours, whose place this one takes.")
@click.option("--again", is_flag=True, help="Send the last request again, to owners that were away.")
@json_option
@click.pass_context
def request_access(context: click.Context, /, replaces: str | None, again: bool, as_json: bool, **details: Any) -> None:
    """Ask all owners for access; each decides for itself.  What you say is signed with your key."""
    with connect(context, signs=True) as client:
        profile = _need(client)
        if again:
            signed = enrolment.kept(profile.directory)
            if signed is None:
                raise NotFound("no request was made from this profile yet; make one without --again")
            _report(enrolment.send(client, profile.directory, signed), as_json=as_json)
            return
        old = None if replaces is None else _key(replaces)
        request, documents = _application(profile, details, old)
        signed = request.sign(profile.signing_key)
        enrolment.keep(profile.directory, signed, documents)
        _report(enrolment.send(client, profile.directory, signed), as_json=as_json)


def _application(
    profile: profiles.Profile, details: dict[str, Any], replaces: VerifyKey | None
) -> tuple[AccessRequest, dict[str, tuple[Any, bytes]]]:
    missing = [name for name in ("name", "contact", "institution", "country", "reason") if not details[name]]
    if missing:
        raise click.UsageError(f"Say who you are: {', '.join(f'--{name}' for name in missing)}.")
    files = dict(_document(item) for item in details["evidence"])
    documents = enrolment.read_documents(files)
    request = AccessRequest(
        consortium=profile.consortium,
        analyst=profile.signing_key.public,
        name=details["name"],
        contact=details["contact"],
        institution=details["institution"],
        country=details["country"].upper(),
        reason=details["reason"],
        issued_at=enrolment.now_ms(),
        nonce=os.urandom(NONCE_BYTES),
        user=details["user"],
        project=details["project"],
        commercial=details["commercial"],
        non_profit=details["non_profit"],
        genetic=details["genetic"],
        reduced_rate=details["reduced_rate"],
        tables=tuple(details["tables"]) or None,
        evidence=tuple(document for document, _ in documents.values()),
        replaces=replaces,
    )
    return request, documents


def _document(item: str) -> tuple[str, Path]:
    code, equals, path = item.partition("=")
    if not code or not equals or not path:
        raise click.UsageError(f"--evidence takes CODE=FILE, not {item!r}.")
    return code.upper(), Path(path)


def _key(written: str) -> VerifyKey:
    try:
        return VerifyKey.from_text(written.strip())
    except IdentityError as error:
        raise RequestInvalid(f"the key cannot be read: {error}") from error


def _need(client: Client) -> profiles.Profile:
    assert client.profile is not None
    return client.profile


def _report(rows: list[Map], *, as_json: bool) -> None:
    if as_json:
        write_json({"parties": rows})
        return
    _print(rows)
    if any(row.get("error") for row in rows):
        click.echo("\nsome owners did not get it; send it again later with `mpcctl analyst request-access --again`")
    click.echo("\nsee how it stands with `mpcctl analyst status`")


# ------------------------------------------------------------------------------------------------ status


@click.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show how you stand at each owner."""
    with connect(context, signs=True) as client:
        profile = _need(client)
        rows = enrolment.standing(client, profile)
        coming = enrolment.next_key(profile.directory)
        next_rows = [] if coming is None else enrolment.standing(client, profile, coming)
    if as_json:
        write_json({"parties": rows, "next_key": next_rows})
        return
    click.echo(f"your key  {profile.signing_key.public.fingerprint()}")
    _print(rows)
    if coming is not None:
        click.echo(f"\nnext key  {coming.public.fingerprint()}")
        _print(next_rows)
        click.echo("\nwhen all have accepted it: mpcctl analyst rotate --finish")


def _print(rows: list[Map]) -> None:
    write_table(
        ["party", "name", "access", "until", "request", "remark"],
        [
            [
                show(row.get("party")),
                show(row.get("name")),
                _access(row),
                _day(row.get("until")),
                _state(row),
                _remark(row),
            ]
            for row in rows
        ],
    )


def _access(row: Map) -> str:
    accepted = row.get("accepted")
    return "-" if not isinstance(accepted, bool) else "yes" if accepted else "no"


def _state(row: Map) -> str:
    return show(row.get("request")) if row.get("request") else "-"


def _remark(row: Map) -> str:
    if row.get("error"):
        return show(row.get("message"))
    if row.get("reason"):
        return show(row.get("reason"))
    missing = texts(row.get("documents_missing"))
    return f"documents missing: {', '.join(missing)}" if missing else ""


def _day(value: Value) -> str:
    return dt.datetime.fromtimestamp(value / 1000, dt.UTC).strftime("%Y-%m-%d") if isinstance(value, int) else "-"


# ------------------------------------------------------------------------------------------------ other keys


@click.command()
@click.option("--finish", is_flag=True, help="Use the new key from now on; all owners must have accepted it.")
@click.option("--despite", is_flag=True, help="With --finish: although some owners have not accepted it.")
@json_option
@click.pass_context
def rotate(context: click.Context, finish: bool, despite: bool, as_json: bool) -> None:
    """Change to a new key: both keys sign the change, and each owner accepts it in place of the old one."""
    with connect(context, signs=True) as client:
        profile = _need(client)
        if finish:
            _finish(client, profile, despite=despite)
            return
        last = enrolment.kept(profile.directory)
        if last is None:
            raise NotFound("this profile made no request for access that could be repeated; use request-access")
        waiting = enrolment.next_key(profile.directory)
        coming = enrolment.new_key(profile.directory, NEXT_FILE) if waiting is None else waiting
        request = enrolment.again(last.request, coming.public, profile.signing_key.public)
        signed = request.sign(coming, profile.signing_key)
        enrolment.keep(profile.directory, signed, {})
        click.echo(f"new key  {coming.public.fingerprint()}", err=True)
        _report(enrolment.send(client, profile.directory, signed), as_json=as_json)


def _finish(client: Client, profile: profiles.Profile, *, despite: bool) -> None:
    coming = enrolment.next_key(profile.directory)
    if coming is None:
        raise NotFound("no rotation waits; begin one with `mpcctl analyst rotate`")
    rows = enrolment.standing(client, profile, coming)
    waiting = [show(row.get("name")) for row in rows if row.get("accepted") is not True]
    if waiting and not despite:
        raise RequestInvalid(f"{', '.join(waiting)} have not accepted the new key; wait, or add --despite")
    enrolment.finish_rotation(profile.directory)
    click.echo(f"your key is now {coming.public.fingerprint()}; the old one is set aside")


@click.command()
@click.option("--old-key", metavar="KEY", help="The lost key, if the last request is lost too.")
@json_option
@click.pass_context
def recover(context: click.Context, old_key: str | None, as_json: bool) -> None:
    """Ask for access with a new key, because the old one is lost or in wrong hands.

    It repeats your last request.  Every owner will find out that it is you, and ends the old key when it accepts.
    Where the whole profile is lost: `mpcctl analyst init`, then `request-access --replaces KEY`; an owner knows the
    old key.
    """
    named, _ = context.find_root().obj
    directory = profiles.find(named, profiles.current_environment())
    last = enrolment.kept(directory)
    if last is None:
        raise NotFound(f"no earlier request is in {directory}; use `mpcctl analyst request-access --replaces KEY`")
    old = last.request.analyst if old_key is None else _key(old_key)
    enrolment.set_aside(directory, "lost")
    key = enrolment.new_key(directory)
    signed = enrolment.again(last.request, key.public, old).sign(key)
    enrolment.keep(directory, signed, {})
    click.echo(f"your new key  {key.public.fingerprint()}", err=True)
    click.echo("telephone each owner and read it to them; they accept it with `mpcctl analyst accept`", err=True)
    with connect(context, signs=True) as client:
        _report(enrolment.send(client, directory, signed), as_json=as_json)


COMMANDS: Final = (init, request_access, status, rotate, recover)
