"""What a daemon sends holds nothing of its rows and nothing of its own sums, in no encoding that the code has.

Three whole daemons run in this process, each with a recorder that sees every byte before it is encrypted.  From the
hospitals' true rows and from their own local answers, taken where they leave the local database, every byte string is
made that would give them away; none may occur.  That the search would find them is shown by a daemon that leaks.

A share of few bits is a short random number, and may by chance be somebody's count.  So every query runs three times:
what is a leak is there each time, what is chance is not.  What has fewer than `BITS_MIN` bits between its outer zero
bytes, which are everywhere, is not searched for at all; that shares of any size say nothing is shown exhaustively, on a
toy field, by the tests of the adversary's view.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import trio

from mpcd.api import client_trio
from mpcd.compile.program import LocalCells
from mpcd.daemon import config as configuration
from mpcd.daemon.node import Node
from mpcd.daemon.notify import Notifier
from mpcd.field import FP, FQ, bits
from mpcd.ids import PartyId
from mpcd.plan.ir import LogicalPlan
from mpcd.sandbox import layout, processes
from mpcd.sandbox.layout import ANALYST, Hospital, hospital_directory
from mpcd.sandbox.prepare import TableFiles, prepare
from mpcd.session import messages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
WINDOW = 6
"""Rows in a row that give a column away; single values are too common for a search."""
COLUMNS = ("age", "time", "ph.karno", "meal.cal", "wt.loss", "sex", "inst")
RUNS = 3
BITS_MIN = 16
"""Of a number alone; a vector needs twice as many."""
QUERIES = (
    "SELECT COUNT(*), AVG(age), STDDEV_SAMP(age), SUM(time) FROM lung",
    'SELECT sex, COUNT(*), AVG("meal.cal"), CORR(age, time), AVG("wt.loss") FROM lung GROUP BY sex',
    'SELECT "ph.ecog", age // 10 * 10, COUNT(*), SUM(time) FROM lung GROUP BY 1, 2',
    "SELECT inst, COUNT(*), AVG(age) FROM lung WHERE time > 100 GROUP BY inst",
    "SELECT VAR_SAMP(time + 1000000 * age) FROM lung WHERE age < 70",
)


# ------------------------------------------------------------------------------------------------ the search


@dataclass
class Tape:
    """All bytes that one daemon gave its channels, by receiver and kind of record, each in order."""

    streams: dict[tuple[int, str], bytearray] = field(default_factory=dict)
    written: trio.Event = field(default_factory=trio.Event)

    def sent(self, party: PartyId, kind: str, plaintext: bytes) -> None:
        """See `net.recording.Recorder`."""
        self.streams.setdefault((int(party), kind), bytearray()).extend(plaintext)
        self.written.set()

    def clear(self) -> None:
        self.streams.clear()
        self.written = trio.Event()

    @property
    def size(self) -> int:
        return sum(map(len, self.streams.values()))


@dataclass(frozen=True)
class Secret:
    """Something of one hospital, and one way to write it."""

    what: str
    pattern: bytes


def field_elements(values: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """As both fields encode them, little endian."""
    yield "F_p", bytes(FP.encode(FP.from_ints(values)))
    yield "F_q", bytes(FQ.encode(FQ.from_ints(values)))


def texts(values: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """As msgpack and as decimal text, with every separator in use."""
    yield "msgpack", b"".join(msgpack.packb(value) for value in values)
    for separator in (b",", b", ", b" ", b"\n", b";", b"\t"):
        yield f"text {separator!r}", separator.join(str(value).encode() for value in values)


def machine_words(values: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """As arrays of the database and of numpy."""
    for kind in ("<i8", "<i4", "<i2", "i1", ">i8", ">i4", "<f8", "<f4"):
        array = np.array(values, dtype=np.int64)
        if np.dtype(kind).kind == "f" or all(
            np.iinfo(kind).min <= value <= np.iinfo(kind).max for value in (array.min(), array.max())
        ):
            yield kind, array.astype(kind).tobytes()


def tells(pattern: bytes, bits_min: int = BITS_MIN) -> bool:
    """Whether there is enough of it not to be met by chance."""
    return int.from_bytes(pattern.strip(b"\0"), "little").bit_length() >= bits_min


def of_rows(party: int, rows: Sequence[Mapping[str, str | None]]) -> Iterator[Secret]:
    """Every `WINDOW` values in a row of any column; whoever sends twice as many sends one of these."""
    for name in COLUMNS:
        column = [int(float(text)) for row in rows if (text := row[name]) is not None]
        for start in range(0, len(column) - WINDOW + 1, WINDOW):
            window = column[start : start + WINDOW]
            for how, pattern in (*machine_words(window), *texts(window), *field_elements(window)):
                if len(set(pattern)) > 2:  # 1, 1, 1, 1, 2, 1 in bytes is no sign of anything
                    yield Secret(f"rows {start} ff of {name} at hospital {party} as {how}", pattern)


def of_vector(what: str, values: Sequence[int]) -> Iterator[Secret]:
    """One hospital's own vector over the cells, and each of its larger numbers alone."""
    if len(values) * max(map(abs, values)).bit_length() >= 2 * BITS_MIN and len(values) > 1:
        for how, pattern in (*field_elements(values), *texts(values), *machine_words(values)):
            yield Secret(f"{what} as {how}", pattern)
    for cell, value in enumerate(values):
        for how, pattern in field_elements([value]):
            if tells(pattern):
                yield Secret(f"cell {cell} of {what} as {how}", pattern)
        if abs(value) >= 2**17:
            for how, pattern in texts([value]):
                yield Secret(f"cell {cell} of {what} as {how}", pattern)


