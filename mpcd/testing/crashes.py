"""Real daemons on loopback, killed with SIGKILL at seeded steps between the first answer and the release.

    python -m mpcd.testing.crashes --count 500 --seed 1

Three daemons, each a process of its own with its planner and engine children, are asked two questions at once, round
after round, under a licence that costs money and a budget that has room for one or two.  While they answer, one, two or
all of them kill themselves at a step that the parent drew: before or after a record is sent, before, inside or after a
commit.  They are started again, and when nothing runs any more the books are compared (`check`).

The steps are seen through `net.recording.Recorder` and a wrapped transaction, which this module puts into the `Node`
that it makes itself; the daemon that `mpcd run` starts has neither, and nothing that one can configure gives it one.

A starter process has imported the daemon once and forks each start from itself.  All processes end with the campaign:
the daemons die with the starter, and the starter when its standard input closes.

What is printed at the end: how many were killed at which step, how the sessions ended, and every invariant that does
not hold; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime as dt
import hashlib
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from mpcd.api.client import Client
from mpcd.api.flow import Options
from mpcd.api.profile import Profile
from mpcd.api.types import Method
from mpcd.daemon.keygen import SIGNING_FILE
from mpcd.errors import MpcdError
from mpcd.governance.licence import Agreement
from mpcd.governance.offer import Controller, Grant, Offer, SignedOffer
from mpcd.governance.price import PricePlan, Rate
from mpcd.governance.receipt import SignedReceipt
from mpcd.identity import SigningKey
from mpcd.ids import PartyId
from mpcd.sandbox import layout, processes
from mpcd.sandbox.layout import ANALYST, Hospital
from mpcd.sandbox.prepare import CONSORTIUM, TableFiles, prepare
from mpcd.session import messages
from mpcd.store import licences, receipts, verify_ledger
from mpcd.store.keyfiles import read_key
from mpcd.store.ledger import Append
from mpcd.store.store import FILE_NAME, Store
from mpcd.wire.control import CONTROL

PARTIES: Final = 3
QUESTION: Final = "SELECT COUNT(*) FROM t"
KINDS: Final = (
    f"before {messages.ANSWER}",
    "inside commit agreed",
    "after commit agreed",
    "before data",
    f"before {messages.RECEIPT}",
    "inside commit recorded",
    "after commit recorded",
    f"before {messages.RECORDED}",
    f"before {messages.RELEASE}",
    "inside commit released",
    "after commit released",
)
"""Half of the kills are at the first of one of these, the others at any step."""
ROWS: Final = 40
FREE_QUERIES: Final = 20
QUIET_SECONDS_MAX: Final = 360.0
"""More than a session may take."""
ASK_SECONDS_MAX: Final = 60.0
_LIFETIME: Final = re.compile(r"lifetime_queries = \d+")
_PR_SET_PDEATHSIG: Final = 1
_POLICY: Final = """purposes = ["NRES"]
[budget]
lifetime_queries = 0
[disclosure]
differencing = false
[[table]]
name = "t"
licence = "required"
uses = { age = ["filter", "aggregate"] }
"""


# ------------------------------------------------------------------------------------------------ in a daemon


class Killer:
    """Kills its own process at a step; implements `net.recording.Recorder`."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._target: int | str = 0
        """A step's number since the first answer, or its name; 0: none."""
        self._steps = 0
        self._begun = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._parent.makefile("r"):
            with self._lock:
                if line.startswith("disarm"):
                    self._target = 0
                elif line.startswith("arm "):
                    wanted = line[4:].strip()
                    self._target, self._steps, self._begun = int(wanted) if wanted.isdigit() else wanted, 0, False
                self._say(f"steps {self._steps}")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._parent.sendall(f"{line}\n".encode())

    def sent(self, _party: PartyId, kind: str, plaintext: bytes) -> None:
        """See `Recorder`."""
        name = kind.lower()
        if kind == "CONTROL":
            size = int.from_bytes(plaintext[:4], "big")
            message = CONTROL.decode(plaintext[4 : 4 + size]) if size <= len(plaintext) - 4 else {"type": "control"}
            name = str(message["type"])
            self._begun = self._begun or name == messages.ANSWER
            if name == messages.RELEASE:
                digest = hashlib.sha256(cast("bytes", message["envelope"])).hexdigest()
                self._say(f"released {cast('bytes', message['session']).hex()} {digest}")
        self.step(f"before {name}")

    def step(self, name: str) -> None:
        """Something is done now: die, if it is time."""
        with self._lock:
            if not self._begun or not self._target:
                return
            self._steps += 1
            if self._target in {self._steps, name}:
                self._say(f"died {name}")
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, store: Store) -> None:
        """Count the store's transactions too."""
        plain = store._transaction  # noqa: SLF001  # the one place where all commits pass

        @contextmanager
        def transaction(**options: Any) -> Iterator[sqlite3.Connection]:
            self.step("before a commit")
            with plain(**options) as connection:
                yield connection
                last = "SELECT kind FROM entry ORDER BY sequence DESC LIMIT 1"
                kind = (connection.execute(last).fetchone() or ("none",))[0]
                self.step(f"inside commit {kind}")
            self.step(f"after commit {kind}")

        store._transaction = transaction  # type: ignore[method-assign]  # noqa: SLF001


