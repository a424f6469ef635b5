"""Real consortia: daemons of a sandbox in a temporary directory, in an environment of their own, always torn down."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mpcd.api import flow
from mpcd.api.client import Client
from mpcd.api.profile import Profile
from mpcd.api.types import JobResult, Method
from mpcd.identity import Request, ResultKey, SigningKey
from mpcd.ids import RosterHash
from mpcd.sandbox import consortium, layout, processes
from mpcd.sandbox.layout import Hospital, ProcessId
from mpcd.sandbox.prepare import TableFiles

DATA = Path(__file__).resolve().parents[2] / "data"
Row = Mapping[str, str | None]
VERBS = ["filter", "group", "aggregate"]
PATIENT_SECONDS = 60.0


@dataclass
class Sandbox:
    """A consortium that is up, with all that only a test can see."""

    started: consortium.Started
    environment: Mapping[str, str]

    @property
    def directory(self) -> Path:
        return self.started.directory

    @property
    def hospitals(self) -> tuple[Hospital, ...]:
        """As the record says now."""
        record = layout.read_record(self.directory)
        assert record is not None
        return record.hospitals

    @property
    def profile(self) -> Profile:
        """Of the sandbox's one analyst."""
        return Profile.load(self.started.profile)

    def home(self, party: int) -> Path:
        return layout.hospital_directory(self.directory, party)

    def client(self, party: int = 0) -> Client:
        """The analyst at the API socket of `party`."""
        return Client.connect(self.hospitals[party].api, self.profile)

    def admin(self, party: int) -> Client:
        return Client.connect(self.hospitals[party].admin)

    def rows(self, table: str) -> list[list[Row]]:
        """The true rows of each hospital, as text; None is missing."""
        found: list[list[Row]] = []
        for hospital in self.hospitals:
            path = self.home(hospital.party) / "data" / f"{table}.csv"
            with path.open(encoding="utf-8", newline="") as file:
                found.append([{k: v if v != "" else None for k, v in row.items()} for row in csv.DictReader(file)])
        return found

    def process(self, party: int) -> ProcessId:
        process = self.hospitals[party].process
        assert process is not None
        return process

    def send(self, party: int, number: signal.Signals) -> None:
        process = self.process(party)
        assert processes.is_alive(process)
        os.kill(process.pid, number)

    def stop(self, party: int, number: signal.Signals) -> None:
        """End one daemon and wait until it is gone, with all that it had started."""
        process = self.process(party)
        everything = [process, *processes.descendants(process)]
        self.send(party, number)
        wait_until(lambda: not any(map(processes.is_alive, everything)))

    def restart(self, party: int) -> None:
        """Start the daemon of `party` again on its old port and state."""
        record = layout.read_record(self.directory)
        assert record is not None
        with listen(record.hospitals[party].port) as listener, children_live_on():
            process = processes.identify(processes.start(self.home(party), listener).pid)
        hospitals = tuple(
            replace(hospital, process=process) if hospital.party == party else hospital for hospital in record.hospitals
        )
        layout.write_record(self.directory, replace(record, hospitals=hospitals))
        wait_until(self.connected)

    def connected(self) -> bool:
        """Whether every daemon has a channel to every other."""
        counts = [processes.peers_connected(hospital) for hospital in self.hospitals]
        return all(count is not None and count[0] == count[1] for count in counts)

    def entries(self, party: int) -> list[dict[str, object]]:
        """The ledger of `party`, as its administrator reads it."""
        with self.admin(party) as client:
            found: list[dict[str, object]] = []
            while True:
                page = client.call(Method.LEDGER_ENTRIES, {"from_seq": len(found), "count": 500})["entries"]
                assert isinstance(page, list)
                found += page  # type: ignore[arg-type]
                if len(page) < 500:
                    return found

    def request(
        self,
        sql: str,
        *,
        key: SigningKey | None = None,
        roster_hash: bytes | None = None,
        consortium_id: str | None = None,
        age_seconds: float = 0.0,
        lifetime_seconds: int = 300,
    ) -> tuple[bytes, Request, ResultKey]:
        """A signed request made by hand, so that it can be wrong in one way."""
        profile = self.profile
        signer = profile.signing_key if key is None else key
        result_key = ResultKey.generate(os.urandom)
        request = Request.make(
            sql,
            purpose=profile.purpose,
            analyst=signer.public,
            result_key=result_key.public,
            roster_hash=profile.roster_hash if roster_hash is None else RosterHash(roster_hash),
            consortium=consortium_id or profile.consortium,
            now=time.time() - age_seconds,
            entropy=os.urandom,
            lifetime_seconds=lifetime_seconds,
        )
        return request.sign(signer).to_bytes(), request, result_key


