"""`mpcctl` against a fake daemon: command, exit code, stdout and stderr as recorded in `tests/golden/cli`.

`MPCD_GOLDEN=write` records them anew; a person reads the difference before it is committed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
import trio

from mpcd.api import sockets
from mpcd.api.server import ApiServer
from mpcd.cli.main import main
from mpcd.errors import Busy, DataInvalid, LedgerInvalid, NotFound, PeerGone, PlanInvalid, Refusal, Refused
from mpcd.governance.offer import SignedOffer
from mpcd.governance.price import Rate
from mpcd.ids import PartyId
from mpcd.results import render
from mpcd.results.shape import INTEGER
from mpcd.results.table import NULL, Suppressed, Table, TableColumn
from mpcd.testing.licensing import offer, pool, signed

HERE = Path(__file__).resolve()
GOLDEN = HERE.parents[2] / "golden" / "cli"
SQL = "SELECT horTh, COUNT(*), SUM(x) FROM t GROUP BY horTh"


def _fakes() -> ModuleType:
    """The fake daemon and the fake compute parties of the API's tests."""
    if (known := sys.modules.get("mpcd_fakes")) is not None:
        return known
    spec = importlib.util.spec_from_file_location("mpcd_fakes", HERE.parents[1] / "api" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mpcd_fakes"] = module
    spec.loader.exec_module(module)
    return module


def _column(name: str, kind: str, **more: Any) -> dict[str, Any]:
    plain = {"unit": "", "decimals": 0, "levels": [], "bounds": None, "nullable": False, "uses": []}
    return {"name": name, "type": kind, **plain, **more}


COLUMNS = [
    _column("rid", "person_id"),
    _column("horTh", "dictionary", levels=["no", "yes"], uses=["group", "filter"]),
    _column("tsize", "decimal", unit="mm", decimals=1, bounds=[0, 2005], nullable=True, uses=["aggregate"]),
    _column("day", "date", bounds=[0, 366]),
]
DUTIES = {
    "purposes": ["GRU"],
    "conditions": ["NCU"],
    "licence": "required",
    "offers": [b"d" * 32],
    "approvals": {"min": 2, "executions": 1, "deadline_seconds": 1_209_600},
    "granularity": {"day": "in whole months"},
    "noise_only": False,
    "noise": True,
    "queries": 100,
    "queries_days": 30,
    "data_version": "ab" * 32,
    "gives_rows": True,
}
PLAIN_DUTIES = {**DUTIES, "conditions": [], "licence": "none", "offers": [], "approvals": None, "queries": None}
RULES = {"profile": "cms-11", "security": "malicious", "safe_threshold": 11}
OTHERS = [{**column, "uses": ["group"]} if column["name"] == "horTh" else column for column in COLUMNS]
TABLE = {"name": "t", "owners": [0, 1, 2], "rows_max": 500}


def _party(number: int, **said: Any) -> dict[str, Any]:
    plain = {"error": "", "message": "", "accepted": True, "stewards": [], "rules": RULES, "tables": []}
    return {"id": number, "name": f"hospital-{number}", "roles": ["input", "compute"], **plain, **said}


DESCRIBED = {
    "consortium": "three-hospitals",
    "roster_version": 1,
    "parties": [
        _party(
            0, tables=[{**TABLE, **DUTIES, "columns": COLUMNS}], stewards=[{"name": "Data", "contact": "d@h.example"}]
        ),
        _party(1, tables=[{**TABLE, **PLAIN_DUTIES, "granularity": {}, "columns": OTHERS}]),
        _party(2, error="mpc.PeerUnavailable", message="hospital-2 is not connected", accepted=None),
    ],
}
NOTHING = {**DESCRIBED, "parties": [_party(number, accepted=False, rules={}) for number in range(3)]}
EXPLAINED = {
    "plan_hash": bytes(range(32)),
    "columns": ["horTh", "count", "total"],
    "cells": 2,
    "uses": {"t.horTh": ["group"], "t.x": ["aggregate"]},
    "opened": ["count of rows, for each of 2 cells, if it has enough persons"],
    "rules": ["floor: 11 persons (the rule of party 1)"],
    "rounds": 15,
    "bytes_sent": {"compute": 20_480, "input": 352},
    "security": "semi-honest",
    "refusals": [],
}
REASONS = (
    Refusal(PartyId(1), "column-use", "t.x: aggregate", "party 1 does not allow `x` to be aggregated"),
    Refusal(PartyId(2), "purpose", "GRU", "party 2 allows HMB only; \x1b[31mdeclare another purpose"),
)


def _answer(name: str, value: Any) -> Callable[[Any], None]:
    async def method(*_arguments: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if isinstance(value, BaseException):
            raise value
        return value

    return lambda backend: setattr(backend, name, method)


def _fail(error: Exception) -> Callable[[Any], None]:
    def set_up(backend: Any) -> None:
        backend.run_job = lambda job, request: job.fail(error)

    return set_up


def _tamper(backend: Any) -> None:
    def run(job: Any, request: Any) -> None:
        result = backend.consortium.result(request)
        first = bytearray(result.releases[0])
        first[60] ^= 1  # inside the sealed text
        job.finish(replace(result, releases=(bytes(first), *result.releases[1:])))

    backend.run_job = run


def _facts(backend: Any) -> None:
    def run(job: Any, request: Any) -> None:
        facts = {
            "spent": {"input0": [1, 320], "compute0": [15, 2072]},
            "predicted": {"rounds": 15},
            "rules_of": {"safe_threshold": 1},
            "opened": ["count of rows"],
            "seconds": 0.03,
        }
        job.finish(
            replace(backend.consortium.result(request), facts={**facts, "receipt": backend.consortium.receipt(request)})
        )

    backend.run_job = run


ASKED = {
    "sql": "SELECT COUNT(*), SUM(x), AVG(x)\nFROM t WHERE horTh = 'yes' AND x BETWEEN 1 AND 100 AND day > DATE '2020'",
    "purpose": "GRU", "analyst": "Anna", "analyst_key": "mpcd-sign1example", "fingerprint": "ab12-cd34",
}  # fmt: skip
ENTRIES = [
    {"seq": 0, "at": 1.7e9, "kind": "started", "hash": b"h" * 32, "session": None, "content": {"version": "0.1.0"}},
    {
        "seq": 1,
        "at": 1.7e9 + 1.5,
        "kind": "agreed",
        "hash": b"i" * 32,
        "session": b"s" * 32,
        "content": None,
        "content_state": "erased",
    },
    {
        "seq": 2,
        "at": 1.7e9 + 2.5,
        "kind": "recorded",
        "hash": b"j" * 32,
        "session": b"s" * 32,
        "content": None,
        "content_state": "changed",
    },
    {
        "seq": 3,
        "at": 1.7e9 + 3.5,
        "kind": "agreed",
        "hash": b"k" * 32,
        "session": b"t" * 32,
        "content": {"request": b"bytes", "plan_hash": b"p" * 32, "parties": [0, 1, 2]},
        "asked": ASKED,
    },
    {
        "seq": 4,
        "at": 1.7e9 + 4.5,
        "kind": "failed",
        "hash": b"l" * 32,
        "session": None,
        "content": {"request": b"bytes", "reasons": [[2, "mpc.PeerUnavailable", "", "party 2 was away"]]},
        "asked": {**ASKED, "analyst": None},
    },
]


def _version(name: str, rows: int, at: float, *, published: bool = False, fits: bool = True) -> dict[str, Any]:
    return {"data_version": name * 32, "rows": rows, "imported_at": at, "published": published, "fits_roster": fits}


VERSIONS = [
    _version("cd", 230, 1_700_000_000.5),
    _version("ab", 229, 1_699_999_999.0, published=True),
    _version("ef", 9, 1.6e9, fits=False),
]
TABLES: list[dict[str, Any]] = [
    {
        "name": "t",
        "state": "published",
        "rows": 229,
        "data_version": "ab" * 32,
        "published": True,
        "versions": VERSIONS,
    },
    {"name": "u", "state": "absent", "rows": None, "data_version": None, "published": False, "versions": []},
]
PEERS = [
    {"party": 1, "name": "hospital-1", "state": "connected", "dialled": "by us", "detail": ""},
    {"party": 2, "name": "hospital-2", "state": "away", "dialled": "by them", "detail": "refused\x07 twice"},
]
APPROVALS = [
    {
        "request": b"\xab\x12" * 16, "state": "pending", "analyst": "Anna", "fingerprint": "00001 00002",
        "purpose": "HMB", "tables": ["t"], "approved": 1, "needed": 2, "first_at": 1_700_000_000_000,
        "closes_at": 1_700_600_000_000, "expires_at": 1_700_700_000_000, "keeper": 0,
    },
    {
        "request": b"\xcd\x34" * 16, "state": "denied", "analyst": "", "fingerprint": "00001 00003", "purpose": "GRU",
        "tables": ["t", "u"], "approved": 0, "needed": 1, "first_at": 1_700_000_000_000, "closes_at": None,
        "expires_at": 1_700_700_000_000, "keeper": 2,
    },
]  # fmt: skip
APPROVAL = {
    **APPROVALS[0],
    "text": "SELECT COUNT(*)\nFROM t\x1b[2J",
    "issued_at": 1_700_000_000_000,
    "told": ["count of rows, if it has enough persons"],
    "data_versions": {"t": "ab" * 32},
    "executions_max": 3,
    "rulings": [
        {
            "approver": "Ida", "verdict": "approve", "decided_at": 1_700_000_100_000, "run_before": 1_700_700_000_000,
            "executions": 1, "used": 0, "reason": "",
        },
        {
            "approver": "Otto", "verdict": "withdraw", "decided_at": 1_700_000_200_000, "run_before": 0,
            "executions": 0, "used": 0, "reason": "not before the board has met",
        },
    ],
}  # fmt: skip
LICENCE: dict[str, Any] = {
    "name": "0011223344556677",
    "title": "Academic",
    "until": 1_795_348_800_000,
    "currency": "EUR",
    "rate": Rate(per_query=1250, per_month=5000, max_per_month=8000, free_queries=2).to_value(),
    "ended": False,
    "told": [],
}
OFFERS = [
    {"offer": signed(offer()).to_bytes(), "state": "open"},
    {"offer": SignedOffer(pool(1, 2), ()).to_bytes(), "state": "pending"},
    {"offer": signed(offer(title="Old data")).to_bytes(), "state": "outdated"},
]
SCENARIOS: dict[str, tuple[list[str], Callable[[Any], None] | None]] = {
    "help": (["--help"], None),
    "describe": (["describe"], _answer("domain", DESCRIBED)),
    "describe-table": (["describe", "t"], _answer("domain", DESCRIBED)),
    "describe-no-table": (["describe", "u"], _answer("domain", DESCRIBED)),
    "describe-nothing": (["describe"], _answer("domain", NOTHING)),
    "explain": (["explain", SQL], _answer("explain", EXPLAINED)),
    "explain-refused": (
        ["explain", SQL],
        _answer("explain", {**EXPLAINED, "refusals": [{"party": 1, "rule": "table", "message": "party 1 has none"}]}),
    ),
    "explain-join": (
        ["explain", SQL], _answer("explain", {**EXPLAINED, "notes": ["rows were joined within each hospital's own"]})
    ),
    "sql": (["sql", SQL], _facts),
    "sql-quiet": (["sql", "--quiet", SQL], _facts),
    "sql-csv": (["sql", "--csv", SQL], _facts),
    "sql-json": (["sql", "--json", SQL], _facts),
    "sql-refused": (["sql", SQL], _fail(Refused(REASONS))),
    "sql-refused-by-all": (
        ["sql", SQL],
        _fail(
            Refused(
                tuple(
                    Refusal(PartyId(party), "table", name, f"party {party} knows no table `{name}`; {advice}")
                    for party in range(3)
                    for name, advice in (("t", "ask that owner"), ("u", f"ask owner {min(party, 1)}"))
                )
            )
        ),
    ),
    "sql-unplannable": (["sql", SQL], _fail(PlanInvalid("party 0: there is no column 'foo'"))),
    "sql-peer-gone": (["sql", SQL], _fail(PeerGone(PartyId(2), "party 2 went away while we were computing"))),
    "sql-busy": (["sql", SQL], _fail(Busy("this party already runs 16 sessions; ask again later"))),
    "sql-tampered": (["sql", SQL], _tamper),
    "sql-usage": (["sql", "--json", "--csv", SQL], None),
    "sql-missing-query": (["sql"], None),
    "unknown-command": (["sequel"], None),
    "status": (
        ["status"],
        _answer("status", {"state": "running", "security": "semi-honest", "kernel": "portable", "uptime_seconds": 61.5,
                           "peers_connected": 1, "peers_total": 2, "jobs_running": 0}),
    ),
    "peers": (["peers"], _answer("peers", PEERS)),
    "ledger-verify": (["ledger", "verify"], _answer("ledger_verify", {"entries": 2, "head": b"h" * 32})),
    "ledger-broken": (["ledger", "verify"], _answer("ledger_verify", LedgerInvalid("entry 1 does not follow entry 0"))),
    "ledger-show": (["ledger", "show", "--from", "0", "--count", "9"], _answer("ledger_entries", ENTRIES)),
    "ledger-show-one": (["ledger", "show", "3"], _answer("ledger_entries", ENTRIES[3:4])),
    "ledger-show-failed": (["ledger", "show", "4"], _answer("ledger_entries", ENTRIES[4:])),
    "ledger-show-none": (["ledger", "show", "9"], _answer("ledger_entries", [])),
    "explain-waits": (
        ["explain", SQL],
        _answer(
            "explain",
            {**EXPLAINED, "waits": [{"party": 1, "message": "party 1 lets people decide: 1 of 2 approvals missing"}]},
        ),
    ),
    "approvals-list": (["approvals", "list"], _answer("domain", {"requests": APPROVALS})),
    "approvals-list-all": (["approvals", "list", "--all"], _answer("domain", {"requests": APPROVALS})),
    "approvals-list-json": (["approvals", "list", "--json"], _answer("domain", {"requests": APPROVALS})),
    "approvals-show": (["approvals", "show", "ab12ab12"], _answer("domain", APPROVAL)),
    "approvals-show-none": (["approvals", "show", "ab"], _answer("domain", NotFound("no request that waits here"))),
    "approvals-approve-no-key": (["approvals", "approve", "ab12ab12"], None),
    "requests-list": (["requests", "list"], None),
    "requests-watch-none": (["requests", "watch", "ab12ab12"], None),
    "sql-wait-usage": (["sql", "--wait", "7 days", SQL], None),
    "sql-wait-too-long": (["sql", "--wait", "91d", SQL], None),
    "table-list": (["table", "list"], _answer("table_list", TABLES)),
    "table-import": (
        ["table", "import", "t"],
        _answer("table_import", {"table": "t", "rows": 229, "data_version": "ab" * 32, "notes": ["rounded"]}),
    ),
    "table-publish": (["table", "publish", "t"], _answer("table_publish", TABLES[0])),
    "data-check": (
        ["data", "check", "t"],
        _answer(
            "domain",
            {
                "table": "t", "rows": 228, "persons": 200, "data_version": "ab" * 32, "columns": 3,
                "opted_out_rows": 3, "opted_out_persons": 2, "notes": ["t.csv: left out: note"], "compared": 2,
                "nearest": "cd" * 32, "changed_persons": 2, "safe_threshold": 11, "too_near": True,
            },
        ),
    ),
    "data-check-first": (
        ["data", "check", "t"],
        _answer("domain", {"table": "t", "rows": 228, "persons": 0, "data_version": "ab" * 32, "compared": 0}),
    ),
    "data-publish": (["data", "publish", "t"], _answer("domain", {**TABLES[0], "opted_out_rows": 0, "notes": ["x"]})),
    "data-publish-refused": (
        ["data", "publish", "t", "--version", "abababab"],
        _answer("domain", DataInvalid("version abababababababab of table t differs by 2 person(s)")),
    ),
    "data-publish-bound": (
        ["data", "publish", "t", "--version", "abababab"],
        _answer("domain", DataInvalid("other data of table t alone is covered by licence 0011223344556677")),
    ),
    "data-publish-yes": (
        ["data", "publish", "t", "--version", "abababab", "--yes"],
        _answer(
            "domain",
            {**TABLES[0], "licences_outdated": ["0011223344556677"], "offers_outdated": ["8899aabbccddeeff"]},
        ),
    ),
    "analyst-remove": (
        ["analyst", "remove", "anna1", "--reason", "left"],
        _answer("domain", {"name": "Anna", "still_in_policy_file": False, "licences": [LICENCE]}),
    ),
    "analyst-remove-ended": (
        ["analyst", "remove", "anna1", "--reason", "left", "--end-licences"],
        _answer(
            "domain",
            {
                "name": "Anna",
                "still_in_policy_file": True,
                "licences": [
                    {**LICENCE, "ended": True, "told": [{"party": 2, "error": "mpc.PeerGone", "message": "away"}]}
                ],
            },
        ),
    ),
    "offer-list": (["offer", "list"], _answer("domain", {"offers": OFFERS})),
    "offer-withdraw": (
        ["offer", "withdraw", "00112233"],
        _answer(
            "domain",
            {"digest": b"\x11" * 32, "told": [{"party": 2, "error": "mpc.PeerGone", "message": "away"}]},
        ),
    ),
    "data-publish-usage": (["data", "publish", "t", "--force"], None),
    "data-versions": (
        ["data", "versions"],
        _answer(
            "domain",
            {
                "tables": [
                    {
                        **TABLES[0],
                        "versions": [
                            {**VERSIONS[1], "persons": 200, "sessions": 2, "published_at": 1, "opt_out_changed": True},
                            {**VERSIONS[0], "persons": 0, "sessions": 1, "published_at": 1, "retired_at": 2},
                            {**VERSIONS[2], "persons": 0, "sessions": 0, "published_at": 1},
                        ],
                    },
                    TABLES[1],
                ]
            },
        ),
    ),
    "data-retire": (
        ["data", "retire", "t", "--version", "abababab", "--reason", "old"],
        _answer("domain", {"table": "t", "data_version": "ab" * 32, "deleted": False, "sessions": 1}),
    ),
    "data-retire-deleted": (
        ["data", "retire", "t", "--version", "abababab", "--reason", "old"],
        _answer("domain", {"table": "t", "data_version": "ab" * 32, "deleted": True, "sessions": 0}),
    ),
    "data-overlap": (
        ["data", "overlap", "t"],
        _answer("domain", {"table": "t", "band": "fewer than 1 %", "level": 0, "found": False}),
    ),
    "data-overlap-found": (
        ["data", "overlap", "t"],
        _answer("domain", {"table": "t", "band": "3 % to 10 %", "level": 2, "found": True}),
    ),
    "data-opt-out-add": (
        ["data", "opt-out", "add", "A-1", "A-2"],
        _answer("domain", {"changed": 1, "given": 2, "listed": 7}),
    ),
    "data-opt-out-none": (["data", "opt-out", "remove"], None),
    "data-opt-out-list": (
        ["data", "opt-out", "list"],
        _answer("domain", {"ids": ["A-1", "A-2"], "listed": 2, "path": "/var/lib/mpcd/opt-out.txt"}),
    ),
    "reload": (
        ["reload"],
        _answer("reload", {"policy": b"p" * 32, "changed": ["analyst Anna: accepted"], "warnings": ["no purpose"]}),
    ),
    "reload-nothing": (["reload"], _answer("reload", {"policy": b"p" * 32, "changed": [], "warnings": []})),
    "internal-error": (["status"], _answer("status", RuntimeError("secret"))),
    "no-daemon": (["--socket", "/nowhere/api.sock", "status"], None),
    "no-profile": (["--profile", "/nowhere", "sql", SQL], None),
    "sandbox-usage": (["sandbox", "up", "--table", "gbsg2"], None),
    "sandbox-two-hospitals": (["sandbox", "up", "--hospitals", "2", "--table", "t=t.csv"], None),
    "sandbox-none": (["sandbox", "status", "--dir", "/nowhere"], None),
}  # fmt: skip


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Path]]:
    """A fake daemon in a thread, and its analyst's profile."""
    fakes = _fakes()
    with tempfile.TemporaryDirectory(prefix="mpcd-") as name:
        directory = Path(name)
        consortium = fakes.make_consortium(directory)
        backend = fakes.FakeBackend(consortium)
        listener = sockets.listen(directory / "x")
        ready, stop = threading.Event(), []

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                stop.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
                await nursery.start(ApiServer(backend, "api").serve, listener)
                ready.set()

        thread = threading.Thread(target=trio.run, args=(serve,))
        thread.start()
        assert ready.wait(10)
        monkeypatch.setenv("MPCD_PROFILE", str(directory))
        monkeypatch.setenv("XDG_STATE_HOME", str(directory / "none"))
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "argv", ["mpcctl"])
        yield backend, directory
        token, scope = stop[0]
        token.run_sync_soon(scope.cancel)
        thread.join(10)


