"""`mpcctl ledger`: the audit record shown, verified, exported, archived, erased; heads of the parties (layer 15)."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from mpcd import limits
from mpcd.api.types import Map, Method
from mpcd.canonical import Value
from mpcd.cli.shared import connect, json_option, maps, plural, show, write_json, write_table
from mpcd.errors import ConfigurationInvalid, LedgerInvalid, NotFound

if TYPE_CHECKING:
    from mpcd.api.client import Client
    from mpcd.identity import VerifyKey
    from mpcd.ids import PartyId

_LAST_DEFAULT: Final = 50
_TEXT_WIDTH: Final = 100
_GONE: Final = {"erased": "(erased)", "changed": "(changed!)"}


@click.group()
def ledger() -> None:
    """Verify, show, export and archive the audit record; compare heads with the peers."""


@ledger.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--peers", is_flag=True, help="Ask every peer too whether the ledger extends what it saw.")
@click.option(
    "--roster",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For FILES: the roster whose keys are trusted (default: your profile's).",
)
@json_option
@click.pass_context
def verify(context: click.Context, files: tuple[Path, ...], roster: Path | None, *, peers: bool, as_json: bool) -> None:
    """Check the hash chain from its first entry to its last, or archived FILES (in their order), without any daemon.

    Exit code 1 if an entry was changed, dropped or reordered, a file was cut, or a peer remembers another ledger.
    """
    if files:
        _verify_files(context, files, roster, as_json=as_json)
        return
    with connect(context, admin=True) as client:
        answer = client.call(Method.LEDGER_VERIFY)
        outcomes = maps(client.call("mpc.v1.LedgerExchange"), "peers") if peers else []
    if as_json:
        write_json({**answer, "peers": list(outcomes)} if peers else answer)
    else:
        head = answer.get("head")
        click.echo(
            f"good: {show(answer.get('entries'))} entries, head {head.hex() if isinstance(head, bytes) else head}"
        )
        if answer.get("away"):
            click.echo(f"{show(answer.get('away'))} of them are archived in files that are not here: verify those too")
        for item in outcomes:
            click.echo(f"party {show(item.get('party'))}: {show(item.get('outcome'))}")
    wrong = [item for item in outcomes if item.get("outcome") != "seen"]
    if wrong:
        raise LedgerInvalid(
            f"The head was not confirmed by {plural(len(wrong), 'peer')}; `mpcctl ledger heads` shows what is known."
        )


def _verify_files(context: click.Context, files: tuple[Path, ...], roster: Path | None, *, as_json: bool) -> None:
    from mpcd.governance import segmentfile  # noqa: PLC0415  # only where files are read

    keys = _keys(context, roster)
    found, after = [], None
    for path in files:
        with path.open("rb") as file:
            after = segmentfile.verify(file.read, keys, after)
        found.append(after)
    if as_json:
        write_json(
            [
                {
                    "file": str(path),
                    "party": int(report.header.party),
                    "ledger_id": report.header.ledger_id,
                    "first": report.header.first,
                    "count": report.header.count,
                    "head": report.head.hash,
                    "erased": report.erased,
                    "witnesses": [[int(party), count] for party, count in report.witnesses],
                }
                for path, report in zip(files, found, strict=True)
            ]
        )
        return
    for path, report in zip(files, found, strict=True):
        last = report.header.first + report.header.count - 1
        seen = ", ".join(f"party {party} after {count}" for party, count in report.witnesses) or "no peer"
        click.echo(
            f"good: {path.name}: entries {report.header.first} to {last} of party {report.header.party}, "
            f"{_day(report.first_milliseconds)} to {_day(report.last_milliseconds)}; signed by it, and by {seen}"
        )


def _keys(context: click.Context, roster: Path | None) -> Mapping[PartyId, VerifyKey]:
    """Signing keys of the parties, from a roster's file or the profile."""
    from mpcd.identity import VerifyKey  # noqa: PLC0415

    if roster is not None:
        from mpcd.roster.parse import parse  # noqa: PLC0415

        listed = parse(roster.read_text(encoding="utf-8"), str(roster))
        return {party.id: VerifyKey.from_text(party.signing_key) for party in listed.parties}
    from mpcd.api import profile as profiles  # noqa: PLC0415

    directory = profiles.find(context.find_root().obj[0], profiles.current_environment())
    if not (directory / profiles.FILE).exists():
        raise ConfigurationInvalid("Name the consortium's roster with --roster: its keys say who signed.")
    return {party.id: party.signing_key for party in profiles.Profile.load(directory).parties.values()}