def submit(client: Client, request: bytes, idempotency_key: str | None = None) -> str:
    """Submit signed bytes; the job's name."""
    job = client.call(Method.SUBMIT, {"request": request, "idempotency_key": idempotency_key or os.urandom(8).hex()})[
        "job"
    ]
    assert isinstance(job, str)
    return job


def finish(client: Client, job: str) -> JobResult:
    """Wait for the end of a job; its result, or the error that ended it."""
    client._run(flow.watch(job, None))
    return JobResult.from_map(client.call(Method.RESULT, {"job": job}))


@pytest.fixture(scope="session")
def talk() -> tuple[Callable[..., str], Callable[[Client, str], JobResult]]:
    """`submit` and `finish`."""
    return submit, finish


@contextlib.contextmanager
def children_live_on() -> Iterator[None]:
    """A daemon outlives the handle that it was started with, as under the command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def listen(port: int) -> socket.socket:
    """A listener on a port that was free before, once whatever has taken it for a moment meanwhile is gone."""
    made: list[socket.socket] = []

    def bound() -> bool:
        with contextlib.suppress(OSError):
            made.append(socket.create_server(("127.0.0.1", port)))
        return bool(made)

    wait_until(bound)
    return made[0]


def wait_until(condition: Callable[[], bool], seconds: float = PATIENT_SECONDS) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def policy(tables: Iterable[str], without: Mapping[str, tuple[str, ...]]) -> str:
    """A policy for all columns of the named tables of the test data, less the verbs listed by `table.column`."""
    lines = ['purposes = ["NRES"]']
    for table in tables:
        lines += ["[[table]]", f'name = "{table}"', "[table.uses]"]
        with (DATA / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file))
        for column in columns:
            kept = [verb for verb in VERBS if verb not in without.get(f"{table}.{column}", ())]
            if column != "rid" and kept:
                lines.append(f"{json.dumps(column)} = {json.dumps(kept)}")
    return "\n".join(lines) + "\n"


def bring_up(
    base: Path, hospitals: int, tables: Iterable[TableFiles], policies: Mapping[int | None, str] | None = None
) -> Iterator[Sandbox]:
    """A sandbox for as long as the fixture lives; whatever happened, nothing of it is left."""
    environment = {"XDG_STATE_HOME": str(base / "state")}
    paths: dict[int | None, Path] = {}
    for party, text in (policies or {}).items():
        paths[party] = base / f"policy-{party}.toml"
        paths[party].write_text(text, encoding="utf-8")
    with children_live_on():
        started = consortium.up(base / "sandbox", hospitals, list(tables), paths, environment, lambda _: None)
    sandbox = Sandbox(started, environment)
    try:
        yield sandbox
    finally:
        record = layout.read_record(sandbox.directory)
        for hospital in () if record is None else record.hospitals:
            if hospital.process is not None and processes.is_alive(hospital.process):
                os.kill(hospital.process.pid, signal.SIGCONT)
        if record is not None:
            consortium.down(sandbox.directory, environment, lambda _: None)
            assert not any(processes.is_alive(hospital.process) for hospital in record.hospitals)


@pytest.fixture(scope="session")
def bring_up_sandbox() -> Callable[..., Iterator[Sandbox]]:
    """`bring_up`, for a test that has its own policies."""
    return bring_up


@pytest.fixture(scope="session")
def bring_up_consortium() -> Callable[..., Iterator[Sandbox]]:
    """`bring_up`, for modules with consortia of their own."""
    return bring_up


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Three hospitals with three tables."""
    tables = (
        TableFiles("gbsg2", (DATA / "gbsg2.csv",)),
        TableFiles("wdbc", (DATA / "wdbc.csv",)),
        TableFiles("lung", (DATA / "lung.csv",), "inst"),
    )
    yield from bring_up(tmp_path_factory.mktemp("consortium"), 3, tables)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Five hospitals with one table; the last two only give data; hospitals 1 and 4 forbid some uses of two columns."""
    policies: dict[int | None, str] = {
        1: policy(["lung"], {"lung.time": ("filter", "group", "aggregate")}),
        4: policy(["lung"], {"lung.time": ("filter",), "lung.pat.karno": ("aggregate",)}),
    }
    tables = [TableFiles("lung", (DATA / "lung.csv",), "inst")]
    yield from bring_up(tmp_path_factory.mktemp("five"), 5, tables, policies)