@pytest.mark.parametrize("name", SCENARIOS)
def test_transcript(name: str, world: tuple[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    backend, directory = world
    arguments, set_up = SCENARIOS[name]
    if set_up is not None:
        set_up(backend)
    with structlog.testing.capture_logs():  # the fake daemon's own words
        code = main(arguments)
    shown = capsys.readouterr()
    command = " ".join(f'"{part}"' if " " in part else part for part in arguments)
    found = f"$ mpcctl {command}\n--- exit {code}\n--- stdout\n{shown.out}--- stderr\n{shown.err}"
    found = found.replace(str(directory), "<profile>").replace("\r\n", "<CRLF>\n")
    if name == "internal-error":
        found = found[: found.index("reference ")] + "reference <reference>.\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("MPCD_GOLDEN") == "write":
        path.write_text(found)
    assert found == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(SCENARIOS)


def test_null_and_suppressed_differ_in_every_form() -> None:
    columns = (TableColumn("x", INTEGER),)
    forms = []
    for cell in (NULL, Suppressed("floor"), Suppressed("min_owners")):
        table = Table(columns, ((cell,),))
        forms.append((render.text_table(table), str(render.json_value(table)["rows"]), render.csv_text(table)))
    for index in range(3):
        assert len({form[index] for form in forms}) == 3