def of_planes(what: str, counts: Sequence[int], width: int) -> Iterator[Secret]:
    """The bits of a cohort's counts, plane by plane and all together."""
    if len(counts) < 2 * BITS_MIN:
        return
    padded = np.zeros(bits.words_for(len(counts)) * 64, dtype=np.uint64)
    padded[: len(counts)] = counts
    planes = bits.to_planes(padded, width)
    for index in range(width):
        if tells(pattern := planes[index].astype("<u8").tobytes(), 2 * BITS_MIN):
            yield Secret(f"bits {index} of {what}", pattern)
    if tells(planes.astype("<u8").tobytes(), 2 * BITS_MIN):
        yield Secret(f"all bits of {what}", planes.astype("<u8").tobytes())


@dataclass(frozen=True)
class Local:
    """What one hospital's database answered to one plan."""

    party: int
    query: int
    cohorts: Sequence[Sequence[int]]
    values: Sequence[Sequence[int]]
    plan: LogicalPlan

    def secrets(self) -> Iterator[Secret]:
        who = f"hospital {self.party} in query {self.query}"
        for index, counts in enumerate(self.cohorts):
            yield from of_vector(f"cohort {index} of {who}", counts)
            yield from of_planes(f"cohort {index} of {who}", counts, self.plan.cohort_width)
        for index, values in enumerate(self.values):
            yield from of_vector(f"value {index} of {who}", values)


def found(tape: Tape, secrets: Iterable[Secret]) -> list[str]:
    """Every secret that is on the tape, in words."""
    streams = [bytes(stream) for stream in tape.streams.values()]
    assert streams
    wanted: dict[bytes, str] = {}
    for secret in secrets:
        wanted.setdefault(secret.pattern, secret.what)
    return [what for pattern, what in wanted.items() if any(pattern in stream for stream in streams)]


# ------------------------------------------------------------------------------------------------ the daemons


class Ready(Notifier):
    """Tells the test when the daemon serves."""

    def __init__(self) -> None:
        super().__init__({})
        self.serving = trio.Event()

    def ready(self, status: str) -> None:
        self.serving.set()