def _daemon(home: Path, port: int, control: str) -> None:
    """Be the daemon of `home`; never returns."""
    import trio  # noqa: PLC0415  # the parent needs none of the daemon

    from mpcd.daemon import config as configuration  # noqa: PLC0415
    from mpcd.daemon import logs, node, notify  # noqa: PLC0415

    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0:
        os._exit(3)
    log = os.open(home / "log.json", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    listener.setblocking(False)
    parent = socket.socket(socket.AF_UNIX)
    parent.connect(control)
    parent.sendall(f"{home.name}\n".encode())
    config = replace(configuration.load(home / "mpcd.toml"), listen=listener)
    logs.configure(config.log_level)
    killer = Killer(parent)
    daemon = node.Node(config, notify.Notifier({}), recorder=killer)
    killer.watch(daemon.store)
    trio.run(daemon.run, strict_exception_groups=True)
    os._exit(0)


def _starter() -> int:
    """Fork a daemon for each line `home port control`, and say its number; end when the lines end."""
    import mpcd.daemon.node  # noqa: PLC0415, F401  # what every daemon then has

    pids: dict[str, int] = {}
    for line in sys.stdin:
        home, port, control = line.rstrip("\n").split("\t")
        if home in pids:
            os.waitpid(pids[home], 0)  # it said that it kills itself
        pid = pids[home] = os.fork()
        if pid == 0:
            try:
                _daemon(Path(home), int(port), control)
            except BaseException:  # noqa: BLE001  # whatever it is stands in its log, and the fork ends here
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(4)
        print(pid, flush=True)
    return 0


# ------------------------------------------------------------------------------------------------ the parent's side


def _put(connection: sqlite3.Connection, append: Append, *, signed: SignedOffer, agreement: Agreement, at: int) -> None:
    licences.put_offer(connection, append, signed, by=licences.OPERATOR, at=at)
    licences.accept(connection, append, agreement, by="analyst", at=at)


class Consortium:
    """Three daemons, their homes, and what they say."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.homes = [layout.hospital_directory(directory, party) for party in range(PARTIES)]
        self.died: list[tuple[int, str]] = []
        """Party and step."""
        self.released: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        """Digests of the sealed bytes that left, by party and session."""
        self.steps = [0] * PARTIES
        self._lines: dict[int, socket.socket] = {}
        self._deaths = [0] * PARTIES
        self._ending = False
        self._news = threading.Condition()
        self.pids = [0] * PARTIES
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(str(directory / "control"))
        self._control.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        self.hospitals = self._prepare()
        self._starter = subprocess.Popen(
            [sys.executable, "-m", "mpcd.testing.crashes", "--starter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _prepare(self) -> tuple[Hospital, ...]:
        """Data, keys, roster, policies, and one licence that all owners have agreed to."""
        table = self.directory / "t.csv"
        rows = [f"{20 + number % 60}" for number in range(ROWS * PARTIES)]
        table.write_text("age\n" + "\n".join(rows) + "\n", encoding="utf-8")
        policy = self.directory / "policy.toml"
        policy.write_text(_POLICY, encoding="utf-8")
        for home in self.homes:
            home.mkdir(mode=0o700)
        sockets, _ = layout.socket_paths(self.directory, PARTIES)
        listeners = [processes.bind_loopback() for _ in range(PARTIES)]
        hospitals = tuple(
            Hospital(party, f"hospital-{party}", listeners[party].getsockname()[1], str(api), str(admin))
            for party, (api, admin) in enumerate(sockets)
        )
        for listener in listeners:
            listener.close()
        prepare(self.directory, hospitals, [TableFiles("t", (table,))], {None: policy}, lambda _line: None)
        self.profile = Profile.load(self.directory / ANALYST)
        self._license()
        return hospitals

    def _license(self) -> None:
        """A licence of each owner, in its store before it starts."""
        now = int(time.time() * 1000)
        for party, home in enumerate(self.homes):
            offer = Offer(
                consortium=CONSORTIUM,
                nonce=os.urandom(16),
                title="Crashes",
                controllers=(Controller(PartyId(party), f"H{party}", "h"),),
                grants=(Grant("t", None),),
                purposes=("NRES",),
                commercial=True,
                functions=None,
                budget_rho=None,
                price=PricePlan("EUR", Rate(per_query=1000, free_queries=FREE_QUERIES)),
                tax=(),
                split=None,
                weights=(1,),
                term_days=30,
                quota=None,
                newer_versions=True,
                versions=(),
                duties=(),
                legal_title="None",
                legal_digest=bytes(32),
                analysts=None,
                made_at=now - 1000,
                open_until=now + 86_400_000,
            )
            key = read_key(home / "keys" / SIGNING_FILE, SigningKey)
            signed = SignedOffer(offer, (offer.sign(PartyId(party), key),))
            analyst = self.profile.signing_key
            agreement = Agreement.make(signed, analyst, licensee="Anna", now_ms=now, entropy=os.urandom)
            with closing(Store.open(home / "state")) as store:
                store.write(partial(_put, signed=signed, agreement=agreement, at=now), now=now / 1000)

    # ------------------------------------------------------------------------------------------ life and death

    def start(self, party: int) -> None:
        """Start a daemon that is not running."""
        starter = self._starter
        assert starter.stdin is not None
        assert starter.stdout is not None
        home, control = self.homes[party], self.directory / "control"
        starter.stdin.write(f"{home}\t{self.hospitals[party].port}\t{control}\n")
        starter.stdin.flush()
        self.pids[party] = int(starter.stdout.readline())

    def end(self) -> None:
        """Kill what runs, wait for the starter."""
        assert self._starter.stdin is not None
        self._ending = True
        self._starter.stdin.close()  # it ends, and its daemons die with it
        self._starter.wait(timeout=60)
        self._control.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._control.accept()
                threading.Thread(target=self._follow, args=(line,), daemon=True).start()

    def _follow(self, line: socket.socket) -> None:
        reader = line.makefile("r")
        party = int(reader.readline().rpartition("-")[2])
        with self._news:
            self._lines[party] = line
            self._news.notify_all()
        deaths = self._deaths[party]
        with contextlib.suppress(OSError):  # killed with something unread
            for said in reader:
                self._heard(party, *said.rstrip("\n").partition(" ")[::2])
        if not self._ending and self._deaths[party] == deaths:
            self._heard(party, "died", "a step unheard")

    def _heard(self, party: int, word: str, rest: str) -> None:
        with self._news:
            if word == "died":
                self._deaths[party] += 1
                self.died.append((party, rest))
            elif word == "released":
                session, digest = rest.split()
                self.released[party, session].add(digest)
            elif word == "steps":
                self.steps[party] = int(rest)
            self._news.notify_all()

    def tell(self, party: int, line: str) -> None:
        """Tell the killer in a daemon something."""
        with contextlib.suppress(OSError):  # one that has died meanwhile
            self._lines[party].sendall(f"{line}\n".encode())

    def connected(self) -> bool:
        """Whether every daemon answers and has a channel to every other."""
        return all(processes.peers_connected(hospital) == (2, 2) for hospital in self.hospitals)

    # ------------------------------------------------------------------------------------------ books

    @contextmanager
    def reading(self, party: int) -> Iterator[sqlite3.Connection]:
        """One consistent state of a party's books, whether or not it runs."""
        path = self.homes[party] / "state" / FILE_NAME
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield connection

    def unsettled(self) -> int:
        """Sessions that have not ended."""
        total = 0
        for party in range(PARTIES):
            with self.reading(party) as connection:
                query = "SELECT count(*) FROM session WHERE state IN ('agreed', 'recorded')"
                total += connection.execute(query).fetchone()[0]
        return total

    def set_room(self, room: int) -> None:
        """Leave room for `room` more queries in every budget; by the file and a reload, as a steward would."""
        for party, hospital in enumerate(self.hospitals):
            with self.reading(party) as connection:
                row = connection.execute("SELECT spent FROM account WHERE account = 'queries/t/lifetime'").fetchone()
            path = self.homes[party] / "policy.toml"
            limit = (0 if row is None else row[0]) + room
            written = _LIFETIME.sub(f"lifetime_queries = {limit}", path.read_text(encoding="utf-8"))
            path.write_text(written, encoding="utf-8")
            with Client.connect(hospital.admin) as client:
                client.call(Method.RELOAD)

    def limit(self, party: int) -> int:
        """Of the budget, as the policy's file says."""
        found = _LIFETIME.search((self.homes[party] / "policy.toml").read_text(encoding="utf-8"))
        assert found is not None
        return int(found[0].rpartition(" ")[2])


# ------------------------------------------------------------------------------------------------ what must hold


def check(consortium: Consortium, *, whole: bool = False) -> tuple[list[str], Counter[str]]:
    """Everything that does not hold, in words, and how the sessions ended; nothing runs meanwhile."""
    problems: list[str] = []
    for home in consortium.homes if whole else ():
        try:
            verify_ledger(home / "state")
        except MpcdError as error:
            problems.append(f"{home.name}: {error}")
    compared, ends = _compared(consortium)
    return problems + compared, ends


def _compared(consortium: Consortium) -> tuple[list[str], Counter[str]]:
    problems: list[str] = []
    states: dict[bytes, dict[int, str]] = defaultdict(dict)
    participants: dict[bytes, set[int]] = {}
    signed: dict[bytes, dict[int, bytes]] = defaultdict(dict)
    for party in range(PARTIES):
        with consortium.reading(party) as connection:
            for session, state in connection.execute("SELECT session, state FROM session"):
                states[session][party] = state
            kinds: dict[bytes, list[str]] = defaultdict(list)
            for session, kind in connection.execute(
                "SELECT session, kind FROM entry WHERE session IS NOT NULL ORDER BY sequence"
            ):
                kinds[session].append(kind)
            held = dict(connection.execute("SELECT session, signed FROM receipt").fetchall())
            problems += _books(party, connection, consortium.limit(party), kinds, held)
            problems += _sealed(party, connection, consortium.released)
        for session, receipt in held.items():
            signed[session][party] = receipt
            participants[session] = {int(one) for one in SignedReceipt.from_bytes(receipt).signatures}
    ends: Counter[str] = Counter()
    for session, at in states.items():
        name = session.hex()[:16]
        ends[" ".join(sorted(set(at.values())))] += 1
        if len(set(signed[session].values())) > 1:
            problems.append(f"session {name}: receipts differ")
        if "released" in at.values():
            lacking = sorted(participants[session] - signed[session].keys())
            if lacking or {"aborted", "agreed"} & set(at.values()):
                problems.append(f"session {name}: released, but not recorded by parties {lacking}: {at}")
    return problems, ends


def _books(
    party: int,
    connection: sqlite3.Connection,
    limit: int,
    kinds: Mapping[bytes, list[str]],
    held: Mapping[bytes, bytes],
) -> list[str]:
    """What is wrong with one party's entries, receipts and accounts."""
    problems = []
    lives = (["agreed", "aborted"], ["agreed", "recorded", "withheld"], ["agreed", "recorded", "released"])
    problems += [
        f"party {party}: session {session.hex()[:16]}: {life}" for session, life in kinds.items() if life not in lives
    ]
    recorded = {session for session, life in kinds.items() if "recorded" in life}
    if recorded != held.keys():
        problems.append(f"party {party}: {len(recorded)} sessions recorded, {len(held)} receipts")
    for session, receipt, digest in connection.execute("SELECT session, signed, digest FROM receipt"):
        if receipts.digest(receipt) != digest:
            problems.append(f"party {party}: receipt of {session.hex()[:16]} was changed")
    wrong = connection.execute(
        "SELECT a.account, a.spent, coalesce((SELECT sum(amount) FROM debit d "
        "WHERE d.account = a.account AND d.refunded = 0), 0) AS booked FROM account a WHERE a.spent <> booked"
    ).fetchall()
    problems += [
        f"party {party}: account {account}: {spent} spent, {booked} booked" for account, spent, booked in wrong
    ]
    back = connection.execute(
        "SELECT count(*) FROM debit d JOIN session s USING (session) WHERE d.refunded = 1 AND s.state <> 'aborted'"
    ).fetchone()[0]
    problems += [f"party {party}: {back} debits were given back to sessions that did not abort"] * bool(back)
    for account, most in (("queries/t/lifetime", limit), ("licence/%/free/%", FREE_QUERIES), ("quote %", 1)):
        for name, spent in connection.execute("SELECT account, spent FROM account WHERE account LIKE ?", (account,)):
            if spent > most:
                problems.append(f"party {party}: account {name}: {spent} spent, {most} is the limit")
    return problems


def _sealed(party: int, connection: sqlite3.Connection, released: Mapping[tuple[int, str], set[str]]) -> list[str]:
    """Whatever left is what was recorded, and the session was recorded by then."""
    problems = []
    for (sender, session), digests in list(released.items()):
        if sender != party:
            continue
        row = connection.execute("SELECT release FROM sealed WHERE session = ?", (bytes.fromhex(session),)).fetchone()
        if row is None or digests != {hashlib.sha256(row[0]).hexdigest()}:
            problems.append(f"party {party}: session {session[:16]}: other sealed bytes left than were recorded")
    return problems


def compare(consortium: Consortium) -> list[str]:
    """What the parties' statements of this month say of each other."""
    found = []
    for hospital in consortium.hospitals:
        with Client.connect(hospital.admin) as client:
            told = client.call("mpc.v1.MoneyCompare", {"month": dt.datetime.now(dt.UTC).strftime("%Y-%m")})
        for other in cast("list[dict[str, Any]]", told["parties"]):
            found += [str(line) for line in other["differences"]] + [str(other["error"])] * bool(other["error"])
    return found


# ------------------------------------------------------------------------------------------------ the campaign


class Campaign:
    """Rounds of questions and kills."""

    def __init__(self, consortium: Consortium, seed: int, say: Callable[[str], None]) -> None:
        self.consortium = consortium
        self.rng = random.Random(f"kills {seed}")  # noqa: S311  # repeatable, not secret
        self.say = say
        self.answers: Counter[str] = Counter()
        self.problems: list[str] = []
        self.ends: Counter[str] = Counter()
        self.rounds = 0
        self.revived = 0
        """How many of the deaths were followed by a start."""
        self.longest = [40] * PARTIES

    def run(self, count: int, until: float) -> None:
        """Rounds until `count` kills were made, something does not hold, or time is up."""
        consortium = self.consortium
        for party in range(PARTIES):
            consortium.start(party)
        self._quiet()
        self._round(kill=False)
        while len(consortium.died) < count and time.monotonic() < until and not self.problems:
            self._round(kill=True)
            if self.rounds % 10 == 0:
                ended = ", ".join(f"{name} {number}" for name, number in sorted(self.ends.items()))
                self.say(f"{len(consortium.died)} kills in {self.rounds} rounds; sessions: {ended}")
        self._check(whole=True)

    def _round(self, *, kill: bool) -> None:
        consortium, rng = self.consortium, self.rng
        self.rounds += 1
        consortium.set_room(rng.choice((1, 2, 2, 2)))
        with Client.connect(consortium.hospitals[0].api, consortium.profile) as client:
            quote, _, _ = client.quote(QUESTION)
        victims = rng.sample(range(PARTIES), rng.choice((1, 1, 1, 2, 3))) if kill else []
        for party in range(PARTIES):
            target: int | str = 10**6
            if party in victims:
                target = rng.choice((rng.choice(KINDS), rng.randrange(1, self.longest[party])))
            consortium.tell(party, f"arm {target}")
        with ThreadPoolExecutor(2) as pool:
            # A quote is accepted once: now and then both ask with the same.
            other = replace(quote, at=quote.at + rng.choice((1, 1, 1, 0)))
            asked = [pool.submit(self._ask, rng.randrange(PARTIES), one.to_bytes()) for one in (quote, other)]
            while not all(one.done() for one in asked):
                self._revive(rng.choice((0.0, 0.0, 0.5)))
                time.sleep(0.02)
        for party in range(PARTIES):
            consortium.tell(party, "disarm")
        self._quiet()
        if not kill:
            for party in range(PARTIES):
                consortium.tell(party, "steps")
            time.sleep(0.2)
            self.longest = [max(10, steps) for steps in consortium.steps]
        self._check()

    def _ask(self, party: int, quote: bytes) -> None:
        consortium = self.consortium
        try:
            api = consortium.hospitals[party].api
            with Client.connect(api, consortium.profile, seconds=ASK_SECONDS_MAX) as client:
                answer = client.sql(QUESTION, options=Options(quote=quote))
        except MpcdError as error:
            self.answers[type(error).__name__] += 1
            return
        (row,) = answer.table.rows
        self.answers["answered"] += 1
        if row != (ROWS * PARTIES,):
            self.problems.append(f"a wrong answer: {row}")

    def _revive(self, seconds: float = 0.0) -> None:
        """Start again, after a while, who has died since the last time."""
        died = self.consortium.died[self.revived :]
        time.sleep(seconds if died else 0)
        for party, _ in died:
            self.consortium.start(party)
        self.revived += len(died)

    def _quiet(self) -> None:
        """Everybody is back and connected, and every session has ended."""
        consortium = self.consortium
        until = time.monotonic() + QUIET_SECONDS_MAX
        self._revive()
        while not consortium.connected() or consortium.unsettled():
            if time.monotonic() > until:
                self.problems.append("some session or party did not settle in time; see the logs")
                return
            time.sleep(0.05)
            self._revive()

    def _check(self, *, whole: bool = False) -> None:
        problems, self.ends = check(self.consortium, whole=whole)
        self.problems += problems
        if whole:
            mixed = self.ends["released withheld"]
            differences = compare(self.consortium)
            if differences and not mixed:
                self.problems += differences


def table(consortium: Consortium, campaign: Campaign) -> Iterator[str]:
    """The result, line by line."""
    at: Counter[tuple[str, int]] = Counter((step, party) for party, step in consortium.died)
    yield f"{'killed':28}" + "".join(f"{f'party {party}':>9}" for party in range(PARTIES)) + f"{'all':>9}"
    for step in sorted({step for step, _ in at}):
        counts = [at[step, party] for party in range(PARTIES)]
        yield f"{step:28}" + "".join(f"{count:>9}" for count in [*counts, sum(counts)])
    by_party = Counter(party for party, _ in consortium.died)
    counts = [*(by_party[party] for party in range(PARTIES)), len(consortium.died)]
    yield f"{'all steps':28}" + "".join(f"{count:>9}" for count in counts)
    yield "sessions: " + ", ".join(f"{name} {number}" for name, number in sorted(campaign.ends.items()))
    yield "analyst: " + ", ".join(f"{name} {number}" for name, number in sorted(campaign.answers.items()))
    resent = sum(len(digests) for digests in consortium.released.values())
    yield f"sealed results that left: {resent}; each as it was recorded"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="daemons killed at every step between agreement and release")
    parser.add_argument("--count", type=int, default=500, help="how many kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long, with what there is")
    parser.add_argument("--starter", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.starter:
        return _starter()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that what was started is ended
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpcd-crashes-") as name:
        consortium = Consortium(Path(name))
        campaign = Campaign(
            consortium, arguments.seed, lambda line: print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)
        )
        try:
            campaign.run(arguments.count, started + arguments.seconds)
            for line in table(consortium, campaign):
                print(line)
        finally:
            consortium.end()
        for problem in campaign.problems:
            print(f"DOES NOT HOLD: {problem}")
        if campaign.problems:
            for home in consortium.homes:
                print(processes.log_end(home))
    seconds = time.monotonic() - started
    print(f"{len(consortium.died)} kills in {campaign.rounds} rounds, {seconds:.0f} s, seed {arguments.seed}")
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
