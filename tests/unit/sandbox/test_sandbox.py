from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcd.api.client import Client
from mpcd.api.profile import find
from mpcd.cli.main import main as mpcctl
from mpcd.daemon.check import check
from mpcd.daemon.config import load
from mpcd.errors import ConfigurationInvalid, LocalFault, NotFound, RequestInvalid
from mpcd.governance.policy import Policy
from mpcd.results.table import Suppressed
from mpcd.sandbox import consortium, layout, processes
from mpcd.sandbox.layout import Hospital, ProcessId, Record, hospital_directory
from mpcd.sandbox.prepare import TableFiles, prepare

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-uc",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)",
]


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """90 made-up patients at three sites."""
    path = tmp_path / "patients.csv"
    lines = [f"{i},{40 + i % 30},{'yes' if i % 3 else 'no'},site{i % 3 + 1}" for i in range(90)]
    path.write_text("\n".join(["patient_id,age,treated,site", *lines, ""]))
    return path


# ------------------------------------------------------------------------------------------------ processes


def test_a_process_is_not_mistaken_for_another_with_its_number() -> None:
    with subprocess.Popen(SLEEPER) as process:
        known = processes.identify(process.pid)
        assert known is not None
        assert processes.is_alive(known)
        assert not processes.is_alive(ProcessId(known.pid, known.started_ticks - 1, known.boot))
        assert not processes.is_alive(ProcessId(known.pid, known.started_ticks, "another boot"))
        # Asked to stop a process that only shares the number, it stops nothing.
        processes.stop([ProcessId(known.pid, known.started_ticks - 1, known.boot)], quiet)
        assert process.poll() is None
        process.kill()
    assert not processes.is_alive(known)
    assert not processes.is_alive(None)
    assert processes.identify(2**22 + 1) is None