@ledger.command()
@json_option
@click.pass_context
def heads(context: click.Context, as_json: bool) -> None:
    """Show what this party remembers of its peers' ledgers, and what they signed of its own."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.LedgerHeads")
    if as_json:
        write_json(answer)
        return
    rows = [
        [
            show(peer.get("party")),
            show(peer.get("name")),
            show(peer.get("remembered")),
            _time(peer, "remembered_at"),
            show(peer.get("signed")),
            _time(peer, "signed_at"),
        ]
        for peer in maps(answer, "peers")
    ]
    write_table(["party", "name", "its entries", "seen (UTC)", "signed of ours", "when (UTC)"], rows)
    for peer in maps(answer, "peers"):
        for trouble in maps(peer, "trouble"):
            click.echo(f"party {show(peer.get('party'))}, {_time(trouble)}: {show(trouble.get('why'))}")
    if answer.get("lost_entries") is not None:
        click.echo(f"this ledger: a peer holds our signature under {show(answer.get('lost_entries'))} entries")


_REASON = click.option("--reason", required=True, help="Stands in the ledger.")


@ledger.command()
@click.argument("party", type=click.IntRange(0))
@_REASON
@click.pass_context
def accept(context: click.Context, party: int, reason: str) -> None:
    """Go on from the ledger of PARTY although it contradicts what is remembered; the evidence is kept."""
    with connect(context, admin=True) as client:
        client.call("mpc.v1.LedgerAccept", {"party": party, "reason": reason})
    click.echo(f"accepted the ledger of party {party} as it is now; both heads stay on the record")


@ledger.command(name="admit-loss")
@_REASON
@click.pass_context
def admit_loss(context: click.Context, reason: str) -> None:
    """Say, signed and for ever, that entries of this ledger were lost, for instance with a restored backup."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.LedgerAdmit", {"reason": reason})
    for item in maps(answer, "peers"):
        click.echo(f"party {show(item.get('party'))}: {show(item.get('outcome'))}")


@ledger.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(0))
@click.option("--before", metavar="DATE", help="Instead of numbers: all content from before this day (UTC).")
@click.option("--within-retention", is_flag=True, help="Also content that is younger than the retention.")
@_REASON
@json_option
@click.pass_context
def erase(
    context: click.Context,
    numbers: tuple[int, ...],
    before: str | None,
    reason: str,
    *,
    within_retention: bool,
    as_json: bool,
) -> None:
    """Erase the readable content of entries NUMBERS; the chain still verifies, and the erasure is an entry."""
    if bool(numbers) == (before is not None):
        raise click.UsageError("Name either entries or --before DATE.")
    params: Map = {"reason": reason, "within_retention": within_retention}
    erased: list[Value] = []
    with connect(context, admin=True) as client:
        while True:
            chosen: Map = {"before": _seconds(before)} if before is not None else {"entries": list(numbers)}
            answer = client.call("mpc.v1.LedgerErase", params | chosen)
            gone = answer.get("erased")
            erased += gone if isinstance(gone, list) else []
            if before is None or not gone:
                break
    if as_json:
        write_json({"erased": erased, "entry": answer.get("entry")})
    else:
        click.echo(
            f"erased the content of {plural(len(erased), 'entry') if len(erased) == 1 else f'{len(erased)} entries'}"
        )


