"""`mpcctl ledger verify | show` (layer 15)."""

from __future__ import annotations

import datetime as dt
from typing import Final

import click

from mpcd import limits
from mpcd.api.types import Map, Method
from mpcd.canonical import Value
from mpcd.cli.shared import connect, json_option, maps, show, write_json, write_table
from mpcd.errors import NotFound

_LAST_DEFAULT: Final = 50
_TEXT_WIDTH: Final = 100
_GONE: Final = {"erased": "(erased)", "changed": "(changed!)"}


@click.group()
def ledger() -> None:
    """Verify or show the audit record."""


@ledger.command()
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Check the hash chain from its first entry to its last."""
    with connect(context, admin=True) as client:
        answer = client.call(Method.LEDGER_VERIFY)
    if as_json:
        write_json(answer)
        return
    head = answer.get("head")
    click.echo(f"good: {show(answer.get('entries'))} entries, head {head.hex() if isinstance(head, bytes) else head}")


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
        raise NotFound(f"The ledger has no entry {number}.")
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


def _time(entry: Map) -> str:
    at = entry.get("at")
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