@dataclass
class Daemon:
    """One node, its tape, and a tap on its local database."""

    node: Node
    tape: Tape
    ready: Ready
    tapes: list[Tape] = field(default_factory=list)
    """Of the runs that are over."""
    locals: list[Local] = field(default_factory=list)
    query: int = 0

    def tap(self) -> None:
        data, party = self.node.data, int(self.node.config.party)
        honest = data.aggregate

        async def tapped(
            plan: LogicalPlan,
            versions: Mapping[str, str],
            deadline_seconds: float,
            rows_per_person: int | None = None,
        ) -> LocalCells:
            cells = await honest(plan, versions, deadline_seconds, rows_per_person)
            cohorts = [[int(count) for count in row] for row in cells.cohorts]
            values = [[int(value) for value in row] for row in cells.values]
            self.locals.append(Local(party, self.query, cohorts, values, plan))
            return cells

        data.aggregate = tapped  # type: ignore[method-assign]

    def end_run(self) -> None:
        """Keep the tape and begin a new one."""
        self.tapes.append(Tape(dict(self.tape.streams)))
        self.tape.clear()

    def leaks(self, secrets: Iterable[Secret]) -> list[str]:
        """What was on the tape of every run."""
        wanted = list(secrets)
        runs = [set(found(tape, wanted)) for tape in self.tapes]
        return sorted(set.intersection(*runs))


def prepared(base: Path) -> tuple[list[configuration.Config], list[list[dict[str, str | None]]]]:
    """Everything that three daemons need, and their true rows."""
    listeners = [processes.bind_loopback() for _ in range(3)]
    for party in range(3):
        hospital_directory(base, party).mkdir(mode=0o700)
    sockets, made = layout.socket_paths(base, 3)
    assert made is None
    hospitals = [
        Hospital(party, f"hospital-{party}", listeners[party].getsockname()[1], str(api), str(admin))
        for party, (api, admin) in enumerate(sockets)
    ]
    prepare(base, hospitals, [TableFiles("lung", (DATA / "lung.csv",), "inst")], {}, lambda _: None)
    configs = [
        replace(configuration.load(hospital_directory(base, party) / "mpcd.toml", {}), listen=listener)
        for party, listener in enumerate(listeners)
    ]
    return configs, [rows_at(hospital_directory(base, party)) for party in range(3)]


def rows_at(home: Path) -> list[dict[str, str | None]]:
    lines = (home / "data" / "lung.csv").read_text(encoding="utf-8").splitlines()
    names = lines[0].split(",")
    return [{name: text or None for name, text in zip(names, line.split(","), strict=True)} for line in lines[1:]]


@asynccontextmanager
async def running(configs: Sequence[configuration.Config]) -> AsyncIterator[list[Daemon]]:
    """The daemons, connected; stopped as by a signal."""
    daemons = []
    for config in configs:
        tape, ready = Tape(), Ready()
        daemons.append(Daemon(Node(config, ready, tape), tape, ready))
    async with trio.open_nursery() as nursery:
        for daemon in daemons:
            daemon.tap()
            nursery.start_soon(daemon.node.run)
        with trio.fail_after(60):
            for daemon in daemons:
                await daemon.node.mesh.wait_connected([PartyId(party) for party in range(3)])
                await daemon.ready.serving.wait()
        yield daemons
        for daemon in daemons:
            daemon.node.stopping.set()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Several daemons in one process take the signals from each other; afterwards they are as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def leaks(value: int, session: bytes) -> dict[str, bytes]:
    """One partial sum inside an otherwise ordinary message, in each encoding."""
    pieces = dict(field_elements([value])) | {how: piece for how, piece in texts([value]) if how != "text b', '"}
    return {how: (piece + session)[:32] for how, piece in pieces.items()}


async def leak(daemon: Daemon, receiver: PartyId, smuggled: bytes) -> None:
    """What a daemon with a hole would do."""
    daemon.tape.clear()
    await daemon.node.mesh.send_control(receiver, {"type": messages.GONE, "session": smuggled, "state": "unknown"})
    with trio.fail_after(10):
        await daemon.tape.written.wait()


def test_nothing_of_a_hospital_is_on_the_wire(tmp_path: Path, handlers: None) -> None:
    base = tmp_path / "s"
    base.mkdir(mode=0o700)
    configs, rows = prepared(base)

    async def main() -> None:
        async with running(configs) as daemons:
            async with client_trio.connect(configs[0].sockets.api, base / ANALYST) as client:
                for _ in range(RUNS):
                    for index, sql in enumerate(QUERIES):
                        for daemon in daemons:
                            daemon.query = index
                        answer = await client.sql(sql)
                        assert len(answer.table.rows) >= 1
                    for daemon in daemons:
                        daemon.end_run()
            honest(daemons, rows)
            await dishonest(daemons)

    trio.run(main, strict_exception_groups=True)