@ledger.command()
@click.option("--before", required=True, metavar="DATE", help="Archive entries from before this day (UTC).")
@click.option("--unseen", is_flag=True, help="Also entries that not every peer has signed yet.")
@json_option
@click.pass_context
def archive(context: click.Context, before: str, *, unseen: bool, as_json: bool) -> None:
    """Move old entries into sealed files beside the state; they may be carried away and verified offline."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.LedgerArchive", {"before": _seconds(before), "unseen": unseen})
    if as_json:
        write_json(answer)
    elif maps(answer, "segments"):
        _print_segments(answer)
    else:
        click.echo(
            "nothing to archive: entries stay while a session needs them, and until every peer has signed them "
            f"(so far {show(answer.get('seen_by_all'))})"
        )


@ledger.command(name="segments")
@json_option
@click.pass_context
def list_segments(context: click.Context, as_json: bool) -> None:
    """Show the archived files and until when they must be kept."""
    with connect(context, admin=True) as client:
        answer = client.call("mpc.v1.LedgerSegments")
    if as_json:
        write_json(answer)
    else:
        _print_segments(answer)


def _print_segments(answer: Map) -> None:
    rows = [
        [
            show(item.get("first")),
            show(item.get("count")),
            _time(item, "from")[:10],
            _time(item, "until")[:10],
            _time(item, "keep_until")[:10],
            show(item.get("path")) if item.get("is_here") is True else f"{show(item.get('path'))} (not here)",
        ]
        for item in maps(answer, "segments")
    ]
    write_table(["first", "entries", "from", "until", "keep until", "file"], rows)


# ------------------------------------------------------------------------------------------------ export


@ledger.command()
@click.option("--format", "form", type=click.Choice(["csv", "fhir"]), default="csv", show_default=True)
@click.option("--since", metavar="DATE", help="Only entries from this day on (UTC).")
@click.option("--until", metavar="DATE", help="Only entries from before this day (UTC).")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@click.pass_context
def export(context: click.Context, form: str, since: str | None, until: str | None, output: Path | None) -> None:
    """Write entries as CSV, or as FHIR AuditEvent resources (IHE BALP), one JSON document a line."""
    from mpcd.governance import audit  # noqa: PLC0415  # only where entries are exported

    first = float("-inf") if since is None else float(_seconds(since))
    end = float("inf") if until is None else float(_seconds(until))
    with connect(context, admin=True) as client, _to(output) as file:
        exporter = audit.Exporter(*_who_we_are(client))
        writer = csv.writer(file, lineterminator="\n")
        if form == "csv":
            writer.writerow(audit.COLUMNS)
        for entry in _all_entries(client):
            made = exporter.row(entry) if form == "csv" else json.dumps(exporter.resource(entry), ensure_ascii=False)
            at = entry.get("at")
            if not isinstance(at, (int, float)) or not first <= at < end:
                continue
            if isinstance(made, str):
                file.write(made + "\n")
            else:
                writer.writerow(made)


@contextlib.contextmanager
def _to(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationInvalid(f"Cannot write the export: {error.strerror}.", path=str(output)) from error
    with file:
        yield file


def _who_we_are(client: Client) -> tuple[str, int, str]:
    """Consortium, our number, our name."""
    info = client.node
    return info.consortium, int(info.party), info.party_name


def _all_entries(client: Client) -> Iterator[Map]:
    """Every entry that is in the state file, oldest first."""
    segments = maps(client.call("mpc.v1.LedgerSegments"), "segments")
    at = max((_whole_number(item.get("first")) + _whole_number(item.get("count")) for item in segments), default=0)
    if at:
        click.echo(
            f"the first {at} entries are archived and not in this export; `mpcctl ledger segments` names their files",
            err=True,
        )
    while True:
        page = maps(
            client.call(Method.LEDGER_ENTRIES, {"from_seq": at, "count": limits.API_LEDGER_ENTRIES_MAX}), "entries"
        )
        yield from page
        if not page:
            return
        at += len(page)


def _whole_number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _seconds(day: str | None) -> int:
    """A day, or a time, as seconds since 1970 (UTC)."""
    try:
        found = dt.datetime.fromisoformat(day or "")
    except ValueError as error:
        raise click.UsageError(f"`{day}` is no date; write 2026-11-22 or 2026-11-22T10:00.") from error
    return int(found.replace(tzinfo=found.tzinfo or dt.UTC).timestamp())


def _day(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%d")


@ledger.command(name="show")
@click.argument("number", required=False, type=click.IntRange(0))
@click.option("--from", "from_seq", type=click.IntRange(0), help="First entry (default: see --last).")
@click.option(
    "--last",
    "--count",
    "count",
    default=_LAST_DEFAULT,
    show_default=True,
    type=click.IntRange(1, limits.API_LEDGER_ENTRIES_MAX),
    help="How many: from --from on, otherwise the last.",
)
@json_option
@click.pass_context
def show_entries(context: click.Context, number: int | None, from_seq: int | None, count: int, as_json: bool) -> None:
    """Show entries: what was asked, decided, recorded, released; all of entry NUMBER, if one is given."""
    params: Map = {"count": count}
    if number is not None:
        params = {"from_seq": number, "count": 1}
    elif from_seq is not None:
        params["from_seq"] = from_seq
    with connect(context, admin=True) as client:
        answer = client.call(Method.LEDGER_ENTRIES, params)
        found = maps(answer, "entries")
        if number is not None and not found:
            raise _not_there(client, number)
    if as_json:
        write_json(answer if number is None else found[0])
    elif number is not None:
        _print_one(found[0])
    else:
        rows = [
            [show(entry.get("seq")), _time(entry), show(entry.get("kind")), show(entry.get("session")), _line(entry)]
            for entry in found
        ]
        write_table(["entry", "time (UTC)", "kind", "session", "content"], rows)


def _not_there(client: Client, number: int) -> NotFound:
    for item in maps(client.call("mpc.v1.LedgerSegments"), "segments"):
        first = _whole_number(item.get("first"))
        if first <= number < first + _whole_number(item.get("count")):
            return NotFound(f"Entry {number} was archived, in {show(item.get('path'))}.")
    return NotFound(f"The ledger has no entry {number}.")


def _time(entry: Map, key: str = "at") -> str:
    at = entry.get(key)
    if not isinstance(at, (int, float)):
        return "-"
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(entry: Map) -> str:
    """What an entry says, in one line."""
    content, asked = entry.get("content"), entry.get("asked")
    if not isinstance(content, dict):
        return _gone(entry)
    if isinstance(asked, dict):
        reasons = "; ".join(_reasons(content))
        text = f"{_who(asked)}, {show(asked.get('purpose'))}: {show(asked.get('sql'))}"
        # Why nothing was answered must not fall off the line's end.
        room = _TEXT_WIDTH - min(len(reasons), _TEXT_WIDTH // 2) - 2 if reasons else _TEXT_WIDTH
        return _cut(f"{reasons}; {_cut(text, room)}" if reasons else text, _TEXT_WIDTH)
    return _cut(show(content), _TEXT_WIDTH)


def _print_one(entry: Map) -> None:
    """All of one entry."""
    content, asked = entry.get("content"), entry.get("asked")
    lines: list[tuple[str, Value]] = [("entry", entry.get("seq")), ("time (UTC)", _time(entry))]
    lines += [(name, _whole(entry.get(name))) for name in ("kind", "session", "hash")]
    if isinstance(asked, dict):
        lines += [("analyst", _who(asked)), ("key", asked.get("analyst_key")), ("purpose", asked.get("purpose"))]
        lines.append(("sql", asked.get("sql")))
    if isinstance(content, dict):
        lines += [(name, _whole(item)) for name, item in content.items() if name not in {"request", "reasons"}]
        lines += [("reason", reason) for reason in _reasons(content)]
    else:
        lines.append(("content", _gone(entry)))
    width = max(len(name) for name, _ in lines)
    for name, item in lines:
        click.echo(f"{name:<{width}}  {show(item)}")


def _who(asked: Map) -> str:
    name = asked.get("analyst")
    return show(name) if name is not None else f"the key {show(asked.get('fingerprint'))}"


def _reasons(content: Map) -> list[str]:
    """`party 1, column-use, t.x: why`."""
    reasons = content.get("reasons")
    return [
        f"party {show(item[0])}, {show(item[1])}{', ' if item[2] else ''}{show(item[2])}: {show(item[3])}"
        for item in (reasons if isinstance(reasons, list) else ())
        if isinstance(item, list) and len(item) == 4
    ]


def _gone(entry: Map) -> str:
    state = entry.get("content_state")
    return _GONE.get(state, "(changed!)") if isinstance(state, str) else "(changed!)"


def _whole(item: Value) -> Value:
    return item.hex() if isinstance(item, bytes) else item


def _cut(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