def test_stopping_asks_first_and_kills_what_does_not_listen() -> None:
    said: list[str] = []
    with subprocess.Popen(SLEEPER) as kind, subprocess.Popen(STUBBORN, stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        known = [found for p in (kind, stubborn) if (found := processes.identify(p.pid)) is not None]
        processes.stop(known, said.append, seconds=0.5)
        assert kind.wait() == -signal.SIGTERM
        assert stubborn.wait() == -signal.SIGKILL
    assert said == ["1 processes do not end; killing them"]


def test_what_a_daemon_started_is_stopped_with_it() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen({SLEEPER!r}); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = processes.identify(int(parent.stdout.readline()))
        known = processes.identify(parent.pid)
        assert child is not None
        assert known is not None
        assert processes.descendants(known) == [child]
        processes.stop([known], quiet, seconds=0.5)
    assert not processes.is_alive(child)


RESTARTED = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listens", flush=True)
time.sleep(60)
"""


def test_a_daemon_that_was_restarted_is_found_by_its_socket_and_stopped(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    record = Record("sandbox", {}, (Hospital(0, "h", 1, "a", str(path), ProcessId(2**22 + 1, 1, "x")),), None)
    home = tmp_path / "box"
    home.mkdir()
    layout.write_record(home, record)
    assert processes.daemon_of(record.hospitals[0]) is None
    with subprocess.Popen([sys.executable, "-c", RESTARTED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert processes.daemon_of(record.hospitals[0]) == processes.identify(process.pid)
        with pytest.raises(RequestInvalid, match="is up"):
            consortium.up(home, 3, [TableFiles("t", (path,))], {}, {}, quiet)
        assert consortium.down(home, {"XDG_STATE_HOME": str(tmp_path)}, quiet) == 1
        assert process.wait() == -signal.SIGTERM


def test_a_daemon_that_does_not_answer_delays_the_status_by_seconds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "ANSWER_SECONDS_MAX", 0.2)
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as silent:  # as one that was stopped by a signal: the kernel still connects
        silent.bind(str(path))
        silent.listen()
        hospitals = tuple(Hospital(i, f"h{i}", 1, "a", str(path), processes.identify(os.getpid())) for i in range(3))
        layout.write_record(tmp_path, Record("sandbox", {}, hospitals, None))
        started = time.monotonic()
        assert mpcctl(["sandbox", "status", "--dir", str(tmp_path)]) == 5
        assert time.monotonic() - started < 5
    assert capsys.readouterr().out.count("does not answer") == 3


def test_loopback_ports_are_taken_from_the_start() -> None:
    with processes.bind_loopback() as first, processes.bind_loopback() as second:
        assert first.getsockname()[1] != second.getsockname()[1]


# ------------------------------------------------------------------------------------------------ layout


def test_the_record_reads_back(tmp_path: Path) -> None:
    record = Record("sandbox", {"t": [1, 2, 3]}, (Hospital(0, "h", 1, "a", "b", ProcessId(1, 2, "x")),), None)
    assert layout.read_record(tmp_path) is None
    layout.write_record(tmp_path, record)
    assert layout.read_record(tmp_path) == record
    (tmp_path / layout.RECORD).write_text("{}")
    with pytest.raises(ConfigurationInvalid, match="damaged"):
        layout.read_record(tmp_path)


def test_long_directories_get_short_sockets(tmp_path: Path) -> None:
    paths, made = layout.socket_paths(tmp_path / ("x" * 100), 3)
    assert made is not None
    try:
        assert all(len(str(path)) < 107 and path.parent.is_dir() for pair in paths for path in pair)
        assert made.stat().st_mode & 0o777 == 0o700
    finally:
        for party in range(3):
            hospital_directory(made, party).rmdir()
        made.rmdir()
    paths, made = layout.socket_paths(Path("/tmp/short"), 3)
    assert made is None
    assert paths[1][0] == Path("/tmp/short/hospital-1/api.sock")


def test_the_pointer_is_only_cleared_by_the_sandbox_that_set_it(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "profile.toml").write_text("")
        layout.set_pointer(environment, tmp_path / name)
    layout.clear_pointer(environment, tmp_path / "one")
    assert find(None, environment) == tmp_path / "two"
    layout.clear_pointer(environment, tmp_path / "two")
    assert find(None, environment) == tmp_path / "mpcd"


@pytest.mark.parametrize(
    ("hospitals", "tables", "policies", "message"),
    [
        (2, ["t"], {}, "3 to 64"),
        (3, [], {}, "at least one table"),
        (3, ["t", "t"], {}, "named twice"),
        (3, ["t"], {3: Path("x")}, "hospital 3"),
        (3, ["t"], {}, "there is no file"),
    ],
)
def test_wrong_wishes_leave_nothing_behind(
    tmp_path: Path, hospitals: int, tables: list[str], policies: dict[int | None, Path], message: str
) -> None:
    home = tmp_path / "box"
    wanted = [TableFiles(name, (tmp_path / "nothing.csv",)) for name in tables]
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with pytest.raises(RequestInvalid, match=message):
        consortium.up(home, hospitals, wanted, policies, environment, quiet)
    assert not (tmp_path / "state").exists()


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path, patients: Path) -> None:
    with pytest.raises(RequestInvalid, match="not empty"):
        consortium.up(tmp_path, 3, [TableFiles("t", (patients,))], {}, {}, quiet)
    assert patients.exists()
    with pytest.raises(NotFound):
        consortium.down(tmp_path, {}, quiet)
    assert patients.exists()


# ------------------------------------------------------------------------------------------------ preparing


def test_what_is_prepared_passes_the_daemons_own_check(tmp_path: Path, patients: Path) -> None:
    home = tmp_path / "box"
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'security = "semi-honest"\n[[table]]\nname = "t"\npurposes = ["GRU"]\nuses = { age = ["filter"] }\n'
    )
    sockets, _ = layout.socket_paths(Path("/tmp/mpcd-never-made"), 4)
    hospitals = [Hospital(i, f"hospital-{i}", 7000 + i, str(a), str(b)) for i, (a, b) in enumerate(sockets)]
    for hospital in hospitals:
        hospital_directory(home, hospital.party).mkdir(parents=True, mode=0o700)
    tables = [TableFiles("t", (patients,), "site")]
    prepared = prepare(home, hospitals, tables, {2: policy}, quiet)
    assert sum(prepared.rows["t"]) == 90
    assert sorted(prepared.rows["t"]) == [0, 30, 30, 30]
    assert [party.roles for party in prepared.roster.parties] == [("input", "compute")] * 3 + [("input",)]
    assert prepared.roster.table("t").person_id == "patient_id"
    for hospital in hospitals:
        config = load(hospital_directory(home, hospital.party) / "mpcd.toml")
        messages = [finding.message for finding in check(config).findings]
        assert all("directory of the socket" in message for message in messages)
        found = Policy.parse((hospital_directory(home, hospital.party) / "policy.toml").read_text())
        assert found.accepted(prepared.analyst) is not None
        assert (found.tables["t"].uses.keys() == {"age"}) == (hospital.party == 2)


# ------------------------------------------------------------------------------------------------ the whole thing


@pytest.fixture
def box(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    home = tmp_path / "box"
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    yield home, environment
    if layout.read_record(home) is not None:
        consortium.down(home, environment, quiet)


@pytest.mark.slow
def test_up_ask_crash_status_down(box: tuple[Path, dict[str, str]], patients: Path) -> None:
    home, environment = box
    started = consortium.up(home, 3, [TableFiles("t", (patients,))], {}, environment, quiet)
    assert find(None, environment) == home / "analyst"
    with Client.connect(profile=home / "analyst") as client:
        assert client.sql("SELECT COUNT(*) FROM t").table.rows == ((90,),)
        small = client.sql("SELECT COUNT(*) FROM t WHERE age = 40").table
    assert small.rows == ((Suppressed("floor"),),)
    with pytest.raises(RequestInvalid, match="is up"):
        consortium.up(home, 3, [TableFiles("t", (patients,))], {}, environment, quiet)
    victim = started.record.hospitals[1].process
    assert victim is not None
    children = processes.descendants(victim)
    os.kill(victim.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(processes.is_alive(process) for process in (victim, *children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(processes.is_alive(child) for child in children), "children die with a crashed daemon"
    _, statuses = consortium.status(home)
    assert [status.alive for status in statuses] == [True, False, True]
    assert consortium.down(home, environment, quiet) == 2
    assert not home.exists()
    assert find(None, environment) != home / "analyst"
    assert not any(processes.is_alive(hospital.process) for hospital in started.record.hospitals)


@pytest.mark.slow
def test_a_daemon_that_cannot_start_takes_the_others_down(
    box: tuple[Path, dict[str, str]], patients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, environment = box
    real = processes.start
    started: list[processes.Daemon] = []

    def start(directory: Path, listener: socket.socket) -> processes.Daemon:
        if directory.name == "hospital-2":
            (directory / "mpcd.toml").write_text("party = 'x'\n")
        started.append(real(directory, listener))
        return started[-1]

    monkeypatch.setattr(processes, "start", start)
    with pytest.raises(LocalFault, match=r"(?s)hospital-2 ended at start.*mpcd\.toml:1"):
        consortium.up(home, 3, [TableFiles("t", (patients,))], {}, environment, quiet)
    assert all(process.poll() is not None for process in started)
    assert find(None, environment) != home / "analyst"