def honest(daemons: Sequence[Daemon], rows: Sequence[Sequence[Mapping[str, str | None]]]) -> None:
    parts = [local for daemon in daemons for local in daemon.locals[: len(QUERIES)]]
    secrets = [secret for local in parts for secret in local.secrets()]
    pooled = pool(parts)
    by_row = [secret for party, part in enumerate(rows) for secret in of_rows(party, part)]
    assert min(len(secrets) / 400, len(pooled) / 100, len(by_row) / 2_000) > 1, (len(secrets), len(pooled), len(by_row))
    assert any(value.field == "q" for local in parts for value in local.plan.values)
    for daemon in daemons:
        assert len(daemon.locals) == RUNS * len(QUERIES)
        assert len(daemon.tapes) == RUNS
        for tape in daemon.tapes:
            assert tape.size > 20_000, "the recorder sees what is sent"
            assert {party for party, kind in tape.streams if kind == "DATA"} == {0, 1, 2} - {daemon.node.config.party}
        assert daemon.leaks(secrets) == []
        assert daemon.leaks(pooled) == [], "not even what is released: it leaves sealed"
        assert daemon.leaks(by_row) == []


def pool(parts: Sequence[Local]) -> list[Secret]:
    """The pooled sums of every query, suppressed or not."""
    result: list[Secret] = []
    for query in range(len(QUERIES)):
        values = [np.array(local.values, dtype=object) for local in parts if local.query == query]
        for index, total in enumerate(sum(values[1:], values[0])):
            result += of_vector(f"pooled value {index} of query {query}", [int(x) for x in total])
    return result


async def dishonest(daemons: Sequence[Daemon]) -> None:
    """The same search finds one single partial sum in the tape of a daemon that sends it, however it is written."""
    leaky = daemons[1]
    local = leaky.locals[0]
    value = max(x for row in local.values for x in row)
    assert 2**17 < value < 2**60
    for how, smuggled in leaks(value, os.urandom(32)).items():
        await leak(leaky, PartyId(0), smuggled)
        assert found(leaky.tape, local.secrets()), f"{how} was not noticed"
    planes = [
        secret.pattern
        for local in leaky.locals
        for counts in local.cohorts
        for secret in of_planes("", counts, local.plan.cohort_width)
        if secret.what.startswith("bits") and len(secret.pattern) <= 32
    ]
    await leak(leaky, PartyId(2), planes[0].ljust(32, b"x"))
    assert found(leaky.tape, (secret for local in leaky.locals for secret in local.secrets()))
    await leak(leaky, PartyId(2), os.urandom(32))
    assert found(leaky.tape, local.secrets()) == []


def test_rows_would_be_found(tmp_path: Path) -> None:
    """The search for rows finds a stretch of a column in every encoding, also where records part it."""
    lines = (DATA / "lung.csv").read_text(encoding="utf-8").splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:40]]
    ages = [int(row["age"]) for row in rows]
    clean: Iterable[Mapping[str, str | None]] = [{k: v or None for k, v in row.items()} for row in rows]
    secrets = list(of_rows(0, list(clean)))
    for how, pattern in (*machine_words(ages), *texts(ages), *field_elements(ages)):
        tape = Tape()
        for start in range(0, len(pattern), 5):
            tape.sent(PartyId(1), "DATA", pattern[start : start + 5])
        assert any(" of age " in what for what in found(tape, secrets)), how
    tape = Tape()
    tape.sent(PartyId(1), "DATA", os.urandom(10_000))
    assert found(tape, secrets) == []


def test_who_knows_of_the_recorder() -> None:
    """The network, and the daemon that hands it on; no configuration and no command can name one."""
    importers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "mpcd").rglob("*.py")
        if "ecorder" in path.read_text(encoding="utf-8")
    }
    assert importers == {
        "mpcd/daemon/node.py",
        "mpcd/net/channel.py",
        "mpcd/net/mesh.py",
        "mpcd/net/recording.py",
        "mpcd/testing/crashes.py",  # gives one to daemons that it kills
    }
    text = (ROOT / "mpcd" / "daemon" / "node.py").read_text(encoding="utf-8")
    assert "Node(config, notifier)" in text, "the daemon's own entry gives none"
