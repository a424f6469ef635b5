"""`mpcctl` (layer 15).

Exit codes, the same for every command:

    0  good
    1  something else failed
    2  wrong usage of the command line
    3  refused: an owner's policy says no (every reason is printed)
    4  the request is wrong or cannot be planned
    5  the daemon or a peer is unavailable; trying again may help
    6  the result is invalid: the parties' copies or signatures do not agree; it must not be used
    7  the request waits for people to approve it, and will run by itself

Answers go to stdout, errors and progress to stderr.  Each command's module is imported only when that command runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from mpcd import __version__
from mpcd.errors import (
    AwaitingApproval,
    CallerFault,
    DaemonUnavailable,
    MpcdError,
    PeerFault,
    PlanMismatch,
    Refused,
    ResultInvalid,
    SessionFault,
)

FAILED: Final = 1
REFUSED: Final = 3
REQUEST_WRONG: Final = 4
UNAVAILABLE: Final = 5
RESULT_INVALID: Final = 6
WAITING: Final = 7
INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "describe": ("mpcd.cli.describe", "Show the tables that can be asked about, at all parties."),
    "twin": ("mpcd.cli.twin", "Make up data of the right form, to try a query on before asking for access."),
    "explain": ("mpcd.cli.ask", "Show what a query would open, cost and need, without running it."),
    "quote": ("mpcd.cli.quote", "Show what a query would cost, signed by each owner."),
    "sql": ("mpcd.cli.ask", "Run a query over the pooled tables."),
    "analyst": ("mpcd.cli.analyst", "Become known to the owners of data; as an owner, say who may ask."),
    "result": ("mpcd.cli.result", "Verify and show results that were kept in files."),
    "status": ("mpcd.cli.ask", "Show how the daemon is."),
    "licence": ("mpcd.cli.licence", "Accept, show and prove licences; list and revoke them."),
    "offer": ("mpcd.cli.offer", "Offer licences for this owner's tables."),
    "peers": ("mpcd.cli.admin", "Show the channels to the other parties."),
    "ledger": ("mpcd.cli.ledger", "Verify, show, export and archive the audit record."),
    "statement": ("mpcd.cli.statement", "What a month earned, from receipts alone."),
    "data": ("mpcd.cli.data", "Check, publish and retire data versions; persons who opted out."),
    "table": ("mpcd.cli.admin", "Import, publish and list this party's tables."),
    "policy": ("mpcd.cli.policy", "Show and check what this owner allows, and its budgets."),
    "reload": ("mpcd.cli.admin", "Let the daemon read its policy again."),
    "drain": ("mpcd.cli.admin", "Let the daemon take no new requests."),
    "requests": ("mpcd.cli.requests", "Follow and fetch your requests that wait for approval."),
    "approvals": ("mpcd.cli.approvals", "Requests that this owner's people decide about."),
    "sign": ("mpcd.cli.sign", "Read a form that asks for approval, decide, and sign offline."),
    "key": ("mpcd.cli.key", "Make and look after your own signing key (stewards, approvers)."),
    "bridge": ("mpcd.cli.bridge", "Lead a remote client to this host's daemon (ssh HOST mpcctl bridge)."),
    "sandbox": ("mpcd.cli.sandbox", "A whole consortium on this machine, for trying things out."),
}


class LazyCommands(click.Group):
    """Knows every command's name and purpose; imports a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """In the order in which people meet them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return."""
        if cmd_name not in _COMMANDS:
            return None
        name = _COMMANDS[cmd_name][0]
        try:
            command: click.Command = getattr(importlib.import_module(name), cmd_name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise click.ClickException(f"`{cmd_name}` needs the whole of mpcd; this is the client alone.") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands in `--help`, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in _COMMANDS.items()])


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--profile", metavar="DIR", help="Analyst's profile (default: $MPCD_PROFILE, a sandbox, ~/.config/mpcd).")
@click.option("--socket", metavar="PATH", help="The daemon's socket, or ssh:HOST (default: the profile's).")
@click.version_option(__version__, prog_name="mpcctl")
@click.pass_context
def mpcctl(context: click.Context, profile: str | None, socket: str | None) -> None:
    """Ask questions over tables that several hospitals hold, and run this host's daemon.

    Exit codes: 0 good, 1 failed, 2 usage, 3 refused by a policy, 4 request wrong, 5 daemon or peer unavailable,
    6 result invalid, 7 waits for approval.
    """
    context.obj = (profile, socket)


def exit_code(error: MpcdError) -> int:
    """The process's exit code for an expected failure."""
    match error:
        case Refused():
            return REFUSED
        case ResultInvalid():
            return RESULT_INVALID
        case AwaitingApproval():
            return WAITING
        case CallerFault() | PlanMismatch():
            return REQUEST_WRONG
        case DaemonUnavailable() | PeerFault() | SessionFault():
            return UNAVAILABLE
        case _:
            return FAILED


def complain(error: MpcdError) -> None:
    """One clear sentence; for a refusal every reason on a line of its own."""
    from mpcd.cli.shared import printable  # noqa: PLC0415  # brings the client; an error has brought it already

    if isinstance(error, Refused):
        merged = merged_reasons([(int(r.party), r.rule, r.subject, r.message) for r in error.reasons])
        click.echo(f"mpcctl: refused, for {len(merged)} reason{'s' if len(merged) != 1 else ''}:", err=True)
        for who, rule, subject, message in merged:
            click.echo(f"  {who}, {rule}, {printable(f'{subject}: {message}')}", err=True)
        return
    click.echo(f"mpcctl: {printable(str(error))}", err=True)


def merged_reasons(reasons: Sequence[tuple[int, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """What several parties say alike, once: who, rule, subject, message."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for party, rule, subject, message in reasons:
        without = message.removeprefix(f"party {party}")
        alike.setdefault((rule, subject, f"each{without}" if without != message else message), []).append(party)
    said = {(party, rule, subject): message for party, rule, subject, message in reasons}
    return [
        (f"party {parties[0]}", rule, subject, said[parties[0], rule, subject])
        if len(parties) == 1
        else (f"parties {', '.join(map(str, parties))}", rule, subject, message)
        for (rule, subject, message), parties in alike.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    try:
        code = mpcctl.main(
            args=None if arguments is None else list(arguments), prog_name="mpcctl", standalone_mode=False
        )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except MpcdError as error:
        complain(error)
        return exit_code(error)
    except BrokenPipeError:
        # The reader of our output left; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
