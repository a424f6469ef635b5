"""`mpcctl requests list | watch | fetch | withdraw`: an analyst's requests that wait for approval (layer 15).

The list is the analyst's own, in the profile; how each stands, the party says that the request was submitted to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mpcd.api.client import Client
from mpcd.api.types import Map
from mpcd.cli.asking import saving_option
from mpcd.cli.shared import connect, json_option, moment, printable, show, write_json, write_table
from mpcd.errors import NotFound

if TYPE_CHECKING:
    from mpcd.api.waitlist import Entry, WaitList

STATE: Final = "mpc.v1.ApprovalsState"
RESULT: Final = "mpc.v1.ApprovalsResult"
WITHDRAW: Final = "mpc.v1.ApprovalsWithdraw"
_SQL_CHARACTERS: Final = 40
_EXIT_CODES: Final = {"released": 0, "refused": 3}
"""Of `watch`; every other end is a failure."""


@click.group()
def requests() -> None:
    """Follow and fetch your requests that wait for approval (see `mpcctl sql --wait`)."""


@requests.command(name="list")
@json_option
@click.pass_context
def list_requests(context: click.Context, as_json: bool) -> None:
    """Show your requests that wait, or whose results are not fetched yet."""
    with connect(context, signs=True) as client:
        found = [(entry, _state(client, entry)) for entry in _waitlist(client).entries()]
    if as_json:
        write_json([{"name": entry.name, "text": entry.request.request.text, **state} for entry, state in found])
        return
    rows = [
        [
            entry.name[:16],
            show(state.get("state")),
            moment(entry.request.request.issued_at * 1000),
            moment(entry.request.request.expires_at * 1000),
            " ".join(entry.request.request.text.split())[:_SQL_CHARACTERS],
        ]
        for entry, state in found
    ]
    write_table(["request", "state", "asked (UTC)", "until (UTC)", "question"], rows)


@requests.command()
@click.argument("name")
@json_option
@click.pass_context
def watch(context: click.Context, name: str, as_json: bool) -> None:
    """Follow the request whose digest begins with NAME until it is over; it goes on without you.

    Exit codes: 0 released, 3 refused, 1 it ended otherwise (failed, expired, withdrawn).
    """
    with connect(context, signs=True) as client:
        entry = _waitlist(client).find(name)
        state = _state(client, entry)
        while state.get("state") == "waiting":
            _say(state)
            revision = state.get("revision")
            while state.get("revision") == revision:
                state = client.call(STATE, {"request": entry.request.digest(), "revision": revision})
    if as_json:
        write_json(state)
    else:
        _say(state, err=False)
        if state.get("state") == "released":
            click.echo(f"fetch it with\n  mpcctl requests fetch {entry.name[:16]}")
    context.exit(_EXIT_CODES.get(show(state.get("state")), 1))


def _say(state: Map, *, err: bool = True) -> None:
    click.echo(f"{show(state.get('state'))}: {show(state.get('message'))}", err=err)


@requests.command()
@click.argument("name")
@saving_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV; what else is to be said goes to stderr.")
@click.option("--quiet", "-q", is_flag=True, help="No caveats.")
@click.pass_context
def fetch(context: click.Context, /, name: str, *, save: Path | None, as_json: bool, as_csv: bool, quiet: bool) -> None:
    """Fetch the result of the request whose digest begins with NAME, verify it and show it; as often as you like."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    from mpcd.api.flow import answer_of, kept_of  # noqa: PLC0415  # slow; only where there is an answer
    from mpcd.cli.ask import print_answer  # noqa: PLC0415

    with connect(context, signs=True) as client:
        entry = _waitlist(client).find(name)
        fetched = client.call(RESULT, {"request": entry.request.digest()})
        assert client.profile is not None
        answer = answer_of(kept_of(entry.request, entry.result_key(), fetched), client.profile.parties)
        node = client.node
    if save is not None:
        from mpcd.cli.result import keep  # noqa: PLC0415

        keep(save, answer.info.kept)
    print_answer(answer, node, as_json=as_json, as_csv=as_csv, quiet=quiet)


@requests.command()
@click.argument("name")
@click.pass_context
def withdraw(context: click.Context, name: str) -> None:
    """Take back the request whose digest begins with NAME, or let go of one that is over, with its result."""
    from mpcd.governance.approval import WITHDRAWAL  # noqa: PLC0415  # only here

    with connect(context, signs=True) as client:
        waitlist = _waitlist(client)
        entry = waitlist.find(name)
        assert client.profile is not None
        digest = entry.request.digest()
        signature = client.profile.signing_key.sign(WITHDRAWAL, digest)
        try:
            state = show(client.call(WITHDRAW, {"request": digest, "signature": signature}).get("state"))
        except NotFound:
            state = "forgotten"
        if state in {"forgotten", "withdrawn"}:
            waitlist.forget(digest)
    click.echo(f"{state}: request {entry.name[:16]}")


def _waitlist(client: Client) -> WaitList:
    from mpcd.api.waitlist import WaitList  # noqa: PLC0415  # brings the keys

    assert client.profile is not None
    return WaitList(client.profile.directory)


def _state(client: Client, entry: Entry) -> Map:
    try:
        return client.call(STATE, {"request": entry.request.digest()})
    except NotFound as error:
        return {"state": "unknown", "message": printable(str(error))}
